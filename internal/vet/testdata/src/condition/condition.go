// Package condition waits for things.
package condition

import (
	"time"

	"github.com/perdure/perdure/workflow"
)

type Waiter struct {
	ready bool
	n     int
}

func (w *Waiter) Run(ctx workflow.Context, f workflow.Future[int]) error {
	_ = workflow.Await(ctx, func() bool { // want `^condition: the condition comes to workflow.Sleep \(condition.go:\d+\): it is asked any number of times and must only look$`
		return workflow.Sleep(ctx, time.Second) == nil
	})
	_, _ = workflow.AwaitFor(ctx, time.Second, func() bool { return w.slept(ctx) }) // want `^condition: the condition comes to workflow.Sleep`
	long := func() bool { return workflow.Rand(ctx).IntN(2) > 0 }
	_ = workflow.Await(ctx, long)                                                 // want `^condition: the condition comes to workflow.Rand`
	_ = workflow.Await(ctx, func() bool { return !long() })                       // want `^condition: the condition comes to workflow.Rand`
	_ = workflow.Await(ctx, func() bool { _, err := f.Get(); return err == nil }) // want `^condition: the condition comes to workflow.Future.Get`
	done := func() bool { return w.ready && f.Ready() }
	_ = workflow.Await(ctx, done)
	_ = workflow.Await(ctx, func() bool { return done() || workflow.IsCanceled(ctx) || workflow.GetInfo(ctx).ContinueAsNewSuggested })
	return workflow.Await(ctx, w.isReady)
}

func (w *Waiter) isReady() bool { return w.ready }

func (w *Waiter) slept(ctx workflow.Context) bool { return workflow.Sleep(ctx, 1) == nil }
