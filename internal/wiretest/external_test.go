package wiretest

import (
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

func (r *rig) tryCancel(id, run, first string) error {
	_, err := r.RequestCancelWorkflowExecution(r.ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{
		Namespace: ns, WorkflowExecution: wf(id, run), FirstExecutionRunId: first, Reason: "enough", Identity: "client",
	})
	return err
}

func (r *rig) tryTerminate(id, run, first string) error {
	_, err := r.TerminateWorkflowExecution(r.ctx, &workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: ns, WorkflowExecution: wf(id, run), FirstExecutionRunId: first,
	})
	return err
}

func TestS106_CancelRequests(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		r.take().complete()
		r.cancel("w")
		r.cancel("w")
		r.history("w", run, "Started WFTScheduled WFTStarted WFTCompleted CancelRequested WFTScheduled")
		if !r.describe("w", "").WorkflowExtendedInfo.CancelRequested {
			r.t.Error("Describe does not tell of the request")
		}
		r.take().complete(cancelRun())
		r.cancel("w")
		r.ok(r.tryCancel("w", run, ""))
		r.history("w", run, "Started WFTScheduled WFTStarted WFTCompleted CancelRequested WFTScheduled WFTStarted WFTCompleted Canceled")
		r.refused(r.tryCancel("nobody", "", ""), codes.NotFound, "workflow not found for ID: nobody")
	})
}

func TestS107_TerminateOfAClosedRun(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		r.take().complete(completeRun("done"))
		for _, id := range []string{"", run} {
			r.refused(r.tryTerminate("w", id, ""), codes.NotFound, "workflow execution already completed")
		}
		r.refused(r.tryTerminate("nobody", "", ""), codes.NotFound, "workflow not found for ID: nobody")
		r.history("w", run, "Started WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

func TestS108_FirstRunOfTheChain(t *testing.T) {
	bubble(t, func(r *rig) {
		const other = "00000000-0000-4000-8000-000000000000"
		first := r.start("w")
		for _, err := range []error{r.tryCancel("w", "", other), r.tryTerminate("w", "", other), r.tryCancel("w", first, other)} {
			r.refused(err, codes.NotFound, "workflow execution not found")
		}
		r.history("w", first, "Started WFTScheduled")
		r.take().complete(continueAsNew())
		r.ok(r.tryCancel("w", first, first))
		r.pass(2e9)
		events := r.stored("w", "")
		is(r, "chain", started(events).FirstExecutionRunId, first)
		last(r, events, "CancelRequested")
		r.ok(r.tryTerminate("w", "", first))
		is(r, "status", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
		r.start("v")
		r.take().complete(continueAsNew())
		chain := started(r.stored("v", "")).FirstExecutionRunId
		r.ok(r.tryTerminate("v", chain, chain))
		is(r, "status", r.status("v", ""), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
	})
}

func TestS109_WhatRequestsSayIsRecorded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.cancel("w")
		e := last(r, r.stored("w", ""), "CancelRequested").GetWorkflowExecutionCancelRequestedEventAttributes()
		is(r, "cause", e.Cause, "enough")
		is(r, "identity", e.Identity, "client")
		must[*workflowservice.TerminateWorkflowExecutionResponse](r)(r.TerminateWorkflowExecution(r.ctx, &workflowservice.TerminateWorkflowExecutionRequest{
			Namespace: ns, WorkflowExecution: wf("w", ""), Reason: "enough", Identity: "client", Details: text("why"),
		}))
		end := last(r, r.stored("w", ""), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
		is(r, "reason", end.Reason, "enough")
		is(r, "identity", end.Identity, "client")
		r.same(end.Details, text("why"))
		r.start("v")
		r.ok(r.tryTerminate("v", "", ""))
		end = last(r, r.stored("v", ""), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
		is(r, "default reason", end.Reason, "terminated by user via frontend")
		is(r, "default identity", end.Identity, "frontend-service")
	})
}

func TestS117_ExternalCancel(t *testing.T) {
	bubble(t, func(r *rig) {
		target := r.start("target")
		r.take().complete()
		r.start("closed")
		r.take().complete(completeRun("done"))
		run := r.start("w")
		r.take().complete(cancelExternal("target"), cancelExternal("nobody"), cancelExternal("closed"))
		r.settle()
		events := r.stored("w", run)
		outcomes := map[string]bool{}
		for _, e := range events {
			if a := e.GetExternalWorkflowExecutionCancelRequestedEventAttributes(); a != nil {
				outcomes[a.WorkflowExecution.WorkflowId+" cancelled"] = true
				is(r, "initiated by", events[a.InitiatedEventId-1].GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes().WorkflowExecution.WorkflowId, a.WorkflowExecution.WorkflowId)
			}
			if a := e.GetRequestCancelExternalWorkflowExecutionFailedEventAttributes(); a != nil {
				outcomes[a.WorkflowExecution.WorkflowId+" "+a.Cause.String()] = true
			}
		}
		for _, want := range []string{"target cancelled", "closed cancelled", "nobody ExternalWorkflowExecutionNotFound"} {
			if !outcomes[want] {
				r.t.Errorf("%q is not among %v", want, outcomes)
			}
		}
		e := last(r, r.history("target", target, "Started WFTScheduled WFTStarted WFTCompleted CancelRequested WFTScheduled"), "CancelRequested").GetWorkflowExecutionCancelRequestedEventAttributes()
		r.same(e.ExternalWorkflowExecution, wf("w", run))
		is(r, "external initiated event", e.ExternalInitiatedEventId, 5)
		is(r, "cause", e.Cause, "not needed")
		r.history("closed", "", "Started WFTScheduled WFTStarted WFTCompleted Completed")
		if p := r.describe("w", "").PendingWorkflowTask; p == nil {
			r.t.Error("the outcomes made no task")
		}
	})
}

func TestS118_SignalToSelf(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(signalExternal("w", "s"))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted SignalExternalInitiated SignalExternalFailed WFTScheduled")
		is(r, "cause", events[5].GetSignalExternalWorkflowExecutionFailedEventAttributes().Cause, enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND)
		is(r, "initiated", events[5].GetSignalExternalWorkflowExecutionFailedEventAttributes().InitiatedEventId, 5)
		r.take().complete(cancelExternal("w"))
		events = r.stored("w", "")
		is(r, "cause", last(r, events, "RequestCancelExternalFailed").GetRequestCancelExternalWorkflowExecutionFailedEventAttributes().Cause, enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND)
	})
}

func TestS119_StartAndCancelOfAChildAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		childOnly := func(a *commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes) { a.ChildWorkflowOnly = true }
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES, startChild("c"), cancelExternal("c", childOnly))
		is(r, "children", len(r.listed("WorkflowId = 'c'")), 0)
	})
}
