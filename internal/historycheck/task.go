package historycheck

import (
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

type taskState int

const (
	taskNone taskState = iota
	taskScheduled
	taskStarted
)

// task is the automaton of workflow tasks: the pending one and what is remembered of the last.
type task struct {
	state       taskState
	scheduledID int64
	startedID   int64
	scheduledAt time.Time
	attempt     int32

	ever      bool  // one was scheduled
	completed int64 // last WorkflowTaskCompleted
	retrying  bool  // the last one failed: a retry may be pending that has no events
	retriable bool  // … and its events may come next, with attempt 2 or more
	size      int64 // history size of the last WorkflowTaskStarted
}

// placeRetry judges the events around a retried task: they are written together, once it has completed. A reset may cut
// before that completion.
func (w *walker) placeRetry() {
	if w.task.state == taskNone || w.task.attempt < 2 {
		return
	}
	want := enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED
	if w.task.state == taskStarted {
		want = enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
	}
	reset := w.task.state == taskStarted && w.ev.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
	w.need(w.is(want) || reset, RuleAttempt, "workflow task %d has attempt %d, so %s must be next",
		w.task.scheduledID, w.task.attempt, want)
}

func (w *walker) taskScheduled(a *historypb.WorkflowTaskScheduledEventAttributes) {
	w.need(w.task.state == taskNone, RuleTask, "workflow task %d is still pending", w.task.scheduledID)
	w.need(!w.paused, RulePause, "no workflow task is scheduled while the run is paused")
	switch {
	case a.Attempt < 1:
		w.bad(RuleAttempt, "attempt %d", a.Attempt)
	case a.Attempt > 1:
		direct := w.prevType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED ||
			w.prevType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT
		w.need(direct && w.task.retriable, RuleAttempt, "attempt %d does not directly follow a failed attempt", a.Attempt)
	}
	w.need(a.GetTaskQueue().GetName() != "", RuleTaskFields, "no task queue")
	w.need(a.GetStartToCloseTimeout().AsDuration() > 0, RuleTaskFields, "start_to_close_timeout is not positive")

	w.task.state, w.task.ever = taskScheduled, true
	w.task.scheduledID, w.task.startedID = w.id(), 0
	w.task.scheduledAt, w.task.attempt = w.time(), a.Attempt
	w.task.retrying, w.task.retriable = false, false
	w.owed, w.flush, w.moved = 0, false, 0
}

func (w *walker) taskStarted(a *historypb.WorkflowTaskStartedEventAttributes) {
	w.need(w.task.state == taskScheduled, RuleTask, "no workflow task is scheduled and waits to start")
	w.need(!w.paused, RulePause, "no workflow task starts while the run is paused")
	w.need(a.ScheduledEventId == w.task.scheduledID, RuleTaskRef,
		"scheduled_event_id is %d, the pending task is %d", a.ScheduledEventId, w.task.scheduledID)
	w.need(!w.time().Before(w.task.scheduledAt), RuleTime, "started before it was scheduled")
	w.need(a.HistorySizeBytes >= w.task.size, RuleTaskFields,
		"history_size_bytes %d is less than the %d of an earlier task", a.HistorySizeBytes, w.task.size)

	w.task.state, w.task.startedID, w.task.size = taskStarted, w.id(), a.HistorySizeBytes
}

// endTask judges the references of an event that ends the pending task and makes room for the next.
func (w *walker) endTask(scheduledID, startedID int64) {
	w.need(scheduledID == w.task.scheduledID, RuleTaskRef,
		"scheduled_event_id is %d, the pending task is %d", scheduledID, w.task.scheduledID)
	w.need(startedID == w.task.startedID, RuleTaskRef,
		"started_event_id is %d, the pending task has %d", startedID, w.task.startedID)
	w.task.state = taskNone
	w.flush, w.moved, w.ended = false, 0, false
}

func (w *walker) taskCompleted(a *historypb.WorkflowTaskCompletedEventAttributes) {
	w.need(w.task.state == taskStarted, RuleTask, "no workflow task is started")
	w.endTask(a.ScheduledEventId, a.StartedEventId)
	w.task.completed = w.id()
	w.batch = w.id()
	w.flush = !w.paused
}

func (w *walker) taskFailed(a *historypb.WorkflowTaskFailedEventAttributes) {
	paused := a.Cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED
	if paused {
		w.need(w.task.state == taskScheduled, RuleTask, "the cause speaks of a task that is scheduled and not started")
	} else {
		w.need(w.task.state == taskStarted, RuleTask, "no workflow task is started")
	}
	w.need(a.Cause != enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED, RuleTaskFields, "no cause")
	w.endTask(a.ScheduledEventId, a.StartedEventId)

	switch {
	case a.Cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
		w.resetMarker(a)
		if !w.paused {
			w.owed = w.id()
		}
		return
	case overBuffered(a):
		w.force, w.flush = w.id(), !w.paused
		w.ended = a.Cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
	default:
		w.task.retrying, w.task.retriable = true, !paused
	}
	w.need(a.BaseRunId == "" && a.NewRunId == "", RuleReset, "names a base or new run, but is not a reset")
}

// overBuffered tells whether the server failed the task because of buffered events. A worker may report the same causes,
// but then has a failure of its own.
func overBuffered(a *historypb.WorkflowTaskFailedEventAttributes) bool {
	switch a.Cause {
	case enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND:
		return a.Failure == nil || a.Failure.GetServerFailureInfo() != nil
	case enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND:
		return a.Failure == nil
	}
	return false
}

func (w *walker) taskTimedOut(a *historypb.WorkflowTaskTimedOutEventAttributes) {
	switch a.TimeoutType {
	case enumspb.TIMEOUT_TYPE_START_TO_CLOSE:
		w.need(w.task.state == taskStarted, RuleTask, "no workflow task is started")
		w.task.retrying, w.task.retriable = true, true
	case enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START:
		w.need(w.task.state == taskScheduled, RuleTask, "no workflow task waits to start")
		if !w.paused && w.owed == 0 {
			w.owed = w.id() // goes to the normal queue at once, its attempt unchanged
		}
	default:
		w.bad(RuleTaskFields, "timeout type %s", a.TimeoutType)
	}
	w.endTask(a.ScheduledEventId, a.StartedEventId)
}

func (w *walker) resetMarker(a *historypb.WorkflowTaskFailedEventAttributes) {
	w.need(a.BaseRunId != "" && a.NewRunId != "", RuleReset, "base run %q, new run %q", a.BaseRunId, a.NewRunId)
	w.need(a.BaseRunId != a.NewRunId || a.BaseRunId == "", RuleReset, "base and new run are both %q", a.NewRunId)
	if earlier := w.resetRuns[a.NewRunId]; earlier != 0 {
		w.bad(RuleReset, "event %d already made run %q", earlier, a.NewRunId)
	}
	w.resetRuns[a.NewRunId] = w.id()
	w.lastReset = a.NewRunId
}
