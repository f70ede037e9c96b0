// Package prom shows the metrics of clients and workers to Prometheus.
package prom

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perdure/perdure/metrics"
)

// Buckets of the timers, in seconds.
var Buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600}

// Handler registers what is measured with r when it is first measured. Prometheus wants one set of labels for a name: what
// comes with another set is dropped, and logged the first time.
func Handler(r prometheus.Registerer) metrics.Handler {
	return &handler{r: r, made: map[string]*vector{}}
}

type handler struct {
	r    prometheus.Registerer
	mu   sync.RWMutex // guards made
	made map[string]*vector
}

// vector is a metric with its labels; of the three, the one that is not nil counts.
type vector struct {
	labels    []string
	counter   *prometheus.CounterVec
	gauge     *prometheus.GaugeVec
	histogram *prometheus.HistogramVec
	warned    sync.Once
}

func (h *handler) vector(kind, name string, tags []metrics.Tag) (*vector, []string) {
	slices.SortStableFunc(tags, func(a, b metrics.Tag) int {
		if a.Key < b.Key {
			return -1
		} else if a.Key > b.Key {
			return 1
		}
		return 0
	})
	labels, values := make([]string, len(tags)), make([]string, len(tags))
	for i, t := range tags {
		labels[i], values[i] = t.Key, t.Value
	}
	h.mu.RLock()
	v := h.made[name]
	h.mu.RUnlock()
	if v == nil {
		v = h.make(kind, name, labels)
	}
	if !slices.Equal(v.labels, labels) {
		v.warned.Do(func() {
			slog.Warn("metric dropped: Prometheus knows its name with other labels", "metric", name, "labels", labels, "known", v.labels)
		})
		return nil, nil
	}
	return v, values
}

func (h *handler) make(kind, name string, labels []string) *vector {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v := h.made[name]; v != nil {
		return v
	}
	v := &vector{labels: labels}
	help := "See github.com/perdure/perdure/metrics."
	var c prometheus.Collector
	switch kind {
	case "counter":
		v.counter = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		c = v.counter
	case "gauge":
		v.gauge = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		c = v.gauge
	default:
		v.histogram = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: Buckets}, labels)
		c = v.histogram
	}
	if err := h.r.Register(c); err != nil {
		slog.Warn("metric is not shown", "metric", name, "error", fmt.Sprint(err))
	}
	h.made[name] = v
	return v
}

func (h *handler) Counter(name string, tags ...metrics.Tag) metrics.Counter {
	if v, values := h.vector("counter", name, slices.Clone(tags)); v != nil && v.counter != nil {
		return counter{v.counter.WithLabelValues(values...)}
	}
	return metrics.None.Counter(name)
}

func (h *handler) Gauge(name string, tags ...metrics.Tag) metrics.Gauge {
	if v, values := h.vector("gauge", name, slices.Clone(tags)); v != nil && v.gauge != nil {
		return v.gauge.WithLabelValues(values...)
	}
	return metrics.None.Gauge(name)
}

func (h *handler) Timer(name string, tags ...metrics.Tag) metrics.Timer {
	if v, values := h.vector("timer", name, slices.Clone(tags)); v != nil && v.histogram != nil {
		return timer{v.histogram.WithLabelValues(values...)}
	}
	return metrics.None.Timer(name)
}

type counter struct{ c prometheus.Counter }

func (c counter) Add(n int64) { c.c.Add(float64(n)) }

type timer struct{ o prometheus.Observer }

func (t timer) Record(d time.Duration) { t.o.Observe(d.Seconds()) }
