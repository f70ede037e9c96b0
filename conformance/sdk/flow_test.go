package sdk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

func TestTimersFireInOrderAndCanBeCancelled(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		var out []string
		cancelled, cancel := workflow.WithCancel(ctx)
		s := workflow.NewSelector(ctx)
		s.AddFuture(workflow.NewTimer(ctx, 300*time.Millisecond), func(workflow.Future) { out = append(out, "b") })
		s.AddFuture(workflow.NewTimer(ctx, 20*time.Millisecond), func(workflow.Future) { out = append(out, "a") })
		never := workflow.NewTimer(cancelled, time.Hour)
		s.Select(ctx)
		s.Select(ctx)
		cancel()
		if err := never.Get(ctx, nil); !temporal.IsCanceledError(err) {
			return "", errors.New("timer was not cancelled")
		}
		return strings.Join(out, ""), workflow.Sleep(ctx, time.Millisecond)
	}})
	run := r.start("main")
	equal(r, "order", result[string](r, run), "ab")
	equal(r, "fired", len(r.only(run, enumspb.EVENT_TYPE_TIMER_FIRED)), 3)
	equal(r, "cancelled", len(r.only(run, enumspb.EVENT_TYPE_TIMER_CANCELED)), 1)
}

func TestTimersAreNotEarly(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error { return workflow.Sleep(ctx, 700*time.Millisecond) }})
	run := r.start("main")
	r.must(run.Get(r.ctx, nil))
	begin := r.only(run, enumspb.EVENT_TYPE_TIMER_STARTED)[0].GetEventTime().AsTime()
	fire := r.only(run, enumspb.EVENT_TYPE_TIMER_FIRED)[0].GetEventTime().AsTime()
	if d := fire.Sub(begin); d < 700*time.Millisecond || d > 5*time.Second {
		r.Fatalf("a timer of 700ms fired after %s", d)
	}
}

func TestContinueAsNewIsFollowedToTheResult(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context, left int, runs []string) ([]string, error) {
		runs = append(runs, workflow.GetInfo(ctx).WorkflowExecution.RunID)
		if left == 0 {
			return runs, nil
		}
		return nil, workflow.NewContinueAsNewError(ctx, "main", left-1, runs)
	}})
	run := r.startWith(client.StartWorkflowOptions{Memo: map[string]any{"m": 1}}, "main", 2, []string{})
	runs := result[[]string](r, run)
	equal(r, "runs", len(runs), 3)
	first := r.history(run.GetID(), runs[0])
	equal(r, "first run ends as", first[len(first)-1].GetEventType(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
	for i, id := range runs[1:] {
		started := r.history(run.GetID(), id)[0].GetWorkflowExecutionStartedEventAttributes()
		equal(r, "first run of the chain", started.GetFirstExecutionRunId(), runs[0])
		equal(r, "run before", started.GetContinuedExecutionRunId(), runs[i])
		equal(r, "own run", started.GetOriginalExecutionRunId(), id)
		equal(r, "attempt", started.GetAttempt(), 1)
		if started.GetMemo().GetFields()["m"] == nil {
			r.Fatal("the memo did not go along")
		}
	}
	var stopped *workflow.ContinueAsNewError
	err := run.GetWithOptions(r.ctx, nil, client.WorkflowRunGetOptions{DisableFollowingRuns: true})
	if !errors.As(err, &stopped) {
		r.Fatalf("without following runs: %v, want a continue-as-new error", err)
	}
}

func TestRetryOfAWorkflowMakesRunsUntilOneSucceeds(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (int32, error) {
		if a := workflow.GetInfo(ctx).Attempt; a >= 3 {
			return a, nil
		}
		return 0, errors.New("not yet")
	}})
	run := r.startWith(client.StartWorkflowOptions{RetryPolicy: &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1}}, "main")
	equal(r, "attempt", result[int32](r, run), 3)
	events := r.history(run.GetID(), run.GetRunID())
	failed := events[len(events)-1].GetWorkflowExecutionFailedEventAttributes()
	equal(r, "retry state", failed.GetRetryState(), enumspb.RETRY_STATE_IN_PROGRESS)
	started := r.history(run.GetID(), failed.GetNewExecutionRunId())[0].GetWorkflowExecutionStartedEventAttributes()
	equal(r, "attempt of the second run", started.GetAttempt(), 2)
	equal(r, "initiator", started.GetInitiator(), enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY)
	equal(r, "failure carried over", started.GetContinuedFailure().GetMessage(), "not yet")
	if d := started.GetFirstWorkflowTaskBackoff().AsDuration(); d < 100*time.Millisecond || d > 2*time.Second {
		r.Fatalf("backoff of the second run: %s, want about 100ms", d)
	}
}

func TestRetryOfAWorkflowEndsWithItsPolicy(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context, kind string) error { return temporal.NewApplicationError("no", kind) }})
	for kind, want := range map[string]enumspb.RetryState{
		"Other":  enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED,
		"Listed": enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE,
	} {
		run := r.startWith(client.StartWorkflowOptions{RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 10 * time.Millisecond, MaximumAttempts: 2, NonRetryableErrorTypes: []string{"Listed"}}}, "main", kind)
		_ = r.failure(run)
		events := r.history(run.GetID(), "") // the last run
		equal(r, kind, events[len(events)-1].GetWorkflowExecutionFailedEventAttributes().GetRetryState(), want)
	}
}

func TestCronRunsCarryTheLastResultUntilCancelled(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		n := 0
		if workflow.HasLastCompletionResult(ctx) {
			if err := workflow.GetLastCompletionResult(ctx, &n); err != nil {
				return 0, err
			}
		}
		if n == 1 && workflow.GetLastError(ctx) == nil {
			return 0, errors.New("the second one fails")
		}
		return n + 1, nil
	}})
	run := r.startWith(client.StartWorkflowOptions{CronSchedule: "@every 1s"}, "main")
	id, runID := run.GetID(), run.GetRunID()
	var started []int64
	for i, want := range []enumspb.EventType{enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED} {
		e := r.watch(r.client.GetWorkflow(r.ctx, id, runID), want)
		begin := r.history(id, runID)[0].GetWorkflowExecutionStartedEventAttributes()
		equal(r, "initiator", begin.GetInitiator(), enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE)
		if i == 2 && begin.GetContinuedFailure().GetMessage() != "the second one fails" {
			r.Fatalf("failure carried over: %v", begin.GetContinuedFailure())
		}
		started = append(started, e.GetEventTime().AsTime().Unix())
		if runID = e.GetWorkflowExecutionCompletedEventAttributes().GetNewExecutionRunId(); runID == "" {
			runID = e.GetWorkflowExecutionFailedEventAttributes().GetNewExecutionRunId()
		}
	}
	if started[1] == started[0] || started[2] == started[1] {
		r.Fatalf("runs of a cron of one second ended within one second: %v", started)
	}
	r.must(r.client.CancelWorkflow(r.ctx, id, ""))
	r.must(r.client.TerminateWorkflow(r.ctx, id, "", "in case it runs again"))
}

func TestRunTimeoutEndsARun(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) }})
	for _, o := range []client.StartWorkflowOptions{{WorkflowRunTimeout: time.Second}, {WorkflowExecutionTimeout: time.Second}} {
		run := r.startWith(o, "main")
		var timeout *temporal.TimeoutError
		if err := r.failure(run); !errors.As(err, &timeout) {
			r.Fatalf("got %v, want a timeout", err)
		}
		d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
		r.must(err)
		equal(r, "status", d.WorkflowExecutionInfo.Status, enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
	}
}

func TestExecutionTimeoutSpansContinueAsNew(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		if err := workflow.Sleep(ctx, 600*time.Millisecond); err != nil {
			return err
		}
		return workflow.NewContinueAsNewError(ctx, "main")
	}})
	run := r.startWith(client.StartWorkflowOptions{WorkflowExecutionTimeout: 2 * time.Second}, "main")
	var timeout *temporal.TimeoutError
	if err := r.failure(run); !errors.As(err, &timeout) {
		r.Fatalf("got %v, want a timeout", err)
	}
}

func TestStartDelayHoldsTheFirstTask(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error { return nil }})
	run := r.startWith(client.StartWorkflowOptions{StartDelay: time.Second}, "main")
	equal(r, "events at first", len(r.history(run.GetID(), run.GetRunID())), 1)
	r.must(run.Get(r.ctx, nil))
	events := r.history(run.GetID(), run.GetRunID())
	if d := events[1].GetEventTime().AsTime().Sub(events[0].GetEventTime().AsTime()); d < time.Second {
		r.Fatalf("first task after %s, want at least 1s", d)
	}
	dsc, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
	r.must(err)
	info := dsc.WorkflowExecutionInfo
	equal(r, "execution time", info.ExecutionTime.AsTime().Sub(info.StartTime.AsTime()), time.Second)
}

func TestCancelReachesTheWorkflowWhichMayCleanUp(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) error {
			err := workflow.Sleep(ctx, time.Hour)
			clean, _ := workflow.NewDisconnectedContext(ctx)
			if cleanErr := workflow.ExecuteActivity(short(clean), "clean").Get(clean, nil); cleanErr != nil {
				return cleanErr
			}
			return err
		},
		"clean": func(context.Context) error { return nil },
	})
	run := r.start("main")
	r.watch(run, enumspb.EVENT_TYPE_TIMER_STARTED)
	r.must(r.client.CancelWorkflowWithOptions(r.ctx, client.CancelWorkflowOptions{WorkflowID: run.GetID(), Reason: "enough"}))
	r.must(r.client.CancelWorkflow(r.ctx, run.GetID(), "")) // a second one changes nothing
	if err := r.failure(run); !temporal.IsCanceledError(err) {
		r.Fatalf("got %v, want cancelled", err)
	}
	equal(r, "cancel requests", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)), 1)
	equal(r, "cause", r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)[0].GetWorkflowExecutionCancelRequestedEventAttributes().GetCause(), "enough")
	r.must(r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID())) // closed: fine too
}

func TestTerminateEndsARunAtOnce(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) }})
	run := r.start("main")
	r.must(r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "why", "detail"))
	var terminated *temporal.TerminatedError
	if err := r.failure(run); !errors.As(err, &terminated) {
		r.Fatalf("got %v, want terminated", err)
	}
	events := r.history(run.GetID(), run.GetRunID())
	a := events[len(events)-1].GetWorkflowExecutionTerminatedEventAttributes()
	equal(r, "reason", a.GetReason(), "why")
	if a.GetIdentity() == "" || len(a.GetDetails().GetPayloads()) != 1 {
		r.Fatalf("identity or details are missing: %v", a)
	}
	var gone *serviceerror.NotFound
	if err := r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "again"); !errors.As(err, &gone) {
		r.Fatalf("second terminate: %v, want not found", err)
	}
}

func TestStartOfARunningIDFollowsItsPolicies(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error { workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil); return nil }})
	id := r.id("same")
	first := r.startWith(client.StartWorkflowOptions{ID: id}, "main")
	_, err := r.client.ExecuteWorkflow(r.ctx, r.options(client.StartWorkflowOptions{ID: id, WorkflowExecutionErrorWhenAlreadyStarted: true}), "main")
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if !errors.As(err, &already) || already.RunId != first.GetRunID() {
		r.Fatalf("second start: %v", err)
	}
	same := r.startWith(client.StartWorkflowOptions{ID: id, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING}, "main")
	equal(r, "existing run", same.GetRunID(), first.GetRunID())
	next := r.startWith(client.StartWorkflowOptions{ID: id, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING}, "main")
	if next.GetRunID() == first.GetRunID() {
		r.Fatal("terminate-existing kept the run")
	}
	var terminated *temporal.TerminatedError
	if err := r.failure(first); !errors.As(err, &terminated) {
		r.Fatalf("the run before: %v, want terminated", err)
	}
	r.must(r.client.SignalWorkflow(r.ctx, id, "", "go", nil))
	r.must(next.Get(r.ctx, nil))
	for _, policy := range []enumspb.WorkflowIdReusePolicy{enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY} {
		_, err = r.client.ExecuteWorkflow(r.ctx, r.options(client.StartWorkflowOptions{ID: id, WorkflowIDReusePolicy: policy, WorkflowExecutionErrorWhenAlreadyStarted: true}), "main")
		if !errors.As(err, &already) {
			r.Fatalf("%s after success: %v, want already started", policy, err)
		}
	}
	again := r.startWith(client.StartWorkflowOptions{ID: id}, "main")
	if again.GetRunID() == next.GetRunID() {
		r.Fatal("a finished ID was not started again")
	}
	r.must(r.client.TerminateWorkflow(r.ctx, id, "", ""))
	r.startWith(client.StartWorkflowOptions{ID: id, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY}, "main")
}
