package main

import (
	"context"
	"fmt"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
)

const namespace = "default"

// chains starts a workflow with so many activities in a row and waits for its result.
func chains(steps int) func(*trial) error {
	return func(t *trial) error {
		if err := t.driver.startWorkers(); err != nil {
			return err
		}
		done, err := t.steadily(func(ctx context.Context, _, i int) error {
			in := chainInput{Steps: steps, First: t.note(i)}
			r, err := t.driver.chain(ctx, t.workflow(i), in)
			if err != nil {
				return err
			}
			got, err := r.result(ctx)
			if err != nil {
				return err
			}
			return expect("result of "+r.workflowID(), got, in.want())
		})
		if err != nil {
			return err
		}
		// Nothing fails here, so nothing may run twice.
		return expect("activities that ran", t.watch.steps.Load(), int64(done.operations*steps))
	}
}

// sampled is how many of the started workflows are looked up again.
const sampled = 200

// starts starts workflows on a queue without a worker.
func starts(t *trial) error {
	var mu sync.Mutex
	ids := make(map[int]string) // run IDs by number
	done, err := t.steadily(func(ctx context.Context, _, i int) error {
		r, err := t.driver.chain(ctx, t.workflow(i), chainInput{First: t.note(i)})
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		ids[i] = r.runID()
		return nil
	})
	if err != nil {
		return err
	}
	distinct := make(map[string]bool, len(ids))
	for _, id := range ids {
		distinct[id] = true
	}
	if err := expect("run IDs", len(distinct), done.operations); err != nil {
		return err
	}
	apart := max(done.operations/sampled, 1)
	return t.each(done.operations/apart, func(ctx context.Context, _, k int) error {
		i := k * apart
		d, err := t.driver.service().DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: t.workflow(i)},
		})
		if err != nil {
			return fmt.Errorf("describe: %w", err)
		}
		info := d.WorkflowExecutionInfo
		if err := expect("run ID of "+t.workflow(i), info.GetExecution().GetRunId(), ids[i]); err != nil {
			return err
		}
		return expect("status of "+t.workflow(i), info.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	})
}
