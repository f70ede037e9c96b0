package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

const (
	// attempts bounds how often a target is tried. The waits between them double up to retryMax.
	attempts   = 10
	retryFirst = 100 * time.Millisecond
	retryMax   = 5 * time.Second
	// attemptWait bounds one of them.
	attemptWait = 10 * time.Second
	// slowest bounds the time between two targets, however low a rate was asked for.
	slowest = time.Hour
	// rowsPerBatch is how many rows of targets are written together.
	rowsPerBatch = 16
)

// errStopped ends the work of a job that is not to go on.
var errStopped = errors.New("batch: stopped")

// job is an unfinished job. Its goroutine alone writes its rows, once it is made.
type job struct {
	r        *Runner
	key      jobKey
	request  *workflowservice.StartBatchOperationRequest
	interval time.Duration // between the beginnings of two targets
	next     clock.Nanos   // when the next target may begin; the job's goroutine's own

	stopping context.Context // done when the job is to stop
	stop     context.CancelFunc
	ended    chan struct{} // closed when its goroutine has ended

	mu  sync.Mutex
	row record.BatchJob // the newest: counts are ahead of what is stored, the state is not
}

func newJob(r *Runner, key jobKey, req *workflowservice.StartBatchOperationRequest, row record.BatchJob) *job {
	j := &job{r: r, key: key, request: req, row: row, interval: interval(&r.o, req.MaxOperationsPerSecond), ended: make(chan struct{})}
	j.stopping, j.stop = context.WithCancel(context.Background())
	return j
}

// interval is the time between two targets at the rate a request asks for; none, or nonsense, means the default.
func interval(o *Options, asked float32) time.Duration {
	rate := o.Rate
	if asked > 0 {
		rate = min(float64(asked), o.RateMax)
	}
	return time.Duration(min(float64(time.Second)/rate, float64(slowest)))
}

// made is what is stored of a job when it is made.
func (j *job) made() ([]storage.Op, error) {
	req, err := encode(j.request)
	if err != nil {
		return nil, err
	}
	row := j.now()
	return []storage.Op{
		j.put(&row),
		{Key: record.BatchRequestKey(j.key.ns, j.key.id), Value: req},
		{Key: record.BatchOrderKey(j.key.ns, row.Start, j.key.id)},
	}, nil
}

// now is the job at this moment.
func (j *job) now() record.BatchJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.row
}

func (j *job) change(fn func(*record.BatchJob)) record.BatchJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	fn(&j.row)
	return j.row
}

// askToStop lets the job end as failed. The first one to ask is remembered.
func (j *job) askToStop(reason, identity string) {
	j.change(func(b *record.BatchJob) {
		if j.stopping.Err() == nil {
			b.StopReason, b.StoppedBy = reason, identity
			j.stop()
		}
	})
}

// run is the life of a job from where it is: until it is finished, stopped, or ctx is done.
func (j *job) run(ctx context.Context, e Executor) {
	defer close(j.ended)
	log := j.r.o.Log.With("namespace", j.key.ns, "job_id", j.key.id)
	log.Info("batch job begins", "type", enumspb.BatchOperationType(j.now().Type).String(), "listed", j.now().Listed)
	err := j.work(ctx, e)
	if err != nil && ctx.Err() != nil {
		if err := j.checkpoint(ctx); err != nil {
			log.Warn("the progress of a batch job could not be stored; some targets will be visited again", "error", err)
		}
		return
	}
	if err := j.close(ctx, err); err != nil {
		log.Warn("the end of a batch job could not be stored; it will end again", "error", err)
		return
	}
	j.r.release(j.key)
	row := j.now()
	if err != nil {
		log = log.With("error", err)
	}
	log.Info("batch job ends", "state", enumspb.BatchOperationState(row.State).String(), "complete", row.Complete, "failed", row.Failed)
}

// work does all there is to do. It returns early with errStopped, with ctx's error, or with why the job failed.
func (j *job) work(ctx context.Context, e Executor) error {
	going, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(j.stopping, func() { cancel(errStopped) })()
	if err := j.listOnce(going, e); err != nil {
		return err
	}
	for {
		row := j.now()
		if row.Complete+row.Failed >= row.Total {
			return nil
		}
		targets, err := j.load(row.Complete + row.Failed)
		if err != nil {
			return err
		}
		if err := j.applyAll(ctx, going, e, targets); err != nil {
			return err
		}
	}
}

// listOnce lists the targets if that was not done, and tries again while that may help.
func (j *job) listOnce(going context.Context, e Executor) error {
	wait := retryFirst
	for n := 1; !j.now().Listed; n++ {
		err := j.list(going, e)
		if err == nil {
			break
		}
		if going.Err() == nil && verdict(err) == again && n < attempts && j.r.sleep(going, wait) {
			wait = min(2*wait, retryMax)
			continue
		}
		if going.Err() != nil {
			return context.Cause(going)
		}
		return fmt.Errorf("list the targets: %w", err)
	}
	return nil
}

// list finds the targets and stores them. Nothing was done to any of them before that, so a list that a crash cut short is
// made anew.
func (j *job) list(going context.Context, e Executor) error {
	leftovers, err := dropTargets(j.r.o.Store, j.key.ns, j.key.id)
	if err != nil {
		return err
	}
	if err := j.persist(going, leftovers); err != nil {
		return err
	}
	var total int64
	var row []Target
	var ops []storage.Op
	end := func() {
		if len(row) > 0 {
			key := record.BatchTargetsKey(j.key.ns, j.key.id, total-int64(len(row)))
			ops = append(ops, storage.Op{Key: key, Value: record.EncodeBatchTargets(row)})
			row = row[:0]
		}
	}
	err = e.Targets(going, j.key.ns, j.request, func(t Target) error {
		row = append(row, t)
		total++
		if len(row) < j.r.o.TargetsPerRow {
			return nil
		}
		if end(); len(ops) < rowsPerBatch {
			return nil
		}
		err := j.persist(going, ops)
		ops = nil
		return err
	})
	if err != nil {
		return err
	}
	end()
	listed := j.now()
	listed.Listed, listed.Total = true, total
	if err := j.persist(going, append(ops, j.put(&listed))); err != nil {
		return err
	}
	j.change(func(b *record.BatchJob) { b.Listed, b.Total = true, total })
	return nil
}

// persist is Runner.persist while the job is going.
func (j *job) persist(going context.Context, ops []storage.Op) error {
	if len(ops) == 0 {
		return nil
	}
	err := j.r.persist(going, ops)
	if err != nil && going.Err() != nil {
		return context.Cause(going)
	}
	return err
}

// load reads the row of targets that has number next, without those before it.
func (j *job) load(next int64) ([]Target, error) {
	prefix := record.BatchTargetsPrefix(j.key.ns, j.key.id)
	var first int64
	var targets []Target
	var bad error
	behind := append(record.BatchTargetsKey(j.key.ns, j.key.id, next), 0)
	err := j.r.o.Store.ScanReverse(prefix, behind, func(key, value []byte) bool {
		if first, bad = record.ParseBatchTargetsKey(key); bad == nil {
			targets, bad = record.DecodeBatchTargets(value)
		}
		return false
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("read the targets: %w", err)
	}
	if skip := next - first; skip < int64(len(targets)) {
		return targets[skip:], nil
	}
	return nil, corrupt(j.key.ns, j.key.id, fmt.Errorf("target %d is not stored", next))
}

// attempt is one target under way.
type attempt struct {
	done chan struct{}
	err  error // nil: done, or nothing to do; errCut: not known
}

// errCut says that the outcome of a target is not known, since the job or the node stops.
var errCut = errors.New("batch: cut off")

// applyAll applies the operation to some targets and stores that they are done. going ends with the job; ctx, which ends
// with the node, bounds what is under way: a target that was begun is finished and counted when its job is stopped.
func (j *job) applyAll(ctx, going context.Context, e Executor, targets []Target) error {
	window := make(chan *attempt, j.r.o.Concurrency-1) // one more is in the collector's hand
	collected := make(chan error, 1)
	go func() { collected <- j.collect(going, window) }()
	for _, t := range targets {
		if !j.pace(going) {
			break
		}
		a := &attempt{done: make(chan struct{})}
		select {
		case window <- a:
		case <-going.Done():
		}
		if going.Err() != nil {
			a.err = errCut
			close(a.done)
			break
		}
		go func() {
			defer close(a.done)
			a.err = j.apply(ctx, going, e, t)
		}()
	}
	close(window)
	if err := <-collected; err != nil {
		return err
	}
	if going.Err() != nil {
		return context.Cause(going)
	}
	return j.pass(going)
}

// pace waits until the next target may begin; it is false if the job is not to go on.
func (j *job) pace(going context.Context) bool {
	if !j.r.until(going, j.next) {
		return false
	}
	j.next = max(j.next, j.r.o.Clock.Now()).Add(j.interval)
	return true
}

// collect counts targets in their order, so that the counts tell how far the job is. It stores them now and then.
func (j *job) collect(going context.Context, window <-chan *attempt) (err error) {
	stored, since := j.r.o.Clock.Now(), 0
	cut := false
	for a := range window {
		<-a.done
		if cut = cut || errors.Is(a.err, errCut); cut || err != nil {
			continue
		}
		j.change(func(b *record.BatchJob) {
			if a.err == nil {
				b.Complete++
			} else {
				b.Failed++
			}
		})
		if since++; since < j.r.o.CheckpointTargets && j.r.o.Clock.Now().Sub(stored) < j.r.o.CheckpointEvery {
			continue
		}
		err = j.checkpoint(going)
		stored, since = j.r.o.Clock.Now(), 0
	}
	return err
}

// checkpoint stores how far the job is.
func (j *job) checkpoint(ctx context.Context) error {
	row := j.now()
	return j.persist(ctx, []storage.Op{j.put(&row)})
}

// put stores row.
func (j *job) put(row *record.BatchJob) storage.Op {
	return storage.Op{Key: record.BatchJobKey(j.key.ns, j.key.id), Value: row.Encode()}
}

// pass stores how far the job is, which is the end of a row of targets, and deletes the rows before that.
func (j *job) pass(going context.Context) error {
	row := j.now()
	ops := []storage.Op{j.put(&row)}
	end := record.BatchTargetsKey(j.key.ns, j.key.id, row.Complete+row.Failed)
	err := j.r.o.Store.Scan(record.BatchTargetsPrefix(j.key.ns, j.key.id), end, func(key, _ []byte) bool {
		ops = append(ops, storage.Op{Key: bytes.Clone(key), Delete: true})
		return true
	})
	if err != nil {
		return fmt.Errorf("read the targets: %w", err)
	}
	return j.persist(going, ops)
}

// apply applies the operation to one target, and again while that may help. The error is nil if there is no more to do,
// errCut if that is not known, and otherwise why the target is given up.
func (j *job) apply(ctx, going context.Context, e Executor, t Target) error {
	id, wait := j.requestID(t), retryFirst
	for n := 1; ; n++ {
		err := j.try(ctx, e, t, id)
		switch verdict(err) {
		case done:
			return nil
		case again:
			if ctx.Err() != nil {
				return errCut
			}
			if n < attempts {
				if !j.r.sleep(going, wait) {
					return errCut
				}
				wait = min(2*wait, retryMax)
				continue
			}
		}
		j.r.o.Log.Debug("a batch job gives up a target", "namespace", j.key.ns, "job_id", j.key.id, "workflow_id", t.Workflow, "run_id", t.Run, "error", err)
		return err
	}
}

func (j *job) try(ctx context.Context, e Executor, t Target, requestID string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptWait)
	defer cancel()
	return e.Apply(ctx, j.key.ns, j.request, t, requestID)
}

// requestID names the operation on a target for whoever has to see that it was applied before. The job's start is in it
// because its ID may be used again once the job is forgotten.
func (j *job) requestID(t Target) string {
	var b []byte
	for _, part := range []string{string(j.key.ns), string(j.key.id), strconv.FormatInt(int64(j.now().Start), 10), string(t.Workflow), string(t.Run)} {
		b = append(strconv.AppendInt(b, int64(len(part)), 10), ':')
		b = append(b, part...)
	}
	return uuid.NewSHA1(batchSpace, b).String()
}

// batchSpace is the space of names that request IDs are made in. It never changes.
var batchSpace = uuid.MustParse("5cbd0d5e-7f1e-4bd0-9a2c-6f4f6ad2a0f1")

// What an attempt's error says about the target.
const (
	done = iota
	again
	hopeless
)

func verdict(err error) int {
	if err == nil {
		return done
	}
	var e *execution.Error
	if !errors.As(err, &e) {
		return again
	}
	switch e.Kind {
	case execution.NotFound:
		return done // closed or removed since it was listed: what was wanted of it cannot be wanted any more
	case execution.InvalidArgument, execution.FailedPrecondition, execution.AlreadyExists, execution.PermissionDenied:
		return hopeless
	}
	return again
}

// close ends the job: as completed if nothing is wrong, else as failed.
func (j *job) close(ctx context.Context, wrong error) error {
	ops, err := dropTargets(j.r.o.Store, j.key.ns, j.key.id)
	if err != nil {
		return err
	}
	row := j.now()
	row.State, row.Close = int32(enumspb.BATCH_OPERATION_STATE_COMPLETED), j.r.o.Clock.Now()
	if wrong != nil {
		row.State = int32(enumspb.BATCH_OPERATION_STATE_FAILED)
	}
	if err := j.r.persist(ctx, append(ops, j.put(&row))); err != nil {
		return err
	}
	j.change(func(b *record.BatchJob) { *b = row })
	return nil
}
