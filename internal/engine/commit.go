package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

const (
	acquireRetryMin = 50 * time.Millisecond
	acquireRetryMax = 5 * time.Second
)

// NextIO is the write that the shard wants performed, if it wants one now. There is at most one at a time: call DoneIO
// before the next.
func (s *Shard) NextIO() (IO, bool) {
	if s.dead != nil || s.writing() {
		return IO{}, false
	}
	if s.epoch == 0 {
		if s.stopping || s.acquire.retryAt > s.now() {
			return IO{}, false
		}
		s.acquire.running = true
		return IO{Shard: s.id}, true
	}
	if s.open.empty() {
		return IO{}, false
	}
	out, err := s.seal()
	if err != nil {
		s.startOver(err)
		return IO{}, false
	}
	return IO{Shard: s.id, Batch: out}, true
}

// writing tells whether DoneIO is still to come.
func (s *Shard) writing() bool { return s.inflight != nil || s.acquire.running }

// seal closes the open batch and opens the next one.
func (s *Shard) seal() (out *storage.Batch, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("broken invariant", "what", "encode batch", "error", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("encode batch: %v", p)
		}
	}()
	out = s.open.seal(s.core, s.opts.Limits, storage.Fence{Shard: s.id, Epoch: s.epoch})
	s.seq++
	next := s.idle
	if next == nil {
		next = new(batch)
	}
	s.idle = nil
	s.inflight, s.open = s.open, next.reuse(s.seq)
	s.begun = s.now()
	return out, nil
}

// DoneIO reports how the write ended. The epoch is that of an Acquire.
func (s *Shard) DoneIO(epoch ids.Epoch, err error) {
	if s.acquire.running {
		s.acquired(epoch, err)
		return
	}
	b := s.inflight
	if s.opts.Observer != nil {
		s.opts.Observer.Committed(s.id, Commit{Runs: len(b.drafts), Ops: len(b.out.Ops), Bytes: b.written,
			Took: s.now().Sub(s.begun), Err: err})
	}
	if err != nil {
		s.startOver(fmt.Errorf("apply batch: %w", err))
		return
	}
	s.durable, s.inflight, s.failures = b.seq, nil, 0
	for _, m := range b.messages {
		s.outbox.changed(m)
	}
	for i := range b.effects {
		s.perform(&b.effects[i])
	}
	s.idle = b
	s.tick()
}

// startOver answers everyone with Unavailable and forgets everything. What was asked for may be durable or not: the store
// knows, and is asked again under a new epoch.
func (s *Shard) startOver(cause error) {
	if errors.Is(cause, storage.ErrClosed) {
		s.dead = cause
		s.abandon(ErrStopped)
		return
	}
	s.log.Warn("shard starts over", "epoch", uint64(s.epoch), "error", cause)
	suspects := s.suspects
	for k, e := range s.entries {
		if e.lazy || e.staged > s.durable {
			suspects[k] = struct{}{}
		}
	}
	s.abandon(errUnavailable())
	s.suspects = suspects
	if s.failures > 0 {
		s.acquire.retryAt = s.now().Add(acquireRetry(s.failures - 1))
	}
	s.failures++
}

func acquireRetry(failed int) time.Duration {
	return min(acquireRetryMin<<min(failed, 10), acquireRetryMax)
}

// abandon ends every call, waiter and watcher with err and forgets the memory and the epoch.
func (s *Shard) abandon(err error) {
	calls := s.unanswered()
	for run := range s.watchers {
		s.failWatchers(run, err)
	}
	s.epoch = 0
	s.forget()
	for _, c := range calls {
		s.finish(c, nil, err)
	}
	s.eng.waiters.fail(&s.id, err)
}

// unanswered are the calls that the memory knows of, in the order of their arrival.
func (s *Shard) unanswered() []*call {
	var calls []*call
	for _, b := range []*batch{s.inflight, s.open} {
		if b == nil {
			continue
		}
		for i := range b.effects {
			if c := b.effects[i].call; c != nil {
				calls = append(calls, c)
			}
		}
	}
	for _, wf := range s.workflows {
		calls = append(calls, wf.queue...)
	}
	for _, e := range s.entries {
		calls = append(calls, e.queue...)
	}
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Compare(a.order, b.order) })
	return calls
}

// acquired starts an ownership, or tries again later.
func (s *Shard) acquired(epoch ids.Epoch, err error) {
	a := &s.acquire
	a.running = false
	if err != nil {
		if errors.Is(err, storage.ErrClosed) {
			s.dead = fmt.Errorf("acquire: %w", err)
			s.refuse(ErrStopped)
			return
		}
		a.retryAt = s.now().Add(acquireRetry(a.failed))
		a.failed++
		s.log.Warn("cannot acquire the shard", "attempt", a.failed, "error", err)
		s.refuse(errUnavailable())
		return
	}
	again := a.again
	*a = acquisition{again: true}
	s.epoch = epoch
	if again {
		s.log.Info("shard acquired again", "epoch", uint64(epoch))
	}
	s.rescue()
	s.scanNewcomers(s.newcomers.first)
	s.tick()
	s.mail.ring()
}

// refuse answers the calls that wait in the mailbox.
func (s *Shard) refuse(err error) {
	var kept []item
	for {
		it, ok := s.take()
		if !ok {
			break
		}
		if it.call == nil {
			kept = append(kept, it)
			continue
		}
		s.finish(it.call, nil, err)
	}
	s.inbox, s.next = kept, 0
}

// Stop refuses what is not staged yet and stages what exists in memory only. The driver then performs IO until NextIO
// wants none; Close ends the rest.
func (s *Shard) Stop() {
	s.stopping = true
	for _, it := range append(s.inbox[s.next:], s.mail.close()...) {
		if it.call != nil {
			s.finish(it.call, nil, ErrStopped)
		}
	}
	s.inbox, s.next = nil, 0
	if s.epoch == 0 {
		return
	}
	s.gen++ // nothing asked for is waited for
	for _, c := range s.parked() {
		s.finish(c, nil, ErrStopped)
	}
	for _, e := range s.sorted() {
		if e.known && e.state != nil && !e.gone && e.unwritten() {
			s.flush(e)
		}
	}
}

// parked are the calls that wait for a read; they leave their queues.
func (s *Shard) parked() []*call {
	var calls []*call
	for _, wf := range s.workflows {
		calls = append(calls, wf.queue...)
		wf.queue = nil
	}
	for _, e := range s.entries {
		calls = append(calls, e.queue...)
		e.queue = nil
	}
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Compare(a.order, b.order) })
	return calls
}

// sorted are the entries from the least to the most recently used, closed runs first.
func (s *Shard) sorted() []*entry {
	var out []*entry
	for _, l := range []*lru{&s.ended, &s.live} {
		for e := l.oldest; e != nil; e = e.newer {
			out = append(out, e)
		}
	}
	return out
}

// Close ends what Stop left: watchers, and calls whose batch failed.
func (s *Shard) Close() error {
	s.abandon(ErrStopped)
	return s.dead
}

// perform does a write for the shard.
func (e *Engine) perform(io IO) (ids.Epoch, error) {
	if io.Batch == nil {
		return e.store.Acquire(context.Background(), io.Shard)
	}
	return 0, e.store.Apply(context.Background(), io.Batch)
}

// rescue offers anew what runs had in the store when the shard forgot them: their offers, or the news that a task was
// taken, may be lost, and nobody else would look.
func (s *Shard) rescue() {
	if len(s.suspects) == 0 {
		return
	}
	s.rescuePage(nil)
}

const rescueRows = 1000

// rescuePage offers the suspects' rows behind a key. Until the last page was read they stay suspects: the shard may start
// over meanwhile.
func (s *Shard) rescuePage(after []byte) {
	suspects := s.suspects
	s.job(func(r storage.Reader) func() {
		page, err := scanDispatch(r, allDispatch, after, rescueRows)
		offers := slices.DeleteFunc(page.offers, func(o execution.Offer) bool {
			run, _ := offered(o)
			_, ok := suspects[run]
			return !ok
		})
		return func() {
			for _, o := range offers {
				s.opts.Sink.Offer(o)
			}
			switch {
			case err != nil:
				_ = s.readFailed("read dispatch rows", ids.RunKey{}, err)
				s.after(s.now().Add(time.Second), func() { s.rescuePage(after) })
			case page.last != nil:
				s.rescuePage(page.last)
			default:
				s.suspects = make(map[ids.RunKey]struct{})
			}
		}
	})
}
