package historycheck

import (
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// fault is an illegal history and exactly the rules it breaks.
type fault struct {
	name  string
	rules []Rule
	build func(b *builder)
}

func started(change func(*startedAttributes)) func(*builder) {
	return func(b *builder) { b.start(change).sched(1) }
}

// cronRun is a later run of a cron workflow.
func cronRun(a *startedAttributes) {
	withCron(a)
	a.ContinuedExecutionRunId, a.FirstExecutionRunId = "run-0", "run-0"
}

func one(r Rule) []Rule { return []Rule{r} }

var faults = []fault{
	// the envelope
	{"gap in IDs", one(RuleIDs), func(b *builder) { b.running().marker().last().EventId++ }},
	{"IDs from 0", one(RuleIDs), func(b *builder) { b.start().last().EventId = 0 }},
	{"ID twice", one(RuleIDs), func(b *builder) { b.running().marker().marker().last().EventId-- }},
	{"no time", one(RuleTime), func(b *builder) { b.running().marker().last().EventTime = nil }},
	{"time falls", one(RuleTime), func(b *builder) { b.running().marker().last().EventTime = timestamppb.New(b.now.Add(-2 * time.Second)) }},
	{"task started before scheduled", one(RuleTime), func(b *builder) { b.begun().last().EventTime = timestamppb.New(b.now.Add(-time.Minute)) }},
	{"activity started before scheduled", one(RuleTime), func(b *builder) {
		x := b.running().activity("x")
		b.activityStart(x)
		b.last().EventTime = timestamppb.New(b.now.Add(-time.Minute))
	}},
	{"activity started after its end", one(RuleTime), func(b *builder) {
		b.activityDone(b.running().activity("x")).sched(1)
		b.event(6).EventTime = timestamppb.New(b.now.Add(time.Minute))
		b.events = b.events[:7]
	}},
	{"task ID repeated", one(RuleTaskID), func(b *builder) { b.running().last().TaskId -= 2 }},
	{"no task IDs", one(RuleTaskID), func(b *builder) {
		b.running()
		for _, e := range b.events {
			e.TaskId = 0
		}
	}},
	{"version changes", one(RuleVersion), func(b *builder) { b.running().last().Version = 3 }},
	{"signal may be ignored", one(RuleIgnorable), func(b *builder) { b.running().signal("").last().WorkerMayIgnore = true }},
	{"end may be ignored", one(RuleIgnorable), func(b *builder) { b.running().terminate().last().WorkerMayIgnore = true }},
	{"nil event", one(RuleType), func(b *builder) { b.running(); b.events = append(b.events, nil) }},
	{"foreign attributes", one(RuleType), func(b *builder) { b.running().marker().last().EventType = enumspb.EVENT_TYPE_TIMER_STARTED }},
	{"no attributes", one(RuleType), func(b *builder) { b.running().marker().last().Attributes = nil }},
	{"no type", one(RuleType), func(b *builder) { b.running().marker().last().EventType = 0 }},
	{"type of the future", one(RuleType), func(b *builder) { b.running().marker().last().EventType = 999 }},
	{"update rejected is never written", one(RuleType), func(b *builder) {
		b.running().add(&historypb.WorkflowExecutionUpdateRejectedEventAttributes{ProtocolInstanceId: "u"})
	}},

	// start
	{"no Started event", []Rule{RuleFirst}, func(b *builder) { b.sched(1) }},
	{"started twice", one(RuleFirst), func(b *builder) { b.start().sched(1).start() }},
	{"no workflow ID", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowId = "" })},
	{"no workflow type", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowType = nil })},
	{"no task queue", one(RuleStarted), started(func(a *startedAttributes) { a.TaskQueue.Name = "" })},
	{"sticky task queue", one(RuleStarted), started(func(a *startedAttributes) { a.TaskQueue.Kind = enumspb.TASK_QUEUE_KIND_STICKY })},
	{"no run IDs", one(RuleStarted), started(func(a *startedAttributes) { a.OriginalExecutionRunId, a.FirstExecutionRunId = "", "" })},
	{"no original run ID", one(RuleStarted), started(func(a *startedAttributes) { cronRun(a); a.OriginalExecutionRunId = "" })},
	{"no first run ID", one(RuleStarted), started(func(a *startedAttributes) { cronRun(a); a.FirstExecutionRunId = "" })},
	{"attempt 0", one(RuleStarted), started(func(a *startedAttributes) { cronRun(a); a.Attempt = 0 })},
	{"cron run without schedule", one(RuleStarted), started(func(a *startedAttributes) { cronRun(a); a.CronSchedule = "" })},
	{"negative execution timeout", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowExecutionTimeout = durationpb.New(-1) })},
	{"attempt 2 of a first run", one(RuleStarted), started(func(a *startedAttributes) { a.Attempt = 2 })},
	{"task timeout not defaulted", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowTaskTimeout = nil })},
	{"task timeout not cut", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowRunTimeout = durationpb.New(time.Second) })},
	{"negative run timeout", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowRunTimeout = durationpb.New(-1) })},
	{"negative run timeout of a later run", one(RuleStarted), started(func(a *startedAttributes) { cronRun(a); a.WorkflowRunTimeout = durationpb.New(-1) })},
	{"negative backoff", one(RuleStarted), started(func(a *startedAttributes) { a.FirstWorkflowTaskBackoff = durationpb.New(-1) })},
	{"expiration without timeout", one(RuleStarted), started(func(a *startedAttributes) { a.WorkflowExecutionExpirationTime = timestamppb.Now() })},
	{"run timeout not cut", one(RuleStarted), started(func(a *startedAttributes) {
		a.WorkflowExecutionTimeout, a.WorkflowExecutionExpirationTime = durationpb.New(time.Minute), timestamppb.Now()
	})},
	{"first run is another", one(RuleStarted), started(func(a *startedAttributes) { a.FirstExecutionRunId = "run-0" })},
	{"initiator of a fresh run", one(RuleStarted), started(func(a *startedAttributes) { a.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW })},
	{"cron without initiator", one(RuleStarted), started(func(a *startedAttributes) { a.CronSchedule = "@daily" })},
	{"initiator cron without schedule", one(RuleStarted), started(func(a *startedAttributes) { a.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE })},
	{"continued without initiator", one(RuleStarted), started(func(a *startedAttributes) { a.ContinuedExecutionRunId, a.FirstExecutionRunId = "run-0", "run-0" })},
	{"continued but first", one(RuleStarted), started(func(a *startedAttributes) {
		a.ContinuedExecutionRunId, a.Initiator = "run-0", enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
	})},
	{"continues itself", one(RuleStarted), started(func(a *startedAttributes) {
		a.ContinuedExecutionRunId, a.FirstExecutionRunId, a.Initiator = "run-1", "run-0", enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
	})},
	{"continue-as-new counts on", one(RuleStarted), started(func(a *startedAttributes) {
		a.ContinuedExecutionRunId, a.FirstExecutionRunId, a.Initiator, a.Attempt = "run-0", "run-0", enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW, 2
	})},
	{"retry as attempt 1", one(RuleStarted), started(func(a *startedAttributes) {
		withRetry(a)
		a.ContinuedExecutionRunId, a.FirstExecutionRunId, a.Initiator = "run-0", "run-0", enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY
	})},
	{"retry without policy", one(RuleStarted), started(func(a *startedAttributes) {
		a.ContinuedExecutionRunId, a.FirstExecutionRunId, a.Initiator, a.Attempt = "run-0", "run-0", enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY, 2
	})},
	{"root without parent", one(RuleStarted), started(func(a *startedAttributes) { a.RootWorkflowExecution = run("w", "run-1") })},
	{"parent without root", one(RuleStarted), started(func(a *startedAttributes) { withParent(a); a.RootWorkflowExecution = nil })},
	{"parent without run", one(RuleStarted), started(func(a *startedAttributes) { withParent(a); a.ParentWorkflowExecution.RunId = "" })},
	{"null memo", one(RuleStarted), started(func(a *startedAttributes) { a.Memo.Fields["n"] = nil })},
	{"null search attribute", one(RuleSearchAttributes), started(func(a *startedAttributes) {
		a.SearchAttributes.IndexedFields["n"] = &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/null")}}
	})},
	{"search attribute without type", one(RuleSearchAttributes), started(func(a *startedAttributes) { a.SearchAttributes = searchAttribute("") })},
	{"search attribute of unknown type", one(RuleSearchAttributes), func(b *builder) { b.running().upsert("String") }},
	{"child's search attribute without type", one(RuleSearchAttributes), func(b *builder) {
		b.running().child("c")
		b.last().GetStartChildWorkflowExecutionInitiatedEventAttributes().SearchAttributes = searchAttribute("")
	}},
	{"successor's search attribute without type", one(RuleSearchAttributes), func(b *builder) {
		b.running().continueAsNew("run-2").last().GetWorkflowExecutionContinuedAsNewEventAttributes().SearchAttributes = searchAttribute("")
	}},
	{"two signals before the first task", one(RuleFirstTask), func(b *builder) { b.start().signal("a").signal("b").sched(1) }},
	{"cancel before the first task", one(RuleFirstTask), func(b *builder) { b.start().cancelRequest().sched(1) }},
	{"terminated without a task", one(RuleFirstTask), func(b *builder) { b.start().terminate() }},
	{"cancel in backoff does not wake", one(RuleWake), func(b *builder) { b.start(withDelay).cancelRequest().terminate() }},

	// close
	{"event after close", one(RuleClose), func(b *builder) { b.running().completeRun().signal("") }},
	{"closed twice", one(RuleClose), func(b *builder) { b.running().completeRun().terminate() }},
	{"task after close", one(RuleClose), func(b *builder) { b.running().completeRun().sched(1) }},
	{"completed with a successor", one(RuleCloseFields), func(b *builder) {
		b.running().completeRun().last().GetWorkflowExecutionCompletedEventAttributes().NewExecutionRunId = "run-2"
	}},
	{"failed without failure", one(RuleCloseFields), func(b *builder) {
		b.running().failRun(enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "").last().GetWorkflowExecutionFailedEventAttributes().Failure = nil
	}},
	{"failed without retry state", one(RuleCloseFields), func(b *builder) { b.running().failRun(enumspb.RETRY_STATE_UNSPECIFIED, "") }},
	{"failed without policy, other state", one(RuleCloseFields), func(b *builder) { b.running().failRun(enumspb.RETRY_STATE_TIMEOUT, "") }},
	{"policy set, state says not", one(RuleCloseFields), func(b *builder) {
		b.start(withRetry).task().failRun(enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "")
	}},
	{"in progress without successor", one(RuleCloseFields), func(b *builder) { b.start(withRetry).task().failRun(enumspb.RETRY_STATE_IN_PROGRESS, "") }},
	{"successor without retry", one(RuleCloseFields), func(b *builder) {
		b.start(withRetry).task().failRun(enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, "run-2")
	}},
	{"timed out in progress without policy", one(RuleCloseFields), func(b *builder) {
		b.running().end(&historypb.WorkflowExecutionTimedOutEventAttributes{RetryState: enumspb.RETRY_STATE_IN_PROGRESS, NewExecutionRunId: "run-2"})
	}},
	{"timed out without retry state", one(RuleCloseFields), func(b *builder) {
		b.running().end(&historypb.WorkflowExecutionTimedOutEventAttributes{})
	}},
	{"successor is the run itself", one(RuleCloseFields), func(b *builder) { b.running().continueAsNew("run-1") }},
	{"no successor", one(RuleCloseFields), func(b *builder) { b.running().continueAsNew("") }},
	{"continue as no type", one(RuleCloseFields), func(b *builder) {
		b.running().continueAsNew("run-2").last().GetWorkflowExecutionContinuedAsNewEventAttributes().WorkflowType = nil
	}},
	{"continue on no queue", one(RuleCloseFields), func(b *builder) {
		b.running().continueAsNew("run-2").last().GetWorkflowExecutionContinuedAsNewEventAttributes().TaskQueue = nil
	}},
	{"continue without task timeout", one(RuleCloseFields), func(b *builder) {
		b.running().continueAsNew("run-2").last().GetWorkflowExecutionContinuedAsNewEventAttributes().WorkflowTaskTimeout = nil
	}},
	{"negative continue-as-new backoff", one(RuleCloseFields), func(b *builder) {
		b.running().continueAsNew("run-2").last().GetWorkflowExecutionContinuedAsNewEventAttributes().BackoffStartInterval = durationpb.New(-1)
	}},
	{"terminated without reason", one(RuleCloseFields), func(b *builder) {
		b.running().terminate().last().GetWorkflowExecutionTerminatedEventAttributes().Reason = ""
	}},

	// workflow tasks
	{"scheduled twice", one(RuleTask), func(b *builder) { b.start().sched(1).sched(1) }},
	{"scheduled while started", one(RuleTask), func(b *builder) { b.begun().sched(1) }},
	{"started unscheduled", []Rule{RuleTask, RuleTaskRef}, func(b *builder) { b.running(); b.scheduled = 4; b.taskStart() }},
	{"started twice", one(RuleTask), func(b *builder) { b.begun().taskStart() }},
	{"completed unstarted", one(RuleTask), func(b *builder) { b.start().sched(1).complete() }},
	{"completed twice", one(RuleTask), func(b *builder) { b.running().complete() }},
	{"failed unstarted", one(RuleTask), func(b *builder) { b.start().sched(1).fail(crashed) }},
	{"timed out unstarted", one(RuleTask), func(b *builder) { b.start().sched(1).taskTimeout(enumspb.TIMEOUT_TYPE_START_TO_CLOSE) }},
	{"started, timed out to start", one(RuleTask), func(b *builder) { b.begun().taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START) }},
	{"schedule-to-start names a start", one(RuleTaskRef), func(b *builder) {
		b.start().sched(1).taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START).last().GetWorkflowTaskTimedOutEventAttributes().StartedEventId = 2
	}},
	{"start of another task", one(RuleTaskRef), func(b *builder) { b.start().sched(1); b.scheduled = 1; b.taskStart() }},
	{"completion of another task", one(RuleTaskRef), func(b *builder) { b.begun(); b.scheduled = 1; b.complete() }},
	{"completion of another start", one(RuleTaskRef), func(b *builder) { b.begun(); b.started = 2; b.complete() }},
	{"failure of another task", one(RuleTaskRef), func(b *builder) { b.begun(); b.scheduled = 1; b.fail(crashed) }},
	{"task without queue", one(RuleTaskFields), func(b *builder) { b.start().sched(1).last().GetWorkflowTaskScheduledEventAttributes().TaskQueue = nil }},
	{"task without timeout", one(RuleTaskFields), func(b *builder) {
		b.start().sched(1).last().GetWorkflowTaskScheduledEventAttributes().StartToCloseTimeout = nil
	}},
	{"task failed without cause", one(RuleTaskFields), func(b *builder) { b.begun().fail(0) }},
	{"task timed out without type", one(RuleTaskFields), func(b *builder) { b.begun().taskTimeout(enumspb.TIMEOUT_TYPE_HEARTBEAT) }},
	{"history shrinks", one(RuleTaskFields), func(b *builder) {
		b.running().sched(1).taskStart().last().GetWorkflowTaskStartedEventAttributes().HistorySizeBytes = 1
	}},
	{"attempt 0 of a task", one(RuleAttempt), func(b *builder) { b.start().sched(0) }},
	{"first task is a retry", one(RuleAttempt), func(b *builder) { b.start().sched(2) }},
	{"retry behind success", one(RuleAttempt), func(b *builder) { b.running().sched(2) }},
	{"retry behind other events", one(RuleAttempt), func(b *builder) { b.begun().fail(crashed).signal("").sched(2) }},
	{"retry behind a schedule-to-start timeout", one(RuleAttempt), func(b *builder) {
		b.start().sched(1).taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START).sched(2)
	}},
	{"retry behind a reset", one(RuleAttempt), func(b *builder) { b.begun().reset("run-1", "run-2").sched(2) }},
	{"retry that failed is written", one(RuleAttempt), func(b *builder) { b.begun().fail(crashed).sched(2).taskStart().fail(crashed) }},
	{"retry that timed out is written", one(RuleAttempt), func(b *builder) {
		b.begun().fail(crashed).sched(2).taskStart().taskTimeout(enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
	}},
	{"signal inside a retry", one(RuleAttempt), func(b *builder) { b.begun().fail(crashed).sched(2).signal("").taskStart().complete() }},

	// command batches and buffering
	{"command behind a signal", one(RuleBatch), func(b *builder) { b.running().signal("").marker() }},
	{"command before any task", one(RuleBatch), func(b *builder) { b.start().sched(1).marker() }},
	{"command inside a started task", one(RuleBatch), func(b *builder) { b.running().sched(1).taskStart().marker() }},
	{"command of a failed task", one(RuleBatch), func(b *builder) { b.begun().fail(crashed).marker() }},
	{"command behind the next task", one(RuleBatch), func(b *builder) { b.running().sched(1).marker() }},
	{"command of another batch", one(RuleBatch), func(b *builder) { b.running().task(); b.completed = 4; b.marker() }},
	{"close behind a signal", one(RuleBatch), func(b *builder) { b.running().signal("").completeRun() }},
	{"close of another batch", one(RuleBatch), func(b *builder) { b.running().task(); b.completed = 4; b.completeRun() }},
	{"update accepted outside a batch", one(RuleBatch), func(b *builder) { b.running().signal("").updateAccept("u") }},
	{"update completed outside a batch", one(RuleBatch), func(b *builder) {
		u := b.running().updateAccept("u")
		b.signal("").updateComplete("u", u)
	}},
	{"signal in a started task", one(RuleBuffered), func(b *builder) { b.begun().signal("") }},
	{"activity result in a started task", one(RuleBuffered), func(b *builder) {
		x := b.running().activity("x")
		b.sched(1).taskStart().activityDone(x)
	}},
	{"options in a started task", one(RuleBuffered), func(b *builder) { b.begun().options("o") }},
	{"signal behind an activity result", one(RuleFlush), func(b *builder) { b.activityDone(b.running().activity("x")).signal("").sched(1) }},
	{"timer behind a child's end", one(RuleFlush), func(b *builder) {
		c, t := b.running().child("c"), b.timer("t")
		s := b.childStart(c, "c")
		b.task().childComplete(c, s, "c").timerFire(t, "t").sched(1)
	}},
	{"forced flush out of order", one(RuleFlush), func(b *builder) {
		x := b.running().activity("x")
		b.sched(1).taskStart().fail(forced).activityDone(x).signal("")
	}},
	{"early cancel apart from its request", one(RuleFlush), func(b *builder) {
		x := b.running().activity("x")
		b.task()
		r := b.activityCancel(x)
		b.marker()
		b.activityCanceled(x, 0, r)
		b.signal("")
	}},
	{"signal without a task", one(RuleWake), func(b *builder) { b.running().signal("").terminate() }},
	{"unhandled command without news", one(RuleWake), func(b *builder) { b.begun().fail(unhandled).sched(1) }},
	{"forced failure without news", one(RuleWake), func(b *builder) { b.begun().fail(forced).sched(1) }},
	{"reset without a task", one(RuleWake), func(b *builder) { b.begun().reset("run-1", "run-2").terminate() }},
	{"sticky timeout without a task", one(RuleWake), func(b *builder) {
		b.start().sched(1).taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START).terminate()
	}},
	{"unpaused without a task", one(RuleWake), func(b *builder) { b.running().pause().unpause().terminate() }},

	// activities
	{"activity without ID", one(RuleActivity), func(b *builder) { b.running().activity("") }},
	{"activity ID pending", one(RuleActivity), func(b *builder) { b.running().activity("x"); b.activity("x") }},
	{"unknown activity ends", one(RuleActivity), func(b *builder) { b.running().activityTimeout(4, 0, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START) }},
	{"activity ends twice", one(RuleActivity), func(b *builder) {
		x := b.running().activity("x")
		b.activityDone(x).sched(1).taskStart().complete().activityTimeout(x, 0, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
	}},
	{"activity restarts", one(RuleActivity), func(b *builder) {
		x := b.running().activity("x")
		b.activityDone(x).task().activityStart(x)
	}},
	{"activity end names another start", one(RuleActivity), func(b *builder) {
		x := b.running().activity("x")
		b.activityStart(x)
		b.activityComplete(x, 3)
	}},
	{"cancel of an ended activity", one(RuleActivity), func(b *builder) {
		x := b.running().activity("x")
		b.activityDone(x).task().activityCancel(x)
	}},
	{"activity completes unstarted", one(RuleActivityPair), func(b *builder) { x := b.running().activity("x"); b.activityComplete(x, 0) }},
	{"activity fails unstarted", one(RuleActivityPair), func(b *builder) { x := b.running().activity("x"); b.activityFail(x, 0) }},
	{"event between activity start and end", one(RuleActivityPair), func(b *builder) {
		x := b.running().activity("x")
		b.activityStart(x)
		b.sched(1)
	}},
	{"two activities entangled", []Rule{RuleActivityPair}, func(b *builder) {
		x, y := b.running().activity("x"), b.activity("y")
		s, t := b.activityStart(x), b.activityStart(y)
		b.activityComplete(y, t)
		b.activityComplete(x, s)
	}},
	{"activity without timeouts", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().StartToCloseTimeout = durationpb.New(0)
	}},
	{"nil activity timeout", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().HeartbeatTimeout = nil
	}},
	{"heartbeat not capped", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().HeartbeatTimeout = durationpb.New(time.Hour)
	}},
	{"start-to-close not capped", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		a := b.last().GetActivityTaskScheduledEventAttributes()
		a.ScheduleToCloseTimeout, a.ScheduleToStartTimeout = durationpb.New(time.Second), durationpb.New(time.Second)
	}},
	{"schedule-to-start not defaulted", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().ScheduleToCloseTimeout = durationpb.New(time.Hour)
	}},
	{"nil retry policy", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().RetryPolicy = nil
	}},
	{"activity without type", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().ActivityType = nil
	}},
	{"activity without queue", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().TaskQueue = nil
	}},
	{"negative activity timeout", one(RuleActivityFields), func(b *builder) {
		b.running().activity("x")
		b.last().GetActivityTaskScheduledEventAttributes().HeartbeatTimeout = durationpb.New(-1)
	}},
	{"activity attempt 0", one(RuleActivityFields), func(b *builder) {
		b.activityStart(b.running().activity("x"))
		b.last().GetActivityTaskStartedEventAttributes().Attempt = 0
	}},
	{"activity attempt 2 without failure", one(RuleActivityFields), func(b *builder) {
		b.activityStart(b.running().activity("x"))
		b.last().GetActivityTaskStartedEventAttributes().Attempt = 2
	}},
	{"activity failed without failure", one(RuleActivityFields), func(b *builder) {
		x := b.running().activity("x")
		b.activityFail(x, b.activityStart(x))
		b.last().GetActivityTaskFailedEventAttributes().Failure = nil
	}},
	{"activity failed in progress", one(RuleActivityFields), func(b *builder) {
		x := b.running().activity("x")
		b.activityFail(x, b.activityStart(x))
		b.last().GetActivityTaskFailedEventAttributes().RetryState = enumspb.RETRY_STATE_IN_PROGRESS
	}},
	{"start-to-close of an unstarted", one(RuleActivityFields), func(b *builder) {
		x := b.running().activity("x")
		b.activityTimeout(x, 0, enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
	}},
	{"schedule-to-start of a started", one(RuleActivityFields), func(b *builder) {
		x := b.running().activity("x")
		b.activityTimeout(x, b.activityStart(x), enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
	}},
	{"timed out without info", one(RuleActivityFields), func(b *builder) {
		x := b.running().activity("x")
		b.activityTimeout(x, 0, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
		b.last().GetActivityTaskTimedOutEventAttributes().Failure = failure("x")
	}},
	{"canceled unasked", one(RuleActivityCancel), func(b *builder) {
		x := b.running().activity("x")
		b.activityCanceled(x, b.activityStart(x), 0)
	}},
	{"canceled names another request", one(RuleActivityCancel), func(b *builder) {
		x := b.running().activity("x")
		b.activityCancel(x)
		b.activityCanceled(x, b.activityStart(x), 4)
	}},
	{"asked twice", one(RuleActivityCancel), func(b *builder) { x := b.running().activity("x"); b.activityCancel(x); b.activityCancel(x) }},
	{"unstarted canceled too late", one(RuleActivityCancel), func(b *builder) {
		x := b.running().activity("x")
		r := b.activityCancel(x)
		b.task().activityCanceled(x, 0, r)
	}},

	// timers, children, outgoing
	{"timer ID pending", one(RuleTimer), func(b *builder) { b.running().timer("t"); b.timer("t") }},
	{"timer without ID", one(RuleTimer), func(b *builder) { b.running().timer("") }},
	{"timer without duration", one(RuleTimer), func(b *builder) {
		b.running().timer("t")
		b.last().GetTimerStartedEventAttributes().StartToFireTimeout = nil
	}},
	{"timer of negative duration", one(RuleTimer), func(b *builder) {
		b.running().timer("t")
		b.last().GetTimerStartedEventAttributes().StartToFireTimeout = durationpb.New(-1)
	}},
	{"timer fires twice", one(RuleTimer), func(b *builder) { t := b.running().timer("t"); b.timerFire(t, "t").timerFire(t, "t") }},
	{"canceled timer fires", one(RuleTimer), func(b *builder) { t := b.running().timer("t"); b.timerCancel(t, "t").timerFire(t, "t") }},
	{"unknown timer fires", one(RuleTimer), func(b *builder) { b.running().timerFire(4, "t") }},
	{"timer fires under another name", one(RuleTimer), func(b *builder) { t := b.running().timer("t"); b.timerFire(t, "u") }},
	{"timer fires early", one(RuleTimer), func(b *builder) {
		t := b.running().timer("t")
		b.last().GetTimerStartedEventAttributes().StartToFireTimeout = durationpb.New(time.Hour)
		b.timerFire(t, "t")
	}},
	{"child without ID", one(RuleChild), func(b *builder) { b.running().child("") }},
	{"child's policy not defaulted", one(RuleChild), func(b *builder) {
		b.running().child("c")
		b.last().GetStartChildWorkflowExecutionInitiatedEventAttributes().ParentClosePolicy = 0
	}},
	{"child's reuse policy not defaulted", one(RuleChild), func(b *builder) {
		b.running().child("c")
		b.last().GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowIdReusePolicy = 0
	}},
	{"child without type", one(RuleChild), func(b *builder) {
		b.running().child("c")
		b.last().GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowType = nil
	}},
	{"child without queue", one(RuleChild), func(b *builder) {
		b.running().child("c")
		b.last().GetStartChildWorkflowExecutionInitiatedEventAttributes().TaskQueue = nil
	}},
	{"child ends under another ID", one(RuleChild), func(b *builder) {
		c := b.running().child("c")
		b.childComplete(c, b.childStart(c, "c"), "d")
	}},
	{"child ends without run", one(RuleChild), func(b *builder) {
		c := b.running().child("c")
		b.childComplete(c, b.childStart(c, "c"), "c").last().GetChildWorkflowExecutionCompletedEventAttributes().WorkflowExecution.RunId = ""
	}},
	{"child starts uninitiated", one(RuleChild), func(b *builder) { b.running().childStart(4, "c") }},
	{"child starts twice", one(RuleChild), func(b *builder) { c := b.running().child("c"); b.childStart(c, "c"); b.childStart(c, "c") }},
	{"child starts and fails to", one(RuleChild), func(b *builder) { c := b.running().child("c"); b.childStart(c, "c"); b.childStartFail(c, "c") }},
	{"child fails to start without cause", one(RuleChild), func(b *builder) {
		b.childStartFail(b.running().child("c"), "c").last().GetStartChildWorkflowExecutionFailedEventAttributes().Cause = 0
	}},
	{"child fails to start for another batch", one(RuleChild), func(b *builder) {
		b.childStartFail(b.running().child("c"), "c").last().GetStartChildWorkflowExecutionFailedEventAttributes().WorkflowTaskCompletedEventId = 3
	}},
	{"child starts under another ID", one(RuleChild), func(b *builder) { b.childStart(b.running().child("c"), "d") }},
	{"child starts without run", one(RuleChild), func(b *builder) {
		b.childStart(b.running().child("c"), "c")
		b.last().GetChildWorkflowExecutionStartedEventAttributes().WorkflowExecution.RunId = ""
	}},
	{"child ends unstarted", one(RuleChild), func(b *builder) { c := b.running().child("c"); b.childComplete(c, 0, "c") }},
	{"child ends twice", one(RuleChild), func(b *builder) {
		c := b.running().child("c")
		s := b.childStart(c, "c")
		b.childComplete(c, s, "c").childComplete(c, s, "c")
	}},
	{"child's end names another start", one(RuleChild), func(b *builder) {
		c := b.running().child("c")
		b.childComplete(c, b.childStart(c, "c")-1, "c")
	}},
	{"child failed without failure", one(RuleChild), func(b *builder) {
		c := b.running().child("c")
		b.add(&historypb.ChildWorkflowExecutionFailedEventAttributes{InitiatedEventId: c, StartedEventId: b.childStart(c, "c"),
			WorkflowExecution: run("c", "c-1"), RetryState: enumspb.RETRY_STATE_TIMEOUT})
	}},
	{"child failed in progress", one(RuleChild), func(b *builder) {
		c := b.running().child("c")
		b.add(&historypb.ChildWorkflowExecutionFailedEventAttributes{InitiatedEventId: c, StartedEventId: b.childStart(c, "c"),
			WorkflowExecution: run("c", "c-1"), Failure: failure("x"), RetryState: enumspb.RETRY_STATE_IN_PROGRESS})
	}},
	{"two outcomes of a signal", one(RuleExternal), func(b *builder) {
		s := b.running().signalOut("s")
		b.signalOutDone(s, "s").signalOutFail(s, "s")
	}},
	{"two outcomes of a cancel", one(RuleExternal), func(b *builder) {
		s := b.running().cancelOut("s")
		b.cancelOutDone(s, "s").cancelOutFail(s, "s")
	}},
	{"outcome of the other kind", one(RuleExternal), func(b *builder) { b.cancelOutDone(b.running().signalOut("s"), "s") }},
	{"outcome of nothing", one(RuleExternal), func(b *builder) { b.running().signalOutDone(4, "s") }},
	{"outcome at another execution", one(RuleExternal), func(b *builder) { b.signalOutDone(b.running().signalOut("s"), "t") }},
	{"signal fails without cause", one(RuleExternal), func(b *builder) {
		b.signalOutFail(b.running().signalOut("s"), "s").last().GetSignalExternalWorkflowExecutionFailedEventAttributes().Cause = 0
	}},
	{"signal failure names a batch", one(RuleExternal), func(b *builder) {
		b.signalOutFail(b.running().signalOut("s"), "s").last().GetSignalExternalWorkflowExecutionFailedEventAttributes().WorkflowTaskCompletedEventId = 4
	}},
	{"signal out without name", one(RuleExternal), func(b *builder) {
		b.running().signalOut("s")
		b.last().GetSignalExternalWorkflowExecutionInitiatedEventAttributes().SignalName = ""
	}},
	{"cancel fails without cause", one(RuleExternal), func(b *builder) {
		b.cancelOutFail(b.running().cancelOut("s"), "s").last().GetRequestCancelExternalWorkflowExecutionFailedEventAttributes().Cause = 0
	}},
	{"signal to nobody", one(RuleExternal), func(b *builder) { b.running().signalOut("") }},

	// messages
	{"accepted twice", one(RuleUpdate), func(b *builder) { b.running().updateAccept("u"); b.updateAccept("u") }},
	{"completed before accepted", one(RuleUpdate), func(b *builder) { b.running().updateComplete("u", 4) }},
	{"completed twice", one(RuleUpdate), func(b *builder) {
		u := b.running().updateAccept("u")
		b.updateComplete("u", u).updateComplete("u", u)
	}},
	{"completed as another", one(RuleUpdate), func(b *builder) { b.updateComplete("v", b.running().updateAccept("u")) }},
	{"completed without outcome", one(RuleUpdate), func(b *builder) {
		b.updateComplete("u", b.running().updateAccept("u")).last().GetWorkflowExecutionUpdateCompletedEventAttributes().Outcome = &updatepb.Outcome{}
	}},
	{"accepted without request", one(RuleUpdate), func(b *builder) {
		b.running().updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest = nil
	}},
	{"update without ID", one(RuleUpdate), func(b *builder) { b.running().updateAccept("") }},
	{"update without name", one(RuleUpdate), func(b *builder) {
		b.running().updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest.Input = nil
	}},
	{"accepted another's request", one(RuleUpdate), func(b *builder) {
		b.running().updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest = request("v")
	}},
	{"accepted another message", one(RuleUpdate), func(b *builder) {
		b.running().updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequestMessageId = "u"
	}},
	{"accepted ahead of its sequence", one(RuleUpdate), func(b *builder) {
		b.running().updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequestSequencingEventId = 5
	}},
	{"accepted without sequence", one(RuleUpdate), func(b *builder) {
		b.running().updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequestSequencingEventId = 0
	}},
	{"admitted without reset", one(RuleUpdate), func(b *builder) { b.running().updateAdmit("u") }},
	{"admitted twice", one(RuleUpdate), func(b *builder) { b.begun().reset("run-1", "run-2").updateAdmit("u").updateAdmit("u") }},
	{"admitted without origin", one(RuleUpdate), func(b *builder) {
		b.begun().reset("run-1", "run-2").updateAdmit("u").last().GetWorkflowExecutionUpdateAdmittedEventAttributes().Origin = 0
	}},
	{"admitted, accepted with request", one(RuleUpdate), func(b *builder) {
		b.begun().reset("run-1", "run-2").updateAdmit("u").task().updateAccept("u")
	}},
	{"request ID of a signal twice", one(RuleSignal), func(b *builder) { b.running().signal("r").sched(1).signal("r") }},
	{"signal without name", one(RuleSignal), func(b *builder) {
		b.running().signal("r").last().GetWorkflowExecutionSignaledEventAttributes().SignalName = ""
	}},
	{"signal of a workflow without request ID", one(RuleSignal), func(b *builder) {
		b.running().signal("").last().GetWorkflowExecutionSignaledEventAttributes().ExternalWorkflowExecution = run("o", "o-1")
	}},
	{"canceled twice", one(RuleCancel), func(b *builder) { b.running().cancelRequest().sched(1).cancelRequest() }},
	{"reset without runs", one(RuleReset), func(b *builder) { b.begun().reset("", "") }},
	{"reset onto itself", one(RuleReset), func(b *builder) { b.begun().reset("run-1", "run-1") }},
	{"two resets make one run", one(RuleReset), func(b *builder) {
		b.begun().reset("run-1", "run-2").sched(1).taskStart().reset("run-3", "run-2")
	}},
	{"failure names runs", one(RuleReset), func(b *builder) {
		b.begun().fail(crashed).last().GetWorkflowTaskFailedEventAttributes().NewRunId = "run-2"
	}},
	{"reset over an unstarted task", one(RuleTask), func(b *builder) { b.start().sched(1).reset("run-1", "run-2") }},
	{"paused twice", one(RulePause), func(b *builder) { b.running().pause().pause() }},
	{"unpaused while running", one(RulePause), func(b *builder) { b.running().unpause() }},
	{"scheduled while paused", one(RulePause), func(b *builder) { b.running().pause().sched(1) }},
	{"started while paused", one(RulePause), func(b *builder) { b.start().sched(1).pause().taskStart() }},
	{"pause fails a started task", one(RuleTask), func(b *builder) { b.begun().fail(pausing) }},
	{"options change nothing", one(RuleOptions), func(b *builder) { b.running().options("") }},
	{"options attach twice", one(RuleOptions), func(b *builder) { b.running().options("o").options("o") }},
	{"marker without name", one(RuleRecord), func(b *builder) { b.running().marker().last().GetMarkerRecordedEventAttributes().MarkerName = "" }},
	{"empty upsert", one(RuleRecord), func(b *builder) {
		b.running().upsert("Int").last().GetUpsertWorkflowSearchAttributesEventAttributes().SearchAttributes = nil
	}},
	{"empty memo upsert", one(RuleRecord), func(b *builder) {
		b.running().memo().last().GetWorkflowPropertiesModifiedEventAttributes().UpsertedMemo = nil
	}},
	{"operation starts unscheduled", one(RuleNexus), func(b *builder) {
		b.running().add(&historypb.NexusOperationStartedEventAttributes{ScheduledEventId: 4})
	}},
	{"operation starts twice", one(RuleNexus), func(b *builder) {
		n := b.running().nexus()
		b.add(&historypb.NexusOperationStartedEventAttributes{ScheduledEventId: n})
		b.add(&historypb.NexusOperationStartedEventAttributes{ScheduledEventId: n})
	}},
	{"operation ends twice", one(RuleNexus), func(b *builder) {
		n := b.running().nexus()
		b.add(&historypb.NexusOperationFailedEventAttributes{ScheduledEventId: n, Failure: failure("n")})
		b.add(&historypb.NexusOperationTimedOutEventAttributes{ScheduledEventId: n, Failure: failure("n")})
	}},
	{"cancel answered unasked", one(RuleNexus), func(b *builder) {
		n := b.running().nexus()
		b.add(&historypb.NexusOperationCancelRequestFailedEventAttributes{ScheduledEventId: n, RequestedEventId: n, Failure: &failurepb.Failure{}})
	}},
}
