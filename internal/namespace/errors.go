package namespace

import (
	"fmt"

	errordetailspb "go.temporal.io/api/errordetails/v1"

	"github.com/perdure/perdure/internal/execution"
)

func refuse(kind execution.ErrorKind, format string, args ...any) error {
	return &execution.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return refuse(execution.InvalidArgument, format, args...)
}

// NotFound is the answer to a name or ID that no namespace has. The name is cut to MaxName bytes, since it comes from
// outside and goes back in a trailer.
func NotFound(name string) error {
	name = name[:min(len(name), MaxName)]
	return &execution.Error{
		Kind:    execution.NotFound,
		Message: fmt.Sprintf("Namespace %s is not found.", name),
		Detail:  &errordetailspb.NamespaceNotFoundFailure{Namespace: name},
	}
}

func alreadyExists(name string) error {
	return &execution.Error{
		Kind:    execution.AlreadyExists,
		Message: fmt.Sprintf("Namespace %q already exists", name),
		Detail:  &errordetailspb.NamespaceAlreadyExistsFailure{},
	}
}
