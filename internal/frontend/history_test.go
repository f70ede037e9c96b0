package frontend

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/perdure/perdure/internal/execution"
)

func (f front) history(t testing.TB, ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest) *workflowservice.GetWorkflowExecutionHistoryResponse {
	t.Helper()
	if r.Namespace == "" {
		r.Namespace = f.ns.Name
	}
	if r.Execution == nil {
		r.Execution = execOf("w", "")
	}
	resp, err := f.GetWorkflowExecutionHistory(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return overWire(t, resp)
}

func completed(successor string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{
			WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{NewExecutionRunId: successor, Result: payloads(3)},
		},
	}
}

func TestS168HistoryPages(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 601)
	for _, tt := range []struct{ size, first int32 }{{2, 2}, {256, 256}, {0, 256}, {1000, 256}, {-1, 256}} {
		var all []int64
		r := &workflowservice.GetWorkflowExecutionHistoryRequest{MaximumPageSize: tt.size}
		for page := 0; page == 0 || len(r.NextPageToken) > 0; page++ {
			resp := f.history(t, t.Context(), r)
			if got := eventIDs(resp.History); page == 0 && len(got) != int(tt.first) {
				t.Errorf("size %d: the first page has %d events", tt.size, len(got))
			} else {
				all = append(all, got...)
			}
			r.NextPageToken = resp.NextPageToken
		}
		if !slices.Equal(all, upTo(601)) {
			t.Errorf("size %d: the pages have %d events: %v", tt.size, len(all), all)
		}
	}
}

// What is appended between the pages is not read by a reader who does not wait.
func TestHistoryEndsWhereItEndedAtFirst(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 3)
	first := f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{MaximumPageSize: 2})
	f.engine.add(5)
	second := f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{MaximumPageSize: 2, NextPageToken: first.NextPageToken})
	if got := eventIDs(second.History); !slices.Equal(got, []int64{3}) || len(second.NextPageToken) != 0 {
		t.Errorf("second page %v, token %x", got, second.NextPageToken)
	}
}

func TestS169HistoryLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.engine.begin(f.key("w").Run(runA), 2)
		wait := func(token []byte) *workflowservice.GetWorkflowExecutionHistoryResponse {
			return f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true, NextPageToken: token})
		}
		begin := time.Now()
		resp := wait(nil)
		if got := eventIDs(resp.History); !slices.Equal(got, []int64{1, 2}) || len(resp.NextPageToken) == 0 || time.Since(begin) != 0 {
			t.Fatalf("what is there: %v, token %x, after %s", got, resp.NextPageToken, time.Since(begin))
		}
		resp = wait(resp.NextPageToken)
		if got := eventIDs(resp.History); len(got) != 0 || len(resp.NextPageToken) == 0 || time.Since(begin) != historyWait {
			t.Fatalf("nothing new: %v, token %x, after %s", got, resp.NextPageToken, time.Since(begin))
		}
		begin = time.Now()
		time.AfterFunc(3*time.Second, func() { f.engine.add(1) })
		resp = wait(resp.NextPageToken)
		if got := eventIDs(resp.History); !slices.Equal(got, []int64{3}) || len(resp.NextPageToken) == 0 || time.Since(begin) != 3*time.Second {
			t.Fatalf("a new event: %v, token %x, after %s", got, resp.NextPageToken, time.Since(begin))
		}
		time.AfterFunc(time.Second, func() { f.engine.close(completed("")) })
		resp = wait(resp.NextPageToken)
		if got := eventIDs(resp.History); !slices.Equal(got, []int64{4}) || len(resp.NextPageToken) != 0 {
			t.Fatalf("the close: %v, token %x", got, resp.NextPageToken)
		}
	})
}

// A caller with a deadline below the usual wait gets its answer before the deadline.
func TestHistoryLongPollKeepsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.engine.begin(f.key("w").Run(runA), 1)
		for _, filter := range []enumspb.HistoryEventFilterType{enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			token := historyToken{Run: f.engine.state.Key, Next: 2}.encode(tokenHistory)
			resp := f.history(t, ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true, NextPageToken: token, HistoryEventFilterType: filter})
			if len(resp.NextPageToken) == 0 || ctx.Err() != nil {
				t.Errorf("%v: token %x, context %v", filter, resp.NextPageToken, ctx.Err())
			}
		}
	})
}

func TestS170CloseEventFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t)
		f.engine.begin(f.key("w").Run(runA), 4)
		read := func(wait bool, token []byte) ([]int64, []byte) {
			resp := f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{
				WaitNewEvent: wait, NextPageToken: token, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
			})
			return eventIDs(resp.History), resp.NextPageToken
		}
		if got, token := read(false, nil); len(got) != 0 || len(token) != 0 {
			t.Errorf("open, no wait: %v, token %x", got, token)
		}
		begin := time.Now()
		time.AfterFunc(time.Second, func() { f.engine.add(1) }) // news, but not the news waited for
		got, token := read(true, nil)
		if len(got) != 0 || len(token) == 0 || time.Since(begin) != historyWait {
			t.Errorf("open, wait: %v, token %x, after %s", got, token, time.Since(begin))
		}
		time.AfterFunc(time.Second, func() { f.engine.close(completed("")) })
		if got, token := read(true, token); !slices.Equal(got, []int64{6}) || len(token) != 0 {
			t.Errorf("closing, wait: %v, token %x", got, token)
		}
		for _, wait := range []bool{true, false} {
			if got, token := read(wait, nil); !slices.Equal(got, []int64{6}) || len(token) != 0 {
				t.Errorf("closed, wait %t: %v, token %x", wait, got, token)
			}
		}
	})
}

func TestS171HistoryTokenIsChecked(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 3)
	token := f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{MaximumPageSize: 1}).NextPageToken
	corrupt := slices.Clone(token)
	corrupt[len(corrupt)/2] ^= 4
	for _, tt := range []struct {
		run   string
		token []byte
		text  string
	}{
		{runB, token, "RunId in the request does not match the NextPageToken."},
		{"", corrupt, "Invalid NextPageToken."},
		{runA, []byte("garbage"), "Invalid NextPageToken."},
	} {
		_, err := f.GetWorkflowExecutionHistory(t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: f.ns.Name, Execution: execOf("w", tt.run), NextPageToken: tt.token,
		})
		refused(t, err, codes.InvalidArgument, tt.text)
	}
	other, err := f.GetWorkflowExecutionHistory(t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: f.ns.Name, Execution: execOf("another", ""), NextPageToken: token,
	})
	refused(t, err, codes.InvalidArgument, "Invalid NextPageToken.")
	if other != nil {
		t.Error("an answer beside the error")
	}
}

func TestS172VirtualEvents(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 5)
	f.engine.state.Info.WFT = execution.WorkflowTask{Seq: 4, Kind: execution.TaskTransient, ScheduledID: 6, StartedID: 7, Attempt: 2}
	for client, want := range map[string][]int64{"temporal-go": upTo(7), "": upTo(7), "temporal-cli": upTo(5), "temporal-ui": upTo(5)} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(headerClientName, client))
		first := f.history(t, ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{MaximumPageSize: 4})
		if got := eventIDs(first.History); !slices.Equal(got, upTo(4)) {
			t.Errorf("%q: first page %v", client, got)
		}
		second := f.history(t, ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{NextPageToken: first.NextPageToken})
		got := append(eventIDs(first.History), eventIDs(second.History)...)
		if !slices.Equal(got, want) || len(second.NextPageToken) != 0 {
			t.Errorf("%q: %v, want %v; token %x", client, got, want, second.NextPageToken)
		}
	}
	query := historyToken{Run: f.engine.state.Key, Next: 4, End: 6, For: pageForQuery}.encode(tokenHistory)
	if got := eventIDs(f.history(t, t.Context(), &workflowservice.GetWorkflowExecutionHistoryRequest{NextPageToken: query}).History); !slices.Equal(got, []int64{4, 5}) {
		t.Errorf("a query was shown %v", got)
	}
	reverse, err := f.GetWorkflowExecutionHistoryReverse(t.Context(), &workflowservice.GetWorkflowExecutionHistoryReverseRequest{Namespace: f.ns.Name, Execution: execOf("w", "")})
	if err != nil {
		t.Fatal(err)
	}
	if got := eventIDs(overWire(t, reverse).History); !slices.Equal(got, []int64{5, 4, 3, 2, 1}) {
		t.Errorf("reverse history shows %v", got)
	}
}

func TestS173SuccessorsForOlderClients(t *testing.T) {
	timedOut := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionTimedOutEventAttributes{WorkflowExecutionTimedOutEventAttributes: &historypb.WorkflowExecutionTimedOutEventAttributes{
			NewExecutionRunId: runB, RetryState: enumspb.RETRY_STATE_IN_PROGRESS}}}
	failed := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes{WorkflowExecutionFailedEventAttributes: &historypb.WorkflowExecutionFailedEventAttributes{
			NewExecutionRunId: runB, RetryState: enumspb.RETRY_STATE_IN_PROGRESS}}}
	for _, tt := range []struct {
		name      string
		event     *historypb.HistoryEvent
		features  string
		rewritten bool
	}{
		{"completed", completed(runB), "other", true},
		{"failed", failed, "", true},
		{"timed out", timedOut, "", true},
		{"no successor", completed(""), "", false},
		{"a client that follows", completed(runB), "a, follows-next-run-id,b", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t)
			f.engine.begin(f.key("w").Run(runA), 2)
			f.engine.close(tt.event)
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(headerSupportedFeatures, tt.features))
			resp := f.history(t, ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT})
			if len(resp.History.GetEvents()) != 1 {
				t.Fatalf("%d events", len(resp.History.GetEvents()))
			}
			e := resp.History.Events[0]
			if got := e.EventType == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW; got != tt.rewritten || e.EventId != 3 {
				t.Fatalf("event %d of type %v", e.EventId, e.EventType)
			}
			if next := e.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId(); tt.rewritten && next != runB {
				t.Errorf("it continues as %q", next)
			}
		})
	}
}

func TestS174ReverseHistory(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 300)
	want := upTo(300)
	slices.Reverse(want)
	for _, size := range []int32{1, 7, 100, 0} {
		var all []int64
		r := &workflowservice.GetWorkflowExecutionHistoryReverseRequest{Namespace: f.ns.Name, Execution: execOf("w", ""), MaximumPageSize: size}
		for page := 0; page == 0 || len(r.NextPageToken) > 0; page++ {
			resp, err := f.GetWorkflowExecutionHistoryReverse(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, eventIDs(overWire(t, resp).History)...)
			r.NextPageToken = resp.NextPageToken
		}
		if !slices.Equal(all, want) {
			t.Errorf("size %d: %v", size, all)
		}
	}
}

// A caller in the same process reads the message itself, and finds in it what a client finds.
func TestCopiesOfResponsesAreDecoded(t *testing.T) {
	f := newFront(t)
	f.engine.begin(f.key("w").Run(runA), 3)
	r := &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: f.ns.Name, Execution: execOf("w", ""), MaximumPageSize: 2}
	raw, err := f.GetWorkflowExecutionHistory(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw.GetHistory().GetEvents()) != 0 {
		t.Error("the service decoded history nobody asked it to decode")
	}
	resp := &workflowservice.GetWorkflowExecutionHistoryResponse{Archived: true}
	if err := Copy(resp, raw); err != nil || resp.Archived {
		t.Fatal(resp, err)
	}
	if got := eventIDs(resp.History); !slices.Equal(got, upTo(2)) || len(resp.NextPageToken) == 0 || len(resp.ProtoReflect().GetUnknown()) != 0 {
		t.Errorf("decoded: %v, token %x, %d bytes left over", got, resp.NextPageToken, len(resp.ProtoReflect().GetUnknown()))
	}
	nested := &workflowservice.StartWorkflowExecutionResponse{RunId: runA, EagerWorkflowTask: &workflowservice.PollWorkflowTaskQueueResponse{Attempt: 1}}
	setHistory(nested.EagerWorkflowTask, f.mustEvents(t, 2))
	got := new(workflowservice.StartWorkflowExecutionResponse)
	if err := Copy(got, nested); err != nil || !slices.Equal(eventIDs(got.EagerWorkflowTask.History), upTo(2)) || got.RunId != runA {
		t.Errorf("nested: %v, %v", got, err)
	}
	plain := &workflowservice.DescribeWorkflowExecutionResponse{PendingWorkflowTask: &workflowpb.PendingWorkflowTaskInfo{Attempt: 1}}
	own := new(workflowservice.DescribeWorkflowExecutionResponse)
	if err := Copy(own, plain); err != nil || own.PendingWorkflowTask == plain.PendingWorkflowTask || own.PendingWorkflowTask.Attempt != 1 {
		t.Errorf("without history: %v, %v", own, err)
	}
}

func (f front) mustEvents(t testing.TB, n int) []byte {
	t.Helper()
	b, err := appendEvents(nil, f.engine.events[:n]...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
