package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/faulty"
	"github.com/perdure/perdure/internal/storage/mem"
)

// The tests' core is small: a run is its event count and what Info says. Signals are its orders, by name:
//
//	add [size]     one event, durable
//	lazy           one event, not durable, Unsaved
//	touch          a new state, not durable, nothing written
//	read           nothing changes; the answer is the number of events
//	need ID        wants a stored event; the answer is that event's ID, or 0
//	can            closes and continues as a new run
//	close          closes
//	remove         removes the run, as often as a timer asks
//	sleep D        durable timer
//	doze D         a deadline that no row stands for
//	send WF        sends a message to another workflow, which gets an "add"
//	offer          durable, offers a workflow task with a row; the one before is forgotten
//	started [SEQ]  takes the offered task: not durable, Unsaved
//	retitle        not durable, changes what the index shows
//	park           parks
//	reply          answers all parked
//	panic
const testNS = ids.NamespaceID("aaaaaaaa-0000-4000-8000-000000000001")

func testCore() *Core {
	return &Core{
		Recalls: func(*execution.State, execution.Input, *execution.Limits) []execution.Seen { return nil },
		Needs:   testNeeds, Step: testStep, Save: testSave, Deliver: testDeliver, Respond: testRespond,
		Deadline: func(s *execution.State) clock.Nanos { return earlier(s.Info.RunDeadline, s.Info.RetentionUntil) },
		Summary: func(s *execution.State) *workflowpb.WorkflowExecutionInfo {
			return &workflowpb.WorkflowExecutionInfo{HistoryLength: s.Info.NextEventID - 1,
				StateTransitionCount: int64(s.Info.SignalCount)}
		},
	}
}

func order(in execution.Input) []string {
	if s, ok := in.(execution.SignalWorkflow); ok {
		return strings.Fields(s.Name)
	}
	return nil
}

func testNeeds(st *execution.State, in execution.Input) []ids.EventID {
	if o := order(in); st != nil && len(o) > 0 && o[0] == "need" {
		id, _ := strconv.ParseInt(o[1], 10, 64)
		return []ids.EventID{id}
	}
	return nil
}

type testDraft struct {
	*execution.Transition
	size int
}

func (d *testDraft) event() {
	id := d.Next.Info.NextEventID
	ev := &historypb.HistoryEvent{EventId: id, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, TaskId: id * 10,
		WorkerMayIgnore: true}
	if d.size > 0 {
		ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
				SignalName: strings.Repeat("x", d.size)}}
	}
	d.Events = append(d.Events, ev)
	b, err := proto.Marshal(&historypb.History{Events: []*historypb.HistoryEvent{ev}})
	if err != nil {
		panic(err)
	}
	d.EventBytes = append(d.EventBytes, b...)
	d.Next.Info.NextEventID++
}

func testNew(key ids.RunKey, now clock.Nanos) *testDraft {
	st := execution.Assemble(&execution.State{Key: key, Start: &execution.Start{StartTime: now}}, &execution.Rows{})
	st.Info.NextEventID = 1
	d := &testDraft{Transition: &execution.Transition{Next: st, Durable: true, Index: true, Current: true,
		Rows: []execution.Row{{Kind: execution.RowStart}}}}
	d.event()
	return d
}

func testStep(old *execution.State, in execution.Input, env *execution.Env) *execution.Transition {
	if _, ok := in.(execution.StartWorkflow); ok {
		if old != nil && old.Open() {
			return &execution.Transition{Next: old, Err: &execution.Error{Kind: execution.AlreadyExists, Message: string(old.Key.Run)}}
		}
		d := testNew(env.Key.Of().Run(env.NewRunID), env.Now)
		d.Answer = env.NewRunID
		return d.Transition
	}
	if old == nil {
		return &execution.Transition{Err: errNotFound(env.Key.Of(), env.Key.Run)}
	}
	next := *old
	d := &testDraft{Transition: &execution.Transition{Next: &next, Durable: true}}
	switch in := in.(type) {
	case execution.TimerDue:
		return testDue(old, d, env)
	case execution.Delivered:
		d.event()
		d.Delete = []execution.Task{{Kind: execution.TaskMessage, Outbox: in.Outbox}}
		return d.Transition
	case execution.ResetWorkflow:
		d.Answer = in
		if in.Request.GetReason() == "new run" {
			d.Successor = testNew(env.Key.Of().Run(env.NewRunID), env.Now).Transition
		}
		return d.Transition
	case execution.QueryWorkflow:
		next.Volatile.NextNum = int64(in.Waiter)
		d.Durable = false
		return d.Transition
	}
	o := order(in)
	switch o[0] {
	case "add":
		if len(o) > 1 {
			d.size, _ = strconv.Atoi(o[1])
		}
		d.event()
	case "lazy":
		d.event()
		d.Durable, next.Volatile.Unsaved = false, true
	case "touch":
		d.Durable = false
		next.Info.Transitions++
	case "read":
		return &execution.Transition{Next: old, Answer: old.Info.NextEventID - 1}
	case "need":
		id, _ := strconv.ParseInt(o[1], 10, 64)
		return &execution.Transition{Next: old, Answer: env.Stored[id].GetEventId()}
	case "close", "can":
		d.event()
		next.Info.CloseEventID, next.Info.CloseTime, d.Index = next.Info.NextEventID-1, env.Now, true
		if o[0] == "can" {
			d.Successor = testNew(env.Key.Of().Run(env.NewRunID), env.Now).Transition
			d.Answer = env.NewRunID
			return d.Transition
		}
	case "remove":
		next.Info.RetentionUntil = env.Now
		testRow(d, env.Now)
		d.Remove = true
	case "sleep", "doze":
		wait, err := time.ParseDuration(o[1])
		if err != nil {
			panic(err)
		}
		next.Info.RunDeadline = env.Now.Add(wait)
		if o[0] == "sleep" {
			testRow(d, next.Info.RunDeadline)
		}
	case "send":
		d.event()
		next.Info.NextOutbox++
		d.Put = []execution.Task{{Kind: execution.TaskMessage, Outbox: next.Info.NextOutbox, Message: &execution.Message{
			Kind: execution.MessageSignal, To: ids.RunKey{Namespace: testNS, Workflow: ids.WorkflowID(o[1])},
			Number: next.Info.NextOutbox}}}
	case "offer":
		testUnoffer(d)
		next.Info.WFTSeq++
		next.Info.WFT = execution.WorkflowTask{Seq: next.Info.WFTSeq, ScheduledID: next.Info.NextEventID, Queue: "q", ScheduledAt: env.Now}
		d.event()
		task := execution.Task{Kind: execution.TaskWorkflow, Queue: "q", At: env.Now, Seq: next.Info.WFTSeq, Priority: 3}
		d.Put = []execution.Task{task}
		d.Offers = []execution.Offer{{Workflow: &execution.WorkflowTaskRef{Run: next.Key, Seq: task.Seq}, Task: task}}
	case "started":
		if !next.Info.WFT.Pending() || next.Info.WFT.Started() || len(o) > 1 && o[1] != fmt.Sprint(next.Info.WFT.Seq) {
			return &execution.Transition{Next: old, Err: &execution.Error{Kind: execution.Stale}}
		}
		testUnoffer(d)
		next.Info.WFT.StartedID = next.Info.NextEventID
		d.Answer = execution.WorkflowTaskRef{Run: next.Key, Seq: next.Info.WFT.Seq}
		d.event()
		d.Durable, next.Volatile.Unsaved = false, true
	case "retitle":
		next.Info.SignalCount++
		d.Durable, d.Index = false, true
	case "reply":
		d.Durable = len(o) > 1
		d.Replies = []execution.Reply{{Waiter: execution.Waiter(old.Volatile.NextNum), Answer: "reply"}}
	case "panic":
		panic("on order")
	}
	if d.Answer == nil {
		d.Answer = next.Info.NextEventID - 1
	}
	return d.Transition
}

func testSave(st *execution.State, _ *execution.Env) *execution.Transition {
	if !st.Volatile.Unsaved {
		return nil
	}
	next := *st
	next.Volatile.Unsaved = false
	next.Info.Transitions += 1000 // shows that the core was asked
	return &execution.Transition{Next: &next, Durable: true}
}

// testUnoffer deletes the row of the pending task, if there is one.
func testUnoffer(d *testDraft) {
	if t := &d.Next.Info.WFT; t.Pending() && !t.Started() {
		d.Delete = append(d.Delete, execution.Task{Kind: execution.TaskWorkflow, Queue: "q", At: t.ScheduledAt, Seq: t.Seq, Priority: 3})
	}
}

// testRow moves the run's one timer row.
func testRow(d *testDraft, to clock.Nanos) {
	if from := d.Next.Info.TimerRow; from != 0 {
		d.Delete = append(d.Delete, execution.Task{Kind: execution.TaskTimer, At: from})
	}
	if d.Next.Info.TimerRow = to; to != 0 {
		d.Put = append(d.Put, execution.Task{Kind: execution.TaskTimer, At: to})
	}
}

func testDue(old *execution.State, d *testDraft, env *execution.Env) *execution.Transition {
	if old.Info.RetentionUntil != 0 {
		return &execution.Transition{Next: old, Remove: true}
	}
	if old.Info.RunDeadline == 0 || old.Info.RunDeadline > env.Now {
		return &execution.Transition{Next: old, Answer: execution.EmptyAnswer{}}
	}
	d.event()
	d.Next.Info.RunDeadline = 0
	testRow(d, 0)
	d.Answer = execution.EmptyAnswer{}
	return d.Transition
}

func testDeliver(_ ids.RunKey, m *execution.Message) (ids.WorkflowKey, ids.RunID, execution.Input, bool) {
	if m.To.Workflow == "nobody" {
		return ids.WorkflowKey{}, "", nil, false
	}
	return m.To.Of(), m.To.Run, signal("add"), true
}

func testRespond(m *execution.Message, outbox int64, _ any, err error) (execution.Input, bool) {
	return execution.Delivered{Outbox: outbox}, err != nil && m.To.Workflow == "late"
}

func signal(format string, args ...any) execution.Input {
	return execution.SignalWorkflow{Name: fmt.Sprintf(format, args...)}
}

func wf(name string, args ...any) ids.WorkflowKey {
	return ids.WorkflowKey{Namespace: testNS, Workflow: ids.WorkflowID(fmt.Sprintf(name, args...))}
}

// handClock moves only when told.
type handClock struct {
	mu  sync.Mutex
	now clock.Nanos
}

func (c *handClock) Now() clock.Nanos {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) At(clock.Nanos) (<-chan struct{}, func()) {
	panic("not used by the hand-driven engine")
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type testSink struct {
	mu     sync.Mutex
	offers []execution.Offer
}

func (s *testSink) Offer(o execution.Offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers = append(s.offers, o)
}

func (s *testSink) StickyAlive(ids.NamespaceID, string) bool { return false }

func (s *testSink) take() []execution.Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.offers
	s.offers = nil
	return out
}

// counted makes run IDs that are UUIDs and repeat from run to run.
func counted() func() ids.RunID {
	var mu sync.Mutex
	n := 0
	return func() ids.RunID {
		mu.Lock()
		defer mu.Unlock()
		n++
		return ids.RunID(fmt.Sprintf("bbbbbbbb-0000-%d000-8000-%012d", []int{4, 7}[n%2], n)) // of both layouts
	}
}

// rig drives an engine by hand, in the test's goroutine.
type rig struct {
	*testing.T
	mem   *mem.Store
	store *faulty.Store
	fault func(faulty.Call) faulty.Fault
	eng   *Engine
	clock *handClock
	sink  *testSink
	logs  *logBuffer
	reads int
}

func newRig(t *testing.T, change func(*Options)) *rig {
	r := &rig{T: t, mem: mem.New(mem.Options{}), clock: &handClock{now: 1e18}, sink: &testSink{}, logs: &logBuffer{}}
	r.start(change)
	return r
}

// start makes an engine over the rig's store, as after a crash.
func (r *rig) start(change func(*Options)) {
	r.Helper()
	r.store = faulty.New(r.mem, faulty.Options{Choose: func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Get || c.Op == faulty.Scan {
			r.reads++
		}
		if r.fault == nil {
			return faulty.None
		}
		return r.fault(c)
	}})
	opts := Options{Clock: r.clock, Core: testCore(), Sink: r.sink, NewRunID: counted(),
		Logger: slog.New(slog.NewTextHandler(r.logs, nil))}
	if change != nil {
		change(&opts)
	}
	eng, err := New(r.store, opts)
	if err != nil {
		r.Fatal(err)
	}
	r.eng = eng
	r.settle()
}

// crash loses all memory and starts anew.
func (r *rig) crash(change func(*Options)) {
	r.Helper()
	r.mem = r.mem.Crash()
	r.start(func(o *Options) {
		o.NewRunID = func() ids.RunID { return "cccccccc-0000-4000-8000-000000000001" }
		if change != nil {
			change(o)
		}
	})
}

// think lets the shards do all they can without a write.
func (r *rig) think() {
	for again := true; again; {
		again = false
		for _, s := range r.eng.Shards() {
			select {
			case <-s.Ready():
				again = true
			default:
			}
			for s.Work(1000) {
				again = true
			}
			for _, j := range s.Jobs() {
				s.Continue(j())
				again = true
			}
		}
	}
}

// write performs the writes that are wanted now; false: none.
func (r *rig) write() bool {
	any := false
	for _, s := range r.eng.Shards() {
		if io, ok := s.NextIO(); ok {
			any = true
			s.DoneIO(r.eng.perform(io))
		}
	}
	return any
}

func (r *rig) settle() {
	r.think()
	for r.write() {
		r.think()
	}
}

type outcome struct {
	done   bool
	answer any
	err    error
}

func (r *rig) submit(k ids.WorkflowKey, run ids.RunID, in execution.Input) *outcome {
	r.Helper()
	o := &outcome{}
	if err := r.eng.SubmitAsync(k, run, in, func(answer any, err error) {
		if o.done {
			r.Errorf("%T answered twice", in)
		}
		*o = outcome{true, answer, err}
	}); err != nil {
		r.Fatal(err)
	}
	return o
}

// do submits, lets everything settle and wants success.
func (r *rig) do(k ids.WorkflowKey, in execution.Input) any {
	r.Helper()
	o := r.submit(k, "", in)
	r.settle()
	if !o.done || o.err != nil {
		r.Fatalf("%v: done %v, error %v", in, o.done, o.err)
	}
	return o.answer
}

func (r *rig) begin(k ids.WorkflowKey) ids.RunID {
	r.Helper()
	return r.do(k, execution.StartWorkflow{}).(ids.RunID)
}

// async calls fn, which waits for the engine, while the rig drives; fn's end is awaited.
func (r *rig) async(fn func()) {
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(done)}}
	for _, s := range r.eng.Shards() {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.Ready())})
	}
	for {
		r.settle()
		if i, _, _ := reflect.Select(cases); i == 0 {
			r.settle()
			return
		}
	}
}

func (r *rig) events(q HistoryQuery) (got []ids.EventID, page *HistoryPage, err error) {
	r.async(func() { page, err = r.eng.History(context.Background(), q) })
	if err != nil {
		return nil, nil, err
	}
	events, err := record.DecodeEvents(page.Events)
	if err != nil {
		r.Fatal(err)
	}
	for _, ev := range events {
		got = append(got, ev.EventId)
	}
	if len(got) != page.Count || page.Count > 0 && (page.First != got[0] || page.Last != got[len(got)-1]) {
		r.Errorf("page says %d events %d..%d, has %v", page.Count, page.First, page.Last, got)
	}
	return got, page, nil
}

func (r *rig) count(prefix []byte) int {
	n := 0
	if err := r.mem.Scan(prefix, storage.PrefixEnd(prefix), func(_, _ []byte) bool { n++; return true }); err != nil {
		r.Fatal(err)
	}
	return n
}

func (r *rig) shardOf(k ids.WorkflowKey) *Shard { return r.eng.shard(k) }

func (r *rig) noErrors() {
	r.Helper()
	if s := r.logs.String(); strings.Contains(s, "level=ERROR") {
		r.Errorf("unexpected error in the log:\n%s", s)
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func eventRange(from, to ids.EventID) []ids.EventID {
	var out []ids.EventID
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func backwards(in []ids.EventID) []ids.EventID {
	out := slices.Clone(in)
	slices.Reverse(out)
	return out
}
