package embedded_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// counted is a listener's address in front of a server, and how many connections came through.
type counted struct {
	net.Listener
	to string

	mu   sync.Mutex
	n    int
	open []net.Conn
}

func proxy(t *testing.T, to string) *counted {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &counted{Listener: l, to: to}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.n++
			p.open = append(p.open, in, out)
			p.mu.Unlock()
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	return p
}

func pipe(to, from net.Conn) {
	_, _ = to.(*net.TCPConn).ReadFrom(from)
	_ = to.Close()
}

func (p *counted) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// cut breaks what is connected.
func (p *counted) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func TestASessionIsNegotiatedAndNeverNeeded(t *testing.T) {
	db, err := embedded.Open(t.Context(), embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, o := range map[string]struct {
		client client.Options
		want   int // connections
	}{
		"session":    {client.Options{}, 2},
		"refused":    {client.Options{NoSession: true}, 1},
		"compressed": {client.Options{Compress: true}, 1},
	} {
		p := proxy(t, db.Addr())
		o.client.Address = p.Addr().String()
		c, err := client.Dial(t.Context(), o.client)
		if err != nil {
			t.Fatal(err)
		}
		queue := "q-" + name
		w := worker.New(c, queue, worker.Options{})
		worker.Workflow[*Counter](w)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		h, err := client.Start0(t.Context(), c, (*Counter).Run, client.StartOptions{ID: name, TaskQueue: queue})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if n, err := client.Update(t.Context(), h, (*Counter).Add, 1); err != nil || n != i+1 {
				t.Errorf("%s: update %d: %d, %v", name, i, n, err)
			}
		}
		if n, err := h.Result(t.Context()); n != 2 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		w.Stop()
		c.Close()
		if n := p.connections(); n != o.want {
			t.Errorf("%s: %d connections, want %d", name, n, o.want)
		}
	}
}

// TestWorkGoesOnAcrossBrokenSessions cuts connections while updates are under way: each is applied once.
func TestWorkGoesOnAcrossBrokenSessions(t *testing.T) {
	db, err := embedded.Open(t.Context(), embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p := proxy(t, db.Addr())
	c, err := client.Dial(t.Context(), client.Options{Address: p.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, "q", worker.Options{StickyTimeout: time.Second})
	worker.Workflow[*Summing](w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	const callers, each = 4, 25
	h, err := client.Start(t.Context(), c, (*Summing).Run, callers*each, client.StartOptions{ID: "s", TaskQueue: "q", TaskTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	done := make(chan struct{}, callers*each)
	for i := range callers {
		all.Go(func() {
			for k := range each {
				if _, err := client.Update(t.Context(), h, (*Summing).Add, 1, client.UpdateID(fmt.Sprint(i, "-", k))); err != nil {
					t.Errorf("update %d-%d: %v", i, k, err)
				}
				done <- struct{}{}
			}
		})
	}
	go func() {
		for n := 1; n <= callers*each; n++ {
			<-done
			if n%20 == 0 {
				p.cut()
			}
		}
	}()
	all.Wait()
	if n, err := h.Result(t.Context()); n != callers*each || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAStopEndsSessionsInTime(t *testing.T) {
	dir := t.TempDir()
	o := embedded.Options{Dir: dir, Listen: "127.0.0.1:0"}
	db, err := embedded.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Listen = db.Addr()
	c, err := client.Dial(t.Context(), client.Options{Address: db.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, "q", worker.Options{})
	worker.Workflow[*Counter](w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	h, err := client.Start0(t.Context(), c, (*Counter).Run, client.StartOptions{ID: "c", TaskQueue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := client.Update(t.Context(), h, (*Counter).Add, 1); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	waited := make(chan error, 1)
	go func() { _, err := h.Result(context.Background()); waited <- err }() // is under way when the server stops
	begun := time.Now()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 5*time.Second { // half of the grace: nothing was cut off
		t.Errorf("the stop took %v", took)
	}
	if db, err = embedded.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n, err := client.Update(t.Context(), h, (*Counter).Add, 1); n != 2 || err != nil {
		t.Error(n, err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// Asked answers a query after its end.
type Asked struct{}

func (*Asked) Run(workflow.Context) error { return nil }

// Who is a query.
func (*Asked) Who(workflow.ReadContext) (string, error) { return "me", nil }

// TestAWorkerThatStopsTakesNothingAlong: its successor gets what comes in the moment of the change. Polls that were cancelled on
// the worker's side only took one of ten queries along.
func TestAWorkerThatStopsTakesNothingAlong(t *testing.T) {
	db, err := embedded.Open(t.Context(), embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, o := range map[string]client.Options{"session": {}, "single calls": {NoSession: true}} {
		o.Address = db.Addr()
		c, err := client.Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := func() *worker.Worker {
			w := worker.New(c, name, worker.Options{})
			worker.Workflow[*Asked](w)
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			return w
		}
		w := begin()
		defer func() { w.Stop() }()
		h, err := client.StartVoid0(t.Context(), db.Client(), (*Asked).Run, client.StartOptions{TaskQueue: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Result(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			w.Stop()
			w = begin()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // half of what a lost task would take
			if got, err := client.Query(ctx, h, (*Asked).Who); err != nil || got != "me" {
				t.Errorf("%s: query %d: %q, %v", name, i, got, err)
			}
			cancel()
		}
	}
}
