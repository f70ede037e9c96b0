package wiretest

import (
	"strings"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func TestS055_CommandsOutOfPlace(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		for _, bad := range [][]*commandpb.Command{
			{{CommandType: enumspb.CommandType(99)}}, {{}}, {completeRun("done"), marker("m")}, {completeRun("done"), completeRun("again")},
		} {
			err := k.try(bad...)
			r.refused(err, codes.InvalidArgument, "…")
			r.history("w", "", "Started WFTScheduled WFTStarted")
		}
		k.complete(completeRun("done"))
	})
}

// refuses checks that a run's first task is failed by a command.
func (r *rig) refuses(cause enumspb.WorkflowTaskFailedCause, commands ...*commandpb.Command) {
	r.t.Helper()
	id := "refused-" + cause.String()
	r.start(id, func(s *startRequest) { s.RequestId = "" })
	name := cause.String()
	r.refused(r.take().try(commands...), codes.InvalidArgument, name+": …")
	e := r.history(id, "", "Started WFTScheduled WFTStarted WFTFailed")[3].GetWorkflowTaskFailedEventAttributes()
	is(r, "cause", e.Cause, cause)
	if !strings.HasPrefix(e.Failure.GetMessage(), name+": ") && e.Failure.GetMessage() == "" {
		r.t.Errorf("%s: the event's failure is %v", name, e.Failure)
	}
	k := r.take()
	is(r, "attempt", k.Attempt, 2)
	r.terminate(id)
}

func TestS056_BadAttributes(t *testing.T) {
	bubble(t, func(r *rig) {
		noType := func(a *commandpb.ScheduleActivityTaskCommandAttributes) { a.ActivityType = nil }
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES, marker("m"), schedule("a", noType))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES, schedule(""))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES, marker("m"), startTimer("", time.Second))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES, startTimer("t", -time.Second))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES, cancelTimer("t"))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES, cancelActivity(5))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES, marker(""))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES, failRun(nil))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES, startChild(""))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES, signalExternal("x", ""))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES, cancelExternal(""))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES, upsert(nil))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES, modify(nil))
	})
}

func TestS058_CancelOfAFiredTimer(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(startTimer("t", time.Second))
		r.signal("w", "s")
		k := r.take()
		r.pass(2 * time.Second) // the timer fires into the buffer
		k.complete(cancelTimer("t"), completeRun("done"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted TimerStarted Signaled WFTScheduled WFTStarted WFTCompleted TimerCanceled Completed")
	})
}

func TestS081_ActivityIDs(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(schedule("a"))
		r.signal("w", "s")
		r.refused(r.take().try(schedule("a")), codes.InvalidArgument, "ScheduleActivityDuplicateId: …")
		is(r, "cause", last(r, r.stored("w", ""), "WFTFailed").GetWorkflowTaskFailedEventAttributes().Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID)
		r.ok(r.takeActivity().complete("1"))
		r.take().complete(schedule("a"))
		r.ok(r.takeActivity().complete("2"))
		r.take().complete(completeRun("done"))
	})
}

func TestS082_Timers(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(startTimer("t", time.Hour), startTimer("zero", 0))
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 0)
		r.refused(k.try(startTimer("t", time.Second)), codes.InvalidArgument, "StartTimerDuplicateId: …")
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted TimerStarted TimerStarted TimerFired WFTScheduled WFTStarted WFTFailed")
		is(r, "fired", events[6].GetTimerFiredEventAttributes().TimerId, "zero")
		is(r, "its start", events[6].GetTimerFiredEventAttributes().StartedEventId, 6)
		r.take().complete()
		r.pass(time.Hour - time.Second)
		k = r.take()
		is(r, "the wait", time.Since(begun), time.Hour)
		k.complete(completeRun("done"))
	})
}

func TestS084_CancelOfAnUnstartedActivity(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(schedule("a"), schedule("b"))
		r.signal("w", "s")
		r.take().complete(cancelActivity(5))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted ActivityScheduled ActivityScheduled Signaled WFTScheduled WFTStarted WFTCompleted ActivityCancelRequested ActivityCanceled WFTScheduled")
		canceled := events[11].GetActivityTaskCanceledEventAttributes()
		is(r, "scheduled event", canceled.ScheduledEventId, 5)
		is(r, "started event", canceled.StartedEventId, 0)
		if got := canceled.Details.GetPayloads(); len(got) != 1 || !strings.Contains(string(got[0].Data), "ACTIVITY_ID_NOT_STARTED") {
			r.t.Errorf("details: %v", canceled.Details)
		}
		k := r.take()
		is(r, "what is left", r.takeActivity().ActivityId, "b")
		k.complete()
		r.signal("w", "s")
		r.take().complete(schedule("c"))
		r.signal("w", "s")
		k = r.take()
		scheduled := last(r, k.History.Events, "ActivityScheduled").EventId
		k.complete(cancelActivity(scheduled), completeRun("done"))
		r.noActivity()
		events = r.stored("w", "")
		is(r, "the end", list(events[len(events)-4:]), "WFTCompleted ActivityCancelRequested ActivityCanceled Completed")
	})
}

func TestS085_PendingLimits(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(schedule("a"), schedule("b"))
		r.signal("w", "s")
		r.refused(r.take().try(schedule("c")), codes.InvalidArgument, "PendingActivitiesLimitExceeded: …")
		is(r, "cause", last(r, r.stored("w", ""), "WFTFailed").GetWorkflowTaskFailedEventAttributes().Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED)
		r.ok(r.takeActivity().complete("1"))
		r.take().complete(schedule("c"), completeRun("done"))
		r.start("v")
		r.take().complete(startChild("c1"), startChild("c2"))
		children := map[string]*task{}
		for range 3 {
			k := r.take()
			children[k.WorkflowExecution.WorkflowId] = k
			if k.WorkflowExecution.WorkflowId == "v" {
				r.refused(k.try(startChild("c3")), codes.InvalidArgument, "PendingChildWorkflowsLimitExceeded: …")
			}
		}
		children["c1"].complete(completeRun("done"))
		for k := r.take(); ; k = r.take() {
			if k.WorkflowExecution.WorkflowId == "v" && list(k.History.Events) != "" && strings.Contains(list(k.History.Events), "ChildCompleted") {
				k.complete(startChild("c3"))
				break
			}
			k.complete()
		}
		r.terminate("v")
	}, func(l *limits) { l.PendingActivities, l.PendingChildren = 2, 2 })
}

func TestS086_Markers(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		cmd := marker("m")
		a := cmd.GetRecordMarkerCommandAttributes()
		a.Details = map[string]*commonpb.Payloads{"data": text("d"), "more": {}}
		a.Header = &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("1")}}
		a.Failure = application("Broken")
		r.take().complete(cmd)
		e := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted MarkerRecorded")[4].GetMarkerRecordedEventAttributes()
		is(r, "name", e.MarkerName, "m")
		is(r, "task", e.WorkflowTaskCompletedEventId, 4)
		is(r, "details", len(e.Details), 2)
		r.same(e.Details["data"], text("d"))
		r.same(e.Header, a.Header)
		r.same(e.Failure, a.Failure)
	})
}

func TestS087_CommandsHaveUserMetadata(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		commands := []*commandpb.Command{startTimer("t", time.Hour), schedule("a"), startChild("c"), marker("m"), completeRun("done")}
		for _, c := range commands {
			c.UserMetadata = &sdkpb.UserMetadata{Summary: payload(`"about ` + c.CommandType.String() + `"`), Details: payload(`"d"`)}
		}
		r.take().complete(commands...)
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted TimerStarted ActivityScheduled StartChildInitiated MarkerRecorded Completed")
		for i, c := range commands {
			r.same(events[4+i].UserMetadata, c.UserMetadata)
		}
	})
}

func TestS088_UpsertSearchAttributes(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) {
			s.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Key": payload(`"old"`), "Whole": payload("1")}}
		})
		r.take().complete(upsert(map[string]*commonpb.Payload{"Key": payload(`"new"`), "Whole": payload("null"), "Keys": payload(`["x","y"]`)}))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted UpsertWorkflowSearchAttributes")
		e := events[4].GetUpsertWorkflowSearchAttributesEventAttributes()
		is(r, "task", e.WorkflowTaskCompletedEventId, 4)
		is(r, "type of Keys in the event", string(e.SearchAttributes.IndexedFields["Keys"].Metadata["type"]), "KeywordList")
		if _, ok := e.SearchAttributes.IndexedFields["Whole"]; !ok {
			r.t.Error("the event does not tell of the removal")
		}
		a := r.describe("w", "").WorkflowExecutionInfo.SearchAttributes.IndexedFields
		if len(a) != 2 || string(a["Key"].Data) != `"new"` || string(a["Keys"].Data) != `["x","y"]` {
			r.t.Errorf("Describe has %v", a)
		}
		for query, n := range map[string]int{"Key = 'new'": 1, "Key = 'old'": 0, "Whole = 1": 0, "Whole IS NULL AND Keys = 'y'": 1} {
			is(r, query, len(r.listed(query)), n)
		}
	})
}

func TestS089_ModifyMemo(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		if r.describe("w", "").WorkflowExecutionInfo.Memo == nil {
			r.t.Error("a run without memo is described with none at all")
		}
		raw := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/plain")}, Data: []byte("null")}
		r.take().complete(modify(map[string]*commonpb.Payload{"a": payload("1"), "b": payload("2"), "raw": raw}))
		r.signal("w", "s")
		r.take().complete(modify(map[string]*commonpb.Payload{"a": payload("null"), "b": payload("3"), "c": payload("4"), "d": {}}))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted WorkflowPropertiesModified Signaled WFTScheduled WFTStarted WFTCompleted WorkflowPropertiesModified")
		is(r, "fields in the event", len(events[9].GetWorkflowPropertiesModifiedEventAttributes().UpsertedMemo.Fields), 4)
		want := &commonpb.Memo{Fields: map[string]*commonpb.Payload{"b": payload("3"), "c": payload("4"), "raw": raw}}
		r.same(r.describe("w", "").WorkflowExecutionInfo.Memo, want)
		r.same(r.listed("WorkflowId = 'w'")[0].Memo, want)
		r.signal("w", "s")
		r.take().complete(modify(map[string]*commonpb.Payload{"b": payload("null"), "c": payload("null"), "raw": {}}))
		if m := r.describe("w", "").WorkflowExecutionInfo.Memo; m == nil || len(m.Fields) > 0 {
			r.t.Errorf("an emptied memo is %v", m)
		}
	})
}

func TestS090_ChangeVersions(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		versions := payload(`["change-1"]`)
		r.take().complete(upsert(map[string]*commonpb.Payload{"TemporalChangeVersion": versions}))
		is(r, "runs with the change", len(r.listed("TemporalChangeVersion = 'change-1'")), 1)
		got := r.describe("w", "").WorkflowExecutionInfo.SearchAttributes.IndexedFields["TemporalChangeVersion"]
		is(r, "stored", string(got.GetData()), `["change-1"]`)
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES, upsert(map[string]*commonpb.Payload{"NoSuchThing": payload("1")}))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES, upsert(map[string]*commonpb.Payload{"Whole": payload(`"text"`)}))
		r.refuses(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES, upsert(map[string]*commonpb.Payload{"WorkflowId": payload(`"text"`)}))
	})
}

// A batch of commands of which a later one is bad leaves nothing behind.
func TestS056_BadCommandUndoesTheOthers(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		before := r.describe("w", "").WorkflowExecutionInfo
		r.refused(r.take().try(
			startTimer("t", time.Second), schedule("a"), startChild("c"), signalExternal("x", "s"), modify(map[string]*commonpb.Payload{"m": payload("1")}),
			upsert(map[string]*commonpb.Payload{"Key": payload(`"k"`)}), cancelTimer("t"), cancelTimer("none"), completeRun("done"),
		), codes.InvalidArgument, "BadCancelTimerAttributes: …")
		r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed")
		r.noActivity()
		is(r, "runs", len(r.listed("")), 1)
		d := r.describe("w", "")
		if !proto.Equal(d.WorkflowExecutionInfo.Memo, before.Memo) || len(d.WorkflowExecutionInfo.SearchAttributes.IndexedFields) > 0 || len(d.PendingActivities)+len(d.PendingChildren) > 0 {
			r.t.Errorf("left behind: %v", d)
		}
		r.take().complete(completeRun("done"))
	})
}
