package frontend

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

func outcome() *updatepb.Outcome {
	return &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads(3)}}
}

// updates makes the engine park updates, reporting the waiter, and answer polls with a stage.
func (f front) updates(parked func(execution.Waiter), reached enumspb.UpdateWorkflowExecutionLifecycleStage) {
	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		switch in := in.(type) {
		case execution.UpdateWorkflow:
			parked(in.Waiter)
			return nil, nil
		case execution.PollUpdate:
			if in.Waiter != 0 {
				parked(in.Waiter)
				return nil, nil
			}
			return &execution.UpdateAnswer{RunID: runA, Stage: reached}, nil
		}
		return nil, errBoom
	}
}

func TestM130SoftTimeoutWhenAdmitted(t *testing.T) { softTimeout(t, stageAdmitted) }

func TestM131SoftTimeoutWhenAccepted(t *testing.T) { softTimeout(t, stageAccepted) }

func softTimeout(t *testing.T, reached enumspb.UpdateWorkflowExecutionLifecycleStage) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.updates(func(execution.Waiter) {}, reached)
		begin := time.Now()
		resp, err := f.UpdateWorkflowExecution(t.Context(), updateRequest())
		if err != nil || resp.Stage != reached || resp.Outcome != nil || time.Since(begin) != updateWait || resp.UpdateRef.WorkflowExecution.RunId != runA {
			t.Errorf("update: %v, %v after %s", resp, err, time.Since(begin))
		}
		begin = time.Now()
		polled, err := f.PollWorkflowExecutionUpdate(t.Context(), &workflowservice.PollWorkflowExecutionUpdateRequest{
			Namespace: "default", UpdateRef: updateRef(f.key("w"), "", "u"), WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: stageCompleted},
		})
		if err != nil || polled.Stage != reached || polled.Outcome != nil || time.Since(begin) != updateWait {
			t.Errorf("poll: %v, %v after %s", polled, err, time.Since(begin))
		}
		if forgot := given[execution.PollUpdate](f.engine)[0]; forgot.Forget != 1 || forgot.UpdateID != "u" {
			t.Errorf("the waiter was not forgotten: %+v", forgot)
		}
	})
}

func TestM132UpdateDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.updates(func(execution.Waiter) {}, stageAdmitted)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.UpdateWorkflowExecution(ctx, updateRequest())
		refused(t, err, codes.DeadlineExceeded, "context deadline exceeded")
		if forgot := given[execution.PollUpdate](f.engine); len(forgot) != 1 || forgot[0].Forget == 0 {
			t.Errorf("the engine was told %+v", forgot)
		}
	})
}

func TestM133UpdateWaitStages(t *testing.T) {
	f := newFront(t)
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return &execution.UpdateAnswer{RunID: runA, Stage: stageCompleted, Outcome: outcome()}, nil
	}
	for _, tt := range []struct {
		given, want enumspb.UpdateWorkflowExecutionLifecycleStage
	}{
		{stageUnset, stageCompleted}, {stageAccepted, stageAccepted}, {stageCompleted, stageCompleted},
	} {
		r := updateRequest()
		r.WaitPolicy = &updatepb.WaitPolicy{LifecycleStage: tt.given}
		if _, err := f.UpdateWorkflowExecution(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		all := given[execution.UpdateWorkflow](f.engine)
		if got := all[len(all)-1].Wait; got != tt.want {
			t.Errorf("%v became %v", tt.given, got)
		}
	}
	r := updateRequest()
	r.WaitPolicy = &updatepb.WaitPolicy{LifecycleStage: stageAdmitted}
	_, err := f.UpdateWorkflowExecution(t.Context(), r)
	refused(t, err, codes.PermissionDenied, "UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported.")
}

func TestM124UpdateGetsAnID(t *testing.T) {
	f := newFront(t)
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return &execution.UpdateAnswer{RunID: runA, Stage: stageAccepted}, nil
	}
	r := updateRequest()
	r.Request.Meta.UpdateId = ""
	resp, err := f.UpdateWorkflowExecution(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	id := given[execution.UpdateWorkflow](f.engine)[0].Request.Meta.UpdateId
	if id == "" || resp.UpdateRef.UpdateId != id || resp.UpdateRef.WorkflowExecution.RunId != runA {
		t.Errorf("the engine got %q, the caller %v", id, resp.UpdateRef)
	}
}

func TestUpdateOutcomeIsReadFromHistory(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 4)
	f.engine.append(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes{
		WorkflowExecutionUpdateCompletedEventAttributes: &historypb.WorkflowExecutionUpdateCompletedEventAttributes{Outcome: outcome()},
	}})
	at := ids.EventID(5)
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return &execution.UpdateAnswer{RunID: runA, Stage: stageCompleted, OutcomeEventID: at}, nil
	}
	r := &workflowservice.PollWorkflowExecutionUpdateRequest{Namespace: "default", UpdateRef: updateRef(f.key("w"), "", "u")}
	if resp, err := f.PollWorkflowExecutionUpdate(t.Context(), r); err != nil || !proto.Equal(resp.Outcome, outcome()) || resp.Stage != stageCompleted {
		t.Errorf("got %v, %v", resp, err)
	}
	for _, at = range []ids.EventID{4, 9} {
		if resp, err := f.PollWorkflowExecutionUpdate(t.Context(), r); !isKind(err, execution.Internal) {
			t.Errorf("outcome at event %d: %v, %v", at, resp, err)
		}
	}
}

func TestUpdateRepliesAndErrors(t *testing.T) {
	f := newFront(t)
	f.updates(func(w execution.Waiter) {
		f.engine.reply(w, &execution.UpdateAnswer{RunID: runA, Stage: stageCompleted, Outcome: outcome()}, nil)
	}, stageAdmitted)
	if resp, err := f.UpdateWorkflowExecution(t.Context(), updateRequest()); err != nil || !proto.Equal(resp.Outcome, outcome()) {
		t.Errorf("got %v, %v", resp, err)
	}
	tries := 0
	f.updates(func(w execution.Waiter) {
		tries++
		f.engine.reply(w, nil, refuse(execution.Unavailable, "workflow update was aborted"))
	}, stageAdmitted)
	_, err := f.UpdateWorkflowExecution(t.Context(), updateRequest())
	refused(t, err, codes.Unavailable, "workflow update was aborted")
	if tries != 1+lostRetries {
		t.Errorf("tried %d times", tries)
	}
	_, err = f.PollWorkflowExecutionUpdate(t.Context(), &workflowservice.PollWorkflowExecutionUpdateRequest{Namespace: "default"})
	refused(t, err, codes.InvalidArgument, "UpdateRef is not set on request.")
}

type multiRequest = workflowservice.ExecuteMultiOperationRequest

func multi(start *startRequest, update *workflowservice.UpdateWorkflowExecutionRequest) *multiRequest {
	return &multiRequest{Namespace: "default", Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: start}},
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: update}},
	}}
}

// multiRefused checks a failed update-with-start as the SDK sees it; an empty text stands for an operation that was fine.
func multiRefused(t testing.TB, err error, code codes.Code, texts ...string) {
	t.Helper()
	e, ok := refused(t, err, code, "Update-with-Start could not be executed.").(*serviceerror.MultiOperationExecution)
	if !ok || len(e.OperationErrors()) != len(texts) {
		t.Fatalf("got %#v", e)
	}
	for i, text := range texts {
		got := e.OperationErrors()[i]
		if text == "" && got != nil || text != "" && (got == nil || got.Error() != text) {
			t.Errorf("operation %d: %v, want %q", i, got, text)
		}
	}
}

const aborted = "Operation was aborted."

func TestM201MultiOperationIsChecked(t *testing.T) {
	f := newFront(t)
	for _, ops := range [][]*workflowservice.ExecuteMultiOperationRequest_Operation{
		nil, multi(startOrder(), updateRequest()).Operations[:1],
		{multi(startOrder(), nil).Operations[0], multi(startOrder(), nil).Operations[0]},
	} {
		_, err := f.ExecuteMultiOperation(t.Context(), &multiRequest{Namespace: "default", Operations: ops})
		refused(t, err, codes.InvalidArgument, "Operations have to be exactly [Start, Update].")
	}
	for text, change := range map[string]func(*startRequest){
		"CronSchedule is not allowed.":                           func(r *startRequest) { r.CronSchedule = "* * * * *" },
		"RequestEagerExecution is not supported.":                func(r *startRequest) { r.RequestEagerExecution = true },
		"Operation namespace did not match request's namespace.": func(r *startRequest) { r.Namespace = "other" },
		"WorkflowType is not set on request.":                    func(r *startRequest) { r.WorkflowType = nil },
	} {
		r := startOrder()
		change(r)
		_, err := f.ExecuteMultiOperation(t.Context(), multi(r, updateRequest()))
		multiRefused(t, err, codes.InvalidArgument, text, aborted)
	}
	for text, change := range map[string]func(*workflowservice.UpdateWorkflowExecutionRequest){
		"RunId is not allowed.":               func(r *workflowservice.UpdateWorkflowExecutionRequest) { r.WorkflowExecution.RunId = runA },
		"FirstExecutionRunId is not allowed.": func(r *workflowservice.UpdateWorkflowExecutionRequest) { r.FirstExecutionRunId = runA },
		"Update name is not set on request.":  func(r *workflowservice.UpdateWorkflowExecutionRequest) { r.Request.Input.Name = "" },
		"WorkflowId is not consistent with previous operation(s).": func(r *workflowservice.UpdateWorkflowExecutionRequest) {
			r.WorkflowExecution.WorkflowId = "v"
		},
	} {
		r := updateRequest()
		change(r)
		_, err := f.ExecuteMultiOperation(t.Context(), multi(startOrder(), r))
		multiRefused(t, err, codes.InvalidArgument, aborted, text)
	}
	if len(f.engine.inputs) != 0 {
		t.Error("a refused request reached the engine")
	}
}

func TestUpdateWithStart(t *testing.T) {
	f := newFront(t)
	answer := &execution.StartAnswer{RunID: runA, FirstRunID: runA, Started: true, Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING}
	f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
		f.engine.reply(in.(execution.StartWorkflow).Update.Waiter, &execution.UpdateAnswer{RunID: runA, Stage: stageCompleted, Outcome: outcome()}, nil)
		return answer, nil
	}
	resp, err := f.ExecuteMultiOperation(t.Context(), multi(startOrder(), updateRequest()))
	if err != nil || len(resp.Responses) != 2 {
		t.Fatalf("got %v, %v", resp, err)
	}
	start, update := resp.Responses[0].GetStartWorkflow(), resp.Responses[1].GetUpdateWorkflow()
	if !start.Started || start.RunId != runA || !proto.Equal(update.Outcome, outcome()) || update.UpdateRef.WorkflowExecution.RunId != runA {
		t.Errorf("got %v", resp)
	}
}

func TestM202UpdateFailsAfterTheStart(t *testing.T) {
	f := newFront(t)
	limit := &execution.Error{Kind: execution.ResourceExhausted, Message: "limit", Cause: enumspb.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT}
	for _, started := range []bool{true, false} {
		f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
			return &execution.StartAnswer{RunID: runA, Started: started, UpdateErr: limit}, nil
		}
		_, err := f.ExecuteMultiOperation(t.Context(), multi(startOrder(), updateRequest()))
		if started {
			multiRefused(t, err, codes.ResourceExhausted, "", "limit")
		} else {
			multiRefused(t, err, codes.ResourceExhausted, aborted, "limit")
		}
	}
	f.engine.answer = func(ids.WorkflowKey, ids.RunID, execution.Input) (any, error) {
		return nil, refuse(execution.AlreadyExists, "exists")
	}
	_, err := f.ExecuteMultiOperation(t.Context(), multi(startOrder(), updateRequest()))
	multiRefused(t, err, codes.AlreadyExists, "exists", aborted) // M-195: the start is to blame
}

func TestM203RunClosesUnderTheUpdate(t *testing.T) {
	f := newFront(t)
	closing := notFound("workflow update was aborted by closing workflow")
	tries := 0
	begin := func(startedAt int) { // the try that starts a run
		tries = 0
		f.engine.answer = func(_ ids.WorkflowKey, _ ids.RunID, in execution.Input) (any, error) {
			tries++
			w := in.(execution.StartWorkflow).Update.Waiter
			if tries == startedAt && startedAt == 2 {
				f.engine.reply(w, &execution.UpdateAnswer{RunID: runB, Stage: stageCompleted, Outcome: outcome()}, nil)
			} else {
				f.engine.reply(w, nil, closing)
			}
			return &execution.StartAnswer{RunID: runA, Started: tries == startedAt}, nil
		}
	}
	begin(2)
	if resp, err := f.ExecuteMultiOperation(t.Context(), multi(startOrder(), updateRequest())); err != nil || tries != 2 || !resp.Responses[0].GetStartWorkflow().Started {
		t.Errorf("once: %v, %v after %d tries", resp, err, tries)
	}
	begin(0)
	_, err := f.ExecuteMultiOperation(t.Context(), multi(startOrder(), updateRequest()))
	multiRefused(t, err, codes.Aborted, aborted, closing.Error())
	if tries != 2 {
		t.Errorf("twice: %d tries", tries)
	}
	begin(1)
	_, err = f.ExecuteMultiOperation(t.Context(), multi(startOrder(), updateRequest()))
	multiRefused(t, err, codes.NotFound, "", closing.Error())
	if tries != 1 {
		t.Errorf("started here: %d tries", tries)
	}
}
