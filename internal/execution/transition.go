package execution

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Transition is all that follows from one input.
type Transition struct {
	// Next replaces the state. Equal to the old one (same pointer) when nothing changed.
	Next *State
	// Durable: the transition has to be in the store before Answer, Replies and Offers leave. If false, the store may
	// learn of it with the run's next durable transition, or never: losing it is allowed.
	Durable bool
	// Events are appended to history, in order. EventBytes is the same, encoded as the repeated field `events` of
	// history.v1.History: a run's history is the concatenation of all its EventBytes.
	Events     []*historypb.HistoryEvent
	EventBytes []byte
	// Rows changed in Next, beside the header, which changes with every transition that is not a no-op.
	Rows []Row
	// Put and Delete are outbox rows: what a crash must not forget. All of a run's rows can be derived from its state.
	// Delete comes first: a row in both is put anew.
	Put    []Task
	Delete []Task
	// Notes are to be added to the run's ledger.
	Notes []Note
	// Successor is a new run of the same workflow ID, made in the same batch (start, continue-as-new, retry, cron, reset).
	Successor *Transition
	// Current makes Next's run the current run of its workflow ID.
	Current bool
	// Index: what visibility shows of this run has changed.
	Index bool
	// Remove: retention is over (or the run was deleted); remove everything of this run.
	Remove bool

	// Answer and Err go to the caller of the input; both nil: it is parked and will be answered through its Waiter.
	// Err may be set together with a durable Next: an input can fail and leave a trace.
	Answer any
	Err    error
	// Replies go to callers parked earlier. Offers go to task queues.
	Replies []Reply
	Offers  []Offer
	// Marks name rare paths taken, for the simulator's coverage.
	Marks []string
}

// Refused is why the input's message has to be sent again later, if it has: an error with a Refusal.
func (t *Transition) Refused() *Error {
	err := t.Err
	if a, ok := t.Answer.(*StartAnswer); ok && err == nil {
		err = a.UpdateErr
	}
	if e, ok := err.(*Error); ok && e.Refusal != "" {
		return e
	}
	return nil
}

// Reply answers a parked caller.
type Reply struct {
	Waiter Waiter
	Answer any
	Err    error
}

// RowKind numbers the rows of a run in the store. Part of the format.
type RowKind uint8

// Row kinds. RowInfo has an empty ID; so have RowStart, RowMemo and RowSearchAttributes.
const (
	RowInfo RowKind = iota
	RowStart
	RowMemo
	RowSearchAttributes
	RowActivity // ID: scheduled event ID
	RowTimer    // ID: timer ID
	RowChild    // ID: initiated event ID
	RowCancel   // ID: initiated event ID
	RowSignal   // ID: initiated event ID
	RowRequest  // ID: request ID
	RowUpdate   // ID: update ID
	RowBuffered // ID: arrival number
)

// Row names a changed row; its content is in Next, and it is to be deleted if it is not there any more. Number is used
// by kinds with numeric IDs, Text by the others.
type Row struct {
	Kind   RowKind
	Number int64
	Text   string
}

// TaskKind numbers the outbox rows. Part of the format.
type TaskKind uint8

const (
	// TaskWorkflow dispatches a workflow task: Queue, At and Seq are set.
	TaskWorkflow TaskKind = iota + 1
	// TaskActivity dispatches an activity: Queue, At, ScheduledID and Stamp are set.
	TaskActivity
	// TaskTimer wakes the run at At.
	TaskTimer
	// TaskMessage carries Message to another execution: Outbox is set.
	TaskMessage
)

// Task is one outbox row. Kind with the fields named there identify it; the rest is its content.
type Task struct {
	Kind        TaskKind
	Queue       string
	Sticky      bool
	At          clock.Nanos // dispatch: when it was scheduled (orders the backlog); timer: when it rings
	Seq         int64
	ScheduledID ids.EventID
	Stamp       int32
	Outbox      int64
	Priority    int32 // 1 first to 5 last; zero: 3
	Message     *Message
}

// Offer hands a task to a task queue. Volatile: the store knows nothing of it.
type Offer struct {
	Workflow *WorkflowTaskRef
	Activity *ActivityRef
	Task     Task
	Volatile bool
}

// MessageKind numbers what executions say to each other. Part of the format.
type MessageKind uint8

const (
	// MessageStartChild: start Body (StartChildWorkflowExecutionInitiatedEventAttributes); answered with ChildStartResult.
	MessageStartChild MessageKind = iota + 1
	// MessageParentAck: the parent has recorded the child's start.
	MessageParentAck
	// MessageChildClosed: Body is the closing HistoryEvent of the child's chain. Root is the child when a parent that was
	// reset forwards the message to its new run; otherwise the child is the sender.
	MessageChildClosed
	// MessageSignal: Body is SignalExternalWorkflowExecutionInitiatedEventAttributes; answered with ExternalSignalResult.
	MessageSignal
	// MessageCancel: Body is RequestCancelExternalWorkflowExecutionInitiatedEventAttributes; answered with ExternalCancelResult.
	MessageCancel
	// MessageCloseChild: parent close policy Number (enums.v1.ParentClosePolicy) for a child that is still open.
	MessageCloseChild
)

// Message goes from one execution to another, at least once; the receiver tells repeats apart.
type Message struct {
	Kind      MessageKind `cbor:"1,keyasint"`
	To        ids.RunKey  `cbor:"2,keyasint"` // empty run: the current one
	Initiated ids.EventID `cbor:"3,keyasint,omitempty"`
	Body      []byte      `cbor:"4,keyasint,omitempty"`
	Number    int64       `cbor:"5,keyasint,omitempty"`
	Text      string      `cbor:"6,keyasint,omitempty"`
	FromFirst ids.RunID   `cbor:"7,keyasint,omitempty"` // first run of the sender's chain
	ToNS      string      `cbor:"8,keyasint,omitempty"` // name of the target's namespace
	FromNS    string      `cbor:"9,keyasint,omitempty"` // name of the sender's namespace
	Root      ids.RunKey  `cbor:"10,keyasint,omitempty"`
}

// ErrorKind says whose fault an error is and what the caller can do.
type ErrorKind uint8

// Error kinds; the frontend maps them to gRPC codes.
const (
	InvalidArgument ErrorKind = iota + 1
	NotFound
	AlreadyExists
	FailedPrecondition
	ResourceExhausted
	PermissionDenied
	Unavailable // try again; nothing happened
	Aborted
	Stale    // a task reference that no longer matters; never leaves the server
	Internal // a broken invariant
)

// Error is an answer that says no. Detail, when set, is the errordetails message clients look for.
type Error struct {
	Kind    ErrorKind
	Message string
	Detail  proto.Message
	Cause   enumspb.ResourceExhaustedCause // for ResourceExhausted
	Refusal string                         // why messages are refused for now; see Refusal
}

func (e *Error) Error() string { return e.Message }

func errf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
