package judge_test

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/conformance/judge"
)

// legal is a closed run with an activity, a timer and a signal.
func legal() []*historypb.HistoryEvent {
	events := []*historypb.HistoryEvent{
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED},
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED},
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
			WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: 2}}},
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{
			WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{ScheduledEventId: 2, StartedEventId: 3}}},
		{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED},
		{EventType: enumspb.EVENT_TYPE_TIMER_STARTED},
		signal("a"),
		{EventType: enumspb.EVENT_TYPE_TIMER_FIRED, Attributes: &historypb.HistoryEvent_TimerFiredEventAttributes{
			TimerFiredEventAttributes: &historypb.TimerFiredEventAttributes{StartedEventId: 6}}},
		{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
			ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: 5}}},
		{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 5, StartedEventId: 9}}},
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED},
	}
	return number(events)
}

func number(events []*historypb.HistoryEvent) []*historypb.HistoryEvent {
	for i, e := range events {
		e.EventId, e.EventTime = int64(i+1), timestamppb.Now()
	}
	return events
}

func signal(request string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{RequestId: request}}}
}

func TestLegalHistoryHasNoFault(t *testing.T) {
	if faults := judge.History(legal()); len(faults) > 0 {
		t.Fatal(faults)
	}
}

// Each planted fault must be named; a judge that misses one proves nothing.
func TestPlantedFaultsAreFound(t *testing.T) {
	for name, tc := range map[string]struct {
		plant func([]*historypb.HistoryEvent) []*historypb.HistoryEvent
		want  string
	}{
		"missing event": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent { return append(h[:6], h[7:]...) }, "stands at place 7"},
		"event twice": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			return append(h[:7:7], append([]*historypb.HistoryEvent{h[6]}, h[7:]...)...)
		}, "stands at place 8"},
		"signal twice": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			return number(append(h[:10:10], signal("a"), h[10]))
		}, "signal with request ID a received, for the second time"},
		"activity completed twice": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			return number(append(h[:10:10], proto.CloneOf(h[9]), h[10]))
		}, "activity scheduled at 5 ended, for the second time"},
		"timer fired twice": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			return number(append(h[:10:10], proto.CloneOf(h[7]), h[10]))
		}, "timer of event 6 ended, for the second time"},
		"workflow task completed twice": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			return number(append(h[:10:10], proto.CloneOf(h[3]), h[10]))
		}, "workflow task scheduled at 2 ended, for the second time"},
		"two workflow tasks at once": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			w := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED}
			return number(append(h[:10:10], w, proto.CloneOf(w)))
		}, "while the one of event 11 is open"},
		"event after the end": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			return number(append(h, signal("b")))
		}, "after the run closed"},
		"outcome without cause": {func(h []*historypb.HistoryEvent) []*historypb.HistoryEvent {
			h[7].GetTimerFiredEventAttributes().StartedEventId = 99
			return h
		}, "refers to event 99"},
		"nothing": {func([]*historypb.HistoryEvent) []*historypb.HistoryEvent { return nil }, "history is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := strings.Join(judge.History(tc.plant(legal())), "\n")
			if !strings.Contains(faults, tc.want) {
				t.Fatalf("want a fault with %q, got:\n%s", tc.want, faults)
			}
		})
	}
}
