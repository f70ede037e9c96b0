package taskqueue

import (
	"container/heap"
	"sync"
	"time"

	"github.com/perdure/perdure/internal/clock"
)

// timers wakes queues at moments they asked for. One goroutine serves them all.
type timers struct {
	wake chan struct{} // room for one: there is an earlier moment than before

	mu   sync.Mutex
	heap alarmHeap
}

type alarm struct {
	at clock.Nanos
	q  *queue
}

type alarmHeap []alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarmHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarmHeap) Push(x any)        { *h = append(*h, x.(alarm)) }
func (h *alarmHeap) Pop() any {
	old := *h
	n := len(old) - 1
	x := old[n]
	old[n] = alarm{}
	*h = old[:n]
	return x
}

func (t *timers) add(at clock.Nanos, q *queue) {
	t.mu.Lock()
	heap.Push(&t.heap, alarm{at, q})
	first := t.heap[0].q == q
	t.mu.Unlock()
	if first {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// due removes and returns the queues whose time has come, and tells when the next one's comes; zero: never.
func (t *timers) due(now clock.Nanos) (queues []*queue, next clock.Nanos) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.heap) > 0 && t.heap[0].at <= now {
		queues = append(queues, heap.Pop(&t.heap).(alarm).q)
	}
	if len(t.heap) > 0 {
		next = t.heap[0].at
	}
	return queues, next
}

// tidyEvery is how often idle queues are looked for: once a minute by default.
func (m *Manager) tidyEvery() time.Duration { return m.opts.PollersRemembered / 5 }

// runTimers serves the timers and tidies up until the manager stops.
func (m *Manager) runTimers() {
	tidyAt := m.opts.Clock.Now().Add(m.tidyEvery())
	for {
		now := m.opts.Clock.Now()
		queues, next := m.timers.due(now)
		for _, q := range queues {
			m.tick(q)
		}
		if now >= tidyAt {
			m.tidy(now)
			tidyAt = now.Add(m.tidyEvery())
		}
		if next == 0 || next > tidyAt {
			next = tidyAt
		}
		ring, stop := m.opts.Clock.At(next)
		select {
		case <-ring:
		case <-m.timers.wake:
		case <-m.ctx.Done():
		}
		stop()
		if m.ctx.Err() != nil {
			return
		}
	}
}

func (m *Manager) tick(q *queue) {
	now := m.opts.Clock.Now()
	q.mu.Lock()
	q.dueAt = 0
	q.deliver(now, q.core.Tick(now))
	m.release(q)
}

// tidy forgets what nobody has used for a while.
func (m *Manager) tidy(now clock.Nanos) {
	m.shut.Range(func(worker, at any) bool {
		if now.Sub(at.(clock.Nanos)) > shutRemembered {
			m.shut.Delete(worker)
		}
		return true
	})
	var doubtful []*queue
	for _, q := range m.all() {
		q.mu.Lock()
		gone, doubt := q.tidy(now, m.opts.PollersRemembered)
		q.mu.Unlock()
		if gone {
			m.unmap(q)
		}
		if doubt {
			doubtful = append(doubtful, q)
		}
	}
	if len(doubtful) > 0 {
		m.spawn(func() {
			for _, q := range doubtful {
				m.count(q, 1)
			}
		})
	}
}

// shutRemembered is how long polls of a worker that was shut down are refused: longer than a poll lasts and than its
// client retries.
const shutRemembered = 10 * time.Minute

// tidy parks the queue if nobody polls it, and says whether it is gone. doubt: its estimate may have become wrong, as
// tasks in the store vanish without notice, and should be compared with the store.
func (q *queue) tidy(now clock.Nanos, remember time.Duration) (gone, doubt bool) {
	q.forgetPollers(now, remember)
	q.core.Prune()
	if q.core.Waiting() > 0 || now.Sub(q.touched) <= remember || q.counting {
		return false, false
	}
	q.core.Park(now.Add(-remember))
	backlog := q.core.Stats(now).Count > 0
	// A sticky queue's tasks move to the normal queue by their own timers; nobody looks at its backlog.
	if q.core.Empty() && (!backlog || q.sticky) {
		q.gone = true
		return true, false
	}
	doubt = backlog && now.Sub(q.counted) > remember
	q.counting = q.counting || doubt
	return false, doubt
}
