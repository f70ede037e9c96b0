package failure_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
)

func jsonPayloads(data ...string) *commonpb.Payloads {
	ps := &commonpb.Payloads{}
	for _, d := range data {
		ps.Payloads = append(ps.Payloads, &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(d)})
	}
	return ps
}

func application(message string, info *failurepb.ApplicationFailureInfo, cause *failurepb.Failure) *failurepb.Failure {
	return &failurepb.Failure{
		Message: message, Source: "GoSDK", Cause: cause,
		FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: info},
	}
}

// notFound is an error of somebody's program.
type notFound struct{ name string }

func (n *notFound) Error() string { return n.name + " not found" }

type valueError string

func (v valueError) Error() string { return string(v) }

// TestErrorsBecomeTheFailuresOfTheOfficialGoSDK writes out what that SDK sends.
func TestErrorsBecomeTheFailuresOfTheOfficialGoSDK(t *testing.T) {
	missing := application("x not found", &failurepb.ApplicationFailureInfo{Type: "notFound"}, nil)
	for name, tc := range map[string]struct {
		err  error
		want *failurepb.Failure
	}{
		"nil":          {nil, nil},
		"plain error":  {errors.New("a"), application("a", &failurepb.ApplicationFailureInfo{}, nil)},
		"pointer type": {&notFound{"x"}, missing},
		"value type":   {valueError("v"), application("v", &failurepb.ApplicationFailureInfo{Type: "valueError"}, nil)},
		"wrapped": {
			fmt.Errorf("load: %w", &notFound{"x"}),
			application("load: x not found", &failurepb.ApplicationFailureInfo{Type: "wrapError"}, missing),
		},
		"joined": {
			errors.Join(errors.New("a"), errors.New("b")),
			application("a\nb", &failurepb.ApplicationFailureInfo{Type: "joinError"}, nil),
		},
		"application": {
			failure.NewApplicationError("a", "T", failure.ApplicationOptions{
				NonRetryable: true, Details: []any{"d", 1}, NextRetryDelay: 1500 * time.Millisecond,
				Category: enumspb.APPLICATION_ERROR_CATEGORY_BENIGN, Cause: &notFound{"x"},
			}),
			application("a", &failurepb.ApplicationFailureInfo{
				Type: "T", NonRetryable: true, Details: jsonPayloads(`"d"`, `1`),
				NextRetryDelay: durationpb.New(1500 * time.Millisecond), Category: enumspb.APPLICATION_ERROR_CATEGORY_BENIGN,
			}, missing),
		},
		"retryable":     {failure.Retryable("a", "T", nil, 1), application("a", &failurepb.ApplicationFailureInfo{Type: "T", Details: jsonPayloads("1")}, nil)},
		"not retryable": {failure.NonRetryable("a", "T", nil), application("a", &failurepb.ApplicationFailureInfo{Type: "T", NonRetryable: true}, nil)},
		"written by hand": {
			&failure.ApplicationError{Message: "a", Details: converter.ValueOf("d")},
			application("a", &failurepb.ApplicationFailureInfo{Details: jsonPayloads(`"d"`)}, nil),
		},
		"panic": {
			&failure.PanicError{Value: errors.New("boom"), Stack: "main.go:1"},
			&failurepb.Failure{Message: "boom", Source: "GoSDK", StackTrace: "main.go:1", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
				ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "PanicError"}}},
		},
		"canceled": {
			failure.NewCanceledError("d"),
			&failurepb.Failure{Message: "canceled", Source: "GoSDK", FailureInfo: &failurepb.Failure_CanceledFailureInfo{
				CanceledFailureInfo: &failurepb.CanceledFailureInfo{Details: jsonPayloads(`"d"`)}}},
		},
		"timeout": {
			&failure.TimeoutError{Message: "late", Kind: enumspb.TIMEOUT_TYPE_HEARTBEAT, LastHeartbeat: converter.ValueOf(3)},
			&failurepb.Failure{Message: "late", Source: "GoSDK", FailureInfo: &failurepb.Failure_TimeoutFailureInfo{
				TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: enumspb.TIMEOUT_TYPE_HEARTBEAT, LastHeartbeatDetails: jsonPayloads("3")}}},
		},
		"terminated": {
			&failure.TerminatedError{},
			&failurepb.Failure{Message: "terminated", Source: "GoSDK", FailureInfo: &failurepb.Failure_TerminatedFailureInfo{TerminatedFailureInfo: &failurepb.TerminatedFailureInfo{}}},
		},
		"server": {
			&failure.ServerError{Message: "down", NonRetryable: true},
			&failurepb.Failure{Message: "down", Source: "GoSDK", FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: true}}},
		},
		"activity": {
			&failure.ActivityError{ActivityID: "1", ActivityType: "A", Identity: "w", ScheduledEventID: 5, StartedEventID: 6, RetryState: enumspb.RETRY_STATE_TIMEOUT, Cause: &notFound{"x"}},
			&failurepb.Failure{Message: "activity error", Source: "GoSDK", Cause: missing, FailureInfo: &failurepb.Failure_ActivityFailureInfo{ActivityFailureInfo: &failurepb.ActivityFailureInfo{
				ActivityId: "1", ActivityType: &commonpb.ActivityType{Name: "A"}, Identity: "w", ScheduledEventId: 5, StartedEventId: 6, RetryState: enumspb.RETRY_STATE_TIMEOUT}}},
		},
		"child workflow": {
			&failure.ChildWorkflowError{Namespace: "n", WorkflowID: "w", RunID: "r", WorkflowType: "W", InitiatedEventID: 5, StartedEventID: 6, RetryState: enumspb.RETRY_STATE_TIMEOUT},
			&failurepb.Failure{Message: "child workflow execution error", Source: "GoSDK", FailureInfo: &failurepb.Failure_ChildWorkflowExecutionFailureInfo{ChildWorkflowExecutionFailureInfo: &failurepb.ChildWorkflowExecutionFailureInfo{
				Namespace: "n", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "w", RunId: "r"}, WorkflowType: &commonpb.WorkflowType{Name: "W"},
				InitiatedEventId: 5, StartedEventId: 6, RetryState: enumspb.RETRY_STATE_TIMEOUT}}},
		},
		"nexus operation": {
			&failure.NexusOperationError{ScheduledEventID: 5, Endpoint: "e", Service: "s", Operation: "o", OperationToken: "t"},
			&failurepb.Failure{Message: "nexus operation failed", Source: "GoSDK", FailureInfo: &failurepb.Failure_NexusOperationExecutionFailureInfo{NexusOperationExecutionFailureInfo: &failurepb.NexusOperationFailureInfo{
				ScheduledEventId: 5, Endpoint: "e", Service: "s", Operation: "o", OperationId: "t", OperationToken: "t"}}},
		},
		"nexus handler": {
			&failure.NexusHandlerError{Message: "no", Type: "BAD_REQUEST", RetryBehavior: enumspb.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE},
			&failurepb.Failure{Message: "no", Source: "GoSDK", FailureInfo: &failurepb.Failure_NexusHandlerFailureInfo{NexusHandlerFailureInfo: &failurepb.NexusHandlerFailureInfo{
				Type: "BAD_REQUEST", RetryBehavior: enumspb.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, failure.ToFailure(tc.err, nil), protocmp.Transform()); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

// receivedFailures are failures as other SDKs and servers write them, one of each kind at least.
func receivedFailures() map[string]*failurepb.Failure {
	python := &failurepb.Failure{
		Message: "no", Source: "PythonSDK", StackTrace: "File a.py",
		FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "ValueError", Details: jsonPayloads(`{"a":1}`)}},
		Cause:       &failurepb.Failure{Message: "deeper", Source: "PythonSDK", FailureInfo: &failurepb.Failure_CanceledFailureInfo{CanceledFailureInfo: &failurepb.CanceledFailureInfo{}}},
	}
	newer := &failurepb.Failure{Message: "from the future", Source: "Server"}
	newer.ProtoReflect().SetUnknown([]byte{0xfa, 0x3f, 0x02, 0x08, 0x01}) // field 1023, a message
	return map[string]*failurepb.Failure{
		"python":    python,
		"no kind":   {Message: "bare", Source: "Server"},
		"newer":     newer,
		"panic":     {Message: "boom", StackTrace: "s", Cause: python, FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "PanicError", Details: jsonPayloads("1")}}},
		"timeout":   {Message: "t", Source: "Server", FailureInfo: &failurepb.Failure_TimeoutFailureInfo{TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: enumspb.TIMEOUT_TYPE_START_TO_CLOSE, LastHeartbeatDetails: jsonPayloads("1")}}},
		"ended":     {Message: "because", Source: "Server", Cause: python, FailureInfo: &failurepb.Failure_TerminatedFailureInfo{TerminatedFailureInfo: &failurepb.TerminatedFailureInfo{Identity: "cli"}}},
		"server":    {Message: "s", Source: "Server", FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: true}}},
		"reset":     {Message: "r", Source: "Server", FailureInfo: &failurepb.Failure_ResetWorkflowFailureInfo{ResetWorkflowFailureInfo: &failurepb.ResetWorkflowFailureInfo{LastHeartbeatDetails: jsonPayloads("1")}}},
		"activity":  {Message: "a", Source: "Server", Cause: python, FailureInfo: &failurepb.Failure_ActivityFailureInfo{ActivityFailureInfo: &failurepb.ActivityFailureInfo{ActivityId: "1"}}},
		"child":     {Message: "c", Source: "Server", Cause: python, FailureInfo: &failurepb.Failure_ChildWorkflowExecutionFailureInfo{ChildWorkflowExecutionFailureInfo: &failurepb.ChildWorkflowExecutionFailureInfo{}}},
		"operation": {Message: "o", Source: "Server", Cause: python, FailureInfo: &failurepb.Failure_NexusOperationExecutionFailureInfo{NexusOperationExecutionFailureInfo: &failurepb.NexusOperationFailureInfo{OperationId: "old"}}},
		"handler":   {Message: "h", Source: "Server", FailureInfo: &failurepb.Failure_NexusHandlerFailureInfo{NexusHandlerFailureInfo: &failurepb.NexusHandlerFailureInfo{Type: "INTERNAL"}}},
		"encoded":   {Message: "Encoded failure", Source: "PythonSDK", EncodedAttributes: jsonPayloads(`{"message":"secret","stack_trace":"s"}`).Payloads[0], FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{}}},
	}
}

func TestWhatWasReceivedIsSentOnUnchanged(t *testing.T) {
	for name, f := range receivedFailures() {
		t.Run(name, func(t *testing.T) {
			before := proto.Clone(f)
			for _, opts := range []failure.Options{{}, {EncodeCommonAttributes: true}} {
				c := failure.Default(nil, opts)
				again := c.ToFailure(c.FromFailure(f))
				if diff := cmp.Diff(before, proto.Message(again), protocmp.Transform()); diff != "" {
					t.Errorf("sent on with %+v (-received +sent):\n%s", opts, diff)
				}
				again.Message = "the caller's own" // must not reach what the error keeps
			}
			if diff := cmp.Diff(before, proto.Message(f), protocmp.Transform()); diff != "" {
				t.Errorf("the received failure changed:\n%s", diff)
			}
		})
	}
}

// TestAReceivedCauseIsSentOnUnchanged: a workflow wraps what an activity failed with.
func TestAReceivedCauseIsSentOnUnchanged(t *testing.T) {
	f := receivedFailures()["activity"]
	got := failure.ToFailure(fmt.Errorf("charge: %w", failure.FromFailure(f, nil)), nil)
	if diff := cmp.Diff(f, got.GetCause(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got.GetApplicationFailureInfo().GetType() != "wrapError" {
		t.Errorf("outer failure is %v", got)
	}
}

func TestReceivedFailuresAreTyped(t *testing.T) {
	fs := receivedFailures()
	check := func(name string, ok func(error) bool) {
		t.Helper()
		if err := failure.FromFailure(fs[name], nil); !ok(err) {
			t.Errorf("%s: %#v", name, err)
		}
	}
	check("python", func(err error) bool {
		e, ok := errors.AsType[*failure.ApplicationError](err)
		var details struct{ A int }
		return ok && e.Message == "no" && e.Type == "ValueError" && !e.NonRetryable && e.Details.Get(&details) == nil && details.A == 1 &&
			failure.StackTrace(err) == "File a.py" && failure.IsCanceled(err)
	})
	check("no kind", func(err error) bool {
		e, ok := err.(*failure.ApplicationError)
		return ok && e.Type == "" && e.Message == "bare" && !e.NonRetryable
	})
	check("panic", func(err error) bool {
		e, ok := err.(*failure.PanicError)
		return ok && e.Value == "boom" && e.Stack == "s" && failure.StackTrace(err) == "s"
	})
	check("timeout", func(err error) bool {
		e, ok := err.(*failure.TimeoutError)
		var n int
		return ok && e.Kind == enumspb.TIMEOUT_TYPE_START_TO_CLOSE && e.LastHeartbeat.Get(&n) == nil && n == 1
	})
	check("ended", func(err error) bool {
		e, ok := err.(*failure.TerminatedError)
		return ok && e.Message == "because" && failure.IsApplication(err, "ValueError")
	})
	check("server", func(err error) bool { e, ok := err.(*failure.ServerError); return ok && e.NonRetryable })
	check("reset", func(err error) bool {
		e, ok := err.(*failure.ApplicationError)
		return ok && e.NonRetryable && e.Details.Len() == 1
	})
	check("activity", func(err error) bool {
		e, ok := err.(*failure.ActivityError)
		return ok && e.ActivityID == "1" && failure.IsApplication(err, "ValueError")
	})
	check("child", func(err error) bool {
		_, ok := err.(*failure.ChildWorkflowError)
		return ok && failure.IsApplication(err, "ValueError")
	})
	check("operation", func(err error) bool {
		e, ok := err.(*failure.NexusOperationError)
		return ok && e.OperationToken == "old" && failure.IsApplication(err, "ValueError")
	})
	check("handler", func(err error) bool { e, ok := err.(*failure.NexusHandlerError); return ok && e.Type == "INTERNAL" })
	check("encoded", func(err error) bool {
		e, ok := err.(*failure.ApplicationError)
		return ok && e.Message == "secret" && failure.StackTrace(err) == "s"
	})
	if failure.FromFailure(nil, nil) != nil {
		t.Error("no failure is an error")
	}
}

// TestEveryFieldSurvivesTheWire sends errors of our own and reads them back.
func TestEveryFieldSurvivesTheWire(t *testing.T) {
	for name, err := range map[string]error{
		"application": failure.NewApplicationError("a", "T", failure.ApplicationOptions{NonRetryable: true, NextRetryDelay: time.Second, Category: enumspb.APPLICATION_ERROR_CATEGORY_BENIGN}),
		"activity":    &failure.ActivityError{Message: "m", ActivityID: "1", ActivityType: "A", Identity: "w", ScheduledEventID: 5, StartedEventID: 6, RetryState: enumspb.RETRY_STATE_TIMEOUT},
		"child":       &failure.ChildWorkflowError{Message: "m", Namespace: "n", WorkflowID: "w", RunID: "r", WorkflowType: "W", InitiatedEventID: 5, StartedEventID: 6, RetryState: enumspb.RETRY_STATE_TIMEOUT},
		"operation":   &failure.NexusOperationError{Message: "m", ScheduledEventID: 5, Endpoint: "e", Service: "s", Operation: "o", OperationToken: "t"},
		"handler":     &failure.NexusHandlerError{Message: "m", Type: "INTERNAL", RetryBehavior: enumspb.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE},
		"server":      &failure.ServerError{Message: "m", NonRetryable: true},
		"panic":       &failure.PanicError{Value: "p", Stack: "s", NonRetryable: true},
		"terminated":  &failure.TerminatedError{Message: "m"},
	} {
		t.Run(name, func(t *testing.T) {
			back := failure.FromFailure(failure.ToFailure(err, nil), nil)
			ignore := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "received") || p.String() == "Details" }, cmp.Ignore())
			if diff := cmp.Diff(err, back, ignore); diff != "" {
				t.Errorf("(-sent +received):\n%s", diff)
			}
			if back.Error() != err.Error() {
				t.Errorf("reads %q, was %q", back, err)
			}
		})
	}
}

func TestMessagesCanBeMovedIntoAPayload(t *testing.T) {
	c := failure.Default(nil, failure.Options{EncodeCommonAttributes: true})
	f := c.ToFailure(failure.Retryable("secret", "T", &failure.PanicError{Value: "also secret", Stack: "line 1"}))
	for f, want := range map[*failurepb.Failure]string{
		f:            `{"message":"secret","stack_trace":""}`,
		f.GetCause(): `{"message":"also secret","stack_trace":"line 1"}`,
	} {
		if f.GetMessage() != "Encoded failure" || f.GetStackTrace() != "" || string(f.GetEncodedAttributes().GetData()) != want {
			t.Errorf("failure is %v", f)
		}
	}
	if err := failure.FromFailure(f, nil); err.Error() != "T: secret: panic: also secret" {
		t.Errorf("reads %q", err)
	}
}

// deaf converts nothing.
type deaf struct{}

func (deaf) ToPayload(any) (*commonpb.Payload, error) { return nil, errors.New("deaf") }
func (deaf) FromPayload(*commonpb.Payload, any) error { return errors.New("deaf") }

func TestAConverterThatFailsNeitherLosesTheFailureNorDisclosesIt(t *testing.T) {
	err := failure.Retryable("secret", "T", nil, "d")
	f := failure.ToFailure(err, deaf{})
	if !strings.Contains(f.GetMessage(), "secret") || !strings.Contains(f.GetMessage(), "deaf") || f.GetApplicationFailureInfo().GetType() != "T" {
		t.Errorf("in the clear: %v", f)
	}
	f = failure.Default(deaf{}, failure.Options{EncodeCommonAttributes: true}).ToFailure(err)
	if strings.Contains(f.String(), "secret") || f.GetApplicationFailureInfo().GetType() != "T" {
		t.Errorf("encoded: %v", f)
	}
	f = receivedFailures()["encoded"]
	if got := failure.FromFailure(f, deaf{}).Error(); got != "Encoded failure" {
		t.Errorf("unreadable: %q", got)
	}
}

func TestKindsAreFoundThroughEveryWrapping(t *testing.T) {
	canceled, timeout := failure.NewCanceledError(), &failure.TimeoutError{Kind: enumspb.TIMEOUT_TYPE_HEARTBEAT}
	inner := failure.NonRetryable("a", "Inner", nil)
	outer := failure.Retryable("b", "Outer", errors.Join(errors.New("x"), inner))
	for name, tc := range map[string]struct{ got, want bool }{
		"canceled":                {failure.IsCanceled(&failure.ActivityError{Cause: canceled}), true},
		"canceled by context":     {errors.Is(fmt.Errorf("w: %w", canceled), context.Canceled), true},
		"timeout is not canceled": {failure.IsCanceled(timeout), false},
		"timeout":                 {failure.IsTimeout(&failure.ChildWorkflowError{Cause: timeout}), true},
		"timeout of context":      {errors.Is(timeout, context.DeadlineExceeded), true},
		"outer":                   {failure.IsApplication(fmt.Errorf("w: %w", outer), "Outer"), true},
		"inner, joined":           {failure.IsApplication(outer, "Inner"), true},
		"other":                   {failure.IsApplication(outer, "Other"), false},
		"panic":                   {failure.IsApplication(&failure.PanicError{}, "PanicError"), true},
		"panic of another type":   {failure.IsApplication(&failure.PanicError{}, "Other"), false},
		"nil":                     {failure.IsApplication(nil, "") || failure.IsCanceled(nil) || failure.IsTimeout(nil), false},
		"no type":                 {failure.IsApplication(failure.Retryable("a", "", nil), ""), true},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", name, tc.got)
		}
	}
}

func TestErrorsReadWell(t *testing.T) {
	cause := failure.Retryable("no money", "Declined", nil)
	for want, err := range map[string]error{
		"Declined: no money": cause,
		"bare":               failure.Retryable("bare", "", nil),
		"OnlyType":           failure.Retryable("", "OnlyType", nil),
		`activity Charge with ID "7" failed (MaximumAttemptsReached): Declined: no money`: &failure.ActivityError{ActivityType: "Charge", ActivityID: "7", RetryState: enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, Cause: cause},
		`child workflow Order with ID "o" failed (NonRetryableFailure): canceled`:         &failure.ChildWorkflowError{WorkflowType: "Order", WorkflowID: "o", RetryState: enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE, Cause: &failure.CanceledError{}},
		"timed out (StartToClose)":          &failure.TimeoutError{Kind: enumspb.TIMEOUT_TYPE_START_TO_CLOSE},
		"terminated":                        &failure.TerminatedError{},
		"server error":                      &failure.ServerError{},
		"panic: 3":                          &failure.PanicError{Value: 3},
		"nexus operation failed: s/o at e":  &failure.NexusOperationError{Endpoint: "e", Service: "s", Operation: "o"},
		"nexus handler: failed (NOT_FOUND)": &failure.NexusHandlerError{Type: "NOT_FOUND"},
	} {
		if err.Error() != want {
			t.Errorf("reads %q, want %q", err, want)
		}
	}
}

func TestDetailsOfAnErrorThatWasNotSentCanBeRead(t *testing.T) {
	var s string
	var n int
	if err := failure.Retryable("a", "T", nil, "d", 2).Details.Get(&s, &n); err != nil || s != "d" || n != 2 {
		t.Errorf("%q %d, %v", s, n, err)
	}
}

func FuzzReceivedFailuresAreSentOnUnchanged(f *testing.F) {
	for _, r := range receivedFailures() {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &failurepb.Failure{}
		if proto.Unmarshal(b, in) != nil {
			return
		}
		err := failure.FromFailure(in, nil)
		_ = err.Error()
		if diff := cmp.Diff(in, failure.ToFailure(err, nil), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})
}
