// Command cart is a shopping cart that the first item starts: go run ./examples/cart
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
)

const queue = "carts"

func main() {
	address := flag.String("address", os.Getenv("TEMPORAL_ADDRESS"), "`host:port` of a server; empty: one inside this program")
	flag.Parse()
	if err := run(context.Background(), *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a worker and goes shopping.
func run(ctx context.Context, address string, out io.Writer) error {
	c, closing, err := embedded.Connect(ctx, address, embedded.Options{})
	if err != nil {
		return err
	}
	defer closing()
	w := worker.New(c, queue, worker.Options{})
	worker.Workflow[*Cart](w)
	w.Activity(Pay)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	return shop(ctx, c, out)
}

// opening is the start half of what happens to Ada's cart: a new one, or the one that is there.
func opening(customer string) *client.StartOperation[*Cart, Receipt] {
	return client.WithStart((*Cart).Run, State{Customer: customer}, client.StartOptions{
		ID: "cart-" + customer, TaskQueue: queue, IDConflict: client.UseExisting,
	})
}

func shop(ctx context.Context, c *client.Client, out io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	var cart *client.Handle[*Cart, Receipt]
	for _, item := range []Item{{"tea", 2, 4_50}, {"pot", 1, 42_00}, {"tea", 1, 4_50}} {
		op := opening("ada")
		// Who calls need not know whether there is a cart.
		totals, err := client.UpdateWithStart(ctx, c, op, (*Cart).AddItem, item)
		if err != nil {
			return err
		}
		say("%d %s: %d items, %d cents", item.Count, item.Name, totals.Items, totals.Cents)
		if cart, err = op.Handle(ctx); err != nil {
			return err
		}
	}

	items, err := client.Query(ctx, cart, (*Cart).Items)
	if err != nil {
		return err
	}
	say("in the cart: %v", items)

	_, err = client.Update(ctx, cart, (*Cart).Checkout, "stolen")
	var failed *client.UpdateFailedError
	if !errors.As(err, &failed) {
		return fmt.Errorf("paid with a stolen card: %v", err)
	}
	say("checkout failed, the cart is still there")

	receipt, err := client.Update(ctx, cart, (*Cart).Checkout, "ada's card")
	if err != nil {
		return err
	}
	say("paid %s", receipt.Payment)
	end, err := cart.Result(ctx)
	if err != nil {
		return err
	}
	say("the cart of %s ended with %d items", end.Customer, end.Totals.Items)

	// The ID is free again, so the next item makes a new cart.
	op := opening("ada")
	totals, err := client.UpdateWithStart(ctx, c, op, (*Cart).AddItem, Item{"cup", 1, 3_00})
	if err != nil {
		return err
	}
	say("1 cup: %d items, %d cents", totals.Items, totals.Cents)
	if cart, err = op.Handle(ctx); err != nil {
		return err
	}
	return cart.Cancel(ctx, "the end of the example")
}
