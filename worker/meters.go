package worker

import (
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/metrics"
)

// meters are a worker's instruments, made once for each type of workflow or activity. Without a handler they do nothing.
type meters struct {
	h                                      metrics.Handler
	pollEmpty, pollSucceed, activityEmpty  metrics.Counter
	workflowLatency                        metrics.Timer
	eviction                               metrics.Counter
	cacheSize                              metrics.Gauge
	workflows, activities, localActivities sync.Map
}

func newMeters(h metrics.Handler) *meters {
	return &meters{
		h:         h,
		pollEmpty: h.Counter(metrics.WorkflowPollEmpty), pollSucceed: h.Counter(metrics.WorkflowPollSucceed),
		activityEmpty: h.Counter(metrics.ActivityPollEmpty), workflowLatency: h.Timer(metrics.WorkflowTaskLatency),
		eviction: h.Counter(metrics.CacheEviction), cacheSize: h.Gauge(metrics.CacheSize),
	}
}

type workflowMeters struct {
	h                                      metrics.Handler
	hit, miss, noCompletion                metrics.Counter
	execution, replay, latency             metrics.Timer
	completed, failed, canceled, continued metrics.Counter
}

func (m *meters) workflow(kind string) *workflowMeters {
	if v, ok := m.workflows.Load(kind); ok {
		return v.(*workflowMeters)
	}
	h := metrics.With(m.h, metrics.Tag{Key: metrics.WorkflowType, Value: kind})
	v, _ := m.workflows.LoadOrStore(kind, &workflowMeters{
		h: h, hit: h.Counter(metrics.CacheHit), miss: h.Counter(metrics.CacheMiss), noCompletion: h.Counter(metrics.WorkflowTaskNoCompletion),
		execution: h.Timer(metrics.WorkflowTaskExecution), replay: h.Timer(metrics.WorkflowTaskReplay), latency: h.Timer(metrics.WorkflowLatency),
		completed: h.Counter(metrics.WorkflowCompleted), failed: h.Counter(metrics.WorkflowFailed),
		canceled: h.Counter(metrics.WorkflowCanceled), continued: h.Counter(metrics.WorkflowContinued),
	})
	return v.(*workflowMeters)
}

func (m *workflowMeters) taskFailed(cause enumspb.WorkflowTaskFailedCause) {
	reason := "WorkflowError"
	if cause == enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR {
		reason = "NonDeterminismError"
	}
	m.h.Counter(metrics.WorkflowTaskFailed, metrics.Tag{Key: metrics.FailureReason, Value: reason}).Add(1)
}

// closed counts how a run ended.
func (m *workflowMeters) closed(by enumspb.CommandType, started time.Time) {
	switch by {
	case enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION:
		m.completed.Add(1)
	case enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:
		m.failed.Add(1)
	case enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION:
		m.canceled.Add(1)
	case enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
		m.continued.Add(1)
	}
	m.latency.Record(time.Since(started))
}

type activityMeters struct {
	h                             metrics.Handler
	latency, execution, succeeded metrics.Timer
	total, failed, canceled       metrics.Counter
	taskError, unregistered       metrics.Counter
}

func (m *meters) activity(i *activity.Info) *activityMeters {
	made, names := &m.activities, [...]string{metrics.ActivityExecution, metrics.ActivitySucceeded, metrics.ActivityFailed}
	if i.Local {
		made, names = &m.localActivities, [...]string{metrics.LocalExecution, metrics.LocalSucceeded, metrics.LocalFailed}
	}
	type key struct{ workflow, activity string }
	k := key{i.WorkflowType, i.ActivityType}
	if v, ok := made.Load(k); ok {
		return v.(*activityMeters)
	}
	h := metrics.With(m.h, metrics.Tag{Key: metrics.WorkflowType, Value: i.WorkflowType}, metrics.Tag{Key: metrics.ActivityType, Value: i.ActivityType})
	a := &activityMeters{
		h: h, latency: metrics.None.Timer(""), execution: h.Timer(names[0]), succeeded: h.Timer(names[1]), failed: h.Counter(names[2]),
		total: metrics.None.Counter(""), canceled: metrics.None.Counter(""), taskError: metrics.None.Counter(""), unregistered: h.Counter(metrics.ActivityUnregistered),
	}
	if i.Local {
		a.total, a.canceled = h.Counter(metrics.LocalTotal), h.Counter(metrics.LocalCanceled)
	} else {
		a.latency, a.taskError = h.Timer(metrics.ActivityLatency), h.Counter(metrics.ActivityTaskError)
	}
	v, _ := made.LoadOrStore(k, a)
	return v.(*activityMeters)
}
