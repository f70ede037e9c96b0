package vet

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"

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
