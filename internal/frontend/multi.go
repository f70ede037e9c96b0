package frontend

import (
	"cmp"
	"context"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
)

// ExecuteMultiOperation is update-with-start, the only combination there is.
func (s *Service) ExecuteMultiOperation(ctx context.Context, r *workflowservice.ExecuteMultiOperationRequest) (*workflowservice.ExecuteMultiOperationResponse, error) {
	n, err := s.startNamespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	var start *workflowservice.StartWorkflowExecutionRequest
	var update *workflowservice.UpdateWorkflowExecutionRequest
	if len(r.Operations) == 2 {
		start, update = r.Operations[0].GetStartWorkflow(), r.Operations[1].GetUpdateWorkflow()
	}
	if start == nil || update == nil {
		return nil, invalid("Operations have to be exactly [Start, Update].")
	}
	badStart := s.checkMultiStart(n, start)
	in, badUpdate := s.checkMultiUpdate(n, start, update)
	if badStart != nil || badUpdate != nil {
		return nil, multiError(cmp.Or(badStart, errAborted()), cmp.Or(badUpdate, errAborted()))
	}
	return s.updateWithStart(ctx, n, start, in)
}

// checkMultiStart refuses what cannot be part of update-with-start, then what no start can have.
func (s *Service) checkMultiStart(n *namespace.Namespace, r *workflowservice.StartWorkflowExecutionRequest) error {
	switch {
	case r.Namespace != n.Name:
		return invalid("Operation namespace did not match request's namespace.")
	case r.CronSchedule != "":
		return invalid("CronSchedule is not allowed.")
	case r.RequestEagerExecution:
		return invalid("RequestEagerExecution is not supported.")
	case r.WorkflowStartDelay != nil:
		return invalid("WorkflowStartDelay is not supported.")
	}
	return s.checkStart(n, r, conflictFail)
}

func (s *Service) checkMultiUpdate(n *namespace.Namespace, start *workflowservice.StartWorkflowExecutionRequest, r *workflowservice.UpdateWorkflowExecutionRequest) (in execution.UpdateWorkflow, err error) {
	if r.Namespace != n.Name {
		return in, invalid("Operation namespace did not match request's namespace.")
	}
	if _, _, err := checkExecution(s.limits, n.ID, r.WorkflowExecution); err != nil {
		return in, err
	}
	switch {
	case r.WorkflowExecution.RunId != "":
		return in, invalid("RunId is not allowed.")
	case r.FirstExecutionRunId != "":
		return in, invalid("FirstExecutionRunId is not allowed.")
	case r.WorkflowExecution.WorkflowId != start.WorkflowId:
		return in, invalid("WorkflowId is not consistent with previous operation(s).")
	}
	return s.checkUpdate(r)
}

// multiError says how each operation fared; the first real failure gives the call its code.
func multiError(start, update error) error {
	return serviceerror.NewMultiOperationExecution("Update-with-Start could not be executed.", []error{start, update})
}

// errAborted is the error of the operation that was not to blame.
func errAborted() error {
	return serviceerror.NewMultiOperationAborted("Operation was aborted.")
}

func (s *Service) updateWithStart(ctx context.Context, n *namespace.Namespace, start *workflowservice.StartWorkflowExecutionRequest, in execution.UpdateWorkflow) (*workflowservice.ExecuteMultiOperationResponse, error) {
	key := ids.WorkflowKey{Namespace: n.ID, Workflow: ids.WorkflowID(start.WorkflowId)}
	for again := false; ; again = true {
		started, answer, closed, err := s.tryUpdateWithStart(ctx, key, start, in)
		switch {
		case err == nil:
			return &workflowservice.ExecuteMultiOperationResponse{Responses: []*workflowservice.ExecuteMultiOperationResponse_Response{
				{Response: &workflowservice.ExecuteMultiOperationResponse_Response_StartWorkflow{StartWorkflow: startResponse(n, key, start, started)}},
				{Response: &workflowservice.ExecuteMultiOperationResponse_Response_UpdateWorkflow{UpdateWorkflow: updateResponse(key, in.Request, answer)}},
			}}, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case started == nil:
			return nil, multiError(err, errAborted())
		case started.Started:
			return nil, multiError(nil, err)
		case closed && again:
			return nil, multiError(errAborted(), refuse(execution.Aborted, "%v", err))
		case !closed:
			return nil, multiError(errAborted(), err)
		}
		// The run the update was given to has closed under it, and this call did not start it: once more, from the start.
	}
}

// tryUpdateWithStart returns no started answer if the start failed. closed tells that the update was waiting when its run
// closed.
func (s *Service) tryUpdateWithStart(ctx context.Context, key ids.WorkflowKey, start *workflowservice.StartWorkflowExecutionRequest, in execution.UpdateWorkflow) (started *execution.StartAnswer, answer *execution.UpdateAnswer, closed bool, err error) {
	waiting := s.engine.NewWaiter()
	defer waiting.Release()
	in.Waiter = waiting.ID
	started, err = submit[*execution.StartAnswer](ctx, s, key, "", execution.StartWorkflow{Request: start, Update: &in})
	switch {
	case err != nil:
		return nil, nil, false, err
	case started == nil:
		return nil, nil, false, internal("no answer to update-with-start")
	case started.UpdateErr != nil:
		return started, nil, false, started.UpdateErr
	case started.Update != nil:
		answer = started.Update
	default:
		answer, err = s.awaitUpdate(ctx, key, started.RunID, in.Request.Meta.UpdateId, waiting)
		closed = isKind(err, execution.NotFound)
	}
	answer, err = s.withOutcome(ctx, key, answer, err)
	return started, answer, closed, err
}
