package execution

import (
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/ids"
)

// refusal is an input that is answered with an error: a message that its sender's own run must not get.
type refusal struct{ err error }

const serverIdentity = "history-service"

// Deliver makes the input that a message is to its receiver. from is the sender. ok is false when the message can be
// dropped.
func Deliver(from ids.RunKey, m *Message) (key ids.WorkflowKey, run ids.RunID, in Input, ok bool) {
	key, run = m.To.Of(), m.To.Run
	sender := &commonpb.WorkflowExecution{WorkflowId: string(from.Workflow), RunId: string(from.Run)}
	// The request ID is the same in every delivery of one message, so that the receiver can tell repeats.
	request := fmt.Sprintf("%s:%d", from.Run, m.Initiated)
	self := key == from.Of() && (run == "" || run == from.Run)
	switch m.Kind {
	case MessageStartChild:
		a := new(historypb.StartChildWorkflowExecutionInitiatedEventAttributes)
		decodeBody(m, a)
		in = StartWorkflow{Request: childRequest(a, request, m.ToNS), Parent: &Parent{NamespaceID: from.Namespace, Namespace: m.FromNS,
			WorkflowID: from.Workflow, RunID: from.Run, InitiatedID: m.Initiated, RootID: m.Root.Workflow, RootRunID: m.Root.Run}}
	case MessageParentAck:
		in = ParentAck{Parent: from}
	case MessageChildClosed:
		ev := new(historypb.HistoryEvent)
		decodeBody(m, ev)
		closed := ChildClosed{InitiatedID: m.Initiated, Child: from, First: m.FromFirst, Event: ev, Type: m.Text}
		if m.Root.Run != "" { // forwarded by a parent that was reset
			closed.Child, closed.First = m.Root, m.Root.Run
		}
		in = closed
	case MessageSignal:
		if self {
			return key, from.Run, refusal{notFound(m.To)}, true
		}
		a := new(historypb.SignalExternalWorkflowExecutionInitiatedEventAttributes)
		decodeBody(m, a)
		in = SignalWorkflow{Name: a.SignalName, Input: a.Input, Header: a.Header, Identity: serverIdentity, RequestID: request,
			From: sender, FromKey: from, ChildOnly: a.ChildWorkflowOnly}
	case MessageCancel:
		if self {
			return key, from.Run, refusal{notFound(m.To)}, true
		}
		a := new(historypb.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes)
		decodeBody(m, a)
		in = RequestCancel{Reason: a.Reason, Identity: serverIdentity, RequestID: request, From: sender, FromKey: from,
			FromInitiatedID: m.Initiated, ChildOnly: a.ChildWorkflowOnly}
	case MessageCloseChild:
		first := ids.RunID(m.Text)
		if enumspb.ParentClosePolicy(m.Number) == enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL {
			in = RequestCancel{Reason: "by parent close policy", Identity: serverIdentity, RequestID: request, FirstRunID: first,
				From: sender, FromKey: from, FromInitiatedID: m.Initiated, ChildOnly: true}
		} else {
			in = Terminate{Reason: "by parent close policy", Identity: serverIdentity, FirstRunID: first, ChildOf: &from}
		}
	default:
		return key, run, nil, false
	}
	return key, run, in, true
}

func decodeBody(m *Message, to proto.Message) {
	if err := proto.Unmarshal(m.Body, to); err != nil {
		panic(fmt.Sprintf("execution: message of kind %d: %v", m.Kind, err))
	}
}

func childRequest(a *historypb.StartChildWorkflowExecutionInitiatedEventAttributes, requestID, namespace string) *workflowservice.StartWorkflowExecutionRequest {
	r := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: a.WorkflowId, WorkflowType: a.WorkflowType, TaskQueue: a.TaskQueue, Input: a.Input,
		WorkflowExecutionTimeout: a.WorkflowExecutionTimeout, WorkflowRunTimeout: a.WorkflowRunTimeout, WorkflowTaskTimeout: a.WorkflowTaskTimeout,
		RequestId: requestID, WorkflowIdReusePolicy: a.WorkflowIdReusePolicy, WorkflowIdConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		RetryPolicy: a.RetryPolicy, CronSchedule: a.CronSchedule, Memo: a.Memo, SearchAttributes: a.SearchAttributes, Header: a.Header,
		Priority: a.Priority, VersioningOverride: a.VersioningOverride,
	}
	if a.WorkflowIdReusePolicy == enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING {
		r.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
		r.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	}
	return r
}

// Respond makes the input that tells the sender how its message fared: it also removes the outbox row. retry is true
// when the message has to be delivered again later.
func Respond(m *Message, outbox int64, ans any, err error) (in Input, retry bool) {
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Kind == Unavailable || e.Kind == ResourceExhausted || e.Kind == Internal) {
		if e == nil || m.Kind != MessageSignal || !lasting(e.Refusal) {
			return nil, true
		}
		// The target takes no signals before it continues as new, which may be never. Its sender is a workflow, which can
		// decide what that means; waiting here would keep others' messages back.
		e = errf(InvalidArgument, "%s", e.Message)
	}
	noNamespace := false
	if e != nil {
		_, noNamespace = e.Detail.(*errordetailspb.NamespaceNotFoundFailure)
	}
	switch m.Kind {
	case MessageStartChild:
		r := ChildStartResult{InitiatedID: m.Initiated, Child: m.To.Of(), Namespace: m.ToNS}
		switch {
		case err == nil:
			r.RunID = ans.(*StartAnswer).RunID
		case noNamespace:
			r.Failed = enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
		default:
			r.Failed = enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
		}
		return r, false
	case MessageSignal:
		r := ExternalSignalResult{InitiatedID: m.Initiated}
		switch {
		case err == nil:
		case noNamespace:
			r.Failed = enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
		case e.Kind == InvalidArgument:
			r.Failed = enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED
		default:
			r.Failed = enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
		}
		return r, false
	case MessageCancel:
		r := ExternalCancelResult{InitiatedID: m.Initiated}
		switch {
		case err == nil:
		case noNamespace:
			r.Failed = enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
		default:
			r.Failed = enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
		}
		return r, false
	}
	return Delivered{Outbox: outbox}, false
}
