package main

import (
	"context"
	"runtime"
	"runtime/debug"
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

func TestThePaceFollowsWhatIsLive(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "")
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
	for _, name := range []string{
		"/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes", "/gc/heap/allocs:bytes",
		"/memory/classes/heap/free:bytes", "/memory/classes/heap/objects:bytes",
	} {
		if readMetric(name) == 0 {
			t.Errorf("%s is not known", name)
		}
	}
}
