// Package stub is the least a server can do for the SDKs: it answers from memory, checks nothing, keeps nothing on disk, and
// forgets workflows soon after their results have been read. What it reaches is the ceiling of SDK and gRPC on a machine.
//
// It serves starts, signals, queries, updates, activities, also eager ones, timers and results. It leaves out timeouts, retries,
// failures, cancellation, children, visibility. All that is not there is answered with Unimplemented.
package stub

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // SDKs compress their requests
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	pollTime   = time.Minute
	remembered = 1000 // workflows that can still be asked for after somebody has read their result
)

type (
	workflowTask = func() *workflowservice.PollWorkflowTaskQueueResponse
	activityTask = func() *workflowservice.PollActivityTaskQueueResponse
)

// Server is the stub. Safe for concurrent use.
type Server struct {
	workflowservice.UnimplementedWorkflowServiceServer
	eager   bool
	plain   bool
	numbers atomic.Uint64

	runs    sync.Map // by number, as uint64
	current sync.Map // by workflow ID
	flows   sync.Map // *queue[workflowTask] by name
	acts    sync.Map // *queue[activityTask] by name
	queries sync.Map // chan *RespondQueryTaskCompletedRequest by number
	readMu  sync.Mutex
	read    []*run // whose results have been read, the oldest first
}

// New makes a stub. An eager one hands an activity to the worker that asked for it in the same answer, if the worker wants it. A
// plain one refuses compressed requests, which the SDK then sends again uncompressed, with all that follow; Perdure asks for
// that over loopback.
func New(eager, plain bool) *Server { return &Server{eager: eager, plain: plain} }

// GRPC is a gRPC server for it, with the health service that SDKs and tools ask for.
func (s *Server) GRPC() *grpc.Server {
	pings := grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}) // SDKs ping
	g := grpc.NewServer(pings, grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if s.plain && info.FullMethod != workflowservice.WorkflowService_GetSystemInfo_FullMethodName {
			if t, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string }); ok && t.RecvCompress() == "gzip" {
				return nil, status.Error(codes.Unimplemented, "no grpc-encoding gzip")
			}
		}
		_ = grpc.SetSendCompressor(ctx, "identity") // gRPC would compress answers because requests are; fails for none
		return handle(ctx, req)
	}))
	workflowservice.RegisterWorkflowServiceServer(g, s)
	h := health.NewServer()
	h.SetServingStatus(workflowservice.WorkflowService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, h)
	return g
}

func named[T any](queues *sync.Map, name string) *queue[T] {
	q, found := queues.Load(name)
	if !found {
		q, _ = queues.LoadOrStore(name, new(queue[T]))
	}
	return q.(*queue[T])
}

func (s *Server) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{ServerVersion: "1.30.0", Capabilities: &workflowservice.GetSystemInfoResponse_Capabilities{
		SignalAndQueryHeader: true, InternalErrorDifferentiation: true, EncodedFailureAttributes: true, SdkMetadata: true,
	}}, nil
}

func (s *Server) DescribeNamespace(_ context.Context, r *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	return &workflowservice.DescribeNamespaceResponse{NamespaceInfo: &namespacepb.NamespaceInfo{
		Name: r.Namespace, State: enumspb.NAMESPACE_STATE_REGISTERED,
		Capabilities: &namespacepb.NamespaceInfo_Capabilities{SyncUpdate: true, AsyncUpdate: true, WorkerPollCompleteOnShutdown: true},
	}}, nil
}

func (s *Server) StartWorkflowExecution(_ context.Context, r *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	started := s.begin(r.WorkflowId, r.WorkflowType, r.TaskQueue, r.Input, nil)
	return &workflowservice.StartWorkflowExecutionResponse{RunId: started.runID, Started: true}, nil
}

func (s *Server) SignalWithStartWorkflowExecution(_ context.Context, r *workflowservice.SignalWithStartWorkflowExecutionRequest) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	if running, err := s.find(r.WorkflowId, ""); err == nil && running.signal(r.SignalName, r.SignalInput) {
		return &workflowservice.SignalWithStartWorkflowExecutionResponse{RunId: running.runID}, nil
	}
	started := s.begin(r.WorkflowId, r.WorkflowType, r.TaskQueue, r.Input, signaled(r.SignalName, r.SignalInput))
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{RunId: started.runID, Started: true}, nil
}

func (s *Server) SignalWorkflowExecution(_ context.Context, r *workflowservice.SignalWorkflowExecutionRequest) (*workflowservice.SignalWorkflowExecutionResponse, error) {
	to, err := s.find(r.WorkflowExecution.GetWorkflowId(), r.WorkflowExecution.GetRunId())
	if err == nil && !to.signal(r.SignalName, r.Input) {
		err = status.Error(codes.NotFound, "the workflow has ended")
	}
	return &workflowservice.SignalWorkflowExecutionResponse{}, err
}

func (s *Server) UpdateWorkflowExecution(ctx context.Context, r *workflowservice.UpdateWorkflowExecutionRequest) (*workflowservice.UpdateWorkflowExecutionResponse, error) {
	to, err := s.find(r.WorkflowExecution.GetWorkflowId(), r.WorkflowExecution.GetRunId())
	if err != nil {
		return nil, err
	}
	u := to.update(r.Request)
	if u == nil {
		return nil, status.Error(codes.NotFound, "the workflow has ended")
	}
	select {
	case outcome := <-u.outcome:
		return &workflowservice.UpdateWorkflowExecutionResponse{
			UpdateRef: to.updateRef(u), Outcome: outcome, Stage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) QueryWorkflow(ctx context.Context, r *workflowservice.QueryWorkflowRequest) (*workflowservice.QueryWorkflowResponse, error) {
	of, err := s.find(r.Execution.GetWorkflowId(), r.Execution.GetRunId())
	if err != nil {
		return nil, err
	}
	number, answer := s.numbers.Add(1), make(chan *workflowservice.RespondQueryTaskCompletedRequest, 1)
	s.queries.Store(number, answer)
	defer s.queries.Delete(number)
	of.query(number, r.Query)
	select {
	case a := <-answer:
		if a.CompletedType == enumspb.QUERY_RESULT_TYPE_FAILED {
			return nil, status.Error(codes.InvalidArgument, a.ErrorMessage)
		}
		return &workflowservice.QueryWorkflowResponse{QueryResult: a.QueryResult}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) RespondQueryTaskCompleted(_ context.Context, r *workflowservice.RespondQueryTaskCompletedRequest) (*workflowservice.RespondQueryTaskCompletedResponse, error) {
	if answer, waited := s.queries.LoadAndDelete(binary.BigEndian.Uint64(r.TaskToken)); waited {
		answer.(chan *workflowservice.RespondQueryTaskCompletedRequest) <- r
	}
	return &workflowservice.RespondQueryTaskCompletedResponse{}, nil
}

func (s *Server) DescribeWorkflowExecution(_ context.Context, r *workflowservice.DescribeWorkflowExecutionRequest) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	of, err := s.find(r.Execution.GetWorkflowId(), r.Execution.GetRunId())
	if err != nil {
		return nil, err
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	info := &workflowpb.WorkflowExecutionInfo{Execution: of.execution(), Type: of.kind, Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, HistoryLength: int64(len(of.events))}
	if of.over() {
		info.Status = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}, nil
}

// GetWorkflowExecutionHistory knows two questions: for the last event, when there will be one, and for all so far.
func (s *Server) GetWorkflowExecutionHistory(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	of, err := s.find(r.Execution.GetWorkflowId(), r.Execution.GetRunId())
	if err != nil {
		return nil, err
	}
	last := r.HistoryEventFilterType == enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
	if last {
		select {
		case <-of.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	events := of.events
	if last {
		events = events[len(events)-1:]
		of.read.Do(func() { s.forget(of) })
	}
	return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: events}}, nil
}

func (s *Server) PollWorkflowTaskQueue(ctx context.Context, r *workflowservice.PollWorkflowTaskQueueRequest) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	if task, found := poll[workflowTask](ctx, &s.flows, r); found {
		return task(), nil
	}
	return &workflowservice.PollWorkflowTaskQueueResponse{}, nil
}

func (s *Server) PollActivityTaskQueue(ctx context.Context, r *workflowservice.PollActivityTaskQueueRequest) (*workflowservice.PollActivityTaskQueueResponse, error) {
	if task, found := poll[activityTask](ctx, &s.acts, r); found {
		return task(), nil
	}
	return &workflowservice.PollActivityTaskQueueResponse{}, nil
}

type pollRequest interface {
	GetTaskQueue() *taskqueuepb.TaskQueue
	GetWorkerInstanceKey() string
}

func poll[T any](ctx context.Context, queues *sync.Map, r pollRequest) (T, bool) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	return named[T](queues, r.GetTaskQueue().GetName()).take(ctx, r.GetWorkerInstanceKey())
}

// ShutdownWorker ends the polls of a worker, so that no task goes where nobody listens any more.
func (s *Server) ShutdownWorker(_ context.Context, r *workflowservice.ShutdownWorkerRequest) (*workflowservice.ShutdownWorkerResponse, error) {
	if worker := r.WorkerInstanceKey; worker != "" {
		named[workflowTask](&s.flows, r.StickyTaskQueue).stop(worker)
		named[workflowTask](&s.flows, r.TaskQueue).stop(worker)
		named[activityTask](&s.acts, r.TaskQueue).stop(worker)
	}
	return &workflowservice.ShutdownWorkerResponse{}, nil
}

func (s *Server) RespondWorkflowTaskCompleted(_ context.Context, r *workflowservice.RespondWorkflowTaskCompletedRequest) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	of, _, err := s.holder(r.TaskToken)
	if err != nil {
		return nil, err
	}
	return of.complete(r)
}

func (s *Server) RespondActivityTaskCompleted(_ context.Context, r *workflowservice.RespondActivityTaskCompletedRequest) (*workflowservice.RespondActivityTaskCompletedResponse, error) {
	of, scheduled, err := s.holder(r.TaskToken)
	if err != nil {
		return nil, err
	}
	of.activityDone(scheduled, r.Identity, r.Result)
	return &workflowservice.RespondActivityTaskCompletedResponse{}, nil
}

// token names a run and an event of it.
func (r *run) token(event int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.number), uint64(event))
}

func (s *Server) holder(token []byte) (*run, int64, error) {
	if len(token) == 16 {
		if r, found := s.runs.Load(binary.BigEndian.Uint64(token)); found {
			return r.(*run), int64(binary.BigEndian.Uint64(token[8:])), nil
		}
	}
	return nil, 0, status.Error(codes.NotFound, "the workflow is forgotten")
}

// begin starts a run; first, if it is not nil, comes before its first task.
func (s *Server) begin(id string, kind *commonpb.WorkflowType, on queueName, input *commonpb.Payloads, first func(*run)) *run {
	n := s.numbers.Add(1)
	r := &run{server: s, number: n, id: id, runID: fmt.Sprintf("00000000-0000-4000-8000-%012x", n), kind: kind, queue: on.GetName(), ended: make(chan struct{})}
	s.runs.Store(n, r)
	s.current.Store(id, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start(input)
	if first != nil {
		first(r)
	}
	r.schedule()
	return r
}

type queueName interface{ GetName() string }

// find knows the newest run of a workflow ID.
func (s *Server) find(id, runID string) (*run, error) {
	if r, found := s.current.Load(id); found && (runID == "" || runID == r.(*run).runID) {
		return r.(*run), nil
	}
	return nil, status.Error(codes.NotFound, "no such workflow")
}

// forget makes room when the result of a run has been read.
func (s *Server) forget(r *run) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	s.read = append(s.read, r)
	if len(s.read) <= remembered {
		return
	}
	oldest := s.read[0]
	s.read = s.read[1:]
	s.runs.Delete(oldest.number)
	s.current.CompareAndDelete(oldest.id, oldest)
}
