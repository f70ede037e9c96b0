package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/local"
	"github.com/perdure/perdure/internal/storage/mem"
)

// BenchmarkSubmit adds one event per input, from many callers to as many runs: with local, each answer follows a sync
// of the disk that others share.
func BenchmarkSubmit(b *testing.B) {
	for _, backend := range []string{"mem", "local"} {
		for _, callers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("%s/callers=%d", backend, callers), func(b *testing.B) {
				store := openStore(b, backend)
				obs := &countingObserver{}
				e := startEngineOn(b, store, Options{Core: benchCore(), Observer: obs})
				for i := range callers {
					e.must(wf("w%d", i), execution.StartWorkflow{})
				}
				before := obs.commits.Load()
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for i := range callers {
					k, in := wf("w%d", i), signal("add")
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := e.Submit(context.Background(), k, "", in); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "inputs/s")
				b.ReportMetric(float64(b.N)/float64(max(obs.commits.Load()-before, 1)), "inputs/commit")
				if err := e.stop(); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

func openStore(b *testing.B, backend string) storage.Store {
	if backend == "mem" {
		return mem.New(mem.Options{})
	}
	store, err := local.Open(b.TempDir(), local.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return store
}

// benchCore makes a transition as cheaply as one can, so that what is measured is the engine.
func benchCore() *Core {
	core := testCore()
	step := core.Step
	bytes := testNew(ids.RunKey{Namespace: testNS}, 1).EventBytes
	core.Step = func(st *execution.State, in execution.Input, env *execution.Env) *execution.Transition {
		if _, ok := in.(execution.SignalWorkflow); !ok {
			return step(st, in, env)
		}
		next := *st
		next.Info.NextEventID++
		return &execution.Transition{Next: &next, Durable: true, EventBytes: bytes}
	}
	return core
}

// BenchmarkShard is the loop alone: handle, step, stage, seal, answer, with nothing durable and nobody switched to.
func BenchmarkShard(b *testing.B) {
	for _, perBatch := range []int{1, 100} {
		b.Run(fmt.Sprintf("inputs=%d", perBatch), func(b *testing.B) {
			e, err := New(mem.New(mem.Options{}), Options{Core: benchCore(), Shards: 1})
			if err != nil {
				b.Fatal(err)
			}
			s := e.Shards()[0]
			settle := func() {
				for {
					for s.Work(1000) {
					}
					for _, j := range s.Jobs() {
						s.Continue(j())
					}
					io, ok := s.NextIO()
					if ok && io.Batch == nil {
						s.DoneIO(e.perform(io))
						continue
					}
					if ok {
						s.DoneIO(0, nil)
						continue
					}
					if s.mail.empty() {
						return
					}
				}
			}
			settle()
			done := func(_ any, err error) {
				if err != nil {
					b.Error(err)
				}
			}
			for i := range perBatch {
				_ = e.SubmitAsync(wf("w%d", i), "", execution.StartWorkflow{}, done)
			}
			settle()
			keys, in := make([]ids.WorkflowKey, perBatch), signal("add")
			for i := range keys {
				keys[i] = wf("w%d", i)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, k := range keys {
					_ = e.SubmitAsync(k, "", in, done)
				}
				settle()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perBatch), "ns/input")
		})
	}
}
