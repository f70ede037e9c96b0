package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/faulty"
	"github.com/perdure/perdure/internal/taskqueue"
)

func TestAnswerLeavesOnlyOnceDurable(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	start := r.submit(k, "", execution.StartWorkflow{})
	r.think()
	if start.done {
		t.Fatal("answered before any write")
	}
	if n := r.count(record.CurrentKey(k)); n != 0 {
		t.Fatal("written before the batch was applied")
	}
	r.write()
	if !start.done || start.err != nil {
		t.Fatalf("after the write: %+v", start)
	}
	if n := r.count(record.CurrentKey(k)); n != 1 {
		t.Error("answered without the current pointer in the store")
	}
}

func TestBatchFillsWhileTheOneBeforeIsWritten(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	k := wf("a")
	r.begin(k)
	s := r.eng.Shards()[0]

	first := r.submit(k, "", signal("add"))
	r.think()
	io, ok := s.NextIO()
	if !ok {
		t.Fatal("nothing to write")
	}
	// While the first batch is on its way: a refusal, a read and a write that are based on it.
	refused := r.submit(k, "", execution.StartWorkflow{})
	read := r.submit(k, "", signal("read"))
	second := r.submit(k, "", signal("add"))
	lateRead := r.submit(k, "", signal("read"))
	r.think()
	if first.done || refused.done || read.done {
		t.Fatal("something left before the first batch was durable")
	}
	if _, ok := s.NextIO(); ok {
		t.Fatal("two batches under way")
	}
	s.DoneIO(r.eng.perform(io))
	if !first.done || !refused.done || refused.err == nil || !read.done || read.answer != ids.EventID(2) {
		t.Fatalf("first batch durable: %+v %+v %+v", first, refused, read)
	}
	if second.done || lateRead.done {
		t.Fatal("the second batch's answers left with the first")
	}
	r.settle()
	if second.answer != ids.EventID(3) || lateRead.answer != ids.EventID(3) {
		t.Fatalf("second batch: %+v %+v", second, lateRead)
	}
}

func TestRunChangingOftenIsEncodedOncePerBatch(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	for range 50 {
		r.submit(k, "", signal("add"))
	}
	r.think()
	s := r.shardOf(k)
	io, _ := s.NextIO()
	if n := len(io.Batch.Ops); n != 2 { // header and one history row
		t.Errorf("%d operations, want 2", n)
	}
	s.DoneIO(r.eng.perform(io))
	got, _, err := r.events(HistoryQuery{Run: k.Run(run)})
	if err != nil || !slices.Equal(got, eventRange(1, 52)) {
		t.Errorf("history %v, error %v", got, err)
	}
}

func TestFailedWriteAnswersEveryoneAndReloads(t *testing.T) {
	for _, fault := range []struct {
		name    string
		fault   faulty.Fault
		applied bool
	}{
		{"not applied", faulty.NotApplied, false},
		{"unknown, applied", faulty.UnknownApplied, true},
		{"unknown, not applied", faulty.UnknownNotApplied, false},
		{"fenced", faulty.Fenced, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Shards = 1 })
			k := wf("a")
			run := r.begin(k)
			w := r.eng.NewWaiter()
			r.do(k, execution.QueryWorkflow{Waiter: w.ID})
			r.submit(k, "", signal("offer"))
			r.think()
			s := r.eng.Shards()[0]
			r.fault = func(c faulty.Call) faulty.Fault {
				if c.Op == faulty.Apply {
					return fault.fault
				}
				return faulty.None
			}
			io, _ := s.NextIO()
			second := r.submit(k, "", signal("add")) // in the next batch, which builds on the failing one
			loading := r.submit(wf("b"), "", signal("add"))
			for s.Work(10) {
			}
			s.DoneIO(r.eng.perform(io))
			for _, o := range []*outcome{second, loading} {
				if !o.done || !isKind(o.err, execution.Unavailable) {
					t.Errorf("want Unavailable, got %+v", o)
				}
			}
			r.fault = nil
			r.settle()
			want := ids.EventID(1)
			if fault.applied {
				want = 2
			}
			if got := r.do(k, signal("read")); got != want {
				t.Errorf("%v events after the reload, want %v", got, want)
			}
			if offers := r.sink.take(); len(offers) != int(want-1) {
				t.Errorf("offers %v: what is in the store must be offered after all, and nothing else", offers)
			}
			if got := r.do(k, signal("add")); got != want+1 {
				t.Errorf("add after the reload gives event %v", got)
			}
			select {
			case reply := <-w.Reply:
				if !isKind(reply.Err, execution.Unavailable) {
					t.Errorf("parked caller got %+v", reply)
				}
			default:
				t.Error("parked caller was forgotten")
			}
			got, _, err := r.events(HistoryQuery{Run: k.Run(run)})
			if err != nil || !slices.Equal(got, eventRange(1, want+2)) {
				t.Errorf("history %v, error %v", got, err)
			}
		})
	}
}

func TestAcquireIsTriedAgain(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	s := r.eng.Shards()[0]
	k := wf("a")
	r.begin(k)
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Apply || c.Op == faulty.Acquire {
			return faulty.NotApplied
		}
		return faulty.None
	}
	r.submit(k, "", signal("add"))
	r.settle()
	waiting := r.submit(k, "", signal("read"))
	r.settle()
	if waiting.done {
		t.Fatal("answered before the next attempt")
	}
	r.clock.advance(s.NextWake().Sub(r.clock.Now()))
	r.settle()
	if !isKind(waiting.err, execution.Unavailable) {
		t.Errorf("want Unavailable while the shard cannot be acquired, got %+v", waiting)
	}
	r.fault = nil
	r.clock.advance(s.NextWake().Sub(r.clock.Now()))
	r.settle()
	if got := r.do(k, signal("read")); got != ids.EventID(1) {
		t.Errorf("%v events", got)
	}
}

func TestClosedStoreStopsTheShard(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	k := wf("a")
	r.begin(k)
	add := r.submit(k, "", signal("add"))
	r.think()
	if err := r.mem.Close(); err != nil {
		t.Fatal(err)
	}
	r.write()
	if !errors.Is(add.err, ErrStopped) {
		t.Errorf("got %+v", add)
	}
	if _, ok := r.eng.Shards()[0].NextIO(); ok {
		t.Error("a shard of a closed store wants to write")
	}
}

func TestCrashKeepsWhatWasAnswered(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	r.do(k, signal("add"))
	r.do(k, signal("lazy")) // may be lost
	r.crash(nil)
	if got := r.do(k, signal("read")); got != ids.EventID(2) {
		t.Errorf("%v events after the crash", got)
	}
	st, err := record.Load(r.mem, k.Run(run), storage.PrefixEnd)
	if err != nil || st == nil {
		t.Fatal(st, err)
	}
}

func TestNextDurableTransitionWritesTheLosableOnes(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	lazy := r.submit(k, "", signal("lazy"))
	r.think()
	if !lazy.done {
		t.Fatal("a losable transition waits for no write")
	}
	if r.write() {
		t.Fatal("a losable transition was written")
	}
	r.do(k, signal("add"))
	if st := r.shardOf(k).entries[k.Run(run)].state; st.Volatile.Unsaved {
		t.Error("still marked as unsaved")
	}
	r.crash(nil)
	got, _, err := r.events(HistoryQuery{Run: k.Run(run)})
	if err != nil || !slices.Equal(got, eventRange(1, 4)) {
		t.Errorf("history %v, error %v", got, err)
	}
}

func TestLosableAnswerWaitsForWhatItBuildsOn(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	r.begin(k)
	r.submit(k, "", signal("add"))
	lazy := r.submit(k, "", signal("lazy"))
	r.think()
	if lazy.done {
		t.Fatal("answered before the event it follows was durable")
	}
	r.write()
	if !lazy.done {
		t.Fatal("not answered with the batch it builds on")
	}
}

func TestHeaderOfABatchDoesNotRunAheadOfItsEvents(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	r.submit(k, "", signal("add"))
	r.submit(k, "", signal("lazy")) // after the staging, before the sealing
	r.settle()
	st, err := record.Load(r.mem, k.Run(run), storage.PrefixEnd)
	if err != nil || st.Info.NextEventID != 3 {
		t.Fatalf("stored next event %d, error %v", st.Info.NextEventID, err)
	}
}

func TestUnknownRunIsNotFoundAndNotKept(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	for _, run := range []ids.RunID{"", "eeeeeeee-0000-4000-8000-000000000001"} {
		o := r.submit(k, run, signal("add"))
		r.settle()
		if !isKind(o.err, execution.NotFound) {
			t.Errorf("run %q: %+v", run, o)
		}
	}
	if s := r.shardOf(k); len(s.entries)+len(s.workflows) != 0 {
		t.Errorf("%d runs, %d workflows kept", len(s.entries), len(s.workflows))
	}
}

func TestMalformedIDsAreRefused(t *testing.T) {
	r := newRig(t, nil)
	for _, run := range []ids.RunID{"x", "AAAAAAAA-0000-4000-8000-000000000001", "{aaaaaaaa-0000-4000-8000-00000000000}"} {
		_, err := r.eng.Submit(t.Context(), wf("a"), run, signal("read"))
		if !isKind(err, execution.InvalidArgument) {
			t.Errorf("%q: %v", run, err)
		}
	}
}

func TestOverloadedShardRefuses(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Pending = 3 })
	k := wf("a")
	r.begin(k)
	for range 3 {
		r.submit(k, "", signal("add"))
	}
	r.think() // staged, not durable: still pending
	err := r.eng.SubmitAsync(k, "", signal("add"), func(any, error) {})
	if !isKind(err, execution.ResourceExhausted) {
		t.Fatalf("got %v", err)
	}
	r.settle()
	r.do(k, signal("add"))
	if n := r.shardOf(k).mail.pending.Load(); n != 0 {
		t.Errorf("%d still pending", n)
	}
}

func TestLargeBatchHoldsInputsBack(t *testing.T) {
	r := newRig(t, func(o *Options) { o.BatchBytes = 1 << 10; o.Shards = 1 })
	k := wf("a")
	r.begin(k)
	s := r.eng.Shards()[0]
	r.submit(k, "", signal("add"))
	r.think()
	io, _ := s.NextIO()
	for range 10 {
		r.submit(k, "", signal("add 600"))
	}
	r.think()
	if n := len(s.open.effects); n == 0 || n > 3 {
		t.Errorf("%d inputs staged beyond the bound", n)
	}
	s.DoneIO(r.eng.perform(io))
	r.settle()
	if got := r.do(k, signal("read")); got != ids.EventID(12) {
		t.Errorf("%v events", got)
	}
}

func TestDiscardKeepsRowsThatCount(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	r.do(k, signal("offer"))
	offer := r.sink.take()[0]
	rows := func() int { return r.count(record.AllDispatch()) }

	r.async(func() {
		if err := r.eng.Discard(t.Context(), offer); err != nil {
			t.Error(err)
		}
	})
	if rows() != 1 {
		t.Fatal("the row of a pending task was removed")
	}
	r.do(k, signal("started"))
	r.async(func() { _ = r.eng.Discard(t.Context(), offer) })
	if rows() != 1 {
		t.Fatal("the row of a task whose start can be lost was removed")
	}
	offer.Workflow.Seq--
	offer.Task.Seq-- // a row of no use, as far as the run goes
	b := &storage.Batch{Fence: storage.Fence{Shard: r.shardOf(k).id, Epoch: r.shardOf(k).epoch}}
	b.Set(record.TaskKey(k.Run(run), &offer.Task), record.EncodeTask(k.Run(run), &offer.Task))
	if err := r.mem.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r.async(func() { _ = r.eng.Discard(t.Context(), offer) })
	if st, err := record.Load(r.mem, k.Run(run), storage.PrefixEnd); rows() != 0 || err != nil || !st.Info.WFT.Started() {
		t.Errorf("%d rows, error %v: want the stale one gone, and the other with the start saved first", rows(), err)
	}
	if !r.noMoreWork() {
		t.Error("work left")
	}
}

func TestLosableIndexChangeIsWrittenWithTheNextDurableOne(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	r.do(k, signal("retitle"))
	r.do(k, signal("add"))
	value, err := r.mem.Get(record.IndexKey(testNS, run, false, r.clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var info workflowpb.WorkflowExecutionInfo
	if err := proto.Unmarshal(value, &info); err != nil || info.StateTransitionCount != 1 || info.HistoryLength != 2 {
		t.Errorf("index shows %v, error %v", &info, err)
	}
}

func (r *rig) noMoreWork() bool {
	for _, s := range r.eng.Shards() {
		if s.writing() || !s.open.empty() {
			return false
		}
	}
	return true
}

func TestBacklogListsQueuesAndPages(t *testing.T) {
	r := newRig(t, nil)
	for i := range 5 {
		r.begin(wf("w%d", i))
		r.do(wf("w%d", i), signal("offer"))
		r.clock.advance(time.Second)
	}
	want := r.sink.take()
	b := NewBacklog(r.mem)
	queue := taskqueue.QueueKey{Namespace: testNS, Type: record.QueueWorkflow, Name: "q"}
	queues, err := b.Queues(t.Context())
	if err != nil || !slices.Equal(queues, []taskqueue.QueueKey{queue}) {
		t.Fatalf("queues %v, error %v", queues, err)
	}
	var got []execution.Offer
	for after := []byte(nil); ; {
		offers, keys, err := b.Page(t.Context(), queue, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(offers) == 0 {
			break
		}
		got, after = append(got, offers...), keys[len(keys)-1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages differ from what was offered, in order of age:\n%s", diff)
	}
	none, _, err := b.Page(context.Background(), taskqueue.QueueKey{Namespace: testNS, Type: record.QueueActivity, Name: "q"}, nil, 9)
	if err != nil || len(none) != 0 {
		t.Errorf("another queue has %v, error %v", none, err)
	}
}

// replacedWhileReading has the current run read something for in, and puts another one in its place by a reset of base, and does
// what then says, before what was read comes.
func replacedWhileReading(r *rig, k ids.WorkflowKey, base ids.RunID, in execution.Input, then func()) *outcome {
	r.Helper()
	o := r.submit(k, "", in)
	s := r.shardOf(k)
	for s.Work(1000) {
	}
	jobs := s.Jobs()
	if len(jobs) != 1 {
		r.Fatalf("%d reads", len(jobs))
	}
	read := jobs[0]()
	reset := r.submit(k, base, execution.ResetWorkflow{Request: &workflowservice.ResetWorkflowExecutionRequest{Reason: "new run"}})
	r.settle()
	then()
	s.Continue(read)
	r.settle()
	if !reset.done || reset.err != nil || !o.done || o.err != nil {
		r.Fatalf("reset %+v, %T %+v", reset, in, o)
	}
	return o
}

// A reset of the current run that waits for its history does not take it for that of another run, of as many events.
func TestAResetThatComesToAnotherRunReadsAnew(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RecentBytes = 100 })
	k := wf("a")
	base := r.begin(k)
	r.do(k, signal("can"))
	r.do(k, signal("add 500"))
	r.do(k, signal("add"))
	late := replacedWhileReading(r, k, base, execution.ResetWorkflow{}, func() {
		r.do(k, signal("add"))
		r.do(k, signal("add"))
	})
	in := late.answer.(execution.ResetWorkflow)
	if len(in.Events) != 3 {
		t.Errorf("%d events", len(in.Events))
	}
	for _, ev := range in.Events {
		if ev.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() != "" {
			t.Errorf("event %d is the replaced run's", ev.EventId)
		}
	}
}

// What was read for a call of one run is of no use when another run is the current one by the call's turn.
func TestACallThatComesToAnotherRunReadsAnew(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RecentBytes = 100 })
	k := wf("a")
	base := r.begin(k)
	r.do(k, signal("can"))
	for range 5 {
		r.do(k, signal("add 100"))
	}
	need := replacedWhileReading(r, k, base, signal("need 3"), func() {})
	if need.answer != ids.EventID(0) { // the new run has one event
		t.Errorf("the event is %+v", need)
	}
}

func TestResetGetsTheWholeHistoryAndTheCurrentRun(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RecentBytes = 100 })
	k := wf("a")
	base := r.begin(k)
	for range 20 {
		r.do(k, signal("add 20"))
	}
	r.do(k, signal("can"))
	r.do(k, signal("add"))
	r.crash(nil)
	for _, warm := range []bool{false, true} {
		o := r.submit(k, base, execution.ResetWorkflow{})
		r.settle()
		in, ok := o.answer.(execution.ResetWorkflow)
		if !ok {
			t.Fatalf("warm %v: %+v", warm, o)
		}
		if len(in.Events) != 22 || in.Current == nil || in.Current.Info.NextEventID != 3 {
			t.Errorf("warm %v: %d events, current %+v", warm, len(in.Events), in.Current)
		}
	}
	o := r.submit(k, "", execution.ResetWorkflow{})
	r.settle()
	if in := o.answer.(execution.ResetWorkflow); in.Current != nil || len(in.Events) != 2 {
		t.Errorf("reset of the current run: %d events, current %v", len(in.Events), in.Current)
	}
}
