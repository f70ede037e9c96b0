package workflowtest

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	updatepb "go.temporal.io/api/update/v1"
)

// What a correct server never does is noticed all the same.
func TestABrokenPromiseIsNoticed(t *testing.T) {
	done := func(text string) *updatepb.Outcome {
		return &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: []byte(text)}}}}}
	}
	s, u := signal{"w", "Pay", "5"}, update{"w", "u"}
	for _, c := range []struct {
		name     string
		counted  tally
		told     []*updatepb.Outcome
		recorded []*updatepb.Outcome
		want     string // in the error; empty: all is well
	}{
		{"nothing", tally{}, nil, nil, ""},
		{"acknowledged and there", tally{2, 2, 2}, nil, nil, ""},
		{"not acknowledged, and there", tally{2, 1, 2}, nil, nil, ""},
		{"lost", tally{2, 2, 1}, nil, nil, "it is there 1 times"},
		{"twice there", tally{1, 1, 2}, nil, nil, "it is there 2 times"},
		{"told and there", tally{}, []*updatepb.Outcome{done("a"), done("a")}, []*updatepb.Outcome{done("a")}, ""},
		{"never told", tally{}, nil, []*updatepb.Outcome{done("a")}, ""},
		{"told two things", tally{}, []*updatepb.Outcome{done("a"), done("b")}, []*updatepb.Outcome{done("b")}, "had two outcomes"},
		{"told and not there", tally{}, []*updatepb.Outcome{done("a")}, nil, "in no history"},
		{"told otherwise", tally{}, []*updatepb.Outcome{done("a")}, []*updatepb.Outcome{done("b")}, "the history has"},
		{"recorded twice", tally{}, nil, []*updatepb.Outcome{done("a"), done("a")}, "has 2 outcomes"},
	} {
		l := newLedger()
		l.signals[s] = &c.counted
		for _, o := range c.told {
			l.told(&updatepb.UpdateRef{WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: u.workflow}, UpdateId: u.id}, o)
		}
		outcomes := map[update][]*updatepb.Outcome{}
		if len(c.recorded) > 0 {
			outcomes[u] = c.recorded
		}
		err := l.compare(outcomes)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
