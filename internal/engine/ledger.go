package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// RunNotes is the ledger of one run, oldest note first.
type RunNotes struct {
	Run   ids.RunID
	Notes []execution.Note
}

// addNotes keeps notes until they are staged, at most max of them.
func (e *entry) addNotes(notes []execution.Note, max int) {
	e.notes = append(e.notes, notes...)
	if over := len(e.notes) - max; over > max {
		e.notes = slices.Delete(e.notes, 0, over)
	}
}

// Ledger implements Service. What only memory has of runs other than the one asked for, or the current one, is missing.
func (e *Engine) Ledger(ctx context.Context, key ids.WorkflowKey, run ids.RunID) ([]RunNotes, error) {
	v, err := e.view(ctx, key, run)
	if err != nil {
		return nil, err
	}
	notes := make(map[ids.RunID]map[int64]execution.Note)
	add := func(run ids.RunID, all []execution.Note) {
		if notes[run] == nil {
			notes[run] = make(map[int64]execution.Note)
		}
		for _, n := range all {
			notes[run][n.Number] = n
		}
	}
	prefix := record.AllLedgers(key)
	if run != "" {
		prefix = record.LedgerPrefix(key.Run(run))
	}
	var fault error
	err = e.store.Scan(prefix, storage.PrefixEnd(prefix), func(k, value []byte) bool {
		of, err := record.ParseLedgerKey(k)
		var row []execution.Note
		if err == nil {
			row, err = record.DecodeNotes(value)
		}
		if err != nil {
			fault = fmt.Errorf("read the ledger of %s: %w", key.Run(run), err)
			return false
		}
		add(of.Run, row)
		return true
	})
	if err = cmp.Or(err, fault); err != nil {
		return nil, e.shard(key).readFailed("read ledger", key.Run(run), err)
	}
	add(v.state.Key.Run, v.notes)
	var out []RunNotes
	for run, of := range notes {
		out = append(out, RunNotes{run, e.newest(slices.SortedFunc(maps.Values(of), byNumber))})
	}
	current := func(n RunNotes) int {
		if n.Run == v.state.Key.Run {
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b RunNotes) int {
		return cmp.Or(cmp.Compare(first(a.Notes), first(b.Notes)), cmp.Compare(current(a), current(b)), cmp.Compare(a.Run, b.Run))
	})
	return out, nil
}

func byNumber(a, b execution.Note) int { return cmp.Compare(a.Number, b.Number) }

// first is when the oldest note was made.
func first(notes []execution.Note) int64 {
	if len(notes) == 0 {
		return 0
	}
	return int64(notes[0].At)
}

// newest leaves out what the ring has not overwritten yet though it is too old to be told in full.
func (e *Engine) newest(notes []execution.Note) []execution.Note {
	if len(notes) == 0 {
		return notes
	}
	oldest := notes[len(notes)-1].Number - int64(e.opts.Limits.LedgerNotes)
	i, _ := slices.BinarySearchFunc(notes, oldest+1, func(n execution.Note, want int64) int { return cmp.Compare(n.Number, want) })
	return notes[i:]
}
