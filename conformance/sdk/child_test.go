package sdk

import (
	"errors"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// child are options for a child with this ID.
func child(ctx workflow.Context, o workflow.ChildWorkflowOptions) workflow.Context {
	return workflow.WithChildOptions(ctx, o)
}

func TestChildReturnsItsResultAndKnowsItsParent(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			var out string
			err := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{Memo: map[string]any{"k": "v"}}), "child", 2).Get(ctx, &out)
			return out, err
		},
		"child": func(ctx workflow.Context, depth int) (string, error) {
			if depth > 1 {
				var out string
				err := workflow.ExecuteChildWorkflow(ctx, "child", depth-1).Get(ctx, &out)
				return out, err
			}
			return workflow.GetInfo(ctx).ParentWorkflowExecution.ID + " " + workflow.GetInfo(ctx).RootWorkflowExecution.ID, nil
		},
	})
	run := r.start("main")
	out := result[string](r, run)
	started := r.only(run, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)[0].GetChildWorkflowExecutionStartedEventAttributes()
	id := started.GetWorkflowExecution().GetWorkflowId()
	equal(r, "parent and root as the grandchild sees them", out, id+" "+run.GetID())
	done := r.only(run, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)[0].GetChildWorkflowExecutionCompletedEventAttributes()
	equal(r, "initiated", done.GetInitiatedEventId(), started.GetInitiatedEventId())
	begin := r.history(id, "")[0].GetWorkflowExecutionStartedEventAttributes()
	equal(r, "parent", begin.GetParentWorkflowExecution().GetRunId(), run.GetRunID())
	equal(r, "parent's event", begin.GetParentInitiatedEventId(), started.GetInitiatedEventId())
	if begin.GetMemo().GetFields()["k"] == nil {
		r.Fatal("the child has no memo")
	}
}

func TestChildOutcomesReachTheParent(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, how string) (string, error) {
			o := workflow.ChildWorkflowOptions{WorkflowID: r.id(how)}
			if how == "times out" {
				o.WorkflowRunTimeout = time.Second
			}
			f := workflow.ExecuteChildWorkflow(child(ctx, o), "child", how)
			if err := f.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
				return "", err
			}
			err := f.Get(ctx, nil)
			var app *temporal.ApplicationError
			var timeout *temporal.TimeoutError
			var terminated *temporal.TerminatedError
			switch {
			case err == nil:
				return "completed", nil
			case errors.As(err, &app):
				return "failed " + app.Type(), nil
			case errors.As(err, &timeout):
				return "timed out", nil
			case errors.As(err, &terminated):
				return "terminated", nil
			case temporal.IsCanceledError(err):
				return "cancelled", nil
			}
			return "", err
		},
		"child": func(ctx workflow.Context, how string) error {
			switch how {
			case "fails":
				return temporal.NewApplicationError("no", "Kind")
			case "again":
				if workflow.GetInfo(ctx).ContinuedExecutionRunID == "" {
					return workflow.NewContinueAsNewError(ctx, "child", how)
				}
				return nil
			}
			return workflow.Sleep(ctx, time.Hour)
		},
	})
	runs := map[string]client.WorkflowRun{}
	for _, how := range []string{"fails", "again", "times out", "terminate", "cancel"} {
		runs[how] = r.start("main", how)
	}
	for _, how := range []string{"terminate", "cancel"} {
		r.watch(runs[how], enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
	}
	r.must(r.client.TerminateWorkflow(r.ctx, r.id("terminate"), "", "test"))
	r.must(r.client.CancelWorkflow(r.ctx, r.id("cancel"), ""))
	for how, want := range map[string]string{"fails": "failed Kind", "again": "completed", "times out": "timed out", "terminate": "terminated", "cancel": "cancelled"} {
		equal(r, how, result[string](r, runs[how]), want)
	}
	for how, want := range map[string]enumspb.EventType{
		"fails": enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED, "again": enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
		"times out": enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT, "terminate": enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
		"cancel": enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
	} {
		equal(r, how+" event", len(r.only(runs[how], want)), 1)
	}
}

func TestChildWithATakenIDFailsToStart(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (bool, error) {
			f := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID}), "main")
			return temporal.IsWorkflowExecutionAlreadyStartedError(f.Get(ctx, nil)), nil
		},
	})
	run := r.start("main")
	equal(r, "already started", result[bool](r, run), true)
	failed := r.only(run, enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)[0].GetStartChildWorkflowExecutionFailedEventAttributes()
	equal(r, "cause", failed.GetCause(), enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS)
}

func TestChildFollowsItsParentClosePolicy(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, id string, policy enumspb.ParentClosePolicy) error {
			f := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{WorkflowID: id, ParentClosePolicy: policy}), "child")
			return f.GetChildWorkflowExecution().Get(ctx, nil)
		},
		"child": func(ctx workflow.Context) error {
			workflow.GetSignalChannel(ctx, "finish").Receive(ctx, nil)
			return ctx.Err()
		},
	})
	for policy, want := range map[enumspb.ParentClosePolicy]enumspb.WorkflowExecutionStatus{
		enumspb.PARENT_CLOSE_POLICY_TERMINATE:      enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
		enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL: enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED,
		enumspb.PARENT_CLOSE_POLICY_ABANDON:        enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED,
	} {
		id := r.id(policy.String())
		r.must(r.start("main", id, policy).Get(r.ctx, nil))
		switch policy {
		case enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL:
			r.watch(r.client.GetWorkflow(r.ctx, id, ""), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
			fallthrough // the child looks at its context when it goes on
		case enumspb.PARENT_CLOSE_POLICY_ABANDON:
			r.must(r.client.SignalWorkflow(r.ctx, id, "", "finish", nil))
		}
		_ = r.client.GetWorkflow(r.ctx, id, "").Get(r.ctx, nil)
		d, err := r.client.DescribeWorkflowExecution(r.ctx, id, "")
		r.must(err)
		equal(r, policy.String(), d.WorkflowExecutionInfo.Status, want)
	}
}

func TestChildCanBeSignalledAndCancelledByItsParent(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			cctx, cancel := workflow.WithCancel(child(ctx, workflow.ChildWorkflowOptions{WaitForCancellation: true}))
			f := workflow.ExecuteChildWorkflow(cctx, "child")
			if err := f.SignalChildWorkflow(ctx, "word", "hello").Get(ctx, nil); err != nil {
				return "", err
			}
			cancel()
			var canceled *temporal.CanceledError
			if err := f.Get(ctx, nil); !errors.As(err, &canceled) {
				return "", err
			}
			var word string
			err := canceled.Details(&word)
			return word, err
		},
		"child": func(ctx workflow.Context) error {
			var word string
			workflow.GetSignalChannel(ctx, "word").Receive(ctx, &word)
			if err := workflow.Sleep(ctx, time.Hour); err != nil {
				return temporal.NewCanceledError(word)
			}
			return nil
		},
	})
	run := r.start("main")
	equal(r, "the word that went to the child and back", result[string](r, run), "hello")
	cancelled := r.only(run, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
	equal(r, "cancelled events", len(cancelled), 1)
	equal(r, "details", len(cancelled[0].GetChildWorkflowExecutionCanceledEventAttributes().GetDetails().GetPayloads()), 1)
	for _, e := range []enumspb.EventType{enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED} {
		equal(r, e.String(), len(r.only(run, e)), 1)
	}
}

func TestChildIsRetriedByItsOwnPolicyAndReportsOnce(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (int32, error) {
			var attempt int32
			err := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{
				RetryPolicy: &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond, BackoffCoefficient: 1},
			}), "child").Get(ctx, &attempt)
			return attempt, err
		},
		"child": func(ctx workflow.Context) (int32, error) {
			if a := workflow.GetInfo(ctx).Attempt; a > 2 {
				return a, nil
			}
			return 0, errors.New("again")
		},
	})
	run := r.start("main")
	equal(r, "attempt", result[int32](r, run), 3)
	equal(r, "failed events", len(r.only(run, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)), 0)
	equal(r, "completed events", len(r.only(run, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)), 1)
}

func TestChildrenByTheDozen(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, n int) (int, error) {
			var futures []workflow.Future
			for i := range n {
				futures = append(futures, workflow.ExecuteChildWorkflow(ctx, "child", i))
			}
			sum := 0
			for _, f := range futures {
				var i int
				if err := f.Get(ctx, &i); err != nil {
					return 0, err
				}
				sum += i
			}
			return sum, nil
		},
		"child": func(_ workflow.Context, i int) (int, error) { return i, nil },
	})
	equal(r, "sum", result[int](r, r.start("main", 24)), 23*24/2)
}

func TestExternalSignalArrivesWithItsSender(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"receiver": func(ctx workflow.Context) (string, error) {
			var s string
			workflow.GetSignalChannel(ctx, "word").Receive(ctx, &s)
			return s, nil
		},
		"sender": func(ctx workflow.Context, to string) error {
			return workflow.SignalExternalWorkflow(ctx, to, "", "word", "hello").Get(ctx, nil)
		},
	})
	receiver := r.start("receiver")
	sender := r.start("sender", receiver.GetID())
	r.must(sender.Get(r.ctx, nil))
	equal(r, "word", result[string](r, receiver), "hello")
	signaled := r.only(receiver, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)[0].GetWorkflowExecutionSignaledEventAttributes()
	equal(r, "sender", signaled.GetExternalWorkflowExecution().GetWorkflowId(), sender.GetID())
}

func TestExternalSignalAndCancelOfWhatIsNotThereFail(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, how, to string) (bool, error) {
			var err error
			if how == "signal" {
				err = workflow.SignalExternalWorkflow(ctx, to, "", "word", nil).Get(ctx, nil)
			} else {
				err = workflow.RequestCancelExternalWorkflow(ctx, to, "").Get(ctx, nil)
			}
			var unknown *temporal.UnknownExternalWorkflowExecutionError
			return errors.As(err, &unknown), nil
		},
		"quick": func(workflow.Context) error { return nil },
	})
	closed := r.start("quick")
	r.must(closed.Get(r.ctx, nil))
	equal(r, "signal to nobody", result[bool](r, r.start("main", "signal", r.id("nobody"))), true)
	equal(r, "cancel of nobody", result[bool](r, r.start("main", "cancel", r.id("nobody"))), true)
	equal(r, "signal to a closed one", result[bool](r, r.start("main", "signal", closed.GetID())), true)
	equal(r, "cancel of a closed one", result[bool](r, r.start("main", "cancel", closed.GetID())), false)
	self := r.id("self")
	equal(r, "signal to itself", result[bool](r, r.startWith(client.StartWorkflowOptions{ID: self}, "main", "signal", self)), true)
}

func TestExternalCancelReachesAnotherWorkflow(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"target": func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) },
		"main": func(ctx workflow.Context, to string) error {
			return workflow.RequestCancelExternalWorkflow(ctx, to, "").Get(ctx, nil)
		},
	})
	target := r.start("target")
	r.must(r.start("main", target.GetID()).Get(r.ctx, nil))
	if err := r.failure(target); !temporal.IsCanceledError(err) {
		r.Fatalf("target ended with %v, want cancelled", err)
	}
}
