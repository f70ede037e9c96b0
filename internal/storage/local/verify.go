package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/internal/storage"
)

// Pebble takes the first chunk of a log or manifest that fails its checksum for the torn end of the file and goes on
// without the rest. It looks for proof of the opposite only in logs, there only from the next block of 32 KiB on, and
// by a count of synced bytes that leaves out all that was written as whole blocks. A manifest cut short like this makes
// it delete the tables that only the rest refers to. verifyFiles therefore runs before Pebble and looks for proof of
// its own:
//
//   - in a log, a later batch whose mark says that the batch at the bad place was synced before it was written;
//   - in a manifest, the start of any later edit, as each edit is synced before the next one is written.
//
// Damage behind the last such proof cannot be told from a torn end and is left to Pebble.
func verifyFiles(filesystem vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, filesystem)
	if err != nil {
		return fmt.Errorf("read format of storage engine: %w", err)
	}
	if !desc.Exists {
		return nil
	}
	if err := verifyManifest(filesystem, desc.ManifestFilename); err != nil {
		return err
	}
	names, err := filesystem.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, isLog := strings.CutSuffix(name, ".log")
		n, err := strconv.ParseUint(number, 10, 64)
		if !isLog || err != nil {
			continue
		}
		if err := verifyLog(filesystem, filesystem.PathJoin(dir, name), uint32(n)); err != nil {
			return err
		}
	}
	return nil
}

func verifyManifest(filesystem vfs.FS, name string) error {
	data, err := readFile(filesystem, name)
	if err != nil {
		return err
	}
	own := func(c chunk) bool { return c.kind <= chunkLast }
	bad := endOfChunks(data, own)
	return proveDamage(name, data, bad, func(c chunk) bool { return own(c) && c.starts() })
}

func verifyLog(filesystem vfs.FS, name string, number uint32) error {
	data, err := readFile(filesystem, name)
	if err != nil {
		return err
	}
	own := func(c chunk) bool { return c.kind > chunkLast && c.log == number }
	var progress logProgress
	bad := endOfChunks(data, func(c chunk) bool {
		if !own(c) {
			return false
		}
		progress.read(c)
		return true
	})
	// What is at the bad place has a sequence number of lost or above, and below that of any batch behind it.
	lost, known := progress.next, progress.known
	return proveDamage(name, data, bad, func(c chunk) bool {
		if !own(c) || !c.starts() {
			return false
		}
		h, ok := readBatchHead(c.payload)
		if !ok {
			return false
		}
		if !known {
			lost, known = h.seq-1, true // at the latest, the batch before this one
		}
		return h.synced > lost
	})
}

// logProgress follows the batches of a log from its start.
type logProgress struct {
	next  uint64 // sequence number of the first batch that is not there whole
	known bool
	after uint64 // next once the batch that has begun is whole
}

func (p *logProgress) read(c chunk) {
	if c.starts() {
		if len(c.payload) < batchHeader {
			p.known = false
			return
		}
		seq, count := batchNumbers(c.payload)
		p.next, p.after, p.known = seq, seq+uint64(count), true
	}
	if c.ends() {
		p.next = p.after
	}
}

// A batch begins with sequence number and count; the first record is the mark, if this package wrote the batch.
const (
	batchHeader   = 8 + 4
	batchMarkKind = 3 // Pebble's kind for data that is only logged
)

func batchNumbers(payload []byte) (seq uint64, count uint32) {
	return binary.LittleEndian.Uint64(payload), binary.LittleEndian.Uint32(payload[8:])
}

type batchHead struct{ seq, synced uint64 }

func readBatchHead(payload []byte) (h batchHead, ok bool) {
	if len(payload) < batchHeader+2+markBytes {
		return h, false
	}
	h.seq, _ = batchNumbers(payload)
	mark := payload[batchHeader:]
	if mark[0] != batchMarkKind || mark[1] != markBytes || mark[2] != markTag {
		return h, false
	}
	h.synced = binary.LittleEndian.Uint64(mark[3:])
	return h, true
}

func readFile(filesystem vfs.FS, name string) ([]byte, error) {
	f, err := filesystem.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// proveDamage looks for a chunk behind the offset bad that proves it to be damaged. In the block of the bad chunk it
// tries each offset, as a damaged length says nothing of where the next chunk is. Later blocks are read from their
// start only: values of users must not be taken for chunks, and an old log's are found behind the end of a log whose
// file is used again.
func proveDamage(name string, data []byte, bad int, proves func(chunk) bool) error {
	next := min((bad/chunkBlock+1)*chunkBlock, len(data))
	for off := bad + 1; off < next; off++ {
		if c, ok := chunkAt(data, off); ok && proves(c) {
			return damage(name, bad, off)
		}
	}
	for ; next < len(data); next += chunkBlock {
		for off := next; off < min(next+chunkBlock, len(data)); {
			c, ok := chunkAt(data, off)
			if !ok {
				break
			}
			if proves(c) {
				return damage(name, bad, off)
			}
			off = c.end
		}
	}
	return nil
}

func damage(name string, bad, good int) error {
	return &storage.CorruptionError{
		Where: name,
		Err:   fmt.Errorf("invalid chunk at offset %d, but the file is good at %d", bad, good),
	}
}

// endOfChunks is the offset behind the chunks that are valid and accepted without a gap from the start.
func endOfChunks(data []byte, own func(chunk) bool) int {
	off := 0
	for off < len(data) {
		c, ok := chunkAt(data, off)
		switch rest := chunkBlock - off%chunkBlock; {
		case ok && own(c):
			off = c.end
		case rest < chunkHeader+chunkLogNumber+chunkSynced: // no room for the header of the next chunk
			off += rest
		default:
			return off
		}
	}
	return min(off, len(data))
}

// The record format that Pebble took from LevelDB and extended: blocks of 32 KiB hold chunks, each with checksum,
// length and kind; a block whose rest is too short for a header ends with zeros. Kinds come in three groups of four: as in
// LevelDB, used by manifests; with the number of the log, so that a log file can be used again; and with the count of
// bytes that were synced before, too, which is not to be relied on.
const (
	chunkBlock     = 32 << 10
	chunkHeader    = 7
	chunkLogNumber = 4
	chunkSynced    = 8
	chunkFull      = 1 // one record, whole
	chunkFirst     = 2 // a record's first part
	chunkLast      = 4 // a record's last part; kinds above it carry the number of the log
	chunkLastOfLog = 8 // kinds above it carry the synced count
	chunkKinds     = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type chunk struct {
	end     int // offset behind it
	kind    byte
	log     uint32
	payload []byte
}

// starts tells whether a record begins with the chunk, ends whether one ends with it.
func (c chunk) starts() bool { p := (c.kind-1)%4 + 1; return p == chunkFull || p == chunkFirst }
func (c chunk) ends() bool   { p := (c.kind-1)%4 + 1; return p == chunkFull || p == chunkLast }

// chunkAt reads the chunk at off, or returns false if there is no valid one.
func chunkAt(data []byte, off int) (c chunk, ok bool) {
	block := data[:min((off/chunkBlock+1)*chunkBlock, len(data))]
	if off+chunkHeader > len(block) {
		return c, false
	}
	c.kind = block[off+6]
	if c.kind < chunkFull || c.kind > chunkKinds {
		return c, false
	}
	header := chunkHeader
	if c.kind > chunkLast {
		header += chunkLogNumber
	}
	if c.kind > chunkLastOfLog {
		header += chunkSynced
	}
	c.end = off + header + int(binary.LittleEndian.Uint16(block[off+4:]))
	if c.end > len(block) {
		return c, false
	}
	if c.kind > chunkLast {
		c.log = binary.LittleEndian.Uint32(block[off+chunkHeader:])
	}
	c.payload = block[off+header : c.end]
	sum := crc32.Checksum(block[off+6:c.end], castagnoli)
	masked := (sum>>15 | sum<<17) + 0xa282ead8
	return c, masked == binary.LittleEndian.Uint32(block[off:])
}
