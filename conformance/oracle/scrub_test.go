package oracle

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	// Registers the types of error details.
	_ "go.temporal.io/api/errordetails/v1"
)

// scrubber writes messages down without what may differ between two servers, or two runs of one. Of fields that are
// opaque it says only that they are set. UUIDs get names in the order in which they are first seen, so that it still shows
// whether two fields hold the same one.
type scrubber struct {
	nonce string            // part of workflow IDs and task queues that makes them new; left out
	scene string            // name of the scenario, with which they begin; written as ~
	names map[string]string // by UUID
	fresh int
}

func newScrubber(nonce, scene string) *scrubber {
	return &scrubber{nonce: nonce, scene: scene, names: map[string]string{}}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// name says how to call a UUID, unless it has a name.
func (s *scrubber) name(uuid, name string) {
	if uuid != "" && s.names[uuid] == "" {
		s.names[uuid] = name
	}
}

func (s *scrubber) str(in string) string {
	in = strings.ReplaceAll(strings.ReplaceAll(in, "-"+s.nonce, ""), s.scene, "~")
	return uuids.ReplaceAllStringFunc(in, func(u string) string {
		if s.names[u] == "" {
			s.fresh++
			s.names[u] = fmt.Sprintf("<uuid %d>", s.fresh)
		}
		return s.names[u]
	})
}

// silent fields are left out.
var silent = map[protoreflect.FullName]bool{
	// Written by our own printer of events, or of no meaning to clients.
	"temporal.api.history.v1.HistoryEvent.event_id":          true,
	"temporal.api.history.v1.HistoryEvent.event_type":        true,
	"temporal.api.history.v1.HistoryEvent.event_time":        true,
	"temporal.api.history.v1.HistoryEvent.task_id":           true,
	"temporal.api.history.v1.HistoryEvent.version":           true,
	"temporal.api.history.v1.HistoryEvent.worker_may_ignore": true,
	// How busy a queue is, and where its tasks are kept.
	"temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.backlog_count_hint":      true,
	"temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.poller_scaling_decision": true,
	"temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.poller_group_id":         true,
	"temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.poller_group_infos":      true,
	"temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.poller_groups_info":      true,
	// How a server measures and numbers is its own affair.
	"temporal.api.history.v1.WorkflowTaskStartedEventAttributes.request_id":         true,
	"temporal.api.history.v1.WorkflowTaskStartedEventAttributes.history_size_bytes": true,
	"temporal.api.history.v1.ActivityTaskStartedEventAttributes.request_id":         true,
}

const short = 120 // bytes of a string or payload that are shown in full

// text is a message on one line.
func (s *scrubber) text(m proto.Message) string {
	if m == nil || !m.ProtoReflect().IsValid() {
		return "nothing"
	}
	return s.message(m.ProtoReflect())
}

func (s *scrubber) message(m protoreflect.Message) string {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return "<time>"
	case *durationpb.Duration:
		return v.AsDuration().String()
	case *commonpb.Payload:
		return s.payload(v)
	case *anypb.Any:
		return s.any(v)
	case *historypb.History:
		return "[" + s.brief(v.GetEvents()) + "]"
	}
	var parts []string
	for _, fd := range ordered(m) {
		if m.Has(fd) && !silent[fd.FullName()] {
			parts = append(parts, string(fd.Name())+":"+s.field(fd, m.Get(fd)))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// ordered lists the fields of a message by number.
func ordered(m protoreflect.Message) []protoreflect.FieldDescriptor {
	fields := m.Descriptor().Fields()
	out := make([]protoreflect.FieldDescriptor, fields.Len())
	for i := range out {
		out[i] = fields.Get(i)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Number() < out[j].Number() })
	return out
}

func (s *scrubber) field(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case fd.IsMap():
		return s.mapping(fd, v.Map())
	case fd.IsList():
		var parts []string
		for i := range v.List().Len() {
			parts = append(parts, s.value(fd, v.List().Get(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return s.value(fd, v)
}

// mapping writes a map in the order of its values, because keys may be UUIDs.
func (s *scrubber) mapping(fd protoreflect.FieldDescriptor, m protoreflect.Map) string {
	type pair struct{ key, value string }
	var pairs []pair
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		pairs = append(pairs, pair{k.String(), s.value(fd.MapValue(), v)})
		return true
	})
	sort.Slice(pairs, func(i, j int) bool {
		return pairs[i].value < pairs[j].value || pairs[i].value == pairs[j].value && pairs[i].key < pairs[j].key
	})
	var parts []string
	for _, p := range pairs {
		parts = append(parts, s.str(p.key)+":"+p.value)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func (s *scrubber) value(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.message(v.Message())
	case protoreflect.EnumKind:
		if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.BytesKind:
		return "<bytes>"
	case protoreflect.StringKind:
		return strconv.Quote(cut(s.str(v.String())))
	}
	return v.String()
}

func (s *scrubber) payload(p *commonpb.Payload) string {
	if !utf8.Valid(p.GetData()) {
		return "<binary>"
	}
	return cut(s.str(string(p.GetData())))
}

// cut shortens what is long, and keeps different things different.
func cut(in string) string {
	in = collapse(in)
	if len(in) <= 4*short {
		return in
	}
	h := fnv.New32a()
	h.Write([]byte(in))
	return fmt.Sprintf("%s… (%d bytes, %08x)", in[:short], len(in), h.Sum32())
}

// collapse shortens long runs of one character, which scenarios use to make something long.
func collapse(in string) string {
	var b strings.Builder
	for i := 0; i < len(in); {
		j := i
		for j < len(in) && in[j] == in[i] {
			j++
		}
		if j-i >= 100 {
			fmt.Fprintf(&b, "<%d %c>", j-i, in[i])
		} else {
			b.WriteString(in[i:j])
		}
		i = j
	}
	return b.String()
}

func (s *scrubber) any(a *anypb.Any) string {
	m, err := a.UnmarshalNew()
	if err != nil {
		return string(a.MessageName())
	}
	return string(a.MessageName().Name()) + s.text(m)
}

// failure is an error with its code, its text, and its details.
func (s *scrubber) failure(err error) string {
	st := status.Convert(err).Proto()
	if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Unavailable && st.GetDetails() == nil {
		return code.String() // the text depends on who of client and server gave up first
	}
	out := fmt.Sprintf("%s %q", status.Code(err), cut(s.str(st.GetMessage())))
	for _, d := range st.GetDetails() {
		out += " " + s.any(d)
	}
	return out
}

// event is a history event on one line.
func (s *scrubber) event(e *historypb.HistoryEvent) string {
	// Of a signal from another workflow the server makes the request ID, in a form of its own.
	if a := e.GetWorkflowExecutionSignaledEventAttributes(); a.GetExternalWorkflowExecution() != nil && a.GetRequestId() != "" {
		a.RequestId = "<made by the server>"
	}
	text := s.message(e.ProtoReflect())
	// The attributes are the only message in it that is always there; their field name repeats the type.
	text = strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	if i := strings.Index(text, "event_attributes:"); i >= 0 {
		start := strings.LastIndex(text[:i], " ") + 1
		text = text[:start] + text[i+len("event_attributes:"):]
	}
	return fmt.Sprintf("%d %s %s", e.GetEventId(), shape(e), text)
}

// brief lists events by ID and type.
func (s *scrubber) brief(events []*historypb.HistoryEvent) string {
	var parts []string
	for _, e := range events {
		parts = append(parts, fmt.Sprintf("%d %s", e.GetEventId(), shape(e)))
	}
	return strings.Join(parts, ", ")
}

// shape is the type of an event as scenarios write it: WorkflowExecution is left out and WorkflowTask is WFT, except where that would
// make two types the same.
func shape(e *historypb.HistoryEvent) string {
	name := e.GetEventType().String()
	if rest, ok := strings.CutPrefix(name, "WorkflowExecution"); ok {
		return rest
	}
	if rest, ok := strings.CutPrefix(name, "WorkflowTask"); ok {
		return "WFT" + rest
	}
	return name
}

// shapes lists the types of events.
func shapes(events []*historypb.HistoryEvent) string {
	var parts []string
	for _, e := range events {
		parts = append(parts, shape(e))
	}
	return strings.Join(parts, " ")
}
