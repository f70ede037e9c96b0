package flow

import (
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/failure"
)

// input is what the run was started with.
func (r *Run) input() *commonpb.Payloads { return r.started.GetInput() }

// apply folds one event of the outside world in.
func (r *Run) apply(e *historypb.HistoryEvent) error {
	r.lastEvent, r.applied = max(r.lastEvent, e.EventId), max(r.applied, e.EventId)
	switch e.EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		return r.start(e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		r.signal(e.GetWorkflowExecutionSignaledEventAttributes())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		r.root.cancel(e.GetWorkflowExecutionCancelRequestedEventAttributes().GetCause())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
		r.admitted(e)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		if a := e.GetWorkflowTaskFailedEventAttributes(); a.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			r.seed(a.GetNewRunId())
		}
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		r.timerFired(e.GetTimerFiredEventAttributes().GetTimerId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
		enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY, enumspb.EVENT_TYPE_ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
	default:
		if r.applyActivity(e) || r.applyChild(e) || r.applyExternal(e) || e.WorkerMayIgnore {
			return nil
		}
		return fmt.Errorf("event %d: %s is not supported by this SDK", e.EventId, e.EventType)
	}
	return nil
}

func (r *Run) start(e *historypb.HistoryEvent) error {
	a := e.GetWorkflowExecutionStartedEventAttributes()
	r.started = a
	i := &r.Info
	i.Type, i.TaskQueue = a.WorkflowType.GetName(), a.TaskQueue.GetName()
	i.FirstRunID, i.OriginalRunID, i.ContinuedRunID = a.FirstExecutionRunId, a.OriginalExecutionRunId, a.ContinuedExecutionRunId
	i.Attempt, i.CronSchedule, i.Parent = a.Attempt, a.CronSchedule, a.ParentWorkflowExecution
	i.StartTime = e.EventTime.AsTime()
	i.ExecutionTimeout, i.RunTimeout, i.TaskTimeout = a.WorkflowExecutionTimeout.AsDuration(), a.WorkflowRunTimeout.AsDuration(), a.WorkflowTaskTimeout.AsDuration()
	i.SearchAttributes, i.Memo, i.Header, i.LastResult = a.SearchAttributes, a.Memo, a.Header, a.LastCompletionResult
	r.root.header = a.Header.GetFields()
	if a.ContinuedFailure != nil {
		i.LastFailure = r.Env.Failures.FromFailure(a.ContinuedFailure)
	}
	if a.OriginalExecutionRunId != "" {
		r.seed(a.OriginalExecutionRunId)
	}
	return r.initialise()
}

func (r *Run) applyActivity(e *historypb.HistoryEvent) bool {
	var id int64
	var err error
	var value *commonpb.Payloads
	switch e.EventType {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		a := e.GetActivityTaskCompletedEventAttributes()
		id, value = a.ScheduledEventId, a.Result
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		a := e.GetActivityTaskFailedEventAttributes()
		id = a.ScheduledEventId
		err = r.activityError(id, a.StartedEventId, a.Identity, a.RetryState, r.Env.Failures.FromFailure(a.Failure))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		a := e.GetActivityTaskTimedOutEventAttributes()
		id = a.ScheduledEventId
		err = r.activityError(id, a.StartedEventId, "", a.RetryState, r.Env.Failures.FromFailure(a.Failure))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		a := e.GetActivityTaskCanceledEventAttributes()
		id = a.ScheduledEventId
		err = r.activityError(id, a.StartedEventId, a.Identity, 0, &failure.CanceledError{Details: r.value(a.Details)})
	default:
		return false
	}
	r.ended("activity", id)
	if a := r.activities[id]; a != nil {
		delete(r.activities, id)
		a.future.Resolve(value, err)
	}
	return true
}

func (r *Run) activityError(scheduled, started int64, identity string, state enumspb.RetryState, cause error) error {
	e := &failure.ActivityError{ScheduledEventID: scheduled, StartedEventID: started, Identity: identity, RetryState: state, Cause: cause}
	if a := r.activities[scheduled]; a != nil {
		e.ActivityID, e.ActivityType = a.id, a.name
	}
	return e
}

func (r *Run) applyChild(e *historypb.HistoryEvent) bool {
	var id int64
	var err error
	var value *commonpb.Payloads
	var state enumspb.RetryState
	switch e.EventType {
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		a := e.GetChildWorkflowExecutionStartedEventAttributes()
		if c := r.children[a.InitiatedEventId]; c != nil {
			c.RunID, c.startedID = a.WorkflowExecution.GetRunId(), e.EventId
			c.Started.Resolve(nil, nil)
		}
		return true
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := e.GetStartChildWorkflowExecutionFailedEventAttributes()
		id, err = a.InitiatedEventId, fmt.Errorf("start child workflow: %s", a.Cause)
		if a.Cause == enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS {
			err = &ChildAlreadyStartedError{WorkflowID: a.WorkflowId, Type: a.WorkflowType.GetName()}
		}
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		a := e.GetChildWorkflowExecutionCompletedEventAttributes()
		id, value = a.InitiatedEventId, a.Result
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := e.GetChildWorkflowExecutionFailedEventAttributes()
		id, err, state = a.InitiatedEventId, r.Env.Failures.FromFailure(a.Failure), a.RetryState
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		a := e.GetChildWorkflowExecutionCanceledEventAttributes()
		id, err = a.InitiatedEventId, &failure.CanceledError{Details: r.value(a.Details)}
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		a := e.GetChildWorkflowExecutionTimedOutEventAttributes()
		id, err, state = a.InitiatedEventId, &failure.TimeoutError{Kind: enumspb.TIMEOUT_TYPE_START_TO_CLOSE}, a.RetryState
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		a := e.GetChildWorkflowExecutionTerminatedEventAttributes()
		id, err = a.InitiatedEventId, &failure.TerminatedError{}
	default:
		return false
	}
	r.ended("child", id)
	c := r.children[id]
	if c == nil {
		return true
	}
	delete(r.children, id)
	if err != nil {
		err = &failure.ChildWorkflowError{
			Namespace: r.Info.Namespace, WorkflowID: c.WorkflowID, RunID: c.RunID, WorkflowType: c.name,
			InitiatedEventID: id, StartedEventID: c.startedID, RetryState: state, Cause: err,
		}
	}
	c.Started.Resolve(nil, err)
	c.Result.Resolve(value, err)
	return true
}

func (r *Run) applyExternal(e *historypb.HistoryEvent) bool {
	var id int64
	var err error
	switch e.EventType {
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
		id = e.GetExternalWorkflowExecutionSignaledEventAttributes().InitiatedEventId
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		a := e.GetSignalExternalWorkflowExecutionFailedEventAttributes()
		id, err = a.InitiatedEventId, &ExternalError{Verb: "signal", WorkflowID: a.WorkflowExecution.GetWorkflowId(), Cause: a.Cause.String(),
			NotFound: a.Cause == enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND}
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		id = e.GetExternalWorkflowExecutionCancelRequestedEventAttributes().InitiatedEventId
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		a := e.GetRequestCancelExternalWorkflowExecutionFailedEventAttributes()
		id, err = a.InitiatedEventId, &ExternalError{Verb: "cancel", WorkflowID: a.WorkflowExecution.GetWorkflowId(), Cause: a.Cause.String(),
			NotFound: a.Cause == enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND}
	default:
		return false
	}
	if f := r.externals[id]; f != nil {
		delete(r.externals, id)
		f.Resolve(nil, err)
	}
	return true
}

// ExternalError is why another workflow could not be signalled or cancelled.
type ExternalError struct {
	Verb, WorkflowID, Cause string
	NotFound                bool
}

func (e *ExternalError) Error() string {
	return fmt.Sprintf("unable to %s external workflow %q: %s", e.Verb, e.WorkflowID, e.Cause)
}

// ChildAlreadyStartedError says that a workflow with the child's ID is there.
type ChildAlreadyStartedError struct{ WorkflowID, Type string }

func (e *ChildAlreadyStartedError) Error() string {
	return fmt.Sprintf("child workflow %q is already started", e.WorkflowID)
}
