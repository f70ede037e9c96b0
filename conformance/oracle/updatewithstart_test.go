package oracle

import (
	"context"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/errordetails/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type multi = workflowservice.ExecuteMultiOperationRequest

// updatesWithStart is the request to update a workflow of this scenario and start it if need be.
func (w *world) updatesWithStart(part, id string, start func(*starting), update ...func(*updating)) *multi {
	s := w.starts(part, func(r *starting) { r.WorkflowIdConflictPolicy = useExisting })
	if start != nil {
		start(s)
	}
	u := w.updates(run{id: s.WorkflowId}, id, update...)
	return &multi{Namespace: namespace, Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{startOperation(s), updateOperation(u)}}
}

func startOperation(s *starting) *workflowservice.ExecuteMultiOperationRequest_Operation {
	return &workflowservice.ExecuteMultiOperationRequest_Operation{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: s}}
}

func updateOperation(u *updating) *workflowservice.ExecuteMultiOperationRequest_Operation {
	return &workflowservice.ExecuteMultiOperationRequest_Operation{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: u}}
}

// execute sends operations in the background.
func (w *world) execute(what string, req *multi) *pending {
	return async(w, "update with start "+what, func(ctx context.Context) (*workflowservice.ExecuteMultiOperationResponse, error) {
		return w.ExecuteMultiOperation(ctx, req)
	})
}

// operated waits for the answer and returns the run it names.
func (p *pending) operated(name string) run {
	p.wait()
	resp, _ := p.resp.(*workflowservice.ExecuteMultiOperationResponse)
	var r run
	if ops := resp.GetResponses(); len(ops) == 2 {
		r = run{ops[1].GetUpdateWorkflow().GetUpdateRef().GetWorkflowExecution().GetWorkflowId(), ops[0].GetStartWorkflow().GetRunId()}
		p.w.began(name, r)
	}
	p.get()
	return r
}

// statuses checks the codes of an error's operations.
func (w *world) statuses(err error, call, start, update codes.Code) {
	is(w, "code of the call", codeOf(err), call)
	for _, d := range status.Convert(err).Details() {
		if m, ok := d.(*errordetails.MultiOperationExecutionFailure); ok && len(m.GetStatuses()) == 2 {
			is(w, "code of the start", codes.Code(m.GetStatuses()[0].GetCode()), start)
			is(w, "code of the update", codes.Code(m.GetStatuses()[1].GetCode()), update)
			return
		}
	}
	w.note("! no statuses of the operations")
}

func withConflict(p enumspb.WorkflowIdConflictPolicy) func(*starting) {
	return func(r *starting) { r.WorkflowIdConflictPolicy = p }
}

func TestM194_UpdateWithStartOfANewRun(t *testing.T) {
	both(t, func(w *world) {
		u := w.execute("main", w.updatesWithStart("main", "u", nil))
		task := w.poll()
		is(w, "history", shapes(task.GetHistory().GetEvents()), "Started WFTScheduled WFTStarted")
		is(w, "message's place", w.first(task).GetEventId(), 2)
		w.name(task.GetWorkflowExecution().GetRunId(), "<run main>")
		w.finish(task, takeUpdates(task))
		r := u.operated("main")
		w.shape(r, idleShape+done)

		u = w.execute("rejected", w.updatesWithStart("rejected", "u", nil))
		task = w.poll()
		w.finish(task, rejectUpdates(task))
		r = u.operated("rejected")
		w.shape(r, idleShape)
	})
}

func TestM195_UpdateWithStartOfAnOpenRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.execute("existing", w.updatesWithStart("main", "one", nil))
		task := w.poll()
		w.finish(task, takeUpdates(task))
		u.get()
		w.shape(r, idleShape+secondTask+done)
		for _, p := range []enumspb.WorkflowIdConflictPolicy{failOnConflict, enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED} {
			u = w.execute("refused", w.updatesWithStart("main", "two", withConflict(p)))
			w.statuses(u.get(), codes.AlreadyExists, codes.AlreadyExists, codes.Aborted)
		}
		u = w.execute("instead", w.updatesWithStart("main", "three", withConflict(terminateExisting)))
		task = w.poll()
		w.finish(task, takeUpdates(task))
		fresh := u.operated("instead")
		w.shape(r, idleShape+secondTask+done+" Terminated")
		w.shape(fresh, idleShape+done)
	})
}

func TestM196_UpdateWithStartAttachesToAnAcceptedUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		first := w.update(r, "u")
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		var calls []*pending
		for _, p := range []enumspb.WorkflowIdConflictPolicy{useExisting, terminateExisting, failOnConflict} {
			calls = append(calls, w.execute(p.String(), w.updatesWithStart("main", "u", withConflict(p))))
		}
		accepted := w.execute("for acceptance", w.updatesWithStart("main", "u", withConflict(failOnConflict), waitFor(stageAccepted)))
		w.fine(accepted.get())
		for _, c := range calls {
			c.waits()
		}
		w.signal(r, "go")
		w.finish(w.poll(), respondUpdate("u"))
		for _, c := range calls {
			w.fine(c.get())
		}
		w.fine(first.get())
		w.shapeOnly(r)
		// One that is only admitted.
		first = w.admitted(r, "v")
		second := w.execute("admitted", w.updatesWithStart("main", "v", withConflict(failOnConflict)))
		second.waits()
		task = w.poll()
		w.finish(task, takeUpdates(task))
		first.get()
		second.get()
	})
}

func TestM197_UpdateWithStartFindsACompletedUpdate(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		u := w.update(r, "u")
		task := w.poll()
		w.finish(task, takeUpdates(task))
		u.get()
		for _, p := range []enumspb.WorkflowIdConflictPolicy{useExisting, terminateExisting, failOnConflict} {
			w.fine(w.execute(p.String(), w.updatesWithStart("main", "u", withConflict(p))).get())
		}
		w.signal(r, "go")
		w.finish(w.poll(), commands(completeWorkflow()))
		for _, p := range []enumspb.WorkflowIdConflictPolicy{useExisting, terminateExisting, failOnConflict} {
			w.fine(w.execute("closed", w.updatesWithStart("main", "u", withConflict(p))).get())
		}
		w.fine(w.execute("closed", w.updatesWithStart("main", "u", func(r *starting) { r.WorkflowIdReusePolicy = rejectDuplicate })).get())
		w.shapeOnly(r.current())
	})
}

func TestM198_UpdateWithStartLeavesAnAcceptedUpdateOfAClosedRun(t *testing.T) {
	both(t, func(w *world) {
		r := w.idle("main")
		first := w.update(r, "u")
		task := w.poll()
		w.finish(task, acceptUpdates(task))
		w.terminate(r)
		first.get()
		refused := w.execute("refused", w.updatesWithStart("main", "u", func(r *starting) { r.WorkflowIdReusePolicy = rejectDuplicate }))
		w.statuses(refused.get(), codes.AlreadyExists, codes.AlreadyExists, codes.Aborted)
		u := w.execute("fresh", w.updatesWithStart("main", "u", nil))
		task = w.poll()
		w.finish(task, takeUpdates(task))
		fresh := u.operated("fresh")
		w.shape(fresh, idleShape+done)
		is(w, "another run", fresh != r, true)
	})
}

func TestM199_UpdateWithStartUnderReusePolicies(t *testing.T) {
	both(t, func(w *world) {
		w.closed("main")
		u := w.execute("refused", w.updatesWithStart("main", "u", func(r *starting) { r.WorkflowIdReusePolicy = rejectDuplicate }))
		w.statuses(u.get(), codes.AlreadyExists, codes.AlreadyExists, codes.Aborted)
		u = w.execute("refused", w.updatesWithStart("main", "u", func(r *starting) { r.WorkflowIdReusePolicy = allowDuplicateFailedOnly }))
		w.statuses(u.get(), codes.AlreadyExists, codes.AlreadyExists, codes.Aborted)
		u = w.execute("fresh", w.updatesWithStart("main", "u", func(r *starting) { r.WorkflowIdReusePolicy = allowDuplicate }))
		task := w.poll()
		w.finish(task, takeUpdates(task))
		w.shape(u.operated("fresh"), idleShape+done)
	})
}

// Question h, for update with start.
func TestM200_RepeatedUpdateWithStart(t *testing.T) {
	both(t, func(w *world) {
		same := func(r *starting) { r.RequestId = "same" }
		first := w.execute("first", w.updatesWithStart("main", "one", same))
		task := w.poll()
		w.finish(task, takeUpdates(task))
		r := first.operated("main")
		second := w.execute("second", w.updatesWithStart("main", "two", func(r *starting) { same(r); r.WorkflowIdConflictPolicy = failOnConflict }))
		task = w.poll()
		w.finish(task, takeUpdates(task))
		w.fine(second.get())
		w.shape(r, idleShape+done+secondTask+done)
		third := w.execute("third", w.updatesWithStart("main", "three", func(r *starting) { same(r); r.WorkflowIdConflictPolicy = terminateExisting }))
		task = w.poll()
		w.finish(task, takeUpdates(task))
		w.fine(third.get())
		w.shapeOnly(r)
		// After the run closed.
		w.signal(r, "go")
		w.finish(w.poll(), commands(completeWorkflow()))
		w.execute("again, known", w.updatesWithStart("main", "one", same)).get()
		fourth := w.execute("again, new", w.updatesWithStart("main", "four", same))
		if task = w.tryPoll(queueNamed(w.queue), 3e9); task != nil {
			w.see("task", task)
			w.finish(task, takeUpdates(task))
		}
		fourth.get()
		w.shapeOnly(r.current())
	})
}

func TestM201_MalformedUpdateWithStartIsRefused(t *testing.T) {
	both(t, func(w *world) {
		try := func(what string, change func(m *multi, s *starting, u *updating)) error {
			m := w.updatesWithStart("main", "u", nil)
			change(m, m.Operations[0].GetStartWorkflow(), m.Operations[1].GetUpdateWorkflow())
			return w.execute(what, m).get()
		}
		exactly := func(what string, change func(m *multi)) {
			err := try(what, func(m *multi, _ *starting, _ *updating) { change(m) })
			w.refused(err, codes.InvalidArgument, "Operations have to be exactly [Start, Update].")
		}
		exactly("without operations", func(m *multi) { m.Operations = nil })
		exactly("with a start only", func(m *multi) { m.Operations = m.Operations[:1] })
		exactly("with an update only", func(m *multi) { m.Operations = m.Operations[1:] })
		exactly("the wrong way round", func(m *multi) { m.Operations[0], m.Operations[1] = m.Operations[1], m.Operations[0] })
		exactly("with two starts", func(m *multi) { m.Operations[1] = m.Operations[0] })
		exactly("with three", func(m *multi) { m.Operations = append(m.Operations, m.Operations[1]) })
		start := func(what string, change func(s *starting)) {
			err := try(what, func(_ *multi, s *starting, _ *updating) { change(s) })
			w.statuses(err, codes.InvalidArgument, codes.InvalidArgument, codes.Aborted)
		}
		start("with cron", func(s *starting) { s.CronSchedule = "@every 3s" })
		start("with a delay", func(s *starting) { s.WorkflowStartDelay = seconds(3) })
		start("eagerly", func(s *starting) { s.RequestEagerExecution = true })
		start("without type", func(s *starting) { s.WorkflowType = nil })
		update := func(what string, change func(u *updating)) {
			err := try(what, func(_ *multi, _ *starting, u *updating) { change(u) })
			w.statuses(err, codes.InvalidArgument, codes.Aborted, codes.InvalidArgument)
		}
		update("with a run ID", func(u *updating) { u.WorkflowExecution.RunId = nowhere })
		update("with a first run ID", func(u *updating) { u.FirstExecutionRunId = nowhere })
		update("without name", func(u *updating) { u.Request.Input.Name = "" })
		update("of another workflow", func(u *updating) { u.WorkflowExecution.WorkflowId = w.id("another") })
		err := try("waiting for admission", func(_ *multi, _ *starting, u *updating) {
			u.WaitPolicy = &updatepb.WaitPolicy{LifecycleStage: stageAdmitted}
		})
		w.statuses(err, codes.PermissionDenied, codes.Aborted, codes.PermissionDenied)
		// What else a request may have wrong; noted only.
		w.note("more")
		try("in another namespace", func(_ *multi, s *starting, _ *updating) { s.Namespace = otherNamespace })
		try("in two namespaces", func(_ *multi, _ *starting, u *updating) { u.Namespace = otherNamespace })
		try("without namespace", func(m *multi, _ *starting, _ *updating) { m.Namespace = "" })
		try("in an unknown namespace", func(m *multi, s *starting, u *updating) {
			m.Namespace, s.Namespace, u.Namespace = "no such namespace", "no such namespace", "no such namespace"
		})
		try("without workflow ID", func(_ *multi, s *starting, u *updating) { s.WorkflowId, u.WorkflowExecution.WorkflowId = "", "" })
		try("without task queue", func(_ *multi, s *starting, _ *updating) { s.TaskQueue = nil })
		try("without meta", func(_ *multi, _ *starting, u *updating) { u.Request.Meta = nil })
		try("without execution", func(_ *multi, _ *starting, u *updating) { u.WorkflowExecution = nil })
		try("with both wrong", func(_ *multi, s *starting, u *updating) { s.WorkflowType, u.Request.Input.Name = nil, "" })
		try("with contradicting policies", func(_ *multi, s *starting, _ *updating) {
			s.WorkflowIdReusePolicy, s.WorkflowIdConflictPolicy = rejectDuplicate, terminateExisting
		})
		try("with an empty operation", func(m *multi, _ *starting, _ *updating) {
			m.Operations[0] = &workflowservice.ExecuteMultiOperationRequest_Operation{}
		})
		try("for another resource", func(m *multi, s *starting, _ *updating) {
			m.ResourceId, s.WorkflowType = "other", &commonpb.WorkflowType{}
		})
		_, err = w.DescribeWorkflowExecution(w.ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: namespace, Execution: run{id: w.id("main")}.execution()})
		is(w, "was anything started", codeOf(err), codes.NotFound)
	})
}

func TestM202_UpdateWithStartOverTheLimit(t *testing.T) {
	bothTight(t, func(w *world) {
		r := w.idle("open")
		w.signal(r, "go")
		var calls []*pending
		for _, id := range []string{"one", "two", "three"} {
			calls = append(calls, w.admitted(r, id))
		}
		u := w.execute("over the limit", w.updatesWithStart("open", "four", nil))
		w.statuses(u.get(), codes.ResourceExhausted, codes.Aborted, codes.ResourceExhausted)
		w.terminate(r)
		for _, c := range calls {
			c.wait()
		}
		// And the first update of a run that is not there yet.
		big := func(q *updating) { q.Request.Input.Args = payloads(`"` + strings.Repeat("k", 20001) + `"`) }
		u = w.execute("not started, over the limit", w.updatesWithStart("fresh", "u", nil, big))
		u.get()
		_, err := w.DescribeWorkflowExecution(w.ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: namespace, Execution: run{id: w.id("fresh")}.execution()})
		w.note("was it started: %v", err == nil)
	})
}

func TestM203_RunClosesUnderAnUpdateWithStart(t *testing.T) {
	both(t, func(w *world) {
		// Not started here: tried once more, and that starts a run.
		r := w.idle("open")
		u := w.execute("open", w.updatesWithStart("open", "u", nil))
		task := w.takeUntil(r)
		w.first(task)
		w.finish(task, commands(completeWorkflow()))
		task = w.poll()
		is(w, "another run", task.GetWorkflowExecution().GetRunId() != r.runID, true)
		w.name(task.GetWorkflowExecution().GetRunId(), "<run second>")
		w.finish(task, takeUpdates(task))
		w.shape(u.operated("second"), idleShape+done)
		w.terminate(run{id: w.id("open")})

		// Twice.
		r = w.idle("twice")
		u = w.execute("twice", w.updatesWithStart("twice", "u", nil))
		w.finish(w.takeUntil(r), commands(completeWorkflow()))
		w.finish(w.poll(), commands(completeWorkflow()))
		u.get()

		// Started here: that is the answer.
		u = w.execute("started", w.updatesWithStart("started", "u", nil))
		w.finish(w.poll(), commands(completeWorkflow()))
		u.get()
		// It continues as new.
		u = w.execute("continued", w.updatesWithStart("continued", "u", nil))
		task = w.poll()
		w.finish(task, commands(w.continueAsNew()))
		u.get()
		// It was accepted and then closed.
		u = w.execute("accepted and closed", w.updatesWithStart("accepted and closed", "u", nil))
		task = w.tryPoll(queueNamed(w.queue), patience)
		for task.GetWorkflowExecution().GetWorkflowId() != w.id("accepted and closed") {
			task = w.tryPoll(queueNamed(w.queue), patience)
		}
		w.finish(task, acceptUpdates(task), commands(completeWorkflow()))
		u.get()
	})
}
