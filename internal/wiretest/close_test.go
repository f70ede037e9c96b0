package wiretest

import (
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

type continueAttributes = commandpb.ContinueAsNewWorkflowExecutionCommandAttributes

func (r *rig) current(id string) string {
	r.t.Helper()
	return r.describe(id, "").WorkflowExecutionInfo.Execution.RunId
}

func TestS091_Ends(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, c := range []struct {
			end    *commandpb.Command
			status enumspb.WorkflowExecutionStatus
			event  string
		}{
			{completeRun("done"), enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, "Completed"},
			{failRun(application("Broken")), enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, "Failed"},
			{cancelRun(), enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, "Canceled"},
		} {
			r.start(c.event)
			k := r.take()
			r.pass(3 * time.Second)
			k.complete(c.end)
			events := r.history(c.event, "", "Started WFTScheduled WFTStarted WFTCompleted "+c.event)
			d := r.describe(c.event, "").WorkflowExecutionInfo
			is(r, "status", d.Status, c.status)
			r.same(d.CloseTime, events[4].EventTime)
			is(r, "duration", d.ExecutionDuration.AsDuration(), 3*time.Second)
			is(r, "history length", d.HistoryLength, 5)
		}
		r.same(last(r, r.stored("Completed", ""), "Completed").GetWorkflowExecutionCompletedEventAttributes().Result, text("done"))
		r.same(last(r, r.stored("Failed", ""), "Failed").GetWorkflowExecutionFailedEventAttributes().Failure, application("Broken"))
		r.same(last(r, r.stored("Canceled", ""), "Canceled").GetWorkflowExecutionCanceledEventAttributes().Details, text("canceled"))
	})
}

func TestS092_FailedRunIsRetried(t *testing.T) {
	bubble(t, func(r *rig) {
		first := r.start("w", func(s *startRequest) {
			s.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: seconds(5)}
			s.Input, s.Memo = text("in"), &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": payload("1")}}
		})
		r.take().complete(failRun(application("Broken")))
		e := last(r, r.stored("w", first), "Failed").GetWorkflowExecutionFailedEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_IN_PROGRESS)
		second := r.current("w")
		is(r, "successor", e.NewExecutionRunId, second)
		s := started(r.history("w", second, "Started"))
		is(r, "attempt", s.Attempt, 2)
		is(r, "initiator", s.Initiator, enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY)
		is(r, "first run", s.FirstExecutionRunId, first)
		is(r, "previous run", s.ContinuedExecutionRunId, first)
		is(r, "backoff", s.FirstWorkflowTaskBackoff.AsDuration(), 5*time.Second)
		r.same(s.ContinuedFailure, application("Broken"))
		r.same(s.Input, text("in"))
		is(r, "status of the first", r.status("w", first), enumspb.WORKFLOW_EXECUTION_STATUS_FAILED)
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 5*time.Second)
		k.complete(completeRun("done"))
	})
}

func TestS093_WhatEndsRetriesOfARun(t *testing.T) {
	bubble(t, func(r *rig) {
		state := func(run string) enumspb.RetryState {
			e := last(r, r.stored("w", run), "Failed").GetWorkflowExecutionFailedEventAttributes()
			is(r, "successor", e.NewExecutionRunId, "")
			return e.RetryState
		}
		begin := func(p *commonpb.RetryPolicy, change ...func(*startRequest)) {
			r.start("w", append(change, func(s *startRequest) { s.RequestId, s.RetryPolicy = "", p })...)
		}
		begin(&commonpb.RetryPolicy{MaximumAttempts: 2})
		r.take().complete(failRun(application("Broken")))
		r.take().complete(failRun(application("Broken")))
		is(r, "state", state(""), enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
		begin(&commonpb.RetryPolicy{NonRetryableErrorTypes: []string{"Broken"}})
		r.take().complete(failRun(application("Broken")))
		is(r, "state", state(""), enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE)
		begin(nil)
		r.take().complete(failRun(application("Broken")))
		is(r, "state", state(""), enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET)
		begin(&commonpb.RetryPolicy{InitialInterval: seconds(20)}, func(s *startRequest) { s.WorkflowExecutionTimeout = seconds(10) })
		r.take().complete(failRun(application("Broken")))
		is(r, "state", state(""), enumspb.RETRY_STATE_TIMEOUT)
	})
}

func TestS094_DelayOfTheFailure(t *testing.T) {
	bubble(t, func(r *rig) {
		for asked, want := range map[float64]time.Duration{4: 4 * time.Second, 50: 10 * time.Second} {
			r.start("w", func(s *startRequest) {
				s.RequestId, s.RetryPolicy = "", &commonpb.RetryPolicy{MaximumInterval: seconds(10)}
			})
			r.take().complete(failRun(application("Later", func(f *failurepb.ApplicationFailureInfo) { f.NextRetryDelay = seconds(asked) })))
			is(r, "backoff", started(r.stored("w", "")).FirstWorkflowTaskBackoff.AsDuration(), want)
			r.terminate("w")
		}
	})
}

func TestS095_ContinueAsNew(t *testing.T) {
	bubble(t, func(r *rig) {
		first := r.start("w", func(s *startRequest) { s.WorkflowExecutionTimeout = seconds(3600) })
		expires := started(r.stored("w", "")).WorkflowExecutionExpirationTime
		previous := first
		for range 3 {
			k := r.take()
			r.pass(2 * time.Second)
			k.complete(continueAsNew(func(a *continueAttributes) {
				a.Input, a.Initiator = text("more"), enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY // what a command cannot be
			}))
			now := r.current("w")
			e := last(r, r.stored("w", previous), "ContinuedAsNew").GetWorkflowExecutionContinuedAsNewEventAttributes()
			is(r, "successor", e.NewExecutionRunId, now)
			is(r, "status", r.status("w", previous), enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW)
			s := started(r.history("w", now, "Started WFTScheduled"))
			is(r, "first run", s.FirstExecutionRunId, first)
			is(r, "previous run", s.ContinuedExecutionRunId, previous)
			is(r, "own run", s.OriginalExecutionRunId, now)
			is(r, "attempt", s.Attempt, 1)
			is(r, "initiator", s.Initiator, enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW)
			r.same(s.WorkflowExecutionExpirationTime, expires)
			r.same(s.Input, text("more"))
			previous = now
		}
		r.take().complete(completeRun("done"))
	})
}

func TestS096_WhatTheCommandDoesNotCarry(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) {
			s.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": payload("1")}}
			s.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Key": payload(`"k"`)}}
			s.RetryPolicy, s.WorkflowTaskTimeout = &commonpb.RetryPolicy{}, seconds(7)
		})
		r.take().complete(continueAsNew(func(a *continueAttributes) { a.WorkflowType, a.TaskQueue = nil, nil }))
		s := started(r.stored("w", ""))
		if s.Memo != nil || s.SearchAttributes != nil || s.RetryPolicy != nil {
			r.t.Errorf("the successor has %v", s)
		}
		is(r, "type", s.WorkflowType.Name, "Type")
		is(r, "queue", s.TaskQueue.Name, "q")
		is(r, "task timeout", s.WorkflowTaskTimeout.AsDuration(), 7*time.Second)
		d := r.describe("w", "").WorkflowExecutionInfo
		if len(d.Memo.Fields) > 0 || len(d.SearchAttributes.IndexedFields) > 0 {
			r.t.Errorf("described with %v %v", d.Memo, d.SearchAttributes)
		}
		is(r, "found by Key", len(r.listed("Key = 'k' AND ExecutionStatus = 'Running'")), 0)
	})
}

func TestS097_ShortRuns(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		r.pass(300 * time.Millisecond)
		k.complete(continueAsNew())
		begun := time.Now()
		is(r, "backoff", started(r.history("w", "", "Started")).FirstWorkflowTaskBackoff.AsDuration(), 700*time.Millisecond)
		k = r.take()
		is(r, "the wait", time.Since(begun), 700*time.Millisecond)
		k.complete(completeRun("done"))
	})
}

func TestS098_CronRuns(t *testing.T) {
	bubble(t, func(r *rig) {
		r.pass(time.Second) // a minute has just begun, and polls wait for one
		first := r.start("w", func(s *startRequest) { s.CronSchedule, s.Input = "* * * * *", text("in") })
		r.take().complete(completeRun("one"))
		e := last(r, r.stored("w", first), "Completed").GetWorkflowExecutionCompletedEventAttributes()
		second := r.current("w")
		is(r, "successor", e.NewExecutionRunId, second)
		s := started(r.stored("w", second))
		r.same(s.LastCompletionResult, text("one"))
		is(r, "initiator", s.Initiator, enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE)
		r.pass(time.Second)
		k := r.take()
		is(r, "second of the minute", time.Now().Second(), 0)
		k.complete(failRun(application("Broken")))
		f := last(r, r.stored("w", second), "Failed").GetWorkflowExecutionFailedEventAttributes()
		third := r.current("w")
		is(r, "successor", f.NewExecutionRunId, third)
		s = started(r.stored("w", third))
		r.same(s.LastCompletionResult, text("one"))
		r.same(s.ContinuedFailure, application("Broken"))
		r.same(s.Input, text("in"))
		is(r, "attempt", s.Attempt, 1)
		r.pass(time.Second)
		r.take().complete(completeRun("three"))
		s = started(r.stored("w", ""))
		r.same(s.LastCompletionResult, text("three"))
		if s.ContinuedFailure != nil {
			r.t.Errorf("a failure is carried on after a success: %v", s.ContinuedFailure)
		}
		r.terminate("w")
	})
}

func TestS099_EndOfACronChain(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, end := range []func(*task){func(k *task) { k.complete(cancelRun()) }, func(*task) { r.terminate("w") }} {
			r.pass(time.Second) // a minute has just begun, and polls wait for one
			r.start("w", func(s *startRequest) { s.RequestId, s.CronSchedule = "", "* * * * *" })
			end(r.take())
			r.pass(time.Hour)
			is(r, "open runs", len(r.listed("ExecutionStatus = 'Running'")), 0)
		}
		is(r, "runs", len(r.listed("")), 2)
	})
}

func TestS100_Timeouts(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("run", func(s *startRequest) { s.WorkflowRunTimeout = seconds(10) })
		r.pass(10 * time.Second)
		r.settle()
		e := last(r, r.history("run", "", "Started WFTScheduled TimedOut"), "TimedOut").GetWorkflowExecutionTimedOutEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET)
		is(r, "status", r.status("run", ""), enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)

		first := r.start("retried", func(s *startRequest) {
			s.WorkflowRunTimeout, s.RetryPolicy = seconds(10), &commonpb.RetryPolicy{}
		})
		k := r.takeOf("retried")
		r.pass(10 * time.Second)
		r.settle()
		r.refused(k.try(completeRun("late")), codes.NotFound, "Workflow task not found.")
		e = last(r, r.stored("retried", first), "TimedOut").GetWorkflowExecutionTimedOutEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_IN_PROGRESS)
		is(r, "successor", e.NewExecutionRunId, r.current("retried"))
		is(r, "attempt", started(r.stored("retried", "")).Attempt, 2)
		is(r, "initiator", started(r.stored("retried", "")).Initiator, enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY)
		is(r, "failure", started(r.stored("retried", "")).ContinuedFailure.GetTimeoutFailureInfo().GetTimeoutType(), enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
		r.terminate("retried")

		r.start("execution", func(s *startRequest) {
			s.WorkflowExecutionTimeout, s.RetryPolicy = seconds(10), &commonpb.RetryPolicy{}
		})
		r.pass(10 * time.Second)
		r.settle()
		e = last(r, r.history("execution", "", "Started WFTScheduled TimedOut"), "TimedOut").GetWorkflowExecutionTimedOutEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_TIMEOUT)
		is(r, "successor", e.NewExecutionRunId, "")
	})
}

func TestS101_ExecutionTimeoutSpansRuns(t *testing.T) {
	bubble(t, func(r *rig) {
		begun := time.Now()
		r.start("w", func(s *startRequest) { s.WorkflowExecutionTimeout = seconds(10) })
		for range 3 {
			k := r.take()
			r.pass(2 * time.Second)
			k.complete(continueAsNew())
		}
		r.take().complete()
		r.pass(time.Minute)
		d := r.describe("w", "").WorkflowExecutionInfo
		is(r, "status", d.Status, enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
		is(r, "lifetime of the chain", d.CloseTime.AsTime().Sub(begun), 10*time.Second)
	})
}

func TestS104_OversizedResult(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		c := completeRun("")
		c.GetCompleteWorkflowExecutionCommandAttributes().Result = bulk(2<<20 + 1)
		if err := r.take().try(c); err == nil {
			r.t.Error("it was taken")
		}
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed Terminated")
		is(r, "identity", events[4].GetWorkflowExecutionTerminatedEventAttributes().Identity, "history-service")
		is(r, "status", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
	})
}

func TestS105_TooLongHistory(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		var commands []*commandpb.Command
		for range 50 {
			commands = append(commands, marker("m"))
		}
		r.take().complete(commands...)
		events := r.stored("w", "")
		e := last(r, events, "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
		is(r, "reason", e.Reason, "Workflow history count exceeds limit.")
		is(r, "identity", e.Identity, "history-service")
		r.refused(r.trySignal("w", "", "s", ""), codes.NotFound, "workflow execution already completed")
	}, func(l *limits) { l.HistoryEvents = 50 })
	t.Run("bytes", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.start("w")
			c := marker("m")
			c.GetRecordMarkerCommandAttributes().Details = map[string]*commonpb.Payloads{"d": bulk(2000)}
			r.take().complete(c)
			e := last(r, r.stored("w", ""), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
			is(r, "reason", e.Reason, "Workflow history size exceeds limit.")
		}, func(l *limits) { l.HistoryBytes = 2000 })
	})
}

// S-102 and S-103 as far as they are the server's: the close event leads to the next run, and clients that cannot follow
// it are shown one that they can.
func TestS102_S103_S173_FollowingAChain(t *testing.T) {
	bubble(t, func(r *rig) {
		first := r.start("w", func(s *startRequest) { s.RetryPolicy = &commonpb.RetryPolicy{} })
		r.take().complete(failRun(application("Broken")))
		r.take().complete(continueAsNew(func(a *continueAttributes) { a.CronSchedule = "* * * * *" }))
		r.take().complete(completeRun("cron"))
		closing := func(run string, features ...string) *historyEvent {
			r.t.Helper()
			page := must[*workflowservice.GetWorkflowExecutionHistoryResponse](r)(r.GetWorkflowExecutionHistory(r.as("temporal-go", features...), &workflowservice.GetWorkflowExecutionHistoryRequest{
				Namespace: ns, Execution: wf("w", run), WaitNewEvent: true, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
			}))
			if len(page.History.Events) != 1 {
				r.t.Fatalf("closing events: %s", list(page.History.Events))
			}
			return page.History.Events[0]
		}
		var types string
		for run := first; run != r.current("w"); {
			e := closing(run, "follows-next-run-id")
			types += short(e.EventType) + " "
			old := closing(run)
			is(r, "as older clients see it", short(old.EventType), "ContinuedAsNew")
			run = successor([]*historyEvent{e})
			is(r, "the next run for older clients", old.GetWorkflowExecutionContinuedAsNewEventAttributes().NewExecutionRunId, run)
		}
		is(r, "the chain", types, "Failed ContinuedAsNew Completed ")
		r.terminate("w")
		is(r, "its end", short(closing("").EventType), "Terminated")
	})
}
