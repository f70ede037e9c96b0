package execution

import (
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// draft is a state under change. It starts as a shallow copy; a table is copied at its first change. What the draft
// writes down in tr becomes the transition; dropping the draft undoes everything.
type draft struct {
	*State
	env *Env
	tr  *Transition

	owned    uint16 // tables already copied, by bit
	needTask bool   // something happened that the workflow's code must see
	// forceNormal: the next workflow task must not be speculative.
	forceNormal bool
	overflow    bool         // of the buffer
	inline      *inlineStart // start the next workflow task at once, for this worker
	taskSince   clock.Nanos  // original schedule time of a heartbeating workflow task
	settling    bool         // buffered events are being written; do not buffer again
	// outcomes and rejections of this step, for those who wait.
	updates []updateResult
	closing string // why updates that found no worker are aborted; see closeUpdates
	// startedChild maps initiated event ID to started event ID during a flush.
	startedChild map[ids.EventID]ids.EventID
}

const (
	ownActivities = 1 << iota
	ownTimers
	ownChildren
	ownCancels
	ownSignals
	ownRequests
	ownUpdates
	ownBuffered
	ownLiveUpdates
	ownLiveQueries
	ownActivityID
	ownDeadlines
)

func newDraft(st *State, env *Env) *draft {
	next := *st
	return &draft{State: &next, env: env, tr: &Transition{}}
}

// own copies a table before its first change.
func own[K int64 | string, V any](d *draft, bit uint16, t *Table[K, V]) {
	if d.owned&bit == 0 {
		d.owned |= bit
		t.own()
	}
}

func put[K int64 | string, V any](d *draft, bit uint16, t *Table[K, V], k K, v V) {
	own(d, bit, t)
	t.m.Set(k, v)
}

func drop[K int64 | string, V any](d *draft, bit uint16, t *Table[K, V], k K) {
	if _, ok := t.Get(k); ok {
		own(d, bit, t)
		t.m.Delete(k)
	}
}

func (d *draft) row(kind RowKind, number int64, text string) {
	d.tr.Rows = append(d.tr.Rows, Row{Kind: kind, Number: number, Text: text})
}

// now is the step's time, never before the run's last event.
func (d *draft) now() clock.Nanos { return max(d.env.Now, d.Info.LastEventTime) }

func (d *draft) mark(name string) { d.tr.Marks = append(d.tr.Marks, name) }

// durable marks the transition as one that must be stored before it is told.
func (d *draft) durable() { d.tr.Durable = true }

// Setters: one per table, each naming its row.

func (d *draft) setDeadline(old, now deadline) {
	if old.at == now.at {
		return
	}
	if d.owned&ownDeadlines == 0 {
		d.owned |= ownDeadlines
		if d.deadlines.t == nil {
			d.deadlines = newDeadlineSet()
		} else {
			d.deadlines.t = d.deadlines.t.Copy()
		}
	}
	if old.at != 0 {
		d.deadlines.t.Delete(old)
	}
	if now.at != 0 {
		d.deadlines.t.Set(now)
	}
}

func (d *draft) setActivity(a *Activity) {
	var was clock.Nanos
	if old, ok := d.Activities.Get(a.ScheduledID); ok {
		was = old.deadline()
	} else {
		put(d, ownActivityID, &d.activityID, a.ActivityID, a.ScheduledID)
	}
	put(d, ownActivities, &d.Activities, a.ScheduledID, a)
	d.row(RowActivity, a.ScheduledID, "")
	d.setDeadline(deadline{at: was, activity: a.ScheduledID}, deadline{at: a.deadline(), activity: a.ScheduledID})
}

func (d *draft) dropActivity(id ids.EventID) {
	a, ok := d.Activities.Get(id)
	if !ok {
		return
	}
	if a.Dispatched {
		d.unput(d.activityTask(a))
	}
	d.setDeadline(deadline{at: a.deadline(), activity: id}, deadline{})
	drop(d, ownActivities, &d.Activities, id)
	drop(d, ownActivityID, &d.activityID, a.ActivityID)
	d.row(RowActivity, id, "")
}

func (d *draft) setTimer(t *Timer) {
	put(d, ownTimers, &d.Timers, t.ID, t)
	d.row(RowTimer, 0, t.ID)
	d.setDeadline(deadline{}, deadline{at: t.FireAt, timer: t.ID})
}

func (d *draft) dropTimer(id string) {
	t, ok := d.Timers.Get(id)
	if !ok {
		return
	}
	drop(d, ownTimers, &d.Timers, id)
	d.row(RowTimer, 0, id)
	d.setDeadline(deadline{at: t.FireAt, timer: id}, deadline{})
}

func (d *draft) setChild(c *Child) {
	put(d, ownChildren, &d.Children, c.InitiatedID, c)
	d.row(RowChild, c.InitiatedID, "")
}

func (d *draft) dropChild(id ids.EventID) {
	drop(d, ownChildren, &d.Children, id)
	d.row(RowChild, id, "")
}

func (d *draft) setRequest(r *Request) {
	put(d, ownRequests, &d.Requests, r.ID, r)
	d.row(RowRequest, 0, r.ID)
}

func (d *draft) setUpdate(u *Update) {
	put(d, ownUpdates, &d.Updates, u.ID, u)
	d.row(RowUpdate, 0, u.ID)
}

func (d *draft) setLive(u *LiveUpdate) {
	put(d, ownLiveUpdates, &d.Volatile.Updates, u.ID, u)
}

func (d *draft) dropLive(id string) { drop(d, ownLiveUpdates, &d.Volatile.Updates, id) }

func (d *draft) setQuery(q *LiveQuery) { put(d, ownLiveQueries, &d.Volatile.Queries, q.ID, q) }

func (d *draft) dropQuery(id string) { drop(d, ownLiveQueries, &d.Volatile.Queries, id) }

// send writes a message to another execution into the outbox and returns its number.
func (d *draft) send(m *Message) int64 {
	d.Info.NextOutbox++
	m.FromFirst, m.FromNS = d.Start.FirstRunID, d.env.Namespace.Name
	d.tr.Put = append(d.tr.Put, Task{Kind: TaskMessage, Outbox: d.Info.NextOutbox, Message: m})
	d.durable()
	return d.Info.NextOutbox
}

// unsend takes a message back. It tells whether the message had been in the store, so that its receiver may have it.
func (d *draft) unsend(outbox int64) (stored bool) {
	if outbox == 0 {
		return false
	}
	d.durable()
	return d.unput(Task{Kind: TaskMessage, Outbox: outbox})
}

// unput removes an outbox row. One that this very step put there never gets into the store (false): its offer, if it had
// one, goes too.
func (d *draft) unput(t Task) (stored bool) {
	same := func(o Task) bool {
		o.Message, o.Priority, o.Sticky = nil, t.Priority, t.Sticky
		return o == t
	}
	i := slices.IndexFunc(d.tr.Put, same)
	if i < 0 {
		d.tr.Delete = append(d.tr.Delete, t)
		return true
	}
	d.tr.Put = slices.Delete(d.tr.Put, i, i+1)
	d.tr.Offers = slices.DeleteFunc(d.tr.Offers, func(o Offer) bool { return same(o.Task) })
	return false
}

func (d *draft) reply(w Waiter, answer any, err error) {
	if w != 0 {
		d.tr.Replies = append(d.tr.Replies, Reply{Waiter: w, Answer: answer, Err: err})
	}
}

// buffers tells whether events of this type wait while a workflow task is started.
func buffers(t enumspb.EventType) bool {
	switch t {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
		enumspb.EVENT_TYPE_TIMER_FIRED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
		enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
		enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED,
		enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
		enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		return true
	}
	return false
}

// movesBack tells whether a buffered event goes behind the others when the buffer is written.
func movesBack(t enumspb.EventType) bool {
	switch t {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		return true
	}
	return false
}

// newEvent makes an event without ID; write or arrive gives it one.
func (d *draft) newEvent(t enumspb.EventType) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventType: t, EventTime: d.now().Proto()}
}

// write appends ev to history and folds it in. Its effects on the run's tables happen here and nowhere else.
func (d *draft) write(ev *historypb.HistoryEvent) *historypb.HistoryEvent {
	d.append(ev)
	apply(d, ev)
	settle(d, ev)
	return ev
}

// append gives ev the next ID and puts it into the transition.
func (d *draft) append(ev *historypb.HistoryEvent) {
	ev.EventId = d.Info.NextEventID
	ev.TaskId = ev.EventId
	if clock.FromProto(ev.EventTime) < d.Info.LastEventTime && !datedBack(ev.EventType) {
		ev.EventTime = d.Info.LastEventTime.Proto()
	}
	d.Info.NextEventID++
	d.Info.LastEventTime = max(d.Info.LastEventTime, clock.FromProto(ev.EventTime))
	d.tr.Events = append(d.tr.Events, ev)
	before := len(d.tr.EventBytes)
	d.tr.EventBytes = appendEvent(d.tr.EventBytes, ev)
	d.Info.HistoryBytes += int64(len(d.tr.EventBytes) - before)
}

// datedBack tells whether events of this type keep the time at which a worker took the task, though written later. The
// times of all others never decrease along a history.
func datedBack(t enumspb.EventType) bool {
	return t == enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED || t == enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED
}

// appendEvent appends ev as one element of history.v1.History.events. It grows b by no more than it needs: the bytes stay
// in memory for as long as the run is cached.
func appendEvent(b []byte, ev *historypb.HistoryEvent) []byte {
	opts := proto.MarshalOptions{Deterministic: true}
	size := opts.Size(ev)
	if need := len(b) + 1 + protowire.SizeBytes(size); need > cap(b) {
		b = append(make([]byte, 0, need), b...)
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	opts.UseCachedSize = true
	out, err := opts.MarshalAppend(b, ev)
	if err != nil {
		panic(fmt.Sprintf("execution: encode event %d %s: %v", ev.EventId, ev.EventType, err))
	}
	return out
}

// arrive takes an event that comes from outside the workflow's code: it is written now, or buffered while a workflow
// task is started. started is the ActivityTaskStarted event that belongs right before it, if any. A speculative
// workflow task becomes a normal one first: the run is about to be stored.
func (d *draft) arrive(ev, started *historypb.HistoryEvent) {
	d.durable()
	d.promote()
	if !d.Info.WFT.Started() || !buffers(ev.EventType) {
		if started != nil {
			d.write(started)
			setStartedID(ev, started.EventId)
		}
		d.write(ev)
		if !d.Info.WFT.Pending() {
			d.Info.NextAttempt = 1 // of a task that failed in this very step, too: only what follows it directly repeats it
		}
		if ev.EventType != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED {
			d.needTask = true // what was attached concerns callers, not the workflow's code
		}
		return
	}
	apply(d, ev)
	b := &Buffered{Number: d.Info.NextBuffered, Event: ev}
	opts := proto.MarshalOptions{Deterministic: true}
	b.Bytes = mustMarshal(opts, ev)
	if started != nil {
		b.Started = mustMarshal(opts, started)
	}
	d.Info.NextBuffered++
	d.Info.BufferedBytes += int64(len(b.Bytes) + len(b.Started))
	put(d, ownBuffered, &d.Buffered, b.Number, b)
	d.row(RowBuffered, b.Number, "")
	request := ev.GetWorkflowExecutionSignaledEventAttributes().GetRequestId()
	if request == "" {
		request = ev.GetWorkflowExecutionOptionsUpdatedEventAttributes().GetAttachedRequestId()
	}
	if r, ok := d.Requests.Get(request); ok && r.EventID == 0 {
		c := *r
		c.Buffer = b.Number + 1
		d.setRequest(&c)
	}
	slack := 1
	if !d.env.Limits.Hard {
		slack = softBuffer // signals are refused before, and what else comes is bounded by what the workflow has begun
	}
	if d.Buffered.Len() > d.env.Limits.BufferedEvents*slack || d.Info.BufferedBytes > int64(d.env.Limits.BufferedBytes)*int64(slack) {
		d.overflow = true
	}
}

// relieve fails the workflow task in whose way the buffer has overflowed. That waits for the end of the step, so that all its
// news is in the order of one flush.
func (d *draft) relieve() {
	if d.overflow && d.Info.WFT.Started() && d.Buffered.Len() > 0 {
		d.mark("buffer overflow")
		d.failTask(enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND, nil, serverIdentity, taskFailure{})
	}
}

// softBuffer is by how much the buffer may outgrow its limits before the workflow task in its way is failed.
const softBuffer = 10

func mustMarshal(opts proto.MarshalOptions, m proto.Message) []byte {
	b, err := opts.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("execution: encode %T: %v", m, err))
	}
	return b
}

// flush writes the buffered events: in order of arrival, but ends of activities and children behind the others.
func (d *draft) flush() {
	if d.Buffered.Len() == 0 {
		return
	}
	d.startedChild = nil
	var activities map[int64]ids.EventID // started event of buffered ends, by arrival number
	for _, back := range []bool{false, true} {
		for _, b := range d.Buffered.All {
			if !back && len(b.Started) > 0 { // a start keeps its place
				started := new(historypb.HistoryEvent)
				if err := proto.Unmarshal(b.Started, started); err != nil {
					panic(fmt.Sprintf("execution: buffered event: %v", err))
				}
				d.append(started)
				settle(d, started)
				if activities == nil {
					activities = make(map[int64]ids.EventID)
				}
				activities[b.Number] = started.EventId
			}
			if movesBack(b.Event.EventType) != back {
				continue
			}
			ev := proto.CloneOf(b.Event) // states share the buffered event; its ID must not be set there
			if id := activities[b.Number]; id != 0 {
				setStartedID(ev, id)
			}
			if id, ok := d.startedChild[childInitiatedID(ev)]; ok && back {
				setStartedID(ev, id)
			}
			d.append(ev)
			settle(d, ev)
		}
	}
	d.clearBuffer()
	d.needTask = true
	d.durable()
}

func (d *draft) clearBuffer() {
	for n := range d.Buffered.All {
		d.row(RowBuffered, n, "")
	}
	d.Buffered = Table[int64, *Buffered]{}
	d.owned &^= ownBuffered
	d.Info.BufferedBytes = 0
}

// unbuffer removes one buffered event.
func (d *draft) unbuffer(n int64) {
	b, _ := d.Buffered.Get(n)
	d.Info.BufferedBytes -= int64(len(b.Bytes) + len(b.Started))
	drop(d, ownBuffered, &d.Buffered, n)
	d.row(RowBuffered, n, "")
}

// finish completes the transition: schedules a workflow task if one is due, moves the run's timer row, and counts.
func (d *draft) finish() *Transition {
	if d.Open() {
		d.relieve()
	}
	if d.Open() && !(d.tr.Durable && d.guardSize()) {
		d.finishTask()
	}
	d.finishUpdates()
	d.finishQueries()
	if d.tr.Durable {
		d.Info.Transitions++
		d.moveTimerRow()
		d.Volatile.Unsaved = false
	}
	d.tr.Next = d.State
	return d.tr
}

// guardSize terminates an open run that has outgrown its limits, and tells whether it did.
func (d *draft) guardSize() bool {
	l, reason := d.env.Limits, ""
	switch {
	case !d.Open():
	case l.HistoryEvents > 0 && d.Info.NextEventID-1+int64(d.Buffered.Len()) > int64(l.HistoryEvents):
		reason = "Workflow history count exceeds limit."
	case l.HistoryBytes > 0 && d.Info.HistoryBytes+d.Info.BufferedBytes > l.HistoryBytes:
		reason = "Workflow history size exceeds limit."
	}
	if reason != "" {
		d.terminate(reason, nil, serverIdentity, nil)
	}
	return reason != ""
}

// refuse is the transition of an input that changes nothing.
func refuse(st *State, err error) *Transition { return &Transition{Next: st, Err: err} }

// answer is the transition of an input that changes nothing and is answered at once.
func answer(st *State, a any) *Transition { return &Transition{Next: st, Answer: a} }

// moveTimerRow keeps the run's one timer row at or before its next deadline. A row that is too early costs one idle
// wake-up, so it is left alone; one that is too late would lose a deadline.
func (d *draft) moveTimerRow() {
	want := d.NextDeadline()
	have := d.Info.TimerRow
	if have != 0 && (want == 0 && !d.Open() || want != 0 && want < have || have <= d.env.Now) {
		d.tr.Delete = append(d.tr.Delete, Task{Kind: TaskTimer, At: have})
		have = 0
	}
	if want != 0 && (have == 0 || want < have) {
		d.tr.Put = append(d.tr.Put, Task{Kind: TaskTimer, At: want})
		have = want
	}
	d.Info.TimerRow = have
}
