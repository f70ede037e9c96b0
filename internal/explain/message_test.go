package explain

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Whatever notes a ring has kept, each lands in one message, messages have a stage, and their stories can be told.
func TestEveryNoteHasItsPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var notes []execution.Note
		single := 0
		for i := range rapid.IntRange(0, 40).Draw(t, "notes") {
			n := execution.Note{
				Number: int64(i), At: clock.Nanos(i + 1), Kind: execution.NoteKind(rapid.IntRange(1, 4).Draw(t, "kind")),
				Stage: execution.NoteStage(rapid.IntRange(1, 10).Draw(t, "stage")), ID: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "id"),
				Name: rapid.SampledFrom([]string{"", "add"}).Draw(t, "name"), Event: ids.EventID(rapid.IntRange(0, 30).Draw(t, "event")),
				Text: rapid.SampledFrom([]string{"", "why"}).Draw(t, "text"),
			}
			if n.Kind != execution.NoteTask {
				single++
			}
			notes = append(notes, n)
		}
		placed := 0
		for _, m := range Messages("run", notes) {
			own := 0
			for _, s := range m.Stages {
				if notes[int(s.At)-1].Kind != execution.NoteTask {
					own++
				}
			}
			placed += own
			if own == 0 {
				t.Fatalf("message %+v has no note of its own", m)
			}
			story := Story(m, Facts{})
			if len(story) == 0 {
				t.Fatalf("nothing is told of %+v", m)
			}
			for _, sentence := range story {
				if strings.Contains(sentence, "%!") {
					t.Fatalf("badly told: %s", sentence)
				}
			}
		}
		if placed != single {
			t.Fatalf("%d of %d notes are in messages", placed, single)
		}
	})
}

func TestARepetitionDoesNotHideWhereTheMessageStands(t *testing.T) {
	notes := []execution.Note{
		{At: 1, Kind: execution.NoteSignal, Stage: execution.NoteReceived, ID: "r", Name: "add", Event: 5},
		{Number: 1, At: 2, Kind: execution.NoteTask, Stage: execution.NoteDelivered, Event: 7, Identity: "worker"},
		{Number: 2, At: 3, Kind: execution.NoteSignal, Stage: execution.NoteRepeated, ID: "r", Name: "add"},
	}
	m := Messages("run", notes)[0]
	for handlers, want := range map[*Handlers]string{
		nil:                                      "it could not be asked now",
		{Signals: []string{"add"}}:               `has a handler for signal "add"`,
		{DynamicSignals: true}:                   "but a dynamic one",
		{Signals: []string{"remove", "replace"}}: "It is unhandled: the workflow has no handler for signal \"add\" and no dynamic one (it has: remove, replace).",
	} {
		story := strings.Join(Story(m, Facts{Handlers: handlers}), "\n")
		if !strings.Contains(story, want) || !strings.Contains(story, "it was sent again") {
			t.Errorf("%q is not in:\n%s", want, story)
		}
	}
}
