package frontend

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
)

// StartWorkflowExecution starts a run, or finds one, under the request's policies. The request is completed in place.
func (s *Service) StartWorkflowExecution(ctx context.Context, r *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	n, err := s.startNamespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := s.checkStart(n, r, conflictFail); err != nil {
		return nil, err
	}
	key := ids.WorkflowKey{Namespace: n.ID, Workflow: ids.WorkflowID(r.WorkflowId)}
	answer, err := submit[*execution.StartAnswer](ctx, s, key, "", execution.StartWorkflow{Request: r, Eager: r.RequestEagerExecution})
	if err != nil {
		return nil, err
	}
	resp := startResponse(n, key, r, answer)
	if answer.Eager != nil {
		// The run exists; a worker that gets no task finds it on the queue after the task's timeout.
		if resp.EagerWorkflowTask, err = s.workflowTask(ctx, answer.Eager); err != nil {
			s.log.WarnContext(ctx, "eager workflow task not delivered", "workflow", key.Workflow, "run", answer.RunID, "error", err)
			resp.EagerWorkflowTask = nil
		}
	}
	return resp, nil
}

func startResponse(n *namespace.Namespace, key ids.WorkflowKey, r *workflowservice.StartWorkflowExecutionRequest, a *execution.StartAnswer) *workflowservice.StartWorkflowExecutionResponse {
	resp := &workflowservice.StartWorkflowExecutionResponse{
		RunId: string(a.RunID), FirstExecutionRunId: string(a.FirstRunID), Started: a.Started, Status: a.Status,
	}
	if a.Attached || !a.Started && r.OnConflictOptions.GetAttachRequestId() {
		resp.Link = requestLink(n.Name, key, a.RunID, r.RequestId, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
	} else {
		resp.Link = eventLink(n.Name, key, a.RunID, 1, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
	}
	return resp
}

// SignalWithStartWorkflowExecution signals a workflow, starting it first when it does not run.
func (s *Service) SignalWithStartWorkflowExecution(ctx context.Context, r *workflowservice.SignalWithStartWorkflowExecutionRequest) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	n, err := s.startNamespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkSignal(s.limits, r.SignalName, r.RequestId, r.Identity, r.SignalInput); err != nil {
		return nil, err
	}
	if r.WorkflowIdConflictPolicy == conflictFail {
		return nil, invalid("Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation.")
	}
	start := startOf(r)
	if err := s.checkStart(n, start, conflictUseExisting); err != nil {
		return nil, err
	}
	key := ids.WorkflowKey{Namespace: n.ID, Workflow: ids.WorkflowID(r.WorkflowId)}
	answer, err := submit[*execution.StartAnswer](ctx, s, key, "", execution.StartWorkflow{
		Request: start,
		Signal: &execution.SignalWorkflow{
			Name: r.SignalName, Input: r.SignalInput, Header: r.Header, Identity: r.Identity, RequestID: start.RequestId, Links: r.Links,
		},
	})
	if err != nil {
		return nil, err
	}
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{
		RunId: string(answer.RunID), FirstExecutionRunId: string(answer.FirstRunID), Started: answer.Started,
		SignalLink: signalLink(n.Name, key, answer.RunID, 0, start.RequestId),
	}, nil
}

// startOf is the start half of a signal-with-start request.
func startOf(r *workflowservice.SignalWithStartWorkflowExecutionRequest) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: r.Namespace, WorkflowId: r.WorkflowId, WorkflowType: r.WorkflowType, TaskQueue: r.TaskQueue, Input: r.Input,
		WorkflowExecutionTimeout: r.WorkflowExecutionTimeout, WorkflowRunTimeout: r.WorkflowRunTimeout,
		WorkflowTaskTimeout: r.WorkflowTaskTimeout, Identity: r.Identity, RequestId: r.RequestId,
		WorkflowIdReusePolicy: r.WorkflowIdReusePolicy, WorkflowIdConflictPolicy: r.WorkflowIdConflictPolicy,
		RetryPolicy: r.RetryPolicy, CronSchedule: r.CronSchedule, Memo: r.Memo, SearchAttributes: r.SearchAttributes,
		Header: r.Header, WorkflowStartDelay: r.WorkflowStartDelay, UserMetadata: r.UserMetadata, Links: r.Links,
		VersioningOverride: r.VersioningOverride, Priority: r.Priority, TimeSkippingConfig: r.TimeSkippingConfig,
	}
}

// executionOf names a run in responses.
func executionOf(k ids.RunKey) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: string(k.Workflow), RunId: string(k.Run)}
}
