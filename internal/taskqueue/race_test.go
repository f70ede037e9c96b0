package taskqueue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// A caller goes away at about the moment its poll is matched: the task is its own, or somebody else's, but not lost.
func TestCanceledPollNeverLosesATask(t *testing.T) {
	store := &rows{}
	m := started(t, store, Options{})
	q := workflowQueue("q")
	returned := 0
	for n := range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		var task Task
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { task, err = m.Poll(ctx, PollRequest{Queue: q}, time.Minute) })
		wg.Go(func() { add(m, store, offerOf(q, n, 0)) })
		wg.Go(func() {
			for range n % 8 {
				runtime.Gosched()
			}
			cancel()
		})
		wg.Wait()
		if err != nil {
			returned++
			task = take(t, m, q)
		}
		if got := numberOf(task); got != n {
			t.Fatalf("got task %d, want %d", got, n)
		}
		store.remove(task.Offer)
		cancel()
	}
	t.Logf("%d of 1000 polls ended before their task came", returned)
}

// Many producers, pollers that come and go, a memory much smaller than the backlog, and takers that give tasks back:
// every task is finished.
func TestEveryTaskIsFinishedUnderLoad(t *testing.T) {
	store := &rows{}
	m := started(t, store, Options{MemoryTasks: 16, MaxPolls: -1})
	const producers, each, queues = 4, 1500, 2
	left := newCountdown(producers * each)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				n := i*producers + p
				add(m, store, offerOf(workflowQueue(fmt.Sprint("q", n%queues)), n, int32(n/queues%5+1)))
			}
		})
	}
	for p := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(p)))
			for ctx.Err() == nil {
				short, stop := context.WithTimeout(ctx, time.Duration(random.IntN(3000))*time.Microsecond)
				task, err := m.Poll(short, PollRequest{Queue: workflowQueue(fmt.Sprint("q", p%queues))}, time.Minute)
				stop()
				switch {
				case errors.Is(err, ErrNoTask):
				case err != nil:
					t.Error(err)
				case random.IntN(10) == 0:
					m.Requeue(task)
				case left.done(numberOf(task)):
					store.remove(task.Offer)
				}
			}
		})
	}
	select {
	case <-left.zero:
	case <-time.After(60 * time.Second):
		t.Errorf("%d tasks were lost", left.count())
	}
	cancel()
	wg.Wait()
	t.Logf("%d pages, %d tasks handed out again", store.read(), left.again)
}

type countdown struct {
	zero chan struct{}

	mu    sync.Mutex
	seen  map[int]bool
	n     int
	again int
}

func newCountdown(n int) *countdown {
	return &countdown{zero: make(chan struct{}), seen: make(map[int]bool), n: n}
}

// done notes task number i; false: it was done before.
func (c *countdown) done(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[i] {
		c.again++
		return false
	}
	c.seen[i] = true
	if c.n--; c.n == 0 {
		close(c.zero)
	}
	return true
}

func (c *countdown) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Polls, shutdowns, rescans, descriptions and Stop at once: nothing deadlocks, and Stop leaves no goroutine.
func TestEverythingAtOnce(t *testing.T) {
	store := &rows{}
	m := started(t, store, Options{MemoryTasks: 8, PollersRemembered: time.Millisecond})
	q := workflowQueue("q")
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := range 300 {
				task, err := m.Poll(t.Context(), PollRequest{Queue: q, WorkerKey: fmt.Sprint("w", p, i)}, time.Millisecond)
				if err == nil {
					store.remove(task.Offer)
				}
				m.ShutdownWorker(testNS, q.Name, fmt.Sprint("w", p, i))
			}
		})
	}
	wg.Go(func() {
		for n := range 2000 {
			add(m, store, offerOf(q, n, 0))
		}
	})
	wg.Go(func() {
		for range 200 {
			m.Rescan()
			m.Describe(q)
			m.StickyAlive(testNS, q.Name)
			m.tidy(m.opts.Clock.Now())
		}
	})
	wg.Wait()
	m.Stop()
}
