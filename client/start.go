package client

import (
	"context"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/internal/retry"
)

// RetryPolicy says when a failed run is made again.
type RetryPolicy = retry.RetryPolicy

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
	Memo, SearchAttributes                    map[string]any
	// RequestID makes a repeated start one. Random when empty.
	RequestID string
}

func start[W, R any](ctx context.Context, c *Client, run any, o StartOptions, args ...any) (*Handle[W, R], error) {
	d, _, err := lookup[W](handlers.Run, run)
	if err != nil {
		return nil, err
	}
	id, runID, err := c.start(ctx, d.Name, o, args)
	if err != nil {
		return nil, err
	}
	return &Handle[W, R]{c: c, id: id, firstRun: runID}, nil
}

// StartByName starts a workflow that has no Go type.
func (c *Client) StartByName(ctx context.Context, name string, o StartOptions, args ...any) (*AnyHandle, error) {
	id, runID, err := c.start(ctx, name, o, args)
	if err != nil {
		return nil, err
	}
	return &AnyHandle{c: c, id: id, firstRun: runID}, nil
}

func (c *Client) start(ctx context.Context, name string, o StartOptions, args []any) (id, run string, err error) {
	request, err := c.startRequest(name, o, args)
	if err != nil {
		return "", "", err
	}
	started, err := retrying(ctx, func(ctx context.Context) (*workflowservice.StartWorkflowExecutionResponse, error) {
		return c.service.StartWorkflowExecution(ctx, request)
	})
	return request.WorkflowId, started.GetRunId(), typed(request.WorkflowId, err)
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
	if len(o.Memo) > 0 {
		request.Memo = &commonpb.Memo{}
		if request.Memo.Fields, err = c.fields(o.Memo); err != nil {
			return nil, err
		}
	}
	if len(o.SearchAttributes) > 0 {
		request.SearchAttributes = &commonpb.SearchAttributes{}
		if request.SearchAttributes.IndexedFields, err = c.fields(o.SearchAttributes); err != nil {
			return nil, err
		}
	}
	return request, nil
}

func (c *Client) fields(values map[string]any) (map[string]*commonpb.Payload, error) {
	fields := make(map[string]*commonpb.Payload, len(values))
	for k, v := range values {
		p, err := c.o.Converter.ToPayload(v)
		if err != nil {
			return nil, err
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
