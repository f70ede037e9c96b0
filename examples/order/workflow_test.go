package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflowtest"
)

var (
	teapots = Request{Customer: "Ada", Item: "teapot", Count: 2, Cents: 84_00}
	clerk   = Decision{By: "Bob", Role: "clerk"}
	no      = Decision{By: "Bob", Role: "clerk", Reason: "owes us money"}
)

// given starts a worker with the activities, which are a *Shop or something around one, and an order.
func given(t *testing.T, env *workflowtest.Env, activities any, r Request) *client.Handle[*Order, Status] {
	t.Helper()
	env.Worker(queue, func(w *worker.Worker) {
		worker.Workflow[*Order](w)
		w.Activity(activities)
	})
	h, err := client.Start(env.Ctx, env.Client, (*Order).Run, r, client.StartOptions{ID: "order", TaskQueue: queue})
	if err != nil {
		t.Fatal(err)
	}
	env.Idle()
	return h
}

func did(t *testing.T, s *Shop, want ...string) {
	t.Helper()
	if got := s.Log(); !slices.Equal(got, want) {
		t.Errorf("the shop has %q, want %q", got, want)
	}
}

func state(t *testing.T, env *workflowtest.Env, h *client.Handle[*Order, Status], want State) {
	t.Helper()
	if got, err := client.Query(env.Ctx, h, (*Order).Status); err != nil || got.State != want {
		t.Errorf("the order is %+v, %v; want %s", got, err, want)
	}
}

// refused checks that an update has failed, and why.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	var failed *client.UpdateFailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a refusal that says %q", err, want)
	}
}

func TestApprovedOrderIsShipped(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 3)
		h := given(t, env, shop, teapots)
		state(t, env, h, Waiting)
		time.Sleep(ApprovalTimeout - time.Minute) // simulated
		payment, err := client.Update(env.Ctx, h, (*Order).Approve, clerk)
		if err != nil || payment != "payment of order" {
			t.Errorf("approval: %q, %v", payment, err)
		}
		end, err := h.Result(env.Ctx)
		if err != nil || end.State != Shipped || end.By != "Bob" || end.Parcel != "parcel of order" {
			t.Errorf("result: %+v, %v", end, err)
		}
		did(t, shop, "reserved 2", "charged 84.00", "shipped")
	})
}

func TestApprovalsAreValidated(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, NewShop("teapot", 3), Request{Customer: "Ada", Item: "teapot", Count: 1, Cents: 100_01})
		for want, d := range map[string]Decision{
			"may approve 100.00, not 100.01": clerk,
			"not a role that decides":        {By: "Eve", Role: "customer"},
		} {
			_, err := client.Update(env.Ctx, h, (*Order).Approve, d)
			refused(t, err, want)
		}
		_, err := client.Update(env.Ctx, h, (*Order).Reject, clerk)
		refused(t, err, "needs a reason")
		state(t, env, h, Waiting)
		for e, err := range h.History(env.Ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if e.GetWorkflowExecutionUpdateAcceptedEventAttributes() != nil {
				t.Error("a refused update is in the history")
			}
		}
	})
}

// slow takes a while to charge: time stands still for the test until it waits for that. Activities are named after methods, so
// this has all of the shop's, and one of its own.
type slow struct{ *Shop }

func (s slow) Charge(ctx context.Context, r Request) (string, error) {
	select {
	case <-time.After(5 * time.Second): // simulated
		return s.Shop.Charge(ctx, r)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func TestSecondDecisionIsRefused(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, &slow{NewShop("teapot", 3)}, teapots)
		first, err := client.StartUpdate(env.Ctx, h, (*Order).Approve, clerk, client.UpdateOptions{WaitFor: client.Accepted})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Update(env.Ctx, h, (*Order).Approve, Decision{By: "Grace", Role: "manager"})
		refused(t, err, "Bob has decided")
		_, err = client.Update(env.Ctx, h, (*Order).Reject, no)
		refused(t, err, "Bob has decided")
		if payment, err := first.Result(env.Ctx); err != nil || payment == "" {
			t.Errorf("first approval: %q, %v", payment, err)
		}
		if _, err := h.Result(env.Ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestRejectedOrderGoesBackToTheShelf(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 2)
		h := given(t, env, shop, teapots)
		if s, err := client.Update(env.Ctx, h, (*Order).Reject, no); err != nil || s.State != Rejected {
			t.Errorf("rejection: %+v, %v", s, err)
		}
		if end, err := h.Result(env.Ctx); err != nil || end.Reason != no.Reason {
			t.Errorf("result: %+v, %v", end, err)
		}
		did(t, shop, "reserved 2", "released 2")
	})
}

func TestOrderNobodyDecidesOnIsRejected(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop, begun := NewShop("teapot", 2), time.Now()
		h := given(t, env, shop, teapots)
		end, err := h.Result(env.Ctx)
		if err != nil || end.State != Rejected || end.Reason != "no decision within 48 hours" {
			t.Errorf("result: %+v, %v", end, err)
		}
		if d := time.Since(begun); d < ApprovalTimeout || d > ApprovalTimeout+time.Minute {
			t.Errorf("it took %s", d)
		}
		did(t, shop, "reserved 2", "released 2")
	})
}

func TestOrderWithoutStockFails(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 1)
		h := given(t, env, shop, teapots)
		if _, err := h.Result(env.Ctx); !failure.IsApplication(err, "OutOfStock") {
			t.Errorf("result: %v", err)
		}
		did(t, shop)
	})
}

// broke has taken the money when the bank says no.
type broke struct{ *Shop }

func (s broke) Charge(ctx context.Context, r Request) (string, error) {
	if _, err := s.Shop.Charge(ctx, r); err != nil {
		return "", err
	}
	return "", failure.NonRetryable("the card is declined", "Declined", nil)
}

func TestDeclinedCardFailsTheApprovalAndTheOrder(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 2)
		h := given(t, env, &broke{shop}, teapots)
		_, err := client.Update(env.Ctx, h, (*Order).Approve, clerk)
		refused(t, err, "the card is declined")
		if _, err := h.Result(env.Ctx); !failure.IsApplication(err, "Declined") {
			t.Errorf("result: %v", err)
		}
		did(t, shop, "reserved 2", "charged 84.00", "refunded 84.00", "released 2")
	})
}

// stranded cannot ship, for now or for good.
type stranded struct {
	*Shop
	forGood  bool
	attempts *atomic.Int64
}

func (s stranded) Ship(ctx context.Context, r Request) (string, error) {
	if n := s.attempts.Add(1); s.forGood || n < 5 {
		return "", failure.NewApplicationError("the van is broken", "Van", failure.ApplicationOptions{NonRetryable: s.forGood})
	}
	return s.Shop.Ship(ctx, r)
}

func TestShippingIsRetried(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		attempts := new(atomic.Int64)
		h := given(t, env, &stranded{NewShop("teapot", 2), false, attempts}, teapots)
		if _, err := client.Update(env.Ctx, h, (*Order).Approve, clerk); err != nil {
			t.Error(err)
		}
		if end, err := h.Result(env.Ctx); err != nil || end.State != Shipped || attempts.Load() != 5 {
			t.Errorf("result: %+v, %v after %d attempts", end, err, attempts.Load())
		}
	})
}

func TestOrderThatCannotBeShippedIsRefunded(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 2)
		h := given(t, env, &stranded{shop, true, new(atomic.Int64)}, teapots)
		// The money did come; what happens afterwards is not the approval's business.
		if _, err := client.Update(env.Ctx, h, (*Order).Approve, clerk); err != nil {
			t.Error(err)
		}
		if _, err := h.Result(env.Ctx); !failure.IsApplication(err, "Van") {
			t.Errorf("result: %v", err)
		}
		did(t, shop, "reserved 2", "charged 84.00", "refunded 84.00", "released 2")
	})
}

func TestCustomerCancels(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 2)
		h := given(t, env, shop, teapots)
		if err := h.Cancel(env.Ctx, "found a nicer one"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
		state(t, env, h, Canceled)
		did(t, shop, "reserved 2", "released 2")
	})
}

func TestCancellationReachesAnApproval(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 2)
		h := given(t, env, &slow{shop}, teapots)
		u, err := client.StartUpdate(env.Ctx, h, (*Order).Approve, clerk, client.UpdateOptions{WaitFor: client.Accepted})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Cancel(env.Ctx, "found a nicer one"); err != nil {
			t.Fatal(err)
		}
		_, err = u.Result(env.Ctx)
		refused(t, err, "canceled: found a nicer one")
		if _, err := h.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
		did(t, shop, "reserved 2", "released 2")
	})
}

func TestOrderGoesOnWithAnotherWorker(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		shop := NewShop("teapot", 2)
		register := func(w *worker.Worker) {
			worker.Workflow[*Order](w)
			w.Activity(shop)
		}
		first := env.Worker(queue, register)
		h, err := client.Start(env.Ctx, env.Client, (*Order).Run, teapots, client.StartOptions{ID: "order", TaskQueue: queue})
		if err != nil {
			t.Fatal(err)
		}
		env.Idle()
		first.Stop() // what the run knew is gone; the next worker gets it from the history
		env.Worker(queue, register)
		state(t, env, h, Waiting)
		if _, err := client.Update(env.Ctx, h, (*Order).Approve, clerk); err != nil {
			t.Error(err)
		}
		if end, err := h.Result(env.Ctx); err != nil || end.State != Shipped {
			t.Errorf("result: %+v, %v", end, err)
		}
		did(t, shop, "reserved 2", "charged 84.00", "shipped")
	})
}
