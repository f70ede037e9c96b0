// Package engine runs executions: it owns their states, steps inputs through internal/execution one at a time, makes
// the outcome durable in group commits, and only then answers callers and offers tasks.
//
// Invariant: what an answer or an offer says is in the store before it leaves, except for what the transition declared
// losable. See DESIGN.md.
package engine

import (
	"context"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Service is what the frontend needs of this package; *Engine implements it.
type Service interface {
	// Submit steps in on the run (empty: the current one) and returns its answer once that is durable. A nil answer
	// with a nil error: the caller is parked and hears through its Waiter. The context bounds the waiting, not the
	// write. Errors: *execution.Error, context errors, ErrStopped.
	Submit(ctx context.Context, key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error)
	// NewWaiter makes a waiter to put into an input. Release it when done; its channel gets at most one reply.
	NewWaiter() *Waiting
	// State returns the durable-or-newer state of a run (empty: the current one), never to be changed. NotFound error if
	// there is none.
	State(ctx context.Context, key ids.WorkflowKey, run ids.RunID) (*execution.State, error)
	// History reads a page of a run's events.
	History(ctx context.Context, q HistoryQuery) (*HistoryPage, error)
	// Ledger returns the notes on the messages of a run; an empty run means all runs of the workflow ID, oldest first.
	// NotFound error if there is no such run.
	Ledger(ctx context.Context, key ids.WorkflowKey, run ids.RunID) ([]RunNotes, error)
	// WaitHistory returns when the run has events from next on or is closed, or ctx is done (then ctx's error).
	WaitHistory(ctx context.Context, run ids.RunKey, next ids.EventID) error
}

// Waiting is one parked caller.
type Waiting struct {
	ID    execution.Waiter
	Reply <-chan execution.Reply
	// Release forgets the waiter; a later reply is dropped. Safe to call twice.
	Release func()
}

// HistoryQuery asks for events [From, To) of a run, at most Max of them; Reverse: the newest first.
type HistoryQuery struct {
	Run     ids.RunKey
	From    ids.EventID // 1 or more
	To      ids.EventID // exclusive; zero: all there are
	Max     int         // zero: no bound
	MaxSize int         // bytes after which a page ends (at least one event is returned); zero: no bound
	Reverse bool
}

// HistoryPage is a run of events in the wire form of history.v1.History, in the order asked for.
type HistoryPage struct {
	Events []byte
	Count  int
	// First and Last are the IDs of the first and last event of the page, in page order; zero when empty.
	First, Last ids.EventID
	// More tells that the range has further events.
	More bool
}
