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
	"os"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"

	"github.com/perdure/perdure/clientconfig"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
)

// Options of a client. Zero values are the defaults.
type Options struct {
	Address   string // localhost:7233
	Namespace string // default
	Identity  string // process@host
	APIKey    string
	TLS       *tls.Config // nil: none
	// Conn is used instead of dialling, and not closed.
	Conn      grpc.ClientConnInterface
	Converter converter.Converter
	// Codecs compress or encrypt; the first is applied first when encoding.
	Codecs   []converter.Codec
	Failures failure.Converter
	Logger   *slog.Logger
	Headers  map[string]string // of each call
	// Compress sends requests gzipped. Over loopback that costs more than it saves, so it is off.
	Compress bool
	// Interceptors see each call of the client, and of workers that use it; the first is outermost.
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
	return Options{Address: p.Address, Namespace: p.Namespace, APIKey: p.APIKey, TLS: t, Headers: p.GRPCMeta}, nil
}

// Client is safe for concurrent use.
type Client struct {
	o       Options
	service workflowservice.WorkflowServiceClient
	conn    *grpc.ClientConn // nil when it is not ours
}

// Dial connects and asks the server for its capabilities, so that a wrong address is an error here.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o = o.withDefaults()
	c := &Client{o: o}
	conn := o.Conn
	if conn == nil {
		creds := insecure.NewCredentials()
		if o.TLS != nil {
			creds = credentials.NewTLS(o.TLS)
		}
		dialled, err := grpc.NewClient(o.Address, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", o.Address, err)
		}
		c.conn, conn = dialled, dialled
	}
	interceptors := o.Interceptors
	if len(o.Codecs) > 0 {
		codec, err := converter.CodecInterceptor(o.Codecs...)
		if err != nil {
			return nil, err
		}
		interceptors = append(interceptors[:len(interceptors):len(interceptors)], codec)
	}
	c.service = workflowservice.NewWorkflowServiceClient(&chain{ClientConnInterface: conn, o: &c.o, interceptors: interceptors})
	_, err := retrying(ctx, func(ctx context.Context) (*workflowservice.GetSystemInfoResponse, error) {
		return c.service.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	})
	var old *serviceerror.Unimplemented
	if err != nil && !errors.As(err, &old) {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", o.Address, err)
	}
	return c, nil
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
	return o
}

// Close ends the connection, if Dial made it.
func (c *Client) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// Service is the raw API.
func (c *Client) Service() workflowservice.WorkflowServiceClient { return c.service }

// Namespace is that of all calls.
func (c *Client) Namespace() string { return c.o.Namespace }

// Identity is what histories name this client as.
func (c *Client) Identity() string { return c.o.Identity }

// Converter makes payloads of values.
func (c *Client) Converter() converter.Converter { return c.o.Converter }

// Failures makes errors of failures.
func (c *Client) Failures() failure.Converter { return c.o.Failures }

// Logger is never nil.
func (c *Client) Logger() *slog.Logger { return c.o.Logger }

// chain calls interceptors, also on a connection that is no *grpc.ClientConn, and turns a status into its typed error.
type chain struct {
	grpc.ClientConnInterface
	o            *Options
	interceptors []grpc.UnaryClientInterceptor
}

func (c *chain) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	if c.o.APIKey != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.o.APIKey)
	}
	for k, v := range c.o.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, k, v)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "client-name", "perdure-go", "client-version", "0.4.0", "temporal-namespace", c.o.Namespace)
	if c.o.Compress {
		opts = append(opts, grpc.UseCompressor(gzip.Name))
	}
	return serviceerror.FromStatus(statusOf(c.call(0)(ctx, method, req, reply, nil, opts...)))
}

func (c *chain) call(i int) grpc.UnaryInvoker {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		if i == len(c.interceptors) {
			return c.ClientConnInterface.Invoke(ctx, method, req, reply, opts...)
		}
		return c.interceptors[i](ctx, method, req, reply, cc, c.call(i+1), opts...)
	}
}

// retrying makes a call until it has an answer that does not pass, or ctx ends.
func retrying[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		v, err := call(ctx)
		if err == nil || !passes(err) || ctx.Err() != nil {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(wait):
		}
	}
}
