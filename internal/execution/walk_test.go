package execution_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/historycheck"
	"github.com/perdure/perdure/internal/ids"
)

// TestRandomWalk lets clients, workers, time and crashes do as they please to a few workflows. Every step is checked
// (world.check). Then all goes well again: whatever is pending has to finish, every chain has to be legal, and when
// retention is over nothing may be left in the store.
func TestRandomWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The choices come from a seed: drawn one by one they would favour the small so much that walks get nowhere.
		seed := rapid.Uint64().Draw(t, "seed")
		steps := rapid.SampledFrom([]int{10, 20, 35, 50, 75, 100, 150, 200, 300, 400}).Draw(t, "steps")
		w := newWalker(t, seed)
		for range steps {
			w.act()
		}
		w.drain()
	})
}

type walker struct {
	*world
	rng    *rand.Rand
	tasks  []*execution.WorkflowTaskStarted // held by workers
	acts   []execution.ActivityToken
	names  int
	parked map[execution.Waiter]bool // wait for a reply
	waiter execution.Waiter
	chains map[ids.RunID][]ids.RunKey // first run to all of its chain
}

func newWalker(t fataler, seed uint64) *walker {
	w := &walker{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 7)), parked: map[execution.Waiter]bool{}, chains: map[ids.RunID][]ids.RunKey{}}
	w.ns.Retention = time.Hour
	l := w.limits
	l.BufferedEvents, l.Signals, l.UpdatesInFlight, l.UpdatesTotal, l.BufferedQueries = 4, 25, 3, 12, 2
	l.HistoryEvents, l.SpeculativeEvents, l.HeartbeatTotal, l.BlobBytes = 150, 2, 25*time.Second, 1000
	l.PendingActivities, l.PendingChildren, l.PendingSignals, l.PendingCancels = 4, 3, 2, 2
	w.seen = w.saw
	return w
}

func (w *walker) pick(n int) int       { return w.rng.IntN(n) }
func (w *walker) chance(n int) bool    { return w.rng.IntN(n) == 0 }
func (w *walker) name(p string) string { w.names++; return fmt.Sprintf("%s%d", p, w.names) }

func any1[T any](w *walker, s []T) T { return s[w.pick(len(s))] }

// saw keeps the books about who waits for what.
func (w *walker) saw(key ids.RunKey, in execution.Input, tr *execution.Transition) {
	for n := tr; n != nil; n = n.Successor {
		for _, r := range n.Replies {
			if !w.parked[r.Waiter] {
				w.t.Fatalf("%T answers waiter %d, who does not wait", in, r.Waiter)
			}
			delete(w.parked, r.Waiter)
		}
	}
	for n := tr; n != nil; n = n.Successor {
		if n.Next != nil && len(n.Events) > 0 && n.Events[0].EventId == 1 {
			first := n.Next.Start.FirstRunID
			w.chains[first] = append(w.chains[first], n.Next.Key)
		}
	}
}

func (w *walker) live() []*run {
	var all []*run
	for _, k := range w.order {
		if r := w.runs[k]; !r.removed {
			all = append(all, r)
		}
	}
	return all
}

// target is a run that exists, or a workflow ID.
func (w *walker) target() (ids.WorkflowKey, ids.RunID) {
	all := w.live()
	if len(all) == 0 || w.chance(10) {
		return workflowKey(any1(w, []string{"a", "b", "c", "nowhere"})), ""
	}
	r := any1(w, all)
	if w.chance(3) {
		return r.key.Of(), ""
	}
	return r.key.Of(), r.key.Run
}

func (w *walker) act() {
	key, id := w.target()
	switch n := w.pick(100); {
	case n < 9:
		w.start()
	case n < 17:
		w.step(key, id, execution.SignalWorkflow{Name: "go", RequestID: any1(w, []string{"", "r1", w.name("r")}), Identity: "client", Input: w.blob()})
	case n < 19:
		w.step(key, id, execution.RequestCancel{Reason: "stop", Identity: "client"})
	case n < 20:
		w.step(key, id, execution.Terminate{Reason: "enough", Identity: "client"})
	case n < 34:
		w.poll()
	case n < 49:
		w.answerTask()
	case n < 56:
		w.pollActivity()
	case n < 63:
		w.reportActivity()
	case n < 70:
		w.update(key, id)
	case n < 72:
		w.wait(w.step(key, id, execution.PollUpdate{UpdateID: any1(w, updateNames), Wait: w.stage(), Waiter: w.waiter + 1}))
	case n < 75:
		q := execution.QueryWorkflow{ID: w.name("q"), Query: &querypb.WorkflowQuery{QueryType: "status"}, Waiter: w.waiter + 1}
		if w.chance(2) {
			q.Deadline = w.now.Add(time.Minute)
		}
		w.wait(w.step(key, id, q))
	case n < 76:
		if r := w.get(key, id); r != nil {
			for _, q := range r.st.Volatile.Queries.All {
				delete(w.parked, q.Waiter)
				w.step(key, r.key.Run, execution.ForgetQuery{ID: q.ID})
				break
			}
		}
	case n < 87:
		if box := w.outbox(); len(box) > 0 {
			w.deliver(any1(w, box), w.chance(6))
		}
	case n < 94:
		w.pass()
	case n < 95:
		w.crash()
		clear(w.parked)
	case n < 96:
		if all := w.live(); len(all) > 0 {
			w.evict(any1(w, all))
		}
	case n < 97:
		w.alive = !w.alive
	case n < 98:
		w.step(key, id, execution.ResetSticky{})
	case n < 99 && w.chance(2):
		w.reset(key, id)
	case n < 99:
		if r := w.get(key, id); r != nil {
			w.step(key, id, execution.StickyGone{Ref: execution.WorkflowTaskRef{Run: r.key, Seq: r.st.Info.WFT.Seq}})
		}
	default:
		w.step(key, id, execution.Describe{})
	}
}

// reset cuts a run behind one of its workflow tasks.
func (w *walker) reset(key ids.WorkflowKey, id ids.RunID) {
	r := w.get(key, id)
	if r == nil || w.made > 25 {
		return
	}
	var cuts []ids.EventID
	for _, ev := range r.events {
		// The grammar of histories has no reset of a repeated attempt.
		if ev.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED && r.events[ev.EventId-2].GetWorkflowTaskScheduledEventAttributes().GetAttempt() < 2 {
			cuts = append(cuts, ev.EventId+1)
		}
	}
	if len(cuts) == 0 {
		return
	}
	in := execution.ResetWorkflow{Events: r.events, Request: &workflowservice.ResetWorkflowExecutionRequest{Reason: "again", RequestId: w.name("reset"),
		WorkflowTaskFinishEventId: any1(w, cuts), ResetReapplyExcludeTypes: any1(w, [][]enumspb.ResetReapplyExcludeType{nil, {enumspb.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE}, {enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL}})}}
	if cur := w.get(key, ""); cur != nil && cur != r {
		in.Current = cur.st
	}
	w.step(key, r.key.Run, in)
}

// pass lets time go on a little, or to the next deadline; now and then the clock goes backwards.
func (w *walker) pass() {
	_, at := w.nextDeadline()
	switch {
	case at != 0 && w.chance(2):
		if at-w.now < clock.Nanos(10*time.Minute) {
			w.advance(at)
		}
	case w.chance(12):
		w.now -= clock.Nanos(w.pick(2000)) * clock.Nanos(time.Millisecond)
	default:
		w.advance(w.now.Add(time.Duration(w.pick(3000)) * time.Millisecond))
	}
	if w.chance(6) { // a ring that comes for nothing
		if all := w.live(); len(all) > 0 {
			r := any1(w, all)
			w.step(r.key.Of(), r.key.Run, execution.TimerDue{})
		}
	}
}

func (w *walker) wait(tr *execution.Transition) {
	if tr.Err == nil && tr.Answer == nil {
		w.waiter++
		w.parked[w.waiter] = true
	}
}

var updateNames = []string{"u1", "u2", "u3", "u4", "u5"}

func (w *walker) stage() enumspb.UpdateWorkflowExecutionLifecycleStage {
	return any1(w, []enumspb.UpdateWorkflowExecutionLifecycleStage{enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_UNSPECIFIED,
		enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED})
}

func (w *walker) blob() *commonpb.Payloads {
	if w.chance(40) {
		return payloads("bytes:1001")
	}
	return payloads(any1(w, []string{"", "x", "some input"}))
}

func (w *walker) updateRequest() execution.UpdateWorkflow {
	return execution.UpdateWorkflow{Request: updateRequest(any1(w, updateNames), "x"), Wait: any1(w, []enumspb.UpdateWorkflowExecutionLifecycleStage{
		enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED, enumspb.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED}), Waiter: w.waiter + 1}
}

func (w *walker) update(key ids.WorkflowKey, id ids.RunID) {
	w.wait(w.step(key, id, w.updateRequest()))
}

func (w *walker) seconds(n int) *durationpb.Duration {
	return durationpb.New(time.Duration(w.pick(n*4)) * 250 * time.Millisecond)
}

func (w *walker) policy() *commonpb.RetryPolicy {
	switch w.pick(4) {
	case 0:
		return &commonpb.RetryPolicy{MaximumAttempts: int32(1 + w.pick(3))}
	case 1:
		return &commonpb.RetryPolicy{InitialInterval: durationpb.New(2 * time.Second), NonRetryableErrorTypes: []string{"Bad", "TemporalTimeout:StartToClose"}}
	}
	return nil
}

func (w *walker) failure() *failurepb.Failure {
	a := &failurepb.ApplicationFailureInfo{Type: any1(w, []string{"Busy", "Bad", ""}), NonRetryable: w.chance(5)}
	if w.chance(4) {
		a.NextRetryDelay = w.seconds(5)
	}
	return &failurepb.Failure{Message: "went wrong", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: a}}
}

func (w *walker) start() {
	if w.made > 20 {
		return
	}
	req := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: any1(w, []string{"a", "b", "c"}), WorkflowType: &commonpb.WorkflowType{Name: "Order"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"},
		Identity: "client", RequestId: w.name("start"), Input: payloads("x"), RequestEagerExecution: w.chance(4),
		WorkflowIdReusePolicy: any1(w, []enumspb.WorkflowIdReusePolicy{enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE}),
		WorkflowIdConflictPolicy: any1(w, []enumspb.WorkflowIdConflictPolicy{enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING}),
	}
	if w.chance(3) {
		req.RetryPolicy = w.policy()
	}
	switch w.pick(5) {
	case 0:
		req.CronSchedule = any1(w, []string{"@every 20s", "* * * * *"})
	case 1:
		req.WorkflowStartDelay = w.seconds(10)
	}
	if w.chance(4) {
		req.WorkflowRunTimeout = durationpb.New(time.Duration(15+w.pick(60)) * time.Second)
	}
	if w.chance(5) {
		req.WorkflowExecutionTimeout = durationpb.New(time.Duration(15+w.pick(90)) * time.Second)
	}
	if w.chance(3) {
		req.Memo = &commonpb.Memo{Fields: payloadMap("owner:me")}
		req.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: payloadMap("City:Rome,Size:big")}
	}
	if w.chance(4) {
		req.Priority = &commonpb.Priority{PriorityKey: int32(1 + w.pick(5))}
	}
	in := execution.StartWorkflow{Request: req, Eager: true}
	switch w.pick(5) {
	case 0:
		in.Signal = &execution.SignalWorkflow{Name: "go", RequestID: req.RequestId, Identity: "client"}
	case 1:
		u := w.updateRequest()
		in.Update, req.RequestEagerExecution, req.CronSchedule, req.WorkflowStartDelay = &u, false, "", nil
	case 2:
		req.OnConflictOptions = onConflict()
	}
	tr := w.step(workflowKey(req.WorkflowId), "", in)
	if a, ok := tr.Answer.(*execution.StartAnswer); ok {
		if a.Eager != nil {
			w.tasks = append(w.tasks, a.Eager)
		}
		if in.Update != nil && a.Update == nil && a.UpdateErr == nil {
			w.waiter++
			w.parked[w.waiter] = true
		}
	}
}

// take removes a random offer of a kind, or mostly so: a queue may give one out twice after a crash.
func (w *walker) take(ok func(execution.Offer) bool) (execution.Offer, bool) {
	var at []int
	for i, o := range w.offers {
		if ok(o) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return execution.Offer{}, false
	}
	i := any1(w, at)
	return w.offers[i], true
}

func (w *walker) poll() {
	o, ok := w.take(func(o execution.Offer) bool { return o.Workflow != nil })
	if !ok {
		return
	}
	in := execution.StartWorkflowTask{Ref: *o.Workflow, RequestID: any1(w, []string{"poll", w.name("poll")}), Identity: "worker", Sticky: o.Task.Sticky && !w.chance(4)}
	tr := w.step(o.Workflow.Run.Of(), o.Workflow.Run.Run, in)
	if a, ok := tr.Answer.(*execution.WorkflowTaskStarted); ok {
		w.tasks = append(w.tasks, a)
		w.checkShipped(a)
	} else {
		w.offers = slices.DeleteFunc(w.offers, func(x execution.Offer) bool { return x.Workflow != nil && *x.Workflow == *o.Workflow })
	}
}

// checkShipped: what a worker is told fits the history it reads.
func (w *walker) checkShipped(a *execution.WorkflowTaskStarted) {
	r := w.runs[a.Token.Run]
	last := ids.EventID(len(r.events) + len(a.Virtual))
	if a.Token.StartedID != last {
		w.t.Fatalf("worker is told of started event %d, its history ends with %d", a.Token.StartedID, last)
	}
	for _, m := range a.Messages {
		if m.GetEventId() != a.Token.StartedID-1 {
			w.t.Fatalf("message %s comes after event %d, the task started with %d", m.Id, m.GetEventId(), a.Token.StartedID)
		}
	}
}

func (w *walker) pollActivity() {
	o, ok := w.take(func(o execution.Offer) bool { return o.Activity != nil })
	if !ok {
		return
	}
	tr := w.step(o.Activity.Run.Of(), o.Activity.Run.Run, execution.StartActivity{Ref: *o.Activity, RequestID: w.name("poll"), Identity: "worker"})
	if a, ok := tr.Answer.(*execution.ActivityStarted); ok {
		if a.Event.GetEventId() != o.Activity.ScheduledID {
			w.t.Fatalf("activity %d comes with event %v", o.Activity.ScheduledID, a.Event)
		}
		w.acts = append(w.acts, a.Token)
	}
	w.offers = slices.DeleteFunc(w.offers, func(x execution.Offer) bool { return x.Activity != nil && *x.Activity == *o.Activity })
}

func (w *walker) reportActivity() {
	if len(w.acts) == 0 {
		return
	}
	i := w.pick(len(w.acts))
	k := w.acts[i]
	key, id := k.Run.Of(), k.Run.Run
	if w.chance(6) {
		k = execution.ActivityToken{Run: k.Run, ActivityID: k.ActivityID}
	}
	switch w.pick(6) {
	case 0, 1:
		w.step(key, id, execution.HeartbeatActivity{Token: k, Details: w.blob(), Identity: "worker"})
		return
	case 2:
		w.step(key, id, execution.FailActivity{Token: k, Failure: w.failure(), Identity: "worker"})
	case 3:
		w.step(key, id, execution.CancelActivity{Token: k, Identity: "worker"})
	default:
		w.step(key, id, execution.CompleteActivity{Token: k, Result: w.blob(), Identity: "worker"})
	}
	if !w.chance(5) {
		w.acts = slices.Delete(w.acts, i, i+1)
	}
}

func (w *walker) answerTask() {
	if len(w.tasks) == 0 {
		return
	}
	i := w.pick(len(w.tasks))
	a := w.tasks[i]
	key, id := a.Token.Run.Of(), a.Token.Run.Run
	if !w.chance(8) {
		w.tasks = slices.Delete(w.tasks, i, i+1)
	}
	if w.chance(7) {
		cause := enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
		if w.chance(15) {
			cause = enumspb.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE
		}
		w.step(key, id, execution.FailWorkflowTask{Token: a.Token, Cause: cause, Failure: &failurepb.Failure{Message: "oops"}, Identity: "worker"})
		return
	}
	w.completed(w.step(key, id, execution.CompleteWorkflowTask{Token: a.Token, Request: w.completion(a)}))
}

func (w *walker) completed(tr *execution.Transition) {
	a, ok := tr.Answer.(*execution.WorkflowTaskCompleted)
	if !ok {
		return
	}
	if a.Next != nil {
		w.tasks = append(w.tasks, a.Next)
		w.checkShipped(a.Next)
	}
	for _, x := range a.Activities {
		w.acts = append(w.acts, x.Token)
	}
}

// drain lets everything end well: no crash, no lost message, workers that finish every task they get.
func (w *walker) drain() {
	w.alive = true
	w.now = max(w.now, epoch)
	for round := 0; ; round++ {
		if round > 400 {
			w.t.Fatalf("nothing ends: %s", w.openRuns())
		}
		for _, l := range w.outbox() {
			w.deliver(l, false)
		}
		open := 0
		for _, r := range w.live() {
			if r.st.Open() {
				open++
				w.finish(r)
			}
		}
		if open == 0 && len(w.outbox()) == 0 {
			break
		}
		w.advance(w.now.Add(5 * time.Second))
	}
	if len(w.parked) > 0 {
		w.t.Fatalf("all runs are closed, yet waiters %v were never answered", slices.Sorted(maps.Keys(w.parked)))
	}
	w.checkChains()
	w.checkOnce()
	w.advance(w.now.Add(2 * time.Hour))
	for k := range w.store {
		w.t.Fatalf("retention is over, but the store still has %x", k)
	}
}

func (w *walker) openRuns() string {
	s := ""
	for _, r := range w.live() {
		if r.st.Open() {
			s += "\n" + string(r.key.Workflow) + "/" + string(r.key.Run) + " " + stateText(r.st) + "\n" + historyText(r.events)
		}
	}
	return tidy(s)
}

// finish brings one run nearer to its end as a good worker would.
func (w *walker) finish(r *run) {
	st := r.st
	t := &st.Info.WFT
	switch {
	case t.Started():
		return // somebody may have it; time will tell
	case t.Pending():
		tr := w.step(r.key.Of(), r.key.Run, execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: r.key, Seq: t.Seq}, RequestID: w.name("drain"), Identity: "worker"})
		a, ok := tr.Answer.(*execution.WorkflowTaskStarted)
		if !ok {
			return // a speculative task that nobody needs
		}
		req := &workflowservice.RespondWorkflowTaskCompletedRequest{Identity: "worker", Commands: []*commandpb.Command{
			makeCommand(nil, []string{"cancelled"}, options{}, func(string) bool { return false })}}
		for _, m := range a.Messages {
			packed, _ := anypb.New(&updatepb.Rejection{RejectedRequestMessageId: m.Id, Failure: &failurepb.Failure{Message: "too late"}})
			req.Messages = append(req.Messages, &protocolpb.Message{Id: m.Id + "/no", ProtocolInstanceId: m.ProtocolInstanceId, Body: packed})
		}
		w.step(r.key.Of(), r.key.Run, execution.CompleteWorkflowTask{Token: a.Token, Request: req})
	case st.Info.FirstBackoffEnd == 0 && !st.Info.AwaitingParent:
		w.step(r.key.Of(), r.key.Run, execution.RequestCancel{Reason: "drain", Identity: "client"})
		if r.st.Info.WFT.Pending() {
			return
		}
		// Already cancelled and idle: only news wakes it.
		if tr := w.step(r.key.Of(), r.key.Run, execution.SignalWorkflow{Name: "drain", Identity: "client"}); tr.Err != nil {
			w.step(r.key.Of(), r.key.Run, execution.Terminate{Reason: "drain", Identity: "client"})
		}
	}
}

// checkChains: the runs of each chain link up.
func (w *walker) checkChains() {
	for _, first := range slices.Sorted(maps.Keys(w.chains)) {
		if slices.ContainsFunc(w.chains[first], func(k ids.RunKey) bool { return w.runs[k].st.Info.LastResetTime != 0 }) {
			continue // a reset makes it a tree
		}
		var histories [][]*historypb.HistoryEvent
		seen := map[ids.RunKey]bool{}
		for _, k := range w.chains[first] {
			if !seen[k] {
				seen[k] = true
				histories = append(histories, w.runs[k].events)
			}
		}
		if err := (historycheck.Options{AtRest: true, UntypedSearchAttributes: true}).CheckChain(histories); err != nil {
			text := ""
			for _, h := range histories {
				text += historyText(h) + "\n"
			}
			w.t.Fatalf("chain of %s: %v\n%s", first, err, tidy(text))
		}
	}
}
