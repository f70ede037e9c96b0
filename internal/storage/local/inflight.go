package local

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/perdure/perdure/internal/storage"
)

// inflight knows the keys of the batches that readers of the engine can already see but whose sync is still running. A
// reader picks its state first and then waits for those of them that touch what it read. Readers of other keys wait
// for nothing.
type inflight struct {
	n atomic.Int64 // staged batches, to let readers of a quiet store pass

	mu   sync.Mutex
	keys *btree.BTreeG[inflightKey]
	last uint64
}

// inflightKey borrows the key from the caller of Apply, who waits until it is removed again.
type inflightKey struct {
	key []byte
	of  *staged
}

// staged is a batch between the log's buffer and the disk.
type staged struct {
	seq  uint64
	ops  []storage.Op
	done chan struct{} // closed when the sync has ended, well or not
}

func newInflight() *inflight {
	less := func(a, b inflightKey) bool {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c < 0
		}
		return a.of.seq < b.of.seq
	}
	return &inflight{keys: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// add is called under the gate, before the engine shows the batch to anyone.
func (f *inflight) add(ops []storage.Op) *staged {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	b := &staged{seq: f.last, ops: ops, done: make(chan struct{})}
	for _, op := range ops {
		f.keys.Set(inflightKey{op.Key, b})
	}
	f.n.Add(1)
	return b
}

// remove ends the wait of readers. The outcome must be known to them by then: see Store.fail.
func (f *inflight) remove(b *staged) {
	close(b.done)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range b.ops {
		f.keys.Delete(inflightKey{op.Key, b})
	}
	f.n.Add(-1)
}

// newest is the number of the newest staged batch.
func (f *inflight) newest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// span is a range of keys; point means start alone.
type span struct {
	start, end []byte
	point      bool
}

func (r span) includes(key []byte) bool {
	if r.point {
		return bytes.Equal(key, r.start)
	}
	return r.end == nil || bytes.Compare(key, r.end) < 0
}

// wait returns when no batch up to number limit that touches r is in flight. Waiting for the newest is enough: the log
// is synced in order, so by then every older one is on disk too.
func (f *inflight) wait(r span, limit uint64) {
	if f.n.Load() == 0 {
		return
	}
	if b := f.newestIn(r, limit); b != nil {
		<-b.done
	}
}

func (f *inflight) newestIn(r span, limit uint64) *staged {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest *staged
	f.keys.Ascend(inflightKey{r.start, &staged{}}, func(k inflightKey) bool {
		if !r.includes(k.key) {
			return false
		}
		if k.of.seq <= limit && (newest == nil || k.of.seq > newest.seq) {
			newest = k.of
		}
		return true
	})
	return newest
}
