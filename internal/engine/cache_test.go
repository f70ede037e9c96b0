package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	updatepb "go.temporal.io/api/update/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage/faulty"
)

func TestEvictionBoundsTheCacheAndLosesNothing(t *testing.T) {
	const runs = 200
	r := newRig(t, func(o *Options) { o.CacheBytes = 20 * entryBytes; o.Shards = 1 })
	s := r.eng.Shards()[0]
	for i := range runs {
		r.begin(wf("w%d", i))
		r.do(wf("w%d", i), signal("lazy"))
	}
	r.settle()
	if n := len(s.entries); n > 30 {
		t.Errorf("%d runs cached", n)
	}
	if n := len(s.workflows); n > 30 {
		t.Errorf("%d workflows cached", n)
	}
	for i := range runs {
		if got := r.do(wf("w%d", i), signal("read")); got != ids.EventID(2) {
			t.Fatalf("run %d has %v events: an unsaved one was evicted without a write", i, got)
		}
		if st := r.shardOf(wf("w%d", i)).entries; i < runs-30 {
			for k, e := range st {
				if k.Workflow == wf("w%d", i).Workflow && e.state.Info.Transitions != 1000 {
					t.Errorf("run %d was written without the core's saving", i)
				}
			}
		}
	}
	if s.live.bytes+s.ended.bytes != sumSizes(s) {
		t.Errorf("accounted %d bytes, entries have %d", s.live.bytes+s.ended.bytes, sumSizes(s))
	}
	r.noErrors()
}

// Closed runs must not drive out those that still have something to do.
func TestClosedRunsTakeTheirShareOfTheCacheOnly(t *testing.T) {
	const open, closed = 10, 500
	r := newRig(t, func(o *Options) { o.CacheBytes = 40 * entryBytes; o.Shards = 1 })
	s := r.eng.Shards()[0]
	for i := range open {
		r.begin(wf("open%d", i))
	}
	for i := range closed {
		r.begin(wf("w%d", i))
		r.do(wf("w%d", i), signal("close"))
		r.settle()
	}
	cached := 0
	for k := range s.entries {
		if strings.HasPrefix(string(k.Workflow), "open") {
			cached++
		}
	}
	if cached != open {
		t.Errorf("%d of %d open runs are cached", cached, open)
	}
	if s.ended.bytes > s.budget/endedShare || s.ended.bytes == 0 || s.live.bytes+s.ended.bytes != sumSizes(s) {
		t.Errorf("closed runs take %d of %d bytes, open ones %d, all together %d", s.ended.bytes, s.budget, s.live.bytes, sumSizes(s))
	}
	r.noErrors()
}

// A closed run that is too large for the share of closed ones is read page after page, and loaded once.
func TestAClosedRunThatIsReadStays(t *testing.T) {
	r := newRig(t, func(o *Options) { o.CacheBytes = 40 * entryBytes; o.Shards = 1 })
	s := r.eng.Shards()[0]
	for i := range 50 {
		run := r.begin(wf("w%d", i))
		r.do(wf("w%d", i), signal("close"))
		r.settle()
		s.budget = 4 * entryBytes // no closed run has room
		s.evict()
		if s.entries[wf("w%d", i).Run(run)] != nil {
			t.Fatal("the run is cached, so that the test shows nothing")
		}
		for range 3 {
			if _, _, err := r.events(HistoryQuery{Run: wf("w%d", i).Run(run)}); err != nil {
				t.Fatal(err)
			}
			s.evict()
			if e := s.entries[wf("w%d", i).Run(run)]; e == nil || e.in != &s.live {
				t.Fatalf("run %d is not kept while it is read", i)
			}
		}
		if len(s.entries) > 5 {
			t.Fatalf("%d runs cached", len(s.entries))
		}
	}
	r.noErrors()
}

// A run that is larger than the cache is loaded once, and then stays for as long as it is the one that is used.
func TestARunLargerThanTheCacheStaysWhileItIsUsed(t *testing.T) {
	r := newRig(t, func(o *Options) { o.CacheBytes = 1; o.Shards = 1 })
	s := r.eng.Shards()[0]
	run := r.begin(wf("large"))
	for range 10 {
		r.do(wf("large"), signal("add"))
		r.settle()
		if e := s.entries[wf("large").Run(run)]; e == nil || e.size <= s.budget {
			t.Fatalf("the run is not cached, or not larger than %d", s.budget)
		}
	}
	r.begin(wf("next"))
	r.settle()
	if len(s.entries) != 1 || s.entries[wf("large").Run(run)] != nil {
		t.Errorf("%d runs cached after another was used", len(s.entries))
	}
	r.noErrors()
}

func sumSizes(s *Shard) int {
	n := 0
	for _, e := range s.entries {
		n += e.size
	}
	return n
}

// A state that was read before the run was cached, changed and evicted must not come back.
func TestStaleReadIsNotInstalled(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	k := wf("a")
	run := r.begin(k)
	r.crash(func(o *Options) { o.Shards = 1 })
	s := r.eng.Shards()[0]
	late := r.submit(k, "", signal("read"))
	for s.Work(10) {
	}
	jobs := s.Jobs() // reads the pointer and the run
	then := jobs[0]()
	if len(jobs) != 1 {
		t.Fatalf("%d reads", len(jobs))
	}
	if o := r.submit(k, run, signal("add")); true {
		r.settle()
		if o.err != nil {
			t.Fatal(o.err)
		}
	}
	s.budget = 0
	s.tick()
	if len(s.entries) != 0 {
		t.Fatal("still cached")
	}
	s.Continue(then)
	r.settle()
	if late.answer != ids.EventID(2) {
		t.Errorf("got %+v", late)
	}
}

func TestUnwrittenEventsStayInMemory(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RecentBytes = 20 })
	k := wf("a")
	run := k.Run(r.begin(k))
	for range 10 {
		r.do(k, signal("lazy"))
	}
	r.do(k, signal("add"))
	r.crash(nil)
	got, _, err := r.events(HistoryQuery{Run: run})
	if err != nil || !slices.Equal(got, eventRange(1, 13)) {
		t.Errorf("history %v, error %v", got, err)
	}
}

func TestTaskWhoseStartWasLostIsOfferedAgain(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	a, b := wf("a"), wf("b")
	r.begin(a)
	r.begin(b)
	r.do(a, signal("offer"))
	want := r.sink.take()
	r.do(a, signal("started"))
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Apply {
			return faulty.NotApplied
		}
		return faulty.None
	}
	r.submit(b, "", signal("add"))
	r.think()
	r.write()
	r.fault = nil
	r.settle()
	if diff := cmp.Diff(want, r.sink.take()); diff != "" {
		t.Errorf("offers after the shard lost its memory:\n%s", diff)
	}
}

func TestParkedCallersKeepTheirRunCached(t *testing.T) {
	r := newRig(t, func(o *Options) { o.CacheBytes = 1; o.Shards = 1 })
	k := wf("a")
	r.begin(k)
	w := r.eng.NewWaiter()
	o := r.submit(k, "", execution.QueryWorkflow{Waiter: w.ID})
	r.submit(k, "", signal("reply durable"))
	r.think()
	if !o.done {
		t.Fatal("parking is an answer")
	}
	select {
	case <-w.Reply:
		t.Fatal("reply left before its batch")
	default:
	}
	r.write()
	if reply := <-w.Reply; reply.Answer != "reply" {
		t.Errorf("got %+v", reply)
	}
	w.Release()
	w.Release()
}

func TestInputsOfOneRunKeepTheirOrder(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	r.begin(k)
	r.crash(nil) // everything has to be loaded
	var got []string
	for i := range 20 {
		name := "add"
		if i%5 == 0 {
			name = "need 1"
		}
		if err := r.eng.SubmitAsync(k, "", signal("%s", name), func(any, error) { got = append(got, fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	r.settle()
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint(i))
	}
	// Answers of a batch leave in order; reads of an unchanged run may overtake none of the adds before them.
	if !slices.Equal(got, want) {
		t.Errorf("order %v", got)
	}
}

func TestCurrentRunIsResolvedWhenTheTurnComes(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	first := r.begin(k)
	r.crash(func(o *Options) { o.NewRunID = counted() })
	r.eng.opts.NewRunID = func() ids.RunID { return "dddddddd-0000-4000-8000-000000000001" }
	r.submit(k, "", signal("need 1")) // keeps the run busy
	next := r.submit(k, "", signal("can"))
	add := r.submit(k, "", signal("add")) // queued while the first run was current
	r.settle()
	if next.answer == first || next.err != nil {
		t.Fatalf("continued as %+v", next)
	}
	if add.answer != ids.EventID(2) {
		t.Errorf("add gave event %v: it went to the closed run", add.answer)
	}
	if got := r.do(k, signal("read")); got != ids.EventID(2) {
		t.Errorf("new run has %v events", got)
	}
}

func TestNeededEventsComeFromMemoryOrStore(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RecentBytes = 200 })
	k := wf("a")
	run := r.begin(k)
	for range 5 {
		r.do(k, signal("add 100"))
	}
	r.reads = 0
	if got := r.do(k, signal("need 6")); got != ids.EventID(6) || r.reads != 0 {
		t.Errorf("got %v with %d reads", got, r.reads)
	}
	if got := r.do(k, signal("need 2")); got != ids.EventID(2) || r.reads == 0 {
		t.Errorf("got %v with %d reads", got, r.reads)
	}
	// Staged, already trimmed from memory, and not durable yet.
	r.submit(k, run, signal("add 500"))
	o := r.submit(k, run, signal("need 7"))
	r.settle()
	if o.answer != ids.EventID(7) {
		t.Errorf("got %+v", o)
	}
	if got := r.do(k, signal("need 99")); got != ids.EventID(0) {
		t.Errorf("an event that does not exist: %v", got)
	}
	r.noErrors()
}

func TestFailedReadAnswersUnavailable(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := r.begin(k)
	r.crash(nil)
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Get || c.Op == faulty.Scan {
			return faulty.NotApplied
		}
		return faulty.None
	}
	byPointer, byRun := r.submit(k, "", signal("read")), r.submit(k, run, signal("read"))
	r.settle()
	if !isKind(byPointer.err, execution.Unavailable) || !isKind(byRun.err, execution.Unavailable) {
		t.Errorf("got %+v %+v", byPointer, byRun)
	}
	r.fault = nil
	if got := r.do(k, signal("read")); got != ids.EventID(1) {
		t.Errorf("afterwards %v", got)
	}
}

func TestPanicFailsOneInput(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	r.begin(k)
	o := r.submit(k, "", signal("panic"))
	after := r.submit(k, "", signal("add"))
	r.settle()
	if !isKind(o.err, execution.Internal) {
		t.Errorf("got %+v", o)
	}
	if after.answer != ids.EventID(2) {
		t.Errorf("the run does not go on: %+v", after)
	}
	if !strings.Contains(r.logs.String(), "on order") || !strings.Contains(r.logs.String(), "testStep") {
		t.Error("the panic and its stack are not in the log")
	}
}

func TestAdmittedUpdateKeepsItsRunCached(t *testing.T) {
	r := newRig(t, func(o *Options) { realCore(o); o.CacheBytes = 1 })
	k := wf("a")
	r.do(k, startOf("a"))
	w := r.eng.NewWaiter()
	r.do(k, execution.UpdateWorkflow{Waiter: w.ID, Wait: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
		Request: &updatepb.Request{Meta: &updatepb.Meta{UpdateId: "u"}, Input: &updatepb.Input{Name: "n"}}})
	r.do(wf("b"), startOf("b"))
	r.settle()
	s := r.shardOf(k)
	s.tick()
	found := false
	for run, e := range s.entries {
		found = found || run.Workflow == "a" && e.state.Volatile.Updates.Len() == 1
	}
	if !found {
		t.Error("the update was forgotten")
	}
	if len(w.Reply) != 0 {
		t.Error("answered")
	}
}
