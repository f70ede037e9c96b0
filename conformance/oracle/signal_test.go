package oracle

import (
	"fmt"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/grpc/codes"
)

const (
	alreadyCompleted = "workflow execution already completed"
	isClosing        = "workflow operation can not be applied because workflow is closing"
	blobTooLarge     = "Blob data size exceeds limit."
	unhandled        = "UnhandledCommand"

	idleShape = "Started WFTScheduled WFTStarted WFTCompleted"
)

func TestM001_SignalToAnIdleRunSchedulesATask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.fine(w.signal(r, "go"))
		w.shape(r, idleShape+" Signaled WFTScheduled")
		w.poll()
	})
}

func TestM002_SignalBeforeTheFirstTaskStartsAddsNoTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.fine(w.signal(r, "go"))
		w.shape(r, "Started WFTScheduled Signaled")
		w.poll()
		w.shape(r, "Started WFTScheduled Signaled WFTStarted")
	})
}

func TestM003_SignalDuringATaskWaitsForItsEnd(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("completed")
		task := w.poll()
		w.fine(w.signal(r, "go"))
		w.shape(r, "Started WFTScheduled WFTStarted")
		w.finish(task)
		w.shape(r, idleShape+" Signaled WFTScheduled")
		// The same behind a task that fails.
		task = w.poll()
		w.fine(w.signal(r, "more"))
		w.shape(r, idleShape+" Signaled WFTScheduled WFTStarted")
		w.fine(w.fail(task))
		w.shape(r, idleShape+" Signaled WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled")
	})
}

func TestM004_SignaledCarriesWhatWasSent(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.fine(w.signal(r, "go", requestID("the request"), func(r *signalling) {
			r.Header, r.Identity, r.Input = header("k", `"v"`), "somebody", payloads(`1`, `"two"`, `{"three":3}`)
		}))
		a := w.at(w.history(r), 4).GetWorkflowExecutionSignaledEventAttributes()
		is(w, "name", a.GetSignalName(), "go")
		is(w, "identity", a.GetIdentity(), "somebody")
		is(w, "request ID", a.GetRequestId(), "the request")
		is(w, "header", string(a.GetHeader().GetFields()["k"].GetData()), `"v"`)
		is(w, "inputs", len(a.GetInput().GetPayloads()), 3)
		is(w, "input", string(a.GetInput().GetPayloads()[2].GetData()), `{"three":3}`)
	})
}

func TestM005_M006_RequestIDIsRecordedOncePerRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.fine(w.signal(r, "go", requestID("same")))
		w.fine(w.signal(r, "go", requestID("same")))
		w.fine(w.signal(r, "another name", requestID("same")))
		w.shape(r, idleShape+" Signaled WFTScheduled")
		w.finish(w.poll(), commands(completeWorkflow()))
		w.fine(w.signal(r, "go", requestID("same")))
		w.fine(w.signal(r.current(), "go", requestID("same")))
		w.shape(r, idleShape+" Signaled WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

// What M007 says of the reference is not so here: a request ID is remembered across the runs of a workflow.
func TestRequestIDOfAnEarlierRun(t *testing.T) {
	both(t, func(w *world) {
		first := w.idle("main")
		w.fine(w.signal(first, "go", requestID("same")))
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		w.fine(w.signal(first.current(), "go", requestID("same")))
		w.history(second)
		w.terminate(second)
		third := w.start("main")
		w.fine(w.signal(third.current(), "go", requestID("same")))
		w.history(third)
	})
}

func TestM008_EmptyRequestIDIsNoRequestID(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.fine(w.signal(r, "go", requestID("")))
		w.fine(w.signal(r, "go", requestID("")))
		w.shape(r, idleShape+" Signaled WFTScheduled Signaled")
	})
}

func TestM009_SignalToAClosedRunIsNotFound(t *testing.T) {
	both(t, func(w *world) {
		r := w.closed("main")
		w.refused(w.signal(r, "go"), codes.NotFound, alreadyCompleted)
		w.refused(w.signal(r.current(), "go"), codes.NotFound, alreadyCompleted)
	})
}

const nowhere = "00000000-1111-4222-8333-444444444444"

func TestM010_SignalToAnUnknownWorkflowIsNotFound(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		w.refused(w.signal(run{w.id("none"), ""}, "go"), codes.NotFound, "workflow not found for ID: ~/none")
		w.refused(w.signal(run{w.id("none"), nowhere}, "go"), codes.NotFound, `workflow execution not found for workflow ID "~/none" and run ID "nowhere"`)
		r := w.start("main")
		w.refused(w.signal(run{r.id, nowhere}, "go"), codes.NotFound, `workflow execution not found for workflow ID "~/main" and run ID "nowhere"`)
	})
}

func TestM011_EmptyRunIDMeansTheCurrentRun(t *testing.T) {
	both(t, func(w *world) {
		first := w.start("main")
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		w.fine(w.signal(first.current(), "go"))
		w.refused(w.signal(first, "go"), codes.NotFound, alreadyCompleted)
		w.shape(second, "Started WFTScheduled Signaled")
		w.shape(first, idleShape+" ContinuedAsNew")
	})
}

func TestM012_MalformedSignalsAreRefused(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		long := strings.Repeat("x", 1001)
		w.refused(w.signal(r, ""), codes.InvalidArgument, "SignalName is not set on request.")
		w.refused(w.signal(r, long), codes.InvalidArgument, "SignalName length exceeds limit.")
		w.refused(w.signal(r, "go", requestID(long)), codes.InvalidArgument, "RequestId length exceeds limit.")
		w.refused(w.signal(run{r.id, "no UUID"}, "go"), codes.InvalidArgument, "Invalid RunId.")
		w.refused(w.signal(run{"", r.runID}, "go"), codes.InvalidArgument, "WorkflowId is not set on request.")
		// At the limit is fine.
		w.fine(w.signal(r, long[1:], requestID(long[1:])))
		w.shape(r, "Started WFTScheduled Signaled")
	})
}

// big is a payload just over the limit for one.
var big = `"` + strings.Repeat("b", 2<<20) + `"`

func TestM013_TooLargeSignalIsRefused(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.refused(w.signal(r, "go", func(r *signalling) { r.Input = payloads(big) }), codes.InvalidArgument, blobTooLarge)
		w.shape(r, idleShape)
		w.fine(w.signal(r, "small"))
		w.finish(w.poll(), commands(completeWorkflow()))
	})
}

// What M014 says of the reference is not so here: the signal is refused for now, not for good.
func TestSignalsOfARunAreLimited(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.start("main")
		for i := range 5 {
			w.fine(w.signal(r, "go", requestID(fmt.Sprint(i))))
		}
		w.signal(r, "go")
		w.fine(w.signal(r, "go", requestID("2")))
		w.shape(r, "Started WFTScheduled"+strings.Repeat(" Signaled", 5))
	})
}

func TestM015_CloseWithABufferedSignalIsHeldBack(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		task := w.poll()
		w.fine(w.signal(r, "go"))
		_, err := w.complete(task, commands(completeWorkflow()))
		w.refused(err, codes.InvalidArgument, unhandled)
		events := w.shape(r, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled")
		is(w, "cause", w.at(events, 3).GetWorkflowTaskFailedEventAttributes().GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)
		is(w, "attempt", w.at(events, 5).GetWorkflowTaskScheduledEventAttributes().GetAttempt(), 1)
		w.finish(w.poll(), commands(completeWorkflow()))
		w.shape(r, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

func TestM016_AnyCloseWithABufferedSignalIsHeldBack(t *testing.T) {
	both(t, func(w *world) {
		closings := []func() *commandpb.Command{w.continueAsNew, failWorkflow, cancelWorkflow}
		for i, name := range []string{"continued", "failed", "cancelled"} {
			r := w.start(name)
			task := w.poll()
			command := closings[i]()
			w.fine(w.signal(r, "go"))
			// Commands before the closing one are held back too.
			_, err := w.complete(task, commands(startTimer("t", 100), command))
			w.refused(err, codes.InvalidArgument, unhandled)
			w.shape(r, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled")
			w.finish(w.poll(), commands(command))
			w.history(r)
			w.terminate(r.current())
		}
	})
}

func TestM017_M018_NoMoreSignalsWhileTheCloseIsTriedAgain(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		task := w.poll()
		w.fine(w.signal(r, "one"))
		_, err := w.complete(task, commands(completeWorkflow()))
		w.refused(err, codes.InvalidArgument, unhandled)
		w.fine(w.signal(r, "two"))
		task = w.poll()
		w.refused(w.signal(r, "three"), codes.ResourceExhausted, isClosing)
		w.finish(task, commands(completeWorkflow()))
		w.shape(r, "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled Signaled WFTStarted WFTCompleted Completed")
	})
}

// What else the state between two tries to close refuses, and how it ends when the second task does not close the run.
func TestWhatWaitsWhileTheCloseIsTriedAgain(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		task := w.poll()
		w.signal(r, "one", requestID("one"))
		w.complete(task, commands(completeWorkflow()))
		task = w.poll()
		w.signal(r, "again", requestID("one"))
		w.tryUpdate("u", w.updates(r, "u"))
		w.cancel(r)
		q := w.query(r, "q")
		q.waits()
		w.finish(task, answers(task, `"q"`))
		w.signal(r, "two")
		task = w.poll()
		w.signal(r, "three")
		w.finish(task, answers(task, `"q"`))
		q.get()
		w.history(r)
	})
}

func TestM019_SignalDoesNotEndABackoff(t *testing.T) {
	both(t, func(w *world) {
		delayed := w.start("delayed", func(r *starting) { r.WorkflowStartDelay = seconds(3) })
		cron := w.start("cron", func(r *starting) { r.CronSchedule, r.TaskQueue = "@every 3s", queueNamed(w.queue+"-cron") })
		for _, r := range []run{delayed, cron} {
			w.fine(w.signal(r, "go"))
			w.shape(r, "Started Signaled")
		}
		task := w.poll()
		is(w, "the task's history", shapes(task.GetHistory().GetEvents()), "Started Signaled WFTScheduled WFTStarted")
		task = w.pollOn(queueNamed(w.queue + "-cron"))
		is(w, "the task's history", shapes(task.GetHistory().GetEvents()), "Started Signaled WFTScheduled WFTStarted")
	})
}

func TestM020_SignalOvertakesABufferedActivityResult(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), commands(w.scheduleActivity("a")))
		activity := w.pollActivity()
		w.signal(r, "begin")
		task := w.poll()
		w.completeActivity(activity)
		w.fine(w.signal(r, "go"))
		w.finish(task)
		w.shape(r, idleShape+" ActivityTaskScheduled Signaled WFTScheduled WFTStarted WFTCompleted ActivityTaskStarted Signaled ActivityTaskCompleted WFTScheduled")
	})
}

// M021 with another number: the limit is four here.
func TestTooManyBufferedEventsEndTheTask(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.start("main")
		task := w.poll()
		for range 4 {
			w.fine(w.quietSignal(r, "go"))
		}
		is(w, "history", shapes(w.events(r)), "Started WFTScheduled WFTStarted")
		w.signal(r, "one too many")
		w.history(r)
		w.complete(task)
		w.history(r)
	})
}

// A closing command has to come last, and the task is not failed when it does not.
func TestClosingCommandHasToBeTheLast(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		task := w.poll()
		w.complete(task, commands(completeWorkflow(), startTimer("t", 10)))
		w.shape(r, "Started WFTScheduled WFTStarted")
		w.finish(task, commands(startTimer("t", 10), completeWorkflow()))
		w.history(r)
	})
}

// A timer that fired during the task and is cancelled by it is no news any more.
func TestCancelledTimerDoesNotHoldBackTheClose(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), commands(startTimer("t", 1)))
		w.signal(r, "begin")
		task := w.poll()
		w.pass(1.5)
		w.complete(task, commands(cancelTimer("t"), completeWorkflow()))
		w.history(r)
	})
}
