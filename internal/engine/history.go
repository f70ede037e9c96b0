package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

type historyEvent = historypb.HistoryEvent

// errGap: the store lacks an event that the run's state says exists.
var errGap = errors.New("history has a gap")

// History implements Service. An empty run means the current one. Events of a task that was started without a write are
// returned, too, though a crash may take them back. It waits for nothing but the durability of what it returns.
func (e *Engine) History(ctx context.Context, q HistoryQuery) (*HistoryPage, error) {
	v, err := e.view(ctx, q.Run.Of(), q.Run.Run)
	if err != nil {
		return nil, err
	}
	q.Run = v.state.Key
	if end := v.state.Info.NextEventID; q.To == 0 || q.To > end {
		q.To = end
	}
	q.From = max(q.From, 1)
	p := &pager{q: q, want: q.From}
	if q.Reverse {
		p.want = q.To - 1
	}
	if q.From < q.To {
		if err := p.read(e.store, v.recent); err != nil {
			return nil, e.historyFailed(ctx, q, err)
		}
	}
	return &p.page, nil
}

// historyFailed tells a run that was removed meanwhile from a failed read.
func (e *Engine) historyFailed(ctx context.Context, q HistoryQuery, err error) error {
	if errors.Is(err, errGap) {
		if _, err := e.view(ctx, q.Run.Of(), q.Run.Run); err != nil {
			return err
		}
	}
	return e.shard(q.Run.Of()).readFailed("read history", q.Run, err)
}

// pager collects one page, event by event, in order.
type pager struct {
	q    HistoryQuery
	page HistoryPage
	want ids.EventID // the next event
	full bool
	cuts []int // of the row being read backwards: where its events begin
}

// read fills the page from the store and from recent, which has the newest events.
func (p *pager) read(r storage.Reader, recent []chunk) error {
	stored := p.q.To // events before it are read from the store
	if len(recent) > 0 {
		stored = min(stored, recent[0].first)
	}
	if p.q.Reverse {
		for i := len(recent) - 1; i >= 0 && !p.full; i-- {
			if err := p.row(recent[i].bytes, p.q.To); err != nil {
				return err
			}
		}
		if !p.full && p.q.From < stored {
			if err := p.scanReverse(r, stored); err != nil {
				return err
			}
		}
		return p.finish()
	}
	if p.q.From < stored {
		if err := p.scan(r, stored); err != nil {
			return err
		}
	}
	for i := 0; i < len(recent) && !p.full; i++ {
		if err := p.row(recent[i].bytes, p.q.To); err != nil {
			return err
		}
	}
	return p.finish()
}

// finish wants the range to be complete unless the page is full.
func (p *pager) finish() error {
	left := p.want < p.q.To
	if p.q.Reverse {
		left = p.want >= p.q.From
	}
	if left && !p.full {
		return fmt.Errorf("event %d of %s: %w", p.want, p.q.Run, errGap)
	}
	p.page.More = left
	return nil
}

// What is read from the end of a history at once, when a worker wants no more than what came since its last task.
const (
	tailEvents = 64
	tailBytes  = 256 << 10
)

// scan reads rows from the one that holds From to the event before end.
func (p *pager) scan(r storage.Reader, end ids.EventID) error {
	if n := end - p.q.From; p.q.From > 1 && n <= tailEvents && (p.q.Max == 0 || int(n) <= p.q.Max) {
		if done, err := p.scanTail(r, end); done || err != nil {
			return err
		}
	}
	start := record.HistoryPrefix(p.q.Run)
	if p.q.From > 1 {
		err := r.ScanReverse(start, record.HistoryKey(p.q.Run, p.q.From+1), func(key, _ []byte) bool {
			start = bytes.Clone(key)
			return false
		})
		if err != nil {
			return err
		}
	}
	return p.scanRows(r.Scan, start, end)
}

// scanTail does the same with one scan instead of two: to seek is most of what a short scan costs. If that is too much, it has
// done nothing.
func (p *pager) scanTail(r storage.Reader, end ids.EventID) (done bool, err error) {
	chunks, err := readTail(r, p.q.Run, p.q.From, end, tailBytes)
	if err != nil || chunks == nil {
		return false, err
	}
	for _, c := range chunks {
		if p.full {
			break
		}
		if err := p.row(c.bytes, end); err != nil {
			return false, err
		}
	}
	return true, nil
}

// readTail reads a history backwards, from before end up to the row that holds from. The oldest row comes first, and the newest may
// hold end, too. It returns nil if they are more than limit bytes.
func readTail(r storage.Reader, run ids.RunKey, from, end ids.EventID, limit int) ([]chunk, error) {
	var chunks []chunk
	var fault error
	size, next := 0, end
	err := r.ScanReverse(record.HistoryPrefix(run), record.HistoryKey(run, end), func(_, row []byte) bool {
		var c chunk
		c, fault = storedChunk(row)
		size += len(row)
		if fault != nil || size > limit || c.next < next {
			return false
		}
		chunks, next = append(chunks, c), c.first
		return next > from
	})
	if err = cmp.Or(err, fault); err != nil {
		return nil, err
	}
	if size > limit {
		return nil, nil
	}
	if next > from {
		return nil, fmt.Errorf("event %d of %s: %w", next-1, run, errGap)
	}
	slices.Reverse(chunks)
	return chunks, nil
}

// storedChunk copies a row.
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
	return c, nil
}

func (p *pager) scanReverse(r storage.Reader, end ids.EventID) error {
	return p.scanRows(r.ScanReverse, record.HistoryPrefix(p.q.Run), end)
}

type scanFunc func(start, end []byte, fn func(key, value []byte) bool) error

func (p *pager) scanRows(scan scanFunc, start []byte, end ids.EventID) error {
	var fault error
	err := scan(start, record.HistoryKey(p.q.Run, end), func(_, value []byte) bool {
		fault = p.row(value, end)
		return fault == nil && !p.full && (!p.q.Reverse || p.want >= p.q.From)
	})
	return cmp.Or(err, fault)
}

// row takes those events of a row that are wanted and come before end.
func (p *pager) row(row []byte, end ids.EventID) error {
	if p.q.Reverse {
		return p.rowReverse(row, end)
	}
	for len(row) > 0 && !p.full {
		_, id, rest, err := record.NextEvent(row)
		if err != nil {
			return err
		}
		if id >= end {
			return nil
		}
		if err := p.event(row[:len(row)-len(rest)], id); err != nil {
			return err
		}
		row = rest
	}
	return nil
}

func (p *pager) rowReverse(row []byte, end ids.EventID) error {
	p.cuts = p.cuts[:0]
	var last ids.EventID
	for rest := row; len(rest) > 0; {
		_, id, next, err := record.NextEvent(rest)
		if err != nil {
			return err
		}
		if id >= end {
			row = row[:len(row)-len(rest)]
			break
		}
		p.cuts = append(p.cuts, len(row)-len(rest))
		last, rest = id, next
	}
	for i := len(p.cuts) - 1; i >= 0 && !p.full; i-- {
		if err := p.event(row[p.cuts[i]:], last-ids.EventID(len(p.cuts)-1-i)); err != nil {
			return err
		}
		row = row[:p.cuts[i]]
	}
	return nil
}

// event adds an event in its wire form, unless it lies outside of the range.
func (p *pager) event(field []byte, id ids.EventID) error {
	if id < p.q.From || id >= p.q.To {
		return nil
	}
	if id != p.want {
		return fmt.Errorf("event %d of %s, found %d: %w", p.want, p.q.Run, id, errGap)
	}
	if p.q.Reverse {
		p.want--
	} else {
		p.want++
	}
	g := &p.page
	if g.Count == 0 {
		g.First = id
	}
	g.Events = append(g.Events, field...)
	g.Count++
	g.Last = id
	p.full = p.q.Max > 0 && g.Count >= p.q.Max || p.q.MaxSize > 0 && len(g.Events) >= p.q.MaxSize
	return nil
}

// readEventsByID reads single events; those that are not there are nil.
func readEventsByID(r storage.Reader, run ids.RunKey, want []ids.EventID) (storedEvents, error) {
	found := make(storedEvents, len(want))
	for _, id := range want {
		found[id] = nil
		var fault error
		err := r.ScanReverse(record.HistoryPrefix(run), record.HistoryKey(run, id+1), func(_, value []byte) bool {
			var ev *historyEvent
			if ev, fault = eventOf(value, id); ev != nil {
				found[id] = ev
			}
			return false
		})
		if err = cmp.Or(err, fault); err != nil {
			return nil, fmt.Errorf("read event %d of %s: %w", id, run, err)
		}
	}
	return found, nil
}

// eventOf decodes one event of a row; nil if the row does not have it.
func eventOf(row []byte, want ids.EventID) (*historyEvent, error) {
	for len(row) > 0 {
		_, id, rest, err := record.NextEvent(row)
		if err != nil {
			return nil, err
		}
		if id == want {
			events, err := record.DecodeEvents(row[:len(row)-len(rest)])
			if err != nil {
				return nil, err
			}
			return events[0], nil
		}
		row = rest
	}
	return nil, nil
}

// findEvent looks among recent events; nil if it is not there.
func findEvent(recent []chunk, id ids.EventID) *historyEvent {
	for _, c := range recent {
		if c.first <= id && id < c.next {
			ev, err := eventOf(c.bytes, id)
			if err != nil {
				return nil
			}
			return ev
		}
	}
	return nil
}

// readWhole reads all events before next.
func readWhole(r storage.Reader, run ids.RunKey, next ids.EventID, recent []chunk) ([]*historyEvent, error) {
	return readEvents(r, run, 1, next, recent)
}

// readEvents reads the events [from, next).
func readEvents(r storage.Reader, run ids.RunKey, from, next ids.EventID, recent []chunk) ([]*historyEvent, error) {
	p := &pager{q: HistoryQuery{Run: run, From: from, To: next}, want: from}
	if err := p.read(r, recent); err != nil {
		return nil, err
	}
	return record.DecodeEvents(p.page.Events)
}
