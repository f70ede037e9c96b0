package execution

import (
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/clock"
)

func mustUnmarshal[M proto.Message](b []byte, m M) M {
	if err := proto.Unmarshal(b, m); err != nil {
		panic(err)
	}
	return m
}

// Summary is what visibility lists of the run.
func (s *State) Summary() *workflowpb.WorkflowExecutionInfo {
	info := &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: string(s.Key.Workflow), RunId: string(s.Key.Run)},
		Type:      &commonpb.WorkflowType{Name: s.Start.WorkflowType}, StartTime: s.Start.StartTime.Proto(), Status: s.Info.Status,
		HistoryLength: s.Info.NextEventID - 1, ExecutionTime: s.Info.ExecutionTime.Proto(), Memo: s.Memo, SearchAttributes: s.SearchAttributes,
		TaskQueue: s.Start.TaskQueue, StateTransitionCount: s.Info.Transitions, FirstRunId: string(s.Start.FirstRunID),
		RootExecution: s.root(),
	}
	if info.Memo == nil {
		info.Memo = &commonpb.Memo{}
	}
	if info.SearchAttributes == nil {
		info.SearchAttributes = &commonpb.SearchAttributes{}
	}
	if s.Start.ParentWorkflowID != "" {
		info.ParentNamespaceId = string(s.Start.ParentNamespaceID)
		info.ParentExecution = &commonpb.WorkflowExecution{WorkflowId: string(s.Start.ParentWorkflowID), RunId: string(s.Start.ParentRunID)}
	}
	if len(s.Start.Priority) > 0 {
		info.Priority = mustUnmarshal(s.Start.Priority, new(commonpb.Priority))
	}
	if !s.Open() {
		info.CloseTime = s.Info.CloseTime.Proto()
		info.HistorySizeBytes = s.Info.HistoryBytes
		info.ExecutionDuration = durationpb.New(s.Info.CloseTime.Sub(s.Info.ExecutionTime))
	}
	return info
}

func (s *State) root() *commonpb.WorkflowExecution {
	if s.Start.RootWorkflowID != "" {
		return &commonpb.WorkflowExecution{WorkflowId: string(s.Start.RootWorkflowID), RunId: string(s.Start.RootRunID)}
	}
	return &commonpb.WorkflowExecution{WorkflowId: string(s.Key.Workflow), RunId: string(s.Key.Run)}
}

func describe(s *State, env *Env) *workflowservice.DescribeWorkflowExecutionResponse {
	info := s.Summary()
	info.HistorySizeBytes = s.Info.HistoryBytes
	if len(s.Info.ResetPoints) > 0 {
		info.AutoResetPoints = mustUnmarshal(s.Info.ResetPoints, new(ResetPoints))
	}
	if len(s.Info.WorkerVersion) > 0 {
		info.MostRecentWorkerVersionStamp = mustUnmarshal(s.Info.WorkerVersion, new(commonpb.WorkerVersionStamp))
	}
	r := &workflowservice.DescribeWorkflowExecutionResponse{
		ExecutionConfig: &workflowpb.WorkflowExecutionConfig{
			TaskQueue:                &taskqueuepb.TaskQueue{Name: s.Start.TaskQueue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
			WorkflowExecutionTimeout: durationpb.New(s.Start.ExecutionTimeout), WorkflowRunTimeout: durationpb.New(s.Start.RunTimeout),
			DefaultWorkflowTaskTimeout: durationpb.New(s.Start.TaskTimeout)},
		WorkflowExecutionInfo: info,
		WorkflowExtendedInfo: &workflowpb.WorkflowExecutionExtendedInfo{
			ExecutionExpirationTime: s.Start.ExpirationTime.Proto(), RunExpirationTime: s.Info.RunDeadline.Proto(),
			CancelRequested: s.Info.CancelRequested, LastResetTime: s.Info.LastResetTime.Proto(),
			OriginalStartTime: s.Start.FirstStartTime.Proto(), ResetRunId: string(s.Info.ResetRunID), RequestIdInfos: map[string]*workflowpb.RequestIdInfo{}},
	}
	if len(s.Start.UserMetadata) > 0 {
		r.ExecutionConfig.UserMetadata = mustUnmarshal(s.Start.UserMetadata, new(sdkpb.UserMetadata))
	}
	for id, q := range s.Requests.All {
		if q.Type == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			continue // as many as there are signals; of use to nobody here
		}
		r.WorkflowExtendedInfo.RequestIdInfos[id] = &workflowpb.RequestIdInfo{EventType: q.Type, EventId: q.EventID, Buffered: q.Buffer != 0}
	}
	if !s.Open() {
		return r
	}
	for _, a := range s.Activities.All {
		r.PendingActivities = append(r.PendingActivities, describeActivity(a, env.Now))
	}
	for _, k := range s.Children.All {
		r.PendingChildren = append(r.PendingChildren, &workflowpb.PendingChildExecutionInfo{WorkflowId: string(k.WorkflowID), RunId: string(k.RunID),
			WorkflowTypeName: k.WorkflowType, InitiatedId: k.InitiatedID, ParentClosePolicy: enumspb.ParentClosePolicy(k.ClosePolicy)})
	}
	if t := &s.Info.WFT; t.Pending() {
		p := &workflowpb.PendingWorkflowTaskInfo{State: enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED, ScheduledTime: t.ScheduledAt.Proto(),
			OriginalScheduledTime: t.OriginalScheduledAt.Proto(), StartedTime: t.StartedAt.Proto(), Attempt: t.Attempt}
		if t.Started() {
			p.State = enumspb.PENDING_WORKFLOW_TASK_STATE_STARTED
		}
		r.PendingWorkflowTask = p
	}
	return r
}

func describeActivity(a *Activity, now clock.Nanos) *workflowpb.PendingActivityInfo {
	p := &workflowpb.PendingActivityInfo{
		ActivityId: a.ActivityID, ActivityType: &commonpb.ActivityType{Name: a.Type}, State: enumspb.PENDING_ACTIVITY_STATE_SCHEDULED,
		HeartbeatDetails: decodePayloads(a.Details), LastHeartbeatTime: a.HeartbeatAt.Proto(), LastStartedTime: a.LastStartedAt.Proto(),
		Attempt: a.Attempt, MaximumAttempts: a.policy().GetMaximumAttempts(), LastFailure: decodeFailure(a.LastFailure),
		LastWorkerIdentity: a.Identity, LastAttemptCompleteTime: a.LastEndedAt.Proto(),
	}
	if a.S2C > 0 {
		p.ExpirationTime = a.FirstSchedAt.Add(a.S2C).Proto()
	}
	if len(a.Priority) > 0 {
		p.Priority = mustUnmarshal(a.Priority, new(commonpb.Priority))
	}
	switch {
	case a.CancelRequested:
		p.State = enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
	case a.StartedAt != 0:
		p.State = enumspb.PENDING_ACTIVITY_STATE_STARTED
	default:
		p.ScheduledTime = a.ScheduledAt.Proto()
		if a.Attempt > 1 && a.ScheduledAt > now {
			p.NextAttemptScheduleTime = a.ScheduledAt.Proto()
			p.CurrentRetryInterval = durationpb.New(a.ScheduledAt.Sub(a.LastEndedAt))
		}
	}
	return p
}
