package guide

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/opentelemetry"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Serve is a worker's main function: it runs until ctx ends, by a signal for example.
func Serve(ctx context.Context, queue string) error {
	options, err := client.FromEnvironment() // TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, … and the profile file
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, options)
	if err != nil {
		return err
	}
	defer c.Close()
	w := worker.New(c, queue, worker.Options{
		MaxCachedRuns: 10_000, MaxConcurrentActivities: 100, StopTimeout: 10 * time.Second,
	})
	worker.Workflow[*Bakery](w)
	worker.Workflow[*Street](w)
	worker.Workflow[*Night](w)
	w.Activity(&Kitchen{Oven: "big oven"})
	return w.Run(ctx)
}

// Traced is a client and a worker that can be watched.
func Traced(ctx context.Context, tracer trace.Tracer, meter metric.Meter, log *slog.Logger, o client.Options) (*client.Client, *worker.Worker, error) {
	tracing := opentelemetry.NewTracing(opentelemetry.Options{Tracer: tracer})
	o.Logger, o.Metrics = log, opentelemetry.Metrics(meter)
	o.Outbound = []client.Interceptor{tracing.Client()}
	c, err := client.Dial(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return c, worker.New(c, "bakery", worker.Options{
		Interceptors:         []workflow.Interceptor{tracing.Workflow()},
		ActivityInterceptors: []activity.Interceptor{tracing.Activity()},
	}), nil
}

// Limit is an interceptor of our own: no update without a name in its header.
var Limit = workflow.Interceptor{
	Read: func(ctx workflow.ReadContext, call *workflow.Call, next func(workflow.ReadContext) error) error {
		if call.Kind == workflow.CallValidator && call.Header["name"] == nil {
			return fmt.Errorf("%s: say who you are", call.Name)
		}
		return next(ctx)
	},
}

// Named sends the name along.
func Named(name string, c *client.Client) client.Interceptor {
	return client.InterceptorFunc(func(ctx context.Context, call *client.Call, next func(context.Context) error) error {
		p, err := c.Converter().ToPayload(name)
		if err != nil {
			return err
		}
		call.Header["name"] = p
		return next(ctx)
	})
}

// Replay says whether the code still goes the way that a recorded run has gone.
func Replay(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := worker.NewReplayer()
	worker.ReplayWorkflow[*Bakery](r)
	return r.JSON(f)
}
