package engine

import (
	"cmp"
	"context"
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
	runs := []ids.RunKey{key.Run(run)}
	if run == "" {
		runs = nil
		err = record.ScanRuns(e.store, key, storage.PrefixEnd, func(k ids.RunKey) bool { runs = append(runs, k); return true })
	}
	var fault error
	failed := key.Run(run)
	for _, k := range runs {
		if err = ctx.Err(); err != nil {
			return nil, err
		}
		failed = k
		prefix := record.LedgerPrefix(k)
		scanned := e.store.Scan(prefix, storage.PrefixEnd(prefix), func(_, value []byte) bool {
			var row []execution.Note
			if row, fault = record.DecodeNotes(value); fault == nil {
				add(k.Run, row)
			}
			return fault == nil
		})
		if err = cmp.Or(err, scanned, fault); err != nil {
			break
		}
	}
	if err != nil {
		return nil, e.shard(key).readFailed("read ledger", failed, err)
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
