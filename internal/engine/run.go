package engine

import (
	"context"
	"runtime"
	"sync"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

const workChunk = 128 // inputs between two looks at the disk

// run drives the shard until ctx is done or the store is closed.
func (s *Shard) run(ctx context.Context, pool *readers) error {
	w := startWriter(s.eng)
	defer w.stop()
	var wake alarmClock
	defer wake.stop()
	for ctx.Err() == nil && s.dead == nil {
		more := s.Work(workChunk)
		s.dispatch(w, pool)
		if more {
			select {
			case d := <-w.done:
				s.DoneIO(d.epoch, d.err)
			default:
			}
			continue
		}
		wake.set(s.opts.Clock, s.NextWake())
		select {
		case d := <-w.done:
			s.DoneIO(d.epoch, d.err)
		case <-s.Ready():
			runtime.Gosched() // those who are about to ask share the batch: a tenth to a fifth more under load
		case <-wake.rings:
			wake.stop()
		case <-ctx.Done():
		}
	}
	s.Stop()
	s.dispatch(w, nil)
	for s.writing() {
		d := <-w.done
		s.DoneIO(d.epoch, d.err)
		s.dispatch(w, nil)
	}
	return s.Close()
}

// dispatch hands out what the shard wants done; without a pool nothing is read any more.
func (s *Shard) dispatch(w *writer, pool *readers) {
	if io, ok := s.NextIO(); ok {
		w.todo <- io
	}
	if pool == nil {
		return
	}
	for _, j := range s.Jobs() {
		pool.do(func() { s.Continue(j()) })
	}
}

// writer is the shard's second goroutine: it waits for the disk. One write is under way at most, so that neither channel
// ever blocks its sender.
type writer struct {
	todo chan IO
	done chan written
	wg   sync.WaitGroup
}

type written struct {
	epoch ids.Epoch
	err   error
}

func startWriter(e *Engine) *writer {
	w := &writer{todo: make(chan IO, 1), done: make(chan written, 1)}
	w.wg.Go(func() {
		for io := range w.todo {
			epoch, err := e.perform(io)
			w.done <- written{epoch, err}
		}
	})
	return w
}

func (w *writer) stop() {
	close(w.todo)
	w.wg.Wait()
}

// readers runs jobs on up to max goroutines, which wait for more when there is nothing to do: their stacks have grown by
// then, which costs more than a read that memory can answer. Its queue is bounded by what is submitted: inputs, due
// timers and deliveries each have their bounds.
type readers struct {
	max int
	wg  sync.WaitGroup

	mu      sync.Mutex
	more    sync.Cond // of mu: queue has something, or stopped
	queue   []func()
	running int
	waiting int
	stopped bool
}

func newReaders(limit int) *readers {
	r := &readers{max: limit}
	r.more.L = &r.mu
	return r
}

func (r *readers) do(job func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.queue = append(r.queue, job)
	if r.waiting >= len(r.queue) {
		r.more.Signal()
	} else if r.running < r.max {
		r.running++
		r.wg.Go(r.work)
	}
}

func (r *readers) work() {
	for {
		job := r.next()
		if job == nil {
			return
		}
		job()
	}
}

func (r *readers) next() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 && !r.stopped {
		r.waiting++
		r.more.Wait()
		r.waiting--
	}
	if r.stopped {
		return nil
	}
	job := r.queue[0]
	r.queue[0] = nil
	if r.queue = r.queue[1:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return job
}

// stop waits for the jobs that run and drops the others.
func (r *readers) stop() {
	r.mu.Lock()
	r.stopped = true
	r.more.Broadcast()
	r.mu.Unlock()
	r.wg.Wait()
}

// alarmClock is at most one armed timer.
type alarmClock struct {
	at     clock.Nanos // zero: not armed
	rings  <-chan struct{}
	cancel func()
}

func (a *alarmClock) set(c clock.Clock, at clock.Nanos) {
	if a.at == at {
		return
	}
	a.stop()
	if at != 0 {
		a.at = at
		a.rings, a.cancel = c.At(at)
	}
}

func (a *alarmClock) stop() {
	if a.at != 0 {
		a.cancel()
		*a = alarmClock{}
	}
}
