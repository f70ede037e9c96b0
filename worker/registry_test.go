package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// made gives functions that the runtime has one name for.
func made(answer string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return answer, nil }
}

// Generic is an activity for any type.
func Generic[T any](_ context.Context, x T) (T, error) { return x, nil }

// func1 has the name of a function without one.
func func1(context.Context) (string, error) { return "func1", nil }

type Tools struct{ prefix string }

func (t *Tools) Say(_ context.Context, s string) (string, error) { return t.prefix + s, nil }

type Left struct{}

func (*Left) Tell(workflow.Context)                {}
func (*Left) ValidateX(workflow.ReadContext) error { return nil }

type Right struct{}

func (*Right) Tell(workflow.Context)                {}
func (*Right) ValidateX(workflow.ReadContext) error { return nil }

// Torn embeds two that have a message of one name.
type Torn struct {
	basic
	Left
	Right
}

func (*Torn) X(workflow.Context) error { return nil }

// Covered has a field of a message's name.
type Covered struct {
	basic
	Left
	Tell      bool
	ValidateX bool
}

func TestActivitiesThatHaveNoNameOfTheirOwnAreRefused(t *testing.T) {
	outer := func() func(context.Context) error { return func(context.Context) error { return nil } }
	for name, c := range map[string]struct {
		register func(*worker.Worker)
		want     string
	}{
		"nested closure": {func(w *worker.Worker) { w.Activity(outer()) }, " is anonymous; register it with a name"},
		"nil function":   {func(w *worker.Worker) { w.Activity((func(context.Context) error)(nil)) }, "is nil"},
		"nil struct":     {func(w *worker.Worker) { w.Activity((*Tools)(nil)) }, "is a nil pointer"},
		"named struct":   {func(w *worker.Worker) { w.ActivityAs("say", &Tools{}) }, "named after its methods"},
		"channel":        {func(w *worker.Worker) { w.ActivityAs("c", func(context.Context, chan int) error { return nil }) }, "a chan cannot be an argument"},
		"function":       {func(w *worker.Worker) { w.ActivityAs("f", func(context.Context) (func(), error) { return nil, nil }) }, "a func cannot be its result"},
		"twice generic":  {func(w *worker.Worker) { w.Activity(Generic[int]); w.Activity(Generic[string]) }, "activity Generic: there are two of this name"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := unserved(t)
			w := worker.New(conn, "q", worker.Options{})
			c.register(w)
			if err := w.Start(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestHandlersOfEmbeddedTypesAreNotLostInSilence(t *testing.T) {
	check := func(register func(*worker.Worker), want ...string) {
		t.Helper()
		conn, _ := unserved(t)
		w := worker.New(conn, "q", worker.Options{})
		register(w)
		err := w.Start()
		for _, s := range want {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("got %v, want %s", err, s)
			}
		}
	}
	check(worker.Workflow[*Torn], "has 2 faults", "method Tell: those of the embedded worker_test.Left and worker_test.Right hide each other", "method ValidateX: those")
	check(worker.Workflow[*Covered], "has 2 faults", "method Tell: that of the embedded worker_test.Left is hidden by a field", "method ValidateX: that")
}

func TestATaskQueueHasANameThatIsNotReserved(t *testing.T) {
	for queue, want := range map[string]string{"": "has no name", "__temporal_q": "reserved"} {
		conn, _ := unserved(t)
		w := worker.New(conn, queue, worker.Options{})
		worker.Workflow[*CallsByFunction](w)
		if err := w.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// CallsByFunction calls activities by functions whose names are not simple.
type CallsByFunction struct{}

func (*CallsByFunction) Run(ctx workflow.Context) ([]string, error) {
	o := workflow.ActivityOptions{StartToClose: 1e9}
	var out []string
	for _, f := range []workflow.Future[string]{
		workflow.Activity0(ctx, func1, o), workflow.Activity(ctx, Generic[string], "generic", o), workflow.Activity(ctx, (*Tools)(nil).Say, "tool", o),
		workflow.ActivityByName[string](ctx, "a", o), workflow.ActivityByName[string](ctx, "b", o),
	} {
		s, err := f.Get()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	for _, ambiguous := range []func(context.Context) (string, error){made("a"), func(context.Context) (string, error) { return "", nil }} {
		func() {
			defer func() { out = append(out, fmt.Sprint(recover())) }()
			workflow.Activity0(ctx, ambiguous, o)
		}()
	}
	return out, nil
}

func TestActivitiesAreCalledByTheirFunctions(t *testing.T) {
	c, q := server(t), uuid.NewString()
	w := worker.New(c, q, worker.Options{})
	worker.Workflow[*CallsByFunction](w)
	w.Activity(func1)
	w.Activity(Generic[string])
	w.Activity(&Tools{"the "})
	w.ActivityAs("a", made("a"))
	w.ActivityAs("b", made("b"))
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	h, err := client.Start0(t.Context(), c, (*CallsByFunction).Run, client.StartOptions{TaskQueue: q})
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Result(t.Context())
	if err != nil || len(got) != 7 || strings.Join(got[:5], ", ") != "func1, generic, the tool, a, b" {
		t.Fatalf("%q, %v", got, err)
	}
	// Whether the first is one of the two that are registered, or the compiler made another of it, is not ours to say.
	if !strings.Contains(got[5], "call it by") || !strings.Contains(got[6], "anonymous") {
		t.Errorf("%q", got[5:])
	}
}
