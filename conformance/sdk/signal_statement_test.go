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

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The Go SDK has no table of signal handlers: a handler is the code that receives from a signal's channel, here one goroutine
// per signal, or an interceptor's HandleSignal.

// Each handler notes that it begins, runs an activity and notes that it ends. The first one's activity waits until all others
// have ended, so that handlers overlap.
func TestM022_SignalsStartTheirHandlersInOrder(t *testing.T) {
	r := newRig(t)
	r.witnessed("")
	goOn := make(chan struct{})
	type log struct{ Begun, Ended, Noted []string }
	f := funcs{
		"main": func(ctx workflow.Context) (log, error) {
			var l log
			check(workflow.SetQueryHandler(ctx, "log", func() (log, error) { return l, nil }))
			s, stopped := workflow.NewSelector(ctx), false
			for _, name := range []string{"a", "b"} {
				s.AddReceive(workflow.GetSignalChannel(ctx, name), func(c workflow.ReceiveChannel, _ bool) {
					var what string
					c.Receive(ctx, &what)
					workflow.Go(ctx, func(ctx workflow.Context) {
						l.Begun = append(l.Begun, what)
						check(workflow.ExecuteActivity(short(ctx), "act", what).Get(ctx, nil))
						l.Ended = append(l.Ended, what)
					})
				})
			}
			s.AddReceive(workflow.GetSignalChannel(ctx, "stop"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); stopped = true })
			for !stopped {
				s.Select(ctx)
			}
			check(workflow.Await(ctx, func() bool { return len(l.Ended) == len(l.Begun) }))
			l.Noted = noted(ctx)
			return l, nil
		},
		"act": func(_ context.Context, what string) error {
			if what == "a0" {
				<-goOn
			}
			return nil
		},
	}
	run := r.start("main")
	var sent, want []string
	send := func(name string) {
		what := fmt.Sprint(name, len(sent))
		r.signal(run.GetID(), name, what)
		sent, want = append(sent, what), append(want, "signal/1 "+name)
	}
	send("a")
	send("a")
	send("b") // these three are there when the first workflow task begins
	r.work(f)
	for len(sent) < 8 { // each of these meets an idle run
		n := len(sent)
		r.eventually("handlers end, all but the first", func() bool { return len(ask[log](r, run.GetID(), "log").Ended) == n-1 })
		send([]string{"b", "a"}[n%2])
	}
	close(goOn)
	r.signal(run.GetID(), "stop", nil)
	l := result[log](r, run)
	equal(r, "order in which handlers began", l.Begun, sent)
	equal(r, "signals as the worker handed them over", l.Noted, append(want, "signal/1 stop"))
	if at := slices.Index(l.Ended, "a0"); at < 6 {
		r.Fatalf("the first handler ended as number %d; nothing overlapped: %v", at, l.Ended)
	}
}

func TestM023_M043_SignalsFromBeforeTheFirstTaskAreHandledBeforeTheMainFunction(t *testing.T) {
	r := newRig(t)
	r.witnessed("")
	type seen struct{ Before, Waiting []string }
	f := funcs{"main": func(ctx workflow.Context) (seen, error) {
		s := seen{Before: noted(ctx)}
		var word string
		for c := workflow.GetSignalChannel(ctx, "word"); c.ReceiveAsync(&word); {
			s.Waiting = append(s.Waiting, word)
		}
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return s, nil
	}}
	early := r.start("main")
	r.signal(early.GetID(), "word", "one")
	r.signal(early.GetID(), "word", "two")
	o := r.options(client.StartWorkflowOptions{ID: r.id("with signal")})
	both, err := r.client.SignalWithStartWorkflow(r.ctx, o.ID, "word", "with start", o, "main")
	r.must(err)
	r.begun = append(r.begun, firstRun{both, r.client, both.GetRunID()})
	again, err := r.client.SignalWithStartWorkflow(r.ctx, o.ID, "word", "with no start", o, "main")
	r.must(err)
	equal(r, "run that the second call signalled", again.GetRunID(), both.GetRunID())
	r.work(f)
	r.signal(early.GetID(), "stop", nil)
	r.signal(o.ID, "stop", nil)
	got := result[seen](r, early)
	equal(r, "handled before main began", got.Before[:2], []string{"signal/1 word", "signal/1 word"})
	equal(r, "waiting when main began", got.Waiting, []string{"one", "two"})
	got = result[seen](r, again)
	equal(r, "handled before main began, signal with start", got.Before[:2], []string{"signal/1 word", "signal/1 word"})
	equal(r, "waiting when main began, signal with start", got.Waiting, []string{"with start", "with no start"})
}

func TestM024_SignalsWithoutAHandlerAreKept(t *testing.T) {
	r := newRig(t)
	type seen struct {
		Kept, KeptAfter []string
		Late, Other     []int
	}
	r.work(funcs{"main": func(ctx workflow.Context) (seen, error) {
		var s seen
		check(workflow.SetQueryHandler(ctx, "late", func() ([]int, error) { return s.Late, nil }))
		drain := func(name string) (got []int) {
			var n int
			for c := workflow.GetSignalChannel(ctx, name); c.ReceiveAsync(&n); {
				got = append(got, n)
			}
			return got
		}
		workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
		s.Kept = workflow.GetUnhandledSignalNames(ctx)
		s.Late = drain("late")
		workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
		s.KeptAfter = workflow.GetUnhandledSignalNames(ctx)
		s.Other = drain("other")
		slices.Sort(s.Kept)
		return s, nil
	}})
	run := r.start("main")
	for i := range 4 {
		r.signal(run.GetID(), "late", i)
		r.signal(run.GetID(), "other", 10+i)
	}
	r.signal(run.GetID(), "go", nil)
	r.eventually("the first name is handled", func() bool { return len(ask[[]int](r, run.GetID(), "late")) > 0 })
	r.signal(run.GetID(), "go", nil)
	got := result[seen](r, run)
	equal(r, "kept names", got.Kept, []string{"late", "other"})
	equal(r, "late", got.Late, []int{0, 1, 2, 3})
	equal(r, "names still kept", got.KeptAfter, []string{"other"})
	equal(r, "other", got.Other, []int{10, 11, 12, 13})
}

func TestM026_SignalsThatCannotBeDecodedAreLoggedAndDropped(t *testing.T) {
	r := newRig(t)
	var log logbook
	r.client = r.dial(client.Options{Logger: &log})
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	for _, arg := range []any{0, "not a number", []string{"nor this"}, 1} {
		r.signal(run.GetID(), "n", arg)
	}
	r.eventually("the good ones are there", func() bool { return slices.Equal(ask[[]int](r, run.GetID(), "got"), upTo(2)) })
	r.signal(run.GetID(), "n", 2)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "numbers", result[[]int](r, run), upTo(3))
	equal(r, "signals", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED), 6)
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
	if len(log.with("error", "signal", "channel n")) < 2 {
		r.Fatalf("log: %q", log.lines)
	}
}

// The Go client sends one argument; other SDKs send as many as they like.
func TestM027_SignalsCarryAllTheirArgumentsInOrder(t *testing.T) {
	r := newRig(t)
	r.witnessed("")
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		var first string
		workflow.GetSignalChannel(ctx, "many").Receive(ctx, &first)
		return first + " " + strings.Join(noted(ctx), " "), nil
	}})
	run := r.start("main")
	args, err := converter.GetDefaultDataConverter().ToPayloads("first", 2, []string{"third"})
	r.must(err)
	_, err = r.client.WorkflowService().SignalWorkflowExecution(r.ctx, &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.GetID()}, SignalName: "many", Input: args})
	r.must(err)
	equal(r, "first argument and note of all", result[string](r, run), "first signal/3 many")
	var first string
	var second int
	var third []string
	stored := r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)[0].GetWorkflowExecutionSignaledEventAttributes().GetInput()
	r.must(converter.GetDefaultDataConverter().FromPayloads(stored, &first, &second, &third))
	equal(r, "arguments", fmt.Sprint(first, second, third), "first2 [third]")
}

// A panic in a handler, unlike a failure that the workflow returns, fails the task and heals with the code.
func TestSignalHandlerThatPanicsFailsItsTaskAndHeals(t *testing.T) {
	r := newRig(t)
	var broken atomic.Bool
	broken.Store(true)
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		n, done := 0, 0
		c := workflow.GetSignalChannel(ctx, "n")
		workflow.Go(ctx, func(ctx workflow.Context) {
			for {
				c.Receive(ctx, &n)
				if n < 0 {
					done = -1
					return
				}
				if broken.Load() {
					panic("a mistake in a handler")
				}
				done++
			}
		})
		check(workflow.Await(ctx, func() bool { return done < 0 || done == 2 }))
		if done < 0 {
			return 0, temporal.NewApplicationError("the handler says so", "Refused")
		}
		return done, nil
	}})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "main")
	r.signal(run.GetID(), "n", 1)
	failed := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
	equal(r, "cause", failed.GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE)
	broken.Store(false)
	r.signal(run.GetID(), "n", 2)
	equal(r, "signals handled", result[int](r, run), 2)
	refused := r.start("main")
	r.signal(refused.GetID(), "n", -1)
	var app *temporal.ApplicationError
	if err := r.failure(refused); !errors.As(err, &app) || app.Type() != "Refused" {
		r.Fatalf("failure of a handler that the workflow returns: %v", err)
	}
}

func TestM029_M108_HeadersOfAClientReachTheInterceptorsOfWorkflows(t *testing.T) {
	r := newRig(t)
	r.witnessed("Ada")
	r.work(funcs{"main": func(ctx workflow.Context) ([]string, error) {
		check(workflow.SetQueryHandler(ctx, "signature", func() (string, error) { return "", nil }))
		check(workflow.SetUpdateHandler(ctx, "update", func(workflow.Context) error { return nil }))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return noted(ctx), nil
	}})
	run := r.start("main")
	r.signal(run.GetID(), "other", 1)
	equal(r, "header of a query", ask[string](r, run.GetID(), "signature"), "Ada")
	_, err := update[any](r, run.GetID(), "update")
	r.must(err)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "headers of signals and updates", result[[]string](r, run), []string{"signal/1 other Ada", "update update Ada", "signal/1 stop Ada"})
	equal(r, "header of a query that replays", ask[string](r, run.GetID(), "signature"), "Ada")
}

func TestM031_SignalsNobodyReadAreWarnedOfAndNotCarriedOver(t *testing.T) {
	r := newRig(t)
	var log logbook
	r.client = r.dial(client.Options{Logger: &log})
	r.work(funcs{"main": func(ctx workflow.Context, again bool) ([]string, error) {
		kept := workflow.GetUnhandledSignalNames(ctx)
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		if again {
			return nil, workflow.NewContinueAsNewError(ctx, "main", false)
		}
		return kept, nil
	}})
	run := r.start("main", true)
	r.signal(run.GetID(), "unread", 1)
	r.signal(run.GetID(), "stop", nil)
	r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
	warned := func(runID string) bool { return len(log.with("warn", "unhandled signals", "[unread]", runID)) > 0 }
	if !warned(run.GetRunID()) {
		r.Fatalf("log: %q", log.lines)
	}
	next := r.client.GetWorkflow(r.ctx, run.GetID(), "")
	r.watch(next, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
	r.signal(run.GetID(), "unread", 2)
	r.signal(run.GetID(), "stop", nil)
	equal(r, "signals kept in the next run", result[[]string](r, next), nil)
	if !warned(next.GetRunID()) {
		r.Fatalf("log: %q", log.lines)
	}
}

// A receiver that ends leaves what comes then to the next one.
func TestM233_SignalsWaitFromOneHandlerToTheNext(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) ([]string, error) {
		var got []string
		var order string
		check(workflow.SetQueryHandler(ctx, "got", func() ([]string, error) { return append(got, "under "+order), nil }))
		orders := workflow.GetSignalChannel(ctx, "order")
		unset := func() {}
		for {
			orders.Receive(ctx, &order)
			unset()
			switch order {
			case "stop":
				return got, nil
			case "none":
				unset = func() {}
				continue
			}
			hctx, cancel := workflow.WithCancel(ctx)
			mine := order
			unset = cancel
			workflow.Go(hctx, func(hctx workflow.Context) {
				s, gone := workflow.NewSelector(hctx), false
				s.AddReceive(hctx.Done(), func(workflow.ReceiveChannel, bool) { gone = true })
				s.AddReceive(workflow.GetSignalChannel(hctx, "n"), func(c workflow.ReceiveChannel, _ bool) {
					var n int
					c.Receive(hctx, &n)
					got = append(got, fmt.Sprint(mine, n))
				})
				for s.Select(hctx); !gone; s.Select(hctx) {
				}
			})
		}
	}})
	run := r.start("main")
	has := func(want ...string) {
		r.Helper()
		r.eventually(fmt.Sprint("handled are ", want), func() bool { return slices.Equal(ask[[]string](r, run.GetID(), "got"), want) })
	}
	r.signal(run.GetID(), "order", "a")
	r.signal(run.GetID(), "n", 1)
	has("a1", "under a")
	r.signal(run.GetID(), "order", "none")
	has("a1", "under none")
	r.signal(run.GetID(), "n", 2)
	r.signal(run.GetID(), "n", 3)
	has("a1", "under none")
	r.signal(run.GetID(), "order", "b")
	has("a1", "b2", "b3", "under b")
	r.signal(run.GetID(), "order", "c")
	has("a1", "b2", "b3", "under c")
	r.signal(run.GetID(), "n", 4)
	has("a1", "b2", "b3", "c4", "under c")
	r.signal(run.GetID(), "order", "stop")
	equal(r, "handled", result[[]string](r, run), []string{"a1", "b2", "b3", "c4"})
}

// external runs one action on another workflow and says how it went.
func external(ctx workflow.Context, how, to string) (string, error) {
	var err error
	if how == "signal" {
		err = workflow.SignalExternalWorkflow(ctx, to, "", "word", "hello").Get(ctx, nil)
	} else {
		err = workflow.RequestCancelExternalWorkflow(ctx, to, "").Get(ctx, nil)
	}
	var unknown *temporal.UnknownExternalWorkflowExecutionError
	switch {
	case err == nil:
		return "fine", nil
	case errors.As(err, &unknown):
		return "unknown", nil
	}
	return err.Error(), nil
}

func TestM044_M046_M047_ExternalSignalsSayWhetherTheyArrived(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"external": external,
		"quick":    func(workflow.Context) error { return nil },
		"receiver": func(ctx workflow.Context) (string, error) {
			var word string
			workflow.GetSignalChannel(ctx, "word").Receive(ctx, &word)
			return word, nil
		},
	})
	closed, receiver, self := r.start("quick"), r.start("receiver"), r.id("self")
	r.must(closed.Get(r.ctx, nil))
	sender := r.start("external", "signal", receiver.GetID())
	equal(r, "signal to an open run", result[string](r, sender), "fine")
	equal(r, "word", result[string](r, receiver), "hello")
	initiated := r.only(sender, enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)[0]
	signaled := r.only(sender, enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)[0]
	equal(r, "initiated", signaled.GetExternalWorkflowExecutionSignaledEventAttributes().GetInitiatedEventId(), initiated.GetEventId())
	equal(r, "after it", r.history(sender.GetID(), sender.GetRunID())[signaled.GetEventId()].GetEventType(), enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
	arrived := r.only(receiver, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)[0].GetWorkflowExecutionSignaledEventAttributes()
	equal(r, "sender", arrived.GetExternalWorkflowExecution().GetRunId(), sender.GetRunID())
	equal(r, "identity", arrived.GetIdentity(), "history-service")

	for what, to := range map[string]string{"nobody": r.id("nobody"), "closed": closed.GetID(), "self": self} {
		run := r.startWith(client.StartWorkflowOptions{ID: r.id(what)}, "external", "signal", to)
		equal(r, what, result[string](r, run), "unknown")
		failed := r.only(run, enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)[0].GetSignalExternalWorkflowExecutionFailedEventAttributes()
		equal(r, what+": cause", failed.GetCause(), enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND)
		equal(r, what+": workflow task", failed.GetWorkflowTaskCompletedEventId(), int64(0))
		equal(r, what+": signals", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED), 0)
	}
	equal(r, "signals to the closed one", r.count(closed, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED), 0)
}

// The Go SDK has no way to take an external signal back, so there is only one half to see here.
func TestSignalToAnotherWorkflowIsNotTakenBackByCancelling(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"receiver": func(ctx workflow.Context) error {
			workflow.GetSignalChannel(ctx, "word").Receive(ctx, nil)
			return nil
		},
		"main": func(ctx workflow.Context, to string) error {
			sctx, cancel := workflow.WithCancel(ctx)
			sent := workflow.SignalExternalWorkflow(sctx, to, "", "word", nil)
			cancel()
			return sent.Get(ctx, nil)
		},
	})
	receiver := r.start("receiver")
	r.must(r.start("main", receiver.GetID()).Get(r.ctx, nil))
	r.must(receiver.Get(r.ctx, nil))
}

func TestM055_SignalToAnEmptyWorkflowIDFailsWithoutACommand(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"external": external})
	run := r.start("external", "signal", "")
	if got := result[string](r, run); !strings.Contains(strings.ToLower(got), "workflowid") {
		r.Fatalf("got %q", got)
	}
	equal(r, "history", types(r.history(run.GetID(), "")),
		"WorkflowExecutionStarted WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted WorkflowExecutionCompleted")
}

func TestM058_SignalsBetweenWorkflowsCarryHeaders(t *testing.T) {
	r := newRig(t)
	r.witnessed("")
	r.work(funcs{
		"receiver": func(ctx workflow.Context) ([]string, error) {
			workflow.GetSignalChannel(ctx, "word").Receive(ctx, nil)
			return noted(ctx), nil
		},
		"main": func(ctx workflow.Context, to string) ([]string, error) {
			if err := workflow.SignalExternalWorkflow(ctx, to, "", "word", nil).Get(ctx, nil); err != nil {
				return nil, err
			}
			c := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{}), "receiver")
			if err := c.SignalChildWorkflow(ctx, "word", nil).Get(ctx, nil); err != nil {
				return nil, err
			}
			var got []string
			err := c.Get(ctx, &got)
			return got, err
		},
	})
	receiver := r.start("receiver")
	sender := r.start("main", receiver.GetID())
	want := []string{"signal/1 word " + sender.GetID()}
	equal(r, "what the child got", result[[]string](r, sender), want)
	equal(r, "what the other workflow got", result[[]string](r, receiver), want)
}

func TestM065_CancellingWhatIsClosedOrAlreadyCancelledSucceedsAndDoesNothing(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"external": external,
		"quick":    func(workflow.Context) error { return nil },
		"stubborn": func(ctx workflow.Context) error {
			workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
			return nil
		},
	})
	closed, stubborn := r.start("quick"), r.start("stubborn")
	r.must(closed.Get(r.ctx, nil))
	r.must(r.client.CancelWorkflow(r.ctx, stubborn.GetID(), ""))
	r.completed(stubborn, 1)
	for what, target := range map[string]client.WorkflowRun{"closed": closed, "cancelled": stubborn} {
		r.eventually("the target is idle", func() bool {
			events := r.history(target.GetID(), "")
			last := events[len(events)-1].GetEventType()
			return last == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED || last == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
		})
		before := len(r.history(target.GetID(), ""))
		sender := r.start("external", "cancel", target.GetID())
		equal(r, what, result[string](r, sender), "fine")
		equal(r, what+": confirmed", r.count(sender, enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED), 1)
		equal(r, what+": history of the target", len(r.history(target.GetID(), "")), before)
	}
	r.signal(stubborn.GetID(), "stop", nil)
	r.must(stubborn.Get(r.ctx, nil))
}
