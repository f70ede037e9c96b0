package sim

import (
	"context"
	"errors"
	"log/slog"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

var (
	errDown    = &execution.Error{Kind: execution.Unavailable, Message: "the node is down"}
	errTimeout = errors.New("sim: no answer in time")
)

// node is one process of the server: the engine's shards and the task queues, driven by the simulation's loop.
type node struct {
	s      *sim
	eng    *engine.Engine
	queues *queues
	ctx    context.Context
	cancel context.CancelFunc
	ticks  bool        // one is to come
	wakeAt clock.Nanos // of the wake-up that is to come
	calls  []*pending  // answered in this order when the node dies
	parked []*parked
	blocks []*block
	writes map[ids.ShardID]*write
}

// pending is a call that the node has not answered.
type pending struct {
	done func(any, error)
	over bool
}

// parked is a call whose answer comes through a waiter.
type parked struct {
	*pending
	waiting *engine.Waiting
	until   clock.Nanos
	forget  func(execution.Waiter)
}

// block is a call that waits in a goroutine of its own; while anything else happens, that goroutine waits.
type block struct {
	*pending
	answer   any
	err      error
	finished bool
}

// write is an IO that the disk is at.
type write struct {
	shard *engine.Shard
	io    engine.IO
	begun bool
	epoch ids.Epoch
	err   error
}

func (s *sim) startNode() {
	if s.node != nil {
		return
	}
	s.say("the node starts with %d shards", s.conf.shards)
	n := &node{s: s, writes: map[ids.ShardID]*write{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.queues = newQueues(n)
	opts := engine.Options{Shards: s.conf.shards, Clock: &s.clock, NewRunID: s.newRunID, Limits: s.limits(), Namespaces: s, Sink: n.queues,
		Observer: s, Logger: slog.New(logs{s})}
	if s.conf.small {
		opts.CacheBytes, opts.RecentBytes, opts.BatchBytes = 8<<10, 600, 4<<10
		opts.TimerRows, opts.DueMax, opts.Deliveries, opts.OutboxRows, opts.NewcomerIDs = 3, 2, 2, 3, 2
	}
	eng, err := engine.New(s.disk, opts)
	if err != nil {
		s.fail("engine: %v", err)
		return
	}
	n.eng = eng
	s.node = n
	n.poke(0)
}

func (s *sim) limits() *execution.Limits {
	l := execution.DefaultLimits()
	l.HeartbeatTotal, l.SpeculativeTimeout = 20*time.Second, 5*time.Second
	l.BlobBytes = 4 << 10
	if s.conf.small {
		l.BufferedEvents, l.PendingActivities, l.PendingSignals, l.UpdatesInFlight, l.BufferedQueries = 4, 6, 4, 4, 3
		l.Hard = s.seed%2 == 0 // else signals are refused before the buffer overflows
	}
	return l
}

// ByID implements engine.Namespaces.
func (s *sim) ByID(id ids.NamespaceID) *execution.Namespace {
	return &execution.Namespace{ID: id, Name: "default", Retention: s.conf.retention}
}

// Stepped implements engine.Observer.
func (s *sim) Stepped(_ ids.ShardID, in execution.Input, t *execution.Transition) {
	for n := t; n != nil; n = n.Successor {
		for _, m := range n.Marks {
			s.marks[m]++
			s.say("  mark %q by %T", m, in)
		}
	}
}

// Committed implements engine.Observer.
func (s *sim) Committed(ids.ShardID, engine.Commit) {}

// poke lets the shards work soon.
func (n *node) poke(d time.Duration) {
	if n.ticks {
		return
	}
	n.ticks = true
	n.later(d, n.tick)
}

// later is after for what dies with the node.
func (n *node) later(d time.Duration, do func()) {
	n.s.after(d, func() {
		if n.s.node == n {
			do()
		}
	})
}

func (n *node) tick() {
	n.ticks = false
	s, again := n.s, false
	shards := n.eng.Shards()
	first := s.rng.IntN(len(shards))
	for i := range shards {
		sh := shards[(first+i)%len(shards)]
		select {
		case <-sh.Ready():
		default:
		}
		again = sh.Work(1+s.rng.IntN(16)) || again
		if s.chance(0.8) {
			if io, ok := sh.NextIO(); ok {
				n.write(sh, io)
			}
		} else {
			again = true
		}
		for _, j := range sh.Jobs() {
			again = true
			n.later(s.between(0, 2*time.Millisecond), func() {
				then := j()
				n.later(s.between(0, 2*time.Millisecond), func() { sh.Continue(then) })
			})
		}
		if at := sh.NextWake(); at != 0 {
			n.wake(max(at, s.now().Add(time.Millisecond)))
		}
	}
	if again {
		n.poke(s.between(0, time.Millisecond))
	}
}

func (n *node) wake(at clock.Nanos) {
	if n.wakeAt != 0 && n.wakeAt <= at {
		return
	}
	n.wakeAt = at
	n.later(at.Sub(n.s.now()), func() {
		if n.wakeAt == at {
			n.wakeAt = 0
			n.poke(0)
		}
	})
}

// write lets the disk do an IO: at once, or later, while the shard goes on.
func (n *node) write(sh *engine.Shard, io engine.IO) {
	s := n.s
	w := &write{shard: sh, io: io}
	n.writes[sh.ID()] = w
	took := s.between(100*time.Microsecond, 8*time.Millisecond)
	if s.chance(s.faults.slowDisk) {
		took = s.between(time.Second, 30*time.Second)
	}
	if s.chance(0.5) {
		n.perform(w) // durable long before the node knows
	}
	n.later(took, func() { n.finish(w); n.poke(0) })
}

func (n *node) perform(w *write) {
	if w.begun {
		return
	}
	w.begun = true
	if w.io.Batch == nil {
		w.epoch, w.err = n.s.disk.Acquire(n.ctx, w.io.Shard)
	} else {
		w.err = n.s.disk.Apply(n.ctx, w.io.Batch)
	}
}

func (n *node) finish(w *write) {
	if n.writes[w.shard.ID()] != w {
		return
	}
	n.perform(w)
	delete(n.writes, w.shard.ID())
	w.shard.DoneIO(w.epoch, w.err)
}

// settle looks after those who wait, after each event.
func (n *node) settle() {
	for _, sh := range n.eng.Shards() {
		if len(sh.Ready()) > 0 {
			n.poke(n.s.between(0, 200*time.Microsecond))
			break
		}
	}
	n.unpark()
	n.unblock()
	n.queues.settle()
}

func (n *node) unpark() {
	for i := 0; i < len(n.parked); i++ {
		p := n.parked[i]
		select {
		case r := <-p.waiting.Reply:
			n.drop(i)
			p.finish(r.Answer, r.Err)
		default:
			if n.s.now() < p.until {
				continue
			}
			n.drop(i)
			p.forget(p.waiting.ID)
			p.waiting.Release()
			p.finish(nil, errTimeout)
		}
		i--
	}
}

func (n *node) drop(i int) { n.parked = append(n.parked[:i:i], n.parked[i+1:]...) }

func (n *node) unblock() {
	if len(n.blocks) == 0 {
		return
	}
	synctest.Wait()
	left := n.blocks[:0:0]
	for _, b := range n.blocks {
		if b.finished {
			b.finish(b.answer, b.err)
		} else {
			left = append(left, b)
		}
	}
	n.blocks = left
}

func (p *pending) finish(answer any, err error) {
	if !p.over {
		p.over = true
		p.done(answer, err)
	}
}

func (n *node) pending(done func(any, error)) *pending {
	if len(n.calls) > 64 {
		left := n.calls[:0]
		for _, p := range n.calls {
			if !p.over {
				left = append(left, p)
			}
		}
		n.calls = left
	}
	p := &pending{done: done}
	n.calls = append(n.calls, p)
	return p
}

// submit gives an input to a run. done is called once: with the answer, or with errDown when the node dies.
func (n *node) submit(key ids.WorkflowKey, run ids.RunID, in execution.Input, done func(any, error)) {
	p := n.pending(done)
	if err := n.eng.SubmitAsync(key, run, in, p.finish); err != nil {
		p.finish(nil, err)
	}
}

// submitWaiting is submit for inputs whose answer may come through a waiter, within a time.
func (n *node) submitWaiting(key ids.WorkflowKey, run ids.RunID, wait time.Duration, in func(execution.Waiter) execution.Input,
	parks func(answer any) bool, forget func(execution.Waiter), done func(any, error),
) {
	p := n.pending(done)
	w := n.eng.NewWaiter()
	err := n.eng.SubmitAsync(key, run, in(w.ID), func(answer any, err error) {
		if err != nil || !parks(answer) {
			w.Release()
			p.finish(answer, err)
			return
		}
		n.parked = append(n.parked, &parked{pending: p, waiting: w, until: n.s.now().Add(wait), forget: forget})
		n.later(wait, func() {})
	})
	if err != nil {
		w.Release()
		p.finish(nil, err)
	}
}

// await calls what blocks. It must not touch the simulation.
func (n *node) await(call func(context.Context) (any, error), done func(any, error)) {
	b := &block{pending: n.pending(done)}
	n.blocks = append(n.blocks, b)
	go func() {
		answer, err := call(n.ctx)
		b.answer, b.err, b.finished = answer, err, true
	}()
	synctest.Wait()
}

// history reads a page of events.
func (n *node) history(q engine.HistoryQuery, done func(*engine.HistoryPage, error)) {
	n.await(func(ctx context.Context) (any, error) { return n.eng.History(ctx, q) }, func(answer any, err error) {
		page, _ := answer.(*engine.HistoryPage)
		done(page, err)
	})
}

// kill ends the node as a crash does. Its callers hear that the connection broke.
func (n *node) kill() {
	n.cancel()
	synctest.Wait()
	n.s.node = nil
	n.queues.kill()
	for _, p := range n.calls {
		p.finish(nil, errDown)
	}
}

// stop ends the node in order.
func (n *node) stop() {
	shards := n.eng.Shards()
	for _, sh := range shards {
		sh.Stop()
	}
	for _, sh := range shards {
		for {
			if w := n.writes[sh.ID()]; w != nil {
				n.finish(w)
				continue
			}
			io, ok := sh.NextIO()
			if !ok {
				break
			}
			w := &write{shard: sh, io: io}
			n.writes[sh.ID()] = w
			n.finish(w)
		}
		_ = sh.Close()
	}
	n.unpark()
	n.unblock()
	n.kill()
}
