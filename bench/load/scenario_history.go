package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
)

const (
	replays = 3
	// A server may hand a query to a poll that the stopped worker has just given up, where nobody answers it. One that takes
	// longer than any replay would is taken for lost; another is made, and the lost ones are told of.
	mostLost      = 5
	lostBase      = 2 * time.Second
	lostPerSignal = time.Millisecond
)

// history sends many signals to one workflow while there is no worker: that is what is measured. Then come, as extra figures, the
// first workflow task, which has all of them; replay, by a query to a worker that remembers nothing; and reading the history.
func history(t *trial) error {
	n := t.settings.signals
	l, err := t.driver.ledger(t.ctx, t.workflow(0), ledgerInput{Until: int64(n)})
	if err != nil {
		return err
	}
	w, err := openWindow(t.target.pids)
	if err != nil {
		return err
	}
	var sum atomic.Int64
	took, err := each(t.ctx, t.combo.callers, n, func(ctx context.Context, _, i int) error {
		note := t.note(i)
		sum.Add(note.weight())
		return l.add(ctx, note)
	})
	if err != nil {
		return err
	}
	read, err := w.read()
	if err != nil {
		return err
	}
	m := t.measured(t.combo.String(), outcome{operations: n, latencies: took, reading: read})

	begun := time.Now()
	if err := t.driver.startWorkers(); err != nil {
		return err
	}
	got, err := l.result(t.ctx)
	if err != nil {
		return err
	}
	m.extra("first task, ms", milliseconds(time.Since(begun)))
	if err := expect("signals", got, tally{int64(n), sum.Load()}); err != nil {
		return err
	}
	if err := t.replay(m, l, sum.Load()); err != nil {
		return fmt.Errorf("replay: %w", err)
	}

	begun = time.Now()
	events, err := t.countEvents(l)
	if err != nil {
		return err
	}
	m.extra("fetch, ms", milliseconds(time.Since(begun)))
	if events <= n {
		return fmt.Errorf("the history has %d events after %d signals", events, n)
	}
	return nil
}

// replay measures a query to workers that remember nothing, the median of some.
func (t *trial) replay(m *measurement, l ledger, want int64) error {
	var took []time.Duration
	for lost := 0; len(took) < replays; {
		if err := t.driver.dropCache(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.ctx, lostBase+lostPerSignal*time.Duration(t.settings.signals))
		begun := time.Now()
		sum, err := l.total(ctx, note{})
		one, late := time.Since(begun), ctx.Err() != nil
		cancel()
		switch {
		case late && lost < mostLost:
			lost++
			m.extra("replay queries lost", float64(lost))
			continue
		case err != nil:
			return err
		}
		took = append(took, one)
		if err := expect("sum", sum, want); err != nil {
			return err
		}
	}
	slices.Sort(took)
	m.extra("replay, ms", milliseconds(took[replays/2]))
	return nil
}

// countEvents fetches the whole history.
func (t *trial) countEvents(e execution) (int, error) {
	events, page := 0, []byte(nil)
	for {
		h, err := t.driver.service().GetWorkflowExecutionHistory(t.ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: e.workflowID(), RunId: e.runID()}, NextPageToken: page,
		})
		if err != nil {
			return 0, fmt.Errorf("fetch history: %w", err)
		}
		for _, e := range h.History.GetEvents() {
			events++
			if err := expect("event ID", e.EventId, int64(events)); err != nil {
				return 0, err
			}
		}
		if page = h.NextPageToken; len(page) == 0 {
			return events, nil
		}
	}
}
