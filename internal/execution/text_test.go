package execution_test

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
)

// How transitions read in scripts: what a reader wants to know, one fact a line, runs as R1, R2 …, times as distances
// from the start of the script.

var runPattern = regexp.MustCompile(`00000000-0000-[47]000-8000-0*([1-9][0-9]*)`)

func tidy(s string) string { return runPattern.ReplaceAllString(s, "R$1") }

func ago(n clock.Nanos) string {
	if n == 0 {
		return "never"
	}
	return "+" + n.Sub(epoch).String()
}

func decodePriority(b []byte) int32 {
	var p commonpb.Priority
	if err := proto.Unmarshal(b, &p); err != nil {
		panic(err)
	}
	return p.PriorityKey
}

// describe is everything that a transition says.
func describe(w *world, was *execution.State, tr *execution.Transition) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, strings.TrimRight(format, " ")+"\n", args...) }
	for n := tr; n != nil; n = n.Successor {
		if n != tr {
			line("then     run %s/%s", n.Next.Key.Workflow, n.Next.Key.Run)
		}
		if n.Err != nil {
			line("err      %s", errorText(n.Err))
		}
		if n.Answer != nil {
			if s := answerText(n.Answer); s != "" {
				line("answer   %s", s)
			}
		}
		for _, ev := range n.Events {
			line("%s", eventText(ev))
		}
		if n.Next != nil {
			before := was
			if n != tr {
				before = nil
			}
			for k, e := range n.Next.Buffered.All {
				if before == nil || !has(before, k) {
					line("buffered %s", strings.TrimPrefix(eventText(e.Event), "event    0 "))
				}
			}
		}
		for _, t := range n.Delete {
			line("delete   %s", taskText(t))
		}
		for _, t := range n.Put {
			line("put      %s", taskText(t))
		}
		for _, o := range n.Offers {
			if o.Volatile {
				line("offer    %s in memory only", taskText(o.Task))
			}
		}
		for _, r := range n.Replies {
			if r.Err != nil {
				line("reply    %d err %s", r.Waiter, errorText(r.Err))
			} else {
				line("reply    %d %s", r.Waiter, answerText(r.Answer))
			}
		}
		if n.Remove {
			line("remove   the run")
		}
	}
	if b.Len() == 0 && tr.Next != was {
		line("state    changed in memory only")
	}
	return b.String()
}

func has(st *execution.State, k int64) bool { _, ok := st.Buffered.Get(k); return ok }

func errorText(err error) string {
	var e *execution.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	kind := map[execution.ErrorKind]string{execution.InvalidArgument: "InvalidArgument", execution.NotFound: "NotFound", execution.AlreadyExists: "AlreadyExists",
		execution.FailedPrecondition: "FailedPrecondition", execution.ResourceExhausted: "ResourceExhausted", execution.PermissionDenied: "PermissionDenied",
		execution.Unavailable: "Unavailable", execution.Aborted: "Aborted", execution.Stale: "Stale", execution.Internal: "Internal"}[e.Kind]
	s := kind + ": " + e.Message
	if e.Cause != 0 {
		s += " (" + e.Cause.String() + ")"
	}
	if e.Detail != nil {
		s += " [" + string(e.Detail.ProtoReflect().Descriptor().Name())
		if f := fieldsText(e.Detail.ProtoReflect()); f != "" {
			s += " " + f
		}
		s += "]"
	}
	return s
}

func answerText(a any) string {
	switch a := a.(type) {
	case *execution.StartAnswer:
		s := fmt.Sprintf("run=%s started=%v status=%s", a.RunID, a.Started, a.Status)
		if a.FirstRunID != a.RunID {
			s += " first=" + string(a.FirstRunID)
		}
		if a.Attached {
			s += " attached"
		}
		if a.Eager != nil {
			s += " eager " + taskAnswer(a.Eager)
		}
		if a.Update != nil {
			s += " update " + answerText(a.Update)
		}
		if a.UpdateErr != nil {
			s += " update err " + errorText(a.UpdateErr)
		}
		return s
	case *execution.SignalAnswer:
		if a.EventID == 0 {
			return "signalled, no event yet"
		}
		return fmt.Sprintf("signalled by event %d", a.EventID)
	case *execution.EmptyAnswer, *execution.ActivityEnded:
		return "ok"
	case *execution.WorkflowTaskStarted:
		return taskAnswer(a)
	case *execution.WorkflowTaskCompleted:
		s := "completed"
		if a.ResetHistoryID != 0 {
			s = fmt.Sprintf("vanished, worker rewinds to %d", a.ResetHistoryID)
		}
		if a.Next != nil {
			s += ", next " + taskAnswer(a.Next)
		}
		for _, x := range a.Activities {
			s += ", eager " + activityAnswer(x)
		}
		return s
	case *execution.ActivityStarted:
		return activityAnswer(a)
	case *execution.HeartbeatAnswer:
		return fmt.Sprintf("cancel_requested=%v", a.CancelRequested)
	case *execution.UpdateAnswer:
		s := fmt.Sprintf("%s on %s", a.Stage, a.RunID)
		if a.OutcomeEventID != 0 {
			s += fmt.Sprintf(", outcome in event %d", a.OutcomeEventID)
		}
		if a.Outcome != nil {
			s += ", " + outcomeText(a.Outcome)
		}
		return s
	case *execution.QueryAnswer:
		switch {
		case a.Rejected != nil:
			return "rejected, the run is " + a.Rejected.Status.String()
		case a.Direct != nil && a.Direct.Sticky != nil:
			return "ask the worker of sticky queue " + a.Direct.Sticky.WorkerTaskQueue.Name
		case a.Direct != nil:
			return "ask a worker of queue " + a.Direct.Queue
		}
		return queryResultText(a.Result)
	}
	return fmt.Sprintf("%T", a)
}

func taskAnswer(a *execution.WorkflowTaskStarted) string {
	s := fmt.Sprintf("task %d/%d attempt=%d history from %d, previous %d", a.Token.ScheduledID, a.Token.StartedID, a.Attempt, a.HistoryFrom, a.PreviousStartedID)
	for _, v := range a.Virtual {
		s += fmt.Sprintf(", virtual %d %s", v.EventId, v.EventType)
	}
	for _, m := range a.Messages {
		s += fmt.Sprintf(", message %s after event %d", m.Id, m.GetEventId())
	}
	for _, id := range slices.Sorted(maps.Keys(a.Queries)) {
		s += ", query " + id
	}
	return s
}

func activityAnswer(a *execution.ActivityStarted) string {
	s := fmt.Sprintf("activity %s attempt=%d scheduled %s", a.Token.ActivityID, a.Attempt, ago(a.ScheduledAt))
	if a.Event == nil {
		s += " without its event"
	}
	if len(a.Details) > 0 {
		var p commonpb.Payloads
		_ = proto.Unmarshal(a.Details, &p)
		s += " heartbeat=" + payloadsText(&p)
	}
	if len(a.Priority) > 0 {
		s += fmt.Sprintf(" priority=%d", decodePriority(a.Priority))
	}
	return s
}

func outcomeText(o *updatepb.Outcome) string {
	if f := o.GetFailure(); f != nil {
		return "failure " + failureText(f)
	}
	return "success " + payloadsText(o.GetSuccess())
}

func queryResultText(r *querypb.WorkflowQueryResult) string {
	if r.GetErrorMessage() != "" {
		return "query failed: " + r.ErrorMessage
	}
	return "query answered " + payloadsText(r.GetAnswer())
}

func taskText(t execution.Task) string {
	var s string
	switch t.Kind {
	case execution.TaskWorkflow:
		s = fmt.Sprintf("workflow task %d to %s", t.Seq, t.Queue)
		if t.Sticky {
			s += " (sticky)"
		}
	case execution.TaskActivity:
		s = fmt.Sprintf("activity task %d to %s", t.ScheduledID, t.Queue)
		if t.Stamp != 0 {
			s += fmt.Sprintf(" stamp=%d", t.Stamp)
		}
	case execution.TaskTimer:
		return "timer " + ago(t.At)
	case execution.TaskMessage:
		s = fmt.Sprintf("message %d", t.Outbox)
		if t.Message != nil {
			s += ": " + messageText(t.Message)
		}
		return s
	}
	if t.Priority != 0 {
		s += fmt.Sprintf(" priority=%d", t.Priority)
	}
	return s
}

func messageText(m *execution.Message) string {
	kind := map[execution.MessageKind]string{execution.MessageStartChild: "start child", execution.MessageParentAck: "parent knows of",
		execution.MessageChildClosed: "child closed, to", execution.MessageSignal: "signal", execution.MessageCancel: "cancel",
		execution.MessageCloseChild: "close child"}[m.Kind]
	s := kind + " " + string(m.To.Workflow)
	if m.To.Run != "" {
		s += "/" + string(m.To.Run)
	}
	if m.Kind == execution.MessageCloseChild {
		s += fmt.Sprintf(" policy=%s first=%s", enumspb.ParentClosePolicy(m.Number), m.Text)
	}
	return s
}

func historyText(events []*historypb.HistoryEvent) string {
	var b strings.Builder
	for _, ev := range events {
		b.WriteString(eventText(ev) + "\n")
	}
	return b.String()
}

func eventText(ev *historypb.HistoryEvent) string {
	s := fmt.Sprintf("event %4d %s", ev.EventId, ev.EventType)
	m := ev.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("attributes")); f != nil {
		s += " " + fieldsText(m.Get(f).Message())
	}
	if ev.UserMetadata != nil {
		s += " user_metadata=" + payloadText(ev.UserMetadata.Summary)
	}
	return strings.TrimRight(s, " ")
}

// Fields that say the same in every script.
var dullFields = []protoreflect.Name{"namespace", "namespace_id", "parent_workflow_namespace", "parent_workflow_namespace_id", "identity",
	"workflow_task_completed_event_id", "history_size_bytes", "original_execution_run_id", "workflow_type", "activity_type", "workflow_id_reuse_policy",
	"accepted_request", "workflow_id", "meta", "accepted_request_message_id", "create_time", "start_to_close_timeout_"}

func fieldsText(m protoreflect.Message) string {
	var parts []string
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) || slices.Contains(dullFields, f.Name()) {
			continue
		}
		if s := valueText(f, m.Get(f)); s != "" {
			parts = append(parts, string(f.Name())+"="+s)
		}
	}
	return strings.Join(parts, " ")
}

func valueText(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.IsMap():
		var keys []string
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool { keys = append(keys, k.String()); return true })
		slices.Sort(keys)
		return "{" + strings.Join(keys, " ") + "}"
	case f.IsList():
		var all []string
		for i := range v.List().Len() {
			all = append(all, scalarText(f, v.List().Get(i)))
		}
		return "[" + strings.Join(all, " ") + "]"
	}
	return scalarText(f, v)
}

func scalarText(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.EnumKind:
		e := f.Enum().Values().ByNumber(v.Enum())
		if e == nil {
			return fmt.Sprint(v.Enum())
		}
		return camel(string(e.Name()), string(f.Enum().Name()))
	case protoreflect.MessageKind:
		return protoText(v.Message())
	case protoreflect.Int32Kind:
		if f.Name() == "attempt" && v.Int() == 1 {
			return ""
		}
	case protoreflect.StringKind:
		if s := v.String(); strings.ContainsAny(s, " \"") || s == "" {
			return strconv.Quote(s)
		}
	}
	return v.String()
}

// camel is an enum value's name without the prefix its type gives it.
func camel(name, typ string) string {
	var prefix strings.Builder
	for i, c := range typ {
		if i > 0 && c >= 'A' && c <= 'Z' {
			prefix.WriteByte('_')
		}
		prefix.WriteString(strings.ToUpper(string(c)))
	}
	return strings.ToLower(strings.TrimPrefix(name, prefix.String()+"_"))
}

func protoText(m protoreflect.Message) string {
	switch m := m.Interface().(type) {
	case *durationpb.Duration:
		if m.AsDuration() == 0 {
			return ""
		}
		return m.AsDuration().String()
	case *timestamppb.Timestamp:
		return ago(clock.FromProto(m))
	case *commonpb.Payloads:
		return payloadsText(m)
	case *commonpb.Payload:
		return payloadText(m)
	case *commonpb.WorkflowExecution:
		return strings.TrimSuffix(m.WorkflowId+"/"+m.RunId, "/")
	case *commonpb.Header:
		return "{" + strings.Join(slices.Sorted(maps.Keys(m.Fields)), " ") + "}"
	case *commonpb.Memo:
		return "{" + strings.Join(slices.Sorted(maps.Keys(m.Fields)), " ") + "}"
	case *commonpb.SearchAttributes:
		return "{" + strings.Join(slices.Sorted(maps.Keys(m.IndexedFields)), " ") + "}"
	case *commonpb.RetryPolicy:
		if m.MaximumAttempts == 0 && m.InitialInterval.AsDuration() == time.Second && len(m.NonRetryableErrorTypes) == 0 {
			return ""
		}
		return fmt.Sprintf("{%s x%g max %d}", m.InitialInterval.AsDuration(), m.BackoffCoefficient, m.MaximumAttempts)
	case *taskqueuepb.TaskQueue:
		if m.Kind == enumspb.TASK_QUEUE_KIND_STICKY {
			return m.Name + "(sticky)"
		}
		return m.Name
	case *failurepb.Failure:
		return failureText(m)
	case *updatepb.Outcome:
		return outcomeText(m)
	}
	return "{" + fieldsText(m) + "}"
}

func failureText(f *failurepb.Failure) string {
	var kind string
	switch i := f.FailureInfo.(type) {
	case *failurepb.Failure_ApplicationFailureInfo:
		kind = i.ApplicationFailureInfo.Type
		if i.ApplicationFailureInfo.NonRetryable {
			kind += " non-retryable"
		}
	case *failurepb.Failure_TimeoutFailureInfo:
		kind = i.TimeoutFailureInfo.TimeoutType.String()
		if i.TimeoutFailureInfo.LastHeartbeatDetails != nil {
			kind += " heartbeat=" + payloadsText(i.TimeoutFailureInfo.LastHeartbeatDetails)
		}
	case *failurepb.Failure_ServerFailureInfo:
		kind = "server"
	default:
		kind = "plain"
	}
	s := fmt.Sprintf("(%s: %s", kind, f.Message)
	if f.Cause != nil {
		s += " cause=" + failureText(f.Cause)
	}
	return s + ")"
}

func payloadText(p *commonpb.Payload) string {
	if len(p.GetData()) > 40 {
		return fmt.Sprintf("<%d bytes>", len(p.Data))
	}
	return string(p.GetData())
}

func payloadsText(p *commonpb.Payloads) string {
	var all []string
	for _, x := range p.GetPayloads() {
		all = append(all, payloadText(x))
	}
	return "[" + strings.Join(all, ",") + "]"
}
