package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/workflow"
)

// CheckInterval is how often the nodes are looked at.
const CheckInterval = 10 * time.Minute

// Wish is how many nodes a job wants.
type Wish struct {
	Job   string
	Nodes int
}

// State is what one run of a cluster hands to the next.
type State struct {
	Nodes map[string]string // the job of a node; empty: it is free
	Up    bool
	// Answers are those of the updates of the runs before, by ID: a server knows an update's ID in one run only, and its
	// sender may ask again in the next.
	Answers map[string][]string
}

// Summary is the end of a cluster.
type Summary struct{ Nodes, Assigned int }

// Cluster manages nodes. Its handlers wait for activities while they change the state, so several are at work at once, and Run
// beside them.
type Cluster struct {
	state State
	down  bool
	// lock is held from the first look at the nodes until what was decided is done. Without it two handlers would choose the
	// same free node, each while the other waits for its activity.
	lock workflow.Mutex
}

// Init runs before any handler.
func (c *Cluster) Init(_ workflow.ReadContext, s State) error {
	if len(s.Nodes) == 0 {
		return errors.New("a cluster needs nodes")
	}
	if s.Answers == nil {
		s.Answers = map[string][]string{}
	}
	c.state = s
	return nil
}

// Run looks after the nodes until somebody shuts the cluster down.
func (c *Cluster) Run(ctx workflow.Context, _ State) (Summary, error) {
	if err := workflow.Await(ctx, func() bool { return c.state.Up }); err != nil {
		return Summary{}, err
	}
	long := func() bool { return workflow.ShouldContinueAsNew(ctx) }
	for !c.down && !long() {
		if err := c.check(ctx); err != nil {
			return Summary{}, err
		}
		if _, err := workflow.AwaitFor(ctx, CheckInterval, func() bool { return c.down || long() }); err != nil {
			return Summary{}, err
		}
	}
	// The run would wait for its handlers anyway. But what it returns is made here, and has to have what they do.
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return Summary{}, err
	}
	if !c.down {
		return Summary{}, workflow.ContinueAsNew(drained, (*Cluster).Run, c.state)
	}
	return Summary{len(c.state.Nodes), len(c.state.Nodes) - len(c.free())}, nil
}

var machines *Machines // names the activities

var brief = workflow.ActivityOptions{StartToClose: time.Minute}

// check takes broken nodes out. It holds the lock, as handlers do: a node must not be given away while it is being looked at.
func (c *Cluster) check(ctx workflow.Context) error {
	if err := c.lock.Lock(ctx); err != nil {
		return err
	}
	defer c.lock.Unlock()
	broken, err := workflow.Activity(ctx, machines.Broken, slices.Sorted(maps.Keys(c.state.Nodes)), brief).Get()
	if err != nil {
		return err
	}
	for _, n := range broken {
		delete(c.state.Nodes, n)
	}
	return nil
}

// Start is a signal: the cluster is up.
func (c *Cluster) Start(workflow.Context) { c.state.Up = true }

// Shutdown is a signal.
func (c *Cluster) Shutdown(workflow.Context) { c.down = true }

// Assign is an update that gives nodes to a job, and answers with all that the job has.
func (c *Cluster) Assign(ctx workflow.Context, w Wish) ([]string, error) {
	return c.once(ctx, func() ([]string, error) {
		free := c.free()
		if len(free) < w.Nodes {
			return nil, failure.NonRetryable(fmt.Sprintf("%s wants %d nodes, %d are free", w.Job, w.Nodes, len(free)), "TooFewNodes", nil)
		}
		chosen := free[:w.Nodes]
		if err := workflow.ActivityVoid2(ctx, machines.Load, w.Job, chosen, brief).Wait(); err != nil {
			return nil, err
		}
		for _, n := range chosen {
			c.state.Nodes[n] = w.Job
		}
		return c.nodesOf(w.Job), nil
	})
}

// ValidateAssign can look at the state, but not wait for the lock: what it finds out may have changed when its update has its
// turn. So it refuses only what will be wrong then, too.
func (c *Cluster) ValidateAssign(_ workflow.ReadContext, w Wish) error {
	if w.Job == "" || w.Nodes <= 0 {
		return errors.New("a job needs a name and a number of nodes")
	}
	return c.open()
}

// Remove is an update that takes the nodes of a job back.
func (c *Cluster) Remove(ctx workflow.Context, job string) ([]string, error) {
	return c.once(ctx, func() ([]string, error) {
		nodes := c.nodesOf(job)
		if err := workflow.ActivityVoid(ctx, machines.Clear, nodes, brief).Wait(); err != nil {
			return nil, err
		}
		for _, n := range nodes {
			c.state.Nodes[n] = ""
		}
		return nodes, nil
	})
}

// ValidateRemove refuses what comes too late.
func (c *Cluster) ValidateRemove(workflow.ReadContext, string) error { return c.open() }

// once is what all updates have in common: they wait until the cluster is up, for the lock, and do nothing a second time.
func (c *Cluster) once(ctx workflow.Context, do func() ([]string, error)) ([]string, error) {
	if err := workflow.Await(ctx, func() bool { return c.state.Up }); err != nil {
		return nil, err
	}
	if err := c.lock.Lock(ctx); err != nil {
		return nil, err
	}
	defer c.lock.Unlock()
	u, _ := workflow.CurrentUpdate(ctx)
	if answer, ok := c.state.Answers[u.ID]; ok {
		return answer, nil
	}
	answer, err := do()
	if err == nil {
		c.state.Answers[u.ID] = answer // an error is no answer: who asks again may be luckier
	}
	return answer, err
}

// Nodes is a query.
func (c *Cluster) Nodes(workflow.ReadContext) (map[string]string, error) { return c.state.Nodes, nil }

func (c *Cluster) open() error {
	if c.down {
		return errors.New("the cluster is shut down")
	}
	return nil
}

func (c *Cluster) free() []string { return c.nodesOf("") }

// nodesOf is sorted: the order of a map is not the same on each replay.
func (c *Cluster) nodesOf(job string) []string {
	var nodes []string
	for _, n := range slices.Sorted(maps.Keys(c.state.Nodes)) {
		if c.state.Nodes[n] == job {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
