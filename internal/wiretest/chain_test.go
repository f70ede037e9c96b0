package wiretest

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A message that is sent again after its run was succeeded by another is not applied again; see docs/adr/0007.

// forgetful is how the reference behaves: each run knows its own messages only.
func forgetful(l *limits) { l.ForgetRuns = true }

// hops are the ways in which one run of a workflow ID takes the place of another. Each leaves the new one idle.
var hops = []struct {
	name  string
	start func(*startRequest)
	hop   func(r *rig)
}{
	{"continue-as-new", nil, func(r *rig) {
		r.takeNext().complete(continueAsNew())
		r.take().complete()
	}},
	{"retry", func(s *startRequest) {
		s.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: durationpb.New(time.Second), MaximumAttempts: 5}
	}, func(r *rig) {
		r.takeNext().complete(failRun(application("again")))
		r.take().complete()
	}},
	{"cron", func(s *startRequest) { s.CronSchedule = "* * * * *" }, func(r *rig) {
		r.takeNext().complete(completeRun("1"))
		r.pass(time.Minute)
		r.take().complete()
	}},
	{"close and another start", nil, func(r *rig) {
		r.terminate("w")
		r.anotherRun("w")
	}},
	{"start that terminates", nil, func(r *rig) {
		r.start("w", func(s *startRequest) {
			s.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
			s.RequestId = "another start"
		})
		r.take().complete()
	}},
	{"reset to before the message, without it", nil, func(r *rig) {
		must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", "", 4, func(q *workflowservice.ResetWorkflowExecutionRequest) {
			q.ResetReapplyType = enumspb.RESET_REAPPLY_TYPE_NONE
		}))
		r.take().complete()
	}},
	{"two continue-as-new", nil, func(r *rig) {
		r.takeNext().complete(continueAsNew())
		r.take().complete(continueAsNew())
		r.take().complete()
	}},
}

// anotherRun is an idle run started by a request of its own.
func (r *rig) anotherRun(id string) string {
	r.t.Helper()
	run := r.start(id, func(s *startRequest) { s.RequestId = "another start" })
	r.take().complete()
	return run
}

// takeNext is the run's next workflow task, which a signal calls for.
func (r *rig) takeNext() *task {
	r.t.Helper()
	r.signal("w", "go on")
	return r.take()
}

// eachHop runs a test for each hop, with the server as it is and with one that was restarted after the hop.
func eachHop(t *testing.T, before, after func(r *rig)) {
	for _, h := range hops {
		for _, restarted := range []bool{false, true} {
			name := h.name
			if restarted {
				name += ", restarted"
			}
			t.Run(name, func(t *testing.T) {
				bubble(t, func(r *rig) {
					if h.start != nil {
						r.start("w", h.start)
						r.pass(time.Minute) // of backoff
						r.take().complete()
					} else {
						r.idleRun("w")
					}
					before(r)
					h.hop(r)
					if restarted {
						r.restart()
					}
					after(r)
				})
			})
		}
	}
}

func TestSignalIsAppliedOnceAlongTheChain(t *testing.T) {
	eachHop(t, func(r *rig) {
		r.ok(r.trySignal("w", "", "s", "once"))
		r.take().complete()
	}, func(r *rig) {
		was := list(r.stored("w", ""))
		r.ok(r.trySignal("w", "", "s", "once"))
		is(r, "history", list(r.stored("w", "")), was)
		r.idle()
		r.ok(r.trySignal("w", "", "s", "another"))
		last(r, r.stored("w", "")[:len(r.stored("w", ""))-1], "Signaled")
	})
}

func TestUpdateIsAppliedOnceAlongTheChain(t *testing.T) {
	eachHop(t, func(r *rig) {
		u := r.updates("w", "once")
		k := r.take()
		k.say(k.acceptAndComplete("first"))
		u.get()
	}, func(r *rig) {
		was := list(r.stored("w", ""))
		got := must[*updateResponse](r)(r.UpdateWorkflowExecution(r.ctx, updateOf("w", "once")))
		r.same(got.Outcome.GetSuccess(), text("first"))
		polled := must[*workflowservice.PollWorkflowExecutionUpdateResponse](r)(r.pollUpdate("w", "", "once", completed))
		r.same(polled.Outcome.GetSuccess(), text("first"))
		is(r, "run", polled.UpdateRef.WorkflowExecution.RunId, got.UpdateRef.WorkflowExecution.RunId)
		is(r, "history", list(r.stored("w", "")), was)
		r.idle()
	})
}

// A reset admits the updates of its base run again. One that ends before it has accepted them knows nothing of them, and does not stand
// before the run that has completed them.
func TestAnUpdateIsAppliedOnceThoughAResetAdmittedItAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "once")
		k := r.take()
		k.say(k.acceptAndComplete("first"))
		u.get()
		must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", "", 4))
		last(r, r.stored("w", ""), "UpdateAdmitted")
		r.terminate("w")
		r.anotherRun("w")
		got := must[*updateResponse](r)(r.UpdateWorkflowExecution(r.ctx, updateOf("w", "once")))
		r.same(got.Outcome.GetSuccess(), text("first"))
	})
}

func TestStartIsAppliedOnceAlongTheChain(t *testing.T) {
	eachHop(t, func(r *rig) {
		r.ok(r.trySignal("w", "", "first run", ""))
		r.take().complete()
	}, func(r *rig) {
		now := r.current("w")
		again := must[*workflowservice.StartWorkflowExecutionResponse](r)(r.StartWorkflowExecution(r.ctx, startOf("w")))
		is(r, "started", again.Started, true)
		if again.RunId == now && started(r.stored("w", now)).OriginalExecutionRunId != now {
			return // a reset run stands for the one it was made of, its start's request included
		}
		if again.RunId == now {
			r.t.Error("the start is said to have made the current run")
		}
		first := r.stored("w", again.RunId)[4].GetWorkflowExecutionSignaledEventAttributes()
		is(r, "signal of the run", first.GetSignalName(), "first run")
		is(r, "current run", r.current("w"), now)
	})
}

func TestUpdateAcceptedByAnEarlierRunIsNotAppliedAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		k.say([]*protocolpb.Message{k.accept()}, continueAsNew())
		is(r, "failure", u.get().Outcome.GetFailure().GetApplicationFailureInfo().GetType(), "AcceptedUpdateCompletedWorkflow")
		r.take().complete()
		again := must[*updateResponse](r)(r.UpdateWorkflowExecution(r.ctx, updateOf("w", "u")))
		is(r, "failure", again.Outcome.GetFailure().GetApplicationFailureInfo().GetType(), "AcceptedUpdateCompletedWorkflow")
		r.idle()
	})
}

func TestMessageThatNamesItsRunIsBetweenThem(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		r.ok(r.trySignal("w", "", "s", "x"))
		r.take().complete(continueAsNew())
		run := r.current("w")
		r.ok(r.trySignal("w", run, "s", "x"))
		r.history("w", run, "Started Signaled")
	})
}

func TestUpdatePinnedToAnotherChainIsNew(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "approve")
		k := r.take()
		k.say(k.acceptAndComplete("first"), completeRun("1"))
		u.get()
		chain := r.anotherRun("w")
		u = r.updates("w", "approve", func(q *updateRequest) { q.FirstExecutionRunId = chain })
		k = r.take()
		k.say(k.acceptAndComplete("second"))
		r.same(u.get().Outcome.GetSuccess(), text("second"))
	})
}

func TestUpdateWithStartIsAppliedOnceAlongTheChain(t *testing.T) {
	bubble(t, func(r *rig) {
		u := r.updateWithStart("w", "request", "u")
		k := r.take()
		k.say(k.acceptAndComplete("first"), completeRun("1"))
		start, _ := parts(u.get())
		run := start.RunId
		r.anotherRun("w")
		now := r.current("w")
		start, update := parts(r.updateWithStart("w", "request", "u").get())
		is(r, "run", start.RunId, run)
		r.same(update.Outcome.GetSuccess(), text("first"))
		is(r, "current run", r.current("w"), now)

		// The same start with an update that its run did not take: the run it started is closed.
		err := r.updateWithStart("w", "request", "u2").failed()
		r.refused(err, codes.NotFound, "Update-with-Start could not be executed.")
		is(r, "current run", r.current("w"), now)
	})
}

func TestUpdateWithStartGoesOnWhereItsChainHasCome(t *testing.T) {
	bubble(t, func(r *rig) {
		u := r.updateWithStart("w", "request", "u")
		k := r.take()
		k.say([]*protocolpb.Message{k.reject()}, continueAsNew())
		u.get()
		now := r.current("w")
		r.take().complete()
		u = r.updateWithStart("w", "request", "u2")
		k = r.take()
		k.say(k.acceptAndComplete("second"))
		start, update := parts(u.get())
		is(r, "run", start.RunId, now)
		is(r, "started", start.Started, true)
		r.same(update.Outcome.GetSuccess(), text("second"))
	})
}

func TestM007_ForgetfulServerTakesASignalOncePerRun(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		r.ok(r.trySignal("w", "", "s", "x"))
		r.take().complete(continueAsNew())
		r.ok(r.trySignal("w", "", "s", "x"))
		r.history("w", "", "Started Signaled")
	}, forgetful)
}

func TestMessagesAreForgottenWithTheirRun(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.idleRun("w")
		r.ok(r.trySignal("w", "", "s", "x"))
		r.take().complete(completeRun("1"))
		r.pass(time.Hour)
		r.anotherRun("w")
		r.pass(100 * time.Hour) // retention of the first run is over, the second is open
		_, err := r.DescribeWorkflowExecution(r.ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: ns, Execution: wf("w", old)})
		r.refused(err, codes.NotFound, "workflow execution not found…")
		r.ok(r.trySignal("w", "", "s", "x"))
		r.history("w", "", idleHistory+"Signaled WFTScheduled")
		r.take().complete()
	})
}

func TestM056_DeliveredAgainASignalIsOneEvent(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("target")
		r.start("w")
		r.take().complete(signalExternal("target", "s"))
		k := r.take()
		for k.WorkflowExecution.WorkflowId != "target" {
			k.complete()
			k = r.take()
		}
		signaled := r.stored("target", "")[4].GetWorkflowExecutionSignaledEventAttributes()
		k.complete(continueAsNew())
		r.settle()
		was := list(r.stored("target", ""))
		// The same delivery, as a server repeats it that went down before it heard of its success.
		r.ok(r.trySignal("target", "", "s", signaled.RequestId))
		is(r, "history", list(r.stored("target", "")), was)
	})
}

func TestSignalWithStartIsAppliedOnceAlongTheChain(t *testing.T) {
	eachHop(t, func(r *rig) {
		must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "once"))
		r.take().complete()
	}, func(r *rig) {
		now, was := r.current("w"), list(r.stored("w", ""))
		must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "once"))
		r.ok(r.trySignal("w", "", "s", "once"))
		is(r, "current run", r.current("w"), now)
		is(r, "history", list(r.stored("w", "")), was)
	})
}

func TestSignalThatCameWithTheStartIsAppliedOnceAfterAReset(t *testing.T) {
	bubble(t, func(r *rig) {
		must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "once"))
		r.take().complete()
		must[*workflowservice.ResetWorkflowExecutionResponse](r)(r.reset("w", "", 5))
		was := list(r.stored("w", ""))
		must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "once"))
		r.ok(r.trySignal("w", "", "s", "once"))
		is(r, "history", list(r.stored("w", "")), was)
	})
}

func TestRepeatedSignalWithStartIsKnownAtALimit(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "once"))
		must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "once"))
		_, err := r.signalWithStart("w", "more")
		r.refused(err, codes.ResourceExhausted, "the workflow takes no more messages for now: it has taken 1 signals, which is its limit")
	}, func(l *limits) { l.Signals = 1 })
}

func TestSignalOfAWorkflowToOneThatIsFullFails(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("target")
		r.signal("target", "one")
		r.take().complete()
		r.start("w")
		r.take().complete(signalExternal("target", "two"))
		r.settle()
		failed := last(r, r.stored("w", "")[:len(r.stored("w", ""))-1], "SignalExternalFailed").GetSignalExternalWorkflowExecutionFailedEventAttributes()
		is(r, "cause", failed.Cause, enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED)
	}, func(l *limits) { l.Signals = 1 })
}

func TestRefusedUpdateWithStartIsNoted(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		u := r.updates("w", "u")
		k := r.take()
		k.say(k.acceptAndComplete("done"))
		u.get()
		err := r.updateWithStart("w", "request", "more").failed()
		r.refused(err, codes.ResourceExhausted, "Update-with-Start could not be executed.")
		r.ledger("w", "update set: refused", "update set: received delivered accepted completed")
		r.says(r.why("w"), "! limit: Updates to it are refused for now, until it continues as new: it has taken 1 updates, which is its limit.")
	}, func(l *limits) { l.UpdatesTotal = 1 })
}
