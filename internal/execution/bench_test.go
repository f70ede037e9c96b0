package execution_test

import (
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// BenchmarkStep measures single steps of a run as long-lived ones are: with a hundred activities and a hundred timers
// pending, which a step must not feel.
func BenchmarkStep(b *testing.B) {
	none := func(string) bool { return false }
	w := newWorld(b)
	env := &execution.Env{Key: workflowKey("w").Run(""), Now: epoch, NewRunID: runName(1), Limits: execution.DefaultLimits(), Namespace: w.ns, StickyAlive: true}
	must := func(tr *execution.Transition) *execution.Transition {
		if tr.Err != nil {
			b.Fatal(tr.Err)
		}
		return tr
	}
	s := &player{world: w}
	start := s.startInput(nil, "w", options{}, none)
	scheduled := must(execution.Step(nil, start, env)).Next
	env.Key = scheduled.Key
	take := func(st *execution.State) (*execution.State, *execution.WorkflowTaskStarted) {
		tr := must(execution.Step(st, execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: st.Key, Seq: st.Info.WFT.Seq}, RequestID: "poll", Identity: "worker"}, env))
		return tr.Next, tr.Answer.(*execution.WorkflowTaskStarted)
	}
	st, a := take(scheduled)
	busy := &workflowservice.RespondWorkflowTaskCompletedRequest{Identity: "worker"}
	for i := range 100 {
		id := string(rune('a'+i%26)) + string(rune('a'+i/26))
		busy.Commands = append(busy.Commands, makeCommand(nil, []string{"activity", id}, options{"stc": "1h"}, none), makeCommand(nil, []string{"timer", id, "1h"}, options{}, none))
	}
	idle := must(execution.Step(st, execution.CompleteWorkflowTask{Token: a.Token, Request: busy}, env)).Next
	signal := execution.SignalWorkflow{Name: "go", Input: payloads("some input"), Identity: "client"}
	woken := must(execution.Step(idle, signal, env)).Next
	started, task := take(woken)
	one := execution.CompleteWorkflowTask{Token: task.Token, Request: &workflowservice.RespondWorkflowTaskCompletedRequest{Identity: "worker",
		Commands: []*commandpb.Command{makeCommand(nil, []string{"activity", "next"}, options{"stc": "1h", "input": "some input"}, none)}}}
	var first *execution.Activity
	for _, x := range idle.Activities.All {
		first = x
		break
	}
	activity := must(execution.Step(idle, execution.StartActivity{Ref: execution.ActivityRef{Run: idle.Key, ScheduledID: first.ScheduledID}, RequestID: "poll", Identity: "worker"}, env))
	token := activity.Answer.(*execution.ActivityStarted).Token

	for _, c := range []struct {
		name string
		st   *execution.State
		in   execution.Input
	}{
		{"start workflow", nil, start},
		{"signal", idle, signal},
		{"signal while started", started, signal},
		{"start workflow task", woken, execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: idle.Key, Seq: woken.Info.WFT.Seq}, RequestID: "poll", Identity: "worker"}},
		{"complete with one activity", started, one},
		{"start activity", idle, execution.StartActivity{Ref: execution.ActivityRef{Run: idle.Key, ScheduledID: first.ScheduledID}, RequestID: "poll", Identity: "worker"}},
		{"heartbeat", activity.Next, execution.HeartbeatActivity{Token: token, Details: payloads("half"), Identity: "worker"}},
		{"complete activity", activity.Next, execution.CompleteActivity{Token: token, Result: payloads("done"), Identity: "worker"}},
		{"update on an idle run", idle, execution.UpdateWorkflow{Request: updateRequest("u", "x"), Wait: 3, Waiter: 1}},
		{"stale task", idle, execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: idle.Key, Seq: 1}, RequestID: "poll"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				execution.Step(c.st, c.in, env)
			}
		})
	}
}

// BenchmarkRebuild measures the fold of a history of some two thousand events.
func BenchmarkRebuild(b *testing.B) {
	none := func(string) bool { return false }
	w := newWorld(b)
	s := &player{world: w}
	w.limits.HistoryEvents = 0
	key := workflowKey("w")
	w.apply(execution.Step(nil, s.startInput(nil, "w", options{}, none), &execution.Env{Key: key.Run(""), Now: epoch, NewRunID: runName(1), Limits: w.limits, Namespace: w.ns}))
	r := w.get(key, "")
	step := func(in execution.Input) *execution.Transition {
		tr := execution.Step(r.st, in, &execution.Env{Key: r.key, Now: epoch, Limits: w.limits, Namespace: w.ns, StickyAlive: true})
		if tr.Err != nil {
			b.Fatal(tr.Err)
		}
		w.apply(tr)
		return tr
	}
	for len(r.events) < 2000 {
		a := step(execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: r.key, Seq: r.st.Info.WFT.Seq}, RequestID: "poll"}).Answer.(*execution.WorkflowTaskStarted)
		step(execution.CompleteWorkflowTask{Token: a.Token, Request: &workflowservice.RespondWorkflowTaskCompletedRequest{Commands: []*commandpb.Command{
			makeCommand(nil, []string{"marker", "seen"}, options{}, none)}}})
		step(execution.SignalWorkflow{Name: "go", Identity: "client"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := execution.Rebuild(ids.RunKey(r.key), r.events); err != nil {
			b.Fatal(err)
		}
	}
}
