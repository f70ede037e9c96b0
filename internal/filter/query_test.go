package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
)

// fields is a Record for tests.
type fields map[string]Value

func (f fields) Value(attribute string) Value { return f[attribute] }

// testAttributes are a namespace's own; Alias shows that the stored name may differ from the one users know.
func testAttributes(name string) (Attribute, bool) {
	types := map[string]enumspb.IndexedValueType{
		"K": enumspb.INDEXED_VALUE_TYPE_KEYWORD, "L": enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
		"T": enumspb.INDEXED_VALUE_TYPE_TEXT, "I": enumspb.INDEXED_VALUE_TYPE_INT, "D": enumspb.INDEXED_VALUE_TYPE_DOUBLE,
		"B": enumspb.INDEXED_VALUE_TYPE_BOOL, "At": enumspb.INDEXED_VALUE_TYPE_DATETIME,
		"my-own attr`": enumspb.INDEXED_VALUE_TYPE_KEYWORD, "Order": enumspb.INDEXED_VALUE_TYPE_INT,
		"TaskQueue": enumspb.INDEXED_VALUE_TYPE_INT, "TemporalHidden": enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		"Offset": enumspb.INDEXED_VALUE_TYPE_INT, "Größe": enumspb.INDEXED_VALUE_TYPE_INT,
	}
	if name == "Alias" {
		return Attribute{Name: "Keyword01", Type: enumspb.INDEXED_VALUE_TYPE_KEYWORD, Groupable: true}, true
	}
	typ, ok := types[name]
	return Attribute{Name: name, Type: typ}, ok
}

var testResolver = First(testAttributes, SystemAttribute)

func mustParse(t testing.TB, query string) *Query {
	t.Helper()
	q, err := Parse(query, testResolver, Options{OrderBy: true, GroupBy: true})
	if err != nil {
		t.Fatalf("Parse(%q): %v", query, err)
	}
	return q
}

func moment(t testing.TB, s string) clock.Nanos {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return clock.FromTime(at)
}

// verdict tells yes, no and unknown apart from outside: unknown is what neither a query nor its negation matches.
func verdict(t testing.TB, query string, rec Record) string {
	t.Helper()
	is, not := mustParse(t, query).Match(rec), mustParse(t, "NOT ("+query+")").Match(rec)
	switch {
	case is && not:
		t.Fatalf("%q matches together with its negation", query)
	case is:
		return "yes"
	case not:
		return "no"
	}
	return "unknown"
}

// TestOperators asks each operator of each type: of a record that has the value, and of one that does not, where only
// the null tests know an answer.
func TestOperators(t *testing.T) {
	rec := fields{
		"K": Keyword("m"), "L": KeywordList([]string{"a", "m"}), "T": Text("The quick-brown Fox, 42 times"),
		"I": Int(10), "D": Double(2.5), "B": Bool(true), "At": Datetime(moment(t, "2026-03-04T05:06:07.5Z")),
		ExecutionStatus: Keyword("TimedOut"), ExecutionDuration: Int(int64(90 * time.Minute)),
	}
	rows := []struct{ query, want string }{
		{`K = 'm'`, "yes"}, {`K = "m"`, "yes"}, {`K = 'M'`, "no"}, {`K = ''`, "no"},
		{`K != 'm'`, "no"}, {`K <> 'n'`, "yes"},
		{`K < 'n'`, "yes"}, {`K < 'm'`, "no"}, {`K <= 'm'`, "yes"}, {`K <= 'l'`, "no"},
		{`K > 'l'`, "yes"}, {`K > 'm'`, "no"}, {`K >= 'm'`, "yes"}, {`K >= 'n'`, "no"},
		{`K IN ('z', 'm', 'a')`, "yes"}, {`K IN ('z')`, "no"}, {`K NOT IN ('z', 'm')`, "no"}, {`K NOT IN ('z')`, "yes"},
		{`K BETWEEN 'm' AND 'm'`, "yes"}, {`K BETWEEN 'n' AND 'z'`, "no"}, {`K BETWEEN 'a' AND 'l'`, "no"},
		{`K NOT BETWEEN 'a' AND 'z'`, "no"}, {`K NOT BETWEEN 'n' AND 'z'`, "yes"},
		{`K STARTS_WITH 'm'`, "yes"}, {`K STARTS_WITH ''`, "yes"}, {`K STARTS_WITH 'mm'`, "no"},
		{`K NOT STARTS_WITH 'm'`, "no"}, {`K NOT STARTS_WITH 'x'`, "yes"},

		{`L = 'a'`, "yes"}, {`L = 'b'`, "no"}, {`L != 'a'`, "no"}, {`L != 'b'`, "yes"},
		{`L IN ('b', 'm')`, "yes"}, {`L IN ('b', 'c')`, "no"}, {`L NOT IN ('b', 'm')`, "no"}, {`L NOT IN ('b', 'c')`, "yes"},

		{`T = 'fox'`, "yes"}, {`T = 'zebra BROWN'`, "yes"}, {`T = 'fo'`, "no"}, {`T = '42'`, "yes"}, {`T = '-'`, "no"},
		{`T != 'fox'`, "no"}, {`T != 'zebra'`, "yes"},

		{`I = 10`, "yes"}, {`I = +10`, "yes"}, {`I = -10`, "no"}, {`I = '10'`, "yes"}, {`I = 10.0`, "yes"}, {`I = 10.5`, "no"},
		{`I != 10`, "no"}, {`I < 11`, "yes"}, {`I < 10`, "no"}, {`I < 10.1`, "yes"}, {`I <= 10`, "yes"}, {`I <= 9`, "no"},
		{`I > 9`, "yes"}, {`I > 10`, "no"}, {`I > -1e30`, "yes"}, {`I > 1e30`, "no"}, {`I > 99999999999999999999`, "no"},
		{`I >= 10`, "yes"}, {`I >= 11`, "no"}, {`I IN (1, 10)`, "yes"}, {`I NOT IN (1, 10)`, "no"}, {`I IN (1, 9.5, 11)`, "no"},
		{`I BETWEEN 10 AND 20`, "yes"}, {`I BETWEEN 11 AND 20`, "no"}, {`I BETWEEN 20 AND 1`, "no"}, {`I NOT BETWEEN 11 AND 20`, "yes"},

		{`D = 2.5`, "yes"}, {`D = '2.5'`, "yes"}, {`D = 25e-1`, "yes"}, {`D = 2`, "no"}, {`D != 2`, "yes"}, {`D < 3`, "yes"},
		{`D < 2`, "no"}, {`D <= 2.5`, "yes"}, {`D > 2`, "yes"}, {`D > .5`, "yes"}, {`D >= 2.6`, "no"}, {`D IN (1, 2.5)`, "yes"},
		{`D NOT IN (1, 2)`, "yes"}, {`D BETWEEN 2 AND 3`, "yes"}, {`D NOT BETWEEN 2 AND 3`, "no"},

		{`B = true`, "yes"}, {`B = FALSE`, "no"}, {`B != false`, "yes"}, {`B = 'true'`, "yes"}, {`B = "False"`, "no"},

		{`At = '2026-03-04T05:06:07.5Z'`, "yes"}, {`At = '2026-03-04T06:06:07.5+01:00'`, "yes"}, {`At = 1772600767500000000`, "yes"},
		{`At != '2026-03-04T05:06:07Z'`, "yes"}, {`At < '2026-03-04T05:06:08Z'`, "yes"}, {`At < '2026-03-04T05:06:07Z'`, "no"},
		{`At <= '2026-03-04T05:06:07.5Z'`, "yes"}, {`At > '2026-03-04T05:06:07.499999999Z'`, "yes"}, {`At > 1772600767500000000`, "no"},
		{`At >= '0001-01-01T00:00:00Z'`, "yes"}, {`At >= '9999-12-31T23:59:59Z'`, "no"}, {`At > '1970-01-01T00:00:00Z'`, "yes"},
		{`At IN ('2026-03-04T05:06:07.5Z', 5)`, "yes"}, {`At NOT IN (5)`, "yes"},
		{`At BETWEEN '2026-03-04T00:00:00Z' AND '2026-03-05T00:00:00Z'`, "yes"},
		{`At NOT BETWEEN '2026-03-04T00:00:00Z' AND '2026-03-05T00:00:00Z'`, "no"},

		{`ExecutionStatus = 'TimedOut'`, "yes"}, {`ExecutionStatus = 7`, "yes"}, {`ExecutionStatus = 'WORKFLOW_EXECUTION_STATUS_TIMED_OUT'`, "yes"},
		{`ExecutionStatus != 'Paused'`, "yes"}, {`ExecutionStatus IN ("Running", 2)`, "no"}, {`ExecutionStatus IN ('Failed', 'TimedOut')`, "yes"},

		{`ExecutionDuration = 5400000000000`, "yes"}, {`ExecutionDuration = '5400000000000'`, "yes"}, {`ExecutionDuration = '1h30m'`, "yes"},
		{`ExecutionDuration = '01:30:00'`, "yes"}, {`ExecutionDuration < '1d'`, "yes"}, {`ExecutionDuration > '1s'`, "yes"},
		{`ExecutionDuration BETWEEN '89m' AND '1h31m'`, "yes"}, {`ExecutionDuration > '1d1h'`, "no"},
	}
	for _, name := range []string{"K", "L", "T", "I", "D", "B", "At"} {
		rows = append(rows, struct{ query, want string }{name + " IS NULL", "no"}, struct{ query, want string }{name + " IS NOT NULL", "yes"})
	}
	for _, row := range rows {
		if got := verdict(t, row.query, rec); got != row.want {
			t.Errorf("%s: %s, want %s", row.query, got, row.want)
		}
		wantUnset := "unknown"
		if strings.HasSuffix(row.query, " NULL") {
			wantUnset = map[string]string{"yes": "no", "no": "yes"}[row.want]
		}
		if got := verdict(t, row.query, fields{}); got != wantUnset {
			t.Errorf("%s of an unset attribute: %s, want %s", row.query, got, wantUnset)
		}
	}
}

// TestOperatorTable checks for every pair of type and operator whether it is accepted, and how it is refused.
func TestOperatorTable(t *testing.T) {
	all := []string{"=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "BETWEEN", "NOT BETWEEN", "STARTS_WITH", "NOT STARTS_WITH", "IS NULL", "IS NOT NULL"}
	equality, membership, nulls := all[:2], all[6:8], all[12:]
	comparisons := all[:10]
	types := []struct {
		name, typ, literal string
		allowed            [][]string
	}{
		{"K", "Keyword", "'x'", [][]string{all}},
		{"L", "KeywordList", "'x'", [][]string{equality, membership, nulls}},
		{"T", "Text", "'x'", [][]string{equality, nulls}},
		{"I", "Int", "1", [][]string{comparisons, nulls}},
		{"D", "Double", "1.5", [][]string{comparisons, nulls}},
		{"At", "Datetime", "1", [][]string{comparisons, nulls}},
		{"B", "Bool", "true", [][]string{equality, nulls}},
	}
	for _, typ := range types {
		for _, op := range all {
			condition := fmt.Sprintf("%s %s %s", typ.name, op, typ.literal)
			switch {
			case strings.HasSuffix(op, "IN"):
				condition = fmt.Sprintf("%s %s (%s)", typ.name, op, typ.literal)
			case strings.HasSuffix(op, "BETWEEN"):
				condition += " AND " + typ.literal
			case strings.HasSuffix(op, "NULL"):
				condition = typ.name + " " + op
			}
			want := fmt.Sprintf("invalid query: operator '%s' not supported for %s type search attribute in `%s`",
				strings.ToLower(op), typ.typ, condition)
			if strings.HasSuffix(op, "BETWEEN") {
				want = fmt.Sprintf("invalid query: cannot do range condition on search attribute '%s' of type %s", typ.name, typ.typ)
			}
			for _, ops := range typ.allowed {
				for _, allowed := range ops {
					if allowed == op {
						want = ""
					}
				}
			}
			_, err := Parse(condition, testResolver, Options{})
			if got := errorText(err); got != want {
				t.Errorf("Parse(%q): %q, want %q", condition, got, want)
			}
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestErrors(t *testing.T) {
	deep := strings.Repeat("(", 100000) + "I = 1" + strings.Repeat(")", 100000)
	rows := []struct{ query, want string }{
		{`Nope = 1`, "invalid expression: column name 'Nope' is not a valid search attribute"},
		{`k = 'x'`, "invalid expression: column name 'k' is not a valid search attribute"},
		{`K = foo`, "invalid expression: column name on the right side of comparison expression (did you forget to quote 'foo'?)"},
		{`K IN ('a', b)`, "invalid expression: column name on the right side of comparison expression (did you forget to quote 'b'?)"},
		{`ExecutionStatus = 'Runing'`, "invalid ExecutionStatus value 'Runing'"},
		{`ExecutionStatus = 0`, "invalid ExecutionStatus value '0'"},
		{`ExecutionStatus STARTS_WITH 'Run'`, "invalid ExecutionStatus value 'Run'"},
		{`StartTime > 'yesterday'`, "unable to parse datetime 'yesterday' of search attribute 'StartTime'"},
		{`StartTime > '2026-03-04'`, "unable to parse datetime '2026-03-04' of search attribute 'StartTime'"},
		{`StartTime > 1.5`, "invalid value for search attribute StartTime of type Datetime: 1.5"},
		{`K = 1`, "invalid value for search attribute K of type Keyword: 1"},
		{`L = true`, "invalid value for search attribute L of type KeywordList: true"},
		{`T = 5`, "invalid value for search attribute T of type Text: 5"},
		{`I = 'ten'`, "invalid value for search attribute I of type Int: 'ten'"},
		{`D = true`, "invalid value for search attribute D of type Double: true"},
		{`D = 'inf'`, "invalid value for search attribute D of type Double: 'inf'"},
		{`B = 1`, "invalid value for search attribute B of type Bool: 1"},
		{`ExecutionDuration > '1 hour'`, "invalid value for search attribute ExecutionDuration of type Int: '1 hour'"},
		{`ExecutionDuration > '1:2:3'`, "invalid value for search attribute ExecutionDuration of type Int: '1:2:3'"},
		{`ExecutionDuration > '01:60:00'`, "invalid value for search attribute ExecutionDuration of type Int: '01:60:00'"},
		{`ExecutionDuration > '9999999d'`, "invalid value for search attribute ExecutionDuration of type Int: '9999999d'"},
		{`K = NULL`, "operation is not supported: comparison of search attribute 'K' with NULL; use IS NULL or IS NOT NULL"},
		{`K LIKE 'x%'`, "operation is not supported: 'like' operator"},
		{`B IS TRUE`, "operation is not supported: 'is true' operator"},
		{`lower(K) = 'x'`, "operation is not supported: function 'lower'"},
		{`I = 1 ORDER BY I`, "operation is not supported: 'order by' clause"},
		{`ORDER BY I DESC, K`, "operation is not supported: 'order by' clause"},
		{`GROUP BY ExecutionStatus`, "operation is not supported: 'group by' clause"},
		{`I = 1 LIMIT 10`, "operation is not supported: 'limit' clause"},
		{`LIMIT 10 OFFSET 5`, "operation is not supported: 'limit' clause"},
		{`I = 1 OFFSET 5`, "operation is not supported: 'offset' clause"},
		{`'x' = K`, "invalid expression: the left side of ''x' = K' must be a search attribute name"},
		{`K`, "invalid expression: 'K' is not a condition"},
		{`(K) = 'x'`, "invalid expression: 'K' is not a condition"},
		{`NOT true`, "invalid expression: 'true' is not a condition"},
		{`K = 'x' AND`, "malformed SQL query: syntax error at position 12: the query ends too early"},
		{`K = 'x' K = 'y'`, "malformed SQL query: syntax error at position 9 near 'K = 'y''"},
		{`AND K = 'x'`, "malformed SQL query: syntax error at position 1 near 'AND K = 'x''"},
		{`(K = 'x'`, "malformed SQL query: syntax error at position 9: the query ends too early"},
		{`K = 'x')`, "malformed SQL query: syntax error at position 8 near ')'"},
		{`K = 'x`, "malformed SQL query: unterminated ' at position 5"},
		{"`K = 'x'", "malformed SQL query: unterminated ` at position 1"},
		{`K IN ()`, "malformed SQL query: syntax error at position 7 near ')'"},
		{`K IN 'x'`, "malformed SQL query: syntax error at position 6 near ''x''"},
		{`I BETWEEN 1`, "malformed SQL query: syntax error at position 12: the query ends too early"},
		{`I NOT = 1`, "malformed SQL query: syntax error at position 7 near '= 1'"},
		{`I = 12ab`, "malformed SQL query: syntax error at position 5 near '12ab'"},
		{`I = 1e`, "malformed SQL query: '1e' is not a number"},
		{`I = 1e999`, "malformed SQL query: '1e999' is not a number"},
		{`I = 1; DROP TABLE x`, "malformed SQL query: syntax error at position 6 near '; DROP TABLE x'"},
		{`Order = 1`, "malformed SQL query: syntax error at position 7 near '= 1'"},
		{`ORDER I`, "malformed SQL query: syntax error at position 7 near 'I'"},
		{`ORDER BY 1`, "invalid expression: 1 is not a search attribute name"},
		{`Nope = 1 AND (`, "malformed SQL query: syntax error at position 15: the query ends too early"},
		{deep, "malformed SQL query: expressions nest deeper than 100"},
		{strings.Repeat("NOT ", 50000) + "I = 1", "malformed SQL query: expressions nest deeper than 100"},
		{"K = '" + strings.Repeat("x", MaxQueryLength) + "'", "malformed SQL query: the query has 262150 bytes, more than 262144"},
	}
	for _, row := range rows {
		_, err := Parse(row.query, testResolver, Options{})
		var typed *Error
		if !errors.As(err, &typed) || err.Error() != "invalid query: "+row.want {
			t.Errorf("Parse(%s): %v\n  want %s", clip(row.query), err, row.want)
		}
	}
}

func TestLongChainsNeedNoStack(t *testing.T) {
	q := mustParse(t, "I = 0"+strings.Repeat(" OR I = 7", 20000))
	if !q.Match(fields{"I": Int(7)}) || q.Match(fields{"I": Int(8)}) {
		t.Error("a long chain does not match by its terms")
	}
}

func TestPrecedence(t *testing.T) {
	rows := []struct{ query, grouped string }{
		{"I=1 OR I=2 AND I=3", "I=1 OR (I=2 AND I=3)"},
		{"I=1 AND I=2 OR I=3", "(I=1 AND I=2) OR I=3"},
		{"NOT I=1 AND I=2", "(NOT I=1) AND I=2"},
		{"NOT I=1 OR I=2", "(NOT I=1) OR I=2"},
		{"I BETWEEN 1 AND 2 AND I=3", "(I BETWEEN 1 AND 2) AND I=3"},
		{"NOT I BETWEEN 1 AND 2", "NOT (I BETWEEN 1 AND 2)"},
		{"not not i_is_not_here = 1 or I=1", ""},
	}
	for _, row := range rows {
		if row.grouped == "" {
			if _, err := Parse(row.query, testResolver, Options{}); err == nil {
				t.Errorf("Parse(%q) accepted an unknown name", row.query)
			}
			continue
		}
		if got, want := mustParse(t, row.query).String(), mustParse(t, row.grouped).String(); got != want {
			t.Errorf("%s reads as %s, want %s", row.query, got, want)
		}
	}
	if mustParse(t, "(I=1 OR I=2) AND I=3").String() == mustParse(t, "I=1 OR I=2 AND I=3").String() {
		t.Error("parentheses make no difference")
	}
}

func TestThreeValuedLogic(t *testing.T) {
	operands := map[string]string{"yes": "I = 1", "no": "I = 2", "unknown": "K = 'x'"}
	rec := fields{"I": Int(1)}
	table := []struct{ left, right, and, or string }{
		{"yes", "yes", "yes", "yes"}, {"yes", "no", "no", "yes"}, {"yes", "unknown", "unknown", "yes"},
		{"no", "yes", "no", "yes"}, {"no", "no", "no", "no"}, {"no", "unknown", "no", "unknown"},
		{"unknown", "yes", "unknown", "yes"}, {"unknown", "no", "no", "unknown"}, {"unknown", "unknown", "unknown", "unknown"},
	}
	for _, row := range table {
		if got := verdict(t, operands[row.left]+" AND "+operands[row.right], rec); got != row.and {
			t.Errorf("%s AND %s: %s, want %s", row.left, row.right, got, row.and)
		}
		if got := verdict(t, operands[row.left]+" OR "+operands[row.right], rec); got != row.or {
			t.Errorf("%s OR %s: %s, want %s", row.left, row.right, got, row.or)
		}
	}
}

// A value whose attribute has since been defined anew with another type counts as unset.
func TestForeignTypeIsNull(t *testing.T) {
	rec := fields{"K": Int(1), "I": Double(2), "D": Int(3), "B": Int(1)}
	for query, want := range map[string]string{
		"K = 'x'": "unknown", "K IS NULL": "yes", "B = true": "unknown", "I = 2": "yes", "D < 3.5": "yes", "D IS NULL": "no",
	} {
		if got := verdict(t, query, rec); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	rows := []struct{ query, attributes string }{
		{"`K` = 'x'", "K"},
		{"`my-own attr``` = 'x'", "my-own attr`"},
		{"`Order` = 1", "Order"},
		{"Offset = 1", "Offset"},
		{"Größe = 1", "Größe"},
		{"Alias = 'x'", "Keyword01"},
		{"TaskQueue = 1", "TaskQueue"}, // the namespace's own Int hides the system's Keyword
		{"TemporalWorkflowId = 'x'", "WorkflowId"},
		{"Hidden = 'x'", "TemporalHidden"},
		{"SchedulePaused = true", "TemporalSchedulePaused"},
		{"ScheduleId = 'x' OR K IN ('y') AND K = 'z'", "K WorkflowId"},
		{"NamespaceDivision IS NULL", NamespaceDivision},
		{"GROUP BY TemporalNamespaceDivision", NamespaceDivision},
		{"I = 1 ORDER BY K", "I K"},
		{" \t\n", ""},
	}
	for _, row := range rows {
		q := mustParse(t, row.query)
		if got := strings.Join(q.Attributes(), " "); got != row.attributes {
			t.Errorf("%s mentions %q, want %q", row.query, got, row.attributes)
		}
		if got, want := q.MentionsDivision(), row.attributes == NamespaceDivision; got != want {
			t.Errorf("%s mentions the division: %v, want %v", row.query, got, want)
		}
	}
}

func TestScheduleIDAlias(t *testing.T) {
	rec := fields{WorkflowID: Keyword(ScheduleIDPrefix + "daily-report")}
	for query, want := range map[string]string{
		"ScheduleId = 'daily-report'": "yes", "ScheduleId = 'daily'": "no", "ScheduleId STARTS_WITH 'daily'": "yes",
		"ScheduleId IN ('a', 'daily-report')": "yes", "ScheduleId > 'e'": "no", "ScheduleId != 'daily-report'": "no",
		"WorkflowId = 'daily-report'": "no",
	} {
		if got := verdict(t, query, rec); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if _, err := Parse("ScheduleId = 'x'", testAttributes, Options{}); err == nil {
		t.Error("the alias resolves although workflow IDs do not")
	}
}

func TestStrings(t *testing.T) {
	for literal, want := range map[string]string{
		`'it''s'`: "it's", `"it's"`: "it's", `'say "hi"'`: `say "hi"`, `"say ""hi"""`: `say "hi"`, `'it\'s'`: "it's",
		`'a\\b'`: `a\b`, `'a\nb\tc\rd\be\0f\Zg\%'`: "a\nb\tc\rd\be\x00f\x1ag%", `'日本'`: "日本", `''`: "",
	} {
		if q := mustParse(t, "K = "+literal); !q.Match(fields{"K": Keyword(want)}) {
			t.Errorf("%s is not %q", literal, want)
		}
		if q := mustParse(t, "K = "+Quote(want)); !q.Match(fields{"K": Keyword(want)}) {
			t.Errorf("Quote(%q) = %s is not read back", want, Quote(want))
		}
	}
}

func TestClauses(t *testing.T) {
	q := mustParse(t, "I = 1 group by `ExecutionStatus` order by CloseTime desc")
	if by, ok := q.GroupBy(); !ok || by.Name != ExecutionStatus {
		t.Errorf("GroupBy: %v, %v", by, ok)
	}
	if by, ok := q.OrderBy(); !ok || by.Name != CloseTime || !by.Descending {
		t.Errorf("OrderBy: %v, %v", by, ok)
	}
	if by, ok := mustParse(t, "ORDER BY StartTime ASC").OrderBy(); !ok || by.Descending {
		t.Errorf("OrderBy: %v, %v", by, ok)
	}
	if by, ok := mustParse(t, "GROUP BY Alias").GroupBy(); !ok || by.Name != "Keyword01" {
		t.Errorf("GroupBy: %v, %v", by, ok)
	}
	empty := mustParse(t, "")
	_, grouped := empty.GroupBy()
	_, ordered := empty.OrderBy()
	if grouped || ordered || !empty.Match(fields{}) {
		t.Error("the empty query groups, orders or misses a record")
	}
	for query, want := range map[string]string{
		"GROUP BY ExecutionStatus, K": "'GROUP BY' clause supports only a single field",
		"GROUP BY WorkflowType":       "'GROUP BY' clause is not supported for search attribute WorkflowType",
		"GROUP BY Nope":               "invalid expression: column name 'Nope' is not a valid search attribute",
		"ORDER BY I, K":               "'ORDER BY' clause supports only a single field",
		"ORDER BY T":                  "'ORDER BY' clause is not supported for search attribute T of type Text",
		"ORDER BY L":                  "'ORDER BY' clause is not supported for search attribute L of type KeywordList",
		"ORDER BY Nope":               "invalid expression: column name 'Nope' is not a valid search attribute",
	} {
		_, err := Parse(query, testResolver, Options{OrderBy: true, GroupBy: true})
		if errorText(err) != "invalid query: "+want {
			t.Errorf("Parse(%q): %v, want %s", query, err, want)
		}
	}
}

func TestSystemAttributes(t *testing.T) {
	seen := ""
	for _, a := range SystemAttributes() {
		if a.Name <= seen || a.Origin == Custom || a.Type == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			t.Errorf("odd or unsorted system attribute %+v", a)
		}
		seen = a.Name
		if got, ok := SystemAttribute(a.Name); !ok || got.Type != a.Type || !Reserved(a.Name) {
			t.Errorf("%s is listed but not found, or not reserved", a.Name)
		}
	}
	for name, want := range map[string]bool{"Memo": true, "TemporalAnything": true, "Region": false, "Temp": false} {
		if Reserved(name) != want {
			t.Errorf("Reserved(%q) is not %v", name, want)
		}
	}
}
