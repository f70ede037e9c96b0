package oracle

import (
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

const lostUpdate = "AcceptedUpdateCompletedWorkflow"

func TestM176_CloseWithAnUnansweredUpdate(t *testing.T) {
	both(t, func(w *world) {
		for i, name := range []string{"complete", "fail", "cancel"} {
			command := []*commandpb.Command{completeWorkflow(), failWorkflow(), cancelWorkflow()}[i]
			r := w.idle(name)
			u := w.update(r, "u")
			w.finish(w.takeUntil(r), commands(command))
			w.refused(u.get(), codes.NotFound, updateAborted)
			w.history(r)
		}
	})
}

func TestM177_ContinueWithAnUnansweredUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		w.finish(task, commands(w.continueAsNew()))
		w.refused(u.get(), codes.ResourceExhausted, isClosing)
		next := w.successor(r, "next")
		// What an SDK does then.
		u = w.admitted(r.current(), "u", func(q *updating) { q.FirstExecutionRunId = r.runID })
		task = w.poll()
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.shapeOnly(next)
	})
}

func TestM178_AcceptedUpdateOfAClosedRunFailed(t *testing.T) {
	both(t, func(w *world) {
		closing := map[string]func(r run){
			"complete":  func(r run) { w.finish(w.takeUntil(r), commands(completeWorkflow())) },
			"fail":      func(r run) { w.finish(w.takeUntil(r), commands(failWorkflow())) },
			"cancel":    func(r run) { w.finish(w.takeUntil(r), commands(cancelWorkflow())) },
			"continue":  func(r run) { w.finish(w.takeUntil(r), commands(w.continueAsNew())) },
			"terminate": func(r run) { w.terminate(r) },
			"time out":  func(r run) { w.closes(r) },
		}
		for _, name := range []string{"complete", "fail", "cancel", "continue", "terminate", "time out"} {
			w.note("%s", name)
			r := w.idle(name, func(r *starting) {
				if name == "time out" {
					r.WorkflowRunTimeout = seconds(3)
				}
			})
			u := w.update(r, "u")
			task := w.takeUntil(r)
			w.finish(task, acceptUpdates(task))
			w.signal(r, "go")
			closing[name](r)
			is(w, "failure", u.updated().GetOutcome().GetFailure().GetApplicationFailureInfo().GetType(), lostUpdate)
			w.fine(w.pollUpdate(r, "u", stageCompleted))
			w.fine(w.pollUpdate(r, "u", stageCompleted))
			w.shapeOnly(r)
		}
	})
}

func TestM179_M180_UpdateAnsweredWithTheClose(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("completed")
		u := w.update(r, "u")
		task := w.takeUntil(r)
		w.finish(task, takeUpdates(task), commands(completeWorkflow()))
		u.stage(stageCompleted)
		w.shape(r, idleShape+secondTask+done+" Completed")
		r = w.idle("rejected")
		u = w.update(r, "u")
		task = w.takeUntil(r)
		w.finish(task, rejectUpdates(task), commands(completeWorkflow()))
		is(w, "failure", u.updated().GetOutcome().GetFailure().GetMessage(), "rejected")
		w.shape(r, idleShape+secondTask+" Completed")
		// Messages without commands come after the commands, and so after the close.
		r = w.idle("after the close")
		u = w.update(r, "u")
		task = w.takeUntil(r)
		m := w.first(task)
		w.complete(task, messages(accept(m), respond(m)), commands(completeWorkflow()))
		u.get()
		w.shapeOnly(r)
	})
}

func TestMessageCommandAfterTheClose(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		a := accept(w.first(task))
		w.complete(task, messages(a), commands(completeWorkflow(), protocol(a)))
		w.terminate(r)
		u.wait()
	})
}

func TestM182_TimedOutRunIsTriedAgainWithItsUpdates(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main", func(r *starting) {
			r.WorkflowRunTimeout = seconds(2)
			r.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: seconds(1), MaximumAttempts: 2}
		})
		u := w.update(r.current(), "u")
		w.poll() // and is not completed
		w.closes(r)
		u.get()
		w.shapeOnly(r)
		next := w.successor(r, "next")
		u = w.admitted(r.current(), "u")
		task := w.poll()
		is(w, "run", task.GetWorkflowExecution().GetRunId(), next.runID)
		w.finish(task, takeUpdates(task))
		u.get()
		w.shapeOnly(next)
	})
}

func TestM183_AdmittedUpdateDoesNotHoldBackTheClose(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		task := w.poll()
		u := w.admitted(r, "u")
		w.finish(task, commands(completeWorkflow()))
		u.get()
		w.shape(r, idleShape+" Signaled"+secondTask+" Completed")
	})
}

// Question a: what was buffered while a task was started, when the run is ended or reset.
func TestBufferedEventsWhenTheRunIsEnded(t *testing.T) {
	both(t, func(w *world) {
		// begun has a task under way behind which a signal, an activity's result and a cancel request wait.
		begun := func(part string, with ...func(*starting)) (run, *task) {
			r := w.start(part, with...)
			w.finish(w.takeUntil(r), commands(w.scheduleActivity("a")))
			activity := w.pollActivity()
			w.signal(r, "begin")
			task := w.takeUntil(r)
			w.signal(r, "buffered")
			w.completeActivity(activity)
			w.signal(r, "buffered too")
			w.cancel(r)
			return r, task
		}
		r, task := begun("terminated")
		w.terminate(r)
		w.history(r)
		w.complete(task)
		r, task = begun("terminated by a start")
		w.tryStart("instead", w.starts("terminated by a start", func(r *starting) { r.WorkflowIdConflictPolicy = terminateExisting }))
		w.history(r)
		w.complete(task)
		r, _ = begun("terminated by a signal with start")
		w.signalWithStart("instead too", w.signalsWithStart("terminated by a signal with start", "go", conflict(terminateExisting)))
		w.history(r)
		r, _ = begun("reset")
		fresh, _ := w.reset(r, 4)
		w.history(r)
		w.history(fresh)
		r, task = begun("timed out", func(r *starting) { r.WorkflowRunTimeout = seconds(5) })
		w.closes(r)
		w.history(r)
		w.complete(task)
		r, _ = begun("execution timed out", func(r *starting) { r.WorkflowExecutionTimeout = seconds(5) })
		w.closes(r)
		w.shapeOnly(r) // which of the two timeouts it was, both at once, is chance
	})
}

// The same without a task under way.
func TestScheduledTaskWhenTheRunIsEnded(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("terminated")
		w.signal(r, "go")
		w.terminate(r)
		w.history(r)
		r = w.idle("reset")
		w.signal(r, "go")
		fresh, _ := w.reset(r, 4)
		w.history(r)
		w.history(fresh)
		r = w.idle("idle, reset")
		fresh, _ = w.reset(r, 4)
		w.history(r)
		w.history(fresh)
		r = w.closed("closed, reset")
		fresh, _ = w.reset(r, 4)
		w.history(r)
		w.history(fresh)
		r = w.idle("timed out", func(r *starting) { r.WorkflowRunTimeout = seconds(2) })
		w.signal(r, "go")
		w.closes(r)
		w.history(r)
	})
}

const admittedByReset = " UpdateAdmitted"

// withUpdates has a run whose history is 1–4 idle, 5–9 a completed update, 10–13 an accepted one.
func (w *world) withUpdates(part string) (run, *pending) {
	r := w.idle(part)
	u := w.update(r, "completed")
	task := w.takeUntil(r)
	w.finish(task, takeUpdates(task))
	u.get()
	u = w.update(r, "accepted")
	task = w.takeUntil(r)
	w.finish(task, acceptUpdates(task))
	return r, u
}

func TestM188_M192_ResetRunsUpdatesAgain(t *testing.T) {
	both(t, func(w *world) {
		r, u := w.withUpdates("main")
		fresh, _ := w.reset(r, 4)
		u.get()
		events := w.shape(fresh, "Started WFTScheduled WFTStarted WFTFailed"+admittedByReset+admittedByReset+" WFTScheduled")
		is(w, "origin", w.at(events, 4).GetWorkflowExecutionUpdateAdmittedEventAttributes().GetOrigin(), enumspb.UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY)
		for _, id := range []string{"completed", "accepted"} {
			w.fine(w.pollUpdate(fresh, id, stageUnspecified))
			resp, _ := w.PollWorkflowExecutionUpdate(w.ctx, w.pollsUpdate(fresh, id, stageUnspecified))
			is(w, "stage", resp.GetStage(), stageAdmitted)
		}
		again := w.update(fresh, "accepted")
		task := w.takeUntil(fresh)
		is(w, "messages", len(task.GetMessages()), 0)
		// The worker makes the requests from the events.
		m := func(e int) *protocolpb.Message {
			id := w.at(events, e).GetWorkflowExecutionUpdateAdmittedEventAttributes().GetRequest().GetMeta().GetUpdateId()
			return &protocolpb.Message{Id: id + "/request", ProtocolInstanceId: id, SequencingId: &protocolpb.Message_EventId{EventId: w.at(events, e).GetEventId()}}
		}
		one, two := m(4), m(5)
		w.finish(task, messages(accept(one), respond(one), accept(two), respond(two)))
		again.stage(stageCompleted)
		w.fine(w.pollUpdate(fresh, "completed", stageCompleted))
		events = w.shape(fresh, "Started WFTScheduled WFTStarted WFTFailed"+admittedByReset+admittedByReset+secondTask+done+done)
		is(w, "has a request", w.at(events, 9).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest() != nil, false)
		w.history(r)
	})
}

func exclude(types ...enumspb.ResetReapplyExcludeType) func(*resetting) {
	return func(r *resetting) { r.ResetReapplyExcludeTypes = types }
}

func reapply(t enumspb.ResetReapplyType) func(*resetting) {
	return func(r *resetting) { r.ResetReapplyType = t }
}

// Question k too.
func TestM189_M193_WhatAResetAppliesAgain(t *testing.T) {
	both(t, func(w *world) {
		signals, updates := enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL, enumspb.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE
		kinds := []struct {
			name  string
			with  func(*resetting)
			again string
		}{
			{"all", func(*resetting) {}, admittedByReset + admittedByReset + " Signaled"},
			{"without updates", exclude(updates), " Signaled"},
			{"without signals", exclude(signals), admittedByReset + admittedByReset},
			{"without both", exclude(signals, updates), ""},
			{"type all", reapply(enumspb.RESET_REAPPLY_TYPE_ALL_ELIGIBLE), admittedByReset + admittedByReset + " Signaled"},
			{"type signal", reapply(enumspb.RESET_REAPPLY_TYPE_SIGNAL), " Signaled"},
			{"type none", reapply(enumspb.RESET_REAPPLY_TYPE_NONE), ""},
		}
		for _, k := range kinds {
			w.note("reapply %s", k.name)
			r, u := w.withUpdates(k.name)
			w.signal(r, "go")
			w.cancel(r)
			fresh, _ := w.reset(r, 4, k.with)
			u.get()
			w.shape(fresh, "Started WFTScheduled WFTStarted WFTFailed"+k.again+" WFTScheduled")
			w.pollUpdate(fresh, "accepted", stageUnspecified)
			w.terminate(fresh)
		}
		r, u := w.withUpdates("contradiction")
		w.reset(r, 4, reapply(enumspb.RESET_REAPPLY_TYPE_SIGNAL), exclude(signals))
		w.reset(r, 4, exclude(enumspb.RESET_REAPPLY_EXCLUDE_TYPE_NEXUS))
		w.reset(r, 4, exclude(enumspb.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST))
		u.get()
	})
}

func TestM190_ResetKeepsTheRequestIDsOfSignals(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go", requestID("same"))
		fresh, _ := w.reset(r, 4)
		events := w.shape(fresh, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled")
		is(w, "request ID", w.at(events, 4).GetWorkflowExecutionSignaledEventAttributes().GetRequestId(), "same")
		w.fine(w.signal(fresh, "go", requestID("same")))
		w.shape(fresh, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled")
		w.fine(w.signal(fresh, "go", requestID("another")))
		w.shape(fresh, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled Signaled")
	})
}

func TestM191_ResetUnderAnUpdate(t *testing.T) {
	both(t, func(w *world) {
		for _, sent := range []bool{false, true} {
			r := w.idle(map[bool]string{false: "admitted", true: "sent"}[sent])
			u := w.admitted(r, "u")
			if sent {
				w.takeUntil(r)
			}
			fresh, _ := w.reset(r, 4)
			w.refused(u.get(), codes.NotFound, updateAborted)
			w.shapeOnly(r)
			w.shapeOnly(fresh)
			w.pollUpdate(fresh, "u", stageUnspecified)
		}
	})
}

// Question k: a reset of a run that was reset, and of one that was continued; signals of later runs of the chain.
func TestResetOfOlderRuns(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("twice")
		w.signal(r, "one")
		first, _ := w.reset(r, 4)
		w.signal(first, "two")
		second, _ := w.reset(r, 4)
		w.history(first)
		w.history(second)
		third, _ := w.reset(second, 4)
		w.history(third)

		r = w.idle("continued")
		w.signal(r, "one")
		w.finish(w.takeUntil(r), commands(w.continueAsNew()))
		next := w.successor(r, "next")
		w.signal(next, "two")
		w.cancel(next)
		fresh, _ := w.reset(r, 4)
		w.history(next)
		w.history(fresh)
		w.history(r)
	})
}

// Questions f, h and l, for reset.
func TestResetRequests(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		r := w.idle("main")
		try := func(what string, change func(*resetting)) {
			w.note("reset %s", what)
			w.reset(r, 4, change)
		}
		try("without execution", func(r *resetting) { r.WorkflowExecution = nil })
		try("without workflow ID", func(r *resetting) { r.WorkflowExecution.WorkflowId = "" })
		try("with a bad run ID", func(r *resetting) { r.WorkflowExecution.RunId = "no UUID" })
		try("of an unknown workflow", func(r *resetting) { r.WorkflowExecution = &commonpb.WorkflowExecution{WorkflowId: w.id("none")} })
		try("of an unknown run", func(r *resetting) { r.WorkflowExecution.RunId = nowhere })
		try("without request ID", func(r *resetting) { r.RequestId, r.WorkflowTaskFinishEventId = "", 99 })
		for _, id := range []int64{0, 1, 2, 5, 99, -1} {
			try("to a bad event", func(r *resetting) { r.WorkflowTaskFinishEventId = id })
		}
		try("without namespace", func(r *resetting) { r.Namespace = "" })
		try("to a started task", func(r *resetting) { r.WorkflowTaskFinishEventId = 3 })

		r = w.idle("without reason")
		fresh, _ := w.reset(r, 4, func(r *resetting) { r.Reason = "" })
		w.history(fresh)
		w.history(r)
		r = w.idle("without run ID")
		fresh, _ = w.reset(r.current(), 4)
		w.history(fresh)
		r = w.idle("same request")
		fresh, _ = w.reset(r, 4, func(r *resetting) { r.RequestId = "same" })
		w.reset(r, 4, func(r *resetting) { r.RequestId = "same" })
		w.reset(r.current(), 4, func(r *resetting) { r.RequestId = "same" })
		w.reset(r, 3, func(r *resetting) { r.RequestId = "same" })
		w.terminate(fresh)
		w.reset(r, 4, func(r *resetting) { r.RequestId = "same" })
		w.history(fresh)
		// Is it the request that started the new run, to a start?
		r = w.idle("reset, then start", func(r *starting) { r.RequestId = "start" })
		w.reset(r, 4, func(r *resetting) { r.RequestId = "reset" })
		w.tryStart("with the reset's request", w.starts("reset, then start", func(r *starting) { r.RequestId = "reset" }))
		w.tryStart("with another request", w.starts("reset, then start"))
		w.tryStart("with the first request", w.starts("reset, then start", func(r *starting) { r.RequestId = "start" }))
		// With operations that follow it.
		r = w.idle("with a signal")
		fresh, _ = w.reset(r, 4, func(r *resetting) {
			r.PostResetOperations = []*workflowpb.PostResetOperation{{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{
				SignalWorkflow: &workflowpb.PostResetOperation_SignalWorkflow{SignalName: "after reset", Input: payloads(`"input"`)},
			}}}
		})
		w.history(fresh)
	})
}

// Question l.
func TestFailuresThatDoNotSayWhy(t *testing.T) {
	both(t, func(w *world) {
		type failing = workflowservice.RespondWorkflowTaskFailedRequest
		r := w.start("task")
		w.fail(w.takeUntil(r), func(r *failing) { r.Cause, r.Failure = 0, nil })
		w.history(r)
		w.finish(w.takeUntil(r))
		w.signal(r, "go")
		w.fail(w.takeUntil(r), func(r *failing) { r.Cause = 0 })
		w.history(r)
		w.finish(w.takeUntil(r))
		w.signal(r, "go")
		w.fail(w.takeUntil(r), func(r *failing) { r.Cause = 9999 })
		w.history(r)
		w.terminate(r)
		for _, cause := range []enumspb.WorkflowTaskFailedCause{
			enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND, enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
			enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE, enumspb.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE,
			enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
		} {
			r := w.start(cause.String())
			w.fail(w.takeUntil(r), func(r *failing) { r.Cause, r.Failure = cause, nil })
			w.history(r)
			w.terminate(r)
		}
		r = w.start("activity")
		w.finish(w.takeUntil(r), commands(w.scheduleActivity("a")))
		activity := w.pollActivity()
		resp, err := w.RespondActivityTaskFailed(w.ctx, &workflowservice.RespondActivityTaskFailedRequest{Namespace: namespace, TaskToken: activity.GetTaskToken(), Identity: "worker"})
		w.answered("activity failure", resp, err)
		w.history(r)
		r = w.start("activity with retries")
		w.finish(w.takeUntil(r), commands(w.scheduleActivity("a", func(a *commandpb.ScheduleActivityTaskCommandAttributes) {
			a.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: seconds(0.1), MaximumAttempts: 2}
		})))
		for range 2 {
			activity = w.pollActivity()
			resp, err = w.RespondActivityTaskFailed(w.ctx, &workflowservice.RespondActivityTaskFailedRequest{Namespace: namespace, TaskToken: activity.GetTaskToken(), Identity: "worker"})
			w.answered("activity failure", resp, err)
		}
		w.follow(r, enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, 1)
		w.history(r)
		r = w.start("failed without failure")
		w.complete(w.takeUntil(r), commands(&commandpb.Command{CommandType: enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_FailWorkflowExecutionCommandAttributes{
			FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{},
		}}))
		w.history(r)
	})
}
