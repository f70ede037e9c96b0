package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/faulty"
	"github.com/perdure/perdure/internal/storage/mem"
	"github.com/perdure/perdure/internal/storage/storagetest"
)

func TestWithoutFaultsItIsTheStoreBelow(t *testing.T) {
	open := func(testing.TB) storage.Store { return faulty.New(mem.New(mem.Options{}), faulty.Options{}) }
	reopen := func(_ testing.TB, s storage.Store) storage.Store {
		return faulty.New(s.(*faulty.Store).Unwrap().(*mem.Store).Crash(), faulty.Options{})
	}
	storagetest.Run(t, open, reopen)
}

// once injects f into the next call of op that follows arm.
type once struct {
	op    faulty.Op
	fault faulty.Fault
	armed bool
}

func (o *once) choose(c faulty.Call) faulty.Fault {
	if !o.armed || c.Op != o.op {
		return faulty.None
	}
	o.armed = false
	return o.fault
}

func TestFaultsOfApply(t *testing.T) {
	for _, c := range []struct {
		fault   faulty.Fault
		err     error
		applied bool
		owned   bool // the epoch is still the newest afterwards
	}{
		{faulty.None, nil, true, true},
		{faulty.NotApplied, faulty.ErrInjected, false, true},
		{faulty.UnknownApplied, storage.ErrUnknown, true, true},
		{faulty.UnknownNotApplied, storage.ErrUnknown, false, true},
		{faulty.Fenced, storage.ErrFenced, false, false},
	} {
		o := &once{op: faulty.Apply, fault: c.fault}
		s := faulty.New(mem.New(mem.Options{}), faulty.Options{Choose: o.choose})
		epoch, err := s.Acquire(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		b := &storage.Batch{Fence: storage.Fence{Shard: 1, Epoch: epoch}}
		b.Set([]byte("k"), []byte("v"))
		o.armed = true
		if err := s.Apply(t.Context(), b); !errors.Is(err, c.err) {
			t.Errorf("fault %d: %v, want %v", c.fault, err, c.err)
		}
		_, err = s.Get([]byte("k"))
		if applied := err == nil; applied != c.applied {
			t.Errorf("fault %d: applied %t, want %t", c.fault, applied, c.applied)
		}
		if err := s.Apply(t.Context(), b); (err == nil) != c.owned {
			t.Errorf("fault %d: apply again: %v, want ownership %t", c.fault, err, c.owned)
		}
	}
}

func TestFaultsOfAcquire(t *testing.T) {
	for _, c := range []struct {
		fault faulty.Fault
		err   error
		grew  int // how far epochs moved
	}{
		{faulty.None, nil, 1},
		{faulty.NotApplied, faulty.ErrInjected, 0},
		{faulty.UnknownApplied, storage.ErrUnknown, 1},
		{faulty.UnknownNotApplied, storage.ErrUnknown, 0},
		{faulty.Fenced, nil, 2},
	} {
		o := &once{op: faulty.Acquire, fault: c.fault, armed: true}
		s := faulty.New(mem.New(mem.Options{}), faulty.Options{Choose: o.choose})
		if _, err := s.Acquire(t.Context(), 1); !errors.Is(err, c.err) {
			t.Errorf("fault %d: %v, want %v", c.fault, err, c.err)
		}
		if next, err := s.Acquire(t.Context(), 1); err != nil || int(next) != c.grew+1 {
			t.Errorf("fault %d: next epoch %d, %v, want %d", c.fault, next, err, c.grew+1)
		}
	}
}

func TestReadsFail(t *testing.T) {
	o := &once{fault: faulty.NotApplied}
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{Choose: o.choose})
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	visit := func(_, _ []byte) bool { return true }
	get := func(r storage.Reader) error { _, err := r.Get(nil); return err }
	for name, c := range map[string]struct {
		op   faulty.Op
		call func() error
	}{
		"get":                   {faulty.Get, func() error { return get(s) }},
		"scan":                  {faulty.Scan, func() error { return s.Scan(nil, nil, visit) }},
		"reverse scan":          {faulty.Scan, func() error { return s.ScanReverse(nil, nil, visit) }},
		"snapshot":              {faulty.Snapshot, func() error { _, err := s.Snapshot(); return err }},
		"snapshot get":          {faulty.Get, func() error { return get(snap) }},
		"snapshot scan":         {faulty.Scan, func() error { return snap.Scan(nil, nil, visit) }},
		"snapshot reverse scan": {faulty.Scan, func() error { return snap.ScanReverse(nil, nil, visit) }},
	} {
		o.op, o.armed = c.op, true
		if err := c.call(); !errors.Is(err, faulty.ErrInjected) {
			t.Errorf("%s: %v, want the injected fault", name, err)
		}
		if err := c.call(); errors.Is(err, faulty.ErrInjected) {
			t.Errorf("%s failed twice", name)
		}
	}
}

func TestDelayRunsFirstAndItsErrorStopsTheCall(t *testing.T) {
	var order []string
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{
		Delay: func(ctx context.Context, c faulty.Call) error {
			order = append(order, fmt.Sprintf("delay %d", c.Seq))
			return ctx.Err()
		},
		Choose: func(c faulty.Call) faulty.Fault {
			order = append(order, fmt.Sprintf("choose %d", c.Seq))
			return faulty.None
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Acquire(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want cancelled", err)
	}
	if epoch, err := s.Acquire(t.Context(), 1); err != nil || epoch != 1 {
		t.Fatalf("epoch %d, %v: the stopped call had an effect", epoch, err)
	}
	if want := []string{"delay 1", "delay 2", "choose 2"}; !slices.Equal(order, want) {
		t.Fatalf("%v, want %v", order, want)
	}
}
