package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/perdure/perdure/workflow"
)

// Idle is how long a cart is kept without anybody touching it.
const Idle = 24 * time.Hour

// Item is what is put into a cart.
type Item struct {
	Name         string
	Count, Cents int // Cents are those of one
}

// State is what one run hands to the next: all that a cart is. The first run gets one with a customer only.
type State struct {
	Customer string
	Items    []Item
	Touched  time.Time // zero in a new cart
}

// Totals are what adding an item answers.
type Totals struct{ Items, Cents int }

// Receipt is the end of a cart, paid or expired.
type Receipt struct {
	Customer string
	Totals   Totals
	Payment  string // empty: the cart has expired
}

// Cart is the workflow.
type Cart struct {
	state   State
	paying  bool
	payment string
}

// Init runs before any handler. The update that starts a cart comes before Run has its first turn, and finds the state there.
func (c *Cart) Init(q workflow.ReadContext, s State) error {
	if s.Touched.IsZero() {
		s.Touched = workflow.Now(q)
	}
	c.state = s
	return nil
}

// Run keeps the cart until it is paid, or until nobody has touched it for a while.
func (c *Cart) Run(ctx workflow.Context, _ State) (Receipt, error) {
	// A long history makes each rebuild of this state slow. The server says when; then a new run, under the same ID, begins
	// with what this one hands over. Not during a payment, which belongs to this run.
	long := func() bool { return workflow.ShouldContinueAsNew(ctx) && !c.paying }
	for {
		// One timer for as long as the cart lasts if nobody touches it. A new one for each touch would do, too, but would add
		// two events to the history each time.
		left := c.state.Touched.Add(Idle).Sub(workflow.Now(ctx))
		if left <= 0 {
			return c.receipt(), nil
		}
		_, err := workflow.AwaitFor(ctx, left, func() bool { return c.payment != "" || long() })
		switch {
		case err != nil:
			return Receipt{}, err
		case c.payment != "":
			return c.receipt(), nil
		case long():
			drained, err := workflow.Drain(ctx)
			if err != nil {
				return Receipt{}, err
			}
			return Receipt{}, workflow.ContinueAsNew(drained, (*Cart).Run, c.state)
		}
	}
}

// AddItem is an update, made with the start: the first one makes the cart.
func (c *Cart) AddItem(ctx workflow.Context, item Item) (Totals, error) {
	c.state.Touched = workflow.Now(ctx)
	at := slices.IndexFunc(c.state.Items, func(i Item) bool { return i.Name == item.Name && i.Cents == item.Cents })
	if at < 0 {
		c.state.Items = append(c.state.Items, item)
	} else {
		c.state.Items[at].Count += item.Count
	}
	return c.totals(), nil
}

// ValidateAddItem refuses what would make no sense, and what comes too late.
func (c *Cart) ValidateAddItem(_ workflow.ReadContext, item Item) error {
	if item.Name == "" || item.Count <= 0 || item.Cents < 0 {
		return errors.New("an item needs a name, a count and a price")
	}
	return c.open()
}

// Checkout is an update that takes its time. If it fails the cart stays as it is, and can be paid in another way.
func (c *Cart) Checkout(ctx workflow.Context, card string) (Receipt, error) {
	c.paying, c.state.Touched = true, workflow.Now(ctx)
	payment, err := workflow.Activity(ctx, Pay, Payment{card, c.totals().Cents}, workflow.ActivityOptions{
		StartToClose: 10 * time.Second, ScheduleToClose: 5 * time.Minute,
	}).Get()
	c.paying = false
	if err != nil {
		return Receipt{}, err
	}
	c.payment = payment
	return c.receipt(), nil
}

// ValidateCheckout lets only one checkout in, and none of nothing.
func (c *Cart) ValidateCheckout(_ workflow.ReadContext, _ string) error {
	if len(c.state.Items) == 0 {
		return errors.New("the cart is empty")
	}
	return c.open()
}

// Items is a query.
func (c *Cart) Items(workflow.ReadContext) ([]Item, error) { return c.state.Items, nil }

func (c *Cart) open() error {
	switch {
	case c.paying:
		return errors.New("the cart is being paid")
	case c.payment != "":
		return fmt.Errorf("the cart is paid: %s", c.payment)
	}
	return nil
}

func (c *Cart) receipt() Receipt { return Receipt{c.state.Customer, c.totals(), c.payment} }

func (c *Cart) totals() (t Totals) {
	for _, i := range c.state.Items {
		t.Items += i.Count
		t.Cents += i.Count * i.Cents
	}
	return t
}
