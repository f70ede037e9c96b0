package sdk

import (
	"errors"
	"fmt"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// What updates leave in history, and what their callers hear, with a worker of the official SDK. TestM244 runs these tests
// again without a workflow cache.

const (
	accepted  = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
	completed = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
)

// outline lists the updates' events of a run: +ID when accepted, -ID when completed.
func (r *rig) outline(run client.WorkflowRun) (s string) {
	r.Helper()
	for _, e := range r.history(run.GetID(), run.GetRunID()) {
		switch e.GetEventType() {
		case accepted:
			s += "+" + e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetProtocolInstanceId()
		case completed:
			s += "-" + e.GetWorkflowExecutionUpdateCompletedEventAttributes().GetMeta().GetUpdateId()
		}
	}
	return s
}

// pair wants event id to be an acceptance that the worker placed at sequencing, followed by its completion.
func (r *rig) pair(run client.WorkflowRun, id, sequencing int64) {
	r.Helper()
	events := r.history(run.GetID(), run.GetRunID())
	equal(r, "pair", types(events[id-1:id+1]), "WorkflowExecutionUpdateAccepted WorkflowExecutionUpdateCompleted")
	equal(r, "sequencing event", events[id-1].GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequestSequencingEventId(), sequencing)
	equal(r, "accepted event", events[id].GetWorkflowExecutionUpdateCompletedEventAttributes().GetAcceptedEventId(), id)
}

func TestM109_UpdateInTheFirstTaskIsEvents5And6(t *testing.T) {
	r := newRig(t)
	run := r.start("account")
	sum := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "u", UpdateName: "add", Args: []any{1}})
	r.admitted(run.GetID(), "", "u")
	rejected := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "v", UpdateName: "add", Args: []any{-1}})
	r.admitted(run.GetID(), "", "v")
	r.work(accountFuncs)
	a := <-sum
	r.must(a.err)
	equal(r, "sum", a.value, 1)
	r.failedWith("rejected in the same task", (<-rejected).err, "Negative")
	r.pair(run, 5, 2)
	equal(r, "history length", len(r.history(run.GetID(), "")), 6)
}

func TestUpdateRejectedInTheFirstTaskLeavesItsFourEvents(t *testing.T) {
	r := newRig(t)
	run := r.start("account")
	rejected := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "u", UpdateName: "add", Args: []any{-1}})
	r.admitted(run.GetID(), "", "u")
	r.work(accountFuncs)
	r.failedWith("rejected", (<-rejected).err, "Negative")
	equal(r, "history", types(r.history(run.GetID(), "")), "WorkflowExecutionStarted WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted")
}

func TestM111_UpdateOfAnIdleRunIsEvents5To9(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	r.completed(run, 1)
	_, err := update[int](r, run.GetID(), "add", 1)
	r.must(err)
	equal(r, "history", types(r.history(run.GetID(), "")[4:7]), "WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted")
	r.pair(run, 8, 5)
	_, err = update[int](r, run.GetID(), "add", -1)
	r.failedWith("rejected", err, "Negative")
	r.signal(run.GetID(), "close", nil)
	r.must(run.Get(r.ctx, nil))
	equal(r, "next event", r.history(run.GetID(), "")[9].GetEventType(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
}

func TestM116_M117_UpdatesCompleteInLaterTasksInAnyOrder(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetUpdateHandler(ctx, "held", func(ctx workflow.Context, by string) (string, error) {
			workflow.GetSignalChannel(ctx, by).Receive(ctx, nil)
			return by, nil
		}))
		return workflow.Sleep(ctx, time.Hour)
	}})
	run := r.start("main")
	a, b := r.begin(run.GetID(), "a", "held", "for a"), r.begin(run.GetID(), "b", "held", "for b")
	var out string
	r.signal(run.GetID(), "for b", nil)
	r.must(b.Get(r.ctx, &out))
	equal(r, "outcome of b", out, "for b")
	r.signal(run.GetID(), "for a", nil)
	r.must(a.Get(r.ctx, &out))
	equal(r, "outcome of a", out, "for a")
	equal(r, "order", r.outline(run), "+a+b-b-a")
	events := r.history(run.GetID(), "")
	last := events[len(events)-1]
	equal(r, "before the completion", types(events[len(events)-5:len(events)-1]),
		"WorkflowExecutionSignaled WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted")
	equal(r, "accepted event", last.GetWorkflowExecutionUpdateCompletedEventAttributes().GetAcceptedEventId(), r.only(run, accepted)[0].GetEventId())
}

// heldAccount is an account that holds its first workflow task open, so that messages gather.
func heldAccount(ctx workflow.Context) (string, error) {
	log := ""
	check(workflow.SetUpdateHandlerWithOptions(ctx, "note", func(_ workflow.Context, what string) error { log += what; return nil },
		workflow.UpdateHandlerOptions{Validator: func(what string) error {
			if what == "" {
				return temporal.NewApplicationError("nothing", "Empty")
			}
			return nil
		}}))
	check(held(ctx))
	workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
	return log, nil
}

func TestM118_OneTaskAcceptsOneUpdateAndRejectsAnother(t *testing.T) {
	r := newRig(t)
	h := newHold()
	r.work(funcs{"main": heldAccount, "hold": h.activity})
	run := r.start("main")
	<-h.began
	good := later[any](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "good", UpdateName: "note", Args: []any{"x"}})
	r.admitted(run.GetID(), "", "good")
	bad := later[any](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "bad", UpdateName: "note", Args: []any{""}})
	r.admitted(run.GetID(), "", "bad")
	close(h.goOn)
	r.must((<-good).err)
	r.failedWith("the bad one", (<-bad).err, "Empty")
	equal(r, "updates in history", r.outline(run), "+good-good")
	equal(r, "workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED), 2)
}

func TestM121_UpdatesReachTheirHandlersInTheOrderOfAdmission(t *testing.T) {
	r := newRig(t)
	h := newHold()
	r.work(funcs{"main": heldAccount, "hold": h.activity})
	run := r.start("main")
	<-h.began
	var all []<-chan answer[any]
	for _, what := range "ABCDEFGHIJ" {
		id := string(what)
		all = append(all, later[any](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: id, UpdateName: "note", Args: []any{id}}))
		r.admitted(run.GetID(), "", id)
	}
	close(h.goOn)
	for _, a := range all {
		r.must((<-a).err)
	}
	r.signal(run.GetID(), "stop", nil)
	equal(r, "order of the handlers", result[string](r, run), "ABCDEFGHIJ")
	equal(r, "order in history", r.outline(run), "+A-A+B-B+C-C+D-D+E-E+F-F+G-G+H-H+I-I+J-J")
}

func TestUpdateIsStoredAsItsCallerSentIt(t *testing.T) {
	r := newRig(t)
	r.client = r.dial(client.Options{Identity: "the caller"})
	r.work(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetUpdateHandler(ctx, "two", func(_ workflow.Context, s string, n int) (string, error) { return fmt.Sprint(s, n), nil }))
		return workflow.Sleep(ctx, time.Hour)
	}})
	run := r.start("main")
	h := r.begin(run.GetID(), "U", "two", "arguments: ", 2)
	var out string
	r.must(h.Get(r.ctx, &out))
	equal(r, "outcome", out, "arguments: 2")
	a := r.only(run, accepted)[0].GetWorkflowExecutionUpdateAcceptedEventAttributes()
	equal(r, "message", a.GetAcceptedRequestMessageId(), "U/request")
	equal(r, "instance", a.GetProtocolInstanceId(), "U")
	equal(r, "identity", a.GetAcceptedRequest().GetMeta().GetIdentity(), "the caller")
	equal(r, "name", a.GetAcceptedRequest().GetInput().GetName(), "two")
	var s string
	var n int
	r.must(converter.GetDefaultDataConverter().FromPayloads(a.GetAcceptedRequest().GetInput().GetArgs(), &s, &n))
	equal(r, "arguments", fmt.Sprint(s, n), "arguments: 2")
}

func TestM139_UpdateIDOfARejectedUpdateIsFree(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	h := r.begin(run.GetID(), "same", "add", -1)
	r.failedWith("the first", h.Get(r.ctx, nil), "Negative")
	by := r.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{WorkflowID: run.GetID(), UpdateID: "same"})
	r.notFound("a rejected update by its ID", by.Get(r.ctx, nil))
	var sum int
	r.must(r.begin(run.GetID(), "same", "add", 5).Get(r.ctx, &sum))
	equal(r, "the second", sum, 5)
	r.must(r.begin(run.GetID(), "same", "add", 7).Get(r.ctx, &sum))
	equal(r, "the third", sum, 5)
}

// A handle may pin the chain, by its first run, or one run.
func TestM143_UpdateGoesToTheRunOrTheChainItIsPinnedTo(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetUpdateHandler(ctx, "where", func(ctx workflow.Context) (string, error) { return workflow.GetInfo(ctx).WorkflowExecution.RunID, nil }))
		workflow.GetSignalChannel(ctx, "continue").Receive(ctx, nil)
		return workflow.NewContinueAsNewError(ctx, "main")
	}})
	run := r.start("main")
	where := func(runID, firstRunID string) (out string, err error) {
		h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), RunID: runID, FirstExecutionRunID: firstRunID, UpdateName: "where", WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = h.Get(r.ctx, &out)
		}
		return out, err
	}
	at := func(want, runID, firstRunID string) {
		r.Helper()
		got, err := where(runID, firstRunID)
		r.must(err)
		equal(r, "run that took the update", got, want)
	}
	first := run.GetRunID()
	at(first, "", "")
	at(first, "", first)
	at(first, first, "")
	r.signal(run.GetID(), "continue", nil)
	next := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW).GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
	at(next, "", "")
	at(next, "", first)
	at(next, next, "")
	_, err := where("", next)
	r.notFound("an update that pins another chain", err)
	_, err = where(first, "")
	r.notFound("a new update of the old run", err)
}

// Somebody takes the update's workflow task and never answers.
func TestUpdateIsSentAgainWhenItsTaskTimesOut(t *testing.T) {
	r := newRig(t)
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: time.Second}, "account")
	poll := func() *workflowservice.PollWorkflowTaskQueueResponse {
		task, err := r.client.WorkflowService().PollWorkflowTaskQueue(r.ctx, &workflowservice.PollWorkflowTaskQueueRequest{
			Namespace: namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: r.queue}, Identity: "poller"})
		r.must(err)
		return task
	}
	_, err := r.client.WorkflowService().RespondWorkflowTaskCompleted(r.ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: namespace, TaskToken: poll().GetTaskToken()})
	r.must(err)
	sum := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "u", UpdateName: "add", Args: []any{3}})
	taken := poll()
	equal(r, "messages", len(taken.GetMessages()), 1)
	r.work(accountFuncs)
	a := <-sum
	r.must(a.err)
	equal(r, "sum", a.value, 3)
	equal(r, "history", types(r.history(run.GetID(), "")[4:10]),
		"WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskTimedOut WorkflowTaskScheduled WorkflowTaskStarted WorkflowTaskCompleted")
	_, err = r.client.WorkflowService().RespondWorkflowTaskCompleted(r.ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: namespace, TaskToken: taken.GetTaskToken()})
	r.notFound("the late answer", err)
}

// No worker has the update's task when the run is terminated.
func TestUpdateOfAnIdleRunLeavesNothingWhenTheRunIsTerminated(t *testing.T) {
	r := newRig(t)
	w := r.newWorker(r.client, r.queue, accountFuncs, defaults)
	r.must(w.Start())
	run := r.start("account")
	r.completed(run, 1)
	w.Stop()
	h := later[int](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "u", UpdateName: "add", Args: []any{3}})
	r.admitted(run.GetID(), "", "u")
	r.must(r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "test"))
	r.notFound("the update", (<-h).err)
	var events []string
	for _, e := range r.history(run.GetID(), "") {
		events = append(events, e.GetEventType().String())
	}
	equal(r, "last event", events[len(events)-1], "WorkflowExecutionTerminated")
	equal(r, "accepted", r.outline(run), "")
}

// However a run ends, the callers of updates that it accepted and did not finish hear of it.
func TestUpdateHandlersThatRunWhenTheRunEndsAreAbandoned(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetUpdateHandler(ctx, "never ends", func(ctx workflow.Context) error {
			free, _ := workflow.NewDisconnectedContext(ctx)
			return workflow.Sleep(free, time.Hour)
		}))
		how := ""
		s := workflow.NewSelector(ctx).AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {})
		s.AddReceive(workflow.GetSignalChannel(ctx, "end"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &how) })
		s.Select(ctx)
		switch how {
		case "fail":
			return errors.New("as asked")
		case "continue":
			return workflow.NewContinueAsNewError(ctx, "main")
		}
		return ctx.Err()
	}})
	for _, how := range []string{"complete", "fail", "continue", "cancel", "terminate", "time out"} {
		o := client.StartWorkflowOptions{ID: r.id(how)}
		if how == "time out" {
			o.WorkflowRunTimeout = 2 * time.Second
		}
		run := r.startWith(o, "main")
		h := r.begin(run.GetID(), "u", "never ends")
		switch how {
		case "cancel":
			r.must(r.client.CancelWorkflow(r.ctx, run.GetID(), ""))
		case "terminate":
			r.must(r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "test"))
		case "time out":
		default:
			r.signal(run.GetID(), "end", how)
		}
		for range 2 {
			r.failedWith(how, h.Get(r.ctx, nil), abandoned)
		}
		equal(r, how+": updates in history", r.outline(run), "+u")
		var ended *serviceerror.NotFound
		if _, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), RunID: run.GetRunID(), UpdateName: "never ends", WaitForStage: client.WorkflowUpdateStageAccepted}); !errors.As(err, &ended) {
			r.Fatalf("%s: a new update of the closed run: %v", how, err)
		}
	}
}
