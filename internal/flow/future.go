package flow

import (
	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/internal/coro"
)

// Future is a result to come. It belongs to the coroutines of one run.
type Future struct {
	r       *Run
	ready   bool
	value   any // *commonpb.Payloads when it came from outside
	err     error
	waiters []*coro.Coroutine
	then    []func()
	hook    *hook // what cancels it
}

// NewFuture makes one that Resolve settles.
func (r *Run) NewFuture() *Future { return &Future{r: r} }

// Resolve settles f. Only the first time counts.
func (f *Future) Resolve(value any, err error) {
	if f.ready {
		return
	}
	f.ready, f.value, f.err = true, value, err
	if f.hook != nil {
		f.hook.remove()
		f.hook = nil
	}
	for _, w := range f.waiters {
		w.Wake()
	}
	then := f.then
	f.waiters, f.then = nil, nil
	for _, t := range then {
		t()
	}
}

// Ready says whether f is settled.
func (f *Future) Ready() bool { return f.ready }

// Then calls g when f is settled; at once if it is.
func (f *Future) Then(g func()) {
	if f.ready {
		g()
		return
	}
	f.then = append(f.then, g)
}

// Wait parks the coroutine until f is settled.
func (f *Future) Wait() error {
	f.r.mayBlock("wait for a future")
	for !f.ready {
		f.waiters = append(f.waiters, f.r.sched.Current())
		f.r.sched.Park()
	}
	return f.err
}

// Decode waits and stores the value behind ptr, which may be nil.
func (f *Future) Decode(ptr any) error {
	if err := f.Wait(); err != nil || ptr == nil {
		return err
	}
	ps, _ := f.value.(*commonpb.Payloads)
	return f.r.decode(ps, ptr)
}

// Value is what Resolve was given.
func (f *Future) Value() any { return f.value }
