package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	sdkclient "go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const (
	namespace    = "default"
	taskQueue    = "linear"
	workflowType = "register"
	signalName   = "append"

	// Types of the errors that updates end with.
	errMismatch = "Mismatch" // the list has another length; details say which
	errLeaving  = "Leaving"  // rejected, because the run is about to end; a later one may take it
	errTooLate  = "TooLate"  // accepted, but another finish was quicker
)

// registerInput begins a chain of runs, or carries it on.
type registerInput struct {
	Chain  int  // number of the call that began the chain
	Roll   bool // whether runs continue as new
	Runs   int  // runs before this one
	Items  []int
	SlowMS int // how long a slow append stays unfinished
}

// reading is what queries and updates answer with.
type reading struct {
	Chain     int
	Runs      int
	Items     []int
	Run, From string // run IDs: of the run itself, and of the first of its chain
}

// mismatch is why a swap was rejected: the list that was there, and how many signals were waiting to be appended to it.
type mismatch struct {
	Chain   int
	Items   []int
	Waiting int
}

// put is an append by update. A slow one is accepted in one workflow task and completed in a later one.
type put struct {
	Item, Expect int
	Slow         bool
}

// registerRun is the state of one run. Whoever looks at the list, or adds to it, first takes the signals that have come: an
// update must not overtake a signal that was there before it, and the SDK runs updates before the workflow's main function.
type registerRun struct {
	registerInput
	signals  workflow.ReceiveChannel
	until    int // length of the list at which to continue as new
	busy     int // slow appends under way
	finished bool
	leaving  bool
}

func registerWorkflow(ctx workflow.Context, in registerInput) (reading, error) {
	r := &registerRun{registerInput: in, signals: workflow.GetSignalChannel(ctx, signalName)}
	r.until = len(in.Items) + 4 + (in.Chain*7+in.Runs*5)%9
	// The query comes last: before the run has seen its signals there is nothing to read.
	err := errors.Join(
		workflow.SetUpdateHandlerWithOptions(ctx, string(kindAppend), r.append, workflow.UpdateHandlerOptions{Validator: r.mayAppend}),
		workflow.SetUpdateHandlerWithOptions(ctx, string(kindSwap), r.append, workflow.UpdateHandlerOptions{Validator: r.maySwap}),
		workflow.SetUpdateHandlerWithOptions(ctx, string(kindFinish), r.finish, workflow.UpdateHandlerOptions{Validator: r.mayFinish}),
		workflow.SetQueryHandler(ctx, string(kindRead), func() (reading, error) { return r.read(ctx), nil }),
	)
	if err != nil {
		return reading{}, err
	}
	ends := func() bool {
		return (r.finished || r.Roll && len(r.Items) >= r.until) && workflow.AllHandlersFinished(ctx)
	}
	for !ends() {
		if err := workflow.Await(ctx, func() bool { return r.signals.Len() > 0 || ends() }); err != nil {
			return reading{}, err
		}
		r.drain()
	}
	r.drain()
	r.leaving = true
	if r.finished {
		return r.read(ctx), nil
	}
	in.Items, in.Runs = r.Items, in.Runs+1
	return reading{}, workflow.NewContinueAsNewError(ctx, workflowType, in)
}

// drain takes the signals that are here. Nothing may wait in Receive, which would take one and hold it until its turn.
func (r *registerRun) drain() {
	for n := 0; r.signals.ReceiveAsync(&n); {
		r.Items = append(r.Items, n)
	}
}

func (r *registerRun) read(ctx workflow.Context) reading {
	info := workflow.GetInfo(ctx)
	return reading{Chain: r.Chain, Runs: r.Runs, Items: append([]int{}, r.Items...), Run: info.WorkflowExecution.RunID, From: info.FirstRunID}
}

func (r *registerRun) stays() error {
	if r.finished || r.leaving {
		return temporal.NewApplicationError("the run is about to end", errLeaving)
	}
	return nil
}

func (r *registerRun) mayAppend(put) error { return r.stays() }
func (r *registerRun) mayFinish() error    { return r.stays() }

// maySwap must change nothing, so it counts the signals that wait instead of taking them.
func (r *registerRun) maySwap(p put) error {
	if waiting := r.signals.Len(); len(r.Items)+waiting != p.Expect {
		return temporal.NewApplicationError("another length", errMismatch, mismatch{r.Chain, r.Items, waiting})
	}
	return r.stays()
}

func (r *registerRun) append(ctx workflow.Context, p put) (reading, error) {
	r.drain()
	r.Items = append(r.Items, p.Item)
	then := r.read(ctx)
	if !p.Slow {
		return then, nil
	}
	r.busy++
	err := workflow.Sleep(ctx, time.Duration(r.SlowMS)*time.Millisecond)
	r.busy--
	return then, err
}

// finish waits for slow appends, so that the run ends in the very workflow task that answers.
func (r *registerRun) finish(ctx workflow.Context) (reading, error) {
	if err := workflow.Await(ctx, func() bool { return r.busy == 0 }); err != nil {
		return reading{}, err
	}
	r.drain()
	if r.stays() != nil {
		return reading{}, temporal.NewApplicationError("finished by another update", errTooLate)
	}
	r.finished = true
	return r.read(ctx), nil
}

// work is a worker process. It ends when it is killed, or when in ends: with the process that made it.
func work(address string, in io.Reader) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sdk, err := sdkclient.DialContext(context.Background(), sdkclient.Options{
		HostPort: address, Namespace: namespace, Identity: fmt.Sprintf("linear-worker-%d", os.Getpid()),
		Logger:            sdklog.NewStructuredLogger(log),
		ConnectionOptions: sdkclient.ConnectionOptions{DialOptions: eagerDial()},
	})
	if err != nil {
		return fmt.Errorf("worker: connect to %s: %w", address, err)
	}
	defer sdk.Close()
	w := worker.New(sdk, taskQueue, worker.Options{
		StickyScheduleToStartTimeout: time.Second,
		DisableRegistrationAliasing:  true,
	})
	w.RegisterWorkflowWithOptions(registerWorkflow, workflow.RegisterOptions{Name: workflowType})
	if err := w.Start(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
