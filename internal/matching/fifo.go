package matching

import (
	"slices"

	"github.com/perdure/perdure/internal/clock"
)

// Task is one thing to hand out. Value is the caller's.
type Task[T any] struct {
	Value T
	// Priority is 1 (first) to 5 (last); anything else counts as 3.
	Priority int32
	// At orders tasks of one priority: oldest first, then in the order of offering.
	At clock.Nanos
	// Added is when it was offered first, or At if it was paged in.
	Added clock.Nanos
	// Volatile: the store has no row of it; memory is all there is.
	Volatile bool
	// Key is the key of its row. Rows paged in have it; otherwise the queue asks Options.Key when it needs it.
	Key string
	// Dead, when set, makes it a query: it goes before all tasks, is not counted, not rate limited, and not handed out
	// once Dead returns true. Dead is called under the driver's lock: it must neither block nor call back.
	Dead func() bool
	// Backlog is set by the queue: no poller took it at once.
	Backlog bool

	seq int64
}

const priorities = 5

// level is the index of a task's priority.
func (t *Task[T]) level() int {
	if t.Priority < 1 || t.Priority > priorities {
		return 2
	}
	return int(t.Priority) - 1
}

func (t *Task[T]) compare(u *Task[T]) int {
	switch {
	case t.At != u.At:
		if t.At < u.At {
			return -1
		}
		return 1
	case t.seq < u.seq:
		return -1
	case t.seq > u.seq:
		return 1
	}
	return 0
}

// fifo holds tasks of one priority, oldest first. Adding at either end and taking the first are cheap.
type fifo[T any] struct {
	items []*Task[T] // items[:head] are nil
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) live() []*Task[T] { return f.items[f.head:] }

func (f *fifo[T]) first() *Task[T] {
	if f.len() == 0 {
		return nil
	}
	return f.items[f.head]
}

// insert puts t in its place; false if it is there already. key tells durable tasks of the same time apart.
func (f *fifo[T]) insert(t *Task[T], key func(*Task[T]) string) bool {
	n := len(f.items)
	if f.len() == 0 || f.items[n-1].At < t.At {
		f.items = append(f.items, t)
		return true
	}
	i, _ := slices.BinarySearchFunc(f.live(), t, (*Task[T]).compare)
	i += f.head
	if !t.Volatile && f.hasTwin(i, t, key) {
		return false
	}
	if i == f.head && f.head > 0 {
		f.head--
		f.items[f.head] = t
		return true
	}
	f.items = slices.Insert(f.items, i, t)
	return true
}

// hasTwin tells whether a task with t's row is among those of the same time around index i.
func (f *fifo[T]) hasTwin(i int, t *Task[T], key func(*Task[T]) string) bool {
	same := func(u *Task[T]) bool { return !u.Volatile && key(u) == key(t) }
	for j := i; j < len(f.items) && f.items[j].At == t.At; j++ {
		if same(f.items[j]) {
			return true
		}
	}
	for j := i - 1; j >= f.head && f.items[j].At == t.At; j-- {
		if same(f.items[j]) {
			return true
		}
	}
	return false
}

func (f *fifo[T]) pop() *Task[T] {
	t := f.items[f.head]
	f.items[f.head] = nil
	f.head++
	switch {
	case f.head == len(f.items):
		f.items, f.head = f.items[:0], 0
		if cap(f.items) > 64 {
			f.items = nil
		}
	case f.head >= 32 && f.head*2 >= len(f.items):
		f.items, f.head = slices.Delete(f.items, 0, f.head), 0
	}
	return t
}

// remove takes out the i-th task from the front.
func (f *fifo[T]) remove(i int) *Task[T] {
	if i == 0 {
		return f.pop()
	}
	t := f.items[f.head+i]
	f.items = slices.Delete(f.items, f.head+i, f.head+i+1)
	return t
}

// removeFunc takes out all tasks that gone returns true for.
func (f *fifo[T]) removeFunc(gone func(*Task[T]) bool) {
	f.items = slices.DeleteFunc(slices.Delete(f.items, 0, f.head), gone)
	f.head = 0
	if len(f.items) == 0 {
		f.items = nil
	}
}

// Poller is somebody who waits for one task. Value is the caller's. A poller is used for one Poll.
type Poller[P any] struct {
	Value P

	since      clock.Nanos
	parked     bool
	prev, next *Poller[P]
}

// line is the pollers that wait, oldest first.
type line[P any] struct {
	first, last *Poller[P]
	n           int
}

func (l *line[P]) push(p *Poller[P]) {
	p.parked, p.prev = true, l.last
	if l.last == nil {
		l.first = p
	} else {
		l.last.next = p
	}
	l.last = p
	l.n++
}

func (l *line[P]) remove(p *Poller[P]) {
	if p.prev == nil {
		l.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.parked, p.prev, p.next = false, nil, nil
	l.n--
}
