package main

import (
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

func registerOwn(w *worker.Worker, watch *watch) {
	worker.Workflow[*Chain](w)
	worker.Workflow[*Ledger](w)
	worker.Workflow[*Nap](w)
	w.ActivityAs(stepName, watch.step)
}

// Chain is officialChain with our SDK.
type Chain struct{}

// Run does the activities in a row.
func (*Chain) Run(ctx workflow.Context, in chainInput) (tally, error) {
	t := tally{Sum: in.First.weight()}
	for k := range in.Steps {
		weight, err := workflow.ActivityByName[int64](ctx, stepName, workflow.ActivityOptions{StartToClose: stepTimeout}, in.step(k)).Get()
		if err != nil {
			return t, err
		}
		t.Count++
		t.Sum += weight
	}
	return t, nil
}

// Ledger is officialLedger with our SDK.
type Ledger struct {
	tally    tally
	finished bool
}

// Init sets the sum before the first message.
func (l *Ledger) Init(_ workflow.ReadContext, in ledgerInput) { l.tally.Sum = in.Opening }

// Run waits for the last message.
func (l *Ledger) Run(ctx workflow.Context, in ledgerInput) (tally, error) {
	err := workflow.Await(ctx, func() bool { return l.finished || in.Until > 0 && l.tally.Count >= in.Until })
	return l.tally, err
}

// Add is a signal.
func (l *Ledger) Add(_ workflow.Context, n note) { l.tally.take(n) }

// Finish is a signal.
func (l *Ledger) Finish(workflow.Context) { l.finished = true }

// Raise is an update.
func (l *Ledger) Raise(_ workflow.Context, n note) (int64, error) {
	l.tally.take(n)
	return l.tally.Count, nil
}

// Total is a query.
func (l *Ledger) Total(_ workflow.ReadContext, n note) (int64, error) {
	return l.tally.Sum + n.weight(), nil
}

// Nap is officialNap with our SDK.
type Nap struct{}

// Run sleeps.
func (*Nap) Run(ctx workflow.Context, in napInput) (tally, error) {
	info := workflow.GetInfo(ctx)
	w, d := watchOf(info.TaskQueue), in.length(workflow.Now(ctx))
	if !workflow.IsReplaying(ctx) {
		w.asleep(info.WorkflowID, d)
	}
	if err := workflow.Sleep(ctx, d); err != nil {
		return tally{}, err
	}
	if !workflow.IsReplaying(ctx) {
		w.awake(info.WorkflowID)
	}
	return tally{Count: 1}, nil
}
