package record

import (
	"encoding/binary"
	"fmt"
	"unique"

	"github.com/fxamacker/cbor/v2"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// encoder writes canonical CBOR: equal values give equal bytes.
var encoder = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var decoder = func() cbor.DecMode {
	// Names are compared byte for byte, so text that is not UTF-8 has to come back as it was.
	m, err := cbor.DecOptions{MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20, UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

func marshal(v any) []byte {
	b, err := encoder.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("record: encode %T: %v", v, err))
	}
	return b
}

// EncodeRow is the value of a row of st; ok is false when st has no such row, that is, it is to be deleted.
func EncodeRow(st *execution.State, row execution.Row) (value []byte, ok bool) {
	switch row.Kind {
	case execution.RowInfo:
		if st.Info.WFT.Kind == execution.TaskSpeculative {
			// Known to memory alone: a run that is loaded again must not wait for it.
			stored := st.Info
			stored.WFT = execution.WorkflowTask{}
			return marshal(&stored), true
		}
		return marshal(&st.Info), true
	case execution.RowStart:
		return marshal(st.Start), true
	case execution.RowMemo:
		return encodeProto(st.Memo, st.Memo != nil)
	case execution.RowSearchAttributes:
		return encodeProto(st.SearchAttributes, st.SearchAttributes != nil)
	case execution.RowActivity:
		return encodeEntry(st.Activities, row.Number)
	case execution.RowTimer:
		return encodeEntry(st.Timers, row.Text)
	case execution.RowChild:
		return encodeEntry(st.Children, row.Number)
	case execution.RowCancel:
		return encodeEntry(st.Cancels, row.Number)
	case execution.RowSignal:
		return encodeEntry(st.Signals, row.Number)
	case execution.RowRequest:
		return encodeEntry(st.Requests, row.Text)
	case execution.RowUpdate:
		return encodeEntry(st.Updates, row.Text)
	case execution.RowBuffered:
		return encodeEntry(st.Buffered, row.Number)
	}
	panic(fmt.Sprintf("record: row kind %d", row.Kind))
}

func encodeProto(m proto.Message, ok bool) ([]byte, bool) {
	if !ok {
		return nil, false
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("record: encode %T: %v", m, err))
	}
	return b, true
}

func encodeEntry[K int64 | string, V any](t execution.Table[K, *V], k K) ([]byte, bool) {
	v, ok := t.Get(k)
	if !ok {
		return nil, false
	}
	return marshal(v), true
}

// DecodeRow adds the row with this value to a state under construction. Finish with Loader.State.
func (l *Loader) DecodeRow(row execution.Row, value []byte) error {
	var err error
	switch row.Kind {
	case execution.RowInfo:
		l.seen = true
		err = decoder.Unmarshal(value, &l.st.Info)
		share(&l.st.Info.StickyQueue)
	case execution.RowStart:
		l.st.Start = new(execution.Start)
		err = decoder.Unmarshal(value, l.st.Start)
		share(&l.st.Start.Namespace, &l.st.Start.WorkflowType, &l.st.Start.TaskQueue)
	case execution.RowMemo:
		l.st.Memo = new(commonpb.Memo)
		err = proto.Unmarshal(value, l.st.Memo)
	case execution.RowSearchAttributes:
		l.st.SearchAttributes = new(commonpb.SearchAttributes)
		err = proto.Unmarshal(value, l.st.SearchAttributes)
	case execution.RowActivity:
		err = decodeEntry(&l.b.Activities, value)
	case execution.RowTimer:
		err = decodeEntry(&l.b.Timers, value)
	case execution.RowChild:
		err = decodeEntry(&l.b.Children, value)
	case execution.RowCancel:
		err = decodeEntry(&l.b.Cancels, value)
	case execution.RowSignal:
		err = decodeEntry(&l.b.Signals, value)
	case execution.RowRequest:
		err = decodeEntry(&l.b.Requests, value)
	case execution.RowUpdate:
		err = decodeEntry(&l.b.Updates, value)
	case execution.RowBuffered:
		e := new(execution.Buffered)
		if err = decoder.Unmarshal(value, e); err == nil {
			e.Event = new(historypb.HistoryEvent)
			err = proto.Unmarshal(e.Bytes, e.Event)
		}
		l.b.Buffered = append(l.b.Buffered, e)
	default:
		err = fmt.Errorf("unknown row kind %d: written by a newer version?", row.Kind)
	}
	if err != nil {
		return fmt.Errorf("record: decode row kind %d of %s: %w", row.Kind, l.st.Key, err)
	}
	return nil
}

func decodeEntry[V any](to *[]*V, value []byte) error {
	v := new(V)
	if err := decoder.Unmarshal(value, v); err != nil {
		return err
	}
	*to = append(*to, v)
	return nil
}

// share replaces texts that many runs have in common by one copy in memory.
func share[S ~string](texts ...*S) {
	for _, s := range texts {
		if *s != "" {
			*s = unique.Make(*s).Value()
		}
	}
}

// Loader puts a state together from its rows.
type Loader struct {
	st   *execution.State // by itself: it stays, and the rest goes
	b    execution.Rows
	seen bool
}

// NewLoader starts the state of run k.
func NewLoader(k ids.RunKey) *Loader { return &Loader{st: &execution.State{Key: k}} }

// State is the loaded state, or nil if there was no row.
func (l *Loader) State() (*execution.State, error) {
	if !l.seen && l.st.Start == nil {
		return nil, nil
	}
	if !l.seen || l.st.Start == nil {
		return nil, fmt.Errorf("record: %s lacks its header or its start row", l.st.Key)
	}
	return execution.Assemble(l.st, &l.b), nil
}

// Scanner is the part of a storage reader that loading needs.
type Scanner interface {
	Scan(start, end []byte, fn func(key, value []byte) bool) error
}

// Load reads the state of run k; nil if there is none.
func Load(r Scanner, k ids.RunKey, prefixEnd func([]byte) []byte) (*execution.State, error) {
	l := NewLoader(k)
	prefix := RunPrefix(k)
	var fault error
	err := r.Scan(prefix, prefixEnd(prefix), func(key, value []byte) bool {
		var row execution.Row
		if _, row, fault = ParseRowKey(key); fault == nil {
			fault = l.DecodeRow(row, value)
		}
		return fault == nil
	})
	if err == nil {
		err = fault
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", k, err)
	}
	return l.State()
}

// dispatch is the value of a dispatch row: what its key lacks.
type dispatch struct {
	Workflow ids.WorkflowID `cbor:"1,keyasint"`
	Sticky   bool           `cbor:"2,keyasint,omitempty"`
}

// EncodeTask is the value of an outbox row.
func EncodeTask(k ids.RunKey, t *execution.Task) []byte {
	switch t.Kind {
	case execution.TaskTimer:
		return nil
	case execution.TaskMessage:
		return marshal(t.Message)
	default:
		return marshal(&dispatch{Workflow: k.Workflow, Sticky: t.Sticky})
	}
}

// DecodeDispatch reads a dispatch row back as the offer it stands for.
func DecodeDispatch(key, value []byte) (execution.Offer, error) {
	var o execution.Offer
	var d dispatch
	if err := decoder.Unmarshal(value, &d); err != nil {
		return o, fmt.Errorf("record: dispatch row %x = %x: %w", key, value, err)
	}
	r := reader{b: key}
	if r.take(1)[0] != tableDispatch {
		return o, errKey
	}
	run := ids.RunKey{Namespace: ids.NamespaceID(r.uuid()), Workflow: d.Workflow}
	typ := QueueType(r.take(1)[0])
	t := execution.Task{Queue: r.text(), Sticky: d.Sticky}
	t.Priority = int32(r.take(1)[0])
	t.At = clock.Nanos(r.int())
	run.Run = ids.RunID(r.uuid())
	number := r.int()
	t.Stamp = int32(binary.BigEndian.Uint32(r.take(4)))
	if err := r.done(); err != nil {
		return o, err
	}
	if typ == QueueActivity {
		t.Kind, t.ScheduledID = execution.TaskActivity, number
		o.Activity = &execution.ActivityRef{Run: run, ScheduledID: number, Stamp: t.Stamp}
	} else {
		t.Kind, t.Seq = execution.TaskWorkflow, number
		o.Workflow = &execution.WorkflowTaskRef{Run: run, Seq: number}
	}
	o.Task = t
	return o, nil
}

// DecodeMessage reads an outbox row back.
func DecodeMessage(value []byte) (*execution.Message, error) {
	m := new(execution.Message)
	if err := decoder.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("record: outbox row: %w", err)
	}
	return m, nil
}

// History rows hold events as the wire form of history.v1.History, so that rows can be joined and sent as they are.

// NextEvent splits the first event off a history row: its encoded HistoryEvent (without the field tag), its ID, and the
// rest of the row.
func NextEvent(row []byte) (event []byte, id ids.EventID, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(row)
	if n < 0 || num != 1 || typ != protowire.BytesType {
		return nil, 0, nil, fmt.Errorf("record: malformed history row")
	}
	event, m := protowire.ConsumeBytes(row[n:])
	if m < 0 {
		return nil, 0, nil, fmt.Errorf("record: malformed history row")
	}
	// The event ID is field 1 of HistoryEvent and always written first.
	if num, typ, k := protowire.ConsumeTag(event); k > 0 && num == 1 && typ == protowire.VarintType {
		if v, j := protowire.ConsumeVarint(event[k:]); j > 0 {
			return event, int64(v), row[n+m:], nil
		}
	}
	return nil, 0, nil, fmt.Errorf("record: history event without ID")
}

// DecodeEvents decodes a run of history rows.
func DecodeEvents(b []byte) ([]*historypb.HistoryEvent, error) {
	var h historypb.History
	if err := proto.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("record: decode events: %w", err)
	}
	return h.Events, nil
}
