package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// move is a change of something that a parameter leads to.
type move struct {
	at      ast.Node
	what    string
	through uint64 // the parameters, by bit; the receiver is the first
}

// tracker follows, within one declared function and the literals in it, what variables may point into which parameter. It knows
// no order of statements, and does not look into what is built anew from parts of a parameter.
type tracker struct {
	p    *pkg
	f    *function
	from map[types.Object]uint64
}

// track finds what each function changes through its parameters, also by calling others, until nothing more is found.
func (p *pkg) track() {
	for again := true; again; {
		again = false
		for _, f := range p.funcs {
			if f.obj == nil {
				continue
			}
			e := p.effects[f.obj]
			if e == nil {
				e = &effect{}
				p.effects[f.obj] = e
			}
			before := *e
			t := &tracker{p: p, f: f, from: map[types.Object]uint64{}}
			t.parameters()
			t.aliases()
			f.moves, f.results = nil, 0
			t.find(f, f.body)
			f.own(func(g *function) {
				for _, m := range g.moves {
					e.Changes |= m.through
				}
			})
			e.Returns |= f.results
			again = again || *e != before
		}
	}
}

func (t *tracker) parameters() {
	s := t.f.obj.Signature()
	bit := uint64(1)
	if r := s.Recv(); r != nil {
		t.from[r] = bit
		bit <<= 1
	}
	for v := range s.Params().Variables() {
		t.from[v] = bit
		bit <<= 1
	}
}

// aliases finds local variables that lead into parameters.
func (t *tracker) aliases() {
	for again := true; again; {
		again = false
		bind := func(to ast.Expr, bits uint64) {
			id, ok := to.(*ast.Ident)
			if !ok || bits == 0 {
				return
			}
			o := t.p.info.ObjectOf(id)
			if v, ok := o.(*types.Var); ok && !packageLevel(v) && refers(v.Type(), 0) && t.from[o]|bits != t.from[o] {
				t.from[o] |= bits
				again = true
			}
		}
		ast.Inspect(t.f.body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if len(n.Lhs) == len(n.Rhs) {
					for i := range n.Lhs {
						bind(n.Lhs[i], t.leads(n.Rhs[i]))
					}
				} else if len(n.Rhs) == 1 {
					bind(n.Lhs[0], t.leads(n.Rhs[0]))
				}
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if i < len(n.Values) {
						bind(id, t.leads(n.Values[i]))
					}
				}
			case *ast.RangeStmt:
				if n.Value != nil {
					bind(n.Value, t.leads(n.X))
				}
				if n.Key != nil {
					bind(n.Key, t.leads(n.X))
				}
			}
			return true
		})
	}
}

// refers says whether a value of type t may lead to something that it shares with others.
func refers(t types.Type, depth int) bool {
	if depth > 4 {
		return true
	}
	switch t := t.Underlying().(type) {
	case *types.Pointer, *types.Slice, *types.Map, *types.Interface:
		return true
	case *types.Array:
		return refers(t.Elem(), depth+1)
	case *types.Struct:
		for f := range t.Fields() {
			if refers(f.Type(), depth+1) {
				return true
			}
		}
	}
	return false
}

// leads are the parameters into which the value of e may point.
func (t *tracker) leads(e ast.Expr) uint64 {
	switch e := e.(type) {
	case *ast.Ident:
		return t.from[t.p.info.ObjectOf(e)]
	case *ast.ParenExpr:
		return t.leads(e.X)
	case *ast.SelectorExpr:
		return t.leads(e.X)
	case *ast.IndexExpr:
		return t.leads(e.X)
	case *ast.SliceExpr:
		return t.leads(e.X)
	case *ast.StarExpr:
		return t.leads(e.X)
	case *ast.TypeAssertExpr:
		return t.leads(e.X)
	case *ast.UnaryExpr:
		if e.Op == token.AND {
			return t.leads(e.X)
		}
	case *ast.CallExpr:
		return t.callLeads(e)
	}
	return 0
}

func (t *tracker) callLeads(c *ast.CallExpr) uint64 {
	if t.p.info.Types[c.Fun].IsType() && len(c.Args) == 1 {
		return t.leads(c.Args[0])
	}
	if id, ok := c.Fun.(*ast.Ident); ok && id.Name == "append" && len(c.Args) > 0 {
		return t.leads(c.Args[0])
	}
	f := target(t.p.info, c)
	if f == nil {
		return 0
	}
	var bits uint64
	for i, a := range arguments(c, f) {
		if t.p.effectOf(f).Returns&(1<<i) != 0 {
			bits |= t.leads(a)
		}
	}
	return bits
}

// arguments are those of a call, with the receiver first if it has one.
func arguments(c *ast.CallExpr, f *types.Func) []ast.Expr {
	args := c.Args
	if f.Signature().Recv() == nil {
		return args
	}
	if s, ok := ast.Unparen(c.Fun).(*ast.SelectorExpr); ok {
		return append([]ast.Expr{s.X}, args...)
	}
	return args
}

// changed are the parameters of which a part is changed when something is stored in e: the variables themselves are copies, what
// lies behind a pointer, a slice or a map is not.
func (t *tracker) changed(e ast.Expr) uint64 {
	if bits, behind := t.walk(e); behind {
		return bits
	}
	return 0
}

func (t *tracker) walk(e ast.Expr) (bits uint64, behind bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return t.walk(e.X)
	case *ast.SelectorExpr:
		bits, behind = t.walk(e.X)
		s := t.p.info.Selections[e]
		return bits, behind || s != nil && s.Indirect() || isPointer(t.p.info.TypeOf(e.X))
	case *ast.IndexExpr:
		bits, behind = t.walk(e.X)
		_, array := t.p.info.TypeOf(e.X).Underlying().(*types.Array)
		return bits, behind || !array
	case *ast.SliceExpr:
		bits, behind = t.walk(e.X)
		_, array := t.p.info.TypeOf(e.X).Underlying().(*types.Array)
		return bits, behind || !array
	case *ast.StarExpr:
		bits, _ = t.walk(e.X)
		return bits, true
	case *ast.TypeAssertExpr:
		return t.walk(e.X)
	default:
		return t.leads(e), false
	}
}

func isPointer(t types.Type) bool {
	if t == nil {
		return false
	}
	_, ok := t.Underlying().(*types.Pointer)
	return ok
}

// given are the parameters of which a part is changed when a function changes what it was given as e.
func (t *tracker) given(e ast.Expr, receiver bool) uint64 {
	e = ast.Unparen(e)
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.AND {
		return t.changed(u.X)
	}
	typ := t.p.info.TypeOf(e)
	if typ == nil {
		return 0
	}
	switch typ.Underlying().(type) {
	case *types.Pointer, *types.Slice, *types.Map, *types.Interface:
		return t.leads(e)
	}
	if receiver { // the address is taken
		return t.changed(e)
	}
	return t.leads(e) // a struct that holds references
}

// find notes changes in the function itself and, with a function of their own, in the literals in it.
func (t *tracker) find(g *function, root ast.Node) {
	inner := g.inner
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			for _, l := range inner {
				if l.node == n {
					l.moves, l.results = nil, 0
					t.find(l, l.body)
				}
			}
			return false
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if n.Tok != token.DEFINE {
					t.note(g, n, "assigns to "+types.ExprString(l), t.changed(l))
				}
				if i < len(n.Rhs) {
					t.overwrites(g, n.Rhs[i])
				}
			}
		case *ast.IncDecStmt:
			t.note(g, n, "changes "+types.ExprString(n.X), t.changed(n.X))
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				for _, e := range []ast.Expr{n.Key, n.Value} {
					if e != nil {
						t.note(g, n, "assigns to "+types.ExprString(e), t.changed(e))
					}
				}
			}
		case *ast.ReturnStmt:
			for _, e := range n.Results {
				t.overwrites(g, e)
				if typ := t.p.info.TypeOf(e); typ != nil && refers(typ, 0) {
					g.results |= t.leads(e)
				}
			}
		case *ast.CallExpr:
			t.call(g, n)
		}
		return true
	})
}

func (t *tracker) note(g *function, at ast.Node, what string, through uint64) {
	if through != 0 {
		g.moves = append(g.moves, move{at, what, through})
	}
}

// overwrites notes an append to the front of a slice, which writes over what follows there.
func (t *tracker) overwrites(g *function, e ast.Expr) {
	c, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok || len(c.Args) < 2 {
		return
	}
	id, ok := c.Fun.(*ast.Ident)
	if !ok || id.Name != "append" {
		return
	}
	if s, ok := ast.Unparen(c.Args[0]).(*ast.SliceExpr); ok && !s.Slice3 && s.High != nil {
		t.note(g, c, "appends over the rest of "+types.ExprString(s.X), t.leads(s.X))
	}
}

// changers are functions of others that change what they get first.
var changers = map[string][]string{
	"slices":         {"Sort", "SortFunc", "SortStableFunc", "Reverse", "Delete", "DeleteFunc", "Compact", "CompactFunc", "Replace", "Insert"},
	"sort":           {"Sort", "Stable", "Slice", "SliceStable", "Ints", "Strings", "Float64s"},
	"maps":           {"Copy", "DeleteFunc", "Insert"},
	"container/heap": {"Init", "Push", "Pop", "Remove", "Fix"},
}

// changingMethods are methods of others that change their receiver.
var changingMethods = map[string][]string{
	"strings.Builder":           {"Write", "WriteByte", "WriteRune", "WriteString", "Reset", "Grow"},
	"bytes.Buffer":              {"Write", "WriteByte", "WriteRune", "WriteString", "Reset", "Truncate", "Read", "ReadByte", "ReadString", "ReadBytes", "Next", "ReadRune"},
	"container/list.List":       {"PushBack", "PushFront", "PushBackList", "PushFrontList", "InsertAfter", "InsertBefore", "Remove", "MoveAfter", "MoveBefore", "MoveToBack", "MoveToFront", "Init"},
	"sync.Map":                  {"Store", "Delete", "LoadOrStore", "LoadAndDelete", "Swap", "Clear", "CompareAndSwap", "CompareAndDelete"},
	workflowPath + ".Channel":   {"Send", "Receive", "Close"},
	workflowPath + ".Semaphore": {"Acquire", "Release"},
	workflowPath + ".Mutex":     {"Lock", "Unlock"},
	workflowPath + ".Promise":   {"Set"},
}

func (t *tracker) call(g *function, c *ast.CallExpr) {
	if id, ok := ast.Unparen(c.Fun).(*ast.Ident); ok && len(c.Args) > 0 {
		if b, ok := t.p.info.Uses[id].(*types.Builtin); ok {
			if slices.Contains([]string{"delete", "clear", "copy"}, b.Name()) {
				t.note(g, c, "changes "+types.ExprString(c.Args[0])+" with "+b.Name(), t.leads(c.Args[0]))
			}
			return
		}
	}
	f := target(t.p.info, c)
	if f == nil {
		return
	}
	args := arguments(c, f)
	if len(args) == 0 {
		return
	}
	method := f.Signature().Recv() != nil
	if !method && slices.Contains(changers[pathOf(f)], f.Name()) {
		arg := ast.Unparen(args[0])
		if conv, ok := arg.(*ast.CallExpr); ok && len(conv.Args) == 1 && t.p.info.Types[conv.Fun].IsType() {
			arg = conv.Args[0]
		}
		t.note(g, c, "changes "+types.ExprString(arg)+" with "+title(f, t.p.pass.Pkg), t.given(arg, false))
		return
	}
	typ := pathOf(f) + "." + receiver(f)
	if method && (slices.Contains(changingMethods[typ], f.Name()) || strings.HasPrefix(typ, "sync/atomic.") && f.Name() != "Load") {
		t.note(g, c, "changes "+types.ExprString(args[0])+" with "+f.Name(), t.given(args[0], !strings.HasSuffix(typ, ".Promise")))
		return
	}
	e := t.p.effectOf(f)
	for i, a := range args {
		if e.Changes&(1<<min(i, 63)) != 0 {
			t.note(g, c, "calls "+title(f, t.p.pass.Pkg)+", which changes it", t.given(a, method && i == 0))
		}
	}
}
