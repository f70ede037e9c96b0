package wiretest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// life plays clients and workers that do what chance says, with a server that is restarted now and then.
type life struct {
	*rig
	rng        *rand.Rand
	tasks      []*task
	activities []*activityTask
	names      int
}

// may checks that an error is one that such a life brings.
func (l *life) may(err error) {
	l.t.Helper()
	switch code := status.Code(err); code {
	case codes.Internal, codes.Unknown, codes.DataLoss, codes.Unimplemented, codes.Aborted:
		l.t.Errorf("%v", err)
	}
}

func (l *life) name(prefix string) string {
	l.names++
	return fmt.Sprint(prefix, l.names)
}

func (l *life) workflow() string { return fmt.Sprint("w", l.rng.IntN(3)) }

func (l *life) oneIn(n int) bool { return l.rng.IntN(n) == 0 }

func (l *life) duration() *durationpb.Duration {
	return durationpb.New(time.Duration(1+l.rng.IntN(20)) * time.Second)
}

func (l *life) retry() *commonpb.RetryPolicy {
	return &commonpb.RetryPolicy{InitialInterval: l.duration(), MaximumAttempts: int32(l.rng.IntN(4))}
}

func (l *life) start() {
	_, err := l.StartWorkflowExecution(l.ctx, startOf(l.workflow(), func(s *startRequest) {
		s.RequestId = l.name("start")
		s.WorkflowIdConflictPolicy = enumspb.WorkflowIdConflictPolicy(1 + l.rng.IntN(3))
		if l.oneIn(3) {
			s.WorkflowRunTimeout = durationpb.New(time.Duration(30+l.rng.IntN(300)) * time.Second)
		}
		if l.oneIn(3) {
			s.RetryPolicy = l.retry()
		}
		switch l.rng.IntN(8) {
		case 0:
			s.CronSchedule = "@every 40s"
		case 1:
			s.WorkflowStartDelay = l.duration()
		}
	}))
	l.may(err)
}

// in makes a call in the background, if it takes long.
func (l *life) in(d time.Duration, call func(context.Context) error) {
	go func() {
		ctx, cancel := context.WithTimeout(l.ctx, d)
		defer cancel()
		err := call(ctx)
		if l.ctx.Err() == nil {
			l.may(err)
		}
	}()
	l.settle()
}

func (l *life) update() {
	req := updateOf(l.workflow(), l.name("u"))
	if l.oneIn(4) {
		req.Request.Meta.UpdateId = "again"
	}
	client := l.WorkflowServiceClient
	l.in(30*time.Second, func(ctx context.Context) error {
		_, err := client.UpdateWorkflowExecution(ctx, req)
		return err
	})
}

func (l *life) ask() {
	id, client := l.workflow(), l.WorkflowServiceClient
	l.in(20*time.Second, func(ctx context.Context) error {
		_, err := client.QueryWorkflow(ctx, queryOf(id, ""))
		return err
	})
}

func (l *life) pollWorkflow() {
	q := queue("q")
	if l.oneIn(2) {
		q = sticky()
	}
	if k := l.pollFor(q, time.Second+time.Millisecond); k != nil {
		if k.Query != nil {
			l.may(k.answerQuery("a"))
			return
		}
		l.tasks = append(l.tasks, k)
	}
}

// take removes a random element.
func takeOne[E any](l *life, from *[]E) (e E, ok bool) {
	if len(*from) == 0 {
		return e, false
	}
	i := l.rng.IntN(len(*from))
	e = (*from)[i]
	*from = append((*from)[:i], (*from)[i+1:]...)
	return e, true
}

func (l *life) command(k *task) *commandpb.Command {
	switch l.rng.IntN(9) {
	case 0, 1:
		return startTimer(l.name("t"), l.duration().AsDuration())
	case 2, 3:
		return schedule(l.name("a"), func(a *activityAttributes) {
			a.StartToCloseTimeout, a.RetryPolicy, a.RequestEagerExecution = l.duration(), l.retry(), l.oneIn(4)
			if l.oneIn(2) {
				a.ScheduleToCloseTimeout = l.duration()
			}
			if l.oneIn(2) {
				a.HeartbeatTimeout = l.duration()
			}
		})
	case 4:
		return startChild(l.workflow()+"-child", func(a *childAttributes) {
			a.ParentClosePolicy, a.WorkflowRunTimeout = enumspb.ParentClosePolicy(1+l.rng.IntN(3)), durationpb.New(2*time.Minute)
		})
	case 5:
		return signalExternal(l.workflow(), "external")
	case 6:
		return cancelExternal(l.workflow())
	case 7:
		for _, e := range k.History.Events {
			if l.oneIn(3) && e.EventType == enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
				return cancelActivity(e.EventId)
			}
			if a := e.GetTimerStartedEventAttributes(); a != nil && l.oneIn(3) {
				return cancelTimer(a.TimerId)
			}
		}
		return marker("m")
	}
	return marker("m")
}

func (l *life) end() *commandpb.Command {
	switch l.rng.IntN(4) {
	case 0:
		return failRun(application("Broken", func(a *failurepb.ApplicationFailureInfo) { a.NonRetryable = l.oneIn(3) }))
	case 1:
		return cancelRun()
	case 2:
		return continueAsNew()
	}
	return completeRun("done")
}

// replies are what a worker says to the updates it was sent.
func (l *life) replies(k *task) (messages []*protocolpb.Message) {
	for _, m := range k.Messages {
		req := unpacked[*updatepb.Request](l.rig, m.Body)
		one := &task{&workflowservice.PollWorkflowTaskQueueResponse{Messages: []*protocolpb.Message{m}}, l.rig}
		switch l.rng.IntN(6) {
		case 0:
			messages = append(messages, one.reject())
		case 1:
			messages = append(messages, one.accept())
		case 2: // not a word
		default:
			messages = append(messages, one.accept(), respond(req.Meta.UpdateId, "done"))
		}
	}
	return messages
}

func (l *life) work() {
	k, ok := takeOne(l, &l.tasks)
	switch {
	case !ok || l.oneIn(12): // it is lost
		return
	case l.oneIn(10):
		l.may(k.fail(broken))
		return
	}
	var commands []*commandpb.Command
	for range l.rng.IntN(4) {
		commands = append(commands, l.command(k))
	}
	if l.oneIn(8) {
		commands = append(commands, l.end())
	}
	req := k.request(commands...)
	req.Messages, req.QueryResults = l.replies(k), k.answers("a")
	req.ForceCreateNewWorkflowTask, req.ReturnNewWorkflowTask = l.oneIn(8), l.oneIn(2)
	if l.oneIn(2) {
		req.StickyAttributes = stickyAttributes()
	}
	resp, err := l.RespondWorkflowTaskCompleted(l.ctx, req)
	l.may(err)
	if err != nil {
		return
	}
	if next := resp.WorkflowTask; next != nil {
		k := &task{next, l.rig}
		k.judge()
		l.tasks = append(l.tasks, k)
	}
	for _, a := range resp.ActivityTasks {
		l.activities = append(l.activities, &activityTask{a, l.rig})
	}
}

func (l *life) act() {
	a, ok := takeOne(l, &l.activities)
	if !ok {
		return
	}
	switch l.rng.IntN(6) {
	case 0:
		l.may(a.fail(application("Broken", func(f *failurepb.ApplicationFailureInfo) { f.NonRetryable = l.oneIn(3) })))
	case 1:
		_, err := a.heartbeat("h")
		l.may(err)
		l.activities = append(l.activities, a)
	case 2:
		l.may(a.canceled())
	case 3: // it is lost
	default:
		l.may(a.complete("done"))
	}
}

// resetOne makes a new run out of a part of one that there is.
func (l *life) resetOne() {
	runs := l.listed("")
	if len(runs) == 0 {
		return
	}
	run := runs[l.rng.IntN(len(runs))].Execution
	events := l.stored(run.WorkflowId, run.RunId)
	at := events[l.rng.IntN(len(events))].EventId
	for _, e := range events[at-1:] {
		if contains(short(e.EventType), "WFTStarted", "WFTCompleted", "WFTFailed", "WFTTimedOut") {
			at = e.EventId
			break
		}
	}
	_, err := l.reset(run.WorkflowId, run.RunId, at, func(r *workflowservice.ResetWorkflowExecutionRequest) {
		r.RequestId = l.name("reset")
		if l.oneIn(3) {
			r.ResetReapplyExcludeTypes = []enumspb.ResetReapplyExcludeType{enumspb.ResetReapplyExcludeType(1 + l.rng.IntN(4))}
		}
	})
	l.may(err)
}

func (l *life) step() {
	switch n := l.rng.IntN(100); {
	case n < 8:
		l.start()
	case n < 18:
		l.may(l.trySignal(l.workflow(), "", l.name("s"), ""))
	case n < 24:
		l.update()
	case n < 28:
		l.ask()
	case n < 50:
		l.pollWorkflow()
	case n < 72:
		l.work()
	case n < 82:
		if a := l.pollActivity("q", time.Second+time.Millisecond); a != nil {
			l.activities = append(l.activities, a)
		}
	case n < 90:
		l.act()
	case n < 92:
		l.may(l.tryCancel(l.workflow(), "", ""))
	case n < 93:
		l.may(l.tryTerminate(l.workflow(), "", ""))
	case n < 94:
		l.restart()
	case n < 95:
		l.resetOne()
	default:
		l.pass(time.Duration(l.rng.IntN(20_000)) * time.Millisecond)
	}
}

// S-79 is judged for every history; here are many that nobody has thought of.
func TestS079_HistoriesOfRandomLives(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(r *rig) {
				l := &life{rig: r, rng: rand.New(rand.NewPCG(seed, 79))}
				for range 200 {
					l.step()
				}
				r.pass(time.Minute)
				for _, run := range r.listed("") {
					events := r.stored(run.Execution.WorkflowId, run.Execution.RunId)
					for i, e := range events {
						is(r, "event ID", e.EventId, int64(i)+1)
						if i == 0 {
							continue
						}
						before := events[i-1]
						if e.TaskId <= before.TaskId {
							r.t.Errorf("task IDs %d, %d", before.TaskId, e.TaskId)
						}
						if e.EventTime.AsTime().Before(before.EventTime.AsTime()) && !contains(short(e.EventType), "ActivityStarted", "WFTStarted") {
							r.t.Errorf("%s is earlier than %s:\n%s", short(e.EventType), short(before.EventType), long(events))
						}
					}
				}
			})
		})
	}
}
