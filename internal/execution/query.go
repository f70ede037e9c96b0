package execution

import (
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// stepQuery decides how a query is answered: not at all, by a task of its own, or with the next workflow task.
func stepQuery(st *State, in QueryWorkflow, env *Env) *Transition {
	if rejectsQuery(st.Info.Status, in.Reject) {
		return answer(st, &QueryAnswer{Rejected: &querypb.QueryRejected{Status: st.Info.Status}})
	}
	started := st.Info.LastCompletedID != 0
	switch {
	case !st.Open() && !started:
		return refuse(st, notReadyf("Workflow execution closed before WorkflowTaskStarted event"))
	case st.Open() && !started && !st.Info.WFT.Pending() && st.Info.FirstBackoffEnd != 0 &&
		(in.Deadline == 0 || st.Info.FirstBackoffEnd > in.Deadline):
		return refuse(st, notReadyf("Workflow task is not scheduled yet."))
	case st.Open() && st.taskAttempt() >= env.Limits.AttemptsBeforeReady:
		return refuse(st, notReadyf("Unable to query workflow due to Workflow Task in failed state."))
	case started && (!st.Open() || !st.Info.WFT.Pending()):
		return answer(st, &QueryAnswer{Direct: direct(st)})
	}
	if st.Volatile.Queries.Len() >= env.Limits.BufferedQueries {
		e := errf(ResourceExhausted, "consistent query buffer is full, this may be caused by too many queries and workflow not able to process query fast enough")
		e.Cause = enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
		return refuse(st, e)
	}
	d := newDraft(st, env)
	d.setQuery(&LiveQuery{ID: in.ID, Query: in.Query, Waiter: in.Waiter})
	return d.finish()
}

func rejectsQuery(s enumspb.WorkflowExecutionStatus, c enumspb.QueryRejectCondition) bool {
	if s == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return false
	}
	switch c {
	case enumspb.QUERY_REJECT_CONDITION_NOT_OPEN:
		return true
	case enumspb.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY:
		return s != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}
	return false
}

func direct(st *State) *DirectQuery {
	q := &DirectQuery{Run: st.Key, WorkflowType: st.Start.WorkflowType, Queue: st.Start.TaskQueue,
		PreviousStartedID: st.Info.LastCompletedStartedID, NextEventID: st.Info.NextEventID, Open: st.Open()}
	if st.Info.StickyQueue != "" {
		q.Sticky = &taskqueuepb.StickyExecutionAttributes{
			WorkerTaskQueue:        &taskqueuepb.TaskQueue{Name: st.Info.StickyQueue, Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: st.Start.TaskQueue},
			ScheduleToStartTimeout: durationpb.New(st.Info.StickyTimeout)}
	}
	return q
}

// answerQueries hands the worker's answers to those who asked. Answers that break the rules are ignored: the query
// counts as unanswered.
func (c *completion) answerQueries(seq int64) {
	for _, q := range collect(c.Volatile.Queries) { // not over the results: a map has no order
		r, ok := c.req.QueryResults[q.ID]
		if !ok || q.Seq != seq || !validResult(r) {
			continue
		}
		if proto.Size(r.Answer) > c.env.Limits.BlobBytes {
			c.reply(q.Waiter, nil, errf(InvalidArgument, "Blob data size exceeds limit."))
		} else {
			c.reply(q.Waiter, &QueryAnswer{Result: r}, nil)
		}
		c.dropQuery(q.ID)
	}
	for _, q := range collect(c.Volatile.Queries) {
		if q.Seq == seq {
			n := *q
			n.Seq = 0
			c.setQuery(&n)
		}
	}
}

func validResult(r *querypb.WorkflowQueryResult) bool {
	switch r.GetResultType() {
	case enumspb.QUERY_RESULT_TYPE_ANSWERED:
		return r.Answer != nil && r.ErrorMessage == ""
	case enumspb.QUERY_RESULT_TYPE_FAILED:
		return r.Answer == nil && r.ErrorMessage != ""
	}
	return false
}

// finishQueries sends queries that no workflow task will take to the direct path.
func (d *draft) finishQueries() {
	if d.Volatile.Queries.Len() == 0 || d.Open() && (d.Info.WFT.Pending() || d.Info.LastCompletedID == 0) {
		return
	}
	for _, q := range collect(d.Volatile.Queries) {
		if d.Info.LastCompletedID == 0 {
			d.reply(q.Waiter, nil, notReadyf("Workflow execution closed before WorkflowTaskStarted event"))
		} else {
			d.reply(q.Waiter, &QueryAnswer{Direct: direct(d.State)}, nil)
		}
		d.dropQuery(q.ID)
	}
}

func stepForgetQuery(st *State, in ForgetQuery, env *Env) *Transition {
	d := newDraft(st, env)
	d.dropQuery(in.ID)
	tr := d.finish()
	tr.Answer = &EmptyAnswer{}
	return tr
}

// QueryFailed is the error of a query that the worker answered with a failure.
func QueryFailed(r *querypb.WorkflowQueryResult) *Error {
	e := errf(InvalidArgument, "%s", r.GetErrorMessage())
	e.Detail = &errordetailspb.QueryFailedFailure{Failure: r.GetFailure()}
	return e
}
