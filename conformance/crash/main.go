// Command crash kills a real server at random moments while official clients and workers keep using it, and then checks
// that nothing the server acknowledged is lost or doubled.
//
//	go run ./crash -perdure ../bin/perdure -kills 20 -seed 7
//
// Clients tell small stories without end: chains of activities and timers, parents with children, chains of runs,
// signals, updates and queries to one workflow from several sides, workflows that signal workflows. Each request has a
// request ID, is repeated until the server answers, and its answer is written down here, in a process that is not killed.
// After the last kill no new story begins; all that have begun must end. Then the server is killed once more, so that what
// follows reads what was stored, and everything is compared with what was written down.
//
// The exit code is 0 when all is well, 1 when a rule was broken (the directory is kept then), 2 for wrong usage. The seed
// fixes the moments of the kills and what clients do; how the two meet depends on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	sdkclient "go.temporal.io/sdk/client"

	"github.com/perdure/perdure/conformance/process"
)

type options struct {
	perdure string
	command string
	kills   int
	seed    uint64
	limit   time.Duration
	clients int
}

func main() {
	var o options
	flag.StringVar(&o.perdure, "perdure", "../bin/perdure", "the server's `binary`")
	flag.StringVar(&o.command, "command", "", "another server's command `line`, with {ip} {port} {http} {ui} {metrics} {data}; to check the checker")
	flag.IntVar(&o.kills, "kills", 20, "how often to kill the server")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the kills' moments and of what clients do (0: a fresh one)")
	flag.DurationVar(&o.limit, "time", 0, "limit of the whole run (0: 50s and 2s for each kill)")
	flag.IntVar(&o.clients, "clients", 24, "how many stories are told at once")
	flag.Parse()
	if flag.NArg() > 0 || o.kills < 1 || o.clients < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	if o.limit == 0 {
		o.limit = 50*time.Second + time.Duration(o.kills)*2*time.Second
	}
	if err := run(context.Background(), o, os.Stdout); err != nil {
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
}

// commandLine is how the server is started, still with placeholders.
func (o options) commandLine() []string {
	if o.command != "" {
		return strings.Fields(o.command)
	}
	return []string{o.perdure, "server", "--data", "{data}", "--ip", "{ip}", "--port", "{port}", "--http-port", "{http}",
		"--ui-port", "{ui}", "--log-level", "warn"}
}

// replay is the line that does it again.
func (o options) replay() string {
	line := fmt.Sprintf("go run ./crash -perdure %s -kills %d -seed %d -clients %d -time %s", o.perdure, o.kills, o.seed, o.clients, o.limit)
	if o.command != "" {
		line += fmt.Sprintf(" -command %q", o.command)
	}
	return line
}

// run does all of it and returns an error when a rule was broken.
func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "perdure-crash-")
	if err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	ports, err := process.FreePorts()
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()

	fmt.Fprintf(out, "replay: %s\n", o.replay())
	t := &test{
		options: o, out: out, ledger: newLedger(), activities: &counted{runs: map[string]int{}},
		victim: &victim{line: process.Expand(o.commandLine(), ports, data), address: ports.Address(), log: logFile},
		rng:    rand.New(rand.NewPCG(o.seed, 0)),
	}
	err = t.run(ctx, filepath.Join(dir, "sdk.log"))
	t.victim.end()
	if panics := grep(logFile.Name(), "panic"); len(panics) > 0 {
		t.ledger.violation("the server's log has %d lines about a panic, first: %s", len(panics), panics[0])
	}
	if err = t.verdict(err); err != nil {
		return fmt.Errorf("%w\nkept: %s\nreplay: %s", err, dir, o.replay())
	}
	return os.RemoveAll(dir)
}

// test is one run.
type test struct {
	options
	out        io.Writer
	ledger     *ledger
	activities *counted
	victim     *victim
	rng        *rand.Rand
}

func (t *test) run(ctx context.Context, sdkLog string) error {
	begin := time.Now()
	kills := plan(t.rng, t.kills)
	fmt.Fprintf(t.out, "kills: %v\n", kills)
	if err := t.victim.start(); err != nil {
		return err
	}
	if err := t.victim.ready(ctx); err != nil {
		return err
	}
	log, err := os.Create(sdkLog)
	if err != nil {
		return err
	}
	defer log.Close()
	sdk, err := t.dial(ctx, slog.NewTextHandler(log, nil))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer sdk.Close()
	session, opened, err := t.dialSession(ctx)
	if err != nil {
		return fmt.Errorf("connect for a session: %w", err)
	}
	defer session.Close()
	crew, err := t.hire(sdk)
	if err != nil {
		return err
	}
	defer crew.dismiss()

	enough := make(chan struct{})
	var wg sync.WaitGroup
	for i := range t.clients {
		c := &client{number: i, sdk: sdk, api: sdk.WorkflowService(), ledger: t.ledger, rng: rand.New(rand.NewPCG(t.seed, uint64(i+1)))}
		if i%2 == 1 { // calls of the others each go by themselves
			c.api = session.Service()
		}
		wg.Go(func() { c.work(ctx, enough) })
	}
	err = t.chaos(ctx, kills, crew)
	close(enough)
	chaos := time.Since(begin)
	if err != nil {
		return err
	}
	if err := t.drain(ctx, sdk, &wg); err != nil {
		return err
	}
	drained := time.Since(begin)

	if t.victim.kill() {
		t.ledger.violation("the server ended by itself after the last kill")
	}
	if err := errors.Join(t.victim.start(), t.victim.ready(ctx)); err != nil {
		return fmt.Errorf("last restart: %w", err)
	}
	a := newAudit(&client{number: -1, sdk: sdk, api: sdk.WorkflowService(), ledger: t.ledger, rng: t.rng}, t.activities)
	a.all(ctx)
	runs, steps := t.activities.total()
	fmt.Fprintf(t.out, "killed %d times in %.1fs, drained after %.1fs, audited after %.1fs; slowest restart %dms\n",
		t.kills+1, chaos.Seconds(), drained.Seconds(), time.Since(begin).Seconds(), t.victim.slowest.Milliseconds())
	fmt.Fprintf(t.out, "acknowledged: %s\n", t.ledger.counts())
	fmt.Fprintf(t.out, "sessions opened by every second client: %d\n", opened.Load())
	if opened.Load() == 0 && t.command == "" {
		t.ledger.violation("no session was opened: half of the clients were to use one")
	}
	fmt.Fprintf(t.out, "audited: %d runs with %d events; %d activities were executed %d times\n", len(a.runs), a.events, steps, runs)
	return ctx.Err()
}

// chaos carries out the planned kills and leaves the server serving.
func (t *test) chaos(ctx context.Context, kills []kill, crew *crew) error {
	for i, k := range kills {
		if k.when != whileStarting {
			if err := t.victim.ready(ctx); err != nil {
				return fmt.Errorf("restart before kill %d (%s): %w", i+1, k, err)
			}
			crew.relieve()
		}
		pause(ctx, k.after)
		if t.victim.kill() {
			t.ledger.violation("the server ended by itself before kill %d (%s)", i+1, k)
		}
		if err := t.victim.start(); err != nil {
			return err
		}
	}
	if err := t.victim.ready(ctx); err != nil {
		return fmt.Errorf("restart after the last kill: %w", err)
	}
	crew.relieve()
	return nil
}

// drain waits until every story has ended, and with it every workflow it is about, and those that a client left alone.
func (t *test) drain(ctx context.Context, sdk sdkclient.Client, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("not drained within %s; unfinished:\n  %s", t.limit, strings.Join(t.ledger.unfinished(), "\n  "))
	}
	c := &client{number: -2, sdk: sdk, api: sdk.WorkflowService(), ledger: t.ledger, rng: t.rng}
	t.ledger.mu.Lock()
	var alone []string
	for id, e := range t.ledger.runs {
		if e.alone {
			alone = append(alone, id)
		}
	}
	t.ledger.mu.Unlock()
	slices.Sort(alone)
	a := &audit{client: c}
	for _, id := range alone {
		if _, err := a.describe(ctx, id, ""); err != nil {
			continue // it never came to be; the audit judges those that were acknowledged
		}
		if err := c.insist(ctx, "ends awaited", func(ctx context.Context) error { return sdk.GetWorkflow(ctx, id, "").Get(ctx, nil) }); err != nil {
			t.ledger.violation("%s did not end well: %v", id, err)
		}
	}
	return nil
}

// verdict prints what is wrong and sums it up.
func (t *test) verdict(err error) error {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	for what, n := range t.ledger.surprises {
		t.ledger.violations = append(t.ledger.violations, fmt.Sprintf("unexpected answer, %d times: %s", n, what))
	}
	const most = 40
	for i, v := range t.ledger.violations {
		if i == most {
			fmt.Fprintf(t.out, "… and %d more\n", len(t.ledger.violations)-most)
			break
		}
		fmt.Fprintf(t.out, "violation: %s\n", v)
	}
	if n := len(t.ledger.violations); n > 0 {
		return errors.Join(err, fmt.Errorf("%d violations", n))
	}
	if err == nil {
		fmt.Fprintln(t.out, "ok: nothing acknowledged was lost, nothing was doubled")
	}
	return err
}
