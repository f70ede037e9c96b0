package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
)

// ownDriver uses the Go SDK of this repository, over gRPC or by direct calls.
type ownDriver struct {
	settings *settings
	queue    string
	watch    *watch
	callers  *client.Client
	working  *client.Client
	worker   *worker.Worker
	hangUp   func() error
}

func dialOwn(ctx context.Context, s *settings, address, queue string, w *watch) (*ownDriver, error) {
	o := client.Options{Address: address, Identity: "load", Logger: slog.New(s.logs())}
	callers, err := client.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	working, err := client.Dial(ctx, o)
	if err != nil {
		callers.Close()
		return nil, err
	}
	return &ownDriver{settings: s, queue: queue, watch: w, callers: callers, working: working, hangUp: func() error {
		callers.Close()
		working.Close()
		return nil
	}}, nil
}

// openEmbedded starts a server that lives as long as the driver, on a directory of its own or in memory.
func openEmbedded(ctx context.Context, s *settings, memory bool, queue string, w *watch) (*ownDriver, error) {
	o := embedded.Options{Client: client.Options{Identity: "load", Logger: slog.New(s.logs())}}
	if !memory {
		var err error
		if o.Dir, err = os.MkdirTemp(s.dir, "load-embedded-"); err != nil {
			return nil, err
		}
	}
	remove := func() error {
		if memory {
			return nil
		}
		return os.RemoveAll(o.Dir)
	}
	db, err := embedded.Open(ctx, o)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	return &ownDriver{settings: s, queue: queue, watch: w, callers: db.Client(), working: db.Client(), hangUp: func() error {
		return errors.Join(db.Close(), remove())
	}}, nil
}

func (d *ownDriver) startWorkers() error {
	d.worker = worker.New(d.working, d.queue, worker.Options{
		MaxCachedRuns: d.settings.cached, MaxConcurrentWorkflowTasks: d.settings.slots, MaxConcurrentActivities: d.settings.slots,
		StopTimeout: 5 * time.Second,
	})
	registerOwn(d.worker, d.watch)
	return d.worker.Start()
}

func (d *ownDriver) stopWorkers() {
	if d.worker != nil {
		d.worker.Stop()
		d.worker = nil
	}
}

func (d *ownDriver) dropCache() error {
	d.worker.DropCache()
	return nil
}

func (d *ownDriver) close() error { return d.hangUp() }

func (d *ownDriver) service() workflowservice.WorkflowServiceClient { return d.callers.Service() }

func (d *ownDriver) options(id string) client.StartOptions {
	return client.StartOptions{ID: id, TaskQueue: d.queue}
}

func (d *ownDriver) chain(ctx context.Context, id string, in chainInput) (execution, error) {
	h, err := client.Start(ctx, d.callers, (*Chain).Run, in, d.options(id))
	return ownRun[*Chain]{h}, err
}

func (d *ownDriver) nap(ctx context.Context, id string, in napInput) (execution, error) {
	h, err := client.Start(ctx, d.callers, (*Nap).Run, in, d.options(id))
	return ownRun[*Nap]{h}, err
}

func (d *ownDriver) ledger(ctx context.Context, id string, in ledgerInput) (ledger, error) {
	h, err := client.Start(ctx, d.callers, (*Ledger).Run, in, d.options(id))
	return ownLedger{ownRun[*Ledger]{h}}, err
}

func (d *ownDriver) signalWithStart(ctx context.Context, id string, in ledgerInput, n note) (ledger, error) {
	h, err := client.SignalWithStart(ctx, d.callers, client.WithStart((*Ledger).Run, in, d.options(id)), (*Ledger).Add, n)
	return ownLedger{ownRun[*Ledger]{h}}, err
}

// ownRun is a workflow of type W.
type ownRun[W any] struct{ h *client.Handle[W, tally] }

func (r ownRun[W]) workflowID() string                        { return r.h.ID() }
func (r ownRun[W]) runID() string                             { return r.h.FirstRunID() }
func (r ownRun[W]) result(ctx context.Context) (tally, error) { return r.h.Result(ctx) }

type ownLedger struct{ ownRun[*Ledger] }

func (l ownLedger) add(ctx context.Context, n note) error {
	return client.Signal(ctx, l.h, (*Ledger).Add, n)
}

func (l ownLedger) finish(ctx context.Context) error {
	return client.Signal0(ctx, l.h, (*Ledger).Finish)
}

func (l ownLedger) raise(ctx context.Context, n note) (int64, error) {
	return client.Update(ctx, l.h, (*Ledger).Raise, n)
}

func (l ownLedger) total(ctx context.Context, n note) (int64, error) {
	return client.Query1(ctx, l.h, (*Ledger).Total, n)
}
