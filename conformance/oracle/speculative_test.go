package oracle

import (
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/grpc/codes"
)

const (
	taskGone      = "Workflow task not found."
	unexpectedEnd = "Unable to perform workflow execution update due to unexpected workflow task failure."
	failedShape   = " WFTScheduled WFTStarted WFTFailed"
)

func TestM149_SignalToASpeculativeTaskThatIsScheduled(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.admitted(r, "u")
		w.signal(r, "go")
		w.shape(r, idleShape+" WFTScheduled Signaled")
		task := w.poll()
		w.finish(task, rejectUpdates(task))
		u.get()
		w.shape(r, idleShape+" WFTScheduled Signaled WFTStarted WFTCompleted")
	})
}

func TestM150_SignalToASpeculativeTaskThatIsStarted(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		w.signal(r, "go")
		w.shapeOnly(r)
		w.finish(task, rejectUpdates(task))
		u.get()
		w.shape(r, idleShape+secondTask+" Signaled WFTScheduled")
	})
}

func TestM151_M152_EventsShippedWithASpeculativeTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), commands(startTimer("t", 100)))
		// The task ships the completion and the timer, which the worker has not seen as events.
		u := w.update(r, "one")
		task := w.poll()
		resp := w.finish(task, rejectUpdates(task))
		u.get()
		is(w, "reset without the capability", resp.GetResetHistoryEventId(), 0)
		w.shape(r, idleShape+" TimerStarted"+secondTask)
		w.signal(r, "go")
		w.finish(w.poll(), commands(startTimer("u", 100)))
		u = w.update(r, "two")
		task = w.poll()
		resp = w.finish(task, rejectUpdates(task), canDiscard)
		u.get()
		is(w, "reset with the capability", resp.GetResetHistoryEventId(), 11)
		w.shape(r, idleShape+" TimerStarted"+secondTask+" Signaled"+secondTask+" TimerStarted")
		// What vanished comes again.
		u = w.update(r, "three")
		shipped := w.brief(task.GetHistory().GetEvents())
		task = w.poll()
		is(w, "events shipped", w.brief(task.GetHistory().GetEvents()), shipped)
		w.finish(task, takeUpdates(task), canDiscard)
		u.get()
		w.history(r)
	})
}

func TestM153_ManyEventsShippedKeepTheTask(t *testing.T) {
	both(t, func(w *world) {
		for _, n := range []int{7, 8, 9, 10, 11, 12} {
			r := w.start("with " + string(rune('a'+n)))
			task := w.poll()
			w.finish(task, func(r *completion) {
				for i := range n {
					r.Commands = append(r.Commands, startTimer(string(rune('a'+i)), 100))
				}
			})
			u := w.update(r, "u")
			task = w.poll()
			resp := w.finish(task, rejectUpdates(task), canDiscard)
			u.get()
			w.note("%d events: reset %d, %s", n, resp.GetResetHistoryEventId(), shapes(w.events(r)[4+n:]))
			if n > 10 {
				is(w, "reset", resp.GetResetHistoryEventId(), 0)
			}
			w.terminate(r)
		}
	})
}

func TestM154_RejectionWithACommandKeepsTheTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		resp := w.finish(task, rejectUpdates(task), commands(startTimer("t", 100)))
		is(w, "reset", resp.GetResetHistoryEventId(), 0)
		u.get()
		w.shape(r, idleShape+secondTask+" TimerStarted")
	})
}

func TestM155_HeartbeatOfASpeculativeTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		m := w.first(task)
		resp := w.finish(task, heartbeat, sendNewTask)
		is(w, "reset", resp.GetResetHistoryEventId(), 0)
		w.shape(r, idleShape+secondTask+" WFTScheduled WFTStarted")
		task = resp.GetWorkflowTask()
		is(w, "messages", len(task.GetMessages()), 0)
		resp = w.finish(task, messages(reject(m)))
		is(w, "reset", resp.GetResetHistoryEventId(), 0)
		u.get()
		w.shape(r, idleShape+secondTask+secondTask)
	})
}

func TestM156_SpeculativeTaskThatFails(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		w.fail(w.poll())
		w.shapeOnly(r)
		task := w.poll()
		w.first(task)
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.shape(r, idleShape+failedShape+secondTask+done)
	})
}

func TestM157_SpeculativeTaskThatTimesOut(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main", func(r *starting) { r.WorkflowTaskTimeout = seconds(1) })
		u := w.update(r, "u")
		task := w.poll()
		w.follow(r, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, 1)
		_, err := w.complete(task, takeUpdates(task))
		w.refused(err, codes.NotFound, taskGone)
		task = w.poll()
		w.first(task)
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.shape(r, idleShape+" WFTScheduled WFTStarted WFTTimedOut"+secondTask+done)
	})
}

func TestM158_SpeculativeTaskOnALeftStickyQueue(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), w.sticky(2))
		w.visitSticky()
		u := w.update(r, "u")
		task := w.poll()
		is(w, "history", w.brief(task.GetHistory().GetEvents()), "1 Started, 2 WFTScheduled, 3 WFTStarted, 4 WFTCompleted, 5 WFTScheduled, 6 WFTTimedOut, 7 WFTScheduled, 8 WFTStarted")
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		events := w.shape(r, idleShape+" WFTScheduled WFTTimedOut"+secondTask+done)
		is(w, "attempt", w.at(events, 6).GetWorkflowTaskScheduledEventAttributes().GetAttempt(), 1)
	})
}

func TestM159_SpeculativeTaskThatNobodyStarts(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		w.follow(r, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, 1)
		w.known(r, "u")
		task := w.poll()
		is(w, "message's place", w.first(task).GetEventId(), 7)
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		events := w.shape(r, idleShape+" WFTScheduled WFTTimedOut"+secondTask+done)
		is(w, "attempt", w.at(events, 6).GetWorkflowTaskScheduledEventAttributes().GetAttempt(), 1)
	})
}

func TestM160_StickyQueueWithoutRecentPoller(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), w.sticky(60))
		w.visitSticky()
		w.pass(11)
		u := w.update(r, "u")
		task := w.poll()
		is(w, "history", shapes(task.GetHistory().GetEvents()), idleShape+" WFTScheduled WFTStarted")
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		w.shape(r, idleShape+secondTask+done)
	})
}

// The queue of a signal's task is another matter: it waits for the sticky timeout.
func TestSpeculativeTaskOnAStickyQueue(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), w.sticky(10))
		w.visitSticky()
		u := w.update(r, "u")
		task := w.pollSticky()
		resp := w.finish(task, rejectUpdates(task), w.sticky(10))
		w.note("reset %d", resp.GetResetHistoryEventId())
		u.get()
		u = w.update(r, "u")
		task = w.pollSticky()
		w.finish(task, takeUpdates(task), w.sticky(10))
		u.get()
		w.history(r)
	})
}

func TestM161_TerminatedDuringASpeculativeTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("scheduled")
		u := w.admitted(r, "u")
		w.terminate(r)
		w.refused(u.get(), codes.NotFound, updateAborted)
		w.shape(r, idleShape+" Terminated")
		r = w.idle("started")
		u = w.update(r, "u")
		task := w.takeUntil(r)
		w.first(task)
		w.terminate(r)
		w.refused(u.get(), codes.NotFound, updateAborted)
		events := w.shape(r, idleShape+failedShape+" Terminated")
		is(w, "cause", w.at(events, 6).GetWorkflowTaskFailedEventAttributes().GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND)
		_, err := w.complete(task, takeUpdates(task))
		w.refused(err, codes.NotFound, "…")
	})
}

func TestM164_StaleCompletionIsToldApart(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		// Two speculative tasks with the same event IDs, one after the other.
		u := w.update(r, "one")
		old := w.poll()
		w.finish(old, rejectUpdates(old))
		u.get()
		u = w.update(r, "two")
		task := w.poll()
		is(w, "started event", task.GetStartedEventId(), old.GetStartedEventId())
		_, err := w.complete(old, rejectUpdates(old))
		w.refused(err, codes.NotFound, taskGone)
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
	})
}

func TestM167_SilenceIsARejection(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		resp := w.finish(w.poll())
		is(w, "reset", resp.GetResetHistoryEventId(), 3)
		outcome := u.updated().GetOutcome()
		is(w, "failure", outcome.GetFailure().GetApplicationFailureInfo().GetType(), "UnprocessedUpdate")
		w.shape(r, idleShape)
	})
}

func TestM168_M169_BadMessagesFailTheTask(t *testing.T) {
	both(t, func(w *world) {
		bad := func(name string, answer func(m *protocolpb.Message) func(*completion)) error {
			w.note("bad: %s", name)
			r := w.idle(name)
			u := w.update(r, "u")
			task := w.takeUntil(r)
			_, err := w.complete(task, answer(w.first(task)))
			is(w, "code", codeOf(err), codes.InvalidArgument)
			u.get()
			events := w.shape(r, idleShape+failedShape+" WFTScheduled")
			is(w, "cause", w.at(events, 6).GetWorkflowTaskFailedEventAttributes().GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE)
			w.terminate(r)
			return err
		}
		send := func(ms ...*protocolpb.Message) func(*completion) { return messages(ms...) }
		bad("accepted twice", func(m *protocolpb.Message) func(*completion) {
			second := accept(m)
			second.Id = "second"
			return send(accept(m), second)
		})
		bad("completed before accepted", func(m *protocolpb.Message) func(*completion) { return send(respond(m)) })
		bad("completed with another ID", func(m *protocolpb.Message) func(*completion) {
			return send(accept(m), respond(m, func(r *updatepb.Response) { r.Meta.UpdateId = "another" }))
		})
		bad("completed without outcome", func(m *protocolpb.Message) func(*completion) {
			return send(accept(m), respond(m, func(r *updatepb.Response) { r.Outcome = nil }))
		})
		bad("accepted without message ID", func(m *protocolpb.Message) func(*completion) {
			return send(accept(m, func(a *updatepb.Acceptance) { a.AcceptedRequestMessageId = "" }))
		})
		bad("accepted without sequencing ID", func(m *protocolpb.Message) func(*completion) {
			return send(accept(m, func(a *updatepb.Acceptance) { a.AcceptedRequestSequencingEventId = 0 }))
		})
		bad("completed twice", func(m *protocolpb.Message) func(*completion) {
			second := respond(m)
			second.Id = "second"
			return send(accept(m), respond(m), second)
		})
		bad("rejected after accepted", func(m *protocolpb.Message) func(*completion) { return send(accept(m), reject(m)) })
		err := bad("command without message ID", func(m *protocolpb.Message) func(*completion) {
			return func(r *completion) { send(accept(m))(r); commands(protocolFor(""))(r) }
		})
		w.refused(err, codes.InvalidArgument, "BadUpdateWorkflowExecutionMessage: MessageID is not set on ProtocolMessageCommand.")
		err = bad("command of an absent message", func(m *protocolpb.Message) func(*completion) {
			return func(r *completion) { send(accept(m))(r); commands(protocolFor("absent"))(r) }
		})
		w.refused(err, codes.InvalidArgument, "BadUpdateWorkflowExecutionMessage: ProtocolMessageCommand referenced absent message ID absent")

	})
}

func TestMessageWithoutBody(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		w.complete(w.poll(), messages(&protocolpb.Message{Id: "x", ProtocolInstanceId: "u"}))
		w.shapeOnly(r)
		w.terminate(r)
		u.wait()
	})
}

func TestM170_BadMessageOnTheSecondAttempt(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main", func(r *starting) { r.WorkflowTaskTimeout = seconds(4) })
		u := w.update(r, "u", waitFor(stageAccepted))
		w.fail(w.poll())
		task := w.poll()
		is(w, "attempt", task.GetAttempt(), 2)
		_, err := w.complete(task, messages(respond(w.first(task))))
		is(w, "code", codeOf(err), codes.InvalidArgument)
		w.shapeOnly(r)
		task = w.poll()
		is(w, "attempt", task.GetAttempt(), 3)
		w.finish(task, takeUpdates(task))
		u.get()
		w.history(r)
	})
}

func TestM171_TooLargeAcceptanceEndsTheRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u", func(r *updating) { r.Request.Input.Args = payloads(big) })
		task := w.poll()
		w.complete(task, acceptUpdates(task))
		u.get()
		w.shape(r, idleShape+failedShape+" Terminated")
	})
}

func TestM172_ServerFailsATaskWithASentUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		sent := w.update(r, "sent")
		task := w.poll()
		waiting := w.admitted(r, "waiting")
		_, err := w.complete(task, commands(startTimer("", 10)))
		is(w, "code", codeOf(err), codes.InvalidArgument)
		w.refused(sent.get(), codes.FailedPrecondition, unexpectedEnd)
		task = w.poll()
		is(w, "message", w.first(task).GetProtocolInstanceId(), "waiting")
		w.finish(task, takeUpdates(task))
		waiting.stage(stageCompleted)
		w.history(r)
	})
}

func TestM173_CloseHeldBackWithASentUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		w.signal(r, "go")
		_, err := w.complete(task, commands(completeWorkflow()))
		w.refused(err, codes.InvalidArgument, unhandled)
		w.refused(u.get(), codes.FailedPrecondition, unexpectedEnd)
		w.shape(r, idleShape+failedShape+" Signaled WFTScheduled")
		w.finish(w.poll(), commands(completeWorkflow()))
		w.shapeOnly(r)
	})
}

// Question j: other mixtures of updates and a close that is held back.
func TestCloseHeldBackAndUpdates(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("accepted with the close")
		u := w.update(r, "u")
		task := w.takeUntil(r)
		w.signal(r, "go")
		w.complete(task, takeUpdates(task), commands(completeWorkflow()))
		u.get()
		w.shapeOnly(r)
		w.finish(w.takeUntil(r), commands(completeWorkflow()))

		r = w.idle("rejected with the close")
		u = w.update(r, "u")
		task = w.takeUntil(r)
		w.signal(r, "go")
		w.complete(task, rejectUpdates(task), commands(completeWorkflow()))
		u.get()
		w.shapeOnly(r)
		w.finish(w.takeUntil(r), commands(completeWorkflow()))

		r = w.idle("admitted during the close")
		w.signal(r, "begin")
		task = w.takeUntil(r)
		u = w.admitted(r, "u")
		w.signal(r, "go")
		w.complete(task, commands(completeWorkflow()))
		w.shapeOnly(r)
		task = w.takeUntil(r)
		w.note("messages of the next task: %d", len(task.GetMessages()))
		w.tryUpdate("v", w.updates(r, "v"))
		w.finish(task, takeUpdates(task), commands(completeWorkflow()))
		u.get()
		w.shapeOnly(r)

		r = w.idle("accepted before the close")
		u = w.update(r, "u")
		task = w.takeUntil(r)
		w.finish(task, acceptUpdates(task))
		w.signal(r, "begin")
		task = w.takeUntil(r)
		w.signal(r, "go")
		w.complete(task, respondUpdate("u"), commands(completeWorkflow()))
		u.waits()
		w.pollUpdate(r, "u", stageUnspecified)
		w.finish(w.takeUntil(r), respondUpdate("u"), commands(completeWorkflow()))
		u.get()
		w.history(r)

		r = w.idle("heartbeat, then close")
		u = w.update(r, "u")
		task = w.takeUntil(r)
		m := w.first(task)
		task = w.finish(task, heartbeat, sendNewTask).GetWorkflowTask()
		w.signal(r, "go")
		a := accept(m)
		w.complete(task, messages(a), commands(protocol(a), completeWorkflow()))
		u.get()
		w.shapeOnly(r)
	})
}

func TestM174_FailedTaskWithTwoUpdates(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		one, two, task := w.twoUpdates(r)
		w.fail(task)
		task = w.poll()
		if len(task.GetMessages()) != 2 {
			w.stop("%d messages", len(task.GetMessages()))
		}
		is(w, "first", task.Messages[0].GetProtocolInstanceId(), "one")
		is(w, "second", task.Messages[1].GetProtocolInstanceId(), "two")
		w.finish(task, takeUpdates(task))
		one.stage(stageCompleted)
		two.stage(stageCompleted)
	})
}

func TestM175_QueryDoesNotMakeASpeculativeTaskNormal(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.admitted(r, "u")
		q := w.query(r, "q")
		q.waits()
		w.pollUpdate(r, "u", stageUnspecified)
		w.describe(r)
		task := w.poll()
		w.pollUpdate(r, "u", stageUnspecified)
		resp := w.finish(task, rejectUpdates(task), answers(task, `"answer"`))
		is(w, "reset", resp.GetResetHistoryEventId(), 3)
		w.fine(u.get())
		w.fine(q.get())
		w.shape(r, idleShape)
	})
}
