package explain

import (
	"cmp"
	"slices"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Message is one message to a run, put together from its notes.
type Message struct {
	Run      ids.RunID
	Number   int64 // of its first note
	Kind     execution.NoteKind
	ID, Name string
	Identity string         // of the sender; empty when only a later note is kept
	From     ids.WorkflowID // the workflow that sent it
	Event    ids.EventID    // Signaled, CancelRequested or UpdateAccepted; zero: none, or not known
	Stages   []Stage        // in order of time, at least one
}

// Stage is one step in a message's life.
type Stage struct {
	Stage    execution.NoteStage
	At       clock.Nanos
	Identity string
	Event    ids.EventID
	Text     string
}

// Reached tells whether the message has come to a stage.
func (m *Message) Reached(s execution.NoteStage) bool {
	return slices.ContainsFunc(m.Stages, func(x Stage) bool { return x.Stage == s })
}

// Find is the last of the message's stages of that kind; nil if there is none.
func (m *Message) Find(s execution.NoteStage) *Stage {
	for i := len(m.Stages) - 1; i >= 0; i-- {
		if m.Stages[i].Stage == s {
			return &m.Stages[i]
		}
	}
	return nil
}

// Messages puts the messages of one run together, oldest first. notes are in order of their numbers.
func Messages(run ids.RunID, notes []execution.Note) []*Message {
	b := builder{run: run, byID: make(map[key]*Message)}
	for i := range notes {
		b.add(&notes[i])
	}
	return b.all
}

// Locate finds the event of a signal that was buffered when it came, in the state of its run.
func (m *Message) Locate(st *execution.State) {
	if r, ok := st.Requests.Get(m.ID); ok && m.ID != "" {
		m.Event = r.EventID
	}
}

type key struct {
	kind execution.NoteKind
	id   string
}

// builder folds notes into messages.
type builder struct {
	run  ids.RunID
	all  []*Message
	byID map[key]*Message
	open []*Message // signals and cancel requests that no workflow task has taken yet
}

func (b *builder) add(n *execution.Note) {
	if n.Kind == execution.NoteTask {
		b.task(n)
		return
	}
	m := b.find(n)
	m.Stages = append(m.Stages, Stage{n.Stage, n.At, n.Identity, n.Event, n.Text})
	switch n.Stage {
	case execution.NoteReceived, execution.NoteBuffered:
		m.Identity, m.From = n.Identity, n.From
		if n.Stage == execution.NoteReceived {
			m.Event = n.Event
		}
		if n.Kind != execution.NoteUpdate {
			b.open = append(b.open, m)
		}
	case execution.NoteRepeated, execution.NoteRefused:
		m.Identity = cmp.Or(m.Identity, n.Identity)
		m.From = cmp.Or(m.From, n.From)
	case execution.NoteAccepted:
		m.Event = n.Event
	}
}

// find is the message that n is about. An ID that comes again after its update was rejected or aborted is another
// update; messages without an ID are never the same.
func (b *builder) find(n *execution.Note) *Message {
	k := key{n.Kind, n.ID}
	m := b.byID[k]
	if m == nil || n.ID == "" || n.Stage == execution.NoteReceived && !m.onlyRefused() {
		m = &Message{Run: b.run, Number: n.Number, Kind: n.Kind, ID: n.ID}
		b.all = append(b.all, m)
		b.byID[k] = m
	}
	m.Name = cmp.Or(m.Name, n.Name)
	return m
}

func (m *Message) onlyRefused() bool {
	return !slices.ContainsFunc(m.Stages, func(s Stage) bool {
		return s.Stage != execution.NoteRefused && s.Stage != execution.NoteRepeated
	})
}

// task gives the messages that a workflow task took, or that the end of the run left over, their stage.
func (b *builder) task(n *execution.Note) {
	var left []*Message
	for _, m := range b.open {
		took := m.Event != 0 && m.Event < n.Event
		if buffered := m.Find(execution.NoteBuffered); buffered != nil && m.Event == 0 {
			took = buffered.Event < n.Event // it came into history behind that task
		}
		if n.Stage == execution.NoteDropped {
			took = true // those before were taken out when they were delivered
		}
		if !took {
			left = append(left, m)
			continue
		}
		m.Stages = append(m.Stages, Stage{n.Stage, n.At, n.Identity, n.Event, n.Text})
	}
	b.open = left
}
