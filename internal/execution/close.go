package execution

import (
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Why live updates are aborted when a run ends.
const (
	closingForGood = "closing"
	continuing     = "continuing"
)

// closeRun writes the closing event and does what follows from it: children are told, the parent is told, rows of
// pending things go. continued: another run follows at once, so children stay and the parent hears later.
func (d *draft) closeRun(ev *historypb.HistoryEvent, continued bool) {
	d.durable()
	d.tr.Index = true
	d.needTask = false
	kids := d.Children
	for _, a := range d.Activities.All {
		if a.Dispatched {
			d.unput(d.activityTask(a))
		}
	}
	for _, e := range d.Signals.All {
		d.unsend(e.Outbox)
	}
	for _, e := range d.Cancels.All {
		d.unsend(e.Outbox)
	}
	d.noteClosed(ev.EventType)
	if d.Info.WFT.Kind != TaskNormal {
		d.clearTask() // its events were never written and never will be
	}
	d.write(ev)
	if r := d.env.Namespace.Retention; r > 0 {
		d.Info.RetentionUntil = d.Info.CloseTime.Add(r)
	}
	for _, k := range kids.All {
		if k.RunID == "" {
			d.dropStart(k)
			continue
		}
		if !continued {
			d.closeChild(k)
		}
	}
	d.closing = continuing
	if !continued {
		d.closing = closingForGood
		d.tellParent(ev)
	}
}

// dropStart makes sure that a child does not live whose start this run has not heard of: its message is taken back, and
// if it may have been delivered, a second one ends the child, which waits for its parent and has done nothing yet.
func (d *draft) dropStart(k *Child) {
	if d.unsend(k.Outbox) {
		d.send(&Message{Kind: MessageCloseChild, To: ids.RunKey{Namespace: k.NamespaceID, Workflow: k.WorkflowID}, ToNS: k.Namespace,
			Initiated: k.InitiatedID, Number: int64(enumspb.PARENT_CLOSE_POLICY_TERMINATE)})
	}
}

// closeChild applies the parent close policy to a child that is still open.
func (d *draft) closeChild(k *Child) {
	policy := enumspb.ParentClosePolicy(k.ClosePolicy)
	if policy == enumspb.PARENT_CLOSE_POLICY_ABANDON {
		return
	}
	d.send(&Message{Kind: MessageCloseChild, To: ids.RunKey{Namespace: k.NamespaceID, Workflow: k.WorkflowID}, ToNS: k.Namespace,
		Initiated: k.InitiatedID, Number: int64(policy), Text: string(k.RunID)})
}

// tellParent reports the end of a chain to the workflow that started it.
func (d *draft) tellParent(ev *historypb.HistoryEvent) {
	s := d.Start
	if s.ParentWorkflowID == "" || s.ParentRunID == "" {
		return
	}
	d.send(&Message{Kind: MessageChildClosed, To: ids.RunKey{Namespace: s.ParentNamespaceID, Workflow: s.ParentWorkflowID, Run: s.ParentRunID},
		ToNS: s.ParentNamespace, Initiated: s.ParentInitiatedID, Body: mustMarshal(deterministic, ev), Text: s.WorkflowType})
}

// endTask ends a workflow task that is in the way of a forced end: a started one fails, a scheduled speculative one was
// never there. What had to wait for it was acknowledged, and comes into history though no code will see it.
func (d *draft) endTask() {
	defer d.flush()
	t := d.Info.WFT
	if !t.Pending() {
		return
	}
	if t.Kind == TaskSpeculative {
		if !t.Started() {
			d.clearTask()
			return
		}
		d.writeVirtual()
	}
	if t.Started() && t.Kind != TaskTransient {
		ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
		ev.Attributes = &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{
			WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{ScheduledEventId: t.ScheduledID,
				StartedEventId: t.StartedID, Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND, Identity: serverIdentity}}
		d.write(ev)
	}
}

// terminate ends the run now, whatever it is doing.
func (d *draft) terminate(reason string, details *commonpb.Payloads, identity string, links []*commonpb.Link) {
	d.durable()
	d.endTask()
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
	ev.Links = links
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{
		WorkflowExecutionTerminatedEventAttributes: &historypb.WorkflowExecutionTerminatedEventAttributes{
			Reason: reason, Details: details, Identity: identity}}
	d.closeRun(ev, false)
}

func stepTerminate(st *State, in Terminate, env *Env) *Transition {
	if in.ChildOf != nil && (!st.Open() || !childOf(st, *in.ChildOf)) {
		return answer(st, &EmptyAnswer{})
	}
	if !st.Open() {
		return refuse(st, errCompleted())
	}
	if chainMismatch(st, in.FirstRunID) {
		return refuse(st, notFoundf("workflow execution not found"))
	}
	d := newDraft(st, env)
	d.terminate(in.Reason, in.Details, in.Identity, in.Links)
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

func (c *completion) completeWorkflow(cmd *commandpb.Command) *badCommand {
	a := cmd.GetCompleteWorkflowExecutionCommandAttributes()
	if a == nil {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES, "CompleteWorkflowExecutionCommandAttributes is not set on CompleteWorkflowExecutionCommand.")
	}
	if payloadsSize(a.Result) > c.env.Limits.BlobBytes {
		return oversize(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES, "CompleteWorkflowExecutionCommandAttributes.Result")
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, cmd)
	attrs := &historypb.WorkflowExecutionCompletedEventAttributes{Result: a.Result, WorkflowTaskCompletedEventId: c.completedID}
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{WorkflowExecutionCompletedEventAttributes: attrs}
	c.closed = true
	if delay, ok := c.cronDelay(); ok {
		attrs.NewExecutionRunId = string(c.env.NewRunID)
		c.closeRun(ev, true)
		c.successor = c.again(enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE, delay, nil, a.Result)
		return nil
	}
	c.closeRun(ev, false)
	return nil
}

func (c *completion) failWorkflow(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES
	a := cmd.GetFailWorkflowExecutionCommandAttributes()
	if a.GetFailure() == nil {
		return badf(cause, "Failure is not set on FailWorkflowExecutionCommand.")
	}
	if proto.Size(a.Failure) > c.env.Limits.BlobBytes {
		return oversize(cause, "FailWorkflowExecutionCommandAttributes.Failure")
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED, cmd)
	state, initiator, delay, again := c.afterFailure(a.Failure)
	attrs := &historypb.WorkflowExecutionFailedEventAttributes{Failure: a.Failure, RetryState: state, WorkflowTaskCompletedEventId: c.completedID}
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes{WorkflowExecutionFailedEventAttributes: attrs}
	c.closed = true
	if again {
		attrs.NewExecutionRunId = string(c.env.NewRunID)
		c.closeRun(ev, true)
		c.successor = c.again(initiator, delay, a.Failure, nil)
		return nil
	}
	c.closeRun(ev, false)
	return nil
}

// afterFailure decides what follows a failed or timed-out run: a retry, else the next cron slot, else nothing.
func (d *draft) afterFailure(f *failurepb.Failure) (state enumspb.RetryState, by enumspb.ContinueAsNewInitiator, delay time.Duration, again bool) {
	var p *commonpb.RetryPolicy
	if len(d.Start.RetryPolicy) > 0 {
		p = new(commonpb.RetryPolicy)
		if err := proto.Unmarshal(d.Start.RetryPolicy, p); err != nil {
			panic(err)
		}
	}
	state, delay = retryDecision(p, d.Start.Attempt, f, d.now(), d.Start.ExpirationTime, true)
	if state == enumspb.RETRY_STATE_IN_PROGRESS {
		return state, enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY, delay, true
	}
	if delay, ok := d.cronDelay(); ok {
		return state, enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE, delay, true
	}
	return state, 0, 0, false
}

// cronDelay is the time to the next slot of the run's cron schedule; ok is false if it has none, or none before the
// chain expires.
func (d *draft) cronDelay() (time.Duration, bool) {
	if d.Start.CronSchedule == "" {
		return 0, false
	}
	delay, err := backoff.NextCron(d.Start.CronSchedule, d.Info.ExecutionTime, d.now())
	if err != nil || d.Start.ExpirationTime != 0 && d.now().Add(delay) >= d.Start.ExpirationTime {
		return 0, false
	}
	return delay, true
}

// again makes the successor of a run that is retried or waits for its next cron slot: it starts as this one did.
func (d *draft) again(by enumspb.ContinueAsNewInitiator, delay time.Duration, f *failurepb.Failure, result *commonpb.Payloads) *Transition {
	first := d.env.Stored[1].GetWorkflowExecutionStartedEventAttributes()
	a := d.successorAttributes(by)
	a.WorkflowType, a.TaskQueue, a.Input, a.Header = first.GetWorkflowType(), first.GetTaskQueue(), first.GetInput(), first.GetHeader()
	a.Memo, a.SearchAttributes = first.GetMemo(), first.GetSearchAttributes()
	a.RetryPolicy, a.CronSchedule = first.GetRetryPolicy(), d.Start.CronSchedule
	a.ContinuedFailure = f
	a.LastCompletionResult = result
	if f != nil {
		a.LastCompletionResult = first.GetLastCompletionResult() // the last one that was completed
	}
	if by == enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY {
		a.Attempt = d.Start.Attempt + 1
		a.CompletionCallbacks = first.GetCompletionCallbacks()
	}
	setTimeouts(a, d.Start.ExecutionTimeout, d.Start.RunTimeout, d.Start.TaskTimeout, delay, d.env)
	return d.succeed(a)
}

// successorAttributes are the fields of event 1 that every kind of successor inherits.
func (d *draft) successorAttributes(by enumspb.ContinueAsNewInitiator) *historypb.WorkflowExecutionStartedEventAttributes {
	s := d.Start
	a := &historypb.WorkflowExecutionStartedEventAttributes{
		WorkflowId: string(d.Key.Workflow), Attempt: 1, Initiator: by,
		FirstExecutionRunId: string(s.FirstRunID), OriginalExecutionRunId: string(d.env.NewRunID), ContinuedExecutionRunId: string(d.Key.Run),
		WorkflowExecutionExpirationTime: s.ExpirationTime.Proto(),
		ParentWorkflowNamespace:         s.ParentNamespace, ParentWorkflowNamespaceId: string(s.ParentNamespaceID),
		ParentInitiatedEventId: s.ParentInitiatedID,
	}
	if s.ParentWorkflowID != "" {
		a.ParentWorkflowExecution = &commonpb.WorkflowExecution{WorkflowId: string(s.ParentWorkflowID), RunId: string(s.ParentRunID)}
		a.RootWorkflowExecution = &commonpb.WorkflowExecution{WorkflowId: string(s.RootWorkflowID), RunId: string(s.RootRunID)}
	}
	if len(s.Priority) > 0 {
		a.Priority = new(commonpb.Priority)
		if err := proto.Unmarshal(s.Priority, a.Priority); err != nil {
			panic(err)
		}
	}
	if len(d.Info.ResetPoints) > 0 {
		a.PrevAutoResetPoints = new(ResetPoints)
		if err := proto.Unmarshal(d.Info.ResetPoints, a.PrevAutoResetPoints); err != nil {
			panic(err)
		}
	}
	return a
}

func (d *draft) succeed(a *historypb.WorkflowExecutionStartedEventAttributes) *Transition {
	env := *d.env
	env.Now, env.StickyAlive = d.now(), false
	s := Start{RequestID: string(env.NewRunID), Follows: true, FirstStartTime: d.Start.FirstStartTime}
	return begin(&env, s, a, nil, nil).finish()
}

func (c *completion) cancelWorkflow(cmd *commandpb.Command) *badCommand {
	a := cmd.GetCancelWorkflowExecutionCommandAttributes()
	if a == nil {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES, "CancelWorkflowExecutionCommandAttributes is not set on CancelWorkflowExecutionCommand.")
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, cmd)
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionCanceledEventAttributes{
		WorkflowExecutionCanceledEventAttributes: &historypb.WorkflowExecutionCanceledEventAttributes{WorkflowTaskCompletedEventId: c.completedID, Details: a.Details}}
	c.closed = true
	c.closeRun(ev, false)
	return nil
}

func (c *completion) continueAsNew(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_CONTINUE_AS_NEW_ATTRIBUTES
	a := cmd.GetContinueAsNewWorkflowExecutionCommandAttributes()
	if a == nil {
		return badf(cause, "ContinueAsNewWorkflowExecutionCommandAttributes is not set on ContinueAsNewWorkflowExecutionCommand.")
	}
	for _, p := range []*durationpb.Duration{a.WorkflowRunTimeout, a.WorkflowTaskTimeout, a.BackoffStartInterval} {
		if err := backoff.CheckDuration(p); err != nil {
			return badf(cause, "invalid timeout on ContinueAsNewWorkflowExecutionCommand: %s", err)
		}
	}
	if err := backoff.ValidateRetryPolicy(a.RetryPolicy); err != nil {
		return badf(cause, "%s", err)
	}
	if c.tooLong(a.WorkflowType.GetName()) || c.tooLong(a.TaskQueue.GetName()) {
		return badf(cause, "an identifier on ContinueAsNewWorkflowExecutionCommand exceeds length limit.")
	}
	if internalQueue(a.TaskQueue.GetName()) {
		return badf(cause, "cannot use internal per-namespace task queue")
	}
	if payloadsSize(a.Input) > c.env.Limits.BlobBytes {
		return oversize(cause, "ContinueAsNewWorkflowExecutionCommandAttributes.Input")
	}
	sa, bad := c.checkSearchAttributes(a.SearchAttributes)
	if bad != nil {
		return bad
	}
	if a.CronSchedule != "" {
		if _, err := backoff.ParseCron(a.CronSchedule); err != nil {
			return badf(cause, "invalid CronSchedule: %s", err)
		}
	}
	typ, queue := a.WorkflowType.GetName(), a.TaskQueue.GetName()
	if typ == "" {
		typ = c.Start.WorkflowType
	}
	if queue == "" {
		queue = c.Start.TaskQueue
	}
	run, task := clock.Duration(a.WorkflowRunTimeout), clock.Duration(a.WorkflowTaskTimeout)
	if run == 0 {
		run = c.Start.RunTimeout
	}
	if task == 0 {
		task = c.Start.TaskTimeout
	}
	delay := c.continueDelay(clock.Duration(a.BackoffStartInterval))
	const by = enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW // whatever the command says: retries and cron runs are the server's

	n := c.successorAttributes(by)
	n.WorkflowType = &commonpb.WorkflowType{Name: typ}
	n.TaskQueue = &taskqueuepb.TaskQueue{Name: queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
	n.Input, n.Header, n.Memo = a.Input, a.Header, mergeMemo(nil, a.Memo)
	n.SearchAttributes = mergeSearchAttributes(nil, sa)
	n.RetryPolicy, n.CronSchedule = backoff.WithDefaults(a.RetryPolicy), a.CronSchedule
	n.ContinuedFailure, n.LastCompletionResult = a.Failure, a.LastCompletionResult
	setTimeouts(n, c.Start.ExecutionTimeout, run, task, delay, c.env)

	ev := c.commandEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW, cmd)
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionContinuedAsNewEventAttributes{
		WorkflowExecutionContinuedAsNewEventAttributes: &historypb.WorkflowExecutionContinuedAsNewEventAttributes{
			NewExecutionRunId: string(c.env.NewRunID), WorkflowType: n.WorkflowType, TaskQueue: n.TaskQueue, Input: a.Input,
			WorkflowRunTimeout: n.WorkflowRunTimeout, WorkflowTaskTimeout: n.WorkflowTaskTimeout,
			WorkflowTaskCompletedEventId: c.completedID, BackoffStartInterval: durationpb.New(delay), Initiator: by,
			Failure: a.Failure, LastCompletionResult: a.LastCompletionResult, Header: a.Header, Memo: n.Memo, SearchAttributes: n.SearchAttributes}}
	c.closed = true
	c.closeRun(ev, true)
	c.successor = c.succeed(n)
	return nil
}

// continueDelay keeps runs that continue at once from spinning: no successor starts within a second of its predecessor.
func (d *draft) continueDelay(asked time.Duration) time.Duration {
	lived := max(d.now().Sub(d.Info.ExecutionTime), 0)
	return max(asked, time.Second-lived)
}

// timeOutRun ends the run because its run timeout, or its chain's execution timeout, has passed.
func (d *draft) timeOutRun(execution bool) {
	d.durable()
	d.endTask()
	attrs := &historypb.WorkflowExecutionTimedOutEventAttributes{RetryState: enumspb.RETRY_STATE_TIMEOUT}
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT)
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionTimedOutEventAttributes{WorkflowExecutionTimedOutEventAttributes: attrs}
	if !execution {
		f := &failurepb.Failure{Message: "workflow timeout", Source: "Server",
			FailureInfo: &failurepb.Failure_TimeoutFailureInfo{TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: enumspb.TIMEOUT_TYPE_START_TO_CLOSE}}}
		state, by, delay, again := d.afterFailure(f)
		attrs.RetryState = state
		if again {
			attrs.NewExecutionRunId = string(d.env.NewRunID)
			d.closeRun(ev, true)
			d.tr.Successor = d.again(by, delay, f, nil)
			return
		}
	}
	d.closeRun(ev, false)
}
