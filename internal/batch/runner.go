package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Target is one execution that a job is for.
type Target = record.BatchTarget

// Executor finds executions and does to them what a job's request says. Safe for concurrent use.
type Executor interface {
	// Targets calls found for each execution that req is for, in the order in which they are to be worked on, until found
	// returns an error, which it passes on. Other errors count as those of Apply; the last one ends the job as failed.
	Targets(ctx context.Context, ns ids.NamespaceID, req *workflowservice.StartBatchOperationRequest, found func(Target) error) error
	// Apply applies the request's operation to a target, once for any number of calls with the same request ID. An
	// *execution.Error of kind NotFound says that there is nothing to do it to (any more); some other kinds are final, too,
	// and all else may be tried again. The context bounds the waiting, not the write.
	Apply(ctx context.Context, ns ids.NamespaceID, req *workflowservice.StartBatchOperationRequest, t Target, requestID string) error
}

// Options configure a runner.
type Options struct {
	Store      storage.Store       // required
	Namespaces *namespace.Registry // required: says how long closed jobs are kept
	Clock      clock.Clock         // nil: clock.System
	Log        *slog.Logger        // nil: nothing is logged
	// Jobs bounds how many unfinished jobs a namespace may have. Zero: 20.
	Jobs int
	// Rate is how many targets a job begins per second unless its request says otherwise, up to RateMax.
	// Zero: 50 and 1000.
	Rate, RateMax float64
	// Concurrency is how many targets of a job may be under way. Zero: 16.
	Concurrency int
	// TargetsPerRow is how many targets are stored together. Zero: 1000.
	TargetsPerRow int
	// CheckpointTargets and CheckpointEvery say when progress is stored: after so many targets or so long, whatever comes
	// first. Zero: 200, and 1 second.
	CheckpointTargets int
	CheckpointEvery   time.Duration
}

func (o *Options) setDefaults() {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.Jobs, 20)
	setDefault(&o.Rate, 50)
	setDefault(&o.RateMax, 1000)
	setDefault(&o.Concurrency, 16)
	setDefault(&o.TargetsPerRow, 1000)
	setDefault(&o.CheckpointTargets, 200)
	setDefault(&o.CheckpointEvery, time.Second)
}

func setDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Runner holds the unfinished jobs of a node and runs them. Safe for concurrent use.
type Runner struct {
	o    Options
	rows *rows
	wake chan struct{} // holds a token when fresh has something

	mu    sync.Mutex
	jobs  map[jobKey]*job // the unfinished ones; nil: one is being stored for the first time
	fresh []*job          // not begun
}

type jobKey struct {
	ns ids.NamespaceID
	id ids.BatchID
}

// Open takes the runner's shard and finds the unfinished jobs. Nothing happens to them before Run. The runner needs no
// closing.
func Open(ctx context.Context, o Options) (*Runner, error) {
	o.setDefaults()
	r := &Runner{
		o: o, rows: &rows{store: o.Store, log: o.Log, writing: make(chan struct{}, 1)},
		wake: make(chan struct{}, 1), jobs: make(map[jobKey]*job),
	}
	if err := r.rows.reopen(ctx); err != nil {
		return nil, fmt.Errorf("open batch jobs: %w", err)
	}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("open batch jobs: %w", err)
	}
	return r, nil
}

// load finds the unfinished jobs.
func (r *Runner) load() error {
	all, err := namespacesWithJobs(r.o.Store)
	if err != nil {
		return err
	}
	for _, ns := range all {
		var bad error
		err := eachJob(r.o.Store, ns, func(id ids.BatchID, row *record.BatchJob) bool {
			if row.Close != 0 {
				return true
			}
			var req *workflowservice.StartBatchOperationRequest
			if req, bad = readRequest(r.o.Store, ns, id); bad != nil {
				return false
			}
			j := newJob(r, jobKey{ns, id}, req, *row)
			r.jobs[j.key] = j
			r.fresh = append(r.fresh, j)
			return true
		})
		if err = errors.Join(err, bad); err != nil {
			return err
		}
	}
	return nil
}

// Run runs jobs until ctx is done, and returns nil when all its goroutines have ended. What is unfinished then goes on
// after the next Open. Call it once.
func (r *Runner) Run(ctx context.Context, e Executor) error {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for next := clock.Nanos(0); ctx.Err() == nil; {
		for _, j := range r.takeFresh() {
			jobs.Go(func() { j.run(ctx, e) })
		}
		if now := r.o.Clock.Now(); now >= next {
			if err := r.forget(ctx); err != nil && ctx.Err() == nil {
				r.o.Log.Warn("closed batch jobs could not be removed", "error", err)
			}
			next = now.Add(forgetEvery)
		}
		later, stop := r.o.Clock.At(next)
		select {
		case <-r.wake:
		case <-later:
		case <-ctx.Done():
		}
		stop()
	}
	return nil
}

func (r *Runner) takeFresh() []*job {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.fresh
	r.fresh = nil
	return fresh
}

// Start makes a job and returns once it is durable. The request has to be valid; it is kept and must not change.
// Errors: *execution.Error of kind AlreadyExists if the namespace has a job of that ID, closed ones that are not forgotten
// included; of kind ResourceExhausted if it has too many unfinished ones.
func (r *Runner) Start(ctx context.Context, ns ids.NamespaceID, typ enumspb.BatchOperationType, req *workflowservice.StartBatchOperationRequest) error {
	j := newJob(r, jobKey{ns, ids.BatchID(req.JobId)}, req, record.BatchJob{
		State: int32(enumspb.BATCH_OPERATION_STATE_RUNNING), Type: int32(typ), Start: r.o.Clock.Now(),
	})
	if err := r.reserve(j.key); err != nil {
		return err
	}
	err := r.rows.write(ctx, func() ([]storage.Op, error) {
		_, err := r.o.Store.Get(record.BatchJobKey(j.key.ns, j.key.id))
		if err == nil {
			return nil, alreadyExists(j.key.id)
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return nil, fmt.Errorf("read batch job %q: %w", j.key.id, err)
		}
		return j.made()
	})
	if err != nil {
		r.release(j.key)
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.key] = j
	r.fresh = append(r.fresh, j)
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

// reserve makes room for a job that is about to be stored.
func (r *Runner) reserve(k jobKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.jobs[k]; ok {
		return alreadyExists(k.id)
	}
	n := 0
	for other := range r.jobs {
		if other.ns == k.ns {
			n++
		}
	}
	if n >= r.o.Jobs {
		return &execution.Error{
			Kind: execution.ResourceExhausted, Cause: enumspb.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
			Message: "Max concurrent batch operations is reached",
		}
	}
	r.jobs[k] = nil
	return nil
}

// release forgets a job that is finished, or could not be stored.
func (r *Runner) release(k jobKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, k)
}

// unfinished is a job that is stored and not finished; nil: there is none.
func (r *Runner) unfinished(k jobKey) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs[k]
}

// Stop ends a job as failed and returns once that is durable: no target is begun after that. Errors: *execution.Error of
// kind NotFound if there is no such job, or none that is unfinished; of kind Unavailable if the node stops first.
func (r *Runner) Stop(ctx context.Context, ns ids.NamespaceID, id ids.BatchID, reason, identity string) error {
	j := r.unfinished(jobKey{ns, id})
	if j == nil {
		row, err := readJob(r.o.Store, ns, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return notFound(id)
		case err != nil:
			return err
		case row.Close != 0:
			return alreadyCompleted(id)
		}
		return refuse(execution.Unavailable, "batch operation %q is not at hand, try again", id)
	}
	j.askToStop(reason, identity)
	select {
	case <-j.ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for batch job %q to stop: %w", id, ctx.Err())
	}
	switch row := j.now(); {
	case row.Close == 0:
		return refuse(execution.Unavailable, "the server is shutting down")
	case row.State != int32(enumspb.BATCH_OPERATION_STATE_FAILED):
		return alreadyCompleted(id)
	}
	return nil
}

// Job describes a job at one moment.
type Job struct {
	record.BatchJob
	ID ids.BatchID
	// Request made the job, and is not to be changed; List leaves it out.
	Request *workflowservice.StartBatchOperationRequest
}

// Describe tells how a job stands, to the last target. The error is an *execution.Error of kind NotFound if there is none.
func (r *Runner) Describe(ns ids.NamespaceID, id ids.BatchID) (*Job, error) {
	if j := r.unfinished(jobKey{ns, id}); j != nil {
		return &Job{BatchJob: j.now(), ID: id, Request: j.request}, nil
	}
	s, err := r.o.Store.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("describe batch job %q: %w", id, err)
	}
	defer s.Close()
	row, err := readJob(s, ns, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, err
	}
	req, err := readRequest(s, ns, id)
	if err != nil {
		return nil, err
	}
	return &Job{BatchJob: *row, ID: id, Request: req}, nil
}

// Place is a place in a listing: after the job of that ID, which began at Start.
type Place struct {
	Start clock.Nanos
	ID    ids.BatchID
}

// List tells of up to limit jobs of a namespace after a place (nil: from the newest), newest start first; more says
// whether others follow.
func (r *Runner) List(ns ids.NamespaceID, after *Place, limit int) (page []*Job, more bool, err error) {
	s, err := r.o.Store.Snapshot()
	if err != nil {
		return nil, false, fmt.Errorf("list batch jobs: %w", err)
	}
	defer s.Close()
	start := record.BatchOrder(ns)
	end := storage.PrefixEnd(start)
	if after != nil {
		start = append(record.BatchOrderKey(ns, after.Start, after.ID), 0)
	}
	var bad error
	err = s.Scan(start, end, func(key, _ []byte) bool {
		if more = len(page) == limit; more {
			return false
		}
		_, id, err := record.ParseBatchOrderKey(key)
		if err != nil {
			bad = err
			return false
		}
		row, err := readJob(s, ns, id)
		if err != nil {
			bad = err
			return false
		}
		page = append(page, &Job{BatchJob: *row, ID: id})
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, false, fmt.Errorf("list batch jobs: %w", err)
	}
	return page, more, nil
}

// persist makes ops durable, however often that takes. It returns an error only when ctx is done: then it has tried once
// more.
func (r *Runner) persist(ctx context.Context, ops []storage.Op) error {
	for {
		err := r.tryPersist(ctx, ops)
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.o.Log.Warn("the progress of a batch job could not be stored; trying again", "error", err)
		if !r.sleep(ctx, persistRetry) {
			return err
		}
	}
}

const (
	persistWait  = 5 * time.Second
	persistRetry = time.Second
)

func (r *Runner) tryPersist(ctx context.Context, ops []storage.Op) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), persistWait)
	defer cancel()
	return r.rows.write(ctx, func() ([]storage.Op, error) { return ops, nil })
}

// sleep waits for d; it is false when ctx is done first.
func (r *Runner) sleep(ctx context.Context, d time.Duration) bool {
	return r.until(ctx, r.o.Clock.Now().Add(d))
}

// until waits until t; it is false when ctx is done first.
func (r *Runner) until(ctx context.Context, t clock.Nanos) bool {
	if ctx.Err() != nil {
		return false
	}
	if t <= r.o.Clock.Now() {
		return true
	}
	ring, stop := r.o.Clock.At(t)
	defer stop()
	select {
	case <-ring:
		return true
	case <-ctx.Done():
		return false
	}
}

func encode(req *workflowservice.StartBatchOperationRequest) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode the request of batch job %q: %w", req.JobId, err)
	}
	return b, nil
}

func refuse(kind execution.ErrorKind, format string, args ...any) error {
	return &execution.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func alreadyExists(id ids.BatchID) error {
	return refuse(execution.AlreadyExists, "batch operation %q already exists", id)
}

func alreadyCompleted(id ids.BatchID) error {
	return refuse(execution.NotFound, "batch operation %q already completed", id)
}

func notFound(id ids.BatchID) error {
	return refuse(execution.NotFound, "batch operation %q is not found", id)
}
