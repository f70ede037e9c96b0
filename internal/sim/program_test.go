package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// order is a workflow's input: it decides all that the workflow ever does.
type order struct {
	Seed   uint64 `json:"s"`
	Budget int    `json:"b"` // decisions before it ends
	Depth  int    `json:"d"` // of children
	Chain  int    `json:"c"` // how often it may continue as new
	Still  bool   `json:"q"` // does nothing and never ends by itself
}

func (o order) payloads() *commonpb.Payloads {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return payloads(b)
}

func payloads(b []byte) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: b}}}
}

func text(s string) *commonpb.Payloads { return payloads([]byte(fmt.Sprintf("%q", s))) }

// program is workflow code under replay: a function of its history. It is fed events; decide gives the commands that it
// answers the news with. The same history must always lead to the same commands.
type program struct {
	in       order
	workflow string
	run      string
	n        int // decisions taken
	fresh    int // news since
	seen     int64
	signals  []string
	cancel   bool
	closed   bool

	acts     []pendingAct
	timers   []string
	children []pendingChild
	outgoing int
	updates  []string // accepted, not completed

	expect  []string // commands whose events are to come
	decided bool     // the pending task's commands are in expect
}

type pendingAct struct {
	scheduled int64
	cancelled bool
}

type pendingChild struct {
	initiated int64
	workflow  string
	started   bool
}

func (p *program) clone() *program {
	c := *p
	c.signals, c.acts, c.timers = slices.Clone(p.signals), slices.Clone(p.acts), slices.Clone(p.timers)
	c.children, c.updates, c.expect = slices.Clone(p.children), slices.Clone(p.updates), slices.Clone(p.expect)
	return &c
}

// feed takes the next event. An error means that the history is not what the code did.
func (p *program) feed(ev *historypb.HistoryEvent) error {
	if ev.EventId != p.seen+1 {
		return fmt.Errorf("event %d follows event %d", ev.EventId, p.seen)
	}
	p.seen = ev.EventId
	if name := commandName(ev); name != "" {
		if len(p.expect) == 0 || p.expect[0] != name {
			return fmt.Errorf("event %d is %q, the code said %q", ev.EventId, name, p.expect)
		}
		p.expect = p.expect[1:]
	}
	switch ev.EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		a := ev.GetWorkflowExecutionStartedEventAttributes()
		if err := json.Unmarshal(a.Input.GetPayloads()[0].Data, &p.in); err != nil {
			return err
		}
		p.workflow, p.run = a.WorkflowId, a.OriginalExecutionRunId
		p.fresh++
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		if len(p.expect) > 0 {
			return fmt.Errorf("commands left no event: %q", p.expect)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		if !p.decided && !strings.HasSuffix(ev.GetWorkflowTaskCompletedEventAttributes().Identity, heartbeating) {
			p.decide()
		}
		p.decided = false
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		p.signals = append(p.signals, ev.GetWorkflowExecutionSignaledEventAttributes().RequestId)
		p.fresh++
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		p.cancel = true
		p.fresh++
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		p.updates = append(p.updates, ev.GetWorkflowExecutionUpdateAcceptedEventAttributes().ProtocolInstanceId)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		id := ev.GetWorkflowExecutionUpdateCompletedEventAttributes().Meta.GetUpdateId()
		i := slices.Index(p.updates, id)
		if i < 0 {
			return fmt.Errorf("update %s completed, but is not open", id)
		}
		p.updates = slices.Delete(p.updates, i, i+1)
	default:
		p.feedPending(ev)
	}
	return nil
}

func (p *program) feedPending(ev *historypb.HistoryEvent) {
	endAct := func(id int64) {
		p.acts = slices.DeleteFunc(p.acts, func(a pendingAct) bool { return a.scheduled == id })
		p.fresh++
	}
	endChild := func(id int64) {
		p.children = slices.DeleteFunc(p.children, func(c pendingChild) bool { return c.initiated == id })
		p.fresh++
	}
	switch ev.EventType {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		p.acts = append(p.acts, pendingAct{scheduled: ev.EventId})
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		endAct(ev.GetActivityTaskCompletedEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		endAct(ev.GetActivityTaskFailedEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		endAct(ev.GetActivityTaskTimedOutEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		endAct(ev.GetActivityTaskCanceledEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		id := ev.GetTimerFiredEventAttributes().TimerId
		p.timers = slices.DeleteFunc(p.timers, func(t string) bool { return t == id })
		p.fresh++
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		p.children = append(p.children, pendingChild{initiated: ev.EventId, workflow: ev.GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowId})
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		id := ev.GetChildWorkflowExecutionStartedEventAttributes().InitiatedEventId
		for i := range p.children {
			if p.children[i].initiated == id {
				p.children[i].started = true
			}
		}
		p.fresh++
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		endChild(ev.GetStartChildWorkflowExecutionFailedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		endChild(ev.GetChildWorkflowExecutionCompletedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		endChild(ev.GetChildWorkflowExecutionFailedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		endChild(ev.GetChildWorkflowExecutionCanceledEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		endChild(ev.GetChildWorkflowExecutionTimedOutEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		endChild(ev.GetChildWorkflowExecutionTerminatedEventAttributes().InitiatedEventId)
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		p.outgoing++
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
		enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED, enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		p.outgoing--
		p.fresh++
	}
}

// commandName tells which command an event comes from; empty: none that replay compares.
func commandName(ev *historypb.HistoryEvent) string {
	switch ev.EventType {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		return "activity " + ev.GetActivityTaskScheduledEventAttributes().ActivityId
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
		return fmt.Sprintf("cancel activity %d", ev.GetActivityTaskCancelRequestedEventAttributes().ScheduledEventId)
	case enumspb.EVENT_TYPE_TIMER_STARTED:
		return "timer " + ev.GetTimerStartedEventAttributes().TimerId
	case enumspb.EVENT_TYPE_TIMER_CANCELED:
		return "cancel timer " + ev.GetTimerCanceledEventAttributes().TimerId
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		return "child " + ev.GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowId
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		return "signal " + ev.GetSignalExternalWorkflowExecutionInitiatedEventAttributes().WorkflowExecution.GetWorkflowId()
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		return "cancel " + ev.GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes().WorkflowExecution.GetWorkflowId()
	case enumspb.EVENT_TYPE_MARKER_RECORDED:
		return "marker " + ev.GetMarkerRecordedEventAttributes().MarkerName
	case enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
		return "memo"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		return "complete"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		return "fail"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		return "canceled"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return "again"
	}
	return ""
}

// decide answers the news with commands, and expects their events.
func (p *program) decide() []*commandpb.Command {
	if p.fresh == 0 || p.in.Still {
		p.fresh = 0
		return nil
	}
	r := rand.New(rand.NewPCG(p.in.Seed, uint64(p.n)))
	d := &decision{program: p, r: r}
	p.n++
	p.fresh = 0
	switch {
	case p.cancel && r.Float64() < 0.6:
		d.add("canceled", enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_CancelWorkflowExecutionCommandAttributes{
			CancelWorkflowExecutionCommandAttributes: &commandpb.CancelWorkflowExecutionCommandAttributes{}}})
	case p.n > p.in.Budget:
		d.close()
	default:
		for range 1 + r.IntN(4) {
			d.something()
		}
		if len(p.acts)+len(p.timers)+len(p.children)+p.outgoing+d.begun == 0 {
			d.timer()
		}
	}
	return d.commands
}

type decision struct {
	*program
	r        *rand.Rand
	commands []*commandpb.Command
	begun    int // that will bring news
}

func (d *decision) add(name string, t enumspb.CommandType, c *commandpb.Command) {
	c.CommandType = t
	d.commands = append(d.commands, c)
	d.expect = append(d.expect, name)
}

func (d *decision) between(low, high time.Duration) *durationpb.Duration {
	f := d.r.Float64()
	return durationpb.New(low + time.Duration(f*f*float64(high-low)))
}

func (d *decision) name(kind string) string {
	return fmt.Sprintf("%s%d.%d", kind, d.n, len(d.commands))
}

func (d *decision) something() {
	switch pick := d.r.IntN(100); {
	case pick < 34:
		d.activity()
	case pick < 52:
		d.timer()
	case pick < 62:
		if len(d.timers) > 0 {
			i := d.r.IntN(len(d.timers))
			id := d.timers[i]
			d.timers = slices.Delete(d.timers, i, i+1)
			d.add("cancel timer "+id, enumspb.COMMAND_TYPE_CANCEL_TIMER, &commandpb.Command{Attributes: &commandpb.Command_CancelTimerCommandAttributes{
				CancelTimerCommandAttributes: &commandpb.CancelTimerCommandAttributes{TimerId: id}}})
		}
	case pick < 69:
		d.cancelActivity()
	case pick < 78:
		d.child()
	case pick < 86:
		d.signal()
	case pick < 91:
		d.cancelOther()
	case pick < 96:
		name := d.name("m")
		d.add("marker "+name, enumspb.COMMAND_TYPE_RECORD_MARKER, &commandpb.Command{Attributes: &commandpb.Command_RecordMarkerCommandAttributes{
			RecordMarkerCommandAttributes: &commandpb.RecordMarkerCommandAttributes{MarkerName: name}}})
	default:
		d.add("memo", enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES, &commandpb.Command{Attributes: &commandpb.Command_ModifyWorkflowPropertiesCommandAttributes{
			ModifyWorkflowPropertiesCommandAttributes: &commandpb.ModifyWorkflowPropertiesCommandAttributes{
				UpsertedMemo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{"k": text(d.name("v")).Payloads[0]}}}}})
	}
}

func (d *decision) activity() {
	id := d.name("a")
	a := &commandpb.ScheduleActivityTaskCommandAttributes{ActivityId: id, ActivityType: &commonpb.ActivityType{Name: "act"},
		TaskQueue: &taskqueuepb.TaskQueue{Name: normalQueue}, Input: text(id), StartToCloseTimeout: d.between(time.Second, 30*time.Second),
		RequestEagerExecution: d.r.IntN(3) == 0, RetryPolicy: &commonpb.RetryPolicy{InitialInterval: d.between(100*time.Millisecond, 5*time.Second),
			BackoffCoefficient: 2, MaximumAttempts: 1 + d.r.Int32N(4)}}
	if d.r.IntN(3) == 0 {
		a.ScheduleToCloseTimeout = d.between(2*time.Second, 2*time.Minute)
	}
	if d.r.IntN(3) == 0 {
		a.ScheduleToStartTimeout = d.between(time.Second, time.Minute)
	}
	if d.r.IntN(3) == 0 {
		a.HeartbeatTimeout = d.between(time.Second, 10*time.Second)
	}
	d.begun++
	d.add("activity "+id, enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, &commandpb.Command{Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
		ScheduleActivityTaskCommandAttributes: a}})
}

func (d *decision) timer() {
	id := d.name("t")
	d.timers = append(d.timers, id)
	d.add("timer "+id, enumspb.COMMAND_TYPE_START_TIMER, &commandpb.Command{Attributes: &commandpb.Command_StartTimerCommandAttributes{
		StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{TimerId: id, StartToFireTimeout: d.between(time.Millisecond, 90*time.Second)}}})
}

func (d *decision) cancelActivity() {
	if len(d.acts) == 0 {
		return
	}
	i := d.r.IntN(len(d.acts))
	if d.acts[i].cancelled {
		return
	}
	d.acts[i].cancelled = true
	id := d.acts[i].scheduled
	d.add(fmt.Sprintf("cancel activity %d", id), enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK, &commandpb.Command{Attributes: &commandpb.Command_RequestCancelActivityTaskCommandAttributes{
		RequestCancelActivityTaskCommandAttributes: &commandpb.RequestCancelActivityTaskCommandAttributes{ScheduledEventId: id}}})
}

func (d *decision) child() {
	if d.in.Depth == 0 {
		return
	}
	id := fmt.Sprintf("%s/%s", d.workflow, d.name("c"))
	if d.r.IntN(5) == 0 {
		id = fmt.Sprintf("w%d", d.r.IntN(plainWorkflows)) // may be taken
	}
	if slices.Contains(d.expect, "child "+id) {
		return
	}
	in := order{Seed: d.r.Uint64(), Budget: d.r.IntN(4), Depth: d.in.Depth - 1, Chain: d.r.IntN(2)}
	a := &commandpb.StartChildWorkflowExecutionCommandAttributes{WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "program"},
		Input: in.payloads(), ParentClosePolicy: enumspb.ParentClosePolicy(d.r.IntN(4)), WorkflowIdReusePolicy: enumspb.WorkflowIdReusePolicy(d.r.IntN(5))}
	if d.r.IntN(4) == 0 {
		a.WorkflowRunTimeout = d.between(5*time.Second, 3*time.Minute)
	}
	if d.r.IntN(4) == 0 {
		a.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: durationpb.New(time.Second), BackoffCoefficient: 1, MaximumAttempts: 2}
	}
	d.begun++
	d.add("child "+id, enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{
		StartChildWorkflowExecutionCommandAttributes: a}})
}

// other names a workflow to talk to: a child if there is one, or any.
func (d *decision) other() (id string, child bool) {
	if len(d.children) > 0 && d.r.IntN(2) == 0 {
		if c := d.children[d.r.IntN(len(d.children))]; c.started {
			return c.workflow, d.r.IntN(2) == 0
		}
	}
	return fmt.Sprintf("w%d", d.r.IntN(plainWorkflows)), false
}

func (d *decision) signal() {
	id, child := d.other()
	d.begun++
	d.add("signal "+id, enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{
		SignalExternalWorkflowExecutionCommandAttributes: &commandpb.SignalExternalWorkflowExecutionCommandAttributes{
			Execution: &commonpb.WorkflowExecution{WorkflowId: id}, SignalName: "from " + d.workflow, ChildWorkflowOnly: child}}})
}

func (d *decision) cancelOther() {
	id, child := d.other()
	if slices.Contains(d.expect, "child "+id) || id == d.workflow {
		return
	}
	d.begun++
	d.add("cancel "+id, enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{
		RequestCancelExternalWorkflowExecutionCommandAttributes: &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{
			WorkflowId: id, ChildWorkflowOnly: child}}})
}

func (d *decision) close() {
	switch pick := d.r.IntN(10); {
	case pick < 2:
		d.add("fail", enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_FailWorkflowExecutionCommandAttributes{
			FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{Failure: failure("program", d.r.IntN(4) == 0)}}})
	case pick < 6 && d.in.Chain > 0:
		in := d.in
		in.Chain--
		in.Seed++
		d.add("again", enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{
			ContinueAsNewWorkflowExecutionCommandAttributes: &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{Input: in.payloads()}}})
	default:
		d.add("complete", enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, &commandpb.Command{Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{Result: text(d.run)}}})
	}
}

func failure(typ string, final bool) *failurepb.Failure {
	return &failurepb.Failure{Message: typ + " failed", Source: "sim", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
		ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: typ, NonRetryable: final}}}
}
