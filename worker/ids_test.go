package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Hasty cancels timers in the task that starts them, between timers that stay.
type Hasty struct{}

func (h *Hasty) Run(ctx workflow.Context) (int, error) {
	n := 0
	for range 3 {
		var stay []workflow.Future[workflow.None]
		for range 8 {
			below, cancel := workflow.WithCancel(ctx)
			workflow.NewTimer(below, time.Hour)
			stay = append(stay, workflow.NewTimer(ctx, 20*time.Millisecond))
			cancel("at once")
		}
		for _, f := range stay {
			if _, err := f.Get(); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// Commands that are taken back before they are sent must not give their IDs to others: not in their task, and not, as IDs
// follow event IDs, in a later one.
func TestIDsOfCommandsTakenBackAreNotUsedAgain(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q := server(t), uuid.NewString()
		start(t, c, q, o, func(w *worker.Worker) { worker.Workflow[*Hasty](w) })
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		h := must[*client.Handle[*Hasty, int]](t)(client.Start0(ctx, c, (*Hasty).Run, client.StartOptions{TaskQueue: q}))
		if n := must[int](t)(h.Result(ctx)); n != 24 {
			t.Errorf("%d timers fired, not 24", n)
		}
		seen := map[string]bool{}
		for e, err := range h.History(ctx) {
			ok(t, err)
			if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED {
				t.Errorf("a task failed: %v", e)
			}
			if a := e.GetTimerStartedEventAttributes(); a != nil {
				if seen[a.TimerId] {
					t.Errorf("timer ID %s is used twice", a.TimerId)
				}
				seen[a.TimerId] = true
			}
		}
	})
}
