package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

var (
	keyword  = temporal.NewSearchAttributeKeyKeyword("CfKeyword")
	number   = temporal.NewSearchAttributeKeyInt64("CfInt")
	flag     = temporal.NewSearchAttributeKeyBool("CfBool")
	moment   = temporal.NewSearchAttributeKeyTime("CfTime")
	list     = temporal.NewSearchAttributeKeyKeywordList("CfList")
	text     = temporal.NewSearchAttributeKeyString("CfText")
	fraction = temporal.NewSearchAttributeKeyFloat64("CfDouble")
)

func decode[T any](r *rig, p *commonpb.Payload) T {
	r.Helper()
	var out T
	if p == nil {
		r.Fatal("payload is missing")
	}
	r.must(converter.GetDefaultDataConverter().FromPayload(p, &out))
	return out
}

func TestMemoIsStoredAndUpserted(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		return workflow.UpsertMemo(ctx, map[string]any{"changed": "after", "gone": nil, "new": 3})
	}})
	run := r.startWith(client.StartWorkflowOptions{Memo: map[string]any{"kept": "same", "changed": "before", "gone": 1}}, "main")
	r.must(run.Get(r.ctx, nil))
	d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
	r.must(err)
	memo := d.WorkflowExecutionInfo.Memo.GetFields()
	equal(r, "kept", decode[string](r, memo["kept"]), "same")
	equal(r, "changed", decode[string](r, memo["changed"]), "after")
	equal(r, "new", decode[int](r, memo["new"]), 3)
	if memo["gone"] != nil {
		r.Fatal("a memo field that was removed is still there")
	}
}

func TestSearchAttributesAreStoredUpsertedAndFound(t *testing.T) {
	r := newRig(t)
	tag, when := r.queue, time.Now().UTC().Truncate(time.Millisecond)
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		err := workflow.UpsertTypedSearchAttributes(ctx, number.ValueSet(8), flag.ValueUnset(), text.ValueSet("some words in a text"))
		if err != nil {
			return "", err
		}
		word, _ := workflow.GetTypedSearchAttributes(ctx).GetKeyword(keyword)
		workflow.GetSignalChannel(ctx, "close").Receive(ctx, nil)
		return word, nil
	}})
	run := r.startWith(client.StartWorkflowOptions{TypedSearchAttributes: temporal.NewSearchAttributes(
		keyword.ValueSet(tag), number.ValueSet(7), flag.ValueSet(true), moment.ValueSet(when), list.ValueSet([]string{"a", "b"}), fraction.ValueSet(1.5),
	)}, "main")
	r.eventually("the upsert shows", func() bool {
		d, err := r.client.DescribeWorkflow(r.ctx, run.GetID(), "")
		r.must(err)
		sa := d.TypedSearchAttributes
		n, _ := sa.GetInt64(number)
		return n == 8
	})
	d, err := r.client.DescribeWorkflow(r.ctx, run.GetID(), "")
	r.must(err)
	sa := d.TypedSearchAttributes
	if _, ok := sa.GetBool(flag); ok {
		r.Fatal("an attribute that was unset is still there")
	}
	words, _ := sa.GetKeywordList(list)
	equal(r, "list", words, []string{"a", "b"})
	at, _ := sa.GetTime(moment)
	equal(r, "time", at.UTC(), when)
	half, _ := sa.GetFloat64(fraction)
	equal(r, "fraction", half, 1.5)
	for _, query := range []string{
		"CfKeyword = '%s'",
		"CfKeyword = '%s' AND CfInt = 8",
		"CfKeyword = '%s' AND CfInt > 7 AND CfInt <= 8",
		"CfKeyword = '%s' AND CfBool IS NULL",
		"CfKeyword = '%s' AND CfList = 'b'",
		"CfKeyword = '%s' AND CfList IN ('x', 'a')",
		"CfKeyword = '%s' AND CfText = 'words'",
		"CfKeyword = '%s' AND CfDouble BETWEEN 1 AND 2",
		"CfKeyword = '%s' AND (WorkflowType = 'other' OR ExecutionStatus = 'Running')",
		"CfKeyword = '%s' AND CfTime = '" + when.Format(time.RFC3339Nano) + "'",
	} {
		r.eventually(query, func() bool { return len(r.find(fmt.Sprintf(query, tag))) == 1 })
	}
	for _, query := range []string{"CfKeyword = '%s' AND CfInt = 7", "CfKeyword = '%s' AND CfList = 'c'", "CfKeyword = '%s' AND CloseTime IS NOT NULL"} {
		equal(r, query, len(r.find(fmt.Sprintf(query, tag))), 0)
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "close", nil))
	equal(r, "as the workflow saw it", result[string](r, run), tag)
	var bad *serviceerror.InvalidArgument
	if _, err := r.client.ListWorkflow(r.ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "Nonsense = 1"}); !errors.As(err, &bad) {
		r.Fatalf("list by an unknown attribute: %v", err)
	}
}

// find lists by query and returns the workflow IDs.
func (r *rig) find(query string) []string {
	r.Helper()
	answer, err := r.client.ListWorkflow(r.ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
	if err != nil {
		r.Fatalf("list %s: %v", query, err)
	}
	var ids []string
	for _, e := range answer.Executions {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	return ids
}

func TestListAndCountByStatusTypeAndTime(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"waits":   func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) },
		"returns": func(workflow.Context) error { return nil },
		"fails":   func(workflow.Context) error { return errors.New("no") },
	})
	begin := time.Now().Add(-time.Second).UTC().Format(time.RFC3339Nano)
	var done []string
	for range 3 {
		run := r.start("returns")
		r.must(run.Get(r.ctx, nil))
		done = append(done, run.GetID())
	}
	_ = r.failure(r.start("fails"))
	open := r.start("waits")
	mine := fmt.Sprintf("TaskQueue = '%s'", r.queue)
	r.eventually("all are listed", func() bool { return len(r.find(mine)) == 5 })
	r.eventually("statuses are listed", func() bool {
		return len(r.find(mine+" AND ExecutionStatus = 'Completed'")) == 3 && len(r.find(mine+" AND ExecutionStatus = 'Failed'")) == 1
	})
	equal(r, "open", r.find(mine+" AND CloseTime IS NULL"), []string{open.GetID()})
	equal(r, "by type", len(r.find(mine+" AND WorkflowType = 'returns'")), 3)
	equal(r, "since the beginning", len(r.find(mine+fmt.Sprintf(" AND StartTime >= '%s'", begin))), 5)
	equal(r, "before it", len(r.find(mine+fmt.Sprintf(" AND StartTime < '%s'", begin))), 0)
	equal(r, "by ID", r.find(fmt.Sprintf("WorkflowId = '%s'", done[0])), done[:1])
	equal(r, "open ones come first", r.find(mine)[0], open.GetID())

	var paged []string
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: mine, PageSize: 1}
	for {
		page, err := r.client.ListWorkflow(r.ctx, request)
		r.must(err)
		for _, e := range page.Executions {
			paged = append(paged, e.GetExecution().GetWorkflowId())
		}
		if request.NextPageToken = page.NextPageToken; len(page.NextPageToken) == 0 {
			break
		}
	}
	equal(r, "paged", paged, r.find(mine))

	count, err := r.client.CountWorkflow(r.ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: mine})
	r.must(err)
	equal(r, "count", count.Count, 5)
	count, err = r.client.CountWorkflow(r.ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: mine + " GROUP BY ExecutionStatus"})
	r.must(err)
	groups := map[string]int64{}
	for _, g := range count.Groups {
		groups[decode[string](r, g.GroupValues[0])] = g.Count
	}
	equal(r, "groups", groups, map[string]int64{"Completed": 3, "Failed": 1, "Running": 1})
}

func TestVersionsSideEffectsAndMarkersAreKept(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) ([]int, error) {
		var random, changing int
		n := 0
		if err := workflow.SideEffect(ctx, func(workflow.Context) any { n++; return 40 + n }).Get(&random); err != nil {
			return nil, err
		}
		equals := func(a, b any) bool { return a == b }
		for i := range 3 {
			if err := workflow.MutableSideEffect(ctx, "m", func(workflow.Context) any { return i / 2 }, equals).Get(&changing); err != nil {
				return nil, err
			}
		}
		version := workflow.GetVersion(ctx, "change", workflow.DefaultVersion, 2)
		if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
		return []int{random, changing, int(version), int(workflow.GetVersion(ctx, "change", workflow.DefaultVersion, 2))}, nil
	}})
	run := r.start("main")
	equal(r, "values", result[[]int](r, run), []int{41, 1, 2, 2})
	var names []string
	for _, e := range r.only(run, enumspb.EVENT_TYPE_MARKER_RECORDED) {
		names = append(names, e.GetMarkerRecordedEventAttributes().GetMarkerName())
	}
	slices.Sort(names)
	equal(r, "markers", names, []string{"MutableSideEffect", "MutableSideEffect", "SideEffect", "Version"})
	r.eventually("TemporalChangeVersion is searchable", func() bool {
		return slices.Equal(r.find(fmt.Sprintf("TemporalChangeVersion = 'change-2' AND WorkflowId = '%s'", run.GetID())), []string{run.GetID()})
	})
}

func TestSummariesAreShown(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context) error {
			timer := workflow.NewTimerWithOptions(ctx, time.Millisecond, workflow.TimerOptions{Summary: "a nap"})
			if err := timer.Get(ctx, nil); err != nil {
				return err
			}
			if err := workflow.ExecuteActivity(with(ctx, workflow.ActivityOptions{Summary: "some work"}), "act").Get(ctx, nil); err != nil {
				return err
			}
			return workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{StaticSummary: "a child"}), "child").Get(ctx, nil)
		},
		"child": func(workflow.Context) error { return nil },
		"act":   func(context.Context) error { return nil },
	})
	run := r.startWith(client.StartWorkflowOptions{StaticSummary: "a run", StaticDetails: "told at length"}, "main")
	r.must(run.Get(r.ctx, nil))
	for event, want := range map[enumspb.EventType]string{
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:               "a run",
		enumspb.EVENT_TYPE_TIMER_STARTED:                            "a nap",
		enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:                  "some work",
		enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: "a child",
	} {
		equal(r, event.String(), decode[string](r, r.only(run, event)[0].GetUserMetadata().GetSummary()), want)
	}
	d, err := r.client.DescribeWorkflow(r.ctx, run.GetID(), "")
	r.must(err)
	summary, err := d.GetStaticSummary()
	r.must(err)
	details, err := d.GetStaticDetails()
	r.must(err)
	equal(r, "described", summary+"; "+details, "a run; told at length")
}

// long makes about five events per round.
func long(ctx workflow.Context, rounds int) error {
	for range rounds {
		if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func TestHistoryIsPagedForwardsAndBackwards(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"long": long})
	run := r.start("long", 12)
	r.must(run.Get(r.ctx, nil))
	whole := r.history(run.GetID(), "")
	execution := &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()}
	var forwards, backwards []int64
	for token := []byte(nil); ; {
		page, err := r.client.WorkflowService().GetWorkflowExecutionHistory(r.ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: namespace, Execution: execution, MaximumPageSize: 7, NextPageToken: token})
		r.must(err)
		for _, e := range page.History.Events {
			forwards = append(forwards, e.EventId)
		}
		if token = page.NextPageToken; len(token) == 0 {
			break
		}
	}
	for token := []byte(nil); ; {
		page, err := r.client.WorkflowService().GetWorkflowExecutionHistoryReverse(r.ctx, &workflowservice.GetWorkflowExecutionHistoryReverseRequest{
			Namespace: namespace, Execution: execution, MaximumPageSize: 5, NextPageToken: token})
		r.must(err)
		for _, e := range page.History.Events {
			backwards = append(backwards, e.EventId)
		}
		if token = page.NextPageToken; len(token) == 0 {
			break
		}
	}
	slices.Reverse(backwards)
	equal(r, "forwards", len(forwards), len(whole))
	equal(r, "backwards", backwards, forwards)
	for i, id := range forwards {
		equal(r, "event ID", id, int64(i+1))
	}
}

func TestHistoryOfALongWorkflowReachesAFreshWorker(t *testing.T) {
	r := newRig(t)
	f := funcs{"main": func(ctx workflow.Context) (int, error) {
		n, c := 0, workflow.GetSignalChannel(ctx, "n")
		for more := true; more; n++ {
			c.Receive(ctx, &more)
			if err := workflow.Sleep(ctx, 0); err != nil {
				return 0, err
			}
		}
		return n, nil
	}}
	w := r.newWorker(r.client, r.queue, f, defaults)
	r.must(w.Start())
	run := r.start("main")
	for range 300 { // more than one page of 256 events
		r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", true))
	}
	w.Stop()
	r.work(f)
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", false))
	equal(r, "signals", result[int](r, run), 301)
}

func TestHistoryLongPollAnswersWithNewsAndWithTheEnd(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	r.watch(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
	seen := make(chan enumspb.EventType, 1000)
	go func() {
		defer close(seen)
		for it := r.client.GetWorkflowHistory(r.ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
			e, err := it.Next()
			if err != nil {
				return
			}
			seen <- e.GetEventType()
		}
	}()
	last := make(chan enumspb.EventType, 1)
	go func() {
		it := r.client.GetWorkflowHistory(r.ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
		defer close(last)
		for it.HasNext() {
			e, err := it.Next()
			if err != nil {
				return
			}
			last <- e.GetEventType()
		}
	}()
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", 1))
	for e := range seen {
		if e == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			break
		}
	}
	r.must(r.client.SignalWorkflow(r.ctx, run.GetID(), "", "stop", nil))
	end := enumspb.EVENT_TYPE_UNSPECIFIED
	for e := range seen {
		end = e
	}
	equal(r, "last event", end, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
	equal(r, "close event", <-last, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
}

func TestDescribeTellsARunsLife(t *testing.T) {
	r := newRig(t)
	r.work(funcs{
		"main": func(ctx workflow.Context, childID string) error {
			f := workflow.ExecuteChildWorkflow(child(ctx, workflow.ChildWorkflowOptions{WorkflowID: childID}), "child")
			return f.Get(ctx, nil)
		},
		"child": func(ctx workflow.Context) error { workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil); return nil },
	})
	run := r.start("main", r.id("child"))
	r.watch(run, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
	d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
	r.must(err)
	info := d.WorkflowExecutionInfo
	equal(r, "status", info.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	equal(r, "type", info.Type.GetName(), "main")
	equal(r, "queue", info.TaskQueue, r.queue)
	equal(r, "first run", info.FirstRunId, run.GetRunID())
	equal(r, "root", info.RootExecution.GetWorkflowId(), run.GetID())
	equal(r, "children", len(d.PendingChildren), 1)
	equal(r, "child", d.PendingChildren[0].WorkflowId, r.id("child"))
	r.must(r.client.SignalWorkflow(r.ctx, r.id("child"), "", "go", nil))
	r.must(run.Get(r.ctx, nil))
	d, err = r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), run.GetRunID())
	r.must(err)
	info = d.WorkflowExecutionInfo
	equal(r, "status", info.Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	equal(r, "children", len(d.PendingChildren), 0)
	equal(r, "history length", info.HistoryLength, int64(len(r.history(run.GetID(), ""))))
	equal(r, "duration", info.ExecutionDuration.AsDuration(), info.CloseTime.AsTime().Sub(info.ExecutionTime.AsTime()))
	c, err := r.client.DescribeWorkflowExecution(r.ctx, r.id("child"), "")
	r.must(err)
	equal(r, "child's parent", c.WorkflowExecutionInfo.ParentExecution.GetWorkflowId(), run.GetID())
	equal(r, "child's root", c.WorkflowExecutionInfo.RootExecution.GetWorkflowId(), run.GetID())
	var gone *serviceerror.NotFound
	if _, err := r.client.DescribeWorkflowExecution(r.ctx, r.id("nobody"), ""); !errors.As(err, &gone) {
		r.Fatalf("describe of nobody: %v", err)
	}
}
