package taskqueue

import (
	"cmp"
	"slices"
	"time"

	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/matching"
)

// recountAfter is how old the count of tasks that are only in the store may be before a description asks for a new one.
const recountAfter = 30 * time.Second

// Describe implements Service. Pollers are sorted, the latest first. The count of tasks that are only in the store is
// brought up to date in the background, for the next description.
func (m *Manager) Describe(key QueueKey) Description {
	d := Description{Stats: protoStats(matching.Stats{})}
	q := m.find(key)
	if q == nil {
		return d
	}
	now := m.opts.Clock.Now()
	q.mu.Lock()
	d = q.describe(now, m.opts.PollersRemembered)
	recount := q.core.Spilled() && d.Stats.ApproximateBacklogCount > 0 && !q.gone && !q.counting && now.Sub(q.counted) > recountAfter
	q.counting = q.counting || recount
	q.mu.Unlock()
	if recount {
		m.spawn(func() { m.count(q, m.opts.CountedTasks) })
	}
	return d
}

func (q *queue) describe(now clock.Nanos, remember time.Duration) Description {
	q.forgetPollers(now, remember)
	s := q.core.Stats(now)
	d := Description{Stats: protoStats(s), ByPriority: make(map[int32]*taskqueuepb.TaskQueueStats)}
	for p := range int32(5) {
		ps := q.core.PriorityStats(now, int(p)+1)
		if ps.Count > 0 || ps.AddRate > 0 || ps.DispatchRate > 0 {
			ps.RateLimited = s.RateLimited
			d.ByPriority[p+1] = protoStats(ps)
		}
	}
	for _, p := range q.pollers {
		d.Pollers = append(d.Pollers, p)
	}
	slices.SortFunc(d.Pollers, func(a, b Poller) int {
		return cmp.Or(cmp.Compare(b.LastAccess, a.LastAccess), cmp.Compare(a.Identity, b.Identity))
	})
	return d
}

func protoStats(s matching.Stats) *taskqueuepb.TaskQueueStats {
	return &taskqueuepb.TaskQueueStats{
		ApproximateBacklogCount: s.Count, ApproximateBacklogAge: durationpb.New(s.Age),
		TasksAddRate: float32(s.AddRate), TasksDispatchRate: float32(s.DispatchRate), RateLimitingActive: s.RateLimited,
	}
}
