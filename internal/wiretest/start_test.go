package wiretest

import (
	"strings"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/errordetails/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

type startRequest = workflowservice.StartWorkflowExecutionRequest

func TestS013_TooLargeMessage(t *testing.T) {
	bubble(t, func(r *rig) {
		_, err := r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) { s.Input = bulk(4<<20 + 1) }))
		r.refused(err, codes.ResourceExhausted, "grpc: received message larger than max…")
		r.start("w") // the connection goes on
	})
}

func TestS015_IdenticalRequestsAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		const n = 20
		var starts []*pending[*workflowservice.StartWorkflowExecutionResponse]
		for range n {
			starts = append(starts, &pending[*workflowservice.StartWorkflowExecutionResponse]{r: r, done: make(chan struct{})})
		}
		for _, p := range starts {
			go func() {
				defer close(p.done)
				p.resp, p.err = r.StartWorkflowExecution(r.ctx, startOf("w"))
			}()
		}
		run := starts[0].get().RunId
		for _, p := range starts {
			is(r, "run", p.get().RunId, run)
			is(r, "started", p.resp.Started, true)
		}
		other := make(chan error, n)
		for range n {
			go func() {
				_, err := r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) { s.RequestId = "other" }))
				other <- err
			}()
		}
		for range n {
			r.refused(<-other, codes.AlreadyExists, "Workflow execution is already running. WorkflowId: w, RunId: "+run+".")
		}
		signals, cancels, ends := make(chan error, n), make(chan error, n), make(chan error, n)
		for range n {
			go func() { signals <- r.trySignal("w", "", "s", "same") }()
			go func() {
				_, err := r.RequestCancelWorkflowExecution(r.ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: ns, WorkflowExecution: wf("w", ""), RequestId: "c"})
				cancels <- err
			}()
		}
		for range n {
			r.ok(<-signals)
			r.ok(<-cancels)
		}
		for range n {
			go func() {
				_, err := r.TerminateWorkflowExecution(r.ctx, &workflowservice.TerminateWorkflowExecutionRequest{Namespace: ns, WorkflowExecution: wf("w", "")})
				ends <- err
			}()
		}
		ended := 0
		for range n {
			if err := <-ends; err == nil {
				ended++
			} else {
				r.refused(err, codes.NotFound, "workflow execution already completed")
			}
		}
		is(r, "successful terminations", ended, 1)
		events := r.stored("w", run)
		is(r, "signals and cancel requests", strings.Count(list(events), "Signaled")+strings.Count(list(events), "CancelRequested"), 2)
	})
}

func TestS016_MissingParts(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, c := range []struct {
			text   string
			change func(*startRequest)
		}{
			{"WorkflowId is not set on request.", func(s *startRequest) { s.WorkflowId = "" }},
			{"WorkflowType is not set on request.", func(s *startRequest) { s.WorkflowType = nil }},
			{"WorkflowType is not set on request.", func(s *startRequest) { s.WorkflowType.Name = "" }},
			{"TaskQueue is not set on request.", func(s *startRequest) { s.TaskQueue = nil }},
			{"TaskQueue is not set on request.", func(s *startRequest) { s.TaskQueue.Name = "" }},
		} {
			_, err := r.StartWorkflowExecution(r.ctx, startOf("w", c.change))
			r.refused(err, codes.InvalidArgument, c.text)
		}
		is(r, "runs", len(r.listed("")), 0)
	})
}

func TestS017_StartSaysWhatItStarted(t *testing.T) {
	bubble(t, func(r *rig) {
		resp := must[*workflowservice.StartWorkflowExecutionResponse](r)(r.StartWorkflowExecution(r.ctx, startOf("w")))
		if resp.RunId == "" {
			r.t.Error("no run ID")
		}
		is(r, "started", resp.Started, true)
		is(r, "status", resp.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		is(r, "first run", resp.FirstExecutionRunId, resp.RunId)
		link := resp.Link.GetWorkflowEvent()
		is(r, "link's namespace", link.GetNamespace(), ns)
		is(r, "link's workflow", link.GetWorkflowId(), "w")
		is(r, "link's run", link.GetRunId(), resp.RunId)
		is(r, "link's event", link.GetEventRef().GetEventId(), 1)
		is(r, "link's event type", link.GetEventRef().GetEventType(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
		r.history("w", resp.RunId, "Started WFTScheduled")
	})
}

func TestS018_StartIsAtOnceInHistory(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		info := r.describe("w", run).WorkflowExecutionInfo
		is(r, "history length", info.HistoryLength, 2)
		r.same(info.ExecutionTime, info.StartTime)
		is(r, "listed length", r.listed("WorkflowId = 'w'")[0].HistoryLength, 2)
		r.history("w", run, "Started WFTScheduled")
	})
}

func TestS020_SameRequestAfterTheEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		r.take().complete(completeRun("done"))
		resp := must[*workflowservice.StartWorkflowExecutionResponse](r)(r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) {
			s.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
		})))
		is(r, "run", resp.RunId, run)
		is(r, "started", resp.Started, true)
		is(r, "status", resp.Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
		is(r, "runs", len(r.listed("WorkflowId = 'w'")), 1)
		r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

func TestS021_RefusalNamesTheRunningOne(t *testing.T) {
	bubble(t, func(r *rig) {
		first := r.start("w")
		r.take().complete(continueAsNew())
		second := r.describe("w", "").WorkflowExecutionInfo.Execution.RunId
		_, err := r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) { s.RequestId = "other" }))
		r.refused(err, codes.AlreadyExists, "Workflow execution is already running. WorkflowId: w, RunId: "+second+".")
		d := detail[*errordetails.WorkflowExecutionAlreadyStartedFailure](r, err)
		is(r, "run", d.RunId, second)
		is(r, "first run", d.FirstExecutionRunId, first)
		if d.StartRequestId == "" || d.StartRequestId == "other" {
			r.t.Errorf("start request is %q", d.StartRequestId)
		}
	})
}

func TestS026_TerminateIfRunning(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.start("w")
		replace := startOf("w", func(s *startRequest) {
			s.RequestId, s.WorkflowIdReusePolicy = "second", enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
		})
		resp := must[*workflowservice.StartWorkflowExecutionResponse](r)(r.StartWorkflowExecution(r.ctx, replace))
		is(r, "started", resp.Started, true)
		end := last(r, r.history("w", old, "Started WFTScheduled Terminated"), "Terminated").GetWorkflowExecutionTerminatedEventAttributes()
		is(r, "reason", end.Reason, "TerminateIfRunning WorkflowIdReusePolicy")
		is(r, "identity", end.Identity, "history-service")
		r.same(end.Details, text("terminated by new runID: "+resp.RunId))
		r.history("w", "", "Started WFTScheduled")
		is(r, "current run", r.describe("w", "").WorkflowExecutionInfo.Execution.RunId, resp.RunId)
		for _, p := range []enumspb.WorkflowIdConflictPolicy{
			enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
		} {
			replace.RequestId, replace.WorkflowIdConflictPolicy = "third", p
			_, err := r.StartWorkflowExecution(r.ctx, replace)
			r.refused(err, codes.InvalidArgument, "Invalid WorkflowIDReusePolicy…")
		}
		is(r, "runs", len(r.listed("WorkflowId = 'w'")), 2)
	})
}

func TestS031_NoRetryUnlessAsked(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(failRun(application("Broken")))
		events := r.history("w", "", "Started WFTScheduled WFTStarted WFTCompleted Failed")
		if p := started(events).RetryPolicy; p != nil {
			r.t.Errorf("the run has the retry policy %v", p)
		}
		failed := last(r, events, "Failed").GetWorkflowExecutionFailedEventAttributes()
		is(r, "retry state", failed.RetryState, enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET)
		is(r, "successor", failed.NewExecutionRunId, "")
		r.pass(time.Hour)
		is(r, "runs", len(r.listed("WorkflowId = 'w'")), 1)
		is(r, "status", r.status("w", ""), enumspb.WORKFLOW_EXECUTION_STATUS_FAILED)
	})
}

func TestS039_NullValuesAreDropped(t *testing.T) {
	bubble(t, func(r *rig) {
		null := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/null")}}
		values := map[string]*commonpb.Payload{"Key": payload(`"k"`), "Whole": payload("null"), "Real": null, "Keys": payload("[]"), "Words": {}}
		memo := map[string]*commonpb.Payload{"a": payload(`"k"`), "b": payload("null"), "c": null, "d": {}}
		r.start("w", func(s *startRequest) {
			s.SearchAttributes, s.Memo = &commonpb.SearchAttributes{IndexedFields: values}, &commonpb.Memo{Fields: memo}
		})
		only := func(what string, m *commonpb.Memo, a *commonpb.SearchAttributes) {
			r.t.Helper()
			if len(m.GetFields()) != 1 || string(m.GetFields()["a"].GetData()) != `"k"` {
				r.t.Errorf("memo of %s: %v", what, m)
			}
			if len(a.GetIndexedFields()) != 1 || string(a.GetIndexedFields()["Key"].GetData()) != `"k"` {
				r.t.Errorf("search attributes of %s: %v", what, a)
			}
		}
		e := started(r.stored("w", ""))
		only("the event", e.Memo, e.SearchAttributes)
		d := r.describe("w", "").WorkflowExecutionInfo
		only("the description", d.Memo, d.SearchAttributes)
		l := r.listed("Key = 'k' AND Whole IS NULL AND Real IS NULL AND Keys IS NULL AND Words IS NULL")
		if len(l) != 1 {
			r.t.Fatalf("the list has %d runs", len(l))
		}
		only("the list", l[0].Memo, l[0].SearchAttributes)
	})
}

func TestS041_UserMetadata(t *testing.T) {
	bubble(t, func(r *rig) {
		m := &sdkpb.UserMetadata{Summary: payload(`"in short"`), Details: payload(`"` + strings.Repeat("long ", 1000) + `"`)}
		r.start("w", func(s *startRequest) { s.UserMetadata = m })
		r.same(r.stored("w", "")[0].UserMetadata, m)
		r.same(r.describe("w", "").ExecutionConfig.UserMetadata, m)
		for _, bad := range []*sdkpb.UserMetadata{
			{Summary: payload(`"` + strings.Repeat("x", 400) + `"`)}, {Details: payload(`"` + strings.Repeat("x", 20_000) + `"`)},
		} {
			_, err := r.StartWorkflowExecution(r.ctx, startOf("v", func(s *startRequest) { s.UserMetadata = bad }))
			r.refused(err, codes.InvalidArgument, "UserMetadata…")
		}
		_, err := r.DescribeWorkflowExecution(r.ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: ns, Execution: wf("v", "")})
		r.refused(err, codes.NotFound, "workflow not found for ID: v")
	})
}

func TestS042_InternalQueuesAreRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		const refusal = "cannot use internal per-namespace task queue"
		for _, name := range []string{"/_sys/q/1", "temporal-sys-per-ns-tq"} {
			_, err := r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) { s.TaskQueue = queue(name) }))
			r.refused(err, codes.InvalidArgument, refusal)
			_, err = r.SignalWithStartWorkflowExecution(r.ctx, &workflowservice.SignalWithStartWorkflowExecutionRequest{
				Namespace: ns, WorkflowId: "w", WorkflowType: &commonpb.WorkflowType{Name: "Type"}, TaskQueue: queue(name), SignalName: "s",
			})
			r.refused(err, codes.InvalidArgument, refusal)
		}
		for i, c := range []struct {
			bad   *commandpb.Command
			cause string
		}{
			{startChild("child", func(a *commandpb.StartChildWorkflowExecutionCommandAttributes) {
				a.TaskQueue = queue("temporal-sys-per-ns-tq")
			}), "BadStartChildExecutionAttributes"},
			{continueAsNew(func(a *commandpb.ContinueAsNewWorkflowExecutionCommandAttributes) { a.TaskQueue = queue("/_sys/q/1") }), "BadContinueAsNewAttributes"},
		} {
			id := string(rune('a' + i))
			r.start(id)
			r.refused(r.take().try(c.bad), codes.InvalidArgument, c.cause+": "+refusal+"…")
			r.history(id, "", "Started WFTScheduled WFTStarted WFTFailed")
			r.terminate(id)
		}
	})
}

func TestS043_ContentsPassUnchanged(t *testing.T) {
	bubble(t, func(r *rig) {
		odd := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("mine/own"), "": {0, 255}}, Data: []byte{0, 1, 254, 255, '\n'}}
		header := &commonpb.Header{Fields: map[string]*commonpb.Payload{"trace": odd, "empty": {}}}
		memo := &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": odd}}
		input := &commonpb.Payloads{Payloads: []*commonpb.Payload{odd, {}, payload("1")}}
		result := &commonpb.Payloads{Payloads: []*commonpb.Payload{odd}}
		r.start("w", func(s *startRequest) {
			s.Header, s.Memo, s.Input, s.LastCompletionResult = header, memo, input, result
			s.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Words": payload(`"Ünï  ⚙"`)}}
		})
		for _, events := range [][]*historyEvent{r.stored("w", ""), r.take().History.Events} {
			e := started(events)
			r.same(e.Header, header)
			r.same(e.Memo, memo)
			r.same(e.Input, input)
			r.same(e.LastCompletionResult, result)
			is(r, "search attribute", string(e.SearchAttributes.IndexedFields["Words"].Data), `"Ünï  ⚙"`)
			is(r, "its type", string(e.SearchAttributes.IndexedFields["Words"].Metadata["type"]), "Text")
		}
		d := r.describe("w", "").WorkflowExecutionInfo
		r.same(d.Memo, memo)
		is(r, "described search attribute", string(d.SearchAttributes.IndexedFields["Words"].Data), `"Ünï  ⚙"`)
	})
}

func TestS044_Priority(t *testing.T) {
	bubble(t, func(r *rig) {
		for text, p := range map[string]*commonpb.Priority{
			"priority key can't be negative": {PriorityKey: -1}, "fairness key length exceeds limit…": {FairnessKey: strings.Repeat("x", 65)},
		} {
			_, err := r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) { s.Priority = p }))
			r.refused(err, codes.InvalidArgument, text)
		}
		p := &commonpb.Priority{PriorityKey: 2, FairnessKey: strings.Repeat("x", 64), FairnessWeight: 3}
		r.start("w", func(s *startRequest) { s.Priority = p })
		r.same(started(r.stored("w", "")).Priority, p)
		r.same(r.describe("w", "").WorkflowExecutionInfo.Priority, p)
		r.take().complete(schedule("a"), schedule("b", func(a *commandpb.ScheduleActivityTaskCommandAttributes) {
			a.Priority = &commonpb.Priority{PriorityKey: 1}
		}))
		first, second := r.takeActivity(), r.takeActivity()
		is(r, "first activity", first.ActivityId, "b")
		r.same(first.Priority, &commonpb.Priority{PriorityKey: 1, FairnessKey: p.FairnessKey, FairnessWeight: 3})
		r.same(second.Priority, p)
	})
}

func TestS045_CallbacksAreRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		_, err := r.StartWorkflowExecution(r.ctx, startOf("w", func(s *startRequest) {
			s.CompletionCallbacks = []*commonpb.Callback{{Variant: &commonpb.Callback_Nexus_{Nexus: &commonpb.Callback_Nexus{Url: "http://example.com/done"}}}}
		}))
		r.refused(err, codes.InvalidArgument, "invalid callback url: url does not match any configured callback address: http://example.com/done")
		is(r, "runs", len(r.listed("")), 0)
	})
}

func TestS032_StartDelay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) { s.WorkflowStartDelay = durationpb.New(3 * time.Second) })
		r.history("w", "", "Started")
		info := r.describe("w", "").WorkflowExecutionInfo
		is(r, "delay", info.ExecutionTime.AsTime().Sub(info.StartTime.AsTime()), 3*time.Second)
		r.pass(3*time.Second - time.Millisecond)
		r.history("w", "", "Started")
		r.pass(time.Millisecond)
		r.settle()
		r.history("w", "", "Started WFTScheduled")
		r.take().complete(completeRun("done"))
	})
}

func TestS035_Cron(t *testing.T) {
	bubble(t, func(r *rig) {
		// The bubble's time begins at midnight.
		r.pass(20 * time.Minute)
		r.start("w", func(s *startRequest) { s.CronSchedule = "0 * * * *" })
		e := started(r.history("w", "", "Started"))
		is(r, "initiator", e.Initiator, enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE)
		is(r, "backoff", e.FirstWorkflowTaskBackoff.AsDuration(), 40*time.Minute)
		is(r, "schedule", e.CronSchedule, "0 * * * *")
		r.pass(40 * time.Minute)
		k := r.take()
		is(r, "scheduled at", k.ScheduledTime.AsTime().Format("15:04"), "01:00")
		r.terminate("w")
	})
}
