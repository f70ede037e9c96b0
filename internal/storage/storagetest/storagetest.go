// Package storagetest is the contract of package storage as a test suite. Every adapter runs it whole; what only one
// adapter promises is tested there.
//
// The suite compares what a store answers with what the port's documentation says, and nothing else: it knows no
// adapter, waits for events instead of time, and does not care how often it is run.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// Open makes an empty store. The suite closes it.
type Open func(t testing.TB) storage.Store

// Reopen closes s, if it is open, and opens a store on the same data.
type Reopen func(t testing.TB, s storage.Store) storage.Store

// Run tests all that the port promises of a store that does not crash.
func Run(t *testing.T, open Open, reopen Reopen) {
	table := []struct {
		name string
		test func(t *testing.T, s storage.Store)
	}{
		{"GetOfMissingKeyIsNotFound", testMissing},
		{"SetThenGet", testSetGet},
		{"GetReturnsCopies", testGetCopies},
		{"ApplyKeepsNoSlices", testApplyKeepsNothing},
		{"LastOpOfAKeyWins", testLastOpWins},
		{"EmptyBatchIsApplied", testEmptyBatch},
		{"LargeBatchIsApplied", testLargeBatch},
		{"ScanBounds", testScanBounds},
		{"ScanStopsEarly", testScanStops},
		{"ScanSeesOneState", testScanOneState},
		{"ScanCallbackMayCallTheStore", testScanNests},
		{"SnapshotIsFrozen", testSnapshotFrozen},
		{"SnapshotReadsAfterCloseFail", testSnapshotClosed},
		{"SnapshotTakesAnyScans", testSnapshotScans},
		{"EpochsGrowPerShard", testEpochs},
		{"OldEpochIsFenced", testFenced},
		{"EpochNeverAcquiredIsRefused", testNeverAcquired},
		{"AcquireWinsRaces", testAcquireRace},
		{"ConcurrentAcquiresDiffer", testConcurrentAcquire},
		{"ConcurrentBatchesAreAllApplied", testConcurrentApply},
		{"ReadersSeeWholeBatches", testAtomicity},
		{"CancelledContextAppliesNothing", testCancelled},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			c.test(t, s)
			must(t, s.Close())
		})
	}
	t.Run("ClosedStoreRefusesAll", func(t *testing.T) { testClosed(t, open(t)) })
	t.Run("CloseWaitsForCalls", func(t *testing.T) { testCloseWaits(t, open(t)) })
	t.Run("DataAndEpochsSurviveReopen", func(t *testing.T) { testReopen(t, open(t), reopen) })
	t.Run("Model", func(t *testing.T) { testModel(t, open, reopen) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func acquire(t testing.TB, s storage.Store, shard ids.ShardID) storage.Fence {
	t.Helper()
	epoch, err := s.Acquire(t.Context(), shard)
	must(t, err)
	return storage.Fence{Shard: shard, Epoch: epoch}
}

// batchOf makes a batch of sets from alternating keys and values.
func batchOf(f storage.Fence, kv ...string) *storage.Batch {
	b := &storage.Batch{Fence: f}
	for i := 0; i < len(kv); i += 2 {
		b.Set([]byte(kv[i]), []byte(kv[i+1]))
	}
	return b
}

func put(t testing.TB, s storage.Store, f storage.Fence, kv ...string) {
	t.Helper()
	must(t, s.Apply(t.Context(), batchOf(f, kv...)))
}

func wantGet(t testing.TB, r storage.Reader, key, want string) {
	t.Helper()
	got, err := r.Get([]byte(key))
	must(t, err)
	if got == nil || string(got) != want {
		t.Fatalf("get %q: %q (nil: %t), want %q", key, got, got == nil, want)
	}
}

func wantMissing(t testing.TB, r storage.Reader, key string) {
	t.Helper()
	if got, err := r.Get([]byte(key)); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("get %q: %q, %v, want not found", key, got, err)
	}
}

func testMissing(t *testing.T, s storage.Store) {
	wantMissing(t, s, "a")
	f := acquire(t, s, 1)
	put(t, s, f, "a", "1")
	wantMissing(t, s, "")
	wantMissing(t, s, "a\x00")
	b := &storage.Batch{Fence: f}
	b.Delete([]byte("a"))
	b.Delete([]byte("never there"))
	must(t, s.Apply(t.Context(), b))
	wantMissing(t, s, "a")
}

// awkwardKeys are in order and include what an adapter may be tempted to keep for itself.
var awkwardKeys = []string{"", "\x00", "\x00\x00", "\x00e", "\x00e\x00\x00\x00\x01", "\x00f", "\x01", "\x01\x00", "\x02",
	"a", "a\x00", "ab", "b", "\xfe", "\xff", "\xff\xff", "\xff\xff\x00"}

func testSetGet(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	for _, k := range awkwardKeys {
		put(t, s, f, k, "value of "+k)
	}
	for _, k := range awkwardKeys {
		wantGet(t, s, k, "value of "+k)
	}
	b := &storage.Batch{Fence: f}
	b.Set([]byte("empty"), []byte{})
	b.Set([]byte("nil"), nil)
	b.Set([]byte("a"), []byte("replaced"))
	must(t, s.Apply(t.Context(), b))
	wantGet(t, s, "empty", "")
	wantGet(t, s, "nil", "")
	wantGet(t, s, "a", "replaced")
	acquire(t, s, 1)
	wantGet(t, s, "\x00e\x00\x00\x00\x01", "value of \x00e\x00\x00\x00\x01")
}

func testGetCopies(t *testing.T, s storage.Store) {
	put(t, s, acquire(t, s, 1), "k", "value")
	got, err := s.Get([]byte("k"))
	must(t, err)
	copy(got, "XXXXX")
	_ = append(got[:0], "YYYYYYYYYY"...)
	wantGet(t, s, "k", "value")
}

func testApplyKeepsNothing(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	key, value := []byte("key"), []byte("value")
	b := &storage.Batch{Fence: f}
	b.Set(key, value)
	must(t, s.Apply(t.Context(), b))
	if string(key) != "key" || string(value) != "value" {
		t.Fatal("Apply changed its arguments")
	}
	copy(key, "yek")
	copy(value, "eulav")
	b.Ops[0] = storage.Op{}
	wantGet(t, s, "key", "value")
	wantMissing(t, s, "yek")
}

func testLastOpWins(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	put(t, s, f, "old", "1")
	b := &storage.Batch{Fence: f}
	b.Set([]byte("a"), []byte("1"))
	b.Set([]byte("a"), []byte("2"))
	b.Set([]byte("b"), []byte("1"))
	b.Delete([]byte("b"))
	b.Delete([]byte("c"))
	b.Set([]byte("c"), []byte("3"))
	b.Delete([]byte("old"))
	b.Set([]byte("old"), []byte("2"))
	b.Delete([]byte("old"))
	must(t, s.Apply(t.Context(), b))
	wantAll(t, s, "a", "2", "c", "3")
}

func testEmptyBatch(t *testing.T, s storage.Store) {
	old := acquire(t, s, 1)
	must(t, s.Apply(t.Context(), batchOf(old)))
	acquire(t, s, 1)
	if err := s.Apply(t.Context(), batchOf(old)); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("empty batch under an old epoch: %v, want fenced", err)
	}
}

func testLargeBatch(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	value := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	b := &storage.Batch{Fence: f}
	for i := range 24 {
		b.Set(fmt.Appendf(nil, "large/%02d", i), value)
	}
	must(t, s.Apply(t.Context(), b))
	n := 0
	must(t, s.Scan(nil, nil, func(_, v []byte) bool {
		if !bytes.Equal(v, value) {
			t.Error("a large value came back changed")
		}
		n++
		return true
	}))
	if n != 24 {
		t.Fatalf("%d values, want 24", n)
	}
}

// collect returns what a scan gives as alternating keys and values.
func collect(t testing.TB, scan func(start, end []byte, fn func(k, v []byte) bool) error, start, end []byte) []string {
	t.Helper()
	var got []string
	must(t, scan(start, end, func(k, v []byte) bool {
		got = append(got, string(k), string(v))
		return true
	}))
	return got
}

// wantAll wants exactly the given keys and values, in both directions.
func wantAll(t testing.TB, r storage.Reader, kv ...string) {
	t.Helper()
	wantRange(t, r, nil, nil, kv)
}

func wantRange(t testing.TB, r storage.Reader, start, end []byte, kv []string) {
	t.Helper()
	if got := collect(t, r.Scan, start, end); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", kv) {
		t.Fatalf("scan %q to %q: %q, want %q", start, end, got, kv)
	}
	var back []string
	for i := len(kv) - 2; i >= 0; i -= 2 {
		back = append(back, kv[i], kv[i+1])
	}
	if got := collect(t, r.ScanReverse, start, end); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", back) {
		t.Fatalf("reverse scan %q to %q: %q, want %q", start, end, got, back)
	}
}

func testScanBounds(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	for i := len(awkwardKeys) - 1; i >= 0; i-- {
		put(t, s, f, awkwardKeys[i], "v")
	}
	put(t, s, f, "gone", "v")
	b := &storage.Batch{Fence: f}
	b.Delete([]byte("gone"))
	must(t, s.Apply(t.Context(), b))

	bounds := [][]byte{nil, {}, []byte("aa"), []byte("c"), []byte("\xff\xff\xff")}
	for _, k := range awkwardKeys {
		bounds = append(bounds, []byte(k))
	}
	for _, start := range bounds {
		for _, end := range bounds {
			var want []string
			for _, k := range awkwardKeys {
				if k >= string(start) && (end == nil || k < string(end)) {
					want = append(want, k, "v")
				}
			}
			wantRange(t, s, start, end, want)
		}
	}
}

func testScanStops(t *testing.T, s storage.Store) {
	put(t, s, acquire(t, s, 1), "a", "1", "b", "2", "c", "3")
	for name, c := range map[string]struct {
		scan func(start, end []byte, fn func(k, v []byte) bool) error
		want string
	}{"forward": {s.Scan, "ab"}, "reverse": {s.ScanReverse, "cb"}} {
		var got string
		must(t, c.scan(nil, nil, func(k, _ []byte) bool {
			got += string(k)
			return len(got) < 2
		}))
		if got != c.want {
			t.Errorf("%s: visited %q, want %q", name, got, c.want)
		}
	}
}

func testScanOneState(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	put(t, s, f, "a", "1", "c", "1", "e", "1")
	var got []string
	must(t, s.Scan(nil, nil, func(k, v []byte) bool {
		got = append(got, string(k)+string(v))
		b := batchOf(f, "b", "2", "c", "2", "f", "2")
		b.Delete([]byte("e"))
		must(t, s.Apply(t.Context(), b))
		return true
	}))
	if fmt.Sprint(got) != "[a1 c1 e1]" {
		t.Fatalf("scan mixed two states: %v", got)
	}
	wantAll(t, s, "a", "1", "b", "2", "c", "2", "f", "2")
}

func testScanNests(t *testing.T, s storage.Store) {
	put(t, s, acquire(t, s, 1), "a", "1", "b", "2")
	n := 0
	must(t, s.Scan(nil, nil, func(k, v []byte) bool {
		wantGet(t, s, string(k), string(v))
		must(t, s.ScanReverse(nil, nil, func(_, _ []byte) bool { n++; return true }))
		return true
	}))
	if n != 4 {
		t.Fatalf("inner scans visited %d keys, want 4", n)
	}
}

func testSnapshotFrozen(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	empty, err := s.Snapshot()
	must(t, err)
	put(t, s, f, "a", "1", "b", "1")
	first, err := s.Snapshot()
	must(t, err)
	same, err := s.Snapshot()
	must(t, err)
	b := batchOf(f, "a", "2", "c", "2")
	b.Delete([]byte("b"))
	must(t, s.Apply(t.Context(), b))
	must(t, same.Close())

	wantAll(t, empty)
	wantMissing(t, empty, "a")
	wantAll(t, first, "a", "1", "b", "1")
	wantGet(t, first, "b", "1")
	wantMissing(t, first, "c")
	wantAll(t, s, "a", "2", "c", "2")
	must(t, empty.Close())
	must(t, first.Close())
	wantAll(t, s, "a", "2", "c", "2")
}

// testSnapshotScans has scans of one snapshot follow each other, nest, break off, run at once, and outlive the snapshot.
func testSnapshotScans(t *testing.T, s storage.Store) {
	put(t, s, acquire(t, s, 1), "a", "1", "b", "2", "c", "3", "d", "4")
	snap, err := s.Snapshot()
	must(t, err)
	read := func(scan func(start, end []byte, fn func(k, v []byte) bool) error, start, end string) (got string) {
		err := scan([]byte(start), []byte(end), func(k, v []byte) bool {
			got += string(k) + string(v)
			return len(got) < 4
		})
		if err != nil {
			t.Errorf("scan: %v", err)
		}
		return got
	}
	check := func() {
		for range 10 {
			forward, middle, back := read(snap.Scan, "c", "z"), read(snap.Scan, "a", "c"), read(snap.ScanReverse, "a", "d")
			if all := forward + " " + middle + " " + back + read(snap.Scan, "e", "z"); all != "c3d4 a1b2 c3b2" {
				t.Errorf("read %q", all)
			}
		}
	}
	check()
	func() {
		defer func() { _ = recover() }()
		_ = snap.Scan(nil, nil, func(_, _ []byte) bool { panic("in a scan") })
	}()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := snap.Scan(nil, nil, func(_, _ []byte) bool { check(); return true }); err != nil {
				t.Errorf("scan: %v", err)
			}
		})
	}
	wg.Wait()
	n := 0
	must(t, snap.Scan(nil, nil, func(_, _ []byte) bool {
		if n++; n == 2 {
			must(t, snap.Close())
			wantReaderClosed(t, snap)
		}
		return true
	}))
	if n != 4 {
		t.Errorf("a scan that outlived its snapshot visited %d keys", n)
	}
}

func testSnapshotClosed(t *testing.T, s storage.Store) {
	n, err := s.Snapshot()
	must(t, err)
	must(t, n.Close())
	wantReaderClosed(t, n)
}

func wantReaderClosed(t *testing.T, r storage.Reader) {
	t.Helper()
	_, get := r.Get([]byte("a"))
	visit := func(_, _ []byte) bool { t.Error("scan visited a key"); return true }
	for name, err := range map[string]error{
		"Get": get, "Scan": r.Scan(nil, nil, visit), "ScanReverse": r.ScanReverse(nil, nil, visit),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: %v, want closed", name, err)
		}
	}
}

func testCancelled(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Apply(ctx, batchOf(f, "a", "1")); !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("apply: %v, want cancelled", err)
	}
	wantMissing(t, s, "a")
	if _, err := s.Acquire(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("acquire: %v, want cancelled", err)
	}
	put(t, s, f, "a", "2")
}

func testClosed(t *testing.T, s storage.Store) {
	f := acquire(t, s, 1)
	put(t, s, f, "a", "1")
	n, err := s.Snapshot()
	must(t, err)
	must(t, s.Close())

	wantReaderClosed(t, s)
	wantReaderClosed(t, n)
	must(t, n.Close())
	_, acquired := s.Acquire(t.Context(), 1)
	_, snapped := s.Snapshot()
	for name, err := range map[string]error{
		"Apply": s.Apply(t.Context(), batchOf(f, "a", "2")), "Acquire": acquired, "Snapshot": snapped, "Close": s.Close(),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: %v, want closed", name, err)
		}
	}
}

// testCloseWaits closes the store from beside a running scan. The scan has to end well, whichever comes first.
func testCloseWaits(t *testing.T, s storage.Store) {
	put(t, s, acquire(t, s, 1), "a", "1", "b", "2", "c", "3")
	closed := make(chan error, 1)
	n := 0
	must(t, s.Scan(nil, nil, func(_, _ []byte) bool {
		if n == 0 {
			go func() { closed <- s.Close() }()
		}
		n++
		return true
	}))
	if n != 3 {
		t.Fatalf("scan visited %d keys, want 3", n)
	}
	must(t, <-closed)
}

func testReopen(t *testing.T, s storage.Store, reopen Reopen) {
	f, other := acquire(t, s, 1), acquire(t, s, 2)
	put(t, s, f, "a", "1", "b", "1")
	s = reopen(t, s)
	wantAll(t, s, "a", "1", "b", "1")

	// Nobody took an epoch in between: the old owner still owns.
	b := batchOf(f, "a", "2")
	b.Delete([]byte("b"))
	must(t, s.Apply(t.Context(), b))
	next := acquire(t, s, 1)
	if next.Epoch <= f.Epoch {
		t.Fatalf("epoch %d after %d", next.Epoch, f.Epoch)
	}
	s = reopen(t, s)
	wantAll(t, s, "a", "2")
	if err := s.Apply(t.Context(), batchOf(f, "a", "3")); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("old epoch after reopen: %v, want fenced", err)
	}
	put(t, s, next, "a", "4")
	put(t, s, other, "z", "1")
	wantAll(t, s, "a", "4", "z", "1")
	must(t, s.Close())
	s = reopen(t, s)
	wantAll(t, s, "a", "4", "z", "1")
	must(t, s.Close())
}
