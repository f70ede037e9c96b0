package frontend

import (
	"context"
	"slices"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/taskqueue"
)

// engineNamespaces is the registry as the engine wants it.
type engineNamespaces struct{ administered }

func (n engineNamespaces) ByID(id ids.NamespaceID) *execution.Namespace {
	core, err := n.namespaces.ByID(id)
	if err != nil {
		return nil
	}
	return core
}

// serve is a client of the whole server in memory: real engine, real task queues, gRPC in between.
func serve(t *testing.T) workflowservice.WorkflowServiceClient {
	t.Helper()
	a := administer(t, DefaultFeatures())
	queues := taskqueue.New(taskqueue.Options{Clock: clock.System{}, Backlog: engine.NewBacklog(a.Service.store)})
	e, err := engine.New(a.Service.store, engine.Options{Namespaces: engineNamespaces{a}, Sink: queues})
	if err != nil {
		t.Fatal(err)
	}
	a.Service.engine, a.Service.queues = e, queues
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- e.Run(ctx) }()
	t.Cleanup(func() {
		queues.Stop()
		cancel()
		if err := <-stopped; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	if err := queues.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return workflowservice.NewWorkflowServiceClient(a.dial(t, nil))
}

func must[R any](t *testing.T) func(R, error) R {
	return func(r R, err error) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func eventTypes(h *historypb.History) (out []string) {
	for _, e := range h.GetEvents() {
		out = append(out, e.EventType.String())
	}
	return out
}

func protocolMessage(id string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE, Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
		ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: id}}}
}

// A run from its start to its listing, with everything that passes between clients and workers on the way.
func TestRunThroughTheWholeServer(t *testing.T) {
	c := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	started := must[*workflowservice.StartWorkflowExecutionResponse](t)(c.StartWorkflowExecution(ctx, startOrder()))
	if !started.Started || started.RunId == "" || started.FirstExecutionRunId != started.RunId || started.Status != running ||
		started.Link.GetWorkflowEvent().GetEventRef().GetEventId() != 1 {
		t.Errorf("started: %v", started)
	}
	target := execOf("w", started.RunId)
	must[*workflowservice.SignalWorkflowExecutionResponse](t)(c.SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: "default", WorkflowExecution: target, SignalName: "s", Input: payloads(2),
	}))
	sticky := &taskqueuepb.StickyExecutionAttributes{
		WorkerTaskQueue: &taskqueuepb.TaskQueue{Name: "sticky", Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: "q"}, ScheduleToStartTimeout: durationpb.New(5 * time.Second),
	}

	task := must[*workflowservice.PollWorkflowTaskQueueResponse](t)(c.PollWorkflowTaskQueue(ctx, pollRequest()))
	if got := eventTypes(task.History); !slices.Equal(got, []string{"WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowExecutionSignaled", "WorkflowTaskStarted"}) {
		t.Errorf("first task: %v", got)
	}
	must[*workflowservice.RespondWorkflowTaskCompletedResponse](t)(c.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{
		TaskToken: task.TaskToken, StickyAttributes: sticky,
		Commands: []*commandpb.Command{{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{
				ActivityId: "a", ActivityType: &commonpb.ActivityType{Name: "Pay"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, StartToCloseTimeout: durationpb.New(time.Minute), Input: payloads(4),
			}}}},
	}))

	activity := must[*workflowservice.PollActivityTaskQueueResponse](t)(c.PollActivityTaskQueue(ctx, activityPoll()))
	if activity.ActivityId != "a" || activity.ActivityType.GetName() != "Pay" || !proto.Equal(activity.Input, payloads(4)) || activity.HeartbeatTimeout == nil || activity.Attempt != 1 {
		t.Errorf("activity: %v", activity)
	}
	described := must[*workflowservice.DescribeWorkflowExecutionResponse](t)(c.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "default", Execution: target}))
	if len(described.PendingActivities) != 1 || described.WorkflowExecutionInfo.Memo == nil {
		t.Errorf("described: %v", described)
	}
	must[*workflowservice.RecordActivityTaskHeartbeatResponse](t)(c.RecordActivityTaskHeartbeat(ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{TaskToken: activity.TaskToken, Details: payloads(1)}))

	// From here on the worker polls both of its queues at once, as SDKs do.
	stickyPoll := pollRequest()
	stickyPoll.TaskQueue = sticky.WorkerTaskQueue
	must[*workflowservice.RespondActivityTaskCompletedResponse](t)(c.RespondActivityTaskCompleted(ctx, &workflowservice.RespondActivityTaskCompletedRequest{TaskToken: activity.TaskToken, Result: payloads(5)}))
	polls := make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)
	poll := func() {
		normal := make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)
		pollCtx, stop := context.WithCancel(ctx)
		go func() {
			r, _ := c.PollWorkflowTaskQueue(pollCtx, stickyPoll)
			normal <- r
		}()
		go func() {
			r, _ := c.PollWorkflowTaskQueue(pollCtx, pollRequest())
			normal <- r
		}()
		go func() {
			defer stop()
			for range 2 {
				if r := <-normal; len(r.GetTaskToken()) > 0 {
					polls <- r
					return
				}
			}
			polls <- nil
		}()
	}
	poll()
	task = <-polls
	if got := eventTypes(task.GetHistory()); len(got) < 3 || got[len(got)-1] != "WorkflowTaskStarted" || task.StartedEventId != task.History.Events[len(got)-1].EventId {
		t.Fatalf("second task: %v", got)
	}
	must[*workflowservice.RespondWorkflowTaskCompletedResponse](t)(c.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{TaskToken: task.TaskToken, StickyAttributes: sticky}))

	// A query and an update on the idle run.
	queried := make(chan *workflowservice.QueryWorkflowResponse, 1)
	poll()
	go func() {
		r := queryRequest()
		resp, err := c.QueryWorkflow(ctx, r)
		if err != nil {
			t.Error(err)
		}
		queried <- resp
	}()
	if task = <-polls; task.GetQuery().GetQueryType() != "state" {
		t.Fatalf("query task: %v", task)
	}
	must[*workflowservice.RespondQueryTaskCompletedResponse](t)(c.RespondQueryTaskCompleted(ctx, &workflowservice.RespondQueryTaskCompletedRequest{
		Namespace: "default", TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: payloads(6),
	}))
	if got := <-queried; !proto.Equal(got.GetQueryResult(), payloads(6)) {
		t.Errorf("query: %v", got)
	}

	updated := make(chan *workflowservice.UpdateWorkflowExecutionResponse, 1)
	poll()
	go func() {
		resp, err := c.UpdateWorkflowExecution(ctx, updateRequest())
		if err != nil {
			t.Error(err)
		}
		updated <- resp
	}()
	task = <-polls
	if len(task.GetMessages()) != 1 {
		t.Fatalf("update task: %v", task)
	}
	request := task.Messages[0]
	body := func(m proto.Message) *anypb.Any { return must[*anypb.Any](t)(anypb.New(m)) }
	must[*workflowservice.RespondWorkflowTaskCompletedResponse](t)(c.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{
		TaskToken: task.TaskToken,
		Messages: []*protocolpb.Message{
			{Id: "u/accept", ProtocolInstanceId: "u", Body: body(&updatepb.Acceptance{
				AcceptedRequestMessageId: request.Id, AcceptedRequestSequencingEventId: request.GetEventId(), AcceptedRequest: updateRequest().Request,
			})},
			{Id: "u/complete", ProtocolInstanceId: "u", Body: body(&updatepb.Response{Meta: updateRequest().Request.Meta, Outcome: outcome()})},
		},
		Commands: []*commandpb.Command{protocolMessage("u/accept"), protocolMessage("u/complete"), {CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{Result: payloads(7)}}}},
	}))
	if got := <-updated; got.GetStage() != stageCompleted || !proto.Equal(got.GetOutcome(), outcome()) {
		t.Errorf("update: %v", got)
	}
	polled := must[*workflowservice.PollWorkflowExecutionUpdateResponse](t)(c.PollWorkflowExecutionUpdate(ctx, &workflowservice.PollWorkflowExecutionUpdateRequest{
		Namespace: "default", UpdateRef: &updatepb.UpdateRef{WorkflowExecution: target, UpdateId: "u"},
	}))
	if !proto.Equal(polled.Outcome, outcome()) { // read from history: the run is closed
		t.Errorf("polled update: %v", polled)
	}

	closing := must[*workflowservice.GetWorkflowExecutionHistoryResponse](t)(c.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: "default", Execution: target, WaitNewEvent: true, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
	}))
	if got := eventTypes(closing.History); !slices.Equal(got, []string{"WorkflowExecutionCompleted"}) {
		t.Errorf("close: %v", got)
	}
	for _, query := range []string{"", "WorkflowId = 'w'", "ExecutionStatus = 'Completed'"} {
		list := must[*workflowservice.ListWorkflowExecutionsResponse](t)(c.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", Query: query}))
		if len(list.Executions) != 1 || list.Executions[0].Execution.RunId != started.RunId || list.Executions[0].Status != completeS {
			t.Errorf("list %q: %v", query, list)
		}
	}
}

func TestS36EagerStart(t *testing.T) {
	c := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := startOrder()
	r.RequestEagerExecution = true
	started := must[*workflowservice.StartWorkflowExecutionResponse](t)(c.StartWorkflowExecution(ctx, r))
	task := started.GetEagerWorkflowTask()
	if got := eventIDs(task.GetHistory()); !slices.Equal(got, upTo(3)) || task.StartedEventId != 3 ||
		!task.History.Events[0].GetWorkflowExecutionStartedEventAttributes().GetEagerExecutionAccepted() {
		t.Fatalf("eager task: %v", task)
	}
	must[*workflowservice.RespondWorkflowTaskCompletedResponse](t)(c.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{
		TaskToken: task.TaskToken,
		Commands: []*commandpb.Command{{CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{}}}},
	}))
	described := must[*workflowservice.DescribeWorkflowExecutionResponse](t)(c.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: "default", Execution: execOf("w", ""),
	}))
	if got := described.WorkflowExecutionInfo.GetStatus(); got != completeS {
		t.Errorf("the run is %v", got)
	}
}
