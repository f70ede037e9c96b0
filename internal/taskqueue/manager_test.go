package taskqueue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
)

// polling is a poll that runs in a goroutine.
type polling struct {
	task Task
	err  error
	took time.Duration
	done bool
}

func goPoll(ctx context.Context, m *Manager, req PollRequest, wait time.Duration) *polling {
	p := &polling{}
	begin := time.Now()
	go func() {
		p.task, p.err = m.Poll(ctx, req, wait)
		p.took, p.done = time.Since(begin), true
	}()
	return p
}

// take polls once and fails the test if there is no task.
func take(t *testing.T, m *Manager, q QueueKey) Task {
	t.Helper()
	task, err := m.Poll(t.Context(), PollRequest{Queue: q, Identity: "taker"}, time.Second)
	if err != nil {
		t.Fatalf("poll %s: %v", q.Name, err)
	}
	return task
}

// bubble runs a test with a manager under a fake clock.
func bubble(t *testing.T, opts Options, fn func(t *testing.T, m *Manager, store *rows)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := &rows{}
		m := started(t, store, opts)
		fn(t, m, store)
		m.Stop()
		synctest.Wait()
	})
}

func TestOfferMeetsWaitingPoll(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		p := goPoll(t.Context(), m, PollRequest{Queue: q, Identity: "a"}, time.Minute)
		other := goPoll(t.Context(), m, PollRequest{Queue: activityQueue("q")}, time.Minute)
		time.Sleep(2 * time.Second)
		add(m, store, offerOf(q, 7, 0))
		synctest.Wait()
		if !p.done || p.err != nil || numberOf(p.task) != 7 || p.task.Queue != q {
			t.Fatalf("poll: %+v", p)
		}
		if p.took != 2*time.Second || p.task.Backlog || p.task.Scaling != -1 {
			t.Errorf("took %v, backlog %v, scaling %d", p.took, p.task.Backlog, p.task.Scaling)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !errors.Is(other.err, ErrNoTask) || other.took != time.Minute {
			t.Errorf("the poll of another type: %+v", other)
		}
	})
}

func TestBacklogIsHandedOutInOrder(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		add(m, store, offerOf(q, 0, 5), offerOf(q, 1, 0), offerOf(q, 2, 3), offerOf(q, 3, 1))
		time.Sleep(3 * time.Second)
		for i, want := range []int{3, 1, 2, 0} {
			if got := take(t, m, q); numberOf(got) != want || !got.Backlog {
				t.Errorf("%d. task is %d (backlog %v), want %d", i, numberOf(got), got.Backlog, want)
			}
		}
		if _, err := m.Poll(t.Context(), PollRequest{Queue: q}, 0); !errors.Is(err, ErrNoTask) {
			t.Errorf("poll without waiting: %v", err)
		}
	})
}

func TestCanceledPollLosesNothing(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		ctx, cancel := context.WithCancel(t.Context())
		p := goPoll(ctx, m, PollRequest{Queue: q}, time.Minute)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(p.err, ErrNoTask) {
			t.Fatalf("canceled poll: %v", p.err)
		}
		add(m, store, offerOf(q, 1, 0))
		if _, err := m.Poll(ctx, PollRequest{Queue: q}, time.Minute); !errors.Is(err, ErrNoTask) {
			t.Errorf("poll with a context that is done: %v", err)
		}
		if numberOf(take(t, m, q)) != 1 {
			t.Error("wrong task")
		}
	})
}

func TestRequeueGoesFirst(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		add(m, store, offerOf(q, 0, 0), offerOf(q, 1, 0))
		first := take(t, m, q)
		m.Requeue(first)
		if got := take(t, m, q); numberOf(got) != 0 || got.AddedAt != first.AddedAt {
			t.Errorf("got %+v after requeueing %+v", got, first)
		}
		if numberOf(take(t, m, q)) != 1 {
			t.Error("wrong second task")
		}
	})
}

func TestRestartOffersRowsAgain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q, sticky := activityQueue("q"), workflowQueue("host:sticky")
		for n := range 50 {
			store.put(offerOf(q, n, 0))
		}
		o := offerOf(sticky, 50, 0)
		o.Task.Sticky = true
		store.put(o)

		next := started(t, store, Options{})
		defer next.Stop()
		synctest.Wait()
		if d := next.Describe(q); d.Stats.ApproximateBacklogCount != 50 {
			t.Errorf("backlog count after the restart: %v", d.Stats)
		}
		for n := range 50 {
			if got := numberOf(take(t, next, q)); got != n {
				t.Fatalf("task %d, want %d", got, n)
			}
		}
		if numberOf(take(t, next, sticky)) != 50 {
			t.Error("the sticky row was not offered")
		}
	})
}

// Pollers enough for many pages get them all, with nobody else to move things on.
func TestPagesFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rows{gate: make(chan struct{})}
		q := workflowQueue("q")
		m := started(t, store, Options{MemoryTasks: 4})
		for n := range 20 {
			store.put(offerOf(q, n, 0))
		}
		var polls []*polling
		for range 20 {
			polls = append(polls, goPoll(t.Context(), m, PollRequest{Queue: q}, time.Minute))
		}
		synctest.Wait()
		close(store.gate)
		synctest.Wait()
		for _, p := range polls {
			if !p.done || p.err != nil {
				t.Errorf("poll: %+v", p)
			}
		}
		m.Stop()
	})
}

func TestFailedPageIsReadAgain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		store.put(offerOf(q, 1, 0))
		store.fail(errors.New("disk"))
		p := goPoll(t.Context(), m, PollRequest{Queue: q}, time.Minute)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := store.read(); p.done || n < 4 || n > 10 {
			t.Fatalf("done %v after %d reads", p.done, n)
		}
		store.fail(nil)
		time.Sleep(retryMax)
		synctest.Wait()
		if !p.done || p.err != nil || numberOf(p.task) != 1 {
			t.Errorf("poll: %+v", p)
		}
	})
}

func TestStickyWindowAndShutdown(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, _ *rows) {
		q := workflowQueue("sticky")
		alive := func(want bool, when string) {
			t.Helper()
			if got := m.StickyAlive(testNS, q.Name); got != want || (m.LastPoll(q) == 0) == want {
				t.Errorf("%s: alive %v, want %v; last poll %d", when, got, want, m.LastPoll(q))
			}
		}
		alive(false, "never polled")
		req := PollRequest{Queue: q, Sticky: true, NormalName: "q"}
		goPoll(t.Context(), m, req, time.Minute)
		time.Sleep(30 * time.Second)
		alive(true, "while a poll waits")
		time.Sleep(40 * time.Second)
		alive(true, "10 s after the poll ended")
		time.Sleep(time.Second)
		if m.StickyAlive(testNS, q.Name) {
			t.Error("alive 11 s after the poll ended")
		}
		p := goPoll(t.Context(), m, req, time.Minute)
		synctest.Wait()
		m.ShutdownWorker(testNS, q.Name, "")
		m.ShutdownWorker(testNS, "unknown", "unknown")
		alive(false, "shut down while a poll waits")
		time.Sleep(time.Minute)
		synctest.Wait()
		if !p.done {
			t.Error("poll goes on")
		}
		alive(false, "shut down")
		goPoll(t.Context(), m, req, time.Second)
		synctest.Wait()
		alive(true, "polled again")
	})
}

func TestShutdownWorkerEndsItsPolls(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, _ *rows) {
		mine := PollRequest{Queue: workflowQueue("q"), WorkerKey: "w1"}
		his := PollRequest{Queue: workflowQueue("q"), WorkerKey: "w2"}
		mineToo := PollRequest{Queue: activityQueue("q"), WorkerKey: "w1"}
		a, b, c := goPoll(t.Context(), m, mine, time.Minute), goPoll(t.Context(), m, his, time.Minute), goPoll(t.Context(), m, mineToo, time.Minute)
		synctest.Wait()
		m.ShutdownWorker(testNS, "", "w1")
		synctest.Wait()
		if !a.done || !c.done || b.done || !errors.Is(a.err, ErrNoTask) || a.took != 0 {
			t.Errorf("polls: %+v %+v %+v", a, b, c)
		}
		again := goPoll(t.Context(), m, mine, time.Minute)
		synctest.Wait()
		if !again.done || !errors.Is(again.err, ErrNoTask) {
			t.Error("a later poll of the worker waits")
		}
		time.Sleep(shutRemembered + 2*m.tidyEvery())
		last := goPoll(t.Context(), m, mine, time.Minute)
		synctest.Wait()
		if last.done {
			t.Error("the worker is remembered for ever")
		}
	})
}

func TestStopEndsPolls(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		var polls []*polling
		for n := range 100 {
			polls = append(polls, goPoll(t.Context(), m, PollRequest{Queue: workflowQueue(fmt.Sprint("q", n%10))}, time.Minute))
		}
		synctest.Wait()
		m.Stop()
		add(m, store, offerOf(workflowQueue("q1"), 1, 0))
		late := goPoll(t.Context(), m, PollRequest{Queue: workflowQueue("q1")}, time.Minute)
		synctest.Wait()
		for _, p := range append(polls, late) {
			if !p.done || !errors.Is(p.err, ErrNoTask) || p.took != 0 {
				t.Fatalf("poll: %+v", p)
			}
		}
	})
}

func TestTooManyPolls(t *testing.T) {
	bubble(t, Options{MaxPolls: 2}, func(t *testing.T, m *Manager, _ *rows) {
		req := PollRequest{Queue: workflowQueue("q")}
		goPoll(t.Context(), m, req, time.Minute)
		goPoll(t.Context(), m, req, time.Minute)
		synctest.Wait()
		if _, err := m.Poll(t.Context(), req, time.Minute); !errors.Is(err, ErrTooManyPolls) {
			t.Errorf("third poll: %v", err)
		}
		elsewhere := req
		elsewhere.Queue.Namespace = "33333333-3333-4333-8333-333333333333"
		if _, err := m.Poll(t.Context(), elsewhere, 0); !errors.Is(err, ErrNoTask) {
			t.Errorf("poll of another namespace: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := m.Poll(t.Context(), req, 0); !errors.Is(err, ErrNoTask) {
			t.Errorf("after the polls ended: %v", err)
		}
	})
}

func TestRateLimitSpacesActivities(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		one, none := 1.0, 0.0
		q := activityQueue("q")
		for n := range 5 {
			add(m, store, offerOf(q, n, 0))
		}
		begin := time.Now()
		for n := range 4 {
			task, err := m.Poll(t.Context(), PollRequest{Queue: q, Identity: "w", MaxPerSecond: &one}, time.Minute)
			if took := time.Since(begin).Round(time.Millisecond); err != nil || numberOf(task) != n || took != time.Duration(n)*time.Second {
				t.Errorf("task %d after %v: %v", n, took, err)
			}
		}
		if d := m.Describe(q); !d.Stats.RateLimitingActive || d.Pollers[0].MaxPerSecond != 1 {
			t.Errorf("description: %+v", d)
		}
		if _, err := m.Poll(t.Context(), PollRequest{Queue: q, MaxPerSecond: &none}, time.Minute); !errors.Is(err, ErrNoTask) {
			t.Errorf("a rate of 0 does not block: %v", err)
		}
		wq := workflowQueue("q")
		add(m, store, offerOf(wq, 9, 0))
		if _, err := m.Poll(t.Context(), PollRequest{Queue: wq, MaxPerSecond: &none}, time.Minute); err != nil {
			t.Errorf("a workflow queue is limited: %v", err)
		}
	})
}

func TestQueries(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		dead := false
		add(m, store, offerOf(q, 1, 0))
		m.OfferQuery(q, &QueryTask{ID: "dead", Dead: func() bool { return dead }})
		m.OfferQuery(q, &QueryTask{ID: "alive", Ref: 5})
		dead = true
		task := take(t, m, q)
		if task.Query == nil || task.Query.ID != "alive" || task.Query.Ref != 5 {
			t.Fatalf("got %+v", task)
		}
		m.Requeue(task)
		if again := take(t, m, q); again.Query != task.Query {
			t.Errorf("requeued, got %+v", again)
		}
		if take(t, m, q).Query != nil {
			t.Error("the dead query was handed out")
		}
	})
}

func TestDescribe(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		if d := m.Describe(q); len(d.Pollers) != 0 || d.Stats == nil || d.Stats.ApproximateBacklogAge == nil {
			t.Errorf("unknown queue: %+v", d)
		}
		for n := range 3 {
			add(m, store, offerOf(q, n, int32(n)))
		}
		time.Sleep(4 * time.Second)
		d := m.Describe(q)
		if d.Stats.ApproximateBacklogCount != 3 || d.Stats.ApproximateBacklogAge.AsDuration() != 4*time.Second ||
			d.Stats.TasksAddRate != 0.75 || len(d.ByPriority) != 3 || d.ByPriority[3].ApproximateBacklogCount != 1 {
			t.Errorf("never polled: %+v", d)
		}
		for range 3 {
			take(t, m, q)
		}
		d = m.Describe(q)
		if d.Stats.ApproximateBacklogCount != 0 || d.Stats.ApproximateBacklogAge.AsDuration() != 0 ||
			d.Stats.TasksDispatchRate != 0.75*4 || len(d.Pollers) != 1 || d.Pollers[0].Identity != "taker" ||
			d.Pollers[0].MaxPerSecond != 100_000 || d.Pollers[0].LastAccess != clock.FromTime(time.Now()) {
			t.Errorf("drained: %+v", d)
		}
		time.Sleep(5*time.Minute + time.Second)
		if d := m.Describe(q); len(d.Pollers) != 0 {
			t.Errorf("pollers after 5 minutes: %+v", d.Pollers)
		}
	})
}

func (m *Manager) inMemory() (queues, tasks int) {
	for _, q := range m.all() {
		q.mu.Lock()
		queues++
		tasks += q.core.InMemory()
		q.mu.Unlock()
	}
	return queues, tasks
}

func TestIdleQueuesAreForgotten(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Manager, store *rows) {
		empty, full, sticky, stale := workflowQueue("empty"), workflowQueue("full"), workflowQueue("sticky"), workflowQueue("stale")
		for _, q := range []QueueKey{empty, full, sticky, stale} {
			_, _ = m.Poll(t.Context(), PollRequest{Queue: q, Sticky: q == sticky}, time.Second)
		}
		add(m, store, offerOf(full, 1, 0), offerOf(sticky, 2, 0), offerOf(stale, 3, 0))
		volatile := offerOf(sticky, 4, 0)
		volatile.Volatile = true
		m.Offer(volatile)
		store.remove(offerOf(stale, 3, 0)) // its run was terminated
		unpolled := offerOf(workflowQueue("unpolled sticky"), 5, 0)
		unpolled.Task.Sticky = true
		add(m, store, unpolled)
		if queues, tasks := m.inMemory(); queues != 5 || tasks != 4 {
			t.Fatalf("%d queues, %d tasks", queues, tasks)
		}
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if queues, tasks := m.inMemory(); queues != 1 || tasks != 0 {
			t.Errorf("after 15 minutes %d queues, %d tasks are in memory", queues, tasks)
		}
		if n := m.Describe(full).Stats.ApproximateBacklogCount; n != 1 {
			t.Errorf("backlog count of the full queue: %d", n)
		}
		if numberOf(take(t, m, full)) != 1 || numberOf(take(t, m, sticky)) != 2 {
			t.Error("wrong tasks")
		}
	})
}

func TestVolatileOffers(t *testing.T) {
	bubble(t, Options{MemoryTasks: 2}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		o := offerOf(q, 1, 0)
		o.Volatile = true
		m.Offer(o)
		if got := take(t, m, q); numberOf(got) != 1 || !got.Offer.Volatile {
			t.Errorf("got %+v", got)
		}
		m.Offer(execution.Offer{}) // points at nothing
	})
}

func TestRescanFindsRowsWithoutOffers(t *testing.T) {
	bubble(t, Options{MemoryTasks: 10}, func(t *testing.T, m *Manager, store *rows) {
		q := workflowQueue("q")
		p := goPoll(t.Context(), m, PollRequest{Queue: q}, time.Minute)
		synctest.Wait()
		for n := range 25 {
			store.put(offerOf(q, n, 0)) // durable, but the offer was lost
		}
		m.Rescan()
		synctest.Wait()
		if !p.done || numberOf(p.task) != 0 {
			t.Fatalf("poll: %+v", p)
		}
		for n := 1; n < 25; n++ {
			if got := numberOf(take(t, m, q)); got != n {
				t.Fatalf("task %d, want %d", got, n)
			}
		}
	})
}

// Offers that come while a page is read are neither lost nor put before older tasks.
func TestOffersDuringPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rows{gate: make(chan struct{})}
		q := workflowQueue("q")
		m := started(t, store, Options{MemoryTasks: 4})
		for n := range 3 {
			store.put(offerOf(q, n, 0))
		}
		p := goPoll(t.Context(), m, PollRequest{Queue: q}, time.Minute)
		synctest.Wait()
		for n := 3; n < 20; n++ {
			add(m, store, offerOf(q, n, 0))
		}
		synctest.Wait()
		if p.done {
			t.Fatal("a newer task was handed out before the page was read")
		}
		close(store.gate)
		synctest.Wait()
		for n := range 20 {
			if n > 0 {
				p = goPoll(t.Context(), m, PollRequest{Queue: q}, time.Minute)
				synctest.Wait()
			}
			if !p.done || p.err != nil || numberOf(p.task) != n {
				t.Fatalf("poll %d: %+v", n, p)
			}
		}
		m.Stop()
	})
}

func TestStartFailsWhenQueuesCannotBeListed(t *testing.T) {
	fault := errors.New("disk")
	m := New(Options{Clock: clock.System{}, Backlog: &rows{err: fault}})
	defer m.Stop()
	if err := m.Start(t.Context()); !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
}
