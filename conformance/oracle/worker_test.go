package oracle

import (
	"context"
	"fmt"
	"strings"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// task is a workflow task, or a query that came as one.
type task = workflowservice.PollWorkflowTaskQueueResponse

type completion = workflowservice.RespondWorkflowTaskCompletedRequest

// poll takes the next workflow task and notes it.
func (w *world) poll() *task { return w.pollOn(queueNamed(w.queue)) }

// pollSticky takes the next workflow task of the scenario's sticky queue.
func (w *world) pollSticky() *task { return w.pollOn(w.stickyQueue()) }

func (w *world) stickyQueue() *taskqueuepb.TaskQueue {
	return &taskqueuepb.TaskQueue{Name: w.queue + "-sticky", Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: w.queue}
}

func (w *world) pollOn(q *taskqueuepb.TaskQueue) *task {
	t := w.tryPoll(q, patience)
	if t == nil {
		w.stop("no workflow task")
	}
	w.see("task", t)
	return t
}

// tryPoll returns nil when no task comes in time.
func (w *world) tryPoll(q *taskqueuepb.TaskQueue, d time.Duration) *task {
	ctx, cancel := context.WithTimeout(w.ctx, d)
	defer cancel()
	for ctx.Err() == nil {
		t, err := w.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: namespace, TaskQueue: q, Identity: "worker"})
		if err != nil {
			// A server may think that what is left of the time is not worth a poll.
			if code := codeOf(err); ctx.Err() != nil || code == codes.DeadlineExceeded || strings.Contains(err.Error(), "timeout is too short") {
				return nil
			}
			w.stop("poll: %s", w.failure(err))
		}
		if len(t.GetTaskToken()) > 0 {
			return t
		}
	}
	return nil
}

// noTask says that there is no task now.
func (w *world) noTask() {
	if t := w.tryPoll(queueNamed(w.queue), 3*time.Second); t != nil {
		w.see("unexpected task", t)
	} else {
		w.note("no task")
	}
}

// visitSticky polls the sticky queue for a moment, so that the server knows that somebody does.
func (w *world) visitSticky() {
	if t := w.tryPoll(w.stickyQueue(), 3*time.Second); t != nil {
		w.see("unexpected task", t)
	}
}

// see notes what a task holds. History is noted by event types; runs show the rest.
func (w *world) see(what string, t *task) { w.note("%s: %s", what, w.text(w.bare(t))) }

// bare is a task without what says nothing new.
func (w *world) bare(t *task) *task {
	t = proto.Clone(t).(*task)
	t.TaskToken, t.WorkflowExecutionTaskQueue, t.ScheduledTime, t.StartedTime = nil, nil, nil, nil
	return t
}

// finish completes a workflow task, which has to succeed.
func (w *world) finish(t *task, with ...func(*completion)) *workflowservice.RespondWorkflowTaskCompletedResponse {
	resp, err := w.complete(t, with...)
	if err != nil {
		w.stop("the completion was refused")
	}
	return resp
}

// complete completes a workflow task and notes what comes.
func (w *world) complete(t *task, with ...func(*completion)) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	resp, err := w.RespondWorkflowTaskCompleted(w.ctx, apply(&completion{Namespace: namespace, TaskToken: t.GetTaskToken(), Identity: "worker"}, with))
	if resp.GetWorkflowTask() != nil {
		inline := resp.WorkflowTask
		resp.WorkflowTask = w.bare(inline)
		w.answered("completion", resp, err)
		resp.WorkflowTask = inline
	} else {
		w.answered("completion", resp, err)
	}
	return resp, err
}

// fail reports that a workflow task failed.
func (w *world) fail(t *task, with ...func(*workflowservice.RespondWorkflowTaskFailedRequest)) error {
	resp, err := w.RespondWorkflowTaskFailed(w.ctx, apply(&workflowservice.RespondWorkflowTaskFailedRequest{
		Namespace: namespace, TaskToken: t.GetTaskToken(), Identity: "worker", Failure: failure("task failure"),
		Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
	}, with))
	w.answered("task failure", resp, err)
	return err
}

func commands(cs ...*commandpb.Command) func(*completion) {
	return func(r *completion) { r.Commands = append(r.Commands, cs...) }
}

func messages(ms ...*protocolpb.Message) func(*completion) {
	return func(r *completion) { r.Messages = append(r.Messages, ms...) }
}

func sendNewTask(r *completion) { r.ReturnNewWorkflowTask = true }

func heartbeat(r *completion) { r.ForceCreateNewWorkflowTask = true }

func canDiscard(r *completion) {
	r.Capabilities = &workflowservice.RespondWorkflowTaskCompletedRequest_Capabilities{DiscardSpeculativeWorkflowTaskWithEvents: true}
}

// sticky asks for the next tasks on the scenario's sticky queue.
func (w *world) sticky(timeout float64) func(*completion) {
	return func(r *completion) {
		r.StickyAttributes = &taskqueuepb.StickyExecutionAttributes{WorkerTaskQueue: w.stickyQueue(), ScheduleToStartTimeout: seconds(timeout)}
	}
}

// answers answers all attached queries of a task.
func answers(t *task, value string) func(*completion) {
	return func(r *completion) {
		r.QueryResults = map[string]*querypb.WorkflowQueryResult{}
		for id := range t.GetQueries() {
			r.QueryResults[id] = &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: payloads(value)}
		}
	}
}

func failure(text string) *failurepb.Failure {
	return &failurepb.Failure{Message: text, Source: "oracle", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
		ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "OracleFailure"},
	}}
}

func completeWorkflow() *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
		CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{Result: payloads(`"result"`)},
	}}
}

func failWorkflow() *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_FailWorkflowExecutionCommandAttributes{
		FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{Failure: failure("workflow failure")},
	}}
}

func cancelWorkflow() *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CancelWorkflowExecutionCommandAttributes{
		CancelWorkflowExecutionCommandAttributes: &commandpb.CancelWorkflowExecutionCommandAttributes{Details: payloads(`"details"`)},
	}}
}

// continueAsNew waits first: servers delay a run whose predecessor lived for less than a second.
func (w *world) continueAsNew() *commandpb.Command { return w.continueOn(w.queue) }

func (w *world) continueOn(queue string) *commandpb.Command {
	w.pass(1.1)
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{
		ContinueAsNewWorkflowExecutionCommandAttributes: &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{
			WorkflowType: typed("type"), TaskQueue: queueNamed(queue), Input: payloads(`"again"`), WorkflowTaskTimeout: seconds(30),
		},
	}}
}

func startTimer(id string, s float64) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_TIMER, Attributes: &commandpb.Command_StartTimerCommandAttributes{
		StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{TimerId: id, StartToFireTimeout: seconds(s)},
	}}
}

func cancelTimer(id string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CANCEL_TIMER, Attributes: &commandpb.Command_CancelTimerCommandAttributes{
		CancelTimerCommandAttributes: &commandpb.CancelTimerCommandAttributes{TimerId: id},
	}}
}

func (w *world) scheduleActivity(id string, with ...func(*commandpb.ScheduleActivityTaskCommandAttributes)) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
		ScheduleActivityTaskCommandAttributes: apply(&commandpb.ScheduleActivityTaskCommandAttributes{
			ActivityId: id, ActivityType: &commonpb.ActivityType{Name: "activity"}, TaskQueue: queueNamed(w.queue),
			ScheduleToCloseTimeout: seconds(60), StartToCloseTimeout: seconds(60), Input: payloads(`"activity input"`),
			RetryPolicy: &commonpb.RetryPolicy{MaximumAttempts: 1},
		}, with),
	}}
}

func (w *world) startChild(part string, with ...func(*commandpb.StartChildWorkflowExecutionCommandAttributes)) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{
		StartChildWorkflowExecutionCommandAttributes: apply(&commandpb.StartChildWorkflowExecutionCommandAttributes{
			WorkflowId: w.id(part), WorkflowType: typed("child type"), TaskQueue: queueNamed(w.queue + "-child"), WorkflowTaskTimeout: seconds(30),
			ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_TERMINATE,
		}, with),
	}}
}

type externalSignal = commandpb.SignalExternalWorkflowExecutionCommandAttributes

func signalExternal(r run, name string, with ...func(*externalSignal)) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{
		SignalExternalWorkflowExecutionCommandAttributes: apply(&externalSignal{
			Execution: r.execution(), SignalName: name, Input: payloads(`"` + name + ` input"`), Header: header("h", `"external"`),
		}, with),
	}}
}

type externalCancel = commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes

func cancelExternal(r run, with ...func(*externalCancel)) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{
		RequestCancelExternalWorkflowExecutionCommandAttributes: apply(&externalCancel{WorkflowId: r.id, RunId: r.runID, Reason: "sender's reason"}, with),
	}}
}

// protocol is the command that gives a message its place among the commands.
func protocol(m *protocolpb.Message) *commandpb.Command { return protocolFor(m.GetId()) }

func protocolFor(id string) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE, Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
		ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: id},
	}}
}

// The messages of a worker about an update. m is the server's request.

func accept(m *protocolpb.Message, with ...func(*updatepb.Acceptance)) *protocolpb.Message {
	return message(m.GetProtocolInstanceId(), "accept", apply(&updatepb.Acceptance{
		AcceptedRequestMessageId: m.GetId(), AcceptedRequestSequencingEventId: m.GetEventId(), AcceptedRequest: requestOf(m),
	}, with))
}

func reject(m *protocolpb.Message) *protocolpb.Message {
	return message(m.GetProtocolInstanceId(), "reject", &updatepb.Rejection{
		RejectedRequestMessageId: m.GetId(), RejectedRequestSequencingEventId: m.GetEventId(), RejectedRequest: requestOf(m), Failure: failure("rejected"),
	})
}

func respond(m *protocolpb.Message, with ...func(*updatepb.Response)) *protocolpb.Message {
	return respondTo(m.GetProtocolInstanceId(), with...)
}

// respondTo completes an update that was accepted in an earlier task.
func respondTo(id string, with ...func(*updatepb.Response)) *protocolpb.Message {
	return message(id, "complete", apply(&updatepb.Response{
		Meta:    &updatepb.Meta{UpdateId: id, Identity: "client"},
		Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads(`"outcome of ` + id + `"`)}},
	}, with))
}

func failed(r *updatepb.Response) {
	r.Outcome = &updatepb.Outcome{Value: &updatepb.Outcome_Failure{Failure: failure("handler failure")}}
}

func message(instance, kind string, body proto.Message) *protocolpb.Message {
	a, err := anypb.New(body)
	if err != nil {
		panic(err)
	}
	return &protocolpb.Message{Id: instance + "/" + kind, ProtocolInstanceId: instance, Body: a}
}

// requestOf is the request in a server's message.
func requestOf(m *protocolpb.Message) *updatepb.Request {
	r := &updatepb.Request{}
	if m.GetBody() == nil || m.GetBody().UnmarshalTo(r) != nil {
		return nil
	}
	return r
}

// takeUpdates accepts and completes each update of a task, with messages and commands as SDKs send them.
func takeUpdates(t *task) func(*completion) {
	return func(r *completion) {
		for _, m := range t.GetMessages() {
			a, c := accept(m), respond(m)
			r.Messages = append(r.Messages, a, c)
			r.Commands = append(r.Commands, protocol(a), protocol(c))
		}
	}
}

func acceptUpdates(t *task) func(*completion) {
	return func(r *completion) {
		for _, m := range t.GetMessages() {
			a := accept(m)
			r.Messages, r.Commands = append(r.Messages, a), append(r.Commands, protocol(a))
		}
	}
}

func rejectUpdates(t *task) func(*completion) {
	return func(r *completion) {
		for _, m := range t.GetMessages() {
			r.Messages = append(r.Messages, reject(m))
		}
	}
}

func respondUpdate(id string) func(*completion) {
	return func(r *completion) {
		m := respondTo(id)
		r.Messages, r.Commands = append(r.Messages, m), append(r.Commands, protocol(m))
	}
}

// first is the only message a task has to have.
func (w *world) first(t *task) *protocolpb.Message {
	if len(t.GetMessages()) == 0 {
		w.stop("the task has no message")
	}
	return t.GetMessages()[0]
}

type updating = workflowservice.UpdateWorkflowExecutionRequest

func (w *world) updates(r run, id string, with ...func(*updating)) *updating {
	return apply(&updating{
		Namespace: namespace, WorkflowExecution: r.execution(),
		WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED},
		Request: &updatepb.Request{
			Meta:  &updatepb.Meta{UpdateId: id, Identity: "client"},
			Input: &updatepb.Input{Name: "change", Args: payloads(`"args of ` + id + `"`), Header: header("h", `"update"`)},
		},
	}, with)
}

// update sends an update.
func (w *world) update(r run, id string, with ...func(*updating)) *pending {
	req := w.updates(r, id, with...)
	return async(w, "update "+id, func(ctx context.Context) (*workflowservice.UpdateWorkflowExecutionResponse, error) {
		return w.UpdateWorkflowExecution(ctx, req)
	})
}

// tryUpdate sends an update that is answered at once.
func (w *world) tryUpdate(what string, req *updating) error {
	resp, err := w.UpdateWorkflowExecution(w.ctx, req)
	w.answered("update "+what, resp, err)
	return err
}

// admitted sends an update and returns when the server knows it.
func (w *world) admitted(r run, id string, with ...func(*updating)) *pending {
	p := w.update(r, id, with...)
	w.until("update "+id+" is known", func() bool {
		select {
		case <-p.done:
			return true
		default:
			return w.knows(r, id)
		}
	})
	return p
}

func (w *world) knows(r run, id string) bool {
	_, err := w.PollWorkflowExecutionUpdate(w.ctx, w.pollsUpdate(r, id, stageUnspecified))
	return err == nil
}

// known waits until the server knows an update again. The reference may forget one for a moment and has it sent anew inside.
func (w *world) known(r run, id string) {
	w.until("update "+id+" is known", func() bool { return w.knows(r, id) })
}

const (
	stageUnspecified = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_UNSPECIFIED
	stageAdmitted    = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
	stageAccepted    = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
	stageCompleted   = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
)

func waitFor(stage enumspb.UpdateWorkflowExecutionLifecycleStage) func(*updating) {
	return func(r *updating) { r.WaitPolicy = &updatepb.WaitPolicy{LifecycleStage: stage} }
}

func (w *world) pollsUpdate(r run, id string, stage enumspb.UpdateWorkflowExecutionLifecycleStage) *workflowservice.PollWorkflowExecutionUpdateRequest {
	return &workflowservice.PollWorkflowExecutionUpdateRequest{
		Namespace: namespace, UpdateRef: &updatepb.UpdateRef{WorkflowExecution: r.execution(), UpdateId: id}, Identity: "client",
		WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: stage},
	}
}

// pollUpdate asks for an update and notes the answer.
func (w *world) pollUpdate(r run, id string, stage enumspb.UpdateWorkflowExecutionLifecycleStage) error {
	resp, err := w.PollWorkflowExecutionUpdate(w.ctx, w.pollsUpdate(r, id, stage))
	w.answered(fmt.Sprintf("poll update %s (%s)", id, stage), resp, err)
	return err
}

// waitUpdate does so in the background.
func (w *world) waitUpdate(r run, id string, stage enumspb.UpdateWorkflowExecutionLifecycleStage) *pending {
	return async(w, fmt.Sprintf("poll update %s (%s)", id, stage), func(ctx context.Context) (*workflowservice.PollWorkflowExecutionUpdateResponse, error) {
		return w.PollWorkflowExecutionUpdate(ctx, w.pollsUpdate(r, id, stage))
	})
}

type querying = workflowservice.QueryWorkflowRequest

func (w *world) queries(r run, name string, with ...func(*querying)) *querying {
	return apply(&querying{
		Namespace: namespace, Execution: r.execution(),
		Query: &querypb.WorkflowQuery{QueryType: name, QueryArgs: payloads(`"` + name + ` args"`), Header: header("h", `"query"`)},
	}, with)
}

// query sends a query.
func (w *world) query(r run, name string, with ...func(*querying)) *pending {
	return w.queryWithin(r, name, patience, with...)
}

func (w *world) queryWithin(r run, name string, d time.Duration, with ...func(*querying)) *pending {
	req := w.queries(r, name, with...)
	return async(w, "query "+name, func(ctx context.Context) (*workflowservice.QueryWorkflowResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return w.QueryWorkflow(ctx, req)
	})
}

// waitingQuery sends a query that will wait, and lets it arrive.
func (w *world) waitingQuery(r run, name string) *pending {
	p := w.query(r, name)
	p.waits()
	return p
}

func (w *world) tryQuery(what string, req *querying) error {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	resp, err := w.QueryWorkflow(ctx, req)
	w.answered("query "+what, resp, err)
	return err
}

func rejectIf(c enumspb.QueryRejectCondition) func(*querying) {
	return func(r *querying) { r.QueryRejectCondition = c }
}

// answer answers a query that came as a task of its own.
func (w *world) answer(t *task, value string, with ...func(*workflowservice.RespondQueryTaskCompletedRequest)) error {
	resp, err := w.RespondQueryTaskCompleted(w.ctx, apply(&workflowservice.RespondQueryTaskCompletedRequest{
		Namespace: namespace, TaskToken: t.GetTaskToken(), CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: payloads(value),
	}, with))
	w.answered("query answer", resp, err)
	return err
}

type activityTask = workflowservice.PollActivityTaskQueueResponse

// pollActivity takes the next activity task.
func (w *world) pollActivity() *activityTask {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		t, err := w.PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{Namespace: namespace, TaskQueue: queueNamed(w.queue), Identity: "worker"})
		if err != nil {
			w.stop("poll activity: %s", w.failure(err))
		}
		if len(t.GetTaskToken()) > 0 {
			return t
		}
	}
}

func (w *world) completeActivity(t *activityTask) {
	resp, err := w.RespondActivityTaskCompleted(w.ctx, &workflowservice.RespondActivityTaskCompletedRequest{
		Namespace: namespace, TaskToken: t.GetTaskToken(), Identity: "worker", Result: payloads(`"activity result"`),
	})
	w.answered("activity completion", resp, err)
}

// takeUntil takes workflow tasks until one is of the run wanted. The others are completed and not noted: in which order they
// come is not for us.
func (w *world) takeUntil(r run) *task {
	for {
		t := w.tryPoll(queueNamed(w.queue), patience)
		if t == nil {
			w.stop("no workflow task of %s", w.str(r.id))
		}
		if t.GetWorkflowExecution().GetRunId() == r.runID {
			w.see("task", t)
			return t
		}
		_, _ = w.RespondWorkflowTaskCompleted(w.ctx, &completion{Namespace: namespace, TaskToken: t.GetTaskToken(), Identity: "worker"})
	}
}
