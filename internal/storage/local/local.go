package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// Store is a storage.Store in one directory. Safe for concurrent use.
type Store struct {
	dir      string
	opts     Options
	log      *slog.Logger
	dirLock  *pebble.Lock
	db       *pebble.DB
	inflight *inflight
	calls    calls
	failed   atomic.Pointer[error]
	synced   atomic.Uint64 // every batch before this sequence number is on disk; 0 if nothing is known
	trouble  chan struct{} // one token once background work has failed

	readerOptions sstable.ReaderOptions // for Check, which reads tables past the engine

	// gate is a mutex that can be waited for with a context. It guards epochs, format and wedged, and is held while a batch is
	// put into the log, never while a sync is waited for.
	gate   chan struct{}
	epochs map[ids.ShardID]ids.Epoch
	format uint32 // of what is stored
	wedged bool   // Pebble panicked inside and may hold its locks for ever

	snapsMu sync.Mutex
	snaps   map[*snapshot]struct{}
}

var (
	_ storage.Store    = (*Store)(nil)
	_ storage.Backuper = (*Store)(nil)
	_ storage.Checker  = (*Store)(nil)
)

// Open opens the store in dir and creates it, private to this user, if it is not there. It returns a *LockedError if
// another store has dir open, a *FormatError if a later version wrote it, and a *storage.CorruptionError if what it
// has to read is damaged: nothing is skipped or repaired.
func Open(dir string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	s := &Store{
		dir:      dir,
		opts:     opts,
		log:      opts.Logger,
		inflight: newInflight(),
		calls:    calls{idle: make(chan struct{})},
		trouble:  make(chan struct{}, 1),
		gate:     make(chan struct{}, 1),
		epochs:   make(map[ids.ShardID]ids.Epoch),
		snaps:    make(map[*snapshot]struct{}),
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	if opts.SyncOff {
		s.log.Warn("storage sync is off: acknowledged writes are lost when the process or the machine dies",
			"dir", s.dir)
	}
	return s, nil
}

func (s *Store) open() (err error) {
	if err := s.prepareDir(); err != nil {
		return err
	}
	if err := s.lockDir(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.dirLock.Close())
		}
	}()
	if err := verifyFiles(s.fs(), s.dir); err != nil {
		return err
	}
	options := s.pebbleOptions()
	options.EnsureDefaults()
	s.readerOptions = options.MakeReaderOptions()
	if s.db, err = pebble.Open(s.dir, options); err != nil {
		return s.damaged(err)
	}
	if err := s.load(); err != nil {
		return errors.Join(s.corrupt(err), s.db.Close())
	}
	return nil
}

// prepareDir makes the directory and its missing parents, and syncs what it made: a store whose directory entry is lost
// with the power is lost whole.
func (s *Store) prepareDir() error {
	filesystem := s.fs()
	if s.opts.fs == nil {
		abs, err := filepath.Abs(s.dir)
		if err != nil {
			return err
		}
		s.dir = abs
	}
	var parents []string
	for dir := s.dir; ; dir = filesystem.PathDir(dir) {
		if _, err := filesystem.Stat(dir); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		parents = append(parents, filesystem.PathDir(dir))
	}
	if len(parents) > 0 {
		if err := filesystem.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
	}
	for _, dir := range parents {
		if err := syncDir(filesystem, dir); err != nil {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	if s.opts.fs != nil {
		return nil
	}
	// One directory has one name, or the lock below would not see a second opening by this process.
	real, err := filepath.EvalSymlinks(s.dir)
	if err == nil {
		s.dir = real
	}
	return err
}

func syncDir(filesystem vfs.FS, dir string) error {
	d, err := filesystem.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Store) fs() vfs.FS {
	if s.opts.fs != nil {
		return s.opts.fs
	}
	return vfs.Default
}

// lockDir tells a lock that is held from one that cannot be taken: the latter says which path or call failed.
func (s *Store) lockDir() (err error) {
	s.dirLock, err = pebble.LockDirectory(s.dir, s.fs())
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	var path *fs.PathError
	held := errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES)
	if errors.As(err, &path) || errors.As(err, &errno) && !held {
		return fmt.Errorf("lock directory: %w", err)
	}
	return &LockedError{Dir: s.dir, Err: err}
}

// load checks the format and reads the epochs.
func (s *Store) load() error {
	found, err := s.loadFormat()
	if err != nil {
		return err
	}
	if found > Format {
		return &FormatError{Dir: s.dir, Found: found, Supported: Format}
	}
	s.format = found
	return s.loadEpochs()
}

// loadFormat writes the format into a fresh store. One without it that has data was made by something else.
func (s *Store) loadFormat() (uint32, error) {
	value, closer, err := s.db.Get(formatKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		if err := s.wantEmpty(); err != nil {
			return 0, err
		}
		return Format, s.db.Set(formatKey(), formatValue(Format), pebble.Sync)
	case err != nil:
		return 0, fmt.Errorf("read format version: %w", err)
	}
	found, err := parseFormat(value)
	if err != nil {
		err = &storage.CorruptionError{Where: s.dir, Err: err}
	}
	return found, errors.Join(err, closer.Close())
}

func (s *Store) wantEmpty() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		err = errors.New("the directory holds a database that is not a store of this software")
	}
	return errors.Join(err, it.Close())
}

func (s *Store) loadEpochs() error {
	it, err := s.db.NewIter(epochBounds())
	if err != nil {
		return fmt.Errorf("read epochs: %w", err)
	}
	for it.First(); it.Valid() && err == nil; it.Next() {
		shard, epoch, parseErr := parseEpoch(it.Key(), it.Value())
		if parseErr != nil {
			err = &storage.CorruptionError{Where: s.dir, Err: parseErr}
			break
		}
		s.epochs[shard] = epoch
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("read epochs: %w", err)
	}
	return nil
}

// Dir is the directory of the store, absolute and free of symbolic links.
func (s *Store) Dir() string { return s.dir }

// Close implements storage.Store. It moves what is in memory into tables first, so that the next Open has no log to
// replay. On a failed store it may return an error and leave the directory locked until the process ends.
func (s *Store) Close() error {
	if err := s.calls.close(); err != nil {
		return err
	}
	if s.wedged { // no call is running: the gate is not needed
		return fmt.Errorf("close store %s: %w", s.dir, ErrFailed)
	}
	s.closeSnapshots()
	flushErr := s.flushForClose()
	if err := errors.Join(flushErr, s.db.Close(), s.dirLock.Close()); err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, s.corrupt(err))
	}
	return nil
}

// flushForClose gives up when background work fails, as Pebble would try again for ever. The log still has it all.
func (s *Store) flushForClose() error {
	if s.failed.Load() != nil {
		return nil
	}
	done, err := s.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	select {
	case <-done:
	case <-s.trouble:
	}
	return nil
}

// fail records the first failure of the log; from then on no call succeeds.
func (s *Store) fail(cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if s.failed.CompareAndSwap(nil, &err) {
		s.log.Error("storage failed, no more writes until it is opened again", "dir", s.dir, "error", cause)
	}
}

func (s *Store) failure() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// calls counts running calls, so that Close can wait for them. A call inside a call (from a scan's callback) gets
// ErrClosed rather than deadlock once Close has begun.
type calls struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when the last call has left a closed store
}

func (c *calls) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return storage.ErrClosed
	}
	c.n++
	return nil
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.closed && c.n == 0 {
		close(c.idle)
	}
}

func (c *calls) close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return storage.ErrClosed
	}
	c.closed = true
	idle := c.n == 0
	c.mu.Unlock()
	if !idle {
		<-c.idle
	}
	return nil
}

// lock takes the gate or gives up with the context.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.gate <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) unlock() { <-s.gate }
