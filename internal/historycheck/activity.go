package historycheck

import (
	"maps"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// activity is what its events tell of one activity.
type activity struct {
	scheduledID int64
	activityID  string
	scheduledAt time.Time
	startedID   int64
	cancelID    int64 // CancelRequested
	cancelBatch int64 // the completed workflow task that asked for it
	endedID     int64
}

// placePair judges the event behind an ActivityTaskStarted: the same activity's end. Flushed starts keep their place in
// the order of arrival while the ends move back, so that within a flush others may stand between them.
func (w *walker) placePair() {
	scheduledID, ends := w.activityEnd()
	if _, paired := w.pairs[scheduledID]; len(w.pairs) == 0 || ends && paired || w.task.state == taskNone && w.inClass(classExternal) {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(w.pairs)) {
		w.bad(RuleActivityPair, "ActivityTaskStarted %d must be followed by the end of activity %d", w.pairs[id].startedID, id)
	}
	clear(w.pairs)
}

// activityEnd is the activity that the current event ends, false when it ends none.
func (w *walker) activityEnd() (int64, bool) {
	switch w.typ() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		return w.field("scheduled_event_id")
	}
	return 0, false
}

func (w *walker) applyActivity() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		w.activityScheduled(w.ev.GetActivityTaskScheduledEventAttributes())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
		w.activityCancelRequested(w.ev.GetActivityTaskCancelRequestedEventAttributes())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		w.activityStarted(w.ev.GetActivityTaskStartedEventAttributes())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		if a := w.endActivity(); a != nil {
			w.need(a.startedID != 0, RuleActivityPair, "completed without ActivityTaskStarted")
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		f := w.ev.GetActivityTaskFailedEventAttributes()
		if a := w.endActivity(); a != nil {
			w.need(a.startedID != 0, RuleActivityPair, "failed without ActivityTaskStarted")
		}
		w.need(f.Failure != nil, RuleActivityFields, "no failure")
		if f.GetFailure().GetResetWorkflowFailureInfo() == nil {
			w.finalRetryState(f.RetryState, RuleActivityFields)
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		w.activityTimedOut(w.ev.GetActivityTaskTimedOutEventAttributes())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		w.activityCanceled(w.ev.GetActivityTaskCanceledEventAttributes())
	}
}

func (w *walker) activityScheduled(a *historypb.ActivityTaskScheduledEventAttributes) {
	w.need(a.ActivityId != "", RuleActivity, "no activity ID")
	if other := w.activityID[a.ActivityId]; other != 0 {
		w.bad(RuleActivity, "activity ID %q is taken by pending activity %d", a.ActivityId, other)
	}
	w.need(a.GetActivityType().GetName() != "", RuleActivityFields, "no activity type")
	w.need(a.GetTaskQueue().GetName() != "", RuleActivityFields, "no task queue")
	w.need(a.RetryPolicy != nil, RuleActivityFields, "retry_policy is not set; the default policy is written out")
	for _, t := range []struct {
		name  string
		value *durationpb.Duration
	}{
		{"schedule_to_close_timeout", a.ScheduleToCloseTimeout},
		{"schedule_to_start_timeout", a.ScheduleToStartTimeout},
		{"start_to_close_timeout", a.StartToCloseTimeout},
		{"heartbeat_timeout", a.HeartbeatTimeout},
	} {
		w.need(t.value != nil, RuleActivityFields, "%s is not set; none is written as zero", t.name)
		w.need(t.value.AsDuration() >= 0, RuleActivityFields, "%s is negative", t.name)
	}
	s2c, stc := a.ScheduleToCloseTimeout.AsDuration(), a.StartToCloseTimeout.AsDuration()
	s2s, hb := a.ScheduleToStartTimeout.AsDuration(), a.HeartbeatTimeout.AsDuration()
	w.need(s2c > 0 || stc > 0, RuleActivityFields, "neither schedule-to-close nor start-to-close timeout")
	w.need(s2c == 0 || 0 < stc && stc <= s2c, RuleActivityFields, "start-to-close %s is not capped at schedule-to-close %s", stc, s2c)
	w.need(s2c == 0 || 0 < s2s && s2s <= s2c, RuleActivityFields, "schedule-to-start %s is not capped at schedule-to-close %s", s2s, s2c)
	w.need(stc == 0 || hb <= stc, RuleActivityFields, "heartbeat %s is not capped at start-to-close %s", hb, stc)

	w.activities[w.id()] = &activity{scheduledID: w.id(), activityID: a.ActivityId, scheduledAt: w.time()}
	w.activityID[a.ActivityId] = w.id()
}

// pendingActivity finds the activity an event names, reporting one that is unknown or has ended.
func (w *walker) pendingActivity(scheduledID int64) *activity {
	a := w.activities[scheduledID]
	switch {
	case a == nil:
		w.bad(RuleActivity, "scheduled_event_id %d is no ActivityTaskScheduled", scheduledID)
		return nil
	case a.endedID != 0:
		w.bad(RuleActivity, "activity %d has already ended with event %d", scheduledID, a.endedID)
		return nil
	}
	return a
}

func (w *walker) activityCancelRequested(r *historypb.ActivityTaskCancelRequestedEventAttributes) {
	a := w.pendingActivity(r.ScheduledEventId)
	if a == nil {
		return
	}
	w.need(a.cancelID == 0, RuleActivityCancel, "already requested by event %d", a.cancelID)
	a.cancelID, a.cancelBatch = w.id(), w.batch
}

func (w *walker) activityStarted(s *historypb.ActivityTaskStartedEventAttributes) {
	a := w.pendingActivity(s.ScheduledEventId)
	if a == nil {
		return
	}
	w.need(s.Attempt >= 1, RuleActivityFields, "attempt %d", s.Attempt)
	w.need(s.Attempt <= 1 || s.LastFailure != nil, RuleActivityFields, "attempt %d without last_failure", s.Attempt)
	w.need(!w.time().Before(a.scheduledAt), RuleTime, "started before it was scheduled")
	a.startedID = w.id()
	if w.pairs == nil {
		w.pairs = make(map[int64]*activity)
	}
	w.pairs[a.scheduledID] = a
}

// endActivity judges the references of an event that ends an activity. Nil means that the activity cannot be judged.
func (w *walker) endActivity() *activity {
	scheduledID, _ := w.activityEnd()
	startedID, _ := w.field("started_event_id")
	a := w.pendingActivity(scheduledID)
	if a == nil {
		delete(w.pairs, scheduledID)
		return nil
	}
	w.need(startedID == a.startedID, RuleActivity, "started_event_id is %d, the activity has %d", startedID, a.startedID)
	delete(w.pairs, scheduledID)
	for _, other := range w.pairs {
		w.need(a.startedID == 0 || other.startedID > a.startedID, RuleActivityPair, "activity %d, which started before with event %d, ends first",
			other.scheduledID, other.startedID)
	}
	a.endedID = w.id()
	if w.activityID[a.activityID] == a.scheduledID {
		delete(w.activityID, a.activityID)
	}
	return a
}

func (w *walker) activityTimedOut(t *historypb.ActivityTaskTimedOutEventAttributes) {
	a := w.endActivity()
	w.finalRetryState(t.RetryState, RuleActivityFields)
	info := t.GetFailure().GetTimeoutFailureInfo()
	if info == nil {
		w.bad(RuleActivityFields, "no failure with timeout info")
		return
	}
	if a == nil {
		return
	}
	switch info.TimeoutType {
	case enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START:
		w.need(a.startedID == 0, RuleActivityFields, "schedule-to-start timeout of a started activity")
	case enumspb.TIMEOUT_TYPE_START_TO_CLOSE, enumspb.TIMEOUT_TYPE_HEARTBEAT:
		w.need(a.startedID != 0, RuleActivityFields, "%s timeout of an activity that was not started", info.TimeoutType)
	case enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE:
	default:
		w.bad(RuleActivityFields, "timeout type %s", info.TimeoutType)
	}
}

func (w *walker) activityCanceled(c *historypb.ActivityTaskCanceledEventAttributes) {
	a := w.endActivity()
	if a == nil {
		return
	}
	if a.cancelID == 0 {
		w.bad(RuleActivityCancel, "nobody asked activity %d to cancel", a.scheduledID)
		return
	}
	w.need(c.LatestCancelRequestedEventId == a.cancelID, RuleActivityCancel,
		"latest_cancel_requested_event_id is %d, the request is %d", c.LatestCancelRequestedEventId, a.cancelID)
	if a.startedID == 0 {
		w.need(w.task.state == taskNone && a.cancelBatch == w.task.completed && !w.task.retrying, RuleActivityCancel,
			"canceled without a start, but not in the transaction of its request %d", a.cancelID)
	}
}

// finalRetryState judges the retry state of an event that ends something: why there is no further attempt.
func (w *walker) finalRetryState(s enumspb.RetryState, rule Rule) {
	w.need(s != enumspb.RETRY_STATE_UNSPECIFIED && s != enumspb.RETRY_STATE_IN_PROGRESS, rule,
		"retry state %s does not say why nothing is retried", s)
}
