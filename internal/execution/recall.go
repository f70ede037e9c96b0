package execution

import (
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/ids"
)

// Messages carry an identity that their sender repeats with every retry: a request ID, or an update's ID. A run keeps
// the ones it has taken (State.Requests, State.Updates). Once another run of the workflow ID is the current one the store
// has beside that one row for each, by workflow ID, that names the run which took it, so that a retry that comes late is
// recognised all the same. Requests that name their run are between them and that run.

// SeenKind tells the two name spaces of message identities apart. Part of the format.
type SeenKind uint8

const (
	// SeenRequest: the ID is the request ID of a start, a signal, or an attached start.
	SeenRequest SeenKind = 1
	// SeenUpdate: the ID is an update's.
	SeenUpdate SeenKind = 2
)

// Seen is the identity of a message within its workflow ID.
type Seen struct {
	Kind SeenKind
	ID   string
}

// SeenRow is the identity that a changed row of a run stands for; ok is false for rows that stand for none. A run that
// continues another has a start request of its own making, which nobody repeats.
func SeenRow(run ids.RunID, row Row) (seen Seen, ok bool) {
	switch row.Kind {
	case RowRequest:
		return Seen{SeenRequest, row.Text}, row.Text != "" && row.Text != string(run)
	case RowUpdate:
		return Seen{SeenUpdate, row.Text}, true
	}
	return Seen{}, false
}

// Seen visits the identities of the messages that the run took, as SeenRow has them. An update that it has not accepted is none:
// a reset copies those of its base run, which may have completed them.
func (s *State) Seen(yield func(Seen) bool) {
	for id := range s.Requests.All {
		if seen, ok := SeenRow(s.Key.Run, Row{Kind: RowRequest, Text: id}); ok && !yield(seen) {
			return
		}
	}
	for id, u := range s.Updates.All {
		if seen, ok := SeenRow(s.Key.Run, Row{Kind: RowUpdate, Text: id}); ok && u.AcceptedID != 0 && !yield(seen) {
			return
		}
	}
}

// Took tells whether the run has a record of the message.
func (s *State) Took(m Seen) (took bool) {
	switch m.Kind {
	case SeenRequest:
		_, took = s.Requests.Get(m.ID)
	case SeenUpdate:
		_, took = s.Updates.Get(m.ID)
	}
	return took
}

// Recalls names the messages of which Step wants to know which earlier run of the workflow ID took them, if any: put
// that run's state into Env.Recalled, or nil. It is asked for inputs that address the current run, st.
func Recalls(st *State, in Input, l *Limits) []Seen {
	if st == nil || !st.Start.Follows || l.ForgetRuns {
		return nil
	}
	var out []Seen
	request := func(id string) {
		if _, known := st.Requests.Get(id); !known && id != "" {
			out = append(out, Seen{SeenRequest, id})
		}
	}
	update := func(id string) {
		if !st.KnowsUpdate(id) {
			out = append(out, Seen{SeenUpdate, id})
		}
	}
	switch in := in.(type) {
	case SignalWorkflow:
		request(in.RequestID)
	case UpdateWorkflow:
		update(in.Request.GetMeta().GetUpdateId())
	case PollUpdate:
		update(in.UpdateID)
	case StartWorkflow:
		request(in.Request.GetRequestId())
		if in.Update != nil {
			update(in.Update.Request.GetMeta().GetUpdateId())
		}
	}
	return out
}

// recalledRequest is the earlier run that took a request, and what it remembers of it.
func (e *Env) recalledRequest(id string) (*State, *Request) {
	if old := e.Recalled[Seen{SeenRequest, id}]; old != nil && id != "" {
		if r, ok := old.Requests.Get(id); ok {
			return old, r
		}
	}
	return nil, nil
}

// recalledUpdate is the earlier run that accepted an update. first, when set, pins the chain the run has to be of.
func (e *Env) recalledUpdate(id string, first ids.RunID) (*State, *Update) {
	if old := e.Recalled[Seen{SeenUpdate, id}]; old != nil && !chainMismatch(old, first) && !old.Open() {
		if u, ok := old.Updates.Get(id); ok && u.AcceptedID != 0 {
			return old, u
		}
	}
	return nil, nil
}

// startRecalled answers a start, alone or with a signal or an update, that an earlier run of the workflow ID has taken;
// nil if none has.
func startRecalled(cur *State, in StartWorkflow, env *Env) *Transition {
	if in.Update != nil {
		return updateWithStartRecalled(cur, in, env)
	}
	old, r := env.recalledRequest(in.Request.RequestId)
	if old == nil {
		return nil
	}
	if in.Signal != nil && !r.signals() {
		return nil // another call's ID
	}
	a := &StartAnswer{RunID: old.Key.Run, FirstRunID: old.Start.FirstRunID, Status: old.Info.Status}
	switch r.Type {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		if in.Signal == nil {
			return nil // a signal's ID, which says nothing about a start
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
		a.Attached = true
	default:
		a.Started = true
	}
	tr := answer(cur, a)
	tr.Marks = append(tr.Marks, "start recalled")
	return tr
}

// updateWithStartRecalled: a completed update is answered, whoever asks. A repeated request, told by the start's ID,
// starts nothing again: its update goes on where the chain has come to, and shares the fate of a chain that has ended.
func updateWithStartRecalled(cur *State, in StartWorkflow, env *Env) *Transition {
	id := in.Update.Request.GetMeta().GetUpdateId()
	took, u := env.recalledUpdate(id, "")
	if u != nil && u.CompletedID != 0 {
		return answer(cur, &StartAnswer{RunID: took.Key.Run, FirstRunID: took.Start.FirstRunID, Status: took.Info.Status,
			Update: completedUpdate(took, u)})
	}
	old, r := env.recalledRequest(in.Request.RequestId)
	if old == nil || r.Type == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
		return nil
	}
	a := &StartAnswer{RunID: old.Key.Run, FirstRunID: old.Start.FirstRunID, Status: old.Info.Status, Started: true}
	switch {
	case u != nil:
		a.Update = closedUpdate(took, u)
	case cur.Open() && cur.Start.FirstRunID == old.Start.FirstRunID:
		return startJoin(cur, in, env, true)
	default:
		a.UpdateErr = errCompleted()
	}
	return answer(cur, a)
}
