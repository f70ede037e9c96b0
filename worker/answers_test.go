package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Untyped asks for a result of any type.
type Untyped struct{}

func (*Untyped) Run(ctx workflow.Context) (any, error) {
	return workflow.ActivityByName[any](ctx, "CorpusEcho", corpusSecond, "x").Get()
}

// Detailed gives back what a cancelled activity says.
type Detailed struct{}

func Cancelable(ctx context.Context) error {
	for ctx.Err() == nil {
		activity.RecordHeartbeat(ctx)
		time.Sleep(20 * time.Millisecond)
	}
	return failure.NewCanceledError("early", 1)
}

func (*Detailed) Run(ctx workflow.Context) (string, error) {
	below, cancel := workflow.WithCancel(ctx)
	f := workflow.ActivityVoid0(below, Cancelable, workflow.ActivityOptions{StartToClose: 10 * time.Second, Heartbeat: 200 * time.Millisecond, WaitForCancellation: true})
	_ = workflow.Sleep(ctx, 50*time.Millisecond)
	cancel("enough")
	_, err := f.Get()
	var canceled *failure.CanceledError
	if !errors.As(err, &canceled) {
		return "", err
	}
	var s string
	_ = canceled.Details.Get(&s)
	return s, nil
}

// Overdue says whether an attempt that outlives its StartToClose has timed out.
type Overdue struct{}

func (*Overdue) Run(ctx workflow.Context) (bool, error) {
	_, err := workflow.ActivityVoid0(ctx, CorpusStuck, workflow.ActivityOptions{StartToClose: 50 * time.Millisecond, Retry: &workflow.RetryPolicy{MaximumAttempts: 1}}).Get()
	workflow.Logger(ctx).Info("late", "error", err)
	return failure.IsTimeout(err), nil
}

func TestActivitiesAnswerWithWhatTheySay(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) {
		worker.Workflow[*Untyped](w)
		worker.Workflow[*Detailed](w)
		worker.Workflow[*Overdue](w)
		w.Activity(CorpusEcho)
		w.Activity(CorpusStuck)
		w.Activity(Cancelable)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, r := range []struct {
		name string
		want any
	}{{"Untyped", "echo x"}, {"Detailed", "early"}, {"Overdue", true}} {
		h, err := c.StartByName(ctx, r.name, client.StartOptions{TaskQueue: q})
		ok(t, err)
		v, err := h.Result(ctx)
		ok(t, err)
		var got any
		ok(t, v.Get(&got))
		if got != r.want {
			t.Errorf("%s: got %v, want %v", r.name, got, r.want)
		}
	}
}

type WithoutItsUpdate struct{}

func (*WithoutItsUpdate) Run(ctx workflow.Context, _ CorpusInput) ([]string, error) {
	return nil, workflow.Await(ctx, func() bool { return false })
}

type WithAnotherSideEffect struct{}

func (*WithAnotherSideEffect) Run(ctx workflow.Context) (string, error) {
	_, err := workflow.SideEffect(ctx, func() int { return 1 })
	return "", err
}

var (
	_ = workflow.Define[*WithoutItsUpdate](workflow.Name("CorpusMessages"))
	_ = workflow.Define[*WithAnotherSideEffect](workflow.Name("CorpusVersions"))
)

func TestWhatPartsFromHistoryIsNamedSo(t *testing.T) {
	for name, w := range map[string]corpusType{"messages-dropped-tasks": corpusOf[*WithoutItsUpdate](), "versions-before": corpusOf[*WithAnotherSideEffect](), "versions-before ": corpusOf[*CorpusVersionsMoved]()} {
		p := worker.NewReplayer()
		w.replay(p)
		err := p.Events(corpusHistories(t)[strings.TrimSpace(name)].GetEvents())
		var parted *worker.NondeterminismError
		if !errors.As(err, &parted) {
			t.Errorf("%s: %T %v", name, err, err)
		}
	}
}
