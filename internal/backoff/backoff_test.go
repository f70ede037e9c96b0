package backoff

import (
	"errors"
	"math"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/clock"
)

func at(t *testing.T, s string) clock.Nanos {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return clock.FromTime(v)
}

func TestNextCron(t *testing.T) {
	for _, c := range []struct {
		name, spec, from, now string
		want                  time.Duration
	}{
		{"next minute", "* * * * *", "2026-03-01T10:00:30Z", "2026-03-01T10:00:30Z", 30 * time.Second},
		{"a match now is not after now", "* * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", time.Minute},
		{"rounded up to whole seconds", "* * * * *", "2026-03-01T10:00:30Z", "2026-03-01T10:00:30.25Z", 30 * time.Second},
		{"missed slots are skipped", "*/10 * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:35:00Z", 5 * time.Minute},
		{"descriptor in UTC", "@daily", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", 14 * time.Hour},
		{"every counts from the last firing", "@every 10m", "2026-03-01T10:00:00Z", "2026-03-01T10:04:00Z", 6 * time.Minute},
		{"every skips missed slots", "@every 10m", "2026-03-01T10:00:00Z", "2026-03-01T10:34:00Z", 6 * time.Minute},
		{"every long after its last firing", "@every 1s", "1990-03-01T10:00:00Z", "2026-03-01T10:00:00Z", time.Second},
		{"every fires on whole seconds", "@every 10s", "2026-03-01T10:00:00.9Z", "2026-03-01T10:00:00.9Z", 10 * time.Second},
		{"from in the future", "@every 10s", "2027-03-01T10:00:00Z", "2026-03-01T10:00:00Z", 10 * time.Second},
		{"CRON_TZ", "CRON_TZ=America/New_York 0 12 * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 17 * time.Hour},
		{"TZ", "TZ=America/New_York 0 12 * * *", "2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z", 16 * time.Hour},
		{"an hour that the change to summer time skips", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-29T00:00:00Z", "2026-03-29T00:00:00Z", 24*time.Hour + 30*time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := NextCron(c.spec, at(t, c.from), at(t, c.now))
			if err != nil || got != c.want {
				t.Fatalf("NextCron = %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestBadCron(t *testing.T) {
	for _, spec := range []string{"", "nonsense", "* * * *", "* * * * * *", "60 * * * *", "*/0 * * * *", "@every", "@every 0s", "@every -5s", "@every x",
		"TZ=0", "TZ=", "CRON_TZ=Europe/Berlin", "CRON_TZ=No/Where * * * * *", "@fortnightly", "5-1 * * * *"} {
		if _, err := NextCron(spec, 0, 1); err == nil {
			t.Errorf("%q was accepted", spec)
		}
	}
	if _, err := NextCron("0 0 30 2 *", 0, at(t, "2026-01-01T00:00:00Z")); !errors.Is(err, ErrNeverFires) {
		t.Errorf("30 February: %v", err)
	}
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "@every 1h", "TZ=0", "CRON_TZ=UTC 1 1 1 1 1", "@yearly"} {
		f.Add(s, int64(1), int64(2))
	}
	f.Fuzz(func(t *testing.T, spec string, from, now int64) {
		from, now = from&(1<<61-1), now&(1<<61-1)
		if d, err := NextCron(spec, clock.Nanos(from), clock.Nanos(now)); err == nil && (d <= 0 || d%time.Second != 0) {
			t.Fatalf("NextCron(%q, %d, %d) = %v", spec, from, now, d)
		}
	})
}

func seconds(n float64) *durationpb.Duration {
	return durationpb.New(time.Duration(n * float64(time.Second)))
}

func TestInterval(t *testing.T) {
	for _, c := range []struct {
		name    string
		policy  *commonpb.RetryPolicy
		attempt int32
		want    time.Duration
	}{
		{"default first", &commonpb.RetryPolicy{}, 1, time.Second},
		{"default fourth", &commonpb.RetryPolicy{}, 4, 8 * time.Second},
		{"default is capped at 100 s", &commonpb.RetryPolicy{}, 30, 100 * time.Second},
		{"attempt zero counts as the first", &commonpb.RetryPolicy{}, 0, time.Second},
		{"own values", &commonpb.RetryPolicy{InitialInterval: seconds(2), BackoffCoefficient: 3, MaximumInterval: seconds(10)}, 2, 6 * time.Second},
		{"own cap", &commonpb.RetryPolicy{InitialInterval: seconds(2), BackoffCoefficient: 3, MaximumInterval: seconds(10)}, 3, 10 * time.Second},
		{"overflow is capped", &commonpb.RetryPolicy{InitialInterval: seconds(1), BackoffCoefficient: 1e9}, math.MaxInt32, 100 * time.Second},
		{"huge initial interval", &commonpb.RetryPolicy{InitialInterval: &durationpb.Duration{Seconds: 9e9}}, 5, math.MaxInt64},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Interval(c.policy, c.attempt); got != c.want {
				t.Fatalf("Interval = %v, want %v", got, c.want)
			}
		})
	}
}

func TestWithDefaults(t *testing.T) {
	given := &commonpb.RetryPolicy{InitialInterval: seconds(3), NonRetryableErrorTypes: []string{"X"}}
	before := proto.CloneOf(given)
	want := &commonpb.RetryPolicy{InitialInterval: seconds(3), BackoffCoefficient: 2, MaximumInterval: seconds(300), NonRetryableErrorTypes: []string{"X"}}
	got := WithDefaults(given)
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !proto.Equal(given, before) {
		t.Error("the argument was changed")
	}
	if WithDefaults(got) != got {
		t.Error("a complete policy was copied")
	}
	if WithDefaults(nil) != nil {
		t.Error("nil did not stay nil")
	}
	if got := Cap(&commonpb.RetryPolicy{}, time.Hour); got != 100*time.Second {
		t.Errorf("Cap = %v", got)
	}
}

func TestValidateRetryPolicy(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy *commonpb.RetryPolicy
		ok     bool
	}{
		{"nil", nil, true},
		{"empty", &commonpb.RetryPolicy{}, true},
		{"known timeout", &commonpb.RetryPolicy{NonRetryableErrorTypes: []string{"TemporalTimeout:Heartbeat", "TemporalTimeout:StartToClose"}}, true},
		{"coefficient below one", &commonpb.RetryPolicy{BackoffCoefficient: 0.5}, false},
		{"coefficient not a number", &commonpb.RetryPolicy{BackoffCoefficient: math.NaN()}, false},
		{"coefficient infinite", &commonpb.RetryPolicy{BackoffCoefficient: math.Inf(1)}, false},
		{"maximum below initial", &commonpb.RetryPolicy{InitialInterval: seconds(2), MaximumInterval: seconds(1)}, false},
		{"maximum below default initial", &commonpb.RetryPolicy{MaximumInterval: seconds(0.5)}, false},
		{"negative initial", &commonpb.RetryPolicy{InitialInterval: seconds(-1)}, false},
		{"negative maximum", &commonpb.RetryPolicy{MaximumInterval: seconds(-1)}, false},
		{"malformed duration", &commonpb.RetryPolicy{InitialInterval: &durationpb.Duration{Seconds: 1, Nanos: -1}}, false},
		{"negative attempts", &commonpb.RetryPolicy{MaximumAttempts: -1}, false},
		{"unknown timeout", &commonpb.RetryPolicy{NonRetryableErrorTypes: []string{"TemporalTimeout:Tea"}}, false},
		{"one attempt: nothing else matters", &commonpb.RetryPolicy{BackoffCoefficient: 0.5, MaximumAttempts: 1, NonRetryableErrorTypes: []string{"TemporalTimeout:Tea"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := ValidateRetryPolicy(c.policy); (err == nil) != c.ok {
				t.Fatalf("ValidateRetryPolicy = %v", err)
			}
		})
	}
}
