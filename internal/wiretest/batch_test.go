package wiretest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

type batchRequest = workflowservice.StartBatchOperationRequest

const ours = "WorkflowType = 'W'"

// batchOf is a request for a job over runs of type W.
func batchOf(job string, change ...func(*batchRequest)) *batchRequest {
	req := &batchRequest{Namespace: ns, JobId: job, Reason: "all of them", VisibilityQuery: ours}
	for _, c := range change {
		c(req)
	}
	return req
}

func signalAll(req *batchRequest) {
	req.Operation = &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{
		Signal: "go", Input: text("now"), Header: &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("1")}}, Identity: "operator",
	}}
}

func cancelAll(req *batchRequest) {
	req.Operation = &workflowservice.StartBatchOperationRequest_CancellationOperation{CancellationOperation: &batchpb.BatchOperationCancellation{Identity: "operator"}}
}

func terminateAll(req *batchRequest) {
	req.Operation = &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{
		Identity: "operator", Details: text("d"),
	}}
}

func resetAll(op *batchpb.BatchOperationReset) func(*batchRequest) {
	return func(req *batchRequest) {
		op.Identity = "operator"
		req.Operation = &workflowservice.StartBatchOperationRequest_ResetOperation{ResetOperation: op}
	}
}

func resetTo(o *commonpb.ResetOptions) func(*batchRequest) {
	return resetAll(&batchpb.BatchOperationReset{Options: o})
}

// named makes a job for these executions, each "workflow" or "workflow/run", instead of a query.
func named(executions ...string) func(*batchRequest) {
	return func(req *batchRequest) {
		req.VisibilityQuery = ""
		for _, e := range executions {
			id, run, _ := strings.Cut(e, "/")
			req.TargetExecutions = append(req.TargetExecutions, &commonpb.Execution{Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: id, RunId: run})
		}
	}
}

func ofType(typ string) func(*startRequest) {
	return func(s *startRequest) { s.WorkflowType.Name = typ }
}

func (r *rig) startBatch(req *batchRequest) {
	r.t.Helper()
	_, err := r.StartBatchOperation(r.ctx, req)
	r.ok(err)
}

func (r *rig) describeBatch(job string) *workflowservice.DescribeBatchOperationResponse {
	r.t.Helper()
	return must[*workflowservice.DescribeBatchOperationResponse](r)(r.DescribeBatchOperation(r.ctx, &workflowservice.DescribeBatchOperationRequest{Namespace: ns, JobId: job}))
}

func (r *rig) stopBatch(job string) error {
	_, err := r.StopBatchOperation(r.ctx, &workflowservice.StopBatchOperationRequest{Namespace: ns, JobId: job, Reason: "enough", Identity: "stopper"})
	return err
}

// batchEnds waits for a job to end and checks that it did all it had to.
func (r *rig) batchEnds(job string, complete, failed int64) *workflowservice.DescribeBatchOperationResponse {
	r.t.Helper()
	for range 1000 {
		d := r.describeBatch(job)
		if d.State == enumspb.BATCH_OPERATION_STATE_RUNNING {
			r.pass(time.Second)
			continue
		}
		is(r, job+" is", d.State, enumspb.BATCH_OPERATION_STATE_COMPLETED)
		is(r, job+"'s total", d.TotalOperationCount, complete+failed)
		is(r, job+"'s complete ones", d.CompleteOperationCount, complete)
		is(r, job+"'s failed ones", d.FailureOperationCount, failed)
		return d
	}
	r.t.Fatalf("%s does not end", job)
	return nil
}

func (r *rig) runsBatch(req *batchRequest, complete, failed int64) *workflowservice.DescribeBatchOperationResponse {
	r.t.Helper()
	r.startBatch(req)
	return r.batchEnds(req.JobId, complete, failed)
}

// signals are the signals in a run's history.
func (r *rig) signals(id, run string) (all []*historypb.HistoryEvent) {
	r.t.Helper()
	for _, e := range r.stored(id, run) {
		if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
			all = append(all, e)
		}
	}
	return all
}

func TestM033_BatchSignalWritesOrdinarySignaledEventsInEveryMatchingOpenRun(t *testing.T) {
	bubble(t, func(r *rig) {
		const many = 120
		for i := range many {
			r.start(fmt.Sprint("w", i), ofType("W"))
		}
		r.start("other", ofType("V"))
		closed := r.start("closed", ofType("W"))
		r.terminate("closed")
		r.start("busy", ofType("W"), func(s *startRequest) { s.TaskQueue = queue("busy") })
		busy := r.takeFrom(queue("busy"))

		// What a client's own signal looks like.
		r.start("plain", ofType("P"))
		_, err := r.SignalWorkflowExecution(r.ctx, &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: ns, WorkflowExecution: wf("plain", ""), SignalName: "go", Input: text("now"), Identity: "operator", RequestId: "r",
			Header: &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("1")}},
		})
		r.ok(err)
		plain := r.signals("plain", "")[0]

		r.runsBatch(batchOf("job", signalAll), many+1, 0)
		requests := map[string]bool{}
		ordinary := func(e *historypb.HistoryEvent) {
			r.t.Helper()
			attributes := e.GetWorkflowExecutionSignaledEventAttributes()
			requests[attributes.RequestId] = true
			same := proto.CloneOf(attributes)
			same.RequestId = "r"
			r.same(same, plain.GetWorkflowExecutionSignaledEventAttributes())
			if len(e.Links) != 0 || e.UserMetadata != nil {
				r.t.Errorf("event: %v", e)
			}
		}
		for i := range many {
			id := fmt.Sprint("w", i)
			r.history(id, "", "Started WFTScheduled Signaled")
			ordinary(r.signals(id, "")[0])
		}
		is(r, "signals of a run of another type", len(r.signals("other", "")), 0)
		is(r, "signals of a closed run", len(r.signals("closed", closed)), 0)

		// It waits for the workflow task that is under way, as any signal does, and makes another.
		is(r, "signals of a busy run", len(r.signals("busy", "")), 0)
		busy.complete()
		r.history("busy", "", `Started WFTScheduled WFTStarted WFTCompleted
			Signaled WFTScheduled`)
		ordinary(r.signals("busy", "")[0])
		r.takeFrom(queue("busy")).complete(completeRun("done"))
		is(r, "request IDs", len(requests), many+1)
	})
}

func TestBatchTerminatesMatchingRunsOnly(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("a", ofType("W"))
		r.start("b", ofType("W"))
		r.start("other", ofType("V"))
		d := r.runsBatch(batchOf("job", terminateAll), 2, 0)
		is(r, "type", d.OperationType, enumspb.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW)
		is(r, "identity", d.Identity, "operator")
		is(r, "reason", d.Reason, "all of them")
		is(r, "query", d.Query, ours)
		if d.StartTime == nil || d.CloseTime.AsTime().Before(d.StartTime.AsTime()) {
			r.t.Errorf("from %v to %v", d.StartTime, d.CloseTime)
		}
		for _, id := range []string{"a", "b"} {
			e := last(r, r.stored(id, ""), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
			r.same(e, &historypb.WorkflowExecutionTerminatedEventAttributes{Reason: "all of them", Identity: "operator", Details: text("d")})
		}
		is(r, "a run of another type is", r.status("other", ""), enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	})
}

func TestBatchCancelsMatchingRunsOnly(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("a", ofType("W"))
		r.start("b", ofType("W"))
		r.cancel("b")
		r.start("other", ofType("V"))
		r.runsBatch(batchOf("job", cancelAll), 2, 0)
		for _, id := range []string{"a", "b"} {
			r.history(id, "", "Started WFTScheduled CancelRequested")
		}
		e := last(r, r.stored("a", ""), "CancelRequested").GetWorkflowExecutionCancelRequestedEventAttributes()
		is(r, "identity", e.Identity, "operator")
		r.history("other", "", "Started WFTScheduled")
	})
}

func TestBatchOfNamedExecutions(t *testing.T) {
	bubble(t, func(r *rig) {
		first := r.start("a")
		r.take().complete(continueAsNew())
		r.start("b")
		closed := r.start("closed")
		r.terminate("closed")
		r.start("other")
		d := r.runsBatch(batchOf("job", signalAll, named("a", "b", "b", "closed", "closed/"+closed, "a/"+first, "missing", "b/nonsense", "")), 7, 2)
		is(r, "executions", len(d.Executions), 9)
		is(r, "type of the first", d.Executions[0].Type, enumspb.EXECUTION_TYPE_WORKFLOW)
		is(r, "the fifth's run", d.Executions[4].RunId, closed)
		is(r, "signals of a's first run", len(r.signals("a", first)), 0)
		is(r, "signals of a", len(r.signals("a", "")), 1)
		is(r, "signals of b", len(r.signals("b", "")), 1) // named twice
		is(r, "signals of another", len(r.signals("other", "")), 0)

		// The older way to name them.
		d = r.runsBatch(batchOf("job 2", signalAll, func(req *batchRequest) {
			req.VisibilityQuery, req.Executions = "", []*commonpb.WorkflowExecution{wf("a", ""), wf("b", "")}
		}), 2, 0)
		is(r, "executions", fmt.Sprint(d.Executions), fmt.Sprint([]*commonpb.Execution{
			{Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: "a"}, {Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: "b"},
		}))
		is(r, "signals of a", len(r.signals("a", "")), 2)
	})
}

func TestS230_BatchRequestsThatMakeNoSense(t *testing.T) {
	bubble(t, func(r *rig) {
		const incomplete = "must provide required parameters: BatchType,Reason,Namespace, AND one of (Query OR Executions OR TargetExecutions)"
		const exclusive = "visibility query, executions, and target executions are mutually exclusive"
		target := []*commonpb.Execution{{Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: "w"}}
		execution := []*commonpb.WorkflowExecution{wf("w", "")}
		signal := func(name string) func(*batchRequest) {
			return func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{Signal: name}}
			}
		}
		for _, c := range []struct {
			change func(*batchRequest)
			code   codes.Code
			text   string
		}{
			{func(req *batchRequest) { req.Namespace = "" }, codes.InvalidArgument, "Namespace not set on request."},
			{func(req *batchRequest) { req.Namespace = "nope" }, codes.NotFound, "Namespace nope is not found."},
			{func(req *batchRequest) { req.JobId = "" }, codes.InvalidArgument, "JobId is not set on request."},
			{func(req *batchRequest) { req.JobId = strings.Repeat("x", 1001) }, codes.InvalidArgument, "JobId length exceeds limit."},
			{func(req *batchRequest) { req.Reason = "" }, codes.InvalidArgument, incomplete},
			{func(req *batchRequest) { req.Operation = nil }, codes.InvalidArgument, incomplete},
			{func(req *batchRequest) { req.VisibilityQuery = "" }, codes.InvalidArgument, incomplete},
			{func(req *batchRequest) { req.TargetExecutions = target }, codes.InvalidArgument, exclusive},
			{func(req *batchRequest) { req.Executions = execution }, codes.InvalidArgument, exclusive},
			{func(req *batchRequest) {
				req.VisibilityQuery, req.Executions, req.TargetExecutions = "", execution, target
			}, codes.InvalidArgument, exclusive},
			{func(req *batchRequest) {
				req.VisibilityQuery, req.TargetExecutions = "", []*commonpb.Execution{target[0], {Type: enumspb.EXECUTION_TYPE_ACTIVITY, BusinessId: "a"}}
			}, codes.InvalidArgument, "target_executions[1] has type Activity, but the operation requires Workflow"},
			{func(req *batchRequest) { req.VisibilityQuery = "WorkflowId =" }, codes.InvalidArgument, "invalid visibility query: malformed SQL query: …"},
			{func(req *batchRequest) { req.VisibilityQuery = "Nothing = 'x'" }, codes.InvalidArgument, "invalid visibility query: …"},
			{func(req *batchRequest) { req.VisibilityQuery = "GROUP BY ExecutionStatus" }, codes.InvalidArgument, "invalid visibility query: …"},
			{signal(""), codes.InvalidArgument, "must provide signal name"},
			{signal(strings.Repeat("x", 1001)), codes.InvalidArgument, "SignalName length exceeds limit."},
			{resetAll(&batchpb.BatchOperationReset{}), codes.InvalidArgument, "unknown batch reset type Unspecified"},
			{resetTo(&commonpb.ResetOptions{}), codes.InvalidArgument, "batch reset missing target"},
			{resetAll(&batchpb.BatchOperationReset{
				ResetType: enumspb.RESET_TYPE_FIRST_WORKFLOW_TASK, PostResetOperations: []*workflowpb.PostResetOperation{{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{}}},
			}), codes.InvalidArgument, "unsupported post reset operation: …"},
		} {
			_, err := r.StartBatchOperation(r.ctx, batchOf("job", signalAll, c.change))
			r.refused(err, c.code, c.text)
		}
		_, err := r.DescribeBatchOperation(r.ctx, &workflowservice.DescribeBatchOperationRequest{Namespace: ns, JobId: "job"})
		r.refused(err, codes.NotFound, `batch operation "job" is not found`)

		r.start("w", ofType("W"))
		slowly := func(req *batchRequest) { req.MaxOperationsPerSecond = 0.001 }
		again := func(job string) {
			r.t.Helper()
			_, err := r.StartBatchOperation(r.ctx, batchOf(job, signalAll))
			r.refused(err, codes.AlreadyExists, fmt.Sprintf("batch operation %q already exists", job))
		}
		r.startBatch(batchOf("slow", signalAll, slowly, named("w", "x", "y")))
		r.settle()    // w is signalled; for the others it waits
		again("slow") // while it is running,
		r.ok(r.stopBatch("slow"))
		again("slow") // once it is stopped,
		r.runsBatch(batchOf("job", signalAll), 1, 0)
		again("job") // once it is done,
		r.restart()
		again("job") // and after a restart.
		is(r, "signals", len(r.signals("w", "")), 2)
	})
}

func TestS231_StoppedBatchesAreFailedAndTheListShowsTypes(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 20 {
			r.start(fmt.Sprint("w", i), ofType("W"))
		}
		r.startBatch(batchOf("signal", signalAll, func(req *batchRequest) { req.MaxOperationsPerSecond = 1 }))
		r.pass(4500 * time.Millisecond)
		is(r, "done so far", r.describeBatch("signal").CompleteOperationCount, 5)
		r.ok(r.stopBatch("signal"))
		d := r.describeBatch("signal")
		is(r, "stopped, it is", d.State, enumspb.BATCH_OPERATION_STATE_FAILED)
		is(r, "total", d.TotalOperationCount, 20)
		is(r, "complete", d.CompleteOperationCount, 5)
		r.pass(time.Minute)
		signalled := 0
		for i := range 20 {
			signalled += len(r.signals(fmt.Sprint("w", i), ""))
		}
		is(r, "signals", signalled, 5)

		r.runsBatch(batchOf("cancel", cancelAll), 20, 0)
		r.pass(time.Second)
		r.runsBatch(batchOf("reset", resetAll(&batchpb.BatchOperationReset{ResetType: enumspb.RESET_TYPE_LAST_WORKFLOW_TASK}), named("missing")), 1, 0)
		r.pass(time.Second)
		r.startBatch(batchOf("terminate", terminateAll, func(req *batchRequest) { req.MaxOperationsPerSecond = 1 }))
		r.pass(time.Second)
		listed := must[*workflowservice.ListBatchOperationsResponse](r)(r.ListBatchOperations(r.ctx, &workflowservice.ListBatchOperationsRequest{Namespace: ns}))
		var got []string
		for _, o := range listed.OperationInfo {
			d := r.describeBatch(o.JobId)
			r.same(o, &batchpb.BatchOperationInfo{JobId: d.JobId, State: d.State, StartTime: d.StartTime, CloseTime: d.CloseTime, OperationType: d.OperationType})
			got = append(got, fmt.Sprint(o.JobId, " ", o.OperationType, " ", o.State))
		}
		want := []string{"terminate TerminateWorkflow Running", "reset ResetWorkflow Completed", "cancel CancelWorkflow Completed", "signal SignalWorkflow Failed"}
		if !slices.Equal(got, want) {
			r.t.Errorf("listed %q, want %q", got, want)
		}

		r.refused(r.stopBatch("signal"), codes.NotFound, `batch operation "signal" already completed`)
		r.refused(r.stopBatch("cancel"), codes.NotFound, `batch operation "cancel" already completed`)
		r.refused(r.stopBatch("missing"), codes.NotFound, `batch operation "missing" is not found`)
		_, err := r.StopBatchOperation(r.ctx, &workflowservice.StopBatchOperationRequest{Namespace: ns, JobId: "terminate"})
		r.refused(err, codes.InvalidArgument, "Reason is not set on request.")
		r.batchEnds("terminate", 20, 0)
	})
}

func TestBatchListHasPages(t *testing.T) {
	bubble(t, func(r *rig) {
		var want []string
		for i := range 7 {
			id := fmt.Sprint("job", i)
			r.startBatch(batchOf(id, signalAll))
			want = append([]string{id}, want...)
			r.pass(time.Millisecond)
		}
		var got []string
		req := &workflowservice.ListBatchOperationsRequest{Namespace: ns, PageSize: 3}
		for {
			page := must[*workflowservice.ListBatchOperationsResponse](r)(r.ListBatchOperations(r.ctx, req))
			for _, o := range page.OperationInfo {
				got = append(got, o.JobId)
			}
			if req.NextPageToken = page.NextPageToken; len(req.NextPageToken) == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			r.t.Errorf("listed %v, want %v", got, want)
		}
		req.NextPageToken = []byte("nonsense")
		_, err := r.ListBatchOperations(r.ctx, req)
		r.refused(err, codes.InvalidArgument, "Invalid NextPageToken.")
		r.finds("", "") // a job is no workflow
	})
}

// completeAs completes a workflow task as a worker of some build.
func (k *task) completeAs(build string) {
	k.r.t.Helper()
	req := k.request()
	req.WorkerVersionStamp = &commonpb.WorkerVersionStamp{BuildId: build}
	_, err := k.r.RespondWorkflowTaskCompleted(k.r.ctx, req)
	k.r.ok(err)
}

func TestS232_BatchResetByBuildAndByFirstAndLastWorkflowTask(t *testing.T) {
	const lived = `Started WFTScheduled WFTStarted WFTCompleted
		Signaled WFTScheduled WFTStarted WFTCompleted
		Signaled WFTScheduled WFTStarted WFTCompleted`
	const first = "Started WFTScheduled WFTStarted WFTFailed"
	const second = `Started WFTScheduled WFTStarted WFTCompleted
		Signaled WFTScheduled WFTStarted WFTFailed`
	third := strings.TrimSuffix(lived, "WFTCompleted") + "WFTFailed"
	const signal, scheduled = " Signaled", " WFTScheduled"
	for name, c := range map[string]struct {
		op   *batchpb.BatchOperationReset
		want string
	}{
		"first": {&batchpb.BatchOperationReset{Options: &commonpb.ResetOptions{Target: &commonpb.ResetOptions_FirstWorkflowTask{}}}, first + signal + signal + scheduled},
		"last":  {&batchpb.BatchOperationReset{Options: &commonpb.ResetOptions{Target: &commonpb.ResetOptions_LastWorkflowTask{}}}, third + scheduled},
		"by ID": {&batchpb.BatchOperationReset{Options: &commonpb.ResetOptions{Target: &commonpb.ResetOptions_WorkflowTaskId{WorkflowTaskId: 8}}}, second + signal + scheduled},
		"build": {&batchpb.BatchOperationReset{Options: &commonpb.ResetOptions{Target: &commonpb.ResetOptions_BuildId{BuildId: "b2"}}}, second + signal + scheduled},
		"build, within the run": {&batchpb.BatchOperationReset{
			Options: &commonpb.ResetOptions{Target: &commonpb.ResetOptions_BuildId{BuildId: "b1"}, CurrentRunOnly: true},
		}, first + signal + signal + scheduled},
		"first, without signals": {&batchpb.BatchOperationReset{Options: &commonpb.ResetOptions{
			Target: &commonpb.ResetOptions_FirstWorkflowTask{}, ResetReapplyExcludeTypes: []enumspb.ResetReapplyExcludeType{enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL},
		}}, first + scheduled},
		"first, the older way": {&batchpb.BatchOperationReset{ResetType: enumspb.RESET_TYPE_FIRST_WORKFLOW_TASK}, first + signal + signal + scheduled},
		"last, the older way":  {&batchpb.BatchOperationReset{ResetType: enumspb.RESET_TYPE_LAST_WORKFLOW_TASK}, third + scheduled},
		"first, the older way, without signals": {&batchpb.BatchOperationReset{
			ResetType: enumspb.RESET_TYPE_FIRST_WORKFLOW_TASK, ResetReapplyType: enumspb.RESET_REAPPLY_TYPE_NONE,
		}, first + scheduled},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				runs := map[string]string{}
				for _, id := range []string{"open", "closed", "other"} {
					typ := "W"
					if id == "other" {
						typ = "V"
					}
					runs[id] = r.start(id, ofType(typ))
					for _, build := range []string{"b1", "b2", "b2"} {
						r.take().completeAs(build)
						if build == "b1" || len(r.signals(id, "")) == 1 {
							r.signal(id, "s")
						}
					}
				}
				r.terminate("closed")
				r.start("fresh", ofType("W"), func(s *startRequest) { s.TaskQueue = queue("fresh") }) // has nothing to be reset to

				d := r.runsBatch(batchOf("job", resetAll(c.op)), 2, 1)
				is(r, "type", d.OperationType, enumspb.BATCH_OPERATION_TYPE_RESET_WORKFLOW)
				for _, id := range []string{"open", "closed"} {
					e := last(r, r.history(id, "", c.want), "WFTFailed").GetWorkflowTaskFailedEventAttributes()
					is(r, "cause", e.Cause, enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW)
					is(r, "base", e.BaseRunId, runs[id])
					is(r, "reason", e.Failure.Message, "all of them")
				}
				is(r, "the base of the open one is", r.status("open", runs["open"]), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
				r.history("other", "", lived)
				r.history("fresh", "", "Started WFTScheduled")
			})
		})
	}
}

func TestBatchResetByBuildReachesBackToAnEarlierRun(t *testing.T) {
	bubble(t, func(r *rig) {
		run1 := r.start("w", ofType("W"))
		r.take().completeAs("bad")
		r.signal("w", "s")
		r.take().complete(continueAsNew())
		r.pass(time.Second)
		r.take().completeAs("good")
		build := func(name string, only bool) func(*batchRequest) {
			return resetTo(&commonpb.ResetOptions{Target: &commonpb.ResetOptions_BuildId{BuildId: name}, CurrentRunOnly: only})
		}
		r.runsBatch(batchOf("within", build("bad", true), named("w")), 0, 1)
		r.runsBatch(batchOf("unknown", build("ugly", false), named("w")), 0, 1)
		r.runsBatch(batchOf("back", build("bad", false), named("w")), 1, 0)
		e := last(r, r.stored("w", ""), "WFTFailed").GetWorkflowTaskFailedEventAttributes()
		is(r, "base", e.BaseRunId, run1)
	})
}

func TestBatchOperationsThatAreNotServed(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", ofType("W"))
		for name, change := range map[string]func(*batchRequest){
			"DeleteWorkflow": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_DeletionOperation{}
			},
			"UpdateWorkflowExecutionOptions": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_UpdateWorkflowOptionsOperation{}
			},
			"UnpauseActivity": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_UnpauseActivitiesOperation{}
			},
			"ResetActivity": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_ResetActivitiesOperation{}
			},
			"UpdateActivityOptions": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_UpdateActivityOptionsOperation{}
			},
			"CancelActivity": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_CancelActivitiesOperation{}
			},
			"TerminateActivity": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_TerminateActivitiesOperation{}
			},
			"DeleteActivity": func(req *batchRequest) {
				req.Operation = &workflowservice.StartBatchOperationRequest_DeleteActivitiesOperation{}
			},
		} {
			_, err := r.StartBatchOperation(r.ctx, batchOf("job", change))
			r.refused(err, codes.Unimplemented, "StartBatchOperation: "+name+" is not supported")
		}
		options := &workflowpb.PostResetOperation{Variant: &workflowpb.PostResetOperation_UpdateWorkflowOptions_{}}
		_, err := r.StartBatchOperation(r.ctx, batchOf("job", resetAll(&batchpb.BatchOperationReset{
			ResetType: enumspb.RESET_TYPE_FIRST_WORKFLOW_TASK, PostResetOperations: []*workflowpb.PostResetOperation{options},
		})))
		r.refused(err, codes.Unimplemented, "StartBatchOperation: post_reset_operations.update_workflow_options is not supported")
	})
}

func TestTooManyBatches(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", ofType("W"))
		slowly := func(req *batchRequest) { req.MaxOperationsPerSecond = 0.001 }
		for i := range 20 {
			r.startBatch(batchOf(fmt.Sprint("job", i), signalAll, slowly, named("w", "x")))
		}
		_, err := r.StartBatchOperation(r.ctx, batchOf("one more", signalAll))
		r.refused(err, codes.ResourceExhausted, "Max concurrent batch operations is reached")
		r.ok(r.stopBatch("job7"))
		r.runsBatch(batchOf("one more", signalAll), 1, 0)
	})
}

// crash loses everything that was not durable, and starts another server.
func (r *rig) crash() {
	r.t.Helper()
	store := r.store.Crash()
	r.stop()
	r.store = store
	r.boot()
}

// TestBatchSurvivesCrashes: a job that is done in part when the server dies goes on in the next one, and signals each run
// once, those that it had signalled and not counted included. A run may have been continued meanwhile.
func TestBatchSurvivesCrashes(t *testing.T) {
	bubble(t, func(r *rig) {
		const many = 100
		runs := map[string]string{}
		for i := range many {
			id := fmt.Sprint("w", i)
			runs[id] = r.start(id, ofType("W"), func(s *startRequest) { s.TaskQueue = queue(id) })
		}
		total := func() (n int) {
			for id, run := range runs {
				n += len(r.signals(id, run))
			}
			return n
		}
		r.startBatch(batchOf("job", signalAll))
		for range 3 {
			r.pass(470 * time.Millisecond)
			r.crash()
			d := r.describeBatch("job")
			is(r, "after a crash, the job is", d.State, enumspb.BATCH_OPERATION_STATE_RUNNING)
			is(r, "total", d.TotalOperationCount, many)
			if n := total(); n == 0 || n == many {
				r.t.Fatalf("%d runs are signalled: the crash did not come in between", n)
			}
		}
		if n := int64(total()); r.describeBatch("job").CompleteOperationCount > n {
			r.t.Errorf("%d runs count as done, %d are signalled", r.describeBatch("job").CompleteOperationCount, n)
		}
		r.batchEnds("job", many, 0)
		for id, run := range runs {
			is(r, "signals of "+id, len(r.signals(id, run)), 1)
		}
	})
}

// TestBatchResetSurvivesCrashes: each run is reset once, though the new run goes on at once.
func TestBatchResetSurvivesCrashes(t *testing.T) {
	bubble(t, func(r *rig) {
		const many = 40
		for i := range many {
			id := fmt.Sprint("w", i)
			r.start(id, ofType("W"), func(s *startRequest) { s.TaskQueue = queue(id) })
			r.takeFrom(queue(id)).complete()
		}
		r.startBatch(batchOf("job", resetAll(&batchpb.BatchOperationReset{ResetType: enumspb.RESET_TYPE_FIRST_WORKFLOW_TASK})))
		r.pass(350 * time.Millisecond)
		continued := 0
		for i := range many {
			if id := fmt.Sprint("w", i); len(r.listed("WorkflowId = '"+id+"'")) == 2 {
				r.takeFrom(queue(id)).complete(continueAsNew())
				continued++
			}
		}
		if continued == 0 || continued == many {
			r.t.Fatalf("%d runs are reset: the crash would not come in between", continued)
		}
		r.crash()
		r.batchEnds("job", many, 0)
		resets := 0
		for _, run := range r.listed("") {
			if events := r.stored(run.Execution.WorkflowId, run.Execution.RunId); list(events) != "" {
				for _, e := range events {
					if e.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
						resets++
					}
				}
			}
		}
		is(r, "runs made by a reset", resets, many)
	})
}
