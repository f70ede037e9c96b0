package frontend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/taskqueue"
)

// The whole taxonomy: what an error inside becomes outside. A detail is the only one.
func TestErrorTaxonomy(t *testing.T) {
	coreError := func(kind execution.ErrorKind, detail proto.Message) error {
		return &execution.Error{Kind: kind, Message: "m", Detail: detail}
	}
	exhaustedBy := func(cause enumspb.ResourceExhaustedCause, scope enumspb.ResourceExhaustedScope) proto.Message {
		return &errordetailspb.ResourceExhaustedFailure{Cause: cause, Scope: scope}
	}
	started := &errordetailspb.WorkflowExecutionAlreadyStartedFailure{StartRequestId: "s", RunId: "r"}
	for _, tt := range []struct {
		name   string
		err    error
		code   codes.Code
		text   string // "~" stands for a mask
		detail proto.Message
	}{
		{"malformed request", coreError(execution.InvalidArgument, nil), codes.InvalidArgument, "m", nil},
		{"query handler failed", coreError(execution.InvalidArgument, &errordetailspb.QueryFailedFailure{}), codes.InvalidArgument, "m", &errordetailspb.QueryFailedFailure{}},
		{"missing", coreError(execution.NotFound, nil), codes.NotFound, "m", &errordetailspb.NotFoundFailure{}},
		{"namespace missing", namespace.NotFound("ns"), codes.NotFound, "Namespace ns is not found.", &errordetailspb.NamespaceNotFoundFailure{Namespace: "ns"}},
		{"started already", coreError(execution.AlreadyExists, started), codes.AlreadyExists, "m", started},
		{"namespace exists", coreError(execution.AlreadyExists, &errordetailspb.NamespaceAlreadyExistsFailure{}), codes.AlreadyExists, "m", &errordetailspb.NamespaceAlreadyExistsFailure{}},
		{"guard", coreError(execution.FailedPrecondition, nil), codes.FailedPrecondition, "m", nil},
		{"not ready", coreError(execution.FailedPrecondition, &errordetailspb.WorkflowNotReadyFailure{}), codes.FailedPrecondition, "m", &errordetailspb.WorkflowNotReadyFailure{}},
		{"policy", coreError(execution.PermissionDenied, nil), codes.PermissionDenied, "m", &errordetailspb.PermissionDeniedFailure{}},
		{"try again", coreError(execution.Unavailable, nil), codes.Unavailable, "m", nil},
		{"aborted", coreError(execution.Aborted, nil), codes.Aborted, "m", nil},
		{"wrapped", fmt.Errorf("while working on it: %w", coreError(execution.Aborted, nil)), codes.Aborted, "m", nil},
		{"busy", &execution.Error{Kind: execution.ResourceExhausted, Message: "m", Cause: enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW},
			codes.ResourceExhausted, "m", exhaustedBy(enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW, enumspb.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE)},
		{"overloaded", &execution.Error{Kind: execution.ResourceExhausted, Message: "m", Cause: enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED},
			codes.ResourceExhausted, "m", exhaustedBy(enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED, enumspb.RESOURCE_EXHAUSTED_SCOPE_SYSTEM)},
		{"polls", fmt.Errorf("poll: %w", taskqueue.ErrTooManyPolls), codes.ResourceExhausted, "namespace concurrent poller limit exceeded",
			exhaustedBy(enumspb.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT, enumspb.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE)},
		{"broken invariant", coreError(execution.Internal, nil), codes.Internal, "~", nil},
		{"stale", coreError(execution.Stale, nil), codes.Internal, "~", nil},
		{"anything else", errors.New("secret"), codes.Internal, "~", nil},
		{"unknown", status.Error(codes.Unknown, "secret"), codes.Internal, "~", nil},
		{"corrupt", fmt.Errorf("read: %w", &storage.CorruptionError{Where: "/secret/path", Err: errors.New("checksum")}), codes.DataLoss, "~", nil},
		{"outcome unknown", storage.ErrUnknown, codes.Unavailable, "the outcome of the write is not known, try again", nil},
		{"fenced", fmt.Errorf("apply: %w", storage.ErrFenced), codes.Unavailable, "the outcome of the write is not known, try again", nil},
		{"closed", storage.ErrClosed, codes.Unavailable, "the server is shutting down", nil},
		{"stopped", fmt.Errorf("submit: %w", engine.ErrStopped), codes.Unavailable, "the server is shutting down", nil},
		{"bad query", &filter.Error{Text: "malformed SQL query: x"}, codes.InvalidArgument, "invalid query: malformed SQL query: x", nil},
		{"bad value", &filter.ValueError{Attribute: "A", Type: "Int", Reason: errors.New("r")}, codes.InvalidArgument, "invalid value for search attribute A of type Int: r", nil},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "context deadline exceeded", nil},
		{"canceled", fmt.Errorf("wait: %w", context.Canceled), codes.Canceled, "context canceled", nil},
		{"not implemented", status.Error(codes.Unimplemented, "method X not implemented"), codes.Unimplemented, "method X not implemented", nil},
		{"service error", fmt.Errorf("while: %w", serviceerror.NewNamespaceUnavailable("ns")), codes.Unavailable,
			serviceerror.NewNamespaceUnavailable("ns").Error(), &errordetailspb.NamespaceUnavailableFailure{Namespace: "ns"}},
		{"internal with a detail", serviceerror.FromStatus(withDetail(codes.Internal, "m", &errordetailspb.SystemWorkflowFailure{WorkflowError: "w"})),
			codes.Internal, "m", &errordetailspb.SystemWorkflowFailure{WorkflowError: "w"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := status.Convert(toStatus(tt.err))
			if st.Code() != tt.code {
				t.Errorf("code %s, want %s", st.Code(), tt.code)
			}
			if mask := toStatus(tt.err).mask; tt.text == "~" {
				if want := "something went wrong, please retry (" + mask + ")"; mask == "" || st.Message() != want {
					t.Errorf("got %q, mask %q", st.Message(), mask)
				}
			} else if st.Message() != tt.text || mask != "" {
				t.Errorf("got %q, mask %q; want %q", st.Message(), mask, tt.text)
			}
			want := []any{}
			if tt.detail != nil {
				want = []any{tt.detail}
			}
			if diff := cmp.Diff(want, st.Details(), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if again := status.Convert(toStatus(fmt.Errorf("handler: %w", toStatus(tt.err)))); !proto.Equal(again.Proto(), st.Proto()) {
				t.Errorf("mapped twice it is %v", again)
			}
		})
	}
}

func TestEveryErrorKindHasACode(t *testing.T) {
	for kind := execution.InvalidArgument; kind <= execution.Internal; kind++ {
		if _, ok := kindCodes[kind]; !ok && kind != execution.Stale {
			t.Errorf("kind %d has no code", kind)
		}
	}
}

func TestErrorsOfOperationsAreMapped(t *testing.T) {
	st := status.Convert(toStatus(fmt.Errorf("multi: %w", serviceerror.NewMultiOperationExecution("m", []error{
		serviceerror.NewMultiOperationAborted("aborted"),
		&execution.Error{Kind: execution.NotFound, Message: "gone"},
	}))))
	if st.Code() != codes.NotFound || len(st.Details()) != 1 {
		t.Fatalf("got %v", st)
	}
	failure := st.Details()[0].(*errordetailspb.MultiOperationExecutionFailure)
	aborted, gone := failure.GetStatuses()[0], failure.GetStatuses()[1]
	if codes.Code(aborted.GetCode()) != codes.Aborted || !aborted.GetDetails()[0].MessageIs(&failurepb.MultiOperationExecutionAborted{}) {
		t.Errorf("first operation: %v", aborted)
	}
	if codes.Code(gone.GetCode()) != codes.NotFound || gone.GetMessage() != "gone" || !gone.GetDetails()[0].MessageIs(&errordetailspb.NotFoundFailure{}) {
		t.Errorf("second operation: %v", gone)
	}

	secret := errors.New("secret")
	e := toStatus(serviceerror.NewMultiOperationExecution("m", []error{nil, secret}))
	if e.mask == "" || !errors.Is(e.cause, secret) || strings.Contains(fmt.Sprint(e.status.Proto()), "secret") {
		t.Errorf("a fault inside an operation: mask %q, cause %v, status %v", e.mask, e.cause, e.status)
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"just fits", strings.Repeat("x", 4000), strings.Repeat("x", 4000)},
		{"too long", strings.Repeat("x", 4001), strings.Repeat("x", 4000)},
		{"not within a character", strings.Repeat("x", 3999) + "é", strings.Repeat("x", 3999)},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := toStatus(&execution.Error{Kind: execution.NotFound, Message: tt.text})
			st := status.Convert(err)
			if st.Message() != tt.want || !utf8.ValidString(st.Message()) {
				t.Errorf("got %d bytes ending in %q", len(st.Message()), st.Message()[max(0, len(st.Message())-5):])
			}
			if len(st.Details()) != 1 {
				t.Errorf("details %v", st.Details())
			}
		})
	}
	long := strings.Repeat("n", 1<<20)
	if st := status.Convert(toStatus(namespace.NotFound(long))); proto.Size(st.Proto()) > 3000 {
		t.Errorf("an unknown namespace of %d bytes gives a status of %d", len(long), proto.Size(st.Proto()))
	}
}

func TestMaskedErrorsStayApart(t *testing.T) {
	a, b := toStatus(errors.New("a")), toStatus(errors.New("b"))
	if a.mask == b.mask || a.mask != toStatus(errors.New("a")).mask {
		t.Errorf("masks %s and %s", a.mask, b.mask)
	}
	if !strings.Contains(a.Error(), a.mask) || strings.Contains(a.Error(), `"a"`) {
		t.Errorf("text %q", a)
	}
}
