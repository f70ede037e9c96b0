// Package compilefail shows which mistakes with messages do not compile.
package compilefail

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden file")

const (
	golden = "testdata/errors.golden"
	shared = "testdata/workflows.go.txt"
)

// folders are those of snippets, which are written in more than one way: by where a build begins, and by its flags.
var folders = regexp.MustCompile(`[^\s]*/([a-z_]+\.go\.txt:)`)

// Each snippet is a package that is only in an overlay, with the shared workflows beside it. One build takes them all, and goes
// on after a package that does not compile.
func TestMistakesWithMessagesDoNotCompile(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	arguments := []string{"build", "-overlay", filepath.Join(t.TempDir(), "overlay.json")}
	var names []string
	for _, f := range files {
		if f == shared {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(f), ".go.txt")
		names = append(names, name)
		overlay[filepath.Join(here, name, name+".go")] = filepath.Join(here, f)
		overlay[filepath.Join(here, name, "workflows.go")] = filepath.Join(here, shared)
		arguments = append(arguments, "./"+name)
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(arguments[2], text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", arguments...).CombinedOutput()
	if err == nil {
		t.Fatal("all snippets compile")
	}
	said := messages(string(out))
	if m, failed := said["control"]; failed {
		t.Fatalf("the control does not compile, so that others do not says nothing:\n%s", m)
	}
	delete(said, "control")
	var got strings.Builder
	for _, name := range names {
		if name == "control" {
			continue
		}
		if said[name] == "" {
			t.Errorf("%s compiles", name)
		}
		fmt.Fprintf(&got, "# %s\n%s", name, said[name])
		delete(said, name)
	}
	if len(said) > 0 || !slices.Contains(names, "control") {
		t.Errorf("beside the snippets: %q\n%s", said, out)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s\nIf the compiler's words changed, and only they: go test ./internal/compilefail -update", got.String(), want)
	}
}

// messages are what the compiler said, by package.
func messages(out string) map[string]string {
	said, name := map[string]string{}, ""
	for line := range strings.Lines(out) {
		if path, ok := strings.CutPrefix(line, "# "); ok {
			name = strings.TrimSpace(path[strings.LastIndexByte(path, '/')+1:])
			continue
		}
		said[name] += folders.ReplaceAllString(line, "$1")
	}
	return said
}
