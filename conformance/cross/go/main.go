// Command go is the Go side of the cross-language test: a worker for the workflow Basket, and a client that tells its
// story against a worker in whatever language. Both know of each other the names on the wire and nothing else.
//
//	go worker TASK-QUEUE        says "working" and works until it is asked to end
//	go client TASK-QUEUE        prints what happened, a line a step
//
// The server is at PERDURE_ADDRESS (default localhost:7233).
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
)

const storyLimit = 60 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: go worker|client TASK-QUEUE")
	}
	c, err := client.Dial(client.Options{
		HostPort:      cmp.Or(os.Getenv("PERDURE_ADDRESS"), "localhost:7233"),
		Logger:        sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		DataConverter: severalConverter{converter.GetDefaultDataConverter()},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	switch args[0] {
	case "worker":
		return work(c, args[1])
	case "client":
		ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
		defer cancel()
		return tell(ctx, c, args[1])
	default:
		return fmt.Errorf("neither worker nor client: %s", args[0])
	}
}
