package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/perdure/perdure/internal/frontend"
)

// version is set by release builds: -ldflags "-X main.version=1.2.3".
var version string

// ownVersion is this program's version, without a leading v.
func ownVersion() string {
	return cmp.Or(version, "dev")
}

// revision is the commit this was built from, shortened; empty if the build does not know.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", modified"
		}
	}
	if commit == "" {
		return ""
	}
	return ", commit " + commit + dirty
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		Run: func(c *cobra.Command, _ []string) {
			_, _ = fmt.Fprintf(c.OutOrStdout(), "perdure %s (API of Temporal %s%s, %s %s/%s)\n",
				ownVersion(), frontend.CompatibleVersion, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
