package backoff

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/clock"
)

// What an unset field of a retry policy stands for. MaximumAttempts unset: no bound.
const (
	DefaultInitialInterval  = time.Second
	DefaultCoefficient      = 2.0
	DefaultMaximumIntervals = 100 // maximum interval, in initial intervals
)

// TimeoutPrefix starts an entry of RetryPolicy.NonRetryableErrorTypes that stands for a timeout, e.g.
// "TemporalTimeout:Heartbeat".
const TimeoutPrefix = "TemporalTimeout:"

// WithDefaults is p with every unset field filled in: p itself when nothing is missing, else a copy. nil stays nil.
func WithDefaults(p *commonpb.RetryPolicy) *commonpb.RetryPolicy {
	if p == nil {
		return nil
	}
	initial, coefficient, maximum := clock.Duration(p.InitialInterval), p.BackoffCoefficient, clock.Duration(p.MaximumInterval)
	if p.InitialInterval != nil && initial != 0 && p.MaximumInterval != nil && maximum != 0 && coefficient != 0 {
		return p
	}
	q := proto.CloneOf(p)
	if initial == 0 {
		initial = DefaultInitialInterval
		q.InitialInterval = durationpb.New(initial)
	}
	if coefficient == 0 {
		q.BackoffCoefficient = DefaultCoefficient
	}
	if maximum == 0 {
		q.MaximumInterval = durationpb.New(times(initial, DefaultMaximumIntervals))
	}
	return q
}

// DefaultRetryPolicy is what an activity without a policy gets: retries for ever.
func DefaultRetryPolicy() *commonpb.RetryPolicy { return WithDefaults(&commonpb.RetryPolicy{}) }

// Interval is the pause after the given attempt (1 is the first) before the next, by a policy whose unset fields stand
// for their defaults. It never exceeds the maximum interval.
func Interval(p *commonpb.RetryPolicy, attempt int32) time.Duration {
	initial, coefficient, maximum := clock.Duration(p.GetInitialInterval()), p.GetBackoffCoefficient(), clock.Duration(p.GetMaximumInterval())
	if initial <= 0 {
		initial = DefaultInitialInterval
	}
	if coefficient == 0 {
		coefficient = DefaultCoefficient
	}
	if maximum <= 0 {
		maximum = times(initial, DefaultMaximumIntervals)
	}
	wait := times(initial, math.Pow(coefficient, float64(max(attempt, 1)-1)))
	return max(min(wait, maximum), 0)
}

// Cap bounds a delay that a failure asked for by the policy's maximum interval, as workflow retries do.
func Cap(p *commonpb.RetryPolicy, delay time.Duration) time.Duration {
	return min(delay, clock.Duration(WithDefaults(p).GetMaximumInterval()))
}

// times multiplies, staying within what a time.Duration can hold.
func times(d time.Duration, factor float64) time.Duration {
	if f := float64(d) * factor; f < math.MaxInt64 {
		return time.Duration(f)
	}
	return math.MaxInt64
}

// ValidateRetryPolicy tells what is wrong with a policy given by a user; unset fields are fine, nil is too. A policy
// of one attempt is never looked at further: its other fields mean nothing.
func ValidateRetryPolicy(p *commonpb.RetryPolicy) error {
	if p == nil || p.MaximumAttempts == 1 {
		return nil
	}
	for _, d := range []struct {
		name  string
		value *durationpb.Duration
	}{{"InitialInterval", p.InitialInterval}, {"MaximumInterval", p.MaximumInterval}} {
		if d.value == nil {
			continue
		}
		if err := CheckDuration(d.value); err != nil {
			return fmt.Errorf("%s on retry policy: %w", d.name, err)
		}
	}
	q := WithDefaults(p)
	switch {
	case !(q.BackoffCoefficient >= 1) || math.IsInf(q.BackoffCoefficient, 0): // also refuses NaN
		return errors.New("BackoffCoefficient cannot be less than 1 on retry policy.")
	case q.MaximumInterval.AsDuration() < q.InitialInterval.AsDuration():
		return errors.New("MaximumInterval cannot be less than InitialInterval on retry policy.")
	case q.MaximumAttempts < 0:
		return errors.New("MaximumAttempts cannot be negative on retry policy.")
	}
	for _, t := range q.NonRetryableErrorTypes {
		if name, ok := strings.CutPrefix(t, TimeoutPrefix); ok && !knownTimeout(name) {
			return fmt.Errorf("invalid timeout type %q in the non-retryable error types of the retry policy", name)
		}
	}
	return nil
}

// CheckDuration tells whether a duration is well formed and not negative. nil is fine.
func CheckDuration(d *durationpb.Duration) error {
	if d == nil {
		return nil
	}
	if err := d.CheckValid(); err != nil {
		return errors.New("not a valid duration")
	}
	if d.AsDuration() < 0 {
		return errors.New("cannot be negative")
	}
	return nil
}

func knownTimeout(name string) bool {
	switch name {
	case enumspb.TIMEOUT_TYPE_START_TO_CLOSE.String(), enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START.String(),
		enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE.String(), enumspb.TIMEOUT_TYPE_HEARTBEAT.String():
		return true
	}
	return false
}
