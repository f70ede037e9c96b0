// Package frontend speaks Temporal's WorkflowService over the engine: it validates what clients and workers send,
// turns it into inputs of the core, waits for answers, and shapes them into responses.
//
// Invariant: nothing reaches the engine that a check without state could have refused, and a refused request has left
// no trace. Requests are handed to the core as they were decoded and never changed after that.
//
// What a file holds: service.go the parts and how they fit, validate*.go the checks that need no state, token.go the
// opaque tokens, and one file per concern: start.go, multi.go, signal.go, close.go, update.go, query.go, workflowtask.go,
// activity.go, describe.go, taskqueue.go, history.go, list.go, batch.go and batchapply.go.
package frontend

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/batch"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/taskqueue"
)

// Options are the parts a Service is made of. All are required but those that name a default.
type Options struct {
	Engine     engine.Service
	Queues     taskqueue.Service
	Namespaces *namespace.Registry
	Batches    *batch.Runner // to be run with Service.BatchExecutor
	Store      storage.Store
	Clock      clock.Clock       // nil: clock.System
	Log        *slog.Logger      // nil: slog.Default
	Limits     *execution.Limits // nil: execution.DefaultLimits
	Features   Features
	// NewID makes UUIDs for request IDs, query IDs and the like; nil: random ones.
	NewID func() string
	// LongPoll is how long polls and readers that wait for events wait. 0: a minute and 20 s, which suit connections through
	// proxies.
	LongPoll time.Duration
}

// Service implements the WorkflowService of one node. Safe for concurrent use.
//
// Its errors are what the parts below said; Interceptor turns them into statuses. Responses that carry history hold it as
// undecoded bytes: fit for the wire, not for callers that read the message. See Copy for those.
type Service struct {
	workflowservice.UnimplementedWorkflowServiceServer

	engine     engine.Service
	queues     taskqueue.Service
	namespaces *namespace.Registry
	batches    *batch.Runner
	store      storage.Store
	clock      clock.Clock
	log        *slog.Logger
	limits     *execution.Limits
	features   Features
	newID      func() string
	longest    time.Duration

	queries queryBoard
}

func (s *Service) longPoll(otherwise time.Duration) time.Duration {
	if s.longest > 0 {
		return s.longest
	}
	return otherwise
}

// New makes a Service. Close is not needed: it starts nothing of its own.
func New(o Options) *Service {
	s := &Service{
		engine: o.Engine, queues: o.Queues, namespaces: o.Namespaces, batches: o.Batches, store: o.Store, clock: o.Clock,
		log: o.Log, limits: o.Limits, features: o.Features, newID: o.NewID, longest: o.LongPoll,
	}
	if s.clock == nil {
		s.clock = clock.System{}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.limits == nil {
		s.limits = execution.DefaultLimits()
	}
	if s.newID == nil {
		s.newID = uuid.NewString
	}
	return s
}

var _ workflowservice.WorkflowServiceServer = (*Service)(nil)

// namespace resolves a request's namespace for anything but new starts.
func (s *Service) namespace(name string) (*namespace.Namespace, error) {
	if name == "" {
		return nil, invalid("Namespace not set on request.")
	}
	n, err := s.namespaces.Lookup(name)
	if err != nil {
		return nil, err
	}
	if n.State == enumspb.NAMESPACE_STATE_DELETED {
		return nil, badState(n, enumspb.NAMESPACE_STATE_REGISTERED, enumspb.NAMESPACE_STATE_DEPRECATED)
	}
	return n, nil
}

// startNamespace resolves the namespace of a request that may start an execution: a deprecated one will not do.
func (s *Service) startNamespace(name string) (*namespace.Namespace, error) {
	n, err := s.namespace(name)
	if err == nil && n.State != enumspb.NAMESPACE_STATE_REGISTERED {
		return nil, badState(n, enumspb.NAMESPACE_STATE_REGISTERED)
	}
	return n, err
}

// submit steps in on a run and returns its typed answer.
func submit[A any](ctx context.Context, s *Service, key ids.WorkflowKey, run ids.RunID, in execution.Input) (A, error) {
	var zero A
	answer, err := s.engine.Submit(ctx, key, run, in)
	if err != nil {
		return zero, err
	}
	if answer == nil {
		return zero, nil // parked
	}
	a, ok := answer.(A)
	if !ok {
		return zero, internal("answer %T to %T", answer, in)
	}
	return a, nil
}

// reply is r, or no response at all when there is an error.
func reply[R any](r R, err error) (R, error) {
	if err != nil {
		var none R
		return none, err
	}
	return r, nil
}
