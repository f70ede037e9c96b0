package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/perdure/perdure/internal/storage/local"
)

func newCheck() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "check",
		Short: "Read all data of a stopped server and verify its checksums",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := withStore(data, func(s *local.Store) error { return s.Check(c.Context()) })
			if err == nil {
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: no damage found\n", data)
			}
			return err
		},
	}
	c.Flags().StringVar(&data, "data", defaultData, "directory of the data")
	return c
}

func newBackup() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "backup OUT",
		Short: "Copy the data of a stopped server to a directory that does not exist yet",
		Long: `Copy the data of a stopped server to OUT, a directory that does not exist yet. On the same file system the copy
shares files with the original and takes little time and space; copy it to another disk to be safe from losing this one.
A server can be started on OUT as it is.`,
		Args: oneArg("the directory to write"),
		RunE: func(c *cobra.Command, args []string) error {
			err := withStore(data, func(s *local.Store) error { return s.Backup(c.Context(), args[0]) })
			if err == nil {
				_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: copied to %s\n", data, args[0])
			}
			return err
		},
	}
	c.Flags().StringVar(&data, "data", defaultData, "directory of the data")
	return c
}

// withStore opens the store in dir, which has to be there, for do.
func withStore(dir string, do func(*local.Store) error) error {
	// Opening makes what is missing, which is not what a check or a backup is for.
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 0 {
		err = errors.New("the directory is empty")
	}
	if err != nil {
		return fmt.Errorf("there is no data in %s: %w", dir, err)
	}
	s, err := local.Open(dir, local.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return explain(err)
	}
	if err := do(s); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
