package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflowtest"
)

// minutely takes a minute for ten rows, of simulated time.
func minutely(ctx context.Context, _, _ int) error {
	select {
	case <-time.After(6 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// given starts a worker and an import of ten chunks of ten rows.
func given(t *testing.T, env *workflowtest.Env, row func(ctx context.Context, chunk, row int) error) *client.Handle[*Import, int] {
	t.Helper()
	env.Worker(queue, func(w *worker.Worker) {
		worker.Workflow[*Import](w)
		w.Activity(&Table{Row: row})
	})
	h, err := client.Start(env.Ctx, env.Client, (*Import).Run, Input{10, 10}, client.StartOptions{ID: "import", TaskQueue: queue})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestQueryTellsProgress(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, minutely)
		for n := range 10 {
			time.Sleep(30 * time.Second) // simulated
			if p, err := client.Query(env.Ctx, h, (*Import).Progress); err != nil || p != (Progress{n, 10, false}) {
				t.Errorf("in chunk %d: %+v, %v", n, p, err)
			}
			time.Sleep(30*time.Second + 100*time.Millisecond)
		}
		if rows, err := h.Result(env.Ctx); err != nil || rows != 100 {
			t.Errorf("result: %d, %v", rows, err)
		}
		if p, err := client.Query(env.Ctx, h, (*Import).Progress); err != nil || p != (Progress{10, 10, true}) {
			t.Errorf("at the end: %+v, %v", p, err)
		}
	})
}

func TestWaitingEndsWithTheProgress(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h, begun := given(t, env, minutely), time.Now()
		for _, n := range []int{0, 4, 3, 10} {
			p, err := client.Update(env.Ctx, h, (*Import).WaitForProgress, n)
			if err != nil || p.Done < n {
				t.Errorf("waited for %d: %+v, %v", n, p, err)
			}
			if took, want := time.Since(begun), time.Duration(p.Done)*time.Minute; took < want || took > want+5*time.Second {
				t.Errorf("%d of 10 after %s", p.Done, took)
			}
		}
		if _, err := h.Result(env.Ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestNobodyWaitsForTooMuch(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		_, err := client.Update(env.Ctx, given(t, env, minutely), (*Import).WaitForProgress, 11)
		var refused *client.UpdateFailedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "only 10 chunks") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhoGivesUpCanComeBack(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, minutely)
		short, cancel := context.WithTimeout(env.Ctx, time.Minute)
		defer cancel()
		_, err := client.Update(short, h, (*Import).WaitForProgress, 7, client.UpdateID("seven"))
		var late *client.UpdateWaitError
		if !errors.As(err, &late) {
			t.Errorf("got %v", err)
		}
		if p, err := client.UpdateHandleOf[Progress](h, "seven").Result(env.Ctx); err != nil || p.Done != 7 {
			t.Errorf("came back: %+v, %v", p, err)
		}
	})
}

func TestFailureReachesWhoWaits(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, func(ctx context.Context, chunk, row int) error {
			if chunk == 2 {
				return failure.NonRetryable("no such row", "Broken", nil)
			}
			return minutely(ctx, chunk, row)
		})
		_, err := client.Update(env.Ctx, h, (*Import).WaitForProgress, 5)
		if !failure.IsApplication(err, "Broken") || !strings.Contains(err.Error(), "failed at 2 of 10") {
			t.Errorf("waiting: %v", err)
		}
		if _, err := h.Result(env.Ctx); !failure.IsApplication(err, "Broken") {
			t.Errorf("result: %v", err)
		}
	})
}

// An attempt that hangs is given up when its heartbeats fail to come; the next one goes on where it was.
func TestHangingAttemptIsRepeatedFromItsHeartbeat(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		var hung atomic.Bool // attempts may overlap
		var reads atomic.Int64
		h := given(t, env, func(ctx context.Context, chunk, row int) error {
			if chunk == 0 && row == 7 && !hung.Swap(true) {
				<-ctx.Done()
				return ctx.Err()
			}
			reads.Add(1)
			return minutely(ctx, chunk, row)
		})
		if rows, err := h.Result(env.Ctx); err != nil || rows != 100 || reads.Load() != 100 {
			t.Errorf("result: %d, %v after %d reads", rows, err, reads.Load())
		}
	})
}

func TestCancellationReachesWhoWaits(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, minutely)
		u, err := client.StartUpdate(env.Ctx, h, (*Import).WaitForProgress, 5, client.UpdateOptions{WaitFor: client.Accepted})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Cancel(env.Ctx, "not needed"); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("waiting: %v", err)
		}
		if _, err := h.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
	})
}
