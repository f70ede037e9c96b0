package namespace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/mem"
)

func open(t testing.TB, store storage.Store) *Registry {
	t.Helper()
	r, err := Open(t.Context(), Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func registration(name string) Registration { return Registration{Name: name, Retention: time.Hour} }

func register(t testing.TB, r *Registry, name string) *Namespace {
	t.Helper()
	n, err := r.Register(t.Context(), registration(name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func names(r *Registry, deleted bool) []string {
	page, _ := r.List("", 1000, deleted)
	var out []string
	for _, n := range page {
		out = append(out, n.Name)
	}
	return out
}

func wantKind(t testing.TB, err error, kind execution.ErrorKind) {
	t.Helper()
	var e *execution.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got error %v, want one of kind %d", err, kind)
	}
}

func TestFirstStartMakesDefaultAndSystem(t *testing.T) {
	store := mem.New(mem.Options{})
	r := open(t, store)
	if diff := cmp.Diff([]string{Default, System}, names(r, true)); diff != "" {
		t.Fatal(diff)
	}
	n, err := r.ByName(Default)
	if err != nil || n.Retention != 24*time.Hour {
		t.Fatalf("default: %+v, %v", n, err)
	}
	if uuid.Validate(r.ClusterID()) != nil {
		t.Fatalf("cluster ID %q", r.ClusterID())
	}

	again := open(t, store.Crash())
	if again.ClusterID() != r.ClusterID() {
		t.Fatalf("the cluster's ID changed from %s to %s", r.ClusterID(), again.ClusterID())
	}
	if m, err := again.ByName(Default); err != nil || m.ID != n.ID {
		t.Fatalf("default after a restart: %+v, %v; want ID %s", m, err, n.ID)
	}
}

func TestDeletedDefaultStaysDeletedAndSystemComesBack(t *testing.T) {
	store := mem.New(mem.Options{})
	r := open(t, store)
	n, err := r.Delete(t.Context(), Default, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(t.Context(), n.ID); err != nil {
		t.Fatal(err)
	}
	system, err := r.Lookup(System)
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := store.Acquire(t.Context(), Shard)
	if err != nil {
		t.Fatal(err)
	}
	b := &storage.Batch{Fence: storage.Fence{Shard: Shard, Epoch: epoch}}
	b.Delete(record.NamespaceKey(system.ID))
	if err := store.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{System}, names(open(t, store), true)); diff != "" {
		t.Fatal(diff)
	}
}

func TestConfiguredNamespacesAndAttributesAreMadeAtEveryStart(t *testing.T) {
	store := mem.New(mem.Options{})
	open(t, store)
	o := Options{
		Store: store, Names: []string{"b", "a", "a"}, DefaultRetention: 2 * time.Hour,
		SearchAttributes: map[string]enumspb.IndexedValueType{"Customer": enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	}
	var before ids.NamespaceID
	for range 2 {
		r, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a", "b", Default, System}, names(r, true)); diff != "" {
			t.Fatal(diff)
		}
		a, _ := r.Lookup("a")
		if before != "" && a.ID != before {
			t.Fatalf("namespace a was made again: %s, then %s", before, a.ID)
		}
		before = a.ID
		if a.Retention != 2*time.Hour {
			t.Errorf("retention %s", a.Retention)
		}
		for name, want := range map[string]bool{"a": true, Default: true, System: false} {
			n, _ := r.Lookup(name)
			if _, ok := n.Attributes["Customer"]; ok != want {
				t.Errorf("%s has Customer: %v, want %v", name, ok, want)
			}
		}
	}
	o.SearchAttributes = map[string]enumspb.IndexedValueType{"WorkflowId": enumspb.INDEXED_VALUE_TYPE_KEYWORD}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("a reserved search attribute in the configuration: %v", err)
	}
	o.SearchAttributes, o.Names = nil, []string{"\xff"}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a name that is not text: %v", err)
	}
}

// Two processes on one store: whoever writes takes the shard, and decides on what the other has written.
func TestFencedWriterReloadsAndDecidesAnew(t *testing.T) {
	store := mem.New(mem.Options{})
	a, b := open(t, store), open(t, store)
	register(t, b, "theirs")
	_, err := a.Register(t.Context(), registration("theirs"))
	wantKind(t, err, execution.AlreadyExists)
	register(t, a, "ours")
	if diff := cmp.Diff([]string{Default, "ours", System, "theirs"}, names(a, true)); diff != "" {
		t.Fatal(diff)
	}
}

func TestEveryOutcomeOfAWrite(t *testing.T) {
	for _, tt := range []struct {
		name    string
		outcome mem.Outcome
		lands   bool
		ok      bool
	}{
		{"not applied", mem.NotApplied, false, false},
		{"unknown, applied", mem.UnknownApplied, false, true},
		{"unknown, not applied", mem.UnknownNotApplied, false, true},
		{"unknown, applied late", mem.UnknownLate, true, true},
		{"unknown, dropped late", mem.UnknownLate, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := mem.Applied
			store := mem.New(mem.Options{
				Choose: func(*storage.Batch) mem.Outcome { o := next; next = mem.Applied; return o },
				Lands:  func(*storage.Batch) bool { return tt.lands },
			})
			r := open(t, store)
			next = tt.outcome
			n, err := r.Register(t.Context(), registration("x"))
			if ok := err == nil; ok != tt.ok {
				t.Fatalf("got error %v, want success %v", err, tt.ok)
			}
			if got, err := r.Lookup("x"); tt.ok && (err != nil || got.ID != n.ID) || !tt.ok && err == nil {
				t.Fatalf("readers see %+v, %v after %+v", got, err, n)
			}
			if diff := cmp.Diff(names(r, true), names(open(t, store), true)); diff != "" {
				t.Fatalf("memory differs from the store: %s", diff)
			}
			register(t, r, "y") // the registry goes on
		})
	}
}

func TestWriterThatNeverHoldsItsFenceGivesUp(t *testing.T) {
	lost := false
	store := mem.New(mem.Options{Choose: func(*storage.Batch) mem.Outcome {
		if lost {
			return mem.UnknownNotApplied
		}
		return mem.Applied
	}})
	r := open(t, store)
	lost = true
	_, err := r.Register(t.Context(), registration("x"))
	wantKind(t, err, execution.Unavailable)
	lost = false
	register(t, r, "x")
}

func TestWaitingWriterCanGiveUp(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	r.writing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Register(ctx, registration("x")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	<-r.writing
}

func TestReadersSeeWholeSetsWhileOthersWrite(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s := r.current.Load()
				if len(s.byName) != len(s.sorted) || len(s.byID) != len(s.sorted) {
					t.Error("a torn set")
					return
				}
			}
		})
	}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 20 {
				register(t, r, fmt.Sprintf("%d-%d", w, i))
			}
		})
	}
	writers.Wait()
	cancel()
	wg.Wait()
	if got := len(names(r, true)); got != 82 {
		t.Errorf("%d namespaces, want 82", got)
	}
}

func TestCorruptRecordsKeepTheRegistryClosed(t *testing.T) {
	good := &Info{ID: ids.NamespaceID(uuid.NewString()), Name: "x", State: enumspb.NAMESPACE_STATE_REGISTERED, Retention: time.Hour}
	other := ids.NamespaceID(uuid.NewString())
	value, err := encode(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, ops := range map[string][]storage.Op{
		"garbage":           {{Key: record.NamespaceKey(good.ID), Value: []byte{version, 0xff}}},
		"a newer version":   {{Key: record.NamespaceKey(good.ID), Value: append([]byte{version + 1}, value[1:]...)}},
		"another's key":     {{Key: record.NamespaceKey(other), Value: value}},
		"a name used twice": {{Key: record.NamespaceKey(good.ID), Value: value}, {Key: record.NamespaceKey(other), Value: renamedID(t, good, other)}},
	} {
		t.Run(name, func(t *testing.T) {
			store := mem.New(mem.Options{})
			epoch, err := store.Acquire(t.Context(), Shard)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Apply(t.Context(), &storage.Batch{Fence: storage.Fence{Shard: Shard, Epoch: epoch}, Ops: ops}); err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), Options{Store: store})
			if corrupt := (*storage.CorruptionError)(nil); !errors.As(err, &corrupt) {
				t.Fatalf("got %v, want a corruption error", err)
			}
		})
	}
}

func renamedID(t *testing.T, info *Info, id ids.NamespaceID) []byte {
	c := info.clone()
	c.ID = id
	b, err := encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzDecode(f *testing.F) {
	b, err := encode(&Info{
		ID: ids.NamespaceID(uuid.NewString()), Name: "x", State: enumspb.NAMESPACE_STATE_DELETED, Retention: time.Hour,
		Data: map[string]string{"k": "v"}, BadBinaries: map[string]BadBinary{"b": {Reason: "r", Created: 1}}, ForgetAfter: 7,
		Attributes: map[string]enumspb.IndexedValueType{"A": enumspb.INDEXED_VALUE_TYPE_TEXT},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(info)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := decode(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if once, err := encode(back); err != nil || string(once) != string(again) {
			t.Fatalf("%x then %x, %v", again, once, err)
		}
	})
}

// A random life of a registry, with faults of the store and crashes, against a plain map of what was acknowledged.
func TestAcknowledgedChangesSurvive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		faulty := false
		store := mem.New(mem.Options{
			Choose: func(*storage.Batch) mem.Outcome {
				if !faulty {
					return mem.Applied
				}
				return mem.Outcome(rapid.IntRange(0, int(mem.UnknownLate)).Draw(rt, "outcome"))
			},
			Lands: func(*storage.Batch) bool { return rapid.Bool().Draw(rt, "lands") },
		})
		ctx := t.Context()
		r := open(t, store)
		model := map[string]string{Default: "", System: ""} // name to description
		pick := func() string { return rapid.SampledFrom([]string{"a", "b", "c", Default}).Draw(rt, "name") }
		check := func() {
			faulty = false
			got := map[string]string{}
			page, _ := r.List("", 1000, false)
			for _, n := range page {
				got[n.Name] = n.Description
			}
			if !maps.Equal(got, model) {
				rt.Fatalf("got %v, want %v", got, model)
			}
		}
		// A write that fails may have happened, unless it says why not: then the set is read back after a restart.
		settle := func(err error) {
			var e *execution.Error
			if errors.As(err, &e) && e.Kind != execution.Unavailable {
				return
			}
			faulty = false
			store = store.Crash()
			r = open(t, store)
			clear(model)
			page, _ := r.List("", 1000, false)
			for _, n := range page {
				model[n.Name] = n.Description
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"register": func(rt *rapid.T) {
				name := pick()
				faulty = true
				_, err := r.Register(ctx, registration(name))
				_, exists := model[name]
				switch {
				case err == nil && exists:
					rt.Fatalf("%s was registered twice", name)
				case err == nil:
					model[name] = ""
				default:
					settle(err)
				}
			},
			"describe": func(rt *rapid.T) {
				name, text := pick(), rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "text")
				faulty = true
				if _, err := r.Update(ctx, name, Change{Description: text}); err != nil {
					settle(err)
				} else if _, exists := model[name]; !exists {
					rt.Fatalf("%s was changed but does not exist", name)
				} else {
					model[name] = text
				}
			},
			"delete": func(rt *rapid.T) {
				name := pick()
				faulty = true
				if _, err := r.Delete(ctx, name, "", 0); err != nil {
					settle(err)
				} else if _, exists := model[name]; !exists {
					rt.Fatalf("%s was deleted but does not exist", name)
				} else {
					delete(model, name)
				}
			},
			"crash": func(*rapid.T) {
				faulty = false
				store = store.Crash()
				r = open(t, store)
			},
			"": func(*rapid.T) { check() },
		})
	})
}

func TestListGoesOnWhereThePageEnded(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	for _, name := range []string{"a", "b", "c", "d"} {
		register(t, r, name)
	}
	page, more := r.List("", 3, false)
	if len(page) != 3 || !more || page[2].Name != "c" {
		t.Fatalf("first page %v, more %v", page, more)
	}
	register(t, r, "bb") // before the place
	if _, err := r.Delete(t.Context(), "c", "", 0); err != nil {
		t.Fatal(err)
	}
	page, more = r.List("c", 10, false)
	var got []string
	for _, n := range page {
		got = append(got, n.Name)
	}
	if want := []string{"d", Default, System}; !slices.Equal(got, want) || more {
		t.Fatalf("second page %v, more %v; want %v", got, more, want)
	}
}
