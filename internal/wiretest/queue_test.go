package wiretest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

func (r *rig) describeQueue(q string, typ enumspb.TaskQueueType) *workflowservice.DescribeTaskQueueResponse {
	r.t.Helper()
	return must[*workflowservice.DescribeTaskQueueResponse](r)(r.DescribeTaskQueue(r.ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: ns, TaskQueue: queue(q), TaskQueueType: typ, IncludeTaskQueueStatus: true, ReportStats: true,
	}))
}

func TestS153_Pollers(t *testing.T) {
	bubble(t, func(r *rig) {
		const workflows, activities = enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY
		poll := func(identity string, deadline time.Duration) {
			ctx, cancel := context.WithTimeout(r.ctx, deadline)
			defer cancel()
			must[*workflowservice.PollWorkflowTaskQueueResponse](r)(r.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
				Namespace: ns, TaskQueue: queue("q"), Identity: identity,
			}))
		}
		poll("first", 2*time.Second)
		r.pass(time.Minute)
		at := time.Now()
		poll("second", 2*time.Second)
		r.pollActivity("q", 2*time.Second)
		seen := map[string]time.Time{}
		for _, p := range r.describeQueue("q", workflows).Pollers {
			seen[p.Identity] = p.LastAccessTime.AsTime()
			is(r, "rate", p.RatePerSecond, 100_000)
		}
		if len(seen) != 2 || !seen["second"].Equal(at) || seen["first"].IsZero() {
			r.t.Errorf("workflow pollers: %v, polled at %v", seen, at)
		}
		p := r.describeQueue("q", activities).Pollers
		if len(p) != 1 || p[0].Identity != "worker" {
			r.t.Errorf("activity pollers: %v", p)
		}
		is(r, "default type's pollers", len(r.describeQueue("q", enumspb.TASK_QUEUE_TYPE_UNSPECIFIED).Pollers), 2)
		is(r, "pollers of an unknown queue", len(r.describeQueue("unknown", workflows).Pollers), 0)
		r.pass(5*time.Minute + time.Second)
		is(r, "pollers later", len(r.describeQueue("q", workflows).Pollers), 0)
	})
}

func TestS154_QueueStatus(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, name := range []string{"q", "unknown"} {
			for _, typ := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
				//lint:ignore SA1019 tools read the deprecated field
				if r.describeQueue(name, typ).TaskQueueStatus == nil {
					r.t.Errorf("no status of %s, %v", name, typ)
				}
			}
			r.start("w")
		}
	})
}

func TestS155_CancelledPollsLoseNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		const rounds = 1000
		rng := rand.New(rand.NewPCG(1, 2))
		r.start("w")
		k := r.take()
		for i := range rounds {
			ctx, cancel := context.WithCancel(r.ctx)
			ctx, stop := context.WithTimeout(ctx, pollTime)
			got := make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)
			go func() {
				resp, _ := r.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: ns, TaskQueue: queue("q"), Identity: "cancelled"})
				got <- resp
			}()
			if rng.IntN(2) == 0 {
				r.settle() // the poll waits
			}
			req := k.request(marker(fmt.Sprint(i)))
			req.ForceCreateNewWorkflowTask = true
			done := make(chan error, 1)
			go func() {
				_, err := r.RespondWorkflowTaskCompleted(r.ctx, req)
				done <- err
			}()
			for range rng.IntN(200) {
				if ctx.Err() != nil {
					break
				}
			}
			cancel()
			r.ok(<-done)
			resp := <-got
			stop()
			if len(resp.GetTaskToken()) > 0 {
				k = &task{resp, r}
				continue
			}
			k = r.take() // at the latest when the lost start has timed out
		}
		k.complete(completeRun("done"))
	})
}

func TestS156_TasksSurviveARestart(t *testing.T) {
	bubble(t, func(r *rig) {
		const runs = 20
		for i := range runs {
			r.start(fmt.Sprint("w", i))
		}
		r.restart()
		seen := map[string]bool{}
		for range runs {
			k := r.take()
			if seen[k.WorkflowExecution.WorkflowId] {
				r.t.Errorf("%s had its task twice", k.WorkflowExecution.WorkflowId)
			}
			seen[k.WorkflowExecution.WorkflowId] = true
			is(r, "attempt", k.Attempt, 1)
			k.complete(schedule("a"))
		}
		r.idle()
		r.restart()
		clear(seen)
		var tasks []*activityTask
		for range runs {
			a := r.takeActivity()
			seen[a.WorkflowExecution.WorkflowId] = true
			is(r, "attempt", a.Attempt, 1)
			tasks = append(tasks, a)
		}
		is(r, "runs with an activity task", len(seen), runs)
		r.noActivity()
		for _, a := range tasks[:runs/2] {
			r.ok(a.complete("before"))
		}
		r.restart()
		for _, a := range tasks[runs/2:] {
			r.ok(a.complete("after"))
		}
		for range runs {
			r.take().complete(completeRun("done"))
		}
		r.idle()
		is(r, "completed", len(r.listed("ExecutionStatus = 'Completed'")), runs)
	})
}

func TestS157_BacklogIsInOrder(t *testing.T) {
	bubble(t, func(r *rig) {
		const runs = 30
		for i := range runs {
			r.start(fmt.Sprintf("w%02d", i))
			r.pass(time.Millisecond)
		}
		stats := r.describeQueue("q", enumspb.TASK_QUEUE_TYPE_WORKFLOW).Stats
		is(r, "backlog", stats.GetApproximateBacklogCount(), runs)
		for i := range runs {
			k := r.take()
			is(r, "next", k.WorkflowExecution.WorkflowId, fmt.Sprintf("w%02d", i))
			k.complete(completeRun("done"))
		}
		begun := time.Now()
		poll := async(r, func() (*workflowservice.PollWorkflowTaskQueueResponse, error) {
			ctx, cancel := context.WithTimeout(r.ctx, pollTime)
			defer cancel()
			return r.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: ns, TaskQueue: queue("q"), Identity: "worker"})
		})
		poll.waits()
		r.start("late")
		k := &task{poll.get(), r}
		is(r, "matched", k.WorkflowExecution.WorkflowId, "late")
		is(r, "latency", time.Since(begun), 0)
		k.complete(completeRun("done"))
	})
}

func TestS164_PollsNeedADeadline(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for _, left := range []time.Duration{time.Millisecond, 999 * time.Millisecond} {
			if k := r.pollFor(queue("q"), left); k != nil {
				r.t.Errorf("a task with %v left", left)
			}
		}
		is(r, "task", r.take().Attempt, 1)
	})
}

func TestS167_Partitions(t *testing.T) {
	bubble(t, func(r *rig) {
		resp := must[*workflowservice.ListTaskQueuePartitionsResponse](r)(r.ListTaskQueuePartitions(r.ctx, &workflowservice.ListTaskQueuePartitionsRequest{
			Namespace: ns, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"},
		}))
		if len(resp.WorkflowTaskQueuePartitions) == 0 || len(resp.ActivityTaskQueuePartitions) == 0 {
			r.t.Errorf("partitions: %v", resp)
		}
	})
}
