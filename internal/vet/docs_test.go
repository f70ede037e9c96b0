package vet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/imports"

	"github.com/perdure/perdure/internal/vet"
)

// header imports what the examples need and what cannot be found by its name alone.
const header = "package example\n\nimport (\n\t\"context\"\n\t\"math/rand/v2\"\n\n\t\"github.com/perdure/perdure/workflow\"\n)\n\nvar _ context.Context\nvar _ = rand.New\n\n"

// TestDocsShowEachRuleBrokenAndKept: in docs/vet.md the first Go block of each rule breaks it, and nothing else, and the second
// breaks none.
func TestDocsShowEachRuleBrokenAndKept(t *testing.T) {
	text, err := os.ReadFile("../../docs/vet.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("testdata", "docs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	want := map[string]vet.Rule{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		blocks := strings.Split(section, "\n```go\n")[1:]
		if len(blocks) != 2 {
			t.Errorf("%s has %d Go blocks", name, len(blocks))
			continue
		}
		for i, b := range blocks {
			code, _, _ := strings.Cut(b, "```")
			folder := name + []string{"-broken", "-kept"}[i]
			want[folder] = []vet.Rule{vet.Rule(name), ""}[i]
			path := filepath.Join(dir, folder, "example.go")
			whole, err := imports.Process(path, []byte(header+code), nil)
			if err == nil {
				err = os.MkdirAll(filepath.Dir(path), 0o777)
			}
			if err == nil {
				err = os.WriteFile(path, whole, 0o666)
			}
			if err != nil {
				t.Fatalf("%s: %v", folder, err)
			}
		}
	}
	for _, a := range vet.About {
		if a.Rule != vet.Allow && want[string(a.Rule)+"-broken"] == "" {
			t.Errorf("docs/vet.md has no section on %s", a.Rule)
		}
	}
	met := map[string]bool{}
	for _, f := range check(t, vet.Options{Patterns: []string{"./" + dir + "/..."}}) {
		folder := filepath.Base(filepath.Dir(f.File))
		met[folder] = true
		if want[folder] != f.Rule {
			t.Errorf("%s: %s: %s", folder, f.Rule, f.Message)
		}
	}
	for folder, rule := range want {
		if rule != "" && !met[folder] {
			t.Errorf("%s breaks nothing", folder)
		}
	}
}
