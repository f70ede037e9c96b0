package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// stock is what has been put into a server's store, besides what is measured. It stays, for all targets at that address.
type stock struct{ open, closed int }

// stocks are those of servers, by address. Only one trial runs at a time.
type stocks map[string]*stock

func (s stocks) at(t *target) *stock {
	if t.sdk == inside {
		return new(stock) // its server comes and goes with the trial
	}
	if s[t.address] == nil {
		s[t.address] = new(stock)
	}
	return s[t.address]
}

// fillers is how many calls fill a store at once: a batch of theirs shares a write.
const fillers = 256

// open measures workflows with one activity while the store holds many others, open and closed, that nobody works on.
func open(t *trial) error {
	if t.target.sdk == restate {
		return errTemporal // even where nothing is to be put in
	}
	s := t.settings.stocks.at(t.target)
	begun, before := time.Now(), s.open+s.closed
	if err := t.fill(&s.closed, t.settings.closed, t.endOne); err != nil {
		return fmt.Errorf("fill with closed workflows: %w", err)
	}
	if err := t.fill(&s.open, t.combo.size, t.startIdle); err != nil {
		return fmt.Errorf("fill with open workflows: %w", err)
	}
	filled := s.open + s.closed - before
	took := time.Since(begun)
	if err := chains(1)(t); err != nil {
		return err
	}
	m := t.results[len(t.results)-1]
	if filled > 0 {
		m.extra("fill, per s", float64(filled)/took.Seconds())
	}
	if len(t.target.pids) == 0 {
		return nil
	}
	bytes, err := residentOf(t.target.pids)
	m.extra("resident, MB", float64(bytes>>20))
	return err
}

// fill brings a stock to a level. What has been made is counted even after an error.
func (t *trial) fill(have *int, level int, one func(ctx context.Context, id string) error) error {
	var mu sync.Mutex
	base := *have
	_, err := each(t.ctx, fillers, max(level-base, 0), func(ctx context.Context, _, i int) error {
		if err := one(ctx, fmt.Sprintf("%s-stock-%d", t.id, i)); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		*have++
		return nil
	})
	return err
}

// startIdle starts a workflow on a queue that no worker will ever poll.
func (t *trial) startIdle(ctx context.Context, id string) error {
	_, err := t.driver.service().StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, RequestId: id, WorkflowType: &commonpb.WorkflowType{Name: "Idle"},
		TaskQueue: &taskqueuepb.TaskQueue{Name: "load-idle"},
	})
	return err
}

func (t *trial) endOne(ctx context.Context, id string) error {
	if err := t.startIdle(ctx, id); err != nil {
		return err
	}
	_, err := t.driver.service().TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id},
	})
	return err
}
