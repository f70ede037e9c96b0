// Package failure holds the errors that cross the wire and turns them into failure protos and back.
//
// Every way an execution can fail has a type, always used as a pointer, found with errors.As or [errors.AsType], and
// unwrapping to its cause: [ApplicationError], [TimeoutError], [CanceledError], [TerminatedError], [ServerError],
// [ActivityError], [ChildWorkflowError], [PanicError], [NexusOperationError], [NexusHandlerError]. Any other Go error
// becomes an application failure, named after its Go type and retryable, with the errors it wraps as causes.
//
// An error that was received keeps its failure and is sent on exactly as it came, whatever language it came from and
// whatever this SDK does not understand of it. Changing its fields therefore changes nothing on the wire: to send
// something else, make a new error.
package failure
