// Package abandon lets runs close while handlers are at work.
package abandon

import (
	"context"
	"time"

	"github.com/perdure/perdure/workflow"
)

type Bakery struct{ open bool }

func Bake(context.Context, string) (string, error) { return "", nil }

func (b *Bakery) Run(ctx workflow.Context) error { return nil }

func (b *Bakery) Order(ctx workflow.Context, cake string) {
	b.order(ctx, cake)
}

func (b *Bakery) order(ctx workflow.Context, cake string) {
	_, _ = workflow.Activity(ctx, Bake, cake, workflow.ActivityOptions{}).Get()
}

// Wait has nothing to lose.
func (b *Bakery) Wait(ctx workflow.Context) (bool, error) {
	err := workflow.Await(ctx, func() bool { return b.open })
	return b.open, err
}

// Chime neither.
func (b *Bakery) Chime(ctx workflow.Context) { _ = workflow.Sleep(ctx, time.Hour) }

// Send does not wait, so it is never at work when the run closes.
func (b *Bakery) Send(ctx workflow.Context, cake string) {
	workflow.Activity(ctx, Bake, cake, workflow.ActivityOptions{})
}

// Drained keeps the run open.
func (b *Bakery) Drained(ctx workflow.Context, cake string) { b.order(ctx, cake) }

var _ = workflow.Define[*Bakery](
	workflow.AbandonUnfinished((*Bakery).Order), // want `^abandon: Order may be left at work when the run closes, but it comes to workflow.Activity \(abandon.go:22\) and waits`
	workflow.AbandonUnfinished((*Bakery).Wait),
	workflow.AbandonUnfinished((*Bakery).Chime),
	workflow.AbandonUnfinished((*Bakery).Send),
)
