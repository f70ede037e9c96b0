package client

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ScheduleOptions say when a schedule starts its workflow, and what happens when that is not possible. A server without
// schedules answers Unimplemented.
type ScheduleOptions struct {
	// Spec says when; it is the API's own type.
	Spec *schedulepb.ScheduleSpec
	// Overlap is what to do when the last workflow still runs. Default: skip.
	Overlap enumspb.ScheduleOverlapPolicy
	// CatchUp is how long after its time a start that was missed is made up for. Default: the server's, a year.
	CatchUp time.Duration
	// PauseOnFailure pauses the schedule when a workflow fails or times out.
	PauseOnFailure bool
	// Paused makes it begin paused, Note says why.
	Paused bool
	Note   string
	// Limit is the number of starts after which it does nothing any more. 0: no limit.
	Limit int64
	// Now starts one at once.
	Now bool
	// Memo and SearchAttributes are the schedule's own, not those of its workflows.
	Memo, SearchAttributes map[string]any
}

// ScheduleHandle is a schedule. Safe for concurrent use.
type ScheduleHandle struct {
	c  *Client
	id string
}

// CreateSchedule makes a schedule that starts a workflow. The ID in the operation's options is what the IDs of its workflows begin
// with; empty: the schedule's ID. The operation is used up.
func CreateSchedule[W, R any](ctx context.Context, c *Client, id string, op *StartOperation[W, R], o ScheduleOptions) (*ScheduleHandle, error) {
	if op.used.Swap(true) {
		return nil, errUsed
	}
	op.err = &UsageError{Text: "the operation made a schedule, not a workflow"}
	close(op.done)
	switch {
	case id == "":
		return nil, &UsageError{Text: "a schedule needs an ID"}
	case op.o.StartDelay != 0 || op.o.Cron != "" || op.o.IDConflict != 0:
		return nil, &UsageError{Text: "the workflow of a schedule has no StartDelay, Cron or IDConflict: its spec and Overlap say that"}
	}
	if op.o.ID == "" {
		op.o.ID = id
	}
	start, err := op.request(c)
	if err != nil {
		return nil, err
	}
	request, err := c.scheduleRequest(id, start, o)
	if err != nil {
		return nil, err
	}
	_, err = retrying(ctx, func(ctx context.Context) (*workflowservice.CreateScheduleResponse, error) {
		return c.service.CreateSchedule(ctx, request)
	})
	return c.Schedule(id), err
}

// conflicts says whether somebody else has changed the schedule.
func conflicts(err error) bool {
	var precondition *serviceerror.FailedPrecondition
	return errors.As(err, &precondition) && strings.Contains(err.Error(), "conflict token")
}

func (c *Client) scheduleRequest(id string, s *workflowservice.StartWorkflowExecutionRequest, o ScheduleOptions) (*workflowservice.CreateScheduleRequest, error) {
	own := &workflowservice.StartWorkflowExecutionRequest{}
	if err := c.startFields(own, StartOptions{Memo: o.Memo, SearchAttributes: o.SearchAttributes}); err != nil {
		return nil, err
	}
	request := &workflowservice.CreateScheduleRequest{
		Namespace: c.o.Namespace, ScheduleId: id, Identity: c.o.Identity, RequestId: uuid.NewString(), Memo: own.Memo, SearchAttributes: own.SearchAttributes,
		Schedule: &schedulepb.Schedule{
			Spec: o.Spec,
			Action: &schedulepb.ScheduleAction{Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{
				WorkflowId: s.WorkflowId, WorkflowType: s.WorkflowType, TaskQueue: s.TaskQueue, Input: s.Input,
				WorkflowExecutionTimeout: s.WorkflowExecutionTimeout, WorkflowRunTimeout: s.WorkflowRunTimeout, WorkflowTaskTimeout: s.WorkflowTaskTimeout,
				WorkflowIdReusePolicy: s.WorkflowIdReusePolicy, RetryPolicy: s.RetryPolicy, Memo: s.Memo, SearchAttributes: s.SearchAttributes,
				UserMetadata: s.UserMetadata, Priority: s.Priority,
			}}},
			Policies: &schedulepb.SchedulePolicies{OverlapPolicy: o.Overlap, CatchupWindow: duration(o.CatchUp), PauseOnFailure: o.PauseOnFailure},
			State:    &schedulepb.ScheduleState{Paused: o.Paused, Notes: o.Note, LimitedActions: o.Limit > 0, RemainingActions: o.Limit},
		},
	}
	if o.Now {
		request.InitialPatch = &schedulepb.SchedulePatch{TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{OverlapPolicy: o.Overlap}}
	}
	return request, nil
}

// Schedule is the handle of a schedule that is known by its ID. Whether it is there shows when it is used.
func (c *Client) Schedule(id string) *ScheduleHandle { return &ScheduleHandle{c, id} }

// Schedules lists those that the query finds; all with an empty one.
func (c *Client) Schedules(ctx context.Context, query string) iter.Seq2[*schedulepb.ScheduleListEntry, error] {
	return func(yield func(*schedulepb.ScheduleListEntry, error) bool) {
		for token, first := []byte(nil), true; first || len(token) > 0; first = false {
			page, err := retrying(ctx, func(ctx context.Context) (*workflowservice.ListSchedulesResponse, error) {
				return c.service.ListSchedules(ctx, &workflowservice.ListSchedulesRequest{Namespace: c.o.Namespace, Query: query, NextPageToken: token})
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, s := range page.Schedules {
				if !yield(s, nil) {
					return
				}
			}
			token = page.NextPageToken
		}
	}
}

// ID is the schedule's.
func (h *ScheduleHandle) ID() string { return h.id }

// Describe is what the server knows of the schedule.
func (h *ScheduleHandle) Describe(ctx context.Context) (*workflowservice.DescribeScheduleResponse, error) {
	return retrying(ctx, func(ctx context.Context) (*workflowservice.DescribeScheduleResponse, error) {
		return h.c.service.DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: h.c.o.Namespace, ScheduleId: h.id})
	})
}

// Update reads the schedule, lets change change it, and writes it if nobody else has done so in between; otherwise it begins anew.
func (h *ScheduleHandle) Update(ctx context.Context, change func(*schedulepb.Schedule) error) error {
	for {
		d, err := h.Describe(ctx)
		if err != nil {
			return err
		}
		if err := change(d.Schedule); err != nil {
			return err
		}
		_, err = retrying(ctx, func(ctx context.Context) (*workflowservice.UpdateScheduleResponse, error) {
			return h.c.service.UpdateSchedule(ctx, &workflowservice.UpdateScheduleRequest{
				Namespace: h.c.o.Namespace, ScheduleId: h.id, Schedule: d.Schedule, ConflictToken: d.ConflictToken, Identity: h.c.o.Identity, RequestId: uuid.NewString(),
			})
		})
		if !conflicts(err) || ctx.Err() != nil {
			return err
		}
	}
}

func (h *ScheduleHandle) patch(ctx context.Context, p *schedulepb.SchedulePatch) error {
	request := &workflowservice.PatchScheduleRequest{Namespace: h.c.o.Namespace, ScheduleId: h.id, Patch: p, Identity: h.c.o.Identity, RequestId: uuid.NewString()}
	_, err := retrying(ctx, func(ctx context.Context) (*workflowservice.PatchScheduleResponse, error) {
		return h.c.service.PatchSchedule(ctx, request)
	})
	return err
}

// Pause stops it until Unpause. The note says why.
func (h *ScheduleHandle) Pause(ctx context.Context, note string) error {
	return h.patch(ctx, &schedulepb.SchedulePatch{Pause: orSay(note, "paused")})
}

// Unpause lets it go on.
func (h *ScheduleHandle) Unpause(ctx context.Context, note string) error {
	return h.patch(ctx, &schedulepb.SchedulePatch{Unpause: orSay(note, "unpaused")})
}

// orSay: an empty note would be no request.
func orSay(note, otherwise string) string {
	if note == "" {
		return otherwise
	}
	return note
}

// Trigger starts one now. The policy says what to do when the last one runs; 0: the schedule's.
func (h *ScheduleHandle) Trigger(ctx context.Context, overlap enumspb.ScheduleOverlapPolicy) error {
	return h.patch(ctx, &schedulepb.SchedulePatch{TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{OverlapPolicy: overlap}})
}

// Backfill starts those that would have been started from one moment to another.
func (h *ScheduleHandle) Backfill(ctx context.Context, from, to time.Time, overlap enumspb.ScheduleOverlapPolicy) error {
	return h.patch(ctx, &schedulepb.SchedulePatch{BackfillRequest: []*schedulepb.BackfillRequest{{
		StartTime: timestamppb.New(from), EndTime: timestamppb.New(to), OverlapPolicy: overlap,
	}}})
}

// Delete removes the schedule; workflows that it has started go on.
func (h *ScheduleHandle) Delete(ctx context.Context) error {
	_, err := retrying(ctx, func(ctx context.Context) (*workflowservice.DeleteScheduleResponse, error) {
		return h.c.service.DeleteSchedule(ctx, &workflowservice.DeleteScheduleRequest{Namespace: h.c.o.Namespace, ScheduleId: h.id, Identity: h.c.o.Identity})
	})
	return err
}
