// Package faulty wraps a store and injects faults where a chooser function says so. The chooser alone decides: with a
// deterministic one and a deterministic store below, a run repeats exactly.
//
// Its invariant: no fault breaks the contract of package storage. An injected ErrFenced means that a newer epoch does
// exist, and a batch reported as not applied never appears.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// ErrInjected is returned for the fault NotApplied, and for any fault of a read.
var ErrInjected = errors.New("faulty: injected fault")

// Op names a method of the store or of a snapshot.
type Op uint8

// The operations that can fail. Scan stands for both directions.
const (
	Apply Op = iota
	Acquire
	Get
	Scan
	Snapshot
)

// Call describes one call to the chooser.
type Call struct {
	// Seq numbers the calls of one Store from 1, reads included.
	Seq uint64
	Op  Op
	// Shard is set for Apply and Acquire.
	Shard ids.ShardID
	// Batch is set for Apply; it must not be kept or changed.
	Batch *storage.Batch
}

// Fault is what happens to one call.
type Fault uint8

const (
	// None passes the call on.
	None Fault = iota
	// NotApplied returns ErrInjected; the store below is not called. Reads know only this fault: for them every value
	// but None means it.
	NotApplied
	// UnknownApplied passes the call on and returns storage.ErrUnknown whatever came of it.
	UnknownApplied
	// UnknownNotApplied returns storage.ErrUnknown; the store below is not called.
	UnknownNotApplied
	// Fenced lets another owner take an epoch of the shard. Before an Apply, which is then refused with ErrFenced; after
	// an Acquire, whose epoch is then old when it is returned.
	Fenced
)

// Options configure a Store. The zero value injects nothing.
type Options struct {
	// Choose picks the fault of a call; nil means None. It must be safe for concurrent use if the store is used so.
	Choose func(Call) Fault
	// Delay, if set, runs before Choose: it may wait, or move a simulated clock. An error of it is returned and the call
	// has no effect.
	Delay func(context.Context, Call) error
}

// Store is a storage.Store over another one. Safe for concurrent use.
type Store struct {
	inner storage.Store
	opts  Options
	seq   atomic.Uint64
}

var _ storage.Store = (*Store)(nil)

// New wraps inner. Closing the result closes inner.
func New(inner storage.Store, opts Options) *Store { return &Store{inner: inner, opts: opts} }

// Unwrap is the store below, for what this wrapper leaves out: backup and check.
func (s *Store) Unwrap() storage.Store { return s.inner }

func (s *Store) choose(ctx context.Context, c Call) (Fault, error) {
	c.Seq = s.seq.Add(1)
	if s.opts.Delay != nil {
		if err := s.opts.Delay(ctx, c); err != nil {
			return None, fmt.Errorf("faulty: delay of call %d: %w", c.Seq, err)
		}
	}
	if s.opts.Choose == nil {
		return None, nil
	}
	return s.opts.Choose(c), nil
}

// Acquire implements storage.Store.
func (s *Store) Acquire(ctx context.Context, shard ids.ShardID) (ids.Epoch, error) {
	f, err := s.choose(ctx, Call{Op: Acquire, Shard: shard})
	if err != nil {
		return 0, err
	}
	switch f {
	case None:
		return s.inner.Acquire(ctx, shard)
	case NotApplied:
		return 0, ErrInjected
	case UnknownNotApplied:
		return 0, storage.ErrUnknown
	case UnknownApplied:
		_, err := s.inner.Acquire(ctx, shard)
		return 0, unknown(err)
	case Fenced:
		epoch, err := s.inner.Acquire(ctx, shard)
		if err != nil {
			return 0, err
		}
		if _, err := s.inner.Acquire(ctx, shard); err != nil {
			return 0, fmt.Errorf("faulty: acquire as another owner: %w", err)
		}
		return epoch, nil
	default:
		return 0, noSuch(f)
	}
}

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	f, err := s.choose(ctx, Call{Op: Apply, Shard: b.Fence.Shard, Batch: b})
	if err != nil {
		return err
	}
	switch f {
	case None:
		return s.inner.Apply(ctx, b)
	case NotApplied:
		return ErrInjected
	case UnknownNotApplied:
		return storage.ErrUnknown
	case UnknownApplied:
		return unknown(s.inner.Apply(ctx, b))
	case Fenced:
		if _, err := s.inner.Acquire(ctx, b.Fence.Shard); err != nil {
			return fmt.Errorf("faulty: acquire as another owner: %w", err)
		}
		return s.inner.Apply(ctx, b)
	default:
		return noSuch(f)
	}
}

// unknown hides what came of a call, except that the store is closed, which no network could garble.
func unknown(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return err
	}
	return storage.ErrUnknown
}

func noSuch(f Fault) error { return fmt.Errorf("faulty: no such fault %d", f) }

func (s *Store) read(op Op) error {
	f, err := s.choose(context.Background(), Call{Op: op})
	if err == nil && f != None {
		return ErrInjected
	}
	return err
}

// Get implements storage.Reader.
func (s *Store) Get(key []byte) ([]byte, error) { return reader{s, s.inner}.Get(key) }

// Scan implements storage.Reader.
func (s *Store) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	return reader{s, s.inner}.Scan(start, end, fn)
}

// ScanReverse implements storage.Reader.
func (s *Store) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	return reader{s, s.inner}.ScanReverse(start, end, fn)
}

// Snapshot implements storage.Store. Reads of the snapshot go by the chooser too.
func (s *Store) Snapshot() (storage.Snapshot, error) {
	if err := s.read(Snapshot); err != nil {
		return nil, err
	}
	inner, err := s.inner.Snapshot()
	if err != nil {
		return nil, err
	}
	return snapshot{reader{s, inner}, inner}, nil
}

// Close implements storage.Store; it never fails by injection.
func (s *Store) Close() error { return s.inner.Close() }

type snapshot struct {
	reader
	inner storage.Snapshot
}

func (n snapshot) Close() error { return n.inner.Close() }

type reader struct {
	store *Store
	inner storage.Reader
}

func (r reader) Get(key []byte) ([]byte, error) {
	if err := r.store.read(Get); err != nil {
		return nil, err
	}
	return r.inner.Get(key)
}

func (r reader) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	if err := r.store.read(Scan); err != nil {
		return err
	}
	return r.inner.Scan(start, end, fn)
}

func (r reader) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	if err := r.store.read(Scan); err != nil {
		return err
	}
	return r.inner.ScanReverse(start, end, fn)
}
