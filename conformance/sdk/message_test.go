package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// gather collects "n" signals until "stop", and answers the query "got".
func gather(ctx workflow.Context) ([]int, error) {
	got := []int{}
	if err := workflow.SetQueryHandler(ctx, "got", func() ([]int, error) { return got, nil }); err != nil {
		return nil, err
	}
	numbers, stop, stopped := workflow.GetSignalChannel(ctx, "n"), workflow.GetSignalChannel(ctx, "stop"), false
	s := workflow.NewSelector(ctx)
	s.AddReceive(numbers, func(c workflow.ReceiveChannel, _ bool) {
		var n int
		c.Receive(ctx, &n)
		got = append(got, n)
	})
	s.AddReceive(stop, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); stopped = true })
	for !stopped || s.HasPending() {
		s.Select(ctx)
	}
	return got, nil
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestSignalsArriveOnceAndInOrder(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	for i := range 60 {
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", i))
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), run.GetRunID(), "stop", nil))
	equal(r, "numbers", result[[]int](r, run), upTo(60))
}

func TestSignalWithOneRequestIDIsRecordedOnce(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	input, err := converter.GetDefaultDataConverter().ToPayloads(7)
	r.must(err)
	for range 3 {
		_, err := r.client.WorkflowService().SignalWorkflowExecution(r.ctx, &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.GetID()}, SignalName: "n", Input: input, RequestId: "same",
		})
		r.must(err)
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "stop", nil))
	equal(r, "numbers", result[[]int](r, run), []int{7})
	_, err = r.client.WorkflowService().SignalWorkflowExecution(r.ctx, &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.GetID()}, SignalName: "n", Input: input, RequestId: "same",
	})
	r.must(err) // known, although the run is closed
	var gone *serviceerror.NotFound
	if err := r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", 8); !errors.As(err, &gone) {
		r.Fatalf("a new signal to a closed run: %v, want not found", err)
	}
	if err := r.client.SignalWorkflow(r.ctx, r.id("nobody"), "", "n", 8); !errors.As(err, &gone) {
		r.Fatalf("a signal to nobody: %v, want not found", err)
	}
}

// Signals that come while a workflow task runs wait for its end, and keep a closing workflow open.
func TestSignalDuringAWorkflowTaskIsNotLost(t *testing.T) {
	r := newRig(t)
	began, goOn := make(chan struct{}, 10), make(chan struct{})
	r.work(funcs{
		"main": func(ctx workflow.Context) (int, error) {
			actx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second})
			if err := workflow.ExecuteLocalActivity(actx, "hold").Get(ctx, nil); err != nil {
				return 0, err
			}
			n, c := 0, workflow.GetSignalChannel(ctx, "n")
			for c.ReceiveAsync(nil) {
				n++
			}
			return n, nil
		},
		"hold": func(context.Context) error { began <- struct{}{}; <-goOn; return nil },
	})
	run := r.start("main")
	<-began
	for i := range 3 {
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", i))
	}
	close(goOn)
	equal(r, "signals seen", result[int](r, run), 3)
}

func TestSignalWithStartStartsOnceAndAlwaysSignals(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	o := r.options(client.StartWorkflowOptions{ID: r.id("one")})
	var runs []client.WorkflowRun
	for i := range 3 {
		run, err := r.client.SignalWithStartWorkflow(r.ctx, o.ID, "n", i, o, "gather")
		r.must(err)
		runs = append(runs, run)
	}
	r.begun = append(r.begun, runs[0])
	equal(r, "second run ID", runs[1].GetRunID(), runs[0].GetRunID())
	r.must(r.client.SignalWorkflow(r.ctx, o.ID, "", "stop", nil))
	equal(r, "numbers", result[[]int](r, runs[0]), upTo(3))
	next, err := r.client.SignalWithStartWorkflow(r.ctx, o.ID, "stop", nil, o, "gather")
	r.must(err)
	r.begun = append(r.begun, next)
	equal(r, "numbers of the second run", result[[]int](r, next), []int{})
	events := r.history(o.ID, next.GetRunID())
	equal(r, "begins with", types(events[:3]), "WorkflowExecutionStarted WorkflowExecutionSignaled WorkflowTaskScheduled")
}

func TestQuerySeesEverythingStoredBeforeIt(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	ask := func() (got []int) {
		v, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "got")
		r.must(err)
		r.must(v.Get(&got))
		return got
	}
	for i := range 10 {
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", i))
		equal(r, "so far", ask(), upTo(i+1))
	}
	before := len(r.history(run.GetID(), ""))
	ask()
	equal(r, "history length after a query", len(r.history(run.GetID(), "")), before)
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "stop", nil))
	r.must(run.Get(r.ctx, nil))
	equal(r, "after the end", ask(), upTo(10))
}

func TestQueriesThatFailSayWhy(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		_ = workflow.SetQueryHandler(ctx, "fails", func() (int, error) { return 0, errors.New("cannot tell") })
		return workflow.Sleep(ctx, time.Hour)
	}})
	run := r.start("main")
	var failed *serviceerror.QueryFailed
	if _, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "fails"); !errors.As(err, &failed) || !strings.Contains(err.Error(), "cannot tell") {
		r.Fatalf("failing query: %v", err)
	}
	if _, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "unknown"); !errors.As(err, &failed) {
		r.Fatalf("unknown query: %v", err)
	}
	var gone *serviceerror.NotFound
	if _, err := r.client.QueryWorkflow(r.ctx, r.id("nobody"), "", "fails"); !errors.As(err, &gone) {
		r.Fatalf("query of nobody: %v", err)
	}
}

func TestQueryForTheStackShowsWhereTheWorkflowWaits(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	v, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", client.QueryTypeStackTrace)
	r.must(err)
	var stack string
	r.must(v.Get(&stack))
	if !strings.Contains(stack, "gather") {
		r.Fatalf("stack:\n%s", stack)
	}
}

func TestQueryIsRejectedByItsCondition(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "stop", nil))
	r.must(run.Get(r.ctx, nil))
	answer, err := r.client.QueryWorkflowWithOptions(r.ctx, &client.QueryWorkflowWithOptionsRequest{
		WorkflowID: run.GetID(), QueryType: "got", QueryRejectCondition: enumspb.QUERY_REJECT_CONDITION_NOT_OPEN,
	})
	r.must(err)
	if answer.QueryRejected == nil {
		r.Fatal("not rejected")
	}
	equal(r, "status", answer.QueryRejected.Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
}

func TestQueryWithoutAWorkerEndsWithItsDeadline(t *testing.T) {
	r := newRig(t)
	run := r.start("nobody")
	ctx, cancel := context.WithTimeout(r.ctx, 1500*time.Millisecond)
	defer cancel()
	_, err := r.client.WorkflowService().QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: run.GetID()}, Query: &querypb.WorkflowQuery{QueryType: "q"},
	})
	if err == nil || ctx.Err() == nil && serviceerror.ToStatus(err).Code().String() != "FailedPrecondition" && serviceerror.ToStatus(err).Code().String() != "DeadlineExceeded" {
		r.Fatalf("got %v", err)
	}
}

// account takes updates: "add" (validated), "slow" (waits for an activity), "fail", "seven" (accepted, then waits for a signal).
func account(ctx workflow.Context) (int, error) {
	sum := 0
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(workflow.SetUpdateHandlerWithOptions(ctx, "add", func(_ workflow.Context, n int) (int, error) { sum += n; return sum, nil },
		workflow.UpdateHandlerOptions{Validator: func(n int) error {
			if n < 0 {
				return temporal.NewApplicationError("negative", "Negative")
			}
			return nil
		}}))
	must(workflow.SetUpdateHandler(ctx, "slow", func(ctx workflow.Context) (int, error) {
		err := workflow.ExecuteActivity(short(ctx), "one").Get(ctx, nil)
		sum++
		return sum, err
	}))
	must(workflow.SetUpdateHandler(ctx, "fail", func(workflow.Context) error { return temporal.NewApplicationError("refused", "Refused") }))
	must(workflow.SetUpdateHandler(ctx, "held", func(ctx workflow.Context) (string, error) {
		workflow.GetSignalChannel(ctx, "release").Receive(ctx, nil)
		return "released", nil
	}))
	must(workflow.SetQueryHandler(ctx, "sum", func() (int, error) { return sum, nil }))
	workflow.GetSignalChannel(ctx, "close").Receive(ctx, nil)
	must(workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }))
	return sum, nil
}

var accountFuncs = funcs{"account": account, "one": func(context.Context) error { return nil }}

// update calls an update, waits for its outcome and returns it.
func update[T any](r *rig, id, name string, args ...any) (T, error) {
	r.Helper()
	var out T
	h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return out, err
	}
	return out, h.Get(r.ctx, &out)
}

func TestUpdatesAnswerAreRejectedAndFail(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	n, err := update[int](r, run.GetID(), "add", 3)
	r.must(err)
	equal(r, "first sum", n, 3)
	before := len(r.history(run.GetID(), ""))
	var app *temporal.ApplicationError
	if _, err = update[int](r, run.GetID(), "add", -1); !errors.As(err, &app) || app.Type() != "Negative" {
		r.Fatalf("rejected update: %v", err)
	}
	equal(r, "history length after a rejection", len(r.history(run.GetID(), "")), before)
	if _, err = update[int](r, run.GetID(), "fail"); !errors.As(err, &app) || app.Type() != "Refused" {
		r.Fatalf("failed update: %v", err)
	}
	if _, err = update[int](r, run.GetID(), "unknown"); err == nil || !strings.Contains(err.Error(), "unknown update") {
		r.Fatalf("unknown update: %v", err)
	}
	n, err = update[int](r, run.GetID(), "slow")
	r.must(err)
	equal(r, "sum after the slow one", n, 4)
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "close", nil))
	equal(r, "sum at the end", result[int](r, run), 4)
	equal(r, "accepted", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)), 3)
	equal(r, "completed", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)), 3)
}

func TestUpdateWithOneIDRunsOnce(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	ask := func(n int) int {
		h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), UpdateID: "same", UpdateName: "add", Args: []any{n}, WaitForStage: client.WorkflowUpdateStageCompleted})
		r.must(err)
		var out int
		r.must(h.Get(r.ctx, &out))
		return out
	}
	equal(r, "first", ask(5), 5)
	equal(r, "again", ask(6), 5)
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "close", nil))
	equal(r, "sum", result[int](r, run), 5)
	equal(r, "after the end", ask(7), 5)
	var out int
	r.must(r.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{WorkflowID: run.GetID(), UpdateID: "same"}).Get(r.ctx, &out))
	equal(r, "by its handle", out, 5)
	var gone *serviceerror.NotFound
	if err := r.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{WorkflowID: run.GetID(), UpdateID: "other"}).Get(r.ctx, &out); !errors.As(err, &gone) {
		r.Fatalf("handle of an unknown update: %v", err)
	}
	if _, err := update[int](r, run.GetID(), "add", 1); !errors.As(err, &gone) {
		r.Fatalf("update of a closed run: %v", err)
	}
}

func TestUpdateIsAcceptedBeforeItCompletes(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "held", WaitForStage: client.WorkflowUpdateStageAccepted})
	r.must(err)
	equal(r, "accepted events", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)), 1)
	equal(r, "completed events", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)), 0)
	impatient, cancel := context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	var out string
	if err := h.Get(impatient, &out); err == nil {
		r.Fatal("an update that waits has an outcome")
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "release", nil))
	r.must(h.Get(r.ctx, &out))
	equal(r, "outcome", out, "released")
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "close", nil))
	r.must(run.Get(r.ctx, nil))
}

func TestUpdatesOfAClosingRunEndWithIt(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "held", WaitForStage: client.WorkflowUpdateStageAccepted})
	r.must(err)
	r.must(r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "test"))
	var app *temporal.ApplicationError
	if err := h.Get(r.ctx, nil); !errors.As(err, &app) || app.Type() != "AcceptedUpdateCompletedWorkflow" {
		r.Fatalf("outcome of an update whose run was terminated: %v", err)
	}
}

func TestUpdatesConcurrentlyEachCountOnce(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	results := make(chan error, 24)
	for range 4 {
		go func() {
			for range 6 {
				_, err := update[int](r, run.GetID(), "add", 1)
				results <- err
			}
		}()
	}
	for range 24 {
		r.must(<-results)
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "close", nil))
	equal(r, "sum", result[int](r, run), 24)
}

func TestUpdateWithStartDoesBothInOneRequest(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	id := r.id("account")
	call := func(policy enumspb.WorkflowIdConflictPolicy, n int) (int, client.WorkflowRun, error) {
		op := r.client.NewWithStartWorkflowOperation(r.options(client.StartWorkflowOptions{ID: id, WorkflowIDConflictPolicy: policy}), "account")
		h, err := r.client.UpdateWithStartWorkflow(r.ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: op,
			UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: "add", Args: []any{n}, WaitForStage: client.WorkflowUpdateStageCompleted},
		})
		if err != nil {
			return 0, nil, err
		}
		run, err := op.Get(r.ctx)
		r.must(err)
		var out int
		return out, run, h.Get(r.ctx, &out)
	}
	_, first, err := call(enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, 1)
	r.must(err)
	r.begun = append(r.begun, first)
	_, second, err := call(enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, 2)
	r.must(err)
	equal(r, "run", second.GetRunID(), first.GetRunID())
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if _, _, err := call(enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, 4); !errors.As(err, &already) {
		r.Fatalf("with policy fail: %v, want already started", err)
	}
	var app *temporal.ApplicationError
	if _, _, err := call(enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, -1); !errors.As(err, &app) || app.Type() != "Negative" {
		r.Fatalf("rejected: %v", err)
	}
	r.must(r.client.SignalWorkflow(r.ctx, id, "", "close", nil))
	equal(r, "sum", result[int](r, first), 3)
}

func TestM148_UpdateFromAnActivityOfTheSameWorkflow(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			var word string
			err := workflow.SetUpdateHandler(ctx, "say", func(_ workflow.Context, s string) error { word = s; return nil })
			if err != nil {
				return "", err
			}
			err = workflow.ExecuteActivity(short(ctx), "calls back").Get(ctx, nil)
			return word, err
		},
		"calls back": func(ctx context.Context) error {
			h, err := r.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
				WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID, UpdateName: "say", Args: []any{"hello"}, WaitForStage: client.WorkflowUpdateStageCompleted})
			if err != nil {
				return fmt.Errorf("update: %w", err)
			}
			return h.Get(ctx, nil)
		},
	})
	equal(r, "word", result[string](r, r.start("main")), "hello")
}
