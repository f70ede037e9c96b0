package flow

import (
	"time"

	"github.com/perdure/perdure/metrics"
)

// Metrics counts with the tags of the run's type, and nothing on replay.
func (r *Run) Metrics() metrics.Handler {
	if r.Env.Metrics == nil || r.Env.Metrics == metrics.None {
		return metrics.None
	}
	return &onceMetrics{r, metrics.With(r.Env.Metrics, metrics.Tag{Key: metrics.WorkflowType, Value: r.Info.Type})}
}

// onceMetrics drops what was counted before.
type onceMetrics struct {
	r *Run
	h metrics.Handler
}

type (
	onceCounter struct {
		r *Run
		metrics.Counter
	}
	onceGauge struct {
		r *Run
		metrics.Gauge
	}
	onceTimer struct {
		r *Run
		metrics.Timer
	}
)

func (o *onceMetrics) Counter(name string, tags ...metrics.Tag) metrics.Counter {
	return onceCounter{o.r, o.h.Counter(name, tags...)}
}

func (o *onceMetrics) Gauge(name string, tags ...metrics.Tag) metrics.Gauge {
	return onceGauge{o.r, o.h.Gauge(name, tags...)}
}

func (o *onceMetrics) Timer(name string, tags ...metrics.Tag) metrics.Timer {
	return onceTimer{o.r, o.h.Timer(name, tags...)}
}

func (c onceCounter) Add(n int64) {
	if !c.r.replaying {
		c.Counter.Add(n)
	}
}

func (g onceGauge) Set(v float64) {
	if !g.r.replaying {
		g.Gauge.Set(v)
	}
}

func (t onceTimer) Record(d time.Duration) {
	if !t.r.replaying {
		t.Timer.Record(d)
	}
}
