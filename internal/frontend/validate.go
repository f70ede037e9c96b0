package frontend

import (
	"strings"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Bounds that are part of the protocol rather than of a run.
const (
	maxLinks           = 10
	maxLinkBytes       = 4000
	maxSummaryBytes    = 400
	maxDetailsBytes    = 20_000
	maxFairnessKey     = 64
	systemQueuePrefix  = "/_sys/"
	internalQueueName  = "temporal-sys-per-ns-tq"
	internalQueueError = "cannot use internal per-namespace task queue"
)

// checkID refuses an identifier that is empty, when it is needed, or too long. field is its name in the request.
func checkID(l *execution.Limits, field, value string, needed bool) error {
	switch {
	case value == "" && needed:
		return invalid("%s is not set on request.", field)
	case len(value) > l.IDBytes:
		return invalid("%s length exceeds limit.", field)
	}
	return nil
}

// checkIDs checks optional identifiers given as field, value, field, value.
func checkIDs(l *execution.Limits, fieldsAndValues ...string) error {
	for i := 0; i < len(fieldsAndValues); i += 2 {
		if err := checkID(l, fieldsAndValues[i], fieldsAndValues[i+1], false); err != nil {
			return err
		}
	}
	return nil
}

// checkRunID returns a run ID in canonical form; empty stays empty.
func checkRunID(s string) (ids.RunID, error) {
	if s == "" {
		return "", nil
	}
	u, err := uuid.Parse(s)
	if err != nil || len(s) != 36 { // the parser also takes forms that clients never got from a server
		return "", invalid("Invalid RunId.")
	}
	return ids.RunID(u.String()), nil
}

// checkExecution takes the target of a request apart.
func checkExecution(l *execution.Limits, ns ids.NamespaceID, e *commonpb.WorkflowExecution) (ids.WorkflowKey, ids.RunID, error) {
	if e == nil {
		return ids.WorkflowKey{}, "", invalid("Execution is not set on request.")
	}
	return checkTarget(l, ns, e.WorkflowId, e.RunId)
}

func checkTarget(l *execution.Limits, ns ids.NamespaceID, workflow, run string) (ids.WorkflowKey, ids.RunID, error) {
	key := ids.WorkflowKey{Namespace: ns, Workflow: ids.WorkflowID(workflow)}
	if err := checkID(l, "WorkflowId", workflow, true); err != nil {
		return key, "", err
	}
	runID, err := checkRunID(run)
	return key, runID, err
}

// checkQueue checks a task queue that tasks are to be put on or polled from.
func checkQueue(l *execution.Limits, q *taskqueuepb.TaskQueue) error {
	if err := checkID(l, "TaskQueue", q.GetName(), true); err != nil {
		return err
	}
	if q.Kind != enumspb.TASK_QUEUE_KIND_STICKY && internalQueue(q.Name) {
		return invalid(internalQueueError)
	}
	return nil
}

func internalQueue(name string) bool {
	return strings.HasPrefix(name, systemQueuePrefix) || name == internalQueueName
}

// checkTimeout refuses a malformed or negative duration.
func checkTimeout(field string, d *durationpb.Duration) error {
	if err := backoff.CheckDuration(d); err != nil {
		return invalid("invalid %s: %v", field, err)
	}
	return nil
}

// checkBlob refuses a payload set over the limit.
func checkBlob(l *execution.Limits, m proto.Message) error {
	if m != nil && proto.Size(m) > l.BlobBytes {
		return invalid("Blob data size exceeds limit.")
	}
	return nil
}

func tooBig(l *execution.Limits, m proto.Message) bool { return proto.Size(m) > l.BlobBytes }

func checkMetadata(m *sdkpb.UserMetadata) error {
	if n := proto.Size(m.GetSummary()); n > maxSummaryBytes {
		return invalid("UserMetadata.Summary of %d bytes exceeds the limit of %d.", n, maxSummaryBytes)
	}
	if n := proto.Size(m.GetDetails()); n > maxDetailsBytes {
		return invalid("UserMetadata.Details of %d bytes exceeds the limit of %d.", n, maxDetailsBytes)
	}
	return nil
}

func checkLinks(links []*commonpb.Link) error {
	if len(links) > maxLinks {
		return invalid("cannot attach more than %d links per request, got %d", maxLinks, len(links))
	}
	for _, link := range links {
		if n := proto.Size(link); n > maxLinkBytes {
			return invalid("link exceeds allowed size of %d, got %d", maxLinkBytes, n)
		}
	}
	return nil
}

func checkPriority(p *commonpb.Priority) error {
	switch {
	case p.GetPriorityKey() < 0:
		return invalid("priority key can't be negative")
	case len(p.GetFairnessKey()) > maxFairnessKey:
		return invalid("fairness key length exceeds limit of %d", maxFairnessKey)
	case !(p.GetFairnessWeight() >= 0): // refuses NaN, too
		return invalid("fairness weight can't be negative")
	}
	return nil
}

// isNull tells whether a payload says "no value", in the forms SDKs use.
func isNull(p *commonpb.Payload) bool {
	switch string(p.GetMetadata()["encoding"]) {
	case "binary/null":
		return true
	case "json/plain":
		return strings.TrimSpace(string(p.GetData())) == "null"
	}
	return p == nil || len(p.Metadata) == 0 && len(p.Data) == 0
}

// isUnset is isNull for search attributes, where an empty list says the same.
func isUnset(p *commonpb.Payload) bool {
	if isNull(p) {
		return true
	}
	s := strings.TrimSpace(string(p.GetData()))
	return s == "" || len(s) >= 2 && s[0] == '[' && strings.TrimSpace(s[1:]) == "]"
}

// keep is fields without those that drop; nil when nothing is left. fields itself is not changed.
func keep(fields map[string]*commonpb.Payload, drop func(*commonpb.Payload) bool) map[string]*commonpb.Payload {
	var out map[string]*commonpb.Payload
	for name, p := range fields {
		if drop(p) {
			continue
		}
		if out == nil {
			out = make(map[string]*commonpb.Payload, len(fields))
		}
		out[name] = p
	}
	return out
}

// serverFailure is a failure the server reports in place of one it refuses to keep.
func serverFailure(message string) *failurepb.Failure {
	return &failurepb.Failure{
		Message: message,
		Source:  "Server",
		FailureInfo: &failurepb.Failure_ServerFailureInfo{
			ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: true},
		},
	}
}
