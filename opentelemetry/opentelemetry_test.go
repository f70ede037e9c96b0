package opentelemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/opentelemetry"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

type Traced struct{ told bool }

func (tr *Traced) Run(ctx workflow.Context, depth int) (string, error) {
	if err := workflow.Await(ctx, func() bool { return tr.told || depth == 0 }); err != nil {
		return "", err
	}
	s, err := workflow.Activity0(ctx, Work, workflow.ActivityOptions{StartToClose: time.Minute}).Get()
	if err != nil || depth == 0 {
		return s, err
	}
	return workflow.Child(ctx, (*Traced).Run, depth-1, workflow.ChildOptions{WorkflowID: "child"}).Result().Get()
}

func (tr *Traced) Tell(workflow.Context)                           { tr.told = true }
func (tr *Traced) Told(workflow.ReadContext) (bool, error)         { return tr.told, nil }
func (tr *Traced) Set(workflow.Context, int) (int, error)          { return 0, errors.New("not now") }
func (tr *Traced) ValidateSet(_ workflow.ReadContext, _ int) error { return nil }

func Work(ctx context.Context) (string, error) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return "", errors.New("the activity has no span")
	}
	return "done", nil
}

// tree is what a trace looks like: each span below its parent.
func tree(spans tracetest.SpanStubs) string {
	var lines []string
	var below func(parent trace.SpanID, depth int)
	below = func(parent trace.SpanID, depth int) {
		var names []string
		at := map[string]trace.SpanID{}
		for _, s := range spans {
			if s.Parent.SpanID() != parent {
				continue
			}
			name := s.Name
			if s.Status.Code == codes.Error {
				name += " !" + s.Status.Description
			}
			names, at[name] = append(names, name), s.SpanContext.SpanID()
		}
		slices.Sort(names)
		for _, n := range names {
			lines = append(lines, strings.Repeat("  ", depth)+n)
			below(at[n], depth+1)
		}
	}
	below(trace.SpanID{}, 0)
	return strings.Join(lines, "\n")
}

const want = `test
  QueryWorkflow:Told
    HandleQuery:Told
  SignalWorkflow:Tell
    HandleSignal:Tell
  StartWorkflow:Traced
    RunWorkflow:Traced
      CompleteWorkflow:Traced
      StartActivity:Work
        RunActivity:Work
      StartChildWorkflow:Traced
        RunWorkflow:Traced
          CompleteWorkflow:Traced
          StartActivity:Work
            RunActivity:Work
  UpdateWorkflow:Set
    HandleUpdate:Set
      CompleteUpdate:Set !not now
    ValidateUpdate:Set`

// With stable IDs the tree is the same when every task begins with a replay.
func TestATraceGoesThroughClientWorkflowChildAndActivity(t *testing.T) {
	for _, cached := range []int{0, -1} {
		t.Run(fmt.Sprint("cache ", cached), func(t *testing.T) {
			ctx := t.Context()
			spans := tracetest.NewInMemoryExporter()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithIDGenerator(opentelemetry.IDs{}))
			tracer := provider.Tracer("test")
			tracing := opentelemetry.NewTracing(opentelemetry.Options{Tracer: tracer, StableIDs: true})
			reader := sdkmetric.NewManualReader()
			meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")
			db, err := embedded.Open(ctx, embedded.Options{Dir: t.TempDir(), Client: client.Options{
				Logger: slog.New(slog.DiscardHandler), Outbound: []client.Interceptor{tracing.Client()}, Metrics: opentelemetry.Metrics(meter),
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			c := db.Client()
			w := worker.New(c, "q", worker.Options{
				MaxCachedRuns: cached, Interceptors: []workflow.Interceptor{tracing.Workflow()}, ActivityInterceptors: []activity.Interceptor{tracing.Activity()},
			})
			worker.Workflow[*Traced](w)
			w.Activity(Work)
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			in, span := tracer.Start(ctx, "test")
			h, err := client.Start(in, c, (*Traced).Run, 1, client.StartOptions{TaskQueue: "q"})
			if err != nil {
				t.Fatal(err)
			}
			if told, err := client.Query(in, h, (*Traced).Told); told || err != nil {
				t.Error(told, err)
			}
			if _, err := client.Update(in, h, (*Traced).Set, 1); err == nil {
				t.Error("the update did not fail")
			}
			if err := client.Signal0(in, h, (*Traced).Tell); err != nil {
				t.Error(err)
			}
			if s, err := h.Result(ctx); s != "done" || err != nil {
				t.Error(s, err)
			}
			span.End()
			w.Stop()
			if got := tree(spans.GetSpans()); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var data metricdata.ResourceMetrics
			if err := reader.Collect(ctx, &data); err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for _, scope := range data.ScopeMetrics {
				for _, m := range scope.Metrics {
					names[m.Name] = true
				}
			}
			for _, name := range []string{"temporal_workflow_completed", "temporal_activity_execution_latency", "temporal_num_pollers"} {
				if !names[name] {
					t.Errorf("%s is not shown", name)
				}
			}
		})
	}
}
