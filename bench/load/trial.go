package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
)

// trial is one scenario, once, against one target.
type trial struct {
	ctx      context.Context
	settings *settings
	target   *target
	combo    combo
	id       string // of this trial alone: the task queue, and what workflow IDs begin with
	driver   driver
	watch    *watch
	payload  []byte
	results  []*measurement
}

// try runs a combo against a target. There is at least one measurement, and all are marked when something was wrong.
func try(ctx context.Context, s *settings, t *target, c combo, round int) []*measurement {
	runtime.GC() // what the last one left is not this one's
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("it took longer than %s", s.timeout))
	defer cancel()
	r := &trial{ctx: ctx, settings: s, target: t, combo: c, id: "load-" + rand.Text(), payload: make([]byte, s.payload)}
	err := r.run()
	if len(r.results) == 0 {
		r.measured(c.String(), outcome{})
	}
	for _, m := range r.results {
		m.Round, m.OK, m.Unserved = round, err == nil, unserved(err)
		if err != nil {
			m.Error = err.Error()
		}
	}
	return r.results
}

func (t *trial) run() (err error) {
	t.watch = newWatch(t.id)
	defer t.watch.forget(t.id)
	if t.driver, err = dial(t.ctx, t.settings, t.target, t.id, t.watch); err != nil {
		return err
	}
	defer func() {
		t.driver.stopWorkers()
		err = errors.Join(err, t.driver.close())
	}()
	return t.combo.scenario.run(t)
}

// dial connects the SDK that the target asks for.
func dial(ctx context.Context, s *settings, t *target, queue string, w *watch) (driver, error) {
	switch t.sdk {
	case official:
		return dialOfficial(ctx, s, t.address, queue, w)
	case own:
		return dialOwn(ctx, s, t.address, queue, w)
	case restate:
		return newRestate(s, t, w), nil
	default:
		return openEmbedded(ctx, s, t.memory, queue, w)
	}
}

// steadily measures an operation, which is the end of most scenarios' beginning.
func (t *trial) steadily(op operation) (outcome, error) {
	done, err := steady{callers: t.combo.callers, warmUp: t.settings.warmUp, window: t.settings.window, pids: t.target.pids}.run(t.ctx, op)
	t.measured(t.combo.String(), done)
	return done, err
}

// each is what is done besides measuring, by as many callers.
func (t *trial) each(n int, op operation) error {
	_, err := each(t.ctx, max(t.combo.callers, 16), n, op)
	return err
}

func (t *trial) measured(row string, done outcome) *measurement {
	m := &measurement{Target: t.target.name, SDK: t.target.sdk, Row: row}
	m.figures(done.reading, len(done.latencies), done.latencies)
	t.results = append(t.results, m)
	return m
}

// workflow is the ID of a workflow of this trial.
func (t *trial) workflow(i int) string { return fmt.Sprintf("%s-%d", t.id, i) }

func (t *trial) note(number int) note { return note{Number: int64(number), Payload: t.payload} }

// expect is how results are checked.
func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}
