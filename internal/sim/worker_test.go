package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	normalQueue  = "queue"
	heartbeating = "#heartbeat" // ends the identity of a completion that only asks for more time
)

// worker is a process that polls for workflow tasks and activities, with a cache of workflows. Its code is program.
type worker struct {
	s        *sim
	name     string
	life     int // raised when it dies: what belonged to an earlier life is gone
	cache    map[ids.RunID]*cached
	pollTime time.Duration
}

// cached is a workflow's code after the task that began at event started was completed.
type cached struct {
	code    *program
	started int64
}

// workflowTask is a task as a worker gets it.
type workflowTask struct {
	*execution.WorkflowTaskStarted
	events []*historypb.HistoryEvent
}

// directQuery is a query that is a task of its own.
type directQuery struct {
	direct *execution.DirectQuery
	over   bool
	done   func(answer []byte, err error)
	events []*historypb.HistoryEvent
}

func newWorker(s *sim, i int) *worker {
	w := &worker{s: s, name: fmt.Sprintf("worker%d", i)}
	w.live()
	return w
}

func (w *worker) live() {
	w.life++
	w.cache = map[ids.RunID]*cached{}
	w.pollTime = w.s.between(5*time.Second, time.Minute)
	for range 2 {
		w.pollLoop(taskqueue.QueueKey{Namespace: namespace, Type: record.QueueWorkflow, Name: normalQueue}, w.pollWorkflow)
		w.pollLoop(taskqueue.QueueKey{Namespace: namespace, Type: record.QueueActivity, Name: normalQueue}, w.pollActivity)
	}
	w.pollLoop(taskqueue.QueueKey{Namespace: namespace, Type: record.QueueWorkflow, Name: w.sticky()}, w.pollWorkflow)
}

func (w *worker) sticky() string { return fmt.Sprintf("%s-%d", w.name, w.life) }

// die loses everything and comes back as a new process.
func (w *worker) die(away time.Duration) {
	w.s.say("%s dies", w.name)
	w.life++
	life := w.life
	w.s.after(away, func() {
		if w.life == life {
			w.live()
		}
	})
}

// later is after for what dies with the worker.
func (w *worker) later(d time.Duration, do func()) {
	life := w.life
	w.s.after(d, func() {
		if w.life == life {
			do()
		}
	})
}

// pollLoop polls a queue again and again. once polls one time and calls again when it may go on.
func (w *worker) pollLoop(key taskqueue.QueueKey, once func(key taskqueue.QueueKey, again func(time.Duration))) {
	life := w.life
	w.later(w.s.between(0, 50*time.Millisecond), func() {
		once(key, func(pause time.Duration) {
			if w.life == life {
				w.later(pause, func() { w.pollLoop(key, once) })
			}
		})
	})
}

// take polls until deliver has used a task, as the frontend does. deliver reports an error of kind Stale or NotFound for
// a task of no use.
func (w *worker) take(key taskqueue.QueueKey, deliver func(n *node, h hint, done func(any, error)), done func(any)) {
	s := w.s
	n := s.node
	if n == nil || s.chance(s.faults.requestLost) {
		s.after(s.between(100*time.Millisecond, 2*time.Second), func() { done(nil) })
		return
	}
	var poll func()
	end := s.now().Add(w.pollTime)
	poll = func() {
		left := end.Sub(s.now())
		if s.node != n || left <= 0 {
			done(nil)
			return
		}
		n.queues.poll(key, left, func(h hint, ok bool) {
			if !ok {
				done(nil)
				return
			}
			deliver(n, h, func(task any, err error) {
				switch {
				case err == nil:
					done(task)
				case isKind(err, execution.Stale), isKind(err, execution.NotFound):
					if h.query != nil || s.node != n {
						s.after(0, poll)
						return
					}
					n.await(func(ctx ctx) (any, error) { return nil, n.eng.Discard(ctx, h.offer) }, func(any, error) { poll() })
				default:
					if h.query == nil && s.node == n {
						n.queues.requeue(n.queues.get(key), h)
					}
					done(nil)
				}
			})
		})
	}
	poll()
}

func isKind(err error, kind execution.ErrorKind) bool {
	var e *execution.Error
	return errors.As(err, &e) && e.Kind == kind
}

func (w *worker) pollWorkflow(key taskqueue.QueueKey, again func(time.Duration)) {
	s, life := w.s, w.life
	request := s.id("poll")
	w.take(key, func(n *node, h hint, done func(any, error)) {
		if q := h.query; q != nil {
			w.queryTask(n, q, done)
			return
		}
		in := execution.StartWorkflowTask{Ref: *h.offer.Workflow, RequestID: request, Identity: w.name, Sticky: key.Name != normalQueue}
		started := func(answer any, err error) {
			if err != nil {
				done(nil, err)
				return
			}
			w.taskHistory(n, answer.(*execution.WorkflowTaskStarted), done)
		}
		n.submit(h.offer.Workflow.Run.Of(), h.offer.Workflow.Run.Run, in, func(answer any, err error) {
			if err == nil && s.chance(s.faults.doubled) { // the same poll again gets the same task
				n.submit(h.offer.Workflow.Run.Of(), h.offer.Workflow.Run.Run, in, started)
				return
			}
			started(answer, err)
		})
	}, func(task any) {
		if task == nil {
			again(s.between(0, time.Second))
			return
		}
		if w.life != life || s.chance(s.faults.replyLost) {
			s.say("%s never gets its task", w.name)
			again(0)
			return
		}
		w.later(s.between(0, 5*time.Millisecond), func() {
			switch task := task.(type) {
			case *workflowTask:
				w.work(task)
			case *directQuery:
				w.answerQuery(task)
			}
			again(s.between(0, 20*time.Millisecond))
		})
	})
}

// taskHistory reads what a worker gets with its task.
func (w *worker) taskHistory(n *node, t *execution.WorkflowTaskStarted, done func(any, error)) {
	q := engine.HistoryQuery{Run: t.Token.Run, From: t.HistoryFrom, To: t.Token.StartedID + 1}
	n.history(q, func(page *engine.HistoryPage, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		events, err := record.DecodeEvents(page.Events)
		if err != nil {
			w.s.fail("task history: %v", err)
		}
		w.s.ledger.sawHistory(t.Token.Run, events)
		last := t.HistoryFrom - 1 + int64(len(events))
		for _, ev := range t.Virtual {
			if ev.EventId > last {
				events = append(events, ev)
				last = ev.EventId
			}
		}
		if last != t.Token.StartedID { // the task was overtaken
			done(nil, &execution.Error{Kind: execution.Internal, Message: "history is not that of the task"})
			return
		}
		done(&workflowTask{WorkflowTaskStarted: t, events: events}, nil)
	})
}

func (w *worker) queryTask(n *node, q *directQuery, done func(any, error)) {
	if q.over {
		done(nil, &execution.Error{Kind: execution.Stale, Message: "query given up"})
		return
	}
	n.history(engine.HistoryQuery{Run: q.direct.Run, From: 1, To: q.direct.NextEventID}, func(page *engine.HistoryPage, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		c := *q
		c.events, _ = record.DecodeEvents(page.Events)
		w.s.ledger.sawHistory(q.direct.Run, c.events)
		c.done = func(answer []byte, err error) {
			if !q.over {
				q.over = true
				q.done(answer, err)
			}
		}
		done(&c, nil)
	})
}

func (w *worker) answerQuery(q *directQuery) {
	code := &program{}
	for _, ev := range q.events {
		if err := code.feed(ev); err != nil {
			w.s.fail("query on %s: %v\n%s", short(q.direct.Run), err, storyOf(q.events))
			return
		}
	}
	w.later(w.s.between(0, 20*time.Millisecond), func() {
		if !w.s.chance(w.s.faults.ignoresQuery) {
			q.done(code.view(), nil)
		}
	})
}

type queryView struct {
	Run     string
	Signals []string
}

// view is what queries see: the signals that the code has got.
func (p *program) view() []byte {
	b, err := json.Marshal(queryView{p.run, p.signals})
	if err != nil {
		panic(err)
	}
	return b
}

// work does a workflow task: brings the code up to date, and decides.
func (w *worker) work(t *workflowTask) {
	s, run := w.s, t.Token.Run
	s.say("%s has task %d of %s: %d..%d attempt %d, %d messages, %d queries", w.name, t.Token.Seq, short(run), t.HistoryFrom, t.Token.StartedID, t.Attempt, len(t.Messages), len(t.Queries))
	c := w.cache[run.Run]
	delete(w.cache, run.Run)
	if s.chance(s.faults.cacheLost) {
		c = nil
	}
	if t.HistoryFrom > 1 && (c == nil || c.started != t.PreviousStartedID) {
		s.say("%s lacks %s in its cache", w.name, short(run))
		w.readWhole(t)
		return
	}
	code := &program{}
	var base *cached // what the cache goes back to if the task leaves no trace
	if t.HistoryFrom > 1 {
		base = &cached{c.code.clone(), c.started}
		code = c.code
	}
	for _, ev := range t.events {
		if err := code.feed(ev); err != nil {
			s.fail("%s on %s, task %d: %v\n%s", w.name, short(run), t.Token.Seq, err, storyOf(t.events))
			return
		}
	}
	took := s.between(time.Millisecond, 100*time.Millisecond)
	if s.chance(s.faults.slowTask) {
		took = s.between(100*time.Millisecond, 25*time.Second)
	}
	w.later(took, func() { w.respond(t, code, base) })
}

// readWhole fetches the history that a sticky task came without.
func (w *worker) readWhole(t *workflowTask) {
	n, life := w.s.node, w.life
	if n == nil {
		return
	}
	whole := *t.WorkflowTaskStarted
	whole.HistoryFrom = 1
	w.taskHistory(n, &whole, func(task any, err error) {
		if err == nil && w.life == life {
			w.later(0, func() { w.work(task.(*workflowTask)) })
		}
	})
}

// respond tells the server what the code says, or that it cannot.
func (w *worker) respond(t *workflowTask, code *program, base *cached) {
	s, f := w.s, &w.s.faults
	switch {
	case s.chance(f.taskVanishes):
		s.say("%s forgets task %d of %s", w.name, t.Token.Seq, short(t.Token.Run))
		return
	case s.chance(f.taskFails):
		in := execution.FailWorkflowTask{Token: t.Token, Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
			Failure: failure("task", false), Identity: w.name}
		w.call(t.Token.Run, in, func(any, error) {})
		return
	}
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Identity: w.name, ReturnNewWorkflowTask: s.chance(0.5),
		Capabilities: &workflowservice.RespondWorkflowTaskCompletedRequest_Capabilities{DiscardSpeculativeWorkflowTaskWithEvents: s.chance(0.7)}}
	if s.chance(0.8) {
		req.StickyAttributes = &taskqueuepb.StickyExecutionAttributes{
			WorkerTaskQueue:        &taskqueuepb.TaskQueue{Name: w.sticky(), Kind: enumspb.TASK_QUEUE_KIND_STICKY, NormalName: normalQueue},
			ScheduleToStartTimeout: durationpb.New(5 * time.Second)}
	}
	bad := false
	if s.chance(f.heartbeat) && !code.in.Still {
		req.Identity += heartbeating
		req.ForceCreateNewWorkflowTask = true
	} else {
		commands := code.decide()
		code.decided = true
		w.answerUpdates(t, code, req, len(commands) > 0 && isClose(commands[len(commands)-1]))
		if s.chance(f.badCommand) {
			bad = true
			req.Commands = append(req.Commands, w.badCommand(code))
		}
		req.Commands = append(req.Commands, commands...)
	}
	w.answerQueries(t, code, req)
	in := execution.CompleteWorkflowTask{Token: t.Token, Request: req}
	w.checked(t.Token.Run, in, func(answer any, err error) { s.ledger.taskDone(t, req, bad, answer, err) }, func(answer any, err error) {
		if err != nil {
			return // what the code has done meanwhile is lost with the cache
		}
		a := answer.(*execution.WorkflowTaskCompleted)
		keep := &cached{code, t.Token.StartedID}
		if a.ResetHistoryID != 0 {
			keep = base
		}
		if req.StickyAttributes != nil && keep != nil {
			w.cache[t.Token.Run.Run] = keep
		}
		for _, act := range a.Activities {
			w.later(0, func() { w.runActivity(act) })
		}
		if a.Next != nil {
			w.followUp(a.Next)
		}
	})
}

func (w *worker) followUp(next *execution.WorkflowTaskStarted) {
	n, life := w.s.node, w.life
	if n == nil {
		return
	}
	w.taskHistory(n, next, func(task any, err error) {
		if err == nil && w.life == life {
			w.later(w.s.between(0, 5*time.Millisecond), func() { w.work(task.(*workflowTask)) })
		}
	})
}

func isClose(c *commandpb.Command) bool {
	switch c.CommandType {
	case enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
		enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION, enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
		return true
	}
	return false
}

// badCommand is one that voids the whole completion.
func (w *worker) badCommand(code *program) *commandpb.Command {
	switch w.s.rng.IntN(4) {
	case 0:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_TIMER, Attributes: &commandpb.Command_StartTimerCommandAttributes{
			StartTimerCommandAttributes: &commandpb.StartTimerCommandAttributes{}}}
	case 1:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CANCEL_TIMER, Attributes: &commandpb.Command_CancelTimerCommandAttributes{
			CancelTimerCommandAttributes: &commandpb.CancelTimerCommandAttributes{TimerId: "no such timer"}}}
	case 2:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE, Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
			ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: "no such message"}}}
	}
	if code.in.Still || w.s.chance(0.7) {
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{ActivityId: "no timeout"}}}
	}
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_RECORD_MARKER, Attributes: &commandpb.Command_RecordMarkerCommandAttributes{
		RecordMarkerCommandAttributes: &commandpb.RecordMarkerCommandAttributes{MarkerName: "huge", Details: map[string]*commonpb.Payloads{"x": payloads(make([]byte, 8<<10))}}}}
}

// answerUpdates decides on the updates that came with the task, and completes what was accepted before.
func (w *worker) answerUpdates(t *workflowTask, code *program, req *workflowservice.RespondWorkflowTaskCompletedRequest, closing bool) {
	send := func(id, instance string, body proto.Message, ordered bool) {
		packed, err := anypb.New(body)
		if err != nil {
			panic(err)
		}
		req.Messages = append(req.Messages, &protocolpb.Message{Id: id, ProtocolInstanceId: instance, Body: packed})
		if ordered {
			req.Commands = append(req.Commands, &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE,
				Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: id}}})
		}
	}
	complete := func(id string) {
		send(id+"/response", id, &updatepb.Response{Meta: &updatepb.Meta{UpdateId: id},
			Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: text(fmt.Sprintf("%s by %s at %d", id, w.s.id("r"), t.Token.StartedID))}}}, true)
	}
	for _, id := range slices.Clone(code.updates) {
		if closing && hash(id)%4 != 0 || !closing && hash(id, t.Token.StartedID)%2 == 0 {
			complete(id)
		}
	}
	for _, m := range t.Messages {
		body, err := m.Body.UnmarshalNew()
		if err != nil {
			w.s.fail("update message: %v", err)
			return
		}
		r, id := body.(*updatepb.Request), m.ProtocolInstanceId
		switch pick := hash(w.s.seed, id) % 8; {
		case w.s.chance(w.s.faults.ignoresUpdate):
		case pick < 3:
			send(id+"/reject", id, &updatepb.Rejection{RejectedRequestMessageId: m.Id, RejectedRequestSequencingEventId: m.GetEventId(),
				RejectedRequest: r, Failure: failure(rejected, true)}, false)
		default:
			send(id+"/accept", id, &updatepb.Acceptance{AcceptedRequestMessageId: m.Id, AcceptedRequestSequencingEventId: m.GetEventId(), AcceptedRequest: r}, true)
			if pick < 6 || code.in.Still {
				complete(id)
			}
		}
	}
}

const rejected = "rejected"

func (w *worker) answerQueries(t *workflowTask, code *program, req *workflowservice.RespondWorkflowTaskCompletedRequest) {
	for _, id := range sortedKeys(t.Queries) {
		if w.s.chance(w.s.faults.ignoresQuery) {
			continue
		}
		if req.QueryResults == nil {
			req.QueryResults = map[string]*querypb.WorkflowQueryResult{}
		}
		req.QueryResults[id] = &querypb.WorkflowQueryResult{ResultType: enumspb.QUERY_RESULT_TYPE_ANSWERED, Answer: payloads(code.view())}
	}
}

// call sends an input over the network, trying again as workers do when the server is away.
func (w *worker) call(run ids.RunKey, in execution.Input, done func(any, error)) {
	w.checked(run, in, func(any, error) {}, done)
}

// checked is call; check sees each answer as it leaves the server.
func (w *worker) checked(run ids.RunKey, in execution.Input, check, done func(any, error)) {
	w.try(run, in, 0, check, done)
}

func (w *worker) try(run ids.RunKey, in execution.Input, attempt int, check, done func(any, error)) {
	life := w.life
	w.s.rpc(func(n *node, reply func(any, error)) {
		n.submit(run.Of(), run.Run, in, func(answer any, err error) {
			check(answer, err)
			reply(answer, err)
		})
	}, func(answer any, err error) {
		if w.life != life {
			return
		}
		if (isKind(err, execution.Unavailable) || errors.Is(err, errTimeout)) && attempt < 4 {
			w.later(w.s.between(100*time.Millisecond, 3*time.Second), func() { w.try(run, in, attempt+1, check, done) })
			return
		}
		done(answer, err)
	})
}

func (w *worker) pollActivity(key taskqueue.QueueKey, again func(time.Duration)) {
	s, life := w.s, w.life
	request := s.id("poll")
	w.take(key, func(n *node, h hint, done func(any, error)) {
		in := execution.StartActivity{Ref: *h.offer.Activity, RequestID: request, Identity: w.name}
		n.submit(in.Ref.Run.Of(), in.Ref.Run.Run, in, done)
	}, func(task any) {
		switch {
		case task == nil:
			again(s.between(0, time.Second))
		case w.life != life || s.chance(s.faults.replyLost):
			again(0)
		default:
			w.later(s.between(0, 5*time.Millisecond), func() { w.runActivity(task.(*execution.ActivityStarted)) })
			again(s.between(0, 100*time.Millisecond))
		}
	})
}

// runActivity is an activity's code: it takes its time, may report progress, and ends in one of many ways.
func (w *worker) runActivity(a *execution.ActivityStarted) {
	s := w.s
	if a.Event.GetEventId() != a.Token.ScheduledID {
		s.fail("activity %d of %s came with event %v", a.Token.ScheduledID, short(a.Token.Run), a.Event)
		return
	}
	if s.chance(s.faults.activityVanishes) {
		return
	}
	beats := 0
	if a.HB > 0 {
		beats = s.rng.IntN(4)
	}
	w.beat(a, beats)
}

func (w *worker) beat(a *execution.ActivityStarted, left int) {
	s := w.s
	took := s.between(time.Millisecond, 3*time.Second)
	if s.chance(s.faults.slowTask) {
		took = s.between(time.Second, 40*time.Second)
	}
	w.later(took, func() {
		if left == 0 {
			w.endActivity(a, false)
			return
		}
		in := execution.HeartbeatActivity{Token: a.Token, Details: text(fmt.Sprint(left)), Identity: w.name}
		w.call(a.Token.Run, in, func(answer any, err error) {
			if err != nil {
				return // too late
			}
			if answer.(*execution.HeartbeatAnswer).CancelRequested {
				w.endActivity(a, true)
				return
			}
			w.beat(a, left-1)
		})
	})
}

func (w *worker) endActivity(a *execution.ActivityStarted, cancelled bool) {
	s, token := w.s, a.Token
	if s.chance(0.1) { // by ID
		token = execution.ActivityToken{Run: a.Token.Run, ActivityID: a.Token.ActivityID}
	}
	var in execution.Input
	switch {
	case cancelled && s.chance(0.8):
		in = execution.CancelActivity{Token: token, Details: text("cancelled"), Identity: w.name}
	case s.chance(0.25):
		in = execution.FailActivity{Token: token, Failure: failure("activity", s.chance(0.3)), Identity: w.name}
	default:
		result := s.id("result")
		done := execution.CompleteActivity{Token: token, Result: text(result), Identity: w.name}
		w.checked(token.Run, done, func(_ any, err error) { s.ledger.activityDone(a.Token, result, err) }, func(any, error) {})
		return
	}
	w.call(token.Run, in, func(any, error) {})
}
