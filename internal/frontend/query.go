package frontend

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	// stickyWindow: a sticky queue that nobody polled for so long has lost its worker.
	stickyWindow = 10 * time.Second
	// pollerWindow: a queue that nobody polled for so long seems to have no worker at all.
	pollerWindow = 20 * time.Second
	// noPollerMargin is how long before its deadline a query that nobody can answer is told so.
	noPollerMargin = time.Second
	// forgetWait bounds telling the engine that a caller is gone.
	forgetWait = time.Second
	// queryPatience is how long a query waits whose client set no deadline, as the TypeScript SDK does.
	queryPatience = 30 * time.Second
	// lostRetries is how often a request is made again by itself when the server lost it with its memory.
	lostRetries = 2
)

// queryBoard holds the queries that were handed to task queues by themselves, until they are answered or given up.
// The zero value is ready. Safe for concurrent use.
type queryBoard struct {
	mu      sync.Mutex
	pending map[string]*pendingQuery
}

// pendingQuery waits for RespondQueryTaskCompleted.
type pendingQuery struct {
	id        string
	namespace ids.NamespaceID
	query     *querypb.WorkflowQuery
	direct    *execution.DirectQuery
	answered  chan queryAnswer // room for one
	taken     atomic.Bool      // a worker has it
}

type queryAnswer struct {
	resp *workflowservice.QueryWorkflowResponse
	err  error
}

// queryOffer is one offer of a pending query to one queue.
type queryOffer struct {
	*pendingQuery
	sticky bool
	dead   atomic.Bool
}

func (b *queryBoard) add(p *pendingQuery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending == nil {
		b.pending = make(map[string]*pendingQuery)
	}
	b.pending[p.id] = p
}

// take removes a query; nil if it is not there (any more) or belongs to another namespace.
func (b *queryBoard) take(id string, ns ids.NamespaceID) *pendingQuery {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pending[id]
	if p == nil || p.namespace != ns {
		return nil
	}
	delete(b.pending, id)
	return p
}

// QueryWorkflow asks a run's code through a worker. Nothing of it is stored.
func (s *Service) QueryWorkflow(ctx context.Context, r *workflowservice.QueryWorkflowRequest) (*workflowservice.QueryWorkflowResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.Execution)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Query == nil:
		return nil, invalid("WorkflowQuery is not set on request.")
	case r.Query.QueryType == "":
		return nil, invalid("QueryType is not set on request.")
	}
	if err := checkIDs(s.limits, "QueryType", r.Query.QueryType); err != nil {
		return nil, err
	}
	if err := checkBlob(s.limits, r.Query.QueryArgs); err != nil {
		return nil, err
	}
	if s.limits.NoQueries {
		return nil, invalid("Queries are disabled on this server.")
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, queryPatience)
		defer cancel()
	}
	for try := 0; ; try++ {
		resp, err := s.query(ctx, key, run, r)
		if try == lostRetries || !isKind(err, execution.Unavailable) || ctx.Err() != nil {
			return reply(resp, err)
		}
	}
}

func (s *Service) query(ctx context.Context, key ids.WorkflowKey, run ids.RunID, r *workflowservice.QueryWorkflowRequest) (*workflowservice.QueryWorkflowResponse, error) {
	waiting := s.engine.NewWaiter()
	defer waiting.Release()
	in := execution.QueryWorkflow{ID: s.newID(), Query: r.Query, Reject: r.QueryRejectCondition, Waiter: waiting.ID}
	if deadline, ok := ctx.Deadline(); ok {
		in.Deadline = clock.FromTime(deadline)
	}
	answer, err := submit[*execution.QueryAnswer](ctx, s, key, run, in)
	if err != nil {
		return nil, queryError(ctx, err)
	}
	if answer == nil {
		select {
		case got := <-waiting.Reply:
			if got.Err != nil {
				return nil, got.Err
			}
			var ok bool
			if answer, ok = got.Answer.(*execution.QueryAnswer); !ok {
				return nil, internal("answer %T to a query", got.Answer)
			}
		case <-ctx.Done():
			s.forget(ctx, key, run, execution.ForgetQuery{ID: in.ID})
			return nil, queryError(ctx, ctx.Err())
		}
	}
	switch {
	case answer.Rejected != nil:
		return &workflowservice.QueryWorkflowResponse{QueryRejected: answer.Rejected}, nil
	case answer.Result != nil:
		return s.queryResponse(answer.Result)
	}
	return s.queryDirectly(ctx, key.Namespace, in.ID, r.Query, answer.Direct)
}

// forget tells the engine that a caller is gone. What becomes of it does not matter: a reply nobody waits for is dropped.
func (s *Service) forget(ctx context.Context, key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetWait)
	defer cancel()
	return s.engine.Submit(ctx, key, run, in)
}

// queryError names the one timeout of a query that callers know.
func queryError(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "query timed out before a worker could process it")
	}
	return err
}

// queryResponse is the answer that came with a workflow task's completion.
func (s *Service) queryResponse(r *querypb.WorkflowQueryResult) (*workflowservice.QueryWorkflowResponse, error) {
	if r.ResultType == enumspb.QUERY_RESULT_TYPE_FAILED {
		return nil, execution.QueryFailed(r)
	}
	if err := checkBlob(s.limits, r.Answer); err != nil {
		return nil, err
	}
	return &workflowservice.QueryWorkflowResponse{QueryResult: r.Answer}, nil
}

func queryFailed(message string, f *failurepb.Failure) error {
	return execution.QueryFailed(&querypb.WorkflowQueryResult{ErrorMessage: message, Failure: f})
}

// queryDirectly offers a query to the workers by itself: first to the sticky one, if it is there, then to all.
func (s *Service) queryDirectly(ctx context.Context, ns ids.NamespaceID, id string, query *querypb.WorkflowQuery, d *execution.DirectQuery) (*workflowservice.QueryWorkflowResponse, error) {
	p := &pendingQuery{id: id, namespace: ns, query: query, direct: d, answered: make(chan queryAnswer, 1)}
	s.queries.add(p)
	defer s.queries.take(id, ns)
	if d.Sticky != nil {
		queue := taskqueue.QueueKey{Namespace: ns, Type: record.QueueWorkflow, Name: d.Sticky.WorkerTaskQueue.GetName()}
		if s.polledWithin(queue, stickyWindow) {
			end := s.clock.Now().Add(clock.Duration(d.Sticky.ScheduleToStartTimeout))
			if got, ok := s.offerQuery(ctx, queue, p, true, end); ok {
				return got.resp, got.err
			}
		}
		if d.Open {
			if _, err := s.engine.Submit(ctx, d.Run.Of(), d.Run.Run, execution.ResetSticky{}); err != nil {
				return nil, queryError(ctx, err)
			}
		}
	}
	queue := taskqueue.QueueKey{Namespace: ns, Type: record.QueueWorkflow, Name: d.Queue}
	var warn clock.Nanos // when to tell that there is no worker
	if deadline, ok := ctx.Deadline(); ok {
		warn = clock.FromTime(deadline.Add(-noPollerMargin))
	}
	if warn != 0 && warn <= s.clock.Now() && !s.polledWithin(queue, pollerWindow) {
		return nil, errNoPoller()
	}
	got, ok := s.offerQuery(ctx, queue, p, false, warn)
	if ok {
		return got.resp, got.err
	}
	// Only a query with a deadline gets here: its last second has begun.
	if !p.taken.Load() && !s.polledWithin(queue, pollerWindow) {
		return nil, errNoPoller()
	}
	got, _ = s.offerQuery(ctx, queue, p, false, 0)
	return got.resp, got.err
}

func errNoPoller() error {
	return refuse(execution.FailedPrecondition, "no poller seen for task queue recently, worker may be down")
}

func (s *Service) polledWithin(queue taskqueue.QueueKey, window time.Duration) bool {
	last := s.queues.LastPoll(queue)
	return last != 0 && s.clock.Now().Sub(last) < window
}

// offerQuery offers p to a queue, unless a worker has it from there, and waits for the answer until the moment until
// (zero: until ctx is done). A false ok means that until has come.
func (s *Service) offerQuery(ctx context.Context, queue taskqueue.QueueKey, p *pendingQuery, sticky bool, until clock.Nanos) (got queryAnswer, ok bool) {
	if sticky || !p.taken.Load() {
		offer := &queryOffer{pendingQuery: p, sticky: sticky}
		defer offer.dead.Store(true)
		s.queues.OfferQuery(queue, &taskqueue.QueryTask{ID: p.id, Dead: offer.dead.Load, Ref: offer})
	}
	var ring <-chan struct{}
	if until != 0 {
		var stop func()
		ring, stop = s.clock.At(until)
		defer stop()
	}
	select {
	case got = <-p.answered:
		return got, true
	case <-ctx.Done():
		return queryAnswer{err: queryError(ctx, ctx.Err())}, true
	case <-ring:
		return queryAnswer{}, false
	}
}

// queryTask is a query as a worker gets it: without history if the worker has the run in its cache.
func (s *Service) queryTask(ctx context.Context, t *taskqueue.QueryTask) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	offer, ok := t.Ref.(*queryOffer)
	if !ok {
		return nil, internal("query %s was not offered by this service", t.ID)
	}
	if offer.dead.Load() {
		return nil, refuse(execution.Stale, "query %s was given up", t.ID)
	}
	d := offer.direct
	resp := &workflowservice.PollWorkflowTaskQueueResponse{
		TaskToken:                  queryToken{Namespace: offer.namespace, Query: offer.id}.encode(),
		WorkflowExecution:          executionOf(d.Run),
		WorkflowType:               &commonpb.WorkflowType{Name: d.WorkflowType},
		PreviousStartedEventId:     d.PreviousStartedID,
		Attempt:                    1,
		Query:                      offer.query,
		WorkflowExecutionTaskQueue: &taskqueuepb.TaskQueue{Name: d.Queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		History:                    &historypb.History{},
	}
	if !offer.sticky {
		resp.History = nil
		if _, err := s.taskHistory(ctx, d.Run, 1, d.NextEventID, pageForQuery, resp); err != nil {
			return nil, err
		}
	}
	offer.taken.Store(!offer.sticky)
	return resp, nil
}

// RespondQueryTaskCompleted brings a worker's answer to a query that was a task of its own.
func (s *Service) RespondQueryTaskCompleted(_ context.Context, r *workflowservice.RespondQueryTaskCompletedRequest) (*workflowservice.RespondQueryTaskCompletedResponse, error) {
	token, _, err := readTaskToken(s, r.GetNamespace(), r.GetTaskToken(), decodeQuery, func(t queryToken) ids.NamespaceID { return t.Namespace })
	if err != nil {
		return nil, err
	}
	var answer queryAnswer
	switch r.CompletedType {
	case enumspb.QUERY_RESULT_TYPE_ANSWERED:
		answer.resp = &workflowservice.QueryWorkflowResponse{QueryResult: r.QueryResult}
		if tooBig(s.limits, r.QueryResult) {
			answer = queryAnswer{err: queryFailed("Query result size exceeds limit.", serverFailure("Query result size exceeds limit."))}
		}
	case enumspb.QUERY_RESULT_TYPE_FAILED:
		answer.err = queryFailed(r.ErrorMessage, r.Failure)
	default:
		return nil, invalid("Invalid CompletedType: %d", r.CompletedType)
	}
	p := s.queries.take(token.Query, token.Namespace)
	if p == nil {
		return nil, notFound("query task not found, or already expired")
	}
	p.answered <- answer
	return &workflowservice.RespondQueryTaskCompletedResponse{}, nil
}
