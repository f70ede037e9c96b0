package storagetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

func testEpochs(t *testing.T, s storage.Store) {
	var last ids.Epoch
	for range 5 {
		f := acquire(t, s, 7)
		if f.Epoch <= last {
			t.Fatalf("epoch %d after %d", f.Epoch, last)
		}
		last = f.Epoch
	}
	// Shards are independent, also where their numbers differ in one byte only.
	fences := make(map[ids.ShardID]storage.Fence)
	for _, shard := range []ids.ShardID{0, 1, 255, 256, 1 << 16, 1<<32 - 1} {
		fences[shard] = acquire(t, s, shard)
	}
	for shard, f := range fences {
		put(t, s, f, fmt.Sprint(shard), "x")
	}
}

func testFenced(t *testing.T, s storage.Store) {
	old := acquire(t, s, 1)
	bystander := acquire(t, s, 2)
	put(t, s, old, "a", "old")
	current := acquire(t, s, 1)
	b := batchOf(old, "a", "zombie", "b", "zombie")
	b.Delete([]byte("a"))
	for range 2 {
		if err := s.Apply(t.Context(), b); !errors.Is(err, storage.ErrFenced) {
			t.Fatalf("apply under the old epoch: %v, want fenced", err)
		}
	}
	wantAll(t, s, "a", "old")
	put(t, s, current, "a", "new")
	put(t, s, bystander, "c", "fine")
	wantAll(t, s, "a", "new", "c", "fine")
}

func testNeverAcquired(t *testing.T, s storage.Store) {
	refused := func(f storage.Fence) {
		t.Helper()
		err := s.Apply(t.Context(), batchOf(f, "a", "1"))
		if err == nil || errors.Is(err, storage.ErrUnknown) {
			t.Fatalf("apply under %+v: %v, want a refusal", f, err)
		}
	}
	refused(storage.Fence{Shard: 1, Epoch: 0})
	refused(storage.Fence{Shard: 1, Epoch: 1})
	f := acquire(t, s, 1)
	refused(storage.Fence{Shard: 1, Epoch: 0})
	refused(storage.Fence{Shard: 1, Epoch: f.Epoch + 1})
	refused(storage.Fence{Shard: 2, Epoch: f.Epoch})
	wantAll(t, s)
}

// testAcquireRace lets owners write as fast as they can while the next epoch is taken. What a reader finds right after
// Acquire returned must stay, and must hold every batch that was acknowledged.
func testAcquireRace(t *testing.T, s storage.Store) {
	const writers, rounds = 4, 12
	fence := acquire(t, s, 1)
	for range rounds {
		var wg sync.WaitGroup
		acked := make([]int, writers)
		started := make(chan struct{}, writers)
		var acquired atomic.Bool
		for w := range writers {
			wg.Go(func() {
				key := "w" + strconv.Itoa(w)
				for i := 1; ; i++ {
					late := acquired.Load()
					err := s.Apply(t.Context(), batchOf(fence, key, strconv.Itoa(i)))
					if errors.Is(err, storage.ErrFenced) {
						return
					}
					if err != nil {
						t.Errorf("apply: %v", err)
						return
					}
					if late {
						t.Error("a batch of an old epoch was applied after Acquire returned")
						return
					}
					acked[w] = i
					if i == 1 {
						started <- struct{}{}
					}
				}
			})
		}
		for range writers {
			<-started
		}
		next := acquire(t, s, 1)
		acquired.Store(true)
		before := collect(t, s.Scan, nil, nil)
		wg.Wait()
		after := collect(t, s.Scan, nil, nil)
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Fatalf("a fenced batch was applied after Acquire returned: %v, then %v", before, after)
		}
		for w := range writers {
			wantGet(t, s, "w"+strconv.Itoa(w), strconv.Itoa(acked[w]))
		}
		fence = next
	}
}

func testConcurrentAcquire(t *testing.T, s storage.Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[ids.Epoch]bool)
	var newest ids.Epoch
	for range 8 {
		wg.Go(func() {
			for range 5 {
				epoch, err := s.Acquire(t.Context(), 3)
				if err != nil {
					t.Errorf("acquire: %v", err)
					return
				}
				mu.Lock()
				if seen[epoch] {
					t.Errorf("epoch %d given twice", epoch)
				}
				seen[epoch] = true
				newest = max(newest, epoch)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	put(t, s, storage.Fence{Shard: 3, Epoch: newest}, "a", "1")
}

func testConcurrentApply(t *testing.T, s storage.Store) {
	const shards, batches = 16, 10
	var wg sync.WaitGroup
	for shard := range ids.ShardID(shards) {
		f := acquire(t, s, shard)
		wg.Go(func() {
			for i := range batches {
				kv := fmt.Sprintf("%02d/%02d", shard, i)
				if err := s.Apply(t.Context(), batchOf(f, kv, kv)); err != nil {
					t.Errorf("apply: %v", err)
				}
				if got, err := s.Get([]byte(kv)); err != nil || string(got) != kv {
					t.Errorf("get of an acknowledged key: %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	if got := collect(t, s.Scan, nil, nil); len(got) != 2*shards*batches {
		t.Fatalf("%d keys, want %d", len(got)/2, shards*batches)
	}
}

// testAtomicity has one writer set four scattered keys to one value per batch, and readers that must never see two.
func testAtomicity(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	round := func(i int) []string {
		v := strconv.Itoa(i)
		return []string{"a", v, "b/1", v, "b/2", v, "z", v}
	}
	put(t, s, f, round(0)...)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for last := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				last = readRound(t, s, last)
			}
		})
	}
	for i := 1; i <= 60; i++ {
		put(t, s, f, round(i)...)
	}
	close(done)
	wg.Wait()
}

// readRound reads the round once by a scan and once by a snapshot, and checks that it is whole and not older than last.
func readRound(t *testing.T, s storage.Store, last int) int {
	snap, err := s.Snapshot()
	if err != nil {
		t.Errorf("snapshot: %v", err)
		return last
	}
	defer snap.Close()
	values := make(map[string]bool)
	gather := func(_, v []byte) bool { values[string(v)] = true; return true }
	if err := snap.Scan(nil, nil, gather); err != nil || len(values) != 1 {
		t.Errorf("snapshot saw parts of batches: %v, %v", values, err)
	}
	z, err := snap.Get([]byte("z"))
	if err != nil || !values[string(z)] {
		t.Errorf("get and scan of one snapshot differ: %q, %v, %v", z, values, err)
	}
	clear(values)
	if err := s.ScanReverse(nil, nil, gather); err != nil || len(values) != 1 {
		t.Errorf("scan saw parts of batches: %v, %v", values, err)
	}
	for v := range values {
		n, _ := strconv.Atoi(v)
		if n < last {
			t.Errorf("round %d after %d: a reader went back in time", n, last)
		}
		return n
	}
	return last
}
