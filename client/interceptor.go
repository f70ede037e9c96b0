package client

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
)

// CallKind is what a call does.
type CallKind int

// The calls that carry headers.
const (
	CallStart CallKind = iota + 1
	CallSignal
	CallQuery
	CallUpdate
	CallSignalWithStart
	CallUpdateWithStart
)

// Call is what goes to a workflow, before it does. Interceptors may change the header.
type Call struct {
	Kind         CallKind
	WorkflowID   string
	WorkflowType string // of calls that start
	Message      string // name of the signal, query or update
	UpdateID     string
	Header       map[string]*commonpb.Payload
}

// Interceptor sees calls that carry headers, on their way out: for tracing, and for values that travel along. next makes the call
// and says how it ended. Tries that are repeated are one call.
type Interceptor interface {
	Intercept(ctx context.Context, call *Call, next func(context.Context) error) error
}

// InterceptorFunc is an interceptor that is a function.
type InterceptorFunc func(ctx context.Context, call *Call, next func(context.Context) error) error

// Intercept is part of [Interceptor].
func (f InterceptorFunc) Intercept(ctx context.Context, call *Call, next func(context.Context) error) error {
	return f(ctx, call, next)
}

// send makes a call through the interceptors. request puts the header where it belongs.
func send[T any](ctx context.Context, c *Client, call *Call, try func(context.Context, *commonpb.Header) (T, error)) (answer T, err error) {
	call.Header = map[string]*commonpb.Payload{}
	next := func(ctx context.Context) error {
		var header *commonpb.Header
		if len(call.Header) > 0 {
			header = &commonpb.Header{Fields: call.Header}
		}
		answer, err = retrying(ctx, func(ctx context.Context) (T, error) { return try(ctx, header) })
		return err
	}
	for i := len(c.o.Outbound) - 1; i >= 0; i-- {
		inner, interceptor := next, c.o.Outbound[i]
		next = func(ctx context.Context) error { return interceptor.Intercept(ctx, call, inner) }
	}
	err = next(ctx)
	return answer, err
}
