package frontend

import (
	"context"

	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
)

// ResetWorkflowExecution makes a new run out of the first part of a run's history.
func (s *Service) ResetWorkflowExecution(ctx context.Context, r *workflowservice.ResetWorkflowExecutionRequest) (*workflowservice.ResetWorkflowExecutionResponse, error) {
	a, err := s.reset(ctx, r)
	if err != nil {
		return nil, err
	}
	return &workflowservice.ResetWorkflowExecutionResponse{RunId: string(a.RunID)}, nil
}

func (s *Service) reset(ctx context.Context, r *workflowservice.ResetWorkflowExecutionRequest) (*execution.ResetAnswer, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.WorkflowExecution)
	if err != nil {
		return nil, err
	}
	if r.RequestId == "" {
		return nil, invalid("RequestId is not set on request.")
	}
	if err := checkIDs(s.limits, "RequestId", r.RequestId, "Identity", r.Identity); err != nil {
		return nil, err
	}
	if err := checkPostReset("ResetWorkflowExecution", r.PostResetOperations); err != nil {
		return nil, err
	}
	return submit[*execution.ResetAnswer](ctx, s, key, run, execution.ResetWorkflow{Request: r})
}

// checkPostReset refuses what a reset is to do to the new run; rpc is the method that was asked.
func checkPostReset(rpc string, operations []*workflowpb.PostResetOperation) error {
	for _, op := range operations {
		switch op.GetVariant().(type) {
		case *workflowpb.PostResetOperation_UpdateWorkflowOptions_:
			return serviceerror.NewUnimplemented(rpc + ": post_reset_operations.update_workflow_options is not supported")
		default:
			return invalid("unsupported post reset operation: %T", op.GetVariant())
		}
	}
	return nil
}
