// Package record knows every key and every stored value: how they are laid out, encoded, versioned and read back. The
// layout is described in docs/format/records.md, which changes before this package does.
//
// Invariant: a key decodes to exactly the parts it was made of, and the order of encoded keys is the order the readers
// rely on (events by ID, backlog by priority then age, timers by time).
package record

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Tables, by the first byte of a key. Part of the format.
const (
	tableRun       = 0x10 // slot, namespace, workflow, run, row kind, row ID → row
	tableCurrent   = 0x11 // slot, namespace, workflow → run ID
	tableSeen      = 0x13 // slot, namespace, workflow, kind, message ID → run ID
	tableHistory   = 0x12 // slot, namespace, workflow, run, first event ID → events
	tableLedger    = 0x14 // slot, namespace, workflow, run, place → notes
	tableRun7      = 0x15 // run, namespace, workflow, row kind, row ID → row
	tableHistory7  = 0x16 // run, namespace, workflow, first event ID → events
	tableLedger7   = 0x17 // run, namespace, workflow, place → notes
	tableRuns      = 0x18 // slot, namespace, workflow, run → nothing; of runs in table 0x15 that are not the current one
	tableDispatch  = 0x20 // namespace, type, queue, priority, time, run, number, stamp → dispatch
	tableTimer     = 0x21 // slot group, time, slot, namespace, workflow, run → nothing
	tableOutbox    = 0x22 // slot, namespace, workflow, run, number → message
	tableIndex     = 0x30 // namespace, 0 open or 1 closed, inverted time, run → workflow.v1.WorkflowExecutionInfo
	tableNamespace = 0x40 // namespace ID → internal/namespace's record
	tableCluster   = 0x50 // name → cluster-wide settings (internal/namespace, internal/node)
	tableBatch     = 0x60 // namespace, row kind, what the kind needs → a batch job's rows (batch.go)
)

// TimerGroups is how many groups of slots the timer table is divided into; a shard owns whole groups.
const TimerGroups = 16

var errKey = errors.New("record: malformed key")

func appendUUID[T ~string](b []byte, id T) []byte {
	u, err := uuid.Parse(string(id))
	if err != nil {
		panic(fmt.Sprintf("record: %q is not a UUID", string(id)))
	}
	return append(b, u[:]...)
}

// appendText appends s so that the order of encodings is the order of the strings and no encoding is a prefix of
// another: 0x00 becomes 0x00 0xff, and 0x00 0x01 ends the string.
func appendText[T ~string](b []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func appendInt(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

// reader takes a key apart; the first fault sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uuid() string {
	return uuid.UUID(r.take(16)).String()
}

func (r *reader) int() int64 { return int64(binary.BigEndian.Uint64(r.take(8))) }

func (r *reader) text() string {
	var out []byte
	for !r.bad {
		c := r.take(1)[0]
		if c != 0 {
			out = append(out, c)
			continue
		}
		switch r.take(1)[0] {
		case 0xff:
			out = append(out, 0)
		case 1:
			return string(out)
		default:
			r.bad = true
		}
	}
	return ""
}

func (r *reader) done() error {
	if r.bad || len(r.b) != 0 {
		return errKey
	}
	return nil
}

func workflowPrefix(table byte, k ids.WorkflowKey) []byte {
	b := make([]byte, 0, 1+2+16+len(k.Workflow)+2+16+16)
	b = append(b, table)
	b = binary.BigEndian.AppendUint16(b, uint16(k.Slot()))
	b = appendUUID(b, k.Namespace)
	return appendText(b, k.Workflow)
}

func (r *reader) workflow() ids.WorkflowKey {
	r.take(2)
	ns := r.uuid()
	return ids.WorkflowKey{Namespace: ids.NamespaceID(ns), Workflow: ids.WorkflowID(r.text())}
}

// CurrentKey is where the current run's ID of a workflow is stored.
func CurrentKey(k ids.WorkflowKey) []byte { return workflowPrefix(tableCurrent, k) }

// CurrentRange has the CurrentKey of all workflows of the slots from low to before high.
func CurrentRange(low, high ids.Slot) (start, end []byte) {
	start = binary.BigEndian.AppendUint16([]byte{tableCurrent}, uint16(low))
	return start, binary.BigEndian.AppendUint16([]byte{tableCurrent}, uint16(high))
}

// EncodeCurrent and DecodeCurrent translate the value under CurrentKey and SeenKey.
func EncodeCurrent(run ids.RunID) []byte { return appendUUID(nil, run) }

// DecodeCurrent is the inverse of EncodeCurrent.
func DecodeCurrent(b []byte) (ids.RunID, error) {
	u, err := uuid.FromBytes(b)
	if err != nil {
		return "", fmt.Errorf("record: run ID: %w", err)
	}
	return ids.RunID(u.String()), nil
}

// InOrder tells whether the rows of a run are in tables ordered by time: its ID is a UUID of version 7, which begins with the
// moment it was made. What happens at a time then changes neighbouring rows, and old rows are left alone when tables are
// merged. Earlier builds made IDs of version 4, whose runs are ordered by the hash of their workflow.
func InOrder(run ids.RunID) bool { return len(run) == 36 && run[14] == '7' }

// runPrefix is the prefix of what a run has in the table for runs in order, or in the other one.
func runPrefix(inOrder, other byte, k ids.RunKey) []byte {
	if !InOrder(k.Run) {
		return appendUUID(workflowPrefix(other, k.Of()), k.Run)
	}
	b := make([]byte, 0, 1+16+16+len(k.Workflow)+2+16)
	return appendText(appendUUID(appendUUID(append(b, inOrder), k.Run), k.Namespace), k.Workflow)
}

// run is the inverse of runPrefix, the table included.
func (r *reader) run(inOrder, other byte) (k ids.RunKey) {
	table := r.take(1)[0]
	switch table {
	case inOrder:
		k.Run, k.Namespace = ids.RunID(r.uuid()), ids.NamespaceID(r.uuid())
		k.Workflow = ids.WorkflowID(r.text())
	case other:
		k = r.workflow().Run("")
		k.Run = ids.RunID(r.uuid())
	default:
		r.bad = true
	}
	r.bad = r.bad || InOrder(k.Run) != (table == inOrder)
	return k
}

// RunPrefix is the prefix of all rows of one run.
func RunPrefix(k ids.RunKey) []byte { return runPrefix(tableRun7, tableRun, k) }

// RunsKey is the row by which a run in order is found when only its workflow is known. The current run needs none.
func RunsKey(k ids.RunKey) []byte { return appendUUID(workflowPrefix(tableRuns, k.Of()), k.Run) }

// ParseRunsKey is the inverse of RunsKey.
func ParseRunsKey(key []byte) (k ids.RunKey, err error) {
	r := reader{b: key}
	if r.take(1)[0] != tableRuns {
		return k, errKey
	}
	k = r.workflow().Run("")
	k.Run = ids.RunID(r.uuid())
	return k, r.done()
}

// scanner is what ScanRuns needs of a store.
type scanner interface {
	Scan(start, end []byte, fn func(key, value []byte) bool) error
}

// ScanRuns visits the runs of a workflow that have rows, until fn returns false. A run is visited once; their order is that of
// their IDs, those that are not in order first. Of runs that come while it reads some may be missing. end is storage.PrefixEnd.
func ScanRuns(r scanner, k ids.WorkflowKey, end func([]byte) []byte, fn func(ids.RunKey) bool) error {
	current, err := currentInOrder(r, k) // first: a run has a row by the time it is no longer the current one
	if err != nil {
		return err
	}
	prefix := workflowPrefix(tableRun, k)
	for start := prefix; start != nil; {
		var run ids.RunKey
		var fault error
		found := false
		err := r.Scan(start, end(prefix), func(key, _ []byte) bool {
			run, _, fault = ParseRowKey(key)
			found = true
			return false
		})
		switch {
		case err != nil || fault != nil:
			return cmp.Or(err, fault)
		case !found:
			start = nil
		case !fn(run):
			return nil
		default:
			start = end(RunPrefix(run))
		}
	}
	var fault error
	more := true
	prefix = workflowPrefix(tableRuns, k)
	err = r.Scan(prefix, end(prefix), func(key, _ []byte) bool {
		var run ids.RunKey
		if run, fault = ParseRunsKey(key); fault != nil {
			return false
		}
		if current != "" && current <= run.Run {
			if current < run.Run {
				more = fn(k.Run(current))
			}
			current = ""
		}
		more = more && fn(run)
		return more
	})
	if err = cmp.Or(err, fault); err == nil && more && current != "" {
		fn(k.Run(current))
	}
	return err
}

// currentInOrder is the current run of a workflow; empty if it has none, or one that is not in order.
func currentInOrder(r scanner, k ids.WorkflowKey) (run ids.RunID, err error) {
	key := CurrentKey(k)
	var fault error
	err = r.Scan(key, append(slices.Clone(key), 0), func(_, value []byte) bool {
		run, fault = DecodeCurrent(value)
		return false
	})
	if !InOrder(run) {
		run = ""
	}
	return run, cmp.Or(err, fault)
}

// RowKey is where a row of a run is stored.
func RowKey(k ids.RunKey, row execution.Row) []byte {
	b := append(RunPrefix(k), byte(row.Kind))
	switch row.Kind {
	case execution.RowInfo, execution.RowStart, execution.RowMemo, execution.RowSearchAttributes:
		return b
	case execution.RowTimer, execution.RowRequest, execution.RowUpdate:
		return append(b, row.Text...) // last part: needs no terminator
	default:
		return appendInt(b, row.Number)
	}
}

// ParseRowKey is the inverse of RowKey.
func ParseRowKey(key []byte) (k ids.RunKey, row execution.Row, err error) {
	r := reader{b: key}
	k = r.run(tableRun7, tableRun)
	row.Kind = execution.RowKind(r.take(1)[0])
	switch row.Kind {
	case execution.RowInfo, execution.RowStart, execution.RowMemo, execution.RowSearchAttributes:
	case execution.RowTimer, execution.RowRequest, execution.RowUpdate:
		row.Text = string(r.b)
		r.b = nil
	default:
		row.Number = r.int()
	}
	return k, row, r.done()
}

// SeenKey is where it is stored which run of a workflow took a message.
func SeenKey(k ids.WorkflowKey, m execution.Seen) []byte {
	return append(append(workflowPrefix(tableSeen, k), byte(m.Kind)), m.ID...) // last part: needs no terminator
}

// ParseSeenKey is the inverse of SeenKey.
func ParseSeenKey(key []byte) (k ids.WorkflowKey, m execution.Seen, err error) {
	r := reader{b: key}
	if r.take(1)[0] != tableSeen {
		return k, m, errKey
	}
	k = r.workflow()
	m.Kind = execution.SeenKind(r.take(1)[0])
	m.ID = string(r.b)
	r.b = nil
	return k, m, r.done()
}

// LedgerPrefix is the prefix of the notes of one run.
func LedgerPrefix(k ids.RunKey) []byte { return runPrefix(tableLedger7, tableLedger, k) }

// LedgerKey is where the notes are stored the last of which has this number, in a ring of so many places.
func LedgerKey(k ids.RunKey, number int64, places int) []byte {
	return binary.BigEndian.AppendUint32(LedgerPrefix(k), uint32(number%int64(places)))
}

// ParseLedgerKey tells whose notes the row holds.
func ParseLedgerKey(key []byte) (k ids.RunKey, err error) {
	r := reader{b: key}
	k = r.run(tableLedger7, tableLedger)
	r.take(4)
	return k, r.done()
}

// HistoryPrefix is the prefix of a run's events.
func HistoryPrefix(k ids.RunKey) []byte {
	return runPrefix(tableHistory7, tableHistory, k)
}

// HistoryKey is where the events of one transition are stored, the first of which is first.
func HistoryKey(k ids.RunKey, first ids.EventID) []byte { return appendInt(HistoryPrefix(k), first) }

// ParseHistoryKey tells the first event of the row under key.
func ParseHistoryKey(key []byte) (k ids.RunKey, first ids.EventID, err error) {
	r := reader{b: key}
	k = r.run(tableHistory7, tableHistory)
	first = r.int()
	return k, first, r.done()
}

// QueueType tells the two kinds of task queue apart in keys. The values are those of enums.v1.TaskQueueType.
type QueueType uint8

// Queue types.
const (
	QueueWorkflow QueueType = 1
	QueueActivity QueueType = 2
)

// DispatchPrefix is the prefix of a task queue's backlog.
func DispatchPrefix(ns ids.NamespaceID, typ QueueType, queue string) []byte {
	b := append(make([]byte, 0, 64+len(queue)), tableDispatch)
	b = appendUUID(b, ns)
	b = append(b, byte(typ))
	return appendText(b, queue)
}

// AllDispatch is the prefix of all backlogs.
func AllDispatch() []byte { return []byte{tableDispatch} }

// AllTimers is the prefix of all timers of one slot group.
func AllTimers(group int) []byte { return []byte{tableTimer, byte(group)} }

// TimerGroup is the group of a slot.
func TimerGroup(s ids.Slot) int { return int(s) * TimerGroups / ids.Slots }

// AllOutbox is the prefix of the outbox rows of one slot.
func AllOutbox(s ids.Slot) []byte {
	return binary.BigEndian.AppendUint16([]byte{tableOutbox}, uint16(s))
}

// TaskKey is where an outbox row of a run is stored.
func TaskKey(k ids.RunKey, t *execution.Task) []byte {
	switch t.Kind {
	case execution.TaskWorkflow, execution.TaskActivity:
		typ, number := QueueWorkflow, t.Seq
		if t.Kind == execution.TaskActivity {
			typ, number = QueueActivity, t.ScheduledID
		}
		b := append(DispatchPrefix(k.Namespace, typ, t.Queue), priorityByte(t.Priority))
		b = appendInt(b, int64(t.At))
		b = appendUUID(b, k.Run)
		b = appendInt(b, number)
		return binary.BigEndian.AppendUint32(b, uint32(t.Stamp))
	case execution.TaskTimer:
		b := appendInt(AllTimers(TimerGroup(k.Of().Slot())), int64(t.At))
		return appendUUID(append(b, workflowPrefix(0, k.Of())[1:]...), k.Run)
	case execution.TaskMessage:
		return appendInt(appendUUID(workflowPrefix(tableOutbox, k.Of()), k.Run), t.Outbox)
	}
	panic(fmt.Sprintf("record: task kind %d", t.Kind))
}

// priorityByte is where a priority stands in the order of a backlog: 1 first to 5 last; anything else counts as 3.
func priorityByte(p int32) byte {
	if p < 1 || p > 5 {
		return 3
	}
	return byte(p)
}

// ParseTimerKey tells which run wants to be woken when.
func ParseTimerKey(key []byte) (k ids.RunKey, at clock.Nanos, err error) {
	r := reader{b: key}
	if r.take(1)[0] != tableTimer {
		return k, 0, errKey
	}
	r.take(1)
	at = clock.Nanos(r.int())
	k = r.workflow().Run("")
	k.Run = ids.RunID(r.uuid())
	share(&k.Namespace)
	return k, at, r.done()
}

// ParseOutboxKey tells whose message the row is.
func ParseOutboxKey(key []byte) (k ids.RunKey, outbox int64, err error) {
	r := reader{b: key}
	if r.take(1)[0] != tableOutbox {
		return k, 0, errKey
	}
	k = r.workflow().Run("")
	k.Run = ids.RunID(r.uuid())
	outbox = r.int()
	return k, outbox, r.done()
}

// IndexPrefix is the prefix of a namespace's visibility rows: the open runs, newest start first, or the closed ones,
// newest close first.
func IndexPrefix(ns ids.NamespaceID, closed bool) []byte {
	b := appendUUID([]byte{tableIndex}, ns)
	if closed {
		return append(b, 1)
	}
	return append(b, 0)
}

// IndexKey is where a run's visibility row is stored. t is the start time of an open run, the close time of a closed one.
func IndexKey(ns ids.NamespaceID, run ids.RunID, closed bool, t clock.Nanos) []byte {
	return appendUUID(appendInt(IndexPrefix(ns, closed), invert(t)), run)
}

// invert makes the newest time the smallest; it is its own inverse. Times are not negative.
func invert(t clock.Nanos) int64 { return int64(^t) & 0x7fffffffffffffff }

// IndexTime is the inverse of the time part of IndexKey.
func IndexTime(key []byte) (clock.Nanos, error) {
	if len(key) != 1+16+1+8+16 || key[0] != tableIndex {
		return 0, errKey
	}
	return clock.Nanos(invert(clock.Nanos(binary.BigEndian.Uint64(key[18:26])))), nil
}

// NamespaceKey is where a namespace is stored; AllNamespaces is the prefix of all.
func NamespaceKey(id ids.NamespaceID) []byte { return appendUUID([]byte{tableNamespace}, id) }

// AllNamespaces is the prefix of all namespaces.
func AllNamespaces() []byte { return []byte{tableNamespace} }

// ClusterKey is where a cluster-wide setting is stored.
func ClusterKey(name string) []byte { return append([]byte{tableCluster}, name...) }
