package engine

import (
	"sync"
	"sync/atomic"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

type callKind uint8

const (
	callInput   callKind = iota // step in
	callView                    // answer a *view
	callWatch                   // register watch, or settle it at once
	callDiscard                 // remove a stale dispatch row
	callTouch                   // call touch as soon as the run's state is in memory
)

// call is one thing asked of a run. It is answered exactly once, through reply or then.
type call struct {
	kind    callKind
	key     ids.WorkflowKey
	run     ids.RunID // empty: the current run when the call's turn comes
	in      execution.Input
	offer   execution.Offer
	watch   *watcher
	touch   func()
	stored  storedEvents // what Needs asked for, so far
	later   []laterRun   // of a reset: what came to the runs that continue the base run, so far
	recalls recalls      // what Recalls asked for, so far; nil: nothing was asked yet
	counted bool         // counts against the shard's bound
	rung    *timerItem   // in is the engine's own TimerDue
	order   uint64       // of arrival

	reply chan result      // one slot
	then  func(any, error) // instead of reply; called by the loop of the call's shard
}

// unread forgets what was read of the run that c waited for: its turn comes at another one.
func (c *call) unread() {
	c.stored, c.later, c.recalls = nil, nil, recalls{}
	if in, ok := c.in.(execution.ResetWorkflow); ok {
		in.Events, in.Current, in.Later = nil, nil, nil
		c.in = in
	}
}

type result struct {
	answer any
	err    error
}

// item is one thing in a mailbox: a call, or something to do in the shard's loop.
type item struct {
	call *call
	do   func()
}

// mailbox is the way into a shard. Calls from outside are counted from their arrival to their answer and refused beyond
// the bound; what the engine sends itself is bounded at its source.
type mailbox struct {
	max     int64
	pending atomic.Int64
	ready   chan struct{} // one slot; full when there may be something to take

	mu     sync.Mutex
	items  []item
	closed bool
}

func newMailbox(bound int) *mailbox {
	return &mailbox{max: int64(bound), ready: make(chan struct{}, 1)}
}

func (m *mailbox) put(c *call) error {
	if c.counted && m.pending.Add(1) > m.max {
		m.pending.Add(-1)
		return errOverloaded()
	}
	if !m.add(item{call: c}) {
		if c.counted {
			m.pending.Add(-1)
		}
		return ErrStopped
	}
	return nil
}

// post is for what is not a call; it is dropped when the shard has stopped.
func (m *mailbox) post(do func()) { m.add(item{do: do}) }

func (m *mailbox) add(it item) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.items = append(m.items, it)
	m.mu.Unlock()
	m.ring()
	return true
}

func (m *mailbox) ring() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// swap takes everything and leaves an empty slice to fill.
func (m *mailbox) swap(empty []item) []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.items
	m.items = empty[:0]
	return out
}

func (m *mailbox) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.items) == 0
}

// close refuses what comes from now on and returns what is left.
func (m *mailbox) close() []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	out := m.items
	m.items = nil
	return out
}
