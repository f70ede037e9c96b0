package vet

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"reflect"

	"golang.org/x/tools/go/analysis"
)

// survey looks at each function of a package once, for both analyzers, and tells other packages what the functions do.
var survey = &analysis.Analyzer{
	Name:       "survey",
	Doc:        "find workflow code, and what each function does",
	FactTypes:  []analysis.Fact{new(effect), new(changing)},
	ResultType: reflect.TypeFor[*pkg](),
	Run:        func(pass *analysis.Pass) (any, error) { return surveyOf(pass), nil },
}

// effect is what a function does, as others need to know it. Empty texts: it does not.
type effect struct {
	Impure   string // "calls time.Now (clocks.go:9), which gives …"
	Rule     Rule   // of what is impure
	Commands string // "calls workflow.Sleep (steps.go:9)"
	Outside  string // a command that is work somebody else does
	Blocks   string
	Changes  uint64 // the parameters through which it changes something, the receiver first
	Returns  uint64 // the parameters into which its result may point
}

func (*effect) AFact()           {}
func (e *effect) String() string { return fmt.Sprintf("%+v", *e) }

// changing is a package-level variable to which something is written after its package was initialised.
type changing struct{ Where string }

func (*changing) AFact()           {}
func (c *changing) String() string { return "written in " + c.Where }

// pkg is what is known of a package.
type pkg struct {
	pass     *analysis.Pass // the survey's; for facts, types and files only
	fset     *token.FileSet
	info     *types.Info
	allow    map[allowance]bool
	wrong    []problem // comments that allow nothing
	funcs    []*function
	byObject map[*types.Func]*function
	written  map[*types.Var]token.Pos // package-level variables of this package, written outside of init
	effects  map[*types.Func]*effect
}

// function is a function's declaration or a literal.
type function struct {
	obj    *types.Func // nil: a literal
	node   ast.Node
	typ    *ast.FuncType
	body   *ast.BlockStmt
	parent *function // of a literal
	kind   kind      // of its own parameters, but free if it runs outside of replay
	inner  []*function

	problems []problem
	calls    []call
	deeds    []deed
	moves    []move // see state.go
	results  uint64
}

// call is the use of a function that is known, by a call or as a value.
type call struct {
	at   ast.Node
	to   *types.Func
	expr *ast.CallExpr // nil: as a value
}

// deed is what a function does to the run itself.
type deed struct {
	at   ast.Node
	what string
	does does
}

// effective is the kind of the code of f: a literal without a context belongs to what is around it.
func (f *function) effective() kind {
	for f.kind == plain && f.parent != nil {
		f = f.parent
	}
	return f.kind
}

// decl is the declaration in which f stands.
func (f *function) decl() *function {
	for f.parent != nil {
		f = f.parent
	}
	return f
}

// own calls visit with f and the literals that belong to it.
func (f *function) own(visit func(*function)) {
	visit(f)
	for _, l := range f.inner {
		if l.kind == plain {
			l.own(visit)
		}
	}
}

func surveyOf(pass *analysis.Pass) *pkg {
	p := &pkg{
		pass: pass, fset: pass.Fset, info: pass.TypesInfo, byObject: map[*types.Func]*function{},
		written: map[*types.Var]token.Pos{}, effects: map[*types.Func]*effect{},
	}
	if ours(pass.Pkg.Path()) {
		return p
	}
	p.allow, p.wrong = allowances(pass)
	for _, file := range pass.Files {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Body != nil {
					p.declare(d)
				}
			case *ast.GenDecl: // literals that variables are initialised with
				p.collect(&function{node: d, kind: free}, d)
			}
		}
	}
	for v, pos := range p.written {
		pass.ExportObjectFact(v, &changing{place(p.fset, pos)})
	}
	p.track()
	p.settle()
	for f, e := range p.effects {
		if *e != (effect{}) {
			pass.ExportObjectFact(f, e)
		}
	}
	return p
}

func (p *pkg) declare(d *ast.FuncDecl) {
	obj, ok := p.info.Defs[d.Name].(*types.Func)
	if !ok {
		return
	}
	f := &function{obj: obj, node: d, typ: d.Type, body: d.Body, kind: signatureKind(obj.Signature())}
	p.funcs = append(p.funcs, f)
	p.byObject[obj] = f
	p.collect(f, d.Body)
}

// collect looks at the code of f below root, and makes functions of the literals in it.
func (p *pkg) collect(f *function, root ast.Node) {
	var stack []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if lit, ok := n.(*ast.FuncLit); ok {
			p.literal(f, lit, stack)
			return false
		}
		if f.body != nil {
			p.look(f, n, stack)
		}
		stack = append(stack, n)
		return true
	})
}

func (p *pkg) literal(f *function, lit *ast.FuncLit, stack []ast.Node) {
	l := &function{node: lit, typ: lit.Type, body: lit.Body, parent: f}
	if s, ok := p.info.TypeOf(lit).(*types.Signature); ok {
		l.kind = signatureKind(s)
	}
	if len(stack) > 0 {
		if c, ok := stack[len(stack)-1].(*ast.CallExpr); ok && inWorkflow(target(p.info, c), "SideEffect") {
			l.kind = free
		}
	}
	f.inner = append(f.inner, l)
	p.funcs = append(p.funcs, l)
	p.collect(l, lit.Body)
}

func (f *function) add(at ast.Node, r Rule, what, why string, fixes ...analysis.SuggestedFix) {
	f.problems = append(f.problems, problem{at: at, rule: r, what: what, why: why, fixes: fixes})
}

// look notes what one node does. stack holds the nodes around it, within f.
func (p *pkg) look(f *function, n ast.Node, stack []ast.Node) {
	switch n := n.(type) {
	case *ast.Ident:
		p.use(f, n, stack)
	case *ast.CallExpr:
		p.builtin(f, n)
	case *ast.GoStmt:
		f.add(n, Goroutine, "a goroutine", "does not run in the same order on replay; use workflow.Go(ctx, f)", p.fixGo(f, n)...)
	case *ast.SendStmt:
		if inSelect(n, stack) {
			return
		}
		f.add(n, Channel, "a send to a Go channel", "blocks the worker; use workflow.Channel")
	case *ast.SelectStmt:
		f.add(n, Channel, "select", "takes a case by chance and blocks the worker; use workflow.Select")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW && !inSelect(n, stack) {
			f.add(n, Channel, "a receive from a Go channel", "blocks the worker; use workflow.Channel or workflow.Future")
		}
	case *ast.RangeStmt:
		switch t := p.info.TypeOf(n.X); {
		case t == nil:
		case isChan(t):
			f.add(n, Channel, "a range over a Go channel", "blocks the worker; use workflow.Channel")
		case isMap(t):
			p.rangeMap(f, n, stack)
		}
		p.writes(f, n.Key, n)
		p.writes(f, n.Value, n)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, l := range n.Lhs {
				p.writes(f, l, n)
			}
		}
	case *ast.IncDecStmt:
		p.writes(f, n.X, n)
	}
}

func (p *pkg) rangeMap(f *function, n *ast.RangeStmt, stack []ast.Node) {
	ok, provided := p.orderless(n, stack)
	if ok && len(provided) == 0 {
		return
	}
	x := problem{at: n, rule: MapOrder, what: "a range over a map", why: "goes another way on each replay; range over its sorted keys", fixes: p.fixRange(f, n)}
	if ok {
		x.unless = provided
	}
	f.problems = append(f.problems, x)
}

// inSelect says whether the node is what a case of a select waits for, which is reported with the select.
func inSelect(n ast.Node, stack []ast.Node) bool {
	for i := len(stack) - 1; i >= 0; i-- {
		switch around := stack[i].(type) {
		case *ast.CommClause:
			return around.Comm == n
		case *ast.BlockStmt, *ast.CallExpr:
			return false
		}
		n = stack[i]
	}
	return false
}

func isChan(t types.Type) bool { _, ok := t.Underlying().(*types.Chan); return ok }
func isMap(t types.Type) bool  { _, ok := t.Underlying().(*types.Map); return ok }

// builtin notes calls of functions of the language, and of those whose arguments matter.
func (p *pkg) builtin(f *function, c *ast.CallExpr) {
	id, ok := ast.Unparen(c.Fun).(*ast.Ident)
	if !ok {
		return
	}
	b, ok := p.info.Uses[id].(*types.Builtin)
	if !ok || len(c.Args) == 0 {
		return
	}
	switch t := p.info.TypeOf(c.Args[0]); b.Name() {
	case "make":
		if isChan(t) {
			f.add(c, Channel, "a Go channel", "has no place in workflow code; use workflow.Channel")
		}
	case "close":
		f.add(c, Channel, "close of a Go channel", "has no place in workflow code; use workflow.Channel")
	case "print", "println":
		f.add(c, Log, b.Name(), "prints again on each replay; use workflow.Logger(ctx)")
	case "delete", "clear", "copy":
		p.writes(f, &ast.IndexExpr{X: c.Args[0]}, c)
	}
}

// writes notes a write to a package-level variable, through whatever.
func (p *pkg) writes(f *function, to ast.Expr, at ast.Node) {
	v := p.global(to)
	if v == nil {
		return
	}
	f.add(at, Global, "a write to "+p.titleOf(v), "is seen by other runs, and not undone for a replay; keep state in fields of the workflow")
	d := f.decl()
	if v.Pkg() != p.pass.Pkg || d.obj == nil || d.obj.Name() == "init" && d.obj.Signature().Recv() == nil {
		return
	}
	if old, ok := p.written[v]; !ok || at.Pos() < old {
		if !inTest(p.fset, at.Pos()) || inTest(p.fset, v.Pos()) { // what tests set, they set before
			p.written[v] = at.Pos()
		}
	}
}

func (p *pkg) titleOf(v *types.Var) string {
	if v.Pkg() == p.pass.Pkg {
		return "the package-level variable " + v.Name()
	}
	return v.Pkg().Name() + "." + v.Name()
}

// global is the package-level variable that an expression leads to.
func (p *pkg) global(e ast.Expr) *types.Var {
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
			if v, ok := p.info.Uses[x.Sel].(*types.Var); ok && packageLevel(v) {
				return v
			}
			e = x.X
		case *ast.Ident:
			if v, ok := p.info.Uses[x].(*types.Var); ok && packageLevel(v) {
				return v
			}
			return nil
		default:
			return nil
		}
	}
}

func packageLevel(v *types.Var) bool {
	return v.Pkg() != nil && !v.IsField() && v.Parent() == v.Pkg().Scope()
}

// use notes what an identifier stands for: a function that is called or passed on, or a package-level variable.
func (p *pkg) use(f *function, id *ast.Ident, stack []ast.Node) {
	switch o := p.info.Uses[id].(type) {
	case *types.Func:
		p.useFunc(f, id, o.Origin(), stack)
	case *types.Var:
		if !packageLevel(o) {
			return
		}
		at := whole(id, stack)
		if v, ok := worldly[o.Pkg().Path()+"."+o.Name()]; ok {
			f.add(at, v.rule, o.Pkg().Name()+"."+o.Name(), v.why)
			return
		}
		if !p.target(id, stack) {
			f.problems = append(f.problems, problem{at: at, rule: Global, what: p.titleOf(o)})
		}
	}
}

// whole is a qualified identifier with its qualifier.
func whole(id *ast.Ident, stack []ast.Node) ast.Node {
	if len(stack) > 0 {
		if s, ok := stack[len(stack)-1].(*ast.SelectorExpr); ok && s.Sel == id {
			return s
		}
	}
	return id
}

// target says whether what the identifier leads to is written to by the statement around it.
func (p *pkg) target(id *ast.Ident, stack []ast.Node) bool {
	for i := len(stack) - 1; i >= 0; i-- {
		switch s := stack[i].(type) {
		case *ast.AssignStmt:
			for _, l := range s.Lhs {
				if l.Pos() <= id.Pos() && id.End() <= l.End() && p.global(l) == p.info.Uses[id] {
					return true
				}
			}
			return false
		case *ast.IncDecStmt:
			return true
		case ast.Stmt:
			return false
		}
	}
	return false
}

func (p *pkg) useFunc(f *function, id *ast.Ident, to *types.Func, stack []ast.Node) {
	at := whole(id, stack)
	c := callOf(at, stack)
	expr := ast.Node(at)
	if c != nil {
		expr = c
	}
	if to.Pkg() != nil && to.Pkg().Path() == workflowPath {
		if d := verbs[stem(to)]; d != 0 {
			f.deeds = append(f.deeds, deed{expr, "workflow." + stem(to), d})
		}
		return
	}
	if sideEffect(p.info, at, stack) {
		return
	}
	if v, ok := judge(to); ok && !v.nothing() {
		f.add(expr, v.rule, title(to, p.pass.Pkg), v.why, p.fixCall(f, c, to, stack)...)
		return
	}
	if seq, ok := p.mapSeq(to, c, stack); ok {
		f.add(expr, MapOrder, seq, "has no order; put it into slices.Sorted")
		return
	}
	if atomicGlobal(p, to, c) {
		f.add(expr, Global, title(to, p.pass.Pkg)+" of a package-level variable", "shares state with other runs; keep state in fields of the workflow")
		return
	}
	k := signatureKind(to.Signature())
	if k == free && c != nil && !passesBackground(p.info, c) && to.Pkg() != nil && (to.Signature().Recv() == nil || to.Pkg() == p.pass.Pkg || ours(pathOf(to))) {
		f.add(expr, Context, title(to, p.pass.Pkg), "takes a context.Context: it is an activity, or code for outside of workflows; run it with workflow.Activity")
		return
	}
	f.calls = append(f.calls, call{expr, to, c})
}

func (v verdict) nothing() bool { return v.rule == "" }

// callOf is the call whose function at is.
func callOf(at ast.Node, stack []ast.Node) *ast.CallExpr {
	i := len(stack) - 1
	if i >= 0 && stack[i] == at {
		i--
	}
	for ; i >= 0; i-- {
		switch n := stack[i].(type) {
		case *ast.IndexExpr: // type arguments
			if n.X != at {
				return nil
			}
			at = n
		case *ast.IndexListExpr:
			if n.X != at {
				return nil
			}
			at = n
		case *ast.ParenExpr:
			at = n
		case *ast.CallExpr:
			if n.Fun == at {
				return n
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// sideEffect says whether at is a function that is given to workflow.SideEffect.
func sideEffect(info *types.Info, at ast.Node, stack []ast.Node) bool {
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i] == at {
			continue
		}
		c, ok := stack[i].(*ast.CallExpr)
		return ok && c.Fun != at && inWorkflow(target(info, c), "SideEffect")
	}
	return false
}

// passesBackground says whether an argument is a call into package context, which is reported by itself.
func passesBackground(info *types.Info, c *ast.CallExpr) bool {
	for _, a := range c.Args {
		if inner, ok := ast.Unparen(a).(*ast.CallExpr); ok && pathOf(target(info, inner)) == "context" {
			return true
		}
	}
	return false
}

// atomicGlobal says whether a call is to a method of an atomic or of a sync.Map in a package-level variable, or to a function
// of package atomic.
func atomicGlobal(p *pkg, to *types.Func, c *ast.CallExpr) bool {
	if c == nil {
		return false
	}
	atomic := pathOf(to) == "sync/atomic"
	if !atomic && !(pathOf(to) == "sync" && (receiver(to) == "Map" || receiver(to) == "Pool")) {
		return false
	}
	if s, ok := ast.Unparen(c.Fun).(*ast.SelectorExpr); ok && receiver(to) != "" {
		return p.global(s.X) != nil
	}
	if len(c.Args) > 0 {
		if u, ok := ast.Unparen(c.Args[0]).(*ast.UnaryExpr); ok && u.Op == token.AND {
			return p.global(u.X) != nil
		}
	}
	return false
}

// changes says where the package-level variable that a node is about is written, if it is. Others are constants in all but name.
func (p *pkg) changes(at ast.Node) (string, bool) {
	e, ok := at.(ast.Expr)
	if !ok {
		return "", false
	}
	v := p.global(e)
	if v == nil {
		return "", false
	}
	if v.Pkg() == p.pass.Pkg {
		pos, ok := p.written[v]
		return place(p.fset, pos), ok
	}
	var c changing
	if p.pass.ImportObjectFact(v, &c) {
		return c.Where, true
	}
	return "", false
}

// impure is what stands in f that would go another way on replay, and is not allowed.
func (p *pkg) impure(f *function) []problem {
	var out []problem
	for _, x := range f.problems {
		if x.rule == Global && x.why == "" {
			where, ok := p.changes(x.at)
			if !ok {
				continue
			}
			x.why = "changes (" + where + "), so a replay may find another value; keep state in fields of the workflow"
		}
		if len(x.unless) > 0 && p.onlyComputes(x.unless) {
			continue
		}
		if !p.allowed(x.at.Pos(), x.rule) {
			out = append(out, x)
		}
	}
	return out
}

// effectOf is what a function of this or another package does.
func (p *pkg) effectOf(f *types.Func) effect {
	if f.Pkg() == p.pass.Pkg {
		if e := p.effects[f]; e != nil {
			return *e
		}
		return effect{}
	}
	var e effect
	if f.Pkg() != nil && p.pass.ImportObjectFact(f, &e) {
		return e
	}
	return effect{}
}

// settle finds what each declared function does, also by calling others, until nothing more is found.
func (p *pkg) settle() {
	for changed := true; changed; {
		changed = false
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
			f.own(func(g *function) { p.sum(f, g, e) })
			changed = changed || *e != before
		}
	}
}

// sum adds to e what g does, which is f or a literal in it.
func (p *pkg) sum(f, g *function, e *effect) {
	if f.kind == plain && e.Impure == "" {
		for _, x := range p.impure(g) {
			e.Impure, e.Rule = fmt.Sprintf("%s (%s) %s", x.what, place(p.fset, x.at.Pos()), x.why), x.rule
			break
		}
	}
	set := func(text *string, d deed, of does) {
		if *text == "" && d.does&of != 0 {
			*text = fmt.Sprintf("%s (%s)", d.what, place(p.fset, d.at.Pos()))
		}
	}
	for _, d := range g.deeds {
		if p.allowed(d.at.Pos(), ReadOnly) {
			continue
		}
		set(&e.Commands, d, commands)
		set(&e.Outside, d, outside)
		set(&e.Blocks, d, blocks)
	}
	for _, c := range g.calls {
		of := p.effectOf(c.to)
		if f.kind == plain && e.Impure == "" && signatureKind(c.to.Signature()) == plain && of.Impure != "" && !p.allowed(c.at.Pos(), of.Rule) {
			e.Impure, e.Rule = of.Impure, of.Rule
		}
		for _, t := range []struct{ to, from *string }{{&e.Commands, &of.Commands}, {&e.Outside, &of.Outside}, {&e.Blocks, &of.Blocks}} {
			if *t.to == "" {
				*t.to = *t.from
			}
		}
	}
}
