package execution

import (
	"cmp"
	"encoding/json"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// inlineStart names the worker that gets the next workflow task in the answer to its last one.
type inlineStart struct {
	requestID, identity string
	sticky              bool
	task                *WorkflowTaskStarted // filled in when a task was started
}

func jsonString(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always encode
	}
	return b
}

// finishTask schedules the workflow task that the step's events or waiting updates call for.
func (d *draft) finishTask() {
	if d.Info.WFT.Pending() || d.Info.FirstBackoffEnd != 0 || d.Info.AwaitingParent {
		return
	}
	switch {
	case d.needTask:
		d.schedule(d.inline != nil)
	case !d.unsentUpdates():
		return
	case d.forceNormal || d.Info.LastCompletedID == 0 || max(d.Info.NextAttempt, 1) > 1:
		d.schedule(d.inline != nil)
	default:
		d.scheduleSpeculative()
	}
	if d.inline != nil {
		d.inline.task = d.startTask(d.now(), d.inline.requestID, d.inline.identity, d.inline.sticky)
	}
}

// schedule makes the next workflow task: a normal one, or a transient one if attempts have failed before. inline: it is
// about to be started by the caller, so it is not dispatched.
func (d *draft) schedule(inline bool) {
	d.durable()
	d.pickQueue(inline)
	attempt := max(d.Info.NextAttempt, 1)
	now := d.now()
	if attempt > 1 {
		d.Info.WFTSeq++
		d.Info.WFT = WorkflowTask{Seq: d.Info.WFTSeq, Kind: TaskTransient, ScheduledID: d.Info.NextEventID, Attempt: attempt,
			Queue: d.Start.TaskQueue, ScheduledAt: now, OriginalScheduledAt: now, Timeout: d.Start.TaskTimeout}
	} else {
		d.write(d.taskScheduledEvent(now, attempt))
	}
	if d.taskSince != 0 {
		d.Info.WFT.OriginalScheduledAt = d.taskSince
	}
	if !inline {
		d.dispatchTask()
	}
}

// pickQueue forgets a sticky queue that nobody polls any more.
func (d *draft) pickQueue(inline bool) {
	if d.Info.StickyQueue != "" && !d.env.StickyAlive && !inline {
		d.clearSticky()
	}
}

func (d *draft) clearSticky() { d.Info.StickyQueue, d.Info.StickyTimeout = "", 0 }

func (d *draft) taskScheduledEvent(at clock.Nanos, attempt int32) *historypb.HistoryEvent {
	ev := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventTime: at.Proto()}
	q := &taskqueuepb.TaskQueue{Name: d.Start.TaskQueue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
	if d.Info.StickyQueue != "" {
		q = &taskqueuepb.TaskQueue{Name: d.Info.StickyQueue, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: d.Start.TaskQueue}
	}
	ev.Attributes = &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{
		WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{
			TaskQueue: q, StartToCloseTimeout: durationpb.New(d.Start.TaskTimeout), Attempt: attempt}}
	return ev
}

func applyTaskScheduled(d *draft, ev *historypb.HistoryEvent) {
	a := ev.GetWorkflowTaskScheduledEventAttributes()
	at := clock.FromProto(ev.EventTime)
	d.Info.WFTSeq++
	d.Info.FirstBackoffEnd = 0
	d.Info.WFT = WorkflowTask{Seq: d.Info.WFTSeq, ScheduledID: ev.EventId, Attempt: a.Attempt, Queue: a.TaskQueue.GetName(),
		Sticky: a.TaskQueue.GetKind() == enumspb.TASK_QUEUE_KIND_STICKY, ScheduledAt: at, OriginalScheduledAt: at,
		Timeout: clock.Duration(a.StartToCloseTimeout)}
}

// scheduleSpeculative makes a workflow task that only memory knows of.
func (d *draft) scheduleSpeculative() {
	d.pickQueue(d.inline != nil)
	now := d.now()
	d.Info.WFTSeq++
	t := WorkflowTask{Seq: d.Info.WFTSeq, Kind: TaskSpeculative, ScheduledID: d.Info.NextEventID, Attempt: 1,
		Queue: d.Start.TaskQueue, ScheduledAt: now, OriginalScheduledAt: now, Timeout: d.Start.TaskTimeout}
	if d.Info.StickyQueue != "" {
		t.Queue, t.Sticky = d.Info.StickyQueue, true
	} else {
		d.Volatile.SpecTimeoutAt = now.Add(d.env.Limits.SpeculativeTimeout)
	}
	d.Info.WFT = t
	if d.inline == nil {
		d.tr.Offers = append(d.tr.Offers, Offer{Workflow: &WorkflowTaskRef{Run: d.Key, Seq: t.Seq}, Task: d.workflowTask(), Volatile: true})
	}
	d.mark("speculative task scheduled")
}

// workflowTask is the dispatch row of the pending workflow task.
func (d *draft) workflowTask() Task {
	t := &d.Info.WFT
	return Task{Kind: TaskWorkflow, Queue: t.Queue, Sticky: t.Sticky, At: t.ScheduledAt, Seq: t.Seq, Priority: d.Start.PriorityKey}
}

func (d *draft) dispatchTask() {
	d.Info.WFT.Dispatched = true
	task := d.workflowTask()
	d.tr.Put = append(d.tr.Put, task)
	d.tr.Offers = append(d.tr.Offers, Offer{Workflow: &WorkflowTaskRef{Run: d.Key, Seq: task.Seq}, Task: task})
}

// promote makes a speculative workflow task a normal one, because the run is about to be stored.
func (d *draft) promote() {
	t := &d.Info.WFT
	if t.Kind != TaskSpeculative || !t.Pending() {
		return
	}
	d.mark("speculative task promoted")
	d.durable()
	old := *t
	d.writeVirtual()
	t.Seq, t.Dispatched = old.Seq, false
	if !old.Started() {
		t.Queue, t.Sticky = old.Queue, old.Sticky
		t.Dispatched = true
		d.tr.Put = append(d.tr.Put, d.workflowTask()) // it was offered when it was made
	}
	d.Volatile.SpecTimeoutAt = 0
}

// writeVirtual writes the Scheduled and Started events of a transient or speculative workflow task, which keeps its
// identity and becomes normal.
func (d *draft) writeVirtual() {
	t := d.Info.WFT
	ev := d.scheduledEventOf(&t)
	d.write(ev)
	d.Info.WFT.Seq = t.Seq
	d.Info.WFTSeq = t.Seq
	d.Info.WFT.OriginalScheduledAt = t.OriginalScheduledAt
	d.Info.WFT.Dispatched = t.Dispatched
	if t.Started() {
		d.write(d.startedEventOf(&t))
		d.Info.WFT.Timeout = t.Timeout
	}
}

func (s *State) scheduledEventOf(t *WorkflowTask) *historypb.HistoryEvent {
	q := &taskqueuepb.TaskQueue{Name: s.Start.TaskQueue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
	if t.Sticky {
		q = &taskqueuepb.TaskQueue{Name: t.Queue, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: s.Start.TaskQueue}
	}
	return &historypb.HistoryEvent{EventId: t.ScheduledID, TaskId: t.ScheduledID, EventTime: t.ScheduledAt.Proto(),
		EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{
			WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{
				TaskQueue: q, StartToCloseTimeout: durationpb.New(s.Start.TaskTimeout), Attempt: t.Attempt}}}
}

func (s *State) startedEventOf(t *WorkflowTask) *historypb.HistoryEvent {
	var reasons []enumspb.SuggestContinueAsNewReason
	for _, r := range t.SuggestReasons {
		reasons = append(reasons, enumspb.SuggestContinueAsNewReason(r))
	}
	return &historypb.HistoryEvent{EventId: t.StartedID, TaskId: t.StartedID, EventTime: t.StartedAt.Proto(),
		EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
			WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{
				ScheduledEventId: t.ScheduledID, Identity: t.Identity, RequestId: t.RequestID,
				SuggestContinueAsNew: t.SuggestCAN, SuggestContinueAsNewReasons: reasons, HistorySizeBytes: t.HistoryBytes}}}
}

func applyTaskStarted(d *draft, ev *historypb.HistoryEvent) {
	a := ev.GetWorkflowTaskStartedEventAttributes()
	t := &d.Info.WFT
	t.Kind = TaskNormal
	t.StartedID, t.StartedAt = ev.EventId, clock.FromProto(ev.EventTime)
	t.RequestID, t.Identity = a.RequestId, a.Identity
	t.SuggestCAN, t.HistoryBytes = a.SuggestContinueAsNew, a.HistorySizeBytes
	t.SuggestReasons = nil
	for _, r := range a.SuggestContinueAsNewReasons {
		t.SuggestReasons = append(t.SuggestReasons, int32(r))
	}
}

// clearTask forgets the pending workflow task and its dispatch row.
func (d *draft) clearTask() {
	if d.Info.WFT.Dispatched {
		d.unput(d.workflowTask())
	}
	d.Info.WFT = WorkflowTask{}
	d.Volatile.SpecTimeoutAt = 0
}

// taskFailed ends the pending workflow task without success. count: the failure raises the attempt, unless the task was
// a sticky one.
func (d *draft) taskFailed(count bool) {
	sticky := d.Info.StickyQueue != ""
	d.clearSticky()
	if count && !sticky {
		d.Info.NextAttempt = max(d.Info.WFT.Attempt, 1) + 1
		d.Info.WFTFailures++
	} else {
		d.Info.NextAttempt = 1
	}
	d.clearTask()
	for _, u := range collect(d.Volatile.Updates) {
		if u.Stage == UpdateSent {
			n := *u
			n.Stage, n.SentSeq = UpdateAdmitted, 0
			d.setLive(&n)
		}
	}
	for _, q := range collect(d.Volatile.Queries) {
		if q.Seq != 0 {
			n := *q
			n.Seq = 0
			d.setQuery(&n)
		}
	}
}

func stepStartTask(st *State, in StartWorkflowTask, env *Env) *Transition {
	t := &st.Info.WFT
	if !st.Open() || !t.Pending() || t.Seq != in.Ref.Seq {
		return refuse(st, errf(Stale, "workflow task %d is gone", in.Ref.Seq))
	}
	if t.Started() {
		if t.RequestID == in.RequestID && in.RequestID != "" {
			return answer(st, startedAnswer(st, st.Info.StickyQueue != "" && in.Sticky))
		}
		return refuse(st, errf(Stale, "workflow task %d is started", in.Ref.Seq))
	}
	d := newDraft(st, env)
	if t.Kind == TaskSpeculative && !d.unsentUpdates() {
		d.clearTask()
		d.mark("speculative task dropped at start")
		tr := d.finish()
		tr.Err = errf(Stale, "no update needs workflow task %d", in.Ref.Seq)
		return tr
	}
	a := d.startTask(d.now(), in.RequestID, in.Identity, in.Sticky)
	tr := d.finish()
	tr.Answer = a
	return tr
}

// startTask gives the pending workflow task to a worker. The store need not know: if it forgets, the task is scheduled
// again, and a worker that still has it may complete it all the same (see resume).
func (d *draft) startTask(at clock.Nanos, requestID, identity string, sticky bool) *WorkflowTaskStarted {
	t := &d.Info.WFT
	if t.Kind == TaskTransient && t.ScheduledID != d.Info.NextEventID {
		// Something happened since the attempt failed: the next attempt is a first one, with events.
		d.mark("transient task became normal")
		old := *t
		old.Kind, old.Attempt, old.ScheduledID = TaskNormal, 1, d.Info.NextEventID
		d.Info.NextAttempt = 1
		*t = old
		ev := d.scheduledEventOf(&old)
		ev.EventTime = d.now().Proto()
		d.write(ev)
		t.Seq, d.Info.WFTSeq, t.Dispatched = old.Seq, old.Seq, old.Dispatched
		t.ScheduledAt = old.ScheduledAt // part of its dispatch row's key
		d.durable()
	}
	partial := sticky && t.Sticky && t.Queue == d.Info.StickyQueue
	if !partial {
		d.clearSticky()
	}
	started := *t
	started.StartedID = t.ScheduledID + 1
	if t.Kind == TaskNormal {
		started.StartedID = d.Info.NextEventID
	}
	started.StartedAt = max(at, t.ScheduledAt)
	started.RequestID, started.Identity = requestID, identity
	started.HistoryBytes = d.Info.HistoryBytes
	started.SuggestCAN, started.SuggestReasons = d.suggestContinueAsNew()
	started.Timeout = d.Start.TaskTimeout + extraTimeout(t.Attempt)
	if t.Kind == TaskNormal {
		ev := d.startedEventOf(&started)
		d.write(ev)
		t.Timeout = started.Timeout
	} else {
		*t = started
	}
	d.Volatile.Unsaved = true
	if t.Dispatched {
		// The row goes with the run's next write.
		d.unput(d.workflowTask())
		t.Dispatched = false
	}
	d.Volatile.SpecTimeoutAt = 0
	for _, u := range d.liveInOrder() {
		if u.Stage == UpdateAdmitted {
			n := *u
			n.Stage, n.SentSeq = UpdateSent, t.Seq
			d.setLive(&n)
			d.note(Note{Kind: NoteUpdate, Stage: NoteDelivered, ID: u.ID, Identity: identity, Event: t.StartedID})
		}
	}
	for _, q := range collect(d.Volatile.Queries) {
		n := *q
		n.Seq = t.Seq
		d.setQuery(&n)
	}
	return startedAnswer(d.State, partial)
}

// collect is the table's values, for walks that change it.
func collect[K cmp.Ordered, V any](t Table[K, V]) []V {
	out := make([]V, 0, t.Len())
	for _, v := range t.All {
		out = append(out, v)
	}
	return out
}

// extraTimeout lets repeated attempts take ever longer: workers do not report repeated failures but let them time out.
func extraTimeout(attempt int32) time.Duration {
	if attempt < 4 {
		return 0
	}
	return min(5*time.Second<<min(attempt-4, 10), 10*time.Minute)
}

// startedAnswer tells a worker what it needs to do the started workflow task, the same however often it is asked.
func startedAnswer(s *State, partial bool) *WorkflowTaskStarted {
	t := &s.Info.WFT
	a := &WorkflowTaskStarted{
		Token: WorkflowTaskToken{Run: s.Key, Seq: t.Seq, ScheduledID: t.ScheduledID, StartedID: t.StartedID,
			StartedAt: t.StartedAt, Attempt: t.Attempt},
		WorkflowType: s.Start.WorkflowType, PreviousStartedID: s.Info.LastCompletedStartedID, Attempt: t.Attempt,
		Queue: s.Start.TaskQueue, ScheduledAt: t.ScheduledAt, StartedAt: t.StartedAt, HistoryFrom: 1,
	}
	if partial {
		a.HistoryFrom = s.Info.LastCompletedStartedID + 1
	}
	if t.Kind != TaskNormal {
		a.Virtual = []*historypb.HistoryEvent{s.scheduledEventOf(t), s.startedEventOf(t)}
	}
	for id, q := range s.Volatile.Queries.All {
		if q.Seq != t.Seq {
			continue // came after the start
		}
		if a.Queries == nil {
			a.Queries = make(map[string]*querypb.WorkflowQuery, s.Volatile.Queries.Len())
		}
		a.Queries[id] = q.Query
	}
	a.Messages = s.messages(t)
	return a
}

// VirtualEvents are the Scheduled and Started events of a transient or speculative workflow task, which history does
// not have yet; nil if there are none. Only worker clients may see them.
func (s *State) VirtualEvents() []*historypb.HistoryEvent {
	t := &s.Info.WFT
	if !t.Pending() || t.Kind == TaskNormal || t.ScheduledID != s.Info.NextEventID {
		return nil
	}
	evs := []*historypb.HistoryEvent{s.scheduledEventOf(t)}
	if t.Started() {
		evs = append(evs, s.startedEventOf(t))
	}
	return evs
}

// messages are the updates delivered with t, in the order of their admission.
func (s *State) messages(t *WorkflowTask) []*protocolpb.Message {
	var out []*protocolpb.Message
	for _, u := range s.liveInOrder() {
		if u.Stage != UpdateSent || u.SentSeq != t.Seq {
			continue
		}
		body, err := anypb.New(u.Request)
		if err != nil {
			panic(err)
		}
		out = append(out, &protocolpb.Message{Id: u.ID + "/request", ProtocolInstanceId: u.ID, Body: body,
			SequencingId: &protocolpb.Message_EventId{EventId: t.StartedID - 1}})
	}
	return out
}

func (d *draft) suggestContinueAsNew() (bool, []int32) {
	var why []int32
	l := d.env.Limits
	if l.SuggestBytes > 0 && d.Info.HistoryBytes >= l.SuggestBytes {
		why = append(why, int32(enumspb.SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE))
	}
	if l.SuggestEvents > 0 && d.Info.NextEventID >= int64(l.SuggestEvents) {
		why = append(why, int32(enumspb.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS))
	}
	updates := int(d.Info.UpdateCount)
	for _, u := range d.Volatile.Updates.All {
		if u.Stage != UpdateAccepted {
			updates++
		}
	}
	if l.UpdatesTotal > 0 && updates*100 >= l.UpdatesTotal*l.SuggestUpdatesPercent {
		why = append(why, int32(enumspb.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_UPDATES))
	}
	return len(why) > 0, why
}

// resume finds the workflow task that a token names. A run that was restarted may have forgotten that the task was
// started; if nothing has happened to the run since, the token's word is taken for it.
func resume(st *State, k WorkflowTaskToken, identity string, env *Env) (*draft, error) {
	gone := notFoundf("Workflow task not found.")
	t := &st.Info.WFT
	if !st.Open() || !t.Pending() || t.Seq != k.Seq || t.ScheduledID != k.ScheduledID || t.Attempt != k.Attempt {
		return nil, gone
	}
	d := newDraft(st, env)
	if t.Started() {
		if t.StartedID != k.StartedID || t.StartedAt != k.StartedAt {
			return nil, gone
		}
		return d, nil
	}
	next := d.Info.NextEventID
	if t.Kind == TaskTransient {
		next++
	}
	if t.Kind == TaskSpeculative || k.StartedID != next || t.Kind == TaskTransient && t.ScheduledID != d.Info.NextEventID {
		return nil, gone
	}
	d.mark("started task taken from its token")
	updates, queries, notes := d.Volatile.Updates, d.Volatile.Queries, d.Info.LedgerNext
	d.startTask(k.StartedAt, "", identity, t.Sticky)
	// What was admitted since the restart was not delivered with this task.
	d.Volatile.Updates, d.Volatile.Queries = updates, queries
	d.tr.Notes, d.Info.LedgerNext = nil, notes
	d.owned &^= ownLiveUpdates | ownLiveQueries
	return d, nil
}

// taskFailure is what a WorkflowTaskFailed event says beside its cause.
type taskFailure struct {
	failure  *failurepb.Failure
	checksum string
	version  *commonpb.WorkerVersionStamp
	baseRun  ids.RunID
	newRun   ids.RunID
}

// failTask ends the started workflow task as failed, writes what was buffered, and asks for the next one.
func (d *draft) failTask(cause enumspb.WorkflowTaskFailedCause, f *failurepb.Failure, identity string, more taskFailure) {
	d.durable()
	d.promote()
	d.Info.TaskProblem = cut(taskProblem(cause, f), noteTextBytes)
	t := d.Info.WFT
	if t.Kind == TaskTransient {
		d.taskFailed(!excused(cause, f, identity))
		if unhandled(cause, f) {
			d.Info.CloseAttempted = true
		}
	} else {
		ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
		ev.Attributes = &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{
			WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{
				ScheduledEventId: t.ScheduledID, StartedEventId: t.StartedID, Cause: cause, Failure: f, Identity: identity,
				BaseRunId: string(more.baseRun), NewRunId: string(more.newRun), BinaryChecksum: more.checksum, WorkerVersion: more.version}}
		d.write(ev)
	}
	d.afterTask()
}

// unhandled tells whether the server failed the task because it would close the run over news.
func unhandled(cause enumspb.WorkflowTaskFailedCause, f *failurepb.Failure) bool {
	return cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND && f.GetServerFailureInfo() != nil
}

// excused tells whether the server failed the task for a reason that is not the worker's fault, so that the next attempt
// is a first one. A worker that reports such a cause itself is not excused: it would spin.
func excused(cause enumspb.WorkflowTaskFailedCause, f *failurepb.Failure, identity string) bool {
	switch cause {
	case enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
		return f.GetResetWorkflowFailureInfo() != nil
	case enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND:
		return f == nil && identity == serverIdentity
	}
	return unhandled(cause, f)
}

func taskProblem(cause enumspb.WorkflowTaskFailedCause, f *failurepb.Failure) string {
	if f == nil {
		return cause.String()
	}
	return cause.String() + ": " + failureText(f)
}

// afterTask follows the end of a workflow task that did not complete: what was buffered is written, which makes the
// next attempt a first one, and a next one is needed in any case.
func (d *draft) afterTask() {
	if d.Buffered.Len() > 0 {
		d.Info.NextAttempt = 1
		d.flush()
	}
	d.needTask, d.forceNormal = true, true
}

func stepFailTask(st *State, in FailWorkflowTask, env *Env) *Transition {
	d, err := resume(st, in.Token, in.Identity, env)
	if err != nil {
		return refuse(st, err)
	}
	d.failTask(in.Cause, in.Failure, in.Identity, taskFailure{checksum: in.Checksum, version: in.Version})
	if in.Cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE {
		d.terminate(in.Cause.String(), nil, "history-service", nil)
	}
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// taskTimedOut ends the pending workflow task because its deadline has passed.
func (d *draft) taskTimedOut() {
	d.durable()
	d.promote()
	t := d.Info.WFT
	kind := enumspb.TIMEOUT_TYPE_START_TO_CLOSE
	if !t.Started() {
		kind = enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START
	} else {
		d.Info.TaskProblem = "the worker " + t.Identity + " did not answer within " + t.Timeout.String()
	}
	if t.Kind == TaskTransient {
		d.taskFailed(kind == enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
	} else {
		d.writeTaskTimeout(kind)
	}
	d.afterTask()
}

func (d *draft) writeTaskTimeout(kind enumspb.TimeoutType) {
	t := d.Info.WFT
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
	ev.Attributes = &historypb.HistoryEvent_WorkflowTaskTimedOutEventAttributes{
		WorkflowTaskTimedOutEventAttributes: &historypb.WorkflowTaskTimedOutEventAttributes{
			ScheduledEventId: t.ScheduledID, StartedEventId: t.StartedID, TimeoutType: kind}}
	d.write(ev)
}

func stepResetSticky(st *State, env *Env) *Transition {
	if !st.Open() || st.Info.StickyQueue == "" {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.durable()
	if t := &st.Info.WFT; t.Sticky && !t.Started() {
		d.leaveSticky()
	}
	d.clearSticky()
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// stepStickyGone moves a scheduled workflow task from a sticky queue that nobody polls to the normal queue.
func stepStickyGone(st *State, in StickyGone, env *Env) *Transition {
	t := &st.Info.WFT
	if !st.Open() || !t.Pending() || t.Started() || t.Seq != in.Ref.Seq || !t.Sticky {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.leaveSticky()
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// leaveSticky offers the pending workflow task, which waits in the sticky queue, to the normal queue instead.
func (d *draft) leaveSticky() {
	t := &d.Info.WFT
	if t.Dispatched {
		d.unput(d.workflowTask())
	}
	d.clearSticky()
	d.Info.WFTSeq++
	t.Seq = d.Info.WFTSeq // the reference in the sticky queue is stale from now on
	t.Queue, t.Sticky, t.Dispatched = d.Start.TaskQueue, false, false
	if t.Kind == TaskSpeculative {
		d.Volatile.SpecTimeoutAt = d.now().Add(d.env.Limits.SpeculativeTimeout)
		d.tr.Offers = append(d.tr.Offers, Offer{Workflow: &WorkflowTaskRef{Run: d.Key, Seq: t.Seq}, Task: d.workflowTask(), Volatile: true})
		return
	}
	d.durable()
	d.dispatchTask()
}
