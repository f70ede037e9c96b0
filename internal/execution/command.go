package execution

import (
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/google/uuid"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

type completeRequest = workflowservice.RespondWorkflowTaskCompletedRequest

// commandHandlers has one function per command type. Each validates, writes the command's event, and returns what is
// wrong with the command, which voids the whole completion.
var commandHandlers map[enumspb.CommandType]func(*completion, *commandpb.Command) *badCommand

func init() {
	commandHandlers = map[enumspb.CommandType]func(*completion, *commandpb.Command) *badCommand{
		enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:                     (*completion).scheduleActivity,
		enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK:               (*completion).cancelActivity,
		enumspb.COMMAND_TYPE_START_TIMER:                                (*completion).startTimer,
		enumspb.COMMAND_TYPE_CANCEL_TIMER:                               (*completion).cancelTimer,
		enumspb.COMMAND_TYPE_RECORD_MARKER:                              (*completion).recordMarker,
		enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION:                (*completion).completeWorkflow,
		enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:                    (*completion).failWorkflow,
		enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION:                  (*completion).cancelWorkflow,
		enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:         (*completion).continueAsNew,
		enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:             (*completion).startChild,
		enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: (*completion).cancelExternal,
		enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:         (*completion).signalExternal,
		enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:          (*completion).upsertSearchAttributes,
		enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES:                 (*completion).modifyProperties,
		enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE:                           (*completion).protocolMessage,
		enumspb.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION:                   (*completion).noNexus,
		enumspb.COMMAND_TYPE_REQUEST_CANCEL_NEXUS_OPERATION:             (*completion).noNexus,
	}
}

func (c *completion) noNexus(*commandpb.Command) *badCommand {
	return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_FEATURE_DISABLED, "Nexus operations are not supported")
}

// commandEvent makes the event that a command causes.
func (c *completion) commandEvent(t enumspb.EventType, cmd *commandpb.Command) *historypb.HistoryEvent {
	ev := c.newEvent(t)
	ev.UserMetadata, ev.EventGroupMarkers = cmd.UserMetadata, cmd.EventGroupMarkers
	return ev
}

// checkNamespaces refuses commands that name a namespace which does not exist: that is the request's fault, and nothing
// is recorded.
func checkNamespaces(cs []*commandpb.Command, env *Env) error {
	for _, c := range cs {
		var name string
		switch c.CommandType {
		case enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
			name = c.GetStartChildWorkflowExecutionCommandAttributes().GetNamespace()
		case enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:
			name = c.GetSignalExternalWorkflowExecutionCommandAttributes().GetNamespace()
		case enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION:
			name = c.GetRequestCancelExternalWorkflowExecutionCommandAttributes().GetNamespace()
		}
		if name == "" || name == env.Namespace.Name || env.Namespace.Resolve == nil {
			continue
		}
		if _, ok := env.Namespace.Resolve(name); !ok {
			e := errf(NotFound, "Namespace %s is not found.", name)
			e.Detail = &errordetailspb.NamespaceNotFoundFailure{Namespace: name}
			return e
		}
	}
	return nil
}

const crossNamespace = "cross namespace commands are not allowed"

func (c *completion) foreign(name string) bool { return name != "" && name != c.env.Namespace.Name }

// canonicalRun is a run ID in the form in which runs are stored. Empty stays empty.
func canonicalRun(id string) (run ids.RunID, ok bool) {
	if id == "" {
		return "", true
	}
	u, err := uuid.Parse(id)
	return ids.RunID(u.String()), err == nil
}

func (c *completion) tooLong(s string) bool { return len(s) > c.env.Limits.IDBytes }

// oversize makes the bad command of a payload that the run cannot take; the run is terminated.
func oversize(cause enumspb.WorkflowTaskFailedCause, what string) *badCommand {
	b := badf(cause, "%s exceeds size limit.", what)
	b.terminate = true
	return b
}

func (c *completion) scheduleActivity(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
	a := cmd.GetScheduleActivityTaskCommandAttributes()
	switch {
	case a == nil:
		return badf(cause, "ScheduleActivityTaskCommandAttributes is not set on ScheduleActivityTaskCommand.")
	case a.ActivityId == "":
		return badf(cause, "ActivityId is not set on ScheduleActivityTaskCommand.")
	case a.ActivityType.GetName() == "":
		return badf(cause, "ActivityType is not set on ScheduleActivityTaskCommand. ActivityId=%s", a.ActivityId)
	case a.TaskQueue.GetName() == "":
		return badf(cause, "TaskQueue is not set on ScheduleActivityTaskCommand. ActivityId=%s ActivityType=%s", a.ActivityId, a.ActivityType.Name)
	case c.tooLong(a.ActivityId) || c.tooLong(a.ActivityType.Name) || c.tooLong(a.TaskQueue.Name):
		return badf(cause, "an identifier of activity %.50s exceeds the length limit", a.ActivityId)
	}
	if err := backoff.ValidateRetryPolicy(a.RetryPolicy); err != nil {
		return badf(cause, "%s ActivityId=%s ActivityType=%s", err, a.ActivityId, a.ActivityType.Name)
	}
	if payloadsSize(a.Input) > c.env.Limits.BlobBytes {
		return oversize(cause, "ScheduleActivityTaskCommandAttributes.Input")
	}
	if p := a.Priority; p != nil && (p.PriorityKey < 0 || len(p.FairnessKey) > 64) {
		return badf(cause, "priority of activity %s is invalid", a.ActivityId)
	}
	s2c, s2s, stc, hb, text := c.activityTimeouts(a)
	if text != "" {
		return badf(cause, "%s. ActivityId=%s ActivityType=%s", text, a.ActivityId, a.ActivityType.Name)
	}
	if _, ok := c.activityID.Get(a.ActivityId); ok {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID, "ActivityId %s is pending already", a.ActivityId)
	}
	if c.Activities.Len() >= c.env.Limits.PendingActivities {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED,
			"the number of pending activities, %d, has reached the per-workflow limit of %d", c.Activities.Len(), c.env.Limits.PendingActivities)
	}
	policy := a.RetryPolicy
	if policy == nil {
		policy = backoff.DefaultRetryPolicy()
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, cmd)
	ev.Attributes = &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
			ActivityId: a.ActivityId, ActivityType: a.ActivityType,
			TaskQueue: &taskqueuepb.TaskQueue{Name: a.TaskQueue.Name, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
			Header:    a.Header, Input: a.Input,
			ScheduleToCloseTimeout: durationpb.New(s2c), ScheduleToStartTimeout: durationpb.New(s2s),
			StartToCloseTimeout: durationpb.New(stc), HeartbeatTimeout: durationpb.New(hb),
			WorkflowTaskCompletedEventId: c.completedID, RetryPolicy: backoff.WithDefaults(policy),
			UseWorkflowBuildId: a.UseWorkflowBuildId, Priority: a.Priority}}
	c.write(ev)
	act, _ := c.Activities.Get(ev.EventId)
	if a.RequestEagerExecution && a.TaskQueue.Name == c.Start.TaskQueue {
		n := *act
		n.Dispatched = false // finish starts it
		c.setActivity(&n)
		c.eager = append(c.eager, &n)
		return nil
	}
	c.dispatchActivity(act)
	return nil
}

// activityTimeouts normalises the four timeouts; text tells what is wrong with them.
func (c *completion) activityTimeouts(a *commandpb.ScheduleActivityTaskCommandAttributes) (s2c, s2s, stc, hb time.Duration, text string) {
	for _, p := range []*durationpb.Duration{a.ScheduleToCloseTimeout, a.ScheduleToStartTimeout, a.StartToCloseTimeout, a.HeartbeatTimeout} {
		if err := backoff.CheckDuration(p); err != nil {
			return 0, 0, 0, 0, "invalid timeout: " + err.Error()
		}
	}
	s2c, s2s = clock.Duration(a.ScheduleToCloseTimeout), clock.Duration(a.ScheduleToStartTimeout)
	stc, hb = clock.Duration(a.StartToCloseTimeout), clock.Duration(a.HeartbeatTimeout)
	run := c.Start.RunTimeout
	switch {
	case s2c > 0:
		s2s, stc = orCap(s2s, s2c), orCap(stc, s2c)
	case stc > 0:
		s2c = run
		s2s = orCap(s2s, run)
	default:
		return 0, 0, 0, 0, "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity"
	}
	if run > 0 {
		s2c, s2s, stc, hb = min(s2c, run), min(s2s, run), min(stc, run), min(hb, run)
	}
	return s2c, s2s, stc, min(hb, stc), ""
}

// orCap is d, at most bound; bound if d is unset. Zero bound: no bound.
func orCap(d, bound time.Duration) time.Duration {
	if d == 0 || bound > 0 && d > bound {
		return bound
	}
	return d
}

func (c *completion) cancelActivity(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES
	a := cmd.GetRequestCancelActivityTaskCommandAttributes()
	if a == nil || a.ScheduledEventId <= 0 {
		return badf(cause, "ScheduledEventId is not set on RequestCancelActivityTaskCommand.")
	}
	act, ok := c.Activities.Get(a.ScheduledEventId)
	if !ok {
		if !c.endBuffered(a.ScheduledEventId) {
			return badf(cause, "no pending activity was scheduled by event %d", a.ScheduledEventId)
		}
	} else if act.CancelRequested {
		return badf(cause, "cancellation of activity %s was requested before", act.ActivityID)
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, cmd)
	ev.Attributes = &historypb.HistoryEvent_ActivityTaskCancelRequestedEventAttributes{
		ActivityTaskCancelRequestedEventAttributes: &historypb.ActivityTaskCancelRequestedEventAttributes{
			ScheduledEventId: a.ScheduledEventId, WorkflowTaskCompletedEventId: c.completedID}}
	c.write(ev)
	if !ok || act.StartedAt != 0 {
		return nil
	}
	done := c.newEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
	done.Attributes = &historypb.HistoryEvent_ActivityTaskCanceledEventAttributes{
		ActivityTaskCanceledEventAttributes: &historypb.ActivityTaskCanceledEventAttributes{
			Details: textPayloads("ACTIVITY_ID_NOT_STARTED"), LatestCancelRequestedEventId: ev.EventId,
			ScheduledEventId: a.ScheduledEventId, Identity: c.req.Identity}}
	c.write(done)
	c.cancelled = true
	return nil
}

// endBuffered tells whether the end of the activity scheduled by event id waits in the buffer.
func (c *completion) endBuffered(id ids.EventID) bool {
	for _, b := range c.Buffered.All {
		if activityScheduledID(b.Event) == id {
			return true
		}
	}
	return false
}

func activityScheduledID(ev *historypb.HistoryEvent) ids.EventID {
	switch ev.EventType {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		return ev.GetActivityTaskCompletedEventAttributes().ScheduledEventId
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		return ev.GetActivityTaskFailedEventAttributes().ScheduledEventId
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		return ev.GetActivityTaskTimedOutEventAttributes().ScheduledEventId
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		return ev.GetActivityTaskCanceledEventAttributes().ScheduledEventId
	}
	return 0
}

func (c *completion) startTimer(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES
	a := cmd.GetStartTimerCommandAttributes()
	switch {
	case a == nil || a.TimerId == "":
		return badf(cause, "TimerId is not set on StartTimerCommand.")
	case c.tooLong(a.TimerId):
		return badf(cause, "TimerId on StartTimerCommand exceeds length limit.")
	case backoff.CheckDuration(a.StartToFireTimeout) != nil:
		return badf(cause, "An invalid StartToFireTimeout is set on StartTimerCommand: %v. TimerId=%s", backoff.CheckDuration(a.StartToFireTimeout), a.TimerId)
	}
	_, pending := c.Timers.Get(a.TimerId)
	if _, fired := c.firedBuffered(a.TimerId); pending || fired != nil {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID, "TimerId %s is pending already", a.TimerId)
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_TIMER_STARTED, cmd)
	ev.Attributes = &historypb.HistoryEvent_TimerStartedEventAttributes{TimerStartedEventAttributes: &historypb.TimerStartedEventAttributes{
		TimerId: a.TimerId, StartToFireTimeout: durationpb.New(clock.Duration(a.StartToFireTimeout)), WorkflowTaskCompletedEventId: c.completedID}}
	c.write(ev)
	return nil
}

// firedBuffered finds the buffered TimerFired event of a timer: to the workflow's code that timer is still pending.
func (c *completion) firedBuffered(timerID string) (number int64, fired *historypb.TimerFiredEventAttributes) {
	for n, b := range c.Buffered.All {
		if f := b.Event.GetTimerFiredEventAttributes(); f != nil && f.TimerId == timerID {
			return n, f
		}
	}
	return 0, nil
}

func (c *completion) cancelTimer(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES
	a := cmd.GetCancelTimerCommandAttributes()
	if a == nil || a.TimerId == "" {
		return badf(cause, "TimerId is not set on CancelTimerCommand.")
	}
	var started ids.EventID
	if t, ok := c.Timers.Get(a.TimerId); ok {
		started = t.StartedID
	} else if n, fired := c.firedBuffered(a.TimerId); fired != nil {
		started = fired.StartedEventId
		c.unbuffer(n)
		c.mark("buffered timer cancelled")
	} else {
		return badf(cause, "no pending timer has TimerId %s", a.TimerId)
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_TIMER_CANCELED, cmd)
	ev.Attributes = &historypb.HistoryEvent_TimerCanceledEventAttributes{TimerCanceledEventAttributes: &historypb.TimerCanceledEventAttributes{
		TimerId: a.TimerId, StartedEventId: started, WorkflowTaskCompletedEventId: c.completedID, Identity: c.req.Identity}}
	c.write(ev)
	return nil
}

func (c *completion) recordMarker(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES
	a := cmd.GetRecordMarkerCommandAttributes()
	switch {
	case a == nil || a.MarkerName == "":
		return badf(cause, "MarkerName is not set on RecordMarkerCommand.")
	case c.tooLong(a.MarkerName):
		return badf(cause, "MarkerName on RecordMarkerCommand exceeds length limit.")
	}
	size := 0
	for _, p := range a.Details {
		size += payloadsSize(p)
	}
	if size > c.env.Limits.BlobBytes {
		return oversize(cause, "RecordMarkerCommandAttributes.Details")
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_MARKER_RECORDED, cmd)
	ev.Attributes = &historypb.HistoryEvent_MarkerRecordedEventAttributes{MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{
		MarkerName: a.MarkerName, Details: a.Details, WorkflowTaskCompletedEventId: c.completedID, Header: a.Header, Failure: a.Failure}}
	c.write(ev)
	return nil
}

func (c *completion) checkSearchAttributes(sa *commonpb.SearchAttributes) (*commonpb.SearchAttributes, *badCommand) {
	if sa == nil || c.env.Namespace.CheckSearchAttributes == nil {
		return sa, nil
	}
	out, err := c.env.Namespace.CheckSearchAttributes(sa)
	if err != nil {
		return nil, badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES, "%s", err)
	}
	return out, nil
}

func (c *completion) upsertSearchAttributes(cmd *commandpb.Command) *badCommand {
	a := cmd.GetUpsertWorkflowSearchAttributesCommandAttributes()
	if len(a.GetSearchAttributes().GetIndexedFields()) == 0 {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES, "IndexedFields is not set on UpsertWorkflowSearchAttributesCommand.")
	}
	sa, bad := c.checkSearchAttributes(a.SearchAttributes)
	if bad != nil {
		return bad
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, cmd)
	ev.Attributes = &historypb.HistoryEvent_UpsertWorkflowSearchAttributesEventAttributes{
		UpsertWorkflowSearchAttributesEventAttributes: &historypb.UpsertWorkflowSearchAttributesEventAttributes{
			WorkflowTaskCompletedEventId: c.completedID, SearchAttributes: sa}}
	c.write(ev)
	c.tr.Index = true
	return nil
}

func (c *completion) modifyProperties(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES
	a := cmd.GetModifyWorkflowPropertiesCommandAttributes()
	if len(a.GetUpsertedMemo().GetFields()) == 0 {
		return badf(cause, "UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.")
	}
	if proto.Size(mergeMemo(c.Memo, a.UpsertedMemo)) > c.env.Limits.MemoBytes {
		return oversize(cause, "ModifyWorkflowPropertiesCommandAttributes.UpsertedMemo")
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED, cmd)
	ev.Attributes = &historypb.HistoryEvent_WorkflowPropertiesModifiedEventAttributes{
		WorkflowPropertiesModifiedEventAttributes: &historypb.WorkflowPropertiesModifiedEventAttributes{
			WorkflowTaskCompletedEventId: c.completedID, UpsertedMemo: a.UpsertedMemo}}
	c.write(ev)
	c.tr.Index = true
	return nil
}

func (c *completion) protocolMessage(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE
	id := cmd.GetProtocolMessageCommandAttributes().GetMessageId()
	if id == "" {
		return badf(cause, "MessageID is not set on ProtocolMessageCommand.")
	}
	m, ok := c.messages[id]
	if !ok {
		return badf(cause, "ProtocolMessageCommand referenced absent message ID %s", id)
	}
	delete(c.messages, id)
	return c.handleMessage(m)
}

// looseMessages handles the messages that no command referred to, in the order they were sent, as if they came after
// all commands: once the run is closed, only rejections still count.
func (c *completion) looseMessages() *badCommand {
	for _, m := range c.order {
		if _, left := c.messages[m.Id]; left && (!c.closed || isRejection(m)) {
			delete(c.messages, m.Id)
			if bad := c.handleMessage(m); bad != nil {
				return bad
			}
		}
	}
	return nil
}

func newResetPoint(c *completion, build string, ev *historypb.HistoryEvent) *workflowpb.ResetPointInfo {
	return &workflowpb.ResetPointInfo{BuildId: c.req.WorkerVersionStamp.GetBuildId(), BinaryChecksum: build, RunId: string(c.Key.Run),
		FirstWorkflowTaskCompletedId: ev.EventId, CreateTime: ev.EventTime, Resettable: true}
}
