package workflow

import (
	"fmt"
	"reflect"

	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/handlers"
)

// Target is a workflow of type W that can be sent signals.
type Target[W any] interface {
	send(ctx Context, w W, signal string, args []any) *flow.Future
}

// External is another workflow of a known type. An empty RunID means the run that is current when the signal arrives.
type External[W any] struct{ WorkflowID, RunID string }

func (e External[W]) send(ctx Context, _ W, signal string, args []any) *flow.Future {
	return flow.SignalExternal(ctx, e.WorkflowID, e.RunID, false, signal, args...)
}

// Cancel asks it to cancel.
func (e External[W]) Cancel(ctx Context, reason string) Future[None] {
	return Future[None]{flow.CancelExternal(ctx, e.WorkflowID, e.RunID, reason)}
}

// Any is the type of a workflow of which nothing is known; it is signalled by name.
type Any struct{}

// SignalByName sends a signal to a workflow of any type, or in any language.
func (e External[W]) SignalByName(ctx Context, name string, args ...any) Future[None] {
	return Future[None]{flow.SignalExternal(ctx, e.WorkflowID, e.RunID, false, name, args...)}
}

// ChildHandle is a child workflow.
type ChildHandle[W, R any] struct{ c *flow.Child }

// A signal goes when the child has started.
func (h *ChildHandle[W, R]) send(ctx Context, _ W, signal string, args []any) *flow.Future {
	return flow.SignalChild(ctx, h.c, signal, args...)
}

// WorkflowID is the child's.
func (h *ChildHandle[W, R]) WorkflowID() string { return h.c.WorkflowID }

// Started waits until the child has started and gives its run ID.
func (h *ChildHandle[W, R]) Started() (runID string, err error) {
	err = h.c.Started.Wait()
	return h.c.RunID, err
}

// Result is the child's, to come.
func (h *ChildHandle[W, R]) Result() Future[R] { return Future[R]{h.c.Result} }

func define[W any]() *handlers.Definition {
	d, err := handlers.Of(reflect.TypeFor[W](), flow.Rules)
	if err != nil {
		panic(err)
	}
	return d
}

func lookup[W any](kind handlers.Kind, method any) (*handlers.Definition, *handlers.Handler) {
	d := define[W]()
	h, err := d.Lookup(kind, method)
	if err != nil {
		panic(err)
	}
	return d, h
}

func activity(ctx Context, fn any, o ActivityOptions, args ...any) *flow.Future {
	name, err := flow.RunOf(ctx).Env.ActivityName(fn)
	if err != nil {
		panic(err)
	}
	return flow.Activity(ctx, name, o, args...)
}

func local(ctx Context, fn any, o LocalActivityOptions, args ...any) *flow.Future {
	name, err := flow.RunOf(ctx).Env.ActivityName(fn)
	if err != nil {
		panic(err)
	}
	return flow.Local(ctx, name, o, args...)
}

// ActivityByName starts an activity of any language. R is what its result is decoded as.
func ActivityByName[R any](ctx Context, name string, o ActivityOptions, args ...any) Future[R] {
	return Future[R]{flow.Activity(ctx, name, o, args...)}
}

// LocalActivityByName is LocalActivity by name.
func LocalActivityByName[R any](ctx Context, name string, o LocalActivityOptions, args ...any) Future[R] {
	return Future[R]{flow.Local(ctx, name, o, args...)}
}

// ChildByName starts a child workflow of any language.
func ChildByName[R any](ctx Context, name string, o ChildOptions, args ...any) *ChildHandle[Any, R] {
	return &ChildHandle[Any, R]{flow.StartChild(ctx, name, o, args...)}
}

func signal[W any](ctx Context, to Target[W], method any, args ...any) Future[None] {
	_, h := lookup[W](handlers.Signal, method)
	var w W
	return Future[None]{to.send(ctx, w, h.Name, args)}
}

func child[W, R any](ctx Context, run any, o ChildOptions, args ...any) *ChildHandle[W, R] {
	d, _ := lookup[W](handlers.Run, run)
	if d.Dynamic {
		panic(fmt.Errorf("workflow %s is dynamic; start by name what it is to run as", d.Type))
	}
	return &ChildHandle[W, R]{flow.StartChild(ctx, d.Name, o, args...)}
}

func continueAsNew[W any](ctx Drained, run any, o []ContinueAsNewOptions, args ...any) error {
	d, _ := lookup[W](handlers.Run, run)
	flow.CheckDrained(ctx)
	e := &flow.ContinueAsNewError{Args: args, Options: one(o)}
	if !d.Dynamic {
		e.Type = d.Name
	}
	return e
}

// ContinueAsNewByName is the error with which Run ends this run and starts the next; an empty name means the same type.
func ContinueAsNewByName(ctx Drained, name string, o ContinueAsNewOptions, args ...any) error {
	flow.CheckDrained(ctx)
	return &flow.ContinueAsNewError{Type: name, Args: args, Options: o}
}

// one is what may be left out.
func one(o []ContinueAsNewOptions) ContinueAsNewOptions {
	switch len(o) {
	case 0:
		return ContinueAsNewOptions{}
	case 1:
		return o[0]
	}
	panic("workflow: continue as new with several sets of options")
}
