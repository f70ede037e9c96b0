package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// Crash cuts the power under s, which may be in use, and returns a store on what is left of its data. It leaves s to
// the caller, who still closes it. rng decides what of the data that was not durable survives.
type Crash func(t testing.TB, s storage.Store, rng *rand.Rand) storage.Store

// RunCrash tests what the port promises of crashes: acknowledged batches and epochs are there afterwards, no batch is
// there in part, and what a reader has seen stays.
func RunCrash(t *testing.T, open Open, crash Crash) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			c := &crashRun{crash: crash, rng: rand.New(rand.NewPCG(seed, 1))}
			s := open(t)
			for round := range 3 {
				next := c.round(t, s, round)
				_ = s.Close() // what a dead store says does not matter
				s = next
			}
			c.verify(t, s)
			must(t, s.Close())
		})
	}
}

const (
	crashWriters = 4
	crashKeys    = 3 // per batch, scattered over the key space
)

type crashRun struct {
	crash Crash
	rng   *rand.Rand

	mu     sync.Mutex
	acked  [crashWriters]int // newest acknowledged batch of each writer
	begun  [crashWriters]int // newest batch that was handed to Apply
	seen   [crashWriters]int // newest batch a reader saw
	epochs [crashWriters]ids.Epoch
}

// round writes from several goroutines, reads meanwhile, crashes in the midst of it and verifies what is left.
func (c *crashRun) round(t *testing.T, s storage.Store, round int) storage.Store {
	fences := make([]storage.Fence, crashWriters)
	for w := range fences {
		fences[w] = acquire(t, s, ids.ShardID(w))
		if fences[w].Epoch <= c.epochs[w] {
			t.Fatalf("round %d: epoch %d was given before the crash already", round, fences[w].Epoch)
		}
		c.epochs[w] = fences[w].Epoch
	}
	stop := make(chan struct{})
	progress := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	defer end() // also when crash fails the test
	for w, f := range fences {
		wg.Go(func() { c.write(t, s, f, w, stop, progress) })
	}
	wg.Go(func() { c.read(t, s, stop) })
	for range 1 + c.rng.IntN(60) {
		<-progress
	}

	// What was acknowledged or seen before this moment has to survive; what comes later may.
	c.mu.Lock()
	acked, seen := c.acked, c.seen
	c.mu.Unlock()
	next := c.crash(t, s, c.rng)
	end()

	c.mu.Lock()
	c.acked, c.seen = acked, seen
	c.mu.Unlock()
	c.verify(t, next)
	return next
}

func (c *crashRun) write(t *testing.T, s storage.Store, f storage.Fence, w int, stop, progress chan struct{}) {
	for {
		c.mu.Lock()
		c.begun[w]++
		i := c.begun[w]
		c.mu.Unlock()
		b := &storage.Batch{Fence: f}
		for k := range crashKeys {
			value := make([]byte, 16+i*977%5000) // so that batches cross blocks of log and disk
			copy(value, strconv.Itoa(i)+" ")
			b.Set(crashKey(k, w), value)
		}
		if err := s.Apply(t.Context(), b); err != nil {
			if !errors.Is(err, storage.ErrClosed) { // how a crashed store refuses
				t.Errorf("apply: %v", err)
			}
			return
		}
		c.mu.Lock()
		c.acked[w] = i
		c.mu.Unlock()
		select {
		case <-stop:
			return
		case progress <- struct{}{}:
		default: // never wait: the crash should find calls under way
		}
	}
}

func (c *crashRun) read(t *testing.T, s storage.Store, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		for w := range crashWriters {
			i, err := readStamp(s, crashKey(0, w))
			if errors.Is(err, storage.ErrClosed) {
				return
			}
			if err != nil {
				t.Errorf("get: %v", err)
				return
			}
			c.mu.Lock()
			c.seen[w] = max(c.seen[w], i)
			c.mu.Unlock()
		}
	}
}

func crashKey(k, w int) []byte { return fmt.Appendf(nil, "%d/%d", k, w) }

// readStamp returns the number of the batch that wrote key, 0 if none did.
func readStamp(r storage.Reader, key []byte) (int, error) {
	v, err := r.Get(key)
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var i int
	_, err = fmt.Sscanf(string(v), "%d", &i)
	return i, err
}

func (c *crashRun) verify(t *testing.T, s storage.Store) {
	t.Helper()
	for w := range crashWriters {
		var stamps [crashKeys]int
		for k := range stamps {
			var err error
			stamps[k], err = readStamp(s, crashKey(k, w))
			must(t, err)
		}
		i := stamps[0]
		for _, other := range stamps {
			if other != i {
				t.Fatalf("writer %d: parts of different batches survived: %v", w, stamps)
			}
		}
		if i < c.acked[w] {
			t.Fatalf("writer %d: acknowledged batch %d is lost, newest is %d", w, c.acked[w], i)
		}
		if i < c.seen[w] {
			t.Fatalf("writer %d: batch %d, seen by a reader, is lost, newest is %d", w, c.seen[w], i)
		}
		if i > c.begun[w] {
			t.Fatalf("writer %d: batch %d was never written", w, i)
		}
		c.acked[w] = max(c.acked[w], i)
	}
}
