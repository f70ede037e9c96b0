package frontend

import (
	"slices"
	"testing"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

var sampleRun = ids.RunKey{Namespace: "11111111-2222-4333-8444-555555555555", Workflow: "order/7 ü", Run: runA}

func TestTokensRoundTrip(t *testing.T) {
	wft := execution.WorkflowTaskToken{Run: sampleRun, Seq: 3, ScheduledID: 5, StartedID: 6, StartedAt: 1_700_000_000_123_456_789, Attempt: 2}
	if got, err := decodeWorkflowTask(encodeWorkflowTask(wft)); err != nil || got != wft {
		t.Errorf("workflow task: %+v, %v", got, err)
	}
	act := execution.ActivityToken{Run: sampleRun, ScheduledID: 9, ActivityID: "a", Attempt: 4, StartedAt: 12, Stamp: 1}
	if got, err := decodeActivity(encodeActivity(act)); err != nil || got != act {
		t.Errorf("activity: %+v, %v", got, err)
	}
	query := queryToken{Namespace: sampleRun.Namespace, Query: "q-1"}
	if got, err := decodeQuery(query.encode()); err != nil || got != query {
		t.Errorf("query: %+v, %v", got, err)
	}
	history := historyToken{Run: sampleRun, Next: 257, End: 1000, For: pageForTask}
	if got, err := decodeHistory(history.encode(tokenHistory), tokenHistory); err != nil || got != history {
		t.Errorf("history: %+v, %v", got, err)
	}
	list := listToken{Namespace: sampleRun.Namespace, Query: 1 << 63, Closed: true, Time: 77, Run: runA}
	if got, err := decodeList(list.encode()); err != nil || got != list {
		t.Errorf("list: %+v, %v", got, err)
	}
	batches := batchesToken{Namespace: sampleRun.Namespace, Start: 77, Job: "nightly \x00"}
	if got, err := decodeBatches(batches.encode()); err != nil || got != batches {
		t.Errorf("batches: %+v, %v", got, err)
	}
}

// Every token with any one bit flipped, or cut anywhere, is refused, and so is one of another kind.
func TestDamagedTokensAreRefused(t *testing.T) {
	good := encodeWorkflowTask(execution.WorkflowTaskToken{Run: sampleRun, Seq: 3, ScheduledID: 5, StartedID: 6, StartedAt: 9, Attempt: 1})
	for i := range len(good) * 8 {
		bad := slices.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := decodeWorkflowTask(bad); err == nil {
			t.Fatalf("accepted with bit %d flipped", i)
		}
	}
	for i := range good {
		if _, err := decodeWorkflowTask(good[:i]); err == nil {
			t.Fatalf("accepted after %d bytes", i)
		}
	}
	if _, err := decodeActivity(good); err == nil {
		t.Error("a workflow task's token was accepted as an activity's")
	}
	reverse := historyToken{Run: sampleRun, Next: 2}.encode(tokenReverse)
	if _, err := decodeHistory(reverse, tokenHistory); err == nil {
		t.Error("a token of reverse history was accepted as one of forward history")
	}
	if _, err := decodeActivity(encodeActivity(execution.ActivityToken{Run: sampleRun, ActivityID: "a"})); err == nil {
		t.Error("an activity token without a scheduled event was accepted: it would skip the checks of the attempt")
	}
}

func FuzzTokens(f *testing.F) {
	f.Add(encodeWorkflowTask(execution.WorkflowTaskToken{Run: sampleRun, Seq: 1}))
	f.Add(encodeActivity(execution.ActivityToken{Run: sampleRun, ScheduledID: 5, ActivityID: "x"}))
	f.Add(queryToken{Query: "q"}.encode())
	f.Add(historyToken{Run: sampleRun, Next: 1}.encode(tokenHistory))
	f.Add(listToken{Namespace: sampleRun.Namespace, Run: runA}.encode())
	f.Add(batchesToken{Namespace: sampleRun.Namespace, Job: "j"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := (&tokenWriter{b: slices.Clone(b)}).bytes() // gets past the checksum
		for _, b := range [][]byte{b, sealed} {
			if tok, err := decodeWorkflowTask(b); err == nil {
				if again, err := decodeWorkflowTask(encodeWorkflowTask(tok)); err != nil || again != tok {
					t.Fatalf("%+v became %+v, %v", tok, again, err)
				}
			}
			_, _ = decodeActivity(b)
			_, _ = decodeQuery(b)
			_, _ = decodeHistory(b, tokenHistory)
			_, _ = decodeHistory(b, tokenReverse)
			_, _ = decodeList(b)
			_, _ = decodeBatches(b)
		}
	})
}
