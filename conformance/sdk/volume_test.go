package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// A server may take but a few updates of one run at a time and tell the others to come again, which the SDK does.
func TestAThousandUpdatesAtOnceAreAllServed(t *testing.T) {
	r := newRigFor(t, 2*time.Minute)
	r.work(accountFuncs)
	run := r.start("account")
	const updates = 1000
	sums := make(chan answer[int], updates)
	for i := range updates {
		go func() {
			var a answer[int]
			a.value, a.err = r.patiently(run.GetID(), fmt.Sprint(i))
			sums <- a
		}()
	}
	var all []int
	for range updates {
		a := <-sums
		r.must(a.err)
		all = append(all, a.value-1)
	}
	slices.Sort(all)
	equal(r, "sums", all, upTo(updates))
	r.signal(run.GetID(), "close", nil)
	equal(r, "sum", result[int](r, run), updates)
	equal(r, "accepted", r.count(run, accepted), updates)
}

// patiently adds one, and calls again under the same ID when the SDK gives up on a crowded run. Short calls make the SDK wait
// less between its attempts.
func (r *rig) patiently(id, updateID string) (sum int, err error) {
	for {
		ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
		var h client.WorkflowUpdateHandle
		h, err = r.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: id, UpdateID: updateID, UpdateName: "add", Args: []any{1}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = h.Get(ctx, &sum)
		}
		cancel()
		var late *client.WorkflowUpdateServiceTimeoutOrCanceledError
		if !errors.As(err, &late) || r.ctx.Err() != nil {
			return sum, err
		}
	}
}

// As many signals as one run may have, from several senders while the workflow runs, and one more.
func TestTenThousandSignalsAreAllSeenInOrder(t *testing.T) {
	r := newRigFor(t, 5*time.Minute)
	r.work(funcs{"count": func(ctx workflow.Context, senders int) ([]int, error) {
		next := make([]int, senders) // of each sender, the number to come
		over := false
		check(workflow.SetUpdateHandler(ctx, "stop", func(workflow.Context) error { over = true; return nil }))
		c := workflow.GetSignalChannel(ctx, "n")
		err := workflow.Await(ctx, func() bool {
			for s := (message{}); c.ReceiveAsync(&s); {
				if s.N != next[s.From] {
					panic(fmt.Sprintf("sender %d: got %d instead of %d", s.From, s.N, next[s.From]))
				}
				next[s.From]++
			}
			return over
		})
		return next, err
	}}, worker.Options{DeadlockDetectionTimeout: 10 * time.Second})
	const senders, each = 4, 2500
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: 30 * time.Second}, "count", senders)
	send := func(from, n int) error { return r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", message{from, n}) }
	errs := make(chan error, senders)
	for from := range senders {
		go func() {
			var err error
			for n := 0; n < each && err == nil; n++ {
				err = send(from, n)
			}
			errs <- err
		}()
	}
	for range senders {
		r.must(<-errs)
	}
	soon, cancel := context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	if err := r.client.SignalWorkflow(soon, run.GetID(), "", "n", message{0, each}); err == nil {
		r.Fatal("one signal too many was taken") // servers refuse it for good or for now
	}
	r.must(r.whenReady(func() error { _, err := update[any](r, run.GetID(), "stop"); return err }))
	equal(r, "signals of each sender", result[[]int](r, run), slices.Repeat([]int{each}, senders))
	equal(r, "signals", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED), senders*each)
}

// whenReady repeats an update for as long as the server says that the run's workflow tasks fail. They do when a slow worker
// leaves more than a hundred signals waiting behind a task.
func (r *rig) whenReady(update func() error) error {
	for {
		err := update()
		var notReady *serviceerror.WorkflowNotReady
		if !errors.As(err, &notReady) || r.ctx.Err() != nil {
			return err
		}
		select {
		case <-r.ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

type message struct{ From, N int }
