package execution

import (
	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/internal/ids"
)

func (c *completion) signalExternal(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES
	a := cmd.GetSignalExternalWorkflowExecutionCommandAttributes()
	run, runOK := canonicalRun(a.GetExecution().GetRunId())
	switch {
	case a == nil:
		return badf(cause, "SignalExternalWorkflowExecutionCommandAttributes is not set on SignalExternalWorkflowExecutionCommand.")
	case a.Execution == nil:
		return badf(cause, "Execution is not set on SignalExternalWorkflowExecutionCommand.")
	case a.Execution.WorkflowId == "":
		return badf(cause, "WorkflowId is not set on SignalExternalWorkflowExecutionCommand.")
	case a.SignalName == "":
		return badf(cause, "SignalName is not set on SignalExternalWorkflowExecutionCommand. WorkflowId=%s", a.Execution.WorkflowId)
	case !runOK:
		return badf(cause, "Invalid RunId set on SignalExternalWorkflowExecutionCommand. WorkflowId=%s", a.Execution.WorkflowId)
	case c.tooLong(a.Execution.WorkflowId) || c.tooLong(a.SignalName):
		return badf(cause, "an identifier on SignalExternalWorkflowExecutionCommand exceeds length limit.")
	case c.foreign(a.Namespace):
		return badf(cause, crossNamespace)
	}
	if payloadsSize(a.Input) > c.env.Limits.BlobBytes {
		return oversize(cause, "SignalExternalWorkflowExecutionCommandAttributes.Input")
	}
	if c.Signals.Len() >= c.env.Limits.PendingSignals {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_PENDING_SIGNALS_LIMIT_EXCEEDED,
			"the number of pending signals to external workflows, %d, has reached the per-workflow limit of %d", c.Signals.Len(), c.env.Limits.PendingSignals)
	}
	attrs := &historypb.SignalExternalWorkflowExecutionInitiatedEventAttributes{
		WorkflowTaskCompletedEventId: c.completedID, Namespace: c.env.Namespace.Name, NamespaceId: string(c.env.Namespace.ID),
		WorkflowExecution: a.Execution, SignalName: a.SignalName, Input: a.Input, ChildWorkflowOnly: a.ChildWorkflowOnly, Header: a.Header, Control: a.Control}
	ev := c.commandEvent(enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, cmd)
	ev.Attributes = &historypb.HistoryEvent_SignalExternalWorkflowExecutionInitiatedEventAttributes{SignalExternalWorkflowExecutionInitiatedEventAttributes: attrs}
	c.write(ev)
	c.sendExternal(ownSignals, &c.Signals, RowSignal, &Message{Kind: MessageSignal, Initiated: ev.EventId, Body: mustMarshal(deterministic, attrs),
		To: ids.RunKey{Namespace: c.env.Namespace.ID, Workflow: ids.WorkflowID(a.Execution.WorkflowId), Run: run}, ToNS: c.env.Namespace.Name})
	return nil
}

func (c *completion) cancelExternal(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES
	a := cmd.GetRequestCancelExternalWorkflowExecutionCommandAttributes()
	run, runOK := canonicalRun(a.GetRunId())
	switch {
	case a == nil:
		return badf(cause, "RequestCancelExternalWorkflowExecutionCommandAttributes is not set on RequestCancelExternalWorkflowExecutionCommand.")
	case a.WorkflowId == "":
		return badf(cause, "WorkflowId is not set on RequestCancelExternalWorkflowExecutionCommand.")
	case !runOK:
		return badf(cause, "Invalid RunId set on RequestCancelExternalWorkflowExecutionCommand. WorkflowId=%s", a.WorkflowId)
	case c.tooLong(a.WorkflowId):
		return badf(cause, "WorkflowId on RequestCancelExternalWorkflowExecutionCommand exceeds length limit.")
	case c.foreign(a.Namespace):
		return badf(cause, crossNamespace)
	case c.startedKids[a.WorkflowId]:
		return badf(cause, "Start and RequestCancel for child workflow is not allowed in same workflow task. WorkflowId=%s", a.WorkflowId)
	}
	if c.Cancels.Len() >= c.env.Limits.PendingCancels {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED,
			"the number of pending requests to cancel external workflows, %d, has reached the per-workflow limit of %d", c.Cancels.Len(), c.env.Limits.PendingCancels)
	}
	attrs := &historypb.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes{
		WorkflowTaskCompletedEventId: c.completedID, Namespace: c.env.Namespace.Name, NamespaceId: string(c.env.Namespace.ID),
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: a.WorkflowId, RunId: a.RunId}, ChildWorkflowOnly: a.ChildWorkflowOnly, Reason: a.Reason, Control: a.Control}
	ev := c.commandEvent(enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, cmd)
	ev.Attributes = &historypb.HistoryEvent_RequestCancelExternalWorkflowExecutionInitiatedEventAttributes{RequestCancelExternalWorkflowExecutionInitiatedEventAttributes: attrs}
	c.write(ev)
	c.sendExternal(ownCancels, &c.Cancels, RowCancel, &Message{Kind: MessageCancel, Initiated: ev.EventId, Body: mustMarshal(deterministic, attrs),
		To: ids.RunKey{Namespace: c.env.Namespace.ID, Workflow: ids.WorkflowID(a.WorkflowId), Run: run}, ToNS: c.env.Namespace.Name})
	return nil
}

// sendExternal sends m and remembers its outbox number in the pending entry that the initiated event made.
func (c *completion) sendExternal(bit uint16, t *Table[ids.EventID, *External], kind RowKind, m *Message) {
	e, _ := t.Get(m.Initiated)
	n := *e
	n.Outbox = c.send(m)
	c.setExternal(bit, t, kind, &n)
}

func stepExternalSignalResult(st *State, in ExternalSignalResult, env *Env) *Transition {
	e, ok := st.Signals.Get(in.InitiatedID)
	if !ok || !st.Open() {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.unsend(e.Outbox)
	target := &commonpb.WorkflowExecution{WorkflowId: string(e.WorkflowID), RunId: string(e.RunID)}
	if in.Failed != 0 {
		ev := d.newEvent(enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
		ev.Attributes = &historypb.HistoryEvent_SignalExternalWorkflowExecutionFailedEventAttributes{
			SignalExternalWorkflowExecutionFailedEventAttributes: &historypb.SignalExternalWorkflowExecutionFailedEventAttributes{
				Cause: in.Failed, Namespace: e.Namespace, NamespaceId: string(e.NamespaceID), WorkflowExecution: target, InitiatedEventId: in.InitiatedID, Control: e.Control}}
		d.arrive(ev, nil)
	} else {
		ev := d.newEvent(enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
		ev.Attributes = &historypb.HistoryEvent_ExternalWorkflowExecutionSignaledEventAttributes{
			ExternalWorkflowExecutionSignaledEventAttributes: &historypb.ExternalWorkflowExecutionSignaledEventAttributes{
				InitiatedEventId: in.InitiatedID, Namespace: e.Namespace, NamespaceId: string(e.NamespaceID), WorkflowExecution: target, Control: e.Control}}
		d.arrive(ev, nil)
	}
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

func stepExternalCancelResult(st *State, in ExternalCancelResult, env *Env) *Transition {
	e, ok := st.Cancels.Get(in.InitiatedID)
	if !ok || !st.Open() {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.unsend(e.Outbox)
	target := &commonpb.WorkflowExecution{WorkflowId: string(e.WorkflowID), RunId: string(e.RunID)}
	if in.Failed != 0 {
		ev := d.newEvent(enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
		ev.Attributes = &historypb.HistoryEvent_RequestCancelExternalWorkflowExecutionFailedEventAttributes{
			RequestCancelExternalWorkflowExecutionFailedEventAttributes: &historypb.RequestCancelExternalWorkflowExecutionFailedEventAttributes{
				Cause: in.Failed, Namespace: e.Namespace, NamespaceId: string(e.NamespaceID), WorkflowExecution: target, InitiatedEventId: in.InitiatedID, Control: e.Control}}
		d.arrive(ev, nil)
	} else {
		ev := d.newEvent(enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
		ev.Attributes = &historypb.HistoryEvent_ExternalWorkflowExecutionCancelRequestedEventAttributes{
			ExternalWorkflowExecutionCancelRequestedEventAttributes: &historypb.ExternalWorkflowExecutionCancelRequestedEventAttributes{
				InitiatedEventId: in.InitiatedID, Namespace: e.Namespace, NamespaceId: string(e.NamespaceID), WorkflowExecution: target}}
		d.arrive(ev, nil)
	}
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// stepDelivered removes the outbox row of a message that needs no answer.
func stepDelivered(st *State, in Delivered, env *Env) *Transition {
	d := newDraft(st, env)
	d.unsend(in.Outbox)
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}
