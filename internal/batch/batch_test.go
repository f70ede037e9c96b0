package batch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/mem"
)

func TestJobWorksOnItsTargetsInOrder(t *testing.T) {
	bubble(t, Options{TargetsPerRow: 7, Concurrency: 1}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(100)
		r.start("job")
		j := r.ends("job", completed, 100, 0)
		if j.Total != 100 || j.Start == 0 || j.Close < j.Start || j.StopReason != "" {
			t.Errorf("job: %+v", j.BatchJob)
		}
		if !proto.Equal(j.Request, signalRequest("job")) {
			t.Errorf("request: %v", j.Request)
		}
		for i, w := range r.world.visited() {
			if want := fmt.Sprint("w", i); w != want {
				t.Fatalf("visit %d is to %s, want %s", i, w, want)
			}
		}
		if n := len(r.world.effects); n != 100 {
			t.Errorf("%d request IDs for 100 targets", n)
		}
	})
}

func TestJobWithoutTargetsIsComplete(t *testing.T) {
	bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
		r.start("job")
		if j := r.ends("job", completed, 0, 0); j.Total != 0 {
			t.Errorf("job: %+v", j.BatchJob)
		}
	})
}

func TestRate(t *testing.T) {
	for name, c := range map[string]struct {
		asked float32
		want  time.Duration // for 101 targets
	}{
		"default": {0, 2 * time.Second}, "slower": {2, 50 * time.Second}, "faster": {500, 200 * time.Millisecond}, "too fast": {1e9, 100 * time.Millisecond},
		"nonsense": {-3, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
				r.world.many(101)
				r.start("job", func(req *workflowservice.StartBatchOperationRequest) { req.MaxOperationsPerSecond = c.asked })
				j := r.closed("job")
				if took := j.Close.Sub(j.Start); took < c.want-time.Millisecond || took > c.want+time.Millisecond {
					t.Errorf("101 targets took %s, want %s", took, c.want)
				}
			})
		})
	}
}

func TestRateSoLowThatNothingWouldHappen(t *testing.T) {
	if got := interval(&Options{Rate: 50, RateMax: 1000}, 1e-30); got != slowest {
		t.Errorf("a target every %s, want every %s", got, slowest)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	bubble(t, Options{Concurrency: 3}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(50)
		r.world.took = time.Second
		r.start("job")
		r.ends("job", completed, 50, 0)
		if r.world.most != 3 {
			t.Errorf("up to %d targets were under way, want 3", r.world.most)
		}
	})
}

func TestErrorsOfTargets(t *testing.T) {
	kind := func(k execution.ErrorKind) error { return &execution.Error{Kind: k, Message: "no"} }
	for name, c := range map[string]struct {
		errs             []error
		complete, failed int64
		visits           int
	}{
		"closed or removed":  {repeat(kind(execution.NotFound), 1), 3, 0, 1},
		"refused":            {repeat(kind(execution.InvalidArgument), 1), 2, 1, 1},
		"refused as it is":   {repeat(kind(execution.FailedPrecondition), 1), 2, 1, 1},
		"busy":               {repeat(kind(execution.ResourceExhausted), attempts-1), 3, 0, attempts},
		"unavailable":        {repeat(kind(execution.Unavailable), attempts), 2, 1, attempts},
		"lost and not there": {[]error{storage.ErrUnknown, kind(execution.NotFound)}, 3, 0, 2},
		"too slow":           {repeat(context.DeadlineExceeded, 2), 3, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
				r.world.many(3)
				r.world.errs = map[ids.WorkflowID][]error{"w1": c.errs}
				r.start("job")
				r.ends("job", completed, c.complete, c.failed)
				visits := 0
				for _, w := range r.world.visited() {
					if w == "w1" {
						visits++
					}
				}
				if visits != c.visits {
					t.Errorf("%d attempts, want %d", visits, c.visits)
				}
			})
		})
	}
}

func TestErrorsOfListing(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		times int
		state enumspb.BatchOperationState
	}{
		"refused":           {&execution.Error{Kind: execution.FailedPrecondition, Message: "the namespace is gone"}, 1, failed},
		"broken for a time": {errors.New("no snapshot"), attempts - 1, completed},
		"broken":            {errors.New("no snapshot"), attempts, failed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{TargetsPerRow: 2}, mem.Options{}, func(t *testing.T, r *rig) {
				r.world.many(100)
				times := 0
				r.world.listing = func(n int) error {
					if n == 70 && times < c.times {
						times++
						return c.err
					}
					return nil
				}
				r.start("job")
				visits := int64(0)
				if c.state == completed {
					visits = 100
				}
				r.ends("job", c.state, visits, 0)
				r.world.once(t, int(visits))
				if times != c.times {
					t.Errorf("listing failed %d times, want %d", times, c.times)
				}
			})
		})
	}
}

func TestStopFinishesWhatIsUnderWayAndBeginsNoMore(t *testing.T) {
	bubble(t, Options{Rate: 1, Concurrency: 5}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(1000)
		r.world.took = 2500 * time.Millisecond
		r.start("job")
		time.Sleep(10*time.Second + time.Millisecond)
		before := time.Now()
		if err := r.Stop(t.Context(), r.ns, "job", "enough", "me"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took > 3*time.Second {
			t.Errorf("stopping took %s", took)
		}
		j := r.ends("job", failed, 11, 0)
		if j.Total != 1000 || j.StopReason != "enough" || j.StoppedBy != "me" {
			t.Errorf("job: %+v", j.BatchJob)
		}
		time.Sleep(time.Minute)
		if n := len(r.world.visited()); n != 11 {
			t.Errorf("%d targets were visited, want 11", n)
		}
		wantKind(t, r.Stop(t.Context(), r.ns, "job", "again", "me"), execution.NotFound)
		r.crash()
		if again := r.describe("job"); again.BatchJob != j.BatchJob {
			t.Errorf("after a restart %+v, before %+v", again.BatchJob, j.BatchJob)
		}
	})
}

func TestStopCutsRetries(t *testing.T) {
	bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(1)
		r.world.errs = map[ids.WorkflowID][]error{"w0": repeat(storage.ErrUnknown, 100)}
		r.start("job")
		time.Sleep(3 * time.Second)
		before := time.Now()
		if err := r.Stop(t.Context(), r.ns, "job", "enough", "me"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("stopping took %s", took)
		}
		r.ends("job", failed, 0, 0)
	})
}

func TestStopDuringListing(t *testing.T) {
	bubble(t, Options{TargetsPerRow: 1}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(1000)
		r.world.listing = func(int) error {
			time.Sleep(time.Second)
			return nil
		}
		r.start("job")
		time.Sleep(30 * time.Second)
		if err := r.Stop(t.Context(), r.ns, "job", "enough", "me"); err != nil {
			t.Fatal(err)
		}
		r.ends("job", failed, 0, 0)
		if visits := r.world.visited(); len(visits) != 0 {
			t.Errorf("visits: %v", visits)
		}
	})
}

func TestUnknownJobs(t *testing.T) {
	bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
		wantKind(t, r.Stop(t.Context(), r.ns, "job", "enough", "me"), execution.NotFound)
		_, err := r.Describe(r.ns, "job")
		wantKind(t, err, execution.NotFound)
	})
}

func TestJobIDsAreUsedOnce(t *testing.T) {
	bubble(t, Options{Rate: 1}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(10)
		r.start("job")
		wantKind(t, r.try("job"), execution.AlreadyExists)
		r.crash()
		wantKind(t, r.try("job"), execution.AlreadyExists)
		r.ends("job", completed, 10, 0)
		wantKind(t, r.try("job"), execution.AlreadyExists)
	})
}

func TestUnfinishedJobsAreLimitedPerNamespace(t *testing.T) {
	bubble(t, Options{Jobs: 2, Rate: 1}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(10)
		r.start("a")
		r.start("b")
		wantKind(t, r.try("c"), execution.ResourceExhausted)
		n, err := r.namespaces.Register(t.Context(), namespace.Registration{Name: "other", Retention: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context(), n.ID, enumspb.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW, signalRequest("c")); err != nil {
			t.Fatal(err)
		}
		r.closed("a")
		r.closed("b")
		r.start("c")
		r.ends("c", completed, 10, 0)
	})
}

func TestListIsNewestFirstInPages(t *testing.T) {
	bubble(t, Options{Rate: 1}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(3)
		var want []ids.BatchID
		for i := range 7 {
			id := fmt.Sprint("job", i)
			r.start(id)
			want = append(want, ids.BatchID(id))
			if i == 3 {
				r.closed(id)
			}
			time.Sleep(time.Millisecond)
		}
		slices.Reverse(want)
		var got []ids.BatchID
		var after *Place
		for more := true; more; {
			var page []*Job
			var err error
			if page, more, err = r.List(r.ns, after, 3); err != nil {
				t.Fatal(err)
			}
			if more != (len(got) < 6) {
				t.Errorf("after %v: more is %t", got, more)
			}
			for _, j := range page {
				if d := r.describe(string(j.ID)); j.State != d.State || j.Start != d.Start || j.Type != d.Type || j.Close != d.Close {
					t.Errorf("listed as %+v, described as %+v", j.BatchJob, d.BatchJob)
				}
				got, after = append(got, j.ID), &Place{j.Start, j.ID}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %v, want %v", got, want)
		}
		if page, more, err := r.List("6ba7b810-9dad-11d1-80b4-00c04fd430c8", nil, 3); len(page) != 0 || more || err != nil {
			t.Errorf("another namespace has %v, %t, %v", page, more, err)
		}
	})
}

// jobRows counts what is stored of jobs.
func (r *rig) jobRows() (n int) {
	prefix := record.AllBatches()
	if err := r.store.Scan(prefix, storage.PrefixEnd(prefix), func(_, _ []byte) bool { n++; return true }); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestClosedJobsAreForgottenAfterTheRetention(t *testing.T) {
	bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
		r.start("old")
		r.closed("old")
		time.Sleep(20 * time.Hour)
		r.world.many(10)
		r.start("long", func(req *workflowservice.StartBatchOperationRequest) { req.MaxOperationsPerSecond = 1. / 7200 })
		time.Sleep(3 * time.Hour)
		r.describe("old")
		time.Sleep(time.Hour + forgetEvery)
		_, err := r.Describe(r.ns, "old")
		wantKind(t, err, execution.NotFound)
		r.ends("long", completed, 10, 0)
		time.Sleep(23 * time.Hour)
		r.describe("long")
		r.crash()
		time.Sleep(time.Hour + forgetEvery)
		_, err = r.Describe(r.ns, "long")
		wantKind(t, err, execution.NotFound)
		if n := r.jobRows(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// TestReusedJobIDIsAnotherJob: what an earlier job of that ID did is not taken for done by this one.
func TestReusedJobIDIsAnotherJob(t *testing.T) {
	bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(5)
		r.start("job")
		r.closed("job")
		time.Sleep(25 * time.Hour)
		r.start("job")
		r.ends("job", completed, 5, 0)
		if n := len(r.world.effects); n != 10 {
			t.Errorf("%d request IDs for two times 5 targets", n)
		}
	})
}

func TestJobsOfADeletedNamespaceAreForgotten(t *testing.T) {
	bubble(t, Options{}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(10)
		r.start("closed")
		r.closed("closed")
		r.start("open", func(req *workflowservice.StartBatchOperationRequest) { req.MaxOperationsPerSecond = 1. / 60 })
		if _, err := r.namespaces.Delete(t.Context(), namespace.Default, "", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * forgetEvery)
		if n := r.jobRows(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// once checks that a job had one request ID for each of n targets.
func (w *world) once(t *testing.T, n int) {
	t.Helper()
	if len(w.effects) != n {
		t.Errorf("%d request IDs for %d targets", len(w.effects), n)
	}
	seen := map[string]bool{}
	for _, v := range w.visits {
		seen[v] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d targets were visited", len(seen), n)
	}
}

// TestJobsSurviveCrashes: crash at any moment, as often as that may be, and each target is worked on under one request ID.
func TestJobsSurviveCrashes(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			o := Options{TargetsPerRow: 6, CheckpointTargets: 5, Concurrency: 4}
			bubble(t, o, mem.Options{}, func(t *testing.T, r *rig) {
				rng := rand.New(rand.NewPCG(seed, 0))
				r.world.many(200)
				r.world.took = 30 * time.Millisecond
				r.world.listing = func(int) error {
					time.Sleep(time.Millisecond)
					return nil
				}
				r.start("job")
				for range 15 {
					time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
					r.crash()
				}
				r.ends("job", completed, 200, 0)
				r.world.once(t, 200)
				again := 0
				for _, n := range r.world.effects {
					again += n - 1
				}
				if most := 15 * (o.CheckpointTargets + o.Concurrency + 1); again > most {
					t.Errorf("%d targets were worked on again, want %d at most", again, most)
				}
			})
		})
	}
}

// TestAnyWriteMayBeTheLast: whatever number of its writes a job got through before the node died, or ended in order, it
// goes on from there.
func TestAnyWriteMayBeTheLast(t *testing.T) {
	const writes = 18
	for i := range 2 * (writes + 1) {
		n, crash := i/2, i%2 == 0
		t.Run(fmt.Sprintf("after %d, crash %t", n, crash), func(t *testing.T) {
			var left atomic.Int64 // writes; below zero: some were refused
			left.Store(int64(n))
			choose := func(b *storage.Batch) mem.Outcome {
				if b.Fence.Shard != Shard || left.Add(-1) >= 0 {
					return mem.Applied
				}
				return mem.NotApplied
			}
			// A checkpoint comes at the end of every row of targets.
			bubble(t, Options{TargetsPerRow: 10, CheckpointTargets: 5}, mem.Options{Choose: choose}, func(t *testing.T, r *rig) {
				r.world.many(50)
				err := r.try("job")
				time.Sleep(time.Minute)
				if refused := left.Load() < 0; refused != (n < writes) {
					t.Fatalf("a write was refused: %t; a job does not write %d times any more", refused, writes)
				}
				left.Store(1000)
				if crash {
					r.crash()
				} else {
					r.restart()
				}
				if n == 0 {
					if err == nil {
						t.Fatal("a job was started without being stored")
					}
					r.start("job")
				}
				r.ends("job", completed, 50, 0)
				r.world.once(t, 50)
			})
		})
	}
}

// TestListCutShortIsMadeAnew: by a program that stores targets in rows of another size, and of another world.
func TestListCutShortIsMadeAnew(t *testing.T) {
	bubble(t, Options{TargetsPerRow: 2}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(200)
		r.world.listing = func(int) error {
			time.Sleep(time.Second)
			return nil
		}
		r.start("job")
		time.Sleep(100*time.Second + time.Millisecond)
		if n := r.jobRows(); n <= 3 {
			t.Fatal("no targets are stored yet")
		}
		r.crash(func() { r.world.targets, r.world.listing, r.options.TargetsPerRow = r.world.targets[50:100], nil, 3 })
		r.ends("job", completed, 50, 0)
		r.world.once(t, 50)
	})
}

// TestGoodbyeLosesNoProgress: a node that ends in order stores how far its jobs are.
func TestGoodbyeLosesNoProgress(t *testing.T) {
	bubble(t, Options{Rate: 10, CheckpointEvery: time.Hour}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(100)
		r.start("job")
		time.Sleep(2*time.Second + time.Millisecond)
		r.restart()
		r.ends("job", completed, 100, 0)
		if n := len(r.world.visited()); n != 100 {
			t.Errorf("%d visits to 100 targets", n)
		}
	})
}

func TestJobsSurviveAStoreThatFails(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var good atomic.Bool
			good.Store(true)
			outcomes := []mem.Outcome{mem.Applied, mem.NotApplied, mem.UnknownApplied, mem.UnknownNotApplied, mem.UnknownLate}
			choose := func(b *storage.Batch) mem.Outcome {
				if good.Load() || b.Fence.Shard != Shard {
					return mem.Applied
				}
				return outcomes[rng.IntN(len(outcomes))]
			}
			o := Options{TargetsPerRow: 6, CheckpointTargets: 5}
			bubble(t, o, mem.Options{Choose: choose, Lands: func(*storage.Batch) bool { return rng.IntN(2) == 0 }}, func(t *testing.T, r *rig) {
				r.world.many(100)
				r.start("job")
				good.Store(false)
				r.ends("job", completed, 100, 0)
				good.Store(true)
				r.world.once(t, 100)
			})
		})
	}
}

// TestProgressIsStoredNowAndThen: not target by target.
func TestProgressIsStoredNowAndThen(t *testing.T) {
	var all atomic.Int64
	count := func(b *storage.Batch) mem.Outcome {
		if b.Fence.Shard == Shard {
			all.Add(1)
		}
		return mem.Applied
	}
	bubble(t, Options{}, mem.Options{Choose: count}, func(t *testing.T, r *rig) {
		r.world.many(1000)
		r.start("job")
		r.ends("job", completed, 1000, 0)
		batches := all.Load()
		if most := int64(20 + 5); batches > most {
			t.Errorf("%d batches for 1000 targets in 20 seconds, want %d at most", batches, most)
		}
		if batches < 20 {
			t.Errorf("%d batches in 20 seconds: progress was not stored each second", batches)
		}
	})
}

func TestAnotherProcessTakesTheShard(t *testing.T) {
	bubble(t, Options{CheckpointTargets: 1}, mem.Options{}, func(t *testing.T, r *rig) {
		r.world.many(100)
		r.start("job")
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			if _, err := r.store.Acquire(t.Context(), Shard); err != nil {
				t.Fatal(err)
			}
		}
		r.ends("job", completed, 100, 0)
		r.world.once(t, 100)
	})
}

func TestRequestIDs(t *testing.T) {
	seen := map[string]string{}
	for _, key := range []jobKey{{"n", "a"}, {"n", "ab"}, {"m", "a"}} {
		for _, start := range []record.BatchJob{{Start: 1}, {Start: 2}} {
			for _, target := range []Target{{Workflow: "w", Run: "r"}, {Workflow: "wr"}, {Workflow: "b"}, {Workflow: "w"}} {
				id := newJob(&Runner{o: Options{Rate: 1}}, key, &workflowservice.StartBatchOperationRequest{}, start).requestID(target)
				what := fmt.Sprint(key, start.Start, target)
				if other, ok := seen[id]; ok {
					t.Errorf("%s and %s have one request ID", what, other)
				}
				seen[id] = what
			}
		}
	}
	if id := newJob(&Runner{o: Options{Rate: 1}}, jobKey{"n", "a"}, &workflowservice.StartBatchOperationRequest{}, record.BatchJob{Start: 1}).requestID(Target{Workflow: "w"}); id != "4df09afb-25c7-5635-998e-fee5eeb559ea" {
		t.Errorf("a job that resumes after an upgrade would do everything again: %s", id)
	}
}
