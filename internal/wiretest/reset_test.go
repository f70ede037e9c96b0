package wiretest

import (
	"fmt"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

func (r *rig) reset(id, run string, finish int64, change ...func(*workflowservice.ResetWorkflowExecutionRequest)) (*workflowservice.ResetWorkflowExecutionResponse, error) {
	req := &workflowservice.ResetWorkflowExecutionRequest{Namespace: ns, WorkflowExecution: wf(id, run), Reason: "try again",
		WorkflowTaskFinishEventId: finish, RequestId: "reset"}
	for _, c := range change {
		c(req)
	}
	return r.ResetWorkflowExecution(r.ctx, req)
}

func TestS177_S185_ResetMakesANewRun(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete(startTimer("t", time.Minute))
		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 4)).RunId
		events := r.stored("w", run)
		is(r, "event 4", events[3].EventType, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
		failed := events[3].GetWorkflowTaskFailedEventAttributes()
		is(r, "cause", failed.Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW)
		is(r, "base run", failed.BaseRunId, base)
		is(r, "new run", failed.NewRunId, run)
		is(r, "event 5", events[4].EventType, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
		is(r, "original run", started(events).OriginalExecutionRunId, base)
		is(r, "base is", r.status("w", base), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
		is(r, "reset run of the base", r.describe("w", base).WorkflowExtendedInfo.ResetRunId, run)
		if r.describe("w", run).WorkflowExtendedInfo.LastResetTime == nil {
			r.t.Error("the new run has no last reset time")
		}
		r.take().complete(completeRun(`1`))
		is(r, "new run is", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)

		// A closed run can be reset, too, and again; also at its completed task's scheduled event plus one.
		again := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", run, 7, func(q *workflowservice.ResetWorkflowExecutionRequest) { q.RequestId = "second" })).RunId
		is(r, "third run is", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		is(r, "original run", started(r.stored("w", again)).OriginalExecutionRunId, base)
		r.take().complete(completeRun(`2`))
	})
}

func TestS178_S179_ResetThatMakesNoSense(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete(startTimer("t", time.Hour))
		const outside = "Workflow task finish ID must be > 1 && <= workflow last event ID."
		for id, text := range map[int64]string{0: outside, 1: outside, 99: outside,
			2: "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: 2",
			5: "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: 5"} {
			_, err := r.reset("w", base, id)
			r.refused(err, codes.InvalidArgument, text)
		}
		_, err := r.reset("w", base, 4, func(q *workflowservice.ResetWorkflowExecutionRequest) { q.RequestId = "" })
		r.refused(err, codes.InvalidArgument, "RequestId is not set on request.")
		is(r, "base is", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)

		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 4)).RunId
		is(r, "repeated", must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 4)).RunId, run)
	})
}

func TestS180_M190_M193_ResetAppliesSignalsAgainButNotCancels(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete()
		r.ok(r.trySignal("w", "", "a", "sig-a"))
		r.ok(r.trySignal("w", "", "b", "sig-b"))
		r.cancel("w")
		k := r.take()
		r.ok(r.trySignal("w", "", "c", "sig-c")) // buffered when the run is reset
		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 4)).RunId
		r.refused(k.try(), codes.NotFound, "Workflow task not found.")
		var names, requests string
		for _, ev := range r.stored("w", run) {
			if a := ev.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
				names += a.SignalName
				requests += a.RequestId + " "
			}
			if ev.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED {
				r.t.Error("the cancel request was applied again")
			}
		}
		is(r, "signals", names, "abc")
		is(r, "request IDs", requests, "sig-a sig-b sig-c ")
		r.ok(r.trySignal("w", run, "a", "sig-a"))
		is(r, "events", len(r.stored("w", run)), 8)
	})
}

func TestM189_ResetThatLeavesMessagesOut(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete()
		r.signal("w", "a")
		for i, change := range []func(*workflowservice.ResetWorkflowExecutionRequest){
			func(q *workflowservice.ResetWorkflowExecutionRequest) {
				q.ResetReapplyExcludeTypes = []enumspb.ResetReapplyExcludeType{enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL}
			},
			func(q *workflowservice.ResetWorkflowExecutionRequest) {
				q.ResetReapplyType = enumspb.RESET_REAPPLY_TYPE_NONE
			},
		} {
			run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 4, change, func(q *workflowservice.ResetWorkflowExecutionRequest) {
				q.RequestId = fmt.Sprint("reset ", i)
			})).RunId
			for _, ev := range r.stored("w", run) {
				if ev.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
					r.t.Error("the signal was applied again")
				}
			}
		}
	})
}

func TestS183_ResetDispatchesPendingActivitiesAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete(schedule("act"))
		r.signal("w", "go")
		r.take().complete()
		// The run is cut behind its second task: the activity is pending there.
		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 9)).RunId
		a := r.takeActivity()
		is(r, "activity's run", a.WorkflowExecution.RunId, run)
		r.take()
		r.ok(a.complete(`"done"`))
	})
}

func TestResetParentHearsOfItsChild(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete(startChild("c"))
		var child *task
		for range 2 { // the parent's second task and the child's first one, in either order
			k := r.take()
			if k.WorkflowExecution.WorkflowId == "c" {
				child = k
			} else {
				k.complete()
			}
		}
		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 9)).RunId
		is(r, "child is", r.status("c", ""), enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		child.complete(completeRun(`"from the child"`))
		r.settle()
		last(r, r.stored("w", run), "ChildCompleted")
		r.take().complete(completeRun(`1`))
	})
}
