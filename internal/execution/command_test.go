package execution_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

func onConflict() *workflowpb.OnConflictOptions {
	return &workflowpb.OnConflictOptions{AttachRequestId: true}
}

// makeCommand is the command that a line of a script describes.
func makeCommand(t *testing.T, pos []string, o options, flag func(string) bool) *commandpb.Command {
	c := new(commandpb.Command)
	arg := func(i int) string {
		if len(pos) > i {
			return pos[i]
		}
		return ""
	}
	if o["summary"] != "" {
		c.UserMetadata = &sdkpb.UserMetadata{Summary: payloads(o["summary"]).Payloads[0]}
	}
	n := func(s string) int64 { v, _ := strconv.ParseInt(s, 10, 64); return v }
	switch pos[0] {
	case "activity":
		a := &commandpb.ScheduleActivityTaskCommandAttributes{ActivityId: arg(1), ActivityType: &commonpb.ActivityType{Name: "Charge"},
			TaskQueue: &taskqueuepb.TaskQueue{Name: defaulted(o["queue"], "q")}, Input: payloads(o["input"]),
			ScheduleToCloseTimeout: o.duration(t, "s2c"), ScheduleToStartTimeout: o.duration(t, "s2s"), StartToCloseTimeout: o.duration(t, "stc"),
			HeartbeatTimeout: o.duration(t, "hb"), RetryPolicy: retryPolicy(o["retry"]), RequestEagerExecution: flag("eager")}
		if o["fatal"] != "" {
			a.RetryPolicy = &commonpb.RetryPolicy{NonRetryableErrorTypes: strings.Split(o["fatal"], ",")}
		}
		if o["priority"] != "" {
			a.Priority = &commonpb.Priority{PriorityKey: int32(n(o["priority"]))}
		}
		c.CommandType = enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
		c.Attributes = &commandpb.Command_ScheduleActivityTaskCommandAttributes{ScheduleActivityTaskCommandAttributes: a}
	case "cancel-activity":
		c.CommandType = enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK
		c.Attributes = &commandpb.Command_RequestCancelActivityTaskCommandAttributes{RequestCancelActivityTaskCommandAttributes: &commandpb.RequestCancelActivityTaskCommandAttributes{ScheduledEventId: n(arg(1))}}
	case "timer":
		d, err := time.ParseDuration(arg(2))
		if err != nil {
			t.Fatal(err)
		}
		c.CommandType = enumspb.COMMAND_TYPE_START_TIMER
		c.Attributes = &commandpb.Command_StartTimerCommandAttributes{StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{TimerId: arg(1), StartToFireTimeout: durationpb.New(d)}}
	case "cancel-timer":
		c.CommandType = enumspb.COMMAND_TYPE_CANCEL_TIMER
		c.Attributes = &commandpb.Command_CancelTimerCommandAttributes{CancelTimerCommandAttributes: &commandpb.CancelTimerCommandAttributes{TimerId: arg(1)}}
	case "marker":
		c.CommandType = enumspb.COMMAND_TYPE_RECORD_MARKER
		c.Attributes = &commandpb.Command_RecordMarkerCommandAttributes{RecordMarkerCommandAttributes: &commandpb.RecordMarkerCommandAttributes{MarkerName: arg(1)}}
	case "upsert":
		c.CommandType = enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
		c.Attributes = &commandpb.Command_UpsertWorkflowSearchAttributesCommandAttributes{UpsertWorkflowSearchAttributesCommandAttributes: &commandpb.UpsertWorkflowSearchAttributesCommandAttributes{
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: payloadMap(arg(1))}}}
	case "memo":
		c.CommandType = enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES
		c.Attributes = &commandpb.Command_ModifyWorkflowPropertiesCommandAttributes{ModifyWorkflowPropertiesCommandAttributes: &commandpb.ModifyWorkflowPropertiesCommandAttributes{
			UpsertedMemo: &commonpb.Memo{Fields: payloadMap(arg(1))}}}
	case "child":
		c.CommandType = enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION
		c.Attributes = &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{
			Namespace: o["namespace"], WorkflowId: arg(1), WorkflowType: &commonpb.WorkflowType{Name: "Kid"}, Input: payloads(o["input"]), RetryPolicy: retryPolicy(o["retry"]), CronSchedule: o["cron"],
			WorkflowRunTimeout:    o.duration(t, "run-timeout"),
			ParentClosePolicy:     enum[enumspb.ParentClosePolicy](t, enumspb.ParentClosePolicy_value, "PARENT_CLOSE_POLICY_", o["policy"]),
			WorkflowIdReusePolicy: enum[enumspb.WorkflowIdReusePolicy](t, enumspb.WorkflowIdReusePolicy_value, "WORKFLOW_ID_REUSE_POLICY_", o["reuse"])}}
	case "signal":
		c.CommandType = enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION
		a := &commandpb.SignalExternalWorkflowExecutionCommandAttributes{Namespace: o["namespace"], Execution: &commonpb.WorkflowExecution{WorkflowId: arg(1), RunId: string(runOf(o, "run"))},
			SignalName: arg(2), Input: payloads(o["input"]), ChildWorkflowOnly: flag("child-only")}
		if arg(1) == "nobody" {
			a.Execution = nil
		}
		c.Attributes = &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{SignalExternalWorkflowExecutionCommandAttributes: a}
	case "cancel-external":
		c.CommandType = enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION
		c.Attributes = &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{RequestCancelExternalWorkflowExecutionCommandAttributes: &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{
			Namespace: o["namespace"], WorkflowId: arg(1), RunId: string(runOf(o, "run")), ChildWorkflowOnly: flag("child-only"), Reason: o["reason"]}}
	case "finish":
		c.CommandType = enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION
		c.Attributes = &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{Result: payloads(o["result"])}}
	case "fail":
		c.CommandType = enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION
		f := applicationFailure(o, t)
		if flag("nothing") {
			f = nil
		}
		c.Attributes = &commandpb.Command_FailWorkflowExecutionCommandAttributes{FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{Failure: f}}
	case "cancelled":
		c.CommandType = enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION
		c.Attributes = &commandpb.Command_CancelWorkflowExecutionCommandAttributes{CancelWorkflowExecutionCommandAttributes: &commandpb.CancelWorkflowExecutionCommandAttributes{}}
	case "continue":
		a := &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{Input: payloads(o["input"]), BackoffStartInterval: o.duration(t, "delay"),
			RetryPolicy: retryPolicy(o["retry"]), WorkflowRunTimeout: o.duration(t, "run-timeout")}
		if o["memo"] != "" {
			a.Memo = &commonpb.Memo{Fields: payloadMap(o["memo"])}
		}
		c.CommandType = enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION
		c.Attributes = &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{ContinueAsNewWorkflowExecutionCommandAttributes: a}
	case "unknown":
		c.CommandType = enumspb.CommandType(99)
	default:
		t.Fatalf("unknown command %q", pos)
	}
	return c
}
