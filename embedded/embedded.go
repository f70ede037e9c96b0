// Package embedded is the whole system inside one process: a server over a directory of data, and a client that talks to it by
// direct calls. Messages are copied at the border, so neither side sees what the other does to them later.
//
//	db, err := embedded.Open(ctx, embedded.Options{Dir: "data"})
//	defer db.Close()
//	w := worker.New(db.Client(), "queue", worker.Options{})
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/internal/limits"
	"github.com/perdure/perdure/internal/node"
)

// Options of an embedded server.
type Options struct {
	// Dir holds the data; it is made if it is missing. Empty: data is in memory and goes with Close.
	Dir string
	// Listen also serves gRPC at this address, host:port. Empty: nobody but this process gets in.
	Listen string
	// Client are the options of the client. Address, TLS, APIKey, DialOptions and Conn have no meaning here and are
	// refused.
	Client client.Options
	Logger *slog.Logger // of the server; nil: nothing is logged

	// CacheBytes bounds, by estimate, the memory of workflow runs that are kept between messages, tasks and timers; others are read
	// from the store when something happens to them. Default 20 MiB, some 7,500 idle runs.
	CacheBytes int
	// Limits are settings as `perdure server --limit` takes them, each NAME=VALUE; `perdure server --help` has the names. One
	// that is not known, or has a value that makes no sense, is an error of Open.
	Limits []string
	// Headroom lets Go's collector run less often while the heap is small: so many bytes are allocated and never used, and count as
	// live, so that the heap may grow by as many more (with GOGC=100) before it is collected. A server that starts workflows all
	// the time spends a sixth of its CPU on collections otherwise. Memory of the system is used for it only if Go had it already.
	// Default 32 MiB, and none where GOGC is set or memory has a limit (GOMEMLIMIT); negative: none.
	Headroom int
}

// DB is an open server. Safe for concurrent use.
type DB struct {
	client *client.Client
	node   *node.Node
	cancel context.CancelFunc
	done   chan error
}

const defaultHeadroom = 32 << 20

func headroom(wanted int) int {
	if wanted == 0 && os.Getenv("GOGC") == "" && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		return defaultHeadroom
	}
	return max(wanted, 0)
}

// Open starts the server. A directory that another process, or another Open, has in use is an error that says so. ctx bounds
// the opening only.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Client.Address != "" || o.Client.TLS != nil || o.Client.APIKey != "" || o.Client.Conn != nil || len(o.Client.DialOptions) > 0 {
		return nil, errors.New("embedded: Client.Address, TLS, APIKey, DialOptions and Conn say how to reach a server; this one is here")
	}
	if o.Client.Logger == nil && o.Logger != nil {
		o.Client.Logger = o.Logger
	}
	if o.CacheBytes < 0 {
		return nil, fmt.Errorf("embedded: CacheBytes is %d", o.CacheBytes)
	}
	l, unknown, err := limits.New(o.Limits)
	if err == nil && len(unknown) > 0 {
		err = fmt.Errorf("there is no setting %s; there are:\n%s", strings.Join(unknown, ", "), limits.Names())
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: Limits: %w", err)
	}
	running, cancel := context.WithCancel(context.Background())
	config := node.Config{Data: o.Dir, GRPC: o.Listen, Log: o.Logger, CacheBytes: o.CacheBytes, Limits: l}
	if ns := o.Client.Namespace; ns != "" && ns != "default" {
		config.Namespaces = []string{ns}
	}
	n, err := node.New(ctx, config)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("embedded: %w", err)
	}
	db := &DB{node: n, cancel: cancel, done: make(chan error, 1)}
	untouched := make([]byte, headroom(o.Headroom))
	go func() {
		err := n.Run(running)
		runtime.KeepAlive(untouched)
		db.done <- err
	}()
	o.Client.Conn = n.Conn()
	if db.client, err = client.Dial(ctx, o.Client); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Connect gives a client of the server at address, or with an empty one of a server in this process, opened with o: the same
// program runs with either. o.Client are the options of the client in both cases. close ends the connection, or the server; stop
// workers before.
func Connect(ctx context.Context, address string, o Options) (c *client.Client, close func() error, err error) {
	if address == "" {
		db, err := Open(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return db.Client(), db.Close, nil
	}
	o.Client.Address = address
	if c, err = client.Dial(ctx, o.Client); err != nil {
		return nil, nil, err
	}
	return c, func() error { c.Close(); return nil }, nil
}

// Client talks to this server by direct calls.
func (db *DB) Client() *client.Client { return db.client }

// Addr is where gRPC is served; empty when it is not.
func (db *DB) Addr() string { return db.node.GRPCAddr() }

// Close finishes the calls under way, makes everything durable and closes the store. Stop workers before.
func (db *DB) Close() error {
	db.cancel()
	err := <-db.done
	db.done <- nil // a second Close finds the first one's end
	return err
}
