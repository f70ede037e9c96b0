package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/faulty"
	"github.com/perdure/perdure/internal/storage/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func historyKey(k ids.RunKey, first ids.EventID) []byte { return record.HistoryKey(k, first) }

// liveEngine is an engine that runs; it is stopped with the test.
type liveEngine struct {
	*Engine
	t     testing.TB
	store storage.Store
	stop  func() error
}

func startEngine(t testing.TB, opts Options) *liveEngine {
	return startEngineOn(t, mem.New(mem.Options{}), opts)
}

func startEngineOn(t testing.TB, store storage.Store, opts Options) *liveEngine {
	t.Helper()
	e, err := New(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil && !errors.Is(err, storage.ErrClosed) {
			t.Error(err)
		}
	})
	return &liveEngine{e, t, store, stop}
}

func (e *liveEngine) must(k ids.WorkflowKey, in execution.Input) any {
	e.t.Helper()
	answer, err := e.Submit(context.Background(), k, "", in)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer
}

func TestConcurrentCallersGetConsecutiveEvents(t *testing.T) {
	e := startEngine(t, Options{Core: testCore()})
	const runs, callers, each = 8, 8, 50
	for i := range runs {
		e.must(wf("w%d", i), execution.StartWorkflow{})
	}
	var wg sync.WaitGroup
	var seen [runs]sync.Map
	for i := range runs {
		for range callers {
			wg.Go(func() {
				last := ids.EventID(0)
				for range each {
					id := e.must(wf("w%d", i), signal("add")).(ids.EventID)
					if _, dup := seen[i].LoadOrStore(id, true); dup || id <= last {
						t.Errorf("event %d after %d, duplicate %v", id, last, dup)
					}
					last = id
				}
			})
		}
	}
	wg.Wait()
	for i := range runs {
		st, err := e.State(t.Context(), wf("w%d", i), "")
		if err != nil || st.Info.NextEventID != callers*each+2 {
			t.Errorf("run %d: next event %d, error %v", i, st.Info.NextEventID, err)
		}
		page, err := e.History(t.Context(), HistoryQuery{Run: st.Key})
		if err != nil || page.Count != callers*each+1 {
			t.Errorf("run %d: history %+v, error %v", i, page, err)
		}
	}
}

func TestStopWritesWhatIsUnsavedAndAnswersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(mem.Options{})
		gate := make(chan struct{})
		var held atomic.Bool
		slow := faulty.New(store, faulty.Options{Delay: func(_ context.Context, c faulty.Call) error {
			if c.Op == faulty.Apply && held.Load() {
				<-gate
			}
			return nil
		}})
		e := startEngineOn(t, slow, Options{Core: testCore()})
		k := wf("a")
		run := k.Run(e.must(k, execution.StartWorkflow{}).(ids.RunID))
		e.must(k, signal("lazy"))
		w := e.NewWaiter()
		e.must(k, execution.QueryWorkflow{Waiter: w.ID})
		watch := make(chan error, 1)
		go func() { watch <- e.WaitHistory(context.Background(), run, 99) }()
		synctest.Wait()

		held.Store(true)
		type end struct {
			answer any
			err    error
		}
		first, second := make(chan end, 1), make(chan end, 1)
		go func() { a, err := e.Submit(context.Background(), k, "", signal("add")); first <- end{a, err} }()
		synctest.Wait()
		go func() { a, err := e.Submit(context.Background(), k, "", signal("lazy")); second <- end{a, err} }()
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- e.stop() }()
		synctest.Wait()
		if len(stopped) != 0 {
			t.Error("stopped before its writes ended")
		}
		if _, err := e.Submit(context.Background(), k, "", signal("add")); !errors.Is(err, ErrStopped) {
			t.Errorf("submit while stopping: %v", err)
		}
		close(gate)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if got := <-first; got.err != nil || got.answer != ids.EventID(3) {
			t.Errorf("staged input: %+v", got)
		}
		if got := <-second; got.err != nil {
			t.Errorf("input that waits for a staged one: %+v", got)
		}
		if err := <-watch; !errors.Is(err, ErrStopped) {
			t.Errorf("watcher: %v", err)
		}
		if reply := <-w.Reply; !errors.Is(reply.Err, ErrStopped) {
			t.Errorf("parked caller: %+v", reply)
		}
		if reply := <-e.NewWaiter().Reply; !errors.Is(reply.Err, ErrStopped) {
			t.Errorf("waiter after the stop: %+v", reply)
		}
		st, err := record.Load(store, run, storage.PrefixEnd)
		if err != nil || st.Info.NextEventID != 5 {
			t.Errorf("stored next event %d, error %v: the unsaved part was lost", st.Info.NextEventID, err)
		}
	})
}

func TestCallerThatGivesUpDoesNotUndoTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New(mem.Options{})
		gate := make(chan struct{})
		var held atomic.Bool
		e := startEngineOn(t, faulty.New(store, faulty.Options{Delay: func(_ context.Context, c faulty.Call) error {
			if c.Op == faulty.Apply && held.Load() {
				<-gate
			}
			return nil
		}}), Options{Core: testCore()})
		e.must(wf("a"), execution.StartWorkflow{})
		held.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.Submit(ctx, wf("a"), "", signal("add")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(gate)
		if got := e.must(wf("a"), signal("read")); got != ids.EventID(2) {
			t.Errorf("%v events", got)
		}
	})
}

func TestRunningEngineRingsTimersAndSleepsOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := &countingObserver{}
		e := startEngine(t, Options{Core: testCore(), Observer: steps})
		const n = 500
		begin := time.Now()
		for i := range n {
			e.must(wf("w%d", i), execution.StartWorkflow{})
			e.must(wf("w%d", i), signal("sleep 24h"))
		}
		synctest.Wait()
		before := steps.steps.Load()
		time.Sleep(24*time.Hour - time.Nanosecond - time.Since(begin))
		synctest.Wait()
		if got := steps.steps.Load(); got != before {
			t.Errorf("%d steps in a day of waiting", got-before)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := steps.steps.Load() - before; got != n {
			t.Errorf("%d timers rang at their moment, want %d", got, n)
		}
		if got := e.must(wf("w7"), signal("read")); got != ids.EventID(2) {
			t.Errorf("%v events", got)
		}
	})
}

type countingObserver struct{ steps, commits atomic.Int64 }

func (o *countingObserver) Stepped(ids.ShardID, execution.Input, *execution.Transition) {
	o.steps.Add(1)
}
func (o *countingObserver) Committed(ids.ShardID, Commit) { o.commits.Add(1) }

func TestClosingTheStoreEndsRun(t *testing.T) {
	store := mem.New(mem.Options{})
	e, err := New(store, Options{Core: testCore()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(t.Context()) }()
	if _, err := e.Submit(t.Context(), wf("a"), "", execution.StartWorkflow{}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Submit(t.Context(), wf("a"), "", signal("add")); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	if err := <-done; !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Run ended with %v", err)
	}
	if err := e.Run(t.Context()); err == nil {
		t.Error("Run twice")
	}
}

// Under faults of every kind, with evictions and concurrent callers, what was acknowledged is there afterwards.
func TestAcknowledgedMeansRecordedUnderFaults(t *testing.T) {
	store := mem.New(mem.Options{})
	faults := faulty.New(store, faulty.Options{Choose: func(c faulty.Call) faulty.Fault {
		switch {
		case c.Op == faulty.Apply && c.Seq%17 == 0:
			return faulty.UnknownApplied
		case c.Op == faulty.Apply && c.Seq%19 == 0:
			return faulty.UnknownNotApplied
		case c.Op == faulty.Apply && c.Seq%23 == 0:
			return faulty.Fenced
		case (c.Op == faulty.Get || c.Op == faulty.Scan) && c.Seq%31 == 0:
			return faulty.NotApplied
		}
		return faulty.None
	}})
	logs := &logBuffer{}
	e := startEngineOn(t, faults, Options{Core: testCore(), CacheBytes: 8 * entryBytes,
		Logger: slog.New(slog.NewTextHandler(logs, nil))})
	const runs, callers, each = 12, 4, 60
	var acknowledged [runs]atomic.Int64
	var wg sync.WaitGroup
	for i := range runs {
		for {
			if _, err := e.Submit(t.Context(), wf("w%d", i), "", execution.StartWorkflow{}); err == nil || isKind(err, execution.AlreadyExists) {
				break
			}
		}
		for c := range callers {
			wg.Go(func() {
				for n := range each {
					name := "add"
					if (n+c)%7 == 0 {
						name = "need 1"
					}
					answer, err := e.Submit(t.Context(), wf("w%d", i), "", signal("%s", name))
					if err != nil && !isKind(err, execution.Unavailable) {
						t.Error(err)
					}
					if err == nil && name == "add" {
						for {
							old := acknowledged[i].Load()
							if id := answer.(ids.EventID); id <= old || acknowledged[i].CompareAndSwap(old, id) {
								break
							}
						}
					}
				}
			})
		}
	}
	wg.Wait()
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	after := startEngineOn(t, store.Crash(), Options{Core: testCore()})
	for i := range runs {
		st, err := after.State(t.Context(), wf("w%d", i), "")
		if err != nil {
			t.Fatal(err)
		}
		if st.Info.NextEventID <= acknowledged[i].Load() {
			t.Errorf("run %d has %d events, %d was acknowledged", i, st.Info.NextEventID-1, acknowledged[i].Load())
		}
		page, err := after.History(t.Context(), HistoryQuery{Run: st.Key})
		if err != nil || ids.EventID(page.Count) != st.Info.NextEventID-1 {
			t.Errorf("run %d: history %v, error %v", i, page, err)
		}
	}
	if strings.Contains(logs.String(), "broken invariant") {
		t.Error(logs.String())
	}
}

func TestShardCountMustDivideTheTimerGroups(t *testing.T) {
	for n := range 20 {
		_, err := New(mem.New(mem.Options{}), Options{Shards: n})
		if ok := n == 0 || record.TimerGroups%n == 0 && n <= record.TimerGroups; ok != (err == nil) {
			t.Errorf("%d shards: %v", n, err)
		}
	}
}

func TestEverySlotHasTheShardThatOwnsItsTimersAndMessages(t *testing.T) {
	for _, n := range []int{1, 2, 4, 8, 16} {
		e, err := New(mem.New(mem.Options{}), Options{Shards: n})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			k := ids.WorkflowKey{Namespace: testNS, Workflow: ids.WorkflowID(fmt.Sprint(i))}
			s := e.shard(k)
			low, high := s.slots()
			g := record.TimerGroup(k.Slot()) - s.timers.groups[0].number
			if k.Slot() < low || k.Slot() >= high || g < 0 || g >= len(s.timers.groups) {
				t.Fatalf("%d shards: slot %d is with shard %d", n, k.Slot(), s.id)
			}
		}
	}
}
