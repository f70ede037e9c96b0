package oracle

import (
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
)

const (
	externalSignaled  = enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED
	signalFailed      = enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
	cancelFailed      = enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
	externalCancelled = enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED
)

// target starts a run that somebody else's signal or cancel can reach; nobody takes its tasks.
func (w *world) target(part string, with ...func(*starting)) run {
	return w.start(part, append(with, func(r *starting) { r.TaskQueue = queueNamed(w.queue + "-targets") })...)
}

func TestM044_ExternalSignalReachesItsTarget(t *testing.T) {
	both(t, func(w *world) {
		target := w.target("target")
		r := w.start("main")
		w.finish(w.poll(), commands(signalExternal(target.current(), "go")))
		w.follow(r, externalSignaled, 1)
		w.shape(r, idleShape+" SignalExternalWorkflowExecutionInitiated ExternalWorkflowExecutionSignaled WFTScheduled")
		a := w.at(w.shape(target, "Started WFTScheduled Signaled"), 2).GetWorkflowExecutionSignaledEventAttributes()
		is(w, "identity", a.GetIdentity(), "history-service")
		is(w, "sender", a.GetExternalWorkflowExecution().GetRunId(), r.runID)
	})
}

func TestM045_ExternalSignalToTheCurrentRunOrAClosedOne(t *testing.T) {
	both(t, func(w *world) {
		first := w.start("target")
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		w.poll()
		r := w.start("main")
		w.finish(w.takeUntil(r), commands(signalExternal(first.current(), "current")))
		w.follow(r, externalSignaled, 1)
		w.finish(w.takeUntil(r), commands(signalExternal(first, "closed")))
		events := w.follow(r, signalFailed, 1)
		w.history(r)
		w.history(second)
		is(w, "cause", last(events, signalFailed).GetSignalExternalWorkflowExecutionFailedEventAttributes().GetCause(), notFound)
	})
}

const notFound = enumspb.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND

func TestExternalSignalToNobodyFails(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		closed := w.closed("closed")
		r := w.start("main")
		targets := []run{{w.id("none"), ""}, {w.id("none"), nowhere}, closed, closed.current(), r.current(), r}
		for i, target := range targets {
			w.finish(w.poll(), commands(signalExternal(target, "go")))
			events := w.follow(r, signalFailed, i+1)
			a := last(events, signalFailed).GetSignalExternalWorkflowExecutionFailedEventAttributes()
			is(w, "cause", a.GetCause(), notFound)
			is(w, "completed event", a.GetWorkflowTaskCompletedEventId(), 0)
		}
		w.history(r)
	})
}

func TestM048_ChildOnlySignals(t *testing.T) {
	both(t, func(w *world) {
		stranger := w.target("stranger")
		childOnly := func(a *externalSignal) { a.ChildWorkflowOnly = true }
		r := w.start("main")
		w.finish(w.poll(), commands(w.startChild("child")))
		w.follow(r, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED, 1)
		child := run{id: w.id("child")}
		w.finish(w.poll(), commands(signalExternal(child, "before", childOnly)))
		w.follow(r, externalSignaled, 1)
		task := w.pollOn(queueNamed(w.queue + "-child"))
		first := run{child.id, task.GetWorkflowExecution().GetRunId()}
		w.finish(task, commands(w.continueOn(w.queue+"-child")))
		w.finish(w.takeUntil(r), commands(signalExternal(child, "after", childOnly)))
		w.follow(r, externalSignaled, 2)
		w.finish(w.takeUntil(r), commands(signalExternal(stranger.current(), "stranger", childOnly)))
		w.follow(r, signalFailed, 1)
		w.finish(w.takeUntil(r), commands(signalExternal(first, "the closed run", childOnly)))
		w.follow(r, signalFailed, 2)
		w.history(r)
		w.history(first)
		w.history(w.successor(first, "child's second"))
		w.shape(stranger, "Started WFTScheduled")
	})
}

// What M049 says of the reference is not so here: at the limit a signal waits until the target takes signals again.
func TestExternalSignalOverTheTargetsLimit(t *testing.T) {
	bothTight(t, func(w *world) {
		target := w.target("target")
		for range 5 {
			w.fine(w.quietSignal(target, "go"))
		}
		r := w.start("main")
		w.finish(w.poll(), commands(signalExternal(target.current(), "go")))
		w.pass(2)
		w.history(r)
	})
}

// badCommand completes the first task of a new run with a command that fails the task.
func (w *world) badCommand(part string, cs ...*commandpb.Command) {
	r := w.start(part)
	w.complete(w.takeUntil(r), commands(cs...))
	w.history(r)
	w.terminate(r)
}

func TestM050_MalformedExternalSignalsFailTheTask(t *testing.T) {
	both(t, func(w *world) {
		good := w.target("target").current()
		w.badCommand("no attributes", &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION})
		w.badCommand("no execution", signalExternal(good, "go", func(a *externalSignal) { a.Execution = nil }))
		w.badCommand("no workflow ID", signalExternal(run{}, "go"))
		w.badCommand("no name", signalExternal(good, ""))
		w.badCommand("no UUID", signalExternal(run{good.id, "no UUID"}, "go"))
		w.badCommand("long ID", signalExternal(run{id: strings.Repeat("x", 1001)}, "go"))
	})
}

// The name of a command's signal may be longer than that of a client's.
func TestLongNameOfAnExternalSignal(t *testing.T) {
	both(t, func(w *world) {
		target := w.target("target")
		r := w.start("main")
		_, err := w.complete(w.poll(), commands(signalExternal(target.current(), strings.Repeat("x", 1001))))
		if err == nil {
			w.follow(r, externalSignaled, 1)
		}
		w.shapeOnly(r)
	})
}

func TestM051_ExternalSignalStaysInItsNamespace(t *testing.T) {
	both(t, func(w *world) {
		good := w.target("target").current()
		w.badCommand("other", signalExternal(good, "go", func(a *externalSignal) { a.Namespace = otherNamespace }))
		w.badCommand("unknown", signalExternal(good, "go", func(a *externalSignal) { a.Namespace = "no such namespace" }))
		r := w.start("own")
		w.finish(w.takeUntil(r), commands(signalExternal(good, "go", func(a *externalSignal) { a.Namespace = namespace })))
		w.follow(r, externalSignaled, 1)
		w.history(r)
	})
}

func TestM052_TooLargeExternalSignalEndsTheRun(t *testing.T) {
	both(t, func(w *world) {
		good := w.target("target").current()
		w.badCommand("main", startTimer("t", 10), signalExternal(good, "go", func(a *externalSignal) { a.Input = payloads(big) }))
	})
}

func TestM053_M068_PendingExternalCommandsAreLimited(t *testing.T) {
	bothTight(t, func(w *world) {
		good := w.target("target").current()
		one, cancel := signalExternal(good, "go"), cancelExternal(good)
		w.badCommand("signals", one, one, one, one)
		w.badCommand("cancels", cancel, cancel, cancel, cancel)
		r := w.start("as many as it may")
		w.finish(w.takeUntil(r), commands(one, one, one))
		w.follow(r, externalSignaled, 3)
	})
}

func TestHeaderOfAnExternalSignalArrives(t *testing.T) {
	both(t, func(w *world) {
		target := w.target("target")
		r := w.start("main")
		w.finish(w.poll(), commands(signalExternal(target.current(), "go")))
		w.follow(r, externalSignaled, 1)
		a := w.at(w.history(target), 2).GetWorkflowExecutionSignaledEventAttributes()
		is(w, "header", string(a.GetHeader().GetFields()["h"].GetData()), `"external"`)
	})
}

func TestM064_ExternalCancelReachesItsTarget(t *testing.T) {
	both(t, func(w *world) {
		target := w.target("target")
		r := w.start("main")
		w.finish(w.poll(), commands(cancelExternal(target.current())))
		w.follow(r, externalCancelled, 1)
		w.shape(r, idleShape+" RequestCancelExternalWorkflowExecutionInitiated ExternalWorkflowExecutionCancelRequested WFTScheduled")
		a := w.at(w.shape(target, "Started WFTScheduled CancelRequested"), 2).GetWorkflowExecutionCancelRequestedEventAttributes()
		is(w, "initiated event", a.GetExternalInitiatedEventId(), 5)
		is(w, "sender", a.GetExternalWorkflowExecution().GetRunId(), r.runID)
	})
}

func TestM065_ExternalCancelOfWhatIsCancelledOrClosedSucceeds(t *testing.T) {
	both(t, func(w *world) {
		target := w.target("target")
		w.cancel(target)
		closed := w.closed("closed")
		r := w.start("main")
		w.finish(w.poll(), commands(cancelExternal(target.current())))
		w.follow(r, externalCancelled, 1)
		w.finish(w.poll(), commands(cancelExternal(closed)))
		w.follow(r, externalCancelled, 2)
		w.history(r)
		w.shape(target, "Started WFTScheduled CancelRequested")
		w.shape(closed, idleShape+" Completed")
	})
}

func TestExternalCancelOfNobodyFails(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		stranger := w.target("stranger")
		r := w.start("main")
		childOnly := func(a *externalCancel) { a.ChildWorkflowOnly = true }
		for i, c := range []*commandpb.Command{
			cancelExternal(run{id: w.id("none")}), cancelExternal(run{w.id("none"), nowhere}), cancelExternal(run{stranger.id, nowhere}),
			cancelExternal(r), cancelExternal(r.current()), cancelExternal(stranger.current(), childOnly),
		} {
			w.finish(w.poll(), commands(c))
			events := w.follow(r, cancelFailed, i+1)
			is(w, "cause", last(events, cancelFailed).GetRequestCancelExternalWorkflowExecutionFailedEventAttributes().GetCause(),
				enumspb.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND)
		}
		w.history(r)
		w.shape(stranger, "Started WFTScheduled")
	})
}

func TestM067_CancelOfAChildStartedInTheSameTaskFailsTheTask(t *testing.T) {
	both(t, func(w *world) {
		w.badCommand("main", w.startChild("child"), cancelExternal(run{id: w.id("child")}, func(a *externalCancel) { a.ChildWorkflowOnly = true }))
		w.badCommand("not child only", w.startChild("child"), cancelExternal(run{id: w.id("child")}))
		w.badCommand("no workflow ID", cancelExternal(run{}))
		w.badCommand("no UUID", cancelExternal(run{w.id("child"), "no UUID"}))
		w.badCommand("no attributes", &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION})
		w.badCommand("other namespace", cancelExternal(run{id: w.id("child")}, func(a *externalCancel) { a.Namespace = otherNamespace }))
	})
}

// The answer to an external signal comes while a task is under way, and the run closes.
func TestExternalAnswerHoldsBackTheClose(t *testing.T) {
	both(t, func(w *world) {
		target := w.target("target")
		r := w.start("main")
		task := w.poll()
		w.signal(r, "again")
		w.finish(task, commands(signalExternal(target.current(), "go")))
		task = w.poll()
		w.follow(target, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, 1)
		w.pass(1.5)
		w.complete(task, commands(completeWorkflow()))
		w.pass(1.5)
		w.shapeOnly(r)
	})
}
