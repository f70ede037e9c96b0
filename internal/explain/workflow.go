package explain

import (
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Queue is what a task queue knows of its workers.
type Queue struct {
	LastPoll clock.Nanos // zero: nobody polls it, as far as is known
	Pollers  []string    // identities, the latest first
}

// Queues finds a task queue; activity tells which of the two kinds.
type Queues func(name string, activity bool) Queue

// Finding is one thing that a run waits for, or that keeps it from going on.
type Finding struct {
	Code  string
	Stuck bool // somebody has to act
	Text  string
}

// Report says what a run waits for.
type Report struct {
	Summary  string
	Findings []Finding
}

// pollerGone is how long ago the last poll of a queue is at least when its workers count as gone. A worker polls again
// within a second, and its poll lasts a minute at most.
const pollerGone = 90 * time.Second

// itemsMax is how many things of one kind are told one by one.
const itemsMax = 5

// Workflow explains what a run is doing at the moment now.
func Workflow(st *execution.State, now clock.Nanos, queues Queues, l *execution.Limits) *Report {
	r := &reporter{st: st, now: now, queues: queues, limits: l}
	if !st.Open() {
		r.closed()
		return &r.Report
	}
	r.task()
	r.activities()
	r.timers()
	r.children()
	r.externals()
	r.updates()
	r.bounds()
	r.summarize()
	return &r.Report
}

type reporter struct {
	Report
	st     *execution.State
	now    clock.Nanos
	queues Queues
	limits *execution.Limits
}

func (r *reporter) find(code string, stuck bool, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{code, stuck, fmt.Sprintf(format, args...)})
}

func (r *reporter) closed() {
	st := r.st
	r.Summary = fmt.Sprintf("Run %s is closed: %s at %s.", st.Key.Run, statusWord(st.Info.Status), at(st.Info.CloseTime))
	if next := st.Info.SuccessorRunID; next != "" {
		r.find("successor", false, "Run %s continues it.", next)
	}
	if next := st.Info.ResetRunID; next != "" {
		r.find("reset", false, "It was reset: run %s takes its place.", next)
	}
}

func statusWord(s enumspb.WorkflowExecutionStatus) string { return strings.ToLower(s.String()) }

// task explains the pending workflow task, or why there is none.
func (r *reporter) task() {
	st, t := r.st, &r.st.Info.WFT
	if st.Info.AwaitingParent {
		r.find("parent", false, "It is a child, and waits until its parent has recorded its start.")
		return
	}
	if end := st.Info.FirstBackoffEnd; end != 0 && !t.Pending() {
		r.find("backoff", false, "Its first workflow task waits until %s (start delay, cron or retry), %s from now.", at(end), span(end.Sub(r.now)))
		return
	}
	if n := max(t.Attempt, st.Info.NextAttempt); n > 1 {
		last := "."
		if st.Info.TaskProblem != "" { // a store of an earlier build does not say
			last = ", the last time so: " + sentence(st.Info.TaskProblem)
		}
		r.find("task_failing", true, "Its workflow task has failed %d times in a row%s", n-1, last)
		if n >= r.limits.AttemptsBeforeReady {
			r.find("not_ready", true, "Queries and updates are refused while that goes on.")
		}
	} else if st.Info.TaskProblem != "" {
		r.find("task_failed", false, "Its last workflow task did not complete: %s", sentence(st.Info.TaskProblem))
	}
	switch {
	case !t.Pending():
	case t.Started():
		r.find("task_started", false, "Worker %s has had its workflow task for %s, and may take %s.", t.Identity, span(r.now.Sub(t.StartedAt)), span(t.Timeout))
	default:
		r.scheduled(t)
	}
	if n := st.Buffered.Len(); n > 0 {
		r.find("buffered", false, "%d %s until that workflow task is over.", n, plural(n, "event waits", "events wait"))
	}
	if st.Info.CloseAttempted {
		r.find("close_attempted", false, "The code tried to close the run while messages were waiting; it has to see them first.")
	}
}

func (r *reporter) scheduled(t *execution.WorkflowTask) {
	waited := span(r.now.Sub(t.ScheduledAt))
	if t.Sticky {
		r.find("task_scheduled", false, "A workflow task has waited for %s for the worker that has the run in its cache (queue %s); if it does not come, all workers of %q are asked.",
			waited, t.Queue, r.st.Start.TaskQueue)
		return
	}
	if !r.polled(t.Queue, false) {
		r.find("no_poller", true, "A workflow task has waited for %s on task queue %q, and no worker polls that queue for workflow tasks%s.", waited, t.Queue, r.lastSeen(t.Queue, false))
		return
	}
	r.find("task_scheduled", false, "A workflow task has waited for %s on task queue %q, which %s polls.", waited, t.Queue, r.worker(t.Queue, false))
}

func (r *reporter) polled(queue string, activity bool) bool {
	last := r.queues(queue, activity).LastPoll
	return last != 0 && r.now.Sub(last) < pollerGone
}

func (r *reporter) lastSeen(queue string, activity bool) string {
	if last := r.queues(queue, activity).LastPoll; last != 0 {
		return fmt.Sprintf(" (the last one was seen %s ago)", span(r.now.Sub(last)))
	}
	return ""
}

func (r *reporter) worker(queue string, activity bool) string {
	p := r.queues(queue, activity).Pollers
	switch len(p) {
	case 0:
		return "a worker"
	case 1:
		return "worker " + p[0]
	}
	return fmt.Sprintf("worker %s and %d more", p[0], len(p)-1)
}

func (r *reporter) activities() {
	told, left := 0, 0
	for _, a := range r.st.Activities.All {
		if told == itemsMax {
			left++
			continue
		}
		told++
		r.activity(a)
	}
	r.more("activity", left, "activities")
}

func (r *reporter) activity(a *execution.Activity) {
	title := fmt.Sprintf("activity %s (ID %s), attempt %d", a.Type, a.ActivityID, a.Attempt)
	failed := ""
	if f := lastFailure(a); f != "" {
		failed = " The attempt before failed: " + sentence(f)
	}
	switch {
	case a.StartedAt != 0:
		text := fmt.Sprintf("It waits for %s, which worker %s has had for %s", title, a.Identity, span(r.now.Sub(a.StartedAt)))
		if a.HB > 0 {
			seen := max(a.HeartbeatAt, a.StartedAt)
			text += fmt.Sprintf("; last sign of life %s ago, the limit is %s", span(r.now.Sub(seen)), span(a.HB))
		}
		if a.CancelRequested {
			text += "; it is asked to cancel"
		}
		r.find("activity", false, "%s.%s", text, failed)
	case a.ScheduledAt > r.now:
		r.find("activity_backoff", false, "It waits for %s, which is tried again in %s.%s", title, span(a.ScheduledAt.Sub(r.now)), failed)
	case !r.polled(a.Queue, true):
		r.find("no_activity_poller", true, "It waits for %s, which has been on task queue %q for %s, and no worker polls that queue for activities%s.%s",
			title, a.Queue, span(r.now.Sub(a.ScheduledAt)), r.lastSeen(a.Queue, true), failed)
	default:
		r.find("activity", false, "It waits for %s, which has been on task queue %q for %s; %s polls that.%s",
			title, a.Queue, span(r.now.Sub(a.ScheduledAt)), r.worker(a.Queue, true), failed)
	}
}

func lastFailure(a *execution.Activity) string {
	if len(a.LastFailure) == 0 {
		return ""
	}
	f := new(failurepb.Failure)
	if err := proto.Unmarshal(a.LastFailure, f); err != nil {
		return ""
	}
	return f.GetMessage()
}

func (r *reporter) timers() {
	var next *execution.Timer
	for _, t := range r.st.Timers.All {
		if next == nil || t.FireAt < next.FireAt {
			next = t
		}
	}
	if next == nil {
		return
	}
	text := fmt.Sprintf("It waits for timer %s, which fires at %s, %s from now", next.ID, at(next.FireAt), span(next.FireAt.Sub(r.now)))
	if n := r.st.Timers.Len() - 1; n > 0 {
		text += fmt.Sprintf("; %d later %s", n, plural(n, "timer follows", "timers follow"))
	}
	r.find("timer", false, "%s.", text)
}

func (r *reporter) children() {
	told, left := 0, 0
	for _, c := range r.st.Children.All {
		if told == itemsMax {
			left++
			continue
		}
		told++
		if c.RunID == "" {
			r.find("child", false, "It waits for the start of child workflow %q (%s).", c.WorkflowID, c.WorkflowType)
		} else {
			r.find("child", false, "It waits for child workflow %q (%s), run %s.", c.WorkflowID, c.WorkflowType, c.RunID)
		}
	}
	r.more("child", left, "child workflows")
}

func (r *reporter) externals() {
	r.external("external_signal", "A signal of its own", r.st.Signals)
	r.external("external_cancel", "A request of its own to cancel", r.st.Cancels)
}

func (r *reporter) external(code, what string, all execution.Table[ids.EventID, *execution.External]) {
	told := 0
	for _, e := range all.All {
		if told++; told > itemsMax {
			r.find(code, false, "%d more are on their way.", all.Len()-itemsMax)
			return
		}
		r.find(code, false, "%s is on its way to workflow %q%s.", what, e.WorkflowID, toRun(e.RunID))
	}
}

func toRun(run ids.RunID) string {
	if run == "" {
		return ""
	}
	return ", run " + string(run)
}

func (r *reporter) updates() {
	told, left := 0, 0
	if r.st.Info.OpenUpdates > 0 {
		for _, u := range r.st.Updates.All {
			if u.AcceptedID == 0 || u.CompletedID != 0 {
				continue
			}
			if told == itemsMax {
				left++
				continue
			}
			told++
			r.find("update", false, "Update %s was accepted as event %d, and its handler has not returned.", u.ID, u.AcceptedID)
		}
	}
	r.more("update", left, "updates")
	admitted := 0
	for _, u := range r.st.Volatile.Updates.All {
		if u.Stage != execution.UpdateAccepted {
			admitted++
		}
	}
	if admitted > 0 {
		r.find("update_admitted", false, "%d %s for a worker to accept or reject.", admitted, plural(admitted, "update waits", "updates wait"))
	}
}

// bounds tells which messages are refused. With hard limits a refusal tells its sender all there is.
func (r *reporter) bounds() {
	if r.limits.Hard {
		return
	}
	signals, updates := execution.SignalsRefused(r.st, r.limits), execution.UpdatesRefused(r.st, r.limits, 0, 0)
	switch {
	case signals.Code == "buffer":
		r.find("buffer_full", false, "Signals to it are refused until its workflow task is over: %s", sentence(signals.Text))
	case signals.Code != "" && signals == updates:
		r.find("limit", true, "Signals and updates to it are refused for now, until it continues as new: %s", sentence(signals.Text))
	default:
		r.refuses("Signals", signals)
		r.refuses("Updates", updates)
	}
}

func (r *reporter) refuses(kind string, why execution.Refusal) {
	if why.Code != "" {
		r.find("limit", true, "%s to it are refused for now, until it continues as new: %s", kind, sentence(why.Text))
	}
}

func (r *reporter) more(code string, n int, what string) {
	if n > 0 {
		r.find(code, false, "It waits for %d more %s.", n, what)
	}
}

func (r *reporter) summarize() {
	st := r.st
	for _, f := range r.Findings {
		if f.Stuck {
			r.Summary = fmt.Sprintf("Run %s is open, and something has to be done for it to go on. %s", st.Key.Run, f.Text)
			return
		}
	}
	switch {
	case len(r.Findings) == 0:
		r.Summary = fmt.Sprintf("Run %s is open and waits for a message: nothing else is pending.", st.Key.Run)
		r.find("message", false, "No activity, timer, child or workflow task is pending: a signal, an update or a cancel request will move it%s.", r.until())
	default:
		r.Summary = fmt.Sprintf("Run %s is open and goes on. %s", st.Key.Run, r.Findings[0].Text)
	}
}

func (r *reporter) until() string {
	if end := r.st.Info.RunDeadline; end != 0 {
		return fmt.Sprintf(", or its run timeout at %s", at(end))
	}
	return ""
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
