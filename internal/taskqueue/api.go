// Package taskqueue keeps the task queues of this node: it parks pollers, meets offers with polls, and holds a bounded
// part of each backlog in memory, the rest staying in the store's dispatch rows.
//
// Invariant: a task is only a hint. It may be offered twice, and may be stale; whoever takes it asks the run's state.
// What must not happen is that a task is in the store and never offered to a poller.
package taskqueue

import (
	"context"
	"errors"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// ErrNoTask: the poll's time is over, its caller gave up, or the node is draining. Answer with an empty response.
var ErrNoTask = errors.New("taskqueue: no task")

// ErrTooManyPolls: the namespace's limit of concurrent polls is reached.
var ErrTooManyPolls = errors.New("taskqueue: too many concurrent polls")

// QueueKey names one task queue. A sticky queue is a queue of its own, of type workflow.
type QueueKey struct {
	Namespace ids.NamespaceID
	Type      record.QueueType
	Name      string
}

// Task is what a poller takes away: either an offer of the engine or a query.
type Task struct {
	Queue QueueKey
	Offer execution.Offer // Workflow or Activity set, unless Query is
	Query *QueryTask
	// Backlog: it was not matched to a waiting poller at once. AddedAt is when it was offered.
	Backlog bool
	AddedAt clock.Nanos
	// Scaling is the advice for the worker, to be put into poller_scaling_decision: 1, -1, or 0 for none.
	Scaling int32
}

// QueryTask is a query offered to pollers by itself; nothing of it is stored.
type QueryTask struct {
	ID string // unique; part of the task token
	// Dead tells that nobody waits for the answer any more; a dead task is dropped instead of handed out. It is called
	// under a lock: it must neither block nor call this package. nil: it never dies.
	Dead func() bool
	// Ref is the asker's; the queue only passes it on.
	Ref any
}

// PollRequest describes one poll.
type PollRequest struct {
	Queue      QueueKey
	Sticky     bool   // Queue is a sticky queue
	NormalName string // of a sticky queue: the worker's normal queue
	Identity   string
	// MaxPerSecond is the worker's wish for this whole queue (activities); nil: none.
	MaxPerSecond *float64
	Version      *commonpb.WorkerVersionCapabilities
	// WorkerKey names the worker for ShutdownWorker; may be empty.
	WorkerKey string
}

// Poller is a recent poller, for DescribeTaskQueue.
type Poller struct {
	Identity     string
	LastAccess   clock.Nanos
	MaxPerSecond float64 // 100000 if the worker named none
	Version      *commonpb.WorkerVersionCapabilities
}

// Description is what DescribeTaskQueue shows.
type Description struct {
	Pollers []Poller
	Stats   *taskqueuepb.TaskQueueStats
	// ByPriority has the stats of each priority key that has tasks.
	ByPriority map[int32]*taskqueuepb.TaskQueueStats
}

// Backlog reads the dispatch rows of queues. Implementations are safe for concurrent use.
type Backlog interface {
	// Page returns the rows of one queue in key order, starting after the given key (nil: from the start), limit of them
	// or, only if there are no more, fewer. Keys are whole store keys, as record.TaskKey makes them; after need not be
	// the key of a row. What was durable before the call is in the page.
	Page(ctx context.Context, queue QueueKey, after []byte, limit int) (offers []execution.Offer, keys [][]byte, err error)
	// Queues lists the queues that have rows, for the restart.
	Queues(ctx context.Context) ([]QueueKey, error)
}

// Service is what the frontend needs of this package; *Manager implements it.
type Service interface {
	// Poll waits for a task until ctx is done or wait has passed (by the manager's clock), then returns ErrNoTask. A task
	// is never lost between match and return: if the caller is gone, it is offered again. A wait of zero or less takes
	// what is there. Errors: ErrNoTask, ErrTooManyPolls.
	Poll(ctx context.Context, req PollRequest, wait time.Duration) (Task, error)
	// Requeue offers a taken task again, at the front: its taker could not use it, or does not know whether it could.
	Requeue(t Task)
	// OfferQuery hands a query to the queue; it is dropped once q.Dead.
	OfferQuery(queue QueueKey, q *QueryTask)
	// LastPoll is when somebody last polled: now if somebody waits, else when the last poll ended. Zero: never since the
	// node started, not for as long as pollers are remembered, or the worker of this sticky queue was shut down.
	LastPoll(queue QueueKey) clock.Nanos
	// Describe shows a queue; an unknown one is empty.
	Describe(queue QueueKey) Description
	// ShutdownWorker makes a worker's sticky queue unavailable until somebody polls it again and, if workerKey is set,
	// ends that worker's polls, those to come too, with ErrNoTask. Either may be empty; unknown ones are fine.
	ShutdownWorker(ns ids.NamespaceID, stickyQueue, workerKey string)
}
