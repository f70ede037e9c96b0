package prom_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/perdure/perdure/metrics"
	"github.com/perdure/perdure/metrics/prom"
)

func TestPrometheusSeesWhatIsMeasured(t *testing.T) {
	r := prometheus.NewRegistry()
	h := metrics.With(prom.Handler(r), metrics.Tag{Key: "namespace", Value: "n"})
	for range 2 {
		h.Counter("c", metrics.Tag{Key: "a", Value: "x"}).Add(2)
		h.Gauge("g").Set(3)
	}
	h.Counter("c", metrics.Tag{Key: "a", Value: "y"}).Add(1)
	h.Counter("c", metrics.Tag{Key: "other", Value: "y"}).Add(1) // dropped: other labels
	h.Gauge("c", metrics.Tag{Key: "a", Value: "x"}).Set(9)       // dropped: another kind
	metrics.With(h, metrics.Tag{Key: "b", Value: "z"}).Timer("t").Record(1500 * time.Millisecond)
	want := `
# HELP c See github.com/perdure/perdure/metrics.
# TYPE c counter
c{a="x",namespace="n"} 4
c{a="y",namespace="n"} 1
# HELP g See github.com/perdure/perdure/metrics.
# TYPE g gauge
g{namespace="n"} 3
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "c", "g"); err != nil {
		t.Error(err)
	}
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "t" && f.Metric[0].Histogram.GetSampleSum() != 1.5 {
			t.Errorf("the timer has %v", f)
		}
	}
	if metrics.With(nil, metrics.Tag{}) != metrics.None || metrics.With(metrics.None) != metrics.None {
		t.Error("none is something")
	}
}
