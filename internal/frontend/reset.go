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
	for _, op := range r.PostResetOperations {
		switch op.GetVariant().(type) {
		case *workflowpb.PostResetOperation_UpdateWorkflowOptions_:
			return nil, serviceerror.NewUnimplemented("ResetWorkflowExecution: post_reset_operations.update_workflow_options is not supported")
		default:
			return nil, invalid("unsupported post reset operation: %T", op.GetVariant())
		}
	}
	return submit[*execution.ResetAnswer](ctx, s, key, run, execution.ResetWorkflow{Request: r})
}
