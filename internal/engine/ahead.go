package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Runs whose timers are due at about the same time are loaded together, with the events that their workers have not seen: most of
// what a short scan costs is to set it up, and a timer that follows finds its run in memory.
const (
	aheadTime  = 100 * time.Millisecond
	aheadRuns  = 32 // at most, so that the first one does not wait long
	aheadShare = 8  // they get this part of the budget, by what a small run costs
)

// ahead is how many runs may be loaded together. It grows by one with each load that was of use, and falls to half for each run
// that the cache could not keep until its timer rang.
type ahead struct {
	runs, most int
}

func newAhead(budget int) ahead {
	n := min(max(budget/(aheadShare*entryBytes), 2), aheadRuns)
	return ahead{n, n}
}

func (a *ahead) grow()   { a.runs = min(a.runs+1, a.most) }
func (a *ahead) shrink() { a.runs = max(a.runs/2, 1) }
func (a *ahead) stop()   { a.runs = 1 }

// loadSoon begins to load the run of first, which is due, together with others that are not in memory and will be due soon. It
// leaves first to itself if there are none.
func (t *timers) loadSoon(first *timerItem, now clock.Nanos) {
	s := t.s
	if first.ahead {
		t.ahead.shrink()
	}
	found := t.soon(max(first.at, now).Add(aheadTime))
	if len(found) < 2 {
		t.ahead.grow()
		return
	}
	entries := make([]*entry, len(found))
	for i, it := range found {
		it.ahead = true
		entries[i] = s.entry(it.key)
		entries[i].busy = true
	}
	s.loadAll(entries)
}

// soon finds the first items, in the order in which they ring, whose runs are not in memory.
func (t *timers) soon(until clock.Nanos) []*timerItem {
	if t.ahead.runs < 2 {
		return nil
	}
	var found []*timerItem
	for i := range t.groups {
		n := 0
		t.groups[i].order.Scan(func(it *timerItem) bool {
			if n == t.ahead.runs || it.at > until {
				return false
			}
			n++
			if t.s.entries[it.key] == nil {
				found = append(found, it)
			}
			return true
		})
	}
	slices.SortFunc(found, compareTimers)
	return found[:min(len(found), t.ahead.runs)]
}

// loadAll reads the states of new entries in one snapshot. All calls to them wait meanwhile.
func (s *Shard) loadAll(entries []*entry) {
	// In the order of the table, where a scan goes on from the last one.
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.key.Run, b.key.Run) })
	keys := make([]ids.RunKey, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	unseen := min(s.opts.RecentBytes, s.budget/aheadShare/len(entries))
	s.job(func(storage.Reader) func() {
		runs, err := readRuns(s.eng.store, keys, unseen)
		return func() { s.loadedAll(entries, runs, err) }
	})
}

// loadedAll takes over what was read. What was not is loaded by itself if somebody waits for it, who hears of the failure then.
func (s *Shard) loadedAll(entries []*entry, runs []storedRun, err error) {
	well := err == nil
	for i, e := range entries {
		if err != nil || runs[i].err != nil {
			well = false
			s.notLoaded(e)
			continue
		}
		for _, c := range runs[i].unseen {
			e.remember(c)
		}
		e.unsaved = len(e.recent)
		s.loaded(e, runs[i].state, nil)
	}
	if well {
		s.timers.ahead.grow()
	} else {
		s.timers.ahead.stop()
	}
}

func (s *Shard) notLoaded(e *entry) {
	if len(e.queue) > 0 {
		s.load(e)
		return
	}
	e.busy = false
	s.drop(e)
}

// storedRun is a run as the store has it.
type storedRun struct {
	state  *execution.State
	unseen []chunk // its newest events; see readUnseen
	err    error
}

func readRuns(store storage.Store, keys []ids.RunKey, unseen int) (runs []storedRun, err error) {
	snapshot, err := store.Snapshot()
	if err != nil {
		return nil, err
	}
	defer func() { err = cmp.Or(err, snapshot.Close()) }()
	runs = make([]storedRun, len(keys))
	for i, k := range keys {
		runs[i].state, runs[i].err = record.Load(snapshot, k, storage.PrefixEnd)
	}
	for i := range runs {
		if r := &runs[i]; r.err == nil && r.state != nil && r.state.Open() {
			r.unseen = readUnseen(snapshot, r.state, unseen)
		}
	}
	return runs, nil
}

// readUnseen reads the events after the last workflow task that was completed. It returns nil if they are more than limit bytes, or
// if not all could be read: whoever needs them will read them then, and report the fault.
func readUnseen(r storage.Reader, st *execution.State, limit int) []chunk {
	from, end := st.Info.LastCompletedStartedID+1, st.Info.NextEventID
	if from >= end || end-from > tailEvents {
		return nil
	}
	chunks, err := readTail(r, st.Key, from, end, limit)
	if err != nil {
		return nil
	}
	return chunks
}
