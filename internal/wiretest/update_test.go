package wiretest

import (
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/errordetails/v1"
	failurepb "go.temporal.io/api/failure/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	admitted  = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
	accepted  = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
	completed = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
)

type (
	updateRequest  = workflowservice.UpdateWorkflowExecutionRequest
	updateResponse = workflowservice.UpdateWorkflowExecutionResponse
)

func updateOf(id, update string, change ...func(*updateRequest)) *updateRequest {
	req := &updateRequest{
		Namespace: ns, WorkflowExecution: wf(id, ""), WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: completed},
		Request: &updatepb.Request{
			Meta: &updatepb.Meta{UpdateId: update, Identity: "client"}, Input: &updatepb.Input{Name: "set", Args: text("arg of " + update), Header: &commonpb.Header{}},
		},
	}
	for _, c := range change {
		c(req)
	}
	return req
}

func waitFor(stage enumspb.UpdateWorkflowExecutionLifecycleStage) func(*updateRequest) {
	return func(u *updateRequest) { u.WaitPolicy.LifecycleStage = stage }
}

// updates sends an update and returns when it waits for a worker.
func (r *rig) updates(id, update string, change ...func(*updateRequest)) *pending[*updateResponse] {
	return async(r, func() (*updateResponse, error) {
		return r.UpdateWorkflowExecution(r.ctx, updateOf(id, update, change...))
	})
}

func (r *rig) pollUpdate(id, run, update string, stage enumspb.UpdateWorkflowExecutionLifecycleStage) (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
	return r.PollWorkflowExecutionUpdate(r.ctx, &workflowservice.PollWorkflowExecutionUpdateRequest{
		Namespace: ns, UpdateRef: &updatepb.UpdateRef{WorkflowExecution: wf(id, run), UpdateId: update}, WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: stage},
	})
}

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // the messages here are small and known
	}
	return a
}

func unpacked[M proto.Message](r *rig, a *anypb.Any) M {
	r.t.Helper()
	m, err := a.UnmarshalNew()
	r.ok(err)
	got, ok := m.(M)
	if !ok {
		r.t.Fatalf("the body is %T", m)
	}
	return got
}

func (k *task) request0() (*protocolpb.Message, *updatepb.Request) {
	k.r.t.Helper()
	if len(k.Messages) != 1 {
		k.r.t.Fatalf("%d messages", len(k.Messages))
	}
	return k.Messages[0], unpacked[*updatepb.Request](k.r, k.Messages[0].Body)
}

func (k *task) accept() *protocolpb.Message {
	k.r.t.Helper()
	m, req := k.request0()
	return &protocolpb.Message{Id: req.Meta.UpdateId + "/accept", ProtocolInstanceId: req.Meta.UpdateId, Body: packed(&updatepb.Acceptance{
		AcceptedRequestMessageId: m.Id, AcceptedRequestSequencingEventId: m.GetEventId(), AcceptedRequest: req,
	})}
}

func (k *task) reject() *protocolpb.Message {
	k.r.t.Helper()
	m, req := k.request0()
	return &protocolpb.Message{Id: req.Meta.UpdateId + "/reject", ProtocolInstanceId: req.Meta.UpdateId, Body: packed(&updatepb.Rejection{
		RejectedRequestMessageId: m.Id, RejectedRequestSequencingEventId: m.GetEventId(), RejectedRequest: req, Failure: application("Rejected"),
	})}
}

func respond(update, result string) *protocolpb.Message {
	return &protocolpb.Message{Id: update + "/complete", ProtocolInstanceId: update, Body: packed(&updatepb.Response{
		Meta: &updatepb.Meta{UpdateId: update}, Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: text(result)}},
	})}
}

func (k *task) acceptAndComplete(result string) []*protocolpb.Message {
	k.r.t.Helper()
	_, req := k.request0()
	return []*protocolpb.Message{k.accept(), respond(req.Meta.UpdateId, result)}
}

// say completes a task with messages, each with its command unless it is a rejection.
func (k *task) say(messages []*protocolpb.Message, commands ...*commandpb.Command) *workflowservice.RespondWorkflowTaskCompletedResponse {
	k.r.t.Helper()
	return must[*workflowservice.RespondWorkflowTaskCompletedResponse](k.r)(k.trySaying(messages, commands...))
}

func (k *task) trySaying(messages []*protocolpb.Message, commands ...*commandpb.Command) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	var all []*commandpb.Command
	for _, m := range messages {
		if !m.Body.MessageIs(&updatepb.Rejection{}) {
			all = append(all, &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE, Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
				ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: m.Id}}})
		}
	}
	req := k.request(append(all, commands...)...)
	req.Messages = messages
	return k.r.RespondWorkflowTaskCompleted(k.r.ctx, req)
}

// idleRun is a run that has nothing to do.
func (r *rig) idleRun(id string) string {
	r.t.Helper()
	run := r.start(id)
	r.take().complete()
	return run
}

const idleHistory = "Started WFTScheduled WFTStarted WFTCompleted "

func TestM113_M122_WhatAWorkerIsSent(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		args := &commonpb.Payloads{Payloads: []*commonpb.Payload{payload("1"), {Data: []byte{0, 255}}}}
		header := &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("2")}}
		u := r.updates("w", "u", func(u *updateRequest) { u.Request.Input.Args, u.Request.Input.Header = args, header })
		k := r.take()
		is(r, "its history", list(k.History.Events), idleHistory+"WFTScheduled WFTStarted")
		is(r, "started event", k.StartedEventId, 6)
		m, req := k.request0()
		is(r, "message ID", m.Id, "u/request")
		is(r, "instance", m.ProtocolInstanceId, "u")
		is(r, "event", m.GetEventId(), 5)
		r.same(req, &updatepb.Request{Meta: &updatepb.Meta{UpdateId: "u", Identity: "client"}, Input: &updatepb.Input{Name: "set", Args: args, Header: header}})
		r.history("w", "", idleHistory)
		k.say(k.acceptAndComplete("done"))
		r.same(u.get().Outcome.GetSuccess(), text("done"))
		is(r, "stage", u.resp.Stage, completed)
		is(r, "run in the reference", u.resp.UpdateRef.WorkflowExecution.RunId, r.current("w"))
		events := r.history("w", "", idleHistory+"WFTScheduled WFTStarted WFTCompleted UpdateAccepted UpdateCompleted")
		a := events[7].GetWorkflowExecutionUpdateAcceptedEventAttributes()
		is(r, "instance", a.ProtocolInstanceId, "u")
		is(r, "request message", a.AcceptedRequestMessageId, "u/request")
		is(r, "request's event", a.AcceptedRequestSequencingEventId, 5)
		c := events[8].GetWorkflowExecutionUpdateCompletedEventAttributes()
		is(r, "accepted event", c.AcceptedEventId, 8)
		is(r, "update", c.Meta.UpdateId, "u")
		r.same(c.Outcome.GetSuccess(), text("done"))
	})
}

func TestM123_AcceptedRequestIsTheClients(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		m, _ := k.request0()
		forged := &protocolpb.Message{Id: "1", ProtocolInstanceId: "u", Body: packed(&updatepb.Acceptance{
			AcceptedRequestMessageId: m.Id, AcceptedRequestSequencingEventId: m.GetEventId(),
			AcceptedRequest: &updatepb.Request{Meta: &updatepb.Meta{UpdateId: "u"}, Input: &updatepb.Input{Name: "forged"}},
		})}
		k.say([]*protocolpb.Message{forged, respond("u", "done")})
		u.get()
		r.same(last(r, r.stored("w", ""), "UpdateAccepted").GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest, updateOf("w", "u").Request)
	})
}

func TestM125_M129_Rejection(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		for _, stage := range []enumspb.UpdateWorkflowExecutionLifecycleStage{accepted, completed} {
			u := r.updates("w", "u", waitFor(stage))
			k := r.take()
			resp := k.say([]*protocolpb.Message{k.reject()})
			is(r, "history is reset to", resp.ResetHistoryEventId, 3)
			is(r, "stage", u.get().Stage, completed)
			r.same(u.resp.Outcome.GetFailure(), application("Rejected"))
			r.history("w", "", idleHistory)
		}
		u := r.updates("w", "u")
		k := r.take()
		k.say([]*protocolpb.Message{k.reject()}, marker("m"))
		u.get()
		for _, e := range r.stored("w", "") {
			if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED {
				r.t.Error("a rejection is in history")
			}
		}
	})
}

func TestM126_AcceptedThenCompleted(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u", waitFor(accepted))
		k := r.take()
		k.say([]*protocolpb.Message{k.accept()})
		is(r, "stage", u.get().Stage, accepted)
		if u.resp.Outcome != nil {
			r.t.Errorf("outcome: %v", u.resp.Outcome)
		}
		poll := async(r, func() (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
			return r.pollUpdate("w", "", "u", completed)
		})
		poll.waits()
		r.signal("w", "s")
		r.take().say([]*protocolpb.Message{respond("u", "later")})
		is(r, "stage", poll.get().Stage, completed)
		r.same(poll.resp.Outcome.GetSuccess(), text("later"))
		r.history("w", "", idleHistory+"WFTScheduled WFTStarted WFTCompleted UpdateAccepted Signaled WFTScheduled WFTStarted WFTCompleted UpdateCompleted")
	})
}

func TestM127_CompletedThoughOnlyAcceptanceWasAwaited(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u", waitFor(accepted))
		k := r.take()
		k.say(k.acceptAndComplete("done"))
		is(r, "stage", u.get().Stage, completed)
		r.same(u.resp.Outcome.GetSuccess(), text("done"))
	})
}

func TestM134_PollWithoutWaiting(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		now := func(want enumspb.UpdateWorkflowExecutionLifecycleStage) {
			r.t.Helper()
			for _, stage := range []enumspb.UpdateWorkflowExecutionLifecycleStage{0, admitted} {
				begun := time.Now()
				p := must[*workflowservice.PollWorkflowExecutionUpdateResponse](r)(r.pollUpdate("w", "", "u", stage))
				is(r, "stage", p.Stage, want)
				is(r, "outcome is there", p.Outcome != nil, want == completed)
				is(r, "the wait", time.Since(begun), 0)
			}
		}
		u := r.updates("w", "u")
		now(admitted)
		k := r.take()
		now(admitted)
		k.say([]*protocolpb.Message{k.accept()})
		now(accepted)
		r.signal("w", "s")
		r.take().say([]*protocolpb.Message{respond("u", "done")})
		now(completed)
		u.get()
		_, err := r.pollUpdate("w", "", "unknown", admitted)
		r.refused(err, codes.NotFound, `update "unknown" not found`)
	})
}

func TestM138_M141_SameUpdateAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		k.say(k.acceptAndComplete("first"))
		u.get()
		again := func() {
			r.t.Helper()
			got := must[*updateResponse](r)(r.UpdateWorkflowExecution(r.ctx, updateOf("w", "u", func(u *updateRequest) {
				u.Request.Input.Name, u.Request.Input.Args = "other", text("other")
			})))
			is(r, "stage", got.Stage, completed)
			r.same(got.Outcome.GetSuccess(), text("first"))
			is(r, "run", got.UpdateRef.WorkflowExecution.RunId, run)
		}
		const after = idleHistory + "WFTScheduled WFTStarted WFTCompleted UpdateAccepted UpdateCompleted "
		again()
		r.idle()
		r.restart()
		again()
		r.history("w", run, after)
		r.terminate("w")
		again()
		r.restart()
		again()
		r.history("w", run, after+"Terminated")
	})
}

func TestM140_SameUpdateIDOnTheNextRun(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		k.say(k.acceptAndComplete("first"), continueAsNew())
		r.same(u.get().Outcome.GetSuccess(), text("first"))
		u = r.updates("w", "u")
		k = r.take()
		k.say(k.acceptAndComplete("second"))
		r.same(u.get().Outcome.GetSuccess(), text("second"))
		is(r, "run", u.resp.UpdateRef.WorkflowExecution.RunId, r.current("w"))
	}, forgetful)
}

func TestM144_UpdateOfAClosedRun(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		r.terminate("w")
		_, err := r.UpdateWorkflowExecution(r.ctx, updateOf("w", "u"))
		r.refused(err, codes.NotFound, "workflow execution already completed")
	})
}

func TestM153_ManyShippedEventsKeepTheTask(t *testing.T) {
	bubble(t, func(r *rig) {
		for id, c := range map[string]struct {
			markers int
			reset   int64
		}{"few": {3, 3}, "many": {11, 0}} {
			r.start(id)
			var commands []*commandpb.Command
			for range c.markers {
				commands = append(commands, marker("m"))
			}
			r.take().completeSticky(commands...)
			r.visitSticky()
			u := r.updates(id, "u")
			k := r.takeFrom(sticky())
			is(r, "shipped events", len(k.History.Events), 1+c.markers+2)
			req := k.request()
			req.Messages = []*protocolpb.Message{k.reject()}
			req.Capabilities = &workflowservice.RespondWorkflowTaskCompletedRequest_Capabilities{DiscardSpeculativeWorkflowTaskWithEvents: true}
			resp := must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
			is(r, "history is reset to", resp.ResetHistoryEventId, c.reset)
			u.get()
			events := r.stored(id, "")
			if kept := list(events[len(events)-1:]) == "WFTCompleted"; kept != (c.reset == 0) {
				r.t.Errorf("%s: the history ends with %s", id, list(events[len(events)-3:]))
			}
			r.terminate(id)
		}
	})
}

func TestM163_TaskLostInARestart(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		r.restart()
		r.refused(u.failed(), codes.Unavailable, "…")
		_, err := k.trySaying(nil, marker("m"))
		r.refused(err, codes.NotFound, "Workflow task not found.")
		r.history("w", "", idleHistory)
		u = r.updates("w", "u")
		k = r.take()
		k.say(k.acceptAndComplete("done"))
		r.same(u.get().Outcome.GetSuccess(), text("done"))
	})
}

func TestM164_StaleTaskWithTheSameIDs(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		r.updates("w", "u")
		stale := r.take()
		r.restart()
		r.pass(time.Second)
		u := r.updates("w", "v")
		fresh := r.take()
		is(r, "started event", fresh.StartedEventId, stale.StartedEventId)
		_, err := stale.trySaying(stale.acceptAndComplete("stale"))
		r.refused(err, codes.NotFound, "Workflow task not found.")
		fresh.say(fresh.acceptAndComplete("fresh"))
		r.same(u.get().Outcome.GetSuccess(), text("fresh"))
	})
}

func TestM170_BadMessageOnTheSecondAttempt(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.ok(r.take().fail(broken))
		u := r.updates("w", "u")
		k := r.take()
		is(r, "attempt", k.Attempt, 2)
		const before = "Started WFTScheduled WFTStarted WFTFailed "
		_, err := k.trySaying([]*protocolpb.Message{respond("u", "not accepted")})
		r.refused(err, codes.InvalidArgument, "BadUpdateWorkflowExecutionMessage: …")
		r.history("w", "", before)
		u.waits()
		begun := time.Now()
		r.take()
		is(r, "the wait for the timeout", time.Since(begun), 10*time.Second)
		r.history("w", "", before)
		r.terminate("w")
		r.refused(u.failed(), codes.NotFound, "workflow update was aborted by closing workflow")
	})
}

func TestM171_OversizedAcceptance(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u", func(u *updateRequest) { u.Request.Input.Args = bulk(2<<20 + 1) })
		k := r.take()
		if _, err := k.trySaying([]*protocolpb.Message{k.accept()}); err == nil {
			r.t.Error("it was taken")
		}
		events := r.history("w", "", idleHistory+"WFTScheduled WFTStarted WFTFailed Terminated")
		is(r, "cause", events[6].GetWorkflowTaskFailedEventAttributes().Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE)
		if u.failed() == nil {
			r.t.Errorf("the update was answered: %v", u.resp)
		}
	})
}

func TestM175_ReadersLeaveTheTaskSpeculative(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u")
		q := r.asks("w", "")
		must[*workflowservice.PollWorkflowExecutionUpdateResponse](r)(r.pollUpdate("w", "", "u", admitted))
		r.describe("w", "")
		k := r.take()
		q2 := r.asks("w", "")
		must[*workflowservice.PollWorkflowExecutionUpdateResponse](r)(r.pollUpdate("w", "", "u", admitted))
		r.history("w", "", idleHistory)
		req := k.request()
		req.Messages, req.QueryResults = []*protocolpb.Message{k.reject()}, k.answers("a")
		resp := must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
		is(r, "history is reset to", resp.ResetHistoryEventId, 3)
		r.same(u.get().Outcome.GetFailure(), application("Rejected"))
		r.same(q.get().QueryResult, text("a"))
		r.ok(r.take().answerQuery("b"))
		r.same(q2.get().QueryResult, text("b"))
		r.history("w", "", idleHistory)
	})
}

// updateWithStart starts a workflow, or finds it, and updates it.
func (r *rig) updateWithStart(id, requestID, update string, change ...func(*startRequest)) *pending[*workflowservice.ExecuteMultiOperationResponse] {
	start := startOf(id, append([]func(*startRequest){func(s *startRequest) {
		s.RequestId, s.WorkflowIdConflictPolicy = requestID, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	}}, change...)...)
	return async(r, func() (*workflowservice.ExecuteMultiOperationResponse, error) {
		return r.ExecuteMultiOperation(r.ctx, &workflowservice.ExecuteMultiOperationRequest{Namespace: ns, Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: start}},
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: updateOf(id, update)}},
		}})
	})
}

func parts(m *workflowservice.ExecuteMultiOperationResponse) (*workflowservice.StartWorkflowExecutionResponse, *updateResponse) {
	return m.Responses[0].GetStartWorkflow(), m.Responses[1].GetUpdateWorkflow()
}

var (
	onlyNew   = func(s *startRequest) { s.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL }
	replacing = func(s *startRequest) {
		s.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	}
)

func TestM196_AttachingToAnAcceptedUpdate(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.idleRun("w")
		first := r.updates("w", "u", waitFor(accepted))
		k := r.take()
		k.say([]*protocolpb.Message{k.accept()})
		first.get()
		a, b := r.updateWithStart("w", "r1", "u", onlyNew), r.updateWithStart("w", "r2", "u", replacing)
		r.signal("w", "s")
		r.take().say([]*protocolpb.Message{respond("u", "done")})
		for _, m := range []*pending[*workflowservice.ExecuteMultiOperationResponse]{a, b} {
			start, update := parts(m.get())
			is(r, "run", start.RunId, run)
			is(r, "started", start.Started, false)
			r.same(update.Outcome.GetSuccess(), text("done"))
		}
		is(r, "runs", len(r.listed("")), 1)
	})
}

func TestM197_CompletedUpdateIsReturned(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		k.say(k.acceptAndComplete("done"))
		u.get()
		for _, end := range []func(){func() {}, func() { r.terminate("w") }, func() { r.restart() }} {
			end()
			for i, policy := range []func(*startRequest){func(*startRequest) {}, onlyNew, replacing} {
				start, update := parts(r.updateWithStart("w", "r"+string(rune('0'+i)), "u", policy).get())
				is(r, "run", start.RunId, run)
				is(r, "started", start.Started, false)
				is(r, "stage", update.Stage, completed)
				r.same(update.Outcome.GetSuccess(), text("done"))
			}
		}
		is(r, "runs", len(r.listed("")), 1)
	})
}

func TestM199_ReusePolicies(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.idleRun("w")
		r.terminate("w")
		m := r.updateWithStart("w", "r1", "u", func(s *startRequest) { s.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE })
		err := m.failed()
		r.refused(err, codes.AlreadyExists, "Update-with-Start could not be executed.")
		statuses := detail[*errordetails.MultiOperationExecutionFailure](r, err).Statuses
		is(r, "statuses", len(statuses), 2)
		is(r, "start's code", codes.Code(statuses[0].Code), codes.AlreadyExists)
		is(r, "start's details", len(statuses[0].Details), 1)
		r.ok(statuses[0].Details[0].UnmarshalTo(&errordetails.WorkflowExecutionAlreadyStartedFailure{}))
		is(r, "update's code", codes.Code(statuses[1].Code), codes.Aborted)
		is(r, "update's text", statuses[1].Message, "Operation was aborted.")
		r.ok(statuses[1].Details[0].UnmarshalTo(&failurepb.MultiOperationExecutionAborted{}))
		m = r.updateWithStart("w", "r2", "u")
		k := r.take()
		is(r, "first task", list(k.History.Events), "Started WFTScheduled WFTStarted")
		k.say(k.acceptAndComplete("done"))
		start, update := parts(m.get())
		is(r, "started", start.Started, true)
		is(r, "another run", start.RunId != old, true)
		r.same(update.Outcome.GetSuccess(), text("done"))
		r.history("w", start.RunId, "Started WFTScheduled WFTStarted WFTCompleted UpdateAccepted UpdateCompleted")
	})
}

func TestM200_SameStartTwice(t *testing.T) {
	bubble(t, func(r *rig) {
		first, second := r.updateWithStart("w", "r", "u", onlyNew), r.updateWithStart("w", "r", "u", onlyNew)
		k := r.take()
		k.say(k.acceptAndComplete("done"))
		a, _ := parts(first.get())
		b, update := parts(second.get())
		is(r, "run", b.RunId, a.RunId)
		r.same(update.Outcome.GetSuccess(), text("done"))
		third := r.updateWithStart("w", "r", "v", onlyNew)
		k = r.take()
		k.say(k.acceptAndComplete("more"))
		c, _ := parts(third.get())
		is(r, "run", c.RunId, a.RunId)
		is(r, "runs", len(r.listed("")), 1)
	})
}
