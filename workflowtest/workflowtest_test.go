package workflowtest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
	"github.com/perdure/perdure/workflowtest"
)

type Reminder struct{ snoozed, slow int }

func (r *Reminder) Run(ctx workflow.Context, days int) (int, error) {
	for range days {
		if err := workflow.Sleep(ctx, 24*time.Hour); err != nil {
			return r.snoozed, err
		}
	}
	return r.snoozed, nil
}

func (r *Reminder) Snooze(workflow.Context) { r.snoozed++ }

// Slow is at work when Run has long ended.
func (r *Reminder) Slow(ctx workflow.Context, d time.Duration) (int, error) {
	err := workflow.Sleep(ctx, d)
	r.slow++
	return r.slow, err
}

func begin(t *testing.T, env *workflowtest.Env, days int) *client.Handle[*Reminder, int] {
	h, err := client.Start(env.Ctx, env.Client, (*Reminder).Run, days, client.StartOptions{TaskQueue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func reminders(w *worker.Worker) { worker.Workflow[*Reminder](w) }

func TestDaysPassAtOnce(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker("q", reminders)
		begun := time.Now()
		h := begin(t, env, 14)
		time.Sleep(10 * 24 * time.Hour)
		if err := client.Signal0(env.Ctx, h, (*Reminder).Snooze); err != nil {
			t.Fatal(err)
		}
		n, err := h.Result(env.Ctx)
		if err != nil || n != 1 {
			t.Errorf("result %d, %v", n, err)
		}
		if d := time.Since(begun); d < 14*24*time.Hour || d > 15*24*time.Hour {
			t.Errorf("it took %s", d)
		}
	})
}

func TestRunDrainsItsHandlers(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker("q", reminders)
		h := begin(t, env, 1)
		n, err := client.Update(env.Ctx, h, (*Reminder).Slow, 48*time.Hour)
		if err != nil || n != 1 {
			t.Errorf("an update that outlives Run: %d, %v", n, err)
		}
		if _, err := h.Result(env.Ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestWorkerIsReplacedBetweenTasks(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		w := env.Worker("q", reminders)
		h := begin(t, env, 3)
		u, err := client.StartUpdate(env.Ctx, h, (*Reminder).Slow, 30*time.Hour, client.UpdateOptions{WaitFor: client.Accepted})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		w.Stop()
		env.Worker("q", reminders)
		if n, err := u.Result(env.Ctx); err != nil || n != 1 {
			t.Errorf("update: %d, %v", n, err)
		}
		if _, err := h.Result(env.Ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestCancelReachesARun(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker("q", reminders)
		h := begin(t, env, 3)
		env.Idle()
		if err := h.Cancel(env.Ctx, "enough"); err != nil {
			t.Fatal(err)
		}
		_, err := h.Result(env.Ctx)
		var failed *client.WorkflowFailedError
		if !errors.As(err, &failed) || !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
	})
}

func TestAYearPassesAtOnce(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker("q", reminders)
		if _, err := begin(t, env, 365).Result(env.Ctx); err != nil {
			t.Error(err)
		}
	})
}

type Broken struct{}

func (*Broken) Run(workflow.Context) error { panic("broken") }

func TestFailedTasksAreTold(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.AllowFailedTasks()
		failed := make(chan int32, 100)
		env.Worker("q", func(w *worker.Worker) { worker.Workflow[*Broken](w) }, worker.Options{OnTaskFailed: func(_, _ string, attempt int32, err error) {
			if strings.Contains(err.Error(), "broken") {
				failed <- attempt
			}
		}})
		h, err := client.StartVoid0(env.Ctx, env.Client, (*Broken).Run, client.StartOptions{TaskQueue: "q"})
		if err != nil {
			t.Fatal(err)
		}
		for want := int32(1); want <= 3; want++ {
			if got := <-failed; got != want {
				t.Errorf("attempt %d, want %d", got, want)
			}
		}
		if err := h.Terminate(env.Ctx, "enough"); err != nil {
			t.Error(err)
		}
	})
}
