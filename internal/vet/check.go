package vet

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
)

// Options say what to check.
type Options struct {
	Dir      string   // in which patterns are read; empty: here
	Patterns []string // of packages, as the go command takes them; none: the package in Dir
	NoTests  bool     // leave test files out
	Tags     string   // build tags, with commas between
}

// Finding is one place where a rule is broken.
type Finding struct {
	File         string // absolute
	Line, Column int
	Rule         Rule
	Message      string
	Fix          *Fix // nil: there is none that is safe
}

// Fix is how to mend it.
type Fix struct {
	Message string
	Edits   []Edit
}

// Edit puts text in the place of the bytes from Start to End of a file.
type Edit struct {
	File       string
	Start, End int
	Text       string
}

// LoadError says what is wrong with the packages, so that they could not be checked.
type LoadError struct{ Problems []string }

func (e *LoadError) Error() string { return strings.Join(e.Problems, "\n") }

// Check loads packages with the go command, which has to be there, and gives what it finds, in the order of files and lines.
func Check(ctx context.Context, o Options) ([]Finding, error) {
	pkgs, err := load(ctx, o)
	if err != nil {
		return nil, err
	}
	graph, err := checker.Analyze([]*analysis.Analyzer{Determinism, Messages}, pkgs.all, nil)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{} // a package is there again with its tests
	var found []Finding
	for a := range graph.All() { // what others need comes first, so the first error is the reason of those that follow
		if a.Err != nil {
			return nil, fmt.Errorf("%s: %w", a.Package.PkgPath, a.Err)
		}
	}
	for _, a := range graph.Roots {
		if !pkgs.asked[a.Package] {
			continue
		}
		for _, d := range a.Diagnostics {
			f := finding(a.Package, d)
			if key := fmt.Sprint(f.File, f.Line, f.Column, f.Rule, f.Message); !seen[key] {
				seen[key] = true
				found = append(found, f)
			}
		}
	}
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule))
	})
	return found, nil
}

func finding(p *packages.Package, d analysis.Diagnostic) Finding {
	at := p.Fset.Position(d.Pos)
	f := Finding{File: at.Filename, Line: at.Line, Column: at.Column, Rule: Rule(d.Category), Message: d.Message}
	if len(d.SuggestedFixes) == 0 {
		return f
	}
	f.Fix = &Fix{Message: d.SuggestedFixes[0].Message}
	for _, e := range d.SuggestedFixes[0].TextEdits {
		start := p.Fset.Position(e.Pos)
		end := p.Fset.Position(e.End)
		f.Fix.Edits = append(f.Fix.Edits, Edit{start.Filename, start.Offset, end.Offset, string(e.NewText)})
	}
	return f
}

type loaded struct {
	all   []*packages.Package // with packages of main modules on which those that were asked for depend
	asked map[*packages.Package]bool
}

// load reads the packages that were asked for from source, and with them those of main modules that they need: what their
// functions do has to be known. Of all others the types are enough, which the compiler has exported.
func load(ctx context.Context, o Options) (*loaded, error) {
	config := &packages.Config{
		Context: ctx, Dir: o.Dir, Tests: !o.NoTests,
		Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedModule | packages.NeedFiles,
	}
	if o.Tags != "" {
		config.BuildFlags = []string{"-tags=" + o.Tags}
	}
	patterns := o.Patterns
	if len(patterns) == 0 {
		patterns = []string{"."}
	}
	if _, err := os.Stat(cmp.Or(o.Dir, ".")); err != nil {
		return nil, err // the go command's own words would be about itself
	}
	first, err := packages.Load(config, patterns...)
	if err != nil {
		return nil, err
	}
	if err := problems(first); err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for _, p := range first {
		asked[p.ID] = true
	}
	var more []string
	packages.Visit(first, nil, func(p *packages.Package) {
		if !asked[p.ID] && p.Module != nil && p.Module.Main && !ours(p.PkgPath) && !strings.Contains(p.ID, " ") {
			more = append(more, p.PkgPath)
		}
	})
	slices.Sort(more)
	config.Mode = packages.NeedName | packages.NeedImports | packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo |
		packages.NeedModule | packages.NeedFiles | packages.NeedCompiledGoFiles
	second, err := packages.Load(config, append(slices.Clone(patterns), more...)...)
	if err != nil {
		return nil, err
	}
	if err := problems(second); err != nil {
		return nil, err
	}
	out := &loaded{asked: map[*packages.Package]bool{}}
	source := map[*packages.Package]bool{}
	for _, p := range second {
		if strings.HasSuffix(p.ID, ".test") || ours(p.PkgPath) {
			continue // the main package of tests; the SDK itself
		}
		out.all = append(out.all, p)
		out.asked[p] = asked[p.ID]
		source[p] = true
	}
	for _, p := range out.all {
		for path, q := range p.Imports {
			if !source[q] {
				delete(p.Imports, path) // it has no facts
			}
		}
	}
	return out, nil
}

// problems are those that the packages have.
func problems(pkgs []*packages.Package) error {
	var e LoadError
	for _, p := range pkgs {
		for _, x := range p.Errors {
			text := x.Msg
			if x.Pos != "" && x.Pos != "-" {
				file, rest, _ := strings.Cut(x.Pos, ":")
				text = short(file) + ":" + rest + ": " + text
			} else if !strings.Contains(text, p.PkgPath) {
				text = p.PkgPath + ": " + text
			}
			if !slices.Contains(e.Problems, text) {
				e.Problems = append(e.Problems, text)
			}
		}
	}
	if len(e.Problems) > 0 {
		return &e
	}
	return nil
}

// short is a file's name as seen from here, if that is shorter.
func short(file string) string {
	here, err := filepath.Abs(".")
	if err != nil {
		return file
	}
	if rel, err := filepath.Rel(here, file); err == nil && len(rel) < len(file) {
		return rel
	}
	return file
}
