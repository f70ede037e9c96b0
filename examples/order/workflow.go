package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/perdure/perdure/workflow"
)

// ApprovalTimeout is how long an order waits for somebody to decide.
const ApprovalTimeout = 48 * time.Hour

// Request is what a customer wants.
type Request struct {
	Customer, Item string
	Count, Cents   int
}

// State is where an order stands.
type State string

// The states, in the order in which an order goes through them; the last four are ends.
const (
	Reserving State = "reserving"
	Waiting   State = "waiting for approval"
	Charging  State = "charging"
	Shipping  State = "shipping"
	Shipped   State = "shipped"
	Rejected  State = "rejected"
	Canceled  State = "canceled"
	Failed    State = "failed"
)

// Status is what a query and the result of the run say.
type Status struct {
	State           State
	By, Reason      string // who decided, and why not
	Payment, Parcel string // once there are any
}

// Decision is by whom, in which role.
type Decision struct{ By, Role, Reason string }

// limits are the amounts, in cents, up to which a role may approve.
var limits = map[string]int{"clerk": 100_00, "manager": 5_000_00}

// Order is the workflow: the fields are the state of one run.
type Order struct {
	request Request
	status  Status
	decided bool
}

// Init runs before any handler, so that a validator knows the amount even when its update comes with the start.
func (o *Order) Init(_ workflow.ReadContext, r Request) error {
	if r.Count <= 0 || r.Cents <= 0 {
		return errors.New("an order needs a count and an amount")
	}
	o.request, o.status.State = r, Reserving
	return nil
}

// Run takes the order from the shelf to the parcel, or leaves everything as it was before. A rejection is an answer, not an
// error: the run completes with it.
func (o *Order) Run(ctx workflow.Context, _ Request) (Status, error) {
	var undo compensations
	err := o.fulfil(ctx, &undo)
	switch {
	case workflow.IsCanceled(ctx) && err != nil:
		o.status.State, o.status.Reason = Canceled, workflow.CancelReason(ctx)
	case err != nil:
		o.status.State, o.status.Reason = Failed, err.Error()
	}
	if o.status.State != Shipped {
		undo.run(ctx)
	}
	return o.status, err
}

// shop names the activities. It stays nil: the worker has the one that is called.
var shop *Shop

// quick bounds an attempt, not the attempts: those are repeated until one comes through or fails for good.
var quick = workflow.ActivityOptions{StartToClose: 10 * time.Second}

// fulfil registers what undoes a step before it takes the step: an activity that failed, or that was cancelled, may have done
// its work nonetheless. That is why each compensation has to be harmless when there is nothing to undo.
func (o *Order) fulfil(ctx workflow.Context, undo *compensations) error {
	undo.add("release", func(ctx workflow.Context) error {
		_, err := workflow.ActivityVoid(ctx, shop.Release, o.request, quick).Get()
		return err
	})
	if err := workflow.ActivityVoid(ctx, shop.Reserve, o.request, quick).Wait(); err != nil {
		return err
	}

	// A decision may have come while the stock was being reserved; then there is nothing to wait for.
	if !o.decided {
		o.status.State = Waiting
	}
	decided, err := workflow.AwaitFor(ctx, ApprovalTimeout, func() bool { return o.decided })
	if err != nil {
		return err
	}
	if !decided {
		o.decide(Rejected, Decision{By: "nobody", Reason: fmt.Sprintf("no decision within %v hours", ApprovalTimeout.Hours())})
	}
	if o.status.State == Rejected {
		return nil
	}

	undo.add("refund", func(ctx workflow.Context) error {
		_, err := workflow.ActivityVoid(ctx, shop.Refund, o.request, quick).Get()
		return err
	})
	if o.status.Payment, err = workflow.Activity(ctx, shop.Charge, o.request, quick).Get(); err != nil {
		return err
	}

	o.status.State = Shipping
	if o.status.Parcel, err = workflow.Activity(ctx, shop.Ship, o.request, quick).Get(); err != nil {
		return err
	}
	o.status.State = Shipped
	return nil
}

func (o *Order) decide(s State, d Decision) {
	o.decided = true
	o.status.State, o.status.By, o.status.Reason = s, d.By, d.Reason
}

// Status is a query.
func (o *Order) Status(workflow.ReadContext) (Status, error) { return o.status, nil }

// Approve is an update. It answers when the money is there, or fails when it will not come. Run does not end before.
func (o *Order) Approve(ctx workflow.Context, d Decision) (payment string, err error) {
	o.decide(Charging, d)
	if err := workflow.Await(ctx, func() bool { return o.status.State != Charging }); err != nil {
		return "", err
	}
	if o.status.Payment == "" {
		return "", fmt.Errorf("the order is %s: %s", o.status.State, o.status.Reason)
	}
	return o.status.Payment, nil
}

// ValidateApprove refuses what must not even get into the history. It sees the state as it is when the update arrives, so of
// two approvals at the same moment one is refused.
func (o *Order) ValidateApprove(_ workflow.ReadContext, d Decision) error {
	if err := o.undecided(d); err != nil {
		return err
	}
	if total, limit := o.request.Cents, limits[d.Role]; total > limit {
		return fmt.Errorf("%s is a %s, who may approve %s, not %s", d.By, d.Role, money(limit), money(total))
	}
	return nil
}

// Reject is an update that answers at once. What is to be undone is undone afterwards.
func (o *Order) Reject(_ workflow.Context, d Decision) (Status, error) {
	o.decide(Rejected, d)
	return o.status, nil
}

// ValidateReject lets any role reject, but only with a reason.
func (o *Order) ValidateReject(_ workflow.ReadContext, d Decision) error {
	if d.Reason == "" {
		return errors.New("a rejection needs a reason")
	}
	return o.undecided(d)
}

func (o *Order) undecided(d Decision) error {
	switch {
	case o.decided:
		return fmt.Errorf("the order is %s; %s has decided", o.status.State, o.status.By)
	case o.status.State == Failed || o.status.State == Canceled:
		return fmt.Errorf("the order is %s: %s", o.status.State, o.status.Reason)
	case limits[d.Role] == 0:
		return fmt.Errorf("%q is not a role that decides", d.Role)
	}
	return nil
}

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// compensations undo what a run has done.
type compensations []compensation

type compensation struct {
	name string
	undo func(workflow.Context) error
}

func (c *compensations) add(name string, undo func(workflow.Context) error) {
	*c = append(*c, compensation{name, undo})
}

// run goes backwards, and on after an error. It runs out of reach of a cancellation, which may be why it is called at all.
func (c compensations) run(ctx workflow.Context) {
	ctx, done := workflow.WithoutCancel(ctx)
	defer done("everything is undone")
	for i := len(c) - 1; i >= 0; i-- {
		if err := c[i].undo(ctx); err != nil {
			workflow.Logger(ctx).Error("compensation failed", "step", c[i].name, "error", err)
		}
	}
}
