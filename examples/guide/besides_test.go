package guide_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/examples/guide"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// serve runs the worker of the guide's last chapter, which finds its server as every worker does.
func serve(t *testing.T) (context.Context, *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	db, err := embedded.Open(ctx, embedded.Options{Listen: "127.0.0.1:0", Client: client.Options{Logger: slog.New(slog.DiscardHandler)}})
	ok(t, err)
	t.Setenv("TEMPORAL_ADDRESS", db.Addr())
	done := make(chan error, 1)
	go func() { done <- guide.Serve(ctx, "bakery") }()
	t.Cleanup(func() {
		cancel()
		ok(t, <-done)
		ok(t, db.Close())
	})
	return ctx, db.Client()
}

func TestWhatWorkflowsDoBesides(t *testing.T) {
	ctx, c := serve(t)
	o := client.StartOptions{ID: "bakery-1", TaskQueue: "bakery"}
	h := must(client.Start(ctx, c, (*guide.Bakery).Run, 3, o))(t)
	same(t, must(h.Result(ctx))(t), []string{"3 cakes from the big oven", "1 cakes from the big oven"})

	// With its start: a signal of its own comes to the next run, of more cakes, if the only bakery is done before it.
	op := client.WithStart((*guide.Street).Run, 1, client.StartOptions{ID: "street", TaskQueue: "bakery"})
	street := must(client.SignalWithStart0(ctx, c, op, (*guide.Street).Close))(t)
	same(t, must(street.Result(ctx))(t), 1)

	night := must(client.Start0(ctx, c, (*guide.Night).Run, client.StartOptions{TaskQueue: "bakery"}))(t)
	ok(t, night.Cancel(ctx, "it is morning"))
	same(t, must(night.Result(ctx))(t), "clean, because it is morning")

	history := &historypb.History{}
	for e, err := range h.History(ctx) {
		ok(t, err)
		history.Events = append(history.Events, e)
	}
	text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(history)
	ok(t, err)
	path := filepath.Join(t.TempDir(), "history.json")
	ok(t, os.WriteFile(path, text, 0o600))
	ok(t, guide.Replay(path))
}

func TestHandlersTakeTurns(t *testing.T) {
	ctx, c := serve(t)
	h := must(client.Start(ctx, c, (*guide.Bakery).Run, 1, client.StartOptions{TaskQueue: "bakery"}))(t)
	same(t, must(client.Update(ctx, h, (*guide.Bakery).Worked, "bread"))(t), "bread")
}

func TestInterceptorsAndTraces(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	spans, log := tracetest.NewInMemoryExporter(), &bytes.Buffer{}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("guide")
	reader := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("guide")
	db, err := embedded.Open(ctx, embedded.Options{Listen: "127.0.0.1:0"})
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	c, w, err := guide.Traced(ctx, tracer, meter, slog.New(slog.NewTextHandler(log, nil)), client.Options{Address: db.Addr()})
	ok(t, err)
	defer c.Close()
	worker.Workflow[*guide.Bakery](w)
	w.Activity(&guide.Kitchen{Oven: "small oven"})
	ok(t, w.Start())
	h := must(client.Start(ctx, c, (*guide.Bakery).Run, 1, client.StartOptions{TaskQueue: "bakery"}))(t)
	must(h.Result(ctx))(t)
	w.Stop()
	var names []string
	for _, s := range spans.GetSpans() {
		names = append(names, s.Name)
	}
	if all := strings.Join(names, " "); !strings.Contains(all, "RunActivity:Bake") || !strings.Contains(all, "StartWorkflow:Bakery") {
		t.Errorf("spans %s", all)
	}
}

func TestAnInterceptorOfOnesOwn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	db, err := embedded.Open(ctx, embedded.Options{Listen: "127.0.0.1:0"})
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	w := worker.New(db.Client(), "q", worker.Options{Interceptors: []workflow.Interceptor{guide.Limit}})
	worker.Workflow[*guide.Heating](w)
	ok(t, w.Start())
	defer w.Stop()
	named := must(client.Dial(ctx, client.Options{Address: db.Addr(), Outbound: []client.Interceptor{guide.Named("Ada", db.Client())}}))(t)
	defer named.Close()
	h := must(client.Start(ctx, named, (*guide.Heating).Run, 20, client.StartOptions{ID: "heating", TaskQueue: "q"}))(t)
	same(t, must(client.Update(ctx, h, (*guide.Heating).Set, 21))(t), 20)
	same(t, must(client.Update0(ctx, h, (*guide.Heating).Boost))(t), 23)
	nameless := client.HandleOf[*guide.Heating, int](db.Client(), "heating", "")
	if _, err := client.Update0(ctx, nameless, (*guide.Heating).Boost); err == nil || !strings.Contains(err.Error(), "warmer: say who you are") {
		t.Errorf("a nameless update answered %v", err)
	}
}
