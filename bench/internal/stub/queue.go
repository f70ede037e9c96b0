package stub

import (
	"context"
	"slices"
	"sync"
)

// queue hands tasks to polls, the oldest to the one that waits longest. T is a function that makes the answer to a poll when the
// task is taken, not when it is put.
type queue[T any] struct {
	mu      sync.Mutex
	tasks   []T
	waiting []waiter[T]
	stopped map[string]bool // workers that take no more
}

type waiter[T any] struct {
	worker string
	task   chan T // has room for one; closed when the poll is to end
}

func (q *queue[T]) put(task T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		q.waiting[0].task <- task
		q.waiting = q.waiting[1:]
		return
	}
	q.tasks = append(q.tasks, task)
}

// take waits for a task until ctx ends, or the worker stops.
func (q *queue[T]) take(ctx context.Context, worker string) (task T, found bool) {
	q.mu.Lock()
	if q.stopped[worker] {
		q.mu.Unlock()
		return task, false
	}
	if len(q.tasks) > 0 {
		task, q.tasks = q.tasks[0], q.tasks[1:]
		q.mu.Unlock()
		return task, true
	}
	mine := make(chan T, 1)
	q.waiting = append(q.waiting, waiter[T]{worker, mine})
	q.mu.Unlock()
	select {
	case task, found = <-mine:
		return task, found
	case <-ctx.Done():
	}
	q.mu.Lock()
	if at := slices.IndexFunc(q.waiting, func(w waiter[T]) bool { return w.task == mine }); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
		q.mu.Unlock()
		return task, false
	}
	q.mu.Unlock()
	if late, found := <-mine; found {
		q.put(late) // it came at the last moment, and nobody hears the answer
	}
	return task, false
}

// stop ends the polls of a worker, those that wait and those that are still on their way.
func (q *queue[T]) stop(worker string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped == nil {
		q.stopped = make(map[string]bool)
	}
	q.stopped[worker] = true
	q.waiting = slices.DeleteFunc(q.waiting, func(w waiter[T]) bool {
		if w.worker == worker {
			close(w.task)
		}
		return w.worker == worker
	})
}
