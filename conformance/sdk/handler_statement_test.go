package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// The Go SDK has dynamic workflows and activities, no dynamic local activities (M-222) and no dynamic messages.
func TestM220_ExactNamesBeatDynamicWorkflowsAndActivities(t *testing.T) {
	r := newRig(t)
	r.dynamic = func(ctx workflow.Context, args converterValues) (string, error) {
		var n int
		if args.HasValues() {
			check(args.Get(&n))
		}
		var dynamic, exact string
		check(workflow.ExecuteActivity(short(ctx), "unknown activity", n).Get(ctx, &dynamic))
		check(workflow.ExecuteActivity(short(ctx), "known activity").Get(ctx, &exact))
		return fmt.Sprint("dynamic ", workflow.GetInfo(ctx).WorkflowType.Name, "; ", dynamic, "; ", exact), nil
	}
	w := r.newWorker(r.client, r.queue, funcs{
		"known":          func(workflow.Context) (string, error) { return "exact", nil },
		"known activity": func(context.Context) (string, error) { return "exact activity", nil },
	}, defaults)
	w.RegisterDynamicWorkflow(r.dynamic, workflow.DynamicRegisterOptions{})
	w.RegisterDynamicActivity(func(ctx context.Context, args converterValues) (string, error) {
		var n int
		err := args.Get(&n)
		return fmt.Sprint("dynamic ", activity.GetInfo(ctx).ActivityType.Name, " ", n), err
	}, activity.DynamicRegisterOptions{})
	r.must(w.Start())
	r.Cleanup(w.Stop)
	equal(r, "exact name", result[string](r, r.start("known")), "exact")
	equal(r, "another name", result[string](r, r.start("whatever", 7)), "dynamic whatever; dynamic unknown activity 7; exact activity")
	equal(r, "without arguments", result[string](r, r.start("no arguments")), "dynamic no arguments; dynamic unknown activity 0; exact activity")
}

func TestM223_UnknownActivityAndWorkflowTypesMayYetBeServed(t *testing.T) {
	r := newRig(t)
	f := funcs{
		"main": func(ctx workflow.Context, attempts int32) (string, error) {
			var out string
			o := workflow.ActivityOptions{RetryPolicy: &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1, MaximumAttempts: attempts}}
			err := workflow.ExecuteActivity(with(ctx, o), "unknown").Get(ctx, &out)
			return out, err
		},
		"known": func(context.Context) error { return nil },
	}
	w := r.newWorker(r.client, r.queue, f, defaults)
	r.must(w.Start())
	err := r.failure(r.start("main", 2))
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.NonRetryable() || !strings.Contains(app.Error(), "unknown") || !strings.Contains(app.Error(), "known]") {
		r.Fatalf("failure of an unknown activity: %v", err)
	}
	failed := r.only(r.begun[0], enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED)[0].GetActivityTaskStartedEventAttributes()
	equal(r, "attempts", failed.GetAttempt(), 2)
	waiting := r.start("main", 0)
	r.eventually("the activity has failed at least once", func() bool {
		d, err := r.client.DescribeWorkflowExecution(r.ctx, waiting.GetID(), "")
		r.must(err)
		return len(d.PendingActivities) == 1 && d.PendingActivities[0].GetLastFailure() != nil
	})
	unknown := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "unknown workflow")
	cause := r.watch(unknown, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
	if !strings.Contains(cause.GetFailure().GetMessage(), "unknown workflow") {
		r.Fatalf("failure of an unknown workflow: %v", cause.GetFailure())
	}
	d, err := r.client.DescribeWorkflowExecution(r.ctx, unknown.GetID(), "")
	r.must(err)
	equal(r, "status", d.WorkflowExecutionInfo.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	w.Stop()
	f["unknown"] = func(context.Context) (string, error) { return "served", nil }
	f["unknown workflow"] = func(workflow.Context) (string, error) { return "served", nil }
	r.work(f)
	equal(r, "activity that became known", result[string](r, waiting), "served")
	equal(r, "workflow that became known", result[string](r, unknown), "served")
}

func TestM224_UpdateOfAnUnknownNameIsRejectedWithTheKnownOnes(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	r.completed(run, 1)
	before := types(r.history(run.GetID(), ""))
	_, err := update[int](r, run.GetID(), "no such update")
	if err == nil {
		r.Fatal("an unknown update was taken")
	}
	for _, name := range []string{"no such update", "add", "slow", "fail", "held"} {
		if !strings.Contains(err.Error(), name) {
			r.Fatalf("%q does not tell of %s", err, name)
		}
	}
	equal(r, "history", types(r.history(run.GetID(), "")), before)
}

func TestM226_ValidatorDoesNotRunOnReplay(t *testing.T) {
	r := newRig(t)
	var validated atomic.Int32
	var strict, broken atomic.Bool
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		sum := 0
		check(workflow.SetUpdateHandlerWithOptions(ctx, "add", func(_ workflow.Context, n int) (int, error) {
			if n == 2 && broken.Swap(false) {
				panic("a mistake")
			}
			sum += n
			return sum, nil
		}, workflow.UpdateHandlerOptions{Validator: func(int) error {
			validated.Add(1)
			if strict.Load() {
				return errors.New("no more")
			}
			return nil
		}}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return sum, nil
	}})
	run := r.start("main")
	_, err := update[int](r, run.GetID(), "add", 1)
	r.must(err)
	equal(r, "validated", validated.Load(), 1)
	r.resetSticky(run)
	broken.Store(true) // so that the workflow task fails after the validator and comes again
	n, err := update[int](r, run.GetID(), "add", 2)
	r.must(err)
	equal(r, "sum", n, 3)
	equal(r, "validated", validated.Load(), 3)
	strict.Store(true)
	r.resetSticky(run)
	if _, err := update[int](r, run.GetID(), "add", 4); err == nil || !strings.Contains(err.Error(), "no more") {
		r.Fatalf("with a strict validator: %v", err)
	}
	equal(r, "validated", validated.Load(), 4)
	r.resetSticky(run)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "sum at the end", result[int](r, run), 3)
	equal(r, "validated", validated.Load(), 4)
}

func TestM228_ValidatorThatDoesMoreThanReadFailsTheTaskAndOneThatPanicsRejects(t *testing.T) {
	r := newRig(t)
	var broken atomic.Bool
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		sum := 0
		check(workflow.SetUpdateHandlerWithOptions(ctx, "add", func(_ workflow.Context, n int) (int, error) { sum += n; return sum, nil },
			workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context, n int) error {
				if n < 0 {
					panic("a negative number")
				}
				if broken.Load() {
					workflow.ExecuteActivity(short(ctx), "one")
				}
				return nil
			}}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return sum, nil
	}, "one": func(context.Context) error { return nil }})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "main")
	r.completed(run, 1)
	if _, err := update[int](r, run.GetID(), "add", -1); err == nil || !strings.Contains(err.Error(), "a negative number") {
		r.Fatalf("validator that panics: %v, want a rejection", err)
	}
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
	broken.Store(true)
	taken := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "u", UpdateName: "add", Args: []any{5}})
	failed := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
	equal(r, "cause", failed.GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE)
	broken.Store(false)
	a := <-taken
	r.must(a.err)
	equal(r, "sum", a.value, 5)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "sum at the end", result[int](r, run), 5)
	equal(r, "activities", r.count(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED), 0)
}

func TestM229_UpdateThatCannotBeDecodedIsRejectedUnseen(t *testing.T) {
	r := newRig(t)
	var called atomic.Int32
	r.work(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetUpdateHandlerWithOptions(ctx, "add", func(workflow.Context, int) error { called.Add(1); return nil },
			workflow.UpdateHandlerOptions{Validator: func(int) error { called.Add(1); return nil }}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return nil
	}})
	run := r.start("main")
	r.completed(run, 1)
	before := types(r.history(run.GetID(), ""))
	if _, err := update[any](r, run.GetID(), "add", "not a number"); err == nil || !strings.Contains(err.Error(), "decode") {
		r.Fatalf("got %v", err)
	}
	equal(r, "history", types(r.history(run.GetID(), "")), before)
	equal(r, "calls", called.Load(), 0)
}

func TestM230_UpdateHandlerThatFailsCompletesTheUpdateWithItsFailure(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	_, err := update[any](r, run.GetID(), "fail")
	r.failedWith("outcome", err, "Refused")
	accepted := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
	completed := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
	equal(r, "accepted", len(accepted), 1)
	equal(r, "completed", len(completed), 1)
	a := completed[0].GetWorkflowExecutionUpdateCompletedEventAttributes()
	equal(r, "accepted event", a.GetAcceptedEventId(), accepted[0].GetEventId())
	equal(r, "failure", a.GetOutcome().GetFailure().GetApplicationFailureInfo().GetType(), "Refused")
	n, err := update[int](r, run.GetID(), "add", 1)
	r.must(err)
	equal(r, "sum afterwards", n, 1)
}

func TestM231_UpdateHandlerThatPanicsFailsItsTaskAndHeals(t *testing.T) {
	r := newRig(t)
	var broken atomic.Bool
	broken.Store(true)
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		sum := 0
		check(workflow.SetUpdateHandler(ctx, "add", func(_ workflow.Context, n int) (int, error) {
			if broken.Load() {
				panic("a mistake")
			}
			sum += n
			return sum, nil
		}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return sum, nil
	}})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "main")
	r.completed(run, 1)
	var waiting []<-chan answer[int]
	for i := range 2 {
		id := fmt.Sprint("u", i)
		waiting = append(waiting, later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: id, UpdateName: "add", Args: []any{10}}))
		r.admitted(run.GetID(), "", id)
	}
	r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
	broken.Store(false)
	var sums []int
	for _, w := range waiting {
		a := <-w
		r.must(a.err)
		sums = append(sums, a.value)
	}
	equal(r, "sums", sums, []int{10, 20})
	r.signal(run.GetID(), "stop", nil)
	equal(r, "sum at the end", result[int](r, run), 20)
	equal(r, "accepted", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED), 2)
	equal(r, "completed", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED), 2)
}

// In Go all handlers are set by the workflow function; those of the first task wait for it.
func TestUpdatesOfTheFirstTaskFindTheHandlersThatMainSets(t *testing.T) {
	r := newRig(t)
	run := r.start("main")
	var waiting []<-chan answer[string]
	for _, name := range []string{"late", "top", "never"} {
		waiting = append(waiting, later[string](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: name, UpdateName: name}))
		r.admitted(run.GetID(), "", name)
	}
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		order := ""
		set := func(name string) {
			check(workflow.SetUpdateHandler(ctx, name, func(workflow.Context) (string, error) { order += name + " "; return order, nil }))
		}
		set("top")
		order += "main "
		set("late")
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return order, nil
	}})
	late, top, never := <-waiting[0], <-waiting[1], <-waiting[2]
	r.must(late.err)
	r.must(top.err)
	if never.err == nil || !strings.Contains(never.err.Error(), "unknown update never") {
		r.Fatalf("an update without a handler: %v", never.err)
	}
	r.signal(run.GetID(), "stop", nil)
	order := result[string](r, run)
	for _, what := range []string{"main ", "top ", "late "} {
		equal(r, what+"in "+order, strings.Count(order, what), 1)
	}
	equal(r, "history of the first task", types(r.history(run.GetID(), "")[:5]),
		"WorkflowExecutionStarted WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted WorkflowExecutionUpdateAccepted")
}

func TestM234_UpdateInfoIsThereInUpdatesAlone(t *testing.T) {
	r := newRig(t)
	info := func(ctx workflow.Context) (s string) {
		defer func() {
			if recover() != nil {
				s = "none"
			}
		}()
		i := workflow.GetCurrentUpdateInfo(ctx)
		return i.ID + "/" + i.Name
	}
	var validated atomic.Value
	r.work(funcs{"main": func(ctx workflow.Context) ([]string, error) {
		got := []string{"main " + info(ctx)}
		check(workflow.SetQueryHandler(ctx, "info", func() (string, error) { return info(ctx), nil }))
		check(workflow.SetUpdateHandlerWithOptions(ctx, "tell", func(ctx workflow.Context) (string, error) {
			f, s := workflow.NewFuture(ctx)
			workflow.Go(ctx, func(ctx workflow.Context) {
				check(workflow.Sleep(ctx, time.Millisecond))
				s.SetValue(info(ctx))
			})
			var spawned string
			err := f.Get(ctx, &spawned)
			return info(ctx) + " " + spawned, err
		}, workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context) error { validated.Store(info(ctx)); return nil }}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return append(got, "signal "+info(ctx)), nil
	}})
	run := r.start("main")
	h, other := r.begin(run.GetID(), "one", "tell"), r.begin(run.GetID(), "two", "tell")
	var out string
	r.must(h.Get(r.ctx, &out))
	equal(r, "handler and its goroutine", out, "one/tell one/tell")
	r.must(other.Get(r.ctx, &out))
	equal(r, "another update", out, "two/tell two/tell")
	equal(r, "validator of the last", validated.Load().(string), "two/tell")
	equal(r, "query", ask[string](r, run.GetID(), "info"), "none")
	r.signal(run.GetID(), "stop", nil)
	equal(r, "elsewhere", result[[]string](r, run), []string{"main none", "signal none"})
}

// Handlers, to the Go SDK, are those of updates.
func TestM235_AllHandlersFinishedOnceNoneIsBlocked(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		check(workflow.SetQueryHandler(ctx, "finished", func() (bool, error) { return workflow.AllHandlersFinished(ctx), nil }))
		check(workflow.SetUpdateHandler(ctx, "held", func(ctx workflow.Context, by string) (bool, error) {
			workflow.GetSignalChannel(ctx, by).Receive(ctx, nil)
			return workflow.AllHandlersFinished(ctx), nil
		}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		early := workflow.AllHandlersFinished(ctx)
		err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
		return fmt.Sprint(early, " ", workflow.AllHandlersFinished(ctx)), err
	}})
	run := r.start("main")
	finished := func() bool { return ask[bool](r, run.GetID(), "finished") }
	equal(r, "at first", finished(), true)
	a, b := r.begin(run.GetID(), "a", "held", "release a"), r.begin(run.GetID(), "b", "held", "release b")
	equal(r, "with two", finished(), false)
	r.signal(run.GetID(), "stop", nil)
	r.signal(run.GetID(), "release a", nil)
	var inside bool
	r.must(a.Get(r.ctx, &inside))
	equal(r, "inside a handler", inside, false)
	equal(r, "with one", finished(), false)
	d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
	r.must(err)
	equal(r, "status", d.WorkflowExecutionInfo.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	r.signal(run.GetID(), "release b", nil)
	r.must(b.Get(r.ctx, &inside))
	equal(r, "inside the last handler", inside, false)
	equal(r, "seen by main", result[string](r, run), "false true")
	equal(r, "in the end", finished(), true)
}

func TestM236_UnfinishedHandlersAreWarnedOfOnce(t *testing.T) {
	r := newRig(t)
	var log, replayed logbook
	r.client = r.dial(client.Options{Logger: &log})
	f := funcs{"main": func(ctx workflow.Context) error {
		for name, policy := range map[string]workflow.HandlerUnfinishedPolicy{
			"loud": workflow.HandlerUnfinishedPolicyWarnAndAbandon, "quiet": workflow.HandlerUnfinishedPolicyAbandon} {
			check(workflow.SetUpdateHandlerWithOptions(ctx, name, func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) },
				workflow.UpdateHandlerOptions{UnfinishedPolicy: policy}))
		}
		how := ""
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, &how)
		if how == "continue" {
			return workflow.NewContinueAsNewError(ctx, "main")
		}
		return nil
	}}
	r.work(f)
	warnings := func(run client.WorkflowRun) int { return len(log.with("warn", "TMPRL1102", run.GetRunID())) }
	for _, how := range []string{"complete", "continue", "quietly"} {
		run := r.startWith(client.StartWorkflowOptions{ID: r.id(how)}, "main")
		unfinished := []client.WorkflowUpdateHandle{r.begin(run.GetID(), "q", "quiet")}
		if how != "quietly" {
			unfinished = append(unfinished, r.begin(run.GetID(), "l1", "loud"), r.begin(run.GetID(), "l2", "loud"))
		}
		r.resetSticky(run) // the worker drops what it has of the run and replays it
		r.signal(run.GetID(), "unread", nil)
		r.completed(run, 2)
		equal(r, how+": warnings before the end", warnings(run), 0)
		r.signal(run.GetID(), "stop", how)
		want := enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
		if how == "continue" {
			want = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
		}
		r.watch(run, want)
		for _, h := range unfinished {
			r.failedWith(how, h.Get(r.ctx, nil), abandoned)
		}
		_, _ = r.client.QueryWorkflow(r.ctx, run.GetID(), run.GetRunID(), client.QueryTypeStackTrace) // replays the closed run
		if how == "quietly" {
			equal(r, "warnings of a quiet handler", warnings(run), 0)
		} else {
			equal(r, how+": warnings", warnings(run), 1)
			equal(r, how+": warnings of both", len(log.with("TMPRL1102", run.GetRunID(), "l1", "l2")), 1)
			equal(r, how+": with the quiet one", len(log.with("TMPRL1102", run.GetRunID(), "quiet")), 0)
		}
		equal(r, how+": warnings of the signal", len(log.with("warn", "unhandled signals", "[unread]", run.GetRunID())), 1)
		r.must(r.replayer(f).ReplayWorkflowHistory(&replayed, historyOf(r.history(run.GetID(), run.GetRunID()))))
	}
	equal(r, "warnings of a replay", len(replayed.with("TMPRL1102")), 0)
	equal(r, "warnings of signals in a replay", len(replayed.with("unhandled signals")), 0)
}

// The handler waits for what main does last.
func TestM237_UpdateThatEndsAfterMainInOneTaskIsCompleted(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		over := false
		check(workflow.SetUpdateHandler(ctx, "wait", func(ctx workflow.Context) (string, error) {
			err := workflow.Await(ctx, func() bool { return over })
			return "after main", err
		}))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		over = true
		return "done", nil
	}})
	run := r.start("main")
	h := r.begin(run.GetID(), "u", "wait")
	r.signal(run.GetID(), "stop", nil)
	var out string
	r.must(h.Get(r.ctx, &out))
	equal(r, "outcome", out, "after main")
	equal(r, "result", result[string](r, run), "done")
	events := r.history(run.GetID(), "")
	equal(r, "the end", types(events[len(events)-3:]), "WorkflowTaskCompleted WorkflowExecutionUpdateCompleted WorkflowExecutionCompleted")
}

func TestM239_MutexAndSemaphoreSerialiseHandlers(t *testing.T) {
	r := newRig(t)
	var inside, most atomic.Int32
	r.work(funcs{
		"main": func(ctx workflow.Context, permits int64) ([]string, error) {
			var log []string
			mutex, semaphore := workflow.NewMutex(ctx), workflow.NewSemaphore(ctx, permits)
			check(workflow.SetUpdateHandler(ctx, "work", func(ctx workflow.Context, who string) error {
				if permits == 1 {
					if err := mutex.Lock(ctx); err != nil {
						return err
					}
					defer mutex.Unlock()
				} else {
					if err := semaphore.Acquire(ctx, 1); err != nil {
						return err
					}
					defer semaphore.Release(1)
				}
				log = append(log, "+"+who)
				err := workflow.ExecuteActivity(short(ctx), "act", permits).Get(ctx, nil)
				log = append(log, "-"+who)
				return err
			}))
			workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
			return log, nil
		},
		"act": func(_ context.Context, permits int) error {
			if permits > 1 {
				n := inside.Add(1)
				defer inside.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			}
			return nil
		},
	})
	for _, permits := range []int{1, 2} {
		run := r.startWith(client.StartWorkflowOptions{ID: r.id(fmt.Sprint(permits))}, "main", permits)
		var handles []client.WorkflowUpdateHandle
		for i := range 8 {
			handles = append(handles, r.begin(run.GetID(), fmt.Sprint(i), "work", fmt.Sprint(i)))
		}
		for _, h := range handles {
			r.must(h.Get(r.ctx, nil))
		}
		r.signal(run.GetID(), "stop", nil)
		log := result[[]string](r, run)
		in := 0
		var order []string // in which they went in, which is theirs to choose
		for _, line := range log {
			if line[0] == '+' {
				in++
				order = append(order, line[1:])
			} else {
				in--
			}
			if in < 0 || in > permits {
				r.Fatalf("with %d permits: %v", permits, log)
			}
		}
		slices.Sort(order)
		equal(r, "handlers", order, strings.Fields("0 1 2 3 4 5 6 7"))
		if permits == 1 {
			equal(r, "begin and end alternate", slices.Compact(append([]string{}, log...)), log)
		}
	}
	if most.Load() > 2 {
		r.Fatalf("%d activities at once under a semaphore of 2", most.Load())
	}
}

func TestM243_UpdateCompletesOnAnotherWorkerAfterItsWorkerWasKilled(t *testing.T) {
	r := newRig(t)
	killed := r.process("worker", r.queue)
	r.must(killed.Start())
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: 2 * time.Second}, "account")
	n, err := update[int](r, run.GetID(), "add", 3)
	r.must(err)
	equal(r, "sum", n, 3)
	h := r.begin(run.GetID(), "held", "held")
	slow := r.begin(run.GetID(), "slow", "slow") // its activity waits for a worker that has it
	r.must(killed.Process.Kill())
	_ = killed.Wait()
	r.work(accountFuncs)
	r.signal(run.GetID(), "release", nil)
	var out string
	r.must(h.Get(r.ctx, &out))
	equal(r, "outcome", out, "released")
	r.must(slow.Get(r.ctx, &n))
	equal(r, "outcome of the slow one", n, 4)
	r.signal(run.GetID(), "close", nil)
	equal(r, "sum at the end", result[int](r, run), 4)
	equal(r, "accepted", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED), 3)
	equal(r, "completed", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED), 3)
}

// Each step of the update is taken by another worker.
func TestUpdateIsCarriedOnFromWorkerToWorker(t *testing.T) {
	r := newRig(t)
	f := funcs{
		"main": func(ctx workflow.Context) (int, error) {
			steps := 0
			check(workflow.SetQueryHandler(ctx, "steps", func() (int, error) { return steps, nil }))
			check(workflow.SetUpdateHandler(ctx, "walk", func(ctx workflow.Context, n int) (int, error) {
				for range n {
					workflow.GetSignalChannel(ctx, "step").Receive(ctx, nil)
					if err := workflow.ExecuteActivity(short(ctx), "one").Get(ctx, nil); err != nil {
						return 0, err
					}
					steps++
				}
				return steps, nil
			}))
			workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
			return steps, nil
		},
		"one": func(context.Context) error { return nil },
	}
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: 2 * time.Second}, "main")
	walk := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "walk", UpdateName: "walk", Args: []any{4}})
	for i := range 4 {
		w := r.newWorker(r.client, r.queue, f, worker.Options{StickyScheduleToStartTimeout: time.Second})
		r.must(w.Start())
		r.signal(run.GetID(), "step", nil)
		r.eventually("the activity is done", func() bool { return r.count(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) == i+1 })
		w.Stop()
	}
	r.work(f)
	a := <-walk
	r.must(a.err)
	equal(r, "steps", a.value, 4)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "steps at the end", result[int](r, run), 4)
}

// till is an object whose methods are the handlers.
type till struct{ balance int }

type money struct{ Amount int }

func (t *till) Deposit(m money) { t.balance += m.Amount }

func (t *till) Balance() (int, error) { return t.balance, nil }

func (t *till) Withdraw(_ workflow.Context, m money) (int, error) {
	t.balance -= m.Amount
	return t.balance, nil
}

func (t *till) CheckWithdraw(m money) error {
	if m.Amount > t.balance {
		return temporal.NewApplicationError("not that much", "Overdrawn")
	}
	return nil
}

func TestM245_HandlersOfAnObjectServeAClientThatKnowsOnlyNames(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		var t till
		check(workflow.SetQueryHandler(ctx, "Balance", t.Balance))
		check(workflow.SetUpdateHandlerWithOptions(ctx, "Withdraw", t.Withdraw, workflow.UpdateHandlerOptions{Validator: t.CheckWithdraw}))
		s, stopped := workflow.NewSelector(ctx), false
		s.AddReceive(workflow.GetSignalChannel(ctx, "Deposit"), func(c workflow.ReceiveChannel, _ bool) {
			var m money
			c.Receive(ctx, &m)
			t.Deposit(m)
		})
		s.AddReceive(workflow.GetSignalChannel(ctx, "stop"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); stopped = true })
		for !stopped {
			s.Select(ctx)
		}
		return t.balance, nil
	}})
	run := r.start("main")
	_, err := update[int](r, run.GetID(), "Withdraw", money{1})
	r.failedWith("withdrawal from an empty till", err, "Overdrawn")
	equal(r, "what the other process printed", says[int](r, r.process("stranger", run.GetID())), []int{30, 22, 22})
	r.signal(run.GetID(), "stop", nil)
	equal(r, "balance", result[int](r, run), 22)
}
