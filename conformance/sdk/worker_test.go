package sdk

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
)

var defaults worker.Options

func TestAnotherWorkerTakesOverInTheMiddle(t *testing.T) {
	r := newRig(t)
	f := funcs{
		"main": func(ctx workflow.Context) (int, error) {
			n := 0
			for range 4 {
				workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
				var one int
				if err := workflow.ExecuteActivity(short(ctx), "one").Get(ctx, &one); err != nil {
					return 0, err
				}
				n += one
			}
			return n, nil
		},
		"one": func(context.Context) (int, error) { return 1, nil },
	}
	run := r.start("main")
	for i := range 4 {
		w := r.newWorker(r.client, r.queue, f, worker.Options{})
		r.must(w.Start())
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "go", nil))
		r.eventually("the activity is done", func() bool { return len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)) == i+1 })
		w.Stop()
	}
	r.work(f)
	equal(r, "result", result[int](r, run), 4)
}

func TestResetOfStickinessSendsTheNextTaskToTheNormalQueue(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
	r.resetSticky(run)
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", 0))
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "stop", nil))
	equal(r, "numbers", result[[]int](r, run), []int{0})
	scheduled := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)[1].GetWorkflowTaskScheduledEventAttributes()
	equal(r, "queue after the reset", scheduled.GetTaskQueue().GetName(), r.queue)
	var gone *serviceerror.NotFound
	_, err := r.client.WorkflowService().ResetStickyTaskQueue(r.ctx, &workflowservice.ResetStickyTaskQueueRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: r.id("nobody")},
	})
	if !errors.As(err, &gone) {
		r.Fatalf("reset of nobody: %v", err)
	}
}

func TestAPanicInAWorkflowFailsItsTaskAndHeals(t *testing.T) {
	r := newRig(t)
	var broken atomic.Bool
	broken.Store(true)
	r.work(funcs{"main": func(workflow.Context) (string, error) {
		if broken.Load() {
			panic("a mistake")
		}
		return "fine", nil
	}})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "main")
	failed := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
	equal(r, "cause", failed.GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE)
	broken.Store(false)
	equal(r, "result", result[string](r, run), "fine")
	equal(r, "failed tasks in history", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)), 1)
}

func TestANonDeterministicChangeIsReportedAndHeals(t *testing.T) {
	r := newRig(t)
	var changed atomic.Bool
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			if changed.Load() {
				return "no timer", workflow.ExecuteActivity(short(ctx), "act").Get(ctx, nil)
			}
			if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
				return "", err
			}
			workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
			return "timer", nil
		},
		"act": func(context.Context) error { return nil },
	})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: 2 * time.Second}, "main")
	r.eventually("the task after the timer is done", func() bool { return len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)) == 2 })
	changed.Store(true)
	r.resetSticky(run) // so that the next task has the whole history and is replayed
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "go", nil))
	failed := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
	equal(r, "cause", failed.GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR)
	changed.Store(false)
	equal(r, "result", result[string](r, run), "timer")
}

func (r *rig) resetSticky(run client.WorkflowRun) {
	r.Helper()
	_, err := r.client.WorkflowService().ResetStickyTaskQueue(r.ctx, &workflowservice.ResetStickyTaskQueueRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
	})
	r.must(err)
}

// A worker that goes away cancels its polls. A task that comes afterwards must not go to one of them.
func TestS155CancelledPollsLoseNoTask(t *testing.T) {
	r := newRig(t)
	r.noReplay("no worker ever completes a task")
	poll := func(ctx context.Context) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
		return r.client.WorkflowService().PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
			Namespace: namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: r.queue}, Identity: "poller"})
	}
	for i := range 300 {
		ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
		gone := make(chan error, 4)
		for range cap(gone) {
			go func() { _, err := poll(ctx); gone <- err }()
		}
		if i%3 > 0 { // sometimes they are parked when they are cancelled, sometimes on the way
			time.Sleep(time.Duration(i%7) * time.Millisecond)
		}
		cancel()
		for range cap(gone) {
			<-gone // the server hears of it before it hears of the start, since both go over one connection
		}
		run := r.start("main")
		ctx, cancel = context.WithTimeout(r.ctx, 5*time.Second)
		task, err := poll(ctx)
		cancel()
		r.must(err)
		if task.GetWorkflowExecution().GetRunId() != run.GetRunID() || task.GetAttempt() != 1 {
			r.Fatalf("round %d: polled %v, attempt %d; want the task of %s", i, task.GetWorkflowExecution(), task.GetAttempt(), run.GetRunID())
		}
		r.must(r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "polled"))
	}
}

// spy is a client that shows what the server answered.
func (r *rig) spy(see func(reply any)) client.Client {
	r.Helper()
	look := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if err == nil {
			see(reply)
		}
		return err
	}
	c, err := client.Dial(client.Options{HostPort: sharedAddress, Namespace: namespace, Logger: quiet(),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(look)}}})
	r.must(err)
	r.Cleanup(c.Close)
	return c
}

func TestEagerStartHandsTheFirstTaskToTheStarter(t *testing.T) {
	r := newRig(t)
	var eager, polled atomic.Int32
	r.client = r.spy(func(reply any) {
		switch a := reply.(type) {
		case *workflowservice.StartWorkflowExecutionResponse:
			if a.GetEagerWorkflowTask() != nil {
				eager.Add(1)
			}
		case *workflowservice.PollWorkflowTaskQueueResponse:
			if len(a.GetTaskToken()) > 0 {
				polled.Add(1)
			}
		}
	})
	r.work(funcs{"main": func(workflow.Context) (string, error) { return "quick", nil }})
	run := r.startWith(client.StartWorkflowOptions{EnableEagerStart: true}, "main")
	equal(r, "result", result[string](r, run), "quick")
	equal(r, "eager tasks", eager.Load(), 1)
	equal(r, "polled tasks", polled.Load(), 0)
	started := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)[0].GetWorkflowExecutionStartedEventAttributes()
	equal(r, "accepted", started.GetEagerExecutionAccepted(), true)
}

func TestEagerActivitiesComeWithTheCompletion(t *testing.T) {
	r := newRig(t)
	var eager atomic.Int32
	r.client = r.spy(func(reply any) {
		if a, ok := reply.(*workflowservice.RespondWorkflowTaskCompletedResponse); ok {
			eager.Add(int32(len(a.GetActivityTasks())))
		}
	})
	var executed atomic.Int32
	r.work(funcs{
		"main": func(ctx workflow.Context) error {
			var futures []workflow.Future
			for range 3 {
				futures = append(futures, workflow.ExecuteActivity(short(ctx), "act"))
			}
			for _, f := range futures {
				if err := f.Get(ctx, nil); err != nil {
					return err
				}
			}
			return nil
		},
		"act": func(context.Context) error { executed.Add(1); return nil },
	})
	r.must(r.start("main").Get(r.ctx, nil))
	equal(r, "eager activities", eager.Load(), 3)
	equal(r, "executed", executed.Load(), 3)
}

func TestTaskQueueKnowsItsPollers(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(workflow.Context) error { return nil }, "act": func(context.Context) error { return nil }}, worker.Options{Identity: "me"})
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		r.eventually(kind.String()+" poller is known", func() bool {
			d, err := r.client.DescribeTaskQueue(r.ctx, r.queue, kind)
			r.must(err)
			return len(d.Pollers) > 0 && d.Pollers[0].Identity == "me" && time.Since(d.Pollers[0].LastAccessTime.AsTime()) < time.Minute
		})
	}
	d, err := r.client.DescribeTaskQueue(r.ctx, r.queue+"/nobody", enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	r.must(err)
	equal(r, "pollers of an unknown queue", len(d.Pollers), 0)
}

func TestBacklogWaitsForAWorker(t *testing.T) {
	r := newRig(t)
	f := funcs{"main": func(_ workflow.Context, i int) (int, error) { return i, nil }}
	for i := range 20 {
		r.start("main", i)
	}
	r.work(f)
	for i, run := range r.begun {
		equal(r, "result", result[int](r, run), i)
	}
}

func TestUnknownWorkflowTypeWaitsForAWorkerThatKnowsIt(t *testing.T) {
	r := newRig(t)
	w := r.newWorker(r.client, r.queue, funcs{"other": func(workflow.Context) error { return nil }}, defaults)
	r.must(w.Start())
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "main")
	r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
	w.Stop()
	r.work(funcs{"main": func(workflow.Context) (string, error) { return "known", nil }})
	equal(r, "result", result[string](r, run), "known")
}

func TestErrorsKeepTheirTypeDetailsAndCauses(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(workflow.Context) error {
		cause := temporal.NewApplicationError("inner", "Inner", 7)
		return temporal.NewApplicationErrorWithCause("outer", "Outer", cause, "detail")
	}})
	err := r.failure(r.start("main"))
	var outer *temporal.ApplicationError
	if !errors.As(err, &outer) || outer.Type() != "Outer" {
		r.Fatalf("got %v", err)
	}
	var detail string
	r.must(outer.Details(&detail))
	equal(r, "detail", detail, "detail")
	var inner *temporal.ApplicationError
	if !errors.As(outer.Unwrap(), &inner) || inner.Type() != "Inner" {
		r.Fatalf("cause: %v", outer.Unwrap())
	}
	var n int
	r.must(inner.Details(&n))
	equal(r, "cause's detail", n, 7)
}
