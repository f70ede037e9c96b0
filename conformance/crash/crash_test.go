package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/api/serviceerror"
)

func TestPlanDependsOnTheSeedAloneAndMixesItsMoments(t *testing.T) {
	draw := func(seed uint64) []kill { return plan(rand.New(rand.NewPCG(seed, 0)), 200) }
	if !slices.Equal(draw(1), draw(1)) {
		t.Fatal("one seed gave two plans")
	}
	if slices.Equal(draw(1), draw(2)) {
		t.Fatal("two seeds gave one plan")
	}
	seen := map[moment]int{}
	for _, k := range draw(1) {
		seen[k.when]++
	}
	if len(seen) != 3 {
		t.Fatalf("200 kills fell into %v only", seen)
	}
	if draw(1)[0].when != underLoad {
		t.Fatal("the first kill must find something to lose")
	}
}

// What a collector returns is the test's main evidence; each kind of loss and doubling must be named.
func TestCheckCollectedNamesLossAndDoubling(t *testing.T) {
	entry := func() *runEntry {
		return &runEntry{
			workflowID: "w",
			signals:    map[int]*signalEntry{1: {acked: true}, 2: {acked: true}, 3: {}},
			updates: []*updateEntry{
				{id: "put-7", value: 7, outcome: put{7, 1}},
				{id: "put-8", value: 8, outcome: put{8, 2}},
			},
		}
	}
	puts := []put{{7, 1}, {8, 2}}
	for _, fine := range []collected{{[]int{1, 2}, puts}, {[]int{3, 2, 1}, puts}} {
		if err := entry().checkCollected(fine); err != nil {
			t.Error(err)
		}
	}
	for want, out := range map[string]collected{
		"did not get signal 2":        {[]int{1}, puts},
		"got signal 1 2 times":        {[]int{1, 2, 1}, puts},
		"got signal 3 2 times":        {[]int{1, 2, 3, 3}, puts},
		"signal 9, which nobody sent": {[]int{1, 2, 9}, puts},
		"took 1 updates, want 2":      {[]int{1, 2}, puts[:1]},
		"took 3 updates, want 2":      {[]int{1, 2}, append(slices.Clone(puts), put{8, 3})},
		"does not know update put-8":  {[]int{1, 2}, []put{{7, 1}, {7, 2}}},
		"at place 1 the position 2":   {[]int{1, 2}, []put{{8, 2}, {7, 1}}},
	} {
		if err := entry().checkCollected(out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestChainSumDependsOnEveryStep(t *testing.T) {
	in := chainInput{Key: "k", Steps: make([]step, 3)}
	if in.sum() == (chainInput{Key: "k", Steps: make([]step, 2)}).sum() {
		t.Fatal("a lost step does not show")
	}
	if in.sum() == (chainInput{Key: "l", Steps: make([]step, 3)}).sum() {
		t.Fatal("another chain's steps do not show")
	}
}

func TestOnlyPassingErrorsAreAskedAgain(t *testing.T) {
	for _, tc := range []struct {
		err             error
		again, surprise bool
	}{
		{serviceerror.NewUnavailable(""), true, false},
		{serviceerror.NewWorkflowNotReady(""), true, false},
		{context.DeadlineExceeded, true, false},
		{serviceerror.NewInternal(""), true, true},
		{serviceerror.NewNotFound(""), false, false},
		{serviceerror.NewInvalidArgument(""), false, false},
		{serviceerror.NewWorkflowExecutionAlreadyStarted("", "", ""), false, false},
	} {
		if again, surprise := passing(tc.err); again != tc.again || surprise != tc.surprise {
			t.Errorf("%T: again %t, surprise %t", tc.err, again, surprise)
		}
	}
}
