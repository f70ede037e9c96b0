package oracle

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// patience bounds what should come, such as a task.
	patience = 25 * time.Second
	// scene bounds a whole scenario. The longest waits are the servers' own 20 s.
	scene = 100 * time.Second
)

// nonce makes workflow IDs new.
var nonce = fmt.Sprintf("%x-", time.Now().UnixNano())

// world is one server as one scenario sees it, with the account of what it said. One goroutine uses it.
type world struct {
	workflowservice.WorkflowServiceClient
	*scrubber

	ctx      context.Context
	server   *server
	scenario string
	queue    string
	account  []string
	requests int
	resets   int // how many were tried
	runs     []run
}

// run is one run of a workflow. With an empty runID it is the current one.
type run struct{ id, runID string }

func (r run) execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: r.id, RunId: r.runID}
}

// current is the workflow without a run ID.
func (r run) current() run { return run{id: r.id} }

// both plays a scenario against both ordinary servers and compares.
func both(t *testing.T, play func(w *world)) {
	t.Helper()
	t.Parallel()
	playOn(t, ordinary, play)
}

// bothTight does so with servers that have small limits.
func bothTight(t *testing.T, play func(w *world)) {
	t.Helper()
	t.Parallel()
	p, err := tight()
	if err != nil {
		t.Fatal(err)
	}
	playOn(t, p, play)
}

// playOn plays a scenario and compares. On a busy machine a server sometimes does what it does not do otherwise; the reference
// then loses a task until it times out. So a difference that nobody expects has to show again, and what was played again
// is told in the end.
func playOn(t *testing.T, p *pair, play func(w *world)) {
	t.Helper()
	var ours []string
	for attempt := range 3 {
		theirs, now := once(t, p, play, attempt)
		if attempt > 0 {
			expected.again(t.Name(), slices.Equal(ours, now))
		}
		ours = now
		unexpected := compare(t, theirs, ours)
		if len(unexpected) == 0 {
			return
		}
		if attempt < 2 {
			t.Logf("played again, because it differs:\n%s", show(unexpected))
			continue
		}
		t.Errorf("differs:\n%s", show(unexpected))
		t.Logf("the account of the reference:\n%s", strings.Join(theirs, "\n"))
	}
}

// once returns the two accounts.
func once(t *testing.T, p *pair, play func(w *world), attempt int) (theirs, ours []string) {
	ctx, cancel := context.WithTimeout(t.Context(), scene)
	defer cancel()
	var worlds [2]*world
	var wg sync.WaitGroup
	for k, s := range p.servers {
		mark := fmt.Sprintf("%s%d", nonce, attempt)
		w := &world{
			WorkflowServiceClient: s.client, scrubber: newScrubber(mark, t.Name()),
			ctx: ctx, server: s, scenario: t.Name(), queue: t.Name() + "-" + mark,
		}
		worlds[k] = w
		wg.Go(func() {
			defer w.clean()
			defer w.rescue()
			play(w)
		})
	}
	wg.Wait()
	return worlds[reference].lines(), worlds[perdure].lines()
}

// rescue turns a panic of a scenario, which got something it is not made for, into a line of the account.
func (w *world) rescue() {
	if cause := recover(); cause != nil {
		w.note("! cannot go on: %v", cause)
	}
}

// lines is the account in the words both are compared in.
func (w *world) lines() []string {
	for i, l := range w.account {
		w.account[i] = expected.rewritten(w.server.kind, l)
	}
	return w.account
}

// compare returns the differences that are not expected. What should be true and is not on either side is one, too.
func compare(t *testing.T, theirs, ours []string) (unexpected []hunk) {
	t.Helper()
	for _, h := range diff(theirs, ours) {
		if expected.explains(t.Name(), h) {
			t.Logf("differs as expected:\n%s", h)
		} else {
			unexpected = append(unexpected, h)
		}
	}
	for _, l := range ours {
		if strings.HasPrefix(l, "!") && slices.Contains(theirs, l) {
			unexpected = append(unexpected, hunk{reference: []string{l}, perdure: []string{l}})
		}
	}
	if testing.Verbose() {
		t.Logf("the account of the reference:\n%s", strings.Join(theirs, "\n"))
	}
	return unexpected
}

// clean ends what the scenario left open, so that it does not keep the server busy.
func (w *world) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, r := range w.runs {
		_, _ = w.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{
			Namespace: namespace, WorkflowExecution: r.current().execution(), Reason: "test is over",
		})
	}
}

// note writes a line of the account.
func (w *world) note(format string, args ...any) {
	w.account = append(w.account, fmt.Sprintf(format, args...))
}

// stop ends the scenario on this server: it cannot go on.
func (w *world) stop(format string, args ...any) {
	w.note("! cannot go on: "+format, args...)
	runtime.Goexit()
}

// is says what has to be true on either server.
func is[V comparable](w *world, what string, got, want V) {
	if got != want {
		w.note("! %s is %v, want %v", what, w.str(fmt.Sprint(got)), w.str(fmt.Sprint(want)))
	}
}

// answered notes the answer to a call or its error, which may be expected.
func (w *world) answered(what string, resp proto.Message, err error) {
	if err != nil {
		w.note("%s: error %s", w.str(what), w.failure(err))
	} else {
		w.note("%s: %s", w.str(what), w.text(resp))
	}
}

// refused says that a call has to fail with a code and a text. A text that ends in … is a prefix.
func (w *world) refused(err error, code codes.Code, text string) {
	st := status.Convert(err)
	got := w.str(st.Message())
	prefix, open := strings.CutSuffix(text, "…")
	if st.Code() != code || got != text && !(open && strings.HasPrefix(got, prefix)) {
		w.note("! got %s %q, want %s %q", st.Code(), cut(got), code, text)
	}
}

// fine says that a call has to succeed.
func (w *world) fine(err error) {
	if err != nil {
		w.note("! got an error: %s", w.failure(err))
	}
}

// request makes a request ID that is new on this server and the same on both.
func (w *world) request() string {
	w.requests++
	return fmt.Sprintf("request-%d-%s", w.requests, w.nonce)
}

// id is a workflow ID of this scenario.
func (w *world) id(part string) string { return w.scenario + "/" + part + "-" + w.nonce }

func payloads(values ...string) *commonpb.Payloads {
	p := &commonpb.Payloads{}
	for _, v := range values {
		p.Payloads = append(p.Payloads, payload(v))
	}
	return p
}

func payload(v string) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(v)}
}

func header(key, value string) *commonpb.Header {
	return &commonpb.Header{Fields: map[string]*commonpb.Payload{key: payload(value)}}
}

func typed(name string) *commonpb.WorkflowType { return &commonpb.WorkflowType{Name: name} }

func queueNamed(name string) *taskqueuepb.TaskQueue { return &taskqueuepb.TaskQueue{Name: name} }

func seconds(n float64) *durationpb.Duration {
	return durationpb.New(time.Duration(n * float64(time.Second)))
}

func apply[R any](req R, with []func(R)) R {
	for _, f := range with {
		f(req)
	}
	return req
}

type (
	starting    = workflowservice.StartWorkflowExecutionRequest
	signalling  = workflowservice.SignalWorkflowExecutionRequest
	signalStart = workflowservice.SignalWithStartWorkflowExecutionRequest
)

// starts is the request to start a workflow of this scenario.
func (w *world) starts(part string, with ...func(*starting)) *starting {
	return apply(&starting{
		Namespace: namespace, WorkflowId: w.id(part), WorkflowType: typed("type"), TaskQueue: queueNamed(w.queue),
		WorkflowTaskTimeout: seconds(30), RequestId: w.request(), Identity: "client", Input: payloads(`"input"`),
	}, with)
}

// start starts a workflow, which has to succeed.
func (w *world) start(part string, with ...func(*starting)) run {
	req := w.starts(part, with...)
	resp, err := w.StartWorkflowExecution(w.ctx, req)
	if err != nil {
		w.stop("start %s: %s", part, w.failure(err))
	}
	return w.began(part, run{req.WorkflowId, resp.GetRunId()})
}

// tryStart starts a workflow and notes what comes.
func (w *world) tryStart(what string, req *starting) (*workflowservice.StartWorkflowExecutionResponse, error) {
	resp, err := w.StartWorkflowExecution(w.ctx, req)
	if err == nil {
		w.began(what, run{req.WorkflowId, resp.GetRunId()})
	}
	w.answered("start "+what, resp, err)
	return resp, err
}

// began remembers a run and gives it a name in the account.
func (w *world) began(name string, r run) run {
	w.name(r.runID, "<run "+name+">")
	w.runs = append(w.runs, r)
	return r
}

// idle starts a workflow and lets it wait: four events, nothing pending.
func (w *world) idle(part string, with ...func(*starting)) run {
	r := w.start(part, with...)
	w.finish(w.takeUntil(r))
	return r
}

// closed starts a workflow and completes it: five events.
func (w *world) closed(part string, with ...func(*starting)) run {
	r := w.start(part, with...)
	w.finish(w.takeUntil(r), commands(completeWorkflow()))
	return r
}

// signal sends a signal and notes the answer.
func (w *world) signal(r run, name string, with ...func(*signalling)) error {
	req := apply(&signalling{
		Namespace: namespace, WorkflowExecution: r.execution(), SignalName: name, Input: payloads(`"` + name + ` input"`),
		Identity: "client", RequestId: w.request(),
	}, with)
	resp, err := w.SignalWorkflowExecution(w.ctx, req)
	w.answered("signal "+cut(name), resp, err)
	return err
}

// quietSignal sends a signal that is no news.
func (w *world) quietSignal(r run, name string) error {
	_, err := w.SignalWorkflowExecution(w.ctx, &signalling{
		Namespace: namespace, WorkflowExecution: r.execution(), SignalName: name, Identity: "client", RequestId: w.request(),
	})
	return err
}

func requestID(id string) func(*signalling) { return func(r *signalling) { r.RequestId = id } }

// signalsWithStart is the request to signal a workflow of this scenario and start it if need be.
func (w *world) signalsWithStart(part, name string, with ...func(*signalStart)) *signalStart {
	return apply(&signalStart{
		Namespace: namespace, WorkflowId: w.id(part), WorkflowType: typed("type"), TaskQueue: queueNamed(w.queue),
		WorkflowTaskTimeout: seconds(30), RequestId: w.request(), Identity: "client", Input: payloads(`"input"`),
		SignalName: name, SignalInput: payloads(`"` + name + ` input"`),
	}, with)
}

func (w *world) signalWithStart(what string, req *signalStart) (run, error) {
	resp, err := w.SignalWithStartWorkflowExecution(w.ctx, req)
	r := run{req.GetWorkflowId(), resp.GetRunId()}
	if err == nil {
		w.began(what, r)
	}
	w.answered("signal with start "+what, resp, err)
	return r, err
}

func (w *world) cancel(r run, with ...func(*workflowservice.RequestCancelWorkflowExecutionRequest)) error {
	resp, err := w.RequestCancelWorkflowExecution(w.ctx, apply(&workflowservice.RequestCancelWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: r.execution(), Identity: "client", RequestId: w.request(), Reason: "a reason",
	}, with))
	w.answered("cancel", resp, err)
	return err
}

func (w *world) terminate(r run, with ...func(*workflowservice.TerminateWorkflowExecutionRequest)) error {
	resp, err := w.TerminateWorkflowExecution(w.ctx, apply(&workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: r.execution(), Identity: "client", Reason: "a reason",
	}, with))
	w.answered("terminate", resp, err)
	return err
}

type resetting = workflowservice.ResetWorkflowExecutionRequest

// reset resets a run to a workflow task and returns the new run.
func (w *world) reset(r run, finishID int64, with ...func(*resetting)) (run, error) {
	resp, err := w.ResetWorkflowExecution(w.ctx, apply(&resetting{
		Namespace: namespace, WorkflowExecution: r.execution(), Reason: "a reason", WorkflowTaskFinishEventId: finishID, RequestId: w.request(),
	}, with))
	fresh := run{r.id, resp.GetRunId()}
	w.resets++
	w.name(fresh.runID, fmt.Sprintf("<reset run %d>", w.resets))
	w.answered(fmt.Sprintf("reset to %d", finishID), resp, err)
	return fresh, err
}

// events reads the history of a run.
func (w *world) events(r run) []*historypb.HistoryEvent {
	var events []*historypb.HistoryEvent
	for token := []byte(nil); ; {
		resp, err := w.GetWorkflowExecutionHistory(w.ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: namespace, Execution: r.execution(), NextPageToken: token,
		})
		if err != nil {
			w.stop("history of %s: %s", w.str(r.id), w.failure(err))
		}
		events = append(events, resp.GetHistory().GetEvents()...)
		if token = resp.GetNextPageToken(); len(token) == 0 {
			return events
		}
	}
}

// history notes a run's history and returns it.
func (w *world) history(r run) []*historypb.HistoryEvent {
	events := w.events(r)
	w.note("history of %s %s:", w.str(r.id), w.str(r.runID))
	for _, e := range events {
		w.note("    %s", w.event(e))
	}
	return events
}

// shape notes a run's history and says which events have to be in it.
func (w *world) shape(r run, want string) []*historypb.HistoryEvent {
	events := w.history(r)
	is(w, "history", shapes(events), want)
	return events
}

// follow waits until a run's history has n events of a type, and returns the history so far.
func (w *world) follow(r run, t enumspb.EventType, n int) []*historypb.HistoryEvent {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	var events []*historypb.HistoryEvent
	found := 0
	for token := []byte(nil); ; {
		resp, err := w.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: namespace, Execution: r.execution(), NextPageToken: token, WaitNewEvent: true,
		})
		if err != nil {
			w.stop("wait for %s: %s, history %s", t, w.failure(err), w.brief(events))
		}
		for _, e := range resp.GetHistory().GetEvents() {
			events = append(events, e)
			if e.GetEventType() == t {
				found++
			}
		}
		if token = resp.GetNextPageToken(); found >= n {
			return events
		} else if len(token) == 0 {
			w.stop("the run closed without %s: %s", t, w.brief(events))
		}
	}
}

// closes waits until a run is closed.
func (w *world) closes(r run) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	resp, err := w.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: namespace, Execution: r.execution(), WaitNewEvent: true,
		HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
	})
	if err != nil || len(resp.GetHistory().GetEvents()) == 0 {
		w.stop("wait for the end of %s: %v", w.str(r.id), err)
	}
}

func (w *world) describe(r run) *workflowservice.DescribeWorkflowExecutionResponse {
	resp, err := w.DescribeWorkflowExecution(w.ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: namespace, Execution: r.execution()})
	if err != nil {
		w.stop("describe %s: %s", w.str(r.id), w.failure(err))
	}
	return resp
}

// successor is the run that a closed run was continued by.
func (w *world) successor(r run, name string) run {
	events := w.events(r)
	next := run{r.id, newRunID(events[len(events)-1])}
	if next.runID == "" {
		w.stop("no successor in %s", w.brief(events))
	}
	w.name(next.runID, "<run "+name+">")
	return next
}

func newRunID(last *historypb.HistoryEvent) string {
	for _, a := range []interface{ GetNewExecutionRunId() string }{
		last.GetWorkflowExecutionCompletedEventAttributes(), last.GetWorkflowExecutionFailedEventAttributes(),
		last.GetWorkflowExecutionTimedOutEventAttributes(), last.GetWorkflowExecutionContinuedAsNewEventAttributes(),
	} {
		if id := a.GetNewExecutionRunId(); id != "" {
			return id
		}
	}
	return ""
}

// pending is a call under way.
type pending struct {
	w    *world
	what string
	done chan struct{}
	resp proto.Message
	err  error
}

// async makes a call in the background.
func async[R proto.Message](w *world, what string, call func(ctx context.Context) (R, error)) *pending {
	p := &pending{w: w, what: what, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.resp, p.err = call(w.ctx)
	}()
	return p
}

// get waits for the answer and notes it.
func (p *pending) get() error {
	p.wait()
	p.w.answered(p.what, p.resp, p.err)
	return p.err
}

func (p *pending) wait() {
	select {
	case <-p.done:
	case <-time.After(patience + 10*time.Second):
		p.w.stop("%s is not answered", p.what)
	}
}

// waits says that there is no answer yet.
func (p *pending) waits() {
	p.w.grace()
	select {
	case <-p.done:
		p.w.answered("early: "+p.what, p.resp, p.err)
	default:
	}
}

// grace lets what was sent arrive. It is only for what the API has no sign of, such as a query that waits.
func (w *world) grace() {
	select {
	case <-w.ctx.Done():
	case <-time.After(400 * time.Millisecond):
	}
}

// until asks until ok says yes. It is for what the API cannot be asked to wait for.
func (w *world) until(what string, ok func() bool) {
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			w.stop("never: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pass lets a time pass that a server has been told to wait for and of whose end it shows nothing.
func (w *world) pass(s float64) {
	select {
	case <-w.ctx.Done():
	case <-time.After(time.Duration(s * float64(time.Second))):
	}
}

// shapeOnly notes which events a run has, where the rest depends on time.
func (w *world) shapeOnly(r run) {
	w.note("history of %s %s: %s", w.str(r.id), w.str(r.runID), w.brief(w.events(r)))
}

func codeOf(err error) codes.Code { return status.Code(err) }

// at is an event that has to be there.
func (w *world) at(events []*historypb.HistoryEvent, i int) *historypb.HistoryEvent {
	if i >= len(events) {
		w.stop("history has only %s", w.brief(events))
	}
	return events[i]
}

// last is the last event of a type.
func last(events []*historypb.HistoryEvent, t enumspb.EventType) *historypb.HistoryEvent {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].GetEventType() == t {
			return events[i]
		}
	}
	return nil
}

// contextFor is a context with a deadline.
func contextFor(w *world, s float64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.ctx, time.Duration(s*float64(time.Second)))
}
