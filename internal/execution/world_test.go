package execution_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// fataler is what testing.TB and rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

const (
	testNamespace = ids.NamespaceID("00000000-0000-4000-8000-00000000000a")
	epoch         = clock.Nanos(1_700_000_000_000_000_000)
)

// world does for runs what the engine does, without waiting: it keeps states and a store of rows, writes what is
// durable, keeps what is not in memory only, and forgets it in a crash. Every step is checked against the rules that
// hold for all of them (check).
type world struct {
	t       fataler
	now     clock.Nanos
	limits  *execution.Limits
	ns      *execution.Namespace
	alive   bool // sticky queues are polled
	runs    map[ids.RunKey]*run
	order   []ids.RunKey // in which the runs were made
	current map[ids.WorkflowKey]ids.RunID
	store   map[string][]byte
	offers  []execution.Offer // what the task queues hold
	made    int               // runs
	replies []execution.Reply
	marks   map[string]int
	pinned  map[string]bool                                                    // messages that were sent to one run by its ID: workflow ID, "s" or "u", message ID
	seen    func(key ids.RunKey, in execution.Input, tr *execution.Transition) // watches every step; may be nil
}

// run is one run as the engine caches it.
type run struct {
	key     ids.RunKey
	st      *execution.State
	rows    []execution.Row // of transitions that were not durable
	deletes []execution.Task
	puts    []execution.Task
	events  []*historypb.HistoryEvent
	saved   int // events in the store
	notes   []execution.Note
	noted   int // notes in the store
	removed bool
}

func newWorld(t fataler) *world {
	return &world{t: t, now: epoch, limits: execution.DefaultLimits(), alive: true,
		ns:   &execution.Namespace{ID: testNamespace, Name: "default", Retention: 24 * 3600e9, Resolve: resolve},
		runs: map[ids.RunKey]*run{}, current: map[ids.WorkflowKey]ids.RunID{}, store: map[string][]byte{}, marks: map[string]int{}, pinned: map[string]bool{}}
}

func resolve(name string) (ids.NamespaceID, bool) {
	return "00000000-0000-4000-8000-00000000000b", name == "other"
}

func workflowKey(id string) ids.WorkflowKey {
	return ids.WorkflowKey{Namespace: testNamespace, Workflow: ids.WorkflowID(id)}
}

func runName(n int) ids.RunID {
	return ids.RunID(fmt.Sprintf("00000000-0000-%d000-8000-%012d", []int{4, 7}[n%2], n)) // of both layouts
}

// get is the named run, or the current one; nil if there is none.
func (w *world) get(key ids.WorkflowKey, id ids.RunID) *run {
	if id == "" {
		id = w.current[key]
	}
	if r := w.runs[key.Run(id)]; r != nil && !r.removed {
		return r
	}
	return nil
}

// step gives one input to the run it addresses and does what follows.
func (w *world) step(key ids.WorkflowKey, id ids.RunID, in execution.Input) *execution.Transition {
	w.t.Helper()
	var st *execution.State
	r := w.get(key, id)
	env := &execution.Env{Key: key.Run(id), Now: w.now, NewRunID: runName(w.made + 1), Limits: w.limits, Namespace: w.ns, StickyAlive: w.alive}
	if r != nil {
		st, env.Key = r.st, r.key
		for _, n := range execution.Needs(st, in) {
			if env.Stored == nil {
				env.Stored = map[ids.EventID]*historypb.HistoryEvent{}
			}
			env.Stored[n] = r.events[n-1]
		}
		if id == "" {
			env.Recalled = w.recall(st, in)
		}
	}
	if id != "" {
		switch in := in.(type) {
		case execution.SignalWorkflow:
			w.pinned[string(key.Workflow)+"s"+in.RequestID] = true
		case execution.UpdateWorkflow:
			w.pinned[string(key.Workflow)+"u"+in.Request.Meta.UpdateId] = true
		}
	}
	before, input := dump(st), inputBytes(in)
	tr := execution.Step(st, in, env)
	first := transitionText(tr)
	again := *env
	if second := transitionText(execution.Step(st, in, &again)); first != second {
		w.t.Fatalf("the same input gave two transitions for %T:\n%s\n%s", in, first, second)
	}
	if dump(st) != before {
		w.t.Fatalf("%T changed the state it was given", in)
	}
	if !bytes.Equal(inputBytes(in), input) {
		w.t.Fatalf("%T was changed by its step", in)
	}
	written := len(tr.Events) + len(tr.Rows) + len(tr.Put) + len(tr.Delete)
	if tr.Err != nil && !tr.Durable && written > 0 {
		w.t.Fatalf("refused %T left something behind: %s", in, first)
	}
	if a, ok := tr.Answer.(*execution.WorkflowTaskCompleted); ok && a.ResetHistoryID != 0 && (tr.Durable || written > 0) && !hasUnsent(st) {
		w.t.Fatalf("a workflow task vanished, yet something was written: %s", first)
	}
	w.apply(tr)
	if w.seen != nil {
		w.seen(env.Key, in, tr)
	}
	w.check(tr, st)
	return tr
}

// recall finds the runs that took what the step asks for, as an engine does.
func (w *world) recall(st *execution.State, in execution.Input) map[execution.Seen]*execution.State {
	found := map[execution.Seen]*execution.State{}
	for _, m := range execution.Recalls(st, in, w.limits) {
		value, ok := w.store[string(record.SeenKey(st.Key.Of(), m))]
		if !ok {
			continue
		}
		run, err := record.DecodeCurrent([]byte(value))
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		if r := w.get(st.Key.Of(), run); r != nil && run != st.Key.Run {
			found[m] = r.st
		}
	}
	return found
}

// hasUnsent tells whether an update waits for a workflow task that was not yet there.
func hasUnsent(st *execution.State) bool {
	for _, u := range st.Volatile.Updates.All {
		if u.Stage == execution.UpdateAdmitted {
			return true
		}
	}
	return false
}

// evict lets a run leave memory as the engine does: what it must not forget is written first. It tells whether it could.
func (w *world) evict(r *run) bool {
	v := &r.st.Volatile
	if v.Updates.Len()+v.Queries.Len() > 0 || v.SpecTimeoutAt != 0 {
		return false
	}
	env := &execution.Env{Key: r.key, Now: w.now, NewRunID: runName(w.made + 1), Limits: w.limits, Namespace: w.ns, StickyAlive: w.alive}
	if tr := execution.Save(r.st, env); tr != nil {
		was := r.st
		w.apply(tr)
		w.check(tr, was)
	}
	if len(r.notes) > r.noted {
		w.save(r)
	}
	if len(r.rows)+len(r.puts)+len(r.deletes) > 0 || r.saved != len(r.events) {
		w.t.Fatalf("%s: saved, yet not all of it", r.key)
	}
	r.st = w.load(r.key)
	return true
}

// apply takes a transition over, as the engine does.
func (w *world) apply(tr *execution.Transition) {
	durable := false
	for n := tr; n != nil; n = n.Successor {
		durable = durable || n.Durable || n.Remove
	}
	for n := tr; n != nil; n = n.Successor {
		for _, m := range n.Marks {
			w.marks[m]++
		}
		w.replies = append(w.replies, n.Replies...)
		w.offers = append(w.offers, n.Offers...)
		if n.Next == nil {
			continue
		}
		r := w.runs[n.Next.Key]
		if r == nil {
			r = &run{key: n.Next.Key}
			w.runs[r.key] = r
			w.order = append(w.order, r.key)
			w.made++
		}
		moved := r.st != n.Next
		r.st = n.Next
		events, err := record.DecodeEvents(n.EventBytes)
		if err != nil || len(events) != len(n.Events) {
			w.t.Fatalf("event bytes: %d events for %d: %v", len(events), len(n.Events), err)
		}
		for i := range events {
			if !proto.Equal(events[i], n.Events[i]) {
				w.t.Fatalf("event bytes differ from the event: %v", n.Events[i])
			}
		}
		r.events = append(r.events[:len(r.events):len(r.events)], events...)
		r.notes = append(r.notes[:len(r.notes):len(r.notes)], n.Notes...)
		r.rows, r.deletes, r.puts = append(r.rows, n.Rows...), append(r.deletes, n.Delete...), append(r.puts, n.Put...)
		if n.Current {
			if old := w.runs[r.key.Of().Run(w.current[r.key.Of()])]; old != nil && old != r && !old.removed {
				for m := range old.st.Seen { // as an engine does
					w.store[string(record.SeenKey(r.key.Of(), m))] = record.EncodeCurrent(old.key.Run)
				}
			}
			w.current[r.key.Of()] = r.key.Run
		}
		if durable && moved {
			w.save(r)
		}
		if n.Remove {
			w.remove(r)
		}
	}
}

// save writes everything of r to the store.
func (w *world) save(r *run) {
	for _, row := range append(r.rows, execution.Row{Kind: execution.RowInfo}) {
		if v, ok := record.EncodeRow(r.st, row); ok {
			w.store[string(record.RowKey(r.key, row))] = v
		} else {
			delete(w.store, string(record.RowKey(r.key, row)))
		}
	}
	for i := range r.deletes {
		key := string(record.TaskKey(r.key, &r.deletes[i]))
		if _, ok := w.store[key]; !ok && r.deletes[i].Kind != execution.TaskMessage {
			w.t.Fatalf("%s deletes a task that is not in the store: %+v", r.key, r.deletes[i])
		}
		delete(w.store, key)
	}
	for i := range r.puts {
		w.store[string(record.TaskKey(r.key, &r.puts[i]))] = record.EncodeTask(r.key, &r.puts[i])
	}
	r.rows, r.deletes, r.puts, r.saved, r.noted = nil, nil, nil, len(r.events), len(r.notes)
	if r.st.Volatile.Unsaved {
		st := *r.st
		st.Volatile.Unsaved = false
		r.st = &st
	}
}

// remove takes everything of r out of the store. What it counted on has to be gone by then.
func (w *world) remove(r *run) {
	r.removed = true
	for key := range w.store {
		k, ok := taskOwner(key)
		if ok && k == r.key {
			if key[0] != keyTimer {
				w.t.Fatalf("%s is removed, yet has a task: %x", r.key, key)
			}
			delete(w.store, key)
		}
		if strings.HasPrefix(key, string(record.RunPrefix(r.key))) {
			delete(w.store, key)
			if _, row, err := record.ParseRowKey([]byte(key)); err == nil {
				m, _ := execution.SeenRow(r.key.Run, row)
				if seen := string(record.SeenKey(r.key.Of(), m)); bytes.Equal(w.store[seen], record.EncodeCurrent(r.key.Run)) {
					delete(w.store, seen)
				}
			}
		}
	}
	if w.current[r.key.Of()] == r.key.Run {
		delete(w.current, r.key.Of())
	}
}

// First bytes of the task tables' keys.
const (
	keyDispatch = 0x20
	keyTimer    = 0x21
	keyOutbox   = 0x22
)

// taskOwner is the run of a task row; false for other rows. Dispatch rows tell their run by their value.
func taskOwner(key string) (ids.RunKey, bool) {
	switch key[0] {
	case keyTimer:
		k, _, err := record.ParseTimerKey([]byte(key))
		return k, err == nil
	case keyOutbox:
		k, _, err := record.ParseOutboxKey([]byte(key))
		return k, err == nil
	}
	return ids.RunKey{}, false
}

// Scan makes the store readable by record.Load.
func (w *world) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	var keys []string
	for k := range w.store {
		if k >= string(start) && (end == nil || k < string(end)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn([]byte(k), w.store[k]) {
			break
		}
	}
	return nil
}

// load reads a run back as a restarted engine would.
func (w *world) load(key ids.RunKey) *execution.State {
	st, err := record.Load(w, key, storage.PrefixEnd)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return st
}

// crash forgets what was not written. Task queues fill again from the dispatch rows.
func (w *world) crash() {
	for key, r := range w.runs {
		if r.removed {
			continue
		}
		if r.st = w.load(key); r.st == nil {
			w.t.Fatalf("%s is not in the store", key)
		}
		r.events, r.notes = r.events[:r.saved], r.notes[:r.noted]
		r.rows, r.deletes, r.puts = nil, nil, nil
	}
	w.offers, w.replies = nil, nil
	for _, k := range slices.Sorted(maps.Keys(w.store)) {
		if k[0] != keyDispatch {
			continue
		}
		o, err := record.DecodeDispatch([]byte(k), w.store[k])
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		w.offers = append(w.offers, o)
	}
}

// letter is one message that waits in the outbox.
type letter struct {
	from   ids.RunKey
	outbox int64
	msg    *execution.Message
}

// outbox is all that waits to be delivered, oldest run first.
func (w *world) outbox() []letter {
	var all []letter
	for _, key := range w.order {
		prefix := record.TaskKey(key, &execution.Task{Kind: execution.TaskMessage})
		prefix = prefix[:len(prefix)-8]
		_ = w.Scan(prefix, storage.PrefixEnd(prefix), func(k, v []byte) bool {
			from, outbox, err := record.ParseOutboxKey(k)
			m, err2 := record.DecodeMessage(v)
			if err != nil || err2 != nil {
				w.t.Fatalf("outbox row %x: %v %v", k, err, err2)
			}
			all = append(all, letter{from, outbox, m})
			return true
		})
	}
	return all
}

// deliver gives one message to its receiver and, unless lost is set, the result to its sender.
func (w *world) deliver(l letter, lost bool) {
	if answer := w.hand(l); !lost {
		answer()
	}
}

// hand gives one message to its receiver. What it returns gives the result to the sender.
func (w *world) hand(l letter) (answer func()) {
	key, id, in, ok := execution.Deliver(l.from, l.msg)
	var tr *execution.Transition
	switch {
	case !ok:
		tr = &execution.Transition{Answer: &execution.EmptyAnswer{}}
	default:
		tr = w.step(key, id, in)
	}
	back, retry := execution.Respond(l.msg, l.outbox, tr.Answer, tr.Err)
	return func() {
		if !retry && w.get(l.from.Of(), l.from.Run) != nil {
			w.step(l.from.Of(), l.from.Run, back)
		}
	}
}

// nextDeadline is the run that wants to be woken first, and when.
func (w *world) nextDeadline() (first *run, at clock.Nanos) {
	for _, key := range w.order {
		r := w.runs[key]
		if r.removed {
			continue
		}
		if d := r.st.NextDeadline(); d != 0 && (at == 0 || d < at) {
			first, at = r, d
		}
	}
	return first, at
}

// advance moves time to until and wakes every run that wants it, each at its moment.
func (w *world) advance(until clock.Nanos) {
	for {
		r, at := w.nextDeadline()
		if r == nil || at > until {
			break
		}
		w.now = max(w.now, at)
		w.step(r.key.Of(), r.key.Run, execution.TimerDue{})
		if next := r.st.NextDeadline(); !r.removed && next != 0 && next <= w.now {
			// More may be due at this very moment, but never for ever.
			for i := 0; next != 0 && next <= w.now && !r.removed; i++ {
				if i > 10 {
					w.t.Fatalf("%s: woken at %d, its deadline stays at %d", r.key, w.now, next)
				}
				w.step(r.key.Of(), r.key.Run, execution.TimerDue{})
				next = r.st.NextDeadline()
			}
		}
	}
	w.now = max(w.now, until)
}

// allRows names every row that a state has.
func allRows(st *execution.State) []execution.Row {
	rows := []execution.Row{{Kind: execution.RowInfo}, {Kind: execution.RowStart}, {Kind: execution.RowMemo}, {Kind: execution.RowSearchAttributes}}
	number := func(kind execution.RowKind, n int64) { rows = append(rows, execution.Row{Kind: kind, Number: n}) }
	text := func(kind execution.RowKind, s string) { rows = append(rows, execution.Row{Kind: kind, Text: s}) }
	for k := range st.Activities.All {
		number(execution.RowActivity, k)
	}
	for k := range st.Timers.All {
		text(execution.RowTimer, k)
	}
	for k := range st.Children.All {
		number(execution.RowChild, k)
	}
	for k := range st.Cancels.All {
		number(execution.RowCancel, k)
	}
	for k := range st.Signals.All {
		number(execution.RowSignal, k)
	}
	for k := range st.Requests.All {
		text(execution.RowRequest, k)
	}
	for k := range st.Updates.All {
		text(execution.RowUpdate, k)
	}
	for k := range st.Buffered.All {
		number(execution.RowBuffered, k)
	}
	return rows
}

// encoded is every row of st.
func encoded(st *execution.State) map[string][]byte {
	rows := map[string][]byte{}
	for _, row := range allRows(st) {
		if v, ok := record.EncodeRow(st, row); ok {
			rows[string(record.RowKey(st.Key, row))] = v
		}
	}
	return rows
}

// dump is everything of a state, volatile parts too.
func dump(st *execution.State) string {
	if st == nil {
		return ""
	}
	var b strings.Builder
	rows := encoded(st)
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "%x=%x\n", k, rows[k])
	}
	fmt.Fprintf(&b, "wft %+v\n", st.Info.WFT)
	for _, u := range st.Volatile.Updates.All {
		body, _ := proto.MarshalOptions{Deterministic: true}.Marshal(u.Request)
		fmt.Fprintf(&b, "update %s %d %d %x %d %d %v\n", u.ID, u.Number, u.Stage, body, u.Size, u.SentSeq, u.Waiters)
	}
	for _, q := range st.Volatile.Queries.All {
		fmt.Fprintf(&b, "query %s %d %d\n", q.ID, q.Waiter, q.Seq)
	}
	fmt.Fprintf(&b, "volatile %d %v %d, deadline %d\n", st.Volatile.NextNum, st.Volatile.Unsaved, st.Volatile.SpecTimeoutAt, st.NextDeadline())
	return b.String()
}

// transitionText is everything of a transition that must be the same each time.
func transitionText(tr *execution.Transition) string {
	var b strings.Builder
	for n := tr; n != nil; n = n.Successor {
		fmt.Fprintf(&b, "%s%x %v %v %v %v %v %v %v\n", dump(n.Next), n.EventBytes, n.Rows, n.Delete, n.Durable, n.Current, n.Index, n.Remove, n.Marks)
		for _, t := range n.Put {
			fmt.Fprintf(&b, "put %x=%x\n", record.TaskKey(n.Next.Key, &t), record.EncodeTask(n.Next.Key, &t))
		}
		for _, o := range n.Offers {
			fmt.Fprintf(&b, "offer %x %v\n", record.TaskKey(n.Next.Key, &o.Task), o.Volatile)
		}
		for _, r := range n.Replies {
			fmt.Fprintf(&b, "reply %d %T %v\n", r.Waiter, r.Answer, r.Err)
		}
		fmt.Fprintf(&b, "answer %T %v\n", n.Answer, n.Err)
	}
	return b.String()
}

// inputBytes is what a step must not change in its input.
func inputBytes(in execution.Input) []byte {
	var m proto.Message
	switch in := in.(type) {
	case execution.StartWorkflow:
		m = in.Request
	case execution.CompleteWorkflowTask:
		m = in.Request
	case execution.UpdateWorkflow:
		m = in.Request
	case execution.ChildClosed:
		m = in.Event
	default:
		return nil
	}
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return b
}
