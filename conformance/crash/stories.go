package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"
)

// story is one thing a client does from start to end. It returns an error when something is definitely wrong.
type story struct {
	name string
	tell func(c *client, ctx context.Context, key string) error
}

var stories = []story{
	{"chain", (*client).tellChain},
	{"messages", (*client).tellMessages},
	{"parent", (*client).tellParent},
	{"messages", (*client).tellMessages},
	{"relay", (*client).tellRelay},
	{"abandoned start", (*client).tellAbandoned},
	{"stop", (*client).tellStop},
	{"outside", (*client).tellOutside},
}

// work tells stories until enough is closed, and finishes the one it is at. ctx bounds the whole.
func (c *client) work(ctx context.Context, enough <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-enough:
			return
		case <-ctx.Done():
			return
		default:
		}
		s := stories[(c.number+n)%len(stories)]
		key := fmt.Sprintf("c%d-%d", c.number, n)
		c.ledger.busy(c.number, s.name+" "+key)
		if err := s.tell(c, ctx, key); err != nil {
			c.ledger.violation("%s %s: %v", s.name, key, err)
		}
		c.ledger.busy(c.number, "")
		pause(ctx, time.Duration(c.rng.IntN(100))*time.Millisecond)
	}
}

func (c *client) chainInput(key string) chainInput {
	in := chainInput{Key: key}
	for range 2 + c.rng.IntN(4) {
		var s step
		switch c.rng.IntN(5) {
		case 0:
			s.Once = true
		case 1:
			s.Fail = 1
		}
		if c.rng.IntN(2) == 0 {
			s.PauseMS = 1 + c.rng.IntN(300)
		}
		in.Steps = append(in.Steps, s)
	}
	return in
}

// noteOnce remembers which steps of a chain may be attempted one time.
func (c *client) noteOnce(id string, in chainInput) {
	c.ledger.run(id, func(e *runEntry) {
		for i, s := range in.Steps {
			if s.Once {
				e.once = append(e.once, i)
			}
		}
	})
}

func checkChain(in chainInput, out chainResult) error {
	if out.Sum != in.sum() {
		return fmt.Errorf("chain %s returned the sum %d, want %d", in.Key, out.Sum, in.sum())
	}
	return nil
}

func (c *client) tellChain(ctx context.Context, key string) error {
	in := c.chainInput(key)
	c.noteOnce(key, in)
	start := c.start
	if c.rng.IntN(3) == 0 {
		start = c.startEager
	}
	run, err := start(ctx, key, "chain", in)
	if err != nil {
		return err
	}
	var out chainResult
	if err := c.result(ctx, key, run, &out); err != nil {
		return err
	}
	return checkChain(in, out)
}

func (c *client) tellAbandoned(ctx context.Context, key string) error {
	in := c.chainInput(key)
	c.noteOnce(key, in)
	c.startOnce(ctx, key, "chain", in)
	return nil
}

func (c *client) tellParent(ctx context.Context, key string) error {
	var children []chainInput
	for i := range 2 + c.rng.IntN(2) {
		in := c.chainInput(fmt.Sprintf("%s-child%d", key, i))
		children = append(children, in)
		c.noteOnce(in.Key, in)
		c.ledger.run(in.Key, func(e *runEntry) { e.child = true })
	}
	run, err := c.start(ctx, key, "parent", children)
	if err != nil {
		return err
	}
	var out []chainResult
	if err := c.result(ctx, key, run, &out); err != nil {
		return err
	}
	if len(out) != len(children) {
		return fmt.Errorf("parent %s returned %d results for %d children", key, len(out), len(children))
	}
	for i, in := range children {
		if err := checkChain(in, out[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) tellRelay(ctx context.Context, key string) error {
	in := relayInput{Key: key, Left: 1 + c.rng.IntN(3)}
	run, err := c.start(ctx, key, "relay", in)
	if err != nil {
		return err
	}
	var sum, want uint64
	for i := range in.Left + 1 {
		want = mix(key, i, want)
	}
	if err := c.result(ctx, key, run, &sum); err != nil {
		return err
	}
	if sum != want {
		return fmt.Errorf("relay %s returned the sum %d, want %d", key, sum, want)
	}
	return nil
}

// tellStop cancels or terminates a workflow: once that is acknowledged, it ends so.
func (c *client) tellStop(ctx context.Context, key string) error {
	run, err := c.start(ctx, key, "sleeper")
	if err != nil {
		return err
	}
	terminate := c.rng.IntN(2) == 0
	cancelID, attempts := c.requestID(), 0
	err = c.insist(ctx, "cancels and terminates", func(ctx context.Context) error {
		attempts++
		if !terminate {
			_, err := c.service().RequestCancelWorkflowExecution(ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{
				Namespace: namespace, WorkflowExecution: execution(key, run), RequestId: cancelID})
			return err
		}
		_, err := c.service().TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{
			Namespace: namespace, WorkflowExecution: execution(key, run), Reason: "crash"})
		return doneBefore(err, attempts)
	})
	if err != nil {
		return err
	}
	want := enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED
	if terminate {
		want = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED
	}
	c.ledger.run(key, func(e *runEntry) { e.stopped = want.String() })
	return c.insist(ctx, "ends awaited", func(ctx context.Context) error {
		err := c.sdk.GetWorkflow(ctx, key, run).Get(ctx, nil)
		var failed *temporal.WorkflowExecutionError
		if errors.As(err, &failed) {
			return nil // the audit looks how
		}
		return err
	})
}

// tellOutside completes an activity from outside, often before a worker has taken it.
func (c *client) tellOutside(ctx context.Context, key string) error {
	run, err := c.start(ctx, key, "waiter")
	if err != nil {
		return err
	}
	err = c.insist(ctx, "history watches", func(ctx context.Context) error {
		for it := c.sdk.GetWorkflowHistory(ctx, key, run, true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
			e, err := it.Next()
			if err != nil || e.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
				return err
			}
		}
		return serviceerror.NewInvalidArgument("closed without its activity")
	})
	if err != nil {
		return err
	}
	attempts := 0
	err = c.insist(ctx, "activities completed by ID", func(ctx context.Context) error {
		attempts++
		_, err := c.service().RespondActivityTaskCompletedById(ctx, &workflowservice.RespondActivityTaskCompletedByIdRequest{
			Namespace: namespace, WorkflowId: key, RunId: run, ActivityId: "outside", Result: payloads(key), Identity: "crash"})
		return doneBefore(err, attempts)
	})
	if err != nil {
		return err
	}
	var said string
	if err := c.result(ctx, key, run, &said); err != nil {
		return err
	}
	if said != key {
		return fmt.Errorf("waiter %s was told %q", key, said)
	}
	return nil
}

// doneBefore takes "not found" for an acknowledgement when an earlier attempt, whose answer was lost, may have done it.
func doneBefore(err error, attempts int) error {
	var gone *serviceerror.NotFound
	if attempts > 1 && errors.As(err, &gone) {
		return nil
	}
	return err
}

// helper is a client for a goroutine beside this one, with chance of its own.
func (c *client) helper() *client {
	h := *c
	h.rng = rand.New(rand.NewPCG(c.rng.Uint64(), c.rng.Uint64()))
	return &h
}

// tellMessages starts a collector in one of three ways, sends it signals, updates and queries from several sides at once,
// has another workflow signal it too, tells it to finish, and compares what it got with what was acknowledged.
func (c *client) tellMessages(ctx context.Context, key string) error {
	var run string
	var err error
	switch c.rng.IntN(3) {
	case 0:
		run, err = c.start(ctx, key, "collector", key)
	case 1:
		run, err = c.updateWithStart(ctx, key, key, 900)
	case 2: // the run does not exist yet for any of them
		err = c.beside(3, func(h *client, i int) error { _, err := h.signalWithStart(ctx, key, key, 800+i); return err })
		c.ledger.run(key, func(e *runEntry) { run = e.runID })
	}
	if err != nil {
		return err
	}
	signals, updates := 5+c.rng.IntN(15), 2+c.rng.IntN(5)
	err = c.beside(4, func(h *client, i int) error {
		switch i {
		case 0:
			return h.sendSignals(ctx, key, 0, signals)
		case 1:
			return h.sendSignals(ctx, key, 100, signals)
		case 2:
			return h.sendUpdates(ctx, key, updates)
		default:
			return h.forward(ctx, key)
		}
	})
	if err != nil {
		return err
	}
	if err := c.finish(ctx, key); err != nil {
		return err
	}
	var out collected
	if err := c.result(ctx, key, run, &out); err != nil {
		return err
	}
	c.ledger.run(key, func(e *runEntry) { err = e.checkCollected(out) })
	return err
}

// beside runs f n times at once, each with a client of its own, and returns the first error.
func (c *client) beside(n int, f func(h *client, i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		h := c.helper()
		wg.Go(func() { errs[i] = f(h, i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *client) sendSignals(ctx context.Context, id string, from, n int) error {
	for i := range n {
		if err := c.signal(ctx, id, from+i, c.rng.IntN(10) == 0); err != nil {
			return err
		}
		if c.rng.IntN(6) == 0 {
			if err := c.count(ctx, id); err != nil {
				return err
			}
		}
		pause(ctx, time.Duration(c.rng.IntN(60))*time.Millisecond)
	}
	return nil
}

func (c *client) sendUpdates(ctx context.Context, id string, n int) error {
	for i := range n {
		if err := c.update(ctx, id, i+1, c.rng.IntN(3) == 0); err != nil {
			return err
		}
		pause(ctx, time.Duration(c.rng.IntN(100))*time.Millisecond)
	}
	return nil
}

// forward lets another workflow signal the collector.
func (c *client) forward(ctx context.Context, target string) error {
	id := target + "-forwarder"
	in := forwardInput{Target: target}
	for i := range 2 + c.rng.IntN(5) {
		in.Numbers = append(in.Numbers, 500+i)
	}
	c.ledger.run(target, func(e *runEntry) {
		for _, n := range in.Numbers {
			e.signals[n] = &signalEntry{}
		}
	})
	run, err := c.start(ctx, id, "forwarder", in)
	if err != nil {
		return err
	}
	var sent int
	if err := c.result(ctx, id, run, &sent); err != nil {
		return err
	}
	if sent != len(in.Numbers) {
		return fmt.Errorf("forwarder %s sent %d of %d signals", id, sent, len(in.Numbers))
	}
	c.ledger.run(target, func(e *runEntry) {
		for _, n := range in.Numbers {
			e.signals[n].acked = true
		}
	})
	return nil
}

// checkCollected compares what a collector got with what is known of it.
func (e *runEntry) checkCollected(out collected) error {
	got := map[int]int{}
	for _, n := range out.Items {
		got[n]++
	}
	for n, times := range got {
		switch s := e.signals[n]; {
		case s == nil:
			return fmt.Errorf("collector %s got signal %d, which nobody sent", e.workflowID, n)
		case times > 1:
			return fmt.Errorf("collector %s got signal %d %d times", e.workflowID, n, times)
		}
	}
	for n, s := range e.signals {
		if s.acked && got[n] == 0 {
			return fmt.Errorf("collector %s did not get signal %d (request ID %q), which was acknowledged", e.workflowID, n, s.requestID)
		}
	}
	if len(out.Puts) != len(e.updates) {
		return fmt.Errorf("collector %s took %d updates, want %d", e.workflowID, len(out.Puts), len(e.updates))
	}
	for _, u := range e.updates {
		if !slices.Contains(out.Puts, u.outcome) {
			return fmt.Errorf("collector %s does not know update %s as acknowledged: %+v", e.workflowID, u.id, u.outcome)
		}
	}
	for i, p := range out.Puts {
		if p.Position != i+1 {
			return fmt.Errorf("collector %s gave the update at place %d the position %d", e.workflowID, i+1, p.Position)
		}
	}
	return nil
}
