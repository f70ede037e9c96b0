package execution

import (
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/ids"
)

const resetter = "history-resetter"

// stepReset makes a new run out of the events of st, the base run, before in.Request.WorkflowTaskFinishEventId. Whatever
// run is open is terminated in the same batch; what came after the cut and is not the workflow's own doing is applied
// again.
func stepReset(st *State, in ResetWorkflow, env *Env) *Transition {
	current := in.Current
	if current == nil {
		current = st
	}
	if current.MadeByReset(in.Request.RequestId) {
		return answer(st, &ResetAnswer{RunID: current.Key.Run})
	}
	cut := in.Request.WorkflowTaskFinishEventId
	if err := resettable(in.Events, cut); err != nil {
		return refuse(st, err)
	}
	n, err := resetRun(st, in, env)
	if err != nil {
		panic(fmt.Sprintf("execution: reset %s at %d: %v", st.Key, cut, err))
	}
	base := newDraft(st, env)
	base.Info.ResetRunID = n.Key.Run
	base.durable()
	if st.Open() {
		base.terminateForReset(in.Request.Reason)
	}
	tr := base.finish()
	last := tr
	if current != st && current.Open() {
		c := newDraft(current, env)
		c.terminateForReset(in.Request.Reason)
		last.Successor = c.finish()
		last = last.Successor
	}
	last.Successor = n.finish()
	tr.Answer = &ResetAnswer{RunID: n.Key.Run}
	return tr
}

// MadeByReset tells whether the run was made by the reset of that request ID.
func (s *State) MadeByReset(requestID string) bool {
	r, ok := s.Requests.Get(requestID)
	return ok && r.Type == enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED
}

// terminateForReset ends a run that a reset replaces. Its parent is not told: the new run takes its place.
func (d *draft) terminateForReset(reason string) {
	s := *d.Start
	s.ParentWorkflowID = ""
	keep := d.State.Start
	d.State.Start = &s
	kids := d.Children
	for _, k := range kids.All {
		if k.RunID != "" {
			d.dropChild(k.InitiatedID) // belongs to the new run from now on, or to nobody
		}
	}
	d.terminate(reason, nil, resetter, nil)
	d.State.Start = keep
}

// resettable checks that the run can be cut before event id: right behind a workflow task's scheduled or started event.
func resettable(events []*historypb.HistoryEvent, id ids.EventID) error {
	if id <= 1 || id > int64(len(events)) {
		return errf(InvalidArgument, "Workflow task finish ID must be > 1 && <= workflow last event ID.")
	}
	switch events[id-2].EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		return nil
	}
	return errf(InvalidArgument, "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: %d", id)
}

// resetRun is the draft of the new run.
func resetRun(st *State, in ResetWorkflow, env *Env) (*draft, error) {
	cut := in.Request.WorkflowTaskFinishEventId
	key := st.Key
	key.Run = env.NewRunID
	kept := make([]*historypb.HistoryEvent, 0, cut+4)
	for _, ev := range in.Events[:cut-1] {
		kept = append(kept, proto.CloneOf(ev))
	}
	rebuilt, err := Rebuild(key, kept)
	if err != nil {
		return nil, err
	}
	d := newDraft(rebuilt, env)
	d.tr.Current, d.tr.Index = true, true
	d.durable()
	d.tr.Events = kept
	d.tr.EventBytes = make([]byte, 0, d.Info.HistoryBytes+4096)
	for _, ev := range kept {
		d.tr.EventBytes = appendEvent(d.tr.EventBytes, ev)
	}
	s := *d.Start
	s.RequestID, s.Namespace, s.FirstStartTime, s.Follows = st.Start.RequestID, env.Namespace.Name, st.Start.FirstStartTime, true
	d.State.Start = &s
	drop(d, ownRequests, &d.Requests, "")      // the start's, whose request ID no event tells
	both, known := d.Requests.Get(s.RequestID) // by the signal of a signal-with-start
	d.setRequest(&Request{ID: s.RequestID, Type: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, EventID: 1, Signaled: known && both.signals()})
	d.setRequest(&Request{ID: in.Request.RequestId, Type: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventID: cut})
	d.Info.LastResetTime = env.Now
	d.Info.FirstBackoffEnd = 0
	if s.RunTimeout > 0 {
		d.Info.RunDeadline = env.Now.Add(s.RunTimeout)
	}
	d.rowsOfAll()
	d.failForReset(st, in)
	d.restart()
	d.reapply(st, in)
	d.needTask, d.forceNormal = true, true
	return d, nil
}

// rowsOfAll names every row of a run whose state was not built row by row.
func (d *draft) rowsOfAll() {
	d.row(RowStart, 0, "")
	d.row(RowMemo, 0, "")
	d.row(RowSearchAttributes, 0, "")
	for id := range d.Activities.All {
		d.row(RowActivity, id, "")
	}
	for id := range d.Timers.All {
		d.row(RowTimer, 0, id)
	}
	for id := range d.Children.All {
		d.row(RowChild, id, "")
	}
	for id := range d.Cancels.All {
		d.row(RowCancel, id, "")
	}
	for id := range d.Signals.All {
		d.row(RowSignal, id, "")
	}
	for id := range d.Requests.All {
		d.row(RowRequest, 0, id)
	}
	for id := range d.Updates.All {
		d.row(RowUpdate, 0, id)
	}
}

// failForReset ends the workflow task at the cut with the event that marks the reset.
func (d *draft) failForReset(base *State, in ResetWorkflow) {
	d.Info.WFT.Dispatched = false // nothing of the rebuilt task is in the store
	if !d.Info.WFT.Started() {
		t := d.Info.WFT
		t.StartedAt, t.RequestID, t.Identity, t.HistoryBytes = d.now(), in.Request.RequestId, resetter, d.Info.HistoryBytes
		ev := d.startedEventOf(&t)
		d.write(ev)
	}
	f := &failurepb.Failure{Message: in.Request.Reason, Source: "Server", FailureInfo: &failurepb.Failure_ResetWorkflowFailureInfo{
		ResetWorkflowFailureInfo: &failurepb.ResetWorkflowFailureInfo{}}}
	d.failTask(enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW, f, resetter, taskFailure{baseRun: base.Key.Run, newRun: d.Key.Run})
}

// restart sets in motion again what was pending at the cut.
func (d *draft) restart() {
	for _, a := range slices.Collect(values(d.Activities)) {
		n := *a
		n.ScheduledAt, n.FirstSchedAt, n.Dispatched = d.now(), d.now(), false
		d.dispatchActivity(&n)
	}
	byID := make(map[ids.EventID]*historypb.HistoryEvent, len(d.tr.Events))
	for _, ev := range d.tr.Events {
		byID[ev.EventId] = ev
	}
	root := ids.RunKey{Namespace: d.Key.Namespace, Workflow: d.Start.RootWorkflowID, Run: d.Start.RootRunID}
	if root.Workflow == "" {
		root = d.Key
	}
	for _, k := range slices.Collect(values(d.Children)) {
		if k.RunID != "" {
			continue
		}
		a := byID[k.InitiatedID].GetStartChildWorkflowExecutionInitiatedEventAttributes()
		n := *k
		n.Outbox = d.send(&Message{Kind: MessageStartChild, To: ids.RunKey{Namespace: k.NamespaceID, Workflow: k.WorkflowID},
			ToNS: k.Namespace, Initiated: k.InitiatedID, Body: mustMarshal(deterministic, a), Root: root})
		d.setChild(&n)
	}
	for _, e := range slices.Collect(values(d.Signals)) {
		a := byID[e.InitiatedID].GetSignalExternalWorkflowExecutionInitiatedEventAttributes()
		n := *e
		n.Outbox = d.send(&Message{Kind: MessageSignal, Initiated: e.InitiatedID, Body: mustMarshal(deterministic, a),
			To: ids.RunKey{Namespace: e.NamespaceID, Workflow: e.WorkflowID, Run: e.RunID}, ToNS: e.Namespace})
		d.setExternal(ownSignals, &d.Signals, RowSignal, &n)
	}
	for _, e := range slices.Collect(values(d.Cancels)) {
		a := byID[e.InitiatedID].GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes()
		n := *e
		n.Outbox = d.send(&Message{Kind: MessageCancel, Initiated: e.InitiatedID, Body: mustMarshal(deterministic, a),
			To: ids.RunKey{Namespace: e.NamespaceID, Workflow: e.WorkflowID, Run: e.RunID}, ToNS: e.Namespace})
		d.setExternal(ownCancels, &d.Cancels, RowCancel, &n)
	}
}

func values[K int64 | string, V any](t Table[K, V]) func(func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range t.All {
			if !yield(v) {
				return
			}
		}
	}
}

// reapply writes again what had come to the base run from outside after the cut.
func (d *draft) reapply(base *State, in ResetWorkflow) {
	signals, updates := true, true
	switch in.Request.ResetReapplyType {
	case enumspb.RESET_REAPPLY_TYPE_NONE:
		signals, updates = false, false
	case enumspb.RESET_REAPPLY_TYPE_SIGNAL:
		updates = false
	}
	for _, x := range in.Request.ResetReapplyExcludeTypes {
		signals = signals && x != enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL
		updates = updates && x != enumspb.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE
	}
	later := slices.Clone(in.Events[in.Request.WorkflowTaskFinishEventId-1:])
	for _, b := range base.Buffered.All {
		later = append(later, b.Event)
	}
	later = append(later, in.Later...)
	if in.Current != nil && in.Current.Start.FirstRunID == base.Start.FirstRunID {
		for _, b := range in.Current.Buffered.All {
			later = append(later, b.Event)
		}
	}
	for _, ev := range later {
		switch ev.EventType {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			if signals {
				d.replay(ev)
			}
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
			if updates {
				d.readmit(ev.GetWorkflowExecutionUpdateAdmittedEventAttributes().Request.GetMeta().GetUpdateId(), ev)
			}
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
			if updates && ev.GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest != nil {
				d.readmit(ev.GetWorkflowExecutionUpdateAcceptedEventAttributes().ProtocolInstanceId, ev)
			}
		default:
			d.reapplyChild(ev)
		}
	}
}

// Reapplied tells whether a reset applies events of this type again, beside the ends of children of the run itself.
func Reapplied(t enumspb.EventType) bool {
	switch t {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		return true
	}
	return false
}

// replay writes a copy of an event under the next ID.
func (d *draft) replay(ev *historypb.HistoryEvent) {
	c := proto.CloneOf(ev)
	c.EventTime = d.now().Proto()
	d.write(c)
}

func (d *draft) readmit(id string, ev *historypb.HistoryEvent) {
	if _, known := d.Updates.Get(id); known {
		return
	}
	request := ev.GetWorkflowExecutionUpdateAdmittedEventAttributes().GetRequest()
	if request == nil {
		request = ev.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest()
	}
	n := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
	n.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateAdmittedEventAttributes{
		WorkflowExecutionUpdateAdmittedEventAttributes: &historypb.WorkflowExecutionUpdateAdmittedEventAttributes{
			Request: request, Origin: enumspb.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY}}
	d.write(n)
}

// reapplyChild carries the outcome of a child that was pending at the cut over to the new run.
func (d *draft) reapplyChild(ev *historypb.HistoryEvent) {
	if id := childInitiatedID(ev); id != 0 {
		if k, ok := d.Children.Get(id); ok && k.StartedID != 0 {
			c := proto.CloneOf(ev)
			c.EventTime = d.now().Proto()
			setStartedID(c, k.StartedID)
			d.write(c)
		}
	}
}
