package main

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// headroom is how much is allocated between two collections while little is live. With Go's default, as much as is live,
	// they would take a tenth of the server's CPU when it is fresh, and half of its memory when its cache is full.
	headroom = 32 << 20
	// headroomShare is the least headroom as a share of what is live, in percent: for large caches, and stores in memory.
	headroomShare = 75

	// slack is what the process may take beside the heap that percentage allows and a quarter of it, before the runtime has to
	// give free memory back or collect: stacks, what the runtime keeps for itself, and what lies between objects. Left alone,
	// the runtime keeps what a moment's peak took for minutes.
	slack     = 20 << 20
	limitStep = 8 << 20 // so that the limit is seldom changed; a sixteenth of it when that is more

	restPeriod = 5 * time.Second
	restBytes  = 1 << 20  // a server that allocates less in restPeriod has nothing to do
	restGain   = 16 << 20 // memory that is worth a collection to give back,
	restShare  = 8        // if it is this part of what is live, which has to be gone through
)

// tendMemory sets how often the collector runs, and gives memory back to the system when there is nothing to do, until ctx
// ends. A user who has set GOGC gets what that says, and no more, and GOMEMLIMIT stays as it is set.
func tendMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	go pace(ctx, os.Getenv("GOMEMLIMIT") == "")
	go rest(ctx)
}

// pace chooses the collector's percentage anew after each collection, and if it may, the limit of what it takes.
func pace(ctx context.Context, mayLimit bool) {
	collected := make(chan struct{}, 1)
	percent, limit := 100, int64(math.MaxInt64)
	for {
		live := liveBytes()
		p := percentage(live)
		if l := upTo(live, p, overheadBytes()); mayLimit && l != limit {
			debug.SetMemoryLimit(l)
			limit = l
		}
		if p != percent {
			debug.SetGCPercent(p)
			percent = p
		}
		onCollection(collected)
		select {
		case <-collected:
		case <-ctx.Done():
			return
		}
	}
}

// onCollection sends when the next collection is over.
func onCollection(done chan<- struct{}) {
	runtime.AddCleanup(new(*byte), func(done chan<- struct{}) { done <- struct{}{} }, done)
}

// upTo is how much memory the runtime may take without being in a hurry, when so much is live, percent is the collector's
// percentage, and overhead is what it takes beside the heap. A heap full of holes, which a peak leaves behind, has an overhead
// that no collection can make smaller: a limit that it does not fit into would have the collector run all the time.
func upTo(live uint64, percent int, overhead uint64) int64 {
	heap := max(live, leastHeap) * uint64(100+percent) / 100
	usual := heap + heap/4 + slack
	least := heap + overhead
	least += least / 6 // the runtime keeps 3 % for itself, rounding takes up to 8 MiB or a sixteenth, and time goes on
	limit := max(usual, least)
	step := max(limitStep, limit/16)
	return int64(limit / step * step)
}

// leastHeap is what Go takes the heap to be when it is smaller (at 100 percent).
const leastHeap = 4 << 20

// percentage is rounded, so that it is seldom changed.
func percentage(live uint64) int {
	p := int(headroom * 100 / max(live, leastHeap))
	return max(headroomShare, p/5*5)
}

// liveBytes is what the percentage is of.
func liveBytes() uint64 {
	return readMetric("/gc/heap/live:bytes") + readMetric("/gc/scan/stack:bytes") + readMetric("/gc/scan/globals:bytes")
}

// overheadBytes is what counts for the limit and is not in an object: holes between objects, stacks, and the runtime's own.
func overheadBytes() uint64 {
	var n uint64
	for _, name := range overheads {
		n += readMetric(name)
	}
	return n
}

var overheads = []string{
	"/memory/classes/heap/unused:bytes", "/memory/classes/heap/stacks:bytes", "/memory/classes/metadata/mspan/inuse:bytes",
	"/memory/classes/metadata/mspan/free:bytes", "/memory/classes/metadata/other:bytes",
}

func readMetric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0 // this version of Go does not know it
	}
	return s[0].Value.Uint64()
}

// rest collects and gives back once after each time of work.
func rest(ctx context.Context) {
	t := time.NewTicker(restPeriod)
	defer t.Stop()
	var r resting
	for {
		select {
		case <-t.C:
			if r.due(readMetric("/gc/heap/allocs:bytes"), garbageBytes(), liveBytes()) {
				debug.FreeOSMemory()
			}
		case <-ctx.Done():
			return
		}
	}
}

// garbageBytes is an estimate of what a collection would free, and of what is free already and not given back.
func garbageBytes() uint64 {
	free := readMetric("/memory/classes/heap/free:bytes")
	if objects, live := readMetric("/memory/classes/heap/objects:bytes"), readMetric("/gc/heap/live:bytes"); objects > live {
		free += objects - live
	}
	return free
}

// resting decides when to give memory back.
type resting struct{ allocated uint64 }

// due is asked once per period.
func (r *resting) due(allocated, garbage, live uint64) bool {
	idle := allocated-r.allocated < restBytes
	r.allocated = allocated
	return idle && garbage >= max(restGain, live/restShare)
}
