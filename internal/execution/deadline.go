package execution

import (
	"github.com/tidwall/btree"

	"github.com/perdure/perdure/internal/clock"
)

// deadline is a moment at which an activity or a user timer of the run falls due. timer is empty for an activity.
type deadline struct {
	at       clock.Nanos
	activity int64 // scheduled event ID
	timer    string
}

func (d deadline) less(o deadline) bool {
	switch {
	case d.at != o.at:
		return d.at < o.at
	case d.activity != o.activity:
		return d.activity < o.activity
	}
	return d.timer < o.timer
}

// deadlineSet orders the deadlines of activities and timers by time. Copies share structure.
type deadlineSet struct{ t *btree.BTreeG[deadline] }

func newDeadlineSet() deadlineSet {
	return deadlineSet{btree.NewBTreeGOptions(deadline.less, btree.Options{NoLocks: true, Degree: 16})}
}

func (s deadlineSet) min() (deadline, bool) {
	if s.t == nil {
		return deadline{}, false
	}
	return s.t.Min()
}

// timers are the user timers that are due, in the order of their deadlines.
func (s deadlineSet) timers(now clock.Nanos) (due []string) {
	if s.t == nil {
		return nil
	}
	s.t.Scan(func(d deadline) bool {
		if d.at <= now && d.timer != "" {
			due = append(due, d.timer)
		}
		return d.at <= now
	})
	return due
}

// NextDeadline is the earliest moment at which the run wants a TimerDue input; zero: never. It counts what only memory
// knows, too.
func (s *State) NextDeadline() clock.Nanos {
	var next clock.Nanos
	consider := func(at clock.Nanos) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if !s.Open() {
		consider(s.Info.RetentionUntil)
		return next
	}
	consider(s.Info.RunDeadline)
	consider(s.Start.ExpirationTime)
	if !s.Info.AwaitingParent {
		consider(s.Info.FirstBackoffEnd)
	}
	consider(s.taskDeadline())
	if d, ok := s.deadlines.min(); ok {
		consider(d.at)
	}
	return next
}

// taskDeadline is when the pending workflow task times out; zero: never.
func (s *State) taskDeadline() clock.Nanos {
	t := &s.Info.WFT
	switch {
	case !t.Pending():
		return 0
	case t.Started():
		return t.StartedAt.Add(t.Timeout)
	case t.Sticky:
		return t.ScheduledAt.Add(s.Info.StickyTimeout)
	case t.Kind == TaskSpeculative:
		return s.Volatile.SpecTimeoutAt
	}
	return 0
}

// deadline is the earliest of the activity's timeouts, or the moment its next attempt may be dispatched; zero: none.
func (a *Activity) deadline() clock.Nanos {
	at, _ := a.timeout()
	if !a.Dispatched && a.StartedAt == 0 && (at == 0 || a.ScheduledAt < at) {
		return a.ScheduledAt // waits for its retry
	}
	return at
}

// derive rebuilds what is not stored.
func (s *State) derive() {
	for _, a := range s.Activities.All {
		if s.activityID.m == nil {
			s.activityID.own()
		}
		s.activityID.m.Set(a.ActivityID, a.ScheduledID)
		if at := a.deadline(); at != 0 {
			if s.deadlines.t == nil {
				s.deadlines = newDeadlineSet()
			}
			s.deadlines.t.Set(deadline{at: at, activity: a.ScheduledID})
		}
	}
	for _, t := range s.Timers.All {
		if s.deadlines.t == nil {
			s.deadlines = newDeadlineSet()
		}
		s.deadlines.t.Set(deadline{at: t.FireAt, timer: t.ID})
	}
}
