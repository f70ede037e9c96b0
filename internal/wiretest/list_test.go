package wiretest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

func idsOf(runs []*workflowpb.WorkflowExecutionInfo) string {
	var ids []string
	for _, run := range runs {
		ids = append(ids, run.Execution.WorkflowId)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func (r *rig) count(query string) *workflowservice.CountWorkflowExecutionsResponse {
	r.t.Helper()
	return must[*workflowservice.CountWorkflowExecutionsResponse](r)(r.CountWorkflowExecutions(r.ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: ns, Query: query}))
}

// finds checks which workflows a query finds, and that it counts as many.
func (r *rig) finds(query, want string) {
	r.t.Helper()
	if got := idsOf(r.listed(query)); got != want {
		r.t.Errorf("%s finds %q, want %q", query, got, want)
	}
	is(r, query+" counts", r.count(query).Count, int64(len(strings.Fields(want))))
}

func TestS189_FindingRuns(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("a")
		r.take().complete(startChild("kid"))
		r.takeOf("kid").complete()
		r.pass(time.Hour)
		middle := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
		r.start("b", func(s *startRequest) { s.TaskQueue, s.WorkflowType.Name = queue("other"), "Other" })
		r.terminate("b")
		for query, want := range map[string]string{
			"": "a b kid", "WorkflowId = 'a'": "a", "RunId = '" + run + "'": "a", "WorkflowType = 'Other'": "b", "ExecutionStatus = 'Running'": "a kid",
			"ExecutionStatus = 'Terminated'": "b", "TaskQueue = 'other'": "b", "StartTime > '" + middle + "'": "b", "StartTime < '" + middle + "'": "a kid",
			"CloseTime > '" + middle + "'": "b", "CloseTime < '" + middle + "'": "", "ParentWorkflowId = 'a'": "kid", "RootWorkflowId = 'a'": "a kid",
			"ParentRunId = '" + run + "'": "kid", "RootRunId = '" + run + "'": "a kid",
		} {
			r.finds(query, want)
		}
	})
}

func TestS190_StatusIsVisibleAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		found := r.listed("WorkflowId = 'w'")[0]
		is(r, "status", found.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		r.pass(3 * time.Second)
		r.take().complete(completeRun("done"))
		found = r.listed("WorkflowId = 'w'")[0]
		is(r, "status", found.Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
		is(r, "closed", found.CloseTime.AsTime(), found.StartTime.AsTime().Add(3*time.Second))
		is(r, "duration", found.ExecutionDuration.AsDuration(), 3*time.Second)
		is(r, "length", found.HistoryLength, 5)
		if found.HistorySizeBytes == 0 || found.StateTransitionCount == 0 {
			r.t.Errorf("listed: %v", found)
		}
		r.finds("ExecutionStatus = 'Running'", "")
		r.finds("ExecutionStatus = 'Completed'", "w")
	})
}

// attributed starts runs a and b with search attributes of all types, and c without any: as in SQL, that is neither equal
// nor unequal to anything.
func (r *rig) attributed() {
	r.t.Helper()
	for id, values := range map[string]map[string]string{
		"a": {"Key": `"apple"`, "Keys": `["x","y"]`, "Words": `"the quick fox"`, "Whole": "1", "Real": "1.5", "Flag": "true", "When": `"2020-01-01T00:00:00Z"`},
		"b": {"Key": `"banana"`, "Keys": `["y"]`, "Words": `"a slow Fox"`, "Whole": "2", "Real": "2.5", "Flag": "false", "When": `"2021-01-01T00:00:00Z"`},
		"c": {},
	} {
		fields := map[string]*commonpb.Payload{}
		for name, json := range values {
			fields[name] = payload(json)
		}
		r.start(id, func(s *startRequest) { s.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: fields} })
	}
}

func TestS191_Operators(t *testing.T) {
	bubble(t, func(r *rig) {
		r.attributed()
		for query, want := range map[string]string{
			"Key = 'apple'": "a", "Key != 'apple'": "b", "Key < 'b'": "a", "Key <= 'apple'": "a", "Key > 'b'": "b", "Key >= 'banana'": "b",
			"Key IN ('apple', 'pear')": "a", "Key NOT IN ('apple')": "b", "Key BETWEEN 'a' AND 'az'": "a", "Key STARTS_WITH 'ban'": "b",
			"Keys = 'y'": "a b", "Keys != 'x'": "b", "Keys IN ('x', 'z')": "a", "Keys NOT IN ('x')": "b",
			"Words = 'fox'": "a b", "Words = 'QUICK'": "a", "Words != 'quick'": "b",
			"Whole = 1": "a", "Whole != 1": "b", "Whole > 1": "b", "Whole >= 1": "a b", "Whole < 2": "a", "Whole <= 2": "a b", "Whole IN (1, 3)": "a", "Whole BETWEEN 1 AND 2": "a b",
			"Real = 1.5": "a", "Real > 2": "b", "Real BETWEEN 1 AND 2": "a",
			"Flag = true": "a", "Flag != true": "b", "Flag = false": "b",
			"When < '2020-06-01T00:00:00Z'": "a", "When = '2021-01-01T00:00:00Z'": "b", "When BETWEEN '2019-01-01T00:00:00Z' AND '2022-01-01T00:00:00Z'": "a b",
		} {
			r.finds(query, want)
		}
		for _, bad := range []string{"Keys > 'x'", "Keys STARTS_WITH 'x'", "Words > 'x'", "Flag > true"} {
			_, err := r.ListWorkflowExecutions(r.ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, Query: bad})
			r.refused(err, codes.InvalidArgument, "invalid query: …")
		}
	})
}

func TestS192_Combinations(t *testing.T) {
	bubble(t, func(r *rig) {
		r.attributed()
		for query, want := range map[string]string{
			"Whole = 1 OR Whole = 2": "a b", "NOT Whole = 1": "b", "NOT (Whole = 1 OR Whole = 2)": "", "Whole = 1 OR Whole = 2 AND Flag = true": "a",
			"(Whole = 1 OR Whole = 2) AND Flag = false": "b", "Whole NOT BETWEEN 2 AND 9": "a", "WorkflowId IN ('a', \"c\")": "a c",
			"WorkflowId STARTS_WITH 'a'": "a", "WorkflowId NOT STARTS_WITH 'a'": "b c", "Key IS NULL": "c", "Key IS NOT NULL": "a b", "`Key` = 'apple'": "a",
			"key is null": "!", "Key is null AND not WorkflowId = 'a'": "c",
		} {
			if want != "!" {
				r.finds(query, want)
				continue
			}
			_, err := r.ListWorkflowExecutions(r.ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, Query: query})
			r.refused(err, codes.InvalidArgument, "invalid query: …")
		}
	})
}

func TestS193_BadQueries(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, query := range []string{
			"Nothing = 'x'", "WorkflowId = x", "ExecutionStatus = 'Bored'", "WorkflowId = 'x' LIMIT 5", "StartTime > 'yesterday'", "WorkflowId =", "(WorkflowId = 'x'", "WorkflowId",
		} {
			_, err := r.ListWorkflowExecutions(r.ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, Query: query})
			r.refused(err, codes.InvalidArgument, "invalid query…")
			_, err = r.CountWorkflowExecutions(r.ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: ns, Query: query})
			r.refused(err, codes.InvalidArgument, "invalid query…")
		}
	})
}

func TestS194_Counts(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 6 {
			id := fmt.Sprint("w", i)
			r.start(id)
			if i%3 == 0 {
				r.terminate(id)
			}
		}
		is(r, "all", r.count("").Count, 6)
		grouped := r.count("GROUP BY ExecutionStatus")
		is(r, "sum", grouped.Count, 6)
		groups := map[string]int64{}
		for _, g := range grouped.Groups {
			p := g.GroupValues[0]
			is(r, "type", string(p.Metadata["type"]), "Keyword")
			is(r, "encoding", string(p.Metadata["encoding"]), "json/plain")
			groups[string(p.Data)] = g.Count
		}
		if len(groups) != 2 || groups[`"Running"`] != 4 || groups[`"Terminated"`] != 2 {
			r.t.Errorf("groups: %v", groups)
		}
	})
}

func TestS195_Pages(t *testing.T) {
	bubble(t, func(r *rig) {
		const n = 10
		for i := range n {
			r.start(fmt.Sprint("w", i))
			r.pass(time.Millisecond)
			if i%2 == 0 {
				r.terminate(fmt.Sprint("w", i))
			}
		}
		seen := map[string]int{}
		req := &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, PageSize: 1}
		for i := 0; ; i++ {
			p := must[*workflowservice.ListWorkflowExecutionsResponse](r)(r.ListWorkflowExecutions(r.ctx, req))
			for _, run := range p.Executions {
				seen[run.Execution.WorkflowId]++
			}
			if req.NextPageToken = p.NextPageToken; len(req.NextPageToken) == 0 {
				break
			}
			r.start(fmt.Sprint("new", i)) // is before all that was seen
		}
		for i := range n {
			is(r, "times seen", seen[fmt.Sprint("w", i)], 1)
		}
		req.NextPageToken = []byte("nonsense")
		_, err := r.ListWorkflowExecutions(r.ctx, req)
		r.refused(err, codes.InvalidArgument, "…")
	})
}

func TestS196_Divisions(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("plain")
		r.start("internal", func(s *startRequest) {
			s.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"TemporalNamespaceDivision": payload(`"mine"`)}}
		})
		r.finds("", "plain")
		r.finds("ExecutionStatus = 'Running'", "plain")
		r.finds("TemporalNamespaceDivision = 'mine'", "internal")
		r.finds("TemporalNamespaceDivision IS NULL", "plain")
		r.finds("TemporalNamespaceDivision IS NULL OR TemporalNamespaceDivision IS NOT NULL", "internal plain")
	})
}

func TestS197_Order(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 4 {
			r.start(fmt.Sprint("w", i))
			r.pass(time.Second)
		}
		for _, i := range []int{2, 0} {
			r.terminate(fmt.Sprint("w", i))
			r.pass(time.Second)
		}
		var got []string
		for _, run := range r.listed("") {
			got = append(got, run.Execution.WorkflowId)
		}
		if want := []string{"w3", "w1", "w0", "w2"}; !slices.Equal(got, want) {
			r.t.Errorf("listed as %v, want %v", got, want)
		}
	})
}

func TestS204_DurationsAndTimes(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("quick")
		r.terminate("quick")
		begin := time.Now().Add(time.Millisecond).UTC()
		r.pass(time.Second)
		r.start("slow")
		r.pass(90 * time.Minute)
		r.terminate("slow")
		r.start("open")
		for query, want := range map[string]string{
			"ExecutionDuration > '1s'": "slow", "ExecutionDuration = '1h30m'": "slow", "ExecutionDuration = '01:30:00'": "slow", "ExecutionDuration < 1000000000": "quick",
			"CloseTime IS NULL": "open", "CloseTime IS NOT NULL": "quick slow",
			"StartTime > \"" + begin.Format(time.RFC3339Nano) + "\"": "open slow", fmt.Sprintf("StartTime > %d", begin.UnixNano()): "open slow",
		} {
			r.finds(query, want)
		}
	})
}
