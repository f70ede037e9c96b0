package node

import (
	"context"
	"net"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/perdure/perdure/internal/execution"
)

func sdk(name, version string, more ...string) metadata.MD {
	return metadata.Pairs(append([]string{"client-name", name, "client-version", version}, more...)...)
}

// isAsked calls with a compressed request and tells whether it was refused for that.
func isAsked(t *testing.T, c workflowservice.WorkflowServiceClient, md metadata.MD) bool {
	t.Helper()
	_, err := c.DescribeNamespace(metadata.NewOutgoingContext(t.Context(), md),
		&workflowservice.DescribeNamespaceRequest{Namespace: "default"}, grpc.UseCompressor(gzip.Name))
	switch {
	case err == nil:
		return false
	case status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "grpc-encoding"):
		t.Fatal(err)
	}
	return true
}

func TestCompressedRequestsOverLoopbackAreRefusedOncePerConnectionAndMethod(t *testing.T) {
	r := start(t, nil)
	modern := sdk("temporal-go", "1.50.0")
	for range 2 {
		c := r.client()
		if !isAsked(t, c, modern) {
			t.Error("the first request of a connection was taken")
		}
		if isAsked(t, c, modern) {
			t.Error("a client that goes on compressing was refused again")
		}
		_, err := c.ListNamespaces(metadata.NewOutgoingContext(t.Context(), modern), &workflowservice.ListNamespacesRequest{}, grpc.UseCompressor(gzip.Name))
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("another method: got %v", err)
		}
		_, err = c.ListNamespaces(metadata.NewOutgoingContext(t.Context(), modern), &workflowservice.ListNamespacesRequest{})
		if err != nil {
			t.Errorf("uncompressed: got %v", err)
		}
		_, err = c.GetSystemInfo(metadata.NewOutgoingContext(t.Context(), modern), &workflowservice.GetSystemInfoRequest{}, grpc.UseCompressor(gzip.Name))
		if err != nil {
			t.Errorf("GetSystemInfo: got %v", err)
		}
	}
}

func TestOnlyClientsKnownToSendAgainAreRefused(t *testing.T) {
	c := start(t, nil).client()
	for _, md := range []metadata.MD{
		nil,
		sdk("temporal-go", "1.45.0"),
		sdk("temporal-go", "1.9.0"),
		sdk("temporal-go", "2.50.0"), // not known yet
		sdk("temporal-go", "1"),
		sdk("temporal-go", "1."),
		sdk("temporal-go", "1.x.0"),
		sdk("temporal-go", ""),
		metadata.Pairs("client-name", "temporal-go"),
		sdk("temporal-python", "1.50.0"),
		sdk("temporal-java", "1.50.0"),
		sdk("temporal-go", "1.50.0", "x-forwarded-for", "192.0.2.1"),
		sdk("temporal-go", "1.50.0", "forwarded", "for=192.0.2.1"),
		sdk("temporal-go", "1.50.0", "via", "2 proxy"),
	} {
		if isAsked(t, c, md) {
			t.Errorf("refused: %v", md)
		}
	}
	for _, version := range []string{"1.46.0", "1.100.2", "1.51.0-rc.1"} {
		if !sendsAgain(sdk("temporal-go", version)) {
			t.Errorf("version %s was not refused", version)
		}
	}
}

func TestCompressedRequestsAreTakenWhenTheSettingSaysSo(t *testing.T) {
	r := start(t, func(c *Config) {
		c.Limits = execution.DefaultLimits()
		c.Limits.GzipOnLoopback = true
	})
	if isAsked(t, r.client(), sdk("temporal-go", "1.50.0")) {
		t.Error("refused")
	}
}

func TestCompressedRequestsFromElsewhereAreTaken(t *testing.T) {
	p := newPlainRequests()
	for addr, want := range map[string]bool{
		"127.0.0.1:5000": true, "[::1]:5000": true, "[::ffff:127.0.0.1]:5001": true,
		"192.0.2.1:5000": false, "10.0.0.1:5000": false, "[2001:db8::1]:5000": false,
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ctx := peer.NewContext(metadata.NewIncomingContext(t.Context(), sdk("temporal-go", "1.50.0")), &peer.Peer{Addr: tcp})
		if got := p.ask(ctx, workflowservice.WorkflowService_StartWorkflowExecution_FullMethodName); got != want {
			t.Errorf("%s: refused %t, want %t", addr, got, want)
		}
		if p.ask(ctx, "/grpc.health.v1.Health/Check") {
			t.Errorf("%s: another service's call was refused", addr)
		}
	}
	if p.ask(context.Background(), workflowservice.WorkflowService_StartWorkflowExecution_FullMethodName) {
		t.Error("a call from nowhere was refused")
	}
}

func TestWhatIsRememberedOfConnectionsIsBounded(t *testing.T) {
	p := newPlainRequests()
	ctx := metadata.NewIncomingContext(t.Context(), sdk("temporal-go", "1.50.0"))
	for i := range 3 * maxAsked {
		at := &net.TCPAddr{IP: net.IPv4(127, 0, byte(i>>15), 1), Port: 1 + i&0x7fff}
		if !p.ask(peer.NewContext(ctx, &peer.Peer{Addr: at}), workflowservice.WorkflowService_StartWorkflowExecution_FullMethodName) {
			t.Fatalf("call %d: not refused", i)
		}
		if len(p.asked) > maxAsked {
			t.Fatalf("%d connections remembered", len(p.asked))
		}
	}
}

// A request that came in this process has not come over gRPC.
func TestCallsInThisProcessAreNotRefused(t *testing.T) {
	r := start(t, nil)
	ctx := metadata.NewOutgoingContext(t.Context(), sdk("temporal-go", "1.50.0"))
	_, err := workflowservice.NewWorkflowServiceClient(r.Conn()).DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "default"})
	if err != nil {
		t.Error(err)
	}
}
