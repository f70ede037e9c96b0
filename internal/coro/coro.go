// Package coro runs the code of one workflow run as coroutines: one at a time, in an order that depends on nothing but
// what they do.
//
// Invariant: at any time at most one coroutine of a Scheduler runs, and it runs inside a call of Scheduler.Run. Ready
// coroutines run first in, first out; conditions are looked at, in the order in which their waiters came, whenever nothing
// else is ready.
//
// Coroutines are those behind iter.Pull: switching between them is a direct hand-over that does not go through Go's scheduler
// (about 0.12 µs, where a pair of channel operations takes several times that). What the package does not know is time,
// history and commands: those belong to replay and flow.
package coro

import (
	"iter"
	"runtime"
	"runtime/debug"
	"slices"
)

// mostKept bounds the room that a scheduler at rest keeps for its queue.
const mostKept = 16

// Scheduler owns the coroutines of one run. Its methods are called by its owner or by the coroutine that runs, never by
// two goroutines at once.
type Scheduler struct {
	ready       []*Coroutine // from head on
	head        int
	waiting     []*Coroutine // those with a condition, in the order in which they began to wait
	first, last *Coroutine   // all that have not ended, in the order of their start: for stacks and for the end
	alive       int
	current     *Coroutine
	idle        []*thread // of coroutines that have ended, until Run returns
}

// Coroutine is one thread of workflow code.
type Coroutine struct {
	kind, name string
	scheduler  *Scheduler
	fn         func()
	thread     *thread // nil before the first turn
	prev, next *Coroutine
	condition  func() bool
	queued     bool
	done       bool
	dump       *[]byte
	// Local is the owner's: what belongs to this coroutine and those it starts.
	Local any
}

// thread is what coroutines run on, one after the other: to make one costs more than most handlers do.
type thread struct {
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	runs   *Coroutine
}

func newThread() *thread {
	t := &thread{}
	t.resume, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		for {
			t.run()
			t.runs.end()
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return t
}

// Panic is what a panic of a coroutine is outside of it: with the stack that it had.
type Panic struct {
	Value any
	Stack string
}

func (t *thread) run() {
	defer func() {
		if p := recover(); p != nil {
			panic(&Panic{p, string(debug.Stack())})
		}
	}()
	t.runs.fn()
}

// Name is what the coroutine was started as.
func (c *Coroutine) Name() string {
	if c.name == "" {
		return c.kind
	}
	return c.kind + " " + c.name
}

// Go adds a coroutine; stacks show it as "kind name". It runs when those that are ready before it have had their turn. A panic of
// fn comes out of the call of Run under which it happened, as a *Panic.
func (s *Scheduler) Go(kind, name string, fn func()) *Coroutine {
	c := &Coroutine{kind: kind, name: name, scheduler: s, fn: fn, prev: s.last}
	if s.current != nil {
		c.Local = s.current.Local
	}
	if s.last == nil {
		s.first = c
	} else {
		s.last.next = c
	}
	s.last = c
	s.alive++
	s.wake(c)
	return c
}

// end takes the coroutine out of the list. Only once.
func (c *Coroutine) end() {
	if c.done {
		return
	}
	c.done = true
	s := c.scheduler
	if c.prev == nil {
		s.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		s.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	s.alive--
}

func (s *Scheduler) wake(c *Coroutine) {
	if !c.queued && !c.done {
		c.queued = true
		s.ready = append(s.ready, c)
	}
}

// Wake makes a coroutine that has parked ready. One that is ready or has ended is left alone.
func (c *Coroutine) Wake() { c.scheduler.wake(c) }

// Current is the coroutine that runs, nil outside of Run.
func (s *Scheduler) Current() *Coroutine { return s.current }

// Park gives up the turn until Wake. Only the coroutine that runs may call it.
func (s *Scheduler) Park() {
	c := s.current
	for {
		if !c.thread.yield(struct{}{}) {
			// The run is given up. Goexit runs the deferred functions and cannot be recovered from.
			runtime.Goexit()
		}
		if c.dump == nil {
			return
		}
		buf := make([]byte, 16<<10)
		*c.dump = buf[:runtime.Stack(buf, false)]
		c.dump = nil
	}
}

// Await parks until condition holds. The condition must not change anything.
func (s *Scheduler) Await(condition func() bool) {
	if condition() {
		return
	}
	c := s.current
	c.condition = condition
	s.waiting = append(s.waiting, c)
	s.Park()
}

// Run lets coroutines run until each has ended or waits for something that only the owner can bring.
func (s *Scheduler) Run() {
	for {
		for s.head < len(s.ready) {
			c := s.ready[s.head]
			s.ready[s.head] = nil
			s.head++
			c.queued = false
			s.resume(c)
		}
		s.ready, s.head = s.ready[:0], 0
		if !s.checkConditions() {
			s.dropIdle()
			if cap(s.ready) > mostKept {
				s.ready = nil
			}
			return
		}
	}
}

func (s *Scheduler) resume(c *Coroutine) {
	if c.thread == nil {
		if n := len(s.idle); n > 0 {
			c.thread = s.idle[n-1]
			s.idle = s.idle[:n-1]
		} else {
			c.thread = newThread()
		}
		c.thread.runs = c
	}
	s.current = c
	defer func() { s.current = nil }()
	if _, alive := c.thread.resume(); !alive {
		c.end() // by Goexit
		return
	}
	if c.done {
		c.thread.runs = nil
		s.idle = append(s.idle, c.thread)
		c.thread, c.fn = nil, nil
	}
}

// dropIdle ends threads that have nothing to run: a run that waits shall not hold them.
func (s *Scheduler) dropIdle() {
	for _, t := range s.idle {
		t.stop()
	}
	s.idle = nil
}

// checkConditions wakes the first waiter whose condition holds. One at a time: what it does may change what the
// others wait for.
func (s *Scheduler) checkConditions() bool {
	for i, c := range s.waiting {
		if c.condition() {
			s.waiting = slices.Delete(s.waiting, i, i+1)
			c.condition = nil
			s.wake(c)
			return true
		}
	}
	return false
}

// Close ends all coroutines: what they deferred runs, nothing else. The scheduler is of no use after it.
func (s *Scheduler) Close() {
	for s.last != nil {
		c := s.last
		c.end()
		if c.thread == nil {
			continue // it has not begun
		}
		// A coroutine that ends by Goexit takes the goroutine that stopped it along, so that has to be one of its own.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = recover() }() // a panic in what was deferred concerns nobody any more
			s.current = c
			c.thread.stop()
		}()
		<-ended
	}
	s.dropIdle()
	s.current, s.ready, s.head, s.waiting = nil, nil, 0, nil
}

// Stack is what a parked coroutine is doing.
type Stack struct {
	Name string
	Text string
}

// Stacks are those of all coroutines, in the order of their start.
func (s *Scheduler) Stacks() []Stack {
	stacks := make([]Stack, 0, s.alive)
	for c := s.first; c != nil; c = c.next {
		var text []byte
		if c.thread != nil {
			c.dump = &text
			s.resume(c)
		}
		stacks = append(stacks, Stack{Name: c.Name(), Text: string(text)})
	}
	return stacks
}

// Len is the number of coroutines that have not ended.
func (s *Scheduler) Len() int { return s.alive }
