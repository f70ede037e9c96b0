package frontend

import (
	"context"

	versionpb "go.temporal.io/api/version/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
)

// CompatibleVersion is the server version that clients are told: they compare it with the version of Temporal's server
// that first had what they are about to use. Our own version is Features.Server.Version.
const CompatibleVersion = "1.32.0"

const (
	// Clients and tools read these from Temporal's servers, where they number the failovers of several clusters.
	initialFailoverVersion   = 1
	failoverVersionIncrement = 10
)

// Features is what clients are told of this server's abilities, here and nowhere else. A flag is true only if what it
// promises is served; the zero value promises nothing.
type Features struct {
	Server ServerInfo

	// Told by GetSystemInfo.

	SignalAndQueryHeader            bool // headers of signals and queries reach the worker
	InternalErrorDifferentiation    bool // INTERNAL means a fault of ours, not of the request
	ActivityFailureIncludeHeartbeat bool // a failed activity can bring its last heartbeat details
	Schedules                       bool // also told by DescribeNamespace
	EncodedFailureAttributes        bool // failures may carry their text in an encoded payload
	BuildIDBasedVersioning          bool // requests may carry worker version stamps instead of binary checksums
	UpsertMemo                      bool
	EagerWorkflowStart              bool // also told by DescribeNamespace
	SDKMetadata                     bool // flags that SDKs record in completed workflow tasks are kept
	CountGroupByExecutionStatus     bool
	Nexus                           bool
	ServerScaledDeployments         bool

	// Told by DescribeNamespace.

	SyncUpdate                         bool
	AsyncUpdate                        bool
	WorkerHeartbeats                   bool // RecordWorkerHeartbeat keeps what it is told; SDKs then call it every minute
	ReportedProblemsSearchAttribute    bool // failing workflow tasks show in TemporalReportedProblems
	WorkflowPause                      bool
	StandaloneActivities               bool
	StandaloneActivityStartDelay       bool
	StandaloneActivityBatchOperations  bool
	StandaloneActivityOperatorCommands bool
	WorkerPollCompleteOnShutdown       bool // ShutdownWorker ends the worker's polls; SDKs then wait for that
	PollerAutoscaling                  bool // poll responses carry scaling decisions
	PollerAutoscalingAutoEnroll        bool
	WorkerCommands                     bool
	StandaloneNexusOperations          bool
	WorkflowUpdateCallbacks            bool
	WorkflowTaskCompletionPagination   bool

	Announce metadata.MD // sent with GetSystemInfo, for clients that know what it means
}

// ServerInfo is what GetClusterInfo and ListClusters tell beside abilities. Empty fields are left out.
type ServerInfo struct {
	Version          string // of this program, without a leading v
	PersistenceStore string // kind of storage, such as "pebble"
	VisibilityStore  string
	Address          string // gRPC, host:port
	HTTPAddress      string
}

// DefaultFeatures is what this version of the server does. The node fills in Server.
func DefaultFeatures() Features {
	return Features{
		SignalAndQueryHeader:            true,
		InternalErrorDifferentiation:    true,
		ActivityFailureIncludeHeartbeat: true,
		EncodedFailureAttributes:        true,
		BuildIDBasedVersioning:          true,
		UpsertMemo:                      true,
		EagerWorkflowStart:              true,
		SDKMetadata:                     true,
		CountGroupByExecutionStatus:     true,

		SyncUpdate:        true,
		AsyncUpdate:       true,
		PollerAutoscaling: true,
		// Else SDKs drop their polls when a worker stops, and with them the task that met one on the way.
		WorkerPollCompleteOnShutdown: true,
	}
}

func (f *Features) system() *workflowservice.GetSystemInfoResponse_Capabilities {
	return &workflowservice.GetSystemInfoResponse_Capabilities{
		SignalAndQueryHeader:            f.SignalAndQueryHeader,
		InternalErrorDifferentiation:    f.InternalErrorDifferentiation,
		ActivityFailureIncludeHeartbeat: f.ActivityFailureIncludeHeartbeat,
		SupportsSchedules:               f.Schedules,
		EncodedFailureAttributes:        f.EncodedFailureAttributes,
		BuildIdBasedVersioning:          f.BuildIDBasedVersioning,
		UpsertMemo:                      f.UpsertMemo,
		EagerWorkflowStart:              f.EagerWorkflowStart,
		SdkMetadata:                     f.SDKMetadata,
		CountGroupByExecutionStatus:     f.CountGroupByExecutionStatus,
		Nexus:                           f.Nexus,
		ServerScaledDeployments:         f.ServerScaledDeployments,
	}
}

// GetSystemInfo tells what this server can do. SDKs call it first, before they know of any namespace.
func (s *Service) GetSystemInfo(ctx context.Context, _ *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	if len(s.features.Announce) > 0 {
		if err := grpc.SetHeader(ctx, s.features.Announce); err != nil {
			s.log.DebugContext(ctx, "headers not sent", "error", err) // of a caller that has no use for them
		}
	}
	return &workflowservice.GetSystemInfoResponse{ServerVersion: CompatibleVersion, Capabilities: s.features.system()}, nil
}

// GetClusterInfo tells about the cluster as a whole. The version it names is the one we are compatible with; our own is
// in version_info.
func (s *Service) GetClusterInfo(context.Context, *workflowservice.GetClusterInfoRequest) (*workflowservice.GetClusterInfoResponse, error) {
	info := &workflowservice.GetClusterInfoResponse{
		SupportedClients:         supportedClients(),
		ServerVersion:            CompatibleVersion,
		ClusterId:                s.namespaces.ClusterID(),
		ClusterName:              namespace.ClusterName,
		HistoryShardCount:        ids.Slots,
		PersistenceStore:         s.features.Server.PersistenceStore,
		VisibilityStore:          s.features.Server.VisibilityStore,
		InitialFailoverVersion:   initialFailoverVersion,
		FailoverVersionIncrement: failoverVersionIncrement,
	}
	if own := s.features.Server.Version; own != "" {
		info.VersionInfo = &versionpb.VersionInfo{Current: &versionpb.ReleaseInfo{Version: own, Notes: "Perdure " + own}}
	}
	return info, nil
}

// supportedClients are ranges of client versions by client name; a client that is not named is welcome too.
func supportedClients() map[string]string {
	return map[string]string{
		"temporal-go": "<2.0.0", "temporal-java": "<2.0.0", "temporal-php": "<2.0.0", "temporal-typescript": "<2.0.0",
		"temporal-cli": "<2.0.0", "temporal-server": "<2.0.0", "temporal-ui": "<3.0.0",
	}
}

// GetSearchAttributes lists the search attributes of all namespaces, as old clients expect.
func (s *Service) GetSearchAttributes(context.Context, *workflowservice.GetSearchAttributesRequest) (*workflowservice.GetSearchAttributesResponse, error) {
	return &workflowservice.GetSearchAttributesResponse{Keys: s.namespaces.AllSearchAttributes()}, nil
}
