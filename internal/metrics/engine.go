package metrics

import (
	"reflect"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Engine counts what an engine's shards decide and write. It implements engine.Observer.
type Engine struct {
	nameOf func(ids.NamespaceID) string

	steps   *prometheus.CounterVec
	events  prometheus.Counter
	refused *prometheus.CounterVec
	endings map[enumspb.EventType]*prometheus.CounterVec

	requests, errors prometheus.Counter
	latency, runs    prometheus.Observer
	bytes, ops       prometheus.Counter

	byInput sync.Map // reflect.Type of an input to prometheus.Counter
}

var _ engine.Observer = (*Engine)(nil)

// endings names the counters of events that end a run.
var endings = map[enumspb.EventType]string{
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:        "workflow_success",
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:           "workflow_failed",
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:        "workflow_timeout",
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:         "workflow_cancel",
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:       "workflow_terminate",
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "workflow_continued_as_new",
}

// Engine makes the series of the engine. nameOf finds a namespace's name, and is empty if there is none; it must not
// block. Call it once.
func (m *Metrics) Engine(nameOf func(ids.NamespaceID) string) *Engine {
	persistence := prometheus.Labels{"service_name": "history", "operation": "Apply"}
	counter := func(name, help string, labels prometheus.Labels) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels prometheus.Labels, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: labels, Buckets: buckets})
		m.registry.MustRegister(h)
		return h
	}
	e := &Engine{
		nameOf: nameOf,
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perdure_steps", Help: "Inputs decided, by kind.",
		}, []string{"input"}),
		events:   counter("perdure_history_events", "History events decided.", nil),
		endings:  make(map[enumspb.EventType]*prometheus.CounterVec),
		requests: counter("persistence_requests", "Batches given to the store.", persistence),
		errors:   counter("persistence_errors", "Batches that failed, or whose outcome is unknown.", persistence),
		latency: histogram("persistence_latency", "Seconds until a batch is durable.", persistence,
			latencyBuckets),
		runs: histogram("perdure_batch_runs", "Runs that share a batch.", nil,
			prometheus.ExponentialBuckets(1, 2, 12)),
		bytes: counter("perdure_batch_bytes", "Bytes of keys and values given to the store.", nil),
		ops:   counter("perdure_batch_ops", "Keys written or deleted.", nil),
	}
	e.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "perdure_messages_refused", Help: "Messages to workflows that their senders have to send again later, by what is full.",
	}, []string{"namespace", "reason"})
	m.registry.MustRegister(e.steps, e.refused)
	for event, name := range endings {
		e.endings[event] = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name, Help: "Runs that ended so.", ConstLabels: prometheus.Labels{"service_name": "history"},
		}, []string{"namespace"})
		m.registry.MustRegister(e.endings[event])
	}
	return e
}

// Stepped implements engine.Observer. What a step decides counts at once, though a crash may still undo it.
func (e *Engine) Stepped(_ ids.ShardID, in execution.Input, t *execution.Transition) {
	e.ofInput(in).Inc()
	if refused := t.Refused(); refused != nil {
		e.refused.WithLabelValues(e.namespace(t), refused.Refusal).Inc()
	}
	for ; t != nil; t = t.Successor {
		e.events.Add(float64(len(t.Events)))
		for _, event := range t.Events {
			if ending, ok := e.endings[event.GetEventType()]; ok {
				ending.WithLabelValues(e.namespace(t)).Inc()
			}
		}
	}
}

func (e *Engine) ofInput(in execution.Input) prometheus.Counter {
	typ := reflect.TypeOf(in)
	if c, ok := e.byInput.Load(typ); ok {
		return c.(prometheus.Counter)
	}
	name := typ.Name()
	if typ.Kind() == reflect.Pointer {
		name = typ.Elem().Name()
	}
	c, _ := e.byInput.LoadOrStore(typ, e.steps.WithLabelValues(name))
	return c.(prometheus.Counter)
}

func (e *Engine) namespace(t *execution.Transition) string {
	if t.Next != nil {
		if name := e.nameOf(t.Next.Key.Namespace); name != "" {
			return name
		}
	}
	return unknown
}

// Committed implements engine.Observer.
func (e *Engine) Committed(_ ids.ShardID, c engine.Commit) {
	e.requests.Inc()
	e.latency.Observe(c.Took.Seconds())
	if c.Err != nil {
		e.errors.Inc()
		return
	}
	e.runs.Observe(float64(c.Runs))
	e.bytes.Add(float64(c.Bytes))
	e.ops.Add(float64(c.Ops))
}
