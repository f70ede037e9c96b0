// Package process runs a server binary as a child process, so that tests can judge it from outside: start it, wait until it
// serves, stop it politely or kill it. It knows the command line and the public API of the server, nothing of its inside.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// IP is the address every server of this package listens on.
const IP = "127.0.0.1"

// workflowService is the name SDKs ask the health service for.
const workflowService = "temporal.api.workflowservice.v1.WorkflowService"

// Ports are the TCP ports of one server.
type Ports struct{ GRPC, HTTP, UI, Metrics int }

// FreePorts finds four ports that nothing listens on. They lie below the range from which systems usually take the local
// ports of outgoing connections: while a server is down, a client that dials a port of that range can be given the very
// same port as its own, connect to itself, and so keep the server from coming back.
func FreePorts() (Ports, error) {
	var found []int
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort(IP, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer l.Close()
		if found = append(found, port); len(found) == 4 {
			return Ports{GRPC: found[0], HTTP: found[1], UI: found[2], Metrics: found[3]}, nil
		}
	}
	return Ports{}, errors.New("no four free ports between 20000 and 32000")
}

// Address is where gRPC is served.
func (p Ports) Address() string { return net.JoinHostPort(IP, strconv.Itoa(p.GRPC)) }

// Expand fills the placeholders {ip} {port} {http} {ui} {metrics} {data} in each word of a command line.
func Expand(words []string, p Ports, data string) []string {
	r := strings.NewReplacer(
		"{ip}", IP,
		"{port}", strconv.Itoa(p.GRPC), "{http}", strconv.Itoa(p.HTTP),
		"{ui}", strconv.Itoa(p.UI), "{metrics}", strconv.Itoa(p.Metrics),
		"{data}", data)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = r.Replace(w)
	}
	return out
}

// Server is one running child process. Its methods are safe for concurrent use.
type Server struct {
	cmd     *exec.Cmd
	address string
	exited  chan struct{} // closed once the process has been reaped
}

// Start runs the command line and returns at once; output goes to log. Whoever starts a Server kills or stops it.
func Start(commandLine []string, address string, log io.Writer) (*Server, error) {
	cmd := exec.Command(commandLine[0], commandLine[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", commandLine[0], err)
	}
	s := &Server{cmd: cmd, address: address, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the reason is in ProcessState
		close(s.exited)
	}()
	return s, nil
}

// Exited is closed when the process is gone, whoever ended it.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Ready waits until the server says over gRPC that it serves. It fails when the process ends or ctx does.
func (s *Server) Ready(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := Ready(ctx, s.address); err != nil {
		select {
		case <-s.exited:
			return fmt.Errorf("server ended before it served: %s", s.cmd.ProcessState)
		default:
			return err
		}
	}
	return nil
}

// Ready waits until a server at address says over gRPC that it serves, or ctx ends.
func Ready(ctx context.Context, address string) error {
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.2, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	defer conn.Close()
	health := healthpb.NewHealthClient(conn)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: workflowService}, grpc.WaitForReady(true))
		if err == nil && answer.Status == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to serve: %w", address, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL) // fails only when it is already gone
	<-s.exited
}

// Stop asks the process to end with SIGTERM and waits for it; after grace it kills it and says so.
func (s *Server) Stop(grace time.Duration) error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(grace):
		s.Kill()
		return fmt.Errorf("server did not stop within %s of SIGTERM", grace)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("server stopped with %s", s.cmd.ProcessState)
	}
	return nil
}
