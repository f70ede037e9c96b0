// Command lock is a mutex for workflows, itself a workflow: go run ./examples/lock
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

const queue = "locks"

func main() {
	address := flag.String("address", os.Getenv("TEMPORAL_ADDRESS"), "`host:port` of a server; empty: one inside this program")
	flag.Parse()
	if err := run(context.Background(), *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a worker and books transfers, one of which dies with the lock in its hands.
func run(ctx context.Context, address string, out io.Writer) error {
	c, closing, err := embedded.Connect(ctx, address, embedded.Options{})
	if err != nil {
		return err
	}
	defer closing()
	w := worker.New(c, queue, worker.Options{})
	worker.Workflow[*Lock](w)
	worker.Workflow[*Booking](w)
	w.Activity(NewBank())
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	return story(ctx, c, out)
}

// open makes the lock of an account, or finds it.
func open(ctx context.Context, c *client.Client, account string, maxLease time.Duration) (*client.Handle[*Lock, workflow.None], error) {
	op := client.WithStartVoid((*Lock).Run, LockState{}, client.StartOptions{ID: lockOf(account), TaskQueue: queue})
	return client.SignalWithStart(ctx, c, op, (*Lock).Limit, maxLease)
}

func book(ctx context.Context, c *client.Client, id string, t Transfer) (*client.Handle[*Booking, int], error) {
	return client.Start(ctx, c, (*Booking).Run, t, client.StartOptions{ID: id, TaskQueue: queue})
}

func story(ctx context.Context, c *client.Client, out io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	lock, err := open(ctx, c, "savings", 2*time.Second)
	if err != nil {
		return err
	}
	slow, err := book(ctx, c, "slow", Transfer{Account: "savings", Cents: 1_00, Takes: time.Hour})
	if err != nil {
		return err
	}
	bookings := []*client.Handle[*Booking, int]{}
	for i, id := range []string{"first", "second"} {
		// Each stands in line before the next one comes.
		if _, err := client.Update(ctx, lock, (*Lock).Watch, i+1); err != nil {
			return err
		}
		h, err := book(ctx, c, id, Transfer{Account: "savings", Cents: 10_00 * (i + 1)})
		if err != nil {
			return err
		}
		bookings = append(bookings, h)
	}
	status, err := client.Update(ctx, lock, (*Lock).Watch, 3)
	if err != nil {
		return err
	}
	say("%s has the lock, waiting: %v", status.Holder, status.Waiting)

	if err := slow.Terminate(ctx, "a fuse has blown"); err != nil {
		return err
	}
	say("%s is dead", status.Holder)
	for _, h := range bookings {
		balance, err := h.Result(ctx)
		if err != nil {
			return err
		}
		say("%s got the lock: the balance is %d", h.ID(), balance)
	}

	if err := client.Signal0(ctx, lock, (*Lock).Close); err != nil {
		return err
	}
	if _, err := lock.Result(ctx); err != nil {
		return err
	}
	say("the lock is closed")
	return nil
}
