package execution

import (
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/backoff"
	"github.com/perdure/perdure/internal/clock"
)

// stepStart starts a run, alone or together with a signal or an update, under the workflow ID policies. cur is the
// current run of the workflow ID, open or closed, or nil.
func stepStart(cur *State, in StartWorkflow, env *Env) *Transition {
	if cur != nil {
		if tr := startKnown(cur, in, env); tr != nil {
			return tr
		}
		if tr := startRecalled(cur, in, env); tr != nil {
			return tr
		}
		if cur.Open() {
			return startOnOpen(cur, in, env)
		}
		if err := reuseRefused(cur, in.Request); err != nil {
			return refuse(cur, err)
		}
	}
	d, eager := startRun(env, in, cur != nil)
	return newRunTransition(cur, d, eager, in)
}

// newRunTransition answers a start that made the run in d. If there was a current run, the new one is its successor in
// the same batch; otherwise it is the transition itself.
func newRunTransition(cur *State, d *draft, eager *WorkflowTaskStarted, in StartWorkflow) *Transition {
	a := &StartAnswer{RunID: d.Key.Run, FirstRunID: d.Start.FirstRunID, Started: true,
		Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, Eager: eager}
	if in.Update != nil {
		var err error
		if a.Update, err = d.admit(*in.Update); err != nil {
			return answer(cur, &StartAnswer{UpdateErr: err}) // both halves or none
		}
	}
	tr := d.finish()
	if cur == nil {
		tr.Answer = a
		return tr
	}
	return &Transition{Next: cur, Durable: true, Successor: tr, Answer: a}
}

// startKnown answers requests the current run already knows: a repeated start, or an update it has completed.
func startKnown(cur *State, in StartWorkflow, env *Env) *Transition {
	known := func() *StartAnswer {
		return &StartAnswer{RunID: cur.Key.Run, FirstRunID: cur.Start.FirstRunID, Status: cur.Info.Status}
	}
	if in.Update != nil {
		if u, ok := cur.Updates.Get(in.Update.Request.GetMeta().GetUpdateId()); ok && u.CompletedID != 0 {
			a := known()
			a.Update = completedUpdate(cur, u)
			return answer(cur, a)
		}
		if cur.Open() && (cur.Start.RequestID == in.Request.RequestId || cur.KnowsUpdate(in.Update.Request.GetMeta().GetUpdateId())) {
			return startJoin(cur, in, env, cur.Start.RequestID == in.Request.RequestId)
		}
		if cur.Start.RequestID == in.Request.RequestId && !cur.Open() && !env.Limits.ForgetRuns {
			// Its run is over: the request is not applied again, and its update shares the run's fate.
			a := known()
			a.Started, a.UpdateErr = true, errCompleted()
			if u, ok := cur.Updates.Get(in.Update.Request.GetMeta().GetUpdateId()); ok && u.AcceptedID != 0 {
				a.Update, a.UpdateErr = closedUpdate(cur, u), nil
			}
			return answer(cur, a)
		}
		return nil
	}
	if in.Request.RequestId == "" {
		return nil
	}
	if r, ok := cur.Requests.Get(in.Request.RequestId); cur.Start.RequestID == in.Request.RequestId && (in.Signal == nil || ok && r.signals()) {
		a := known()
		a.Started = true
		if t := &cur.Info.WFT; in.Eager && in.Request.RequestEagerExecution && t.Attempt == 1 && t.StartedID == 3 && t.Kind == TaskNormal {
			a.Eager = startedAnswer(cur, false)
		}
		return answer(cur, a)
	}
	r, ok := cur.Requests.Get(in.Request.RequestId)
	if ok && in.Signal != nil && r.signals() && !cur.Open() && !env.Limits.ForgetRuns {
		return answer(cur, known())
	}
	if ok && r.Type == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED && in.Signal == nil {
		a := known()
		a.Attached = true
		return answer(cur, a)
	}
	return nil
}

// KnowsUpdate tells whether the run has accepted the update, or has it in memory.
func (s *State) KnowsUpdate(id string) bool {
	if _, ok := s.Updates.Get(id); ok {
		return true
	}
	_, ok := s.Volatile.Updates.Get(id)
	return ok
}

// startOnOpen applies the conflict policy to an open run.
func startOnOpen(cur *State, in StartWorkflow, env *Env) *Transition {
	switch in.Request.WorkflowIdConflictPolicy {
	case enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING:
		return startJoin(cur, in, env, false)
	case enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING:
		n, eager := startRun(env, in, true)
		next := newRunTransition(nil, n, eager, in)
		if next.Next == nil {
			return answer(cur, next.Answer)
		}
		d := newDraft(cur, env)
		d.terminate("TerminateIfRunning WorkflowIdReusePolicy", textPayloads("terminated by new runID: "+string(env.NewRunID)), "history-service", nil)
		tr := d.finish()
		tr.Successor, tr.Answer, next.Answer = next, next.Answer, nil
		return tr
	}
	return refuse(cur, alreadyStarted(cur, "Workflow execution is already running. WorkflowId: %s, RunId: %s."))
}

// startJoin applies a start to the open run: delivers its signal or update, or attaches it.
func startJoin(cur *State, in StartWorkflow, env *Env, started bool) *Transition {
	a := &StartAnswer{RunID: cur.Key.Run, FirstRunID: cur.Start.FirstRunID, Started: started, Status: cur.Info.Status}
	switch {
	case in.Signal != nil:
		return signalWithStart(cur, *in.Signal, env, a)
	case in.Update != nil:
		d := newDraft(cur, env)
		a.Update, a.UpdateErr = d.admit(*in.Update)
		if a.UpdateErr != nil {
			n := updateNote(in.Update.Request, NoteRefused)
			n.Text = a.UpdateErr.Error()
			return noted(cur, env, n, a, nil)
		}
		tr := d.finish()
		tr.Answer = a
		return tr
	}
	o := in.Request.OnConflictOptions
	if o == nil || !o.AttachRequestId && !o.AttachCompletionCallbacks && !o.AttachLinks {
		return answer(cur, a)
	}
	d := newDraft(cur, env)
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
	attrs := &historypb.WorkflowExecutionOptionsUpdatedEventAttributes{Identity: in.Request.Identity}
	if o.AttachRequestId {
		attrs.AttachedRequestId = in.Request.RequestId
	}
	if o.AttachCompletionCallbacks {
		attrs.AttachedCompletionCallbacks = in.Request.CompletionCallbacks
	}
	if o.AttachLinks {
		ev.Links = in.Request.Links
	}
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionOptionsUpdatedEventAttributes{WorkflowExecutionOptionsUpdatedEventAttributes: attrs}
	d.arrive(ev, nil)
	tr := d.finish()
	tr.Answer = a
	return tr
}

// reuseRefused applies the reuse policy to a closed run.
func reuseRefused(cur *State, req *workflowservice.StartWorkflowExecutionRequest) error {
	switch req.WorkflowIdReusePolicy {
	case enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE:
		return alreadyStarted(cur, "Workflow execution already finished. WorkflowId: %s, RunId: %s. Workflow Id reuse policy: reject duplicate workflow Id.")
	case enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY:
		if cur.Info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED || cur.Info.Status == enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
			return alreadyStarted(cur, "Workflow execution already finished successfully. WorkflowId: %s, RunId: %s. Workflow Id reuse policy: allow duplicate workflow Id if last run failed.")
		}
	}
	return nil
}

func alreadyStarted(cur *State, format string) *Error {
	e := errf(AlreadyExists, format, cur.Key.Workflow, cur.Key.Run)
	e.Detail = &errordetailspb.WorkflowExecutionAlreadyStartedFailure{
		StartRequestId: cur.Start.RequestID, RunId: string(cur.Key.Run), FirstExecutionRunId: string(cur.Start.FirstRunID)}
	return e
}

// startRun makes the draft of a fresh run from a start request. follows: the workflow ID had a run before.
func startRun(env *Env, in StartWorkflow, follows bool) (*draft, *WorkflowTaskStarted) {
	req := in.Request
	run := env.NewRunID
	a := &historypb.WorkflowExecutionStartedEventAttributes{
		WorkflowId: req.WorkflowId, WorkflowType: req.WorkflowType,
		TaskQueue: &taskqueuepb.TaskQueue{Name: req.TaskQueue.GetName(), Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		Input:     req.Input, Header: req.Header, Identity: req.Identity,
		FirstExecutionRunId: string(run), OriginalExecutionRunId: string(run), Attempt: 1,
		RetryPolicy: backoff.WithDefaults(req.RetryPolicy), CronSchedule: req.CronSchedule,
		Memo: req.Memo, SearchAttributes: req.SearchAttributes, Priority: req.Priority,
		ContinuedFailure: req.ContinuedFailure, LastCompletionResult: req.LastCompletionResult,
		CompletionCallbacks: req.CompletionCallbacks, VersioningOverride: req.VersioningOverride,
	}
	var delay time.Duration
	if req.CronSchedule != "" {
		a.Initiator = enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
		delay, _ = backoff.NextCron(req.CronSchedule, env.Now, env.Now)
	} else {
		delay = clock.Duration(req.WorkflowStartDelay)
	}
	setTimeouts(a, clock.Duration(req.WorkflowExecutionTimeout), clock.Duration(req.WorkflowRunTimeout),
		clock.Duration(req.WorkflowTaskTimeout), delay, env)
	if a.WorkflowExecutionTimeout.AsDuration() > 0 {
		a.WorkflowExecutionExpirationTime = roundMillis(env.Now.Add(a.WorkflowExecutionTimeout.AsDuration() + delay)).Proto()
	}
	if p := in.Parent; p != nil {
		a.ParentWorkflowNamespaceId, a.ParentWorkflowNamespace = string(p.NamespaceID), p.Namespace
		a.ParentWorkflowExecution = &commonpb.WorkflowExecution{WorkflowId: string(p.WorkflowID), RunId: string(p.RunID)}
		a.ParentInitiatedEventId = p.InitiatedID
		a.RootWorkflowExecution = &commonpb.WorkflowExecution{WorkflowId: string(p.RootID), RunId: string(p.RootRunID)}
	}
	eager := in.Eager && req.RequestEagerExecution && delay == 0
	a.EagerExecutionAccepted = eager
	d := begin(env, Start{RequestID: req.RequestId, Follows: follows}, a, req.UserMetadata, req.Links)
	d.Info.AwaitingParent = in.Parent != nil
	if in.Signal != nil {
		d.writeSignal(*in.Signal)
	}
	if !eager {
		return d, nil
	}
	d.schedule(true)
	return d, d.startTask(d.now(), req.RequestId, req.Identity, false)
}

// roundMillis is t to the nearest millisecond, as expiration times are told.
func roundMillis(t clock.Nanos) clock.Nanos {
	return (t + clock.Nanos(time.Millisecond/2)) / clock.Nanos(time.Millisecond) * clock.Nanos(time.Millisecond)
}

// setTimeouts fills in the timeouts after defaulting, and the first backoff.
func setTimeouts(a *historypb.WorkflowExecutionStartedEventAttributes, execution, run, task, delay time.Duration, env *Env) {
	if run == 0 || execution > 0 && run > execution {
		run = execution
	}
	if task == 0 {
		task = env.Limits.TaskTimeoutDefault
	}
	task = min(task, env.Limits.TaskTimeoutMax)
	if run > 0 {
		task = min(task, run)
	}
	a.WorkflowExecutionTimeout, a.WorkflowRunTimeout = durationpb.New(execution), durationpb.New(run)
	a.WorkflowTaskTimeout, a.FirstWorkflowTaskBackoff = durationpb.New(task), durationpb.New(delay)
}

// begin makes a new run, env.NewRunID, and writes its first event; s has what that event does not tell. finish schedules
// the first workflow task unless the run backs off.
func begin(env *Env, s Start, a *historypb.WorkflowExecutionStartedEventAttributes,
	meta *sdkpb.UserMetadata, links []*commonpb.Link) *draft {
	key := env.Key
	key.Run = env.NewRunID
	s.Namespace = env.Namespace.Name
	st := &State{Key: key, Start: &s, Info: Info{NextEventID: 1}}
	d := newDraft(st, env)
	d.tr.Current, d.tr.Index = true, true
	ev := d.newEvent(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
	ev.UserMetadata, ev.Links = meta, links
	ev.Attributes = &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: a}
	d.write(ev)
	d.durable()
	d.needTask = true
	return d
}

func textPayloads(s string) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{
		Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: jsonString(s)}}}
}
