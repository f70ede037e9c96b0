package taskqueue

import (
	"context"
	"maps"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/matching"
	"github.com/perdure/perdure/internal/record"
)

// poll is one call of Poll.
type poll struct {
	worker workerKey
	result chan pollResult // has room for the one result it ever gets
}

// pollResult is a task or, if not ok, the end of the poll.
type pollResult struct {
	task Task
	ok   bool
}

// Poll implements Service.
func (m *Manager) Poll(ctx context.Context, req PollRequest, wait time.Duration) (Task, error) {
	if ctx.Err() != nil {
		return Task{}, ErrNoTask
	}
	if !m.enter(req.Queue.Namespace) {
		return Task{}, ErrTooManyPolls
	}
	defer m.leave(req.Queue.Namespace)
	q, p := m.park(req)
	if p == nil {
		return Task{}, ErrNoTask
	}
	return m.await(ctx, q, p, wait)
}

// park puts a poll in line, or straight to a task; no poller: there is nothing for it here.
func (m *Manager) park(req PollRequest) (*queue, *matching.Poller[*poll]) {
	now := m.opts.Clock.Now()
	p := &matching.Poller[*poll]{Value: &poll{result: make(chan pollResult, 1)}}
	if req.WorkerKey != "" {
		p.Value.worker = workerKey{req.Queue.Namespace, req.WorkerKey}
	}
	q := m.acquire(req.Queue)
	defer m.release(q)
	// These are looked at under the lock, and set before parked polls are ended: a poll is seen here or there.
	if m.stopping.Load() || m.isShut(p.Value.worker) {
		return q, nil
	}
	q.polled(now, req, m.opts.PollersRemembered)
	if req.Queue.Type == record.QueueActivity {
		q.core.Limit(now, req.MaxPerSecond)
	}
	q.deliver(now, q.core.Poll(now, p))
	return q, p
}

func (m *Manager) await(ctx context.Context, q *queue, p *matching.Poller[*poll], wait time.Duration) (Task, error) {
	select {
	case r := <-p.Value.result:
		return m.finish(ctx, r)
	default:
	}
	if wait > 0 {
		ring, stop := m.opts.Clock.At(m.opts.Clock.Now().Add(wait))
		defer stop()
		select {
		case r := <-p.Value.result:
			return m.finish(ctx, r)
		case <-ctx.Done():
		case <-ring:
		}
	}
	now := m.opts.Clock.Now()
	q.mu.Lock()
	canceled := q.core.Cancel(p)
	if canceled {
		q.lastPoll, q.touched = now, now
	}
	q.mu.Unlock()
	if canceled {
		return Task{}, ErrNoTask
	}
	// It was matched or ended before, and the result sent under the same lock.
	return m.finish(ctx, <-p.Value.result)
}

// finish returns the task to the caller, or to the queue if the caller is gone.
func (m *Manager) finish(ctx context.Context, r pollResult) (Task, error) {
	if !r.ok {
		return Task{}, ErrNoTask
	}
	if ctx.Err() != nil {
		m.Requeue(r.task)
		return Task{}, ErrNoTask
	}
	return r.task, nil
}

// enter counts a poll of the namespace; false: there are too many.
func (m *Manager) enter(ns ids.NamespaceID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.opts.MaxPolls >= 0 && m.polls[ns] >= m.opts.MaxPolls {
		return false
	}
	m.polls[ns]++
	return true
}

func (m *Manager) leave(ns ids.NamespaceID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.polls[ns]--; m.polls[ns] == 0 {
		delete(m.polls, ns)
	}
}

func (m *Manager) isShut(w workerKey) bool {
	if w.key == "" {
		return false
	}
	_, ok := m.shut.Load(w)
	return ok
}

// maxPollers bounds the pollers remembered of one queue.
const maxPollers = 1000

// noLimit is what a description shows for a poller without a rate limit.
const noLimit = 100_000

// polled remembers a poll that begins.
func (q *queue) polled(now clock.Nanos, req PollRequest, remember time.Duration) {
	q.lastPoll, q.touched, q.shut = now, now, false
	q.sticky = q.sticky || req.Sticky
	rate := float64(noLimit)
	if req.MaxPerSecond != nil {
		rate = *req.MaxPerSecond
	}
	if q.pollers == nil {
		q.pollers = make(map[string]Poller)
	}
	if _, known := q.pollers[req.Identity]; !known && len(q.pollers) >= maxPollers {
		q.forgetPollers(now, remember)
		if len(q.pollers) >= maxPollers {
			return
		}
	}
	q.pollers[req.Identity] = Poller{
		Identity: req.Identity, LastAccess: now, MaxPerSecond: rate, Version: req.Version,
	}
}

func (q *queue) forgetPollers(now clock.Nanos, remember time.Duration) {
	maps.DeleteFunc(q.pollers, func(_ string, p Poller) bool { return now.Sub(p.LastAccess) > remember })
	if len(q.pollers) == 0 {
		q.pollers = nil
	}
}
