package main

import (
	"testing"
	"time"
)

func TestPercentileIsNearestRank(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, c := range []struct {
		of      []time.Duration
		percent float64
		want    time.Duration
	}{
		{hundred, 0, 1}, {hundred, 50, 50}, {hundred, 50.5, 51}, {hundred, 99, 99}, {hundred, 100, 100},
		{hundred[:1], 50, 1}, {hundred[:2], 50, 1}, {hundred[:3], 50, 2}, {nil, 50, 0},
	} {
		if got := percentile(c.of, c.percent); got != c.want {
			t.Errorf("percentile %v of %d: %d, want %d", c.percent, len(c.of), got, c.want)
		}
	}
}

func TestSpreadDoesNotNeedOrder(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want spread
	}{
		{nil, spread{}}, {[]float64{3}, spread{3, 3, 3}}, {[]float64{9, 1}, spread{5, 1, 9}}, {[]float64{5, 9, 1}, spread{5, 1, 9}},
	} {
		if got := spreadOf(c.of); got != c.want {
			t.Errorf("%v: %v, want %v", c.of, got, c.want)
		}
	}
}
