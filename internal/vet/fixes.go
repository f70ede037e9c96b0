package vet

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// context is the name of a context that code at pos can use, of the kind that is needed, and the name of package workflow there.
func (p *pkg) context(f *function, pos token.Pos, need kind) (ctx, workflow string, ok bool) {
	for ; f != nil; f = f.parent {
		if f.kind == free {
			return "", "", false
		}
		if !f.kind.workflow() {
			continue
		}
		for _, field := range f.typ.Params.List {
			if !contextKind(p.info.TypeOf(field.Type)).workflow() || len(field.Names) == 0 || field.Names[0].Name == "_" {
				continue
			}
			name := field.Names[0].Name
			scope := p.pass.Pkg.Scope().Innermost(pos)
			if scope == nil {
				return "", "", false
			}
			_, o := scope.LookupParent(name, pos)
			v, isVar := o.(*types.Var)
			if !isVar {
				return "", "", false
			}
			k := contextKind(v.Type())
			workflow = p.imported(pos, workflowPath)
			return name, workflow, workflow != "" && k.workflow() && (need == read || k == write)
		}
		return "", "", false
	}
	return "", "", false
}

func (p *pkg) file(pos token.Pos) *ast.File {
	for _, f := range p.pass.Files {
		if f.FileStart <= pos && pos < f.FileEnd {
			return f
		}
	}
	return nil
}

// imported is the name under which the file at pos has a package; empty if it has not.
func (p *pkg) imported(pos token.Pos, path string) string {
	f := p.file(pos)
	if f == nil {
		return ""
	}
	for _, s := range f.Imports {
		if q, _ := strconv.Unquote(s.Path.Value); q != path {
			continue
		}
		switch {
		case s.Name == nil:
			return path[strings.LastIndex(path, "/")+1:]
		case s.Name.Name != "_" && s.Name.Name != ".":
			return s.Name.Name
		}
	}
	return ""
}

func (p *pkg) source(n ast.Node) string {
	var b bytes.Buffer
	if err := format.Node(&b, p.fset, n); err != nil {
		return ""
	}
	return b.String()
}

func fix(message string, n ast.Node, text string, more ...analysis.TextEdit) []analysis.SuggestedFix {
	edits := append([]analysis.TextEdit{{Pos: n.Pos(), End: n.End(), NewText: []byte(text)}}, more...)
	return []analysis.SuggestedFix{{Message: message, TextEdits: edits}}
}

// fixCall mends a call of a function that has a counterpart in package workflow.
func (p *pkg) fixCall(f *function, c *ast.CallExpr, to *types.Func, stack []ast.Node) []analysis.SuggestedFix {
	if c == nil {
		return nil
	}
	name := to.Name()
	switch pathOf(to) + "." + name {
	case "time.Now", "time.Since", "time.Until":
		ctx, w, ok := p.context(f, c.Pos(), read)
		if !ok || receiver(to) != "" {
			return nil
		}
		now := fmt.Sprintf("%s.Now(%s)", w, ctx)
		switch name {
		case "Since":
			now += ".Sub(" + p.source(c.Args[0]) + ")"
		case "Until":
			if !operand(c.Args[0]) {
				return nil
			}
			now = p.source(c.Args[0]) + ".Sub(" + now + ")"
		}
		return fix("use the workflow's time", c, now)
	case "github.com/google/uuid.NewString":
		if ctx, w, ok := p.context(f, c.Pos(), write); ok {
			return fix("use the workflow's chance", c, fmt.Sprintf("%s.NewUUID(%s)", w, ctx))
		}
	case "time.Sleep":
		return p.fixSleep(f, c, stack)
	}
	switch pathOf(to) {
	case "math/rand", "math/rand/v2":
		return p.fixRand(f, c, to)
	case "log/slog":
		if slices.Contains([]string{"Debug", "Info", "Warn", "Error", "With"}, name) && receiver(to) == "" {
			if ctx, w, ok := p.context(f, c.Pos(), read); ok {
				return fix("use the workflow's logger", c.Fun, fmt.Sprintf("%s.Logger(%s).%s", w, ctx, name))
			}
		}
	}
	return nil
}

// operand says whether a selector may follow e without parentheses.
func operand(e ast.Expr) bool {
	switch e.(type) {
	case *ast.Ident, *ast.SelectorExpr, *ast.CallExpr, *ast.IndexExpr, *ast.ParenExpr:
		return true
	}
	return false
}

// fixSleep mends a sleep where a failed one can be returned.
func (p *pkg) fixSleep(f *function, c *ast.CallExpr, stack []ast.Node) []analysis.SuggestedFix {
	list := f.typ.Results
	if list == nil || list.NumFields() != 1 || !types.Identical(p.info.TypeOf(list.List[0].Type), types.Universe.Lookup("error").Type()) {
		return nil
	}
	var s ast.Node
	for i := len(stack) - 1; i >= 0 && s == nil; i-- {
		if e, ok := stack[i].(*ast.ExprStmt); ok && e.X == c {
			s = e
		}
	}
	ctx, w, ok := p.context(f, c.Pos(), write)
	if s == nil || !ok {
		return nil
	}
	return fix("use the workflow's timer", s, fmt.Sprintf("if err := %s.Sleep(%s, %s); err != nil {\nreturn err\n}", w, ctx, p.source(c.Args[0])))
}

// fixRand mends functions for which the workflow's generator has a method of the same name and type.
func (p *pkg) fixRand(f *function, c *ast.CallExpr, to *types.Func) []analysis.SuggestedFix {
	ctx, w, ok := p.context(f, c.Pos(), write)
	if !ok {
		return nil
	}
	m := p.generator(to.Name())
	if m == nil || !types.Identical(bare(m.Signature()), bare(to.Signature())) {
		return nil
	}
	return fix("use the workflow's generator", c.Fun, fmt.Sprintf("%s.Rand(%s).%s", w, ctx, to.Name()))
}

func bare(s *types.Signature) *types.Signature {
	return types.NewSignatureType(nil, nil, nil, s.Params(), s.Results(), s.Variadic())
}

// generator is a method of what workflow.Rand returns.
func (p *pkg) generator(name string) *types.Func {
	for _, imp := range p.pass.Pkg.Imports() {
		if imp.Path() != workflowPath {
			continue
		}
		f, ok := imp.Scope().Lookup("Rand").(*types.Func)
		if !ok || f.Signature().Results().Len() != 1 {
			return nil
		}
		o, _, _ := types.LookupFieldOrMethod(f.Signature().Results().At(0).Type(), false, nil, name)
		m, _ := o.(*types.Func)
		return m
	}
	return nil
}

// fixGo mends go func() { … }().
func (p *pkg) fixGo(f *function, g *ast.GoStmt) []analysis.SuggestedFix {
	lit, ok := g.Call.Fun.(*ast.FuncLit)
	if !ok || len(g.Call.Args) > 0 || lit.Type.Params.NumFields() > 0 || lit.Type.Results.NumFields() > 0 {
		return nil
	}
	ctx, w, ok := p.context(f, g.Pos(), write)
	if !ok {
		return nil
	}
	head := fmt.Sprintf("%s.Go(%s, func(%s %s.Context) ", w, ctx, ctx, w)
	return []analysis.SuggestedFix{{Message: "use a coroutine", TextEdits: []analysis.TextEdit{
		{Pos: g.Pos(), End: lit.Body.Pos(), NewText: []byte(head)},
		{Pos: lit.Body.End(), End: g.End(), NewText: []byte(")")},
	}}}
}

// fixRange mends a range over a map by one over its sorted keys.
func (p *pkg) fixRange(f *function, r *ast.RangeStmt) []analysis.SuggestedFix {
	t, ok := p.info.TypeOf(r.X).Underlying().(*types.Map)
	if !ok || r.Tok != token.DEFINE || !f.effective().workflow() {
		return nil
	}
	b, ok := t.Key().Underlying().(*types.Basic)
	key, named := r.Key.(*ast.Ident)
	if !ok || b.Info()&types.IsOrdered == 0 || !named || !settled(r.X) || p.changesMap(r) {
		return nil
	}
	name, value := key.Name, ""
	if v, ok := r.Value.(*ast.Ident); ok && v.Name != "_" {
		if name == "_" {
			name = "key"
			if usesName(r.Body, name) {
				return nil
			}
		}
		value = v.Name
	} else if name == "_" {
		return nil
	}
	m := p.source(r.X)
	slicesName, mapsName, edits, ok := p.imports(r.Pos())
	if !ok {
		return nil
	}
	head := fmt.Sprintf("for _, %s := range %s.Sorted(%s.Keys(%s)) {", name, slicesName, mapsName, m)
	if value != "" {
		head += fmt.Sprintf("\n%s := %s[%s]", value, m, name)
	}
	edits = append([]analysis.TextEdit{{Pos: r.Pos(), End: r.Body.Lbrace + 1, NewText: []byte(head)}}, edits...)
	return []analysis.SuggestedFix{{Message: "range over the sorted keys", TextEdits: edits}}
}

// settled says whether e is the same each time it is evaluated, unless something is assigned.
func settled(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return true
	case *ast.SelectorExpr:
		return settled(e.X)
	}
	return false
}

func usesName(n ast.Node, name string) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == name
		return !found
	})
	return found
}

// changesMap says whether the body stores into the map, or deletes from it, or assigns to it.
func (p *pkg) changesMap(r *ast.RangeStmt) bool {
	m, found := types.ExprString(r.X), false
	ast.Inspect(r.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if i, ok := l.(*ast.IndexExpr); ok {
					l = i.X
				}
				found = found || types.ExprString(l) == m
			}
		case *ast.CallExpr:
			id, ok := n.Fun.(*ast.Ident)
			found = found || ok && (id.Name == "delete" || id.Name == "clear") && types.ExprString(n.Args[0]) == m
		}
		return !found
	})
	return found
}

// imports are the names of packages slices and maps, and the edits that bring those that are missing.
func (p *pkg) imports(pos token.Pos) (slicesName, mapsName string, edits []analysis.TextEdit, ok bool) {
	file := p.file(pos)
	slicesName, mapsName = p.imported(pos, "slices"), p.imported(pos, "maps")
	var missing []string
	for _, x := range []struct {
		name *string
		path string
	}{{&mapsName, "maps"}, {&slicesName, "slices"}} {
		if *x.name != "" {
			continue
		}
		if _, o := p.pass.Pkg.Scope().Innermost(pos).LookupParent(x.path, pos); o != nil {
			return "", "", nil, false
		}
		*x.name = x.path
		missing = append(missing, strconv.Quote(x.path))
	}
	if len(missing) == 0 {
		return slicesName, mapsName, nil, true
	}
	for _, d := range file.Decls {
		if g, isGen := d.(*ast.GenDecl); isGen && g.Tok == token.IMPORT {
			if g.Lparen.IsValid() {
				text := "\n\t" + strings.Join(missing, "\n\t")
				return slicesName, mapsName, []analysis.TextEdit{{Pos: g.Lparen + 1, End: g.Lparen + 1, NewText: []byte(text)}}, true
			}
			text := "import (\n\t" + strings.Join(missing, "\n\t") + "\n\n\t" + p.source(g.Specs[0]) + "\n)"
			return slicesName, mapsName, []analysis.TextEdit{{Pos: g.Pos(), End: g.End(), NewText: []byte(text)}}, true
		}
	}
	return "", "", nil, false
}
