package taskqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tidwall/btree"
	"go.uber.org/goleak"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testNS = ids.NamespaceID("11111111-1111-4111-8111-111111111111")

func workflowQueue(name string) QueueKey {
	return QueueKey{Namespace: testNS, Type: record.QueueWorkflow, Name: name}
}

func activityQueue(name string) QueueKey {
	return QueueKey{Namespace: testNS, Type: record.QueueActivity, Name: name}
}

// offerOf is the n-th task of a queue, scheduled at a time of its own.
func offerOf(q QueueKey, n int, priority int32) execution.Offer {
	run := ids.RunKey{
		Namespace: q.Namespace, Workflow: ids.WorkflowID(fmt.Sprint("w", n)),
		Run: ids.RunID(fmt.Sprintf("22222222-2222-4222-8222-%012d", n)),
	}
	t := execution.Task{Queue: q.Name, At: clock.Nanos(n + 1), Priority: priority}
	if q.Type == record.QueueActivity {
		t.Kind, t.ScheduledID, t.Stamp = execution.TaskActivity, int64(n+1), 1
		return execution.Offer{Activity: &execution.ActivityRef{Run: run, ScheduledID: t.ScheduledID, Stamp: 1}, Task: t}
	}
	t.Kind, t.Seq = execution.TaskWorkflow, int64(n+1)
	return execution.Offer{Workflow: &execution.WorkflowTaskRef{Run: run, Seq: t.Seq}, Task: t}
}

func numberOf(t Task) int {
	if t.Offer.Activity != nil {
		return int(t.Offer.Activity.ScheduledID) - 1
	}
	return int(t.Offer.Workflow.Seq) - 1
}

// rows is a store of dispatch rows, in their real format.
type rows struct {
	mu    sync.Mutex
	tree  btree.Map[string, []byte]
	err   error
	gate  chan struct{} // when set, pages wait for it
	pages int
}

func (r *rows) put(o execution.Offer) {
	run, _, _ := runOf(o)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tree.Set(rowKey(payload{offer: o}), record.EncodeTask(run, &o.Task))
}

func (r *rows) remove(o execution.Offer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tree.Delete(rowKey(payload{offer: o}))
}

func (r *rows) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *rows) read() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pages
}

func (r *rows) Page(ctx context.Context, q QueueKey, after []byte, limit int) ([]execution.Offer, [][]byte, error) {
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pages++; r.err != nil {
		return nil, nil, r.err
	}
	prefix := record.DispatchPrefix(q.Namespace, q.Type, q.Name)
	from := prefix
	if after != nil {
		from = append(bytes.Clone(after), 0)
	}
	var offers []execution.Offer
	var keys [][]byte
	var fault error
	r.tree.Ascend(string(from), func(key string, value []byte) bool {
		if len(offers) == limit || !bytes.HasPrefix([]byte(key), prefix) {
			return false
		}
		o, err := record.DecodeDispatch([]byte(key), value)
		fault = errors.Join(fault, err)
		offers, keys = append(offers, o), append(keys, []byte(key))
		return true
	})
	return offers, keys, fault
}

func (r *rows) Queues(context.Context) ([]QueueKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var queues []QueueKey
	for _, key := range r.tree.Keys() {
		value, _ := r.tree.Get(key)
		o, err := record.DecodeDispatch([]byte(key), value)
		if err != nil {
			return nil, err
		}
		if q, _ := queueOf(o); !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	return queues, r.err
}

// started is a manager over a store, stopped when the test ends.
func started(t testing.TB, store *rows, opts Options) *Manager {
	t.Helper()
	opts.Backlog = store
	if opts.Clock == nil {
		opts.Clock = clock.System{}
	}
	m := New(opts)
	t.Cleanup(m.Stop)
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return m
}

// add makes a row durable and offers it, as the engine does.
func add(m *Manager, store *rows, offers ...execution.Offer) {
	for _, o := range offers {
		store.put(o)
		m.Offer(o)
	}
}
