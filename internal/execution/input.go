package execution

import (
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Env is all that a step may know of the world around it.
type Env struct {
	Key       ids.RunKey // what the input addresses; the run may be empty when there is none
	Now       clock.Nanos
	NewRunID  ids.RunID // fresh; used if the step makes a new run
	Limits    *Limits
	Namespace *Namespace
	// StickyAlive tells whether a worker polled the run's sticky queue lately; if not, tasks go to the normal queue.
	StickyAlive bool
	// Stored holds the events that Needs asked for, by ID.
	Stored map[ids.EventID]*historypb.HistoryEvent
	// Recalled holds the states of the earlier runs that took the messages Recalls named.
	Recalled map[Seen]*State
}

// Namespace is what a step may know of the namespace of its run.
type Namespace struct {
	ID        ids.NamespaceID
	Name      string
	Retention time.Duration // how long closed runs are kept; zero: for ever
	// CheckSearchAttributes validates attributes and returns them with their type metadata filled in, null values kept
	// as removals. The error's text is shown to users. nil: nothing is checked.
	CheckSearchAttributes func(*commonpb.SearchAttributes) (*commonpb.SearchAttributes, error)
	// Resolve finds another namespace by name, for commands that name one. ok is false if there is none.
	Resolve func(name string) (id ids.NamespaceID, ok bool)
}

// Limits are the bounds of one run. All can be configured; DefaultLimits has the documented values.
type Limits struct {
	BlobBytes             int           // one payload set; 2 MiB
	MemoBytes             int           // 2 MiB
	IDBytes               int           // any identifier; 1000
	Signals               int           // signals per run; 10000
	BufferedEvents        int           // 4096 (the reference has 100)
	BufferedBytes         int           // 4 MiB (the reference has 2)
	PendingActivities     int           // 2000
	PendingChildren       int           // 2000
	PendingSignals        int           // external signals in flight; 2000
	PendingCancels        int           // external cancels in flight; 2000
	UpdatesInFlight       int           // 1000 (the reference has 10)
	UpdatesInFlightBytes  int           // 20 MiB
	UpdatesTotal          int           // per run; 10000 (the reference has 2000)
	SuggestUpdatesPercent int           // suggest continue-as-new from this share of UpdatesTotal; 90
	BufferedQueries       int           // queries waiting for one workflow task; 100 (the reference has 1)
	HistoryEvents         int           // terminated beyond; 51200
	HistoryBytes          int64         // terminated beyond; 50 MiB
	SuggestEvents         int           // suggest continue-as-new from here; 4096
	SuggestBytes          int64         // 4 MiB
	TaskTimeoutDefault    time.Duration // workflow task start-to-close; 10 s
	TaskTimeoutMax        time.Duration // 120 s
	HeartbeatTotal        time.Duration // longest row of heartbeating workflow tasks; 30 min
	SpeculativeTimeout    time.Duration // speculative task on a normal queue: schedule-to-start; 5 s
	AttemptsBeforeReady   int32         // from this attempt on, queries and updates fail fast; 3
	SpeculativeEvents     int           // events shipped with a speculative task that may still vanish; 10
	LastFailureBytes      int           // activity's stored last failure; 4 KiB
	LedgerNotes           int           // notes kept of each run's messages; 1024; zero: no ledger
	// Hard: what goes beyond a limit is refused for good or fails the workflow task, and a run that outgrows its history
	// by messages is terminated, as the reference does. False: see pressure.go.
	Hard bool
	// NoQueries: queries are refused before they reach a run.
	NoQueries bool
	// ForgetRuns: a message is told from its repetition only by the run it reaches, as the reference does. False: by any
	// run of the workflow ID that is still kept.
	ForgetRuns bool
	// InlineSignals: a workflow task for nothing but signals is handed to the worker whose completion makes room for it, as
	// the reference does. False: it takes its turn in the queue.
	InlineSignals bool
	// GzipOnLoopback: requests are taken as they come. False: SDKs on the server's machine that can do so are asked to send
	// them uncompressed. No step looks at it; it is here since operators set it as they set the others.
	GzipOnLoopback bool
}

// DefaultLimits are the values of docs/compat.md.
func DefaultLimits() *Limits {
	return &Limits{
		BlobBytes: 2 << 20, MemoBytes: 2 << 20, IDBytes: 1000, Signals: 10000, BufferedEvents: 4096, BufferedBytes: 4 << 20,
		PendingActivities: 2000, PendingChildren: 2000, PendingSignals: 2000, PendingCancels: 2000,
		UpdatesInFlight: 1000, UpdatesInFlightBytes: 20 << 20, UpdatesTotal: 10000, SuggestUpdatesPercent: 90, BufferedQueries: 100,
		HistoryEvents: 51200, HistoryBytes: 50 << 20, SuggestEvents: 4096, SuggestBytes: 4 << 20,
		TaskTimeoutDefault: 10 * time.Second, TaskTimeoutMax: 120 * time.Second, HeartbeatTotal: 30 * time.Minute,
		SpeculativeTimeout: 5 * time.Second, AttemptsBeforeReady: 3, SpeculativeEvents: 10, LastFailureBytes: 4 << 10, LedgerNotes: 1024,
	}
}

// ReferenceLimits are those of DefaultLimits with the numbers and the ways of the reference where they differ.
func ReferenceLimits() *Limits {
	l := DefaultLimits()
	l.Hard, l.ForgetRuns, l.InlineSignals, l.GzipOnLoopback = true, true, true, true
	l.BufferedEvents, l.BufferedBytes, l.BufferedQueries = 100, 2<<20, 1
	l.UpdatesInFlight, l.UpdatesTotal = 10, 2000
	return l
}

// Waiter names a caller that waits for more than the durable outcome of its own input. The driver hands it in and gets
// it back in Transition.Replies. Zero: nobody waits.
type Waiter uint64

// Input is one thing that can happen to a run. Requests inside are never changed by a step and must not be changed by
// the caller afterwards. Shape checks that need no state are the frontend's.
type Input interface{ input() }

// Inputs that address a workflow ID: the state given to Step is the current run, or nil if there is none.
type (
	// StartWorkflow starts a run, under the policies of the request. Answer: *StartAnswer.
	// The frontend has validated the request, resolved unset policies, and filled search attribute types in.
	StartWorkflow struct {
		Request *workflowservice.StartWorkflowExecutionRequest
		Signal  *SignalWorkflow // signal-with-start; Request's policies are those of the combined call
		Update  *UpdateWorkflow // update-with-start; the update's outcome comes through StartAnswer.Update and Waiter
		Parent  *Parent         // set by the engine for child workflows
		// EagerIdentity etc. are taken from Request; EagerRequestID is the poll request ID of an eager first task.
		Eager bool // the server allows eager start
	}
	// Parent describes the parent of a child workflow to be started.
	Parent struct {
		NamespaceID ids.NamespaceID
		Namespace   string
		WorkflowID  ids.WorkflowID
		RunID       ids.RunID
		InitiatedID ids.EventID
		RootID      ids.WorkflowID
		RootRunID   ids.RunID
	}
)

// Inputs that address one run (an empty run ID was resolved to the current run by the driver).
type (
	// SignalWorkflow. Answer: *SignalAnswer.
	SignalWorkflow struct {
		Name      string
		Input     *commonpb.Payloads
		Header    *commonpb.Header
		Identity  string
		RequestID string
		Links     []*commonpb.Link
		// From and ChildOnly are set for signals sent by another workflow.
		From      *commonpb.WorkflowExecution
		FromKey   ids.RunKey
		ChildOnly bool
	}
	// RequestCancel asks the run to end. Answer: *EmptyAnswer.
	RequestCancel struct {
		Reason, Identity, RequestID string
		FirstRunID                  ids.RunID // pins the chain when set
		Links                       []*commonpb.Link
		From                        *commonpb.WorkflowExecution // sender, for cancels from another workflow
		FromKey                     ids.RunKey
		FromInitiatedID             ids.EventID
		ChildOnly                   bool
	}
	// Terminate ends the run now. Answer: *EmptyAnswer.
	Terminate struct {
		Reason, Identity string
		Details          *commonpb.Payloads
		FirstRunID       ids.RunID
		Links            []*commonpb.Link
		ChildOf          *ids.RunKey // only if this run is a child of that one (parent close policy); else a no-op
	}
	// StartWorkflowTask: a poller took the task. Answer: *WorkflowTaskStarted. Error kind Stale: poll on.
	StartWorkflowTask struct {
		Ref       WorkflowTaskRef
		RequestID string // of the poll; a repeated one gets the same answer
		Identity  string
		Sticky    bool // the poller polled the run's sticky queue
		Version   *commonpb.WorkerVersionStamp
	}
	// CompleteWorkflowTask carries a worker's decisions. Answer: *WorkflowTaskCompleted.
	CompleteWorkflowTask struct {
		Token   WorkflowTaskToken
		Request *workflowservice.RespondWorkflowTaskCompletedRequest
		// Waiter's eager follow-up: a new task started inline is answered in WorkflowTaskCompleted.Next.
	}
	// FailWorkflowTask: the worker could not do it. Answer: *EmptyAnswer.
	FailWorkflowTask struct {
		Token    WorkflowTaskToken
		Cause    enumspb.WorkflowTaskFailedCause
		Failure  *failurepb.Failure
		Identity string
		Checksum string
		Version  *commonpb.WorkerVersionStamp
	}
	// ResetSticky clears stickiness. Answer: *EmptyAnswer.
	ResetSticky struct{}
	// StickyGone: no worker polls the sticky queue the task was offered to. Answer: *EmptyAnswer.
	StickyGone struct{ Ref WorkflowTaskRef }

	// StartActivity: a poller took the task. Answer: *ActivityStarted. Error kind Stale: poll on.
	StartActivity struct {
		Ref       ActivityRef
		RequestID string
		Identity  string
		Version   *commonpb.WorkerVersionStamp
	}
	// CompleteActivity, FailActivity, CancelActivity end an attempt. Answer: *ActivityEnded.
	CompleteActivity struct {
		Token    ActivityToken
		Result   *commonpb.Payloads
		Identity string
		Version  *commonpb.WorkerVersionStamp
	}
	// FailActivity reports a failed attempt; it may lead to a retry.
	FailActivity struct {
		Token    ActivityToken
		Failure  *failurepb.Failure
		Details  *commonpb.Payloads // last heartbeat details, optional
		Identity string
		Version  *commonpb.WorkerVersionStamp
	}
	// CancelActivity reports that the activity gave in to a cancel request.
	CancelActivity struct {
		Token    ActivityToken
		Details  *commonpb.Payloads
		Identity string
		Version  *commonpb.WorkerVersionStamp
	}
	// HeartbeatActivity. Answer: *HeartbeatAnswer.
	HeartbeatActivity struct {
		Token    ActivityToken
		Details  *commonpb.Payloads
		Identity string
	}

	// UpdateWorkflow admits an update. Answer: *UpdateAnswer at once, or nil when parked: then it comes through Waiter.
	UpdateWorkflow struct {
		Request    *updatepb.Request // meta.update_id is set
		FirstRunID ids.RunID
		Wait       enumspb.UpdateWorkflowExecutionLifecycleStage // ACCEPTED or COMPLETED
		Waiter     Waiter
	}
	// PollUpdate reports or awaits an update's outcome. Answer as for UpdateWorkflow.
	PollUpdate struct {
		UpdateID string
		Wait     enumspb.UpdateWorkflowExecutionLifecycleStage // UNSPECIFIED or ADMITTED: answer at once
		Waiter   Waiter
		Forget   Waiter // a waiter that gave up
	}
	// QueryWorkflow decides how a query is to be answered. Answer: *QueryAnswer at once, or nil when parked: then it
	// comes through Waiter.
	QueryWorkflow struct {
		ID       string // unique
		Query    *querypb.WorkflowQuery
		Reject   enumspb.QueryRejectCondition
		Deadline clock.Nanos // of the caller; zero: none
		Waiter   Waiter
	}
	// ForgetQuery removes a parked query whose caller gave up. Answer: *EmptyAnswer.
	ForgetQuery struct{ ID string }

	// TimerDue: a moment named by NextDeadline has come. Answer: *EmptyAnswer.
	TimerDue struct{}

	// ResetWorkflow makes a new run from the first part of this run's history (the base run). Answer: *ResetAnswer.
	// Events holds the base run's whole history; Current the state of the current run when it is another one; Later what
	// the runs that continue the base run have in history of Reapplied, in order.
	ResetWorkflow struct {
		Request *workflowservice.ResetWorkflowExecutionRequest
		Events  []*historypb.HistoryEvent
		Current *State
		Later   []*historypb.HistoryEvent
	}
	// Describe reads. Answer: *workflowservice.DescribeWorkflowExecutionResponse without memo and search attribute aliases.
	Describe struct{}

	// Inputs that come back from other executions; see Message.

	// ChildStartResult: the child exists (Failed zero) or could not be started. Answer: *EmptyAnswer.
	ChildStartResult struct {
		InitiatedID ids.EventID
		Child       ids.WorkflowKey
		Namespace   string // the child's
		RunID       ids.RunID
		Failed      enumspb.StartChildWorkflowExecutionFailedCause
	}
	// ChildClosed: a child's chain ended with Event. Answer: *EmptyAnswer.
	ChildClosed struct {
		InitiatedID ids.EventID
		Child       ids.RunKey // the run that closed
		First       ids.RunID  // first run of the child's chain
		Event       *historypb.HistoryEvent
		Type        string // child's workflow type
	}
	// ParentAck tells a child that its parent has recorded its start. Answer: *EmptyAnswer.
	ParentAck struct{ Parent ids.RunKey }
	// ExternalSignalResult and ExternalCancelResult. Answer: *EmptyAnswer.
	ExternalSignalResult struct {
		InitiatedID ids.EventID
		Failed      enumspb.SignalExternalWorkflowExecutionFailedCause
	}
	// ExternalCancelResult reports how a cancel of another workflow ended.
	ExternalCancelResult struct {
		InitiatedID ids.EventID
		Failed      enumspb.CancelExternalWorkflowExecutionFailedCause
	}
	// Delivered: a message that needs no answer was taken. Answer: *EmptyAnswer.
	Delivered struct{ Outbox int64 }
)

func (StartWorkflow) input()        {}
func (SignalWorkflow) input()       {}
func (RequestCancel) input()        {}
func (Terminate) input()            {}
func (StartWorkflowTask) input()    {}
func (CompleteWorkflowTask) input() {}
func (FailWorkflowTask) input()     {}
func (ResetSticky) input()          {}
func (StickyGone) input()           {}
func (StartActivity) input()        {}
func (CompleteActivity) input()     {}
func (FailActivity) input()         {}
func (CancelActivity) input()       {}
func (HeartbeatActivity) input()    {}
func (UpdateWorkflow) input()       {}
func (PollUpdate) input()           {}
func (QueryWorkflow) input()        {}
func (ForgetQuery) input()          {}
func (TimerDue) input()             {}
func (ResetWorkflow) input()        {}
func (Describe) input()             {}
func (ChildStartResult) input()     {}
func (ChildClosed) input()          {}
func (ParentAck) input()            {}
func (ExternalSignalResult) input() {}
func (ExternalCancelResult) input() {}
func (Delivered) input()            {}
func (refusal) input()              {}

// WorkflowTaskRef is how task queues and the store point at a scheduled workflow task. It is only a hint: the run's
// state decides whether the task still matters.
type WorkflowTaskRef struct {
	Run ids.RunKey
	Seq int64
}

// ActivityRef points at one dispatch of an activity.
type ActivityRef struct {
	Run         ids.RunKey
	ScheduledID ids.EventID
	Stamp       int32
}

// WorkflowTaskToken is what a worker must present to finish a workflow task.
type WorkflowTaskToken struct {
	Run         ids.RunKey
	Seq         int64
	ScheduledID ids.EventID
	StartedID   ids.EventID
	StartedAt   clock.Nanos
	Attempt     int32
}

// ActivityToken is what a worker must present to report on an activity.
type ActivityToken struct {
	Run         ids.RunKey
	ScheduledID ids.EventID // zero: by ActivityID, without checks of the attempt
	ActivityID  string
	Attempt     int32
	StartedAt   clock.Nanos
	Stamp       int32
}

// Answers.
type (
	// StartAnswer answers StartWorkflow.
	StartAnswer struct {
		RunID      ids.RunID
		FirstRunID ids.RunID
		Started    bool // a run was started by this request (now or earlier)
		Status     enumspb.WorkflowExecutionStatus
		Eager      *WorkflowTaskStarted // first workflow task, started inline; nil unless eager
		Attached   bool                 // the request ID had been attached to a run it did not start
		// Update-with-start: exactly one of these is set unless the update is parked.
		Update    *UpdateAnswer
		UpdateErr error
	}
	// SignalAnswer answers SignalWorkflow.
	SignalAnswer struct {
		RunID   ids.RunID
		EventID ids.EventID // zero while buffered
	}
	// EmptyAnswer says that the input was taken.
	EmptyAnswer struct{}
	// WorkflowTaskStarted is what a worker needs to do a workflow task.
	WorkflowTaskStarted struct {
		Token             WorkflowTaskToken
		WorkflowType      string
		PreviousStartedID ids.EventID
		Attempt           int32
		Queue             string // the run's normal queue
		ScheduledAt       clock.Nanos
		StartedAt         clock.Nanos
		HistoryFrom       ids.EventID // first event to send: 1, or the one after the previous started event when sticky
		// Virtual are events to append that are not in history (transient and speculative tasks).
		Virtual  []*historypb.HistoryEvent
		Messages []*protocolpb.Message
		Queries  map[string]*querypb.WorkflowQuery
		// Activity results and signals already in history are read from the store by the caller.
	}
	// WorkflowTaskCompleted answers CompleteWorkflowTask.
	WorkflowTaskCompleted struct {
		Next           *WorkflowTaskStarted // set when a follow-up task was started inline
		Activities     []*ActivityStarted   // eagerly started activities, in command order
		ResetHistoryID ids.EventID          // non-zero: the task vanished; the worker rewinds to here
	}
	// ActivityStarted is what a worker needs to run an activity.
	ActivityStarted struct {
		Token        ActivityToken
		Event        *historypb.HistoryEvent // ActivityTaskScheduled
		WorkflowType string
		FirstSchedAt clock.Nanos
		ScheduledAt  clock.Nanos // this attempt
		StartedAt    clock.Nanos
		Attempt      int32
		Details      []byte // last heartbeat details, encoded common.v1.Payloads
		S2C, STC, HB time.Duration
		RetryPolicy  []byte // encoded common.v1.RetryPolicy
		Priority     []byte // encoded common.v1.Priority
	}
	// ActivityEnded answers CompleteActivity, FailActivity and CancelActivity.
	ActivityEnded struct{}
	// HeartbeatAnswer answers HeartbeatActivity.
	HeartbeatAnswer struct{ CancelRequested bool }
	// UpdateAnswer is an update's stage, with its outcome once completed.
	UpdateAnswer struct {
		RunID   ids.RunID
		Stage   enumspb.UpdateWorkflowExecutionLifecycleStage
		Outcome *updatepb.Outcome
		// OutcomeEventID is set instead of Outcome when the outcome has to be read from that UpdateCompleted event.
		OutcomeEventID ids.EventID
	}
	// QueryAnswer tells what becomes of a query. Exactly one field is set.
	QueryAnswer struct {
		Rejected *querypb.QueryRejected
		Result   *querypb.WorkflowQueryResult // answered on a workflow task
		Direct   *DirectQuery                 // to be sent to a worker as a task of its own
	}
	// DirectQuery is a query to be offered to pollers by itself.
	DirectQuery struct {
		Run               ids.RunKey
		WorkflowType      string
		Queue             string
		Sticky            *taskqueuepb.StickyExecutionAttributes // nil: not sticky
		PreviousStartedID ids.EventID
		NextEventID       ids.EventID
		Open              bool
	}
	// ResetAnswer answers ResetWorkflow.
	ResetAnswer struct{ RunID ids.RunID }
)

// ResetPoints is how auto-reset points are kept.
type ResetPoints = workflowpb.ResetPoints
