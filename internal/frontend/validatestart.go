package frontend

import (
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/namespace"
)

// Unset policies mean different things to the ways of starting.
const (
	conflictFail        = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL
	conflictUseExisting = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	conflictTerminate   = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	conflictUnset       = enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED

	reuseAllow     = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	reuseReject    = enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	reuseTerminate = enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
	reuseUnset     = enumspb.WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED
)

// checkStart validates a start request and, when it is good, completes it in place: request ID, policies, the retry
// policy's defaults, attributes with their types, and without null entries.
func (s *Service) checkStart(n *namespace.Namespace, r *workflowservice.StartWorkflowExecutionRequest, unsetConflict enumspb.WorkflowIdConflictPolicy) error {
	if err := checkStartShape(s.limits, r, s.clock.Now()); err != nil {
		return err
	}
	reuse, conflict, err := resolvePolicies(r.WorkflowIdReusePolicy, r.WorkflowIdConflictPolicy, unsetConflict)
	if err != nil {
		return err
	}
	attributes, err := n.Core().CheckSearchAttributes(r.SearchAttributes)
	if err != nil {
		return err
	}

	r.WorkflowIdReusePolicy, r.WorkflowIdConflictPolicy = reuse, conflict
	r.RetryPolicy = backoff.WithDefaults(r.RetryPolicy)
	if fields := keep(attributes.GetIndexedFields(), isUnset); fields != nil {
		r.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: fields}
	} else {
		r.SearchAttributes = nil
	}
	if fields := keep(r.Memo.GetFields(), isNull); fields != nil {
		r.Memo = &commonpb.Memo{Fields: fields}
	} else {
		r.Memo = nil
	}
	if r.RequestId == "" {
		r.RequestId = s.newID()
	}
	return nil
}

// checkStartShape refuses what no state could make acceptable.
func checkStartShape(l *execution.Limits, r *workflowservice.StartWorkflowExecutionRequest, now clock.Nanos) error {
	for _, check := range []func() error{
		func() error { return checkID(l, "WorkflowId", r.GetWorkflowId(), true) },
		func() error { return checkID(l, "WorkflowType", r.GetWorkflowType().GetName(), true) },
		func() error { return checkQueue(l, r.GetTaskQueue()) },
		func() error { return checkIDs(l, "RequestId", r.GetRequestId(), "Identity", r.GetIdentity()) },
		func() error { return checkTimeout("WorkflowExecutionTimeout", r.GetWorkflowExecutionTimeout()) },
		func() error { return checkTimeout("WorkflowRunTimeout", r.GetWorkflowRunTimeout()) },
		func() error { return checkTimeout("WorkflowTaskTimeout", r.GetWorkflowTaskTimeout()) },
		func() error { return checkTimeout("WorkflowStartDelay", r.GetWorkflowStartDelay()) },
		func() error { return checkCron(r, now) },
		func() error { return checkRetry(r.GetRetryPolicy()) },
		func() error { return checkMetadata(r.GetUserMetadata()) },
		func() error { return checkLinks(r.GetLinks()) },
		func() error { return checkPriority(r.GetPriority()) },
		func() error { return checkBlob(l, r.GetInput()) },
		func() error { return checkBlob(l, r.GetLastCompletionResult()) },
		func() error { return checkMemo(l, r.GetMemo()) },
		func() error { return checkUnsupported(r) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkCron(r *workflowservice.StartWorkflowExecutionRequest, now clock.Nanos) error {
	if r.GetCronSchedule() == "" {
		return nil
	}
	if clock.Duration(r.WorkflowStartDelay) != 0 {
		return invalid("CronSchedule and WorkflowStartDelay may not be used together.")
	}
	if _, err := backoff.NextCron(r.CronSchedule, now, now); err != nil {
		return invalid("invalid CronSchedule.")
	}
	return nil
}

func checkRetry(p *commonpb.RetryPolicy) error {
	if err := backoff.ValidateRetryPolicy(p); err != nil {
		return invalid("%v", err)
	}
	return nil
}

func checkMemo(l *execution.Limits, m *commonpb.Memo) error {
	if proto.Size(m) > l.MemoBytes {
		return invalid("Memo size exceeds limit.")
	}
	return nil
}

// checkUnsupported refuses options that would otherwise be ignored without a word.
func checkUnsupported(r *workflowservice.StartWorkflowExecutionRequest) error {
	o := r.GetOnConflictOptions()
	switch {
	case o.GetAttachCompletionCallbacks() && !o.GetAttachRequestId():
		return invalid("OnConflictOptions: attaching completion callbacks requires attaching the request ID.")
	case len(r.GetCompletionCallbacks()) > 0:
		return invalid("invalid callback url: url does not match any configured callback address: %s",
			r.CompletionCallbacks[0].GetNexus().GetUrl())
	case r.GetVersioningOverride() != nil:
		return status.Error(codes.Unimplemented, "VersioningOverride is not supported by this server.")
	case r.GetTimeSkippingConfig() != nil, r.GetTimeSkippingStatePropagation() != nil:
		return status.Error(codes.Unimplemented, "Time skipping is not supported by this server.")
	}
	return nil
}

// resolvePolicies fills unset policies in, translates the deprecated one and refuses combinations that contradict
// themselves.
func resolvePolicies(reuse enumspb.WorkflowIdReusePolicy, conflict, unsetConflict enumspb.WorkflowIdConflictPolicy) (enumspb.WorkflowIdReusePolicy, enumspb.WorkflowIdConflictPolicy, error) {
	switch {
	case enumspb.WorkflowIdReusePolicy_name[int32(reuse)] == "":
		return 0, 0, invalid("Invalid WorkflowIDReusePolicy: %d", reuse)
	case enumspb.WorkflowIdConflictPolicy_name[int32(conflict)] == "":
		return 0, 0, invalid("Invalid WorkflowIDConflictPolicy: %d", conflict)
	case reuse == reuseTerminate && conflict != conflictUnset:
		return 0, 0, invalid("Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together with a WorkflowIDConflictPolicy")
	case reuse == reuseTerminate:
		return reuseAllow, conflictTerminate, nil
	case reuse == reuseReject && conflict == conflictTerminate:
		return 0, 0, invalid("Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together with WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING")
	}
	if reuse == reuseUnset {
		reuse = reuseAllow
	}
	if conflict == conflictUnset {
		conflict = unsetConflict
	}
	return reuse, conflict, nil
}
