package wiretest

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/errordetails/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
)

const busyClosing = "workflow operation can not be applied because workflow is closing"

func TestM004_SignalIsRecordedAsSent(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		header := &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("1")}}
		input := &commonpb.Payloads{Payloads: []*commonpb.Payload{payload("1"), {Data: []byte{0, 255}}}}
		_, err := r.SignalWorkflowExecution(r.ctx, &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: ns, WorkflowExecution: wf("w", ""), SignalName: "s", Input: input, Identity: "me", Header: header, RequestId: "r",
		})
		r.ok(err)
		e := r.history("w", "", "Started WFTScheduled Signaled")[2]
		a := e.GetWorkflowExecutionSignaledEventAttributes()
		is(r, "name", a.SignalName, "s")
		is(r, "identity", a.Identity, "me")
		is(r, "request ID", a.RequestId, "r")
		r.same(a.Input, input)
		r.same(a.Header, header)
	})
}

func TestM006_SameRequestAfterTheEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		r.ok(r.trySignal("w", "", "s", "r"))
		r.take().complete(completeRun("done"))
		r.ok(r.trySignal("w", "", "s", "r"))
		r.ok(r.trySignal("w", run, "s", "r"))
		r.restart()
		r.ok(r.trySignal("w", run, "s", "r"))
		r.history("w", run, "Started WFTScheduled Signaled WFTStarted WFTCompleted Completed")
	})
}

func TestM008_SignalsWithoutRequestID(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.ok(r.trySignal("w", "", "s", ""))
		r.ok(r.trySignal("w", "", "s", ""))
		r.history("w", "", "Started WFTScheduled Signaled Signaled")
	})
}

func TestM009_SignalToAClosedRun(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w")
		r.terminate("w")
		for _, id := range []string{"", run} {
			r.refused(r.trySignal("w", id, "s", "new"), codes.NotFound, "workflow execution already completed")
		}
		r.history("w", run, "Started WFTScheduled Terminated")
	})
}

func TestM011_SignalAfterContinueAsNew(t *testing.T) {
	bubble(t, func(r *rig) {
		old := r.start("w")
		r.take().complete(continueAsNew())
		r.signal("w", "s")
		last(r, r.stored("w", ""), "Signaled")
		r.refused(r.trySignal("w", old, "s", ""), codes.NotFound, "workflow execution already completed")
		r.history("w", old, "Started WFTScheduled WFTStarted WFTCompleted ContinuedAsNew")
	})
}

func TestM017_SignalWhileTheCloseIsTriedAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		r.signal("w", "first")
		r.refused(k.try(completeRun("done")), codes.InvalidArgument, "UnhandledCommand")
		k = r.take()
		err := r.trySignal("w", "", "second", "")
		r.refused(err, codes.ResourceExhausted, busyClosing)
		is(r, "cause", detail[*errordetails.ResourceExhaustedFailure](r, err).Cause, enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)
		k.complete(completeRun("done"))
		r.history("w", "", "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled WFTStarted WFTCompleted Completed")
	})
}

func TestM018_SignalBeforeTheCloseIsTriedAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		k := r.take()
		r.signal("w", "first")
		r.refused(k.try(completeRun("done")), codes.InvalidArgument, "UnhandledCommand")
		r.signal("w", "second")
		k = r.take()
		is(r, "its history", list(k.History.Events), "Started WFTScheduled WFTStarted WFTFailed Signaled WFTScheduled Signaled WFTStarted")
		k.complete(completeRun("done"))
	})
}

func TestM019_SignalDuringTheFirstBackoff(t *testing.T) {
	bubble(t, func(r *rig) {
		for id, change := range map[string]func(*startRequest){
			"delayed": func(s *startRequest) { s.WorkflowStartDelay = seconds(30) }, "cron": func(s *startRequest) { s.CronSchedule = "@every 30s" },
		} {
			r.start(id, change)
			r.signal(id, "s")
			r.idle()
			r.history(id, "", "Started Signaled")
			begun := time.Now()
			k := r.take()
			if d := time.Since(begun); d < 28*time.Second || d > 30*time.Second {
				r.t.Errorf("%s waited %v", id, d)
			}
			is(r, "its history", list(k.History.Events), "Started Signaled WFTScheduled WFTStarted")
			r.terminate(id)
		}
	})
}

func (r *rig) signalWithStart(id, requestID string, change ...func(*workflowservice.SignalWithStartWorkflowExecutionRequest)) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	req := &workflowservice.SignalWithStartWorkflowExecutionRequest{
		Namespace: ns, WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "Type"}, TaskQueue: queue("q"), RequestId: requestID, SignalName: "s", SignalInput: text("s"),
	}
	for _, c := range change {
		c(req)
	}
	return r.SignalWithStartWorkflowExecution(r.ctx, req)
}

func TestM036_SameSignalWithStartTwice(t *testing.T) {
	bubble(t, func(r *rig) {
		first := must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "r"))
		is(r, "started", first.Started, true)
		again := must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "r"))
		is(r, "run", again.RunId, first.RunId)
		r.history("w", "", "Started Signaled WFTScheduled")
		for range 2 {
			more := must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", "r2"))
			is(r, "run", more.RunId, first.RunId)
			is(r, "started", more.Started, false)
		}
		r.history("w", "", "Started Signaled WFTScheduled Signaled")
	})
}

func TestM039_SignalWithStartAndBackoff(t *testing.T) {
	bubble(t, func(r *rig) {
		for id, change := range map[string]func(*workflowservice.SignalWithStartWorkflowExecutionRequest){
			"delayed": func(s *workflowservice.SignalWithStartWorkflowExecutionRequest) { s.WorkflowStartDelay = seconds(30) },
			"cron":    func(s *workflowservice.SignalWithStartWorkflowExecutionRequest) { s.CronSchedule = "@every 30s" },
		} {
			must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart(id, "", change))
			r.history(id, "", "Started Signaled")
			r.idle()
			r.pass(29 * time.Second)
			is(r, "its history", list(r.take().History.Events), "Started Signaled WFTScheduled WFTStarted")
			r.terminate(id)
		}
	})
}

func TestM040_SignalWithStartEndsTheDelay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) { s.WorkflowStartDelay = seconds(3600) })
		resp := must[*workflowservice.SignalWithStartWorkflowExecutionResponse](r)(r.signalWithStart("w", ""))
		is(r, "started", resp.Started, false)
		begun := time.Now()
		k := r.take()
		is(r, "the wait", time.Since(begun), 0)
		is(r, "its history", list(k.History.Events), "Started Signaled WFTScheduled WFTStarted")
		k.complete(completeRun("done"))
	})
}

func TestS033_DuringTheStartDelay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w", func(s *startRequest) { s.WorkflowStartDelay = seconds(3600) })
		r.signal("w", "s")
		r.idle()
		r.cancel("w")
		is(r, "its history", list(r.take().History.Events), "Started Signaled CancelRequested WFTScheduled WFTStarted")
		r.terminate("w")
		r.start("v", func(s *startRequest) { s.WorkflowStartDelay = seconds(3600) })
		r.terminate("v")
		r.history("v", "", "Started Terminated")
	})
}
