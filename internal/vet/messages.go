package vet

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/tools/go/analysis"
)

// settings are what workflow.Define says of the methods of a type.
type settings struct {
	names    map[string]string
	abandon  map[string]ast.Node
	excluded map[string]bool
}

// inspector looks at the messages of one package.
type inspector struct {
	*pkg
	pass    *analysis.Pass
	defined map[*types.TypeName]*settings
}

func messages(pass *analysis.Pass) (any, error) {
	p := pass.ResultOf[survey].(*pkg)
	if ours(pass.Pkg.Path()) {
		return nil, nil
	}
	c := &inspector{p, pass, map[*types.TypeName]*settings{}}
	for _, f := range pass.Files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				c.define(n)
			case *ast.StructType:
				c.storedFields(n)
			case *ast.ValueSpec:
				c.storedVariable(n)
			case *ast.TypeAssertExpr:
				c.regained(n)
			}
			return true
		})
	}
	for _, f := range p.funcs {
		c.function(f)
	}
	for _, name := range pass.Pkg.Scope().Names() {
		if t, ok := pass.Pkg.Scope().Lookup(name).(*types.TypeName); ok && !t.IsAlias() {
			c.workflowType(t)
		}
	}
	return nil, nil
}

func (c *inspector) say(at ast.Node, r Rule, what, format string, args ...any) {
	c.report(c.pass, problem{at: at, rule: r, what: what, why: fmt.Sprintf(format, args...)})
}

func (c *inspector) of(t *types.TypeName) *settings {
	s := c.defined[t]
	if s == nil {
		s = &settings{map[string]string{}, map[string]ast.Node{}, map[string]bool{}}
		c.defined[t] = s
	}
	return s
}

// define reads workflow.Define[*T](…).
func (c *inspector) define(call *ast.CallExpr) {
	if !inWorkflow(target(c.info, call), "Define") {
		return
	}
	index, ok := ast.Unparen(call.Fun).(*ast.IndexExpr)
	if !ok {
		return
	}
	t := typeName(c.info.TypeOf(index.Index))
	if t == nil {
		return
	}
	s := c.of(t)
	for _, a := range call.Args {
		option, ok := ast.Unparen(a).(*ast.CallExpr)
		if !ok || len(option.Args) == 0 {
			continue
		}
		sel, ok := ast.Unparen(option.Args[0]).(*ast.SelectorExpr)
		if !ok {
			continue
		}
		method := sel.Sel.Name
		switch f := target(c.info, option); {
		case inWorkflow(f, "Rename") && len(option.Args) == 2:
			if v := c.info.Types[option.Args[1]].Value; v != nil && v.Kind() == constant.String {
				s.names[method] = constant.StringVal(v)
			}
		case inWorkflow(f, "AbandonUnfinished"):
			s.abandon[method] = option
		case inWorkflow(f, "Exclude"):
			s.excluded[method] = true
		}
	}
}

// typeName is the name of T or *T.
func typeName(t types.Type) *types.TypeName {
	if t == nil {
		return nil
	}
	t = types.Unalias(t)
	if ptr, ok := t.(*types.Pointer); ok {
		t = types.Unalias(ptr.Elem())
	}
	if n, ok := t.(*types.Named); ok {
		return n.Origin().Obj()
	}
	return nil
}

const kept = "keeps a workflow.Context, which belongs to one coroutine: what finds it there gets that one's cancellation, and a query could issue commands; pass it on as a parameter"

func (c *inspector) storedFields(s *ast.StructType) {
	for _, f := range s.Fields.List {
		if t := c.info.TypeOf(f.Type); t != nil && contextKind(t) == write {
			name := "an embedded field"
			if len(f.Names) > 0 {
				name = "field " + f.Names[0].Name
			}
			c.say(f, StoredContext, name, kept)
		}
	}
}

func (c *inspector) storedVariable(s *ast.ValueSpec) {
	for _, id := range s.Names {
		v, ok := c.info.Defs[id].(*types.Var)
		if ok && packageLevel(v) && contextKind(v.Type()) == write {
			c.say(s, StoredContext, "the package-level variable "+id.Name, kept)
		}
	}
}

// regained finds q.(workflow.Context).
func (c *inspector) regained(a *ast.TypeAssertExpr) {
	if a.Type == nil {
		return
	}
	to, from := c.info.TypeOf(a.Type), c.info.TypeOf(a.X)
	if to != nil && from != nil && contextKind(to) == write && contextKind(from) == read {
		c.say(a, ReadOnly, "a workflow.Context out of a ReadContext", "lets a query or validator issue commands, which fails the workflow task; take a workflow.Context if the function is only for handlers")
	}
}

// function looks at what holds for all code with a context.
func (c *inspector) function(f *function) {
	k := f.effective()
	if k == read && f.kind != plain {
		c.readOnly(f)
	}
	if f.kind == read && f.obj == nil {
		c.literal(f)
	}
	if !k.workflow() {
		return
	}
	walk(f.body, func(n ast.Node, stack []ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			c.condition(n)
			c.cancelLoop(n, stack)
			c.dropped(n, stack)
		}
	})
}

// walk visits the nodes of a function without those of literals in it.
func walk(body *ast.BlockStmt, visit func(ast.Node, []ast.Node)) {
	var stack []ast.Node
	ast.Inspect(body, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		visit(n, stack)
		stack = append(stack, n)
		return true
	})
}

// readOnly finds commands in a function that has only a ReadContext. It needs another one to issue them, which it must have
// found somewhere.
func (c *inspector) readOnly(f *function) {
	f.own(func(g *function) {
		for _, d := range g.deeds {
			if d.does&(commands|blocks) != 0 {
				c.say(d.at, ReadOnly, d.what, "issues a command or waits in code that may only read: %s", readers(f, c.name(f)))
			}
		}
		for _, x := range g.calls {
			if e := c.effectOf(x.to); e.Commands+e.Blocks != "" {
				done := e.Commands
				if done == "" {
					done = e.Blocks
				}
				c.say(x.at, ReadOnly, title(x.to, c.pass.Pkg), "comes to %s, which issues a command or waits, in code that may only read: %s", done, readers(f, c.name(f)))
			}
		}
	})
}

func readers(f *function, name string) string {
	if f.obj == nil {
		name = "a function in " + name
	}
	return name + " has a ReadContext, as queries, validators and init steps do; they are not part of history, so a replay would not find the command"
}

// literal finds changes of variables around a query or validator that is set at run time.
func (c *inspector) literal(f *function) {
	results := f.typ.Results
	if results == nil || len(results.List) == 0 {
		return
	}
	f.own(func(g *function) {
		walk(g.body, func(n ast.Node, _ []ast.Node) {
			var to []ast.Expr
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					to = n.Lhs
				}
			case *ast.IncDecStmt:
				to = []ast.Expr{n.X}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear"}, id.Name) {
					to = n.Args[:1]
				}
			}
			for _, e := range to {
				if v := c.root(e); v != nil && !packageLevel(v) && (v.Pos() < f.node.Pos() || v.Pos() >= f.node.End()) {
					c.say(n, ReadOnly, types.ExprString(e), "is changed by a query or validator: those leave nothing in history, so the change is gone on replay")
				}
			}
		})
	})
}

func (c *inspector) root(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.Ident:
			v, _ := c.info.Uses[x].(*types.Var)
			return v
		default:
			return nil
		}
	}
}

// condition looks at what is given to Await.
func (c *inspector) condition(call *ast.CallExpr) {
	f := target(c.info, call)
	if !(inWorkflow(f, "Await") || inWorkflow(f, "AwaitFor")) || len(call.Args) == 0 {
		return
	}
	text := c.deedsOf(call.Args[len(call.Args)-1], map[types.Object]bool{})
	if text != "" {
		c.say(call.Args[len(call.Args)-1], Condition, "the condition", "comes to %s: it is asked any number of times and must only look", text)
	}
}

// deedsOf is a command or wait that the function value e comes to; empty if there is none.
func (c *inspector) deedsOf(e ast.Expr, seen map[types.Object]bool) string {
	switch e := ast.Unparen(e).(type) {
	case *ast.FuncLit:
		for _, f := range c.funcs {
			if f.node == e {
				return c.bodyDeeds(f, seen)
			}
		}
	case *ast.Ident:
		o := c.info.Uses[e]
		if o == nil || seen[o] {
			return ""
		}
		seen[o] = true
		if f, ok := o.(*types.Func); ok {
			return either(c.effectOf(f))
		}
		for _, file := range c.pass.Files {
			if file.FileStart <= o.Pos() && o.Pos() < file.FileEnd {
				if value := valueOf(c.info, file, o); value != nil {
					return c.deedsOf(value, seen)
				}
			}
		}
	case *ast.SelectorExpr:
		if f, ok := c.info.Uses[e.Sel].(*types.Func); ok {
			return either(c.effectOf(f.Origin()))
		}
	}
	return ""
}

func either(e effect) string {
	if e.Commands != "" {
		return e.Commands
	}
	return e.Blocks
}

func (c *inspector) bodyDeeds(f *function, seen map[types.Object]bool) string {
	text := ""
	f.own(func(g *function) {
		for _, d := range g.deeds {
			if text == "" && d.does&(commands|blocks) != 0 {
				text = fmt.Sprintf("%s (%s)", d.what, place(c.fset, d.at.Pos()))
			}
		}
		for _, x := range g.calls {
			if text == "" {
				text = either(c.effectOf(x.to))
			}
		}
		walk(g.body, func(n ast.Node, _ []ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok || text != "" {
				return
			}
			if id, ok := call.Fun.(*ast.Ident); ok {
				if _, variable := c.info.Uses[id].(*types.Var); variable {
					text = c.deedsOf(id, seen)
				}
			}
		})
	})
	return text
}

// valueOf is what a variable is declared with.
func valueOf(info *types.Info, in ast.Node, o types.Object) ast.Expr {
	var found ast.Expr
	ast.Inspect(in, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if id, ok := l.(*ast.Ident); ok && info.Defs[id] == o {
					if len(n.Rhs) == len(n.Lhs) {
						found = n.Rhs[i]
					} else {
						found = n.Rhs[0]
					}
				}
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if info.Defs[id] == o && i < len(n.Values) {
					found = n.Values[i]
				}
			}
		}
		return found == nil
	})
	return found
}

// cancelLoop finds a wait in a loop without end whose error nobody looks at: once the context is cancelled the wait does not
// wait any more.
func (c *inspector) cancelLoop(call *ast.CallExpr, stack []ast.Node) {
	f := target(c.info, call)
	if pathOf(f) != workflowPath || verbs[stem(f)]&blocks == 0 || !dropsError(call, stack) {
		return
	}
	var loop *ast.ForStmt
	for i := len(stack) - 1; i >= 0; i-- {
		if s, ok := stack[i].(*ast.ForStmt); ok && s.Post == nil {
			loop = s
			break
		}
	}
	if loop == nil || c.watches(loop) || c.uncancelled(call) {
		return
	}
	c.say(call, CancelLoop, "the error of workflow."+stem(f), "is dropped in a loop: once the context is cancelled nothing waits any more, and the loop spins without ever giving way; return the error")
}

// dropsError says whether the last result of a call goes nowhere.
func dropsError(call *ast.CallExpr, stack []ast.Node) bool {
	if len(stack) == 0 {
		return false
	}
	switch s := stack[len(stack)-1].(type) {
	case *ast.ExprStmt:
		return true
	case *ast.AssignStmt:
		if len(s.Rhs) == 1 && s.Rhs[0] == ast.Expr(call) {
			id, ok := s.Lhs[len(s.Lhs)-1].(*ast.Ident)
			return ok && id.Name == "_"
		}
	}
	return false
}

// watches says whether a loop asks whether it is cancelled.
func (c *inspector) watches(loop *ast.ForStmt) bool {
	found := false
	ast.Inspect(loop, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			f := target(c.info, call)
			found = found || inWorkflow(f, "IsCanceled") || inWorkflow(f, "CancelReason")
		}
		return !found
	})
	return found
}

// uncancelled says whether a call gets a context that cancellation does not reach.
func (c *inspector) uncancelled(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	id, ok := call.Args[0].(*ast.Ident)
	if !ok || c.info.Uses[id] == nil {
		return false
	}
	o := c.info.Uses[id]
	for _, file := range c.pass.Files {
		if file.FileStart <= o.Pos() && o.Pos() < file.FileEnd {
			made, ok := valueOf(c.info, file, o).(*ast.CallExpr)
			return ok && inWorkflow(target(c.info, made), "WithoutCancel")
		}
	}
	return false
}

// dropped finds continue-as-new that is made and thrown away.
func (c *inspector) dropped(call *ast.CallExpr, stack []ast.Node) {
	f := target(c.info, call)
	if pathOf(f) != workflowPath || !strings.HasPrefix(f.Name(), "ContinueAsNew") || len(stack) == 0 {
		return
	}
	lost := dropsError(call, stack)
	switch stack[len(stack)-1].(type) {
	case *ast.DeferStmt, *ast.GoStmt:
		lost = true
	}
	if lost {
		c.say(call, ContinueAsNew, "workflow."+f.Name(), "only makes the error with which Run continues as new; return it from Run")
	}
}

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
