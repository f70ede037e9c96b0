package local

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perdure/perdure/internal/storage"
)

// logSyncs wraps fs and calls hook before each sync of a log file.
func logSyncs(fs vfs.FS, hook func() error) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if !isSync || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		return hook()
	}))
}

// gatedSync holds syncs of the log while closed.
type gatedSync struct {
	on      atomic.Bool
	syncs   atomic.Int64
	entered chan struct{}
	release chan error
}

func newGatedSync() *gatedSync {
	return &gatedSync{entered: make(chan struct{}), release: make(chan error)}
}

func (g *gatedSync) hook() error {
	if !g.on.Load() {
		return nil
	}
	g.syncs.Add(1)
	g.entered <- struct{}{}
	return <-g.release
}

func TestReadersWaitForTheSyncOfWhatTheySee(t *testing.T) {
	g := newGatedSync()
	s := openAt(t, "/store", Options{fs: logSyncs(vfs.NewMem(), g.hook)})
	f := acquire(t, s, 1)
	apply(t, s, set(f, "a", "old", "b", "old", "gone", "old"))

	g.on.Store(true)
	before, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := set(f, "b", "new")
		b.Delete([]byte("gone"))
		if err := s.Apply(t.Context(), b); err != nil {
			t.Errorf("apply: %v", err)
		}
	})
	<-g.entered // the batch is in the log and visible inside, its sync is held
	during, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	wantGet(t, s, "a", "old") // others' keys do not wait
	wantGet(t, during, "a", "old")
	wantGet(t, before, "b", "old") // nor do older snapshots
	if err := s.Scan([]byte("a"), []byte("b"), func(_, _ []byte) bool { return true }); err != nil {
		t.Fatal(err)
	}

	answers := make(chan string, 5)
	read := func(name string, r storage.Reader, key string) {
		wg.Go(func() {
			v, err := r.Get([]byte(key))
			if err != nil {
				v = []byte(err.Error())
			}
			answers <- name + " " + string(v)
		})
	}
	read("get", s, "b")
	read("deleted", s, "gone")
	read("snapshot", during, "b")
	scan := func(name string, f func(start, end []byte, fn func(k, v []byte) bool) error) {
		wg.Go(func() {
			err := f([]byte("a"), nil, func(k, v []byte) bool {
				if string(k) == "b" {
					answers <- name + " " + string(v)
				}
				return true
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	scan("scan", s.Scan)
	scan("reverse", during.ScanReverse)
	for range 1000 {
		select {
		case got := <-answers:
			t.Fatalf("a reader saw what was not durable: %s", got)
		default:
		}
	}

	g.on.Store(false)
	g.release <- nil
	wg.Wait()
	close(answers)
	want := map[string]bool{"get new": true, "deleted " + storage.ErrNotFound.Error(): true, "snapshot new": true,
		"scan new": true, "reverse new": true}
	for got := range answers {
		if !want[got] {
			t.Errorf("unexpected %q", got)
		}
	}
	closeStore(t, s)
}

func TestConcurrentBatchesShareASync(t *testing.T) {
	const n = 50
	g := newGatedSync()
	s := openAt(t, "/store", Options{fs: logSyncs(vfs.NewMem(), g.hook)})
	f := acquire(t, s, 1)
	g.on.Store(true)
	var wg sync.WaitGroup
	write := func() {
		wg.Go(func() {
			if err := s.Apply(t.Context(), set(f, "a", "1")); err != nil {
				t.Errorf("apply: %v", err)
			}
		})
	}
	write()
	<-g.entered
	for range n {
		write()
	}
	for s.inflight.n.Load() < n+1 { // all are in the log, behind the sync that is held
		select {
		case <-t.Context().Done():
			t.Fatal("batches do not pass the gate during a sync")
		default:
		}
	}
	g.release <- nil
	<-g.entered
	g.on.Store(false)
	g.release <- nil
	wg.Wait()
	if got := g.syncs.Load(); got != 2 {
		t.Fatalf("%d syncs, want 2", got)
	}
	closeStore(t, s)
}

func TestFailedSyncIsUnknownAndTheLastWord(t *testing.T) {
	disk := vfs.NewMem()
	var broken atomic.Bool
	fs := logSyncs(disk, func() error {
		if broken.Load() {
			return errorfs.ErrInjected
		}
		return nil
	})
	s := openAt(t, "/store", Options{fs: fs, Logger: slog.New(slog.DiscardHandler)})
	f := acquire(t, s, 1)
	apply(t, s, set(f, "a", "1"))
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}

	broken.Store(true)
	if err := s.Apply(t.Context(), set(f, "b", "1")); !errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("apply: %v, want unknown", err)
	}
	broken.Store(false) // a disk that works again changes nothing
	_, acquired := s.Acquire(t.Context(), 1)
	_, got := s.Get([]byte("a"))
	_, snapGot := snap.Get([]byte("a"))
	_, snapped := s.Snapshot()
	for name, err := range map[string]error{
		"apply": s.Apply(t.Context(), set(f, "c", "1")), "acquire": acquired, "get": got, "snapshot get": snapGot,
		"snapshot": snapped, "check": s.Check(t.Context()), "backup": s.Backup(t.Context(), "/backup"),
		"scan": s.Scan(nil, nil, func(_, _ []byte) bool { return true }),
	} {
		if !errors.Is(err, ErrFailed) || errors.Is(err, storage.ErrUnknown) {
			t.Errorf("%s: %v, want failed", name, err)
		}
	}
	_ = s.Close() // reports the log

	s = openAt(t, "/store", Options{fs: disk})
	wantGet(t, s, "a", "1")
	if _, err := s.Get([]byte("c")); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("a refused batch was applied: %v", err)
	}
	apply(t, s, set(acquire(t, s, 1), "b", "2")) // whatever became of b=1 is settled
	wantGet(t, s, "b", "2")
	closeStore(t, s)
}

func TestBackupMeetsAFailingLog(t *testing.T) {
	var broken atomic.Bool
	fs := logSyncs(vfs.NewMem(), func() error {
		if broken.Load() {
			return errorfs.ErrInjected
		}
		return nil
	})
	s := openAt(t, "/store", Options{fs: fs, Logger: slog.New(slog.DiscardHandler)})
	broken.Store(true)
	if err := s.Backup(t.Context(), "/backup"); err == nil {
		t.Fatal("a backup without a log succeeded")
	}
	if _, err := s.Acquire(t.Context(), 1); !errors.Is(err, ErrFailed) {
		t.Fatalf("acquire: %v, want failed", err)
	}
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Fatalf("close: %v, want failed", err)
	}
	var locked *LockedError
	if _, err := Open("/store", Options{fs: fs}); !errors.As(err, &locked) {
		t.Fatalf("open beside a store that could not be closed: %v, want a LockedError", err)
	}
}

// TestFailedLogUnderLoad has many writers meet the failure at once, in the log's buffer as well as at the sync.
func TestFailedLogUnderLoad(t *testing.T) {
	var left atomic.Int64
	left.Store(1 << 40)
	disk := vfs.NewCrashableMem()
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log") && left.Add(-1) < 0 {
			return errorfs.ErrInjected
		}
		return nil
	}))
	s := openAt(t, "/store", Options{fs: fs, Logger: slog.New(slog.DiscardHandler)})
	f := acquire(t, s, 1)
	left.Store(20)
	value := strings.Repeat("x", 700) // crosses blocks of the log, but stays in the first memtable: see the package comment
	acked := make([]int, 8)
	var wg sync.WaitGroup
	for w := range acked {
		wg.Go(func() {
			for i := 1; ; i++ {
				err := s.Apply(t.Context(), set(f, string(rune('a'+w)), string(rune('0'+i%10))+value))
				switch {
				case err == nil:
					acked[w] = i
					continue
				case !errors.Is(err, storage.ErrUnknown) && !errors.Is(err, ErrFailed):
					t.Errorf("apply: %v", err)
				}
				return
			}
		})
	}
	wg.Wait()
	if err := s.Apply(t.Context(), set(f, "z", "1")); !errors.Is(err, ErrFailed) {
		t.Fatalf("apply: %v, want failed", err)
	}
	_ = s.Close()

	s = openAt(t, "/store", Options{fs: disk.CrashClone(vfs.CrashCloneCfg{})})
	for w, i := range acked {
		v, err := s.Get([]byte{byte('a' + w)})
		if i == 0 && errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := v[0]; got != byte('0'+i%10) && got != byte('0'+(i+1)%10) {
			t.Errorf("writer %d: found %c, acknowledged %d", w, got, i)
		}
	}
	closeStore(t, s)
}
