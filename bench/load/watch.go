package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watch is what activities and workflow code tell the scenario, past the server: it is measuring, nothing of it gets into a history.
type watch struct {
	steps atomic.Int64 // activities that ran

	mu     sync.Mutex
	due    map[string]time.Time // when sleepers, by workflow ID, are to wake
	late   []time.Duration      // how late those that woke did
	change chan struct{}        // closed and made anew with each change
}

// watches are found by task queue, as that is what workflow code knows of where it is.
var watches sync.Map

func newWatch(queue string) *watch {
	w := &watch{due: make(map[string]time.Time), change: make(chan struct{})}
	watches.Store(queue, w)
	return w
}

func watchOf(queue string) *watch {
	w, found := watches.Load(queue)
	if !found {
		panic("a workflow on the task queue of nobody: " + queue)
	}
	return w.(*watch)
}

func (w *watch) forget(queue string) { watches.Delete(queue) }

// step is the activity.
func (w *watch) step(_ context.Context, n note) (int64, error) {
	w.steps.Add(1)
	return n.weight(), nil
}

// asleep is told before a nap: the clock starts when the code asks, so that what the server adds is lateness.
func (w *watch) asleep(workflowID string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[workflowID] = time.Now().Add(d)
	w.changed()
}

func (w *watch) awake(workflowID string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if due, known := w.due[workflowID]; known && !due.IsZero() {
		w.late = append(w.late, now.Sub(due))
		w.due[workflowID] = time.Time{} // once each, even if the task is done again
		w.changed()
	}
}

func (w *watch) changed() {
	close(w.change)
	w.change = make(chan struct{})
}

// reached waits until so many naps have begun and so many have ended.
func (w *watch) reached(ctx context.Context, asleep, awake int) error {
	for {
		w.mu.Lock()
		done, change := len(w.due) >= asleep && len(w.late) >= awake, w.change
		w.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// reset forgets the naps so far.
func (w *watch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.due)
	w.late = nil
}

// lateness is sorted.
func (w *watch) lateness() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.late))
}
