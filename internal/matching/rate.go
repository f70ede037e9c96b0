package matching

import (
	"math"
	"time"

	"github.com/perdure/perdure/internal/clock"
)

// bucket is a token bucket. The zero bucket lets everything pass.
type bucket struct {
	on     bool
	rate   float64 // tokens per second
	burst  float64
	tokens float64
	at     clock.Nanos
}

// nearly forgives the rounding of a token that has just become whole.
const nearly = 1 - 1e-6

// set changes the rate; a bucket switched on is full.
func (b *bucket) set(now clock.Nanos, rate, burst float64) {
	if b.on && b.rate == rate && b.burst == burst {
		return
	}
	if !b.on {
		b.tokens, b.at = burst, now
	}
	b.refill(now)
	b.on, b.rate, b.burst = true, rate, burst
	b.tokens = min(b.tokens, burst)
}

func (b *bucket) refill(now clock.Nanos) {
	if now <= b.at {
		return
	}
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
}

// ready tells whether take would succeed.
func (b *bucket) ready(now clock.Nanos) bool {
	if !b.on {
		return true
	}
	b.refill(now)
	return b.rate > 0 && b.tokens >= nearly
}

func (b *bucket) take(now clock.Nanos) bool {
	if !b.ready(now) {
		return false
	}
	if b.on {
		b.tokens = max(0, b.tokens-1)
	}
	return true
}

// next is when a token will be there, at the earliest one nanosecond from now; zero: never.
func (b *bucket) next(now clock.Nanos) clock.Nanos {
	if b.rate <= 0 {
		return 0
	}
	b.refill(now)
	wait := math.Ceil((1 - b.tokens) / b.rate * 1e9)
	if wait > float64(365*24*time.Hour) {
		return 0
	}
	return now + max(1, clock.Nanos(wait))
}

// window counts events over the last 30 seconds, in ten buckets.
type window struct {
	counts [windowBuckets]uint32
	last   int64 // number of the newest bucket
	first  clock.Nanos
}

const (
	windowBuckets = 10
	windowBucket  = 3 * time.Second
)

func (w *window) advance(now clock.Nanos) {
	n := int64(now) / int64(windowBucket)
	for range min(n-w.last, windowBuckets) {
		w.last++
		w.counts[w.last%windowBuckets] = 0
	}
	w.last = max(w.last, n)
}

func (w *window) add(now clock.Nanos) {
	if w.first == 0 {
		w.first, w.last = now, int64(now)/int64(windowBucket)
	}
	w.advance(now)
	w.counts[w.last%windowBuckets]++
}

// rate is events per second; times shorter than a second count as one.
func (w *window) rate(now clock.Nanos) float64 {
	if w.first == 0 {
		return 0
	}
	w.advance(now)
	var sum uint64
	for _, c := range w.counts {
		sum += uint64(c)
	}
	span := (windowBuckets-1)*windowBucket + time.Duration(int64(now)%int64(windowBucket))
	span = max(time.Second, min(span, now.Sub(w.first)))
	return float64(sum) / span.Seconds()
}
