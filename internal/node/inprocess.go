package node

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// inprocess is a transport: it carries unary calls to services in this process, through the interceptor that calls from
// outside pass, and copies the messages at the border, so that neither side can change what the other holds. Register
// services first; calls are safe for concurrent use after that.
type inprocess struct {
	unary   grpc.UnaryServerInterceptor
	methods map[string]inprocessMethod // by full name, "/service/Method"
}

type inprocessMethod struct {
	server  any
	handler grpc.MethodHandler
}

var (
	_ grpc.ClientConnInterface = (*inprocess)(nil)
	_ grpc.ServiceRegistrar    = (*inprocess)(nil)
)

func newInprocess(unary grpc.UnaryServerInterceptor) *inprocess {
	return &inprocess{unary: unary, methods: make(map[string]inprocessMethod)}
}

// RegisterService implements grpc.ServiceRegistrar, for the generated Register functions.
func (p *inprocess) RegisterService(desc *grpc.ServiceDesc, server any) {
	for _, m := range desc.Methods {
		p.methods["/"+desc.ServiceName+"/"+m.MethodName] = inprocessMethod{server, m.Handler}
	}
}

// Invoke implements grpc.ClientConnInterface. Of the options, Header and Trailer have an effect.
func (p *inprocess) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	m, ok := p.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	request, ok := args.(proto.Message)
	into, ok2 := reply.(proto.Message)
	if !ok || !ok2 {
		return status.Errorf(codes.Internal, "%s: %T and %T are not both messages", method, args, reply)
	}
	headers := &replyHeaders{method: method}
	decode := func(v any) error {
		message, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("%s: request %T is not a message", method, v)
		}
		proto.Merge(message, request)
		return nil
	}
	resp, err := m.handler(m.server, incoming(ctx, headers), decode, p.unary)
	headers.hand(opts)
	if err != nil {
		return status.Convert(err).Err()
	}
	message, ok := resp.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%s: response %T is not a message", method, resp)
	}
	proto.Reset(into)
	proto.Merge(into, message)
	return nil
}

// NewStream implements grpc.ClientConnInterface. None of the services streams.
func (p *inprocess) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Errorf(codes.Unimplemented, "%s: no streams within the process", method)
}

// incoming turns what the caller sends into what the server receives.
func incoming(ctx context.Context, headers *replyHeaders) context.Context {
	sent, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewOutgoingContext(ctx, nil)
	ctx = metadata.NewIncomingContext(ctx, sent)
	return grpc.NewContextWithServerTransportStream(ctx, headers)
}

// replyHeaders collects what the server sends beside its response. It is a grpc.ServerTransportStream.
type replyHeaders struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
}

func (h *replyHeaders) Method() string { return h.method }

func (h *replyHeaders) SetHeader(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.header = metadata.Join(h.header, md)
	return nil
}

func (h *replyHeaders) SendHeader(md metadata.MD) error { return h.SetHeader(md) }

func (h *replyHeaders) SetTrailer(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trailer = metadata.Join(h.trailer, md)
	return nil
}

// hand gives them to the caller.
func (h *replyHeaders) hand(opts []grpc.CallOption) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = h.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = h.trailer
		}
	}
}
