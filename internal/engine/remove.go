package engine

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

const (
	removeRows  = 1000
	removeRetry = time.Second
)

// remove begins to delete a run: what others find it by at once, then its events, and at last, in one batch, its rows
// together with the timer row that would begin the removal again after a crash in between.
func (s *Shard) remove(e *entry) {
	e.gone = true
	e.wf.removals++
	s.timers.remove(e.key)
	if e.wf.known && e.wf.current == e.key.Run {
		s.setCurrent(e.wf, "")
	}
	open, closed := indexKeys(e.state)
	s.stage(storage.Op{Key: open, Delete: true})
	if closed != nil {
		s.stage(storage.Op{Key: closed, Delete: true})
	}
	row := e.state.Info.TimerRow
	if row == 0 {
		row = s.now()
		s.stage(storage.Op{Key: timerKey(e.key, row)})
	}
	e.staged = s.open.seq
	r := &removal{s: s, e: e, row: row}
	s.when(e.staged, func() {
		s.failWatchers(e.key, errNotFound(e.key.Of(), e.key.Run))
		r.current()
	})
}

// removal is the deletion of what only the store holds of a run.
type removal struct {
	s   *Shard
	e   *entry
	row clock.Nanos // the timer row that goes last
}

// current finds out whether the pointer to the current run has to go, too.
func (r *removal) current() {
	s, wf := r.s, r.e.wf
	if wf.known {
		if wf.current == r.e.key.Run {
			s.setCurrent(wf, "")
		}
		r.history()
		return
	}
	wf.waiting = append(wf.waiting, func() {
		if wf.known {
			r.current()
			return
		}
		s.after(s.now().Add(removeRetry), r.current)
	})
	s.loadCurrent(wf)
}

func (r *removal) history() { r.prefix(record.HistoryPrefix(r.e.key), nil, r.messages) }

// messages go before the rows: without its sender a message is dropped at the next start anyway.
func (r *removal) messages() {
	first := record.TaskKey(r.e.key, &execution.Task{Kind: execution.TaskMessage})
	r.prefix(first[:len(first)-8], nil, r.ledger)
}

func (r *removal) ledger() { r.prefix(record.LedgerPrefix(r.e.key), nil, r.rows) }

func (r *removal) rows() {
	last := []storage.Op{{Key: timerKey(r.e.key, r.row), Delete: true}}
	then := func() { r.prefix(record.RunPrefix(r.e.key), last, r.done) }
	if !record.InOrder(r.e.key.Run) {
		then()
		return
	}
	row := record.RunsKey(r.e.key)
	r.s.job(func(reader storage.Reader) func() {
		_, err := reader.Get(row) // most runs have none, and to delete nothing is a write
		return func() {
			switch {
			case err == nil:
				last = append(last, storage.Op{Key: row, Delete: true})
				then()
			case errors.Is(err, storage.ErrNotFound):
				then()
			default:
				_ = r.s.readFailed("remove run", r.e.key, err)
				r.s.after(r.s.now().Add(removeRetry), r.rows)
			}
		}
	})
}

func (r *removal) done() {
	if r.e.wf.removals--; r.e.wf.removals == 0 {
		r.e.wf.written = nil
	}
	r.s.drop(r.e)
}

// retaken tells whether a row that was this run's when it was read is that of a later run, which took the message anew and
// was succeeded meanwhile.
func (r *removal) retaken(m execution.Seen) bool {
	w, ok := r.e.wf.written[m]
	return ok && w.run != r.e.key.Run
}

// beginRead forgets the rows that this read and those under way see as they are.
func (w *workflow) beginRead(durable uint64) {
	w.reads = append(w.reads, durable)
	seen := slices.Min(w.reads)
	maps.DeleteFunc(w.written, func(_ execution.Seen, t retaking) bool { return t.seq <= seen })
}

func (w *workflow) endRead(durable uint64) {
	i := slices.Index(w.reads, durable)
	w.reads = slices.Delete(w.reads, i, i+1)
}

// seenRow is a row by which later runs recall a message.
type seenRow struct {
	key     []byte
	message execution.Seen
}

// seenRows are the rows by which later runs recall what this one took, as far as they still name it.
func seenRows(reader storage.Reader, run ids.RunKey, rows [][]byte) (out []seenRow, err error) {
	for _, row := range rows {
		_, parsed, err := record.ParseRowKey(row)
		if err != nil {
			continue // not a row of the run's state
		}
		m, ok := execution.SeenRow(run.Run, parsed)
		if !ok {
			continue
		}
		key := record.SeenKey(run.Of(), m)
		value, err := reader.Get(key)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return nil, err
		case bytes.Equal(value, record.EncodeCurrent(run.Run)):
			out = append(out, seenRow{key, m})
		}
	}
	return out, nil
}

func (r *removal) prefix(prefix []byte, last []storage.Op, then func()) {
	r.remove(prefix, storage.PrefixEnd(prefix), last, then)
}

// lastRows are the first rows of a run, header and start, without which the others cannot be read: they go together, and with
// what goes last.
const lastRows = 2

// remove deletes a range from its end, a chunk at a time, so that a run's first rows are in the last one, and calls then once all
// is durable.
func (r *removal) remove(start, end []byte, last []storage.Op, then func()) {
	s, durable := r.s, r.s.durable
	r.e.wf.beginRead(durable)
	s.job(func(reader storage.Reader) func() {
		var keys [][]byte
		var seen []seenRow
		err := reader.ScanReverse(start, end, func(key, _ []byte) bool {
			keys = append(keys, bytes.Clone(key))
			return len(keys) < removeRows+lastRows
		})
		more := len(keys) == removeRows+lastRows
		if more {
			keys = keys[:removeRows]
		}
		if err == nil {
			seen, err = seenRows(reader, r.e.key, keys)
		}
		return func() {
			r.e.wf.endRead(durable)
			if err != nil {
				_ = s.readFailed("remove run", r.e.key, err)
				s.after(s.now().Add(removeRetry), func() { r.remove(start, end, last, then) })
				return
			}
			for _, k := range keys {
				s.stage(storage.Op{Key: k, Delete: true})
			}
			for _, row := range seen {
				if !r.retaken(row.message) {
					s.stage(storage.Op{Key: row.key, Delete: true})
				}
			}
			if more {
				s.when(s.newest(), func() { r.remove(start, keys[removeRows-1], last, then) })
				return
			}
			for _, op := range last {
				s.stage(op)
			}
			s.when(s.newest(), then)
		}
	})
}
