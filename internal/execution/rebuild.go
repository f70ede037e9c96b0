package execution

import (
	"fmt"

	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Rebuild folds a history into the state it leads to. What no event tells stays unset: volatile parts, stickiness,
// dispatch and timer rows, the progress of activities' attempts, numbers of rows and transitions, the start's request ID.
// It is for reset and for tests.
func Rebuild(key ids.RunKey, events []*historypb.HistoryEvent) (*State, error) {
	env := &Env{Key: key, Limits: DefaultLimits(), Namespace: &Namespace{ID: key.Namespace}}
	d := newDraft(&State{Key: key, Start: &Start{}, Info: Info{NextEventID: 1}}, env)
	for i, ev := range events {
		if ev.EventId != d.Info.NextEventID {
			return nil, fmt.Errorf("rebuild %s: event %d at position %d, want %d", key, ev.EventId, i, d.Info.NextEventID)
		}
		d.Info.NextEventID++
		d.Info.LastEventTime = max(d.Info.LastEventTime, clock.FromProto(ev.EventTime))
		d.Info.HistoryBytes += int64(len(appendEvent(nil, ev)))
		apply(d, ev)
		settle(d, ev)
	}
	return d.State, nil
}
