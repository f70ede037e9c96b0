package historycheck

import (
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	unhandled = enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
	forced    = enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
	crashed   = enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
	pausing   = enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED
)

// legal are histories that the service's documents describe, each of them at rest.
var legal = map[string]func(*builder){
	"plain start":               func(b *builder) { b.start().sched(1) },
	"complete in the first":     func(b *builder) { b.running().completeRun() },
	"signal with start":         func(b *builder) { b.start().signal("r").sched(1) },
	"signal before first start": func(b *builder) { b.start().sched(1).signal("r").taskStart().complete() },
	"signal in the start delay": func(b *builder) { b.start(withDelay).signal("r").signal("").signal("").sched(1) },
	"cancel in the start delay": func(b *builder) { b.start(withDelay).cancelRequest().sched(1) },
	"terminate in the delay":    func(b *builder) { b.start(withDelay).terminate() },
	"child waits for parent":    func(b *builder) { b.start(withParent).signal("r").sched(1) },
	"idle signal":               func(b *builder) { b.running().signal("r").sched(1) },
	"heartbeat":                 func(b *builder) { b.running(); b.marker().task() },
	"late activity start": func(b *builder) {
		a := b.running().activity("a")
		b.timerFire(b.timer("t"), "t").sched(1).taskStart().complete().activityDone(a).sched(1)
	},
	"flush order": func(b *builder) {
		b.running()
		x, c := b.activity("x"), b.child("c")
		s := b.childStart(c, "c")
		b.sched(1).taskStart().complete().marker().signal("r").options("o").activityDone(x).childComplete(c, s, "c").sched(1)
	},
	"flushed starts keep their place": func(b *builder) {
		b.running()
		x, y := b.activity("x"), b.activity("y")
		b.sched(1).taskStart().complete()
		sx := b.activityStart(x)
		b.signal("r")
		sy := b.activityStart(y)
		b.signal("s")
		b.activityComplete(x, sx)
		b.activityComplete(y, sy)
		b.sched(1)
	},
	"cancel before start": func(b *builder) {
		x, y := b.running().activity("x"), b.activity("y")
		b.signal("").task()
		r := b.activityCancel(x)
		b.activityCanceled(x, 0, r)
		q := b.activityCancel(y)
		b.activityCanceled(y, 0, q)
		b.timer("t")
		b.sched(1)
	},
	"cancel before start, flushed": func(b *builder) {
		x, y := b.running().activity("x"), b.activity("y")
		b.signal("").task()
		r, q := b.activityCancel(x), b.activityCancel(y)
		b.marker().signal("")
		b.activityCanceled(x, 0, r)
		b.activityCanceled(y, 0, q)
		b.sched(1)
	},
	"cancel before start and complete": func(b *builder) {
		x := b.running().activity("x")
		b.signal("").task()
		b.activityCanceled(x, 0, b.activityCancel(x))
		b.completeRun()
	},
	"cancel a running activity": func(b *builder) {
		x := b.running().activity("x")
		b.signal("").task()
		r := b.activityCancel(x)
		b.activityCanceled(x, b.activityStart(x), r)
		b.sched(1)
	},
	"activity timeouts": func(b *builder) {
		x, y, z := b.running().activity("x"), b.activity("y"), b.activity("z")
		b.activityTimeout(x, 0, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
		b.activityTimeout(y, b.activityStart(y), enumspb.TIMEOUT_TYPE_HEARTBEAT)
		b.activityTimeout(z, 0, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
		b.sched(1)
	},
	"activity ID used again": func(b *builder) {
		b.activityDone(b.running().activity("x")).task()
		b.activity("x")
	},
	"timer ID used again": func(b *builder) {
		t := b.running().timer("t")
		b.timerCancel(t, "t")
		b.timerFire(b.timer("t"), "t").sched(1)
	},
	"child that fails to start": func(b *builder) { b.childStartFail(b.running().child("c"), "c").sched(1) },
	"outgoing": func(b *builder) {
		b.running()
		s, t, c, d := b.signalOut("s"), b.signalOut("t"), b.cancelOut("c"), b.cancelOut("d")
		b.signalOutDone(s, "s").signalOutFail(t, "t").cancelOutDone(c, "c").cancelOutFail(d, "d").sched(1)
	},
	"update in the first task": func(b *builder) { b.running().updateComplete("u", b.updateAccept("u")) },
	"updates across tasks": func(b *builder) {
		u, v := b.running().updateAccept("u"), b.updateAccept("v")
		b.task().marker().updateComplete("v", v).updateComplete("u", u).completeRun()
	},
	"retried task": func(b *builder) { b.begun().fail(crashed).sched(3).taskStart().complete().completeRun() },
	"retried task with a signal": func(b *builder) {
		b.begun().fail(crashed).sched(2).taskStart().complete().signal("r").sched(1)
	},
	"signal between attempts":   func(b *builder) { b.begun().fail(crashed).signal("a").signal("b").sched(1).taskStart() },
	"sticky failure":            func(b *builder) { b.begun().fail(crashed).sched(1).taskStart().fail(crashed) },
	"task timeout":              func(b *builder) { b.begun().taskTimeout(enumspb.TIMEOUT_TYPE_START_TO_CLOSE) },
	"sticky timeout":            func(b *builder) { b.start().sched(1).taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START).sched(1) },
	"unhandled command":         func(b *builder) { b.begun().fail(unhandled).signal("r").sched(1).taskStart().complete().completeRun() },
	"overflow":                  func(b *builder) { b.begun().fail(forced).signal("a").signal("b").sched(1) },
	"terminate a started task":  func(b *builder) { b.begun().fail(forced).terminate() },
	"terminate over a started":  func(b *builder) { b.begun().terminate() },
	"terminate between retries": func(b *builder) { b.begun().fail(crashed).signal("").terminate() },
	"size guard": func(b *builder) {
		b.running().signal("")
		b.terminate().last().GetWorkflowExecutionTerminatedEventAttributes().Reason = "Workflow history count exceeds limit."
	},
	"reset": func(b *builder) {
		b.running()
		x := b.activity("x")
		b.signal("a").sched(1).taskStart().reset("run-1", "run-2")
		b.activityFail(x, b.activityStart(x))
		b.last().GetActivityTaskFailedEventAttributes().RetryState = enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE
		b.signal("b").updateAdmit("u").options("o").task()
		b.updateAccept("u")
		b.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest = nil
		b.updateComplete("u", b.last().EventId)
	},
	"pause and unpause": func(b *builder) {
		x := b.running().activity("x")
		b.pause().activityDone(x).signal("r").unpause().task().pause()
	},
	"pause over a scheduled task": func(b *builder) {
		b.running().signal("").sched(1).pause().fail(pausing).signal("").unpause().sched(1)
	},
	"pause over a started task": func(b *builder) { b.begun().pause().complete().signal("").terminate() },
	"options do not wake":       func(b *builder) { b.running().options("a").options("b") },
	"records":                   func(b *builder) { b.running().upsert("Text").memo().marker() },
	"continue as new":           func(b *builder) { b.running().continueAsNew("run-2") },
	"fail for good":             func(b *builder) { b.running().failRun(enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "") },
	"run timeout while started": func(b *builder) {
		b.begun().end(&historypb.WorkflowExecutionTimedOutEventAttributes{RetryState: enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET})
	},
	"nexus": func(b *builder) {
		n, m := b.running().nexus(), b.nexus()
		b.add(&historypb.NexusOperationStartedEventAttributes{ScheduledEventId: n})
		b.add(&historypb.NexusOperationCompletedEventAttributes{ScheduledEventId: m})
		b.task()
		c := b.add(&historypb.NexusOperationCancelRequestedEventAttributes{ScheduledEventId: n, WorkflowTaskCompletedEventId: b.completed})
		b.add(&historypb.NexusOperationCancelRequestCompletedEventAttributes{ScheduledEventId: n, RequestedEventId: c})
		b.last().WorkerMayIgnore = true
		b.add(&historypb.NexusOperationCanceledEventAttributes{ScheduledEventId: n})
		b.sched(1)
	},
	"null removes an attribute": func(b *builder) {
		b.running().upsert("Text").last().GetUpsertWorkflowSearchAttributesEventAttributes().SearchAttributes.IndexedFields["Size"] = nil
	},
	"timeouts": func(b *builder) {
		b.start(func(a *startedAttributes) {
			a.WorkflowExecutionTimeout, a.WorkflowRunTimeout = durationpb.New(time.Hour), durationpb.New(time.Minute)
			a.WorkflowExecutionExpirationTime = timestamppb.New(b.now.Add(time.Hour))
		}).sched(1)
	},
}

func TestLegalHistoriesPass(t *testing.T) {
	for name, build := range legal {
		t.Run(name, func(t *testing.T) {
			b := newBuilder()
			build(b)
			checkLegal(t, b.events)
		})
	}
}

// checkLegal fails unless the history, which is at rest, and each of its prefixes pass.
func checkLegal(t interface {
	Helper()
	Fatalf(string, ...any)
}, events []*historypb.HistoryEvent) {
	t.Helper()
	if err := (Options{AtRest: true}).Check(events); err != nil {
		t.Fatalf("legal history refused: %v\n%s", err, outline(events))
	}
	whole := len(events)
	if closesRun(events[whole-1]) {
		if err := CheckClosed(events); err != nil {
			t.Fatalf("legal closed history refused: %v\n%s", err, outline(events))
		}
		whole--
	}
	for n := 1; n <= whole; n++ {
		if err := CheckPrefix(events[:n]); err != nil {
			t.Fatalf("prefix of %d of a legal history refused: %v\n%s", n, err, outline(events))
		}
	}
}

func closesRun(e *historypb.HistoryEvent) bool { return (&walker{ev: e}).closes() }

func TestOpenOrClosed(t *testing.T) {
	open, closed := newBuilder().running(), newBuilder().running().completeRun()
	wantRules(t, CheckClosed(open.events), RuleOpen)
	wantRules(t, CheckPrefix(closed.events), RuleOpen)
	wantRules(t, CheckClosed(closed.events))
	wantRules(t, CheckPrefix(open.events))
	wantRules(t, Check(open.events))
	wantRules(t, Check(closed.events))
	wantRules(t, Check(nil), RuleFirst)
	wantRules(t, CheckClosed(nil), RuleFirst, RuleOpen)
}

func TestVirtualTail(t *testing.T) {
	untracked := func(b *builder, n int) []*historypb.HistoryEvent {
		for _, e := range b.events[len(b.events)-n:] {
			e.TaskId = 0
		}
		return b.events
	}
	tail := Options{VirtualTail: true, AtRest: true}
	for name, events := range map[string][]*historypb.HistoryEvent{
		"transient scheduled":   untracked(newBuilder().begun().fail(crashed).sched(2), 1),
		"transient started":     untracked(newBuilder().begun().fail(crashed).sched(4).taskStart(), 2),
		"speculative scheduled": untracked(newBuilder().running().sched(1), 1),
		"speculative started":   untracked(newBuilder().running().sched(1).taskStart(), 2),
	} {
		t.Run(name, func(t *testing.T) {
			wantRules(t, tail.CheckPrefix(events))
			wantSome(t, CheckPrefix(events), RuleTaskID)
		})
	}
	wantRules(t, tail.Check(newBuilder().running().events), RuleTask)
	wantRules(t, tail.Check(newBuilder().running().completeRun().events), RuleTask)
	wantRules(t, tail.Check(newBuilder().running().completeRun().sched(1).events), RuleClose)
	wantRules(t, Options{AtRest: true}.Check(newBuilder().begun().fail(crashed).sched(2).events), RuleAttempt)
}

func TestUntypedSearchAttributes(t *testing.T) {
	b := newBuilder().running().upsert("")
	wantRules(t, Check(b.events), RuleSearchAttributes)
	wantRules(t, Options{UntypedSearchAttributes: true}.Check(b.events))
}

func TestRunID(t *testing.T) {
	plain := newBuilder().running()
	wantRules(t, Options{RunID: "run-1"}.Check(plain.events))
	wantRules(t, Options{RunID: "run-2"}.Check(plain.events), RuleRunID)
	after := newBuilder().begun().reset("run-1", "run-2").sched(1)
	wantRules(t, Options{RunID: "run-2"}.Check(after.events))
	wantRules(t, Options{RunID: "run-1"}.Check(after.events), RuleRunID)
}

// TestKindsCoverTheAPI holds the table of kinds against the API, so that a new event type cannot be forgotten.
func TestKindsCoverTheAPI(t *testing.T) {
	values := enumspb.EVENT_TYPE_UNSPECIFIED.Descriptor().Values()
	fields := (&historypb.HistoryEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("attributes").Fields()
	for i := range values.Len() {
		typ := enumspb.EventType(values.Get(i).Number())
		if typ == enumspb.EVENT_TYPE_UNSPECIFIED {
			continue
		}
		_, known := kinds[typ]
		if known != (typ != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED) {
			t.Errorf("%s: in the table of kinds: %v", typ, known)
		}
		if name := attributesName(typ); fields.ByName(protoName(name)) == nil {
			t.Errorf("%s: the API has no attributes named %s", typ, name)
		}
	}
}

// TestCheckChangesNothing: the checker only reads.
func TestCheckChangesNothing(t *testing.T) {
	b := newBuilder()
	legal["reset"](b)
	before := &historypb.History{Events: b.events}
	after := proto.Clone(before)
	wantRules(t, Check(b.events))
	if !proto.Equal(before, after) {
		t.Fatal("Check changed the history")
	}
}
