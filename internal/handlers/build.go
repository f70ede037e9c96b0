package handlers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

type settings struct {
	name         *string
	names        map[string]string
	descriptions map[string]string
	abandon      map[string]bool
}

type builder struct {
	t      reflect.Type
	r      Rules
	d      *Definition
	faults []string
	settings
}

func (b *builder) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// Option changes a definition.
type Option func(*builder)

// Name sets the workflow type's name.
func Name(name string) Option { return func(b *builder) { b.name = &name } }

// Rename sets a method's name on the wire.
func Rename(method any, name string) Option {
	return func(b *builder) { b.about(method, "Rename", func(m string) { b.names[m] = name }) }
}

// Describe sets the text that UI and CLI show.
func Describe(method any, text string) Option {
	return func(b *builder) { b.about(method, "Describe", func(m string) { b.descriptions[m] = text }) }
}

// AbandonUnfinished lets a run close while the handler is at work.
func AbandonUnfinished(method any) Option {
	return func(b *builder) { b.about(method, "AbandonUnfinished", func(m string) { b.abandon[m] = true }) }
}

// Exclude keeps a method from being a handler.
func Exclude(method any) Option {
	return func(b *builder) { b.about(method, "Exclude", func(m string) { b.d.excluded[m] = true }) }
}

// Implements takes names and descriptions from a contract, which the type has to implement.
func Implements(contract reflect.Type) Option {
	return func(b *builder) {
		if contract.Kind() != reflect.Interface || !b.t.Implements(contract) {
			b.fault("it does not implement %s", contract)
			return
		}
		c, err := Of(contract, b.r)
		if err != nil {
			b.fault("its contract: %v", err)
			return
		}
		if b.name == nil {
			b.name = &c.Name
		}
		for m, h := range c.methods {
			if h.Name != "" && h.Name != m && h.Kind != Run && h.Kind != Init {
				b.names[m] = h.Name
			}
			if h.Description != "" {
				b.descriptions[m] = h.Description
			}
		}
	}
}

func (b *builder) about(method any, option string, set func(string)) {
	name, err := methodName(b.t, method)
	if err != nil {
		b.fault("%s: %v", option, err)
		return
	}
	set(name)
}

var errorType = reflect.TypeFor[error]()

const (
	shapeRun       = "Run(ctx workflow.Context, args ...) (R, error), or only error"
	shapeSignal    = "(ctx workflow.Context, args ...), with no result"
	shapeUpdate    = "(ctx workflow.Context, args ...) (R, error), or only error"
	shapeQuery     = "(q workflow.ReadContext, args ...) (R, error)"
	shapeValidator = "(q workflow.ReadContext, args ... as its update) error"
	shapeDynamic   = "(ctx, name string, args workflow.Args)"
)

func (b *builder) build() {
	iface := b.t.Kind() == reflect.Interface
	if !iface && (b.t.Kind() != reflect.Pointer || b.t.Elem().Kind() != reflect.Struct) {
		b.fault("it is neither a pointer to a struct nor a contract interface")
		return
	}
	b.d.Name = typeName(b.t)
	validators := map[string]*Handler{}
	for i := range b.t.NumMethod() {
		m := b.t.Method(i)
		if b.d.excluded[m.Name] {
			continue
		}
		if h := b.method(m, iface); h != nil {
			b.d.methods[m.Name] = h
			if h.Kind == Validator {
				validators[m.Name] = h
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(validators)) {
		b.validator(name, validators[name])
	}
	b.main()
	for _, m := range slices.Sorted(maps.Keys(b.d.methods)) {
		b.place(b.d.methods[m])
	}
}

// method makes a handler of what has a context; nil for an ordinary method and for one with faults.
func (b *builder) method(m reflect.Method, iface bool) *Handler {
	t, skip := m.Type, 1
	if iface {
		skip = 0
	}
	if t.NumIn() <= skip {
		return nil
	}
	read := t.In(skip) == b.r.ReadContext
	if !read && t.In(skip) != b.r.Context {
		if m.Name == "Run" {
			b.fault("method Run: its first parameter has to be workflow.Context; it has to be %s", shapeRun)
		}
		return nil
	}
	h := &Handler{Method: m.Name, Name: m.Name, typ: expression(b.t, t, iface), Description: b.descriptions[m.Name], AbandonUnfinished: b.abandon[m.Name]}
	if !iface {
		h.Func = m.Func
	}
	if n, ok := b.names[m.Name]; ok {
		h.Name = n
	}
	for i := skip + 1; i < t.NumIn(); i++ {
		h.Params = append(h.Params, t.In(i))
	}
	var out []reflect.Type
	for i := range t.NumOut() {
		out = append(out, t.Out(i))
	}
	before := len(b.faults)
	if t.IsVariadic() {
		b.fault("method %s: it is variadic; take a slice, or better a struct", m.Name)
	}
	b.kind(h, out, read)
	b.dynamic(h)
	if len(b.faults) > before {
		return nil
	}
	return h
}

// expression is the type of a method expression.
func expression(receiver, t reflect.Type, iface bool) reflect.Type {
	if !iface {
		return t
	}
	in := []reflect.Type{receiver}
	for i := range t.NumIn() {
		in = append(in, t.In(i))
	}
	var out []reflect.Type
	for i := range t.NumOut() {
		out = append(out, t.Out(i))
	}
	return reflect.FuncOf(in, out, t.IsVariadic())
}

func (b *builder) kind(h *Handler, out []reflect.Type, read bool) {
	h.HasError = len(out) > 0 && out[len(out)-1] == errorType
	if h.HasError && len(out) == 2 {
		h.Result = out[0]
	}
	answers := h.HasError && len(out) <= 2
	wrong := func(kind Kind, shape string) { b.fault("method %s: as a %s it has to be %s", h.Method, kind, shape) }
	switch {
	case h.Method == "Run":
		h.Kind = Run
		if read || !answers {
			wrong(Run, shapeRun)
		}
	case h.Method == "Init":
		h.Kind = Init
		if !read || len(out) > 1 || len(out) == 1 && !h.HasError {
			b.fault("method Init: it has to be Init(q workflow.ReadContext, args ... as Run) error, or without a result")
		}
	case read && strings.HasPrefix(h.Method, "Validate"):
		h.Kind = Validator
		if len(out) != 1 || !h.HasError {
			wrong(Validator, shapeValidator)
		}
	case read:
		h.Kind = Query
		if !answers || h.Result == nil {
			wrong(Query, shapeQuery)
		} else if k := h.Result.Kind(); k == reflect.Chan || k == reflect.Func {
			b.fault("method %s: a %s cannot be the result of a query", h.Method, k)
		}
	case len(out) == 0:
		h.Kind = Signal
	default:
		h.Kind = Update
		if !answers {
			b.fault("method %s: with results it is an update and has to be %s; a signal has none", h.Method, shapeUpdate)
		}
	}
}

// dynamic finds out whether a handler takes any name.
func (b *builder) dynamic(h *Handler) {
	at := slices.Index(h.Params, b.r.Args)
	if at < 0 {
		return
	}
	if h.Kind == Run || h.Kind == Init {
		if len(h.Params) != 1 {
			b.fault("method %s: a dynamic workflow takes workflow.Args and nothing else", h.Method)
			return
		}
	} else if len(h.Params) != 2 || h.Params[0].Kind() != reflect.String {
		b.fault("method %s: a dynamic %s has to take %s", h.Method, h.Kind, shapeDynamic)
		return
	}
	if n, ok := b.names[h.Method]; ok {
		b.fault("method %s: it is dynamic and has a name, %q; it can have one of the two", h.Method, n)
	}
	h.Dynamic, h.Params, h.Name = true, nil, ""
}

func (b *builder) validator(name string, v *Handler) {
	of := strings.TrimPrefix(name, "Validate")
	u := b.d.methods[of]
	switch {
	case u == nil || u.Kind != Update:
		b.fault("method %s: there is no update %s for it to validate", name, of)
	case u.Dynamic != v.Dynamic || !slices.Equal(u.Params, v.Params):
		b.fault("method %s: its parameters are not those of update %s", name, of)
	default:
		u.Validator = v
	}
}

func (b *builder) main() {
	d := b.d
	d.Run, d.Init = b.d.methods["Run"], b.d.methods["Init"]
	if d.Run == nil || d.Run.Kind != Run {
		if !slices.ContainsFunc(b.faults, func(f string) bool { return strings.HasPrefix(f, "method Run:") }) {
			b.fault("it has no main method; it needs %s", shapeRun)
		}
		return
	}
	d.Dynamic = d.Run.Dynamic
	if d.Init != nil && (d.Init.Dynamic != d.Run.Dynamic || !slices.Equal(d.Init.Params, d.Run.Params)) {
		b.fault("method Init: its parameters are not those of Run")
	}
	if b.name == nil {
		return
	}
	if d.Dynamic {
		b.fault("it is dynamic and has a name, %q; it can have one of the two", *b.name)
	}
	d.Name = *b.name
	b.checkName("its name", d.Name, Run)
}

func (b *builder) place(h *Handler) {
	named := map[Kind]map[string]*Handler{Signal: b.d.Signals, Query: b.d.Queries, Update: b.d.Updates}[h.Kind]
	if named == nil {
		return
	}
	if h.Dynamic {
		slot := map[Kind]**Handler{Signal: &b.d.DynamicSignal, Query: &b.d.DynamicQuery, Update: &b.d.DynamicUpdate}[h.Kind]
		if *slot != nil {
			b.fault("methods %s and %s are both dynamic as a %s; there can be one", (*slot).Method, h.Method, h.Kind)
			return
		}
		*slot = h
		return
	}
	b.checkName("method "+h.Method, h.Name, h.Kind)
	if other := named[h.Name]; other != nil {
		b.fault("methods %s and %s are both the %s %q", other.Method, h.Method, h.Kind, h.Name)
		return
	}
	named[h.Name] = h
}

func (b *builder) checkName(what, name string, k Kind) {
	switch {
	case name == "":
		b.fault("%s: the name is empty", what)
	case strings.HasPrefix(name, "__temporal_"):
		b.fault("%s: names that begin with __temporal_ are reserved (%q)", what, name)
	case (k == Query || k == Update) && strings.HasPrefix(name, "__"):
		b.fault("%s: names of queries and updates that begin with __ are reserved (%q)", what, name)
	}
}

// typeName is a type's own name, without pointer, package and type arguments.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, _, _ := strings.Cut(t.Name(), "[")
	return name
}
