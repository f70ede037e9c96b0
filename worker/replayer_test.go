package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Before and After are a workflow before and after a change that old histories do not survive.
type Before struct{}

func (b *Before) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	return workflow.Activity(ctx, Compose, "x", workflow.ActivityOptions{StartToClose: time.Second}).Get()
}

type After struct{}

func (a *After) Run(ctx workflow.Context) (string, error) {
	return workflow.Activity(ctx, Compose, "x", workflow.ActivityOptions{StartToClose: time.Second}).Get()
}

var (
	_ = workflow.Define[*Before](workflow.Name("Changing"))
	_ = workflow.Define[*After](workflow.Name("Changing"))
)

func TestReplayerSaysWhereCodeAndHistoryPart(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) {
		worker.Workflow[*Before](w)
		w.Activity(Compose)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h := must[*client.Handle[*Before, string]](t)(client.Start0(ctx, c, (*Before).Run, client.StartOptions{TaskQueue: q}))
	must[string](t)(h.Result(ctx))
	history := &historypb.History{}
	for e, err := range h.History(ctx) {
		ok(t, err)
		history.Events = append(history.Events, e)
	}
	text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(history)
	ok(t, err)

	same := worker.NewReplayer()
	worker.ReplayWorkflow[*Before](same)
	ok(t, same.JSON(strings.NewReader(string(text))))

	changed := worker.NewReplayer()
	worker.ReplayWorkflow[*After](changed)
	err = changed.JSON(strings.NewReader(string(text)))
	if err == nil {
		t.Fatal("a changed workflow replays")
	}
	for _, part := range []string{"TimerStarted", "ScheduleActivityTask", "Compose", "replayer_test.go:"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not say %s", err, part)
		}
	}
}
