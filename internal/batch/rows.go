package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Shard fences the writes of runners. It holds nothing else.
const Shard ids.ShardID = 1<<20 + 1

const (
	// writeAttempts bounds how often a write that lost its fence is decided anew.
	writeAttempts = 4
	// reopenWait bounds taking a new epoch for a caller who may be gone already.
	reopenWait = 5 * time.Second
)

// rows writes what is stored of jobs. Safe for concurrent use.
type rows struct {
	store storage.Store
	log   *slog.Logger

	// writing has room for the one goroutine that may write and owns epoch. A channel, since it is held across storage
	// and a caller must be able to give up waiting.
	writing chan struct{}
	epoch   ids.Epoch // zero: to be taken before the next write
}

// write makes durable what decide wants. decide may be called again if the fence was lost.
func (w *rows) write(ctx context.Context, decide func() ([]storage.Op, error)) error {
	select {
	case w.writing <- struct{}{}:
		defer func() { <-w.writing }()
	case <-ctx.Done():
		return fmt.Errorf("wait to write batch jobs: %w", ctx.Err())
	}
	for range writeAttempts {
		if w.epoch == 0 {
			if err := w.reopen(ctx); err != nil {
				return err
			}
		}
		ops, err := decide()
		if err != nil || len(ops) == 0 {
			return err
		}
		err = w.store.Apply(ctx, &storage.Batch{Fence: storage.Fence{Shard: Shard, Epoch: w.epoch}, Ops: ops})
		if err == nil {
			return nil
		}
		unknown := errors.Is(err, storage.ErrUnknown)
		if !unknown && !errors.Is(err, storage.ErrFenced) {
			return fmt.Errorf("write batch jobs: %w", err)
		}
		// The epoch that follows settles whether the batch is in.
		w.log.Warn("batch jobs lost their fence", "shard", Shard, "epoch", w.epoch, "error", err)
		w.epoch = 0
		if err := w.reopen(ctx); err != nil {
			return err
		}
		if unknown {
			if applied, err := w.applied(ops); err != nil || applied {
				return err
			}
		}
	}
	return refuse(execution.Unavailable, "batch jobs are being written by another process, try again")
}

// reopen takes a new epoch. Only the writer may call it.
func (w *rows) reopen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reopenWait)
	defer cancel()
	epoch, err := w.store.Acquire(ctx, Shard)
	if err != nil {
		return fmt.Errorf("acquire the batch jobs' shard: %w", err)
	}
	w.epoch = epoch
	return nil
}

// applied tells whether the store holds what ops wanted.
func (w *rows) applied(ops []storage.Op) (bool, error) {
	for _, op := range ops {
		value, err := w.store.Get(op.Key)
		missing := errors.Is(err, storage.ErrNotFound)
		if err != nil && !missing {
			return false, fmt.Errorf("read back batch jobs: %w", err)
		}
		if missing != op.Delete || !missing && !bytes.Equal(value, op.Value) {
			return false, nil
		}
	}
	return true, nil
}

// readJob is a job's row. The error is storage.ErrNotFound if there is none.
func readJob(r storage.Reader, ns ids.NamespaceID, id ids.BatchID) (*record.BatchJob, error) {
	value, err := r.Get(record.BatchJobKey(ns, id))
	if err != nil {
		return nil, fmt.Errorf("read batch job %q: %w", id, err)
	}
	row, err := record.DecodeBatchJob(value)
	if err != nil {
		return nil, corrupt(ns, id, err)
	}
	return row, nil
}

func readRequest(r storage.Reader, ns ids.NamespaceID, id ids.BatchID) (*workflowservice.StartBatchOperationRequest, error) {
	value, err := r.Get(record.BatchRequestKey(ns, id))
	if err != nil {
		return nil, fmt.Errorf("read the request of batch job %q: %w", id, err)
	}
	req := new(workflowservice.StartBatchOperationRequest)
	if err := proto.Unmarshal(value, req); err != nil {
		return nil, corrupt(ns, id, err)
	}
	return req, nil
}

func corrupt(ns ids.NamespaceID, id ids.BatchID, err error) error {
	return &storage.CorruptionError{Where: fmt.Sprintf("batch job %q of namespace %s", id, ns), Err: err}
}

// namespacesWithJobs lists the namespaces that have rows, known or not.
func namespacesWithJobs(r storage.Reader) (all []ids.NamespaceID, err error) {
	start, end := record.AllBatches(), storage.PrefixEnd(record.AllBatches())
	for start != nil {
		var found ids.NamespaceID
		var bad error
		err := r.Scan(start, end, func(key, _ []byte) bool {
			found, bad = record.BatchNamespace(key)
			return false
		})
		if err = errors.Join(err, bad); err != nil {
			return nil, fmt.Errorf("list the namespaces of batch jobs: %w", err)
		}
		if found == "" {
			return all, nil
		}
		all = append(all, found)
		start = storage.PrefixEnd(record.BatchPrefix(found))
	}
	return all, nil
}

// eachJob calls fn for the jobs of a namespace until it returns false.
func eachJob(r storage.Reader, ns ids.NamespaceID, fn func(ids.BatchID, *record.BatchJob) bool) error {
	prefix := record.BatchJobs(ns)
	var bad error
	err := r.Scan(prefix, storage.PrefixEnd(prefix), func(key, value []byte) bool {
		id, err := record.ParseBatchJobKey(key)
		if err != nil {
			bad = err
			return false
		}
		row, err := record.DecodeBatchJob(value)
		if err != nil {
			bad = corrupt(ns, id, err)
			return false
		}
		return fn(id, row)
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("list the batch jobs of namespace %s: %w", ns, err)
	}
	return nil
}

// dropTargets deletes the rows of a job's targets that are left.
func dropTargets(r storage.Reader, ns ids.NamespaceID, id ids.BatchID) (ops []storage.Op, err error) {
	prefix := record.BatchTargetsPrefix(ns, id)
	err = r.Scan(prefix, storage.PrefixEnd(prefix), func(key, _ []byte) bool {
		ops = append(ops, storage.Op{Key: bytes.Clone(key), Delete: true})
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read the targets of batch job %q: %w", id, err)
	}
	return ops, nil
}
