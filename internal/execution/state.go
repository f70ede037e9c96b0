package execution

import (
	"cmp"
	"time"

	"github.com/tidwall/btree"
	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// State is everything the engine knows of one run beyond its events. Treat it as immutable.
//
// It is stored as a small header (Info) that changes with nearly every step, a start record that never changes, and one
// row for each pending thing, so that the cost of a step does not grow with what else is pending.
type State struct {
	Key   ids.RunKey
	Info  Info   // row RowInfo
	Start *Start // row RowStart; immutable once the run exists

	Memo             *commonpb.Memo             // row RowMemo; nil when empty
	SearchAttributes *commonpb.SearchAttributes // row RowSearchAttributes; nil when empty

	Activities Table[ids.EventID, *Activity] // by scheduled event ID
	Timers     Table[string, *Timer]         // by timer ID
	Children   Table[ids.EventID, *Child]    // by initiated event ID
	Cancels    Table[ids.EventID, *External] // external cancels in flight, by initiated event ID
	Signals    Table[ids.EventID, *External] // external signals in flight, by initiated event ID
	Requests   Table[string, *Request]       // request IDs seen by this run
	Updates    Table[string, *Update]        // accepted and completed updates, by update ID
	Buffered   Table[int64, *Buffered]       // events that wait for the workflow task to finish, by arrival number

	// Volatile is never encoded. A crash empties it, by design.
	Volatile Volatile

	deadlines  deadlineSet          // derived: every moment something falls due
	activityID Table[string, int64] // derived: pending activity ID to scheduled event ID
}

// Info is the header of a run. Field numbers are part of the stored format (docs/format/records.md).
type Info struct {
	NextEventID     ids.EventID                     `cbor:"1,keyasint"`
	Status          enumspb.WorkflowExecutionStatus `cbor:"2,keyasint"`
	HistoryBytes    int64                           `cbor:"3,keyasint"` // encoded size of all events
	Transitions     int64                           `cbor:"4,keyasint"` // durable state transitions so far
	LastEventTime   clock.Nanos                     `cbor:"5,keyasint"` // event times never decrease
	CloseTime       clock.Nanos                     `cbor:"6,keyasint,omitempty"`
	CloseEventID    ids.EventID                     `cbor:"7,keyasint,omitempty"`
	SuccessorRunID  ids.RunID                       `cbor:"8,keyasint,omitempty"`  // run that continues this one
	ExecutionTime   clock.Nanos                     `cbor:"9,keyasint,omitempty"`  // start plus first backoff
	FirstBackoffEnd clock.Nanos                     `cbor:"10,keyasint,omitempty"` // first workflow task not before; zero once it was scheduled
	RunDeadline     clock.Nanos                     `cbor:"11,keyasint,omitempty"`

	// Workflow task. ScheduledID zero: none is pending.
	WFT WorkflowTask `cbor:"12,keyasint"`
	// LastCompletedStartedID is the started event of the last completed workflow task; zero: none completed yet.
	LastCompletedStartedID ids.EventID `cbor:"13,keyasint,omitempty"`
	LastCompletedID        ids.EventID `cbor:"14,keyasint,omitempty"` // its completed event
	WFTSeq                 int64       `cbor:"15,keyasint,omitempty"` // numbers every workflow task ever scheduled, also vanished ones
	WFTFailures            int32       `cbor:"16,keyasint,omitempty"` // consecutive failed or timed-out workflow tasks

	StickyQueue   string        `cbor:"17,keyasint,omitempty"`
	StickyTimeout time.Duration `cbor:"18,keyasint,omitempty"` // schedule-to-start on the sticky queue

	CancelRequested bool        `cbor:"19,keyasint,omitempty"`
	CloseAttempted  bool        `cbor:"20,keyasint,omitempty"` // a close command met buffered events; see messages §3.9
	AwaitingParent  bool        `cbor:"21,keyasint,omitempty"` // child whose parent has not recorded its start
	SignalCount     int32       `cbor:"22,keyasint,omitempty"`
	UpdateCount     int32       `cbor:"23,keyasint,omitempty"` // accepted updates of this run
	NextBuffered    int64       `cbor:"24,keyasint,omitempty"` // arrival number of the next buffered event
	BufferedBytes   int64       `cbor:"25,keyasint,omitempty"`
	TimerRow        clock.Nanos `cbor:"26,keyasint,omitempty"` // time of this run's one timer row; zero: none
	NextOutbox      int64       `cbor:"28,keyasint,omitempty"` // numbers this run's outbox rows

	ResetRunID     ids.RunID   `cbor:"29,keyasint,omitempty"` // run made by resetting this one
	LastResetTime  clock.Nanos `cbor:"30,keyasint,omitempty"` // when this run was made by a reset
	ResetPoints    []byte      `cbor:"31,keyasint,omitempty"` // workflow.v1.ResetPoints, encoded
	WorkerVersion  []byte      `cbor:"32,keyasint,omitempty"` // common.v1.WorkerVersionStamp of the last completion, encoded
	RetentionUntil clock.Nanos `cbor:"33,keyasint,omitempty"` // when a closed run is removed
	OpenUpdates    int32       `cbor:"35,keyasint,omitempty"` // accepted, not completed
	NextAttempt    int32       `cbor:"34,keyasint,omitempty"` // attempt of the next workflow task; zero: 1
	LedgerNext     int64       `cbor:"36,keyasint,omitempty"` // number of the next note
	MessageMark    ids.EventID `cbor:"37,keyasint,omitempty"` // newest Signaled or CancelRequested event
	TaskProblem    string      `cbor:"38,keyasint,omitempty"` // why the last workflow task did not complete, for people to read
}

// Start is what a run was started with and never changes. Input and headers stay in history.
type Start struct {
	FirstRunID    ids.RunID   `cbor:"1,keyasint"`
	OriginalRunID ids.RunID   `cbor:"2,keyasint"`
	PreviousRunID ids.RunID   `cbor:"3,keyasint,omitempty"` // run this one continues
	RequestID     string      `cbor:"4,keyasint"`
	WorkflowType  string      `cbor:"5,keyasint"`
	TaskQueue     string      `cbor:"6,keyasint"`
	StartTime     clock.Nanos `cbor:"7,keyasint"`

	ExecutionTimeout time.Duration `cbor:"8,keyasint,omitempty"`
	RunTimeout       time.Duration `cbor:"9,keyasint,omitempty"`
	TaskTimeout      time.Duration `cbor:"10,keyasint"`
	ExpirationTime   clock.Nanos   `cbor:"11,keyasint,omitempty"` // of the whole chain; zero: never

	Attempt      int32  `cbor:"12,keyasint"`
	CronSchedule string `cbor:"13,keyasint,omitempty"`
	RetryPolicy  []byte `cbor:"14,keyasint,omitempty"` // common.v1.RetryPolicy, encoded; empty: none

	ParentNamespaceID ids.NamespaceID `cbor:"15,keyasint,omitempty"`
	ParentNamespace   string          `cbor:"16,keyasint,omitempty"`
	ParentWorkflowID  ids.WorkflowID  `cbor:"17,keyasint,omitempty"`
	ParentRunID       ids.RunID       `cbor:"18,keyasint,omitempty"`
	ParentInitiatedID ids.EventID     `cbor:"19,keyasint,omitempty"`
	RootWorkflowID    ids.WorkflowID  `cbor:"20,keyasint,omitempty"` // empty: this run is the root
	RootRunID         ids.RunID       `cbor:"21,keyasint,omitempty"`

	UserMetadata   []byte      `cbor:"22,keyasint,omitempty"` // sdk.v1.UserMetadata, encoded
	Priority       []byte      `cbor:"23,keyasint,omitempty"` // common.v1.Priority, encoded
	Initiator      int32       `cbor:"24,keyasint,omitempty"`
	FirstStartTime clock.Nanos `cbor:"25,keyasint,omitempty"` // start of the chain's first run
	LatestResult   bool        `cbor:"26,keyasint,omitempty"` // event 1 holds a last completion result (cron)
	PriorityKey    int32       `cbor:"27,keyasint,omitempty"` // 1 first to 5 last
	Namespace      string      `cbor:"28,keyasint,omitempty"` // the namespace name when the run started
	Follows        bool        `cbor:"29,keyasint,omitempty"` // the workflow ID had a run before this one
}

// WorkflowTaskKind tells how a workflow task is kept.
type WorkflowTaskKind uint8

const (
	// TaskNormal has its Scheduled event in history.
	TaskNormal WorkflowTaskKind = iota
	// TaskTransient is a repeated attempt (Attempt > 1) whose events are written only when it completes.
	TaskTransient
	// TaskSpeculative was made for an update and is kept in memory only; it may vanish without a trace.
	TaskSpeculative
)

// WorkflowTask is the one pending workflow task of a run. The zero value means there is none.
type WorkflowTask struct {
	Seq         int64            `cbor:"1,keyasint,omitempty"` // Info.WFTSeq when it was scheduled; tells stale references apart
	Kind        WorkflowTaskKind `cbor:"2,keyasint,omitempty"`
	ScheduledID ids.EventID      `cbor:"3,keyasint,omitempty"` // provisional unless Kind is TaskNormal
	StartedID   ids.EventID      `cbor:"4,keyasint,omitempty"` // zero: not started; provisional unless Kind is TaskNormal
	Attempt     int32            `cbor:"5,keyasint,omitempty"`
	Queue       string           `cbor:"6,keyasint,omitempty"` // where it is offered
	Sticky      bool             `cbor:"7,keyasint,omitempty"` // Queue is the sticky one
	ScheduledAt clock.Nanos      `cbor:"8,keyasint,omitempty"`
	// OriginalScheduledAt is when the first of a row of heartbeating workflow tasks was scheduled.
	OriginalScheduledAt clock.Nanos   `cbor:"9,keyasint,omitempty"`
	StartedAt           clock.Nanos   `cbor:"10,keyasint,omitempty"`
	Timeout             time.Duration `cbor:"11,keyasint,omitempty"` // start-to-close
	RequestID           string        `cbor:"12,keyasint,omitempty"` // of the poll that started it
	Identity            string        `cbor:"13,keyasint,omitempty"` // of the worker that started it
	Dispatched          bool          `cbor:"14,keyasint,omitempty"` // its dispatch row is in the store
	SuggestCAN          bool          `cbor:"15,keyasint,omitempty"`
	SuggestReasons      []int32       `cbor:"16,keyasint,omitempty"`
	HistoryBytes        int64         `cbor:"17,keyasint,omitempty"` // history size told to the worker
}

// Pending tells whether there is a workflow task, scheduled or started.
func (t *WorkflowTask) Pending() bool { return t.ScheduledID != 0 }

// Started tells whether a worker has it.
func (t *WorkflowTask) Started() bool { return t.StartedID != 0 }

// Activity is one pending activity.
type Activity struct {
	ScheduledID  ids.EventID   `cbor:"1,keyasint"`
	ActivityID   string        `cbor:"2,keyasint"`
	Type         string        `cbor:"3,keyasint"`
	Queue        string        `cbor:"4,keyasint"`
	Attempt      int32         `cbor:"5,keyasint"`
	Stamp        int32         `cbor:"6,keyasint,omitempty"` // raised whenever an earlier dispatch must no longer count
	FirstSchedAt clock.Nanos   `cbor:"7,keyasint"`           // schedule-to-close counts from here
	ScheduledAt  clock.Nanos   `cbor:"8,keyasint"`           // this attempt may start from here (in the future while it backs off)
	StartedAt    clock.Nanos   `cbor:"9,keyasint,omitempty"` // zero: not started
	HeartbeatAt  clock.Nanos   `cbor:"10,keyasint,omitempty"`
	S2C          time.Duration `cbor:"11,keyasint,omitempty"` // schedule-to-close, zero: none
	S2S          time.Duration `cbor:"12,keyasint,omitempty"` // schedule-to-start
	STC          time.Duration `cbor:"13,keyasint,omitempty"` // start-to-close
	HB           time.Duration `cbor:"14,keyasint,omitempty"` // heartbeat

	RequestID       string                  `cbor:"15,keyasint,omitempty"` // of the poll that started it
	Identity        string                  `cbor:"16,keyasint,omitempty"` // of the worker that has or last had it
	CancelRequested bool                    `cbor:"17,keyasint,omitempty"`
	CancelEventID   ids.EventID             `cbor:"18,keyasint,omitempty"`
	Dispatched      bool                    `cbor:"19,keyasint,omitempty"` // its dispatch row is in the store
	RetryPolicy     []byte                  `cbor:"20,keyasint,omitempty"` // common.v1.RetryPolicy, encoded
	LastFailure     []byte                  `cbor:"21,keyasint,omitempty"` // failure.v1.Failure, encoded
	Details         []byte                  `cbor:"22,keyasint,omitempty"` // last heartbeat's common.v1.Payloads, encoded
	LastStartedAt   clock.Nanos             `cbor:"23,keyasint,omitempty"`
	LastEndedAt     clock.Nanos             `cbor:"24,keyasint,omitempty"` // when the last attempt ended
	Priority        []byte                  `cbor:"25,keyasint,omitempty"`
	scheduled       *historypb.HistoryEvent // volatile: the scheduled event, or nil when it has to be read from history
}

// Scheduled is the activity's scheduled event if it is at hand, else nil.
func (a *Activity) Scheduled() *historypb.HistoryEvent { return a.scheduled }

// Timer is one pending user timer.
type Timer struct {
	ID        string      `cbor:"1,keyasint"`
	StartedID ids.EventID `cbor:"2,keyasint"`
	FireAt    clock.Nanos `cbor:"3,keyasint"`
}

// Child is one child workflow that has not closed.
type Child struct {
	InitiatedID  ids.EventID     `cbor:"1,keyasint"`
	StartedID    ids.EventID     `cbor:"2,keyasint,omitempty"` // zero: not started yet
	NamespaceID  ids.NamespaceID `cbor:"3,keyasint"`
	Namespace    string          `cbor:"4,keyasint"`
	WorkflowID   ids.WorkflowID  `cbor:"5,keyasint"`
	RunID        ids.RunID       `cbor:"6,keyasint,omitempty"` // first run of the child's chain
	WorkflowType string          `cbor:"7,keyasint"`
	ClosePolicy  int32           `cbor:"8,keyasint"`           // enums.v1.ParentClosePolicy
	Outbox       int64           `cbor:"9,keyasint,omitempty"` // outbox row that starts it
}

// External is one signal or cancel to another workflow that has not been answered.
type External struct {
	InitiatedID ids.EventID     `cbor:"1,keyasint"`
	NamespaceID ids.NamespaceID `cbor:"2,keyasint"`
	Namespace   string          `cbor:"3,keyasint"`
	WorkflowID  ids.WorkflowID  `cbor:"4,keyasint"`
	RunID       ids.RunID       `cbor:"5,keyasint,omitempty"`
	Outbox      int64           `cbor:"6,keyasint"`           // outbox row that carries it
	Control     string          `cbor:"7,keyasint,omitempty"` // opaque to us; the Go SDK tells its commands apart by it
}

// Request is a request ID this run remembers, so that a repeated request is not applied again.
type Request struct {
	ID      string            `cbor:"1,keyasint"`
	Type    enumspb.EventType `cbor:"2,keyasint"`           // type of the event the request made
	EventID ids.EventID       `cbor:"3,keyasint,omitempty"` // zero while the event is buffered
	Buffer  int64             `cbor:"4,keyasint,omitempty"` // arrival number plus one while buffered
	// Signaled: the request brought a signal, too, though Type says that it started the run.
	Signaled bool `cbor:"5,keyasint,omitempty"`
}

// Update is an update a worker has accepted. The request and the outcome stay in history.
type Update struct {
	ID          string      `cbor:"1,keyasint"`
	AcceptedID  ids.EventID `cbor:"2,keyasint,omitempty"`
	CompletedID ids.EventID `cbor:"3,keyasint,omitempty"`
	AdmittedID  ids.EventID `cbor:"4,keyasint,omitempty"` // UpdateAdmitted event written by a reset
}

// Buffered is an event that arrived while a workflow task was started.
type Buffered struct {
	Number int64                   `cbor:"1,keyasint"`
	Event  *historypb.HistoryEvent `cbor:"-"`
	Bytes  []byte                  `cbor:"2,keyasint"` // Event, encoded
	// Started is the encoded ActivityTaskStarted event to be written just before Event; empty for all others.
	Started []byte `cbor:"3,keyasint,omitempty"`
}

// Volatile is what a crash may forget.
type Volatile struct {
	Updates Table[string, *LiveUpdate] // updates somebody waits for or that no worker has accepted yet
	Queries Table[string, *LiveQuery]  // queries that ride on the next workflow task
	NextNum int64                      // numbers admissions, for their order
	// Unsaved: the header or a row is newer than the store's, because a task was started without a write. The run must
	// not leave the cache before it was written.
	Unsaved       bool
	SpecTimeoutAt clock.Nanos // schedule-to-start deadline of a speculative workflow task; zero: none
	Refused       string      // the message that was refused last, whose sender may be trying again
}

// Empty tells whether forgetting the volatile part would lose nothing that somebody waits for.
func (v *Volatile) Empty() bool { return v.Updates.Len() == 0 && v.Queries.Len() == 0 && !v.Unsaved }

// Table is an ordered map whose copies share structure. Copy, then change the copy: the original keeps its content.
type Table[K cmp.Ordered, V any] struct{ m *btree.Map[K, V] }

// Len counts the entries.
func (t Table[K, V]) Len() int {
	if t.m == nil {
		return 0
	}
	return t.m.Len()
}

// Get returns the value under k.
func (t Table[K, V]) Get(k K) (V, bool) {
	if t.m == nil {
		var zero V
		return zero, false
	}
	return t.m.Get(k)
}

// All walks the entries in key order. The table must not be changed during the walk.
func (t Table[K, V]) All(yield func(K, V) bool) {
	if t.m != nil {
		t.m.Scan(yield)
	}
}

// Min is the entry with the smallest key.
func (t Table[K, V]) Min() (K, V, bool) {
	if t.m == nil {
		var k K
		var v V
		return k, v, false
	}
	return t.m.Min()
}

// Max is the entry with the greatest key.
func (t Table[K, V]) Max() (K, V, bool) {
	if t.m == nil {
		var k K
		var v V
		return k, v, false
	}
	return t.m.Max()
}

// own makes t safe to change without touching the table it was copied from.
func (t *Table[K, V]) own() {
	if t.m == nil {
		t.m = btree.NewMap[K, V](16)
		return
	}
	t.m = t.m.Copy()
}

// Command and failure types are named here so that the files of the package agree on them.
type (
	command = commandpb.Command
	failure = failurepb.Failure
)

// Rows are the decoded rows of one run, from which Assemble makes its state.
type Rows struct {
	Activities []*Activity
	Timers     []*Timer
	Children   []*Child
	Cancels    []*External
	Signals    []*External
	Requests   []*Request
	Updates    []*Update
	Buffered   []*Buffered
}

// Assemble completes a state whose header, start, memo and search attributes are set with its other rows, and derives
// what is not stored. It takes ownership of both.
func Assemble(st *State, rows *Rows) *State {
	fill(&st.Activities, rows.Activities, func(a *Activity) ids.EventID { return a.ScheduledID })
	fill(&st.Timers, rows.Timers, func(t *Timer) string { return t.ID })
	fill(&st.Children, rows.Children, func(c *Child) ids.EventID { return c.InitiatedID })
	fill(&st.Cancels, rows.Cancels, func(e *External) ids.EventID { return e.InitiatedID })
	fill(&st.Signals, rows.Signals, func(e *External) ids.EventID { return e.InitiatedID })
	fill(&st.Requests, rows.Requests, func(r *Request) string { return r.ID })
	fill(&st.Updates, rows.Updates, func(u *Update) string { return u.ID })
	fill(&st.Buffered, rows.Buffered, func(b *Buffered) int64 { return b.Number })
	st.derive()
	return st
}

func fill[K cmp.Ordered, V any](t *Table[K, *V], rows []*V, key func(*V) K) {
	if len(rows) == 0 {
		return
	}
	t.own()
	for _, r := range rows {
		t.m.Set(key(r), r)
	}
}
