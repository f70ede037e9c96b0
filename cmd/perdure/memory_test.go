package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestTheCollectorHasHeadroomAndNoMore(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 800}, {4 << 20, 800}, {32 << 20, 100}, {33 << 20, 95}, {40 << 20, 80}, {64 << 20, headroomShare}, {1 << 30, headroomShare},
	} {
		if got := percentage(c.live); got != c.want {
			t.Errorf("%d live: %d %%, want %d", c.live, got, c.want)
		}
	}
}

func TestTheLimitLeavesRoomForWhatThePercentageAllows(t *testing.T) {
	for _, live := range []uint64{0, 5 << 20, 40 << 20, 1 << 30, 40 << 30} {
		p := percentage(live)
		heap := max(live, leastHeap) * uint64(100+p) / 100
		usual := heap*5/4 + slack
		if got := uint64(upTo(live, p, 0)); got < usual-max(limitStep, usual/16) || got > usual {
			t.Errorf("%d live, %d %%: %d for a heap of %d", live, p, got, heap)
		}
		for _, overhead := range []uint64{0, 10 << 20, 22 << 20, 30 << 20, 42 << 20, 75 << 20, 400 << 20, 20 << 30} {
			got := uint64(upTo(live, p, overhead))
			if needed := (heap + overhead) * 103 / 100; got < needed || got < heap+slack {
				t.Errorf("%d live, %d %%, %d beside it: %d, and the goal needs %d", live, p, overhead, got, needed)
			}
			if bound := max(usual, (heap+overhead)*7/6); got > bound {
				t.Errorf("%d live, %d %%, %d beside it: %d is no limit", live, p, overhead, got)
			}
		}
	}
}

// paced runs the pacing for as long as the test, and restores what it has set.
func paced(t *testing.T, mayLimit bool) {
	before, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace(ctx, mayLimit)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(limit)
	})
}

// until collects until the collector's percentage is right.
func until(t *testing.T, ok func(percent uint64) bool) {
	t.Helper()
	for n := 0; !ok(readMetric("/gc/gogc:percent")); n++ {
		if n == 10_000 {
			t.Fatalf("%d %% with %d live", readMetric("/gc/gogc:percent"), liveBytes())
		}
		runtime.GC()
	}
}

func TestALimitOfTheUsersStays(t *testing.T) {
	limit := debug.SetMemoryLimit(7 << 30)
	defer debug.SetMemoryLimit(limit)
	paced(t, false)
	until(t, func(p uint64) bool { return p != 100 })
	if got := debug.SetMemoryLimit(-1); got != 7<<30 {
		t.Errorf("the limit is %d", got)
	}
}

var holes, sunk []byte

// A peak leaves single small objects in pages that are otherwise empty. What is allocated next is of another size.
func TestAHeapFullOfHolesIsNotCollectedAllTheTime(t *testing.T) {
	keep := make([][]byte, 0, 400<<10)
	for range cap(keep) {
		holes = make([]byte, 500)
		keep = append(keep, holes)
	}
	for i := range keep {
		if i%8 != 0 {
			keep[i] = nil
		}
	}
	paced(t, true)
	until(t, func(p uint64) bool { return p != 100 })
	debug.FreeOSMemory()
	count := func() uint64 { return readMetric("/gc/cycles/automatic:gc-cycles") }
	before := count()
	for range 300 << 10 {
		sunk = make([]byte, 1000)
	}
	if n := count() - before; n > 40 { // some 13, and 80 to 200 with a limit that knows only of what is live
		t.Errorf("%d collections for 300 MiB with %d live and %d beside it", n, liveBytes(), overheadBytes())
	}
	runtime.KeepAlive(keep)
}

func TestThePaceFollowsWhatIsLive(t *testing.T) {
	before, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(limit)
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tendMemory(ctx)
	until(t, func(p uint64) bool { return p > headroomShare && p != 100 })
	runtime.GC()
	if goal := readMetric("/gc/heap/goal:bytes"); goal > liveBytes()+headroom*11/10 {
		t.Errorf("the heap may grow to %d with %d live", goal, liveBytes())
	}
	live := make([]byte, 200<<20)
	until(t, func(p uint64) bool { return p == headroomShare })
	if got := debug.SetMemoryLimit(-1); got < 350<<20 || got > 1<<30 {
		t.Errorf("with 200 MiB live the limit is %d", got)
	}
	runtime.KeepAlive(live)
	live = nil
	until(t, func(p uint64) bool { return p > headroomShare })
}

func TestMemoryIsGivenBackOnceAfterWork(t *testing.T) {
	var r resting
	for i, c := range []struct {
		allocated, garbage, live uint64
		want                     bool
	}{
		{500 << 20, 40 << 20, 20 << 20, false}, // at work
		{900 << 20, 40 << 20, 20 << 20, false},
		{900<<20 + 1000, 40 << 20, 1 << 30, false}, // at rest, and too much to go through for that
		{900<<20 + 2000, 40 << 20, 20 << 20, true},
		{900<<20 + 3000, 2 << 20, 20 << 20, false}, // all was given back
		{902<<20 + 3000, 40 << 20, 20 << 20, false},
	} {
		if got := r.due(c.allocated, c.garbage, c.live); got != c.want {
			t.Errorf("period %d: %v, want %v", i, got, c.want)
		}
	}
	known := make(map[string]metrics.ValueKind)
	for _, d := range metrics.All() {
		known[d.Name] = d.Kind
	}
	for _, name := range append([]string{
		"/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes", "/gc/heap/allocs:bytes",
		"/memory/classes/heap/free:bytes", "/memory/classes/heap/objects:bytes", "/gc/gogc:percent", "/gc/cycles/automatic:gc-cycles",
	}, overheads...) {
		if known[name] != metrics.KindUint64 {
			t.Errorf("%s is not known", name)
		}
	}
}
