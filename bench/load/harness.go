package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// operation is what callers do, one after the other. The numbers i count from 0 without gaps, over all callers.
type operation func(ctx context.Context, caller, i int) error

// phase is where a steady loop is. Callers never pause between phases, so that the window sees them all at work, at its
// beginning as at its end.
type phase = int32

const (
	warming phase = iota
	measuring
	ending
)

// steady is a closed loop of callers that each begin an operation when their last one has ended. Operations count that end
// inside of the window.
type steady struct {
	callers        int
	warmUp, window time.Duration
	pids           []int
}

// outcome is what a loop has done.
type outcome struct {
	operations int // all of them, those before and after the window included
	latencies  []time.Duration
	reading    reading
}

// run runs the loop; the first error ends it.
func (s steady) run(ctx context.Context, op operation) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var now atomic.Int32
	var begun, ended atomic.Int64
	latencies := make([][]time.Duration, s.callers)
	var calling sync.WaitGroup
	for caller := range s.callers {
		calling.Go(func() {
			for now.Load() != ending && ctx.Err() == nil {
				i, start := int(begun.Add(1))-1, time.Now()
				if err := op(ctx, caller, i); err != nil {
					cancel(fmt.Errorf("operation %d: %w", i, err))
					return
				}
				if now.Load() == measuring {
					latencies[caller] = append(latencies[caller], time.Since(start))
				}
				ended.Add(1)
			}
		})
	}
	// Slow operations make the phases longer: each has to see each caller end one, and the window at least one.
	read, err := s.phases(ctx, &now, &ended)
	now.Store(ending)
	if err != nil {
		cancel(err)
	}
	calling.Wait()
	sorted := slices.Concat(latencies...)
	slices.Sort(sorted)
	return outcome{operations: int(begun.Load()), latencies: sorted, reading: read}, context.Cause(ctx)
}

func (s steady) phases(ctx context.Context, now *atomic.Int32, ended *atomic.Int64) (reading, error) {
	if err := pass(ctx, s.warmUp, ended, int64(s.callers)); err != nil {
		return reading{}, err
	}
	w, err := openWindow(s.pids)
	if err != nil {
		return reading{}, err
	}
	before := ended.Load()
	now.Store(measuring)
	if err := pass(ctx, s.window, ended, before+1); err != nil {
		return reading{}, err
	}
	return w.read()
}

// pass waits for a time, and then until so many operations have ended.
func pass(ctx context.Context, d time.Duration, ended *atomic.Int64, least int64) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		if ended.Load() >= least {
			return nil
		}
		timer.Reset(time.Millisecond)
	}
}

// each does n operations with so many callers, and says how long each took. The first error ends it.
func each(ctx context.Context, callers, n int, op operation) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	took := make([]time.Duration, n)
	var calling sync.WaitGroup
	for caller := range min(callers, n) {
		calling.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				start := time.Now()
				if err := op(ctx, caller, i); err != nil {
					cancel(fmt.Errorf("operation %d: %w", i, err))
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	calling.Wait()
	slices.Sort(took)
	return took, context.Cause(ctx)
}
