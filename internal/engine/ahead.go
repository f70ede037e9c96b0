package engine

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Runs whose timers are due at about the same time are loaded together, with the events that their workers have not seen: most of
// what a short scan costs is to set it up, and a timer that follows finds its run in memory.
const (
	aheadTime  = 100 * time.Millisecond
	aheadRuns  = 64
	aheadShare = 8 // at most this part of the budget, by what a small run costs
)

// soon makes entries for the run of first, which is due, and for others that are not in memory and will be due soon.
func (t *timers) soon(first *timerItem) []*entry {
	s := t.s
	limit := min(max(s.budget/(aheadShare*entryBytes), 1), aheadRuns)
	found := make([]*entry, 0, limit)
	add := func(it *timerItem) { found = append(found, s.entry(it.key)) }
	add(first)
	for i := range t.groups {
		looked := 0
		t.groups[i].order.Scan(func(it *timerItem) bool {
			if looked++; looked > aheadRuns || len(found) == limit || it.at > first.at.Add(aheadTime) {
				return false
			}
			if s.entries[it.key] == nil {
				add(it)
			}
			return true
		})
	}
	return found
}

// loadAll reads the states of new entries in one snapshot. All calls to them wait meanwhile.
func (s *Shard) loadAll(entries []*entry) {
	for _, e := range entries {
		e.busy = true
	}
	// In the order of the table, where a scan goes on from the last one.
	slices.SortFunc(entries, func(a, b *entry) int { return strings.Compare(string(a.key.Run), string(b.key.Run)) })
	keys := make([]ids.RunKey, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	s.job(func(storage.Reader) func() {
		runs, err := readRuns(s.eng.store, keys, s.opts.RecentBytes)
		return func() {
			for i, e := range entries {
				if err == nil {
					s.gotRun(e, &runs[i])
				} else {
					s.loaded(e, nil, err)
				}
			}
		}
	})
}

func (s *Shard) gotRun(e *entry, r *storedRun) {
	if r.err == nil {
		for _, c := range r.unseen {
			e.remember(c)
		}
		e.unsaved = len(e.recent)
	}
	s.loaded(e, r.state, r.err)
}

// storedRun is a run as the store has it.
type storedRun struct {
	state  *execution.State
	unseen []chunk // its newest events; see readUnseen
	err    error
}

func readRuns(store storage.Store, keys []ids.RunKey, bytes int) (runs []storedRun, err error) {
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
			r.unseen = readUnseen(snapshot, r.state, bytes)
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
	var chunks []chunk
	left, next := limit, end // of bytes; the first event that was read
	err := r.ScanReverse(record.HistoryPrefix(st.Key), record.HistoryKey(st.Key, end), func(_, row []byte) bool {
		c, err := storedChunk(row)
		if left -= len(row); err != nil || left < 0 || c.next != next {
			return false
		}
		chunks, next = append(chunks, c), c.first
		return next > from
	})
	if err != nil || next > from {
		return nil
	}
	slices.Reverse(chunks)
	return chunks
}

// storedChunk copies a row of a history.
func storedChunk(row []byte) (chunk, error) {
	c := chunk{bytes: bytes.Clone(row)}
	for rest := row; len(rest) > 0; {
		_, id, next, err := record.NextEvent(rest)
		if err != nil {
			return c, err
		}
		if c.first == 0 {
			c.first = id
		}
		c.next, rest = id+1, next
	}
	if c.next == 0 {
		return c, errors.New("empty row of a history")
	}
	return c, nil
}
