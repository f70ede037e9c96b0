package historycheck

import (
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// chain builds the runs of a chain; each takes over the clock of the one before.
type chain struct {
	runs []*builder
}

func (c *chain) events() [][]*historypb.HistoryEvent {
	var all [][]*historypb.HistoryEvent
	for _, b := range c.runs {
		all = append(all, b.events)
	}
	return all
}

func (c *chain) first(changes ...func(*startedAttributes)) *builder {
	b := newBuilder().start(changes...).task()
	c.runs = append(c.runs, b)
	return b
}

// next is a successor that carries everything over as it should; changes come last.
func (c *chain) next(initiator enumspb.ContinueAsNewInitiator, changes ...func(*startedAttributes)) *builder {
	prev := c.runs[len(c.runs)-1]
	b := newBuilder()
	b.now = prev.now
	before := prev.event(1).GetWorkflowExecutionStartedEventAttributes()
	carry := func(a *startedAttributes) {
		a.OriginalExecutionRunId = fmt.Sprintf("run-%d", len(c.runs)+1)
		a.ContinuedExecutionRunId = fmt.Sprintf("run-%d", len(c.runs))
		a.Initiator, a.Identity = initiator, ""
		a.RetryPolicy, a.CronSchedule = before.RetryPolicy, before.CronSchedule
		a.WorkflowExecutionTimeout, a.WorkflowRunTimeout = before.WorkflowExecutionTimeout, before.WorkflowRunTimeout
		a.WorkflowExecutionExpirationTime = before.WorkflowExecutionExpirationTime
		a.LastCompletionResult = before.LastCompletionResult
		a.FirstWorkflowTaskBackoff = durationpb.New(time.Second)
		a.ParentWorkflowExecution, a.ParentInitiatedEventId = before.ParentWorkflowExecution, before.ParentInitiatedEventId
		a.RootWorkflowExecution = before.RootWorkflowExecution
		switch last := prev.last(); last.EventType {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
			can := last.GetWorkflowExecutionContinuedAsNewEventAttributes()
			a.WorkflowType, a.TaskQueue, a.Input, a.RetryPolicy, a.CronSchedule = can.WorkflowType, can.TaskQueue, can.Input, nil, ""
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
			a.ContinuedFailure = last.GetWorkflowExecutionFailedEventAttributes().Failure
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
			a.ContinuedFailure = failure("workflow timeout")
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
			a.LastCompletionResult = last.GetWorkflowExecutionCompletedEventAttributes().Result
		}
		if initiator == retry {
			a.Attempt = before.Attempt + 1
		}
	}
	b.start(append([]func(*startedAttributes){carry}, changes...)...).sched(1).taskStart().complete()
	c.runs = append(c.runs, b)
	return b
}

const (
	byWorkflow = enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
	byCron     = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
	retry      = enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY
	inProgress = enumspb.RETRY_STATE_IN_PROGRESS
)

func withExpiration(a *startedAttributes) {
	a.WorkflowExecutionTimeout, a.WorkflowRunTimeout = durationpb.New(time.Hour), durationpb.New(time.Hour)
	a.WorkflowExecutionExpirationTime = timestamppb.New(time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC))
}

func cronDone(b *builder, next string) {
	b.completeRun().last().GetWorkflowExecutionCompletedEventAttributes().NewExecutionRunId = next
}

func TestLegalChainsPass(t *testing.T) {
	for name, build := range map[string]func(*chain){
		"one run": func(c *chain) { c.first() },
		"continue as new twice": func(c *chain) {
			c.first(withExpiration).continueAsNew("run-2")
			c.next(byWorkflow).continueAsNew("run-3")
			c.next(byWorkflow).completeRun()
		},
		"child continues": func(c *chain) { c.first(withParent).continueAsNew("run-2"); c.next(byWorkflow) },
		"retries": func(c *chain) {
			c.first(withRetry, withExpiration).failRun(inProgress, "run-2")
			c.next(retry).failRun(inProgress, "run-3")
			c.next(retry).failRun(enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, "")
		},
		"retried timeout": func(c *chain) {
			c.first(withRetry).end(&historypb.WorkflowExecutionTimedOutEventAttributes{RetryState: inProgress, NewExecutionRunId: "run-2"})
			c.next(retry)
		},
		"cron": func(c *chain) {
			cronDone(c.first(withCron), "run-2")
			c.next(byCron).failRun(enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "run-3")
			c.next(byCron).terminate()
		},
		"cron with retry": func(c *chain) {
			c.first(withCron, withRetry).failRun(inProgress, "run-2")
			cronDone(c.next(retry), "run-3")
			c.next(byCron, func(a *startedAttributes) { a.Attempt = 1 })
		},
		"middle of a chain": func(c *chain) {
			c.first().continueAsNew("run-2")
			c.next(byWorkflow).continueAsNew("run-3")
			c.next(byWorkflow)
			c.runs = c.runs[1:]
		},
		"reset run goes on": func(c *chain) {
			b := newBuilder().begun().reset("run-1", "run-9").sched(1).taskStart().complete().continueAsNew("run-2")
			c.runs = append(c.runs, b)
			c.next(byWorkflow, func(a *startedAttributes) { a.ContinuedExecutionRunId = "run-9" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &chain{}
			build(c)
			wantRules(t, CheckChain(c.events()))
		})
	}
}

type chainFault struct {
	name  string
	rule  Rule
	build func(c *chain)
}

// continued is a continue-as-new whose second run has a fault.
func continued(change func(*startedAttributes)) func(*chain) {
	return func(c *chain) { c.first(withExpiration).continueAsNew("run-2"); c.next(byWorkflow, change) }
}

// retried is a retry whose second run has a fault.
func retried(change func(*startedAttributes)) func(*chain) {
	return func(c *chain) { c.first(withRetry).failRun(inProgress, "run-2"); c.next(retry, change) }
}

// parented is the continue-as-new of a child whose second run has a fault.
func parented(change func(*startedAttributes)) func(*chain) {
	return func(c *chain) { c.first(withParent).continueAsNew("run-2"); c.next(byWorkflow, change) }
}

var chainFaults = []chainFault{
	{"no runs", RuleChainLink, func(c *chain) {}},
	{"other run ID than announced", RuleChainLink, continued(func(a *startedAttributes) { a.OriginalExecutionRunId = "run-7" })},
	{"continues another run", RuleChainLink, continued(func(a *startedAttributes) { a.ContinuedExecutionRunId = "run-0" })},
	{"predecessor is open", RuleChainLink, func(c *chain) { c.first(); c.next(byWorkflow) }},
	{"predecessor was the last", RuleChainLink, func(c *chain) { c.first().completeRun(); c.next(byWorkflow) }},
	{"terminated chain goes on", RuleChainLink, func(c *chain) { c.first().terminate(); c.next(byWorkflow) }},
	{"run ID repeated", RuleChainLink, func(c *chain) {
		c.first().continueAsNew("run-2")
		c.next(byWorkflow).continueAsNew("run-3")
		c.next(byWorkflow, func(a *startedAttributes) { a.OriginalExecutionRunId, a.ContinuedExecutionRunId = "run-2", "run-0" })
	}},
	{"first run ID changes", RuleChainConstant, continued(func(a *startedAttributes) { a.FirstExecutionRunId = "run-0" })},
	{"workflow ID changes", RuleChainConstant, continued(func(a *startedAttributes) { a.WorkflowId = "v" })},
	{"expiration changes", RuleChainConstant, continued(func(a *startedAttributes) {
		a.WorkflowExecutionExpirationTime = timestamppb.New(a.WorkflowExecutionExpirationTime.AsTime().Add(time.Second))
	})},
	{"parent is lost", RuleChainConstant, func(c *chain) {
		c.first(withParent).continueAsNew("run-2")
		c.next(byWorkflow, func(a *startedAttributes) {
			a.ParentWorkflowExecution, a.ParentInitiatedEventId, a.RootWorkflowExecution = nil, 0, nil
		})
	}},
	{"parent run changes", RuleChainConstant, parented(func(a *startedAttributes) { a.ParentWorkflowExecution = run("p", "p-2") })},
	{"parent event changes", RuleChainConstant, parented(func(a *startedAttributes) { a.ParentInitiatedEventId++ })},
	{"root changes", RuleChainConstant, parented(func(a *startedAttributes) { a.RootWorkflowExecution = run("r", "r-1") })},
	{"retry skips an attempt", RuleChainAttempt, retried(func(a *startedAttributes) { a.Attempt = 3 })},
	{"retry beyond the policy", RuleChainAttempt, func(c *chain) {
		c.first(withRetry).failRun(inProgress, "run-2")
		c.next(retry).failRun(inProgress, "run-3")
		c.next(retry).failRun(inProgress, "run-4")
		c.next(retry)
	}},
	{"cron counts on", RuleChainAttempt, func(c *chain) {
		cronDone(c.first(withCron), "run-2")
		c.next(byCron, func(a *startedAttributes) { a.Attempt = 2 })
	}},
	{"cron goes on by the workflow", RuleChainInitiator, func(c *chain) {
		cronDone(c.first(withCron), "run-2")
		c.next(byWorkflow)
	}},
	{"type is lost", RuleChainCarry, continued(func(a *startedAttributes) { a.WorkflowType = &commonpb.WorkflowType{Name: "X"} })},
	{"input is lost", RuleChainCarry, continued(func(a *startedAttributes) { a.Input = nil })},
	{"other queue", RuleChainCarry, continued(func(a *startedAttributes) { a.TaskQueue = queue(); a.TaskQueue.Name = "r" })},
	{"identity kept", RuleChainCarry, continued(func(a *startedAttributes) { a.Identity = "client" })},
	{"type of a retry", RuleChainCarry, retried(func(a *startedAttributes) { a.WorkflowType = &commonpb.WorkflowType{Name: "X"} })},
	{"schedule of a cron run", RuleChainCarry, func(c *chain) {
		cronDone(c.first(withCron), "run-2")
		c.next(byCron, func(a *startedAttributes) { a.CronSchedule = "@daily" })
	}},
	{"input of a retry", RuleChainCarry, retried(func(a *startedAttributes) { a.Input = payloads("9") })},
	{"failure of a retry", RuleChainCarry, retried(func(a *startedAttributes) { a.ContinuedFailure = failure("other") })},
	{"no failure of a retry", RuleChainCarry, retried(func(a *startedAttributes) { a.ContinuedFailure = nil })},
	{"policy of a retry", RuleChainCarry, func(c *chain) {
		c.first(withRetry).failRun(inProgress, "run-2")
		c.next(retry, func(a *startedAttributes) { withRetry(a); a.RetryPolicy.MaximumAttempts = 9 })
	}},
	{"cron result is lost", RuleChainCarry, func(c *chain) {
		cronDone(c.first(withCron), "run-2")
		c.next(byCron, func(a *startedAttributes) { a.LastCompletionResult = nil })
	}},
	{"older cron result is lost", RuleChainCarry, func(c *chain) {
		cronDone(c.first(withCron), "run-2")
		c.next(byCron).failRun(enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "run-3")
		c.next(byCron, func(a *startedAttributes) { a.LastCompletionResult = nil })
	}},
	{"started before the end", RuleChainCarry, func(c *chain) {
		c.first().continueAsNew("run-2")
		b := c.next(byWorkflow)
		b.event(1).EventTime = timestamppb.New(c.runs[0].now.Add(-time.Second))
	}},
}

func TestPlantedChainFaultsAreFound(t *testing.T) {
	for _, f := range chainFaults {
		t.Run(f.name, func(t *testing.T) {
			c := &chain{}
			f.build(c)
			wantRules(t, CheckChain(c.events()), f.rule)
		})
	}
}

func TestChainChecksEachRun(t *testing.T) {
	c := &chain{}
	c.first().continueAsNew("run-2")
	c.next(byWorkflow).marker().last().TaskId = 1
	err := CheckChain(c.events())
	wantRules(t, err, RuleTaskID)
	if vs := err.(Violations); vs[0].Run != 1 {
		t.Errorf("violation is of run %d, want 1", vs[0].Run)
	}
	wantRules(t, Options{RunID: "run-2", AtRest: true}.CheckChain(c.events()[:2]), RuleTaskID)
	wantRules(t, Options{RunID: "run-1"}.CheckChain(c.events()[:1]))
}
