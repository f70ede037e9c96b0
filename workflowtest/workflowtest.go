// Package workflowtest runs workflows against the real server on simulated time: as soon as everybody waits, the clock jumps to
// what is due next, so that hours pass in milliseconds and nothing depends on the machine's speed.
//
//	func TestReminder(t *testing.T) {
//		workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
//			env.Worker("q", func(w *worker.Worker) { worker.Workflow[*Reminder](w); w.ActivityAs("Send", fakeSend) })
//			h, err := client.Start(env.Ctx, env.Client, (*Reminder).Run, in, client.StartOptions{TaskQueue: "q"})
//			time.Sleep(3 * time.Hour) // simulated
//			err = client.Signal(env.Ctx, h, (*Reminder).Snooze, 10)
//			...
//		})
//	}
//
// Server, workers and the test share a bubble of testing/synctest, so time.Now and time.Sleep are simulated in activities and
// in the test itself, too. Real I/O in activities holds the clock while it lasts; replace such activities with ActivityAs.
//
// Explore plays a small scenario in every order in which its messages, activities, crashes and losses of the cache can come, and tells a
// short script of one that fails.
package workflowtest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/internal/node"
	"github.com/perdure/perdure/worker"
)

// longPoll is how long polls wait here: each one that ends for nothing costs something, and a simulated year has many minutes.
const longPoll = 30 * 24 * time.Hour

// Env is a server with a client. It ends with the test.
type Env struct {
	// Ctx ends with the test, and when a workflow task has failed three times, which it would do for ever.
	Ctx    context.Context
	Client *client.Client

	t       *testing.T
	fail    context.CancelCauseFunc
	allowed atomic.Bool
}

// Run runs test in a bubble with a server, in memory, of its own.
func Run(t *testing.T, test func(t *testing.T, env *Env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(writer{t}, nil))
		n, stop, err := serve()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithCancelCause(context.Background())
		t.Cleanup(func() { cancel(nil) })
		c, err := client.Dial(ctx, client.Options{Conn: n.Conn(), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		test(t, &Env{Ctx: ctx, Client: c, t: t, fail: cancel})
	})
}

// serve starts a server in memory.
func serve() (n *node.Node, stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if n, err = node.New(ctx, node.Config{LongPoll: longPoll}); err != nil {
		cancel()
		return nil, nil, err
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() error {
		cancel()
		return <-done
	}, nil
}

// Worker starts a worker that stops with the test. register says what it runs; an activity is replaced by one that is
// registered under its name, or by a struct that embeds the real one. Stop the worker earlier to play a crash.
//
// A workflow task that fails by the code three times in a row (by a panic, nondeterminism or misuse) fails the test, as it would
// be tried for ever; see AllowFailedTasks.
func (e *Env) Worker(queue string, register func(*worker.Worker), o ...worker.Options) *worker.Worker {
	e.t.Helper()
	var options worker.Options
	if len(o) > 0 {
		options = o[0]
	}
	if options.WorkflowPollers == 0 {
		options.WorkflowPollers = 1
	}
	if options.ActivityPollers == 0 {
		options.ActivityPollers = 1
	}
	if options.PollTimeout == 0 {
		options.PollTimeout = longPoll + time.Minute
	}
	told := options.OnTaskFailed
	options.OnTaskFailed = func(workflowID, runID string, attempt int32, err error) {
		if told != nil {
			told(workflowID, runID, attempt, err)
		}
		if attempt >= 3 && !e.allowed.Load() {
			err = fmt.Errorf("workflowtest: a task of workflow %q has failed %d times: %w", workflowID, attempt, err)
			e.t.Error(err)
			e.fail(err)
		}
	}
	w := worker.New(e.Client, queue, options)
	register(w)
	if err := w.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(w.Stop)
	return w
}

// AllowFailedTasks lets workflow tasks fail as often as they like. Bound the test's waiting then.
func (e *Env) AllowFailedTasks() { e.allowed.Store(true) }

// Idle waits until everybody waits: what could be done without time passing has been done.
func (e *Env) Idle() { synctest.Wait() }

type writer struct{ *testing.T }

func (w writer) Write(p []byte) (int, error) {
	w.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
