package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/perdure/perdure/conformance/process"
)

// spawned is a server that this command has started.
type spawned struct {
	command *exec.Cmd
	address string
	exited  chan struct{} // closed when it is gone
}

// spawn starts a server with a command line that has the placeholders of package process, and waits until it serves.
func spawn(ctx context.Context, line []string, dir string, log io.Writer) (*spawned, error) {
	ports, err := process.FreePorts()
	if err != nil {
		return nil, err
	}
	line = process.Expand(line, ports, dir)
	s := &spawned{command: exec.Command(line[0], line[1:]...), address: ports.Address(), exited: make(chan struct{})}
	s.command.Stdout, s.command.Stderr = log, log
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.command.Wait()
		close(s.exited)
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it does not serve"))
	defer cancel()
	go func() {
		select {
		case <-s.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := process.Ready(ctx, s.address); err != nil {
		s.kill()
		return nil, fmt.Errorf("start %s: %w", line[0], err)
	}
	return s, nil
}

func (s *spawned) pid() int { return s.command.Process.Pid }

func (s *spawned) kill() {
	_ = s.command.Process.Kill() // fails only when it is gone already
	<-s.exited
}

// crew is what runs without any -target: servers of our own in a directory of their own, and all ways to use them.
type crew struct {
	servers []*spawned
	dir     string
	log     *os.File
}

// perdureLine lifts the limits that scenario long would meet.
func perdureLine(binary string) []string {
	return []string{
		binary, "server", "--ip", process.IP, "--port", "{port}", "--http-port", "-1", "--headless", "--log-level", "warn",
		"--data", "{data}", "--limit", "history.maximumSignalsPerExecution=10000000", "--limit", "limit.historyCount.error=10000000",
		"--limit", "limit.historySize.error=2000000000",
	}
}

// muster starts the servers and says what there is to measure. The crew is to be dismissed even after an error.
func muster(ctx context.Context, s *settings) (*crew, targetList, error) {
	c := new(crew)
	if s.perdure == "" {
		return c, nil, errors.New("nothing to measure: give -target, or -perdure and perhaps -stub")
	}
	var err error
	if c.dir, err = os.MkdirTemp(s.dir, "load-"); err != nil {
		return c, nil, err
	}
	if c.log, err = os.Create(filepath.Join(c.dir, "servers.log")); err != nil {
		return c, nil, err
	}
	var targets targetList
	add := func(name, sdk string, on *spawned) {
		t := &target{name: name, sdk: sdk}
		if on != nil {
			t.address, t.pids = on.address, []int{on.pid()}
		}
		targets = append(targets, t)
	}
	if s.stub != "" {
		server, err := c.start(ctx, []string{s.stub, "{ip}:{port}"})
		if err != nil {
			return c, nil, err
		}
		add("stub", official, server)
	}
	server, err := c.start(ctx, perdureLine(s.perdure))
	if err != nil {
		return c, nil, err
	}
	add("perdure", official, server)
	add("own SDK", own, server)
	add("embedded", inside, nil)
	return c, targets, nil
}

func (c *crew) start(ctx context.Context, line []string) (*spawned, error) {
	s, err := spawn(ctx, line, filepath.Join(c.dir, "data"), c.log)
	if err == nil {
		c.servers = append(c.servers, s)
	}
	return s, err
}

// dismiss kills the servers and removes what they had, unless it has to be looked at.
func (c *crew) dismiss(failed bool) error {
	for _, s := range c.servers {
		s.kill()
	}
	if c.log != nil {
		_ = c.log.Close()
	}
	if failed && c.dir != "" {
		fmt.Fprintln(os.Stderr, "load: what the servers left is in", c.dir)
		return nil
	}
	return os.RemoveAll(c.dir)
}
