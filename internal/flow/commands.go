package flow

import (
	"fmt"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/replay"
	"github.com/perdure/perdure/internal/retry"
)

func (r *Run) value(ps *commonpb.Payloads) converter.Value {
	return converter.NewValue(r.Env.Converter, ps)
}

type timer struct {
	id     string
	future *Future
	cmd    *replay.Command
	bound  bool
}

// NewTimer makes a future that is settled after d; with a *failure.CanceledError when ctx is cancelled before.
// The summary, which may be empty, is what UI and CLI show of it.
func NewTimer(ctx Context, d time.Duration, summary string) *Future {
	r := ctx.run()
	r.mayCommand("start a timer")
	f := r.NewFuture()
	if ctx.scope().canceled() {
		f.Resolve(nil, failure.NewCanceledError())
		return f
	}
	if d <= 0 {
		f.Resolve(nil, nil)
		return f
	}
	t := &timer{id: r.nextID(), future: f}
	t.cmd = r.command(r.described(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_START_TIMER,
		Attributes: &commandpb.Command_StartTimerCommandAttributes{StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{
			TimerId: t.id, StartToFireTimeout: durationpb.New(d),
		}},
	}, summary, ""), "", func(e *historypb.HistoryEvent) {
		t.bound = true
		id := e.GetTimerStartedEventAttributes().TimerId
		if id != t.id && r.timers[t.id] == t {
			delete(r.timers, t.id)
			r.timers[id] = t
		}
		t.id = id
	})
	r.timers[t.id] = t
	ctx.scope().onCancel(f, func() { r.cancelTimer(t) })
	return f
}

func (r *Run) cancelTimer(t *timer) {
	if t.future.ready {
		return
	}
	delete(r.timers, t.id)
	if !t.bound && r.unsent(t.cmd) {
		t.cmd.Proto = nil
	} else {
		r.cancelCommand("timer "+t.id, r.command(&commandpb.Command{
			CommandType: enumspb.COMMAND_TYPE_CANCEL_TIMER,
			Attributes:  &commandpb.Command_CancelTimerCommandAttributes{CancelTimerCommandAttributes: &commandpb.CancelTimerCommandAttributes{TimerId: t.id}},
		}, "", nil))
	}
	t.future.Resolve(nil, failure.NewCanceledError())
}

// unsent says whether a command belongs to this activation.
func (r *Run) unsent(c *replay.Command) bool {
	for _, o := range r.commands {
		if o == c {
			return true
		}
	}
	return false
}

// cancelCommand notes a command that cancels. What it cancels may have ended in the same task, which an event further on tells:
// there is nothing to cancel then, and a server refuses to.
func (r *Run) cancelCommand(of string, c *replay.Command) {
	if r.cancels == nil {
		r.cancels = map[string]*replay.Command{}
	}
	r.cancels[of] = c
}

// ended takes the command back that was to cancel what has ended.
func (r *Run) ended(kind string, eventID int64) {
	if len(r.cancels) > 0 {
		r.takeBack(fmt.Sprint(kind, " ", eventID))
	}
}

func (r *Run) takeBack(of string) {
	if c := r.cancels[of]; c != nil {
		c.Proto = nil
		delete(r.cancels, of)
	}
}

func (r *Run) timerFired(id string) {
	if len(r.cancels) > 0 {
		r.takeBack("timer " + id)
	}
	if t := r.timers[id]; t != nil {
		delete(r.timers, id)
		t.future.Resolve(nil, nil)
	}
}

// ActivityOptions are those of one activity. One of StartToClose and ScheduleToClose is required.
type ActivityOptions struct {
	ID                                                        string
	TaskQueue                                                 string
	ScheduleToClose, ScheduleToStart, StartToClose, Heartbeat time.Duration
	Retry                                                     *retry.RetryPolicy
	// WaitForCancellation waits, when ctx is cancelled, for what the activity answers. Otherwise the future fails at once.
	WaitForCancellation bool
	// Summary, of one line, is what UI and CLI show of the activity.
	Summary string
	// Priority of its tasks: 1 is the highest, 0 that of the workflow.
	Priority int
}

// described puts texts beside a command.
func (r *Run) described(c *commandpb.Command, summary, details string) *commandpb.Command {
	for _, t := range []struct {
		text string
		into func(*sdkpb.UserMetadata, *commonpb.Payload)
	}{
		{summary, func(m *sdkpb.UserMetadata, p *commonpb.Payload) { m.Summary = p }},
		{details, func(m *sdkpb.UserMetadata, p *commonpb.Payload) { m.Details = p }},
	} {
		if t.text == "" {
			continue
		}
		if c.UserMetadata == nil {
			c.UserMetadata = &sdkpb.UserMetadata{}
		}
		t.into(c.UserMetadata, r.encode(t.text).Payloads[0])
	}
	return c
}

func priority(n int) *commonpb.Priority {
	if n == 0 {
		return nil
	}
	return &commonpb.Priority{PriorityKey: int32(n)}
}

type activity struct {
	id, name string
	future   *Future
	cmd      *replay.Command
	eventID  int64
}

// Activity schedules one by name.
func Activity(ctx Context, name string, o ActivityOptions, args ...any) *Future {
	r := ctx.run()
	r.mayCommand("start an activity")
	f := r.NewFuture()
	if ctx.scope().canceled() {
		f.Resolve(nil, failure.NewCanceledError())
		return f
	}
	if o.StartToClose <= 0 && o.ScheduleToClose <= 0 {
		f.Resolve(nil, fmt.Errorf("activity %s: StartToClose or ScheduleToClose is required", name))
		return f
	}
	a := &activity{id: or(o.ID, r.nextID()), name: name, future: f}
	attributes := &commandpb.ScheduleActivityTaskCommandAttributes{
		ActivityId: a.id, ActivityType: &commonpb.ActivityType{Name: name}, TaskQueue: &taskqueuepb.TaskQueue{Name: or(o.TaskQueue, r.Info.TaskQueue)},
		Input: r.encode(args...), Header: r.outgoing(ctx, Call{Kind: CallActivity, Name: name, ID: a.id}),
		ScheduleToCloseTimeout: duration(o.ScheduleToClose), ScheduleToStartTimeout: duration(o.ScheduleToStart),
		StartToCloseTimeout: duration(o.StartToClose), HeartbeatTimeout: duration(o.Heartbeat),
	}
	if o.Retry != nil {
		attributes.RetryPolicy = o.Retry.ToProto()
	}
	attributes.Priority = priority(o.Priority)
	a.cmd = r.command(r.described(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
		Attributes:  &commandpb.Command_ScheduleActivityTaskCommandAttributes{ScheduleActivityTaskCommandAttributes: attributes},
	}, o.Summary, ""), name, func(e *historypb.HistoryEvent) {
		a.eventID, a.id = e.EventId, e.GetActivityTaskScheduledEventAttributes().ActivityId
		r.activities[e.EventId] = a
	})
	ctx.scope().onCancel(f, func() { r.cancelActivity(a, o.WaitForCancellation) })
	return f
}

func (r *Run) cancelActivity(a *activity, wait bool) {
	if a.future.ready {
		return
	}
	canceled := failure.NewCanceledError()
	if a.eventID == 0 && r.unsent(a.cmd) {
		a.cmd.Proto = nil
		a.future.Resolve(nil, canceled)
		return
	}
	r.cancelCommand(fmt.Sprint("activity ", a.eventID), r.command(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK,
		Attributes: &commandpb.Command_RequestCancelActivityTaskCommandAttributes{
			RequestCancelActivityTaskCommandAttributes: &commandpb.RequestCancelActivityTaskCommandAttributes{ScheduledEventId: a.eventID},
		},
	}, "", nil))
	if !wait {
		a.future.Resolve(nil, &failure.ActivityError{ActivityID: a.id, ActivityType: a.name, ScheduledEventID: a.eventID, Cause: canceled})
	}
}

// ChildOptions are those of a child workflow.
type ChildOptions struct {
	WorkflowID, TaskQueue, Cron               string
	ExecutionTimeout, RunTimeout, TaskTimeout time.Duration
	Retry                                     *retry.RetryPolicy
	ParentClose                               enumspb.ParentClosePolicy
	IDReuse                                   enumspb.WorkflowIdReusePolicy
	WaitForCancellation                       bool
	Memo, SearchAttributes                    map[string]any
	// Summary, of one line, and Details, which may be Markdown, are what UI and CLI show of the child.
	Summary, Details string
	// Priority of the child's tasks: 1 is the highest, 0 that of this workflow.
	Priority int
}

type child struct {
	Child
	name      string
	cmd       *replay.Command
	eventID   int64
	startedID int64
}

// Child is a child workflow: two futures, of its start and of its end.
type Child struct {
	WorkflowID, RunID string
	Started, Result   *Future
}

// StartChild starts a child workflow by type.
func StartChild(ctx Context, name string, o ChildOptions, args ...any) *Child {
	r := ctx.run()
	r.mayCommand("start a child workflow")
	c := &child{Child: Child{WorkflowID: o.WorkflowID, Started: r.NewFuture(), Result: r.NewFuture()}, name: name}
	if c.WorkflowID == "" {
		c.WorkflowID = r.Info.RunID + "_" + r.nextID()
	}
	if ctx.scope().canceled() {
		c.Started.Resolve(nil, failure.NewCanceledError())
		c.Result.Resolve(nil, failure.NewCanceledError())
		return &c.Child
	}
	attributes := &commandpb.StartChildWorkflowExecutionCommandAttributes{
		Namespace: r.Info.Namespace, WorkflowId: c.WorkflowID, WorkflowType: &commonpb.WorkflowType{Name: name},
		TaskQueue: &taskqueuepb.TaskQueue{Name: or(o.TaskQueue, r.Info.TaskQueue)}, Input: r.encode(args...),
		Header:                   r.outgoing(ctx, Call{Kind: CallChild, Name: name, ID: c.WorkflowID}),
		WorkflowExecutionTimeout: duration(o.ExecutionTimeout), WorkflowRunTimeout: duration(o.RunTimeout), WorkflowTaskTimeout: duration(o.TaskTimeout),
		ParentClosePolicy: o.ParentClose, WorkflowIdReusePolicy: o.IDReuse, CronSchedule: o.Cron,
	}
	if o.Retry != nil {
		attributes.RetryPolicy = o.Retry.ToProto()
	}
	if len(o.Memo) > 0 {
		attributes.Memo = &commonpb.Memo{Fields: r.fields(o.Memo)}
	}
	if len(o.SearchAttributes) > 0 {
		attributes.SearchAttributes = r.attributes(o.SearchAttributes)
	}
	attributes.Priority = priority(o.Priority)
	c.cmd = r.command(r.described(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
		Attributes:  &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: attributes},
	}, o.Summary, o.Details), name, func(e *historypb.HistoryEvent) {
		c.WorkflowID = e.GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowId
		c.eventID = e.EventId
		r.children[e.EventId] = c
	})
	ctx.scope().onCancel(c.Result, func() { r.cancelChild(c, o.WaitForCancellation) })
	return &c.Child
}

func (r *Run) cancelChild(c *child, wait bool) {
	if c.Result.ready {
		return
	}
	canceled := failure.NewCanceledError()
	if r.unsent(c.cmd) {
		c.cmd.Proto = nil
		c.Started.Resolve(nil, canceled)
		c.Result.Resolve(nil, canceled)
		return
	}
	r.cancelCommand(fmt.Sprint("child ", c.eventID), r.command(cancelExternal(r.Info.Namespace, c.WorkflowID, "", "", true), c.WorkflowID, nil))
	if !wait {
		c.Result.Resolve(nil, &failure.ChildWorkflowError{Namespace: r.Info.Namespace, WorkflowID: c.WorkflowID, RunID: c.RunID, WorkflowType: c.name, Cause: canceled})
	}
}

func cancelExternal(namespace, workflowID, runID, reason string, child bool) *commandpb.Command {
	return &commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{
			RequestCancelExternalWorkflowExecutionCommandAttributes: &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{
				Namespace: namespace, WorkflowId: workflowID, RunId: runID, ChildWorkflowOnly: child, Reason: reason,
			},
		},
	}
}

// CancelExternal asks another workflow to cancel.
func CancelExternal(ctx Context, workflowID, runID, reason string) *Future {
	r := ctx.run()
	r.mayCommand("cancel another workflow")
	f := r.NewFuture()
	r.command(cancelExternal(r.Info.Namespace, workflowID, runID, reason, false), workflowID, func(e *historypb.HistoryEvent) { r.externals[e.EventId] = f })
	return f
}

// SignalChild signals a child, as soon as it has started.
func SignalChild(ctx Context, c *Child, signal string, args ...any) *Future {
	if c.Started.ready && c.Started.err == nil {
		return SignalExternal(ctx, c.WorkflowID, "", true, signal, args...)
	}
	r := ctx.run()
	r.mayCommand("signal another workflow")
	f := r.NewFuture()
	c.Started.Then(func() {
		if err := c.Started.err; err != nil {
			f.Resolve(nil, err)
			return
		}
		sent := SignalExternal(ctx, c.WorkflowID, "", true, signal, args...)
		sent.Then(func() { f.Resolve(sent.value, sent.err) })
	})
	return f
}

// SignalExternal signals another workflow; child says that it must be a child of this one.
func SignalExternal(ctx Context, workflowID, runID string, child bool, signal string, args ...any) *Future {
	r := ctx.run()
	r.mayCommand("signal another workflow")
	f := r.NewFuture()
	switch {
	case workflowID == "":
		f.Resolve(nil, fmt.Errorf("signal %s: the workflow ID is empty", signal))
		return f
	case ctx.scope().canceled():
		f.Resolve(nil, failure.NewCanceledError())
		return f
	}
	cmd := r.command(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{
			SignalExternalWorkflowExecutionCommandAttributes: &commandpb.SignalExternalWorkflowExecutionCommandAttributes{
				Namespace: r.Info.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
				SignalName: signal, Input: r.encode(args...), ChildWorkflowOnly: child,
				Header: r.outgoing(ctx, Call{Kind: CallSignalWorkflow, Name: signal, ID: workflowID}),
			},
		},
	}, signal, func(e *historypb.HistoryEvent) { r.externals[e.EventId] = f })
	ctx.scope().onCancel(f, func() {
		if !f.ready && r.unsent(cmd) {
			cmd.Proto = nil
			f.Resolve(nil, &failure.CanceledError{Message: "Signal was cancelled before being sent"})
		}
	})
	return f
}

// attributes are encoded for the server to read, whatever converter the run has.
func (r *Run) attributes(values map[string]any) *commonpb.SearchAttributes {
	return &commonpb.SearchAttributes{IndexedFields: encodeFields(converter.Default(), values)}
}

func (r *Run) fields(values map[string]any) map[string]*commonpb.Payload {
	return encodeFields(r.Env.Converter, values)
}

func encodeFields(c converter.Converter, values map[string]any) map[string]*commonpb.Payload {
	fields := make(map[string]*commonpb.Payload, len(values))
	for k, v := range values {
		p, err := c.ToPayload(v)
		if err != nil {
			panic(fmt.Errorf("encode %s: %w", k, err))
		}
		fields[k] = p
	}
	return fields
}

// UpsertSearchAttributes changes those of the run.
func UpsertSearchAttributes(ctx Context, values map[string]any) {
	ctx.run().upsert(ctx.run().attributes(values))
}

func (r *Run) upsert(sa *commonpb.SearchAttributes) {
	r.command(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
		Attributes: &commandpb.Command_UpsertWorkflowSearchAttributesCommandAttributes{
			UpsertWorkflowSearchAttributesCommandAttributes: &commandpb.UpsertWorkflowSearchAttributesCommandAttributes{SearchAttributes: sa},
		},
	}, "", nil)
	merged := map[string]*commonpb.Payload{}
	for k, v := range r.Info.SearchAttributes.GetIndexedFields() {
		merged[k] = v
	}
	for k, v := range sa.IndexedFields {
		merged[k] = v
	}
	r.Info.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: merged}
}

// UpsertMemo changes the memo of the run.
func UpsertMemo(ctx Context, values map[string]any) {
	r := ctx.run()
	memo := &commonpb.Memo{Fields: r.fields(values)}
	r.command(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES,
		Attributes: &commandpb.Command_ModifyWorkflowPropertiesCommandAttributes{
			ModifyWorkflowPropertiesCommandAttributes: &commandpb.ModifyWorkflowPropertiesCommandAttributes{UpsertedMemo: memo},
		},
	}, "", nil)
	merged := map[string]*commonpb.Payload{}
	for k, v := range r.Info.Memo.GetFields() {
		merged[k] = v
	}
	for k, v := range memo.Fields {
		merged[k] = v
	}
	r.Info.Memo = &commonpb.Memo{Fields: merged}
}

// Go runs fn as a coroutine of its own.
func Go(ctx Context, name string, fn func(Context)) {
	r := ctx.run()
	r.mayCommand("start a coroutine")
	r.sched.Go(name, "", func() { fn(ctx) })
}

// Await parks until condition holds; it fails with a *failure.CanceledError when ctx is cancelled before.
func Await(ctx Context, condition func() bool) error {
	r := ctx.run()
	r.mayBlock("wait for a condition")
	s := ctx.scope()
	held := false
	r.sched.Await(func() bool {
		held = condition()
		return held || s.canceled()
	})
	if !held {
		return failure.NewCanceledError()
	}
	return nil
}

// AwaitFor is Await that ends, with false, after d.
func AwaitFor(ctx Context, d time.Duration, condition func() bool) (bool, error) {
	if condition() {
		return true, nil
	}
	below, cancel := WithCancel(ctx)
	t := NewTimer(below, d, "")
	held := false
	err := Await(ctx, func() bool {
		held = condition()
		return held || t.ready
	})
	if err == nil && !held && ctx.scope().canceled() {
		err = failure.NewCanceledError() // that settled the timer, too
	}
	cancel("the wait is over")
	return held, err
}
