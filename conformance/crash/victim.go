package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/perdure/perdure/conformance/process"
)

// victim is the server that is killed and started again on the same data and ports.
type victim struct {
	line    []string
	address string
	log     io.Writer

	server  *process.Server
	born    time.Time
	slowest time.Duration // from launch to serving
}

func (v *victim) start() error {
	if _, err := exec.LookPath(v.line[0]); err != nil {
		return fmt.Errorf("server binary: %w", err)
	}
	server, err := process.Start(v.line, v.address, v.log)
	v.server, v.born = server, time.Now()
	return err
}

func (v *victim) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := v.server.Ready(ctx)
	if err == nil {
		v.slowest = max(v.slowest, time.Since(v.born))
	}
	return err
}

// kill ends the server with SIGKILL and says whether it had ended before.
func (v *victim) kill() (already bool) {
	select {
	case <-v.server.Exited():
		already = true
	default:
	}
	v.server.Kill()
	return already
}

func (v *victim) end() {
	if v.server != nil {
		v.server.Kill()
	}
}

// grep returns the lines of a file that contain word.
func grep(name, word string) []string {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, word) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
