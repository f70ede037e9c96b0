package main

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A driver is one SDK, its connections to one target and its workers on one task queue. Both SDKs of Temporal's API have the
// same three workflows under the same names:
//
//   - Chain does some activities in a row, or none;
//   - Ledger adds up the notes that signals and updates bring, and answers queries;
//   - Nap sleeps.
//
// That of Restate has Chain.
type driver interface {
	startWorkers() error
	stopWorkers()
	// dropCache makes the workers forget the workflows they know; they go on, or others do.
	dropCache() error
	close() error

	chain(ctx context.Context, id string, in chainInput) (execution, error)
	nap(ctx context.Context, id string, in napInput) (execution, error)
	ledger(ctx context.Context, id string, in ledgerInput) (ledger, error)
	// signalWithStart sends add to a ledger, and starts it if it is not running.
	signalWithStart(ctx context.Context, id string, in ledgerInput, n note) (ledger, error)

	// service is the raw API over the callers' connection: for what no SDK is to be measured with.
	service() workflowservice.WorkflowServiceClient
}

// execution is a workflow that a driver has started.
type execution interface {
	workflowID() string
	runID() string
	result(ctx context.Context) (tally, error)
}

// ledger is a running Ledger.
type ledger interface {
	execution
	add(ctx context.Context, n note) error            // signal Add
	raise(ctx context.Context, n note) (int64, error) // update Raise: the number of notes so far, this one included
	total(ctx context.Context, n note) (int64, error) // query Total: the sum of the notes so far, and of this one
	finish(ctx context.Context) error                 // signal Finish
}

type chainInput struct {
	Steps int
	First note
}

// note is the argument of activities and messages. Its weight makes a real answer differ from one that was made up.
type note struct {
	Number  int64
	Payload []byte
}

func (n note) weight() int64 { return n.Number + int64(len(n.Payload)) }

// ledgerInput: a ledger begins with a sum, and ends after so many notes or when it is told to; zero: only when it is told to.
type ledgerInput struct{ Opening, Until int64 }

// napInput: how long to sleep, or, if it is not zero, until when.
type napInput struct {
	For   time.Duration
	Until time.Time
}

func (in napInput) length(now time.Time) time.Duration {
	if in.Until.IsZero() {
		return in.For
	}
	return max(in.Until.Sub(now), 0)
}

// tally is the result of each workflow: how much was done, and a sum that shows that it was done with the right values.
type tally struct{ Count, Sum int64 }

func (t *tally) take(n note) {
	t.Count++
	t.Sum += n.weight()
}

// step is the note that the activity k of a chain gets.
func (in chainInput) step(k int) note { return note{Number: int64(k), Payload: in.First.Payload} }

// want is the result of the chain.
func (in chainInput) want() tally {
	t := tally{Sum: in.First.weight()}
	for k := range in.Steps {
		t.take(in.step(k))
	}
	return t
}

// The activity of chains has no timeout that a busy machine could reach: a second attempt would spoil the count.
const stepTimeout = 10 * time.Minute

// unserved says that the target does not know the call, as a stub does not know most of them.
func unserved(err error) bool {
	var unimplemented *serviceerror.Unimplemented
	return errors.As(err, &unimplemented) || status.Code(err) == codes.Unimplemented
}
