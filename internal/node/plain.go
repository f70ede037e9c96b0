package node

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// plainRequests asks SDKs on the server's own machine, once for each connection and method, to send requests as they are:
// ADR 17. Safe for concurrent use.
type plainRequests struct {
	mu    sync.Mutex
	asked map[plainKey]struct{}
}

type plainKey struct {
	peer   netip.AddrPort
	method string
}

// maxAsked bounds what is remembered of connections, which may have ended long ago. To forget it all costs a client that
// goes on compressing one more refusal per method.
const maxAsked = 4096

func newPlainRequests() *plainRequests { return &plainRequests{asked: make(map[plainKey]struct{})} }

// unary is next, before which it refuses the first compressed requests of clients that are known to try again.
func (p *plainRequests) unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if isCompressed(ctx) && p.ask(ctx, info.FullMethod) {
			// The SDK looks for the name of the header in the text.
			return nil, status.Error(codes.Unimplemented, "over loopback requests are asked for without grpc-encoding gzip")
		}
		return next(ctx, req, info, handler)
	}
}

// isCompressed tells whether the request of ctx came compressed. gRPC does not show that header otherwise.
func isCompressed(ctx context.Context) bool {
	s, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
	return ok && s.RecvCompress() == "gzip"
}

// ask tells whether to refuse a compressed call of method, and remembers that it has been asked.
func (p *plainRequests) ask(ctx context.Context, method string) bool {
	// GetSystemInfo is how SDKs learn what a server can do: they take "Unimplemented" for "nothing".
	if method == workflowservice.WorkflowService_GetSystemInfo_FullMethodName ||
		!strings.HasPrefix(method, "/"+workflowservice.WorkflowService_ServiceDesc.ServiceName+"/") {
		return false
	}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	tcp, ok := from.Addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return false
	}
	if md, _ := metadata.FromIncomingContext(ctx); !sendsAgain(md) {
		return false
	}
	key := plainKey{tcp.AddrPort(), method}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.asked[key]; known {
		return false
	}
	if len(p.asked) >= maxAsked {
		clear(p.asked)
	}
	p.asked[key] = struct{}{}
	return true
}

// sendsAgain tells whether the headers are of an SDK that, when a method does not take compressed requests, sends them
// uncompressed from then on: Go from 1.46 on. A request that came through a proxy has further to go than it seems.
func sendsAgain(md metadata.MD) bool {
	if len(md["x-forwarded-for"])+len(md["forwarded"])+len(md["via"]) > 0 {
		return false
	}
	name, version := md["client-name"], md["client-version"]
	if len(name) != 1 || name[0] != "temporal-go" || len(version) != 1 {
		return false
	}
	rest, ok := strings.CutPrefix(version[0], "1.")
	if !ok {
		return false
	}
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	return err == nil && n >= 46
}
