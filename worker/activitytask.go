package worker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/retry"
)

type activityTask = workflowservice.PollActivityTaskQueueResponse

func (w *Worker) pollActivity(ctx context.Context) (polled, error) {
	task, err := w.client.Service().PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{
		Namespace: w.client.Namespace(), Identity: w.client.Identity(),
		TaskQueue: &taskqueuepb.TaskQueue{Name: w.queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}, WorkerInstanceKey: w.key,
	})
	if err != nil || len(task.GetTaskToken()) == 0 {
		w.meters.activityEmpty.Add(1)
		return polled{hint: task.GetPollerScalingDecision()}, ignoreDeadline(err)
	}
	return polled{func() { w.activityTask(task) }, task.PollerScalingDecision}, nil
}

// activityTask runs one attempt and answers.
func (w *Worker) activityTask(t *activityTask) {
	started := t.StartedTime.AsTime()
	info := activity.Info{
		TaskToken: t.TaskToken, Namespace: t.WorkflowNamespace, WorkflowID: t.WorkflowExecution.GetWorkflowId(), WorkflowRunID: t.WorkflowExecution.GetRunId(),
		WorkflowType: t.WorkflowType.GetName(), ActivityID: t.ActivityId, ActivityType: t.ActivityType.GetName(), TaskQueue: w.queue,
		Attempt: t.Attempt, ScheduledTime: t.ScheduledTime.AsTime(), StartedTime: started, HeartbeatTimeout: t.HeartbeatTimeout.AsDuration(), Header: t.Header,
	}
	ctx, cancel := context.WithCancelCause(w.actCtx)
	defer cancel(nil)
	if d := t.StartToCloseTimeout.AsDuration(); d > 0 {
		info.Deadline = started.Add(d)
	}
	if d := t.ScheduleToCloseTimeout.AsDuration(); d > 0 {
		if end := info.ScheduledTime.Add(d); info.Deadline.IsZero() || end.Before(info.Deadline) {
			info.Deadline = end
		}
	}
	m := w.meters.activity(&info)
	m.latency.Record(started.Sub(t.CurrentAttemptScheduledTime.AsTime()))
	begun := time.Now()
	var result *commonpb.Payloads
	f, err := w.registry.function(info.ActivityType)
	if err != nil {
		m.unregistered.Add(1)
		err = failure.Retryable(err.Error(), "NotFoundError", nil)
	} else {
		beat := &heartbeat{w: w, token: t.TaskToken, every: thin(info.HeartbeatTimeout), cancel: cancel}
		env := &activity.Environment{
			Info: info, Metrics: m.h, Heartbeat: beat.record, Details: converter.NewValue(w.env.Converter, t.HeartbeatDetails),
			Log: w.log.With("activity_type", info.ActivityType, "activity_id", info.ActivityID, "workflow_id", info.WorkflowID, "run_id", info.WorkflowRunID, "attempt", info.Attempt),
		}
		bounded, done := ctx, context.CancelFunc(func() {})
		if !info.Deadline.IsZero() {
			bounded, done = context.WithDeadline(ctx, info.Deadline)
		}
		result, err = w.call(activity.With(bounded, env), f, info, t.Input)
		done()
		beat.stop()
	}
	m.execution.Record(time.Since(begun))
	asked := errors.Is(context.Cause(ctx), errCancelRequested)
	switch {
	case err == nil:
		m.succeeded.Record(time.Since(info.ScheduledTime))
	case !errors.Is(err, activity.ErrResultPending) && !asked:
		m.failed.Add(1)
	}
	late := err != nil && !info.Deadline.IsZero() && !time.Now().Before(info.Deadline)
	w.answerActivity(t, m, late, result, err, asked)
}

// answerActivity says how the attempt ended. One that failed late has timed out: the server says so, and knows of what kind.
func (w *Worker) answerActivity(t *activityTask, m *activityMeters, late bool, result *commonpb.Payloads, err error, asked bool) {
	if errors.Is(err, activity.ErrResultPending) || late {
		return
	}
	s, ns, me := w.client.Service(), w.client.Namespace(), w.client.Identity()
	rpc := again(func(ctx context.Context) (rpc error) {
		switch {
		case err == nil:
			_, rpc = s.RespondActivityTaskCompleted(ctx, &workflowservice.RespondActivityTaskCompletedRequest{Namespace: ns, TaskToken: t.TaskToken, Identity: me, Result: result})
		case asked && (failure.IsCanceled(err) || errors.Is(err, context.Canceled)):
			_, rpc = s.RespondActivityTaskCanceled(ctx, &workflowservice.RespondActivityTaskCanceledRequest{Namespace: ns, TaskToken: t.TaskToken, Identity: me, Details: w.canceledDetails(err)})
		default:
			_, rpc = s.RespondActivityTaskFailed(ctx, &workflowservice.RespondActivityTaskFailedRequest{Namespace: ns, TaskToken: t.TaskToken, Identity: me, Failure: w.env.Failures.ToFailure(err)})
		}
		return rpc
	})
	var gone *serviceerror.NotFound
	if rpc != nil && !errors.As(rpc, &gone) {
		m.taskError.Add(1)
		w.log.Warn("the answer of an activity was not taken", "activity_type", t.ActivityType.GetName(), "error", rpc)
	}
}

func (w *Worker) canceledDetails(err error) *commonpb.Payloads {
	var canceled *failure.CanceledError
	if !errors.As(err, &canceled) {
		return nil
	}
	details, encode := canceled.Details.Encode(w.env.Converter)
	if encode != nil {
		w.log.Error("the details of a canceled activity cannot be encoded", "error", encode)
	}
	return details
}

// call runs the function. A panic is an error that may pass.
func (w *Worker) call(ctx context.Context, f *function, info activity.Info, input *commonpb.Payloads) (result *commonpb.Payloads, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, &failure.PanicError{Value: p, Stack: string(debug.Stack())}
		}
	}()
	call := &activity.Call{Info: info, Args: converter.NewArgs(w.env.Converter, input)}
	args := make([]reflect.Value, 1, 2+len(f.params)) // the first is the context
	if f.dynamic {
		args = append(args, reflect.ValueOf(call.Args))
	}
	ptrs := make([]any, len(f.params))
	for i, t := range f.params {
		p := reflect.New(t)
		ptrs[i] = p.Interface()
		args = append(args, p.Elem())
	}
	if err := converter.FromPayloads(w.env.Converter, input, ptrs...); err != nil {
		return nil, fmt.Errorf("decode the arguments of activity %s: %w", f.name, err)
	}
	next := func(ctx context.Context) error {
		args[0] = reflect.ValueOf(ctx)
		out := f.fn.Call(args)
		if f.result {
			call.Result = out[0].Interface()
		}
		err, _ := out[len(out)-1].Interface().(error)
		return err
	}
	for i := len(w.o.ActivityInterceptors) - 1; i >= 0; i-- {
		intercept, inner := w.o.ActivityInterceptors[i], next
		next = func(ctx context.Context) error { return intercept(ctx, call, inner) }
	}
	if err := next(ctx); err != nil {
		return nil, err
	}
	if !f.result {
		return nil, nil
	}
	return converter.ToPayloads(w.env.Converter, call.Result)
}

// attempt is one of a local activity.
func (w *Worker) attempt(ctx context.Context, f *function, info activity.Info, a *flow.LocalActivity) (*commonpb.Payloads, error) {
	outer := ctx
	if d := a.Options.StartToClose; d > 0 {
		bounded, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		ctx = bounded
	}
	env := &activity.Environment{Info: info, Metrics: w.meters.activity(&info).h, Heartbeat: func(...any) {}, Log: w.log.With("activity_type", a.Name, "workflow_id", info.WorkflowID)}
	type answer struct {
		result *commonpb.Payloads
		err    error
	}
	done := make(chan answer, 1)
	w.tasks.Add(1)
	go func() { // it may not listen to its context
		defer w.tasks.Done()
		got := answer{err: errors.New("the activity ended its goroutine")}
		defer func() { done <- got }()
		got.result, got.err = w.call(activity.With(ctx, env), f, info, a.Input)
	}()
	select {
	case got := <-done:
		if got.err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return got.result, got.err
		}
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ctx.Err()
		}
	}
	kind := enumspb.TIMEOUT_TYPE_START_TO_CLOSE
	if d, ok := outer.Deadline(); ok && !time.Now().Before(d) {
		kind = enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
	}
	return nil, &failure.TimeoutError{Kind: kind}
}

func nonRetryable(err error, p *retry.RetryPolicy) bool {
	var app *failure.ApplicationError
	if !errors.As(err, &app) {
		return false
	}
	return app.NonRetryable || p != nil && slices.Contains(p.NonRetryableErrorTypes, app.Type)
}

var errCancelRequested = errors.New("the activity was asked to cancel")

// heartbeat thins calls out: one goes at once, later ones wait for the end of the interval, and only the last is sent.
type heartbeat struct {
	w      *Worker
	token  []byte
	every  time.Duration
	cancel context.CancelCauseFunc

	mu      sync.Mutex // guards the rest
	details []any
	waiting bool
	timer   *time.Timer
	sending sync.WaitGroup
	stopped bool
}

func thin(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return 30 * time.Second
	}
	return min(timeout*8/10, time.Minute) // a cancellation is learned by it, too
}

func (h *heartbeat) record(details ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	if h.timer != nil {
		h.details, h.waiting = details, true
		return
	}
	h.send(details)
}

// send starts an interval. The lock is held; the call is made without it.
func (h *heartbeat) send(details []any) {
	h.sending.Add(1)
	go func() {
		defer h.sending.Done()
		h.call(details)
	}()
	h.timer = time.AfterFunc(h.every, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.timer = nil
		if h.waiting && !h.stopped {
			h.waiting = false
			h.send(h.details)
		}
	})
}

func (h *heartbeat) call(details []any) {
	ps, err := converter.ToPayloads(h.w.env.Converter, details...)
	if err != nil {
		h.w.log.Error("heartbeat details cannot be encoded", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	var response *workflowservice.RecordActivityTaskHeartbeatResponse
	for wait := 50 * time.Millisecond; ; wait *= 2 { // one that is lost on the way may be the one that counts
		response, err = h.w.client.Service().RecordActivityTaskHeartbeat(ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{
			Namespace: h.w.client.Namespace(), TaskToken: h.token, Identity: h.w.client.Identity(), Details: ps,
		})
		if err == nil || !passes(err) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	var gone *serviceerror.NotFound
	switch {
	case errors.As(err, &gone):
		h.cancel(errCancelRequested)
	case response.GetCancelRequested():
		h.cancel(errCancelRequested)
	}
}

func (h *heartbeat) stop() {
	h.mu.Lock()
	h.stopped = true
	if h.timer != nil {
		h.timer.Stop()
	}
	last, waiting := h.details, h.waiting
	h.mu.Unlock()
	h.sending.Wait()
	if waiting {
		h.call(last) // a failed attempt's last details are the next one's
	}
}
