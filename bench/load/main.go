// Command load measures servers of Temporal's API from outside, several side by side: callers in a closed loop, each with one
// operation under way, workers in this process. Every scenario checks what it did, and the command ends with status 1 when
// anything was lost, doubled or wrong. See ../README.md.
//
//	go run ./load -perdure ../bin/perdure -stub ../bin/stub
//	go run ./load -target stub=127.0.0.1:7001,pid=123 -target perdure=127.0.0.1:7002,pid=456 -scenarios activity,empty
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"go.temporal.io/sdk/worker"
)

// settings are what the command line says.
type settings struct {
	targets        targetList
	combos         []combo
	rounds         int
	window, warmUp time.Duration
	timeout        time.Duration

	payload                         int
	gzip                            bool
	workers, pollers, slots, cached int

	workflows, signals, timers, events, closed int

	spread, lead time.Duration
	stocks       stocks

	perdure, stub, dir string
	json, profile      string
	verbose            bool
}

func parse(arguments []string) (*settings, error) {
	var s settings
	var names, open string
	var callers int
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.Var(&s.targets, "target", "`name=host:port[,sdk=official|own|embedded|restate][,admin=host:port][,pid=N][,memory]`; repeatable, the first is what the others are compared with")
	f.StringVar(&names, "scenarios", usual, "list of scenario[@callers]")
	f.IntVar(&callers, "callers", 32, "callers where a scenario does not say")
	f.IntVar(&s.rounds, "rounds", 3, "each scenario is measured so often on each target, in turn")
	seconds := f.Float64("seconds", 3, "length of the measured window")
	warm := f.Float64("warmup", 1, "seconds before it")
	f.DurationVar(&s.timeout, "timeout", 10*time.Minute, "for one measurement with all that belongs to it")
	f.IntVar(&s.payload, "payload", 64, "bytes that go along with each input")
	f.BoolVar(&s.gzip, "gzip", true, "official SDK: compress requests, which is its default")
	f.IntVar(&s.workers, "workers", 4, "official SDK: workers; one begins no more than 1000 polls of a kind a second")
	f.IntVar(&s.pollers, "pollers", 8, "official SDK: polls of a kind that wait at once, of each worker")
	f.IntVar(&s.slots, "slots", 1000, "workflow tasks and activities at work at once, in each worker")
	f.IntVar(&s.cached, "cache", 20_000, "workflows that workers keep between their tasks")
	f.IntVar(&s.workflows, "workflows", 64, "workflows that signals, updates and queries go to")
	f.IntVar(&s.signals, "signals", 10_000, "scenario history: signals to the one workflow")
	f.IntVar(&s.timers, "timers", 500, "scenario timer: workflows that sleep")
	f.DurationVar(&s.spread, "spread", 0, "scenario timer: they wake one after the other over this time; 0: each sleeps a second")
	f.DurationVar(&s.lead, "lead", 0, "scenario timer with -spread: from the first start until the first wakes; 0: 2 s and 3 ms for each")
	f.IntVar(&s.events, "events", 50_000, "scenario long: events of the history in the end")
	f.IntVar(&s.closed, "closed", 0, "scenario open: closed workflows that are there, too")
	f.StringVar(&s.perdure, "perdure", "", "without -target: `binary` of the server to start")
	f.StringVar(&s.stub, "stub", "", "without -target: `binary` of the stub to start, to compare with")
	f.StringVar(&s.dir, "dir", os.TempDir(), "where servers that are started here put their data, in new directories")
	f.StringVar(&open, "open", "0,100000", "scenario open: idle workflows that are there meanwhile; a rising list")
	f.StringVar(&s.json, "json", "", "append each measurement to this `file`, as a line of JSON")
	f.StringVar(&s.profile, "cpuprofile", "", "write a CPU profile of this process to `file`")
	f.BoolVar(&s.verbose, "v", false, "warnings of the SDKs on standard error")
	if err := f.Parse(arguments); err != nil {
		return nil, err
	}
	s.window, s.warmUp = time.Duration(*seconds*float64(time.Second)), time.Duration(*warm*float64(time.Second))
	if len(s.targets) > 0 && s.perdure+s.stub != "" {
		return nil, errors.New("-perdure and -stub are started when there is no -target")
	}
	if s.lead == 0 {
		s.lead = 2*time.Second + time.Duration(s.timers)*3*time.Millisecond
	}
	s.stocks = make(stocks)
	sizes, err := parseSizes(open)
	if err != nil {
		return nil, err
	}
	s.combos, err = parseCombos(names, callers, sizes)
	return &s, err
}

// logs is where the SDKs log to.
func (s *settings) logs() slog.Handler {
	if s.verbose {
		return slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
	}
	return slog.DiscardHandler
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, s, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// run measures everything and prints a line for each measurement and a table of them all.
func run(ctx context.Context, s *settings, out io.Writer) (err error) {
	worker.SetStickyWorkflowCacheSize(s.cached)
	if s.profile != "" {
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	lines := io.Discard
	if s.json != "" {
		f, err := os.OpenFile(s.json, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		lines = f
	}
	if len(s.targets) == 0 {
		var servers *crew
		servers, s.targets, err = muster(ctx, s)
		defer func() { err = errors.Join(err, servers.dismiss(err != nil)) }()
		if err != nil {
			return err
		}
	}
	names := make([]string, len(s.targets))
	for i, t := range s.targets {
		names[i] = t.name
	}
	sums, failures := newTable(names), 0
	for _, c := range s.combos {
		// Targets take turns, so that what the machine does besides hits them all.
		for round := range s.rounds {
			for _, t := range s.targets {
				for _, m := range try(ctx, s, t, c, round) {
					sums.add(m)
					if !m.OK && !m.Unserved {
						failures++
					}
					if err := report(out, lines, m); err != nil {
						return err
					}
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
			}
		}
	}
	fmt.Fprintln(out)
	sums.write(out)
	if err := memory(out, s.targets); err != nil {
		return err
	}
	if failures > 0 {
		return fmt.Errorf("%d measurements failed", failures)
	}
	return nil
}

func report(out, lines io.Writer, m *measurement) error {
	text := fmt.Sprintf("%8s per s  p50 %s p99 %s max %s ms  cpu %s + %s ms", number(m.Rate), number(m.P50), number(m.P99), number(m.Max), cpu(m.ServerCPU), number(m.LoadCPU))
	switch {
	case m.Unserved:
		text = "       –"
	case !m.OK:
		text = "FAILED: " + m.Error
	}
	fmt.Fprintf(out, "%-20s %-12s %s\n", m.Row, m.Target, text)
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = lines.Write(append(line, '\n'))
	return err
}

// memory prints what is resident when all is done: of each server, and of this process.
func memory(out io.Writer, targets []*target) error {
	fmt.Fprint(out, "\nResident at the end:")
	for _, t := range targets {
		if len(t.pids) == 0 {
			continue
		}
		bytes, err := residentOf(t.pids)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, " %s %d MB,", t.name, bytes>>20)
	}
	debug.FreeOSMemory() // garbage of the collector is not what embedded servers leave
	bytes, err := residentOf([]int{os.Getpid()})
	fmt.Fprintf(out, " load %d MB\n", bytes>>20)
	return err
}
