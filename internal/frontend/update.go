package frontend

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// updateWait is how long a caller waits for an update before it is told the stage reached and asks again.
const updateWait = 20 * time.Second

const (
	stageUnset     = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_UNSPECIFIED
	stageAdmitted  = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
	stageAccepted  = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
	stageCompleted = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
)

// UpdateWorkflowExecution admits an update and waits for the stage asked for. An answer without outcome after 20 s tells
// how far the update got; the caller asks again.
func (s *Service) UpdateWorkflowExecution(ctx context.Context, r *workflowservice.UpdateWorkflowExecutionRequest) (*workflowservice.UpdateWorkflowExecutionResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.WorkflowExecution)
	if err != nil {
		return nil, err
	}
	in, err := s.checkUpdate(r)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		answer, err := s.update(ctx, key, run, in)
		if err == nil {
			return updateResponse(key, in.Request, answer), nil
		}
		if try == lostRetries || !isKind(err, execution.Unavailable) || ctx.Err() != nil {
			return nil, err
		}
	}
}

// checkUpdate validates an update request but for its target, and completes it in place: it always has an ID.
func (s *Service) checkUpdate(r *workflowservice.UpdateWorkflowExecutionRequest) (in execution.UpdateWorkflow, err error) {
	u := r.GetRequest()
	switch {
	case u.GetMeta() == nil:
		return in, invalid("Update meta is not set on request.")
	case u.GetInput() == nil:
		return in, invalid("Update input is not set on request.")
	case u.GetInput().GetName() == "":
		return in, invalid("Update name is not set on request.")
	}
	if err := checkIDs(s.limits, "UpdateId", u.Meta.UpdateId, "UpdateName", u.Input.Name, "Identity", u.Meta.Identity); err != nil {
		return in, err
	}
	first, err := checkRunID(r.FirstExecutionRunId)
	if err != nil {
		return in, err
	}
	wait, err := checkStage(r.WaitPolicy.GetLifecycleStage())
	switch {
	case err != nil:
		return in, err
	case wait == stageUnset:
		wait = stageCompleted
	case wait == stageAdmitted:
		return in, permissionDenied("UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported.")
	}
	if u.Meta.UpdateId == "" {
		u.Meta.UpdateId = s.newID()
	}
	return execution.UpdateWorkflow{Request: u, FirstRunID: first, Wait: wait}, nil
}

func checkStage(stage enumspb.UpdateWorkflowExecutionLifecycleStage) (enumspb.UpdateWorkflowExecutionLifecycleStage, error) {
	if enumspb.UpdateWorkflowExecutionLifecycleStage_name[int32(stage)] == "" {
		return 0, invalid("Invalid LifecycleStage: %d", stage)
	}
	return stage, nil
}

func (s *Service) update(ctx context.Context, key ids.WorkflowKey, run ids.RunID, in execution.UpdateWorkflow) (*execution.UpdateAnswer, error) {
	waiting := s.engine.NewWaiter()
	defer waiting.Release()
	in.Waiter = waiting.ID
	answer, err := submit[*execution.UpdateAnswer](ctx, s, key, run, in)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		answer, err = s.awaitUpdate(ctx, key, run, in.Request.Meta.UpdateId, waiting)
	}
	return s.withOutcome(ctx, key, answer, err)
}

// awaitUpdate waits for a parked update. When the time is up it says how far the update got.
func (s *Service) awaitUpdate(ctx context.Context, key ids.WorkflowKey, run ids.RunID, id string, waiting *engine.Waiting) (*execution.UpdateAnswer, error) {
	ring, stop := s.clock.At(s.clock.Now().Add(updateWait))
	defer stop()
	select {
	case got := <-waiting.Reply:
		return updateReply(got)
	case <-ring:
	case <-ctx.Done():
	}
	reached, err := s.forget(ctx, key, run, execution.PollUpdate{UpdateID: id, Wait: stageUnset, Forget: waiting.ID})
	select {
	case got := <-waiting.Reply: // came in the meantime
		return updateReply(got)
	default:
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if answer, ok := reached.(*execution.UpdateAnswer); ok && err == nil {
		return answer, nil
	}
	// It is not known any more, or not to be asked about now: the next call will tell.
	return &execution.UpdateAnswer{RunID: run, Stage: stageAdmitted}, nil
}

func updateReply(got execution.Reply) (*execution.UpdateAnswer, error) {
	if got.Err != nil {
		return nil, got.Err
	}
	answer, ok := got.Answer.(*execution.UpdateAnswer)
	if !ok || answer == nil {
		return nil, internal("answer %T to an update", got.Answer)
	}
	return answer, nil
}

// withOutcome fetches the outcome from history if that is where it is. The answer is not changed.
func (s *Service) withOutcome(ctx context.Context, key ids.WorkflowKey, a *execution.UpdateAnswer, err error) (*execution.UpdateAnswer, error) {
	if err != nil || a.Outcome != nil || a.OutcomeEventID == 0 {
		return a, err
	}
	e, err := s.event(ctx, key.Run(a.RunID), a.OutcomeEventID)
	if err != nil {
		return nil, err
	}
	outcome := e.GetWorkflowExecutionUpdateCompletedEventAttributes().GetOutcome()
	if outcome == nil {
		return nil, internal("event %d of %s has no update outcome", a.OutcomeEventID, key.Run(a.RunID))
	}
	return &execution.UpdateAnswer{RunID: a.RunID, Stage: a.Stage, Outcome: outcome}, nil
}

func updateRef(key ids.WorkflowKey, run ids.RunID, id string) *updatepb.UpdateRef {
	return &updatepb.UpdateRef{WorkflowExecution: executionOf(key.Run(run)), UpdateId: id}
}

func updateResponse(key ids.WorkflowKey, u *updatepb.Request, a *execution.UpdateAnswer) *workflowservice.UpdateWorkflowExecutionResponse {
	return &workflowservice.UpdateWorkflowExecutionResponse{
		UpdateRef: updateRef(key, a.RunID, u.Meta.UpdateId), Outcome: a.Outcome, Stage: a.Stage,
	}
}

// PollWorkflowExecutionUpdate reports an update's stage, and waits for it if asked to.
func (s *Service) PollWorkflowExecutionUpdate(ctx context.Context, r *workflowservice.PollWorkflowExecutionUpdateRequest) (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	if r.UpdateRef == nil {
		return nil, invalid("UpdateRef is not set on request.")
	}
	key, run, err := checkExecution(s.limits, n.ID, r.UpdateRef.WorkflowExecution)
	if err != nil {
		return nil, err
	}
	if err := checkID(s.limits, "UpdateId", r.UpdateRef.UpdateId, true); err != nil {
		return nil, err
	}
	if err := checkIDs(s.limits, "Identity", r.Identity); err != nil {
		return nil, err
	}
	wait, err := checkStage(r.WaitPolicy.GetLifecycleStage())
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		answer, err := s.pollUpdate(ctx, key, run, r.UpdateRef.UpdateId, wait)
		if err == nil {
			return &workflowservice.PollWorkflowExecutionUpdateResponse{
				Outcome: answer.Outcome, Stage: answer.Stage, UpdateRef: updateRef(key, answer.RunID, r.UpdateRef.UpdateId),
			}, nil
		}
		if try == lostRetries || !isKind(err, execution.Unavailable) || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (s *Service) pollUpdate(ctx context.Context, key ids.WorkflowKey, run ids.RunID, id string, wait enumspb.UpdateWorkflowExecutionLifecycleStage) (*execution.UpdateAnswer, error) {
	waiting := s.engine.NewWaiter()
	defer waiting.Release()
	in := execution.PollUpdate{UpdateID: id, Wait: wait}
	if wait > stageAdmitted {
		in.Waiter = waiting.ID
	}
	answer, err := submit[*execution.UpdateAnswer](ctx, s, key, run, in)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		answer, err = s.awaitUpdate(ctx, key, run, id, waiting)
	}
	return s.withOutcome(ctx, key, answer, err)
}
