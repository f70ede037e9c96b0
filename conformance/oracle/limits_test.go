package oracle

import (
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

// M184 with another number: the limit is three here. The reference forgets for a moment what it was about when it refuses an
// update, and has the others sent again inside, in any order. The task therefore is a normal one, and what it holds is not noted.
func TestUpdatesInFlightAreLimited(t *testing.T) {
	bothTight(t, func(w *world) {
		const text = "limit on number of concurrent in-flight updates has been reached (3)"
		r := w.idle("main")
		w.signal(r, "go")
		ids := []string{"one", "two", "three"}
		var calls []*pending
		for _, id := range ids {
			calls = append(calls, w.admitted(r, id))
		}
		w.refused(w.tryUpdate("one too many", w.updates(r, "more")), codes.ResourceExhausted, text)
		for _, id := range ids {
			w.known(r, id)
		}
		task := w.tryPoll(queueNamed(w.queue), patience)
		is(w, "messages", len(task.GetMessages()), 3)
		w.finish(task, takeUpdates(task))
		for _, c := range calls {
			c.wait()
			resp, _ := c.resp.(*workflowservice.UpdateWorkflowExecutionResponse)
			is(w, "stage", resp.GetStage(), stageCompleted)
		}
		more := w.update(r, "more")
		task = w.tryPoll(queueNamed(w.queue), patience)
		w.finish(task, takeUpdates(task))
		more.stage(stageCompleted)
	})
}

func TestAcceptedUpdatesAreInFlight(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.idle("main")
		var calls []*pending
		for _, id := range []string{"one", "two", "three"} {
			calls = append(calls, w.admitted(r, id))
		}
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		w.tryUpdate("beside accepted ones", w.updates(r, "beside", waitFor(stageAccepted)))
		w.terminate(r)
		for _, c := range calls {
			c.wait()
		}
	})
}

// What M185 says of the reference is not so here: the update is refused for now, not for good.
func TestM186_SuggestionAndLimitOfUpdates(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.idle("main")
		for i := range 10 {
			// A rejected one is not counted.
			u := w.update(r, "rejected")
			task := w.poll()
			w.finish(task, rejectUpdates(task))
			u.get()
			u = w.update(r, fmt.Sprint(i))
			task = w.poll()
			events := task.GetHistory().GetEvents()
			w.note("suggestion before update %d: %v", i, events[len(events)-1].GetWorkflowTaskStartedEventAttributes().GetSuggestContinueAsNew())
			w.finish(task, takeUpdates(task))
			u.stage(stageCompleted)
		}
		w.tryUpdate("one too many", w.updates(r, "more"))
		w.fine(w.tryUpdate("known", w.updates(r, "4")))
		w.signal(r, "go")
		task := w.poll()
		events := task.GetHistory().GetEvents()
		is(w, "suggestion", events[len(events)-1].GetWorkflowTaskStartedEventAttributes().GetSuggestContinueAsNew(), true)
		w.history(r)
	})
}

func TestM187_PayloadOfUpdatesInFlightIsLimited(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.idle("main")
		sized := func(n int) func(*updating) {
			return func(r *updating) { r.Request.Input.Args = payloads(`"` + strings.Repeat("k", n) + `"`) }
		}
		most := w.admitted(r, "most", sized(15000))
		w.refused(w.tryUpdate("too much", w.updates(r, "more", sized(6000))), codes.ResourceExhausted, "limit on total payload size of in-flight updates has been reached (20000 bytes)")
		w.terminate(r)
		most.wait()
	})
}
