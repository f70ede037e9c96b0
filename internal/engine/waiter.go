package engine

import (
	"sync"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// waiters knows the parked callers. A reply to one who is gone is dropped.
type waiters struct {
	mu      sync.Mutex
	last    execution.Waiter
	parked  map[execution.Waiter]*parked
	stopped error
}

type parked struct {
	reply chan execution.Reply
	shard ids.ShardID
	sent  bool // shard is set
}

// NewWaiter implements Service.
func (e *Engine) NewWaiter() *Waiting { return e.waiters.add() }

func (w *waiters) add() *Waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	id, p := w.last, &parked{reply: make(chan execution.Reply, 1)}
	if w.parked == nil {
		w.parked = make(map[execution.Waiter]*parked)
	}
	w.parked[id] = p
	if w.stopped != nil {
		w.settle(id, execution.Reply{Waiter: id, Err: w.stopped})
	}
	return &Waiting{ID: id, Reply: p.reply, Release: func() { w.release(id) }}
}

func (w *waiters) release(id execution.Waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.parked, id)
}

// settle wants mu held. The channel has room: a waiter gets one reply and is then unknown.
func (w *waiters) settle(id execution.Waiter, r execution.Reply) {
	if p := w.parked[id]; p != nil {
		delete(w.parked, id)
		p.reply <- r
	}
}

func (w *waiters) answer(r execution.Reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle(r.Waiter, r)
}

// submitted notes which shard a waiter depends on.
func (w *waiters) submitted(id execution.Waiter, shard ids.ShardID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.parked[id]; p != nil {
		p.shard, p.sent = shard, true
	}
}

// fail answers all waiters of a shard, whose memory is gone. A nil shard means all, also those to come.
func (w *waiters) fail(shard *ids.ShardID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if shard == nil {
		w.stopped = err
	}
	for id, p := range w.parked {
		if shard == nil || p.sent && p.shard == *shard {
			w.settle(id, execution.Reply{Waiter: id, Err: err})
		}
	}
}

func waiterOf(in execution.Input) execution.Waiter {
	switch in := in.(type) {
	case execution.UpdateWorkflow:
		return in.Waiter
	case execution.PollUpdate:
		return in.Waiter
	case execution.QueryWorkflow:
		return in.Waiter
	case execution.StartWorkflow:
		if in.Update != nil {
			return in.Update.Waiter
		}
	}
	return 0
}
