package sdk

import (
	"context"
	"os"
	"sync"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// compressions notes how the requests of each method were sent, in order.
type compressions struct {
	mu       sync.Mutex
	byMethod map[string][]string
}

type methodKey struct{}

func (c *compressions) TagRPC(ctx context.Context, i *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, i.FullMethodName)
}

func (c *compressions) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if out, ok := s.(*stats.OutHeader); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		method, _ := ctx.Value(methodKey{}).(string)
		c.byMethod[method] = append(c.byMethod[method], out.Compression)
	}
}

func (*compressions) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*compressions) HandleConn(context.Context, stats.ConnStats)                       {}

// TestRequestsOverLoopbackStopBeingCompressed is about the SDK as much as about the server: that it takes the refusal as
// the server means it, and that its callers do not see it.
func TestRequestsOverLoopbackStopBeingCompressed(t *testing.T) {
	if os.Getenv("PERDURE_ADDRESS") != "" {
		t.Skip("another server")
	}
	seen := &compressions{byMethod: make(map[string][]string)}
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: sharedAddress, Namespace: namespace, Logger: quiet(),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithStatsHandler(seen)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, t.Name(), worker.Options{})
	w.RegisterWorkflowWithOptions(func(workflow.Context) (int, error) { return 7, nil }, workflow.RegisterOptions{Name: "seven"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	const n = 5
	for range n {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: t.Name()}, "seven")
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if err := run.Get(t.Context(), &got); err != nil || got != 7 {
			t.Fatalf("got %d, %v", got, err)
		}
	}
	w.Stop()
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, method := range []string{"StartWorkflowExecution", "RespondWorkflowTaskCompleted", "GetWorkflowExecutionHistory"} {
		calls := seen.byMethod["/temporal.api.workflowservice.v1.WorkflowService/"+method]
		if len(calls) != n+1 || calls[0] != "gzip" {
			t.Errorf("%s was called as %q, want one more call than the %d that succeed, the first with gzip", method, calls, n)
			continue
		}
		for _, as := range calls[1:] {
			if as == "gzip" {
				t.Errorf("%s was called as %q", method, calls)
				break
			}
		}
	}
	info := seen.byMethod["/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"]
	if len(info) == 0 {
		t.Error("no GetSystemInfo")
	}
	for _, as := range info {
		if as != "gzip" {
			t.Error("GetSystemInfo was refused")
		}
	}
}
