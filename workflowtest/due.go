package workflowtest

import (
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// stickyTimeout is the default of workers.
const stickyTimeout = 5 * time.Second

// timerTo is the part that lets time pass to due. Its name is less exact, for the ticks.
func (st *stage) timerTo(due time.Time) string {
	st.dueAt = due
	d := time.Until(due)
	if d > time.Second {
		d = d.Round(time.Second)
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return timer + s
}

// due is when the next thing comes that running workflows wait for: timers, timeouts and retries, as far as the server tells of
// them; zero: nothing. Tasks that workers have for too long are only counted if tasks is set.
func (st *stage) due(tasks bool) (time.Time, error) {
	running, err := st.running()
	if err != nil {
		return time.Time{}, err
	}
	d := &dates{now: time.Now()}
	for _, w := range running {
		if err := st.dates(d, w.Execution, tasks); err != nil {
			return time.Time{}, err
		}
	}
	return d.first, nil
}

func (st *stage) dates(d *dates, of *commonpb.WorkflowExecution, tasks bool) error {
	is, err := st.story.Client.Service().DescribeWorkflowExecution(st.story.Ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: st.story.Client.Namespace(), Execution: of})
	if err != nil {
		return err
	}
	events, err := st.history(of)
	if err != nil {
		return err
	}
	d.at(is.WorkflowExtendedInfo.GetRunExpirationTime(), nil)
	d.at(is.WorkflowExtendedInfo.GetExecutionExpirationTime(), nil)
	d.events(events)
	for _, a := range is.PendingActivities {
		d.activity(a, scheduled(events, a.ActivityId))
	}
	if t := is.PendingWorkflowTask; t != nil && tasks {
		d.after(t.ScheduledTime, stickyTimeout)
		if t.State == enumspb.PENDING_WORKFLOW_TASK_STATE_STARTED {
			d.after(t.StartedTime, is.ExecutionConfig.GetDefaultWorkflowTaskTimeout().AsDuration())
		}
	}
	return nil
}

// dates keeps the first of those that are to come.
type dates struct{ now, first time.Time }

func (d *dates) add(t time.Time) {
	if t.After(d.now) && (d.first.IsZero() || t.Before(d.first)) {
		d.first = t
	}
}

func (d *dates) after(t *timestamppb.Timestamp, timeout time.Duration) {
	if t != nil && timeout > 0 {
		d.add(t.AsTime().Add(timeout))
	}
}

func (d *dates) at(t *timestamppb.Timestamp, delay *durationpb.Duration) {
	if t != nil {
		d.add(t.AsTime().Add(delay.AsDuration()))
	}
}

func (d *dates) events(events []*historypb.HistoryEvent) {
	open := map[int64]time.Time{}
	for _, e := range events {
		switch a := e.Attributes.(type) {
		case *historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes:
			d.at(e.EventTime, a.WorkflowExecutionStartedEventAttributes.FirstWorkflowTaskBackoff)
		case *historypb.HistoryEvent_TimerStartedEventAttributes:
			open[e.EventId] = e.EventTime.AsTime().Add(a.TimerStartedEventAttributes.StartToFireTimeout.AsDuration())
		case *historypb.HistoryEvent_TimerFiredEventAttributes:
			delete(open, a.TimerFiredEventAttributes.StartedEventId)
		case *historypb.HistoryEvent_TimerCanceledEventAttributes:
			delete(open, a.TimerCanceledEventAttributes.StartedEventId)
		}
	}
	for _, t := range open {
		d.add(t)
	}
}

func scheduled(events []*historypb.HistoryEvent, activityID string) (found *historypb.ActivityTaskScheduledEventAttributes) {
	for _, e := range events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityId() == activityID {
			found = a
		}
	}
	return found
}

func (d *dates) activity(is *workflowpb.PendingActivityInfo, asked *historypb.ActivityTaskScheduledEventAttributes) {
	d.at(is.NextAttemptScheduleTime, nil)
	d.at(is.ExpirationTime, nil)
	if is.ScheduledTime != nil { // it waits for a worker
		d.after(is.ScheduledTime, asked.GetScheduleToStartTimeout().AsDuration())
		return
	}
	d.after(is.LastStartedTime, asked.GetStartToCloseTimeout().AsDuration())
	beat := is.LastHeartbeatTime
	if beat == nil || beat.AsTime().Before(is.LastStartedTime.AsTime()) {
		beat = is.LastStartedTime
	}
	d.after(beat, asked.GetHeartbeatTimeout().AsDuration())
}

// running are the open runs, history all events of a run.

func (st *stage) running() (open []*workflowpb.WorkflowExecutionInfo, err error) {
	all, err := st.workflows()
	for _, w := range all {
		if w.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			open = append(open, w)
		}
	}
	return open, err
}

func (st *stage) workflows() ([]*workflowpb.WorkflowExecutionInfo, error) {
	answer, err := st.story.Client.Service().ListWorkflowExecutions(st.story.Ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: st.story.Client.Namespace(), PageSize: 1000})
	return answer.GetExecutions(), err
}

func (st *stage) history(of *commonpb.WorkflowExecution) (events []*historypb.HistoryEvent, err error) {
	for e, err := range st.story.Client.Handle(of.WorkflowId, of.RunId).History(st.story.Ctx) {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
