package frontend

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

const (
	historyPage = 256 // events in a page
	// historyPageBytes ends a page early, so that a response stays within what clients receive by default.
	historyPageBytes = 2 << 20
	// historyWait is how long a reader waits for new events before it is sent off to ask again.
	historyWait = 20 * time.Second
)

func pageSize(wanted int32) int {
	if wanted <= 0 || wanted > historyPage {
		return historyPage
	}
	return int(wanted)
}

// GetWorkflowExecutionHistory reads a run's events, oldest first, and may wait for those to come.
func (s *Service) GetWorkflowExecutionHistory(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.Execution)
	if err != nil {
		return nil, err
	}
	token, err := readHistoryToken(r.NextPageToken, tokenHistory, key, run)
	if err != nil {
		return nil, err
	}
	if token.Run.Run != "" {
		run = token.Run.Run
	}
	st, err := s.engine.State(ctx, key, run)
	if err != nil {
		return nil, err
	}
	token.Run = st.Key
	read := historyRead{s: s, st: st, token: token, size: pageSize(r.MaximumPageSize), showVirtual: !forHumans(ctx)}
	switch closeOnly := r.HistoryEventFilterType == enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT; {
	case closeOnly:
		return read.closing(ctx, r.WaitNewEvent)
	case r.WaitNewEvent && token.For == pageForReader:
		return read.following(ctx)
	}
	return read.page(ctx)
}

// readHistoryToken checks that a token belongs to the run asked for. Without a token it stands at the first event.
func readHistoryToken(b []byte, kind tokenKind, key ids.WorkflowKey, run ids.RunID) (historyToken, error) {
	if len(b) == 0 {
		return historyToken{Run: key.Run(""), Next: 1}, nil
	}
	t, err := decodeHistory(b, kind)
	switch {
	case err != nil:
		return t, invalid("Invalid NextPageToken.")
	case run != "" && t.Run.Run != run:
		return t, invalid("RunId in the request does not match the NextPageToken.")
	case t.Run.Of() != key:
		return t, invalid("Invalid NextPageToken.")
	}
	return t, nil
}

// historyRead is one call of GetWorkflowExecutionHistory.
type historyRead struct {
	s           *Service
	st          *execution.State
	token       historyToken
	size        int
	showVirtual bool
}

func (h *historyRead) response(events []byte, next []byte) *workflowservice.GetWorkflowExecutionHistoryResponse {
	resp := &workflowservice.GetWorkflowExecutionHistoryResponse{NextPageToken: next}
	if len(events) > 0 {
		setHistory(resp, events)
	} else {
		resp.History = &historypb.History{}
	}
	return resp
}

func (h *historyRead) read(ctx context.Context, to ids.EventID) (*engine.HistoryPage, error) {
	return h.s.engine.History(ctx, engine.HistoryQuery{
		Run: h.token.Run, From: h.token.Next, To: to, Max: h.size, MaxSize: historyPageBytes,
	})
}

// page reads on to where the run's history ended when the first page was read.
func (h *historyRead) page(ctx context.Context) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	if h.token.End == 0 {
		h.token.End = h.st.Info.NextEventID
	}
	page, err := h.read(ctx, h.token.End)
	if err != nil {
		return nil, err
	}
	if page.More {
		h.token.Next = page.Last + 1
		return h.response(page.Events, h.token.encode(tokenHistory)), nil
	}
	events := page.Events
	if h.showVirtual && h.token.For != pageForQuery {
		last := h.token.Next - 1
		if page.Count > 0 {
			last = page.Last
		}
		if events, err = appendEvents(events, virtualAfter(h.st, last)...); err != nil {
			return nil, err
		}
	}
	return h.response(events, nil), nil
}

// following waits for events from the token on. As long as the run is open there is a token to go on with.
func (h *historyRead) following(ctx context.Context) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	h.token.End = 0
	if h.st.Open() && h.token.Next >= h.st.Info.NextEventID {
		if err := h.wait(ctx, h.token.Next); err != nil {
			return nil, err
		}
	}
	page, err := h.read(ctx, 0)
	if err != nil {
		return nil, err
	}
	if page.Count > 0 {
		h.token.Next = page.Last + 1
	}
	if !page.More && !h.st.Open() && h.token.Next >= h.st.Info.NextEventID {
		return h.response(page.Events, nil), nil
	}
	return h.response(page.Events, h.token.encode(tokenHistory)), nil
}

// closing answers with the closing event alone.
func (h *historyRead) closing(ctx context.Context, wait bool) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	if !wait && h.st.Open() {
		return h.response(nil, nil), nil
	}
	waitCtx, cancel := pollContext(ctx, h.s.longPoll(historyWait))
	defer cancel()
	for h.st.Open() && waitCtx.Err() == nil {
		if err := h.waitFor(ctx, waitCtx, h.st.Info.NextEventID); err != nil {
			return nil, err
		}
	}
	if h.st.Open() {
		return h.response(nil, h.token.encode(tokenHistory)), nil
	}
	last := h.st.Info.CloseEventID
	page, err := h.s.engine.History(ctx, engine.HistoryQuery{Run: h.token.Run, From: last, To: last + 1, Max: 1})
	if err != nil {
		return nil, err
	}
	events := page.Events
	if !supports(ctx, featureFollowsNextRunID) {
		if events, err = continueInstead(events); err != nil {
			return nil, err
		}
	}
	return h.response(events, nil), nil
}

func (h *historyRead) wait(ctx context.Context, next ids.EventID) error {
	waitCtx, cancel := pollContext(ctx, h.s.longPoll(historyWait))
	defer cancel()
	return h.waitFor(ctx, waitCtx, next)
}

// waitFor waits until waitCtx is done or the run has news, and takes its newest state. Only a caller who gave up is an
// error.
func (h *historyRead) waitFor(ctx, waitCtx context.Context, next ids.EventID) error {
	err := h.s.engine.WaitHistory(waitCtx, h.token.Run, next)
	if err != nil && waitCtx.Err() == nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st, err := h.s.engine.State(ctx, h.token.Run.Of(), h.token.Run.Run)
	if err == nil {
		h.st = st
	}
	return err
}

// pollContext bounds a wait by limit and ends it early enough for the answer to reach a caller with a deadline.
func pollContext(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		limit = min(limit, left-min(time.Second, left/5))
	}
	return context.WithTimeout(ctx, limit)
}

// GetWorkflowExecutionHistoryReverse reads a run's events, newest first.
func (s *Service) GetWorkflowExecutionHistoryReverse(ctx context.Context, r *workflowservice.GetWorkflowExecutionHistoryReverseRequest) (*workflowservice.GetWorkflowExecutionHistoryReverseResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	key, run, err := checkExecution(s.limits, n.ID, r.Execution)
	if err != nil {
		return nil, err
	}
	token, err := readHistoryToken(r.NextPageToken, tokenReverse, key, run)
	if err != nil {
		return nil, err
	}
	if token.Run.Run == "" {
		st, err := s.engine.State(ctx, key, run)
		if err != nil {
			return nil, err
		}
		token.Run, token.Next = st.Key, st.Info.NextEventID
	}
	page, err := s.engine.History(ctx, engine.HistoryQuery{
		Run: token.Run, From: 1, To: token.Next, Max: pageSize(r.MaximumPageSize), MaxSize: historyPageBytes, Reverse: true,
	})
	if err != nil {
		return nil, err
	}
	resp := &workflowservice.GetWorkflowExecutionHistoryReverseResponse{}
	if page.Count == 0 {
		resp.History = &historypb.History{}
		return resp, nil
	}
	setHistory(resp, page.Events)
	if token.Next = page.Last; token.Next > 1 {
		resp.NextPageToken = token.encode(tokenReverse)
	}
	return resp, nil
}

// virtualAfter is the pending workflow task's events that are not in history, when they follow event last directly.
func virtualAfter(st *execution.State, last ids.EventID) []*historypb.HistoryEvent {
	if events := st.VirtualEvents(); st.Open() && len(events) > 0 && events[0].EventId == last+1 {
		return events
	}
	return nil
}

// continueInstead shows a closing event that names a successor run as continued-as-new: older clients follow only that.
func continueInstead(events []byte) ([]byte, error) {
	decoded, err := record.DecodeEvents(events)
	if err != nil || len(decoded) != 1 {
		return events, err
	}
	e := decoded[0]
	c := &historypb.WorkflowExecutionContinuedAsNewEventAttributes{}
	switch a := e.Attributes.(type) {
	case *historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes:
		c.NewExecutionRunId = a.WorkflowExecutionCompletedEventAttributes.NewExecutionRunId
		c.LastCompletionResult = a.WorkflowExecutionCompletedEventAttributes.Result
		c.WorkflowTaskCompletedEventId = a.WorkflowExecutionCompletedEventAttributes.WorkflowTaskCompletedEventId
		c.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
	case *historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes:
		c.NewExecutionRunId = a.WorkflowExecutionFailedEventAttributes.NewExecutionRunId
		c.Failure = a.WorkflowExecutionFailedEventAttributes.Failure
		c.WorkflowTaskCompletedEventId = a.WorkflowExecutionFailedEventAttributes.WorkflowTaskCompletedEventId
		c.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY
		if a.WorkflowExecutionFailedEventAttributes.RetryState != enumspb.RETRY_STATE_IN_PROGRESS {
			c.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
		}
	case *historypb.HistoryEvent_WorkflowExecutionTimedOutEventAttributes:
		c.NewExecutionRunId = a.WorkflowExecutionTimedOutEventAttributes.NewExecutionRunId
		c.Failure = serverTimeout()
		c.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY
		if a.WorkflowExecutionTimedOutEventAttributes.RetryState != enumspb.RETRY_STATE_IN_PROGRESS {
			c.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
		}
	}
	if c.NewExecutionRunId == "" {
		return events, nil
	}
	e.EventType = enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
	e.Attributes = &historypb.HistoryEvent_WorkflowExecutionContinuedAsNewEventAttributes{WorkflowExecutionContinuedAsNewEventAttributes: c}
	return appendEvents(nil, e)
}

// event reads one event of a run.
func (s *Service) event(ctx context.Context, run ids.RunKey, id ids.EventID) (*historypb.HistoryEvent, error) {
	page, err := s.engine.History(ctx, engine.HistoryQuery{Run: run, From: id, To: id + 1, Max: 1})
	if err != nil {
		return nil, err
	}
	events, err := record.DecodeEvents(page.Events)
	if err == nil && len(events) != 1 {
		err = errors.New("it is not in the store")
	}
	if err != nil {
		return nil, internal("read event %d of %s: %v", id, run, err)
	}
	return events[0], nil
}
