// Package opentelemetry traces what goes to workflows and activities and what they do, and shows metrics, through OpenTelemetry.
// The context travels in the header that other SDKs use for it, _tracer-data, so a trace goes on across languages.
//
//	t := opentelemetry.NewTracing(opentelemetry.Options{})
//	c, err := client.Dial(ctx, client.Options{Outbound: []client.Interceptor{t.Client()}, Metrics: opentelemetry.Metrics(meter)})
//	w := worker.New(c, "queue", worker.Options{
//		Interceptors:         []workflow.Interceptor{t.Workflow()},
//		ActivityInterceptors: []activity.Interceptor{t.Activity()},
//	})
//
// Calls of clients, attempts of activities, queries and validators are spans with a duration. What a workflow does may take days
// and several workers, so its spans are moments: RunWorkflow and CompleteWorkflow, HandleUpdate and CompleteUpdate, HandleSignal.
// Replay makes none.
package opentelemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/workflow"
)

// Header is the key under which the context travels.
const Header = "_tracer-data"

// Options of tracing. Zero values are the defaults.
type Options struct {
	// Tracer makes the spans. Default: that of the global provider.
	Tracer trace.Tracer
	// Propagator writes the context into headers and reads it. Default: W3C trace context and baggage.
	Propagator propagation.TextMapPropagator
	// StableIDs says that the tracer's provider was made with the ID generator IDs: the spans of a workflow then have the same IDs
	// wherever it is replayed, so that what it starts after it moved to another worker hangs on its own span. Without, that hangs
	// on the span of who started the workflow.
	StableIDs bool
}

// Tracing makes interceptors. It is safe for concurrent use.
type Tracing struct{ o Options }

// NewTracing makes interceptors for clients and workers.
func NewTracing(o Options) *Tracing {
	if o.Tracer == nil {
		o.Tracer = otel.Tracer("github.com/perdure/perdure")
	}
	if o.Propagator == nil {
		o.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	return &Tracing{o}
}

func (t *Tracing) inject(ctx context.Context, header map[string]*commonpb.Payload) error {
	carrier := propagation.MapCarrier{}
	t.o.Propagator.Inject(ctx, carrier)
	if len(carrier) == 0 {
		return nil
	}
	p, err := converter.Default().ToPayload(map[string]string(carrier))
	if err != nil {
		return err
	}
	header[Header] = p
	return nil
}

// extract ignores what it cannot read: a trace is no reason to fail a call.
func (t *Tracing) extract(ctx context.Context, header map[string]*commonpb.Payload) context.Context {
	carrier := propagation.MapCarrier{}
	if p := header[Header]; p == nil || converter.Default().FromPayload(p, (*map[string]string)(&carrier)) != nil {
		return ctx
	}
	return t.o.Propagator.Extract(ctx, carrier)
}

func end(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

func ids(workflow, run string, more ...attribute.KeyValue) trace.SpanStartEventOption {
	all := append([]attribute.KeyValue{attribute.String("temporalWorkflowID", workflow)}, more...)
	if run != "" {
		all = append(all, attribute.String("temporalRunID", run))
	}
	return trace.WithAttributes(all...)
}

var clientNames = map[client.CallKind]string{
	client.CallStart: "StartWorkflow", client.CallSignal: "SignalWorkflow", client.CallQuery: "QueryWorkflow", client.CallUpdate: "UpdateWorkflow",
	client.CallSignalWithStart: "SignalWithStartWorkflow", client.CallUpdateWithStart: "UpdateWithStartWorkflow",
}

// Client traces the calls of a client.
func (t *Tracing) Client() client.Interceptor {
	return client.InterceptorFunc(func(ctx context.Context, call *client.Call, next func(context.Context) error) error {
		name := call.Message
		if name == "" || call.WorkflowType != "" {
			name = call.WorkflowType
		}
		var more []attribute.KeyValue
		if call.UpdateID != "" {
			more = append(more, attribute.String("temporalUpdateID", call.UpdateID))
		}
		ctx, span := t.o.Tracer.Start(ctx, clientNames[call.Kind]+":"+name, trace.WithSpanKind(trace.SpanKindClient), ids(call.WorkflowID, "", more...))
		err := t.inject(ctx, call.Header)
		if err == nil {
			err = next(ctx)
		}
		end(span, err)
		return err
	})
}

// Activity traces attempts. The function's context has the span.
func (t *Tracing) Activity() activity.Interceptor {
	return func(ctx context.Context, call *activity.Call, next func(context.Context) error) error {
		i := call.Info
		ctx = t.extract(ctx, i.Header.GetFields())
		ctx, span := t.o.Tracer.Start(ctx, "RunActivity:"+i.ActivityType, trace.WithSpanKind(trace.SpanKindServer),
			ids(i.WorkflowID, i.WorkflowRunID, attribute.String("temporalActivityID", i.ActivityID), attribute.Int("temporalAttempt", int(i.Attempt))))
		err := next(ctx)
		end(span, err)
		return err
	}
}

type spanKey struct{}

// of is the context of the span that workflow code runs under.
func of(ctx workflow.ReadContext) context.Context {
	if c, ok := workflow.Value(ctx, spanKey{}).(context.Context); ok {
		return c
	}
	return context.Background()
}

// SpanContext is that of the span which workflow code runs under.
func SpanContext(ctx workflow.ReadContext) trace.SpanContext {
	return trace.SpanContextFromContext(of(ctx))
}

var (
	inNames  = map[workflow.CallKind]string{workflow.CallRun: "RunWorkflow", workflow.CallSignal: "HandleSignal", workflow.CallUpdate: "HandleUpdate", workflow.CallQuery: "HandleQuery", workflow.CallValidator: "ValidateUpdate"}
	endNames = map[workflow.CallKind]string{workflow.CallRun: "CompleteWorkflow", workflow.CallUpdate: "CompleteUpdate"}
	outNames = map[workflow.CallKind]string{workflow.CallActivity: "StartActivity", workflow.CallLocalActivity: "StartActivity", workflow.CallChild: "StartChildWorkflow", workflow.CallSignalWorkflow: "SignalExternalWorkflow"}
)

// Workflow traces what comes into and goes out of workflows.
func (t *Tracing) Workflow() workflow.Interceptor {
	return workflow.Interceptor{
		Handle: func(ctx workflow.Context, call *workflow.Call, next func(workflow.Context) error) error {
			parent := t.extract(context.Background(), call.Header)
			at := t.moment(ctx, parent, inNames[call.Kind], call)
			err := next(workflow.WithValue(ctx, spanKey{}, at))
			if name := endNames[call.Kind]; name != "" && !workflow.IsReplaying(ctx) {
				_, span := t.o.Tracer.Start(t.stable(ctx, at, name, call), name+":"+call.Name, trace.WithTimestamp(workflow.Now(ctx)), t.ids(ctx, call))
				end(span, err)
			}
			return err
		},
		Read: func(ctx workflow.ReadContext, call *workflow.Call, next func(workflow.ReadContext) error) error {
			parent := t.extract(context.Background(), call.Header)
			at, span := t.o.Tracer.Start(parent, inNames[call.Kind]+":"+call.Name, trace.WithSpanKind(trace.SpanKindServer), t.ids(ctx, call))
			err := next(workflow.WithReadValue(ctx, spanKey{}, at))
			end(span, err)
			return err
		},
		Send: func(ctx workflow.Context, call *workflow.Call) {
			name := outNames[call.Kind]
			if name == "" || workflow.IsReplaying(ctx) {
				return // a run that continues keeps what it was started with
			}
			at := t.moment(ctx, of(ctx), name, call)
			if err := t.inject(at, call.Header); err != nil {
				workflow.Logger(ctx).Warn("the trace is not sent along", "error", err)
			}
		},
	}
}

func (t *Tracing) ids(ctx workflow.ReadContext, call *workflow.Call) trace.SpanStartEventOption {
	i := workflow.GetInfo(ctx)
	var more []attribute.KeyValue
	if call.ID != "" {
		switch call.Kind {
		case workflow.CallUpdate, workflow.CallValidator:
			more = append(more, attribute.String("temporalUpdateID", call.ID))
		case workflow.CallActivity, workflow.CallLocalActivity:
			more = append(more, attribute.String("temporalActivityID", call.ID))
		default:
			more = append(more, attribute.String("temporalTargetWorkflowID", call.ID))
		}
	}
	return ids(i.WorkflowID, i.RunID, more...)
}

// moment makes a span that ends at once, and gives the context for what it leads to. On replay there is no span; the context is
// that of the span there was, if its ID is known, and the parent's otherwise.
func (t *Tracing) moment(ctx workflow.Context, parent context.Context, name string, call *workflow.Call) context.Context {
	stable := t.stable(ctx, parent, name, call)
	if !workflow.IsReplaying(ctx) {
		at, span := t.o.Tracer.Start(stable, name+":"+call.Name, trace.WithTimestamp(workflow.Now(ctx)), t.ids(ctx, call))
		span.End(trace.WithTimestamp(workflow.Now(ctx)))
		return at
	}
	if !t.o.StableIDs {
		return parent
	}
	before := trace.SpanContextFromContext(parent)
	traceID, spanID := IDs{}.NewIDs(stable)
	flags := before.TraceFlags()
	if before.IsValid() {
		traceID = before.TraceID()
	} else {
		flags = trace.FlagsSampled
	}
	return trace.ContextWithSpanContext(parent, trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: flags}))
}

// stable says to IDs which span is to be made.
func (t *Tracing) stable(ctx workflow.Context, parent context.Context, name string, call *workflow.Call) context.Context {
	if !t.o.StableIDs {
		return parent
	}
	seed := fmt.Sprint(workflow.GetInfo(ctx).OriginalRunID, "\x00", name, "\x00", call.Name, "\x00", call.ID)
	if call.Kind == workflow.CallSignal {
		// Signals have no ID. Those of one name in one task share a span ID, which is rare and harms nothing.
		seed += fmt.Sprint("\x00", workflow.Now(ctx).UnixNano())
	}
	return context.WithValue(parent, seedKey{}, seed)
}

type seedKey struct{}

// IDs is an ID generator for trace providers, sdktrace.WithIDGenerator: see Options.StableIDs. What is no part of a workflow gets
// random IDs.
type IDs struct{}

// NewIDs makes the IDs of a span without a parent.
func (IDs) NewIDs(ctx context.Context) (t trace.TraceID, s trace.SpanID) {
	seed, ok := ctx.Value(seedKey{}).(string)
	if !ok {
		return random[trace.TraceID](), random[trace.SpanID]()
	}
	h := sha256.Sum256([]byte(seed))
	copy(t[:], h[:16])
	copy(s[:], h[16:])
	return t, s
}

// NewSpanID makes the ID of a span with a parent.
func (i IDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	_, s := i.NewIDs(ctx)
	return s
}

func random[ID trace.TraceID | trace.SpanID]() (id ID) {
	for i := 0; i < len(id); i += 8 {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], rand.Uint64())
		for j := range b {
			id[i+j] = b[j]
		}
	}
	return id
}
