package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/perdure/perdure/conformance/process"
)

// victim is the server that is killed and started again on the same data and ports.
type victim struct {
	line    []string
	address string
	log     io.Writer
	server  *process.Server
	kills   int
}

func (v *victim) start() (err error) {
	v.server, err = process.Start(v.line, v.address, v.log)
	return err
}

func (v *victim) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return v.server.Ready(ctx)
}

// kill ends the server with SIGKILL; it is an error if the server has ended before.
func (v *victim) kill() error {
	select {
	case <-v.server.Exited():
		return fmt.Errorf("the server ended by itself after %d kills", v.kills)
	default:
	}
	v.server.Kill()
	v.kills++
	return nil
}

// again kills the server, starts it and waits until it serves.
func (v *victim) again(ctx context.Context) error {
	if err := v.kill(); err != nil {
		return err
	}
	if err := v.start(); err != nil {
		return err
	}
	return v.ready(ctx)
}

func (v *victim) end() {
	if v.server != nil {
		v.server.Kill()
	}
}

// chaos kills the server until ctx ends, mostly one to three seconds after it has begun to serve, now and then while it
// starts, and leaves it serving.
func (v *victim) chaos(ctx, life context.Context, rng *rand.Rand) error {
	for {
		wait := time.Second + time.Duration(rng.Int64N(int64(2*time.Second)))
		if rng.IntN(6) == 0 {
			wait = time.Duration(rng.Int64N(int64(400 * time.Millisecond)))
		} else if err := v.ready(life); err != nil {
			return err
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return v.ready(life)
		}
		if err := v.kill(); err != nil {
			return err
		}
		if err := v.start(); err != nil {
			return err
		}
	}
}

// crew is worker processes, which are killed and replaced too.
type crew struct {
	address string
	log     io.Writer
	working []*hand
	kills   int
}

// hand is one worker process.
type hand struct {
	cmd *exec.Cmd
	in  io.Closer // the worker ends when this is closed
}

func (c *crew) hire() (*hand, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-worker", c.address)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	return &hand{cmd, in}, nil
}

func (c *crew) fill(n int) error {
	for range n {
		h, err := c.hire()
		if err != nil {
			return err
		}
		c.working = append(c.working, h)
	}
	return nil
}

func (h *hand) kill() {
	_ = h.cmd.Process.Kill() // fails only when it is gone
	_ = h.cmd.Wait()         // the reason is known
	_ = h.in.Close()
}

// chaos kills one worker after the other until ctx ends, and replaces each at once.
func (c *crew) chaos(ctx context.Context, rng *rand.Rand) error {
	for {
		pause(ctx, 500*time.Millisecond+time.Duration(rng.Int64N(int64(2500*time.Millisecond))))
		if ctx.Err() != nil {
			return nil
		}
		i := rng.IntN(len(c.working))
		c.working[i].kill()
		c.kills++
		h, err := c.hire()
		if err != nil {
			return err
		}
		c.working[i] = h
	}
}

func (c *crew) dismiss() {
	for _, h := range c.working {
		h.kill()
	}
}
