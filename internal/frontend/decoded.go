package frontend

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
)

// Decoded is Service for callers in the same process that read the responses, such as the HTTP gateway: history is
// decoded. Over gRPC use Service itself, which spares the work.
type Decoded struct{ *Service }

var _ workflowservice.WorkflowServiceServer = Decoded{}

func decoded[R proto.Message](r R, err error) (R, error) {
	if err == nil {
		err = materialize(r)
	}
	return reply(r, err)
}

// StartWorkflowExecution decodes the eager workflow task's history.
func (d Decoded) StartWorkflowExecution(ctx context.Context, r *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	return decoded(d.Service.StartWorkflowExecution(ctx, r))
}

// PollWorkflowTaskQueue decodes the task's history.
func (d Decoded) PollWorkflowTaskQueue(ctx context.Context, r *workflowservice.PollWorkflowTaskQueueRequest) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	return decoded(d.Service.PollWorkflowTaskQueue(ctx, r))
}

// RespondWorkflowTaskCompleted decodes the follow-up task's history.
func (d Decoded) RespondWorkflowTaskCompleted(ctx context.Context, r *workflowservice.RespondWorkflowTaskCompletedRequest) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	return decoded(d.Service.RespondWorkflowTaskCompleted(ctx, r))
}

// GetWorkflowExecutionHistory decodes the page.
func (d Decoded) GetWorkflowExecutionHistory(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	return decoded(d.Service.GetWorkflowExecutionHistory(ctx, r))
}

// GetWorkflowExecutionHistoryReverse decodes the page.
func (d Decoded) GetWorkflowExecutionHistoryReverse(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryReverseRequest) (*workflowservice.GetWorkflowExecutionHistoryReverseResponse, error) {
	return decoded(d.Service.GetWorkflowExecutionHistoryReverse(ctx, r))
}
