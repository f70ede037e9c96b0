package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	batchpb "go.temporal.io/api/batch/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/storage/mem"
)

// rig is a runner over a store that can crash, with an executor that a test looks into. It lives in a bubble.
type rig struct {
	*Runner
	t          *testing.T
	store      *mem.Store
	options    Options
	namespaces *namespace.Registry
	ns         ids.NamespaceID
	world      *world
	end        func() // nil while the runner is not running
}

func bubble(t *testing.T, o Options, s mem.Options, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: mem.New(s), options: o, world: &world{effects: map[string]int{}}}
		defer func() {
			if r.end != nil {
				r.end()
			}
		}()
		r.boot()
		test(t, r)
	})
}

// boot opens the store's namespaces and jobs and runs them.
func (r *rig) boot() {
	r.t.Helper()
	var err error
	if r.namespaces, err = namespace.Open(r.t.Context(), namespace.Options{Store: r.store}); err != nil {
		r.t.Fatal(err)
	}
	n, err := r.namespaces.Lookup(namespace.Default)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ns = n.ID
	o := r.options
	o.Store, o.Namespaces = r.store, r.namespaces
	if r.Runner, err = Open(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Runner.Run(ctx, r.world) }()
	r.end = func() {
		r.end = nil
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the runner ended: %v", err)
		}
	}
}

// crash loses the runner and what it did not store, and boots another. Changes are made in between.
func (r *rig) crash(changes ...func()) {
	r.t.Helper()
	store := r.store.Crash()
	r.end()
	r.store = store
	for _, c := range changes {
		c()
	}
	r.boot()
}

// restart ends the runner in order and boots another.
func (r *rig) restart() {
	r.t.Helper()
	r.end()
	r.boot()
}

func signalRequest(job string, change ...func(*workflowservice.StartBatchOperationRequest)) *workflowservice.StartBatchOperationRequest {
	req := &workflowservice.StartBatchOperationRequest{
		Namespace: namespace.Default, JobId: job, Reason: "why not", VisibilityQuery: "all",
		Operation: &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{Signal: "go"}},
	}
	for _, c := range change {
		c(req)
	}
	return req
}

func (r *rig) try(job string, change ...func(*workflowservice.StartBatchOperationRequest)) error {
	return r.Start(r.t.Context(), r.ns, enumspb.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW, signalRequest(job, change...))
}

func (r *rig) start(job string, change ...func(*workflowservice.StartBatchOperationRequest)) {
	r.t.Helper()
	if err := r.try(job, change...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) describe(job string) *Job {
	r.t.Helper()
	j, err := r.Describe(r.ns, ids.BatchID(job))
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// closed waits for a job to end.
func (r *rig) closed(job string) *Job {
	r.t.Helper()
	for range 100_000 {
		if j := r.describe(job); j.Close != 0 {
			return j
		}
		time.Sleep(time.Second)
	}
	r.t.Fatalf("job %s does not end: %+v", job, r.describe(job))
	return nil
}

// ends checks how a job ends.
func (r *rig) ends(job string, state enumspb.BatchOperationState, complete, failed int64) *Job {
	r.t.Helper()
	j := r.closed(job)
	if j.State != int32(state) || j.Complete != complete || j.Failed != failed {
		r.t.Fatalf("job %s ended as %+v, want state %v, %d complete, %d failed", job, j.BatchJob, state, complete, failed)
	}
	if ops, err := dropTargets(r.store, r.ns, ids.BatchID(job)); err != nil || len(ops) != 0 {
		r.t.Fatalf("%d rows of targets are left: %v", len(ops), err)
	}
	return j
}

const (
	completed = enumspb.BATCH_OPERATION_STATE_COMPLETED
	failed    = enumspb.BATCH_OPERATION_STATE_FAILED
	running   = enumspb.BATCH_OPERATION_STATE_RUNNING
)

// world is an Executor that outlives crashes.
type world struct {
	mu      sync.Mutex
	targets []Target
	effects map[string]int             // calls that had no error, by request ID
	visits  []string                   // all calls, by workflow
	errs    map[ids.WorkflowID][]error // the next errors of a target
	most    int                        // calls at a time
	now     int
	took    time.Duration // by a call
	listing func(n int) error
}

// many makes n targets.
func (w *world) many(n int) {
	for i := range n {
		w.targets = append(w.targets, Target{Workflow: ids.WorkflowID(fmt.Sprint("w", i)), Run: ids.RunID(fmt.Sprint("r", i))})
	}
}

func (w *world) Targets(ctx context.Context, _ ids.NamespaceID, _ *workflowservice.StartBatchOperationRequest, found func(Target) error) error {
	for i, t := range w.targets {
		if w.listing != nil {
			if err := w.listing(i); err != nil {
				return err
			}
		}
		if err := found(t); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (w *world) Apply(_ context.Context, _ ids.NamespaceID, _ *workflowservice.StartBatchOperationRequest, t Target, requestID string) error {
	w.mu.Lock()
	w.visits = append(w.visits, string(t.Workflow))
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	time.Sleep(w.took)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now--
	if errs := w.errs[t.Workflow]; len(errs) > 0 {
		w.errs[t.Workflow] = errs[1:]
		return errs[0]
	}
	w.effects[requestID]++
	return nil
}

func (w *world) visited() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.visits)
}

func wantKind(t testing.TB, err error, kind execution.ErrorKind) {
	t.Helper()
	var e *execution.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got error %v, want one of kind %d", err, kind)
	}
}

func repeat(err error, n int) []error { return slices.Repeat([]error{err}, n) }
