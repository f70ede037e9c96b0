package wiretest

import (
	"slices"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

type historyRequest = workflowservice.GetWorkflowExecutionHistoryRequest

func (r *rig) page(req *historyRequest) *workflowservice.GetWorkflowExecutionHistoryResponse {
	r.t.Helper()
	req.Namespace = ns
	return must[*workflowservice.GetWorkflowExecutionHistoryResponse](r)(r.GetWorkflowExecutionHistory(r.ctx, req))
}

// pages reads to the end and returns the size of each page.
func (r *rig) pages(req *historyRequest) (events []*historyEvent, sizes []int) {
	r.t.Helper()
	for {
		p := r.page(req)
		events, sizes = append(events, p.History.Events...), append(sizes, len(p.History.Events))
		if req.NextPageToken = p.NextPageToken; len(req.NextPageToken) == 0 {
			return events, sizes
		}
	}
}

func TestS168_Pages(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 300 {
			r.signal("w", "s")
		}
		all := r.stored("w", "")
		for size, largest := range map[int32]int{2: 2, 0: 256, 1000: 256, -1: 256, 100: 100} {
			events, sizes := r.pages(&historyRequest{Execution: wf("w", ""), MaximumPageSize: size})
			is(r, "largest page", slices.Max(sizes), largest)
			is(r, "events", len(events), len(all))
			for i := range events {
				r.same(events[i], all[i])
			}
		}
	})
}

func TestS169_LongPoll(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		req := &historyRequest{Execution: wf("w", ""), WaitNewEvent: true}
		p := r.page(req)
		is(r, "events", list(p.History.Events), "Started WFTScheduled")
		req.NextPageToken = p.NextPageToken
		begun := time.Now()
		p = r.page(req)
		is(r, "events while nothing happens", len(p.History.Events), 0)
		if len(p.NextPageToken) == 0 {
			r.t.Fatal("no token though the run is open")
		}
		is(r, "the wait", time.Since(begun), 20*time.Second)
		req.NextPageToken = p.NextPageToken
		wait := async(r, func() (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return r.GetWorkflowExecutionHistory(r.ctx, req)
		})
		wait.waits()
		begun = time.Now()
		r.signal("w", "s")
		p = wait.get()
		is(r, "the wait", time.Since(begun), 0)
		is(r, "new events", list(p.History.Events), "Signaled")
		req.NextPageToken = p.NextPageToken
		wait = async(r, func() (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return r.GetWorkflowExecutionHistory(r.ctx, req)
		})
		r.terminate("w")
		p = wait.get()
		is(r, "the end", list(p.History.Events), "Terminated")
		is(r, "token after the end", len(p.NextPageToken), 0)
	})
}

func TestS170_CloseEvent(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete()
		req := func(wait bool) *historyRequest {
			return &historyRequest{Namespace: ns, Execution: wf("w", ""), WaitNewEvent: wait, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT}
		}
		p := r.page(req(false))
		if len(p.History.GetEvents()) != 0 || len(p.NextPageToken) != 0 {
			r.t.Errorf("open, no wait: %v", p)
		}
		begun := time.Now()
		p = r.page(req(true))
		is(r, "the wait", time.Since(begun), 20*time.Second)
		if len(p.History.GetEvents()) != 0 || len(p.NextPageToken) == 0 {
			r.t.Errorf("open, wait: %v", p)
		}
		next := req(true)
		next.NextPageToken = p.NextPageToken
		wait := async(r, func() (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return r.GetWorkflowExecutionHistory(r.ctx, next)
		})
		r.signal("w", "s")
		wait.waits()
		r.terminate("w")
		for _, p := range []*workflowservice.GetWorkflowExecutionHistoryResponse{wait.get(), r.page(req(false)), r.page(req(true))} {
			is(r, "closed", list(p.History.Events), "Terminated")
			is(r, "token", len(p.NextPageToken), 0)
		}
	})
}

func TestS171_Tokens(t *testing.T) {
	bubble(t, func(r *rig) {
		first := r.start("w")
		token := r.page(&historyRequest{Execution: wf("w", ""), MaximumPageSize: 1}).NextPageToken
		r.terminate("w")
		second := r.start("w", func(s *startRequest) { s.RequestId = "second" })
		try := func(run string, token []byte) error {
			_, err := r.GetWorkflowExecutionHistory(r.ctx, &historyRequest{Namespace: ns, Execution: wf("w", run), NextPageToken: token})
			return err
		}
		r.refused(try(second, token), codes.InvalidArgument, "RunId in the request does not match the NextPageToken.")
		r.refused(try(first, []byte("nonsense")), codes.InvalidArgument, "Invalid NextPageToken.")
		r.refused(try(first, token[:len(token)-1]), codes.InvalidArgument, "Invalid NextPageToken.")
		for i := range token {
			broken := slices.Clone(token)
			broken[i] ^= 0x55
			if err := try("", broken); err != nil {
				r.refused(err, codes.InvalidArgument, "Invalid NextPageToken.")
			}
		}
		// A token stays with its run though another is the current one.
		p := r.page(&historyRequest{Execution: wf("w", ""), NextPageToken: token})
		is(r, "events", list(p.History.Events), "WFTScheduled")
	})
}

func TestS172_VirtualEvents(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.ok(r.take().fail(broken))
		const real = "Started WFTScheduled WFTStarted WFTFailed"
		seen := func(client string) string {
			p := must[*workflowservice.GetWorkflowExecutionHistoryResponse](r)(r.GetWorkflowExecutionHistory(r.as(client), &historyRequest{Namespace: ns, Execution: wf("w", "")}))
			for i, e := range p.History.Events {
				is(r, "event ID", e.EventId, int64(i)+1)
			}
			return list(p.History.Events)
		}
		is(r, "an SDK", seen("temporal-go"), real+" WFTScheduled")
		is(r, "the CLI", seen("temporal-cli"), real)
		is(r, "the UI", seen("temporal-ui"), real)
		k := r.take()
		is(r, "an SDK", seen("temporal-go"), real+" WFTScheduled WFTStarted")
		is(r, "the CLI", seen("temporal-cli"), real)
		is(r, "Describe's length", r.describe("w", "").WorkflowExecutionInfo.HistoryLength, 4)
		k.complete(completeRun("done"))
	})
}

func TestS174_ReverseHistory(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 10 {
			r.signal("w", "s")
		}
		r.ok(r.take().fail(broken)) // there is a virtual event that must not show
		forward := r.stored("w", "")
		for _, size := range []int32{0, 1, 2, 3, 100} {
			var back []*historyEvent
			req := &workflowservice.GetWorkflowExecutionHistoryReverseRequest{Namespace: ns, Execution: wf("w", ""), MaximumPageSize: size}
			for {
				p := must[*workflowservice.GetWorkflowExecutionHistoryReverseResponse](r)(r.GetWorkflowExecutionHistoryReverse(r.ctx, req))
				if size > 0 && len(p.History.Events) > int(size) {
					r.t.Errorf("a page of %d events, %d were asked for", len(p.History.Events), size)
				}
				back = append(back, p.History.Events...)
				if req.NextPageToken = p.NextPageToken; len(req.NextPageToken) == 0 {
					break
				}
			}
			slices.Reverse(back)
			if !slices.EqualFunc(back, forward, func(a, b *historyEvent) bool { return proto.Equal(a, b) }) {
				r.t.Errorf("with pages of %d: %s", size, list(back))
			}
		}
	})
}

func TestS175_Describe(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.start("w", func(s *startRequest) {
			s.WorkflowExecutionTimeout, s.WorkflowRunTimeout, s.WorkflowTaskTimeout = seconds(3600), seconds(600), seconds(20)
		})
		d := r.describe("w", "")
		p := d.PendingWorkflowTask
		is(r, "task", p.GetState(), enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED)
		is(r, "attempt", p.GetAttempt(), 1)
		r.same(p.GetScheduledTime(), d.WorkflowExecutionInfo.StartTime)
		r.same(p.GetOriginalScheduledTime(), d.WorkflowExecutionInfo.StartTime)

		k := r.take()
		is(r, "task", r.describe("w", "").PendingWorkflowTask.GetState(), enumspb.PENDING_WORKFLOW_TASK_STATE_STARTED)
		r.ok(k.fail(broken))
		is(r, "attempt", r.describe("w", "").PendingWorkflowTask.GetAttempt(), 2)
		r.take().complete(schedule("a"), startChild("c"))
		r.takeOf("c").complete()
		d = r.describe("w", "")
		c, x, i := d.ExecutionConfig, d.WorkflowExtendedInfo, d.WorkflowExecutionInfo
		is(r, "queue", c.TaskQueue.GetName(), "q")
		is(r, "execution timeout", c.WorkflowExecutionTimeout.AsDuration(), time.Hour)
		is(r, "run timeout", c.WorkflowRunTimeout.AsDuration(), 10*time.Minute)
		is(r, "task timeout", c.DefaultWorkflowTaskTimeout.AsDuration(), 20*time.Second)
		is(r, "execution expires", x.ExecutionExpirationTime.AsTime(), i.StartTime.AsTime().Add(time.Hour))
		is(r, "run expires", x.RunExpirationTime.AsTime(), i.StartTime.AsTime().Add(10*time.Minute))
		r.same(x.OriginalStartTime, i.StartTime)
		request := x.RequestIdInfos["start-w"]
		is(r, "start request's event", request.GetEventId(), 1)
		is(r, "its type", request.GetEventType(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
		r.same(i.Execution, wf("w", run))
		r.same(i.Type, &commonpb.WorkflowType{Name: "Type"})
		r.same(i.RootExecution, wf("w", run))
		is(r, "first run", i.FirstRunId, run)
		is(r, "queue", i.TaskQueue, "q")
		is(r, "status", i.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		is(r, "length", i.HistoryLength, int64(len(r.stored("w", ""))))
		if i.Memo == nil || i.SearchAttributes == nil || i.CloseTime != nil || i.ExecutionDuration != nil || i.HistorySizeBytes == 0 || i.StateTransitionCount == 0 {
			r.t.Errorf("described: %v", i)
		}
		if len(d.PendingActivities) != 1 || d.PendingActivities[0].ActivityId != "a" || d.PendingActivities[0].ActivityType.GetName() != "Pay" {
			r.t.Errorf("activities: %v", d.PendingActivities)
		}
		if len(d.PendingChildren) != 1 || d.PendingChildren[0].WorkflowId != "c" || d.PendingChildren[0].WorkflowTypeName != "Child" {
			r.t.Errorf("children: %v", d.PendingChildren)
		}
		_, err := r.DescribeWorkflowExecution(r.ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: ns, Execution: wf("nobody", "")})
		r.refused(err, codes.NotFound, "workflow not found for ID: nobody")
	})
}

func TestS176_DescribeAfterTheEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.take().complete(schedule("a"), startTimer("t", time.Hour), startChild("c", func(a *childAttributes) { a.ParentClosePolicy = enumspb.PARENT_CLOSE_POLICY_ABANDON }))
		r.pass(5 * time.Second)
		r.terminate("w")
		for range 2 {
			d := r.describe("w", "")
			if len(d.PendingActivities)+len(d.PendingChildren) > 0 || d.PendingWorkflowTask != nil {
				r.t.Errorf("pending after the end: %v", d)
			}
			i := d.WorkflowExecutionInfo
			is(r, "status", i.Status, enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
			is(r, "closed", i.CloseTime.AsTime(), i.StartTime.AsTime().Add(5*time.Second))
			is(r, "duration", i.ExecutionDuration.AsDuration(), 5*time.Second)
			r.pass(23 * time.Hour)
		}
		r.noActivity()
	})
}
