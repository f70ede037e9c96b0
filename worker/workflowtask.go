package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/replay"
)

type workflowTask = workflowservice.PollWorkflowTaskQueueResponse

// turnWait bounds how long a task waits for an earlier one of its run: it has timed out by then, and shall not keep a slot.
const turnWait = 10 * time.Second

// answerTimeout bounds one attempt to answer.
const answerTimeout = 10 * time.Second

// workflowTask takes a run through its task and answers. The run goes back into the cache only when the answer was taken.
func (w *Worker) workflowTask(t *workflowTask) {
	runID := t.WorkflowExecution.GetRunId()
	log := w.log.With("workflow_id", t.WorkflowExecution.GetWorkflowId(), "run_id", runID)
	h, got := w.cache.take(runID, turnWait)
	if !got {
		log.Error("a workflow task waits in vain for the one before: does the workflow's code block outside of package workflow?")
		return
	}
	defer func() { w.cache.put(runID, h) }()
	m := w.meters.workflow(t.WorkflowType.GetName())
	if h != nil {
		m.hit.Add(1)
	} else if t.PreviousStartedEventId > 0 {
		m.miss.Add(1)
	}
	drop := func() {
		if h != nil {
			h.close()
			h = nil
		}
	}
	for t != nil {
		begun := time.Now()
		var err error
		h, err = w.advance(t, h)
		m.execution.Record(time.Since(begun))
		if err != nil {
			drop()
			attributes := []any{"error", err}
			var panicked *failure.PanicError
			if errors.As(err, &panicked) {
				attributes = append(attributes, "stack", panicked.Stack)
			}
			log.Error("workflow task failed", attributes...)
			w.fail(t, err)
			return
		}
		if t.Query != nil {
			w.answerQuery(t, h)
			break
		}
		next, err := w.complete(t, h, m)
		if err != nil {
			m.noCompletion.Add(1)
			w.refused(t, err)
			log.Warn("the answer to a workflow task was not taken", "error", err)
			drop()
			return
		}
		if id := next.GetResetHistoryEventId(); id != 0 {
			h.SetLastEventID(id)
		}
		t = next.GetWorkflowTask()
	}
	if h.Closed() {
		drop()
	}
}

// refused tells of an answer that the server does not take because of what the code wants, such as a search attribute that is not
// there: it will want it again.
func (w *Worker) refused(t *workflowTask, err error) {
	var bad *serviceerror.InvalidArgument
	if w.o.OnTaskFailed != nil && errors.As(err, &bad) && !strings.Contains(err.Error(), "UnhandledCommand") {
		w.o.OnTaskFailed(t.WorkflowExecution.GetWorkflowId(), t.WorkflowExecution.GetRunId(), t.Attempt, err)
	}
}

// advance brings the run to where the task wants it. A run without the history that the task presupposes is made anew.
func (w *Worker) advance(t *workflowTask, h *held) (*held, error) {
	events, err := w.events(t.WorkflowExecution, t.History, t.NextPageToken)
	if err != nil {
		return h, err
	}
	whole := len(events) > 0 && events[0].EventId == 1
	fits := h != nil
	if len(events) > 0 {
		fits = fits && events[0].EventId == h.LastEventID()+1
	} else {
		fits = fits && h.LastEventID() >= t.PreviousStartedEventId
	}
	if h != nil && !fits {
		h.close()
		h = nil
	}
	if h == nil && !whole {
		if events, err = w.events(t.WorkflowExecution, nil, nil); err != nil {
			return nil, err
		}
		events = upTo(events, t)
	}
	if n := len(events); t.Query == nil && t.StartedEventId > 0 && (n == 0 || events[n-1].EventId < t.StartedEventId) {
		// A speculative task has no events of its own in the history of some servers.
		events = append(events[:n:n], &historypb.HistoryEvent{
			EventId: t.StartedEventId, EventTime: t.StartedTime, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED,
			Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{}},
		})
	}
	fresh := h == nil
	if fresh {
		d, err := w.registry.workflow(t.WorkflowType.GetName())
		if err != nil {
			return nil, err
		}
		h = &held{Run: flow.New(w.env, d, t.WorkflowExecution.GetWorkflowId(), t.WorkflowExecution.GetRunId())}
	}
	begun := time.Now()
	err = w.run(h.Run, events, t)
	if fresh {
		w.meters.workflow(t.WorkflowType.GetName()).replay.Record(time.Since(begun))
	}
	return h, err
}

// upTo drops what came after the task started.
func upTo(events []*historypb.HistoryEvent, t *workflowTask) []*historypb.HistoryEvent {
	for i, e := range events {
		if t.StartedEventId != 0 && e.EventId > t.StartedEventId {
			return events[:i]
		}
	}
	return events
}

func (w *Worker) run(r *flow.Run, events []*historypb.HistoryEvent, t *workflowTask) error {
	reset := 0
	for reset < len(events) && events[reset].EventId <= r.Applied() {
		reset++
	}
	tail, activations := replay.Split(events[reset:])
	if len(tail) > 0 || reset == 0 && len(events) > 0 && r.LastEventID() > 0 {
		if err := r.Confirm(tail); err != nil {
			return err
		}
	}
	for i, a := range activations {
		if t.Query != nil && !a.Replay {
			continue // a query's history may end in a task that another worker has
		}
		var live *flow.Task
		if i == len(activations)-1 && !a.Replay {
			live = &flow.Task{Messages: t.Messages}
		}
		if err := r.Activate(a, live); err != nil {
			return err
		}
	}
	return nil
}

// events are those of a task with all its pages; of the whole run without a history.
func (w *Worker) events(of *commonpb.WorkflowExecution, h *historypb.History, token []byte) ([]*historypb.HistoryEvent, error) {
	events := h.GetEvents()
	for first := h == nil; first || len(token) > 0; first = false {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		page, err := w.client.Service().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: w.client.Namespace(), Execution: of, NextPageToken: token,
		})
		cancel()
		if err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		events = append(events, page.History.GetEvents()...)
		token = page.NextPageToken
	}
	return events, nil
}

func (w *Worker) complete(t *workflowTask, r *held, m *workflowMeters) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	renew, err := w.settleLocals(r)
	if err != nil {
		w.fail(t, err)
		return nil, err
	}
	request := &workflowservice.RespondWorkflowTaskCompletedRequest{
		Namespace: w.client.Namespace(), TaskToken: t.TaskToken, Identity: w.client.Identity(), Commands: r.Commands(), Messages: r.Messages(),
		ReturnNewWorkflowTask: !w.stopping(), ForceCreateNewWorkflowTask: renew,
		SdkMetadata:        &sdkpb.WorkflowTaskCompletedMetadata{SdkName: "perdure-go", SdkVersion: Version},
		WorkerVersionStamp: &commonpb.WorkerVersionStamp{BuildId: w.o.BuildID},
		Capabilities:       &workflowservice.RespondWorkflowTaskCompletedRequest_Capabilities{DiscardSpeculativeWorkflowTaskWithEvents: true},
	}
	if w.o.MaxCachedRuns > 0 && !r.Closed() && !w.stopping() {
		request.StickyAttributes = &taskqueuepb.StickyExecutionAttributes{
			WorkerTaskQueue:        &taskqueuepb.TaskQueue{Name: w.sticky, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: w.queue},
			ScheduleToStartTimeout: durationpb.New(w.o.StickyTimeout),
		}
	}
	if len(t.Queries) > 0 {
		request.QueryResults = make(map[string]*querypb.WorkflowQueryResult, len(t.Queries))
		for id, q := range t.Queries {
			request.QueryResults[id] = w.query(r.Run, q)
		}
	}
	reserved := w.askEager(request.Commands)
	var response *workflowservice.RespondWorkflowTaskCompletedResponse
	err = again(func(ctx context.Context) (err error) {
		response, err = w.client.Service().RespondWorkflowTaskCompleted(ctx, request)
		return err
	})
	w.runEager(response.GetActivityTasks(), reserved)
	if err == nil && r.Closed() {
		m.closed(request.Commands[len(request.Commands)-1].CommandType, r.Info.StartTime)
	}
	return response, err
}

// Version is what histories name as the SDK's version.
const Version = "0.4.0"

func (w *Worker) query(r *flow.Run, q *querypb.WorkflowQuery) *querypb.WorkflowQueryResult {
	answer, err := r.Query(q)
	if err != nil {
		f := w.env.Failures.ToFailure(err)
		return &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_FAILED, ErrorMessage: said(err, f), Failure: f}
	}
	return &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: answer}
}

// said is the error's text, unless that is to leave the process in the failure's encoded attributes only.
func said(err error, f *failurepb.Failure) string {
	if f.GetEncodedAttributes() != nil {
		return f.Message
	}
	return err.Error()
}

func (w *Worker) answerQuery(t *workflowTask, r *held) {
	w.respondQuery(t, w.query(r.Run, t.Query))
}

func (w *Worker) respondQuery(t *workflowTask, result *querypb.WorkflowQueryResult) {
	err := again(func(ctx context.Context) error {
		_, err := w.client.Service().RespondQueryTaskCompleted(ctx, &workflowservice.RespondQueryTaskCompletedRequest{
			Namespace: w.client.Namespace(), TaskToken: t.TaskToken, CompletedType: result.ResultType,
			QueryResult: result.Answer, ErrorMessage: result.ErrorMessage, Failure: result.Failure,
		})
		return err
	})
	if err != nil {
		w.log.Warn("the answer to a query was not taken", "error", err)
	}
}

// fail reports a task that cannot be done. After the first attempts the server learns it by the task's timeout, so that a
// broken workflow does not keep it busy.
func (w *Worker) fail(t *workflowTask, cause error) {
	f := w.env.Failures.ToFailure(cause)
	if t.Query != nil {
		w.respondQuery(t, &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_FAILED, ErrorMessage: said(cause, f), Failure: f})
		return
	}
	kind := enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
	var parted *replay.NondeterminismError
	if errors.As(cause, &parted) {
		kind = enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
	}
	w.meters.workflow(t.WorkflowType.GetName()).taskFailed(kind)
	if w.o.OnTaskFailed != nil {
		w.o.OnTaskFailed(t.WorkflowExecution.GetWorkflowId(), t.WorkflowExecution.GetRunId(), t.Attempt, cause)
	}
	if t.Attempt > 2 {
		return
	}
	err := again(func(ctx context.Context) error {
		_, err := w.client.Service().RespondWorkflowTaskFailed(ctx, &workflowservice.RespondWorkflowTaskFailedRequest{
			Namespace: w.client.Namespace(), TaskToken: t.TaskToken, Identity: w.client.Identity(), Cause: kind, Failure: f,
		})
		return err
	})
	if err != nil {
		w.log.Warn("the failure of a workflow task was not taken", "error", err)
	}
}

// again tries until the server has said yes or no, for half a minute.
func again(call func(ctx context.Context) error) error {
	wait := 20 * time.Millisecond
	for deadline := time.Now().Add(30 * time.Second); ; wait = min(2*wait, 2*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		err := call(ctx)
		cancel()
		if err == nil || !passes(err) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}

// passes says whether an error may pass.
func passes(err error) bool {
	var unavailable *serviceerror.Unavailable
	var exhausted *serviceerror.ResourceExhausted
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &exhausted) || errors.As(err, &late)
}
