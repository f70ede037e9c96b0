// Package replay turns an event history into what a workflow run has to go through again, and finds where the commands of
// its code are not those of the history.
//
// Invariant: a workflow task that came to nothing (failed, timed out) leaves no trace: the events before it belong to the
// next one that was completed.
//
// It neither runs code (flow does) nor fetches pages (worker does).
package replay

import (
	"fmt"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// Activation is one workflow task as the run sees it.
type Activation struct {
	// Events came since the task before.
	Events []*historypb.HistoryEvent
	// StartedEventID and Time are those of WorkflowTaskStarted.
	StartedEventID int64
	Time           time.Time
	// Started is that event; it carries the server's advice.
	Started *historypb.WorkflowTaskStartedEventAttributes
	// Replay says that the task was completed before. Commands are the events that its commands made then.
	Replay   bool
	Commands []*historypb.HistoryEvent
}

// Split cuts events, which follow each other without a gap, into activations. Events of commands at the beginning belong
// to a task the run has been through: tail. The last activation is live when no completion follows it.
func Split(events []*historypb.HistoryEvent) (tail []*historypb.HistoryEvent, activations []*Activation) {
	var pending []*historypb.HistoryEvent
	commands := &tail
	for i, e := range events {
		switch {
		case e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
			completed := i+1 < len(events) && events[i+1].EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
			if !completed && i+1 < len(events) {
				continue
			}
			a := &Activation{
				Events: pending, StartedEventID: e.EventId, Time: e.EventTime.AsTime(),
				Started: e.GetWorkflowTaskStartedEventAttributes(), Replay: completed,
			}
			activations = append(activations, a)
			commands, pending = &a.Commands, nil
		case IsCommand(e.EventType):
			*commands = append(*commands, e)
		case e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
			e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
			e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		default:
			pending = append(pending, e)
		}
	}
	return tail, activations
}

// IsCommand says whether events of a type are made by commands of a completed workflow task.
func IsCommand(t enumspb.EventType) bool { return commandOf[t] != 0 }

var commandOf = map[enumspb.EventType]enumspb.CommandType{
	enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:                              enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
	enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:                       enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK,
	enumspb.EVENT_TYPE_TIMER_STARTED:                                        enumspb.COMMAND_TYPE_START_TIMER,
	enumspb.EVENT_TYPE_TIMER_CANCELED:                                       enumspb.COMMAND_TYPE_CANCEL_TIMER,
	enumspb.EVENT_TYPE_MARKER_RECORDED:                                      enumspb.COMMAND_TYPE_RECORD_MARKER,
	enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:             enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
	enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
	enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:         enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
	enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:                    enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
	enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:                         enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:                   enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:                  enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:                         enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:                            enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:                          enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:                  enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
}

// Command is one step of workflow code.
type Command struct {
	Proto *commandpb.Command
	// Name says what the step is about: an activity's type, a timer, an update's ID. It is compared where code that changes it
	// must not go on with the old history.
	Name string
	// Want narrows the event type where the command's type has several.
	Want enumspb.EventType
	// Where is the line of workflow code that asked for it, for the error.
	Where string
	// Bind learns the event that the command made.
	Bind func(e *historypb.HistoryEvent)
}

// NondeterminismError says that code and history part ways.
type NondeterminismError struct {
	EventID  int64
	Expected string // what history has, empty when it has nothing more
	Actual   string // what the code did, empty when it did nothing more
	Where    string // file and line of the code's step, empty when there is none
}

func (e *NondeterminismError) Error() string {
	expected, actual := e.Expected, e.Actual
	if expected == "" {
		expected = "nothing more"
	}
	if actual == "" {
		actual = "nothing more"
	}
	text := fmt.Sprintf("nondeterminism: history has %s (event %d), the code did %s", expected, e.EventID, actual)
	if e.Where != "" {
		text += " at " + e.Where
	}
	return text
}

// Match binds each command to the event it made, in order. A *NondeterminismError says where they differ; last is the event
// after which history has no more commands.
func Match(commands []*Command, events []*historypb.HistoryEvent, last int64) error {
	for i, e := range events {
		if i >= len(commands) {
			return &NondeterminismError{EventID: e.EventId, Expected: describeEvent(e)}
		}
		c := commands[i]
		if !matches(c, e) {
			return &NondeterminismError{EventID: e.EventId, Expected: describeEvent(e), Actual: describe(c), Where: c.Where}
		}
		if c.Bind != nil {
			c.Bind(e)
		}
	}
	if len(commands) > len(events) {
		c := commands[len(events)]
		return &NondeterminismError{EventID: last, Actual: describe(c), Where: c.Where}
	}
	return nil
}

func matches(c *Command, e *historypb.HistoryEvent) bool {
	if commandOf[e.EventType] != c.Proto.CommandType {
		return false
	}
	if c.Want != 0 && c.Want != e.EventType {
		return false
	}
	name := nameOf(e)
	return c.Name == "" || name == "" || c.Name == name
}

// nameOf is what Command.Name is compared with.
func nameOf(e *historypb.HistoryEvent) string {
	switch a := e.Attributes.(type) {
	case *historypb.HistoryEvent_ActivityTaskScheduledEventAttributes:
		return a.ActivityTaskScheduledEventAttributes.ActivityType.GetName()
	case *historypb.HistoryEvent_MarkerRecordedEventAttributes:
		return a.MarkerRecordedEventAttributes.MarkerName
	case *historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes:
		return a.StartChildWorkflowExecutionInitiatedEventAttributes.WorkflowType.GetName()
	case *historypb.HistoryEvent_SignalExternalWorkflowExecutionInitiatedEventAttributes:
		return a.SignalExternalWorkflowExecutionInitiatedEventAttributes.SignalName
	case *historypb.HistoryEvent_RequestCancelExternalWorkflowExecutionInitiatedEventAttributes:
		return a.RequestCancelExternalWorkflowExecutionInitiatedEventAttributes.WorkflowExecution.GetWorkflowId()
	case *historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes:
		return a.WorkflowExecutionUpdateAcceptedEventAttributes.ProtocolInstanceId
	case *historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes:
		return a.WorkflowExecutionUpdateCompletedEventAttributes.GetMeta().GetUpdateId()
	}
	return ""
}

func describeEvent(e *historypb.HistoryEvent) string {
	if name := nameOf(e); name != "" {
		return fmt.Sprintf("%s %q", e.EventType, name)
	}
	return e.EventType.String()
}

func describe(c *Command) string {
	kind := c.Proto.CommandType.String()
	if c.Want != 0 {
		kind = c.Want.String()
	}
	if c.Name != "" {
		return fmt.Sprintf("%s %q", kind, c.Name)
	}
	return kind
}
