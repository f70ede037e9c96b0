// Package storage is the port between the engine and what makes bytes durable: ordered keys, snapshot reads, and
// atomic batches fenced by an epoch. What keys and values mean is internal/record's business.
//
// Its invariant: what a reader can see is durable. A batch becomes visible only once no crash can take it back, so
// nothing that was told to the outside from a read ever has to be taken back either.
//
// Adapters: mem (crashable memory), local (Pebble, one directory). faulty wraps any of them and injects faults. Every
// adapter passes storagetest.
package storage

import (
	"context"
	"errors"

	"github.com/perdure/perdure/internal/ids"
)

// ErrNotFound is returned by Get when no value is stored under the key.
var ErrNotFound = errors.New("storage: key not found")

// ErrFenced: a newer epoch of the batch's shard exists; the batch was not applied and never will be.
var ErrFenced = errors.New("storage: fenced by a newer epoch")

// ErrUnknown: the batch may or may not have been applied. The shard has to forget its memory, take a new epoch (which
// settles the question) and reload.
var ErrUnknown = errors.New("storage: outcome unknown")

// ErrClosed is returned by every method once the store is closed. A batch that got it was not applied.
var ErrClosed = errors.New("storage: closed")

// CorruptionError reports stored bytes that fail their checksum. Nothing is skipped: the read that met them fails.
type CorruptionError struct {
	Where string // file or key, for the operator
	Err   error
}

func (e *CorruptionError) Error() string {
	return "storage: corrupt data in " + e.Where + ": " + e.Err.Error()
}

// Unwrap is the engine's own error.
func (e *CorruptionError) Unwrap() error { return e.Err }

// Fence ties a batch to one ownership of a shard. The first epoch of a shard is 1: a batch under an epoch that Acquire
// never returned, 0 among them, is refused with an error and not applied.
type Fence struct {
	Shard ids.ShardID
	Epoch ids.Epoch
}

// Op sets Key to Value, or deletes Key. A nil Value with Delete false stores an empty value.
type Op struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// Batch is applied whole or not at all. Ops apply in order: a later one of the same key wins. The store does not keep
// the slices after Apply returns, and never writes to them.
type Batch struct {
	Fence Fence
	Ops   []Op
}

// Set appends a write.
func (b *Batch) Set(key, value []byte) { b.Ops = append(b.Ops, Op{Key: key, Value: value}) }

// Delete appends a deletion; deleting a key that is not there is fine.
func (b *Batch) Delete(key []byte) { b.Ops = append(b.Ops, Op{Key: key, Delete: true}) }

// Reader reads durable state. Keys are any bytes, the empty key among them, ordered as bytes.Compare orders them; a
// start at or above its end is an empty range.
type Reader interface {
	// Get returns the value stored under key, or ErrNotFound. The slice is the caller's to keep and change.
	Get(key []byte) ([]byte, error)
	// Scan calls fn for the keys in [start, end) in ascending order until fn returns false. A nil end means no bound.
	// All calls see one state, whatever is applied meanwhile. The slices are valid only during the call of fn, which
	// must not change them; fn may call the store, but not Close.
	Scan(start, end []byte, fn func(key, value []byte) bool) error
	// ScanReverse is Scan in descending order.
	ScanReverse(start, end []byte, fn func(key, value []byte) bool) error
}

// Snapshot is a Reader frozen at the moment it was taken; it sees every batch whose Apply had returned nil by then.
type Snapshot interface {
	Reader
	// Close releases what the snapshot holds. Call it exactly once; later reads return ErrClosed.
	Close() error
}

// Store is one database. Safe for concurrent use. Reads on the store itself see the newest applied state: each call
// of a Reader method picks its own.
type Store interface {
	Reader
	// Acquire takes a new epoch for the shard, durably: older epochs' batches are refused from now on, and every batch
	// of theirs whose outcome was unknown is settled. Epochs grow but may leave gaps. After an error the old owner may
	// or may not be fenced; call again.
	Acquire(ctx context.Context, shard ids.ShardID) (ids.Epoch, error)
	// Apply makes b durable. nil: applied. ErrFenced, ErrClosed or any error that is not ErrUnknown: not applied.
	// ErrUnknown: may have been applied. Concurrent calls share one sync of the disk where the adapter can. The context
	// bounds waiting for room, never a write that was begun.
	Apply(ctx context.Context, b *Batch) error
	// Snapshot freezes the newest applied state.
	Snapshot() (Snapshot, error)
	// Close waits for running calls and releases the database. Open snapshots end with it.
	Close() error
}

// Backuper is an optional ability: a consistent copy of the running store into dir, which must not exist.
type Backuper interface {
	Backup(ctx context.Context, dir string) error
}

// Checker is an optional ability: reads every block and verifies its checksum.
type Checker interface {
	Check(ctx context.Context) error
}

// PrefixEnd is the first key after all keys that start with prefix, or nil if there is none.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
