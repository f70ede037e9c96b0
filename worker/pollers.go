package worker

import (
	"context"
	"sync"
	"time"

	taskqueuepb "go.temporal.io/api/taskqueue/v1"

	"github.com/perdure/perdure/metrics"
)

const (
	startPollers = 2
	mostPollers  = 100
)

// polled is what a poll brought: nothing to do without do.
type polled struct {
	do   func()
	hint *taskqueuepb.PollerScalingDecision
}

// pollers keep polls waiting on one queue while there are slots: a fixed number, or as many as the server asks for. A server
// that asks for none is polled by as many as in the beginning.
type pollers struct {
	w     *Worker
	slots *slots
	take  func(context.Context) (polled, error)
	gauge metrics.Gauge

	mu            sync.Mutex // guards the rest
	min, max      int
	want, running int
	hinted        bool
}

// poll starts n pollers, or with 0 some that come and go.
func (w *Worker) poll(kind string, n int, s *slots, take func(context.Context) (polled, error)) {
	p := &pollers{w: w, slots: s, take: take, min: n, max: n, want: n}
	if n == 0 {
		p.min, p.max, p.want = 1, mostPollers, startPollers
	}
	// Two queues share the slots of workflow tasks, and a poll that waits holds one: neither may take all.
	share := max(cap(s.free)/2, 1)
	p.min, p.max, p.want = min(p.min, share), min(p.max, share), min(p.want, share)
	p.gauge = w.metrics.Gauge(metrics.NumPollers, metrics.Tag{Key: metrics.PollerType, Value: kind})
	w.metrics.Counter(metrics.PollerStart, metrics.Tag{Key: metrics.PollerType, Value: kind}).Add(int64(p.want))
	p.mu.Lock()
	p.fill()
	p.mu.Unlock()
}

// fill starts what is missing. The lock is held.
func (p *pollers) fill() {
	for p.running < p.want {
		p.running++
		p.w.polling.Add(1)
		go p.run()
	}
	p.gauge.Set(float64(p.running))
}

// leave says whether this poller is one too many, and has to end.
func (p *pollers) leave(stopping bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !stopping && p.running <= p.want {
		return false
	}
	p.running--
	p.gauge.Set(float64(p.running))
	return true
}

// learn takes a poll's result into account.
func (p *pollers) learn(got polled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case got.hint != nil:
		p.hinted = true
		p.want += int(got.hint.PollRequestDeltaSuggestion)
	case got.do == nil && p.hinted:
		p.want-- // it waited for nothing
	}
	p.want = min(max(p.want, p.min), p.max)
	select {
	case <-p.w.stop:
	default:
		p.fill()
	}
}

func (p *pollers) run() {
	w := p.w
	defer w.polling.Done()
	wait := time.Duration(0)
	for {
		if p.leave(false) {
			return
		}
		if !p.slots.take(w.stop) {
			p.leave(true)
			return
		}
		ctx, cancel := context.WithTimeout(w.pollCtx, w.o.PollTimeout)
		got, err := p.take(ctx)
		cancel()
		if err == nil {
			p.learn(got)
		}
		if got.do == nil {
			p.slots.give()
			if err != nil && w.pollCtx.Err() == nil {
				wait = min(max(2*wait, 50*time.Millisecond), 10*time.Second)
				w.log.Warn("poll failed", "task_queue", w.queue, "error", err)
				timer := time.NewTimer(wait)
				select {
				case <-w.stop:
				case <-timer.C:
				}
				timer.Stop()
			}
			continue
		}
		wait = 0
		w.tasks.Add(1)
		go func() {
			defer w.tasks.Done()
			defer p.slots.give()
			got.do()
		}()
	}
}

// slots bound what is at work at once, polls included.
type slots struct {
	free            chan struct{}
	used, available metrics.Gauge
}

func (w *Worker) newSlots(kind string, n int) *slots {
	tag := metrics.Tag{Key: metrics.WorkerType, Value: kind}
	s := &slots{
		free: make(chan struct{}, n),
		used: w.metrics.Gauge(metrics.SlotsUsed, tag), available: w.metrics.Gauge(metrics.SlotsAvailable, tag),
	}
	w.metrics.Counter(metrics.WorkerStart, tag).Add(1)
	s.show()
	return s
}

func (s *slots) show() {
	used := len(s.free)
	s.used.Set(float64(used))
	s.available.Set(float64(cap(s.free) - used))
}

// take waits for a slot; false when the worker stops.
func (s *slots) take(stop <-chan struct{}) bool {
	select {
	case <-stop: // comes first: one more poll would take a task along
		return false
	default:
	}
	select {
	case <-stop:
		return false
	case s.free <- struct{}{}:
		s.show()
		return true
	}
}

// tryTake takes a slot if one is free.
func (s *slots) tryTake() bool {
	select {
	case s.free <- struct{}{}:
		s.show()
		return true
	default:
		return false
	}
}

func (s *slots) give() {
	<-s.free
	s.show()
}
