package wiretest

import (
	"bytes"
	"context"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/historycheck"
)

// pollTime is the deadline of a poll that finds a task, as SDKs set it.
const pollTime = 70 * time.Second

func queue(name string) *taskqueuepb.TaskQueue {
	return &taskqueuepb.TaskQueue{Name: name, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
}

// startOf is a request for a run on queue q.
func startOf(id string, change ...func(*workflowservice.StartWorkflowExecutionRequest)) *workflowservice.StartWorkflowExecutionRequest {
	req := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: ns, WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "Type"}, TaskQueue: queue("q"),
		RequestId: "start-" + id, Identity: "client",
	}
	for _, c := range change {
		c(req)
	}
	return req
}

// start starts a run on queue q and returns its run ID.
func (r *rig) start(id string, change ...func(*workflowservice.StartWorkflowExecutionRequest)) string {
	r.t.Helper()
	return must[*workflowservice.StartWorkflowExecutionResponse](r)(r.StartWorkflowExecution(r.ctx, startOf(id, change...))).RunId
}

func (r *rig) signal(id, name string) {
	r.t.Helper()
	r.ok(r.trySignal(id, "", name, ""))
}

func (r *rig) trySignal(id, run, name, requestID string) error {
	_, err := r.SignalWorkflowExecution(r.ctx, &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: ns, WorkflowExecution: wf(id, run), SignalName: name, RequestId: requestID, Input: text(name), Identity: "client",
	})
	return err
}

func (r *rig) cancel(id string) {
	r.t.Helper()
	_, err := r.RequestCancelWorkflowExecution(r.ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{
		Namespace: ns, WorkflowExecution: wf(id, ""), Reason: "enough", Identity: "client",
	})
	r.ok(err)
}

func (r *rig) terminate(id string) {
	r.t.Helper()
	_, err := r.TerminateWorkflowExecution(r.ctx, &workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: ns, WorkflowExecution: wf(id, ""), Reason: "enough", Identity: "client",
	})
	r.ok(err)
}

// text is a payload set with one string.
func text(s string) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{payload(`"` + s + `"`)}}
}

// payload is a JSON value as SDKs send it.
func payload(json string) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(json)}
}

// bulk is a payload set of about that many bytes.
func bulk(size int) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: bytes.Repeat([]byte{'x'}, size)}}}
}

// application is a failure as workers report it.
func application(typ string, change ...func(*failurepb.ApplicationFailureInfo)) *failurepb.Failure {
	info := &failurepb.ApplicationFailureInfo{Type: typ}
	for _, c := range change {
		c(info)
	}
	return &failurepb.Failure{Message: typ + " happened", Source: "GoSDK", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: info}}
}

// task is a workflow task in the hands of a worker.
type task struct {
	*workflowservice.PollWorkflowTaskQueueResponse
	r *rig
}

// pollFor polls for as long as the deadline lets it and returns nil if there was nothing.
func (r *rig) pollFor(q *taskqueuepb.TaskQueue, deadline time.Duration) *task {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, deadline)
	defer cancel()
	resp := must[*workflowservice.PollWorkflowTaskQueueResponse](r)(r.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
		Namespace: ns, TaskQueue: q, Identity: "worker",
	}))
	if len(resp.TaskToken) == 0 {
		return nil
	}
	k := &task{resp, r}
	k.judge()
	return k
}

// judge checks the history a worker was given: all of it, or the part since its last task.
func (k *task) judge() {
	k.r.t.Helper()
	events := k.History.GetEvents()
	if len(events) == 0 || len(k.NextPageToken) > 0 {
		return
	}
	if k.Query == nil && events[len(events)-1].EventId != k.StartedEventId {
		k.r.t.Errorf("the task was started by event %d, but its history ends with %d", k.StartedEventId, events[len(events)-1].EventId)
	}
	if events[0].EventId != 1 {
		if events[0].EventId != k.PreviousStartedEventId+1 {
			k.r.t.Errorf("the history begins with event %d; the last one seen was %d", events[0].EventId, k.PreviousStartedEventId)
		}
		return
	}
	if err := (historycheck.Options{VirtualTail: events[len(events)-1].TaskId == 0}).Check(events); err != nil {
		k.r.t.Errorf("history of a task: %v\n%s", err, long(events))
	}
}

// take polls queue q for a workflow task.
func (r *rig) take() *task {
	r.t.Helper()
	return r.takeFrom(queue("q"))
}

func (r *rig) takeFrom(q *taskqueuepb.TaskQueue) *task {
	r.t.Helper()
	k := r.pollFor(q, pollTime)
	if k == nil {
		r.t.Fatalf("no workflow task on %s", q.Name)
	}
	return k
}

// idle checks that there is no workflow task on queue q.
func (r *rig) idle() {
	r.t.Helper()
	if k := r.pollFor(queue("q"), time.Second+time.Millisecond); k != nil {
		r.t.Fatalf("a workflow task: %s", list(k.History.GetEvents()))
	}
}

func (k *task) request(commands ...*commandpb.Command) *workflowservice.RespondWorkflowTaskCompletedRequest {
	return &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: ns, TaskToken: k.TaskToken, Identity: "worker", Commands: commands}
}

func (k *task) complete(commands ...*commandpb.Command) *workflowservice.RespondWorkflowTaskCompletedResponse {
	k.r.t.Helper()
	return must[*workflowservice.RespondWorkflowTaskCompletedResponse](k.r)(k.r.RespondWorkflowTaskCompleted(k.r.ctx, k.request(commands...)))
}

func (k *task) try(commands ...*commandpb.Command) error {
	_, err := k.r.RespondWorkflowTaskCompleted(k.r.ctx, k.request(commands...))
	return err
}

func (k *task) fail(cause enumspb.WorkflowTaskFailedCause) error {
	_, err := k.r.RespondWorkflowTaskFailed(k.r.ctx, &workflowservice.RespondWorkflowTaskFailedRequest{
		Namespace: ns, TaskToken: k.TaskToken, Identity: "worker", Cause: cause, Failure: application("Broken"),
	})
	return err
}

// activityTask is an activity task in the hands of a worker.
type activityTask struct {
	*workflowservice.PollActivityTaskQueueResponse
	r *rig
}

func (r *rig) pollActivity(q string, deadline time.Duration) *activityTask {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, deadline)
	defer cancel()
	resp := must[*workflowservice.PollActivityTaskQueueResponse](r)(r.PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{
		Namespace: ns, TaskQueue: queue(q), Identity: "worker",
	}))
	if len(resp.TaskToken) == 0 {
		return nil
	}
	return &activityTask{resp, r}
}

// takeActivity polls queue q for an activity task.
func (r *rig) takeActivity() *activityTask {
	r.t.Helper()
	a := r.pollActivity("q", pollTime)
	if a == nil {
		r.t.Fatal("no activity task")
	}
	return a
}

// noActivity checks that there is no activity task on queue q.
func (r *rig) noActivity() {
	r.t.Helper()
	if a := r.pollActivity("q", time.Second+time.Millisecond); a != nil {
		r.t.Fatalf("an activity task: %v", a.PollActivityTaskQueueResponse)
	}
}

func (a *activityTask) complete(result string) error {
	_, err := a.r.RespondActivityTaskCompleted(a.r.ctx, &workflowservice.RespondActivityTaskCompletedRequest{
		Namespace: ns, TaskToken: a.TaskToken, Identity: "worker", Result: text(result),
	})
	return err
}

func (a *activityTask) fail(f *failurepb.Failure) error {
	_, err := a.r.RespondActivityTaskFailed(a.r.ctx, &workflowservice.RespondActivityTaskFailedRequest{
		Namespace: ns, TaskToken: a.TaskToken, Identity: "worker", Failure: f,
	})
	return err
}

func (a *activityTask) canceled() error {
	_, err := a.r.RespondActivityTaskCanceled(a.r.ctx, &workflowservice.RespondActivityTaskCanceledRequest{
		Namespace: ns, TaskToken: a.TaskToken, Identity: "worker", Details: text("stopped"),
	})
	return err
}

func (a *activityTask) heartbeat(details string) (*workflowservice.RecordActivityTaskHeartbeatResponse, error) {
	return a.r.RecordActivityTaskHeartbeat(a.r.ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{
		Namespace: ns, TaskToken: a.TaskToken, Identity: "worker", Details: text(details),
	})
}

// Commands.

func completeRun(result string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
		CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{Result: text(result)}}}
}

func failRun(f *failurepb.Failure) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_FailWorkflowExecutionCommandAttributes{
		FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{Failure: f}}}
}

func cancelRun() *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CancelWorkflowExecutionCommandAttributes{
		CancelWorkflowExecutionCommandAttributes: &commandpb.CancelWorkflowExecutionCommandAttributes{Details: text("canceled")}}}
}

func continueAsNew(change ...func(*commandpb.ContinueAsNewWorkflowExecutionCommandAttributes)) *commandpb.Command {
	a := &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{WorkflowType: &commonpb.WorkflowType{Name: "Type"}, TaskQueue: queue("q"), Input: text("next")}
	for _, c := range change {
		c(a)
	}
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{ContinueAsNewWorkflowExecutionCommandAttributes: a}}
}

func startTimer(id string, after time.Duration) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_TIMER, Attributes: &commandpb.Command_StartTimerCommandAttributes{
		StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{TimerId: id, StartToFireTimeout: durationpb.New(after)}}}
}

func cancelTimer(id string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CANCEL_TIMER, Attributes: &commandpb.Command_CancelTimerCommandAttributes{
		CancelTimerCommandAttributes: &commandpb.CancelTimerCommandAttributes{TimerId: id}}}
}

func schedule(id string, change ...func(*commandpb.ScheduleActivityTaskCommandAttributes)) *commandpb.Command {
	a := &commandpb.ScheduleActivityTaskCommandAttributes{ActivityId: id, ActivityType: &commonpb.ActivityType{Name: "Pay"}, TaskQueue: queue("q"),
		Input: text("input of " + id), StartToCloseTimeout: durationpb.New(time.Minute)}
	for _, c := range change {
		c(a)
	}
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
		Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{ScheduleActivityTaskCommandAttributes: a}}
}

func cancelActivity(scheduled int64) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK, Attributes: &commandpb.Command_RequestCancelActivityTaskCommandAttributes{
		RequestCancelActivityTaskCommandAttributes: &commandpb.RequestCancelActivityTaskCommandAttributes{ScheduledEventId: scheduled}}}
}

func marker(name string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_RECORD_MARKER, Attributes: &commandpb.Command_RecordMarkerCommandAttributes{
		RecordMarkerCommandAttributes: &commandpb.RecordMarkerCommandAttributes{MarkerName: name}}}
}

func startChild(id string, change ...func(*commandpb.StartChildWorkflowExecutionCommandAttributes)) *commandpb.Command {
	a := &commandpb.StartChildWorkflowExecutionCommandAttributes{WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "Child"}, Input: text("input of " + id)}
	for _, c := range change {
		c(a)
	}
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: a}}
}

func cancelExternal(id string, change ...func(*commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes)) *commandpb.Command {
	a := &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{WorkflowId: id, Control: "c", Reason: "not needed"}
	for _, c := range change {
		c(a)
	}
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{RequestCancelExternalWorkflowExecutionCommandAttributes: a}}
}

func signalExternal(id, name string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{
		SignalExternalWorkflowExecutionCommandAttributes: &commandpb.SignalExternalWorkflowExecutionCommandAttributes{
			Execution: wf(id, ""), SignalName: name, Input: text(name)}}}
}

func upsert(attributes map[string]*commonpb.Payload) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, Attributes: &commandpb.Command_UpsertWorkflowSearchAttributesCommandAttributes{
		UpsertWorkflowSearchAttributesCommandAttributes: &commandpb.UpsertWorkflowSearchAttributesCommandAttributes{
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: attributes}}}}
}

func modify(memo map[string]*commonpb.Payload) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES, Attributes: &commandpb.Command_ModifyWorkflowPropertiesCommandAttributes{
		ModifyWorkflowPropertiesCommandAttributes: &commandpb.ModifyWorkflowPropertiesCommandAttributes{UpsertedMemo: &commonpb.Memo{Fields: memo}}}}
}

// started is the first event's attributes.
func started(events []*historypb.HistoryEvent) *historypb.WorkflowExecutionStartedEventAttributes {
	return events[0].GetWorkflowExecutionStartedEventAttributes()
}

type historyEvent = historypb.HistoryEvent

func nonRetryable(a *failurepb.ApplicationFailureInfo) { a.NonRetryable = true }
