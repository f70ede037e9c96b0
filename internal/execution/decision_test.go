package execution_test

import (
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// complete answers a workflow task. Each further line is a command, a message, or a query's answer.
func (s *player) complete(t *testing.T, key ids.WorkflowKey, o options, flag func(string) bool, lines []string) {
	token := s.token(o)
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Identity: "worker", ReturnNewWorkflowTask: flag("return-new"), ForceCreateNewWorkflowTask: flag("heartbeat")}
	if flag("discard") {
		req.Capabilities = &workflowservice.RespondWorkflowTaskCompletedRequest_Capabilities{DiscardSpeculativeWorkflowTaskWithEvents: true}
	}
	if o["sticky"] != "" {
		req.StickyAttributes = &taskqueuepb.StickyExecutionAttributes{WorkerTaskQueue: &taskqueuepb.TaskQueue{Name: o["sticky"], Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: "q"},
			ScheduleToStartTimeout: durationpb.New(5 * time.Second)}
	}
	for _, line := range lines {
		s.decision(t, req, token, line)
	}
	tr := s.step(key, token.Token.Run.Run, execution.CompleteWorkflowTask{Token: token.Token, Request: req})
	if a, ok := tr.Answer.(*execution.WorkflowTaskCompleted); ok {
		if a.Next != nil {
			s.tokens["last"] = a.Next
		}
		for _, x := range a.Activities {
			s.activities[x.Token.ActivityID] = x.Token
		}
	}
}

func (s *player) decision(t *testing.T, req *workflowservice.RespondWorkflowTaskCompletedRequest, token *execution.WorkflowTaskStarted, line string) {
	pos, o := words(line)
	arg := ""
	if len(pos) > 1 {
		arg = pos[1]
	}
	flag := func(name string) bool {
		for _, p := range pos[1:] {
			if p == name {
				return true
			}
		}
		return false
	}
	message := func(suffix string, body proto.Message) {
		packed, err := anypb.New(body)
		if err != nil {
			t.Fatal(err)
		}
		id := arg + "/" + suffix
		req.Messages = append(req.Messages, &protocolpb.Message{Id: id, ProtocolInstanceId: arg, Body: packed})
		if suffix != "reject" && !flag("loose") {
			req.Commands = append(req.Commands, protocolCommand(id))
		}
	}
	var seqID int64 = 2
	for _, m := range token.Messages {
		if m.ProtocolInstanceId == arg {
			seqID = m.GetEventId()
		}
	}
	switch pos[0] {
	case "accept":
		a := &updatepb.Acceptance{AcceptedRequestMessageId: arg + "/request", AcceptedRequestSequencingEventId: seqID}
		if flag("embed") {
			a.AcceptedRequest = updateRequest(arg, "embedded")
		}
		if flag("bad") {
			a.AcceptedRequestMessageId = ""
		}
		message("accept", a)
	case "reject":
		r := &updatepb.Rejection{RejectedRequestMessageId: arg + "/request", Failure: &failurepb.Failure{Message: "no"}}
		message("reject", r)
	case "respond":
		r := &updatepb.Response{Meta: &updatepb.Meta{UpdateId: defaulted(o["id"], arg)}}
		switch {
		case flag("failure"):
			r.Outcome = &updatepb.Outcome{Value: &updatepb.Outcome_Failure{Failure: &failurepb.Failure{Message: "handler failed"}}}
		case !flag("empty"):
			r.Outcome = &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads(defaulted(o["result"], "done"))}}
		}
		message("complete", r)
	case "protocol":
		req.Commands = append(req.Commands, protocolCommand(arg))
	case "answer", "answer-failed":
		if req.QueryResults == nil {
			req.QueryResults = map[string]*querypb.WorkflowQueryResult{}
		}
		r := &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: payloads(defaulted(o["result"], "fine")), ErrorMessage: o["error"]}
		if pos[0] == "answer-failed" {
			r = &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_FAILED, ErrorMessage: o["error"]}
		}
		req.QueryResults[arg] = r
	default:
		req.Commands = append(req.Commands, makeCommand(t, pos, o, flag))
	}
}

func protocolCommand(id string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE, Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
		ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: id}}}
}
