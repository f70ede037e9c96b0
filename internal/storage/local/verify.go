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
// without the rest. It looks for proof of the opposite only in logs, and there only from the next block of 32 KiB on;
// a manifest cut short like this makes it delete the tables that only the rest refers to. verifyFiles therefore runs
// before Pebble and looks for the proof everywhere:
//
//   - in a log, a later chunk that says that more than the bad offset was synced before it was written;
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
	startsEdit := func(_ int, c chunk) bool { return c.kind == chunkFull || c.kind == chunkFirst }
	return verify(name, data, own, startsEdit)
}

func verifyLog(filesystem vfs.FS, name string, number uint32) error {
	data, err := readFile(filesystem, name)
	if err != nil {
		return err
	}
	own := func(c chunk) bool { return c.kind > chunkLast && c.log == number }
	return verify(name, data, own, func(bad int, c chunk) bool { return own(c) && c.synced > uint64(bad) })
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

// verify finds the first chunk that is not valid, or not one that own accepts, and then looks for a chunk behind it
// that proves damage. In the block of the bad chunk it tries each offset, as a damaged length says nothing of where the
// next chunk is. Later blocks are read from their start only: values of users must not be taken for chunks, and an old
// log's are found behind the end of a log whose file is used again.
func verify(name string, data []byte, own func(chunk) bool, proves func(bad int, c chunk) bool) error {
	bad := endOfChunks(data, own)
	next := min((bad/chunkBlock+1)*chunkBlock, len(data))
	for off := bad + 1; off < next; off++ {
		if c, ok := chunkAt(data, off); ok && proves(bad, c) {
			return damage(name, bad, off)
		}
	}
	for ; next < len(data); next += chunkBlock {
		for off := next; off < min(next+chunkBlock, len(data)); {
			c, ok := chunkAt(data, off)
			if !ok {
				break
			}
			if proves(bad, c) {
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
// bytes that were synced before, too.
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
	end    int // offset behind it
	kind   byte
	log    uint32
	synced uint64
}

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
	if c.kind > chunkLastOfLog {
		c.synced = binary.LittleEndian.Uint64(block[off+chunkHeader+chunkLogNumber:])
	}
	sum := crc32.Checksum(block[off+6:c.end], castagnoli)
	masked := (sum>>15 | sum<<17) + 0xa282ead8
	return c, masked == binary.LittleEndian.Uint32(block[off:])
}
