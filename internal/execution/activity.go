package execution

import (
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/clock"
)

func applyActivityScheduled(d *draft, ev *historypb.HistoryEvent) {
	a := ev.GetActivityTaskScheduledEventAttributes()
	at := clock.FromProto(ev.EventTime)
	act := &Activity{ScheduledID: ev.EventId, ActivityID: a.ActivityId, Type: a.ActivityType.GetName(), Queue: a.TaskQueue.GetName(),
		Attempt: 1, FirstSchedAt: at, ScheduledAt: at, S2C: clock.Duration(a.ScheduleToCloseTimeout),
		S2S: clock.Duration(a.ScheduleToStartTimeout), STC: clock.Duration(a.StartToCloseTimeout), HB: clock.Duration(a.HeartbeatTimeout),
		Dispatched: true, scheduled: ev}
	if a.RetryPolicy != nil {
		act.RetryPolicy = mustMarshal(deterministic, a.RetryPolicy)
	}
	if a.Priority != nil {
		act.Priority = mustMarshal(deterministic, a.Priority)
	}
	d.setActivity(act)
}

// activityTask is the dispatch row of an activity's current attempt. Without a priority of its own it has the run's.
func (d *draft) activityTask(a *Activity) Task {
	t := Task{Kind: TaskActivity, Queue: a.Queue, At: a.ScheduledAt, ScheduledID: a.ScheduledID, Stamp: a.Stamp, Priority: d.Start.PriorityKey}
	if len(a.Priority) > 0 {
		if key := mustUnmarshal(a.Priority, new(commonpb.Priority)).PriorityKey; key != 0 {
			t.Priority = key
		}
	}
	return t
}

// effectivePriority is an activity's encoded priority, what it leaves unset filled in from the run's.
func effectivePriority(s *State, a *Activity) []byte {
	if len(a.Priority) == 0 || len(s.Start.Priority) == 0 {
		return slices.Concat(a.Priority, s.Start.Priority) // one of them is empty
	}
	p, run := mustUnmarshal(a.Priority, new(commonpb.Priority)), mustUnmarshal(s.Start.Priority, new(commonpb.Priority))
	if p.PriorityKey == 0 {
		p.PriorityKey = run.PriorityKey
	}
	if p.FairnessKey == "" {
		p.FairnessKey = run.FairnessKey
	}
	if p.FairnessWeight == 0 {
		p.FairnessWeight = run.FairnessWeight
	}
	return mustMarshal(deterministic, p)
}

// dispatchActivity offers the current attempt to its task queue.
func (d *draft) dispatchActivity(a *Activity) {
	n := *a
	n.Dispatched = true
	d.setActivity(&n)
	t := d.activityTask(&n)
	d.tr.Put = append(d.tr.Put, t)
	d.tr.Offers = append(d.tr.Offers, Offer{Activity: &ActivityRef{Run: d.Key, ScheduledID: n.ScheduledID, Stamp: n.Stamp}, Task: t})
	d.durable()
}

// timeout is the activity's earliest timeout and its kind; zero: none.
func (a *Activity) timeout() (at clock.Nanos, kind enumspb.TimeoutType) {
	consider := func(from clock.Nanos, d time.Duration, k enumspb.TimeoutType) {
		if d > 0 && from != 0 {
			if t := from.Add(d); at == 0 || t < at {
				at, kind = t, k
			}
		}
	}
	if a.StartedAt == 0 {
		// First, so that it wins a tie: an unset schedule-to-start timeout equals schedule-to-close.
		consider(a.ScheduledAt, a.S2S, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
		consider(a.FirstSchedAt, a.S2C, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
		return at, kind
	}
	consider(a.FirstSchedAt, a.S2C, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
	consider(a.StartedAt, a.STC, enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
	consider(max(a.StartedAt, a.HeartbeatAt), a.HB, enumspb.TIMEOUT_TYPE_HEARTBEAT)
	return at, kind
}

// policy is the activity's retry policy.
func (a *Activity) policy() *commonpb.RetryPolicy {
	if len(a.RetryPolicy) == 0 {
		return nil
	}
	p := new(commonpb.RetryPolicy)
	if err := proto.Unmarshal(a.RetryPolicy, p); err != nil {
		panic(fmt.Sprintf("execution: retry policy: %v", err))
	}
	return p
}

func stepStartActivity(st *State, in StartActivity, env *Env) *Transition {
	a, ok := st.Activities.Get(in.Ref.ScheduledID)
	if !ok || a.Stamp != in.Ref.Stamp || !st.Open() {
		return refuse(st, errf(Stale, "activity %d is gone", in.Ref.ScheduledID))
	}
	if a.StartedAt != 0 {
		if a.RequestID == in.RequestID && in.RequestID != "" {
			return answer(st, activityAnswer(st, a, env))
		}
		return refuse(st, errf(Stale, "activity %d is started", in.Ref.ScheduledID))
	}
	d := newDraft(st, env)
	if a.scheduled == nil {
		n := *a
		n.scheduled = env.Stored[a.ScheduledID]
		a = &n
	}
	ans := d.startActivity(a, in.RequestID, in.Identity)
	tr := d.finish()
	tr.Answer = ans
	return tr
}

// startActivity gives an attempt to a worker. The store need not know, as for workflow tasks, unless the activity must
// not run twice: with a single attempt allowed, its start is durable before the worker hears of it.
func (d *draft) startActivity(a *Activity, requestID, identity string) *ActivityStarted {
	n := *a
	n.StartedAt = max(d.now(), a.ScheduledAt)
	n.LastStartedAt = n.StartedAt
	n.HeartbeatAt = 0
	n.RequestID, n.Identity = requestID, identity
	if a.Dispatched {
		d.unput(d.activityTask(a))
		n.Dispatched = false
	}
	d.setActivity(&n)
	if p := n.policy(); p == nil || p.MaximumAttempts == 1 {
		d.durable()
	}
	d.Volatile.Unsaved = true
	return activityAnswer(d.State, &n, d.env)
}

func activityAnswer(s *State, a *Activity, env *Env) *ActivityStarted {
	ev := a.scheduled
	if ev == nil {
		ev = env.Stored[a.ScheduledID]
	}
	return &ActivityStarted{
		Token: ActivityToken{Run: s.Key, ScheduledID: a.ScheduledID, ActivityID: a.ActivityID, Attempt: a.Attempt,
			StartedAt: a.StartedAt, Stamp: a.Stamp},
		Event: ev, WorkflowType: s.Start.WorkflowType, FirstSchedAt: a.FirstSchedAt, ScheduledAt: a.ScheduledAt,
		StartedAt: a.StartedAt, Attempt: a.Attempt, Details: a.Details, S2C: a.S2C, STC: a.STC, HB: a.HB,
		RetryPolicy: a.RetryPolicy, Priority: effectivePriority(s, a),
	}
}

// findActivity resolves a token, or an activity ID, to a pending activity that may be reported on. needStarted: the
// report makes no sense before a worker has it.
func findActivity(st *State, k ActivityToken, needStarted bool) (*Activity, error) {
	if !st.Open() {
		return nil, errCompleted()
	}
	if k.ScheduledID == 0 {
		missing := notFoundf("cannot find pending activity with ActivityID %s, check workflow execution history for more details", k.ActivityID)
		id, ok := st.activityID.Get(k.ActivityID)
		if !ok {
			return nil, missing
		}
		a, _ := st.Activities.Get(id)
		if needStarted && a.StartedAt == 0 {
			return nil, missing
		}
		return a, nil
	}
	a, ok := st.Activities.Get(k.ScheduledID)
	if !ok || a.Attempt != k.Attempt || a.Stamp != k.Stamp {
		return nil, notFoundf("invalid activityID or activity already timed out or invoking workflow is completed")
	}
	if a.StartedAt == 0 {
		// The server forgot the start, the worker did not.
		n := *a
		n.StartedAt = max(k.StartedAt, a.ScheduledAt)
		n.LastStartedAt = n.StartedAt
		return &n, nil
	}
	return a, nil
}

// activityStartedEvent is the event that is written late, just before the one that ends the activity.
func (d *draft) activityStartedEvent(a *Activity, identity string) *historypb.HistoryEvent {
	at := a.StartedAt
	if at == 0 {
		at = d.now() // completed by ID before any worker had it
	}
	who := a.Identity
	if who == "" {
		who = identity
	}
	return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, EventTime: at.Proto(),
		Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
			ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{
				ScheduledEventId: a.ScheduledID, Identity: who, RequestId: a.RequestID, Attempt: a.Attempt, LastFailure: decodeFailure(a.LastFailure)}}}
}

func decodeFailure(b []byte) *failurepb.Failure {
	if len(b) == 0 {
		return nil
	}
	f := new(failurepb.Failure)
	if err := proto.Unmarshal(b, f); err != nil {
		panic(fmt.Sprintf("execution: stored failure: %v", err))
	}
	return f
}

func decodePayloads(b []byte) *commonpb.Payloads {
	if len(b) == 0 {
		return nil
	}
	p := new(commonpb.Payloads)
	if err := proto.Unmarshal(b, p); err != nil {
		panic(fmt.Sprintf("execution: stored payloads: %v", err))
	}
	return p
}

func stepCompleteActivity(st *State, in CompleteActivity, env *Env) *Transition {
	a, err := findActivity(st, in.Token, false)
	if err != nil {
		return refuse(st, err)
	}
	if payloadsSize(in.Result) > env.Limits.BlobBytes {
		f := &failurepb.Failure{Message: "Complete result exceeds size limit.", Source: "Server",
			FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: true}}}
		return endActivity(st, a, f, in.Identity, env)
	}
	d := newDraft(st, env)
	ev := d.newEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
	ev.Attributes = &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
		ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
			Result: in.Result, ScheduledEventId: a.ScheduledID, Identity: in.Identity, WorkerVersion: in.Version}}
	d.arrive(ev, d.activityStartedEvent(a, in.Identity))
	return endedTransition(d)
}

func endedTransition(d *draft) *Transition {
	tr := d.finish()
	tr.Answer = &ActivityEnded{}
	return tr
}

func stepFailActivity(st *State, in FailActivity, env *Env) *Transition {
	a, err := findActivity(st, in.Token, true)
	if err != nil {
		return refuse(st, err)
	}
	if in.Details != nil {
		n := *a
		n.Details = mustMarshal(deterministic, in.Details)
		a = &n
	}
	f := in.Failure
	if proto.Size(f) > env.Limits.BlobBytes {
		f = &failurepb.Failure{Message: "Failure exceeds size limit.", Source: "Server",
			FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: true}}}
	}
	return endActivity(st, a, f, in.Identity, env)
}

// endActivity retries a failed attempt or ends the activity as failed.
func endActivity(st *State, a *Activity, f *failurepb.Failure, identity string, env *Env) *Transition {
	d := newDraft(st, env)
	state, delay := d.activityRetry(a, f)
	if state == enumspb.RETRY_STATE_IN_PROGRESS {
		d.retryActivity(a, f, delay)
		return endedTransition(d)
	}
	ev := d.newEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED)
	ev.Attributes = &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{
		ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{
			Failure: f, ScheduledEventId: a.ScheduledID, Identity: identity, RetryState: state}}
	d.arrive(ev, d.activityStartedEvent(a, identity))
	return endedTransition(d)
}

// activityRetry decides whether a failed or timed-out attempt is tried again, and after which delay.
func (d *draft) activityRetry(a *Activity, f *failurepb.Failure) (enumspb.RetryState, time.Duration) {
	if a.CancelRequested {
		return enumspb.RETRY_STATE_CANCEL_REQUESTED, 0
	}
	var expires clock.Nanos
	if a.S2C > 0 {
		expires = a.FirstSchedAt.Add(a.S2C)
	}
	return retryDecision(a.policy(), a.Attempt, f, d.now(), expires, false)
}

// retryDecision is the rule for activities and workflows alike. capped: a delay the failure asks for is bounded by the
// policy's maximum interval.
func retryDecision(p *commonpb.RetryPolicy, attempt int32, f *failurepb.Failure, now, expires clock.Nanos, capped bool) (enumspb.RetryState, time.Duration) {
	if p == nil {
		return enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, 0
	}
	if !retryable(f, p.NonRetryableErrorTypes) {
		return enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE, 0
	}
	if p.MaximumAttempts > 0 && attempt >= p.MaximumAttempts {
		return enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, 0
	}
	delay := backoff.Interval(p, attempt)
	if next := f.GetApplicationFailureInfo().GetNextRetryDelay(); next != nil {
		delay = next.AsDuration()
		if capped {
			delay = backoff.Cap(p, delay)
		}
	}
	if expires != 0 && now.Add(delay) >= expires {
		return enumspb.RETRY_STATE_TIMEOUT, 0
	}
	return enumspb.RETRY_STATE_IN_PROGRESS, delay
}

func retryable(f *failurepb.Failure, exempt []string) bool {
	switch info := f.GetFailureInfo().(type) {
	case *failurepb.Failure_TerminatedFailureInfo, *failurepb.Failure_CanceledFailureInfo:
		return false
	case *failurepb.Failure_TimeoutFailureInfo:
		switch t := info.TimeoutFailureInfo.GetTimeoutType(); t {
		case enumspb.TIMEOUT_TYPE_START_TO_CLOSE, enumspb.TIMEOUT_TYPE_HEARTBEAT:
			return !slices.Contains(exempt, backoff.TimeoutPrefix+t.String())
		default:
			return false
		}
	case *failurepb.Failure_ServerFailureInfo:
		return !info.ServerFailureInfo.GetNonRetryable()
	case *failurepb.Failure_ApplicationFailureInfo:
		return !info.ApplicationFailureInfo.GetNonRetryable() && !slices.Contains(exempt, info.ApplicationFailureInfo.GetType())
	}
	return true
}

// retryActivity schedules the next attempt.
func (d *draft) retryActivity(a *Activity, f *failurepb.Failure, delay time.Duration) {
	n := *a
	n.Attempt++
	n.Stamp++
	n.LastEndedAt = d.now()
	n.ScheduledAt = d.now().Add(delay)
	n.StartedAt, n.HeartbeatAt, n.RequestID = 0, 0, ""
	n.LastFailure = d.keepFailure(f)
	if n.Dispatched {
		d.unput(d.activityTask(a))
	}
	n.Dispatched = false
	if delay == 0 {
		d.dispatchActivity(&n)
		return
	}
	d.setActivity(&n)
	d.durable()
}

// keepFailure encodes a failure for the activity's record, cut down when it is too large.
func (d *draft) keepFailure(f *failurepb.Failure) []byte {
	b := mustMarshal(deterministic, f)
	limit := d.env.Limits.LastFailureBytes
	if limit <= 0 || len(b) <= limit {
		return b
	}
	cut := &failurepb.Failure{Message: strings.ToValidUTF8(f.Message[:min(len(f.Message), limit/2)], ""), Source: f.Source}
	switch info := f.FailureInfo.(type) {
	case *failurepb.Failure_ApplicationFailureInfo:
		cut.FailureInfo = &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{
			Type: info.ApplicationFailureInfo.GetType(), NonRetryable: info.ApplicationFailureInfo.GetNonRetryable()}}
	case *failurepb.Failure_TimeoutFailureInfo:
		cut.FailureInfo = &failurepb.Failure_TimeoutFailureInfo{TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: info.TimeoutFailureInfo.GetTimeoutType()}}
	case *failurepb.Failure_ServerFailureInfo:
		cut.FailureInfo = info
	}
	return mustMarshal(deterministic, cut)
}

func stepCancelActivity(st *State, in CancelActivity, env *Env) *Transition {
	a, err := findActivity(st, in.Token, true)
	if err != nil {
		return refuse(st, err)
	}
	if !a.CancelRequested {
		return refuse(st, errf(InvalidArgument, "unable to mark activity as canceled without activity being request canceled first"))
	}
	d := newDraft(st, env)
	ev := d.newEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
	ev.Attributes = &historypb.HistoryEvent_ActivityTaskCanceledEventAttributes{
		ActivityTaskCanceledEventAttributes: &historypb.ActivityTaskCanceledEventAttributes{
			Details: in.Details, LatestCancelRequestedEventId: a.CancelEventID, ScheduledEventId: a.ScheduledID,
			Identity: in.Identity, WorkerVersion: in.Version}}
	d.arrive(ev, d.activityStartedEvent(a, in.Identity))
	return endedTransition(d)
}

func stepHeartbeat(st *State, in HeartbeatActivity, env *Env) *Transition {
	a, err := findActivity(st, in.Token, true)
	if err != nil {
		return refuse(st, err)
	}
	if payloadsSize(in.Details) > env.Limits.BlobBytes {
		f := &failurepb.Failure{Message: "Heartbeat details exceed size limit.", Source: "Server",
			FailureInfo: &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: true}}}
		tr := endActivity(st, a, f, in.Identity, env)
		tr.Answer = &HeartbeatAnswer{CancelRequested: true}
		return tr
	}
	d := newDraft(st, env)
	n := *a
	n.HeartbeatAt = d.now()
	if in.Details != nil {
		n.Details = mustMarshal(deterministic, in.Details)
	}
	d.setActivity(&n)
	d.durable()
	tr := d.finish()
	tr.Answer = &HeartbeatAnswer{CancelRequested: a.CancelRequested}
	return tr
}

func timeoutFailure(kind enumspb.TimeoutType, details []byte, cause *failurepb.Failure) *failurepb.Failure {
	return &failurepb.Failure{Message: fmt.Sprintf("activity %s timeout", kind), Source: "Server", Cause: cause,
		FailureInfo: &failurepb.Failure_TimeoutFailureInfo{TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{
			TimeoutType: kind, LastHeartbeatDetails: decodePayloads(details)}}}
}

// activityDue handles an activity whose deadline has come: its next attempt is dispatched, or it times out.
func (d *draft) activityDue(a *Activity) {
	at, kind := a.timeout()
	if at == 0 || at > d.env.Now {
		if !a.Dispatched && a.StartedAt == 0 {
			d.dispatchActivity(a)
		}
		return
	}
	var last *failurepb.Failure
	if f := decodeFailure(a.LastFailure); f.GetApplicationFailureInfo() != nil {
		last = f
	}
	f := timeoutFailure(kind, a.Details, last)
	state := enumspb.RETRY_STATE_TIMEOUT
	if kind == enumspb.TIMEOUT_TYPE_START_TO_CLOSE || kind == enumspb.TIMEOUT_TYPE_HEARTBEAT {
		var delay time.Duration
		if state, delay = d.activityRetry(a, f); state == enumspb.RETRY_STATE_IN_PROGRESS {
			d.retryActivity(a, f, delay)
			return
		}
		if state == enumspb.RETRY_STATE_TIMEOUT {
			cause := f
			if last != nil {
				cause = last
			}
			f = timeoutFailure(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, a.Details, cause)
			f.Message = "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
		}
	}
	ev := d.newEvent(enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
	ev.Attributes = &historypb.HistoryEvent_ActivityTaskTimedOutEventAttributes{
		ActivityTaskTimedOutEventAttributes: &historypb.ActivityTaskTimedOutEventAttributes{
			Failure: f, ScheduledEventId: a.ScheduledID, RetryState: state}}
	var started *historypb.HistoryEvent
	if a.StartedAt != 0 {
		started = d.activityStartedEvent(a, "")
	}
	d.arrive(ev, started)
}
