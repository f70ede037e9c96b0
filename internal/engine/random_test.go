package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/faulty"
)

// TestRandomSchedules drives engines by dice: inputs, loop turns, reads and writes that end late and out of order, write
// faults, crashes, a cache and queues far too small. It checks, at every answer, that the store has what is said; and,
// once all is healed, that nothing pending was forgotten. A failure names its seed.
func TestRandomSchedules(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		w := &world{dice: rand.New(rand.NewPCG(uint64(seed), 7)), t: t, seed: seed}
		w.run()
		if t.Failed() {
			return
		}
	}
}

const worldWorkflows = 6

// world is one random run: a rig and what the outside knows.
type world struct {
	*rig
	t    *testing.T
	seed int
	dice *rand.Rand
	life int // of the process

	ios     []pendingIO
	thens   []lateResult
	acked   map[ids.RunKey]ids.EventID // highest event that was acknowledged as durable
	sent    map[ids.WorkflowKey]int    // acknowledged messages by target
	queued  map[ids.RunKey]int64       // what the task queue holds: newest task by run
	removed map[ids.WorkflowKey]bool   // a run of it was to be removed
	serial  int
	offered []execution.Offer
}

type pendingIO struct {
	shard *Shard
	io    IO
	done  bool
	epoch ids.Epoch
	err   error
}

type lateResult struct {
	shard *Shard
	then  func()
}

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

func (w *world) options(o *Options) {
	w.life++
	life, n := w.life, 0
	o.NewRunID = func() ids.RunID {
		n++
		return ids.RunID(fmt.Sprintf("bbbbbbbb-0000-%d000-%04x-%012d", []int{4, 7}[n%2], life, n))
	}
	o.Shards = 2
	o.CacheBytes = 2 * 3 * entryBytes
	o.RecentBytes = 120
	o.TimerRows = 2
	o.DueMax = 3
	o.Deliveries = 2
	o.OutboxRows = 3
	o.BatchBytes = 4 << 10
	o.Sink = w
}

// Offer is the task queue's. What is offered has its row in the store.
func (w *world) Offer(o execution.Offer) {
	run := o.Workflow.Run
	w.queued[run] = max(w.queued[run], o.Workflow.Seq)
	w.offered = append(w.offered, o)
	if st := w.stored(run); st == nil || st.Info.WFTSeq < o.Workflow.Seq {
		w.failf("task %d of %s was offered before it was durable", o.Workflow.Seq, run)
	}
}

func (w *world) StickyAlive(ids.NamespaceID, string) bool { return false }

func (w *world) stored(k ids.RunKey) *execution.State {
	st, err := record.Load(w.mem, k, storage.PrefixEnd)
	if err != nil {
		w.failf("load %s: %v", k, err)
	}
	return st
}

func (w *world) storedCurrent(k ids.WorkflowKey) (ids.RunID, bool) {
	v, err := w.mem.Get(record.CurrentKey(k))
	if err != nil {
		return "", false
	}
	run, err := record.DecodeCurrent(v)
	if err != nil {
		w.failf("pointer: %v", err)
	}
	return run, true
}

func (w *world) run() {
	w.acked, w.sent = make(map[ids.RunKey]ids.EventID), make(map[ids.WorkflowKey]int)
	w.queued = make(map[ids.RunKey]int64)
	w.removed = make(map[ids.WorkflowKey]bool)
	w.rig = newRig(w.t, w.options)
	w.fault = func(c faulty.Call) faulty.Fault {
		switch {
		case c.Op == faulty.Apply && w.dice.IntN(25) == 0:
			return []faulty.Fault{faulty.NotApplied, faulty.UnknownApplied, faulty.UnknownNotApplied, faulty.Fenced}[w.dice.IntN(4)]
		case c.Op != faulty.Apply && w.dice.IntN(60) == 0:
			return faulty.NotApplied
		}
		return faulty.None
	}
	for range 600 {
		w.step()
		if w.t.Failed() {
			return
		}
	}
	w.drain()
}

func (w *world) step() {
	s := w.eng.Shards()[w.dice.IntN(2)]
	switch n := w.dice.IntN(100); {
	case n < 25:
		w.input()
	case n < 50:
		s.Work(1 + w.dice.IntN(4))
		for _, j := range s.Jobs() {
			w.thens = append(w.thens, lateResult{s, func() { s.Continue(j()) }})
		}
	case n < 65 && len(w.thens) > 0: // a read ends
		i := w.dice.IntN(len(w.thens))
		w.thens[i].then()
		w.thens = append(w.thens[:i], w.thens[i+1:]...)
	case n < 80:
		if io, ok := s.NextIO(); ok {
			w.ios = append(w.ios, pendingIO{shard: s, io: io})
		}
	case n < 96 && len(w.ios) > 0:
		w.advanceIO(w.dice.IntN(len(w.ios)))
	case n == 96:
		w.clock.advance(time.Duration(w.dice.IntN(2000)) * time.Millisecond)
	case n == 97 && len(w.offered) > 0:
		w.discard(w.offered[w.dice.IntN(len(w.offered))])
	case n == 98 && w.dice.IntN(6) == 0:
		w.restart()
	}
}

// advanceIO performs a write, or reports one that was performed.
func (w *world) advanceIO(i int) {
	p := &w.ios[i]
	if !p.done {
		p.epoch, p.err = w.eng.perform(p.io)
		p.done = true
		return
	}
	done := *p
	w.ios = append(w.ios[:i], w.ios[i+1:]...)
	done.shard.DoneIO(done.epoch, done.err)
}

// restart is a crash: the task queue of the next process begins with the rows in the store.
func (w *world) restart() {
	w.ios, w.thens, w.offered = nil, nil, nil
	w.mem = w.mem.Crash()
	clear(w.queued)
	fault := w.fault
	w.fault = nil
	page, err := scanDispatch(w.mem, allDispatch, nil, 1<<20)
	if err != nil {
		w.failf("backlog: %v", err)
	}
	for _, o := range page.offers {
		w.queued[o.Workflow.Run] = max(w.queued[o.Workflow.Run], o.Workflow.Seq)
	}
	w.start(w.options)
	w.fault = fault
}

func (w *world) discard(o execution.Offer) {
	run := o.Workflow.Run
	_ = w.eng.shard(run.Of()).mail.put(&call{kind: callDiscard, key: run.Of(), run: run.Run, offer: o, then: func(any, error) {}})
}

func (w *world) input() {
	k := wf("w%d", w.dice.IntN(worldWorkflows))
	ops := []string{"add", "add", "add 50", "lazy", "touch", "read", "read", "need 1", "need 3", "can", "close", "remove",
		"sleep 1s", "sleep 5s", "doze 2s", "send", "send", "offer", "offer", "started", "retitle", "start", "start"}
	op := ops[w.dice.IntN(len(ops))]
	if op == "start" {
		w.submitStart(k)
		return
	}
	var to ids.WorkflowKey
	if op == "send" {
		to = wf("w%d", w.dice.IntN(worldWorkflows))
		op = "send " + string(to.Workflow)
	}
	if op == "remove" && w.dice.IntN(4) > 0 {
		return
	}
	if op == "remove" {
		w.removed[k] = true
	}
	w.send(k, op, to)
}

func (w *world) submitStart(k ids.WorkflowKey) {
	life := w.life
	w.put(k, execution.StartWorkflow{}, func(answer any, err error) {
		if life != w.life {
			w.failf("an answer of a dead process")
		}
		current, exists := w.storedCurrent(k)
		switch {
		case err == nil:
			run := k.Run(answer.(ids.RunID))
			if w.stored(run) == nil {
				w.failf("%s was started and is not stored", run)
			}
		case isKind(err, execution.AlreadyExists) && !exists && !w.removed[k]:
			w.failf("%s: refused for %s, which is not durable", k.Run(current), err)
		}
	})
}

func (w *world) send(k ids.WorkflowKey, op string, to ids.WorkflowKey) {
	before, had := w.storedCurrent(k)
	w.put(k, signal("%s", op), func(answer any, err error) {
		current, exists := w.storedCurrent(k)
		if isKind(err, execution.NotFound) && exists && had && before == current && !w.closing(k.Run(current)) {
			w.failf("%s of %s: not found, but it is stored", op, k.Run(current))
		}
		if err != nil {
			return
		}
		switch {
		case op == "add" || op == "add 50" || op == "offer" || to.Workflow != "":
			w.wasWritten(k, answer.(ids.EventID))
			if to.Workflow != "" {
				w.sent[to]++
			}
		case op == "started":
			ref := answer.(execution.WorkflowTaskRef) // a worker has it; the queue forgets it
			if w.queued[ref.Run] == ref.Seq {
				delete(w.queued, ref.Run)
			}
		}
	})
}

// closing tells whether a removal may be under way in memory.
func (w *world) closing(k ids.RunKey) bool {
	e := w.eng.shard(k.Of()).entries[k]
	return e != nil && e.gone
}

// wasWritten notes that event id of one of the workflow's runs was acknowledged, and wants it in the store.
func (w *world) wasWritten(k ids.WorkflowKey, id ids.EventID) {
	current, ok := w.storedCurrent(k)
	if !ok {
		return // removed in the same batch
	}
	run := k.Run(current)
	if st := w.stored(run); st != nil && st.Info.NextEventID > id {
		if len(w.eng.shard(k).entries) > 0 {
			w.acked[run] = max(w.acked[run], id)
		}
		return
	}
	// It may have been an older run that continued as this one in the same batch.
	for _, st := range w.storedRuns(k) {
		if st.Info.NextEventID > id {
			return
		}
	}
	if w.removed[k] {
		return // it may have been the one that was removed
	}
	w.failf("event %d of %s was acknowledged and is not stored", id, run)
}

func (w *world) storedRuns(k ids.WorkflowKey) (all []*execution.State) {
	var keys []ids.RunKey
	_ = record.ScanRuns(w.mem, k, storage.PrefixEnd, func(run ids.RunKey) bool { keys = append(keys, run); return true })
	for _, k := range keys {
		all = append(all, w.stored(k))
	}
	return all
}

func (w *world) put(k ids.WorkflowKey, in execution.Input, done func(any, error)) {
	answered := false
	err := w.eng.SubmitAsync(k, "", in, func(answer any, err error) {
		if answered {
			w.failf("%v answered twice", in)
		}
		answered = true
		done(answer, err)
	})
	if err != nil {
		w.failf("submit: %v", err)
	}
}

// drain heals everything and checks that all that was pending ends.
func (w *world) drain() {
	w.fault = nil
	for len(w.ios) > 0 {
		w.advanceIO(0)
	}
	for _, l := range w.thens {
		l.then()
	}
	w.settle()
	for range 400 {
		w.clock.advance(time.Second)
		w.settle()
		if w.outboxRows() == 0 && w.timerRows() == 0 && w.eng.quiet() {
			break
		}
	}
	if n := w.outboxRows(); n != 0 {
		w.failf("%d messages never delivered", n)
	}
	if n := w.timerRows(); n != 0 {
		w.failf("%d timers never rang", n)
	}
	for _, s := range w.eng.Shards() {
		if n := s.mail.pending.Load(); n != 0 {
			w.failf("shard %d: %d calls never answered", s.id, n)
		}
		if s.live.bytes+s.ended.bytes != sumSizes(s) {
			w.failf("shard %d accounts %d bytes for %d", s.id, s.live.bytes+s.ended.bytes, sumSizes(s))
		}
		if len(s.entries) > 5 {
			w.failf("shard %d: %d runs cached", s.id, len(s.entries))
		}
	}
	w.checkTasks()
	for i := range worldWorkflows {
		w.checkRun(wf("w%d", i))
	}
}

// quiet tells whether no shard waits for a moment.
func (e *Engine) quiet() bool {
	for _, s := range e.shards {
		if s.NextWake() != 0 {
			return false
		}
	}
	return true
}

// checkTasks wants every task in the store to be known to the task queue.
func (w *world) checkTasks() {
	page, err := scanDispatch(w.mem, allDispatch, nil, 1<<20)
	if err != nil {
		w.failf("backlog: %v", err)
	}
	for _, o := range page.offers {
		run, seq := o.Workflow.Run, o.Workflow.Seq
		st := w.newest(run)
		if st == nil || st.Info.WFT.Seq != seq || st.Info.WFT.Started() {
			continue // stale, or in a worker's hands
		}
		if w.queued[run] < seq {
			w.failf("task %d of %s is in the store and nobody offers it", seq, run)
		}
	}
}

func (w *world) newest(k ids.RunKey) (st *execution.State) {
	w.async(func() { st, _ = w.eng.State(context.Background(), k.Of(), k.Run) })
	return st
}

func (w *world) checkRun(k ids.WorkflowKey) {
	w.newest(k.Run("")) // a doze is lost with the memory; whoever loads the run finds it, and it rings
	w.settle()
	st := w.newest(k.Run(""))
	if st == nil {
		return
	}
	if st.Info.TimerRow != 0 { // a deadline without a row is lost in a crash
		w.failf("%s still waits for its timer", st.Key)
	}
	if st.Info.NextEventID <= w.acked[st.Key] {
		w.failf("%s: event %d was acknowledged, next is %d", st.Key, w.acked[st.Key], st.Info.NextEventID)
	}
	got, _, err := w.events(HistoryQuery{Run: st.Key})
	if err != nil || len(got) != int(st.Info.NextEventID-1) {
		w.failf("%s: history %v, error %v", st.Key, got, err)
	}
}
