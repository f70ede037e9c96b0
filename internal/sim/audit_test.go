package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/historycheck"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// First bytes of keys, as docs/format has them.
const (
	tableRun, tableCurrent, tableHistory      = 0x10, 0x11, 0x12
	tableSeen, tableLedger                    = 0x13, 0x14
	tableRun7, tableHistory7, tableLedger7    = 0x15, 0x16, 0x17 // of runs in order
	tableRuns                                 = 0x18
	tableDispatch, tableTimer, tableOutboxRow = 0x20, 0x21, 0x22
	tableIndex                                = 0x30
)

// audit reads every batch that becomes durable, as a second bookkeeper. It keeps each run's history for ever, knows
// which rows there are, and checks after each batch what must hold of the runs it touched: what a crash would leave.
type audit struct {
	s       *sim
	runs    map[ids.RunKey]*auditRun
	order   []*auditRun // as they came
	rows    map[string]*auditRun
	current map[ids.WorkflowKey]ids.RunID
	batches int
	checks  int

	recalled int // messages that a run took which is not the current one
}

type auditRun struct {
	key     ids.RunKey
	events  []*historypb.HistoryEvent
	state   *execution.State // newest durable one; stays after the removal
	tasks   map[string][]byte
	index   map[string]struct{}
	removed bool
	checked int // events at the last full check
}

func newAudit(s *sim) *audit {
	return &audit{s: s, runs: map[ids.RunKey]*auditRun{}, rows: map[string]*auditRun{}, current: map[ids.WorkflowKey]ids.RunID{}}
}

func (a *audit) run(k ids.RunKey) *auditRun {
	r := a.runs[k]
	if r == nil {
		r = &auditRun{key: k, tasks: map[string][]byte{}, index: map[string]struct{}{}}
		a.runs[k] = r
		a.order = append(a.order, r)
	}
	return r
}

// applied books a batch.
func (a *audit) applied(b *storage.Batch) {
	a.batches++
	var touched []*auditRun
	touch := func(r *auditRun) {
		if !slices.Contains(touched, r) {
			touched = append(touched, r)
		}
	}
	for i := range b.Ops {
		op := &b.Ops[i]
		a.s.mix(op.Key)
		a.s.mix(op.Value)
		r, err := a.book(op)
		if err != nil {
			a.s.fail("batch: key %x: %v", op.Key, err)
			return
		}
		if r != nil {
			touch(r)
		}
	}
	for _, r := range touched {
		a.reload(r)
		a.check(r, false)
	}
}

// book enters one operation and tells whose it is.
func (a *audit) book(op *storage.Op) (*auditRun, error) {
	switch op.Key[0] {
	case tableRun, tableRun7:
		k, _, err := record.ParseRowKey(op.Key)
		return a.run(k), err
	case tableCurrent:
		return nil, nil // compared at rest
	case tableSeen:
		_, _, err := record.ParseSeenKey(op.Key)
		if err == nil && !op.Delete {
			_, err = record.DecodeCurrent(op.Value)
		}
		return nil, err
	case tableRuns:
		return nil, nil // compared at rest
	case tableLedger, tableLedger7:
		return a.bookNotes(op)
	case tableHistory, tableHistory7:
		return a.bookEvents(op)
	case tableTimer:
		k, _, err := record.ParseTimerKey(op.Key)
		return a.bookTask(op, k, err)
	case tableOutboxRow:
		k, _, err := record.ParseOutboxKey(op.Key)
		return a.bookTask(op, k, err)
	case tableDispatch:
		if op.Delete {
			r := a.rows[string(op.Key)]
			if r == nil {
				return nil, nil
			}
			return a.bookTask(op, r.key, nil)
		}
		o, err := record.DecodeDispatch(op.Key, op.Value)
		if err != nil {
			return nil, err
		}
		return a.bookTask(op, runOf(o), nil)
	case tableIndex:
		return nil, nil
	}
	return nil, fmt.Errorf("unknown table")
}

// bookNotes wants notes to come in the order of their numbers. A crash may take back those of a transition that was not
// durable, and their numbers are used again.
func (a *audit) bookNotes(op *storage.Op) (*auditRun, error) {
	k, err := record.ParseLedgerKey(op.Key)
	if err != nil || op.Delete {
		return nil, err
	}
	notes, err := record.DecodeNotes(op.Value)
	if err != nil {
		return nil, err
	}
	for i, n := range notes {
		if n.At == 0 || n.Kind == 0 || n.Stage == 0 || i > 0 && n.Number <= notes[i-1].Number {
			return nil, fmt.Errorf("note %+v of %s", n, short(k))
		}
	}
	return nil, nil
}

func (a *audit) bookTask(op *storage.Op, k ids.RunKey, err error) (*auditRun, error) {
	if err != nil {
		return nil, err
	}
	r, known := a.runs[k], true
	if r == nil {
		if op.Delete {
			return nil, nil
		}
		r, known = a.run(k), false
	}
	_ = known
	if op.Delete {
		delete(r.tasks, string(op.Key))
		delete(a.rows, string(op.Key))
	} else {
		r.tasks[string(op.Key)] = bytes.Clone(op.Value)
		a.rows[string(op.Key)] = r
	}
	return r, nil
}

// bookEvents keeps what is appended. Nothing else may happen to a history until the run's time is over.
func (a *audit) bookEvents(op *storage.Op) (*auditRun, error) {
	k, first, err := record.ParseHistoryKey(op.Key)
	if err != nil {
		return nil, err
	}
	r := a.run(k)
	if op.Delete {
		if !a.over(r) {
			return nil, fmt.Errorf("history of %s is deleted too early", k)
		}
		return r, nil
	}
	if first != int64(len(r.events))+1 {
		return nil, fmt.Errorf("events from %d on, but %d are there", first, len(r.events))
	}
	events, err := record.DecodeEvents(bytes.Clone(op.Value))
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("a row without events")
	}
	if a.s.verbose {
		for _, ev := range events {
			a.s.say("    %s %d %s", short(k), ev.EventId, strings.TrimPrefix(ev.EventType.String(), "EVENT_TYPE_"))
		}
	}
	r.events = append(r.events, events...)
	return r, nil
}

func short(k ids.RunKey) string {
	if len(k.Run) > 12 {
		return string(k.Workflow) + "/" + strings.TrimLeft(string(k.Run[24:]), "0")
	}
	return string(k.Workflow)
}

// over tells whether the run may be removed by now.
func (a *audit) over(r *auditRun) bool {
	return r.removed || r.state != nil && !r.state.Open() && r.state.Info.RetentionUntil != 0 && r.state.Info.RetentionUntil <= a.s.now()
}

func (a *audit) reload(r *auditRun) {
	st, err := record.Load(a.s.disk.mem, r.key, storage.PrefixEnd)
	switch {
	case err != nil:
		a.s.fail("%s: %v", short(r.key), err)
	case st != nil:
		if r.removed {
			a.s.fail("%s came back after its removal", short(r.key))
		}
		r.state = st
	case r.state == nil:
		a.s.fail("%s has rows, but no state", short(r.key))
	default:
		if !a.over(r) {
			a.s.fail("%s was removed too early", short(r.key))
		}
		r.removed = true
	}
}

// check judges one run. full: the history too, whether or not it has grown.
func (a *audit) check(r *auditRun, full bool) {
	if a.s.failure != "" || r.state == nil {
		return
	}
	if r.removed {
		if len(r.tasks) > 0 {
			a.s.fail("%s is removed, but leaves %s", short(r.key), taskNames(r))
		}
		return
	}
	if a.over(r) {
		return // may be half gone
	}
	a.checks++
	a.checkTasks(r)
	a.checkAwake(r)
	if next := r.state.Info.NextEventID; next != int64(len(r.events))+1 {
		a.s.fail("%s: next event is %d, history has %d", short(r.key), next, len(r.events))
		return
	}
	if full || len(r.events) >= r.checked+1 {
		r.checked = len(r.events)
		a.checkHistory(r)
		a.checkRebuild(r)
	}
}

// checkAll judges every run at a moment of rest.
func (a *audit) checkAll() {
	for _, r := range a.order {
		a.check(r, true)
	}
	for k, r := range a.rows {
		if _, ok := r.tasks[k]; r.state == nil || !ok {
			a.s.fail("row %x belongs to nobody", k)
		}
	}
	a.checkPointers()
	a.checkIndex()
	a.checkRuns()
	a.checkSeen()
}

// checkRuns: who knows a workflow finds all of its runs.
func (a *audit) checkRuns() {
	found := map[ids.RunKey]bool{}
	workflows := map[ids.WorkflowKey]bool{}
	for _, r := range a.order {
		if workflows[r.key.Of()] {
			continue
		}
		workflows[r.key.Of()] = true
		err := record.ScanRuns(a.s.disk.mem, r.key.Of(), storage.PrefixEnd, func(k ids.RunKey) bool { found[k] = true; return true })
		if err != nil {
			a.s.fail("runs of %s: %v", r.key.Workflow, err)
		}
	}
	for _, r := range a.order {
		if !found[r.key] && !a.over(r) {
			a.s.fail("%s is not among the runs of its workflow", short(r.key))
		}
		delete(found, r.key)
	}
	for k := range found {
		a.s.fail("%s is among the runs of its workflow and nowhere else", short(k))
	}
	a.scan([]byte{tableRuns}, func(key, _ []byte) {
		k, err := record.ParseRunsKey(key)
		if r := a.runs[k]; err != nil || r == nil || r.removed {
			a.s.fail("row %x is of a run that is gone: %v", key, err)
		}
		if value, _ := a.s.disk.mem.Get(record.CurrentKey(k.Of())); bytes.Equal(value, record.EncodeCurrent(k.Run)) {
			a.s.fail("row %x is of the current run", key)
		}
	})
}

// checkSeen: what a run took is found by workflow ID once the run is not the current one, and nothing else is.
func (a *audit) checkSeen() {
	for _, r := range a.order {
		value, _ := a.s.disk.mem.Get(record.CurrentKey(r.key.Of()))
		if r.removed || r.state == nil || a.over(r) || bytes.Equal(value, record.EncodeCurrent(r.key.Run)) {
			continue
		}
		for m := range r.state.Seen {
			if _, err := a.s.disk.mem.Get(record.SeenKey(r.key.Of(), m)); err != nil {
				a.s.fail("%s took %v, which later runs cannot know: %v", short(r.key), m, err)
			}
			a.recalled++
		}
	}
	a.scan([]byte{tableSeen}, func(key, value []byte) {
		k, m, err := record.ParseSeenKey(key)
		run, err2 := record.DecodeCurrent(value)
		if r := a.runs[k.Run(run)]; err != nil || err2 != nil || r == nil || r.removed || !a.over(r) && !r.state.Took(m) {
			a.s.fail("row %x names %s, which did not take %v: %v, %v", key, run, m, err, err2)
		}
	})
}

// checkPointers: each workflow's current run is its last one, and only there.
func (a *audit) checkPointers() {
	last := map[ids.WorkflowKey]*auditRun{}
	for _, r := range a.order {
		if !r.removed {
			last[r.key.Of()] = r
		}
	}
	seen := map[string]bool{}
	for k, r := range last {
		value, err := a.s.disk.mem.Get(record.CurrentKey(k))
		seen[string(record.CurrentKey(k))] = true
		if err != nil {
			if !a.over(r) {
				a.s.fail("%s has no current run: %v", k.Workflow, err)
			}
			continue
		}
		if run, err := record.DecodeCurrent(value); err != nil || run != r.key.Run {
			a.s.fail("the current run of %s is %s, the last one is %s", k.Workflow, run, r.key.Run)
		}
	}
	a.scan([]byte{tableCurrent}, func(key, _ []byte) {
		if !seen[string(key)] {
			a.s.fail("pointer %x points to a run that is gone", key)
		}
	})
}

// checkIndex: each run has one row in the index, where its state says.
func (a *audit) checkIndex() {
	have := map[string]bool{}
	a.scan([]byte{tableIndex}, func(key, _ []byte) { have[string(key)] = true })
	for _, r := range a.order {
		if r.removed || r.state == nil {
			continue
		}
		key := record.IndexKey(namespace, r.key.Run, false, r.state.Start.StartTime)
		if !r.state.Open() {
			key = record.IndexKey(namespace, r.key.Run, true, r.state.Info.CloseTime)
		}
		if !have[string(key)] && !a.over(r) {
			a.s.fail("%s is not in the index", short(r.key))
		}
		delete(have, string(key))
	}
	for key := range have {
		a.s.fail("index row %x is of nobody", key)
	}
}

func (a *audit) scan(prefix []byte, fn func(key, value []byte)) {
	_ = a.s.disk.mem.Scan(prefix, storage.PrefixEnd(prefix), func(key, value []byte) bool { fn(key, value); return true })
}

func taskNames(r *auditRun) string {
	var names []string
	for k, v := range r.tasks {
		switch k[0] {
		case tableDispatch:
			o, _ := record.DecodeDispatch([]byte(k), v)
			names = append(names, fmt.Sprintf("dispatch %+v", o.Task))
		case tableTimer:
			_, at, _ := record.ParseTimerKey([]byte(k))
			names = append(names, fmt.Sprintf("timer %s", at.Sub(genesis)))
		default:
			_, n, _ := record.ParseOutboxKey([]byte(k))
			m, _ := record.DecodeMessage(v)
			names = append(names, fmt.Sprintf("message %d kind %d to %s", n, m.Kind, m.To.Workflow))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// checkTasks: the rows beside the state are exactly those that the state tells of.
func (a *audit) checkTasks(r *auditRun) {
	st := r.state
	want := map[string]bool{}
	add := func(t execution.Task) { want[string(record.TaskKey(r.key, &t))] = true }
	if t := &st.Info.WFT; t.Dispatched {
		add(execution.Task{Kind: execution.TaskWorkflow, Queue: t.Queue, At: t.ScheduledAt, Seq: t.Seq, Priority: st.Start.PriorityKey})
	}
	for _, act := range st.Activities.All {
		if act.Dispatched {
			add(execution.Task{Kind: execution.TaskActivity, Queue: act.Queue, At: act.ScheduledAt, ScheduledID: act.ScheduledID, Stamp: act.Stamp, Priority: st.Start.PriorityKey})
		}
	}
	if at := st.Info.TimerRow; at != 0 {
		add(execution.Task{Kind: execution.TaskTimer, At: at})
	}
	if next := st.NextDeadline(); next != 0 && (st.Info.TimerRow == 0 || st.Info.TimerRow > next) {
		a.s.fail("%s: timer row %s is later than the deadline %s", short(r.key), moment(st.Info.TimerRow), moment(next))
	}
	asked := map[int64]string{}
	for _, c := range st.Children.All {
		asked[c.Outbox] = "child " + string(c.WorkflowID)
	}
	for _, e := range st.Signals.All {
		asked[e.Outbox] = "signal to " + string(e.WorkflowID)
	}
	for _, e := range st.Cancels.All {
		asked[e.Outbox] = "cancel of " + string(e.WorkflowID)
	}
	delete(asked, 0)
	for k, v := range r.tasks {
		if k[0] != tableOutboxRow {
			if !want[k] {
				a.s.fail("%s: a row that its state does not know: has %s, state: task %+v, timer row %s", short(r.key), taskNames(r), st.Info.WFT, moment(st.Info.TimerRow))
				return
			}
			delete(want, k)
			continue
		}
		_, n, _ := record.ParseOutboxKey([]byte(k))
		m, err := record.DecodeMessage(v)
		if err != nil {
			a.s.fail("%s: message %d: %v", short(r.key), n, err)
			return
		}
		if asked[n] == "" && (m.Kind == execution.MessageStartChild || m.Kind == execution.MessageSignal || m.Kind == execution.MessageCancel) {
			a.s.fail("%s: nobody waits for message %d of kind %d", short(r.key), n, m.Kind)
			return
		}
		delete(asked, n)
	}
	for k := range want {
		a.s.fail("%s: the state counts on row %x, which is not there; has %s", short(r.key), k, taskNames(r))
	}
	for n, what := range asked {
		a.s.fail("%s: waits for %s, but message %d is not in the outbox", short(r.key), what, n)
	}
}

func moment(at clock.Nanos) string {
	if at == 0 {
		return "never"
	}
	return at.Sub(genesis).String()
}

// checkAwake: a run that was loaded from here would not sleep for ever.
func (a *audit) checkAwake(r *auditRun) {
	st := r.state
	t := &st.Info.WFT
	switch {
	case !st.Open():
		if t.Pending() || st.Activities.Len()+st.Timers.Len()+st.Children.Len()+st.Cancels.Len()+st.Signals.Len()+st.Buffered.Len() > 0 {
			a.s.fail("%s is closed, yet has something pending", short(r.key))
		}
		return
	case st.Buffered.Len() > 0 && !t.Started():
		a.s.fail("%s: events are buffered without a started workflow task", short(r.key))
	case t.Pending() && !t.Started() && !t.Dispatched:
		a.s.fail("%s: workflow task %d is scheduled, but no row offers it", short(r.key), t.ScheduledID)
	case t.Started() && (st.NextDeadline() == 0 || st.NextDeadline() > t.StartedAt.Add(t.Timeout)):
		a.s.fail("%s: the started workflow task never times out", short(r.key))
	}
	for _, act := range st.Activities.All {
		if act.StartedAt == 0 && !act.Dispatched && (st.NextDeadline() == 0 || st.NextDeadline() > act.ScheduledAt) {
			a.s.fail("%s: nothing dispatches activity %d", short(r.key), act.ScheduledID)
		}
	}
}

func (a *audit) checkHistory(r *auditRun) {
	o := historycheck.Options{AtRest: true, UntypedSearchAttributes: true, RunID: string(r.key.Run)}
	judge := o.CheckClosed
	if r.state.Open() {
		judge = o.CheckPrefix
	}
	if err := judge(r.events); err != nil {
		a.s.fail("%s: %v\n%s", short(r.key), err, storyOf(r.events))
	}
}

func storyOf(events []*historypb.HistoryEvent) string {
	var b strings.Builder
	for _, ev := range events[max(0, len(events)-40):] {
		fmt.Fprintf(&b, "    %d %s\n", ev.EventId, strings.TrimPrefix(ev.EventType.String(), "EVENT_TYPE_"))
	}
	return b.String()
}

// checkRebuild: the history alone leads to the stored state, but for what no event tells (told).
func (a *audit) checkRebuild(r *auditRun) {
	if r.state.Open() && r.state.Buffered.Len() > 0 {
		return // what is buffered counts in the state before it is in history
	}
	again, err := execution.Rebuild(r.key, r.events)
	if err != nil {
		a.s.fail("%v", err)
		return
	}
	if diff := differ(told(again, r.state), told(r.state, r.state)); diff != "" {
		a.s.fail("%s: history leads to another state: %s\n%s", short(r.key), diff, storyOf(r.events))
	}
}

// open counts the runs that are not closed.
func (a *audit) open() int {
	n := 0
	for _, r := range a.order {
		if r.state != nil && r.state.Open() {
			n++
		}
	}
	return n
}

// settled tells that of closed runs nothing is left but the timer of their retention.
func (a *audit) settled() bool {
	for _, r := range a.order {
		for k := range r.tasks {
			if k[0] != tableTimer {
				return false
			}
		}
	}
	return a.s.node != nil && len(a.s.node.writes) == 0
}

// empty tells that nothing of any run is left in the store.
func (a *audit) empty() bool {
	for _, r := range a.order {
		if !r.removed {
			return false
		}
	}
	empty := true
	_ = a.s.disk.mem.Scan(nil, nil, func(_, _ []byte) bool { empty = false; return false })
	return empty
}

func (a *audit) leftovers() string {
	var left []string
	a.scan([]byte{}, func(key, _ []byte) {
		if len(left) < 8 {
			left = append(left, fmt.Sprintf("%x", key))
		}
	})
	for _, r := range a.order {
		if !r.removed {
			left = append(left, fmt.Sprintf("%s %s until %s rows %s", short(r.key), r.state.Info.Status, moment(r.state.Info.RetentionUntil), taskNames(r)))
		}
	}
	return strings.Join(left, "\n  ")
}

func (a *audit) describeOpen() []string {
	var out []string
	for _, r := range a.order {
		if r.state != nil && (r.state.Open() || !r.removed && len(r.tasks) > 1) {
			st := r.state
			out = append(out, fmt.Sprintf("%s type %s task %+v, %d activities, %d timers, %d children, %d signals, %d cancels, backoff %s, awaits parent %v, deadline %s, rows: %s\n%s",
				short(r.key), st.Start.WorkflowType, st.Info.WFT, st.Activities.Len(), st.Timers.Len(), st.Children.Len(), st.Signals.Len(), st.Cancels.Len(),
				moment(st.Info.FirstBackoffEnd), st.Info.AwaitingParent, moment(st.NextDeadline()), taskNames(r), storyOf(r.events[max(0, len(r.events)-12):])))
		}
	}
	return out
}

// told is st without what no event tells; live is the state that came about step by step.
func told(st, live *execution.State) *execution.State {
	info, start := st.Info, *st.Start
	// The driver's books, and attempts that leave no event.
	info.Transitions, info.WFTSeq, info.WFTFailures, info.NextAttempt = 0, 0, 0, 0
	info.NextBuffered, info.BufferedBytes, info.TimerRow, info.NextOutbox, info.RetentionUntil = 0, 0, 0, 0, 0
	// Told by completions and not by their events, by the parent, or by what cuts a backoff short.
	info.StickyQueue, info.StickyTimeout, info.ResetPoints = "", 0, nil
	info.CloseAttempted, info.AwaitingParent, info.FirstBackoffEnd = false, false, 0
	if t := info.WFT; live.Info.WFT.Kind == execution.TaskNormal {
		t.Seq, t.Kind, t.Queue, t.Sticky, t.ScheduledAt, t.OriginalScheduledAt, t.Timeout, t.Dispatched = 0, 0, "", false, 0, 0, 0, false
		info.WFT = t
	} else {
		info.WFT = execution.WorkflowTask{}
	}
	info.LedgerNext, info.TaskProblem = 0, ""
	start.RequestID, start.Namespace, start.FirstStartTime, start.Follows = "", "", 0, false
	out := &execution.State{Key: st.Key, Info: info, Start: &start, Memo: st.Memo, SearchAttributes: st.SearchAttributes}
	rows := &execution.Rows{}
	for _, act := range st.Activities.All {
		n := execution.Activity{ScheduledID: act.ScheduledID, ActivityID: act.ActivityID, Type: act.Type, Queue: act.Queue,
			FirstSchedAt: act.FirstSchedAt, S2C: act.S2C, S2S: act.S2S, STC: act.STC, HB: act.HB,
			CancelRequested: act.CancelRequested, CancelEventID: act.CancelEventID, RetryPolicy: act.RetryPolicy, Priority: act.Priority}
		rows.Activities = append(rows.Activities, &n)
	}
	for _, t := range st.Timers.All {
		rows.Timers = append(rows.Timers, t)
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

// encoded is every row of st.
func encoded(st *execution.State) map[execution.Row][]byte {
	rows := map[execution.Row][]byte{}
	add := func(kind execution.RowKind, number int64, text string) {
		row := execution.Row{Kind: kind, Number: number, Text: text}
		if v, ok := record.EncodeRow(st, row); ok {
			rows[row] = v
		}
	}
	for kind := execution.RowInfo; kind <= execution.RowSearchAttributes; kind++ {
		add(kind, 0, "")
	}
	for k := range st.Activities.All {
		add(execution.RowActivity, k, "")
	}
	for k := range st.Timers.All {
		add(execution.RowTimer, 0, k)
	}
	for k := range st.Children.All {
		add(execution.RowChild, k, "")
	}
	for k := range st.Cancels.All {
		add(execution.RowCancel, k, "")
	}
	for k := range st.Signals.All {
		add(execution.RowSignal, k, "")
	}
	for k := range st.Requests.All {
		add(execution.RowRequest, 0, k)
	}
	for k := range st.Updates.All {
		add(execution.RowUpdate, 0, k)
	}
	return rows
}

// differ names the rows in which two states differ; empty: none.
func differ(have, want *execution.State) string {
	h, w := encoded(have), encoded(want)
	var out []string
	for row, v := range w {
		if !bytes.Equal(h[row], v) {
			out = append(out, fmt.Sprintf("row %v", row))
			if row.Kind == execution.RowInfo {
				out = append(out, fmt.Sprintf("\n  rebuilt %+v\n  stored  %+v\n", have.Info, want.Info))
			}
		}
	}
	for row := range h {
		if _, ok := w[row]; !ok {
			out = append(out, fmt.Sprintf("extra row %v", row))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// sameEvent tells whether ev is the run's event of that number.
func (r *auditRun) sameEvent(ev *historypb.HistoryEvent) bool {
	return ev.EventId <= int64(len(r.events)) && proto.Equal(r.events[ev.EventId-1], ev)
}
