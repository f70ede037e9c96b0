package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Impatient gives its local activity up when another one has come back, and sees how often a third was tried.
type Impatient struct{}

func (*Impatient) Run(ctx workflow.Context, id string) (string, error) {
	inner, cancel := workflow.WithCancel(ctx)
	endless := workflow.LocalActivityVoid(inner, Endless, id, workflow.LocalActivityOptions{StartToClose: time.Minute})
	if _, err := workflow.LocalActivity(ctx, EndlessRuns, id, workflow.LocalActivityOptions{ScheduleToClose: time.Minute}).Get(); err != nil {
		return "", err
	}
	cancel("enough")
	if _, err := endless.Get(); !failure.IsCanceled(err) {
		return "", fmt.Errorf("a canceled local activity answered %v", err)
	}
	if _, err := workflow.LocalActivity0(inner, Flaky, workflow.LocalActivityOptions{StartToClose: time.Minute}).Get(); !failure.IsCanceled(err) {
		return "", fmt.Errorf("a local activity in a canceled scope answered %v", err)
	}
	n, err := workflow.LocalActivity0(ctx, Flaky, workflow.LocalActivityOptions{
		StartToClose: time.Minute, Retry: &workflow.RetryPolicy{InitialInterval: time.Millisecond},
	}).Get()
	if err != nil {
		return "", err
	}
	if _, err := workflow.LocalActivity0(ctx, Flaky, workflow.LocalActivityOptions{}).Get(); err == nil {
		return "", errors.New("a local activity without a bound was started")
	}
	// Something that replays all of it.
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	return fmt.Sprint(n), nil
}

var endless = struct{ running, ended chan string }{make(chan string, 10), make(chan string, 10)}

// Endless ends when it is canceled.
func Endless(ctx context.Context, id string) error {
	endless.running <- id
	<-ctx.Done()
	endless.ended <- id
	return ctx.Err()
}

// EndlessRuns waits for it to begin.
func EndlessRuns(ctx context.Context, id string) (bool, error) {
	if !activity.GetInfo(ctx).Local {
		return false, errors.New("not a local activity")
	}
	return <-endless.running == id, nil
}

func TestALocalActivityIsCanceledAndTriedAgain(t *testing.T) {
	for _, cached := range []int{0, -1} {
		endless.running, endless.ended = make(chan string, 10), make(chan string, 10)
		t.Run(fmt.Sprint("cache ", cached), func(t *testing.T) {
			c, q := server(t), uuid.NewString()
			w := worker.New(c, q, worker.Options{MaxCachedRuns: cached})
			worker.Workflow[*Impatient](w)
			w.Activity(Endless)
			w.Activity(EndlessRuns)
			w.Activity(Flaky)
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			h, err := client.Start(t.Context(), c, (*Impatient).Run, q, client.StartOptions{TaskQueue: q})
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.Result(t.Context())
			if err != nil || got != "7" {
				t.Fatalf("%q, %v", got, err)
			}
			if id := <-endless.ended; id != q {
				t.Errorf("%s was canceled", id)
			}
			if len(endless.running) > 0 {
				t.Error("it was started again")
			}
		})
	}
}

// Renewed has a local activity that outlives its workflow task.
type Renewed struct{}

func (*Renewed) Run(ctx workflow.Context) (int, error) {
	return workflow.LocalActivity0(ctx, Long, workflow.LocalActivityOptions{StartToClose: time.Minute}).Get()
}

var longs = make(chan struct{}, 10)

func Long(ctx context.Context) (int, error) {
	longs <- struct{}{}
	select {
	case <-time.After(2 * time.Second):
		return len(longs), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// A task of one second is renewed while the local activity goes on: it is not run twice.
func TestATaskIsRenewedForALocalActivity(t *testing.T) {
	longs = make(chan struct{}, 10)
	c, q := server(t), uuid.NewString()
	w := worker.New(c, q, worker.Options{})
	worker.Workflow[*Renewed](w)
	w.Activity(Long)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	h, err := client.Start0(t.Context(), c, (*Renewed).Run, client.StartOptions{TaskQueue: q, TaskTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := h.Result(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
}
