package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/handlers"
)

// None is the result of what has none.
type None = converter.None

// Any is the type of a workflow of which nothing is known.
type Any struct{}

// Handle is a workflow of type W whose Run gives an R. Safe for concurrent use.
type Handle[W, R any] struct {
	c        *Client
	id       string
	run      string // messages go there; empty: to the current run
	firstRun string // of the chain, where it is known: messages go to no other
	from     string // where Result and History begin
	started  bool
}

// AnyHandle is one of which nothing is known: messages go by name, results are decoded when asked.
type AnyHandle = Handle[Any, converter.Value]

// Target is a workflow of type W that messages can be sent to.
type Target[W any] interface {
	target(W) *ref
}

type ref struct {
	c                 *Client
	id, run, firstRun string
}

func (h *Handle[W, R]) target(W) *ref { return h.ref() }

func (h *Handle[W, R]) ref() *ref { return &ref{h.c, h.id, h.run, h.firstRun} }

// HandleOf is a handle of a workflow that is known by its ID. With an empty run ID messages go to the run that is current then.
func HandleOf[W, R any](c *Client, workflowID, runID string) *Handle[W, R] {
	return &Handle[W, R]{c: c, id: workflowID, run: runID, from: runID}
}

// Handle is one of a workflow of any type.
func (c *Client) Handle(workflowID, runID string) *AnyHandle {
	return HandleOf[Any, converter.Value](c, workflowID, runID)
}

// ID is the workflow's.
func (h *Handle[W, R]) ID() string { return h.id }

// RunID is the run that messages go to. It is empty when that is the current one, as for a handle from Start.
func (h *Handle[W, R]) RunID() string { return h.run }

// FirstRunID is the run that a start answered with, empty for a handle made of an ID. It is the first of its chain unless the
// workflow was running already and had continued as new; messages are held to the chain only where it is known to be the first.
func (h *Handle[W, R]) FirstRunID() string {
	if h.run != "" {
		return ""
	}
	return h.from
}

// begun is the handle of a workflow that a start answered with. Only a run that was made then is the first one of its chain.
func begun[W, R any](c *Client, id, run string, made bool) *Handle[W, R] {
	h := &Handle[W, R]{c: c, id: id, from: run, started: made}
	if made {
		h.firstRun = run
	}
	return h
}

// Started says whether the call that gave this handle started the run; false, it found one, or it is a handle made of IDs.
func (h *Handle[W, R]) Started() bool { return h.started }

// Result waits for the end, following runs that continue this one. The error is a *WorkflowFailedError when the workflow ended
// in another way than completed. It begins with the run of FirstRunID, if the handle has one; where retention has removed that, with
// the current run of its chain.
func (h *Handle[W, R]) Result(ctx context.Context) (R, error) {
	var out R
	run := h.from
	for {
		e, err := h.ref().closing(ctx, run)
		if err != nil {
			if later := h.later(ctx, run, err); later != "" {
				run = later
				continue
			}
			return out, typed(h.id, err)
		}
		next, payloads, cause := h.c.outcome(e)
		if next != "" {
			run = next
			continue
		}
		if cause != nil {
			return out, &WorkflowFailedError{WorkflowID: h.id, RunID: run, Cause: cause}
		}
		return out, h.c.decodeResult(payloads, &out)
	}
}

// later is the current run of the chain, where the run that was asked for is not there any more.
func (h *Handle[W, R]) later(ctx context.Context, run string, err error) string {
	var gone *serviceerror.NotFound
	if !errors.As(err, &gone) || h.firstRun == "" {
		return ""
	}
	d, err := h.c.service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: h.c.o.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: h.id},
	})
	if i := d.GetWorkflowExecutionInfo(); err == nil && i.GetFirstRunId() == h.firstRun && i.GetExecution().GetRunId() != run {
		return i.Execution.RunId
	}
	return ""
}

func (c *Client) decodeResult(ps *commonpb.Payloads, ptr any) error {
	if v, ok := ptr.(*converter.Value); ok {
		*v = converter.NewValue(c.o.Converter, ps)
		return nil
	}
	return converter.FromPayloads(c.o.Converter, ps, ptr)
}

// closing waits for the event that ends a run.
func (r *ref) closing(ctx context.Context, run string) (*historypb.HistoryEvent, error) {
	var token []byte
	for {
		page, err := retrying(ctx, func(ctx context.Context) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return r.c.service.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
				Namespace: r.c.o.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: r.id, RunId: run}, NextPageToken: token,
				WaitNewEvent: true, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT, SkipArchival: true,
			})
		})
		if err != nil {
			return nil, err
		}
		if events := page.History.GetEvents(); len(events) > 0 {
			return events[len(events)-1], nil
		}
		if token = page.NextPageToken; len(token) == 0 {
			return nil, fmt.Errorf("the history of workflow %q ends without a closing event", r.id)
		}
	}
}

// outcome reads a closing event.
func (c *Client) outcome(e *historypb.HistoryEvent) (next string, result *commonpb.Payloads, err error) {
	f := c.o.Failures
	switch a := e.Attributes.(type) {
	case *historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes:
		x := a.WorkflowExecutionCompletedEventAttributes
		return x.NewExecutionRunId, x.Result, nil
	case *historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes:
		x := a.WorkflowExecutionFailedEventAttributes
		return x.NewExecutionRunId, nil, f.FromFailure(x.Failure)
	case *historypb.HistoryEvent_WorkflowExecutionTimedOutEventAttributes:
		return a.WorkflowExecutionTimedOutEventAttributes.NewExecutionRunId, nil, &failure.TimeoutError{Message: "workflow timed out", Kind: enumspb.TIMEOUT_TYPE_START_TO_CLOSE}
	case *historypb.HistoryEvent_WorkflowExecutionContinuedAsNewEventAttributes:
		return a.WorkflowExecutionContinuedAsNewEventAttributes.NewExecutionRunId, nil, nil
	case *historypb.HistoryEvent_WorkflowExecutionCanceledEventAttributes:
		return "", nil, &failure.CanceledError{Details: converter.NewValue(c.o.Converter, a.WorkflowExecutionCanceledEventAttributes.Details)}
	case *historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes:
		return "", nil, &failure.TerminatedError{Message: a.WorkflowExecutionTerminatedEventAttributes.Reason}
	}
	return "", nil, fmt.Errorf("unexpected closing event %s", e.EventType)
}

func (r *ref) execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: r.id, RunId: r.run}
}

// Cancel asks the workflow to cancel.
func (h *Handle[W, R]) Cancel(ctx context.Context, reason string) error {
	request := &workflowservice.RequestCancelWorkflowExecutionRequest{
		Namespace: h.c.o.Namespace, WorkflowExecution: h.ref().execution(), FirstExecutionRunId: h.firstRun,
		Identity: h.c.o.Identity, RequestId: uuid.NewString(), Reason: reason,
	}
	_, err := retrying(ctx, func(ctx context.Context) (*workflowservice.RequestCancelWorkflowExecutionResponse, error) {
		return h.c.service.RequestCancelWorkflowExecution(ctx, request)
	})
	return typed(h.id, err)
}

// Terminate ends the workflow without asking its code.
func (h *Handle[W, R]) Terminate(ctx context.Context, reason string, details ...any) error {
	ps, err := converter.ToPayloads(h.c.o.Converter, details...)
	if err != nil {
		return err
	}
	_, err = retrying(ctx, func(ctx context.Context) (*workflowservice.TerminateWorkflowExecutionResponse, error) {
		return h.c.service.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{
			Namespace: h.c.o.Namespace, WorkflowExecution: h.ref().execution(), FirstExecutionRunId: h.firstRun,
			Identity: h.c.o.Identity, Reason: reason, Details: ps,
		})
	})
	return typed(h.id, err)
}

// Describe is the state of the workflow.
func (h *Handle[W, R]) Describe(ctx context.Context) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	d, err := retrying(ctx, func(ctx context.Context) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
		return h.c.service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: h.c.o.Namespace, Execution: h.ref().execution()})
	})
	return d, typed(h.id, err)
}

// History are the events of the run so far.
func (h *Handle[W, R]) History(ctx context.Context) iter.Seq2[*historypb.HistoryEvent, error] {
	return func(yield func(*historypb.HistoryEvent, error) bool) {
		run := h.from
		for token := []byte(nil); ; {
			page, err := retrying(ctx, func(ctx context.Context) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
				return h.c.service.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
					Namespace: h.c.o.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: h.id, RunId: run}, NextPageToken: token,
				})
			})
			if err != nil {
				yield(nil, typed(h.id, err))
				return
			}
			for _, e := range page.History.GetEvents() {
				if !yield(e, nil) {
					return
				}
			}
			if token = page.NextPageToken; len(token) == 0 {
				return
			}
		}
	}
}

// SignalByName sends a signal that has no Go type.
func (h *Handle[W, R]) SignalByName(ctx context.Context, name string, args ...any) error {
	return h.ref().signal(ctx, name, args)
}

// QueryByName asks a query that has no Go type.
func (h *Handle[W, R]) QueryByName(ctx context.Context, name string, args ...any) (converter.Value, error) {
	return h.ref().query(ctx, name, args)
}

// UpdateByName makes an update that has no Go type and waits for its result.
func (h *Handle[W, R]) UpdateByName(ctx context.Context, name string, args ...any) (converter.Value, error) {
	u, err := beginUpdate[converter.Value](ctx, h.ref(), name, UpdateOptions{WaitFor: Completed}, args)
	if err != nil {
		return converter.Value{}, err
	}
	return u.Result(ctx)
}

func lookup[W any](kind handlers.Kind, method any) (*handlers.Definition, *handlers.Handler, error) {
	d, err := handlers.Of(reflect.TypeFor[W](), flow.Rules)
	if err != nil {
		return nil, nil, err
	}
	h, err := d.Lookup(kind, method)
	if err == nil && kind == handlers.Run && d.Dynamic {
		err = &UsageError{Text: fmt.Sprintf("workflow %s is dynamic; start by name what it is to run as", d.Type)}
	}
	return d, h, err
}

func signal[W any](ctx context.Context, to Target[W], method any, args ...any) error {
	_, h, err := lookup[W](handlers.Signal, method)
	if err != nil {
		return err
	}
	var w W
	return to.target(w).signal(ctx, h.Name, args)
}

func (r *ref) signal(ctx context.Context, name string, args []any) error {
	input, err := converter.ToPayloads(r.c.o.Converter, args...)
	if err != nil {
		return err
	}
	request := &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: r.c.o.Namespace, WorkflowExecution: r.execution(), SignalName: name, Input: input, Identity: r.c.o.Identity, RequestId: uuid.NewString(),
	}
	call := &Call{Kind: CallSignal, WorkflowID: r.id, Message: name}
	_, err = send(ctx, r.c, call, func(ctx context.Context, header *commonpb.Header) (*workflowservice.SignalWorkflowExecutionResponse, error) {
		request.Header = header
		return r.c.service.SignalWorkflowExecution(ctx, request)
	})
	return typed(r.id, err)
}

// QueryOption changes one query.
type QueryOption func(*workflowservice.QueryWorkflowRequest)

// RejectQuery says which workflows this query is not put to, whatever Options.QueryReject says.
func RejectQuery(when enumspb.QueryRejectCondition) QueryOption {
	return func(r *workflowservice.QueryWorkflowRequest) { r.QueryRejectCondition = when }
}

func query[W, Q any](ctx context.Context, to Target[W], method any, o []QueryOption, args ...any) (Q, error) {
	var out Q
	_, h, err := lookup[W](handlers.Query, method)
	if err != nil {
		return out, err
	}
	var w W
	v, err := to.target(w).query(ctx, h.Name, args, o...)
	if err != nil {
		return out, err
	}
	return out, v.Get(&out)
}

func (r *ref) query(ctx context.Context, name string, args []any, o ...QueryOption) (converter.Value, error) {
	input, err := converter.ToPayloads(r.c.o.Converter, args...)
	if err != nil {
		return converter.Value{}, err
	}
	request := &workflowservice.QueryWorkflowRequest{
		Namespace: r.c.o.Namespace, Execution: r.execution(), Query: &querypb.WorkflowQuery{QueryType: name, QueryArgs: input},
		QueryRejectCondition: r.c.o.QueryReject,
	}
	for _, option := range o {
		option(request)
	}
	call := &Call{Kind: CallQuery, WorkflowID: r.id, Message: name}
	answer, err := send(ctx, r.c, call, func(ctx context.Context, header *commonpb.Header) (*workflowservice.QueryWorkflowResponse, error) {
		request.Query.Header = header
		return r.c.service.QueryWorkflow(ctx, request)
	})
	var failed *serviceerror.QueryFailed
	switch {
	case errors.As(err, &failed):
		cause := error(failed)
		if f := failed.Failure; f != nil {
			cause = r.c.o.Failures.FromFailure(f)
		}
		return converter.Value{}, &QueryFailedError{cause}
	case err != nil:
		return converter.Value{}, typed(r.id, err)
	case answer.QueryRejected != nil:
		return converter.Value{}, &QueryRejectedError{answer.QueryRejected.Status}
	}
	return converter.NewValue(r.c.o.Converter, answer.QueryResult), nil
}

// Count is the number of workflows that a visibility query selects.
func (c *Client) Count(ctx context.Context, query string) (int64, error) {
	answer, err := retrying(ctx, func(ctx context.Context) (*workflowservice.CountWorkflowExecutionsResponse, error) {
		return c.service.CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: c.o.Namespace, Query: query})
	})
	return answer.GetCount(), err
}

// List are the workflows that a visibility query selects.
func (c *Client) List(ctx context.Context, query string) iter.Seq2[*workflowpb.WorkflowExecutionInfo, error] {
	return func(yield func(*workflowpb.WorkflowExecutionInfo, error) bool) {
		for token := []byte(nil); ; {
			page, err := retrying(ctx, func(ctx context.Context) (*workflowservice.ListWorkflowExecutionsResponse, error) {
				return c.service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: c.o.Namespace, Query: query, NextPageToken: token})
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range page.Executions {
				if !yield(e, nil) {
					return
				}
			}
			if token = page.NextPageToken; len(token) == 0 {
				return
			}
		}
	}
}
