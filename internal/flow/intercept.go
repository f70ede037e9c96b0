package flow

import (
	"maps"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/converter"
)

// CallKind is what a call does.
type CallKind int

// The calls that come in, and those that go out.
const (
	CallRun CallKind = iota + 1
	CallSignal
	CallQuery
	CallUpdate
	CallValidator
	CallActivity
	CallLocalActivity
	CallChild
	CallSignalWorkflow
	CallContinueAsNew
)

var callNames = [...]string{"", "run", "signal", "query", "update", "validator", "activity", "local activity", "child", "signal to a workflow", "continue as new"}

func (k CallKind) String() string { return callNames[k] }

// Call is one that an interceptor sees.
type Call struct {
	Kind CallKind
	// Name of the workflow type, the message or the activity.
	Name string
	// ID of the update; of calls that go out, that of the activity or of the other workflow.
	ID string
	// Header came with the call. That of one that goes out may be changed.
	Header map[string]*commonpb.Payload
	// Args of a call that comes in.
	Args converter.Args
	// Result of a call that came in, when next has returned without an error. It may be replaced by one of the same type.
	Result any
}

// Interceptor sees what comes into and goes out of workflow code. It runs in the workflow, so what it does has to be
// deterministic, too. Fields that are nil let everything pass.
type Interceptor struct {
	// Handle goes around the main method and the handlers of signals and updates. next may be called once.
	Handle func(ctx Context, call *Call, next func(Context) error) error
	// Read goes around the handlers of queries and validators, which are no part of history.
	Read func(ctx ReadContext, call *Call, next func(ReadContext) error) error
	// Send comes before a command with a header goes out.
	Send func(ctx Context, call *Call)
}

// handle calls fn through the interceptors; the first of them is the outermost.
func (r *Run) handle(ctx Context, call *Call, fn func(Context) error) error {
	next := fn
	for i := len(r.Env.Interceptors) - 1; i >= 0; i-- {
		if h, inner := r.Env.Interceptors[i].Handle, next; h != nil {
			next = func(ctx Context) error { return h(ctx, call, inner) }
		}
	}
	return next(ctx)
}

func (r *Run) read(ctx ReadContext, call *Call, fn func(ReadContext) error) error {
	next := fn
	for i := len(r.Env.Interceptors) - 1; i >= 0; i-- {
		if h, inner := r.Env.Interceptors[i].Read, next; h != nil {
			next = func(ctx ReadContext) error { return h(ctx, call, inner) }
		}
	}
	return next(ctx)
}

// outgoing is the header of a command. It is empty unless an interceptor fills it; a run that continues as new keeps its own.
func (r *Run) outgoing(ctx Context, call Call) *commonpb.Header {
	if len(r.Env.Interceptors) == 0 && call.Header == nil {
		return nil
	}
	call.Header = maps.Clone(call.Header)
	if call.Header == nil {
		call.Header = map[string]*commonpb.Payload{}
	}
	for _, i := range r.Env.Interceptors {
		if i.Send != nil {
			i.Send(ctx, &call)
		}
	}
	if len(call.Header) == 0 {
		return nil
	}
	return &commonpb.Header{Fields: call.Header}
}
