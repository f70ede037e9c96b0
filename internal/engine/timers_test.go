package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/faulty"
)

// fired counts the runs whose timer has rung, from their states in the store or newer.
func (r *rig) fired(n int) int {
	count := 0
	for i := range n {
		if r.do(wf("w%d", i), signal("read")) == ids.EventID(2) {
			count++
		}
	}
	return count
}

func (r *rig) timerRows() int {
	n := 0
	for g := range record.TimerGroups {
		n += r.count(record.AllTimers(g))
	}
	return n
}

func (r *rig) nextWake() time.Duration {
	var at = r.clock.Now() + 1<<60
	for _, s := range r.eng.Shards() {
		if n := s.NextWake(); n != 0 {
			at = min(at, n)
		}
	}
	return at.Sub(r.clock.Now())
}

func TestTimersRingWhenDue(t *testing.T) {
	for _, kind := range []string{"sleep", "doze"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, nil)
			const n = 50
			for i := range n {
				r.begin(wf("w%d", i))
				r.do(wf("w%d", i), signal("%s %ds", kind, 10+i))
			}
			if wake := r.nextWake(); wake != 10*time.Second {
				t.Errorf("sleeps %v, want until the first timer", wake)
			}
			r.clock.advance(10*time.Second + 24*time.Second)
			r.settle()
			if got := r.fired(n); got != 25 {
				t.Errorf("%d fired, want 25", got)
			}
			r.clock.advance(time.Minute)
			r.settle()
			if got := r.fired(n); got != n {
				t.Errorf("%d fired", got)
			}
			if rows := r.timerRows(); rows != 0 {
				t.Errorf("%d rows left", rows)
			}
			if wake := r.nextWake(); wake < time.Hour {
				t.Errorf("wakes in %v though nothing is due", wake)
			}
		})
	}
}

func TestTimersSurviveACrash(t *testing.T) {
	r := newRig(t, nil)
	const n = 100
	for i := range n {
		r.begin(wf("w%d", i))
		r.do(wf("w%d", i), signal("sleep %ds", 1+i%10))
	}
	r.crash(nil)
	r.clock.advance(5 * time.Second)
	r.settle()
	if got := r.fired(n); got != 50 {
		t.Errorf("%d fired, want 50", got)
	}
	r.clock.advance(5 * time.Second)
	r.settle()
	if got := r.fired(n); got != n {
		t.Errorf("%d fired", got)
	}
	r.noErrors()
}

// Runs far beyond what is kept in memory all ring, in time, also those whose rows were given back to the store.
func TestManyTimersNeedLittleMemory(t *testing.T) {
	const n, rows = 10_000, 64
	r := newRig(t, func(o *Options) {
		o.TimerRows = rows
		o.DueMax = 100
		o.CacheBytes = 100 * entryBytes
	})
	for i := range n {
		k := wf("w%d", i)
		r.submit(k, "", execution.StartWorkflow{})
		r.submit(k, "", signal("sleep %ds", 60+i%600))
		if i%500 == 0 {
			r.settle()
		}
	}
	r.settle()
	bounded := func() {
		t.Helper()
		for _, s := range r.eng.Shards() {
			for i := range s.timers.groups {
				if n := s.timers.groups[i].order.Len(); n > 2*rows+1 {
					t.Fatalf("group has %d timers in memory", n)
				}
			}
		}
	}
	bounded()
	for i := 0; r.timerRows() > 0; i++ {
		if i > 100_000 {
			t.Fatal("timers do not end")
		}
		before := r.clock.Now()
		r.clock.advance(max(r.nextWake(), 1))
		r.settle()
		bounded()
		if late := r.clock.Now().Sub(before); late > 2*time.Minute {
			t.Fatalf("slept %v over due timers", late)
		}
	}
	if took := time.Duration(r.clock.Now() - 1e18); took > 660*time.Second {
		t.Errorf("the last timer rang %v after its start", took)
	}
	if got := r.fired(n); got != n {
		t.Errorf("%d fired", got)
	}
	r.noErrors()
}

func TestTimerOfAVanishedRunIsDeleted(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	s := r.eng.Shards()[0]
	k := wf("a").Run("eeeeeeee-0000-4000-8000-000000000001")
	b := &storage.Batch{Fence: storage.Fence{Shard: s.id, Epoch: s.epoch}}
	b.Set(timerKey(k, r.clock.Now().Add(time.Second)), nil)
	if err := r.mem.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r.crash(nil)
	r.clock.advance(time.Second)
	r.settle()
	if n := r.timerRows(); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestTimerRowOfNoUseToItsRunIsDeleted(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	s := r.eng.Shards()[0]
	k := wf("w0")
	run := r.begin(k)
	r.do(k, signal("sleep 1h"))
	b := &storage.Batch{Fence: storage.Fence{Shard: s.id, Epoch: s.epoch}}
	b.Set(timerKey(k.Run(run), r.clock.Now().Add(time.Second)), nil)
	if err := r.mem.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r.crash(nil)
	r.clock.advance(time.Second)
	r.settle()
	if n := r.timerRows(); n != 1 {
		t.Errorf("%d rows, want the run's own", n)
	}
	r.clock.advance(time.Hour)
	r.settle()
	if got := r.fired(1); got != 1 {
		t.Error("the run's own timer did not ring")
	}
}

func TestTimersGoOnAfterFailedReads(t *testing.T) {
	r := newRig(t, nil)
	r.begin(wf("w0"))
	r.do(wf("w0"), signal("sleep 5s"))
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op == faulty.Scan {
			return faulty.NotApplied
		}
		return faulty.None
	}
	r.mem = r.mem.Crash()
	r.start(nil)
	r.clock.advance(10 * time.Second)
	r.settle() // pages fail, or the run cannot be loaded
	r.fault = nil
	for range 3 {
		r.clock.advance(timerRetry)
		r.settle()
	}
	if got := r.fired(1); got != 1 {
		t.Error("the timer was lost")
	}
}

func TestRingThatChangesNothingDoesNotSpin(t *testing.T) {
	core := testCore()
	rings := 0
	step := core.Step
	core.Step = func(st *execution.State, in execution.Input, env *execution.Env) *execution.Transition {
		if _, ok := in.(execution.TimerDue); ok {
			rings++
			return &execution.Transition{Next: st}
		}
		return step(st, in, env)
	}
	r := newRig(t, func(o *Options) { o.Core = core })
	r.begin(wf("a"))
	r.do(wf("a"), signal("doze 1s"))
	for range 3 {
		r.clock.advance(time.Second)
		r.settle()
	}
	if rings != 3 {
		t.Errorf("rang %d times in 3 s", rings)
	}
}

// A row that is staged while a page is read must not fall between page and horizon.
func TestTimerStagedDuringAPageRings(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1; o.TimerRows = 4 })
	for i := range 40 {
		r.begin(wf("w%d", i))
		r.do(wf("w%d", i), signal("sleep %ds", 100+i))
	}
	r.crash(func(o *Options) { o.Shards = 1; o.TimerRows = 4; o.NewRunID = counted2() })
	s := r.eng.Shards()[0]
	for range 200 {
		r.clock.advance(time.Second)
		for s.Work(100) {
		}
		for i, j := range s.Jobs() {
			then := j()
			k := wf("x%d-%d", r.clock.Now(), i)
			r.submit(k, "", execution.StartWorkflow{})
			r.submit(k, "", signal("sleep %dms", 500+i*700))
			for s.Work(100) {
			}
			s.Continue(then)
		}
		r.settle()
	}
	r.clock.advance(time.Hour)
	r.settle()
	for range 100 {
		r.clock.advance(time.Second)
		r.settle()
	}
	if n := r.timerRows(); n != 0 {
		t.Errorf("%d timers never rang", n)
	}
}

// What is given back to the store while reading is still far behind must not move reading ahead.
func TestGivingBackFarTimersSkipsNoNearOnes(t *testing.T) {
	with := func(o *Options) { o.Shards = 1; o.TimerRows = 4 }
	r := newRig(t, with)
	var near, far []ids.WorkflowKey
	for i := 0; len(far) < 10; i++ {
		k := wf("w%d", i)
		switch {
		case record.TimerGroup(k.Slot()) != 0:
		case len(near) < 20:
			near = append(near, k)
		default:
			far = append(far, k)
		}
	}
	for i, k := range near {
		r.begin(k)
		r.do(k, signal("sleep %ds", 100+i))
	}
	for _, k := range far {
		r.begin(k)
	}
	r.mem = r.mem.Crash()
	eng, err := New(r.mem, Options{Shards: 1, TimerRows: 4, Clock: r.clock, Core: testCore()})
	if err != nil {
		t.Fatal(err)
	}
	r.eng = eng
	s := eng.Shards()[0]
	r.write() // takes the epoch
	s.Work(1)
	var thens []func()
	for _, j := range s.Jobs() { // first pages: read, not handed in yet
		thens = append(thens, j())
	}
	for i, k := range far {
		r.submit(k, "", signal("sleep %ds", 1000+i))
	}
	r.settle()
	for _, then := range thens {
		s.Continue(then)
	}
	r.settle()
	for range 1100 {
		r.clock.advance(time.Second)
		r.settle()
	}
	if n := r.timerRows(); n != 0 {
		t.Errorf("%d timers never rang", n)
	}
}

func counted2() func() ids.RunID {
	n := 0
	return func() ids.RunID { n++; return ids.RunID(fmt.Sprintf("ffffffff-0000-4000-8000-%012d", n)) }
}
