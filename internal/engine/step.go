package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// attempt works on c, whose turn it is; e is nil when the workflow has no current run. False: something has to be read
// first, and e is busy until then.
func (s *Shard) attempt(c *call, e *entry) bool {
	var st *execution.State
	if e != nil {
		st = e.visible()
	}
	switch c.kind {
	case callTouch:
		c.touch()
	case callView:
		s.view(c, e, st)
	case callWatch:
		s.watch(c, e, st)
	case callDiscard:
		s.discard(c, e, st)
	case callInput:
		return s.input(c, e, st)
	}
	return true
}

// settled is the batch that has to be durable before something that was read from e may be told.
func (s *Shard) settled(e *entry) uint64 {
	if e == nil || e.visible() == nil {
		return s.newest() // what made the run vanish may be in any of them
	}
	return e.staged
}

func (s *Shard) view(c *call, e *entry, st *execution.State) {
	f := effect{call: c}
	if st == nil {
		f.err = errNotFound(c.key, c.run)
	} else {
		f.answer = &view{state: st, recent: slices.Clip(e.recent), notes: slices.Clone(e.notes)}
	}
	s.release(s.settled(e), f)
}

// discard removes a dispatch row that the run does not count on.
func (s *Shard) discard(c *call, e *entry, st *execution.State) {
	if st != nil && pendingDispatch(st, c.offer) {
		s.release(s.settled(e), effect{call: c})
		return
	}
	run, _ := offered(c.offer)
	if st != nil && e.lazy {
		s.flush(e) // else a crash could bring back a state that counts on the row
	}
	s.stage(storage.Op{Key: record.TaskKey(run, &c.offer.Task), Delete: true})
	s.release(s.newest(), effect{call: c})
}

// pendingDispatch tells whether st may still need the offer's row. A started task may: its start can be lost.
func pendingDispatch(st *execution.State, o execution.Offer) bool {
	if o.Workflow != nil {
		return st.Info.WFT.Pending() && st.Info.WFT.Seq == o.Workflow.Seq
	}
	a, ok := st.Activities.Get(o.Activity.ScheduledID)
	return ok && a.Stamp == o.Activity.Stamp
}

func (s *Shard) input(c *call, e *entry, st *execution.State) bool {
	if e != nil {
		ready, err := s.prepare(c, e, st)
		if ready && err == nil {
			ready, err = s.recall(c, e, st)
		}
		if err != nil {
			s.finish(c, nil, err)
			return true
		}
		if !ready {
			return false
		}
	}
	t, err := s.step(c, e, st)
	if err != nil {
		s.finish(c, nil, err)
		return true
	}
	s.apply(c, e, st, t)
	return true
}

func (s *Shard) step(c *call, e *entry, st *execution.State) (t *execution.Transition, err error) {
	defer s.catch("step", c, &err)
	env := s.env(c.key.Run(c.run), st, c.in)
	if e != nil {
		env.Key = e.key
	}
	env.Stored, env.Recalled = c.stored, c.recalls.states
	t = s.core.Step(st, c.in, env)
	if t == nil {
		return nil, errInternal("the step gave no transition")
	}
	if s.opts.Observer != nil {
		s.opts.Observer.Stepped(s.id, c.in, t)
	}
	return t, nil
}

func (s *Shard) env(key ids.RunKey, st *execution.State, in execution.Input) *execution.Env {
	if s.runID == "" {
		s.runID = s.opts.NewRunID()
	}
	env := &execution.Env{Key: key, Now: s.now(), NewRunID: s.runID, Limits: s.opts.Limits, Namespace: s.namespace(key.Namespace)}
	if queue := stickyQueue(st, in); queue != "" {
		env.StickyAlive = s.opts.Sink.StickyAlive(key.Namespace, queue)
	}
	return env
}

// stickyQueue is the one that a task scheduled by in would go to.
func stickyQueue(st *execution.State, in execution.Input) string {
	if c, ok := in.(execution.CompleteWorkflowTask); ok {
		return c.Request.GetStickyAttributes().GetWorkerTaskQueue().GetName()
	}
	if st == nil {
		return ""
	}
	return st.Info.StickyQueue
}

// flush stages what only memory knows of a run. Nobody waits for it.
func (s *Shard) flush(e *entry) {
	t, err := s.saved(e)
	switch {
	case err != nil: // the run goes on; what may be lost is lost
	case t != nil && t.Next != nil:
		s.adopt(e, t, true)
		s.timers.feed(e, false)
		s.when(e.staged, func() {
			for _, o := range t.Offers {
				s.opts.Sink.Offer(o)
			}
		})
	}
	if e.lazy {
		s.save(e)
	}
}

func (s *Shard) saved(e *entry) (t *execution.Transition, err error) {
	defer s.catch("save", &call{key: e.key.Of(), run: e.key.Run}, &err)
	return s.core.Save(e.state, s.env(e.key, e.state, nil)), nil
}

func (s *Shard) namespace(id ids.NamespaceID) *execution.Namespace {
	if s.opts.Namespaces != nil {
		if ns := s.opts.Namespaces.ByID(id); ns != nil {
			return ns
		}
	}
	return &execution.Namespace{ID: id}
}

// catch turns a panic of the core into an error for the one input that met it. No state was changed.
func (s *Shard) catch(what string, c *call, err *error) {
	p := recover()
	if p == nil {
		return
	}
	s.log.Error("broken invariant", "what", what, "input", fmt.Sprintf("%T", c.in), "namespace", string(c.key.Namespace),
		"workflow_id", string(c.key.Workflow), "run_id", string(c.run), "error", fmt.Sprint(p), "stack", string(debug.Stack()))
	*err = errInternal("internal error")
}

// apply takes a transition over: memory first, and what is durable into the open batch.
func (s *Shard) apply(c *call, e *entry, st *execution.State, t *execution.Transition) {
	durable, settled := false, s.settled(e)
	for n := t; n != nil; n = n.Successor {
		durable = durable || n.Durable || n.Remove || n.Successor != nil
	}
	moved := t.Next != nil && (e == nil || t.Next != e.state)
	futile := c.rung != nil && !moved
	if futile && c.rung.row != 0 && st != nil && st.Info.TimerRow != c.rung.row {
		s.stage(storage.Op{Key: timerKey(e.key, c.rung.row), Delete: true}) // of no use to the run
	}
	if refused := t.Refused(); refused != nil && e != nil {
		s.warnRefused(e, refused)
	}
	f := effect{call: c, answer: t.Answer, err: t.Err, replies: t.Replies, offers: t.Offers}
	for n := t; n != nil; n = n.Successor {
		if n != t {
			f.replies = append(slices.Clip(f.replies), n.Replies...)
			f.offers = append(slices.Clip(f.offers), n.Offers...)
		}
		if n.Next == nil {
			continue
		}
		to := s.adopt(e, n, durable)
		settled = max(settled, to.staged)
		if s.watchers[to.key] != nil {
			f.seen = append(f.seen, sight{to.key, to.state.Info.NextEventID, to.state.Open()})
		}
		s.timers.feed(to, futile && to == e)
		if n.Remove {
			s.remove(to)
		}
	}
	if futile && t.Next == nil && st != nil {
		s.timers.feed(e, true)
	}
	s.release(settled, f)
}

// warnRefused tells, once for as long as the run is cached, that it takes no more messages.
func (s *Shard) warnRefused(e *entry, refused *execution.Error) {
	if e.warned {
		return
	}
	e.warned = true
	s.log.Warn("messages to a workflow are refused for now", "reason", refused.Refusal, "namespace", string(e.key.Namespace),
		"workflow_id", string(e.key.Workflow), "run_id", string(e.key.Run), "error", refused.Message)
}

// adopt makes n.Next the newest state of its run. from is the run that took the step, if one did.
func (s *Shard) adopt(from *entry, n *execution.Transition, durable bool) *entry {
	e := s.entry(n.Next.Key)
	if n.Next.Key.Run == s.runID {
		s.runID = "" // used
	}
	fresh := e.state == nil
	moved := n.Next != e.state
	attributes := fresh || slices.ContainsFunc(n.Rows, func(r execution.Row) bool {
		return r.Kind == execution.RowMemo || r.Kind == execution.RowSearchAttributes
	})
	e.state, e.known = n.Next, true
	if fresh {
		e.born = s.open.seq
	}
	if attributes {
		e.measureAttributes()
	}
	if len(n.EventBytes) > 0 {
		e.remember(newChunk(n))
	}
	e.rows = append(e.rows, n.Rows...)
	for _, t := range n.Delete {
		e.tasks = append(e.tasks, taskOp{t, true})
	}
	for _, t := range n.Put {
		e.tasks = append(e.tasks, taskOp{t, false})
	}
	e.addNotes(n.Notes, s.opts.Limits.LedgerNotes)
	e.index = e.index || n.Index
	e.lazy = e.lazy || moved || n.Index || len(n.Rows)+len(n.Put)+len(n.Delete) > 0
	if n.Current && e.wf.current != e.key.Run {
		if e.wf.known {
			// What begins a run looks at the current one first, so that it is cached.
			if from = s.entries[e.key.Of().Run(e.wf.current)]; from == nil && e.wf.current != "" {
				s.log.Error("broken invariant", "what", "the run that is succeeded is not known", "workflow_id", string(e.key.Workflow), "run_id", string(e.wf.current))
			}
		} // else nobody has asked yet, and the current run is the one that goes on as this one
		if from != nil {
			s.succeed(from)
		}
		s.setCurrent(e.wf, e.key.Run)
		e.staged = s.open.seq
	}
	if (durable || fresh) && e.lazy {
		s.save(e)
	}
	e.trim(s.opts.RecentBytes)
	s.resize(e)
	return e
}

func newChunk(n *execution.Transition) chunk {
	first := n.Next.Info.NextEventID - ids.EventID(len(n.Events))
	if len(n.Events) > 0 {
		first = n.Events[0].GetEventId()
	}
	return chunk{first: first, next: first + ids.EventID(len(n.Events)), bytes: n.EventBytes}
}

// prepare makes sure that everything the step wants to read is at hand.
func (s *Shard) prepare(c *call, e *entry, st *execution.State) (ready bool, err error) {
	if in, ok := c.in.(execution.ResetWorkflow); ok && st != nil {
		return s.prepareReset(c, e, in), nil
	}
	need, err := s.needs(c, st)
	if err != nil {
		return false, err
	}
	var missing []ids.EventID
	for _, id := range need {
		if _, ok := c.stored[id]; ok {
			continue
		}
		if ev := findEvent(e.recent, id); ev != nil {
			c.store(id, ev)
			continue
		}
		missing = append(missing, id)
	}
	if len(missing) == 0 {
		return true, nil
	}
	e.busy = true
	s.when(e.staged, func() {
		s.job(func(r storage.Reader) func() {
			found, err := readEventsByID(r, e.key, missing)
			return func() { s.gotEvents(c, e, found, err) }
		})
	})
	return false, nil
}

func (s *Shard) needs(c *call, st *execution.State) (need []ids.EventID, err error) {
	defer s.catch("needs", c, &err)
	return s.core.Needs(st, c.in), nil
}

func (c *call) store(id ids.EventID, ev *historyEvent) {
	if c.stored == nil {
		c.stored = make(storedEvents)
	}
	c.stored[id] = ev
}

func (s *Shard) gotEvents(c *call, e *entry, found storedEvents, err error) {
	if err != nil {
		s.failFirst(e, s.readFailed("load events", e.key, err))
		return
	}
	for id, ev := range found {
		if ev == nil {
			// The core decides what it means; asking again would not help.
			s.log.Warn("event not found", "workflow_id", string(e.key.Workflow), "run_id", string(e.key.Run), "event_id", id)
		}
		c.store(id, ev)
	}
	s.resume(e)
}

// prepareReset completes a reset with the base run's whole history and the newest state of the current run, so that
// nothing can slip in between what the caller read and the step.
func (s *Shard) prepareReset(c *call, e *entry, in execution.ResetWorkflow) bool {
	if !e.wf.known {
		e.busy = true
		e.wf.waiting = append(e.wf.waiting, func() { s.resumeReset(e) })
		s.loadCurrent(e.wf)
		return false
	}
	in.Current = nil
	if e.wf.current != "" && e.wf.current != e.key.Run {
		current := s.entry(e.key.Of().Run(e.wf.current))
		if !current.known {
			e.busy = true
			s.enqueue(current, &call{kind: callTouch, key: e.key.Of(), run: current.key.Run,
				touch: func() { s.resume(e) }, then: s.guardAnswer(func(_ any, err error) { s.failFirst(e, err) })})
			return false
		}
		in.Current = current.visible()
	}
	if len(in.Events) != int(e.state.Info.NextEventID-1) {
		e.busy = true
		s.when(e.staged, func() { s.readWhole(c, e, in) })
		return false
	}
	if !s.prepareLater(c, e) {
		return false
	}
	in.Later = nil
	for _, l := range c.later {
		in.Later = append(in.Later, l.events...)
	}
	c.in = in
	return true
}

// laterRun is what a reset applies again of one run that continues the base run.
type laterRun struct {
	run    ids.RunID
	next   ids.EventID // of its history, as far as it was read
	events []*historyEvent
}

// prepareLater reads what came to the runs that continue e, one after the other up to the current one.
func (s *Shard) prepareLater(c *call, e *entry) bool {
	i := 0
	for st := e.state; st != nil && st.Info.SuccessorRunID != ""; i++ {
		next := s.entry(e.key.Of().Run(st.Info.SuccessorRunID))
		if !next.known {
			e.busy = true
			s.enqueue(next, &call{kind: callTouch, key: e.key.Of(), run: next.key.Run,
				touch: func() { s.resume(e) }, then: s.guardAnswer(func(_ any, err error) { s.failFirst(e, err) })})
			return false
		}
		if st = next.visible(); st == nil {
			break // its time was over
		}
		if i == len(c.later) {
			c.later = append(c.later, laterRun{run: next.key.Run, next: 1})
		}
		if c.later[i].catchUp(next) {
			continue
		}
		e.busy = true
		s.when(next.staged, s.guard(func() { s.readLater(c, e, next, i) }))
		return false
	}
	return true
}

// catchUp adds what came since the run was read, if it is all at hand.
func (l *laterRun) catchUp(next *entry) bool {
	end := next.state.Info.NextEventID
	if l.next < end && (len(next.recent) == 0 || next.recent[0].first > l.next) {
		return false
	}
	for _, c := range next.recent {
		if c.next <= l.next {
			continue
		}
		events, err := record.DecodeEvents(c.bytes)
		if err != nil {
			return false
		}
		l.add(events)
	}
	return l.next == end
}

// add takes events that are new.
func (l *laterRun) add(events []*historyEvent) {
	for _, ev := range events {
		if ev.GetEventId() < l.next {
			continue
		}
		l.next = ev.GetEventId() + 1
		if execution.Reapplied(ev.GetEventType()) {
			l.events = append(l.events, ev)
		}
	}
}

func (s *Shard) readLater(c *call, e, next *entry, i int) {
	recent, key, from, end := slices.Clip(next.recent), next.key, c.later[i].next, next.state.Info.NextEventID
	s.job(func(r storage.Reader) func() {
		events, err := readEvents(r, key, from, end, recent)
		return func() {
			if err != nil {
				s.failFirst(e, s.readFailed("load history", key, err))
				return
			}
			c.later[i].add(events)
			s.resume(e)
		}
	})
}

// resumeReset goes on once the current run's pointer was read, or could not be.
func (s *Shard) resumeReset(e *entry) {
	if !e.wf.known {
		s.failFirst(e, errUnavailable())
		return
	}
	s.resume(e)
}

func (s *Shard) readWhole(c *call, e *entry, in execution.ResetWorkflow) {
	recent, next := slices.Clip(e.recent), e.state.Info.NextEventID
	s.job(func(r storage.Reader) func() {
		events, err := readWhole(r, e.key, next, recent)
		return func() {
			if err == nil && len(events) != int(next-1) {
				err = errors.New("history has gaps")
			}
			if err != nil {
				s.failFirst(e, s.readFailed("load history", e.key, err))
				return
			}
			in.Events = events
			c.in = in
			s.resume(e)
		}
	})
}

// watcher waits for a run's history to reach an event.
type watcher struct {
	run  ids.RunKey
	next ids.EventID
	done chan error // one slot
}

func (s *Shard) watch(c *call, e *entry, st *execution.State) {
	if st == nil {
		s.release(s.settled(e), effect{call: c, err: errNotFound(c.key, c.run)})
		return
	}
	w := c.watch
	if w.run.Run == "" {
		w.run = e.key
	}
	if st.Info.NextEventID > w.next || !st.Open() {
		s.when(e.staged, func() { w.done <- nil })
	} else {
		s.watchers[w.run] = append(s.watchers[w.run], w)
	}
	s.finish(c, nil, nil)
}

func (s *Shard) unwatch(w *watcher) {
	left := slices.DeleteFunc(s.watchers[w.run], func(o *watcher) bool { return o == w })
	if len(left) == 0 {
		delete(s.watchers, w.run)
		return
	}
	s.watchers[w.run] = left
}

// wake settles the watchers that n satisfies.
func (s *Shard) wake(n sight) {
	all := s.watchers[n.run]
	left := slices.DeleteFunc(all, func(w *watcher) bool {
		if n.next <= w.next && n.open {
			return false
		}
		w.done <- nil
		return true
	})
	if len(left) == 0 {
		delete(s.watchers, n.run)
		return
	}
	s.watchers[n.run] = left
}

// failWatchers settles the watchers of a run that is gone.
func (s *Shard) failWatchers(run ids.RunKey, err error) {
	for _, w := range s.watchers[run] {
		w.done <- err
	}
	delete(s.watchers, run)
}

// after calls do at the moment at, unless the memory was forgotten by then.
func (s *Shard) after(at clock.Nanos, do func()) { s.alarms.set(at, do) }
