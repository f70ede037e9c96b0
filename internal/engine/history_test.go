package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// Every range and page size of a history that is partly in rows of several events, partly in memory, partly unwritten.
func TestHistoryPages(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RecentBytes = 150 })
	k := wf("a")
	run := k.Run(r.begin(k))
	for range 4 {
		for range 3 { // one row
			r.submit(k, "", signal("add 10"))
		}
		r.settle()
	}
	r.do(k, signal("lazy"))
	r.do(k, signal("lazy"))
	const end = 16
	for _, reverse := range []bool{false, true} {
		for from := ids.EventID(1); from <= end; from++ {
			for to := from; to <= end+1; to++ {
				for _, size := range []int{0, 1, 2, 5, 14, 15, 16} {
					checkPage(r, HistoryQuery{Run: run, From: from, To: to, Max: size, Reverse: reverse}, end)
				}
			}
		}
	}
}

func checkPage(r *rig, q HistoryQuery, end ids.EventID) {
	r.Helper()
	got, page, err := r.events(q)
	if err != nil {
		r.Fatalf("%+v: %v", q, err)
	}
	want := eventRange(q.From, min(q.To, end))
	if q.Reverse {
		want = backwards(want)
	}
	more := q.Max > 0 && len(want) > q.Max
	if more {
		want = want[:q.Max]
	}
	if !slices.Equal(got, want) || page.More != more {
		r.Errorf("%+v: got %v more %v, want %v more %v", q, got, page.More, want, more)
	}
}

func TestHistoryPageEndsBySize(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := k.Run(r.begin(k))
	for range 9 {
		r.do(k, signal("add 1000"))
	}
	for _, warm := range []bool{true, false} {
		got, page, err := r.events(HistoryQuery{Run: run, MaxSize: 2500})
		if err != nil || !slices.Equal(got, eventRange(1, 5)) || !page.More { // the small first one and three
			t.Errorf("warm %v: %v, more %v, error %v", warm, got, page.More, err)
		}
		got, page, err = r.events(HistoryQuery{Run: run, MaxSize: 1, Reverse: true})
		if err != nil || !slices.Equal(got, []ids.EventID{10}) || !page.More {
			t.Errorf("warm %v: %v, more %v, error %v", warm, got, page.More, err)
		}
		r.crash(nil)
	}
}

// Ends of a history that are read backwards at once, and those that are too long or too large for that.
func TestHistoryFromTheMiddleToTheEnd(t *testing.T) {
	for name, size := range map[string]int{"many": 1, "large": 20000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			k := wf("a")
			run := k.Run(r.begin(k))
			const end = tailEvents + 20
			for id := 2; id < end; id++ {
				r.do(k, signal("add %d", size))
			}
			r.crash(nil) // nothing is in memory
			for from := ids.EventID(2); from < end; from++ {
				checkPage(r, HistoryQuery{Run: run, From: from, To: end}, end)
				checkPage(r, HistoryQuery{Run: run, From: from, To: end, Max: 3}, end)
			}
			got, page, err := r.events(HistoryQuery{Run: run, From: end - 5, MaxSize: 1})
			if err != nil || !slices.Equal(got, []ids.EventID{end - 5}) || !page.More {
				t.Errorf("got %v, more %v, error %v", got, page.More, err)
			}
		})
	}
}

func TestRecentEventsAreReadFromMemory(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := k.Run(r.begin(k))
	for range 5 {
		r.do(k, signal("add"))
	}
	r.reads = 0
	got, _, err := r.events(HistoryQuery{Run: run, From: 4})
	if err != nil || !slices.Equal(got, eventRange(4, 7)) || r.reads != 0 {
		t.Errorf("%v, error %v, %d reads", got, err, r.reads)
	}
}

func TestHistoryWaitsForDurability(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	s := r.eng.Shards()[0]
	k := wf("a")
	run := k.Run(r.begin(k))
	r.submit(k, "", signal("add"))
	r.think()
	io, _ := s.NextIO()
	select {
	case <-s.Ready(): // of what was submitted before
	default:
	}
	done := make(chan *HistoryPage, 1)
	go func() {
		page, err := r.eng.History(context.Background(), HistoryQuery{Run: run})
		if err != nil {
			t.Error(err)
		}
		done <- page
	}()
	<-s.Ready()
	r.think()
	select {
	case <-done:
		t.Fatal("history returned an event that is not durable")
	default:
	}
	s.DoneIO(r.eng.perform(io))
	if page := <-done; page.Count != 2 {
		t.Errorf("%d events", page.Count)
	}
}

func TestHistoryWithAHoleIsAnError(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := k.Run(r.begin(k))
	for range 3 {
		r.do(k, signal("add"))
	}
	s := r.shardOf(k)
	b := &storage.Batch{Fence: storage.Fence{Shard: s.id, Epoch: s.epoch}}
	b.Delete(historyKey(run, 2))
	if err := r.mem.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r.crash(nil)
	if _, _, err := r.events(HistoryQuery{Run: run}); !isKind(err, execution.Unavailable) {
		t.Errorf("error %v", err)
	}
	if _, _, err := r.events(HistoryQuery{Run: run, Reverse: true}); !isKind(err, execution.Unavailable) {
		t.Errorf("reverse: error %v", err)
	}
}

func TestWaitHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startEngine(t, Options{Core: testCore()})
		k := wf("a")
		run := k.Run(e.must(k, execution.StartWorkflow{}).(ids.RunID))
		wait := func(ctx context.Context, next ids.EventID) <-chan error {
			done := make(chan error, 1)
			go func() { done <- e.WaitHistory(ctx, run, next) }()
			synctest.Wait()
			return done
		}
		if err := <-wait(t.Context(), 1); err != nil {
			t.Errorf("event 1 exists: %v", err)
		}
		third := wait(t.Context(), 3)
		e.must(k, signal("add"))
		synctest.Wait()
		if len(third) != 0 {
			t.Error("woken too early")
		}
		e.must(k, signal("lazy"))
		if err := <-third; err != nil {
			t.Error(err)
		}
		far, gone := wait(t.Context(), 99), wait(t.Context(), 99)
		ctx, cancel := context.WithCancel(t.Context())
		left := wait(ctx, 99)
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		e.must(k, signal("close"))
		if err := <-far; err != nil {
			t.Errorf("closed: %v", err)
		}
		<-gone
		synctest.Wait()
		for _, s := range e.Shards() {
			if len(s.watchers) != 0 {
				t.Errorf("%d watchers left", len(s.watchers))
			}
		}
		if err := e.WaitHistory(t.Context(), k.Run("eeeeeeee-0000-4000-8000-000000000001"), 1); !isKind(err, execution.NotFound) {
			t.Errorf("unknown run: %v", err)
		}
	})
}

func TestRemovalDeletesEverything(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	run := k.Run(r.begin(k))
	for range 3 * removeRows {
		r.submit(k, "", signal("add"))
		if r.shardOf(k).open.effects == nil {
			r.settle()
		}
	}
	for range removeRows + 5 {
		r.do(k, signal("add")) // a row each
	}
	r.do(k, signal("sleep 1h"))
	r.do(k, signal("close"))
	r.do(k, signal("remove"))
	r.mem.Scan(nil, nil, func(key, _ []byte) bool {
		t.Errorf("row left: %x", key)
		return true
	})
	if s := r.shardOf(k); len(s.entries)+len(s.workflows)+len(s.timers.items) != 0 {
		t.Errorf("memory left: %d runs, %d workflows, %d timers", len(s.entries), len(s.workflows), len(s.timers.items))
	}
	if o := r.submit(k, run.Run, signal("read")); true {
		r.settle()
		if !isKind(o.err, execution.NotFound) {
			t.Errorf("got %+v", o)
		}
	}
	r.noErrors()
}

func TestRemovalOfAnOlderRunKeepsTheCurrentOne(t *testing.T) {
	for _, cold := range []bool{false, true} {
		r := newRig(t, nil)
		k := wf("a")
		first := r.begin(k)
		r.do(k, signal("can"))
		if cold {
			r.crash(nil)
		}
		o := r.submit(k, first, signal("remove"))
		r.settle()
		if o.err != nil {
			t.Fatal(o.err)
		}
		if got := r.do(k, signal("add")); got != ids.EventID(2) {
			t.Errorf("cold %v: current run gives %v", cold, got)
		}
		if o := r.submit(k, first, signal("read")); true {
			r.settle()
			if !isKind(o.err, execution.NotFound) {
				t.Errorf("cold %v: removed run gives %+v", cold, o)
			}
		}
	}
}

func TestNewRunMayStartDuringARemoval(t *testing.T) {
	r := newRig(t, nil)
	k := wf("a")
	first := r.begin(k)
	r.do(k, signal("close"))
	r.submit(k, "", signal("remove"))
	second := r.submit(k, "", execution.StartWorkflow{})
	r.settle()
	if second.err != nil || second.answer == first {
		t.Fatalf("got %+v", second)
	}
	r.crash(nil)
	if got := r.do(k, signal("read")); got != ids.EventID(1) {
		t.Errorf("new run has %v events", got)
	}
}

func TestRemovalGoesOnAfterACrash(t *testing.T) {
	for writes := range 12 {
		r := newRig(t, nil)
		k := wf("a")
		r.begin(k)
		for range removeRows + 1 {
			r.do(k, signal("add"))
		}
		r.do(k, signal("close"))
		r.submit(k, "", signal("remove"))
		r.think()
		for range writes {
			r.write()
			r.think()
		}
		r.crash(nil)
		r.clock.advance(timerRetry)
		r.settle()
		left := 0
		r.mem.Scan(nil, nil, func(_, _ []byte) bool { left++; return true })
		if left != 0 && writes > 0 {
			t.Errorf("crash after %d writes: %d rows left", writes, left)
		}
	}
}
