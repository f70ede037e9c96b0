package local

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdure/perdure/internal/storage"
)

// newest is the limit of a reader that may have seen every batch staged so far.
const newest = math.MaxUint64

// Get implements storage.Reader.
func (s *Store) Get(key []byte) ([]byte, error) {
	if err := s.calls.enter(); err != nil {
		return nil, err
	}
	defer s.calls.leave()
	return s.get(s.db, newest, key)
}

// Scan implements storage.Reader.
func (s *Store) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	return s.scanStore(scan{start, end, false, fn})
}

// ScanReverse implements storage.Reader.
func (s *Store) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	return s.scanStore(scan{start, end, true, fn})
}

func (s *Store) scanStore(c scan) error {
	if err := s.calls.enter(); err != nil {
		return err
	}
	defer s.calls.leave()
	return s.scan(c, newest, iterators{
		open:  func(o *pebble.IterOptions) (*pebble.Iterator, error) { return s.db.NewIter(o) },
		close: func(it *pebble.Iterator, _ bool) error { return it.Close() },
	})
}

// settled returns once what a reader saw in r, among batches up to number limit, is on disk.
func (s *Store) settled(r span, limit uint64) error {
	s.inflight.wait(r, limit)
	return s.failure()
}

func (s *Store) get(from pebble.Reader, limit uint64, key []byte) ([]byte, error) {
	value, closer, err := from.Get(userKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		if err := s.settled(span{start: key, point: true}, limit); err != nil {
			return nil, err
		}
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get: %w", s.corrupt(err))
	}
	own := make([]byte, len(value))
	copy(own, value)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("get: %w", s.corrupt(err))
	}
	if err := s.settled(span{start: key, point: true}, limit); err != nil {
		return nil, err
	}
	return own, nil
}

// scan is one call of Scan or ScanReverse.
type scan struct {
	start, end []byte
	reverse    bool
	fn         func(key, value []byte) bool
}

// iterators is where a scan has its iterator from. It is told whether the scan ended well.
type iterators struct {
	open  func(*pebble.IterOptions) (*pebble.Iterator, error)
	close func(it *pebble.Iterator, well bool) error
}

func (s *Store) scan(c scan, limit uint64, from iterators) (err error) {
	if c.end != nil && bytes.Compare(c.start, c.end) >= 0 {
		return nil
	}
	it, err := from.open(userBounds(c.start, c.end))
	if err != nil {
		return fmt.Errorf("scan: %w", s.corrupt(err))
	}
	well := false
	defer func() { // also when fn panics
		if closeErr := from.close(it, well); closeErr != nil && err == nil {
			err = fmt.Errorf("scan: %w", s.corrupt(closeErr))
		}
	}()
	// The iterator has its state; fn must not hear of it before it is durable.
	if err := s.settled(span{start: c.start, end: c.end}, limit); err != nil {
		return err
	}
	if err := c.run(it); err != nil {
		return fmt.Errorf("scan: %w", s.corrupt(err))
	}
	well = true
	return nil
}

func (c scan) run(it *pebble.Iterator) error {
	first, next := it.First, it.Next
	if c.reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if !c.fn(it.Key()[1:], value) {
			return nil
		}
	}
	return it.Error()
}

// Snapshot implements storage.Store. An open snapshot keeps the space of what was deleted or overwritten since: close
// it soon.
func (s *Store) Snapshot() (storage.Snapshot, error) {
	if err := s.calls.enter(); err != nil {
		return nil, err
	}
	defer s.calls.leave()
	if err := s.failure(); err != nil {
		return nil, err
	}
	n := &snapshot{store: s, state: s.db.NewSnapshot()}
	n.limit = s.inflight.newest()
	s.snapsMu.Lock()
	defer s.snapsMu.Unlock()
	s.snaps[n] = struct{}{}
	return n, nil
}

func (s *Store) closeSnapshots() {
	s.snapsMu.Lock()
	open := s.snaps
	s.snaps = make(map[*snapshot]struct{})
	s.snapsMu.Unlock()
	for n := range open {
		_ = n.end() // it only reports a state that is already closed
	}
}

// snapshot reads a frozen state of the engine. Batches that were in flight when it was taken are waited for by those
// reads that meet them.
type snapshot struct {
	store *Store
	limit uint64

	mu    sync.RWMutex
	state *pebble.Snapshot // nil once closed

	// spare is an iterator that no scan has now, while there is a state: to make one costs more than a short scan with it.
	spare atomic.Pointer[pebble.Iterator]
}

func (n *snapshot) Get(key []byte) ([]byte, error) {
	if err := n.store.calls.enter(); err != nil {
		return nil, err
	}
	defer n.store.calls.leave()
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.state == nil {
		return nil, storage.ErrClosed
	}
	return n.store.get(n.state, n.limit, key)
}

func (n *snapshot) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	return n.scan(scan{start, end, false, fn})
}

func (n *snapshot) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	return n.scan(scan{start, end, true, fn})
}

func (n *snapshot) scan(c scan) error {
	if err := n.store.calls.enter(); err != nil {
		return err
	}
	defer n.store.calls.leave()
	return n.store.scan(c, n.limit, iterators{n.borrow, n.giveBack})
}

// borrow takes the spare iterator or makes one, which outlives the snapshot if that is closed during a scan.
func (n *snapshot) borrow(o *pebble.IterOptions) (*pebble.Iterator, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.state == nil {
		return nil, storage.ErrClosed
	}
	if it := n.spare.Swap(nil); it != nil {
		it.SetBounds(o.LowerBound, o.UpperBound)
		return it, nil
	}
	return n.state.NewIter(o)
}

func (n *snapshot) giveBack(it *pebble.Iterator, well bool) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if well && n.state != nil {
		it = n.spare.Swap(it)
	}
	return closeIterator(it)
}

func closeIterator(it *pebble.Iterator) error {
	if it == nil {
		return nil
	}
	return it.Close()
}

func (n *snapshot) Close() error {
	n.store.snapsMu.Lock()
	delete(n.store.snaps, n)
	n.store.snapsMu.Unlock()
	return n.end()
}

func (n *snapshot) end() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == nil {
		return nil
	}
	err := errors.Join(closeIterator(n.spare.Swap(nil)), n.state.Close())
	n.state = nil
	return err
}
