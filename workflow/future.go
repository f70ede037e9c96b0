package workflow

import (
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/internal/flow"
)

// Future is a result to come.
type Future[T any] struct {
	f *flow.Future
}

// Get waits for the result. Cancelling the scope in which the work was started settles the future; that of who waits does
// not end the wait.
func (f Future[T]) Get() (T, error) {
	var v T
	if err := f.f.Wait(); err != nil {
		return v, err
	}
	_, outside := f.f.Value().(*commonpb.Payloads)
	_, raw := any(&v).(**commonpb.Payloads)
	if own, ok := f.f.Value().(T); ok && (raw || !outside) {
		return own, nil
	}
	err := f.f.Decode(&v)
	return v, err
}

// Wait is Get for who does not need the value.
func (f Future[T]) Wait() error {
	_, err := f.Get()
	return err
}

// Ready says whether Get would not wait.
func (f Future[T]) Ready() bool { return f.f.Ready() }

func (f Future[T]) future() *flow.Future { return f.f }

// Promise settles a future.
type Promise[T any] struct{ f *flow.Future }

// NewFuture makes a future and what settles it.
func NewFuture[T any](ctx Context) (Future[T], Promise[T]) {
	f := flow.RunOf(ctx).NewFuture()
	return Future[T]{f}, Promise[T]{f}
}

// Set settles the future. Only the first time counts.
func (p Promise[T]) Set(v T, err error) { p.f.Resolve(v, err) }

// NewTimer settles after d.
func NewTimer(ctx Context, d time.Duration) Future[None] {
	return Future[None]{flow.NewTimer(ctx, d, "")}
}

// NewNamedTimer is NewTimer with a summary, of one line, that UI and CLI show.
func NewNamedTimer(ctx Context, d time.Duration, summary string) Future[None] {
	return Future[None]{flow.NewTimer(ctx, d, summary)}
}

// Awaitable is what Select takes: a future of any type.
type Awaitable interface{ future() *flow.Future }

// Select waits for the first of several to be settled and gives its index; of several, the first in the list.
func Select(ctx Context, of ...Awaitable) (int, error) {
	at := -1
	err := flow.Await(ctx, func() bool {
		for i, a := range of {
			if a.future().Ready() {
				at = i
				return true
			}
		}
		return false
	})
	return at, err
}

// Channel is a queue between the coroutines of a run. The zero value is an empty one without bound.
type Channel[T any] struct {
	values []T
	closed bool
	// Capacity bounds the queue; Send waits when it is full. 0: no bound.
	Capacity int
}

// Send adds v, waiting for room.
func (c *Channel[T]) Send(ctx Context, v T) error {
	if c.Capacity > 0 && len(c.values) >= c.Capacity {
		if err := flow.Await(ctx, func() bool { return len(c.values) < c.Capacity }); err != nil {
			return err
		}
	}
	c.values = append(c.values, v)
	return nil
}

// Receive takes the oldest value, waiting for one. It is false once the channel is closed and empty.
func (c *Channel[T]) Receive(ctx Context) (T, bool, error) {
	var v T
	if err := flow.Await(ctx, func() bool { return len(c.values) > 0 || c.closed }); err != nil {
		return v, false, err
	}
	if len(c.values) == 0 {
		return v, false, nil
	}
	v = c.values[0]
	c.values = c.values[1:]
	return v, true, nil
}

// Close says that nothing more comes.
func (c *Channel[T]) Close() { c.closed = true }

// Len is the number of values that wait.
func (c *Channel[T]) Len() int { return len(c.values) }

// Semaphore lets so many coroutines in at a time, in the order in which they came.
type Semaphore struct {
	free, size int64
	queue      []*int
}

// NewSemaphore makes one with n permits.
func NewSemaphore(n int64) *Semaphore { return &Semaphore{free: n, size: n} }

// Acquire takes n permits, waiting for them. It fails only when ctx is cancelled; none is taken then. More than there are is a
// mistake, and panics.
func (s *Semaphore) Acquire(ctx Context, n int64) error {
	if n > s.size {
		panic(fmt.Sprintf("workflow: Acquire of %d permits of %d", n, s.size))
	}
	me := new(int)
	s.queue = append(s.queue, me)
	err := flow.Await(ctx, func() bool { return s.queue[0] == me && s.free >= n })
	for i, q := range s.queue {
		if q == me {
			s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
		}
	}
	if err == nil {
		s.free -= n
	}
	return err
}

// Release gives n permits back. To give back more than were taken panics.
func (s *Semaphore) Release(n int64) {
	if s.free+n > s.size {
		panic("workflow: Release of more permits than were acquired")
	}
	s.free += n
}

// Mutex lets one coroutine in at a time. The zero value is unlocked.
type Mutex struct{ s *Semaphore }

// Lock waits for its turn. It fails only when ctx is cancelled; the mutex is not held then.
func (m *Mutex) Lock(ctx Context) error {
	if m.s == nil {
		m.s = NewSemaphore(1)
	}
	return m.s.Acquire(ctx, 1)
}

// Unlock lets the next one in. It panics if the mutex is not locked.
func (m *Mutex) Unlock() {
	if m.s == nil || m.s.free > 0 {
		panic("workflow: Unlock of a Mutex that is not locked")
	}
	m.s.Release(1)
}
