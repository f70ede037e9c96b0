package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/google/uuid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// ErrStopped is what calls get once the engine stops. What they asked for may have been made durable before.
var ErrStopped = errors.New("engine: stopped")

// Sink takes what leaves the engine without a caller. Its methods are called by shard loops: they must not block and
// must not wait for the engine.
type Sink interface {
	// Offer hands over a task once its transition is durable. A task may be offered more than once.
	Offer(o execution.Offer)
	// StickyAlive tells whether a worker polled the sticky queue lately.
	StickyAlive(ns ids.NamespaceID, queue string) bool
}

// Namespaces finds what a step may know of a namespace. It is called by shard loops and must not block.
type Namespaces interface {
	// ByID is nil when there is no such namespace; its runs are then stepped with a namespace of that ID and no rules.
	ByID(id ids.NamespaceID) *execution.Namespace
}

// Observer hears what shards do, for metrics. It is called by shard loops and must not block.
type Observer interface {
	// Stepped is called after each step, before anything is durable. t must not be changed or kept.
	Stepped(shard ids.ShardID, in execution.Input, t *execution.Transition)
	// Committed is called when a batch's outcome is known.
	Committed(shard ids.ShardID, c Commit)
}

// Commit describes one batch.
type Commit struct {
	Runs  int           // runs that had something to write
	Ops   int           // keys written or deleted
	Bytes int           // of all keys and values
	Took  time.Duration // of the store's Apply, by the engine's clock
	Err   error
}

// Core is the pure part that the engine drives. All fields have to be set; see DefaultCore.
type Core struct {
	Needs    func(*execution.State, execution.Input) []ids.EventID
	Recalls  func(*execution.State, execution.Input, *execution.Limits) []execution.Seen
	Step     func(*execution.State, execution.Input, *execution.Env) *execution.Transition
	Save     func(*execution.State, *execution.Env) *execution.Transition // nil: nothing to save
	Deliver  func(ids.RunKey, *execution.Message) (ids.WorkflowKey, ids.RunID, execution.Input, bool)
	Respond  func(m *execution.Message, outbox int64, answer any, err error) (execution.Input, bool)
	Deadline func(*execution.State) clock.Nanos
	Summary  func(*execution.State) *workflowpb.WorkflowExecutionInfo
}

// DefaultCore is package execution.
func DefaultCore() *Core {
	return &Core{
		Needs:    execution.Needs,
		Recalls:  execution.Recalls,
		Step:     execution.Step,
		Save:     execution.Save,
		Deliver:  execution.Deliver,
		Respond:  execution.Respond,
		Deadline: (*execution.State).NextDeadline,
		Summary:  (*execution.State).Summary,
	}
}

// Options configure an engine. The zero value works; counts and sizes that are zero or less mean the default.
type Options struct {
	// Shards is how many writers there are; it has to divide record.TimerGroups. It may differ from start to start.
	// Default 4.
	Shards int
	// Pending bounds the inputs of one shard that were taken and not answered yet; beyond it Submit refuses with
	// ResourceExhausted. Default 8192.
	Pending int
	// CacheBytes bounds, by estimate, the memory of states kept by all shards together. Runs that somebody waits for
	// stay beyond it. Default 20 MiB.
	CacheBytes int
	// RecentBytes bounds the encoded events kept with each cached run so that a worker's poll need not read the store.
	// Default 16 KiB.
	RecentBytes int
	// BatchBytes is the size of an unsealed batch, by estimate, at which a shard takes no further input until the batch
	// before it is durable. Default 4 MiB.
	BatchBytes int
	// Readers is how many loads may run at a time. Default 16.
	Readers int
	// TimerRows is about how many timers each of the record.TimerGroups keeps in memory; the others stay in the store
	// until they are near. Default 256.
	TimerRows int
	// DueMax bounds the due timers of one shard that are being worked on at a time. Default 1024.
	DueMax int
	// Deliveries bounds the messages of one shard that are under way at a time. Default 64.
	Deliveries int
	// NewcomerIDs is for how many workflow IDs of one shard there is room at first in what tells new ones (1.25 bytes each);
	// it grows with them. Default 65,536.
	NewcomerIDs int
	// OutboxRows bounds the messages of one shard kept in memory; the others stay in the store. Default 8192.
	OutboxRows int

	Clock      clock.Clock      // default clock.System
	NewRunID   func() ids.RunID // default a UUID of version 7, see record.InOrder
	Limits     *execution.Limits
	Namespaces Namespaces   // nil: no namespace has rules
	Sink       Sink         // nil: offers are dropped and no sticky queue is alive
	Observer   Observer     // nil: none
	Logger     *slog.Logger // default slog.DiscardHandler
	Core       *Core        // default DefaultCore
}

func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&o.Shards, 4}, {&o.Pending, 8192}, {&o.CacheBytes, 20 << 20}, {&o.RecentBytes, 16 << 10}, {&o.BatchBytes, 4 << 20},
		{&o.Readers, 16}, {&o.TimerRows, 256}, {&o.DueMax, 1024}, {&o.Deliveries, 64}, {&o.NewcomerIDs, 1 << 16},
		{&o.OutboxRows, 8192},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Shards > record.TimerGroups || record.TimerGroups%o.Shards != 0 {
		return o, fmt.Errorf("engine: %d shards: the number has to divide %d", o.Shards, record.TimerGroups)
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.NewRunID == nil {
		o.NewRunID = func() ids.RunID { return ids.RunID(uuid.Must(uuid.NewV7()).String()) }
	}
	if o.Limits == nil {
		o.Limits = execution.DefaultLimits()
	}
	if o.Sink == nil {
		o.Sink = noSink{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Core == nil {
		o.Core = DefaultCore()
	}
	return o, nil
}

type noSink struct{}

func (noSink) Offer(execution.Offer)                    {}
func (noSink) StickyAlive(ids.NamespaceID, string) bool { return false }

// storedEvents are the events of one run that a step asked for.
type storedEvents = map[ids.EventID]*historypb.HistoryEvent

func errOverloaded() error {
	return &execution.Error{
		Kind: execution.ResourceExhausted, Message: "system is overloaded",
		Cause: enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED,
	}
}

// errNotFound says the same as the core does of a run that is not there.
func errNotFound(key ids.WorkflowKey, run ids.RunID) error {
	message := fmt.Sprintf("workflow not found for ID: %s", key.Workflow)
	if run != "" {
		message = fmt.Sprintf("workflow execution not found for workflow ID %q and run ID %q", key.Workflow, run)
	}
	return &execution.Error{Kind: execution.NotFound, Message: message, Detail: &errordetailspb.NotFoundFailure{}}
}

func errUnavailable() error {
	return &execution.Error{Kind: execution.Unavailable, Message: "workflow execution is temporarily unavailable"}
}

func errInternal(what string) error {
	return &execution.Error{Kind: execution.Internal, Message: what}
}
