package execution_test

import (
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/historycheck"
)

// The clock may jump over several deadlines, which are then due in one step. Whatever their order in time, what ends an
// activity comes behind the other news, as in a flush.
func TestTimersFireBeforeActivitiesTimeOut(t *testing.T) {
	env := &execution.Env{Key: workflowKey("w").Run(""), Now: epoch, NewRunID: runName(1), Limits: execution.DefaultLimits(),
		Namespace: &execution.Namespace{ID: testNamespace, Name: "default"}}
	var st *execution.State
	var events []*historypb.HistoryEvent
	step := func(in execution.Input) any {
		t.Helper()
		tr := execution.Step(st, in, env)
		if tr.Err != nil {
			t.Fatalf("%T: %v", in, tr.Err)
		}
		st = tr.Next
		env.Key = st.Key
		events = append(events, tr.Events...)
		return tr.Answer
	}
	step(execution.StartWorkflow{Request: &workflowservice.StartWorkflowExecutionRequest{WorkflowId: "w", RequestId: "r",
		WorkflowType: &commonpb.WorkflowType{Name: "t"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}}})
	task := step(execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: st.Key, Seq: st.Info.WFT.Seq}, RequestID: "p"}).(*execution.WorkflowTaskStarted)
	step(execution.CompleteWorkflowTask{Token: task.Token, Request: &workflowservice.RespondWorkflowTaskCompletedRequest{Commands: []*commandpb.Command{
		{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{ActivityId: "a", ActivityType: &commonpb.ActivityType{Name: "t"},
				TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, ScheduleToCloseTimeout: durationpb.New(time.Second)}}},
		{CommandType: enumspb.COMMAND_TYPE_START_TIMER, Attributes: &commandpb.Command_StartTimerCommandAttributes{
			StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{TimerId: "t", StartToFireTimeout: durationpb.New(2 * time.Second)}}},
	}}})
	env.Now = env.Now.Add(time.Minute)
	before := len(events)
	step(execution.TimerDue{})
	want := []enumspb.EventType{enumspb.EVENT_TYPE_TIMER_FIRED, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED}
	for i, typ := range want {
		if got := events[before+i].EventType; got != typ {
			t.Errorf("event %d is %s, want %s", before+i+1, got, typ)
		}
	}
	if err := (historycheck.Options{AtRest: true, RunID: string(st.Key.Run)}).CheckPrefix(events); err != nil {
		t.Error(err)
	}
}
