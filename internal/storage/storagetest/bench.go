package storagetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// Bench measures a store: commits by 1, 64 and 256 concurrent writers, point reads and scans.
func Bench(b *testing.B, open Open) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("Apply/writers=%d", writers), func(b *testing.B) { benchApply(b, open(b), writers) })
	}
	b.Run("Get", func(b *testing.B) { benchGet(b, open(b)) })
	b.Run("GetMissing", func(b *testing.B) { benchGetMissing(b, open(b)) })
	b.Run("Scan100", func(b *testing.B) { benchScan(b, open(b)) })
}

// benchBatch is what one workflow task's completion writes: state, an event batch, outbox rows, a deleted one. It has
// 6 ops and about 1.2 KB, a third of which compresses well.
func benchBatch(b *storage.Batch, rng *rand.ChaCha8, n uint64) {
	run := binary.BigEndian.AppendUint64([]byte("slot/workflow-"), n%5000)
	key := func(kind string, parts ...uint64) []byte {
		k := append(append([]byte(kind), '/'), run...)
		for _, p := range parts {
			k = binary.BigEndian.AppendUint64(k, p)
		}
		return k
	}
	value := func(size int) []byte {
		v := make([]byte, size)
		rng.Read(v[size/3:])
		return v
	}
	b.Ops = b.Ops[:0]
	b.Set(key("state"), value(500))
	b.Set(key("event", n), value(450))
	b.Set(key("task", n), value(60))
	b.Set(key("timer", n), value(40))
	b.Set(key("index"), value(80))
	b.Delete(key("task", n-5000))
}

func benchApply(b *testing.B, s storage.Store, writers int) {
	b.ReportAllocs()
	var wg sync.WaitGroup
	var mu sync.Mutex
	left := 0
	fences := make([]storage.Fence, writers)
	for w := range fences {
		fences[w] = acquire(b, s, ids.ShardID(w))
	}
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		left--
		return uint64(left), left >= 0
	}
	left = b.N
	b.ResetTimer()
	for w, f := range fences {
		wg.Go(func() {
			rng := rand.NewChaCha8([32]byte{byte(w)})
			batch := &storage.Batch{Fence: f}
			for {
				n, ok := take()
				if !ok {
					return
				}
				benchBatch(batch, rng, n)
				if err := s.Apply(b.Context(), batch); err != nil {
					b.Errorf("apply: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	must(b, s.Close())
}

const benchRows = 20000

func benchKey(i int) []byte { return fmt.Appendf(nil, "bench/%08d", i) }

func fill(b *testing.B, s storage.Store) {
	b.Helper()
	f := acquire(b, s, 1)
	rng := rand.NewChaCha8([32]byte{})
	batch := &storage.Batch{Fence: f}
	for i := range benchRows {
		value := make([]byte, 200)
		rng.Read(value[100:])
		batch.Set(benchKey(i), value)
		if len(batch.Ops) == 1000 {
			must(b, s.Apply(b.Context(), batch))
			batch.Ops = batch.Ops[:0]
		}
	}
}

func benchGet(b *testing.B, s storage.Store) {
	fill(b, s)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(benchKey(rng.IntN(benchRows))); err != nil {
			b.Fatal(err)
		}
	}
	must(b, s.Close())
}

func benchGetMissing(b *testing.B, s storage.Store) {
	fill(b, s)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(append(benchKey(rng.IntN(benchRows)), 'x')); err == nil {
			b.Fatal("found a key that was never set")
		}
	}
	must(b, s.Close())
}

func benchScan(b *testing.B, s storage.Store) {
	fill(b, s)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := s.Scan(benchKey(rng.IntN(benchRows-100)), nil, func(_, _ []byte) bool { n++; return n < 100 }); err != nil {
			b.Fatal(err)
		}
	}
	must(b, s.Close())
}
