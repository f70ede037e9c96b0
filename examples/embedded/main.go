// Command embedded is the greeting story in Perdure's own Go SDK, with the server inside the program: go run ./examples/embedded
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Greeting is a workflow; its fields are the state of one run.
type Greeting struct {
	names []string
	done  bool
}

// Run is the workflow's life.
func (g *Greeting) Run(ctx workflow.Context) ([]string, error) {
	if err := workflow.Await(ctx, func() bool { return g.done }); err != nil {
		return nil, err
	}
	var out []string
	for _, n := range g.names {
		s, err := workflow.Activity(ctx, Compose, n, workflow.ActivityOptions{StartToClose: 10 * time.Second}).Get()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Greet is a signal: it has no result.
func (g *Greeting) Greet(_ workflow.Context, name string) { g.names = append(g.names, name) }

// Waiting is a query: its context can only read.
func (g *Greeting) Waiting(workflow.ReadContext) (int, error) { return len(g.names), nil }

// Finish is an update: it has a result.
func (g *Greeting) Finish(workflow.Context) (int, error) {
	g.done = true
	return len(g.names), nil
}

// Compose is an activity: what touches the world.
func Compose(_ context.Context, name string) (string, error) { return "Hello, " + name + "!", nil }

func main() {
	if err := run(context.Background(), ""); err != nil {
		log.Fatal(err)
	}
}

// run tells the story over a directory of data; an empty one is memory.
func run(ctx context.Context, dir string) error {
	db, err := embedded.Open(ctx, embedded.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer db.Close()
	w := worker.New(db.Client(), "greetings", worker.Options{})
	worker.Workflow[*Greeting](w)
	w.Activity(Compose)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()

	h, err := client.Start0(ctx, db.Client(), (*Greeting).Run, client.StartOptions{ID: "greeting-1", TaskQueue: "greetings"})
	if err != nil {
		return err
	}
	if err := client.Signal(ctx, h, (*Greeting).Greet, "Ada"); err != nil { // "Ada" has to be a string, or this does not compile
		return err
	}
	waiting, err := client.Query(ctx, h, (*Greeting).Waiting)
	if err != nil {
		return err
	}
	finished, err := client.Update0(ctx, h, (*Greeting).Finish)
	if err != nil {
		return err
	}
	greetings, err := h.Result(ctx)
	fmt.Println(waiting, finished, greetings)
	return err
}
