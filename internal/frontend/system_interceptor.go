package frontend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"runtime/debug"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/namespace"
)

// Interceptor is what every unary call passes through, whichever service it is for: it checks the namespace, survives
// panics, and turns errors into statuses. Safe for concurrent use.
type Interceptor struct {
	namespaces *namespace.Registry
	log        *slog.Logger
}

// NewInterceptor makes an Interceptor. A nil log is slog.Default.
func NewInterceptor(namespaces *namespace.Registry, log *slog.Logger) *Interceptor {
	if log == nil {
		log = slog.Default()
	}
	return &Interceptor{namespaces: namespaces, log: log}
}

// Unary is a grpc.UnaryServerInterceptor. What it returns is a response or a status error, never neither.
func (i *Interceptor) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, i.fail(ctx, info.FullMethod, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	// SDKs compress their requests, and gRPC would compress the answers likewise: on the networks this runs on that costs
	// more than it saves. It fails when the caller is in this process.
	_ = grpc.SetSendCompressor(ctx, encoding.Identity)
	if err := i.admit(path.Base(info.FullMethod), req); err != nil {
		return nil, i.fail(ctx, info.FullMethod, err)
	}
	resp, err = handler(ctx, req)
	if m, ok := resp.(proto.Message); err == nil && (!ok || !m.ProtoReflect().IsValid()) {
		err = errors.New("neither a response nor an error")
	}
	if err != nil {
		return nil, i.fail(ctx, info.FullMethod, err)
	}
	return resp, nil
}

// fail is err as the client gets it.
func (i *Interceptor) fail(ctx context.Context, method string, err error) error {
	e := toStatus(err)
	if e.mask != "" {
		i.log.ErrorContext(ctx, "request failed inside the server", "method", method, "hash", e.mask, "error", e.cause)
	}
	if headers := exhaustedHeaders(e.status); headers != nil {
		_ = grpc.SetHeader(ctx, headers) // fails when the caller is in this process: the detail says the same
	}
	return e
}

// Methods that the rules for namespaces do not fit.
var (
	// aboutNamespaces names RPCs whose namespace is their object: they look for it themselves, deleted ones included.
	aboutNamespaces = []string{
		"RegisterNamespace", "DescribeNamespace", "UpdateNamespace", "DeprecateNamespace", "DeleteNamespace",
	}
	// startsWork names RPCs that only a registered namespace allows, not a deprecated one.
	startsWork = []string{"StartWorkflowExecution", "SignalWithStartWorkflowExecution", "ExecuteMultiOperation"}
)

// admit checks, in this order, that a request which has a namespace names one, that it is known, and that its state
// allows the method.
func (i *Interceptor) admit(method string, req any) error {
	r, ok := req.(interface{ GetNamespace() string })
	if !ok || slices.Contains(aboutNamespaces, method) {
		return nil
	}
	if r.GetNamespace() == "" {
		if _, ok := req.(interface{ GetTaskToken() []byte }); ok {
			return nil // the token says which
		}
		return invalid("Namespace not set on request.")
	}
	n, err := i.namespaces.Lookup(r.GetNamespace())
	switch {
	case err != nil || n.State == enumspb.NAMESPACE_STATE_REGISTERED:
		return err
	case slices.Contains(startsWork, method):
		return badState(n, enumspb.NAMESPACE_STATE_REGISTERED)
	case n.State != enumspb.NAMESPACE_STATE_DEPRECATED:
		return badState(n, enumspb.NAMESPACE_STATE_REGISTERED, enumspb.NAMESPACE_STATE_DEPRECATED)
	}
	return nil
}
