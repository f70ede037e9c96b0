package main

import (
	"context"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	trips = 100 // updates at each point
	// patience is for one call while the history grows. Servers refuse messages to a history at its limit in a way that
	// makes SDKs try again, so this would wait for ever.
	patience = 30 * time.Second
	// embeddedEvents is where a run of an embedded server has come to its limit of signals.
	embeddedEvents = 10_000
)

// long measures the round trip of an update to a workflow whose history grows, one after the other: what the next workflow task
// costs that a worker has remembered all before it.
func long(t *trial) error {
	if t.target.sdk == inside && t.settings.events >= embeddedEvents {
		return status.Error(codes.Unimplemented, "an embedded server has no option for its limits")
	}
	if err := t.driver.startWorkers(); err != nil {
		return err
	}
	l, err := t.driver.ledger(t.ctx, t.workflow(0), ledgerInput{})
	if err != nil {
		return err
	}
	b := new(book)
	for _, events := range points(t.settings.events) {
		if err := t.grow(l, b, events); err != nil {
			return fmt.Errorf("grow to %d events: %w", events, err)
		}
		w, err := openWindow(t.target.pids)
		if err != nil {
			return err
		}
		took, err := each(t.ctx, 1, trips, func(ctx context.Context, _, i int) error {
			n := t.note(i)
			b.note(n)
			position, err := l.raise(ctx, n)
			if err != nil {
				return err
			}
			return expect("position of an update", position, b.sent.Count)
		})
		if err != nil {
			return err
		}
		read, err := w.read()
		if err != nil {
			return err
		}
		t.measured(fmt.Sprintf("%s:%d@1", t.combo.name, events), outcome{operations: trips, latencies: took, reading: read})
	}
	if err := l.finish(t.ctx); err != nil {
		return err
	}
	got, err := l.result(t.ctx)
	if err != nil {
		return err
	}
	return expect("notes of "+l.workflowID(), got, b.sent)
}

// points are 1,000, ten times that and so on, and the last one.
func points(last int) []int {
	var all []int
	for p := 1000; p < last; p *= 10 {
		all = append(all, p)
	}
	return append(all, last)
}

// grow sends signals until the history has so many events. How many a signal makes depends on how many of them share a workflow
// task, at most four, so it goes there in steps.
func (t *trial) grow(l ledger, b *book, events int) error {
	for {
		have, err := t.length(l)
		if err != nil {
			return err
		}
		if have >= events {
			return nil
		}
		if _, err := each(t.ctx, t.combo.callers, (events-have+3)/4, func(ctx context.Context, _, i int) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			n := t.note(i)
			if err := l.add(ctx, n); err != nil {
				return fmt.Errorf("with %d events, perhaps at a limit of the server: %w", have, err)
			}
			b.note(n)
			return nil
		}); err != nil {
			return err
		}
		// All of them are handled when a query knows of them.
		sum, err := l.total(t.ctx, note{})
		if err != nil {
			return err
		}
		if err := expect("sum", sum, b.sent.Sum); err != nil {
			return err
		}
	}
}

func (t *trial) length(e execution) (int, error) {
	d, err := t.driver.service().DescribeWorkflowExecution(t.ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: e.workflowID()},
	})
	return int(d.GetWorkflowExecutionInfo().GetHistoryLength()), err
}
