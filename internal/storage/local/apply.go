package local

import (
	"context"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// MaxBatchBytes bounds the keys and values of one batch. Larger ones are refused.
const MaxBatchBytes = 256 << 20

// Apply implements storage.Store. Concurrent calls share syncs of the log.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	if err := s.calls.enter(); err != nil {
		return err
	}
	defer s.calls.leave()
	if err := s.apply(ctx, b); err != nil {
		return fmt.Errorf("apply batch of shard %d epoch %d: %w", b.Fence.Shard, b.Fence.Epoch, err)
	}
	return nil
}

func (s *Store) apply(ctx context.Context, b *storage.Batch) error {
	pb, err := s.encode(b.Ops)
	if err != nil {
		return err
	}
	write, err := s.stage(ctx, pb, b.Ops, func() error { return s.checkFence(b.Fence) })
	if err != nil {
		return err
	}
	return s.await(write)
}

// encode builds Pebble's form of a batch before the gate is taken: it is most of the work.
func (s *Store) encode(ops []storage.Op) (*pebble.Batch, error) {
	size := 0
	for _, op := range ops {
		size += len(op.Key) + len(op.Value) + 16 // kind and two lengths, rounded up
	}
	if size > MaxBatchBytes {
		return nil, fmt.Errorf("batch of %d bytes is larger than %d", size, MaxBatchBytes)
	}
	pb := s.db.NewBatchWithSize(batchHeader + 2 + markBytes + size)
	if len(ops) == 0 {
		return pb, nil
	}
	if err := s.mark(pb); err != nil {
		return nil, err
	}
	for _, op := range ops {
		var d *pebble.DeferredBatchOp
		if op.Delete {
			d = pb.DeleteDeferred(1 + len(op.Key))
		} else {
			d = pb.SetDeferred(1+len(op.Key), len(op.Value))
			copy(d.Value, op.Value)
		}
		d.Key[0] = userSpace
		copy(d.Key[1:], op.Key)
		if err := d.Finish(); err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
	}
	return pb, nil
}

// mark puts the synced mark into a batch, as its first op: see verify.go. It may be older than the batch by the time
// that is written, which makes it say less but nothing wrong.
func (s *Store) mark(pb *pebble.Batch) error {
	return pb.LogData(markData(s.synced.Load()), nil)
}

// raiseSynced records that every batch before sequence number next is on disk.
func (s *Store) raiseSynced(next uint64) {
	for old := s.synced.Load(); old < next; old = s.synced.Load() {
		if s.synced.CompareAndSwap(old, next) {
			return
		}
	}
}

// checkFence wants the gate held.
func (s *Store) checkFence(f storage.Fence) error {
	switch current := s.epochs[f.Shard]; {
	case f.Epoch == 0 || f.Epoch > current:
		return fmt.Errorf("epoch was never acquired, the newest is %d", current)
	case f.Epoch < current:
		return storage.ErrFenced
	}
	return nil
}

// write is a batch in the log that may not be on disk yet.
type write struct {
	batch  *pebble.Batch
	staged *staged // nil if nobody has to wait
}

// stage puts pb into the log under the gate, if admit agrees. An error that is not storage.ErrUnknown means that the
// log never saw it.
func (s *Store) stage(ctx context.Context, pb *pebble.Batch, ops []storage.Op, admit func() error) (write, error) {
	if err := s.lock(ctx); err != nil {
		return write{}, err
	}
	defer s.unlock()
	if err := s.failure(); err != nil {
		return write{}, err
	}
	if err := admit(); err != nil {
		return write{}, err
	}
	if pb.Empty() {
		return write{batch: pb}, nil
	}
	if s.opts.SyncOff {
		return write{batch: pb}, s.enqueue(func() error { return s.db.Apply(pb, pebble.NoSync) })
	}
	w := write{batch: pb, staged: s.inflight.add(ops)}
	err := s.enqueue(func() error { return s.db.ApplyNoSyncWait(pb, pebble.Sync) })
	if err != nil {
		s.inflight.remove(w.staged)
	}
	return w, err
}

// enqueue calls into Pebble, which panics when the log has failed under it. It may then hold its own locks for ever,
// so nobody may come after; the batch may have reached the disk.
func (s *Store) enqueue(call func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if bug, ok := r.(runtime.Error); ok {
			panic(bug)
		}
		s.wedged = true
		cause := fmt.Errorf("write log: %v", r)
		s.fail(cause)
		err = fmt.Errorf("%w: %w", storage.ErrUnknown, cause)
	}()
	return call()
}

// await waits for the sync that covers w.
func (s *Store) await(w write) error {
	if w.staged == nil {
		return w.batch.Close()
	}
	if err := w.batch.SyncWait(); err != nil {
		cause := fmt.Errorf("sync log: %w", err)
		s.fail(cause) // before remove: a reader let go by it looks at failed next
		s.inflight.remove(w.staged)
		return fmt.Errorf("%w: %w", storage.ErrUnknown, cause)
	}
	s.raiseSynced(uint64(w.batch.SeqNum()) + uint64(w.batch.Count()))
	s.inflight.remove(w.staged)
	return w.batch.Close()
}

// Acquire implements storage.Store. The older epoch is fenced from the moment its successor is in the log's buffer;
// the caller hears of it when the log is synced up to there, and so is every older batch of the shard.
func (s *Store) Acquire(ctx context.Context, shard ids.ShardID) (ids.Epoch, error) {
	if err := s.calls.enter(); err != nil {
		return 0, err
	}
	defer s.calls.leave()
	epoch, err := s.acquire(ctx, shard)
	if err != nil {
		return 0, fmt.Errorf("acquire shard %d: %w", shard, err)
	}
	return epoch, nil
}

func (s *Store) acquire(ctx context.Context, shard ids.ShardID) (next ids.Epoch, err error) {
	pb := s.db.NewBatch()
	write, err := s.stage(ctx, pb, nil, func() error {
		next = s.epochs[shard] + 1
		if err := s.mark(pb); err != nil {
			return err
		}
		if err := pb.Set(epochKey(shard), epochValue(next), nil); err != nil {
			return err
		}
		if s.format < Format { // nobody writes without an epoch; who only reads leaves the store to earlier builds
			if err := pb.Set(formatKey(), formatValue(Format), nil); err != nil {
				return err
			}
		}
		s.epochs[shard] = next // at worst an epoch that nobody gets
		s.format = Format
		return nil
	})
	if err != nil {
		return 0, err
	}
	return next, s.await(write)
}
