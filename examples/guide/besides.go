package guide

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/searchattribute"
	"github.com/perdure/perdure/workflow"
)

// Kitchen has activities with something they depend on.
type Kitchen struct{ Oven string }

// Bake reports how far it is, and begins there when it is tried again.
func (k *Kitchen) Bake(ctx context.Context, cakes int) (string, error) {
	var done int
	if err := activity.HeartbeatDetails(ctx).Get(&done); err != nil {
		return "", err
	}
	for ; done < cakes; done++ {
		activity.RecordHeartbeat(ctx, done)
		if ctx.Err() != nil { // cancelled, timed out, or the worker stops
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("%d cakes from the %s", done, k.Oven), nil
}

// Clean fails in a way that no other try mends.
func (k *Kitchen) Clean(_ context.Context, with string) error {
	if with == "petrol" {
		return failure.NonRetryable("not in my kitchen", "Danger", nil)
	}
	return nil
}

// Bakery does what workflows do besides messages.
type Bakery struct {
	oven  workflow.Mutex
	ready workflow.Channel[string]
}

// Run bakes, twice at once, and cleans.
func (b *Bakery) Run(ctx workflow.Context, cakes int) ([]string, error) {
	kitchen := (*Kitchen)(nil) // only for the names of its methods
	options := workflow.ActivityOptions{
		StartToClose: time.Minute, Heartbeat: 10 * time.Second,
		Retry: &workflow.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 5},
	}
	first := workflow.Activity(ctx, kitchen.Bake, cakes, options)
	second := workflow.Activity(ctx, kitchen.Bake, 1, options)
	at, err := workflow.Select(ctx, first, second, workflow.NewTimer(ctx, time.Hour))
	if err != nil || at == 2 {
		return nil, errors.Join(err, errors.New("nothing in an hour"))
	}
	var out []string
	for _, f := range []workflow.Future[string]{first, second} {
		s, err := f.Get()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, b.clean(ctx)
}

func (b *Bakery) clean(ctx workflow.Context) error {
	kitchen := (*Kitchen)(nil)
	_, err := workflow.ActivityVoid(ctx, kitchen.Clean, "petrol", workflow.ActivityOptions{StartToClose: time.Minute}).Get()
	if !failure.IsApplication(err, "Danger") {
		return err
	}
	_, err = workflow.LocalActivityVoid(ctx, kitchen.Clean, "soap", workflow.LocalActivityOptions{StartToClose: time.Second}).Get()
	return err
}

// Customer is what the bakery's workflows are found by.
var Customer = searchattribute.Keyword("Customer")

// Street has bakeries below it.
type Street struct{ closing bool }

// Run starts the bakeries of a street, and goes on as a new run with one cake more as long as nobody closes it.
func (s *Street) Run(ctx workflow.Context, cakes int) (int, error) {
	child := workflow.Child(ctx, (*Bakery).Run, cakes, workflow.ChildOptions{WorkflowID: "bakery", Summary: "the only one"})
	if _, err := child.Started(); err != nil {
		return 0, err
	}
	if _, err := child.Result().Get(); err != nil {
		return 0, err
	}
	if v := workflow.Version(ctx, "remember-the-time", workflow.DefaultVersion, 1); v == 1 {
		workflow.UpsertMemo(ctx, map[string]any{"baked": workflow.Now(ctx)})
	}
	if s.closing || workflow.GetInfo(ctx).ContinueAsNewSuggested {
		return cakes, nil
	}
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return 0, err
	}
	return 0, workflow.ContinueAsNew(drained, (*Street).Run, cakes+1, workflow.ContinueAsNewOptions{RunTimeout: time.Hour})
}

// Close lets the street end.
func (s *Street) Close(workflow.Context) { s.closing = true }

// Night waits until it is told to stop, and cleans up.
type Night struct{ cleaned bool }

// Run ends when it is cancelled.
func (n *Night) Run(ctx workflow.Context) (string, error) {
	watch, stop := workflow.WithCancel(ctx)
	workflow.Go(watch, func(ctx workflow.Context) {
		for workflow.Sleep(ctx, time.Minute) == nil {
			workflow.Logger(ctx).Info("all is quiet")
		}
	})
	err := workflow.Await(ctx, func() bool { return false })
	stop("the night is over")
	if !failure.IsCanceled(err) {
		return "", err
	}
	last, _ := workflow.WithoutCancel(ctx)
	if err := workflow.ActivityVoid(last, (*Kitchen)(nil).Clean, "soap", workflow.ActivityOptions{StartToClose: time.Minute}).Wait(); err != nil {
		return "", err
	}
	return "clean, because " + workflow.CancelReason(ctx), nil
}

// Worked is one thing at a time, from several handlers.
func (b *Bakery) Worked(ctx workflow.Context, what string) (string, error) {
	if err := b.oven.Lock(ctx); err != nil {
		return "", err
	}
	defer b.oven.Unlock()
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	return what, b.ready.Send(ctx, what)
}
