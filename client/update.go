package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
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
	ID      string // random when empty. One ID is one update; set it if you may stop waiting
	WaitFor Stage
}

// UpdateOption changes one update that is waited for.
type UpdateOption func(*UpdateOptions)

// UpdateID sets the update's ID, so that a second call with it is the same update.
func UpdateID(id string) UpdateOption { return func(o *UpdateOptions) { o.ID = id } }

func completing(options []UpdateOption) UpdateOptions {
	o := UpdateOptions{WaitFor: Completed}
	for _, option := range options {
		option(&o)
	}
	return o
}

// UpdateHandle is an update on its way. Safe for concurrent use.
type UpdateHandle[U any] struct {
	r       *ref
	id      string
	outcome atomic.Pointer[updatepb.Outcome]
}

func handleOfUpdate[U any](r ref, id string, at *updatepb.UpdateRef, outcome *updatepb.Outcome) *UpdateHandle[U] {
	if run := at.GetWorkflowExecution().GetRunId(); run != "" {
		r.run = run
	}
	u := &UpdateHandle[U]{r: &r, id: id}
	u.outcome.Store(outcome)
	return u
}

// ID is the update's.
func (u *UpdateHandle[U]) ID() string { return u.id }

// WorkflowID is that of the workflow which is updated.
func (u *UpdateHandle[U]) WorkflowID() string { return u.r.id }

// RunID is the run which is updated. It is empty for a handle made of IDs that has none.
func (u *UpdateHandle[U]) RunID() string { return u.r.run }

// UpdateHandleOf is the handle of an update that is known by its ID.
func UpdateHandleOf[U, W, R any](h *Handle[W, R], updateID string) *UpdateHandle[U] {
	return handleOfUpdate[U](*h.ref(), updateID, nil, nil)
}

// Result waits for the outcome: a *UpdateFailedError when it is a rejection or a failure, a *UpdateWaitError when ctx ended
// before.
func (u *UpdateHandle[U]) Result(ctx context.Context) (U, error) {
	var out U
	c := u.r.c
	for u.outcome.Load() == nil {
		answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
			return c.service.PollWorkflowExecutionUpdate(ctx, &workflowservice.PollWorkflowExecutionUpdateRequest{
				Namespace: c.o.Namespace, UpdateRef: &updatepb.UpdateRef{WorkflowExecution: u.r.execution(), UpdateId: u.id}, Identity: c.o.Identity,
				WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED},
			})
		})
		if err != nil {
			return out, typed(u.r.id, waiting(ctx, u.r.id, u.id, err))
		}
		u.outcome.Store(answer.Outcome)
	}
	outcome := u.outcome.Load()
	if f := outcome.GetFailure(); f != nil {
		return out, &UpdateFailedError{c.o.Failures.FromFailure(f)}
	}
	return out, c.decodeResult(outcome.GetSuccess(), &out)
}

func update[W, U any](ctx context.Context, to Target[W], method any, o []UpdateOption, args ...any) (U, error) {
	var out U
	u, err := startUpdate[W, U](ctx, to, method, completing(o), args...)
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
	call := &Call{Kind: CallUpdate, WorkflowID: r.id, Message: name, UpdateID: request.Request.Meta.UpdateId}
	answer, err := send(ctx, r.c, call, func(ctx context.Context, header *commonpb.Header) (*workflowservice.UpdateWorkflowExecutionResponse, error) {
		request.Request.Input.Header = header
		for {
			answer, err := r.c.service.UpdateWorkflowExecution(ctx, request)
			if err != nil || atLeastAccepted(answer) {
				return answer, err
			}
		}
	})
	if err != nil {
		return nil, typed(r.id, waiting(ctx, r.id, call.UpdateID, err))
	}
	return handleOfUpdate[U](*r, call.UpdateID, answer.UpdateRef, answer.Outcome), nil
}

func atLeastAccepted(u *workflowservice.UpdateWorkflowExecutionResponse) bool {
	return u.GetStage() >= enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED || u.GetOutcome() != nil
}

// StartOperation is the start half of SignalWithStart and UpdateWithStart. It is used once.
type StartOperation[W, R any] struct {
	o    StartOptions
	run  any    // the method, or nil
	name string // of what has no Go type
	args []any
	used atomic.Bool
	h    *Handle[W, R]
	err  error
	done chan struct{}
}

func withStart[W, R any](run any, o StartOptions, args ...any) *StartOperation[W, R] {
	return &StartOperation[W, R]{o: o, run: run, args: args, done: make(chan struct{})}
}

// WithStartByName is the start half of an operation for a workflow that has no Go type.
func WithStartByName(name string, o StartOptions, args ...any) *StartOperation[Any, converter.Value] {
	op := withStart[Any, converter.Value](nil, o, args...)
	op.name = name
	return op
}

// Handle is the workflow's, once the operation is through; its error is that of the operation.
func (op *StartOperation[W, R]) Handle(ctx context.Context) (*Handle[W, R], error) {
	select {
	case <-op.done:
		return op.h, op.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errUsed = &UsageError{Text: "a start operation can be used once"}

// use does what the operation is for, once, and settles its handle however that ends: nobody waits for it in vain.
func (op *StartOperation[W, R]) use(do func() (*Handle[W, R], error)) error {
	if op.used.Swap(true) {
		return errUsed
	}
	defer close(op.done)
	op.h, op.err = do()
	return op.err
}

func (op *StartOperation[W, R]) request(c *Client) (*workflowservice.StartWorkflowExecutionRequest, error) {
	if op.run == nil {
		return c.startRequest(op.name, op.o, op.args)
	}
	d, _, err := lookup[W](handlers.Run, op.run)
	if err != nil {
		return nil, err
	}
	return c.startRequest(d.Name, op.o, op.args)
}

// sent is the name of the message that a method expression stands for, or the name that was given.
func sent[W any](kind handlers.Kind, message any) (string, error) {
	if name, ok := message.(string); ok {
		return name, nil
	}
	_, h, err := lookup[W](kind, message)
	if err != nil {
		return "", err
	}
	return h.Name, nil
}

// SignalWithStartByName is SignalWithStart with a signal that has no Go type.
func SignalWithStartByName[W, R any](ctx context.Context, c *Client, op *StartOperation[W, R], name string, args ...any) (*Handle[W, R], error) {
	return signalWithStart(ctx, c, op, name, args...)
}

// UpdateWithStartByName is UpdateWithStart with an update that has no Go type.
func UpdateWithStartByName[W, R any](ctx context.Context, c *Client, op *StartOperation[W, R], name string, args ...any) (converter.Value, error) {
	return updateWithStart[W, R, converter.Value](ctx, c, op, name, nil, args...)
}

// StartUpdateWithStartByName is UpdateWithStartByName that waits until the update is as far as o.WaitFor says.
func StartUpdateWithStartByName[W, R any](ctx context.Context, c *Client, op *StartOperation[W, R], name string, o UpdateOptions, args ...any) (*UpdateHandle[converter.Value], error) {
	return startUpdateWithStart[W, R, converter.Value](ctx, c, op, name, o, args...)
}

func signalWithStart[W, R any](ctx context.Context, c *Client, op *StartOperation[W, R], message any, args ...any) (*Handle[W, R], error) {
	err := op.use(func() (*Handle[W, R], error) {
		name, err := sent[W](handlers.Signal, message)
		if err != nil {
			return nil, err
		}
		start, err := op.request(c)
		if err != nil {
			return nil, err
		}
		answer, err := c.signalWithStart(ctx, start, name, args)
		if err != nil {
			return nil, typed(start.WorkflowId, err)
		}
		return begun[W, R](c, start.WorkflowId, answer.RunId, answer.Started), nil
	})
	if err != nil {
		return nil, err
	}
	return op.h, nil
}

func (c *Client) signalWithStart(ctx context.Context, s *workflowservice.StartWorkflowExecutionRequest, name string, args []any) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	input, err := converter.ToPayloads(c.o.Converter, args...)
	if err != nil {
		return nil, err
	}
	request := &workflowservice.SignalWithStartWorkflowExecutionRequest{
		Namespace: s.Namespace, WorkflowId: s.WorkflowId, WorkflowType: s.WorkflowType, TaskQueue: s.TaskQueue, Input: s.Input,
		WorkflowExecutionTimeout: s.WorkflowExecutionTimeout, WorkflowRunTimeout: s.WorkflowRunTimeout, WorkflowTaskTimeout: s.WorkflowTaskTimeout,
		Identity: s.Identity, RequestId: s.RequestId, WorkflowIdReusePolicy: s.WorkflowIdReusePolicy, WorkflowIdConflictPolicy: s.WorkflowIdConflictPolicy,
		SignalName: name, SignalInput: input, RetryPolicy: s.RetryPolicy, CronSchedule: s.CronSchedule, Memo: s.Memo,
		SearchAttributes: s.SearchAttributes, WorkflowStartDelay: s.WorkflowStartDelay, UserMetadata: s.UserMetadata, Priority: s.Priority,
	}
	call := &Call{Kind: CallSignalWithStart, WorkflowID: s.WorkflowId, WorkflowType: s.WorkflowType.Name, Message: name}
	return send(ctx, c, call, func(ctx context.Context, header *commonpb.Header) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
		request.Header = header
		return c.service.SignalWithStartWorkflowExecution(ctx, request)
	})
}

func updateWithStart[W, R, U any](ctx context.Context, c *Client, op *StartOperation[W, R], message any, o []UpdateOption, args ...any) (U, error) {
	u, err := startUpdateWithStart[W, R, U](ctx, c, op, message, completing(o), args...)
	if err != nil {
		var none U
		return none, err
	}
	return u.Result(ctx)
}

func startUpdateWithStart[W, R, U any](ctx context.Context, c *Client, op *StartOperation[W, R], message any, o UpdateOptions, args ...any) (u *UpdateHandle[U], err error) {
	err = op.use(func() (*Handle[W, R], error) {
		name, err := sent[W](handlers.Update, message)
		if err != nil {
			return nil, err
		}
		if op.o.IDConflict == enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED {
			return nil, &UsageError{Text: "an update with start needs StartOptions.IDConflict: what to do when the workflow is running"}
		}
		start, err := op.request(c)
		if err != nil {
			return nil, err
		}
		r := &ref{c: c, id: start.WorkflowId}
		update, err := r.updateRequest(name, o, args)
		if err != nil {
			return nil, err
		}
		started, updated, err := c.updateWithStart(ctx, start, update)
		if err != nil {
			return nil, typed(start.WorkflowId, waiting(ctx, start.WorkflowId, update.Request.Meta.UpdateId, err))
		}
		u = handleOfUpdate[U](*r, update.Request.Meta.UpdateId, updated.UpdateRef, updated.Outcome)
		return begun[W, R](c, start.WorkflowId, started.GetRunId(), started.GetStarted()), nil
	})
	return u, err
}

// updateWithStart makes both as one, until the update is at least accepted. What is asked again is the same start and the same
// update.
func (c *Client) updateWithStart(ctx context.Context, start *workflowservice.StartWorkflowExecutionRequest, update *workflowservice.UpdateWorkflowExecutionRequest) (
	*workflowservice.StartWorkflowExecutionResponse, *workflowservice.UpdateWorkflowExecutionResponse, error,
) {
	request := &workflowservice.ExecuteMultiOperationRequest{Namespace: c.o.Namespace, Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: start}},
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: update}},
	}}
	call := &Call{
		Kind: CallUpdateWithStart, WorkflowID: start.WorkflowId, WorkflowType: start.WorkflowType.Name,
		Message: update.Request.Input.Name, UpdateID: update.Request.Meta.UpdateId,
	}
	// made stays true once a try has started the workflow: the next one finds it running.
	made := false
	answer, err := send(ctx, c, call, func(ctx context.Context, header *commonpb.Header) (*workflowservice.ExecuteMultiOperationResponse, error) {
		start.Header, update.Request.Input.Header = header, header
		for {
			answer, err := c.service.ExecuteMultiOperation(ctx, request)
			if err != nil {
				return nil, err
			}
			if len(answer.Responses) != 2 {
				return nil, fmt.Errorf("the server answered %d of 2 operations", len(answer.Responses))
			}
			made = made || answer.Responses[0].GetStartWorkflow().GetStarted()
			if atLeastAccepted(answer.Responses[1].GetUpdateWorkflow()) {
				return answer, nil
			}
		}
	})
	if err != nil {
		return nil, nil, culprit(err)
	}
	started := answer.Responses[0].GetStartWorkflow()
	if started != nil {
		started.Started = made
	}
	return started, answer.Responses[1].GetUpdateWorkflow(), nil
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
