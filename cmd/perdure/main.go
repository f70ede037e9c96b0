// Command perdure is a durable-execution server compatible with Temporal's API, in one binary.
//
// Exit status: 0 all is well, 1 it failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the program; it returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(stderr, "perdure: %v\n", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		_, _ = fmt.Fprintf(stderr, "See %s --help.\n", command.CommandPath())
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "perdure",
		Short: "A durable-execution server compatible with Temporal's API",
		Long: `Perdure is a durable-execution server in one binary. It speaks Temporal's public gRPC API, so that official SDKs,
the temporal CLI and Temporal's open-source web UI work with it unmodified.

Perdure is not affiliated with Temporal Technologies, Inc.`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return c.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServer(), newMessage(), newWorkflow(), newVersion(), newCheck(), newBackup(), newVet())
	return root
}

// noArgs and oneArg are cobra's, as usage errors.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q", c.CommandPath(), args[0])
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s takes one argument, %s", c.CommandPath(), what)
		}
		return nil
	}
}
