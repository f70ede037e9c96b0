package worker

import (
	"container/list"
	"sync"

	"github.com/perdure/perdure/internal/flow"
)

// cache keeps runs between their tasks; the one used longest ago goes first. Who takes a run out owns it.
type cache struct {
	mu    sync.Mutex // guards the rest
	bound int
	runs  map[string]*list.Element
	order *list.List
}

type cached struct {
	id  string
	run *flow.Run
}

func newCache(bound int) *cache {
	return &cache{bound: bound, runs: map[string]*list.Element{}, order: list.New()}
}

func (c *cache) take(runID string) *flow.Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.runs[runID]
	if e == nil {
		return nil
	}
	delete(c.runs, runID)
	return c.order.Remove(e).(*cached).run
}

func (c *cache) put(runID string, r *flow.Run) {
	for _, old := range c.add(runID, r) {
		old.Close()
	}
}

func (c *cache) add(runID string, r *flow.Run) (out []*flow.Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bound <= 0 {
		return []*flow.Run{r}
	}
	if e := c.runs[runID]; e != nil {
		out = append(out, c.order.Remove(e).(*cached).run)
	}
	c.runs[runID] = c.order.PushFront(&cached{runID, r})
	for c.order.Len() > c.bound {
		old := c.order.Remove(c.order.Back()).(*cached)
		delete(c.runs, old.id)
		out = append(out, old.run)
	}
	return out
}

func (c *cache) clear() {
	c.mu.Lock()
	all := c.runs
	c.runs = map[string]*list.Element{}
	c.order = list.New()
	c.mu.Unlock()
	for _, e := range all {
		e.Value.(*cached).run.Close()
	}
}
