package limits

import (
	"testing"
	"time"

	"github.com/perdure/perdure/internal/execution"
)

func TestSettingsReachTheirLimits(t *testing.T) {
	l := execution.DefaultLimits()
	unknown, err := Set(l, []string{
		"LIMIT.BLOBSIZE.ERROR=7", "history.maxTotalUpdates.suggestContinueAsNewThreshold=0.5", `history.defaultWorkflowTaskTimeout="3s"`,
		"limit.historySize.error = 9000000",
	})
	if err != nil || len(unknown) > 0 {
		t.Fatal(unknown, err)
	}
	if l.BlobBytes != 7 || l.SuggestUpdatesPercent != 50 || l.TaskTimeoutDefault != 3*time.Second || l.HistoryBytes != 9000000 {
		t.Errorf("got %+v", l)
	}
	// Every setting that is listed changes something: none is accepted and dropped.
	for _, s := range knownSettings {
		if s.name == uncheckedVersions {
			continue
		}
		changes := false
		for _, value := range []string{"1", "0.25", "77s", "true", "false"} {
			changed := execution.DefaultLimits()
			changes = changes || s.set(changed, value) == nil && *changed != *execution.DefaultLimits()
		}
		if !changes {
			t.Errorf("%s has no effect", s.name)
		}
	}
}
