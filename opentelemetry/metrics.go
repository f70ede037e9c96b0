package opentelemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/perdure/perdure/metrics"
)

// Metrics shows what clients and workers count, as instruments of a meter. Names stay as they are in package metrics, timers are
// histograms of seconds; an exporter to Prometheus adds suffixes to them unless it is told not to.
func Metrics(m metric.Meter) metrics.Handler { return &meter{m: m} }

type meter struct {
	m    metric.Meter
	made sync.Map // instruments by kind and name
}

type instrument struct{ kind, name string }

// get makes an instrument once. One that cannot be made is reported, and counts nothing.
func get[I any](m *meter, kind, name string, make func() (I, error)) (I, bool) {
	if v, ok := m.made.Load(instrument{kind, name}); ok {
		i, ok := v.(I)
		return i, ok
	}
	i, err := make()
	if err != nil {
		otel.Handle(err)
		m.made.Store(instrument{kind, name}, nil)
		return i, false
	}
	m.made.Store(instrument{kind, name}, i)
	return i, true
}

func attributes(tags []metrics.Tag) metric.MeasurementOption {
	all := make([]attribute.KeyValue, len(tags))
	for i, t := range tags {
		all[i] = attribute.String(t.Key, t.Value)
	}
	return metric.WithAttributeSet(attribute.NewSet(all...))
}

func (m *meter) Counter(name string, tags ...metrics.Tag) metrics.Counter {
	i, ok := get(m, "counter", name, func() (metric.Int64Counter, error) { return m.m.Int64Counter(name) })
	if !ok {
		return metrics.None.Counter(name)
	}
	return counter{i, attributes(tags)}
}

func (m *meter) Gauge(name string, tags ...metrics.Tag) metrics.Gauge {
	i, ok := get(m, "gauge", name, func() (metric.Float64Gauge, error) { return m.m.Float64Gauge(name) })
	if !ok {
		return metrics.None.Gauge(name)
	}
	return gauge{i, attributes(tags)}
}

func (m *meter) Timer(name string, tags ...metrics.Tag) metrics.Timer {
	i, ok := get(m, "timer", name, func() (metric.Float64Histogram, error) {
		return m.m.Float64Histogram(name, metric.WithUnit("s"))
	})
	if !ok {
		return metrics.None.Timer(name)
	}
	return timer{i, attributes(tags)}
}

type (
	counter struct {
		i    metric.Int64Counter
		with metric.MeasurementOption
	}
	gauge struct {
		i    metric.Float64Gauge
		with metric.MeasurementOption
	}
	timer struct {
		i    metric.Float64Histogram
		with metric.MeasurementOption
	}
)

func (c counter) Add(n int64)          { c.i.Add(context.Background(), n, c.with) }
func (g gauge) Set(v float64)          { g.i.Record(context.Background(), v, g.with) }
func (t timer) Record(d time.Duration) { t.i.Record(context.Background(), d.Seconds(), t.with) }
