package worker

import (
	"container/list"
	"sync"
	"time"

	"github.com/perdure/perdure/internal/flow"
)

// cache keeps runs between their tasks; the one used longest ago goes first. A run has one task at a time: who comes while
// another has it waits for its turn. The server tells a query's caller before the worker hears that its answer was taken,
// so the next task may well be here before the run is back.
type cache struct {
	mu    sync.Mutex // guards the rest, not the runs
	bound int
	m     *meters
	runs  map[string]*turn
	idle  *list.List // of *turn
}

// turn is one run's place.
type turn struct {
	id    string
	free  chan struct{} // holds a token while nobody has the run
	users int           // those who have it or wait for it
	kept  *held
	place *list.Element // in idle, if nobody uses it
}

// held is a run with what belongs to it in this worker.
type held struct {
	*flow.Run
	locals locals
}

func (h *held) close() {
	h.locals.cancel()
	h.Close()
}

func newCache(bound int, m *meters) *cache {
	return &cache{bound: bound, m: m, runs: map[string]*turn{}, idle: list.New()}
}

// take waits for the run's turn; it is false when that does not come in time. Without a kept run the answer is nil. Each take that is
// true needs one put.
func (c *cache) take(runID string, wait time.Duration) (*held, bool) {
	c.mu.Lock()
	t := c.runs[runID]
	if t == nil {
		t = &turn{id: runID, free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		c.runs[runID] = t
	}
	t.users++
	if t.place != nil {
		c.idle.Remove(t.place)
		t.place = nil
	}
	c.mu.Unlock()

	select {
	case <-t.free:
	default:
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-t.free:
		case <-timer.C:
			c.mu.Lock()
			defer c.mu.Unlock()
			select {
			case <-t.free: // put in the same moment, and kept for us: it is in nobody's list
				h := t.kept
				t.kept = nil
				return h, true
			default:
			}
			t.users--
			return nil, false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := t.kept
	t.kept = nil
	return h, true
}

// put ends a turn. A nil run is not kept.
func (c *cache) put(runID string, h *held) {
	for _, old := range c.add(runID, h) {
		old.close()
	}
}

func (c *cache) add(runID string, h *held) (out []*held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.runs[runID]
	t.users--
	t.kept = h
	t.free <- struct{}{}
	switch {
	case t.users > 0:
	case h == nil:
		delete(c.runs, runID)
	default:
		t.place = c.idle.PushFront(t)
	}
	for c.idle.Len() > max(c.bound, 0) {
		old := c.idle.Remove(c.idle.Back()).(*turn)
		delete(c.runs, old.id)
		out = append(out, old.kept)
		if c.bound > 0 {
			c.m.eviction.Add(1)
		}
	}
	c.m.cacheSize.Set(float64(c.idle.Len()))
	return out
}

// clear drops what nobody uses.
func (c *cache) clear() {
	c.mu.Lock()
	var all []*held
	for e := c.idle.Front(); e != nil; e = e.Next() {
		t := e.Value.(*turn)
		delete(c.runs, t.id)
		all = append(all, t.kept)
	}
	c.idle.Init()
	c.m.cacheSize.Set(0)
	c.mu.Unlock()
	for _, h := range all {
		h.close()
	}
}
