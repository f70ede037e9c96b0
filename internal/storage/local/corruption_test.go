package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/internal/storage"
)

// image is a disk with a stopped store in it, as raw files.
type image map[string][]byte

func imageOf(t *testing.T, fs vfs.FS) image {
	t.Helper()
	names, err := fs.List("/store")
	if err != nil {
		t.Fatal(err)
	}
	img := image{}
	for _, name := range names {
		f, err := fs.Open("/store/" + name)
		if err != nil {
			t.Fatal(err)
		}
		img[name], err = io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// disk writes the image, with one file replaced, or left out if data is nil.
func (img image) disk(t *testing.T, name string, data []byte) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/store", 0o700); err != nil {
		t.Fatal(err)
	}
	for n, content := range img {
		if n == name {
			content = data
			if data == nil {
				continue
			}
		}
		f, err := fs.Create("/store/"+n, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(bytes.Clone(content)) // in race builds the file scribbles on its argument
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// find is the largest file that matches.
func (img image) find(t *testing.T, match func(name string, data []byte) bool) string {
	t.Helper()
	best := ""
	for name, data := range img {
		if match(name, data) && (best == "" || len(data) > len(img[best])) {
			best = name
		}
	}
	if best == "" {
		t.Fatal("no such file in the image")
	}
	return best
}

const corruptRows = 400

func row(i int) (key, value string) {
	return fmt.Sprintf("row/%04d", i), fmt.Sprintf("value of %d %s", i, strings.Repeat("x", i%100))
}

// filled makes a store, clean or as a crash leaves it: with everything still in the log.
func filled(t *testing.T, clean bool) image {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s := openAt(t, "/store", Options{fs: fs})
	f := acquire(t, s, 1)
	for i := range corruptRows {
		k, v := row(i)
		apply(t, s, set(f, k, v))
	}
	if !clean {
		img := imageOf(t, fs.CrashClone(vfs.CrashCloneCfg{}))
		closeStore(t, s)
		return img
	}
	closeStore(t, s)
	return imageOf(t, fs)
}

// readAll opens, checks and reads a store and returns the first error. Without one, all rows must be right.
func readAll(t *testing.T, fs vfs.FS) error {
	t.Helper()
	s, err := Open("/store", Options{fs: fs, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer s.Close()
	checkErr := s.Check(t.Context())
	i := 0
	err = s.Scan(nil, nil, func(k, v []byte) bool {
		if wk, wv := row(i); string(k) != wk || string(v) != wv {
			t.Errorf("row %d is %q: %q", i, k, v)
		}
		i++
		return true
	})
	if err == nil && i != corruptRows {
		t.Errorf("%d rows of %d and no error", i, corruptRows)
	}
	if err != nil && checkErr == nil {
		t.Errorf("check passed a store whose scan fails with: %v", err)
	}
	return errors.Join(checkErr, err)
}

func wantCorrupt(t *testing.T, what string, err error) {
	t.Helper()
	var corrupt *storage.CorruptionError
	if !errors.As(err, &corrupt) {
		t.Errorf("%s: %v, want a CorruptionError", what, err)
	} else if corrupt.Where == "" {
		t.Errorf("%s: corruption without a place", what)
	}
}

func isTable(name string, _ []byte) bool    { return strings.HasSuffix(name, ".sst") }
func isManifest(name string, _ []byte) bool { return strings.HasPrefix(name, "MANIFEST") }

// isLastLog picks the log that holds the last rows.
func isLastLog(name string, data []byte) bool {
	k, _ := row(corruptRows - 1)
	return strings.HasSuffix(name, ".log") && bytes.Contains(data, []byte(k))
}

func TestDamagedTableIsReported(t *testing.T) {
	img := filled(t, true)
	name := img.find(t, isTable)
	if err := readAll(t, img.disk(t, name, img[name])); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		at := rng.IntN(len(img[name]))
		data := bytes.Clone(img[name])
		data[at] ^= byte(1 + rng.IntN(255))
		fs := img.disk(t, name, data)
		err := readAll(t, fs)
		if _, gone := fs.Stat("/store/" + name); err == nil && errors.Is(gone, os.ErrNotExist) {
			continue // a compaction wrote it anew before the check and had no need of the part that is damaged
		}
		wantCorrupt(t, fmt.Sprintf("byte %d of %d in table", at, len(data)), err)
	}
	half := img[name][:len(img[name])/2]
	wantCorrupt(t, "table cut short", readAll(t, img.disk(t, name, half)))
	wantCorrupt(t, "table missing", readAll(t, img.disk(t, name, nil)))
}

func TestDamagedLogIsReported(t *testing.T) {
	img := filled(t, false)
	name := img.find(t, isLastLog)
	if err := readAll(t, img.disk(t, name, img[name])); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	// A damaged last record cannot be told from a torn one; all before it can.
	data := img[name]
	last := -1
	for i := corruptRows - 3; last < 0; i-- { // a block's border may split a key
		if i == 0 {
			t.Fatal("the log does not hold the rows")
		}
		k, _ := row(i)
		last = bytes.Index(data, []byte(k))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 80 {
		at := rng.IntN(last)
		damaged := bytes.Clone(data)
		damaged[at] ^= byte(1 + rng.IntN(255))
		wantCorrupt(t, fmt.Sprintf("byte %d of %d in log", at, len(data)), readAll(t, img.disk(t, name, damaged)))
	}
}

// TestDamageInAGroupIsReported writes many blocks of the log by one sync, of which Pebble's own count knows little. With
// a batch behind them any damage is proven; without one, a hole is what a crash leaves.
func TestDamageInAGroupIsReported(t *testing.T) {
	g := newGatedSync()
	disk := vfs.NewCrashableMem()
	s := openAt(t, "/store", Options{fs: logSyncs(disk, g.hook)})
	f := acquire(t, s, 1)
	g.on.Store(true)
	var wg sync.WaitGroup
	for i := range corruptRows {
		wg.Go(func() {
			if err := s.Apply(t.Context(), set(f, fmt.Sprintf("row/%04d", i), strings.Repeat("x", 500))); err != nil {
				t.Errorf("apply: %v", err)
			}
		})
		if i == 0 {
			<-g.entered
		}
	}
	for s.inflight.n.Load() < corruptRows {
		runtime.Gosched()
	}
	g.release <- nil
	<-g.entered
	g.on.Store(false)
	g.release <- nil
	wg.Wait()
	torn := imageOf(t, disk.CrashClone(vfs.CrashCloneCfg{}))
	apply(t, s, set(f, "witness", "1")) // its mark vouches for the group
	img := imageOf(t, disk.CrashClone(vfs.CrashCloneCfg{}))
	closeStore(t, s)

	name := img.find(t, func(name string, _ []byte) bool { return strings.HasSuffix(name, ".log") })
	data := img[name]
	witness := bytes.Index(data, []byte("witness"))
	if witness < 5*chunkBlock {
		t.Fatalf("the group ends at %d already", witness)
	}
	closeStore(t, openAt(t, "/store", Options{fs: img.disk(t, name, data)}))
	for at := 2000; at+4096 < len(torn[name]); at += 7001 {
		holed := bytes.Clone(torn[name])
		clear(holed[at : at+4096]) // as if the power had gone before the sync of the group
		closeStore(t, openAt(t, "/store", Options{fs: torn.disk(t, name, holed)}))
	}
	for at := 100; at < witness-100; at += 1999 {
		damaged := bytes.Clone(data)
		damaged[at] ^= 0x5a
		_, err := Open("/store", Options{fs: img.disk(t, name, damaged)})
		wantCorrupt(t, fmt.Sprintf("byte %d of %d in log", at, len(data)), err)
	}
}

func TestTornLogIsItsEnd(t *testing.T) {
	img := filled(t, false)
	name := img.find(t, isLastLog)
	k, _ := row(corruptRows - 1)
	torn := bytes.Index(img[name], []byte(k)) + 2 // in the midst of the last batch
	fs := img.disk(t, name, img[name][:torn])
	s := openAt(t, "/store", Options{fs: fs})
	if _, err := s.Get([]byte(k)); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("%v, want not found", err)
	}
	k, v := row(corruptRows - 2)
	wantGet(t, s, k, v)
	closeStore(t, s)
}

func TestDamagedManifestIsReported(t *testing.T) {
	// Several starts, so that the manifest has several edits.
	fs := vfs.NewMem()
	s := openAt(t, "/store", Options{fs: fs})
	f := acquire(t, s, 1)
	for i := range corruptRows {
		k, v := row(i)
		apply(t, s, set(f, k, v))
		if i%100 == 50 {
			if err := s.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeStore(t, s)
	img := imageOf(t, fs)
	name := img.find(t, isManifest)
	data := img[name]
	last := 0
	for off := 0; off < len(data); {
		c, ok := chunkAt(data, off)
		if !ok {
			t.Fatalf("no chunk at %d", off)
		}
		last, off = off, c.end
	}
	if last == 0 {
		t.Fatal("manifest has one edit only")
	}
	for at := range last {
		damaged := bytes.Clone(data)
		damaged[at] ^= 0x5a
		wantCorrupt(t, fmt.Sprintf("byte %d of %d in manifest", at, len(data)), readAll(t, img.disk(t, name, damaged)))
	}
}

// TestSoundLogIsNotCalledDamaged ends a block of the log at each distance from its border at which a header does or
// does not fit, and goes on in the next block.
func TestSoundLogIsNotCalledDamaged(t *testing.T) {
	crashed := func(filler int) (image, string) {
		fs := vfs.NewCrashableMem()
		s := openAt(t, "/store", Options{fs: fs})
		f := acquire(t, s, 1)
		apply(t, s, set(f, "filler", strings.Repeat("x", filler)))
		for i := range 5 {
			apply(t, s, set(f, fmt.Sprintf("next %d", i), "1"))
		}
		img := imageOf(t, fs.CrashClone(vfs.CrashCloneCfg{}))
		closeStore(t, s)
		return img, img.find(t, func(name string, data []byte) bool {
			return strings.HasSuffix(name, ".log") && bytes.Contains(data, []byte("next 4"))
		})
	}
	// endOfFiller is where the chunk with the filler ends; a longer filler moves it by as much.
	const filler = 20000
	img, name := crashed(filler)
	endOfFiller := bytes.LastIndex(img[name], []byte("xxxxxxxx")) + 8

	for rest := range 32 {
		img, name := crashed(filler + chunkBlock - endOfFiller - rest)
		gap := img[name][chunkBlock-rest : chunkBlock]
		if c, ok := chunkAt(img[name], chunkBlock-rest); rest > 0 && !ok && len(bytes.Trim(gap, "\x00")) > 0 {
			t.Fatalf("rest %d: the filler does not end where it should: %x, %+v", rest, gap, c)
		}
		s, err := Open("/store", Options{fs: img.disk(t, name, img[name])})
		if err != nil {
			t.Errorf("rest %d: %v", rest, err)
			continue
		}
		wantGet(t, s, "next 4", "1")
		closeStore(t, s)
	}
}
