package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflowtest"
)

func carts(w *worker.Worker) {
	worker.Workflow[*Cart](w)
	w.Activity(Pay)
}

// add puts an item into Ada's cart and gives the cart.
func add(t *testing.T, env *workflowtest.Env, item Item) (*client.Handle[*Cart, Receipt], Totals) {
	t.Helper()
	op := opening("ada")
	totals, err := client.UpdateWithStart(env.Ctx, env.Client, op, (*Cart).AddItem, item)
	if err != nil {
		t.Fatal(err)
	}
	h, err := op.Handle(env.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	return h, totals
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	var failed *client.UpdateFailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a refusal that says %q", err, want)
	}
}

var tea = Item{"tea", 1, 4_50}

func TestFirstItemStartsTheCart(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		first, totals := add(t, env, tea)
		if totals != (Totals{1, 4_50}) {
			t.Errorf("first: %+v", totals)
		}
		second, totals := add(t, env, tea)
		if totals != (Totals{2, 9_00}) {
			t.Errorf("second: %+v", totals)
		}
		if first.FirstRunID() != second.FirstRunID() {
			t.Error("the second item has started another cart")
		}
		items, err := client.Query(env.Ctx, second, (*Cart).Items)
		if err != nil || len(items) != 1 || items[0].Count != 2 {
			t.Errorf("items: %v, %v", items, err)
		}
	})
}

func TestCheckoutEndsTheCart(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		h, _ := add(t, env, tea)
		want := Receipt{"ada", Totals{1, 4_50}, "4.50 by card"}
		if r, err := client.Update(env.Ctx, h, (*Cart).Checkout, "card"); err != nil || r != want {
			t.Errorf("checkout: %+v, %v", r, err)
		}
		if r, err := h.Result(env.Ctx); err != nil || r != want {
			t.Errorf("result: %+v, %v", r, err)
		}
		if _, totals := add(t, env, tea); totals.Items != 1 {
			t.Errorf("the next cart begins with %+v", totals)
		}
	})
}

func TestFailedCheckoutLeavesTheCart(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		h, _ := add(t, env, tea)
		_, err := client.Update(env.Ctx, h, (*Cart).Checkout, "stolen")
		refused(t, err, "declined")
		if _, totals := add(t, env, tea); totals.Items != 2 {
			t.Errorf("after that: %+v", totals)
		}
	})
}

func TestCartRefusesWhatMakesNoSense(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		h, err := client.Start(env.Ctx, env.Client, (*Cart).Run, State{Customer: "ada"}, client.StartOptions{ID: "cart-ada", TaskQueue: queue})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Update(env.Ctx, h, (*Cart).AddItem, Item{Name: "tea"})
		refused(t, err, "needs a name, a count and a price")
		_, err = client.Update(env.Ctx, h, (*Cart).Checkout, "card")
		refused(t, err, "empty")
	})
}

func TestCartIsLockedWhileItIsPaid(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		// Nobody runs activities, so the payment does not come before its time is up.
		env.Worker(queue, carts, worker.Options{DisableActivities: true})
		h, _ := add(t, env, tea)
		paying, err := client.StartUpdate(env.Ctx, h, (*Cart).Checkout, "card", client.UpdateOptions{WaitFor: client.Accepted})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Update(env.Ctx, h, (*Cart).AddItem, tea)
		refused(t, err, "being paid")
		_, err = client.Update(env.Ctx, h, (*Cart).Checkout, "another card")
		refused(t, err, "being paid")
		if _, err := paying.Result(env.Ctx); !failure.IsTimeout(err) {
			t.Errorf("checkout: %v", err)
		}
		if _, totals := add(t, env, tea); totals.Items != 2 {
			t.Errorf("after that: %+v", totals)
		}
	})
}

func TestUntouchedCartExpires(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		begun := time.Now()
		h, _ := add(t, env, tea)
		time.Sleep(Idle - time.Hour) // simulated, as all of them
		add(t, env, tea)
		time.Sleep(Idle - time.Hour)
		if _, err := client.Query(env.Ctx, h, (*Cart).Items); err != nil {
			t.Error(err)
		}
		r, err := h.Result(env.Ctx)
		if err != nil || r.Payment != "" || r.Totals.Items != 2 {
			t.Errorf("result: %+v, %v", r, err)
		}
		if d, want := time.Since(begun), 2*Idle-time.Hour; d < want || d > want+time.Minute {
			t.Errorf("it expired after %s, not %s", d, want)
		}
	})
}

func TestCanceledCartIsCanceled(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		h, _ := add(t, env, tea)
		if err := h.Cancel(env.Ctx, "closing time"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
	})
}

// A busy cart goes through several runs, and nobody notices.
func TestLongHistoryContinuesAsNew(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, carts)
		h, _ := add(t, env, tea)
		n, first := 1, h.FirstRunID()
		for run := first; run == first; n++ {
			if n == 3000 {
				t.Fatal("the server does not suggest to continue as new")
			}
			if _, totals := add(t, env, tea); totals.Items != n+1 {
				t.Fatalf("after %d items the totals are %+v", n+1, totals)
			}
			d, err := env.Client.Handle(h.ID(), "").Describe(env.Ctx)
			if err != nil {
				t.Fatal(err)
			}
			run = d.WorkflowExecutionInfo.Execution.RunId
		}
		t.Logf("the second run began after %d items", n)
		if _, err := client.Update(env.Ctx, h, (*Cart).Checkout, "card"); err != nil {
			t.Error(err)
		}
		if r, err := h.Result(env.Ctx); err != nil || r.Totals.Items != n {
			t.Errorf("result: %+v, %v; want %d items", r, err, n)
		}
	})
}
