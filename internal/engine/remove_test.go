package engine

import (
	"bytes"
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

// What a run took is forgotten with it, but not that a later one took the same anew, whenever that one is succeeded meanwhile.
func TestRemovalLeavesWhatALaterRunTook(t *testing.T) {
	for _, durable := range []bool{true, false} {
		read := 0
		for removalWithSuccession(t, read, durable) {
			read++
		}
		if read < 5 {
			t.Errorf("a removal of %d reads", read)
		}
	}
}

// removalWithSuccession begins a third run between the read of that number and what follows from it, durable by then or not,
// while the first run is removed; false: there is no such read.
func removalWithSuccession(t *testing.T, read int, durable bool) bool {
	t.Helper()
	r := newRig(t, nil)
	k := wf("a")
	first := k.Run(r.begin(k))
	r.do(k, signal("close"))
	second := k.Run(r.begin(k))
	addRequests(r, first, 1)
	addRequests(r, second, 1)
	seen := record.SeenKey(k, execution.Seen{Kind: execution.SeenRequest, ID: "request-0"})
	put(r, storage.Op{Key: seen, Value: record.EncodeCurrent(first.Run)})
	r.crash(nil)
	r.do(k, signal("close"))
	s, reads := r.shardOf(k), 0
	removed := r.submit(k, first.Run, signal("remove"))
	for busy := true; busy; {
		busy = false
		for s.Work(1000) {
			busy = true
		}
		for _, j := range s.Jobs() {
			then := j()
			switch {
			case reads != read:
			case durable:
				r.begin(k)
			default:
				r.submit(k, "", execution.StartWorkflow{})
				s.Work(1000)
			}
			s.Continue(then)
			busy = true
			reads++
		}
		busy = busy || r.write() // as late as can be
	}
	if !removed.done || removed.err != nil {
		t.Fatalf("removal: %+v", removed)
	}
	if reads <= read {
		return false
	}
	if value, err := r.mem.Get(seen); err != nil || !bytes.Equal(value, record.EncodeCurrent(second.Run)) {
		t.Errorf("a succession after read %d, durable %v: the message is %x, %v", read, durable, value, err)
	}
	if n := r.count(record.RunPrefix(first)); n > 0 {
		t.Errorf("a succession after read %d, durable %v: %d rows are left", read, durable, n)
	}
	return true
}

// What successions wrote is kept for as long as a removal may read the row that was there before, and no longer.
func TestWhatSuccessionsWroteIsKeptForTheReadsUnderWay(t *testing.T) {
	early, late := execution.Seen{ID: "early"}, execution.Seen{ID: "late"}
	w := &workflow{removals: 2, written: map[execution.Seen]retaking{early: {seq: 5}, late: {seq: 7}}}
	kept := func(want int) {
		t.Helper()
		if len(w.written) != want {
			t.Errorf("%d rows are kept, want %d", len(w.written), want)
		}
	}
	w.beginRead(4)
	kept(2)
	w.beginRead(7) // the other one sees both, the first neither
	kept(2)
	w.endRead(4)
	w.beginRead(6)
	kept(1)
	w.endRead(7)
	w.endRead(6)
	w.beginRead(7)
	kept(0)
}

// Stores of earlier builds have of current runs what is now written when another takes their place.
func TestRemovalOfACurrentRunOfAnEarlierBuild(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.NewRunID = func() ids.RunID { return "bbbbbbbb-0000-7000-8000-000000000001" }
	})
	k := wf("a")
	run := k.Run(r.begin(k))
	addRequests(r, run, 1)
	seen := record.SeenKey(k, execution.Seen{Kind: execution.SeenRequest, ID: "request-0"})
	put(r, storage.Op{Key: record.RunsKey(run)}, storage.Op{Key: seen, Value: record.EncodeCurrent(run.Run)})
	r.do(k, signal("close"))
	r.do(k, signal("remove"))
	r.settle()
	if n := r.count(nil); n > 0 {
		t.Errorf("%d rows are left", n)
	}
}

// addRequests puts rows of requests below a run.
func addRequests(r *rig, run ids.RunKey, n int) {
	r.Helper()
	var ops []storage.Op
	for i := range n {
		row := execution.Row{Kind: execution.RowRequest, Text: fmt.Sprintf("request-%d", i)}
		st := execution.Assemble(&execution.State{Key: run, Start: &execution.Start{}}, &execution.Rows{
			Requests: []*execution.Request{{ID: row.Text, Type: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, EventID: 1}},
		})
		value, _ := record.EncodeRow(st, row)
		ops = append(ops, storage.Op{Key: record.RowKey(run, row), Value: value})
	}
	put(r, ops...)
}

// put writes beside the engine.
func put(r *rig, ops ...storage.Op) {
	r.Helper()
	epoch, err := r.mem.Acquire(r.Context(), 999)
	if err != nil {
		r.Fatal(err)
	}
	b := &storage.Batch{Fence: storage.Fence{Shard: 999, Epoch: epoch}, Ops: ops}
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
