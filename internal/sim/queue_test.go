package sim

import (
	"context"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/matching"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const stickyWindow = 10 * time.Second

// hint is what queues hold: an offer of the engine, or a query to be answered by itself.
type hint struct {
	offer execution.Offer
	query *directQuery
}

// poll is a worker that waits. It gets a hint, or nothing.
type poll struct {
	queue *taskQueue
	core  *matching.Poller[*poll]
	got   func(h hint, ok bool)
	over  bool
}

type taskQueue struct {
	key      taskqueue.QueueKey
	core     *matching.Queue[hint, *poll]
	lastPoll clock.Nanos
	tickAt   clock.Nanos
}

// queues drive the matching core as the server's task queues do.
type queues struct {
	n       *node
	backlog *engine.Backlog
	all     map[taskqueue.QueueKey]*taskQueue
	order   []*taskQueue
	polls   []*poll
	handed  []matching.Match[hint, *poll]
}

func newQueues(n *node) *queues {
	return &queues{n: n, backlog: engine.NewBacklog(n.s.disk), all: map[taskqueue.QueueKey]*taskQueue{}}
}

func (qs *queues) get(key taskqueue.QueueKey) *taskQueue {
	q := qs.all[key]
	if q == nil {
		q = &taskQueue{key: key, core: matching.New[hint, *poll](matching.Options[hint]{Memory: qs.n.s.conf.memory, Key: rowKey})}
		qs.all[key] = q
		qs.order = append(qs.order, q)
	}
	return q
}

func rowKey(h hint) string {
	run := runOf(h.offer)
	return string(record.TaskKey(run, &h.offer.Task))
}

func runOf(o execution.Offer) ids.RunKey {
	if o.Workflow != nil {
		return o.Workflow.Run
	}
	return o.Activity.Run
}

func taskOf(o execution.Offer) *matching.Task[hint] {
	return &matching.Task[hint]{Value: hint{offer: o}, Priority: o.Task.Priority, At: o.Task.At, Added: o.Task.At, Volatile: o.Volatile}
}

func keyOf(o execution.Offer) taskqueue.QueueKey {
	k := taskqueue.QueueKey{Namespace: namespace, Type: record.QueueWorkflow, Name: o.Task.Queue}
	if o.Activity != nil {
		k.Type = record.QueueActivity
	}
	return k
}

// Offer implements engine.Sink.
func (qs *queues) Offer(o execution.Offer) {
	q := qs.get(keyOf(o))
	qs.hand(q.core.Offer(qs.n.s.now(), taskOf(o)))
}

// StickyAlive implements engine.Sink.
func (qs *queues) StickyAlive(_ ids.NamespaceID, name string) bool {
	q := qs.all[taskqueue.QueueKey{Namespace: namespace, Type: record.QueueWorkflow, Name: name}]
	return q != nil && (q.core.Waiting() > 0 || q.lastPoll != 0 && qs.n.s.now().Sub(q.lastPoll) <= stickyWindow)
}

func (qs *queues) hand(m []matching.Match[hint, *poll]) { qs.handed = append(qs.handed, m...) }

func (qs *queues) requeue(q *taskQueue, h hint) {
	qs.hand(q.core.Requeue(qs.n.s.now(), taskOf(h.offer)))
}

func (qs *queues) offerQuery(key taskqueue.QueueKey, d *directQuery) {
	qs.hand(qs.get(key).core.OfferQuery(qs.n.s.now(), &matching.Task[hint]{Value: hint{query: d}, Dead: func() bool { return d.over }}))
}

// poll waits for a task, up to a time.
func (qs *queues) poll(key taskqueue.QueueKey, wait time.Duration, got func(hint, bool)) *poll {
	q := qs.get(key)
	p := &poll{queue: q, got: got}
	p.core = &matching.Poller[*poll]{Value: p}
	q.lastPoll = qs.n.s.now()
	if len(qs.polls) > 64 {
		left := qs.polls[:0]
		for _, p := range qs.polls {
			if !p.over {
				left = append(left, p)
			}
		}
		qs.polls = left
	}
	qs.polls = append(qs.polls, p)
	qs.hand(q.core.Poll(qs.n.s.now(), p.core))
	qs.n.later(wait, func() {
		if !p.over && q.core.Cancel(p.core) {
			q.lastPoll = qs.n.s.now()
			p.end(hint{}, false)
		}
	})
	return p
}

func (p *poll) end(h hint, ok bool) {
	if !p.over {
		p.over = true
		p.got(h, ok)
	}
}

// kill ends all polls.
func (qs *queues) kill() {
	for _, p := range qs.polls {
		p.end(hint{}, false)
	}
}

// settle hands out what was matched, reads pages and sets timers.
func (qs *queues) settle() {
	for len(qs.handed) > 0 {
		handed := qs.handed
		qs.handed = nil
		for _, m := range handed {
			m.Poller.Value.queue.lastPoll = qs.n.s.now()
			m.Poller.Value.end(m.Task.Value, true)
		}
	}
	now := qs.n.s.now()
	for _, q := range qs.order {
		if q.core.WantsPage(now) {
			qs.page(q)
		}
		if at := q.core.NextTick(now); at != 0 && (q.tickAt == 0 || at < q.tickAt) {
			q.tickAt = at
			qs.n.later(at.Sub(now), func() { q.tickAt = 0; qs.hand(q.core.Tick(qs.n.s.now())) })
		}
	}
}

func (qs *queues) page(q *taskQueue) {
	s := qs.n.s
	after, limit := q.core.BeginPage()
	takes := func() time.Duration {
		if s.chance(s.faults.slowDisk) {
			return s.between(0, 10*time.Second)
		}
		return s.between(0, 3*time.Millisecond)
	}
	qs.n.later(takes(), func() {
		offers, keys, err := qs.backlog.Page(context.Background(), q.key, startAfter(q.key, after), limit)
		qs.n.later(takes(), func() {
			if err != nil {
				q.core.FailPage(s.now().Add(100 * time.Millisecond))
				return
			}
			rows := make([]*matching.Task[hint], len(offers))
			for i, o := range offers {
				rows[i] = taskOf(o)
				rows[i].Key = string(keys[i])
			}
			qs.hand(q.core.EndPage(s.now(), rows, len(rows) < limit))
		})
	})
}

// startAfter is the key after which a page begins: the position's own, or the one just before it.
func startAfter(key taskqueue.QueueKey, p matching.Position) []byte {
	if p.Key == "" {
		return nil
	}
	after := []byte(p.Key)
	for i := len(after) - 1; i >= 0 && !p.Inclusive; i-- {
		after[i]--
		if after[i] != 0xff {
			break
		}
	}
	if prefix := record.DispatchPrefix(key.Namespace, key.Type, key.Name); len(after) < len(prefix) || string(after[:len(prefix)]) != string(prefix) {
		return nil
	}
	return after
}
