package namespace

import (
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/storage/mem"
)

func TestDeleteTellsWhoeverPurges(t *testing.T) {
	store := mem.New(mem.Options{})
	var told []*Namespace
	r, err := Open(t.Context(), Options{Store: store, OnDelete: func(n *Namespace) { told = append(told, n) }})
	if err != nil {
		t.Fatal(err)
	}
	n := register(t, r, "x")
	gone, err := r.Delete(t.Context(), "x", "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].ID != n.ID || gone.ID != n.ID {
		t.Fatalf("told of %v", told)
	}
	if want := "x-deleted-" + string(n.ID[:5]); gone.Name != want {
		t.Errorf("new name %q, want %q", gone.Name, want)
	}
	if _, ok := r.resolve("x"); ok {
		t.Error("the old name still resolves")
	}
	if _, ok := r.resolve(gone.Name); ok {
		t.Error("a deleted namespace can be named by commands")
	}
	if core, err := r.ByID(n.ID); err != nil || core.Name != gone.Name {
		t.Errorf("executions to be purged cannot find their namespace: %v, %v", core, err)
	}
	register(t, r, "x") // the name is free

	again := open(t, store.Crash())
	if left := again.Deleted(); len(left) != 1 || left[0].ID != n.ID || left[0].ForgetAfter < left[0].Created.Add(time.Minute) {
		t.Fatalf("after a crash, to be purged: %v", left)
	}
	if err := again.Forget(t.Context(), n.ID); err != nil {
		t.Fatal(err)
	}
	if left := again.Deleted(); len(left) != 0 {
		t.Errorf("forgotten, yet there: %v", left)
	}
	if err := again.Forget(t.Context(), n.ID); err != nil {
		t.Errorf("forgetting twice: %v", err)
	}
	_, err = again.LookupID(n.ID)
	wantKind(t, err, execution.NotFound)
}

func TestDeleteAgainChangesNothing(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	register(t, r, "x")
	once, err := r.Delete(t.Context(), "x", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := r.Delete(t.Context(), "", once.ID, time.Hour)
	if err != nil || twice.Name != once.Name || twice.ForgetAfter != once.ForgetAfter {
		t.Fatalf("first %+v, then %+v, %v", once.Info, twice.Info, err)
	}
}

func TestDeletedNameNeverClashes(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	n := register(t, r, "x")
	for length := 5; length <= len(n.ID); length++ {
		register(t, r, "x-deleted-"+string(n.ID[:length]))
	}
	gone, err := r.Delete(t.Context(), "x", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Lookup(gone.Name); err != nil || got.ID != n.ID {
		t.Fatalf("%s belongs to %v, %v", gone.Name, got, err)
	}
}

func TestForgetWantsADeletedNamespace(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	wantKind(t, r.Forget(t.Context(), register(t, r, "x").ID), execution.FailedPrecondition)
}

func TestStateOnlyMovesForward(t *testing.T) {
	const (
		registered = enumspb.NAMESPACE_STATE_REGISTERED
		deprecated = enumspb.NAMESPACE_STATE_DEPRECATED
		deleted    = enumspb.NAMESPACE_STATE_DELETED
	)
	for _, tt := range []struct {
		from, to enumspb.NamespaceState
		ok       bool
	}{
		{registered, registered, true}, {registered, deprecated, true}, {registered, deleted, true},
		{deprecated, registered, false}, {deprecated, deprecated, true}, {deprecated, deleted, true},
		{deleted, registered, false}, {deleted, deprecated, false}, {deleted, deleted, true}, {registered, 9, false},
	} {
		t.Run(tt.from.String()+" to "+tt.to.String(), func(t *testing.T) {
			r := open(t, mem.New(mem.Options{}))
			register(t, r, "x")
			if _, err := r.Update(t.Context(), "x", Change{State: tt.from}); err != nil {
				t.Fatal(err)
			}
			n, err := r.Update(t.Context(), "x", Change{State: tt.to, Description: "changed"})
			if tt.ok && (err != nil || n.State != tt.to) {
				t.Fatalf("got %v, %v", n, err)
			}
			if !tt.ok {
				wantKind(t, err, execution.InvalidArgument)
				if n, _ := r.Lookup("x"); n.State != tt.from || n.Description != "" {
					t.Fatalf("a refused update left %+v", n.Info)
				}
			}
		})
	}
	r := open(t, mem.New(mem.Options{}))
	_, err := r.Update(t.Context(), System, Change{State: deleted})
	wantKind(t, err, execution.FailedPrecondition)
}

func TestBadBinaries(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	register(t, r, "x")
	ctx := t.Context()
	n, err := r.Update(ctx, "x", Change{BadBinaries: map[string]BadBinary{"one": {Reason: "slow"}}})
	if err != nil || n.BadBinaries["one"].Reason != "slow" || n.BadBinaries["one"].Created == 0 {
		t.Fatalf("%+v, %v", n, err)
	}
	if n, err = r.Update(ctx, "x", Change{BadBinaries: map[string]BadBinary{"two": {}}}); err != nil || len(n.BadBinaries) != 2 {
		t.Fatalf("not merged: %+v, %v", n, err)
	}
	if n, err = r.Update(ctx, "x", Change{DeleteBadBinary: "one"}); err != nil || len(n.BadBinaries) != 1 {
		t.Fatalf("not deleted: %+v, %v", n, err)
	}
	_, err = r.Update(ctx, "x", Change{DeleteBadBinary: "one"})
	wantKind(t, err, execution.InvalidArgument)
	many := map[string]BadBinary{}
	for _, c := range "abcdefghij" {
		many[string(c)] = BadBinary{}
	}
	_, err = r.Update(ctx, "x", Change{BadBinaries: many})
	wantKind(t, err, execution.InvalidArgument)
}

func TestRegistrationIsChecked(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	for _, tt := range []struct {
		name string
		g    Registration
		want string
	}{
		{"no name", registration(""), "Namespace not set on request."},
		{"long name", registration(strings.Repeat("n", MaxName+1)), "Namespace length exceeds limit."},
		{"no retention", Registration{Name: "x"}, "A valid retention period is not set on request."},
		{"short retention", Registration{Name: "x", Retention: MinRetention - 1}, "A valid retention period is not set on request."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Register(t.Context(), tt.g)
			wantKind(t, err, execution.InvalidArgument)
			if err.Error() != tt.want {
				t.Errorf("got %q, want %q", err, tt.want)
			}
		})
	}
	register(t, r, strings.Repeat("n", MaxName))
	n, err := r.Register(t.Context(), Registration{Name: "long", Retention: 1<<63 - 1})
	if err != nil || n.Retention != MaxRetention {
		t.Errorf("retention %v, %v; want it cut to %s", n, err, MaxRetention)
	}
}

func TestSnapshotsDoNotChangeUnderReaders(t *testing.T) {
	r := open(t, mem.New(mem.Options{}))
	data := map[string]string{"k": "v"}
	g := registration("x")
	g.Data = data
	if _, err := r.Register(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	before, _ := r.Lookup("x")
	data["k"] = "changed by the caller"
	if _, err := r.Update(t.Context(), "x", Change{Data: map[string]string{"k": "w", "l": "m"}}); err != nil {
		t.Fatal(err)
	}
	if before.Data["k"] != "v" || len(before.Data) != 1 {
		t.Errorf("a reader's view became %v", before.Data)
	}
	if after, _ := r.Lookup("x"); after.Data["k"] != "w" || after.Data["l"] != "m" {
		t.Errorf("new readers see %v", after.Data)
	}
}
