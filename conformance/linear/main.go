// Command linear checks that starts, signals, updates and queries of a workflow ID look to their clients as if each happened at
// one moment between request and answer, while the server and the workers are killed all the time.
//
//	go run ./linear -perdure ../bin/perdure -seed 7
//
// Several clients use a few workflow IDs at once. The workflow behind them keeps a list: signals append to it, updates append
// and answer with the list, or append only if it has a certain length, queries show it. It continues as new now and then, is
// finished, terminated, and started again under all policies. Each call is sent until its outcome is certain, with the same
// request ID or update ID, or given up; some are sent again later, which must change nothing even when another chain is there. The
// times and the outcomes are noted in this process, which is not killed. What was given up may have happened, may happen at any
// later time, or never.
//
// Then porcupine looks for an order of all operations of a workflow ID that agrees with time and explains each answer
// (model.go says what that means). If there is none, the exit code is 1, and pictures and notes are kept. The search is
// exponential; one that takes too long is counted as undecided. To show that the check can fail, faults are planted into what
// was noted, each of which it must find.
//
// The exit code is 2 for wrong usage. The seed fixes the moments of the kills and what clients ask for; how these meet
// depends on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/perdure/perdure/conformance/process"
)

type options struct {
	perdure   string
	command   string
	seed      uint64
	time      time.Duration
	clients   int
	workflows int
	workers   int
	think     time.Duration
	chain     bool
	again     string
	kill      bool
	plant     string
	port      int
	keep      bool
	notes     string
	once      string
}

func main() {
	var o options
	var worker string
	flag.StringVar(&o.perdure, "perdure", "../bin/perdure", "the server's `binary`")
	flag.StringVar(&o.command, "command", "", "another server's command `line`, with {ip} {port} {http} {ui} {metrics} {data}; to check the checker")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the kills' moments and of what clients ask for (0: a fresh one)")
	flag.DurationVar(&o.time, "time", 24*time.Second, "how long to ask and to kill")
	flag.IntVar(&o.clients, "clients", 12, "how many clients ask at once; at most 99")
	flag.IntVar(&o.workflows, "workflows", 6, "how many workflow IDs they share")
	flag.IntVar(&o.workers, "workers", 3, "how many worker processes there are")
	flag.DurationVar(&o.think, "think", 60*time.Millisecond, "longest pause of a client between two calls")
	flag.BoolVar(&o.chain, "chain", true, "let workflows continue as new")
	flag.StringVar(&o.again, "again", strings.Join(repeatable, ","), "`kinds` of acknowledged calls that are sent again later, with the same request ID or update ID")
	flag.StringVar(&o.once, "once", string(perWorkflow), "the `scope` in which a call counts once, however often it is sent: workflow (ID), or chain (of runs)")
	flag.BoolVar(&o.kill, "kill", true, "kill the server and the workers")
	flag.StringVar(&o.plant, "plant", "", "change one thing in what was noted, as if the server had done this `wrong`: "+strings.Join(faultNames(), ", "))
	flag.IntVar(&o.port, "port", 0, "first of four ports for the server (0: any that are free)")
	flag.BoolVar(&o.keep, "keep", false, "keep the notes, the logs and the data even if all is well")
	flag.StringVar(&o.notes, "notes", "", "judge this `file` of notes that a run has kept, and do nothing else")
	flag.StringVar(&worker, "worker", "", "be a worker process for the server at this `address`, until the input ends; used by this command itself")
	flag.Parse()
	if worker != "" {
		if err := work(worker, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	once = scope(o.once)
	if once != perWorkflow && once != perChain {
		flag.Usage()
		os.Exit(2)
	}
	if o.notes != "" {
		if err := judgeNotes(o.notes, os.Stdout); err != nil {
			fmt.Println("FAIL:", err)
			os.Exit(1)
		}
		return
	}
	_, err := faultNamed(o.plant)
	if flag.NArg() > 0 || o.clients < 1 || o.clients > 99 || o.workflows < 1 || o.workers < 1 || o.plant != "" && err != nil || !o.mayRepeat() {
		flag.Usage()
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	if err := run(context.Background(), o, os.Stdout); err != nil {
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
}

// mayRepeat says whether the kinds to send again can be.
func (o options) mayRepeat() bool {
	return o.again == "" || !slices.ContainsFunc(strings.Split(o.again, ","), func(k string) bool { return !slices.Contains(repeatable, k) })
}

// commandLine is how the server is started, still with placeholders.
func (o options) commandLine() []string {
	if o.command != "" {
		return strings.Fields(o.command)
	}
	return []string{o.perdure, "server", "--data", "{data}", "--ip", "{ip}", "--port", "{port}", "--http-port", "{http}",
		"--headless", "--log-level", "warn"}
}

// replay is the line that does it again.
func (o options) replay() string {
	line := fmt.Sprintf("go run ./linear -perdure %s -seed %d -time %s -clients %d -workflows %d -workers %d -think %s -chain=%t -again=%s -once %s -kill=%t",
		o.perdure, o.seed, o.time, o.clients, o.workflows, o.workers, o.think, o.chain, o.again, o.once, o.kill)
	if o.plant != "" {
		line += " -plant " + o.plant
	}
	if o.command != "" {
		line += fmt.Sprintf(" -command %q", o.command)
	}
	return line
}

func (o options) ports() (process.Ports, error) {
	if o.port != 0 {
		return process.Ports{GRPC: o.port, HTTP: o.port + 1, UI: o.port + 2, Metrics: o.port + 3}, nil
	}
	return process.FreePorts()
}

// run does all of it and returns an error when a rule was broken.
func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "perdure-linear-")
	if err != nil {
		return err
	}
	serverLog, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return err
	}
	defer serverLog.Close()
	workerLog, err := os.Create(filepath.Join(dir, "worker.log"))
	if err != nil {
		return err
	}
	defer workerLog.Close()
	ports, err := o.ports()
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	fmt.Fprintf(out, "replay: %s\n", o.replay())
	t := &test{
		options: o, out: out, dir: dir, record: newRecord(),
		victim: &victim{line: process.Expand(o.commandLine(), ports, data), address: ports.Address(), log: serverLog},
		crew:   &crew{address: ports.Address(), log: workerLog},
	}
	err = t.run(ctx)
	t.crew.dismiss()
	t.victim.end()
	if err == nil {
		err = t.judge()
	}
	if err != nil {
		return fmt.Errorf("%w\nkept: %s\nreplay: %s", err, dir, o.replay())
	}
	if o.keep || t.undecided > 0 {
		fmt.Fprintf(out, "kept: %s\n", dir)
		return nil
	}
	return os.RemoveAll(dir)
}

// test is one run.
type test struct {
	options
	out    io.Writer
	dir    string
	record *record
	victim *victim
	crew   *crew

	undecided int // workflow IDs for which the search took too long
}

func (t *test) run(ctx context.Context) error {
	if err := t.victim.start(); err != nil {
		return err
	}
	if err := t.victim.ready(ctx); err != nil {
		return err
	}
	if err := t.crew.fill(t.workers); err != nil {
		return err
	}
	var workflows []string
	for i := range t.workflows {
		workflows = append(workflows, fmt.Sprintf("register-%d", i))
	}
	begin := time.Now()
	clock := func() time.Duration { return time.Since(begin) }
	var clients []*client
	for i := range t.clients {
		c := &client{number: i, record: t.record, rng: rand.New(rand.NewPCG(t.seed, uint64(i+10))), now: clock, roll: t.chain, again: strings.Split(t.again, ",")}
		if err := c.dial(t.victim.address); err != nil {
			return err
		}
		defer c.conn.Close()
		clients = append(clients, c)
	}

	enough := make(chan struct{})
	var asking sync.WaitGroup
	for _, c := range clients {
		asking.Go(func() { c.work(ctx, workflows, t.think, enough) })
	}
	err := t.chaos(ctx)
	close(enough)
	asking.Wait()
	if err != nil {
		return err
	}
	// What is read last was stored before a last crash.
	if t.kill {
		if err := t.victim.again(ctx); err != nil {
			return err
		}
	}
	for _, id := range workflows {
		if err := clients[0].readLast(ctx, id); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "killed the server %d times, workers %d times, in %.1f s\n", t.victim.kills, t.crew.kills, clock().Seconds())
	return nil
}

// chaos kills for the time given, and leaves everybody alive.
func (t *test) chaos(life context.Context) error {
	ctx, cancel := context.WithTimeout(life, t.time)
	defer cancel()
	if !t.kill {
		<-ctx.Done()
		return life.Err()
	}
	errs := make(chan error, 2)
	go func() { errs <- t.victim.chaos(ctx, life, rand.New(rand.NewPCG(t.seed, 0))) }()
	go func() { errs <- t.crew.chaos(ctx, rand.New(rand.NewPCG(t.seed, 1))) }()
	return errors.Join(<-errs, <-errs)
}

// judge checks what was noted, and then that faults planted into it are found.
func (t *test) judge() error {
	all := t.record.byWorkflow()
	t.count(all)
	rng := rand.New(rand.NewPCG(t.seed, 2))
	if t.plant != "" {
		f, err := faultNamed(t.plant)
		if err != nil {
			return err
		}
		id, ops := f.into(rng, all)
		if ops == nil {
			return fmt.Errorf("nothing fits the fault %q", t.plant)
		}
		all[id] = ops
		fmt.Fprintf(t.out, "planted: %s, in %s\n", t.plant, id)
	}
	broken := 0
	for _, id := range slices.Sorted(maps.Keys(all)) {
		begin := time.Now()
		result := check(all[id])
		fmt.Fprintf(t.out, "%s: %d operations, %s, in %d ms\n", id, len(history(all[id])), result, time.Since(begin).Milliseconds())
		switch result {
		case porcupine.Illegal:
			broken++
			gist, err := explain(t.dir, id, all[id])
			if err != nil {
				return err
			}
			fmt.Fprintf(t.out, "violation: %s\n", gist)
		case porcupine.Unknown:
			t.undecided++
		}
		if t.keep || result == porcupine.Unknown {
			if err := save(filepath.Join(t.dir, id+".json"), all[id]); err != nil {
				return err
			}
		}
	}
	for what, n := range t.record.surprises {
		broken++
		fmt.Fprintf(t.out, "unexpected answer, %d times: %s\n", n, what)
	}
	fmt.Fprintf(t.out, "undecided: %d of %d\n", t.undecided, len(all))
	if broken > 0 {
		return fmt.Errorf("%d violations", broken)
	}
	if t.undecided == len(all) {
		return errors.New("nothing was decided")
	}
	if err := t.prove(rng, all); err != nil {
		return err
	}
	fmt.Fprintln(t.out, "ok: an order explains every answer")
	return nil
}

// judgeNotes judges what a run has kept of one workflow.
func judgeNotes(name string, out io.Writer) error {
	ops, err := load(name)
	if err != nil {
		return err
	}
	result := check(ops)
	fmt.Fprintf(out, "%s: %d operations, %s\n", name, len(history(ops)), result)
	if result != porcupine.Illegal {
		return nil
	}
	if o := culprit(ops); o != nil {
		fmt.Fprintln(out, o)
	}
	return errors.New("a violation")
}

// prove plants each fault and checks that it is found.
func (t *test) prove(rng *rand.Rand, all map[string][]*operation) error {
	var found, open, unfit []string
	for _, f := range faults {
		_, ops := f.into(rng, all)
		if ops == nil {
			unfit = append(unfit, f.name)
			continue
		}
		switch check(ops) {
		case porcupine.Ok:
			return fmt.Errorf("the fault %q was planted and not found", f.name)
		case porcupine.Unknown:
			open = append(open, f.name)
		default:
			found = append(found, f.name)
		}
	}
	fmt.Fprintf(t.out, "planted faults found: %v, undecided: %v, without a place: %v\n", found, open, unfit)
	return nil
}

// count says what was asked for, and what came of it.
func (t *test) count(all map[string][]*operation) {
	kinds := map[kind]map[result]int{}
	total, repeated := 0, 0
	for _, ops := range all {
		for _, o := range ops {
			if kinds[o.Call.Kind] == nil {
				kinds[o.Call.Kind] = map[result]int{}
			}
			kinds[o.Call.Kind][o.Answer.Result]++
			total++
			if len(o.Spans) > 1 {
				repeated++
			}
		}
	}
	chains, runs := t.record.runs()
	fmt.Fprintf(t.out, "%d operations, %d of them sent more than once, on %d chains of %d runs\n", total, repeated, chains, runs)
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(t.out, "  %-10s", k)
		for _, r := range []result{done, refused, rejected, unknown, void} {
			if n := kinds[k][r]; n > 0 {
				fmt.Fprintf(t.out, " %s %d", r, n)
			}
		}
		fmt.Fprintln(t.out)
	}
}
