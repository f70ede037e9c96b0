// Package client starts workflows and sends them signals, queries and updates, each checked by the compiler where it is sent:
// a message is the method that handles it.
//
//	h, err := client.Start(ctx, c, (*Greeting).Run, in, client.StartOptions{ID: "greeting-1", TaskQueue: "signal-tq"})
//	err = client.Signal(ctx, h, (*Greeting).Submit, "User 1")
//	s, err := client.Query(ctx, h, (*Greeting).Latest)
//	l, err := client.Update(ctx, h, (*Greeting).SetLanguage, French)
//	out, err := h.Result(ctx)
//
// A digit at the end of a verb is the number of arguments; without one it is one, and none for queries. "Void" is for methods
// that return only an error. What has no Go type is sent by name: h.SignalByName and its siblings.
//
// Calls that may pass (the server is away, or busy) are made again until the context ends, under one request ID, so that
// nothing happens twice.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/perdure/perdure/clientconfig"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/session"
	"github.com/perdure/perdure/metrics"
)

// Options of a client. Zero values are the defaults.
type Options struct {
	Address   string // localhost:7233
	Namespace string // default
	Identity  string // process@host
	Authority string // of calls; that of the address when empty
	// APIKey is sent with each call, in the clear without TLS.
	APIKey string
	TLS    *tls.Config // nil: none
	// DialOptions come after those that the client makes its connections with, and so win over them. With Conn they are an error.
	// What is done per call, such as credentials and interceptors of unary calls, is done once per stream where the server has
	// sessions: use Interceptors, or NoSession.
	DialOptions []grpc.DialOption
	// Conn is used instead of dialling, and not closed.
	Conn      grpc.ClientConnInterface
	Converter converter.Converter
	// Codecs compress or encrypt; the first is applied first when encoding.
	Codecs   []converter.Codec
	Failures failure.Converter
	Logger   *slog.Logger
	Headers  map[string]string // of each call
	// NoSession makes each call a gRPC call of its own, also where the server offers to carry them all on one stream. Without it
	// and with such a server a client has two connections.
	NoSession bool
	// Compress sends requests gzipped. Over loopback that costs more than it saves, so it is off. It implies NoSession.
	Compress bool
	// QueryReject says which workflows are not asked queries; a *QueryRejectedError comes then. Zero: all are asked.
	QueryReject enumspb.QueryRejectCondition
	// Outbound see each message on its way out, and can send headers along; the first is outermost.
	Outbound []Interceptor
	// Metrics counts requests, and what workers that use the client do. Default: nothing is counted.
	Metrics metrics.Handler
	// Interceptors see each request of the client, and of workers that use it; the first is outermost.
	Interceptors []grpc.UnaryClientInterceptor
}

// FromEnvironment are the options that TEMPORAL_* variables and the profile file ask for.
func FromEnvironment() (Options, error) {
	p, err := clientconfig.Load(clientconfig.Options{})
	if err != nil {
		return Options{}, err
	}
	t, err := p.TLSConfig()
	if err != nil {
		return Options{}, err
	}
	return Options{Address: p.Address, Namespace: p.Namespace, Authority: p.Authority, APIKey: p.APIKey, TLS: t, Headers: p.GRPCMeta}, nil
}

// Client is safe for concurrent use.
type Client struct {
	o        Options
	service  workflowservice.WorkflowServiceClient
	operator operatorservice.OperatorServiceClient
	conn     *grpc.ClientConn // nil when it is not ours
	session  *session.Conn    // nil: none
	system   *workflowservice.GetSystemInfoResponse
}

// dialTimeout is how long Dial waits for a server when its context does not say.
const dialTimeout = 5 * time.Second

// Dial connects and asks the server for its capabilities, so that a wrong address is an error here. It waits for a server until
// ctx ends, and no longer than 5 s when ctx has no deadline.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o = o.withDefaults()
	c := &Client{o: o}
	conn := o.Conn
	if conn != nil && len(o.DialOptions) > 0 {
		return nil, errors.New("client: DialOptions are for a connection that is made, and Conn is one that is there")
	}
	if conn == nil {
		dialled, err := o.dial()
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", o.Address, err)
		}
		c.conn, conn = dialled, dialled
	}
	plain := &headed{conn, o.headers()}
	interceptors := o.Interceptors
	if len(o.Codecs) > 0 {
		codec, err := converter.CodecInterceptor(o.Codecs...)
		if err != nil {
			return nil, err
		}
		interceptors = append(interceptors[:len(interceptors):len(interceptors)], codec)
	}
	calls := &chain{ClientConnInterface: plain, o: &c.o, interceptors: interceptors}
	c.service, c.operator = workflowservice.NewWorkflowServiceClient(calls), operatorservice.NewOperatorServiceClient(calls)
	sessions, err := c.greet(ctx)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", o.Address, err)
	}
	if sessions && c.conn != nil && !o.NoSession && !o.Compress {
		c.session = session.New(ctx, session.Options{Plain: plain, Dial: o.dial, Headers: plain.headers, Log: o.Logger})
		calls.ClientConnInterface = c.session
	}
	return c, nil
}

// dial makes a connection, which is not used before the first call.
func (o Options) dial() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	return grpc.NewClient(o.Address, o.dialOptions(creds)...)
}

// headers go with each call.
func (o Options) headers() metadata.MD {
	md := metadata.Pairs("client-name", "perdure-go", "client-version", "0.4.0", "temporal-namespace", o.Namespace)
	for k, v := range o.Headers {
		md.Append(k, v)
	}
	if o.APIKey != "" {
		md.Append("authorization", "Bearer "+o.APIKey)
	}
	return md
}

// headed sends headers with each call.
type headed struct {
	grpc.ClientConnInterface
	headers metadata.MD
}

func (h *headed) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	md := h.headers
	if own, ok := metadata.FromOutgoingContext(ctx); ok {
		md = metadata.Join(own, md)
	}
	return h.ClientConnInterface.Invoke(metadata.NewOutgoingContext(ctx, md), method, req, reply, opts...)
}

// greet asks for the server's capabilities, which very old ones cannot tell, and whether it has sessions.
func (c *Client) greet(ctx context.Context) (sessions bool, err error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	var headers metadata.MD
	system, err := retrying(ctx, func(ctx context.Context) (*workflowservice.GetSystemInfoResponse, error) {
		return c.service.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}, grpc.Header(&headers))
	})
	var old *serviceerror.Unimplemented
	if errors.As(err, &old) {
		err = nil
	}
	c.system = system
	return len(headers.Get(session.HeaderName)) > 0, err
}

func (o Options) dialOptions(creds credentials.TransportCredentials) []grpc.DialOption {
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
		// A connection that died in silence is found while a long poll waits on it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 15 * time.Second, PermitWithoutStream: true}),
	}
	if o.Authority != "" {
		all = append(all, grpc.WithAuthority(o.Authority))
	}
	return append(all, o.DialOptions...)
}

func (o Options) withDefaults() Options {
	if o.Address == "" {
		o.Address = "localhost:7233"
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Identity == "" {
		host, _ := os.Hostname()
		o.Identity = fmt.Sprintf("%d@%s", os.Getpid(), host)
	}
	if o.Converter == nil {
		o.Converter = converter.Default()
	}
	if o.Failures == nil {
		o.Failures = failure.Default(o.Converter, failure.Options{})
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Metrics = metrics.With(o.Metrics, metrics.Tag{Key: metrics.Namespace, Value: o.Namespace})
	return o
}

// Close ends the connection, if Dial made it.
func (c *Client) Close() {
	if c.session != nil {
		c.session.Close()
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// Service is the raw API.
func (c *Client) Service() workflowservice.WorkflowServiceClient { return c.service }

// Operator is the raw API for operators: search attributes, cluster.
func (c *Client) Operator() operatorservice.OperatorServiceClient { return c.operator }

// Capabilities are what the server said it can do. They are nil for a server too old to say.
func (c *Client) Capabilities() *workflowservice.GetSystemInfoResponse_Capabilities {
	return c.system.GetCapabilities()
}

// ServerVersion is what the server said it is; empty for a server too old to say.
func (c *Client) ServerVersion() string { return c.system.GetServerVersion() }

// Namespace is that of all calls.
func (c *Client) Namespace() string { return c.o.Namespace }

// Identity is what histories name this client as.
func (c *Client) Identity() string { return c.o.Identity }

// Converter makes payloads of values.
func (c *Client) Converter() converter.Converter { return c.o.Converter }

// Failures makes errors of failures.
func (c *Client) Failures() failure.Converter { return c.o.Failures }

// Metrics is never nil.
func (c *Client) Metrics() metrics.Handler { return c.o.Metrics }

// Logger is never nil.
func (c *Client) Logger() *slog.Logger { return c.o.Logger }

// chain calls interceptors, also on a connection that is no *grpc.ClientConn, and turns a status into its typed error.
type chain struct {
	grpc.ClientConnInterface
	o            *Options
	interceptors []grpc.UnaryClientInterceptor
	made         sync.Map // requestMeters by method
}

func (c *chain) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	if c.o.Compress {
		opts = append(opts, grpc.UseCompressor(gzip.Name))
	}
	if c.o.Metrics == metrics.None {
		return fromService(c.call(0)(ctx, method, req, reply, nil, opts...))
	}
	m, begun := c.meters(method, req), time.Now()
	m.requests.Add(1)
	err := c.call(0)(ctx, method, req, reply, nil, opts...)
	m.latency.Record(time.Since(begun))
	if err != nil {
		m.h.Counter(m.failure, metrics.Tag{Key: metrics.StatusCode, Value: status.Code(err).String()}).Add(1)
	}
	return fromService(err)
}

// requestMeters count one operation's requests.
type requestMeters struct {
	h        metrics.Handler
	failure  string
	requests metrics.Counter
	latency  metrics.Timer
}

// meters tells requests that wait for something from those that do not: the time of the former says nothing of the server.
func (c *chain) meters(method string, req any) *requestMeters {
	operation := method[strings.LastIndexByte(method, '/')+1:]
	history, _ := req.(*workflowservice.GetWorkflowExecutionHistoryRequest)
	long := strings.HasPrefix(operation, "Poll") || history.GetWaitNewEvent()
	type key struct {
		method string
		long   bool
	}
	if m, ok := c.made.Load(key{method, long}); ok {
		return m.(*requestMeters)
	}
	names := [...]string{metrics.Request, metrics.RequestFailure, metrics.RequestLatency}
	if long {
		names = [...]string{metrics.LongRequest, metrics.LongRequestFailure, metrics.LongRequestLatency}
	}
	h := metrics.With(c.o.Metrics, metrics.Tag{Key: metrics.Operation, Value: operation})
	m := &requestMeters{h, names[1], h.Counter(names[0]), h.Timer(names[2])}
	c.made.Store(key{method, long}, m)
	return m
}

func (c *chain) call(i int) grpc.UnaryInvoker {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		if i == len(c.interceptors) {
			return c.ClientConnInterface.Invoke(ctx, method, req, reply, opts...)
		}
		return c.interceptors[i](ctx, method, req, reply, cc, c.call(i+1), opts...)
	}
}

// retrying makes a call until it has an answer that does not pass, or ctx ends. The error is then both what ended ctx and
// what the service said last.
func retrying[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		v, err := call(ctx)
		if err == nil {
			return v, nil
		}
		if ctx.Err() == nil && passes(err) {
			select {
			case <-ctx.Done():
			case <-time.After(wait/2 + rand.N(wait/2)): // callers that failed together do not come back together
				continue
			}
		}
		return v, ended(ctx, err)
	}
}

// try is retrying for requests whose answers say nothing.
func try[Q, A any](ctx context.Context, call func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) error {
	_, err := retrying(ctx, func(ctx context.Context) (A, error) { return call(ctx, request) })
	return typed("", err)
}
