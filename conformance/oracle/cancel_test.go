package oracle

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

type cancelling = workflowservice.RequestCancelWorkflowExecutionRequest

func TestM059_CancelOfAnIdleRunSchedulesATask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.fine(w.cancel(r))
		events := w.shape(r, idleShape+" CancelRequested WFTScheduled")
		is(w, "cause", w.at(events, 4).GetWorkflowExecutionCancelRequestedEventAttributes().GetCause(), "a reason")
		w.finish(w.poll(), commands(cancelWorkflow()))
		w.history(r)
	})
}

func TestM060_CancelIsRequestedOnce(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.fine(w.cancel(r))
		w.fine(w.cancel(r, func(r *cancelling) { r.Reason = "another" }))
		w.shape(r, idleShape+" CancelRequested WFTScheduled")
		w.finish(w.poll(), commands(completeWorkflow()))
		w.fine(w.cancel(r))
		w.fine(w.cancel(r.current()))
		w.shape(r, idleShape+" CancelRequested WFTScheduled WFTStarted WFTCompleted Completed")
		w.refused(w.cancel(run{id: w.id("none")}), codes.NotFound, "workflow not found for ID: ~/none")
	})
}

func TestM061_CancelOfAChain(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		first := w.start("main")
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		pin := func(id string) func(*cancelling) { return func(r *cancelling) { r.FirstExecutionRunId = id } }
		w.refused(w.cancel(second, pin(nowhere)), codes.NotFound, "workflow execution not found")
		w.shape(second, "Started WFTScheduled")
		w.fine(w.cancel(first, pin(first.runID)))
		w.shape(second, "Started WFTScheduled CancelRequested")
		w.shape(first, idleShape+" ContinuedAsNew")
	})
}

func TestM062_CancelEndsABackoff(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main", func(r *starting) { r.WorkflowStartDelay = seconds(60) })
		w.fine(w.cancel(r))
		w.shape(r, "Started CancelRequested WFTScheduled")
		w.poll()
	})
}

func TestM063_CancelDuringATaskHoldsBackTheClose(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		task := w.poll()
		w.fine(w.cancel(r))
		w.fine(w.cancel(r))
		_, err := w.complete(task, commands(completeWorkflow()))
		w.refused(err, codes.InvalidArgument, unhandled)
		events := w.shape(r, "Started WFTScheduled WFTStarted WFTFailed CancelRequested WFTScheduled")
		is(w, "cause", w.at(events, 3).GetWorkflowTaskFailedEventAttributes().GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)
		w.finish(w.poll(), commands(cancelWorkflow()))
		w.history(r)
	})
}

// Question f, for cancel and terminate.
func TestMalformedCancelsAndTerminationsAreRefused(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		r := w.start("main")
		long := strings.Repeat("x", 1001)
		for _, bad := range []run{{"", ""}, {r.id, "no UUID"}, {"", r.runID}, {w.id("none"), ""}, {w.id("none"), nowhere}, {r.id, nowhere}, {long, ""}} {
			w.cancel(bad)
			w.terminate(bad)
		}
		w.cancel(r, func(r *cancelling) { r.WorkflowExecution = nil })
		w.cancel(r, func(r *cancelling) { r.Namespace = "" })
		w.cancel(r, func(r *cancelling) { r.Namespace = "no such namespace" })
		w.cancel(r, func(r *cancelling) { r.FirstExecutionRunId = "no UUID" })
		w.cancel(w.start("long request ID"), func(r *cancelling) { r.RequestId = long })
		w.cancel(w.start("long identity"), func(r *cancelling) { r.Identity = long })
		w.cancel(w.start("long reason"), func(r *cancelling) { r.Reason = long })
		type ending = workflowservice.TerminateWorkflowExecutionRequest
		w.terminate(r, func(r *ending) { r.WorkflowExecution = nil })
		w.terminate(r, func(r *ending) { r.Namespace = "" })
		w.terminate(r, func(r *ending) { r.Namespace = "no such namespace" })
		w.terminate(r, func(r *ending) { r.FirstExecutionRunId = "no UUID" })
		w.terminate(r, func(r *ending) { r.FirstExecutionRunId = nowhere })
		w.terminate(w.start("large details"), func(r *ending) { r.Details = payloads(big) })
		w.terminate(w.start("long identity of a terminator"), func(r *ending) { r.Identity = long })
		w.history(r)
		w.terminate(r, func(r *ending) { r.Details, r.FirstExecutionRunId = payloads(`"details"`), r.WorkflowExecution.RunId })
		w.terminate(r)
		w.terminate(r.current())
		w.history(r)
	})
}
