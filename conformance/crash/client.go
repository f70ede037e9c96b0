package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdkclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	namespace      = "default"
	attemptTimeout = 5 * time.Second
)

// client asks for things and notes what was acknowledged. It repeats a request with the same request ID until it has an
// answer, as SDKs do. One client is used by one goroutine at a time, except for its sdk and ledger.
type client struct {
	number int
	sdk    sdkclient.Client
	api    workflowservice.WorkflowServiceClient // for all that no SDK is needed for
	ledger *ledger
	rng    *rand.Rand
}

func (c *client) service() workflowservice.WorkflowServiceClient { return c.api }

// requestID is fresh and the same for the same seed.
func (c *client) requestID() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(c.rng.Uint32())
	}
	id, _ := uuid.FromBytes(b[:]) // 16 bytes are always right
	return id.String()
}

func payloads(args ...any) *commonpb.Payloads {
	p, err := converter.GetDefaultDataConverter().ToPayloads(args...)
	if err != nil {
		panic(err) // plain numbers, strings and structs always encode
	}
	return p
}

func execution(id, run string) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: id, RunId: run}
}

// passing says whether asking again may help: the server is away, slow or busy. Internal and Unknown are asked again too,
// and reported, since a server that was killed has no reason to answer so.
func passing(err error) (again, surprise bool) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true, false
	}
	var notReady *serviceerror.WorkflowNotReady
	if errors.As(err, &notReady) {
		return true, false
	}
	switch serviceerror.ToStatus(err).Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted:
		return true, false
	case codes.Internal, codes.Unknown:
		return true, true
	}
	return false, false
}

// insist repeats call until it succeeds, fails for good or ctx ends, and counts an acknowledged request of this kind.
func (c *client) insist(ctx context.Context, kind string, call func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := call(bounded)
		cancel()
		if err == nil {
			c.ledger.acked(kind, attempt)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s not answered in time: %w", kind, err)
		}
		again, surprise := passing(err)
		if surprise {
			c.ledger.surprise(fmt.Sprintf("%s: %s: %v", kind, serviceerror.ToStatus(err).Code(), err))
		}
		if !again {
			return fmt.Errorf("%s: %w", kind, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// pause waits for d, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func startRequest(id, workflowType, requestID string, args ...any) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, RequestId: requestID, Identity: "crash",
		WorkflowType:          &commonpb.WorkflowType{Name: workflowType},
		TaskQueue:             &taskqueuepb.TaskQueue{Name: taskQueue},
		Input:                 payloads(args...),
		WorkflowTaskTimeout:   durationpb.New(2 * time.Second),
		WorkflowIdReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}
}

// start starts a workflow and returns its run ID. Sometimes it asks again after the answer: that must name the same run.
func (c *client) start(ctx context.Context, id, workflowType string, args ...any) (string, error) {
	request := startRequest(id, workflowType, c.requestID(), args...)
	var runID string
	ask := func(ctx context.Context) error {
		r, err := c.service().StartWorkflowExecution(ctx, request)
		if err == nil && runID != "" && r.RunId != runID {
			c.ledger.violation("start of %s was acknowledged with run %s, then with run %s", id, runID, r.RunId)
		}
		if err == nil {
			runID = r.RunId
		}
		return err
	}
	if err := c.insist(ctx, "starts", ask); err != nil {
		return "", err
	}
	c.ledger.run(id, func(e *runEntry) { e.runID = runID })
	if c.rng.IntN(4) == 0 {
		return runID, c.insist(ctx, "starts repeated on purpose", ask)
	}
	return runID, nil
}

// startOnce asks one time and does not care: the workflow may come to be or not.
func (c *client) startOnce(ctx context.Context, id, workflowType string, args ...any) {
	c.ledger.run(id, func(e *runEntry) { e.orphan, e.alone = true, true })
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := c.service().StartWorkflowExecution(ctx, startRequest(id, workflowType, c.requestID(), args...))
	if err == nil {
		c.ledger.acked("starts", 1)
		c.ledger.run(id, func(e *runEntry) { e.orphan, e.runID = false, r.RunId })
	}
}

// startEager starts a workflow the way SDK users do, with its first task handed to a worker of this process.
func (c *client) startEager(ctx context.Context, id, workflowType string, args ...any) (string, error) {
	var runID string
	attempts := 0
	err := c.insist(ctx, "eager starts", func(ctx context.Context) error {
		attempts++
		run, err := c.sdk.ExecuteWorkflow(ctx, sdkclient.StartWorkflowOptions{
			ID: id, TaskQueue: taskQueue, EnableEagerStart: true, WorkflowTaskTimeout: 2 * time.Second,
			WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			WorkflowExecutionErrorWhenAlreadyStarted: true,
		}, workflowType, args...)
		var already *serviceerror.WorkflowExecutionAlreadyStarted
		switch {
		case err == nil:
			runID = run.GetRunID()
		case errors.As(err, &already) && attempts > 1: // each call has a request ID of its own
			runID = already.RunId
			return nil
		}
		return err
	})
	if err == nil {
		c.ledger.run(id, func(e *runEntry) { e.runID = runID })
	}
	return runID, err
}

// result waits for the end of a run, or of the chain it begins, and decodes what it returned.
func (c *client) result(ctx context.Context, id, runID string, out any) error {
	return c.insist(ctx, "results", func(ctx context.Context) error {
		err := c.sdk.GetWorkflow(ctx, id, runID).Get(ctx, out)
		var failed *temporal.WorkflowExecutionError
		if errors.As(err, &failed) {
			return serviceerror.NewInvalidArgument(err.Error()) // for good
		}
		return err
	})
}

// signal sends a numbered signal until it is acknowledged, or one time only when the client is to give up at once.
func (c *client) signal(ctx context.Context, id string, number int, giveUp bool) error {
	request := &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: execution(id, ""), SignalName: "item", Input: payloads(number),
		RequestId: c.requestID(), Identity: "crash",
	}
	entry := &signalEntry{requestID: request.RequestId}
	c.ledger.run(id, func(e *runEntry) { e.signals[number] = entry })
	ask := func(ctx context.Context) error {
		_, err := c.service().SignalWorkflowExecution(ctx, request)
		return err
	}
	if giveUp {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		if err := ask(ctx); err != nil {
			if again, _ := passing(err); again {
				return nil
			}
			return fmt.Errorf("signals: %w", err)
		}
		c.ledger.acked("signals", 1)
	} else if err := c.insist(ctx, "signals", ask); err != nil {
		return err
	}
	c.ledger.run(id, func(*runEntry) { entry.acked = true })
	if !giveUp && c.rng.IntN(8) == 0 { // a duplicate, as after a lost answer
		return c.insist(ctx, "signals repeated on purpose", ask)
	}
	return nil
}

// finish tells a collector to return.
func (c *client) finish(ctx context.Context, id string) error {
	request := &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: execution(id, ""), SignalName: "finish", RequestId: c.requestID(), Identity: "crash",
	}
	return c.insist(ctx, "signals", func(ctx context.Context) error {
		_, err := c.service().SignalWorkflowExecution(ctx, request)
		return err
	})
}

// signalWithStart returns the run that got the signal.
func (c *client) signalWithStart(ctx context.Context, id, key string, number int) (string, error) {
	request := &workflowservice.SignalWithStartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, RequestId: c.requestID(), Identity: "crash",
		WorkflowType:          &commonpb.WorkflowType{Name: "collector"},
		TaskQueue:             &taskqueuepb.TaskQueue{Name: taskQueue},
		Input:                 payloads(key),
		WorkflowTaskTimeout:   durationpb.New(2 * time.Second),
		WorkflowIdReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		SignalName:            "item", SignalInput: payloads(number),
	}
	entry := &signalEntry{requestID: request.RequestId}
	c.ledger.run(id, func(e *runEntry) { e.signals[number] = entry })
	var runID string
	err := c.insist(ctx, "signal-with-starts", func(ctx context.Context) error {
		r, err := c.service().SignalWithStartWorkflowExecution(ctx, request)
		if err == nil {
			runID = r.RunId
		}
		return err
	})
	if err == nil {
		c.ledger.run(id, func(e *runEntry) {
			if e.runID != "" && e.runID != runID {
				err = fmt.Errorf("signal-with-start of %s was acknowledged with runs %s and %s", id, e.runID, runID)
			}
			e.runID, entry.acked = runID, true
		})
	}
	return runID, err
}

func updateRequest(id, updateID string, value int, stage enumspb.UpdateWorkflowExecutionLifecycleStage) *workflowservice.UpdateWorkflowExecutionRequest {
	return &workflowservice.UpdateWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: execution(id, ""),
		WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: stage},
		Request: &updatepb.Request{
			Meta:  &updatepb.Meta{UpdateId: updateID, Identity: "crash"},
			Input: &updatepb.Input{Name: "put", Args: payloads(value)},
		},
	}
}

var errNoOutcome = serviceerror.NewUnavailable("no outcome yet")

// outcome decodes what an update returned.
func outcome(o *updatepb.Outcome) (put, error) {
	var p put
	if f := o.GetFailure(); f != nil {
		return p, serviceerror.NewInvalidArgumentf("update failed: %s", f.GetMessage())
	}
	return p, converter.GetDefaultDataConverter().FromPayloads(o.GetSuccess(), &p)
}

// update sends an update, waits for its outcome, and notes it. With accepted, it first waits for no more than acceptance,
// and polls for the outcome afterwards.
func (c *client) update(ctx context.Context, id string, value int, accepted bool) error {
	updateID := fmt.Sprintf("put-%d", value)
	if accepted {
		request := updateRequest(id, updateID, value, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED)
		err := c.insist(ctx, "update acceptances", func(ctx context.Context) error {
			r, err := c.service().UpdateWorkflowExecution(ctx, request)
			if err == nil && r.Stage < enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED {
				return errNoOutcome
			}
			return err
		})
		if err != nil {
			return err
		}
		return c.insist(ctx, "updates", func(ctx context.Context) error { return c.pollUpdate(ctx, id, "", updateID, value) })
	}
	request := updateRequest(id, updateID, value, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED)
	return c.insist(ctx, "updates", func(ctx context.Context) error {
		r, err := c.service().UpdateWorkflowExecution(ctx, request)
		if err == nil && r.Outcome == nil {
			return errNoOutcome
		}
		if err != nil {
			return err
		}
		return c.noteUpdate(id, updateID, value, r.Outcome)
	})
}

func (c *client) pollUpdate(ctx context.Context, id, runID, updateID string, value int) error {
	r, err := c.service().PollWorkflowExecutionUpdate(ctx, &workflowservice.PollWorkflowExecutionUpdateRequest{
		Namespace:  namespace,
		UpdateRef:  &updatepb.UpdateRef{WorkflowExecution: execution(id, runID), UpdateId: updateID},
		WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED},
	})
	if err == nil && r.Outcome == nil {
		return errNoOutcome
	}
	if err != nil {
		return err
	}
	return c.noteUpdate(id, updateID, value, r.Outcome)
}

// noteUpdate compares an outcome with what was asked, and with an outcome of the same update seen before.
func (c *client) noteUpdate(id, updateID string, value int, o *updatepb.Outcome) error {
	p, err := outcome(o)
	if err != nil {
		return err
	}
	if p.Value != value {
		return serviceerror.NewInvalidArgumentf("update %s answered with value %d", updateID, p.Value)
	}
	c.ledger.run(id, func(e *runEntry) {
		for _, u := range e.updates {
			if u.id == updateID {
				if u.outcome != p {
					err = serviceerror.NewInvalidArgumentf("update %s of %s had the outcome %+v, now %+v", updateID, id, u.outcome, p)
				}
				return
			}
		}
		e.updates = append(e.updates, &updateEntry{id: updateID, value: value, outcome: p})
	})
	return err
}

// updateWithStart starts a collector and updates it in one request.
func (c *client) updateWithStart(ctx context.Context, id, key string, value int) (string, error) {
	updateID := fmt.Sprintf("put-%d", value)
	start := startRequest(id, "collector", c.requestID(), key)
	start.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	request := &workflowservice.ExecuteMultiOperationRequest{Namespace: namespace, Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: start}},
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{
			UpdateWorkflow: updateRequest(id, updateID, value, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED)}},
	}}
	var runID string
	err := c.insist(ctx, "update-with-starts", func(ctx context.Context) error {
		r, err := c.service().ExecuteMultiOperation(ctx, request)
		if err != nil {
			return err
		}
		u := r.Responses[1].GetUpdateWorkflow()
		if u.GetOutcome() == nil {
			return errNoOutcome
		}
		runID = r.Responses[0].GetStartWorkflow().GetRunId()
		return c.noteUpdate(id, updateID, value, u.GetOutcome())
	})
	if err == nil {
		c.ledger.run(id, func(e *runEntry) { e.runID = runID })
	}
	return runID, err
}

// count asks a collector how many signals it has. It must know each one that was acknowledged before the question.
func (c *client) count(ctx context.Context, id string) error {
	acked := 0
	c.ledger.run(id, func(e *runEntry) {
		for _, s := range e.signals {
			if s.acked {
				acked++
			}
		}
	})
	return c.insist(ctx, "queries", func(ctx context.Context) error {
		v, err := c.sdk.QueryWorkflow(ctx, id, "", "count")
		if err != nil {
			return err
		}
		var n int
		if err := v.Get(&n); err != nil {
			return err
		}
		if n < acked {
			return serviceerror.NewInvalidArgumentf("query saw %d signals after %d were acknowledged", n, acked)
		}
		return nil
	})
}
