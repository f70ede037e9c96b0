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

// SignalsRefused tells why the run takes no more signals for now; the zero value: it takes them.
func SignalsRefused(st *State, l *Limits) Refusal {
	i := &st.Info
	if r := historyFull(st, l, 0); r.Code != "" {
		return r
	}
	switch {
	case l.Signals > 0 && int(i.SignalCount) >= l.Signals:
		return Refusal{"signals", fmt.Sprintf("it has taken %d signals, which is its limit", i.SignalCount)}
	case st.Buffered.Len() >= l.BufferedEvents || i.BufferedBytes >= int64(l.BufferedBytes):
		return Refusal{"buffer", fmt.Sprintf("%d events wait for its workflow task to finish", st.Buffered.Len())}
	}
	return Refusal{}
}

// UpdatesRefused tells the same of updates, which are not buffered. waiting updates, of so many bytes, are not in history
// yet.
func UpdatesRefused(st *State, l *Limits, waiting, bytes int) Refusal {
	if r := historyFull(st, l, bytes); r.Code != "" {
		return r
	}
	if n := int(st.Info.UpdateCount) + waiting; l.UpdatesTotal > 0 && n >= l.UpdatesTotal {
		return Refusal{"updates", fmt.Sprintf("it has taken %d updates, which is its limit", n)}
	}
	return Refusal{}
}

// historyFull tells whether history, with more bytes to come, has come to the part that is the workflow's own.
func historyFull(st *State, l *Limits, more int) Refusal {
	i := &st.Info
	events := i.NextEventID - 1 + int64(st.Buffered.Len())
	bytes := i.HistoryBytes + i.BufferedBytes + int64(more)
	switch {
	case l.HistoryEvents > 0 && events >= int64(l.HistoryEvents)*(100-reserve)/100:
		return Refusal{"history_events", fmt.Sprintf("its history has %d events, and the limit is %d", events, l.HistoryEvents)}
	case l.HistoryBytes > 0 && bytes >= l.HistoryBytes*(100-reserve)/100:
		return Refusal{"history_bytes", fmt.Sprintf("its history has %d bytes, and the limit is %d", bytes, l.HistoryBytes)}
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
