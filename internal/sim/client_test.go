package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	errordetailspb "go.temporal.io/api/errordetails/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/engine"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	plainWorkflows = 4 // w0, w1, …
	registers      = 2 // r0, r1
)

// clients are everybody who calls the server from outside: one operation after the other is begun, and goes on beside
// the others.
type clients struct {
	s           *sim
	begun       int
	running     map[int]string
	known       []ids.RunKey // runs heard of
	updates     []knownUpdate
	registerOps []*registerOp
}

type knownUpdate struct {
	run ids.RunKey
	id  string
}

func newClients(s *sim) *clients {
	c := &clients{s: s, running: map[int]string{}}
	c.next()
	return c
}

func (c *clients) next() {
	c.s.after(c.s.between(0, 2*time.Second), func() {
		if c.spent() {
			return
		}
		c.something()
		c.next()
	})
}

func (c *clients) spent() bool { return c.begun >= c.s.conf.steps }
func (c *clients) idle() bool  { return len(c.running) == 0 }

func (c *clients) describe() []string {
	var out []string
	for _, k := range sortedKeys(c.running) {
		out = append(out, "client waits for "+c.running[k])
	}
	return out
}

// begin notes an operation; call the result when it is over.
func (c *clients) begin(format string, args ...any) (number int, end func()) {
	c.begun++
	number = c.begun
	what := fmt.Sprintf(format, args...)
	c.running[number] = what
	c.s.say("client %d: %s", number, what)
	return number, func() { delete(c.running, number) }
}

func workflow(name string) ids.WorkflowKey {
	return ids.WorkflowKey{Namespace: namespace, Workflow: ids.WorkflowID(name)}
}

func (c *clients) plain() ids.WorkflowKey {
	return workflow(fmt.Sprintf("w%d", c.s.rng.IntN(plainWorkflows)))
}

// target is a workflow, or now and then one of the runs that are known.
func (c *clients) target() (ids.WorkflowKey, ids.RunID) {
	if len(c.known) > 0 && c.s.chance(0.4) {
		k := c.known[len(c.known)-1-c.s.rng.IntN(min(len(c.known), 8))]
		return k.Of(), k.Run
	}
	if c.s.chance(0.2) {
		return workflow(fmt.Sprintf("r%d", c.s.rng.IntN(registers))), ""
	}
	return c.plain(), ""
}

func (c *clients) knows(k ids.RunKey) {
	if !slices.Contains(c.known, k) {
		c.known = append(c.known, k)
	}
}

func (c *clients) something() {
	switch pick := c.s.rng.IntN(100); {
	case pick < 2:
		c.burst()
	case pick < 16:
		c.start(c.plain(), false)
	case pick < 32:
		c.register()
	case pick < 46:
		c.signal()
	case pick < 52:
		c.start(c.plain(), true)
	case pick < 66:
		c.update()
	case pick < 70:
		c.updateWithStart()
	case pick < 76:
		c.pollUpdate()
	case pick < 83:
		c.query()
	case pick < 87:
		c.cancel()
	case pick < 89:
		c.terminate()
	case pick < 93:
		c.look()
	case pick < 98:
		c.read()
	default:
		c.follow()
	}
}

// retry makes a call until there is an answer that says something, a few times.
func (c *clients) retry(times int, send func(n *node, reply func(any, error)), done func(any, error)) {
	c.s.rpc(send, func(answer any, err error) {
		if times > 1 && (isKind(err, execution.Unavailable) || errors.Is(err, errTimeout)) {
			c.s.after(c.s.between(50*time.Millisecond, 5*time.Second), func() { c.retry(times-1, send, done) })
			return
		}
		done(answer, err)
	})
}

// submit is a call whose answer is checked as it leaves the server.
func submit[T any](key ids.WorkflowKey, run ids.RunID, in execution.Input, check func(T)) func(*node, func(any, error)) {
	return func(n *node, reply func(any, error)) {
		n.submit(key, run, in, func(answer any, err error) {
			if a, ok := answer.(T); ok && err == nil {
				check(a)
			}
			reply(answer, err)
		})
	}
}

func (c *clients) request(key ids.WorkflowKey, id string) *workflowservice.StartWorkflowExecutionRequest {
	s := c.s
	in := order{Seed: s.rng.Uint64(), Budget: s.rng.IntN(8), Depth: s.rng.IntN(3), Chain: s.rng.IntN(3)}
	r := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: string(key.Workflow), WorkflowType: &commonpb.WorkflowType{Name: "program"}, RequestId: id,
		TaskQueue: &taskqueuepb.TaskQueue{Name: normalQueue}, Input: in.payloads(), Identity: "client",
		WorkflowIdReusePolicy:    enumspb.WorkflowIdReusePolicy(1 + s.rng.IntN(3)),
		WorkflowIdConflictPolicy: enumspb.WorkflowIdConflictPolicy(1 + s.rng.IntN(3)),
	}
	if s.chance(0.6) {
		r.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	}
	if r.WorkflowIdConflictPolicy == enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING && s.chance(0.5) {
		r.OnConflictOptions = &workflowpb.OnConflictOptions{AttachRequestId: true}
	}
	if s.chance(0.2) {
		r.WorkflowRunTimeout = durationpb.New(s.between(time.Second, 3*time.Minute))
	}
	if s.chance(0.2) {
		r.WorkflowTaskTimeout = durationpb.New(s.between(time.Second, 10*time.Second))
	}
	if s.chance(0.3) {
		r.RetryPolicy = &commonpb.RetryPolicy{InitialInterval: durationpb.New(s.between(100*time.Millisecond, 10*time.Second)), BackoffCoefficient: 2, MaximumAttempts: 3}
	}
	switch {
	case s.chance(0.1):
		r.CronSchedule = "@every 15s"
		r.WorkflowExecutionTimeout = durationpb.New(s.between(20*time.Second, 3*time.Minute))
	case s.chance(0.15):
		r.WorkflowStartDelay = durationpb.New(s.between(time.Second, 30*time.Second))
	}
	return r
}

// burst starts many workflows at a time, so that task queues have a backlog.
func (c *clients) burst() {
	for i := range 3 + c.s.rng.IntN(12) {
		c.start(workflow(fmt.Sprintf("burst%d", i)), false)
	}
}

// start starts a workflow under some policies, with a signal or without.
func (c *clients) start(key ids.WorkflowKey, signal bool) {
	s, id := c.s, c.s.id("start")
	in := execution.StartWorkflow{Request: c.request(key, id), Eager: true}
	if signal {
		in.Signal = &execution.SignalWorkflow{Name: "with start", RequestID: id, Identity: "client"}
		in.Request.OnConflictOptions = nil
		if in.Request.WorkflowIdConflictPolicy == enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL {
			in.Request.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
		}
	} else {
		in.Request.RequestEagerExecution = s.chance(0.1)
	}
	number, end := c.begin("start %s of %s, signal %v", id, key.Workflow, signal)
	c.retry(5, submit(key, "", in, func(a *execution.StartAnswer) { s.ledger.started(key, id, signal, a) }), func(answer any, err error) {
		s.say("client %d: %T %v", number, answer, err)
		if a, ok := answer.(*execution.StartAnswer); ok && err == nil {
			c.knows(key.Run(a.RunID))
			if a.Eager != nil {
				s.workers[0].followUp(a.Eager)
			}
		}
		end()
	})
}

// register makes one call to a workflow that does nothing by itself. There is no second attempt: a call is one thing.
func (c *clients) register() {
	s := c.s
	name := fmt.Sprintf("r%d", s.rng.IntN(registers))
	key := workflow(name)
	op := &registerOp{workflow: name, begun: s.now()}
	var send func(*node, func(any, error))
	switch pick := s.rng.IntN(10); {
	case pick < 3:
		id := s.id("register")
		op.call = registerCall{"start", id}
		r := &workflowservice.StartWorkflowExecutionRequest{Namespace: "default", WorkflowId: name, WorkflowType: &commonpb.WorkflowType{Name: "still"},
			RequestId: id, TaskQueue: &taskqueuepb.TaskQueue{Name: normalQueue}, Input: order{Still: true}.payloads(),
			WorkflowIdReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, WorkflowIdConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}
		send = submit(key, "", execution.StartWorkflow{Request: r}, func(a *execution.StartAnswer) { s.ledger.started(key, id, false, a) })
	case pick < 5:
		id := s.id("signal")
		op.call = registerCall{"signal", id}
		send = submit(key, "", execution.SignalWorkflow{Name: "s", RequestID: id}, func(a *execution.SignalAnswer) { s.ledger.signaled(key.Run(a.RunID), id) })
	case pick < 6:
		op.call = registerCall{"terminate", ""}
		send = submit(key, "", execution.Terminate{Reason: "client"}, func(*execution.EmptyAnswer) {})
	default:
		op.call = registerCall{"describe", ""}
		send = submit(key, "", execution.Describe{}, func(d *workflowservice.DescribeWorkflowExecutionResponse) { s.ledger.described(key, d) })
	}
	number, end := c.begin("%s of %s", op.call.kind, name)
	op.client = number
	c.registerOps = append(c.registerOps, op)
	doubled := s.faults.doubled
	s.faults.doubled = 0 // a second terminate might end a second run
	s.rpc(send, func(answer any, err error) {
		op.ended = s.now()
		op.answer = s.registerAnswer(key, answer, err)
		s.say("client %d: %+v %v", number, op.answer, err)
		end()
	})
	s.faults.doubled = doubled
}

func (s *sim) registerAnswer(key ids.WorkflowKey, answer any, err error) registerAnswer {
	var e *execution.Error
	switch {
	case err == nil:
	case errors.As(err, &e) && e.Kind == execution.AlreadyExists:
		return registerAnswer{request: e.Detail.(*errordetailspb.WorkflowExecutionAlreadyStartedFailure).StartRequestId}
	case errors.As(err, &e) && e.Kind == execution.NotFound:
		return registerAnswer{}
	default:
		return registerAnswer{unknown: true}
	}
	out := registerAnswer{ok: true}
	switch a := answer.(type) {
	case *execution.StartAnswer:
		out.request = s.requestOf(key, string(a.RunID))
	case *workflowservice.DescribeWorkflowExecutionResponse:
		out.request = s.requestOf(key, a.WorkflowExecutionInfo.Execution.RunId)
		out.open = a.WorkflowExecutionInfo.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	return out
}

func (c *clients) signal() {
	s := c.s
	key, run := c.target()
	id := s.id("signal")
	number, end := c.begin("signal %s to %s", id, short(key.Run(run)))
	in := execution.SignalWorkflow{Name: "s", RequestID: id, Identity: "client"}
	c.retry(5, submit(key, run, in, func(a *execution.SignalAnswer) { s.ledger.signaled(key.Run(a.RunID), id) }), func(_ any, err error) {
		s.say("client %d: %v", number, err)
		end()
	})
}

func (c *clients) cancel() {
	key, run := c.target()
	_, end := c.begin("cancel %s", short(key.Run(run)))
	in := execution.RequestCancel{Reason: "client", RequestID: c.s.id("cancel")}
	c.retry(3, submit(key, run, in, func(*execution.EmptyAnswer) { c.s.ledger.cancelled(key.Run(run)) }), func(any, error) { end() })
}

func (c *clients) terminate() {
	key, run := c.target()
	if key.Workflow[0] == 'r' {
		key, run = c.plain(), "" // the calls that end registers are all in the books
	}
	_, end := c.begin("terminate %s", short(key.Run(run)))
	in := execution.Terminate{Reason: "client"}
	c.retry(3, submit(key, run, in, func(*execution.EmptyAnswer) { c.s.ledger.terminated(key.Run(run)) }), func(any, error) { end() })
}

func (c *clients) look() {
	key, run := c.target()
	_, end := c.begin("describe %s", short(key.Run(run)))
	c.retry(3, submit(key, run, execution.Describe{}, func(d *workflowservice.DescribeWorkflowExecutionResponse) { c.s.ledger.described(key, d) }),
		func(any, error) { end() })
}

// update sends an update and waits for a stage.
func (c *clients) update() {
	key, run := c.target()
	id := c.s.id("update")
	if len(c.updates) > 0 && c.s.chance(0.2) { // somebody else's
		u := c.updates[c.s.rng.IntN(len(c.updates))]
		key, run, id = u.run.Of(), u.run.Run, u.id
	}
	wait := enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
	if c.s.chance(0.4) {
		wait = enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
	}
	number, end := c.begin("update %s of %s to %s", id, short(key.Run(run)), wait)
	c.retry(6, c.sendUpdate(key, run, id, wait), func(answer any, err error) {
		c.s.say("client %d: %v %v", number, answer, err)
		if a, ok := answer.(*execution.UpdateAnswer); ok && err == nil {
			c.updates = append(c.updates, knownUpdate{key.Run(a.RunID), id})
		}
		end()
	})
}

func updateRequest(id string) *updatepb.Request {
	return &updatepb.Request{Meta: &updatepb.Meta{UpdateId: id, Identity: "client"}, Input: &updatepb.Input{Name: "u", Args: text(id)}}
}

const updateWait = 8 * time.Second

func (c *clients) sendUpdate(key ids.WorkflowKey, run ids.RunID, id string, wait enumspb.UpdateWorkflowExecutionLifecycleStage) func(*node, func(any, error)) {
	return func(n *node, reply func(any, error)) {
		n.submitWaiting(key, run, updateWait, func(w execution.Waiter) execution.Input {
			return execution.UpdateWorkflow{Request: updateRequest(id), Wait: wait, Waiter: w}
		}, isNil, c.forget(n, key, run, id), c.checkedUpdate(key, id, wait, reply))
	}
}

func isNil(answer any) bool { return answer == nil }

// forget tells the run that a caller gave up.
func (c *clients) forget(n *node, key ids.WorkflowKey, run ids.RunID, id string) func(execution.Waiter) {
	return func(w execution.Waiter) {
		n.submit(key, run, execution.PollUpdate{UpdateID: id, Forget: w}, func(any, error) {})
	}
}

func (c *clients) checkedUpdate(key ids.WorkflowKey, id string, wait enumspb.UpdateWorkflowExecutionLifecycleStage, reply func(any, error)) func(any, error) {
	return func(answer any, err error) {
		if a, ok := answer.(*execution.UpdateAnswer); ok && err == nil {
			if a.Stage < wait {
				c.s.fail("update %s of %s: the wait for %s ended at %s", id, key.Workflow, wait, a.Stage)
			}
			c.s.ledger.updated(key, id, a)
		}
		reply(answer, err)
	}
}

func (c *clients) updateWithStart() {
	s, key, id, update := c.s, c.plain(), c.s.id("start"), c.s.id("update")
	in := execution.StartWorkflow{Request: c.request(key, id)}
	in.Request.OnConflictOptions, in.Request.CronSchedule, in.Request.WorkflowStartDelay = nil, "", nil
	in.Request.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	number, end := c.begin("start %s of %s with update %s", id, key.Workflow, update)
	send := func(n *node, reply func(any, error)) {
		n.submitWaiting(key, "", updateWait, func(w execution.Waiter) execution.Input {
			in := in
			in.Update = &execution.UpdateWorkflow{Request: updateRequest(update), Wait: enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED, Waiter: w}
			return in
		}, func(answer any) bool {
			a, ok := answer.(*execution.StartAnswer)
			if ok {
				s.ledger.started(key, id, false, a)
				c.knows(key.Run(a.RunID))
			}
			return ok && a.Update == nil && a.UpdateErr == nil
		}, c.forget(n, key, "", update), func(answer any, err error) {
			if a, ok := answer.(*execution.StartAnswer); ok && err == nil {
				if a.Update == nil {
					reply(nil, a.UpdateErr)
					return
				}
				answer = a.Update
			}
			c.checkedUpdate(key, update, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED, reply)(answer, err)
		})
	}
	c.retry(4, send, func(answer any, err error) { s.say("client %d: %v %v", number, answer, err); end() })
}

func (c *clients) pollUpdate() {
	if len(c.updates) == 0 {
		c.update()
		return
	}
	u := c.updates[c.s.rng.IntN(len(c.updates))]
	wait := []enumspb.UpdateWorkflowExecutionLifecycleStage{0, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED,
		enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED}[c.s.rng.IntN(3)]
	_, end := c.begin("poll update %s of %s", u.id, short(u.run))
	c.retry(3, c.sendPoll(u, wait), func(any, error) { end() })
}

func (c *clients) sendPoll(u knownUpdate, wait enumspb.UpdateWorkflowExecutionLifecycleStage) func(*node, func(any, error)) {
	return func(n *node, reply func(any, error)) {
		n.submitWaiting(u.run.Of(), u.run.Run, updateWait, func(w execution.Waiter) execution.Input {
			if wait == 0 {
				w = 0
			}
			return execution.PollUpdate{UpdateID: u.id, Wait: wait, Waiter: w}
		}, isNil, c.forget(n, u.run.Of(), u.run.Run, u.id), c.checkedUpdate(u.run.Of(), u.id, wait, reply))
	}
}

// query asks a run's code, with its next workflow task or by a task of its own.
func (c *clients) query() {
	key, run := c.target()
	_, end := c.begin("query %s", short(key.Run(run)))
	c.s.rpc(c.sendQuery(key, run), func(any, error) { end() })
}

func (c *clients) sendQuery(key ids.WorkflowKey, run ids.RunID) func(*node, func(any, error)) {
	s := c.s
	id := s.id("query")
	return func(n *node, reply func(any, error)) {
		answered := func(b []byte, err error) {
			if err == nil {
				s.ledger.queried(key, b)
			}
			reply(nil, err)
		}
		n.submitWaiting(key, run, updateWait, func(w execution.Waiter) execution.Input {
			return execution.QueryWorkflow{ID: id, Query: &querypb.WorkflowQuery{QueryType: "view"}, Waiter: w, Deadline: s.now().Add(updateWait)}
		}, isNil, func(execution.Waiter) { n.submit(key, run, execution.ForgetQuery{ID: id}, func(any, error) {}) },
			func(answer any, err error) {
				a, ok := answer.(*execution.QueryAnswer)
				switch {
				case err != nil || !ok:
					reply(nil, err)
				case a.Result != nil:
					answered(a.Result.Answer.GetPayloads()[0].Data, nil)
				case a.Direct != nil && s.node == n:
					d := &directQuery{direct: a.Direct}
					p := n.pending(func(answer any, err error) { b, _ := answer.([]byte); answered(b, err) })
					d.done = func(b []byte, err error) { p.finish(b, err) }
					n.queues.offerQuery(taskqueue.QueueKey{Namespace: namespace, Type: record.QueueWorkflow, Name: a.Direct.Queue}, d)
					n.later(updateWait, func() { d.over = true; p.finish(nil, errTimeout) })
				default:
					reply(nil, errDown)
				}
			})
	}
}

// read reads history, forwards or backwards, page by page.
func (c *clients) read() {
	key, run := c.target()
	_, end := c.begin("read %s", short(key.Run(run)))
	q := engine.HistoryQuery{Run: key.Run(run), From: 1, Max: 1 + c.s.rng.IntN(20), Reverse: c.s.chance(0.3)}
	c.page(q, end)
}

func (c *clients) page(asked engine.HistoryQuery, end func()) {
	q := asked // of this call; the next one's must not reach the second delivery of this one
	c.s.rpc(func(n *node, reply func(any, error)) {
		n.history(q, func(page *engine.HistoryPage, err error) {
			if err == nil && q.Run.Run != "" {
				c.checkPage(q, page)
			}
			reply(page, err)
		})
	}, func(answer any, err error) {
		page, ok := answer.(*engine.HistoryPage)
		if err != nil || !ok || !page.More || q.Run.Run == "" {
			end()
			return
		}
		if asked.Reverse {
			asked.To = page.Last
		} else {
			asked.From = page.Last + 1
		}
		c.page(asked, end)
	})
}

func (c *clients) checkPage(q engine.HistoryQuery, page *engine.HistoryPage) {
	events, err := record.DecodeEvents(page.Events)
	if err != nil {
		c.s.fail("page of %s: %v", short(q.Run), err)
		return
	}
	want, step := max(q.From, 1), int64(1)
	if q.Reverse && len(events) > 0 {
		want, step = events[0].EventId, -1
		if q.To != 0 && want != q.To-1 && page.Count > 0 && want > q.To {
			c.s.fail("page of %s begins at %d, not before %d", short(q.Run), want, q.To)
		}
	}
	for _, ev := range events {
		if ev.EventId != want {
			c.s.fail("page of %s has event %d where %d should be, for %+v", short(q.Run), ev.EventId, want, q)
			return
		}
		want += step
	}
	c.s.ledger.sawHistory(q.Run, events)
}

// follow waits for a run's history to grow.
func (c *clients) follow() {
	if len(c.known) == 0 {
		return
	}
	run := c.known[c.s.rng.IntN(len(c.known))]
	r := c.s.audit.runs[run]
	if r == nil {
		return
	}
	next := int64(len(r.events)) + 1
	_, end := c.begin("follow %s from %d", short(run), next)
	c.s.rpc(func(n *node, reply func(any, error)) {
		n.await(func(ctx ctx) (any, error) { return nil, n.eng.WaitHistory(ctx, run, next) }, func(_ any, err error) {
			if err == nil && r.state.Open() && int64(len(r.events))+1 < next {
				c.s.fail("the wait for event %d of %s ended too early", next, short(run))
			}
			reply(nil, err)
		})
	}, func(any, error) { end() })
}

// goHome asks once more, now that nothing fails and everything must be answered, and ends what would never end by itself.
func (c *clients) goHome() {
	for i := range registers {
		key := workflow(fmt.Sprintf("r%d", i))
		_, end := c.begin("last words to %s", key.Workflow)
		c.s.after(2*time.Minute, func() { // what was slow or late has come by now
			c.probe(key)
			c.s.after(time.Minute, func() { c.lastly(key, 0, end) })
		})
	}
}

// probe makes calls that have to be answered: there is a worker, and no fault. The one that is left is an owner before the
// end of faults, which an idle shard learns of only now: then it probes again.
func (c *clients) probe(key ids.WorkflowKey) {
	r := c.s.audit.openRunOf(key)
	if r == nil {
		return
	}
	stolen, again := c.s.disk.stolen[c.s.shardOf(key)], false
	answered := func(what string) func(any, error) {
		_, end := c.begin("%s of %s", what, short(r.key))
		return func(_ any, err error) {
			if stolen && isKind(err, execution.Unavailable) {
				if !again {
					c.s.after(10*time.Second, func() { c.probe(key) })
				}
				again = true
				end()
				return
			}
			if err != nil && !isKind(err, execution.NotFound) {
				c.s.fail("%s of %s: %v, though nothing fails any more", what, short(r.key), err)
			}
			end()
		}
	}
	for range 3 {
		id := c.s.id("update")
		done, polled := answered("update "+id), answered("poll of update "+id)
		c.s.rpc(c.sendUpdate(key, r.key.Run, id, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED), func(answer any, err error) {
			done(answer, err)
			c.s.rpc(c.sendPoll(knownUpdate{r.key, id}, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED), polled)
		})
	}
	for _, u := range c.updates {
		if u.run == r.key {
			done := answered("poll of update " + u.id)
			c.s.rpc(c.sendPoll(u, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED), done)
		}
	}
	done := answered("query")
	c.s.rpc(c.sendQuery(key, r.key.Run), done)
}

// lastly terminates a register until it stays closed: calls that are still under way may come later.
func (c *clients) lastly(key ids.WorkflowKey, try int, end func()) {
	op := &registerOp{workflow: string(key.Workflow), call: registerCall{"terminate", ""}, begun: c.s.now(), client: -1 - try*registers - int(key.Workflow[1])}
	c.registerOps = append(c.registerOps, op)
	c.s.rpc(submit(key, "", execution.Terminate{Reason: "over"}, func(*execution.EmptyAnswer) {}), func(answer any, err error) {
		op.ended, op.answer = c.s.now(), c.s.registerAnswer(key, answer, err)
		if op.answer.unknown {
			c.s.after(time.Second, func() { c.lastly(key, try+1, end) })
			return
		}
		c.s.after(time.Minute, func() {
			if c.s.audit.openRunOf(key) != nil {
				c.lastly(key, try+1, end)
				return
			}
			end()
		})
	})
}

func (a *audit) openRunOf(key ids.WorkflowKey) *auditRun {
	for _, r := range a.order {
		if r.key.Of() == key && r.state != nil && r.state.Open() {
			return r
		}
	}
	return nil
}
