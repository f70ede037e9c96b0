package record

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
)

// names are any bytes, those that the encoding treats apart more often than chance would have it.
func names() *rapid.Generator[string] {
	b := rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), rapid.Byte())
	return rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(b, 0, 12).Draw(t, "bytes")) })
}

func uuids() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")
		if version := rapid.SampledFrom([]byte{0, 4, 7}).Draw(t, "version"); version != 0 {
			b[6] = b[6]&0xf | version<<4
		}
		r := reader{b: b}
		return r.uuid()
	})
}

func runs() *rapid.Generator[ids.RunKey] {
	return rapid.Custom(func(t *rapid.T) ids.RunKey {
		return ids.RunKey{Namespace: ids.NamespaceID(uuids().Draw(t, "namespace")), Workflow: ids.WorkflowID(names().Draw(t, "workflow")), Run: ids.RunID(uuids().Draw(t, "run"))}
	})
}

// times are moments that clocks can show: never before 1970.
func times() *rapid.Generator[clock.Nanos] {
	return rapid.Custom(func(t *rapid.T) clock.Nanos {
		return clock.Nanos(rapid.Int64Range(0, math.MaxInt64).Draw(t, "time"))
	})
}

func TestTextKeepsOrderAndIsNoPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := names().Draw(t, "a"), names().Draw(t, "b")
		x, y := appendText(nil, a), appendText(nil, b)
		if got := bytes.Compare(x, y); got != strings.Compare(a, b) {
			t.Fatalf("%q and %q compare %d, their encodings %d", a, b, strings.Compare(a, b), got)
		}
		if a != b && (bytes.HasPrefix(x, y) || bytes.HasPrefix(y, x)) {
			t.Fatalf("the encoding of one of %q and %q starts the other's", a, b)
		}
		r := reader{b: x}
		if got := r.text(); got != a || r.done() != nil {
			t.Fatalf("%q comes back as %q", a, got)
		}
	})
}

func rows() *rapid.Generator[execution.Row] {
	return rapid.Custom(func(t *rapid.T) execution.Row {
		row := execution.Row{Kind: rapid.SampledFrom([]execution.RowKind{execution.RowInfo, execution.RowStart, execution.RowMemo, execution.RowSearchAttributes,
			execution.RowActivity, execution.RowTimer, execution.RowChild, execution.RowCancel, execution.RowSignal, execution.RowRequest, execution.RowUpdate,
			execution.RowBuffered}).Draw(t, "kind")}
		switch row.Kind {
		case execution.RowInfo, execution.RowStart, execution.RowMemo, execution.RowSearchAttributes:
		case execution.RowTimer, execution.RowRequest, execution.RowUpdate:
			row.Text = names().Draw(t, "text")
		default:
			row.Number = rapid.Int64Range(0, math.MaxInt64).Draw(t, "number")
		}
		return row
	})
}

func TestRowKeysComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, row := runs().Draw(t, "run"), rows().Draw(t, "row")
		key := RowKey(k, row)
		gotKey, gotRow, err := ParseRowKey(key)
		if err != nil || gotKey != k || gotRow != row {
			t.Fatalf("%v %v comes back as %v %v: %v", k, row, gotKey, gotRow, err)
		}
		prefix := RunPrefix(k)
		if !bytes.HasPrefix(key, prefix) {
			t.Fatal("a row is not below its prefix")
		}
		if got, err := ParseRunsKey(RunsKey(k)); err != nil || got != k {
			t.Fatalf("%v comes back as %v: %v", k, got, err)
		}
	})
}

// TestRunsDoNotMix: what is read below one run's prefix belongs to it, whatever other workflow IDs look like.
func TestRunsDoNotMix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := runs().Draw(t, "a"), runs().Draw(t, "b")
		if rapid.Bool().Draw(t, "same namespace") {
			b.Namespace = a.Namespace
		}
		if rapid.Bool().Draw(t, "same run") {
			b.Run = a.Run
		}
		if a == b {
			return
		}
		prefix, end := RunPrefix(a), storage.PrefixEnd(RunPrefix(a))
		for _, key := range [][]byte{RowKey(b, rows().Draw(t, "row")), RunPrefix(b)} {
			if bytes.Compare(key, prefix) >= 0 && bytes.Compare(key, end) < 0 {
				t.Fatalf("%v is found below %v", b, a)
			}
		}
		if a.Of() == b.Of() {
			return
		}
		if bytes.Equal(CurrentKey(a.Of()), CurrentKey(b.Of())) {
			t.Fatalf("%v and %v share their current run", a, b)
		}
	})
}

// TestRunsAreFound, in either layout, each once, and those of no other workflow.
func TestRunsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := runs().Draw(t, "run").Of()
		store := make(sorted)
		want := make(map[ids.RunKey]bool)
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			k := wanted.Run(ids.RunID(uuids().Draw(t, "another run")))
			if rapid.IntRange(0, 3).Draw(t, "another workflow") == 0 {
				k.Workflow = ids.WorkflowID(names().Draw(t, "name"))
			}
			for range rapid.IntRange(1, 3).Draw(t, "rows") {
				store[string(RowKey(k, rows().Draw(t, "row")))] = nil
			}
			if InOrder(k.Run) {
				store[string(RunsKey(k))] = nil
			}
			if k.Of() == wanted {
				want[k] = true
			}
		}
		if len(want) > 0 && rapid.Bool().Draw(t, "a current one") {
			all := slices.SortedFunc(maps.Keys(want), func(a, b ids.RunKey) int { return cmp.Compare(a.Run, b.Run) })
			k := rapid.SampledFrom(all).Draw(t, "current")
			store[string(CurrentKey(wanted))] = EncodeCurrent(k.Run)
			if rapid.Bool().Draw(t, "by this build") { // earlier ones gave it a row, too
				delete(store, string(RunsKey(k)))
			}
		}
		got := make(map[ids.RunKey]bool)
		var order []string
		err := ScanRuns(store, wanted, storage.PrefixEnd, func(k ids.RunKey) bool {
			if got[k] {
				t.Fatalf("%v is found twice", k)
			}
			got[k] = true
			order = append(order, fmt.Sprint(InOrder(k.Run), k.Run))
			return true
		})
		if !slices.IsSorted(order) {
			t.Fatalf("found in the order %v", order)
		}
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("found %v, want %v: %v", got, want, err)
		}
		visits := 0
		if err := ScanRuns(store, wanted, storage.PrefixEnd, func(ids.RunKey) bool { visits++; return false }); err != nil || visits > 1 {
			t.Fatalf("%d visits after the end: %v", visits, err)
		}
	})
}

// sorted are the rows of a store.
type sorted map[string][]byte

func (s sorted) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if key >= string(start) && (end == nil || key < string(end)) && !fn([]byte(key), s[key]) {
			break
		}
	}
	return nil
}

func TestHistoryKeysAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := runs().Draw(t, "run")
		a, b := rapid.Int64Range(1, math.MaxInt64).Draw(t, "a"), rapid.Int64Range(1, math.MaxInt64).Draw(t, "b")
		x, y := HistoryKey(k, a), HistoryKey(k, b)
		if bytes.Compare(x, y) != cmp.Compare(a, b) {
			t.Fatalf("events %d and %d are out of order", a, b)
		}
		got, first, err := ParseHistoryKey(x)
		if err != nil || got != k || first != a || !bytes.HasPrefix(x, HistoryPrefix(k)) {
			t.Fatalf("event %d of %v comes back as %d of %v: %v", a, k, first, got, err)
		}
	})
}

func dispatches() *rapid.Generator[execution.Task] {
	return rapid.Custom(func(t *rapid.T) execution.Task {
		task := execution.Task{Kind: execution.TaskWorkflow, Queue: names().Draw(t, "queue"), At: times().Draw(t, "at"), Priority: rapid.Int32Range(1, 5).Draw(t, "priority"),
			Sticky: rapid.Bool().Draw(t, "sticky")}
		if rapid.Bool().Draw(t, "activity") {
			task.Kind, task.ScheduledID, task.Stamp = execution.TaskActivity, rapid.Int64Range(1, math.MaxInt64).Draw(t, "scheduled"), rapid.Int32Range(0, math.MaxInt32).Draw(t, "stamp")
		} else {
			task.Seq = rapid.Int64Range(1, math.MaxInt64).Draw(t, "seq")
		}
		return task
	})
}

func TestDispatchRowsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, task := runs().Draw(t, "run"), dispatches().Draw(t, "task")
		o, err := DecodeDispatch(TaskKey(k, &task), EncodeTask(k, &task))
		if err != nil || o.Task != task {
			t.Fatalf("%+v comes back as %+v: %v", task, o.Task, err)
		}
		switch {
		case task.Kind == execution.TaskWorkflow && (o.Workflow == nil || o.Workflow.Run != k || o.Workflow.Seq != task.Seq || o.Activity != nil):
			t.Fatalf("workflow task %v: %+v", k, o.Workflow)
		case task.Kind == execution.TaskActivity && (o.Activity == nil || o.Activity.Run != k || o.Activity.ScheduledID != task.ScheduledID || o.Activity.Stamp != task.Stamp || o.Workflow != nil):
			t.Fatalf("activity %v: %+v", k, o.Activity)
		}
	})
}

// TestBacklogOrder: by priority, an unset one in the middle, then by age.
func TestBacklogOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, l := runs().Draw(t, "run"), runs().Draw(t, "other run")
		l.Namespace = k.Namespace
		a, b := dispatches().Draw(t, "a"), dispatches().Draw(t, "b")
		b.Queue, b.Kind = a.Queue, a.Kind
		a.Priority, b.Priority = rapid.Int32Range(-1, 7).Draw(t, "priority a"), rapid.Int32Range(-1, 7).Draw(t, "priority b")
		effective := func(p int32) int32 {
			if p < 1 || p > 5 {
				return 3
			}
			return p
		}
		want := cmp.Or(cmp.Compare(effective(a.Priority), effective(b.Priority)), cmp.Compare(a.At, b.At))
		x, y := TaskKey(k, &a), TaskKey(l, &b)
		if got := bytes.Compare(x, y); want != 0 && got != want {
			t.Fatalf("%+v and %+v compare %d, want %d", a, b, got, want)
		}
		typ := QueueWorkflow
		if a.Kind == execution.TaskActivity {
			typ = QueueActivity
		}
		if !bytes.HasPrefix(x, DispatchPrefix(k.Namespace, typ, a.Queue)) || !bytes.HasPrefix(x, AllDispatch()) {
			t.Fatal("a task is not in its backlog")
		}
	})
}

func TestTimersOfAGroupAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := runs().Draw(t, "run")
		a, b := times().Draw(t, "a"), times().Draw(t, "b")
		x, y := TaskKey(k, &execution.Task{Kind: execution.TaskTimer, At: a}), TaskKey(k, &execution.Task{Kind: execution.TaskTimer, At: b})
		if bytes.Compare(x, y) != cmp.Compare(a, b) {
			t.Fatalf("timers at %d and %d are out of order", a, b)
		}
		group := TimerGroup(k.Of().Slot())
		if group < 0 || group >= TimerGroups || !bytes.HasPrefix(x, AllTimers(group)) {
			t.Fatalf("the timer is not in group %d", group)
		}
		got, at, err := ParseTimerKey(x)
		if err != nil || got != k || at != a {
			t.Fatalf("%v at %d comes back as %v at %d: %v", k, a, got, at, err)
		}
	})
}

func TestTimerGroupsAreWholeRangesOfSlots(t *testing.T) {
	last := 0
	for s := range ids.Slots {
		g := TimerGroup(ids.Slot(s))
		if g != last && g != last+1 {
			t.Fatalf("slot %d is in group %d, the one before it in %d", s, g, last)
		}
		last = g
	}
	if last != TimerGroups-1 {
		t.Fatalf("the last slot is in group %d", last)
	}
}

func TestOutboxKeysComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, n := runs().Draw(t, "run"), rapid.Int64Range(1, math.MaxInt64).Draw(t, "number")
		key := TaskKey(k, &execution.Task{Kind: execution.TaskMessage, Outbox: n})
		got, number, err := ParseOutboxKey(key)
		if err != nil || got != k || number != n || !bytes.HasPrefix(key, AllOutbox(k.Of().Slot())) {
			t.Fatalf("message %d of %v comes back as %d of %v: %v", n, k, number, got, err)
		}
	})
}

func TestIndexIsNewestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := runs().Draw(t, "run")
		a, b := times().Draw(t, "a"), times().Draw(t, "b")
		closed := rapid.Bool().Draw(t, "closed")
		x, y := IndexKey(k.Namespace, k.Run, closed, a), IndexKey(k.Namespace, k.Run, closed, b)
		if bytes.Compare(x, y) != cmp.Compare(b, a) {
			t.Fatalf("runs of %d and %d are out of order", a, b)
		}
		at, err := IndexTime(x)
		if err != nil || at != a || !bytes.HasPrefix(x, IndexPrefix(k.Namespace, closed)) {
			t.Fatalf("%d comes back as %d: %v", a, at, err)
		}
		if open := IndexKey(k.Namespace, k.Run, false, a); closed && bytes.Compare(open, x) >= 0 {
			t.Fatal("open runs do not come before closed ones")
		}
	})
}

func TestCurrentRunComesBack(t *testing.T) {
	k := ids.RunID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	got, err := DecodeCurrent(EncodeCurrent(k))
	if err != nil || got != k {
		t.Fatalf("%s comes back as %s: %v", k, got, err)
	}
	if _, err := DecodeCurrent([]byte("short")); err == nil {
		t.Fatal("a short value is taken for a run ID")
	}
}
