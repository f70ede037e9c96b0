package vet_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/internal/vet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestFixesAreWhatTheGoldenFilesSay, and what they leave still compiles and is found again without a fix.
func TestFixesAreWhatTheGoldenFilesSay(t *testing.T) {
	files, left, err := vet.Apply(check(t, vet.Options{Patterns: []string{"./testdata/fix/..."}}))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("%d files were mended", len(files))
	}
	for name, text := range files {
		golden := name + ".golden"
		if *update {
			if err := os.WriteFile(golden, text, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(text)); d != "" {
			t.Errorf("%s (-want +got):\n%s", filepath.Base(golden), d)
		}
	}
	for _, f := range left {
		if f.Fix != nil {
			t.Errorf("%s:%d: the fix was not made: %s", f.File, f.Line, f.Message)
		}
	}
	again := mended(t, files)
	if len(again) != len(left) {
		t.Errorf("%d findings are left, but %d are found again: %v", len(left), len(again), again)
	}
	for _, f := range again {
		if f.Fix != nil {
			t.Errorf("%s:%d: it was mended, and is found again: %s", f.File, f.Line, f.Message)
		}
	}
}

// mended checks the new files in a copy of their packages.
func mended(t *testing.T, files map[string][]byte) []vet.Finding {
	t.Helper()
	dir, err := os.MkdirTemp("testdata", "mended")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range files {
		path := filepath.Join(dir, filepath.Base(filepath.Dir(name)), filepath.Base(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "./"+dir+"/...").CombinedOutput(); err != nil {
		t.Fatalf("mended code does not compile: %s", out)
	}
	return check(t, vet.Options{Patterns: []string{"./" + dir + "/..."}})
}
