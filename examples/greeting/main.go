// Command greeting is each kind of message once: go run ./examples/greeting
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

const queue = "greetings"

func main() {
	address := flag.String("address", os.Getenv("TEMPORAL_ADDRESS"), "`host:port` of a server; empty: one inside this program")
	flag.Parse()
	if err := run(context.Background(), *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a worker and sends messages.
func run(ctx context.Context, address string, out io.Writer) error {
	c, closing, err := embedded.Connect(ctx, address, embedded.Options{})
	if err != nil {
		return err
	}
	defer closing()
	w := worker.New(c, queue, worker.Options{})
	register(w)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	return greet(ctx, c, out)
}

func register(w *worker.Worker) {
	worker.Workflow[*Greeting](w)
	worker.Workflow[*Friend](w)
	w.Activity(Compose)
}

func greet(ctx context.Context, c *client.Client, out io.Writer) error {
	h, err := client.Start0(ctx, c, (*Greeting).Run, client.StartOptions{ID: "greeting-1", TaskQueue: queue})
	if err != nil {
		return err
	}
	// Signals. A message is the method that handles it; an argument of another type does not compile.
	if err := client.Signal(ctx, h, (*Greeting).SubmitGreeting, "Ada"); err != nil {
		return err
	}
	if err := client.Signal(ctx, h, (*Greeting).SubmitVIP, "Grace"); err != nil {
		return err
	}
	// By name: for what has no Go type, or, as here, no method at all.
	if err := h.SignalByName(ctx, "carrier pigeon", "Alan"); err != nil {
		return err
	}

	// A query.
	guests, err := client.Query(ctx, h, (*Greeting).Guests)
	if err != nil {
		return err
	}
	for _, g := range guests {
		fmt.Fprintln(out, "guest:", g.Name)
	}

	// An update, and one that is refused.
	before, err := client.Update(ctx, h, (*Greeting).SetLanguage, "French")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "it was", before)
	_, err = client.Update(ctx, h, (*Greeting).SetLanguage, "Klingon")
	var refused *client.UpdateFailedError
	if !errors.As(err, &refused) {
		return fmt.Errorf("somebody speaks Klingon: %v", err)
	}
	fmt.Fprintln(out, "refused:", refused.Cause)

	// A signal from another workflow.
	friend, err := client.StartVoid(ctx, c, (*Friend).Run, h.ID(), client.StartOptions{ID: "friend-1", TaskQueue: queue})
	if err != nil {
		return err
	}
	if _, err := friend.Result(ctx); err != nil {
		return err
	}
	if err := end(ctx, h, out); err != nil {
		return err
	}

	// Signal-with-start: whether the workflow is there or not, it gets the signal.
	for _, name := range []string{"Barbara", "Edsger"} {
		op := client.WithStart0((*Greeting).Run, client.StartOptions{ID: "greeting-2", TaskQueue: queue})
		if h, err = client.SignalWithStart(ctx, c, op, (*Greeting).SubmitGreeting, name); err != nil {
			return err
		}
	}
	return end(ctx, h, out)
}

// end tells a greeting to exit and prints what it gave.
func end(ctx context.Context, h *client.Handle[*Greeting, []string], out io.Writer) error {
	if err := client.Signal0(ctx, h, (*Greeting).Exit); err != nil {
		return err
	}
	greetings, err := h.Result(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %q\n", h.ID(), greetings)
	return nil
}
