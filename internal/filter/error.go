package filter

import "fmt"

// Error says why a query was refused; always the caller's fault. Parse returns no other error.
type Error struct {
	// Text lacks the prefix that Error adds.
	Text string
}

// Error is the text clients know, "invalid query: ...".
func (e *Error) Error() string { return "invalid query: " + e.Text }

func refuse(format string, args ...any) error { return &Error{Text: fmt.Sprintf(format, args...)} }

func malformed(format string, args ...any) error {
	return refuse("malformed SQL query: %s", fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return refuse("operation is not supported: %s", fmt.Sprintf(format, args...))
}

func invalidExpression(format string, args ...any) error {
	return refuse("invalid expression: %s", fmt.Sprintf(format, args...))
}

// ValueError says why a payload is no value of an attribute; always the caller's fault.
type ValueError struct {
	Attribute string // as the user wrote it
	Type      string // "Keyword", "Int", ...
	Reason    error
}

// Error is "invalid value for search attribute NAME of type TYPE: reason".
func (e *ValueError) Error() string {
	return fmt.Sprintf("invalid value for search attribute %s of type %s: %v", e.Attribute, e.Type, e.Reason)
}

// Unwrap is the reason.
func (e *ValueError) Unwrap() error { return e.Reason }
