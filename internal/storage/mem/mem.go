// Package mem keeps a store in memory: for a development server without a file, and for the simulator, which can make
// it fail and crash. Nothing here starts a goroutine, reads a clock or rolls a die: the same calls with the same
// Options give the same answers.
//
// Its invariant is the one of a disk: what Apply answered with nil survives Crash, what was refused never appears, and
// a batch in limbo appears whole or not at all, at one of the moments named under UnknownLate.
package mem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tidwall/btree"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// ErrInjected is what Apply returns for the outcome NotApplied.
var ErrInjected = errors.New("mem: injected fault: not applied")

// Outcome is what becomes of one batch that passed its fence.
type Outcome uint8

const (
	// Applied is the good end: durable, and Apply returns nil.
	Applied Outcome = iota
	// NotApplied refuses the batch with ErrInjected.
	NotApplied
	// UnknownApplied applies the batch durably and returns ErrUnknown: the answer was lost.
	UnknownApplied
	// UnknownNotApplied drops the batch and returns ErrUnknown: the request was lost.
	UnknownNotApplied
	// UnknownLate returns ErrUnknown and leaves the batch in limbo, seen by no reader, until the next Apply or Acquire
	// of its shard, Crash or Close. Options.Lands then decides whether it is applied.
	UnknownLate
)

// Options configure a store. The zero value never fails.
type Options struct {
	// Choose picks the outcome of each batch that would be applied; nil means Applied. It is called without locks held
	// and must not keep the batch.
	Choose func(b *storage.Batch) Outcome
	// Lands decides the end of a batch in limbo; nil means that it is dropped. Batches are asked for in the order in
	// which they came. It is called under the store's lock: it must not call the store.
	Lands func(b *storage.Batch) bool
}

type item struct{ key, value []byte }

type tree = btree.BTreeG[item]

func newTree() *tree {
	return btree.NewBTreeGOptions(func(a, b item) bool { return bytes.Compare(a.key, b.key) < 0 },
		btree.Options{NoLocks: true})
}

// Store is a storage.Store in memory. Safe for concurrent use.
type Store struct {
	opts Options

	mu     sync.RWMutex
	data   *tree // written under mu only; items are never changed in place
	frozen *tree // a copy of data that readers share until the next write; nil after a write
	epochs map[ids.ShardID]ids.Epoch
	limbo  []*storage.Batch
	closed bool
}

var _ storage.Store = (*Store)(nil)

// New makes an empty store.
func New(opts Options) *Store {
	return &Store{opts: opts, data: newTree(), epochs: make(map[ids.ShardID]ids.Epoch)}
}

// Crash ends s as if its process had died and returns the store that the next process finds, with the same Options.
// Every later call on s, its snapshots among them, returns storage.ErrClosed. Crash may follow Close.
func (s *Store) Crash() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(func(*storage.Batch) bool { return true })
	s.closed = true
	next := New(s.opts)
	next.data = s.data.Copy()
	for shard, epoch := range s.epochs {
		next.epochs[shard] = epoch
	}
	return next
}

// Acquire implements storage.Store.
func (s *Store) Acquire(ctx context.Context, shard ids.ShardID) (ids.Epoch, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("acquire shard %d: %w", shard, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, storage.ErrClosed
	}
	s.settleShard(shard)
	s.epochs[shard]++
	return s.epochs[shard], nil
}

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("apply batch of shard %d: %w", b.Fence.Shard, err)
	}
	if err := s.admits(b.Fence); err != nil {
		return err
	}
	outcome := Applied
	if s.opts.Choose != nil {
		outcome = s.opts.Choose(b)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(b.Fence); err != nil { // Choose may have called Acquire or Close
		return err
	}
	s.settleShard(b.Fence.Shard)
	switch outcome {
	case Applied:
		s.write(b)
		return nil
	case NotApplied:
		return ErrInjected
	case UnknownApplied:
		s.write(b)
		return unknown(b)
	case UnknownNotApplied:
		return unknown(b)
	case UnknownLate:
		s.limbo = append(s.limbo, clone(b))
		return unknown(b)
	default:
		return fmt.Errorf("mem: no such outcome %d", outcome)
	}
}

func unknown(b *storage.Batch) error {
	return fmt.Errorf("apply batch of shard %d: %w", b.Fence.Shard, storage.ErrUnknown)
}

func (s *Store) admits(f storage.Fence) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.check(f)
}

// check wants mu held.
func (s *Store) check(f storage.Fence) error {
	switch current := s.epochs[f.Shard]; {
	case s.closed:
		return storage.ErrClosed
	case f.Epoch == 0 || f.Epoch > current:
		return fmt.Errorf("mem: epoch %d of shard %d was never acquired", f.Epoch, f.Shard)
	case f.Epoch < current:
		return storage.ErrFenced
	}
	return nil
}

// write wants mu held for writing.
func (s *Store) write(b *storage.Batch) {
	if len(b.Ops) == 0 {
		return
	}
	s.frozen = nil
	for _, op := range b.Ops {
		if op.Delete {
			s.data.Delete(item{key: op.Key})
			continue
		}
		s.data.Set(item{key: own(op.Key), value: own(op.Value)})
	}
}

func (s *Store) settleShard(shard ids.ShardID) {
	s.settle(func(b *storage.Batch) bool { return b.Fence.Shard == shard })
}

// settle ends the limbo of the batches that due picks. It wants mu held for writing.
func (s *Store) settle(due func(*storage.Batch) bool) {
	if len(s.limbo) == 0 {
		return
	}
	kept := s.limbo[:0]
	for _, b := range s.limbo {
		switch {
		case !due(b):
			kept = append(kept, b)
		case s.opts.Lands != nil && s.opts.Lands(b):
			s.write(b)
		}
	}
	clear(s.limbo[len(kept):])
	s.limbo = kept
}

// Snapshot implements storage.Store. It costs the same whatever the size of the store.
func (s *Store) Snapshot() (storage.Snapshot, error) {
	t, err := s.freeze()
	if err != nil {
		return nil, err
	}
	return &snapshot{store: s, data: t}, nil
}

// freeze returns a tree that no write reaches. Copying changes the tree it copies, hence the write lock.
func (s *Store) freeze() (*tree, error) {
	s.mu.RLock()
	frozen, closed := s.frozen, s.closed
	s.mu.RUnlock()
	if closed {
		return nil, storage.ErrClosed
	}
	if frozen != nil {
		return frozen, nil
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	if s.frozen == nil {
		s.frozen = s.data.Copy()
	}
	return s.frozen, nil
}

// Get implements storage.Reader.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	return get(s.data, key)
}

// Scan implements storage.Reader.
func (s *Store) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	t, err := s.freeze()
	if err != nil {
		return err
	}
	scan(t, start, end, fn)
	return nil
}

// ScanReverse implements storage.Reader.
func (s *Store) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	t, err := s.freeze()
	if err != nil {
		return err
	}
	scanReverse(t, start, end, fn)
	return nil
}

// Close implements storage.Store. The data stays: Crash gives it to a next store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.settle(func(*storage.Batch) bool { return true })
	s.closed = true
	return nil
}

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

type snapshot struct {
	store *Store

	mu   sync.RWMutex
	data *tree // nil once closed
}

func (n *snapshot) tree() (*tree, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.data == nil || n.store.isClosed() {
		return nil, storage.ErrClosed
	}
	return n.data, nil
}

func (n *snapshot) Get(key []byte) ([]byte, error) {
	t, err := n.tree()
	if err != nil {
		return nil, err
	}
	return get(t, key)
}

func (n *snapshot) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	t, err := n.tree()
	if err != nil {
		return err
	}
	scan(t, start, end, fn)
	return nil
}

func (n *snapshot) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	t, err := n.tree()
	if err != nil {
		return err
	}
	scanReverse(t, start, end, fn)
	return nil
}

func (n *snapshot) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.data = nil
	return nil
}

func get(t *tree, key []byte) ([]byte, error) {
	it, ok := t.Get(item{key: key})
	if !ok {
		return nil, storage.ErrNotFound
	}
	return own(it.value), nil
}

func scan(t *tree, start, end []byte, fn func(key, value []byte) bool) {
	t.Ascend(item{key: start}, func(it item) bool {
		return (end == nil || bytes.Compare(it.key, end) < 0) && fn(it.key, it.value)
	})
}

func scanReverse(t *tree, start, end []byte, fn func(key, value []byte) bool) {
	down := func(it item) bool {
		if end != nil && bytes.Equal(it.key, end) {
			return true // the bound is outside
		}
		return bytes.Compare(it.key, start) >= 0 && fn(it.key, it.value)
	}
	if end == nil {
		t.Reverse(down)
		return
	}
	t.Descend(item{key: end}, down)
}

// own copies b and never returns nil: a stored empty value is empty, not absent. The copy has no room to grow into.
func own(b []byte) []byte {
	c := make([]byte, len(b))
	copy(c, b)
	return c
}

func clone(b *storage.Batch) *storage.Batch {
	c := &storage.Batch{Fence: b.Fence, Ops: slices.Clone(b.Ops)}
	for i := range c.Ops {
		c.Ops[i].Key, c.Ops[i].Value = own(c.Ops[i].Key), own(c.Ops[i].Value)
	}
	return c
}
