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
package workflowtest

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/internal/node"
	"github.com/perdure/perdure/worker"
)

// Env is a server with a client. It ends with the test.
type Env struct {
	// Ctx ends with the test.
	Ctx    context.Context
	Client *client.Client
	t      *testing.T
}

// Run runs test in a bubble with a server, in memory, of its own.
func Run(t *testing.T, test func(t *testing.T, env *Env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		log := slog.New(slog.NewTextHandler(writer{t}, nil))
		n, err := node.New(ctx, node.Config{})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		c, err := client.Dial(ctx, client.Options{Conn: n.Conn(), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		test(t, &Env{Ctx: ctx, Client: c, t: t})
	})
}

// Worker starts a worker that stops with the test. register says what it runs. Stop it earlier to play a crash.
func (e *Env) Worker(queue string, register func(*worker.Worker), o ...worker.Options) *worker.Worker {
	e.t.Helper()
	var options worker.Options
	if len(o) > 0 {
		options = o[0]
	}
	// Polls end after a minute of anybody's time, so each one that waits costs something per simulated minute.
	if options.WorkflowPollers == 0 {
		options.WorkflowPollers = 1
	}
	if options.ActivityPollers == 0 {
		options.ActivityPollers = 1
	}
	w := worker.New(e.Client, queue, options)
	register(w)
	if err := w.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(w.Stop)
	return w
}

// Idle waits until everybody waits: what could be done without time passing has been done.
func (e *Env) Idle() { synctest.Wait() }

type writer struct{ *testing.T }

func (w writer) Write(p []byte) (int, error) {
	w.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
