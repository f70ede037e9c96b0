// Package judge reads the history of one run, as the public API shows it, and says what cannot be true of it. It is
// written from the protocol alone, knows nothing of any server's inside, and checks what crashes put at risk: nothing
// missing, nothing twice, every outcome after the thing it is an outcome of.
package judge

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// History returns one line for every rule that events break, nothing for a legal history. Events must be all events of one
// run in the order served. A run that is still open may have unfinished business; a closed one too, but no second outcome.
func History(events []*historypb.HistoryEvent) []string {
	j := judgement{byID: map[int64]*historypb.HistoryEvent{}, settled: map[string]int64{}}
	for i, e := range events {
		j.event(i, e, i == len(events)-1)
		j.byID[e.GetEventId()] = e
	}
	if len(events) == 0 {
		j.say(0, "history is empty")
	}
	return j.faults
}

type judgement struct {
	faults  []string
	byID    map[int64]*historypb.HistoryEvent
	settled map[string]int64 // what may happen once → the event that did it
	closed  bool
}

func (j *judgement) say(id int64, format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf("event %d: %s", id, fmt.Sprintf(format, args...)))
}

// once records that something which may happen one time happened at id.
func (j *judgement) once(id int64, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if first, ok := j.settled[what]; ok {
		j.say(id, "%s, for the second time after event %d", what, first)
		return
	}
	j.settled[what] = id
}

// after checks that event id refers to an earlier event ref of type want.
func (j *judgement) after(id, ref int64, want enumspb.EventType) {
	switch e := j.byID[ref]; {
	case e == nil:
		j.say(id, "refers to event %d, which is not before it", ref)
	case e.GetEventType() != want:
		j.say(id, "refers to event %d as %s, but it is %s", ref, want, e.GetEventType())
	}
}

// closing tells the events that end a run.
func closing(t enumspb.EventType) bool {
	switch t {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return true
	}
	return false
}

func (j *judgement) event(i int, e *historypb.HistoryEvent, last bool) {
	id, t := e.GetEventId(), e.GetEventType()
	if id != int64(i+1) {
		j.say(id, "stands at place %d", i+1)
	}
	if first := t == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED; first != (i == 0) {
		j.say(id, "%s at place %d", t, i+1)
	}
	if j.closed {
		j.say(id, "%s after the run closed", t)
	}
	if closing(t) {
		j.closed = true
		if !last {
			j.say(id, "%s is not the last event", t)
		}
	}
	if e.GetEventTime() == nil {
		j.say(id, "has no time")
	}
	j.workflowTask(e)
	j.activity(e)
	j.timer(e)
	j.child(e)
	j.message(e)
}

func (j *judgement) workflowTask(e *historypb.HistoryEvent) {
	id := e.GetEventId()
	outcome := func(scheduled int64) {
		j.after(id, scheduled, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
		j.once(id, "workflow task scheduled at %d ended", scheduled)
	}
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
		for ref, prior := range j.byID {
			if prior.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED {
				if _, ended := j.settled[fmt.Sprintf("workflow task scheduled at %d ended", ref)]; !ended {
					j.say(id, "workflow task scheduled while the one of event %d is open", ref)
				}
			}
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		scheduled := e.GetWorkflowTaskStartedEventAttributes().GetScheduledEventId()
		j.after(id, scheduled, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
		j.once(id, "workflow task scheduled at %d started", scheduled)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		a := e.GetWorkflowTaskCompletedEventAttributes()
		j.after(id, a.GetStartedEventId(), enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED)
		outcome(a.GetScheduledEventId())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		outcome(e.GetWorkflowTaskFailedEventAttributes().GetScheduledEventId())
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		outcome(e.GetWorkflowTaskTimedOutEventAttributes().GetScheduledEventId())
	}
}

func (j *judgement) activity(e *historypb.HistoryEvent) {
	id := e.GetEventId()
	outcome := func(scheduled, started int64) {
		j.after(id, scheduled, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
		if started != 0 {
			j.after(id, started, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED)
		}
		j.once(id, "activity scheduled at %d ended", scheduled)
	}
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		scheduled := e.GetActivityTaskStartedEventAttributes().GetScheduledEventId()
		j.after(id, scheduled, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
		j.once(id, "activity scheduled at %d started", scheduled)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		a := e.GetActivityTaskCompletedEventAttributes()
		outcome(a.GetScheduledEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		a := e.GetActivityTaskFailedEventAttributes()
		outcome(a.GetScheduledEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		a := e.GetActivityTaskTimedOutEventAttributes()
		outcome(a.GetScheduledEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		a := e.GetActivityTaskCanceledEventAttributes()
		outcome(a.GetScheduledEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
		j.once(id, "cancel of activity %d requested", e.GetActivityTaskCancelRequestedEventAttributes().GetScheduledEventId())
	}
}

func (j *judgement) timer(e *historypb.HistoryEvent) {
	var started int64
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		started = e.GetTimerFiredEventAttributes().GetStartedEventId()
	case enumspb.EVENT_TYPE_TIMER_CANCELED:
		started = e.GetTimerCanceledEventAttributes().GetStartedEventId()
	default:
		return
	}
	j.after(e.GetEventId(), started, enumspb.EVENT_TYPE_TIMER_STARTED)
	j.once(e.GetEventId(), "timer of event %d ended", started)
}

func (j *judgement) child(e *historypb.HistoryEvent) {
	id := e.GetEventId()
	begun := func(initiated int64) {
		j.after(id, initiated, enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
		j.once(id, "start of child %d answered", initiated)
	}
	ended := func(initiated, started int64) {
		j.after(id, initiated, enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
		j.after(id, started, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
		j.once(id, "child %d ended", initiated)
	}
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		begun(e.GetChildWorkflowExecutionStartedEventAttributes().GetInitiatedEventId())
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		begun(e.GetStartChildWorkflowExecutionFailedEventAttributes().GetInitiatedEventId())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		a := e.GetChildWorkflowExecutionCompletedEventAttributes()
		ended(a.GetInitiatedEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := e.GetChildWorkflowExecutionFailedEventAttributes()
		ended(a.GetInitiatedEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		a := e.GetChildWorkflowExecutionCanceledEventAttributes()
		ended(a.GetInitiatedEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		a := e.GetChildWorkflowExecutionTimedOutEventAttributes()
		ended(a.GetInitiatedEventId(), a.GetStartedEventId())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		a := e.GetChildWorkflowExecutionTerminatedEventAttributes()
		ended(a.GetInitiatedEventId(), a.GetStartedEventId())
	}
}

func (j *judgement) message(e *historypb.HistoryEvent) {
	id := e.GetEventId()
	signalled := func(initiated int64) {
		j.after(id, initiated, enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
		j.once(id, "external signal %d answered", initiated)
	}
	cancelled := func(initiated int64) {
		j.after(id, initiated, enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
		j.once(id, "external cancel %d answered", initiated)
	}
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		if request := e.GetWorkflowExecutionSignaledEventAttributes().GetRequestId(); request != "" {
			j.once(id, "signal with request ID %s received", request)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		j.once(id, "cancel of the run requested")
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
		signalled(e.GetExternalWorkflowExecutionSignaledEventAttributes().GetInitiatedEventId())
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		signalled(e.GetSignalExternalWorkflowExecutionFailedEventAttributes().GetInitiatedEventId())
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		cancelled(e.GetExternalWorkflowExecutionCancelRequestedEventAttributes().GetInitiatedEventId())
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		cancelled(e.GetRequestCancelExternalWorkflowExecutionFailedEventAttributes().GetInitiatedEventId())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		j.once(id, "update %s accepted", e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetProtocolInstanceId())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		a := e.GetWorkflowExecutionUpdateCompletedEventAttributes()
		j.after(id, a.GetAcceptedEventId(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
		j.once(id, "update %s completed", a.GetMeta().GetUpdateId())
	}
}
