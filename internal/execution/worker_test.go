package execution_test

import (
	"fmt"
	"slices"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
)

// completion is a worker's answer: mostly sensible, sometimes not.
func (w *walker) completion(a *execution.WorkflowTaskStarted) *workflowservice.RespondWorkflowTaskCompletedRequest {
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Identity: "worker", ForceCreateNewWorkflowTask: w.chance(8)}
	if w.chance(2) {
		req.StickyAttributes = &taskqueuepb.StickyExecutionAttributes{WorkerTaskQueue: &taskqueuepb.TaskQueue{Name: "sticky", Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: "q"},
			ScheduleToStartTimeout: durationpb.New(5 * time.Second)}
		req.ReturnNewWorkflowTask = w.chance(2)
	}
	if w.chance(2) {
		req.Capabilities = &workflowservice.RespondWorkflowTaskCompletedRequest_Capabilities{DiscardSpeculativeWorkflowTaskWithEvents: true}
	}
	if w.chance(3) {
		req.WorkerVersionStamp = &commonpb.WorkerVersionStamp{BuildId: any1(w, []string{"v1", "v2"})}
	}
	for id := range a.Queries {
		if w.chance(3) {
			continue
		}
		if req.QueryResults == nil {
			req.QueryResults = map[string]*querypb.WorkflowQueryResult{}
		}
		req.QueryResults[id] = &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: payloads("fine")}
	}
	w.messages(req, a)
	st := w.runs[a.Token.Run].st
	asked := map[int64]bool{}
	for range w.pick(4) {
		if c := w.command(st, w.runs[a.Token.Run].events, asked); c != nil {
			req.Commands = append(req.Commands, c)
		}
	}
	if w.chance(6) {
		req.Commands = append(req.Commands, w.closing())
	}
	if w.chance(40) {
		req.Commands = append(req.Commands, protocolCommand("absent"))
	}
	return req
}

// messages decides the updates that came with the task, and those accepted earlier.
func (w *walker) messages(req *workflowservice.RespondWorkflowTaskCompletedRequest, a *execution.WorkflowTaskStarted) {
	say := func(id, what string, body proto.Message) {
		packed, err := anypb.New(body)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		m := &protocolpb.Message{Id: id + "/" + what, ProtocolInstanceId: id, Body: packed}
		req.Messages = append(req.Messages, m)
		if what != "reject" && !w.chance(4) {
			req.Commands = append(req.Commands, protocolCommand(m.Id))
		}
	}
	done := func(id string) {
		r := &updatepb.Response{Meta: &updatepb.Meta{UpdateId: id}, Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads("done")}}}
		if w.chance(30) {
			r.Outcome = nil
		}
		say(id, "complete", r)
	}
	for _, m := range a.Messages {
		id := m.ProtocolInstanceId
		var asked updatepb.Request
		if err := m.Body.UnmarshalTo(&asked); err != nil {
			w.t.Fatalf("%v", err)
		}
		switch w.pick(5) {
		case 0, 1:
			acc := &updatepb.Acceptance{AcceptedRequestMessageId: m.Id, AcceptedRequestSequencingEventId: m.GetEventId()}
			if w.chance(2) {
				acc.AcceptedRequest = &asked
			}
			say(id, "accept", acc)
			if w.chance(2) {
				done(id)
			}
		case 2, 3:
			rej := &updatepb.Rejection{RejectedRequestMessageId: m.Id, Failure: &failurepb.Failure{Message: "no"}}
			if w.chance(2) {
				rej.RejectedRequest = &asked
			}
			say(id, "reject", rej)
		}
	}
	for id, u := range w.runs[a.Token.Run].st.Updates.All {
		if u.CompletedID == 0 && w.chance(3) && !slices.ContainsFunc(req.Messages, func(m *protocolpb.Message) bool { return m.ProtocolInstanceId == id }) {
			done(id)
		}
	}
}

func (w *walker) closing() *commandpb.Command {
	pos := any1(w, [][]string{{"finish"}, {"finish"}, {"fail"}, {"fail"}, {"cancelled"}, {"continue"}, {"continue"}})
	o := options{"type": any1(w, []string{"Busy", "Bad"}), "message": "no", "result": any1(w, []string{"", "ok"}), "delay": any1(w, []string{"", "", "2s"})}
	if w.chance(30) {
		o["result"] = "bytes:1001"
	}
	return makeCommand(nil, pos, o, func(string) bool { return false })
}

// command makes one command that fits the run, or nearly.
func (w *walker) command(st *execution.State, events []*historypb.HistoryEvent, asked map[int64]bool) *commandpb.Command {
	no := func(string) bool { return false }
	duration := func(n int) string { return w.seconds(n).AsDuration().String() }
	old := func(names []string, fresh string) string {
		if len(names) > 0 && w.chance(12) {
			return any1(w, names)
		}
		return fresh
	}
	var activities, timers []string
	var pending []int64
	for id, a := range st.Activities.All {
		activities = append(activities, a.ActivityID)
		if !a.CancelRequested {
			pending = append(pending, id)
		}
	}
	for id := range st.Timers.All {
		timers = append(timers, id)
	}
	requested := map[int64]bool{}
	for _, ev := range events {
		requested[ev.GetActivityTaskCancelRequestedEventAttributes().GetScheduledEventId()] = true
	}
	for _, b := range st.Buffered.All {
		if f := b.Event.GetTimerFiredEventAttributes(); f != nil {
			timers = append(timers, f.TimerId, f.TimerId)
		}
		if c := b.Event.GetActivityTaskCompletedEventAttributes(); c != nil && !requested[c.ScheduledEventId] {
			pending = append(pending, c.ScheduledEventId)
		}
	}
	other := any1(w, []string{"a", "b", "c", "k1", "k2", "nowhere", string(st.Key.Workflow)})
	switch w.pick(12) {
	case 0, 1, 2:
		o := options{"stc": duration(12), "s2c": any1(w, []string{"", "", "8s", "20s"}), "s2s": any1(w, []string{"", "", "4s"}), "hb": any1(w, []string{"", "3s"}), "priority": any1(w, []string{"", "1", "5"})}
		if w.chance(4) {
			o["retry"] = fmt.Sprint(1 + w.pick(3))
		}
		eager := w.chance(4)
		return makeCommand(nil, []string{"activity", old(activities, w.name("act"))}, o, func(string) bool { return eager })
	case 3:
		var left []int64
		for _, id := range pending {
			if !asked[id] {
				left = append(left, id)
			}
		}
		if len(left) == 0 {
			return nil
		}
		id := any1(w, left)
		asked[id] = true
		return makeCommand(nil, []string{"cancel-activity", fmt.Sprint(id)}, options{}, no)
	case 4, 5:
		return makeCommand(nil, []string{"timer", old(timers, w.name("t")), duration(10)}, options{}, no)
	case 6:
		if len(timers) == 0 {
			return nil
		}
		return makeCommand(nil, []string{"cancel-timer", any1(w, timers)}, options{}, no)
	case 7:
		o := options{"policy": any1(w, []string{"", "terminate", "request-cancel", "abandon"}), "retry": any1(w, []string{"", "", "2"}), "reuse": any1(w, []string{"", "terminate-if-running"})}
		return makeCommand(nil, []string{"child", any1(w, []string{"k1", "k2", "a"})}, o, no)
	case 8:
		only := w.chance(3)
		return makeCommand(nil, []string{"signal", other, "hello"}, options{}, func(string) bool { return only })
	case 9:
		return makeCommand(nil, []string{"cancel-external", other}, options{"reason": "why"}, no)
	case 10:
		return makeCommand(nil, []string{any1(w, []string{"upsert", "memo"}), any1(w, []string{"City:Oslo", "City:null,Size:null", "owner:null", "owner:you"})}, options{}, no)
	}
	return makeCommand(nil, []string{"marker", "seen"}, options{}, no)
}
