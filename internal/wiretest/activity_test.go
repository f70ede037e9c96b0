package wiretest

import (
	"strings"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

type activityAttributes = commandpb.ScheduleActivityTaskCommandAttributes

const gone = "invalid activityID or activity already timed out or invoking workflow is completed"

func seconds(n float64) *durationpb.Duration {
	return durationpb.New(time.Duration(n * float64(time.Second)))
}

// withTimeouts sets schedule-to-start, schedule-to-close, start-to-close and heartbeat timeouts in seconds; zero: unset.
func withTimeouts(s2s, s2c, stc, hb float64) func(*activityAttributes) {
	return func(a *activityAttributes) {
		a.ScheduleToStartTimeout, a.ScheduleToCloseTimeout, a.StartToCloseTimeout, a.HeartbeatTimeout = nil, nil, nil, nil
		for d, n := range map[**durationpb.Duration]float64{
			&a.ScheduleToStartTimeout: s2s, &a.ScheduleToCloseTimeout: s2c, &a.StartToCloseTimeout: stc, &a.HeartbeatTimeout: hb,
		} {
			if n != 0 {
				*d = seconds(n)
			}
		}
	}
}

func withRetry(p *commonpb.RetryPolicy) func(*activityAttributes) {
	return func(a *activityAttributes) { a.RetryPolicy = p }
}

// runWith starts a run whose first task schedules activities a, b, ….
func (r *rig) runWith(id string, activities ...func(*activityAttributes)) {
	r.t.Helper()
	r.start(id)
	var commands []*commandpb.Command
	for i, change := range activities {
		commands = append(commands, schedule(string(rune('a'+i)), change))
	}
	r.take().complete(commands...)
}

func (r *rig) pendingActivity(id string) *workflowpb.PendingActivityInfo {
	r.t.Helper()
	p := r.describe(id, "").PendingActivities
	if len(p) != 1 {
		r.t.Fatalf("pending activities: %v", p)
	}
	return p[0]
}

func TestS122_ActivityNeedsATimeout(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.refused(r.take().try(schedule("a", withTimeouts(10, 0, 0, 10))), codes.InvalidArgument,
			"BadScheduleActivityAttributes: a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity…")
		e := r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed")[3].GetWorkflowTaskFailedEventAttributes()
		is(r, "cause", e.Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES)
		if !strings.Contains(e.Failure.GetMessage(), "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity") {
			r.t.Errorf("failure: %v", e.Failure)
		}
		r.terminate("w")
	})
}

func TestS123_NormalisedTimeouts(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, c := range []struct {
			run         float64 // the run timeout
			asked, want [4]float64
		}{
			{0, [4]float64{0, 0, 30, 0}, [4]float64{0, 0, 30, 0}},
			{100, [4]float64{0, 0, 30, 60}, [4]float64{100, 100, 30, 30}},
			{100, [4]float64{0, 300, 0, 0}, [4]float64{100, 100, 100, 0}},
			{0, [4]float64{50, 40, 60, 10}, [4]float64{40, 40, 40, 10}},
		} {
			r.start("w", func(s *startRequest) { s.RequestId, s.WorkflowRunTimeout = "", seconds(c.run) })
			r.take().complete(schedule("a", withTimeouts(c.asked[0], c.asked[1], c.asked[2], c.asked[3])))
			e := last(r, r.stored("w", ""), "ActivityScheduled").GetActivityTaskScheduledEventAttributes()
			for i, d := range []*durationpb.Duration{e.ScheduleToStartTimeout, e.ScheduleToCloseTimeout, e.StartToCloseTimeout, e.HeartbeatTimeout} {
				if d == nil {
					r.t.Errorf("timeout %d of %v is not set", i, c.asked)
				}
				is(r, "a timeout", d.AsDuration(), seconds(c.want[i]).AsDuration())
			}
			r.same(e.RetryPolicy, &commonpb.RetryPolicy{InitialInterval: seconds(1), BackoffCoefficient: 2, MaximumInterval: seconds(100)})
			r.terminate("w")
		}
	})
}

func TestS124_NothingIsWrittenBeforeTheResult(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(0, 0, 60, 0))
		is(r, "state", r.pendingActivity("w").State, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED)
		r.pass(time.Second)
		a, at := r.takeActivity(), time.Now()
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled")
		p := r.pendingActivity("w")
		is(r, "state", p.State, enumspb.PENDING_ACTIVITY_STATE_STARTED)
		is(r, "attempt", p.Attempt, 1)
		is(r, "identity", p.LastWorkerIdentity, "worker")
		is(r, "started", p.LastStartedTime.AsTime(), at.UTC())
		r.pass(5 * time.Second)
		r.ok(a.complete("done"))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled")
		is(r, "time of Started", events[5].EventTime.AsTime(), at.UTC())
		s := events[5].GetActivityTaskStartedEventAttributes()
		is(r, "scheduled event", s.ScheduledEventId, 5)
		is(r, "attempt", s.Attempt, 1)
		is(r, "identity", s.Identity, "worker")
		c := events[6].GetActivityTaskCompletedEventAttributes()
		is(r, "scheduled event", c.ScheduledEventId, 5)
		is(r, "started event", c.StartedEventId, 6)
		r.same(c.Result, text("done"))
	})
}

func TestS125_OneStartedEventAfterRetries(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		r.ok(r.takeActivity().fail(application("First")))
		r.ok(r.takeActivity().fail(application("Second")))
		r.ok(r.takeActivity().complete("done"))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled")
		s := events[5].GetActivityTaskStartedEventAttributes()
		is(r, "attempt", s.Attempt, 3)
		r.same(s.LastFailure, application("Second"))
	})
}

func TestS126_RetryIntervals(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withRetry(&commonpb.RetryPolicy{InitialInterval: seconds(2), BackoffCoefficient: 3, MaximumInterval: seconds(10)}))
		p := r.pendingActivity("w")
		if p.NextAttemptScheduleTime != nil || p.CurrentRetryInterval != nil {
			r.t.Errorf("the first attempt has %v", p)
		}
		due := time.Now()
		for attempt, interval := range []time.Duration{2 * time.Second, 6 * time.Second, 10 * time.Second, 10 * time.Second} {
			a := r.takeActivity()
			is(r, "the time", time.Now(), due)
			is(r, "scheduled", a.CurrentAttemptScheduledTime.AsTime(), due.UTC())
			is(r, "attempt", a.Attempt, int32(attempt)+1)
			p := r.pendingActivity("w")
			if p.State != enumspb.PENDING_ACTIVITY_STATE_STARTED || p.NextAttemptScheduleTime != nil || p.CurrentRetryInterval != nil {
				r.t.Errorf("a running attempt has %v", p)
			}
			r.pass(time.Second)
			failed := time.Now()
			due = failed.Add(interval)
			r.ok(a.fail(application("Broken")))
			p = r.pendingActivity("w")
			is(r, "state", p.State, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED)
			is(r, "interval", p.CurrentRetryInterval.AsDuration(), interval)
			is(r, "next attempt", p.NextAttemptScheduleTime.AsTime(), due.UTC())
			is(r, "attempt", p.Attempt, int32(attempt)+2)
			is(r, "attempt completed", p.LastAttemptCompleteTime.AsTime(), failed.UTC())
			r.same(p.LastFailure, application("Broken"))
		}
	})
}

func TestS127_FailureNamesTheDelay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withRetry(&commonpb.RetryPolicy{MaximumInterval: seconds(1)}))
		begun := time.Now()
		r.ok(r.takeActivity().fail(application("Later", func(f *failurepb.ApplicationFailureInfo) { f.NextRetryDelay = seconds(30) })))
		is(r, "attempt", r.takeActivity().Attempt, 2)
		is(r, "the wait", time.Since(begun), 30*time.Second)
	})
}

func TestS128_WhatEndsRetries(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, c := range []struct {
			policy  *commonpb.RetryPolicy
			failure *failurepb.Failure
			state   enumspb.RetryState
		}{
			{nil, application("Broken", nonRetryable), enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE},
			{&commonpb.RetryPolicy{NonRetryableErrorTypes: []string{"Broken"}}, application("Broken"), enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE},
			{&commonpb.RetryPolicy{MaximumAttempts: 1}, application("Broken"), enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED},
		} {
			r.start("w", func(s *startRequest) { s.RequestId = "" })
			r.take().complete(schedule("a", withRetry(c.policy)))
			r.ok(r.takeActivity().fail(c.failure))
			events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityFailed WFTScheduled")
			e := events[6].GetActivityTaskFailedEventAttributes()
			is(r, "retry state", e.RetryState, c.state)
			r.same(e.Failure, c.failure)
			is(r, "identity", e.Identity, "worker")
			r.take().complete(completeRun("done"))
		}
	})
}

func TestS129_ScheduleToStart(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(5, 0, 60, 0))
		r.pass(5 * time.Second)
		r.settle()
		r.noActivity()
		e := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityTimedOut WFTScheduled")[5].GetActivityTaskTimedOutEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_TIMEOUT)
		is(r, "started event", e.StartedEventId, 0)
		is(r, "message", e.Failure.Message, "activity ScheduleToStart timeout")
		is(r, "type", e.Failure.GetTimeoutFailureInfo().GetTimeoutType(), enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
	})
}

func TestS130_StartToClose(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(0, 12, 5, 0))
		slow := r.takeActivity()
		r.pass(5 * time.Second)
		begun := time.Now()
		second := r.takeActivity()
		is(r, "backoff", time.Since(begun), time.Second)
		is(r, "attempt", second.Attempt, 2)
		r.refused(slow.complete("late"), codes.NotFound, gone)
		r.pass(5 * time.Second)
		r.settle()
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityTimedOut WFTScheduled")
		e := events[6].GetActivityTaskTimedOutEventAttributes()
		is(r, "type", e.Failure.GetTimeoutFailureInfo().GetTimeoutType(), enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
		is(r, "message", e.Failure.Message, "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying")
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_TIMEOUT)
		is(r, "cause", e.Failure.Cause.GetTimeoutFailureInfo().GetTimeoutType(), enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
		is(r, "attempt", events[5].GetActivityTaskStartedEventAttributes().Attempt, 2)
	})
}

func TestS131_ScheduleToClose(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("backoff", func(a *activityAttributes) {
			withTimeouts(0, 8, 0, 0)(a)
			a.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: seconds(5)}
		})
		r.ok(r.takeActivity().fail(application("Broken")))
		r.pass(8 * time.Second)
		r.settle()
		r.pass(time.Second)
		events := r.stored("backoff", "")
		e := last(r, events, "ActivityTimedOut").GetActivityTaskTimedOutEventAttributes()
		is(r, "type", e.Failure.GetTimeoutFailureInfo().GetTimeoutType(), enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_TIMEOUT)
		r.terminate("backoff")

		r.runWith("run", withTimeouts(0, 8, 0, 0))
		a := r.takeActivity()
		r.pass(8 * time.Second)
		r.settle()
		events = r.history("run", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityTimedOut WFTScheduled")
		e = events[6].GetActivityTaskTimedOutEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_TIMEOUT)
		r.refused(a.complete("late"), codes.NotFound, gone)
	})
}

func TestS132_HeartbeatTimeout(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(0, 0, 60, 3))
		a := r.takeActivity()
		for range 3 {
			r.pass(2 * time.Second)
			must[*workflowservice.RecordActivityTaskHeartbeatResponse](r)(a.heartbeat("so far"))
		}
		p := r.pendingActivity("w")
		r.same(p.HeartbeatDetails, text("so far"))
		is(r, "last heartbeat", p.LastHeartbeatTime.AsTime(), time.Now().UTC())
		begun := time.Now()
		next := r.takeActivity()
		is(r, "the wait", time.Since(begun), 4*time.Second)
		is(r, "attempt", next.Attempt, 2)
		r.same(next.HeartbeatDetails, text("so far"))
		_, err := a.heartbeat("late")
		r.refused(err, codes.NotFound, gone)
	})
}

func TestS133_HeartbeatTimeoutIsFinal(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(a *activityAttributes) {
			withTimeouts(0, 0, 60, 3)(a)
			a.RetryPolicy = &commonpb.RetryPolicy{NonRetryableErrorTypes: []string{"TemporalTimeout:Heartbeat"}}
		})
		r.takeActivity()
		r.pass(3 * time.Second)
		r.settle()
		e := last(r, r.stored("w", ""), "ActivityTimedOut").GetActivityTaskTimedOutEventAttributes()
		is(r, "retry state", e.RetryState, enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE)
		is(r, "message", e.Failure.Message, "activity Heartbeat timeout")
		r.terminate("w")
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES,
			schedule("a", withRetry(&commonpb.RetryPolicy{NonRetryableErrorTypes: []string{"TemporalTimeout:Nonsense"}})))
	})
}

// cancelRequested is a run with a started activity that it has asked to cancel.
func (r *rig) cancelRequested(id string, change func(*activityAttributes)) *activityTask {
	r.t.Helper()
	r.start(id, func(s *startRequest) { s.RequestId = "" })
	r.take().complete(schedule("a", change))
	a := r.takeActivity()
	r.signal(id, "stop it")
	r.take().complete(cancelActivity(5))
	return a
}

func TestS134_CancelledActivity(t *testing.T) {
	bubble(t, func(r *rig) {
		a := r.cancelRequested("w", func(*activityAttributes) {})
		is(r, "state", r.pendingActivity("w").State, enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED)
		is(r, "told to stop", must[*workflowservice.RecordActivityTaskHeartbeatResponse](r)(a.heartbeat("h")).CancelRequested, true)
		r.ok(a.canceled())
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled Signaled WFTScheduled WFTStarted WFTCompleted ActivityCancelRequested ActivityStarted ActivityCanceled WFTScheduled")
		is(r, "scheduled event", events[9].GetActivityTaskCancelRequestedEventAttributes().ScheduledEventId, 5)
		c := events[11].GetActivityTaskCanceledEventAttributes()
		is(r, "scheduled event", c.ScheduledEventId, 5)
		is(r, "started event", c.StartedEventId, 11)
		is(r, "cancel request", c.LatestCancelRequestedEventId, 10)
		r.same(c.Details, text("stopped"))
	})
}

func TestS135_CancelledWithoutBeingAsked(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		a := r.takeActivity()
		r.refused(a.canceled(), codes.InvalidArgument, "unable to mark activity as canceled without activity being request canceled first")
		r.ok(a.complete("done"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled")
	})
}

func TestS136_OtherEndsAfterACancelRequest(t *testing.T) {
	bubble(t, func(r *rig) {
		const before = "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled Signaled WFTScheduled WFTStarted WFTCompleted ActivityCancelRequested "
		anyTimeout := func(*activityAttributes) {}
		r.ok(r.cancelRequested("completed", anyTimeout).complete("all the same"))
		r.history("completed", "", before+"ActivityStarted ActivityCompleted WFTScheduled")
		r.terminate("completed")

		r.ok(r.cancelRequested("failed", anyTimeout).fail(application("Broken")))
		events := r.history("failed", "", before+"ActivityStarted ActivityFailed WFTScheduled")
		is(r, "retry state", events[11].GetActivityTaskFailedEventAttributes().RetryState, enumspb.RETRY_STATE_CANCEL_REQUESTED)
		r.terminate("failed")

		r.cancelRequested("timed-out", withTimeouts(0, 0, 5, 0))
		r.pass(5 * time.Second)
		r.settle()
		events = r.history("timed-out", "", before+"ActivityStarted ActivityTimedOut WFTScheduled")
		is(r, "retry state", events[11].GetActivityTaskTimedOutEventAttributes().RetryState, enumspb.RETRY_STATE_CANCEL_REQUESTED)
	})
}

func TestS137_ReportsAfterTheEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(0, 5, 0, 0))
		a := r.takeActivity()
		r.pass(5 * time.Second)
		r.settle()
		for _, text := range []string{gone, "workflow execution already completed"} {
			_, err := a.heartbeat("late")
			r.refused(err, codes.NotFound, text)
			r.refused(a.complete("late"), codes.NotFound, text)
			r.refused(a.fail(application("Late")), codes.NotFound, text)
			r.refused(a.canceled(), codes.NotFound, text)
			if text == gone {
				r.terminate("w")
			}
		}
	})
}

func TestS138_TokenOfAnOldAttempt(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		old := r.takeActivity()
		r.ok(old.fail(application("Broken")))
		r.refused(old.complete("waiting"), codes.NotFound, gone)
		next := r.takeActivity()
		_, err := old.heartbeat("late")
		r.refused(err, codes.NotFound, gone)
		r.refused(old.complete("late"), codes.NotFound, gone)
		r.refused(old.fail(application("Late")), codes.NotFound, gone)
		r.refused(old.canceled(), codes.NotFound, gone)
		r.ok(next.complete("done"))
		r.refused(next.complete("twice"), codes.NotFound, gone)
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled")
	})
}

func (r *rig) completeByID(workflow, activity string) error {
	_, err := r.RespondActivityTaskCompletedById(r.ctx, &workflowservice.RespondActivityTaskCompletedByIdRequest{
		Namespace: ns, WorkflowId: workflow, ActivityId: activity, Result: text("by ID"), Identity: "other",
	})
	return err
}

func (r *rig) failByID(workflow, activity string) error {
	_, err := r.RespondActivityTaskFailedById(r.ctx, &workflowservice.RespondActivityTaskFailedByIdRequest{
		Namespace: ns, WorkflowId: workflow, ActivityId: activity, Failure: application("ByID", nonRetryable), Identity: "other",
	})
	return err
}

func missing(id string) string {
	return "cannot find pending activity with ActivityID " + id + ", check workflow execution history for more details"
}

func TestS139_ReportsByID(t *testing.T) {
	bubble(t, func(r *rig) {
		same := func(*activityAttributes) {}
		r.runWith("w", same, same, same)
		for range 3 {
			r.takeActivity()
		}
		beat := must[*workflowservice.RecordActivityTaskHeartbeatByIdResponse](r)(r.RecordActivityTaskHeartbeatById(r.ctx, &workflowservice.RecordActivityTaskHeartbeatByIdRequest{
			Namespace: ns, WorkflowId: "w", ActivityId: "a", Details: text("beat"),
		}))
		is(r, "cancel requested", beat.CancelRequested, false)
		r.ok(r.completeByID("w", "a"))
		r.ok(r.failByID("w", "b"))
		r.signal("w", "stop c")
		r.take().complete(cancelActivity(7))
		_, err := r.RespondActivityTaskCanceledById(r.ctx, &workflowservice.RespondActivityTaskCanceledByIdRequest{Namespace: ns, WorkflowId: "w", ActivityId: "c"})
		r.ok(err)
		events := r.stored("w", "")
		r.same(last(r, events, "ActivityCompleted").GetActivityTaskCompletedEventAttributes().Result, text("by ID"))
		last(r, events, "ActivityFailed")
		last(r, events, "ActivityCanceled")
		r.refused(r.completeByID("w", "a"), codes.NotFound, missing("a"))
		r.refused(r.failByID("w", "x"), codes.NotFound, missing("x"))
		_, err = r.RespondActivityTaskCanceledById(r.ctx, &workflowservice.RespondActivityTaskCanceledByIdRequest{Namespace: ns, WorkflowId: "w", ActivityId: "x"})
		r.refused(err, codes.NotFound, missing("x"))
		_, err = r.RecordActivityTaskHeartbeatById(r.ctx, &workflowservice.RecordActivityTaskHeartbeatByIdRequest{Namespace: ns, WorkflowId: "w", ActivityId: "x"})
		r.refused(err, codes.NotFound, missing("x"))
	})
}

func TestS140_ByIDBeforeTheStart(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		r.refused(r.failByID("w", "a"), codes.NotFound, "…")
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled")
		r.ok(r.completeByID("w", "a"))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled")
		is(r, "started event", events[6].GetActivityTaskCompletedEventAttributes().StartedEventId, 6)
		is(r, "attempt", events[5].GetActivityTaskStartedEventAttributes().Attempt, 1)
		r.noActivity()
	})
}

func TestS141_CompletionFromElsewhere(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(0, 0, 7200, 0), withTimeouts(0, 0, 7200, 0))
		first, second := r.takeActivity(), r.takeActivity()
		token := append([]byte(nil), first.TaskToken...)
		r.pass(time.Hour)
		r.restart()
		_, err := r.RespondActivityTaskCompleted(r.ctx, &workflowservice.RespondActivityTaskCompletedRequest{TaskToken: token, Result: text("by token")}) // without a namespace
		r.ok(err)
		r.ok(r.completeByID("w", second.ActivityId))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled ActivityStarted ActivityCompleted")
		r.same(events[7].GetActivityTaskCompletedEventAttributes().Result, text("by token"))
		r.same(events[10].GetActivityTaskCompletedEventAttributes().Result, text("by ID"))
	})
}

func TestS142_OversizedResult(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		a := r.takeActivity()
		_, err := r.RespondActivityTaskCompleted(r.ctx, &workflowservice.RespondActivityTaskCompletedRequest{Namespace: ns, TaskToken: a.TaskToken, Result: bulk(2<<20 + 1)})
		r.ok(err)
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityFailed WFTScheduled")
		is(r, "failure", events[6].GetActivityTaskFailedEventAttributes().Failure.Message, "Complete result exceeds size limit.")
	})
}

func TestS143_OversizedHeartbeat(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		a := r.takeActivity()
		resp := must[*workflowservice.RecordActivityTaskHeartbeatResponse](r)(r.RecordActivityTaskHeartbeat(r.ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{
			Namespace: ns, TaskToken: a.TaskToken, Details: bulk(2<<20 + 1),
		}))
		is(r, "told to stop", resp.CancelRequested, true)
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityStarted ActivityFailed WFTScheduled")
		is(r, "failure", events[6].GetActivityTaskFailedEventAttributes().Failure.Message, "Heartbeat details exceed size limit.")
	})
}

func TestS144_FailuresAreKeptAsTheyAre(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(*activityAttributes) {})
		f := application("Outer", nonRetryable, func(a *failurepb.ApplicationFailureInfo) { a.Details = text("details") })
		f.StackTrace, f.EncodedAttributes = "at here", payload(`{"message":"secret","stack_trace":"hidden"}`)
		f.Cause = &failurepb.Failure{Message: "Encoded failure", EncodedAttributes: payload(`"x"`), FailureInfo: &failurepb.Failure_CanceledFailureInfo{
			CanceledFailureInfo: &failurepb.CanceledFailureInfo{Details: text("c")}}, Cause: application("Inner")}
		r.ok(r.takeActivity().fail(f))
		r.same(last(r, r.stored("w", ""), "ActivityFailed").GetActivityTaskFailedEventAttributes().Failure, f)
		r.take().complete(failRun(f))
		r.same(last(r, r.stored("w", ""), "Failed").GetWorkflowExecutionFailedEventAttributes().Failure, f)
	})
}

func TestS145_AllDurationsOfATaskAreSet(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", withTimeouts(0, 0, 30, 0))
		a := r.takeActivity()
		for name, d := range map[string]*durationpb.Duration{
			"schedule-to-close": a.ScheduleToCloseTimeout, "start-to-close": a.StartToCloseTimeout, "heartbeat": a.HeartbeatTimeout,
			"initial interval": a.RetryPolicy.GetInitialInterval(), "maximum interval": a.RetryPolicy.GetMaximumInterval(),
		} {
			if d == nil {
				r.t.Errorf("the %s is not set", name)
			}
		}
		is(r, "coefficient", a.RetryPolicy.GetBackoffCoefficient(), 2)
		if a.ScheduledTime == nil || a.StartedTime == nil || a.CurrentAttemptScheduledTime == nil {
			r.t.Errorf("times: %v", a.PollActivityTaskQueueResponse)
		}
		is(r, "workflow", a.WorkflowExecution.WorkflowId, "w")
		is(r, "workflow type", a.WorkflowType.Name, "Type")
		is(r, "namespace", a.WorkflowNamespace, ns)
		is(r, "type", a.ActivityType.Name, "Pay")
	})
}

func TestS146_AnotherQueue(t *testing.T) {
	bubble(t, func(r *rig) {
		r.runWith("w", func(a *activityAttributes) { a.TaskQueue = queue("other") })
		r.noActivity()
		a := r.pollActivity("other", pollTime)
		if a == nil {
			r.t.Fatal("no task on the other queue")
		}
		r.ok(a.complete("done"))
		r.take().complete(completeRun("done"))
		is(r, "queue in history", r.stored("w", "")[4].GetActivityTaskScheduledEventAttributes().TaskQueue.Name, "other")
	})
}
