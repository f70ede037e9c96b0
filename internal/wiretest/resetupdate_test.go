package wiretest

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

func TestM188_M192_ResetBeforeAnUpdate(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		k.say(k.acceptAndComplete("first"))
		u.get()
		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", old, 4)).RunId
		const before = "Started WFTScheduled WFTStarted WFTFailed UpdateAdmitted WFTScheduled"
		e := r.history("w", run, before)[4].GetWorkflowExecutionUpdateAdmittedEventAttributes()
		is(r, "origin", e.Origin, enumspb.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY)
		r.same(e.Request, updateOf("w", "u").Request)
		p := must[*workflowservice.PollWorkflowExecutionUpdateResponse](r)(r.pollUpdate("w", run, "u", 0))
		is(r, "stage", p.Stage, admitted)
		poll := async(r, func() (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
			return r.pollUpdate("w", run, "u", completed)
		})

		k = r.take()
		is(r, "messages", len(k.Messages), 0)
		poll.waits()
		k.say([]*protocolpb.Message{
			{Id: "u/accept", ProtocolInstanceId: "u", Body: packed(&updatepb.Acceptance{AcceptedRequestMessageId: "u/request", AcceptedRequestSequencingEventId: 5, AcceptedRequest: e.Request})},
			respond("u", "second"),
		})
		events := r.history("w", run, before+" WFTStarted WFTCompleted UpdateAccepted UpdateCompleted")
		a := events[8].GetWorkflowExecutionUpdateAcceptedEventAttributes()
		if a.AcceptedRequest != nil {
			r.t.Errorf("the acceptance repeats the request: %v", a.AcceptedRequest)
		}
		is(r, "instance", a.ProtocolInstanceId, "u")
		is(r, "accepted event", events[9].GetWorkflowExecutionUpdateCompletedEventAttributes().AcceptedEventId, 9)
		is(r, "stage", poll.get().Stage, completed)
		r.same(poll.resp.Outcome.GetSuccess(), text("second"))
		r.same(must[*workflowservice.PollWorkflowExecutionUpdateResponse](r)(r.pollUpdate("w", old, "u", completed)).Outcome.GetSuccess(), text("first"))
	})
}

func TestM191_ResetUnderAnUpdate(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.idleRun("w")
		first := r.updates("w", "accepted", func(u *updateRequest) { u.WorkflowExecution.RunId = old })
		k := r.take()
		k.say([]*protocolpb.Message{k.accept()})
		second := r.updates("w", "admitted", func(u *updateRequest) { u.WorkflowExecution.RunId = old })
		sent := r.take()
		third := r.updates("w", "later", func(u *updateRequest) { u.WorkflowExecution.RunId = old })
		must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", old, 4))
		f := first.get().Outcome.GetFailure()
		is(r, "failure of the accepted one", f.GetApplicationFailureInfo().GetType(), "AcceptedUpdateCompletedWorkflow")
		is(r, "its message", f.GetMessage(), "Workflow Update failed because the Workflow completed before the Update completed.")
		for _, u := range []*pending[*updateResponse]{second, third} {
			r.refused(u.failed(), codes.NotFound, "workflow update was aborted by closing workflow")
		}
		_, err := sent.trySaying(sent.acceptAndComplete("late"))
		r.refused(err, codes.NotFound, "Workflow task not found.")
	})
}

func TestS182_ResetKeepsWhatCameToTheRunsThatContinueIt(t *testing.T) {
	bubble(t, func(r *rig) {
		base := r.start("w")
		r.take().complete()
		r.ok(r.trySignal("w", "", "first run", "r1"))
		r.take().complete(continueAsNew())
		r.take().complete()
		r.ok(r.trySignal("w", "", "second run", "r2"))
		r.take().complete()
		u := r.updates("w", "u")
		k := r.take()
		k.say(k.acceptAndComplete("done"), continueAsNew())
		u.get()
		k = r.take()
		r.ok(r.trySignal("w", "", "third run, buffered", "r3"))
		r.cancel("w")
		run := must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", base, 4)).RunId
		r.history("w", run, "Started WFTScheduled WFTStarted WFTFailed Signaled Signaled UpdateAdmitted Signaled WFTScheduled")
		is(r, "signals", strings.Join(signalNames(r.stored("w", run)), ", "), "first run, second run, third run, buffered")
		r.refused(k.try(), codes.NotFound, "Workflow task not found.")
		for _, id := range []string{"r1", "r2", "r3"} {
			r.ok(r.trySignal("w", "", "again", id))
		}
		is(r, "signals", len(signalNames(r.stored("w", run))), 3)
		r.restart()
		r.take().complete()
		r.terminate("w")
	})
}
