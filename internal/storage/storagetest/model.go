package storagetest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// testModel runs random calls against the store and against a map.
func testModel(t *testing.T, open Open, reopen Reopen) {
	rapid.Check(t, func(r *rapid.T) {
		m := &machine{t: t, reopen: reopen, store: open(t), model: map[string]string{}, epochs: map[ids.ShardID]ids.Epoch{}}
		defer func() { must(t, m.store.Close()) }()
		r.Repeat(map[string]func(*rapid.T){
			"":             m.compare,
			"apply":        m.apply,
			"applyFenced":  m.applyFenced,
			"acquire":      m.acquire,
			"get":          m.get,
			"scan":         m.scan,
			"takeSnapshot": m.takeSnapshot,
			"readSnapshot": m.readSnapshot,
			"dropSnapshot": m.dropSnapshot,
			"reopen":       m.reopenStore,
		})
	})
}

type machine struct {
	t      *testing.T
	reopen Reopen
	store  storage.Store
	model  map[string]string
	epochs map[ids.ShardID]ids.Epoch
	snaps  []frozen
}

type frozen struct {
	snap  storage.Snapshot
	model map[string]string
}

// keys are short and from few letters, so that they meet, nest and touch the ends of the key space.
var keys = rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0x01, 'a', 'b', 0xff}), 0, 3)

var shards = rapid.Uint32Range(0, 2)

func (m *machine) batch(r *rapid.T, f storage.Fence) *storage.Batch {
	b := &storage.Batch{Fence: f}
	for range rapid.IntRange(0, 6).Draw(r, "ops") {
		key := keys.Draw(r, "key")
		if rapid.Bool().Draw(r, "delete") {
			b.Delete(key)
		} else {
			b.Set(key, rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(r, "value"))
		}
	}
	return b
}

func (m *machine) apply(r *rapid.T) {
	shard := ids.ShardID(shards.Draw(r, "shard"))
	if m.epochs[shard] == 0 {
		r.Skip("nobody owns the shard")
	}
	b := m.batch(r, storage.Fence{Shard: shard, Epoch: m.epochs[shard]})
	if err := m.store.Apply(m.t.Context(), b); err != nil {
		r.Fatalf("apply: %v", err)
	}
	for _, op := range b.Ops {
		if op.Delete {
			delete(m.model, string(op.Key))
		} else {
			m.model[string(op.Key)] = string(op.Value)
		}
	}
}

func (m *machine) applyFenced(r *rapid.T) {
	shard := ids.ShardID(shards.Draw(r, "shard"))
	if m.epochs[shard] < 2 {
		r.Skip("no old epoch yet")
	}
	b := m.batch(r, storage.Fence{Shard: shard, Epoch: m.epochs[shard] - 1})
	if err := m.store.Apply(m.t.Context(), b); !errors.Is(err, storage.ErrFenced) {
		r.Fatalf("apply: %v, want fenced", err)
	}
}

func (m *machine) acquire(r *rapid.T) {
	shard := ids.ShardID(shards.Draw(r, "shard"))
	epoch, err := m.store.Acquire(m.t.Context(), shard)
	if err != nil || epoch <= m.epochs[shard] {
		r.Fatalf("acquire: %d after %d, %v", epoch, m.epochs[shard], err)
	}
	m.epochs[shard] = epoch
}

func (m *machine) get(r *rapid.T) { compareGet(r, m.store, m.model) }

func (m *machine) scan(r *rapid.T) { compareScan(r, m.store, m.model) }

func (m *machine) takeSnapshot(r *rapid.T) {
	if len(m.snaps) == 3 {
		r.Skip("enough snapshots")
	}
	snap, err := m.store.Snapshot()
	if err != nil {
		r.Fatalf("snapshot: %v", err)
	}
	m.snaps = append(m.snaps, frozen{snap, maps.Clone(m.model)})
}

func (m *machine) pick(r *rapid.T) int {
	if len(m.snaps) == 0 {
		r.Skip("no snapshot")
	}
	return rapid.IntRange(0, len(m.snaps)-1).Draw(r, "snapshot")
}

func (m *machine) readSnapshot(r *rapid.T) {
	f := m.snaps[m.pick(r)]
	compareGet(r, f.snap, f.model)
	compareScan(r, f.snap, f.model)
}

func (m *machine) dropSnapshot(r *rapid.T) {
	i := m.pick(r)
	if err := m.snaps[i].snap.Close(); err != nil {
		r.Fatalf("close snapshot: %v", err)
	}
	m.snaps = slices.Delete(m.snaps, i, i+1)
}

func (m *machine) reopenStore(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "really") != 0 {
		r.Skip("reopening is slow")
	}
	m.snaps = nil // they end with their store
	m.store = m.reopen(m.t, m.store)
}

// compare runs after each call.
func (m *machine) compare(r *rapid.T) {
	keys := slices.Sorted(maps.Keys(m.model))
	i := 0
	if err := m.store.Scan(nil, nil, func(k, v []byte) bool {
		if i >= len(keys) || keys[i] != string(k) || m.model[keys[i]] != string(v) {
			r.Fatalf("entry %d is %q: %q, want %q of %q", i, k, v, keys, m.model)
		}
		i++
		return true
	}); err != nil {
		r.Fatalf("scan: %v", err)
	}
	if i != len(keys) {
		r.Fatalf("%d entries, want %d", i, len(keys))
	}
}

func compareGet(r *rapid.T, from storage.Reader, model map[string]string) {
	key := keys.Draw(r, "key")
	got, err := from.Get(key)
	want, ok := model[string(key)]
	if !ok && errors.Is(err, storage.ErrNotFound) {
		return
	}
	if !ok || err != nil || string(got) != want {
		r.Fatalf("get %q: %q, %v, want %q (there: %t)", key, got, err, want, ok)
	}
}

func compareScan(r *rapid.T, from storage.Reader, model map[string]string) {
	start, end := keys.Draw(r, "start"), keys.Draw(r, "end")
	if rapid.Bool().Draw(r, "unbounded") {
		end = nil
	}
	reverse, limit := rapid.Bool().Draw(r, "reverse"), rapid.IntRange(1, 8).Draw(r, "limit")
	var want []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if bytes.Compare([]byte(k), start) >= 0 && (end == nil || bytes.Compare([]byte(k), end) < 0) {
			want = append(want, k)
		}
	}
	scan := from.Scan
	if reverse {
		scan = from.ScanReverse
		slices.Reverse(want)
	}
	want = want[:min(limit, len(want))]
	var got []string
	if err := scan(start, end, func(k, v []byte) bool {
		got = append(got, string(k))
		if model[string(k)] != string(v) {
			r.Fatalf("scan: %q has %q, want %q", k, v, model[string(k)])
		}
		return len(got) < limit
	}); err != nil {
		r.Fatalf("scan: %v", err)
	}
	if !slices.Equal(got, want) {
		r.Fatalf("scan %q to %q, reverse %t, limit %d: %q, want %q", start, end, reverse, limit, got, want)
	}
}
