package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
)

// officialDriver uses go.temporal.io/sdk.
type officialDriver struct {
	settings *settings
	queue    string
	watch    *watch
	callers  client.Client
	working  client.Client // the workers' connection: callers do not wait behind polls
	workers  []worker.Worker
}

func dialOfficial(ctx context.Context, s *settings, address, queue string, w *watch) (*officialDriver, error) {
	d := &officialDriver{settings: s, queue: queue, watch: w}
	o := client.Options{HostPort: address, Identity: "load", Logger: sdklog.NewStructuredLogger(slog.New(s.logs()))}
	if !s.gzip {
		o.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	}
	var err error
	if d.callers, err = client.DialContext(ctx, o); err != nil {
		return nil, err
	}
	if d.working, err = client.DialContext(ctx, o); err != nil {
		d.callers.Close()
		return nil, err
	}
	return d, nil
}

func (d *officialDriver) startWorkers() error {
	for range d.settings.workers {
		w := worker.New(d.working, d.queue, worker.Options{
			MaxConcurrentWorkflowTaskExecutionSize: d.settings.slots,
			MaxConcurrentActivityExecutionSize:     d.settings.slots,
			MaxConcurrentWorkflowTaskPollers:       d.settings.pollers,
			MaxConcurrentActivityTaskPollers:       d.settings.pollers,
			WorkerStopTimeout:                      5 * time.Second,
		})
		registerOfficial(w, d.watch)
		if err := w.Start(); err != nil {
			return err
		}
		d.workers = append(d.workers, w)
	}
	return nil
}

func (d *officialDriver) stopWorkers() {
	var stopping sync.WaitGroup
	for _, w := range d.workers {
		stopping.Go(w.Stop)
	}
	stopping.Wait()
	d.workers = nil
}

// dropCache has to stop the workers: that is what the SDK asks for, whose cache is the process's, not a worker's.
func (d *officialDriver) dropCache() error {
	d.stopWorkers()
	worker.PurgeStickyWorkflowCache()
	return d.startWorkers()
}

func (d *officialDriver) close() error {
	worker.PurgeStickyWorkflowCache() // nobody comes back to these workflows
	d.callers.Close()
	d.working.Close()
	return nil
}

func (d *officialDriver) service() workflowservice.WorkflowServiceClient {
	return d.callers.WorkflowService()
}

func (d *officialDriver) options(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: id, TaskQueue: d.queue}
}

func (d *officialDriver) start(ctx context.Context, id, name string, in any) (officialRun, error) {
	r, err := d.callers.ExecuteWorkflow(ctx, d.options(id), name, in)
	return officialRun{d.callers, r}, err
}

func (d *officialDriver) chain(ctx context.Context, id string, in chainInput) (execution, error) {
	return d.start(ctx, id, chainName, in)
}

func (d *officialDriver) nap(ctx context.Context, id string, in napInput) (execution, error) {
	return d.start(ctx, id, napName, in)
}

func (d *officialDriver) ledger(ctx context.Context, id string, in ledgerInput) (ledger, error) {
	return d.start(ctx, id, ledgerName, in)
}

func (d *officialDriver) signalWithStart(ctx context.Context, id string, in ledgerInput, n note) (ledger, error) {
	r, err := d.callers.SignalWithStartWorkflow(ctx, id, addName, n, d.options(id), ledgerName, in)
	return officialRun{d.callers, r}, err
}

// officialRun is any of the three workflows.
type officialRun struct {
	client client.Client
	of     client.WorkflowRun
}

func (r officialRun) workflowID() string { return r.of.GetID() }
func (r officialRun) runID() string      { return r.of.GetRunID() }

func (r officialRun) result(ctx context.Context) (t tally, err error) {
	return t, r.of.Get(ctx, &t)
}

func (r officialRun) add(ctx context.Context, n note) error {
	return r.client.SignalWorkflow(ctx, r.of.GetID(), "", addName, n)
}

func (r officialRun) finish(ctx context.Context) error {
	return r.client.SignalWorkflow(ctx, r.of.GetID(), "", finishName, nil)
}

func (r officialRun) raise(ctx context.Context, n note) (count int64, err error) {
	h, err := r.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: r.of.GetID(), UpdateName: raiseName, Args: []any{n}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return 0, err
	}
	return count, h.Get(ctx, &count)
}

func (r officialRun) total(ctx context.Context, n note) (sum int64, err error) {
	v, err := r.client.QueryWorkflow(ctx, r.of.GetID(), "", totalName, n)
	if err != nil {
		return 0, err
	}
	return sum, v.Get(&sum)
}
