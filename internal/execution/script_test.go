package execution_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	querypb "go.temporal.io/api/query/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

var update = flag.Bool("update", false, "rewrite the scripts in testdata with what the code does")

// script plays the section of a script in testdata that has the test's name. Each block of a section is an input and,
// below a line of dashes, everything the transition says.
func script(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, section, after, ok := cutSection(string(text), t.Name())
		if !ok {
			continue
		}
		got, _ := play(t, section)
		switch {
		case got == section:
		case *update:
			if err := os.WriteFile(file, []byte(before+got+after), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s, %s: got\n%s\nwant\n%s", file, t.Name(), got, section)
		}
		return
	}
	t.Fatalf("no script has a section %s", t.Name())
}

// cutSection finds the section under the heading "== name".
func cutSection(text, name string) (before, section, after string, ok bool) {
	head := "== " + name + "\n"
	i := strings.Index(text, head)
	if i < 0 {
		return "", "", "", false
	}
	rest := text[i+len(head):]
	end := len(rest)
	if j := strings.Index(rest, "\n== "); j >= 0 {
		end = j + 1
	}
	return text[:i+len(head)], rest[:end], rest[end:], true
}

// play runs the blocks of a section and returns it with the outputs that came about, and the world it leaves.
func play(t *testing.T, section string) (string, *world) {
	t.Helper()
	s := &player{world: newWorld(t), tokens: map[string]*execution.WorkflowTaskStarted{}, activities: map[string]execution.ActivityToken{}}
	s.seen = s.saw
	var out strings.Builder
	for i, block := range strings.Split(strings.TrimRight(section, "\n"), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		input, _, _ := strings.Cut(strings.TrimLeft(block, "\n")+"\n", "----\n")
		out.WriteString(input)
		var lines []string
		for line := range strings.Lines(input) {
			if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			continue
		}
		s.said.Reset()
		s.run(t, lines)
		out.WriteString("----\n" + tidy(s.said.String()))
	}
	if strings.HasSuffix(section, "\n\n") {
		out.WriteString("\n")
	}
	return out.String(), s.world
}

// player is a world that reads scripts.
type player struct {
	*world
	said       strings.Builder
	late       []func() // answers to messages that were delivered
	announce   bool     // name the run before each transition
	waiter     execution.Waiter
	tokens     map[string]*execution.WorkflowTaskStarted
	activities map[string]execution.ActivityToken
	before     map[ids.RunKey]*execution.State
}

func (s *player) say(format string, args ...any) { fmt.Fprintf(&s.said, format+"\n", args...) }

// saw prints a transition.
func (s *player) saw(key ids.RunKey, in execution.Input, tr *execution.Transition) {
	if s.announce {
		s.say("to       %s", strings.TrimSuffix(string(key.Workflow)+"/"+string(key.Run), "/"))
	}
	var was *execution.State
	if tr.Next != nil {
		was = s.before[tr.Next.Key]
	}
	s.said.WriteString(describe(s.world, was, tr))
	s.remember()
}

// remember keeps the states as they are, to tell later what has changed.
func (s *player) remember() {
	s.before = map[ids.RunKey]*execution.State{}
	for k, r := range s.runs {
		s.before[k] = r.st
	}
}

// options are the key=value words of a line; words without "=" have the value "".
type options map[string]string

func (o options) has(k string) bool { _, ok := o[k]; return ok }

func (o options) duration(t *testing.T, k string) *durationpb.Duration {
	if o[k] == "" {
		return nil
	}
	d, err := time.ParseDuration(o[k])
	if err != nil {
		t.Fatalf("%s: %v", k, err)
	}
	return durationpb.New(d)
}

// words splits a line; double quotes keep spaces together. The positional ones come first.
func words(line string) (pos []string, o options) {
	o = options{}
	var cur strings.Builder
	quoted := false
	flush := func() {
		if w := cur.String(); w != "" {
			if k, v, ok := strings.Cut(w, "="); ok {
				o[k] = v
			} else {
				pos = append(pos, w)
			}
		}
		cur.Reset()
	}
	for _, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			flush()
		default:
			cur.WriteRune(c)
		}
	}
	flush()
	return pos, o
}

func payloads(s string) *commonpb.Payloads {
	if s == "" {
		return nil
	}
	if n, ok := strings.CutPrefix(s, "bytes:"); ok {
		size, _ := strconv.Atoi(n)
		s = strings.Repeat("x", size)
	}
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("binary/plain")}, Data: []byte(s)}}}
}

func payloadMap(s string) map[string]*commonpb.Payload {
	m := map[string]*commonpb.Payload{}
	for kv := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(kv, ":")
		p := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte("Keyword")}, Data: []byte(v)}
		if v == "null" {
			p = &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/null")}}
		}
		m[k] = p
	}
	return m
}

func retryPolicy(s string) *commonpb.RetryPolicy {
	if s == "" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return &commonpb.RetryPolicy{MaximumAttempts: int32(n)}
}

func enum[E ~int32](t *testing.T, values map[string]int32, prefix, s string) E {
	if s == "" {
		return 0
	}
	v, ok := values[prefix+strings.ToUpper(strings.ReplaceAll(s, "-", "_"))]
	if !ok {
		if v, ok = values[camelCase(s)]; !ok {
			t.Fatalf("no value %s of %s", s, prefix)
		}
	}
	return E(v)
}

func camelCase(s string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(s, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func applicationFailure(o options, t *testing.T) *failurepb.Failure {
	return &failurepb.Failure{Message: o["message"], FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{
		Type: o["type"], NonRetryable: o["retryable"] == "no", NextRetryDelay: o.duration(t, "next")}}}
}

// runOf is the run an option names as R1, R2 …; empty for the current one.
func runOf(o options, key string) ids.RunID {
	if n, err := strconv.Atoi(strings.TrimPrefix(o[key], "R")); err == nil {
		return runName(n)
	}
	return ids.RunID(o[key])
}

// run plays one input; lines after the first belong to it.
func (s *player) run(t *testing.T, lines []string) {
	t.Helper()
	s.t = t
	s.remember()
	pos, o := words(lines[0])
	id := ""
	if len(pos) > 1 {
		id = pos[1]
	}
	key := workflowKey(id)
	arg := func(i int) string {
		if len(pos) > i {
			return pos[i]
		}
		return ""
	}
	flag := func(name string) bool {
		for _, p := range pos[1:] {
			if p == name {
				return true
			}
		}
		return false
	}
	to := func(in execution.Input) *execution.Transition { return s.step(key, runOf(o, "run"), in) }
	byToken := func(in execution.Input) *execution.Transition {
		if flag("by-id") {
			return to(in)
		}
		return s.step(key, s.activityToken(arg(2), o, flag).Run.Run, in)
	}
	parked := func(tr *execution.Transition) {
		if tr.Err == nil && tr.Answer == nil {
			s.say("parked   as %d", s.waiter)
		}
	}
	switch pos[0] {
	case "limits":
		s.setLimits(t, o)
	case "namespace":
		s.ns.Retention = o.duration(t, "retention").AsDuration()
	case "sticky-workers":
		s.alive = pos[1] == "alive"
	case "advance":
		d, err := time.ParseDuration(pos[1])
		if err != nil {
			t.Fatal(err)
		}
		s.announce = true
		s.world.advance(s.now.Add(d))
		s.announce = false
	case "crash":
		s.world.crash()
	case "deliver":
		s.deliverAll(o, flag("twice"))
	case "late-answers":
		for _, answer := range s.late {
			answer()
		}
		s.late = nil
	case "history":
		r := s.get(key, runOf(o, "run"))
		if r == nil {
			s.say("no such run")
			return
		}
		for _, ev := range r.events {
			s.say("%s", eventText(ev))
		}
	case "ledger":
		for _, n := range s.get(key, runOf(o, "run")).notes {
			s.say("%s", noteText(n))
		}
	case "state":
		s.say("%s", stateText(s.get(key, runOf(o, "run")).st))
	case "start":
		in := s.startInput(t, id, o, flag)
		tr := to(in)
		if a, ok := tr.Answer.(*execution.StartAnswer); ok {
			if a.Eager != nil {
				s.tokens["last"] = a.Eager
			}
			if in.Update != nil && a.Update == nil && a.UpdateErr == nil {
				s.say("parked   as %d", s.waiter)
			}
		}
	case "given":
		s.given(t, id, arg(2), o, flag)
	case "signal":
		to(execution.SignalWorkflow{Name: arg(2), RequestID: o["request"], Input: payloads(o["input"]), Identity: "client"})
	case "cancel":
		to(execution.RequestCancel{Reason: o["reason"], Identity: "client", FirstRunID: runOf(o, "first")})
	case "terminate":
		to(execution.Terminate{Reason: "enough", Identity: "client", FirstRunID: runOf(o, "first")})
	case "poll":
		s.poll(t, key, o, flag)
	case "complete":
		s.complete(t, key, o, flag, lines[1:])
	case "fail":
		to(execution.FailWorkflowTask{Token: s.token(o).Token, Cause: enum[enumspb.WorkflowTaskFailedCause](t, enumspb.WorkflowTaskFailedCause_value, "WORKFLOW_TASK_FAILED_CAUSE_", defaulted(o["cause"], "workflow-worker-unhandled-failure")),
			Failure: &failurepb.Failure{Message: "oops"}, Identity: "worker"})
	case "reset-sticky":
		to(execution.ResetSticky{})
	case "sticky-gone":
		to(execution.StickyGone{Ref: execution.WorkflowTaskRef{Run: s.get(key, "").key, Seq: s.get(key, "").st.Info.WFT.Seq}})
	case "activity":
		s.activity(t, key, arg(2), o)
	case "heartbeat":
		byToken(execution.HeartbeatActivity{Token: s.activityToken(arg(2), o, flag), Details: payloads(o["details"]), Identity: "worker"})
	case "activity-done":
		byToken(execution.CompleteActivity{Token: s.activityToken(arg(2), o, flag), Result: payloads(o["result"]), Identity: "worker"})
	case "activity-failed":
		byToken(execution.FailActivity{Token: s.activityToken(arg(2), o, flag), Failure: applicationFailure(o, t), Details: payloads(o["details"]), Identity: "worker"})
	case "activity-cancelled":
		byToken(execution.CancelActivity{Token: s.activityToken(arg(2), o, flag), Details: payloads(o["details"]), Identity: "worker"})
	case "update":
		s.waiter++
		parked(to(s.updateInput(t, arg(2), o)))
	case "poll-update":
		s.waiter++
		parked(to(execution.PollUpdate{UpdateID: arg(2), Wait: stage(t, o["wait"]), Waiter: s.waiter}))
	case "query":
		s.waiter++
		q := execution.QueryWorkflow{ID: arg(2), Query: &querypb.WorkflowQuery{QueryType: "status"}, Waiter: s.waiter,
			Reject: enum[enumspb.QueryRejectCondition](t, enumspb.QueryRejectCondition_value, "QUERY_REJECT_CONDITION_", o["reject"])}
		if o["deadline"] != "" {
			q.Deadline = s.now.Add(o.duration(t, "deadline").AsDuration())
		}
		parked(to(q))
	case "forget-query":
		to(execution.ForgetQuery{ID: arg(2)})
	default:
		t.Fatalf("unknown input %q", lines[0])
	}
}

// given brings a new run of a workflow to where a story begins: its first workflow task started, or completed (idle),
// by a sticky worker if sticky=queue says so.
func (s *player) given(t *testing.T, id, where string, o options, flag func(string) bool) {
	key := workflowKey(id)
	s.seen = nil
	s.step(key, "", s.startInput(t, id, o, flag))
	s.poll(t, key, options{}, func(string) bool { return false })
	switch where {
	case "started":
	case "idle":
		s.complete(t, key, options{"sticky": o["sticky"]}, func(string) bool { return false }, nil)
	default:
		t.Fatalf("given %s: no such place to begin: %q", id, where)
	}
	s.seen = s.saw
	s.say("%s", stateText(s.get(key, "").st))
}

func defaulted(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

func (s *player) setLimits(t *testing.T, o options) {
	for k, v := range o {
		n, _ := strconv.Atoi(v)
		l := s.limits
		switch k {
		case "forget":
			l.ForgetRuns = n != 0
		case "ledger":
			l.LedgerNotes = n
		case "hard":
			l.Hard = n != 0
		case "signals":
			l.Signals = n
		case "buffered":
			l.BufferedEvents = n
		case "updates":
			l.UpdatesInFlight = n
		case "updates-bytes":
			l.UpdatesInFlightBytes = n
		case "updates-total":
			l.UpdatesTotal = n
		case "queries":
			l.BufferedQueries = n
		case "activities":
			l.PendingActivities = n
		case "children":
			l.PendingChildren = n
		case "external-signals":
			l.PendingSignals = n
		case "external-cancels":
			l.PendingCancels = n
		case "events":
			l.HistoryEvents = n
		case "suggest-events":
			l.SuggestEvents = n
		case "blob":
			l.BlobBytes = n
		default:
			t.Fatalf("no limit %s", k)
		}
	}
}

func (s *player) startInput(t *testing.T, id string, o options, flag func(string) bool) execution.StartWorkflow {
	req := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "Order"}, TaskQueue: &taskqueuepb.TaskQueue{Name: defaulted(o["queue"], "q")},
		Input: payloads(o["input"]), Identity: "client", RequestId: defaulted(o["request"], "start-"+id), CronSchedule: o["cron"],
		RetryPolicy: retryPolicy(o["retry"]), WorkflowStartDelay: o.duration(t, "delay"), WorkflowExecutionTimeout: o.duration(t, "execution-timeout"),
		WorkflowRunTimeout: o.duration(t, "run-timeout"), WorkflowTaskTimeout: o.duration(t, "task-timeout"), RequestEagerExecution: flag("eager"),
		WorkflowIdReusePolicy:    enum[enumspb.WorkflowIdReusePolicy](t, enumspb.WorkflowIdReusePolicy_value, "WORKFLOW_ID_REUSE_POLICY_", defaulted(o["reuse"], "allow-duplicate")),
		WorkflowIdConflictPolicy: enum[enumspb.WorkflowIdConflictPolicy](t, enumspb.WorkflowIdConflictPolicy_value, "WORKFLOW_ID_CONFLICT_POLICY_", defaulted(o["conflict"], "fail")),
	}
	if o["memo"] != "" {
		req.Memo = &commonpb.Memo{Fields: payloadMap(o["memo"])}
	}
	if o["attributes"] != "" {
		req.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: payloadMap(o["attributes"])}
	}
	if o["priority"] != "" {
		n, _ := strconv.Atoi(o["priority"])
		req.Priority = &commonpb.Priority{PriorityKey: int32(n)}
	}
	if flag("attach") {
		req.OnConflictOptions = onConflict()
	}
	in := execution.StartWorkflow{Request: req, Eager: true}
	if o["signal"] != "" {
		in.Signal = &execution.SignalWorkflow{Name: o["signal"], RequestID: req.RequestId, Identity: "client"}
	}
	if o["update"] != "" {
		s.waiter++
		u := s.updateInput(t, o["update"], o)
		in.Update = &u
	}
	return in
}

func stage(t *testing.T, s string) enumspb.UpdateWorkflowExecutionLifecycleStage {
	return enum[enumspb.UpdateWorkflowExecutionLifecycleStage](t, enumspb.UpdateWorkflowExecutionLifecycleStage_value, "UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_", s)
}

func updateRequest(id, arg string) *updatepb.Request {
	return &updatepb.Request{Meta: &updatepb.Meta{UpdateId: id, Identity: "client"}, Input: &updatepb.Input{Name: "set", Args: payloads(arg)}}
}

func (s *player) updateInput(t *testing.T, id string, o options) execution.UpdateWorkflow {
	return execution.UpdateWorkflow{Request: updateRequest(id, o["arg"]), FirstRunID: runOf(o, "first"), Wait: stage(t, defaulted(o["wait"], "completed")), Waiter: s.waiter}
}

// poll takes the pending workflow task of a run, as the offer in its task queue says.
func (s *player) poll(t *testing.T, key ids.WorkflowKey, o options, flag func(string) bool) {
	r := s.get(key, runOf(o, "run"))
	if r == nil {
		t.Fatalf("poll: no run of %s", key.Workflow)
	}
	seq := r.st.Info.WFT.Seq
	if o["seq"] != "" {
		n, _ := strconv.Atoi(o["seq"])
		seq = int64(n)
	}
	tr := s.step(key, r.key.Run, execution.StartWorkflowTask{Ref: execution.WorkflowTaskRef{Run: r.key, Seq: seq},
		RequestID: defaulted(o["request"], "poll"+strconv.Itoa(int(seq))), Identity: "worker", Sticky: flag("sticky")})
	if a, ok := tr.Answer.(*execution.WorkflowTaskStarted); ok {
		s.tokens["last"] = a
		if o["as"] != "" {
			s.tokens[o["as"]] = a
		}
	}
}

func (s *player) token(o options) *execution.WorkflowTaskStarted {
	a := s.tokens[defaulted(o["task"], "last")]
	if a == nil {
		s.t.Fatalf("no workflow task was polled")
	}
	return a
}

func (s *player) activity(t *testing.T, key ids.WorkflowKey, activityID string, o options) {
	r := s.get(key, runOf(o, "run"))
	var ref execution.ActivityRef
	for _, a := range r.st.Activities.All {
		if a.ActivityID == activityID {
			ref = execution.ActivityRef{Run: r.key, ScheduledID: a.ScheduledID, Stamp: a.Stamp}
		}
	}
	if o["stamp"] != "" {
		n, _ := strconv.Atoi(o["stamp"])
		ref.Stamp = int32(n)
	}
	tr := s.step(key, r.key.Run, execution.StartActivity{Ref: ref, RequestID: defaulted(o["request"], "poll-"+activityID), Identity: "worker"})
	if a, ok := tr.Answer.(*execution.ActivityStarted); ok {
		s.activities[defaulted(o["as"], activityID)] = a.Token
	}
}

func (s *player) activityToken(id string, o options, flag func(string) bool) execution.ActivityToken {
	if flag("by-id") {
		return execution.ActivityToken{ActivityID: id}
	}
	return s.activities[defaulted(o["token"], id)]
}

// deliverAll carries the messages that wait now, or the one an option names.
func (s *player) deliverAll(o options, twice bool) {
	s.announce = true
	defer func() { s.announce = false }()
	for _, l := range s.outbox() {
		if o["from"] != "" && o["from"] != string(l.from.Workflow) {
			continue
		}
		s.say("message  %d of %s: %s", l.outbox, l.from.Workflow, messageText(l.msg))
		if twice {
			s.world.deliver(l, true)
		}
		if o["answer"] == "late" {
			s.late = append(s.late, s.hand(l))
			continue
		}
		s.world.deliver(l, o["answer"] == "lost")
	}
}

func stateText(st *execution.State) string {
	i := &st.Info
	s := fmt.Sprintf("%s next=%d", i.Status, i.NextEventID)
	if t := &i.WFT; t.Pending() {
		kind := map[execution.WorkflowTaskKind]string{execution.TaskNormal: "normal", execution.TaskTransient: "transient", execution.TaskSpeculative: "speculative"}[t.Kind]
		s += fmt.Sprintf(" task=%s %d/%d attempt=%d queue=%s", kind, t.ScheduledID, t.StartedID, t.Attempt, t.Queue)
		if t.Started() {
			s += fmt.Sprintf(" timeout=%s", t.Timeout)
		}
	}
	if i.StickyQueue != "" {
		s += " sticky=" + i.StickyQueue
	}
	for _, a := range st.Activities.All {
		s += fmt.Sprintf(" activity=%s/%d", a.ActivityID, a.Attempt)
	}
	for id := range st.Timers.All {
		s += " timer=" + id
	}
	for _, c := range st.Children.All {
		s += " child=" + string(c.WorkflowID)
	}
	for _, b := range st.Buffered.All {
		s += " buffered=" + b.Event.EventType.String()
	}
	for _, u := range st.Volatile.Updates.All {
		s += fmt.Sprintf(" update=%s:%s", u.ID, []string{"admitted", "sent", "accepted"}[u.Stage])
	}
	if i.CloseAttempted {
		s += " close-attempted"
	}
	if i.FirstBackoffEnd != 0 {
		s += " first-task=" + ago(i.FirstBackoffEnd)
	}
	if i.AwaitingParent {
		s += " awaits-parent"
	}
	return s + " deadline=" + ago(st.NextDeadline())
}

func noteText(n execution.Note) string {
	kinds := []string{"", "signal", "update", "cancel", "task"}
	stages := []string{"", "received", "buffered", "repeated", "refused", "delivered", "accepted", "rejected", "completed", "aborted", "dropped"}
	s := fmt.Sprintf("note %3d %s %s", n.Number, kinds[n.Kind], stages[n.Stage])
	for _, f := range []struct{ name, value string }{{"id", n.ID}, {"name", n.Name}, {"identity", n.Identity}, {"from", string(n.From)}, {"text", n.Text}} {
		if f.value != "" {
			s += fmt.Sprintf(" %s=%q", f.name, f.value)
		}
	}
	if n.Event != 0 {
		s += fmt.Sprintf(" event=%d", n.Event)
	}
	return s
}
