package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage/faulty"
)

// sleepers starts n runs and forgets them. Each waits for a timer.
func (r *rig) sleepers(n int, after func(i int) time.Duration) {
	r.Helper()
	for i := range n {
		k := wf("w%d", i)
		r.do(k, startOf(string(k.Workflow)))
		if err := r.complete(r.takeTask(), startTimer(after(i))); err != nil {
			r.Fatal(err)
		}
	}
	r.evictAll()
}

func tenSeconds(int) time.Duration { return 10 * time.Second }

func (r *rig) evictAll() {
	r.Helper()
	for _, s := range r.eng.Shards() {
		for budget := range slices.Values([]int{0, 0, s.budget}) { // write, forget, back to normal
			s.budget = budget
			s.tick()
			r.settle()
		}
		if len(s.entries) != 0 {
			r.Fatalf("shard %d keeps %d runs", s.id, len(s.entries))
		}
	}
}

func (r *rig) cached() (n int) {
	for _, s := range r.eng.Shards() {
		n += len(s.entries)
	}
	return n
}

// counting counts the calls of the store from here on.
func (r *rig) counting() map[faulty.Op]int {
	calls := make(map[faulty.Op]int)
	r.fault = func(c faulty.Call) faulty.Fault {
		calls[c.Op]++
		return faulty.None
	}
	return calls
}

func TestRunsWithTimersDueSoonAreLoadedTogether(t *testing.T) {
	r := newRig(t, realCore)
	const n = 40 // the first half is due within aheadTime, the others after it
	r.sleepers(n, func(i int) time.Duration {
		return 10*time.Second + time.Duration(i)*time.Millisecond + time.Duration(i/(n/2))*time.Second
	})
	calls := r.counting()
	r.clock.advance(10*time.Second + n*time.Millisecond)
	r.settle()
	if got := r.cached(); got != n/2 {
		t.Errorf("%d runs were loaded, want %d", got, n/2)
	}
	if calls[faulty.Snapshot] > len(r.eng.Shards()) || calls[faulty.Scan] != n {
		t.Errorf("%d snapshots, %d scans", calls[faulty.Snapshot], calls[faulty.Scan])
	}
	// What the workers want to see is at hand.
	offers := r.sink.take()
	if len(offers) != n/2 {
		t.Fatalf("%d tasks", len(offers))
	}
	for _, o := range offers {
		ref := *o.Workflow
		out := r.submit(ref.Run.Of(), ref.Run.Run, execution.StartWorkflowTask{Ref: ref, RequestID: "poll", Identity: "worker"})
		r.settle()
		if out.err != nil {
			t.Fatal(out.err)
		}
		got, _, err := r.events(HistoryQuery{Run: ref.Run, From: 4})
		if want := []ids.EventID{4, 5, 6, 7, 8}; err != nil || !slices.Equal(got, want) {
			t.Errorf("events %v, error %v", got, err)
		}
	}
	if calls[faulty.Scan] != n || calls[faulty.Get] != 0 {
		t.Errorf("%d scans and %d gets in the end", calls[faulty.Scan], calls[faulty.Get])
	}
}

func TestARunIsLoadedForItsTimerThoughItsEventsAreNot(t *testing.T) {
	r := newRig(t, realCore)
	r.sleepers(1, tenSeconds)
	scans := 0
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Scan {
			if scans++; scans == 2 { // the first one reads the state
				return faulty.NotApplied
			}
		}
		return faulty.None
	}
	r.clock.advance(10 * time.Second)
	r.settle()
	if offers := r.sink.take(); len(offers) != 1 || scans != 2 {
		t.Fatalf("%d tasks after %d scans", len(offers), scans)
	}
	got, _, err := r.events(HistoryQuery{Run: wf("w0").Run("")})
	if err != nil || len(got) != 7 {
		t.Errorf("events %v, error %v", got, err)
	}
}

func TestTimersRingAfterAFailedLoad(t *testing.T) {
	for _, op := range []faulty.Op{faulty.Snapshot, faulty.Scan} {
		r := newRig(t, realCore)
		r.sleepers(10, tenSeconds)
		r.fault = func(c faulty.Call) faulty.Fault {
			if c.Op == op {
				return faulty.NotApplied
			}
			return faulty.None
		}
		r.clock.advance(11 * time.Second)
		r.settle()
		if offers := r.sink.take(); len(offers) != 0 || r.cached() != 0 {
			t.Fatalf("op %v: %d tasks, %d runs in memory", op, len(offers), r.cached())
		}
		r.fault = nil
		r.clock.advance(timerRetry)
		r.settle()
		if offers := r.sink.take(); len(offers) != 10 {
			t.Errorf("op %v: %d tasks", op, len(offers))
		}
		if !strings.Contains(r.logs.String(), "load run") {
			t.Errorf("op %v: nothing was logged", op)
		}
	}
}

func TestTimersRingThoughTheCacheHoldsOneRun(t *testing.T) {
	r := newRig(t, func(o *Options) {
		realCore(o)
		o.Shards, o.CacheBytes = 4, 4 // less than a run
	})
	r.sleepers(20, tenSeconds)
	calls := r.counting()
	r.clock.advance(11 * time.Second)
	r.settle()
	if offers := r.sink.take(); len(offers) != 20 || calls[faulty.Snapshot] != 20 {
		t.Errorf("%d tasks, %d loads", len(offers), calls[faulty.Snapshot])
	}
}
