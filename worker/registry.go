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
	names           map[string]string // by the runtime's name of a function; ambiguous if it was given several
	faults          []error
}

func newRegistry() *Registry {
	return &Registry{workflows: map[string]*handlers.Definition{}, activities: map[string]*function{}, names: map[string]string{}}
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
	fault := func(format string, args ...any) { r.faults = append(r.faults, fmt.Errorf(format, args...)) }
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct && v.IsNil():
		fault("activity %T is a nil pointer", fn)
		return
	case v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct && name != "":
		fault("activity %q: the activities of a struct, %T, are named after its methods", name, fn)
		return
	case v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct:
		r.methods(v)
		return
	case v.Kind() != reflect.Func:
		fault("activity %T is neither a function nor a pointer to a struct", fn)
		return
	case v.IsNil():
		fault("activity %s%T is nil", name, fn)
		return
	}
	full := fullName(v)
	own, anonymous := shortName(full)
	explicit := name != ""
	if !explicit {
		if anonymous {
			fault("activity %s is anonymous; register it with a name", full)
			return
		}
		name = own
	}
	if r.add(name, explicit, v) {
		if old, ok := r.names[full]; ok && old != name {
			name = ambiguous
		}
		r.names[full] = name
	}
}

// ambiguous is the name of a function that has several: reserved, so no activity has it.
const ambiguous = "__temporal_"

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

// add says whether there was no fault.
func (r *Registry) add(name string, explicit bool, v reflect.Value) bool {
	t := v.Type()
	f := &function{name: name, fn: v}
	before := len(r.faults)
	bad := func(format string, args ...any) {
		r.faults = append(r.faults, fmt.Errorf("activity "+name+": "+format, args...))
	}
	switch n := t.NumOut(); {
	case t.NumIn() == 0 || t.In(0) != contextType:
		bad("its first parameter has to be context.Context")
	case n == 0 || n > 2 || t.Out(n-1) != errorType:
		bad("it has to return (R, error), or only error")
	case t.IsVariadic():
		bad("it is variadic; take a slice, or better a struct")
	case n == 2:
		f.result = true
		if !sendable(t.Out(0)) {
			bad("a %s cannot be its result", t.Out(0).Kind())
		}
	}
	for i := 1; i < t.NumIn(); i++ {
		f.params = append(f.params, t.In(i))
		if !sendable(t.In(i)) {
			bad("a %s cannot be an argument", t.In(i).Kind())
		}
	}
	f.dynamic = slices.Contains(f.params, argsType)
	switch {
	case len(r.faults) > before:
	case f.dynamic && len(f.params) != 1:
		bad("a dynamic activity has to take (ctx context.Context, args activity.Args)")
	case f.dynamic && explicit:
		bad("it is dynamic and has a name; it can have one of the two")
	case f.dynamic && r.dynamicActivity != nil:
		bad("activity %s is dynamic, too; a worker can have one", r.dynamicActivity.name)
	case f.dynamic:
		f.params = nil
		r.dynamicActivity = f
	case strings.HasPrefix(name, "__temporal_"):
		bad("names that begin with __temporal_ are reserved")
	case r.activities[name] != nil:
		bad("there are two of this name")
	default:
		r.activities[name] = f
	}
	return len(r.faults) == before
}

// sendable says whether values of a type can go through a converter at all.
func sendable(t reflect.Type) bool { return t.Kind() != reflect.Chan && t.Kind() != reflect.Func }

// fullName is the runtime's name of a function.
func fullName(v reflect.Value) string { return runtime.FuncForPC(v.Pointer()).Name() }

// shortName is the function's or the method's own name, without type arguments, out of the runtime's name: path/pkg.Name,
// path/pkg.(*Type).Name-fm for the method of a value, path/pkg.Name.func1.2 for what has no name.
func shortName(full string) (name string, anonymous bool) {
	full = strings.ReplaceAll(strings.TrimSuffix(full, "-fm"), "[...]", "")
	_, name, _ = strings.Cut(full[strings.LastIndexByte(full, '/')+1:], ".")
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		return name, false
	}
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	number := strings.TrimPrefix(strings.TrimPrefix(last, "func"), "gowrap")
	anonymous = first == "glob" || number != "" && strings.Trim(number, "0123456789") == ""
	return last, anonymous
}

// activityName is what workflow code means by a function. It need not be registered here: another worker may run it.
func (r *Registry) activityName(fn any) (string, error) {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		return "", fmt.Errorf("%T is not an activity function", fn)
	}
	full := fullName(v)
	name, anonymous := shortName(full)
	switch explicit := r.names[full]; {
	case explicit == ambiguous:
		return "", fmt.Errorf("activity function %s is registered under several names; call it by one of them", full)
	case explicit != "":
		return explicit, nil
	case anonymous:
		return "", fmt.Errorf("activity function %s is anonymous and not registered with this worker; call it by name", full)
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

// check gives all faults in one error, with those of the worker itself.
func (r *Registry) check(own ...error) error {
	faults, n := append(own, r.faults...), 0
	for _, err := range faults {
		var d *handlers.DefinitionError
		if errors.As(err, &d) {
			n += len(d.Faults)
		} else {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("there is a fault in what is registered:\n%w", faults[0])
	}
	return fmt.Errorf("there are %d faults in what is registered:\n%w", n, errors.Join(faults...))
}
