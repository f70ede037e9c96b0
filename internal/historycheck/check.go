package historycheck

import (
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// Options says what the caller knows about the history. The zero value knows nothing and is right for any prefix of a
// history that was read through the public API. Options is a value and safe for concurrent use.
type Options struct {
	// VirtualTail says that the history ends in the Scheduled, or Scheduled and Started, events of a transient or
	// speculative workflow task: events that were shown to a worker but are not stored. They need no task ID, and a
	// closed run must not have any.
	VirtualTail bool

	// AtRest says that the history was read between two transactions of the server. Then nothing may be half done:
	// each news for the workflow has its workflow task, no ActivityTaskStarted stands alone and no retried workflow
	// task is stored before it completed.
	AtRest bool

	// RunID is the run's own ID. When set, the history must belong to it: through the original run ID of its Started
	// event or, for a run made by reset, through its last reset marker.
	RunID string

	// UntypedSearchAttributes accepts search attribute payloads without `type` metadata, for events taken from below
	// the place that fills it in.
	UntypedSearchAttributes bool
}

// Violation is one broken rule at one event.
type Violation struct {
	// Run is the index of the run in the chain; always 0 outside CheckChain.
	Run int
	// EventID and Type are those of the offending event; both zero when the fault is in no single event.
	EventID int64
	Type    enumspb.EventType
	// Rule is the rule that was broken, Detail how.
	Rule   Rule
	Detail string
}

// String names the event, the rule and what is wrong.
func (v Violation) String() string {
	var b strings.Builder
	if v.Run > 0 {
		fmt.Fprintf(&b, "run %d: ", v.Run)
	}
	if v.EventID == 0 && v.Type == enumspb.EVENT_TYPE_UNSPECIFIED {
		b.WriteString("history")
	} else {
		fmt.Fprintf(&b, "event %d %s", v.EventID, v.Type)
	}
	fmt.Fprintf(&b, ": %s: %s", v.Rule, v.Detail)
	return b.String()
}

// Violations is the error of all checks in this package: every broken rule, in history order. It is never empty.
type Violations []Violation

// Error lists one violation a line.
func (v Violations) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "illegal history: %d violation(s)", len(v))
	for _, one := range v {
		b.WriteString("\n  ")
		b.WriteString(one.String())
	}
	return b.String()
}

// Check reports every violation in the history of a run, open or closed, as Violations; nil means legal.
func Check(events []*historypb.HistoryEvent) error { return Options{}.Check(events) }

// CheckPrefix is Check for a run that is still open: a closing event is a violation. Any prefix of a legal history
// that stops before its closing event passes.
func CheckPrefix(events []*historypb.HistoryEvent) error { return Options{}.CheckPrefix(events) }

// CheckClosed is Check for a run that has closed: a missing closing event is a violation.
func CheckClosed(events []*historypb.HistoryEvent) error { return Options{}.CheckClosed(events) }

// Check is the package's Check with what o knows.
func (o Options) Check(events []*historypb.HistoryEvent) error {
	return o.walk(events).violations()
}

// CheckPrefix is the package's CheckPrefix with what o knows.
func (o Options) CheckPrefix(events []*historypb.HistoryEvent) error {
	w := o.walk(events)
	if w.closed != nil {
		w.at(w.closed)
		w.bad(RuleOpen, "the run was said to be open, but this event closes it")
	}
	return w.violations()
}

// CheckClosed is the package's CheckClosed with what o knows.
func (o Options) CheckClosed(events []*historypb.HistoryEvent) error {
	w := o.walk(events)
	if w.closed == nil {
		w.at(nil)
		w.bad(RuleOpen, "the run was said to be closed, but no event closes it")
	}
	return w.violations()
}

// violations is the walk's result as an error, nil when it found nothing.
func (w *walker) violations() error {
	if len(w.found) == 0 {
		return nil
	}
	return w.found
}
