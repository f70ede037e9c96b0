// Command order is an order that waits for approval and undoes what it did when it cannot be fulfilled: go run ./examples/order
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
)

const queue = "orders"

func main() {
	address := flag.String("address", os.Getenv("TEMPORAL_ADDRESS"), "`host:port` of a server; empty: one inside this program")
	flag.Parse()
	if err := run(context.Background(), *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a worker and tells the story.
func run(ctx context.Context, address string, out io.Writer) error {
	c, closing, err := embedded.Connect(ctx, address, embedded.Options{})
	if err != nil {
		return err
	}
	defer closing()
	shop := NewShop("teapot", 3)
	w := worker.New(c, queue, worker.Options{})
	worker.Workflow[*Order](w)
	w.Activity(shop) // all of its methods
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()

	s := &story{c, shop, out}
	return errors.Join(s.approved(ctx), s.rejected(ctx), s.canceled(ctx))
}

type story struct {
	c    *client.Client
	shop *Shop
	out  io.Writer
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *story) order(ctx context.Context, id string, r Request) (*client.Handle[*Order, Status], error) {
	s.say("%s: %s wants %d %s for %s", id, r.Customer, r.Count, r.Item, money(r.Cents))
	return client.Start(ctx, s.c, (*Order).Run, r, client.StartOptions{ID: id, TaskQueue: queue})
}

func (s *story) approved(ctx context.Context) error {
	h, err := s.order(ctx, "order-1", Request{Customer: "Ada", Item: "teapot", Count: 2, Cents: 840_00})
	if err != nil {
		return err
	}
	// The validator refuses this one: it leaves no trace in the order.
	_, err = client.Update(ctx, h, (*Order).Approve, Decision{By: "Bob", Role: "clerk"})
	var refused *client.UpdateFailedError
	if !errors.As(err, &refused) {
		return fmt.Errorf("a clerk has approved too much: %v", err)
	}
	s.say("  refused: %v", refused.Cause)

	payment, err := client.Update(ctx, h, (*Order).Approve, Decision{By: "Grace", Role: "manager"})
	if err != nil {
		return err
	}
	s.say("  approved: %s", payment)
	end, err := h.Result(ctx)
	if err != nil {
		return err
	}
	s.say("  %s: %s", end.State, end.Parcel)
	s.done()
	return nil
}

func (s *story) rejected(ctx context.Context) error {
	h, err := s.order(ctx, "order-2", Request{Customer: "Eve", Item: "teapot", Count: 1, Cents: 42_00})
	if err != nil {
		return err
	}
	if _, err := client.Update(ctx, h, (*Order).Reject, Decision{By: "Bob", Role: "clerk", Reason: "owes us money"}); err != nil {
		return err
	}
	end, err := h.Result(ctx)
	if err != nil {
		return err
	}
	s.say("  %s by %s: %s", end.State, end.By, end.Reason)
	s.done()
	return nil
}

func (s *story) canceled(ctx context.Context) error {
	h, err := s.order(ctx, "order-3", Request{Customer: "Alan", Item: "teapot", Count: 1, Cents: 42_00})
	if err != nil {
		return err
	}
	if err := h.Cancel(ctx, "found a nicer one"); err != nil {
		return err
	}
	if _, err := h.Result(ctx); !failure.IsCanceled(err) {
		return fmt.Errorf("the order goes on: %v", err)
	}
	// A query is answered when the run is over, too.
	status, err := client.Query(ctx, h, (*Order).Status)
	if err != nil {
		return err
	}
	s.say("  %s: %s", status.State, status.Reason)
	s.shop.Log() // whether the stock had been reserved when the cancellation came is a matter of luck
	return nil
}

func (s *story) done() { s.say("  the shop has %s", strings.Join(s.shop.Log(), ", ")) }
