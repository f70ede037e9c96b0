package execution

import (
	"strings"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	updatepb "go.temporal.io/api/update/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// The ledger of a run tells what became of every message to it, also of those that leave no trace in history: repeated,
// refused and rejected ones. It is made of notes, each one stage in a message's life. Notes are numbered; the store keeps
// the newest Limits.LedgerNotes of a run and forgets them with the run. They ride on batches that are written anyway: what
// a transition that is not durable noted is written with the run's next one, and a crash in between loses it.

// NoteKind says what kind of message a note is about. Part of the format.
type NoteKind uint8

// Kinds of messages. NoteTask is about all signals and cancel requests up to an event.
const (
	NoteSignal NoteKind = iota + 1
	NoteUpdate
	NoteCancel
	NoteTask
)

// NoteStage says how far a message has come. Part of the format.
type NoteStage uint8

const (
	// NoteReceived: taken. Event is the event that records it; zero: an update, which memory alone knows as yet.
	NoteReceived NoteStage = iota + 1
	// NoteBuffered: taken while a workflow task was with a worker; it comes into history behind that task, whose started
	// event is Event.
	NoteBuffered
	// NoteRepeated: known already, so that nothing happened. Text names the run that took it if it was another one.
	NoteRepeated
	// NoteRefused: not taken. Text is the error its sender got.
	NoteRefused
	// NoteDelivered: with a worker. Event is the workflow task's started event, Identity the worker's. Of a NoteTask: all
	// signals and cancel requests before Event, and the workflow task was completed.
	NoteDelivered
	// NoteAccepted: an update passed its validator. Event records it.
	NoteAccepted
	// NoteRejected: an update did not pass its validator, or no worker minded it. Text says why.
	NoteRejected
	// NoteCompleted: an update's handler returned. Event records it. Text is the failure, empty for success.
	NoteCompleted
	// NoteAborted: an update was given up though its run goes on. Text is what its sender was told.
	NoteAborted
	// NoteDropped: the run ended first. Text says how. Of a NoteTask: no worker completed a workflow task with the signals
	// and cancel requests behind Event.
	NoteDropped
)

// Note is one stage in the life of a message.
type Note struct {
	Number   int64          `cbor:"1,keyasint"` // counts a run's notes from 0
	At       clock.Nanos    `cbor:"2,keyasint"`
	Kind     NoteKind       `cbor:"3,keyasint"`
	Stage    NoteStage      `cbor:"4,keyasint"`
	ID       string         `cbor:"5,keyasint,omitempty"` // request ID or update ID
	Name     string         `cbor:"6,keyasint,omitempty"` // of the signal or update
	Identity string         `cbor:"7,keyasint,omitempty"` // of the sender; of the worker when delivered
	Event    ids.EventID    `cbor:"8,keyasint,omitempty"`
	Text     string         `cbor:"9,keyasint,omitempty"`
	From     ids.WorkflowID `cbor:"10,keyasint,omitempty"` // the workflow that sent it
}

const noteTextBytes = 300

// note adds a note to the ledger.
func (d *draft) note(n Note) {
	if d.env.Limits.LedgerNotes == 0 {
		return
	}
	n.Number, n.At = d.Info.LedgerNext, d.now()
	n.Text = cut(n.Text, noteTextBytes)
	d.Info.LedgerNext++
	d.tr.Notes = append(d.tr.Notes, n)
}

// cut shortens s to at most n bytes, between runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n]
	for len(s) > 0 && !utf8.ValidString(s) && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "") + "…"
}

// noted is the transition of an input that leaves nothing but a note.
func noted(st *State, env *Env, n Note, answer any, err error) *Transition {
	d := newDraft(st, env)
	d.note(n)
	d.tr.Next, d.tr.Answer, d.tr.Err = d.State, answer, err
	if d.Info.LedgerNext == st.Info.LedgerNext {
		d.tr.Next = st // no ledger is kept
	}
	return d.tr
}

// refuseNoted refuses a message, and notes it unless its sender merely tries again.
func refuseNoted(st *State, env *Env, n Note, err error) *Transition {
	if n.ID != "" && st.Volatile.Refused == n.ID {
		return refuse(st, err)
	}
	n.Stage, n.Text = NoteRefused, err.Error()
	tr := noted(st, env, n, nil, err)
	if tr.Next != st {
		tr.Next.Volatile.Refused = n.ID
	}
	return tr
}

func (in SignalWorkflow) note(stage NoteStage) Note {
	n := Note{Kind: NoteSignal, Stage: stage, ID: in.RequestID, Name: in.Name, Identity: in.Identity}
	if in.From != nil {
		n.From = ids.WorkflowID(in.From.WorkflowId)
	}
	return n
}

func updateNote(r *updatepb.Request, stage NoteStage) Note {
	return Note{Kind: NoteUpdate, Stage: stage, ID: r.GetMeta().GetUpdateId(), Name: r.GetInput().GetName(), Identity: r.GetMeta().GetIdentity()}
}

// arrived notes a message that arrive has taken: ev has its ID, or none while it is buffered.
func (d *draft) arrived(n Note, ev *historypb.HistoryEvent) {
	n.Stage, n.Event = NoteReceived, ev.EventId
	if ev.EventId == 0 {
		n.Stage, n.Event = NoteBuffered, d.Info.WFT.StartedID
	}
	d.note(n)
}

// noteTaskDone notes what the code has seen with the workflow task t, which a worker has completed.
func (d *draft) noteTaskDone(t *WorkflowTask, worker string) {
	if d.Info.MessageMark > d.Info.LastCompletedStartedID && d.Info.MessageMark < t.StartedID {
		d.note(Note{Kind: NoteTask, Stage: NoteDelivered, Event: t.StartedID, Identity: worker})
	}
}

// noteClosed notes the messages that the end of the run leaves behind.
func (d *draft) noteClosed(event enumspb.EventType) {
	end := "the run ended: " + closeWord(event)
	if d.Info.MessageMark > d.Info.LastCompletedStartedID || d.bufferedMessages() {
		d.note(Note{Kind: NoteTask, Stage: NoteDropped, Event: d.Info.LastCompletedStartedID, Text: end})
	}
	if d.Info.OpenUpdates > 0 {
		for _, u := range d.Updates.All {
			if u.CompletedID == 0 && u.AcceptedID != 0 {
				d.note(Note{Kind: NoteUpdate, Stage: NoteDropped, ID: u.ID, Event: u.AcceptedID, Text: end})
			}
		}
	}
	for _, u := range d.liveInOrder() {
		if u.Stage != UpdateAccepted {
			d.note(Note{Kind: NoteUpdate, Stage: NoteDropped, ID: u.ID, Text: end})
		}
	}
}

func (d *draft) bufferedMessages() bool {
	for _, b := range d.Buffered.All {
		switch b.Event.EventType {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
			return true
		}
	}
	return false
}

func closeWord(t enumspb.EventType) string {
	switch t {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		return "completed"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		return "failed"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		return "timed out"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		return "canceled"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		return "terminated"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return "continued as new"
	}
	return t.String()
}

// failureText is a failure in a line.
func failureText(f *failurepb.Failure) string {
	if typ := f.GetApplicationFailureInfo().GetType(); typ != "" {
		return typ + ": " + f.GetMessage()
	}
	return f.GetMessage()
}
