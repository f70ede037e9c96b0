package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A stream of signals must neither be lost nor keep a workflow from closing for ever.
func TestSignalsInAStreamAreAllSeenBeforeTheEnd(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		n, c := 0, workflow.GetSignalChannel(ctx, "n")
		for {
			var i int
			c.Receive(ctx, &i)
			n++
			if n >= 20 && !c.ReceiveAsync(nil) { // wants to close as soon as nothing waits
				return n, nil
			} else if n >= 20 {
				n++
			}
		}
	}})
	run := r.start("main")
	sent := 0
	for ; sent < 2000; sent++ {
		err := r.client.SignalWorkflow(r.ctx, run.GetID(), run.GetRunID(), "n", sent)
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) {
			break
		}
		r.must(err)
	}
	equal(r, "signals seen", result[int](r, run), sent)
}

func TestUpdateMovesOnToTheRunThatContinues(t *testing.T) {
	r := newRig(t)
	began := make(chan struct{}, 10)
	r.work(funcs{"main": func(ctx workflow.Context, again bool) (string, error) {
		word := ""
		err := workflow.SetUpdateHandler(ctx, "say", func(ctx workflow.Context, s string) (string, error) {
			word = s
			return workflow.GetInfo(ctx).WorkflowExecution.RunID, nil
		})
		if err != nil {
			return "", err
		}
		if again {
			actx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second})
			if err := workflow.ExecuteLocalActivity(actx, "hold").Get(ctx, nil); err != nil {
				return "", err
			}
			return "", workflow.NewContinueAsNewError(ctx, "main", false)
		}
		return word, workflow.Await(ctx, func() bool { return word != "" })
	}, "hold": func(context.Context) error {
		began <- struct{}{}
		time.Sleep(500 * time.Millisecond) // the update comes now, too late for this task
		return nil
	}})
	run := r.start("main", true)
	<-began
	h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "say", Args: []any{"hello"}, WaitForStage: client.WorkflowUpdateStageCompleted})
	r.must(err)
	var where string
	r.must(h.Get(r.ctx, &where))
	if where == run.GetRunID() {
		r.Fatal("the first run took an update that came while its last task was under way")
	}
	r.must(run.Get(r.ctx, nil))
}

func TestUpdateAcceptedByARunThatContinuesFails(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context, again bool) error {
		taken := false
		err := workflow.SetUpdateHandler(ctx, "never ends", func(ctx workflow.Context) error {
			taken = true
			return workflow.Sleep(ctx, time.Hour)
		})
		if err != nil {
			return err
		}
		if !again {
			return nil
		}
		if err := workflow.Await(ctx, func() bool { return taken }); err != nil {
			return err
		}
		if err := workflow.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
		return workflow.NewContinueAsNewError(ctx, "main", false)
	}})
	run := r.start("main", true)
	h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "never ends", WaitForStage: client.WorkflowUpdateStageAccepted})
	r.must(err)
	var app *temporal.ApplicationError
	if err := h.Get(r.ctx, nil); !errors.As(err, &app) || app.Type() != "AcceptedUpdateCompletedWorkflow" {
		r.Fatalf("outcome: %v", err)
	}
	r.must(run.Get(r.ctx, nil))
}

// Servers limit the updates in flight, the reference to ten of one run. The SDK calls again.
func TestUpdatesBeyondTheLimitInFlightWaitTheirTurn(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	var all []<-chan answer[string]
	for range 24 {
		all = append(all, later[string](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "held"}))
	}
	r.watch(run, accepted)
	for range all {
		r.signal(run.GetID(), "release", nil)
	}
	for _, a := range all {
		out := <-a
		r.must(out.err)
		equal(r, "outcome", out.value, "released")
	}
	n, err := update[int](r, run.GetID(), "add", 1)
	r.must(err)
	equal(r, "sum", n, 1)
	r.signal(run.GetID(), "close", nil)
	r.must(run.Get(r.ctx, nil))
}

func TestUpdateWaitsForAWorker(t *testing.T) {
	r := newRig(t)
	run := r.start("account")
	answer := make(chan error, 1)
	go func() { _, err := update[int](r, run.GetID(), "add", 1); answer <- err }()
	r.work(accountFuncs)
	r.must(<-answer)
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "close", nil))
	r.must(run.Get(r.ctx, nil))
}

func TestQueryWaitsForTheFirstWorkflowTask(t *testing.T) {
	r := newRig(t)
	run := r.start("gather")
	answer := make(chan error, 1)
	go func() { _, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "got"); answer <- err }()
	r.work(funcs{"gather": gather})
	r.must(<-answer)
}

func TestQueriesAtOnceAreAllAnswered(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	answers := make(chan error, 20)
	for range 4 {
		go func() {
			for range 5 {
				_, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "got")
				answers <- err
			}
		}()
	}
	for i := range 20 {
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", i))
	}
	for range 20 {
		r.must(<-answers)
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "stop", nil))
	equal(r, "numbers", result[[]int](r, run), upTo(20))
}

func TestChildOfAParentThatContinuesStays(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, again bool) error {
			if !again {
				return workflow.SignalExternalWorkflow(ctx, r.id("child"), "", "finish", nil).Get(ctx, nil)
			}
			f := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{WorkflowID: r.id("child"), ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON}), "child")
			if err := f.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
				return err
			}
			return workflow.NewContinueAsNewError(ctx, "main", false)
		},
		"child": func(ctx workflow.Context) error {
			workflow.GetSignalChannel(ctx, "finish").Receive(ctx, nil)
			return nil
		},
	})
	r.must(r.start("main", true).Get(r.ctx, nil))
	r.must(r.client.GetWorkflow(r.ctx, r.id("child"), "").Get(r.ctx, nil))
}

func TestChildOfAParentThatClosedFirstNeverExists(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) error {
			workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{WorkflowID: r.id("child"), ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON}), "child")
			return nil
		},
		"child": func(workflow.Context) error { return nil },
	})
	run := r.start("main")
	r.must(run.Get(r.ctx, nil))
	var gone *serviceerror.NotFound
	if _, err := r.client.DescribeWorkflowExecution(r.ctx, r.id("child"), ""); !errors.As(err, &gone) {
		r.Fatalf("describe of the child: %v, want not found", err)
	}
}

func TestResetBeginsAgainAndKeepsSignals(t *testing.T) {
	r := newRig(t)
	var executed atomic.Int32
	r.work(funcs{
		"main": func(ctx workflow.Context) (int, error) {
			n, c := 0, workflow.GetSignalChannel(ctx, "n")
			for range 2 {
				if err := workflow.ExecuteActivity(short(ctx), "act").Get(ctx, nil); err != nil {
					return 0, err
				}
			}
			for range 3 {
				var i int
				c.Receive(ctx, &i)
				n += i
			}
			return n, nil
		},
		"act": func(context.Context) error { executed.Add(1); return nil },
	})
	run := r.start("main")
	r.eventually("both activities are done", func() bool { return len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)) == 2 })
	for _, n := range []int{1, 2, 4} {
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", n))
	}
	equal(r, "first result", result[int](r, run), 7)
	completed := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
	answer, err := r.client.ResetWorkflowExecution(r.ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		Reason: "once more", WorkflowTaskFinishEventId: completed[1].GetEventId(), RequestId: "reset-1",
	})
	r.must(err)
	again := firstRun{WorkflowRun: r.client.GetWorkflow(r.ctx, run.GetID(), answer.RunId), client: r.client, runID: answer.RunId}
	r.begun = append(r.begun, again)
	equal(r, "result after the reset", result[int](r, again), 7)
	equal(r, "activities executed", executed.Load(), 3)
	failed := r.only(again, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
	equal(r, "cause", failed[0].GetWorkflowTaskFailedEventAttributes().GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW)
}

func TestLargePayloadsPassAndTooLargeOnesAreRefused(t *testing.T) {
	r := newRig(t)
	r.noReplay("a result was refused")
	r.work(funcs{
		"echo": func(ctx workflow.Context, s string) (int, error) {
			var out string
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}}), "same", s).Get(ctx, &out)
			return len(out), err
		},
		"same": func(_ context.Context, s string) (string, error) { return s, nil },
	})
	equal(r, "length", result[int](r, r.start("echo", strings.Repeat("x", 1_000_000))), 1_000_000)
	if _, err := r.client.ExecuteWorkflow(r.ctx, r.options(client.StartWorkflowOptions{ID: r.id("big")}), "echo", strings.Repeat("x", 3_000_000)); err == nil {
		r.Fatal("an input of 3 MB was taken")
	}
}

func TestAnotherNamespaceIsAWorldOfItsOwn(t *testing.T) {
	r := newRig(t)
	name := fmt.Sprintf("other-%d", time.Now().UnixNano())
	_, err := r.client.WorkflowService().RegisterNamespace(r.ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	r.must(err)
	var other client.Client
	r.eventually("the namespace can be used", func() bool {
		if other == nil {
			other, err = client.Dial(client.Options{HostPort: sharedAddress, Namespace: name, Logger: quiet()})
			r.must(err)
			r.Cleanup(other.Close)
		}
		_, err := other.ListWorkflow(r.ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: name})
		return err == nil
	})
	r.work(funcs{"where": func(workflow.Context) (string, error) { return "here", nil }})
	w := worker.New(other, r.queue, worker.Options{})
	w.RegisterWorkflowWithOptions(func(workflow.Context) (string, error) { return "there", nil }, workflow.RegisterOptions{Name: "where"})
	r.eventually("a worker starts", func() bool { return w.Start() == nil })
	r.Cleanup(w.Stop)
	id := r.id("same")
	here := r.startWith(client.StartWorkflowOptions{ID: id}, "where")
	there, err := other.ExecuteWorkflow(r.ctx, client.StartWorkflowOptions{ID: id, TaskQueue: r.queue}, "where")
	r.must(err)
	equal(r, "here", result[string](r, here), "here")
	equal(r, "there", result[string](r, there), "there")
	var missing *serviceerror.NamespaceNotFound
	_, err = r.client.WorkflowService().DescribeNamespace(r.ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "no-such"})
	if !errors.As(err, &missing) {
		r.Fatalf("describe of an unknown namespace: %v", err)
	}
}

// A worker that stops lets its activities finish, and what they return still counts.
func TestAWorkerThatStopsFinishesItsActivities(t *testing.T) {
	r := newRig(t)
	began := make(chan struct{})
	var executed atomic.Int32
	f := funcs{
		"main": func(ctx workflow.Context) (string, error) {
			var out string
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second}), "drains").Get(ctx, &out)
			return out, err
		},
		"drains": func(ctx context.Context) (string, error) {
			executed.Add(1)
			close(began)
			<-activity.GetWorkerStopChannel(ctx)
			return "drained", nil
		},
	}
	w := r.newWorker(r.client, r.queue, f, worker.Options{WorkerStopTimeout: 10 * time.Second})
	r.must(w.Start())
	run := r.start("main")
	<-began
	w.Stop()
	r.work(f)
	equal(r, "result", result[string](r, run), "drained")
	equal(r, "executed", executed.Load(), 1)
}

func TestSessionsKeepActivitiesOnOneWorker(t *testing.T) {
	r := newRig(t)
	f := funcs{
		"main": func(ctx workflow.Context) (bool, error) {
			ctx = short(ctx)
			sctx, err := workflow.CreateSession(ctx, &workflow.SessionOptions{CreationTimeout: 20 * time.Second, ExecutionTimeout: time.Minute})
			if err != nil {
				return false, err
			}
			defer workflow.CompleteSession(sctx)
			var first, second string
			if err := workflow.ExecuteActivity(sctx, "where").Get(sctx, &first); err != nil {
				return false, err
			}
			err = workflow.ExecuteActivity(sctx, "where").Get(sctx, &second)
			return first == second && first != r.queue, err
		},
		"where": func(ctx context.Context) (string, error) { return activity.GetInfo(ctx).TaskQueue, nil },
	}
	r.work(f, worker.Options{EnableSessionWorker: true})
	equal(r, "same worker", result[bool](r, r.start("main")), true)
}

// Many workflows at once, each with a few activities: nothing gets stuck.
func TestManyWorkflowsFinish(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, n int) (int, error) {
			for range 3 {
				if err := workflow.ExecuteActivity(short(ctx), "next", n).Get(ctx, &n); err != nil {
					return 0, err
				}
			}
			return n, nil
		},
		"next": func(_ context.Context, n int) (int, error) { return n + 1, nil },
	})
	for i := range 100 {
		r.start("main", i)
	}
	for i, run := range r.begun {
		equal(r, "result", result[int](r, run), i+3)
	}
}
