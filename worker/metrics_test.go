package worker_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/metrics"
	"github.com/perdure/perdure/metrics/prom"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Counted does a bit of everything that is counted.
type Counted struct{ told int }

func (c *Counted) Run(ctx workflow.Context, how string) (int, error) {
	workflow.Metrics(ctx).Counter("own_steps").Add(1)
	if _, err := workflow.Activity(ctx, Count, how, workflow.ActivityOptions{StartToClose: time.Minute, Retry: &workflow.RetryPolicy{MaximumAttempts: 1}}).Get(); err != nil {
		return 0, err
	}
	if _, err := workflow.LocalActivity(ctx, Count, how, workflow.LocalActivityOptions{StartToClose: time.Minute}).Get(); err != nil {
		return 0, err
	}
	if err := workflow.Await(ctx, func() bool { return c.told > 0 }); err != nil {
		return 0, err
	}
	if how == "again" {
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return 0, err
		}
		return 0, workflow.ContinueAsNew(drained, (*Counted).Run, "fail")
	}
	return c.told, nil
}

func (c *Counted) Tell(_ workflow.Context, n int) { c.told += n }

func Count(ctx context.Context, how string) (string, error) {
	activity.Metrics(ctx).Gauge("own_work").Set(7)
	if how == "fail" {
		return "", errors.New("told to")
	}
	return how, nil
}

func TestWhatWorkersDoIsCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	c, q, ctx := server(t, func(o *client.Options) { o.Metrics = prom.Handler(r) }), uuid.NewString(), t.Context()
	w := worker.New(c, q, worker.Options{MaxCachedRuns: 1})
	worker.Workflow[*Counted](w)
	w.Activity(Count)
	ok(t, w.Start())
	finish := func(how string) {
		h := must[*client.Handle[*Counted, int]](t)(client.Start(ctx, c, (*Counted).Run, how, client.StartOptions{TaskQueue: q}))
		ok(t, h.SignalByName(ctx, "Tell", "no number"))
		ok(t, client.Signal(ctx, h, (*Counted).Tell, 1))
		_, err := h.Result(ctx)
		if (err != nil) != (how == "again") {
			t.Errorf("%s: %v", how, err)
		}
	}
	finish("complete")
	finish("again")
	h := must[*client.Handle[*Counted, int]](t)(client.Start(ctx, c, (*Counted).Run, "cancel", client.StartOptions{TaskQueue: q}))
	ok(t, h.Cancel(ctx, ""))
	if _, err := h.Result(ctx); err == nil {
		t.Error("not cancelled")
	}
	if err := client.Signal(ctx, h, (*Counted).Tell, 1); err == nil {
		t.Error("a closed workflow was signalled")
	}
	w.Stop()

	got := map[string]float64{}
	families, err := r.Gather()
	ok(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				if !slices.Contains([]string{metrics.Namespace, metrics.TaskQueue, metrics.WorkflowType}, l.GetName()) {
					labels = append(labels, l.GetValue())
				}
			}
			name := strings.Join(append([]string{f.GetName()}, labels...), " ")
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"temporal_workflow_completed": 1, "temporal_workflow_failed": 1, "temporal_workflow_continue_as_new": 1, "temporal_workflow_canceled": 1,
		"temporal_workflow_endtoend_latency": 4, "temporal_corrupted_signals": 2, "own_steps": 4, "own_work Count": 7,
		"temporal_activity_execution_failed Count": 1, "temporal_request StartWorkflowExecution": 3, "temporal_request_failure SignalWorkflowExecution NotFound": 1,
		"temporal_worker_start ActivityWorker": 1, "temporal_worker_start WorkflowWorker": 1,
		"temporal_num_pollers workflow_task": 0, "temporal_num_pollers workflow_sticky_task": 0, "temporal_num_pollers activity_task": 0,
		"temporal_worker_task_slots_used WorkflowWorker": 0, "temporal_worker_task_slots_available WorkflowWorker": 100,
	} {
		if n, found := got[name]; n != want || !found {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	// How often these happen depends on what meets what.
	for _, name := range []string{
		"temporal_poller_start workflow_task", "temporal_workflow_task_queue_poll_succeed", "temporal_workflow_task_schedule_to_start_latency",
		"temporal_workflow_task_execution_latency", "temporal_workflow_task_replay_latency", "temporal_sticky_cache_hit",
		"temporal_activity_execution_latency Count", "temporal_activity_schedule_to_start_latency Count", "temporal_activity_succeed_endtoend_latency Count",
		"temporal_local_activity_execution_latency Count", "temporal_local_activity_succeed_endtoend_latency Count", "temporal_local_activity_total Count",
		"temporal_long_request PollWorkflowTaskQueue", "temporal_long_request_latency GetWorkflowExecutionHistory", "temporal_request_latency RespondWorkflowTaskCompleted",
	} {
		if got[name] == 0 {
			t.Errorf("%s is not counted", name)
		}
	}
	if t.Failed() {
		for _, name := range slices.Sorted(maps.Keys(got)) {
			t.Logf("%s %v", name, got[name])
		}
	}
}
