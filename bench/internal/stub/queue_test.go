package stub

import (
	"context"
	"testing"
)

func TestOldestTaskIsTakenFirst(t *testing.T) {
	var q queue[int]
	q.put(1)
	q.put(2)
	for want := 1; want <= 2; want++ {
		if got, found := q.take(t.Context(), "w"); !found || got != want {
			t.Errorf("got %d, %v; want %d", got, found, want)
		}
	}
}

func TestPollThatGaveUpTakesNothing(t *testing.T) {
	var q queue[int]
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, found := q.take(gone, "w"); found {
		t.Error("it found a task")
	}
	q.put(1)
	if got, found := q.take(t.Context(), "w"); !found || got != 1 {
		t.Errorf("got %d, %v", got, found)
	}
}

func TestStoppedWorkerTakesNothing(t *testing.T) {
	var q queue[int]
	ended := make(chan bool)
	for _, worker := range []string{"stops", "goes on"} {
		go func() {
			_, found := q.take(t.Context(), worker)
			ended <- found
		}()
	}
	for waiting := 0; waiting < 2; {
		q.mu.Lock()
		waiting = len(q.waiting)
		q.mu.Unlock()
	}
	q.stop("stops")
	if <-ended {
		t.Error("the stopped worker found a task")
	}
	if _, found := q.take(t.Context(), "stops"); found {
		t.Error("it found one later")
	}
	q.put(1)
	if !<-ended {
		t.Error("the other one found none")
	}
}

// Polls give up while tasks come: each task reaches somebody.
func TestNoTaskIsLost(t *testing.T) {
	var q queue[int]
	for i := range 1000 {
		giving, cancel := context.WithCancel(t.Context())
		first := make(chan bool)
		go func() {
			_, found := q.take(giving, "w")
			first <- found
		}()
		go cancel()
		q.put(i)
		if !<-first {
			if got, found := q.take(t.Context(), "w"); !found || got != i {
				t.Fatalf("task %d: got %d, %v", i, got, found)
			}
		}
	}
}
