package workflowtest_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
	"github.com/perdure/perdure/workflowtest"
)

// Parcel is given away when it is claimed, and sent back when nobody has claimed it for an hour.
type Parcel struct {
	wrong   string
	claimed string
	fate    []string
}

func (p *Parcel) Init(_ workflow.ReadContext, wrong string) { p.wrong = wrong }

func (p *Parcel) Run(ctx workflow.Context, _ string) ([]string, error) {
	inTime, err := workflow.AwaitFor(ctx, time.Hour, func() bool { return p.claimed != "" })
	if err != nil {
		return nil, err
	}
	if !inTime {
		if err := p.end(ctx, "sent back"); err != nil {
			return nil, err
		}
	}
	if p.claimed != "" && (inTime || p.wrong == "both") {
		if err := p.end(ctx, "given to "+p.claimed); err != nil {
			return nil, err
		}
	}
	return p.fate, nil
}

func (p *Parcel) end(ctx workflow.Context, how string) error {
	if _, err := workflow.Activity(ctx, NoteFate, how, workflow.ActivityOptions{StartToClose: time.Minute}).Get(); err != nil {
		return err
	}
	p.fate = append(p.fate, how)
	return nil
}

func (p *Parcel) Claim(_ workflow.Context, name string) (bool, error) {
	if p.claimed != "" || len(p.fate) > 0 {
		return false, nil
	}
	p.claimed = name
	return true, nil
}

func (p *Parcel) Claimed(workflow.ReadContext) (string, error) { return p.claimed, nil }

// NoteFate writes into the world, once for each time it is called.
func NoteFate(ctx context.Context, how string) (int, error) {
	s := workflowtest.StoryOf(ctx)
	n, _ := s.Get(how).(int)
	s.Set(how, n+1)
	return n + 1, nil
}

func parcel(wrong string, check func(s *workflowtest.Story, fate []string) error) workflowtest.Scenario {
	handle := func(s *workflowtest.Story) *client.Handle[*Parcel, []string] {
		return client.HandleOf[*Parcel, []string](s.Client, "parcel", "")
	}
	late := func(err error) error {
		var gone *client.NotFoundError
		var unready *client.NotReadyError
		if errors.As(err, &gone) || errors.As(err, &unready) {
			return nil
		}
		return err
	}
	return workflowtest.Scenario{
		Register: func(w *worker.Worker) {
			worker.Workflow[*Parcel](w)
			w.Activity(NoteFate)
		},
		Start: func(s *workflowtest.Story) error {
			_, err := client.Start(s.Ctx, s.Client, (*Parcel).Run, wrong, client.StartOptions{ID: "parcel", TaskQueue: s.Queue})
			return err
		},
		Actors: []workflowtest.Actor{
			{Name: "Ada", Steps: []workflowtest.Step{{Name: "claims", Do: func(s *workflowtest.Story) error {
				got, err := client.Update(s.Ctx, handle(s), (*Parcel).Claim, "Ada")
				s.Set("got", got)
				return late(err)
			}}}},
			{Name: "Bob", Steps: []workflowtest.Step{{Name: "asks", Do: func(s *workflowtest.Story) error {
				_, _ = client.Query(s.Ctx, handle(s), (*Parcel).Claimed) // a worker may be gone with it
				return nil
			}}}},
		},
		Check: func(s *workflowtest.Story) error {
			fate, err := handle(s).Result(s.Ctx)
			if err == nil && check != nil {
				err = check(s, fate)
			}
			return err
		},
	}
}

func oneFate(_ *workflowtest.Story, fate []string) error {
	if len(fate) != 1 {
		return fmt.Errorf("the parcel's fate is %q", fate)
	}
	return nil
}

func TestATimerMayFireBeforeAMessage(t *testing.T) {
	s := parcel("both", oneFate)
	if _, err := workflowtest.Find(t, s); err != nil {
		t.Fatalf("found without timers: %v", err)
	}
	s.Timers = 1
	script, err := workflowtest.Find(t, s)
	if err == nil {
		t.Fatal("not found")
	}
	t.Logf("%v after\n%s", err, script)
	if !strings.Contains(script, "early timer +1h") || len(workflowtest.Parse(script)) > 5 {
		t.Errorf("script\n%s", script)
	}
	if again := workflowtest.Play(t, s, workflowtest.Parse(script)); again == nil || again.Error() != err.Error() {
		t.Errorf("played again: %v, first: %v", again, err)
	}
}

func TestEveryOrderOfATimerAndAMessageIsGood(t *testing.T) {
	s := parcel("", oneFate)
	s.Timers = 1
	if got := workflowtest.Explore(t, s); !got.All {
		t.Errorf("%+v", got)
	}
}

// An activity that is done and not reported is done again: an order of parts in flight shows it.
func TestAnActivityMayBeDoneTwice(t *testing.T) {
	once := func(s *workflowtest.Story, fate []string) error {
		for _, f := range fate {
			if n := s.Get(f); n != 1 {
				return fmt.Errorf("%s %d times", f, n)
			}
		}
		return nil
	}
	s := parcel("", once)
	s.Actors, s.Crashes = nil, 1
	if script, err := workflowtest.Find(t, s); err != nil {
		t.Fatalf("found between tasks: %v after\n%s", err, script)
	}
	s.InFlight = true
	script, err := workflowtest.Find(t, s)
	if err == nil || err.Error() != "sent back 2 times" {
		t.Fatalf("got %v", err)
	}
	if lines := workflowtest.Parse(script); lines[len(lines)-1] != "crash" {
		t.Errorf("script\n%s", script)
	}
}

// An order is exact: played again it is the same to the last event and its time.
func TestAnOrderIsExact(t *testing.T) {
	s := parcel("", nil)
	s.Timers, s.Crashes, s.Evictions = 1, 1, 1
	for seed := range uint64(20) {
		s.InFlight = seed%2 == 0
		first := workflowtest.Draw(t, s, seed)
		again := workflowtest.PlayOrder(t, s, first.Chosen)
		if first.Err != nil || again.Err != nil {
			t.Fatalf("seed %d: %v, then %v, after %q", seed, first.Err, again.Err, first.Chosen)
		}
		if !reflect.DeepEqual(first, again) {
			t.Errorf("seed %d: %q\n%s\nthen %q\n%s", seed, first.Chosen, first.Trace, again.Chosen, again.Trace)
		}
	}
}

// Leaving ends with an update that it has taken on.
type Leaving struct{ left bool }

func (l *Leaving) Run(ctx workflow.Context) (bool, error) {
	err := workflow.Await(ctx, func() bool { return l.left })
	return l.left, err
}

func (l *Leaving) Leave(workflow.Context) { l.left = true }

func (l *Leaving) Slow(ctx workflow.Context) (bool, error) {
	err := workflow.Sleep(ctx, time.Minute)
	return err == nil, err
}

var _ = workflow.Define[*Leaving](workflow.AbandonUnfinished((*Leaving).Slow))

func TestAnUpdateLeftBehindIsFound(t *testing.T) {
	handle := func(s *workflowtest.Story) *client.Handle[*Leaving, bool] {
		return client.HandleOf[*Leaving, bool](s.Client, "leaving", "")
	}
	s := workflowtest.Scenario{
		Register: func(w *worker.Worker) { worker.Workflow[*Leaving](w) },
		Start: func(s *workflowtest.Story) error {
			_, err := client.Start0(s.Ctx, s.Client, (*Leaving).Run, client.StartOptions{ID: "leaving", TaskQueue: s.Queue})
			return err
		},
		Actors: []workflowtest.Actor{
			{Name: "Ada", Steps: []workflowtest.Step{{Name: "asks", Do: func(s *workflowtest.Story) error {
				_, _ = client.Update0(s.Ctx, handle(s), (*Leaving).Slow)
				return nil
			}}}},
			{Name: "Bob", Steps: []workflowtest.Step{{Name: "leaves", Do: func(s *workflowtest.Story) error {
				return client.Signal0(s.Ctx, handle(s), (*Leaving).Leave)
			}}}},
		},
	}
	script, err := workflowtest.Find(t, s)
	if err == nil || !strings.Contains(err.Error(), "no outcome") {
		t.Fatalf("got %v after\n%s", err, script)
	}
	if len(workflowtest.Parse(script)) > 5 {
		t.Errorf("script\n%s", script)
	}
	s.MayAbandon = true
	if script, err := workflowtest.Find(t, s); err != nil {
		t.Errorf("got %v after\n%s", err, script)
	}
}

// Restless never ends, and never waits for anybody.
type Restless struct{}

func (*Restless) Run(ctx workflow.Context) (bool, error) {
	for {
		if err := workflow.Sleep(ctx, time.Hour); err != nil {
			return false, err
		}
	}
}

func TestAStoryWithoutEndIsEnded(t *testing.T) {
	s := workflowtest.Scenario{
		Register: func(w *worker.Worker) { worker.Workflow[*Restless](w) },
		Start: func(s *workflowtest.Story) error {
			_, err := client.Start0(s.Ctx, s.Client, (*Restless).Run, client.StartOptions{TaskQueue: s.Queue})
			return err
		},
	}
	if err := workflowtest.Play(t, s, nil); err == nil || !strings.Contains(err.Error(), "500 parts") {
		t.Errorf("got %v", err)
	}
	s.MayRun = true
	if err := workflowtest.Play(t, s, nil); err != nil {
		t.Error(err)
	}
}

func TestScriptsSurviveAShell(t *testing.T) {
	if got := workflowtest.Parse("\n# story\n Ada: pays 5\n\n\tevict, task\n"); !reflect.DeepEqual(got, []string{"Ada: pays 5", "evict, task"}) {
		t.Errorf("%q", got)
	}
	want := `go test -run '^TestA$/^b$' -workflowtest.script=$'Ada: isn\'t\ntask'`
	if got := workflowtest.Command("TestA/b", "Ada: isn't\ntask"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := workflowtest.Command("TestA", ""); !strings.HasSuffix(got, "=$'#'") {
		t.Errorf("a script without lines is no script: %s", got)
	}
}

// An activity is replaced under its name, and messages come when the test says so.
func TestActivitiesAreReplacedAndMessagesComeInTime(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker("q", func(w *worker.Worker) {
			worker.Workflow[*Parcel](w)
			w.ActivityAs("NoteFate", func(_ context.Context, how string) (int, error) {
				if time.Now().Minute() == 0 {
					return 0, failure.NonRetryable("closed at "+time.Now().Format("15:04"), "Closed", nil)
				}
				return len(how), nil
			})
		})
		start := func() *client.Handle[*Parcel, []string] {
			h, err := client.Start(env.Ctx, env.Client, (*Parcel).Run, "", client.StartOptions{TaskQueue: "q"})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		early, late := start(), start()
		time.Sleep(59 * time.Minute)
		if got, err := client.Update(env.Ctx, early, (*Parcel).Claim, "Ada"); err != nil || !got {
			t.Errorf("claim: %t, %v", got, err)
		}
		if fate, err := early.Result(env.Ctx); err != nil || len(fate) != 1 || fate[0] != "given to Ada" {
			t.Errorf("%q, %v", fate, err)
		}
		if _, err := late.Result(env.Ctx); err == nil || !strings.Contains(err.Error(), "closed at 01:00") {
			t.Errorf("got %v", err)
		}
	})
}

// BenchmarkOrders plays whole orders: a server, a worker, three messages and two activities in each.
func BenchmarkOrders(b *testing.B) {
	s := till("")
	testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "orders", F: func(t *testing.T) {
		for b.Loop() {
			if err := workflowtest.Play(t, s, nil); err != nil {
				b.Error(err)
			}
		}
	}}})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}
