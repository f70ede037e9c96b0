package wiretest

import (
	"testing"

	"google.golang.org/grpc/codes"
)

// A run that no worker looks after must not grow without bound either.
func TestS105_TooManySignalsWithoutAWorker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 60 {
			if err := r.trySignal("w", "", "s", ""); err != nil {
				r.refused(err, codes.NotFound, "workflow execution already completed")
				break
			}
		}
		e := last(r, r.stored("w", ""), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
		is(r, "reason", e.Reason, "Workflow history count exceeds limit.")
		is(r, "identity", e.Identity, "history-service")
	}, func(l *limits) { l.Hard, l.HistoryEvents = true, 50 })
}
