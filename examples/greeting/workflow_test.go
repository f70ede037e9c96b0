package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflowtest"
)

type handle = client.Handle[*Greeting, []string]

func given(t *testing.T, env *workflowtest.Env) *handle {
	t.Helper()
	env.Worker(queue, register)
	return start(t, env)
}

func start(t *testing.T, env *workflowtest.Env) *handle {
	t.Helper()
	h, err := client.Start0(env.Ctx, env.Client, (*Greeting).Run, client.StartOptions{ID: "g", TaskQueue: queue})
	ok(t, err)
	return h
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ends checks what a greeting gives.
func ends(t *testing.T, env *workflowtest.Env, h *handle, want ...string) {
	t.Helper()
	ok(t, client.Signal0(env.Ctx, h, (*Greeting).Exit))
	got, err := h.Result(env.Ctx)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestSignalsOfAllNamesComeInOrder(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env)
		ok(t, client.Signal(env.Ctx, h, (*Greeting).SubmitGreeting, "a"))
		ok(t, client.Signal(env.Ctx, h, (*Greeting).SubmitVIP, "b"))
		ok(t, h.SignalByName(env.Ctx, "Custom Signal Name", "c"))
		ok(t, h.SignalByName(env.Ctx, "smoke", "d"))
		ok(t, h.SignalByName(env.Ctx, "smoke")) // nobody to greet
		ends(t, env, h, "Hello, a!", "Hello, dear b!", "Hello, dear c!", "Hello, d by smoke!")
	})
}

func TestSignalsWaitForAWorker(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := start(t, env)
		ok(t, client.Signal(env.Ctx, h, (*Greeting).SubmitGreeting, "a"))
		time.Sleep(24 * time.Hour) // simulated
		env.Worker(queue, register)
		ends(t, env, h, "Hello, a!")
	})
}

func TestLanguageIsThatOfTheMoment(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env)
		ok(t, client.Signal(env.Ctx, h, (*Greeting).SubmitGreeting, "a"))
		if before, err := client.Update(env.Ctx, h, (*Greeting).SetLanguage, "Hindi"); err != nil || before != "English" {
			t.Errorf("update: %s, %v", before, err)
		}
		ok(t, client.Signal(env.Ctx, h, (*Greeting).SubmitGreeting, "b"))
		_, err := client.Update(env.Ctx, h, (*Greeting).SetLanguage, "Klingon")
		var refused *client.UpdateFailedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "nobody here speaks Klingon") {
			t.Errorf("Klingon: %v", err)
		}
		guests, err := client.Query(env.Ctx, h, (*Greeting).Guests)
		if want := []Guest{{"a", "English"}, {"b", "Hindi"}}; err != nil || !slices.Equal(guests, want) {
			t.Errorf("guests: %v, %v", guests, err)
		}
		ends(t, env, h, "Hello, a!", "Namaste, b!")
	})
}

func TestSignalWithStartStartsOnce(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		env.Worker(queue, register)
		var h *handle
		for _, name := range []string{"a", "b"} {
			op := client.WithStart0((*Greeting).Run, client.StartOptions{ID: "g", TaskQueue: queue})
			var err error
			h, err = client.SignalWithStart(env.Ctx, env.Client, op, (*Greeting).SubmitGreeting, name)
			ok(t, err)
		}
		ends(t, env, h, "Hello, a!", "Hello, b!")
	})
}

func TestFriendSignalsTheGreeting(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env)
		f, err := client.StartVoid(env.Ctx, env.Client, (*Friend).Run, h.ID(), client.StartOptions{TaskQueue: queue})
		ok(t, err)
		_, err = f.Result(env.Ctx)
		ok(t, err)
		ends(t, env, h, "Hello, the friend's friend!")

		// It is not there any more.
		f, err = client.StartVoid(env.Ctx, env.Client, (*Friend).Run, h.ID(), client.StartOptions{TaskQueue: queue})
		ok(t, err)
		_, err = f.Result(env.Ctx)
		var failed *client.WorkflowFailedError
		if !errors.As(err, &failed) {
			t.Errorf("a signal to nobody: %v", err)
		}
	})
}

func TestActivityIsRetriedUntilItWorks(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		var attempts atomic.Int64
		env.Worker(queue, func(w *worker.Worker) {
			worker.Workflow[*Greeting](w)
			w.ActivityAs("Compose", func(ctx context.Context, g Guest) (string, error) {
				if attempts.Add(1) < 8 {
					return "", errors.New("hoarse")
				}
				return Compose(ctx, g)
			})
		})
		h, begun := start(t, env), time.Now()
		ok(t, client.Signal(env.Ctx, h, (*Greeting).SubmitGreeting, "a"))
		ends(t, env, h, "Hello, a!")
		if d := time.Since(begun); d < 2*time.Minute { // 1 s, 2 s, … 64 s
			t.Errorf("8 attempts took %s", d)
		}
	})
}

func TestGreetingIsCanceled(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env)
		ok(t, h.Cancel(env.Ctx, "nobody comes"))
		if _, err := h.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
	})
}
