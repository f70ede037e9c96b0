package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// teller walks through the story. The first failure makes every later step a no-op, so that the story reads straight.
type teller struct {
	client client.Client
	queue  string
	steps  int
	err    error
}

// step prints what came out under title, or fails the story when that is not want.
func (t *teller) step(title string, got []string, err error, want ...string) {
	if t.err != nil {
		return
	}
	t.steps++
	switch {
	case err != nil:
		t.err = fmt.Errorf("step %d, %s: %w", t.steps, title, err)
	case !slices.Equal(got, want):
		t.err = fmt.Errorf("step %d, %s:\n  got  %q\n  want %q", t.steps, title, got, want)
	default:
		fmt.Printf("%2d %s: %s\n", t.steps, title, strings.Join(got, "; "))
	}
}

// do keeps the first error of what needs no line of its own.
func (t *teller) do(what string, err error) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("after step %d, %s: %w", t.steps, what, err)
	}
}

func (t *teller) options(name string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       t.queue + "-" + name,
		TaskQueue:                t.queue,
		WorkflowExecutionTimeout: storyLimit,
	}
}

func (t *teller) start(ctx context.Context, kind any, arg, name string) string {
	if t.err != nil {
		return ""
	}
	handle, err := t.client.ExecuteWorkflow(ctx, t.options(name), kind, arg)
	t.do("start "+name, err)
	if err != nil {
		return ""
	}
	return handle.GetID()
}

func (t *teller) signal(ctx context.Context, id, name string, arg any) {
	if t.err == nil {
		t.do("signal "+name, t.client.SignalWorkflow(ctx, id, "", name, arg))
	}
}

// query answers with what the handler returned.
func query[T any](ctx context.Context, t *teller, id, name string, args ...any) (answer T, err error) {
	if t.err != nil {
		return answer, t.err
	}
	encoded, err := t.client.QueryWorkflow(ctx, id, "", name, args...)
	if err != nil {
		return answer, err
	}
	return answer, encoded.Get(&answer)
}

func (t *teller) ask(ctx context.Context, title, want, id, name string, args ...any) {
	answer, err := query[string](ctx, t, id, name, args...)
	t.step(title, []string{answer}, err, want)
}

// send starts an update and waits until it has reached stage.
func (t *teller) send(
	ctx context.Context, stage client.WorkflowUpdateStage, id, name string, args ...any,
) (client.WorkflowUpdateHandle, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: args, WaitForStage: stage,
	})
}

// update answers with what the handler returned, or with the error the update ended in.
func (t *teller) update(ctx context.Context, id, name string, args ...any) (answer string, err error) {
	handle, err := t.send(ctx, client.WorkflowUpdateStageCompleted, id, name, args...)
	if err != nil {
		return "", err
	}
	return answer, handle.Get(ctx, &answer)
}

func (t *teller) change(ctx context.Context, title, want, id, name string, args ...any) {
	answer, err := t.update(ctx, id, name, args...)
	t.step(title, []string{answer}, err, want)
}

// turnedDown expects the update to be rejected with the given reason.
func (t *teller) turnedDown(ctx context.Context, title, reason, id, name string, args ...any) {
	answer, err := t.update(ctx, id, name, args...)
	if err == nil {
		t.step(title, []string{"not rejected, but answered " + answer}, nil, reason)
		return
	}
	t.step(title, []string{err.Error()}, nil, reason)
}

// complaint is the first sentence of the SDK's own answer to a name it has no handler for.
func complaint(err error) string {
	if err == nil {
		return "none"
	}
	first, _, _ := strings.Cut(err.Error(), ".")
	return first
}

// result waits for a workflow's end.
func result[T any](ctx context.Context, t *teller, id string) (answer T, err error) {
	if t.err != nil {
		return answer, t.err
	}
	return answer, t.client.GetWorkflow(ctx, id, "").Get(ctx, &answer)
}

// events lists the events of the given kinds in a history, in order; a signal with its name.
func (t *teller) events(ctx context.Context, id string, kinds ...enumspb.EventType) (found []string, err error) {
	if t.err != nil {
		return nil, t.err
	}
	history := t.client.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(kinds, event.GetEventType()) {
			continue
		}
		if s := event.GetWorkflowExecutionSignaledEventAttributes(); s != nil {
			found = append(found, s.GetSignalName())
		} else {
			found = append(found, event.GetEventType().String())
		}
	}
	return found, nil
}

func (t *teller) tell(ctx context.Context) error {
	id := t.start(ctx, Guestbook, "Hello", "main")
	t.messages(ctx, id)
	second := t.signalWithStart(ctx)
	t.betweenWorkflows(ctx, id)
	t.catchAll(ctx, id)
	t.end(ctx, id, second)
	return t.err
}

// messages sends signals, queries and updates whose names the workflow knows.
func (t *teller) messages(ctx context.Context, id string) {
	if t.err != nil {
		return
	}
	described, err := t.client.DescribeWorkflowExecution(ctx, id, "")
	t.step("start", []string{described.GetWorkflowExecutionInfo().GetStatus().String()}, err, "Running")

	t.signal(ctx, id, welcome.name, "Ada")
	t.change(ctx, "signal", "Hello, Ada!", id, waitUpdate, 1)
	t.ask(ctx, "query", "Hello, Ada!", id, latestQuery)

	t.signal(ctx, id, lateArrival.name, "Grace")
	t.change(ctx, "signal with a name of its own", "Hello, late Grace!", id, waitUpdate, 2)
	t.ask(ctx, "query with an argument", "Hello, Ada!", id, entryQuery, 1)

	t.change(ctx, "update", "Hello", id, salutationUpdate, "Good day")
	t.turnedDown(ctx, "update turned down by its validator", "a salutation cannot be blank", id, salutationUpdate, "  ")

	accepted, err := t.send(ctx, client.WorkflowUpdateStageAccepted, id, waitUpdate, 3)
	t.do("update", err)
	if t.err != nil {
		return
	}
	t.signal(ctx, id, welcome.name, "Katherine")
	var later string
	err = t.client.GetWorkflowUpdateHandle(client.GetWorkflowUpdateHandleOptions{
		WorkflowID: id, RunID: accepted.RunID(), UpdateID: accepted.UpdateID(),
	}).Get(ctx, &later)
	t.step("update accepted now and answered later", []string{later}, err, "Good day, Katherine!")
}

// signalWithStart opens a second book and answers with its ID.
func (t *teller) signalWithStart(ctx context.Context) string {
	if t.err != nil {
		return ""
	}
	options := t.options("second")
	first, err := t.client.SignalWithStartWorkflow(ctx, options.ID, welcome.name, "Joan", options, Guestbook, "Welcome")
	t.do("signal-with-start", err)
	t.change(ctx, "signal-with-start, not running yet", "Welcome, Joan!", options.ID, waitUpdate, 1)
	if t.err != nil {
		return ""
	}

	again, err := t.client.SignalWithStartWorkflow(ctx, options.ID, welcome.name, "Frances", options, Guestbook, "Unused")
	t.do("signal-with-start", err)
	written, err := t.update(ctx, options.ID, waitUpdate, 2)
	if t.err != nil {
		return ""
	}
	same := "another run"
	if again.GetRunID() == first.GetRunID() {
		same = "same run"
	}
	t.step("signal-with-start, running", []string{written, same}, err, "Welcome, Frances!", "same run")
	return options.ID
}

// betweenWorkflows lets one workflow signal another.
func (t *teller) betweenWorkflows(ctx context.Context, id string) {
	messenger := t.start(ctx, Messenger, id, "messenger")
	told, err := result[[]string](ctx, t, messenger)
	t.step("signals from another workflow", told, err, "typed", "by name", "no such book")
	t.change(ctx, "signals from another workflow, arrived", "Good day, late Radia!", id, waitUpdate, 5)

	sent, err := t.events(ctx, messenger,
		enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
		enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED,
		enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
	t.step("the messenger's history", sent, err,
		"SignalExternalWorkflowExecutionInitiated", "ExternalWorkflowExecutionSignaled",
		"SignalExternalWorkflowExecutionInitiated", "ExternalWorkflowExecutionSignaled",
		"SignalExternalWorkflowExecutionInitiated", "SignalExternalWorkflowExecutionFailed")
}

// catchAll uses names that no one registered.
func (t *teller) catchAll(ctx context.Context, id string) {
	t.signal(ctx, id, "sing", "la")
	remarks, err := query[[]string](ctx, t, id, remarksQuery)
	t.step("signal of a name not known", remarks, err, "sing(la)")

	_, err = query[string](ctx, t, id, "toast", "today")
	t.step("query of a name not known", []string{complaint(err)}, nil, "unknown queryType toast")
	_, err = t.update(ctx, id, "toast", "Dorothy")
	t.step("update of a name not known", []string{complaint(err)}, nil, "unknown update toast")

	t.change(ctx, "update that registers the name", "toast learned", id, teachUpdate, "toast")
	t.ask(ctx, "query registered at run time", "toast(today) after 5 entries", id, "toast", "today")
	t.change(ctx, "update registered at run time", "noted as remark 2", id, "toast", "Dorothy")
	t.turnedDown(ctx, "its validator", "toast says nothing", id, "toast", "")

	unheard := t.start(ctx, "Never heard of", "Margaret", "dynamic")
	greeting, err := result[string](ctx, t, unheard)
	t.step("dynamic workflow", []string{greeting}, err, "Never heard of: Hello, Margaret!")
}

// end closes both books and looks back.
func (t *teller) end(ctx context.Context, id, second string) {
	t.signal(ctx, second, closeSignal, nil)
	entries, err := result[[]string](ctx, t, second)
	t.step("signal without an argument, dynamic activity", entries, err,
		"Welcome, Joan!", "Welcome, Frances!", "binding of 2 entries")

	t.signal(ctx, id, closeSignal, nil)
	entries, err = result[[]string](ctx, t, id)
	t.step("result", entries, err, "Hello, Ada!", "Hello, late Grace!", "Good day, Katherine!", "Good day, Hedy!",
		"Good day, late Radia!", "binding of 5 entries")

	t.ask(ctx, "query after the end", "Good day, late Radia!", id, latestQuery)
	if t.err == nil {
		var notFound *serviceerror.NotFound
		err = t.client.SignalWorkflow(ctx, id, "", welcome.name, "Too late")
		t.step("signal after the end", []string{fmt.Sprintf("not found: %t", errors.As(err, &notFound))}, nil, "not found: true")
	}

	signals, err := t.events(ctx, id, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
	t.step("signals in the history", signals, err,
		"welcome", "Late arrival", "welcome", "welcome", "Late arrival", "sing", "close")
	accepted, err := t.events(ctx, id, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
	t.do("read the history", err)
	completed, err := t.events(ctx, id, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
	t.step("updates in the history, the rejected ones left no trace",
		[]string{fmt.Sprintf("%d accepted, %d completed", len(accepted), len(completed))}, err, "7 accepted, 7 completed")
}
