package execution

import (
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// stepTimerDue does everything that has fallen due by env.Now.
func stepTimerDue(st *State, env *Env) *Transition {
	if !st.Open() {
		return stepClosedDue(st, env)
	}
	d := newDraft(st, env)
	d.fireDue()
	if !d.tr.Durable && st.Info.TimerRow != 0 && st.Info.TimerRow <= env.Now {
		d.durable() // nothing was due: only the row has to move
	}
	if !d.tr.Durable {
		return answer(st, &EmptyAnswer{})
	}
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// stepClosedDue removes a closed run whose retention is over.
func stepClosedDue(st *State, env *Env) *Transition {
	if st.Info.RetentionUntil != 0 && st.Info.RetentionUntil <= env.Now {
		return &Transition{Next: st, Remove: true, Answer: &EmptyAnswer{}}
	}
	if st.Info.TimerRow == 0 || st.Info.TimerRow > env.Now {
		return answer(st, &EmptyAnswer{})
	}
	d := newDraft(st, env)
	d.durable()
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

func (d *draft) fireDue() {
	now := d.env.Now
	if at := d.Start.ExpirationTime; at != 0 && at <= now {
		d.timeOutRun(true)
		return
	}
	if at := d.Info.RunDeadline; at != 0 && at <= now {
		d.timeOutRun(false)
		return
	}
	if at := d.Info.FirstBackoffEnd; at != 0 && at <= now && !d.Info.AwaitingParent {
		d.Info.FirstBackoffEnd = 0
		d.durable()
		d.needTask = true
	}
	if at := d.taskDeadline(); at != 0 && at <= now {
		d.taskTimedOut()
	}
	// Timers first: one step's news is in the order of a flush, where ends of activities come last.
	for _, id := range d.deadlines.timers(now) {
		d.fireTimer(id)
	}
	for {
		due, ok := d.deadlines.min()
		if !ok || due.at > now {
			return
		}
		if a, ok := d.Activities.Get(due.activity); ok {
			d.activityDue(a)
		}
	}
}

func (d *draft) fireTimer(id string) {
	t, _ := d.Timers.Get(id)
	ev := d.newEvent(enumspb.EVENT_TYPE_TIMER_FIRED)
	ev.Attributes = &historypb.HistoryEvent_TimerFiredEventAttributes{
		TimerFiredEventAttributes: &historypb.TimerFiredEventAttributes{TimerId: id, StartedEventId: t.StartedID}}
	d.arrive(ev, nil)
}
