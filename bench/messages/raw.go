package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	rawQueue  = "bench-messages-raw"
	rawSticky = "bench-messages-raw-sticky"
	namespace = "default"
)

// rawTrips measures the same round trips without an SDK on either side: what is left is the server, the wire and gRPC.
func (b *bench) rawTrips(ctx context.Context) error {
	dial := func() (workflowservice.WorkflowServiceClient, func(), error) {
		conn, err := grpc.NewClient(b.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, nil, err
		}
		return workflowservice.NewWorkflowServiceClient(conn), func() { _ = conn.Close() }, nil
	}
	client, hangUp, err := dial()
	if err != nil {
		return err
	}
	defer hangUp()
	working, hangUpWorker, err := dial()
	if err != nil {
		return err
	}
	defer hangUpWorker()
	workCtx, stop := context.WithCancel(ctx)
	var pollers sync.WaitGroup
	for _, q := range []*taskqueuepb.TaskQueue{
		{Name: rawQueue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		{Name: rawSticky, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: rawQueue}, {Name: rawSticky, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: rawQueue},
	} {
		pollers.Go(func() { rawWorker(workCtx, working, q) })
	}
	defer pollers.Wait()
	defer stop()

	id := fmt.Sprintf("raw-%d", time.Now().UnixNano())
	execution := &commonpb.WorkflowExecution{WorkflowId: id}
	_, err = client.StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "Raw"}, RequestId: id,
		TaskQueue: &taskqueuepb.TaskQueue{Name: rawQueue},
	})
	if err != nil {
		return err
	}
	sent := 0
	update := func() error {
		sent++
		resp, err := client.UpdateWorkflowExecution(ctx, &workflowservice.UpdateWorkflowExecutionRequest{
			Namespace: namespace, WorkflowExecution: execution,
			WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED},
			Request:    &updatepb.Request{Meta: &updatepb.Meta{UpdateId: fmt.Sprint(sent)}, Input: &updatepb.Input{Name: "add"}},
		})
		if err == nil && resp.GetOutcome().GetSuccess() == nil {
			err = fmt.Errorf("update %d: %v", sent, resp)
		}
		return err
	}
	query := func() error {
		resp, err := client.QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{
			Namespace: namespace, Execution: execution, Query: &querypb.WorkflowQuery{QueryType: "count"},
		})
		if err == nil && resp.GetQueryResult() == nil {
			err = fmt.Errorf("a query answered %v", resp)
		}
		return err
	}
	if err := b.trips("without SDK, ", &sent, update, query); err != nil {
		return err
	}
	_, err = client.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{Namespace: namespace, WorkflowExecution: execution})
	return err
}

// rawWorker accepts and completes every update, and answers every query, until ctx is done.
func rawWorker(ctx context.Context, c workflowservice.WorkflowServiceClient, q *taskqueuepb.TaskQueue) {
	answer := &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte("1")}}}
	for ctx.Err() == nil {
		pollCtx, cancel := context.WithTimeout(ctx, time.Minute)
		task, err := c.PollWorkflowTaskQueue(pollCtx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: namespace, TaskQueue: q, Identity: "raw"})
		cancel()
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "messages: poll:", err)
		}
		if len(task.GetTaskToken()) == 0 {
			continue
		}
		if task.Query != nil {
			_, _ = c.RespondQueryTaskCompleted(ctx, &workflowservice.RespondQueryTaskCompletedRequest{
				Namespace: namespace, TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: answer,
			})
			continue
		}
		done := &workflowservice.RespondWorkflowTaskCompletedRequest{
			Namespace: namespace, TaskToken: task.TaskToken, Identity: "raw",
			StickyAttributes: &taskqueuepb.StickyExecutionAttributes{
				WorkerTaskQueue:        &taskqueuepb.TaskQueue{Name: rawSticky, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: rawQueue},
				ScheduleToStartTimeout: durationpb.New(5 * time.Second),
			},
			QueryResults: make(map[string]*querypb.WorkflowQueryResult),
		}
		for id := range task.Queries {
			done.QueryResults[id] = &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: answer}
		}
		for _, m := range task.Messages {
			request := new(updatepb.Request)
			if m.Body.UnmarshalTo(request) != nil {
				continue
			}
			done.Messages = append(done.Messages,
				rawMessage(m, "accept", &updatepb.Acceptance{AcceptedRequestMessageId: m.Id, AcceptedRequestSequencingEventId: m.GetEventId(), AcceptedRequest: request}),
				rawMessage(m, "complete", &updatepb.Response{Meta: request.Meta, Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: answer}}}))
		}
		for _, m := range done.Messages {
			done.Commands = append(done.Commands, &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE,
				Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
					ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: m.Id}}})
		}
		if _, err := c.RespondWorkflowTaskCompleted(ctx, done); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "messages: workflow task:", err)
		}
	}
}

func rawMessage(to *protocolpb.Message, what string, body proto.Message) *protocolpb.Message {
	packed, err := anypb.New(body)
	if err != nil {
		panic(err) // these always encode
	}
	return &protocolpb.Message{Id: to.ProtocolInstanceId + "/" + what, ProtocolInstanceId: to.ProtocolInstanceId, Body: packed}
}
