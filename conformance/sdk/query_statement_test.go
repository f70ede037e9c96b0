package sdk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// refused queries, wants the query to fail, and returns why.
func (r *rig) refused(id, query string, args ...any) string {
	r.Helper()
	_, err := r.client.QueryWorkflow(r.ctx, id, "", query, args...)
	var failed *serviceerror.QueryFailed
	if !errors.As(err, &failed) {
		r.Fatalf("query %s: %v, want that it failed", query, err)
	}
	return err.Error()
}

func TestM096_QueryOfAnUnknownNameListsTheKnownOnes(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	why := r.refused(run.GetID(), "no such query")
	for _, name := range []string{"no such query", "got", "__stack_trace", "__temporal_workflow_metadata"} {
		if !strings.Contains(why, name) {
			r.Fatalf("%q does not tell of %s", why, name)
		}
	}
}

func TestM097_QueryTakesTooManyAndTooFewArguments(t *testing.T) {
	r := newRig(t)
	type pair struct {
		N int
		S string
	}
	r.work(funcs{"main": func(ctx workflow.Context) error {
		check(workflow.SetQueryHandler(ctx, "pair", func(n int, s string) (pair, error) { return pair{n, s}, nil }))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return nil
	}})
	run := r.start("main")
	equal(r, "exact", ask[pair](r, run.GetID(), "pair", 1, "a"), pair{1, "a"})
	equal(r, "one too many", ask[pair](r, run.GetID(), "pair", 1, "a", true), pair{1, "a"})
	equal(r, "one missing", ask[pair](r, run.GetID(), "pair", 1), pair{N: 1})
	equal(r, "none", ask[pair](r, run.GetID(), "pair"), pair{})
	if why := r.refused(run.GetID(), "pair", "not a number"); !strings.Contains(why, "decode") {
		r.Fatalf("query with a wrong argument: %s", why)
	}
	r.signal(run.GetID(), "stop", nil)
	r.must(run.Get(r.ctx, nil))
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
}

func TestM098_QueryThatDoesMoreThanReadFails(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (int, error) {
		actx := short(ctx)
		for name, do := range map[string]func(){
			"activity": func() { workflow.ExecuteActivity(actx, "act") },
			"local":    func() { _ = held(ctx) },
			"child":    func() { workflow.ExecuteChildWorkflow(ctx, "main") },
			"timer":    func() { workflow.NewTimer(ctx, time.Second) },
			"sleep":    func() { _ = workflow.Sleep(ctx, time.Second) },
			"signal":   func() { workflow.SignalExternalWorkflow(ctx, r.id("other"), "", "word", nil) },
			"cancel":   func() { workflow.RequestCancelExternalWorkflow(ctx, r.id("other"), "") },
			"query":    func() { _ = workflow.SetQueryHandler(ctx, "new", func() (int, error) { return 0, nil }) },
			"update":   func() { _ = workflow.SetUpdateHandler(ctx, "new", func(workflow.Context) error { return nil }) },
			"memo":     func() { _ = workflow.UpsertMemo(ctx, map[string]any{"k": 1}) },
			"go":       func() { workflow.Go(ctx, func(workflow.Context) {}) },
			"receive":  func() { workflow.GetSignalChannel(ctx, "n").Receive(ctx, nil) },
		} {
			check(workflow.SetQueryHandler(ctx, name, func() (string, error) { do(); return name, nil }))
		}
		n := 0
		workflow.GetSignalChannel(ctx, "n").Receive(ctx, &n)
		err := workflow.ExecuteActivity(actx, "act").Get(ctx, nil)
		return n, err
	}, "act": func(context.Context) error { return nil }, "hold": func(context.Context) error { return nil }})
	run := r.start("main")
	r.completed(run, 1)
	before := len(r.history(run.GetID(), ""))
	for _, name := range []string{"activity", "local", "child", "timer", "sleep", "signal", "cancel", "query", "update", "memo", "go", "receive"} {
		r.refused(run.GetID(), name)
	}
	equal(r, "history length", len(r.history(run.GetID(), "")), before)
	r.refused(run.GetID(), "new")
	r.signal(run.GetID(), "n", 7)
	equal(r, "result", result[int](r, run), 7)
	equal(r, "activities", r.count(run, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED), 1)
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
}

// The query breaks the rule and makes the awaited condition true, at rest and behind a signal that wakes the workflow.
func TestM099_QueryWakesNoCondition(t *testing.T) {
	r := newRig(t)
	h := newHold()
	r.work(funcs{"main": func(ctx workflow.Context) error {
		woken, signals := false, 0
		check(workflow.SetQueryHandler(ctx, "wake", func() (int, error) { woken = true; return signals, nil }))
		workflow.Go(ctx, func(ctx workflow.Context) {
			for c := workflow.GetSignalChannel(ctx, "n"); ; signals++ {
				c.Receive(ctx, nil)
			}
		})
		check(held(ctx))
		return workflow.Await(ctx, func() bool { return woken })
	}, "hold": h.activity})
	run := r.start("main")
	<-h.began
	answers := make(chan error, 1)
	go func() { _, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "wake"); answers <- err }() // waits for this workflow task
	r.signal(run.GetID(), "n", 1)
	close(h.goOn)
	r.must(<-answers)
	r.eventually("the signal is handled", func() bool { return r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) == 2 })
	before := types(r.history(run.GetID(), ""))
	equal(r, "signals seen by the query", ask[int](r, run.GetID(), "wake"), 1)
	ask[int](r, run.GetID(), "wake")
	equal(r, "history", types(r.history(run.GetID(), "")), before)
	d, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), "")
	r.must(err)
	equal(r, "status", d.WorkflowExecutionInfo.Status, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
}

// waitsHere is a place whose name the stack must show.
func waitsHere(ctx workflow.Context, signal string) {
	workflow.GetSignalChannel(ctx, signal).Receive(ctx, nil)
}

func TestM100_QueryForTheStackWorksOnOpenAndClosedRuns(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		workflow.GoNamed(ctx, "left behind", func(ctx workflow.Context) { waitsHere(ctx, "never") })
		waitsHere(ctx, "stop")
		return nil
	}})
	run := r.start("main")
	stack := func() string { return ask[string](r, run.GetID(), client.QueryTypeStackTrace) }
	if s := stack(); strings.Count(s, "waitsHere") != 2 || !strings.Contains(s, "blocked on stop.Receive") {
		r.Fatalf("stack of an open run:\n%s", s)
	}
	r.signal(run.GetID(), "stop", nil)
	r.must(run.Get(r.ctx, nil))
	if s := stack(); strings.Count(s, "waitsHere") != 1 || !strings.Contains(s, "left behind") || !strings.Contains(s, "blocked on never.Receive") {
		r.Fatalf("stack of a closed run:\n%s", s)
	}
}

// The Go SDK has no dynamic handlers to list.
func TestQueryForTheMetadataListsHandlersSorted(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) error {
		workflow.SetCurrentDetails(ctx, "waiting for *stop*")
		for _, name := range []string{"zeta", "alpha"} {
			check(workflow.SetQueryHandlerWithOptions(ctx, name, func() (int, error) { return 0, nil }, workflow.QueryHandlerOptions{Description: "asks " + name}))
			check(workflow.SetUpdateHandlerWithOptions(ctx, name, func(workflow.Context) error { return nil }, workflow.UpdateHandlerOptions{Description: "does " + name}))
			workflow.GetSignalChannelWithOptions(ctx, name, workflow.SignalChannelOptions{Description: "hears " + name})
		}
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return nil
	}})
	run := r.start("main")
	m := ask[*sdkpb.WorkflowMetadata](r, run.GetID(), "__temporal_workflow_metadata")
	equal(r, "type", m.GetDefinition().GetType(), "main")
	equal(r, "details", m.GetCurrentDetails(), "waiting for *stop*")
	list := func(defs []*sdkpb.WorkflowInteractionDefinition) (out []string) {
		for _, d := range defs {
			if !strings.HasPrefix(d.GetName(), "__") {
				out = append(out, d.GetName()+": "+d.GetDescription())
			}
		}
		return out
	}
	equal(r, "queries", list(m.GetDefinition().GetQueryDefinitions()), []string{"alpha: asks alpha", "zeta: asks zeta"})
	equal(r, "signals", list(m.GetDefinition().GetSignalDefinitions()), []string{"alpha: hears alpha", "stop: ", "zeta: hears zeta"})
	equal(r, "updates", list(m.GetDefinition().GetUpdateDefinitions()), []string{"alpha: does alpha", "zeta: does zeta"})
}

func TestM103_QueryAnswersTheSameAfterTheWorkerCameBack(t *testing.T) {
	r := newRig(t)
	w := r.newWorker(r.client, r.queue, funcs{"gather": gather}, worker.Options{StickyScheduleToStartTimeout: time.Second})
	r.must(w.Start())
	open, closed := r.start("gather"), r.start("gather")
	for i := range 5 {
		r.signal(open.GetID(), "n", i)
		r.signal(closed.GetID(), "n", i)
	}
	r.signal(closed.GetID(), "stop", nil)
	r.must(closed.Get(r.ctx, nil))
	for _, run := range []client.WorkflowRun{open, closed} {
		equal(r, "before", ask[[]int](r, run.GetID(), "got"), upTo(5))
	}
	w.Stop()
	r.work(funcs{"gather": gather})
	// Until the server has heard of the cancelled polls, a query may go to one of them and gets no answer.
	r.eventually("the new worker answers", func() bool {
		ctx, cancel := context.WithTimeout(r.ctx, 2*time.Second)
		defer cancel()
		_, err := r.client.QueryWorkflow(ctx, closed.GetID(), "", "got")
		return err == nil
	})
	for _, run := range []client.WorkflowRun{open, closed} {
		equal(r, "after", ask[[]int](r, run.GetID(), "got"), upTo(5))
	}
	r.signal(open.GetID(), "n", 5)
	equal(r, "with one more", ask[[]int](r, open.GetID(), "got"), upTo(6))
}

func TestM104_QueryHandlerThatPanicsFailsTheQueryAlone(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"main": func(ctx workflow.Context) (string, error) {
		check(workflow.SetQueryHandler(ctx, "panics", func() (int, error) { panic("out of order") }))
		check(workflow.SetQueryHandler(ctx, "works", func() (string, error) { return "fine", nil }))
		workflow.GetSignalChannel(ctx, "stop").Receive(ctx, nil)
		return "done", nil
	}})
	run := r.start("main")
	for range 3 {
		if why := r.refused(run.GetID(), "panics"); !strings.Contains(why, "out of order") {
			r.Fatalf("reason: %s", why)
		}
		equal(r, "another query", ask[string](r, run.GetID(), "works"), "fine")
	}
	r.signal(run.GetID(), "stop", nil)
	equal(r, "result", result[string](r, run), "done")
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
}

func TestM105_QueryResultOfAnotherTypeIsTheClientsErrorAlone(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	r.signal(run.GetID(), "n", 0)
	v, err := r.client.QueryWorkflow(r.ctx, run.GetID(), "", "got")
	r.must(err)
	var text string
	if err := v.Get(&text); err == nil {
		r.Fatalf("a list of numbers was read as the text %q", text)
	}
	var numbers []int
	r.must(v.Get(&numbers))
	equal(r, "numbers", numbers, upTo(1))
	r.signal(run.GetID(), "stop", nil)
	r.must(run.Get(r.ctx, nil))
	equal(r, "failed workflow tasks", r.count(run, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED), 0)
}

// Queries, signals and updates at once: each query sees at least what was acknowledged before it, and never less than the one
// before.
func TestQueriesNeverGoBackInTime(t *testing.T) {
	r := newRig(t)
	r.work(funcs{"gather": gather})
	run := r.start("gather")
	const signals = 60
	acknowledged := make(chan int, signals)
	go func() {
		defer close(acknowledged)
		for i := range signals {
			if r.client.SignalWorkflow(r.ctx, run.GetID(), "", "n", i) != nil {
				return
			}
			acknowledged <- i
		}
	}()
	last := 0
	for i := range acknowledged {
		got := ask[[]int](r, run.GetID(), "got")
		if len(got) < max(last, i+1) || !slices.Equal(got, upTo(len(got))) {
			r.Fatalf("after signal %d and an answer of %d numbers: %v", i, last, got)
		}
		last = len(got)
	}
	equal(r, "numbers in the end", last, signals)
	r.signal(run.GetID(), "stop", nil)
	r.must(run.Get(r.ctx, nil))
}
