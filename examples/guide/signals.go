// Package guide holds the Go code that docs/guide shows. Its tests run all of it.
package guide

import (
	"context"
	"fmt"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/workflow"
)

// Item is what goes into a basket. More fields can come later.
type Item struct {
	Name  string
	Count int
}

// Basket is a shopping basket that waits until its owner pays.
type Basket struct {
	lines []string
	paid  bool
}

// Run is the main method.
func (b *Basket) Run(ctx workflow.Context, customer string) ([]string, error) {
	if err := workflow.Await(ctx, func() bool { return b.paid }); err != nil {
		return nil, err
	}
	if _, err := workflow.Drain(ctx); err != nil { // what is still being wrapped belongs to the result
		return nil, err
	}
	return append([]string{"for " + customer}, b.lines...), nil
}

// Add puts an item in.
func (b *Basket) Add(_ workflow.Context, item Item) {
	b.lines = append(b.lines, fmt.Sprintf("%d %s", item.Count, item.Name))
}

// Pay ends the shopping.
func (b *Basket) Pay(workflow.Context) { b.paid = true }

// Swap takes two arguments.
func (b *Basket) Swap(_ workflow.Context, from, to int) {
	b.lines[from], b.lines[to] = b.lines[to], b.lines[from]
}

// Wrap waits for an activity before it changes the basket.
func (b *Basket) Wrap(ctx workflow.Context, item Item) {
	options := workflow.ActivityOptions{StartToClose: 10 * time.Second}
	line, err := workflow.Activity(ctx, WrapItem, item, options).Get()
	if err != nil {
		line = "unwrapped " + item.Name
	}
	b.lines = append(b.lines, line)
}

// WrapItem is an activity.
func WrapItem(_ context.Context, item Item) (string, error) {
	return "wrapped " + item.Name, nil
}

// Voucher has a name of its own on the wire.
func (b *Basket) Voucher(_ workflow.Context, code string) {
	b.lines = append(b.lines, "voucher "+code)
}

var _ = workflow.Define[*Basket](
	workflow.Rename((*Basket).Voucher, "apply-voucher"),
	workflow.Describe((*Basket).Voucher, "Takes something off the price."),
)

// Shop starts a basket and sends it signals.
func Shop(ctx context.Context, c *client.Client, queue string) ([]string, error) {
	h, err := client.Start(ctx, c, (*Basket).Run, "Ada", client.StartOptions{ID: "basket-ada", TaskQueue: queue})
	if err != nil {
		return nil, err
	}
	if err := client.Signal(ctx, h, (*Basket).Add, Item{Name: "tea", Count: 2}); err != nil {
		return nil, err
	}
	if err := client.Signal2(ctx, h, (*Basket).Swap, 0, 0); err != nil {
		return nil, err
	}
	if err := client.Signal0(ctx, h, (*Basket).Pay); err != nil {
		return nil, err
	}
	return h.Result(ctx)
}

// Handles sends through a handle that knows the type, one of a single run, and one that knows nothing.
func Handles(ctx context.Context, c *client.Client, id, runID string) error {
	typed := client.HandleOf[*Basket, []string](c, id, "")
	if err := client.Signal(ctx, typed, (*Basket).Add, Item{Name: "milk", Count: 1}); err != nil {
		return err
	}

	oneRun := client.HandleOf[*Basket, []string](c, id, runID)
	if err := client.Signal(ctx, oneRun, (*Basket).Voucher, "SPRING"); err != nil {
		return err
	}

	untyped := c.Handle(id, "")
	return untyped.SignalByName(ctx, "Add", map[string]any{"Name": "sugar", "Count": 3})
}

// Assistant is a workflow that fills the basket of another one.
type Assistant struct{}

// Run sends one signal by its method and one by its name.
func (a *Assistant) Run(ctx workflow.Context, basketID string) error {
	basket := workflow.External[*Basket]{WorkflowID: basketID}
	if err := workflow.Signal(ctx, basket, (*Basket).Add, Item{Name: "jam", Count: 1}).Wait(); err != nil {
		return err
	}

	unknown := workflow.External[workflow.Any]{WorkflowID: basketID}
	_, err := unknown.SignalByName(ctx, "apply-voucher", "STAFF").Get()
	return err
}

// Janitor is a workflow that cancels another one.
type Janitor struct{}

// Run asks the basket to cancel.
func (j *Janitor) Run(ctx workflow.Context, basketID string) error {
	basket := workflow.External[*Basket]{WorkflowID: basketID}
	_, err := basket.Cancel(ctx, "left behind").Get()
	return err
}

// AddOrStart fills a basket, which need not be there yet.
func AddOrStart(ctx context.Context, c *client.Client, queue string, item Item) (*client.Handle[*Basket, []string], error) {
	op := client.WithStart((*Basket).Run, "Grace", client.StartOptions{ID: "basket-grace", TaskQueue: queue})
	return client.SignalWithStart(ctx, c, op, (*Basket).Add, item)
}
