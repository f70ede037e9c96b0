package taskqueue

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// Options configure a Manager. Clock and Backlog are required; zero values elsewhere mean the defaults.
type Options struct {
	Clock   clock.Clock
	Backlog Backlog
	Logger  *slog.Logger // default: discards
	// MemoryTasks is how many tasks of one queue are kept in memory, beside as many volatile ones; 1000. The rest is
	// paged in from the store.
	MemoryTasks int
	// StickyWindow is how long after its last poll a sticky queue counts as alive; 10 s.
	StickyWindow time.Duration
	// PollersRemembered is how long pollers, and queues that nobody polls, are remembered; 5 min.
	PollersRemembered time.Duration
	// MaxPolls bounds the concurrent polls of one namespace; 1200. Negative: no bound.
	MaxPolls int
	// CountedTasks is up to how many rows of a queue are counted for its description after a start; 100000.
	CountedTasks int
	// ConcurrentReads bounds the reads of the store that go on at once; 8.
	ConcurrentReads int
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.MemoryTasks, 1000)
	setDefault(&o.StickyWindow, 10*time.Second)
	setDefault(&o.PollersRemembered, 5*time.Minute)
	setDefault(&o.MaxPolls, 1200)
	setDefault(&o.CountedTasks, 100_000)
	setDefault(&o.ConcurrentReads, 8)
	return o
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Manager keeps the task queues of this node. It implements Service, and the engine's sink through Offer and
// StickyAlive. All methods are safe for concurrent use.
//
// Locks: each queue has one, each shard of the map has one, and so have the timers and the poll counts. None is ever
// taken while another is held, nor held across the store or anything that can block.
type Manager struct {
	opts   Options
	ctx    context.Context // of store reads; done when the manager stops
	cancel context.CancelFunc
	reads  chan struct{} // a slot per concurrent read
	shards [shardCount]shard
	timers timers
	// shut has the keys of workers that were shut down: workerKey to when (clock.Nanos).
	shut     sync.Map
	stopping atomic.Bool

	mu      sync.Mutex
	polls   map[ids.NamespaceID]int
	stopped bool
	jobs    sync.WaitGroup // Add only under mu while not stopped
	tidying bool
}

var _ Service = (*Manager)(nil)

// workerKey names a worker of a namespace.
type workerKey struct {
	namespace ids.NamespaceID
	key       string
}

// New makes a manager. Offers and polls may begin at once; Start makes it take up what the store has.
func New(opts Options) *Manager {
	opts = opts.withDefaults()
	m := &Manager{opts: opts, polls: make(map[ids.NamespaceID]int), reads: make(chan struct{}, opts.ConcurrentReads)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.timers.wake = make(chan struct{}, 1)
	for i := range m.shards {
		m.shards[i].queues = make(map[QueueKey]*queue)
	}
	return m
}

// Start begins to keep time, and to count the queues that have rows in the store. Their tasks are read once somebody
// polls. Call it once, and Stop later; after an error Stop is needed too.
func (m *Manager) Start(ctx context.Context) error {
	keys, err := m.opts.Backlog.Queues(ctx)
	if err != nil {
		return fmt.Errorf("taskqueue: list queues with a backlog: %w", err)
	}
	m.spawn(m.runTimers)
	m.spawn(func() {
		for _, key := range keys {
			q := m.acquire(key)
			m.release(q)
			m.count(q, m.opts.CountedTasks)
		}
	})
	return nil
}

// Stop ends all polls with ErrNoTask and returns when nothing of the manager runs any more, its callers' polls aside.
func (m *Manager) Stop() {
	m.stopping.Store(true)
	m.cancel()
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.endPolls(func(*poll) bool { return true })
	m.jobs.Wait()
}

// spawn runs fn in a goroutine that Stop waits for; false: it is too late.
func (m *Manager) spawn(fn func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return false
	}
	m.jobs.Go(fn)
	return true
}

// Offer takes a task from the engine; unless it is volatile its row must be durable. It never blocks.
func (m *Manager) Offer(o execution.Offer) {
	if m.stopping.Load() {
		return
	}
	key, ok := queueOf(o)
	if !ok {
		return
	}
	now := m.opts.Clock.Now()
	t := taskOf(o)
	t.Added = now
	q := m.acquire(key)
	q.sticky = q.sticky || o.Task.Sticky
	q.deliver(now, q.core.Offer(now, t))
	m.release(q)
}

// OfferQuery implements Service.
func (m *Manager) OfferQuery(key QueueKey, query *QueryTask) {
	if m.stopping.Load() {
		return
	}
	now := m.opts.Clock.Now()
	q := m.acquire(key)
	q.deliver(now, q.core.OfferQuery(now, queryTask(query, now)))
	m.release(q)
}

// Requeue implements Service.
func (m *Manager) Requeue(t Task) {
	if m.stopping.Load() {
		return
	}
	now := m.opts.Clock.Now()
	task := taskOf(t.Offer)
	if t.Query != nil {
		task = queryTask(t.Query, t.AddedAt)
	}
	task.Added = t.AddedAt
	q := m.acquire(t.Queue)
	q.deliver(now, q.core.Requeue(now, task))
	m.release(q)
}

// StickyAlive tells whether a worker polls the sticky queue, or did so within the sticky window, and was not shut down.
func (m *Manager) StickyAlive(ns ids.NamespaceID, name string) bool {
	now := m.opts.Clock.Now()
	at := m.LastPoll(QueueKey{Namespace: ns, Type: record.QueueWorkflow, Name: name})
	return at != 0 && now.Sub(at) <= m.opts.StickyWindow
}

// LastPoll implements Service.
func (m *Manager) LastPoll(key QueueKey) clock.Nanos {
	now := m.opts.Clock.Now()
	q := m.find(key)
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.shut:
		return 0
	case q.core.Waiting() > 0:
		return now
	}
	return q.lastPoll
}

// ShutdownWorker implements Service.
func (m *Manager) ShutdownWorker(ns ids.NamespaceID, stickyQueue, key string) {
	if stickyQueue != "" {
		if q := m.find(QueueKey{Namespace: ns, Type: record.QueueWorkflow, Name: stickyQueue}); q != nil {
			q.mu.Lock()
			q.shut = true
			q.mu.Unlock()
		}
	}
	if key == "" {
		return
	}
	worker := workerKey{ns, key}
	m.shut.Store(worker, m.opts.Clock.Now())
	m.endPolls(func(p *poll) bool { return p.worker == worker })
}

// endPolls ends the parked polls that which selects. A poll that parks later sees why in stopping or shut.
func (m *Manager) endPolls(which func(*poll) bool) {
	for _, q := range m.all() {
		q.mu.Lock()
		q.core.CancelFunc(which, func(p *poll) { p.result <- pollResult{} })
		q.mu.Unlock()
	}
}

// Rescan makes every queue read its rows again: for when offers may have been lost, as after a shard was reloaded.
// Tasks that were taken and whose rows are still there are offered again.
func (m *Manager) Rescan() {
	for _, q := range m.all() {
		q.mu.Lock()
		if !q.gone {
			q.core.Rescan()
		}
		m.release(q)
	}
}
