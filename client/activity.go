package client

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
)

// ActivityRef names an activity by its workflow. An empty RunID is the current run.
type ActivityRef struct{ WorkflowID, RunID, ActivityID string }

// CompleteActivity ends an activity from outside of its worker, by its task token: with result when err is nil, as cancelled
// when err is a *failure.CanceledError, and as failed otherwise.
func (c *Client) CompleteActivity(ctx context.Context, token []byte, result any, err error) error {
	ns, me := c.o.Namespace, c.o.Identity
	if err == nil {
		return c.completed(result, func(ps *commonpb.Payloads) error {
			return try(ctx, c.service.RespondActivityTaskCompleted, &workflowservice.RespondActivityTaskCompletedRequest{Namespace: ns, TaskToken: token, Identity: me, Result: ps})
		})
	}
	if canceled, ok := err.(*failure.CanceledError); ok {
		return c.canceled(canceled, func(ps *commonpb.Payloads) error {
			return try(ctx, c.service.RespondActivityTaskCanceled, &workflowservice.RespondActivityTaskCanceledRequest{Namespace: ns, TaskToken: token, Identity: me, Details: ps})
		})
	}
	return try(ctx, c.service.RespondActivityTaskFailed, &workflowservice.RespondActivityTaskFailedRequest{
		Namespace: ns, TaskToken: token, Identity: me, Failure: c.o.Failures.ToFailure(err),
	})
}

// CompleteActivityByID is CompleteActivity for who has no task token.
func (c *Client) CompleteActivityByID(ctx context.Context, a ActivityRef, result any, err error) error {
	ns, me := c.o.Namespace, c.o.Identity
	if err == nil {
		return c.completed(result, func(ps *commonpb.Payloads) error {
			return try(ctx, c.service.RespondActivityTaskCompletedById, &workflowservice.RespondActivityTaskCompletedByIdRequest{
				Namespace: ns, WorkflowId: a.WorkflowID, RunId: a.RunID, ActivityId: a.ActivityID, Identity: me, Result: ps,
			})
		})
	}
	if canceled, ok := err.(*failure.CanceledError); ok {
		return c.canceled(canceled, func(ps *commonpb.Payloads) error {
			return try(ctx, c.service.RespondActivityTaskCanceledById, &workflowservice.RespondActivityTaskCanceledByIdRequest{
				Namespace: ns, WorkflowId: a.WorkflowID, RunId: a.RunID, ActivityId: a.ActivityID, Identity: me, Details: ps,
			})
		})
	}
	return try(ctx, c.service.RespondActivityTaskFailedById, &workflowservice.RespondActivityTaskFailedByIdRequest{
		Namespace: ns, WorkflowId: a.WorkflowID, RunId: a.RunID, ActivityId: a.ActivityID, Identity: me, Failure: c.o.Failures.ToFailure(err),
	})
}

// HeartbeatActivity says that an activity, known by its task token, is at work. The error is a *failure.CanceledError when its
// cancellation is asked for, and a *NotFoundError when nobody waits for it any more.
func (c *Client) HeartbeatActivity(ctx context.Context, token []byte, details ...any) error {
	ps, err := converter.ToPayloads(c.o.Converter, details...)
	if err != nil {
		return err
	}
	answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.RecordActivityTaskHeartbeatResponse, error) {
		return c.service.RecordActivityTaskHeartbeat(ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{
			Namespace: c.o.Namespace, TaskToken: token, Identity: c.o.Identity, Details: ps,
		})
	})
	return beaten(answer.GetCancelRequested(), err)
}

// HeartbeatActivityByID is HeartbeatActivity for who has no task token.
func (c *Client) HeartbeatActivityByID(ctx context.Context, a ActivityRef, details ...any) error {
	ps, err := converter.ToPayloads(c.o.Converter, details...)
	if err != nil {
		return err
	}
	answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.RecordActivityTaskHeartbeatByIdResponse, error) {
		return c.service.RecordActivityTaskHeartbeatById(ctx, &workflowservice.RecordActivityTaskHeartbeatByIdRequest{
			Namespace: c.o.Namespace, WorkflowId: a.WorkflowID, RunId: a.RunID, ActivityId: a.ActivityID, Identity: c.o.Identity, Details: ps,
		})
	})
	return beaten(answer.GetCancelRequested(), err)
}

func beaten(cancelRequested bool, err error) error {
	if err == nil && cancelRequested {
		return failure.NewCanceledError()
	}
	return typed("", err)
}

func (c *Client) completed(result any, respond func(*commonpb.Payloads) error) error {
	if result == nil {
		return respond(nil)
	}
	ps, err := converter.ToPayloads(c.o.Converter, result)
	if err != nil {
		return err
	}
	return respond(ps)
}

func (c *Client) canceled(e *failure.CanceledError, respond func(*commonpb.Payloads) error) error {
	ps, err := e.Details.Encode(c.o.Converter)
	if err != nil {
		return err
	}
	return respond(ps)
}
