package wiretest

import (
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

type childAttributes = commandpb.StartChildWorkflowExecutionCommandAttributes

// takeOf polls queue q for the task of one workflow; others it comes across are completed without commands.
func (r *rig) takeOf(id string) *task {
	r.t.Helper()
	for {
		k := r.take()
		if k.WorkflowExecution.WorkflowId == id {
			return k
		}
		k.complete()
	}
}

func TestS110_ThreeGenerations(t *testing.T) {
	bubble(t, func(r *rig) {
		top := r.start("top")
		r.takeOf("top").complete(startChild("middle"))
		r.takeOf("middle").complete(startChild("low"))
		r.takeOf("low").complete(completeRun("of low"))
		r.takeOf("middle").complete(completeRun("of middle"))
		r.takeOf("top").complete(completeRun("of top"))
		if e := started(r.stored("top", "")); e.RootWorkflowExecution != nil || e.ParentWorkflowExecution != nil {
			r.t.Errorf("the top run says %v %v", e.RootWorkflowExecution, e.ParentWorkflowExecution)
		}
		r.same(r.describe("top", "").WorkflowExecutionInfo.RootExecution, wf("top", top))
		for parent, child := range map[string]string{"top": "middle", "middle": "low"} {
			events := r.stored(parent, "")
			initiated, started_, done := last(r, events, "StartChildInitiated"), last(r, events, "ChildStarted"), last(r, events, "ChildCompleted")
			run := r.describe(child, "").WorkflowExecutionInfo.Execution.RunId
			s := started_.GetChildWorkflowExecutionStartedEventAttributes()
			r.same(s.WorkflowExecution, wf(child, run))
			is(r, "initiated event", s.InitiatedEventId, initiated.EventId)
			c := done.GetChildWorkflowExecutionCompletedEventAttributes()
			r.same(c.WorkflowExecution, wf(child, run))
			is(r, "initiated event", c.InitiatedEventId, initiated.EventId)
			is(r, "started event", c.StartedEventId, started_.EventId)
			r.same(c.Result, text("of "+child))
			e := started(r.stored(child, ""))
			r.same(e.ParentWorkflowExecution, wf(parent, r.describe(parent, "").WorkflowExecutionInfo.Execution.RunId))
			is(r, "parent's namespace", e.ParentWorkflowNamespace, ns)
			is(r, "parent's event", e.ParentInitiatedEventId, initiated.EventId)
			r.same(e.RootWorkflowExecution, wf("top", top))
			info := r.describe(child, "").WorkflowExecutionInfo
			r.same(info.RootExecution, wf("top", top))
			r.same(info.ParentExecution, e.ParentWorkflowExecution)
		}
		is(r, "found by root", len(r.listed("RootWorkflowId = 'top'")), 3)
		is(r, "found by parent", len(r.listed("ParentWorkflowId = 'middle'")), 1)
	})
}

func TestS111_ChildRunsOnceItsParentKnows(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(startChild("c"))
		k := r.takeOf("c")
		known := last(r, r.stored("w", ""), "ChildStarted")
		if first := last(r, k.History.Events, "WFTScheduled"); first.EventTime.AsTime().Before(known.EventTime.AsTime()) {
			r.t.Errorf("the child's task is of %v, its parent knew at %v", first.EventTime.AsTime(), known.EventTime.AsTime())
		}
		r.history("c", "", "Started WFTScheduled WFTStarted")
		p := r.describe("w", "").PendingChildren
		if len(p) != 1 {
			r.t.Fatalf("pending children: %v", p)
		}
		is(r, "pending child", p[0].WorkflowId, "c")
		is(r, "its run", p[0].RunId, k.WorkflowExecution.RunId)
		is(r, "its initiation", p[0].InitiatedId, 5)
		is(r, "its close policy", p[0].ParentClosePolicy, enumspb.PARENT_CLOSE_POLICY_TERMINATE)
	})
}

func TestS112_ChildIDIsTaken(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("c")
		r.take().complete()
		r.start("w")
		r.take().complete(startChild("c", func(a *childAttributes) { a.Control = "x" }))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted StartChildInitiated StartChildFailed WFTScheduled")
		e := events[5].GetStartChildWorkflowExecutionFailedEventAttributes()
		is(r, "cause", e.Cause, enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS)
		is(r, "workflow", e.WorkflowId, "c")
		is(r, "initiated event", e.InitiatedEventId, 5)
		r.history("c", "", "Started WFTScheduled WFTStarted WFTCompleted")
	})
}

func TestS113_ParentClosePolicies(t *testing.T) {
	bubble(t, func(r *rig) {
		with := func(p enumspb.ParentClosePolicy) func(*childAttributes) {
			return func(a *childAttributes) { a.ParentClosePolicy = p }
		}
		r.start("w")
		r.take().complete(startChild("default"), startChild("terminated", with(enumspb.PARENT_CLOSE_POLICY_TERMINATE)),
			startChild("cancelled", with(enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL)), startChild("left", with(enumspb.PARENT_CLOSE_POLICY_ABANDON)))
		for range 4 { // each child, and perhaps the parent
			r.take().complete()
		}
		r.settle()
		if k := r.pollFor(queue("q"), 2*time.Second); k != nil {
			k.complete()
		}
		r.signal("w", "end")
		r.takeOf("w").complete(completeRun("done"))
		r.settle()
		for _, id := range []string{"default", "terminated"} {
			e := last(r, r.stored(id, ""), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
			is(r, "reason", e.Reason, "by parent close policy")
			is(r, "identity", e.Identity, "history-service")
		}
		last(r, r.history("cancelled", "", "Started WFTScheduled WFTStarted WFTCompleted CancelRequested WFTScheduled"), "CancelRequested")
		r.history("left", "", "Started WFTScheduled WFTStarted WFTCompleted")
	})
}

func TestS113_PolicyWaitsForTheChainsEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(startChild("c"))
		r.takeOf("c").complete()
		r.signal("w", "on")
		r.takeOf("w").complete(continueAsNew())
		r.pass(time.Minute)
		is(r, "child", r.status("c", ""), enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		r.takeOf("w").complete(completeRun("done"))
	})
}

func TestS114_OnlyTheLastRunOfAChildReports(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(
			startChild("retried", func(a *childAttributes) {
				a.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: durationpb.New(time.Second), MaximumAttempts: 2}
			}),
			startChild("continued"))
		ends := map[string]int{}
		for len(ends) < 2 || ends["retried"] < 2 || ends["continued"] < 2 {
			k := r.take()
			id := k.WorkflowExecution.WorkflowId
			switch ends[id]++; {
			case id == "w":
				if list := list(k.History.Events); contains(list, "ChildFailed", "ChildCompleted") {
					r.t.Errorf("the parent knows too early: %s", list)
				}
				k.complete()
			case id == "retried":
				k.complete(failRun(application("Broken")))
			case ends[id] == 1:
				k.complete(continueAsNew())
			default:
				k.complete(completeRun("at last"))
			}
		}
		r.takeOf("w").complete()
		r.settle()
		events := r.stored("w", "")
		count := map[string]int{}
		for _, e := range events {
			count[short(e.EventType)]++
		}
		is(r, "failures", count["ChildFailed"], 1)
		is(r, "completions", count["ChildCompleted"], 1)
		f := last(r, events, "ChildFailed").GetChildWorkflowExecutionFailedEventAttributes()
		is(r, "retry state", f.RetryState, enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
		is(r, "workflow", f.WorkflowExecution.WorkflowId, "retried")
		r.same(last(r, events, "ChildCompleted").GetChildWorkflowExecutionCompletedEventAttributes().Result, text("at last"))
	})
}

func TestS115_HowChildrenEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(startChild("fails"), startChild("cancels"), startChild("killed"),
			startChild("slow", func(a *childAttributes) { a.WorkflowRunTimeout = durationpb.New(30 * time.Second) }))
		done := 0
		for done < 4 {
			k := r.take()
			switch k.WorkflowExecution.WorkflowId {
			case "fails":
				k.complete(failRun(application("Broken")))
				done++
			case "cancels":
				k.complete(cancelRun())
				done++
			case "killed":
				r.terminate("killed")
				done++
			case "slow":
				k.complete()
				done++
			default:
				k.complete()
			}
		}
		r.pass(30 * time.Second)
		r.settle()
		events := r.stored("w", "")
		f := last(r, events, "ChildFailed").GetChildWorkflowExecutionFailedEventAttributes()
		r.same(f.Failure, application("Broken"))
		is(r, "retry state", f.RetryState, enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET)
		r.same(last(r, events, "ChildCanceled").GetChildWorkflowExecutionCanceledEventAttributes().Details, text("canceled"))
		is(r, "terminated", last(r, events, "ChildTerminated").GetChildWorkflowExecutionTerminatedEventAttributes().WorkflowExecution.WorkflowId, "killed")
		is(r, "timed out", last(r, events, "ChildTimedOut").GetChildWorkflowExecutionTimedOutEventAttributes().WorkflowExecution.WorkflowId, "slow")
	})
}

func TestS116_ParentEndsFirst(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(startChild("c", func(a *childAttributes) { a.ParentClosePolicy = enumspb.PARENT_CLOSE_POLICY_ABANDON }), completeRun("done"))
		r.pass(time.Hour)
		is(r, "children", len(r.listed("WorkflowId = 'c'")), 0)
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted StartChildInitiated Completed")
	})
}

func TestS120_WhatAChildTakesOver(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) {
			s.WorkflowExecutionTimeout, s.WorkflowRunTimeout, s.WorkflowTaskTimeout = durationpb.New(time.Hour), durationpb.New(time.Minute), durationpb.New(7*time.Second)
		})
		memo := &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": payload("1")}}
		r.take().complete(startChild("c", func(a *childAttributes) {
			a.Memo, a.SearchAttributes = memo, &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Key": payload(`"k"`)}}
		}))
		initiated := last(r, r.stored("w", ""), "StartChildInitiated").GetStartChildWorkflowExecutionInitiatedEventAttributes()
		e := started(r.stored("c", ""))
		is(r, "queue", e.TaskQueue.Name, "q")
		is(r, "initiated queue", initiated.TaskQueue.Name, "q")
		is(r, "type", e.WorkflowType.Name, "Child")
		r.same(e.Input, text("input of c"))
		r.same(e.WorkflowTaskTimeout, initiated.WorkflowTaskTimeout)
		r.same(e.WorkflowRunTimeout, initiated.WorkflowRunTimeout)
		r.same(e.WorkflowExecutionTimeout, initiated.WorkflowExecutionTimeout)
		is(r, "task timeout", e.WorkflowTaskTimeout.AsDuration() > 0, true)
		info := r.describe("c", "").WorkflowExecutionInfo
		r.same(info.Memo, memo)
		is(r, "search attribute", string(info.SearchAttributes.IndexedFields["Key"].Data), `"k"`)
		is(r, "found", len(r.listed("Key = 'k'")), 1)
	})
}

func TestS121_ChildReplacesARunningOne(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.start("c")
		r.take().complete()
		r.start("w")
		r.take().complete(startChild("c", func(a *childAttributes) {
			a.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
		}))
		r.takeOf("c").complete(completeRun("done"))
		r.settle()
		last(r, r.stored("c", old), "Terminated")
		last(r, r.stored("w", ""), "ChildStarted")
		last(r, r.stored("w", ""), "ChildCompleted")
	})
}
