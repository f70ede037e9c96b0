package execution

import (
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/internal/ids"
)

func stepSignal(st *State, in SignalWorkflow, env *Env) *Transition {
	if in.RequestID != "" {
		if r, ok := st.Requests.Get(in.RequestID); ok && r.signals() {
			return noted(st, env, in.note(NoteRepeated), &SignalAnswer{RunID: st.Key.Run, EventID: r.EventID}, nil)
		}
	}
	if old, r := env.recalledRequest(in.RequestID); old != nil && r.signals() {
		n := in.note(NoteRepeated)
		n.Text = "run " + string(old.Key.Run) + " took it"
		return noted(st, env, n, &SignalAnswer{RunID: old.Key.Run, EventID: r.EventID}, nil)
	}
	if !st.Open() {
		return refuseNoted(st, env, in.note(0), errCompleted())
	}
	if err := signalAllowed(st, in, env); err != nil {
		return refuseNoted(st, env, in.note(0), err)
	}
	if in.ChildOnly && !childOf(st, in.FromKey) {
		return refuse(st, notFoundf("workflow parent does not match"))
	}
	d := newDraft(st, env)
	ev := d.arriveSignal(in)
	tr := d.finish()
	tr.Answer = &SignalAnswer{RunID: st.Key.Run, EventID: ev.EventId}
	return tr
}

// signals tells whether the request brought a signal.
func (r *Request) signals() bool {
	return r.Signaled || r.Type == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
}

// signalAllowed checks what a signal to an open run can be refused for.
func signalAllowed(st *State, in SignalWorkflow, env *Env) error {
	if payloadsSize(in.Input) > env.Limits.BlobBytes {
		return errf(InvalidArgument, "Blob data size exceeds limit.")
	}
	if l := env.Limits; l.Hard {
		if l.Signals > 0 && int(st.Info.SignalCount) >= l.Signals {
			return errf(InvalidArgument, "exceeded workflow execution limit for signal events")
		}
	} else if r := SignalsRefused(st, l); r.Code != "" {
		return r.busy()
	}
	if st.Info.CloseAttempted && st.Info.WFT.Started() {
		return errBusyClosing()
	}
	return nil
}

// childOf tells whether st was started as a child of the run parent.
func childOf(st *State, parent ids.RunKey) bool {
	return st.Start.ParentWorkflowID == parent.Workflow && st.Start.ParentRunID == parent.Run && st.Start.ParentNamespaceID == parent.Namespace
}

func (d *draft) signalEvent(in SignalWorkflow) *historypb.HistoryEvent {
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
	ev.Links = in.Links
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
			SignalName: in.Name, Input: in.Input, Identity: in.Identity, Header: in.Header,
			ExternalWorkflowExecution: in.From, RequestId: in.RequestID}}
	return ev
}

func (d *draft) arriveSignal(in SignalWorkflow) *historypb.HistoryEvent {
	ev := d.signalEvent(in)
	d.arrive(ev, nil)
	d.arrived(in.note(0), ev)
	return ev
}

// writeSignal puts a signal into the history of a run that is being started.
func (d *draft) writeSignal(in SignalWorkflow) {
	d.arrived(in.note(0), d.write(d.signalEvent(in)))
}

// signalWithStart delivers the signal half to the open run. A first workflow task that was to wait is scheduled at once.
// With hard limits these come before the check for a repeated request, unlike with a plain signal.
func signalWithStart(st *State, in SignalWorkflow, env *Env, a *StartAnswer) *Transition {
	r, known := st.Requests.Get(in.RequestID)
	repeated := known && in.RequestID != "" && r.signals()
	if err := signalAllowed(st, in, env); err != nil && (!repeated || env.Limits.Hard) {
		return refuseNoted(st, env, in.note(0), err)
	}
	if repeated {
		return noted(st, env, in.note(NoteRepeated), a, nil)
	}
	d := newDraft(st, env)
	d.arriveSignal(in)
	d.Info.FirstBackoffEnd = 0
	tr := d.finish()
	tr.Answer = a
	return tr
}

func stepCancel(st *State, in RequestCancel, env *Env) *Transition {
	ok := &EmptyAnswer{}
	if !st.Open() {
		return answer(st, ok)
	}
	if chainMismatch(st, in.FirstRunID) {
		return refuse(st, notFoundf("workflow execution not found"))
	}
	if in.ChildOnly && !childOf(st, in.FromKey) {
		return refuse(st, notFoundf("workflow parent does not match"))
	}
	if st.Info.CancelRequested {
		return answer(st, ok)
	}
	d := newDraft(st, env)
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
	ev.Links = in.Links
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionCancelRequestedEventAttributes{
		WorkflowExecutionCancelRequestedEventAttributes: &historypb.WorkflowExecutionCancelRequestedEventAttributes{
			Cause: in.Reason, ExternalInitiatedEventId: in.FromInitiatedID, ExternalWorkflowExecution: in.From, Identity: in.Identity}}
	d.arrive(ev, nil)
	n := Note{Kind: NoteCancel, ID: in.RequestID, Identity: in.Identity}
	if in.From != nil {
		n.From = ids.WorkflowID(in.From.WorkflowId)
	}
	d.arrived(n, ev)
	d.Info.FirstBackoffEnd = 0 // a cancelled run does not wait for its first task
	tr := d.finish()
	tr.Answer = ok
	return tr
}
