package record_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

var update = flag.Bool("update", false, "rewrite testdata/state.golden: the stored format changes")

var goldenKey = ids.RunKey{Namespace: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Workflow: "order\x00\xff-7", Run: "6ba7b811-9dad-11d1-80b4-00c04fd430c8"}

// fill sets every stored field of v to something that is not its zero value and differs from field to field.
func fill(v reflect.Value, n int) {
	t := v.Type()
	for i := range t.NumField() {
		f := v.Field(i)
		if tag := t.Field(i).Tag.Get("cbor"); tag == "" || tag == "-" {
			continue
		}
		n++
		switch f.Kind() {
		case reflect.String:
			f.SetString(fmt.Sprintf("%s-%d", strings.ToLower(t.Field(i).Name), n))
		case reflect.Int64, reflect.Int32:
			f.SetInt(int64(1000 + n))
		case reflect.Uint8:
			f.SetUint(1)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			if f.Type().Elem().Kind() == reflect.Uint8 {
				f.SetBytes([]byte{byte(n), 0, 0xff})
			} else {
				f.Set(reflect.ValueOf([]int32{int32(n), 2}))
			}
		case reflect.Struct:
			fill(f, 10*n)
		default:
			panic(fmt.Sprintf("no value for %s.%s", t, t.Field(i).Name))
		}
	}
}

func filled[T any](n int) *T {
	v := new(T)
	fill(reflect.ValueOf(v).Elem(), n)
	return v
}

// goldenState has one of everything, each field set.
func goldenState() *execution.State {
	st := &execution.State{Key: goldenKey, Info: *filled[execution.Info](0), Start: filled[execution.Start](100),
		Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{"b": {Data: []byte("2")}, "a": {Data: []byte("1")}}},
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"City": {Data: []byte(`"Rome"`), Metadata: map[string][]byte{"type": []byte("Keyword"), "encoding": []byte("json/plain")}}}}}
	st.Info.WFT.Kind = execution.TaskTransient
	b := filled[execution.Buffered](900)
	b.Event = &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, EventTime: &timestamppb.Timestamp{Seconds: 7}}
	b.Bytes, _ = proto.MarshalOptions{Deterministic: true}.Marshal(b.Event)
	return execution.Assemble(st, &execution.Rows{
		Activities: []*execution.Activity{filled[execution.Activity](200)}, Timers: []*execution.Timer{filled[execution.Timer](300)},
		Children: []*execution.Child{filled[execution.Child](400)}, Cancels: []*execution.External{filled[execution.External](500)},
		Signals: []*execution.External{filled[execution.External](550)}, Requests: []*execution.Request{filled[execution.Request](600)},
		Updates: []*execution.Update{filled[execution.Update](700)}, Buffered: []*execution.Buffered{b}})
}

func rowsOf(st *execution.State) []execution.Row {
	rows := []execution.Row{{Kind: execution.RowInfo}, {Kind: execution.RowStart}, {Kind: execution.RowMemo}, {Kind: execution.RowSearchAttributes}}
	number := func(kind execution.RowKind, n int64) { rows = append(rows, execution.Row{Kind: kind, Number: n}) }
	for k := range st.Activities.All {
		number(execution.RowActivity, k)
	}
	for k := range st.Timers.All {
		rows = append(rows, execution.Row{Kind: execution.RowTimer, Text: k})
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
		rows = append(rows, execution.Row{Kind: execution.RowRequest, Text: k})
	}
	for k := range st.Updates.All {
		rows = append(rows, execution.Row{Kind: execution.RowUpdate, Text: k})
	}
	for k := range st.Buffered.All {
		number(execution.RowBuffered, k)
	}
	return rows
}

// goldenTasks is one outbox row of each kind.
func goldenTasks() []execution.Task {
	m := filled[execution.Message](800)
	m.To, m.Root = goldenKey, goldenKey
	return []execution.Task{
		{Kind: execution.TaskWorkflow, Queue: "queue", Sticky: true, At: 5, Seq: 6, Priority: 2},
		{Kind: execution.TaskWorkflow, Queue: "queue", At: 5, Seq: 7},
		{Kind: execution.TaskActivity, Queue: "queue", At: 5, ScheduledID: 8, Stamp: 9},
		{Kind: execution.TaskTimer, At: 10},
		{Kind: execution.TaskMessage, Outbox: 11, Message: m},
	}
}

func goldenNotes() []execution.Note {
	first, second := filled[execution.Note](1300), filled[execution.Note](1400)
	second.ID = first.ID
	return []execution.Note{*first, *second, {Number: 1, At: 2, Kind: 3, Stage: 4, ID: first.ID, Name: first.Name}}
}

// TestFormatIsStable compares every key and value of a state that has everything with the bytes that earlier builds
// wrote. A difference means that stores have to be migrated: the page docs/format/records.md and the version change first.
func TestFormatIsStable(t *testing.T) {
	st := goldenState()
	var b strings.Builder
	line := func(key, value []byte) { fmt.Fprintf(&b, "%x = %x\n", key, value) }
	for _, row := range rowsOf(st) {
		v, ok := record.EncodeRow(st, row)
		if !ok {
			t.Fatalf("no value for row %v", row)
		}
		line(record.RowKey(st.Key, row), v)
	}
	line(record.CurrentKey(st.Key.Of()), record.EncodeCurrent(st.Key.Run))
	for _, m := range []execution.Seen{{Kind: execution.SeenRequest, ID: "request"}, {Kind: execution.SeenUpdate, ID: "up\x00date"}} {
		line(record.SeenKey(st.Key.Of(), m), record.EncodeCurrent(st.Key.Run))
	}
	line(record.LedgerKey(st.Key, 1030, 1024), record.EncodeNotes(goldenNotes()))
	line(record.HistoryKey(st.Key, 12), nil)
	for _, task := range goldenTasks() {
		line(record.TaskKey(st.Key, &task), record.EncodeTask(st.Key, &task))
	}
	line(record.IndexKey(st.Key.Namespace, st.Key.Run, true, 13), nil)
	line(record.NamespaceKey(st.Key.Namespace), nil)
	line(record.ClusterKey("name"), nil)
	ns, job := goldenKey.Namespace, ids.BatchID("clean\x00up")
	line(record.BatchJobKey(ns, job), filled[record.BatchJob](1000).Encode())
	line(record.BatchRequestKey(ns, job), nil)
	line(record.BatchTargetsKey(ns, job, 14), record.EncodeBatchTargets([]record.BatchTarget{*filled[record.BatchTarget](1100), {Workflow: "w"}}))
	line(record.BatchOrderKey(ns, 15, job), nil)
	inOrder := goldenKey // of version 7
	inOrder.Run = "019ac5f3-2a1b-7c3d-8e4f-00c04fd430c8"
	for _, row := range rowsOf(st) {
		line(record.RowKey(inOrder, row), nil)
	}
	line(record.HistoryKey(inOrder, 12), nil)
	line(record.LedgerKey(inOrder, 1030, 1024), nil)
	line(record.RunsKey(inOrder), nil)
	const file = "testdata/state.golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Fatalf("the stored format has changed (-stored +now):\n%s", diff)
	}
}

// TestStoredStateIsRead reads those bytes back.
func TestStoredStateIsRead(t *testing.T) {
	golden, err := os.ReadFile("testdata/state.golden")
	if err != nil {
		t.Fatal(err)
	}
	store := table{}
	for line := range strings.Lines(string(golden)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		key, err1 := hex.DecodeString(k)
		value, err2 := hex.DecodeString(v)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		store[string(key)] = value
	}
	st, err := record.Load(store, goldenKey, prefixEnd)
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, goldenState(), st)
	notes, err := record.DecodeNotes(store[string(record.LedgerKey(goldenKey, 1030, 1024))])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goldenNotes(), notes); diff != "" {
		t.Fatal(diff)
	}
	for _, task := range goldenTasks() {
		value := store[string(record.TaskKey(goldenKey, &task))]
		if task.Kind == execution.TaskMessage {
			m, err := record.DecodeMessage(value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(task.Message, m); diff != "" {
				t.Fatal(diff)
			}
		}
	}
}

// sameState compares states by their parts, Assemble's derivations included as far as they show.
func sameState(t fataler, want, got *execution.State) {
	t.Helper()
	parts := func(st *execution.State) []any {
		rows := []any{st.Key, st.Info, *st.Start}
		for k, v := range st.Activities.All {
			c := *v
			rows = append(rows, k, fmt.Sprintf("%+v", c))
		}
		for k, v := range st.Timers.All {
			rows = append(rows, k, *v)
		}
		for k, v := range st.Children.All {
			rows = append(rows, k, *v)
		}
		for k, v := range st.Cancels.All {
			rows = append(rows, k, *v)
		}
		for k, v := range st.Signals.All {
			rows = append(rows, k, *v)
		}
		for k, v := range st.Requests.All {
			rows = append(rows, k, *v)
		}
		for k, v := range st.Updates.All {
			rows = append(rows, k, *v)
		}
		for k, v := range st.Buffered.All {
			rows = append(rows, k, v.Number, v.Bytes, v.Started)
		}
		return append(rows, st.NextDeadline())
	}
	if diff := cmp.Diff(parts(want), parts(got)); diff != "" {
		t.Fatalf("state differs (-want +got):\n%s", diff)
	}
	for k, b := range want.Buffered.All {
		if g, _ := got.Buffered.Get(k); !proto.Equal(b.Event, g.Event) {
			t.Fatalf("buffered event %v, want %v", g.Event, b.Event)
		}
	}
	if !proto.Equal(want.Memo, got.Memo) || !proto.Equal(want.SearchAttributes, got.SearchAttributes) {
		t.Fatalf("memo %v, search attributes %v", got.Memo, got.SearchAttributes)
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// table is a store for tests.
type table map[string][]byte

func (s table) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if k >= string(start) && (end == nil || k < string(end)) && !fn([]byte(k), s[k]) {
			break
		}
	}
	return nil
}

func prefixEnd(p []byte) []byte {
	end := bytes.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// random sets the stored fields of v at random, often to zero.
func random(t *rapid.T, v reflect.Value) {
	typ := v.Type()
	for i := range typ.NumField() {
		f := v.Field(i)
		if tag := typ.Field(i).Tag.Get("cbor"); tag == "" || tag == "-" || rapid.Bool().Draw(t, "zero") {
			continue
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, "text"))) // any bytes, UTF-8 or not
		case reflect.Int64, reflect.Int32:
			n := rapid.Int64().Draw(t, "int")
			if f.Kind() == reflect.Int32 {
				n = int64(int32(n))
			}
			f.SetInt(n)
		case reflect.Uint8:
			f.SetUint(uint64(rapid.Uint8Range(0, 1).Draw(t, "kind")))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			if f.Type().Elem().Kind() == reflect.Uint8 {
				f.SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "bytes"))
			} else {
				f.Set(reflect.ValueOf(rapid.SliceOfN(rapid.Int32(), 1, 3).Draw(t, "ints")))
			}
		case reflect.Struct:
			random(t, f)
		}
	}
}

func randomOne[T any](t *rapid.T) *T {
	v := new(T)
	random(t, reflect.ValueOf(v).Elem())
	return v
}

func randomAll[T any](t *rapid.T, key func(*T, int)) []*T {
	var all []*T
	for i := range rapid.IntRange(0, 3).Draw(t, "count") {
		v := randomOne[T](t)
		key(v, i)
		all = append(all, v)
	}
	return all
}

// TestRecordsComeBack: any state, written row by row and loaded, is the same.
func TestRecordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := &execution.State{Key: goldenKey, Info: *randomOne[execution.Info](t), Start: randomOne[execution.Start](t)}
		if rapid.Bool().Draw(t, "memo") {
			st.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{"a": {Data: []byte{1}}}}
		}
		event := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_TIMER_FIRED}
		body, _ := proto.Marshal(event)
		st = execution.Assemble(st, &execution.Rows{
			Activities: randomAll(t, func(v *execution.Activity, i int) {
				v.ScheduledID, v.RetryPolicy, v.Priority, v.LastFailure, v.Details = int64(i+1), nil, nil, nil, nil
			}),
			Timers: randomAll(t, func(v *execution.Timer, i int) { v.ID += fmt.Sprint(i) }), Children: randomAll(t, func(v *execution.Child, i int) { v.InitiatedID = int64(i) }),
			Cancels: randomAll(t, func(v *execution.External, i int) { v.InitiatedID = int64(i) }), Signals: randomAll(t, func(v *execution.External, i int) { v.InitiatedID = int64(i) }),
			Requests: randomAll(t, func(v *execution.Request, i int) { v.ID += fmt.Sprint(i) }), Updates: randomAll(t, func(v *execution.Update, i int) { v.ID += fmt.Sprint(i) }),
			Buffered: randomAll(t, func(v *execution.Buffered, i int) { v.Number, v.Event, v.Bytes = int64(i), event, body })})
		store := table{}
		for _, row := range rowsOf(st) {
			if v, ok := record.EncodeRow(st, row); ok {
				store[string(record.RowKey(st.Key, row))] = v
				if again, _ := record.EncodeRow(st, row); !bytes.Equal(v, again) {
					t.Fatalf("row %v is written in two ways", row)
				}
			} else if row.Kind != execution.RowMemo && row.Kind != execution.RowSearchAttributes {
				t.Fatalf("row %v is not there", row)
			}
		}
		got, err := record.Load(store, st.Key, prefixEnd)
		if err != nil {
			t.Fatalf("%v", err)
		}
		sameState(t, st, got)
	})
}

func TestMessagesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := randomOne[execution.Message](t)
		m.To = goldenKey
		if rapid.Bool().Draw(t, "root") {
			m.Root = goldenKey
		}
		got, err := record.DecodeMessage(record.EncodeTask(goldenKey, &execution.Task{Kind: execution.TaskMessage, Message: m}))
		if err != nil {
			t.Fatalf("%v", err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Fatalf("%s", diff)
		}
	})
}

// TestSpeculativeTaskIsNotStored: what only memory knows of must not be waited for after a restart.
func TestSpeculativeTaskIsNotStored(t *testing.T) {
	st := goldenState()
	st.Info.WFT.Kind = execution.TaskSpeculative
	before := st.Info
	v, _ := record.EncodeRow(st, execution.Row{})
	if !reflect.DeepEqual(st.Info, before) {
		t.Fatal("encoding changed the state")
	}
	l := record.NewLoader(st.Key)
	if err := l.DecodeRow(execution.Row{}, v); err != nil {
		t.Fatal(err)
	}
	start, _ := record.EncodeRow(st, execution.Row{Kind: execution.RowStart})
	if err := l.DecodeRow(execution.Row{Kind: execution.RowStart}, start); err != nil {
		t.Fatal(err)
	}
	got, err := l.State()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Info.WFT, execution.WorkflowTask{}) || got.Info.NextEventID != st.Info.NextEventID || got.Info.WFTSeq != st.Info.WFTSeq {
		t.Fatalf("stored %+v", got.Info)
	}
}

func TestLoaderRefusesHalfARun(t *testing.T) {
	st := goldenState()
	for _, missing := range []execution.RowKind{execution.RowInfo, execution.RowStart} {
		l := record.NewLoader(st.Key)
		for _, row := range rowsOf(st) {
			if row.Kind == missing {
				continue
			}
			v, _ := record.EncodeRow(st, row)
			if err := l.DecodeRow(row, v); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := l.State(); err == nil {
			t.Errorf("without row kind %d: %v", missing, got.Key)
		}
	}
	if st, err := record.NewLoader(goldenKey).State(); st != nil || err != nil {
		t.Fatalf("without any row: %v, %v", st, err)
	}
	if err := record.NewLoader(goldenKey).DecodeRow(execution.Row{Kind: 99}, nil); err == nil {
		t.Fatal("a row of an unknown kind is taken")
	}
}

func TestEventsAreSplit(t *testing.T) {
	h := &historypb.History{}
	for i := range 5 {
		h.Events = append(h.Events, &historypb.HistoryEvent{EventId: int64(i + 1), EventTime: clock.Nanos(time.Second).Proto(), EventType: enumspb.EVENT_TYPE_TIMER_FIRED})
	}
	row, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	rest := row
	for i := range h.Events {
		var ev []byte
		var id ids.EventID
		if ev, id, rest, err = record.NextEvent(rest); err != nil || id != int64(i+1) {
			t.Fatalf("event %d: %d, %v", i+1, id, err)
		}
		got := new(historypb.HistoryEvent)
		if err := proto.Unmarshal(ev, got); err != nil || !proto.Equal(got, h.Events[i]) {
			t.Fatalf("event %d: %v, %v", i+1, got, err)
		}
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes are left", len(rest))
	}
	if all, err := record.DecodeEvents(row); err != nil || len(all) != 5 {
		t.Fatalf("%d events, %v", len(all), err)
	}
}

// TestFormatPageListsEveryField holds docs/format/records.md to the code.
func TestFormatPageListsEveryField(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/records.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"Header": execution.Info{}, "Start": execution.Start{}, "Workflow task": execution.WorkflowTask{}, "Activity": execution.Activity{},
		"Timer": execution.Timer{}, "Child": execution.Child{}, "External signal or cancel": execution.External{}, "Request": execution.Request{},
		"Update": execution.Update{}, "Note": execution.Note{}, "Buffered event": execution.Buffered{}, "Message": execution.Message{}, "Batch job": record.BatchJob{}, "Batch targets": record.BatchTargets{},
		"Batch target": record.BatchTarget{}} {
		_, section, ok := strings.Cut(string(page), "\n### "+name+"\n")
		if !ok {
			t.Errorf("no section %q", name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n##")
		listed := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(section, -1) {
			if listed[m[1]] {
				t.Errorf("%s: field %s is listed twice", name, m[1])
			}
			listed[m[1]] = true
		}
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			number, _, _ := strings.Cut(typ.Field(i).Tag.Get("cbor"), ",")
			if number == "" || number == "-" {
				continue
			}
			if !listed[number] {
				t.Errorf("%s: field %s, %s, is not listed", name, number, typ.Field(i).Name)
			}
			delete(listed, number)
		}
		for number := range listed {
			t.Errorf("%s: there is no field %s", name, number)
		}
	}
}
