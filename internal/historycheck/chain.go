package historycheck

import (
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
)

// CheckChain judges the runs of one chain, oldest first: each by itself and each against its predecessor, as linked by
// continue-as-new, retry or cron. All but the last must be closed. The chain may begin with any of its runs and end
// before its last. A nil error means legal; otherwise it is Violations with Run set.
func CheckChain(runs [][]*historypb.HistoryEvent) error { return Options{}.CheckChain(runs) }

// CheckChain is the package's CheckChain with what o knows. VirtualTail applies to the last run only, and RunID
// to the last run.
func (o Options) CheckChain(runs [][]*historypb.HistoryEvent) error {
	var found Violations
	var prev *walker
	seen := map[string]int{}
	for i, events := range runs {
		own := o
		if i < len(runs)-1 {
			own.VirtualTail, own.RunID = false, ""
		}
		w := own.walk(events)
		if w.started != nil {
			if earlier, again := seen[w.runID()]; again {
				w.at(events[0])
				w.bad(RuleChainLink, "run ID %q is that of run %d", w.runID(), earlier)
			}
			seen[w.runID()] = i
		}
		if prev != nil {
			w.follow(prev)
		}
		for _, v := range w.found {
			v.Run = i
			found = append(found, v)
		}
		prev = w
	}
	if len(runs) == 0 {
		found = Violations{{Rule: RuleChainLink, Detail: "the chain is empty"}}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// ending is what a closing event says about the run's successor.
type ending struct {
	successor string
	initiator enumspb.ContinueAsNewInitiator
	result    *commonpb.Payloads // of the completed run; nil otherwise
	failed    bool
	failure   *failurepb.Failure // nil also for a timeout, whose failure the server makes up
	continued *historypb.WorkflowExecutionContinuedAsNewEventAttributes
}

func endingOf(e *historypb.HistoryEvent) ending {
	cron, retry := enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE, enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		a := e.GetWorkflowExecutionCompletedEventAttributes()
		return ending{successor: a.NewExecutionRunId, initiator: cron, result: a.Result}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		a := e.GetWorkflowExecutionFailedEventAttributes()
		end := ending{successor: a.NewExecutionRunId, initiator: cron, failed: true, failure: a.Failure}
		if a.RetryState == enumspb.RETRY_STATE_IN_PROGRESS {
			end.initiator = retry
		}
		return end
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		a := e.GetWorkflowExecutionTimedOutEventAttributes()
		end := ending{successor: a.NewExecutionRunId, initiator: cron, failed: true}
		if a.RetryState == enumspb.RETRY_STATE_IN_PROGRESS {
			end.initiator = retry
		}
		return end
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		a := e.GetWorkflowExecutionContinuedAsNewEventAttributes()
		end := ending{successor: a.NewExecutionRunId, initiator: a.Initiator, continued: a}
		if end.initiator == enumspb.CONTINUE_AS_NEW_INITIATOR_UNSPECIFIED {
			end.initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
		}
		return end
	}
	return ending{}
}

// follow judges the run of w as the successor of prev.
func (w *walker) follow(prev *walker) {
	if w.started == nil || prev.started == nil {
		return // already reported
	}
	first := w.started
	w.at(&historypb.HistoryEvent{EventId: 1, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED})
	if prev.closed == nil {
		w.bad(RuleChainLink, "the run before it is still open")
		return
	}
	end := endingOf(prev.closed)
	if end.successor == "" {
		w.bad(RuleChainLink, "the run before it ended the chain with %s", prev.closed.EventType)
		return
	}
	w.need(first.OriginalExecutionRunId == end.successor, RuleChainLink,
		"run %q, but the run before it went on as %q", first.OriginalExecutionRunId, end.successor)
	w.need(first.ContinuedExecutionRunId == prev.runID(), RuleChainLink,
		"continues run %q, but the run before it is %q", first.ContinuedExecutionRunId, prev.runID())
	w.followConstant(prev.started)
	w.followInitiator(prev.started, end)
	w.followCarry(prev, end)
}

// followConstant judges what no run of a chain changes.
func (w *walker) followConstant(prev *historypb.WorkflowExecutionStartedEventAttributes) {
	first := w.started
	same := func(ok bool, what string, got, want any) {
		w.need(ok, RuleChainConstant, "%s is %v, the run before it had %v", what, got, want)
	}
	same(first.WorkflowId == prev.WorkflowId, "workflow ID", first.WorkflowId, prev.WorkflowId)
	same(first.FirstExecutionRunId == prev.FirstExecutionRunId, "first run ID", first.FirstExecutionRunId, prev.FirstExecutionRunId)
	same(proto.Equal(first.WorkflowExecutionExpirationTime, prev.WorkflowExecutionExpirationTime), "expiration time",
		first.WorkflowExecutionExpirationTime, prev.WorkflowExecutionExpirationTime)
	same(proto.Equal(first.ParentWorkflowExecution, prev.ParentWorkflowExecution), "parent",
		first.ParentWorkflowExecution, prev.ParentWorkflowExecution)
	same(first.ParentInitiatedEventId == prev.ParentInitiatedEventId, "parent's initiated event",
		first.ParentInitiatedEventId, prev.ParentInitiatedEventId)
	same(proto.Equal(first.RootWorkflowExecution, prev.RootWorkflowExecution), "root",
		first.RootWorkflowExecution, prev.RootWorkflowExecution)
}

// followInitiator judges why and as which attempt the run exists.
func (w *walker) followInitiator(prev *historypb.WorkflowExecutionStartedEventAttributes, end ending) {
	first := w.started
	// A cron workflow's runs may all say cron, whatever made the single run.
	asCron := first.Initiator == enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE && first.CronSchedule != ""
	w.need(first.Initiator == end.initiator || asCron, RuleChainInitiator,
		"initiator %s, but the run before it went on by %s", first.Initiator, end.initiator)

	if end.initiator != enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY {
		w.need(first.Attempt == 1, RuleChainAttempt, "attempt %d of a run that is no retry", first.Attempt)
		return
	}
	w.need(first.Attempt == prev.Attempt+1, RuleChainAttempt, "attempt %d behind attempt %d", first.Attempt, prev.Attempt)
	limit := prev.GetRetryPolicy().GetMaximumAttempts()
	w.need(limit == 0 || first.Attempt <= limit, RuleChainAttempt, "attempt %d exceeds the policy's %d", first.Attempt, limit)
}

// followCarry judges what one run hands to the next.
func (w *walker) followCarry(prev *walker, end ending) {
	first, before := w.started, prev.started
	same := func(got, want proto.Message, what string) {
		w.need(proto.Equal(got, want) || proto.Size(got)+proto.Size(want) == 0, RuleChainCarry, "%s is not what the run before it handed over", what)
	}
	w.need(first.Identity == "", RuleChainCarry, "identity %q; nobody started this run", first.Identity)
	w.need(!w.begun.Before(prev.closed.GetEventTime().AsTime()), RuleChainCarry, "started before the run before it closed")
	if c := end.continued; c != nil {
		same(first.WorkflowType, c.WorkflowType, "workflow type")
		same(first.Input, c.Input, "input")
		w.need(first.GetTaskQueue().GetName() == c.GetTaskQueue().GetName(), RuleChainCarry,
			"task queue %q, handed over was %q", first.GetTaskQueue().GetName(), c.GetTaskQueue().GetName())
		return
	}
	same(first.WorkflowType, before.WorkflowType, "workflow type")
	same(first.Input, before.Input, "input")
	same(first.RetryPolicy, before.RetryPolicy, "retry policy")
	w.need(first.CronSchedule == before.CronSchedule, RuleChainCarry, "cron schedule %q, before %q", first.CronSchedule, before.CronSchedule)
	if !end.failed {
		same(first.LastCompletionResult, end.result, "last completion result")
		return
	}
	same(first.LastCompletionResult, before.LastCompletionResult, "last completion result")
	w.need(first.ContinuedFailure != nil, RuleChainCarry, "no continued_failure")
	if end.failure != nil && first.ContinuedFailure != nil {
		same(first.ContinuedFailure, end.failure, "continued_failure")
	}
}
