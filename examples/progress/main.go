// Command progress is a long job that tells how far it has come: go run ./examples/progress
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

const queue = "imports"

func main() {
	address := flag.String("address", os.Getenv("TEMPORAL_ADDRESS"), "`host:port` of a server; empty: one inside this program")
	flag.Parse()
	if err := run(context.Background(), *address, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a worker and watches a job.
func run(ctx context.Context, address string, out io.Writer) error {
	c, closing, err := embedded.Connect(ctx, address, embedded.Options{})
	if err != nil {
		return err
	}
	defer closing()
	// The program reads the rows of a chunk when it is told to, so that what it prints is the same each time.
	chunks := make(chan struct{}, 10)
	table := &Table{Row: func(ctx context.Context, _, row int) error {
		if row > 0 {
			return nil
		}
		select {
		case <-chunks:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	w := worker.New(c, queue, worker.Options{})
	worker.Workflow[*Import](w)
	w.Activity(table)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	return watch(ctx, c, out, func(n int) {
		for range n {
			chunks <- struct{}{}
		}
	})
}

func watch(ctx context.Context, c *client.Client, out io.Writer, read func(chunks int)) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	h, err := client.Start(ctx, c, (*Import).Run, Input{Chunks: 10, RowsPerChunk: 100}, client.StartOptions{ID: "import-1", TaskQueue: queue})
	if err != nil {
		return err
	}
	now, err := client.Query(ctx, h, (*Import).Progress)
	if err != nil {
		return err
	}
	say("begun: %d of %d", now.Done, now.Total)

	// The call waits, in the server, until the third chunk is there.
	read(3)
	if now, err = client.Update(ctx, h, (*Import).WaitForProgress, 3); err != nil {
		return err
	}
	say("waited: %d of %d", now.Done, now.Total)

	_, err = client.Update(ctx, h, (*Import).WaitForProgress, 11)
	var refused *client.UpdateFailedError
	if !errors.As(err, &refused) {
		return fmt.Errorf("waited for what cannot come: %v", err)
	}
	say("refused: %v", refused.Cause)

	// Who does not want to wait any longer can come back: the update has an ID, and goes on.
	const id = "wait-for-half"
	u, err := client.StartUpdate(ctx, h, (*Import).WaitForProgress, 5, client.UpdateOptions{ID: id, WaitFor: client.Accepted})
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err = u.Result(short)
	var late *client.UpdateWaitError
	if !errors.As(err, &late) {
		return fmt.Errorf("there was progress without a cause: %v", err)
	}
	say("gave up waiting")
	read(7)
	if now, err = client.UpdateHandleOf[Progress](h, id).Result(ctx); err != nil {
		return err
	}
	say("came back: %d of %d", now.Done, now.Total)

	rows, err := h.Result(ctx)
	if err != nil {
		return err
	}
	say("finished: %d rows", rows)
	return nil
}
