package frontend

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/taskqueue"
)

func pollRequest() *workflowservice.PollWorkflowTaskQueueRequest {
	return &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Identity: "worker"}
}

func activityPoll() *workflowservice.PollActivityTaskQueueRequest {
	return &workflowservice.PollActivityTaskQueueRequest{Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Identity: "worker"}
}

// polls are the three kinds of poll; each tells whether its answer was empty.
func (f front) polls() map[string]func(context.Context) (empty bool, err error) {
	return map[string]func(context.Context) (bool, error){
		"workflow": func(ctx context.Context) (bool, error) {
			r, err := f.PollWorkflowTaskQueue(ctx, pollRequest())
			return r != nil && proto.Size(r) == 0, err
		},
		"activity": func(ctx context.Context) (bool, error) {
			r, err := f.PollActivityTaskQueue(ctx, activityPoll())
			return r != nil && proto.Size(r) == 0, err
		},
		"nexus": func(ctx context.Context) (bool, error) {
			r, err := f.PollNexusTaskQueue(ctx, &workflowservice.PollNexusTaskQueueRequest{Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}})
			return r != nil && proto.Size(r) == 0, err
		},
	}
}

func TestS164PollDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, poll := range newFront(t).polls() {
			_, err := poll(t.Context())
			refused(t, err, codes.InvalidArgument, "A poll needs a deadline: set a timeout on the call.")
			ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
			begin := time.Now()
			if empty, err := poll(ctx); err != nil || !empty || time.Since(begin) != 0 {
				t.Errorf("%s with less than a second left: empty %t, %v after %s", name, empty, err, time.Since(begin))
			}
			cancel()
		}
	})
}

func TestS46EmptyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, poll := range newFront(t).polls() {
			for deadline, want := range map[time.Duration]time.Duration{70 * time.Second: 60 * time.Second, 10 * time.Second: 9 * time.Second} {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				begin := time.Now()
				if empty, err := poll(ctx); err != nil || !empty || time.Since(begin) != want {
					t.Errorf("%s with %s: empty %t, %v after %s", name, deadline, empty, err, time.Since(begin))
				}
				cancel()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			time.AfterFunc(time.Second, cancel)
			begin := time.Now()
			if _, err := poll(ctx); err != nil || time.Since(begin) != time.Second {
				t.Errorf("%s cancelled: %v after %s", name, err, time.Since(begin))
			}
		}
	})
}

func TestPollLimitIsPassedOn(t *testing.T) {
	f := newFront(t)
	f.queues.pollErr = taskqueue.ErrTooManyPolls
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := f.PollWorkflowTaskQueue(ctx, pollRequest())
	refused(t, err, codes.ResourceExhausted, "namespace concurrent poller limit exceeded")
}

func (f front) workflowOffer(seq int64) taskqueue.Task {
	return taskqueue.Task{Offer: execution.Offer{Workflow: &execution.WorkflowTaskRef{Run: f.key("w").Run(runA), Seq: seq}}}
}

func (f front) started(seq int64) *execution.WorkflowTaskStarted {
	return &execution.WorkflowTaskStarted{
		Token:        execution.WorkflowTaskToken{Run: f.key("w").Run(runA), Seq: seq, ScheduledID: 2, StartedID: 3, StartedAt: 50, Attempt: 1},
		WorkflowType: "Order", Attempt: 1, Queue: "normal", ScheduledAt: 40, StartedAt: 50, HistoryFrom: 1,
		Queries:  map[string]*querypb.WorkflowQuery{"q1": {QueryType: "state"}},
		Messages: []*protocolpb.Message{{Id: "u/request"}},
	}
}

// A Go worker that is told late of a sticky task which it already has would poll nothing else for a minute.
func TestPollHintsAtAStickyBacklogOnlyWhenItIsDeep(t *testing.T) {
	for _, tc := range []struct {
		waiting int64
		sticky  bool
		want    int64
	}{{1, true, 0}, {stickyHintSlack, true, 0}, {stickyHintSlack + 5, true, 5}, {1, false, 1}, {0, false, 0}} {
		if got := backlogHint(tc.waiting, tc.sticky); got != tc.want {
			t.Errorf("%d waiting, sticky %t: hint %d, want %d", tc.waiting, tc.sticky, got, tc.want)
		}
	}
}

func TestPollGivesAWholeWorkflowTask(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 3)
	f.engine.answer = func(key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error) {
		start := in.(execution.StartWorkflowTask)
		if key != f.key("w") || run != runA || !start.Sticky || start.Identity != "worker" || start.RequestID == "" {
			t.Errorf("engine got %v %v %+v", key, run, start)
		}
		return f.started(start.Ref.Seq), nil
	}
	task := f.workflowOffer(7)
	task.Backlog, task.Scaling = true, 1
	f.queues.describe = func(taskqueue.QueueKey) taskqueue.Description {
		return taskqueue.Description{Stats: &taskqueuepb.TaskQueueStats{ApproximateBacklogCount: 32}}
	}
	f.queues.tasks <- task
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := pollRequest()
	r.TaskQueue = &taskqueuepb.TaskQueue{Name: "sticky", Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: "normal"}
	raw, err := f.PollWorkflowTaskQueue(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	resp := overWire(t, raw)
	want := &workflowservice.PollWorkflowTaskQueueResponse{
		TaskToken: resp.TaskToken, WorkflowExecution: execOf("w", runA), WorkflowType: &commonpb.WorkflowType{Name: "Order"},
		StartedEventId: 3, Attempt: 1, BacklogCountHint: 12, History: &historypb.History{Events: f.engine.events},
		WorkflowExecutionTaskQueue: &taskqueuepb.TaskQueue{Name: "normal", Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		ScheduledTime:              f.started(7).ScheduledAt.Proto(), StartedTime: f.started(7).StartedAt.Proto(),
		Queries: f.started(7).Queries, Messages: f.started(7).Messages,
		PollerScalingDecision: &taskqueuepb.PollerScalingDecision{PollRequestDeltaSuggestion: 1},
	}
	if !proto.Equal(resp, want) {
		t.Errorf("got  %v\nwant %v", resp, want)
	}
	if token, err := decodeWorkflowTask(resp.TaskToken); err != nil || token != f.started(7).Token {
		t.Errorf("token %+v, %v", token, err)
	}
	if p := f.queues.polls[0]; p.Queue.Name != "sticky" || !p.Sticky || p.NormalName != "normal" {
		t.Errorf("polled %+v", p)
	}
}

// The pages of a task's history reach its started event, which may not be stored.
func TestS73TaskHistoryIsPaged(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 300)
	f.engine.state.Info.WFT = execution.WorkflowTask{Kind: execution.TaskTransient, ScheduledID: 301, StartedID: 302, Attempt: 2}
	started := f.started(1)
	started.Token.ScheduledID, started.Token.StartedID = 301, 302
	started.Virtual = []*historypb.HistoryEvent{{EventId: 301}, {EventId: 302}}
	resp, err := f.workflowTask(t.Context(), started)
	if err != nil {
		t.Fatal(err)
	}
	first := overWire(t, resp)
	next := f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{Execution: execOf("w", runA), NextPageToken: first.NextPageToken})
	if got := append(eventIDs(first.History), eventIDs(next.History)...); !slices.Equal(got, upTo(302)) || len(next.NextPageToken) != 0 {
		t.Errorf("%d events, token %x: %v", len(got), next.NextPageToken, got)
	}

	started.HistoryFrom = 298 // sticky: one page
	if resp, err = f.workflowTask(t.Context(), started); err != nil {
		t.Fatal(err)
	}
	if got := eventIDs(overWire(t, resp).History); !slices.Equal(got, []int64{298, 299, 300, 301, 302}) || len(resp.NextPageToken) != 0 {
		t.Errorf("partial history %v, token %x", got, resp.NextPageToken)
	}
	f.engine.add(2) // the virtual events were written meanwhile
	if resp, err = f.workflowTask(t.Context(), started); err != nil {
		t.Fatal(err)
	}
	if got := eventIDs(overWire(t, resp).History); !slices.Equal(got, []int64{298, 299, 300, 301, 302}) {
		t.Errorf("written meanwhile: %v", got)
	}
	started.Token.StartedID = 310
	if _, err = f.workflowTask(t.Context(), started); err == nil {
		t.Error("a history that does not reach the started event was handed out")
	}
}

func TestStaleTasksAreSkipped(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 3)
	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		switch seq := in.(execution.StartWorkflowTask).Ref.Seq; seq {
		case 1:
			return nil, refuse(execution.Stale, "gone")
		case 2:
			return nil, notFound("workflow not found for ID: w")
		default:
			return f.started(seq), nil
		}
	}
	for seq := range int64(3) {
		f.queues.tasks <- f.workflowOffer(seq + 1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp, err := f.PollWorkflowTaskQueue(ctx, pollRequest())
	if err != nil {
		t.Fatal(err)
	}
	if token, err := decodeWorkflowTask(resp.TaskToken); err != nil || token.Seq != 3 {
		t.Errorf("got task %+v, %v", token, err)
	}
	if len(f.queues.requeued) != 0 {
		t.Errorf("requeued %d stale tasks", len(f.queues.requeued))
	}
}

// A task that could not be started goes back to the queue: nobody else knows of it.
func TestTasksAreNotLost(t *testing.T) {
	f := newFront(t)
	for name, fail := range map[string]func(cancel func()) error{
		"engine fails": func(func()) error { return errBoom },
		"caller gone":  func(cancel func()) error { cancel(); return context.Canceled },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f.queues.requeued = nil
			f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) { return nil, fail(cancel) }
			f.queues.tasks <- f.workflowOffer(1)
			resp, err := f.PollWorkflowTaskQueue(ctx, pollRequest())
			if name == "engine fails" && !errors.Is(err, errBoom) || name == "caller gone" && (err != nil || proto.Size(resp) != 0) {
				t.Errorf("%v, %v", resp, err)
			}
			if len(f.queues.requeued) != 1 || f.queues.requeued[0].Offer.Workflow.Seq != 1 {
				t.Errorf("requeued %v", f.queues.requeued)
			}
		})
	}
}

func TestActivityTaskIsComplete(t *testing.T) {
	f := newFront(t)
	details, err := proto.Marshal(payloads(2))
	if err != nil {
		t.Fatal(err)
	}
	token := execution.ActivityToken{Run: f.key("w").Run(runA), ScheduledID: 5, ActivityID: "a", Attempt: 2, StartedAt: 30, Stamp: 1}
	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		return &execution.ActivityStarted{
			Token: token, WorkflowType: "Order", FirstSchedAt: 10, ScheduledAt: 20, StartedAt: 30, Attempt: 2, Details: details, STC: time.Second,
			Event: &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
				ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
					ActivityId: "a", ActivityType: &commonpb.ActivityType{Name: "Pay"}, Input: payloads(3),
				}}},
		}, nil
	}
	f.queues.tasks <- taskqueue.Task{Offer: execution.Offer{Activity: &execution.ActivityRef{Run: token.Run, ScheduledID: 5}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := f.PollActivityTaskQueue(ctx, activityPoll())
	if err != nil {
		t.Fatal(err)
	}
	if r.ScheduleToCloseTimeout == nil || r.StartToCloseTimeout.AsDuration() != time.Second || r.HeartbeatTimeout == nil {
		t.Errorf("durations %v, %v, %v", r.ScheduleToCloseTimeout, r.StartToCloseTimeout, r.HeartbeatTimeout)
	}
	if !proto.Equal(r.RetryPolicy, backoff.DefaultRetryPolicy()) || !proto.Equal(r.HeartbeatDetails, payloads(2)) || !proto.Equal(r.Input, payloads(3)) {
		t.Errorf("policy %v, details %v, input %v", r.RetryPolicy, r.HeartbeatDetails, r.Input)
	}
	if r.WorkflowNamespace != "default" || r.ActivityType.Name != "Pay" || r.Attempt != 2 || !proto.Equal(r.WorkflowExecution, execOf("w", runA)) ||
		r.ScheduledTime.Nanos != 10 || r.CurrentAttemptScheduledTime.Nanos != 20 || r.StartedTime.Nanos != 30 {
		t.Errorf("got %v", r)
	}
	if got, err := decodeActivity(r.TaskToken); err != nil || got != token {
		t.Errorf("token %+v, %v", got, err)
	}
}

// tokenCall is an RPC that carries a task token.
type tokenCall struct {
	good []byte
	call func(ns string, token []byte) error
}

func (f front) tokenCalls(ctx context.Context) map[string]tokenCall {
	wft := encodeWorkflowTask(execution.WorkflowTaskToken{Run: f.key("w").Run(runA), Seq: 1})
	act := encodeActivity(execution.ActivityToken{Run: f.key("w").Run(runA), ScheduledID: 5})
	query := queryToken{Namespace: f.ns.ID, Query: "x"}.encode()
	return map[string]tokenCall{
		"workflow task completed": {wft, func(ns string, token []byte) error {
			_, err := f.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: ns, TaskToken: token})
			return err
		}},
		"workflow task failed": {wft, func(ns string, token []byte) error {
			_, err := f.RespondWorkflowTaskFailed(ctx, &workflowservice.RespondWorkflowTaskFailedRequest{Namespace: ns, TaskToken: token})
			return err
		}},
		"activity completed": {act, func(ns string, token []byte) error {
			_, err := f.RespondActivityTaskCompleted(ctx, &workflowservice.RespondActivityTaskCompletedRequest{Namespace: ns, TaskToken: token})
			return err
		}},
		"activity failed": {act, func(ns string, token []byte) error {
			_, err := f.RespondActivityTaskFailed(ctx, &workflowservice.RespondActivityTaskFailedRequest{Namespace: ns, TaskToken: token})
			return err
		}},
		"activity canceled": {act, func(ns string, token []byte) error {
			_, err := f.RespondActivityTaskCanceled(ctx, &workflowservice.RespondActivityTaskCanceledRequest{Namespace: ns, TaskToken: token})
			return err
		}},
		"heartbeat": {act, func(ns string, token []byte) error {
			_, err := f.RecordActivityTaskHeartbeat(ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{Namespace: ns, TaskToken: token})
			return err
		}},
		"query completed": {query, func(ns string, token []byte) error {
			_, err := f.RespondQueryTaskCompleted(ctx, &workflowservice.RespondQueryTaskCompletedRequest{Namespace: ns, TaskToken: token, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED})
			return err
		}},
	}
}

func TestS8TokenOfAnotherNamespace(t *testing.T) {
	f := newFront(t)
	for name, c := range f.tokenCalls(t.Context()) {
		t.Run(name, func(t *testing.T) {
			refused(t, c.call("temporal-system", c.good), codes.InvalidArgument, "Operation requested with a token from a different namespace.")
			f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) { return nil, errBoom }
			for _, ns := range []string{"", "default"} { // an empty one is taken from the token
				if err := c.call(ns, c.good); !errors.Is(err, errBoom) && !isKind(err, execution.NotFound) {
					t.Errorf("namespace %q: %v", ns, err)
				}
			}
		})
	}
}

func TestS9BadTokens(t *testing.T) {
	f := newFront(t)
	for name, c := range f.tokenCalls(t.Context()) {
		t.Run(name, func(t *testing.T) {
			refused(t, c.call("default", nil), codes.InvalidArgument, "Task token not set on request.")
			refused(t, c.call("default", []byte("garbage")), codes.InvalidArgument, "Error deserializing task token.")
			refused(t, c.call("default", c.good[:len(c.good)-1]), codes.InvalidArgument, "Error deserializing task token.")
		})
	}
}

// What is too big to keep ends the attempt instead.
func TestOversizeActivityAnswers(t *testing.T) {
	f := newFront(t)
	f.limits.BlobBytes = 100
	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		return &execution.ActivityEnded{}, nil
	}
	token := encodeActivity(execution.ActivityToken{Run: f.key("w").Run(runA), ScheduledID: 5})
	last := func(text string) {
		t.Helper()
		all := given[execution.FailActivity](f.engine)
		got := all[len(all)-1]
		if got.Failure.GetMessage() != text || !got.Failure.GetServerFailureInfo().GetNonRetryable() {
			t.Errorf("failed with %v, want %q", got.Failure, text)
		}
	}
	if _, err := f.RespondActivityTaskCompleted(t.Context(), &workflowservice.RespondActivityTaskCompletedRequest{TaskToken: token, Result: payloads(100)}); err != nil {
		t.Fatal(err)
	}
	last("Complete result exceeds size limit.")
	beat, err := f.RecordActivityTaskHeartbeat(t.Context(), &workflowservice.RecordActivityTaskHeartbeatRequest{TaskToken: token, Details: payloads(100)})
	if err != nil || !beat.CancelRequested {
		t.Fatalf("%v, %v", beat, err)
	}
	last("Heartbeat details exceed size limit.")
	failed, err := f.RespondActivityTaskFailed(t.Context(), &workflowservice.RespondActivityTaskFailedRequest{TaskToken: token, LastHeartbeatDetails: payloads(100)})
	if err != nil || len(failed.Failures) != 1 || given[execution.FailActivity](f.engine)[2].Details != nil {
		t.Errorf("%v, %v", failed, err)
	}
}

func TestActivitiesByID(t *testing.T) {
	f := newFront(t)
	f.engine.answer = func(key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error) {
		if c := in.(execution.CompleteActivity); key != f.key("w") || run != "" || c.Token.ActivityID != "a" || c.Token.ScheduledID != 0 {
			t.Errorf("engine got %v %q %+v", key, run, c.Token)
		}
		return &execution.ActivityEnded{}, nil
	}
	r := &workflowservice.RespondActivityTaskCompletedByIdRequest{Namespace: "default", WorkflowId: "w", ActivityId: "a"}
	if _, err := f.RespondActivityTaskCompletedById(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.ActivityId = ""
	_, err := f.RespondActivityTaskCompletedById(t.Context(), r)
	refused(t, err, codes.InvalidArgument, "ActivityId is not set on request.")
	_, err = f.RespondActivityTaskFailed(t.Context(), &workflowservice.RespondActivityTaskFailedRequest{
		TaskToken: encodeActivity(execution.ActivityToken{Run: f.key("w").Run(runA), ScheduledID: 5}), Failure: serverFailure("x"),
	})
	refused(t, err, codes.InvalidArgument, "Failure must have ApplicationFailureInfo.")
}

func TestShutdownWorker(t *testing.T) {
	f := newFront(t)
	f.features.WorkerPollCompleteOnShutdown = false
	for range 2 {
		if _, err := f.ShutdownWorker(t.Context(), &workflowservice.ShutdownWorkerRequest{Namespace: "default", StickyTaskQueue: "s", TaskQueue: "q", WorkerInstanceKey: "k"}); err != nil {
			t.Fatal(err)
		}
		f.features.WorkerPollCompleteOnShutdown = true
	}
	if want := []string{"s|", "s|k"}; !slices.Equal(f.queues.shut, want) {
		t.Errorf("got %q, want %q: polls end only where workers were told so", f.queues.shut, want)
	}
}
