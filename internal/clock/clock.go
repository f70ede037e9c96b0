// Package clock is the seam for time: production reads the machine's clock, tests and the simulator drive their own.
package clock

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Nanos is a moment: nanoseconds since the Unix epoch, UTC. Zero means "never" or "not set". It is what cores compute
// with and what records store, so that equal states encode to equal bytes.
type Nanos int64

// FromTime converts t. The zero time becomes zero.
func FromTime(t time.Time) Nanos {
	if t.IsZero() {
		return 0
	}
	return Nanos(t.UnixNano())
}

// Time is n in UTC; zero becomes the zero time.
func (n Nanos) Time() time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}

// Add is the moment d after n.
func (n Nanos) Add(d time.Duration) Nanos { return n + Nanos(d) }

// Sub is the time from m to n.
func (n Nanos) Sub(m Nanos) time.Duration { return time.Duration(n - m) }

// Proto is n as a timestamp; nil when n is zero.
func (n Nanos) Proto() *timestamppb.Timestamp {
	if n == 0 {
		return nil
	}
	s, ns := int64(n)/1e9, int64(n)%1e9
	return &timestamppb.Timestamp{Seconds: s, Nanos: int32(ns)}
}

// FromProto converts a timestamp; nil becomes zero.
func FromProto(t *timestamppb.Timestamp) Nanos {
	if t == nil {
		return 0
	}
	return Nanos(t.Seconds*1e9 + int64(t.Nanos))
}

// Duration converts a proto duration; nil becomes zero.
func Duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}

// Clock tells the time and rings once at a chosen moment. Implementations are safe for concurrent use.
type Clock interface {
	Now() Nanos
	// At returns a channel that receives once when the clock reaches n, and a stop function that releases the timer.
	At(n Nanos) (<-chan struct{}, func())
}

// System is the machine's clock.
type System struct{}

// Now reads the machine's clock.
func (System) Now() Nanos { return Nanos(time.Now().UnixNano()) }

// At rings when the machine's clock passes n; at once if it has.
func (System) At(n Nanos) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	t := time.AfterFunc(n.Sub(System{}.Now()), func() { c <- struct{}{} })
	return c, func() { t.Stop() }
}
