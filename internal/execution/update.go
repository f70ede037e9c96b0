package execution

import (
	"cmp"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/protobuf/proto"
)

const (
	stageAdmitted  = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
	stageAccepted  = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
	stageCompleted = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
)

// updateResult is what one step decided about an update. outcome nil: it was accepted only. err: it was aborted.
type updateResult struct {
	id      string
	outcome *updatepb.Outcome
	err     error
}

func stepUpdate(st *State, in UpdateWorkflow, env *Env) *Transition {
	if old, u := env.recalledUpdate(in.Request.GetMeta().GetUpdateId(), in.FirstRunID); old != nil {
		n := updateNote(in.Request, NoteRepeated)
		n.Text = "run " + string(old.Key.Run) + " took it"
		return noted(st, env, n, closedUpdate(old, u), nil)
	}
	if chainMismatch(st, in.FirstRunID) {
		return refuse(st, notFoundf("workflow execution not found"))
	}
	if !st.Open() {
		if u, ok := st.Updates.Get(in.Request.GetMeta().GetUpdateId()); ok && u.AcceptedID != 0 {
			return noted(st, env, updateNote(in.Request, NoteRepeated), closedUpdate(st, u), nil)
		}
		return refuseNoted(st, env, updateNote(in.Request, 0), errCompleted())
	}
	d := newDraft(st, env)
	a, err := d.admit(in)
	if err != nil {
		return refuseNoted(st, env, updateNote(in.Request, 0), err)
	}
	tr := d.finish()
	if a != nil {
		tr.Answer = a
	}
	return tr
}

func completedUpdate(st *State, u *Update) *UpdateAnswer {
	return &UpdateAnswer{RunID: st.Key.Run, Stage: stageCompleted, OutcomeEventID: u.CompletedID}
}

// closedUpdate answers for an accepted update of a closed run: its outcome, or the failure that stands for having none.
func closedUpdate(st *State, u *Update) *UpdateAnswer {
	if u.CompletedID != 0 {
		return completedUpdate(st, u)
	}
	return &UpdateAnswer{RunID: st.Key.Run, Stage: stageCompleted, Outcome: failedOutcome(acceptedThenClosed())}
}

func failedOutcome(f *failurepb.Failure) *updatepb.Outcome {
	return &updatepb.Outcome{Value: &updatepb.Outcome_Failure{Failure: f}}
}

func serverApplicationFailure(typ, msg string) *failurepb.Failure {
	return &failurepb.Failure{Message: msg, Source: "Server", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
		ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: typ, NonRetryable: true}}}
}

func acceptedThenClosed() *failurepb.Failure {
	return serverApplicationFailure("AcceptedUpdateCompletedWorkflow",
		"Workflow Update failed because the Workflow completed before the Update completed.")
}

// taskAttempt is the attempt of the pending workflow task, or of the next one.
func (s *State) taskAttempt() int32 { return max(s.Info.WFT.Attempt, s.Info.NextAttempt) }

// admit takes an update for an open run in. It returns the answer if there is one already, or neither answer nor error
// when the caller has to wait.
func (d *draft) admit(in UpdateWorkflow) (*UpdateAnswer, error) {
	if d.taskAttempt() >= d.env.Limits.AttemptsBeforeReady {
		return nil, notReadyf("Unable to perform workflow execution update due to Workflow Task in failed state.")
	}
	if d.Info.CloseAttempted && d.Info.WFT.Started() {
		return nil, errBusyClosing()
	}
	id := in.Request.GetMeta().GetUpdateId()
	if a, known := d.attach(id, in.Wait, in.Waiter); known {
		d.note(updateNote(in.Request, NoteRepeated))
		return a, nil
	}
	u := &LiveUpdate{ID: id, Request: in.Request, Size: proto.Size(in.Request)}
	if err := d.updateLimits(u); err != nil {
		return nil, err
	}
	d.Volatile.NextNum++
	u.Number = d.Volatile.NextNum
	if in.Waiter != 0 {
		u.Waiters = []updateWaiter{{in.Waiter, in.Wait}}
	}
	if d.Info.FirstBackoffEnd != 0 { // its sender waits: the first workflow task does not
		d.Info.FirstBackoffEnd = 0
		d.needTask, d.forceNormal = true, true
	}
	d.setLive(u)
	d.note(updateNote(in.Request, NoteReceived))
	return nil, nil
}

// attach joins a known update: answers if its stage allows, else parks the waiter. known is false for unknown IDs.
func (d *draft) attach(id string, wait enumspb.UpdateWorkflowExecutionLifecycleStage, w Waiter) (a *UpdateAnswer, known bool) {
	u, durable := d.Updates.Get(id)
	live, inMemory := d.Volatile.Updates.Get(id)
	if !durable && !inMemory {
		return nil, false
	}
	stage := stageAdmitted
	if durable && u.CompletedID != 0 {
		return completedUpdate(d.State, u), true
	}
	if durable && u.AcceptedID != 0 {
		stage = stageAccepted
	}
	if wait <= stage {
		return &UpdateAnswer{RunID: d.Key.Run, Stage: stage}, true
	}
	if w == 0 {
		return nil, true
	}
	n := LiveUpdate{ID: id, Stage: UpdateAccepted}
	if inMemory {
		n = *live
	}
	n.Waiters = append(slices.Clip(n.Waiters), updateWaiter{w, wait})
	d.setLive(&n)
	return nil, true
}

func (d *draft) updateLimits(u *LiveUpdate) error {
	l := d.env.Limits
	open, size := int(d.Info.OpenUpdates), u.Size
	waiting := 0
	for _, o := range d.Volatile.Updates.All {
		if o.Stage != UpdateAccepted {
			waiting++
			size += o.Size
		}
	}
	concurrent := func(format string, n int) error {
		e := errf(ResourceExhausted, format, n)
		e.Cause = enumspb.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT
		return e
	}
	switch {
	case l.UpdatesInFlight > 0 && open+waiting >= l.UpdatesInFlight:
		return concurrent("limit on number of concurrent in-flight updates has been reached (%d)", l.UpdatesInFlight)
	case l.UpdatesInFlightBytes > 0 && size > l.UpdatesInFlightBytes:
		return concurrent("limit on total payload size of in-flight updates has been reached (%d bytes)", l.UpdatesInFlightBytes)
	case !l.Hard:
		if r := UpdatesRefused(d.State, l, waiting, size); r.Code != "" {
			return r.busy()
		}
	case l.UpdatesTotal > 0 && int(d.Info.UpdateCount)+waiting >= l.UpdatesTotal:
		return errf(FailedPrecondition, "The limit on the total number of distinct updates in this workflow has been reached (%d). "+
			"Make sure any duplicate updates share an Update ID so the server can deduplicate them, and consider rejecting updates that you aren't going to process. "+
			"You can also Continue-as-New to avoid this; we recommend you check Continue-as-New Suggested in your Workflow.", l.UpdatesTotal)
	}
	return nil
}

func stepPollUpdate(st *State, in PollUpdate, env *Env) *Transition {
	if old, u := env.recalledUpdate(in.UpdateID, ""); old != nil {
		return answer(st, closedUpdate(old, u))
	}
	d := newDraft(st, env)
	d.forget(in.UpdateID, in.Forget)
	notThere := notFoundf("update %q not found", in.UpdateID)
	if !st.Open() {
		if u, ok := st.Updates.Get(in.UpdateID); ok && u.AcceptedID != 0 {
			return answer(st, closedUpdate(st, u))
		}
		return refuse(st, notThere)
	}
	a, known := d.attach(in.UpdateID, in.Wait, in.Waiter)
	tr := d.finish()
	switch {
	case !known:
		tr.Err = notThere
	case a != nil:
		tr.Answer = a
	}
	return tr
}

// forget drops a waiter that gave up.
func (d *draft) forget(id string, w Waiter) {
	u, ok := d.Volatile.Updates.Get(id)
	if !ok || w == 0 {
		return
	}
	n := *u
	n.Waiters = slices.DeleteFunc(slices.Clone(u.Waiters), func(x updateWaiter) bool { return x.waiter == w })
	if len(n.Waiters) == 0 && n.Stage == UpdateAccepted {
		d.dropLive(id)
		return
	}
	d.setLive(&n)
}

// unsentUpdates tells whether an update waits to be delivered to a worker.
func (d *draft) unsentUpdates() bool {
	for _, u := range d.Volatile.Updates.All {
		if u.Stage == UpdateAdmitted {
			return true
		}
	}
	return false
}

// liveInOrder are the live updates in the order of their admission.
func (s *State) liveInOrder() []*LiveUpdate {
	out := collect(s.Volatile.Updates)
	slices.SortFunc(out, func(a, b *LiveUpdate) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

func isRejection(m *protocolpb.Message) bool {
	return m.GetBody().MessageIs((*updatepb.Rejection)(nil))
}

func badMessage(format string, args ...any) *badCommand {
	return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE, format, args...)
}

// handleMessage takes a worker's word on an update.
func (c *completion) handleMessage(m *protocolpb.Message) *badCommand {
	if m.GetBody() == nil {
		return badMessage("message %s has no body", m.GetId())
	}
	if proto.Size(m.Body) > c.env.Limits.BlobBytes {
		b := badMessage("Message type %s exceeds size limit.", m.Body.MessageName())
		b.terminate = true
		return b
	}
	body, err := m.Body.UnmarshalNew()
	if err != nil {
		return badMessage("message %s: %v", m.Id, err)
	}
	id := m.ProtocolInstanceId
	switch body := body.(type) {
	case *updatepb.Acceptance:
		return c.accept(id, body)
	case *updatepb.Rejection:
		return c.reject(id, body)
	case *updatepb.Response:
		return c.respond(id, body)
	}
	return badMessage("message %s has a body of unknown type %s", m.Id, m.Body.TypeUrl)
}

func lostUpdate(id string) *badCommand {
	return badMessage("update %s wasn't found on the server. This is most likely a transient error which will be resolved automatically by retries", id)
}

func (c *completion) accept(id string, a *updatepb.Acceptance) *badCommand {
	if a.AcceptedRequestMessageId == "" || a.AcceptedRequestSequencingEventId == 0 {
		return badMessage("accepted_request_message_id or accepted_request_sequencing_event_id is not set on the acceptance of update %s", id)
	}
	u, durable := c.Updates.Get(id)
	live, inMemory := c.Volatile.Updates.Get(id)
	attrs := &historypb.WorkflowExecutionUpdateAcceptedEventAttributes{ProtocolInstanceId: id,
		AcceptedRequestMessageId: id + "/request", AcceptedRequestSequencingEventId: a.AcceptedRequestSequencingEventId}
	switch {
	case durable && u.AcceptedID != 0:
		return badMessage("update %s was accepted before", id)
	case durable: // admitted by a reset: the request is in its UpdateAdmitted event
	case inMemory:
		attrs.AcceptedRequest = live.Request
	case a.AcceptedRequest != nil && a.AcceptedRequest.GetMeta().GetUpdateId() == id:
		c.mark("update resurrected")
		attrs.AcceptedRequest = a.AcceptedRequest
	default:
		return lostUpdate(id)
	}
	ev := c.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes{WorkflowExecutionUpdateAcceptedEventAttributes: attrs}
	c.write(ev)
	c.note(Note{Kind: NoteUpdate, Stage: NoteAccepted, ID: id, Event: ev.EventId})
	c.updates = append(c.updates, updateResult{id: id})
	if inMemory {
		n := *live
		n.Stage = UpdateAccepted
		c.setLive(&n)
	}
	return nil
}

func (c *completion) respond(id string, r *updatepb.Response) *badCommand {
	u, ok := c.Updates.Get(id)
	switch {
	case !ok || u.AcceptedID == 0 || u.CompletedID != 0:
		if _, live := c.Volatile.Updates.Get(id); !ok && !live {
			return lostUpdate(id)
		}
		return badMessage("update %s has a response, but is not in the state Accepted", id)
	case r.GetMeta().GetUpdateId() != id:
		return badMessage("response for update %s names update %s", id, r.GetMeta().GetUpdateId())
	case r.GetOutcome().GetValue() == nil:
		return badMessage("outcome is not set on the response for update %s", id)
	}
	ev := c.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes{
		WorkflowExecutionUpdateCompletedEventAttributes: &historypb.WorkflowExecutionUpdateCompletedEventAttributes{
			Meta: r.Meta, AcceptedEventId: u.AcceptedID, Outcome: r.Outcome}}
	c.write(ev)
	c.note(Note{Kind: NoteUpdate, Stage: NoteCompleted, ID: id, Event: ev.EventId, Text: failureText(r.Outcome.GetFailure())})
	c.updates = append(c.updates, updateResult{id: id, outcome: r.Outcome})
	return nil
}

func (c *completion) reject(id string, r *updatepb.Rejection) *badCommand {
	u, durable := c.Updates.Get(id)
	live, inMemory := c.Volatile.Updates.Get(id)
	switch {
	case durable && u.AcceptedID != 0 || inMemory && live.Stage == UpdateAccepted && durable:
		return badMessage("update %s was accepted before", id)
	case durable:
		drop(c.draft, ownUpdates, &c.Updates, id)
		c.row(RowUpdate, 0, id)
	case inMemory:
	case r.RejectedRequest != nil:
		return nil // nobody waits for it any more
	default:
		return lostUpdate(id)
	}
	f := r.Failure
	if f == nil {
		f = serverApplicationFailure("", "update was rejected")
	}
	c.note(Note{Kind: NoteUpdate, Stage: NoteRejected, ID: id, Text: failureText(f)})
	c.updates = append(c.updates, updateResult{id: id, outcome: failedOutcome(f)})
	return nil
}

// rejectUnprocessed rejects the updates that were delivered with this workflow task and that the worker ignored. In a
// heartbeat the worker merely has not come to them yet.
func (c *completion) rejectUnprocessed(seq int64, heartbeat bool) {
	if heartbeat {
		return
	}
	for _, u := range c.liveInOrder() {
		if u.Stage == UpdateSent && !slices.ContainsFunc(c.updates, func(r updateResult) bool { return r.id == u.ID }) {
			c.mark("unprocessed update rejected")
			f := serverApplicationFailure("UnprocessedUpdate",
				"Workflow Update is rejected because it wasn't processed by worker. Probably, Workflow Update is not supported by the worker.")
			c.note(Note{Kind: NoteUpdate, Stage: NoteRejected, ID: u.ID, Text: failureText(f)})
			c.updates = append(c.updates, updateResult{id: u.ID, outcome: failedOutcome(f)})
		}
	}
}

// abortUpdatesOnFailure answers for updates whose workflow task the server failed.
func (d *draft) abortUpdatesOnFailure() {
	for _, u := range d.liveInOrder() {
		var err error
		switch u.Stage {
		case UpdateAdmitted:
			err = errf(Unavailable, "workflow update was aborted")
		case UpdateSent:
			err = notReadyf("Unable to perform workflow execution update due to unexpected workflow task failure.")
		default:
			continue
		}
		d.note(Note{Kind: NoteUpdate, Stage: NoteAborted, ID: u.ID, Text: err.Error()})
		d.updates = append(d.updates, updateResult{id: u.ID, err: err})
	}
}

// finishUpdates tells the waiters what the step decided, and what a closing run means for the others.
func (d *draft) finishUpdates() {
	accepted := []string{}
	for _, r := range d.updates {
		if r.outcome == nil && r.err == nil {
			accepted = append(accepted, r.id)
			continue
		}
		d.resolve(r)
	}
	if d.closing != "" {
		for _, u := range d.liveInOrder() {
			d.resolve(d.closedResult(u))
		}
	}
	for _, id := range accepted {
		d.tellAccepted(id)
	}
	d.updates = nil
}

func (d *draft) closedResult(u *LiveUpdate) updateResult {
	if rec, ok := d.Updates.Get(u.ID); ok && rec.AcceptedID != 0 {
		return updateResult{id: u.ID, outcome: failedOutcome(acceptedThenClosed())}
	}
	if d.closing == continuing {
		return updateResult{id: u.ID, err: errBusyClosing()}
	}
	return updateResult{id: u.ID, err: notFoundf("workflow update was aborted by closing workflow")}
}

// resolve answers everybody who waits for the update, which is over.
func (d *draft) resolve(r updateResult) {
	u, ok := d.Volatile.Updates.Get(r.id)
	if !ok {
		return
	}
	for _, w := range u.Waiters {
		if r.err != nil {
			d.reply(w.waiter, nil, r.err)
		} else {
			d.reply(w.waiter, &UpdateAnswer{RunID: d.Key.Run, Stage: stageCompleted, Outcome: r.outcome}, nil)
		}
	}
	d.dropLive(r.id)
}

// tellAccepted answers those who wait for acceptance only.
func (d *draft) tellAccepted(id string) {
	u, ok := d.Volatile.Updates.Get(id)
	if !ok {
		return
	}
	n := *u
	n.Stage, n.Waiters, n.Request, n.Size = UpdateAccepted, nil, nil, 0
	for _, w := range u.Waiters {
		if w.stage <= stageAccepted {
			d.reply(w.waiter, &UpdateAnswer{RunID: d.Key.Run, Stage: stageAccepted}, nil)
		} else {
			n.Waiters = append(n.Waiters, w)
		}
	}
	if len(n.Waiters) == 0 {
		d.dropLive(id)
	} else {
		d.setLive(&n)
	}
}
