package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"google.golang.org/grpc"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// These tests show definition faults where a user meets them: when a worker starts, and when a client is used.

// wire is a connection on which nothing is answered, only counted.
type wire struct{ calls atomic.Int64 }

func (w *wire) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	w.calls.Add(1)
	return nil
}

func (w *wire) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	w.calls.Add(1)
	return nil, errors.New("no streams")
}

// unserved is a client whose requests are counted, without the one that Dial makes.
func unserved(t *testing.T) (*client.Client, *wire) {
	t.Helper()
	w := &wire{}
	c, err := client.Dial(t.Context(), client.Options{Conn: w, Logger: slog.New(slog.DiscardHandler)})
	ok(t, err)
	w.calls.Store(0)
	return c, w
}

// faulty checks that a worker does not start, why, and that it asked the server for nothing.
func faulty(t *testing.T, register func(*worker.Worker), want string) {
	t.Helper()
	c, conn := unserved(t)
	w := worker.New(c, "q", worker.Options{})
	register(w)
	err := w.Start()
	if err == nil {
		w.Stop()
		t.Errorf("the worker starts; want %s", want)
		return
	}
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if n := conn.calls.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// flawed checks the only fault of a workflow type, when a worker starts and when a client is to start the workflow.
func flawed[W any](t *testing.T, fault string) {
	t.Helper()
	one := "workflow " + reflect.TypeFor[W]().String() + " has 1 fault:\n  " + fault
	faulty(t, worker.Workflow[W], "there is a fault in what is registered:\n"+one)
	c, conn := unserved(t)
	// A signal goes to the definition before anything else, so it needs none of the type's own methods.
	err := client.Signal0(t.Context(), client.HandleOf[W, any](c, "id", ""), func(W, workflow.Context) {})
	var definition *client.DefinitionError
	if !errors.As(err, &definition) || err.Error() != one {
		t.Errorf("a client says %v; want %s", err, one)
	}
	if n := conn.calls.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// sound checks that a type has no fault.
func sound[W any](t *testing.T) {
	t.Helper()
	c, _ := unserved(t)
	w := worker.New(c, "q", worker.Options{DisableWorkflows: true})
	worker.Workflow[W](w)
	if err := w.Start(); err != nil {
		t.Error(err)
	}
	w.Stop()
}

// basic gives a type the main method it needs.
type basic struct{}

func (basic) Run(workflow.Context) error { return nil }

// Named has messages with and without a name of their own.
type Named struct{ done bool }

func (n *Named) Run(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool { return n.done })
}
func (n *Named) Plain(workflow.Context)                     {}
func (n *Named) Finish(workflow.Context)                    { n.done = true }
func (n *Named) Ask(workflow.ReadContext) (string, error)   { return "asked", nil }
func (n *Named) State(workflow.ReadContext) (string, error) { return "open", nil }
func (n *Named) Change(workflow.Context) error              { return nil }
func (n *Named) Replace(workflow.Context) error             { return nil }

var _ = workflow.Define[*Named](
	workflow.Name("named-type"), workflow.Rename((*Named).Finish, "end it"), workflow.Rename((*Named).State, "the state"),
	workflow.Rename((*Named).Replace, "replace"), workflow.Describe((*Named).State, "what it does"),
)

func TestM206_NameDefaultsToTheMethod(t *testing.T) {
	c, q := server(t), uuid.NewString()
	start(t, c, q, worker.Options{}, worker.Workflow[*Named])
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h, err := client.StartVoid0(ctx, c, (*Named).Run, client.StartOptions{TaskQueue: q})
	ok(t, err)
	d, err := h.Describe(ctx)
	ok(t, err)
	if got := d.WorkflowExecutionInfo.Type.Name; got != "named-type" {
		t.Errorf("the type is %q", got)
	}

	v, err := h.QueryByName(ctx, "__temporal_workflow_metadata")
	ok(t, err)
	var m sdkpb.WorkflowMetadata
	ok(t, v.Get(&m))
	got := m.Definition.GetType()
	for _, list := range [][]*sdkpb.WorkflowInteractionDefinition{m.Definition.GetSignalDefinitions(), m.Definition.GetQueryDefinitions(), m.Definition.GetUpdateDefinitions()} {
		got += "\n"
		for _, i := range list {
			if strings.HasPrefix(i.Name, "__") {
				continue // built in, not of this definition
			}
			got += "[" + i.Name + "]" + i.Description
		}
	}
	if want := "named-type\n[Plain][end it]\n[Ask]Ask() string[the state]what it does\n\nthe state() string\n[Change][replace]"; got != want {
		t.Errorf("metadata\n%s\nwant\n%s", got, want)
	}

	// The names on the wire work by name, and the method goes by what it was renamed to.
	for name, want := range map[string]string{"Ask": "asked", "the state": "open"} {
		v, err := h.QueryByName(ctx, name)
		ok(t, err)
		var s string
		if ok(t, v.Get(&s)); s != want {
			t.Errorf("query %q: %q", name, s)
		}
	}
	if _, err := h.QueryByName(ctx, "State"); err == nil {
		t.Error("a renamed query still answers to its method's name")
	}
	ok(t, client.UpdateVoid0(ctx, h, (*Named).Change))
	ok(t, client.UpdateVoid0(ctx, h, (*Named).Replace))
	ok(t, client.Signal0(ctx, h, (*Named).Plain))
	ok(t, client.Signal0(ctx, h, (*Named).Finish))
	_, err = h.Result(ctx)
	ok(t, err)
	var signals, updates []string
	for e, err := range h.History(ctx) {
		ok(t, err)
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			signals = append(signals, a.SignalName)
		}
		if a := e.GetWorkflowExecutionUpdateAcceptedEventAttributes(); a != nil {
			updates = append(updates, a.AcceptedRequest.Input.Name)
		}
	}
	if s, u := strings.Join(signals, ","), strings.Join(updates, ","); s != "Plain,end it" || u != "Change,replace" {
		t.Errorf("signals %s, updates %s", s, u)
	}
}

type (
	DynamicSignalNamed struct{ basic }
	DynamicQueryNamed  struct{ basic }
	DynamicUpdateNamed struct{ basic }
	DynamicRunNamed    struct{}
)

func (*DynamicSignalNamed) Any(workflow.Context, string, workflow.Args) {}
func (*DynamicQueryNamed) Any(workflow.ReadContext, string, workflow.Args) (int, error) {
	return 0, nil
}
func (*DynamicUpdateNamed) Any(workflow.Context, string, workflow.Args) error { return nil }
func (*DynamicRunNamed) Run(workflow.Context, workflow.Args) error            { return nil }

var (
	_ = workflow.Define[*DynamicSignalNamed](workflow.Rename((*DynamicSignalNamed).Any, "s"))
	_ = workflow.Define[*DynamicQueryNamed](workflow.Rename((*DynamicQueryNamed).Any, "q"))
	_ = workflow.Define[*DynamicUpdateNamed](workflow.Rename((*DynamicUpdateNamed).Any, "u"))
	_ = workflow.Define[*DynamicRunNamed](workflow.Name("w"))
)

func catchAll(context.Context, activity.Args) error          { return nil }
func catchAgain(context.Context, activity.Args) error        { return nil }
func catchSome(context.Context, string, activity.Args) error { return nil }
func work(context.Context) error                             { return nil }

func TestM207_WhatIsDynamicHasNoName(t *testing.T) {
	flawed[*DynamicSignalNamed](t, `method Any: it is dynamic and has a name, "s"; it can have one of the two`)
	flawed[*DynamicQueryNamed](t, `method Any: it is dynamic and has a name, "q"; it can have one of the two`)
	flawed[*DynamicUpdateNamed](t, `method Any: it is dynamic and has a name, "u"; it can have one of the two`)
	flawed[*DynamicRunNamed](t, `it is dynamic and has a name, "w"; it can have one of the two`)
	faulty(t, func(w *worker.Worker) { w.ActivityAs("a", catchAll) },
		"there is a fault in what is registered:\nactivity a: it is dynamic and has a name; it can have one of the two")
}

type (
	SameSignals struct{ basic }
	SameQueries struct{ basic }
	SameUpdates struct{ basic }
	SameAcross  struct{ basic }
)

func (*SameSignals) A(workflow.Context)                  {}
func (*SameSignals) B(workflow.Context)                  {}
func (*SameQueries) A(workflow.ReadContext) (int, error) { return 0, nil }
func (*SameQueries) B(workflow.ReadContext) (int, error) { return 0, nil }
func (*SameUpdates) A(workflow.Context) error            { return nil }
func (*SameUpdates) B(workflow.Context) error            { return nil }
func (*SameAcross) A(workflow.Context)                   {}
func (*SameAcross) B(workflow.ReadContext) (int, error)  { return 0, nil }
func (*SameAcross) C(workflow.Context) error             { return nil }

var (
	_ = workflow.Define[*SameSignals](workflow.Rename((*SameSignals).B, "A"))
	_ = workflow.Define[*SameQueries](workflow.Rename((*SameQueries).B, "A"))
	_ = workflow.Define[*SameUpdates](workflow.Rename((*SameUpdates).A, "x"), workflow.Rename((*SameUpdates).B, "x"))
	_ = workflow.Define[*SameAcross](workflow.Rename((*SameAcross).B, "A"), workflow.Rename((*SameAcross).C, "A"))
)

func TestM208_ANameIsOneHandlersWithinItsKind(t *testing.T) {
	flawed[*SameSignals](t, `methods A and B are both the signal "A"`)
	flawed[*SameQueries](t, `methods A and B are both the query "A"`)
	flawed[*SameUpdates](t, `methods A and B are both the update "x"`)
	sound[*SameAcross](t)
}

type (
	TwiceSignal struct{ basic }
	TwiceQuery  struct{ basic }
	TwiceUpdate struct{ basic }
	AnyType     struct{}
	AnyOther    struct{}
)

func (*TwiceSignal) A(workflow.Context, string, workflow.Args)                 {}
func (*TwiceSignal) B(workflow.Context, string, workflow.Args)                 {}
func (*TwiceQuery) A(workflow.ReadContext, string, workflow.Args) (int, error) { return 0, nil }
func (*TwiceQuery) B(workflow.ReadContext, string, workflow.Args) (int, error) { return 0, nil }
func (*TwiceUpdate) A(workflow.Context, string, workflow.Args) error           { return nil }
func (*TwiceUpdate) B(workflow.Context, string, workflow.Args) (string, error) { return "", nil }
func (*AnyType) Run(workflow.Context, workflow.Args) error                     { return nil }
func (*AnyOther) Run(workflow.Context, workflow.Args) (int, error)             { return 0, nil }

func TestM209_OneOfAKindIsDynamic(t *testing.T) {
	flawed[*TwiceSignal](t, "methods A and B are both dynamic as a signal; there can be one")
	flawed[*TwiceQuery](t, "methods A and B are both dynamic as a query; there can be one")
	flawed[*TwiceUpdate](t, "methods A and B are both dynamic as an update; there can be one")
	faulty(t, func(w *worker.Worker) {
		worker.Workflow[*AnyType](w)
		worker.Workflow[*AnyOther](w)
	}, "there is a fault in what is registered:\nworkflows *worker_test.AnyType and *worker_test.AnyOther are both dynamic; a worker can have one")
	faulty(t, func(w *worker.Worker) {
		w.Activity(catchAll)
		w.Activity(catchAgain)
	}, "there is a fault in what is registered:\nactivity catchAgain: activity catchAll is dynamic, too; a worker can have one")
	sound[*AnyType](t)
}

type (
	ShapelessSignal struct{ basic }
	ShapelessQuery  struct{ basic }
	ShapelessUpdate struct{ basic }
	ShapelessRun    struct{}
)

func (*ShapelessSignal) Any(workflow.Context, workflow.Args) {}
func (*ShapelessQuery) Any(workflow.ReadContext, workflow.Args, string) (int, error) {
	return 0, nil
}
func (*ShapelessUpdate) Any(workflow.Context, string, workflow.Args, int) error { return nil }
func (*ShapelessRun) Run(workflow.Context, string, workflow.Args) error         { return nil }

func TestM210_DynamicHandlersHaveOneShape(t *testing.T) {
	const shape = " has to take (ctx, name string, args workflow.Args)"
	flawed[*ShapelessSignal](t, "method Any: a dynamic signal"+shape)
	flawed[*ShapelessQuery](t, "method Any: a dynamic query"+shape)
	flawed[*ShapelessUpdate](t, "method Any: a dynamic update"+shape)
	flawed[*ShapelessRun](t, "method Run: a dynamic workflow takes workflow.Args and nothing else")
	faulty(t, func(w *worker.Worker) { w.Activity(catchSome) },
		"there is a fault in what is registered:\nactivity catchSome: a dynamic activity has to take (ctx context.Context, args activity.Args)")
}

type (
	ReservedSignal struct{ basic }
	ReservedQuery  struct{ basic }
	ReservedUpdate struct{ basic }
	ReservedName   struct{ basic }
	ReservedStack  struct{ basic }
	StackSignal    struct{ basic }
)

func (*ReservedSignal) A(workflow.Context)                 {}
func (*ReservedQuery) A(workflow.ReadContext) (int, error) { return 0, nil }
func (*ReservedUpdate) A(workflow.Context) error           { return nil }
func (*ReservedStack) A(workflow.ReadContext) (int, error) { return 0, nil }
func (*StackSignal) A(workflow.Context)                    {}

var (
	_ = workflow.Define[*ReservedSignal](workflow.Rename((*ReservedSignal).A, "__temporal_x"))
	_ = workflow.Define[*ReservedQuery](workflow.Rename((*ReservedQuery).A, "__temporal_x"))
	_ = workflow.Define[*ReservedUpdate](workflow.Rename((*ReservedUpdate).A, "__temporal_x"))
	_ = workflow.Define[*ReservedName](workflow.Name("__temporal_x"))
	_ = workflow.Define[*ReservedStack](workflow.Rename((*ReservedStack).A, "__stack_trace"))
	_ = workflow.Define[*StackSignal](workflow.Rename((*StackSignal).A, "__stack_trace"))
)

func TestM211_ReservedNamesAreRefused(t *testing.T) {
	const reserved = `names that begin with __temporal_ are reserved ("__temporal_x")`
	flawed[*ReservedSignal](t, "method A: "+reserved)
	flawed[*ReservedQuery](t, "method A: "+reserved)
	flawed[*ReservedUpdate](t, "method A: "+reserved)
	flawed[*ReservedName](t, "its name: "+reserved)
	flawed[*ReservedStack](t, `method A: names of queries and updates that begin with __ are reserved ("__stack_trace")`)
	faulty(t, func(w *worker.Worker) { w.ActivityAs("__temporal_x", work) },
		"there is a fault in what is registered:\nactivity __temporal_x: names that begin with __temporal_ are reserved")
	sound[*StackSignal](t) // only the query of that name is built in
}

// Many has faults of several sorts.
type Many struct{}

func (*Many) Run(string) error                           { return nil }
func (*Many) Get(workflow.ReadContext)                   {}
func (*Many) Set(workflow.Context) (int, int, error)     { return 0, 0, nil }
func (*Many) One(workflow.Context)                       {}
func (*Many) Other(workflow.Context)                     {}
func (*Many) Any(workflow.Context, workflow.Args)        {}
func (*Many) ValidateNothing(workflow.ReadContext) error { return nil }

var _ = workflow.Define[*Many](workflow.Name("__temporal_many"), workflow.Rename((*Many).Other, "One"))

const manyFaults = `there are 9 faults in what is registered:
workflow *worker_test.Many has 7 faults:
  method Any: a dynamic signal has to take (ctx, name string, args workflow.Args)
  method Get: as a query it has to be (q workflow.ReadContext, args ...) (R, error)
  method Run: its first parameter has to be workflow.Context; it has to be Run(ctx workflow.Context, args ...) (R, error), or only error
  method Set: with results it is an update and has to be (ctx workflow.Context, args ...) (R, error), or only error; a signal has none
  method ValidateNothing: there is no update Nothing for it to validate
  its name: names that begin with __temporal_ are reserved ("__temporal_many")
  methods One and Other are both the signal "One"
workflow *worker_test.SameSignals has 1 fault:
  methods A and B are both the signal "A"
activity work: there are two of this name`

func TestM212_AllFaultsAreReportedAtOnce(t *testing.T) {
	faulty(t, func(w *worker.Worker) {
		worker.Workflow[*Many](w)
		worker.Workflow[*SameSignals](w)
		w.Activity(work)
		w.Activity(work)
	}, manyFaults)
}

type (
	NoRun   struct{ done bool }
	TwoRuns struct {
		basic
		basic2
	}
	NoContextRun struct{}
	ReadRun      struct{}
	OtherInit    struct{}
	FewerInit    struct{ basic }
	SameInit     struct{}
	basic2       struct{}
)

func (basic2) Run(workflow.Context) error                 { return nil }
func (*NoRun) Signal(workflow.Context)                    {}
func (*NoContextRun) Run() error                          { return nil }
func (*ReadRun) Run(workflow.ReadContext) (int, error)    { return 0, nil }
func (*OtherInit) Run(workflow.Context, string) error     { return nil }
func (*OtherInit) Init(workflow.ReadContext, int) error   { return nil }
func (*FewerInit) Init(workflow.ReadContext, string)      {}
func (*SameInit) Run(workflow.Context, string) error      { return nil }
func (*SameInit) Init(workflow.ReadContext, string) error { return nil }

func TestM213_AWorkflowHasOneMainMethodAndAnInitStepThatFits(t *testing.T) {
	const shape = "Run(ctx workflow.Context, args ...) (R, error), or only error"
	flawed[*NoRun](t, "it has no main method; it needs "+shape)
	// A type cannot declare Run twice. Of two that are embedded Go promotes neither.
	flawed[*TwoRuns](t, "method Run: those of the embedded worker_test.basic and worker_test.basic2 hide each other; define it on *worker_test.TwoRuns")
	flawed[*NoContextRun](t, "method Run: its first parameter has to be workflow.Context; it has to be "+shape)
	flawed[*ReadRun](t, "method Run: as a main method it has to be "+shape)
	flawed[*OtherInit](t, "method Init: its parameters are not those of Run")
	flawed[*FewerInit](t, "method Init: its parameters are not those of Run")
	sound[*SameInit](t)
}

type (
	UnequalValidator struct{ basic }
	WrongValidator   struct{ basic }
	QueryValidator   struct{ basic }
	StrayValidator   struct{ basic }
	GoodValidator    struct{ basic }
)

func (*UnequalValidator) Set(workflow.Context, string) error                   { return nil }
func (*UnequalValidator) ValidateSet(workflow.ReadContext, int) error          { return nil }
func (*WrongValidator) Set(workflow.Context, string) error                     { return nil }
func (*WrongValidator) ValidateSet(workflow.ReadContext, string) (bool, error) { return true, nil }
func (*QueryValidator) Get(workflow.ReadContext) (int, error)                  { return 0, nil }
func (*QueryValidator) ValidateGet(workflow.ReadContext) error                 { return nil }
func (*StrayValidator) ValidateSet(workflow.ReadContext) error                 { return nil }
func (*GoodValidator) Set(workflow.Context, string) error                      { return nil }
func (*GoodValidator) ValidateSet(workflow.ReadContext, string) error          { return nil }

// A second validator of an update is a second method of one name, which internal/compilefail shows not to compile.
func TestM214_AValidatorFitsItsUpdate(t *testing.T) {
	flawed[*UnequalValidator](t, "method ValidateSet: its parameters are not those of update Set")
	flawed[*WrongValidator](t, "method ValidateSet: as a validator it has to be (q workflow.ReadContext, args ... as its update) error")
	flawed[*QueryValidator](t, "method ValidateGet: there is no update Get for it to validate")
	flawed[*StrayValidator](t, "method ValidateSet: there is no update Set for it to validate")
	sound[*GoodValidator](t)
}

type (
	SilentQuery    struct{ basic }
	BackwardUpdate struct{ basic }
	TripleUpdate   struct{ basic }
)

func (*SilentQuery) Get(workflow.ReadContext)                {}
func (*BackwardUpdate) Set(string, workflow.Context) error   { return nil }
func (*TripleUpdate) Set(workflow.Context) (int, int, error) { return 0, 0, nil }

func TestM215_QueriesAnswerAndUpdatesBeginWithTheirContext(t *testing.T) {
	flawed[*SilentQuery](t, "method Get: as a query it has to be (q workflow.ReadContext, args ...) (R, error)")
	flawed[*BackwardUpdate](t, "method Set: its context has to be the first parameter")
	flawed[*TripleUpdate](t, "method Set: with results it is an update and has to be (ctx workflow.Context, args ...) (R, error), or only error; a signal has none")
}

type (
	Original struct{ basic }
	Copy     struct{ basic }
)

var _ = workflow.Define[*Copy](workflow.Name("Original"))

// Works has an activity of the name that the function work has when it is registered as Work.
type Works struct{}

func (*Works) Work(context.Context) error { return nil }

func TestM216_ANameIsOneWorkflowAndOneActivity(t *testing.T) {
	faulty(t, func(w *worker.Worker) {
		worker.Workflow[*Original](w)
		worker.Workflow[*Copy](w)
		w.Activity(&Works{})
		w.ActivityAs("Work", work)
	}, "there are 2 faults in what is registered:\nworkflows *worker_test.Original and *worker_test.Copy are both named \"Original\"\nactivity Work: there are two of this name")
	faulty(t, func(w *worker.Worker) {
		worker.Workflow[*Original](w)
		worker.Workflow[*Original](w)
	}, "there is a fault in what is registered:\nworkflows *worker_test.Original and *worker_test.Original are both named \"Original\"")
}

// Strict has methods that fit the type of a client call but are not what the call is for.
type Strict struct{ basic }

func (*Strict) Tell(workflow.Context)                                                {}
func (*Strict) Set(workflow.Context, string) (string, error)                         { return "", nil }
func (*Strict) ValidateSet(workflow.ReadContext, string) error                       { return nil }
func (*Strict) Hidden(workflow.Context)                                              {}
func (*Strict) HiddenQuery(workflow.ReadContext) (int, error)                        { return 0, nil }
func (*Strict) HiddenUpdate(workflow.Context) error                                  { return nil }
func (*Strict) AnySignal(workflow.Context, string, workflow.Args)                    {}
func (*Strict) AnyQuery(workflow.ReadContext, string, workflow.Args) (string, error) { return "", nil }
func (*Strict) AnyUpdate(workflow.Context, string, workflow.Args) (string, error)    { return "", nil }

var _ = workflow.Define[*Strict](workflow.Exclude((*Strict).Hidden), workflow.Exclude((*Strict).HiddenQuery), workflow.Exclude((*Strict).HiddenUpdate))

func plain(*Strict, workflow.Context) {}

// unsent checks that calls are refused as usage errors, each with its text, and that no request is made.
func unsent(t *testing.T, calls func(c *client.Client, h *client.Handle[*Strict, client.Any]) []refusal) {
	t.Helper()
	c, conn := unserved(t)
	for _, r := range calls(c, client.HandleOf[*Strict, client.Any](c, "id", "")) {
		var usage *client.UsageError
		if !errors.As(r.err, &usage) || usage.Text != r.want {
			t.Errorf("got %v, want %s", r.err, r.want)
		}
	}
	if n := conn.calls.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
	// What is counted is what goes out, so a proper call has to be.
	ok(t, client.Signal0(t.Context(), client.HandleOf[*Strict, client.Any](c, "id", ""), (*Strict).Tell))
	if n := conn.calls.Load(); n != 1 {
		t.Errorf("a proper signal is %d requests", n)
	}
}

type refusal struct {
	err  error
	want string
}

func second[T any](_ T, err error) error { return err }

func TestM217_AMethodOfAnotherKindIsNotSent(t *testing.T) {
	const s = "(*worker_test.Strict)."
	ctx := t.Context()
	o := client.StartOptions{TaskQueue: "q", IDConflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING}
	raw := workflow.Args{}
	unsent(t, func(c *client.Client, h *client.Handle[*Strict, client.Any]) []refusal {
		return []refusal{
			// Run and an update have the same type; the compiler finds the other mistakes, see internal/compilefail.
			{client.UpdateVoid0(ctx, h, (*Strict).Run), s + "Run is a main method; it cannot be used as an update"},
			{second(client.Start(ctx, c, (*Strict).Set, "x", o)), s + "Set is an update; it cannot be used as a main method"},
			{second(client.SignalWithStart0(ctx, c, client.WithStart((*Strict).Set, "x", o), (*Strict).Tell)), s + "Set is an update; it cannot be used as a main method"},
			{client.Signal2(ctx, h, (*Strict).AnySignal, "n", raw), s + "AnySignal is the dynamic signal; send by name what it is to get"},
			{second(client.Query2(ctx, h, (*Strict).AnyQuery, "n", raw)), s + "AnyQuery is the dynamic query; send by name what it is to get"},
			{second(client.Update2(ctx, h, (*Strict).AnyUpdate, "n", raw)), s + "AnyUpdate is the dynamic update; send by name what it is to get"},
			{second(client.StartUpdate2(ctx, h, (*Strict).AnyUpdate, "n", raw, client.UpdateOptions{WaitFor: client.Accepted})), s + "AnyUpdate is the dynamic update; send by name what it is to get"},
			{second(client.SignalWithStart2(ctx, c, client.WithStartVoid0((*Strict).Run, o), (*Strict).AnySignal, "n", raw)), s + "AnySignal is the dynamic signal; send by name what it is to get"},
			{second(client.UpdateWithStart2(ctx, c, client.WithStartVoid0((*Strict).Run, o), (*Strict).AnyUpdate, "n", raw)), s + "AnyUpdate is the dynamic update; send by name what it is to get"},
			{second(client.StartVoid(ctx, c, (*AnyType).Run, raw, o)), "workflow *worker_test.AnyType is dynamic; start by name what it is to run as"},
		}
	})
}

// Anonymous is told to rename a function that has no name.
type Anonymous struct{ basic }

func (*Anonymous) Tell(workflow.Context) {}

var (
	namelessTell = func(*Anonymous, workflow.Context) {}
	namelessWork = func(context.Context) error { return nil }
)

// funcName is what the runtime calls a function that has no name: it counts them through all files of a package.
func funcName(fn any) string {
	return path.Base(runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name())
}

var _ = workflow.Define[*Anonymous](workflow.Rename(namelessTell, "Tell"))

func TestM218_OnlyMethodsOfTheDefinitionAreMessages(t *testing.T) {
	const s = "(*worker_test.Strict)."
	ctx := t.Context()
	anonymous := func(*Strict, workflow.Context) {}
	unsent(t, func(_ *client.Client, h *client.Handle[*Strict, client.Any]) []refusal {
		return []refusal{
			{client.Signal0(ctx, h, (*Strict).Hidden), s + "Hidden is excluded from the messages of the workflow"},
			{second(client.Query(ctx, h, (*Strict).HiddenQuery)), s + "HiddenQuery is excluded from the messages of the workflow"},
			{client.UpdateVoid0(ctx, h, (*Strict).HiddenUpdate), s + "HiddenUpdate is excluded from the messages of the workflow"},
			{client.Signal0(ctx, h, plain), "worker_test.plain is not a method of *worker_test.Strict"},
			{client.Signal0(ctx, h, anonymous), funcName(anonymous) + " is not a method of *worker_test.Strict"},
			{client.Signal0(ctx, h, (func(*Strict, workflow.Context))(nil)), "func(*worker_test.Strict, flow.Context) is not a method expression"},
		}
	})
	flawed[*Anonymous](t, "Rename: "+funcName(namelessTell)+" is not a method of *worker_test.Anonymous")
	full := runtime.FuncForPC(reflect.ValueOf(namelessWork).Pointer()).Name()
	faulty(t, func(w *worker.Worker) { w.Activity(namelessWork) },
		"there is a fault in what is registered:\nactivity "+full+" is anonymous; register it with a name")
}

// Below and Above are a workflow and one that embeds it.
type (
	Below     struct{ got []string }
	Above     struct{ Below }
	BothNamed struct{ Below }
	BothBelow struct{ Below }
)

func (b *Below) Run(ctx workflow.Context) ([]string, error) {
	return b.got, workflow.Await(ctx, func() bool { return len(b.got) == 2 })
}
func (b *Below) Submit(workflow.Context) { b.got = append(b.got, "below") }
func (b *Below) Kept(workflow.Context)   { b.got = append(b.got, "kept") }
func (a *Above) Submit(workflow.Context) { a.got = append(a.got, "above") }
func (a *Above) Run(ctx workflow.Context) ([]string, error) {
	_, err := a.Below.Run(ctx)
	return a.got, err
}
func (*BothNamed) Again(workflow.Context)  {}
func (*BothBelow) Submit(workflow.Context) {}

var (
	_ = workflow.Define[*BothNamed](workflow.Rename((*BothNamed).Again, "Submit"))
	_ = workflow.Define[*BothBelow](workflow.Rename((*Below).Submit, "Submit"))
)

func TestM219_TheOuterOneOfShadowedHandlersIsCalled(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q := server(t), uuid.NewString()
		start(t, c, q, o, worker.Workflow[*Above])
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		h := must[*client.Handle[*Above, []string]](t)(client.Start0(ctx, c, (*Above).Run, client.StartOptions{TaskQueue: q}))
		ok(t, client.Signal0(ctx, h, (*Above).Submit))
		ok(t, client.Signal0(ctx, h, (*Above).Kept))
		if got := strings.Join(must[[]string](t)(h.Result(ctx)), ","); got != "above,kept" {
			t.Errorf("got %s", got)
		}
	})
	// Both as messages: under one name they are one too many, and what is shadowed is no method of the outer type any more.
	flawed[*BothNamed](t, `methods Again and Submit are both the signal "Submit"`)
	flawed[*BothBelow](t, "Rename: worker_test.(*Below).Submit is not a method of *worker_test.BothBelow")
}
