package local

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdure/perdure/internal/ids"
)

// Every key in the engine starts with the byte of its space; docs/format/storage.md is the authority.
const (
	metaSpace = 0x00
	userSpace = 0x01
	spaceEnd  = 0x02

	metaFormat = 'f'
	metaEpoch  = 'e'
)

// Format is the version of the layout that this package and internal/record write. Open accepts it and every earlier one, which
// the first Acquire raises.
const Format uint32 = 3

func formatKey() []byte { return []byte{metaSpace, metaFormat} }

func formatValue(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func parseFormat(v []byte) (uint32, error) {
	if len(v) != 4 {
		return 0, fmt.Errorf("format version has %d bytes, not 4", len(v))
	}
	return binary.BigEndian.Uint32(v), nil
}

func epochBounds() *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: []byte{metaSpace, metaEpoch}, UpperBound: []byte{metaSpace, metaEpoch + 1}}
}

func epochKey(shard ids.ShardID) []byte {
	return binary.BigEndian.AppendUint32([]byte{metaSpace, metaEpoch}, uint32(shard))
}

func epochValue(e ids.Epoch) []byte { return binary.BigEndian.AppendUint64(nil, uint64(e)) }

func parseEpoch(key, value []byte) (ids.ShardID, ids.Epoch, error) {
	if len(key) != 6 || len(value) != 8 {
		return 0, 0, fmt.Errorf("epoch record has %d and %d bytes, not 6 and 8", len(key), len(value))
	}
	return ids.ShardID(binary.BigEndian.Uint32(key[2:])), ids.Epoch(binary.BigEndian.Uint64(value)), nil
}

func userKey(key []byte) []byte {
	k := make([]byte, 1+len(key))
	k[0] = userSpace
	copy(k[1:], key)
	return k
}

func userBounds(start, end []byte) *pebble.IterOptions {
	o := &pebble.IterOptions{LowerBound: userKey(start), UpperBound: []byte{spaceEnd}}
	if end != nil {
		o.UpperBound = userKey(end)
	}
	return o
}

// A mark is the data of the first record of each batch, seen by nobody but verifyLog: every batch before the sequence
// number in it was synced when this one was written.
const (
	markTag   = 's'
	markBytes = 1 + 8
)

func markData(synced uint64) []byte { return binary.LittleEndian.AppendUint64([]byte{markTag}, synced) }
