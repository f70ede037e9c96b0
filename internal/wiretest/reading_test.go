package wiretest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/historycheck"
)

const ns = "default"

func wf(id, run string) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: id, RunId: run}
}

// stored reads a run's events as they are stored, and judges them. An empty run means the current one.
func (r *rig) stored(id, run string) []*historypb.HistoryEvent {
	r.t.Helper()
	return r.storedIn(ns, id, run)
}

func (r *rig) storedIn(ns, id, run string) (events []*historypb.HistoryEvent) {
	r.t.Helper()
	req := &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: ns, Execution: wf(id, run)}
	for {
		page := must[*workflowservice.GetWorkflowExecutionHistoryResponse](r)(r.GetWorkflowExecutionHistory(r.as("temporal-cli"), req))
		events = append(events, page.History.Events...)
		if req.NextPageToken = page.NextPageToken; len(req.NextPageToken) == 0 {
			break
		}
	}
	if err := (historycheck.Options{AtRest: true, RunID: run}).Check(events); err != nil {
		r.t.Errorf("%s: %v\n%s", id, err, long(events))
	}
	return events
}

var shorter = strings.NewReplacer("StartChildWorkflowExecution", "StartChild", "ChildWorkflowExecution", "Child", "ExternalWorkflowExecution", "External",
	"WorkflowExecution", "", "WorkflowTask", "WFT", "ActivityTask", "Activity")

func short(t enumspb.EventType) string { return shorter.Replace(t.String()) }

// list names the types of events in short: WorkflowTask is WFT, ActivityTask Activity, and WorkflowExecution is left out.
func list(events []*historypb.HistoryEvent) string {
	var names []string
	for _, e := range events {
		names = append(names, short(e.EventType))
	}
	return strings.Join(names, " ")
}

func long(events []*historypb.HistoryEvent) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%d %s %s %v\n", e.EventId, e.EventTime.AsTime().Format("15:04:05.000"), short(e.EventType), e.Attributes)
	}
	return b.String()
}

// history checks what a run's history consists of, and returns it.
func (r *rig) history(id, run, want string) []*historypb.HistoryEvent {
	r.t.Helper()
	events := r.stored(id, run)
	if got := list(events); got != strings.Join(strings.Fields(want), " ") {
		r.t.Fatalf("history of %s\n got %s\nwant %s", id, got, want)
	}
	return events
}

// last is the newest event of a type.
func last(r *rig, events []*historypb.HistoryEvent, name string) *historypb.HistoryEvent {
	r.t.Helper()
	for _, e := range slices.Backward(events) {
		if short(e.EventType) == name {
			return e
		}
	}
	r.t.Fatalf("no %s in %s", name, list(events))
	return nil
}

func (r *rig) describe(id, run string) *workflowservice.DescribeWorkflowExecutionResponse {
	r.t.Helper()
	return must[*workflowservice.DescribeWorkflowExecutionResponse](r)(r.DescribeWorkflowExecution(r.ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: ns, Execution: wf(id, run),
	}))
}

func (r *rig) status(id, run string) enumspb.WorkflowExecutionStatus {
	r.t.Helper()
	return r.describe(id, run).WorkflowExecutionInfo.Status
}

// listed is what a query finds.
func (r *rig) listed(query string) []*workflowpb.WorkflowExecutionInfo {
	r.t.Helper()
	return r.listedIn(ns, query)
}

func (r *rig) listedIn(ns, query string) (found []*workflowpb.WorkflowExecutionInfo) {
	r.t.Helper()
	req := &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, Query: query}
	for {
		page := must[*workflowservice.ListWorkflowExecutionsResponse](r)(r.ListWorkflowExecutions(r.ctx, req))
		found = append(found, page.Executions...)
		if req.NextPageToken = page.NextPageToken; len(req.NextPageToken) == 0 {
			return found
		}
	}
}

// judge checks the histories of all runs there are, and the chains they form.
func (r *rig) judge() {
	r.t.Helper()
	r.settle()
	spaces := must[*workflowservice.ListNamespacesResponse](r)(r.ListNamespaces(r.ctx, &workflowservice.ListNamespacesRequest{PageSize: 1000}))
	for _, space := range spaces.Namespaces {
		name := space.NamespaceInfo.Name
		histories, follows := map[string][]*historypb.HistoryEvent{}, map[string]bool{}
		for _, run := range r.listedIn(name, "") {
			events := r.storedIn(name, run.Execution.WorkflowId, run.Execution.RunId)
			if open := run.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING; open != (historycheck.CheckPrefix(events) == nil) {
				r.t.Errorf("%v is listed as %v, but its history is %s", run.Execution, run.Status, list(events))
			}
			histories[run.Execution.RunId] = events
			follows[successor(events)] = true
		}
		for run, events := range histories {
			if follows[run] {
				continue
			}
			chain := [][]*historypb.HistoryEvent{events}
			for next := histories[successor(events)]; next != nil; next = histories[successor(next)] {
				chain = append(chain, next)
			}
			if err := (historycheck.Options{AtRest: true}).CheckChain(chain); err != nil {
				r.t.Errorf("%s: %v", started(events).WorkflowId, err)
			}
		}
	}
}

// successor is the run that a closed one names as the next; empty: none.
func successor(events []*historypb.HistoryEvent) string {
	end := events[len(events)-1]
	return cmp.Or(end.GetWorkflowExecutionCompletedEventAttributes().GetNewExecutionRunId(), end.GetWorkflowExecutionFailedEventAttributes().GetNewExecutionRunId(),
		end.GetWorkflowExecutionTimedOutEventAttributes().GetNewExecutionRunId(), end.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId())
}

func contains(list string, any ...string) bool {
	return slices.ContainsFunc(any, func(name string) bool { return slices.Contains(strings.Fields(list), name) })
}
