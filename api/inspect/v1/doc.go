// Package inspectpb is the API by which Perdure tells what became of messages to workflows and why workflows do not go
// on. inspect.proto describes it; `make proto` makes the rest.
package inspectpb
