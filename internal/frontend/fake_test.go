package frontend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/mem"
	"github.com/perdure/perdure/internal/taskqueue"
)

// front is a service with its real namespaces and store, over an engine and task queues that do what a test says.
type front struct {
	*Service
	engine *fakeEngine
	queues *fakeQueues
	store  storage.Store
	ns     *namespace.Namespace
}

func newFront(t testing.TB) front {
	t.Helper()
	a := administer(t, DefaultFeatures())
	e, q := &fakeEngine{changed: make(chan struct{})}, newFakeQueues()
	a.Service.engine, a.Service.queues = e, q
	n, err := a.namespaces.Lookup(namespace.Default)
	if err != nil {
		t.Fatal(err)
	}
	return front{Service: a.Service, engine: e, queues: q, store: a.Service.store.(*mem.Store), ns: n}
}

const (
	runA = "aaaaaaaa-0000-4000-8000-000000000001"
	runB = "bbbbbbbb-0000-4000-8000-000000000002"
)

func (f front) key(workflow string) ids.WorkflowKey {
	return ids.WorkflowKey{Namespace: f.ns.ID, Workflow: ids.WorkflowID(workflow)}
}

// fakeEngine has one run and answers inputs by a function.
type fakeEngine struct {
	mu      sync.Mutex
	inputs  []execution.Input
	answer  func(key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error) // nil: nothing may be submitted
	state   *execution.State
	events  []*historypb.HistoryEvent
	changed chan struct{} // closed and replaced when the run changes

	waiters []chan execution.Reply
	pages   []engine.HistoryQuery
}

func (e *fakeEngine) Submit(ctx context.Context, key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.inputs = append(e.inputs, in)
	answer := e.answer
	e.mu.Unlock()
	if answer == nil {
		return nil, fmt.Errorf("the engine was given %T", in)
	}
	return answer(key, run, in)
}

// given lists the inputs of type I so far.
func given[I execution.Input](e *fakeEngine) (out []I) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range e.inputs {
		if i, ok := in.(I); ok {
			out = append(out, i)
		}
	}
	return out
}

func (e *fakeEngine) NewWaiter() *engine.Waiting {
	e.mu.Lock()
	defer e.mu.Unlock()
	reply := make(chan execution.Reply, 1)
	e.waiters = append(e.waiters, reply)
	return &engine.Waiting{ID: execution.Waiter(len(e.waiters)), Reply: reply, Release: func() {}}
}

// reply answers a parked caller.
func (e *fakeEngine) reply(w execution.Waiter, answer any, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiters[w-1] <- execution.Reply{Waiter: w, Answer: answer, Err: err}
}

func (e *fakeEngine) State(_ context.Context, key ids.WorkflowKey, run ids.RunID) (*execution.State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == nil || e.state.Key.Of() != key || run != "" && run != e.state.Key.Run {
		return nil, notFound("workflow not found for ID: %s", key.Workflow)
	}
	st := *e.state
	return &st, nil
}

func (e *fakeEngine) Ledger(context.Context, ids.WorkflowKey, ids.RunID) ([]engine.RunNotes, error) {
	return nil, nil
}

// begin gives the engine a run with n events.
func (e *fakeEngine) begin(key ids.RunKey, n int) {
	e.state = &execution.State{Key: key, Start: &execution.Start{}}
	e.add(n)
}

// add appends n events to the run.
func (e *fakeEngine) add(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for range n {
		e.append(&historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_MARKER_RECORDED})
	}
	e.notify()
}

// close appends a closing event to the run.
func (e *fakeEngine) close(event *historypb.HistoryEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.append(event)
	e.state.Info.CloseEventID = event.EventId
	e.notify()
}

func (e *fakeEngine) append(event *historypb.HistoryEvent) {
	event.EventId = int64(len(e.events)) + 1
	e.events = append(e.events, event)
	e.state.Info.NextEventID = event.EventId + 1
}

func (e *fakeEngine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeEngine) History(_ context.Context, q engine.HistoryQuery) (*engine.HistoryPage, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pages = append(e.pages, q)
	if q.To == 0 || q.To > int64(len(e.events))+1 {
		q.To = int64(len(e.events)) + 1
	}
	var wanted []*historypb.HistoryEvent
	if q.From < q.To {
		wanted = slices.Clone(e.events[q.From-1 : q.To-1])
	}
	if q.Reverse {
		slices.Reverse(wanted)
	}
	page := &engine.HistoryPage{}
	if q.Max > 0 && len(wanted) > q.Max {
		wanted, page.More = wanted[:q.Max], true
	}
	if page.Count = len(wanted); page.Count == 0 {
		return page, nil
	}
	page.First, page.Last = wanted[0].EventId, wanted[len(wanted)-1].EventId
	var err error
	page.Events, err = proto.Marshal(&historypb.History{Events: wanted})
	return page, err
}

func (e *fakeEngine) WaitHistory(ctx context.Context, _ ids.RunKey, next ids.EventID) error {
	for {
		e.mu.Lock()
		there, changed := e.state.Info.NextEventID > next || !e.state.Open(), e.changed
		e.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fakeQueues is one queue for everything.
type fakeQueues struct {
	mu       sync.Mutex
	requeued []taskqueue.Task
	lastPoll map[string]clock.Nanos
	shut     []string
	tasks    chan taskqueue.Task
	offered  chan string // names of queues that queries were offered to
	describe func(taskqueue.QueueKey) taskqueue.Description
	polls    []taskqueue.PollRequest
	pollErr  error
}

func newFakeQueues() *fakeQueues {
	return &fakeQueues{tasks: make(chan taskqueue.Task, 10), offered: make(chan string, 10), lastPoll: make(map[string]clock.Nanos)}
}

func (q *fakeQueues) Poll(ctx context.Context, req taskqueue.PollRequest, wait time.Duration) (taskqueue.Task, error) {
	q.mu.Lock()
	q.polls = append(q.polls, req)
	err := q.pollErr
	q.mu.Unlock()
	if err != nil {
		return taskqueue.Task{}, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case t := <-q.tasks:
		return t, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return taskqueue.Task{}, taskqueue.ErrNoTask
}

func (q *fakeQueues) Requeue(t taskqueue.Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.requeued = append(q.requeued, t)
}

func (q *fakeQueues) OfferQuery(queue taskqueue.QueueKey, t *taskqueue.QueryTask) {
	q.offered <- queue.Name
	q.tasks <- taskqueue.Task{Queue: queue, Query: t}
}

func (q *fakeQueues) LastPoll(queue taskqueue.QueueKey) clock.Nanos {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lastPoll[queue.Name]
}

// polled says that somebody polls a queue just now.
func (q *fakeQueues) polled(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lastPoll[name] = clock.System{}.Now()
}

func (q *fakeQueues) Describe(queue taskqueue.QueueKey) taskqueue.Description {
	if q.describe == nil {
		return taskqueue.Description{}
	}
	return q.describe(queue)
}

func (q *fakeQueues) ShutdownWorker(_ ids.NamespaceID, sticky, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = append(q.shut, sticky+"|"+key)
}

// overWire is m after it went to a client and was decoded there.
func overWire[M proto.Message](t testing.TB, m M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func eventIDs(h *historypb.History) (out []int64) {
	for _, e := range h.GetEvents() {
		out = append(out, e.EventId)
	}
	return out
}

// upTo lists 1 to n.
func upTo(n int64) (out []int64) {
	for i := int64(1); i <= n; i++ {
		out = append(out, i)
	}
	return out
}

func payloads(size int) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: bytes.Repeat([]byte{'x'}, size)}}}
}

func execOf(workflow, run string) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: workflow, RunId: run}
}

var errBoom = errors.New("boom")

// apply writes rows into the store.
func (f front) apply(t testing.TB, ops ...storage.Op) {
	t.Helper()
	epoch, err := f.store.Acquire(t.Context(), 7)
	if err == nil {
		err = f.store.Apply(t.Context(), &storage.Batch{Fence: storage.Fence{Shard: 7, Epoch: epoch}, Ops: ops})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rowsOf are the rows that a listing looks at, for one run.
func rowsOf(t testing.TB, st *execution.State, index proto.Message) (ops []storage.Op) {
	t.Helper()
	for _, kind := range []execution.RowKind{execution.RowInfo, execution.RowStart} {
		row := execution.Row{Kind: kind}
		value, ok := record.EncodeRow(st, row)
		if !ok {
			t.Fatalf("no row of kind %d", kind)
		}
		ops = append(ops, storage.Op{Key: record.RowKey(st.Key, row), Value: value})
	}
	value, err := proto.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	key := record.IndexKey(st.Key.Namespace, st.Key.Run, false, st.Start.StartTime)
	if !st.Open() {
		key = record.IndexKey(st.Key.Namespace, st.Key.Run, true, st.Info.CloseTime)
	}
	return append(ops, storage.Op{Key: key, Value: value})
}
