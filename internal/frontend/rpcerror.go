package frontend

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/taskqueue"
)

// maxErrorBytes bounds an error's text on the wire.
const maxErrorBytes = 4000

// Response headers that name the cause and the scope of RESOURCE_EXHAUSTED.
const (
	headerExhaustedCause = "X-Resource-Exhausted-Cause"
	headerExhaustedScope = "X-Resource-Exhausted-Scope"
)

// statusError is an error as the client sees it.
type statusError struct {
	status *status.Status
	mask   string // not empty if the text was replaced: log it with cause, which has the true one
	cause  error
}

func (e *statusError) Error() string { return e.status.Err().Error() }

// GRPCStatus is what gRPC sends.
func (e *statusError) GRPCStatus() *status.Status { return e.status }

// Unwrap is the error that was turned into a status.
func (e *statusError) Unwrap() error { return e.cause }

// toStatus turns any error but nil into the one that clients see. It is the only place that knows codes and details;
// the table in its test lists what becomes of what. What it has turned before stays as it is.
func toStatus(err error) *statusError {
	if e := (*statusError)(nil); errors.As(err, &e) {
		return e
	}
	if e := (*serviceerror.MultiOperationExecution)(nil); errors.As(err, &e) {
		return multiOperationStatus(e)
	}
	st := classify(err)
	switch code := st.Code(); {
	case (code == codes.Internal || code == codes.Unknown) && len(st.Proto().GetDetails()) == 0:
		return masked(codes.Internal, err)
	case code == codes.DataLoss:
		return masked(code, err)
	}
	return &statusError{status: truncate(st), cause: err}
}

// masked keeps the text of a fault of ours from clients. Equal texts have equal masks.
func masked(code codes.Code, err error) *statusError {
	mask := fmt.Sprintf("%08x", uint32(xxhash.Sum64String(err.Error())))
	return &statusError{
		status: status.Newf(code, "something went wrong, please retry (%s)", mask), mask: mask, cause: err,
	}
}

// classify finds the innermost error that says what it is; what was wrapped around it is for logs.
func classify(err error) *status.Status {
	if e := (*execution.Error)(nil); errors.As(err, &e) {
		return executionStatus(e)
	}
	if e := serviceerror.ServiceError(nil); errors.As(err, &e) {
		return e.Status()
	}
	if e := (*filter.Error)(nil); errors.As(err, &e) {
		return status.New(codes.InvalidArgument, e.Error())
	}
	if e := (*filter.ValueError)(nil); errors.As(err, &e) {
		return status.New(codes.InvalidArgument, e.Error())
	}
	if e := (*storage.CorruptionError)(nil); errors.As(err, &e) {
		return status.New(codes.DataLoss, e.Error())
	}
	if e := (interface{ GRPCStatus() *status.Status })(nil); errors.As(err, &e) && e.GRPCStatus() != nil {
		return e.GRPCStatus()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, context.DeadlineExceeded.Error())
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, context.Canceled.Error())
	case errors.Is(err, taskqueue.ErrTooManyPolls):
		return exhausted("namespace concurrent poller limit exceeded", enumspb.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT)
	case errors.Is(err, storage.ErrUnknown), errors.Is(err, storage.ErrFenced):
		return status.New(codes.Unavailable, "the outcome of the write is not known, try again")
	case errors.Is(err, storage.ErrClosed), errors.Is(err, engine.ErrStopped):
		return status.New(codes.Unavailable, "the server is shutting down")
	}
	return status.New(codes.Internal, err.Error())
}

// kindCodes has no Stale: that never leaves the server.
var kindCodes = map[execution.ErrorKind]codes.Code{
	execution.InvalidArgument:    codes.InvalidArgument,
	execution.NotFound:           codes.NotFound,
	execution.AlreadyExists:      codes.AlreadyExists,
	execution.FailedPrecondition: codes.FailedPrecondition,
	execution.ResourceExhausted:  codes.ResourceExhausted,
	execution.PermissionDenied:   codes.PermissionDenied,
	execution.Unavailable:        codes.Unavailable,
	execution.Aborted:            codes.Aborted,
	execution.Internal:           codes.Internal,
}

func executionStatus(e *execution.Error) *status.Status {
	code, ok := kindCodes[e.Kind]
	if !ok {
		return status.New(codes.Internal, e.Message)
	}
	if e.Detail != nil {
		return withDetail(code, e.Message, e.Detail)
	}
	switch e.Kind {
	case execution.NotFound:
		return withDetail(code, e.Message, &errordetailspb.NotFoundFailure{})
	case execution.PermissionDenied:
		return withDetail(code, e.Message, &errordetailspb.PermissionDeniedFailure{})
	case execution.ResourceExhausted:
		return exhausted(e.Message, e.Cause)
	}
	return status.New(code, e.Message)
}

func exhausted(message string, cause enumspb.ResourceExhaustedCause) *status.Status {
	scope := enumspb.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE
	switch cause {
	case enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED, enumspb.RESOURCE_EXHAUSTED_CAUSE_PERSISTENCE_LIMIT,
		enumspb.RESOURCE_EXHAUSTED_CAUSE_PERSISTENCE_STORAGE_LIMIT, enumspb.RESOURCE_EXHAUSTED_CAUSE_CIRCUIT_BREAKER_OPEN:
		scope = enumspb.RESOURCE_EXHAUSTED_SCOPE_SYSTEM
	}
	return withDetail(codes.ResourceExhausted, message, &errordetailspb.ResourceExhaustedFailure{Cause: cause, Scope: scope})
}

func withDetail(code codes.Code, message string, detail proto.Message) *status.Status {
	st, err := status.New(code, message).WithDetails(protoadapt.MessageV1Of(detail))
	if err != nil { // the detail does not encode: text from outside that is not UTF-8, say
		return status.New(codes.Internal, fmt.Sprintf("%s: encode the error's detail: %v", message, err))
	}
	return st
}

// multiOperationStatus maps the operations' errors too: the API's type would call those it does not know UNKNOWN.
func multiOperationStatus(e *serviceerror.MultiOperationExecution) *statusError {
	all := &statusError{cause: e}
	mapped := make([]error, len(e.OperationErrors()))
	for i, err := range e.OperationErrors() {
		if err == nil {
			continue
		}
		one := toStatus(err)
		mapped[i] = serviceerror.FromStatus(one.status)
		if one.mask != "" { // the text of e has nothing of err's
			all.mask, all.cause = one.mask, errors.Join(all.cause, err)
		}
	}
	all.status = truncate(serviceerror.ToStatus(serviceerror.NewMultiOperationExecution(e.Message, mapped)))
	return all
}

// truncate bounds the text and makes it fit for the wire; the detail stays as it is.
func truncate(st *status.Status) *status.Status {
	message := strings.ToValidUTF8(st.Message(), "\uFFFD")
	if len(message) > maxErrorBytes {
		message = strings.ToValidUTF8(message[:maxErrorBytes], "") // no half characters at the end
	}
	if message == st.Message() {
		return st
	}
	p := st.Proto()
	p.Message = message
	return status.FromProto(p)
}

// exhaustedHeaders are the response headers of a RESOURCE_EXHAUSTED status; nil for all others.
func exhaustedHeaders(st *status.Status) metadata.MD {
	if st.Code() != codes.ResourceExhausted {
		return nil
	}
	for _, d := range st.Details() {
		if f, ok := d.(*errordetailspb.ResourceExhaustedFailure); ok {
			return metadata.Pairs(headerExhaustedCause, f.GetCause().String(), headerExhaustedScope, f.GetScope().String())
		}
	}
	return nil
}
