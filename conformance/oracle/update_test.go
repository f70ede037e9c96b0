package oracle

import (
	"fmt"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const (
	updateAccepted  = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
	updateCompleted = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
	updateAborted   = "workflow update was aborted by closing workflow"

	secondTask = " WFTScheduled WFTStarted WFTCompleted"
	done       = " UpdateAccepted UpdateCompleted"
)

// updated has what a finished update was answered.
func (p *pending) updated() *workflowservice.UpdateWorkflowExecutionResponse {
	p.get()
	resp, _ := p.resp.(*workflowservice.UpdateWorkflowExecutionResponse)
	return resp
}

// stage waits for an update's answer and says what stage it has to tell.
func (p *pending) stage(want enumspb.UpdateWorkflowExecutionLifecycleStage) {
	is(p.w, "stage", p.updated().GetStage(), want)
}

func TestM109_UpdateInTheFirstTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		u := w.admitted(r, "u")
		task := w.poll()
		is(w, "message's place", w.first(task).GetEventId(), 2)
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		events := w.shape(r, idleShape+done)
		is(w, "sequencing event", w.at(events, 4).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequestSequencingEventId(), 2)
		is(w, "accepted event", w.at(events, 5).GetWorkflowExecutionUpdateCompletedEventAttributes().GetAcceptedEventId(), 5)
	})
}

func TestM110_RejectionInTheFirstTaskKeepsTheTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		u := w.admitted(r, "u")
		task := w.poll()
		resp := w.finish(task, rejectUpdates(task))
		is(w, "reset", resp.GetResetHistoryEventId(), 0)
		u.stage(stageCompleted)
		w.shape(r, idleShape)
	})
}

func TestM111_M113_UpdateOfAnIdleRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		is(w, "message's place", w.first(task).GetEventId(), 5)
		is(w, "history", w.brief(task.GetHistory().GetEvents()), "1 Started, 2 WFTScheduled, 3 WFTStarted, 4 WFTCompleted, 5 WFTScheduled, 6 WFTStarted")
		is(w, "stored history", shapes(w.events(r))[:len(idleShape)], idleShape)
		resp := w.finish(task, takeUpdates(task))
		is(w, "reset", resp.GetResetHistoryEventId(), 0)
		u.stage(stageCompleted)
		events := w.shape(r, idleShape+secondTask+done)
		is(w, "sequencing event", w.at(events, 7).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequestSequencingEventId(), 5)
		is(w, "accepted event", w.at(events, 8).GetWorkflowExecutionUpdateCompletedEventAttributes().GetAcceptedEventId(), 8)
	})
}

func TestM112_RejectedUpdateLeavesNoTrace(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		resp := w.finish(task, rejectUpdates(task))
		is(w, "reset", resp.GetResetHistoryEventId(), 3)
		u.stage(stageCompleted)
		w.shape(r, idleShape)
		w.signal(r, "go")
		events := w.shape(r, idleShape+" Signaled WFTScheduled")
		is(w, "ID", w.at(events, 4).GetEventId(), 5)
	})
}

func TestM114_UpdateJoinsAScheduledTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		u := w.admitted(r, "u")
		task := w.poll()
		is(w, "message's place", w.first(task).GetEventId(), task.GetStartedEventId()-1)
		w.finish(task, takeUpdates(task))
		u.get()
		w.shape(r, idleShape+" Signaled"+secondTask+done)
		w.noTask()
	})
}

func TestM115_UpdateDuringATask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("inline")
		w.signal(r, "go")
		task := w.poll()
		u := w.admitted(r, "u")
		is(w, "messages", len(task.GetMessages()), 0)
		task = w.finish(task, sendNewTask).GetWorkflowTask()
		w.first(task)
		w.shape(r, idleShape+" Signaled"+secondTask+" WFTScheduled WFTStarted") // the last two are shown but not stored
		w.finish(task, rejectUpdates(task))
		u.get()
		w.shape(r, idleShape+" Signaled"+secondTask)

		r = w.idle("not inline")
		w.signal(r, "go")
		task = w.poll()
		u = w.admitted(r, "u")
		w.finish(task)
		w.shape(r, idleShape+" Signaled"+secondTask+" WFTScheduled") // and that one is not
		task = w.poll()
		w.first(task)
		w.finish(task, rejectUpdates(task))
		u.get()
		w.shape(r, idleShape+" Signaled"+secondTask+secondTask)
	})
}

func TestM116_UpdateThatTakesTwoTasks(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		w.pollUpdate(r, "u", stageUnspecified)
		w.signal(r, "go")
		w.finish(w.poll(), respondUpdate("u"))
		u.stage(stageCompleted)
		events := w.shape(r, idleShape+secondTask+" UpdateAccepted Signaled"+secondTask+" UpdateCompleted")
		is(w, "accepted event", w.at(events, 12).GetWorkflowExecutionUpdateCompletedEventAttributes().GetAcceptedEventId(), 8)
	})
}

// twoUpdates sends two updates to an idle run and takes the task with both.
func (w *world) twoUpdates(r run) (one, two *pending, t *task) {
	one = w.admitted(r, "one")
	two = w.admitted(r, "two")
	t = w.poll()
	if len(t.GetMessages()) != 2 {
		w.stop("%d messages", len(t.GetMessages()))
	}
	return one, two, t
}

func TestM117_TwoUpdatesInOneTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		one, two, task := w.twoUpdates(r)
		m1, m2 := task.Messages[0], task.Messages[1]
		ms := []*protocolpb.Message{accept(m1), accept(m2), respond(m2), respond(m1)}
		w.finish(task, messages(ms...), commands(protocol(ms[0]), protocol(ms[1]), protocol(ms[2]), protocol(ms[3])))
		one.stage(stageCompleted)
		two.stage(stageCompleted)
		events := w.shape(r, idleShape+secondTask+" UpdateAccepted UpdateAccepted UpdateCompleted UpdateCompleted")
		for i, id := range []string{"one", "two"} {
			is(w, "accepted", w.at(events, 7+i).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetProtocolInstanceId(), id)
			is(w, "completed", w.at(events, 10-i).GetWorkflowExecutionUpdateCompletedEventAttributes().GetMeta().GetUpdateId(), id)
		}
	})
}

func TestM118_OneUpdateAcceptedAndOneRejected(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		one, two, task := w.twoUpdates(r)
		a := accept(task.Messages[0])
		w.finish(task, messages(a, reject(task.Messages[1])), commands(protocol(a)))
		two.stage(stageCompleted)
		w.pollUpdate(r, "one", stageUnspecified)
		w.pollUpdate(r, "two", stageUnspecified)
		w.shape(r, idleShape+secondTask+" UpdateAccepted")
		w.terminate(r)
		one.get()
	})
}

func TestM119_MessagesNeedNoCommands(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		one, two, task := w.twoUpdates(r)
		m1, m2 := task.Messages[0], task.Messages[1]
		w.finish(task, messages(accept(m2), respond(m2), accept(m1), respond(m1)), commands(startTimer("t", 100)))
		one.stage(stageCompleted)
		two.stage(stageCompleted)
		events := w.shape(r, idleShape+secondTask+" TimerStarted"+done+done)
		is(w, "first accepted", w.at(events, 8).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetProtocolInstanceId(), "two")
	})
}

func TestM120_CommandsGiveMessagesTheirPlace(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		a, c := accept(w.first(task)), respond(w.first(task))
		w.finish(task, messages(a, c), commands(startTimer("before", 100), protocol(a), startTimer("between", 100), protocol(c), startTimer("after", 100)))
		u.stage(stageCompleted)
		w.shape(r, idleShape+secondTask+" TimerStarted UpdateAccepted TimerStarted UpdateCompleted TimerStarted")
	})
}

func TestM121_UpdatesArriveInTheOrderOfAdmission(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		var calls []*pending
		for i := range 10 {
			calls = append(calls, w.admitted(r, string(rune('A'+i))))
		}
		task := w.poll()
		order := ""
		for _, m := range task.GetMessages() {
			order += m.GetProtocolInstanceId()
		}
		is(w, "order", order, "ABCDEFGHIJ")
		w.finish(task, takeUpdates(task))
		for _, c := range calls {
			c.stage(stageCompleted)
		}
		w.shape(r, idleShape+secondTask+strings.Repeat(done, 10))
	})
}

func TestM122_M123_RequestMessageAndWhatIsRecorded(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		req := w.updates(r, "u", func(r *updating) { r.Request.Input.Args = payloads(`1`, `"two"`) })
		u := w.update(r, "u", func(r *updating) { r.Request.Input.Args = payloads(`1`, `"two"`) })
		task := w.poll()
		m := w.first(task)
		is(w, "message ID", m.GetId(), "u/request")
		is(w, "instance", m.GetProtocolInstanceId(), "u")
		is(w, "request as sent", proto.Equal(requestOf(m), req.Request), true)
		// What the worker echoes is not what is recorded.
		a := accept(m, func(a *updatepb.Acceptance) {
			a.AcceptedRequestMessageId, a.AcceptedRequest = "another/request", &updatepb.Request{
				Meta: &updatepb.Meta{UpdateId: "u", Identity: "forged"}, Input: &updatepb.Input{Name: "forged", Args: payloads(`"forged"`)},
			}
		})
		w.finish(task, messages(a, respond(m)))
		u.get()
		events := w.history(r)
		recorded := w.at(events, 7).GetWorkflowExecutionUpdateAcceptedEventAttributes()
		is(w, "recorded as sent", proto.Equal(recorded.GetAcceptedRequest(), req.Request), true)
		is(w, "recorded message ID", recorded.GetAcceptedRequestMessageId(), "u/request")
	})
}

func TestM124_ServerNamesAnUpdateWithoutID(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r.current(), "")
		task := w.poll()
		w.finish(task, takeUpdates(task))
		ref := u.updated().GetUpdateRef()
		is(w, "made by the server", uuids.MatchString(ref.GetUpdateId()), true)
		is(w, "instance", w.first(task).GetProtocolInstanceId(), ref.GetUpdateId())
		is(w, "run", ref.GetWorkflowExecution().GetRunId(), r.runID)
		w.history(r)
	})
}

// Every way in which an update can be refused, and none is recorded as UpdateRejected.
func TestM125_RejectedIsNeverAnEvent(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		for _, respond := range []func(t *task) func(*completion){
			rejectUpdates,
			func(*task) func(*completion) { return func(*completion) {} },
			func(t *task) func(*completion) {
				return func(r *completion) {
					r.Messages, r.Commands = []*protocolpb.Message{reject(t.Messages[0])}, []*commandpb.Command{startTimer("t", 100)}
				}
			},
		} {
			u := w.update(r, "u")
			task := w.poll()
			w.finish(task, respond(task))
			u.stage(stageCompleted)
		}
		w.shape(r, idleShape+secondTask+" TimerStarted")
	})
}

func TestM126_M127_M128_M129_WaitForAcceptance(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("accepted")
		u := w.update(r, "u", waitFor(stageAccepted))
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		resp := u.updated()
		is(w, "stage", resp.GetStage(), stageAccepted)
		is(w, "has an outcome", resp.GetOutcome() != nil, false)
		later := w.waitUpdate(r, "u", stageCompleted)
		later.waits()
		w.signal(r, "go")
		w.finish(w.poll(), respondUpdate("u"))
		w.fine(later.get())
		w.fine(w.pollUpdate(r, "u", stageCompleted))

		r = w.idle("completed")
		u = w.update(r, "u", waitFor(stageAccepted))
		task = w.poll()
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)

		r = w.idle("accepted and closed")
		u = w.update(r, "u", waitFor(stageAccepted))
		task = w.poll()
		w.finish(task, acceptUpdates(task), commands(completeWorkflow()))
		resp = u.updated()
		is(w, "stage", resp.GetStage(), stageCompleted)
		is(w, "failure", resp.GetOutcome().GetFailure().GetApplicationFailureInfo().GetType(), "AcceptedUpdateCompletedWorkflow")
		w.history(r)

		r = w.idle("rejected")
		u = w.update(r, "u", waitFor(stageAccepted))
		task = w.poll()
		w.finish(task, rejectUpdates(task))
		resp = u.updated()
		is(w, "stage", resp.GetStage(), stageCompleted)
		is(w, "failure", resp.GetOutcome().GetFailure().GetMessage(), "rejected")
	})
}

func TestM130_M131_WaitingEndsAfterTwentySeconds(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("no worker")
		accepted := w.idle("accepted only")
		admitted := w.update(r, "u", func(r *updating) { r.WaitPolicy = nil })
		half := w.update(accepted, "u")
		for range 2 {
			task := w.tryPoll(queueNamed(w.queue), patience)
			if task.GetWorkflowExecution().GetRunId() == accepted.runID {
				w.finish(task, acceptUpdates(task))
			}
		}
		polled := w.waitUpdate(accepted, "u", stageCompleted)
		resp := admitted.updated()
		is(w, "stage", resp.GetStage(), stageAdmitted)
		is(w, "has an outcome", resp.GetOutcome() != nil, false)
		resp = half.updated()
		is(w, "stage", resp.GetStage(), stageAccepted)
		is(w, "has an outcome", resp.GetOutcome() != nil, false)
		polled.get()
		w.fine(w.pollUpdate(r, "u", stageUnspecified))
	})
}

func TestM132_CallersDeadlineDoesNotEndTheUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		ctx, cancel := contextFor(w, 2)
		defer cancel()
		_, err := w.UpdateWorkflowExecution(ctx, w.updates(r, "u"))
		is(w, "code", codeOf(err), codes.DeadlineExceeded)
		task := w.poll()
		w.first(task)
		w.finish(task, takeUpdates(task))
		w.fine(w.pollUpdate(r, "u", stageCompleted))
	})
}

func TestM133_WaitPolicies(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.refused(w.tryUpdate("admitted", w.updates(r, "u", waitFor(stageAdmitted))), codes.PermissionDenied,
			"UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported.")
		w.shape(r, idleShape)
		for i, with := range []func(*updating){func(r *updating) { r.WaitPolicy = nil }, waitFor(stageUnspecified)} {
			id := fmt.Sprint(i)
			u := w.update(r, id, with)
			task := w.poll()
			w.finish(task, acceptUpdates(task))
			u.waits()
			w.signal(r, "go")
			w.finish(w.poll(), respondUpdate(id))
			u.stage(stageCompleted)
		}
		w.tryUpdate("unknown stage", w.updates(r, "u", waitFor(77)))
	})
}

func TestM134_PollOfTheCurrentStage(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.admitted(r, "u")
		poll := func() {
			w.fine(w.pollUpdate(r, "u", stageUnspecified))
			w.fine(w.pollUpdate(r, "u", stageAdmitted))
			w.fine(w.pollUpdate(r.current(), "u", stageUnspecified))
		}
		poll()
		task := w.poll()
		poll()
		w.finish(task, acceptUpdates(task))
		poll()
		w.fine(w.pollUpdate(r, "u", stageAccepted))
		w.signal(r, "go")
		w.finish(w.poll(), respondUpdate("u"))
		poll()
		u.get()
	})
}

func TestM135_PollOfAnUnknownUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.refused(w.pollUpdate(r, "never", stageUnspecified), codes.NotFound, `update "never" not found`)
		w.refused(w.pollUpdate(r, "never", stageCompleted), codes.NotFound, `update "never" not found`)
		u := w.update(r, "rejected")
		task := w.poll()
		w.finish(task, rejectUpdates(task))
		u.get()
		w.refused(w.pollUpdate(r, "rejected", stageCompleted), codes.NotFound, `update "rejected" not found`)
		w.refused(w.pollUpdate(r, "rejected", stageUnspecified), codes.NotFound, `update "rejected" not found`)
	})
}

func TestM137_SameUpdateIsSentOnce(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		first := w.admitted(r, "u")
		second := w.update(r, "u")
		second.waits()
		task := w.poll()
		is(w, "messages", len(task.GetMessages()), 1)
		third := w.update(r, "u")
		third.waits()
		w.finish(task, takeUpdates(task))
		for _, u := range []*pending{first, second, third} {
			u.stage(stageCompleted)
		}
		w.shape(r, idleShape+secondTask+done)
		w.noTask()
	})
}

func TestM139_RejectedUpdateIsForgotten(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		for range 2 {
			u := w.update(r, "u")
			task := w.poll()
			w.finish(task, rejectUpdates(task))
			u.get()
		}
		u := w.update(r, "u")
		task := w.poll()
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.shape(r, idleShape+secondTask+done)
	})
}

// What M140 says of the reference is not so here: an update's ID is remembered across the runs of a workflow.
func TestUpdateOfAnEarlierRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.signal(r, "go")
		w.finish(w.poll(), commands(w.continueAsNew()))
		next := w.successor(r, "next")
		w.pollUpdate(next, "u", stageUnspecified)
		w.pollUpdate(r.current(), "u", stageUnspecified)
		u = w.admitted(r.current(), "u")
		task = w.poll()
		w.finish(task, takeUpdates(task))
		u.get()
		w.history(next)
	})
}

func TestM141_RepeatedUpdateGetsTheFirstOutcome(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		first := w.admitted(r, "u")
		other := w.update(r, "u", func(r *updating) { r.Request.Input.Name, r.Request.Input.Args = "another", payloads(`"other"`) })
		other.waits()
		task := w.poll()
		w.finish(task, takeUpdates(task))
		first.stage(stageCompleted)
		other.stage(stageCompleted)
		w.tryUpdate("again", w.updates(r, "u", func(r *updating) { r.Request.Input.Name = "another" }))
		w.shape(r, idleShape+secondTask+done)
	})
}

// Questions f and M142.
func TestM142_MalformedUpdatesAreRefused(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		r := w.idle("main")
		long := strings.Repeat("x", 1001)
		refuse := func(text string, change func(*updating)) {
			w.refused(w.tryUpdate("malformed", w.updates(r, "u", change)), codes.InvalidArgument, text)
		}
		refuse("Update meta is not set on request.", func(r *updating) { r.Request.Meta = nil })
		refuse("Update input is not set on request.", func(r *updating) { r.Request.Input = nil })
		refuse("Update name is not set on request.", func(r *updating) { r.Request.Input.Name = "" })
		refuse("UpdateId length exceeds limit.", func(r *updating) { r.Request.Meta.UpdateId = long })
		refuse("Invalid RunId.", func(r *updating) { r.WorkflowExecution.RunId = "no UUID" })
		refuse("WorkflowId is not set on request.", func(r *updating) { r.WorkflowExecution.WorkflowId = "" })
		refuse("Execution is not set on request.", func(r *updating) { r.WorkflowExecution = nil })
		refuse("…", func(r *updating) { r.Request = nil })
		refuse("…", func(r *updating) { r.Namespace = "" })
		w.tryUpdate("long run ID", w.updates(r, "u", func(r *updating) { r.FirstExecutionRunId = "no UUID" }))
		w.tryUpdate("unknown workflow", w.updates(run{id: w.id("none")}, "u"))
		w.tryUpdate("unknown run", w.updates(run{w.id("none"), nowhere}, "u"))
		w.tryUpdate("unknown run", w.updates(run{r.id, nowhere}, "u"))
		w.tryUpdate("unknown namespace", w.updates(r, "u", func(r *updating) { r.Namespace = "no such namespace" }))
		type polling = workflowservice.PollWorkflowExecutionUpdateRequest
		poll := func(what string, change func(*polling)) {
			req := w.pollsUpdate(r, "u", stageUnspecified)
			change(req)
			resp, err := w.PollWorkflowExecutionUpdate(w.ctx, req)
			w.answered("poll "+what, resp, err)
		}
		poll("without ref", func(r *polling) { r.UpdateRef = nil })
		poll("without execution", func(r *polling) { r.UpdateRef.WorkflowExecution = nil })
		poll("without workflow", func(r *polling) { r.UpdateRef.WorkflowExecution.WorkflowId = "" })
		poll("with a bad run", func(r *polling) { r.UpdateRef.WorkflowExecution.RunId = "no UUID" })
		poll("without ID", func(r *polling) { r.UpdateRef.UpdateId = "" })
		poll("with a long ID", func(r *polling) { r.UpdateRef.UpdateId = long })
		poll("without policy", func(r *polling) { r.WaitPolicy = nil })
		poll("of an unknown workflow", func(r *polling) { r.UpdateRef.WorkflowExecution.WorkflowId = w.id("none") })
		poll("of an unknown run", func(r *polling) { r.UpdateRef.WorkflowExecution.RunId = nowhere })
		poll("without namespace", func(r *polling) { r.Namespace = "" })
		w.shape(r, idleShape)
	})
}

func TestM143_UpdateOfAChain(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		first := w.start("main")
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		w.finish(w.poll())
		pin := func(id string) func(*updating) { return func(r *updating) { r.FirstExecutionRunId = id } }
		w.refused(w.tryUpdate("of another chain", w.updates(first.current(), "u", pin(nowhere))), codes.NotFound, "workflow execution not found")
		u := w.update(first.current(), "u", pin(first.runID))
		task := w.poll()
		is(w, "run", task.GetWorkflowExecution().GetRunId(), second.runID)
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.tryUpdate("of the old run", w.updates(first, "v", pin(first.runID)))
		w.tryUpdate("pinned to its second run", w.updates(first.current(), "v", pin(second.runID)))
	})
}

func TestM144_UpdateOfAClosedRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.closed("main")
		w.refused(w.tryUpdate("new", w.updates(r, "u")), codes.NotFound, alreadyCompleted)
		w.refused(w.tryUpdate("new", w.updates(r.current(), "u")), codes.NotFound, alreadyCompleted)
	})
}

// A failing handler is an outcome, and is remembered as one.
func TestUpdateThatFailed(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		m := w.first(task)
		w.finish(task, messages(accept(m), respond(m, failed)))
		u.stage(stageCompleted)
		w.pollUpdate(r, "u", stageCompleted)
		w.tryUpdate("again", w.updates(r, "u"))
		w.history(r)
	})
}

// Question d: what can be seen of a speculative task from outside.
func TestSpeculativeTaskFromOutside(t *testing.T) {
	both(t, func(w *world) {
		look := func(when string, r run) {
			w.note("history %s: %s", when, w.brief(w.events(r)))
			d := w.describe(r)
			w.note("pending task %s: %s", when, w.text(d.GetPendingWorkflowTask()))
			w.note("history length %s: %d", when, d.GetWorkflowExecutionInfo().GetHistoryLength())
		}
		r := w.idle("main")
		u := w.admitted(r, "u")
		look("while it is scheduled", r)
		task := w.poll()
		look("while it is started", r)
		w.finish(task, rejectUpdates(task))
		u.get()
		look("when it is gone", r)
		u = w.update(r, "v")
		task = w.poll()
		w.finish(task, takeUpdates(task))
		u.get()
		look("when it was kept", r)
		// And of a first one that a plain update joined.
		r = w.start("first")
		u = w.admitted(r, "u")
		look("of a run that has not run", r)
		w.terminate(r)
		u.get()
	})
}

// Question e: what a poll says when the run is over.
func TestPollsOfUpdatesWhoseRunIsOver(t *testing.T) {
	both(t, func(w *world) {
		polls := func(r run, ids ...string) {
			for _, id := range ids {
				for _, stage := range []enumspb.UpdateWorkflowExecutionLifecycleStage{stageUnspecified, stageAccepted, stageCompleted} {
					w.pollUpdate(r, id, stage)
				}
			}
		}
		// accepted has a run with one completed and one accepted update.
		accepted := func(part string) (run, *pending) {
			r := w.idle(part)
			u := w.update(r, "completed")
			task := w.poll()
			w.finish(task, takeUpdates(task))
			u.get()
			u = w.update(r, "accepted")
			task = w.poll()
			w.finish(task, acceptUpdates(task))
			return r, u
		}
		all := []string{"completed", "accepted", "unknown"}
		r, u := accepted("continued")
		waiting := w.waitUpdate(r, "accepted", stageCompleted)
		waiting.waits()
		w.signal(r, "go")
		w.finish(w.poll(), commands(w.continueAsNew()))
		u.get()
		waiting.get()
		polls(r, all...)
		polls(r.current(), all...)
		w.tryUpdate("accepted, again on the old run", w.updates(r, "accepted"))
		w.tryUpdate("completed, again on the old run", w.updates(r, "completed"))
		w.terminate(r.current())

		r, u = accepted("terminated")
		w.terminate(r)
		u.get()
		polls(r, all...)
		polls(r.current(), all...)
		w.tryUpdate("accepted, again", w.updates(r, "accepted"))

		r, u = accepted("closed")
		w.signal(r, "go")
		w.finish(w.poll(), commands(completeWorkflow()))
		u.get()
		polls(r, all...)
		w.tryUpdate("accepted, again", w.updates(r, "accepted"))
		w.tryUpdate("accepted, again, wait for acceptance", w.updates(r, "accepted", waitFor(stageAccepted)))

		r, u = accepted("reset")
		fresh, _ := w.reset(r, 4)
		u.get()
		polls(r, all...)
		for _, id := range all {
			w.pollUpdate(fresh, id, stageUnspecified)
		}
		w.history(fresh)
	})
}
