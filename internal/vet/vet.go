// Package vet finds what does not belong into workflow code: what would go another way on replay, and what messages must not do.
//
// Workflow code is every function with a parameter of type workflow.Context or workflow.ReadContext, every function literal in
// one, and every function that such code calls. What functions of other packages of the main module do is known from facts
// about them. Code behind an interface or a function value is not followed. Activities, which have a context.Context, and what
// is given to workflow.SideEffect may do as they like.
//
// The package knows the SDK by the names of its types and imports nothing of it.
package vet

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Rule is the name of what was broken, as it is written in a comment that allows it.
type Rule string

// Rules of determinism.
const (
	Clock     Rule = "clock"
	Random    Rule = "random"
	Goroutine Rule = "goroutine"
	Channel   Rule = "channel"
	Lock      Rule = "lock"
	MapOrder  Rule = "map-order"
	IO        Rule = "io"
	Log       Rule = "log"
	Global    Rule = "global"
	Runtime   Rule = "runtime"
	Context   Rule = "context"
)

// Rules of messages.
const (
	ReadOnly      Rule = "read-only"
	StoredContext Rule = "stored-context"
	Abandon       Rule = "abandon"
	Dynamic       Rule = "dynamic"
	Condition     Rule = "condition"
	CancelLoop    Rule = "cancel-loop"
	ContinueAsNew Rule = "continue-as-new"
	Validator     Rule = "validator"
)

// Allow is broken by a comment that allows something and is not as it has to be. It cannot be allowed.
const Allow Rule = "allow"

// About says of each rule, in the order in which they are explained, what it is about.
var About = []struct {
	Rule Rule
	Text string
}{
	{Clock, "reads the machine's clock or waits by it"},
	{Random, "takes chance from elsewhere than workflow.Rand"},
	{Goroutine, "starts a goroutine"},
	{Channel, "uses a Go channel or select"},
	{Lock, "waits for a lock of package sync"},
	{MapOrder, "depends on the order of a map"},
	{IO, "touches files, the network, a database, the process"},
	{Log, "prints or logs, again on each replay"},
	{Global, "uses a package-level variable that changes"},
	{Runtime, "asks or steers the Go runtime"},
	{Context, "uses a context.Context, or calls what takes one"},
	{ReadOnly, "a query or validator issues commands or changes state"},
	{StoredContext, "a workflow.Context is kept where other coroutines find it"},
	{Abandon, "a handler that may be abandoned has work that would be lost"},
	{Dynamic, "a dynamic handler waits for a name that it never gets"},
	{Condition, "a condition of Await issues commands or waits"},
	{CancelLoop, "a loop that spins once its context is cancelled"},
	{ContinueAsNew, "continue-as-new is asked for and dropped"},
	{Validator, "a Validate method has no update to validate"},
	{Allow, "a comment that allows something has no reason, or names no rule"},
}

func known(r Rule) bool {
	for _, a := range About {
		if a.Rule == r {
			return r != Allow
		}
	}
	return false
}

// Determinism finds in workflow code what would go another way on replay.
var Determinism = &analysis.Analyzer{
	Name:     "determinism",
	Doc:      "find in workflow code what would go another way on replay",
	Requires: []*analysis.Analyzer{survey},
	Run:      determinism,
}

// Messages finds what signals, queries, updates and their validators must not do.
var Messages = &analysis.Analyzer{
	Name:     "messages",
	Doc:      "find what signals, queries, updates and their validators must not do",
	Requires: []*analysis.Analyzer{survey},
	Run:      messages,
}

// problem is what one place does.
type problem struct {
	at    ast.Node
	rule  Rule
	what  string // "time.Now"
	why   string // "gives another time on replay; use workflow.Now(ctx)"
	fixes []analysis.SuggestedFix
	// unless all of these do nothing but compute; empty: in any case.
	unless []*types.Func
}

func (p problem) text() string { return p.what + " " + p.why }

// report hands a problem over unless a comment allows it.
func (p *pkg) report(pass *analysis.Pass, x problem) {
	if p.allowed(x.at.Pos(), x.rule) {
		return
	}
	pass.Report(analysis.Diagnostic{
		Pos: x.at.Pos(), End: x.at.End(), Category: string(x.rule), Message: x.text(), SuggestedFixes: x.fixes,
	})
}

// place is a position for people: the file's name without its folder, and the line.
func place(fset *token.FileSet, pos token.Pos) string {
	at := fset.Position(pos)
	return fmt.Sprintf("%s:%d", filepath.Base(at.Filename), at.Line)
}

// title is how messages call a function: Run, (*Cart).Run, clocks.Stamp, as seen from package from.
func title(f *types.Func, from *types.Package) string {
	name := f.Name()
	if recv := f.Signature().Recv(); recv != nil {
		t, star := recv.Type(), ""
		if ptr, ok := types.Unalias(t).(*types.Pointer); ok {
			t, star = ptr.Elem(), "*"
		}
		if named, ok := types.Unalias(t).(*types.Named); ok {
			of := named.Obj().Name()
			if f.Pkg() != from {
				of = f.Pkg().Name() + "." + of
			}
			if star != "" {
				of = "(*" + of + ")"
			}
			return of + "." + name
		}
		return name
	}
	if f.Pkg() != nil && f.Pkg() != from {
		return f.Pkg().Name() + "." + name
	}
	return name
}

// allowance is a comment that allows a rule on a line.
type allowance struct {
	file string
	line int
	rule Rule
}

const directive = "//perdure:allow"

// allowances reads the comments of a package, and gives those that are wrong.
func allowances(pass *analysis.Pass) (map[allowance]bool, []problem) {
	found, wrong := map[allowance]bool{}, []problem(nil)
	for _, f := range pass.Files {
		var code map[int]bool
		for _, group := range f.Comments {
			for _, c := range group.List {
				rest, ok := strings.CutPrefix(c.Text, directive)
				if !ok || rest != "" && !strings.HasPrefix(rest, " ") {
					continue
				}
				words := strings.Fields(rest)
				switch {
				case len(words) == 0 || !known(Rule(words[0])):
					wrong = append(wrong, problem{at: c, rule: Allow, what: directive, why: "has to name a rule: " + ruleNames()})
					continue
				case len(words) == 1:
					wrong = append(wrong, problem{at: c, rule: Allow, what: directive, why: "has to give a reason after the rule"})
					continue
				}
				if code == nil {
					code = codeLines(pass.Fset, f)
				}
				at := pass.Fset.Position(c.Pos())
				if !code[at.Line] { // alone on its line: it is about the one below
					at.Line = pass.Fset.Position(group.End()).Line + 1
				}
				found[allowance{at.Filename, at.Line, Rule(words[0])}] = true
			}
		}
	}
	return found, wrong
}

// codeLines are the lines on which something begins or ends.
func codeLines(fset *token.FileSet, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n.(type) {
		case nil, *ast.Comment, *ast.CommentGroup, *ast.File:
		default:
			lines[fset.Position(n.Pos()).Line] = true
			lines[fset.Position(n.End()-1).Line] = true
		}
		return true
	})
	return lines
}

func ruleNames() string {
	var names []string
	for _, a := range About {
		if a.Rule != Allow {
			names = append(names, string(a.Rule))
		}
	}
	return strings.Join(names, ", ")
}

func (p *pkg) allowed(pos token.Pos, r Rule) bool {
	at := p.fset.Position(pos)
	return p.allow[allowance{at.Filename, at.Line, r}]
}
