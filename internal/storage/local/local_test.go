package local

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/storagetest"
)

// failOnError is a logger that fails the test on errors, unless the test expects them.
func failOnError(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(errorWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
}

type errorWriter struct{ t testing.TB }

func (w errorWriter) Write(p []byte) (int, error) {
	w.t.Errorf("logged: %s", p)
	return len(p), nil
}

func openAt(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = failOnError(t)
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s storage.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func reopen(t testing.TB, s storage.Store) storage.Store {
	t.Helper()
	old := s.(*Store)
	if err := old.Close(); err != nil && !errors.Is(err, storage.ErrClosed) {
		t.Fatal(err)
	}
	return openAt(t, old.dir, old.opts)
}

func acquire(t testing.TB, s storage.Store, shard ids.ShardID) storage.Fence {
	t.Helper()
	epoch, err := s.Acquire(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	return storage.Fence{Shard: shard, Epoch: epoch}
}

func set(f storage.Fence, kv ...string) *storage.Batch {
	b := &storage.Batch{Fence: f}
	for i := 0; i < len(kv); i += 2 {
		b.Set([]byte(kv[i]), []byte(kv[i+1]))
	}
	return b
}

func apply(t testing.TB, s storage.Store, b *storage.Batch) {
	t.Helper()
	if err := s.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func wantGet(t testing.TB, r storage.Reader, key, want string) {
	t.Helper()
	if got, err := r.Get([]byte(key)); err != nil || string(got) != want {
		t.Fatalf("get %q: %q, %v, want %q", key, got, err, want)
	}
}

func TestStoreInMemory(t *testing.T) {
	storagetest.Run(t, func(t testing.TB) storage.Store {
		return openAt(t, "/store", Options{fs: vfs.NewMem()})
	}, reopen)
}

func TestStoreOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("the same suite ran in memory")
	}
	storagetest.Run(t, func(t testing.TB) storage.Store { return openAt(t, t.TempDir(), Options{}) }, reopen)
}

func TestStoreWithSyncOff(t *testing.T) {
	storagetest.Run(t, func(t testing.TB) storage.Store {
		return openAt(t, "/store", Options{fs: vfs.NewMem(), SyncOff: true})
	}, reopen)
}

// TestPowerCut lets none, some or all of what was not synced reach the disk.
func TestPowerCut(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		open := func(t testing.TB) storage.Store {
			// A tiny memtable, so that crashes also meet flushes, compactions and changes of the log.
			return openAt(t, "/store", Options{fs: vfs.NewCrashableMem(), MemtableBytes: 64 << 10})
		}
		storagetest.RunCrash(t, open, func(t testing.TB, s storage.Store, rng *rand.Rand) storage.Store {
			o := s.(*Store).opts
			o.fs = o.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			return openAt(t, "/store", o)
		})
	}
}

func TestDirectoryIsMadePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	s := openAt(t, dir, Options{})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v, %v, want 0700", info.Mode(), err)
	}
	closeStore(t, s)
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, dir, Options{})
	for _, name := range []string{dir, link, dir + "/."} {
		var locked *LockedError
		if _, err := Open(name, Options{}); !errors.As(err, &locked) || locked.Dir != s.Dir() {
			t.Fatalf("open %s again: %v, want a LockedError", name, err)
		}
	}
	apply(t, s, set(acquire(t, s, 1), "a", "1")) // the first is unharmed
	closeStore(t, s)
	s = openAt(t, link, Options{})
	wantGet(t, s, "a", "1")
	closeStore(t, s)
}

func TestDirectoryThatCannotBeLockedIsNotCalledLocked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Open(file, Options{}); err == nil || errors.As(err, &locked) {
		t.Fatalf("open of a file: %v", err)
	}
}

// tamper changes the engine's own keys below the store.
func tamper(t *testing.T, fs vfs.FS, key, value []byte) {
	t.Helper()
	db, err := pebble.Open("/store", &pebble.Options{FS: fs, FormatMajorVersion: engineFormat, Logger: logger{failOnError(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set(key, value, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	closeStore(t, openAt(t, "/store", Options{fs: fs}))
	tamper(t, fs, formatKey(), formatValue(Format+1))
	var format *FormatError
	if _, err := Open("/store", Options{fs: fs}); !errors.As(err, &format) || format.Found != Format+1 {
		t.Fatalf("%v, want a FormatError", err)
	}
	tamper(t, fs, formatKey(), formatValue(Format))
	closeStore(t, openAt(t, "/store", Options{fs: fs}))
}

func TestEarlierFormatIsRaised(t *testing.T) {
	fs := vfs.NewMem()
	s := openAt(t, "/store", Options{fs: fs})
	apply(t, s, set(acquire(t, s, 1), "a", "1"))
	closeStore(t, s)
	tamper(t, fs, formatKey(), formatValue(1))
	raised := false
	for _, writes := range []bool{false, true, false} {
		s = openAt(t, "/store", Options{fs: fs})
		wantGet(t, s, "a", "1")
		want := uint32(1) // who only reads, or takes a backup, leaves it to earlier builds
		if writes {
			acquire(t, s, 1)
		}
		if writes || raised {
			want, raised = Format, true
		}
		if got, err := s.loadFormat(); err != nil || got != want {
			t.Errorf("format %d, %v; want %d", got, err, want)
		}
		closeStore(t, s)
	}
}

func TestForeignDatabaseIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	tamper(t, fs, []byte("someone"), []byte("else"))
	if _, err := Open("/store", Options{fs: fs}); err == nil || !strings.Contains(err.Error(), "not a store") {
		t.Fatalf("%v, want a refusal", err)
	}
}

func TestMalformedMetaIsCorruption(t *testing.T) {
	for _, c := range []struct{ key, value, good []byte }{
		{formatKey(), []byte("x"), formatValue(Format)},
		{epochKey(1), []byte("x"), epochValue(1)},
	} {
		fs := vfs.NewMem()
		closeStore(t, openAt(t, "/store", Options{fs: fs}))
		tamper(t, fs, c.key, c.value)
		var corrupt *storage.CorruptionError
		if _, err := Open("/store", Options{fs: fs}); !errors.As(err, &corrupt) {
			t.Fatalf("%v, want a CorruptionError", err)
		}
		tamper(t, fs, c.key, c.good)
		closeStore(t, openAt(t, "/store", Options{fs: fs}))
	}
}

func TestOversizedBatchIsRefused(t *testing.T) {
	s := openAt(t, "/store", Options{fs: vfs.NewMem()})
	b := &storage.Batch{Fence: acquire(t, s, 1)}
	value := make([]byte, 1<<20)
	for range MaxBatchBytes>>20 + 1 {
		b.Set([]byte("k"), value)
	}
	if err := s.Apply(t.Context(), b); err == nil || errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("%v, want a refusal", err)
	}
	if _, err := s.Get([]byte("k")); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("%v, want not found", err)
	}
	closeStore(t, s)
}

func TestSyncOffIsLogged(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, nil))
	closeStore(t, openAt(t, "/store", Options{fs: vfs.NewMem(), Logger: log}))
	mu.Lock()
	quiet := out.String()
	mu.Unlock()
	closeStore(t, openAt(t, "/store", Options{fs: vfs.NewMem(), Logger: log, SyncOff: true}))
	if strings.Contains(quiet, "WARN") || strings.Count(out.String(), "level=WARN") != 1 {
		t.Fatalf("with sync: %q, without: %q", quiet, out.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func TestBackupIsAWholeStore(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "store"), Options{})
	f := acquire(t, s, 1)
	apply(t, s, set(f, "flushed", "1"))
	if err := s.Check(t.Context()); err != nil { // moves it into a table
		t.Fatal(err)
	}
	apply(t, s, set(f, "in the log", "2"))
	to := filepath.Join(dir, "backup")
	if err := s.Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	apply(t, s, set(f, "later", "3"))
	if err := s.Backup(t.Context(), to); !errors.Is(err, os.ErrExist) {
		t.Fatalf("backup over a backup: %v, want exists", err)
	}

	copied := openAt(t, to, Options{}) // while the original is open
	wantGet(t, copied, "flushed", "1")
	wantGet(t, copied, "in the log", "2")
	if _, err := copied.Get([]byte("later")); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("%v, want not found", err)
	}
	apply(t, copied, set(f, "flushed", "changed"))
	if next := acquire(t, copied, 1); next.Epoch != f.Epoch+1 {
		t.Fatalf("epoch %d after %d", next.Epoch, f.Epoch)
	}
	closeStore(t, copied)
	wantGet(t, s, "flushed", "1")
	closeStore(t, s)
}

func TestInterruptedBackupIsNotTakenForOne(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "store"), Options{})
	to := filepath.Join(dir, "backup")
	if err := os.Mkdir(to+partialSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), to); !errors.Is(err, os.ErrExist) {
		t.Fatalf("%v, want exists", err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%v, want nothing there", err)
	}
	closeStore(t, s)
}

func Benchmark(b *testing.B) {
	storagetest.Bench(b, func(t testing.TB) storage.Store { return openAt(t, t.TempDir(), Options{}) })
}
