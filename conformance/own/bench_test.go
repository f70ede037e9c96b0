package own

import (
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	sdkconverter "go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"
	sdkworkflow "go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Collect takes signals until it has n.
type Collect struct{ got []string }

func (c *Collect) Run(ctx workflow.Context, n int) (int, error) {
	return len(c.got), workflow.Await(ctx, func() bool { return len(c.got) >= n })
}

func (c *Collect) Note(_ workflow.Context, s string) { c.got = append(c.got, s) }

func CollectFunction(ctx sdkworkflow.Context, n int) (int, error) {
	var got []string
	notes := sdkworkflow.GetSignalChannel(ctx, "Note")
	for len(got) < n {
		var s string
		notes.Receive(ctx, &s)
		got = append(got, s)
	}
	return len(got), nil
}

// Chain does one activity after the other.
type Chain struct{}

func (*Chain) Run(ctx workflow.Context, n int) (int, error) {
	for range n {
		if _, err := workflow.Activity(ctx, Compose, "x", workflow.ActivityOptions{StartToClose: time.Minute}).Get(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func ChainFunction(ctx sdkworkflow.Context, n int) (int, error) {
	ctx = sdkworkflow.WithActivityOptions(ctx, sdkworkflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range n {
		var s string
		if err := sdkworkflow.ExecuteActivity(ctx, Compose, "x").Get(ctx, &s); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// book writes histories as a server would.
type book struct{ h *historypb.History }

func (b *book) add(t enumspb.EventType, e *historypb.HistoryEvent) int64 {
	e.EventId, e.EventType, e.EventTime = int64(len(b.h.Events)+1), t, timestamppb.New(time.Unix(int64(len(b.h.Events)), 0))
	b.h.Events = append(b.h.Events, e)
	return e.EventId
}

func encode(v any) *commonpb.Payloads {
	ps, err := sdkconverter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		panic(err)
	}
	return ps
}

func begin(kind string, n int) *book {
	b := &book{h: &historypb.History{}}
	b.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
			WorkflowType: &commonpb.WorkflowType{Name: kind}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Input: encode(n), Attempt: 1,
			OriginalExecutionRunId: "run", FirstExecutionRunId: "run", WorkflowId: "w", WorkflowTaskTimeout: durationpb.New(10 * time.Second),
		},
	}})
	return b
}

func (b *book) task() int64 {
	scheduled := b.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{
		WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Attempt: 1},
	}})
	started := b.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
		WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: scheduled},
	}})
	return b.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{
		WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{ScheduledEventId: scheduled, StartedEventId: started},
	}})
}

func (b *book) complete(task int64, n int) *historypb.History {
	b.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{
		WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{WorkflowTaskCompletedEventId: task, Result: encode(n)},
	}})
	return b.h
}

// signalSeries is a history of n of them, 62 to a task, which is what the server makes of 64 callers.
func signalSeries(kind string, n int) *historypb.History {
	b, last := begin(kind, n), int64(0)
	for i := range n {
		b.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: "Note", Input: encode(fmt.Sprint("note ", i))},
		}})
		if i%62 == 61 || i == n-1 {
			last = b.task()
		}
	}
	return b.complete(last, n)
}

// activityChain is a history of n activities, one after the other.
func activityChain(kind string, n int) *historypb.History {
	b := begin(kind, n)
	for range n {
		task := b.task()
		scheduled := b.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
				ActivityId: fmt.Sprint(task + 1), ActivityType: &commonpb.ActivityType{Name: "Compose"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"},
				Input: encode("x"), StartToCloseTimeout: durationpb.New(time.Minute), WorkflowTaskCompletedEventId: task,
			},
		}})
		started := b.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
			ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: scheduled, Attempt: 1},
		}})
		b.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: scheduled, StartedEventId: started, Result: encode("Hello, x")},
		}})
	}
	return b.complete(b.task(), n)
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

var _ sdklog.Logger = silent{}

var replays = []struct {
	name     string
	ours     func(*worker.Replayer)
	official any
	history  func(n int) (ours, official *historypb.History)
	n        int
}{
	{"signals", worker.ReplayWorkflow[*Collect], CollectFunction, func(n int) (_, _ *historypb.History) {
		return signalSeries("Collect", n), signalSeries("CollectFunction", n)
	}, 10_000},
	{"activities", worker.ReplayWorkflow[*Chain], ChainFunction, func(n int) (_, _ *historypb.History) {
		return activityChain("Chain", n), activityChain("ChainFunction", n)
	}, 1_000},
}

// The benchmark's histories are what both SDKs take for theirs.
func TestHistoriesOfTheBenchmarkReplay(t *testing.T) {
	for _, r := range replays {
		ours, official := r.history(200)
		a := worker.NewReplayer()
		r.ours(a)
		if err := a.Events(ours.Events); err != nil {
			t.Errorf("%s, ours: %v", r.name, err)
		}
		b := sdkworker.NewWorkflowReplayer()
		b.RegisterWorkflow(r.official)
		if err := b.ReplayWorkflowHistory(silent{}, official); err != nil {
			t.Errorf("%s, official: %v", r.name, err)
		}
	}
}

// BenchmarkReplay takes histories through both SDKs: 10,000 signals to one workflow, and 1,000 activities one after the other.
func BenchmarkReplay(b *testing.B) {
	for _, r := range replays {
		ours, official := r.history(r.n)
		perEvent := func(b *testing.B, replay func() error) {
			b.ReportAllocs()
			before := cpu()
			for b.Loop() {
				if err := replay(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N)/float64(len(ours.Events)), "cpu-ns/event")
		}
		b.Run(r.name+"/ours", func(b *testing.B) {
			a := worker.NewReplayer()
			r.ours(a)
			perEvent(b, func() error { return a.Events(ours.Events) })
		})
		b.Run(r.name+"/official", func(b *testing.B) {
			a := sdkworker.NewWorkflowReplayer()
			a.RegisterWorkflow(r.official)
			perEvent(b, func() error { return a.ReplayWorkflowHistory(silent{}, official) })
		})
	}
}
