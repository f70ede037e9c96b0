package client_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/node"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

type Greeting struct {
	names []string
	exit  bool
}

// Init comes before the messages that come with the start; Run would not.
func (g *Greeting) Init(_ workflow.ReadContext, first string) { g.names = []string{first} }

func (g *Greeting) Run(ctx workflow.Context, _ string) ([]string, error) {
	err := workflow.Await(ctx, func() bool { return g.exit })
	return g.names, err
}

func (g *Greeting) Submit(_ workflow.Context, name string) { g.names = append(g.names, name) }
func (g *Greeting) Two(_ workflow.Context, a string, b int) {
	g.names = append(g.names, strings.Repeat(a, b))
}
func (g *Greeting) Exit(workflow.Context)                       { g.exit = true }
func (g *Greeting) Any(workflow.Context, string, workflow.Args) {}
func (g *Greeting) Hidden(workflow.Context, string)             {}
func (g *Greeting) Latest(workflow.ReadContext) (string, error) { return g.names[len(g.names)-1], nil }
func (g *Greeting) At(_ workflow.ReadContext, i int) (string, error) {
	if i >= len(g.names) {
		return "", failure.NewApplicationError("there are not so many", "TooMany")
	}
	return g.names[i], nil
}

// Rename waits until somebody exits when it is to, so that an update can be accepted and not completed.
func (g *Greeting) Rename(ctx workflow.Context, name string) (string, error) {
	old := g.names[len(g.names)-1]
	if name == "wait" {
		if err := workflow.Await(ctx, func() bool { return g.exit }); err != nil {
			return "", err
		}
	}
	if name == "fail" {
		return "", failure.NewApplicationError("asked to", "Asked")
	}
	g.names[len(g.names)-1] = name
	return old, nil
}

func (g *Greeting) ValidateRename(_ workflow.ReadContext, name string) error {
	if name == "" {
		return errors.New("no name")
	}
	return nil
}

func (g *Greeting) Clear(workflow.Context) error { g.names = []string{""}; return nil }

var _ = workflow.Define[*Greeting](workflow.Rename((*Greeting).Two, "Second Name"), workflow.Exclude((*Greeting).Hidden))

// Countdown continues as new until it is at zero, and fails then if it began at an odd number.
type Countdown struct{ n int }

func (c *Countdown) Run(ctx workflow.Context, n int, fail bool) (int, error) {
	c.n = n
	if n > 0 {
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return 0, err
		}
		return 0, workflow.ContinueAsNew2(drained, (*Countdown).Run, n-1, fail)
	}
	if fail {
		return 0, failure.NewApplicationError("at zero", "Zero")
	}
	return 42, nil
}

type Waiting struct{}

func (*Waiting) Run(ctx workflow.Context) (string, error) {
	return workflow.Activity0(ctx, Wait, workflow.ActivityOptions{ID: "a", StartToClose: time.Minute}).Get()
}

func Wait(context.Context) (string, error) { return "", activity.ErrResultPending }

// server is a client of a whole server in this process, with a count of its requests.
func server(t *testing.T, change func(*client.Options)) (*client.Client, *atomic.Int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n, err := node.New(ctx, node.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	requests := new(atomic.Int64)
	o := client.Options{Conn: n.Conn(), Logger: slog.New(slog.DiscardHandler), Interceptors: []grpc.UnaryClientInterceptor{
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			requests.Add(1)
			return next(ctx, method, req, reply, cc, opts...)
		},
	}}
	if change != nil {
		change(&o)
	}
	return must[*client.Client](t)(client.Dial(ctx, o)), requests
}

func work(t *testing.T, c *client.Client) (queue string) {
	t.Helper()
	queue = uuid.NewString()
	w := worker.New(c, queue, worker.Options{})
	worker.Workflow[*Greeting](w)
	worker.Workflow[*Countdown](w)
	worker.Workflow[*Waiting](w)
	worker.Workflow[*Relay](w)
	w.Activity(Wait)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return queue
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is finds an error of a type.
func is[E error](t *testing.T, err error) E {
	t.Helper()
	e, found := errors.AsType[E](err)
	if !found {
		t.Fatalf("%v (%T) is no %T", err, err, e)
	}
	return e
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMessagesAreSentByTheirMethods(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{ID: "g", TaskQueue: q}))
	ok(t, client.Signal(ctx, h, (*Greeting).Submit, "b"))
	ok(t, client.Signal2(ctx, h, (*Greeting).Two, "c", 3))
	equal(t, must[string](t)(client.Update(ctx, h, (*Greeting).Rename, "d", client.UpdateID("u"))), "ccc")
	equal(t, must[string](t)(client.Query(ctx, h, (*Greeting).Latest)), "d")
	equal(t, must[string](t)(client.Query1(ctx, h, (*Greeting).At, 1)), "b")
	equal(t, must[string](t)(client.Update(ctx, h, (*Greeting).Rename, "not again", client.UpdateID("u"))), "ccc")
	equal(t, must[string](t)(client.UpdateHandleOf[string](h, "u").Result(ctx)), "ccc")

	other := client.HandleOf[*Greeting, []string](c, "g", "")
	ok(t, other.SignalByName(ctx, "Second Name", "e", 2))
	var s string
	ok(t, must[converter.Value](t)(c.Handle("g", "").UpdateByName(ctx, "Rename", "f")).Get(&s))
	equal(t, s, "ee")
	ok(t, must[converter.Value](t)(c.Handle("g", "").QueryByName(ctx, "Latest")).Get(&s))
	equal(t, s, "f")
	ok(t, client.UpdateVoid0(ctx, other, (*Greeting).Clear))
	ok(t, client.Signal0(ctx, other, (*Greeting).Exit))
	equal(t, strings.Join(must[[]string](t)(h.Result(ctx)), ","), "")
	n := 0
	for _, err := range h.History(ctx) {
		ok(t, err)
		n++
	}
	if n < 5 {
		t.Errorf("the history has %d events", n)
	}
	equal(t, must[*workflowservice.DescribeWorkflowExecutionResponse](t)(h.Describe(ctx)).WorkflowExecutionInfo.Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
}

func TestM206_MetadataShowsTheNameOnTheWire(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{TaskQueue: q}))
	var m sdkpb.WorkflowMetadata
	ok(t, must[converter.Value](t)(h.QueryByName(ctx, "__temporal_workflow_metadata")).Get(&m))
	var names []string
	for _, s := range m.Definition.SignalDefinitions {
		names = append(names, s.Name)
	}
	equal(t, m.Definition.Type, "Greeting")
	equal(t, strings.Join(names, ","), ",Exit,Second Name,Submit") // the dynamic one first
	ok(t, client.Signal2(ctx, h, (*Greeting).Two, "x", 2))
	equal(t, must[string](t)(client.Update(ctx, h, (*Greeting).Rename, "y")), "xx")
}

func TestM217_AMethodOfTheWrongKindIsRefusedBeforeAnyRequest(t *testing.T) {
	c, requests := server(t, nil)
	ctx := t.Context()
	h := client.HandleOf[*Greeting, []string](c, "g", "")
	before := requests.Load()
	refused := func(err error, want string) {
		t.Helper()
		if e := is[*client.UsageError](t, err); !strings.Contains(e.Text, want) {
			t.Errorf("%v does not say %q", e, want)
		}
	}
	// The type of a query or validator fits no signal or update; an Init, a Run and an update fit each other's.
	refused(client.UpdateVoid(ctx, client.HandleOf[*Stepped, converter.None](c, "s", ""), (*Stepped).Run, "x"), "is a main method; it cannot be used as an update")
	_, err := client.StartVoid(ctx, c, (*Stepped).Approve, "x", client.StartOptions{TaskQueue: "q"})
	refused(err, "is an update; it cannot be used as a main method")
	refused(client.Signal2(ctx, h, (*Greeting).Any, "name", workflow.Args{}), "is the dynamic signal; send by name")
	refused(client.Signal(ctx, h, (*Greeting).Hidden, "x"), "is excluded")
	refused(client.Signal(ctx, h, func(*Greeting, workflow.Context, string) {}, "x"), "is not a method of *client_test.Greeting")
	_, err = client.Start(ctx, c, (*Greeting).Run, "x", client.StartOptions{})
	refused(err, "TaskQueue")
	_, err = client.StartUpdate(ctx, h, (*Greeting).Rename, "x", client.UpdateOptions{})
	refused(err, "Accepted or Completed")
	is[*client.DefinitionError](t, client.Signal0(ctx, client.HandleOf[*Faulty, string](c, "f", ""), (*Faulty).Poke))
	equal(t, requests.Load(), before)
}

type Stepped struct{}

func (*Stepped) Run(workflow.Context, string) error     { return nil }
func (*Stepped) Approve(workflow.Context, string) error { return nil }

type Faulty struct{}

func (*Faulty) Poke(workflow.Context) {}

func TestM204_AStartOperationNeedsAConflictPolicyAndIsUsedOnce(t *testing.T) {
	c, requests := server(t, nil)
	q, ctx := uuid.NewString(), t.Context()
	before := requests.Load()
	bare := client.WithStart((*Greeting).Run, "a", client.StartOptions{TaskQueue: q})
	_, err := client.UpdateWithStart(ctx, c, bare, (*Greeting).Rename, "b")
	if e := is[*client.UsageError](t, err); !strings.Contains(e.Text, "IDConflict") {
		t.Error(e)
	}
	_, again := bare.Handle(ctx)
	equal(t, again, err)
	equal(t, requests.Load(), before)

	q = work(t, c)
	op := client.WithStart((*Greeting).Run, "a", client.StartOptions{TaskQueue: q, IDConflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL})
	equal(t, must[string](t)(client.UpdateWithStart(ctx, c, op, (*Greeting).Rename, "b")), "a")
	h := must[*client.Handle[*Greeting, []string]](t)(op.Handle(ctx))
	if h.FirstRunID() == "" || h.RunID() != "" {
		t.Errorf("first run %q, run %q", h.FirstRunID(), h.RunID())
	}
	_, err = client.SignalWithStart(ctx, c, op, (*Greeting).Submit, "c")
	is[*client.UsageError](t, err)
	equal(t, must[string](t)(client.Query(ctx, h, (*Greeting).Latest)), "b")
}

func TestM205_AlreadyStartedIsRaisedAsSuch(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	o := client.StartOptions{ID: "g", TaskQueue: q, IDConflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", o))
	op := client.WithStart((*Greeting).Run, "a", o)
	_, err := client.UpdateWithStart(ctx, c, op, (*Greeting).Rename, "b")
	e := is[*client.AlreadyStartedError](t, err)
	equal(t, e.RunID, h.FirstRunID())
	_, same := op.Handle(ctx)
	equal(t, same, err)
	_, err = client.Start(ctx, c, (*Greeting).Run, "a", o)
	equal(t, is[*client.AlreadyStartedError](t, err).WorkflowID, "g")
}

// Relay continues as new once, when told to.
type Relay struct{ next, poked bool }

func (r *Relay) Run(ctx workflow.Context, n int) (int, error) {
	if err := workflow.Await(ctx, func() bool { return n == 0 && r.next || n > 0 && r.poked }); err != nil {
		return 0, err
	}
	if n == 0 {
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return 0, err
		}
		return 0, workflow.ContinueAsNew(drained, (*Relay).Run, 1)
	}
	err := workflow.Await(ctx, func() bool { return false })
	return n, err
}

func (r *Relay) Next(workflow.Context)             { r.next = true }
func (r *Relay) Poke(workflow.Context)             { r.poked = true }
func (r *Relay) Ask(workflow.Context) (int, error) { return 7, nil }

func TestAHandleOfARunningWorkflowDoesNotTakeItsRunForTheFirst(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	o := client.StartOptions{ID: "relay", TaskQueue: q}
	first := must[*client.Handle[*Relay, int]](t)(client.Start(ctx, c, (*Relay).Run, 0, o))
	ok(t, client.Signal0(ctx, first, (*Relay).Next))
	must[*workflowservice.GetWorkflowExecutionHistoryResponse](t)(c.Service().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: c.Namespace(), Execution: &commonpb.WorkflowExecution{WorkflowId: "relay", RunId: first.FirstRunID()},
		WaitNewEvent: true, HistoryEventFilterType: enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
	}))
	second := must[*client.Handle[*Relay, int]](t)(client.SignalWithStart0(ctx, c, client.WithStart((*Relay).Run, 0, o), (*Relay).Poke))
	if second.FirstRunID() == first.FirstRunID() {
		t.Fatal("it has not continued as new")
	}
	o.IDConflict = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	third := must[*client.Handle[*Relay, int]](t)(client.Start(ctx, c, (*Relay).Run, 0, o))
	for _, h := range []*client.Handle[*Relay, int]{first, second, third} {
		equal(t, must[int](t)(client.Update0(ctx, h, (*Relay).Ask)), 7)
	}
	ok(t, second.Terminate(ctx, "enough"))
	_, err := first.Result(ctx)
	is[*failure.TerminatedError](t, err)
}

func TestAnUpdateFailsInItsOwnWay(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{ID: "g", TaskQueue: q}))
	for name, want := range map[string]string{"": "no name", "fail": "asked to"} {
		u, err := client.StartUpdate(ctx, h, (*Greeting).Rename, name, client.UpdateOptions{WaitFor: client.Accepted})
		ok(t, err) // a refusal is the outcome's to tell
		_, err = u.Result(ctx)
		if e := is[*client.UpdateFailedError](t, err); !strings.Contains(e.Cause.Error(), want) {
			t.Error(e)
		}
	}
	_, err := client.Update(ctx, client.HandleOf[*Greeting, []string](c, "nobody", ""), (*Greeting).Rename, "x")
	is[*client.NotFoundError](t, err)

	u, err := client.StartUpdate(ctx, h, (*Greeting).Rename, "wait", client.UpdateOptions{WaitFor: client.Accepted, ID: "w"})
	ok(t, err)
	if u.ID() != "w" || u.WorkflowID() != "g" || u.RunID() != h.FirstRunID() {
		t.Errorf("update %q of %q, %q", u.ID(), u.WorkflowID(), u.RunID())
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	_, err = u.Result(short)
	is[*client.UpdateWaitError](t, err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	ok(t, client.Signal0(ctx, h, (*Greeting).Exit))
	equal(t, must[string](t)(u.Result(ctx)), "a") // it went on
}

func TestResultFollowsTheChain(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Countdown, int]](t)(client.Start2(ctx, c, (*Countdown).Run, 3, false, client.StartOptions{TaskQueue: q}))
	equal(t, must[int](t)(h.Result(ctx)), 42)
	h = must[*client.Handle[*Countdown, int]](t)(client.Start2(ctx, c, (*Countdown).Run, 1, true, client.StartOptions{TaskQueue: q}))
	_, err := h.Result(ctx)
	e := is[*client.WorkflowFailedError](t, err)
	if e.RunID == h.FirstRunID() || !failure.IsApplication(err, "Zero") {
		t.Errorf("run %s: %v", e.RunID, err)
	}
}

func TestAWorkflowEndsByCancelAndByTerminate(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{TaskQueue: q}))
	ok(t, h.Cancel(ctx, "enough"))
	_, err := h.Result(ctx)
	is[*failure.CanceledError](t, err)
	h = must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{TaskQueue: q}))
	ok(t, h.Terminate(ctx, "now", "a detail"))
	_, err = h.Result(ctx)
	is[*failure.TerminatedError](t, err)
	is[*client.NotFoundError](t, client.Signal0(ctx, h, (*Greeting).Exit))
}

func TestAQueryFailsInItsOwnWay(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{TaskQueue: q}))
	_, err := client.Query1(ctx, h, (*Greeting).At, 9)
	is[*client.QueryFailedError](t, err)
	ok(t, client.Signal0(ctx, h, (*Greeting).Exit))
	must[[]string](t)(h.Result(ctx))
	_, err = client.Query(ctx, h, (*Greeting).Latest, client.RejectQuery(enumspb.QUERY_REJECT_CONDITION_NOT_OPEN))
	equal(t, is[*client.QueryRejectedError](t, err).Status, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	h = must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{TaskQueue: "nobody"}))
	ok(t, h.Terminate(ctx, "never ran"))
	_, err = client.Query(ctx, h, (*Greeting).Latest)
	is[*client.NotReadyError](t, err)
}

func TestInterceptorsSendHeaders(t *testing.T) {
	var seen []client.CallKind
	var order []string
	c, _ := server(t, func(o *client.Options) {
		o.Outbound = []client.Interceptor{
			client.InterceptorFunc(func(ctx context.Context, call *client.Call, next func(context.Context) error) error {
				seen, order = append(seen, call.Kind), append(order, "outer")
				call.Header["trace"] = &commonpb.Payload{Data: []byte(call.Message + "@" + call.WorkflowID)}
				return next(ctx)
			}),
			client.InterceptorFunc(func(ctx context.Context, call *client.Call, next func(context.Context) error) error {
				order = append(order, "inner")
				if call.Message == "Refused" {
					return errors.New("not this one")
				}
				return next(ctx)
			}),
		}
	})
	q, ctx := work(t, c), t.Context()
	h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{ID: "g", TaskQueue: q}))
	ok(t, client.Signal(ctx, h, (*Greeting).Submit, "b"))
	must[string](t)(client.Query(ctx, h, (*Greeting).Latest))
	must[string](t)(client.Update(ctx, h, (*Greeting).Rename, "c"))
	if err := h.SignalByName(ctx, "Refused"); err == nil || err.Error() != "not this one" {
		t.Errorf("the interceptor's error came as %v", err)
	}
	if len(seen) != 5 || seen[0] != client.CallStart || seen[1] != client.CallSignal || seen[2] != client.CallQuery || seen[3] != client.CallUpdate || order[0] != "outer" || order[1] != "inner" {
		t.Errorf("seen %v in the order %v", seen, order)
	}
	headers := map[string]bool{}
	for e, err := range h.History(ctx) {
		ok(t, err)
		for _, header := range []*commonpb.Header{
			e.GetWorkflowExecutionStartedEventAttributes().GetHeader(), e.GetWorkflowExecutionSignaledEventAttributes().GetHeader(),
			e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetHeader(),
		} {
			if p := header.GetFields()["trace"]; p != nil {
				headers[string(p.Data)] = true
			}
		}
	}
	if len(headers) != 3 || !headers["@g"] || !headers["Submit@g"] || !headers["Rename@g"] {
		t.Errorf("the history has the headers %v", headers)
	}
}

func TestAnActivityIsCompletedFromOutside(t *testing.T) {
	c, _ := server(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	q := uuid.NewString()
	w := worker.New(c, q, worker.Options{DisableActivities: true})
	worker.Workflow[*Waiting](w)
	ok(t, w.Start())
	t.Cleanup(w.Stop)
	begin := func() (*client.Handle[*Waiting, string], *workflowservice.PollActivityTaskQueueResponse) {
		h := must[*client.Handle[*Waiting, string]](t)(client.Start0(ctx, c, (*Waiting).Run, client.StartOptions{TaskQueue: q}))
		task := must[*workflowservice.PollActivityTaskQueueResponse](t)(c.Service().PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{
			Namespace: c.Namespace(), TaskQueue: &taskqueuepb.TaskQueue{Name: q},
		}))
		return h, task
	}
	h, task := begin()
	ok(t, c.HeartbeatActivity(ctx, task.TaskToken, 1))
	ok(t, c.CompleteActivity(ctx, task.TaskToken, "by token", nil))
	equal(t, must[string](t)(h.Result(ctx)), "by token")
	is[*client.NotFoundError](t, c.HeartbeatActivity(ctx, task.TaskToken))

	h, _ = begin()
	a := client.ActivityRef{WorkflowID: h.ID(), ActivityID: "a"}
	ok(t, c.HeartbeatActivityByID(ctx, a, 1))
	ok(t, c.CompleteActivityByID(ctx, a, "by ID", nil))
	equal(t, must[string](t)(h.Result(ctx)), "by ID")

	h, task = begin()
	ok(t, c.CompleteActivity(ctx, task.TaskToken, nil, failure.NewApplicationError("no", "No", failure.ApplicationOptions{NonRetryable: true})))
	if _, err := h.Result(ctx); !failure.IsApplication(err, "No") {
		t.Errorf("it ended with %v", err)
	}
}

func TestListAndCount(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	h := must[*client.AnyHandle](t)(c.StartByName(ctx, "Greeting", client.StartOptions{
		TaskQueue: q, Memo: map[string]any{"m": 1}, Summary: "short", Details: "long", Priority: 2,
	}, "a"))
	d := must[*workflowservice.DescribeWorkflowExecutionResponse](t)(h.Describe(ctx))
	equal(t, string(d.ExecutionConfig.UserMetadata.Summary.Data), `"short"`)
	equal(t, string(d.WorkflowExecutionInfo.Memo.Fields["m"].Data), "1")
	equal(t, d.WorkflowExecutionInfo.Priority.GetPriorityKey(), 2)
	where := "WorkflowId = '" + h.ID() + "'"
	for n := int64(0); n != 1; {
		n = must[int64](t)(c.Count(ctx, where))
	}
	for e, err := range c.List(ctx, where) {
		ok(t, err)
		equal(t, e.Execution.WorkflowId, h.ID())
	}
}

func TestDialSaysThatNobodyIsThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := client.Dial(ctx, client.Options{Address: "127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "connect to 127.0.0.1:1") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsComeFromTheEnvironment(t *testing.T) {
	t.Setenv("TEMPORAL_CONFIG_FILE", t.TempDir()+"/none.toml")
	t.Setenv("TEMPORAL_ADDRESS", "there:1")
	t.Setenv("TEMPORAL_NAMESPACE", "ns")
	t.Setenv("TEMPORAL_API_KEY", "k")
	o, err := client.FromEnvironment()
	ok(t, err)
	if o.Address != "there:1" || o.Namespace != "ns" || o.APIKey != "k" || o.TLS == nil {
		t.Errorf("got %+v", o)
	}
}
