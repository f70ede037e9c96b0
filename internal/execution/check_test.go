package execution_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/historycheck"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// check holds the rules that every transition keeps.
func (w *world) check(tr *execution.Transition, was *execution.State) {
	w.t.Helper()
	for n := tr; n != nil; n = n.Successor {
		if n.Next == nil || w.runs[n.Next.Key].removed {
			continue
		}
		r := w.runs[n.Next.Key]
		w.checkStored(r)
		w.checkAwake(r)
		w.checkLedger(r)
		if len(n.Events) > 0 || n.Next != was {
			w.checkHistory(r)
			w.checkRebuild(r)
		}
	}
}

// checkLedger: notes are numbered without gaps, and every message in history has one.
func (w *world) checkLedger(r *run) {
	w.t.Helper()
	if int(r.st.Info.LedgerNext) != len(r.notes) {
		w.t.Fatalf("%s: %d notes, the next number is %d", r.key, len(r.notes), r.st.Info.LedgerNext)
	}
	noted := map[string]int{}
	for i, n := range r.notes {
		if n.Number != int64(i) || n.At == 0 || n.Kind == 0 || n.Stage == 0 {
			w.t.Fatalf("%s: note %d is %+v", r.key, i, n)
		}
		if n.Stage == execution.NoteReceived || n.Stage == execution.NoteBuffered {
			noted[fmt.Sprint(n.Kind, n.ID)]++
		}
	}
	if r.st.Info.LastResetTime != 0 {
		return // it has messages from the run it was made of
	}
	for _, ev := range r.events {
		k := ""
		switch ev.EventType {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			k = fmt.Sprint(execution.NoteSignal, ev.GetWorkflowExecutionSignaledEventAttributes().RequestId)
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
			k = fmt.Sprint(execution.NoteCancel, "")
		default:
			continue
		}
		if noted[k] == 0 && ev.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			w.t.Fatalf("%s: event %d has no note", r.key, ev.EventId)
		}
		noted[k]--
	}
}

// checkOnce: along all runs of a workflow ID, a message that did not name its run was taken once.
func (w *world) checkOnce() {
	w.t.Helper()
	type message struct {
		key ids.WorkflowKey
		id  string
	}
	took := map[message]ids.RunID{}
	for _, key := range w.order {
		r := w.runs[key]
		if r.removed || r.st == nil || r.st.Info.LastResetTime != 0 {
			continue
		}
		for _, ev := range r.events {
			m := message{key: key.Of()}
			switch ev.EventType {
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
				m.id = "s" + ev.GetWorkflowExecutionSignaledEventAttributes().RequestId
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
				// One that was accepted only may be taken again, by an update-with-start that starts a run of its own.
				m.id = "u" + ev.GetWorkflowExecutionUpdateCompletedEventAttributes().Meta.GetUpdateId()
			}
			if len(m.id) < 2 || w.pinned[string(m.key.Workflow)+m.id] {
				continue
			}
			if first, twice := took[m]; twice {
				w.t.Fatalf("%s: run %s and run %s both took message %s", m.key, first, key.Run, m.id)
			}
			took[m] = key.Run
		}
	}
}

// checkStored: what was written is exactly what the state needs, and the outbox holds what the state counts on.
func (w *world) checkStored(r *run) {
	w.t.Helper()
	st := w.load(r.key)
	if st == nil {
		w.t.Fatalf("%s was never written", r.key)
	}
	stored := map[string][]byte{}
	prefix := record.RunPrefix(r.key)
	_ = w.Scan(prefix, storage.PrefixEnd(prefix), func(k, v []byte) bool {
		stored[string(k)] = v
		return true
	})
	if again := encoded(st); !maps.EqualFunc(stored, again, bytes.Equal) {
		w.t.Fatalf("%s: rows do not survive a round trip:\n%s\n%s", r.key, rowsText(stored), rowsText(again))
	}
	if len(r.rows) == 0 && !r.st.Volatile.Unsaved && r.saved == len(r.events) && !volatileOnly(r, st) {
		if want := encoded(r.st); !maps.EqualFunc(stored, want, bytes.Equal) {
			w.t.Fatalf("%s: the store differs from the state:\n%s\n%s", r.key, rowsText(stored), rowsText(want))
		}
	}
	w.checkTasks(r, st)
}

// volatileOnly tells whether the state has moved on from the stored one in ways that need not be written.
func volatileOnly(r *run, st *execution.State) bool {
	return st.Info.Transitions == r.st.Info.Transitions && !bytes.Equal(encoded(st)[string(record.RowKey(r.key, execution.Row{}))],
		encoded(r.st)[string(record.RowKey(r.key, execution.Row{}))])
}

func rowsText(rows map[string][]byte) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		_, row, _ := record.ParseRowKey([]byte(k))
		fmt.Fprintf(&b, "  %v %s\n", row, hex.EncodeToString(rows[k]))
	}
	return b.String()
}

// checkTasks compares the task rows of a run in the store with those its stored state asks for.
func (w *world) checkTasks(r *run, st *execution.State) {
	w.t.Helper()
	want, have := map[string]bool{}, map[string]bool{}
	add := func(t execution.Task) { want[string(record.TaskKey(r.key, &t))] = true }
	if t := &st.Info.WFT; t.Dispatched {
		add(execution.Task{Kind: execution.TaskWorkflow, Queue: t.Queue, At: t.ScheduledAt, Seq: t.Seq, Priority: st.Start.PriorityKey})
	} else if t.Pending() && !t.Started() {
		w.t.Fatalf("%s: scheduled workflow task %d has no dispatch row: after a crash nobody offers it", r.key, t.ScheduledID)
	}
	for _, a := range st.Activities.All {
		switch {
		case a.Dispatched:
			add(execution.Task{Kind: execution.TaskActivity, Queue: a.Queue, At: a.ScheduledAt, ScheduledID: a.ScheduledID, Stamp: a.Stamp, Priority: activityPriority(st, a)})
		case a.StartedAt == 0 && (st.NextDeadline() == 0 || st.NextDeadline() > a.ScheduledAt):
			w.t.Fatalf("%s: nothing will dispatch activity %d", r.key, a.ScheduledID)
		}
	}
	if at := st.Info.TimerRow; at != 0 {
		add(execution.Task{Kind: execution.TaskTimer, At: at})
	}
	if next := st.NextDeadline(); next != 0 && (st.Info.TimerRow == 0 || st.Info.TimerRow > next) {
		w.t.Fatalf("%s: timer row at %d is later than the deadline %d", r.key, st.Info.TimerRow, next)
	}
	asked := map[int64]bool{}
	for _, c := range st.Children.All {
		asked[c.Outbox] = true
	}
	for _, e := range st.Signals.All {
		asked[e.Outbox] = true
	}
	for _, e := range st.Cancels.All {
		asked[e.Outbox] = true
	}
	delete(asked, 0)
	for k := range w.store {
		switch k[0] {
		case keyDispatch:
			o, err := record.DecodeDispatch([]byte(k), w.store[k])
			if err != nil {
				w.t.Fatalf("%v", err)
			}
			if o.Workflow != nil && o.Workflow.Run == r.key || o.Activity != nil && o.Activity.Run == r.key {
				have[k] = true
			}
		case keyTimer:
			if owner, _ := taskOwner(k); owner == r.key {
				have[k] = true
			}
		case keyOutbox:
			owner, n, _ := record.ParseOutboxKey([]byte(k))
			m, _ := record.DecodeMessage(w.store[k])
			if owner != r.key {
				continue
			}
			needsAnswer := m.Kind == execution.MessageStartChild || m.Kind == execution.MessageSignal || m.Kind == execution.MessageCancel
			if needsAnswer && !asked[n] {
				w.t.Fatalf("%s: nobody waits for message %d of kind %d any more", r.key, n, m.Kind)
			}
			delete(asked, n)
		}
	}
	if !maps.Equal(want, have) {
		w.t.Fatalf("%s: task rows are %x, the state asks for %x", r.key, slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(want)))
	}
	if len(asked) > 0 {
		w.t.Fatalf("%s: waits for messages %v that are not in the outbox", r.key, slices.Sorted(maps.Keys(asked)))
	}
}

func activityPriority(st *execution.State, a *execution.Activity) int32 {
	if len(a.Priority) > 0 {
		return decodePriority(a.Priority)
	}
	return st.Start.PriorityKey
}

// checkAwake: an open run with news has a workflow task, or a reason to wait for one, and somebody can get at it.
func (w *world) checkAwake(r *run) {
	w.t.Helper()
	st := r.st
	if !st.Open() {
		if st.Info.WFT.Pending() || st.Activities.Len()+st.Timers.Len()+st.Children.Len()+st.Cancels.Len()+st.Signals.Len()+st.Buffered.Len() > 0 {
			w.t.Fatalf("%s is closed, yet has something pending", r.key)
		}
		if st.Volatile.Updates.Len()+st.Volatile.Queries.Len() > 0 {
			w.t.Fatalf("%s is closed, yet somebody waits for it", r.key)
		}
		return
	}
	t := &st.Info.WFT
	if st.Buffered.Len() > 0 && !t.Started() {
		w.t.Fatalf("%s: events are buffered without a started workflow task", r.key)
	}
	if t.Started() && w.deadlineAfter(st, t.StartedAt.Add(t.Timeout)) {
		w.t.Fatalf("%s: a started workflow task would never time out", r.key)
	}
	if t.Pending() {
		if !t.Started() && !slices.ContainsFunc(w.offers, func(o execution.Offer) bool {
			return o.Workflow != nil && o.Workflow.Run == r.key && o.Workflow.Seq == t.Seq
		}) {
			w.t.Fatalf("%s: no task queue knows of workflow task %d", r.key, t.Seq)
		}
		return
	}
	if st.Info.FirstBackoffEnd != 0 || st.Info.AwaitingParent {
		if !st.Info.AwaitingParent && w.deadlineAfter(st, st.Info.FirstBackoffEnd) {
			w.t.Fatalf("%s: nothing ends the first backoff", r.key)
		}
		return
	}
	for _, ev := range r.events {
		if ev.EventId > st.Info.LastCompletedID && wakes(ev.EventType) {
			w.t.Fatalf("%s: event %d %s has no workflow task", r.key, ev.EventId, ev.EventType)
		}
	}
	for _, u := range st.Volatile.Updates.All {
		if u.Stage != execution.UpdateAccepted {
			w.t.Fatalf("%s: update %s has no workflow task", r.key, u.ID)
		}
	}
	if st.Volatile.Queries.Len() > 0 {
		w.t.Fatalf("%s: queries wait for no workflow task", r.key)
	}
}

func (w *world) deadlineAfter(st *execution.State, at clock.Nanos) bool {
	next := st.NextDeadline()
	return next == 0 || next > at
}

// wakes tells whether an event is news for the workflow's code.
func wakes(t enumspb.EventType) bool {
	switch t {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
		enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, enumspb.EVENT_TYPE_TIMER_FIRED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED, enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
		enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED, enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		return true
	}
	return false
}

// checkHistory judges the run's history, with the virtual events a worker would see, and counts its signals.
func (w *world) checkHistory(r *run) {
	w.t.Helper()
	if n := ids.EventID(len(r.events)) + 1; r.st.Info.NextEventID != n {
		w.t.Fatalf("%s: next event is %d, history has %d", r.key, r.st.Info.NextEventID, n-1)
	}
	o := historycheck.Options{AtRest: true, UntypedSearchAttributes: true, RunID: string(r.key.Run)}
	judge := o.CheckClosed
	if r.st.Open() {
		judge = o.CheckPrefix
	}
	if err := judge(r.events); err != nil {
		w.t.Fatalf("%s: %v\n%s", r.key, err, historyText(r.events))
	}
	if virtual := r.st.VirtualEvents(); len(virtual) > 0 {
		o.VirtualTail = true
		if err := o.CheckPrefix(slices.Concat(r.events, virtual)); err != nil {
			w.t.Fatalf("%s with virtual events: %v\n%s", r.key, err, historyText(slices.Concat(r.events, virtual)))
		}
	}
	signals := r.st.Buffered.Len()
	for _, b := range r.st.Buffered.All {
		if b.Event.EventType != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			signals--
		}
	}
	for _, ev := range r.events {
		if ev.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			signals++
		}
	}
	if r.st.Open() && signals != int(r.st.Info.SignalCount) {
		w.t.Fatalf("%s: %d signals were taken, %d are recorded", r.key, r.st.Info.SignalCount, signals)
	}
}

// checkRebuild: the history alone leads to the same state, but for what no event tells. Events in the buffer count in
// the state before they are in history, so a state with a buffer is left out; its flush is compared.
func (w *world) checkRebuild(r *run) {
	w.t.Helper()
	if r.st.Open() && r.st.Buffered.Len() > 0 {
		return
	}
	st, err := execution.Rebuild(r.key, r.events)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	have, want := encoded(told(st, r.st)), encoded(told(r.st, r.st))
	if !maps.EqualFunc(have, want, bytes.Equal) {
		w.t.Fatalf("%s: history leads to another state:\n%s\n%s\n%s", r.key, rowsText(have), rowsText(want), historyText(r.events))
	}
}

// told is st without what no event tells; live is the state that came about step by step.
func told(st, live *execution.State) *execution.State {
	info, start := st.Info, *st.Start
	// Driver's bookkeeping and attempts that leave no event.
	info.Transitions, info.WFTSeq, info.WFTFailures, info.NextAttempt = 0, 0, 0, 0
	info.NextBuffered, info.BufferedBytes, info.TimerRow, info.NextOutbox, info.RetentionUntil = 0, 0, 0, 0, 0
	// Told by completions, not by their events; or by the parent; or by a cancel or signal-with-start that cuts a backoff short.
	info.StickyQueue, info.StickyTimeout, info.ResetPoints = "", 0, nil
	info.CloseAttempted, info.AwaitingParent, info.FirstBackoffEnd = false, false, 0
	t := info.WFT
	info.WFT = execution.WorkflowTask{}
	if live.Info.WFT.Kind == execution.TaskNormal {
		info.WFT = execution.WorkflowTask{ScheduledID: t.ScheduledID, StartedID: t.StartedID, Attempt: t.Attempt, StartedAt: t.StartedAt,
			RequestID: t.RequestID, Identity: t.Identity, SuggestCAN: t.SuggestCAN, SuggestReasons: t.SuggestReasons, HistoryBytes: t.HistoryBytes}
	}
	reset := live.Info.LastResetTime != 0 // restarts the clocks of what it keeps
	if reset {
		info.LastResetTime, info.RunDeadline = 0, 0
	}
	info.ResetRunID = ""
	info.LedgerNext, info.TaskProblem = 0, ""
	start.RequestID, start.Namespace, start.FirstStartTime, start.Follows = "", "", 0, false
	out := &execution.State{Key: st.Key, Info: info, Start: &start, Memo: st.Memo, SearchAttributes: st.SearchAttributes}
	rows := &execution.Rows{}
	for _, a := range st.Activities.All {
		first := a.FirstSchedAt
		if reset {
			first = 0
		}
		rows.Activities = append(rows.Activities, &execution.Activity{ScheduledID: a.ScheduledID, ActivityID: a.ActivityID, Type: a.Type, Queue: a.Queue,
			FirstSchedAt: first, S2C: a.S2C, S2S: a.S2S, STC: a.STC, HB: a.HB, CancelRequested: a.CancelRequested,
			CancelEventID: a.CancelEventID, RetryPolicy: a.RetryPolicy, Priority: a.Priority})
	}
	for _, t := range st.Timers.All {
		n := *t
		if reset {
			n.FireAt = 0
		}
		rows.Timers = append(rows.Timers, &n)
	}
	for _, c := range st.Children.All {
		n := *c
		n.Outbox = 0
		rows.Children = append(rows.Children, &n)
	}
	for _, e := range st.Cancels.All {
		n := *e
		n.Outbox = 0
		rows.Cancels = append(rows.Cancels, &n)
	}
	for _, e := range st.Signals.All {
		n := *e
		n.Outbox = 0
		rows.Signals = append(rows.Signals, &n)
	}
	for _, q := range st.Requests.All {
		if q.Type == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED || q.Type == enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED || q.ID == live.Start.RequestID {
			continue // the start's or the reset's own
		}
		rows.Requests = append(rows.Requests, q)
	}
	for _, u := range st.Updates.All {
		rows.Updates = append(rows.Updates, u)
	}
	return execution.Assemble(out, rows)
}
