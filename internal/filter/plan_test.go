package filter

import (
	"math"
	"slices"
	"testing"

	"github.com/perdure/perdure/internal/clock"
)

func TestEqualTo(t *testing.T) {
	open := []string(nil)
	rows := []struct {
		query, attribute string
		want             []string // open: not pinned
	}{
		{"WorkflowId = 'a'", WorkflowID, []string{"a"}},
		{"WorkflowId = 'a'", RunID, open},
		{"WorkflowId IN ('b', 'a', 'b')", WorkflowID, []string{"a", "b"}},
		{"I = 1 AND (K = 'x' AND WorkflowId = 'a')", WorkflowID, []string{"a"}},
		{"WorkflowId IN ('a', 'b', 'c') AND WorkflowId IN ('d', 'c', 'b')", WorkflowID, []string{"b", "c"}},
		{"WorkflowId = 'a' AND WorkflowId = 'b'", WorkflowID, []string{}},
		{"WorkflowId = 'b' OR WorkflowId IN ('a', 'b')", WorkflowID, []string{"a", "b"}},
		{"WorkflowId = 'b' OR I = 1", WorkflowID, open},
		{"(WorkflowId = 'b' OR I = 1) AND WorkflowId = 'a'", WorkflowID, []string{"a"}},
		{"(WorkflowId = 'b' AND I = 1) OR WorkflowId = 'a'", WorkflowID, []string{"a", "b"}},
		{"WorkflowId != 'a'", WorkflowID, open},
		{"WorkflowId NOT IN ('a')", WorkflowID, open},
		{"NOT WorkflowId = 'a'", WorkflowID, open},
		{"WorkflowId >= 'a'", WorkflowID, open},
		{"WorkflowId BETWEEN 'a' AND 'a'", WorkflowID, open},
		{"WorkflowId STARTS_WITH 'a'", WorkflowID, open},
		{"WorkflowId IS NULL", WorkflowID, open},
		{"L = 'a'", "L", open},
		{"T = 'a'", "T", open},
		{"ScheduleId = 'a'", WorkflowID, []string{ScheduleIDPrefix + "a"}},
		{"Alias = 'a'", "Keyword01", []string{"a"}},
		{"ExecutionStatus IN (2, 'Running')", ExecutionStatus, []string{"Completed", "Running"}},
		{"", WorkflowID, open},
	}
	for _, row := range rows {
		q := mustParse(t, row.query)
		for range 2 { // asking must not change the query
			got, ok := q.EqualTo(row.attribute)
			if ok != (row.want != nil) || !slices.Equal(got, row.want) {
				t.Errorf("%s pins %s to %q, %v, want %q", row.query, row.attribute, got, ok, row.want)
			}
		}
	}
}

func TestTimeBounds(t *testing.T) {
	const least, greatest = clock.Nanos(math.MinInt64), clock.Nanos(math.MaxInt64)
	rows := []struct {
		query    string
		from, to clock.Nanos
	}{
		{"StartTime = 5", 5, 5},
		{"StartTime < 5", least, 4},
		{"StartTime <= 5", least, 5},
		{"StartTime > 5", 6, greatest},
		{"StartTime >= 5", 5, greatest},
		{"StartTime BETWEEN 5 AND 9", 5, 9},
		{"StartTime IN (9, 5, 7)", 5, 9},
		{"StartTime > 5 AND K = 'x' AND StartTime < 10", 6, 9},
		{"StartTime < 5 OR StartTime = 9", least, 9},
		{"StartTime = 3 OR StartTime = 9 OR (StartTime > 20 AND StartTime < 10)", 3, 9},
		{"StartTime > 9223372036854775807", greatest, least},
		{"StartTime < -9223372036854775808", greatest, least},
		{"StartTime < 5 OR K = 'x'", least, greatest},
		{"StartTime != 5", least, greatest},
		{"NOT StartTime > 5", least, greatest},
		{"StartTime NOT BETWEEN 5 AND 9", least, greatest},
		{"StartTime IS NOT NULL", least, greatest},
		{"CloseTime > 5", least, greatest},
		{"", least, greatest},
	}
	for _, row := range rows {
		got, ok := mustParse(t, row.query).TimeBounds(StartTime)
		want := Bounds{row.from, row.to}
		if got != want || ok != (want != unbounded) || got.Empty() != (row.from > row.to) {
			t.Errorf("%s pins StartTime to %v, %v, want %v", row.query, got, ok, want)
		}
	}
}

func TestPrefixAndNull(t *testing.T) {
	for query, want := range map[string]string{
		"K STARTS_WITH 'ab'": "ab", "K STARTS_WITH 'a' AND K STARTS_WITH 'abc' AND I = 1": "abc", "K NOT STARTS_WITH 'a'": "-",
		"NOT K STARTS_WITH 'a'": "-", "K STARTS_WITH 'a' OR I = 1": "-", "K = 'a'": "-", "": "-", "ScheduleId STARTS_WITH 'a'": "-",
	} {
		got, ok := mustParse(t, query).Prefix("K")
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%s demands the prefix %q, want %q", query, got, want)
		}
	}
	for query, want := range map[string]bool{
		"CloseTime IS NULL": true, "I = 1 AND CloseTime IS NULL": true, "CloseTime IS NULL OR I = 1": false,
		"CloseTime IS NULL AND I = 1 OR CloseTime IS NULL": true, "CloseTime IS NOT NULL": false, "NOT CloseTime IS NULL": false,
		"StartTime IS NULL": false, "": false,
	} {
		if got := mustParse(t, query).RequiresNull(CloseTime); got != want {
			t.Errorf("%s requires an open execution: %v, want %v", query, got, want)
		}
	}
}
