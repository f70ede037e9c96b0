// Package metrics turns what happens on one node into Prometheus series, under the names that dashboards for Temporal
// already use where such a name exists, and under perdure_ otherwise.
//
// Invariant: what a client sends cannot make series without bound. Labels are RPC methods, kinds of input and namespaces
// that exist; task queues are shown only while they have a backlog, and a bounded number of them.
package metrics

import (
	"context"
	"net/http"
	"path"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// unknown stands for the namespace of a request that names none, or one that does not exist.
const unknown = "_unknown_"

// Metrics holds the series of one node. Safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	rpcs     rpcMetrics
}

// New makes the series. known tells whether a namespace's name exists; others share one label value. It must not block.
// version is this program's.
func New(version string, known func(namespace string) bool) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "build_information", Help: "Always 1; the labels tell which build this is.",
	}, []string{"version", "go_version", "goarch"})
	build.WithLabelValues(version, runtime.Version(), runtime.GOARCH).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.rpcs.init(m.registry, known)
	return m
}

// Register adds series of other parts. It panics if a name is taken: that is a bug.
func (m *Metrics) Register(c prometheus.Collector) { m.registry.MustRegister(c) }

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// latencyBuckets are seconds: from an answer out of memory, over a sync of a disk, to a long poll.
var latencyBuckets = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60, 120}

// rpcMetrics counts calls by method and namespace.
type rpcMetrics struct {
	known    func(string) bool
	requests *prometheus.CounterVec
	errors   *prometheus.CounterVec
	kinds    *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	pending  *prometheus.GaugeVec

	series sync.Map // rpcKey to *rpcSeries: looking labels up by hashing strings is what costs most in a counter
}

type rpcKey struct{ method, namespace string }

type rpcSeries struct {
	requests, errors prometheus.Counter
	latency          prometheus.Observer
	pending          prometheus.Gauge
}

func (r *rpcMetrics) init(registry *prometheus.Registry, known func(string) bool) {
	labels := []string{"operation", "namespace"}
	frontend := prometheus.Labels{"service_name": "frontend"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: frontend}, labels)
	}
	r.known = known
	r.requests = counter("service_requests", "RPCs begun, over gRPC or HTTP.", labels...)
	r.errors = counter("service_errors", "RPCs that ended with an error.", labels...)
	r.kinds = counter("service_error_with_type", "RPCs that ended with an error, by gRPC code.",
		"operation", "namespace", "error_type")
	r.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "service_latency", Help: "Seconds from request to response, the waiting of long polls included.",
		ConstLabels: frontend, Buckets: latencyBuckets,
	}, labels)
	r.pending = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "service_pending_requests", Help: "RPCs under way.", ConstLabels: frontend,
	}, labels)
	registry.MustRegister(r.requests, r.errors, r.kinds, r.latency, r.pending)
}

func (r *rpcMetrics) find(key rpcKey) *rpcSeries {
	if s, ok := r.series.Load(key); ok {
		return s.(*rpcSeries)
	}
	operation := path.Base(key.method)
	s, _ := r.series.LoadOrStore(key, &rpcSeries{
		requests: r.requests.WithLabelValues(operation, key.namespace),
		errors:   r.errors.WithLabelValues(operation, key.namespace),
		latency:  r.latency.WithLabelValues(operation, key.namespace),
		pending:  r.pending.WithLabelValues(operation, key.namespace),
	})
	return s.(*rpcSeries)
}

// Unary is a grpc.UnaryServerInterceptor around next that counts and times the calls which pass through it.
func (m *Metrics) Unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	r := &m.rpcs
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		key := rpcKey{info.FullMethod, r.namespaceOf(req)}
		s := r.find(key)
		s.requests.Inc()
		s.pending.Inc()
		begin := time.Now()
		resp, err := next(ctx, req, info, handler)
		s.latency.Observe(time.Since(begin).Seconds())
		s.pending.Dec()
		if err != nil {
			s.errors.Inc()
			r.kinds.WithLabelValues(path.Base(key.method), key.namespace, status.Code(err).String()).Inc()
		}
		return resp, err
	}
}

func (r *rpcMetrics) namespaceOf(req any) string {
	n, ok := req.(interface{ GetNamespace() string })
	if !ok || !r.known(n.GetNamespace()) {
		return unknown
	}
	return n.GetNamespace()
}
