package frontend

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// SignalWorkflowExecution returns once the signal is durable.
func (s *Service) SignalWorkflowExecution(ctx context.Context, r *workflowservice.SignalWorkflowExecutionRequest) (*workflowservice.SignalWorkflowExecutionResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.WorkflowExecution)
	if err != nil {
		return nil, err
	}
	if err := checkSignal(s.limits, r.SignalName, r.RequestId, r.Identity, r.Input); err != nil {
		return nil, err
	}
	if err := checkLinks(r.Links); err != nil {
		return nil, err
	}
	answer, err := submit[*execution.SignalAnswer](ctx, s, key, run, execution.SignalWorkflow{
		Name: r.SignalName, Input: r.Input, Header: r.Header, Identity: r.Identity, RequestID: r.RequestId, Links: r.Links,
	})
	if err != nil {
		return nil, err
	}
	return &workflowservice.SignalWorkflowExecutionResponse{
		Link: signalLink(n.Name, key, answer.RunID, answer.EventID, r.RequestId),
	}, nil
}

func checkSignal(l *execution.Limits, name, requestID, identity string, input *commonpb.Payloads) error {
	if err := checkID(l, "SignalName", name, true); err != nil {
		return err
	}
	if err := checkIDs(l, "RequestId", requestID, "Identity", identity); err != nil {
		return err
	}
	return checkBlob(l, input)
}

// eventLink points at an event of a run.
func eventLink(ns string, key ids.WorkflowKey, run ids.RunID, event ids.EventID, typ enumspb.EventType) *commonpb.Link {
	return workflowLink(&commonpb.Link_WorkflowEvent{
		Namespace: ns, WorkflowId: string(key.Workflow), RunId: string(run),
		Reference: &commonpb.Link_WorkflowEvent_EventRef{
			EventRef: &commonpb.Link_WorkflowEvent_EventReference{EventId: event, EventType: typ},
		},
	})
}

// requestLink points at the event that a request ID made, which may not have a number yet.
func requestLink(ns string, key ids.WorkflowKey, run ids.RunID, requestID string, typ enumspb.EventType) *commonpb.Link {
	return workflowLink(&commonpb.Link_WorkflowEvent{
		Namespace: ns, WorkflowId: string(key.Workflow), RunId: string(run),
		Reference: &commonpb.Link_WorkflowEvent_RequestIdRef{
			RequestIdRef: &commonpb.Link_WorkflowEvent_RequestIdReference{RequestId: requestID, EventType: typ},
		},
	})
}

func workflowLink(e *commonpb.Link_WorkflowEvent) *commonpb.Link {
	return &commonpb.Link{Variant: &commonpb.Link_WorkflowEvent_{WorkflowEvent: e}}
}

// signalLink points at a signal's event: by request ID where there is one, since a buffered event has no number.
func signalLink(ns string, key ids.WorkflowKey, run ids.RunID, event ids.EventID, requestID string) *commonpb.Link {
	const typ = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
	switch {
	case run == "":
		return nil
	case requestID != "":
		return requestLink(ns, key, run, requestID, typ)
	case event != 0:
		return eventLink(ns, key, run, event, typ)
	}
	return nil
}
