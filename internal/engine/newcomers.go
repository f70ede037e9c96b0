package engine

import (
	"bytes"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

const (
	newcomerRows  = 2_000    // read at a time: they are added in the shard's loop
	newcomerMax   = 16 << 20 // room for one shard (20 MB); with more than half as many IDs each new workflow costs a read again
	newcomerRetry = time.Second
	growth        = 4 // of the filter when it turns out to be too small
)

// newcomers knows for most workflow IDs that were never used that they are new, so that nothing has to be read: looking for
// what is not there was a seventh of the cost of a start. It is a Bloom filter of the rows that name current runs. It is read
// from the store when the shard has acquired its epoch, and again when too many have come since: rows that are removed stay in it.
type newcomers struct {
	filter   *bloom // nil: not ready
	building *bloom // of what was scanned and of what came meanwhile; nil: nothing is scanned
	first    int    // room of the first filter; that of the last one after a reset
}

// reset forgets who is known; acquired scans anew.
func (n *newcomers) reset(s *Shard) {
	first := max(n.first, s.opts.NewcomerIDs)
	if n.filter != nil {
		first = n.filter.room
	}
	*n = newcomers{first: first}
}

// unheardOf tells whether the row is not in the store for sure.
func (n *newcomers) unheardOf(current []byte) bool {
	return n.filter != nil && !n.filter.has(xxhash.Sum64(current))
}

// met is told of each row that is staged.
func (s *Shard) met(current []byte) {
	n := &s.newcomers
	h := xxhash.Sum64(current)
	if n.building != nil {
		n.building.add(h)
	}
	if n.filter == nil {
		return
	}
	if n.filter.add(h); n.filter.full() && n.building == nil {
		s.scanNewcomers(n.filter.room)
	}
}

// scanNewcomers makes a filter with room for twice as many IDs as there are, room at least. The one at hand serves meanwhile.
func (s *Shard) scanNewcomers(room int) {
	n := &s.newcomers
	if room > newcomerMax {
		s.log.Info("too many workflows to tell new ones from memory", "limit", newcomerMax)
		n.filter, n.building = nil, nil
		return
	}
	n.building = newBloom(room)
	s.when(s.newest(), func() { // what is not in the store yet is not seen, and was told to another filter
		start, end := record.CurrentRange(s.slots())
		s.scanNewcomersFrom(start, end)
	})
}

func (s *Shard) scanNewcomersFrom(start, end []byte) {
	s.job(func(r storage.Reader) func() {
		var hashes []uint64
		var last []byte
		err := r.Scan(start, end, func(key, _ []byte) bool {
			hashes = append(hashes, xxhash.Sum64(key))
			if len(hashes) == newcomerRows {
				last = bytes.Clone(key)
			}
			return last == nil
		})
		return func() { s.scannedNewcomers(hashes, start, last, end, err) }
	})
}

func (s *Shard) scannedNewcomers(hashes []uint64, start, last, end []byte, err error) {
	n := &s.newcomers
	for _, h := range hashes {
		n.building.add(h)
	}
	switch {
	case n.building.count > n.building.room/2:
		s.scanNewcomers(n.building.room * growth)
	case err != nil:
		_ = s.readFailed("read the pointers to current runs", ids.RunKey{}, err)
		s.after(s.now().Add(newcomerRetry), func() { s.scanNewcomersFrom(start, end) })
	case last != nil:
		s.scanNewcomersFrom(append(last, 0), end)
	default:
		n.filter, n.building = n.building, nil
	}
}

// bloom is a Bloom filter over hashes. With ten bits for each of room members one in a hundred strangers passes for a member.
type bloom struct {
	bits        []uint64
	room, count int // count: those that were not taken for members when they were added
}

const (
	bloomBits   = 10 // for each member
	bloomProbes = 7
)

func newBloom(room int) *bloom {
	return &bloom{bits: make([]uint64, room*bloomBits/64+1), room: room}
}

func (b *bloom) full() bool { return b.count > b.room }

// probe visits the bits of a hash until visit is false: two halves of the hash make as many as are wanted.
func (b *bloom) probe(h uint64, visit func(word *uint64, bit uint64) bool) {
	size := uint64(len(b.bits)) * 64
	step := h>>33 | 1
	for range bloomProbes {
		i := h % size
		if !visit(&b.bits[i/64], 1<<(i%64)) {
			return
		}
		h += step
	}
}

func (b *bloom) has(h uint64) bool {
	all := true
	b.probe(h, func(word *uint64, bit uint64) bool {
		all = *word&bit != 0
		return all
	})
	return all
}

func (b *bloom) add(h uint64) {
	fresh := false
	b.probe(h, func(word *uint64, bit uint64) bool {
		fresh = fresh || *word&bit == 0
		*word |= bit
		return true
	})
	if fresh {
		b.count++
	}
}
