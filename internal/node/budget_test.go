package node

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// cost is what an operation takes of what does not depend on the machine.
type cost struct{ commits, keys, bytes, allocations float64 }

// TestCostsStayWithinTheirBudget holds the server to what an operation may cost, in counts that are the same on every
// machine. Commits and keys are exact; bytes and allocations have some room. A change that makes something cheaper lowers
// the budget, so that nobody spends it again. See docs/bench.md.
func TestCostsStayWithinTheirBudget(t *testing.T) {
	r := start(t, nil)
	b := &budgeted{T: t, r: r, api: workflowservice.NewWorkflowServiceClient(r.Conn())}
	for _, c := range []struct {
		name   string
		budget cost
		once   func()
	}{
		{"start", cost{1, 7, 1195, 148}, func() { b.start("nobody") }},
		{"empty workflow", cost{2, 13, 2000, 390}, func() { b.start("q"); b.workflowTask(b.complete()) }},
		{"activity workflow", cost{4, 23, 3300, 915}, func() {
			b.start("q")
			b.workflowTask(b.activity(false))
			b.activityTask()
			b.workflowTask(b.complete())
		}},
		{"activity workflow, eager", cost{4, 21, 3250, 865}, func() {
			b.start("q")
			for _, task := range b.workflowTask(b.activity(true)).ActivityTasks {
				b.completeActivity(task.TaskToken)
			}
			b.workflowTask(b.complete())
		}},
		{"signal to a run that waits for a task", cost{1, 4, 522, 91}, b.waiting(func(id string) { b.signal(id) })},
		{"query", cost{0, 0, 0, 205}, b.idle(func(id string) { b.query(id) })},
	} {
		for range 3 { // fills pools and caches
			c.once()
		}
		const rounds = 20
		before, allocations := b.counters(), mallocs()
		for range rounds {
			c.once()
		}
		allocations = mallocs() - allocations
		after := b.counters()
		got := cost{
			(after.commits - before.commits) / rounds, (after.keys - before.keys) / rounds,
			(after.bytes - before.bytes) / rounds, float64(allocations) / rounds,
		}
		t.Logf("%-40s %+v", c.name, got)
		if got.commits != c.budget.commits || got.keys != c.budget.keys {
			t.Errorf("%s: %v commits of %v keys, the budget is %v of %v", c.name, got.commits, got.keys, c.budget.commits, c.budget.keys)
		}
		within(t, c.name, "bytes", got.bytes, c.budget.bytes, 0.05)
		if !raceEnabled { // the detector has allocations of its own
			within(t, c.name, "allocations", got.allocations, c.budget.allocations, 0.1)
		}
	}
}

func within(t *testing.T, name, what string, got, budget, room float64) {
	t.Helper()
	if got > budget*(1+room) {
		t.Errorf("%s: %.0f %s, the budget is %.0f: what is the gain?", name, got, what, budget)
	}
	if got < budget*(1-room) {
		t.Errorf("%s: %.0f %s, the budget is %.0f: lower it", name, got, what, budget)
	}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// budgeted plays client and worker, one call after the other, with nothing in between.
type budgeted struct {
	*testing.T
	r    *running
	api  workflowservice.WorkflowServiceClient
	last int
}

var counter = regexp.MustCompile(`(?m)^(persistence_requests|perdure_batch_ops|perdure_batch_bytes)(?:\{.*\})? (\S+)$`)

func (b *budgeted) counters() (c cost) {
	b.Helper()
	code, body := b.r.get(b.r.HTTPAddr(), "/metrics")
	if code != http.StatusOK {
		b.Fatal(code, body)
	}
	found := 0
	for _, m := range counter.FindAllStringSubmatch(body, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			b.Fatal(err)
		}
		found++
		*map[string]*float64{"persistence_requests": &c.commits, "perdure_batch_ops": &c.keys, "perdure_batch_bytes": &c.bytes}[m[1]] = v
	}
	if found != 3 {
		b.Fatalf("%d counters in %s", found, body)
	}
	return c
}

func must[R any](b *budgeted) func(R, error) R {
	return func(r R, err error) R {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
}

var input = &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: make([]byte, 64)}}}

func (b *budgeted) start(queue string) string {
	b.last++
	id := fmt.Sprintf("workflow-%06d", b.last)
	must[*workflowservice.StartWorkflowExecutionResponse](b)(b.api.StartWorkflowExecution(b.Context(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "T"}, TaskQueue: &taskqueuepb.TaskQueue{Name: queue},
		RequestId: "request-" + id, Input: input,
	}))
	return id
}

func (b *budgeted) poll(queue string) *workflowservice.PollWorkflowTaskQueueResponse {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	task := must[*workflowservice.PollWorkflowTaskQueueResponse](b)(b.api.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
		Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, Identity: "w",
	}))
	if len(task.TaskToken) == 0 {
		b.Fatal("no workflow task")
	}
	return task
}

func (b *budgeted) workflowTask(commands ...*commandpb.Command) *workflowservice.RespondWorkflowTaskCompletedResponse {
	task := b.poll("q")
	return must[*workflowservice.RespondWorkflowTaskCompletedResponse](b)(b.api.RespondWorkflowTaskCompleted(b.Context(), &workflowservice.RespondWorkflowTaskCompletedRequest{
		Namespace: "default", TaskToken: task.TaskToken, Identity: "w", Commands: commands,
	}))
}

func (b *budgeted) activityTask() {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	task := must[*workflowservice.PollActivityTaskQueueResponse](b)(b.api.PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{
		Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Identity: "w",
	}))
	b.completeActivity(task.TaskToken)
}

func (b *budgeted) completeActivity(token []byte) {
	must[*workflowservice.RespondActivityTaskCompletedResponse](b)(b.api.RespondActivityTaskCompleted(b.Context(), &workflowservice.RespondActivityTaskCompletedRequest{
		Namespace: "default", TaskToken: token, Identity: "w", Result: input,
	}))
}

func (b *budgeted) complete() *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
		CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{Result: input}}}
}

func (b *budgeted) activity(eager bool) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
		ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{
			ActivityId: "1", ActivityType: &commonpb.ActivityType{Name: "A"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Input: input,
			StartToCloseTimeout: durationpb.New(time.Minute), RequestEagerExecution: eager,
		}}}
}

// waiting makes an operation on a run that has a workflow task nobody takes.
func (b *budgeted) waiting(do func(id string)) func() {
	id := ""
	return func() {
		if id == "" {
			id = b.start("nobody")
		}
		do(id)
	}
}

// idle makes an operation on a run that waits for something to happen.
func (b *budgeted) idle(do func(id string)) func() {
	id := ""
	return func() {
		if id == "" {
			id = b.start("q")
			b.workflowTask()
		}
		do(id)
	}
}

func (b *budgeted) signal(id string) {
	b.last++
	must[*workflowservice.SignalWorkflowExecutionResponse](b)(b.api.SignalWorkflowExecution(b.Context(), &workflowservice.SignalWorkflowExecutionRequest{
		Namespace: "default", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}, SignalName: "s", Input: input,
		RequestId: fmt.Sprintf("signal-%06d", b.last),
	}))
}

func (b *budgeted) query(id string) {
	answered := make(chan error, 1)
	go func() {
		_, err := b.api.QueryWorkflow(b.Context(), &workflowservice.QueryWorkflowRequest{
			Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: id}, Query: &querypb.WorkflowQuery{QueryType: "q"},
		})
		answered <- err
	}()
	task := b.poll("q")
	must[*workflowservice.RespondQueryTaskCompletedResponse](b)(b.api.RespondQueryTaskCompleted(b.Context(), &workflowservice.RespondQueryTaskCompletedRequest{
		Namespace: "default", TaskToken: task.TaskToken, CompletedType: enumspb.QUERY_RESULT_TYPE_ANSWERED, QueryResult: input,
	}))
	if err := <-answered; err != nil {
		b.Fatal(err)
	}
}
