package batch

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

const (
	// forgetEvery is how often closed jobs are looked for that need not be kept any longer.
	forgetEvery = 10 * time.Minute
	// forgetMax bounds how many of a namespace are removed at a time.
	forgetMax = 1000
)

// forget removes the jobs that were closed longer ago than their namespace's retention, and those of namespaces that are
// no more.
func (r *Runner) forget(ctx context.Context) error {
	all, err := namespacesWithJobs(r.o.Store)
	if err != nil {
		return err
	}
	for _, ns := range all {
		old, err := r.old(ns)
		if err != nil {
			return err
		}
		for id, start := range old {
			if err := r.remove(ctx, jobKey{ns, id}, start); err != nil {
				return fmt.Errorf("remove batch job %q: %w", id, err)
			}
		}
	}
	return nil
}

// old finds jobs to remove, with the times at which they began.
func (r *Runner) old(ns ids.NamespaceID) (map[ids.BatchID]clock.Nanos, error) {
	n, err := r.o.Namespaces.LookupID(ns)
	gone := err != nil || n.State == enumspb.NAMESPACE_STATE_DELETED
	old := make(map[ids.BatchID]clock.Nanos)
	err = eachJob(r.o.Store, ns, func(id ids.BatchID, row *record.BatchJob) bool {
		switch {
		case row.Close == 0 && r.unfinished(jobKey{ns, id}) != nil: // ends by itself if its namespace is gone
		case gone, row.Close != 0 && row.Close.Add(n.Retention) <= r.o.Clock.Now():
			old[id] = row.Start
		}
		return len(old) < forgetMax
	})
	return old, err
}

func (r *Runner) remove(ctx context.Context, k jobKey, start clock.Nanos) error {
	ops, err := dropTargets(r.o.Store, k.ns, k.id)
	if err != nil {
		return err
	}
	for _, key := range [][]byte{record.BatchJobKey(k.ns, k.id), record.BatchRequestKey(k.ns, k.id), record.BatchOrderKey(k.ns, start, k.id)} {
		ops = append(ops, storage.Op{Key: key, Delete: true})
	}
	return r.rows.write(ctx, func() ([]storage.Op, error) { return ops, nil })
}
