package record_test

import (
	"bytes"
	"cmp"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// jobs are IDs of any bytes, zeros among them.
func jobs() *rapid.Generator[ids.BatchID] {
	return rapid.Custom(func(t *rapid.T) ids.BatchID {
		return ids.BatchID(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 0, 5).Draw(t, "job"))
	})
}

func TestBatchRowsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := randomOne[record.BatchJob](t)
		if got, err := record.DecodeBatchJob(j.Encode()); err != nil || *got != *j {
			t.Fatalf("%+v comes back as %+v: %v", j, got, err)
		}
		var targets []record.BatchTarget
		for range rapid.IntRange(0, 3).Draw(t, "targets") {
			targets = append(targets, *randomOne[record.BatchTarget](t))
		}
		if got, err := record.DecodeBatchTargets(record.EncodeBatchTargets(targets)); err != nil || !reflect.DeepEqual(got, targets) {
			t.Fatalf("%+v come back as %+v: %v", targets, got, err)
		}
	})
}

func TestBatchKeysComeBack(t *testing.T) {
	const ns = ids.NamespaceID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	rapid.Check(t, func(t *rapid.T) {
		job, n := jobs().Draw(t, "job"), rapid.Int64Range(0, math.MaxInt64).Draw(t, "number")
		if got, err := record.ParseBatchJobKey(record.BatchJobKey(ns, job)); err != nil || got != job {
			t.Fatalf("job %q comes back as %q: %v", job, got, err)
		}
		if first, err := record.ParseBatchTargetsKey(record.BatchTargetsKey(ns, job, n)); err != nil || first != n {
			t.Fatalf("target %d comes back as %d: %v", n, first, err)
		}
		start, got, err := record.ParseBatchOrderKey(record.BatchOrderKey(ns, clock.Nanos(n), job))
		if err != nil || got != job || start != clock.Nanos(n) {
			t.Fatalf("job %q of %d comes back as %q of %d: %v", job, n, got, start, err)
		}
		for _, key := range [][]byte{
			record.BatchJobKey(ns, job), record.BatchRequestKey(ns, job), record.BatchTargetsKey(ns, job, n), record.BatchOrderKey(ns, clock.Nanos(n), job),
		} {
			if got, err := record.BatchNamespace(key); err != nil || got != ns || !bytes.HasPrefix(key, record.BatchPrefix(ns)) {
				t.Fatalf("key %x is of namespace %q: %v", key, got, err)
			}
		}
	})
}

// TestBatchTargetsDoNotMix: what is read below one job's prefix belongs to it, whatever other jobs are called.
func TestBatchTargetsDoNotMix(t *testing.T) {
	const ns = ids.NamespaceID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	rapid.Check(t, func(t *rapid.T) {
		a, b := jobs().Draw(t, "a"), jobs().Draw(t, "b")
		if below := bytes.HasPrefix(record.BatchTargetsKey(ns, b, 7), record.BatchTargetsPrefix(ns, a)); below != (a == b) {
			t.Fatalf("a row of %q below the prefix of %q: %t", b, a, below)
		}
	})
}

func TestBatchOrderIsNewestFirst(t *testing.T) {
	const ns = ids.NamespaceID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Range(0, math.MaxInt64).Draw(t, "a"), rapid.Int64Range(0, math.MaxInt64).Draw(t, "b")
		x, y := record.BatchOrderKey(ns, clock.Nanos(a), jobs().Draw(t, "job a")), record.BatchOrderKey(ns, clock.Nanos(b), jobs().Draw(t, "job b"))
		if a != b && bytes.Compare(x, y) != cmp.Compare(b, a) {
			t.Fatalf("jobs of %d and %d are out of order", a, b)
		}
	})
}

func TestBatchKeysOfOtherKindsAreRefused(t *testing.T) {
	const ns = ids.NamespaceID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	job := record.BatchJobKey(ns, "job")
	for what, key := range map[string][]byte{
		"a request": record.BatchRequestKey(ns, "job"), "an empty key": nil, "a namespace": record.NamespaceKey(ns), "half a key": job[:len(job)-1],
		"a key with more behind it": append(bytes.Clone(job), 0),
	} {
		if got, err := record.ParseBatchJobKey(key); err == nil {
			t.Errorf("%s is taken for job %q", what, got)
		}
	}
	if _, err := record.BatchNamespace(record.NamespaceKey(ns)); err == nil {
		t.Error("a namespace's key is taken for a batch job's")
	}
}
