// Package continueasnew goes on in another run, or not.
package continueasnew

import (
	"time"

	"github.com/perdure/perdure/workflow"
)

type Loop struct{}

func (l *Loop) Run(ctx workflow.Context, n int) error {
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return err
	}
	workflow.ContinueAsNewVoid(drained, (*Loop).Run, n+1)                                     // want `^continue-as-new: workflow.ContinueAsNewVoid only makes the error with which Run continues as new; return it from Run$`
	_ = workflow.ContinueAsNewVoid(drained, (*Loop).Run, n+1)                                 // want `^continue-as-new`
	defer workflow.ContinueAsNewByName(drained, "Loop", workflow.ContinueAsNewOptions{}, n+1) // want `^continue-as-new`
	err = workflow.ContinueAsNewVoid(drained, (*Loop).Run, n+1)
	if n > 3 {
		return err
	}
	if n > 2 {
		return l.next(drained, n)
	}
	return workflow.ContinueAsNewVoid(drained, (*Loop).Run, n+1)
}

func (l *Loop) Jump(ctx workflow.Context, n int) (int, error) {
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return 0, err
	}
	return 0, workflow.ContinueAsNewVoid(drained, (*Loop).Run, n) // want `^continue-as-new: workflow.ContinueAsNewVoid is returned by the update Jump, which fails the update and nothing more`
}

// next is not a message; Run may return what it returns.
func (l *Loop) next(ctx workflow.Drained, n int) error {
	time.Now() // want `^clock`
	return workflow.ContinueAsNewVoid(ctx, (*Loop).Run, n)
}
