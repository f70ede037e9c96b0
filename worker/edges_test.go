package worker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// LeavesLocal returns without waiting for its local activity.
type LeavesLocal struct{}

func QuickLocal(context.Context) (int, error) { return 1, nil }

func (*LeavesLocal) Run(ctx workflow.Context) (string, error) {
	workflow.LocalActivity0(ctx, QuickLocal, workflow.LocalActivityOptions{StartToClose: time.Second})
	return "done", nil
}

func TestARunThatDoesNotWaitForALocalActivityCloses(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) {
		worker.Workflow[*LeavesLocal](w)
		w.Activity(QuickLocal)
	})
	h := must[*client.Handle[*LeavesLocal, string]](t)(client.Start0(t.Context(), c, (*LeavesLocal).Run, client.StartOptions{TaskQueue: q}))
	if got, err := h.Result(t.Context()); err != nil || got != "done" {
		t.Errorf("%q %v", got, err)
	}
}

// Init fails and leaves a nil map, a signal comes in the same task.
type BadStart struct{ m map[string]int }

func (r *BadStart) Init(_ workflow.ReadContext, bad bool) error {
	if bad {
		return failure.NonRetryable("bad", "Bad", nil)
	}
	r.m = map[string]int{}
	return nil
}
func (r *BadStart) Run(ctx workflow.Context, _ bool) (int, error) {
	return 0, workflow.Sleep(ctx, time.Hour)
}
func (r *BadStart) Put(_ workflow.Context, k string) { r.m[k]++ }

func TestAFailedInitFailsTheRunThoughASignalCameWithTheStart(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) { worker.Workflow[*BadStart](w) })
	h := must[*client.Handle[*BadStart, int]](t)(client.SignalWithStart(t.Context(), c, client.WithStart((*BadStart).Run, true, client.StartOptions{TaskQueue: q, ID: q}), (*BadStart).Put, "x"))
	var failed *client.WorkflowFailedError
	if _, err := h.Result(t.Context()); !errors.As(err, &failed) {
		t.Errorf("%v", err)
	}
}

// Two handlers that drain.
type DrainsTwice struct{ n int }

func (r *DrainsTwice) Run(ctx workflow.Context, n int) (int, error) {
	r.n = n
	if n >= 2 {
		return n, nil
	}
	workflow.SetSignalHandler(ctx, "next", func(ctx workflow.Context, _ string, _ workflow.Args) error {
		r.n++
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return err
		}
		return workflow.ContinueAsNew(drained, (*DrainsTwice).Run, r.n)
	})
	return 0, workflow.Await(ctx, func() bool { return false })
}

func TestTwoHandlersThatContinueAsNewDoNotWaitForEachOther(t *testing.T) {
	c, q := server(t), uuid.NewString()
	h := must[*client.Handle[*DrainsTwice, int]](t)(client.Start(t.Context(), c, (*DrainsTwice).Run, 0, client.StartOptions{TaskQueue: q}))
	ok(t, h.SignalByName(t.Context(), "next"))
	ok(t, h.SignalByName(t.Context(), "next"))
	start(t, c, q, worker.Options{}, func(w *worker.Worker) { worker.Workflow[*DrainsTwice](w) })
	if n, err := h.Result(t.Context()); err != nil || n != 2 {
		t.Errorf("%d %v", n, err)
	}
}

// A signal to a child at once.
type ToldChild struct{ got string }

func (r *ToldChild) Run(ctx workflow.Context) (string, error) {
	err := workflow.Await(ctx, func() bool { return r.got != "" })
	return r.got, err
}
func (r *ToldChild) Tell(_ workflow.Context, s string) { r.got = s }

type TellsAtOnce struct{}

func (*TellsAtOnce) Run(ctx workflow.Context) (string, error) {
	k := workflow.Child0(ctx, (*ToldChild).Run, workflow.ChildOptions{})
	if err := workflow.Signal(ctx, k, (*ToldChild).Tell, "hello").Wait(); err != nil {
		return "", fmt.Errorf("signal: %w", err)
	}
	return k.Result().Get()
}

func TestAChildCanBeSignalledAtOnce(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) {
		worker.Workflow[*ToldChild](w)
		worker.Workflow[*TellsAtOnce](w)
	})
	for range 5 {
		h := must[*client.Handle[*TellsAtOnce, string]](t)(client.Start0(t.Context(), c, (*TellsAtOnce).Run, client.StartOptions{TaskQueue: q}))
		if s, err := h.Result(t.Context()); err != nil || s != "hello" {
			t.Fatalf("%q %v", s, err)
		}
	}
}

// An update that comes with the start, whose handler Run sets before it continues as new.
type SetsAndGoes struct{}

func (r *SetsAndGoes) Run(ctx workflow.Context, n int) (int, error) {
	total := n
	workflow.SetUpdateHandler(ctx, "add", func(workflow.Context, string, workflow.Args) (any, error) { total++; return total, nil }, nil)
	if n >= 10 {
		return total, nil
	}
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return 0, err
	}
	return 0, workflow.ContinueAsNew(drained, (*SetsAndGoes).Run, total+10)
}

func TestAnUpdateOfARuntimeHandlerIsNotLostByContinueAsNew(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) { worker.Workflow[*SetsAndGoes](w) })
	op := client.WithStart((*SetsAndGoes).Run, 0, client.StartOptions{TaskQueue: q, ID: q, IDConflict: client.UseExisting})
	v, err := client.UpdateWithStartByName(t.Context(), c, op, "add")
	ok(t, err)
	var n int
	ok(t, v.Get(&n))
	h := must[*client.Handle[*SetsAndGoes, int]](t)(op.Handle(t.Context()))
	if got, err := h.Result(t.Context()); err != nil || got != 11 {
		t.Errorf("update answered %d, result %d %v", n, got, err)
	}
}

// Interrupted has a local activity that outlasts its worker.
type Interrupted struct{}

func (*Interrupted) Run(ctx workflow.Context) (int, error) {
	return workflow.LocalActivity0(ctx, Outlast, workflow.LocalActivityOptions{StartToClose: time.Minute, Retry: &workflow.RetryPolicy{MaximumAttempts: 1}}).Get()
}

var outlasting = make(chan int, 10)

// Outlast waits for its worker's end the first time.
func Outlast(ctx context.Context) (int, error) {
	n := len(outlasting) + 1
	outlasting <- n
	if n == 1 {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return n, nil
}

// A worker that stops hands the task on: it renews it no more, and does not take its own end for the activity's.
func TestALocalActivityIsBegunAnewWhenItsWorkerStops(t *testing.T) {
	outlasting = make(chan int, 10)
	c, q := server(t), uuid.NewString()
	register := func(w *worker.Worker) {
		worker.Workflow[*Interrupted](w)
		w.Activity(Outlast)
	}
	w := worker.New(c, q, worker.Options{})
	register(w)
	ok(t, w.Start())
	h := must[*client.Handle[*Interrupted, int]](t)(client.Start0(t.Context(), c, (*Interrupted).Run, client.StartOptions{TaskQueue: q}))
	for len(outlasting) == 0 {
		runtime.Gosched()
	}
	w.Stop()
	start(t, c, q, worker.Options{}, register)
	if n := must[int](t)(h.Result(t.Context())); n != 2 {
		t.Errorf("got %d", n)
	}
}

// Deaf has a local activity that does not listen to its context.
type Deaf struct{}

func (*Deaf) Run(ctx workflow.Context) (bool, error) {
	_, err := workflow.LocalActivity0(ctx, Unhearing, workflow.LocalActivityOptions{StartToClose: 20 * time.Millisecond, Retry: &workflow.RetryPolicy{MaximumAttempts: 1}}).Get()
	return failure.IsTimeout(err), nil
}

var unheard = make(chan struct{})

// Unhearing waits for something else.
func Unhearing(context.Context) (int, error) { <-unheard; return 1, nil }

func TestALocalActivityTimesOutWhateverItDoes(t *testing.T) {
	unheard = make(chan struct{})
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) {
		worker.Workflow[*Deaf](w)
		w.Activity(Unhearing)
	})
	t.Cleanup(func() { close(unheard) }) // before the worker stops, which waits for it
	h := must[*client.Handle[*Deaf, bool]](t)(client.Start0(t.Context(), c, (*Deaf).Run, client.StartOptions{TaskQueue: q}))
	if !must[bool](t)(h.Result(t.Context())) {
		t.Error("no timeout")
	}
}
