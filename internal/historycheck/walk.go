package historycheck

import (
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// class tells where in a history an event may stand.
type class int

const (
	classUnknown class = iota
	classStart
	classTask     // workflow task events
	classCommand  // made from a command or message of a completed workflow task
	classExternal // comes from outside the workflow task; buffered while one is started
	classForce    // closes the run from outside, or changes whether it runs: never buffered
)

// trait marks what an external event means for its neighbours.
type trait int

const (
	wakes   trait = 1 << iota // must be shown to the workflow: schedules a workflow task
	moves                     // ends an activity, child or Nexus operation: flushed behind the others
	neutral                   // takes no part in the order of flushed events
	begins                    // of an activity: flushed in its place, though its end is not
)

type kind struct {
	class class
	trait trait
}

// kinds lists every event that a server writes. What is missing (UpdateRejected) must never be seen.
var kinds = map[enumspb.EventType]kind{
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: {class: classStart},

	enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: {class: classTask},
	enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:   {class: classTask},
	enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: {class: classTask},
	enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:    {class: classTask},
	enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: {class: classTask},

	enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:                              {class: classCommand},
	enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:                       {class: classCommand},
	enumspb.EVENT_TYPE_TIMER_STARTED:                                        {class: classCommand},
	enumspb.EVENT_TYPE_TIMER_CANCELED:                                       {class: classCommand},
	enumspb.EVENT_TYPE_MARKER_RECORDED:                                      {class: classCommand},
	enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:             {class: classCommand},
	enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:         {class: classCommand},
	enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: {class: classCommand},
	enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:                    {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:                         {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:                   {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:                  {class: classCommand},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED:                            {class: classCommand},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED:                     {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:                         {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:                            {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:                          {class: classCommand},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:                  {class: classCommand},

	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: {class: classForce},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:  {class: classForce},
	// A pause shows in the run's status at once, whatever a started workflow task does.
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:   {class: classForce},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED: {class: classForce},

	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:                       {classExternal, wakes},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:               {classExternal, wakes},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:                {classExternal, wakes},
	enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:                             {classExternal, begins},
	enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:                           {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:                              {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:                           {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:                            {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_TIMER_FIRED:                                       {classExternal, wakes},
	enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:             {classExternal, wakes},
	enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:                  {classExternal, wakes},
	enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:                {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:                   {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:                 {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:                {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:               {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:              {classExternal, wakes},
	enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:         {classExternal, wakes},
	enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED:      {classExternal, wakes},
	enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: {classExternal, wakes},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:                {classExternal, 0},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_STARTED:                           {classExternal, 0},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_COMPLETED:                         {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_FAILED:                            {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCELED:                          {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT:                         {classExternal, wakes | moves},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED:          {classExternal, neutral},
	enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_FAILED:             {classExternal, neutral},
	enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY:           {classExternal, neutral},
	enumspb.EVENT_TYPE_ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY:           {classExternal, neutral},
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED:     {classExternal, neutral},
}

// walker is one pass over one history. Its fields are what the rules need to know of the events already seen.
type walker struct {
	opts  Options
	found Violations
	ev    *historypb.HistoryEvent // under judgement; nil for the history as a whole
	prev  *historypb.HistoryEvent // the event before it

	begun   time.Time // of the first event
	latest  time.Time // of all events so far
	taskID  int64
	version int64

	started *historypb.WorkflowExecutionStartedEventAttributes
	closed  *historypb.HistoryEvent
	paused  bool

	task task

	batch int64 // WorkflowTaskCompleted whose command events may still come; 0 for none
	flush bool  // outside events up to the next Scheduled are one flush
	moved int64 // last event of this flush that belongs at its end
	owed  int64 // event that called for a workflow task nobody scheduled yet
	force int64 // WorkflowTaskFailed that must be followed by flushed events
	ended bool  // the last workflow task was failed by force: what is flushed behind it may be the end of the run's news

	activities map[int64]*activity
	activityID map[string]int64
	pairs      map[int64]*activity // have a Started event that waits for its end, by scheduled event
	timers     map[int64]*timer
	timerID    map[string]int64
	children   map[int64]*child
	outgoing   map[int64]*outgoing
	updates    map[string]*update
	accepted   map[int64]string
	nexus      map[int64]*nexusOperation
	nexusAsked map[int64]int64

	signalRequests map[string]int64
	optionRequests map[string]int64
	canceled       int64
	resetRuns      map[string]int64
	lastReset      string
}

func (o Options) walk(events []*historypb.HistoryEvent) *walker {
	w := &walker{
		opts:       o,
		activities: map[int64]*activity{}, activityID: map[string]int64{},
		timers: map[int64]*timer{}, timerID: map[string]int64{},
		children: map[int64]*child{}, outgoing: map[int64]*outgoing{},
		updates: map[string]*update{}, accepted: map[int64]string{},
		nexus: map[int64]*nexusOperation{}, nexusAsked: map[int64]int64{},
		signalRequests: map[string]int64{}, optionRequests: map[string]int64{}, resetRuns: map[string]int64{},
	}
	if len(events) == 0 {
		w.bad(RuleFirst, "the history is empty")
		return w
	}
	virtual := o.virtualFrom(events)
	if o.VirtualTail && virtual == len(events) {
		w.at(events[len(events)-1])
		w.bad(RuleTask, "the history was said to end in the virtual events of a workflow task")
	}
	for i, e := range events {
		w.at(e)
		if e == nil {
			w.bad(RuleType, "event at index %d is nil", i)
			continue
		}
		w.envelope(i, i >= virtual)
		if w.place(i) {
			w.apply()
		}
		w.prev = e
	}
	w.finish(virtual < len(events))
	return w
}

// virtualFrom is the index of the first virtual event, len(events) when there is none.
func (o Options) virtualFrom(events []*historypb.HistoryEvent) int {
	n := len(events)
	if !o.VirtualTail {
		return n
	}
	if n > 1 && events[n-1].GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED &&
		events[n-2].GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED {
		return n - 2
	}
	if events[n-1].GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED {
		return n - 1
	}
	return n
}

func (w *walker) at(e *historypb.HistoryEvent) { w.ev = e }

// bad records a violation at the event under judgement.
func (w *walker) bad(rule Rule, format string, args ...any) {
	w.found = append(w.found, Violation{
		EventID: w.ev.GetEventId(),
		Type:    w.ev.GetEventType(),
		Rule:    rule,
		Detail:  fmt.Sprintf(format, args...),
	})
}

// need records a violation unless ok.
func (w *walker) need(ok bool, rule Rule, format string, args ...any) {
	if !ok {
		w.bad(rule, format, args...)
	}
}

func (w *walker) id() int64                   { return w.ev.GetEventId() }
func (w *walker) typ() enumspb.EventType      { return w.ev.GetEventType() }
func (w *walker) prevType() enumspb.EventType { return w.prev.GetEventType() }
func (w *walker) is(t enumspb.EventType) bool { return w.typ() == t }
func (w *walker) time() time.Time             { return w.ev.GetEventTime().AsTime() }
func (w *walker) trait(t trait) bool          { return kinds[w.typ()].trait&t != 0 }
func (w *walker) inClass(c class) bool        { return kinds[w.typ()].class == c }

// envelope judges what every event has: ID, time, task ID, version, type.
func (w *walker) envelope(i int, virtual bool) {
	e := w.ev
	w.need(e.EventId == int64(i)+1, RuleIDs, "want ID %d", i+1)

	late := w.is(enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED) || w.is(enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED)
	switch {
	case e.EventTime == nil:
		w.bad(RuleTime, "event_time is not set")
	case !late && w.time().Before(w.latest):
		w.bad(RuleTime, "%s is before %s, the time of an earlier event", stamp(w.time()), stamp(w.latest))
	case w.time().After(w.latest):
		w.latest = w.time()
	}

	if !virtual {
		w.need(i == 0 || e.TaskId > w.taskID, RuleTaskID, "%d does not exceed the %d before it", e.TaskId, w.taskID)
		w.taskID = e.TaskId
	}
	if i == 0 {
		w.version, w.begun = e.Version, w.time()
	}
	w.need(e.Version == w.version, RuleVersion, "%d, but the first event has %d", e.Version, w.version)
	if e.WorkerMayIgnore {
		k := kinds[e.EventType]
		skippable := k.class == classForce && !w.closes() || k.class == classExternal && k.trait&^neutral == 0
		w.need(skippable, RuleIgnorable, "SDKs need this event")
	}
}

// closes tells whether the event under judgement ends the run.
func (w *walker) closes() bool {
	switch w.typ() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return true
	}
	return false
}

// place judges the event's type and position. False means that its attributes cannot be judged.
func (w *walker) place(i int) bool {
	k, known := kinds[w.typ()]
	if !known {
		w.bad(RuleType, "a server never writes events of this type")
		return false
	}
	if got, want := attributesField(w.ev), attributesName(w.typ()); got == nil || string(got.Name()) != want {
		w.bad(RuleType, "its attributes are not %s", want)
		return false
	}
	if w.closed != nil {
		w.bad(RuleClose, "the run was closed by event %d %s", w.closed.EventId, w.closed.EventType)
		return false
	}
	if isFirst := i == 0; isFirst != (k.class == classStart) {
		w.bad(RuleFirst, "only the first event is WorkflowExecutionStarted")
		if !isFirst {
			return false
		}
	}
	w.placePair()
	w.placeRetry()
	w.placeFirst(i)
	switch k.class {
	case classTask:
		w.batch = 0
	case classCommand:
		w.placeCommand()
	case classExternal:
		w.placeExternal()
	case classForce:
		w.batch = 0
	}
	w.placeForced()
	return true
}

// placeCommand judges an event made from a command: it names the completed workflow task it directly follows.
func (w *walker) placeCommand() {
	if w.batch == 0 {
		w.bad(RuleBatch, "not directly behind a WorkflowTaskCompleted and its command events")
		return
	}
	if got, has := w.field("workflow_task_completed_event_id"); has && got != w.batch {
		w.bad(RuleBatch, "workflow_task_completed_event_id is %d, the batch belongs to %d", got, w.batch)
	}
}

// placeExternal judges an event from outside: never inside a started workflow task, in flush order behind one, and
// followed by a workflow task.
func (w *walker) placeExternal() {
	if w.task.state == taskStarted {
		w.bad(RuleBuffered, "workflow task %d is started; the event has to wait for its end", w.task.startedID)
	}
	if w.batch != 0 && !w.canceledAtOnce() {
		w.batch = 0
	}
	switch {
	case !w.flush || w.batch != 0 || w.trait(neutral) || w.trait(begins):
	case w.trait(moves):
		w.moved = w.id()
	case w.moved != 0:
		w.bad(RuleFlush, "flushed behind event %d, which belongs at the end of the flush", w.moved)
	}
	if w.trait(wakes) && w.owed == 0 && w.mustWake() {
		w.owed = w.id()
	}
}

// canceledAtOnce tells whether the event is the Canceled that a cancel command makes together with its CancelRequested
// for an activity that was not started. It is part of the command batch.
func (w *walker) canceledAtOnce() bool {
	a, b := w.ev.GetActivityTaskCanceledEventAttributes(), w.prev.GetActivityTaskCancelRequestedEventAttributes()
	return a != nil && b != nil && a.StartedEventId == 0 && a.ScheduledEventId == b.ScheduledEventId
}

// mustWake tells whether news at this point needs a new workflow task, visible in history.
func (w *walker) mustWake() bool {
	switch {
	case w.paused || w.task.state != taskNone || w.task.retrying:
		// A retried task may be pending without having events; it carries the news.
		return false
	case !w.task.ever:
		// In the first backoff only a cancel request cuts the wait short; a child's first task waits for its parent.
		return w.is(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED) && w.started.GetParentWorkflowExecution() == nil
	}
	return true
}

// placeFirst judges the events before the first workflow task of a run that has no reason to wait with it.
func (w *walker) placeFirst(i int) {
	if i == 0 || w.started == nil || w.task.ever || w.is(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED) {
		return
	}
	if w.started.GetFirstWorkflowTaskBackoff().AsDuration() > 0 || w.started.GetParentWorkflowExecution() != nil {
		return
	}
	if i == 1 && w.is(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) {
		return
	}
	w.bad(RuleFirstTask, "the run has no backoff and no parent, so its first workflow task comes first")
}

// placeForced judges what stands behind a workflow task that was failed because of buffered events.
func (w *walker) placeForced() {
	if w.force == 0 {
		return
	}
	w.need(w.inClass(classExternal) || w.inClass(classForce), RuleWake,
		"workflow task failure %d was over buffered events, yet none is flushed behind it", w.force)
	w.force = 0
}

// finish judges what is left open at the end.
func (w *walker) finish(virtual bool) {
	if w.opts.AtRest && w.closed == nil {
		w.at(w.prev)
		w.need(w.owed == 0, RuleWake, "the history rests here, but event %d still has no workflow task", w.owed)
		w.need(len(w.pairs) == 0, RuleActivityPair, "the history rests here, but the started activity has not ended")
		w.need(w.force == 0, RuleWake, "the history rests here, but nothing was flushed")
		w.need(virtual || w.task.state == taskNone || w.task.attempt < 2, RuleAttempt,
			"the history rests here, but a retried workflow task is stored only when it completes")
		if !w.task.ever && w.started != nil && w.started.GetParentWorkflowExecution() == nil {
			w.need(w.started.GetFirstWorkflowTaskBackoff().AsDuration() > 0, RuleFirstTask,
				"the history rests here, but the run never got a workflow task")
		}
	}
	if w.opts.RunID != "" && w.started != nil {
		own := w.runID()
		w.at(nil)
		w.need(own == w.opts.RunID, RuleRunID, "belongs to run %q, not %q", own, w.opts.RunID)
	}
}

// runID is the run's own ID as far as its history tells: a reset copies the Started event and adds a marker.
func (w *walker) runID() string {
	if w.lastReset != "" {
		return w.lastReset
	}
	return w.started.GetOriginalExecutionRunId()
}

// apply judges the attributes and remembers what later events may refer to.
func (w *walker) apply() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		w.runStarted(w.ev.GetWorkflowExecutionStartedEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
		w.taskScheduled(w.ev.GetWorkflowTaskScheduledEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		w.taskStarted(w.ev.GetWorkflowTaskStartedEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		w.taskCompleted(w.ev.GetWorkflowTaskCompletedEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		w.taskFailed(w.ev.GetWorkflowTaskFailedEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		w.taskTimedOut(w.ev.GetWorkflowTaskTimedOutEventAttributes())
	default:
		if w.closes() {
			w.runClosed()
			return
		}
		w.applyActivity()
		w.applyTimer()
		w.applyChild()
		w.applyOutgoing()
		w.applyUpdate()
		w.applyNexus()
		w.applyRun()
	}
}

// attributesName is the name of the attributes field that belongs to t: the API derives one from the other.
func attributesName(t enumspb.EventType) string {
	v := t.Descriptor().Values().ByNumber(protoreflect.EnumNumber(t))
	if v == nil {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), "EVENT_TYPE_")) + "_event_attributes"
}

// attributesField is the attributes field that e has set, nil for none.
func attributesField(e *historypb.HistoryEvent) protoreflect.FieldDescriptor {
	m := e.ProtoReflect()
	return m.WhichOneof(m.Descriptor().Oneofs().ByName("attributes"))
}

// field reads an integer field of the current event's attributes by name; false when it has no such field.
func (w *walker) field(name protoreflect.Name) (int64, bool) {
	attributes := w.ev.ProtoReflect().Get(attributesField(w.ev)).Message()
	fd := attributes.Descriptor().Fields().ByName(name)
	if fd == nil {
		return 0, false
	}
	return attributes.Get(fd).Int(), true
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
