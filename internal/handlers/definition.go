// Package handlers turns the methods of a workflow struct, or of a contract interface, into a checked definition.
//
// Invariant: a definition that is handed out has no fault. All faults of a type are found in one go and listed in one error.
//
// It knows types only: nothing is called here.
package handlers

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// Kind says what a method is for.
type Kind int

// The kinds, told apart by signature alone.
const (
	Run Kind = iota + 1
	Init
	Signal
	Query
	Update
	Validator
)

var kindNames = map[Kind]string{Run: "main method", Init: "init step", Signal: "signal", Query: "query", Update: "update", Validator: "validator"}

func (k Kind) String() string { return kindNames[k] }

// one is the kind with its article.
func (k Kind) one() string {
	if k == Init || k == Update {
		return "an " + k.String()
	}
	return "a " + k.String()
}

// Rules are the types that tell handlers apart: interfaces for the contexts, and what dynamic handlers get.
type Rules struct {
	Context, ReadContext, Args reflect.Type
}

// Handler is one method.
type Handler struct {
	Kind              Kind
	Method            string // as written in Go
	Name              string // on the wire; empty when Dynamic
	Dynamic           bool
	Description       string
	AbandonUnfinished bool
	Params            []reflect.Type // without receiver and context; nil when Dynamic
	Result            reflect.Type   // nil when there is none besides the error
	Func              reflect.Value  // receiver first; invalid for a contract
	HasError          bool
	Validator         *Handler
	typ               reflect.Type // of the method expression
}

// Definition is a workflow type.
type Definition struct {
	Type                                       reflect.Type // *Struct or interface
	Name                                       string
	Dynamic                                    bool
	Run, Init                                  *Handler
	Signals, Queries, Updates                  map[string]*Handler
	DynamicSignal, DynamicQuery, DynamicUpdate *Handler
	AbandonUnfinished                          bool // all handlers, those set at run time, too
	methods                                    map[string]*Handler
	excluded                                   map[string]bool
}

// DefinitionError lists everything that is wrong with a type.
type DefinitionError struct {
	Type   reflect.Type
	Faults []string
}

func (e *DefinitionError) Error() string {
	s := "s"
	if len(e.Faults) == 1 {
		s = ""
	}
	return fmt.Sprintf("workflow %s has %d fault%s:\n  %s", e.Type, len(e.Faults), s, strings.Join(e.Faults, "\n  "))
}

var (
	cache    sync.Map // reflect.Type -> *entry
	declared = struct {
		sync.Mutex
		options map[reflect.Type][][]Option
		late    map[reflect.Type]bool
	}{options: map[reflect.Type][][]Option{}, late: map[reflect.Type]bool{}}
)

type entry struct {
	once sync.Once
	def  *Definition
	err  error
}

// Declare adds options to a type, before its first use. A second declaration of a type is a fault of it, and so is one that
// comes when the type has been used without it.
func Declare(t reflect.Type, options ...Option) {
	declared.Lock()
	defer declared.Unlock()
	declared.options[t] = append(declared.options[t], options)
	if _, used := cache.LoadAndDelete(t); used {
		declared.late[t] = true
	}
}

// Of is the definition of a type, made once. The error is a *DefinitionError. Safe for concurrent use.
func Of(t reflect.Type, r Rules) (*Definition, error) {
	if e, ok := cache.Load(t); ok {
		e := e.(*entry)
		e.once.Do(func() { e.def, e.err = define(t, r) })
		return e.def, e.err
	}
	v, _ := cache.LoadOrStore(t, &entry{})
	e := v.(*entry)
	e.once.Do(func() { e.def, e.err = define(t, r) })
	return e.def, e.err
}

func define(t reflect.Type, r Rules) (*Definition, error) {
	declared.Lock()
	sets, late := declared.options[t], declared.late[t]
	declared.Unlock()
	b := &builder{t: t, r: r, broken: map[string]bool{}, d: &Definition{
		Type: t, Signals: map[string]*Handler{}, Queries: map[string]*Handler{}, Updates: map[string]*Handler{},
		methods: map[string]*Handler{}, excluded: map[string]bool{},
	}, settings: settings{names: map[string]string{}, descriptions: map[string]string{}, abandon: map[string]bool{}}}
	if len(sets) > 1 {
		b.fault("it is declared %d times", len(sets))
	}
	if late {
		b.fault("it is declared after its first use; declare it by a package-level variable")
	}
	for _, set := range sets {
		for _, o := range set {
			o(b)
		}
	}
	b.build()
	if len(b.faults) > 0 {
		return nil, &DefinitionError{Type: t, Faults: b.faults}
	}
	return b.d, nil
}
