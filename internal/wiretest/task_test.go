package wiretest

import (
	"context"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// sticky is a worker's own queue beside queue q.
func sticky() *taskqueuepb.TaskQueue {
	return &taskqueuepb.TaskQueue{Name: "sticky", Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: "q"}
}

func stickyAttributes() *taskqueuepb.StickyExecutionAttributes {
	return &taskqueuepb.StickyExecutionAttributes{WorkerTaskQueue: sticky(), ScheduleToStartTimeout: durationpb.New(5 * time.Second)}
}

// broken is why a worker's own code gives a task up.
const broken = enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE

// completeSticky completes a task and asks for the next ones on the sticky queue.
func (k *task) completeSticky(commands ...*commandpb.Command) *workflowservice.RespondWorkflowTaskCompletedResponse {
	k.r.t.Helper()
	req := k.request(commands...)
	req.StickyAttributes = stickyAttributes()
	return must[*workflowservice.RespondWorkflowTaskCompletedResponse](k.r)(k.r.RespondWorkflowTaskCompleted(k.r.ctx, req))
}

// visitSticky lets a worker look at the sticky queue, so that it counts as alive.
func (r *rig) visitSticky() {
	r.t.Helper()
	if k := r.pollFor(sticky(), time.Second+time.Millisecond); k != nil {
		r.t.Fatalf("a sticky task: %s", list(k.History.GetEvents()))
	}
}

func TestS046_EmptyPoll(t *testing.T) {
	bubble(t, func(r *rig) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(r.ctx, 70*time.Second)
		defer cancel()
		w := must[*workflowservice.PollWorkflowTaskQueueResponse](r)(r.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: ns, TaskQueue: queue("q")}))
		r.same(w, &workflowservice.PollWorkflowTaskQueueResponse{})
		is(r, "the wait", time.Since(begun), time.Minute)
		begun = time.Now()
		ctx, cancel = context.WithTimeout(r.ctx, 10*time.Second)
		defer cancel()
		a := must[*workflowservice.PollActivityTaskQueueResponse](r)(r.PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{Namespace: ns, TaskQueue: queue("q")}))
		r.same(a, &workflowservice.PollActivityTaskQueueResponse{})
		if d := time.Since(begun); d < 8*time.Second || d >= 10*time.Second {
			r.t.Errorf("a poll with a deadline of 10 s took %v", d)
		}
	})
}

func TestS047_WhatAPollTells(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		k := r.take()
		r.same(k.WorkflowExecution, wf("w", run))
		r.same(k.WorkflowType, &commonpb.WorkflowType{Name: "Type"})
		is(r, "attempt", k.Attempt, 1)
		is(r, "previous started event", k.PreviousStartedEventId, 0)
		is(r, "started event", k.StartedEventId, 3)
		is(r, "queue", k.WorkflowExecutionTaskQueue.GetName(), "q")
		if k.ScheduledTime == nil || k.StartedTime == nil {
			r.t.Error("no times")
		}
		k.completeSticky(startTimer("t", time.Minute))
		r.visitSticky()
		r.signal("w", "s")
		k = r.takeFrom(sticky())
		is(r, "previous started event", k.PreviousStartedEventId, 3)
		is(r, "started event", k.StartedEventId, 8)
		is(r, "queue", k.WorkflowExecutionTaskQueue.GetName(), "q")
		is(r, "partial history", list(k.History.Events), "WFTCompleted TimerStarted Signaled WFTScheduled WFTStarted")
		k.complete(completeRun("done"))
	})
}

func TestS048_TaskWithoutCommands(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		resp := r.take().complete()
		if resp.WorkflowTask != nil || len(resp.ActivityTasks) > 0 || resp.ResetHistoryEventId != 0 {
			r.t.Errorf("the answer has %v", resp)
		}
		r.idle()
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted")
		is(r, "status", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		if p := r.describe("w", "").PendingWorkflowTask; p != nil {
			r.t.Errorf("there is a task: %v", p)
		}
	})
}

func TestS050_ThirdAttemptSucceeds(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.ok(r.take().fail(broken))
		second := r.take()
		is(r, "attempt", second.Attempt, 2)
		is(r, "history of attempt 2", list(second.History.Events), "Started WFTScheduled WFTStarted WFTFailed WFTScheduled WFTStarted")
		r.ok(second.fail(broken))
		third := r.take()
		is(r, "attempt", third.Attempt, 3)
		is(r, "started event", third.StartedEventId, 6)
		r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed")
		third.complete(completeRun("done"))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed WFTScheduled WFTStarted WFTCompleted Completed")
		is(r, "attempt in history", events[4].GetWorkflowTaskScheduledEventAttributes().Attempt, 3)
		is(r, "scheduled event of Started", events[5].GetWorkflowTaskStartedEventAttributes().ScheduledEventId, 5)
		done := events[6].GetWorkflowTaskCompletedEventAttributes()
		is(r, "scheduled event of Completed", done.ScheduledEventId, 5)
		is(r, "started event of Completed", done.StartedEventId, 6)
		is(r, "identity", events[5].GetWorkflowTaskStartedEventAttributes().Identity, "worker")
		if !events[5].EventTime.AsTime().Equal(third.StartedTime.AsTime()) {
			r.t.Errorf("started at %v, the worker was told %v", events[5].EventTime.AsTime(), third.StartedTime.AsTime())
		}
	})
}

func TestS051_SignalBetweenAttempts(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 2 {
			r.ok(r.take().fail(broken))
		}
		r.signal("w", "s")
		k := r.take()
		is(r, "attempt", k.Attempt, 1)
		r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled WFTStarted")
		k.complete(completeRun("done"))
	})
}

func TestS052_TaskTimesOut(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) { s.WorkflowTaskTimeout = durationpb.New(7 * time.Second) })
		slow, begun := r.take(), time.Now()
		again := r.take()
		is(r, "the wait", time.Since(begun), 7*time.Second)
		is(r, "attempt", again.Attempt, 2)
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTTimedOut")
		is(r, "timeout", events[3].GetWorkflowTaskTimedOutEventAttributes().TimeoutType, enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
		r.refused(slow.try(completeRun("late")), codes.NotFound, "Workflow task not found.")
		r.refused(slow.fail(enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED), codes.NotFound, "Workflow task not found.")
		again.complete(completeRun("done"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTTimedOut WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

func TestS053_LaterAttemptsHaveMoreTime(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) { s.WorkflowTaskTimeout = durationpb.New(10 * time.Second) })
		var lasted []time.Duration
		for attempt := int32(1); attempt <= 6; attempt++ {
			k, begun := r.take(), time.Now()
			is(r, "attempt", k.Attempt, attempt)
			for r.describe("w", "").PendingWorkflowTask.GetAttempt() == attempt {
				r.pass(time.Second)
				r.settle()
			}
			lasted = append(lasted, time.Since(begun).Round(time.Second))
		}
		for i := range 3 {
			is(r, "an early attempt's time", lasted[i], 10*time.Second)
		}
		for i := 3; i < 6; i++ {
			if lasted[i] <= lasted[i-1] {
				r.t.Errorf("attempts had %v", lasted)
			}
		}
		r.terminate("w")
	})
}

func TestS057_CloseMeetsABufferedSignal(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		r.signal("w", "s")
		r.history("w", "", "Started WFTScheduled WFTStarted")
		r.refused(k.try(completeRun("done")), codes.InvalidArgument, "UnhandledCommand")
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled")
		is(r, "cause", events[3].GetWorkflowTaskFailedEventAttributes().Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)
		is(r, "attempt", events[5].GetWorkflowTaskScheduledEventAttributes().Attempt, 1)
		r.take().complete(completeRun("done"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

func TestS059_Heartbeats(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k, begun := r.take(), time.Now()
		for {
			r.pass(8 * time.Second)
			req := k.request()
			req.ForceCreateNewWorkflowTask, req.ReturnNewWorkflowTask = true, true
			req.StickyAttributes = stickyAttributes()
			resp, err := r.RespondWorkflowTaskCompleted(r.ctx, req)
			if err != nil {
				r.refused(err, codes.NotFound, "workflow task heartbeat timeout")
				break
			}
			if resp.WorkflowTask == nil {
				r.t.Fatal("no follow-up task")
			}
			k = &task{resp.WorkflowTask, r}
			k.judge()
		}
		if d := time.Since(begun); d < 30*time.Minute || d > 30*time.Minute+8*time.Second {
			r.t.Errorf("heartbeats ended after %v", d)
		}
		events := r.stored("w", "")
		is(r, "the end of history", list(events[len(events)-2:]), "WFTTimedOut WFTScheduled")
		r.take().complete(completeRun("done")) // on the normal queue
	})
}

func TestS060_NextTaskInline(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		r.signal("w", "s")
		r.cancel("w")
		req := k.request(startTimer("t", time.Minute))
		req.ReturnNewWorkflowTask = true
		req.StickyAttributes = stickyAttributes()
		resp := must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
		next := &task{resp.WorkflowTask, r}
		next.judge()
		is(r, "partial history", list(next.History.Events), "WFTCompleted TimerStarted Signaled CancelRequested WFTScheduled WFTStarted")
		is(r, "previous started event", next.PreviousStartedEventId, 3)
		next.complete(completeRun("done"))
	})
}

func TestATaskForSignalsAloneTakesItsTurn(t *testing.T) {
	bubble(t, func(r *rig) {
		if inline := r.completeOverASignal(); inline != nil {
			t.Fatal("the answer has a task")
		}
		r.signal("w", "another")
		next := r.takeFrom(sticky())
		is(r, "partial history", list(next.History.Events), "WFTCompleted TimerStarted Signaled WFTScheduled Signaled WFTStarted")
		next.complete(completeRun("done"))
	})
}

func TestATaskForSignalsAloneComesWithTheAnswerIfAskedFor(t *testing.T) {
	bubble(t, func(r *rig) {
		next := &task{r.completeOverASignal(), r}
		next.judge()
		is(r, "partial history", list(next.History.Events), "WFTCompleted TimerStarted Signaled WFTScheduled WFTStarted")
		next.complete(completeRun("done"))
	}, func(l *limits) { l.InlineSignals = true })
}

// A signal beside something that somebody waits for: the next task comes with the answer.
func TestATaskForMoreThanSignalsComesWithTheAnswer(t *testing.T) {
	signalledAnd := func(commands ...*commandpb.Command) func(r *rig, k *task) *workflowservice.PollWorkflowTaskQueueResponse {
		return func(r *rig, k *task) *workflowservice.PollWorkflowTaskQueueResponse {
			r.signal("w", "s")
			req := k.request(commands...)
			req.ReturnNewWorkflowTask = true
			req.StickyAttributes = stickyAttributes()
			return must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req)).WorkflowTask
		}
	}
	inline := func(r *rig, response *workflowservice.PollWorkflowTaskQueueResponse) *task {
		r.t.Helper()
		if response == nil {
			r.t.Fatal("no task with the answer")
		}
		next := &task{response, r}
		next.judge()
		return next
	}
	t.Run("an activity that is cancelled before it started", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.start("w")
			r.take().complete(schedule("a"))
			r.signal("w", "stop it")
			inline(r, signalledAnd(cancelActivity(5))(r, r.take())).complete(completeRun("done"))
		})
	})
	t.Run("an update that has not ended", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.start("w")
			r.take().complete(startTimer("t", time.Minute))
			u := r.updates("w", "u")
			k := r.take()
			k.say([]*protocolpb.Message{k.accept()})
			r.signal("w", "for the update")
			next := inline(r, signalledAnd()(r, r.take()))
			next.say([]*protocolpb.Message{respond("u", "signalled")}, completeRun("done"))
			u.get()
		})
	})
}

// completeOverASignal completes a task during which a signal came, and wants the next one with the answer.
func (r *rig) completeOverASignal() *workflowservice.PollWorkflowTaskQueueResponse {
	r.t.Helper()
	r.start("w")
	k := r.take()
	r.visitSticky()
	r.signal("w", "s")
	req := k.request(startTimer("t", time.Minute))
	req.ReturnNewWorkflowTask = true
	req.StickyAttributes = stickyAttributes()
	return must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req)).WorkflowTask
}

func TestS062_StickyTimeout(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().completeSticky()
		r.visitSticky()
		r.signal("w", "s")
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 5*time.Second)
		is(r, "attempt", k.Attempt, 1)
		is(r, "full history", list(k.History.Events), "Started WFTScheduled WFTStarted WFTCompleted Signaled WFTScheduled WFTTimedOut WFTScheduled WFTStarted")
		is(r, "timeout", k.History.Events[6].GetWorkflowTaskTimedOutEventAttributes().TimeoutType, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
		k.complete(completeRun("done"))
	})
}

func TestS063_DeadStickyWorker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().completeSticky()
		r.visitSticky()
		r.pass(11 * time.Second)
		r.signal("w", "s")
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 0)
		is(r, "full history", list(k.History.Events), "Started WFTScheduled WFTStarted WFTCompleted Signaled WFTScheduled WFTStarted")
		k.complete(completeRun("done"))
	})
}

func TestS064_ResetSticky(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().completeSticky()
		r.visitSticky()
		must[*workflowservice.ResetStickyTaskQueueResponse](r)(r.ResetStickyTaskQueue(r.ctx, &workflowservice.ResetStickyTaskQueueRequest{Namespace: ns, Execution: wf("w", "")}))
		r.signal("w", "s")
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 0)
		is(r, "first event", k.History.Events[0].EventId, 1)
		k.complete(completeRun("done"))
		_, err := r.ResetStickyTaskQueue(r.ctx, &workflowservice.ResetStickyTaskQueueRequest{Namespace: ns, Execution: wf("nobody", "")})
		r.refused(err, codes.NotFound, "workflow not found for ID: nobody")
	})
}

func TestS065_ShutdownWorker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().completeSticky()
		r.visitSticky()
		for _, name := range []string{"sticky", "sticky", "unknown"} {
			must[*workflowservice.ShutdownWorkerResponse](r)(r.ShutdownWorker(r.ctx, &workflowservice.ShutdownWorkerRequest{
				Namespace: ns, StickyTaskQueue: name, Identity: "worker", Reason: "over",
			}))
		}
		r.signal("w", "s")
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 0)
		is(r, "full history", list(k.History.Events), "Started WFTScheduled WFTStarted WFTCompleted Signaled WFTScheduled WFTStarted")
		k.complete(completeRun("done"))
	})
}

func TestS066_SDKMetadataIsKept(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		m := &sdkpb.WorkflowTaskCompletedMetadata{CoreUsedFlags: []uint32{1, 7}, LangUsedFlags: []uint32{3}, SdkName: "mine", SdkVersion: "1.2.3"}
		m.ProtoReflect().SetUnknown([]byte{0xfa, 0x3e, 2, 'h', 'i'}) // a field that is not known yet
		req := r.take().request()
		req.SdkMetadata = m
		must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
		r.same(r.stored("w", "")[3].GetWorkflowTaskCompletedEventAttributes().SdkMetadata, m)
		r.signal("w", "s")
		r.same(r.take().History.Events[3].GetWorkflowTaskCompletedEventAttributes().SdkMetadata, m)
		r.terminate("w")
	})
}

func TestS067_ContinueAsNewIsSuggested(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 20 {
			r.signal("w", "s")
			k := r.take()
			e := k.History.Events[len(k.History.Events)-1].GetWorkflowTaskStartedEventAttributes()
			if want := k.StartedEventId+1 >= 30; e.SuggestContinueAsNew != want {
				r.t.Errorf("suggested at event %d: %v", k.StartedEventId, e.SuggestContinueAsNew)
			} else if want && (len(e.SuggestContinueAsNewReasons) != 1 || e.SuggestContinueAsNewReasons[0] != enumspb.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS) {
				r.t.Errorf("reasons: %v", e.SuggestContinueAsNewReasons)
			}
			k.complete()
		}
	}, func(l *limits) { l.SuggestEvents = 30 })
}

func TestS068_HistorySizeGrows(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		var before int64
		for range 5 {
			r.signal("w", "s")
			k := r.take()
			size := k.History.Events[len(k.History.Events)-1].GetWorkflowTaskStartedEventAttributes().HistorySizeBytes
			if size <= before {
				r.t.Errorf("history grew from %d to %d bytes", before, size)
			}
			before = size
			if d := r.describe("w", "").WorkflowExecutionInfo.HistorySizeBytes; d < size || d > size+500 {
				r.t.Errorf("%d bytes when the task was started, %d in Describe", size, d)
			}
			k.complete(marker("m"))
		}
	})
}

func TestS069_EagerActivities(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		eager := func(a *commandpb.ScheduleActivityTaskCommandAttributes) { a.RequestEagerExecution = true }
		resp := r.take().complete(schedule("a", eager), schedule("normal"), schedule("b", eager))
		if len(resp.ActivityTasks) != 2 {
			r.t.Fatalf("%d eager activities", len(resp.ActivityTasks))
		}
		for i, id := range []string{"a", "b"} {
			is(r, "eager activity", resp.ActivityTasks[i].ActivityId, id)
			r.same(resp.ActivityTasks[i].Input, text("input of "+id))
		}
		is(r, "polled activity", r.takeActivity().ActivityId, "normal")
		r.noActivity()
		for _, a := range resp.ActivityTasks {
			r.ok((&activityTask{a, r}).complete("done"))
		}
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityScheduled ActivityScheduled ActivityStarted ActivityCompleted WFTScheduled ActivityStarted ActivityCompleted")
		r.terminate("w")
	})
}

func TestS070_WorkerFailsATask(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		f := &failurepb.Failure{Message: "history does not fit", Source: "GoSDK", StackTrace: "at main.go:1", Cause: application("Why", func(a *failurepb.ApplicationFailureInfo) { a.Details = text("d") })}
		must[*workflowservice.RespondWorkflowTaskFailedResponse](r)(r.RespondWorkflowTaskFailed(r.ctx, &workflowservice.RespondWorkflowTaskFailedRequest{
			Namespace: ns, TaskToken: k.TaskToken, Identity: "worker", Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR, Failure: f,
		}))
		e := r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed")[3].GetWorkflowTaskFailedEventAttributes()
		is(r, "cause", e.Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR)
		is(r, "identity", e.Identity, "worker")
		is(r, "scheduled event", e.ScheduledEventId, 2)
		is(r, "started event", e.StartedEventId, 3)
		r.same(e.Failure, f)
		r.take().complete(completeRun("done"))
	})
}

func TestS071_GRPCMessageTooLarge(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.ok(r.take().fail(enumspb.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed Terminated")
		is(r, "reason", events[4].GetWorkflowExecutionTerminatedEventAttributes().Reason, "GrpcMessageTooLarge")
	})
}

func TestS073_PagesOfATask(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 300 {
			r.signal("w", "s")
		}
		k := r.take()
		if len(k.NextPageToken) == 0 || len(k.History.Events) != 256 {
			r.t.Fatalf("%d events in the first page", len(k.History.Events))
		}
		r.restart()
		events := k.History.Events
		for token := k.NextPageToken; len(token) > 0; {
			page := must[*workflowservice.GetWorkflowExecutionHistoryResponse](r)(r.GetWorkflowExecutionHistory(r.ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
				Namespace: ns, Execution: k.WorkflowExecution, NextPageToken: token,
			}))
			events, token = append(events, page.History.Events...), page.NextPageToken
		}
		for i, e := range events {
			is(r, "event ID", e.EventId, int64(i)+1)
		}
		is(r, "last event", events[len(events)-1].EventId, k.StartedEventId)
		k.complete(completeRun("done"))
	})
}

func TestS074_TerminatedWhileATaskIsStarted(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		r.signal("w", "s")
		r.terminate("w")
		r.refused(k.try(completeRun("done")), codes.NotFound, "Workflow task not found.")
		events := r.stored("w", "")
		// What was acknowledged is in history, though no code will see it.
		is(r, "history", list(events), "Started WFTScheduled WFTStarted WFTFailed Signaled Terminated")
		r.idle()
	})
}

func TestAWorkerThatFailsItsTaskInTheServersNameIsSlowedDown(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, cause := range []enumspb.WorkflowTaskFailedCause{
			enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND, enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
		} {
			r.start(cause.String())
			r.ok(r.take().fail(cause))
			again := r.take()
			is(r, "attempt", again.Attempt, int32(2))
			again.complete(completeRun("done"))
		}
	})
}
