package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
	"github.com/perdure/perdure/workflowtest"
)

// desk is a bank with a lock on its only account.
type desk struct {
	*workflowtest.Env
	t    *testing.T
	bank *Bank
	w    *worker.Worker
	lock *client.Handle[*Lock, workflow.None]
}

func given(t *testing.T, env *workflowtest.Env, maxLease time.Duration) *desk {
	t.Helper()
	d := &desk{Env: env, t: t, bank: NewBank()}
	d.hire()
	lock, err := open(env.Ctx, env.Client, "a", maxLease)
	if err != nil {
		t.Fatal(err)
	}
	d.lock = lock
	return d
}

// hire starts a worker.
func (d *desk) hire() {
	d.w = d.Worker(queue, func(w *worker.Worker) {
		worker.Workflow[*Lock](w)
		worker.Workflow[*Booking](w)
		w.Activity(d.bank)
	})
}

// book starts a booking, which stands in line when this returns.
func (d *desk) book(id string, takes time.Duration) *client.Handle[*Booking, int] {
	d.t.Helper()
	h, err := book(d.Ctx, d.Client, id, Transfer{Account: "a", Cents: 1, Takes: takes})
	if err != nil {
		d.t.Fatal(err)
	}
	d.Idle()
	return h
}

func (d *desk) status(holder string, waiting ...string) {
	d.t.Helper()
	s, err := client.Query(d.Ctx, d.lock, (*Lock).Status)
	if err != nil || s.Holder != holder || !slices.Equal(s.Waiting, waiting) {
		d.t.Errorf("the lock is %+v, %v; want %s to hold it and %v to wait", s, err, holder, waiting)
	}
}

func (d *desk) balance(want int) {
	d.t.Helper()
	if got, _ := d.bank.Balance(d.Ctx, "a"); got != want {
		d.t.Errorf("the balance is %d, want %d", got, want)
	}
}

// took checks how much simulated time has passed.
func (d *desk) took(begun time.Time, want time.Duration) {
	d.t.Helper()
	if got := time.Since(begun); got < want || got > want+10*time.Second {
		d.t.Errorf("it took %s, want %s", got, want)
	}
}

func (d *desk) result(h *client.Handle[*Booking, int], want int) {
	d.t.Helper()
	if got, err := h.Result(d.Ctx); err != nil || got != want {
		d.t.Errorf("%s: %d, %v; want %d", h.ID(), got, err, want)
	}
}

func TestOneAtATimeInOrder(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d, begun := given(t, env, time.Hour), time.Now()
		var all []*client.Handle[*Booking, int]
		for i := range 10 {
			all = append(all, d.book(fmt.Sprint("b", i), time.Minute))
		}
		d.status("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9")
		for i, h := range all {
			d.result(h, i+1)
		}
		d.took(begun, 10*time.Minute)
		d.Idle()
		d.status("")
	})
}

func TestBorrowersThatComeAtOnceLoseNothing(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d := given(t, env, time.Hour)
		var all []*client.Handle[*Booking, int]
		for i := range 20 {
			h, err := book(d.Ctx, d.Client, fmt.Sprint("b", i), Transfer{Account: "a", Cents: 1, Takes: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, h)
		}
		var balances []int
		for _, h := range all {
			n, err := h.Result(d.Ctx)
			if err != nil {
				t.Fatal(err)
			}
			balances = append(balances, n)
		}
		slices.Sort(balances)
		for i, n := range balances {
			if n != i+1 {
				t.Fatalf("balances %v", balances)
			}
		}
	})
}

func TestDeadHolderKeepsTheLockForItsLease(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d, begun := given(t, env, 10*time.Minute), time.Now()
		dead, next := d.book("dead", time.Hour), d.book("next", time.Second)
		if err := dead.Terminate(d.Ctx, "a fuse has blown"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute) // simulated, as all of them
		d.status("dead", "next")
		d.result(next, 1)
		d.took(begun, 10*time.Minute)
	})
}

func TestDeadWaiterIsPassedOver(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d, begun := given(t, env, 10*time.Minute), time.Now()
		first, dead, last := d.book("first", time.Minute), d.book("dead", time.Hour), d.book("last", time.Minute)
		if err := dead.Terminate(d.Ctx, "a fuse has blown"); err != nil {
			t.Fatal(err)
		}
		d.result(first, 1)
		d.result(last, 2)
		d.took(begun, 2*time.Minute)
	})
}

func TestWhoOversleepsIsRefused(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d := given(t, env, time.Minute)
		sleepy, next := d.book("sleepy", 2*time.Minute), d.book("next", time.Second)
		d.result(next, 1)
		if _, err := sleepy.Result(d.Ctx); !failure.IsApplication(err, "LeaseOver") {
			t.Errorf("sleepy: %v", err)
		}
		d.balance(1)
	})
}

func TestCanceledWaiterLeavesTheLine(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d := given(t, env, time.Hour)
		first, second := d.book("first", time.Minute), d.book("second", time.Minute)
		if err := second.Cancel(d.Ctx, "no hurry"); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Result(d.Ctx); !failure.IsCanceled(err) {
			t.Errorf("second: %v", err)
		}
		d.status("first")
		d.result(first, 1)
	})
}

func TestCanceledHolderGivesTheLockBack(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d, begun := given(t, env, time.Hour), time.Now()
		first, second := d.book("first", 30*time.Minute), d.book("second", time.Minute)
		if err := first.Cancel(d.Ctx, "no hurry"); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Result(d.Ctx); !failure.IsCanceled(err) {
			t.Errorf("first: %v", err)
		}
		d.result(second, 1)
		d.took(begun, time.Minute)
	})
}

func TestBookingWithoutALockFails(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d := given(t, env, time.Hour)
		h, err := book(d.Ctx, d.Client, "b", Transfer{Account: "other", Cents: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Result(d.Ctx)
		var failed *client.WorkflowFailedError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "lock lock-other: ") {
			t.Errorf("result: %v", err)
		}
	})
}

// When a worker stops it drops its runs, and what they deferred is executed. A deferred release must not reach the lock then.
func TestHolderKeepsTheLockWhenItsWorkerStops(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d, begun := given(t, env, time.Hour), time.Now()
		first, second := d.book("first", 30*time.Minute), d.book("second", time.Minute)
		time.Sleep(10 * time.Minute)
		d.w.Stop()
		d.hire()
		d.status("first", "second")
		d.result(first, 1)
		d.result(second, 2)
		d.took(begun, 31*time.Minute)
	})
}

func TestClosedLockServesWhoStandsInLine(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d := given(t, env, time.Hour)
		first, second := d.book("first", time.Minute), d.book("second", time.Minute)
		watch, err := client.StartUpdate(d.Ctx, d.lock, (*Lock).Watch, 99, client.UpdateOptions{WaitFor: client.Accepted})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Signal0(d.Ctx, d.lock, (*Lock).Close); err != nil {
			t.Fatal(err)
		}
		d.result(first, 1)
		d.result(second, 2)
		if _, err := d.lock.Result(d.Ctx); err != nil {
			t.Error(err)
		}
		if _, err := watch.Result(d.Ctx); err == nil {
			t.Error("a watcher has seen what has not happened")
		}
	})
}

func TestLineSurvivesContinueAsNew(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		d := given(t, env, 10*time.Hour)
		first, second, third := d.book("first", time.Hour), d.book("second", time.Hour), d.book("third", time.Hour)
		for range 1500 { // a long history
			if err := client.Signal(d.Ctx, d.lock, (*Lock).Release, Ticket{}); err != nil {
				t.Fatal(err)
			}
			d.Idle()
		}
		d.status("first", "second", "third") // not while somebody holds the lock
		d.result(first, 1)
		d.Idle()
		d.status("second", "third")
		s, err := d.Client.Handle(d.lock.ID(), "").Describe(d.Ctx)
		if err != nil || s.WorkflowExecutionInfo.Execution.RunId == d.lock.FirstRunID() {
			t.Errorf("the lock has not continued as new: %v", err)
		}
		d.result(second, 2)
		d.result(third, 3)
	})
}
