package worker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/internal/replay"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// -record makes the histories of testdata/histories that are missing. What is there is never made anew: it is what users have.
var record = flag.Bool("record", false, "record the histories of the corpus that are missing")

const corpusFolder = "testdata/histories"

// scene is where a story of the corpus happens.
type scene struct {
	*testing.T
	ctx  context.Context
	c    *client.Client
	q    string
	stop func() // stops the worker
}

// work starts a worker, with all types or with these.
func (s *scene) work(types ...corpusType) {
	s.Helper()
	if len(types) == 0 {
		types = corpusTypes
	}
	w := worker.New(s.c, s.q, worker.Options{})
	for _, t := range types {
		t.work(w)
	}
	for _, a := range []any{CorpusEcho, CorpusBroken, CorpusFlaky, CorpusStuck, CorpusLate} {
		w.Activity(a)
	}
	ok(s, w.Start())
	s.stop = w.Stop
	s.Cleanup(w.Stop)
}

func (s *scene) options(id string) client.StartOptions {
	return client.StartOptions{ID: s.q + id, TaskQueue: s.q, ExecutionTimeout: time.Minute}
}

func (s *scene) poke(h *client.AnyHandle, name string, args ...any) {
	s.Helper()
	ok(s, h.SignalByName(s.ctx, name, args...))
}

func (s *scene) update(h *client.AnyHandle, name string, args ...any) {
	s.Helper()
	_, err := h.UpdateByName(s.ctx, name, args...)
	ok(s, err)
}

func (s *scene) eventually(what string, holds func() bool) {
	s.Helper()
	for !holds() {
		if s.ctx.Err() != nil {
			s.Fatal(what, "does not come")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// resetToActivity goes back to where the first activity has come back. Signals and updates since then come again.
func (s *scene) resetToActivity(h *client.AnyHandle) *client.AnyHandle {
	s.Helper()
	s.eventually("the child", func() bool { return s.has(h, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED) })
	back := int64(0)
	for e, err := range h.History(s.ctx) {
		ok(s, err)
		if e.EventType == enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED {
			back = e.EventId
		}
		if e.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED && back > 0 {
			back = e.EventId
			break
		}
	}
	_, err := s.c.Service().ResetWorkflowExecution(s.ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: s.c.Namespace(), WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: h.ID(), RunId: h.FirstRunID()},
		WorkflowTaskFinishEventId: back, RequestId: uuid.NewString(), Reason: "once more",
	})
	ok(s, err)
	return s.c.Handle(h.ID(), "")
}

// has says whether a history has an event of a type.
func (s *scene) has(h *client.AnyHandle, t enumspb.EventType) bool {
	for e, err := range h.History(s.ctx) {
		if err == nil && e.EventType == t {
			return true
		}
	}
	return false
}

// run starts a workflow by name.
func (s *scene) run(id, name string, args ...any) *client.AnyHandle {
	s.Helper()
	return must[*client.AnyHandle](s)(s.c.StartByName(s.ctx, name, s.options(id), args...))
}

func (s *scene) ends(h *client.AnyHandle, want string) {
	s.Helper()
	v, err := h.Result(s.ctx)
	ok(s, err)
	var got any
	ok(s, v.Get(&got))
	if fmt.Sprint(got) != want {
		s.Fatalf("got %v, want %s", got, want)
	}
}

func (s *scene) fails(h *client.AnyHandle, with string) {
	s.Helper()
	if _, err := h.Result(s.ctx); err == nil || !strings.Contains(err.Error(), with) {
		s.Fatalf("got %v, want %s", err, with)
	}
}

// corpus is every story, and the histories that it leaves, by the names of the files. tell gives their workflows.
var corpus = []struct {
	files []string
	tell  func(s *scene) []*client.AnyHandle
}{
	{[]string{"messages"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusMessages", CorpusInput{Name: "m"})
		s.poke(h, "Zero")
		s.poke(h, "One", "ü")
		s.poke(h, "Two", "x", 2)
		s.poke(h, "Three", CorpusInput{"in", map[string]int{"a": 1}}, []byte("\x00\xff"), nil)
		s.poke(h, "Custom Signal Name", "c")
		s.poke(h, "Whatever", 1, 2, 3)
		s.poke(h, "One", map[string]int{"not": 1}) // dropped: it is no string
		for _, u := range []struct {
			name string
			args []any
			ok   bool
		}{
			{"Say", []any{"hello"}, true}, {"Say", []any{""}, false}, {"Refuse", nil, false}, {"Add", []any{1, 2}, true},
			{"Void", []any{CorpusInput{Name: "v"}}, true}, {"Unheard", []any{1, nil}, true}, {"Say", []any{""}, false},
		} {
			if _, err := h.UpdateByName(s.ctx, u.name, u.args...); (err == nil) != u.ok {
				s.Fatalf("%s %v: %v", u.name, u.args, err)
			}
		}
		_, err := h.QueryByName(s.ctx, "Got")
		ok(s, err)
		s.update(h, "Finish")
		_, err = h.Result(s.ctx)
		ok(s, err)
		return []*client.AnyHandle{h}
	}},
	{[]string{"messages-with-start", "messages-update-with-start"}, func(s *scene) []*client.AnyHandle {
		s.work()
		o := s.options("/signal")
		h := must[*client.Handle[*CorpusMessages, []string]](s)(client.SignalWithStart2(s.ctx, s.c, client.WithStart((*CorpusMessages).Run, CorpusInput{Name: "s"}, o), (*CorpusMessages).Two, "w", 1))
		must[bool](s)(client.Update0(s.ctx, h, (*CorpusMessages).Finish))
		o = s.options("/update")
		o.IDConflict = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL
		op := client.WithStart((*CorpusMessages).Run, CorpusInput{Name: "u"}, o)
		must[string](s)(client.UpdateWithStart(s.ctx, s.c, op, (*CorpusMessages).Say, "early"))
		u := s.c.Handle(o.ID, "")
		s.update(u, "Finish")
		s.ends(u, "[u said early Say]")
		return []*client.AnyHandle{s.c.Handle(h.ID(), ""), u}
	}},
	// Speculative tasks that are dropped leave nothing, but what came with them comes again.
	{[]string{"messages-dropped-tasks"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusMessages", CorpusInput{Name: "d"})
		for i, say := range []string{"", "a", "", "", "b", ""} {
			_, err := h.UpdateByName(s.ctx, "Say", say)
			if (err != nil) != (say == "") {
				s.Fatalf("%d: %v", i, err)
			}
			s.poke(h, "One", fmt.Sprint(i))
		}
		s.update(h, "Finish")
		s.ends(h, "[d one 0 said a Say one 1 one 2 one 3 said b Say one 4 one 5]")
		return []*client.AnyHandle{h}
	}},
	// A worker goes, with what it knew, and another takes over.
	{[]string{"messages-other-worker"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusMessages", CorpusInput{Name: "r"})
		s.update(h, "Say", "one")
		s.poke(h, "Custom Signal Name", "two")
		s.stop()
		s.poke(h, "Custom Signal Name", "three")
		s.work()
		s.update(h, "Say", "four")
		s.update(h, "Finish")
		_, err := h.Result(s.ctx)
		ok(s, err)
		return []*client.AnyHandle{h}
	}},
	{[]string{"init-fails"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusInit", "this")
		s.fails(h, "cannot be this")
		return []*client.AnyHandle{h}
	}},
	{[]string{"dynamic-workflow"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusUnheard", 1, "two")
		s.ends(h, "echo CorpusUnheard 2")
		return []*client.AnyHandle{h}
	}},
	{[]string{"timers"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusTimers")
		s.eventually("the last timer", func() bool {
			n := 0
			for e, err := range h.History(s.ctx) {
				if err == nil && e.EventType == enumspb.EVENT_TYPE_TIMER_STARTED {
					n++
				}
			}
			return n == 5
		})
		s.poke(h, "Go")
		s.ends(h, "true true <nil> false true")
		return []*client.AnyHandle{h}
	}},
	{[]string{"activities"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusActivities")
		s.ends(h, "3 true true true true true true")
		return []*client.AnyHandle{h}
	}},
	{[]string{"local-activities"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusLocals")
		s.ends(h, "echo a 3 true echo t")
		return []*client.AnyHandle{h}
	}},
	{[]string{"children"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusParent")
		s.eventually("the child to terminate", func() bool { return s.c.Handle(s.q+"/terminated", "").Terminate(s.ctx, "enough") == nil })
		s.ends(h, "nameless failed already wait canceled canceled canceled terminated timeout ")
		ok(s, s.c.Handle(s.q+"/abandoned", "").Terminate(s.ctx, "no longer needed"))
		return []*client.AnyHandle{h}
	}},
	{[]string{"externals", "child-cancelled", "child-signalled"}, func(s *scene) []*client.AnyHandle {
		s.work()
		one, two := s.run("/target/1", "CorpusChild", "wait"), s.run("/target/2", "CorpusChild", "wait")
		h := s.run("", "CorpusExternals", s.q+"/target")
		s.ends(h, "<nil> <nil> true true")
		s.fails(one, "canceled")
		s.ends(two, "wait")
		return []*client.AnyHandle{h, one, two}
	}},
	{[]string{"scopes-cancelled"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusScopes")
		s.eventually("a timer that is cancelled", func() bool { return s.has(h, enumspb.EVENT_TYPE_TIMER_CANCELED) })
		ok(s, h.Cancel(s.ctx, "enough"))
		s.fails(h, "canceled")
		return []*client.AnyHandle{h}
	}},
	{[]string{"side-effects-and-chance"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusMarkers")
		s.ends(h, "42 {side map[a:42]} true")
		return []*client.AnyHandle{h}
	}},
	{[]string{"versions-before"}, func(s *scene) []*client.AnyHandle {
		s.work(corpusOf[*CorpusVersionsBefore]())
		h := s.run("", "CorpusVersions")
		s.ends(h, "echo step")
		return []*client.AnyHandle{h}
	}},
	{[]string{"versions-between"}, func(s *scene) []*client.AnyHandle {
		s.work(corpusOf[*CorpusVersionsBetween]())
		h := s.run("", "CorpusVersions")
		s.ends(h, "1")
		return []*client.AnyHandle{h}
	}},
	{[]string{"versions-after"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusVersions")
		s.ends(h, "2 2")
		return []*client.AnyHandle{h}
	}},
	{[]string{"continue-as-new-first", "continue-as-new-last"}, func(s *scene) []*client.AnyHandle {
		s.work()
		o := s.options("")
		o.Memo, o.Retry = map[string]any{"m": 1}, &client.RetryPolicy{MaximumAttempts: 3}
		h := must[*client.AnyHandle](s)(s.c.StartByName(s.ctx, "CorpusChain", o, 0))
		s.ends(h, "2")
		return []*client.AnyHandle{h, s.c.Handle(h.ID(), "")}
	}},
	{[]string{"attributes-and-memo"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusAttributes")
		s.ends(h, "2")
		return []*client.AnyHandle{h}
	}},
	{[]string{"concurrency"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusConcurrency")
		s.ends(h, "4 1")
		return []*client.AnyHandle{h}
	}},
	{[]string{"runtime-handlers"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusRuntime")
		s.poke(h, "early", 1)
		if _, err := h.UpdateByName(s.ctx, "push", 1, 2); err == nil {
			s.Fatal("the validator of a handler set at run time is not asked")
		}
		s.update(h, "push", "x")
		s.poke(h, "late")
		s.eventually("two signals that are handled", func() bool {
			v, err := h.QueryByName(s.ctx, "got")
			var got []string
			return err == nil && v.Get(&got) == nil && len(got) == 3
		})
		s.poke(h, "end")
		s.fails(h, "the end")
		return []*client.AnyHandle{h}
	}},
	{[]string{"reset-old-run", "reset-new-run"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusReset")
		s.poke(h, "Poke")
		again := s.resetToActivity(h)
		s.poke(again, "Poke")
		s.update(again, "Push", 3)
		s.ends(again, "child 2 3")
		return []*client.AnyHandle{h, again}
	}},
	{[]string{"reset-with-update-old-run", "reset-with-update-new-run"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusReset")
		s.eventually("the child", func() bool { return s.has(h, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED) })
		s.update(h, "Push", 1)
		again := s.resetToActivity(h)
		s.poke(again, "Poke")
		s.poke(again, "Poke")
		s.update(again, "Push", 2)
		s.ends(again, "child 2 3")
		return []*client.AnyHandle{h, again}
	}},
	{[]string{"drain"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusDrain")
		s.poke(h, "Forever")
		u := must[*client.UpdateHandle[string]](s)(client.StartUpdate0(s.ctx, client.HandleOf[*CorpusDrain, bool](s.c, h.ID(), ""), (*CorpusDrain).Long, client.UpdateOptions{WaitFor: client.Accepted}))
		s.poke(h, "Leave")
		must[string](s)(u.Result(s.ctx))
		s.ends(h, "false")
		return []*client.AnyHandle{h}
	}},
	{[]string{"failed-task"}, func(s *scene) []*client.AnyHandle {
		s.work()
		corpusTrips.Store(1)
		h := s.run("", "CorpusTrip")
		s.poke(h, "Poke")
		s.eventually("a task that fails", func() bool { return s.has(h, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED) })
		_, err := h.Result(s.ctx)
		ok(s, err)
		return []*client.AnyHandle{h}
	}},
	// Somebody takes a task and is never heard of again.
	{[]string{"task-timeout"}, func(s *scene) []*client.AnyHandle {
		o := s.options("")
		o.TaskTimeout = time.Second
		h := must[*client.AnyHandle](s)(s.c.StartByName(s.ctx, "CorpusMessages", o, CorpusInput{Name: "late"}))
		_, err := s.c.Service().PollWorkflowTaskQueue(s.ctx, &workflowservice.PollWorkflowTaskQueueRequest{
			Namespace: s.c.Namespace(), TaskQueue: &taskqueuepb.TaskQueue{Name: s.q}, Identity: "somebody",
		})
		ok(s, err)
		s.poke(h, "Zero")
		s.eventually("the timeout", func() bool { return s.has(h, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT) })
		s.work()
		s.update(h, "Finish")
		s.ends(h, "[late zero]")
		return []*client.AnyHandle{h}
	}},
	{[]string{"terminated", "timed-out"}, func(s *scene) []*client.AnyHandle {
		s.work()
		o := s.options("/late")
		o.RunTimeout = time.Second
		late := must[*client.AnyHandle](s)(s.c.StartByName(s.ctx, "CorpusChild", o, "wait"))
		h := s.run("", "CorpusChild", "wait")
		s.eventually("the first task", func() bool { return s.has(h, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) })
		ok(s, h.Terminate(s.ctx, "enough"))
		s.fails(late, "timed out")
		return []*client.AnyHandle{h, late}
	}},
	{[]string{"retried-first", "retried-last"}, func(s *scene) []*client.AnyHandle {
		s.work()
		o := s.options("")
		o.Retry = &client.RetryPolicy{InitialInterval: time.Millisecond}
		h := must[*client.AnyHandle](s)(s.c.StartByName(s.ctx, "CorpusRetried", o))
		_, err := h.Result(s.ctx)
		ok(s, err)
		return []*client.AnyHandle{h, s.c.Handle(h.ID(), "")}
	}},
	{[]string{"long"}, func(s *scene) []*client.AnyHandle {
		s.work()
		h := s.run("", "CorpusLong", 5, 20)
		for i := range 40 {
			s.poke(h, "Add", i%2)
		}
		s.ends(h, "20")
		return []*client.AnyHandle{h}
	}},
}

func corpusPath(name string) string { return filepath.Join(corpusFolder, name+".json") }

// TestCorpusIsThere checks that each story has its histories, and no other histories are there. With -record it makes those that
// are missing.
func TestCorpusIsThere(t *testing.T) {
	known := map[string]bool{}
	for _, story := range corpus {
		missing := false
		for _, name := range story.files {
			known[name+".json"] = true
			if _, err := os.Stat(corpusPath(name)); err != nil {
				missing = true
			}
		}
		switch {
		case missing && *record:
			t.Run(story.files[0], func(t *testing.T) { recordStory(t, story.files, story.tell) })
		case missing:
			t.Errorf("%s: a history is missing; go test ./worker -run TestCorpusIsThere -record", story.files)
		}
	}
	files, err := os.ReadDir(corpusFolder)
	ok(t, err)
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("%s belongs to no story", f.Name())
		}
	}
}

func recordStory(t *testing.T, files []string, tell func(*scene) []*client.AnyHandle) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	told := tell(&scene{T: t, ctx: ctx, c: server(t), q: uuid.NewString()})
	if len(told) != len(files) {
		t.Fatalf("%d workflows for %s", len(told), files)
	}
	for i, h := range told {
		if _, err := os.Stat(corpusPath(files[i])); err == nil {
			continue
		}
		history := &historypb.History{}
		for e, err := range h.History(ctx) {
			ok(t, err)
			history.Events = append(history.Events, e)
		}
		text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(history)
		ok(t, err)
		ok(t, os.MkdirAll(corpusFolder, 0o755))
		ok(t, os.WriteFile(corpusPath(files[i]), append(text, '\n'), 0o644))
	}
}

// corpusHistories are all that are there.
func corpusHistories(t *testing.T) map[string]*historypb.History {
	t.Helper()
	files, err := filepath.Glob(corpusPath("*"))
	ok(t, err)
	all := map[string]*historypb.History{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		ok(t, err)
		h := &historypb.History{}
		if err := (temporalproto.CustomJSONUnmarshalOptions{}).Unmarshal(text, h); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".json")] = h
	}
	return all
}

func TestReplayCorpus(t *testing.T) {
	p := worker.NewReplayer()
	for _, w := range corpusTypes {
		w.replay(p)
	}
	for name := range corpusHistories(t) {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(corpusPath(name))
			ok(t, err)
			defer f.Close()
			if err := p.JSON(f); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every event that a history can hold because of what this SDK does is in the corpus, and so is every command.
func TestCorpusIsComplete(t *testing.T) {
	// None of these is a consequence of what the SDK does; rejected updates leave no event. UpdateAdmitted, which resets make, is in the corpus of conformance/own.
	foreign := []string{"WorkflowExecutionUpdateRejected", "Nexus", "Pause", "Unpause", "PropertiesModifiedExternally", "OptionsUpdated", "Skipped", "TimeSkippingTransitioned"}
	events, commands, markers := map[enumspb.EventType]bool{}, map[enumspb.CommandType]bool{}, map[string]bool{}
	for _, h := range corpusHistories(t) {
		for _, e := range h.Events {
			events[e.EventType] = true
			if e.GetWorkflowExecutionUpdateAcceptedEventAttributes() != nil {
				commands[enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE] = true
			}
			if a := e.GetMarkerRecordedEventAttributes(); a != nil {
				markers[a.MarkerName] = true
			}
		}
	}
	for n := range enumspb.EventType_name {
		e := enumspb.EventType(n)
		if n == 0 || events[e] || slices.ContainsFunc(foreign, func(s string) bool { return strings.Contains(e.String(), s) }) {
			continue
		}
		t.Errorf("no history has %s", e)
	}
	made := map[enumspb.CommandType]enumspb.EventType{
		enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:                     enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
		enumspb.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK:               enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
		enumspb.COMMAND_TYPE_START_TIMER:                                enumspb.EVENT_TYPE_TIMER_STARTED,
		enumspb.COMMAND_TYPE_CANCEL_TIMER:                               enumspb.EVENT_TYPE_TIMER_CANCELED,
		enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION:                enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
		enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:                    enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION:                  enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
		enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:         enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
		enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
		enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:         enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
		enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:             enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
		enumspb.COMMAND_TYPE_RECORD_MARKER:                              enumspb.EVENT_TYPE_MARKER_RECORDED,
		enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:          enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
		enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES:                 enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
	}
	for c, e := range made {
		commands[c] = events[e]
	}
	for n := range enumspb.CommandType_name {
		if c := enumspb.CommandType(n); n != 0 && !commands[c] && !strings.Contains(c.String(), "Nexus") {
			t.Errorf("no history has what %s makes", c)
		}
	}
	for _, m := range []string{"Version", "SideEffect", "LocalActivity"} {
		if !markers[m] {
			t.Errorf("no history has a marker %s", m)
		}
	}
}

// These are workflows of the corpus, each with a change that its history does not survive.
type (
	changedOrder    struct{}
	changedActivity struct{}
	changedMore     struct{}
	changedLess     struct{}
	changedTarget   struct{}
	changedSignal   struct{}
	changedChild    struct{}
	changedEnd      struct{}
	changedUpdate   struct{ CorpusMessages }
)

func (*changedOrder) Run(ctx workflow.Context) (string, error) {
	return workflow.Activity(ctx, CorpusEcho, "first", corpusSecond).Get()
}

func (*changedActivity) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	_, err := workflow.ActivityByName[string](ctx, "CorpusRenamed", corpusSecond, "step").Get()
	return "", err
}

func (*changedMore) Run(ctx workflow.Context) (string, error) {
	workflow.NewTimer(ctx, time.Millisecond)
	workflow.NewTimer(ctx, time.Hour)
	return "", workflow.Await(ctx, func() bool { return false })
}

func (*changedLess) Run(ctx workflow.Context) (string, error) {
	return "", workflow.Await(ctx, func() bool { return false })
}

func (*changedTarget) Run(ctx workflow.Context, target string) (string, error) {
	_, err := workflow.External[*CorpusChild]{WorkflowID: target + "/other"}.Cancel(ctx, "enough").Get()
	return "", err
}

func (*changedSignal) Run(ctx workflow.Context, target string) (string, error) {
	_, err := workflow.External[*CorpusChild]{WorkflowID: target + "/1"}.Cancel(ctx, "enough").Get()
	if err != nil {
		return "", err
	}
	_, err = workflow.External[*CorpusChild]{WorkflowID: target + "/2"}.SignalByName(ctx, "Stop").Get()
	return "", err
}

func (*changedChild) Run(ctx workflow.Context) (string, error) {
	return workflow.ChildByName[string](ctx, "CorpusOther", workflow.ChildOptions{}, "nameless").Result().Get()
}

func (*changedEnd) Run(ctx workflow.Context, _ int) (int, error) {
	return 0, workflow.Sleep(ctx, time.Millisecond)
}

func (*changedUpdate) Say(workflow.Context, string) (string, error) { return "at once", nil }

var (
	_ = workflow.Define[*changedOrder](workflow.Name("CorpusVersions"))
	_ = workflow.Define[*changedActivity](workflow.Name("CorpusVersions"))
	_ = workflow.Define[*changedMore](workflow.Name("CorpusVersions"))
	_ = workflow.Define[*changedLess](workflow.Name("CorpusVersions"))
	_ = workflow.Define[*changedTarget](workflow.Name("CorpusExternals"))
	_ = workflow.Define[*changedSignal](workflow.Name("CorpusExternals"))
	_ = workflow.Define[*changedChild](workflow.Name("CorpusParent"))
	_ = workflow.Define[*changedEnd](workflow.Name("CorpusChain"))
	_ = workflow.Define[*changedUpdate](workflow.Name("CorpusMessages"), workflow.Rename((*changedUpdate).Custom, "Custom Signal Name"))
)

func TestCorpusTellsWhereChangedCodeParts(t *testing.T) {
	histories := corpusHistories(t)
	for _, test := range []struct {
		what, history    string
		code             corpusType
		expected, actual string
		placed           bool // the code's step has a line
	}{
		{"another step", "versions-before", corpusOf[*changedOrder](), "TimerStarted", `ScheduleActivityTask "CorpusEcho"`, true},
		{"another activity", "versions-before", corpusOf[*changedActivity](), `ActivityTaskScheduled "CorpusEcho"`, `ScheduleActivityTask "CorpusRenamed"`, true},
		{"one step more", "versions-before", corpusOf[*changedMore](), "", "StartTimer", true},
		{"one step less", "versions-before", corpusOf[*changedLess](), "TimerStarted", "", false},
		{"another workflow cancelled", "externals", corpusOf[*changedTarget](), "RequestCancelExternalWorkflowExecutionInitiated", "RequestCancelExternalWorkflowExecution", true},
		{"another signal", "externals", corpusOf[*changedSignal](), `SignalExternalWorkflowExecutionInitiated "Go"`, `SignalExternalWorkflowExecution "Stop"`, true},
		{"another child", "children", corpusOf[*changedChild](), `StartChildWorkflowExecutionInitiated "CorpusChild"`, `StartChildWorkflowExecution "CorpusOther"`, true},
		{"another end", "continue-as-new-first", corpusOf[*changedEnd](), "WorkflowExecutionContinuedAsNew", "CompleteWorkflowExecution", false},
		{"an update that does less", "messages-dropped-tasks", corpusOf[*changedUpdate](), `ActivityTaskScheduled "CorpusEcho"`, "WorkflowExecutionUpdateCompleted", false},
	} {
		t.Run(test.what, func(t *testing.T) {
			p := worker.NewReplayer()
			test.code.replay(p)
			err := p.Events(histories[test.history].GetEvents())
			var parted *replay.NondeterminismError
			if !errors.As(err, &parted) {
				t.Fatalf("got %v", err)
			}
			if !matchesStep(parted.Expected, test.expected) || !matchesStep(parted.Actual, test.actual) {
				t.Errorf("expected %q, actual %q; want %q and %q", parted.Expected, parted.Actual, test.expected, test.actual)
			}
			if test.placed && !strings.Contains(parted.Where, "corpus_replay_test.go:") {
				t.Errorf("it is at %q", parted.Where)
			}
		})
	}
	// What cannot be told by a step is said in words.
	for _, test := range []struct {
		what, history string
		code          corpusType
		words         []string
	}{
		{"a version that is no longer there", "versions-before", corpusOf[*CorpusVersionsMoved](), []string{"nondeterminism", `"step"`, "-1", "1 to 2"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			p := worker.NewReplayer()
			test.code.replay(p)
			err := p.Events(histories[test.history].GetEvents())
			for _, w := range test.words {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v: does not say %s", err, w)
				}
			}
		})
	}
	// The versions that it still has go on.
	for _, name := range []string{"versions-between", "versions-after"} {
		p := worker.NewReplayer()
		corpusOf[*CorpusVersionsMoved]().replay(p)
		if err := p.Events(histories[name].GetEvents()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// matchesStep compares the kind, and the name where one is wanted.
func matchesStep(got, want string) bool {
	return got == want || want != "" && strings.HasPrefix(got, want+" ")
}
