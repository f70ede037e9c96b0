package frontend

import (
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/namespace"
)

func refuse(kind execution.ErrorKind, format string, args ...any) error {
	return &execution.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return refuse(execution.InvalidArgument, format, args...)
}

func internal(format string, args ...any) error {
	return refuse(execution.Internal, format, args...)
}

func notFound(format string, args ...any) error {
	return refuse(execution.NotFound, format, args...)
}

func permissionDenied(format string, args ...any) error {
	return refuse(execution.PermissionDenied, format, args...)
}

func badState(n *namespace.Namespace, allowed ...enumspb.NamespaceState) error {
	return &execution.Error{
		Kind:    execution.FailedPrecondition,
		Message: fmt.Sprintf("Namespace has invalid state %s. Must be one of %v for this operation.", n.State, allowed),
		Detail:  &errordetailspb.NamespaceInvalidStateFailure{Namespace: n.Name, State: n.State, AllowedStates: allowed},
	}
}

// isKind tells whether err is the core's and of that kind.
func isKind(err error, kind execution.ErrorKind) bool {
	var e *execution.Error
	return errors.As(err, &e) && e.Kind == kind
}
