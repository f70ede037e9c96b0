package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// story tells what a client can do with baskets, in the same steps and words as the other languages.
type story struct {
	ctx    context.Context
	client client.Client
	queue  string
	prefix string
	steps  int
	err    error // the first thing that should not have gone wrong; the rest is skipped
}

// step prints what a step came to.
func (s *story) step(title string, outcome any) {
	if s.err != nil {
		return
	}
	s.steps++
	text, ok := outcome.(string)
	if !ok {
		text = plain(outcome)
	}
	fmt.Printf("%2d %s: %s\n", s.steps, title, text)
}

// plain is a value as JSON with sorted keys.
func plain(v any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(out.Bytes()))
}

// reason names a failure as all languages do: type, message and details.
func reason(err error) string {
	var failed *temporal.ApplicationError
	if !errors.As(err, &failed) {
		return fmt.Sprintf("no application failure: %v", err)
	}
	text := failed.Type() + ", " + failed.Message()
	if failed.HasDetails() {
		var detail any
		if err := failed.Details(&detail); err != nil {
			return err.Error()
		}
		text += ", " + plain(detail)
	}
	return text
}

func (s *story) check(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *story) options(part string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: s.prefix + part, TaskQueue: s.queue, WorkflowExecutionTimeout: storyLimit}
}

func (s *story) start(part string) client.WorkflowRun {
	run, err := s.client.ExecuteWorkflow(s.ctx, s.options(part), "Basket", map[string]any{"owner": "Ada"})
	s.check(err)
	return run
}

func (s *story) signal(part, name string, args ...any) {
	s.check(s.client.SignalWorkflow(s.ctx, s.prefix+part, "", name, several(args)))
}

// query returns the answer, or why there is none.
func (s *story) query(part, name string, args ...any) any {
	value, err := s.client.QueryWorkflow(s.ctx, s.prefix+part, "", name, args...)
	var failed *serviceerror.QueryFailed
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &failed):
		return "failed, " + failed.Message
	case errors.As(err, &missing):
		return "not found"
	case err != nil:
		s.check(err)
		return nil
	}
	var out any
	s.check(value.Get(&out))
	return out
}

// update returns the answer, or why there is none.
func (s *story) update(part, name string, args ...any) any {
	handle := s.startUpdate(part, name, client.WorkflowUpdateStageCompleted, args...)
	if s.err != nil {
		return nil
	}
	return s.outcome(handle)
}

func (s *story) startUpdate(part, name string, stage client.WorkflowUpdateStage, args ...any) client.WorkflowUpdateHandle {
	handle, err := s.client.UpdateWorkflow(s.ctx, client.UpdateWorkflowOptions{
		WorkflowID: s.prefix + part, UpdateName: name, Args: args, WaitForStage: stage,
	})
	s.check(err)
	return handle
}

func (s *story) outcome(handle client.WorkflowUpdateHandle) any {
	var out any
	if err := handle.Get(s.ctx, &out); err != nil {
		return "refused, " + reason(err)
	}
	return out
}

// lastLine waits for so many lines and returns the last.
func (s *story) lastLine(part string, count int) string {
	lines, ok := s.update(part, "wait_for_lines", count).([]any)
	if !ok || len(lines) != count {
		return fmt.Sprintf("%d lines expected: %v", count, lines)
	}
	return fmt.Sprint(lines[count-1])
}

// signalWithStart returns the run that was signalled.
func (s *story) signalWithStart(part, name string, args ...any) string {
	input := map[string]any{"owner": "Joan"}
	run, err := s.client.SignalWithStartWorkflow(s.ctx, s.prefix+part, name, several(args), s.options(part), "Basket", input)
	s.check(err)
	if s.err != nil {
		return ""
	}
	return run.GetRunID()
}

// updateWithStart returns the update's outcome and the run it went to.
func (s *story) updateWithStart(part, name string, args ...any) (any, string) {
	options := s.options(part)
	options.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	start := s.client.NewWithStartWorkflowOperation(options, "Basket", map[string]any{"owner": "Joan"})
	handle, err := s.client.UpdateWithStartWorkflow(s.ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName: name, Args: args, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	s.check(err)
	if s.err != nil {
		return nil, ""
	}
	return s.outcome(handle), handle.RunID()
}

func (s *story) status(part string) string {
	described, err := s.client.DescribeWorkflowExecution(s.ctx, s.prefix+part, "")
	s.check(err)
	return strings.ToUpper(described.GetWorkflowExecutionInfo().GetStatus().String())
}

// counted counts signals, accepted updates and completed updates in a history.
func (s *story) counted(part string) []int {
	counts := make([]int, 3)
	it := s.client.GetWorkflowHistory(s.ctx, s.prefix+part, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		event, err := it.Next()
		if err != nil {
			s.check(err)
			break
		}
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			counts[0]++
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
			counts[1]++
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
			counts[2]++
		}
	}
	return counts
}

func either(so bool, yes, no string) string {
	if so {
		return yes
	}
	return no
}

func same(runID, other string) string { return either(runID == other, "same run", "another run") }

func tell(ctx context.Context, c client.Client, queue string) error {
	s := &story{ctx: ctx, client: c, queue: queue, prefix: "cross-go-" + uuid.NewString() + "/"}
	run := s.start("a")
	if s.err != nil {
		return s.err
	}
	s.signals()
	s.queries()
	s.updates()
	s.withStart(run)
	s.ends(run)
	return s.err
}

func (s *story) signals() {
	s.signal("a", "touch")
	s.step("signal without argument", s.lastLine("a", 1))
	s.signal("a", "remark", "größer als ½ ✓")
	s.step("signal with one argument", s.lastLine("a", 2))
	s.signal("a", "put", Goods{"pear", 3, []string{"ripe", "green"}})
	s.step("signal with an object", s.lastLine("a", 3))
	s.signal("a", "move", "pear", 2, true)
	s.step("signal with several arguments", s.lastLine("a", 4))
}

func (s *story) queries() {
	s.step("query without argument", s.query("a", "lines"))
	s.step("query with several arguments", []any{s.query("a", "has", "pear", 3), s.query("a", "has", "pear", 4)})
	s.step("query for an object", s.query("a", "summary"))
	s.step("query that fails", s.query("a", "weigh"))
	_, failed := s.query("a", "taste").(string)
	s.step("query nobody knows", either(failed, "failed", "answered"))
	s.step("query to nobody", s.query("nobody", "lines"))
}

func (s *story) updates() {
	s.step("update", s.update("a", "take", "pear", 1))
	s.step("update with an object", s.update("a", "fill", Goods{"fig", 2, []string{}}))
	s.step("update rejected by its validator", s.update("a", "take", "pear", 0))
	s.step("update that fails", s.update("a", "take", "pear", 9))
	text, _ := s.update("a", "juggle").(string)
	s.step("update nobody knows", either(strings.HasPrefix(text, "refused"), "refused", "answered"))

	later := s.startUpdate("a", "wait_for_lines", client.WorkflowUpdateStageAccepted, 6)
	if s.err != nil {
		return
	}
	s.signal("a", "touch")
	again := s.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{
		WorkflowID: s.prefix + "a", UpdateID: later.UpdateID(),
	})
	s.step("update accepted now and answered later", s.outcome(later))
	s.step("the same, asked for by its ID", plain(s.outcome(again)) == plain(s.outcome(later)))
	s.step("signals, accepted and completed updates", s.counted("a"))
}

func (s *story) withStart(run client.WorkflowRun) {
	runID := s.signalWithStart("a", "remark", "hello again")
	s.step("signal-with-start, running", s.lastLine("a", 7)+", "+same(runID, run.GetRunID()))
	s.signalWithStart("b", "move", "plum", 5, false)
	s.step("signal-with-start, not running", s.lastLine("b", 1))

	left, runID := s.updateWithStart("a", "take", "pear", 1)
	s.step("update-with-start, running", plain(left)+", "+same(runID, run.GetRunID()))
	left, _ = s.updateWithStart("c", "fill", Goods{"kiwi", 1, []string{}})
	s.step("update-with-start, not running", plain(left)+", "+s.lastLine("c", 1))
	refused, _ := s.updateWithStart("d", "take", "kiwi", -1)
	s.step("update-with-start, rejected", fmt.Sprintf("%v, %s", refused, s.status("d")))
}

func (s *story) ends(run client.WorkflowRun) {
	options := s.options("a")
	options.WorkflowExecutionErrorWhenAlreadyStarted = true
	_, err := s.client.ExecuteWorkflow(s.ctx, options, "Basket", map[string]any{"owner": "Joan"})
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	s.step("start of what is running", either(errors.As(err, &started), "already started", "started"))

	s.signal("a", "close")
	var result any
	s.check(run.Get(s.ctx, &result))
	s.step("result", result)
	s.step("query after the end", s.query("a", "has", "fig", 2))
	err = s.client.SignalWorkflow(s.ctx, s.prefix+"a", "", "touch", several{})
	var missing *serviceerror.NotFound
	s.step("signal after the end", either(errors.As(err, &missing), "not found", "taken"))

	s.signal("b", "spill", "over there", 7)
	s.step("a workflow that fails", reason(s.client.GetWorkflow(s.ctx, s.prefix+"b", "").Get(s.ctx, nil)))
	s.check(s.client.CancelWorkflow(s.ctx, s.prefix+"c", ""))
	var cancelled *temporal.CanceledError
	err = s.client.GetWorkflow(s.ctx, s.prefix+"c", "").Get(s.ctx, nil)
	s.step("a workflow that is cancelled", either(errors.As(err, &cancelled), "cancelled", "not cancelled"))
	s.check(s.client.TerminateWorkflow(s.ctx, s.prefix+"d", "", "enough"))
	var terminated *temporal.TerminatedError
	err = s.client.GetWorkflow(s.ctx, s.prefix+"d", "").Get(s.ctx, nil)
	s.step("a workflow that is terminated", either(errors.As(err, &terminated), "terminated", "not terminated"))
}
