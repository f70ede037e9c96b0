package oracle

import (
	"fmt"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/grpc/codes"
)

const (
	useExisting       = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	terminateExisting = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	failOnConflict    = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL

	allowDuplicate           = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	allowDuplicateFailedOnly = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	rejectDuplicate          = enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
)

func conflict(p enumspb.WorkflowIdConflictPolicy) func(*signalStart) {
	return func(r *signalStart) { r.WorkflowIdConflictPolicy = p }
}

func reuse(p enumspb.WorkflowIdReusePolicy) func(*signalStart) {
	return func(r *signalStart) { r.WorkflowIdReusePolicy = p }
}

func signalRequest(id string) func(*signalStart) {
	return func(r *signalStart) { r.RequestId = id }
}

func TestM034_SignalWithStartBeginsARunWithTheSignal(t *testing.T) {
	both(t, func(w *world) {
		r, _ := w.signalWithStart("main", w.signalsWithStart("main", "go", func(r *signalStart) { r.Header = header("k", `"shared"`) }))
		events := w.shape(r, "Started Signaled WFTScheduled")
		is(w, "header of the start", string(w.at(events, 0).GetWorkflowExecutionStartedEventAttributes().GetHeader().GetFields()["k"].GetData()), `"shared"`)
		is(w, "header of the signal", string(w.at(events, 1).GetWorkflowExecutionSignaledEventAttributes().GetHeader().GetFields()["k"].GetData()), `"shared"`)
		w.poll()
	})
}

func TestM035_M036_SignalWithStartOnAnOpenRunIsASignal(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		for range 2 {
			got, err := w.signalWithStart("main", w.signalsWithStart("main", "go", signalRequest("same"), func(r *signalStart) {
				r.Input, r.WorkflowType = payloads(`"other"`), typed("other type")
			}))
			w.fine(err)
			is(w, "run", got, r)
		}
		w.shape(r, idleShape+" Signaled WFTScheduled")
	})
}

func TestM037_ConflictPoliciesOfSignalWithStart(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		_, err := w.signalWithStart("failing", w.signalsWithStart("main", "go", conflict(failOnConflict)))
		w.refused(err, codes.InvalidArgument, "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation.")
		w.shape(r, idleShape)
		fresh, err := w.signalWithStart("fresh", w.signalsWithStart("main", "go", conflict(terminateExisting)))
		w.fine(err)
		w.shape(r, idleShape+" Terminated")
		w.shape(fresh, "Started Signaled WFTScheduled")
		// The old way to say so.
		newer, err := w.signalWithStart("newer", w.signalsWithStart("main", "go", reuse(enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING)))
		w.fine(err)
		w.shape(fresh, "Started Signaled WFTScheduled Terminated")
		w.shape(newer, "Started Signaled WFTScheduled")
		_, err = w.signalWithStart("contradiction", w.signalsWithStart("main", "go", reuse(enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING), conflict(useExisting)))
		w.note("contradiction: %v", err != nil)
		_, err = w.signalWithStart("contradiction", w.signalsWithStart("main", "go", reuse(rejectDuplicate), conflict(terminateExisting)))
		w.note("contradiction: %v", err != nil)
	})
}

func TestM038_ReusePoliciesOfSignalWithStart(t *testing.T) {
	both(t, func(w *world) {
		w.closed("completed")
		r := w.start("failed")
		w.finish(w.poll(), commands(failWorkflow()))
		_, err := w.signalWithStart("rejected", w.signalsWithStart("completed", "go", reuse(rejectDuplicate)))
		is(w, "refusal", codes.AlreadyExists, codeOf(err))
		_, err = w.signalWithStart("rejected", w.signalsWithStart("completed", "go", reuse(allowDuplicateFailedOnly)))
		is(w, "refusal", codes.AlreadyExists, codeOf(err))
		_, err = w.signalWithStart("rejected", w.signalsWithStart("failed", "go", reuse(rejectDuplicate)))
		is(w, "refusal", codes.AlreadyExists, codeOf(err))
		fresh, err := w.signalWithStart("fresh", w.signalsWithStart("failed", "go", reuse(allowDuplicateFailedOnly)))
		w.fine(err)
		w.shape(fresh, "Started Signaled WFTScheduled")
		w.shape(r, idleShape+" Failed")
		another, err := w.signalWithStart("another", w.signalsWithStart("completed", "go"))
		w.fine(err)
		w.shape(another, "Started Signaled WFTScheduled")
	})
}

func TestM039_SignalWithStartWaitsForABackoff(t *testing.T) {
	both(t, func(w *world) {
		cron, err := w.signalWithStart("cron", w.signalsWithStart("cron", "go", func(r *signalStart) {
			r.CronSchedule, r.TaskQueue = "@every 3s", queueNamed(w.queue+"-cron")
		}))
		w.fine(err)
		delayed, err := w.signalWithStart("delayed", w.signalsWithStart("delayed", "go", func(r *signalStart) { r.WorkflowStartDelay = seconds(3) }))
		w.fine(err)
		for _, r := range []run{cron, delayed} {
			w.shape(r, "Started Signaled")
		}
		w.poll()
		w.pollOn(queueNamed(w.queue + "-cron"))
		w.shape(delayed, "Started Signaled WFTScheduled WFTStarted")
	})
}

func TestM040_SignalWithStartEndsAStartDelay(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main", func(r *starting) { r.WorkflowStartDelay = seconds(60) })
		w.signal(r, "early")
		w.shape(r, "Started Signaled")
		_, err := w.signalWithStart("main", w.signalsWithStart("main", "go"))
		w.fine(err)
		w.shape(r, "Started Signaled Signaled WFTScheduled")
		w.poll()
	})
}

// Question i: what else ends a delay, and whether a second delay is asked for in vain.
func TestBackoffAndWhatEndsIt(t *testing.T) {
	both(t, func(w *world) {
		delay := func(r *starting) { r.WorkflowStartDelay = seconds(60) }
		cron := func(r *starting) { r.CronSchedule = "0 0 1 1 *" }
		r := w.start("twice", delay)
		_, err := w.signalWithStart("twice", w.signalsWithStart("twice", "go", func(r *signalStart) { r.WorkflowStartDelay = seconds(60) }))
		w.fine(err)
		w.history(r)
		r = w.start("same request", delay, func(r *starting) { r.RequestId = "same" })
		w.signalWithStart("same request", w.signalsWithStart("same request", "go", signalRequest("same")))
		w.history(r)
		r = w.start("cron", cron)
		w.signal(r, "early")
		w.signalWithStart("cron", w.signalsWithStart("cron", "go"))
		w.signalWithStart("cron", w.signalsWithStart("cron", "more"))
		w.shapeOnly(r)
		r = w.start("cancelled cron", cron)
		w.cancel(r)
		w.cancel(r)
		w.shapeOnly(r)
		r = w.start("cancelled delay", delay)
		w.signal(r, "early")
		w.cancel(r)
		w.signal(r, "late")
		w.history(r)
		r = w.start("updated", delay)
		u := w.admitted(r, "u")
		w.history(r)
		w.terminate(r)
		u.get()
		w.history(r)
		r = w.start("updated, then signalled", delay)
		u = w.admitted(r, "u")
		w.signal(r, "go")
		w.history(r)
		w.cancel(r)
		w.history(r)
		w.terminate(r)
		u.get()
	})
}

// A cron run gets a signal while its last workflow task is under way.
func TestCronRunWithABufferedSignal(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main", func(r *starting) { r.CronSchedule = "@every 2s" })
		task := w.poll()
		w.signal(r, "go")
		w.complete(task, commands(completeWorkflow()))
		w.shapeOnly(r)
		task = w.poll()
		w.finish(task, commands(completeWorkflow()))
		w.shapeOnly(r)
		next := w.successor(r, "next")
		w.signal(r.current(), "for the next")
		w.shapeOnly(next)
		w.refused(w.signal(r, "late"), codes.NotFound, alreadyCompleted)
		w.cancel(r.current())
		w.shapeOnly(next)
	})
}

func TestM041_MalformedSignalWithStartIsRefused(t *testing.T) {
	both(t, func(w *world) {
		long := strings.Repeat("x", 1001)
		refuse := func(text string, change func(*signalStart)) {
			_, err := w.signalWithStart("malformed", w.signalsWithStart("main", "go", change))
			w.refused(err, codes.InvalidArgument, text)
		}
		refuse("…", func(r *signalStart) { r.SignalName = "" })
		refuse("…", func(r *signalStart) { r.SignalName = long })
		refuse("…", func(r *signalStart) { r.WorkflowType = nil })
		refuse("…", func(r *signalStart) { r.TaskQueue = nil })
		refuse("…", func(r *signalStart) { r.TaskQueue = queueNamed("") })
		refuse("…", func(r *signalStart) { r.WorkflowId = "" })
		refuse("…", func(r *signalStart) { r.WorkflowId = long })
		refuse("…", func(r *signalStart) { r.WorkflowType = typed(long) })
		refuse("…", func(r *signalStart) { r.RequestId = long })
		refuse("…", func(r *signalStart) { r.WorkflowRunTimeout = seconds(-1) })
		refuse("…", func(r *signalStart) { r.WorkflowTaskTimeout = seconds(-1) })
		refuse("…", func(r *signalStart) { r.WorkflowExecutionTimeout = seconds(-1) })
		refuse("…", func(r *signalStart) { r.WorkflowStartDelay = seconds(-1) })
		refuse("…", func(r *signalStart) { r.CronSchedule = "no cron" })
		refuse("…", func(r *signalStart) { r.CronSchedule, r.WorkflowStartDelay = "@every 3s", seconds(3) })
		refuse("…", func(r *signalStart) { r.SignalInput = payloads(big) })
		refuse("…", func(r *signalStart) { r.Input = payloads(big) })
	})
}

// Question f, for a plain start: its texts are others.
func TestMalformedStartsAreRefused(t *testing.T) {
	both(t, func(w *world) {
		long := strings.Repeat("x", 1001)
		refuse := func(change func(*starting)) {
			_, err := w.tryStart("malformed", w.starts("main", change))
			is(w, "code", codeOf(err), codes.InvalidArgument)
		}
		refuse(func(r *starting) { r.WorkflowType = nil })
		refuse(func(r *starting) { r.TaskQueue = nil })
		refuse(func(r *starting) { r.TaskQueue = queueNamed("") })
		refuse(func(r *starting) { r.WorkflowId = "" })
		refuse(func(r *starting) { r.WorkflowId = long })
		refuse(func(r *starting) { r.WorkflowType = typed(long) })
		refuse(func(r *starting) { r.TaskQueue = queueNamed(long) })
		refuse(func(r *starting) { r.RequestId = long })
		refuse(func(r *starting) { r.WorkflowRunTimeout = seconds(-1) })
		refuse(func(r *starting) { r.WorkflowTaskTimeout = seconds(-1) })
		refuse(func(r *starting) { r.WorkflowExecutionTimeout = seconds(-1) })
		refuse(func(r *starting) { r.WorkflowStartDelay = seconds(-1) })
		refuse(func(r *starting) { r.CronSchedule = "no cron" })
		refuse(func(r *starting) { r.CronSchedule, r.WorkflowStartDelay = "@every 3s", seconds(3) })
		refuse(func(r *starting) { r.Input = payloads(big) })
		refuse(func(r *starting) { r.Namespace = "" })
	})
}

// M042, whose limit of signals refuses for now here, and not for good.
func TestSignalWithStartMeetsTheLimitsOfTheRun(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.start("closing")
		task := w.poll()
		w.fine(w.signal(r, "one", requestID("one")))
		_, err := w.complete(task, commands(completeWorkflow()))
		w.refused(err, codes.InvalidArgument, unhandled)
		task = w.poll()
		_, err = w.signalWithStart("closing", w.signalsWithStart("closing", "two"))
		w.refused(err, codes.ResourceExhausted, isClosing)
		_, err = w.signalWithStart("closing", w.signalsWithStart("closing", "one", signalRequest("one")))
		w.refused(err, codes.ResourceExhausted, isClosing)
		w.finish(task, commands(completeWorkflow()))
		w.history(r)

		r = w.start("full")
		for i := range 5 {
			w.fine(w.signal(r, "go", requestID(fmt.Sprint(i))))
		}
		w.signalWithStart("full", w.signalsWithStart("full", "more"))
		w.signalWithStart("full", w.signalsWithStart("full", "go", signalRequest("2")))
	})
}

// Question h: what a request ID means to later calls.
func TestRequestIDsOfSignalWithStart(t *testing.T) {
	both(t, func(w *world) {
		r, _ := w.signalWithStart("main", w.signalsWithStart("main", "go", signalRequest("same")))
		w.signalWithStart("main", w.signalsWithStart("main", "go", signalRequest("same")))
		w.signalWithStart("main", w.signalsWithStart("main", "another name", signalRequest("same")))
		w.signal(r, "plain", requestID("same"))
		w.tryStart("main", w.starts("main", func(r *starting) { r.RequestId = "same" }))
		w.history(r)
		// A start's request ID is no signal's.
		r = w.start("started", func(r *starting) { r.RequestId = "start" })
		w.signalWithStart("started", w.signalsWithStart("started", "go", signalRequest("start")))
		w.history(r)
		// A signal's request ID is known to it.
		r = w.start("signalled")
		w.signal(r, "go", requestID("signal"))
		w.signalWithStart("signalled", w.signalsWithStart("signalled", "go", signalRequest("signal")))
		w.history(r)
	})
}

func TestSignalWithStartAgainAfterTheRunClosed(t *testing.T) {
	both(t, func(w *world) {
		w.signalWithStart("main", w.signalsWithStart("main", "go", signalRequest("same")))
		w.finish(w.poll(), commands(completeWorkflow()))
		w.signalWithStart("main again", w.signalsWithStart("main", "go", signalRequest("same")))
		w.signalWithStart("main again", w.signalsWithStart("main", "go", signalRequest("same"), reuse(rejectDuplicate)))
	})
}

func TestSignalWithStartAgainUnderTerminateExisting(t *testing.T) {
	both(t, func(w *world) {
		r, _ := w.signalWithStart("main", w.signalsWithStart("main", "go", signalRequest("same"), conflict(terminateExisting)))
		w.signalWithStart("again", w.signalsWithStart("main", "go", signalRequest("same"), conflict(terminateExisting)))
		w.shapeOnly(r)
	})
}

func TestSignalWithStartAgainAfterTheRunContinued(t *testing.T) {
	both(t, func(w *world) {
		r, _ := w.signalWithStart("main", w.signalsWithStart("main", "go", signalRequest("same")))
		w.finish(w.poll(), commands(w.continueAsNew()))
		next := w.successor(r, "next")
		w.signalWithStart("next", w.signalsWithStart("main", "go", signalRequest("same")))
		w.shapeOnly(next)
	})
}

func TestRequestIDsOfStart(t *testing.T) {
	both(t, func(w *world) {
		same := func(r *starting) { r.RequestId = "same" }
		r := w.start("main", same)
		w.tryStart("main", w.starts("main", same))
		w.tryStart("main", w.starts("main", same, func(r *starting) { r.WorkflowType = typed("another type") }))
		w.tryStart("main", w.starts("main"))
		w.tryStart("main", w.starts("main", same, func(r *starting) { r.WorkflowIdConflictPolicy = terminateExisting }))
		w.tryStart("main", w.starts("main", func(r *starting) { r.WorkflowIdConflictPolicy = useExisting }))
		w.tryStart("main", w.starts("main", same, func(r *starting) { r.WorkflowIdConflictPolicy = useExisting }))
		w.history(r)
		w.finish(w.poll(), commands(completeWorkflow()))
		// After the run closed the request still is the one that started it.
		w.tryStart("main again", w.starts("main", same))
		w.tryStart("main again", w.starts("main", same, func(r *starting) { r.WorkflowIdReusePolicy = rejectDuplicate }))
		w.tryStart("main again", w.starts("main", same, func(r *starting) { r.WorkflowIdReusePolicy = allowDuplicateFailedOnly }))
		w.tryStart("main again", w.starts("main", func(r *starting) { r.WorkflowIdReusePolicy = rejectDuplicate }))
		// After continue-as-new.
		r = w.start("continued", same)
		w.finish(w.takeUntil(r), commands(w.continueAsNew()))
		w.successor(r, "next")
		w.tryStart("continued", w.starts("continued", same))
		// A start attached to an open run by USE_EXISTING, repeated after it closed.
		r = w.start("attached")
		w.tryStart("attached", w.starts("attached", same, func(r *starting) { r.WorkflowIdConflictPolicy = useExisting }))
		w.terminate(r)
		w.tryStart("attached again", w.starts("attached", same, func(r *starting) { r.WorkflowIdConflictPolicy = useExisting }))
		// A generated one.
		w.tryStart("empty", w.starts("empty", func(r *starting) { r.RequestId = "" }))
	})
}
