package execution

import (
	"fmt"
	"strings"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// badCommand makes the whole completion void: the workflow task fails with cause, and the worker is told.
type badCommand struct {
	cause  enumspb.WorkflowTaskFailedCause
	detail string
	// terminate: the run cannot go on with what the worker sent (oversized payloads); it is terminated.
	terminate bool
}

func (b *badCommand) text() string {
	if b.detail == "" {
		return b.cause.String()
	}
	return b.cause.String() + ": " + b.detail
}

func badf(cause enumspb.WorkflowTaskFailedCause, format string, args ...any) *badCommand {
	return &badCommand{cause: cause, detail: fmt.Sprintf(format, args...)}
}

// completion is one RespondWorkflowTaskCompleted being worked off.
type completion struct {
	*draft
	req         *commandRequest
	completedID ids.EventID
	messages    map[string]*protocolpb.Message // not yet handled, by message ID
	order       []*protocolpb.Message
	eager       []*Activity // to be started inline
	cancelled   bool        // an unstarted activity was cancelled: the code wants to know
	startedKids map[string]bool
	successor   *Transition
	closed      bool
}

func isClose(t enumspb.CommandType) bool {
	switch t {
	case enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
		enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION, enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
		return true
	}
	return false
}

func closes(cs []*commandpb.Command) bool {
	return len(cs) > 0 && isClose(cs[len(cs)-1].CommandType)
}

// checkSequence refuses completions that are not even well formed: unknown commands, or commands after a closing one.
func checkSequence(cs []*commandpb.Command) error {
	for i, c := range cs {
		if _, known := commandHandlers[c.CommandType]; !known {
			return errf(InvalidArgument, "Unknown command type: %v", c.CommandType)
		}
		if isClose(c.CommandType) && i != len(cs)-1 {
			var names []string
			for _, c := range cs {
				names = append(names, c.CommandType.String())
			}
			return errf(InvalidArgument, "invalid command sequence: [%s], command %s must be the last command.", strings.Join(names, ", "), c.CommandType)
		}
	}
	return nil
}

func stepCompleteTask(st *State, in CompleteWorkflowTask, env *Env) *Transition {
	d, err := resume(st, in.Token, in.Request.Identity, env)
	if err != nil {
		return refuse(st, err)
	}
	if err := checkSequence(in.Request.Commands); err != nil {
		return refuse(st, err)
	}
	if err := checkNamespaces(in.Request.Commands, env); err != nil {
		return refuse(st, err)
	}
	if heartbeatExpired(d, in.Request, env) {
		d.mark("heartbeat timeout")
		d.taskTimedOut()
		tr := d.finish()
		tr.Err = notFoundf("workflow task heartbeat timeout")
		return tr
	}
	if tr := vanish(d, in.Request, env); tr != nil {
		return tr
	}
	c := &completion{draft: d, req: in.Request}
	if bad := c.run(); bad != nil {
		return failCompletion(st, in, bad, env)
	}
	tr := c.finish()
	return tr
}

type commandRequest = completeRequest

// run applies the completion to the draft; a badCommand means that the draft is void.
func (c *completion) run() *badCommand {
	c.durable()
	t := c.Info.WFT
	if t.Kind != TaskNormal {
		c.writeVirtual()
		t = c.Info.WFT
	}
	c.completeEvent(&t)
	if s := c.req.StickyAttributes; s.GetWorkerTaskQueue().GetName() != "" {
		c.Info.StickyQueue, c.Info.StickyTimeout = s.WorkerTaskQueue.Name, clock.Duration(s.ScheduleToStartTimeout)
	} else {
		c.clearSticky()
	}
	c.answerQueries(t.Seq)
	c.messages = make(map[string]*protocolpb.Message, len(c.req.Messages))
	for _, m := range c.req.Messages {
		if _, twice := c.messages[m.Id]; twice {
			return badf(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE, "message ID %s is used twice", m.Id)
		}
		c.messages[m.Id] = m
		c.order = append(c.order, m)
	}
	for _, cmd := range c.req.Commands {
		if isClose(cmd.CommandType) && c.Buffered.Len() > 0 {
			return &badCommand{cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND}
		}
		if bad := commandHandlers[cmd.CommandType](c, cmd); bad != nil {
			return bad
		}
	}
	if bad := c.looseMessages(); bad != nil {
		return bad
	}
	c.closed = c.guardSize() || c.closed
	heartbeat := c.req.ForceCreateNewWorkflowTask
	if !c.closed {
		c.rejectUnprocessed(t.Seq, heartbeat)
		inline := c.req.ReturnNewWorkflowTask && (heartbeat || c.cancelled || c.needTask || c.somebodyWaits())
		c.flush()
		if heartbeat || c.cancelled {
			c.needTask, c.forceNormal = true, true
			if heartbeat && len(c.req.Commands) == 0 && len(c.req.Messages) == 0 {
				c.taskSince = t.OriginalScheduledAt
			}
		}
		if inline {
			c.inline = &inlineStart{requestID: string(c.Key.Run) + "/" + fmt.Sprint(c.Info.NextEventID), identity: c.req.Identity,
				sticky: c.Info.StickyQueue != ""}
		} else {
			c.forceNormal = true
		}
	}
	return nil
}

// somebodyWaits tells whether the next workflow task is more than a matter of signals, whose senders do not wait for it. Such
// a task takes its turn in the queue, where more signals can join it: a run that is sent signals without end would otherwise
// have its worker to itself, and a task for each.
func (c *completion) somebodyWaits() bool {
	if c.env.Limits.InlineSignals || c.Buffered.Len() == 0 || c.Volatile.Updates.Len() > 0 || c.Volatile.Queries.Len() > 0 {
		return true
	}
	for _, b := range c.Buffered.All {
		if b.Event.EventType != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			return true
		}
	}
	return false
}

func (c *completion) completeEvent(t *WorkflowTask) {
	ev := c.newEvent(enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
	ev.Attributes = &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{
		WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{
			ScheduledEventId: t.ScheduledID, StartedEventId: t.StartedID, Identity: c.req.Identity,
			BinaryChecksum: c.req.BinaryChecksum, WorkerVersion: c.req.WorkerVersionStamp, SdkMetadata: c.req.SdkMetadata,
			MeteringMetadata: c.req.MeteringMetadata, Deployment: c.req.Deployment, VersioningBehavior: c.req.VersioningBehavior}}
	c.noteTaskDone(t, c.req.Identity)
	c.write(ev)
	c.completedID = ev.EventId
	c.addResetPoint(ev)
}

// finish ends the completion: the follow-up task, eager activities, and the worker's answer.
func (c *completion) finish() *Transition {
	a := &WorkflowTaskCompleted{}
	if !c.closed {
		for _, act := range c.eager {
			if cur, ok := c.Activities.Get(act.ScheduledID); ok && !cur.CancelRequested {
				a.Activities = append(a.Activities, c.startActivity(cur, string(c.Key.Run)+"/"+cur.ActivityID, c.req.Identity))
			}
		}
	}
	tr := c.draft.finish()
	if c.inline != nil {
		a.Next = c.inline.task
	}
	tr.Answer, tr.Successor = a, c.successor
	return tr
}

// failCompletion drops the draft of a void completion and fails the workflow task instead.
func failCompletion(st *State, in CompleteWorkflowTask, bad *badCommand, env *Env) *Transition {
	err := errf(InvalidArgument, "%s", bad.text())
	unhandled := bad.cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
	if st.Info.WFT.Attempt > 1 && !unhandled && !bad.terminate {
		// The worker is told, nothing is recorded: the task is left to its timeout, which makes repetition slow down.
		return refuse(st, err)
	}
	d, resumeErr := resume(st, in.Token, in.Request.Identity, env)
	if resumeErr != nil {
		return refuse(st, resumeErr)
	}
	d.mark("completion failed: " + bad.cause.String())
	d.abortUpdatesOnFailure()
	wasSpeculative := d.Info.WFT.Kind == TaskSpeculative
	d.failTask(bad.cause, serverFailure(bad.text()), in.Request.Identity, taskFailure{checksum: in.Request.BinaryChecksum, version: in.Request.WorkerVersionStamp})
	if wasSpeculative {
		d.clearSticky()
	}
	if bad.terminate {
		d.terminate(bad.text(), nil, "history-service", nil)
	}
	tr := d.finish()
	tr.Err = err
	return tr
}

func serverFailure(msg string) *failurepb.Failure {
	return &failurepb.Failure{Message: msg, Source: "Server",
		FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{}}}
}

// heartbeatExpired tells whether a row of heartbeating workflow tasks has lasted too long.
func heartbeatExpired(d *draft, req *completeRequest, env *Env) bool {
	if !req.ForceCreateNewWorkflowTask || len(req.Commands) > 0 || len(req.Messages) > 0 || env.Limits.HeartbeatTotal == 0 {
		return false
	}
	return env.Now.Sub(d.Info.WFT.OriginalScheduledAt) > env.Limits.HeartbeatTotal
}

// vanish handles the completion of a speculative workflow task that leaves no trace; nil if it has to be written.
func vanish(d *draft, req *completeRequest, env *Env) *Transition {
	t := &d.Info.WFT
	if t.Kind != TaskSpeculative || len(req.Commands) > 0 || req.ForceCreateNewWorkflowTask {
		return nil
	}
	for _, m := range req.Messages {
		if !isRejection(m) {
			return nil
		}
	}
	// Shipped with the task beside its own two events: what came after the last completed task's Completed event.
	extra := t.ScheduledID - d.Info.LastCompletedStartedID - 2
	if extra > 0 && (!req.Capabilities.GetDiscardSpeculativeWorkflowTaskWithEvents() || extra > int64(env.Limits.SpeculativeEvents)) {
		return nil
	}
	c := &completion{draft: d, req: req}
	seq := t.Seq
	for _, m := range req.Messages {
		if bad := c.handleMessage(m); bad != nil {
			return nil // the ordinary way fails the task
		}
	}
	d.mark("speculative task vanished")
	if s := req.StickyAttributes; s.GetWorkerTaskQueue().GetName() != "" {
		d.Info.StickyQueue, d.Info.StickyTimeout = s.WorkerTaskQueue.Name, clock.Duration(s.ScheduleToStartTimeout)
	} else {
		d.clearSticky()
	}
	c.answerQueries(seq)
	c.rejectUnprocessed(seq, false)
	d.clearTask()
	a := &WorkflowTaskCompleted{ResetHistoryID: d.Info.LastCompletedStartedID}
	if d.unsentUpdates() {
		if req.ReturnNewWorkflowTask {
			d.inline = &inlineStart{requestID: string(d.Key.Run) + "/" + fmt.Sprint(d.Info.WFTSeq), identity: req.Identity,
				sticky: d.Info.StickyQueue != ""}
		} else {
			d.forceNormal = true
		}
	}
	tr := d.finish()
	if d.inline != nil {
		a.Next = d.inline.task
	}
	tr.Answer = a
	return tr
}

func payloadsSize(p *commonpb.Payloads) int {
	if p == nil {
		return 0
	}
	return proto.Size(p)
}

// addResetPoint remembers the first completion by each build of the worker's code.
func (c *completion) addResetPoint(ev *historypb.HistoryEvent) {
	build := c.req.WorkerVersionStamp.GetBuildId()
	if build == "" {
		build = c.req.BinaryChecksum
	}
	if build == "" {
		return
	}
	points := new(ResetPoints)
	if err := proto.Unmarshal(c.Info.ResetPoints, points); err != nil {
		panic(fmt.Sprintf("execution: reset points: %v", err))
	}
	for _, p := range points.Points {
		if p.BuildId == build || p.BinaryChecksum == build && p.BuildId == "" {
			return
		}
	}
	points.Points = append(points.Points, newResetPoint(c, build, ev))
	if len(points.Points) > 20 {
		points.Points = points.Points[len(points.Points)-20:]
	}
	c.Info.ResetPoints = mustMarshal(deterministic, points)
}
