package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/perdure/perdure/conformance/judge"
)

// audit compares everything the server still knows with the ledger.
type audit struct {
	*client
	activities *counted
	replayer   worker.WorkflowReplayer

	mu     sync.Mutex
	runs   map[string]string // run ID → workflow ID of each run that was walked
	events int
}

func newAudit(c *client, activities *counted) *audit {
	replayer := worker.NewWorkflowReplayer()
	registerWorkflows(replayer)
	return &audit{client: c, activities: activities, replayer: replayer, runs: map[string]string{}}
}

// all audits each run of the ledger, then looks for runs that nobody asked for.
func (a *audit) all(ctx context.Context) {
	a.ledger.mu.Lock()
	entries := slices.Collect(maps.Values(a.ledger.runs))
	a.ledger.mu.Unlock()
	work := make(chan *runEntry)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for e := range work {
				if err := a.chainOf(ctx, e); err != nil {
					a.ledger.violation("%s: %v", e.workflowID, err)
				}
			}
		})
	}
	for _, e := range entries {
		work <- e
	}
	close(work)
	wg.Wait()
	if err := a.listed(ctx); err != nil {
		a.ledger.violation("list: %v", err)
	}
}

// chainOf audits all runs of one workflow, and what is known of it.
func (a *audit) chainOf(ctx context.Context, e *runEntry) error {
	runID := e.runID
	if runID == "" { // a child, or a start without an answer
		d, err := a.describe(ctx, e.workflowID, "")
		if err != nil && e.orphan {
			return nil
		}
		if err != nil {
			return fmt.Errorf("describe: %w", err)
		}
		runID = d.GetExecution().GetRunId()
	}
	received := map[string]int{} // signals by request ID
	for n := 1; runID != ""; n++ {
		d, err := a.describe(ctx, e.workflowID, runID)
		if err != nil {
			return fmt.Errorf("run %s (number %d), of an acknowledged start: %w", runID, n, err)
		}
		events, err := a.history(ctx, e.workflowID, runID)
		if err != nil {
			return fmt.Errorf("history of run %s: %w", runID, err)
		}
		if d.HistoryLength != int64(len(events)) {
			a.ledger.violation("%s run %s: described with %d events, served %d", e.workflowID, runID, d.HistoryLength, len(events))
		}
		next := a.run(e, runID, d.Status, events)
		for _, event := range events {
			if s := event.GetWorkflowExecutionSignaledEventAttributes(); s != nil {
				received[s.GetRequestId()]++
			}
		}
		runID = next
	}
	for number, s := range e.signals {
		if s.acked && s.requestID != "" && received[s.requestID] != 1 {
			a.ledger.violation("%s: acknowledged signal %d is %d times in history", e.workflowID, number, received[s.requestID])
		}
	}
	for _, step := range e.once {
		if n := a.activities.of(e.workflowID, step); n > 1 {
			a.ledger.violation("%s: step %d may be attempted once and was executed %d times", e.workflowID, step, n)
		}
	}
	return a.updates(ctx, e)
}

// run audits one run and returns the run ID of its successor.
func (a *audit) run(e *runEntry, runID string, status enumspb.WorkflowExecutionStatus, events []*historypb.HistoryEvent) string {
	complain := func(format string, args ...any) {
		a.ledger.violation("%s run %s: %s", e.workflowID, runID, fmt.Sprintf(format, args...))
	}
	a.mu.Lock()
	a.runs[runID] = e.workflowID
	a.events += len(events)
	a.mu.Unlock()
	for _, fault := range judge.History(events) {
		complain("%s", fault)
	}
	if len(events) == 0 {
		return ""
	}
	next := ""
	last := events[len(events)-1]
	if e.stopped != "" && e.stopped != last.GetEventType().String() {
		complain("ends with %s, but the request to end with %s was acknowledged", last.GetEventType(), e.stopped)
	}
	switch last.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		if e.stopped == "" || status != enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED {
			complain("terminated, but described as %s; asked for: %q", status, e.stopped)
		}
		return "" // the replayer knows no commands for it
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		if e.stopped == "" || status != enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED {
			complain("cancelled, but described as %s; asked for: %q", status, e.stopped)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		if status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			complain("completed, but described as %s", status)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		next = last.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
		if status != enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
			complain("continued as new, but described as %s", status)
		}
	default:
		complain("has not finished well: status %s, last event %d %s", status, last.GetEventId(), last.GetEventType())
		return ""
	}
	for _, event := range events {
		if s := event.GetActivityTaskStartedEventAttributes(); s != nil && s.GetAttempt() > 1 {
			scheduled := events[s.GetScheduledEventId()-1].GetActivityTaskScheduledEventAttributes()
			if limit := scheduled.GetRetryPolicy().GetMaximumAttempts(); limit > 0 && s.GetAttempt() > limit {
				complain("event %d: attempt %d of %d", event.GetEventId(), s.GetAttempt(), limit)
			}
		}
	}
	quiet := sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := a.replayer.ReplayWorkflowHistory(quiet, &historypb.History{Events: events}); err != nil {
		complain("does not replay: %v", err)
	}
	return next
}

// updates asks for the outcome of each acknowledged update again.
func (a *audit) updates(ctx context.Context, e *runEntry) error {
	positions := map[int]string{}
	for _, u := range e.updates {
		if other, taken := positions[u.outcome.Position]; taken {
			a.ledger.violation("%s: updates %s and %s both have position %d", e.workflowID, other, u.id, u.outcome.Position)
		}
		positions[u.outcome.Position] = u.id
		err := a.insist(ctx, "outcomes polled afterwards", func(ctx context.Context) error {
			return a.pollUpdate(ctx, e.workflowID, e.runID, u.id, u.value)
		})
		if err != nil {
			return fmt.Errorf("acknowledged update %s: %w", u.id, err)
		}
	}
	return nil
}

func (a *audit) describe(ctx context.Context, id, runID string) (*workflowpb.WorkflowExecutionInfo, error) {
	var info *workflowpb.WorkflowExecutionInfo
	err := a.insist(ctx, "describes", func(ctx context.Context) error {
		r, err := a.service().DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: namespace, Execution: execution(id, runID)})
		info = r.GetWorkflowExecutionInfo()
		return err
	})
	return info, err
}

// history reads all events of a run, in pages of a size that depends on the run.
func (a *audit) history(ctx context.Context, id, runID string) ([]*historypb.HistoryEvent, error) {
	request := &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: namespace, Execution: execution(id, runID), MaximumPageSize: int32(runID[0]%5) * 7, // 0 means the server's own
	}
	var events []*historypb.HistoryEvent
	for {
		var page *workflowservice.GetWorkflowExecutionHistoryResponse
		err := a.insist(ctx, "history pages", func(ctx context.Context) (err error) {
			page, err = a.service().GetWorkflowExecutionHistory(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		events = append(events, page.GetHistory().GetEvents()...)
		if len(page.NextPageToken) == 0 {
			return events, nil
		}
		request.NextPageToken = page.NextPageToken
	}
}

// listed checks that the list shows exactly the runs that were walked, none of them open. Lists may lag for a moment.
func (a *audit) listed(ctx context.Context) error {
	var faults []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		listed, err := a.list(ctx)
		if err != nil {
			return err
		}
		faults = nil
		for runID, e := range listed {
			if a.runs[runID] == "" {
				faults = append(faults, fmt.Sprintf("run %s of %s exists, but nobody knows why", runID, e.GetExecution().GetWorkflowId()))
			}
			if e.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
				faults = append(faults, fmt.Sprintf("run %s of %s is listed as running", runID, e.GetExecution().GetWorkflowId()))
			}
		}
		for runID, id := range a.runs {
			if listed[runID] == nil {
				faults = append(faults, fmt.Sprintf("run %s of %s is not listed", runID, id))
			}
		}
		if len(faults) == 0 {
			return nil
		}
	}
	for _, f := range faults {
		a.ledger.violation("list: %s", f)
	}
	return ctx.Err()
}

func (a *audit) list(ctx context.Context) (map[string]*workflowpb.WorkflowExecutionInfo, error) {
	listed := map[string]*workflowpb.WorkflowExecutionInfo{}
	request := &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace, PageSize: 100}
	for {
		var page *workflowservice.ListWorkflowExecutionsResponse
		err := a.insist(ctx, "list pages", func(ctx context.Context) (err error) {
			page, err = a.service().ListWorkflowExecutions(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range page.Executions {
			runID := e.GetExecution().GetRunId()
			if listed[runID] != nil {
				return nil, fmt.Errorf("run %s is listed twice", runID)
			}
			listed[runID] = e
		}
		if len(page.NextPageToken) == 0 {
			return listed, nil
		}
		request.NextPageToken = page.NextPageToken
	}
}
