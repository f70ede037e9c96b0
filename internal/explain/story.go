package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
)

// Handlers are the signals that a workflow's code says it has handlers for; see Facts.
type Handlers struct {
	Signals        []string
	DynamicSignals bool // there is one for all other signals
}

// Facts are what a story may be told with beside the message itself.
type Facts struct {
	State    *execution.State // of the message's run; nil: it is gone
	Report   *Report          // of the run, when it is open; nil: not known
	Handlers *Handlers        // nil: nobody could be asked
}

// Story tells a message's life, one step after the other.
func Story(m *Message, f Facts) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for i := 0; i < len(m.Stages); i++ {
		s := &m.Stages[i]
		if s.Stage == execution.NoteRepeated {
			// One sentence for a row of repetitions.
			j := i
			for j+1 < len(m.Stages) && m.Stages[j+1].Stage == execution.NoteRepeated {
				j++
			}
			say("%s", repeated(s, j-i+1))
			i = j
			continue
		}
		say("%s", m.step(s))
	}
	if end := m.ending(f); end != "" {
		say("%s", end)
	}
	return out
}

func (m *Message) step(s *Stage) string {
	switch s.Stage {
	case execution.NoteReceived:
		if m.Kind == execution.NoteUpdate {
			return fmt.Sprintf("%s: %s came from %s to run %s. It is in the server's memory until a worker accepts it.", at(s.At), m.title(), m.sender(), m.Run)
		}
		return fmt.Sprintf("%s: %s came from %s to run %s and was stored as event %d.", at(s.At), m.title(), m.sender(), m.Run, s.Event)
	case execution.NoteBuffered:
		text := fmt.Sprintf("%s: %s came from %s to run %s while a worker had a workflow task. It was stored, to come into history behind that task",
			at(s.At), m.title(), m.sender(), m.Run)
		if m.Event != 0 {
			text += fmt.Sprintf(", where it is event %d", m.Event)
		}
		return text + "."
	case execution.NoteRefused:
		return fmt.Sprintf("%s: %s from %s was refused: %s", at(s.At), m.title(), m.sender(), sentence(s.Text))
	case execution.NoteDelivered:
		if m.Kind == execution.NoteUpdate {
			return fmt.Sprintf("%s: worker %s got it with the workflow task started as event %d.", at(s.At), s.Identity, s.Event)
		}
		return fmt.Sprintf("%s: worker %s completed the workflow task started as event %d, which had it.", at(s.At), s.Identity, s.Event)
	case execution.NoteAccepted:
		return fmt.Sprintf("%s: the workflow accepted it, recorded as event %d. It is durable from here on.", at(s.At), s.Event)
	case execution.NoteRejected:
		return fmt.Sprintf("%s: it was rejected, which leaves no trace in history: %s", at(s.At), sentence(s.Text))
	case execution.NoteCompleted:
		if s.Text != "" {
			return fmt.Sprintf("%s: its handler failed, recorded as event %d: %s", at(s.At), s.Event, sentence(s.Text))
		}
		return fmt.Sprintf("%s: its handler returned; the result is in event %d.", at(s.At), s.Event)
	case execution.NoteAborted:
		return fmt.Sprintf("%s: it was given up, and its sender may try again: %s", at(s.At), sentence(s.Text))
	case execution.NoteDropped:
		return fmt.Sprintf("%s: it was dropped, since %s", at(s.At), sentence(s.Text))
	}
	return fmt.Sprintf("%s: stage %d. %s", at(s.At), s.Stage, s.Text)
}

func repeated(s *Stage, times int) string {
	text := fmt.Sprintf("%s: it was sent again", at(s.At))
	if times > 1 {
		text = fmt.Sprintf("%s: it was sent again, %d times", at(s.At), times)
	}
	text += ", was recognised, and was not applied again"
	if s.Text != "" {
		text += "; " + s.Text
	}
	return text + "."
}

// ending says where the message stands now, unless its last stage says it.
func (m *Message) ending(f Facts) string {
	last := m.Stages[len(m.Stages)-1].Stage
	if last == execution.NoteRepeated { // a repetition changes nothing
		for i := len(m.Stages) - 1; i >= 0 && last == execution.NoteRepeated; i-- {
			last = m.Stages[i].Stage
		}
	}
	switch last {
	case execution.NoteReceived, execution.NoteBuffered:
		return m.waits(f)
	case execution.NoteDelivered:
		if m.Kind == execution.NoteUpdate {
			return m.waits(f)
		}
		return m.handled(f)
	case execution.NoteAccepted:
		if f.State != nil && !f.State.Open() {
			return "The run closed before its handler returned: its caller gets the failure AcceptedUpdateCompletedWorkflow."
		}
		return "Its handler has not returned yet." + because(f.Report)
	case execution.NoteRepeated:
		return "What became of it at first is no longer kept here."
	}
	return ""
}

func (m *Message) waits(f Facts) string {
	switch {
	case f.State == nil:
		return "Its run is no longer kept."
	case !f.State.Open():
		return "Its run has closed."
	case m.Kind == execution.NoteUpdate && !f.State.KnowsUpdate(m.ID):
		return "The server has lost it since (it restarted, say): its sender's next try brings it back."
	case m.Reached(execution.NoteDelivered):
		return "The worker has not answered yet." + because(f.Report)
	}
	return "No worker has completed a workflow task with it yet." + because(f.Report)
}

// handled says what can be known of the code's side of a signal.
func (m *Message) handled(f Facts) string {
	if m.Kind != execution.NoteSignal {
		return ""
	}
	h := f.Handlers
	switch {
	case h == nil:
		return "Whether the code has a handler for it, only the code can tell, and it could not be asked now."
	case slices.Contains(h.Signals, m.Name):
		return fmt.Sprintf("The workflow has a handler for signal %q.", m.Name)
	case h.DynamicSignals:
		return fmt.Sprintf("The workflow has no handler named %q, but a dynamic one, which takes it.", m.Name)
	}
	return fmt.Sprintf("It is unhandled: the workflow has no handler for signal %q and no dynamic one (it has: %s). Its SDK keeps the signal until one is set, and drops it when the run ends.",
		m.Name, names(h.Signals))
}

func because(r *Report) string {
	if r == nil {
		return ""
	}
	var why []string
	for _, f := range r.Findings {
		if f.Stuck {
			why = append(why, f.Text)
		}
	}
	if len(why) == 0 {
		return ""
	}
	return " " + strings.Join(why, " ")
}

func names(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}

func (m *Message) title() string {
	switch m.Kind {
	case execution.NoteSignal:
		return fmt.Sprintf("signal %q%s", m.Name, withID("request", m.ID))
	case execution.NoteUpdate:
		return fmt.Sprintf("update %q%s", m.Name, withID("ID", m.ID))
	case execution.NoteCancel:
		return "a request to cancel" + withID("request", m.ID)
	}
	return "a message"
}

func withID(what, id string) string {
	if id == "" {
		return ""
	}
	return fmt.Sprintf(" (%s %s)", what, id)
}

func (m *Message) sender() string {
	switch {
	case m.From != "":
		return fmt.Sprintf("workflow %q", m.From)
	case m.Identity != "":
		return m.Identity
	}
	return "an unnamed sender"
}

func at(t clock.Nanos) string { return t.Time().UTC().Format("2006-01-02 15:04:05.000Z") }

func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
