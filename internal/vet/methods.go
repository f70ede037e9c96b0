package vet

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
	"unicode"
	"unicode/utf8"
)

// method is one of a workflow type's.
type method struct {
	obj  *types.Func
	decl *function // nil: promoted from another package
	kind kind
}

func (m method) results() *types.Tuple { return m.obj.Signature().Results() }

// validates is the update that a method validates by its name; empty if it is none.
func validates(name string) string {
	of, ok := strings.CutPrefix(name, "Validate")
	if r, _ := utf8.DecodeRuneInString(of); !ok || unicode.IsLower(r) {
		return ""
	}
	return of
}

func (m method) validator() bool {
	return m.kind == read && validates(m.obj.Name()) != "" && m.results().Len() == 1 && types.Identical(m.results().At(0).Type(), types.Universe.Lookup("error").Type())
}

func (m method) dynamic() bool {
	params := m.obj.Signature().Params()
	if params.Len() != 3 || !isArgs(params.At(2).Type()) {
		return false
	}
	b, ok := params.At(1).Type().Underlying().(*types.Basic)
	return ok && b.Kind() == types.String
}

// message is what a method handles: signal, query or update.
func (m method) message() string {
	switch name := m.obj.Name(); {
	case name == "Run" || name == "Init":
		return ""
	case m.validator():
		return "update"
	case m.kind == read:
		return "query"
	case m.results().Len() == 0:
		return "signal"
	}
	return "update"
}

// methods are the exported methods of *T whose first parameter is a context of workflows.
func (c *inspector) methods(t *types.TypeName) map[string]method {
	found := map[string]method{}
	set := types.NewMethodSet(types.NewPointer(t.Type()))
	for i := range set.Len() {
		f, ok := set.At(i).Obj().(*types.Func)
		if !ok || !f.Exported() || f.Signature().Params().Len() == 0 {
			continue
		}
		k := contextKind(f.Signature().Params().At(0).Type())
		if k.workflow() && !c.of(t).excluded[f.Name()] {
			found[f.Name()] = method{f, c.byObject[f.Origin()], k}
		}
	}
	return found
}

func (c *inspector) workflowType(t *types.TypeName) {
	if _, ok := t.Type().Underlying().(*types.Struct); !ok {
		return
	}
	all := c.methods(t)
	for _, m := range all {
		if m.decl == nil || typeName(m.obj.Signature().Recv().Type()) != t {
			continue
		}
		if m.kind == read && m.obj.Name() != "Init" {
			c.unchanged(m)
		}
		if m.kind == write && m.message() == "update" {
			c.misplaced(m)
		}
		if m.validator() {
			c.validated(m, all)
		}
		if m.dynamic() {
			c.shadows(m, all, c.of(t))
		}
	}
	for name, at := range c.of(t).abandon {
		c.abandoned(name, at, all)
	}
}

// unchanged finds state that a query or validator changes.
func (c *inspector) unchanged(m method) {
	what := "query"
	if m.validator() {
		what = "validator"
	}
	m.decl.own(func(g *function) {
		for _, x := range g.moves {
			if x.through&1 != 0 {
				c.say(x.at, ReadOnly, what+" "+m.obj.Name(), "%s: a %s leaves nothing in history, so the change is gone on replay", x.what, what)
			}
		}
	})
}

// misplaced finds updates that return what only Run can.
func (c *inspector) misplaced(m method) {
	walk(m.decl.body, func(n ast.Node, _ []ast.Node) {
		r, ok := n.(*ast.ReturnStmt)
		if !ok || len(r.Results) == 0 {
			return
		}
		call, ok := ast.Unparen(r.Results[len(r.Results)-1]).(*ast.CallExpr)
		if !ok {
			return
		}
		if f := target(c.info, call); pathOf(f) == workflowPath && strings.HasPrefix(f.Name(), "ContinueAsNew") {
			c.say(call, ContinueAsNew, "workflow."+f.Name(), "is returned by the update %s, which fails the update and nothing more; keep a note in a field, and return it from Run", m.obj.Name())
		}
	})
}

// validated finds validators of nothing.
func (c *inspector) validated(m method, all map[string]method) {
	of := validates(m.obj.Name())
	u, ok := all[of]
	at := m.decl.node.(*ast.FuncDecl).Name
	if !ok || u.kind != write || u.results().Len() == 0 {
		hint := ""
		if near := c.nearest(of, all); near != "" {
			hint = "; is Validate" + near + " meant?"
		} else if ok {
			hint = ": " + of + " is a " + u.message()
		}
		c.say(at, Validator, m.obj.Name(), "has no update %s to validate%s", of, hint)
		return
	}
	a, b := m.obj.Signature().Params(), u.obj.Signature().Params()
	same := a.Len() == b.Len()
	for i := 1; same && i < a.Len(); i++ {
		same = types.Identical(a.At(i).Type(), b.At(i).Type())
	}
	if !same {
		c.say(at, Validator, m.obj.Name(), "has to take what %s takes after the context", of)
	}
}

// nearest is the update without a validator whose name is least different, if that is little.
func (c *inspector) nearest(name string, all map[string]method) string {
	best, least := "", len(name)/2+1
	for other, m := range all {
		if _, has := all["Validate"+other]; has || m.kind != write || m.results().Len() == 0 || other == "Run" {
			continue
		}
		if d := distance(name, other); d < least || d == least && other < best {
			best, least = other, d
		}
	}
	return best
}

// distance is how many letters have to be changed, added or removed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// shadows finds names that a dynamic handler waits for in vain.
func (c *inspector) shadows(m method, all map[string]method, s *settings) {
	static := map[string]string{}
	for name, other := range all {
		if other.dynamic() || other.message() != m.message() || other.validator() {
			continue
		}
		wire := name
		if renamed, ok := s.names[name]; ok {
			wire = renamed
		}
		static[wire] = name
	}
	var name types.Object
	if params := m.decl.typ.Params.List; len(params) > 1 {
		for v := range m.obj.Signature().Params().Variables() {
			if b, ok := v.Type().Underlying().(*types.Basic); ok && b.Kind() == types.String {
				name = v
			}
		}
	}
	isName := func(e ast.Expr) bool {
		id, ok := ast.Unparen(e).(*ast.Ident)
		return ok && name != nil && c.info.Uses[id] == name
	}
	found := func(e ast.Expr) {
		v := c.info.Types[e].Value
		if v == nil || v.Kind() != constant.String {
			return
		}
		if owner, ok := static[constant.StringVal(v)]; ok {
			c.say(e, Dynamic, m.obj.Name(), "never gets %s: the %s has a handler of its own, %s", v, m.message(), owner)
		}
	}
	ast.Inspect(m.decl.body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				if isName(n.X) {
					found(n.Y)
				} else if isName(n.Y) {
					found(n.X)
				}
			}
		case *ast.SwitchStmt:
			if n.Tag != nil && isName(n.Tag) {
				for _, s := range n.Body.List {
					for _, e := range s.(*ast.CaseClause).List {
						found(e)
					}
				}
			}
		}
		return true
	})
}

// abandoned finds handlers that may be left at work whose work others do.
func (c *inspector) abandoned(name string, at ast.Node, all map[string]method) {
	m, ok := all[name]
	if !ok {
		return
	}
	e := c.effectOf(m.obj.Origin())
	if e.Outside == "" || e.Blocks == "" {
		return
	}
	c.say(at, Abandon, name, "may be left at work when the run closes, but it comes to %s and waits (%s): the result is lost then, and what follows is not done; drop AbandonUnfinished, or let Run wait for this handler",
		e.Outside, strings.TrimPrefix(e.Blocks, "workflow."))
}
