package matching

import (
	"slices"
	"time"

	"github.com/perdure/perdure/internal/clock"
)

// Options are fixed for the life of a queue.
type Options[T any] struct {
	// Memory is how many durable tasks are kept in memory, and how many volatile ones; at least 1. Beyond it durable
	// tasks are left to the store, and the oldest volatile task is dropped.
	Memory int
	// Key is the key of the row of a durable task.
	Key func(T) string
	// LimitMemory is how long a rate limit lasts that no poller asked for again; zero: for ever.
	LimitMemory time.Duration
}

// Match says who takes what.
type Match[T, P any] struct {
	Task   *Task[T]
	Poller *Poller[P]
	// Scaling is the advice to the poller's worker: poll with one poller more (1) or less (-1), or none (0).
	Scaling int32
}

// Queue is one task queue. See the package comment. The slices of matches that methods return are valid until the next
// call.
type Queue[T, P any] struct {
	opts     Options[T]
	tasks    [priorities]fifo[T]
	durable  int // in memory
	volatile int
	queries  []*Task[T]
	pruneAt  int // number of queries at which dead ones are looked for
	pollers  line[P]
	seq      int64
	out      []Match[T, P]

	store backlog[T]

	limit     bucket
	limitSet  clock.Nanos
	limitedAt clock.Nanos // when the limit last held a task back
	advice    bucket
	rates     [priorities]*rates
}

type rates struct{ added, dispatched window }

// New makes a queue that knows nothing of its rows yet: it is spilled, with a position that covers nothing.
func New[T, P any](opts Options[T]) *Queue[T, P] {
	opts.Memory = max(1, opts.Memory)
	q := &Queue[T, P]{opts: opts, pruneAt: minPrune}
	q.store.spilled = true
	return q
}

// Offer adds a task whose row, unless it is volatile, is durable.
func (q *Queue[T, P]) Offer(now clock.Nanos, t *Task[T]) []Match[T, P] {
	q.begin()
	q.traffic(t).added.add(now)
	q.take(now, t)
	return q.out
}

// Requeue adds a task again that was handed out, in its old place.
func (q *Queue[T, P]) Requeue(now clock.Nanos, t *Task[T]) []Match[T, P] {
	q.begin()
	t.Backlog = true
	q.seq++
	t.seq = -q.seq // before all others of its time
	if t.Dead != nil {
		q.queries = slices.Insert(q.queries, 0, t)
		return q.dispatch(now)
	}
	q.take(now, t)
	return q.out
}

// take keeps an offered task in memory, or leaves it to the store.
func (q *Queue[T, P]) take(now clock.Nanos, t *Task[T]) {
	if !t.Volatile && q.store.spilled && !q.store.covers(q.key(t)) {
		q.leave(t)
		return
	}
	if q.pollers.n > 0 && q.durable+q.volatile == 0 && !t.Backlog && q.limit.take(now) {
		q.hand(now, t)
		return
	}
	t.Backlog = true
	if t.seq == 0 {
		q.seq++
		t.seq = q.seq
	}
	q.keep(t)
	q.dispatch(now)
}

// OfferQuery adds a query: a task with Dead set.
func (q *Queue[T, P]) OfferQuery(now clock.Nanos, t *Task[T]) []Match[T, P] {
	q.begin()
	t.Backlog = q.pollers.n == 0
	q.queries = append(q.queries, t)
	if len(q.queries) >= q.pruneAt {
		q.Prune()
	}
	return q.dispatch(now)
}

const minPrune = 32

// Prune drops dead queries.
func (q *Queue[T, P]) Prune() {
	q.queries = slices.DeleteFunc(q.queries, func(t *Task[T]) bool { return t.Dead() })
	q.pruneAt = max(minPrune, 2*len(q.queries))
	if len(q.queries) == 0 {
		q.queries = nil
	}
}

// Poll lets p wait for a task. The returned matches may have p in them, and others.
func (q *Queue[T, P]) Poll(now clock.Nanos, p *Poller[P]) []Match[T, P] {
	q.begin()
	q.store.wanted = true
	p.since = now
	q.pollers.push(p)
	return q.dispatch(now)
}

// Cancel ends p's waiting; false: it was handed a task before, or ended.
func (q *Queue[T, P]) Cancel(p *Poller[P]) bool {
	if !p.parked {
		return false
	}
	q.pollers.remove(p)
	return true
}

// CancelFunc ends the waiting of all pollers that gone returns true for, and tells done of each.
func (q *Queue[T, P]) CancelFunc(gone func(P) bool, done func(P)) {
	for p := q.pollers.first; p != nil; {
		next := p.next
		if gone(p.Value) {
			q.pollers.remove(p)
			done(p.Value)
		}
		p = next
	}
}

// Waiting is the number of parked pollers.
func (q *Queue[T, P]) Waiting() int { return q.pollers.n }

// Limit is called with the rate limit that a poller wishes for, in tasks per second; nil: it has no wish. The latest
// wish counts; zero blocks the queue. Negative wishes and those that are no numbers are no wishes.
func (q *Queue[T, P]) Limit(now clock.Nanos, perSecond *float64) {
	if perSecond == nil || !(*perSecond >= 0) {
		if q.opts.LimitMemory > 0 && now.Sub(q.limitSet) > q.opts.LimitMemory {
			q.limit = bucket{}
		}
		return
	}
	q.limitSet = now
	q.limit.set(now, *perSecond, max(1, *perSecond/10))
}

// Tick hands out what time alone has made possible. NextTick says when it is needed.
func (q *Queue[T, P]) Tick(now clock.Nanos) []Match[T, P] {
	q.begin()
	return q.dispatch(now)
}

// NextTick is when Tick, and then WantsPage, should be called; zero: no need.
func (q *Queue[T, P]) NextTick(now clock.Nanos) clock.Nanos {
	var due clock.Nanos
	if q.pollers.n > 0 && q.durable+q.volatile > 0 {
		due = q.limit.next(now)
	}
	if r := q.store.retryAt; r > now && q.hungry() && (due == 0 || r < due) {
		due = r
	}
	return due
}

func (q *Queue[T, P]) begin() {
	clear(q.out)
	q.out = q.out[:0]
}

// dispatch hands out tasks while there are both tasks and pollers.
func (q *Queue[T, P]) dispatch(now clock.Nanos) []Match[T, P] {
	for q.pollers.n > 0 {
		t := q.next(now)
		if t == nil {
			break
		}
		q.hand(now, t)
	}
	return q.out
}

func (q *Queue[T, P]) next(now clock.Nanos) *Task[T] {
	for len(q.queries) > 0 {
		t := q.queries[0]
		q.queries[0] = nil
		q.queries = q.queries[1:]
		if !t.Dead() {
			return t
		}
	}
	for l := range q.tasks {
		if q.tasks[l].len() == 0 {
			continue
		}
		if !q.limit.take(now) {
			q.limitedAt = now
			return nil
		}
		t := q.tasks[l].pop()
		q.drop(t)
		return t
	}
	return nil
}

// hand gives t to the poller that has waited longest.
func (q *Queue[T, P]) hand(now clock.Nanos, t *Task[T]) {
	p := q.pollers.first
	q.pollers.remove(p)
	m := Match[T, P]{Task: t, Poller: p}
	if t.Dead == nil {
		q.traffic(t).dispatched.add(now)
		m.Scaling = q.scaling(now, t, now.Sub(p.since))
		if q.store.spilled && !t.Volatile {
			q.store.recent.add(q.key(t))
		}
	}
	q.out = append(q.out, m)
}

// drop takes t, which has left its fifo, out of the counts.
func (q *Queue[T, P]) drop(t *Task[T]) {
	if t.Volatile {
		q.volatile--
	} else {
		q.durable--
	}
}

// keep puts t into memory; what does not fit any more is left to the store, or dropped if it is volatile.
func (q *Queue[T, P]) keep(t *Task[T]) {
	if !q.tasks[t.level()].insert(t, q.key) {
		return
	}
	if t.Volatile {
		if q.volatile++; q.volatile > q.opts.Memory {
			q.dropOldestVolatile()
		}
		return
	}
	if q.durable++; q.durable > q.opts.Memory {
		q.forgetLast()
	}
}

// dropOldestVolatile makes room. The oldest is the one whose run has most likely given up on it.
func (q *Queue[T, P]) dropOldestVolatile() {
	level, index, oldest := -1, 0, (*Task[T])(nil)
	for l := range q.tasks {
		for i, t := range q.tasks[l].live() {
			if t.Volatile && (oldest == nil || t.Added < oldest.Added) {
				level, index, oldest = l, i, t
			}
		}
	}
	q.drop(q.tasks[level].remove(index))
}

func (q *Queue[T, P]) key(t *Task[T]) string {
	if t.Key == "" {
		t.Key = q.opts.Key(t.Value)
	}
	return t.Key
}

func (q *Queue[T, P]) traffic(t *Task[T]) *rates {
	r := &q.rates[t.level()]
	if *r == nil {
		*r = new(rates)
	}
	return *r
}
