package oracle

import (
	"context"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/grpc/codes"
)

// bothForgetting plays a scenario on servers of its own that keep their data when they are killed.
func bothForgetting(t *testing.T, play func(w *world)) {
	t.Helper()
	t.Parallel()
	p, err := home.open(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	playOn(t, p, play)
}

// loseMemory kills the server and starts it again over what it had stored.
func (w *world) loseMemory() {
	if err := w.server.restart(w.ctx); err != nil {
		w.stop("restart: %v", err)
	}
	w.note("the server was killed and started")
}

// lost is a call that was under way when the server was killed.
func (p *pending) lost() {
	p.wait()
	is(p.w, "code", codeOf(p.err), codes.Unavailable)
}

// What of a run is only in the server's memory, and what is not. All of it is in one test because starting servers takes long.
func TestM136_M138_M162_M163_M165_M166_WhatAServerForgets(t *testing.T) {
	bothForgetting(t, func(w *world) {
		queue := func(name string) func(*starting) {
			return func(r *starting) { r.TaskQueue = queueNamed(w.queue + "-" + name) }
		}
		idle := func(name string) run {
			r := w.start(name, queue(name))
			w.finish(w.pollOn(queueNamed(w.queue + "-" + name)))
			return r
		}
		poll := func(name string) *task { return w.pollOn(queueNamed(w.queue + "-" + name)) }

		completed := idle("completed")
		u := w.update(completed, "u")
		task := poll("completed")
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)
		closed := idle("closed")
		u = w.update(closed, "u")
		task = poll("closed")
		w.finish(task, takeUpdates(task), commands(completeWorkflow()))
		u.stage(stageCompleted)
		accepted := idle("accepted")
		half := w.update(accepted, "u", waitFor(stageAccepted))
		task = poll("accepted")
		w.finish(task, acceptUpdates(task))
		half.stage(stageAccepted)
		scheduled := idle("scheduled")
		lost := []*pending{w.admitted(scheduled, "u")}
		started := idle("started")
		lost = append(lost, w.update(started, "u"))
		startedTask := poll("started")
		w.first(startedTask)
		embedded := w.start("embedded", queue("embedded"))
		lost = append(lost, w.admitted(embedded, "u"))
		embeddedTask := poll("embedded")
		bare := w.start("bare", queue("bare"))
		lost = append(lost, w.admitted(bare, "u"))
		bareTask := poll("bare")
		buffered := idle("buffered")
		w.signal(buffered, "first")
		bufferedTask := poll("buffered")
		w.signal(buffered, "second", requestID("second"))
		queried := idle("queried")
		w.signal(queried, "go")
		lost = append(lost, w.waitingQuery(queried, "q"))

		w.loseMemory()
		for _, p := range lost {
			p.lost()
		}

		w.note("completed updates")
		for _, r := range []run{completed, closed} {
			w.fine(w.pollUpdate(r, "u", stageCompleted))
			w.fine(w.tryUpdate("again", w.updates(r, "u")))
		}
		w.shape(completed, idleShape+secondTask+done)
		w.shape(closed, idleShape+secondTask+done+" Completed")

		w.note("an accepted update")
		w.fine(w.pollUpdate(accepted, "u", stageAccepted))
		w.signal(accepted, "go")
		w.finish(poll("accepted"), respondUpdate("u"))
		w.fine(w.pollUpdate(accepted, "u", stageCompleted))

		w.note("a speculative task that was scheduled")
		w.shape(scheduled, idleShape)
		w.refused(w.pollUpdate(scheduled, "u", stageUnspecified), codes.NotFound, `update "u" not found`)
		if t := w.tryPoll(queueNamed(w.queue+"-scheduled"), 3*time.Second); t != nil {
			w.see("unexpected task", t)
		}
		u = w.update(scheduled, "u")
		task = poll("scheduled")
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)

		w.note("a speculative task that was started")
		_, err := w.complete(startedTask, takeUpdates(startedTask))
		w.refused(err, codes.NotFound, taskGone)
		w.shape(started, idleShape)
		u = w.update(started, "u")
		task = poll("started")
		w.finish(task, takeUpdates(task))
		u.stage(stageCompleted)

		w.note("a first task whose update was accepted with its request")
		w.finish(embeddedTask, takeUpdates(embeddedTask))
		w.shape(embedded, idleShape+done)
		w.fine(w.pollUpdate(embedded, "u", stageCompleted))

		w.note("a first task whose update was accepted without its request")
		m := w.first(bareTask)
		_, err = w.complete(bareTask, messages(accept(m, func(a *updatepb.Acceptance) { a.AcceptedRequest = nil }), respond(m)))
		w.refused(err, codes.InvalidArgument, "BadUpdateWorkflowExecutionMessage: update u wasn't found on the server. This is most likely a transient error which will be resolved automatically by retries")
		events := w.shape(bare, "Started WFTScheduled WFTStarted WFTFailed WFTScheduled")
		is(w, "cause", w.at(events, 3).GetWorkflowTaskFailedEventAttributes().GetCause(), enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE)

		w.note("a signal that was buffered")
		w.fine(w.signal(buffered, "second", requestID("second")))
		w.finish(bufferedTask)
		w.shape(buffered, idleShape+" Signaled"+secondTask+" Signaled WFTScheduled")

		w.note("a task that was scheduled, with a query that waited")
		task = poll("queried")
		is(w, "attached", len(task.GetQueries()), 0)
		w.finish(task)
	})
}

// restart is for one server of a pair; the other goes its own way.
func (s *server) restart(ctx context.Context) error {
	s.process.Kill()
	if err := s.run(); err != nil {
		return err
	}
	return s.ready(ctx)
}
