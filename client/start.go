package client

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/internal/retry"
)

// RetryPolicy says when a failed run is made again.
type RetryPolicy = retry.RetryPolicy

// What a start does when a workflow with its ID is running: StartOptions.IDConflict. A start alone fails when nothing is said.
const (
	FailIfRunning      = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL
	UseExisting        = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	TerminateIfRunning = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
)

// What a start does when a workflow with its ID has ended: StartOptions.IDReuse. It starts another when nothing is said.
const (
	StartAnother        = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	StartAnotherIfNotOK = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	NeverStartAnother   = enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
)

// StartOptions of a workflow. TaskQueue is required; zero values are the server's defaults.
type StartOptions struct {
	ID                                        string // random when empty
	TaskQueue                                 string
	ExecutionTimeout, RunTimeout, TaskTimeout time.Duration
	IDReuse                                   enumspb.WorkflowIdReusePolicy
	IDConflict                                enumspb.WorkflowIdConflictPolicy
	Retry                                     *RetryPolicy
	Cron                                      string
	StartDelay                                time.Duration
	Memo                                      map[string]any
	// SearchAttributes: searchattribute.Map gives typed ones. Others have string, bool, int64, float64, time.Time or []string values, as their types in the namespace ask.
	SearchAttributes map[string]any
	// Summary, of one line, and Details, which may be Markdown, are what UI and CLI show of the workflow from its start.
	Summary, Details string
	// Priority of the workflow's tasks and of what it starts: 1 is the highest, 0 the default.
	Priority int
	// RequestID makes a repeated start one. Random when empty.
	RequestID string
}

func start[W, R any](ctx context.Context, c *Client, run any, o StartOptions, args ...any) (*Handle[W, R], error) {
	d, _, err := lookup[W](handlers.Run, run)
	if err != nil {
		return nil, err
	}
	return startNamed[W, R](ctx, c, d.Name, o, args)
}

// StartByName starts a workflow that has no Go type.
func (c *Client) StartByName(ctx context.Context, name string, o StartOptions, args ...any) (*AnyHandle, error) {
	return startNamed[Any, converter.Value](ctx, c, name, o, args)
}

func startNamed[W, R any](ctx context.Context, c *Client, name string, o StartOptions, args []any) (*Handle[W, R], error) {
	request, err := c.startRequest(name, o, args)
	if err != nil {
		return nil, err
	}
	call := &Call{Kind: CallStart, WorkflowID: request.WorkflowId, WorkflowType: name}
	started, err := send(ctx, c, call, func(ctx context.Context, header *commonpb.Header) (*workflowservice.StartWorkflowExecutionResponse, error) {
		request.Header = header
		return c.service.StartWorkflowExecution(ctx, request)
	})
	if err != nil {
		return nil, typed(request.WorkflowId, err)
	}
	// Servers too old to say whether they started it answer with another's run only where that was asked for.
	made := started.Started || o.IDConflict != enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	return begun[W, R](c, request.WorkflowId, started.RunId, made), nil
}

func (c *Client) startRequest(name string, o StartOptions, args []any) (*workflowservice.StartWorkflowExecutionRequest, error) {
	if o.TaskQueue == "" {
		return nil, &UsageError{Text: "a workflow needs a TaskQueue to be started on"}
	}
	input, err := converter.ToPayloads(c.o.Converter, args...)
	if err != nil {
		return nil, err
	}
	orRandom := func(s string) string {
		if s == "" {
			return uuid.NewString()
		}
		return s
	}
	request := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: c.o.Namespace, WorkflowId: orRandom(o.ID), WorkflowType: &commonpb.WorkflowType{Name: name}, TaskQueue: &taskqueuepb.TaskQueue{Name: o.TaskQueue},
		Input: input, WorkflowExecutionTimeout: duration(o.ExecutionTimeout), WorkflowRunTimeout: duration(o.RunTimeout), WorkflowTaskTimeout: duration(o.TaskTimeout),
		Identity: c.o.Identity, RequestId: orRandom(o.RequestID), WorkflowIdReusePolicy: o.IDReuse, WorkflowIdConflictPolicy: o.IDConflict,
		RetryPolicy: o.Retry.ToProto(), CronSchedule: o.Cron, WorkflowStartDelay: duration(o.StartDelay),
	}
	if o.Priority != 0 {
		request.Priority = &commonpb.Priority{PriorityKey: int32(o.Priority)}
	}
	return request, c.startFields(request, o)
}

// startFields encodes what is shown of a workflow. Search attributes are for the server to read, so they have its encoding.
func (c *Client) startFields(request *workflowservice.StartWorkflowExecutionRequest, o StartOptions) error {
	memo, err := fields(c.o.Converter, "memo", o.Memo)
	if err != nil {
		return err
	}
	if len(memo) > 0 {
		request.Memo = &commonpb.Memo{Fields: memo}
	}
	attributes, err := fields(converter.Default(), "search attribute", o.SearchAttributes)
	if err != nil {
		return err
	}
	if len(attributes) > 0 {
		request.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: attributes}
	}
	if o.Summary == "" && o.Details == "" {
		return nil
	}
	request.UserMetadata = &sdkpb.UserMetadata{}
	for text, into := range map[*string]**commonpb.Payload{&o.Summary: &request.UserMetadata.Summary, &o.Details: &request.UserMetadata.Details} {
		if *text == "" {
			continue
		}
		if *into, err = c.o.Converter.ToPayload(*text); err != nil {
			return err
		}
	}
	return nil
}

func fields(c converter.Converter, what string, values map[string]any) (map[string]*commonpb.Payload, error) {
	fields := make(map[string]*commonpb.Payload, len(values))
	for k, v := range values {
		p, err := c.ToPayload(v)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", what, k, err)
		}
		fields[k] = p
	}
	return fields, nil
}

func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
