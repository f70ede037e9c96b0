package frontend

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	replicationpb "go.temporal.io/api/replication/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
)

const (
	namespacePage    = 100
	namespacePageMax = 1000

	// namespaceToken is the first byte of a page token, before the name of the last namespace seen.
	namespaceToken = 1

	// workflowTaskCompletionBytes is the limit DescribeNamespace tells; the transport's limit on one message is lower.
	workflowTaskCompletionBytes = 40 << 20
)

// RegisterNamespace makes a namespace, usable at once.
func (s *Service) RegisterNamespace(ctx context.Context, req *workflowservice.RegisterNamespaceRequest) (*workflowservice.RegisterNamespaceResponse, error) {
	g, err := registration(req)
	if err == nil {
		_, err = s.namespaces.Register(ctx, g)
	}
	return reply(&workflowservice.RegisterNamespaceResponse{}, err)
}

func registration(req *workflowservice.RegisterNamespaceRequest) (g namespace.Registration, err error) {
	if req.GetIsGlobalNamespace() {
		return g, errGlobalNamespace()
	}
	if err := checkClusters(req.GetActiveClusterName(), req.GetClusters()); err != nil {
		return g, err
	}
	if err := checkArchival(req.GetHistoryArchivalState(), req.GetVisibilityArchivalState()); err != nil {
		return g, err
	}
	g = namespace.Registration{
		Name: req.GetNamespace(), Description: req.GetDescription(), OwnerEmail: req.GetOwnerEmail(), Data: req.GetData(),
	}
	g.Retention, err = retention(req.GetWorkflowExecutionRetentionPeriod())
	return g, err
}

// DescribeNamespace shows a namespace by name or by ID, deleted ones included. Its answer is never out of date, so
// weak_consistency changes nothing.
func (s *Service) DescribeNamespace(_ context.Context, req *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	n, err := s.findNamespace(req.GetNamespace(), req.GetId())
	if err != nil {
		return nil, err
	}
	return s.describeNamespace(n), nil
}

func (s *Service) findNamespace(name, id string) (*namespace.Namespace, error) {
	switch {
	case name == "" && id == "":
		return nil, invalid("Namespace not set on request.")
	case name != "" && id != "":
		return nil, invalid("Only one of namespace name or Id should be set on request.")
	case id != "":
		return s.namespaces.LookupID(ids.NamespaceID(id))
	}
	return s.namespaces.Lookup(name)
}

// ListNamespaces shows namespaces in the order of their names, in pages of 100 unless asked otherwise, 1000 at most.
func (s *Service) ListNamespaces(_ context.Context, req *workflowservice.ListNamespacesRequest) (*workflowservice.ListNamespacesResponse, error) {
	size := int(req.GetPageSize())
	if size <= 0 {
		size = namespacePage
	}
	var after string
	if token := req.GetNextPageToken(); len(token) > 0 {
		if token[0] != namespaceToken {
			return nil, invalid("Invalid NextPageToken.")
		}
		after = string(token[1:])
	}
	page, more := s.namespaces.List(after, min(size, namespacePageMax), req.GetNamespaceFilter().GetIncludeDeleted())
	resp := &workflowservice.ListNamespacesResponse{}
	for _, n := range page {
		resp.Namespaces = append(resp.Namespaces, s.describeNamespace(n))
	}
	if more {
		resp.NextPageToken = append([]byte{namespaceToken}, page[len(page)-1].Name...)
	}
	return resp, nil
}

// UpdateNamespace merges what the request sets into a namespace and shows the outcome.
func (s *Service) UpdateNamespace(ctx context.Context, req *workflowservice.UpdateNamespaceRequest) (*workflowservice.UpdateNamespaceResponse, error) {
	change, err := namespaceChange(req)
	if err != nil {
		return nil, err
	}
	n, err := s.namespaces.Update(ctx, req.GetNamespace(), change)
	if err != nil {
		return nil, err
	}
	d := s.describeNamespace(n)
	return &workflowservice.UpdateNamespaceResponse{
		NamespaceInfo: d.GetNamespaceInfo(), Config: d.GetConfig(), ReplicationConfig: d.GetReplicationConfig(),
		FailoverVersion: d.GetFailoverVersion(), IsGlobalNamespace: d.GetIsGlobalNamespace(),
	}, nil
}

func namespaceChange(req *workflowservice.UpdateNamespaceRequest) (namespace.Change, error) {
	var c namespace.Change
	if req.GetNamespace() == "" {
		return c, invalid("Namespace not set on request.")
	}
	if req.GetPromoteNamespace() {
		return c, errGlobalNamespace()
	}
	if err := checkClusters(req.GetReplicationConfig().GetActiveClusterName(), req.GetReplicationConfig().GetClusters()); err != nil {
		return c, err
	}
	info, config := req.GetUpdateInfo(), req.GetConfig()
	if err := checkArchival(config.GetHistoryArchivalState(), config.GetVisibilityArchivalState()); err != nil {
		return c, err
	}
	for field, alias := range config.GetCustomSearchAttributeAliases() {
		if field != alias { // search attributes are stored under the names they were given
			return c, invalid("Search attribute %s cannot have the alias %s: aliases are not supported.", field, alias)
		}
	}
	if ttl := config.GetWorkflowExecutionRetentionTtl(); ttl != nil {
		d, err := retention(ttl)
		if err != nil {
			return c, err
		}
		c.Retention = &d
	}
	for checksum, b := range config.GetBadBinaries().GetBinaries() {
		if c.BadBinaries == nil {
			c.BadBinaries = make(map[string]namespace.BadBinary)
		}
		c.BadBinaries[checksum] = namespace.BadBinary{Reason: b.GetReason(), Operator: b.GetOperator()}
	}
	c.Description, c.OwnerEmail, c.Data, c.State = info.GetDescription(), info.GetOwnerEmail(), info.GetData(), info.GetState()
	c.DeleteBadBinary = req.GetDeleteBadBinary()
	return c, nil
}

// DeprecateNamespace makes a namespace refuse new executions; everything else goes on.
func (s *Service) DeprecateNamespace(ctx context.Context, req *workflowservice.DeprecateNamespaceRequest) (*workflowservice.DeprecateNamespaceResponse, error) {
	if req.GetNamespace() == "" {
		return reply(&workflowservice.DeprecateNamespaceResponse{}, invalid("Namespace not set on request."))
	}
	return reply(&workflowservice.DeprecateNamespaceResponse{}, s.namespaces.Deprecate(ctx, req.GetNamespace()))
}

func (s *Service) describeNamespace(n *namespace.Namespace) *workflowservice.DescribeNamespaceResponse {
	var bad namespacepb.BadBinaries
	for checksum, b := range n.BadBinaries {
		if bad.Binaries == nil {
			bad.Binaries = make(map[string]*namespacepb.BadBinaryInfo)
		}
		bad.Binaries[checksum] = &namespacepb.BadBinaryInfo{Reason: b.Reason, Operator: b.Operator, CreateTime: b.Created.Proto()}
	}
	return &workflowservice.DescribeNamespaceResponse{
		NamespaceInfo: &namespacepb.NamespaceInfo{
			Name: n.Name, State: n.State, Description: n.Description, OwnerEmail: n.OwnerEmail, Data: n.Data, Id: string(n.ID),
			Capabilities: s.features.namespace(),
			Limits: &namespacepb.NamespaceInfo_Limits{
				BlobSizeLimitError: int64(s.limits.BlobBytes), MemoSizeLimitError: int64(s.limits.MemoBytes),
				WorkflowTaskCompletionSizeLimitError: workflowTaskCompletionBytes,
			},
			SupportsSchedules: s.features.Schedules,
		},
		Config: &namespacepb.NamespaceConfig{
			WorkflowExecutionRetentionTtl: durationpb.New(n.Retention),
			BadBinaries:                   &bad,
			HistoryArchivalState:          enumspb.ARCHIVAL_STATE_DISABLED,
			VisibilityArchivalState:       enumspb.ARCHIVAL_STATE_DISABLED,
		},
		ReplicationConfig: &replicationpb.NamespaceReplicationConfig{
			ActiveClusterName: namespace.ClusterName,
			Clusters:          []*replicationpb.ClusterReplicationConfig{{ClusterName: namespace.ClusterName}},
		},
	}
}

func (f *Features) namespace() *namespacepb.NamespaceInfo_Capabilities {
	return &namespacepb.NamespaceInfo_Capabilities{
		EagerWorkflowStart:                 f.EagerWorkflowStart,
		SyncUpdate:                         f.SyncUpdate,
		AsyncUpdate:                        f.AsyncUpdate,
		WorkerHeartbeats:                   f.WorkerHeartbeats,
		ReportedProblemsSearchAttribute:    f.ReportedProblemsSearchAttribute,
		WorkflowPause:                      f.WorkflowPause,
		StandaloneActivities:               f.StandaloneActivities,
		WorkerPollCompleteOnShutdown:       f.WorkerPollCompleteOnShutdown,
		PollerAutoscaling:                  f.PollerAutoscaling,
		WorkerCommands:                     f.WorkerCommands,
		StandaloneNexusOperation:           f.StandaloneNexusOperations,
		WorkflowUpdateCallbacks:            f.WorkflowUpdateCallbacks,
		PollerAutoscalingAutoEnroll:        f.PollerAutoscalingAutoEnroll,
		WorkflowTaskCompletionPagination:   f.WorkflowTaskCompletionPagination,
		StandaloneActivityStartDelay:       f.StandaloneActivityStartDelay,
		StandaloneActivityBatchOperations:  f.StandaloneActivityBatchOperations,
		StandaloneActivityOperatorCommands: f.StandaloneActivityOperatorCommands,
	}
}

// retention reads a period; the registry decides whether it is long enough, and 0 is not.
func retention(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, invalid("A valid retention period is not set on request.")
	}
	return d.AsDuration(), nil
}

func errGlobalNamespace() error {
	return invalid("Cannot register global namespace when not enabled")
}

// checkClusters refuses to spread a namespace over clusters: there is one.
func checkClusters(active string, clusters []*replicationpb.ClusterReplicationConfig) error {
	if active != "" && active != namespace.ClusterName {
		return invalid("Invalid cluster name: %s", active)
	}
	for _, c := range clusters {
		if c.GetClusterName() != namespace.ClusterName {
			return invalid("Invalid cluster name: %s", c.GetClusterName())
		}
	}
	return nil
}

// checkArchival refuses what would otherwise be silently left undone.
func checkArchival(history, visibility enumspb.ArchivalState) error {
	switch enumspb.ARCHIVAL_STATE_ENABLED {
	case history:
		return invalid("Cluster is not configured for history archival.")
	case visibility:
		return invalid("Cluster is not configured for visibility archival.")
	}
	return nil
}
