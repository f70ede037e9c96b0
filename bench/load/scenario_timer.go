package main

import (
	"context"
	"fmt"
	"time"
)

const (
	nap = time.Second
	// early is how much a timer may be early by: the clocks of server and worker are read at different moments.
	early = 2 * time.Millisecond
)

// timers has many workflows sleep, and measures how late their code goes on. That includes the workflow task that wakes them, as
// that is what a workflow sees.
func timers(t *trial) error {
	if err := t.driver.startWorkers(); err != nil {
		return err
	}
	if err := t.warmNaps(max(20, t.combo.callers)); err != nil {
		return err
	}
	n := t.settings.timers
	naps := make([]execution, n)
	var w window
	var err error
	if t.settings.spread == 0 {
		w, err = t.napAtOnce(naps)
	} else {
		w, err = t.napSpread(naps)
	}
	if err != nil {
		return err
	}
	if err := t.watch.reached(t.ctx, n, n); err != nil {
		return fmt.Errorf("%d of %d timers have fired: %w", len(t.watch.lateness()), n, err)
	}
	read, err := w.read()
	if err != nil {
		return err
	}
	late := t.watch.lateness()
	t.measured(t.combo.String(), outcome{operations: n, latencies: late, reading: read})
	if late[0] < -early {
		return fmt.Errorf("a timer fired %s early", -late[0])
	}
	return t.each(n, func(ctx context.Context, _, i int) error {
		got, err := naps[i].result(ctx)
		if err != nil {
			return err
		}
		return expect("result of "+naps[i].workflowID(), got, tally{Count: 1})
	})
}

func (t *trial) warmNaps(n int) error {
	if err := t.each(n, func(ctx context.Context, _, i int) error {
		r, err := t.driver.nap(ctx, fmt.Sprintf("%s-warm-%d", t.id, i), napInput{For: 10 * time.Millisecond})
		if err != nil {
			return err
		}
		_, err = r.result(ctx)
		return err
	}); err != nil {
		return err
	}
	t.watch.reset()
	return nil
}

// napAtOnce starts all as fast as callers can. The window holds all of it, from the first start on.
func (t *trial) napAtOnce(naps []execution) (window, error) {
	w, err := openWindow(t.target.pids)
	if err != nil {
		return w, err
	}
	_, err = each(t.ctx, t.combo.callers, len(naps), func(ctx context.Context, _, i int) (err error) {
		naps[i], err = t.driver.nap(ctx, t.workflow(i), napInput{For: nap})
		return err
	})
	return w, err
}

// napSpread starts workflows that are to wake one after the other, long enough before that all sleep when the first one wakes.
// The window begins with that moment.
func (t *trial) napSpread(naps []execution) (window, error) {
	begun, n := time.Now(), len(naps)
	first := begun.Add(t.settings.lead)
	if _, err := each(t.ctx, t.combo.callers, n, func(ctx context.Context, _, i int) (err error) {
		due := first.Add(t.settings.spread * time.Duration(i) / time.Duration(n))
		naps[i], err = t.driver.nap(ctx, t.workflow(i), napInput{Until: due})
		return err
	}); err != nil {
		return window{}, err
	}
	if err := t.watch.reached(t.ctx, n, 0); err != nil {
		return window{}, err
	}
	if ready := time.Since(begun); ready > t.settings.lead {
		return window{}, fmt.Errorf("all slept after %s only: give a longer -lead than %s", ready.Round(time.Second), t.settings.lead)
	}
	select {
	case <-time.After(time.Until(first)):
	case <-t.ctx.Done():
		return window{}, context.Cause(t.ctx)
	}
	return openWindow(t.target.pids)
}
