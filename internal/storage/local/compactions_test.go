package local

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// merging stands for Pebble: what it wants merged waits until it may run.
type merging struct {
	c *compactions

	mu      sync.Mutex
	waiting int
	running int

	limit atomic.Int64 // no lock: it is asked for under the scheduler's
	asked atomic.Int64
}

func newMerging(limit int) *merging {
	m := &merging{c: newCompactions()}
	m.limit.Store(int64(limit))
	m.c.Register(2, m)
	return m
}

func (m *merging) GetAllowedWithoutPermission() int {
	m.asked.Add(1)
	return int(m.limit.Load())
}

func (m *merging) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting > 0, pebble.WaitingCompaction{}
}

func (m *merging) Schedule(pebble.CompactionGrantHandle) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting == 0 {
		return false
	}
	m.waiting--
	m.running++
	return true
}

// want has one more to merge; like Pebble it asks only while none waits, and with its lock held.
func (m *merging) want() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting == 0 {
		if ok, _ := m.c.TrySchedule(); ok {
			m.running++
			return
		}
	}
	m.waiting++
}

func (m *merging) finish() {
	m.mu.Lock()
	had := m.running > 0
	if had {
		m.running--
	}
	m.mu.Unlock()
	if had {
		m.c.Done()
	}
}

func (m *merging) state() (running, waiting int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running, m.waiting
}

func (m *merging) is(t *testing.T, running, waiting int) {
	t.Helper()
	synctest.Wait()
	if r, w := m.state(); r != running || w != waiting {
		t.Errorf("%d run and %d wait, want %d and %d", r, w, running, waiting)
	}
}

func TestCompactionsKeepToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMerging(1)
		defer m.c.Unregister()
		m.want()
		m.want()
		m.want()
		m.is(t, 1, 2)
		m.finish()
		m.is(t, 1, 1)
		m.limit.Store(2) // and says nothing
		time.Sleep(lookWaiting)
		m.is(t, 2, 0)
		m.want()
		m.is(t, 2, 1)
		m.limit.Store(3)
		m.c.UpdateGetAllowedWithoutPermission()
		m.is(t, 3, 0)
	})
}

func TestCompactionsAreSeldomLookedForWhenNoneWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMerging(1)
		m.want()
		m.want()
		m.finish()
		m.finish()
		m.is(t, 0, 0)
		time.Sleep(lookIdle)
		m.asked.Store(0)
		time.Sleep(time.Hour)
		if n := m.asked.Load(); n > 2*int64(time.Hour/lookIdle) {
			t.Errorf("looked %d times in an hour", n)
		}
		m.c.Unregister()
		m.asked.Store(0)
		time.Sleep(time.Hour)
		if m.asked.Load() != 0 {
			t.Error("looks after the end")
		}
		if ok, _ := m.c.TrySchedule(); ok {
			t.Error("grants after the end")
		}
	})
}

// What waits begins within one look of being allowed to, whoever is at it at the same time.
func TestNoCompactionIsForgotten(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			m := newMerging(1)
			var all sync.WaitGroup
			for range 200 {
				for range rng.IntN(4) {
					all.Go(m.want)
				}
				for range rng.IntN(3) {
					all.Go(m.finish)
				}
				limit := 1 + rng.IntN(3)
				m.limit.Store(int64(limit))
				if rng.IntN(2) == 0 {
					all.Go(m.c.UpdateGetAllowedWithoutPermission)
				}
				if rng.IntN(3) > 0 {
					continue // more at the same time
				}
				all.Wait()
				time.Sleep(lookWaiting)
				synctest.Wait()
				if running, waiting := m.state(); waiting > 0 && running < limit {
					t.Fatalf("seed %d: %d run and %d wait, the limit is %d", seed, running, waiting, limit)
				}
				m.c.mu.Lock()
				counted := m.c.running
				m.c.mu.Unlock()
				if running, _ := m.state(); counted != running {
					t.Fatalf("seed %d: %d run, counted %d", seed, running, counted)
				}
			}
			all.Wait()
			m.c.Unregister()
		})
	}
}
