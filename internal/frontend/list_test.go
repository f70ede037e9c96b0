package frontend

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	filterpb "go.temporal.io/api/filter/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	running   = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	completeS = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	failedS   = enumspb.WORKFLOW_EXECUTION_STATUS_FAILED
)

// listed is a run to be listed: times in seconds after the epoch, a close of zero for an open run.
type listed struct {
	id           string
	start, close int64
	status       enumspb.WorkflowExecutionStatus
	typ          string
	attributes   map[string]filter.Value
	parent       string
}

func runID(n int) ids.RunID { return ids.RunID(fmt.Sprintf("cccccccc-0000-4000-8000-%012d", n)) }

// keepRuns stores runs; the n-th gets runID(n).
func (f front) keepRuns(t testing.TB, runs ...listed) {
	t.Helper()
	for n, r := range runs {
		run := f.key(r.id).Run(runID(n))
		second := func(s int64) clock.Nanos { return clock.Nanos(s * int64(time.Second)) }
		st := &execution.State{Key: run, Start: &execution.Start{StartTime: second(r.start)}}
		info := &workflowpb.WorkflowExecutionInfo{
			Execution: executionOf(run), Type: &commonpb.WorkflowType{Name: r.typ}, Status: r.status,
			StartTime: second(r.start).Proto(), ExecutionTime: second(r.start).Proto(), HistoryLength: int64(n + 1), TaskQueue: "q",
		}
		if r.parent != "" {
			info.ParentExecution, info.RootExecution = execOf(r.parent, runA), execOf("top", runB)
		}
		if r.close != 0 {
			st.Info.CloseEventID, st.Info.CloseTime = 5, second(r.close)
			info.CloseTime = second(r.close).Proto()
			info.ExecutionDuration = durationpb.New(second(r.close).Sub(second(r.start)))
		}
		if r.attributes != nil {
			info.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{}}
			for name, v := range r.attributes {
				info.SearchAttributes.IndexedFields[name] = filter.EncodeValue(v)
			}
		}
		f.apply(t, rowsOf(t, st, info)...)
	}
}

// find lists workflow IDs, in pages of the given size.
func (f front) find(t testing.TB, query string, size int32) (out []string) {
	t.Helper()
	r := &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", Query: query, PageSize: size}
	for page := 0; page == 0 || len(r.NextPageToken) > 0; page++ {
		resp, err := f.ListWorkflowExecutions(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if len(resp.Executions) > int(size) && size > 0 {
			t.Errorf("%s: a page of %d", query, len(resp.Executions))
		}
		for _, e := range resp.Executions {
			out = append(out, e.Execution.WorkflowId)
			if e.Memo == nil || e.SearchAttributes == nil {
				t.Errorf("%s has no memo or search attributes", e.Execution.WorkflowId)
			}
		}
		r.NextPageToken = resp.NextPageToken
	}
	return out
}

var someRuns = []listed{
	{"old-open", 100, 0, running, "Order", nil, ""},
	{"new-open", 200, 0, running, "Pay", map[string]filter.Value{"BuildIds": filter.KeywordList([]string{"b1", "b2"})}, ""},
	{"closed-late", 150, 400, completeS, "Order", nil, ""},
	{"closed-early", 160, 300, failedS, "Order", nil, "boss"},
	{"hidden", 170, 0, running, "Scheduler", map[string]filter.Value{filter.NamespaceDivision: filter.Keyword("TemporalScheduler")}, ""},
	{"twice", 110, 120, completeS, "Pay", nil, ""},
	{"twice", 130, 0, running, "Pay", nil, ""},
	{"epoch", 1, 2, completeS, "Order", nil, ""},
}

func TestS197ListOrder(t *testing.T) {
	f := newFront(t)
	f.keepRuns(t, someRuns...)
	want := []string{"new-open", "twice", "old-open", "closed-late", "closed-early", "twice", "epoch"}
	for _, size := range []int32{0, 1, 2, 3, 1000, 5000} { // S-195: any page size
		if got := f.find(t, "", size); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q", size, got)
		}
	}
}

func TestS189ListQueries(t *testing.T) {
	f := newFront(t)
	f.keepRuns(t, someRuns...)
	for _, tt := range []struct{ query, want string }{
		{"WorkflowId = 'twice'", "twice twice"},
		{"WorkflowId = 'twice' AND CloseTime IS NULL", "twice"},
		{"WorkflowId IN ('twice', 'epoch', 'nobody', 'hidden')", "twice twice epoch"},
		{"WorkflowId = 'twice' OR WorkflowType = 'Order'", "twice old-open closed-late closed-early twice epoch"},
		{"WorkflowType = 'Pay'", "new-open twice twice"},
		{"ExecutionStatus = 'Running'", "new-open twice old-open"},
		{"ExecutionStatus IN ('Failed', 'Running')", "new-open twice old-open closed-early"},
		{"ExecutionStatus != 'Running'", "closed-late closed-early twice epoch"},
		{"StartTime >= '1970-01-01T00:02:30Z'", "new-open closed-late closed-early"},
		{"StartTime < '1970-01-01T00:02:30Z'", "twice old-open twice epoch"},
		{"StartTime = '1970-01-01T00:02:30Z'", "closed-late"},
		{"CloseTime BETWEEN '1970-01-01T00:02:00Z' AND '1970-01-01T00:05:00Z'", "closed-early twice"},
		{"CloseTime > '1970-01-01T00:05:00Z'", "closed-late"},
		{"CloseTime IS NULL", "new-open twice old-open"},
		{"CloseTime IS NOT NULL", "closed-late closed-early twice epoch"},
		{"CloseTime > '2260-01-01T00:00:00Z'", ""},
		{"StartTime < '1900-01-01T00:00:00Z'", ""},
		{"ExecutionDuration > '200s'", "closed-late"},
		{"TaskQueue = 'q' AND HistoryLength = 1", "old-open"},
		{"BuildIds = 'b2'", "new-open"},
		{"RunId = '" + string(runID(3)) + "'", "closed-early"},
		{"RootWorkflowId = 'epoch'", "epoch"},
		{"RootWorkflowId = 'top'", "closed-early"},
		{"ParentWorkflowId = 'boss' AND ParentRunId = '" + runA + "'", "closed-early"},
		{"ParentWorkflowId IS NULL AND WorkflowId = 'epoch'", "epoch"},
		{"TemporalNamespaceDivision = 'TemporalScheduler'", "hidden"},
		{"TemporalNamespaceDivision IS NOT NULL OR WorkflowId = 'epoch'", "hidden epoch"},
	} {
		for _, size := range []int32{0, 1} {
			if got := strings.Join(f.find(t, tt.query, size), " "); got != tt.want {
				t.Errorf("%s, pages of %d: %q, want %q", tt.query, size, got, tt.want)
			}
		}
	}
}

// New runs do not disturb a reader who is paging.
func TestS195PagesAreStableUnderInserts(t *testing.T) {
	f := newFront(t)
	f.keepRuns(t, someRuns...)
	r := &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", PageSize: 1}
	var got []string
	for page := 0; page == 0 || len(r.NextPageToken) > 0; page++ {
		resp, err := f.ListWorkflowExecutions(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.Executions[0].Execution.WorkflowId)
		r.NextPageToken = resp.NextPageToken
		late := f.key("late").Run(runID(100 + page))
		st := &execution.State{Key: late, Start: &execution.Start{StartTime: clock.Nanos(1000+page) * 1e9}}
		f.apply(t, rowsOf(t, st, &workflowpb.WorkflowExecutionInfo{Execution: executionOf(late), Status: running})...)
	}
	if want := []string{"new-open", "twice", "old-open", "closed-late", "closed-early", "twice", "epoch"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestListTokensAreChecked(t *testing.T) {
	f := newFront(t)
	f.keepRuns(t, someRuns...)
	resp, err := f.ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*workflowservice.ListWorkflowExecutionsRequest{
		{Namespace: "default", NextPageToken: []byte("x")},
		{Namespace: "default", NextPageToken: resp.NextPageToken, Query: "WorkflowType = 'Pay'"},
		{Namespace: "temporal-system", NextPageToken: resp.NextPageToken},
	} {
		_, err := f.ListWorkflowExecutions(t.Context(), r)
		refused(t, err, codes.InvalidArgument, "Invalid NextPageToken.")
	}
}

func TestS193BadQueries(t *testing.T) {
	f := newFront(t)
	for _, query := range []string{"Nope = 1", "WorkflowType = Order", "ExecutionStatus = 'Sleeping'", "WorkflowId = 'a' LIMIT 1", "StartTime > 'soon'", "ORDER BY StartTime", "GROUP BY ExecutionStatus"} {
		_, err := f.ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", Query: query})
		if st := toStatus(err); err == nil || !strings.Contains(st.Error(), "invalid query: ") {
			t.Errorf("%s: %v", query, st)
		}
	}
}

func TestS194Count(t *testing.T) {
	f := newFront(t)
	f.keepRuns(t, someRuns...)
	count := func(query string) *workflowservice.CountWorkflowExecutionsResponse {
		t.Helper()
		resp, err := f.CountWorkflowExecutions(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: "default", Query: query})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if got := count(""); got.Count != 7 || len(got.Groups) != 0 {
		t.Errorf("all: %v", got)
	}
	if got := count("WorkflowType = 'Order' AND ExecutionStatus = 'Completed'"); got.Count != 2 {
		t.Errorf("completed orders: %v", got)
	}
	grouped := count("GROUP BY ExecutionStatus")
	var got []string
	var sum int64
	for _, g := range grouped.Groups {
		p := g.GroupValues[0]
		got = append(got, fmt.Sprintf("%s %s %d", p.Metadata["type"], p.Data, g.Count))
		sum += g.Count
	}
	want := []string{`Keyword "Completed" 3`, `Keyword "Running" 3`, `Keyword "Failed" 1`}
	if !slices.Equal(got, want) || sum != grouped.Count {
		t.Errorf("groups %q, sum %d of %d", got, sum, grouped.Count)
	}
}

func TestS198LegacyLists(t *testing.T) {
	f := newFront(t)
	f.keepRuns(t, someRuns...)
	between := func(from, to int64) *filterpb.StartTimeFilter {
		return &filterpb.StartTimeFilter{EarliestTime: &timestamppb.Timestamp{Seconds: from}, LatestTime: &timestamppb.Timestamp{Seconds: to}}
	}
	names := func(infos []*workflowpb.WorkflowExecutionInfo) string {
		var out []string
		for _, i := range infos {
			out = append(out, i.Execution.WorkflowId)
		}
		return strings.Join(out, " ")
	}
	open := func(r *workflowservice.ListOpenWorkflowExecutionsRequest, want string) {
		t.Helper()
		r.Namespace = "default"
		if resp, err := f.ListOpenWorkflowExecutions(t.Context(), r); err != nil || names(resp.Executions) != want {
			t.Errorf("open: %v, %v; want %q", resp, err, want)
		}
	}
	open(&workflowservice.ListOpenWorkflowExecutionsRequest{}, "new-open twice old-open")
	open(&workflowservice.ListOpenWorkflowExecutionsRequest{StartTimeFilter: between(100, 130)}, "twice old-open")
	open(&workflowservice.ListOpenWorkflowExecutionsRequest{Filters: &workflowservice.ListOpenWorkflowExecutionsRequest_TypeFilter{
		TypeFilter: &filterpb.WorkflowTypeFilter{Name: "Pay"}}}, "new-open twice")
	closed := func(r *workflowservice.ListClosedWorkflowExecutionsRequest, want string) {
		t.Helper()
		r.Namespace = "default"
		if resp, err := f.ListClosedWorkflowExecutions(t.Context(), r); err != nil || names(resp.Executions) != want {
			t.Errorf("closed: %v, %v; want %q", resp, err, want)
		}
	}
	closed(&workflowservice.ListClosedWorkflowExecutionsRequest{StartTimeFilter: between(120, 300)}, "closed-early twice")
	closed(&workflowservice.ListClosedWorkflowExecutionsRequest{Filters: &workflowservice.ListClosedWorkflowExecutionsRequest_ExecutionFilter{
		ExecutionFilter: &filterpb.WorkflowExecutionFilter{WorkflowId: "twice"}}}, "twice")
	byStatus := func(s enumspb.WorkflowExecutionStatus) *workflowservice.ListClosedWorkflowExecutionsRequest {
		return &workflowservice.ListClosedWorkflowExecutionsRequest{Namespace: "default", Filters: &workflowservice.ListClosedWorkflowExecutionsRequest_StatusFilter{
			StatusFilter: &filterpb.StatusFilter{Status: s}}}
	}
	closed(byStatus(failedS), "closed-early")
	_, err := f.ListClosedWorkflowExecutions(t.Context(), byStatus(running))
	refused(t, err, codes.InvalidArgument, "StatusFilter must be the status of a closed execution.")
	_, err = f.ListOpenWorkflowExecutions(t.Context(), &workflowservice.ListOpenWorkflowExecutionsRequest{Namespace: "default", StartTimeFilter: between(2, 1)})
	refused(t, err, codes.InvalidArgument, "EarliestTime in StartTimeFilter should not be larger than LatestTime.")
}

func TestS203ArchivedList(t *testing.T) {
	_, err := newFront(t).ListArchivedWorkflowExecutions(t.Context(), &workflowservice.ListArchivedWorkflowExecutionsRequest{Namespace: "default"})
	refused(t, err, codes.InvalidArgument, "Cluster is not configured for visibility archival.")
}

func TestDescribeTaskQueue(t *testing.T) {
	f := newFront(t)
	f.queues.describe = func(k taskqueue.QueueKey) taskqueue.Description {
		if k.Name != "q" {
			return taskqueue.Description{}
		}
		return taskqueue.Description{
			Pollers: []taskqueue.Poller{{Identity: fmt.Sprint("worker-", k.Type), LastAccess: 5, MaxPerSecond: 100_000}},
			Stats:   &taskqueuepb.TaskQueueStats{ApproximateBacklogCount: int64(k.Type)},
		}
	}
	describe := func(r *workflowservice.DescribeTaskQueueRequest) *workflowservice.DescribeTaskQueueResponse {
		t.Helper()
		r.Namespace = "default"
		resp, err := f.DescribeTaskQueue(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	q := &taskqueuepb.TaskQueue{Name: "q"}
	plain := describe(&workflowservice.DescribeTaskQueueRequest{TaskQueue: q})
	if len(plain.Pollers) != 1 || plain.Pollers[0].Identity != "worker-1" || plain.Pollers[0].RatePerSecond != 100_000 || plain.Stats != nil || plain.TaskQueueStatus != nil {
		t.Errorf("plain: %v", plain)
	}
	full := describe(&workflowservice.DescribeTaskQueueRequest{TaskQueue: q, TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, ReportStats: true, IncludeTaskQueueStatus: true})
	if full.Pollers[0].Identity != "worker-2" || full.Stats.ApproximateBacklogCount != 2 || full.TaskQueueStatus.GetBacklogCountHint() != 2 {
		t.Errorf("activities: %v", full)
	}
	unknown := describe(&workflowservice.DescribeTaskQueueRequest{TaskQueue: &taskqueuepb.TaskQueue{Name: "nobody"}, IncludeTaskQueueStatus: true})
	if len(unknown.Pollers) != 0 || unknown.TaskQueueStatus == nil { // S-154
		t.Errorf("unknown: %v", unknown)
	}
	enhanced := describe(&workflowservice.DescribeTaskQueueRequest{TaskQueue: q, ApiMode: enumspb.DESCRIBE_TASK_QUEUE_MODE_ENHANCED, ReportStats: true, ReportPollers: true})
	types := enhanced.VersionsInfo[""].GetTypesInfo()
	if len(types) != 2 || types[1].Pollers[0].Identity != "worker-1" || types[2].Stats.ApproximateBacklogCount != 2 {
		t.Errorf("enhanced: %v", enhanced)
	}
	_, err := f.DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{Namespace: "default",
		TaskQueue: &taskqueuepb.TaskQueue{Name: "s", Kind: enumspb.TASK_QUEUE_KIND_STICKY}, ApiMode: enumspb.DESCRIBE_TASK_QUEUE_MODE_ENHANCED})
	refused(t, err, codes.InvalidArgument, "Enhanced mode does not describe sticky task queues.")
}

func TestS167TaskQueuePartitions(t *testing.T) {
	f := newFront(t)
	resp, err := f.ListTaskQueuePartitions(t.Context(), &workflowservice.ListTaskQueuePartitionsRequest{Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}})
	if err != nil || len(resp.WorkflowTaskQueuePartitions) != 1 || len(resp.ActivityTaskQueuePartitions) != 1 || resp.WorkflowTaskQueuePartitions[0].Key != "q" {
		t.Errorf("got %v, %v", resp, err)
	}
}
