package wiretest

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	inspectpb "github.com/perdure/perdure/api/inspect/v1"
	"github.com/perdure/perdure/internal/batch"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/frontend"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/storage/mem"
	"github.com/perdure/perdure/internal/taskqueue"
)

// rig is a server with a client. Its methods fail the test when what they ask for is refused.
type rig struct {
	workflowservice.WorkflowServiceClient
	operator operatorservice.OperatorServiceClient
	inspect  inspectpb.InspectServiceClient

	t      testing.TB
	ctx    context.Context
	store  *mem.Store
	limits *execution.Limits
	stop   func() // nil while the server is down
	// invokeBare makes any call, without a deadline.
	invokeBare func(method string, req, reply any) error
	// invoke makes any call.
	invoke func(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error
}

// patience is how long, in the bubble's time, a call without a deadline of its own may take.
const patience = 10 * time.Minute

// bubble runs a test on a server of its own. change may adjust the limits.
func bubble(t *testing.T, test func(r *rig), change ...func(*execution.Limits)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change...)
		test(r)
		r.judge()
	})
}

func newRig(t testing.TB, change ...func(*execution.Limits)) *rig {
	r := &rig{t: t, ctx: t.Context(), store: mem.New(mem.Options{}), limits: execution.DefaultLimits()}
	for _, c := range change {
		c(r.limits)
	}
	t.Cleanup(func() {
		if r.stop != nil {
			r.stop()
		}
	})
	r.boot()
	return r
}

// customAttributes has a search attribute of each type.
var customAttributes = map[string]enumspb.IndexedValueType{
	"Key": enumspb.INDEXED_VALUE_TYPE_KEYWORD, "Keys": enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST, "Words": enumspb.INDEXED_VALUE_TYPE_TEXT,
	"Whole": enumspb.INDEXED_VALUE_TYPE_INT, "Real": enumspb.INDEXED_VALUE_TYPE_DOUBLE, "Flag": enumspb.INDEXED_VALUE_TYPE_BOOL,
	"When": enumspb.INDEXED_VALUE_TYPE_DATETIME,
}

// boot starts a server over the rig's store.
func (r *rig) boot() {
	r.t.Helper()
	log := slog.New(complaints{t: r.t})
	registry, err := namespace.Open(r.ctx, namespace.Options{Store: r.store, Log: log, SearchAttributes: customAttributes})
	r.ok(err)
	queues := taskqueue.New(taskqueue.Options{Clock: clock.System{}, Backlog: engine.NewBacklog(r.store), Logger: log})
	e, err := engine.New(r.store, engine.Options{Namespaces: known{registry}, Sink: queues, Limits: r.limits, Logger: log})
	r.ok(err)
	batches, err := batch.Open(r.ctx, batch.Options{Store: r.store, Namespaces: registry, Log: log})
	r.ok(err)
	features := frontend.DefaultFeatures()
	server := grpc.NewServer(grpc.UnaryInterceptor(frontend.NewInterceptor(registry, log).Unary))
	service := frontend.New(frontend.Options{
		Engine: e, Queues: queues, Namespaces: registry, Batches: batches, Store: r.store, Log: log, Limits: r.limits, Features: features,
	})
	workflowservice.RegisterWorkflowServiceServer(server, service)
	inspectpb.RegisterInspectServiceServer(server, frontend.NewInspect(service))
	operatorservice.RegisterOperatorServiceServer(server, frontend.NewOperator(registry, features))

	listener := bufconn.Listen(1 << 20)
	engineCtx, stopEngine := context.WithCancel(context.Background())
	stopped := make(chan error, 3)
	go func() { stopped <- e.Run(engineCtx) }()
	go func() { stopped <- batches.Run(engineCtx, service.BatchExecutor()) }()
	go func() { stopped <- server.Serve(listener) }()
	r.ok(queues.Start(r.ctx))
	conn, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithIdleTimeout(0), grpc.WithUnaryInterceptor(impatient))
	r.ok(err)
	r.WorkflowServiceClient, r.operator = workflowservice.NewWorkflowServiceClient(conn), operatorservice.NewOperatorServiceClient(conn)
	r.inspect = inspectpb.NewInspectServiceClient(conn)
	r.invoke = conn.Invoke
	bare, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }), grpc.WithIdleTimeout(0))
	r.ok(err)
	r.invokeBare = func(method string, req, reply any) error { return bare.Invoke(r.ctx, method, req, reply) }
	r.stop = func() {
		r.stop = nil
		server.Stop() // clients see it go
		queues.Stop()
		stopEngine()
		for range 3 {
			if err := <-stopped; err != nil && engineCtx.Err() == nil {
				r.t.Errorf("the server ended: %v", err)
			}
		}
		conn.Close()
		bare.Close()
	}
}

// restart stops the server as a crash does, as far as it can be told from outside, and starts another over its store.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.boot()
}

// known shows the registry to the engine.
type known struct{ *namespace.Registry }

func (k known) ByID(id ids.NamespaceID) *execution.Namespace {
	n, err := k.Registry.ByID(id)
	if err != nil {
		return nil
	}
	return n
}

// complaints is a log in which an error fails the test: nothing a client does may be an error of the server.
type complaints struct {
	slog.Handler
	t testing.TB
}

func (c complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (c complaints) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(rec.Message)
	rec.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	if rec.Level >= slog.LevelError {
		c.t.Errorf("the server logged an error: %s", b.String())
	}
	return nil
}

func (c complaints) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c complaints) WithGroup(string) slog.Handler { return c }

func impatient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// as is the context of a client that says what it is.
func (r *rig) as(name string, features ...string) context.Context {
	return metadata.AppendToOutgoingContext(r.ctx, "client-name", name, "supported-features", strings.Join(features, ","))
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) { time.Sleep(d) }

// settle returns when nothing more happens without time passing.
func (r *rig) settle() { synctest.Wait() }

// must is the response of a call that has to succeed.
func must[R any](r *rig) func(R, error) R {
	return func(resp R, err error) R {
		r.t.Helper()
		r.ok(err)
		return resp
	}
}

// pending is a call under way.
type pending[R any] struct {
	r    *rig
	done chan struct{}
	resp R
	err  error
}

// async makes a call and returns when it waits for something.
func async[R any](r *rig, call func() (R, error)) *pending[R] {
	p := &pending[R]{r: r, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.resp, p.err = call()
	}()
	r.settle()
	return p
}

// get waits for the response.
func (p *pending[R]) get() R {
	p.r.t.Helper()
	<-p.done
	p.r.ok(p.err)
	return p.resp
}

// failed waits for the error.
func (p *pending[R]) failed() error {
	<-p.done
	return p.err
}

// waits checks that there is no answer yet.
func (p *pending[R]) waits() {
	p.r.t.Helper()
	p.r.settle()
	select {
	case <-p.done:
		p.r.t.Fatalf("the call was answered: %v, %v", p.resp, p.err)
	default:
	}
}

// refused checks an error as it is on the wire. A text that ends in … is a prefix.
func (r *rig) refused(err error, code codes.Code, text string) {
	r.t.Helper()
	st := status.Convert(err)
	same := st.Message() == text
	if prefix, ok := strings.CutSuffix(text, "…"); ok {
		same = strings.HasPrefix(st.Message(), prefix)
	}
	if st.Code() != code || !same {
		r.t.Fatalf("got %s %q, want %s %q", st.Code(), st.Message(), code, text)
	}
}

// detail is the error's detail of type M.
func detail[M proto.Message](r *rig, err error) M {
	r.t.Helper()
	for _, d := range status.Convert(err).Details() {
		if m, ok := d.(M); ok {
			return m
		}
	}
	var none M
	r.t.Fatalf("no %T in %v", none, status.Convert(err).Details())
	return none
}

// same checks that two messages are equal.
func (r *rig) same(got, want proto.Message) {
	r.t.Helper()
	if !proto.Equal(got, want) {
		r.t.Errorf("got  %v\nwant %v", got, want)
	}
}

// is checks that two values are equal.
func is[V comparable](r *rig, what string, got, want V) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s is %v, want %v", what, got, want)
	}
}

type limits = execution.Limits

// reference are the limits of the reference, and its ways of keeping them.
func reference(l *limits) { *l = *execution.ReferenceLimits() }
