package worker_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Noting is a contract that gives a message another name.
type Noting interface {
	Note(workflow.Context, string)
}

var _ = workflow.Define[Noting](workflow.Rename(Noting.Note, "take note"))

// Verbs uses what is used seldom. It does not wait for its handlers.
type Verbs struct{ notes []string }

func (v *Verbs) Note(ctx workflow.Context, s string) { v.notes = append(v.notes, s) }

func (v *Verbs) Hang(ctx workflow.Context) (int, error) {
	return 0, workflow.Await(ctx, func() bool { return false })
}

func (v *Verbs) Run(ctx workflow.Context, again bool) (string, error) {
	if again {
		return "again " + v.notes[0], nil
	}
	if err := workflow.Await(ctx, func() bool { return len(v.notes) > 0 }); err != nil {
		return "", err
	}
	a, b := workflow.NewUUID(ctx), workflow.NewUUID(ctx)
	if u, err := uuid.Parse(a); err != nil || u.Version() != 4 || a == b {
		return "", fmt.Errorf("UUIDs %s, %s: %v", a, b, err)
	}
	if err := workflow.NewNamedTimer(ctx, time.Millisecond, "a nap").Wait(); err != nil {
		return "", err
	}
	if s, err := workflow.LocalActivityByName[string](ctx, "Logs", workflow.LocalActivityOptions{StartToClose: time.Minute}).Get(); err != nil || s != "logged" {
		return "", fmt.Errorf("%s, %v", s, err)
	}
	below, cancel := workflow.WithCancel(ctx)
	cancel("for ", "a reason")
	at, err := workflow.Select(ctx, workflow.NewTimer(ctx, time.Hour), workflow.Done(below))
	if err != nil || at != 1 || !failure.IsCanceled(workflow.Done(below).Wait()) {
		return "", fmt.Errorf("selected %d, %v", at, err)
	}
	if _, there, err := workflow.LastResult[string](ctx); there || err != nil {
		return "", fmt.Errorf("a last result: %v", err)
	}
	if h := workflow.Header(ctx); len(h) != 0 {
		return "", fmt.Errorf("header %v", h)
	}
	drained, err := workflow.Drain(ctx) // does not wait for Hang
	if err != nil {
		return "", err
	}
	return a, workflow.ContinueAsNewByName(drained, "", workflow.ContinueAsNewOptions{}, true)
}

// Init hands nothing on; the note comes again.
func (v *Verbs) Init(_ workflow.ReadContext, again bool) {
	if again {
		v.notes = []string{"from Init"}
	}
}

var _ = workflow.Define[*Verbs](workflow.Implements[Noting](), workflow.AbandonAllUnfinished())

// Logs logs.
func Logs(ctx context.Context) (string, error) {
	activity.Logger(ctx).Info("at work")
	return "logged", nil
}

func TestVerbsThatAreUsedSeldom(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q, ctx := server(t), uuid.NewString(), t.Context()
		start(t, c, q, o, func(w *worker.Worker) {
			worker.Workflow[*Verbs](w)
			w.Activity(Logs)
		})
		op := client.WithStartByName("Verbs", client.StartOptions{TaskQueue: q, IDConflict: client.FailIfRunning}, false)
		u := must[*client.UpdateHandle[converter.Value]](t)(client.StartUpdateWithStartByName(ctx, c, op, "Hang", client.UpdateOptions{WaitFor: client.Accepted}))
		if u.ID() == "" {
			t.Error("the update has no ID")
		}
		h := must[*client.AnyHandle](t)(op.Handle(ctx))
		if err := h.SignalByName(ctx, "Note", "by the method's name"); err != nil {
			t.Fatal(err) // it waits for a handler of this name in vain
		}
		ok(t, client.Signal(ctx, client.HandleOf[Noting, client.None](c, h.ID(), ""), Noting.Note, "by the contract"))
		var s string
		ok(t, must[converter.Value](t)(h.Result(ctx)).Get(&s))
		if s != "again from Init" {
			t.Errorf("got %q", s)
		}
		if _, err := u.Result(ctx); err == nil {
			t.Error("an abandoned update has a result")
		}
	})
}

// Nightly counts how often it has run.
type Nightly struct{}

func (*Nightly) Run(ctx workflow.Context) (int, error) {
	n, _, err := workflow.LastResult[int](ctx)
	return n + 1, err
}

func TestARunSeesTheResultOfTheLast(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	start(t, c, q, worker.Options{}, worker.Workflow[*Nightly])
	h := must[*client.Handle[*Nightly, int]](t)(client.Start0(ctx, c, (*Nightly).Run, client.StartOptions{TaskQueue: q, Cron: "@every 1s"}))
	run := h.FirstRunID()
	for want := 1; want <= 2; want++ {
		for e, err := range closing(ctx, c, h.ID(), run) {
			ok(t, err)
			a := e.GetWorkflowExecutionContinuedAsNewEventAttributes() // as cron goes on
			var n int
			ok(t, converter.FromPayloads(converter.Default(), a.GetLastCompletionResult(), &n))
			if n != want {
				t.Errorf("run %d gave %d", want, n)
			}
			run = a.NewExecutionRunId
		}
	}
	ok(t, h.Terminate(ctx, "enough"))
}

// closing waits for the event that ends a run.
func closing(ctx context.Context, c *client.Client, id, run string) iter.Seq2[*historypb.HistoryEvent, error] {
	return func(yield func(*historypb.HistoryEvent, error) bool) {
		answer, err := c.Service().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: c.Namespace(), Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: run},
			WaitNewEvent: true, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
		})
		if err != nil {
			yield(nil, err)
			return
		}
		for _, e := range answer.History.Events {
			if !yield(e, nil) {
				return
			}
		}
	}
}
