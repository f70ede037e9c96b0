package sdk

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// failedWith wants an application error of this type.
func (r *rig) failedWith(what string, err error, kind string) {
	r.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != kind {
		r.Fatalf("%s: %v, want an error of type %s", what, err, kind)
	}
}

func (r *rig) notFound(what string, err error) {
	r.Helper()
	var gone *serviceerror.NotFound
	if !errors.As(err, &gone) {
		r.Fatalf("%s: %v, want not found", what, err)
	}
}

const abandoned = "AcceptedUpdateCompletedWorkflow" // type of the failure of an accepted update whose run closed

func TestM146_StartingAnUpdateThatIsRejectedGivesAHandle(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.start("account")
	h := r.begin(run.GetID(), "rejected", "add", -1)
	r.failedWith("outcome", h.Get(r.ctx, nil), "Negative")
	r.failedWith("outcome, asked again", h.Get(r.ctx, nil), "Negative")
	equal(r, "accepted", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED), 0)
}

func TestM147_UpdateOutlivesItsCallersPatience(t *testing.T) {
	r := newRig(t)
	run := r.start("account")
	patience := func(updateID, name string, ctx context.Context) <-chan error {
		gaveUp := make(chan error, 1)
		go func() {
			_, err := r.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
				WorkflowID: run.GetID(), UpdateID: updateID, UpdateName: name, WaitForStage: client.WorkflowUpdateStageCompleted})
			gaveUp <- err
		}()
		r.admitted(run.GetID(), "", updateID)
		return gaveUp
	}
	late := func(what string, err error) {
		r.Helper()
		var late *client.WorkflowUpdateServiceTimeoutOrCanceledError
		if !errors.As(err, &late) {
			r.Fatalf("%s: %v, want timeout or cancelled", what, err)
		}
	}
	soon, cancel := context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	late("nobody takes it", <-patience("nobody takes it", "slow", soon)) // there is no worker yet
	r.work(accountFuncs)
	cancelled, cancel := context.WithCancel(r.ctx)
	gaveUp := patience("cancelled", "held", cancelled)
	cancel()
	late("cancelled", <-gaveUp)
	soon, cancel = context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	late("timed out", <-patience("timed out", "held", soon))
	by := func(updateID string) client.WorkflowUpdateHandle {
		return r.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{WorkflowID: run.GetID(), UpdateID: updateID})
	}
	soon, cancel = context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	late("a handle that waits in vain", by("timed out").Get(soon, nil))
	r.signal(run.GetID(), "release", nil)
	r.signal(run.GetID(), "release", nil)
	for _, updateID := range []string{"cancelled", "timed out"} {
		var out string
		r.must(by(updateID).Get(r.ctx, &out))
		equal(r, updateID, out, "released")
	}
	var sum int
	r.must(by("nobody takes it").Get(r.ctx, &sum))
	equal(r, "sum", sum, 1)
	r.signal(run.GetID(), "close", nil)
	equal(r, "sum at the end", result[int](r, run), 1)
}

func TestM181_UpdatesOfRunsThatAreEndedFromOutside(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	unserved := r.queue + "/nobody"
	for _, how := range []string{"terminate", "time out"} {
		o := client.StartWorkflowOptions{ID: r.id("accepted " + how)}
		if how == "time out" {
			o.WorkflowRunTimeout = 2 * time.Second
		}
		run := r.startWith(o, "account")
		accepted := r.begin(run.GetID(), "u", "held")
		o.ID, o.TaskQueue = r.id("admitted "+how), unserved
		waiting := r.startWith(o, "account")
		admitted := later[string](r, client.UpdateWorkflowOptions{WorkflowID: waiting.GetID(), UpdateID: "u", UpdateName: "held"})
		r.admitted(waiting.GetID(), "", "u")
		if how == "terminate" {
			r.must(r.client.TerminateWorkflow(r.ctx, run.GetID(), "", "test"))
			r.must(r.client.TerminateWorkflow(r.ctx, waiting.GetID(), "", "test"))
		}
		r.failedWith(how+" after acceptance", accepted.Get(r.ctx, nil), abandoned)
		r.notFound(how+" after admission", (<-admitted).err)
		r.failedWith(how+" after acceptance, asked again", accepted.Get(r.ctx, nil), abandoned)
		equal(r, "completed updates", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED), 0)
	}
}

func TestM182_UpdateMovesOnFromARunThatTimedOutToItsRetry(t *testing.T) {
	r := newRig(t)
	f := funcs{"main": func(ctx workflow.Context) (string, error) {
		done := false
		check(workflow.SetUpdateHandler(ctx, "where", func(ctx workflow.Context) (string, error) {
			done = true
			return workflow.GetInfo(ctx).WorkflowExecution.RunID, nil
		}))
		err := workflow.Await(ctx, func() bool { return done })
		return "updated", err
	}}
	run := r.startWith(client.StartWorkflowOptions{
		WorkflowRunTimeout: 3 * time.Second, RetryPolicy: &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, MaximumAttempts: 5},
	}, "main")
	moved := later[string](r, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateID: "u", UpdateName: "where"})
	r.admitted(run.GetID(), run.GetRunID(), "u")
	next := r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT).GetWorkflowExecutionTimedOutEventAttributes().GetNewExecutionRunId()
	r.work(f)
	a := <-moved
	r.must(a.err)
	equal(r, "run that took the update", a.value, next)
	equal(r, "result of the chain", result[string](r, r.client.GetWorkflow(r.ctx, run.GetID(), "")), "updated")
}

func TestM204_UpdateWithStartThatIsMisusedSendsNothing(t *testing.T) {
	r := newRig(t)
	var sent atomic.Int32
	r.client = r.watched(func(request any) {
		if _, ok := request.(*workflowservice.ExecuteMultiOperationRequest); ok {
			sent.Add(1)
		}
	})
	r.work(accountFuncs)
	call := func(op client.WithStartWorkflowOperation) error {
		h, err := r.client.UpdateWithStartWorkflow(r.ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: op,
			UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: "add", Args: []any{1}, WaitForStage: client.WorkflowUpdateStageCompleted},
		})
		if err != nil {
			return err
		}
		return h.Get(r.ctx, nil)
	}
	without := r.client.NewWithStartWorkflowOperation(r.options(client.StartWorkflowOptions{ID: r.id("without")}), "account")
	if err := call(without); err == nil || !strings.Contains(err.Error(), "ConflictPolicy") {
		r.Fatalf("without a conflict policy: %v", err)
	}
	equal(r, "requests", sent.Load(), 0)
	op := r.client.NewWithStartWorkflowOperation(r.options(client.StartWorkflowOptions{
		ID: r.id("with"), WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING}), "account")
	r.must(call(op))
	equal(r, "requests", sent.Load(), 1)
	run, err := op.Get(r.ctx)
	r.must(err)
	r.begun = append(r.begun, firstRun{run, r.client, run.GetRunID()})
	if err := call(op); err == nil || !strings.Contains(err.Error(), "already executed") {
		r.Fatalf("the same operation again: %v", err)
	}
	equal(r, "requests", sent.Load(), 1)
	_, err = r.client.DescribeWorkflowExecution(r.ctx, r.id("without"), "")
	r.notFound("the workflow without a policy", err)
	r.signal(run.GetID(), "close", nil)
	equal(r, "sum", result[int](r, run), 1)
}

// The Go SDK's start operation stays silent after a failed call, so M-205 is only half seen here.
func TestUpdateWithStartSaysThatTheWorkflowRuns(t *testing.T) {
	r := newRig(t)
	r.work(accountFuncs)
	run := r.startWith(client.StartWorkflowOptions{ID: r.id("one")}, "account")
	op := r.client.NewWithStartWorkflowOperation(r.options(client.StartWorkflowOptions{
		ID: run.GetID(), WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}), "account")
	_, err := r.client.UpdateWithStartWorkflow(r.ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: op,
		UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: "add", Args: []any{1}, WaitForStage: client.WorkflowUpdateStageCompleted},
	})
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if !errors.As(err, &already) {
		r.Fatalf("%v, want already started", err)
	}
	equal(r, "run", already.RunId, run.GetRunID())
	var multi *serviceerror.MultiOperationExecution
	if errors.As(err, &multi) {
		r.Fatalf("the error shows the multi-operation: %v", err)
	}
	equal(r, "accepted", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED), 0)
}
