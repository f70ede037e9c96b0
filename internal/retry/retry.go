// Package retry is the retry policy of activities and workflows, as users write it and as it goes over the wire.
package retry

import (
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// RetryPolicy says when a failed attempt is made again. What is zero takes the server's default: 1 s, a factor of 2, a hundred
// times the first interval, no limit on attempts.
type RetryPolicy struct {
	InitialInterval    time.Duration
	BackoffCoefficient float64
	MaximumInterval    time.Duration
	MaximumAttempts    int // counts the first one, too
	// NonRetryableErrorTypes are types of application errors after which no further attempt is made.
	NonRetryableErrorTypes []string
}

// ToProto is nil for nil.
func (p *RetryPolicy) ToProto() *commonpb.RetryPolicy {
	if p == nil {
		return nil
	}
	out := &commonpb.RetryPolicy{
		BackoffCoefficient: p.BackoffCoefficient, MaximumAttempts: int32(p.MaximumAttempts), NonRetryableErrorTypes: p.NonRetryableErrorTypes,
	}
	if p.InitialInterval != 0 {
		out.InitialInterval = durationpb.New(p.InitialInterval)
	}
	if p.MaximumInterval != 0 {
		out.MaximumInterval = durationpb.New(p.MaximumInterval)
	}
	return out
}
