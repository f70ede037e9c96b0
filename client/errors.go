package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/perdure/perdure/internal/handlers"
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

// UpdateWaitError says that the caller stopped waiting. An update that was accepted goes on; one that was not may never have
// arrived, or be lost when the server restarts. UpdateHandleOf asks again; making it once more under the same ID is safe.
type UpdateWaitError struct {
	WorkflowID, UpdateID string
	Cause                error
}

func (e *UpdateWaitError) Error() string {
	return fmt.Sprintf("waiting for update %q of workflow %q ended; if it was accepted it goes on: %v", e.UpdateID, e.WorkflowID, e.Cause)
}
func (e *UpdateWaitError) Unwrap() error { return e.Cause }

// NotReadyError says that no worker can answer a query or update: the workflow ended before its code ran, or its workflow task
// keeps failing.
type NotReadyError struct{ Cause error }

func (e *NotReadyError) Error() string { return e.Cause.Error() }
func (e *NotReadyError) Unwrap() error { return e.Cause }

type (
	// UsageError says what is wrong with a call before any request is made.
	UsageError = handlers.UsageError
	// DefinitionError lists all that is wrong with a workflow type. It comes before any request is made.
	DefinitionError = handlers.DefinitionError
)

// fromService makes a typed error of a status. What is none, such as a codec's error, stays what it is.
func fromService(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return serviceerror.FromStatus(s)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return serviceerror.FromStatus(status.FromContextError(err))
	}
	return err
}

// passes says whether the same request may fare better later: the server is away or busy, or gave up in favour of another request.
// Of several operations that were tried as one, the culprit counts; its companions are aborted because of it.
func passes(err error) bool {
	var multi *serviceerror.MultiOperationExecution
	if errors.As(err, &multi) {
		one := culprit(err)
		return one == err || passes(one)
	}
	said, ok := err.(serviceerror.ServiceError)
	return ok && slices.Contains([]codes.Code{codes.Unavailable, codes.ResourceExhausted, codes.Aborted}, said.Status().Code())
}

// ended adds what ended ctx, for errors.Is, to what the service said because of it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}

// typed turns an error of the service into one of this package.
func typed(workflowID string, err error) error {
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	var missing *serviceerror.NotFound
	var unready *serviceerror.WorkflowNotReady
	switch {
	case errors.As(err, &unready):
		return &NotReadyError{err}
	case errors.As(err, &started):
		return &AlreadyStartedError{WorkflowID: workflowID, RunID: started.RunId, Cause: err}
	case errors.As(err, &missing):
		return &NotFoundError{err}
	}
	return err
}

func waiting(ctx context.Context, workflowID, updateID string, err error) error {
	var late *serviceerror.DeadlineExceeded
	var canceled *serviceerror.Canceled
	if ctx.Err() != nil || errors.As(err, &late) || errors.As(err, &canceled) {
		return &UpdateWaitError{workflowID, updateID, err}
	}
	return err
}
