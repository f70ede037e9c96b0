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
	case d.excluded[name]:
		return nil, &UsageError{full + " is excluded from the messages of the workflow"}
	case h == nil:
		return nil, &UsageError{full + " is not a message of the workflow"}
	case h.Kind != kind:
		return nil, &UsageError{fmt.Sprintf("%s is %s; it cannot be used as %s", full, h.Kind.one(), kind.one())}
	case h.Dynamic && kind != Run:
		return nil, &UsageError{fmt.Sprintf("%s is the dynamic %s; send by name what it is to get", full, h.Kind)}
	case h.typ != reflect.TypeOf(method):
		return nil, &UsageError{full + " has another type than the function given"}
	}
	return h, nil
}

// methodName finds the method behind a method expression, by the name that the runtime has for the function. That only names
// the type, so what the type is is checked, too: a function which happens to have a method's name is not that method. A method
// expression of a generic type, written inside a generic function, has no such name and is refused.
func methodName(t reflect.Type, method any) (string, error) {
	v := reflect.ValueOf(method)
	if v.Kind() != reflect.Func || v.IsNil() {
		return "", &UsageError{fmt.Sprintf("%T is not a method expression", method)}
	}
	full := runtime.FuncForPC(v.Pointer()).Name()
	short := full[strings.LastIndexByte(full, '/')+1:]
	_, rest, _ := strings.Cut(short, ".")
	receiver, name, ok := cutLast(rest, ".")
	_, exists := t.MethodByName(name)
	if !ok || !exists || withoutNumber(receiver) != receiverName(t) || v.Type().NumIn() == 0 || v.Type().In(0) != t {
		return "", &UsageError{fmt.Sprintf("%s is not a method of %s", short, t)}
	}
	return name, nil
}

// receiverName is how the runtime names the receiver in a method expression: (*Type) or Interface, with [...] for type
// arguments. A promoted method has the outer type.
func receiverName(t reflect.Type) string {
	named := t
	if t.Kind() == reflect.Pointer {
		named = t.Elem()
	}
	name := typeName(t)
	if strings.Contains(named.Name(), "[") {
		name += "[...]"
	}
	if t.Kind() == reflect.Pointer {
		return "(*" + name + ")"
	}
	return name
}

// withoutNumber takes away what tells types of one name in different functions apart: (*Type·1).
func withoutNumber(receiver string) string {
	name, number, ok := strings.Cut(receiver, "·")
	if ok && strings.HasSuffix(number, ")") {
		name += ")"
	}
	return name
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
