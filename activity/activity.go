// Package activity is what the code of activities may ask of the worker that runs it. An activity is an ordinary function or
// method: (ctx context.Context, args ...) (R, error), or only error. Its context ends when the activity is cancelled, when it
// has timed out, and when the worker does not wait for it any longer.
package activity

import (
	"context"
	"errors"
	"log/slog"
	"time"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/metrics"
)

// ErrResultPending, returned by an activity, leaves its completion to somebody else: client.CompleteActivity.
var ErrResultPending = errors.New("the result of the activity comes later")

// Args are the raw arguments of a dynamic activity: func(ctx context.Context, args activity.Args) (R, error).
type Args = converter.Args

// Info says which attempt this is.
type Info struct {
	TaskToken                              []byte
	Namespace, WorkflowID, WorkflowRunID   string
	WorkflowType, ActivityID, ActivityType string
	TaskQueue                              string
	Attempt                                int32 // from 1
	ScheduledTime, StartedTime, Deadline   time.Time
	HeartbeatTimeout                       time.Duration
	Local                                  bool
	Header                                 *commonpb.Header
}

// Call is an attempt that an interceptor sees.
type Call struct {
	Info Info
	// Args of the attempt, undecoded.
	Args Args
	// Result, when next has returned without an error. It may be replaced.
	Result any
}

// Interceptor goes around each attempt of an activity, local ones, too. next may be called once; its context is the function's.
type Interceptor func(ctx context.Context, call *Call, next func(context.Context) error) error

// Environment is what a worker puts into an activity's context.
type Environment struct {
	Info      Info
	Log       *slog.Logger
	Metrics   metrics.Handler
	Heartbeat func(details ...any)
	Details   converter.Value // of the attempt before
}

type key struct{}

// With is for workers.
func With(ctx context.Context, e *Environment) context.Context {
	return context.WithValue(ctx, key{}, e)
}

func of(ctx context.Context) *Environment {
	e, ok := ctx.Value(key{}).(*Environment)
	if !ok {
		panic("activity: the context is not that of an activity")
	}
	return e
}

// GetInfo says which attempt this is.
func GetInfo(ctx context.Context) Info { return of(ctx).Info }

// Logger logs with the activity's identity.
func Logger(ctx context.Context) *slog.Logger { return of(ctx).Log }

// Metrics counts with the activity's tags.
func Metrics(ctx context.Context) metrics.Handler { return of(ctx).Metrics }

// RecordHeartbeat says that the activity is alive, and how far it has come. Calls are thinned out; the last one is sent.
// Cancellation is learned by it.
func RecordHeartbeat(ctx context.Context, details ...any) { of(ctx).Heartbeat(details...) }

// HeartbeatDetails are those of the attempt before.
func HeartbeatDetails(ctx context.Context) converter.Value { return of(ctx).Details }
