package node

import (
	"context"
	"slices"
	"sync"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// waiting are the RPCs, polls for tasks aside, that may wait for what a worker does or a workflow becomes. Once workers
// have been sent away there is nothing to wait for. Their callers ask again, as they do when a connection breaks.
var waiting = []string{
	workflowservice.WorkflowService_GetWorkflowExecutionHistory_FullMethodName,
	workflowservice.WorkflowService_UpdateWorkflowExecution_FullMethodName,
	workflowservice.WorkflowService_PollWorkflowExecutionUpdate_FullMethodName,
	workflowservice.WorkflowService_ExecuteMultiOperation_FullMethodName,
	workflowservice.WorkflowService_QueryWorkflow_FullMethodName,
}

// drain ends waiting calls when the node stops.
type drain struct {
	mu      sync.Mutex
	began   bool
	cancels map[*context.CancelFunc]struct{}
}

func newDrain() *drain { return &drain{cancels: make(map[*context.CancelFunc]struct{})} }

// begin ends the calls that are waiting and those to come.
func (d *drain) begin() {
	d.mu.Lock()
	d.began = true
	cancels := d.cancels
	d.cancels = nil
	d.mu.Unlock()
	for cancel := range cancels {
		(*cancel)()
	}
}

func (d *drain) hasBegun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.began
}

// watch is ctx, done also once the drain begins. Call release.
func (d *drain) watch(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.began {
		cancel()
		return ctx, cancel
	}
	d.cancels[&cancel] = struct{}{}
	return ctx, func() {
		cancel()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.cancels, &cancel)
	}
}

// unary is a grpc.UnaryServerInterceptor around next.
func (d *drain) unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !slices.Contains(waiting, info.FullMethod) {
			return next(ctx, req, info, handler)
		}
		watched, release := d.watch(ctx)
		defer release()
		resp, err := next(watched, req, info, handler)
		if err != nil && ctx.Err() == nil && watched.Err() != nil && d.hasBegun() {
			return nil, status.Error(codes.Unavailable, "the server is shutting down")
		}
		return resp, err
	}
}
