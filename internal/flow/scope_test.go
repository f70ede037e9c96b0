package flow

import (
	"reflect"
	"slices"
	"testing"

	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/handlers"
)

type empty struct{}

func (*empty) Run(Context) error { return nil }

func fresh(t *testing.T) (*Run, Context) {
	t.Helper()
	d, err := handlers.Of(reflect.TypeFor[*empty](), Rules)
	if err != nil {
		t.Fatal(err)
	}
	r := New(&Env{}, d, "w", "r")
	return r, &context{s: r.root}
}

func TestScopesCancelInTheOrderInWhichThingsBegan(t *testing.T) {
	r, ctx := fresh(t)
	var got []string
	begin := func(ctx Context, name string) *Future {
		f := r.NewFuture()
		ctx.scope().onCancel(f, func() {
			got = append(got, name)
			f.Resolve(nil, failure.NewCanceledError())
		})
		return f
	}
	below, cancelBelow := WithCancel(ctx)
	apart, cancelApart := WithoutCancel(below)
	deep, _ := WithCancel(below)
	begin(ctx, "a")
	begin(deep, "b")
	begin(ctx, "c")
	begin(below, "d")
	begin(apart, "e")
	begin(ctx, "settled").Resolve(nil, nil)
	done := Done(deep)
	if Canceled(ctx) || Canceled(deep) || done.Ready() {
		t.Fatal("cancelled too early")
	}
	r.root.cancel("all")
	if want := []string{"a", "b", "d", "c"}; !slices.Equal(got, want) {
		t.Errorf("cancelled %v, want %v", got, want)
	}
	if !Canceled(deep) || CancelReason(deep) != "all" || !done.Ready() || Canceled(apart) {
		t.Error("the scopes do not follow their parents")
	}
	begin(deep, "late")
	cancelBelow("again") // nothing is left to do
	cancelApart("apart")
	if want := []string{"a", "b", "d", "c", "late", "e"}; !slices.Equal(got, want) {
		t.Errorf("cancelled %v, want %v", got, want)
	}
	if CancelReason(below) != "all" || CancelReason(apart) != "apart" {
		t.Errorf("reasons %q and %q", CancelReason(below), CancelReason(apart))
	}
}

// A run that lives for long makes many scopes: each handler has one, and each wait with a timeout.
func TestScopesLeaveNothingBehind(t *testing.T) {
	r, ctx := fresh(t)
	for range 100 {
		below, _ := WithCancel(ctx)
		deep, cancel := WithCancel(below)
		f, g := r.NewFuture(), r.NewFuture()
		deep.scope().onCancel(f, func() { f.Resolve(nil, nil) })
		deep.scope().onCancel(g, func() { g.Resolve(nil, nil) })
		f.Resolve(nil, nil)
		cancel("")
		if !g.Ready() {
			t.Fatal("not cancelled")
		}
	}
	if r.root.hooks.next != &r.root.hooks {
		t.Error("the root scope still knows of what has ended")
	}
}

func TestContextsCarryValues(t *testing.T) {
	_, ctx := fresh(t)
	type key struct{}
	a := WithValue(ctx, key{}, 1)
	b := WithValue(a, "other", 2)
	below, _ := WithCancel(b)
	if Value(ctx, key{}) != nil || Value(below, key{}) != 1 || Value(below, "other") != 2 || Value(WithValue(b, key{}, 3), key{}) != 3 || Value(b, key{}) != 1 {
		t.Error("values are lost or leak")
	}
	q := WithReadValue(&reader{}, key{}, 4)
	if Value(q, key{}) != 4 || Value(WithReadValue(ctx, key{}, 5), key{}) != 5 {
		t.Error("values of queries are lost")
	}
}
