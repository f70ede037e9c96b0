package handlers

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
)

// UsageError says why a method cannot be sent. It comes before anything is asked of a server.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// Lookup is the handler that a method expression stands for. The error is a *UsageError.
func (d *Definition) Lookup(kind Kind, method any) (*Handler, error) {
	name, err := methodName(d.Type, method)
	if err != nil {
		return nil, err
	}
	h := d.methods[name]
	full := fmt.Sprintf("(%s).%s", d.Type, name)
	switch {
	case h == nil:
		return nil, &UsageError{full + " is not a message of the workflow"}
	case h.Kind != kind:
		return nil, &UsageError{fmt.Sprintf("%s is a %s; it cannot be used as a %s", full, h.Kind, kind)}
	case h.Dynamic && kind != Run:
		return nil, &UsageError{fmt.Sprintf("%s is the dynamic %s; send by name what it is to get", full, h.Kind)}
	case h.typ != reflect.TypeOf(method):
		return nil, &UsageError{full + " has another type than the function given"}
	}
	return h, nil
}

// methodName finds the method behind a method expression. The runtime names it package.(*Type).Method, with the outer type
// for a promoted method and [...] for type arguments; whether the name is right is checked against the type.
func methodName(t reflect.Type, method any) (string, error) {
	v := reflect.ValueOf(method)
	if v.Kind() != reflect.Func || v.IsNil() {
		return "", &UsageError{fmt.Sprintf("%T is not a method expression", method)}
	}
	full := runtime.FuncForPC(v.Pointer()).Name()
	dot := strings.LastIndexByte(full, '.')
	receiver, name := full[:dot], full[dot+1:]
	receiver = strings.TrimSuffix(receiver, "[...]")
	if strings.HasSuffix(receiver, ")") {
		receiver = strings.TrimSuffix(strings.TrimSuffix(receiver, ")"), "[...]")
	}
	_, exists := t.MethodByName(name)
	if !exists || !strings.HasSuffix(receiver, typeName(t)) || v.Type().NumIn() == 0 || v.Type().In(0) != t {
		return "", &UsageError{fmt.Sprintf("%s is not a method of %s", full[strings.LastIndexByte(full, '/')+1:], t)}
	}
	return name, nil
}
