package stub

import (
	"encoding/binary"
	"sync"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// run is one workflow.
type run struct {
	server           *Server
	number           uint64
	id, runID, queue string
	kind             *commonpb.WorkflowType
	ended            chan struct{} // closed with the last event
	read             sync.Once     // the result

	mu       sync.Mutex
	events   []*historypb.HistoryEvent
	sticky   string // the queue of the worker that remembers the run; empty: nobody does
	sent     int    // events that this worker has
	previous int64  // the event that started the last task which was completed
	task     taskState
	later    []func() // what came while a task was with a worker
	queries  []func() // that came while there was a task: they are to see what it does
	updates  []*update
	asked    map[string]*update // that are with a worker, by update ID
}

type taskState int

const (
	none taskState = iota
	scheduled
	started
)

type update struct {
	request *updatepb.Request
	outcome chan *updatepb.Outcome // has room for one
}

func (r *run) execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: r.id, RunId: r.runID}
}

// All below, unless it takes the lock, is called with it held.

func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// add appends an event; it has its attributes already.
func (r *run) add(kind enumspb.EventType, e *historypb.HistoryEvent) int64 {
	e.EventId, e.EventType, e.EventTime = int64(len(r.events)+1), kind, timestamppb.Now()
	r.events = append(r.events, e)
	return e.EventId
}

// happen adds what has come from outside, now or when the worker has ended its task, and sees to it that a task follows. It says
// whether the run is there to take it.
func (r *run) happen(what func()) bool {
	switch {
	case r.over():
		return false
	case r.task == started:
		r.later = append(r.later, what)
	default:
		what()
		r.schedule()
	}
	return true
}

func (r *run) start(input *commonpb.Payloads) {
	r.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
			WorkflowType: r.kind, TaskQueue: &taskqueuepb.TaskQueue{Name: r.queue}, Input: input, WorkflowTaskTimeout: durationpb.New(10 * time.Second),
			OriginalExecutionRunId: r.runID, FirstExecutionRunId: r.runID, WorkflowId: r.id, Attempt: 1,
		},
	}})
}

// schedule makes a workflow task, unless there is one. The worker that remembers the run gets it.
func (r *run) schedule() {
	if r.task != none {
		return
	}
	r.task = scheduled
	queue := r.where()
	id := r.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{
		WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, Attempt: 1},
	}})
	named[workflowTask](&r.server.flows, queue).put(func() *workflowservice.PollWorkflowTaskQueueResponse { return r.take(id) })
}

// where is the queue that tasks and queries go to.
func (r *run) where() string {
	if r.sticky != "" {
		return r.sticky
	}
	return r.queue
}

// take is what a poll gets. It takes the lock.
func (r *run) take(scheduledID int64) *workflowservice.PollWorkflowTaskQueueResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.task = started
	id := r.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
		WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: scheduledID},
	}})
	if r.sticky == "" {
		r.sent = 0
	}
	events := r.events[r.sent:len(r.events):len(r.events)]
	r.sent = len(r.events)
	return &workflowservice.PollWorkflowTaskQueueResponse{
		TaskToken: r.token(id), WorkflowExecution: r.execution(), WorkflowType: r.kind, PreviousStartedEventId: r.previous, StartedEventId: id, Attempt: 1,
		History: &historypb.History{Events: events}, Messages: r.ask(id), WorkflowExecutionTaskQueue: &taskqueuepb.TaskQueue{Name: r.queue},
		ScheduledTime: r.events[scheduledID-1].EventTime, StartedTime: r.events[id-1].EventTime,
	}
}

// ask gives the updates to the worker that takes the task.
func (r *run) ask(startedID int64) []*protocolpb.Message {
	var messages []*protocolpb.Message
	for _, u := range r.updates {
		body, err := anypb.New(u.request)
		if err != nil {
			panic(err) // it has been decoded
		}
		id := u.request.GetMeta().GetUpdateId()
		messages = append(messages, &protocolpb.Message{
			Id: id + "/request", ProtocolInstanceId: id, Body: body, SequencingId: &protocolpb.Message_EventId{EventId: startedID - 1},
		})
		if r.asked == nil {
			r.asked = make(map[string]*update)
		}
		r.asked[id] = u
	}
	r.updates = nil
	return messages
}

// complete takes the worker's commands. It takes the lock.
func (r *run) complete(in *workflowservice.RespondWorkflowTaskCompletedRequest) (*workflowservice.RespondWorkflowTaskCompletedResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.task != started {
		return nil, status.Error(codes.NotFound, "no workflow task is started")
	}
	startedID := int64(binary.BigEndian.Uint64(in.TaskToken[8:]))
	r.task, r.previous, r.sticky = none, startedID, in.StickyAttributes.GetWorkerTaskQueue().GetName()
	completed := r.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{
		WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{StartedEventId: startedID, ScheduledEventId: startedID - 1, SdkMetadata: in.SdkMetadata},
	}})
	out := &workflowservice.RespondWorkflowTaskCompletedResponse{}
	for _, c := range in.Commands {
		switch a := c.Attributes.(type) {
		case *commandpb.Command_ScheduleActivityTaskCommandAttributes:
			if now := r.activity(completed, a.ScheduleActivityTaskCommandAttributes); now != nil {
				out.ActivityTasks = append(out.ActivityTasks, now)
			}
		case *commandpb.Command_StartTimerCommandAttributes:
			r.timer(completed, a.StartTimerCommandAttributes)
		case *commandpb.Command_ProtocolMessageCommandAttributes:
			if err := r.message(completed, a.ProtocolMessageCommandAttributes.MessageId, in.Messages); err != nil {
				return nil, err
			}
		case *commandpb.Command_CompleteWorkflowExecutionCommandAttributes:
			r.end(completed, a.CompleteWorkflowExecutionCommandAttributes.Result)
		default:
			return nil, status.Errorf(codes.Unimplemented, "command %s", c.CommandType)
		}
	}
	r.goOn()
	return out, nil
}

// goOn does what had to wait for the worker's answer.
func (r *run) goOn() {
	later := r.later
	r.later = nil
	if len(later) > 0 && !r.over() {
		for _, what := range later {
			what()
		}
		r.schedule()
		return
	}
	queries := r.queries
	r.queries = nil
	for _, ask := range queries {
		ask()
	}
}

func (r *run) end(completed int64, result *commonpb.Payloads) {
	r.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{
		WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{Result: result, WorkflowTaskCompletedEventId: completed},
	}})
	r.sticky = "" // workers forget what has ended
	close(r.ended)
}

// activity schedules one, and gives it back if the worker wants it at once.
func (r *run) activity(completed int64, a *commandpb.ScheduleActivityTaskCommandAttributes) *workflowservice.PollActivityTaskQueueResponse {
	id := r.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
			ActivityId: a.ActivityId, ActivityType: a.ActivityType, TaskQueue: a.TaskQueue, Input: a.Input, Header: a.Header, WorkflowTaskCompletedEventId: completed,
			ScheduleToCloseTimeout: a.ScheduleToCloseTimeout, StartToCloseTimeout: a.StartToCloseTimeout,
		},
	}})
	now := timestamppb.Now()
	task := &workflowservice.PollActivityTaskQueueResponse{
		TaskToken: r.token(id), WorkflowNamespace: "default", WorkflowType: r.kind, WorkflowExecution: r.execution(),
		ActivityType: a.ActivityType, ActivityId: a.ActivityId, Input: a.Input, Header: a.Header, Attempt: 1,
		ScheduledTime: now, CurrentAttemptScheduledTime: now, StartedTime: now,
		ScheduleToCloseTimeout: a.ScheduleToCloseTimeout, StartToCloseTimeout: a.StartToCloseTimeout,
	}
	if r.server.eager && a.RequestEagerExecution {
		return task
	}
	named[activityTask](&r.server.acts, a.TaskQueue.GetName()).put(func() *workflowservice.PollActivityTaskQueueResponse { return task })
	return nil
}

// activityDone takes the lock.
func (r *run) activityDone(scheduledID int64, identity string, result *commonpb.Payloads) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.happen(func() {
		startedID := r.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
			ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: scheduledID, Identity: identity, Attempt: 1},
		}})
		r.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{Result: result, ScheduledEventId: scheduledID, StartedEventId: startedID, Identity: identity},
		}})
	})
}

func (r *run) timer(completed int64, a *commandpb.StartTimerCommandAttributes) {
	id := r.add(enumspb.EVENT_TYPE_TIMER_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_TimerStartedEventAttributes{
		TimerStartedEventAttributes: &historypb.TimerStartedEventAttributes{TimerId: a.TimerId, StartToFireTimeout: a.StartToFireTimeout, WorkflowTaskCompletedEventId: completed},
	}})
	time.AfterFunc(a.StartToFireTimeout.AsDuration(), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.happen(func() {
			r.add(enumspb.EVENT_TYPE_TIMER_FIRED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_TimerFiredEventAttributes{
				TimerFiredEventAttributes: &historypb.TimerFiredEventAttributes{TimerId: a.TimerId, StartedEventId: id},
			}})
		})
	})
}

func signaled(name string, input *commonpb.Payloads) func(*run) {
	return func(r *run) {
		r.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: name, Input: input},
		}})
	}
}

// signal takes the lock. It is false when the run is over.
func (r *run) signal(name string, input *commonpb.Payloads) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.happen(func() { signaled(name, input)(r) })
}

// update takes the lock. It is nil when the run is over.
func (r *run) update(request *updatepb.Request) *update {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &update{request: request, outcome: make(chan *updatepb.Outcome, 1)}
	if !r.happen(func() { r.updates = append(r.updates, u) }) {
		return nil
	}
	return u
}

func (r *run) updateRef(u *update) *updatepb.UpdateRef {
	return &updatepb.UpdateRef{WorkflowExecution: r.execution(), UpdateId: u.request.GetMeta().GetUpdateId()}
}

// message is what the worker says of an update: that it is accepted, or done. Refusals have no command, and nobody here refuses.
func (r *run) message(completed int64, id string, messages []*protocolpb.Message) error {
	for _, m := range messages {
		if m.Id != id {
			continue
		}
		u := r.asked[m.ProtocolInstanceId]
		body, err := m.Body.UnmarshalNew()
		if err != nil || u == nil {
			return status.Errorf(codes.InvalidArgument, "message %s: %v", id, err)
		}
		switch body := body.(type) {
		case *updatepb.Acceptance:
			r.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes{
				WorkflowExecutionUpdateAcceptedEventAttributes: &historypb.WorkflowExecutionUpdateAcceptedEventAttributes{
					ProtocolInstanceId: m.ProtocolInstanceId, AcceptedRequestMessageId: body.AcceptedRequestMessageId,
					AcceptedRequestSequencingEventId: body.AcceptedRequestSequencingEventId, AcceptedRequest: u.request,
				},
			}})
		case *updatepb.Response:
			r.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes{
				WorkflowExecutionUpdateCompletedEventAttributes: &historypb.WorkflowExecutionUpdateCompletedEventAttributes{Meta: body.Meta, Outcome: body.Outcome},
			}})
			delete(r.asked, m.ProtocolInstanceId)
			u.outcome <- body.Outcome
		}
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "there is no message %s", id)
}

// query asks the worker that remembers the run, or any with the whole history. It takes the lock.
func (r *run) query(number uint64, q *querypb.WorkflowQuery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ask := func() {
		named[workflowTask](&r.server.flows, r.where()).put(func() *workflowservice.PollWorkflowTaskQueueResponse { return r.queryTask(number, q) })
	}
	if r.task != none {
		r.queries = append(r.queries, ask)
		return
	}
	ask()
}

// queryTask takes the lock.
func (r *run) queryTask(number uint64, q *querypb.WorkflowQuery) *workflowservice.PollWorkflowTaskQueueResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	history := &historypb.History{}
	if r.sticky == "" {
		history.Events = r.events[:len(r.events):len(r.events)]
	}
	return &workflowservice.PollWorkflowTaskQueueResponse{
		TaskToken: binary.BigEndian.AppendUint64(nil, number), WorkflowExecution: r.execution(), WorkflowType: r.kind, Query: q, History: history,
		PreviousStartedEventId: r.previous, Attempt: 1, WorkflowExecutionTaskQueue: &taskqueuepb.TaskQueue{Name: r.queue},
	}
}
