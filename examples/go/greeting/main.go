// Greeting tells, in steps that check themselves, the story of a guest book kept by a workflow.
//
// Every way of talking to a running workflow has its step: signals, queries, updates, signal-with-start, signals from
// one workflow to another, and the catch-all form of each handler, of a workflow and of an activity, or what comes
// nearest to it in the Go SDK.
//
// It needs a server at TEMPORAL_ADDRESS (default localhost:7233) with the namespace "default". The worker runs in this
// process. It prints one line a step; the first surprise ends it with status 1.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// storyLimit bounds the program, and each workflow it starts, so that none outlives a story that broke off.
const storyLimit = 60 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
	defer cancel()
	if err := run(ctx); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("the story did not end within %v: %w", storyLimit, err)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	// Warnings only: the SDK is talkative, and stdout belongs to the story.
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := client.DialContext(ctx, client.Options{
		HostPort: cmp.Or(os.Getenv("TEMPORAL_ADDRESS"), "localhost:7233"),
		Logger:   log.NewStructuredLogger(logger),
	})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close()

	name := "guestbook-go-" + rand.Text()[:12]
	w := worker.New(c, name, worker.Options{})
	w.RegisterWorkflow(Guestbook)
	w.RegisterWorkflow(Messenger)
	w.RegisterDynamicWorkflow(AnyWorkflow, workflow.DynamicRegisterOptions{})
	w.RegisterActivity(Compose)
	w.RegisterDynamicActivity(AnyActivity, activity.DynamicRegisterOptions{})
	if err := w.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	defer w.Stop()

	t := &teller{client: c, queue: name}
	return t.tell(ctx)
}
