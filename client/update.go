package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/internal/handlers"
)

// Stage is how far an update is waited for.
type Stage int

// The stages a caller can wait for.
const (
	Accepted Stage = iota + 1
	Completed
)

// UpdateOptions of StartUpdate. WaitFor is required: there is no default that suits all.
type UpdateOptions struct {
	ID      string // random when empty; one ID is one update
	WaitFor Stage
}

// UpdateHandle is an update on its way.
type UpdateHandle[U any] struct {
	r       *ref
	id      string
	outcome *updatepb.Outcome
}

// ID is the update's.
func (u *UpdateHandle[U]) ID() string { return u.id }

// UpdateHandleOf is the handle of an update that is known by its ID.
func UpdateHandleOf[U, W, R any](h *Handle[W, R], updateID string) *UpdateHandle[U] {
	return &UpdateHandle[U]{r: h.ref(), id: updateID}
}

// Result waits for the outcome: a *UpdateFailedError when it is a rejection or a failure, a *UpdateWaitError when ctx ended
// before.
func (u *UpdateHandle[U]) Result(ctx context.Context) (U, error) {
	var out U
	c := u.r.c
	for u.outcome == nil {
		answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
			return c.service.PollWorkflowExecutionUpdate(ctx, &workflowservice.PollWorkflowExecutionUpdateRequest{
				Namespace: c.o.Namespace, UpdateRef: &updatepb.UpdateRef{WorkflowExecution: u.r.execution(), UpdateId: u.id}, Identity: c.o.Identity,
				WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED},
			})
		})
		if err != nil {
			return out, typed(u.r.id, waiting(ctx, err))
		}
		u.outcome = answer.Outcome
	}
	if f := u.outcome.GetFailure(); f != nil {
		return out, &UpdateFailedError{c.o.Failures.FromFailure(f)}
	}
	return out, c.decodeResult(u.outcome.GetSuccess(), &out)
}

func update[W, U any](ctx context.Context, to Target[W], method any, args ...any) (U, error) {
	var out U
	u, err := startUpdate[W, U](ctx, to, method, UpdateOptions{WaitFor: Completed}, args...)
	if err != nil {
		return out, err
	}
	return u.Result(ctx)
}

func startUpdate[W, U any](ctx context.Context, to Target[W], method any, o UpdateOptions, args ...any) (*UpdateHandle[U], error) {
	_, h, err := lookup[W](handlers.Update, method)
	if err != nil {
		return nil, err
	}
	var w W
	return beginUpdate[U](ctx, to.target(w), h.Name, o, args)
}

// StartUpdateByName makes an update that has no Go type.
func (h *Handle[W, R]) StartUpdateByName(ctx context.Context, name string, o UpdateOptions, args ...any) (*UpdateHandle[converter.Value], error) {
	return beginUpdate[converter.Value](ctx, h.ref(), name, o, args)
}

func (r *ref) updateRequest(name string, o UpdateOptions, args []any) (*workflowservice.UpdateWorkflowExecutionRequest, error) {
	stage := map[Stage]enumspb.UpdateWorkflowExecutionLifecycleStage{
		Accepted: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED, Completed: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
	}[o.WaitFor]
	if stage == 0 {
		return nil, &UsageError{Text: "an update needs a stage to wait for: Accepted or Completed"}
	}
	input, err := converter.ToPayloads(r.c.o.Converter, args...)
	if err != nil {
		return nil, err
	}
	if o.ID == "" {
		o.ID = uuid.NewString()
	}
	return &workflowservice.UpdateWorkflowExecutionRequest{
		Namespace: r.c.o.Namespace, WorkflowExecution: r.execution(), FirstExecutionRunId: r.firstRun,
		WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: stage},
		Request: &updatepb.Request{
			Meta: &updatepb.Meta{UpdateId: o.ID, Identity: r.c.o.Identity}, Input: &updatepb.Input{Name: name, Args: input},
		},
	}, nil
}

// beginUpdate asks until the update is at least accepted: the server answers early, with less, when that takes long.
func beginUpdate[U any](ctx context.Context, r *ref, name string, o UpdateOptions, args []any) (*UpdateHandle[U], error) {
	request, err := r.updateRequest(name, o, args)
	if err != nil {
		return nil, err
	}
	for {
		answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.UpdateWorkflowExecutionResponse, error) {
			return r.c.service.UpdateWorkflowExecution(ctx, request)
		})
		if err != nil {
			return nil, typed(r.id, waiting(ctx, err))
		}
		if answer.Stage >= enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED || answer.Outcome != nil {
			at := *r
			if run := answer.UpdateRef.GetWorkflowExecution().GetRunId(); run != "" {
				at.run = run
			}
			return &UpdateHandle[U]{r: &at, id: request.Request.Meta.UpdateId, outcome: answer.Outcome}, nil
		}
	}
}

// StartOperation is the start half of SignalWithStart and UpdateWithStart. It is used once.
type StartOperation[W, R any] struct {
	o    StartOptions
	run  any
	args []any
	used atomic.Bool
	h    *Handle[W, R]
	err  error
	done chan struct{}
	once sync.Once
}

func withStart[W, R any](run any, o StartOptions, args ...any) *StartOperation[W, R] {
	return &StartOperation[W, R]{o: o, run: run, args: args, done: make(chan struct{})}
}

// Handle is the workflow's, once the operation is through.
func (op *StartOperation[W, R]) Handle(ctx context.Context) (*Handle[W, R], error) {
	select {
	case <-op.done:
		return op.h, op.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// settle may be called again; the first time counts.
func (op *StartOperation[W, R]) settle(h *Handle[W, R], err error) {
	op.once.Do(func() {
		op.h, op.err = h, err
		close(op.done)
	})
}

func (op *StartOperation[W, R]) request(c *Client) (*workflowservice.StartWorkflowExecutionRequest, error) {
	d, _, err := lookup[W](handlers.Run, op.run)
	if err != nil {
		return nil, err
	}
	if op.used.Swap(true) {
		return nil, &UsageError{Text: "a start operation can be used once"}
	}
	return c.startRequest(d.Name, op.o, op.args)
}

func signalWithStart[W, R any](ctx context.Context, c *Client, op *StartOperation[W, R], method any, args ...any) (_ *Handle[W, R], err error) {
	defer func() {
		if err != nil {
			op.settle(nil, err)
		}
	}()
	_, h, err := lookup[W](handlers.Signal, method)
	if err != nil {
		return nil, err
	}
	s, err := op.request(c)
	if err != nil {
		return nil, err
	}
	input, err := converter.ToPayloads(c.o.Converter, args...)
	if err != nil {
		return nil, err
	}
	answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
		return c.service.SignalWithStartWorkflowExecution(ctx, &workflowservice.SignalWithStartWorkflowExecutionRequest{
			Namespace: s.Namespace, WorkflowId: s.WorkflowId, WorkflowType: s.WorkflowType, TaskQueue: s.TaskQueue, Input: s.Input,
			WorkflowExecutionTimeout: s.WorkflowExecutionTimeout, WorkflowRunTimeout: s.WorkflowRunTimeout, WorkflowTaskTimeout: s.WorkflowTaskTimeout,
			Identity: s.Identity, RequestId: s.RequestId, WorkflowIdReusePolicy: s.WorkflowIdReusePolicy, WorkflowIdConflictPolicy: s.WorkflowIdConflictPolicy,
			SignalName: h.Name, SignalInput: input, RetryPolicy: s.RetryPolicy, CronSchedule: s.CronSchedule, Memo: s.Memo,
			SearchAttributes: s.SearchAttributes, WorkflowStartDelay: s.WorkflowStartDelay,
		})
	})
	handle := &Handle[W, R]{c: c, id: s.WorkflowId, firstRun: answer.GetRunId()}
	if err = typed(s.WorkflowId, err); err != nil {
		handle = nil
	}
	op.settle(handle, err)
	return handle, err
}

func updateWithStart[W, R, U any](ctx context.Context, c *Client, op *StartOperation[W, R], method any, args ...any) (out U, err error) {
	defer func() {
		if err != nil {
			op.settle(nil, err)
		}
	}()
	_, h, err := lookup[W](handlers.Update, method)
	if err != nil {
		return out, err
	}
	if op.o.IDConflict == enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED {
		return out, &UsageError{Text: "an update with start needs StartOptions.IDConflict: what to do when the workflow is running"}
	}
	s, err := op.request(c)
	if err != nil {
		return out, err
	}
	r := &ref{c: c, id: s.WorkflowId}
	u, err := r.updateRequest(h.Name, UpdateOptions{WaitFor: Completed}, args)
	if err != nil {
		return out, err
	}
	request := &workflowservice.ExecuteMultiOperationRequest{Namespace: c.o.Namespace, Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: s}},
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: u}},
	}}
	for {
		answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.ExecuteMultiOperationResponse, error) {
			return c.service.ExecuteMultiOperation(ctx, request)
		})
		if err != nil {
			err = typed(s.WorkflowId, waiting(ctx, culprit(err)))
			op.settle(nil, err)
			return out, err
		}
		if len(answer.Responses) != 2 {
			return out, fmt.Errorf("the server answered %d of 2 operations", len(answer.Responses))
		}
		updated := answer.Responses[1].GetUpdateWorkflow()
		if updated.Stage < enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED && updated.Outcome == nil {
			continue
		}
		op.settle(&Handle[W, R]{c: c, id: s.WorkflowId, firstRun: answer.Responses[0].GetStartWorkflow().GetRunId()}, nil)
		r.run = updated.UpdateRef.GetWorkflowExecution().GetRunId()
		return (&UpdateHandle[U]{r: r, id: u.Request.Meta.UpdateId, outcome: updated.Outcome}).Result(ctx)
	}
}

// culprit is the first error of several operations that is not a consequence of another's.
func culprit(err error) error {
	var multi *serviceerror.MultiOperationExecution
	if !errors.As(err, &multi) {
		return err
	}
	for _, e := range multi.OperationErrors() {
		var aborted *serviceerror.MultiOperationAborted
		if e != nil && !errors.As(e, &aborted) {
			return e
		}
	}
	return err
}
