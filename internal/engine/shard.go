package engine

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Shard is the single writer of a range of slots, as a plain struct without goroutines: everything it wants of the
// world it asks for, and is told later. Engine.Run drives each shard with a goroutine of its own; a simulator drives
// all of them in one. Only Job values may run elsewhere; all methods belong to the driver's goroutine.
//
// A driver repeats: Work; perform the IO that NextIO returns and report it with DoneIO; run the Jobs and hand what they
// return to Continue; and work again when Ready is signalled or NextWake has come.
type Shard struct {
	id    ids.ShardID
	eng   *Engine
	opts  *Options
	core  *Core
	log   *slog.Logger
	mail  *mailbox
	inbox []item // taken from mail; inbox[next:] is still to be done
	next  int
	spare []item

	gen      uint64 // raised whenever memory is forgotten, so that what was asked for before is not believed after
	epoch    ids.Epoch
	acquire  acquisition
	stopping bool
	dead     error // the store is closed

	workflows map[ids.WorkflowKey]*workflow
	entries   map[ids.RunKey]*entry
	live      lru    // runs that are open, or not known yet
	ended     lru    // runs that have closed since: kept for those who wait for their end, and not at the cost of the others
	budget    int    // for bytes
	evictions uint64 // raised whenever an entry leaves

	seq      uint64 // of the open batch
	durable  uint64 // newest batch known to be durable
	open     *batch
	inflight *batch // handed to the driver
	idle     *batch // emptied, for reuse
	begun    clock.Nanos
	failures int // batches in a row

	watchers  map[ids.RunKey][]*watcher
	timers    timers
	outbox    outbox
	newcomers newcomers
	alarms    alarms
	jobs      []Job
	runID     ids.RunID // fresh, for the next step

	arrivals uint64
	suspects map[ids.RunKey]struct{} // runs whose offers may be lost; see rescue.go
}

// acquisition is how far the shard is with taking an epoch.
type acquisition struct {
	running bool
	failed  int // in a row
	retryAt clock.Nanos
	again   bool // not the first epoch
}

// Job reads from the store, anywhere. What it returns has to be handed to Continue.
type Job func() (then func())

// IO is a write that a driver has to perform: Acquire of Shard if Batch is nil, else Apply.
type IO struct {
	Shard ids.ShardID
	Batch *storage.Batch
}

func newShard(e *Engine, id ids.ShardID) *Shard {
	s := &Shard{
		id: id, eng: e, opts: &e.opts, core: e.opts.Core, mail: newMailbox(e.opts.Pending),
		log:    e.opts.Logger.With("shard", int(id)),
		budget: e.opts.CacheBytes / e.opts.Shards,
		seq:    1,
	}
	s.forget()
	return s
}

// forget empties the memory. Batches get new numbers and older continuations are void.
func (s *Shard) forget() {
	s.gen++
	s.workflows = make(map[ids.WorkflowKey]*workflow)
	s.entries = make(map[ids.RunKey]*entry)
	s.live, s.ended = lru{}, lru{}
	s.open, s.inflight = &batch{seq: s.seq}, nil
	s.durable = s.seq - 1
	s.watchers = make(map[ids.RunKey][]*watcher)
	s.timers.reset(s)
	s.outbox.reset(s)
	s.newcomers.reset(s)
	s.alarms.reset()
	s.jobs = nil
	s.suspects = make(map[ids.RunKey]struct{})
}

// Ready is signalled when there may be work. It has one slot.
func (s *Shard) Ready() <-chan struct{} { return s.mail.ready }

// ID is the shard's number in the store.
func (s *Shard) ID() ids.ShardID { return s.id }

func (s *Shard) now() clock.Nanos { return s.opts.Clock.Now() }

// post makes do run in the shard's loop, from anywhere.
func (s *Shard) post(do func()) { s.mail.post(do) }

// guard makes do a no-op once the shard has forgotten its memory.
func (s *Shard) guard(do func()) func() {
	gen := s.gen
	return func() {
		if s.gen == gen {
			do()
		}
	}
}

// guardAnswer is guard for the end of a call.
func (s *Shard) guardAnswer(then func(any, error)) func(any, error) {
	gen := s.gen
	return func(answer any, err error) {
		if s.gen == gen {
			then(answer, err)
		}
	}
}

// job asks for a read; what run returns is called in the shard's loop unless the memory was forgotten meanwhile.
func (s *Shard) job(run func(r storage.Reader) func()) {
	gen := s.gen
	s.jobs = append(s.jobs, func() func() {
		then := run(s.eng.store)
		return func() {
			if s.gen == gen {
				then()
			}
		}
	})
}

// Jobs takes the reads asked for since the last call.
func (s *Shard) Jobs() []Job {
	out := s.jobs
	s.jobs = nil
	return out
}

// Continue takes what a Job returned. Safe for concurrent use.
func (s *Shard) Continue(then func()) { s.post(then) }

// Work handles up to limit things from the mailbox and whatever is due. It tells whether there is more to do at once.
func (s *Shard) Work(limit int) bool {
	if s.epoch == 0 {
		return false
	}
	for range limit {
		if s.full() {
			break
		}
		it, ok := s.take()
		if !ok {
			break
		}
		if it.call != nil {
			s.handle(it.call)
		} else {
			it.do()
		}
	}
	s.tick()
	return !s.full() && (s.next < len(s.inbox) || !s.mail.empty())
}

// full: what is staged and not even begun to be written is so much that taking more would only cost memory.
func (s *Shard) full() bool { return s.inflight != nil && s.open.bytes >= s.opts.BatchBytes }

func (s *Shard) take() (item, bool) {
	if s.next == len(s.inbox) {
		clear(s.inbox)
		s.inbox, s.spare = s.mail.swap(s.spare), s.inbox
		s.next = 0
		if len(s.inbox) == 0 {
			return item{}, false
		}
	}
	s.next++
	return s.inbox[s.next-1], true
}

// tick does what is due by the clock and keeps the bounds.
func (s *Shard) tick() {
	if s.stopping || s.epoch == 0 {
		return
	}
	now := s.now()
	s.alarms.ring(now)
	s.timers.pump(now)
	s.outbox.pump()
	s.evict()
}

// NextWake is when Work has to be called even if nothing arrives; zero: never.
func (s *Shard) NextWake() clock.Nanos {
	if s.epoch == 0 {
		return s.acquire.retryAt
	}
	return earlier(s.alarms.next(), s.timers.next())
}

// earlier is the smaller moment; zero means never.
func earlier(a, b clock.Nanos) clock.Nanos {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// handle finds the run that c addresses and queues c there.
func (s *Shard) handle(c *call) {
	if c.order == 0 {
		s.arrivals++
		c.order = s.arrivals
	}
	if c.run != "" {
		s.enqueue(s.entry(c.key.Run(c.run)), c)
		return
	}
	wf := s.workflow(c.key)
	if !wf.known && !wf.loading && s.newcomers.unheardOf(record.CurrentKey(c.key)) {
		wf.known = true
	}
	if !wf.known {
		wf.queue = append(wf.queue, c)
		s.loadCurrent(wf)
		return
	}
	if wf.current == "" {
		s.attempt(c, nil)
		s.dropWorkflow(wf)
		return
	}
	s.enqueue(s.entry(c.key.Run(wf.current)), c)
}

func (s *Shard) workflow(k ids.WorkflowKey) *workflow {
	wf := s.workflows[k]
	if wf == nil {
		wf = &workflow{key: k}
		s.workflows[k] = wf
	}
	return wf
}

func (s *Shard) dropWorkflow(wf *workflow) {
	if wf.idle() && s.workflows[wf.key] == wf {
		delete(s.workflows, wf.key)
	}
}

// entry finds or makes the entry of a run; a new one is not known yet.
func (s *Shard) entry(k ids.RunKey) *entry {
	e := s.entries[k]
	if e == nil {
		e = &entry{key: k, wf: s.workflow(k.Of())}
		e.wf.entries++
		s.entries[k] = e
		s.resize(e)
	}
	s.use(e)
	return e
}

// use makes e the one used last among its like. A closed run that was loaded has a reader, who may want page after page: it
// stays as long as any other.
func (s *Shard) use(e *entry) {
	if e.state != nil && !e.state.Open() && !e.read {
		s.ended.touch(e)
		return
	}
	s.live.touch(e)
}

// drop forgets an entry.
func (s *Shard) drop(e *entry) {
	if s.entries[e.key] != e {
		return
	}
	delete(s.entries, e.key)
	e.leave()
	e.wf.entries--
	s.evictions++
	s.dropWorkflow(e.wf)
}

func (s *Shard) resize(e *entry) {
	e.resize(e.measure())
	if e.in == &s.live {
		s.use(e) // it may have ended
	}
}

func (s *Shard) enqueue(e *entry, c *call) {
	e.queue = append(e.queue, c)
	if len(e.queue) == 1 && !e.busy {
		s.drain(e)
	}
}

// drain works on e's calls in order until one has to wait for a read. It is not entered twice for one entry: while a
// call is being worked on, it is the first of the queue, so that enqueue does not drain.
func (s *Shard) drain(e *entry) {
	if !e.known {
		s.load(e)
		return
	}
	for !e.busy && len(e.queue) > 0 {
		c := e.queue[0]
		if c.run == "" && e.wf.known && e.wf.current != e.key.Run {
			s.pop(e) // it addressed the current run, which is another one by now
			c.unread()
			s.handle(c)
			continue
		}
		if !s.attempt(c, e) {
			return
		}
		s.pop(e)
	}
	if e.state == nil && len(e.queue) == 0 {
		s.drop(e)
	}
}

func (s *Shard) pop(e *entry) {
	e.queue[0] = nil
	if e.queue = e.queue[1:]; len(e.queue) == 0 {
		e.queue = nil
	}
}

// resume goes on with e's first call after what it waited for has come.
func (s *Shard) resume(e *entry) {
	e.busy = false
	s.drain(e)
}

// failFirst answers e's first call with err and goes on with the others.
func (s *Shard) failFirst(e *entry, err error) {
	if len(e.queue) > 0 {
		c := e.queue[0]
		s.pop(e)
		s.finish(c, nil, err)
	}
	s.resume(e)
}

// load reads e's state. All calls wait meanwhile.
func (s *Shard) load(e *entry) {
	e.busy = true
	s.job(func(r storage.Reader) func() {
		st, err := record.Load(r, e.key, storage.PrefixEnd)
		return func() { s.loaded(e, st, err) }
	})
}

func (s *Shard) loaded(e *entry, st *execution.State, err error) {
	e.busy = false
	if err != nil {
		err = s.readFailed("load run", e.key, err)
		queue := e.queue
		e.queue = nil
		s.drop(e)
		for _, c := range queue {
			s.finish(c, nil, err)
		}
		return
	}
	s.install(e, st)
	s.drain(e)
}

func (s *Shard) install(e *entry, st *execution.State) {
	e.state, e.known = st, true
	if st != nil {
		e.read = !st.Open()
		e.measureAttributes()
		s.timers.feed(e, false)
	}
	s.resize(e)
}

// loadCurrent reads which run is the current one, and that run with it.
func (s *Shard) loadCurrent(wf *workflow) {
	if wf.loading {
		return
	}
	wf.loading = true
	evictions := s.evictions
	s.job(func(r storage.Reader) func() {
		st, run, err := readCurrent(r, wf.key)
		return func() {
			if s.evictions != evictions {
				st = nil // the run may have been cached, changed and evicted since it was read
			}
			s.loadedCurrent(wf, st, run, err)
		}
	})
}

func readCurrent(r storage.Reader, k ids.WorkflowKey) (*execution.State, ids.RunID, error) {
	value, err := r.Get(record.CurrentKey(k))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the current run of %s: %w", k.Run(""), err)
	}
	run, err := record.DecodeCurrent(value)
	if err != nil {
		return nil, "", err
	}
	st, err := record.Load(r, k.Run(run), storage.PrefixEnd)
	return st, run, err
}

func (s *Shard) loadedCurrent(wf *workflow, st *execution.State, run ids.RunID, err error) {
	wf.loading = false
	queue, waiting := wf.queue, wf.waiting
	wf.queue, wf.waiting = nil, nil
	if err != nil && !wf.known {
		err = s.readFailed("load current run", wf.key.Run(run), err)
		s.dropWorkflow(wf)
		for _, c := range queue {
			s.finish(c, nil, err)
		}
		for _, do := range waiting {
			do()
		}
		return
	}
	if !wf.known { // else a transition has set it meanwhile
		wf.known, wf.current = true, run
		if st != nil && s.entries[st.Key] == nil {
			s.install(s.entry(st.Key), st)
		}
	}
	for _, c := range queue {
		s.handle(c)
	}
	for _, do := range waiting {
		do()
	}
	s.dropWorkflow(wf)
}

// readFailed logs a failed read and makes the error for those who waited.
func (s *Shard) readFailed(what string, k ids.RunKey, err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return ErrStopped
	}
	s.log.Error("read failed", "what", what, "namespace", string(k.Namespace), "workflow_id", string(k.Workflow),
		"run_id", string(k.Run), "error", err)
	return errUnavailable()
}

// finish answers a call.
func (s *Shard) finish(c *call, answer any, err error) {
	if c.counted {
		s.mail.pending.Add(-1)
	}
	if c.then != nil {
		c.then(answer, err)
		return
	}
	c.reply <- result{answer, err}
}

// endedShare is the part of the budget that closed runs may take. Whoever waits for one to close asks soon.
const endedShare = 8

// evict forgets the least recently used runs while the cache is over its bounds.
func (s *Shard) evict() {
	s.evictFrom(&s.ended, s.budget/endedShare)
	bound := s.budget - s.ended.bytes
	if e := s.live.newest; e != nil && s.budget > 0 {
		bound = max(bound, e.size) // a run that is larger than the cache must not be loaded anew for each input
	}
	s.evictFrom(&s.live, bound)
}

// evictFrom brings a list down to a bound. A run with something unwritten is written first and goes later.
func (s *Shard) evictFrom(l *lru, bound int) {
	for range 64 {
		e := l.oldest
		if l.bytes <= bound || e == nil {
			return
		}
		if e.evictable(s.durable) {
			s.drop(e)
			continue
		}
		if e.known && e.state != nil && !e.gone && e.unwritten() {
			s.flush(e)
		}
		s.use(e)
	}
}
