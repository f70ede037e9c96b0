package sdk

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func TestActivityReturnsItsResult(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, name string) (string, error) {
			var out string
			err := workflow.ExecuteActivity(short(ctx), "greet", name).Get(ctx, &out)
			return out, err
		},
		"greet": func(_ context.Context, name string) (string, error) { return "hello " + name, nil },
	})
	run := r.start("main", "you")
	equal(r, "result", result[string](r, run), "hello you")
	started := r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED)
	equal(r, "started events", len(started), 1)
	equal(r, "attempt", started[0].GetActivityTaskStartedEventAttributes().GetAttempt(), 1)
	scheduled := r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)[0].GetActivityTaskScheduledEventAttributes()
	equal(r, "default retry policy's coefficient", scheduled.GetRetryPolicy().GetBackoffCoefficient(), 2.0)
	equal(r, "start to close", scheduled.GetStartToCloseTimeout().AsDuration(), 10*time.Second)
}

func TestActivityIsRetriedUntilItSucceeds(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (int32, error) {
			var attempt int32
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{}), "flaky").Get(ctx, &attempt)
			return attempt, err
		},
		"flaky": func(ctx context.Context) (int32, error) {
			if n := activity.GetInfo(ctx).Attempt; n >= 3 {
				return n, nil
			}
			return 0, errors.New("not yet")
		},
	})
	run := r.start("main")
	equal(r, "attempts", result[int32](r, run), 3)
	started := r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED)
	equal(r, "started events", len(started), 1)
	a := started[0].GetActivityTaskStartedEventAttributes()
	equal(r, "attempt in history", a.GetAttempt(), 3)
	equal(r, "last failure", a.GetLastFailure().GetMessage(), "not yet")
}

func TestActivityStopsAtItsMaximumOfAttempts(t *testing.T) {
	r := newRig(t)
	var attempts atomic.Int32
	r.work(funcs{
		"main": func(ctx workflow.Context) error {
			return workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{
				RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: 2},
			}), "fails").Get(ctx, nil)
		},
		"fails": func(context.Context) error { attempts.Add(1); return errors.New("no") },
	})
	var failed *temporal.ActivityError
	if err := r.failure(r.start("main")); !errors.As(err, &failed) {
		r.Fatalf("not an activity error: %v", err)
	}
	equal(r, "retry state", failed.RetryState(), enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
	equal(r, "attempts", attempts.Load(), 2)
}

func TestActivityWithANonRetryableErrorIsNotRetried(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, how string) error {
			return workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{
				RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond, NonRetryableErrorTypes: []string{"Listed"}},
			}), how).Get(ctx, nil)
		},
		"flag": func(context.Context) error { return temporal.NewNonRetryableApplicationError("no", "T", nil, "detail") },
		"type": func(context.Context) error { return temporal.NewApplicationError("no", "Listed") },
	})
	for _, how := range []string{"flag", "type"} {
		err := r.failure(r.start("main", how))
		var failed *temporal.ActivityError
		if !errors.As(err, &failed) {
			r.Fatalf("not an activity error: %v", err)
		}
		equal(r, how, failed.RetryState(), enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE)
		var app *temporal.ApplicationError
		if how == "flag" {
			var detail string
			if !errors.As(err, &app) || app.Details(&detail) != nil || detail != "detail" {
				r.Fatalf("details did not arrive: %v", err)
			}
		}
	}
}

func TestActivityErrorCanSetTheNextDelay(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (time.Duration, error) {
			begin := workflow.Now(ctx)
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{
				RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Hour},
			}), "flaky").Get(ctx, nil)
			return workflow.Now(ctx).Sub(begin), err
		},
		"flaky": func(ctx context.Context) error {
			if activity.GetInfo(ctx).Attempt == 1 {
				return temporal.NewApplicationErrorWithOptions("soon", "T", temporal.ApplicationErrorOptions{NextRetryDelay: 300 * time.Millisecond})
			}
			return nil
		},
	})
	if took := result[time.Duration](r, r.start("main")); took < 300*time.Millisecond || took > 10*time.Second {
		r.Fatalf("retried after %s, want about 300ms", took)
	}
}

// An activity that hangs: each timeout in turn, as the workflow sees it.
func TestActivityTimeouts(t *testing.T) {
	r := newRig(t)
	hang := make(chan struct{})
	r.Cleanup(func() { close(hang) })
	r.work(funcs{
		"main": func(ctx workflow.Context, o workflow.ActivityOptions) (string, error) {
			err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), "hangs").Get(ctx, nil)
			var timeout *temporal.TimeoutError
			if !errors.As(err, &timeout) {
				return "", err
			}
			var beat string
			if timeout.HasLastHeartbeatDetails() {
				if err := timeout.LastHeartbeatDetails(&beat); err != nil {
					return "", err
				}
			}
			return strings.TrimSpace(timeout.TimeoutType().String() + " " + beat), nil
		},
		"hangs": func(ctx context.Context) error {
			activity.RecordHeartbeat(ctx, "beat")
			<-hang
			return nil
		},
	}, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond, DefaultHeartbeatThrottleInterval: 50 * time.Millisecond, WorkerStopTimeout: time.Second})
	one := &temporal.RetryPolicy{MaximumAttempts: 1}
	for want, o := range map[string]workflow.ActivityOptions{
		"StartToClose beat":    {StartToCloseTimeout: time.Second, RetryPolicy: one},
		"ScheduleToStart":      {StartToCloseTimeout: time.Second, ScheduleToStartTimeout: 300 * time.Millisecond, TaskQueue: r.queue + "/nobody", RetryPolicy: one},
		"ScheduleToClose beat": {ScheduleToCloseTimeout: 1500 * time.Millisecond},
		"Heartbeat beat":       {StartToCloseTimeout: time.Minute, HeartbeatTimeout: time.Second, RetryPolicy: one},
	} {
		run := r.start("main", o)
		equal(r, "timeout", result[string](r, run), want)
		timedOut := r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
		equal(r, "timed-out events", len(timedOut), 1)
		if want == "ScheduleToStart" {
			equal(r, "started events", len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED)), 0)
		}
	}
}

func TestActivityRetryGetsTheHeartbeatOfTheAttemptBefore(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (int, error) {
			var out int
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{HeartbeatTimeout: 10 * time.Second}), "counts").Get(ctx, &out)
			return out, err
		},
		"counts": func(ctx context.Context) (int, error) {
			n := 0
			if activity.HasHeartbeatDetails(ctx) {
				if err := activity.GetHeartbeatDetails(ctx, &n); err != nil {
					return 0, err
				}
			}
			if n == 3 {
				return n, nil
			}
			activity.RecordHeartbeat(ctx, n+1)
			return 0, errors.New("again")
		},
	})
	equal(r, "counted", result[int](r, r.start("main")), 3)
}

func TestActivityHearsOfItsCancellationByHeartbeat(t *testing.T) {
	r := newRig(t)
	began := make(chan struct{}, 1)
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{HeartbeatTimeout: 5 * time.Second, WaitForCancellation: true}), "waits").Get(ctx, nil)
			if !temporal.IsCanceledError(err) {
				return "", errors.New("not cancelled: " + err.Error())
			}
			var canceled *temporal.CanceledError
			errors.As(err, &canceled)
			var detail string
			derr := canceled.Details(&detail)
			return detail, derr
		},
		"waits": func(ctx context.Context) error {
			began <- struct{}{}
			for {
				select {
				case <-ctx.Done():
					return temporal.NewCanceledError("cleaned up")
				case <-time.After(50 * time.Millisecond):
					activity.RecordHeartbeat(ctx)
				}
			}
		},
	}, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond, DefaultHeartbeatThrottleInterval: 50 * time.Millisecond})
	run := r.start("main")
	<-began
	r.must(r.client.CancelWorkflow(r.ctx, run.GetID(), ""))
	equal(r, "details", result[string](r, run), "cleaned up")
	equal(r, "cancel events", len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED)), 1)
}

func TestActivityThatNobodyTookIsCancelledAtOnce(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (bool, error) {
		ctx, cancel := workflow.WithCancel(ctx)
		f := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{TaskQueue: "nobody", WaitForCancellation: true}), "never")
		r.must(workflow.Sleep(ctx, 10*time.Millisecond))
		cancel()
		return temporal.IsCanceledError(f.Get(ctx, nil)), nil
	}})
	run := r.start("main")
	equal(r, "cancelled", result[bool](r, run), true)
	equal(r, "started events", len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED)), 0)
	equal(r, "cancelled events", len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED)), 1)
}

func TestActivityCompletesFromElsewhere(t *testing.T) {
	r := newRig(t)
	type begun struct {
		token []byte
		info  activity.Info
	}
	begin := make(chan begun, 10)
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			var out string
			err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{ActivityID: "elsewhere", RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}}), "async").Get(ctx, &out)
			return out, err
		},
		"async": func(ctx context.Context) (string, error) {
			info := activity.GetInfo(ctx)
			begin <- begun{info.TaskToken, info}
			return "", activity.ErrResultPending
		},
	})
	run := r.start("main")
	b := <-begin
	r.must(r.client.RecordActivityHeartbeat(r.ctx, b.token, "alive"))
	r.must(r.client.CompleteActivity(r.ctx, b.token, "by token", nil))
	equal(r, "by token", result[string](r, run), "by token")

	run = r.start("main")
	<-begin
	r.must(r.client.RecordActivityHeartbeatByID(r.ctx, namespace, run.GetID(), "", "elsewhere", "alive"))
	r.must(r.client.CompleteActivityByID(r.ctx, namespace, run.GetID(), "", "elsewhere", "by id", nil))
	equal(r, "by id", result[string](r, run), "by id")

	run = r.start("main")
	b = <-begin
	r.must(r.client.CompleteActivityByID(r.ctx, namespace, run.GetID(), run.GetRunID(), "elsewhere", nil, temporal.NewApplicationError("gave up", "Elsewhere")))
	var app *temporal.ApplicationError
	if err := r.failure(run); !errors.As(err, &app) || app.Type() != "Elsewhere" {
		r.Fatalf("failure by ID came as %v", err)
	}
	var gone *serviceerror.NotFound
	if err := r.client.CompleteActivity(r.ctx, b.token, "late", nil); !errors.As(err, &gone) {
		r.Fatalf("late completion: %v, want not found", err)
	}
	if err := r.client.CompleteActivityByID(r.ctx, namespace, run.GetID(), "", "elsewhere", "late", nil); !errors.As(err, &gone) {
		r.Fatalf("late completion by ID: %v, want not found", err)
	}
}

func TestActivityIsDescribedWhileItRuns(t *testing.T) {
	r := newRig(t)
	began, finish := make(chan struct{}, 1), make(chan struct{})
	r.work(funcs{
		"main": func(ctx workflow.Context) error {
			return workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{ActivityID: "slow", HeartbeatTimeout: 20 * time.Second}), "waits").Get(ctx, nil)
		},
		"waits": func(ctx context.Context) error {
			if activity.GetInfo(ctx).Attempt == 1 {
				return errors.New("first one fails")
			}
			activity.RecordHeartbeat(ctx, "half")
			began <- struct{}{}
			<-finish
			return nil
		},
	})
	run := r.start("main")
	<-began
	r.eventually("heartbeat details are described", func() bool {
		d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
		r.must(err)
		equal(r, "pending activities", len(d.PendingActivities), 1)
		p := d.PendingActivities[0]
		equal(r, "ID", p.ActivityId, "slow")
		equal(r, "type", p.ActivityType.GetName(), "waits")
		equal(r, "state", p.State, enumspb.PENDING_ACTIVITY_STATE_STARTED)
		equal(r, "attempt", p.Attempt, 2)
		equal(r, "last failure", p.LastFailure.GetMessage(), "first one fails")
		if p.LastStartedTime == nil || p.LastWorkerIdentity == "" {
			r.Fatalf("who has it since when is missing: %v", p)
		}
		return p.HeartbeatDetails != nil
	})
	close(finish)
	r.must(run.Get(r.ctx, nil))
	d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
	r.must(err)
	equal(r, "pending activities of a closed run", len(d.PendingActivities), 0)
}

func TestActivityRunsOnAnotherTaskQueue(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		var out string
		err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{TaskQueue: r.queue + "/other"}), "where").Get(ctx, &out)
		return out, err
	}})
	w := r.newWorker(r.client, r.queue+"/other", funcs{"where": func(ctx context.Context) (string, error) { return activity.GetInfo(ctx).TaskQueue, nil }}, worker.Options{})
	r.must(w.Start())
	r.Cleanup(w.Stop)
	equal(r, "queue", result[string](r, r.start("main")), r.queue+"/other")
}

func TestActivitiesInParallelAllFinish(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, n int) (int, error) {
			var futures []workflow.Future
			for i := range n {
				futures = append(futures, workflow.ExecuteActivity(short(ctx), "same", i))
			}
			sum := 0
			for _, f := range futures {
				var i int
				if err := f.Get(ctx, &i); err != nil {
					return 0, err
				}
				sum += i
			}
			return sum, nil
		},
		"same": func(_ context.Context, i int) (int, error) { return i, nil },
	})
	equal(r, "sum", result[int](r, r.start("main", 50)), 49*50/2)
}

func TestLocalActivityIsRetriedAndLeavesAMarker(t *testing.T) {
	r := newRig(t)
	var attempts atomic.Int32
	r.work(funcs{
		"main": func(ctx workflow.Context) (int32, error) {
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
				StartToCloseTimeout: 5 * time.Second, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond},
			})
			var out int32
			err := workflow.ExecuteLocalActivity(ctx, "local").Get(ctx, &out)
			return out, err
		},
		"local": func(context.Context) (int32, error) {
			if n := attempts.Add(1); n > 2 {
				return n, nil
			}
			return 0, errors.New("again")
		},
	})
	run := r.start("main")
	equal(r, "attempts", result[int32](r, run), 3)
	equal(r, "markers", len(r.only(run, enumspb.EVENT_TYPE_MARKER_RECORDED)), 1)
	equal(r, "activities in history", len(r.only(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)), 0)
}

// A local activity longer than the workflow task keeps it alive with heartbeats.
func TestLocalActivityMayTakeLongerThanAWorkflowTask(t *testing.T) {
	if os.Getenv(noCache) != "" {
		t.Skip("a worker without cache begins the local activity again with each heartbeat")
	}
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) (string, error) {
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 20 * time.Second})
			var out string
			err := workflow.ExecuteLocalActivity(ctx, "slow").Get(ctx, &out)
			return out, err
		},
		"slow": func(ctx context.Context) (string, error) {
			select {
			case <-time.After(3500 * time.Millisecond):
				return "done", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		},
	})
	run := r.startWith(client.StartWorkflowOptions{WorkflowTaskTimeout: 2 * time.Second}, "main")
	equal(r, "result", result[string](r, run), "done")
	equal(r, "workflow tasks timed out", len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)), 0)
	if n := len(r.only(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)); n < 2 {
		r.Fatalf("%d workflow tasks, want heartbeats between", n)
	}
}
