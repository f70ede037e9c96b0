// Command messages measures what a message to a workflow costs, with the official Go SDK as client and worker: the round
// trip of an update and of a query without contention, after ever more updates have gone before, and how many signals to
// one workflow share a workflow task and a write.
//
//	go run ./messages -perdure ../bin/perdure          its own server, data on disk, synced
//	go run ./messages -address host:port               any server of the API; nothing of its inside is counted
//
// It checks what it did and ends with status 1 when anything was lost or doubled.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/perdure/perdure/conformance/process"
)

const queue = "bench-messages"

type settings struct {
	perdure, address, dir string
	rounds                int
	signals, callers      int
	gzip                  bool
}

func main() {
	var s settings
	flag.StringVar(&s.perdure, "perdure", "", "server binary to start, with its data in a new directory below -dir")
	flag.StringVar(&s.address, "address", "", "a server that runs, host:port")
	flag.StringVar(&s.dir, "dir", os.TempDir(), "where the data of -perdure goes")
	flag.IntVar(&s.rounds, "rounds", 200, "round trips measured at each point")
	flag.IntVar(&s.signals, "signals", 5000, "signals to one workflow")
	flag.IntVar(&s.callers, "callers", 64, "callers that send them")
	flag.BoolVar(&s.gzip, "gzip", true, "let the SDK compress its requests, which is its default")
	flag.Parse()
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "messages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	b := bench{settings: s, address: s.address}
	switch {
	case s.perdure != "" && s.address == "":
		stop, err := b.start(ctx)
		if err != nil {
			return err
		}
		defer stop()
	case s.address == "" || s.perdure != "":
		return errors.New("give either -perdure or -address")
	}
	if err := b.rawTrips(ctx); err != nil {
		return err
	}
	options := client.Options{HostPort: b.address, Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))}
	if !s.gzip {
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	}
	var err error
	if b.client, err = client.DialContext(ctx, options); err != nil {
		return err
	}
	defer b.client.Close()
	worked, err := client.DialContext(ctx, options) // a connection of its own, as a worker has
	if err != nil {
		return err
	}
	defer worked.Close()
	w := worker.New(worked, queue, worker.Options{})
	w.RegisterWorkflow(Register)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	if err := b.roundTrips(ctx); err != nil {
		return err
	}
	return b.signalsToOne(ctx)
}

type bench struct {
	settings
	address string
	metrics string // URL; empty: not ours
	client  client.Client
}

// start runs a server of our own and measures the disk it writes to.
func (b *bench) start(ctx context.Context) (stop func(), err error) {
	dir, err := os.MkdirTemp(b.dir, "perdure-bench-")
	if err != nil {
		return nil, err
	}
	syncs, err := syncTimes(dir, 300)
	if err != nil {
		return nil, err
	}
	fmt.Printf("one write of 4 KiB with fdatasync      p50 %s   p99 %s\n", at(syncs, 50), at(syncs, 99))
	ports, err := process.FreePorts()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	line := process.Expand([]string{b.perdure, "server", "--ip", "{ip}", "--port", "{port}", "--http-port", "-1", "--headless",
		"--metrics-port", "{metrics}", "--data", filepath.Join(dir, "data")}, ports, dir)
	server, err := process.Start(line, ports.Address(), log)
	if err != nil {
		return nil, err
	}
	b.address, b.metrics = ports.Address(), fmt.Sprintf("http://%s:%d/metrics", process.IP, ports.Metrics)
	return func() {
		_ = server.Stop(20 * time.Second)
		_ = log.Close()
		_ = os.RemoveAll(dir)
	}, process.Ready(ctx, b.address)
}

func syncTimes(dir string, n int) ([]time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, n*4096)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	var took []time.Duration
	block := make([]byte, 4096)
	for i := range n {
		begun := time.Now()
		if _, err := f.WriteAt(block, int64(i)*4096); err != nil {
			return nil, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took, nil
}

// Register counts what it is sent, until "stop".
func Register(ctx workflow.Context) (int, error) {
	count := 0
	if err := workflow.SetUpdateHandler(ctx, "add", func(_ workflow.Context, n int) (int, error) {
		count += n
		return count, nil
	}); err != nil {
		return 0, err
	}
	if err := workflow.SetQueryHandler(ctx, "count", func() (int, error) { return count, nil }); err != nil {
		return 0, err
	}
	numbers, stop := workflow.GetSignalChannel(ctx, "n"), workflow.GetSignalChannel(ctx, "stop")
	stopped := false
	s := workflow.NewSelector(ctx)
	s.AddReceive(numbers, func(c workflow.ReceiveChannel, _ bool) {
		var n int
		c.Receive(ctx, &n)
		count += n
	})
	s.AddReceive(stop, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); stopped = true })
	for !stopped || s.HasPending() {
		s.Select(ctx)
	}
	return count, nil
}

func (b *bench) begin(ctx context.Context, what string) (client.WorkflowRun, error) {
	return b.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: fmt.Sprintf("%s-%d", what, time.Now().UnixNano()), TaskQueue: queue,
	}, Register)
}

func (b *bench) end(ctx context.Context, run client.WorkflowRun, want int) error {
	if err := b.client.SignalWorkflow(ctx, run.GetID(), "", "stop", nil); err != nil {
		return err
	}
	got := 0
	if err := run.Get(ctx, &got); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the workflow counted %d, %d were sent", got, want)
	}
	return nil
}

// points are after how many updates the round trips are measured.
var points = []int{1, 100, 1000, 2000}

func (b *bench) roundTrips(ctx context.Context) error {
	run, err := b.begin(ctx, "round-trips")
	if err != nil {
		return err
	}
	sent := 0
	update := func() error {
		h, err := b.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), UpdateName: "add", Args: []any{1}, WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if err != nil {
			return err
		}
		sent++
		got := 0
		if err := h.Get(ctx, &got); err != nil {
			return err
		}
		if got != sent {
			return fmt.Errorf("update %d answered %d", sent, got)
		}
		return nil
	}
	query := func() error {
		v, err := b.client.QueryWorkflow(ctx, run.GetID(), "", "count")
		if err != nil {
			return err
		}
		got := 0
		if err := v.Get(&got); err != nil {
			return err
		}
		if got != sent {
			return fmt.Errorf("a query answered %d after %d updates", got, sent)
		}
		return nil
	}
	if err := b.trips("", &sent, update, query); err != nil {
		return err
	}
	return b.end(ctx, run, sent)
}

// trips measures queries and updates at each of the points; sent counts the updates.
func (b *bench) trips(title string, sent *int, update, query func() error) error {
	for _, point := range points {
		for *sent < point {
			if err := update(); err != nil {
				return err
			}
		}
		queries, err := measure(b.rounds, query)
		if err != nil {
			return err
		}
		updates, err := measure(b.rounds, update)
		if err != nil {
			return err
		}
		fmt.Printf("%safter %4d updates: update p50 %s p99 %s   query p50 %s p99 %s\n",
			title, point, at(updates, 50), at(updates, 99), at(queries, 50), at(queries, 99))
	}
	return nil
}

func measure(n int, do func() error) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for range n {
		begun := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took, nil
}

// at is a percentile of sorted durations.
func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)].Round(10 * time.Microsecond)
}

func (b *bench) signalsToOne(ctx context.Context) error {
	run, err := b.begin(ctx, "signals")
	if err != nil {
		return err
	}
	commits, err := b.commits(ctx)
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	failed := make(chan error, b.callers)
	begun := time.Now()
	for c := range b.callers {
		sending.Go(func() {
			for i := c; i < b.signals; i += b.callers {
				if err := b.client.SignalWorkflow(ctx, run.GetID(), "", "n", 1); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	sending.Wait()
	took := time.Since(begun)
	select {
	case err := <-failed:
		return err
	default:
	}
	after, err := b.commits(ctx)
	if err != nil {
		return err
	}
	if err := b.end(ctx, run, b.signals); err != nil {
		return err
	}
	tasks := 0
	history := b.client.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			return err
		}
		if event.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			tasks++
		}
	}
	fmt.Printf("%d signals to one workflow from %d callers: %.0f/s, %.1f signals per workflow task", b.signals, b.callers,
		float64(b.signals)/took.Seconds(), float64(b.signals)/float64(tasks))
	if b.metrics != "" {
		fmt.Printf(", %.1f per write", float64(b.signals)/float64(after-commits))
	}
	fmt.Println()
	return nil
}

// commits is how many batches the server has written; zero for a server that is not ours.
func (b *bench) commits(ctx context.Context) (int, error) {
	if b.metrics == "" {
		return 0, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.metrics, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return counter(resp.Body, "persistence_requests{")
}

func counter(r io.Reader, prefix string) (int, error) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, prefix) {
			n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("no metric %s", prefix)
}
