package record_test

import (
	"bytes"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/record"
)

// FuzzDecodeRow: bytes from a damaged store are refused or taken, but never end the process. What is taken can be
// written again and read the same.
func FuzzDecodeRow(f *testing.F) {
	st := goldenState()
	for _, row := range rowsOf(st) {
		v, _ := record.EncodeRow(st, row)
		f.Add(uint8(row.Kind), v)
	}
	f.Add(uint8(200), []byte{})
	f.Fuzz(func(t *testing.T, kind uint8, value []byte) {
		l := record.NewLoader(goldenKey)
		for _, row := range []execution.Row{{Kind: execution.RowInfo}, {Kind: execution.RowStart}} {
			v, _ := record.EncodeRow(st, row)
			if err := l.DecodeRow(row, v); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.DecodeRow(execution.Row{Kind: execution.RowKind(kind)}, value); err != nil {
			return
		}
		got, err := l.State()
		if err != nil {
			t.Fatal(err)
		}
		got.NextDeadline()
		for _, row := range rowsOf(got) {
			v, ok := record.EncodeRow(got, row)
			if !ok {
				continue
			}
			if err := record.NewLoader(goldenKey).DecodeRow(row, v); err != nil {
				t.Fatalf("written, but not read: %v", err)
			}
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	st := goldenState()
	for _, row := range rowsOf(st) {
		f.Add(record.RowKey(st.Key, row))
	}
	for _, task := range goldenTasks() {
		f.Add(record.TaskKey(st.Key, &task))
	}
	f.Add(record.HistoryKey(st.Key, 9))
	f.Add(record.BatchJobKey(goldenKey.Namespace, "job"))
	f.Add(record.BatchTargetsKey(goldenKey.Namespace, "job", 9))
	f.Add(record.BatchOrderKey(goldenKey.Namespace, 9, "job"))
	f.Fuzz(func(t *testing.T, key []byte) {
		if k, row, err := record.ParseRowKey(key); err == nil {
			if k2, row2, err := record.ParseRowKey(record.RowKey(k, row)); err != nil || k2 != k || row2 != row {
				t.Fatalf("%v %v comes back as %v %v: %v", k, row, k2, row2, err)
			}
		}
		if k, first, err := record.ParseHistoryKey(key); err == nil {
			if k2, again, err := record.ParseHistoryKey(record.HistoryKey(k, first)); err != nil || k2 != k || again != first {
				t.Fatalf("%v %d comes back as %v %d: %v", k, first, k2, again, err)
			}
		}
		_, _, _ = record.ParseTimerKey(key)
		_, _, _ = record.ParseOutboxKey(key)
		_, _ = record.ParseLedgerKey(key)
		if k, m, err := record.ParseSeenKey(key); err == nil {
			if k2, m2, err := record.ParseSeenKey(record.SeenKey(k, m)); err != nil || k2 != k || m2 != m {
				t.Fatalf("%x: %v %v, then %v %v, %v", key, k, m, k2, m2, err)
			}
		}
		_, _ = record.IndexTime(key)
		_, _ = record.BatchNamespace(key)
		_, _ = record.ParseBatchJobKey(key)
		_, _ = record.ParseBatchTargetsKey(key)
		_, _, _ = record.ParseBatchOrderKey(key)
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(filled[record.BatchJob](0).Encode())
	f.Add(record.EncodeBatchTargets([]record.BatchTarget{*filled[record.BatchTarget](0)}))
	f.Fuzz(func(t *testing.T, value []byte) {
		if j, err := record.DecodeBatchJob(value); err == nil {
			if again, err := record.DecodeBatchJob(j.Encode()); err != nil || *again != *j {
				t.Fatalf("%+v comes back as %+v: %v", j, again, err)
			}
		}
		if targets, err := record.DecodeBatchTargets(value); err == nil {
			if again, err := record.DecodeBatchTargets(record.EncodeBatchTargets(targets)); err != nil || len(again) != len(targets) {
				t.Fatalf("%+v come back as %+v: %v", targets, again, err)
			}
		}
	})
}

func FuzzDecodeDispatch(f *testing.F) {
	for _, task := range goldenTasks() {
		f.Add(record.TaskKey(goldenKey, &task), record.EncodeTask(goldenKey, &task))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		o, err := record.DecodeDispatch(key, value)
		if err != nil {
			return
		}
		run := o.Task
		k := goldenKey
		if o.Workflow != nil {
			k = o.Workflow.Run
		} else {
			k = o.Activity.Run
		}
		again, err := record.DecodeDispatch(record.TaskKey(k, &run), record.EncodeTask(k, &run))
		if err != nil {
			t.Fatalf("%+v is not read back: %v", o, err)
		}
		again.Task.Priority, o.Task.Priority = 0, 0 // odd ones count as the middle
		if again.Task != o.Task {
			t.Fatalf("%+v comes back as %+v", o.Task, again.Task)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	for _, task := range goldenTasks() {
		f.Add(record.EncodeTask(goldenKey, &task))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := record.DecodeMessage(value)
		if err != nil {
			return
		}
		b := record.EncodeTask(goldenKey, &execution.Task{Kind: execution.TaskMessage, Message: m})
		again, err := record.DecodeMessage(b)
		if err != nil || !bytes.Equal(b, record.EncodeTask(goldenKey, &execution.Task{Kind: execution.TaskMessage, Message: again})) {
			t.Fatalf("%+v comes back as %+v: %v", m, again, err)
		}
	})
}

func FuzzNextEvent(f *testing.F) {
	row, err := proto.Marshal(&historypb.History{Events: []*historypb.HistoryEvent{{EventId: 1}, {EventId: 300, TaskId: 5}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(row)
	f.Add(row[:len(row)-1])
	f.Add([]byte{0x0a})
	f.Fuzz(func(t *testing.T, row []byte) {
		for rest := row; len(rest) > 0; {
			ev, _, next, err := record.NextEvent(rest)
			if err != nil {
				return
			}
			if len(ev)+len(next) >= len(rest) {
				t.Fatal("nothing was taken off")
			}
			rest = next
		}
	})
}
