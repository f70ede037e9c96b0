package guide_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines are those of a text, without indentation and without blank lines at its ends.
func lines(text string) []string {
	var out []string
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		out = append(out, strings.TrimSpace(l))
	}
	return out
}

// TestCodeOfTheGuideIsCompiled: each Go block of the guide stands, line for line, in a Go file of this directory.
func TestCodeOfTheGuideIsCompiled(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	ok(t, err)
	var code []string
	for _, path := range sources {
		text, err := os.ReadFile(path)
		ok(t, err)
		code = append(code, "\n"+strings.Join(lines(string(text)), "\n")+"\n")
	}
	pages, err := filepath.Glob("../../docs/guide/*.md")
	ok(t, err)
	blocks := 0
	for _, path := range pages {
		text, err := os.ReadFile(path)
		ok(t, err)
		for i, part := range strings.Split("\n"+string(text), "\n```go\n")[1:] {
			block, _, closed := strings.Cut(part, "\n```")
			if !closed {
				t.Errorf("%s: Go block %d has no end", path, i+1)
			}
			blocks++
			want, found := "\n"+strings.Join(lines(block), "\n")+"\n", false
			for _, c := range code {
				found = found || strings.Contains(c, want)
			}
			if !found {
				t.Errorf("%s: Go block %d is in no file of examples/guide:\n%s", path, i+1, block)
			}
		}
	}
	if len(pages) < 5 || blocks < 20 {
		t.Errorf("there are %d pages with %d Go blocks; is this the guide?", len(pages), blocks)
	}
}
