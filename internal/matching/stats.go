package matching

import (
	"time"

	"github.com/perdure/perdure/internal/clock"
)

// Stats describes the backlog and the traffic of the last 30 seconds. Queries are not in it.
type Stats struct {
	Count        int64         // tasks that wait; an estimate for those only in the store
	Age          time.Duration // of the oldest task that waits
	AddRate      float64       // tasks per second
	DispatchRate float64
	RateLimited  bool // the rate limit held tasks back
}

// Stats describes the queue as a whole.
func (q *Queue[T, P]) Stats(now clock.Nanos) Stats {
	var all Stats
	for l := range priorities {
		s := q.PriorityStats(now, l+1)
		all.Count += s.Count
		all.Age = max(all.Age, s.Age)
		all.AddRate += s.AddRate
		all.DispatchRate += s.DispatchRate
	}
	all.RateLimited = q.limitedAt != 0 && now.Sub(q.limitedAt) < windowBuckets*windowBucket
	return all
}

// PriorityStats describes the tasks of one priority, 1 to 5; RateLimited is of the queue as a whole and not set.
func (q *Queue[T, P]) PriorityStats(now clock.Nanos, priority int) Stats {
	l := priority - 1
	n, oldest := q.waiting(l)
	s := Stats{Count: n}
	if n > 0 {
		s.Age = max(0, now.Sub(oldest))
	}
	if r := q.rates[l]; r != nil {
		s.AddRate, s.DispatchRate = r.added.rate(now), r.dispatched.rate(now)
	}
	return s
}

// waiting is how many tasks of a level wait, and since when the oldest does.
func (q *Queue[T, P]) waiting(l int) (n int64, oldest clock.Nanos) {
	n = int64(q.tasks[l].len())
	if n > 0 {
		oldest = q.tasks[l].first().Added
	}
	if e := &q.store.left[l]; q.store.spilled && e.count > 0 {
		if n == 0 || e.oldest < oldest {
			oldest = e.oldest
		}
		n += e.count
	}
	return n, oldest
}

// How pollers are advised.
const (
	adviseLessAfter = time.Second            // a poll that waited so long for a task that did not wait was not needed
	adviseMoreAge   = 200 * time.Millisecond // tasks that wait so long need more pollers
	adviseMoreRatio = 1.2                    // so do tasks that come so much faster than they go
	advicePerSecond = 10
)

// scaling is the advice for a poller that waited so long for t.
func (q *Queue[T, P]) scaling(now clock.Nanos, t *Task[T], waited time.Duration) int32 {
	q.advice.set(now, advicePerSecond, advicePerSecond)
	if !q.advice.ready(now) {
		return 0
	}
	delta := int32(0)
	if !t.Backlog && waited >= adviseLessAfter {
		delta = -1
	} else if q.behind(now) {
		delta = 1
	} else {
		return 0
	}
	q.advice.take(now)
	return delta
}

// behind tells that tasks wait, and that they wait long or become more.
func (q *Queue[T, P]) behind(now clock.Nanos) bool {
	waits := false
	for l := range priorities {
		n, oldest := q.waiting(l)
		if n > 0 && now.Sub(oldest) > adviseMoreAge {
			return true
		}
		waits = waits || n > 0
	}
	return waits && q.growing(now)
}

func (q *Queue[T, P]) growing(now clock.Nanos) bool {
	var added, dispatched float64
	for _, r := range q.rates {
		if r != nil {
			added += r.added.rate(now)
			dispatched += r.dispatched.rate(now)
		}
	}
	return dispatched > 0 && added > adviseMoreRatio*dispatched
}
