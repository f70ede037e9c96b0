package wiretest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/grpc/codes"
)

func signalNames(events []*historyEvent) (names []string) {
	for _, e := range events {
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			names = append(names, a.SignalName)
		}
	}
	return names
}

func TestS076_BufferedSignalsKeepTheirOrder(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		var want []string
		for i := range 9 {
			want = append(want, fmt.Sprint("s", i))
			r.signal("w", want[i])
		}
		r.history("w", "", "Started WFTScheduled WFTStarted")
		k.complete(startTimer("t", time.Hour), marker("m"))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted TimerStarted MarkerRecorded "+
			"Signaled Signaled Signaled Signaled Signaled Signaled Signaled Signaled Signaled WFTScheduled")
		if got := signalNames(events); !slices.Equal(got, want) {
			r.t.Errorf("signals: %v", got)
		}
		r.terminate("w")
	})
}

func TestS077_CompletionsComeAfterSignals(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(schedule("a"), schedule("b"), startTimer("t", 2*time.Second))
		a, b := r.takeActivity(), r.takeActivity()
		r.signal("w", "wake")
		k := r.take()
		r.ok(a.complete("1"))
		r.signal("w", "one")
		r.pass(2 * time.Second) // the timer
		r.ok(b.fail(application("Broken", nonRetryable)))
		r.signal("w", "two")
		k.complete()
		events := r.history("w", "", `Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityScheduled TimerStarted Signaled WFTScheduled WFTStarted WFTCompleted
			ActivityStarted Signaled TimerFired ActivityStarted Signaled ActivityCompleted ActivityFailed WFTScheduled`)
		done := events[16].GetActivityTaskCompletedEventAttributes()
		is(r, "scheduled event of a", done.ScheduledEventId, 5)
		is(r, "started event of a", done.StartedEventId, 12)
		failed := events[17].GetActivityTaskFailedEventAttributes()
		is(r, "scheduled event of b", failed.ScheduledEventId, 6)
		is(r, "started event of b", failed.StartedEventId, 15)
		r.terminate("w")
	})
}

func TestS078_BufferedEventsLeadToATask(t *testing.T) {
	bubble(t, func(r *rig) {
		for id, end := range map[string]func(k *task){
			"completed": func(k *task) { k.complete() },
			"failed":    func(k *task) { r.ok(k.fail(broken)) },
			"timed out": func(*task) { r.pass(10 * time.Second) },
		} {
			r.start(id)
			k := r.take()
			r.signal(id, "s")
			end(k)
			r.settle()
			events := r.stored(id, "")
			if n := len(events); n != 6 || list(events[4:]) != "Signaled WFTScheduled" {
				r.t.Fatalf("%s: %s", id, list(events))
			}
			is(r, "attempt", events[5].GetWorkflowTaskScheduledEventAttributes().Attempt, 1)
			next := r.take()
			is(r, "attempt", next.Attempt, 1)
			next.complete(completeRun("done"))
		}
	})
}

func TestS080_BufferOverflow(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		for range 100 {
			r.signal("w", "s")
		}
		r.history("w", "", "Started WFTScheduled WFTStarted")
		r.signal("w", "last")
		events := r.stored("w", "")
		is(r, "events", len(events), 3+1+101+1)
		is(r, "after the task", list(events[3:5]), "WFTFailed Signaled")
		is(r, "cause", events[3].GetWorkflowTaskFailedEventAttributes().Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND)
		is(r, "last event", list(events[len(events)-1:]), "WFTScheduled")
		is(r, "last signal", events[len(events)-2].GetWorkflowExecutionSignaledEventAttributes().SignalName, "last")
		r.refused(k.try(), codes.NotFound, "Workflow task not found.")
		r.take().complete(completeRun("done"))
	}, reference)
}
