package frontend

import (
	"context"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"google.golang.org/grpc/metadata"
)

// Request headers by which clients say what they are.
const (
	headerClientName        = "client-name"
	headerSupportedFeatures = "supported-features"

	// featureFollowsNextRunID: the client follows new_execution_run_id of any closing event.
	featureFollowsNextRunID = "follows-next-run-id"
)

func header(ctx context.Context, name string) string {
	if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// supports tells whether the client claims a feature.
func supports(ctx context.Context, feature string) bool {
	return slices.ContainsFunc(strings.Split(header(ctx, headerSupportedFeatures), ","), func(f string) bool {
		return strings.TrimSpace(f) == feature
	})
}

// forHumans tells whether the client shows history to people, who should see only what is stored.
func forHumans(ctx context.Context) bool {
	name := header(ctx, headerClientName)
	return name == "temporal-cli" || name == "temporal-ui"
}

// serverTimeout is the failure of a run that timed out.
func serverTimeout() *failurepb.Failure {
	return &failurepb.Failure{
		Message: "workflow timeout",
		Source:  "Server",
		FailureInfo: &failurepb.Failure_TimeoutFailureInfo{
			TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: enumspb.TIMEOUT_TYPE_START_TO_CLOSE},
		},
	}
}
