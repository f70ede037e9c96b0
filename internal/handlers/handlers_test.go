package handlers_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"strings"
	"testing"

	"github.com/perdure/perdure/internal/handlers"
)

// The contexts and arguments of these tests. What is under test gets such types from outside and knows none by itself.
type (
	Read interface{ read() }
	Ctx  interface {
		Read
		write()
	}
	Args struct{ _ int }
)

var rules = handlers.Rules{Context: reflect.TypeFor[Ctx](), ReadContext: reflect.TypeFor[Read](), Args: reflect.TypeFor[Args]()}

func define[W any](t *testing.T) *handlers.Definition {
	t.Helper()
	d, err := handlers.Of(reflect.TypeFor[W](), rules)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func faults[W any](t *testing.T) []string {
	t.Helper()
	_, err := handlers.Of(reflect.TypeFor[W](), rules)
	var e *handlers.DefinitionError
	if !errors.As(err, &e) {
		t.Fatalf("%s: %v is not a definition error", reflect.TypeFor[W](), err)
	}
	return e.Faults
}

// only checks that a type has exactly one fault, and what it says.
func only[W any](t *testing.T, want string) {
	t.Helper()
	if got := faults[W](t); len(got) != 1 || got[0] != want {
		t.Errorf("%s:\n got %q\nwant %q", reflect.TypeFor[W](), got, want)
	}
}

func declare[W any](options ...handlers.Option) struct{} {
	handlers.Declare(reflect.TypeFor[W](), options...)
	return struct{}{}
}

type main struct{}

func (main) Run(Ctx) error { return nil }

type Greeting struct{ main }

func (*Greeting) Init(Read) error                            { return nil }
func (*Greeting) Submit(Ctx, string)                         {}
func (*Greeting) Two(Ctx, string, int)                       {}
func (*Greeting) Custom(Ctx)                                 {}
func (*Greeting) Latest(Read) (string, error)                { return "", nil }
func (*Greeting) Validated(Read) (bool, error)               { return true, nil }
func (*Greeting) Set(Ctx, string) (int, error)               { return 0, nil }
func (*Greeting) Approve(Ctx, string) error                  { return nil }
func (*Greeting) ValidateApprove(Read, string) error         { return nil }
func (*Greeting) AnySignal(Ctx, string, Args)                {}
func (*Greeting) AnyQuery(Read, string, Args) (any, error)   { return nil, nil }
func (*Greeting) AnyUpdate(Ctx, string, Args) (any, error)   { return nil, nil }
func (*Greeting) ValidateAnyUpdate(Read, string, Args) error { return nil }
func (*Greeting) Hidden(Ctx)                                 {}
func (*Greeting) Ordinary(string) int                        { return 0 }
func (*Greeting) Nothing()                                   {}

var _ = declare[*Greeting](
	handlers.Rename((*Greeting).Custom, "Custom Signal Name"), handlers.Describe((*Greeting).Latest, "what came last"),
	handlers.AbandonUnfinished((*Greeting).Submit), handlers.Exclude((*Greeting).Hidden),
)

func TestSignaturesAloneTellHandlersApart(t *testing.T) {
	d := define[*Greeting](t)
	names := func(m map[string]*handlers.Handler) string {
		var all []string
		for _, n := range []string{"Submit", "Two", "Custom Signal Name", "Latest", "Validated", "Set", "Approve", "Hidden", "Ordinary"} {
			if m[n] != nil {
				all = append(all, n)
			}
		}
		if len(all) != len(m) {
			t.Errorf("%d handlers, of which %q are expected", len(m), all)
		}
		return strings.Join(all, ",")
	}
	for _, c := range []struct{ got, want string }{
		{d.Name, "Greeting"}, {d.Run.Method, "Run"}, {d.Init.Method, "Init"},
		{names(d.Signals), "Submit,Two,Custom Signal Name"}, {names(d.Queries), "Latest,Validated"}, {names(d.Updates), "Set,Approve"},
		{d.DynamicSignal.Method, "AnySignal"}, {d.DynamicQuery.Method, "AnyQuery"}, {d.DynamicUpdate.Method, "AnyUpdate"},
		{d.Updates["Approve"].Validator.Method, "ValidateApprove"}, {d.DynamicUpdate.Validator.Method, "ValidateAnyUpdate"},
		{d.Queries["Latest"].Description, "what came last"}, {d.Signals["Custom Signal Name"].Method, "Custom"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if set := d.Updates["Set"]; set.Result != reflect.TypeFor[int]() || !set.HasError || set.Validator != nil || len(set.Params) != 1 {
		t.Errorf("update Set is %+v", set)
	}
	if approve := d.Updates["Approve"]; approve.Result != nil || !approve.HasError {
		t.Errorf("update Approve is %+v", approve)
	}
	if two := d.Signals["Two"]; len(two.Params) != 2 || two.Params[1] != reflect.TypeFor[int]() || two.AbandonUnfinished || !d.Signals["Submit"].AbandonUnfinished {
		t.Errorf("signal Two is %+v", two)
	}
	if d.Dynamic || d.DynamicSignal.Name != "" || d.DynamicSignal.Params != nil {
		t.Errorf("dynamic: %t, %+v", d.Dynamic, d.DynamicSignal)
	}
}

type Everything struct{}

func (*Everything) Run(Read) int                                 { return 0 }
func (*Everything) Init(Ctx) error                               { return nil }
func (*Everything) Variadic(Ctx, ...string)                      {}
func (*Everything) Late(string, Ctx)                             {}
func (*Everything) TwoContexts(Ctx, Read)                        {}
func (*Everything) Channel(Ctx, chan int)                        {}
func (*Everything) RawElsewhere(Ctx, Args)                       {}
func (*Everything) NamedName(Ctx, named, Args)                   {}
func (*Everything) RawResult(Ctx) (Args, error)                  { return Args{}, nil }
func (*Everything) NoResult(Read)                                {}
func (*Everything) NoError(Read) int                             { return 0 }
func (*Everything) FuncResult(Read) (func(), error)              { return nil, nil }
func (*Everything) ChanResult(Ctx) (chan int, error)             { return nil, nil }
func (*Everything) Returning(Ctx) int                            { return 0 }
func (*Everything) Three(Ctx) (int, int, error)                  { return 0, 0, nil }
func (*Everything) ValidateThree(Read) error                     { return nil } // says nothing: its update says it
func (*Everything) ValidateNothing(Read) error                   { return nil }
func (*Everything) Update(Ctx, string) error                     { return nil }
func (*Everything) ValidateUpdate(Read, int) error               { return nil }
func (*Everything) Other(Ctx, string) error                      { return nil }
func (*Everything) ValidateOther(Read, string) (bool, error)     { return true, nil }
func (*Everything) One(Ctx)                                      {}
func (*Everything) Uno(Ctx)                                      {}
func (*Everything) Empty(Ctx)                                    {}
func (*Everything) Dynamic(Ctx, string, Args)                    {}
func (*Everything) Dynamic2(Ctx, string, Args)                   {}
func (*Everything) DynamicQuery(Read, string, Args) (int, error) { return 0, nil }
func (*Everything) Reserved(Ctx)                                 {}
func (*Everything) Stack(Read) (int, error)                      { return 0, nil }
func (*Everything) Plain(int)                                    {}
func (*Everything) Out(Ctx)                                      {}

type named string

func somewhereElse(*Everything, Ctx) {}

var _ = declare[*Everything](
	handlers.Rename((*Everything).Uno, "One"), handlers.Rename((*Everything).Empty, ""), handlers.Rename((*Everything).DynamicQuery, "q"),
	handlers.Rename((*Everything).Reserved, "__temporal_x"), handlers.Rename((*Everything).Stack, "__stack_trace"),
	handlers.Rename((*Everything).Plain, "p"), handlers.Rename((*Greeting).Submit, "x"), handlers.Describe(func(*Everything, Ctx) {}, ""),
	handlers.Describe(somewhereElse, ""), handlers.Describe("Uno", ""), handlers.AbandonUnfinished((*Everything).Out), handlers.Exclude((*Everything).Out),
)
var _ = declare[*Everything](handlers.Name("__temporal_y"))

const allFaults = `workflow *handlers_test.Everything has 32 faults:
  it is declared 2 times
  Rename: handlers_test.(*Greeting).Submit is not a method of *handlers_test.Everything
  Describe: handlers_test.init.func1 is not a method of *handlers_test.Everything
  Describe: handlers_test.somewhereElse is not a method of *handlers_test.Everything
  Describe: string is not a method expression
  method ChanResult: a chan cannot be the result of an update
  method Channel: a chan cannot be an argument
  method DynamicQuery: it is dynamic and has a name, "q"; it can have one of the two
  method FuncResult: a func cannot be the result of a query
  method Init: it has to be Init(q workflow.ReadContext, args ... as Run) error, or without a result
  method Late: its context has to be the first parameter
  method NamedName: a dynamic signal has to take (ctx, name string, args workflow.Args)
  method NoError: as a query it has to be (q workflow.ReadContext, args ...) (R, error)
  method NoResult: as a query it has to be (q workflow.ReadContext, args ...) (R, error)
  method RawElsewhere: a dynamic signal has to take (ctx, name string, args workflow.Args)
  method RawResult: workflow.Args are what a dynamic handler takes; they cannot be a result
  method Returning: with results it is an update and has to be (ctx workflow.Context, args ...) (R, error), or only error; a signal has none
  method Run: as a main method it has to be Run(ctx workflow.Context, args ...) (R, error), or only error
  method Three: with results it is an update and has to be (ctx workflow.Context, args ...) (R, error), or only error; a signal has none
  method TwoContexts: it has more than one context
  method ValidateOther: as a validator it has to be (q workflow.ReadContext, args ... as its update) error
  method Variadic: it is variadic; take a slice, or better a struct
  method ValidateNothing: there is no update Nothing for it to validate
  method ValidateUpdate: its parameters are not those of update Update
  its name: names that begin with __temporal_ are reserved ("__temporal_y")
  methods Dynamic and Dynamic2 are both dynamic as a signal; there can be one
  method Empty: the name is empty
  method Reserved: names that begin with __temporal_ are reserved ("__temporal_x")
  method Stack: names of queries and updates that begin with __ are reserved ("__stack_trace")
  methods One and Uno are both the signal "One"
  Rename: method Plain is no signal, query or update
  AbandonUnfinished: method Out is excluded
`

func TestM212_AllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := handlers.Of(reflect.TypeFor[*Everything](), rules)
	if err == nil {
		t.Fatal("no fault")
	}
	if got := err.Error() + "\n"; got != allFaults {
		t.Errorf("got\n%s\nwant\n%s", got, allFaults)
	}
	if _, again := handlers.Of(reflect.TypeFor[*Everything](), rules); again != err {
		t.Errorf("the second time it is %v", again)
	}
}

// compiles says whether Go takes these declarations beside the types of this file.
func compiles(t *testing.T, declarations string) bool {
	t.Helper()
	src := "package p\ntype Read interface{ read() }\ntype Ctx interface{ Read; write() }\ntype G struct{}\n" + declarations
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&types.Config{}).Check("p", set, []*ast.File{file}, nil)
	return err == nil
}

type (
	TwoSignals  struct{ main }
	TwoQueries  struct{ main }
	TwoUpdates  struct{ main }
	AcrossKinds struct{ main }
)

func (*TwoSignals) A(Ctx)                 {}
func (*TwoSignals) B(Ctx)                 {}
func (*TwoQueries) A(Read) (int, error)   { return 0, nil }
func (*TwoQueries) B(Read) (int, error)   { return 0, nil }
func (*TwoUpdates) A(Ctx) error           { return nil }
func (*TwoUpdates) B(Ctx) error           { return nil }
func (*AcrossKinds) A(Ctx)                {}
func (*AcrossKinds) B(Read) (int, error)  { return 0, nil }
func (*AcrossKinds) C(Ctx) error          { return nil }
func (*AcrossKinds) ValidateC(Read) error { return nil }

var (
	_ = declare[*TwoSignals](handlers.Rename((*TwoSignals).B, "A"))
	_ = declare[*TwoQueries](handlers.Rename((*TwoQueries).B, "A"))
	_ = declare[*TwoUpdates](handlers.Rename((*TwoUpdates).B, "A"))
	_ = declare[*AcrossKinds](handlers.Rename((*AcrossKinds).B, "A"), handlers.Rename((*AcrossKinds).C, "A"))
)

func TestM208_ANameIsOneHandlersWithinItsKind(t *testing.T) {
	only[*TwoSignals](t, `methods A and B are both the signal "A"`)
	only[*TwoQueries](t, `methods A and B are both the query "A"`)
	only[*TwoUpdates](t, `methods A and B are both the update "A"`)
	d := define[*AcrossKinds](t)
	if d.Signals["A"].Method != "A" || d.Queries["A"].Method != "B" || d.Updates["A"].Method != "C" || d.Updates["A"].Validator == nil {
		t.Errorf("signals %v, queries %v, updates %v", d.Signals, d.Queries, d.Updates)
	}
}

type (
	NoName     struct{ main }
	NoArgs     struct{ main }
	MoreArgs   struct{ main }
	WrongName  struct{ main }
	DynamicRun struct{}
)

func (*NoName) Any(Ctx, Args)                       {}
func (*NoArgs) Any(Read, Args, string) (int, error) { return 0, nil }
func (*MoreArgs) Any(Ctx, string, Args, int) error  { return nil }
func (*WrongName) Any(Ctx, named, Args)             {}
func (*DynamicRun) Run(Ctx, string, Args) error     { return nil }

func TestM210_DynamicHandlersHaveOneShape(t *testing.T) {
	only[*NoName](t, "method Any: a dynamic signal has to take (ctx, name string, args workflow.Args)")
	only[*NoArgs](t, "method Any: a dynamic query has to take (ctx, name string, args workflow.Args)")
	only[*MoreArgs](t, "method Any: a dynamic update has to take (ctx, name string, args workflow.Args)")
	only[*WrongName](t, "method Any: a dynamic signal has to take (ctx, name string, args workflow.Args)")
	only[*DynamicRun](t, "method Run: a dynamic workflow takes workflow.Args and nothing else")
}

type (
	NoRun       struct{}
	NoContext   struct{}
	NoParameter struct{}
	OtherInit   struct{}
	FewerInit   struct{}
	InitFirst   struct{ main }
)

func (*NoContext) Run(string) error      { return nil }
func (*NoParameter) Run() error          { return nil }
func (*OtherInit) Run(Ctx, string) error { return nil }
func (*OtherInit) Init(Read, int)        {}
func (*FewerInit) Run(Ctx, string) error { return nil }
func (*FewerInit) Init(Read)             {}
func (*InitFirst) Init(string)           {}

func TestM213_AWorkflowHasOneMainMethodAndAnInitStepThatFits(t *testing.T) {
	const shape = "Run(ctx workflow.Context, args ...) (R, error), or only error"
	only[*NoRun](t, "it has no main method; it needs "+shape)
	only[*NoContext](t, "method Run: its first parameter has to be workflow.Context; it has to be "+shape)
	only[*NoParameter](t, "method Run: its first parameter has to be workflow.Context; it has to be "+shape)
	only[*OtherInit](t, "method Init: its parameters are not those of Run")
	only[*FewerInit](t, "method Init: its parameters are not those of Run")
	only[*InitFirst](t, "method Init: its first parameter has to be workflow.ReadContext; it has to be Init(q workflow.ReadContext, args ... as Run) error, or without a result")
	const run = "func (*G) Run(Ctx) error { return nil }\n"
	if !compiles(t, run) || compiles(t, run+run) {
		t.Error("two main methods are the compiler's to find")
	}
}

type (
	OtherParams struct{ main }
	WrongResult struct{ main }
	OnQuery     struct{ main }
	OnNothing   struct{ main }
	NotDynamic  struct{ main }
)

func (*OtherParams) Set(Ctx, string) error          { return nil }
func (*OtherParams) ValidateSet(Read, int) error    { return nil }
func (*WrongResult) Set(Ctx) error                  { return nil }
func (*WrongResult) ValidateSet(Read) (bool, error) { return true, nil }
func (*OnQuery) Get(Read) (int, error)              { return 0, nil }
func (*OnQuery) ValidateGet(Read) error             { return nil }
func (*OnNothing) ValidateGet(Read) error           { return nil }
func (*NotDynamic) Any(Ctx, string, Args) error     { return nil }
func (*NotDynamic) ValidateAny(Read, string) error  { return nil }

func TestM214_AValidatorFitsItsUpdate(t *testing.T) {
	only[*OtherParams](t, "method ValidateSet: its parameters are not those of update Set")
	only[*NotDynamic](t, "method ValidateAny: its parameters are not those of update Any")
	only[*WrongResult](t, "method ValidateSet: as a validator it has to be (q workflow.ReadContext, args ... as its update) error")
	only[*OnQuery](t, "method ValidateGet: there is no update Get for it to validate")
	only[*OnNothing](t, "method ValidateGet: there is no update Get for it to validate")
	const validator = "func (*G) ValidateSet(Read) error { return nil }\n"
	if !compiles(t, validator) || compiles(t, validator+validator) {
		t.Error("a second validator is the compiler's to find")
	}
}

type (
	Silent   struct{ main }
	Backward struct{ main }
	Triple   struct{ main }
)

func (*Silent) Get(Read)                  {}
func (*Backward) Set(string, Ctx) error   { return nil }
func (*Triple) Set(Ctx) (int, int, error) { return 0, 0, nil }

func TestM215_QueriesAnswerAndUpdatesBeginWithTheirContext(t *testing.T) {
	only[*Silent](t, "method Get: as a query it has to be (q workflow.ReadContext, args ...) (R, error)")
	only[*Backward](t, "method Set: its context has to be the first parameter")
	only[*Triple](t, "method Set: with results it is an update and has to be (ctx workflow.Context, args ...) (R, error), or only error; a signal has none")
}

func refused(t *testing.T, d *handlers.Definition, kind handlers.Kind, method any, want string) {
	t.Helper()
	_, err := d.Lookup(kind, method)
	var usage *handlers.UsageError
	if !errors.As(err, &usage) || usage.Text != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func Submit(*Greeting, Ctx, string) {}

func TestAMethodIsFoundByItsExpression(t *testing.T) {
	d := define[*Greeting](t)
	for _, c := range []struct {
		kind   handlers.Kind
		method any
		name   string
	}{
		{handlers.Run, (*Greeting).Run, "Run"}, {handlers.Signal, (*Greeting).Submit, "Submit"}, {handlers.Signal, (*Greeting).Custom, "Custom Signal Name"},
		{handlers.Query, (*Greeting).Latest, "Latest"}, {handlers.Update, (*Greeting).Set, "Set"},
	} {
		if h, err := d.Lookup(c.kind, c.method); err != nil || h.Name != c.name || h.Kind != c.kind {
			t.Errorf("%s: %+v, %v", c.name, h, err)
		}
	}
	const g = "(*handlers_test.Greeting)."
	refused(t, d, handlers.Signal, (*Greeting).Latest, g+"Latest is a query; it cannot be used as a signal")
	refused(t, d, handlers.Query, (*Greeting).Set, g+"Set is an update; it cannot be used as a query")
	refused(t, d, handlers.Update, (*Greeting).ValidateApprove, g+"ValidateApprove is a validator; it cannot be used as an update")
	refused(t, d, handlers.Signal, (*Greeting).AnySignal, g+"AnySignal is the dynamic signal; send by name what it is to get")
	refused(t, d, handlers.Signal, (*Greeting).Hidden, g+"Hidden is excluded from the messages of the workflow")
	refused(t, d, handlers.Signal, (*Greeting).Ordinary, g+"Ordinary is not a message of the workflow")
	refused(t, d, handlers.Signal, func(*Greeting, Ctx, string) {}, "handlers_test.TestAMethodIsFoundByItsExpression.func1 is not a method of *handlers_test.Greeting")
	refused(t, d, handlers.Signal, Submit, "handlers_test.Submit is not a method of *handlers_test.Greeting")
	refused(t, d, handlers.Signal, new(Greeting).Submit, "handlers_test.(*Greeting).Submit-fm is not a method of *handlers_test.Greeting")
	refused(t, d, handlers.Signal, (*TwoSignals).A, "handlers_test.(*TwoSignals).A is not a method of *handlers_test.Greeting")
	refused(t, d, handlers.Signal, (func(*Greeting, Ctx))(nil), "func(*handlers_test.Greeting, handlers_test.Ctx) is not a method expression")
	refused(t, d, handlers.Signal, nil, "<nil> is not a method expression")
}

type anon struct{ main }

var _ = declare[*anon](handlers.Rename(func(*anon, Ctx) {}, "x"))

func TestM218_OnlyMethodsOfTheDefinitionAreMessages(t *testing.T) {
	d := define[*Greeting](t)
	refused(t, d, handlers.Signal, (*Greeting).Hidden, "(*handlers_test.Greeting).Hidden is excluded from the messages of the workflow")
	refused(t, d, handlers.Query, (*Greeting).Ordinary, "(*handlers_test.Greeting).Ordinary is not a message of the workflow")
	only[*anon](t, "Rename: handlers_test.init.func2 is not a method of *handlers_test.anon")
}

type (
	Inner    struct{ main }
	Outer    struct{ Inner }
	Both     struct{ Inner }
	Promoted struct{ *Inner }
)

var called string

func (*Inner) Submit(Ctx) { called = "inner" }
func (*Inner) Kept(Ctx)   { called = "kept" }
func (*Outer) Submit(Ctx) { called = "outer" }
func (*Both) Again(Ctx)   {}

var _ = declare[*Both](handlers.Rename((*Both).Again, "Submit"))

func TestM219_TheOuterOneOfShadowedHandlersIsCalled(t *testing.T) {
	d := define[*Outer](t)
	h, err := d.Lookup(handlers.Signal, (*Outer).Submit)
	if err != nil || h != d.Signals["Submit"] || len(d.Signals) != 2 {
		t.Fatal(h, err, d.Signals)
	}
	for name, want := range map[string]string{"Submit": "outer", "Kept": "kept"} {
		d.Signals[name].Func.Call([]reflect.Value{reflect.ValueOf(&Outer{}), reflect.Zero(rules.Context)})
		if called != want {
			t.Errorf("%s called %s", name, called)
		}
	}
	only[*Both](t, `methods Again and Submit are both the signal "Submit"`)
}

type Box[T any] struct{ main }

func (*Box[T]) Put(Ctx, T)              {}
func (*Box[T]) Get(Read) (v T, _ error) { return v, nil }

type Contract interface {
	Run(Ctx, string) error
	Put(Ctx, int)
	Any(Ctx, string, Args)
}

type Kept struct{}

func (*Kept) Run(Ctx, string) error { return nil }
func (*Kept) Put(Ctx, int)          {}
func (*Kept) Any(Ctx, string, Args) {}

type Broken struct{ main }

func (*Broken) Put(Ctx, int) {}

var (
	_ = declare[Contract](handlers.Name("kept"), handlers.Rename(Contract.Put, "put"), handlers.Describe(Contract.Put, "puts"))
	_ = declare[*Kept](handlers.Implements(reflect.TypeFor[Contract]()))
	_ = declare[*Broken](handlers.Implements(reflect.TypeFor[Contract]()))
)

func TestGenericEmbeddedAndLocalTypesHaveTheirMethods(t *testing.T) {
	type Local struct{ Inner }
	type LocalContract interface {
		Run(Ctx) error
		Submit(Ctx)
	}
	find := func(d *handlers.Definition, name, wire string, method any) {
		t.Helper()
		if h, err := d.Lookup(handlers.Signal, method); err != nil || h.Name != wire || d.Name != name {
			t.Errorf("%s.%s: %s, %+v, %v", name, wire, d.Name, h, err)
		}
	}
	find(define[*Box[int]](t), "Box", "Put", (*Box[int]).Put)
	find(define[*Box[map[string]Box[int]]](t), "Box", "Put", (*Box[map[string]Box[int]]).Put)
	find(define[*Promoted](t), "Promoted", "Submit", (*Promoted).Submit)
	find(define[*Local](t), "Local", "Submit", (*Local).Submit)
	find(define[LocalContract](t), "LocalContract", "Submit", LocalContract.Submit)
	refused(t, define[*Box[int]](t), handlers.Signal, (*Box[string]).Put, "handlers_test.(*Box[...]).Put is not a method of *handlers_test.Box[int]")
	refused(t, define[*Promoted](t), handlers.Signal, (*Inner).Submit, "handlers_test.(*Inner).Submit is not a method of *handlers_test.Promoted")
}

func TestAContractGivesItsNamesToWhatImplementsIt(t *testing.T) {
	contract, kept := define[Contract](t), define[*Kept](t)
	for _, d := range []*handlers.Definition{contract, kept} {
		if h := d.Signals["put"]; d.Name != "kept" || h == nil || h.Description != "puts" || len(h.Params) != 1 || d.DynamicSignal == nil || len(d.Run.Params) != 1 {
			t.Errorf("%s: %+v", d.Name, d.Signals)
		}
	}
	if contract.Run.Func.IsValid() || !kept.Run.Func.IsValid() {
		t.Error("a contract has nothing to call, what implements it has")
	}
	if h, err := contract.Lookup(handlers.Signal, Contract.Put); err != nil || h.Name != "put" {
		t.Error(h, err)
	}
	refused(t, contract, handlers.Signal, Contract.Any, "(handlers_test.Contract).Any is the dynamic signal; send by name what it is to get")
	only[*Broken](t, "it does not implement handlers_test.Contract")
}

type (
	Strays   struct{ main }
	Twice    struct{ main }
	Late     struct{ main }
	RunNamed struct{}
)

func (*Strays) Get(Read) (int, error)  { return 0, nil }
func (*Strays) Plain()                 {}
func (*Strays) Set(Ctx) error          { return nil }
func (*Strays) ValidateSet(Read) error { return nil }
func (*Twice) A(Ctx)                   {}
func (*RunNamed) Run(Ctx, Args) error  { return nil }

var (
	_ = declare[*Strays](handlers.Rename((*Strays).Run, "r"), handlers.Rename((*Strays).Plain, "p"), handlers.Describe((*Strays).ValidateSet, "v"), handlers.AbandonUnfinished((*Strays).Get))
	_ = declare[*Twice](handlers.Rename((*Twice).A, "x"), handlers.Rename((*Twice).A, "y"))
	_ = declare[*RunNamed](handlers.Name("n"))
)

func TestNoOptionIsPassedOverInSilence(t *testing.T) {
	want := []string{
		"Rename: method Run is no signal, query or update", "Rename: method Plain is no signal, query or update",
		"Describe: method ValidateSet is no signal, query or update", "AbandonUnfinished: method Get is a query, which is never unfinished",
	}
	if got := faults[*Strays](t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	only[*Twice](t, `method A: it is named both "x" and "y"`)
	only[*RunNamed](t, `it is dynamic and has a name, "n"; it can have one of the two`)
	define[*Late](t)
	declare[*Late](handlers.Name("late"))
	only[*Late](t, "it is declared after its first use; declare it by a package-level variable")
	if got := faults[main](t); got[0] != "it is neither a pointer to a struct nor a contract interface" {
		t.Errorf("got %q", got)
	}
}
