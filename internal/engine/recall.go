package engine

import (
	"errors"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// recalls is what an input was found to have to do with earlier runs of its workflow ID.
type recalls struct {
	runs   map[execution.Seen]ids.RunID // who took the message; empty: nobody
	states map[execution.Seen]*execution.State
}

// recall makes sure that the step knows which earlier run took the message that c brings. False: it has to be read first,
// and e is busy until then. Only the first run of a workflow ID is spared the look.
func (s *Shard) recall(c *call, e *entry, st *execution.State) (ready bool, err error) {
	if c.run != "" || st == nil {
		return true, nil
	}
	want, err := s.wanted(c, st)
	if err != nil {
		return false, err
	}
	var unread []execution.Seen
	for _, m := range want {
		if _, ok := c.recalls.runs[m]; !ok {
			unread = append(unread, m)
		}
	}
	if len(unread) > 0 {
		e.busy = true
		// The rows of earlier runs are in the store once the batch is in which this run came to be. The call may be over, and
		// in use for something else, when the job runs: it must not be read there.
		key := e.key.Of()
		s.when(e.born, s.guard(func() {
			s.job(func(r storage.Reader) func() {
				runs, err := readSeen(r, key, unread)
				return func() { s.gotSeen(c, e, runs, err) }
			})
		}))
		return false, nil
	}
	for _, m := range want {
		if _, ok := c.recalls.states[m]; ok {
			continue
		}
		run := c.recalls.runs[m]
		if run == "" || run == e.key.Run {
			continue
		}
		old := s.entry(c.key.Run(run))
		if !old.known {
			e.busy = true
			s.enqueue(old, &call{kind: callTouch, key: c.key, run: run,
				touch: func() { s.resume(e) }, then: s.guardAnswer(func(_ any, err error) { s.failFirst(e, err) })})
			return false, nil
		}
		if c.recalls.states == nil {
			c.recalls.states = make(map[execution.Seen]*execution.State)
		}
		c.recalls.states[m] = old.visible()
	}
	return true, nil
}

func (s *Shard) wanted(c *call, st *execution.State) (want []execution.Seen, err error) {
	defer s.catch("recalls", c, &err)
	return s.core.Recalls(st, c.in, s.opts.Limits), nil
}

func (s *Shard) gotSeen(c *call, e *entry, runs map[execution.Seen]ids.RunID, err error) {
	if err != nil {
		s.failFirst(e, s.readFailed("look a message up", e.key, err))
		return
	}
	if c.recalls.runs == nil {
		c.recalls.runs = runs
	} else {
		for m, run := range runs {
			c.recalls.runs[m] = run
		}
	}
	s.resume(e)
}

// readSeen finds the runs that took the messages; an empty run stands for none.
func readSeen(r storage.Reader, k ids.WorkflowKey, want []execution.Seen) (map[execution.Seen]ids.RunID, error) {
	found := make(map[execution.Seen]ids.RunID, len(want))
	for _, m := range want {
		value, err := r.Get(record.SeenKey(k, m))
		if errors.Is(err, storage.ErrNotFound) {
			found[m] = ""
			continue
		}
		if err != nil {
			return nil, err
		}
		if found[m], err = record.DecodeCurrent(value); err != nil {
			return nil, err
		}
	}
	return found, nil
}
