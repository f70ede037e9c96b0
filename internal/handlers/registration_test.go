package handlers_test

import (
	"context"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/metrics"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
	"go.temporal.io/api/workflowservice/v1"
)

// What these tests show includes activities and what several types have in one worker, so they define real workflows.

// offline is a client that a worker needs until it starts.
type offline struct{}

func (offline) Service() workflowservice.WorkflowServiceClient { return nil }
func (offline) Namespace() string                              { return "default" }
func (offline) Identity() string                               { return "test" }
func (offline) Converter() converter.Converter                 { return converter.Default() }
func (offline) Failures() failure.Converter                    { return failure.Default(nil, failure.Options{}) }
func (offline) Logger() *slog.Logger                           { return slog.New(slog.DiscardHandler) }
func (offline) Metrics() metrics.Handler                       { return metrics.None }

// rejected checks that a worker with these registrations does not start, and says each of the reasons.
func rejected(t *testing.T, register func(*worker.Worker), reasons ...string) {
	t.Helper()
	w := worker.New(offline{}, "q", worker.Options{})
	register(w)
	err := w.Start()
	if err == nil {
		w.Stop()
		t.Fatalf("it starts; want %q", reasons)
	}
	for _, want := range reasons {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func real[W any](t *testing.T) []string {
	t.Helper()
	_, err := handlers.Of(reflect.TypeFor[W](), flow.Rules)
	if err == nil {
		t.Fatalf("%s has no fault", reflect.TypeFor[W]())
	}
	return err.(*handlers.DefinitionError).Faults
}

type whole struct{}

func (whole) Run(workflow.Context) error { return nil }

type (
	NamedDynamic    struct{}
	NamedHandlers   struct{ whole }
	DynamicTwice    struct{ whole }
	Dynamic1        struct{}
	Dynamic2        struct{}
	ReservedType    struct{ whole }
	ReservedMessage struct{ whole }
	Same            struct{ whole }
	Namesake        struct{ whole }
)

func (*NamedDynamic) Run(workflow.Context, workflow.Args) error                       { return nil }
func (*NamedHandlers) Signal(workflow.Context, string, workflow.Args)                 {}
func (*NamedHandlers) Query(workflow.ReadContext, string, workflow.Args) (int, error) { return 0, nil }
func (*NamedHandlers) Update(workflow.Context, string, workflow.Args) error           { return nil }
func (*DynamicTwice) Signal1(workflow.Context, string, workflow.Args)                 {}
func (*DynamicTwice) Signal2(workflow.Context, string, workflow.Args)                 {}
func (*DynamicTwice) Query1(workflow.ReadContext, string, workflow.Args) (int, error) { return 0, nil }
func (*DynamicTwice) Query2(workflow.ReadContext, string, workflow.Args) (int, error) { return 0, nil }
func (*DynamicTwice) Update1(workflow.Context, string, workflow.Args) error           { return nil }
func (*DynamicTwice) Update2(workflow.Context, string, workflow.Args) error           { return nil }
func (*Dynamic1) Run(workflow.Context, workflow.Args) error                           { return nil }
func (*Dynamic2) Run(workflow.Context, workflow.Args) error                           { return nil }
func (*ReservedMessage) Signal(workflow.Context)                                      {}
func (*ReservedMessage) Query(workflow.ReadContext) (int, error)                      { return 0, nil }
func (*ReservedMessage) Update(workflow.Context) error                                { return nil }
func (*ReservedMessage) Stack(workflow.ReadContext) (int, error)                      { return 0, nil }

var (
	_ = workflow.Define[*NamedDynamic](workflow.Name("n"))
	_ = workflow.Define[*NamedHandlers](
		workflow.Rename((*NamedHandlers).Signal, "s"), workflow.Rename((*NamedHandlers).Query, "q"), workflow.Rename((*NamedHandlers).Update, "u"),
	)
	_ = workflow.Define[*ReservedType](workflow.Name("__temporal_t"))
	_ = workflow.Define[*ReservedMessage](
		workflow.Rename((*ReservedMessage).Signal, "__temporal_s"), workflow.Rename((*ReservedMessage).Query, "__temporal_q"),
		workflow.Rename((*ReservedMessage).Update, "__temporal_u"), workflow.Rename((*ReservedMessage).Stack, "__stack_trace"),
	)
	_ = workflow.Define[*Namesake](workflow.Name("Same"))
)

func anything(context.Context, activity.Args) error   { return nil }
func everything(context.Context, activity.Args) error { return nil }
func something(context.Context) error                 { return nil }

func TestM207_WhatIsDynamicHasNoName(t *testing.T) {
	want := []string{
		`method Query: it is dynamic and has a name, "q"; it can have one of the two`,
		`method Signal: it is dynamic and has a name, "s"; it can have one of the two`,
		`method Update: it is dynamic and has a name, "u"; it can have one of the two`,
	}
	if got := real[*NamedHandlers](t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	if got := real[*NamedDynamic](t); len(got) != 1 || got[0] != `it is dynamic and has a name, "n"; it can have one of the two` {
		t.Errorf("got %q", got)
	}
	rejected(t, func(w *worker.Worker) { w.ActivityAs("a", anything) }, "activity a: it is dynamic and has a name")
}

func TestM209_OneOfAKindIsDynamic(t *testing.T) {
	want := []string{
		"methods Query1 and Query2 are both dynamic as a query; there can be one",
		"methods Signal1 and Signal2 are both dynamic as a signal; there can be one",
		"methods Update1 and Update2 are both dynamic as an update; there can be one",
	}
	if got := real[*DynamicTwice](t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	rejected(t, func(w *worker.Worker) {
		worker.Workflow[*Dynamic1](w)
		worker.Workflow[*Dynamic2](w)
		w.Activity(anything)
		w.Activity(everything)
	}, "2 faults", "workflows *handlers_test.Dynamic1 and *handlers_test.Dynamic2 are both dynamic", "activity anything is dynamic, too")
}

func TestReservedNamesAreRefusedForMessagesWorkflowsAndActivities(t *testing.T) {
	want := []string{
		`method Query: names that begin with __temporal_ are reserved ("__temporal_q")`,
		`method Signal: names that begin with __temporal_ are reserved ("__temporal_s")`,
		`method Stack: names of queries and updates that begin with __ are reserved ("__stack_trace")`,
		`method Update: names that begin with __temporal_ are reserved ("__temporal_u")`,
	}
	if got := real[*ReservedMessage](t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	if got := real[*ReservedType](t); len(got) != 1 || got[0] != `its name: names that begin with __temporal_ are reserved ("__temporal_t")` {
		t.Errorf("got %q", got)
	}
	rejected(t, func(w *worker.Worker) { w.ActivityAs("__temporal_a", something) }, "activity __temporal_a: names that begin with __temporal_ are reserved")
}

func TestM216_ANameIsOneWorkflowAndOneActivity(t *testing.T) {
	rejected(t, func(w *worker.Worker) {
		worker.Workflow[*Same](w)
		worker.Workflow[*Namesake](w)
		w.Activity(something)
		w.ActivityAs("something", func(context.Context) error { return nil })
	}, "2 faults", `workflows *handlers_test.Same and *handlers_test.Namesake are both named "Same"`, "activity something: there are two of this name")
}
