package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/node"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Greeting is the guide's workflow.
type Greeting struct {
	pending  []string
	exit     bool
	language string
}

func (g *Greeting) Run(ctx workflow.Context, prefix string) ([]string, error) {
	var greetings []string
	for {
		if err := workflow.Await(ctx, func() bool { return len(g.pending) > 0 || g.exit }); err != nil {
			return nil, err
		}
		for len(g.pending) > 0 {
			name := g.pending[0]
			g.pending = g.pending[1:]
			s, err := workflow.Activity(ctx, Compose, prefix+" "+name, workflow.ActivityOptions{StartToClose: 10 * time.Second}).Get()
			if err != nil {
				return nil, err
			}
			greetings = append(greetings, s)
		}
		if g.exit {
			return greetings, nil
		}
	}
}

func (g *Greeting) Submit(_ workflow.Context, name string) { g.pending = append(g.pending, name) }
func (g *Greeting) Exit(workflow.Context)                  { g.exit = true }
func (g *Greeting) Custom(_ workflow.Context, name string) {
	g.pending = append(g.pending, "custom "+name)
}
func (g *Greeting) Language(workflow.ReadContext) (string, error) { return g.language, nil }

func (g *Greeting) SetLanguage(ctx workflow.Context, l string) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	old := g.language
	g.language = l
	return old, nil
}

func (g *Greeting) ValidateSetLanguage(_ workflow.ReadContext, l string) error {
	if l == "" {
		return errors.New("no language")
	}
	return nil
}

func (g *Greeting) Any(_ workflow.Context, name string, args workflow.Args) {
	g.pending = append(g.pending, fmt.Sprintf("%s(%d)", name, args.Len()))
}

func (g *Greeting) AnyQuery(_ workflow.ReadContext, name string, _ workflow.Args) (string, error) {
	return "dynamic " + name, nil
}

var _ = workflow.Define[*Greeting](workflow.Rename((*Greeting).Custom, "Custom Signal Name"))

func Compose(_ context.Context, s string) (string, error) { return "Hello, " + s, nil }

func Flaky(ctx context.Context) (int, error) {
	if a := activity.GetInfo(ctx).Attempt; a < 3 {
		return 0, errors.New("not yet")
	}
	return 7, nil
}

// server is a whole server in this process and a client of it; with PERDURE_TEST_ADDR it is the server there, which may be any
// that speaks the API.
func server(t testing.TB, changes ...func(*client.Options)) *client.Client {
	t.Helper()
	if addr := os.Getenv("PERDURE_TEST_ADDR"); addr != "" {
		o := client.Options{Address: addr}
		for _, change := range changes {
			change(&o)
		}
		c, err := client.Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ctx, cancel := context.WithCancel(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	n, err := node.New(ctx, node.Config{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	o := client.Options{Conn: n.Conn(), Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	for _, change := range changes {
		change(&o)
	}
	c, err := client.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type testWriter struct{ testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func start(t testing.TB, c *client.Client, queue string, o worker.Options, register func(*worker.Worker)) {
	t.Helper()
	w := worker.New(c, queue, o)
	register(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// caches runs a test with runs cached and with each task replayed from its beginning.
func caches(t *testing.T, test func(t *testing.T, o worker.Options)) {
	t.Run("cached", func(t *testing.T) { test(t, worker.Options{}) })
	t.Run("replayed", func(t *testing.T) { test(t, worker.Options{MaxCachedRuns: -1}) })
}

func TestGreetingOfTheGuide(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q := server(t), uuid.NewString()
		start(t, c, q, o, func(w *worker.Worker) {
			worker.Workflow[*Greeting](w)
			w.Activity(Compose)
		})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "dear", client.StartOptions{TaskQueue: q}))
		ok(t, client.Signal(ctx, h, (*Greeting).Submit, "User 1"))
		ok(t, client.Signal(ctx, h, (*Greeting).Custom, "User 2"))
		ok(t, h.SignalByName(ctx, "unknown", 1, 2))
		if old := must[string](t)(client.Update(ctx, h, (*Greeting).SetLanguage, "fr")); old != "" {
			t.Errorf("language was %q", old)
		}
		if old := must[string](t)(client.Update(ctx, h, (*Greeting).SetLanguage, "de")); old != "fr" {
			t.Errorf("language was %q", old)
		}
		var rejected *client.UpdateFailedError
		if _, err := client.Update(ctx, h, (*Greeting).SetLanguage, ""); !errors.As(err, &rejected) {
			t.Errorf("update without a language: %v", err)
		}
		if l := must[string](t)(client.Query(ctx, h, (*Greeting).Language)); l != "de" {
			t.Errorf("language is %q", l)
		}
		v, err := h.QueryByName(ctx, "whatever")
		ok(t, err)
		var s string
		ok(t, v.Get(&s))
		if s != "dynamic whatever" {
			t.Errorf("dynamic query: %q", s)
		}
		ok(t, client.Signal0(ctx, h, (*Greeting).Exit))
		out := must[[]string](t)(h.Result(ctx))
		if got := strings.Join(out, "; "); got != "Hello, dear User 1; Hello, dear custom User 2; Hello, dear unknown(2)" {
			t.Errorf("result: %s", got)
		}
	})
}

// Steps goes through the rest of what a workflow can do.
type Steps struct{ got []string }

type Sub struct{}

func (s *Sub) Run(ctx workflow.Context, n int) (int, error) {
	if n < 0 {
		return 0, failure.NonRetryable("negative", "Negative", nil)
	}
	return n * n, workflow.Sleep(ctx, time.Millisecond)
}

func (s *Steps) Run(ctx workflow.Context) (string, error) {
	n, err := workflow.Activity0(ctx, Flaky, workflow.ActivityOptions{
		StartToClose: time.Second, Retry: &workflow.RetryPolicy{InitialInterval: time.Millisecond},
	}).Get()
	if err != nil {
		return "", err
	}
	local, err := workflow.LocalActivity(ctx, Compose, "local", workflow.LocalActivityOptions{StartToClose: time.Second}).Get()
	if err != nil {
		return "", err
	}
	child, err := workflow.Child(ctx, (*Sub).Run, n, workflow.ChildOptions{}).Result().Get()
	if err != nil {
		return "", err
	}
	_, err = workflow.Child(ctx, (*Sub).Run, -1, workflow.ChildOptions{}).Result().Get()
	if !failure.IsApplication(err, "Negative") {
		return "", fmt.Errorf("child: %w", err)
	}
	side, err := workflow.SideEffect(ctx, func() int { return 42 })
	if err != nil {
		return "", err
	}
	v := workflow.Version(ctx, "change", workflow.DefaultVersion, 3)
	below, cancel := workflow.WithCancel(ctx)
	slow := workflow.NewTimer(below, time.Hour)
	fast := workflow.NewTimer(ctx, time.Millisecond)
	at, err := workflow.Select(ctx, slow, fast)
	if err != nil {
		return "", err
	}
	cancel("fast won")
	if _, err := slow.Get(); !failure.IsCanceled(err) {
		return "", fmt.Errorf("timer: %w", err)
	}
	var ch workflow.Channel[string]
	var mu workflow.Mutex
	for i := range 3 {
		workflow.Go(ctx, func(ctx workflow.Context) {
			_ = mu.Lock(ctx)
			_ = workflow.Sleep(ctx, time.Millisecond)
			_ = ch.Send(ctx, fmt.Sprint(i))
			mu.Unlock()
		})
	}
	var order string
	for range 3 {
		s, _, _ := ch.Receive(ctx)
		order += s
	}
	held, err := workflow.AwaitFor(ctx, time.Millisecond, func() bool { return false })
	return fmt.Sprint(n, " ", local, " ", child, " ", side, " ", v, " ", at, " ", order, " ", held), err
}

func TestStepsOfAWorkflow(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q := server(t), uuid.NewString()
		start(t, c, q, o, func(w *worker.Worker) {
			worker.Workflow[*Steps](w)
			worker.Workflow[*Sub](w)
			w.Activity(Compose)
			w.Activity(Flaky)
		})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		h := must[*client.Handle[*Steps, string]](t)(client.Start0(ctx, c, (*Steps).Run, client.StartOptions{TaskQueue: q}))
		out := must[string](t)(h.Result(ctx))
		if out != "7 Hello, local 49 42 3 1 012 false" {
			t.Errorf("result: %s", out)
		}
	})
}

// testsOwnServer tells whether the tests run against the server of this repository.
func testsOwnServer() bool { return os.Getenv("PERDURE_TEST_ADDR") == "" }
