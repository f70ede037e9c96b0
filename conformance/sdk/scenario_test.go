package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Signals start goroutines, updates have handlers, and both do all that workflow code may do, at once.
func TestHandlersOfSignalsAndUpdatesDoAllThatWorkflowsDo(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (map[string]int, error) {
			done, busy := map[string]int{}, 0
			do := func(ctx workflow.Context, kind string, n int) (int, error) {
				var remote, local, nested int
				if err := workflow.ExecuteActivity(short(ctx), "double", n).Get(ctx, &remote); err != nil {
					return 0, err
				}
				if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
					return 0, err
				}
				lctx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second})
				if err := workflow.ExecuteLocalActivity(lctx, "double", remote).Get(ctx, &local); err != nil {
					return 0, err
				}
				if err := workflow.ExecuteChildWorkflow(ctx, "child", local).Get(ctx, &nested); err != nil {
					return 0, err
				}
				done[kind] += nested
				return nested, nil
			}
			check(workflow.SetUpdateHandler(ctx, "do", func(ctx workflow.Context, n int) (int, error) { return do(ctx, "update", n) }))
			s, stopped := workflow.NewSelector(ctx), false
			s.AddReceive(workflow.GetSignalChannel(ctx, "do"), func(c workflow.ReceiveChannel, _ bool) {
				var n int
				c.Receive(ctx, &n)
				busy++
				workflow.Go(ctx, func(ctx workflow.Context) {
					_, err := do(ctx, "signal", n)
					check(err)
					busy--
				})
			})
			s.AddReceive(workflow.GetSignalChannel(ctx, "stop"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); stopped = true })
			for !stopped || s.HasPending() {
				s.Select(ctx)
			}
			err := workflow.Await(ctx, func() bool { return busy == 0 && workflow.AllHandlersFinished(ctx) })
			return done, err
		},
		"child":  func(_ workflow.Context, n int) (int, error) { return n + 1, nil },
		"double": func(_ context.Context, n int) (int, error) { return 2 * n, nil },
	})
	run := r.start("main")
	var all []<-chan answer[int]
	want := 0
	for n := range 8 {
		r.signal(run.GetID(), "do", n)
		all = append(all, later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "do", Args: []any{n}}))
		want += 4*n + 1
	}
	for n, a := range all {
		out := <-a
		r.must(out.err)
		equal(r, "outcome", out.value, 4*n+1)
	}
	r.signal(run.GetID(), "stop", nil)
	equal(r, "sums", result[map[string]int](r, run), map[string]int{"signal": want, "update": want})
}

// More customers than goods: the validator lets in exactly as many as there are, whatever the order.
func TestValidatorsGuardWhatHandlersShare(t *testing.T) {
	r := newRig(t)
	const goods, customers = 7, 24
	r.work(funcs{
		"shop": func(ctx workflow.Context) (int, error) {
			left, sold := goods, 0
			check(workflow.SetUpdateHandlerWithOptions(ctx, "buy", func(ctx workflow.Context) (int, error) {
				left--
				err := workflow.ExecuteActivity(short(ctx), "pack").Get(ctx, nil)
				sold++
				return sold, err
			}, workflow.UpdateHandlerOptions{Validator: func() error {
				if left == 0 {
					return temporal.NewApplicationError("sold out", "SoldOut")
				}
				return nil
			}}))
			workflow.GetSignalChannel(ctx, "close").Receive(ctx, nil)
			err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
			return sold, err
		},
		"pack": func(context.Context) error { return nil },
	})
	run := r.start("shop")
	var all []<-chan answer[int]
	for range customers {
		all = append(all, later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "buy"}))
	}
	var numbers []int
	for _, c := range all {
		a := <-c
		var app *temporal.ApplicationError
		switch {
		case a.err == nil:
			numbers = append(numbers, a.value)
		case !errors.As(a.err, &app) || app.Type() != "SoldOut":
			r.Fatal(a.err)
		}
	}
	slices.Sort(numbers)
	equal(r, "numbers sold", numbers, []int{1, 2, 3, 4, 5, 6, 7})
	r.signal(run.GetID(), "close", nil)
	equal(r, "sold", result[int](r, run), goods)
	equal(r, "accepted", r.count(run, accepted), goods)
}

func TestMessagesFromBeforeTheFirstTaskAreAllServedByIt(t *testing.T) {
	r := newRig(t)
	run := r.start("account")
	var all []<-chan answer[int]
	for i := range 5 {
		r.signal(run.GetID(), "other", i)
		id := fmt.Sprint("u", i)
		all = append(all, later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: id, UpdateName: "add", Args: []any{1}}))
		r.admitted(run.GetID(), "", id)
	}
	sums := make(chan answer[int], 3)
	for range cap(sums) {
		go func() {
			var a answer[int]
			v, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "sum")
			if a.err = err; err == nil {
				a.err = v.Get(&a.value)
			}
			sums <- a
		}()
	}
	r.signal(run.GetID(), "close", nil)
	r.work(accountFuncs)
	for i, c := range all {
		a := <-c
		r.must(a.err)
		equal(r, "sum", a.value, i+1)
	}
	for range cap(sums) {
		a := <-sums
		r.must(a.err)
		equal(r, "sum seen by a query", a.value, 5)
	}
	equal(r, "sum at the end", result[int](r, run), 5)
	equal(r, "workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED), 1)
	equal(r, "accepted", r.count(run, accepted), 5)
}

// relay is a workflow that continues as new again and again while messages come. It hands on all that it has got.
type relay struct {
	Signals map[string][]int // by sender
	Updates []string
}

func (s *relay) take(c workflow.ReceiveChannel) bool {
	var m struct {
		From string
		N    int
	}
	if !c.ReceiveAsync(&m) {
		return false
	}
	s.Signals[m.From] = append(s.Signals[m.From], m.N)
	return true
}

// relayMain takes no new updates once it wants to continue as new, lest it never can.
func relayMain(ctx workflow.Context, s relay) (relay, error) {
	if s.Signals == nil {
		s.Signals = map[string][]int{}
	}
	seen := 0
	check(workflow.SetUpdateHandlerWithOptions(ctx, "note", func(ctx workflow.Context, what string) (string, error) {
		err := workflow.ExecuteActivity(short(ctx), "act").Get(ctx, nil)
		s.Updates = append(s.Updates, what)
		seen++
		return what, err
	}, workflow.UpdateHandlerOptions{Validator: func(string) error {
		if seen >= 30 {
			return temporal.NewApplicationError("try the next run", "Continuing")
		}
		return nil
	}}))
	signals, stop := workflow.GetSignalChannel(ctx, "n"), workflow.GetSignalChannel(ctx, "stop")
	err := workflow.Await(ctx, func() bool {
		for s.take(signals) {
			seen++
		}
		return (seen >= 30 || stop.Len() > 0) && workflow.AllHandlersFinished(ctx)
	})
	if err != nil {
		return s, err
	}
	if stop.Len() > 0 {
		return s, nil
	}
	return s, workflow.NewContinueAsNewError(ctx, "relay", s)
}

// Signals and updates are sent all the time while the workflow continues as new. Each is counted once in the chain: a signal
// that comes too late for a run's last task makes the server ask the run again, and an update goes on to the next run.
func TestMessagesThroughoutAChainCountOnceEach(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"relay": relayMain, "act": func(context.Context) error { return nil }})
	run := r.start("relay", relay{})
	const senders = 3
	var over atomic.Bool
	var wg sync.WaitGroup
	var signals, updates [senders]int // acknowledged
	failures := make(chan error, 2*senders)
	for i := range senders {
		from := fmt.Sprint("sender ", i)
		wg.Go(func() {
			for ; !over.Load(); signals[i]++ {
				if err := r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", map[string]any{"From": from, "N": signals[i]}); err != nil {
					failures <- fmt.Errorf("%s: signal %d: %w", from, signals[i], err)
					return
				}
			}
		})
		wg.Go(func() {
			for ; !over.Load(); updates[i]++ {
				if err := r.insist(run.GetID(), fmt.Sprint(from, "/", updates[i])); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	at := run.GetRunID()
	for range 4 {
		r.eventually("the workflow continues as new", func() bool {
			d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
			r.must(err)
			now := d.WorkflowExecutionInfo.Execution.RunId
			moved := now != at
			at = now
			return moved
		})
	}
	over.Store(true)
	wg.Wait()
	close(failures)
	for err := range failures {
		r.Error(err)
	}
	r.signal(run.GetID(), "stop", nil)
	got := result[relay](r, r.client.GetWorkflow(r.ctx, run.GetID(), ""))
	var noted []string
	for i := range senders {
		from := fmt.Sprint("sender ", i)
		equal(r, "signals of "+from, got.Signals[from], upTo(signals[i]))
		for n := range updates[i] {
			noted = append(noted, fmt.Sprint(from, "/", n))
		}
	}
	slices.Sort(noted)
	slices.Sort(got.Updates)
	equal(r, "updates", got.Updates, noted)
}

// insist calls the update "note" until it has an outcome. The run may say that it continues as new, and the server may say that
// the run was not ready, when it had to fail the workflow task that carried the update. Neither took the update, so that its ID
// is free.
func (r *rig) insist(id, what string) error {
	for {
		var out string
		h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{
			WorkflowID: id, UpdateID: what, UpdateName: "note", Args: []any{what}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = h.Get(r.ctx, &out)
		}
		var notReady *serviceerror.WorkflowNotReady
		var app *temporal.ApplicationError
		if errors.As(err, &notReady) || errors.As(err, &app) && app.Type() == "Continuing" {
			continue
		}
		if err != nil || out != what {
			return fmt.Errorf("update %s: %q, %w", what, out, err)
		}
		return nil
	}
}
