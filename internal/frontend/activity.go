package frontend

import (
	"context"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// activityTask is a started activity as a worker gets it. All durations are set: some SDKs decode no others.
func activityTask(ns string, a *execution.ActivityStarted) (*workflowservice.PollActivityTaskQueueResponse, error) {
	scheduled := a.Event.GetActivityTaskScheduledEventAttributes()
	details, err := decodeAs[commonpb.Payloads](a.Details)
	if err != nil {
		return nil, fmt.Errorf("heartbeat details of activity %d of %s: %w", a.Token.ScheduledID, a.Token.Run, err)
	}
	policy, err := decodeAs[commonpb.RetryPolicy](a.RetryPolicy)
	if err != nil {
		return nil, fmt.Errorf("retry policy of activity %d of %s: %w", a.Token.ScheduledID, a.Token.Run, err)
	}
	if policy == nil {
		policy = backoff.DefaultRetryPolicy()
	}
	priority, err := decodeAs[commonpb.Priority](a.Priority)
	if err != nil {
		return nil, fmt.Errorf("priority of activity %d of %s: %w", a.Token.ScheduledID, a.Token.Run, err)
	}
	return &workflowservice.PollActivityTaskQueueResponse{
		TaskToken:                   encodeActivity(a.Token),
		WorkflowNamespace:           ns,
		WorkflowType:                &commonpb.WorkflowType{Name: a.WorkflowType},
		WorkflowExecution:           executionOf(a.Token.Run),
		ActivityType:                scheduled.GetActivityType(),
		ActivityId:                  scheduled.GetActivityId(),
		Header:                      scheduled.GetHeader(),
		Input:                       scheduled.GetInput(),
		HeartbeatDetails:            details,
		ScheduledTime:               a.FirstSchedAt.Proto(),
		CurrentAttemptScheduledTime: a.ScheduledAt.Proto(),
		StartedTime:                 a.StartedAt.Proto(),
		Attempt:                     a.Attempt,
		ScheduleToCloseTimeout:      durationpb.New(a.S2C),
		StartToCloseTimeout:         durationpb.New(a.STC),
		HeartbeatTimeout:            durationpb.New(a.HB),
		RetryPolicy:                 policy,
		Priority:                    priority,
	}, nil
}

// decodeAs decodes a message; no bytes are none.
func decodeAs[T any, M interface {
	*T
	proto.Message
}](b []byte) (M, error) {
	if len(b) == 0 {
		return nil, nil
	}
	m := M(new(T))
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	return m, nil
}

func (s *Service) activityToken(ns string, b []byte) (execution.ActivityToken, error) {
	t, _, err := readTaskToken(s, ns, b, decodeActivity, func(t execution.ActivityToken) ids.NamespaceID { return t.Run.Namespace })
	return t, err
}

// activityByID makes the token of an activity that is named instead of presented.
func (s *Service) activityByID(ns, workflow, run, activity string) (execution.ActivityToken, error) {
	n, err := s.namespace(ns)
	if err != nil {
		return execution.ActivityToken{}, err
	}
	key, runID, err := checkTarget(s.limits, n.ID, workflow, run)
	if err != nil {
		return execution.ActivityToken{}, err
	}
	return execution.ActivityToken{Run: key.Run(runID), ActivityID: activity}, checkID(s.limits, "ActivityId", activity, true)
}

func (s *Service) submitActivity(ctx context.Context, t execution.ActivityToken, in execution.Input) error {
	_, err := submit[*execution.ActivityEnded](ctx, s, t.Run.Of(), t.Run.Run, in)
	return err
}

// failOversize ends an attempt with a failure of the server's, because what the worker sent is too big to keep.
func (s *Service) failOversize(ctx context.Context, t execution.ActivityToken, identity, why string) error {
	return s.submitActivity(ctx, t, execution.FailActivity{Token: t, Failure: serverFailure(why), Identity: identity})
}

func (s *Service) completeActivity(ctx context.Context, t execution.ActivityToken, result *commonpb.Payloads, identity string, v *commonpb.WorkerVersionStamp) error {
	if err := checkIDs(s.limits, "Identity", identity); err != nil {
		return err
	}
	if tooBig(s.limits, result) {
		return s.failOversize(ctx, t, identity, "Complete result exceeds size limit.")
	}
	return s.submitActivity(ctx, t, execution.CompleteActivity{Token: t, Result: result, Identity: identity, Version: v})
}

// RespondActivityTaskCompleted ends an activity with a result.
func (s *Service) RespondActivityTaskCompleted(ctx context.Context, r *workflowservice.RespondActivityTaskCompletedRequest) (*workflowservice.RespondActivityTaskCompletedResponse, error) {
	t, err := s.activityToken(r.GetNamespace(), r.GetTaskToken())
	if err == nil {
		err = s.completeActivity(ctx, t, r.Result, r.Identity, r.WorkerVersion)
	}
	return reply(&workflowservice.RespondActivityTaskCompletedResponse{}, err)
}

// RespondActivityTaskCompletedById is RespondActivityTaskCompleted for who has no task token.
func (s *Service) RespondActivityTaskCompletedById(ctx context.Context, r *workflowservice.RespondActivityTaskCompletedByIdRequest) (*workflowservice.RespondActivityTaskCompletedByIdResponse, error) {
	t, err := s.activityByID(r.GetNamespace(), r.GetWorkflowId(), r.GetRunId(), r.GetActivityId())
	if err == nil {
		err = s.completeActivity(ctx, t, r.Result, r.Identity, nil)
	}
	return reply(&workflowservice.RespondActivityTaskCompletedByIdResponse{}, err)
}

// failActivity returns what it put in the place of parts too big to keep.
func (s *Service) failActivity(ctx context.Context, in execution.FailActivity) ([]*failurepb.Failure, error) {
	if err := checkIDs(s.limits, "Identity", in.Identity); err != nil {
		return nil, err
	}
	var replaced []*failurepb.Failure
	if tooBig(s.limits, in.Details) {
		replaced = append(replaced, serverFailure("Heartbeat details exceed size limit."))
		in.Details = nil
	}
	if tooBig(s.limits, in.Failure) {
		in.Failure = serverFailure("Failure exceeds size limit.")
		replaced = append(replaced, in.Failure)
	}
	return replaced, s.submitActivity(ctx, in.Token, in)
}

// RespondActivityTaskFailed ends an attempt with a failure; whether there is another is the retry policy's to say.
func (s *Service) RespondActivityTaskFailed(ctx context.Context, r *workflowservice.RespondActivityTaskFailedRequest) (*workflowservice.RespondActivityTaskFailedResponse, error) {
	t, err := s.activityToken(r.GetNamespace(), r.GetTaskToken())
	if err != nil {
		return nil, err
	}
	if r.Failure != nil && r.Failure.GetApplicationFailureInfo() == nil {
		return nil, invalid("Failure must have ApplicationFailureInfo.")
	}
	replaced, err := s.failActivity(ctx, execution.FailActivity{
		Token: t, Failure: r.Failure, Details: r.LastHeartbeatDetails, Identity: r.Identity, Version: r.WorkerVersion,
	})
	return reply(&workflowservice.RespondActivityTaskFailedResponse{Failures: replaced}, err)
}

// RespondActivityTaskFailedById is RespondActivityTaskFailed for who has no task token.
func (s *Service) RespondActivityTaskFailedById(ctx context.Context, r *workflowservice.RespondActivityTaskFailedByIdRequest) (*workflowservice.RespondActivityTaskFailedByIdResponse, error) {
	t, err := s.activityByID(r.GetNamespace(), r.GetWorkflowId(), r.GetRunId(), r.GetActivityId())
	if err != nil {
		return nil, err
	}
	replaced, err := s.failActivity(ctx, execution.FailActivity{
		Token: t, Failure: r.Failure, Details: r.LastHeartbeatDetails, Identity: r.Identity,
	})
	return reply(&workflowservice.RespondActivityTaskFailedByIdResponse{Failures: replaced}, err)
}

func (s *Service) cancelActivity(ctx context.Context, in execution.CancelActivity) error {
	if err := checkIDs(s.limits, "Identity", in.Identity); err != nil {
		return err
	}
	if tooBig(s.limits, in.Details) {
		return s.failOversize(ctx, in.Token, in.Identity, "Cancel details exceed size limit.")
	}
	return s.submitActivity(ctx, in.Token, in)
}

// RespondActivityTaskCanceled tells that an activity gave in to a cancel request.
func (s *Service) RespondActivityTaskCanceled(ctx context.Context, r *workflowservice.RespondActivityTaskCanceledRequest) (*workflowservice.RespondActivityTaskCanceledResponse, error) {
	t, err := s.activityToken(r.GetNamespace(), r.GetTaskToken())
	if err == nil {
		err = s.cancelActivity(ctx, execution.CancelActivity{Token: t, Details: r.Details, Identity: r.Identity, Version: r.WorkerVersion})
	}
	return reply(&workflowservice.RespondActivityTaskCanceledResponse{}, err)
}

// RespondActivityTaskCanceledById is RespondActivityTaskCanceled for who has no task token.
func (s *Service) RespondActivityTaskCanceledById(ctx context.Context, r *workflowservice.RespondActivityTaskCanceledByIdRequest) (*workflowservice.RespondActivityTaskCanceledByIdResponse, error) {
	t, err := s.activityByID(r.GetNamespace(), r.GetWorkflowId(), r.GetRunId(), r.GetActivityId())
	if err == nil {
		err = s.cancelActivity(ctx, execution.CancelActivity{Token: t, Details: r.Details, Identity: r.Identity})
	}
	return reply(&workflowservice.RespondActivityTaskCanceledByIdResponse{}, err)
}

// heartbeat returns whether the activity should stop.
func (s *Service) heartbeat(ctx context.Context, in execution.HeartbeatActivity) (bool, error) {
	if err := checkIDs(s.limits, "Identity", in.Identity); err != nil {
		return false, err
	}
	if tooBig(s.limits, in.Details) {
		return true, s.failOversize(ctx, in.Token, in.Identity, "Heartbeat details exceed size limit.")
	}
	answer, err := submit[*execution.HeartbeatAnswer](ctx, s, in.Token.Run.Of(), in.Token.Run.Run, in)
	if err != nil {
		return false, err
	}
	return answer.CancelRequested, nil
}

// RecordActivityTaskHeartbeat keeps an attempt alive and its details for the next one.
func (s *Service) RecordActivityTaskHeartbeat(ctx context.Context, r *workflowservice.RecordActivityTaskHeartbeatRequest) (*workflowservice.RecordActivityTaskHeartbeatResponse, error) {
	t, err := s.activityToken(r.GetNamespace(), r.GetTaskToken())
	if err != nil {
		return nil, err
	}
	cancel, err := s.heartbeat(ctx, execution.HeartbeatActivity{Token: t, Details: r.Details, Identity: r.Identity})
	return reply(&workflowservice.RecordActivityTaskHeartbeatResponse{CancelRequested: cancel}, err)
}

// RecordActivityTaskHeartbeatById is RecordActivityTaskHeartbeat for who has no task token.
func (s *Service) RecordActivityTaskHeartbeatById(ctx context.Context, r *workflowservice.RecordActivityTaskHeartbeatByIdRequest) (*workflowservice.RecordActivityTaskHeartbeatByIdResponse, error) {
	t, err := s.activityByID(r.GetNamespace(), r.GetWorkflowId(), r.GetRunId(), r.GetActivityId())
	if err != nil {
		return nil, err
	}
	cancel, err := s.heartbeat(ctx, execution.HeartbeatActivity{Token: t, Details: r.Details, Identity: r.Identity})
	return reply(&workflowservice.RecordActivityTaskHeartbeatByIdResponse{CancelRequested: cancel}, err)
}
