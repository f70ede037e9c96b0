package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	attemptTime = 3 * time.Second       // of one attempt
	insistTime  = 12 * time.Second      // of all attempts of a call
	slow        = 30 * time.Millisecond // how long a slow append is under way
)

// eagerDial looks for a server that went away more often than clients do by themselves, since here it is away for moments only.
func eagerDial() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
		MinConnectTimeout: time.Second,
	})}
}

// client asks for one thing after the other and notes what it got. It speaks to the server without an SDK in between, so that
// each attempt, and what it carries, is its own.
type client struct {
	number  int
	calls   int
	service workflowservice.WorkflowServiceClient
	conn    *grpc.ClientConn
	record  *record
	rng     *rand.Rand
	now     func() time.Duration
	roll    bool                    // whether workflows continue as new
	again   []string                // kinds of acknowledged calls that are sent again
	old     []func(context.Context) // acknowledged calls that are to be sent again
}

func (c *client) dial(address string) error {
	// A call that finds no server waits for one: it has certainly not happened yet.
	conn, err := grpc.NewClient(address, append(eagerDial(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))...)
	if err != nil {
		return err
	}
	c.conn, c.service = conn, workflowservice.NewWorkflowServiceClient(conn)
	return nil
}

// fresh is a number that no other call has.
func (c *client) fresh() int {
	c.calls++
	return c.calls*100 + c.number + 1
}

// requestID is fresh and the same for the same seed.
func (c *client) requestID() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(c.rng.Uint32())
	}
	id, _ := uuid.FromBytes(b[:]) // 16 bytes are always right
	return id.String()
}

// work asks until told that it is enough.
func (c *client) work(ctx context.Context, workflows []string, think time.Duration, enough <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-enough:
			return
		case <-time.After(time.Duration(c.rng.Int64N(int64(think) + 1))):
		}
		c.ask(ctx, workflows[c.rng.IntN(len(workflows))])
	}
}

// ask makes one request, drawn at random.
func (c *client) ask(ctx context.Context, id string) {
	insist := c.rng.IntN(6) > 0
	draw := c.rng.IntN(100)
	switch {
	case draw < 26:
		c.read(ctx, id, insist)
	case draw < 52:
		c.signal(ctx, id, insist)
	case draw < 70:
		c.update(ctx, id, call{Kind: kindAppend, Item: c.fresh()}, insist)
	case draw < 78:
		c.update(ctx, id, call{Kind: kindSwap, Item: c.fresh(), Expect: c.record.lengthOf(id)}, insist)
	case draw < 84:
		c.start(ctx, id)
	case draw < 88:
		c.signalWithStart(ctx, id)
	case draw < 92:
		c.updateWithStart(ctx, id)
	case draw < 93:
		c.update(ctx, id, call{Kind: kindFinish}, insist)
	case draw < 94:
		c.terminate(ctx, id)
	default:
		c.askAgain(ctx)
	}
}

// askAgain sends an old call again that was acknowledged long ago: it must not count again.
func (c *client) askAgain(ctx context.Context) {
	if len(c.old) > 0 {
		resend := c.old[0]
		c.old = c.old[1:]
		resend(ctx)
	}
}

// repeatable are the kinds of calls that can be sent again: they carry an ID, and an item or a chain tells what came of it.
var repeatable = []string{
	string(kindStart), string(kindSignal), string(kindBoth), string(kindAppend), string(kindSwap), updateWithStart,
}

const updateWithStart = "update+start"

// remember keeps one acknowledged call in five, of the kinds that are sent again, to do so later.
func (c *client) remember(o *operation, kind string, resend func(context.Context)) {
	if o.Answer.Result == done && slices.Contains(c.again, kind) && c.rng.IntN(5) == 0 {
		c.old = append(c.old, resend)
	}
}

// verdict is what an error means for the call.
type verdict int

const (
	settled verdict = iota // the answer tells all
	again                  // may have happened, or not; asking again may tell
	lost                   // may have happened, or not; asking again will not tell
)

// try sends call once and returns what the server said of it.
type try func(ctx context.Context) (answer, []string, error)

// insist sends a call until the outcome is certain or insistTime is over; only once, if insist is false. The operation is
// noted whatever comes.
func (c *client) insist(ctx context.Context, o *operation, insist bool, try try) *operation {
	o.Client = c.number
	ctx, cancel := context.WithTimeout(ctx, insistTime)
	defer cancel()
	for {
		bounded, cancel := context.WithTimeout(ctx, attemptTime)
		s := span{From: c.now()}
		var err error
		o.Answer, o.Runs, err = try(bounded)
		s.To = c.now()
		cancel()
		v := settled
		if err != nil {
			s.Err = err.Error()
			o.Answer, v = c.judge(o, err)
		}
		o.Spans = append(o.Spans, s)
		if v == settled || v == lost || !insist || ctx.Err() != nil {
			c.record.note(o)
			return o
		}
		pause(ctx, c.patience())
	}
}

// do sends a call, and remembers it.
func (c *client) do(ctx context.Context, id string, what call, insist bool, try try) {
	o := c.insist(ctx, &operation{Workflow: id, Call: what}, insist, try)
	c.remember(o, string(what.Kind), func(ctx context.Context) {
		c.insist(ctx, &operation{Workflow: id, Call: what, Repeat: true}, true, try)
	})
}

// patience is how long to wait before a call is sent again: mostly a moment, now and then long enough for the run to be another
// one.
func (c *client) patience() time.Duration {
	if c.rng.IntN(3) > 0 {
		return 20 * time.Millisecond
	}
	return time.Duration(c.rng.Int64N(int64(1500 * time.Millisecond)))
}

// judge says what an error tells about a call.
func (c *client) judge(o *operation, err error) (answer, verdict) {
	nothing := answer{Result: unknown}
	code := status.Code(err)
	var failed *updateError
	switch {
	case errors.As(err, &failed):
		return failed.judge()
	case code == codes.NotFound && strings.Contains(err.Error(), "abort"):
		return answer{Result: void}, settled // closed, and perhaps begun anew, while the update was under way
	case code == codes.FailedPrecondition && o.Call.Kind == kindRead && strings.Contains(err.Error(), "closed"):
		return answer{Result: void}, settled // terminated before its code has run: nobody can ever read it
	case code == codes.NotFound:
		return answer{Result: refused}, settled
	case code == codes.AlreadyExists:
		o.Runs = alreadyStarted(err)
		return answer{Result: refused}, settled
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled, code == codes.ResourceExhausted,
		code == codes.Aborted, code == codes.FailedPrecondition:
		return nothing, again
	}
	c.record.surprise(fmt.Sprintf("%s: %s", o.Call.Kind, err))
	return nothing, again
}

// alreadyStarted is the run that kept another from being started.
func alreadyStarted(err error) []string {
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(serviceerror.FromStatus(status.Convert(err)), &there) {
		return []string{there.RunId}
	}
	return nil
}

// pause waits for d, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func payloads(args ...any) *commonpb.Payloads {
	p, err := converter.GetDefaultDataConverter().ToPayloads(args...)
	if err != nil {
		panic(err) // plain numbers, strings and structs always encode
	}
	return p
}

func execution(id string) *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: id}
}

func (c *client) identity() string { return fmt.Sprintf("linear-%d", c.number) }

func (c *client) input(chain int) *commonpb.Payloads {
	return payloads(registerInput{Chain: chain, Roll: c.roll, SlowMS: int(slow.Milliseconds())})
}

var conflicts = map[conflict]enumspb.WorkflowIdConflictPolicy{
	conflictFail:      enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
	conflictUse:       enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	conflictTerminate: enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
}

var reuses = map[reuse]enumspb.WorkflowIdReusePolicy{
	reuseAllow:      enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	reuseFailedOnly: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
	reuseReject:     enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
}

// policies are drawn so that most starts may begin a chain when there is no open one, and few end one that is open.
func (c *client) policies() (conflict, reuse) {
	con := []conflict{conflictFail, conflictFail, conflictFail, conflictFail, conflictUse, conflictUse, conflictUse, conflictUse, conflictUse, conflictTerminate}[c.rng.IntN(10)]
	re := []reuse{reuseAllow, reuseAllow, reuseAllow, reuseAllow, reuseFailedOnly, reuseReject}[c.rng.IntN(6)]
	if con == conflictTerminate && re == reuseReject {
		re = reuseAllow // the API forbids this pair
	}
	return con, re
}

func (c *client) startRequest(id string, what call) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, RequestId: c.requestID(), Identity: c.identity(),
		WorkflowType:             &commonpb.WorkflowType{Name: workflowType},
		TaskQueue:                &taskqueuepb.TaskQueue{Name: taskQueue},
		Input:                    c.input(what.Chain),
		WorkflowTaskTimeout:      durationpb.New(2 * time.Second),
		WorkflowIdConflictPolicy: conflicts[what.Conflict],
		WorkflowIdReusePolicy:    reuses[what.Reuse],
	}
}

// starterInsists: whoever may begin a chain rarely gives up. As long as it is open whether there was a new chain, few answers
// can be wrong.
func (c *client) starterInsists() bool { return c.rng.IntN(20) > 0 }

func (c *client) start(ctx context.Context, id string) {
	what := call{Kind: kindStart, Chain: c.fresh()}
	what.Conflict, what.Reuse = c.policies()
	request := c.startRequest(id, what)
	c.do(ctx, id, what, c.starterInsists(), func(ctx context.Context) (answer, []string, error) {
		r, err := c.service.StartWorkflowExecution(ctx, request)
		return answer{Result: done, Told: true, Started: r.GetStarted()}, []string{r.GetRunId()}, err
	})
}

func (c *client) signal(ctx context.Context, id string, insist bool) {
	what := call{Kind: kindSignal, Item: c.fresh()}
	request := &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: execution(id), SignalName: signalName, Input: payloads(what.Item),
		RequestId: c.requestID(), Identity: c.identity(),
	}
	c.do(ctx, id, what, insist, func(ctx context.Context) (answer, []string, error) {
		_, err := c.service.SignalWorkflowExecution(ctx, request)
		return answer{Result: done}, nil, err
	})
}

func (c *client) signalWithStart(ctx context.Context, id string) {
	what := call{Kind: kindBoth, Chain: c.fresh(), Item: c.fresh()}
	what.Conflict, what.Reuse = c.policies()
	if what.Conflict == conflictFail { // the API forbids it here
		what.Conflict = conflictUse
	}
	start := c.startRequest(id, what)
	request := &workflowservice.SignalWithStartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, RequestId: start.RequestId, Identity: start.Identity,
		WorkflowType: start.WorkflowType, TaskQueue: start.TaskQueue, Input: start.Input, WorkflowTaskTimeout: start.WorkflowTaskTimeout,
		WorkflowIdConflictPolicy: start.WorkflowIdConflictPolicy, WorkflowIdReusePolicy: start.WorkflowIdReusePolicy,
		SignalName: signalName, SignalInput: payloads(what.Item),
	}
	c.do(ctx, id, what, c.starterInsists(), func(ctx context.Context) (answer, []string, error) {
		r, err := c.service.SignalWithStartWorkflowExecution(ctx, request)
		return answer{Result: done, Told: true, Started: r.GetStarted()}, []string{r.GetRunId()}, err
	})
}

func (c *client) updateRequest(id string, what call, updateID string) *workflowservice.UpdateWorkflowExecutionRequest {
	return &workflowservice.UpdateWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: execution(id),
		WaitPolicy: &updatepb.WaitPolicy{LifecycleStage: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED},
		Request: &updatepb.Request{
			Meta:  &updatepb.Meta{UpdateId: updateID, Identity: c.identity()},
			Input: &updatepb.Input{Name: string(what.Kind), Args: updateArgs(c.rng, what)},
		},
	}
}

// updateArgs makes one append in four a slow one.
func updateArgs(rng *rand.Rand, what call) *commonpb.Payloads {
	if what.Kind == kindFinish {
		return nil
	}
	return payloads(put{Item: what.Item, Expect: what.Expect, Slow: what.Kind == kindAppend && rng.IntN(4) == 0})
}

func (c *client) update(ctx context.Context, id string, what call, insist bool) {
	request := c.updateRequest(id, what, c.requestID())
	c.do(ctx, id, what, insist, func(ctx context.Context) (answer, []string, error) {
		r, err := c.service.UpdateWorkflowExecution(ctx, request)
		if err != nil {
			return answer{}, nil, err
		}
		return updated(r)
	})
}

// updateWithStart is two operations with one answer: the start may happen, and the update fail.
func (c *client) updateWithStart(ctx context.Context, id string) {
	appending := call{Kind: kindAppend, Item: c.fresh()}
	starting := call{Kind: kindStart, Chain: c.fresh(), With: appending.Item}
	starting.Conflict, starting.Reuse = c.policies()
	request := &workflowservice.ExecuteMultiOperationRequest{Namespace: namespace, Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: c.startRequest(id, starting)}},
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{
			UpdateWorkflow: c.updateRequest(id, appending, c.requestID())}},
	}}
	send := func(ctx context.Context, insist, repeat bool) *operation {
		var started answer
		var runs []string
		o := c.insist(ctx, &operation{Workflow: id, Call: appending, Repeat: repeat, Pair: true}, insist, func(ctx context.Context) (answer, []string, error) {
			started, runs = answer{Result: unknown}, nil
			r, err := c.service.ExecuteMultiOperation(ctx, request)
			switch status.Code(err) {
			case codes.OK:
				s := r.Responses[0].GetStartWorkflow()
				started, runs = answer{Result: done, Told: true, Started: s.GetStarted()}, []string{s.GetRunId()}
				return updated(r.Responses[1].GetUpdateWorkflow())
			case codes.AlreadyExists: // the start was refused, and with it the update, though there is a run
				started, runs = answer{Result: refused}, alreadyStarted(err)
				return answer{Result: void}, nil, nil
			case codes.NotFound: // the update failed, the start may have passed
				if chainIsOver(err) {
					started = answer{Result: done}
					return answer{Result: void}, nil, nil
				}
				return answer{}, nil, status.Error(codes.Aborted, err.Error())
			}
			return answer{}, nil, err
		})
		if repeat || len(o.Spans) > 1 {
			started.Told = false // it may find its own run, and say that it was there
		}
		half := *o
		half.Call, half.Answer, half.Runs = starting, started, runs
		c.record.note(&half)
		return o
	}
	o := send(ctx, c.starterInsists(), false)
	c.remember(o, updateWithStart, func(ctx context.Context) { send(ctx, true, true) })
}

// chainIsOver says that an update-with-start had begun a chain which is over, and without its update.
func chainIsOver(err error) bool {
	var both *serviceerror.MultiOperationExecution
	if !errors.As(serviceerror.FromStatus(status.Convert(err)), &both) || len(both.OperationErrors()) != 2 {
		return false
	}
	start, update := both.OperationErrors()[0], both.OperationErrors()[1]
	return start == nil && update != nil && strings.Contains(update.Error(), "already completed")
}

func (c *client) read(ctx context.Context, id string, insist bool) *operation {
	request := &workflowservice.QueryWorkflowRequest{
		Namespace: namespace, Execution: execution(id), Query: &querypb.WorkflowQuery{QueryType: string(kindRead)},
	}
	return c.insist(ctx, &operation{Workflow: id, Call: call{Kind: kindRead}}, insist, func(ctx context.Context) (answer, []string, error) {
		r, err := c.service.QueryWorkflow(ctx, request)
		if err != nil {
			return answer{}, nil, err
		}
		return decoded(r.GetQueryResult())
	})
}

// readLast reads until there is an answer. On a busy machine it may be long in coming, but it must come.
func (c *client) readLast(ctx context.Context, id string) error {
	for range 4 {
		o := c.read(ctx, id, true)
		if o.Answer.Result != unknown {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("the last queries of %s got no answer", id)
}

// terminate asks once: it has no request ID, so a second attempt may hit the next run.
func (c *client) terminate(ctx context.Context, id string) {
	request := &workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: execution(id), Identity: c.identity(), Reason: "linear",
	}
	c.insist(ctx, &operation{Workflow: id, Call: call{Kind: kindTerminate}}, false, func(ctx context.Context) (answer, []string, error) {
		_, err := c.service.TerminateWorkflowExecution(ctx, request)
		return answer{Result: done}, nil, err
	})
}

// decoded makes an answer of what the workflow said.
func decoded(p *commonpb.Payloads) (answer, []string, error) {
	var r reading
	if err := converter.GetDefaultDataConverter().FromPayloads(p, &r); err != nil {
		return answer{}, nil, status.Errorf(codes.Internal, "the result does not decode: %v", err)
	}
	return answer{Result: done, Chain: r.Chain, Items: string(listOf(r.Items))}, []string{r.Run, r.From}, nil
}

// updateError is the failure that an update ended with.
type updateError struct{ failure *failurepb.Failure }

func (e *updateError) Error() string {
	return fmt.Sprintf("update failed: %s: %s", e.failure.GetApplicationFailureInfo().GetType(), e.failure.GetMessage())
}

func updated(r *workflowservice.UpdateWorkflowExecutionResponse) (answer, []string, error) {
	switch o := r.GetOutcome(); {
	case o == nil:
		return answer{}, nil, status.Error(codes.DeadlineExceeded, "no outcome yet")
	case o.GetFailure() != nil:
		return answer{}, nil, &updateError{o.GetFailure()}
	default:
		return decoded(o.GetSuccess())
	}
}

// judge says what the failure of an update tells about the call.
func (e *updateError) judge() (answer, verdict) {
	info := e.failure.GetApplicationFailureInfo()
	switch info.GetType() {
	case errMismatch:
		var m mismatch
		if err := converter.GetDefaultDataConverter().FromPayloads(info.GetDetails(), &m); err == nil {
			return answer{Result: rejected, Chain: m.Chain, Items: string(listOf(m.Items)), Waiting: m.Waiting}, settled
		}
	case errTooLate:
		return answer{Result: void}, settled
	case errLeaving, "UnprocessedUpdate":
		return answer{Result: unknown}, again
	}
	return answer{Result: unknown}, lost // accepted, and then the workflow was closed
}
