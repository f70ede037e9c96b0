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
		heap := int64(max(live, leastHeap)) * int64(100+p) / 100
		if got := upTo(live, p); got < heap*5/4+slack-limitStep || got > heap*5/4+slack {
			t.Errorf("%d live, %d %%: %d for a heap of %d", live, p, got, heap)
		}
	}
}

func TestALimitOfTheUsersStays(t *testing.T) {
	before := debug.SetGCPercent(100)
	limit := debug.SetMemoryLimit(7 << 30)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(limit)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go pace(ctx, false)
	for readMetric("/gc/gogc:percent") == 100 {
		runtime.GC()
	}
	if got := debug.SetMemoryLimit(-1); got != 7<<30 {
		t.Errorf("the limit is %d", got)
	}
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
	until := func(ok func(percent uint64) bool) {
		for n := 0; !ok(readMetric("/gc/gogc:percent")); n++ {
			if n == 10_000 {
				t.Fatalf("%d %% with %d live", readMetric("/gc/gogc:percent"), liveBytes())
			}
			runtime.GC()
		}
	}
	until(func(p uint64) bool { return p > headroomShare && p != 100 })
	runtime.GC()
	if goal := readMetric("/gc/heap/goal:bytes"); goal > liveBytes()+headroom*11/10 {
		t.Errorf("the heap may grow to %d with %d live", goal, liveBytes())
	}
	live := make([]byte, 200<<20)
	until(func(p uint64) bool { return p == headroomShare })
	if got := debug.SetMemoryLimit(-1); got < 350<<20 || got > 1<<30 {
		t.Errorf("with 200 MiB live the limit is %d", got)
	}
	runtime.KeepAlive(live)
	live = nil
	until(func(p uint64) bool { return p > headroomShare })
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
	for _, name := range []string{
		"/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes", "/gc/heap/allocs:bytes",
		"/memory/classes/heap/free:bytes", "/memory/classes/heap/objects:bytes",
	} {
		if known[name] != metrics.KindUint64 {
			t.Errorf("%s is not known", name)
		}
	}
}
