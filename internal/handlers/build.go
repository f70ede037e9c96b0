package handlers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type settings struct {
	name         *string
	names        map[string]string
	descriptions map[string]string
	abandon      map[string]bool
	wishes       []wish
}

// wish is what an option asked of a method; it is judged when the method's kind is known.
type wish struct{ option, method string }

type builder struct {
	t      reflect.Type
	r      Rules
	d      *Definition
	faults []string
	broken map[string]bool // methods with a fault of their own, which nothing that follows from it needs to repeat
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
	return func(b *builder) {
		b.about(method, "Rename", func(m string) {
			if old, ok := b.names[m]; ok && old != name {
				b.fault("method %s: it is named both %q and %q", m, old, name)
			}
			b.names[m] = name
		})
	}
}

// Describe sets the text that UI and CLI show.
func Describe(method any, text string) Option {
	return func(b *builder) { b.about(method, "Describe", func(m string) { b.descriptions[m] = text }) }
}

// AbandonUnfinished lets a run close while the handler is at work.
func AbandonUnfinished(method any) Option {
	return func(b *builder) { b.about(method, "AbandonUnfinished", func(m string) { b.abandon[m] = true }) }
}

// AbandonAllUnfinished lets a run close whatever handlers are at work.
func AbandonAllUnfinished() Option { return func(b *builder) { b.d.AbandonUnfinished = true } }

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
		if b.name == nil && c.Run != nil && !c.Dynamic {
			b.name = &c.Name
		}
		for _, m := range slices.Sorted(maps.Keys(c.methods)) {
			b.adopt(m, c.methods[m])
		}
	}
}

// adopt takes over what a contract says of a method. Another name than the contract's would miss what is sent by it.
func (b *builder) adopt(m string, h *Handler) {
	if old, ok := b.names[m]; ok && h.Name != "" && old != h.Name {
		b.fault("method %s: it is named both %q and, by its contract, %q", m, old, h.Name)
	}
	if h.Name != "" && h.Name != m {
		b.names[m] = h.Name
	}
	if h.Description != "" && b.descriptions[m] == "" {
		b.descriptions[m] = h.Description
	}
}

func (b *builder) about(method any, option string, set func(string)) {
	name, err := methodName(b.t, method)
	if err != nil {
		b.fault("%s: %v", option, err)
		return
	}
	b.wishes = append(b.wishes, wish{option, name})
	set(name)
}

var (
	errorType  = reflect.TypeFor[error]()
	stringType = reflect.TypeFor[string]()
)

const (
	shapeRun       = "Run(ctx workflow.Context, args ...) (R, error), or only error"
	shapeSignal    = "(ctx workflow.Context, args ...), with no result"
	shapeUpdate    = "(ctx workflow.Context, args ...) (R, error), or only error"
	shapeQuery     = "(q workflow.ReadContext, args ...) (R, error)"
	shapeValidator = "(q workflow.ReadContext, args ... as its update) error"
	shapeDynamic   = "(ctx, name string, args workflow.Args)"
	shapeInit      = "Init(q workflow.ReadContext, args ... as Run) error, or without a result"
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
		before := len(b.faults)
		h := b.method(m, iface)
		b.broken[m.Name] = len(b.faults) > before
		if h != nil {
			b.d.methods[m.Name] = h
			if h.Kind == Validator {
				validators[m.Name] = h
			}
		}
	}
	if !iface {
		b.hidden()
	}
	for _, name := range slices.Sorted(maps.Keys(validators)) {
		b.validator(name, validators[name])
	}
	b.main()
	for _, m := range slices.Sorted(maps.Keys(b.d.methods)) {
		b.place(b.d.methods[m])
	}
	for _, w := range b.wishes {
		b.grant(w)
	}
}

// grant finds options that would change nothing.
func (b *builder) grant(w wish) {
	h := b.d.methods[w.method]
	message := h != nil && (h.Kind == Signal || h.Kind == Query || h.Kind == Update)
	switch {
	case b.broken[w.method] || w.option == "Exclude":
	case b.d.excluded[w.method]:
		b.fault("%s: method %s is excluded", w.option, w.method)
	case !message:
		b.fault("%s: method %s is no signal, query or update", w.option, w.method)
	case w.option == "AbandonUnfinished" && h.Kind == Query:
		b.fault("%s: method %s is a query, which is never unfinished", w.option, w.method)
	}
}

// method makes a handler of what has a context; nil for an ordinary method and for one with faults.
func (b *builder) method(m reflect.Method, iface bool) *Handler {
	t, skip := m.Type, 1
	if iface {
		skip = 0
	}
	first := reflect.Type(nil)
	if t.NumIn() > skip {
		first = t.In(skip)
	}
	if !b.context(first) {
		b.ordinary(m.Name, t, skip)
		return nil
	}
	read := first == b.r.ReadContext
	h := &Handler{Method: m.Name, Name: m.Name, typ: expression(b.t, t, iface), Description: b.descriptions[m.Name], AbandonUnfinished: b.abandon[m.Name] || b.d.AbandonUnfinished}
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
	b.kind(h, out, read)
	b.dynamic(h)
	b.values(h, t.IsVariadic())
	if len(b.faults) > before {
		return nil
	}
	return h
}

// hidden finds handlers of embedded types that the workflow does not have: Go promotes neither of two methods of one name, and
// none that a field hides, and says nothing.
func (b *builder) hidden() {
	found := map[string][]string{}
	b.embedded(b.t.Elem(), map[reflect.Type]bool{}, found)
	for _, m := range slices.Sorted(maps.Keys(found)) {
		b.broken[m] = true
		if of := found[m]; len(of) > 1 {
			b.fault("method %s: those of the embedded %s hide each other; define it on %s", m, strings.Join(of, " and "), b.t)
		} else {
			b.fault("method %s: that of the embedded %s is hidden by a field; rename the field", m, of[0])
		}
	}
}

func (b *builder) embedded(in reflect.Type, seen map[reflect.Type]bool, found map[string][]string) {
	for i := range in.NumField() {
		f := in.Field(i)
		t, first := f.Type, 1
		switch t.Kind() {
		case reflect.Struct:
			t = reflect.PointerTo(t)
		case reflect.Interface:
			first = 0
		}
		if !f.Anonymous || seen[t] {
			continue
		}
		seen[t] = true
		for i := range t.NumMethod() {
			m := t.Method(i)
			_, has := b.t.MethodByName(m.Name)
			if !has && m.Type.NumIn() > first && b.context(m.Type.In(first)) {
				found[m.Name] = append(found[m.Name], f.Type.String())
			}
		}
		if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
			b.embedded(t.Elem(), seen, found)
		}
	}
}

func (b *builder) context(t reflect.Type) bool {
	return t != nil && (t == b.r.Context || t == b.r.ReadContext)
}

// ordinary is a method that does not begin with a context. It is not a handler, but it may have been meant as one.
func (b *builder) ordinary(name string, t reflect.Type, skip int) {
	switch {
	case name == "Run":
		b.fault("method Run: its first parameter has to be workflow.Context; it has to be %s", shapeRun)
		return
	case name == "Init":
		b.fault("method Init: its first parameter has to be workflow.ReadContext; it has to be %s", shapeInit)
		return
	}
	for i := skip + 1; i < t.NumIn(); i++ {
		if b.context(t.In(i)) {
			b.fault("method %s: its context has to be the first parameter", name)
			return
		}
	}
}

// values finds parameters and results that cannot be sent.
func (b *builder) values(h *Handler, variadic bool) {
	if variadic {
		b.fault("method %s: it is variadic; take a slice, or better a struct", h.Method)
	}
	for _, t := range h.Params {
		switch {
		case b.context(t):
			b.fault("method %s: it has more than one context", h.Method)
		case t.Kind() == reflect.Chan || t.Kind() == reflect.Func:
			b.fault("method %s: a %s cannot be an argument", h.Method, t.Kind())
		}
	}
	switch t := h.Result; {
	case t == nil:
	case t == b.r.Args:
		b.fault("method %s: workflow.Args are what a dynamic handler takes; they cannot be a result", h.Method)
	case t.Kind() == reflect.Chan || t.Kind() == reflect.Func:
		b.fault("method %s: a %s cannot be the result of %s", h.Method, t.Kind(), h.Kind.one())
	}
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
	wrong := func(kind Kind, shape string) {
		b.fault("method %s: as %s it has to be %s", h.Method, kind.one(), shape)
	}
	switch {
	case h.Method == "Run":
		h.Kind = Run
		if read || !answers {
			wrong(Run, shapeRun)
		}
	case h.Method == "Init":
		h.Kind = Init
		if !read || len(out) > 1 || len(out) == 1 && !h.HasError {
			b.fault("method Init: it has to be %s", shapeInit)
		}
	case read && validates(h.Method) != "":
		h.Kind = Validator
		if len(out) != 1 || !h.HasError {
			wrong(Validator, shapeValidator)
		}
	case read:
		h.Kind = Query
		if !answers || h.Result == nil {
			wrong(Query, shapeQuery)
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

// validates is the update that a method validates by its name: Approve for ValidateApprove, none for Validated.
func validates(method string) string {
	of, ok := strings.CutPrefix(method, "Validate")
	if r, _ := utf8.DecodeRuneInString(of); !ok || unicode.IsLower(r) {
		return ""
	}
	return of
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
	} else if len(h.Params) != 2 || h.Params[0] != stringType {
		b.fault("method %s: a dynamic %s has to take %s", h.Method, h.Kind, shapeDynamic)
		return
	}
	if n, ok := b.names[h.Method]; ok {
		b.fault("method %s: it is dynamic and has a name, %q; it can have one of the two", h.Method, n)
	}
	h.Dynamic, h.Params, h.Name = true, nil, ""
}

func (b *builder) validator(name string, v *Handler) {
	of := validates(name)
	u := b.d.methods[of]
	switch {
	case b.broken[of]:
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
	d.Run, d.Init = d.methods["Run"], d.methods["Init"]
	if d.Run == nil && !b.broken["Run"] && b.t.Kind() != reflect.Interface { // a contract may be of messages only
		b.fault("it has no main method; it needs %s", shapeRun)
	}
	if d.Run != nil {
		d.Dynamic = d.Run.Dynamic
		if d.Init != nil && (d.Init.Dynamic != d.Run.Dynamic || !slices.Equal(d.Init.Params, d.Run.Params)) {
			b.fault("method Init: its parameters are not those of Run")
		}
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
			b.fault("methods %s and %s are both dynamic as %s; there can be one", (*slot).Method, h.Method, h.Kind.one())
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
