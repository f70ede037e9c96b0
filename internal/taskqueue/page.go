package taskqueue

import (
	"log/slog"
	"strings"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/matching"
	"github.com/perdure/perdure/internal/record"
)

// read reads one page of q's rows, waiting for its turn.
func (m *Manager) read(q *queue, after []byte, limit int) ([]execution.Offer, [][]byte, error) {
	select {
	case m.reads <- struct{}{}:
		defer func() { <-m.reads }()
	case <-m.ctx.Done():
		return nil, nil, m.ctx.Err()
	}
	return m.opts.Backlog.Page(m.ctx, q.key, after, limit)
}

// page brings rows into memory.
func (m *Manager) page(q *queue, after matching.Position, limit int) {
	offers, keys, err := m.read(q, startAfter(q.key, after), limit)
	if err != nil {
		m.pageFailed(q, err)
		return
	}
	rows := make([]*matching.Task[payload], len(offers))
	for i, o := range offers {
		rows[i] = taskOf(o)
		rows[i].Key = string(keys[i])
	}
	now := m.opts.Clock.Now()
	q.mu.Lock()
	q.failures = 0
	q.deliver(now, q.core.EndPage(now, rows, len(rows) < limit))
	m.release(q)
}

// Failed pages are read again after a while that doubles up to a bound.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 10 * time.Second
)

func (m *Manager) pageFailed(q *queue, err error) {
	if m.ctx.Err() == nil {
		m.opts.Logger.Error("could not read backlog", slog.String("namespace_id", string(q.key.Namespace)),
			slog.String("task_queue", q.key.Name), slog.Any("error", err))
	}
	now := m.opts.Clock.Now()
	q.mu.Lock()
	wait := min(retryMax, retryFirst<<min(q.failures, 10))
	q.failures++
	q.core.FailPage(now.Add(wait))
	m.release(q)
}

// startAfter translates a position to the key that Backlog.Page starts after: the position's key, or the one just
// before it. All keys of a queue have the same length.
func startAfter(key QueueKey, p matching.Position) []byte {
	if p.Key == "" {
		return nil
	}
	after := []byte(p.Key)
	if p.Inclusive {
		return after
	}
	for i := len(after) - 1; i >= 0; i-- {
		after[i]--
		if after[i] != 0xff {
			break
		}
	}
	if !strings.HasPrefix(string(after), string(record.DispatchPrefix(key.Namespace, key.Type, key.Name))) {
		return nil
	}
	return after
}

// countPage is how many rows are read at a time when they are counted.
const countPage = 1000

// count corrects q's estimate of the tasks that are only in the store, counting at most limit rows.
func (m *Manager) count(q *queue, limit int) {
	var counts [5]int64
	var oldest [5]clock.Nanos
	var after []byte
	total, complete := 0, false
	for total < limit && !complete {
		want := min(countPage, limit-total)
		offers, keys, err := m.read(q, after, want)
		if err != nil {
			if m.ctx.Err() == nil {
				m.opts.Logger.Warn("could not count backlog", slog.String("namespace_id", string(q.key.Namespace)),
					slog.String("task_queue", q.key.Name), slog.Any("error", err))
			}
			break
		}
		for _, o := range offers {
			l := level(o)
			if counts[l]++; oldest[l] == 0 || o.Task.At < oldest[l] {
				oldest[l] = o.Task.At
			}
		}
		total += len(offers)
		complete = len(offers) < want
		if len(keys) > 0 {
			after = keys[len(keys)-1]
		}
	}
	now := m.opts.Clock.Now()
	q.mu.Lock()
	q.counting, q.counted = false, now
	q.core.Recount(counts, oldest, complete)
	m.release(q)
}

// level is the index of an offer's priority.
func level(o execution.Offer) int {
	if o.Task.Priority < 1 || o.Task.Priority > 5 {
		return 2
	}
	return int(o.Task.Priority) - 1
}
