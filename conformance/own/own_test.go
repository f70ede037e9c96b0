// Package own lets Perdure's Go SDK and the official one talk to each other over one server: either's client with the other's
// worker, and each history replayed by both.
package own

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdkclient "go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"
	sdkworkflow "go.temporal.io/sdk/workflow"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Desk is the workflow in Perdure's SDK; DeskFunction is the same in the official one.
type Desk struct {
	names []string
	done  bool
}

func (d *Desk) Run(ctx workflow.Context, prefix string) ([]string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	workflow.Version(ctx, "greet", workflow.DefaultVersion, 1)
	s, err := workflow.Activity(ctx, Compose, prefix, workflow.ActivityOptions{StartToClose: 10 * time.Second}).Get()
	if err != nil {
		return nil, err
	}
	n, err := workflow.SideEffect(ctx, func() int { return 42 })
	if err != nil || n != 42 {
		return nil, errors.Join(err, errors.New("side effect"))
	}
	if err := workflow.Await(ctx, func() bool { return d.done }); err != nil {
		return nil, err
	}
	return append([]string{s}, d.names...), nil
}

func (d *Desk) Submit(_ workflow.Context, name string)          { d.names = append(d.names, name) }
func (d *Desk) Count(workflow.ReadContext) (int, error)         { return len(d.names), nil }
func (d *Desk) Finish(workflow.Context, string) (string, error) { d.done = true; return "bye", nil }
func (d *Desk) ValidateFinish(_ workflow.ReadContext, s string) error {
	if s == "" {
		return errors.New("say something")
	}
	return nil
}

func DeskFunction(ctx sdkworkflow.Context, prefix string) ([]string, error) {
	var names []string
	done := false
	_ = sdkworkflow.SetQueryHandler(ctx, "Count", func() (int, error) { return len(names), nil })
	_ = sdkworkflow.SetUpdateHandlerWithOptions(ctx, "Finish", func(_ sdkworkflow.Context, _ string) (string, error) {
		done = true
		return "bye", nil
	}, sdkworkflow.UpdateHandlerOptions{Validator: func(_ sdkworkflow.Context, s string) error {
		if s == "" {
			return errors.New("say something")
		}
		return nil
	}})
	sdkworkflow.Go(ctx, func(ctx sdkworkflow.Context) {
		for {
			var name string
			sdkworkflow.GetSignalChannel(ctx, "Submit").Receive(ctx, &name)
			names = append(names, name)
		}
	})
	if err := sdkworkflow.Sleep(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	sdkworkflow.GetVersion(ctx, "greet", sdkworkflow.DefaultVersion, 1)
	var s string
	ctx = sdkworkflow.WithActivityOptions(ctx, sdkworkflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	if err := sdkworkflow.ExecuteActivity(ctx, Compose, prefix).Get(ctx, &s); err != nil {
		return nil, err
	}
	var n int
	if err := sdkworkflow.SideEffect(ctx, func(sdkworkflow.Context) any { return 42 }).Get(&n); err != nil {
		return nil, err
	}
	err := sdkworkflow.Await(ctx, func() bool { return done })
	return append([]string{s}, names...), err
}

func Compose(_ context.Context, s string) (string, error) { return "Hello, " + s, nil }

type rig struct {
	ours     *client.Client
	official sdkclient.Client
	queue    string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	addr := os.Getenv("PERDURE_TEST_ADDR")
	if addr == "" {
		db, err := embedded.Open(context.Background(), embedded.Options{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		addr = db.Addr()
	}
	quiet := slog.New(slog.DiscardHandler)
	ours, err := client.Dial(context.Background(), client.Options{Address: addr, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	official, err := sdkclient.Dial(sdkclient.Options{HostPort: addr, Logger: sdklog.NewStructuredLogger(quiet)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ours.Close)
	t.Cleanup(official.Close)
	return &rig{ours, official, uuid.NewString()}
}

func (r *rig) ourWorker(t testing.TB) {
	w := worker.New(r.ours, r.queue, worker.Options{})
	worker.Workflow[*Desk](w)
	w.Activity(Compose)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func (r *rig) officialWorker(t testing.TB) {
	w := sdkworker.New(r.official, r.queue, sdkworker.Options{})
	w.RegisterWorkflowWithOptions(DeskFunction, sdkworkflow.RegisterOptions{Name: "Desk"})
	w.RegisterActivity(Compose)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

var want = []string{"Hello, you", "a", "b"}

// ourStory goes through the workflow with our client.
func (r *rig) ourStory(t *testing.T, ctx context.Context) string {
	h, err := client.Start(ctx, r.ours, (*Desk).Run, "you", client.StartOptions{TaskQueue: r.queue})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range want[1:] {
		if err := client.Signal(ctx, h, (*Desk).Submit, s); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := client.Query(ctx, h, (*Desk).Count); err != nil || n != 2 {
		t.Errorf("query: %d, %v", n, err)
	}
	r.composed(t, ctx, h.ID())
	var rejected *client.UpdateFailedError
	if _, err := client.Update(ctx, h, (*Desk).Finish, ""); !errors.As(err, &rejected) {
		t.Errorf("update that is to be rejected: %v", err)
	}
	if s, err := client.Update(ctx, h, (*Desk).Finish, "x"); err != nil || s != "bye" {
		t.Errorf("update: %q, %v", s, err)
	}
	if out, err := h.Result(ctx); err != nil || !slices.Equal(out, want) {
		t.Errorf("result: %q, %v", out, err)
	}
	return h.ID()
}

// composed returns when the activity is done. An update that meets the end of the timer in one workflow task is handled before the
// main method goes on by our SDK, and after that by the official one: such a history replays with the SDK that made it only.
func (r *rig) composed(t *testing.T, ctx context.Context, id string) {
	t.Helper()
	request := &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: r.ours.Namespace(), Execution: &commonpb.WorkflowExecution{WorkflowId: id}, WaitNewEvent: true,
	}
	for {
		page, err := r.ours.Service().GetWorkflowExecutionHistory(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.History.GetEvents() {
			if e.EventType == enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED {
				return
			}
		}
		request.NextPageToken = page.NextPageToken
	}
}

// officialStory is the same with the official client.
func (r *rig) officialStory(t *testing.T, ctx context.Context) string {
	h, err := r.official.ExecuteWorkflow(ctx, sdkclient.StartWorkflowOptions{TaskQueue: r.queue}, "Desk", "you")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range want[1:] {
		if err := r.official.SignalWorkflow(ctx, h.GetID(), "", "Submit", s); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if v, err := r.official.QueryWorkflow(ctx, h.GetID(), "", "Count"); err != nil || v.Get(&n) != nil || n != 2 {
		t.Errorf("query: %d, %v", n, err)
	}
	r.composed(t, ctx, h.GetID())
	u, err := r.official.UpdateWorkflow(ctx, sdkclient.UpdateWorkflowOptions{WorkflowID: h.GetID(), UpdateName: "Finish", Args: []any{""}, WaitForStage: sdkclient.WorkflowUpdateStageCompleted})
	if err == nil {
		err = u.Get(ctx, nil)
	}
	if err == nil {
		t.Error("an update that is to be rejected was not")
	}
	u, err = r.official.UpdateWorkflow(ctx, sdkclient.UpdateWorkflowOptions{WorkflowID: h.GetID(), UpdateName: "Finish", Args: []any{"x"}, WaitForStage: sdkclient.WorkflowUpdateStageCompleted})
	var s string
	if err != nil || u.Get(ctx, &s) != nil || s != "bye" {
		t.Errorf("update: %q, %v", s, err)
	}
	var out []string
	if err := h.Get(ctx, &out); err != nil || !slices.Equal(out, want) {
		t.Errorf("result: %q, %v", out, err)
	}
	return h.GetID()
}

// replayed goes through a history with both SDKs.
func (r *rig) replayed(t *testing.T, ctx context.Context, id string) {
	t.Helper()
	h := &historypb.History{}
	for e, err := range r.ours.Handle(id, "").History(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	p := worker.NewReplayer()
	worker.ReplayWorkflow[*Desk](p)
	if err := p.Events(h.Events); err != nil {
		t.Errorf("our replay: %v", err)
	}
	o := sdkworker.NewWorkflowReplayer()
	o.RegisterWorkflowWithOptions(DeskFunction, sdkworkflow.RegisterOptions{Name: "Desk"})
	if err := o.ReplayWorkflowHistory(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)), h); err != nil {
		t.Errorf("official replay: %v", err)
		for _, e := range h.Events {
			t.Log(e.EventId, e.EventType)
		}
	}
}

func TestSDKsUnderstandEachOther(t *testing.T) {
	for _, worker := range []string{"our worker", "official worker"} {
		for _, client := range []string{"our client", "official client"} {
			t.Run(worker+", "+client, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				r := newRig(t)
				start, story := r.ourWorker, r.ourStory
				if worker == "official worker" {
					start = r.officialWorker
				}
				if client == "official client" {
					story = r.officialStory
				}
				start(t)
				r.replayed(t, ctx, story(t, ctx))
			})
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkActivityWorkflow measures a workflow with one activity, worker and client in this process. With PERDURE_TEST_ADDR
// the server is elsewhere, so that cpu-µs/op is the SDK's alone.
func BenchmarkActivityWorkflow(b *testing.B) {
	story := func(b *testing.B, r *rig, run func(ctx context.Context) error) {
		b.ReportAllocs()
		ctx := context.Background()
		if err := run(ctx); err != nil {
			b.Fatal(err)
		}
		before := cpu()
		for b.Loop() {
			if err := run(ctx); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	}
	b.Run("ours", func(b *testing.B) {
		r := newRig(b)
		w := worker.New(r.ours, r.queue, worker.Options{})
		worker.Workflow[*One](w)
		w.Activity(Compose)
		if err := w.Start(); err != nil {
			b.Fatal(err)
		}
		defer w.Stop()
		story(b, r, func(ctx context.Context) error {
			h, err := client.Start(ctx, r.ours, (*One).Run, "x", client.StartOptions{TaskQueue: r.queue})
			if err == nil {
				_, err = h.Result(ctx)
			}
			return err
		})
	})
	b.Run("official", func(b *testing.B) {
		r := newRig(b)
		w := sdkworker.New(r.official, r.queue, sdkworker.Options{})
		w.RegisterWorkflow(OneFunction)
		w.RegisterActivity(Compose)
		if err := w.Start(); err != nil {
			b.Fatal(err)
		}
		defer w.Stop()
		story(b, r, func(ctx context.Context) error {
			h, err := r.official.ExecuteWorkflow(ctx, sdkclient.StartWorkflowOptions{TaskQueue: r.queue}, OneFunction, "x")
			if err == nil {
				err = h.Get(ctx, nil)
			}
			return err
		})
	})
}

type One struct{}

func (o *One) Run(ctx workflow.Context, s string) (string, error) {
	return workflow.Activity(ctx, Compose, s, workflow.ActivityOptions{StartToClose: 10 * time.Second}).Get()
}

func OneFunction(ctx sdkworkflow.Context, s string) (out string, err error) {
	ctx = sdkworkflow.WithActivityOptions(ctx, sdkworkflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	err = sdkworkflow.ExecuteActivity(ctx, Compose, s).Get(ctx, &out)
	return out, err
}
