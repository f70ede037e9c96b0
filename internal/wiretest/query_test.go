package wiretest

import (
	"context"
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

type queryResponse = workflowservice.QueryWorkflowResponse

func queryOf(id, run string) *workflowservice.QueryWorkflowRequest {
	return &workflowservice.QueryWorkflowRequest{Namespace: ns, Execution: wf(id, run), Query: &querypb.WorkflowQuery{QueryType: "state"}}
}

func (r *rig) query(id, run string, change ...func(*workflowservice.QueryWorkflowRequest)) (*queryResponse, error) {
	req := queryOf(id, run)
	for _, c := range change {
		c(req)
	}
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	return r.QueryWorkflow(ctx, req)
}

// asks makes a query and returns when it waits for a worker.
func (r *rig) asks(id, run string, change ...func(*workflowservice.QueryWorkflowRequest)) *pending[*queryResponse] {
	return async(r, func() (*queryResponse, error) { return r.query(id, run, change...) })
}

func (k *task) answerQuery(s string) error {
	_, err := k.r.RespondQueryTaskCompleted(k.r.ctx, &workflowservice.RespondQueryTaskCompletedRequest{
		Namespace: ns, TaskToken: k.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: text(s),
	})
	return err
}

// answers are results for all queries that came with a task.
func (k *task) answers(s string) map[string]*querypb.WorkflowQueryResult {
	results := map[string]*querypb.WorkflowQueryResult{}
	for id := range k.Queries {
		results[id] = &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: text(s)}
	}
	return results
}

func TestM073_LongHistoryOfAQuery(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 300 {
			r.signal("w", "s")
		}
		r.take().complete()
		q := r.asks("w", "")
		k := r.take()
		if k.Query.GetQueryType() != "state" || len(k.NextPageToken) == 0 {
			r.t.Fatalf("no query with pages: %v", k.Query)
		}
		events := k.History.Events
		for token := k.NextPageToken; len(token) > 0; {
			p := r.page(&historyRequest{Execution: k.WorkflowExecution, NextPageToken: token})
			events, token = append(events, p.History.Events...), p.NextPageToken
		}
		is(r, "events", len(events), len(r.stored("w", "")))
		r.ok(k.answerQuery("a"))
		r.same(q.get().QueryResult, text("a"))
	})
}

func TestM076_QuerySeesTheSignalBeforeIt(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete()
		for i := range 20 {
			r.signal("w", fmt.Sprint("s", i))
			q := r.asks("w", "")
			k := r.take()
			names := signalNames(k.History.Events)
			is(r, "newest signal", names[len(names)-1], fmt.Sprint("s", i))
			is(r, "queries", len(k.Queries), 1)
			req := k.request()
			req.QueryResults = k.answers(names[len(names)-1])
			must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
			r.same(q.get().QueryResult, text(fmt.Sprint("s", i)))
		}
	})
}

func TestM078_FullQueryBufferAndAnUpdate(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete()
		u := r.updates("w", "u")
		first, second := r.asks("w", ""), r.asks("w", "")
		third := r.asks("w", "")
		r.refused(third.failed(), codes.ResourceExhausted, "consistent query buffer is full…")
		k := r.take()
		is(r, "updates", len(k.Messages), 1)
		is(r, "queries", len(k.Queries), 2)
		req := k.request()
		req.Messages, req.QueryResults = k.acceptAndComplete("done"), k.answers("a")
		must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
		r.same(u.get().Outcome.GetSuccess(), text("done"))
		first.get()
		second.get()
	}, func(l *limits) { l.BufferedQueries = 2 })
}

func TestM080_QueryBeforeTheFirstTask(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		q := r.asks("w", "")
		q.waits()
		k := r.take()
		is(r, "queries", len(k.Queries), 1)
		req := k.request()
		req.QueryResults = k.answers("first")
		must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
		r.same(q.get().QueryResult, text("first"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted")
	})
}

// endings has a run of each status but running; each has run code before.
func (r *rig) endings() map[enumspb.WorkflowExecutionStatus]string {
	r.t.Helper()
	runs := map[enumspb.WorkflowExecutionStatus]string{}
	for id, end := range map[string]func(*task){
		"completed": func(k *task) { k.complete(completeRun("done")) }, "failed": func(k *task) { k.complete(failRun(application("Broken"))) },
		"cancelled": func(k *task) { k.complete(cancelRun()) }, "terminated": func(k *task) { k.complete(); r.terminate("terminated") },
		"timed-out": func(k *task) { k.complete(); r.pass(time.Minute); r.settle() }, "continued": func(k *task) { k.complete(continueAsNew()) },
	} {
		run := r.start(id, func(s *startRequest) { s.WorkflowRunTimeout = seconds(60) })
		end(r.takeOf(id))
		runs[r.status(id, run)] = id + "/" + run
	}
	is(r, "statuses", len(runs), 6)
	r.terminate("continued")
	return runs
}

func cutRun(s string) (id, run string) { return s[:len(s)-37], s[len(s)-36:] }

func TestM085_QueriesOfClosedRuns(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, execution := range r.endings() {
			id, run := cutRun(execution)
			q := r.asks(id, run)
			k := r.take()
			r.same(k.WorkflowExecution, wf(id, run))
			r.ok(k.answerQuery(id))
			r.same(q.get().QueryResult, text(id))
		}
	})
}

func TestM087_NotCompletedCleanly(t *testing.T) {
	bubble(t, func(r *rig) {
		for status, execution := range r.endings() {
			id, run := cutRun(execution)
			cleanly := func(q *workflowservice.QueryWorkflowRequest) {
				q.QueryRejectCondition = enumspb.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY
			}
			q := r.asks(id, run, cleanly)
			if status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
				r.ok(r.take().answerQuery("a"))
				r.same(q.get().QueryResult, text("a"))
				continue
			}
			is(r, id, q.get().QueryRejected.GetStatus(), status)
		}
		r.idle()
	})
}

func TestM091_LateAnswers(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete()
		q := r.asks("w", "")
		k := r.take()
		r.ok(k.answerQuery("a"))
		q.get()
		r.refused(k.answerQuery("twice"), codes.NotFound, "query task not found, or already expired")
		q = r.asks("w", "")
		k = r.take()
		r.refused(q.failed(), codes.DeadlineExceeded, "…")
		r.refused(k.answerQuery("late"), codes.NotFound, "query task not found, or already expired")
	})
}

func TestM095_WhichRunIsQueried(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.start("w")
		r.take().complete(completeRun("done"))
		now := r.start("w", func(s *startRequest) { s.RequestId = "second" })
		r.take().complete()
		for asked, want := range map[string]string{"": now, old: old, now: now} {
			q := r.asks("w", asked)
			k := r.take()
			is(r, "queried run", k.WorkflowExecution.RunId, want)
			r.ok(k.answerQuery("a"))
			q.get()
		}
	})
}

// Queries write nothing and wake nothing.
func TestM070_QueryOfAnIdleRun(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		r.take().completeSticky()
		r.visitSticky()
		q := r.asks("w", "", func(q *workflowservice.QueryWorkflowRequest) {
			q.Query.QueryArgs, q.Query.Header = text("arg"), &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("1")}}
		})
		k := r.takeFrom(sticky())
		r.same(k.WorkflowExecution, wf("w", run))
		r.same(k.Query.QueryArgs, text("arg"))
		is(r, "header", len(k.Query.Header.GetFields()), 1)
		is(r, "events", len(k.History.GetEvents()), 0)
		is(r, "started event", k.StartedEventId, 0)
		is(r, "previous started event", k.PreviousStartedEventId, 3)
		r.ok(k.answerQuery("a"))
		r.same(q.get().QueryResult, text("a"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted")
	})
}

func TestM106_QueriesCanBeDisabled(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		_, err := r.QueryWorkflow(r.ctx, &workflowservice.QueryWorkflowRequest{Namespace: ns, Execution: wf("w", ""), Query: &querypb.WorkflowQuery{QueryType: "q"}})
		r.refused(err, codes.InvalidArgument, "Queries are disabled on this server.")
		r.idle()
		r.history("w", "", idleHistory)
	}, func(l *limits) { l.NoQueries = true })
}

func TestQueryWithoutADeadlineWaitsForATaskThatIsDueSoon(t *testing.T) {
	bubble(t, func(r *rig) {
		query := func(id string) *pending[*workflowservice.QueryWorkflowResponse] {
			return async(r, func() (*workflowservice.QueryWorkflowResponse, error) {
				resp := new(workflowservice.QueryWorkflowResponse)
				// Past the rig's own client, which sets a deadline.
				return resp, r.invokeBare(workflowservice.WorkflowService_QueryWorkflow_FullMethodName, &workflowservice.QueryWorkflowRequest{
					Namespace: ns, Execution: wf(id, ""), Query: &querypb.WorkflowQuery{QueryType: "q"},
				}, resp)
			})
		}
		r.start("soon", func(s *startRequest) { s.WorkflowStartDelay = durationpb.New(time.Second) })
		q := query("soon")
		q.waits()
		k := r.take()
		req := k.request()
		for id := range k.Queries {
			req.QueryResults = map[string]*querypb.WorkflowQueryResult{id: {ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: text("now")}}
		}
		must[*workflowservice.RespondWorkflowTaskCompletedResponse](r)(r.RespondWorkflowTaskCompleted(r.ctx, req))
		r.same(q.get().QueryResult, text("now"))
		r.start("late", func(s *startRequest) { s.WorkflowStartDelay = durationpb.New(time.Hour) })
		r.refused(query("late").failed(), codes.FailedPrecondition, "Workflow task is not scheduled yet.")
		r.terminate("late")
	})
}
