package client

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/status"
)

// NotFoundError says that there is no such workflow, or none that is open where that is needed.
type NotFoundError struct{ Cause error }

func (e *NotFoundError) Error() string { return e.Cause.Error() }
func (e *NotFoundError) Unwrap() error { return e.Cause }

// AlreadyStartedError says that a workflow with the ID is there, as run RunID.
type AlreadyStartedError struct {
	WorkflowID, RunID string
	Cause             error
}

func (e *AlreadyStartedError) Error() string {
	return fmt.Sprintf("workflow %q is already started", e.WorkflowID)
}
func (e *AlreadyStartedError) Unwrap() error { return e.Cause }

// WorkflowFailedError is how a workflow ended that did not complete; Cause says how: a *failure.ApplicationError, CanceledError,
// TerminatedError, TimeoutError or another.
type WorkflowFailedError struct {
	WorkflowID, RunID string
	Cause             error
}

func (e *WorkflowFailedError) Error() string {
	return fmt.Sprintf("workflow %q: %v", e.WorkflowID, e.Cause)
}
func (e *WorkflowFailedError) Unwrap() error { return e.Cause }

// QueryFailedError is what the query's handler answered, or why there was none.
type QueryFailedError struct{ Cause error }

func (e *QueryFailedError) Error() string { return "query failed: " + e.Cause.Error() }
func (e *QueryFailedError) Unwrap() error { return e.Cause }

// QueryRejectedError says that the workflow is not in a state in which the caller wants an answer.
type QueryRejectedError struct {
	Status enumspb.WorkflowExecutionStatus
}

func (e *QueryRejectedError) Error() string {
	return "query rejected: workflow is " + e.Status.String()
}

// UpdateFailedError is how an update ended that was rejected, or that failed after it was accepted.
type UpdateFailedError struct{ Cause error }

func (e *UpdateFailedError) Error() string { return "update failed: " + e.Cause.Error() }
func (e *UpdateFailedError) Unwrap() error { return e.Cause }

// UpdateWaitError says that the caller stopped waiting. The update goes on; its handle asks again.
type UpdateWaitError struct{ Cause error }

func (e *UpdateWaitError) Error() string {
	return "waiting for the update ended, the update goes on: " + e.Cause.Error()
}
func (e *UpdateWaitError) Unwrap() error { return e.Cause }

// UsageError says what is wrong with a call before any request is made.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func statusOf(err error) *status.Status {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	return s
}

func passes(err error) bool {
	var unavailable *serviceerror.Unavailable
	var exhausted *serviceerror.ResourceExhausted
	var aborted *serviceerror.MultiOperationExecution
	return !errors.As(err, &aborted) && (errors.As(err, &unavailable) || errors.As(err, &exhausted))
}

// typed turns an error of the service into one of this package.
func typed(workflowID string, err error) error {
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &started):
		return &AlreadyStartedError{WorkflowID: workflowID, RunID: started.RunId, Cause: err}
	case errors.As(err, &missing):
		return &NotFoundError{err}
	}
	return err
}

func waiting(ctx context.Context, err error) error {
	var late *serviceerror.DeadlineExceeded
	var canceled *serviceerror.Canceled
	if ctx.Err() != nil || errors.As(err, &late) || errors.As(err, &canceled) {
		return &UpdateWaitError{err}
	}
	return err
}
