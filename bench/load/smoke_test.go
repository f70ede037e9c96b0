package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perdure/perdure/bench/internal/stub"
	"github.com/perdure/perdure/embedded"
)

// serve starts a server inside of the test.
func serve(t *testing.T) string {
	t.Helper()
	db, err := embedded.Open(t.Context(), embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db.Addr()
}

func serveStub(t *testing.T, eager bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := stub.New(eager, false).GRPC()
	served := make(chan error)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// tiny is a command line that measures nothing worth knowing, but in little time.
func tiny(t *testing.T, arguments ...string) (*settings, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lines")
	s, err := parse(append([]string{
		"-rounds", "1", "-seconds", "0.05", "-warmup", "0.02", "-callers", "3", "-workers", "2", "-pollers", "2", "-workflows", "4", "-timeout", "2m",
		"-timers", "10", "-signals", "150", "-events", "300", "-open", "0,30", "-closed", "5", "-dir", t.TempDir(), "-json", file,
	}, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	return s, file
}

func lines(t *testing.T, file string) []measurement {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []measurement
	for line := range bytes.Lines(text) {
		var m measurement
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

func every() string {
	var names []string
	for name := range scenarios {
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

func TestEveryScenarioWithEveryDriver(t *testing.T) {
	address := serve(t)
	for name, target := range map[string]string{
		"official": "official=" + address, "own": "own=" + address + ",sdk=own",
		"embedded": "embedded=,sdk=embedded", "memory": "memory=,sdk=embedded,memory",
	} {
		t.Run(name, func(t *testing.T) {
			s, file := tiny(t, "-scenarios", every(), "-target", target)
			var out strings.Builder
			if err := run(t.Context(), s, &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			measured := lines(t, file)
			if want := len(scenarios) + 1; len(measured) != want { // open has two sizes
				t.Errorf("%d lines, want %d", len(measured), want)
			}
			for _, m := range measured {
				if !m.OK || m.Operations < 1 || m.Rate <= 0 || m.LoadCPU <= 0 || m.P50 < 0 || m.P99 < m.P50 || m.Max < m.P99 {
					t.Errorf("%+v", m)
				}
				if !strings.Contains(out.String(), "\n| "+m.Row+" | ") {
					t.Errorf("the table has no row %s:\n%s", m.Row, &out)
				}
			}
		})
	}
}

func TestTimersSpreadOverTime(t *testing.T) {
	s, file := tiny(t, "-scenarios", "timer", "-timers", "20", "-spread", "200ms", "-lead", "3s", "-target", "memory=,sdk=embedded,memory")
	if err := run(t.Context(), s, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	// The window begins when the first is due; the last is due one twentieth before the end.
	if m := lines(t, file)[0]; !m.OK || m.Operations != 20 || m.Seconds < 0.15 {
		t.Errorf("%+v", m)
	}
}

func TestStubServesTheSDKs(t *testing.T) {
	const served = "start,empty,activity,chain10,signal,signalwithstart,update,query,timer,history,long"
	for name, eager := range map[string]bool{"eager": true, "not eager": false} {
		t.Run(name, func(t *testing.T) {
			address := serveStub(t, eager)
			s, file := tiny(t, "-scenarios", served, "-target", "official="+address, "-target", "own="+address+",sdk=own")
			var out strings.Builder
			if err := run(t.Context(), s, &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			for _, m := range lines(t, file) {
				if !m.OK {
					t.Errorf("%+v", m)
				}
			}
		})
	}
}

// A stub terminates nothing, so it cannot be filled with closed workflows.
func TestWhatIsNotServedIsNoFailure(t *testing.T) {
	s, file := tiny(t, "-scenarios", "open", "-target", "stub="+serveStub(t, true))
	var out strings.Builder
	if err := run(t.Context(), s, &out); err != nil {
		t.Fatal(err)
	}
	for _, m := range lines(t, file) {
		if m.OK || !m.Unserved || !strings.Contains(m.Error, "TerminateWorkflowExecution") {
			t.Errorf("%+v", m)
		}
	}
	hasLine(t, out.String(), "| open:0@3 | – |")
}

// What has failed in the middle has no figures, but a line all the same.
func TestErrorsFail(t *testing.T) {
	s, file := tiny(t, "-target", "memory=,sdk=embedded,memory")
	s.combos = []combo{{name: "broken", callers: 1, scenario: scenario{run: func(t *trial) error {
		_, err := t.steadily(func(_ context.Context, _, i int) error {
			if i < 3 {
				return nil
			}
			return errors.New("no more")
		})
		return err
	}}}}
	if err := run(t.Context(), s, new(strings.Builder)); err == nil {
		t.Error("no error")
	}
	if m := lines(t, file)[0]; m.OK || m.Operations != 0 || m.Error != "operation 3: no more" {
		t.Errorf("%+v", m)
	}
}

func TestWrongResultsFail(t *testing.T) {
	s, file := tiny(t, "-target", "memory=,sdk=embedded,memory")
	s.combos = []combo{{name: "wrong", callers: 1, scenario: scenario{run: func(t *trial) error {
		if _, err := t.steadily(func(context.Context, int, int) error { return nil }); err != nil {
			return err
		}
		return expect("workflows", 1, 2)
	}}}}
	var out strings.Builder
	if err := run(t.Context(), s, &out); err == nil || err.Error() != "1 measurements failed" {
		t.Errorf("%v", err)
	}
	hasLine(t, out.String(), "| wrong@1 | FAILED |")
	if m := lines(t, file)[0]; m.OK || m.Unserved || m.Error != "workflows: 1, want 2" {
		t.Errorf("%+v", m)
	}
}
