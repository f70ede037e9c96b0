package engine

import (
	"slices"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// These tests run the real core: that the engine keeps what package execution relies on.

type oneNamespace struct{}

func (oneNamespace) ByID(id ids.NamespaceID) *execution.Namespace {
	return &execution.Namespace{ID: id, Name: "default", Retention: time.Hour}
}

func realCore(o *Options) {
	o.Core = DefaultCore()
	o.Namespaces = oneNamespace{}
}

func startOf(workflow string) execution.Input {
	return execution.StartWorkflow{Request: &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: workflow, WorkflowType: &commonpb.WorkflowType{Name: "T"},
		TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, RequestId: "request-" + workflow,
		WorkflowTaskTimeout:      durationpb.New(10 * time.Second),
		WorkflowIdReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIdConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
	}}
}

// worker takes the next offered workflow task.
func (r *rig) takeTask() *execution.WorkflowTaskStarted {
	r.Helper()
	offers := r.sink.take()
	if len(offers) != 1 || offers[0].Workflow == nil {
		r.Fatalf("want one workflow task, got %+v", offers)
	}
	ref := offers[0].Workflow
	o := r.submit(ref.Run.Of(), ref.Run.Run, execution.StartWorkflowTask{Ref: *ref, RequestID: "poll", Identity: "worker"})
	r.settle()
	if o.err != nil {
		r.Fatal(o.err)
	}
	return o.answer.(*execution.WorkflowTaskStarted)
}

func (r *rig) complete(task *execution.WorkflowTaskStarted, commands ...*commandpb.Command) error {
	o := r.submit(task.Token.Run.Of(), task.Token.Run.Run, execution.CompleteWorkflowTask{Token: task.Token,
		Request: &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "default", Identity: "worker", Commands: commands}})
	r.settle()
	return o.err
}

func startTimer(after time.Duration) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_TIMER,
		Attributes: &commandpb.Command_StartTimerCommandAttributes{StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{
			TimerId: "t", StartToFireTimeout: durationpb.New(after)}}}
}

func startChild(workflow string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{
			StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{
				Namespace: "default", WorkflowId: workflow, WorkflowType: &commonpb.WorkflowType{Name: "C"},
				TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, WorkflowTaskTimeout: durationpb.New(10 * time.Second)}}}
}

func completeWorkflow() *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{}}}
}

func (r *rig) types(k ids.WorkflowKey) []enumspb.EventType {
	r.Helper()
	_, page, err := r.events(HistoryQuery{Run: k.Run("")})
	if err != nil {
		r.Fatal(err)
	}
	events, _ := record.DecodeEvents(page.Events)
	var out []enumspb.EventType
	for _, ev := range events {
		out = append(out, ev.EventType)
	}
	return out
}

func TestAnAnswerComesAfterTheTaskIsInItsQueue(t *testing.T) {
	r := newRig(t, realCore)
	offered := -1
	if err := r.eng.SubmitAsync(wf("a"), "", startOf("a"), func(any, error) { offered = len(r.sink.take()) }); err != nil {
		t.Fatal(err)
	}
	r.settle()
	if offered != 1 {
		t.Errorf("%d tasks were offered when the start was answered", offered)
	}
}

func TestTimerWorkflowWithCrashesAndEvictionsAtEachStep(t *testing.T) {
	for _, disturb := range []struct {
		name string
		do   func(*rig)
	}{
		{"none", func(*rig) {}},
		{"crash", func(r *rig) { r.crash(realCore) }},
		{"evict", (*rig).evictAll},
	} {
		t.Run(disturb.name, func(t *testing.T) {
			r := newRig(t, realCore)
			k := wf("a")
			r.do(k, startOf("a"))
			disturb.do(r)
			task := r.takeTask()
			disturb.do(r) // the start of the task may be lost; its token is honoured
			if err := r.complete(task, startTimer(time.Minute)); err != nil {
				t.Fatal(err)
			}
			disturb.do(r)
			r.clock.advance(time.Minute)
			r.settle()
			task = r.takeTask()
			disturb.do(r)
			if err := r.complete(task, completeWorkflow()); err != nil {
				t.Fatal(err)
			}
			want := []enumspb.EventType{
				enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
				enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
				enumspb.EVENT_TYPE_TIMER_STARTED, enumspb.EVENT_TYPE_TIMER_FIRED, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
				enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
				enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
			}
			if got := r.types(k); !slices.Equal(got, want) {
				t.Errorf("history %v", got)
			}
			if n := r.count(record.AllDispatch()); n != 0 {
				t.Errorf("%d dispatch rows left", n)
			}
			if n := r.count(record.IndexPrefix(testNS, false)) + 10*r.count(record.IndexPrefix(testNS, true)); n != 10 {
				t.Errorf("index rows: %d, want one closed", n)
			}
			disturb.do(r)
			r.clock.advance(2 * time.Hour) // retention
			r.settle()
			if n := r.count(nil); n != 0 {
				t.Errorf("%d rows left after retention", n)
			}
			r.noErrors()
		})
	}
}

// A task whose start was written by an eviction alone times out like any other.
func TestEvictedStartedTaskTimesOut(t *testing.T) {
	r := newRig(t, func(o *Options) { realCore(o); o.CacheBytes = 1 })
	r.do(wf("a"), startOf("a"))
	r.takeTask()
	r.settle()
	if n := len(r.shardOf(wf("a")).entries); n != 0 {
		r.shardOf(wf("a")).tick()
		r.settle()
		if n = len(r.shardOf(wf("a")).entries); n != 0 {
			t.Fatalf("%d runs cached", n)
		}
	}
	r.crash(realCore)
	r.clock.advance(11 * time.Second)
	r.settle()
	if got := r.types(wf("a")); !slices.Contains(got, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT) {
		t.Errorf("history %v", got)
	}
	if offers := r.sink.take(); len(offers) != 1 {
		t.Errorf("offers after the timeout: %v", offers)
	}
}

func TestChildIsStartedAndReportsItsEnd(t *testing.T) {
	r := newRig(t, realCore)
	parent, child := wf("parent"), wf("child")
	r.do(parent, startOf("parent"))
	if err := r.complete(r.takeTask(), startChild("child")); err != nil {
		t.Fatal(err)
	}
	offers := r.sink.take() // the child's first task, and the parent's: its child has started
	if len(offers) != 2 {
		t.Fatalf("offers %+v", offers)
	}
	for _, o := range offers {
		if o.Workflow.Run.Workflow == child.Workflow {
			r.sink.Offer(o)
		}
	}
	if err := r.complete(r.takeTask(), completeWorkflow()); err != nil {
		t.Fatal(err)
	}
	got := r.types(parent)
	for _, want := range []enumspb.EventType{
		enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %v in %v", want, got)
		}
	}
	if n := r.outboxRows(); n != 0 {
		t.Errorf("%d messages left", n)
	}
	r.noErrors()
}
