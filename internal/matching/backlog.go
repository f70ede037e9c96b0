package matching

import (
	"slices"
	"strings"

	"github.com/perdure/perdure/internal/clock"
)

// Position divides the rows of a queue by key: those before Key are covered, and Key itself if Inclusive. The zero
// position covers nothing.
type Position struct {
	Key       string
	Inclusive bool
}

func (p Position) covers(key string) bool { return key < p.Key || p.Inclusive && key == p.Key }

// backlog is what a queue knows of the rows that are not in memory.
type backlog[T any] struct {
	spilled bool
	at      Position // meaningless unless spilled
	wanted  bool     // somebody polls: rows are worth reading
	retryAt clock.Nanos
	recent  recent

	paging bool
	held   []*Task[T] // offered beyond the position while a page is read; in key order, and all before missed
	// missed is the smallest key that was neither kept nor held while a page is read: there the page ends.
	missed    string
	hasMissed bool

	left [priorities]leftover
}

// leftover is an estimate of the tasks of one priority that are only in the store.
type leftover struct {
	count  int64
	oldest clock.Nanos
}

func (b *backlog[T]) covers(key string) bool { return b.at.covers(key) }

// moveBack makes the position end before key.
func (b *backlog[T]) moveBack(key string) {
	if b.at.covers(key) {
		b.at = Position{Key: key}
	}
}

func (b *backlog[T]) isMissed(key string) bool { return b.hasMissed && key >= b.missed }

// miss lets the page end before key.
func (b *backlog[T]) miss(key string) {
	if b.isMissed(key) {
		return
	}
	b.missed, b.hasMissed = key, true
	for n := len(b.held); n > 0 && b.held[n-1].Key >= key; n-- {
		b.held[n-1] = nil
		b.held = b.held[:n-1]
	}
}

// leave leaves t, which is beyond the position, to the store.
func (q *Queue[T, P]) leave(t *Task[T]) {
	t.Backlog = true
	q.estimate(t)
	b := &q.store
	b.recent.remove(t.Key)
	if b.paging && !b.isMissed(t.Key) {
		q.hold(t)
	}
}

// hold holds t until the page is applied. Of too many, the last is missed.
func (q *Queue[T, P]) hold(t *Task[T]) {
	b := &q.store
	i, twin := slices.BinarySearchFunc(b.held, t.Key, func(u *Task[T], key string) int { return strings.Compare(u.Key, key) })
	if twin {
		return
	}
	b.held = slices.Insert(b.held, i, t)
	if last := len(b.held) - 1; last >= q.opts.Memory {
		b.miss(b.held[last].Key)
	}
}

// forgetLast leaves the last durable task in memory to the store.
func (q *Queue[T, P]) forgetLast() {
	t := q.removeLast()
	key, b := q.key(t), &q.store
	b.recent.remove(key)
	if !b.spilled {
		b.spilled, b.at, b.left = true, Position{Key: key}, [priorities]leftover{}
	}
	b.moveBack(key)
	if b.paging {
		b.miss(key)
	}
	q.estimate(t)
}

func (q *Queue[T, P]) removeLast() *Task[T] {
	for l := priorities - 1; l >= 0; l-- {
		f := &q.tasks[l]
		for i := f.len() - 1; i >= 0; i-- {
			if t := f.live()[i]; !t.Volatile {
				q.drop(t)
				return f.remove(i)
			}
		}
	}
	panic("matching: no durable task in memory")
}

func (q *Queue[T, P]) estimate(t *Task[T]) {
	e := &q.store.left[t.level()]
	if e.count++; e.count == 1 || t.Added < e.oldest {
		e.oldest = t.Added
	}
}

// found takes a task that was left to the store out of the estimate. Those that remain are newer.
func (q *Queue[T, P]) found(t *Task[T]) {
	e := &q.store.left[t.level()]
	e.count = max(0, e.count-1)
	e.oldest = max(e.oldest, t.Added)
}

func (q *Queue[T, P]) hungry() bool {
	b := &q.store
	return b.spilled && b.wanted && !b.paging && q.durable <= q.opts.Memory/2
}

// WantsPage tells whether rows should be read from the store: BeginPage, read, then EndPage or FailPage.
func (q *Queue[T, P]) WantsPage(now clock.Nanos) bool { return q.hungry() && now >= q.store.retryAt }

// BeginPage says after which position to read, and how many rows.
func (q *Queue[T, P]) BeginPage() (after Position, limit int) {
	q.store.paging = true
	return q.store.at, q.opts.Memory - q.durable
}

// EndPage takes the rows read after the position that BeginPage returned, in key order and with their keys; end tells
// that there were no more. The rows were read after BeginPage returned.
func (q *Queue[T, P]) EndPage(now clock.Nanos, rows []*Task[T], end bool) []Match[T, P] {
	q.begin()
	b := &q.store
	b.retryAt = 0
	to := b.at
	for _, t := range rows {
		to = Position{Key: t.Key, Inclusive: true}
		if !b.isMissed(t.Key) {
			q.found(t)
			if !b.recent.has(t.Key) {
				q.restore(t)
			}
		}
	}
	for len(b.held) > 0 && (end || to.covers(b.held[0].Key)) {
		t := b.held[0]
		b.held = b.held[1:]
		q.found(t)
		q.restore(t)
	}
	switch {
	case b.hasMissed && (end || to.covers(b.missed)):
		b.at = Position{Key: b.missed}
	case end:
		b.spilled, b.left = false, [priorities]leftover{}
		b.recent.clear()
	default:
		b.at = to
	}
	b.endPage()
	return q.dispatch(now)
}

func (b *backlog[T]) endPage() { b.paging, b.held, b.missed, b.hasMissed = false, nil, "", false }

func (q *Queue[T, P]) restore(t *Task[T]) {
	t.Backlog = true
	q.seq++
	t.seq = q.seq
	q.keep(t)
}

// FailPage says that the rows could not be read; the page is wanted again from retryAt on.
func (q *Queue[T, P]) FailPage(retryAt clock.Nanos) {
	b := &q.store
	b.retryAt = retryAt
	b.endPage()
}

// Rescan doubts everything: all rows are read again. It is for when offers may have been lost. Tasks in memory stay.
func (q *Queue[T, P]) Rescan() {
	b := &q.store
	b.spilled, b.at = true, Position{}
	b.recent.clear()
	if b.paging {
		b.miss("")
	}
}

// Park forgets what is in memory and in the store, or is volatile and was added before the given time. It is for queues
// that nobody polls; the next poll begins with a page. It does nothing while somebody polls.
func (q *Queue[T, P]) Park(before clock.Nanos) {
	b := &q.store
	if q.pollers.n > 0 || b.paging {
		return
	}
	if !b.spilled {
		b.left = [priorities]leftover{}
	}
	for l := range q.tasks {
		q.tasks[l].removeFunc(func(t *Task[T]) bool {
			if t.Volatile && t.Added >= before {
				return false
			}
			if !t.Volatile {
				q.estimate(t)
			}
			q.drop(t)
			return true
		})
	}
	b.spilled, b.wanted, b.at = true, false, Position{}
	b.recent.clear()
}

// Cold tells that nobody has polled since the queue was made or parked.
func (q *Queue[T, P]) Cold() bool { return !q.store.wanted }

// Spilled tells that there may be tasks that are only in the store.
func (q *Queue[T, P]) Spilled() bool { return q.store.spilled }

// Empty tells that there is nothing that forgetting the queue would lose: nobody waits, and every task, if there is
// any, has its row.
func (q *Queue[T, P]) Empty() bool {
	return q.pollers.n == 0 && q.volatile == 0 && len(q.queries) == 0 && !q.store.paging
}

// Recount corrects the estimates from a count of all rows by priority (1 first), with the time of the oldest of each.
// complete: there are no more rows than those counted.
func (q *Queue[T, P]) Recount(counts [5]int64, oldest [5]clock.Nanos, complete bool) {
	if !q.store.spilled {
		return
	}
	for l := range counts {
		e := &q.store.left[l]
		n := max(0, counts[l]-int64(q.tasks[l].len()))
		if !complete {
			n = max(n, e.count)
		}
		if e.count == 0 || q.Cold() {
			e.oldest = oldest[l]
		}
		e.count = n
	}
}

// recentMax bounds recent.
const recentMax = 256

// recent is the keys of tasks handed out last, so that pages do not bring them again needlessly.
type recent struct {
	keys map[string]struct{}
	ring []string
	next int
}

func (r *recent) add(key string) {
	if r.keys == nil {
		r.keys = make(map[string]struct{})
	}
	if len(r.ring) < recentMax {
		r.ring = append(r.ring, key)
	} else {
		delete(r.keys, r.ring[r.next])
		r.ring[r.next] = key
		r.next = (r.next + 1) % recentMax
	}
	r.keys[key] = struct{}{}
}

func (r *recent) has(key string) bool {
	_, ok := r.keys[key]
	return ok
}

func (r *recent) remove(key string) { delete(r.keys, key) }

func (r *recent) clear() { *r = recent{} }

// InMemory is the number of tasks in memory, queries aside.
func (q *Queue[T, P]) InMemory() int { return q.durable + q.volatile }
