package execution

import (
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// apply folds one event into the draft. It is called once for every event, live when it happens (which for buffered
// events is before they have an ID) and again in the same order by Rebuild. It decides nothing.
func apply(d *draft, ev *historypb.HistoryEvent) {
	switch ev.EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		applyStarted(d, ev)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
		applyTaskScheduled(d, ev)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		applyTaskStarted(d, ev)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		a := ev.GetWorkflowTaskCompletedEventAttributes()
		d.Info.LastCompletedStartedID, d.Info.LastCompletedID = a.StartedEventId, ev.EventId
		d.Info.NextAttempt, d.Info.WFTFailures = 1, 0
		d.Info.CloseAttempted, d.Info.TaskProblem = false, ""
		if v := a.WorkerVersion; v != nil {
			d.Info.WorkerVersion = mustMarshal(deterministic, v)
		}
		d.clearTask()
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		a := ev.GetWorkflowTaskFailedEventAttributes()
		if unhandled(a.Cause, a.Failure) {
			d.Info.CloseAttempted = true
		}
		d.taskFailed(!excused(a.Cause, a.Failure, a.Identity))
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		d.taskFailed(ev.GetWorkflowTaskTimedOutEventAttributes().TimeoutType == enumspb.TIMEOUT_TYPE_START_TO_CLOSE)

	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		applyActivityScheduled(d, ev)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
		id := ev.GetActivityTaskCancelRequestedEventAttributes().ScheduledEventId
		if a, ok := d.Activities.Get(id); ok {
			c := *a
			c.CancelRequested, c.CancelEventID = true, ev.EventId
			d.setActivity(&c)
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		d.dropActivity(ev.GetActivityTaskCompletedEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		d.dropActivity(ev.GetActivityTaskFailedEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		d.dropActivity(ev.GetActivityTaskTimedOutEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		d.dropActivity(ev.GetActivityTaskCanceledEventAttributes().ScheduledEventId)

	case enumspb.EVENT_TYPE_TIMER_STARTED:
		a := ev.GetTimerStartedEventAttributes()
		d.setTimer(&Timer{ID: a.TimerId, StartedID: ev.EventId,
			FireAt: clock.FromProto(ev.EventTime).Add(clock.Duration(a.StartToFireTimeout))})
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		d.dropTimer(ev.GetTimerFiredEventAttributes().TimerId)
	case enumspb.EVENT_TYPE_TIMER_CANCELED:
		d.dropTimer(ev.GetTimerCanceledEventAttributes().TimerId)

	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		a := ev.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		d.setChild(&Child{InitiatedID: ev.EventId, NamespaceID: ids.NamespaceID(a.NamespaceId), Namespace: a.Namespace,
			WorkflowID: ids.WorkflowID(a.WorkflowId), WorkflowType: a.WorkflowType.GetName(), ClosePolicy: int32(a.ParentClosePolicy)})
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		a := ev.GetChildWorkflowExecutionStartedEventAttributes()
		if c, ok := d.Children.Get(a.InitiatedEventId); ok {
			n := *c
			n.RunID, n.Outbox = ids.RunID(a.WorkflowExecution.GetRunId()), 0
			d.setChild(&n)
		}
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		d.dropChild(ev.GetStartChildWorkflowExecutionFailedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		d.dropChild(childInitiatedID(ev))

	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		a := ev.GetSignalExternalWorkflowExecutionInitiatedEventAttributes()
		d.setExternal(ownSignals, &d.Signals, RowSignal, &External{InitiatedID: ev.EventId, NamespaceID: ids.NamespaceID(a.NamespaceId),
			Namespace: a.Namespace, WorkflowID: ids.WorkflowID(a.WorkflowExecution.GetWorkflowId()), RunID: ids.RunID(a.WorkflowExecution.GetRunId()), Control: a.Control})
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
		d.dropExternal(ownSignals, &d.Signals, RowSignal, ev.GetExternalWorkflowExecutionSignaledEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		d.dropExternal(ownSignals, &d.Signals, RowSignal, ev.GetSignalExternalWorkflowExecutionFailedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		a := ev.GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes()
		d.setExternal(ownCancels, &d.Cancels, RowCancel, &External{InitiatedID: ev.EventId, NamespaceID: ids.NamespaceID(a.NamespaceId),
			Namespace: a.Namespace, WorkflowID: ids.WorkflowID(a.WorkflowExecution.GetWorkflowId()), RunID: ids.RunID(a.WorkflowExecution.GetRunId()), Control: a.Control})
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		d.dropExternal(ownCancels, &d.Cancels, RowCancel, ev.GetExternalWorkflowExecutionCancelRequestedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		d.dropExternal(ownCancels, &d.Cancels, RowCancel, ev.GetRequestCancelExternalWorkflowExecutionFailedEventAttributes().InitiatedEventId)

	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		a := ev.GetWorkflowExecutionSignaledEventAttributes()
		d.Info.SignalCount++
		// A start and its signal share one request ID, and one record.
		if a.RequestId == "" {
			break
		}
		if r, ok := d.Requests.Get(a.RequestId); ok && r.Type != ev.EventType {
			n := *r
			n.Signaled = true
			d.setRequest(&n)
		} else if !ok {
			d.setRequest(&Request{ID: a.RequestId, Type: ev.EventType, EventID: ev.EventId})
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		d.Info.CancelRequested = true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
		a := ev.GetWorkflowExecutionOptionsUpdatedEventAttributes()
		if a.AttachedRequestId != "" {
			d.setRequest(&Request{ID: a.AttachedRequestId, Type: ev.EventType, EventID: ev.EventId})
		}

	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
		a := ev.GetWorkflowExecutionUpdateAdmittedEventAttributes()
		d.setUpdate(&Update{ID: a.Request.GetMeta().GetUpdateId(), AdmittedID: ev.EventId})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		a := ev.GetWorkflowExecutionUpdateAcceptedEventAttributes()
		u := Update{ID: a.ProtocolInstanceId}
		if old, ok := d.Updates.Get(u.ID); ok {
			u = *old
		}
		u.AcceptedID = ev.EventId
		d.setUpdate(&u)
		d.Info.UpdateCount++
		d.Info.OpenUpdates++
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		a := ev.GetWorkflowExecutionUpdateCompletedEventAttributes()
		if old, ok := d.Updates.Get(a.Meta.GetUpdateId()); ok {
			u := *old
			u.CompletedID = ev.EventId
			d.setUpdate(&u)
			d.Info.OpenUpdates--
		}

	case enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
		d.SearchAttributes = mergeSearchAttributes(d.SearchAttributes, ev.GetUpsertWorkflowSearchAttributesEventAttributes().SearchAttributes)
		d.row(RowSearchAttributes, 0, "")
	case enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
		d.Memo = mergeMemo(d.Memo, ev.GetWorkflowPropertiesModifiedEventAttributes().UpsertedMemo)
		d.row(RowMemo, 0, "")

	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		applyClosed(d, ev, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, ev.GetWorkflowExecutionCompletedEventAttributes().NewExecutionRunId)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		applyClosed(d, ev, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, ev.GetWorkflowExecutionFailedEventAttributes().NewExecutionRunId)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		applyClosed(d, ev, enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT, ev.GetWorkflowExecutionTimedOutEventAttributes().NewExecutionRunId)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		applyClosed(d, ev, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		applyClosed(d, ev, enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		applyClosed(d, ev, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
			ev.GetWorkflowExecutionContinuedAsNewEventAttributes().NewExecutionRunId)
	}
}

// settle folds in what only an event's ID can tell, once it has one.
func settle(d *draft, ev *historypb.HistoryEvent) {
	switch ev.EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		d.Info.MessageMark = ev.EventId
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		d.Info.MessageMark = ev.EventId
		settleRequest(d, ev.GetWorkflowExecutionSignaledEventAttributes().RequestId, ev.EventId)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
		settleRequest(d, ev.GetWorkflowExecutionOptionsUpdatedEventAttributes().AttachedRequestId, ev.EventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		id := ev.GetChildWorkflowExecutionStartedEventAttributes().InitiatedEventId
		if d.startedChild == nil {
			d.startedChild = map[ids.EventID]ids.EventID{}
		}
		d.startedChild[id] = ev.EventId
		if c, ok := d.Children.Get(id); ok {
			n := *c
			n.StartedID = ev.EventId
			d.setChild(&n)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
		id := ev.GetWorkflowExecutionUpdateAdmittedEventAttributes().Request.GetMeta().GetUpdateId()
		if u, ok := d.Updates.Get(id); ok && u.AdmittedID == 0 {
			n := *u
			n.AdmittedID = ev.EventId
			d.setUpdate(&n)
		}
	}
}

func settleRequest(d *draft, id string, event ids.EventID) {
	if r, ok := d.Requests.Get(id); ok && id != "" && r.EventID == 0 {
		n := *r
		n.EventID, n.Buffer = event, 0
		d.setRequest(&n)
	}
}

func applyStarted(d *draft, ev *historypb.HistoryEvent) {
	a := ev.GetWorkflowExecutionStartedEventAttributes()
	now := clock.FromProto(ev.EventTime)
	s := *d.Start // the caller has filled in what the event does not tell
	s.FirstRunID, s.OriginalRunID = ids.RunID(a.FirstExecutionRunId), ids.RunID(a.OriginalExecutionRunId)
	s.PreviousRunID = ids.RunID(a.ContinuedExecutionRunId)
	s.WorkflowType, s.TaskQueue = a.WorkflowType.GetName(), a.TaskQueue.GetName()
	s.StartTime = now
	s.ExecutionTimeout, s.RunTimeout = clock.Duration(a.WorkflowExecutionTimeout), clock.Duration(a.WorkflowRunTimeout)
	s.TaskTimeout = clock.Duration(a.WorkflowTaskTimeout)
	s.ExpirationTime = clock.FromProto(a.WorkflowExecutionExpirationTime)
	s.Attempt, s.CronSchedule = a.Attempt, a.CronSchedule
	s.Initiator = int32(a.Initiator)
	if a.RetryPolicy != nil {
		s.RetryPolicy = mustMarshal(deterministic, a.RetryPolicy)
	}
	s.ParentNamespaceID, s.ParentNamespace = ids.NamespaceID(a.ParentWorkflowNamespaceId), a.ParentWorkflowNamespace
	s.ParentWorkflowID = ids.WorkflowID(a.ParentWorkflowExecution.GetWorkflowId())
	s.ParentRunID = ids.RunID(a.ParentWorkflowExecution.GetRunId())
	s.ParentInitiatedID = a.ParentInitiatedEventId
	s.RootWorkflowID = ids.WorkflowID(a.RootWorkflowExecution.GetWorkflowId())
	s.RootRunID = ids.RunID(a.RootWorkflowExecution.GetRunId())
	if ev.UserMetadata != nil {
		s.UserMetadata = mustMarshal(deterministic, ev.UserMetadata)
	}
	if a.Priority != nil {
		s.Priority, s.PriorityKey = mustMarshal(deterministic, a.Priority), a.Priority.PriorityKey
	}
	if s.FirstStartTime == 0 {
		s.FirstStartTime = now
	}
	d.State.Start = &s
	d.row(RowStart, 0, "")

	backoff := clock.Duration(a.FirstWorkflowTaskBackoff)
	d.Info.Status = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	d.Info.ExecutionTime = now.Add(backoff)
	d.Info.NextAttempt = 1
	if backoff > 0 {
		d.Info.FirstBackoffEnd = now.Add(backoff)
	}
	if s.RunTimeout > 0 {
		d.Info.RunDeadline = now.Add(backoff + s.RunTimeout)
		if s.ExpirationTime != 0 {
			d.Info.RunDeadline = min(d.Info.RunDeadline, s.ExpirationTime)
		}
	}
	if a.Memo != nil && len(a.Memo.Fields) > 0 {
		d.Memo = a.Memo
		d.row(RowMemo, 0, "")
	}
	if a.SearchAttributes != nil && len(a.SearchAttributes.IndexedFields) > 0 {
		d.SearchAttributes = a.SearchAttributes
		d.row(RowSearchAttributes, 0, "")
	}
	if p := a.PrevAutoResetPoints; p != nil {
		d.Info.ResetPoints = mustMarshal(deterministic, p)
	}
	d.setRequest(&Request{ID: s.RequestID, Type: ev.EventType, EventID: ev.EventId})
}

func applyClosed(d *draft, ev *historypb.HistoryEvent, status enumspb.WorkflowExecutionStatus, successor string) {
	d.Info.Status = status
	d.Info.CloseEventID = ev.EventId
	d.Info.CloseTime = clock.FromProto(ev.EventTime)
	d.Info.SuccessorRunID = ids.RunID(successor)
	d.Info.CloseAttempted = false
	d.clearTask()
	for id := range d.Activities.All {
		d.row(RowActivity, id, "")
	}
	for id := range d.Timers.All {
		d.row(RowTimer, 0, id)
	}
	for id := range d.Children.All {
		d.row(RowChild, id, "")
	}
	for id := range d.Cancels.All {
		d.row(RowCancel, id, "")
	}
	for id := range d.Signals.All {
		d.row(RowSignal, id, "")
	}
	d.clearBuffer()
	d.Activities, d.Timers, d.Children = Table[ids.EventID, *Activity]{}, Table[string, *Timer]{}, Table[ids.EventID, *Child]{}
	d.Cancels, d.Signals = Table[ids.EventID, *External]{}, Table[ids.EventID, *External]{}
	d.activityID, d.deadlines = Table[string, int64]{}, deadlineSet{}
	d.owned &^= ownActivities | ownTimers | ownChildren | ownCancels | ownSignals | ownActivityID | ownDeadlines
}

func (d *draft) setExternal(bit uint16, t *Table[ids.EventID, *External], kind RowKind, e *External) {
	put(d, bit, t, e.InitiatedID, e)
	d.row(kind, e.InitiatedID, "")
}

func (d *draft) dropExternal(bit uint16, t *Table[ids.EventID, *External], kind RowKind, id ids.EventID) {
	drop(d, bit, t, id)
	d.row(kind, id, "")
}

// isNull tells whether a payload says "no value", in the forms SDKs use. What another encoding holds is not looked at. A
// nil payload in a map is an empty one on the wire.
func isNull(p *commonpb.Payload) bool {
	switch string(p.GetMetadata()["encoding"]) {
	case "binary/null":
		return true
	case "json/plain":
		return strings.TrimSpace(string(p.GetData())) == "null"
	}
	return len(p.GetMetadata()) == 0 && len(p.GetData()) == 0
}

// isUnset is isNull for search attributes, where an empty list says the same.
func isUnset(p *commonpb.Payload) bool {
	s := strings.TrimSpace(string(p.GetData()))
	return isNull(p) || s == "" || len(s) >= 2 && s[0] == '[' && strings.TrimSpace(s[1:]) == "]"
}

func mergeSearchAttributes(to, from *commonpb.SearchAttributes) *commonpb.SearchAttributes {
	fields := make(map[string]*commonpb.Payload, len(to.GetIndexedFields())+len(from.GetIndexedFields()))
	for k, v := range to.GetIndexedFields() {
		fields[k] = v
	}
	for k, v := range from.GetIndexedFields() {
		if isUnset(v) {
			delete(fields, k)
		} else {
			fields[k] = v
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &commonpb.SearchAttributes{IndexedFields: fields}
}

func mergeMemo(to, from *commonpb.Memo) *commonpb.Memo {
	fields := make(map[string]*commonpb.Payload, len(to.GetFields())+len(from.GetFields()))
	for k, v := range to.GetFields() {
		fields[k] = v
	}
	for k, v := range from.GetFields() {
		if isNull(v) {
			delete(fields, k)
		} else {
			fields[k] = v
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &commonpb.Memo{Fields: fields}
}

// setStartedID fills the started event's ID into an event that ends an activity or a child.
func setStartedID(ev *historypb.HistoryEvent, id ids.EventID) {
	switch ev.EventType {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		ev.GetActivityTaskCompletedEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		ev.GetActivityTaskFailedEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		ev.GetActivityTaskTimedOutEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		ev.GetActivityTaskCanceledEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		ev.GetChildWorkflowExecutionCompletedEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		ev.GetChildWorkflowExecutionFailedEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		ev.GetChildWorkflowExecutionCanceledEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		ev.GetChildWorkflowExecutionTimedOutEventAttributes().StartedEventId = id
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		ev.GetChildWorkflowExecutionTerminatedEventAttributes().StartedEventId = id
	}
}

// childInitiatedID is the initiated event's ID in an event that ends a child; zero for other events.
func childInitiatedID(ev *historypb.HistoryEvent) ids.EventID {
	switch ev.EventType {
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		return ev.GetChildWorkflowExecutionCompletedEventAttributes().InitiatedEventId
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		return ev.GetChildWorkflowExecutionFailedEventAttributes().InitiatedEventId
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		return ev.GetChildWorkflowExecutionCanceledEventAttributes().InitiatedEventId
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		return ev.GetChildWorkflowExecutionTimedOutEventAttributes().InitiatedEventId
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		return ev.GetChildWorkflowExecutionTerminatedEventAttributes().InitiatedEventId
	}
	return 0
}
