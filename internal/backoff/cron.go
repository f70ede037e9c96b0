package backoff

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // CRON_TZ must mean the same on a machine without a zone database

	"github.com/robfig/cron/v3"

	"github.com/perdure/perdure/internal/clock"
)

// ErrNeverFires: the schedule is well formed but matches no moment in the years to come, such as 30 February.
var ErrNeverFires = errors.New("backoff: cron schedule never fires")

// ParseCron checks a cron schedule: five fields, a descriptor such as @daily, or @every with a positive duration, in
// UTC unless it starts with CRON_TZ= or TZ=. The empty string is an error.
func ParseCron(spec string) (Cron, error) {
	if zone := strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ="); zone && !strings.Contains(spec, " ") {
		return Cron{}, fmt.Errorf("backoff: cron schedule %q has a time zone only", spec) // the parser would panic
	}
	s, err := cron.ParseStandard(spec)
	if err != nil {
		return Cron{}, fmt.Errorf("backoff: cron schedule %q: %w", spec, err)
	}
	c := Cron{calendar: s}
	switch s := s.(type) {
	case cron.ConstantDelaySchedule:
		// The library rounds what is below a second up, negative values too.
		if d, err := time.ParseDuration(strings.TrimSpace(spec[strings.LastIndex(spec, "@every")+len("@every"):])); err != nil || d <= 0 {
			return Cron{}, fmt.Errorf("backoff: cron schedule %q: the interval has to be positive", spec)
		}
		c.every = s.Delay
	case *cron.SpecSchedule:
		if s.Location == time.Local {
			s.Location = time.UTC
		}
	}
	return c, nil
}

// Cron is a parsed schedule. The zero value is not usable. Safe for concurrent use.
type Cron struct {
	calendar cron.Schedule
	every    time.Duration // of an @every schedule; else zero
}

// Next is the first match after now of a schedule that last fired (or was set up) at from; the zero time if there is
// none. from only matters to @every, which counts from it; slots missed between from and now are skipped.
func (c Cron) Next(from, now clock.Nanos) clock.Nanos {
	if c.every == 0 {
		return clock.FromTime(c.calendar.Next(time.Unix(0, int64(now)).UTC()))
	}
	if from == 0 || from > now {
		from = now
	}
	from -= from % clock.Nanos(time.Second) // fires on whole seconds
	return from.Add((now.Sub(from)/c.every + 1) * c.every)
}

// NextCron is how long after now the schedule fires next, rounded up to whole seconds. See Cron.Next for from.
func NextCron(spec string, from, now clock.Nanos) (time.Duration, error) {
	c, err := ParseCron(spec)
	if err != nil {
		return 0, err
	}
	next := c.Next(from, now)
	if next == 0 {
		return 0, fmt.Errorf("%w: %q", ErrNeverFires, spec)
	}
	wait := next.Sub(now)
	if part := wait % time.Second; part != 0 {
		wait += time.Second - part
	}
	return wait, nil
}
