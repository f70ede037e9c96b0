// Package oracle plays one scenario against two servers at once, the one of this repository and a reference server of the
// same API, and compares what they said and what they recorded. A scenario talks raw gRPC and has no SDK in it: it is the
// client and the worker, so it sees each field and each error as it is on the wire.
//
// What a server said is written down line by line, with everything scrubbed that may differ from one run to the next. The two
// accounts have to be equal, except for what the table in differences_test.go names and explains. Many scenarios also say
// what has to be true of either server; a line that begins with "!" says that it was not.
//
// The servers are those at ORACLE_ADDRESS (the reference) and PERDURE_ADDRESS (ours). What is missing is started: the
// reference from the binary at ORACLE_BINARY, or `temporal` in PATH, ours from PERDURE_BINARY, or built from this repository.
// Scenarios about limits and about a server that loses its memory always start servers of their own, with other settings.
package oracle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/conformance/process"
)

const (
	namespace = "default"
	// otherNamespace exists on both servers, for what goes from one namespace to another.
	otherNamespace = "oracle-other"
)

// kind tells the two servers apart.
type kind int

const (
	reference kind = iota
	perdure
)

func (k kind) String() string { return [...]string{"reference", "perdure"}[k] }

// pair is the two servers a scenario is played against.
type pair struct{ servers [2]*server }

// server is one of them.
type server struct {
	kind    kind
	address string
	conn    *grpc.ClientConn
	client  workflowservice.WorkflowServiceClient

	// The rest is empty for a server that somebody else started.
	line    []string
	ports   process.Ports
	data    string
	log     *os.File
	process *process.Server
}

// house starts servers and stops them all in the end.
type house struct {
	dir string

	mu       sync.Mutex
	binaries map[kind]string
	begun    []*server
}

var (
	home *house
	// ordinary is the pair most scenarios use: servers with their default settings.
	ordinary *pair
	// tight is a pair with small limits; see tightLimits.
	tight = sync.OnceValues(func() (*pair, error) { return home.open(tightLimits, false) })
)

// tightLimits are small, so that a scenario can go past them.
var tightLimits = []string{
	"history.maximumSignalsPerExecution=5",
	"history.maximumBufferedEventsBatch=4",
	"history.maxTotalUpdates=10",
	"history.maxInFlightUpdates=3",
	"history.maxInFlightUpdatePayloads=20000",
	"history.maxBufferedQueryCount=1",
	"limit.numPendingSignals.error=3",
	"limit.numPendingCancelRequests.error=3",
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Scenarios wait for servers nearly all of their time.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "perdure-oracle-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	home = &house{dir: dir, binaries: map[kind]string{}}
	defer home.close()
	if ordinary, err = home.ordinary(); err != nil {
		return 0, err
	}
	code = m.Run()
	if code == 0 && wholeRun() {
		code = expected.report()
	}
	return code, nil
}

// wholeRun says whether all scenarios were played.
func wholeRun() bool {
	return flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""
}

// ordinary returns the servers named in the environment, and starts those that are not.
func (h *house) ordinary() (*pair, error) {
	p := &pair{}
	for k, name := range []string{"ORACLE_ADDRESS", "PERDURE_ADDRESS"} {
		if address := os.Getenv(name); address != "" {
			p.servers[k] = &server{kind: kind(k), address: address}
			continue
		}
		s, err := h.start(kind(k), nil, false)
		if err != nil {
			return nil, err
		}
		p.servers[k] = s
	}
	return p, p.ready()
}

// open starts a pair of servers with the settings given. With data they keep what they know when they are killed.
func (h *house) open(settings []string, data bool) (*pair, error) {
	p := &pair{}
	for k := range p.servers {
		s, err := h.start(kind(k), settings, data)
		if err != nil {
			return nil, err
		}
		p.servers[k] = s
	}
	return p, p.ready()
}

// ready waits until both servers serve both namespaces.
func (p *pair) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	failed := make(chan error, len(p.servers))
	for _, s := range p.servers {
		go func() { failed <- s.ready(ctx) }()
	}
	return errors.Join(<-failed, <-failed)
}

func (s *server) ready(ctx context.Context) error {
	if err := process.Ready(ctx, s.address); err != nil {
		return fmt.Errorf("%s: %w", s.kind, err)
	}
	if s.conn == nil {
		conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
		if err != nil {
			return err
		}
		s.conn, s.client = conn, workflowservice.NewWorkflowServiceClient(conn)
	}
	// An error means that it is there already; the wait below finds out.
	_, _ = s.client.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: otherNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(72 * time.Hour),
	})
	for _, ns := range []string{namespace, otherNamespace} {
		if err := s.knows(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}

// knows waits until a namespace can be used; a new one takes the reference a while.
func (s *server) knows(ctx context.Context, ns string) error {
	for {
		_, err := s.client.ListOpenWorkflowExecutions(ctx, &workflowservice.ListOpenWorkflowExecutionsRequest{Namespace: ns, MaximumPageSize: 1})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve namespace %s: %w", s.kind, ns, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (h *house) start(k kind, settings []string, data bool) (*server, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	binary, err := h.binary(k)
	if err != nil {
		return nil, err
	}
	ports, err := process.FreePorts()
	if err != nil {
		return nil, err
	}
	s := &server{kind: k, address: ports.Address(), ports: ports}
	s.line = []string{binary, "server", "start-dev", "--ip", "{ip}", "--port", "{port}", "--http-port", "{http}", "--headless", "--log-level", "error"}
	if data {
		s.line = append(s.line, "--db-filename", "{data}")
		s.data = filepath.Join(h.dir, fmt.Sprintf("data-%d", len(h.begun)))
	}
	for _, v := range settings {
		s.line = append(s.line, "--dynamic-config-value", v)
	}
	if s.log, err = os.Create(filepath.Join(h.dir, fmt.Sprintf("%s-%d.log", k, len(h.begun)))); err != nil {
		return nil, err
	}
	h.begun = append(h.begun, s)
	return s, s.run()
}

// run starts the process.
func (s *server) run() (err error) {
	s.process, err = process.Start(process.Expand(s.line, s.ports, s.data), s.address, s.log)
	return err
}

// binary finds a server's binary and builds ours. The caller holds h.mu.
func (h *house) binary(k kind) (string, error) {
	if path := h.binaries[k]; path != "" {
		return path, nil
	}
	find := h.buildOurs
	if k == reference {
		find = h.findReference
	}
	path, err := find()
	h.binaries[k] = path
	return path, err
}

func (h *house) findReference() (string, error) {
	if path := os.Getenv("ORACLE_BINARY"); path != "" {
		return path, nil
	}
	path, err := exec.LookPath("temporal")
	if err != nil {
		return "", errors.New("no reference server: name its binary in ORACLE_BINARY or its address in ORACLE_ADDRESS, or use oracle/run.sh, which installs one")
	}
	return path, nil
}

func (h *house) buildOurs() (string, error) {
	if path := os.Getenv("PERDURE_BINARY"); path != "" {
		return path, nil
	}
	binary := filepath.Join(h.dir, "perdure")
	build := exec.Command("go", "build", "-o", binary, "./cmd/perdure")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return binary, nil
}

// close stops what was started. What our server logged at this level is worth a look; the reference logs a lot as it stops.
func (h *house) close() {
	for _, s := range h.begun {
		if s.conn != nil {
			s.conn.Close()
		}
		if s.process != nil {
			s.process.Kill()
		}
		s.log.Close()
		if text, _ := os.ReadFile(s.log.Name()); s.kind == perdure && strings.Contains(string(text), "level=") {
			fmt.Fprintf(os.Stderr, "the server logged:\n%s", text)
		}
	}
}
