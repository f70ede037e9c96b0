package frontend

import (
	"context"
	"errors"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/batch"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
)

// StartBatchOperation returns once the job is durable; it goes on by itself.
func (s *Service) StartBatchOperation(ctx context.Context, r *workflowservice.StartBatchOperationRequest) (*workflowservice.StartBatchOperationResponse, error) {
	return reply(&workflowservice.StartBatchOperationResponse{}, s.startBatch(ctx, r))
}

func (s *Service) startBatch(ctx context.Context, r *workflowservice.StartBatchOperationRequest) error {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return err
	}
	if err := checkID(s.limits, "JobId", r.JobId, true); err != nil {
		return err
	}
	if err := s.checkBatch(n, r); err != nil {
		return err
	}
	return s.batches.Start(ctx, n.ID, batchType(r), r)
}

func (s *Service) checkBatch(n *namespace.Namespace, r *workflowservice.StartBatchOperationRequest) error {
	selectors := 0
	for _, set := range []bool{r.VisibilityQuery != "", len(r.Executions) > 0, len(r.TargetExecutions) > 0} {
		if set {
			selectors++
		}
	}
	switch {
	case r.Operation == nil || r.Reason == "" || selectors == 0:
		return invalid("must provide required parameters: BatchType,Reason,Namespace, AND one of (Query OR Executions OR TargetExecutions)")
	case selectors > 1:
		return invalid("visibility query, executions, and target executions are mutually exclusive")
	}
	if err := s.checkBatchOperation(r); err != nil {
		return err
	}
	for i, e := range r.TargetExecutions {
		if e.GetType() != enumspb.EXECUTION_TYPE_WORKFLOW {
			return invalid("target_executions[%d] has type %s, but the operation requires %s", i, e.GetType(), enumspb.EXECUTION_TYPE_WORKFLOW)
		}
	}
	if r.VisibilityQuery != "" {
		if _, err := filter.Parse(r.VisibilityQuery, n.Attribute, filter.Options{}); err != nil {
			return invalidBatchQuery(err)
		}
	}
	return nil
}

// invalidBatchQuery is the error of a query that does not parse, as batch operations put it.
func invalidBatchQuery(err error) error {
	if e := (*filter.Error)(nil); errors.As(err, &e) {
		return invalid("invalid visibility query: %s", e.Text)
	}
	return err
}

func (s *Service) checkBatchOperation(r *workflowservice.StartBatchOperationRequest) error {
	if err := checkIDs(s.limits, "Identity", batchIdentity(r)); err != nil {
		return err
	}
	switch op := r.Operation.(type) {
	case *workflowservice.StartBatchOperationRequest_SignalOperation:
		if op.SignalOperation.GetSignal() == "" {
			return invalid("must provide signal name")
		}
		return checkSignal(s.limits, op.SignalOperation.Signal, "", "", op.SignalOperation.Input)
	case *workflowservice.StartBatchOperationRequest_TerminationOperation:
		return checkBlob(s.limits, op.TerminationOperation.GetDetails())
	case *workflowservice.StartBatchOperationRequest_CancellationOperation:
		return nil
	case *workflowservice.StartBatchOperationRequest_ResetOperation:
		return checkBatchReset(op.ResetOperation)
	}
	return serviceerror.NewUnimplementedf("StartBatchOperation: %s is not supported", batchType(r))
}

func checkBatchReset(op *batchpb.BatchOperationReset) error {
	switch options := op.GetOptions(); {
	case options == nil && op.GetResetType() != enumspb.RESET_TYPE_FIRST_WORKFLOW_TASK && op.GetResetType() != enumspb.RESET_TYPE_LAST_WORKFLOW_TASK:
		return invalid("unknown batch reset type %s", op.GetResetType())
	case options != nil && options.Target == nil:
		return invalid("batch reset missing target")
	}
	return checkPostReset("StartBatchOperation", op.GetPostResetOperations())
}

// batchType names a request's operation.
func batchType(r *workflowservice.StartBatchOperationRequest) enumspb.BatchOperationType {
	switch r.Operation.(type) {
	case *workflowservice.StartBatchOperationRequest_TerminationOperation:
		return enumspb.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW
	case *workflowservice.StartBatchOperationRequest_SignalOperation:
		return enumspb.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW
	case *workflowservice.StartBatchOperationRequest_CancellationOperation:
		return enumspb.BATCH_OPERATION_TYPE_CANCEL_WORKFLOW
	case *workflowservice.StartBatchOperationRequest_DeletionOperation:
		return enumspb.BATCH_OPERATION_TYPE_DELETE_WORKFLOW
	case *workflowservice.StartBatchOperationRequest_ResetOperation:
		return enumspb.BATCH_OPERATION_TYPE_RESET_WORKFLOW
	case *workflowservice.StartBatchOperationRequest_UpdateWorkflowOptionsOperation:
		return enumspb.BATCH_OPERATION_TYPE_UPDATE_WORKFLOW_EXECUTION_OPTIONS
	case *workflowservice.StartBatchOperationRequest_UnpauseActivitiesOperation:
		return enumspb.BATCH_OPERATION_TYPE_UNPAUSE_ACTIVITY
	case *workflowservice.StartBatchOperationRequest_ResetActivitiesOperation:
		return enumspb.BATCH_OPERATION_TYPE_RESET_ACTIVITY
	case *workflowservice.StartBatchOperationRequest_UpdateActivityOptionsOperation:
		return enumspb.BATCH_OPERATION_TYPE_UPDATE_ACTIVITY_OPTIONS
	case *workflowservice.StartBatchOperationRequest_CancelActivitiesOperation:
		return enumspb.BATCH_OPERATION_TYPE_CANCEL_ACTIVITY
	case *workflowservice.StartBatchOperationRequest_TerminateActivitiesOperation:
		return enumspb.BATCH_OPERATION_TYPE_TERMINATE_ACTIVITY
	case *workflowservice.StartBatchOperationRequest_DeleteActivitiesOperation:
		return enumspb.BATCH_OPERATION_TYPE_DELETE_ACTIVITY
	}
	return enumspb.BATCH_OPERATION_TYPE_UNSPECIFIED
}

// batchIdentity is who asked for a request's operation.
func batchIdentity(r *workflowservice.StartBatchOperationRequest) string {
	switch op := r.Operation.(type) {
	case *workflowservice.StartBatchOperationRequest_TerminationOperation:
		return op.TerminationOperation.GetIdentity()
	case *workflowservice.StartBatchOperationRequest_SignalOperation:
		return op.SignalOperation.GetIdentity()
	case *workflowservice.StartBatchOperationRequest_CancellationOperation:
		return op.CancellationOperation.GetIdentity()
	case *workflowservice.StartBatchOperationRequest_ResetOperation:
		return op.ResetOperation.GetIdentity()
	}
	return ""
}

// StopBatchOperation ends a job as failed. What it has done stays done; when this returns, it does no more.
func (s *Service) StopBatchOperation(ctx context.Context, r *workflowservice.StopBatchOperationRequest) (*workflowservice.StopBatchOperationResponse, error) {
	n, err := s.batchNamespace(r.GetNamespace(), r.GetJobId())
	if err != nil {
		return nil, err
	}
	if r.Reason == "" {
		return nil, invalid("Reason is not set on request.")
	}
	if err := checkIDs(s.limits, "Identity", r.Identity); err != nil {
		return nil, err
	}
	err = s.batches.Stop(ctx, n.ID, ids.BatchID(r.JobId), r.Reason, r.Identity)
	return reply(&workflowservice.StopBatchOperationResponse{}, err)
}

func (s *Service) batchNamespace(name, job string) (*namespace.Namespace, error) {
	n, err := s.namespace(name)
	if err == nil {
		err = checkID(s.limits, "JobId", job, true)
	}
	return n, err
}

// DescribeBatchOperation tells how far a job is.
func (s *Service) DescribeBatchOperation(_ context.Context, r *workflowservice.DescribeBatchOperationRequest) (*workflowservice.DescribeBatchOperationResponse, error) {
	n, err := s.batchNamespace(r.GetNamespace(), r.GetJobId())
	if err != nil {
		return nil, err
	}
	j, err := s.batches.Describe(n.ID, ids.BatchID(r.JobId))
	if err != nil {
		return nil, err
	}
	return &workflowservice.DescribeBatchOperationResponse{
		OperationType: enumspb.BatchOperationType(j.Type), JobId: string(j.ID), State: enumspb.BatchOperationState(j.State),
		StartTime: j.Start.Proto(), CloseTime: j.Close.Proto(),
		TotalOperationCount: j.Total, CompleteOperationCount: j.Complete, FailureOperationCount: j.Failed,
		Identity: batchIdentity(j.Request), Reason: j.Request.Reason, Query: j.Request.VisibilityQuery, Executions: batchExecutions(j.Request),
	}, nil
}

// batchExecutions are the executions that a request names, in either way.
func batchExecutions(r *workflowservice.StartBatchOperationRequest) []*commonpb.Execution {
	if len(r.Executions) == 0 {
		return r.TargetExecutions
	}
	all := make([]*commonpb.Execution, len(r.Executions))
	for i, e := range r.Executions {
		all[i] = &commonpb.Execution{Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: e.GetWorkflowId(), RunId: e.GetRunId()}
	}
	return all
}

// ListBatchOperations lists jobs, newest start first.
func (s *Service) ListBatchOperations(_ context.Context, r *workflowservice.ListBatchOperationsRequest) (*workflowservice.ListBatchOperationsResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	size := int(r.PageSize)
	if size <= 0 || size > listPage {
		size = listPage
	}
	var after *batch.Place
	if len(r.NextPageToken) > 0 {
		t, err := decodeBatches(r.NextPageToken)
		if err != nil || t.Namespace != n.ID {
			return nil, invalid("Invalid NextPageToken.")
		}
		after = &batch.Place{Start: t.Start, ID: t.Job}
	}
	jobs, more, err := s.batches.List(n.ID, after, size)
	if err != nil {
		return nil, err
	}
	resp := &workflowservice.ListBatchOperationsResponse{}
	for _, j := range jobs {
		resp.OperationInfo = append(resp.OperationInfo, &batchpb.BatchOperationInfo{
			JobId: string(j.ID), State: enumspb.BatchOperationState(j.State), StartTime: j.Start.Proto(), CloseTime: j.Close.Proto(),
			OperationType: enumspb.BatchOperationType(j.Type),
		})
	}
	if more {
		last := jobs[len(jobs)-1]
		resp.NextPageToken = batchesToken{Namespace: n.ID, Start: last.Start, Job: last.ID}.encode()
	}
	return resp, nil
}
