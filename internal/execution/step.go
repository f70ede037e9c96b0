package execution

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	errordetailspb "go.temporal.io/api/errordetails/v1"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/ids"
)

var deterministic = proto.MarshalOptions{Deterministic: true}

// Needs names the stored events that Step wants for in, so that the driver can put them into Env.Stored first. Most
// inputs need none.
func Needs(st *State, in Input) []ids.EventID {
	if st == nil || !st.Open() {
		return nil
	}
	switch in := in.(type) {
	case StartActivity:
		if a, ok := st.Activities.Get(in.Ref.ScheduledID); ok && a.scheduled == nil {
			return []ids.EventID{a.ScheduledID}
		}
	case CompleteWorkflowTask:
		// A retry or cron successor starts with the first event's input and header.
		if closes(in.Request.GetCommands()) && (st.Start.CronSchedule != "" || len(st.Start.RetryPolicy) > 0) {
			return []ids.EventID{1}
		}
	case TimerDue:
		if st.Info.RunDeadline != 0 && (st.Start.CronSchedule != "" || len(st.Start.RetryPolicy) > 0) {
			return []ids.EventID{1}
		}
	}
	return nil
}

// Step decides what in means for st, the run it addresses; st is nil when there is none. st is never changed. The
// transition's Err carries a refusal. A panic means a broken invariant; st is then still good.
func Step(st *State, in Input, env *Env) *Transition {
	if start, ok := in.(StartWorkflow); ok {
		return stepStart(st, start, env)
	}
	if st == nil {
		return refuse(nil, notFound(env.Key))
	}
	switch in := in.(type) {
	case SignalWorkflow:
		return stepSignal(st, in, env)
	case RequestCancel:
		return stepCancel(st, in, env)
	case Terminate:
		return stepTerminate(st, in, env)
	case StartWorkflowTask:
		return stepStartTask(st, in, env)
	case CompleteWorkflowTask:
		return stepCompleteTask(st, in, env)
	case FailWorkflowTask:
		return stepFailTask(st, in, env)
	case ResetSticky:
		return stepResetSticky(st, env)
	case StickyGone:
		return stepStickyGone(st, in, env)
	case StartActivity:
		return stepStartActivity(st, in, env)
	case CompleteActivity:
		return stepCompleteActivity(st, in, env)
	case FailActivity:
		return stepFailActivity(st, in, env)
	case CancelActivity:
		return stepCancelActivity(st, in, env)
	case HeartbeatActivity:
		return stepHeartbeat(st, in, env)
	case UpdateWorkflow:
		return stepUpdate(st, in, env)
	case PollUpdate:
		return stepPollUpdate(st, in, env)
	case QueryWorkflow:
		return stepQuery(st, in, env)
	case ForgetQuery:
		return stepForgetQuery(st, in, env)
	case TimerDue:
		return stepTimerDue(st, env)
	case ResetWorkflow:
		return stepReset(st, in, env)
	case Describe:
		return answer(st, describe(st, env))
	case ChildStartResult:
		return stepChildStartResult(st, in, env)
	case ChildClosed:
		return stepChildClosed(st, in, env)
	case ParentAck:
		return stepParentAck(st, in, env)
	case ExternalSignalResult:
		return stepExternalSignalResult(st, in, env)
	case ExternalCancelResult:
		return stepExternalCancelResult(st, in, env)
	case refusal:
		return refuse(st, in.err)
	case Delivered:
		return stepDelivered(st, in, env)
	}
	panic(fmt.Sprintf("execution: no step for %T", in))
}

// Open tells whether the run has not closed.
func (s *State) Open() bool { return s.Info.CloseEventID == 0 }

func notFound(k ids.RunKey) *Error {
	e := &Error{Kind: NotFound, Detail: &errordetailspb.NotFoundFailure{}}
	if k.Run == "" {
		e.Message = fmt.Sprintf("workflow not found for ID: %s", k.Workflow)
	} else {
		e.Message = fmt.Sprintf("workflow execution not found for workflow ID %q and run ID %q", k.Workflow, k.Run)
	}
	return e
}

func notFoundf(format string, args ...any) *Error {
	e := errf(NotFound, format, args...)
	e.Detail = &errordetailspb.NotFoundFailure{}
	return e
}

func errCompleted() *Error { return notFoundf("workflow execution already completed") }

func errBusyClosing() *Error {
	e := errf(ResourceExhausted, "workflow operation can not be applied because workflow is closing")
	e.Cause = enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
	return e
}

func notReadyf(format string, args ...any) *Error {
	e := errf(FailedPrecondition, format, args...)
	e.Detail = &errordetailspb.WorkflowNotReadyFailure{}
	return e
}

// chainMismatch tells whether a request pins another chain than st's.
func chainMismatch(st *State, first ids.RunID) bool {
	return first != "" && first != st.Start.FirstRunID
}
