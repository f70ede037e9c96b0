package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	own "github.com/perdure/perdure/client"
	sdkclient "go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// dial connects with the official client. It looks for the server more eagerly than the SDK does by itself, since here the
// server is away for moments only.
func (t *test) dial(ctx context.Context, log slog.Handler) (sdkclient.Client, error) {
	return sdkclient.DialContext(ctx, sdkclient.Options{
		HostPort: t.victim.address, Namespace: namespace, Identity: "crash", Logger: sdklog.NewStructuredLogger(slog.New(log)),
		ConnectionOptions: sdkclient.ConnectionOptions{DialOptions: []grpc.DialOption{connectParams}},
	})
}

var connectParams = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
	MinConnectTimeout: time.Second,
})

// dialSession connects with the Go SDK of this repository, which carries calls over a session where the server has one. opened
// counts its sessions.
func (t *test) dialSession(ctx context.Context) (c *own.Client, opened *atomic.Int64, err error) {
	opened = new(atomic.Int64)
	c, err = own.Dial(ctx, own.Options{
		Address: t.victim.address, Namespace: namespace, Identity: "crash",
		DialOptions: []grpc.DialOption{
			connectParams,
			grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				stream, err := streamer(ctx, desc, conn, method, opts...)
				if err != nil {
					return nil, err
				}
				if header, err := stream.Header(); err == nil && len(header.Get("perdure-session")) > 0 {
					opened.Add(1)
				}
				return stream, nil
			}),
		},
	})
	return c, opened, err
}

// crew is two workers, of which the older is replaced now and then: workers come and go too, and an old one waits longer
// and longer between its polls the more often it found nobody there.
type crew struct {
	hire    func() (worker.Worker, error)
	working []worker.Worker // older first
	leaving sync.WaitGroup
}

func (t *test) hire(sdk sdkclient.Client) (*crew, error) {
	c := &crew{hire: func() (worker.Worker, error) {
		w := worker.New(sdk, taskQueue, worker.Options{
			StickyScheduleToStartTimeout: time.Second,
			WorkerStopTimeout:            time.Second,
			OnFatalError:                 func(err error) { t.ledger.violation("worker gave up: %v", err) },
		})
		register(w, t.activities)
		return w, w.Start()
	}}
	for range 2 {
		w, err := c.hire()
		if err != nil {
			return nil, fmt.Errorf("start worker: %w", err)
		}
		c.working = append(c.working, w)
	}
	return c, nil
}

// relieve replaces the older worker. The server must be serving; when it goes away meanwhile, the old worker stays.
func (c *crew) relieve() {
	w, err := c.hire()
	if err != nil {
		return
	}
	c.leaving.Go(c.working[0].Stop)
	c.working = append(c.working[1:], w)
}

// dismiss stops all workers and waits for them.
func (c *crew) dismiss() {
	for _, w := range c.working {
		c.leaving.Go(w.Stop)
	}
	c.leaving.Wait()
}
