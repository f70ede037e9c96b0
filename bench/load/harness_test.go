package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// numbers collects what operations were called with.
type numbers struct {
	mu  sync.Mutex
	got []int
}

func (n *numbers) add(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, i)
}

func (n *numbers) check(t *testing.T, want int) {
	t.Helper()
	slices.Sort(n.got)
	for i, got := range n.got {
		if i != got {
			t.Fatalf("operation %d instead of %d", got, i)
		}
	}
	if len(n.got) != want {
		t.Errorf("%d operations, want %d", len(n.got), want)
	}
}

func TestSteadyNumbersAllAndCountsTheWindow(t *testing.T) {
	var n numbers
	s := steady{callers: 3, warmUp: 20 * time.Millisecond, window: 30 * time.Millisecond}
	begun := time.Now()
	done, err := s.run(t.Context(), func(ctx context.Context, caller, i int) error {
		if caller < 0 || caller > 2 {
			t.Errorf("caller %d", caller)
		}
		n.add(i)
		return tick1ms(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.check(t, done.operations)
	if took := done.reading.took; took < s.window || took > time.Since(begun)-s.warmUp {
		t.Errorf("the window was %s of %s", took, time.Since(begun))
	}
	if counted := len(done.latencies); counted == 0 || counted > done.operations-s.callers {
		t.Errorf("%d of %d operations counted, but the warm-up has one for each caller", counted, done.operations)
	}
	if !slices.IsSorted(done.latencies) || done.latencies[0] < time.Millisecond {
		t.Errorf("latencies %v", done.latencies)
	}
}

func tick1ms(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The operations are released one by one, so that time alone does not decide.
func TestSteadyWaitsForSlowOperations(t *testing.T) {
	release := make(chan struct{})
	var ended atomic.Int64
	s := steady{callers: 2}
	result := make(chan outcome)
	go func() {
		done, err := s.run(t.Context(), func(context.Context, int, int) error {
			<-release
			ended.Add(1)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		result <- done
	}()
	for {
		select {
		case release <- struct{}{}:
		case done := <-result:
			if len(done.latencies) < 1 || ended.Load() < 3 {
				t.Errorf("%d counted of %d", len(done.latencies), ended.Load())
			}
			return
		}
	}
}

func TestFirstErrorEndsALoop(t *testing.T) {
	broken := errors.New("broken")
	op := func(ctx context.Context, caller, i int) error {
		if i == 5 {
			return broken
		}
		if i > 5 { // others hear of it
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	if _, err := (steady{callers: 3, warmUp: time.Minute, window: time.Minute}).run(t.Context(), op); !errors.Is(err, broken) {
		t.Errorf("steady: %v", err)
	}
	if _, err := each(t.Context(), 3, 100, op); !errors.Is(err, broken) {
		t.Errorf("each: %v", err)
	}
}

func TestEachDoesSoMany(t *testing.T) {
	for _, want := range []int{0, 1, 2, 100} {
		var n numbers
		took, err := each(t.Context(), 4, want, func(_ context.Context, _, i int) error { n.add(i); return nil })
		if err != nil || len(took) != want {
			t.Errorf("%d took times, %v", len(took), err)
		}
		n.check(t, want)
	}
}

func TestLoopsEndWithTheirContext(t *testing.T) {
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := steady{callers: 1, warmUp: time.Minute}.run(ctx, func(_ context.Context, _, i int) error {
		if i == 10 {
			cancel(late)
		}
		return nil
	})
	if !errors.Is(err, late) {
		t.Error(err)
	}
}

func TestSharesCoverAllWorkflows(t *testing.T) {
	for _, c := range []struct{ callers, n int }{{1, 1}, {1, 7}, {3, 7}, {7, 7}, {9, 7}, {64, 64}, {5, 64}} {
		by := make(map[int]map[int]bool) // callers by workflow
		for caller := range c.callers {
			for turn := range c.n {
				at := share(caller, c.callers, c.n, turn)
				if by[at] == nil {
					by[at] = make(map[int]bool)
				}
				by[at][caller] = true
			}
		}
		if len(by) != c.n {
			t.Errorf("%v: %d workflows are called", c, len(by))
		}
		for at, callers := range by {
			if most := (c.callers + c.n - 1) / c.n; at < 0 || at >= c.n || len(callers) > most {
				t.Errorf("%v: workflow %d has %d callers", c, at, len(callers))
			}
		}
	}
}
