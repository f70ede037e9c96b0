// Package flow is the life of one workflow run inside a worker: its coroutines, its futures, its commands, its messages.
//
// Invariant: a Run changes only inside Activate and Query, which one goroutine at a time calls. What it does depends on the
// history it was given and on nothing else.
//
// The packages workflow and worker are its two sides: typed functions for the code of workflows, polls and answers for the
// server. What makes it deterministic is coro (order) and replay (history).
package flow

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cespare/xxhash/v2"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/coro"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/internal/replay"
	"github.com/perdure/perdure/metrics"
)

// Rules are the types that tell handlers apart.
var Rules = handlers.Rules{
	Context: reflect.TypeFor[Context](), ReadContext: reflect.TypeFor[ReadContext](), Args: reflect.TypeFor[converter.Args](),
}

// Env is what a worker gives its runs.
type Env struct {
	Namespace string
	TaskQueue string
	Converter converter.Converter
	Failures  failure.Converter
	Log       *slog.Logger
	// ActivityName is the registered name of an activity function.
	ActivityName func(fn any) (string, error)
	// Metrics is nil where nothing is counted.
	Metrics metrics.Handler
	// Interceptors, the outermost first.
	Interceptors []Interceptor
}

// Info says which run this is. It is filled from WorkflowExecutionStarted.
type Info struct {
	Namespace, WorkflowID, RunID, FirstRunID, OriginalRunID string
	Type, TaskQueue                                         string
	Attempt                                                 int32
	CronSchedule                                            string
	ContinuedRunID                                          string
	Parent                                                  *commonpb.WorkflowExecution
	StartTime                                               time.Time
	ExecutionTimeout, RunTimeout, TaskTimeout               time.Duration
	SearchAttributes                                        *commonpb.SearchAttributes
	Memo                                                    *commonpb.Memo
	Header                                                  *commonpb.Header
	LastResult                                              *commonpb.Payloads
	LastFailure                                             error
	HistoryLength                                           int64
	HistorySizeBytes                                        int64
	ContinueAsNewSuggested                                  bool
}

// Run is one workflow run on this worker.
type Run struct {
	Env    *Env
	Info   Info
	def    *handlers.Definition
	object reflect.Value
	sched  coro.Scheduler
	root   *scope
	rng    *rand.Rand

	now        time.Time
	startedID  int64
	replaying  bool
	readOnly   string // why commands are refused, empty when they are not
	began      bool
	closed     bool
	initFailed bool
	failed     error // what makes the workflow task fail

	commands         []*replay.Command
	messages         []*protocolpb.Message
	markers          []*historypb.HistoryEvent // of this activation, replay only
	recordedCommands []*historypb.HistoryEvent // of this activation, replay only

	cancels     map[string]*replay.Command // of this activation, by what they cancel
	inMessages  map[string]bool            // updates of this activation that came as messages
	activities  map[int64]*activity
	timers      map[string]*timer
	children    map[int64]*child
	externals   map[int64]*Future
	locals      []*LocalActivity
	versions    map[string]int
	versionList []string
	lastID      int64
	sideID      int64
	localID     int64
	names       runtimeHandlers
	inbox       []*historypb.WorkflowExecutionSignaledEventAttributes // signals without a handler
	late        []*incoming                                           // updates of this activation without a handler so far
	working     []*working                                            // some may be done
	atWork      int
	main        *Future
	details     string
	lastEvent   int64
	applied     int64 // the last event folded in or bound to a command
	started     *historypb.WorkflowExecutionStartedEventAttributes
}

// New makes a run that has not begun. The definition's type is a pointer to a struct.
func New(env *Env, def *handlers.Definition, workflowID, runID string) *Run {
	r := &Run{
		Env: env, def: def,
		activities: map[int64]*activity{}, timers: map[string]*timer{}, children: map[int64]*child{}, externals: map[int64]*Future{},
		versions: map[string]int{},
	}
	r.Info.Namespace, r.Info.WorkflowID, r.Info.RunID = env.Namespace, workflowID, runID
	r.object = reflect.New(def.Type.Elem())
	r.root = r.newScope(nil)
	r.seed(runID)
	r.main = r.NewFuture()
	return r
}

func (r *Run) seed(runID string) {
	h := xxhash.Sum64String(runID)
	r.rng = rand.New(rand.NewPCG(h, h^0x9e3779b97f4a7c15))
}

// LastEventID is the last event that Activate has seen.
func (r *Run) LastEventID() int64 { return r.lastEvent }

// Applied is the last event that has had its effect. A speculative task that the server drops takes back LastEventID, but
// what it brought besides comes again and has to be left out then.
func (r *Run) Applied() int64 { return r.applied }

// SetLastEventID takes back events that the server dropped again.
func (r *Run) SetLastEventID(id int64) { r.lastEvent = id }

// Closed says whether the run has ended.
func (r *Run) Closed() bool { return r.closed }

// Now is the time of the workflow task.
func (r *Run) Now() time.Time { return r.now }

// Replaying says whether code goes through what it has been through before.
func (r *Run) Replaying() bool { return r.replaying }

// Rand is the run's own chance: the same on each replay.
func (r *Run) Rand() *rand.Rand {
	r.mayCommand("use random numbers")
	return r.rng
}

// Close gives the run up: what its code deferred runs, nothing else.
func (r *Run) Close() {
	r.readOnly = "the run is given up"
	r.sched.Close()
}

// Task is what a poll brought besides history.
type Task struct {
	Messages []*protocolpb.Message
}

// Activate takes the run through one workflow task. An error means that the task has to fail; the run is of no use then.
func (r *Run) Activate(a *replay.Activation, task *Task) (err error) {
	defer r.recovering(&err)
	r.now, r.startedID, r.replaying = a.Time, a.StartedEventID, a.Replay
	r.commands, r.messages, r.markers, r.recordedCommands = r.commands[:0:0], nil, nil, a.Commands
	clear(r.cancels)
	clear(r.inMessages)
	r.Info.HistoryLength = a.StartedEventID
	r.Info.HistorySizeBytes = a.Started.GetHistorySizeBytes()
	r.Info.ContinueAsNewSuggested = a.Started.GetSuggestContinueAsNew()
	updates := r.updatesOf(a, task)
	for _, e := range a.Commands {
		if e.EventType == enumspb.EVENT_TYPE_MARKER_RECORDED {
			r.markers = append(r.markers, e)
		}
	}
	// Messages first, in the order in which they came: their handlers start before what the other events wake.
	for _, e := range a.Events {
		updates = r.deliverUpdates(updates, e.EventId)
		if isMessage(e.EventType) {
			if err := r.apply(e); err != nil {
				return err
			}
		}
	}
	r.deliverUpdates(updates, 1<<62)
	for _, e := range a.Events {
		if !isMessage(e.EventType) {
			if err := r.apply(e); err != nil {
				return err
			}
		}
	}
	r.lastEvent = a.StartedEventID
	if !r.began {
		if r.Info.Type == "" {
			return errors.New("the history does not begin with WorkflowExecutionStarted")
		}
		r.began = true
		r.sched.Go("main", "", r.runMain)
	}
	r.step()
	if a.Replay {
		r.replayLocals()
	}
	if r.failed != nil {
		return r.failed
	}
	if !a.Replay {
		return nil // local activities may add commands before the answer goes out
	}
	return r.Confirm(a.Commands)
}

// isMessage says which events start handlers; the one that begins the run constructs their state.
func isMessage(t enumspb.EventType) bool {
	switch t {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
		return true
	}
	return false
}

// Confirm binds commands to their events.
func (r *Run) Confirm(events []*historypb.HistoryEvent) error {
	kept := r.commands[:0:0]
	for _, c := range r.commands {
		if c.Proto != nil {
			kept = append(kept, c)
		}
	}
	r.commands = nil
	if n := len(events); n > 0 {
		r.applied = max(r.applied, events[n-1].EventId)
		r.lastEvent = max(r.lastEvent, r.applied)
	}
	return replay.Match(kept, events, r.startedID+1)
}

func (r *Run) step() {
	r.sched.Run()
	for r.settleLate() {
		r.sched.Run()
	}
	r.finishIfDone()
}

func (r *Run) recovering(err *error) {
	if p := recover(); p != nil {
		stack := ""
		if inside, ok := p.(*coro.Panic); ok {
			p, stack = inside.Value, inside.Stack
		}
		switch v := p.(type) {
		case *violation:
			*err = v
			return
		case *replay.NondeterminismError:
			*err = v
			return
		}
		if stack == "" {
			stack = string(debug.Stack())
		}
		*err = &failure.PanicError{Value: p, Stack: stack}
	}
}

// Commands are those of the live activation, in order.
func (r *Run) Commands() []*commandpb.Command {
	commands := make([]*commandpb.Command, 0, len(r.commands))
	for _, c := range r.commands {
		if c.Proto != nil {
			commands = append(commands, c.Proto)
		}
	}
	return commands
}

// Messages are what goes with the commands.
func (r *Run) Messages() []*protocolpb.Message { return r.messages }

// Stack is what the coroutines wait for.
func (r *Run) Stack() string {
	var b strings.Builder
	for _, s := range r.sched.Stacks() {
		fmt.Fprintf(&b, "coroutine %s:\n%s\n", s.Name, s.Text)
	}
	return b.String()
}

// violation is misuse that fails the workflow task.
type violation struct{ text string }

func (v *violation) Error() string { return v.text }

func (r *Run) mayCommand(what string) {
	if r.readOnly != "" {
		panic(&violation{fmt.Sprintf("cannot %s: %s", what, r.readOnly)})
	}
}

func (r *Run) mayBlock(what string) {
	r.mayCommand(what)
	if r.sched.Current() == nil {
		panic(&violation{fmt.Sprintf("cannot %s outside of a workflow coroutine", what)})
	}
}

// command adds one. The place in the code is looked up only for an error's sake, so it is the caller's program counter.
func (r *Run) command(c *commandpb.Command, name string, bind func(*historypb.HistoryEvent)) *replay.Command {
	r.mayCommand("issue a command")
	cmd := &replay.Command{Proto: c, Name: name, Bind: bind}
	if r.replaying {
		cmd.Where = where()
	}
	r.commands = append(r.commands, cmd)
	return cmd
}

// nextID names an activity, a timer or a child: the ID of the event that the command makes, as in other SDKs. Where commands
// were taken back, that has been another's name, so it goes on from the last one: no two have one name in the life of a run.
func (r *Run) nextID() string {
	n := int64(0)
	for _, c := range r.commands {
		if c.Proto != nil {
			n++
		}
	}
	r.lastID = max(r.startedID+2+n, r.lastID+1)
	return fmt.Sprint(r.lastID)
}

// where is the first frame outside of the SDK.
func where() string {
	pcs := make([]uintptr, 24)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "perdure/internal/flow.") && !strings.Contains(f.Function, "perdure/workflow.") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return ""
		}
	}
}

func (r *Run) encode(values ...any) *commonpb.Payloads {
	ps, err := converter.ToPayloads(r.Env.Converter, values...)
	if err != nil {
		panic(fmt.Errorf("encode: %w", err))
	}
	return ps
}

func (r *Run) decode(ps *commonpb.Payloads, ptrs ...any) error {
	return converter.FromPayloads(r.Env.Converter, ps, ptrs...)
}

// runMain runs the main method and keeps its outcome.
func (r *Run) runMain() {
	if r.main.ready {
		return // the init step has failed
	}
	h := r.def.Run
	args, err := r.arguments(h, r.input(), "")
	if err != nil {
		panic(fmt.Errorf("decode the arguments of workflow %s: %w", r.Info.Type, err))
	}
	call := &Call{Kind: CallRun, Name: r.Info.Type, Header: r.Info.Header.GetFields(), Args: converter.NewArgs(r.Env.Converter, r.input())}
	err = r.handle(&context{s: r.root}, call, func(ctx Context) (err error) {
		call.Result, err = result(h, h.Func.Call(append([]reflect.Value{r.object, reflect.ValueOf(ctx)}, args...)))
		return err
	})
	r.main.Resolve(call.Result, err)
}

func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
