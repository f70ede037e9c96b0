// Package cancelloop goes on when it should not.
package cancelloop

import (
	"time"

	"github.com/perdure/perdure/workflow"
)

type Ticker struct{ over bool }

func (t *Ticker) Run(ctx workflow.Context, f workflow.Future[int]) error {
	for {
		workflow.Sleep(ctx, time.Second) // want `^cancel-loop: the error of workflow.Sleep is dropped in a loop`
		if t.over {
			break
		}
	}
	for !t.over {
		_ = workflow.Await(ctx, func() bool { return t.over }) // want `^cancel-loop: the error of workflow.Await`
		_, _ = f.Get()                                         // want `^cancel-loop: the error of workflow.Future.Get`
		_ = f.Wait()                                           // want `^cancel-loop: the error of workflow.Future.Wait`
		held, _ := workflow.AwaitFor(ctx, 1, t.done)           // want `^cancel-loop: the error of workflow.AwaitFor`
		t.over = held
	}
	return nil
}

func (t *Ticker) done() bool { return t.over }

func (t *Ticker) Good(ctx workflow.Context) error {
	_ = workflow.Sleep(ctx, time.Second)
	for range 3 {
		_ = workflow.Sleep(ctx, time.Second)
	}
	for i := 0; i < 3; i++ {
		_ = workflow.Sleep(ctx, time.Second)
	}
	for !workflow.IsCanceled(ctx) {
		_ = workflow.Sleep(ctx, time.Second)
	}
	apart, cancel := workflow.WithoutCancel(ctx)
	defer cancel("over")
	for !t.over {
		_ = workflow.Sleep(apart, time.Second)
	}
	for {
		if err := workflow.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
