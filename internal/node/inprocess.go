package node

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/frontend"
	"github.com/perdure/perdure/internal/session"
)

// inprocess is a transport: it carries unary calls to services in this process, through the interceptor that calls from
// outside pass, and copies the messages at the border, so that neither side can change what the other holds.
type inprocess struct{ *methods }

// methods are services that are called by the name of the method and not by gRPC, with the interceptor that gRPC's calls
// pass. Register services first; calls are safe for concurrent use after that.
type methods struct {
	unary  grpc.UnaryServerInterceptor
	byName map[string]method // by full name, "/service/Method"
}

type method struct {
	server  any
	handler grpc.MethodHandler
}

var (
	_ grpc.ClientConnInterface = (*inprocess)(nil)
	_ grpc.ServiceRegistrar    = (*methods)(nil)
)

func newMethods(unary grpc.UnaryServerInterceptor) *methods {
	return &methods{unary: unary, byName: make(map[string]method)}
}

// RegisterService implements grpc.ServiceRegistrar, for the generated Register functions.
func (m *methods) RegisterService(desc *grpc.ServiceDesc, server any) {
	for _, one := range desc.Methods {
		m.byName["/"+desc.ServiceName+"/"+one.MethodName] = method{server, one.Handler}
	}
}

// call answers one; decode fills in the request.
func (m *methods) call(ctx context.Context, name string, decode func(any) error) (proto.Message, error) {
	one, ok := m.byName[name]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "unknown method %s", name)
	}
	resp, err := one.handler(one.server, ctx, decode, m.unary)
	if err != nil {
		return nil, status.Convert(err).Err()
	}
	message, ok := resp.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%s: response %T is not a message", name, resp)
	}
	return message, nil
}

// encoded is a session.Handler.
func (m *methods) encoded(ctx context.Context, name string, request []byte) (proto.Message, error) {
	return m.call(ctx, name, func(v any) error {
		message, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("%s: request %T is not a message", name, v)
		}
		if err := proto.Unmarshal(request, message); err != nil {
			return status.Errorf(codes.Internal, "decode the request of %s: %v", name, err)
		}
		return nil
	})
}

// Invoke implements grpc.ClientConnInterface. Of the options, Header and Trailer have an effect.
func (p *inprocess) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	request, ok := args.(proto.Message)
	into, ok2 := reply.(proto.Message)
	if !ok || !ok2 {
		return status.Errorf(codes.Internal, "%s: %T and %T are not both messages", method, args, reply)
	}
	headers := session.NewReplyHeaders(method)
	message, err := p.call(incoming(ctx, headers), method, func(v any) error {
		message, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("%s: request %T is not a message", method, v)
		}
		proto.Merge(message, request)
		return nil
	})
	hand(headers, opts)
	if err != nil {
		return err
	}
	if err := frontend.Copy(into, message); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface. None of the services streams.
func (p *inprocess) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Errorf(codes.Unimplemented, "%s: no streams within the process", method)
}

// incoming turns what the caller sends into what the server receives.
func incoming(ctx context.Context, headers *session.ReplyHeaders) context.Context {
	sent, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewOutgoingContext(ctx, nil)
	ctx = metadata.NewIncomingContext(ctx, sent)
	return grpc.NewContextWithServerTransportStream(ctx, headers)
}

// hand gives what the server sent beside its response to the caller.
func hand(h *session.ReplyHeaders, opts []grpc.CallOption) {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = h.Header()
		case grpc.TrailerCallOption:
			*o.TrailerAddr = h.Trailer()
		}
	}
}
