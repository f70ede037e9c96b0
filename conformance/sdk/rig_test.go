// Package sdk judges a server with the official Go SDK: each test is a small program as a user would write it. The server
// is the one at PERDURE_ADDRESS, or the dev server of this repository, which the tests build and start themselves.
// Every history a test leaves behind is judged and replayed.
package sdk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/perdure/perdure/conformance/judge"
	"github.com/perdure/perdure/conformance/process"
)

const namespace = "default"

// Both are set before the first test and not changed.
var (
	shared        client.Client // for all tests; it is safe for concurrent use
	sharedAddress string
)

// noCache is set in the second process that runs some tests without any cached workflow; see TestM244.
const noCache = "CONFORMANCE_NO_CACHE"

var searchAttributes = map[string]enumspb.IndexedValueType{
	"CfKeyword": enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	"CfInt":     enumspb.INDEXED_VALUE_TYPE_INT,
	"CfBool":    enumspb.INDEXED_VALUE_TYPE_BOOL,
	"CfTime":    enumspb.INDEXED_VALUE_TYPE_DATETIME,
	"CfList":    enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
	"CfText":    enumspb.INDEXED_VALUE_TYPE_TEXT,
	"CfDouble":  enumspb.INDEXED_VALUE_TYPE_DOUBLE,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleName); role != "" {
		os.Exit(play(role))
	}
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	if os.Getenv(noCache) != "" {
		worker.SetStickyWorkflowCacheSize(0)
	}
	address, stop, err := server()
	if err != nil {
		return 0, err
	}
	defer stop()
	sharedAddress = address
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := process.Ready(ctx, address); err != nil {
		return 0, err
	}
	if shared, err = client.DialContext(ctx, client.Options{HostPort: address, Namespace: namespace, Logger: quiet()}); err != nil {
		return 0, fmt.Errorf("connect to %s: %w", address, err)
	}
	defer shared.Close()
	_, err = shared.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: searchAttributes,
	})
	if err != nil {
		return 0, fmt.Errorf("add search attributes: %w", err)
	}
	return m.Run(), nil
}

// server returns the address of the server to judge and what ends it.
func server() (string, func(), error) {
	if address := os.Getenv("PERDURE_ADDRESS"); address != "" {
		return address, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "perdure-conformance-")
	if err != nil {
		return "", nil, err
	}
	binary := filepath.Join(dir, "perdure")
	build := exec.Command("go", "build", "-o", binary, "./cmd/perdure")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("build the server: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return "", nil, err
	}
	ports, err := process.FreePorts()
	if err != nil {
		return "", nil, err
	}
	line := process.Expand([]string{binary, "server", "start-dev", "--ip", "{ip}", "--port", "{port}", "--http-port", "{http}", "--headless", "--log-level", "warn"}, ports, "")
	s, err := process.Start(line, ports.Address(), log)
	if err != nil {
		return "", nil, err
	}
	stop := func() {
		if err := s.Stop(20 * time.Second); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
		}
		log.Close()
		if text, _ := os.ReadFile(log.Name()); len(text) > 0 {
			fmt.Fprintf(os.Stderr, "the server logged:\n%s", text)
		}
		os.RemoveAll(dir)
	}
	return ports.Address(), stop, nil
}

// TestM244_MessagesHoldWithoutAWorkflowCache runs the tests about messages and activities again in a process whose workers
// cache no workflow, so that each workflow task carries the whole history and replays it. The cache's size is a setting of
// the process.
func TestM244_MessagesHoldWithoutAWorkflowCache(t *testing.T) {
	t.Parallel()
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^Test(M[0-9]|Signal|Query|Queries|Update|Validator|Handler|Message|Activity|LocalActivity|Child|Timer)",
		"-test.skip", "^TestM244", "-test.parallel", "8")
	again.Env = append(os.Environ(), noCache+"=1", "PERDURE_ADDRESS="+sharedAddress)
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func quiet() sdklog.Logger {
	return sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// funcs are workflows (first parameter workflow.Context) and activities, by name.
type funcs map[string]any

// rig is one test with a task queue of its own.
type rig struct {
	*testing.T
	ctx       context.Context
	client    client.Client
	queue     string
	workflows funcs // of all its workers, for replay
	dynamic   any   // the workflow for names that no other has; nil if none
	replay    worker.WorkflowReplayerOptions
	begun     []client.WorkflowRun
	skipWhy   string // why histories are not replayed
}

// newRig marks the test as parallel, bounds it, and makes it judge what it leaves behind.
func newRig(t *testing.T) *rig { return newRigFor(t, time.Minute) }

// newRigFor is newRig for a test that may take longer, on a slow server.
func newRigFor(t *testing.T, atMost time.Duration) *rig {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	r := &rig{T: t, ctx: ctx, client: shared, queue: fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()), workflows: funcs{}}
	t.Cleanup(cancel)
	t.Cleanup(r.judge)
	return r
}

// work starts a worker for the functions and stops it when the test ends.
func (r *rig) work(f funcs, options ...worker.Options) worker.Worker {
	r.Helper()
	var o worker.Options
	if len(options) > 0 {
		o = options[0]
	}
	w := r.newWorker(r.client, r.queue, f, o)
	if err := w.Start(); err != nil {
		r.Fatalf("start worker: %v", err)
	}
	r.Cleanup(w.Stop)
	return w
}

func (r *rig) newWorker(c client.Client, queue string, f funcs, o worker.Options) worker.Worker {
	w := worker.New(c, queue, o)
	for name, fn := range f {
		if isWorkflow(fn) {
			w.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
			r.workflows[name] = fn
		} else {
			w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
		}
	}
	return w
}

func isWorkflow(fn any) bool {
	t := reflect.TypeOf(fn)
	return t.NumIn() > 0 && t.In(0) == reflect.TypeFor[workflow.Context]()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// id is a workflow ID of this test.
func (r *rig) id(part string) string { return r.queue + "/" + part }

// options fills what the test does not say.
func (r *rig) options(o client.StartWorkflowOptions) client.StartWorkflowOptions {
	if o.ID == "" {
		o.ID = r.id(fmt.Sprint(len(r.begun)))
	}
	if o.TaskQueue == "" {
		o.TaskQueue = r.queue
	}
	return o
}

// start runs a workflow with default options.
func (r *rig) start(name string, args ...any) client.WorkflowRun {
	r.Helper()
	return r.startWith(client.StartWorkflowOptions{}, name, args...)
}

func (r *rig) startWith(o client.StartWorkflowOptions, name string, args ...any) client.WorkflowRun {
	r.Helper()
	run, err := r.client.ExecuteWorkflow(r.ctx, r.options(o), name, args...)
	if err != nil {
		r.Fatalf("start %s: %v", name, err)
	}
	first := firstRun{WorkflowRun: run, client: r.client, runID: run.GetRunID()}
	r.begun = append(r.begun, first)
	return first
}

// firstRun stays at the run that was started. The SDK's own value moves to the last run of the chain with each Get.
type firstRun struct {
	client.WorkflowRun
	client client.Client
	runID  string
}

func (f firstRun) GetRunID() string { return f.runID }

func (f firstRun) Get(ctx context.Context, out any) error {
	return f.client.GetWorkflow(ctx, f.GetID(), f.runID).Get(ctx, out)
}

func (f firstRun) GetWithOptions(ctx context.Context, out any, o client.WorkflowRunGetOptions) error {
	return f.client.GetWorkflow(ctx, f.GetID(), f.runID).GetWithOptions(ctx, out, o)
}

// result waits for a run, or its chain, and returns what it returned.
func result[T any](r *rig, run client.WorkflowRun) T {
	r.Helper()
	var out T
	if err := run.Get(r.ctx, &out); err != nil {
		r.Fatalf("%s: %v", run.GetID(), err)
	}
	return out
}

// failure waits for a run and returns the error it ended with; it must be one.
func (r *rig) failure(run client.WorkflowRun) error {
	r.Helper()
	err := run.Get(r.ctx, nil)
	if err == nil {
		r.Fatalf("%s succeeded, want an error", run.GetID())
	}
	return err
}

func equal[T any](r *rig, what string, got, want T) {
	r.Helper()
	if !reflect.DeepEqual(got, want) {
		r.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}

// history reads all events of a run.
func (r *rig) history(id, runID string) []*historypb.HistoryEvent {
	r.Helper()
	var events []*historypb.HistoryEvent
	for it := shared.GetWorkflowHistory(r.ctx, id, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			r.Fatalf("history of %s: %v", id, err)
		}
		events = append(events, e)
	}
	return events
}

// only returns the events of one type in a run's history.
func (r *rig) only(run client.WorkflowRun, t enumspb.EventType) []*historypb.HistoryEvent {
	r.Helper()
	var found []*historypb.HistoryEvent
	for _, e := range r.history(run.GetID(), run.GetRunID()) {
		if e.GetEventType() == t {
			found = append(found, e)
		}
	}
	return found
}

// types lists the event types of a history, shortened.
func types(events []*historypb.HistoryEvent) string {
	var names []string
	for _, e := range events {
		names = append(names, e.GetEventType().String())
	}
	return strings.Join(names, " ")
}

// watch follows a run's history until it has an event of type t, and returns it.
func (r *rig) watch(run client.WorkflowRun, t enumspb.EventType) *historypb.HistoryEvent {
	r.Helper()
	for it := r.client.GetWorkflowHistory(r.ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			r.Fatalf("watch %s: %v", run.GetID(), err)
		}
		if e.GetEventType() == t {
			return e
		}
	}
	r.Fatalf("%s closed without %s", run.GetID(), t)
	return nil
}

// eventually asks until ok says yes; what is the complaint otherwise. For things the API has no way to wait for.
func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			r.Fatalf("not within 15s: %s", what)
		}
		select {
		case <-r.ctx.Done():
			r.Fatal(r.ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// noReplay says that this test's histories are not for the replayer.
func (r *rig) noReplay(why string) { r.skipWhy = why }

// judge checks and replays all runs of the workflows that the test began, and of their children and successors. Runs that are
// still open are terminated.
func (r *rig) judge() {
	if r.Failed() {
		return
	}
	replayer := r.replayer(r.workflows)
	if r.dynamic != nil {
		replayer.RegisterDynamicWorkflow(r.dynamic, workflow.DynamicRegisterOptions{})
	}
	seen := map[string]bool{}
	for _, run := range r.begun {
		r.judgeRun(replayer, seen, run.GetID(), run.GetRunID())
	}
}

// replayer knows these workflows; f may have activities too.
func (r *rig) replayer(f funcs) worker.WorkflowReplayer {
	r.Helper()
	o := r.replay
	o.DisableDeadlockDetection = true // a second without a yield is nothing on a busy machine
	replayer, err := worker.NewWorkflowReplayerWithOptions(o)
	r.must(err)
	for name, fn := range f {
		if isWorkflow(fn) {
			replayer.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
		}
	}
	return replayer
}

func (r *rig) judgeRun(replayer worker.WorkflowReplayer, seen map[string]bool, id, runID string) {
	if seen[runID] || runID == "" {
		return
	}
	seen[runID] = true
	events := r.history(id, runID)
	for _, fault := range judge.History(events) {
		r.Errorf("history of %s: %s\n%s", id, fault, types(events))
	}
	for _, e := range events {
		if c := e.GetChildWorkflowExecutionStartedEventAttributes(); c != nil {
			r.judgeRun(replayer, seen, c.GetWorkflowExecution().GetWorkflowId(), c.GetWorkflowExecution().GetRunId())
		}
	}
	last := events[len(events)-1]
	next := ""
	switch last.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		next = last.GetWorkflowExecutionCompletedEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		next = last.GetWorkflowExecutionFailedEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		next = last.GetWorkflowExecutionTimedOutEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		next = last.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
	default: // still open: the test is done with it
		_ = shared.TerminateWorkflow(r.ctx, id, runID, "test is over")
		return
	}
	// The replayer compares the commands of the last task only when workflow code ended the run.
	if ended := last.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED && last.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT; ended && r.skipWhy == "" {
		err := replayer.ReplayWorkflowHistoryWithOptions(quiet(), &historypb.History{Events: events},
			worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: id, RunID: runID}})
		if err != nil {
			r.Errorf("replay of %s: %v\n%s", id, err, types(events))
		}
	}
	r.judgeRun(replayer, seen, id, next)
}

// short are options for an activity that should not fail.
func short(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
}

// with are options for an activity with quick retries.
func with(ctx workflow.Context, o workflow.ActivityOptions) workflow.Context {
	if o.StartToCloseTimeout == 0 && o.ScheduleToCloseTimeout == 0 {
		o.StartToCloseTimeout = 10 * time.Second
	}
	if o.RetryPolicy == nil {
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, BackoffCoefficient: 1}
	}
	return workflow.WithActivityOptions(ctx, o)
}
