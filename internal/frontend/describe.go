package frontend

import (
	"context"
	"maps"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

// DescribeWorkflowExecution shows a run and what is pending in it.
func (s *Service) DescribeWorkflowExecution(ctx context.Context, r *workflowservice.DescribeWorkflowExecutionRequest) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.Execution)
	if err != nil {
		return nil, err
	}
	resp, err := submit[*workflowservice.DescribeWorkflowExecutionResponse](ctx, s, key, run, execution.Describe{})
	if err != nil {
		return nil, err
	}
	if info := resp.WorkflowExecutionInfo; info != nil {
		show(n, info)
	}
	return resp, nil
}

// show makes a run's summary what clients see: search attributes as they are defined now, and neither they nor the memo
// absent.
func show(n *namespace.Namespace, info *workflowpb.WorkflowExecutionInfo) {
	if info.SearchAttributes = n.ReadSearchAttributes(info.SearchAttributes); info.SearchAttributes == nil {
		info.SearchAttributes = &commonpb.SearchAttributes{}
	}
	if info.Memo == nil {
		info.Memo = &commonpb.Memo{}
	}
}

// unlimitedRate is what is shown of a queue whose workers asked for no limit.
const unlimitedRate = 100_000

// DescribeTaskQueue shows who polls a queue and what waits in it. An unknown queue is empty.
func (s *Service) DescribeTaskQueue(_ context.Context, r *workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkID(s.limits, "TaskQueue", r.GetTaskQueue().GetName(), true); err != nil {
		return nil, err
	}
	if r.ApiMode == enumspb.DESCRIBE_TASK_QUEUE_MODE_ENHANCED {
		return s.describeEnhanced(n, r)
	}
	typ := r.TaskQueueType
	if typ == enumspb.TASK_QUEUE_TYPE_UNSPECIFIED {
		typ = enumspb.TASK_QUEUE_TYPE_WORKFLOW
	}
	d := s.describeQueue(n.ID, typ, r.TaskQueue.Name)
	resp := &workflowservice.DescribeTaskQueueResponse{Pollers: pollerInfos(d.Pollers)}
	if r.ReportStats {
		resp.Stats, resp.StatsByPriorityKey = d.Stats, d.ByPriority
	}
	if r.ReportConfig {
		resp.Config = &taskqueuepb.TaskQueueConfig{}
	}
	if r.IncludeTaskQueueStatus {
		resp.TaskQueueStatus = &taskqueuepb.TaskQueueStatus{
			BacklogCountHint: d.Stats.GetApproximateBacklogCount(), RatePerSecond: unlimitedRate,
		}
	}
	return resp, nil
}

// describeQueue is the description of one queue; what cannot exist here is empty.
func (s *Service) describeQueue(ns ids.NamespaceID, typ enumspb.TaskQueueType, name string) taskqueue.Description {
	key := taskqueue.QueueKey{Namespace: ns, Name: name, Type: record.QueueWorkflow}
	switch typ {
	case enumspb.TASK_QUEUE_TYPE_WORKFLOW:
	case enumspb.TASK_QUEUE_TYPE_ACTIVITY:
		key.Type = record.QueueActivity
	default:
		return taskqueue.Description{}
	}
	return s.queues.Describe(key)
}

func pollerInfos(pollers []taskqueue.Poller) []*taskqueuepb.PollerInfo {
	infos := make([]*taskqueuepb.PollerInfo, 0, len(pollers))
	for _, p := range pollers {
		infos = append(infos, &taskqueuepb.PollerInfo{
			Identity: p.Identity, LastAccessTime: p.LastAccess.Proto(), RatePerSecond: p.MaxPerSecond, WorkerVersionCapabilities: p.Version,
		})
	}
	return infos
}

// describeEnhanced is the deprecated mode: by build ID, of which only the unversioned one has tasks.
func (s *Service) describeEnhanced(n *namespace.Namespace, r *workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error) {
	switch {
	case r.TaskQueue.Kind == enumspb.TASK_QUEUE_KIND_STICKY:
		return nil, invalid("Enhanced mode does not describe sticky task queues.")
	case strings.HasPrefix(r.TaskQueue.Name, systemQueuePrefix):
		return nil, invalid("Enhanced mode does not describe partitions of task queues.")
	}
	types := r.TaskQueueTypes
	if len(types) == 0 {
		types = []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY}
	}
	unversioned := &taskqueuepb.TaskQueueVersionInfo{TypesInfo: make(map[int32]*taskqueuepb.TaskQueueTypeInfo, len(types))}
	for _, typ := range types {
		d := s.describeQueue(n.ID, typ, r.TaskQueue.Name)
		info := &taskqueuepb.TaskQueueTypeInfo{}
		if r.ReportPollers {
			info.Pollers = pollerInfos(d.Pollers)
		}
		if r.ReportStats {
			if info.Stats = d.Stats; info.Stats == nil {
				info.Stats = &taskqueuepb.TaskQueueStats{}
			}
		}
		unversioned.TypesInfo[int32(typ)] = info
	}
	if r.ReportTaskReachability {
		unversioned.TaskReachability = enumspb.BUILD_ID_TASK_REACHABILITY_REACHABLE
	}
	versions := make(map[string]*taskqueuepb.TaskQueueVersionInfo)
	for _, id := range r.Versions.GetBuildIds() {
		empty := &taskqueuepb.TaskQueueVersionInfo{TypesInfo: make(map[int32]*taskqueuepb.TaskQueueTypeInfo, len(types))}
		for typ := range maps.Keys(unversioned.TypesInfo) {
			empty.TypesInfo[typ] = &taskqueuepb.TaskQueueTypeInfo{}
		}
		if r.ReportTaskReachability {
			empty.TaskReachability = enumspb.BUILD_ID_TASK_REACHABILITY_UNREACHABLE
		}
		versions[id] = empty
	}
	if v := r.Versions; v == nil || v.Unversioned || v.AllActive || slices.Contains(v.BuildIds, "") {
		versions[""] = unversioned
	}
	return &workflowservice.DescribeTaskQueueResponse{VersionsInfo: versions}, nil
}

// ListTaskQueuePartitions tells that a queue is in one piece.
func (s *Service) ListTaskQueuePartitions(_ context.Context, r *workflowservice.ListTaskQueuePartitionsRequest) (*workflowservice.ListTaskQueuePartitionsResponse, error) {
	if _, err := s.namespace(r.GetNamespace()); err != nil {
		return nil, err
	}
	if err := checkID(s.limits, "TaskQueue", r.GetTaskQueue().GetName(), true); err != nil {
		return nil, err
	}
	only := func() []*taskqueuepb.TaskQueuePartitionMetadata {
		return []*taskqueuepb.TaskQueuePartitionMetadata{{Key: r.TaskQueue.Name, OwnerHostName: s.features.Server.Address}}
	}
	return &workflowservice.ListTaskQueuePartitionsResponse{
		WorkflowTaskQueuePartitions: only(), ActivityTaskQueuePartitions: only(),
	}, nil
}
