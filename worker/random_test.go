package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	historypb "go.temporal.io/api/history/v1"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Interpreter runs a program of steps, in Run and in handlers, so that random programs are random workflows.
type Interpreter struct {
	log  []string
	tick int
	over bool
	one  workflow.Mutex
}

// Slow takes a little while, unless it is cancelled before.
func Slow(ctx context.Context, i int) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(time.Duration(i) * time.Millisecond):
		return "slow", nil
	}
}

func (p *Interpreter) step(ctx workflow.Context, who string, op byte, i int) {
	var got any
	switch op {
	case 't':
		got = workflow.Sleep(ctx, time.Duration(i+1)*time.Millisecond) == nil
	case 'a':
		got, _ = workflow.Activity(ctx, Compose, who, workflow.ActivityOptions{StartToClose: time.Second}).Get()
	case 'l':
		got, _ = workflow.LocalActivity(ctx, Compose, who, workflow.LocalActivityOptions{StartToClose: time.Second}).Get()
	case 'c':
		got, _ = workflow.Child(ctx, (*Sub).Run, i, workflow.ChildOptions{}).Result().Get()
	case 's':
		got, _ = workflow.SideEffect(ctx, func() int { return i })
	case 'v':
		got = workflow.Version(ctx, fmt.Sprint(who, i), workflow.DefaultVersion, i)
	case 'x': // a timer that is cancelled in the task that started it, or in a later one
		below, cancel := workflow.WithCancel(ctx)
		f := workflow.NewTimer(below, time.Hour)
		if i%2 == 0 {
			_ = workflow.Sleep(ctx, time.Millisecond)
		}
		cancel("random")
		_, err := f.Get()
		got = err != nil
	case 'A', 'C', 'L', 'W': // the same with an activity, waiting for it or not, a child and a local activity
		below, cancel := workflow.WithCancel(ctx)
		var f interface{ Get() (string, error) }
		switch op {
		case 'A', 'W':
			f = workflow.Activity(below, Slow, i, workflow.ActivityOptions{StartToClose: time.Second, WaitForCancellation: op == 'W'})
		case 'C':
			f = workflow.ChildByName[string](below, "Sub", workflow.ChildOptions{WaitForCancellation: i%3 == 0}, i).Result()
		default:
			f = workflow.LocalActivity(below, Slow, i, workflow.LocalActivityOptions{StartToClose: time.Second})
		}
		if i%2 == 0 {
			_ = workflow.Sleep(ctx, time.Duration(i)*time.Millisecond)
		}
		cancel("random")
		_, err := f.Get()
		got = err != nil
	case 'm':
		workflow.UpsertMemo(ctx, map[string]any{"who": who})
	case 'M':
		err := p.one.Lock(ctx)
		if err == nil {
			_ = workflow.Sleep(ctx, time.Millisecond)
			p.one.Unlock()
		}
		got = err == nil
	case 'r':
		got = workflow.Rand(ctx).IntN(1000) >= 0
	case 'w':
		_, err := workflow.AwaitFor(ctx, time.Millisecond, func() bool { return p.tick > i })
		got = err == nil
	}
	p.log = append(p.log, fmt.Sprint(who, i, string(op), got))
}

func (p *Interpreter) play(ctx workflow.Context, who, program string) {
	for i := range len(program) {
		p.step(ctx, who, program[i], i)
	}
}

func (p *Interpreter) Run(ctx workflow.Context, programs []string) ([]string, error) {
	left := len(programs)
	for i, program := range programs {
		workflow.Go(ctx, func(ctx workflow.Context) {
			p.play(ctx, fmt.Sprint("run", i), program)
			left--
		})
	}
	err := workflow.Await(ctx, func() bool { return left == 0 && p.over })
	// Run is over, what handlers still do is not: the run waits for them, and their steps count.
	return nil, err
}

// Finish lets Run return.
func (p *Interpreter) Finish(workflow.Context) { p.over = true }

func (p *Interpreter) Signalled(ctx workflow.Context, program string) {
	p.tick++
	p.play(ctx, "signal", program)
}

func (p *Interpreter) Updated(ctx workflow.Context, program string) ([]string, error) {
	p.tick++
	before := len(p.log)
	p.play(ctx, "update", program)
	return p.log[before:], nil
}

func (p *Interpreter) Log(workflow.ReadContext) ([]string, error) { return p.log, nil }

// Whatever a workflow does, going through it again does the same: task by task without a cache while it runs, in one go
// afterwards, and for a query once it has ended.
func TestRandomWorkflowsReplay(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q := server(t), uuid.NewString()
		start(t, c, q, o, func(w *worker.Worker) {
			worker.Workflow[*Interpreter](w)
			worker.Workflow[*Sub](w)
			w.Activity(Compose)
			w.Activity(Slow)
		})
		program := rapid.StringOfN(rapid.RuneFrom([]rune("talcsvxrwACLWmM")), 0, 6, -1)
		rapid.Check(t, func(t *rapid.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			fine := func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			}
			programs := rapid.SliceOfN(program, 1, 3).Draw(t, "programs")
			h, err := client.Start(ctx, c, (*Interpreter).Run, programs, client.StartOptions{TaskQueue: q})
			fine(err)
			var updates []*client.UpdateHandle[[]string]
			canceled := rapid.Bool().Draw(t, "cancel")
			// A run that is cancelled may be over before the last message, or fail the task that brought it, by trying to be.
			sent := func(err error) {
				var gone *client.NotFoundError
				var unready *client.NotReadyError
				if !canceled || !errors.As(err, &gone) && !errors.As(err, &unready) {
					fine(err)
				}
			}
			for _, m := range rapid.SliceOfN(program, 0, 4).Draw(t, "messages") {
				if len(m)%2 == 0 {
					err = client.Signal(ctx, h, (*Interpreter).Signalled, m)
				} else {
					var u *client.UpdateHandle[[]string]
					if u, err = client.StartUpdate(ctx, h, (*Interpreter).Updated, m, client.UpdateOptions{WaitFor: client.Accepted}); err == nil {
						updates = append(updates, u)
					}
				}
				sent(err)
				if canceled && len(m)%3 == 0 {
					sent(h.Cancel(ctx, "random"))
				}
			}
			if canceled {
				sent(h.Cancel(ctx, "at the end"))
			}
			sent(client.Signal0(ctx, h, (*Interpreter).Finish))
			for _, u := range updates {
				_, err := u.Result(ctx)
				fine(err)
			}
			if _, err = h.Result(ctx); !canceled || !failure.IsCanceled(err) {
				fine(err)
			}
			log, err := client.Query(ctx, h, (*Interpreter).Log)
			fine(err)
			var history []*historypb.HistoryEvent
			for e, err := range h.History(ctx) {
				fine(err)
				history = append(history, e)
			}
			p := worker.NewReplayer()
			worker.ReplayWorkflow[*Interpreter](p)
			fine(p.Events(history))
			again, err := client.Query(ctx, h, (*Interpreter).Log)
			fine(err)
			if !slices.Equal(log, again) {
				t.Fatalf("a query of the closed run: first %q, then %q", log, again)
			}
		})
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
