package own

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	sdklog "go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"
	sdkworkflow "go.temporal.io/sdk/workflow"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/conformance/judge"
	"github.com/perdure/perdure/worker"
)

// -record makes the histories of testdata/histories that are missing. What is there is never made anew: it is what users have.
var record = flag.Bool("record", false, "record the histories that are missing")

const histories = "testdata/histories"

// recorded are histories of workflows that both SDKs have, made by either of them, or by both in turn. Each is told by a
// function, which gives the workflow ID and the run ID.
var recorded = map[string]func(t *testing.T, ctx context.Context, r *rig) (string, string){
	"official-desk": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		r.officialWorker(t)
		return r.officialStory(t, ctx), ""
	},
	"own-desk": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		r.ourWorker(t)
		return r.ourStory(t, ctx), ""
	},
	"official-one": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		w := sdkworker.New(r.official, r.queue, sdkworker.Options{})
		w.RegisterWorkflowWithOptions(OneFunction, sdkworkflow.RegisterOptions{Name: "One"})
		w.RegisterActivity(Compose)
		serve(t, w.Start(), w.Stop)
		return one(t, ctx, r), ""
	},
	"own-one": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		w := worker.New(r.ours, r.queue, worker.Options{})
		worker.Workflow[*One](w)
		w.Activity(Compose)
		serve(t, w.Start(), w.Stop)
		return one(t, ctx, r), ""
	},
	"official-desk-cancelled": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		r.officialWorker(t)
		return canceled(t, ctx, r), ""
	},
	"own-desk-cancelled": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		r.ourWorker(t)
		return canceled(t, ctx, r), ""
	},
	// The update comes again after the reset, as UpdateAdmitted.
	"official-desk-reset": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		r.officialWorker(t)
		id := r.officialStory(t, ctx)
		return id, reset(t, ctx, r, id)
	},
	"official-then-own": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		return handedOver(t, ctx, r, r.officialWorker, r.ourWorker), ""
	},
	"own-then-official": func(t *testing.T, ctx context.Context, r *rig) (string, string) {
		return handedOver(t, ctx, r, r.ourWorker, r.officialWorker), ""
	},
}

func serve(t *testing.T, err error, stop func()) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

func one(t *testing.T, ctx context.Context, r *rig) string {
	h, err := client.Start(ctx, r.ours, (*One).Run, "x", client.StartOptions{TaskQueue: r.queue})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Result(ctx); err != nil {
		t.Fatal(err)
	}
	return h.ID()
}

func canceled(t *testing.T, ctx context.Context, r *rig) string {
	h, err := client.Start(ctx, r.ours, (*Desk).Run, "you", client.StartOptions{TaskQueue: r.queue})
	if err == nil {
		err = client.Signal(ctx, h, (*Desk).Submit, "a")
	}
	if err != nil {
		t.Fatal(err)
	}
	await(t, ctx, r, h.ID(), enumspb.EVENT_TYPE_MARKER_RECORDED, 2)
	if err := h.Cancel(ctx, "enough"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Result(ctx); err == nil {
		t.Fatal("not cancelled")
	}
	return h.ID()
}

// await waits until a history has so many events of a type.
func await(t *testing.T, ctx context.Context, r *rig, id string, what enumspb.EventType, times int) {
	t.Helper()
	for {
		n := 0
		for _, e := range events(t, ctx, r.ours, id, "") {
			if e.EventType == what {
				n++
			}
		}
		if n >= times {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func events(t *testing.T, ctx context.Context, c *client.Client, id, run string) []*historypb.HistoryEvent {
	t.Helper()
	var all []*historypb.HistoryEvent
	for e, err := range c.Handle(id, run).History(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// reset goes back to where the activity has come back, waits for the end of the new run and gives its ID.
func reset(t *testing.T, ctx context.Context, r *rig, id string) string {
	back := int64(0)
	var old string
	for _, e := range events(t, ctx, r.ours, id, "") {
		if a := e.GetWorkflowExecutionStartedEventAttributes(); a != nil {
			old = a.OriginalExecutionRunId
		}
		if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			back = e.EventId // the last one would be that of the update's acceptance
			break
		}
	}
	answer, err := r.ours.Service().ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: r.ours.Namespace(), WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: old},
		WorkflowTaskFinishEventId: back, RequestId: uuid.NewString(), Reason: "once more",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ours.Handle(id, answer.RunId).Result(ctx); err != nil {
		t.Fatal(err)
	}
	return answer.RunId
}

// handedOver begins a run with one worker and ends it with another.
func handedOver(t *testing.T, ctx context.Context, r *rig, first, then func(testing.TB)) string {
	var h *client.Handle[*Desk, []string]
	t.Run("first", func(t *testing.T) {
		first(t) // until this subtest ends
		var err error
		if h, err = client.Start(ctx, r.ours, (*Desk).Run, "you", client.StartOptions{TaskQueue: r.queue}); err != nil {
			t.Fatal(err)
		}
		if err := client.Signal(ctx, h, (*Desk).Submit, "a"); err != nil {
			t.Fatal(err)
		}
		await(t, ctx, r, h.ID(), enumspb.EVENT_TYPE_MARKER_RECORDED, 2)
	})
	then(t)
	if err := client.Signal(ctx, h, (*Desk).Submit, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Update(ctx, h, (*Desk).Finish, ""); err == nil {
		t.Error("an update that is to be rejected was not")
	}
	if _, err := client.Update(ctx, h, (*Desk).Finish, "x"); err != nil {
		t.Error(err)
	}
	if out, err := h.Result(ctx); err != nil || strings.Join(out, " ") != "Hello, you a b" {
		t.Errorf("result: %q, %v", out, err)
	}
	return h.ID()
}

// Each history that one SDK, or both, have made is replayed by both.
func TestBothSDKsReplayWhatEitherRecorded(t *testing.T) {
	for name, tell := range recorded {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(histories, name+".json")
			text, err := os.ReadFile(path)
			if os.IsNotExist(err) && *record {
				text, err = keep(t, path, tell)
			}
			if err != nil {
				t.Fatal(err)
			}
			h := &historypb.History{}
			if err := (temporalproto.CustomJSONUnmarshalOptions{}).Unmarshal(text, h); err != nil {
				t.Fatal(err)
			}
			for _, fault := range judge.History(h.Events) {
				t.Error(fault)
			}
			p := worker.NewReplayer()
			worker.ReplayWorkflow[*Desk](p)
			worker.ReplayWorkflow[*One](p)
			if err := p.JSON(strings.NewReader(string(text))); err != nil {
				t.Errorf("our replay: %v", err)
			}
			o := sdkworker.NewWorkflowReplayer()
			o.RegisterWorkflowWithOptions(DeskFunction, sdkworkflow.RegisterOptions{Name: "Desk"})
			o.RegisterWorkflowWithOptions(OneFunction, sdkworkflow.RegisterOptions{Name: "One"})
			quiet := sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
			if err := o.ReplayWorkflowHistoryFromJSONFile(quiet, path); err != nil {
				t.Errorf("official replay: %v", err)
			}
		})
	}
	files, err := os.ReadDir(histories)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if recorded[strings.TrimSuffix(f.Name(), ".json")] == nil {
			t.Errorf("nobody tells how %s came about", f.Name())
		}
	}
}

func keep(t *testing.T, path string, tell func(*testing.T, context.Context, *rig) (string, string)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := newRig(t)
	id, run := tell(t, ctx, r)
	text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(&historypb.History{Events: events(t, ctx, r.ours, id, run)})
	if err == nil {
		err = os.MkdirAll(histories, 0o755)
	}
	if err == nil && !t.Failed() {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	return text, err
}
