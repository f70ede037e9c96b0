package frontend

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

func queryRequest() *workflowservice.QueryWorkflowRequest {
	return &workflowservice.QueryWorkflowRequest{Namespace: "default", Execution: execOf("w", ""), Query: &querypb.WorkflowQuery{QueryType: "state"}}
}

// direct makes the engine send queries to workers by themselves.
func (f front) direct(sticky bool) {
	f.engine.begin(f.key("w").Run(runA), 7)
	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		if _, ok := in.(execution.ResetSticky); ok {
			return &execution.EmptyAnswer{}, nil
		}
		d := &execution.DirectQuery{Run: f.key("w").Run(runA), WorkflowType: "Order", Queue: "normal", PreviousStartedID: 3, NextEventID: 8, Open: true}
		if sticky {
			d.Sticky = &taskqueuepb.StickyExecutionAttributes{
				WorkerTaskQueue: &taskqueuepb.TaskQueue{Name: "sticky"}, ScheduleToStartTimeout: durationpb.New(5 * time.Second),
			}
		}
		return &execution.QueryAnswer{Direct: d}, nil
	}
}

type queried struct {
	resp *workflowservice.QueryWorkflowResponse
	err  error
	took time.Duration
}

// ask makes a query in the background.
func (f front) ask(t *testing.T, deadline time.Duration) <-chan queried {
	done := make(chan queried, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		begin := time.Now()
		resp, err := f.QueryWorkflow(ctx, queryRequest())
		done <- queried{resp, err, time.Since(begin)}
	}()
	return done
}

// takeTask polls as a worker does.
func (f front) takeTask(t *testing.T) *workflowservice.PollWorkflowTaskQueueResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp, err := f.PollWorkflowTaskQueue(ctx, pollRequest())
	if err != nil {
		t.Fatal(err)
	}
	return overWire(t, resp)
}

func (f front) answerQuery(t *testing.T, r *workflowservice.RespondQueryTaskCompletedRequest) error {
	t.Helper()
	r.Namespace = "default"
	_, err := f.RespondQueryTaskCompleted(t.Context(), r)
	return err
}

func TestM70DirectQuery(t *testing.T) {
	f := newFront(t)
	f.direct(false)
	done := f.ask(t, time.Minute)
	<-f.queues.offered
	task := f.takeTask(t)
	if task.Query.GetQueryType() != "state" || task.StartedEventId != 0 || task.PreviousStartedEventId != 3 || len(task.Queries) != 0 ||
		task.Attempt != 1 || len(task.History.GetEvents()) != 7 || !proto.Equal(task.WorkflowExecution, execOf("w", runA)) {
		t.Errorf("task %v", task)
	}
	answer := &workflowservice.RespondQueryTaskCompletedRequest{TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: payloads(3)}
	if err := f.answerQuery(t, answer); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.err != nil || !proto.Equal(got.resp.QueryResult, payloads(3)) {
		t.Errorf("got %v, %v", got.resp, got.err)
	}
	refused(t, f.answerQuery(t, answer), codes.NotFound, "query task not found, or already expired") // M-91: twice
}

func TestM71StickyQueryHasNoHistory(t *testing.T) {
	f := newFront(t)
	f.direct(true)
	f.queues.polled("sticky")
	done := f.ask(t, time.Minute)
	if queue := <-f.queues.offered; queue != "sticky" {
		t.Errorf("offered to %q", queue)
	}
	task := f.takeTask(t)
	if len(task.History.GetEvents()) != 0 || len(task.NextPageToken) != 0 || task.WorkflowExecutionTaskQueue.GetName() != "normal" {
		t.Errorf("task %v", task)
	}
	_ = f.answerQuery(t, &workflowservice.RespondQueryTaskCompletedRequest{TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED})
	if got := <-done; got.err != nil {
		t.Error(got.err)
	}
	if resets := given[execution.ResetSticky](f.engine); len(resets) != 0 {
		t.Error("a sticky worker that answered lost the run")
	}
}

func TestM72StickyWorkerGone(t *testing.T) {
	for _, polled := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFront(t)
			f.direct(true)
			if polled {
				f.queues.polled("sticky")
			}
			begin := time.Now()
			done := f.ask(t, time.Minute)
			if polled { // somebody polled lately, but nobody takes it for the sticky timeout
				if queue := <-f.queues.offered; queue != "sticky" {
					t.Errorf("offered to %q", queue)
				}
			}
			if queue := <-f.queues.offered; queue != "normal" {
				t.Errorf("then offered to %q", queue)
			}
			if waited := time.Since(begin); polled && waited != 5*time.Second || !polled && waited != 0 {
				t.Errorf("the normal queue had to wait %s", waited)
			}
			if resets := given[execution.ResetSticky](f.engine); len(resets) != 1 {
				t.Errorf("stickiness was cleared %d times", len(resets))
			}
			task := f.takeTask(t) // the dead sticky offer is skipped
			if len(task.History.GetEvents()) != 7 {
				t.Errorf("history of %d events", len(task.History.GetEvents()))
			}
			_ = f.answerQuery(t, &workflowservice.RespondQueryTaskCompletedRequest{TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED})
			if got := <-done; got.err != nil {
				t.Error(got.err)
			}
		})
	}
}

func TestM92NoPollerForAQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.direct(false)
		got := <-f.ask(t, 3*time.Second)
		refused(t, got.err, codes.FailedPrecondition, "no poller seen for task queue recently, worker may be down")
		if got.took != 2*time.Second {
			t.Errorf("told after %s", got.took)
		}
		got = <-f.ask(t, 500*time.Millisecond)
		refused(t, got.err, codes.FailedPrecondition, "no poller seen for task queue recently, worker may be down")
		if got.took != 0 {
			t.Errorf("with less than a second left: told after %s", got.took)
		}
	})
}

func TestM93QueryTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.direct(false)
		f.queues.polled("normal")
		got := <-f.ask(t, 3*time.Second)
		refused(t, got.err, codes.DeadlineExceeded, "query timed out before a worker could process it")
		if got.took != 3*time.Second {
			t.Errorf("timed out after %s", got.took)
		}
		// A worker that has the query is no absent worker, however long ago it polled.
		time.Sleep(time.Minute)
		done := f.ask(t, 3*time.Second)
		for {
			if task := f.takeTask(t); task.Query != nil {
				break
			}
		}
		refused(t, (<-done).err, codes.DeadlineExceeded, "query timed out before a worker could process it")
		if len(f.Service.queries.pending) != 0 {
			t.Errorf("%d queries are left behind", len(f.Service.queries.pending))
		}
	})
}

func TestM88FailedQueries(t *testing.T) {
	f := newFront(t)
	f.direct(false)
	failure := &failurepb.Failure{Message: "no such query"}
	done := f.ask(t, time.Minute)
	task := f.takeTask(t)
	_ = f.answerQuery(t, &workflowservice.RespondQueryTaskCompletedRequest{
		TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_FAILED, ErrorMessage: "unknown query", Failure: failure,
	})
	check := func(err error) {
		t.Helper()
		e, ok := refused(t, err, codes.InvalidArgument, "unknown query").(*serviceerror.QueryFailed)
		if !ok || !proto.Equal(e.Failure, failure) {
			t.Errorf("got %#v", e)
		}
	}
	check((<-done).err)

	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		f.engine.reply(in.(execution.QueryWorkflow).Waiter, &execution.QueryAnswer{Result: &querypb.WorkflowQueryResult{
			ResultType: enumspb.QUERY_RESULT_TYPE_FAILED, ErrorMessage: "unknown query", Failure: failure,
		}}, nil)
		return nil, nil
	}
	check((<-f.ask(t, time.Minute)).err)
}

func TestM90OversizeQueryResults(t *testing.T) {
	f := newFront(t)
	f.limits.BlobBytes = 100
	f.direct(false)
	done := f.ask(t, time.Minute)
	task := f.takeTask(t)
	if err := f.answerQuery(t, &workflowservice.RespondQueryTaskCompletedRequest{
		TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: payloads(100),
	}); err != nil {
		t.Fatal(err)
	}
	refused(t, (<-done).err, codes.InvalidArgument, "Query result size exceeds limit.")
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return &execution.QueryAnswer{Result: &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: payloads(100)}}, nil
	}
	refused(t, (<-f.ask(t, time.Minute)).err, codes.InvalidArgument, "Blob data size exceeds limit.")
}

func TestBufferedQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		park := func(reply func(w execution.Waiter)) {
			f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
				if q, ok := in.(execution.QueryWorkflow); ok {
					reply(q.Waiter)
					return nil, nil
				}
				return &execution.EmptyAnswer{}, nil
			}
		}
		park(func(w execution.Waiter) {
			time.AfterFunc(time.Second, func() {
				f.engine.reply(w, &execution.QueryAnswer{Rejected: &querypb.QueryRejected{Status: enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED}}, nil)
			})
		})
		if got := <-f.ask(t, time.Minute); got.err != nil || got.resp.QueryRejected.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED || got.took != time.Second {
			t.Errorf("rejected: %v, %v after %s", got.resp, got.err, got.took)
		}
		// A query lost with the server's memory is asked again.
		lost := false
		park(func(w execution.Waiter) {
			if !lost {
				lost = true
				f.engine.reply(w, nil, refuse(execution.Unavailable, "buffered query cleared, please retry"))
				return
			}
			f.engine.reply(w, &execution.QueryAnswer{Result: &querypb.WorkflowQueryResult{Answer: payloads(1)}}, nil)
		})
		if got := <-f.ask(t, time.Minute); got.err != nil || !lost {
			t.Errorf("lost once: %v", got.err)
		}
		park(func(execution.Waiter) {})
		got := <-f.ask(t, 3*time.Second)
		refused(t, got.err, codes.DeadlineExceeded, "query timed out before a worker could process it")
		queries, forgotten := given[execution.QueryWorkflow](f.engine), given[execution.ForgetQuery](f.engine)
		if len(forgotten) != 1 || forgotten[0].ID != queries[len(queries)-1].ID {
			t.Errorf("forgotten: %+v", forgotten)
		}
		if deadline := queries[0].Deadline; deadline == 0 {
			t.Error("the engine does not know the caller's deadline")
		}
	})
}
