package frontend

import (
	"cmp"
	"context"
	"fmt"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/batch"
	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// BatchExecutor does for batch jobs what the RPCs do for clients.
func (s *Service) BatchExecutor() batch.Executor { return batchExecutor{s} }

type batchExecutor struct{ *Service }

// namespaceName is the name that requests know a namespace by.
func (s batchExecutor) namespaceName(id ids.NamespaceID) (string, error) {
	n, err := s.namespaces.LookupID(id)
	if err == nil {
		n, err = s.namespace(n.Name) // not a deleted one
	}
	if err != nil {
		// Not "not found": that would say that there is no such workflow, which is no failure.
		return "", refuse(execution.FailedPrecondition, "the namespace of the batch operation is gone: %v", err)
	}
	return n.Name, nil
}

// Targets implements batch.Executor.
func (s batchExecutor) Targets(ctx context.Context, ns ids.NamespaceID, r *workflowservice.StartBatchOperationRequest, found func(batch.Target) error) error {
	name, err := s.namespaceName(ns)
	if err != nil {
		return err
	}
	if r.VisibilityQuery != "" {
		return s.queriedTargets(ctx, name, r, found)
	}
	for _, e := range batchExecutions(r) {
		t, err := s.namedTarget(ctx, ns, e)
		if err != nil {
			return err
		}
		if err := found(t); err != nil {
			return err
		}
	}
	return nil
}

// queriedTargets finds the runs that match the query at this moment: only open ones, unless the operation has a meaning
// for closed ones.
func (s batchExecutor) queriedTargets(ctx context.Context, name string, r *workflowservice.StartBatchOperationRequest, found func(batch.Target) error) error {
	n, err := s.namespace(name)
	if err != nil {
		return err
	}
	query := r.VisibilityQuery
	if _, reset := r.Operation.(*workflowservice.StartBatchOperationRequest_ResetOperation); !reset {
		query = "(" + query + ") AND " + filter.CloseTime + " IS NULL"
	}
	q, err := filter.Parse(query, n.Attribute, filter.Options{})
	if err != nil {
		return invalidBatchQuery(err)
	}
	var refused error
	err = s.scanIndex(ctx, n, q, nil, func(_ listToken, _ []byte, info *workflowpb.WorkflowExecutionInfo) bool {
		if info != nil {
			refused = found(batch.Target{Workflow: ids.WorkflowID(info.Execution.GetWorkflowId()), Run: ids.RunID(info.Execution.GetRunId())})
		}
		return refused == nil
	})
	return cmp.Or(refused, err)
}

// namedTarget is an execution that the request names. Without a run ID the run that is current now is meant: were it looked
// up for each attempt, an attempt that is repeated could hit another run than the first one.
func (s batchExecutor) namedTarget(ctx context.Context, ns ids.NamespaceID, e *commonpb.Execution) (batch.Target, error) {
	t := batch.Target{Workflow: ids.WorkflowID(e.GetBusinessId()), Run: ids.RunID(e.GetRunId())}
	key, run, err := checkTarget(s.limits, ns, e.GetBusinessId(), e.GetRunId())
	if err != nil || run != "" {
		return t, nil // what is wrong with it is its own failure, not the job's
	}
	st, err := s.engine.State(ctx, key, "")
	switch {
	case isKind(err, execution.NotFound):
		return t, nil
	case err != nil:
		return t, fmt.Errorf("find the current run of %s: %w", key.Workflow, err)
	}
	t.Run = st.Key.Run
	return t, nil
}

// Apply implements batch.Executor.
func (s batchExecutor) Apply(ctx context.Context, ns ids.NamespaceID, r *workflowservice.StartBatchOperationRequest, t batch.Target, requestID string) error {
	name, err := s.namespaceName(ns)
	if err != nil {
		return err
	}
	key, run, err := checkTarget(s.limits, ns, string(t.Workflow), string(t.Run))
	if err != nil {
		return err
	}
	if run == "" {
		return notFound("there was no workflow %s when the batch operation began", t.Workflow)
	}
	target := &commonpb.WorkflowExecution{WorkflowId: string(t.Workflow), RunId: string(run)}
	identity := batchIdentity(r)
	switch op := r.Operation.(type) {
	case *workflowservice.StartBatchOperationRequest_SignalOperation:
		_, err = s.SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: name, WorkflowExecution: target, SignalName: op.SignalOperation.GetSignal(), Input: op.SignalOperation.GetInput(),
			Header: op.SignalOperation.GetHeader(), Identity: identity, RequestId: requestID,
		})
		return err
	case *workflowservice.StartBatchOperationRequest_CancellationOperation:
		return s.requestCancel(ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{
			Namespace: name, WorkflowExecution: target, Identity: identity, RequestId: requestID, Reason: r.Reason,
		})
	case *workflowservice.StartBatchOperationRequest_TerminationOperation:
		return s.terminate(ctx, &workflowservice.TerminateWorkflowExecutionRequest{
			Namespace: name, WorkflowExecution: target, Identity: identity, Reason: r.Reason, Details: op.TerminationOperation.GetDetails(),
		})
	case *workflowservice.StartBatchOperationRequest_ResetOperation:
		return s.batchReset(ctx, name, r, key.Run(run), requestID)
	}
	return internal("batch operation %T", r.Operation)
}

// batchReset resets a run, unless the request ID did that before.
func (s batchExecutor) batchReset(ctx context.Context, name string, r *workflowservice.StartBatchOperationRequest, run ids.RunKey, requestID string) error {
	op := r.Operation.(*workflowservice.StartBatchOperationRequest_ResetOperation).ResetOperation
	base, finish, err := s.resetPoint(ctx, run, op)
	if err != nil {
		return err
	}
	if before, err := s.wasReset(ctx, base, requestID); before || err != nil {
		return err
	}
	req := &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: name, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: string(base.Workflow), RunId: string(base.Run)},
		Reason: r.Reason, WorkflowTaskFinishEventId: finish, RequestId: requestID, Identity: op.GetIdentity(),
		ResetReapplyType: op.GetResetReapplyType(), PostResetOperations: op.GetPostResetOperations(),
	}
	if o := op.GetOptions(); o != nil {
		req.ResetReapplyType, req.ResetReapplyExcludeTypes = o.GetResetReapplyType(), o.GetResetReapplyExcludeTypes()
	}
	_, err = s.reset(ctx, req)
	return err
}

// wasReset tells whether the request ID made a run out of base. The engine knows the current run's request ID only, and
// that run may have been continued since.
func (s batchExecutor) wasReset(ctx context.Context, base ids.RunKey, requestID string) (bool, error) {
	st, err := s.engine.State(ctx, base.Of(), base.Run)
	if err != nil || st.Info.ResetRunID == "" {
		return false, err
	}
	made, err := s.engine.State(ctx, base.Of(), st.Info.ResetRunID)
	if isKind(err, execution.NotFound) {
		return false, nil
	}
	return err == nil && made.MadeByReset(requestID), err
}

// resetPoint is the run to reset and the event to cut before.
func (s batchExecutor) resetPoint(ctx context.Context, run ids.RunKey, op *batchpb.BatchOperationReset) (base ids.RunKey, finish ids.EventID, err error) {
	last := op.GetResetType() == enumspb.RESET_TYPE_LAST_WORKFLOW_TASK
	if op.GetOptions() != nil {
		switch target := op.Options.Target.(type) {
		case *commonpb.ResetOptions_WorkflowTaskId:
			return run, target.WorkflowTaskId, nil
		case *commonpb.ResetOptions_BuildId:
			return s.buildPoint(ctx, run, target.BuildId, op.Options.CurrentRunOnly)
		case *commonpb.ResetOptions_LastWorkflowTask:
			last = true
		default:
			last = false
		}
	}
	finish, err = s.workflowTask(ctx, run, last)
	return run, finish, err
}

// buildPoint is where a build of the worker's code first completed a workflow task, in the run or one that it continues.
func (s batchExecutor) buildPoint(ctx context.Context, run ids.RunKey, build string, thisRun bool) (base ids.RunKey, finish ids.EventID, err error) {
	st, err := s.engine.State(ctx, run.Of(), run.Run)
	if err != nil {
		return run, 0, err
	}
	var points execution.ResetPoints
	if err := proto.Unmarshal(st.Info.ResetPoints, &points); err != nil {
		return run, 0, fmt.Errorf("reset points of %s: %w", run, err)
	}
	for _, p := range points.Points {
		if build != "" && p.BuildId == build && p.Resettable && (!thisRun || p.RunId == string(run.Run)) {
			return run.Of().Run(ids.RunID(p.RunId)), p.FirstWorkflowTaskCompletedId, nil
		}
	}
	return run, 0, invalid("build ID %q has completed no workflow task of the run", build)
}

// workflowTask is the event to cut a run before so that its first or its last completed workflow task is done again; of
// a run that completed none, that whose workflow task was scheduled.
func (s batchExecutor) workflowTask(ctx context.Context, run ids.RunKey, last bool) (ids.EventID, error) {
	var completed, scheduled ids.EventID
	err := s.eachEvent(ctx, run, last, func(ev *historypb.HistoryEvent) bool {
		switch ev.EventType {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			completed = ev.EventId
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
			if scheduled == 0 {
				scheduled = ev.EventId
			}
		}
		return completed == 0
	})
	switch {
	case err != nil:
		return 0, err
	case completed != 0:
		return completed, nil
	case scheduled != 0:
		return scheduled + 1, nil
	}
	return 0, invalid("the run has had no workflow task to reset to")
}

// eachEvent reads a run's history, from its end if reverse, until fn returns false.
func (s batchExecutor) eachEvent(ctx context.Context, run ids.RunKey, reverse bool, fn func(*historypb.HistoryEvent) bool) error {
	q := engine.HistoryQuery{Run: run, From: 1, MaxSize: historyPageBytes, Reverse: reverse}
	for {
		page, err := s.engine.History(ctx, q)
		if err != nil {
			return err
		}
		events, err := record.DecodeEvents(page.Events)
		if err != nil {
			return fmt.Errorf("history of %s: %w", run, err)
		}
		for _, ev := range events {
			if !fn(ev) {
				return nil
			}
		}
		if !page.More || page.Count == 0 {
			return nil
		}
		if q.From = page.Last + 1; reverse {
			q.From, q.To = 1, page.Last
		}
	}
}
