package main

import (
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// Names on the wire; in our SDK they are those of the types and methods of program_own.go.
const (
	chainName, ledgerName, napName            = "Chain", "Ledger", "Nap"
	stepName                                  = "Step"
	addName, finishName, raiseName, totalName = "Add", "Finish", "Raise", "Total"
)

func registerOfficial(w worker.Worker, watch *watch) {
	w.RegisterWorkflowWithOptions(officialChain, workflow.RegisterOptions{Name: chainName})
	w.RegisterWorkflowWithOptions(officialLedger, workflow.RegisterOptions{Name: ledgerName})
	w.RegisterWorkflowWithOptions(officialNap, workflow.RegisterOptions{Name: napName})
	w.RegisterActivityWithOptions(watch.step, activity.RegisterOptions{Name: stepName})
}

func officialChain(ctx workflow.Context, in chainInput) (tally, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: stepTimeout})
	t := tally{Sum: in.First.weight()}
	for k := range in.Steps {
		var weight int64
		if err := workflow.ExecuteActivity(ctx, stepName, in.step(k)).Get(ctx, &weight); err != nil {
			return t, err
		}
		t.Count++
		t.Sum += weight
	}
	return t, nil
}

func officialLedger(ctx workflow.Context, in ledgerInput) (tally, error) {
	t, finished := tally{Sum: in.Opening}, false
	if err := workflow.SetUpdateHandler(ctx, raiseName, func(_ workflow.Context, n note) (int64, error) {
		t.take(n)
		return t.Count, nil
	}); err != nil {
		return t, err
	}
	if err := workflow.SetQueryHandler(ctx, totalName, func(n note) (int64, error) { return t.Sum + n.weight(), nil }); err != nil {
		return t, err
	}
	notes := workflow.GetSignalChannel(ctx, addName)
	messages := workflow.NewSelector(ctx)
	messages.AddReceive(notes, func(c workflow.ReceiveChannel, _ bool) {
		var n note
		c.Receive(ctx, &n)
		t.take(n)
	})
	messages.AddReceive(workflow.GetSignalChannel(ctx, finishName), func(c workflow.ReceiveChannel, _ bool) {
		c.Receive(ctx, nil)
		finished = true
	})
	for !finished && (in.Until == 0 || t.Count < in.Until) {
		messages.Select(ctx)
	}
	// Finish may stand before notes that came earlier: each channel has its own order.
	for n := (note{}); notes.ReceiveAsync(&n); n = (note{}) {
		t.take(n)
	}
	return t, nil
}

func officialNap(ctx workflow.Context, in napInput) (tally, error) {
	info := workflow.GetInfo(ctx)
	w, d := watchOf(info.TaskQueueName), in.length(workflow.Now(ctx))
	if !workflow.IsReplaying(ctx) {
		w.asleep(info.WorkflowExecution.ID, d)
	}
	if err := workflow.Sleep(ctx, d); err != nil {
		return tally{}, err
	}
	if !workflow.IsReplaying(ctx) {
		w.awake(info.WorkflowExecution.ID)
	}
	return tally{Count: 1}, nil
}
