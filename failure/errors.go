package failure

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"

	"github.com/perdure/perdure/converter"
)

// received is what an error that was received remembers. Every type here embeds it.
type received struct {
	proto *failurepb.Failure
	stack string // in the clear, even if the proto carries it encoded
}

func (r *received) origin() *received { return r }

// StackTrace is where err was raised, as its sender wrote it: empty for errors that were not received, except for a
// [PanicError], or whose sender sent none. It looks at err itself, not at its causes.
func StackTrace(err error) string {
	if p, ok := err.(*PanicError); ok {
		return p.Stack
	}
	if r, ok := err.(interface{ origin() *received }); ok {
		return r.origin().stack
	}
	return ""
}

// ApplicationError is a failure that user code reports. Its zero value is retryable.
type ApplicationError struct {
	Message string
	// Type is what retry policies and callers tell failures apart by.
	Type string
	// NonRetryable ends retrying, whatever the retry policy says.
	NonRetryable bool
	// Details go along with the failure: [converter.ValueOf] makes them, Get reads them.
	Details converter.Value
	// NextRetryDelay replaces the interval the retry policy would choose, once. Zero leaves it to the policy.
	NextRetryDelay time.Duration
	// Category tells failures that are to be expected (benign) from others, for logs and metrics.
	Category enumspb.ApplicationErrorCategory
	Cause    error

	received
}

// ApplicationOptions are the rarer parts of an [ApplicationError].
type ApplicationOptions struct {
	NonRetryable   bool
	Details        []any
	NextRetryDelay time.Duration
	Category       enumspb.ApplicationErrorCategory
	Cause          error
}

// NewApplicationError makes an application error; without options it is retryable. More than one opts is a mistake of
// which only the first counts.
func NewApplicationError(message, typ string, opts ...ApplicationOptions) *ApplicationError {
	e := &ApplicationError{Message: message, Type: typ}
	if len(opts) > 0 {
		o := opts[0]
		e.NonRetryable, e.NextRetryDelay, e.Category, e.Cause = o.NonRetryable, o.NextRetryDelay, o.Category, o.Cause
		e.Details = converter.ValueOf(o.Details...)
	}
	return e
}

// Retryable makes an application error that is retried as the retry policy says. The cause may be nil.
func Retryable(message, typ string, cause error, details ...any) *ApplicationError {
	return NewApplicationError(message, typ, ApplicationOptions{Cause: cause, Details: details})
}

// NonRetryable makes an application error that is not retried. The cause may be nil.
func NonRetryable(message, typ string, cause error, details ...any) *ApplicationError {
	return NewApplicationError(message, typ, ApplicationOptions{Cause: cause, Details: details, NonRetryable: true})
}

func (e *ApplicationError) Error() string {
	text := e.Message
	switch {
	case e.Type != "" && text != "":
		text = e.Type + ": " + text
	case e.Type != "":
		text = e.Type
	}
	return because(text, e.Cause)
}

func (e *ApplicationError) Unwrap() error { return e.Cause }

// Is is for [IsApplication].
func (e *ApplicationError) Is(target error) bool { return target == applicationType(e.Type) }

// TimeoutError is a timeout that the server enforced. It also is [context.DeadlineExceeded] to errors.Is.
type TimeoutError struct {
	Message string
	Kind    enumspb.TimeoutType
	// LastHeartbeat are the details of the last heartbeat of an activity that timed out, if it sent any.
	LastHeartbeat converter.Value
	Cause         error

	received
}

func (e *TimeoutError) Error() string {
	return because(fmt.Sprintf("%s (%s)", or(e.Message, "timed out"), e.Kind), e.Cause)
}

func (e *TimeoutError) Unwrap() error { return e.Cause }

// Is is for errors.Is.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// CanceledError says that something ended because it was asked to. It also is [context.Canceled] to errors.Is.
type CanceledError struct {
	// Message is "canceled" when empty.
	Message string
	Details converter.Value
	Cause   error

	received
}

// NewCanceledError makes what a workflow or activity returns to end as canceled.
func NewCanceledError(details ...any) *CanceledError {
	return &CanceledError{Details: converter.ValueOf(details...)}
}

func (e *CanceledError) Error() string { return because(e.message(), e.Cause) }

func (e *CanceledError) message() string { return or(e.Message, "canceled") }

func (e *CanceledError) Unwrap() error { return e.Cause }

// Is is for errors.Is.
func (e *CanceledError) Is(target error) bool { return target == context.Canceled }

// TerminatedError says that an execution was terminated from outside.
type TerminatedError struct {
	// Message is "terminated" when empty.
	Message string
	Cause   error

	received
}

func (e *TerminatedError) Error() string { return because(e.message(), e.Cause) }

func (e *TerminatedError) message() string { return or(e.Message, "terminated") }

func (e *TerminatedError) Unwrap() error { return e.Cause }

// ServerError is a failure that the server raised itself.
type ServerError struct {
	Message      string
	NonRetryable bool
	Cause        error

	received
}

func (e *ServerError) Error() string { return because(or(e.Message, "server error"), e.Cause) }

func (e *ServerError) Unwrap() error { return e.Cause }

// ActivityError is how an activity's failure reaches the workflow that called it; the cause says what went wrong.
type ActivityError struct {
	// Message is "activity error" when empty.
	Message          string
	ActivityID       string
	ActivityType     string
	Identity         string // of the worker that ran the last attempt
	ScheduledEventID int64
	StartedEventID   int64
	RetryState       enumspb.RetryState
	Cause            error

	received
}

func (e *ActivityError) Error() string {
	return because(fmt.Sprintf("activity %s with ID %q failed (%s)", e.ActivityType, e.ActivityID, e.RetryState), e.Cause)
}

func (e *ActivityError) message() string { return or(e.Message, "activity error") }

func (e *ActivityError) Unwrap() error { return e.Cause }

// ChildWorkflowError is how a child workflow's failure reaches its parent; the cause says what went wrong.
type ChildWorkflowError struct {
	// Message is "child workflow execution error" when empty.
	Message          string
	Namespace        string
	WorkflowID       string
	RunID            string
	WorkflowType     string
	InitiatedEventID int64
	StartedEventID   int64
	RetryState       enumspb.RetryState
	Cause            error

	received
}

func (e *ChildWorkflowError) Error() string {
	return because(fmt.Sprintf("child workflow %s with ID %q failed (%s)", e.WorkflowType, e.WorkflowID, e.RetryState), e.Cause)
}

func (e *ChildWorkflowError) message() string { return or(e.Message, "child workflow execution error") }

func (e *ChildWorkflowError) Unwrap() error { return e.Cause }

// PanicError is a panic of user code. On the wire it is an application failure of type "PanicError".
type PanicError struct {
	// Value is what was panicked with; of a received error it is the text of it.
	Value any
	Stack string
	// NonRetryable is for panics that are to fail a workflow.
	NonRetryable bool

	received
}

func (e *PanicError) Error() string { return "panic: " + e.message() }

// Is is for [IsApplication].
func (e *PanicError) Is(target error) bool { return target == applicationType(panicType) }

func (e *PanicError) message() string { return fmt.Sprint(e.Value) }

// NexusOperationError is how a Nexus operation's failure reaches the workflow that called it.
type NexusOperationError struct {
	// Message is "nexus operation failed" when empty.
	Message          string
	ScheduledEventID int64
	Endpoint         string
	Service          string
	Operation        string
	// OperationToken is empty when the operation failed before it ran asynchronously.
	OperationToken string
	Cause          error

	received
}

func (e *NexusOperationError) Error() string {
	return because(fmt.Sprintf("%s: %s/%s at %s", e.message(), e.Service, e.Operation, e.Endpoint), e.Cause)
}

func (e *NexusOperationError) message() string { return or(e.Message, "nexus operation failed") }

func (e *NexusOperationError) Unwrap() error { return e.Cause }

// NexusHandlerError is a Nexus handler's refusal of a request. Type is one of the protocol's, such as BAD_REQUEST.
type NexusHandlerError struct {
	Message       string
	Type          string
	RetryBehavior enumspb.NexusHandlerErrorRetryBehavior
	Cause         error

	received
}

func (e *NexusHandlerError) Error() string {
	return because(fmt.Sprintf("nexus handler: %s (%s)", or(e.Message, "failed"), e.Type), e.Cause)
}

func (e *NexusHandlerError) Unwrap() error { return e.Cause }

// IsCanceled reports whether err, or what it was caused by, is a [CanceledError].
func IsCanceled(err error) bool {
	_, ok := errors.AsType[*CanceledError](err)
	return ok
}

// IsTimeout reports whether err, or what it was caused by, is a [TimeoutError].
func IsTimeout(err error) bool {
	_, ok := errors.AsType[*TimeoutError](err)
	return ok
}

// IsApplication reports whether err, or anything it was caused by, is an application failure of this type, which for
// panics is "PanicError".
func IsApplication(err error, typ string) bool { return errors.Is(err, applicationType(typ)) }

// applicationType is what [IsApplication] hands to errors.Is, which knows every way of wrapping.
type applicationType string

func (t applicationType) Error() string { return string(t) }

func because(text string, cause error) string {
	if cause == nil {
		return text
	}
	return text + ": " + cause.Error()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
