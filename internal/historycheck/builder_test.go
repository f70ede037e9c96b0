package historycheck

import (
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// builder writes a history event by event. It fills in what is routine (IDs, times, references to the pending
// workflow task) and lets any event be written anywhere, so that it can write illegal histories too.
type builder struct {
	events    []*historypb.HistoryEvent
	now       time.Time
	scheduled int64 // pending workflow task
	started   int64
	completed int64 // last WorkflowTaskCompleted
}

func newBuilder() *builder {
	return &builder{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// eventOf wraps attributes in an event of their type.
func eventOf(attributes proto.Message) *historypb.HistoryEvent {
	e := &historypb.HistoryEvent{}
	fields := e.ProtoReflect().Descriptor().Oneofs().ByName("attributes").Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message().FullName() != attributes.ProtoReflect().Descriptor().FullName() {
			continue
		}
		e.ProtoReflect().Set(fd, protoreflect.ValueOfMessage(attributes.ProtoReflect()))
		name := "EVENT_TYPE_" + strings.ToUpper(strings.TrimSuffix(string(fd.Name()), "_event_attributes"))
		v := enumspb.EVENT_TYPE_UNSPECIFIED.Descriptor().Values().ByName(protoreflect.Name(name))
		e.EventType = enumspb.EventType(v.Number())
		return e
	}
	panic(fmt.Sprintf("no event has attributes %T", attributes))
}

// add appends an event one second after the last and returns its ID.
func (b *builder) add(attributes proto.Message) int64 {
	b.now = b.now.Add(time.Second)
	e := eventOf(attributes)
	e.EventId = int64(len(b.events)) + 1
	e.EventTime = timestamppb.New(b.now)
	e.TaskId = 1000 + 2*e.EventId
	b.events = append(b.events, e)
	return e.EventId
}

func (b *builder) last() *historypb.HistoryEvent          { return b.events[len(b.events)-1] }
func (b *builder) event(id int64) *historypb.HistoryEvent { return b.events[id-1] }

func payloads(s string) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(s)}}}
}

func searchAttribute(t string) *commonpb.SearchAttributes {
	return &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Color": {
		Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte(t)}, Data: []byte(`"red"`)}}}
}

func failure(s string) *failurepb.Failure {
	return &failurepb.Failure{Message: s, FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
		ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "T"}}}
}

func timeout(t enumspb.TimeoutType) *failurepb.Failure {
	return &failurepb.Failure{Message: "timeout", FailureInfo: &failurepb.Failure_TimeoutFailureInfo{
		TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: t}}}
}

func run(workflowID, runID string) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID}
}

func queue() *taskqueuepb.TaskQueue {
	return &taskqueuepb.TaskQueue{Name: "q", Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
}

// --- the run ---

type startedAttributes = historypb.WorkflowExecutionStartedEventAttributes

func (b *builder) start(changes ...func(*startedAttributes)) *builder {
	a := &startedAttributes{
		WorkflowId: "w", WorkflowType: &commonpb.WorkflowType{Name: "T"}, TaskQueue: queue(), Input: payloads("1"),
		WorkflowExecutionTimeout: durationpb.New(0), WorkflowRunTimeout: durationpb.New(0), WorkflowTaskTimeout: durationpb.New(10 * time.Second),
		OriginalExecutionRunId: "run-1", FirstExecutionRunId: "run-1", Attempt: 1, Identity: "client",
		SearchAttributes: searchAttribute("Keyword"),
		Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": payloads("1").Payloads[0]}},
	}
	for _, change := range changes {
		change(a)
	}
	b.add(a)
	return b
}

func withRetry(a *startedAttributes) {
	a.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: durationpb.New(time.Second), BackoffCoefficient: 2, MaximumAttempts: 3}
}

func withCron(a *startedAttributes) {
	a.CronSchedule, a.Initiator = "@every 1m", enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
	a.FirstWorkflowTaskBackoff = durationpb.New(time.Minute)
}

func withDelay(a *startedAttributes) { a.FirstWorkflowTaskBackoff = durationpb.New(time.Minute) }

func withParent(a *startedAttributes) {
	a.ParentWorkflowExecution, a.ParentInitiatedEventId = run("p", "p-1"), 7
	a.RootWorkflowExecution = run("p", "p-1")
}

// begun is a run whose first workflow task is started.
func (b *builder) begun() *builder { return b.start().sched(1).taskStart() }

// running is a run whose first workflow task has completed; command events may follow.
func (b *builder) running() *builder { return b.begun().complete() }

// task is a whole workflow task; command events may follow.
func (b *builder) task() *builder { return b.sched(1).taskStart().complete() }

func (b *builder) sched(attempt int32) *builder {
	b.scheduled, b.started = b.add(&historypb.WorkflowTaskScheduledEventAttributes{
		TaskQueue: queue(), StartToCloseTimeout: durationpb.New(10 * time.Second), Attempt: attempt}), 0
	return b
}

func (b *builder) taskStart() *builder {
	b.started = b.add(&historypb.WorkflowTaskStartedEventAttributes{
		ScheduledEventId: b.scheduled, Identity: "worker", RequestId: "poll", HistorySizeBytes: int64(100 * len(b.events))})
	return b
}

func (b *builder) complete() *builder {
	b.completed = b.add(&historypb.WorkflowTaskCompletedEventAttributes{ScheduledEventId: b.scheduled, StartedEventId: b.started})
	return b
}

func (b *builder) fail(cause enumspb.WorkflowTaskFailedCause) *builder {
	f := failure("x")
	switch cause { // made by the server
	case enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND:
		f = &failurepb.Failure{Message: "x", FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{}}}
	case enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND:
		f = nil
	}
	b.add(&historypb.WorkflowTaskFailedEventAttributes{ScheduledEventId: b.scheduled, StartedEventId: b.started, Cause: cause, Failure: f})
	return b
}

func (b *builder) reset(base, fresh string) *builder {
	b.fail(enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW)
	a := b.last().GetWorkflowTaskFailedEventAttributes()
	a.BaseRunId, a.NewRunId = base, fresh
	return b
}

func (b *builder) taskTimeout(t enumspb.TimeoutType) *builder {
	b.add(&historypb.WorkflowTaskTimedOutEventAttributes{ScheduledEventId: b.scheduled, StartedEventId: b.started, TimeoutType: t})
	return b
}

func (b *builder) end(attributes proto.Message) *builder {
	b.add(attributes)
	return b
}

func (b *builder) completeRun() *builder {
	return b.end(&historypb.WorkflowExecutionCompletedEventAttributes{WorkflowTaskCompletedEventId: b.completed, Result: payloads("2")})
}

func (b *builder) terminate() *builder {
	return b.end(&historypb.WorkflowExecutionTerminatedEventAttributes{Reason: "enough", Identity: "i"})
}

func (b *builder) continueAsNew(next string) *builder {
	return b.end(&historypb.WorkflowExecutionContinuedAsNewEventAttributes{
		WorkflowTaskCompletedEventId: b.completed, NewExecutionRunId: next, WorkflowType: &commonpb.WorkflowType{Name: "U"},
		TaskQueue: queue(), Input: payloads("3"), WorkflowRunTimeout: durationpb.New(0), WorkflowTaskTimeout: durationpb.New(time.Second),
		Initiator: enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW, SearchAttributes: searchAttribute("Int")})
}

func (b *builder) failRun(state enumspb.RetryState, next string) *builder {
	return b.end(&historypb.WorkflowExecutionFailedEventAttributes{
		WorkflowTaskCompletedEventId: b.completed, Failure: failure("no"), RetryState: state, NewExecutionRunId: next})
}

func (b *builder) signal(requestID string) *builder {
	b.add(&historypb.WorkflowExecutionSignaledEventAttributes{SignalName: "s", RequestId: requestID, Input: payloads("4")})
	return b
}

func (b *builder) cancelRequest() *builder {
	b.add(&historypb.WorkflowExecutionCancelRequestedEventAttributes{Cause: "c"})
	return b
}

func (b *builder) pause() *builder {
	b.add(&historypb.WorkflowExecutionPausedEventAttributes{RequestId: "p"})
	return b
}

func (b *builder) unpause() *builder {
	b.add(&historypb.WorkflowExecutionUnpausedEventAttributes{RequestId: "u"})
	return b
}

func (b *builder) options(requestID string) *builder {
	b.add(&historypb.WorkflowExecutionOptionsUpdatedEventAttributes{AttachedRequestId: requestID})
	return b
}

func (b *builder) marker() *builder {
	b.add(&historypb.MarkerRecordedEventAttributes{MarkerName: "m", WorkflowTaskCompletedEventId: b.completed})
	return b
}

// --- activities ---

func (b *builder) activity(id string) int64 {
	return b.add(&historypb.ActivityTaskScheduledEventAttributes{
		ActivityId: id, ActivityType: &commonpb.ActivityType{Name: "A"}, TaskQueue: queue(), WorkflowTaskCompletedEventId: b.completed,
		ScheduleToCloseTimeout: durationpb.New(0), ScheduleToStartTimeout: durationpb.New(0),
		StartToCloseTimeout: durationpb.New(time.Minute), HeartbeatTimeout: durationpb.New(0),
		RetryPolicy: &commonpb.RetryPolicy{InitialInterval: durationpb.New(time.Second)}})
}

func (b *builder) activityCancel(scheduled int64) int64 {
	return b.add(&historypb.ActivityTaskCancelRequestedEventAttributes{ScheduledEventId: scheduled, WorkflowTaskCompletedEventId: b.completed})
}

// activityStart carries the true start, half a second after the scheduling.
func (b *builder) activityStart(scheduled int64) int64 {
	id := b.add(&historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: scheduled, Attempt: 1, Identity: "worker"})
	if scheduled > 0 && scheduled < id {
		b.last().EventTime = timestamppb.New(b.event(scheduled).EventTime.AsTime().Add(time.Second / 2))
	}
	return id
}

func (b *builder) activityComplete(scheduled, started int64) int64 {
	return b.add(&historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: scheduled, StartedEventId: started})
}

func (b *builder) activityFail(scheduled, started int64) int64 {
	return b.add(&historypb.ActivityTaskFailedEventAttributes{ScheduledEventId: scheduled, StartedEventId: started,
		Failure: failure("a"), RetryState: enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED})
}

func (b *builder) activityTimeout(scheduled, started int64, t enumspb.TimeoutType) int64 {
	return b.add(&historypb.ActivityTaskTimedOutEventAttributes{ScheduledEventId: scheduled, StartedEventId: started,
		Failure: timeout(t), RetryState: enumspb.RETRY_STATE_TIMEOUT})
}

func (b *builder) activityCanceled(scheduled, started, request int64) int64 {
	return b.add(&historypb.ActivityTaskCanceledEventAttributes{ScheduledEventId: scheduled, StartedEventId: started, LatestCancelRequestedEventId: request})
}

// activityDone is the pair that ends a started activity.
func (b *builder) activityDone(scheduled int64) *builder {
	b.activityComplete(scheduled, b.activityStart(scheduled))
	return b
}

// --- timers, children, others ---

func (b *builder) timer(id string) int64 {
	return b.add(&historypb.TimerStartedEventAttributes{TimerId: id, StartToFireTimeout: durationpb.New(time.Second), WorkflowTaskCompletedEventId: b.completed})
}

func (b *builder) timerFire(started int64, id string) *builder {
	b.add(&historypb.TimerFiredEventAttributes{StartedEventId: started, TimerId: id})
	return b
}

func (b *builder) timerCancel(started int64, id string) *builder {
	b.add(&historypb.TimerCanceledEventAttributes{StartedEventId: started, TimerId: id, WorkflowTaskCompletedEventId: b.completed})
	return b
}

func (b *builder) child(workflowID string) int64 {
	return b.add(&historypb.StartChildWorkflowExecutionInitiatedEventAttributes{
		WorkflowId: workflowID, WorkflowType: &commonpb.WorkflowType{Name: "C"}, TaskQueue: queue(), WorkflowTaskCompletedEventId: b.completed,
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_TERMINATE, WorkflowIdReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		SearchAttributes: searchAttribute("Bool")})
}

func (b *builder) childStart(initiated int64, workflowID string) int64 {
	return b.add(&historypb.ChildWorkflowExecutionStartedEventAttributes{InitiatedEventId: initiated, WorkflowExecution: run(workflowID, workflowID+"-1")})
}

func (b *builder) childStartFail(initiated int64, workflowID string) *builder {
	b.add(&historypb.StartChildWorkflowExecutionFailedEventAttributes{InitiatedEventId: initiated, WorkflowId: workflowID,
		Cause: enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS})
	return b
}

func (b *builder) childComplete(initiated, started int64, workflowID string) *builder {
	b.add(&historypb.ChildWorkflowExecutionCompletedEventAttributes{InitiatedEventId: initiated, StartedEventId: started,
		WorkflowExecution: run(workflowID, workflowID+"-2")})
	return b
}

func (b *builder) signalOut(workflowID string) int64 {
	return b.add(&historypb.SignalExternalWorkflowExecutionInitiatedEventAttributes{
		WorkflowTaskCompletedEventId: b.completed, WorkflowExecution: run(workflowID, ""), SignalName: "s"})
}

func (b *builder) signalOutDone(initiated int64, workflowID string) *builder {
	b.add(&historypb.ExternalWorkflowExecutionSignaledEventAttributes{InitiatedEventId: initiated, WorkflowExecution: run(workflowID, "")})
	return b
}

func (b *builder) signalOutFail(initiated int64, workflowID string) *builder {
	b.add(&historypb.SignalExternalWorkflowExecutionFailedEventAttributes{InitiatedEventId: initiated, WorkflowExecution: run(workflowID, ""),
		Cause: enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND})
	return b
}

func (b *builder) cancelOut(workflowID string) int64 {
	return b.add(&historypb.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes{
		WorkflowTaskCompletedEventId: b.completed, WorkflowExecution: run(workflowID, "")})
}

func (b *builder) cancelOutDone(initiated int64, workflowID string) *builder {
	b.add(&historypb.ExternalWorkflowExecutionCancelRequestedEventAttributes{InitiatedEventId: initiated, WorkflowExecution: run(workflowID, "")})
	return b
}

func (b *builder) cancelOutFail(initiated int64, workflowID string) *builder {
	b.add(&historypb.RequestCancelExternalWorkflowExecutionFailedEventAttributes{InitiatedEventId: initiated, WorkflowExecution: run(workflowID, ""),
		Cause: enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND})
	return b
}

func request(updateID string) *updatepb.Request {
	return &updatepb.Request{Meta: &updatepb.Meta{UpdateId: updateID}, Input: &updatepb.Input{Name: "u"}}
}

func (b *builder) updateAdmit(updateID string) *builder {
	b.add(&historypb.WorkflowExecutionUpdateAdmittedEventAttributes{Request: request(updateID), Origin: enumspb.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY})
	return b
}

func (b *builder) updateAccept(updateID string) int64 {
	return b.add(&historypb.WorkflowExecutionUpdateAcceptedEventAttributes{ProtocolInstanceId: updateID,
		AcceptedRequestMessageId: updateID + "/request", AcceptedRequestSequencingEventId: b.scheduled, AcceptedRequest: request(updateID)})
}

func (b *builder) updateComplete(updateID string, accepted int64) *builder {
	b.add(&historypb.WorkflowExecutionUpdateCompletedEventAttributes{Meta: &updatepb.Meta{UpdateId: updateID}, AcceptedEventId: accepted,
		Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads("5")}}})
	return b
}

func (b *builder) upsert(t string) *builder {
	b.add(&historypb.UpsertWorkflowSearchAttributesEventAttributes{WorkflowTaskCompletedEventId: b.completed, SearchAttributes: searchAttribute(t)})
	return b
}

func (b *builder) memo() *builder {
	b.add(&historypb.WorkflowPropertiesModifiedEventAttributes{WorkflowTaskCompletedEventId: b.completed, UpsertedMemo: &commonpb.Memo{}})
	return b
}

func (b *builder) nexus() int64 {
	return b.add(&historypb.NexusOperationScheduledEventAttributes{WorkflowTaskCompletedEventId: b.completed, Operation: "o"})
}
