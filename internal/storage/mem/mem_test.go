package mem_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/mem"
	"github.com/perdure/perdure/internal/storage/storagetest"
)

func open(testing.TB) storage.Store { return mem.New(mem.Options{}) }

func reopen(_ testing.TB, s storage.Store) storage.Store { return s.(*mem.Store).Crash() }

func TestStore(t *testing.T) { storagetest.Run(t, open, reopen) }

func TestCrash(t *testing.T) {
	storagetest.RunCrash(t, open, func(_ testing.TB, s storage.Store, _ *rand.Rand) storage.Store {
		return s.(*mem.Store).Crash()
	})
}

func Benchmark(b *testing.B) { storagetest.Bench(b, open) }

// script answers each batch with the next outcome.
func script(outcomes ...mem.Outcome) func(*storage.Batch) mem.Outcome {
	return func(*storage.Batch) mem.Outcome {
		next := outcomes[0]
		outcomes = outcomes[1:]
		return next
	}
}

func fence(t *testing.T, s storage.Store, shard ids.ShardID) storage.Fence {
	t.Helper()
	epoch, err := s.Acquire(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	return storage.Fence{Shard: shard, Epoch: epoch}
}

func set(f storage.Fence, key, value string) *storage.Batch {
	b := &storage.Batch{Fence: f}
	b.Set([]byte(key), []byte(value))
	return b
}

// get returns the value, or "-" if there is none.
func get(t *testing.T, r storage.Reader, key string) string {
	t.Helper()
	v, err := r.Get([]byte(key))
	if errors.Is(err, storage.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

func TestOutcomesDecideWhatIsApplied(t *testing.T) {
	for _, c := range []struct {
		name          string
		outcome       mem.Outcome
		lands         bool
		err           error
		before, after string // seen before and after the next epoch is taken
		crashed       string // seen after a crash instead
	}{
		{"applied", mem.Applied, false, nil, "v", "v", "v"},
		{"not applied", mem.NotApplied, true, mem.ErrInjected, "-", "-", "-"},
		{"unknown applied", mem.UnknownApplied, false, storage.ErrUnknown, "v", "v", "v"},
		{"unknown not applied", mem.UnknownNotApplied, true, storage.ErrUnknown, "-", "-", "-"},
		{"late and lands", mem.UnknownLate, true, storage.ErrUnknown, "-", "v", "v"},
		{"late and lost", mem.UnknownLate, false, storage.ErrUnknown, "-", "-", "-"},
	} {
		for _, crash := range []bool{false, true} {
			s := mem.New(mem.Options{Choose: script(c.outcome), Lands: func(*storage.Batch) bool { return c.lands }})
			f := fence(t, s, 1)
			if err := s.Apply(t.Context(), set(f, "k", "v")); !errors.Is(err, c.err) {
				t.Errorf("%s: apply: %v, want %v", c.name, err, c.err)
			}
			if got := get(t, s, "k"); got != c.before {
				t.Errorf("%s: %q at once, want %q", c.name, got, c.before)
			}
			want := c.after
			if crash {
				want, s = c.crashed, s.Crash()
			} else {
				fence(t, s, 2) // another shard settles nothing
				if got := get(t, s, "k"); got != c.before {
					t.Errorf("%s: %q after another shard's epoch, want %q", c.name, got, c.before)
				}
				fence(t, s, 1)
			}
			if got := get(t, s, "k"); got != want {
				t.Errorf("%s (crash %t): %q in the end, want %q", c.name, crash, got, want)
			}
		}
	}
}

func TestLimboEndsBeforeTheNextBatchOfItsShard(t *testing.T) {
	s := mem.New(mem.Options{
		Choose: script(mem.UnknownLate, mem.Applied, mem.Applied),
		Lands:  func(*storage.Batch) bool { return true },
	})
	f, other := fence(t, s, 1), fence(t, s, 2)
	late := set(f, "k", "late")
	if err := s.Apply(t.Context(), late); !errors.Is(err, storage.ErrUnknown) {
		t.Fatal(err)
	}
	copy(late.Ops[0].Value, "XXXX") // the caller may use its slices again
	if err := s.Apply(t.Context(), set(other, "o", "v")); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "k"); got != "-" {
		t.Fatalf("another shard's batch settled it: %q", got)
	}
	if err := s.Apply(t.Context(), set(f, "next", "v")); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "k"); got != "late" {
		t.Fatalf("%q, want the late batch", got)
	}
}

func TestFencedBatchIsNotOfferedToTheChooser(t *testing.T) {
	s := mem.New(mem.Options{Choose: func(*storage.Batch) mem.Outcome {
		t.Error("chooser was asked")
		return mem.Applied
	}})
	old := fence(t, s, 1)
	fence(t, s, 1)
	if err := s.Apply(t.Context(), set(old, "k", "v")); !errors.Is(err, storage.ErrFenced) {
		t.Fatal(err)
	}
}

func TestChooserMayFenceTheBatch(t *testing.T) {
	var s *mem.Store
	s = mem.New(mem.Options{Choose: func(b *storage.Batch) mem.Outcome {
		fence(t, s, b.Fence.Shard)
		return mem.Applied
	}})
	if err := s.Apply(t.Context(), set(fence(t, s, 1), "k", "v")); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("%v, want fenced", err)
	}
	if got := get(t, s, "k"); got != "-" {
		t.Fatalf("fenced batch was applied: %q", got)
	}
}

func TestCrashEndsTheStoreAndItsSnapshots(t *testing.T) {
	s := mem.New(mem.Options{})
	f := fence(t, s, 1)
	if err := s.Apply(t.Context(), set(f, "k", "v")); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	next := s.Crash()
	if err := s.Apply(t.Context(), set(f, "k", "ghost")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("apply after crash: %v", err)
	}
	if _, err := snap.Get([]byte("k")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("snapshot read after crash: %v", err)
	}
	if got := get(t, next, "k"); got != "v" {
		t.Errorf("%q after crash", got)
	}
	if e := fence(t, next, 1).Epoch; e <= f.Epoch {
		t.Errorf("epoch %d after %d", e, f.Epoch)
	}
}
