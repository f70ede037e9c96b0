package oracle

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

const (
	bufferFull    = "consistent query buffer is full, this may be caused by too many queries and workflow not able to process query fast enough"
	inFailedState = "Unable to query workflow due to Workflow Task in failed state."
	neverPolled   = "no poller seen for task queue recently, worker may be down"
	queryGone     = "query task not found, or already expired"

	notOpen             = enumspb.QUERY_REJECT_CONDITION_NOT_OPEN
	notCompletedCleanly = enumspb.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY
)

func TestM070_QueryOfAnIdleRunIsATaskOfItsOwn(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		q := w.query(r, "q")
		task := w.poll()
		is(w, "query", task.GetQuery().GetQueryType(), "q")
		is(w, "started event", task.GetStartedEventId(), 0)
		is(w, "attached", len(task.GetQueries()), 0)
		w.fine(w.answer(task, `"answer"`))
		w.fine(q.get())
		w.shape(r, idleShape)
	})
}

func TestM071_QueryOfAStickyRunComesWithoutHistory(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		w.finish(w.poll(), w.sticky(10))
		w.visitSticky()
		q := w.query(r, "q")
		task := w.pollSticky()
		is(w, "events", len(task.GetHistory().GetEvents()), 0)
		w.answer(task, `"answer"`)
		w.fine(q.get())
		// It still is sticky.
		q = w.query(r, "q")
		w.answer(w.pollSticky(), `"answer"`)
		w.fine(q.get())
	})
}

func TestM072_QueryOfALeftStickyQueueGoesToTheNormalOne(t *testing.T) {
	both(t, func(w *world) {
		// The worker polled a moment ago, so that the query waits for it as long as the attributes say.
		r := w.start("main")
		w.finish(w.poll(), w.sticky(2))
		w.visitSticky()
		q := w.query(r, "q")
		task := w.poll()
		is(w, "events", shapes(task.GetHistory().GetEvents()), idleShape)
		w.answer(task, `"answer"`)
		w.fine(q.get())
		// Stickiness is gone: the next task is on the normal queue.
		w.signal(r, "go")
		events := w.history(r)
		is(w, "queue", w.at(events, 5).GetWorkflowTaskScheduledEventAttributes().GetTaskQueue().GetName(), w.queue)
	})
}

func TestM073_QueryTaskOfALongHistoryHasPages(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		// The first page of the servers' default size is full after some hundred events.
		for range 1100 {
			if err := w.quietSignal(r, "go"); err != nil {
				w.stop("%s", w.failure(err))
			}
		}
		task := w.tryPoll(queueNamed(w.queue), patience)
		w.finish(task)
		q := w.query(r, "q")
		task = w.tryPoll(queueNamed(w.queue), patience)
		events, token := len(task.GetHistory().GetEvents()), task.GetNextPageToken()
		is(w, "more pages", len(token) > 0, true)
		for len(token) > 0 {
			resp, err := w.GetWorkflowExecutionHistory(w.ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
				Namespace: namespace, Execution: r.execution(), NextPageToken: token,
			})
			if err != nil {
				w.stop("page: %s", w.failure(err))
			}
			events, token = events+len(resp.GetHistory().GetEvents()), resp.GetNextPageToken()
		}
		is(w, "events", events, 1104)
		w.answer(task, `"answer"`)
		w.fine(q.get())
	})
}

func TestM074_QueryRidesOnAScheduledTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		q := w.waitingQuery(r, "q")
		task := w.poll()
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, answers(task, `"answer"`))
		w.fine(q.get())
		w.shape(r, idleShape+" Signaled WFTScheduled WFTStarted WFTCompleted")
	})
}

func TestM075_QueryDuringATaskWaitsForItsEnd(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		task := w.poll()
		q := w.waitingQuery(r, "q")
		is(w, "attached", len(task.GetQueries()), 0)
		w.finish(task)
		task = w.poll()
		is(w, "query", task.GetQuery().GetQueryType(), "q")
		w.answer(task, `"answer"`)
		w.fine(q.get())
		// Another task follows: the query rides on that.
		w.signal(r, "go")
		task = w.poll()
		q = w.waitingQuery(r, "q")
		w.signal(r, "more")
		w.finish(task)
		task = w.poll()
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, answers(task, `"answer"`))
		w.fine(q.get())
		// The same with the task that comes with the completion.
		w.signal(r, "go")
		task = w.poll()
		q = w.waitingQuery(r, "q")
		w.signal(r, "more")
		task = w.finish(task, sendNewTask).GetWorkflowTask()
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, answers(task, `"answer"`))
		w.fine(q.get())
	})
}

func TestM076_QuerySeesTheSignalBeforeIt(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		q := w.query(r, "q")
		w.grace()
		task := w.poll()
		is(w, "history", shapes(task.GetHistory().GetEvents()), idleShape+" Signaled WFTScheduled WFTStarted")
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, answers(task, `"answer"`))
		w.fine(q.get())
	})
}

func TestM077_QueriesThatWaitAreLimited(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		first := w.waitingQuery(r, "first")
		second := w.queryWithin(r, "second", 3*time.Second)
		w.grace()
		task := w.poll()
		w.finish(task, answers(task, `"answer"`))
		w.fine(first.get())
		w.refused(second.get(), codes.ResourceExhausted, bufferFull)
	})
}

func TestM078_QueriesDoNotHoldUpAnUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.admitted(r, "u")
		first := w.waitingQuery(r, "first")
		second := w.queryWithin(r, "second", 3*time.Second)
		w.grace()
		task := w.poll()
		w.finish(task, takeUpdates(task), answers(task, `"answer"`))
		w.fine(u.get())
		w.fine(first.get())
		second.get()
	})
}

func TestM079_QueryRidesOnASpeculativeTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.admitted(r, "u")
		q := w.waitingQuery(r, "q")
		task := w.poll()
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, rejectUpdates(task), answers(task, `"answer"`))
		w.fine(q.get())
		w.fine(u.get())
		w.shape(r, idleShape)
	})
}

func TestM080_QueryWaitsForTheFirstTask(t *testing.T) {
	both(t, func(w *world) {
		r := w.start("main")
		q := w.waitingQuery(r, "q")
		task := w.poll()
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, answers(task, `"answer"`))
		w.fine(q.get())
		w.shape(r, idleShape)
	})
}

func TestM081_QueryDuringABackoff(t *testing.T) {
	both(t, func(w *world) {
		far := w.start("far", func(r *starting) { r.WorkflowStartDelay = seconds(60) })
		w.refused(w.queryWithin(far, "q", 5*time.Second).get(), codes.FailedPrecondition, "Workflow task is not scheduled yet.")
		near := w.start("near", func(r *starting) { r.WorkflowStartDelay = seconds(2) })
		q := w.query(near, "q")
		task := w.poll()
		w.finish(task, answers(task, `"answer"`))
		if len(task.GetQueries()) == 0 {
			w.answer(w.poll(), `"answer"`)
		}
		w.fine(q.get())
	})
}

func TestM082_RunThatNeverRanCannotBeQueried(t *testing.T) {
	both(t, func(w *world) {
		never := w.start("never started")
		w.terminate(never)
		w.refused(w.query(never, "q").get(), codes.FailedPrecondition, "Workflow execution closed before WorkflowTaskStarted event")
		begun := w.start("never completed")
		w.takeUntil(begun)
		w.terminate(begun)
		w.refused(w.query(begun, "q").get(), codes.FailedPrecondition, "Workflow execution closed before WorkflowTaskStarted event")
	})
}

func TestM083_M145_RunWhoseTaskKeepsFailing(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		known := w.update(r, "known")
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		w.signal(r, "go")
		for range 2 {
			w.fail(w.poll())
		}
		task = w.poll()
		is(w, "attempt", task.GetAttempt(), 3)
		w.refused(w.query(r, "q").get(), codes.FailedPrecondition, inFailedState)
		update := "Unable to perform workflow execution update due to Workflow Task in failed state."
		w.refused(w.tryUpdate("new", w.updates(r, "new")), codes.FailedPrecondition, update)
		w.refused(w.tryUpdate("known", w.updates(r, "known")), codes.FailedPrecondition, update)
		w.fine(w.pollUpdate(r, "known", stageUnspecified))
		w.finish(task, respondUpdate("known"))
		w.fine(w.pollUpdate(r, "known", stageCompleted))
		known.wait()
		w.shapeOnly(r)
	})
}

func TestM084_QueryOfAFailedTaskRidesOnTheNext(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		q := w.waitingQuery(r, "q")
		task := w.poll()
		is(w, "attached", len(task.GetQueries()), 1)
		w.fail(task)
		task = w.poll()
		is(w, "attached", len(task.GetQueries()), 1)
		w.finish(task, answers(task, `"answer"`))
		w.fine(q.get())
	})
}

// ended starts a run and ends it by what its one task does.
func (w *world) ended(part string, end func(r run, t *task), with ...func(*starting)) run {
	r := w.start(part, with...)
	end(r, w.takeUntil(r))
	w.closes(r)
	return r
}

// allEnds starts a run for each way to close, in a fixed order.
func (w *world) allEnds() (names []string, runs []run) {
	add := func(name string, end func(r run, t *task), with ...func(*starting)) {
		names, runs = append(names, name), append(runs, w.ended(name, end, with...))
	}
	add("completed", func(r run, t *task) { w.finish(t, commands(completeWorkflow())) })
	add("failed", func(r run, t *task) { w.finish(t, commands(failWorkflow())) })
	add("cancelled", func(r run, t *task) {
		w.finish(t)
		w.cancel(r)
		w.finish(w.takeUntil(r), commands(cancelWorkflow()))
	})
	add("timed out", func(r run, t *task) { w.finish(t) }, func(r *starting) { r.WorkflowRunTimeout = seconds(2) })
	add("terminated", func(r run, t *task) {
		w.finish(t)
		w.terminate(r)
	})
	add("continued", func(r run, t *task) {
		w.finish(t, commands(w.continueAsNew()))
		w.terminate(r.current())
	})
	return names, runs
}

func TestM085_M086_M087_QueriesOfClosedRuns(t *testing.T) {
	both(t, func(w *world) {
		statuses := []enumspb.WorkflowExecutionStatus{
			enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED,
			enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT, enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
		}
		names, runs := w.allEnds()
		for i, r := range runs {
			w.note("a run that %s", names[i])
			q := w.query(r, "q")
			task := w.poll()
			is(w, "query", task.GetQuery().GetQueryType(), "q")
			w.answer(task, `"answer"`)
			w.fine(q.get())
			w.rejected(w.query(r, "q", rejectIf(notOpen)), statuses[i])
			q = w.query(r, "q", rejectIf(notCompletedCleanly))
			if names[i] == "completed" {
				w.answer(w.poll(), `"answer"`)
				w.fine(q.get())
			} else {
				w.rejected(q, statuses[i])
			}
		}
		open := w.start("open")
		w.finish(w.takeUntil(open))
		for _, c := range []enumspb.QueryRejectCondition{notOpen, notCompletedCleanly} {
			q := w.query(open, "q", rejectIf(c))
			w.answer(w.poll(), `"answer"`)
			w.fine(q.get())
		}
	})
}

// rejected says that a query has to be turned away because of the run's status.
func (w *world) rejected(q *pending, want enumspb.WorkflowExecutionStatus) {
	w.fine(q.get())
	resp, _ := q.resp.(*workflowservice.QueryWorkflowResponse)
	is(w, "status", resp.GetQueryRejected().GetStatus(), want)
}

func TestM088_FailedQuery(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		q := w.query(r, "q")
		w.answer(w.poll(), "", func(r *workflowservice.RespondQueryTaskCompletedRequest) {
			r.CompletedType, r.QueryResult, r.ErrorMessage, r.Failure = enumspb.QUERY_RESULT_TYPE_FAILED, nil, "query failed", failure("the failure")
		})
		w.refused(q.get(), codes.InvalidArgument, "query failed")
		// Without a failure.
		q = w.query(r, "q")
		w.answer(w.poll(), "", func(r *workflowservice.RespondQueryTaskCompletedRequest) {
			r.CompletedType, r.QueryResult, r.ErrorMessage = enumspb.QUERY_RESULT_TYPE_FAILED, nil, "query failed"
		})
		w.refused(q.get(), codes.InvalidArgument, "query failed")
		// Attached to a task.
		w.signal(r, "go")
		q = w.waitingQuery(r, "q")
		task := w.poll()
		w.finish(task, results(task, &querypb.WorkflowQueryResult{
			ResultType: enumspb.QUERY_RESULT_TYPE_FAILED, ErrorMessage: "query failed", Failure: failure("the failure"),
		}))
		w.refused(q.get(), codes.InvalidArgument, "query failed")
	})
}

func TestQueryAnswerOfNoKind(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		q := w.queryWithin(r, "q", 3*time.Second)
		task := w.poll()
		w.answer(task, "", func(r *workflowservice.RespondQueryTaskCompletedRequest) {
			r.CompletedType, r.QueryResult = enumspb.QUERY_RESULT_TYPE_UNSPECIFIED, nil
		})
		w.grace()
		w.answer(task, `"answer"`)
		q.wait()
		w.note("answered: %v", q.err == nil)
		q = w.query(r, "q")
		w.answer(w.poll(), "", func(r *workflowservice.RespondQueryTaskCompletedRequest) { r.QueryResult = nil })
		q.get()
	})
}

// results answers the attached queries of a task with one result.
func results(t *task, result *querypb.WorkflowQueryResult) func(*completion) {
	return func(r *completion) {
		r.QueryResults = map[string]*querypb.WorkflowQueryResult{}
		for id := range t.GetQueries() {
			r.QueryResults[id] = result
		}
	}
}

func TestM089_AttachedNonsenseIsNoAnswer(t *testing.T) {
	both(t, func(w *world) {
		answered, failed := enumspb.QUERY_RESULT_TYPE_ANSWERED, enumspb.QUERY_RESULT_TYPE_FAILED
		r := w.idle("main")
		for _, result := range []*querypb.WorkflowQueryResult{
			{ResultType: answered},
			{ResultType: answered, Answer: payloads(`"answer"`), ErrorMessage: "error"},
			{ResultType: failed},
			{ResultType: failed, ErrorMessage: "error", Answer: payloads(`"answer"`)},
			{Answer: payloads(`"answer"`)},
			nil, // an unknown ID
		} {
			w.signal(r, "go")
			q := w.waitingQuery(r, "q")
			task := w.poll()
			is(w, "attached", len(task.GetQueries()), 1)
			if result == nil {
				w.finish(task, func(r *completion) {
					r.QueryResults = map[string]*querypb.WorkflowQueryResult{"unknown": {ResultType: answered, Answer: payloads(`"answer"`)}}
				})
			} else {
				w.finish(task, results(task, result))
			}
			task = w.poll()
			is(w, "query", task.GetQuery().GetQueryType(), "q")
			w.answer(task, `"answer"`)
			w.fine(q.get())
		}
		// An answer of no payloads is one.
		w.signal(r, "go")
		q := w.waitingQuery(r, "q")
		task := w.poll()
		w.finish(task, results(task, &querypb.WorkflowQueryResult{ResultType: answered, Answer: &commonpb.Payloads{}}))
		w.fine(q.get())
	})
}

func TestM090_TooLargeAnswerFailsTheQuery(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		q := w.query(r, "q")
		w.answer(w.poll(), big)
		err := q.get()
		is(w, "code", codeOf(err), codes.InvalidArgument)
		w.signal(r, "go")
		q = w.waitingQuery(r, "q")
		task := w.poll()
		w.finish(task, answers(task, big))
		w.refused(q.get(), codes.InvalidArgument, "…")
		w.shape(r, idleShape+" Signaled WFTScheduled WFTStarted WFTCompleted")
		q = w.query(r, "q")
		w.answer(w.poll(), `"small"`)
		w.fine(q.get())
	})
}

func TestM091_QueryIsAnsweredOnce(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		q := w.query(r, "q")
		task := w.poll()
		w.fine(w.answer(task, `"answer"`))
		w.fine(q.get())
		w.refused(w.answer(task, `"again"`), codes.NotFound, queryGone)
		q = w.queryWithin(r, "q", 2*time.Second)
		task = w.poll()
		q.get()
		w.grace()
		w.refused(w.answer(task, `"late"`), codes.NotFound, queryGone)
	})
}

// It takes as long as it takes a server to forget a poller. Of M093 it shows the codes: the client's own deadline comes before the
// server's text.
func TestM092_QueryThatNobodyAnswers(t *testing.T) {
	both(t, func(w *world) {
		closed := w.closed("closed")
		r := w.idle("main")
		q := w.queryWithin(r, "polled", 3*time.Second)
		is(w, "code", codeOf(q.get()), codes.DeadlineExceeded)
		buffered := w.start("buffered", func(r *starting) { r.TaskQueue = queueNamed(w.queue + "-unpolled") })
		is(w, "code", codeOf(w.queryWithin(buffered, "buffered", 2*time.Second).get()), codes.DeadlineExceeded)
		w.pass(21)
		begun := time.Now()
		w.refused(w.queryWithin(r, "not polled", 3*time.Second).get(), codes.FailedPrecondition, neverPolled)
		is(w, "about two seconds", time.Since(begun).Round(time.Second), 2*time.Second)
		w.refused(w.queryWithin(closed, "closed", 3*time.Second).get(), codes.FailedPrecondition, neverPolled)
		w.refused(w.queryWithin(r, "in a hurry", 900*time.Millisecond).get(), codes.FailedPrecondition, neverPolled)
	})
}

// Question f, for queries.
func TestM094_MalformedQueriesAreRefused(t *testing.T) {
	both(t, func(w *world) {
		w.name(nowhere, "nowhere")
		r := w.idle("main")
		refuse := func(text string, change func(*querying)) {
			w.refused(w.tryQuery("malformed", w.queries(r, "q", change)), codes.InvalidArgument, text)
		}
		refuse("WorkflowQuery is not set on request.", func(r *querying) { r.Query = nil })
		refuse("QueryType is not set on request.", func(r *querying) { r.Query.QueryType = "" })
		refuse("Execution is not set on request.", func(r *querying) { r.Execution = nil })
		refuse("WorkflowId is not set on request.", func(r *querying) { r.Execution.WorkflowId = "" })
		refuse("Invalid RunId.", func(r *querying) { r.Execution.RunId = "no UUID" })
		refuse(blobTooLarge, func(r *querying) { r.Query.QueryArgs = payloads(big) })
		refuse("…", func(r *querying) { r.Namespace = "" })
		w.tryQuery("unknown namespace", w.queries(r, "q", func(r *querying) { r.Namespace = "no such namespace" }))
		w.tryQuery("unknown workflow", w.queries(run{id: w.id("none")}, "q"))
		w.tryQuery("unknown run", w.queries(run{w.id("none"), nowhere}, "q"))
		w.tryQuery("unknown run", w.queries(run{r.id, nowhere}, "q"))
		// Nothing of it reached a worker.
		q := w.query(r, "q")
		w.answer(w.poll(), `"answer"`)
		q.get()
	})
}

func TestM095_QueryOfTheLatestRunOrAnEarlierOne(t *testing.T) {
	both(t, func(w *world) {
		first := w.start("main")
		w.finish(w.poll(), commands(w.continueAsNew()))
		second := w.successor(first, "second")
		w.finish(w.poll())
		q := w.query(first.current(), "latest")
		task := w.poll()
		is(w, "run", task.GetWorkflowExecution().GetRunId(), second.runID)
		w.answer(task, `"answer"`)
		w.fine(q.get())
		q = w.query(first, "earlier")
		task = w.poll()
		is(w, "run", task.GetWorkflowExecution().GetRunId(), first.runID)
		w.answer(task, `"answer"`)
		w.fine(q.get())
	})
}

func TestM107_QueryOutlivesTheTaskThatClosesTheRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		task := w.poll()
		q := w.waitingQuery(r, "q")
		w.finish(task, commands(completeWorkflow()))
		task = w.poll()
		is(w, "query", task.GetQuery().GetQueryType(), "q")
		w.answer(task, `"answer"`)
		w.fine(q.get())
		// Attached to the closing task and answered by it, and attached but not answered.
		r = w.idle("attached")
		w.signal(r, "go")
		q = w.waitingQuery(r, "q")
		task = w.poll()
		w.finish(task, commands(completeWorkflow()), answers(task, `"answer"`))
		w.fine(q.get())
		r = w.idle("not answered")
		w.signal(r, "go")
		q = w.waitingQuery(r, "q")
		task = w.poll()
		w.finish(task, commands(completeWorkflow()))
		w.answer(w.poll(), `"answer"`)
		w.fine(q.get())
	})
}

// Question b: queries that wait for a workflow task when the run ends without one.
func TestWaitingQueriesOfARunThatIsEnded(t *testing.T) {
	both(t, func(w *world) {
		wait := func(what string, r run, end func()) {
			w.note("waiting queries: %s", what)
			q := w.queryWithin(r, "q", 6*time.Second)
			q.waits()
			end()
			if t := w.tryPoll(queueNamed(w.queue), 3*time.Second); t.GetQuery() != nil {
				w.see("task", t)
				w.answer(t, `"answer"`)
			}
			q.get()
		}
		r := w.idle("terminated")
		w.signal(r, "go")
		w.poll()
		wait("terminated while a task is started", r, func() { w.terminate(r) })
		r = w.idle("terminated, scheduled")
		w.signal(r, "go")
		wait("terminated while a task is scheduled", r, func() { w.terminate(r) })
		r = w.start("never ran")
		wait("terminated before the first task", r, func() { w.terminate(r) })
		r = w.idle("timed out", func(r *starting) { r.WorkflowRunTimeout = seconds(4) })
		w.signal(r, "go")
		w.poll()
		wait("timed out while a task is started", r, func() { w.closes(r) })
		r = w.idle("reset")
		w.signal(r, "go")
		w.poll()
		wait("reset while a task is started", r, func() { w.reset(r, 4) })
	})
}

// A continued run closes under the query.
func TestWaitingQueryOfARunThatContinues(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		w.signal(r, "go")
		task := w.poll()
		q := w.waitingQuery(r.current(), "q")
		w.finish(task, commands(w.continueAsNew()))
		w.successor(r, "second")
		var legacy *workflowservice.PollWorkflowTaskQueueResponse
		for legacy == nil {
			t := w.tryPoll(queueNamed(w.queue), patience)
			if t == nil {
				w.stop("no task")
			}
			if t.GetQuery() != nil {
				legacy = t
			}
		}
		w.see("query task", legacy)
		w.answer(legacy, `"answer"`)
		q.get()
	})
}

// Two queries at once on the direct path: nothing limits those.
func TestDirectQueriesDoNotWaitForEachOther(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		first, second := w.query(r, "q"), w.query(r, "q")
		one, two := w.poll(), w.poll()
		w.answer(two, `"answer"`)
		w.answer(one, `"answer"`)
		w.fine(first.get())
		w.fine(second.get())
	})
}
