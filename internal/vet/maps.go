package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// mapSeq says whether a call gives the entries of a map in no order: maps.Keys and its like, unless what is around sorts them.
func (p *pkg) mapSeq(f *types.Func, c *ast.CallExpr, stack []ast.Node) (string, bool) {
	sequence := pathOf(f) == "maps" && slices.Contains([]string{"Keys", "Values", "All"}, f.Name())
	collected := pathOf(f) == "golang.org/x/exp/maps" && slices.Contains([]string{"Keys", "Values"}, f.Name())
	syncMap := pathOf(f) == "sync" && receiver(f) == "Map" && f.Name() == "Range"
	if !sequence && !collected && !syncMap {
		return "", false
	}
	what := title(f, p.pass.Pkg)
	if c == nil || syncMap {
		return what, true
	}
	at := ast.Node(c)
	for i := len(stack) - 1; i >= 0; i-- {
		switch n := stack[i].(type) {
		case *ast.CallExpr:
			if n == c || n.Fun == at {
				continue
			}
			switch g := target(p.info, n); {
			case pathOf(g) == "slices" && (strings.HasPrefix(g.Name(), "Sorted")):
				return "", false
			case pathOf(g) == "maps" && slices.Contains([]string{"Collect", "Insert"}, g.Name()): // into a map again
				return "", false
			case pathOf(g) == "slices" && slices.Contains([]string{"Collect", "AppendSeq"}, g.Name()):
				at = n
				continue
			}
			return what, true
		case *ast.AssignStmt:
			if len(n.Lhs) == 1 && len(n.Rhs) == 1 && n.Rhs[0] == at && i > 0 {
				return what, !p.sortedAfter(n, n.Lhs[0], stack[:i])
			}
			return what, true
		case *ast.RangeStmt:
			if n.X == at {
				ok, provided := p.orderless(n, stack[:i])
				return what, !ok || len(provided) > 0
			}
			return what, true
		case *ast.SelectorExpr, *ast.IndexExpr, *ast.ParenExpr:
		default:
			return what, true
		}
	}
	return what, true
}

// sortedAfter says whether the first statement after s, in its block, that mentions to sorts it.
func (p *pkg) sortedAfter(s ast.Stmt, to ast.Expr, stack []ast.Node) bool {
	if len(stack) == 0 {
		return false
	}
	name := types.ExprString(to)
	after := false
	for _, next := range statements(stack[len(stack)-1]) {
		if next == s {
			after = true
			continue
		}
		if after && p.mentions(next, to) {
			return p.sorts(next, name)
		}
	}
	return false
}

func statements(block ast.Node) []ast.Stmt {
	switch b := block.(type) {
	case *ast.BlockStmt:
		return b.List
	case *ast.CaseClause:
		return b.Body
	case *ast.CommClause:
		return b.Body
	}
	return nil
}

func (p *pkg) mentions(n ast.Node, e ast.Expr) bool {
	name, found := types.ExprString(e), false
	ast.Inspect(n, func(n ast.Node) bool {
		if x, ok := n.(ast.Expr); ok && types.ExprString(x) == name {
			found = true
		}
		return !found
	})
	return found
}

// sorts says whether a statement sorts the slice of that name before anything else is done with it.
func (p *pkg) sorts(s ast.Stmt, name string) bool {
	found := false
	ast.Inspect(s, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok || found {
			return !found
		}
		f := target(p.info, c)
		sorter := pathOf(f) == "slices" && strings.HasPrefix(f.Name(), "Sort") || pathOf(f) == "sort" && f.Name() != "Search"
		if sorter && len(c.Args) > 0 {
			arg := ast.Unparen(c.Args[0])
			for {
				inner, ok := arg.(*ast.CallExpr)
				if !ok || len(inner.Args) == 0 {
					break
				}
				arg = inner.Args[len(inner.Args)-1] // a conversion like sort.StringSlice(s), or slices.Values(s)
			}
			found = types.ExprString(arg) == name
		}
		return !found
	})
	return found
}

// orderless says whether the order of a loop over a map changes nothing, provided that the functions of this package that it
// calls do nothing but compute.
func (p *pkg) orderless(r *ast.RangeStmt, stack []ast.Node) (ok bool, provided []*types.Func) {
	blank := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return e == nil || ok && id.Name == "_"
	}
	if blank(r.Key) && blank(r.Value) {
		return true, nil
	}
	if r.Tok != token.DEFINE {
		return false, nil
	}
	l := &loop{p: p, r: r, stack: stack, local: map[types.Object]bool{}, constants: map[string]string{}}
	if k, ok := r.Key.(*ast.Ident); ok {
		l.key = p.info.Defs[k]
		l.local[l.key] = true
	}
	if v, ok := r.Value.(*ast.Ident); ok {
		l.local[p.info.Defs[v]] = true
	}
	l.findSums(r.Body)
	ok = l.block(r.Body.List)
	// Leaving early is the same wherever it happens only if it is all that happens.
	return ok && !(l.leaves && l.gathers), l.calls
}

// loop is the body of a range over a map while it is judged. It accepts what gives the same in any order, and nothing else.
type loop struct {
	p         *pkg
	r         *ast.RangeStmt
	stack     []ast.Node
	key       types.Object
	local     map[types.Object]bool // of one round
	sums      map[string]bool       // what rounds add up in, which conditions must not read
	constants map[string]string     // what was set to which constant
	result    *string               // of a return
	leaves    bool                  // with break or return
	gathers   bool                  // adds up, appends, deletes, stores
	calls     []*types.Func         // of this package
}

// findSums finds what the body writes to and that outlives a round.
func (l *loop) findSums(body ast.Node) {
	l.sums = map[string]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, x := range n.Lhs {
					if id, ok := x.(*ast.Ident); ok && l.p.info.Defs[id] != nil {
						l.local[l.p.info.Defs[id]] = true
					}
				}
				return true
			}
			for _, x := range n.Lhs {
				l.sum(x)
			}
		case *ast.IncDecStmt:
			l.sum(n.X)
		case *ast.RangeStmt:
			for _, x := range []ast.Expr{n.Key, n.Value} {
				if id, ok := x.(*ast.Ident); ok && l.p.info.Defs[id] != nil {
					l.local[l.p.info.Defs[id]] = true
				}
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "delete" && len(n.Args) == 2 {
				l.sum(n.Args[0])
			}
		}
		return true
	})
}

func (l *loop) sum(x ast.Expr) {
	if i, ok := x.(*ast.IndexExpr); ok {
		x = i.X
	}
	if id, ok := x.(*ast.Ident); ok && l.local[l.p.info.Uses[id]] {
		return
	}
	l.sums[types.ExprString(x)] = true
}

func (l *loop) block(list []ast.Stmt) bool {
	for _, s := range list {
		if !l.stmt(s) {
			return false
		}
	}
	return true
}

func (l *loop) stmt(s ast.Stmt) bool {
	switch s := s.(type) {
	case nil, *ast.EmptyStmt:
		return true
	case *ast.BlockStmt:
		return l.block(s.List)
	case *ast.DeclStmt:
		return l.pure(s)
	case *ast.IncDecStmt:
		l.gathers = true
		return l.number(s.X) && l.place(s.X)
	case *ast.ExprStmt:
		c, ok := s.X.(*ast.CallExpr)
		if id, isIdent := callee(c); ok && isIdent && id.Name == "delete" && l.p.info.Uses[id] == types.Universe.Lookup("delete") {
			l.gathers = true
			return l.pure(c.Args[1])
		}
		return false
	case *ast.BranchStmt:
		if s.Label != nil || s.Tok == token.GOTO {
			return false
		}
		l.leaves = l.leaves || s.Tok == token.BREAK
		return s.Tok == token.CONTINUE || s.Tok == token.BREAK
	case *ast.ReturnStmt:
		return l.returns(s)
	case *ast.IfStmt:
		if l.extreme(s) {
			l.gathers = true
			return true
		}
		return (s.Init == nil || l.stmt(s.Init)) && l.pure(s.Cond) && l.stmt(s.Body) && (s.Else == nil || l.stmt(s.Else))
	case *ast.RangeStmt:
		t := l.p.info.TypeOf(s.X)
		if s.Tok != token.DEFINE && s.Key != nil || t == nil || isChan(t) {
			return false
		}
		if key := l.key; isMap(t) { // its rounds share the key of the outer one
			l.key = nil
			defer func() { l.key = key }()
		}
		return l.pure(s.X) && l.stmt(s.Body)
	case *ast.AssignStmt:
		return l.assign(s)
	}
	return false
}

func callee(c *ast.CallExpr) (*ast.Ident, bool) {
	if c == nil {
		return nil, false
	}
	id, ok := c.Fun.(*ast.Ident)
	return id, ok
}

// returns accepts a return of constants, always the same ones.
func (l *loop) returns(s *ast.ReturnStmt) bool {
	l.leaves = true
	text := ""
	for _, e := range s.Results {
		if !l.constant(e) {
			return false
		}
		text += types.ExprString(e) + ","
	}
	if l.result != nil && *l.result != text || len(l.constants) > 0 {
		return false
	}
	l.result = &text
	return true
}

func (l *loop) constant(e ast.Expr) bool {
	tv := l.p.info.Types[e]
	if c, ok := e.(*ast.CompositeLit); ok && len(c.Elts) == 0 {
		return true
	}
	return tv.Value != nil || tv.IsNil()
}

// extreme accepts a search for the greatest or least: if v > most { most = v }.
func (l *loop) extreme(s *ast.IfStmt) bool {
	cmp, ok := s.Cond.(*ast.BinaryExpr)
	if !ok || s.Init != nil || s.Else != nil || len(s.Body.List) != 1 {
		return false
	}
	a, ok := s.Body.List[0].(*ast.AssignStmt)
	if !ok || a.Tok != token.ASSIGN || len(a.Lhs) != 1 || cmp.Op != token.LSS && cmp.Op != token.GTR {
		return false
	}
	to, from := types.ExprString(a.Lhs[0]), types.ExprString(a.Rhs[0])
	x, y := types.ExprString(cmp.X), types.ExprString(cmp.Y)
	return (to == x && from == y && l.pure(cmp.Y) || to == y && from == x && l.pure(cmp.X)) && basic(l.p.info.TypeOf(a.Lhs[0]))
}

func basic(t types.Type) bool { _, ok := t.Underlying().(*types.Basic); return ok }

func (l *loop) assign(s *ast.AssignStmt) bool {
	if s.Tok == token.DEFINE {
		for _, e := range s.Rhs {
			if !l.pure(e) {
				return false
			}
		}
		return true
	}
	if len(s.Lhs) != 1 || len(s.Rhs) != 1 {
		return false
	}
	to, from := s.Lhs[0], s.Rhs[0]
	if id, ok := to.(*ast.Ident); ok && l.local[l.p.info.Uses[id]] && s.Tok == token.ASSIGN {
		return l.pure(from)
	}
	switch s.Tok {
	case token.ADD_ASSIGN, token.SUB_ASSIGN, token.OR_ASSIGN, token.AND_ASSIGN, token.XOR_ASSIGN, token.MUL_ASSIGN:
		l.gathers = true
		name := types.ExprString(to)
		if old, ok := l.constants["op "+name]; ok && old != s.Tok.String() && !additive(old, s.Tok.String()) {
			return false
		}
		l.constants["op "+name] = s.Tok.String()
		return l.number(to) && l.place(to) && l.pure(from)
	case token.ASSIGN:
	default:
		return false
	}
	if i, ok := to.(*ast.IndexExpr); ok && isMap(l.p.info.TypeOf(i.X)) { // a key of its own each round, or always the same value
		l.gathers = true
		id, ok := i.Index.(*ast.Ident)
		return l.pure(from) && l.pure(i.Index) && (ok && l.key != nil && l.p.info.Uses[id] == l.key || l.constant(from))
	}
	name := types.ExprString(to)
	if l.constant(from) {
		value := types.ExprString(from)
		old, ok := l.constants[name]
		l.constants[name] = value
		return (!ok || old == value) && l.result == nil
	}
	c, ok := from.(*ast.CallExpr)
	id, isIdent := callee(c)
	if !ok || !isIdent || len(c.Args) == 0 {
		return false
	}
	b, ok := l.p.info.Uses[id].(*types.Builtin)
	if !ok {
		return false
	}
	l.gathers = true
	rest := func() bool {
		for _, a := range c.Args[1:] {
			if !l.pure(a) {
				return false
			}
		}
		return types.ExprString(c.Args[0]) == name
	}
	switch b.Name() {
	case "append":
		return rest() && l.p.sortedAfter(l.r, to, l.stack)
	case "min", "max":
		return rest()
	}
	return false
}

func additive(a, b string) bool { return (a == "+=" || a == "-=") && (b == "+=" || b == "-=") }

// number accepts integers: of floating-point numbers the order of a sum matters, and of strings more so.
func (l *loop) number(e ast.Expr) bool {
	b, ok := l.p.info.TypeOf(e).Underlying().(*types.Basic)
	return ok && b.Info()&types.IsInteger != 0
}

// place accepts what is found without doing anything.
func (l *loop) place(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return true
	case *ast.SelectorExpr:
		return l.place(e.X)
	case *ast.IndexExpr:
		return l.place(e.X) && l.pure(e.Index)
	case *ast.StarExpr:
		return l.place(e.X)
	}
	return false
}

// innocent packages have functions whose result depends on their arguments alone.
var innocent = []string{"strings", "strconv", "unicode", "unicode/utf8", "math", "math/bits", "cmp", "bytes", "path", "errors"}

// pure accepts what depends on nothing that another round may have changed, and changes nothing.
func (l *loop) pure(n ast.Node) bool {
	ok := true
	ast.Inspect(n, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.FuncLit:
			ok = false
		case *ast.UnaryExpr:
			ok = ok && x.Op != token.ARROW
		case *ast.CallExpr:
			ok = ok && l.harmless(x)
		}
		if e, is := n.(ast.Expr); is && ok {
			ok = !l.sums[types.ExprString(e)]
		}
		return ok
	})
	return ok
}

func (l *loop) harmless(c *ast.CallExpr) bool {
	if tv := l.p.info.Types[c.Fun]; tv.IsType() || tv.IsBuiltin() {
		id, ok := c.Fun.(*ast.Ident)
		return !ok || !slices.Contains([]string{"append", "delete", "clear", "copy", "panic", "close", "recover", "print", "println"}, id.Name) || tv.IsType()
	}
	f := target(l.p.info, c)
	if pathOf(f) == "time" {
		return receiver(f) == "Time" || receiver(f) == "Duration"
	}
	if f != nil && f.Pkg() == l.p.pass.Pkg && !l.shares(c) {
		l.calls = append(l.calls, f)
		return true
	}
	return slices.Contains(innocent, pathOf(f)) && receiver(f) == "" || pathOf(f) == "fmt" && strings.HasPrefix(f.Name(), "Sprint")
}

// shares says whether a call gets something of which another part is what rounds add up in.
func (l *loop) shares(c *ast.CallExpr) bool {
	for name := range l.sums {
		if end := strings.IndexAny(name, ".[("); end > 0 && usesName(c, strings.TrimLeft(name[:end], "*(&")) {
			return true
		}
	}
	return false
}

// onlyComputes says whether functions of this package do nothing that anybody would notice.
func (p *pkg) onlyComputes(functions []*types.Func) bool {
	for _, f := range functions {
		if e := p.effectOf(f); p.byObject[f] == nil || e.Impure+e.Commands+e.Blocks != "" || e.Changes != 0 {
			return false
		}
	}
	return true
}
