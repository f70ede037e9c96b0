// Command safehandlers is a cluster whose updates wait for activities and keep out of each other's way: go run ./examples/safehandlers
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
)

const queue = "clusters"

func main() {
	address := flag.String("address", os.Getenv("TEMPORAL_ADDRESS"), "`host:port` of a server; empty: one inside this program")
	flag.Parse()
	if err := run(context.Background(), *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a worker and uses a cluster.
func run(ctx context.Context, address string, out io.Writer) error {
	c, closing, err := embedded.Connect(ctx, address, embedded.Options{})
	if err != nil {
		return err
	}
	defer closing()
	w := worker.New(c, queue, worker.Options{})
	worker.Workflow[*Cluster](w)
	w.Activity(&Machines{takes: 20 * time.Millisecond})
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	return manage(ctx, c, out)
}

// nodes of a new cluster, all free.
func nodes(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("node-%02d", i)] = ""
	}
	return all
}

func manage(ctx context.Context, c *client.Client, out io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	h, err := client.Start(ctx, c, (*Cluster).Run, State{Nodes: nodes(10)}, client.StartOptions{ID: "cluster-1", TaskQueue: queue})
	if err != nil {
		return err
	}

	// Three updates at once, before the cluster is up: they are accepted, and wait.
	var updates []*client.UpdateHandle[[]string]
	for _, job := range []string{"red", "green", "blue"} {
		u, err := client.StartUpdate(ctx, h, (*Cluster).Assign, Wish{job, 3}, client.UpdateOptions{ID: "assign-" + job, WaitFor: client.Accepted})
		if err != nil {
			return err
		}
		updates = append(updates, u)
	}
	say("3 jobs wait for the cluster")
	if err := client.Signal0(ctx, h, (*Cluster).Start); err != nil {
		return err
	}
	for _, u := range updates {
		got, err := u.Result(ctx)
		if err != nil {
			return err
		}
		say("%s: %v", u.ID(), got)
	}

	again, err := client.Update(ctx, h, (*Cluster).Assign, Wish{"red", 3}, client.UpdateID("assign-red"))
	if err != nil {
		return err
	}
	say("assign-red, once more: %v", again)

	_, err = client.Update(ctx, h, (*Cluster).Assign, Wish{"black", 3})
	var failed *client.UpdateFailedError
	if !errors.As(err, &failed) {
		return fmt.Errorf("there were nodes for black: %v", err)
	}
	say("failed: %v", failed.Cause)
	freed, err := client.Update(ctx, h, (*Cluster).Remove, "green")
	if err != nil {
		return err
	}
	say("green is done with %v", freed)

	// The update is at work when the cluster is shut down. The run ends when it has been answered.
	last, err := client.StartUpdate(ctx, h, (*Cluster).Assign, Wish{"black", 4}, client.UpdateOptions{WaitFor: client.Accepted})
	if err != nil {
		return err
	}
	if err := client.Signal0(ctx, h, (*Cluster).Shutdown); err != nil {
		return err
	}
	got, err := last.Result(ctx)
	if err != nil {
		return err
	}
	say("black: %v", got)
	end, err := h.Result(ctx)
	if err != nil {
		return err
	}
	say("shut down: %d of %d nodes were in use", end.Assigned, end.Nodes)
	return nil
}
