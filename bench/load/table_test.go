package main

import (
	"strings"
	"testing"
)

func line(target, row string, round int, rate float64) *measurement {
	return &measurement{Target: target, Row: row, Round: round, OK: true, Operations: 1, Rate: rate, P50: 1.25, P99: 12345, ServerCPU: 0.5, LoadCPU: 2}
}

func written(t *testing.T, ms ...*measurement) string {
	t.Helper()
	sums := newTable([]string{"a", "b"})
	for _, m := range ms {
		sums.add(m)
	}
	var out strings.Builder
	sums.write(&out)
	return out.String()
}

func hasLine(t *testing.T, text, want string) {
	t.Helper()
	for got := range strings.Lines(text) {
		if strings.TrimSpace(got) == want {
			return
		}
	}
	t.Errorf("no line %s in\n%s", want, text)
}

// The machine was half as fast in the second round, which is not to show in the ratio.
func TestRatiosAreWithinRounds(t *testing.T) {
	text := written(t,
		line("a", "empty@8", 0, 2000), line("b", "empty@8", 0, 1000),
		line("a", "empty@8", 1, 1000), line("b", "empty@8", 1, 500))
	hasLine(t, text, "| empty@8 | 1,500 [1,000..2,000] · 1.2 / 12,345 · 0.50 + 2.0 | 750 [500..1,000] · ×0.50 · 1.2 / 12,345 · 0.50 + 2.0 |")
}

func TestWhatFailedIsNotAFigure(t *testing.T) {
	wrong := line("b", "empty@8", 1, 9e9)
	wrong.OK = false
	hasLine(t, written(t, line("a", "empty@8", 0, 10), line("b", "empty@8", 0, 20), wrong),
		"| empty@8 | 10.0 · 1.2 / 12,345 · 0.50 + 2.0 | 20.0 · ×2.00 · 1.2 / 12,345 · 0.50 + 2.0 (1 FAILED) |")
	hasLine(t, written(t, line("a", "empty@8", 0, 10), wrong), "| empty@8 | 10.0 · 1.2 / 12,345 · 0.50 + 2.0 | FAILED |")
}

func TestWhatIsNotServedIsADash(t *testing.T) {
	unserved := &measurement{Target: "b", Row: "empty@8", Unserved: true}
	hasLine(t, written(t, line("a", "empty@8", 0, 0.123), unserved), "| empty@8 | 0.12 · 1.2 / 12,345 · 0.50 + 2.0 | – |")
}

func TestExtrasHaveRowsOfTheirOwn(t *testing.T) {
	m, n := line("a", "open:2@8", 0, 1), line("b", "open:10@8", 0, 1)
	m.extra("fill, per s", 0.5)
	n.extra("fill, per s", 7)
	text := written(t, m, n)
	hasLine(t, text, "| open:2@8 fill, per s | 0.50 | – |")
	hasLine(t, text, "| open:10@8 fill, per s | – | 7.0 |")
	if strings.Index(text, "open:2@8 fill") > strings.Index(text, "open:10@8 fill") {
		t.Error("not in the order of the table")
	}
}
