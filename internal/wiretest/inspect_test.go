package wiretest

import (
	"strings"
	"testing"
	"time"

	protocolpb "go.temporal.io/api/protocol/v1"
	"google.golang.org/grpc/codes"

	inspectpb "github.com/perdure/perdure/api/inspect/v1"
)

// told are the messages to a workflow, newest first, a line each.
func (r *rig) told(id string) []string {
	r.t.Helper()
	resp := must[*inspectpb.ListMessagesResponse](r)(r.inspect.ListMessages(r.ctx, &inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: id}))
	var lines []string
	for _, m := range resp.Messages {
		line := strings.ToLower(strings.TrimPrefix(m.Kind.String(), "MESSAGE_KIND_")) + " " + m.Name + ":"
		for _, s := range m.Stages {
			line += " " + strings.ToLower(strings.TrimPrefix(s.Stage.String(), "MESSAGE_STAGE_"))
		}
		lines = append(lines, line)
	}
	return lines
}

// story is what is told of one message.
func (r *rig) story(id, message string) string {
	r.t.Helper()
	resp := must[*inspectpb.ExplainMessageResponse](r)(r.inspect.ExplainMessage(r.ctx, &inspectpb.ExplainMessageRequest{Namespace: ns, WorkflowId: id, Id: message}))
	return strings.Join(resp.Sentences, "\n")
}

// says checks that a text has each of the parts.
func (r *rig) says(text string, parts ...string) {
	r.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			r.t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

func (r *rig) ledger(id string, want ...string) {
	r.t.Helper()
	if got := r.told(id); strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Errorf("messages to %s:\n%s\nwant\n%s", id, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLedgerTellsASignalsLife(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		r.ok(r.trySignal("w", "", "add", "r1"))
		r.ledger("w", "signal add: received")
		r.says(r.story("w", "r1"), `signal "add" (request r1) came from client`, "stored as event 5", "No worker has completed a workflow task with it yet.")
		k := r.take()
		r.ok(r.trySignal("w", "", "late", "r2"))
		r.ok(r.trySignal("w", "", "add", "r1"))
		r.ok(r.trySignal("w", "", "add", "r1"))
		k.complete()
		r.ledger("w", "signal late: buffered", "signal add: received repeated repeated delivered")
		r.says(r.story("w", "r1"), "it was sent again, 2 times, was recognised, and was not applied again.",
			"worker worker completed the workflow task started as event 7, which had it.")
		r.says(r.story("w", "r2"), "where it is event 9")
		r.restart()
		r.ledger("w", "signal late: buffered", "signal add: received repeated repeated delivered")
		r.terminate("w")
		r.ok(r.trySignal("w", "", "add", "r1"))
		r.refused(r.trySignal("w", "", "more", "r3"), codes.NotFound, "workflow execution already completed")
		r.refused(r.trySignal("w", "", "more", "r3"), codes.NotFound, "workflow execution already completed")
		r.ledger("w", "signal more: refused", "signal late: buffered dropped", "signal add: received repeated repeated delivered repeated")
		r.says(r.story("w", "r2"), "it was dropped, since the run ended: terminated.")
		r.says(r.story("w", "r3"), "was refused: workflow execution already completed.")
	})
}

func TestLedgerTellsAnUpdatesLife(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		bad := r.updates("w", "bad")
		k := r.take()
		k.say([]*protocolpb.Message{k.reject()})
		bad.get()
		r.history("w", "", idleHistory)
		r.ledger("w", "update set: received delivered rejected")
		r.says(r.story("w", "bad"), "it was rejected, which leaves no trace in history: Rejected: Rejected happened.")
		u := r.updates("w", "good")
		r.says(r.story("w", "good"), "It is in the server's memory until a worker accepts it.")
		k = r.take()
		k.say(k.acceptAndComplete("done"))
		u.get()
		r.ledger("w", "update set: received delivered accepted completed", "update set: received delivered rejected")
		r.restart()
		r.ledger("w", "update set: received delivered accepted completed", "update set: received delivered rejected")
		r.says(r.story("w", "good"), "the workflow accepted it, recorded as event 8", "its handler returned; the result is in event 9")
		open := r.updates("w", "open")
		k = r.take()
		k.say([]*protocolpb.Message{k.accept()})
		r.says(r.story("w", "open"), "Its handler has not returned yet.")
		r.terminate("w")
		open.get()
		r.says(r.story("w", "open"), "it was dropped, since the run ended: terminated.")
	})
}

func TestLedgerFollowsTheChain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		r.ok(r.trySignal("w", "", "first", "r1"))
		r.take().complete(continueAsNew())
		r.ok(r.trySignal("w", "", "second", "r2"))
		r.ok(r.trySignal("w", "", "first", "r1"))
		r.ledger("w", "signal first: repeated", "signal second: received", "signal first: received delivered")
		r.cancel("w")
		r.ledger("w", "cancel : received", "signal first: repeated", "signal second: received", "signal first: received delivered")
	})
}

func TestLedgerIsBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		run := r.idleRun("w")
		for range 40 {
			r.signal("w", "s")
			r.take().complete()
		}
		is(r, "messages told", len(r.told("w")) <= 8, true)
		r.terminate("w")
		r.pass(200 * time.Hour)
		_, err := r.inspect.ListMessages(r.ctx, &inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "w", RunId: run})
		r.refused(err, codes.NotFound, "workflow execution not found…")
	}, func(l *limits) { l.LedgerNotes = 16 })
}

func TestMessagesArePagedAndFiltered(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for _, name := range []string{"a", "b", "a", "b", "a"} {
			r.signal("w", name)
		}
		r.cancel("w")
		req := &inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "w", Kind: inspectpb.MessageKind_MESSAGE_KIND_SIGNAL, Name: "a", PageSize: 2}
		first := must[*inspectpb.ListMessagesResponse](r)(r.inspect.ListMessages(r.ctx, req))
		is(r, "first page", len(first.Messages), 2)
		req.NextPageToken = first.NextPageToken
		second := must[*inspectpb.ListMessagesResponse](r)(r.inspect.ListMessages(r.ctx, req))
		is(r, "second page", len(second.Messages), 1)
		is(r, "end", len(second.NextPageToken), 0)
		for _, c := range []struct {
			req  *inspectpb.ListMessagesRequest
			code codes.Code
			text string
		}{
			{&inspectpb.ListMessagesRequest{WorkflowId: "w"}, codes.InvalidArgument, "Namespace not set on request."},
			{&inspectpb.ListMessagesRequest{Namespace: ns}, codes.InvalidArgument, "WorkflowId is not set on request."},
			{&inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "nobody"}, codes.NotFound, "workflow not found for ID: nobody"},
			{&inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "w", RunId: "x"}, codes.InvalidArgument, "Invalid RunId."},
			{&inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "w", PageSize: 1001}, codes.InvalidArgument, "PageSize is not between 0 and 1000."},
			{&inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "w", NextPageToken: []byte("x")}, codes.InvalidArgument, "Invalid NextPageToken."},
			{&inspectpb.ListMessagesRequest{Namespace: ns, WorkflowId: "w", Kind: 77}, codes.InvalidArgument, "Invalid MessageKind: 77"},
		} {
			_, err := r.inspect.ListMessages(r.ctx, c.req)
			r.refused(err, c.code, c.text)
		}
		_, err := r.inspect.ExplainMessage(r.ctx, &inspectpb.ExplainMessageRequest{Namespace: ns, WorkflowId: "w", Id: "never sent"})
		r.refused(err, codes.NotFound, `no message "never sent" is known of workflow "w"…`)
	})
}

// why is what is said of a workflow: the summary and the findings.
func (r *rig) why(id string) string {
	r.t.Helper()
	resp := must[*inspectpb.ExplainWorkflowResponse](r)(r.inspect.ExplainWorkflow(r.ctx, &inspectpb.ExplainWorkflowRequest{Namespace: ns, WorkflowId: id}))
	lines := []string{resp.Summary}
	for _, f := range resp.Findings {
		mark := "- "
		if f.Stuck {
			mark = "! "
		}
		lines = append(lines, mark+f.Code+": "+f.Text)
	}
	return strings.Join(lines, "\n")
}

func TestExplainSaysWhyNothingMoves(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		r.pass(2 * time.Minute)
		r.says(r.why("w"), `! no_poller: A workflow task has waited for 2m0s on task queue "q", and no worker polls that queue for workflow tasks.`)
		k := r.take()
		r.says(r.why("w"), "- task_started: Worker worker has had its workflow task for 0s, and may take 10s.")
		k.complete(schedule("a"), startTimer("t", time.Hour), startChild("c"), signalExternal("nobody", "s"))
		r.settle()
		r.pass(2 * time.Minute)
		r.says(r.why("w"), "! no_activity_poller: It waits for activity", `on task queue "q"`, "- timer: It waits for timer t, which fires at", `- child: It waits for child workflow "c"`)
		a := r.takeActivity()
		r.says(r.why("w"), "which worker worker has had for 0s")
		r.ok(a.fail(application("Broken")))
		r.says(r.why("w"), "- activity_backoff: It waits for activity", "is tried again in", "The attempt before failed: Broken happened.")
	})
}

func TestExplainShowsAFailingWorkflowTask(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		for range 3 {
			r.ok(r.take().fail(broken))
		}
		r.says(r.why("w"), "! task_failing: Its workflow task has failed 3 times in a row, the last time so:", "Broken happened", "! not_ready: Queries and updates are refused while that goes on.")
		r.restart()
		r.says(r.why("w"), "! task_failing: Its workflow task has failed 3 times in a row, the last time so:", "Broken happened")
		r.take().complete()
		r.says(r.why("w"), "is open and waits for a message: nothing else is pending.")
		u := r.updates("w", "u")
		k := r.take()
		k.say([]*protocolpb.Message{k.accept()})
		r.says(r.why("w"), "- update: Update u was accepted as event", "and its handler has not returned.")
		r.terminate("w")
		u.get()
		r.says(r.why("w"), "is closed: terminated at")
	})
}

func TestMessagesBeyondALimitAreTakenByTheNextRun(t *testing.T) {
	bubble(t, func(r *rig) {
		r.idleRun("w")
		for i := range 5 {
			r.ok(r.trySignal("w", "", "s", string(rune('a'+i))))
		}
		const full = "the workflow takes no more messages for now: it has taken 5 signals, which is its limit"
		r.refused(r.trySignal("w", "", "s", "f"), codes.ResourceExhausted, full)
		r.ok(r.trySignal("w", "", "s", "a")) // known
		r.says(r.why("w"), "! limit: Signals to it are refused for now, until it continues as new: it has taken 5 signals, which is its limit.")
		r.says(r.story("w", "f"), "was refused: "+full)
		r.take().complete(continueAsNew())
		r.ok(r.trySignal("w", "", "s", "f"))
		last(r, r.stored("w", ""), "Signaled")
		r.ok(r.trySignal("w", "", "s", "b")) // still known
		is(r, "events of the next run", list(r.stored("w", "")), "Started Signaled")
	}, func(l *limits) { l.Signals = 5 })
}

func TestNoRunIsTerminatedForItsMessages(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start("w")
		refused := 0
		for range 200 {
			if err := r.trySignal("w", "", "s", ""); err != nil {
				r.refused(err, codes.ResourceExhausted, "the workflow takes no more messages for now: its history has 90 events, and the limit is 100")
				refused++
			}
		}
		is(r, "refused", refused, 200-88)
		r.cancel("w") // always taken
		r.take().complete(continueAsNew())
		r.signal("w", "s")
	}, func(l *limits) { l.HistoryEvents, l.SuggestEvents = 100, 50 })
}
