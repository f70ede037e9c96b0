// Package workflow is all that workflow code may touch.
//
// A workflow is a struct. Its fields are the state of one run; its methods are what can be done with the run, told apart by
// their signatures:
//
//	func (g *Greeting) Run(ctx workflow.Context, in Input) ([]string, error)            // the main method
//	func (g *Greeting) Init(q workflow.ReadContext, in Input) error                     // runs before anything else; optional
//	func (g *Greeting) Submit(ctx workflow.Context, name string)                        // a signal: no result
//	func (g *Greeting) Latest(q workflow.ReadContext) (string, error)                   // a query: can only read
//	func (g *Greeting) SetLanguage(ctx workflow.Context, l Language) (Language, error)  // an update
//	func (g *Greeting) ValidateSetLanguage(q workflow.ReadContext, l Language) error    // its validator
//
// Handlers whose parameters after the context are (name string, args workflow.Args) are dynamic: they get what no other
// handler has the name for.
//
// The code of a run goes through its history again whenever a worker has to rebuild its state, and has to do the same again.
// So it takes time, chance and concurrency from this package. Everything here belongs to the run's coroutines; nothing may be
// used from a goroutine.
//
// A run does not close, nor continue as new, while its handlers are at work; AbandonUnfinished is how to opt out.
package workflow

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/internal/retry"
	"github.com/perdure/perdure/metrics"
)

type (
	// Context is what workflow code runs with. It names the run, the cancellation scope and the coroutine. It must not leave the
	// coroutine that it was given to; Go, WithCancel and WithoutCancel make others.
	Context = flow.Context
	// ReadContext is what queries, validators and init steps get. A Context is one, too.
	ReadContext = flow.ReadContext
	// Args are the raw arguments of a dynamic handler.
	Args = converter.Args
	// None is the result of what has none.
	None = converter.None
	// Info says which run this is: Namespace, WorkflowID, RunID, FirstRunID, Type, TaskQueue, Attempt (from 1), Parent, StartTime,
	// the timeouts, SearchAttributes, Memo, Header, HistoryLength (events), HistorySizeBytes, ContinueAsNewSuggested. It is the run's
	// own and must not be changed.
	Info = flow.Info
	// UpdateInfo names an update: ID and Name.
	UpdateInfo = flow.UpdateInfo
	// RetryPolicy says when a failed attempt is made again: InitialInterval (0: 1 s), BackoffCoefficient (0: 2), MaximumInterval (0: 100
	// times the first), MaximumAttempts (0: no limit; the first counts), NonRetryableErrorTypes (types of application errors).
	RetryPolicy = retry.RetryPolicy
	// ActivityOptions are those of one activity. StartToClose bounds an attempt, ScheduleToClose all attempts and their waits; one of
	// the two is required. ScheduleToStart bounds the wait for a worker, Heartbeat the time between two heartbeats; 0: no bound.
	// TaskQueue: that of the workflow when empty. ID: made by the SDK when empty. Retry: nil is the server's default, which tries
	// without end. WaitForCancellation: when cancelled, the future waits for the activity's own end. Summary: one line for UI and CLI.
	// Priority: 1 is the highest, 0 that of the workflow.
	ActivityOptions = flow.ActivityOptions
	// LocalActivityOptions are those of one local activity. StartToClose bounds an attempt, ScheduleToClose all attempts and their
	// waits; one of the two is required. Retry: nil tries without end, from 1 s, doubling, up to 100 s.
	LocalActivityOptions = flow.LocalActivityOptions
	// ChildOptions are those of a child workflow. WorkflowID, when empty: the run's ID and a number. TaskQueue, when empty: this
	// workflow's. ExecutionTimeout, RunTimeout, TaskTimeout: 0 is the server's default. Retry: nil is none. ParentClose: what
	// becomes of the child when this run closes; zero: it is terminated. IDReuse: what if the ID was used before. WaitForCancellation:
	// when cancelled, Result waits for the child's end. Summary, Details, Priority as in ActivityOptions.
	ChildOptions = flow.ChildOptions
	// ExternalError is why another workflow could not be signalled or cancelled: Verb, WorkflowID, Cause, and NotFound if there is no
	// such open workflow.
	ExternalError = flow.ExternalError
	// ChildAlreadyStartedError says that a workflow with the child's ID is there.
	ChildAlreadyStartedError = flow.ChildAlreadyStartedError
	// Drained is what ContinueAsNew takes: a Context, given by Drain.
	Drained = flow.Drained
	// CancelFunc cancels a scope, for a reason that may be left out. Only the first time counts.
	CancelFunc = flow.CancelFunc
	// ContinueAsNewOptions change the next run: TaskQueue, RunTimeout, TaskTimeout, Retry, where zero keeps what this run has; Memo and
	// SearchAttributes, if not nil, replace this run's.
	ContinueAsNewOptions = flow.ContinueAsNewOptions
	// Interceptor sees what comes into and goes out of workflow code. Its fields are functions, of which nil ones let everything pass:
	// Handle(ctx, call, next) goes around Run and the handlers of signals and updates, Read(ctx, call, next) around queries and
	// validators, Send(ctx, call) comes before a command with a header goes out. It runs in the workflow and has to be deterministic;
	// next may be called once.
	Interceptor = flow.Interceptor
	// Call is one that an interceptor sees: Kind, Name, ID (of the update, the activity or the other workflow), Header (may be changed
	// when it goes out), Args (when it comes in), Result (after next; may be replaced by one of the same type).
	Call = flow.Call
	// CallKind is what a call does.
	CallKind = flow.CallKind
	// Option changes a definition; see Define.
	Option = handlers.Option
)

// The calls that an interceptor sees: those that come in, and those that go out.
const (
	CallRun            = flow.CallRun
	CallSignal         = flow.CallSignal
	CallQuery          = flow.CallQuery
	CallUpdate         = flow.CallUpdate
	CallValidator      = flow.CallValidator
	CallActivity       = flow.CallActivity
	CallLocalActivity  = flow.CallLocalActivity
	CallChild          = flow.CallChild
	CallSignalWorkflow = flow.CallSignalWorkflow
	CallContinueAsNew  = flow.CallContinueAsNew
)

// DefaultVersion is that of code from before a change; see Version.
const DefaultVersion = flow.DefaultVersion

// Define changes how the type W, a pointer to a struct or a contract interface, looks from outside. It is called once, for a
// package-level variable; faults come out when the type is registered or used:
//
//	var _ = workflow.Define[*Greeting](workflow.Rename((*Greeting).Custom, "Custom Signal Name"))
func Define[W any](options ...Option) struct{} {
	handlers.Declare(reflect.TypeFor[W](), options...)
	return struct{}{}
}

// Name sets the workflow type's name; it is that of the Go type otherwise.
func Name(name string) Option { return handlers.Name(name) }

// Rename sets a message's name on the wire; it is that of the method otherwise.
func Rename(method any, name string) Option { return handlers.Rename(method, name) }

// Describe sets the text that UI and CLI show of a message.
func Describe(method any, text string) Option { return handlers.Describe(method, text) }

// AbandonUnfinished lets a run close while this handler is at work.
func AbandonUnfinished(method any) Option { return handlers.AbandonUnfinished(method) }

// AbandonAllUnfinished is AbandonUnfinished for all handlers of the type: a run closes when its main method returns.
func AbandonAllUnfinished() Option { return handlers.AbandonAllUnfinished() }

// Exclude keeps a method that looks like a message from being one.
func Exclude(method any) Option { return handlers.Exclude(method) }

// Implements takes the names of contract C, an interface that W has to implement, so that who sends by the contract is
// understood.
func Implements[C any]() Option { return handlers.Implements(reflect.TypeFor[C]()) }

// Now is the time at which the current workflow task started.
func Now(ctx ReadContext) time.Time { return flow.RunOf(ctx).Now() }

// GetInfo says which run this is.
func GetInfo(ctx ReadContext) *Info { return &flow.RunOf(ctx).Info }

// Logger logs with the run's identity, and not on replay.
func Logger(ctx ReadContext) *slog.Logger { return flow.RunOf(ctx).Log() }

// Metrics counts with the tags of the run's type, and nothing on replay. Durations are to come from Now, not from a clock.
func Metrics(ctx ReadContext) metrics.Handler { return flow.RunOf(ctx).Metrics() }

// IsReplaying says whether code goes through what it has been through. Only for what must not be seen twice, like metrics.
func IsReplaying(ctx ReadContext) bool { return flow.RunOf(ctx).Replaying() }

// NewUUID is a random one that is the same on each replay.
func NewUUID(ctx Context) string {
	r := flow.RunOf(ctx).Rand()
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	return uuid.UUID(b).String()
}

// LastResult decodes the result of the last run that completed, of a workflow that is started again and again by cron or a
// schedule. It is false when there is none.
func LastResult[T any](ctx ReadContext) (v T, ok bool, err error) {
	r := flow.RunOf(ctx)
	if len(r.Info.LastResult.GetPayloads()) == 0 {
		return v, false, nil
	}
	err = converter.FromPayloads(r.Env.Converter, r.Info.LastResult, &v)
	return v, err == nil, err
}

// Rand gives chance that is the same on each replay.
func Rand(ctx Context) *rand.Rand { return flow.RunOf(ctx).Rand() }

// CurrentUpdate is the update whose handler or validator runs with ctx; also in coroutines that the handler started.
func CurrentUpdate(ctx ReadContext) (UpdateInfo, bool) { return flow.CurrentUpdate(ctx) }

// AllHandlersFinished says whether no signal or update handler is at work. It is false inside of one.
func AllHandlersFinished(ctx ReadContext) bool { return flow.RunOf(ctx).AllHandlersFinished() }

// Drain waits until no handler is at work, besides the one that ctx may belong to and those that may be abandoned. What is read
// from the state after it has all that handlers have answered for; so a run hands its state on by
//
//	drained, err := workflow.Drain(ctx)
//	if err != nil {
//		return nil, err
//	}
//	return nil, workflow.ContinueAsNew(drained, (*T).Run, t.state)
//
// It fails with a *failure.CanceledError when ctx is cancelled.
func Drain(ctx Context) (Drained, error) { return flow.Drain(ctx) }

// ShouldContinueAsNew says that the server finds the history long enough.
func ShouldContinueAsNew(ctx ReadContext) bool { return flow.RunOf(ctx).Info.ContinueAsNewSuggested }

// SetCurrentDetails sets the text that UI and CLI show of the run.
func SetCurrentDetails(ctx Context, text string) { flow.RunOf(ctx).SetCurrentDetails(text) }

// SetSignalHandler sets the handler of a signal at run time, or of all that have none with an empty name; nil unsets it.
// Signals that waited for it are handed over in order: to a name's handler at once, to the dynamic one when all coroutines wait, so
// that handlers which are set after it get theirs. An error of the handler ends the run.
func SetSignalHandler(ctx Context, name string, fn func(ctx Context, name string, args Args) error) {
	flow.RunOf(ctx).SetSignalHandler(name, fn)
}

// SetQueryHandler sets the handler of a query at run time, or of all that have none with an empty name; nil unsets it.
func SetQueryHandler(ctx Context, name string, fn func(ctx ReadContext, name string, args Args) (any, error)) {
	flow.RunOf(ctx).SetQueryHandler(name, fn)
}

// SetUpdateHandler sets the handler of an update at run time, or of all that have none with an empty name; nil unsets it. The
// validator may be nil. An update that comes in the same workflow task as the start finds what Run sets before it first waits.
func SetUpdateHandler(ctx Context, name string, fn func(ctx Context, name string, args Args) (any, error), validator func(ctx ReadContext, name string, args Args) error) {
	flow.RunOf(ctx).SetUpdateHandler(name, fn, validator)
}

// UpsertSearchAttributes adds, changes or takes away search attributes of the run: see package searchattribute.
func UpsertSearchAttributes(ctx Context, values map[string]any) {
	flow.UpsertSearchAttributes(ctx, values)
}

// UpsertMemo adds or changes fields of the run's memo.
func UpsertMemo(ctx Context, values map[string]any) { flow.UpsertMemo(ctx, values) }

// Version says by which version of a change the run goes: max when it gets there first, what was recorded on replay,
// DefaultVersion when it had passed before the change.
func Version(ctx Context, change string, min, max int) int {
	return flow.Version(ctx, change, min, max)
}

// SideEffect runs fn once in the life of the run and gives its recorded value from then on.
func SideEffect[T any](ctx Context, fn func() T) (T, error) {
	var v T
	err := flow.SideEffect(ctx, func() any { return fn() }, &v)
	return v, err
}

// Sleep waits for d. It fails with a *failure.CanceledError when ctx is cancelled.
func Sleep(ctx Context, d time.Duration) error { return flow.NewTimer(ctx, d, "").Wait() }

// Await waits until condition holds. It fails with a *failure.CanceledError when ctx is cancelled. The condition must not
// change anything.
func Await(ctx Context, condition func() bool) error { return flow.Await(ctx, condition) }

// AwaitFor is Await that gives up after d: false then.
func AwaitFor(ctx Context, d time.Duration, condition func() bool) (bool, error) {
	return flow.AwaitFor(ctx, d, condition)
}

// Go runs fn as a coroutine.
func Go(ctx Context, fn func(ctx Context)) { flow.Go(ctx, "coroutine", fn) }

// WithCancel makes a scope that cancel, or the cancellation of ctx, cancels.
func WithCancel(ctx Context) (Context, CancelFunc) { return flow.WithCancel(ctx) }

// WithoutCancel makes a scope that the cancellation of ctx does not reach: for cleaning up.
func WithoutCancel(ctx Context) (Context, CancelFunc) { return flow.WithoutCancel(ctx) }

// Done is settled, with a *failure.CanceledError, when ctx is cancelled: for Select.
func Done(ctx Context) Future[None] { return Future[None]{flow.Done(ctx)} }

// IsCanceled says whether ctx is cancelled.
func IsCanceled(ctx Context) bool { return flow.Canceled(ctx) }

// CancelReason is what the scope of ctx was cancelled for; empty while it is not.
func CancelReason(ctx Context) string { return flow.CancelReason(ctx) }

// WithValue is ctx with a value, which scopes below keep. Values are for interceptors and for what they bring.
func WithValue(ctx Context, key, value any) Context { return flow.WithValue(ctx, key, value) }

// WithReadValue is WithValue for the context of a query or validator.
func WithReadValue(ctx ReadContext, key, value any) ReadContext {
	return flow.WithReadValue(ctx, key, value)
}

// Value is what ctx carries under a key, or nil.
func Value(ctx ReadContext, key any) any { return flow.Value(ctx, key) }

// Header is what came with the message whose handler runs with ctx, or with the start of the run. It must not be changed.
func Header(ctx ReadContext) map[string]*commonpb.Payload { return flow.Header(ctx) }
