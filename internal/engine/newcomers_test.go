package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/storage/faulty"
)

func TestAFilterForgetsNobodyAndMistakesFew(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	b := newBloom(10_000)
	var members []uint64
	for len(members) < 10_000 {
		h := dice.Uint64()
		members = append(members, h)
		b.add(h)
		b.add(h)
	}
	if b.full() || b.count < 9_500 {
		t.Errorf("%d counted", b.count)
	}
	for _, h := range members {
		if !b.has(h) {
			t.Fatalf("%x was forgotten", h)
		}
	}
	mistaken := 0
	for range 100_000 {
		if b.has(dice.Uint64()) {
			mistaken++
		}
	}
	if mistaken > 1_500 {
		t.Errorf("%d of 100,000 strangers were taken for members", mistaken)
	}
}

// New workflow IDs cost no read, others are found: however many there are, after a restart, and after reads that failed.
func TestNewWorkflowIDsAreNotLookedFor(t *testing.T) {
	small := func(o *Options) { o.NewcomerIDs, o.CacheBytes = 4, 1 }
	r := newRig(t, small)
	gets, broken := 0, false
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Get {
			gets++
		}
		if broken && c.Op == faulty.Scan {
			return faulty.NotApplied
		}
		return faulty.None
	}
	begin := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			r.begin(wf("w%d", i))
		}
	}
	refused := func(to int) {
		t.Helper()
		for i := range to {
			o := r.submit(wf("w%d", i), "", execution.StartWorkflow{})
			if r.settle(); !o.done || !isKind(o.err, execution.AlreadyExists) {
				t.Fatalf("w%d: %+v", i, o)
			}
		}
	}
	begin(0, 1000)
	if gets > 100 { // some are taken for known ones, most of all while there is little room
		t.Errorf("%d reads for 1,000 new IDs", gets)
	}
	refused(1000)

	broken = true
	r.crash(func(o *Options) { small(o); o.NewRunID = counted() })
	broken = false
	for _, s := range r.eng.Shards() {
		if s.newcomers.filter != nil {
			t.Error("a filter without a scan")
		}
	}
	r.clock.advance(2 * newcomerRetry)
	r.settle()
	gets = 0
	begin(1000, 1500)
	if gets > 50 {
		t.Errorf("%d reads for 500 new IDs", gets)
	}
	if refused(1500); gets < 1500 {
		t.Errorf("%d reads for 1,500 known IDs: this test counts nothing", gets)
	}
	for _, s := range r.eng.Shards() {
		if f := s.newcomers.filter; f.count < 100 || f.full() {
			t.Errorf("shard %d: %d in room for %d", s.id, f.count, f.room)
		}
	}
}
