package sim

import (
	"encoding/json"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/historycheck"
	"github.com/perdure/perdure/internal/ids"
)

// ledger is what callers were told. Each entry is compared with the audit at the moment when the answer leaves the
// server, and again at the end.
type ledger struct {
	s        *sim
	starts   []startAck
	signals  []signalAck
	outcomes map[string]*updatepb.Outcome // by run and update ID, of updates whose outcome is in history
	refused  map[string]bool              // run and update ID of rejected updates
	acks     map[string]int
}

type startAck struct {
	run     ids.RunKey
	request string
}

type signalAck struct {
	run     ids.RunKey
	request string
}

func newLedger(s *sim) *ledger {
	return &ledger{s: s, outcomes: map[string]*updatepb.Outcome{}, refused: map[string]bool{}, acks: map[string]int{}}
}

// durable finds the run that an answer speaks of; an answer must not speak of what is not there.
func (l *ledger) durable(k ids.RunKey, what string) *auditRun {
	r := l.s.audit.runs[k]
	if r == nil || r.state == nil {
		l.s.fail("%s speaks of %s, which no crash would leave", what, short(k))
		return nil
	}
	l.acks[what]++
	return r
}

func (l *ledger) started(key ids.WorkflowKey, request string, signal bool, a *execution.StartAnswer) {
	r := l.durable(key.Run(a.RunID), "start")
	if r == nil {
		return
	}
	first := l.s.audit.runs[key.Run(r.state.Start.FirstRunID)]
	joined := first != nil && first.state != nil && first.state.Start.RequestID == request // repeated, after its run was continued
	if a.Started && r.state.Start.RequestID != request && !joined {
		l.s.fail("start %s is said to have started %s, which %s started", request, short(r.key), r.state.Start.RequestID)
	}
	if a.Started {
		l.starts = append(l.starts, startAck{r.key, request})
	}
	if signal {
		l.signaled(r.key, request)
	}
}

func (l *ledger) signaled(k ids.RunKey, request string) {
	r := l.durable(k, "signal")
	if r == nil {
		return
	}
	n := countSignals(r.events, request)
	for _, b := range r.state.Buffered.All {
		if b.Event.GetWorkflowExecutionSignaledEventAttributes().GetRequestId() == request {
			n++
		}
	}
	if n == 0 {
		l.s.fail("signal %s of %s was acknowledged, but is neither in history nor in the buffer", request, short(k))
	}
	l.signals = append(l.signals, signalAck{k, request})
}

func countSignals(events []*historypb.HistoryEvent, request string) int {
	n := 0
	for _, ev := range events {
		if ev.GetWorkflowExecutionSignaledEventAttributes().GetRequestId() == request {
			n++
		}
	}
	return n
}

func (l *ledger) cancelled(k ids.RunKey) {
	if k.Run == "" {
		return
	}
	if r := l.durable(k, "cancel"); r != nil && r.state.Open() && !r.state.Info.CancelRequested {
		l.s.fail("the cancel request for %s was acknowledged, but is not recorded", short(k))
	}
}

func (l *ledger) terminated(k ids.RunKey) {
	if k.Run == "" {
		return
	}
	if r := l.durable(k, "terminate"); r != nil && r.state.Info.Status != enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED {
		l.s.fail("the end of %s was acknowledged, but it is %s", short(k), r.state.Info.Status)
	}
}

func (l *ledger) described(key ids.WorkflowKey, d *workflowservice.DescribeWorkflowExecutionResponse) {
	info := d.WorkflowExecutionInfo
	r := l.durable(key.Run(ids.RunID(info.Execution.RunId)), "describe")
	if r == nil {
		return
	}
	have := int64(len(r.events))
	// The start of a workflow task may be told before it is stored.
	if info.HistoryLength > have+1 || info.HistoryLength == have+1 && !r.state.Info.WFT.Pending() {
		l.s.fail("describe of %s shows %d events, %d are stored", short(r.key), info.HistoryLength, have)
	}
	if info.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && info.Status != r.state.Info.Status {
		l.s.fail("describe of %s shows %s, stored is %s", short(r.key), info.Status, r.state.Info.Status)
	}
	if d.WorkflowExtendedInfo.CancelRequested && !r.state.Info.CancelRequested {
		l.s.fail("describe of %s shows a cancel request that is not stored", short(r.key))
	}
	for _, a := range d.PendingActivities {
		found := false
		for _, ev := range r.events {
			found = found || ev.GetActivityTaskScheduledEventAttributes().GetActivityId() == a.ActivityId
		}
		if !found {
			l.s.fail("describe of %s shows activity %s, which is not stored", short(r.key), a.ActivityId)
		}
	}
}

// sawHistory: every event that anybody reads is in the store for good, but for the start of a workflow task.
func (l *ledger) sawHistory(k ids.RunKey, events []*historypb.HistoryEvent) {
	if len(events) == 0 {
		return
	}
	r := l.durable(k, "history")
	if r == nil {
		return
	}
	for _, ev := range events {
		if !r.sameEvent(ev) && (ev.EventId != int64(len(r.events))+1 || ev.EventType != enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED) {
			l.s.fail("a reader of %s got event %d %s, which is not stored (%d events are)", short(k), ev.EventId, ev.EventType, len(r.events))
			return
		}
	}
}

func (l *ledger) queried(key ids.WorkflowKey, answer []byte) {
	var v queryView
	if err := json.Unmarshal(answer, &v); err != nil {
		l.s.fail("query answer %q: %v", answer, err)
		return
	}
	r := l.durable(key.Run(ids.RunID(v.Run)), "query")
	if r == nil {
		return
	}
	for _, id := range v.Signals {
		if id != "" && countSignals(r.events, id) == 0 {
			l.s.fail("a query on %s was answered with signal %s, which is not stored", short(r.key), id)
		}
	}
}

// updated compares the answer to an update with history, and with what others were told.
func (l *ledger) updated(key ids.WorkflowKey, id string, a *execution.UpdateAnswer) {
	r := l.durable(key.Run(a.RunID), "update")
	if r == nil || a.Stage < enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED {
		return
	}
	accepted, completed := false, (*historypb.WorkflowExecutionUpdateCompletedEventAttributes)(nil)
	for _, ev := range r.events {
		if ev.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetProtocolInstanceId() == id {
			accepted = true
		}
		if c := ev.GetWorkflowExecutionUpdateCompletedEventAttributes(); c.GetMeta().GetUpdateId() == id {
			completed = c
			if a.OutcomeEventID != 0 && a.OutcomeEventID != ev.EventId {
				l.s.fail("update %s of %s: its outcome is in event %d, told was %d", id, short(r.key), ev.EventId, a.OutcomeEventID)
			}
		}
	}
	name := string(a.RunID) + "/" + id
	switch f := a.Outcome.GetFailure().GetApplicationFailureInfo().GetType(); {
	case a.Stage == enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED:
		if !accepted {
			l.s.fail("update %s of %s is said to be accepted, but that is not stored", id, short(r.key))
		}
	case completed != nil:
		if a.Outcome != nil && !proto.Equal(a.Outcome, completed.Outcome) {
			l.s.fail("update %s of %s: told %v, stored %v", id, short(r.key), a.Outcome, completed.Outcome)
		}
		if was := l.outcomes[name]; was != nil && !proto.Equal(was, completed.Outcome) {
			l.s.fail("update %s of %s: the outcome was %v, now it is %v", id, short(r.key), was, completed.Outcome)
		}
		l.outcomes[name] = completed.Outcome
	case f == "AcceptedUpdateCompletedWorkflow":
		if !accepted || r.state.Open() {
			l.s.fail("update %s of %s is said to have met the end of the run; accepted %v, open %v", id, short(r.key), accepted, r.state.Open())
		}
	case f == rejected:
		if accepted {
			l.s.fail("update %s of %s is said to be rejected, but was accepted", id, short(r.key))
		}
		l.refused[name] = true
	case f == "UnprocessedUpdate":
	default:
		l.s.fail("update %s of %s is said to be completed with %v, but history does not know", id, short(r.key), a)
	}
}

// taskDone: a completion that was taken has its event.
func (l *ledger) taskDone(t *workflowTask, req *workflowservice.RespondWorkflowTaskCompletedRequest, bad bool, answer any, err error) {
	if err != nil {
		return
	}
	r := l.durable(t.Token.Run, "task")
	if r == nil {
		return
	}
	if bad {
		l.s.fail("%s: a completion with a bad command was taken", short(r.key))
	}
	if answer.(*execution.WorkflowTaskCompleted).ResetHistoryID != 0 {
		if len(req.Commands) > 0 {
			l.s.fail("%s: a completion with commands left no trace", short(r.key))
		}
		return
	}
	for _, ev := range r.events {
		if c := ev.GetWorkflowTaskCompletedEventAttributes(); c != nil && c.StartedEventId == t.Token.StartedID {
			if c.Identity != req.Identity {
				l.s.fail("%s: the completion of task %d is %q's, not %q's", short(r.key), t.Token.Seq, c.Identity, req.Identity)
			}
			return
		}
	}
	l.s.fail("%s: the completion of task %d was taken, but is not stored", short(r.key), t.Token.Seq)
}

// activityDone: a result that was taken is the activity's result.
func (l *ledger) activityDone(t execution.ActivityToken, result string, err error) {
	if err != nil {
		return
	}
	r := l.durable(t.Run, "activity")
	if r == nil {
		return
	}
	match := func(ev *historypb.HistoryEvent) bool {
		c := ev.GetActivityTaskCompletedEventAttributes()
		return c.GetScheduledEventId() == t.ScheduledID && proto.Equal(c.Result, text(result))
	}
	found := false
	for _, ev := range r.events {
		found = found || match(ev)
	}
	for _, b := range r.state.Buffered.All {
		found = found || match(b.Event)
	}
	if !found {
		l.s.fail("%s: result %s of activity %d was taken, but is not stored", short(r.key), result, t.ScheduledID)
	}
}

// chainMessage is a message to a workflow ID, whichever run took it.
type chainMessage struct {
	key ids.WorkflowKey
	id  string
}

// check compares all that was told with how it all ended.
func (l *ledger) check() {
	s := l.s
	for _, a := range l.signals {
		r := s.audit.runs[a.run]
		if n := countSignals(r.events, a.request); n != 1 {
			s.fail("signal %s is in the history of %s %d times", a.request, short(a.run), n)
		}
	}
	for name := range l.refused {
		if l.outcomes[name] != nil {
			s.fail("update %s was rejected and completed", name)
		}
	}
	started, took := map[chainMessage]ids.RunKey{}, map[chainMessage]ids.RunKey{}
	for _, r := range s.audit.order {
		if r.state == nil {
			continue
		}
		forgets := s.conf.retention < time.Hour // with a run that is removed goes the memory of what it took
		once := func(book map[chainMessage]ids.RunKey, id, what string) {
			m := chainMessage{r.key.Of(), id}
			if first, ok := book[m]; ok && id != "" && first != r.key && !forgets {
				s.fail("%s %s was taken by %s and by %s", what, id, short(first), short(r.key))
			}
			book[m] = r.key
		}
		once(started, r.state.Start.RequestID, "start")
		seen := map[string]bool{}
		for _, ev := range r.events {
			id := ev.GetWorkflowExecutionSignaledEventAttributes().GetRequestId()
			if id != "" && seen[id] {
				s.fail("signal %s is twice in the history of %s", id, short(r.key))
			}
			seen[id] = true
			once(took, id, "signal")
			once(took, ev.GetWorkflowExecutionUpdateCompletedEventAttributes().GetMeta().GetUpdateId(), "update")
		}
		if err := replay(r.events); err != nil {
			s.fail("%s does not replay: %v\n%s", short(r.key), err, storyOf(r.events))
		}
	}
	l.checkChains()
}

// replay runs the code over a whole history.
func replay(events []*historypb.HistoryEvent) error {
	code := &program{}
	for _, ev := range events {
		if err := code.feed(ev); err != nil {
			return err
		}
	}
	if len(code.expect) > 0 {
		return fmt.Errorf("commands left no event: %q", code.expect)
	}
	return nil
}

// checkChains judges each run together with the one that follows it.
func (l *ledger) checkChains() {
	for _, r := range l.s.audit.order {
		if r.state == nil || r.state.Info.SuccessorRunID == "" {
			continue
		}
		next := l.s.audit.runs[r.key.Of().Run(r.state.Info.SuccessorRunID)]
		if next == nil {
			l.s.fail("%s continues as %s, which is not there", short(r.key), r.state.Info.SuccessorRunID)
			return
		}
		o := historycheck.Options{AtRest: true, UntypedSearchAttributes: true}
		if err := o.CheckChain([][]*historypb.HistoryEvent{r.events, next.events}); err != nil {
			l.s.fail("%s and its successor: %v", short(r.key), err)
		}
	}
}
