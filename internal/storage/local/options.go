package local

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configure a store. The zero value suits a small server.
type Options struct {
	// MemtableBytes is how much is gathered in memory before it is written as a table; up to four are in memory at once.
	// It is also about how much log a start has to replay. Default 8 MiB.
	MemtableBytes int
	// CacheBytes bounds the cache of uncompressed blocks. Default 16 MiB.
	CacheBytes int
	// SyncOff acknowledges batches before they are on disk, and lets readers see them: the loss of power, or the death
	// of the process, loses acknowledged batches. For data that nobody will miss.
	SyncOff bool
	// Logger receives what the store has to say. Default slog.DiscardHandler.
	Logger *slog.Logger

	fs vfs.FS // tests only; nil is the operating system's
}

const (
	defaultMemtable = 8 << 20
	defaultCache    = 16 << 20
	maxMemtables    = 4 // in memory before writes wait for a flush
)

func (o Options) withDefaults() Options {
	if o.MemtableBytes <= 0 {
		o.MemtableBytes = defaultMemtable
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCache
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// engineFormat is Pebble's own format. It is named rather than "newest" so that an update of the library does not
// silently lock older builds out of a directory.
const engineFormat = pebble.FormatValueSeparation

// pebbleOptions leaves log preallocation and recycling at Pebble's defaults, which are on.
func (s *Store) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		CacheSize:                  int64(s.opts.CacheBytes),
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 2 },
		EventListener:              s.events(),
		FormatMajorVersion:         engineFormat,
		FS:                         s.opts.fs,
		// What is looked for by workflow, and runs of earlier builds, have keys that are spread over all slots, so that a merge into
		// the next level reads and writes nearly all of it: so merges are rare, and the level may be large.
		L0CompactionThreshold:       10,
		LBaseMaxBytes:               256 << 20,
		L0StopWritesThreshold:       32,
		Lock:                        s.dirLock,
		Logger:                      logger{s.log},
		MaxOpenFiles:                1000,
		MemTableSize:                uint64(s.opts.MemtableBytes),
		MemTableStopWritesThreshold: maxMemtables,
	}
	o.Experimental.CompactionScheduler = newCompactions()
	if o.FS == nil {
		o.WithFSDefaults() // the operating system's, watched for slow operations
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most lookups of request IDs miss
		// Snappy on all levels: needs no C, and reads cost the same whatever the age of the data.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	return o
}
