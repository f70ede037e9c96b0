// Package worker runs workflows and activities: it polls a task queue, takes runs through their tasks and answers.
//
// Invariant: a run is in the hands of one goroutine at a time, and an answer that was not taken leaves nothing behind: the run
// is dropped from the cache and comes again with its history.
//
// What workflow code may do is in package workflow, what activities may do in package activity.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/metrics"
)

// Client is what a worker needs of a *client.Client.
type Client interface {
	Service() workflowservice.WorkflowServiceClient
	Namespace() string
	Identity() string
	Converter() converter.Converter
	Failures() failure.Converter
	Logger() *slog.Logger
	Metrics() metrics.Handler
}

// Options of a worker. Zero values are the defaults.
type Options struct {
	// MaxCachedRuns bounds the runs kept between their tasks. 0: 1,000. Negative: none, each task begins with the whole history.
	MaxCachedRuns int
	// MaxConcurrentWorkflowTasks and MaxConcurrentActivities bound what is at work at once. 0: 100 and 1,000.
	MaxConcurrentWorkflowTasks, MaxConcurrentActivities int
	// WorkflowPollers and ActivityPollers are the polls that wait at once on each queue. 0: from 1 to 100, as the server asks.
	WorkflowPollers, ActivityPollers int
	// StickyTimeout is how long a task waits for this worker before any other may have it. 0: 5 s.
	StickyTimeout time.Duration
	// StopTimeout is how long Stop waits for activities before their contexts end. 0: they end at once.
	StopTimeout time.Duration
	// PollTimeout bounds how long a poll waits; the server may end it before. 0: 70 s.
	PollTimeout time.Duration
	// OnTaskFailed, if not nil, is told of each workflow task that the code of a workflow fails: by a panic, by a
	// *NondeterminismError, by misuse. The task will be tried again.
	OnTaskFailed func(workflowID, runID string, attempt int32, err error)
	// BuildID names the code. Default: empty.
	BuildID string
	// Interceptors see what comes into and goes out of workflows, ActivityInterceptors the attempts of activities. The first is
	// the outermost.
	Interceptors         []flow.Interceptor
	ActivityInterceptors []activity.Interceptor
	// DisableEagerActivities makes activities of this worker's workflows always go through the task queue. Without it those
	// for the same queue come back with the answer of the workflow task that schedules them while the worker has slots, which
	// saves a round trip and half the server's work for an activity.
	DisableEagerActivities bool
	// DisableWorkflows and DisableActivities leave out one of the two kinds.
	DisableWorkflows, DisableActivities bool
}

// Worker polls one task queue.
type Worker struct {
	client   Client
	queue    string
	sticky   string
	key      string // names this worker to the server, which ends its polls when it stops
	o        Options
	registry *Registry
	env      *flow.Env
	log      *slog.Logger
	cache    *cache
	stop     chan struct{}
	stopped  sync.Once
	polling  sync.WaitGroup
	tasks    sync.WaitGroup
	pollCtx  context.Context
	endPolls context.CancelFunc
	actCtx   context.Context
	endActs  context.CancelFunc
	started  bool
	metrics  metrics.Handler
	meters   *meters

	activitySlots *slots // nil: no activities are run here
}

// New makes a worker for a task queue. Register, then Start or Run.
func New(c Client, taskQueue string, o Options) *Worker {
	host, _ := os.Hostname()
	w := &Worker{client: c, queue: taskQueue, o: o.withDefaults(), registry: newRegistry(), log: c.Logger(), stop: make(chan struct{})}
	w.key = uuid.NewString()
	w.sticky = fmt.Sprintf("%s:%s", host, w.key)
	w.metrics = metrics.With(c.Metrics(), metrics.Tag{Key: metrics.TaskQueue, Value: taskQueue})
	w.meters = newMeters(w.metrics)
	w.cache = newCache(w.o.MaxCachedRuns, w.meters)
	w.env = &flow.Env{
		Namespace: c.Namespace(), TaskQueue: taskQueue, Converter: c.Converter(), Failures: c.Failures(), Log: c.Logger(),
		ActivityName: w.registry.activityName, Interceptors: o.Interceptors, Metrics: w.metrics,
	}
	w.pollCtx, w.endPolls = context.WithCancel(context.Background())
	w.actCtx, w.endActs = context.WithCancel(context.Background())
	return w
}

func (o Options) withDefaults() Options {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	set(&o.MaxCachedRuns, 1000)
	set(&o.MaxConcurrentWorkflowTasks, 100)
	set(&o.MaxConcurrentActivities, 1000)
	if o.PollTimeout == 0 {
		o.PollTimeout = 70 * time.Second // the reference's servers end them after a minute
	}
	if o.StickyTimeout == 0 {
		o.StickyTimeout = 5 * time.Second
	}
	return o
}

// Start begins to poll. The error lists everything that is wrong with what is registered.
func (w *Worker) Start() error {
	if w.started {
		return errors.New("the worker was started before")
	}
	if err := w.registry.check(w.checkQueue()...); err != nil {
		return err
	}
	w.started = true
	if !w.o.DisableActivities && (len(w.registry.activities) > 0 || w.registry.dynamicActivity != nil) {
		w.activitySlots = w.newSlots("ActivityWorker", w.o.MaxConcurrentActivities) // before a workflow task can want one
	}
	if !w.o.DisableWorkflows && (len(w.registry.workflows) > 0 || w.registry.dynamicWorkflow != nil) {
		s := w.newSlots("WorkflowWorker", w.o.MaxConcurrentWorkflowTasks)
		w.poll("workflow_task", w.o.WorkflowPollers, s, func(ctx context.Context) (polled, error) { return w.pollWorkflow(ctx, w.queue, false) })
		if w.o.MaxCachedRuns > 0 {
			w.poll("workflow_sticky_task", w.o.WorkflowPollers, s, func(ctx context.Context) (polled, error) { return w.pollWorkflow(ctx, w.sticky, true) })
		}
	}
	if w.activitySlots != nil {
		w.poll("activity_task", w.o.ActivityPollers, w.activitySlots, w.pollActivity)
	}
	return nil
}

// DropCache gives up all runs that wait for their next task, which begins with a replay then: for tests.
func (w *Worker) DropCache() { w.cache.clear() }

// Replayer knows what the worker runs.
func (w *Worker) Replayer() *Replayer {
	return &Replayer{registry: w.registry, Converter: w.env.Converter, Interceptors: w.o.Interceptors}
}

func (w *Worker) stopping() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

func (w *Worker) checkQueue() []error {
	switch {
	case w.o.MaxConcurrentWorkflowTasks < 2 && w.o.MaxCachedRuns > 0:
		return []error{errors.New("MaxConcurrentWorkflowTasks has to be at least 2 with a cache: polls wait on two queues")}
	case w.queue == "":
		return []error{errors.New("the task queue has no name")}
	case strings.HasPrefix(w.queue, "__temporal_"):
		return []error{fmt.Errorf("task queue %s: names that begin with __temporal_ are reserved", w.queue)}
	}
	return nil
}

// Run is Start, then Stop when ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.Start(); err != nil {
		return err
	}
	<-ctx.Done()
	w.Stop()
	return nil
}

// How long Stop waits for the server to end polls: one that said it does, and one that did not.
const (
	pollsEnd      = 5 * time.Second
	pollsEndMaybe = 200 * time.Millisecond
)

// Stop polls no more, finishes the tasks at hand, gives activities StopTimeout and returns when all is quiet.
func (w *Worker) Stop() {
	w.stopped.Do(func() {
		close(w.stop)
		// The server ends the polls. One that is cancelled from here may have met a task on the way, which is lost until it
		// times out: so that is for servers that know no better, or do not answer.
		late := time.AfterFunc(w.shutDown(), w.endPolls)
		w.polling.Wait()
		late.Stop()
		w.endPolls()
		timer := time.AfterFunc(w.o.StopTimeout, w.endActs)
		w.tasks.Wait()
		timer.Stop()
		w.endActs()
		w.cache.clear()
	})
}

// shutDown tells the server to end the polls, and how long to wait for that.
func (w *Worker) shutDown() time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request := &workflowservice.ShutdownWorkerRequest{
		Namespace: w.client.Namespace(), StickyTaskQueue: w.sticky, Identity: w.client.Identity(), Reason: "graceful stop",
		WorkerInstanceKey: w.key, TaskQueue: w.queue,
		TaskQueueTypes: []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY},
	}
	ends := false
	for range 2 { // both may be repeated, and a connection that ends fails one
		_, err := w.client.Service().ShutdownWorker(ctx, request)
		if err == nil {
			ends, err = w.serverEndsPolls(ctx)
		}
		var unavailable *serviceerror.Unavailable
		if !errors.As(err, &unavailable) {
			break
		}
	}
	if ends {
		return pollsEnd
	}
	return pollsEndMaybe
}

func (w *Worker) serverEndsPolls(ctx context.Context) (bool, error) {
	ns, err := w.client.Service().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: w.client.Namespace()})
	return ns.GetNamespaceInfo().GetCapabilities().GetWorkerPollCompleteOnShutdown(), err
}

func (w *Worker) pollWorkflow(ctx context.Context, queue string, sticky bool) (polled, error) {
	request := &workflowservice.PollWorkflowTaskQueueRequest{
		Namespace: w.client.Namespace(), Identity: w.client.Identity(), TaskQueue: &taskqueuepb.TaskQueue{Name: queue, Kind: 1},
		WorkerVersionCapabilities: &commonpb.WorkerVersionCapabilities{BuildId: w.o.BuildID}, WorkerInstanceKey: w.key,
	}
	if sticky {
		request.TaskQueue.Kind, request.TaskQueue.NormalName = 2, w.queue
	}
	task, err := w.client.Service().PollWorkflowTaskQueue(ctx, request)
	if err != nil || len(task.GetTaskToken()) == 0 {
		w.meters.pollEmpty.Add(1)
		return polled{hint: task.GetPollerScalingDecision()}, ignoreDeadline(err)
	}
	w.meters.pollSucceed.Add(1)
	if task.Query == nil {
		w.meters.workflowLatency.Record(task.StartedTime.AsTime().Sub(task.ScheduledTime.AsTime()))
	}
	return polled{func() { w.workflowTask(task) }, task.PollerScalingDecision}, nil
}

func ignoreDeadline(err error) error {
	var deadline *serviceerror.DeadlineExceeded
	var canceled *serviceerror.Canceled
	if errors.As(err, &deadline) || errors.As(err, &canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
