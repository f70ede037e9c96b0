package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const taskQueue = "crash"

// step is one link of a chain.
type step struct {
	PauseMS int  // timer before the activity; 0: none
	Fail    int  // the activity fails this many attempts first
	Once    bool // an activity that may be attempted one time, whose result does not count towards the sum
}

type chainInput struct {
	Key   string // unique over the whole run of the test
	Steps []step
}

type chainResult struct {
	Sum      uint64
	OnceDone []int // steps with Once whose activity answered; the others timed out
}

// mix is what a step does to the sum: order matters, and so does each single step.
func mix(key string, index int, sum uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%d", key, index, sum)
	return h.Sum64()
}

// sum is the result a chain must have.
func (in chainInput) sum() uint64 {
	var sum uint64
	for i, s := range in.Steps {
		if !s.Once {
			sum = mix(in.Key, i, sum)
		}
	}
	return sum
}

// counted activities count how often they ran in this process, by step.
type counted struct {
	mu   sync.Mutex
	runs map[string]int
}

func stepKey(key string, index int) string { return key + "#" + strconv.Itoa(index) }

func (c *counted) count(key string, index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[stepKey(key, index)]++
}

func (c *counted) of(key string, index int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[stepKey(key, index)]
}

func (c *counted) total() (runs, steps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.runs {
		runs += n
	}
	return runs, len(c.runs)
}

// Step does one link; it may run any number of times and gives the same answer each time.
func (c *counted) Step(ctx context.Context, key string, index int, sum uint64, fail int) (uint64, error) {
	c.count(key, index)
	if int(activity.GetInfo(ctx).Attempt) <= fail {
		return 0, temporal.NewApplicationError("asked to fail", "Asked")
	}
	return mix(key, index, sum), nil
}

// Once must never be started twice.
func (c *counted) Once(ctx context.Context, key string, index int) error {
	c.count(key, index)
	select { // long enough for a crash to fall into it
	case <-ctx.Done():
	case <-time.After(rand.N(50 * time.Millisecond)):
	}
	return nil
}

// Outside leaves its result to somebody else.
func (c *counted) Outside(context.Context) (string, error) { return "", activity.ErrResultPending }

func stepOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 2 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond, BackoffCoefficient: 1},
	})
}

func onceOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 2 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// chain runs its steps one after the other.
func chain(ctx workflow.Context, in chainInput) (chainResult, error) {
	var out chainResult
	for i, s := range in.Steps {
		if s.PauseMS > 0 {
			if err := workflow.Sleep(ctx, time.Duration(s.PauseMS)*time.Millisecond); err != nil {
				return out, err
			}
		}
		if s.Once {
			err := workflow.ExecuteActivity(onceOptions(ctx), "Once", in.Key, i).Get(ctx, nil)
			if err == nil {
				out.OnceDone = append(out.OnceDone, i)
			} else if !temporal.IsTimeoutError(err) {
				return out, err
			}
			continue
		}
		if err := workflow.ExecuteActivity(stepOptions(ctx), "Step", in.Key, i, out.Sum, s.Fail).Get(ctx, &out.Sum); err != nil {
			return out, err
		}
	}
	return out, nil
}

// parent runs chains as children, all at once.
func parent(ctx workflow.Context, children []chainInput) ([]chainResult, error) {
	var futures []workflow.ChildWorkflowFuture
	for _, in := range children {
		ctx := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: in.Key, WorkflowTaskTimeout: 2 * time.Second})
		futures = append(futures, workflow.ExecuteChildWorkflow(ctx, chain, in))
	}
	results := make([]chainResult, len(children))
	for i, f := range futures {
		if err := f.Get(ctx, &results[i]); err != nil {
			return nil, err
		}
	}
	return results, nil
}

type relayInput struct {
	Key  string
	Left int // runs still to come after this one
	Done int
	Sum  uint64
}

// relay does one step per run and continues as new.
func relay(ctx workflow.Context, in relayInput) (uint64, error) {
	if err := workflow.ExecuteActivity(stepOptions(ctx), "Step", in.Key, in.Done, in.Sum, 0).Get(ctx, &in.Sum); err != nil {
		return 0, err
	}
	if in.Left == 0 {
		return in.Sum, nil
	}
	in.Left, in.Done = in.Left-1, in.Done+1
	return 0, workflow.NewContinueAsNewError(ctx, relay, in)
}

// put is an update as the collector took it.
type put struct {
	Value    int
	Position int // 1 for the first
}

type collected struct {
	Items []int // signals, in the order received
	Puts  []put
}

// collector takes numbered signals and updates until it is told to finish, and returns all it got.
func collector(ctx workflow.Context, key string) (collected, error) {
	var out collected
	err := workflow.SetUpdateHandlerWithOptions(ctx, "put", func(ctx workflow.Context, value int) (put, error) {
		p := put{Value: value, Position: len(out.Puts) + 1}
		out.Puts = append(out.Puts, p)
		if value%3 == 0 { // accepted in one workflow task, completed in a later one
			if err := workflow.ExecuteActivity(stepOptions(ctx), "Step", key, value, uint64(0), 0).Get(ctx, nil); err != nil {
				return p, err
			}
		}
		return p, nil
	}, workflow.UpdateHandlerOptions{Validator: func(value int) error {
		if value < 0 {
			return temporal.NewApplicationError("negative", "Negative")
		}
		return nil
	}})
	if err != nil {
		return out, err
	}
	if err := workflow.SetQueryHandler(ctx, "count", func() (int, error) { return len(out.Items), nil }); err != nil {
		return out, err
	}
	items, finish := workflow.GetSignalChannel(ctx, "item"), workflow.GetSignalChannel(ctx, "finish")
	finished := false
	take := func(c workflow.ReceiveChannel, _ bool) {
		var n int
		c.Receive(ctx, &n)
		out.Items = append(out.Items, n)
	}
	s := workflow.NewSelector(ctx).
		AddReceive(items, take).
		AddReceive(finish, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); finished = true })
	for !finished || s.HasPending() {
		s.Select(ctx)
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return out, err
	}
	for n := 0; items.ReceiveAsync(&n); {
		out.Items = append(out.Items, n)
	}
	return out, nil
}

type forwardInput struct {
	Target  string
	Numbers []int
}

// forwarder signals another workflow, twice at a time.
func forwarder(ctx workflow.Context, in forwardInput) (int, error) {
	sent := 0
	for len(in.Numbers) > 0 {
		n := min(2, len(in.Numbers))
		var futures []workflow.Future
		for _, number := range in.Numbers[:n] {
			futures = append(futures, workflow.SignalExternalWorkflow(ctx, in.Target, "", "item", number))
		}
		for _, f := range futures {
			if err := f.Get(ctx, nil); err != nil {
				return sent, err
			}
			sent++
		}
		in.Numbers = in.Numbers[n:]
	}
	return sent, nil
}

// sleeper waits to be cancelled or terminated.
func sleeper(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) }

// waiter returns what somebody outside says is the result of its activity.
func waiter(ctx workflow.Context) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID: "outside", StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	var said string
	err := workflow.ExecuteActivity(ctx, "Outside").Get(ctx, &said)
	return said, err
}

// registry is what workers and the replayer register workflows with.
type registry interface{ RegisterWorkflow(w any) }

func registerWorkflows(r registry) {
	for _, w := range []any{chain, parent, relay, collector, forwarder, sleeper, waiter} {
		r.RegisterWorkflow(w)
	}
}

func register(w worker.Worker, c *counted) {
	registerWorkflows(w)
	w.RegisterActivity(c)
}
