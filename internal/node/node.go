// Package node builds one process of the server from its parts, in order and with plain constructors, runs it, and stops
// it in reverse.
//
// Invariant: what a client was told before the process ends is in the store, and a stop takes nobody by surprise: health
// first says so, workers' polls come back empty, calls under way are finished or told to ask again, and the store is
// closed last.
package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	inspectpb "github.com/perdure/perdure/api/inspect/v1"
	sessionpb "github.com/perdure/perdure/api/session/v1"
	"github.com/perdure/perdure/internal/batch"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/frontend"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/metrics"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/session"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/local"
	"github.com/perdure/perdure/internal/storage/mem"
	"github.com/perdure/perdure/internal/taskqueue"
)

// Node is one process of the server.
type Node struct {
	config     Config
	listeners  *listeners
	store      *failStop
	namespaces *namespace.Registry
	queues     *taskqueue.Manager
	engine     *engine.Engine
	batches    *batch.Runner
	executor   batch.Executor
	health     *health.Server
	drain      *drain
	sessions   *session.Server
	grpc       *grpc.Server
	conn       *inprocess
	sites      []*site
	ready      chan struct{}
}

// New opens the ports and the store and puts the parts together. Nothing is served before Run, which has to be called
// to release what New took. Errors: of listening; *local.LockedError, *local.FormatError and others of opening the store.
func New(ctx context.Context, c Config) (_ *Node, err error) {
	n := &Node{config: c.withDefaults(), health: newHealth(), drain: newDrain(), ready: make(chan struct{})}
	c = n.config
	if n.listeners, err = listen(&c); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.listeners.close()
			if n.store != nil {
				err = errors.Join(err, n.store.Close())
			}
		}
	}()
	store, err := openStore(&c)
	if err != nil {
		return nil, err
	}
	n.store = newFailStop(store)
	n.namespaces, err = namespace.Open(ctx, namespace.Options{
		Store: n.store, Log: c.Log, Names: c.Namespaces, SearchAttributes: c.SearchAttributes,
	})
	if err != nil {
		return nil, err
	}
	backlog := engine.NewBacklog(n.store)
	n.queues = taskqueue.New(taskqueue.Options{Clock: clock.System{}, Backlog: backlog, Logger: c.Log, PollersRemembered: c.LongPoll})
	m := metrics.New(c.Version, n.isNamespace)
	m.Register(metrics.NewQueues(backlog.Queues, n.queues.Describe, n.namespaceName, c.Log))
	n.engine, err = engine.New(n.store, engine.Options{
		Limits: c.Limits, Namespaces: namespaces{n.namespaces}, Sink: n.queues, Observer: m.Engine(n.namespaceName), Logger: c.Log,
		CacheBytes: c.CacheBytes, Shards: shards(runtime.GOMAXPROCS(0)),
	})
	if err != nil {
		return nil, err
	}
	if n.batches, err = batch.Open(ctx, batch.Options{Store: n.store, Namespaces: n.namespaces, Log: c.Log}); err != nil {
		return nil, err
	}
	n.serve(m)
	return n, n.serveHTTP(m)
}

// shards is how many writers suit so many processors: one each, in a number that divides the timer groups. More would cut
// the same work into more and smaller batches, each with its own wait for the disk.
func shards(processors int) int {
	n := 1
	for n*2 <= min(processors, record.TimerGroups) {
		n *= 2
	}
	return n
}

func openStore(c *Config) (storage.Store, error) {
	if c.Data == "" {
		return mem.New(mem.Options{}), nil
	}
	// A nil *local.Store must not become a storage.Store.
	s, err := local.Open(c.Data, local.Options{SyncOff: c.SyncOff, Logger: c.Log})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return s, nil
}

// serve makes the services and what carries calls to them.
func (n *Node) serve(m *metrics.Metrics) {
	features := frontend.DefaultFeatures()
	features.Announce = metadata.Pairs(session.HeaderName, session.HeaderValue)
	features.Server = frontend.ServerInfo{
		Version: n.config.Version, PersistenceStore: n.config.storeKind(), VisibilityStore: n.config.storeKind(),
		Address: n.GRPCAddr(), HTTPAddress: n.HTTPAddr(),
	}
	service := frontend.New(frontend.Options{
		Engine: n.engine, Queues: n.queues, Namespaces: n.namespaces, Batches: n.batches, Store: n.store, Log: n.config.Log,
		Limits: n.config.Limits, Features: features, LongPoll: n.config.LongPoll,
	})
	n.executor = service.BatchExecutor()
	operator := frontend.NewOperator(n.namespaces, features)
	unary := m.Unary(n.drain.unary(frontend.NewInterceptor(n.namespaces, n.config.Log).Unary))
	inspect := frontend.NewInspect(service)
	overNetwork := grpc.UnaryServerInterceptor(unary)
	if !n.config.Limits.GzipOnLoopback {
		overNetwork = newPlainRequests().unary(unary)
	}
	n.grpc = newGRPC(overNetwork, service, operator, inspect, n.health)
	calls := newMethods(unary)
	workflowservice.RegisterWorkflowServiceServer(calls, service)
	operatorservice.RegisterOperatorServiceServer(calls, operator)
	inspectpb.RegisterInspectServiceServer(calls, inspect)
	n.sessions = session.NewServer(calls.encoded)
	sessionpb.RegisterSessionServiceServer(n.grpc, n.sessions)
	n.conn = &inprocess{newMethods(unary)}
	workflowservice.RegisterWorkflowServiceServer(n.conn, service)
	operatorservice.RegisterOperatorServiceServer(n.conn, operator)
}

// namespaces shows the registry to the engine, to which a namespace that is not there has no rules.
type namespaces struct{ registry *namespace.Registry }

func (n namespaces) ByID(id ids.NamespaceID) *execution.Namespace {
	found, err := n.registry.ByID(id)
	if err != nil {
		return nil
	}
	return found
}

func (n *Node) isNamespace(name string) bool {
	_, err := n.namespaces.Lookup(name)
	return err == nil
}

func (n *Node) namespaceName(id ids.NamespaceID) string {
	found, err := n.namespaces.LookupID(id)
	if err != nil {
		return ""
	}
	return found.Name
}

// GRPCAddr is where gRPC is served, host:port; empty: nowhere. HTTPAddr, UIAddr and MetricsAddr tell the same of the
// others.
func (n *Node) GRPCAddr() string { return addr(n.listeners.grpc) }

// HTTPAddr is where the HTTP/JSON API is served.
func (n *Node) HTTPAddr() string { return addr(n.listeners.http) }

// UIAddr is where the web UI is served.
func (n *Node) UIAddr() string { return addr(n.listeners.ui) }

// MetricsAddr is where metrics are served by themselves.
func (n *Node) MetricsAddr() string { return addr(n.listeners.metrics) }

// ProfileAddr is where profiles are served.
func (n *Node) ProfileAddr() string { return addr(n.listeners.profile) }

// Ready is closed once the node serves.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Conn carries calls to the node without a network, through the same checks. Messages are copied on the way.
func (n *Node) Conn() grpc.ClientConnInterface { return n.conn }

// Run serves until ctx is done, then stops gracefully and returns nil, or until a part fails, and returns why. Call it
// once, in any case: it releases what New took. All goroutines of the node have ended when it returns.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() {
		n.listeners.close() // those that nothing has served on
		if closing := n.store.Close(); closing != nil {
			err = errors.Join(err, fmt.Errorf("close the store: %w", closing))
		}
	}()
	if ctx.Err() != nil {
		n.grpc.Stop()
		n.queues.Stop()
		return nil
	}
	return n.run(ctx)
}

func (n *Node) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var parts sync.WaitGroup
	part := func(what string, run func() error) {
		parts.Go(func() {
			if err := run(); err != nil {
				fail(fmt.Errorf("%s: %w", what, err))
			}
		})
	}

	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	part("run the engine", func() error { return n.engine.Run(engineCtx) })
	batchCtx, stopBatches := context.WithCancel(engineCtx)
	defer stopBatches()
	part("run batch jobs", func() error { return n.batches.Run(batchCtx, n.executor) })
	if err := n.queues.Start(ctx); err != nil {
		fail(err)
	}
	if n.listeners.grpc != nil {
		part("serve gRPC", func() error { return n.grpc.Serve(n.listeners.grpc) })
	}
	for _, s := range n.sites {
		part("serve "+s.what, s.serve)
	}
	if ctx.Err() == nil {
		setHealth(n.health, healthpb.HealthCheckResponse_SERVING)
		close(n.ready)
	}

	select {
	case <-ctx.Done():
	case err := <-n.store.failed:
		fail(err)
	}
	cause := context.Cause(ctx)
	n.config.Log.Info("node stops", "error", cause)
	stopBatches()
	n.stopServing()
	stopEngine()
	parts.Wait()
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return nil
	}
	return cause
}

// stopServing says goodbye: no new calls, no polls, no waiting. It returns when no call is under way, or the grace is
// over and those that are have been cut off.
func (n *Node) stopServing() {
	n.health.Shutdown()
	n.queues.Stop()
	n.drain.begin()
	n.sessions.Drain()
	grace, cancel := context.WithTimeout(context.Background(), n.config.Grace)
	defer cancel()
	var parts sync.WaitGroup
	parts.Go(func() { n.stopGRPC(grace) })
	for _, s := range n.sites {
		parts.Go(func() { s.stop(grace) })
	}
	parts.Wait()
}

func (n *Node) stopGRPC(grace context.Context) {
	late := context.AfterFunc(grace, n.grpc.Stop)
	defer late()
	n.grpc.GracefulStop()
	if grace.Err() != nil {
		n.config.Log.Warn("calls were cut off, as they took longer than the grace of a stop", "grace", n.config.Grace)
	}
}
