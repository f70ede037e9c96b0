package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perdure/perdure/internal/vet"
)

// errFindings is how vet ends when it found something.
var errFindings = errors.New("workflow code breaks rules")

func newVet() *cobra.Command {
	var (
		o         vet.Options
		fix, asJS bool
	)
	c := &cobra.Command{
		Use:   "vet [PACKAGES]",
		Short: "Find in Go workflow code what a replay would do differently, and messages that do what they must not",
		Long: "Check workflow code of Go packages, which are given as the go command takes them (./... for all below; default: the one here).\n" +
			"Workflow code is every function that has a workflow.Context or workflow.ReadContext, and what it calls in the same module.\n" +
			"Activities are not checked. The go command has to be installed.\n\n" +
			"Rules:\n" + vetRules() + `
A finding that is meant to be is allowed by a comment with the rule and the reason, on its line or alone on the line above:

    //perdure:allow global set once by main, before the worker starts

Exit status: 0 nothing was found, 1 something was found, 2 the packages could not be checked.`,
		Example: `  perdure vet ./...
  perdure vet --fix ./...      # mend what is safe to mend
  perdure vet --json ./... | jq -r .rule`,
	}
	flags := c.Flags()
	flags.BoolVar(&fix, "fix", false, "make the changes that are safe, and report what is left")
	flags.BoolVar(&asJS, "json", false, "print one JSON object for each finding")
	flags.BoolVar(&o.NoTests, "no-tests", false, "leave out test files")
	flags.StringVar(&o.Tags, "tags", "", "build tags, with commas between")
	flags.StringVarP(&o.Dir, "dir", "C", "", "directory in which to look for packages")
	c.RunE = func(c *cobra.Command, args []string) error {
		o.Patterns = args
		return runVet(c.Context(), o, fix, asJS, c.OutOrStdout(), c.ErrOrStderr())
	}
	return c
}

func vetRules() string {
	var b strings.Builder
	for _, r := range vet.About {
		fmt.Fprintf(&b, "  %-16s %s\n", r.Rule, r.Text)
	}
	return b.String()
}

func runVet(ctx context.Context, o vet.Options, fix, asJSON bool, out, errs io.Writer) error {
	found, err := vet.Check(ctx, o)
	if err != nil {
		return usageError{fmt.Errorf("the packages cannot be checked: %w", err)}
	}
	if fix {
		files, left, err := vet.Apply(found)
		if err != nil {
			return err
		}
		for name, text := range files {
			if err := os.WriteFile(name, text, 0o666); err != nil {
				return err
			}
		}
		_, _ = fmt.Fprintf(errs, "perdure: %s mended in %s\n", plural(len(found)-len(left), "finding"), plural(len(files), "file"))
		found = left
	}
	for _, f := range found {
		if err := printFinding(out, f, asJSON); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("%s: %w", plural(len(found), "finding"), errFindings)
	}
	return nil
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

func printFinding(out io.Writer, f vet.Finding, asJSON bool) error {
	if !asJSON {
		hint := ""
		if f.Fix != nil {
			hint = " (--fix can do it)"
		}
		_, err := fmt.Fprintf(out, "%s:%d:%d: %s: %s%s\n", fromHere(f.File), f.Line, f.Column, f.Rule, f.Message, hint)
		return err
	}
	line := struct {
		File    string `json:"file"`
		Line    int    `json:"line"`
		Column  int    `json:"column"`
		Rule    string `json:"rule"`
		Message string `json:"message"`
		Fix     string `json:"fix,omitempty"`
	}{f.File, f.Line, f.Column, string(f.Rule), f.Message, ""}
	if f.Fix != nil {
		line.Fix = f.Fix.Message
	}
	return json.NewEncoder(out).Encode(line)
}

// fromHere is a file's name as seen from the working directory, if it is below.
func fromHere(file string) string {
	here, err := os.Getwd()
	if err != nil {
		return file
	}
	if rel, err := filepath.Rel(here, file); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return file
}
