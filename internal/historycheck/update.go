package historycheck

import (
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	updatepb "go.temporal.io/api/update/v1"
)

// update is how far one update has come.
type update struct {
	admittedID  int64
	acceptedID  int64
	completedID int64
}

func (w *walker) applyUpdate() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
		w.updateAdmitted(w.ev.GetWorkflowExecutionUpdateAdmittedEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		w.updateAccepted(w.ev.GetWorkflowExecutionUpdateAcceptedEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		w.updateCompleted(w.ev.GetWorkflowExecutionUpdateCompletedEventAttributes())
	}
}

func (w *walker) updateAdmitted(a *historypb.WorkflowExecutionUpdateAdmittedEventAttributes) {
	id := a.GetRequest().GetMeta().GetUpdateId()
	w.request(a.Request)
	w.need(a.Origin == enumspb.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY, RuleUpdate, "origin %s; only a reset admits by event", a.Origin)
	w.need(w.lastReset != "", RuleUpdate, "no reset precedes, and only a reset admits by event")
	if w.updates[id] != nil {
		w.bad(RuleUpdate, "update %q is already known", id)
		return
	}
	w.updates[id] = &update{admittedID: w.id()}
}

func (w *walker) updateAccepted(a *historypb.WorkflowExecutionUpdateAcceptedEventAttributes) {
	id := a.ProtocolInstanceId
	w.need(a.AcceptedRequestMessageId == id+"/request", RuleUpdate,
		"accepted_request_message_id is %q, not %q", a.AcceptedRequestMessageId, id+"/request")
	seq := a.AcceptedRequestSequencingEventId
	w.need(0 < seq && seq < w.id(), RuleUpdate, "accepted_request_sequencing_event_id %d is no earlier event", seq)

	u := w.updates[id]
	if u == nil {
		u = &update{}
		w.updates[id] = u
	}
	if u.acceptedID != 0 {
		w.bad(RuleUpdate, "update %q was already accepted by event %d", id, u.acceptedID)
		return
	}
	if u.admittedID != 0 {
		w.need(a.AcceptedRequest == nil, RuleUpdate, "carries the request that UpdateAdmitted %d already has", u.admittedID)
	} else {
		w.request(a.AcceptedRequest)
		got := a.GetAcceptedRequest().GetMeta().GetUpdateId()
		w.need(got == id, RuleUpdate, "the request is that of update %q, not %q", got, id)
	}
	u.acceptedID = w.id()
	w.accepted[w.id()] = id
}

func (w *walker) updateCompleted(a *historypb.WorkflowExecutionUpdateCompletedEventAttributes) {
	id := a.GetMeta().GetUpdateId()
	w.need(a.GetOutcome().GetValue() != nil, RuleUpdate, "no outcome")
	got, known := w.accepted[a.AcceptedEventId]
	if !known {
		w.bad(RuleUpdate, "accepted_event_id %d is no UpdateAccepted", a.AcceptedEventId)
		return
	}
	w.need(got == id, RuleUpdate, "event %d accepted update %q, not %q", a.AcceptedEventId, got, id)
	u := w.updates[got]
	w.need(u.completedID == 0, RuleUpdate, "update %q was already completed by event %d", got, u.completedID)
	u.completedID = w.id()
}

// request judges the request inside an admitted or accepted event.
func (w *walker) request(r *updatepb.Request) {
	w.need(r.GetMeta().GetUpdateId() != "", RuleUpdate, "no request with an update ID")
	w.need(r.GetInput().GetName() != "", RuleUpdate, "no request with an update name")
}

// nexusOperation is what its events tell of one Nexus operation.
type nexusOperation struct {
	startedID int64
	endedID   int64
}

func (w *walker) applyNexus() {
	scheduledID, has := w.field("scheduled_event_id")
	switch w.typ() {
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED:
		w.nexus[w.id()] = &nexusOperation{}
		return
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_STARTED, enumspb.EVENT_TYPE_NEXUS_OPERATION_COMPLETED,
		enumspb.EVENT_TYPE_NEXUS_OPERATION_FAILED, enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCELED,
		enumspb.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT, enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED,
		enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED, enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_FAILED:
	default:
		return
	}
	op := w.nexus[scheduledID]
	if !has || op == nil {
		w.bad(RuleNexus, "scheduled_event_id %d is no NexusOperationScheduled", scheduledID)
		return
	}
	switch w.typ() {
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED:
		w.nexusAsked[w.id()] = scheduledID
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED, enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_FAILED:
		requestedID, _ := w.field("requested_event_id")
		w.need(w.nexusAsked[requestedID] == scheduledID, RuleNexus,
			"requested_event_id %d is no unanswered cancel request of operation %d", requestedID, scheduledID)
		delete(w.nexusAsked, requestedID)
	default:
		w.need(op.endedID == 0, RuleNexus, "operation %d has already ended with event %d", scheduledID, op.endedID)
		if w.is(enumspb.EVENT_TYPE_NEXUS_OPERATION_STARTED) {
			w.need(op.startedID == 0, RuleNexus, "operation %d was already started by event %d", scheduledID, op.startedID)
			op.startedID = w.id()
			return
		}
		op.endedID = w.id()
	}
}
