package worker_test

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Overtaken waits for one of three things when it is cancelled.
type Overtaken struct{}

func (*Overtaken) Run(ctx workflow.Context, on string) error {
	var err error
	switch on {
	case "activity":
		_, err = workflow.Activity(ctx, Compose, "", workflow.ActivityOptions{StartToClose: time.Minute}).Get()
	case "timer":
		err = workflow.Sleep(ctx, time.Minute)
	case "child":
		_, err = workflow.ChildVoid(ctx, (*Overtaken).Run, "", workflow.ChildOptions{WorkflowID: "child"}).Result().Get()
	}
	return err
}

// When the same task tells of a cancellation and, further on, of the end of what it would cancel, there is nothing left to
// cancel: the server refuses the command, and the run would hang.
func TestWhatEndsInTheTaskThatCancelsItIsNotCanceled(t *testing.T) {
	wft := func(n int64) []*historypb.HistoryEvent {
		at := timestamppb.New(time.Unix(n, 0))
		return []*historypb.HistoryEvent{
			{EventId: n, EventTime: at, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{}}},
			{EventId: n + 1, EventTime: at, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: n}}},
			{EventId: n + 2, EventTime: at, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{ScheduledEventId: n, StartedEventId: n + 1}}},
		}
	}
	child := &commonpb.WorkflowExecution{WorkflowId: "child", RunId: "child-run"}
	kind := &commonpb.WorkflowType{Name: "Overtaken"}
	for on, events := range map[string][2]*historypb.HistoryEvent{
		"activity": {
			{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityId: "5", ActivityType: &commonpb.ActivityType{Name: "Compose"}}}},
			{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 5}}},
		},
		"timer": {
			{EventType: enumspb.EVENT_TYPE_TIMER_STARTED, Attributes: &historypb.HistoryEvent_TimerStartedEventAttributes{TimerStartedEventAttributes: &historypb.TimerStartedEventAttributes{TimerId: "5"}}},
			{EventType: enumspb.EVENT_TYPE_TIMER_FIRED, Attributes: &historypb.HistoryEvent_TimerFiredEventAttributes{TimerFiredEventAttributes: &historypb.TimerFiredEventAttributes{TimerId: "5", StartedEventId: 5}}},
		},
		"child": {
			{EventType: enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, Attributes: &historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes{StartChildWorkflowExecutionInitiatedEventAttributes: &historypb.StartChildWorkflowExecutionInitiatedEventAttributes{WorkflowId: "child", WorkflowType: kind}}},
			{EventType: enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED, Attributes: &historypb.HistoryEvent_ChildWorkflowExecutionCompletedEventAttributes{ChildWorkflowExecutionCompletedEventAttributes: &historypb.ChildWorkflowExecutionCompletedEventAttributes{InitiatedEventId: 5, WorkflowExecution: child, WorkflowType: kind}}},
		},
	} {
		t.Run(on, func(t *testing.T) {
			history := append([]*historypb.HistoryEvent{{EventId: 1, EventTime: timestamppb.New(time.Unix(1, 0)), EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
				WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
					WorkflowType: kind, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, OriginalExecutionRunId: "run", WorkflowId: "w",
					Input: &commonpb.Payloads{Payloads: []*commonpb.Payload{encoded(on)}},
				},
			}}}, wft(2)...)
			events[0].EventId, events[1].EventId = 5, 7
			history = append(history, events[0],
				&historypb.HistoryEvent{EventId: 6, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED, Attributes: &historypb.HistoryEvent_WorkflowExecutionCancelRequestedEventAttributes{WorkflowExecutionCancelRequestedEventAttributes: &historypb.WorkflowExecutionCancelRequestedEventAttributes{}}},
				events[1])
			history = append(append(history, wft(8)...), &historypb.HistoryEvent{EventId: 11, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, Attributes: &historypb.HistoryEvent_WorkflowExecutionCanceledEventAttributes{WorkflowExecutionCanceledEventAttributes: &historypb.WorkflowExecutionCanceledEventAttributes{}}})
			r := worker.NewReplayer()
			worker.ReplayWorkflow[*Overtaken](r)
			if err := r.Events(history); err != nil {
				t.Error(err)
			}
		})
	}
}
