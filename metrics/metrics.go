// Package metrics is how clients, workers, workflows and activities tell what they do. Names and tags are those that the field's
// dashboards know; see Names. Adapters: metrics/prom for Prometheus, opentelemetry for OpenTelemetry.
package metrics

import "time"

// Tag is a label with its value.
type Tag struct{ Key, Value string }

// Handler makes instruments. It is safe for concurrent use, and may be asked for the same instrument again and again.
type Handler interface {
	Counter(name string, tags ...Tag) Counter
	Gauge(name string, tags ...Tag) Gauge
	// Timer is exported in seconds.
	Timer(name string, tags ...Tag) Timer
}

// Counter goes up.
type Counter interface{ Add(n int64) }

// Gauge has a value.
type Gauge interface{ Set(v float64) }

// Timer collects durations.
type Timer interface{ Record(d time.Duration) }

// None counts nothing.
var None Handler = none{}

type none struct{}

func (none) Counter(string, ...Tag) Counter { return none{} }
func (none) Gauge(string, ...Tag) Gauge     { return none{} }
func (none) Timer(string, ...Tag) Timer     { return none{} }
func (none) Add(int64)                      {}
func (none) Set(float64)                    {}
func (none) Record(time.Duration)           {}

// With is h with tags on everything. None stays None.
func With(h Handler, tags ...Tag) Handler {
	switch t := h.(type) {
	case nil:
		return None
	case none:
		return None
	case tagged:
		return tagged{t.Handler, append(t.tags[:len(t.tags):len(t.tags)], tags...)}
	}
	return tagged{h, tags}
}

type tagged struct {
	Handler
	tags []Tag
}

func (t tagged) all(more []Tag) []Tag { return append(t.tags[:len(t.tags):len(t.tags)], more...) }

func (t tagged) Counter(name string, tags ...Tag) Counter {
	return t.Handler.Counter(name, t.all(tags)...)
}
func (t tagged) Gauge(name string, tags ...Tag) Gauge { return t.Handler.Gauge(name, t.all(tags)...) }
func (t tagged) Timer(name string, tags ...Tag) Timer { return t.Handler.Timer(name, t.all(tags)...) }
