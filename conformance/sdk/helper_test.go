package sdk

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
)

// dial connects a client with other options than the shared one, and closes it after the test.
func (r *rig) dial(o client.Options) client.Client {
	r.Helper()
	o.HostPort, o.Namespace = sharedAddress, namespace
	if o.Logger == nil {
		o.Logger = quiet()
	}
	c, err := client.Dial(o)
	r.must(err)
	r.Cleanup(c.Close)
	return c
}

// watched is a client whose requests are shown to see before they leave. See is called from many goroutines.
func (r *rig) watched(see func(request any)) client.Client {
	r.Helper()
	look := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		see(req)
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	return r.dial(client.Options{ConnectionOptions: client.ConnectionOptions{
		GrpcCompression: &client.GrpcCompressionNone{}, // a request that is refused for its compression would be shown twice
		DialOptions:     []grpc.DialOption{grpc.WithChainUnaryInterceptor(look)},
	}})
}

// logbook keeps what the SDK logs.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Debug(string, ...any)           {}
func (l *logbook) Info(string, ...any)            {}
func (l *logbook) Warn(msg string, pairs ...any)  { l.write("warn", msg, pairs) }
func (l *logbook) Error(msg string, pairs ...any) { l.write("error", msg, pairs) }
func (l *logbook) write(level, msg string, p []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintln(level, msg, p))
}

// with returns the lines that contain all words.
func (l *logbook) with(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			found = append(found, line)
		}
	}
	return found
}

// witness is an interceptor of clients and workers. Clients send their name in the header "from". In a workflow it notes each
// message as "kind name from"; the workflow reads its notes through noted.
type witness struct {
	interceptor.InterceptorBase
	name string // of a client; empty: sends no header
}

type notes struct{ lines []string }

type notesKey struct{}

// noted are the messages that the workflow of ctx has got so far. The workers of the test must have a witness.
func noted(ctx workflow.Context) []string {
	return append([]string{}, ctx.Value(notesKey{}).(*notes).lines...)
}

func sign(fields map[string]*commonpb.Payload, name string) {
	if name == "" {
		return
	}
	p, err := converter.GetDefaultDataConverter().ToPayload(name)
	if err != nil {
		panic(err)
	}
	fields["from"] = p
}

func signature(ctx workflow.Context) string {
	var name string
	if p := interceptor.WorkflowHeader(ctx)["from"]; p != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(p, &name); err != nil {
			panic(err)
		}
	}
	return name
}

func (w *witness) InterceptClient(next interceptor.ClientOutboundInterceptor) interceptor.ClientOutboundInterceptor {
	return &clientWitness{ClientOutboundInterceptorBase: interceptor.ClientOutboundInterceptorBase{Next: next}, name: w.name}
}

type clientWitness struct {
	interceptor.ClientOutboundInterceptorBase
	name string
}

func (c *clientWitness) SignalWorkflow(ctx context.Context, in *interceptor.ClientSignalWorkflowInput) error {
	sign(interceptor.Header(ctx), c.name)
	return c.Next.SignalWorkflow(ctx, in)
}

func (c *clientWitness) QueryWorkflow(ctx context.Context, in *interceptor.ClientQueryWorkflowInput) (converter.EncodedValue, error) {
	sign(interceptor.Header(ctx), c.name)
	return c.Next.QueryWorkflow(ctx, in)
}

func (c *clientWitness) UpdateWorkflow(ctx context.Context, in *interceptor.ClientUpdateWorkflowInput) (client.WorkflowUpdateHandle, error) {
	sign(interceptor.Header(ctx), c.name)
	return c.Next.UpdateWorkflow(ctx, in)
}

func (w *witness) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &workflowWitness{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, notes: &notes{}}
}

type workflowWitness struct {
	interceptor.WorkflowInboundInterceptorBase
	notes *notes
}

func (w *workflowWitness) note(ctx workflow.Context, kind, name string) {
	w.notes.lines = append(w.notes.lines, strings.TrimSpace(kind+" "+name+" "+signature(ctx)))
}

func (w *workflowWitness) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return w.Next.Init(&outboundWitness{interceptor.WorkflowOutboundInterceptorBase{Next: out}})
}

func (w *workflowWitness) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	return w.Next.ExecuteWorkflow(workflow.WithValue(ctx, notesKey{}, w.notes), in)
}

func (w *workflowWitness) HandleSignal(ctx workflow.Context, in *interceptor.HandleSignalInput) error {
	w.note(ctx, fmt.Sprintf("signal/%d", len(in.Arg.GetPayloads())), in.SignalName)
	return w.Next.HandleSignal(ctx, in)
}

// HandleQuery answers the query "signature" with the sender's name; queries leave no note.
func (w *workflowWitness) HandleQuery(ctx workflow.Context, in *interceptor.HandleQueryInput) (any, error) {
	if in.QueryType == "signature" {
		return signature(ctx), nil
	}
	return w.Next.HandleQuery(ctx, in)
}

func (w *workflowWitness) ExecuteUpdate(ctx workflow.Context, in *interceptor.UpdateInput) (any, error) {
	w.note(ctx, "update", in.Name)
	return w.Next.ExecuteUpdate(ctx, in)
}

// outboundWitness signs the signals of a workflow with its ID.
type outboundWitness struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (o *outboundWitness) SignalExternalWorkflow(ctx workflow.Context, id, runID, name string, arg any) workflow.Future {
	sign(interceptor.WorkflowHeader(ctx), workflow.GetInfo(ctx).WorkflowExecution.ID)
	return o.Next.SignalExternalWorkflow(ctx, id, runID, name, arg)
}

func (o *outboundWitness) SignalChildWorkflow(ctx workflow.Context, id, name string, arg any) workflow.Future {
	sign(interceptor.WorkflowHeader(ctx), workflow.GetInfo(ctx).WorkflowExecution.ID)
	return o.Next.SignalChildWorkflow(ctx, id, name, arg)
}

// witnessed makes the client and the workers of r, and its replayer, use a witness.
func (r *rig) witnessed(name string) {
	r.Helper()
	w := &witness{name: name}
	r.client = r.dial(client.Options{Interceptors: []interceptor.ClientInterceptor{w}})
	r.replay.Interceptors = []interceptor.WorkerInterceptor{w}
}

// converterValues are the undecoded arguments of a dynamic workflow or activity.
type converterValues = converter.EncodedValues

func historyOf(events []*historypb.HistoryEvent) *historypb.History {
	return &historypb.History{Events: events}
}

// check panics with an error inside a workflow, which fails the workflow task. For calls that cannot fail.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// hold is a local activity that keeps the workflow task open: it says that it began and goes on when it is told to.
type hold struct{ began, goOn chan struct{} }

func newHold() hold { return hold{make(chan struct{}, 100), make(chan struct{})} }

func (h hold) activity(ctx context.Context) error {
	h.began <- struct{}{}
	select {
	case <-h.goOn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// held runs the local activity "hold" of the worker.
func held(ctx workflow.Context) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 20 * time.Second})
	return workflow.ExecuteLocalActivity(ctx, "hold").Get(ctx, nil)
}

// ask queries a workflow and returns the answer.
func ask[T any](r *rig, id, query string, args ...any) T {
	r.Helper()
	var out T
	v, err := r.client.QueryWorkflow(r.ctx, id, "", query, args...)
	r.must(err)
	r.must(v.Get(&out))
	return out
}

// begin starts an update with an ID of its own and returns once it is accepted, or rejected.
func (r *rig) begin(id, updateID, name string, args ...any) client.WorkflowUpdateHandle {
	r.Helper()
	h, err := r.client.UpdateWorkflow(r.ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateID: updateID, UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageAccepted})
	r.must(err)
	return h
}

// answer is what an update came to.
type answer[T any] struct {
	value T
	err   error
}

// later calls an update in the background.
func later[T any](r *rig, o client.UpdateWorkflowOptions) <-chan answer[T] {
	o.WaitForStage = client.WorkflowUpdateStageCompleted
	out := make(chan answer[T], 1)
	go func() {
		var a answer[T]
		h, err := r.client.UpdateWorkflow(r.ctx, o)
		if err == nil {
			err = h.Get(r.ctx, &a.value)
		}
		a.err = err
		out <- a
	}()
	return out
}

// admitted waits until the server knows the update.
func (r *rig) admitted(id, runID, updateID string) {
	r.Helper()
	r.eventually("update "+updateID+" is admitted", func() bool {
		_, err := r.client.WorkflowService().PollWorkflowExecutionUpdate(r.ctx, &workflowservice.PollWorkflowExecutionUpdateRequest{
			Namespace: namespace, UpdateRef: &updatepb.UpdateRef{
				WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: runID}, UpdateId: updateID}})
		return err == nil
	})
}

// signal sends a signal to the current run.
func (r *rig) signal(id, name string, arg any) {
	r.Helper()
	r.must(r.client.SignalWorkflow(r.ctx, id, "", name, arg))
}

// count tells how many events of a type a run has.
func (r *rig) count(run client.WorkflowRun, t enumspb.EventType) int {
	r.Helper()
	return len(r.only(run, t))
}

// completed waits until n workflow tasks of a run are completed.
func (r *rig) completed(run client.WorkflowRun, n int) {
	r.Helper()
	r.eventually(fmt.Sprintf("%d workflow tasks are completed", n), func() bool {
		return r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) >= n
	})
}

// replays plays a history against other code than it was made with.
func (r *rig) replays(f funcs, run client.WorkflowRun, events []*historypb.HistoryEvent) error {
	r.Helper()
	return r.replayer(f).ReplayWorkflowHistoryWithOptions(quiet(), historyOf(events),
		worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: run.GetID(), RunID: run.GetRunID()}})
}

// What another process of this test binary does; see play.
const (
	roleName   = "CONFORMANCE_ROLE"
	roleTarget = "CONFORMANCE_TARGET"
)

// play is the main function of a process that a test started. It ends with its standard input.
func play(role string) int {
	c, err := client.Dial(client.Options{HostPort: os.Getenv("PERDURE_ADDRESS"), Namespace: namespace, Logger: quiet()})
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	defer c.Close()
	switch role {
	case "worker":
		err = playWorker(c, os.Getenv(roleTarget))
	case "stranger":
		err = playStranger(c.WorkflowService(), os.Getenv(roleTarget))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// playWorker serves the account workflow, without its activity, until its parent goes away or kills it.
func playWorker(c client.Client, queue string) error {
	w := worker.New(c, queue, worker.Options{StickyScheduleToStartTimeout: time.Second, LocalActivityWorkerOnly: true})
	for name, fn := range accountFuncs {
		if isWorkflow(fn) {
			w.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
		}
	}
	if err := w.Start(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// playStranger is a client that shares nothing with the workflow's code but names: it writes its arguments as any language
// would. It signals, queries, updates and queries the workflow, and prints the three answers.
func playStranger(service workflowservice.WorkflowServiceClient, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run := &commonpb.WorkflowExecution{WorkflowId: id}
	plain := func(json string) *commonpb.Payloads {
		return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(json)}}}
	}
	_, err := service.SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: run, SignalName: "Deposit", Input: plain(`{"Amount": 30}`)})
	if err != nil {
		return err
	}
	balance := func() (*commonpb.Payloads, error) {
		q, err := service.QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{Namespace: namespace, Execution: run, Query: &querypb.WorkflowQuery{QueryType: "Balance"}})
		return q.GetQueryResult(), err
	}
	before, err := balance()
	if err != nil {
		return err
	}
	u, err := service.UpdateWorkflowExecution(ctx, &workflowservice.UpdateWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: run,
		Request: &updatepb.Request{Meta: &updatepb.Meta{UpdateId: "from abroad"}, Input: &updatepb.Input{Name: "Withdraw", Args: plain(`{"Amount": 8}`)}}})
	if err != nil {
		return err
	}
	after, err := balance()
	if err != nil {
		return err
	}
	for _, answer := range []*commonpb.Payloads{before, u.GetOutcome().GetSuccess(), after} {
		for _, p := range answer.GetPayloads() {
			fmt.Println(string(p.GetData()))
		}
	}
	return nil
}

// process starts this test binary again in a role. It ends with the test at the latest.
func (r *rig) process(role, target string) *exec.Cmd {
	r.Helper()
	cmd := exec.CommandContext(r.ctx, os.Args[0])
	cmd.Env = append(os.Environ(), roleName+"="+role, roleTarget+"="+target, "PERDURE_ADDRESS="+sharedAddress)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	r.must(err)
	r.Cleanup(func() { in.Close() })
	return cmd
}

// says runs a process to its end and returns the JSON values it printed, one a line.
func says[T any](r *rig, cmd *exec.Cmd) []T {
	r.Helper()
	out, err := cmd.Output()
	r.must(err)
	var values []T
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		var v T
		r.must(json.Unmarshal(lines.Bytes(), &v))
		values = append(values, v)
	}
	return values
}
