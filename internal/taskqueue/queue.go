package taskqueue

import (
	"hash/maphash"
	"sync"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/matching"
	"github.com/perdure/perdure/internal/record"
)

// queue is one task queue in memory.
type queue struct {
	key QueueKey

	mu   sync.Mutex
	core *matching.Queue[payload, *poll]
	// gone: it was taken out of the map; whoever got it before has to ask the map again.
	gone   bool
	sticky bool // seen as a sticky queue
	shut   bool // its worker was shut down and nobody has polled since
	// touched is when the queue was made or last polled, lastPoll only the latter.
	touched  clock.Nanos
	lastPoll clock.Nanos
	pollers  map[string]Poller
	dueAt    clock.Nanos // of the earliest timer that is set; zero: none
	failures int         // pages that failed in a row
	counting bool
	counted  clock.Nanos
}

// payload is what tasks carry: an offer or a query.
type payload struct {
	offer execution.Offer
	query *QueryTask
}

func runOf(o execution.Offer) (run ids.RunKey, typ record.QueueType, ok bool) {
	switch {
	case o.Workflow != nil:
		return o.Workflow.Run, record.QueueWorkflow, true
	case o.Activity != nil:
		return o.Activity.Run, record.QueueActivity, true
	}
	return run, 0, false
}

func queueOf(o execution.Offer) (QueueKey, bool) {
	run, typ, ok := runOf(o)
	return QueueKey{Namespace: run.Namespace, Type: typ, Name: o.Task.Queue}, ok
}

// rowKey is the key of an offer's row.
func rowKey(p payload) string {
	run, _, _ := runOf(p.offer)
	return string(record.TaskKey(run, &p.offer.Task))
}

func taskOf(o execution.Offer) *matching.Task[payload] {
	return &matching.Task[payload]{
		Value: payload{offer: o}, Priority: o.Task.Priority, At: o.Task.At, Added: o.Task.At, Volatile: o.Volatile,
	}
}

func queryTask(q *QueryTask, added clock.Nanos) *matching.Task[payload] {
	dead := q.Dead
	if dead == nil {
		dead = func() bool { return false }
	}
	return &matching.Task[payload]{Value: payload{query: q}, Added: added, Dead: dead}
}

// deliver hands matches over. Each poll gets at most one result, and its channel has room for it.
func (q *queue) deliver(now clock.Nanos, matches []matching.Match[payload, *poll]) {
	for _, m := range matches {
		q.lastPoll = now
		m.Poller.Value.result <- pollResult{task: q.taken(m), ok: true}
	}
}

func (q *queue) taken(m matching.Match[payload, *poll]) Task {
	v := &m.Task.Value
	return Task{
		Queue: q.key, Offer: v.offer, Query: v.query, Backlog: m.Task.Backlog, AddedAt: m.Task.Added, Scaling: m.Scaling,
	}
}

// shard is a part of the map of queues.
type shard struct {
	mu     sync.Mutex
	queues map[QueueKey]*queue
}

const shardCount = 64

var shardSeed = maphash.MakeSeed()

func (m *Manager) shard(key QueueKey) *shard {
	return &m.shards[maphash.Comparable(shardSeed, key)%shardCount]
}

// find returns the queue, or nil if it is not in memory.
func (m *Manager) find(key QueueKey) *queue {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[key]
}

// acquire returns the queue locked, new if need be. Unlock it with release.
func (m *Manager) acquire(key QueueKey) *queue {
	for {
		q := m.findOrMake(key)
		q.mu.Lock()
		if !q.gone {
			return q
		}
		q.mu.Unlock()
		m.unmap(q)
	}
}

func (m *Manager) findOrMake(key QueueKey) *queue {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[key]
	if q == nil {
		q = &queue{key: key, touched: m.opts.Clock.Now()}
		q.core = matching.New[payload, *poll](matching.Options[payload]{
			Memory: m.opts.MemoryTasks, Key: rowKey, LimitMemory: m.opts.PollersRemembered,
		})
		s.queues[key] = q
	}
	return q
}

// unmap takes a queue that is gone out of the map.
func (m *Manager) unmap(q *queue) {
	s := m.shard(q.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues[q.key] == q {
		delete(s.queues, q.key)
	}
}

// release unlocks q and sees to what it needs now: a page from the store, a timer.
func (m *Manager) release(q *queue) {
	now := m.opts.Clock.Now()
	var after matching.Position
	var limit int
	page := !q.gone && q.core.WantsPage(now)
	if page {
		after, limit = q.core.BeginPage()
	}
	due := q.core.NextTick(now)
	ring := due != 0 && (q.dueAt == 0 || due < q.dueAt)
	if ring {
		q.dueAt = due
	}
	q.mu.Unlock()
	if ring {
		m.timers.add(due, q)
	}
	if page {
		m.spawn(func() { m.page(q, after, limit) })
	}
}

// all lists the queues in memory.
func (m *Manager) all() []*queue {
	var all []*queue
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, q := range s.queues {
			all = append(all, q)
		}
		s.mu.Unlock()
	}
	return all
}
