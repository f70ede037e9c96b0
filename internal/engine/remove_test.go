package engine

import (
	"fmt"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// A run may have any number of rows, and the server may crash after any write of its removal: nothing of it is left in the end,
// and in between nothing is found that cannot be read.
func TestRemovalOfAnyNumberOfRows(t *testing.T) {
	for _, version := range []int{4, 7} {
		for rows := removeRows - 2; rows <= removeRows+4; rows++ {
			for writes := range 7 {
				r := newRig(t, func(o *Options) {
					o.NewRunID = func() ids.RunID { return ids.RunID(fmt.Sprintf("bbbbbbbb-0000-%d000-8000-000000000001", version)) }
				})
				k := wf("a")
				run := k.Run(r.begin(k))
				r.do(k, signal("close"))
				addRequests(r, run, rows-2) // beside header and start
				r.submit(k, "", signal("remove"))
				r.think()
				for range writes {
					r.write()
					r.think()
					readable(r, k)
				}
				r.crash(nil)
				for range 3 {
					r.clock.advance(2 * timerRetry)
					r.settle()
				}
				left := 0
				r.mem.Scan(nil, nil, func(key, _ []byte) bool { left++; return true })
				if left != 0 && writes > 0 {
					t.Errorf("version %d, %d rows, crash after %d writes: %d rows left", version, rows, writes, left)
				}
			}
		}
	}
}

// addRequests puts rows of requests below a run.
func addRequests(r *rig, run ids.RunKey, n int) {
	r.Helper()
	epoch, err := r.mem.Acquire(r.Context(), 999)
	if err != nil {
		r.Fatal(err)
	}
	b := &storage.Batch{Fence: storage.Fence{Shard: 999, Epoch: epoch}}
	for i := range n {
		row := execution.Row{Kind: execution.RowRequest, Text: fmt.Sprintf("request-%d", i)}
		st := execution.Assemble(&execution.State{Key: run, Start: &execution.Start{}}, &execution.Rows{
			Requests: []*execution.Request{{ID: row.Text, Type: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, EventID: 1}},
		})
		value, _ := record.EncodeRow(st, row)
		b.Set(record.RowKey(run, row), value)
	}
	if err := r.mem.Apply(r.Context(), b); err != nil {
		r.Fatal(err)
	}
}

// readable wants each run of the workflow that is found to have what it takes to read it.
func readable(r *rig, k ids.WorkflowKey) {
	r.Helper()
	err := record.ScanRuns(r.mem, k, storage.PrefixEnd, func(run ids.RunKey) bool {
		if st, err := record.Load(r.mem, run, storage.PrefixEnd); err != nil || st == nil {
			r.Errorf("%s is found, and is %v: %v", run, st, err)
		}
		return true
	})
	if err != nil {
		r.Fatal(err)
	}
}
