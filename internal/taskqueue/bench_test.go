package taskqueue

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
)

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// noRows is a store for benchmarks that do not look at it.
type noRows struct{ rows }

func (*noRows) Page(context.Context, QueueKey, []byte, int) ([]execution.Offer, [][]byte, error) {
	return nil, nil, nil
}

// 100,000 waiting tasks take little memory, and come out in order.
func TestDeepBacklogIsBounded(t *testing.T) {
	const tasks, drained, bound = 100_000, 20_000, 4 << 20
	store := &rows{}
	m := started(t, store, Options{})
	q := workflowQueue("q")
	_, _ = m.Poll(t.Context(), PollRequest{Queue: q}, 0) // a worker was there
	all := make([]execution.Offer, tasks)
	for n := range tasks {
		all[n] = offerOf(q, n, 0)
		store.put(all[n])
	}
	before := heapBytes()
	for _, o := range all {
		m.Offer(o)
	}
	used := int64(heapBytes()) - int64(before)
	runtime.KeepAlive(all)
	if used > bound {
		t.Errorf("%d tasks take %d bytes, want at most %d", tasks, used, bound)
	}
	if n := m.Describe(q).Stats.ApproximateBacklogCount; n != tasks {
		t.Errorf("backlog count %d", n)
	}
	t.Logf("%d waiting tasks take %d bytes", tasks, used)
	begin := time.Now()
	for n := range drained {
		task, err := m.Poll(t.Context(), PollRequest{Queue: q}, time.Minute)
		if err != nil || numberOf(task) != n {
			t.Fatalf("poll %d: task %d, %v", n, numberOf(task), err)
		}
		store.remove(task.Offer)
	}
	t.Logf("drained at %.0f tasks/s, in %d pages", drained/time.Since(begin).Seconds(), store.read())
}

// BenchmarkMatch is the time from an offer to the return of a poll that waits.
func BenchmarkMatch(b *testing.B) {
	m := started(b, &rows{}, Options{})
	q := workflowQueue("q")
	took := make(chan time.Time)
	begin := make(chan struct{})
	go func() {
		for range begin {
			if _, err := m.Poll(b.Context(), PollRequest{Queue: q}, time.Minute); err != nil {
				b.Error(err)
			}
			took <- time.Now()
		}
	}()
	var latencies []time.Duration
	n := 0
	for b.Loop() {
		begin <- struct{}{}
		for m.LastPoll(q) == 0 || m.waiting(q) == 0 {
			runtime.Gosched()
		}
		offered := time.Now()
		m.Offer(offerOf(q, n, 0))
		latencies = append(latencies, (<-took).Sub(offered))
		n++
	}
	close(begin)
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Nanoseconds()), "p99-ns")
}

func (m *Manager) waiting(key QueueKey) int {
	q := m.find(key)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.core.Waiting()
}

// BenchmarkOfferAndPoll passes tasks from offers to polls as fast as they go, on one queue.
func BenchmarkOfferAndPoll(b *testing.B) {
	m := New(Options{Backlog: &noRows{}, Clock: clock.System{}, MemoryTasks: 1 << 30})
	defer m.Stop()
	q := workflowQueue("q")
	_, _ = m.Poll(b.Context(), PollRequest{Queue: q}, time.Millisecond)
	var wg sync.WaitGroup
	b.ReportAllocs()
	tasks := make(chan execution.Offer, 1000)
	wg.Go(func() {
		for o := range tasks {
			m.Offer(o)
		}
	})
	polled := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for range polled {
				if _, err := m.Poll(b.Context(), PollRequest{Queue: q}, time.Minute); err != nil {
					b.Error(err)
				}
			}
		})
	}
	n := 0
	for b.Loop() {
		n++
		tasks <- offerOf(q, n, 0)
		polled <- struct{}{}
	}
	close(tasks)
	close(polled)
	wg.Wait()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkOfferSpilled is an offer to a queue whose memory is full: the fastest a backlog can grow.
func BenchmarkOfferSpilled(b *testing.B) {
	m := New(Options{Backlog: &noRows{}, Clock: clock.System{}})
	defer m.Stop()
	q := workflowQueue("q")
	_, _ = m.Poll(b.Context(), PollRequest{Queue: q}, time.Millisecond)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		m.Offer(offerOf(q, n, 0))
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "offers/s")
}
