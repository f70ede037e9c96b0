package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// batch gathers what becomes durable together. It keeps states rather than bytes: a run that changes a hundred times
// while the batch before is being written is encoded once, when the batch is sealed.
type batch struct {
	seq      uint64
	drafts   []*draft
	ops      []storage.Op // after those of the drafts; pointers and blind deletions
	messages []message
	effects  []effect
	bytes    int // estimate, for the bound
	out      storage.Batch
	written  int // bytes of out
}

// draft is one run's part of a batch.
type draft struct {
	entry  *entry
	state  *execution.State // as of the last staging
	rows   []execution.Row
	tasks  []taskOp
	notes  []execution.Note
	first  ids.EventID
	events []byte
	shared bool // events is a transition's own slice
	index  bool
}

// message is an outbox row's fate, with its run.
type message struct {
	run ids.RunKey
	op  taskOp
}

// effect is what leaves once its batch is durable.
type effect struct {
	call    *call
	answer  any
	err     error
	replies []execution.Reply
	offers  []execution.Offer
	seen    []sight
	do      func()
}

// sight is how much of a run's history its watchers may know of.
type sight struct {
	run  ids.RunKey
	next ids.EventID
	open bool
}

func (b *batch) empty() bool { return len(b.drafts) == 0 && len(b.ops) == 0 }

// reuse empties b.
func (b *batch) reuse(seq uint64) *batch {
	clear(b.drafts)
	clear(b.ops)
	clear(b.messages)
	clear(b.effects)
	clear(b.out.Ops)
	if cap(b.ops) > keptOps { // a run was succeeded that had taken very many messages
		b.ops, b.out.Ops = nil, nil
	}
	*b = batch{
		seq: seq, drafts: b.drafts[:0], ops: b.ops[:0], messages: b.messages[:0], effects: b.effects[:0],
		out: storage.Batch{Ops: b.out.Ops[:0]},
	}
	return b
}

const keptOps = 8192 // room for operations that a batch keeps

const keptNotes = 8 // room for notes that an entry keeps between batches

const opBytes = 256 // what a row or task is taken for before it is encoded

// save stages everything of e that the store does not have.
func (s *Shard) save(e *entry) {
	if e.state.Volatile.Unsaved {
		saved := *e.state
		saved.Volatile.Unsaved = false
		e.state = &saved
	}
	b, d := s.open, e.draft
	if d == nil {
		d = &draft{entry: e}
		b.drafts = append(b.drafts, d)
		b.bytes += opBytes
		e.draft = d
	}
	d.state = e.state
	d.index = d.index || e.index
	d.rows = append(d.rows, e.rows...)
	d.tasks = append(d.tasks, e.tasks...)
	d.notes = append(d.notes, e.notes...)
	b.bytes += opBytes * (len(e.rows) + len(e.tasks) + len(e.notes))
	for _, op := range e.tasks {
		if op.task.Kind == execution.TaskMessage {
			b.messages = append(b.messages, message{e.key, op})
		}
	}
	for _, c := range e.recent[e.unsaved:] {
		d.append(c)
		b.bytes += len(c.bytes)
	}
	e.unsaved = len(e.recent)
	clear(e.tasks)
	e.rows, e.tasks, e.notes, e.index, e.lazy = e.rows[:0], e.tasks[:0], e.notes[:0], false, false
	if cap(e.notes) > keptNotes {
		e.notes = nil
	}
	e.staged = b.seq
}

func (d *draft) append(c chunk) {
	switch {
	case d.events == nil:
		d.first, d.events, d.shared = c.first, c.bytes, true
	case d.shared:
		d.events, d.shared = slices.Concat(d.events, c.bytes), false
	default:
		d.events = append(d.events, c.bytes...)
	}
}

// seal encodes the batch.
func (b *batch) seal(core *Core, l *execution.Limits, fence storage.Fence) *storage.Batch {
	b.out.Fence = fence
	for _, d := range b.drafts {
		d.encode(&b.out, core, l)
		d.entry.draft = nil
	}
	b.out.Ops = append(b.out.Ops, b.ops...)
	for i := range b.out.Ops {
		b.written += len(b.out.Ops[i].Key) + len(b.out.Ops[i].Value)
	}
	return &b.out
}

func (d *draft) encode(out *storage.Batch, core *Core, l *execution.Limits) {
	k, st := d.entry.key, d.state
	d.rows = append(d.rows, execution.Row{Kind: execution.RowInfo})
	slices.SortFunc(d.rows, compareRows)
	for _, row := range slices.Compact(d.rows) {
		if value, ok := record.EncodeRow(st, row); ok {
			out.Set(record.RowKey(k, row), value)
		} else {
			out.Delete(record.RowKey(k, row))
		}
	}
	if len(d.events) > 0 {
		out.Set(record.HistoryKey(k, d.first), d.events)
	}
	for i := range d.tasks {
		op := &d.tasks[i]
		if op.remove {
			out.Delete(record.TaskKey(k, &op.task))
		} else {
			out.Set(record.TaskKey(k, &op.task), record.EncodeTask(k, &op.task))
		}
	}
	d.encodeNotes(out, l.LedgerNotes)
	if d.index {
		d.encodeIndex(out, core)
	}
}

// encodeNotes writes the ledger: what one batch has to say of a message goes into one row. A row has the place of its
// last note in a ring of max places, so that the newest overwrites the oldest and nothing has to be counted or removed.
func (d *draft) encodeNotes(out *storage.Batch, max int) {
	switch len(d.notes) {
	case 0:
		return
	case 1:
		out.Set(record.LedgerKey(d.entry.key, d.notes[0].Number, max), record.EncodeNotes(d.notes))
		return
	}
	type message struct {
		kind execution.NoteKind
		id   string
	}
	var rows [][]execution.Note
	of := make(map[message]int)
	for _, n := range d.notes[len(d.notes)-min(len(d.notes), max):] {
		m := message{n.Kind, n.ID}
		i, known := of[m]
		if !known || n.ID == "" {
			i = len(rows)
			rows = append(rows, nil)
			of[m] = i
		}
		rows[i] = append(rows[i], n)
	}
	for _, notes := range rows {
		out.Set(record.LedgerKey(d.entry.key, notes[len(notes)-1].Number, max), record.EncodeNotes(notes))
	}
}

func compareRows(a, b execution.Row) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Text, b.Text))
}

func (d *draft) encodeIndex(out *storage.Batch, core *Core) {
	open, closed := indexKeys(d.state)
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(core.Summary(d.state))
	if err != nil {
		panic(fmt.Sprintf("engine: encode the index row of %s: %v", d.state.Key, err))
	}
	if closed == nil {
		out.Set(open, value)
		return
	}
	out.Delete(open)
	out.Set(closed, value)
}

// indexKeys are where a run's visibility row is while it is open and once it is closed; closed is nil while it is open.
func indexKeys(st *execution.State) (open, closed []byte) {
	k := st.Key
	open = record.IndexKey(k.Namespace, k.Run, false, st.Start.StartTime)
	if !st.Open() {
		closed = record.IndexKey(k.Namespace, k.Run, true, st.Info.CloseTime)
	}
	return open, closed
}

// setCurrent stages the pointer to the current run; an empty run removes it.
func (s *Shard) setCurrent(wf *workflow, run ids.RunID) {
	wf.current, wf.known = run, true
	op := storage.Op{Key: record.CurrentKey(wf.key), Delete: run == ""}
	if run != "" {
		op.Value = record.EncodeCurrent(run)
	}
	s.stage(op)
	if run != "" {
		s.met(op.Key)
	}
}

// succeed stages what is looked up by workflow ID of a run that is about to be the current one no longer: that it exists, and
// what it took, which is all that it ever takes. See docs/adr/0018-current-run.md.
func (s *Shard) succeed(e *entry) {
	if e.state == nil || e.gone {
		return
	}
	if record.InOrder(e.key.Run) {
		s.stage(storage.Op{Key: record.RunsKey(e.key)})
	}
	if s.opts.Limits.ForgetRuns {
		return
	}
	value := record.EncodeCurrent(e.key.Run)
	for m := range e.state.Seen {
		s.stage(storage.Op{Key: record.SeenKey(e.key.Of(), m), Value: value})
		if e.wf.removals > 0 {
			if e.wf.written == nil {
				e.wf.written = make(map[execution.Seen]retaking)
			}
			e.wf.written[m] = retaking{e.key.Run, s.open.seq}
		}
	}
}

// stage adds an operation that is not part of a run's draft. A later one of the same key wins.
func (s *Shard) stage(op storage.Op) {
	s.open.bytes += len(op.Key) + len(op.Value)
	if n := len(s.open.ops); n > 0 && bytes.Equal(s.open.ops[n-1].Key, op.Key) {
		s.open.ops[n-1] = op
		return
	}
	s.open.ops = append(s.open.ops, op)
}

// newest is the newest batch with anything in it.
func (s *Shard) newest() uint64 {
	if !s.open.empty() {
		return s.open.seq
	}
	return s.open.seq - 1
}

// release lets f leave as soon as all batches up to seq are durable.
func (s *Shard) release(seq uint64, f effect) {
	switch {
	case seq <= s.durable:
		s.perform(&f)
	case s.inflight != nil && seq == s.inflight.seq:
		s.inflight.effects = append(s.inflight.effects, f)
	default:
		s.open.effects = append(s.open.effects, f)
	}
}

// when calls do once all batches up to seq are durable, at once if they are.
func (s *Shard) when(seq uint64, do func()) { s.release(seq, effect{do: do}) }

// perform offers tasks before it answers: who was told that a workflow has started finds its task in the queue, and a
// worker that waits has it no later than the caller knows.
func (s *Shard) perform(f *effect) {
	for _, o := range f.offers {
		s.opts.Sink.Offer(o)
	}
	if f.call != nil {
		s.finish(f.call, f.answer, f.err)
	}
	for _, r := range f.replies {
		s.eng.waiters.answer(r)
	}
	for _, n := range f.seen {
		s.wake(n)
	}
	if f.do != nil {
		f.do()
	}
}
