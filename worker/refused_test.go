package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
)

// A refused update comes on a task that the server forgets again, with events that come once more with the next.
func TestRefusedUpdateLeavesACachedRunInOrder(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q := server(t), uuid.NewString()
		start(t, c, q, o, func(w *worker.Worker) { worker.Workflow[*Greeting](w) })
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "", client.StartOptions{TaskQueue: q}))
		for _, l := range []string{"fr", "", "de", "", "", "en"} {
			if _, err := client.Update(ctx, h, (*Greeting).SetLanguage, l); (err != nil) != (l == "") {
				t.Errorf("update to %q: %v", l, err)
			}
		}
		ok(t, client.Signal0(ctx, h, (*Greeting).Exit))
		must[[]string](t)(h.Result(ctx))
		for e, err := range h.History(ctx) {
			ok(t, err)
			if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED {
				t.Errorf("a task failed: %v", e)
			}
		}
	})
}
