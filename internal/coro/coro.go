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
	"slices"
)

// Scheduler owns the coroutines of one run. Its methods are called by its owner or by the coroutine that runs, never by
// two goroutines at once.
type Scheduler struct {
	ready   []*Coroutine
	waiting []*Coroutine // those with a condition, in the order in which they began to wait
	all     []*Coroutine // in the order of their start, for stacks and for the end
	current *Coroutine
}

// Coroutine is one thread of workflow code.
type Coroutine struct {
	Name      string
	scheduler *Scheduler
	next      func() (struct{}, bool)
	stop      func()
	yield     func(struct{}) bool
	condition func() bool
	queued    bool
	done      bool
	dump      *[]byte
	// Local is the owner's: what belongs to this coroutine and those it starts.
	Local any
}

// Go adds a coroutine. It runs when those that are ready before it have had their turn. A panic of fn comes out of the call
// of Run under which it happened.
func (s *Scheduler) Go(name string, fn func()) *Coroutine {
	c := &Coroutine{Name: name, scheduler: s}
	if s.current != nil {
		c.Local = s.current.Local
	}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		fn()
		c.done = true
	})
	s.all = append(s.all, c)
	s.wake(c)
	return c
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
		if !c.yield(struct{}{}) {
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
		for len(s.ready) > 0 {
			c := s.ready[0]
			s.ready = s.ready[1:]
			c.queued = false
			s.resume(c)
		}
		s.ready = nil
		if !s.checkConditions() {
			return
		}
	}
}

func (s *Scheduler) resume(c *Coroutine) {
	s.current = c
	defer func() { s.current = nil }()
	if _, alive := c.next(); !alive {
		c.done = true
		s.all = slices.DeleteFunc(s.all, func(o *Coroutine) bool { return o == c })
	}
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
	for len(s.all) > 0 {
		c := s.all[len(s.all)-1]
		s.all = s.all[:len(s.all)-1]
		// A coroutine that ends by Goexit takes the goroutine that stopped it along, so that has to be one of its own.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = recover() }() // a panic in what was deferred concerns nobody any more
			s.current = c
			c.stop()
		}()
		<-ended
	}
	s.current, s.ready, s.waiting = nil, nil, nil
}

// Stack is what a parked coroutine is doing.
type Stack struct {
	Name string
	Text string
}

// Stacks are those of all coroutines, in the order of their start.
func (s *Scheduler) Stacks() []Stack {
	stacks := make([]Stack, 0, len(s.all))
	for _, c := range slices.Clone(s.all) {
		var text []byte
		if c.yield != nil {
			c.dump = &text
			s.resume(c)
		}
		stacks = append(stacks, Stack{Name: c.Name, Text: string(text)})
	}
	return stacks
}

// Len is the number of coroutines that have not ended.
func (s *Scheduler) Len() int { return len(s.all) }
