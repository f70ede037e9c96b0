package sdk

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

// differs wants a replay to say that the code and the history do not fit.
func (r *rig) differs(what string, err error) {
	r.Helper()
	if err == nil || !strings.Contains(err.Error(), "TMPRL1100") {
		r.Fatalf("%s: %v, want a non-determinism error", what, err)
	}
}

func TestM032_OtherSignalHandlersReplayIfTheyDoTheSame(t *testing.T) {
	r := newRig(t)
	act := func(ctx workflow.Context) { check(workflow.ExecuteActivity(short(ctx), "act").Get(ctx, nil)) }
	main := func(handle func(ctx workflow.Context)) func(ctx workflow.Context) error {
		return func(ctx workflow.Context) error {
			done := 0
			workflow.Go(ctx, func(ctx workflow.Context) {
				for c := workflow.GetSignalChannel(ctx, "n"); ; done++ {
					c.Receive(ctx, nil)
					handle(ctx)
				}
			})
			return workflow.Await(ctx, func() bool { return done == 2 })
		}
	}
	r.work(funcs{"main": main(act), "act": func(context.Context) error { return nil }})
	run := r.start("main")
	for i := range 2 {
		r.signal(run.GetID(), "n", i)
	}
	r.must(run.Get(r.ctx, nil))
	events := r.history(run.GetID(), "")
	r.must(r.replays(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetUpdateHandler(ctx, "new", func(workflow.Context) error { return nil }))
		workflow.GetSignalChannel(ctx, "new")
		s := workflow.NewSelector(ctx).AddReceive(workflow.GetSignalChannel(ctx, "n"), func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, nil)
			act(ctx)
		})
		s.Select(ctx)
		s.Select(ctx)
		return nil
	}}, run, events))
	r.differs("a timer for an activity", r.replays(funcs{"main": main(func(ctx workflow.Context) { check(workflow.Sleep(ctx, time.Second)) })}, run, events))
	r.differs("nothing for an activity", r.replays(funcs{"main": main(func(workflow.Context) {})}, run, events))
	r.differs("two activities for one", r.replays(funcs{"main": main(func(ctx workflow.Context) {
		workflow.ExecuteActivity(short(ctx), "act")
		act(ctx)
	})}, run, events))
}

func TestM057_ASignalInHistoryThatTheCodeDoesNotSendIsNonDeterminism(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"external": external})
	run := r.start("external", "signal", r.id("nobody"))
	equal(r, "result", result[string](r, run), "unknown")
	events := r.history(run.GetID(), "")
	r.differs("no command", r.replays(funcs{"external": func(workflow.Context, string, string) (string, error) { return "unknown", nil }}, run, events))
	r.differs("another command", r.replays(funcs{"external": func(ctx workflow.Context, _, to string) (string, error) {
		return external(ctx, "cancel", to)
	}}, run, events))
}

func TestM240_AcceptedUpdatesReplayInSilence(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var messages []int // of each completed workflow task, how many
	r.client = r.watched(func(request any) {
		if c, ok := request.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok {
			mu.Lock()
			defer mu.Unlock()
			messages = append(messages, len(c.GetMessages()))
		}
	})
	var missing atomic.Bool
	main := func(ctx workflow.Context) (int, error) {
		sum := 0
		if !missing.Load() {
			check(workflow.SetUpdateHandler(ctx, "add", func(ctx workflow.Context, n int) (int, error) {
				err := workflow.ExecuteActivity(short(ctx), "act").Get(ctx, nil)
				sum += n
				return sum, err
			}))
		}
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return sum, nil
	}
	r.work(funcs{"main": main, "act": func(context.Context) error { return nil }})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: 3 * time.Second}, "main")
	for i := range 2 {
		_, err := update[int](r, run.GetID(), "add", i+1)
		r.must(err)
	}
	events := r.history(run.GetID(), "")
	missing.Store(true)
	r.resetSticky(run)
	r.signal(run.GetID(), "other", nil)
	failed := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
	equal(r, "cause when the handler is missing", failed.GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR)
	missing.Store(false)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "sum", result[int](r, run), 3)
	mu.Lock()
	defer mu.Unlock()
	all := 0
	for _, n := range messages {
		all += n
	}
	equal(r, fmt.Sprintf("messages of all tasks, by task %v", messages), all, 4)
	equal(r, "messages of the task that replayed all and stopped", messages[len(messages)-1], 0)
	r.must(r.replays(funcs{"main": main}, run, events))
	r.differs("replay without the handler", r.replays(funcs{"main": func(ctx workflow.Context) error {
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return nil
	}}, run, events))
}

func TestM241_UpdatesThatAResetAdmittedAgainReplay(t *testing.T) {
	r := newRig(t)
	var validated atomic.Int32
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		sum := 0
		check(workflow.SetUpdateHandlerWithOptions(ctx, "add", func(_ workflow.Context, n int) (int, error) { sum += n; return sum, nil },
			workflow.UpdateHandlerOptions{Validator: func(int) error { validated.Add(1); return nil }}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return sum, nil
	}})
	run := r.start("main")
	r.completed(run, 1)
	for i := range 3 {
		h := r.begin(run.GetID(), fmt.Sprint("u", i), "add", i+1)
		r.must(h.Get(r.ctx, nil))
	}
	first := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)[0].GetEventId()
	reset, err := r.client.ResetWorkflowExecution(r.ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		Reason: "again", WorkflowTaskFinishEventId: first, RequestId: "reset",
	})
	r.must(err)
	again := firstRun{r.client.GetWorkflow(r.ctx, run.GetID(), reset.RunId), r.client, reset.RunId}
	r.begun = append(r.begun, again)
	for i, want := range []int{1, 3, 6} {
		var sum int
		r.must(r.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{WorkflowID: run.GetID(), RunID: reset.RunId, UpdateID: fmt.Sprint("u", i)}).Get(r.ctx, &sum))
		equal(r, "sum after the reset", sum, want)
	}
	equal(r, "validated", validated.Load(), 6)
	admitted := r.only(again, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
	accepted := r.only(again, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
	equal(r, "admitted", len(admitted), 3)
	equal(r, "accepted", len(accepted), 3)
	for i := range 3 {
		a := accepted[i].GetWorkflowExecutionUpdateAcceptedEventAttributes()
		equal(r, "request in the accepted event", proto.Size(a.GetAcceptedRequest()), 0)
		equal(r, "update", admitted[i].GetWorkflowExecutionUpdateAdmittedEventAttributes().GetRequest().GetMeta().GetUpdateId(), a.GetProtocolInstanceId())
	}
	r.resetSticky(again)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "sum at the end", result[int](r, again), 6)
	equal(r, "validated after a replay", validated.Load(), 6)
	equal(r, "failed workflow tasks but the reset's", r.count(again, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 1)
}

// The IDs of a workflow task that vanished are given again; the cached workflow goes on without a replay.
func TestM242_WorkflowGoesOnAfterWorkflowTasksThatVanished(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var started, reset []int64
	r.client = r.spy(func(reply any) {
		mu.Lock()
		defer mu.Unlock()
		switch a := reply.(type) {
		case *workflowservice.PollWorkflowTaskQueueResponse:
			if a.GetStartedEventId() > 0 {
				started = append(started, a.GetStartedEventId())
			}
		case *workflowservice.RespondWorkflowTaskCompletedResponse:
			reset = append(reset, a.GetResetHistoryEventId())
		}
	})
	var began atomic.Int32
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		began.Add(1)
		return account(ctx)
	}, "one": accountFuncs["one"]})
	run := r.start("main")
	r.completed(run, 1)
	reject := func() {
		r.Helper()
		_, err := update[int](r, run.GetID(), "add", -1)
		r.failedWith("rejected", err, "Negative")
	}
	reject()
	reject()
	reject()
	r.signal(run.GetID(), "other", nil)
	r.completed(run, 2)
	reject()
	n, err := update[int](r, run.GetID(), "add", 1)
	r.must(err)
	equal(r, "sum", n, 1)
	reject()
	n, err = update[int](r, run.GetID(), "slow")
	r.must(err)
	equal(r, "sum after the slow one", n, 2)
	reject()
	r.signal(run.GetID(), "close", nil)
	equal(r, "sum at the end", result[int](r, run), 2)
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
	mu.Lock()
	defer mu.Unlock()
	equal(r, "started events of the first tasks", started[:5], []int64{3, 6, 6, 6, 7})
	equal(r, "where the worker went back to", reset[:6], []int64{0, 3, 3, 3, 0, 7})
	if os.Getenv(noCache) == "" {
		equal(r, "times that the code began", began.Load(), 1)
	}
}
