package workflowtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/historycheck"
)

// clientIdentity tells the signals of Story.Client from those of others.
const clientIdentity = "client"

// ledger is what Story.Client asked for and was told.
type ledger struct {
	queries atomic.Int32 // under way

	mu      sync.Mutex // guards the rest
	signals map[signal]*tally
	updates map[update]*updatepb.Outcome
	twice   error           // an update had two outcomes
	reset   map[string]bool // workflows in which events are there more than once
}

type signal struct{ workflow, name, input string }

type update struct{ workflow, id string }

// tally counts a signal: how often it was sent, was acknowledged, is in histories.
type tally struct{ sent, acked, recorded int }

func newLedger() *ledger {
	return &ledger{signals: map[signal]*tally{}, updates: map[update]*updatepb.Outcome{}, reset: map[string]bool{}}
}

// intercept is the way of the client's calls.
func (l *ledger) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if s, ok := signalOf(req); ok {
		l.count(s).sent++
	}
	if _, ok := req.(*workflowservice.QueryWorkflowRequest); ok {
		l.queries.Add(1)
		defer l.queries.Add(-1)
	}
	err := next(ctx, method, req, reply, cc, opts...)
	if err != nil {
		return err
	}
	if s, ok := signalOf(req); ok {
		l.count(s).acked++
	}
	switch r := req.(type) {
	case *workflowservice.ResetWorkflowExecutionRequest:
		l.mu.Lock()
		l.reset[r.WorkflowExecution.GetWorkflowId()] = true
		l.mu.Unlock()
	case *workflowservice.PollWorkflowExecutionUpdateRequest:
		l.told(r.UpdateRef, reply.(*workflowservice.PollWorkflowExecutionUpdateResponse).Outcome)
	case *workflowservice.UpdateWorkflowExecutionRequest:
		answer := reply.(*workflowservice.UpdateWorkflowExecutionResponse)
		l.told(answer.UpdateRef, answer.Outcome)
	case *workflowservice.ExecuteMultiOperationRequest:
		for _, one := range reply.(*workflowservice.ExecuteMultiOperationResponse).Responses {
			answer := one.GetUpdateWorkflow()
			l.told(answer.GetUpdateRef(), answer.GetOutcome())
		}
	}
	return nil
}

// signalOf is the signal that a request sends. Retries of a request with the same ID are one signal to the server; the client
// makes them here as one call.
func signalOf(req any) (signal, bool) {
	switch r := req.(type) {
	case *workflowservice.SignalWorkflowExecutionRequest:
		return signal{r.WorkflowExecution.GetWorkflowId(), r.SignalName, bytesOf(r.Input)}, true
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		return signal{r.WorkflowId, r.SignalName, bytesOf(r.SignalInput)}, true
	}
	return signal{}, false
}

func bytesOf(p *commonpb.Payloads) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// count is the tally of a signal; changes are made by the one who sends.
func (l *ledger) count(s signal) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.signals[s]
	if t == nil {
		t = &tally{}
		l.signals[s] = t
	}
	return t
}

func (l *ledger) told(ref *updatepb.UpdateRef, o *updatepb.Outcome) {
	if o == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := update{ref.GetWorkflowExecution().GetWorkflowId(), ref.GetUpdateId()}
	if before := l.updates[key]; before != nil && !proto.Equal(before, o) && l.twice == nil {
		l.twice = fault("update", "update %q of %q had two outcomes: %v, and %v", key.id, key.workflow, before, o)
	}
	l.updates[key] = o
}

// replays is how often each history is replayed: chance may be kind to code that depends on it.
const replays = 3

// audit looks at what the server has at the end, and tells it in short.
func (st *stage) audit() (trace string, err error) {
	all, err := st.workflows()
	if err != nil {
		return "", err
	}
	slices.SortFunc(all, func(a, b *workflowpb.WorkflowExecutionInfo) int {
		return a.StartTime.AsTime().Compare(b.StartTime.AsTime())
	})
	replayer := st.worker.Replayer()
	outcomes := map[update][]*updatepb.Outcome{}
	var b strings.Builder
	for _, w := range all {
		events, err := st.history(w.Execution)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %s\n", w.Type.GetName(), w.Status)
		for _, e := range events {
			fmt.Fprintf(&b, "%d %s %s\n", e.EventId, e.EventType, e.EventTime.AsTime().Format("15:04:05.000"))
		}
		for range replays {
			if err := replayer.Events(events); err != nil {
				return "", fault(kindReplay, "the history of %q does not replay: %w", w.Execution.WorkflowId, err)
			}
		}
		if err := (historycheck.Options{RunID: w.Execution.RunId}).Check(events); err != nil {
			return "", fault("history", "the server's history of %q: %w", w.Execution.WorkflowId, err)
		}
		if err := st.ledger.read(w, events, outcomes, st.s.MayAbandon); err != nil {
			return "", err
		}
	}
	return b.String(), st.ledger.compare(outcomes)
}

// read enters a run's history.
func (l *ledger) read(w *workflowpb.WorkflowExecutionInfo, events []*historypb.HistoryEvent, outcomes map[update][]*updatepb.Outcome, mayAbandon bool) error {
	id := w.Execution.WorkflowId
	accepted := map[int64]string{}
	for _, e := range events {
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil && a.Identity == clientIdentity {
			l.count(signal{id, a.SignalName, bytesOf(a.Input)}).recorded++
		}
		if a := e.GetWorkflowExecutionUpdateAcceptedEventAttributes(); a != nil {
			accepted[e.EventId] = a.ProtocolInstanceId
		}
		if a := e.GetWorkflowExecutionUpdateCompletedEventAttributes(); a != nil {
			key := update{id, a.Meta.GetUpdateId()}
			outcomes[key] = append(outcomes[key], a.Outcome)
			delete(accepted, a.AcceptedEventId)
		}
	}
	ended := w.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED || w.Status == enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
	if ended && len(accepted) > 0 && !mayAbandon {
		left := slices.Min(slices.Collect(maps.Keys(accepted)))
		return fault("abandoned", "workflow %q ended with an update that it had accepted (event %d) and given no outcome", id, left)
	}
	return nil
}

// compare holds what the client was told against histories.
func (l *ledger) compare(outcomes map[update][]*updatepb.Outcome) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.twice != nil {
		return l.twice
	}
	for s, t := range l.signals {
		if !l.reset[s.workflow] && (t.recorded < t.acked || t.recorded > t.sent) {
			return fault("signal", "signal %s was sent to %q %d times and acknowledged %d times; it is there %d times", s.name, s.workflow, t.sent, t.acked, t.recorded)
		}
	}
	for u, recorded := range outcomes {
		if l.reset[u.workflow] {
			continue
		}
		if len(recorded) > 1 {
			return fault("update", "update %q of %q has %d outcomes", u.id, u.workflow, len(recorded))
		}
		if told := l.updates[u]; told != nil && !proto.Equal(told, recorded[0]) {
			return fault("update", "update %q of %q: the client was told %v, the history has %v", u.id, u.workflow, told, recorded[0])
		}
	}
	for u, told := range l.updates {
		if told.GetSuccess() != nil && len(outcomes[u]) == 0 && !l.reset[u.workflow] {
			return fault("update", "update %q of %q: the client was told %v, which is in no history", u.id, u.workflow, told)
		}
	}
	return nil
}
