package historycheck

import (
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
)

// timerSlack forgives deadlines that were stored in milliseconds.
const timerSlack = time.Millisecond

// timer is what its events tell of one timer.
type timer struct {
	timerID string
	due     time.Time
	endedID int64
}

func (w *walker) applyTimer() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_TIMER_STARTED:
		a := w.ev.GetTimerStartedEventAttributes()
		w.need(a.TimerId != "", RuleTimer, "no timer ID")
		if other := w.timerID[a.TimerId]; other != 0 {
			w.bad(RuleTimer, "timer ID %q is taken by pending timer %d", a.TimerId, other)
		}
		w.need(a.StartToFireTimeout != nil, RuleTimer, "start_to_fire_timeout is not set")
		w.need(a.StartToFireTimeout.AsDuration() >= 0, RuleTimer, "start_to_fire_timeout is negative")
		w.timers[w.id()] = &timer{timerID: a.TimerId, due: w.time().Add(a.StartToFireTimeout.AsDuration())}
		w.timerID[a.TimerId] = w.id()
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		a := w.ev.GetTimerFiredEventAttributes()
		if t := w.endTimer(a.StartedEventId, a.TimerId); t != nil {
			early := t.due.Sub(w.time())
			w.need(early <= timerSlack, RuleTimer, "fired %s early", early)
		}
	case enumspb.EVENT_TYPE_TIMER_CANCELED:
		a := w.ev.GetTimerCanceledEventAttributes()
		w.endTimer(a.StartedEventId, a.TimerId)
	}
}

func (w *walker) endTimer(startedID int64, timerID string) *timer {
	t := w.timers[startedID]
	switch {
	case t == nil:
		w.bad(RuleTimer, "started_event_id %d is no TimerStarted", startedID)
		return nil
	case t.endedID != 0:
		w.bad(RuleTimer, "timer %d has already ended with event %d", startedID, t.endedID)
		return nil
	}
	w.need(t.timerID == timerID, RuleTimer, "timer ID is %q, timer %d has %q", timerID, startedID, t.timerID)
	t.endedID = w.id()
	if w.timerID[t.timerID] == startedID {
		delete(w.timerID, t.timerID)
	}
	return t
}

// child is what its events tell of one child workflow.
type child struct {
	workflowID string
	batch      int64
	startedID  int64
	failedID   int64
	endedID    int64
}

func (w *walker) applyChild() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		a := w.ev.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		w.need(a.WorkflowId != "", RuleChild, "no workflow ID")
		w.need(a.GetWorkflowType().GetName() != "", RuleChild, "no workflow type")
		w.need(a.GetTaskQueue().GetName() != "", RuleChild, "no task queue; the parent's is the default")
		w.need(a.ParentClosePolicy != enumspb.PARENT_CLOSE_POLICY_UNSPECIFIED, RuleChild, "parent close policy is not defaulted")
		w.need(a.WorkflowIdReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED, RuleChild, "reuse policy is not defaulted")
		w.searchAttributes(a.SearchAttributes, true)
		w.children[w.id()] = &child{workflowID: a.WorkflowId, batch: w.batch}
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := w.ev.GetStartChildWorkflowExecutionFailedEventAttributes()
		w.need(a.Cause != enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_UNSPECIFIED, RuleChild, "no cause")
		if c := w.unstartedChild(a.InitiatedEventId, a.WorkflowId); c != nil {
			w.outcomeBatch(RuleChild, c.batch)
			c.failedID = w.id()
		}
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		a := w.ev.GetChildWorkflowExecutionStartedEventAttributes()
		w.need(a.GetWorkflowExecution().GetRunId() != "", RuleChild, "no run ID")
		if c := w.unstartedChild(a.InitiatedEventId, a.GetWorkflowExecution().GetWorkflowId()); c != nil {
			c.startedID = w.id()
		}
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		w.endChild(w.ev.GetChildWorkflowExecutionCompletedEventAttributes())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := w.ev.GetChildWorkflowExecutionFailedEventAttributes()
		w.endChild(a)
		w.need(a.Failure != nil, RuleChild, "no failure")
		w.finalRetryState(a.RetryState, RuleChild)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		w.endChild(w.ev.GetChildWorkflowExecutionCanceledEventAttributes())
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		a := w.ev.GetChildWorkflowExecutionTimedOutEventAttributes()
		w.endChild(a)
		w.finalRetryState(a.RetryState, RuleChild)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		w.endChild(w.ev.GetChildWorkflowExecutionTerminatedEventAttributes())
	}
}

// unstartedChild finds the child that an event starts or fails to start.
func (w *walker) unstartedChild(initiatedID int64, workflowID string) *child {
	c := w.children[initiatedID]
	switch {
	case c == nil:
		w.bad(RuleChild, "initiated_event_id %d is no StartChildWorkflowExecutionInitiated", initiatedID)
		return nil
	case c.startedID != 0 || c.failedID != 0:
		w.bad(RuleChild, "child %d already started or failed to, with event %d", initiatedID, max(c.startedID, c.failedID))
		return nil
	}
	w.need(c.workflowID == workflowID, RuleChild, "workflow ID is %q, child %d has %q", workflowID, initiatedID, c.workflowID)
	return c
}

// childEnd is what the five events that end a child have in common.
type childEnd interface {
	GetWorkflowExecution() *commonpb.WorkflowExecution
	GetInitiatedEventId() int64
	GetStartedEventId() int64
}

func (w *walker) endChild(a childEnd) {
	c := w.children[a.GetInitiatedEventId()]
	switch {
	case c == nil:
		w.bad(RuleChild, "initiated_event_id %d is no StartChildWorkflowExecutionInitiated", a.GetInitiatedEventId())
		return
	case c.startedID == 0:
		w.bad(RuleChild, "child %d never started", a.GetInitiatedEventId())
		return
	case c.endedID != 0:
		w.bad(RuleChild, "child %d has already ended with event %d", a.GetInitiatedEventId(), c.endedID)
		return
	}
	w.need(a.GetStartedEventId() == c.startedID, RuleChild, "started_event_id is %d, the child has %d", a.GetStartedEventId(), c.startedID)
	// The run ID is free: the last run of the child's chain is the one that ends.
	w.need(a.GetWorkflowExecution().GetWorkflowId() == c.workflowID, RuleChild,
		"workflow ID is %q, the child has %q", a.GetWorkflowExecution().GetWorkflowId(), c.workflowID)
	w.need(a.GetWorkflowExecution().GetRunId() != "", RuleChild, "no run ID")
	c.endedID = w.id()
}

// outgoing is a signal or cancel request on its way to another execution.
type outgoing struct {
	signal     bool
	workflowID string
	batch      int64
	endedID    int64
}

func (w *walker) applyOutgoing() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		a := w.ev.GetSignalExternalWorkflowExecutionInitiatedEventAttributes()
		w.need(a.SignalName != "", RuleExternal, "no signal name")
		w.initiate(true, a.WorkflowExecution)
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		w.initiate(false, w.ev.GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes().WorkflowExecution)
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
		a := w.ev.GetExternalWorkflowExecutionSignaledEventAttributes()
		w.endOutgoing(true, a.InitiatedEventId, a.WorkflowExecution)
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		a := w.ev.GetSignalExternalWorkflowExecutionFailedEventAttributes()
		w.need(a.Cause != enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_UNSPECIFIED, RuleExternal, "no cause")
		w.need(a.WorkflowTaskCompletedEventId == 0, RuleExternal, "workflow_task_completed_event_id is %d, not 0", a.WorkflowTaskCompletedEventId)
		w.endOutgoing(true, a.InitiatedEventId, a.WorkflowExecution)
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		a := w.ev.GetExternalWorkflowExecutionCancelRequestedEventAttributes()
		w.endOutgoing(false, a.InitiatedEventId, a.WorkflowExecution)
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		a := w.ev.GetRequestCancelExternalWorkflowExecutionFailedEventAttributes()
		w.need(a.Cause != enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_UNSPECIFIED, RuleExternal, "no cause")
		if o := w.endOutgoing(false, a.InitiatedEventId, a.WorkflowExecution); o != nil {
			w.outcomeBatch(RuleExternal, o.batch)
		}
	}
}

func (w *walker) initiate(signal bool, to *commonpb.WorkflowExecution) {
	w.need(to.GetWorkflowId() != "", RuleExternal, "no workflow ID")
	w.outgoing[w.id()] = &outgoing{signal: signal, workflowID: to.GetWorkflowId(), batch: w.batch}
}

func (w *walker) endOutgoing(signal bool, initiatedID int64, to *commonpb.WorkflowExecution) *outgoing {
	o := w.outgoing[initiatedID]
	switch {
	case o == nil || o.signal != signal:
		w.bad(RuleExternal, "initiated_event_id %d is not the Initiated event of this outcome", initiatedID)
		return nil
	case o.endedID != 0:
		w.bad(RuleExternal, "event %d is already the outcome of %d", o.endedID, initiatedID)
		return nil
	}
	w.need(to.GetWorkflowId() == o.workflowID, RuleExternal, "workflow ID is %q, %d has %q", to.GetWorkflowId(), initiatedID, o.workflowID)
	o.endedID = w.id()
	return o
}

// outcomeBatch judges workflow_task_completed_event_id on a late outcome: not set, or that of the command.
func (w *walker) outcomeBatch(rule Rule, batch int64) {
	got, _ := w.field("workflow_task_completed_event_id")
	w.need(got == 0 || got == batch, rule, "workflow_task_completed_event_id is %d, neither 0 nor %d", got, batch)
}
