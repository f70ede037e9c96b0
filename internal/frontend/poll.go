package frontend

import (
	"context"
	"errors"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	// pollWait is how long a poll waits for a task, unless Options.LongPoll says otherwise.
	pollWait = 60 * time.Second
	// pollMargin is what is left of a poll's deadline for its answer to reach the worker.
	pollMargin = time.Second
)

// pollBudget is how long a poll may wait for a task; zero: answer at once with none.
func (s *Service) pollBudget(ctx context.Context) (time.Duration, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, invalid("A poll needs a deadline: set a timeout on the call.")
	}
	return max(min(time.Until(deadline)-pollMargin, s.longPoll(pollWait)), 0), nil
}

// take polls until deliver has used a task, the budget is spent or the caller is gone. deliver tells with an error of
// kind Stale or NotFound that the task was no use, with any other that it could not be used now. A false ok means that
// there was no task.
func (s *Service) take(ctx context.Context, req taskqueue.PollRequest, wait time.Duration, deliver func(taskqueue.Task) error) (ok bool, err error) {
	if wait <= 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait) // beside the manager's clock: a stale task must not prolong the wait
	defer cancel()
	end := s.clock.Now().Add(wait)
	for {
		left := end.Sub(s.clock.Now())
		if left <= 0 {
			return false, nil
		}
		task, err := s.queues.Poll(ctx, req, left)
		switch {
		case errors.Is(err, taskqueue.ErrNoTask):
			return false, nil
		case err != nil:
			return false, err
		}
		switch err := deliver(task); {
		case err == nil:
			return true, nil
		case isKind(err, execution.Stale), isKind(err, execution.NotFound):
			s.discard(ctx, task)
		default:
			s.queues.Requeue(task) // harmless if it was used all the same: it is stale then
			if ctx.Err() != nil {
				return false, nil
			}
			return false, err
		}
	}
}

// discarder is what an engine may be able to do about a stale task whose dispatch row was left behind.
type discarder interface {
	Discard(ctx context.Context, o execution.Offer) error
}

// discard forgets a stale task. If that fails, the task is offered again some day, and found stale again.
func (s *Service) discard(ctx context.Context, t taskqueue.Task) {
	d, ok := s.engine.(discarder)
	if !ok || t.Query != nil {
		return
	}
	if err := d.Discard(ctx, t.Offer); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "stale task not discarded", "queue", t.Queue.Name, "error", err)
	}
}

func pollVersion(c *commonpb.WorkerVersionCapabilities) *commonpb.WorkerVersionStamp {
	if c == nil {
		return nil
	}
	return &commonpb.WorkerVersionStamp{BuildId: c.BuildId, UseVersioning: c.UseVersioning}
}

func scaling(t taskqueue.Task) *taskqueuepb.PollerScalingDecision {
	if t.Scaling == 0 {
		return nil
	}
	return &taskqueuepb.PollerScalingDecision{PollRequestDeltaSuggestion: t.Scaling}
}

func (s *Service) checkPoll(ns string, q *taskqueuepb.TaskQueue, identity, workerKey string) (*namespace.Namespace, error) {
	n, err := s.namespace(ns)
	if err != nil {
		return nil, err
	}
	if err := checkID(s.limits, "TaskQueue", q.GetName(), true); err != nil {
		return nil, err
	}
	return n, checkIDs(s.limits, "Identity", identity, "WorkerInstanceKey", workerKey, "TaskQueue.NormalName", q.NormalName)
}

// PollActivityTaskQueue waits for an activity task. An empty response means that there was none.
func (s *Service) PollActivityTaskQueue(ctx context.Context, r *workflowservice.PollActivityTaskQueueRequest) (*workflowservice.PollActivityTaskQueueResponse, error) {
	n, err := s.checkPoll(r.GetNamespace(), r.GetTaskQueue(), r.GetIdentity(), r.GetWorkerInstanceKey())
	if err != nil {
		return nil, err
	}
	wait, err := s.pollBudget(ctx)
	if err != nil {
		return nil, err
	}
	req := taskqueue.PollRequest{
		Queue:    taskqueue.QueueKey{Namespace: n.ID, Type: record.QueueActivity, Name: r.TaskQueue.Name},
		Identity: r.Identity, Version: r.WorkerVersionCapabilities, WorkerKey: r.WorkerInstanceKey,
	}
	if limit := r.TaskQueueMetadata.GetMaxTasksPerSecond(); limit != nil {
		if !(limit.Value >= 0) {
			return nil, invalid("MaxTasksPerSecond can't be negative")
		}
		req.MaxPerSecond = &limit.Value
	}
	resp := &workflowservice.PollActivityTaskQueueResponse{}
	requestID := s.newID()
	_, err = s.take(ctx, req, wait, func(t taskqueue.Task) error {
		ref := t.Offer.Activity
		if ref == nil {
			return internal("activity queue %q handed out something else", req.Queue.Name)
		}
		started, err := submit[*execution.ActivityStarted](ctx, s, ref.Run.Of(), ref.Run.Run, execution.StartActivity{
			Ref: *ref, RequestID: requestID, Identity: r.Identity, Version: pollVersion(r.WorkerVersionCapabilities),
		})
		if err != nil {
			return err
		}
		resp, err = activityTask(n.Name, started)
		if resp != nil {
			resp.PollerScalingDecision = scaling(t)
		}
		return err
	})
	return reply(resp, err)
}

// PollWorkflowTaskQueue waits for a workflow task or a query. An empty response means that there was none.
func (s *Service) PollWorkflowTaskQueue(ctx context.Context, r *workflowservice.PollWorkflowTaskQueueRequest) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	n, err := s.checkPoll(r.GetNamespace(), r.GetTaskQueue(), r.GetIdentity(), r.GetWorkerInstanceKey())
	if err != nil {
		return nil, err
	}
	sticky := r.TaskQueue.Kind == enumspb.TASK_QUEUE_KIND_STICKY
	versioned := r.WorkerVersionCapabilities.GetUseVersioning() ||
		r.DeploymentOptions.GetWorkerVersioningMode() == enumspb.WORKER_VERSIONING_MODE_VERSIONED
	if sticky && versioned && r.TaskQueue.NormalName == "" {
		return nil, invalid("NormalName is not set on the sticky TaskQueue of a versioned worker.")
	}
	wait, err := s.pollBudget(ctx)
	if err != nil {
		return nil, err
	}
	req := taskqueue.PollRequest{
		Queue:  taskqueue.QueueKey{Namespace: n.ID, Type: record.QueueWorkflow, Name: r.TaskQueue.Name},
		Sticky: sticky, NormalName: r.TaskQueue.NormalName,
		Identity: r.Identity, Version: r.WorkerVersionCapabilities, WorkerKey: r.WorkerInstanceKey,
	}
	resp := &workflowservice.PollWorkflowTaskQueueResponse{}
	requestID := s.newID()
	_, err = s.take(ctx, req, wait, func(t taskqueue.Task) (err error) {
		var task *workflowservice.PollWorkflowTaskQueueResponse
		switch ref := t.Offer.Workflow; {
		case t.Query != nil:
			task, err = s.queryTask(ctx, t.Query)
		case ref != nil:
			task, err = s.startWorkflowTask(ctx, *ref, requestID, r, sticky)
		default:
			err = internal("workflow queue %q handed out something else", req.Queue.Name)
		}
		if err != nil {
			return err
		}
		resp = task
		resp.PollerScalingDecision = scaling(t)
		if t.Backlog {
			resp.BacklogCountHint = backlogHint(s.queues.Describe(t.Queue).Stats.GetApproximateBacklogCount(), sticky)
		}
		return nil
	})
	return reply(resp, err)
}

// stickyHintSlack is how many tasks of a sticky queue may wait without a worker being told.
const stickyHintSlack = 20

// backlogHint is how many waiting tasks a worker is told of. The Go SDK lets all its pollers poll the sticky queue for as
// long as the last hint it saw of that queue is positive, and answers of concurrent polls can overtake each other: a
// worker that sees "one waits" after the answer that held this one would park all its pollers there, and take nothing from
// its normal queue until the polls end. A hint that turns to zero early costs next to nothing.
func backlogHint(waiting int64, sticky bool) int64 {
	if sticky {
		return max(0, waiting-stickyHintSlack)
	}
	return waiting
}

func (s *Service) startWorkflowTask(ctx context.Context, ref execution.WorkflowTaskRef, requestID string, r *workflowservice.PollWorkflowTaskQueueRequest, sticky bool) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	started, err := submit[*execution.WorkflowTaskStarted](ctx, s, ref.Run.Of(), ref.Run.Run, execution.StartWorkflowTask{
		Ref: ref, RequestID: requestID, Identity: r.Identity, Sticky: sticky, Version: pollVersion(r.WorkerVersionCapabilities),
	})
	if err != nil {
		return nil, err
	}
	return s.workflowTask(ctx, started)
}

// PollNexusTaskQueue waits and finds nothing: no Nexus operation is ever scheduled yet, but workers poll.
func (s *Service) PollNexusTaskQueue(ctx context.Context, r *workflowservice.PollNexusTaskQueueRequest) (*workflowservice.PollNexusTaskQueueResponse, error) {
	if _, err := s.checkPoll(r.GetNamespace(), r.GetTaskQueue(), r.GetIdentity(), r.GetWorkerInstanceKey()); err != nil {
		return nil, err
	}
	wait, err := s.pollBudget(ctx)
	if err != nil {
		return nil, err
	}
	ring, stop := s.clock.At(s.clock.Now().Add(wait))
	defer stop()
	select {
	case <-ring:
	case <-ctx.Done():
	}
	return &workflowservice.PollNexusTaskQueueResponse{}, nil
}
