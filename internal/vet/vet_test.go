package vet_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/perdure/perdure/internal/vet"
)

func check(t *testing.T, o vet.Options) []vet.Finding {
	t.Helper()
	found, err := vet.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

type line struct {
	file string
	line int
}

// wanted are the expectations that stand in comments: want, followed by regular expressions in backquotes, one for each
// finding on the line, which each begin with the rule's name.
func wanted(t *testing.T, dir string) map[line][]*regexp.Regexp {
	t.Helper()
	wants := map[line][]*regexp.Regexp{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		full, err := filepath.Abs(path)
		for _, g := range f.Comments {
			for _, c := range g.List {
				rest, ok := strings.CutPrefix(c.Text[2:], " want ")
				if !ok {
					continue
				}
				at := line{full, fset.Position(c.Pos()).Line}
				for i, part := range strings.Split(rest, "`") {
					if i%2 == 1 {
						wants[at] = append(wants[at], regexp.MustCompile(part))
					}
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return wants
}

// TestRulesFindWhatTheyAreAboutAndNothingElse: in the packages of testdata, which use the SDK itself, what is found is what the
// comments say, line by line.
func TestRulesFindWhatTheyAreAboutAndNothingElse(t *testing.T) {
	wants := wanted(t, "testdata/src")
	if len(wants) < 100 {
		t.Errorf("only %d lines have expectations", len(wants))
	}
	rules := map[vet.Rule]bool{}
	for _, f := range check(t, vet.Options{Patterns: []string{"./testdata/src/..."}}) {
		at, text := line{f.File, f.Line}, fmt.Sprintf("%s: %s", f.Rule, f.Message)
		rules[f.Rule] = true
		met := false
		for i, w := range wants[at] {
			if w.MatchString(text) {
				wants[at] = append(wants[at][:i:i], wants[at][i+1:]...)
				met = true
				break
			}
		}
		if !met {
			t.Errorf("%s:%d: not expected: %s", f.File, f.Line, text)
		}
	}
	for at, left := range wants {
		for _, w := range left {
			t.Errorf("%s:%d: not found: %s", at.file, at.line, w)
		}
	}
	for _, a := range vet.About {
		if !rules[a.Rule] {
			t.Errorf("testdata breaks no rule %s", a.Rule)
		}
	}
}

// wrongOnPurpose are rules that the SDK's own tests break: definitions that are
// refused, a workflow that has to fail once, and one that finds out what continue-as-new panics with.
var wrongOnPurpose = map[string]vet.Rule{
	"definition_test.go": vet.Validator, "registry_test.go": vet.Validator,
	"corpus_test.go": vet.Global, "drain_test.go": vet.ContinueAsNew,
}

// TestOwnWorkflowsKeepTheRules: those of the examples and of the SDK's tests.
func TestOwnWorkflowsKeepTheRules(t *testing.T) {
	for _, f := range check(t, vet.Options{Dir: "../..", Patterns: []string{"./examples/...", "./worker", "./client", "./embedded", "./workflowtest"}}) {
		if wrongOnPurpose[filepath.Base(f.File)] != f.Rule {
			t.Errorf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Message)
		}
	}
}

func TestWhatCannotBeLoadedIsAnError(t *testing.T) {
	broken := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module broken\n", "a.go": "package a\n\nfunc f() { g() }\n", "b/b.go": "package b\n\nfunc {\n"} {
		path := filepath.Join(broken, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir, pattern, want string
	}{
		{broken, ".", "undefined: g"},
		{broken, "./b", "b.go:3:6"},
		{broken, "./nothing", "nothing"},
		{filepath.Join(broken, "missing"), ".", "missing"},
	} {
		_, err := vet.Check(t.Context(), vet.Options{Dir: c.dir, Patterns: []string{c.pattern}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v does not say %q", c.pattern, err, c.want)
		}
	}
}
