package frontend

import (
	"fmt"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// History goes from the store to the wire as it is: a response carries it as the encoded bytes of its field `history`
// that the codec sends along like any field it does not know. The other side cannot tell the difference.

const historyField protoreflect.Name = "history"

// setHistory makes events (the wire form of history.v1.History) the field `history` of m.
func setHistory(m proto.Message, events []byte) {
	r := m.ProtoReflect()
	field := r.Descriptor().Fields().ByName(historyField)
	b := make([]byte, 0, len(events)+12)
	b = protowire.AppendTag(b, field.Number(), protowire.BytesType)
	r.SetUnknown(protowire.AppendBytes(b, events))
}

// appendEvents adds events to the wire form of a history.
func appendEvents(b []byte, events ...*historypb.HistoryEvent) ([]byte, error) {
	for _, e := range events {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(proto.Size(e)))
		var err error
		if b, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(b, e); err != nil {
			return nil, fmt.Errorf("encode event %d: %w", e.EventId, err)
		}
	}
	return b, nil
}

// Copy makes dst what a client would have that got response, which it leaves alone: for callers in the same process. dst is
// of the same type and shares nothing with response.
func Copy(dst, response proto.Message) error {
	proto.Reset(dst)
	if !carriesBytes(response) {
		proto.Merge(dst, response)
		return nil
	}
	b, err := proto.Marshal(response)
	if err == nil {
		err = proto.Unmarshal(b, dst)
	}
	if err != nil {
		return fmt.Errorf("decode history of %s: %w", response.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

// carriesBytes tells whether m, or the workflow task inside it, holds undecoded history.
func carriesBytes(m proto.Message) bool {
	switch m := m.(type) {
	case *workflowservice.StartWorkflowExecutionResponse:
		return m.GetEagerWorkflowTask() != nil && carriesBytes(m.EagerWorkflowTask)
	case *workflowservice.RespondWorkflowTaskCompletedResponse:
		return m.GetWorkflowTask() != nil && carriesBytes(m.WorkflowTask)
	}
	return len(m.ProtoReflect().GetUnknown()) > 0
}
