package oracle

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
)

func link(workflowID string) *commonpb.Link {
	return &commonpb.Link{Variant: &commonpb.Link_WorkflowEvent_{WorkflowEvent: &commonpb.Link_WorkflowEvent{
		Namespace: namespace, WorkflowId: workflowID, RunId: nowhere,
		Reference: &commonpb.Link_WorkflowEvent_EventRef{EventRef: &commonpb.Link_WorkflowEvent_EventReference{EventId: 7, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED}},
	}}}
}

// Question g: what becomes of links in requests, and which links answers have.
func TestLinks(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		l := []*commonpb.Link{link("elsewhere")}
		resp, err := w.tryStart("linked", w.starts("linked", func(r *starting) { r.Links = l }))
		w.fine(err)
		r := run{w.id("linked"), resp.GetRunId()}
		w.signal(r, "go", func(r *signalling) { r.Links = l })
		w.cancel(r, func(r *cancelling) { r.Links = l })
		u := w.admitted(r, "u", func(r *updating) { r.Request.RequestId, r.Request.Links = "update's", l })
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		again := w.update(r, "u", waitFor(stageAccepted), func(r *updating) { r.Request.RequestId = "another" })
		w.note("link of the second: %s", w.text(again.updated().GetLink()))
		w.terminate(r, func(r *workflowservice.TerminateWorkflowExecutionRequest) { r.Links = l })
		w.note("link of the first: %s", w.text(u.updated().GetLink()))
		w.history(r)

		r, _ = w.signalWithStart("both", w.signalsWithStart("both", "go", func(r *signalStart) { r.Links = l }))
		w.signalWithStart("both", w.signalsWithStart("both", "more", func(r *signalStart) { r.Links = l }))
		task = w.takeUntil(r)
		w.signalWithStart("both", w.signalsWithStart("both", "buffered", func(r *signalStart) { r.Links = l }))
		w.finish(task)
		w.history(r)
		w.signalWithStart("empty request", w.signalsWithStart("empty request", "go", signalRequest("")))
		w.signalWithStart("empty request", w.signalsWithStart("empty request", "go", signalRequest("")))

		limited := w.start("limits")
		many := make([]*commonpb.Link, 11)
		for i := range many {
			many[i] = l[0]
		}
		w.signal(limited, "too many links", func(r *signalling) { r.Links = many })
		w.signal(limited, "too large a link", func(r *signalling) { r.Links = []*commonpb.Link{link(strings.Repeat("x", 4001))} })
		w.signal(w.start("empty link"), "an empty link", func(r *signalling) { r.Links = []*commonpb.Link{{}} })
		w.signal(w.start("link without namespace"), "a link without namespace", func(r *signalling) {
			bad := link("elsewhere")
			bad.GetWorkflowEvent().Namespace = ""
			r.Links = []*commonpb.Link{bad}
		})
		w.shapeOnly(limited)
	})
}

// Question g: what a workflow's successor knows of its predecessors.
func TestFirstRunOfAChain(t *testing.T) {
	both(t, func(w *world) {
		first := w.start("main")
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		w.signalWithStart("second", w.signalsWithStart("main", "go"))
		w.tryStart("second", w.starts("main", func(r *starting) { r.WorkflowIdConflictPolicy = useExisting }))
		w.tryStart("refused", w.starts("main"))
		w.history(second)
		w.terminate(first.current(), func(r *workflowservice.TerminateWorkflowExecutionRequest) { r.FirstExecutionRunId = first.runID })
		w.signalWithStart("rejected", w.signalsWithStart("main", "go", reuse(rejectDuplicate)))
	})
}

// Question f, for signals: what M012 has not.
func TestOtherMalformedSignals(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.signal(r, "go", func(r *signalling) { r.WorkflowExecution = nil })
		w.signal(r, "go", func(r *signalling) { r.Namespace = "" })
		w.signal(r, "go", func(r *signalling) { r.Namespace = "no such namespace" })
		w.signal(run{strings.Repeat("x", 1001), ""}, "go")
		w.signal(w.start("long identity"), "go", func(r *signalling) { r.Identity = strings.Repeat("x", 1001) })
		w.signal(r, "go", func(r *signalling) { r.Input = nil })
		w.signal(r, "\xc3\xa4\x00 odd name")
		w.signal(r, "__temporal_signal")
		w.history(r)
	})
}

// A poll whose deadline is near.
func TestShortPoll(t *testing.T) {
	both(t, func(w *world) {
		ctx, cancel := contextFor(w, 0.3)
		defer cancel()
		resp, err := w.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: namespace, TaskQueue: queueNamed(w.queue), Identity: "worker"})
		w.answered("short poll", resp, err)
	})
}
