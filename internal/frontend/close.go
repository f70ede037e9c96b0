package frontend

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
)

// What a terminate request without reason or identity is recorded with.
const (
	defaultTerminateReason   = "terminated by user via frontend"
	defaultTerminateIdentity = "frontend-service"
)

// RequestCancelWorkflowExecution asks a run to end.
func (s *Service) RequestCancelWorkflowExecution(ctx context.Context, r *workflowservice.RequestCancelWorkflowExecutionRequest) (*workflowservice.RequestCancelWorkflowExecutionResponse, error) {
	return reply(&workflowservice.RequestCancelWorkflowExecutionResponse{}, s.requestCancel(ctx, r))
}

func (s *Service) requestCancel(ctx context.Context, r *workflowservice.RequestCancelWorkflowExecutionRequest) error {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.WorkflowExecution)
	if err != nil {
		return err
	}
	first, err := checkRunID(r.FirstExecutionRunId)
	if err != nil {
		return err
	}
	if err := checkIDs(s.limits, "RequestId", r.RequestId, "Identity", r.Identity); err != nil {
		return err
	}
	if err := checkLinks(r.Links); err != nil {
		return err
	}
	if first != "" {
		run = "" // the chain is pinned, its current run is meant
	}
	_, err = submit[*execution.EmptyAnswer](ctx, s, key, run, execution.RequestCancel{
		Reason: r.Reason, Identity: r.Identity, RequestID: r.RequestId, FirstRunID: first, Links: r.Links,
	})
	return err
}

// TerminateWorkflowExecution ends a run now.
func (s *Service) TerminateWorkflowExecution(ctx context.Context, r *workflowservice.TerminateWorkflowExecutionRequest) (*workflowservice.TerminateWorkflowExecutionResponse, error) {
	return reply(&workflowservice.TerminateWorkflowExecutionResponse{}, s.terminate(ctx, r))
}

func (s *Service) terminate(ctx context.Context, r *workflowservice.TerminateWorkflowExecutionRequest) error {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.WorkflowExecution)
	if err != nil {
		return err
	}
	first, err := checkRunID(r.FirstExecutionRunId)
	if err != nil {
		return err
	}
	if err := checkIDs(s.limits, "Identity", r.Identity); err != nil {
		return err
	}
	if err := checkBlob(s.limits, r.Details); err != nil {
		return err
	}
	if err := checkLinks(r.Links); err != nil {
		return err
	}
	if first != "" {
		run = ""
	}
	in := execution.Terminate{Reason: r.Reason, Identity: r.Identity, Details: r.Details, FirstRunID: first, Links: r.Links}
	if in.Reason == "" {
		in.Reason = defaultTerminateReason
	}
	if in.Identity == "" {
		in.Identity = defaultTerminateIdentity
	}
	_, err = submit[*execution.EmptyAnswer](ctx, s, key, run, in)
	return err
}
