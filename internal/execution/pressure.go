package execution

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
)

// A run that has taken many messages is not ended for it. Once it nears a limit, further messages are refused in a way
// that makes their senders try again later, and its code is told to continue as new (suggest_continue_as_new); the next
// run takes them. Limits.Hard brings the reference's ways back: a refusal for good, a failed workflow task, termination.

// Refusal names why messages to a run are refused for now.
type Refusal struct {
	Code string // stable: "signals", "updates", "history_events", "history_bytes", "buffer"
	Text string
}

// lasting tells whether the refusal ends with the run only.
func lasting(code string) bool { return code != "" && code != "buffer" }

// reserve is the part of a run's history, in percent, that is left to the workflow's own doing.
const reserve = 10

// Pressure tells why the run takes no more messages for now; the zero value: it takes them. more is the size of what an
// update that is to be taken will add to history.
func Pressure(st *State, l *Limits, more int) Refusal {
	i := &st.Info
	events := i.NextEventID - 1 + int64(st.Buffered.Len())
	bytes := i.HistoryBytes + i.BufferedBytes + int64(more)
	switch {
	case l.HistoryEvents > 0 && events >= int64(l.HistoryEvents)*(100-reserve)/100:
		return Refusal{"history_events", fmt.Sprintf("its history has %d events, and the limit is %d", events, l.HistoryEvents)}
	case l.HistoryBytes > 0 && bytes >= l.HistoryBytes*(100-reserve)/100:
		return Refusal{"history_bytes", fmt.Sprintf("its history has %d bytes, and the limit is %d", bytes, l.HistoryBytes)}
	case l.Signals > 0 && int(i.SignalCount) >= l.Signals:
		return Refusal{"signals", fmt.Sprintf("it has taken %d signals, which is its limit", i.SignalCount)}
	case l.UpdatesTotal > 0 && int(i.UpdateCount) >= l.UpdatesTotal:
		return Refusal{"updates", fmt.Sprintf("it has taken %d updates, which is its limit", i.UpdateCount)}
	case st.Buffered.Len() >= l.BufferedEvents || i.BufferedBytes >= int64(l.BufferedBytes):
		return Refusal{"buffer", fmt.Sprintf("%d events wait for its workflow task to finish", st.Buffered.Len())}
	}
	return Refusal{}
}

// SignalsRefused and UpdatesRefused are Pressure without the other kind's limit.
func SignalsRefused(st *State, l *Limits) Refusal {
	own := *l
	own.UpdatesTotal = 0
	return Pressure(st, &own, 0)
}

// UpdatesRefused tells why updates are refused for now; see SignalsRefused.
func UpdatesRefused(st *State, l *Limits, more int) Refusal {
	own := *l
	own.Signals = 0
	if r := Pressure(st, &own, more); r.Code != "buffer" { // updates are not buffered
		return r
	}
	return Refusal{}
}

// busy is a refusal as the sender gets it: SDKs try again, and reach the next run if the request does not name this one.
func (r Refusal) busy() *Error {
	e := errf(ResourceExhausted, "the workflow takes no more messages for now: %s", r.Text)
	e.Cause = enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
	e.Refusal = r.Code
	return e
}
