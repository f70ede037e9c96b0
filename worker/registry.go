package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/handlers"
)

// Registry is what a worker can run. It is filled before the worker starts; what is wrong with it comes out at once, all of it,
// when the worker starts.
type Registry struct {
	workflows       map[string]*handlers.Definition
	dynamicWorkflow *handlers.Definition
	activities      map[string]*function
	dynamicActivity *function
	names           map[uintptr]string
	faults          []error
}

func newRegistry() *Registry {
	return &Registry{workflows: map[string]*handlers.Definition{}, activities: map[string]*function{}, names: map[uintptr]string{}}
}

// function is an activity.
type function struct {
	name    string
	fn      reflect.Value
	params  []reflect.Type
	dynamic bool
	result  bool
}

// Workflow registers the workflow type W, a pointer to a struct.
func Workflow[W any](w *Worker) {
	r := w.registry
	t := reflect.TypeFor[W]()
	d, err := handlers.Of(t, flow.Rules)
	switch {
	case err != nil:
		r.faults = append(r.faults, err)
	case t.Kind() != reflect.Pointer:
		r.faults = append(r.faults, fmt.Errorf("workflow %s is a contract; register what implements it", t))
	case d.Dynamic && r.dynamicWorkflow != nil:
		r.faults = append(r.faults, fmt.Errorf("workflows %s and %s are both dynamic; a worker can have one", r.dynamicWorkflow.Type, t))
	case d.Dynamic:
		r.dynamicWorkflow = d
	case r.workflows[d.Name] != nil:
		r.faults = append(r.faults, fmt.Errorf("workflows %s and %s are both named %q", r.workflows[d.Name].Type, t, d.Name))
	default:
		r.workflows[d.Name] = d
	}
}

// Activity registers a function, or each exported method with the shape of an activity of a pointer to a struct.
func (w *Worker) Activity(fn any) { w.registry.activity("", fn) }

// ActivityAs registers a function under a name.
func (w *Worker) ActivityAs(name string, fn any) {
	if name == "" {
		w.registry.faults = append(w.registry.faults, errors.New("an activity's name is empty"))
		return
	}
	w.registry.activity(name, fn)
}

func (r *Registry) activity(name string, fn any) {
	v := reflect.ValueOf(fn)
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
		r.methods(v)
		return
	}
	if v.Kind() != reflect.Func {
		r.faults = append(r.faults, fmt.Errorf("activity %T is neither a function nor a pointer to a struct", fn))
		return
	}
	own := functionName(v)
	explicit := name != ""
	if !explicit {
		name = own
		if strings.HasPrefix(name, "func") && len(name) > 4 && name[4] >= '0' && name[4] <= '9' {
			r.faults = append(r.faults, fmt.Errorf("activity %s is anonymous; register it with a name", name))
			return
		}
	}
	r.add(name, explicit, v)
}

func (r *Registry) methods(v reflect.Value) {
	found := false
	for i := range v.NumMethod() {
		m := v.Type().Method(i)
		if m.Type.NumIn() < 2 || m.Type.In(1) != contextType {
			continue
		}
		found = true
		r.add(m.Name, false, v.Method(i))
	}
	if !found {
		r.faults = append(r.faults, fmt.Errorf("%s has no method with the shape of an activity", v.Type()))
	}
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
	argsType    = reflect.TypeFor[converter.Args]()
)

func (r *Registry) add(name string, explicit bool, v reflect.Value) {
	t := v.Type()
	f := &function{name: name, fn: v}
	bad := func(reason string) { r.faults = append(r.faults, fmt.Errorf("activity %s: %s", name, reason)) }
	if t.NumIn() == 0 || t.In(0) != contextType {
		bad("its first parameter has to be context.Context")
		return
	}
	if n := t.NumOut(); n == 0 || n > 2 || t.Out(n-1) != errorType {
		bad("it has to return (R, error), or only error")
		return
	}
	if t.IsVariadic() {
		bad("it is variadic; take a slice, or better a struct")
		return
	}
	f.result = t.NumOut() == 2
	for i := 1; i < t.NumIn(); i++ {
		f.params = append(f.params, t.In(i))
	}
	if slices.Contains(f.params, argsType) {
		if len(f.params) != 1 {
			bad("a dynamic activity has to take (ctx context.Context, args activity.Args)")
			return
		}
		if explicit {
			bad("it is dynamic and has a name; it can have one of the two")
			return
		}
		if r.dynamicActivity != nil {
			bad("activity " + r.dynamicActivity.name + " is dynamic, too; a worker can have one")
			return
		}
		f.dynamic, f.params = true, nil
		r.dynamicActivity = f
		return
	}
	if strings.HasPrefix(name, "__temporal_") {
		bad("names that begin with __temporal_ are reserved")
		return
	}
	if r.activities[name] != nil {
		bad("there are two of this name")
		return
	}
	r.activities[name] = f
	r.names[v.Pointer()] = name
}

// functionName is the last part of a function's name: that of the function, or of the method.
func functionName(v reflect.Value) string {
	full := runtime.FuncForPC(v.Pointer()).Name()
	return strings.TrimSuffix(full[strings.LastIndexByte(full, '.')+1:], "-fm")
}

// activityName is what workflow code means by a function. It need not be registered here: another worker may run it.
func (r *Registry) activityName(fn any) (string, error) {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func {
		return "", fmt.Errorf("%T is not an activity function", fn)
	}
	name := functionName(v)
	if explicit, ok := r.names[v.Pointer()]; ok && !strings.HasSuffix(runtime.FuncForPC(v.Pointer()).Name(), "-fm") {
		name = explicit
	}
	return name, nil
}

func (r *Registry) workflow(name string) (*handlers.Definition, error) {
	if d := r.workflows[name]; d != nil {
		return d, nil
	}
	if r.dynamicWorkflow != nil {
		return r.dynamicWorkflow, nil
	}
	return nil, fmt.Errorf("workflow type %q is not registered with this worker, which knows [%s]", name, strings.Join(slices.Sorted(maps.Keys(r.workflows)), " "))
}

func (r *Registry) function(name string) (*function, error) {
	if f := r.activities[name]; f != nil {
		return f, nil
	}
	if r.dynamicActivity != nil {
		return r.dynamicActivity, nil
	}
	return nil, fmt.Errorf("activity type %q is not registered with this worker, which knows [%s]", name, strings.Join(slices.Sorted(maps.Keys(r.activities)), " "))
}

// check gives all faults in one error.
func (r *Registry) check() error {
	if len(r.faults) == 0 {
		return nil
	}
	return fmt.Errorf("%d faults in what is registered:\n%w", len(r.faults), errors.Join(r.faults...))
}
