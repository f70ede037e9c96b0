package frontend

import (
	"math"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	querypb "go.temporal.io/api/query/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

type startRequest = workflowservice.StartWorkflowExecutionRequest

func startOrder() *startRequest {
	return &startRequest{
		Namespace: "default", WorkflowId: "w", WorkflowType: &commonpb.WorkflowType{Name: "Order"},
		TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, RequestId: "r", Identity: "me",
	}
}

// starting makes the engine take any start.
func (f front) starting() {
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return &execution.StartAnswer{RunID: runA, FirstRunID: runA, Started: true, Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING}, nil
	}
}

// startRefused checks that a start is refused and that nothing of it reached the engine.
func (f front) startRefused(t *testing.T, text string, change func(*startRequest)) {
	t.Helper()
	r := startOrder()
	change(r)
	_, err := f.StartWorkflowExecution(t.Context(), r)
	refused(t, err, codes.InvalidArgument, text)
	if len(f.engine.inputs) != 0 {
		t.Errorf("the engine was given %T", f.engine.inputs[0])
	}
}

func TestS16StartNeedsIDTypeAndQueue(t *testing.T) {
	f := newFront(t)
	f.startRefused(t, "WorkflowId is not set on request.", func(r *startRequest) { r.WorkflowId = "" })
	f.startRefused(t, "WorkflowType is not set on request.", func(r *startRequest) { r.WorkflowType = nil })
	f.startRefused(t, "TaskQueue is not set on request.", func(r *startRequest) { r.TaskQueue = nil })
}

func TestS10LengthsOfIDs(t *testing.T) {
	long, fits := strings.Repeat("x", 1001), strings.Repeat("x", 1000)
	for name, set := range map[string]func(*startRequest, string){
		"WorkflowId":   func(r *startRequest, s string) { r.WorkflowId = s },
		"WorkflowType": func(r *startRequest, s string) { r.WorkflowType.Name = s },
		"TaskQueue":    func(r *startRequest, s string) { r.TaskQueue.Name = s },
		"RequestId":    func(r *startRequest, s string) { r.RequestId = s },
		"Identity":     func(r *startRequest, s string) { r.Identity = s },
	} {
		f := newFront(t)
		f.startRefused(t, name+" length exceeds limit.", func(r *startRequest) { set(r, long) })
		f.starting()
		r := startOrder()
		set(r, fits)
		if _, err := f.StartWorkflowExecution(t.Context(), r); err != nil {
			t.Errorf("%s of 1000 bytes: %v", name, err)
		}
	}
}

func TestS11RunIDsAreUUIDs(t *testing.T) {
	f := newFront(t)
	for _, run := range []string{"run", "urn:uuid:" + runA, "{" + runA + "}", strings.ReplaceAll(runA, "-", "")} {
		e := execOf("w", run)
		for name, call := range map[string]func() error{
			"describe": func() error {
				_, err := f.DescribeWorkflowExecution(t.Context(), &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "default", Execution: e})
				return err
			},
			"history": func() error {
				_, err := f.GetWorkflowExecutionHistory(t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: "default", Execution: e})
				return err
			},
			"terminate": func() error {
				_, err := f.TerminateWorkflowExecution(t.Context(), &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "default", WorkflowExecution: e})
				return err
			},
			"cancel": func() error {
				_, err := f.RequestCancelWorkflowExecution(t.Context(), &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: "default", WorkflowExecution: e})
				return err
			},
			"cancel a chain": func() error {
				_, err := f.RequestCancelWorkflowExecution(t.Context(), &workflowservice.RequestCancelWorkflowExecutionRequest{
					Namespace: "default", WorkflowExecution: execOf("w", ""), FirstExecutionRunId: run,
				})
				return err
			},
		} {
			t.Run(name, func(t *testing.T) { refused(t, call(), codes.InvalidArgument, "Invalid RunId.") })
		}
	}
	if got, err := checkRunID(strings.ToUpper(runA)); err != nil || got != runA {
		t.Errorf("upper case became %q, %v", got, err)
	}
}

func TestS14Links(t *testing.T) {
	f := newFront(t)
	f.startRefused(t, "cannot attach more than 10 links per request, got 11", func(r *startRequest) { r.Links = make([]*commonpb.Link, 11) })
	big := workflowLink(&commonpb.Link_WorkflowEvent{WorkflowId: strings.Repeat("x", 3995)}) // 4001 bytes with its framing
	f.startRefused(t, "link exceeds allowed size of 4000, got 4001", func(r *startRequest) { r.Links = []*commonpb.Link{big} })
	if proto.Size(big) != 4001 {
		t.Errorf("the link has %d bytes", proto.Size(big))
	}
}

func TestS27RejectAndTerminate(t *testing.T) {
	newFront(t).startRefused(t, "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together with WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING", func(r *startRequest) {
		r.WorkflowIdReusePolicy, r.WorkflowIdConflictPolicy = reuseReject, conflictTerminate
	})
}

func TestPoliciesAreResolved(t *testing.T) {
	newFront(t).startRefused(t, "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together with a WorkflowIDConflictPolicy", func(r *startRequest) {
		r.WorkflowIdReusePolicy, r.WorkflowIdConflictPolicy = reuseTerminate, conflictFail
	})
	for _, tt := range []struct {
		reuse, wantReuse       enumspb.WorkflowIdReusePolicy
		conflict, wantConflict enumspb.WorkflowIdConflictPolicy
	}{
		{reuseUnset, reuseAllow, conflictUnset, conflictFail},
		{reuseTerminate, reuseAllow, conflictUnset, conflictTerminate},
		{reuseReject, reuseReject, conflictUseExisting, conflictUseExisting},
	} {
		f := newFront(t)
		f.starting()
		r := startOrder()
		r.WorkflowIdReusePolicy, r.WorkflowIdConflictPolicy = tt.reuse, tt.conflict
		if _, err := f.StartWorkflowExecution(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got := given[execution.StartWorkflow](f.engine)[0].Request
		if got.WorkflowIdReusePolicy != tt.wantReuse || got.WorkflowIdConflictPolicy != tt.wantConflict {
			t.Errorf("%v, %v became %v, %v", tt.reuse, tt.conflict, got.WorkflowIdReusePolicy, got.WorkflowIdConflictPolicy)
		}
	}
}

func TestS30TimeoutsAndRetryPolicy(t *testing.T) {
	f := newFront(t)
	negative := durationpb.New(-time.Second)
	f.startRefused(t, "invalid WorkflowExecutionTimeout: cannot be negative", func(r *startRequest) { r.WorkflowExecutionTimeout = negative })
	f.startRefused(t, "invalid WorkflowRunTimeout: cannot be negative", func(r *startRequest) { r.WorkflowRunTimeout = negative })
	f.startRefused(t, "invalid WorkflowTaskTimeout: cannot be negative", func(r *startRequest) { r.WorkflowTaskTimeout = negative })
	f.startRefused(t, "invalid WorkflowStartDelay: cannot be negative", func(r *startRequest) { r.WorkflowStartDelay = negative })
	f.startRefused(t, "invalid WorkflowRunTimeout: not a valid duration", func(r *startRequest) {
		r.WorkflowRunTimeout = &durationpb.Duration{Seconds: math.MaxInt64}
	})
	f.startRefused(t, "BackoffCoefficient cannot be less than 1 on retry policy.", func(r *startRequest) {
		r.RetryPolicy = &commonpb.RetryPolicy{BackoffCoefficient: 0.5}
	})
	f.starting()
	r := startOrder()
	r.RetryPolicy = &commonpb.RetryPolicy{BackoffCoefficient: 0.5, MaximumAttempts: 1}
	if _, err := f.StartWorkflowExecution(t.Context(), r); err != nil {
		t.Errorf("a policy of one attempt: %v", err)
	}
}

func TestS34Cron(t *testing.T) {
	f := newFront(t)
	f.startRefused(t, "CronSchedule and WorkflowStartDelay may not be used together.", func(r *startRequest) {
		r.CronSchedule, r.WorkflowStartDelay = "* * * * *", durationpb.New(time.Second)
	})
	for _, bad := range []string{"every day", "0 0 30 2 *", "TZ=0"} {
		f.startRefused(t, "invalid CronSchedule.", func(r *startRequest) { r.CronSchedule = bad })
	}
	f.starting()
	r := startOrder()
	r.CronSchedule = "CRON_TZ=Europe/Berlin 0 9 * * 1-5"
	if _, err := f.StartWorkflowExecution(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestNullMemoAndAttributesAreDropped(t *testing.T) {
	f := newFront(t)
	f.starting()
	null := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/null")}}
	jsonOf := func(s string) *commonpb.Payload {
		return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(s)}
	}
	r := startOrder()
	r.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{"a": null, "b": nil, "c": jsonOf("null"), "d": jsonOf("[]")}}
	r.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
		"BuildIds": jsonOf("[]"), "BatcherUser": null, "TemporalChangeVersion": jsonOf(`["x-1"]`),
	}}
	if _, err := f.StartWorkflowExecution(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got := given[execution.StartWorkflow](f.engine)[0].Request
	if len(got.Memo.Fields) != 1 || got.Memo.Fields["d"] == nil {
		t.Errorf("memo: %v", got.Memo)
	}
	p := got.SearchAttributes.IndexedFields["TemporalChangeVersion"]
	if len(got.SearchAttributes.IndexedFields) != 1 || string(p.GetMetadata()["type"]) != "KeywordList" {
		t.Errorf("search attributes: %v", got.SearchAttributes)
	}
	r = startOrder()
	r.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{"a": null}}
	r.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"BatcherUser": null}}
	if _, err := f.StartWorkflowExecution(t.Context(), r); err != nil || r.Memo != nil || r.SearchAttributes != nil {
		t.Errorf("nothing but nulls: %v, %v, %v", r.Memo, r.SearchAttributes, err)
	}
}

func TestS40UnknownSearchAttribute(t *testing.T) {
	f := newFront(t)
	f.startRefused(t, "Namespace default has no mapping defined for search attribute Nope", func(r *startRequest) {
		r.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Nope": {}}}
	})
}

func TestUserMetadataSizes(t *testing.T) {
	f := newFront(t)
	f.startRefused(t, "UserMetadata.Summary of 401 bytes exceeds the limit of 400.", func(r *startRequest) {
		r.UserMetadata = &sdkpb.UserMetadata{Summary: &commonpb.Payload{Data: make([]byte, 398)}}
	})
	f.startRefused(t, "UserMetadata.Details of 20001 bytes exceeds the limit of 20000.", func(r *startRequest) {
		r.UserMetadata = &sdkpb.UserMetadata{Details: &commonpb.Payload{Data: make([]byte, 19997)}}
	})
}

func TestInternalTaskQueuesAreRefused(t *testing.T) {
	f := newFront(t)
	for _, name := range []string{"/_sys/q/1", "temporal-sys-per-ns-tq"} {
		f.startRefused(t, "cannot use internal per-namespace task queue", func(r *startRequest) { r.TaskQueue.Name = name })
		sws := signalWithStart()
		sws.TaskQueue = &taskqueuepb.TaskQueue{Name: name}
		_, err := f.SignalWithStartWorkflowExecution(t.Context(), sws)
		refused(t, err, codes.InvalidArgument, "cannot use internal per-namespace task queue")
	}
}

func TestPriorityIsChecked(t *testing.T) {
	f := newFront(t)
	for text, p := range map[string]*commonpb.Priority{
		"priority key can't be negative":          {PriorityKey: -1},
		"fairness key length exceeds limit of 64": {FairnessKey: strings.Repeat("k", 65)},
		"fairness weight can't be negative":       {FairnessWeight: float32(math.NaN())},
	} {
		f.startRefused(t, text, func(r *startRequest) { r.Priority = p })
	}
}

func TestOversizePayloadsAreRefused(t *testing.T) {
	f := newFront(t)
	f.limits.BlobBytes, f.limits.MemoBytes = 100, 50
	f.startRefused(t, "Blob data size exceeds limit.", func(r *startRequest) { r.Input = payloads(100) })
	f.startRefused(t, "Blob data size exceeds limit.", func(r *startRequest) { r.LastCompletionResult = payloads(100) })
	f.startRefused(t, "Memo size exceeds limit.", func(r *startRequest) {
		r.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": {Data: make([]byte, 50)}}}
	})
}

// What is not done is refused, not ignored.
func TestUnsupportedStartOptionsAreRefused(t *testing.T) {
	f := newFront(t)
	f.startRefused(t, "invalid callback url: url does not match any configured callback address: http://x", func(r *startRequest) {
		r.CompletionCallbacks = []*commonpb.Callback{{Variant: &commonpb.Callback_Nexus_{Nexus: &commonpb.Callback_Nexus{Url: "http://x"}}}}
	})
	f.startRefused(t, "OnConflictOptions: attaching completion callbacks requires attaching the request ID.", func(r *startRequest) {
		r.OnConflictOptions = &workflowpb.OnConflictOptions{AttachCompletionCallbacks: true}
	})
	r := startOrder()
	r.VersioningOverride = &workflowpb.VersioningOverride{}
	if _, err := f.StartWorkflowExecution(t.Context(), r); status.Code(err) != codes.Unimplemented {
		t.Errorf("versioning override: %v", err)
	}
}

func signalWithStart() *workflowservice.SignalWithStartWorkflowExecutionRequest {
	return &workflowservice.SignalWithStartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: "w", WorkflowType: &commonpb.WorkflowType{Name: "Order"},
		TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, SignalName: "s",
	}
}

func TestM41SignalWithStartIsChecked(t *testing.T) {
	f := newFront(t)
	for text, change := range map[string]func(*workflowservice.SignalWithStartWorkflowExecutionRequest){
		"SignalName is not set on request.":   func(r *workflowservice.SignalWithStartWorkflowExecutionRequest) { r.SignalName = "" },
		"WorkflowType is not set on request.": func(r *workflowservice.SignalWithStartWorkflowExecutionRequest) { r.WorkflowType = nil },
		"TaskQueue is not set on request.":    func(r *workflowservice.SignalWithStartWorkflowExecutionRequest) { r.TaskQueue = nil },
		"Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation.": func(r *workflowservice.SignalWithStartWorkflowExecutionRequest) {
			r.WorkflowIdConflictPolicy = conflictFail
		},
	} {
		r := signalWithStart()
		change(r)
		_, err := f.SignalWithStartWorkflowExecution(t.Context(), r)
		refused(t, err, codes.InvalidArgument, text)
	}
	f.starting()
	if _, err := f.SignalWithStartWorkflowExecution(t.Context(), signalWithStart()); err != nil {
		t.Fatal(err)
	}
	in := given[execution.StartWorkflow](f.engine)[0]
	if in.Request.WorkflowIdConflictPolicy != conflictUseExisting || in.Signal == nil || in.Signal.RequestID == "" || in.Signal.RequestID != in.Request.RequestId {
		t.Errorf("the engine got policy %v, signal %+v", in.Request.WorkflowIdConflictPolicy, in.Signal)
	}
}

func TestM12SignalIsChecked(t *testing.T) {
	f := newFront(t)
	f.limits.BlobBytes = 100
	good := func() *workflowservice.SignalWorkflowExecutionRequest {
		return &workflowservice.SignalWorkflowExecutionRequest{Namespace: "default", WorkflowExecution: execOf("w", ""), SignalName: "s"}
	}
	long := strings.Repeat("x", 1001)
	for text, change := range map[string]func(*workflowservice.SignalWorkflowExecutionRequest){
		"SignalName is not set on request.": func(r *workflowservice.SignalWorkflowExecutionRequest) { r.SignalName = "" },
		"SignalName length exceeds limit.":  func(r *workflowservice.SignalWorkflowExecutionRequest) { r.SignalName = long },
		"RequestId length exceeds limit.":   func(r *workflowservice.SignalWorkflowExecutionRequest) { r.RequestId = long },
		"Invalid RunId.":                    func(r *workflowservice.SignalWorkflowExecutionRequest) { r.WorkflowExecution.RunId = "r" },
		"WorkflowId is not set on request.": func(r *workflowservice.SignalWorkflowExecutionRequest) { r.WorkflowExecution.WorkflowId = "" },
		"Execution is not set on request.":  func(r *workflowservice.SignalWorkflowExecutionRequest) { r.WorkflowExecution = nil },
		"Blob data size exceeds limit.":     func(r *workflowservice.SignalWorkflowExecutionRequest) { r.Input = payloads(100) },
		"Namespace not set on request.":     func(r *workflowservice.SignalWorkflowExecutionRequest) { r.Namespace = "" },
	} {
		r := good()
		change(r)
		_, err := f.SignalWorkflowExecution(t.Context(), r)
		refused(t, err, codes.InvalidArgument, text)
	}
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return &execution.SignalAnswer{RunID: runA}, nil
	}
	r := good()
	r.Header = &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": {Data: make([]byte, 200)}}}
	if _, err := f.SignalWorkflowExecution(t.Context(), r); err != nil {
		t.Errorf("the header counted: %v", err)
	}
	if got := given[execution.SignalWorkflow](f.engine)[0]; got.RequestID != "" || got.Header != r.Header {
		t.Errorf("the engine got %+v", got)
	}
}

func TestM94QueryIsChecked(t *testing.T) {
	f := newFront(t)
	f.limits.BlobBytes = 100
	for text, r := range map[string]*workflowservice.QueryWorkflowRequest{
		"WorkflowQuery is not set on request.": {Execution: execOf("w", "")},
		"QueryType is not set on request.":     {Execution: execOf("w", ""), Query: &querypb.WorkflowQuery{}},
		"Execution is not set on request.":     {Query: &querypb.WorkflowQuery{QueryType: "q"}},
		"Blob data size exceeds limit.":        {Execution: execOf("w", ""), Query: &querypb.WorkflowQuery{QueryType: "q", QueryArgs: payloads(100)}},
	} {
		r.Namespace = "default"
		_, err := f.QueryWorkflow(t.Context(), r)
		refused(t, err, codes.InvalidArgument, text)
	}
}

func updateRequest() *workflowservice.UpdateWorkflowExecutionRequest {
	return &workflowservice.UpdateWorkflowExecutionRequest{
		Namespace: "default", WorkflowExecution: execOf("w", ""),
		Request: &updatepb.Request{Meta: &updatepb.Meta{UpdateId: "u"}, Input: &updatepb.Input{Name: "add"}},
	}
}

func TestM142UpdateIsChecked(t *testing.T) {
	f := newFront(t)
	type request = workflowservice.UpdateWorkflowExecutionRequest
	for _, tt := range []struct {
		text   string
		change func(*request)
	}{
		{"Update meta is not set on request.", func(r *request) { r.Request = nil }},
		{"Update meta is not set on request.", func(r *request) { r.Request.Meta = nil }},
		{"Update input is not set on request.", func(r *request) { r.Request.Input = nil }},
		{"Update name is not set on request.", func(r *request) { r.Request.Input.Name = "" }},
		{"UpdateId length exceeds limit.", func(r *request) { r.Request.Meta.UpdateId = strings.Repeat("x", 1001) }},
		{"Invalid RunId.", func(r *request) { r.WorkflowExecution.RunId = "r" }},
		{"Invalid RunId.", func(r *request) { r.FirstExecutionRunId = "r" }},
	} {
		r := updateRequest()
		tt.change(r)
		_, err := f.UpdateWorkflowExecution(t.Context(), r)
		refused(t, err, codes.InvalidArgument, tt.text)
	}
}
