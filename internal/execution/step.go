package execution

import (
	"fmt"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Needs names the stored events that Step wants for in, so that the driver can put them into Env.Stored first. Most
// inputs need none.
func Needs(st *State, in Input) []ids.EventID {
	if st == nil {
		return nil
	}
	switch in := in.(type) {
	case StartActivity:
		if a, ok := st.Activities.Get(in.Ref.ScheduledID); ok && a.scheduled == nil {
			return []ids.EventID{a.ScheduledID}
		}
	case CompleteWorkflowTask:
		if st.Start.CronSchedule != "" || len(st.Start.RetryPolicy) > 0 {
			return []ids.EventID{1}
		}
	case TimerDue:
		if st.Info.RunDeadline != 0 && (st.Start.CronSchedule != "" || len(st.Start.RetryPolicy) > 0) {
			return []ids.EventID{1}
		}
	}
	return nil
}

// Step decides what in means for st, the run it addresses; st is nil when there is none. st is never changed. The
// transition's Err carries a refusal. A panic means a broken invariant; st is then still good.
func Step(st *State, in Input, env *Env) *Transition {
	panic(fmt.Sprintf("execution: no step for %T", in))
}

// NextDeadline is the earliest moment at which the run wants a TimerDue input; zero: never. It counts what only memory
// knows, too.
func (s *State) NextDeadline() clock.Nanos { return 0 }

// Open tells whether the run has not closed.
func (s *State) Open() bool { return s.Info.CloseEventID == 0 }
