package frontend

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// workflowTask is a started workflow task as a worker gets it, with the first page of its history.
func (s *Service) workflowTask(ctx context.Context, t *execution.WorkflowTaskStarted) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	resp := &workflowservice.PollWorkflowTaskQueueResponse{
		TaskToken:                  encodeWorkflowTask(t.Token),
		WorkflowExecution:          executionOf(t.Token.Run),
		WorkflowType:               &commonpb.WorkflowType{Name: t.WorkflowType},
		PreviousStartedEventId:     t.PreviousStartedID,
		StartedEventId:             t.Token.StartedID,
		Attempt:                    t.Attempt,
		WorkflowExecutionTaskQueue: &taskqueuepb.TaskQueue{Name: t.Queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		ScheduledTime:              t.ScheduledAt.Proto(),
		StartedTime:                t.StartedAt.Proto(),
		Queries:                    t.Queries,
		Messages:                   t.Messages,
	}
	page, err := s.taskHistory(ctx, t.Token.Run, t.HistoryFrom, t.Token.StartedID+1, pageForTask, resp)
	if err != nil || page.More {
		return resp, err
	}
	last := t.HistoryFrom - 1
	if page.Count > 0 {
		last = page.Last
	}
	events := page.Events
	for _, e := range t.Virtual {
		if e.EventId <= last { // was written in the meantime
			continue
		}
		if events, err = appendEvents(events, e); err != nil {
			return nil, err
		}
		last = e.EventId
	}
	if last != t.Token.StartedID {
		return nil, internal("history of workflow task %d of %s ends at event %d, not at %d", t.Token.Seq, t.Token.Run, last, t.Token.StartedID)
	}
	setHistory(resp, events)
	return resp, nil
}

// taskHistory puts the first page of events [from, end) into resp, and a token if there are more.
func (s *Service) taskHistory(ctx context.Context, run ids.RunKey, from, end ids.EventID, why pageFor, resp *workflowservice.PollWorkflowTaskQueueResponse) (*engine.HistoryPage, error) {
	page, err := s.engine.History(ctx, engine.HistoryQuery{Run: run, From: from, To: end, Max: historyPage, MaxSize: historyPageBytes})
	if err != nil {
		return nil, err
	}
	if page.More {
		resp.NextPageToken = historyToken{Run: run, Next: page.Last + 1, End: end, For: why}.encode(tokenHistory)
	}
	if page.Count > 0 {
		setHistory(resp, page.Events)
	} else {
		resp.History = &historypb.History{}
	}
	return page, nil
}

// tokenNamespace resolves the namespace of a request that carries a task token.
func (s *Service) tokenNamespace(name string, id ids.NamespaceID) (string, error) {
	if name == "" {
		n, err := s.namespaces.LookupID(id)
		if err != nil {
			return "", err
		}
		name = n.Name
	}
	n, err := s.namespace(name)
	if err != nil {
		return "", err
	}
	if n.ID != id {
		return "", invalid("Operation requested with a token from a different namespace.")
	}
	return n.Name, nil
}

// readTaskToken decodes a token and resolves its namespace, in the order in which clients expect to hear of faults.
func readTaskToken[T any](s *Service, ns string, b []byte, decode func([]byte) (T, error), of func(T) ids.NamespaceID) (T, string, error) {
	var t T
	if ns != "" {
		if _, err := s.namespace(ns); err != nil {
			return t, "", err
		}
	}
	if len(b) == 0 {
		return t, "", invalid("Task token not set on request.")
	}
	t, err := decode(b)
	if err != nil {
		return t, "", invalid("Error deserializing task token.")
	}
	name, err := s.tokenNamespace(ns, of(t))
	return t, name, err
}

func (s *Service) workflowTaskToken(ns string, b []byte) (execution.WorkflowTaskToken, string, error) {
	return readTaskToken(s, ns, b, decodeWorkflowTask, func(t execution.WorkflowTaskToken) ids.NamespaceID { return t.Run.Namespace })
}

// RespondWorkflowTaskCompleted takes a worker's decisions and may hand it the next task.
func (s *Service) RespondWorkflowTaskCompleted(ctx context.Context, r *workflowservice.RespondWorkflowTaskCompletedRequest) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	token, ns, err := s.workflowTaskToken(r.GetNamespace(), r.GetTaskToken())
	if err != nil {
		return nil, err
	}
	if err := checkIDs(s.limits, "Identity", r.Identity, "StickyAttributes.WorkerTaskQueue", r.StickyAttributes.GetWorkerTaskQueue().GetName()); err != nil {
		return nil, err
	}
	if err := checkTimeout("StickyAttributes.ScheduleToStartTimeout", r.StickyAttributes.GetScheduleToStartTimeout()); err != nil {
		return nil, err
	}
	if r.IntermediatePage || r.PageNumber != 0 {
		return nil, refuse(execution.FailedPrecondition, "workflow task completion pagination is not enabled")
	}
	answer, err := submit[*execution.WorkflowTaskCompleted](ctx, s, token.Run.Of(), token.Run.Run,
		execution.CompleteWorkflowTask{Token: token, Request: r})
	if err != nil {
		return nil, err
	}
	resp := &workflowservice.RespondWorkflowTaskCompletedResponse{ResetHistoryEventId: answer.ResetHistoryID}
	// The completion is done, whatever happens from here on: tasks that cannot be handed out time out and are retried.
	if answer.Next != nil {
		if resp.WorkflowTask, err = s.workflowTask(ctx, answer.Next); err != nil {
			s.log.WarnContext(ctx, "follow-up workflow task not delivered", "run", token.Run.String(), "error", err)
			resp.WorkflowTask = nil
		}
	}
	for _, a := range answer.Activities {
		task, err := activityTask(ns, a)
		if err != nil {
			s.log.WarnContext(ctx, "eager activity task not delivered", "run", token.Run.String(), "error", err)
			continue
		}
		resp.ActivityTasks = append(resp.ActivityTasks, task)
	}
	return resp, nil
}

// RespondWorkflowTaskFailed records that a worker could not do its task.
func (s *Service) RespondWorkflowTaskFailed(ctx context.Context, r *workflowservice.RespondWorkflowTaskFailedRequest) (*workflowservice.RespondWorkflowTaskFailedResponse, error) {
	token, _, err := s.workflowTaskToken(r.GetNamespace(), r.GetTaskToken())
	if err != nil {
		return nil, err
	}
	if err := checkIDs(s.limits, "Identity", r.Identity); err != nil {
		return nil, err
	}
	failure := r.Failure
	if tooBig(s.limits, failure) {
		failure = serverFailure("Failure exceeds size limit.")
	}
	_, err = submit[*execution.EmptyAnswer](ctx, s, token.Run.Of(), token.Run.Run, execution.FailWorkflowTask{
		Token: token, Cause: r.Cause, Failure: failure, Identity: r.Identity, Checksum: r.BinaryChecksum, Version: r.WorkerVersion,
	})
	return reply(&workflowservice.RespondWorkflowTaskFailedResponse{}, err)
}

// ResetStickyTaskQueue makes the run's next workflow task go to its normal queue, with full history.
func (s *Service) ResetStickyTaskQueue(ctx context.Context, r *workflowservice.ResetStickyTaskQueueRequest) (*workflowservice.ResetStickyTaskQueueResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.Execution)
	if err != nil {
		return nil, err
	}
	_, err = submit[*execution.EmptyAnswer](ctx, s, key, run, execution.ResetSticky{})
	return reply(&workflowservice.ResetStickyTaskQueueResponse{}, err)
}

// ShutdownWorker makes a worker's sticky queue unavailable at once. It may be repeated; an unknown queue is fine.
func (s *Service) ShutdownWorker(_ context.Context, r *workflowservice.ShutdownWorkerRequest) (*workflowservice.ShutdownWorkerResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkIDs(s.limits, "StickyTaskQueue", r.StickyTaskQueue, "WorkerInstanceKey", r.WorkerInstanceKey, "TaskQueue", r.TaskQueue); err != nil {
		return nil, err
	}
	key := ""
	if s.features.WorkerPollCompleteOnShutdown && r.TaskQueue != "" {
		key = r.WorkerInstanceKey
	}
	s.queues.ShutdownWorker(n.ID, r.StickyTaskQueue, key)
	return &workflowservice.ShutdownWorkerResponse{}, nil
}
