package flow

import (
	"errors"
	"log/slog"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"

	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/retry"
)

// ContinueAsNewError, returned by the main method or a signal handler, ends the run and starts the next.
type ContinueAsNewError struct {
	Type    string
	Args    []any
	Options ContinueAsNewOptions
}

// ContinueAsNewOptions change the next run. Zero values leave what this one has.
type ContinueAsNewOptions struct {
	TaskQueue               string
	RunTimeout, TaskTimeout time.Duration
	Retry                   *retry.RetryPolicy
	// Memo and SearchAttributes, if not nil, take the place of this run's.
	Memo, SearchAttributes map[string]any
}

func (e *ContinueAsNewError) Error() string { return "continue as new: " + e.Type }

// finishIfDone closes the run once its main method has returned and no handler is at work any more.
func (r *Run) finishIfDone() {
	if r.closed || !r.main.ready {
		return
	}
	for _, w := range r.working {
		if !w.abandon && !w.done {
			if !r.replaying {
				r.Log().Debug("run waits for its handlers", "handler", w.name)
			}
			return
		}
	}
	r.closed = true
	r.locals = nil // nobody waits for them, and nothing may come after what closes the run
	r.warnOfLeftovers()
	r.command(r.closing(), "", nil)
}

func (r *Run) closing() *commandpb.Command {
	err := r.main.err
	var next *ContinueAsNewError
	switch {
	case err == nil:
		c := &commandpb.CompleteWorkflowExecutionCommandAttributes{}
		if r.def.Run.Result != nil {
			c.Result = r.encode(r.main.value)
		}
		return &commandpb.Command{
			CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
			Attributes:  &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{CompleteWorkflowExecutionCommandAttributes: c},
		}
	case errors.As(err, &next):
		return r.continueAsNew(next)
	case r.root.canceled() && failure.IsCanceled(err):
		c := &commandpb.CancelWorkflowExecutionCommandAttributes{}
		var canceled *failure.CanceledError
		if errors.As(err, &canceled) {
			c.Details, _ = canceled.Details.Encode(r.Env.Converter)
		}
		return &commandpb.Command{
			CommandType: enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
			Attributes:  &commandpb.Command_CancelWorkflowExecutionCommandAttributes{CancelWorkflowExecutionCommandAttributes: c},
		}
	}
	return &commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_FailWorkflowExecutionCommandAttributes{
			FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{Failure: r.Env.Failures.ToFailure(err)},
		},
	}
}

func (r *Run) continueAsNew(e *ContinueAsNewError) *commandpb.Command {
	o, name := e.Options, or(e.Type, r.Info.Type)
	c := &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{
		WorkflowType: &commonpb.WorkflowType{Name: name},
		TaskQueue:    &taskqueuepb.TaskQueue{Name: or(o.TaskQueue, r.Info.TaskQueue)},
		Input:        r.encode(e.Args...),
		Header:       r.outgoing(&context{s: r.root}, Call{Kind: CallContinueAsNew, Name: name, Header: r.Info.Header.GetFields()}),
		Memo:         r.Info.Memo, SearchAttributes: r.Info.SearchAttributes,
		WorkflowRunTimeout: duration(orDuration(o.RunTimeout, r.Info.RunTimeout)), WorkflowTaskTimeout: duration(orDuration(o.TaskTimeout, r.Info.TaskTimeout)),
		Initiator: enumspb.CONTINUE_AS_NEW_INITIATOR_WORKFLOW,
	}
	if o.Memo != nil {
		c.Memo = &commonpb.Memo{Fields: r.fields(o.Memo)}
	}
	if o.SearchAttributes != nil {
		c.SearchAttributes = r.attributes(o.SearchAttributes)
	}
	c.RetryPolicy = r.started.GetRetryPolicy()
	if o.Retry != nil {
		c.RetryPolicy = o.Retry.ToProto()
	}
	return &commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
		Attributes:  &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{ContinueAsNewWorkflowExecutionCommandAttributes: c},
	}
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func orDuration(d, otherwise time.Duration) time.Duration {
	if d != 0 {
		return d
	}
	return otherwise
}

// warnOfLeftovers says once, and not on replay, what the run leaves behind.
func (r *Run) warnOfLeftovers() {
	if r.replaying {
		return
	}
	for _, s := range r.inbox {
		r.Log().Warn("signal had no handler", "signal", s.SignalName)
	}
	for _, w := range r.working {
		if w.done {
			continue
		}
		r.Log().Debug("handler was abandoned at work, as it may be", "kind", w.kind, "handler", w.name, "update_id", w.id)
	}
}

// Log is a logger that says which run it is and is silent on replay.
func (r *Run) Log() *slog.Logger {
	return slog.New(&quietOnReplay{r: r, Handler: r.Env.Log.Handler()}).With(
		"namespace", r.Info.Namespace, "workflow_type", r.Info.Type, "workflow_id", r.Info.WorkflowID, "run_id", r.Info.RunID)
}
