package client_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/client"
)

// shelf is a server that keeps schedules and does nothing with them. With PERDURE_TEST_ADDR the real one there is asked instead.
type shelf struct {
	schedules map[string]*schedulepb.Schedule
	token     byte
	patches   []*schedulepb.SchedulePatch
	meddle    int // how many updates come from somebody else first
}

func (s *shelf) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams")
}

func (s *shelf) Invoke(_ context.Context, method string, req, reply any, _ ...grpc.CallOption) error {
	missing := status.Error(codes.NotFound, "schedule not found")
	switch r := req.(type) {
	case *workflowservice.GetSystemInfoRequest:
	case *workflowservice.CreateScheduleRequest:
		s.schedules[r.ScheduleId] = r.Schedule
	case *workflowservice.DescribeScheduleRequest:
		if s.schedules[r.ScheduleId] == nil {
			return missing
		}
		proto.Merge(reply.(proto.Message), &workflowservice.DescribeScheduleResponse{Schedule: s.schedules[r.ScheduleId], ConflictToken: []byte{s.token}})
		if s.meddle > 0 {
			s.meddle--
			s.token++
		}
	case *workflowservice.UpdateScheduleRequest:
		if r.ConflictToken[0] != s.token {
			return status.Error(codes.FailedPrecondition, "mismatched conflict token")
		}
		s.schedules[r.ScheduleId], s.token = r.Schedule, s.token+1
	case *workflowservice.PatchScheduleRequest:
		s.patches = append(s.patches, r.Patch)
		if r.Patch.Pause != "" {
			s.schedules[r.ScheduleId].State.Paused, s.schedules[r.ScheduleId].State.Notes = true, r.Patch.Pause
		}
		if r.Patch.Unpause != "" {
			s.schedules[r.ScheduleId].State.Paused, s.schedules[r.ScheduleId].State.Notes = false, r.Patch.Unpause
		}
	case *workflowservice.ListSchedulesRequest:
		page := &workflowservice.ListSchedulesResponse{}
		for id := range s.schedules {
			page.Schedules = append(page.Schedules, &schedulepb.ScheduleListEntry{ScheduleId: id})
		}
		if len(r.NextPageToken) == 0 {
			page.NextPageToken, page.Schedules = []byte{1}, nil // an empty page is not the last one
		}
		proto.Merge(reply.(proto.Message), page)
	case *workflowservice.DeleteScheduleRequest:
		delete(s.schedules, r.ScheduleId)
	default:
		return status.Error(codes.Unimplemented, method)
	}
	return nil
}

func TestASchedulesLife(t *testing.T) {
	ctx, s := t.Context(), &shelf{schedules: map[string]*schedulepb.Schedule{}}
	o := client.Options{Conn: s}
	real := os.Getenv("PERDURE_TEST_ADDR")
	if real != "" {
		o = client.Options{Address: real}
	}
	c := must[*client.Client](t)(client.Dial(ctx, o))
	t.Cleanup(c.Close)
	id := "schedule-" + uuid.NewString()
	op := client.WithStart((*Greeting).Run, "x", client.StartOptions{TaskQueue: "q", RunTimeout: time.Minute, Memo: map[string]any{"m": 1}})
	h := must[*client.ScheduleHandle](t)(client.CreateSchedule(ctx, c, id, op, client.ScheduleOptions{
		Spec:    &schedulepb.ScheduleSpec{Interval: []*schedulepb.IntervalSpec{{Interval: durationpb.New(time.Hour)}}},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE, CatchUp: time.Minute, PauseOnFailure: true, Paused: true, Note: "not yet", Limit: 3,
	}))
	d, err := h.Describe(ctx)
	ok(t, err)
	w := d.Schedule.Action.GetStartWorkflow()
	if w.WorkflowType.Name != "Greeting" || w.WorkflowId != id || w.WorkflowRunTimeout.AsDuration() != time.Minute || string(w.Input.Payloads[0].Data) != `"x"` || w.Memo.Fields["m"] == nil {
		t.Errorf("it starts %v", w)
	}
	p, st := d.Schedule.Policies, d.Schedule.State
	if p.OverlapPolicy != enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE || p.CatchupWindow.AsDuration() != time.Minute || !p.PauseOnFailure || !st.Paused || st.Notes != "not yet" || st.RemainingActions != 3 {
		t.Errorf("policies %v, state %v", p, st)
	}
	ok(t, h.Unpause(ctx, ""))
	ok(t, h.Pause(ctx, "enough"))
	s.meddle = 2
	tries := 0
	ok(t, h.Update(ctx, func(s *schedulepb.Schedule) error {
		tries++
		s.State.Notes += ", changed"
		return nil
	}))
	d, err = h.Describe(ctx)
	ok(t, err)
	if !d.Schedule.State.Paused || !strings.HasSuffix(d.Schedule.State.Notes, "enough, changed") || real == "" && tries != 3 {
		t.Errorf("after %d tries: %v", tries, d.Schedule.State)
	}
	if err := h.Update(ctx, func(*schedulepb.Schedule) error { return errors.New("changed my mind") }); err == nil || err.Error() != "changed my mind" {
		t.Error(err)
	}
	ok(t, h.Trigger(ctx, enumspb.SCHEDULE_OVERLAP_POLICY_SKIP))
	ok(t, h.Backfill(ctx, time.Unix(0, 0), time.Unix(1, 0), enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL))
	if real == "" && (len(s.patches) != 4 || s.patches[2].TriggerImmediately == nil || s.patches[3].BackfillRequest[0].EndTime.Seconds != 1) {
		t.Errorf("patches %v", s.patches)
	}
	for found := false; !found; { // a real server lists it after a while
		for e, err := range c.Schedules(ctx, "") {
			ok(t, err)
			found = found || e.ScheduleId == id
		}
	}
	ok(t, c.Schedule(id).Delete(ctx))
	_, err = h.Describe(ctx)
	var gone *serviceerror.NotFound
	if !errors.As(err, &gone) {
		t.Error(err)
	}
}

func TestAScheduleIsMadeOfWhatCanBeStarted(t *testing.T) {
	c, requests := server(t, nil)
	ctx, before := t.Context(), requests.Load()
	refused := func(id string, op *client.StartOperation[*Greeting, []string], want string) {
		t.Helper()
		_, err := client.CreateSchedule(ctx, c, id, op, client.ScheduleOptions{})
		if e := is[*client.UsageError](t, err); !strings.Contains(e.Text, want) {
			t.Errorf("%v does not say %q", e, want)
		}
	}
	op := client.WithStart((*Greeting).Run, "x", client.StartOptions{})
	refused("", op, "needs an ID")
	refused("id", op, "used once")
	_, err := op.Handle(ctx)
	is[*client.UsageError](t, err)
	refused("id", client.WithStart((*Greeting).Run, "x", client.StartOptions{}), "TaskQueue")
	refused("id", client.WithStart((*Greeting).Run, "x", client.StartOptions{TaskQueue: "q", Cron: "* * * * *"}), "Cron")
	equal(t, requests.Load(), before)
	// This server has none yet, and says so.
	_, err = client.CreateSchedule(ctx, c, "id", client.WithStart((*Greeting).Run, "x", client.StartOptions{TaskQueue: "q"}), client.ScheduleOptions{})
	var unimplemented *serviceerror.Unimplemented
	if !errors.As(err, &unimplemented) || !strings.Contains(err.Error(), "CreateSchedule") {
		t.Error(err)
	}
}
