package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/limits"
	"github.com/perdure/perdure/internal/node"
	"github.com/perdure/perdure/internal/storage/local"
)

const (
	defaultPort     = 7233
	defaultHTTPPort = 7243
	defaultUIPort   = 8233
	defaultData     = "perdure-data"

	notServed = -1 // of a port
)

// serveFlags are what server and start-dev have in common.
type serveFlags struct {
	ip, uiIP                            string
	port, httpPort, uiPort, metricsPort int
	profilePort                         int
	headless                            bool
	namespaces, attributes, dynamic     []string
	log                                 logFlags
}

func (f *serveFlags) register(flags *pflag.FlagSet, logLevel string) {
	flags.StringVar(&f.ip, "ip", "127.0.0.1", "address to listen on; there is no authentication, so mind who can reach it")
	flags.IntVar(&f.port, "port", defaultPort, "port of gRPC; 0 picks a free one, for this and all other ports")
	flags.StringVar(&f.uiIP, "ui-ip", "", "address of the web UI (default: that of --ip)")
	flags.IntVar(&f.metricsPort, "metrics-port", notServed,
		"port of /metrics alone (default: /metrics is on the ports of the HTTP API and the web UI)")
	flags.Lookup("metrics-port").DefValue = "0" // not shown: the text says it
	flags.IntVar(&f.profilePort, "pprof-port", notServed, "port of Go's profiles, under /debug/pprof/ (default: not served)")
	flags.Lookup("pprof-port").DefValue = "0"
	flags.BoolVar(&f.headless, "headless", false, "do not serve the web UI")
	flags.StringArrayVarP(&f.namespaces, "namespace", "n", nil, "namespace to make if it is missing, beside \"default\"; repeatable")
	flags.StringArrayVar(&f.attributes, "search-attribute", nil,
		"custom search attribute NAME=TYPE to define in \"default\" and each --namespace; repeatable.\n"+
			"Types: Text, Keyword, Int, Double, Bool, Datetime, KeywordList")
	flags.StringArrayVar(&f.dynamic, "dynamic-config-value", nil,
		"NAME=VALUE of a setting of Temporal's server; repeatable. Limits are honoured,\nothers are answered with a warning")
	flags.StringVar(&f.log.level, "log-level", logLevel, "debug, info, warn, error or never")
	flags.StringVar(&f.log.format, "log-format", "text", "text, json or pretty")
}

// config is what the flags ask for; data is not among them.
func (f *serveFlags) config(log *slog.Logger) (node.Config, error) {
	c := node.Config{Namespaces: f.namespaces, Limits: execution.DefaultLimits(), Version: ownVersion(), Log: log}
	for _, name := range f.namespaces {
		if name == "" {
			return c, usagef("--namespace is empty")
		}
	}
	for _, p := range []struct {
		flag, ip string
		port     int
		into     *string
	}{
		{"port", f.ip, f.port, &c.GRPC}, {"http-port", f.ip, f.httpPort, &c.HTTP},
		{"metrics-port", f.ip, f.metricsPort, &c.Metrics}, {"pprof-port", f.ip, f.profilePort, &c.Profile},
		{"ui-port", f.uiAddress(), f.uiPort, &c.UI},
	} {
		switch {
		case p.port < notServed || p.port > 65535 || p.port == notServed && p.flag == "port":
			return c, usagef("--%s %d is not a port", p.flag, p.port)
		case p.port != notServed && (p.flag != "ui-port" || !f.headless):
			*p.into = net.JoinHostPort(strings.Trim(p.ip, "[]"), strconv.Itoa(p.port))
		}
	}
	var err error
	if c.SearchAttributes, err = searchAttributes(f.attributes); err != nil {
		return c, err
	}
	unknown, err := limits.Set(c.Limits, f.dynamic)
	if err != nil {
		return c, usagef("--dynamic-config-value %w", err)
	}
	if len(unknown) > 0 {
		log.Warn("dynamic configuration without a meaning here is ignored", "keys", strings.Join(unknown, " "))
	}
	return c, nil
}

func (f *serveFlags) uiAddress() string {
	if f.uiIP == "" {
		return f.ip
	}
	return f.uiIP
}

func searchAttributes(definitions []string) (map[string]enumspb.IndexedValueType, error) {
	types := make(map[string]enumspb.IndexedValueType)
	for _, d := range definitions {
		name, kind, ok := strings.Cut(d, "=")
		if !ok || name == "" {
			return nil, usagef("--search-attribute %q is not of the form NAME=TYPE", d)
		}
		typ, err := enumspb.IndexedValueTypeFromString(kind)
		if err != nil || typ == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return nil, usagef("--search-attribute %q: the type is none of Text, Keyword, Int, Double, Bool, Datetime, KeywordList", d)
		}
		types[name] = typ
	}
	return types, nil
}

func newServer() *cobra.Command {
	var (
		flags    serveFlags
		settings []string
		data     string
		sync     string
		grace    time.Duration
		cache    int
	)
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the server on one node, with its data in one directory",
		Long: `Run the server on one node, with its data in one directory: gRPC, the HTTP/JSON API, metrics and Temporal's
open-source web UI. What a client is told is on disk before it is told. SIGTERM or SIGINT stops it gracefully; a second
signal ends it at once, which loses nothing either.`,
		Args: noArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		log, err := flags.log.logger(c.ErrOrStderr())
		if err != nil {
			return err
		}
		config, err := flags.config(log)
		if err != nil {
			return err
		}
		if unknown, err := limits.Set(config.Limits, settings); err != nil {
			return usagef("--limit %w", err)
		} else if len(unknown) > 0 {
			return usagef("--limit: unknown name %s; there are:\n%s", strings.Join(unknown, ", "), limits.Names())
		}
		if data == "" {
			return usagef("--data is empty")
		}
		if cache < 1 || cache > 1<<20 {
			return usagef("--cache %d is not a number of MiB from 1 to 1048576", cache)
		}
		config.Data, config.Grace, config.CacheBytes = data, grace, cache<<20
		switch sync {
		case "on":
		case "off":
			config.SyncOff = true
			log.Warn("sync is off: a crash or a loss of power will lose what clients were told is kept", "data", data)
		default:
			return usagef("--sync %q is neither on nor off", sync)
		}
		return serve(c.Context(), config, c.OutOrStdout())
	}
	flags.register(c.Flags(), "info")
	c.Flags().IntVar(&flags.httpPort, "http-port", defaultHTTPPort, "port of the HTTP/JSON API; -1: do not serve it")
	c.Flags().IntVar(&flags.uiPort, "ui-port", defaultUIPort, "port of Temporal's open-source web UI")
	c.Flags().StringVar(&data, "data", defaultData, "directory of the data, made if it is missing")
	c.Flags().StringVar(&sync, "sync", "on",
		"on: data is on disk before anyone is told that it is kept;\noff: faster, and a crash loses data that was acknowledged")
	c.Flags().StringArrayVar(&settings, "limit", nil, "NAME=VALUE of a limit; repeatable. Names:\n"+limits.Names())
	c.Flags().IntVar(&cache, "cache", 20,
		"MiB of memory for workflow runs that are kept between inputs; the others are read when something happens to them")
	c.Flags().DurationVar(&grace, "grace", 10*time.Second, "how long a stop waits for calls that are under way")
	c.AddCommand(newStartDev())
	return c
}

func newStartDev() *cobra.Command {
	var (
		flags      serveFlags
		dbFilename string
		pragmas    []string
	)
	c := &cobra.Command{
		Use:   "start-dev",
		Short: "Run a server for development and tests, in memory unless --db-filename is given",
		Long: `Run a server for development and tests, with the flags that the test helpers of Temporal's SDKs pass to a
development server. Data is in memory and gone with the process unless --db-filename is given. The web UI is Temporal's
open-source one.`,
		Args: noArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		log, err := flags.log.logger(c.ErrOrStderr())
		if err != nil {
			return err
		}
		if !c.Flags().Changed("http-port") {
			flags.httpPort = beside(flags.port, defaultHTTPPort)
		}
		if !c.Flags().Changed("ui-port") {
			flags.uiPort = beside(flags.port, defaultUIPort)
		}
		config, err := flags.config(log)
		if err != nil {
			return err
		}
		if len(pragmas) > 0 {
			log.Warn("there is no SQLite here: --sqlite-pragma is ignored", "pragmas", strings.Join(pragmas, " "))
		}
		config.HTTPAnyPort = !c.Flags().Changed("http-port")
		config.Data = dbFilename
		return serve(c.Context(), config, c.OutOrStdout())
	}
	flags.register(c.Flags(), "warn")
	c.Flags().IntVar(&flags.httpPort, "http-port", 0,
		"port of the HTTP/JSON API; -1: do not serve it (default: ten above --port, or a free one if that is in use)")
	c.Flags().IntVar(&flags.uiPort, "ui-port", 0, "port of Temporal's open-source web UI (default: a thousand above --port)")
	c.Flags().StringVarP(&dbFilename, "db-filename", "f", "", "directory to keep the data in (default: memory)")
	c.Flags().StringArrayVar(&pragmas, "sqlite-pragma", nil, "accepted and answered with a warning: there is no SQLite here")
	return c
}

// beside is the port that has the same distance from port as in the default pair; a free one if port is.
func beside(port, other int) int {
	if port == 0 {
		return 0
	}
	if p := port + other - defaultPort; p <= 65535 {
		return p
	}
	return 0
}

// serve runs a node until a signal or a failure ends it.
func serve(ctx context.Context, config node.Config, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tendMemory(ctx)
	context.AfterFunc(ctx, stop) // so that a second signal ends the process at once
	if info, err := os.Stat(config.Data); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file: perdure keeps its data in a directory", config.Data)
	}
	n, err := node.New(ctx, config)
	if err != nil {
		return explain(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
		_, _ = fmt.Fprintln(stdout, announcement(n, config))
	case err := <-done:
		return err
	}
	return <-done
}

// announcement is the one line that says what is served where.
func announcement(n *node.Node, c node.Config) string {
	parts := []string{"gRPC on " + n.GRPCAddr()}
	metrics := ""
	if addr := n.UIAddr(); addr != "" {
		parts = append(parts, "Temporal's web UI on http://"+addr)
		metrics = addr
	}
	if addr := n.HTTPAddr(); addr != "" {
		parts = append(parts, "HTTP/JSON on http://"+addr)
		metrics = addr
	}
	if addr := n.MetricsAddr(); addr != "" {
		metrics = addr
	}
	if metrics != "" {
		parts = append(parts, "metrics on http://"+metrics+"/metrics")
	}
	if addr := n.ProfileAddr(); addr != "" {
		parts = append(parts, "profiles on http://"+addr+"/debug/pprof/")
	}
	data := "data in memory, gone at the end"
	if c.Data != "" {
		dir, err := filepath.Abs(c.Data)
		if err != nil {
			dir = c.Data
		}
		data = "data in " + dir
		if c.SyncOff {
			data += ", NOT SYNCED"
		}
	}
	return fmt.Sprintf("Perdure %s serves %s; %s.", ownVersion(), strings.Join(parts, ", "), data)
}

// explain adds what to do about errors that have an answer.
func explain(err error) error {
	locked, format := (*local.LockedError)(nil), (*local.FormatError)(nil)
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("%s is in use by another perdure process: stop that one, or choose another directory (%w)", locked.Dir, locked.Err)
	case errors.As(err, &format):
		return fmt.Errorf("%s was written by a newer version of perdure (format %d, this one reads up to %d): use that version",
			format.Dir, format.Found, format.Supported)
	}
	return err
}
