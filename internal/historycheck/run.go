package historycheck

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// searchAttributeTypes are the values of `type` metadata that SDKs decode.
var searchAttributeTypes = []string{"Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList"}

// guardReasons begin the reasons of a termination by a size guard: it may strike inside any transaction, before that
// has scheduled its workflow task.
var guardReasons = []string{"Workflow history ", "Workflow mutable state ", "Transaction size "}

// runStarted judges event 1 by itself.
func (w *walker) runStarted(a *historypb.WorkflowExecutionStartedEventAttributes) {
	w.started = a
	need := func(ok bool, format string, args ...any) { w.need(ok, RuleStarted, format, args...) }
	need(a.WorkflowId != "", "no workflow ID")
	need(a.GetWorkflowType().GetName() != "", "no workflow type")
	need(a.GetTaskQueue().GetName() != "", "no task queue")
	need(a.GetTaskQueue().GetKind() == enumspb.TASK_QUEUE_KIND_NORMAL, "task queue kind %s", a.GetTaskQueue().GetKind())
	need(a.OriginalExecutionRunId != "", "no original run ID")
	need(a.FirstExecutionRunId != "", "no first run ID")
	need(a.Attempt >= 1, "attempt %d", a.Attempt)
	need(a.GetFirstWorkflowTaskBackoff().AsDuration() >= 0, "negative backoff")

	execution, run := a.WorkflowExecutionTimeout.AsDuration(), a.WorkflowRunTimeout.AsDuration()
	need(a.WorkflowTaskTimeout.AsDuration() > 0, "workflow task timeout is not defaulted")
	need(execution >= 0 && run >= 0, "negative timeout")
	need((execution > 0) == (a.WorkflowExecutionExpirationTime != nil), "an expiration time goes with an execution timeout, and only with one")
	if a.ContinuedExecutionRunId == "" {
		need(execution == 0 || 0 < run && run <= execution, "run timeout %s is not cut to the execution timeout %s", run, execution)
		need(run == 0 || a.WorkflowTaskTimeout.AsDuration() <= run, "workflow task timeout is not cut to the run timeout %s", run)
		need(a.Attempt == 1, "attempt %d of the first run", a.Attempt)
		need(a.FirstExecutionRunId == a.OriginalExecutionRunId, "starts a chain, but the first run is %q, not %q",
			a.FirstExecutionRunId, a.OriginalExecutionRunId)
		fresh := enumspb.CONTINUE_AS_NEW_INITIATOR_UNSPECIFIED
		if a.CronSchedule != "" {
			fresh = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
		}
		need(a.Initiator == fresh, "initiator %s of the first run", a.Initiator)
	} else {
		need(a.Initiator != enumspb.CONTINUE_AS_NEW_INITIATOR_UNSPECIFIED, "continues run %q without initiator", a.ContinuedExecutionRunId)
		need(a.FirstExecutionRunId != a.OriginalExecutionRunId, "continues run %q, yet is the first itself", a.ContinuedExecutionRunId)
		need(a.ContinuedExecutionRunId != a.OriginalExecutionRunId, "continues itself")
	}
	switch a.Initiator {
	case enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE:
		need(a.CronSchedule != "", "initiator is cron, but there is no schedule")
	case enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY:
		need(a.RetryPolicy != nil, "initiator is retry, but there is no policy")
		need(a.Attempt > 1, "attempt %d of a retry", a.Attempt)
	case enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW:
		need(a.Attempt == 1, "attempt %d behind a continue-as-new", a.Attempt)
	}
	if parent := a.ParentWorkflowExecution; parent != nil {
		need(parent.WorkflowId != "" && parent.RunId != "" && a.ParentInitiatedEventId > 0,
			"parent %q, %q, initiated by event %d", parent.WorkflowId, parent.RunId, a.ParentInitiatedEventId)
		need(a.GetRootWorkflowExecution().GetWorkflowId() != "", "a child without root")
	} else {
		need(a.RootWorkflowExecution == nil && a.ParentInitiatedEventId == 0, "root or initiated event without a parent")
	}
	w.searchAttributes(a.SearchAttributes, false)
	for _, key := range slices.Sorted(maps.Keys(a.GetMemo().GetFields())) {
		need(!isNull(a.Memo.Fields[key]), "memo %q is null; such entries are dropped", key)
	}
}

// runClosed judges the event that ends the run.
func (w *walker) runClosed() {
	need := func(ok bool, format string, args ...any) { w.need(ok, RuleCloseFields, format, args...) }
	retries, cron := w.started.GetRetryPolicy() != nil, w.started.GetCronSchedule() != ""
	successor := ""
	switch w.typ() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		successor = w.ev.GetWorkflowExecutionCompletedEventAttributes().NewExecutionRunId
		need(successor == "" || cron, "has a successor without a cron schedule")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		a := w.ev.GetWorkflowExecutionFailedEventAttributes()
		successor = a.NewExecutionRunId
		need(a.Failure != nil, "no failure")
		need(retries || a.RetryState == enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "retry state %s without a retry policy", a.RetryState)
		w.retryOutcome(a.RetryState, successor)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		a := w.ev.GetWorkflowExecutionTimedOutEventAttributes()
		successor = a.NewExecutionRunId
		w.retryOutcome(a.RetryState, successor)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		a := w.ev.GetWorkflowExecutionContinuedAsNewEventAttributes()
		successor = a.NewExecutionRunId
		need(successor != "", "no new run ID")
		need(a.GetWorkflowType().GetName() != "", "workflow type is not defaulted")
		need(a.GetTaskQueue().GetName() != "", "task queue is not defaulted")
		need(a.WorkflowTaskTimeout.AsDuration() > 0, "workflow task timeout is not defaulted")
		need(a.WorkflowRunTimeout.AsDuration() >= 0 && a.BackoffStartInterval.AsDuration() >= 0, "negative timeout or backoff")
		w.searchAttributes(a.SearchAttributes, true)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		reason := w.ev.GetWorkflowExecutionTerminatedEventAttributes().Reason
		need(reason != "", "no reason")
		if slices.ContainsFunc(guardReasons, func(p string) bool { return strings.HasPrefix(reason, p) }) {
			w.owed = 0
		}
	}
	if successor != "" {
		taken := successor == w.runID() || successor == w.started.GetOriginalExecutionRunId() ||
			successor == w.started.GetFirstExecutionRunId() || successor == w.started.GetContinuedExecutionRunId()
		need(!taken, "new run ID %q is that of an earlier run", successor)
	}
	if w.owed != 0 && w.inClass(classForce) && !(w.ended && w.task.state == taskNone) {
		w.bad(RuleWake, "event %d never got its workflow task", w.owed)
	}
	w.closed = w.ev
}

// retryOutcome judges the retry state of a failed or timed out run against its successor.
func (w *walker) retryOutcome(s enumspb.RetryState, successor string) {
	need := func(ok bool, format string, args ...any) { w.need(ok, RuleCloseFields, format, args...) }
	retries, cron := w.started.GetRetryPolicy() != nil, w.started.GetCronSchedule() != ""
	need(s != enumspb.RETRY_STATE_UNSPECIFIED, "no retry state")
	if s == enumspb.RETRY_STATE_IN_PROGRESS {
		need(retries, "is retried without a retry policy")
		need(successor != "", "is retried, but names no new run")
	} else {
		need(successor == "" || cron, "has a successor, but is neither retried nor cron")
	}
	need(s != enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET || !retries, "there is a retry policy")
}

// applyRun judges the events that concern the run as a whole.
func (w *walker) applyRun() {
	switch w.typ() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		a := w.ev.GetWorkflowExecutionSignaledEventAttributes()
		w.need(a.SignalName != "", RuleSignal, "no signal name")
		w.need(a.ExternalWorkflowExecution == nil || a.RequestId != "", RuleSignal, "sent by a workflow, but without request ID")
		w.once(w.signalRequests, a.RequestId, RuleSignal)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		w.need(w.canceled == 0, RuleCancel, "event %d already asked for it", w.canceled)
		w.canceled = w.id()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:
		w.need(!w.paused, RulePause, "the run is already paused")
		w.paused = true
		w.owed, w.flush = 0, false
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED:
		w.need(w.paused, RulePause, "the run is not paused")
		w.paused, w.flush = false, false
		if w.task.ever && w.task.state == taskNone {
			w.task.retrying = false
			w.owed = w.id()
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
		a := w.ev.GetWorkflowExecutionOptionsUpdatedEventAttributes()
		changes := a.VersioningOverride != nil || a.UnsetVersioningOverride || a.AttachedRequestId != "" ||
			len(a.AttachedCompletionCallbacks) > 0 || a.Priority != nil || a.TimeSkippingConfigUpdated ||
			len(a.WorkflowUpdateOptions) > 0 || len(w.ev.Links) > 0
		w.need(changes, RuleOptions, "changes nothing")
		w.once(w.optionRequests, a.AttachedRequestId, RuleOptions)
	case enumspb.EVENT_TYPE_MARKER_RECORDED:
		w.need(w.ev.GetMarkerRecordedEventAttributes().MarkerName != "", RuleRecord, "no marker name")
	case enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
		a := w.ev.GetUpsertWorkflowSearchAttributesEventAttributes()
		w.need(len(a.GetSearchAttributes().GetIndexedFields()) > 0, RuleRecord, "no search attributes")
		w.searchAttributes(a.SearchAttributes, true)
	case enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
		w.need(w.ev.GetWorkflowPropertiesModifiedEventAttributes().UpsertedMemo != nil, RuleRecord, "no memo")
	}
}

// once judges that a request ID, unless empty, is new in this run.
func (w *walker) once(seen map[string]int64, requestID string, rule Rule) {
	if requestID == "" {
		return
	}
	if earlier := seen[requestID]; earlier != 0 {
		w.bad(rule, "request ID %q was already recorded by event %d", requestID, earlier)
		return
	}
	seen[requestID] = w.id()
}

// searchAttributes judges that each payload tells its type. Null payloads, which remove an attribute, are legal where
// removal is, and need none.
func (w *walker) searchAttributes(sa *commonpb.SearchAttributes, removal bool) {
	for _, key := range slices.Sorted(maps.Keys(sa.GetIndexedFields())) {
		p := sa.IndexedFields[key]
		switch {
		case isNull(p):
			w.need(removal, RuleSearchAttributes, "%q is null; such entries are dropped", key)
		case w.opts.UntypedSearchAttributes:
		default:
			t := string(p.GetMetadata()["type"])
			w.need(slices.Contains(searchAttributeTypes, t), RuleSearchAttributes, "%q has type %q", key, t)
		}
	}
}

// isNull tells whether p stands for no value.
func isNull(p *commonpb.Payload) bool {
	return p == nil || string(p.Metadata["encoding"]) == "binary/null" ||
		string(p.Metadata["encoding"]) == "json/plain" && bytes.Equal(bytes.TrimSpace(p.Data), []byte("null"))
}
