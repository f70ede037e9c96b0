package local

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// lookWaiting is how often a limit is looked at that keeps a compaction waiting: it rises with what there is to do, and not
	// all that raises it tells.
	lookWaiting = 100 * time.Millisecond
	// lookIdle is how often else, in case that something was overlooked.
	lookIdle = 5 * time.Second
)

// compactions lets Pebble merge tables within the limits that it sets itself. Pebble's own scheduler does the same and looks
// ten times a second whatever there is to do: four fifths of what an idle server costs.
//
// Invariant: while Pebble has a compaction that waits, waiting is true or a grant is under way.
//
// Locks: Pebble calls TrySchedule and UpdateGetAllowedWithoutPermission with its own held, which GetWaitingCompaction and
// Schedule take; so these are called without mu, and never from within the former.
type compactions struct {
	db    pebble.DBForCompaction // set by Register, before anything else is called
	timer *time.Timer            // the next look

	mu       sync.Mutex
	running  int  // with those that are being granted
	waiting  bool // a compaction was refused, or there may be more than was granted
	granting bool
	again    bool       // something has changed since the grant that is under way looked
	granted  *sync.Cond // granting has become false
	closed   bool
}

var (
	_ pebble.CompactionScheduler   = (*compactions)(nil)
	_ pebble.CompactionGrantHandle = (*compactions)(nil)
)

func newCompactions() *compactions {
	c := &compactions{}
	c.granted = sync.NewCond(&c.mu)
	return c
}

// Register implements pebble.CompactionScheduler.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
	c.timer = time.AfterFunc(lookIdle, c.look)
}

// Unregister implements pebble.CompactionScheduler.
func (c *compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.timer.Stop()
	for c.granting {
		c.granted.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return false, nil
	case c.running < c.db.GetAllowedWithoutPermission():
		c.running++
		return true, c
	}
	c.again = true // what is in the way may be a grant that nothing comes of
	if !c.waiting {
		c.waiting = true
		c.timer.Reset(lookWaiting)
	}
	return false, nil
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler.
func (c *compactions) UpdateGetAllowedWithoutPermission() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && !c.closed && c.running < c.db.GetAllowedWithoutPermission() {
		c.timer.Reset(0)
	}
}

// Done implements pebble.CompactionGrantHandle: one of those that were granted has ended.
func (c *compactions) Done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.grant()
}

// Started implements pebble.CompactionGrantHandle.
func (c *compactions) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

func (c *compactions) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grant()
}

// grant lets compactions run that wait, as far as the limit goes. mu is held, but not while Pebble is asked.
func (c *compactions) grant() {
	if c.again = true; c.granting {
		return
	}
	c.granting = true
	for c.again {
		c.again = false
		for !c.closed && c.running < c.db.GetAllowedWithoutPermission() {
			c.running++
			c.waiting = false // unless one is refused meanwhile
			c.mu.Unlock()
			more, _ := c.db.GetWaitingCompaction()
			more = more && c.db.Schedule(c)
			c.mu.Lock()
			if !more {
				c.running--
				break
			}
			c.waiting = true
		}
	}
	c.granting = false
	c.granted.Broadcast()
	switch {
	case c.closed:
	case c.waiting:
		c.timer.Reset(lookWaiting)
	default:
		c.timer.Reset(lookIdle)
	}
}
