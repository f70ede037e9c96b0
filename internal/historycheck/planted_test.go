package historycheck

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestPlantedFaultsAreFound(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			b := newBuilder()
			f.build(b)
			wantRules(t, Check(b.events), f.rules...)
			if t.Failed() {
				t.Log(outline(b.events))
			}
		})
	}
}

// TestFaultsAtRest plants what only a reader between transactions may call a fault.
func TestFaultsAtRest(t *testing.T) {
	for _, f := range []fault{
		{"lost wake-up", one(RuleWake), func(b *builder) { b.running().signal("") }},
		{"lost wake-up behind a flush", one(RuleWake), func(b *builder) { b.activityDone(b.begun().complete().activity("x")) }},
		{"lost reset task", one(RuleWake), func(b *builder) { b.begun().reset("run-1", "run-2") }},
		{"lost sticky retry", one(RuleWake), func(b *builder) { b.start().sched(1).taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START) }},
		{"lost unpause task", one(RuleWake), func(b *builder) { b.running().pause().unpause() }},
		{"nothing flushed", one(RuleWake), func(b *builder) { b.begun().fail(unhandled) }},
		{"no first task", one(RuleFirstTask), func(b *builder) { b.start() }},
		{"dangling activity start", one(RuleActivityPair), func(b *builder) { b.activityStart(b.running().activity("x")) }},
		{"retry stored early", one(RuleAttempt), func(b *builder) { b.begun().fail(crashed).sched(2).taskStart() }},
	} {
		t.Run(f.name, func(t *testing.T) {
			b := newBuilder()
			f.build(b)
			wantRules(t, Check(b.events))
			wantRules(t, Options{AtRest: true}.Check(b.events), f.rules...)
		})
	}
}

// TestEveryRuleIsPlanted keeps the tables complete: a rule nobody breaks is a rule nobody tests.
func TestEveryRuleIsPlanted(t *testing.T) {
	planted := map[Rule]bool{RuleOpen: true, RuleRunID: true} // TestOpenOrClosed, TestRunID
	for _, f := range faults {
		for _, r := range f.rules {
			planted[r] = true
		}
	}
	for _, f := range chainFaults {
		planted[f.rule] = true
	}
	for _, r := range []Rule{
		RuleIDs, RuleType, RuleTime, RuleTaskID, RuleVersion, RuleIgnorable, RuleFirst, RuleStarted, RuleFirstTask, RuleClose,
		RuleCloseFields, RuleOpen, RuleRunID, RuleTask, RuleTaskRef, RuleTaskFields, RuleAttempt, RuleBatch, RuleBuffered, RuleFlush,
		RuleWake, RuleActivity, RuleActivityPair, RuleActivityFields, RuleActivityCancel, RuleTimer, RuleChild, RuleExternal,
		RuleUpdate, RuleSignal, RuleCancel, RuleReset, RulePause, RuleOptions, RuleNexus, RuleRecord, RuleSearchAttributes,
		RuleChainLink, RuleChainConstant, RuleChainAttempt, RuleChainInitiator, RuleChainCarry,
	} {
		if !planted[r] {
			t.Errorf("no fault breaks rule %s", r)
		}
	}
}

func TestViolationsNameEventTypeAndRule(t *testing.T) {
	b := newBuilder().running().marker()
	b.last().EventId = 9
	b.marker().last().TaskId = 1
	err := Check(b.events)
	for _, want := range []string{"2 violation(s)", "event 9 MarkerRecorded: event-ids: want ID 5", "event 6 MarkerRecorded: task-id:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

// rulesOf is the set of rules that err reports.
func rulesOf(err error) []Rule {
	var vs Violations
	if err != nil && !errors.As(err, &vs) {
		return []Rule{Rule("not Violations: " + err.Error())}
	}
	var rules []Rule
	for _, v := range vs {
		rules = append(rules, v.Rule)
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// wantRules fails unless err reports exactly these rules.
func wantRules(t *testing.T, err error, want ...Rule) {
	t.Helper()
	slices.Sort(want)
	if got := rulesOf(err); !slices.Equal(got, want) {
		t.Errorf("broken rules %v, want %v: %v", got, want, err)
	}
}

// wantSome fails unless err reports this rule, among others perhaps.
func wantSome(t *testing.T, err error, want Rule) {
	t.Helper()
	if !slices.Contains(rulesOf(err), want) {
		t.Errorf("rule %s is not reported: %v", want, err)
	}
}

// outline is the history in short.
func outline(events []*historypb.HistoryEvent) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%3d %s\n", e.GetEventId(), e.GetEventType())
	}
	return b.String()
}

func protoName(s string) protoreflect.Name { return protoreflect.Name(s) }
