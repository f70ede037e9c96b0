package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vetted writes a package with one workflow into testdata and gives its folder, as the go command has it.
func vetted(t *testing.T, body string) (dir, pattern string) {
	t.Helper()
	if err := os.MkdirAll("testdata", 0o777); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("testdata", "vet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove("testdata") // stays if it holds something
	})
	text := "package shop\n\nimport (\n\t\"time\"\n\n\t\"github.com/perdure/perdure/workflow\"\n)\n\ntype Shop struct{ at time.Time }\n\nfunc (s *Shop) Run(ctx workflow.Context) error {\n" + body + "\treturn nil\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "shop.go"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir, "./" + filepath.ToSlash(dir)
}

func TestVetExitsWithZeroWhenItFindsNothing(t *testing.T) {
	_, pattern := vetted(t, "\ts.at = workflow.Now(ctx)\n")
	status, out, errs := call(t, "vet", pattern)
	if status != exitOK || out != "" || errs != "" {
		t.Errorf("%d, %q, %q", status, out, errs)
	}
}

func TestVetPrintsWhatItFindsAndExitsWithOne(t *testing.T) {
	dir, pattern := vetted(t, "\ts.at = time.Now()\n")
	status, out, errs := call(t, "vet", pattern)
	want := dir + "/shop.go:12:9: clock: time.Now gives another time on replay; use workflow.Now(ctx) (--fix can do it)\n"
	if status != exitFailed || out != want || !strings.Contains(errs, "1 finding") {
		t.Errorf("%d, %q, %q", status, out, errs)
	}
	status, out, _ = call(t, "vet", "--json", "-C", dir)
	var f struct {
		File, Rule, Message, Fix string
		Line, Column             int
	}
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if status != exitFailed || f.Rule != "clock" || f.Line != 12 || f.Column != 9 || f.Fix == "" || !filepath.IsAbs(f.File) || f.Message == "" {
		t.Errorf("%d, %+v", status, f)
	}
}

func TestVetMendsWhatItCan(t *testing.T) {
	dir, pattern := vetted(t, "\ts.at = time.Now()\n\tgo s.nothing()\n")
	file := filepath.Join(dir, "shop.go")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, "\nfunc (s *Shop) nothing() {}\n"...), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := call(t, "vet", "--fix", pattern)
	if status != exitFailed || strings.Count(out, "\n") != 1 || !strings.Contains(out, "goroutine") || !strings.Contains(errs, "1 finding mended in 1 file") {
		t.Errorf("%d, %q, %q", status, out, errs)
	}
	text, err = os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "s.at = workflow.Now(ctx)\n") {
		t.Errorf("%v, %s", err, text)
	}
}

func TestVetExitsWithTwoWhenItCannotCheck(t *testing.T) {
	_, broken := vetted(t, "\tnothing()\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"vet", broken}, "shop.go:12:2: undefined: nothing"},
		{[]string{"vet", "./nowhere"}, "nowhere"},
		{[]string{"vet", "--tabs"}, "unknown flag: --tabs"},
	} {
		status, _, errs := call(t, c.args...)
		if status != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%q: %d, %q does not say %q", c.args, status, errs, c.want)
		}
	}
}

func TestVetExplainsItsRules(t *testing.T) {
	status, out, _ := call(t, "vet", "-h")
	for _, want := range []string{"map-order", "stored-context", "//perdure:allow", "Exit status"} {
		if status != exitOK || !strings.Contains(out, want) {
			t.Errorf("%d, %q is not in %s", status, want, out)
		}
	}
}
