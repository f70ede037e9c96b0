package execution

import (
	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

func (c *completion) startChild(cmd *commandpb.Command) *badCommand {
	const cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES
	a := cmd.GetStartChildWorkflowExecutionCommandAttributes()
	switch {
	case a == nil:
		return badf(cause, "StartChildWorkflowExecutionCommandAttributes is not set on StartChildWorkflowExecutionCommand.")
	case a.WorkflowId == "":
		return badf(cause, "Required field WorkflowId is not set on StartChildWorkflowExecutionCommand.")
	case a.WorkflowType.GetName() == "":
		return badf(cause, "Required field WorkflowType is not set on StartChildWorkflowExecutionCommand. WorkflowId=%s", a.WorkflowId)
	case c.tooLong(a.WorkflowId) || c.tooLong(a.WorkflowType.Name) || c.tooLong(a.TaskQueue.GetName()):
		return badf(cause, "an identifier on StartChildWorkflowExecutionCommand exceeds length limit.")
	case c.foreign(a.Namespace):
		return badf(cause, crossNamespace)
	case internalQueue(a.TaskQueue.GetName()):
		return badf(cause, "cannot use internal per-namespace task queue")
	}
	for _, p := range []*durationpb.Duration{a.WorkflowExecutionTimeout, a.WorkflowRunTimeout, a.WorkflowTaskTimeout} {
		if err := backoff.CheckDuration(p); err != nil {
			return badf(cause, "invalid timeout on StartChildWorkflowExecutionCommand: %s", err)
		}
	}
	if err := backoff.ValidateRetryPolicy(a.RetryPolicy); err != nil {
		return badf(cause, "%s", err)
	}
	if a.CronSchedule != "" {
		if _, err := backoff.ParseCron(a.CronSchedule); err != nil {
			return badf(cause, "invalid CronSchedule: %s", err)
		}
	}
	if payloadsSize(a.Input) > c.env.Limits.BlobBytes {
		return oversize(cause, "StartChildWorkflowExecutionCommandAttributes.Input")
	}
	sa, bad := c.checkSearchAttributes(a.SearchAttributes)
	if bad != nil {
		return bad
	}
	if c.Children.Len() >= c.env.Limits.PendingChildren {
		return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED,
			"the number of pending child workflow executions, %d, has reached the per-workflow limit of %d", c.Children.Len(), c.env.Limits.PendingChildren)
	}
	queue := a.TaskQueue.GetName()
	if queue == "" {
		queue = c.Start.TaskQueue
	}
	policy := a.ParentClosePolicy
	if policy == enumspb.PARENT_CLOSE_POLICY_UNSPECIFIED {
		policy = enumspb.PARENT_CLOSE_POLICY_TERMINATE
	}
	reuse := a.WorkflowIdReusePolicy
	if reuse == enumspb.WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED {
		reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	}
	t := new(historypb.WorkflowExecutionStartedEventAttributes)
	setTimeouts(t, clock.Duration(a.WorkflowExecutionTimeout), clock.Duration(a.WorkflowRunTimeout), clock.Duration(a.WorkflowTaskTimeout), 0, c.env)
	task := t.WorkflowTaskTimeout
	if clock.Duration(a.WorkflowTaskTimeout) == 0 {
		task = durationpb.New(c.Start.TaskTimeout)
	}
	attrs := &historypb.StartChildWorkflowExecutionInitiatedEventAttributes{
		Namespace: c.env.Namespace.Name, NamespaceId: string(c.env.Namespace.ID), WorkflowId: a.WorkflowId, WorkflowType: a.WorkflowType,
		TaskQueue: &taskqueuepb.TaskQueue{Name: queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}, Input: a.Input,
		WorkflowExecutionTimeout: t.WorkflowExecutionTimeout, WorkflowRunTimeout: t.WorkflowRunTimeout, WorkflowTaskTimeout: task,
		ParentClosePolicy: policy, Control: a.Control, WorkflowTaskCompletedEventId: c.completedID, WorkflowIdReusePolicy: reuse,
		RetryPolicy: backoff.WithDefaults(a.RetryPolicy), CronSchedule: a.CronSchedule, Header: a.Header, Memo: mergeMemo(nil, a.Memo),
		SearchAttributes: mergeSearchAttributes(nil, sa), Priority: c.childPriority(a.Priority), VersioningOverride: a.VersioningOverride,
	}
	ev := c.commandEvent(enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, cmd)
	ev.Attributes = &historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes{StartChildWorkflowExecutionInitiatedEventAttributes: attrs}
	c.write(ev)
	root := ids.RunKey{Namespace: c.Key.Namespace, Workflow: c.Start.RootWorkflowID, Run: c.Start.RootRunID}
	if root.Workflow == "" {
		root = c.Key
	}
	k, _ := c.Children.Get(ev.EventId)
	n := *k
	n.Outbox = c.send(&Message{Kind: MessageStartChild, To: ids.RunKey{Namespace: c.env.Namespace.ID, Workflow: ids.WorkflowID(a.WorkflowId)},
		ToNS: c.env.Namespace.Name, Initiated: ev.EventId, Body: mustMarshal(deterministic, attrs), Root: root})
	c.setChild(&n)
	if c.startedKids == nil {
		c.startedKids = map[string]bool{}
	}
	c.startedKids[a.WorkflowId] = true
	return nil
}

func (c *completion) childPriority(p *commonpb.Priority) *commonpb.Priority {
	if p != nil || len(c.Start.Priority) == 0 {
		return p
	}
	return c.successorAttributes(0).Priority
}

func internalQueue(name string) bool {
	return len(name) > 5 && name[:6] == "/_sys/" || name == "temporal-sys-per-ns-tq"
}

func stepChildStartResult(st *State, in ChildStartResult, env *Env) *Transition {
	k, ok := st.Children.Get(in.InitiatedID)
	if !ok || !st.Open() || k.RunID != "" {
		return strayChild(st, in, k, env)
	}
	d := newDraft(st, env)
	d.unsend(k.Outbox)
	if in.Failed != 0 {
		ev := d.newEvent(enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
		ev.Attributes = &historypb.HistoryEvent_StartChildWorkflowExecutionFailedEventAttributes{
			StartChildWorkflowExecutionFailedEventAttributes: &historypb.StartChildWorkflowExecutionFailedEventAttributes{
				Namespace: k.Namespace, NamespaceId: string(k.NamespaceID), WorkflowId: string(k.WorkflowID),
				WorkflowType: &commonpb.WorkflowType{Name: k.WorkflowType}, Cause: in.Failed, InitiatedEventId: in.InitiatedID}}
		d.arrive(ev, nil)
	} else {
		ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
		ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionStartedEventAttributes{
			ChildWorkflowExecutionStartedEventAttributes: &historypb.ChildWorkflowExecutionStartedEventAttributes{
				Namespace: k.Namespace, NamespaceId: string(k.NamespaceID), InitiatedEventId: in.InitiatedID,
				WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: string(k.WorkflowID), RunId: string(in.RunID)},
				WorkflowType:      &commonpb.WorkflowType{Name: k.WorkflowType}}}
		d.arrive(ev, nil)
		d.send(&Message{Kind: MessageParentAck, To: ids.RunKey{Namespace: k.NamespaceID, Workflow: k.WorkflowID, Run: in.RunID}, ToNS: k.Namespace, Initiated: in.InitiatedID})
	}
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// strayChild answers the start of a child that this run no longer waits for. If the run closed meanwhile, the child
// must not live: it is terminated before it has done anything.
func strayChild(st *State, in ChildStartResult, k *Child, env *Env) *Transition {
	if in.Failed != 0 || in.RunID == "" || k != nil && k.RunID == in.RunID {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.mark("child of a closed parent")
	d.send(&Message{Kind: MessageCloseChild, To: ids.RunKey{Namespace: in.Child.Namespace, Workflow: in.Child.Workflow}, ToNS: in.Namespace,
		Initiated: in.InitiatedID, Number: int64(enumspb.PARENT_CLOSE_POLICY_TERMINATE), Text: string(in.RunID)})
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

func stepParentAck(st *State, in ParentAck, env *Env) *Transition {
	if !st.Open() || !st.Info.AwaitingParent {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.Info.AwaitingParent = false
	d.durable()
	d.needTask = true
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

func stepChildClosed(st *State, in ChildClosed, env *Env) *Transition {
	k, ok := st.Children.Get(in.InitiatedID)
	if !st.Open() && st.Info.ResetRunID != "" {
		return forwardChildClosed(st, in, env)
	}
	if !ok || !st.Open() {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	if k.RunID == "" {
		// The child has come and gone before its start was reported; that report will find nothing to do.
		d.unsend(k.Outbox)
		ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
		ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionStartedEventAttributes{
			ChildWorkflowExecutionStartedEventAttributes: &historypb.ChildWorkflowExecutionStartedEventAttributes{
				Namespace: k.Namespace, NamespaceId: string(k.NamespaceID), InitiatedEventId: in.InitiatedID,
				WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: string(k.WorkflowID), RunId: string(in.First)},
				WorkflowType:      &commonpb.WorkflowType{Name: k.WorkflowType}}}
		d.arrive(ev, nil)
		k, _ = d.Children.Get(in.InitiatedID)
	}
	ev := d.childClosedEvent(k, in)
	d.arrive(ev, nil)
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// forwardChildClosed passes the end of a child on to the run that a reset made of this one.
func forwardChildClosed(st *State, in ChildClosed, env *Env) *Transition {
	d := newDraft(st, env)
	to := st.Key
	to.Run = st.Info.ResetRunID
	d.send(&Message{Kind: MessageChildClosed, To: to, ToNS: env.Namespace.Name, Initiated: in.InitiatedID,
		Body: mustMarshal(deterministic, in.Event), Text: in.Type, Root: in.Child})
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// childClosedEvent translates the event that closed the child's last run into the parent's.
func (d *draft) childClosedEvent(k *Child, in ChildClosed) *historypb.HistoryEvent {
	run := &commonpb.WorkflowExecution{WorkflowId: string(k.WorkflowID), RunId: string(k.RunID)}
	if in.Child.Run != "" {
		run.RunId = string(in.Child.Run)
	}
	typ := &commonpb.WorkflowType{Name: k.WorkflowType}
	ns, nsID := k.Namespace, string(k.NamespaceID)
	switch in.Event.EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
		ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionCompletedEventAttributes{ChildWorkflowExecutionCompletedEventAttributes: &historypb.ChildWorkflowExecutionCompletedEventAttributes{
			Result: in.Event.GetWorkflowExecutionCompletedEventAttributes().GetResult(), Namespace: ns, NamespaceId: nsID,
			WorkflowExecution: run, WorkflowType: typ, InitiatedEventId: k.InitiatedID, StartedEventId: k.StartedID}}
		return ev
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		f := in.Event.GetWorkflowExecutionFailedEventAttributes()
		ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
		ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionFailedEventAttributes{ChildWorkflowExecutionFailedEventAttributes: &historypb.ChildWorkflowExecutionFailedEventAttributes{
			Failure: f.GetFailure(), RetryState: f.GetRetryState(), Namespace: ns, NamespaceId: nsID,
			WorkflowExecution: run, WorkflowType: typ, InitiatedEventId: k.InitiatedID, StartedEventId: k.StartedID}}
		return ev
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
		ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionCanceledEventAttributes{ChildWorkflowExecutionCanceledEventAttributes: &historypb.ChildWorkflowExecutionCanceledEventAttributes{
			Details: in.Event.GetWorkflowExecutionCanceledEventAttributes().GetDetails(), Namespace: ns, NamespaceId: nsID,
			WorkflowExecution: run, WorkflowType: typ, InitiatedEventId: k.InitiatedID, StartedEventId: k.StartedID}}
		return ev
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
		ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionTimedOutEventAttributes{ChildWorkflowExecutionTimedOutEventAttributes: &historypb.ChildWorkflowExecutionTimedOutEventAttributes{
			RetryState: in.Event.GetWorkflowExecutionTimedOutEventAttributes().GetRetryState(), Namespace: ns, NamespaceId: nsID,
			WorkflowExecution: run, WorkflowType: typ, InitiatedEventId: k.InitiatedID, StartedEventId: k.StartedID}}
		return ev
	}
	ev := d.newEvent(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED)
	ev.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionTerminatedEventAttributes{ChildWorkflowExecutionTerminatedEventAttributes: &historypb.ChildWorkflowExecutionTerminatedEventAttributes{
		Namespace: ns, NamespaceId: nsID, WorkflowExecution: run, WorkflowType: typ, InitiatedEventId: k.InitiatedID, StartedEventId: k.StartedID}}
	return ev
}
