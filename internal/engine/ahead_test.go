package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage/faulty"
)

// sleepers starts n runs and forgets them. Each waits for a timer, and may run for a day.
func (r *rig) sleepers(n int, after func(i int) time.Duration) {
	r.Helper()
	for i := range n {
		k := wf("w%d", i)
		in := startOf(string(k.Workflow)).(execution.StartWorkflow)
		in.Request.WorkflowRunTimeout = durationpb.New(24 * time.Hour)
		r.do(k, in)
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
		budget := s.budget
		s.budget = 0
		for n := -1; len(s.entries) != n; { // until all that can go is written and gone
			n = len(s.entries)
			s.tick()
			r.settle()
			s.tick()
		}
		s.budget = budget
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
	for _, s := range r.eng.Shards() {
		for k, it := range s.timers.items {
			if it.ahead {
				t.Errorf("%s counts as loaded for a moment %v away", k, it.at.Sub(r.clock.Now()))
			}
		}
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

func TestRunsAreLoadedForTheirTimersThoughTheirEventsAreNot(t *testing.T) {
	r := newRig(t, func(o *Options) { realCore(o); o.Shards = 1 })
	r.sleepers(2, tenSeconds)
	scans := 0
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Scan {
			if scans++; scans > 2 { // two read the states
				return faulty.NotApplied
			}
		}
		return faulty.None
	}
	r.clock.advance(10 * time.Second)
	r.settle()
	if offers := r.sink.take(); len(offers) != 2 || scans != 4 {
		t.Fatalf("%d tasks after %d scans", len(offers), scans)
	}
	r.fault = nil
	got, _, err := r.events(HistoryQuery{Run: wf("w0").Run("")})
	if err != nil || len(got) != 7 {
		t.Errorf("events %v, error %v", got, err)
	}
}

func TestRunsAreLoadedOneByOneWhenNotTogether(t *testing.T) {
	r := newRig(t, realCore)
	r.sleepers(10, tenSeconds)
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Snapshot {
			return faulty.NotApplied
		}
		return faulty.None
	}
	r.clock.advance(10 * time.Second)
	r.settle()
	if offers := r.sink.take(); len(offers) != 10 {
		t.Errorf("%d tasks", len(offers))
	}
	r.noErrors()
}

func TestTimersRingAfterFailedLoads(t *testing.T) {
	r := newRig(t, func(o *Options) { realCore(o); o.Shards = 1 })
	const n = 100
	r.sleepers(n, func(i int) time.Duration { return 10*time.Second + time.Duration(i)*time.Millisecond })
	scans := 0
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Scan {
			scans++
			return faulty.NotApplied
		}
		return faulty.None
	}
	r.clock.advance(10 * time.Second)
	for range n / 2 {
		r.settle()
		r.clock.advance(time.Millisecond)
	}
	// One for each timer, and few for those that were tried together with them.
	if offers := r.sink.take(); len(offers) != 0 || r.cached() != 0 || scans > 3*n/2 {
		t.Fatalf("%d tasks, %d runs in memory, %d reads for %d timers", len(offers), r.cached(), scans, n/2)
	}
	if logged := strings.Count(r.logs.String(), "read failed"); logged != n/2 {
		t.Errorf("%d failures were logged", logged)
	}
	r.fault = nil
	r.clock.advance(timerRetry)
	r.settle()
	if offers := r.sink.take(); len(offers) != n {
		t.Errorf("%d tasks", len(offers))
	}
}

func TestTimersThatAreLateAreLoadedTogether(t *testing.T) {
	r := newRig(t, func(o *Options) { realCore(o); o.Shards = 1 })
	const n = 4 * aheadRuns
	r.sleepers(n, func(i int) time.Duration { return time.Duration(1+i) * time.Second })
	calls := r.counting()
	r.clock.advance(time.Hour)
	r.settle()
	if offers := r.sink.take(); len(offers) != n || calls[faulty.Snapshot] != n/aheadRuns {
		t.Errorf("%d tasks, %d loads", len(offers), calls[faulty.Snapshot])
	}
}

// What was loaded and left before its timer rang is read twice. That must stay rare however small the cache is next to the runs.
func TestRunsAreNotLoadedAgainAndAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		cache  int
		events int // bytes of each run that nobody has seen
		pinned int // runs that cannot leave
		n      int
		every  time.Duration
		scans  float64 // two for each timer are what it takes
	}{
		{"plenty", 24 << 20, 100, 0, 2000, 100 * time.Microsecond, 2.01},
		{"large runs", 8 << 20, 12_000, 0, 2000, 100 * time.Microsecond, 2.5},
		{"small cache", 1 << 20, 100, 0, 1000, 100 * time.Microsecond, 2.5},
		{"large runs in a small cache", 1 << 20, 12_000, 0, 1000, time.Millisecond, 3},
		{"one run", 4, 100, 0, 1000, time.Millisecond, 3},
		{"others cannot leave", 4 << 20, 100, 3000, 1000, time.Millisecond, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Shards, o.CacheBytes = 2, c.cache })
			for i := range c.n {
				k := wf("w%d", i)
				r.begin(k)
				r.do(k, signal("add %d", c.events))
				r.do(k, signal("sleep %dus", (time.Hour+time.Duration(i)*c.every).Microseconds()))
			}
			r.evictAll()
			for i := range c.pinned {
				k := wf("p%d", i)
				r.begin(k)
				r.shardOf(k).entries[k.Run(r.shardOf(k).workflows[k].current)].busy = true
			}
			r.clock.advance(time.Hour - time.Second)
			r.settle()
			calls := r.counting()
			r.clock.advance(time.Second)
			for range c.n*int(c.every)/int(time.Millisecond) + 1 {
				r.settle()
				r.clock.advance(time.Millisecond)
			}
			r.settle()
			if rows := r.timerRows(); rows != 0 {
				t.Fatalf("%d timers did not ring", rows)
			}
			if got := float64(calls[faulty.Scan]) / float64(c.n); got > c.scans {
				t.Errorf("%.2f scans for each timer, want up to %.2f", got, c.scans)
			} else {
				t.Logf("%.2f scans, %.2f snapshots for each", got, float64(calls[faulty.Snapshot])/float64(c.n))
			}
		})
	}
}
