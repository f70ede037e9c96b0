package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tidwall/btree"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

const (
	timerAhead = 30 * time.Second // rows are paged in this long before they are due
	timerRetry = time.Second      // after a failed read, or a ring that changed nothing
	never      = clock.Nanos(math.MaxInt64)
)

// timers rings runs when something of theirs is due. Each run has at most one item here. Of each group of slots, all
// rows up to the horizon are known; those beyond it stay in the store.
//
// Invariant: a run with a row in the store at or before its group's horizon, or with a deadline that no row stands for,
// has an item, is being rung, or is being loaded.
type timers struct {
	s       *Shard
	items   map[ids.RunKey]*timerItem
	groups  []timerGroup
	ringing int
	ahead   ahead
}

type timerItem struct {
	key   ids.RunKey
	group int
	at    clock.Nanos
	row   clock.Nanos // time of the row in the store; zero: none
	ahead bool        // its run was loaded before this was due
}

type timerGroup struct {
	number  int // in the store
	order   *btree.BTreeG[*timerItem]
	horizon clock.Nanos // never: all rows are known
	from    []byte      // where reading goes on
	floor   int         // items that the last shrink could not give back
	paging  bool
	retryAt clock.Nanos
}

func (t *timers) reset(s *Shard) {
	n := record.TimerGroups / s.opts.Shards
	*t = timers{s: s, items: make(map[ids.RunKey]*timerItem), groups: make([]timerGroup, n), ahead: newAhead(s.budget)}
	for i := range t.groups {
		number := int(s.id)*n + i
		t.groups[i] = timerGroup{number: number, from: record.AllTimers(number),
			order: btree.NewBTreeGOptions(timersInOrder, btree.Options{NoLocks: true})}
	}
}

func timersInOrder(a, b *timerItem) bool { return compareTimers(a, b) < 0 }

func compareTimers(a, b *timerItem) int {
	if a.at != b.at {
		return cmp.Compare(a.at, b.at) // without a look at the keys, which cmp.Or would compare each time
	}
	return cmp.Or(cmp.Compare(a.key.Namespace, b.key.Namespace), cmp.Compare(a.key.Workflow, b.key.Workflow),
		cmp.Compare(a.key.Run, b.key.Run))
}

func (t *timers) group(k ids.RunKey) int {
	return record.TimerGroup(k.Of().Slot()) - t.groups[0].number
}

// feed takes over a run's newest deadline. futile: the run was rung and did nothing about it.
func (t *timers) feed(e *entry, futile bool) {
	if e.gone {
		t.remove(e.key)
		return
	}
	at, row := t.s.core.Deadline(e.state), e.state.Info.TimerRow
	old := t.items[e.key]
	if at == 0 && row == 0 {
		t.remove(e.key)
		return
	}
	it := timerItem{key: e.key, at: at, row: row}
	if old != nil {
		it.group = old.group
	} else {
		it.group = t.group(e.key)
	}
	g := &t.groups[it.group]
	known := func(at clock.Nanos) bool { return at <= g.horizon || g.paging } // a page may miss what is staged now
	backed := row != 0 && (at == 0 || row <= at)
	switch {
	case at != 0 && (!backed || known(at)):
	case backed && known(row):
		it.at = row // nothing else would ring at its time
	default:
		t.remove(e.key)
		return
	}
	if futile {
		it.at = max(it.at, t.s.now().Add(timerRetry))
	}
	t.put(it)
}

func (t *timers) put(it timerItem) {
	if old := t.items[it.key]; old != nil {
		if old.at == it.at && old.row == it.row {
			return
		}
		t.remove(it.key)
	}
	p := &it
	t.items[it.key] = p
	t.groups[it.group].order.Set(p)
}

func (t *timers) remove(k ids.RunKey) {
	if it := t.items[k]; it != nil {
		delete(t.items, k)
		t.groups[it.group].order.Delete(it)
	}
}

// first is the item that rings next.
func (t *timers) first() *timerItem {
	var first *timerItem
	for i := range t.groups {
		if it, ok := t.groups[i].order.Min(); ok && (first == nil || timersInOrder(it, first)) {
			first = it
		}
	}
	return first
}

// next is when pump has to be called; zero: not for the sake of time.
func (t *timers) next() clock.Nanos {
	var at clock.Nanos
	if it := t.first(); it != nil && t.ringing < t.s.opts.DueMax {
		at = max(it.at, 1)
	}
	for i := range t.groups {
		at = earlier(at, t.groups[i].nextPage(t.s.opts.TimerRows))
	}
	return at
}

// nextPage is when the next rows of the group have to be read; zero: not for the sake of time. Well before the horizon if
// there is room; else when time has reached the horizon and all before it were rung.
func (g *timerGroup) nextPage(rows int) clock.Nanos {
	if g.paging || g.horizon == never {
		return 0
	}
	if g.order.Len() < rows/2 {
		return max(g.horizon-clock.Nanos(timerAhead), g.retryAt, 1)
	}
	if it, _ := g.order.Min(); it.at > g.horizon {
		return max(g.horizon, g.retryAt, 1)
	}
	return 0
}

// pump rings what is due, reads rows that are near, and lets go of rows that are far when there are too many.
func (t *timers) pump(now clock.Nanos) {
	for range t.s.opts.DueMax {
		it := t.first()
		if it == nil || it.at > now || t.ringing >= t.s.opts.DueMax {
			break
		}
		t.ring(it, now)
	}
	for i := range t.groups {
		g := &t.groups[i]
		if at := g.nextPage(t.s.opts.TimerRows); at != 0 && at <= now {
			t.page(g)
		}
		if n := g.order.Len(); n > 2*max(t.s.opts.TimerRows, g.floor) && !g.paging {
			t.shrink(g)
		}
	}
}

func (t *timers) ring(it *timerItem, now clock.Nanos) {
	if t.s.entries[it.key] == nil {
		t.loadSoon(it, now)
	}
	t.remove(it.key)
	it.ahead = false
	t.ringing++
	t.s.handle(&call{
		kind: callInput, key: it.key.Of(), run: it.key.Run, in: execution.TimerDue{}, rung: it,
		then: t.s.guardAnswer(func(_ any, err error) {
			t.ringing--
			t.answered(it, err)
		}),
	})
}

// answered ends a ring. A run's next deadline is fed by its transition, unless the run could not be asked.
func (t *timers) answered(it *timerItem, err error) {
	s := t.s
	e := s.entries[it.key]
	switch {
	case e != nil && e.gone:
	case isKind(err, execution.NotFound), e != nil && e.known && e.state == nil:
		if it.row != 0 && (e == nil || e.state == nil) {
			s.stage(storage.Op{Key: timerKey(it.key, it.row), Delete: true})
		}
	case err != nil && t.items[it.key] == nil:
		again := *it
		again.at = s.now().Add(timerRetry)
		t.put(again)
	}
}

func isKind(err error, kind execution.ErrorKind) bool {
	var e *execution.Error
	return errors.As(err, &e) && e.Kind == kind
}

func timerKey(k ids.RunKey, at clock.Nanos) []byte {
	return record.TaskKey(k, &execution.Task{Kind: execution.TaskTimer, At: at})
}

// page reads the next rows of a group once all that is staged is durable, so that none is missed.
func (t *timers) page(g *timerGroup) {
	s := t.s
	g.paging = true
	s.when(s.newest(), func() {
		from, end, limit := g.from, storage.PrefixEnd(record.AllTimers(g.number)), s.opts.TimerRows
		s.job(func(r storage.Reader) func() {
			rows, last, err := scanTimers(r, from, end, limit)
			return func() { t.paged(g, rows, last, err) }
		})
	})
}

type timerRow struct {
	key ids.RunKey
	at  clock.Nanos
}

// scanTimers reads up to limit rows; last is nil when there are no more.
func scanTimers(r storage.Reader, from, end []byte, limit int) (rows []timerRow, last []byte, err error) {
	var fault error
	err = r.Scan(from, end, func(key, _ []byte) bool {
		var row timerRow
		if row.key, row.at, fault = record.ParseTimerKey(key); fault != nil {
			fault = fmt.Errorf("timer row: %w", fault)
			return false
		}
		if rows = append(rows, row); len(rows) < limit {
			return true
		}
		last = bytes.Clone(key)
		return false
	})
	return rows, last, cmp.Or(err, fault)
}

func (t *timers) paged(g *timerGroup, rows []timerRow, last []byte, err error) {
	g.paging = false
	if err != nil {
		_ = t.s.readFailed("read timers", ids.RunKey{}, err)
		g.retryAt = t.s.now().Add(timerRetry)
		return
	}
	g.horizon, g.retryAt = never, 0
	if last != nil {
		g.horizon, g.from = rows[len(rows)-1].at, append(last, 0)
	}
	for _, row := range rows {
		if e := t.s.entries[row.key]; e != nil && e.known && e.state != nil {
			t.feed(e, false) // its own deadline counts; it may have been beyond the horizon until now
			if e.state.Info.TimerRow == row.at {
				continue
			}
		}
		if t.items[row.key] == nil {
			t.put(timerItem{key: row.key, group: g.number - t.groups[0].number, at: row.at, row: row.at})
		}
	}
}

// shrink gives the latest rows of a group back to the store.
func (t *timers) shrink(g *timerGroup) {
	var keep []*timerItem
	var cut *timerItem // the earliest one given back
	for {
		it, ok := g.order.Max()
		if !ok || g.order.Len() <= t.s.opts.TimerRows && (cut == nil || it.at < cut.at) {
			break
		}
		g.order.Delete(it)
		switch {
		case it.row == it.at:
			delete(t.items, it.key)
			cut = it
		case it.row != 0 && it.row < it.at:
			it.at = it.row // let the row ring; the run then tells its deadline
			g.order.Set(it)
		default:
			keep = append(keep, it)
		}
	}
	for _, it := range keep {
		g.order.Set(it)
	}
	g.floor = len(keep)
	if cut != nil && cut.at <= g.horizon { // else reading has not come that far
		// Reading goes on before all rows of that moment: some may be staged later and sort before those given back.
		g.horizon, g.from = cut.at-1, timerKey(cut.key, cut.at)[:len(record.AllTimers(g.number))+8]
	}
}
