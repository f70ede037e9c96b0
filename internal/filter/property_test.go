package filter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
)

// modelRecord is a record the model understands without Value: nil is unset.
type modelRecord struct {
	k  *string
	l  []string
	t  *string
	i  *int64
	d  *float64
	b  *bool
	at *int64
}

func (m modelRecord) Value(attribute string) Value {
	switch {
	case attribute == "K" && m.k != nil:
		return Keyword(*m.k)
	case attribute == "L":
		return KeywordList(m.l)
	case attribute == "T" && m.t != nil:
		return Text(*m.t)
	case attribute == "I" && m.i != nil:
		return Int(*m.i)
	case attribute == "D" && m.d != nil:
		return Double(*m.d)
	case attribute == "B" && m.b != nil:
		return Bool(*m.b)
	case attribute == "At" && m.at != nil:
		return Datetime(clock.Nanos(*m.at))
	}
	return Value{}
}

// model is an expression as text and as a function written without regard to the package. The function's second
// answer is false when the first is unknown.
type model struct {
	sql  string
	eval func(modelRecord) (truth, known bool)
}

var (
	keywords = rapid.SampledFrom([]string{"", "a", "ab", "b", "it's", `back\slash`, "日本", "a\nb"})
	numbers  = rapid.OneOf(rapid.Int64Range(-3, 3), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 1<<53 + 1}))
	doubles  = rapid.OneOf(rapid.SampledFrom([]float64{-1.5, 0, 1, 2.5, 1 << 53, 1e300}), rapid.Float64Range(-4, 4))
	moments  = rapid.Map(rapid.Int64Range(-2, 2), func(n int64) int64 { return n*int64(time.Hour) + 1 })
)

func genRecord(t *rapid.T) modelRecord {
	return modelRecord{
		k:  rapid.Ptr(keywords, true).Draw(t, "k"),
		l:  rapid.SliceOfN(keywords, 0, 3).Draw(t, "l"),
		t:  rapid.Ptr(rapid.SampledFrom([]string{"", "Red fox", "blue-FOX", "ox"}), true).Draw(t, "t"),
		i:  rapid.Ptr(numbers, true).Draw(t, "i"),
		d:  rapid.Ptr(doubles, true).Draw(t, "d"),
		b:  rapid.Ptr(rapid.Bool(), true).Draw(t, "b"),
		at: rapid.Ptr(moments, true).Draw(t, "at"),
	}
}

// spell writes a keyword of the language in some case.
func spell(t *rapid.T, word string) string {
	if rapid.Bool().Draw(t, "lower") {
		return strings.ToLower(word)
	}
	return word
}

func genModel(t *rapid.T, depth int) model {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if depth == 0 || kind >= 6 {
		return genLeaf(t)
	}
	if kind <= 1 {
		inner := genModel(t, depth-1)
		return model{
			sql: spell(t, "NOT ") + "(" + inner.sql + ")",
			eval: func(r modelRecord) (bool, bool) {
				truth, known := inner.eval(r)
				return !truth, known
			},
		}
	}
	left, right := genModel(t, depth-1), genModel(t, depth-1)
	or := kind <= 3
	word := map[bool]string{true: "OR", false: "AND"}[or]
	return model{
		sql: "(" + left.sql + ") " + spell(t, word) + "\n(" + right.sql + ")",
		eval: func(r modelRecord) (bool, bool) {
			x, xKnown := left.eval(r)
			y, yKnown := right.eval(r)
			// The value that decides alone: true for OR, false for AND.
			if xKnown && x == or || yKnown && y == or {
				return or, true
			}
			return !or, xKnown && yKnown
		},
	}
}

func genLeaf(t *rapid.T) model {
	switch rapid.SampledFrom([]string{"K", "L", "T", "I", "D", "B", "At"}).Draw(t, "attribute") {
	case "K":
		if rapid.IntRange(0, 4).Draw(t, "starts") == 0 {
			return genStartsWith(t)
		}
		return genOrdered(t, "K", keywords, Quote, func(r modelRecord) *string { return r.k })
	case "L":
		return genMembership(t)
	case "T":
		return genText(t)
	case "I":
		return genOrdered(t, "I", numbers, func(n int64) string { return strconv.FormatInt(n, 10) }, func(r modelRecord) *int64 { return r.i })
	case "D":
		return genOrdered(t, "D", doubles, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) },
			func(r modelRecord) *float64 { return r.d })
	case "B":
		want := rapid.Bool().Draw(t, "want")
		negated := rapid.Bool().Draw(t, "negated")
		return model{fmt.Sprintf("B %s %v", map[bool]string{true: "!=", false: "="}[negated], want), func(r modelRecord) (bool, bool) {
			return r.b != nil && (*r.b == want) != negated, r.b != nil
		}}
	}
	return genOrdered(t, "At", moments, func(n int64) string {
		if n < 0 {
			return strconv.FormatInt(n, 10)
		}
		return `"` + time.Unix(0, n).In(time.FixedZone("", 5400)).Format(time.RFC3339Nano) + `"`
	}, func(r modelRecord) *int64 { return r.at })
}

func genOrdered[T cmp.Ordered](t *rapid.T, attribute string, values *rapid.Generator[T], literal func(T) string, get func(modelRecord) *T) model {
	x, y := values.Draw(t, "x"), values.Draw(t, "y")
	lx, ly := literal(x), literal(y)
	leaf := func(condition string, holds func(T) bool) model {
		return model{"`" + attribute + "` " + condition, func(r modelRecord) (bool, bool) {
			v := get(r)
			return v != nil && holds(*v), v != nil
		}}
	}
	switch rapid.IntRange(0, 11).Draw(t, "op") {
	case 0:
		return leaf("= "+lx, func(v T) bool { return v == x })
	case 1:
		return leaf("!="+lx, func(v T) bool { return v != x })
	case 2:
		return leaf("<"+lx, func(v T) bool { return v < x })
	case 3:
		return leaf("<= "+lx, func(v T) bool { return v <= x })
	case 4:
		return leaf("> "+lx, func(v T) bool { return v > x })
	case 5:
		return leaf(">="+lx, func(v T) bool { return v >= x })
	case 6:
		return leaf(spell(t, "IN")+" ("+lx+","+ly+")", func(v T) bool { return v == x || v == y })
	case 7:
		return leaf(spell(t, "NOT IN")+"( "+lx+" , "+ly+" )", func(v T) bool { return v != x && v != y })
	case 8:
		return leaf(spell(t, "BETWEEN ")+lx+spell(t, " AND ")+ly, func(v T) bool { return x <= v && v <= y })
	case 9:
		return leaf(spell(t, "NOT BETWEEN ")+lx+" AND "+ly, func(v T) bool { return v < x || v > y })
	case 10:
		return model{attribute + spell(t, " IS NULL"), func(r modelRecord) (bool, bool) { return get(r) == nil, true }}
	}
	return model{attribute + spell(t, " IS NOT NULL"), func(r modelRecord) (bool, bool) { return get(r) != nil, true }}
}

func genStartsWith(t *rapid.T) model {
	prefix, negated := keywords.Draw(t, "prefix"), rapid.Bool().Draw(t, "negated")
	op := map[bool]string{true: "NOT STARTS_WITH", false: "STARTS_WITH"}[negated]
	return model{"K " + spell(t, op) + Quote(prefix), func(r modelRecord) (bool, bool) {
		return r.k != nil && strings.HasPrefix(*r.k, prefix) != negated, r.k != nil
	}}
}

func genMembership(t *rapid.T) model {
	x, y := keywords.Draw(t, "x"), keywords.Draw(t, "y")
	has := func(r modelRecord, s string) bool { return slices.Contains(r.l, s) }
	leaf := func(condition string, holds func(modelRecord) bool) model {
		return model{"L " + condition, func(r modelRecord) (bool, bool) { return len(r.l) > 0 && holds(r), len(r.l) > 0 }}
	}
	pair := " (" + Quote(x) + ", " + Quote(y) + ")"
	switch rapid.IntRange(0, 4).Draw(t, "op") {
	case 0:
		return leaf("= "+Quote(x), func(r modelRecord) bool { return has(r, x) })
	case 1:
		return leaf("!= "+Quote(x), func(r modelRecord) bool { return !has(r, x) })
	case 2:
		return leaf(spell(t, "IN")+pair, func(r modelRecord) bool { return has(r, x) || has(r, y) })
	case 3:
		return leaf(spell(t, "NOT IN")+pair, func(r modelRecord) bool { return !has(r, x) && !has(r, y) })
	}
	return model{"L IS NULL", func(r modelRecord) (bool, bool) { return len(r.l) == 0, true }}
}

// genText asks for single words with a known answer per text.
func genText(t *rapid.T) model {
	word := rapid.SampledFrom([]string{"FOX", "red", "ox", "zebra Blue", "", "?!"}).Draw(t, "word")
	answers := map[string][]string{"FOX": {"Red fox", "blue-FOX"}, "red": {"Red fox"}, "ox": {"ox"}, "zebra Blue": {"blue-FOX"}}
	negated := rapid.Bool().Draw(t, "negated")
	op := map[bool]string{true: "!=", false: "="}[negated]
	return model{"T " + op + " " + Quote(word), func(r modelRecord) (bool, bool) {
		return r.t != nil && slices.Contains(answers[word], *r.t) != negated, r.t != nil
	}}
}

// A query means what a direct evaluation of the same tree says, its text form means the same and is stable, and its
// pins never exclude a record it matches.
func TestQueryAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t, 4)
		q, err := Parse(m.sql, testResolver, Options{})
		if err != nil {
			t.Fatalf("Parse(%s): %v", m.sql, err)
		}
		printed := q.String()
		again, err := Parse(printed, testResolver, Options{})
		if err != nil || again.String() != printed {
			t.Fatalf("%s is printed as %s and read as %v, %v", m.sql, printed, again, err)
		}
		for range 8 {
			rec := genRecord(t)
			truth, known := m.eval(rec)
			want := truth && known
			if q.Match(rec) != want || again.Match(rec) != want {
				t.Fatalf("%s of %+v: %v, printed %v, want %v", m.sql, rec, q.Match(rec), again.Match(rec), want)
			}
			if want {
				checkPins(t, q, rec)
			}
		}
	})
}

// checkPins fails if what q pins excludes rec, which q matches.
func checkPins(t interface{ Fatalf(string, ...any) }, q *Query, rec Record) {
	for _, attribute := range q.Attributes() {
		v := rec.Value(attribute)
		if values, ok := q.EqualTo(attribute); ok && !slices.Contains(values, v.Text()) {
			t.Fatalf("%s pins %s to %q, but matches %q", q, attribute, values, v.Text())
		}
		if prefix, ok := q.Prefix(attribute); ok && !strings.HasPrefix(v.Text(), prefix) {
			t.Fatalf("%s demands %s to start with %q, but matches %q", q, attribute, prefix, v.Text())
		}
		if b, ok := q.TimeBounds(attribute); ok && (v.IsNull() || v.Datetime() < b.From || v.Datetime() > b.To) {
			t.Fatalf("%s bounds %s by %v, but matches %v", q, attribute, b, v)
		}
		if q.RequiresNull(attribute) && !v.IsNull() {
			t.Fatalf("%s requires %s to be unset, but matches %v", q, attribute, v)
		}
	}
}

// FuzzParse: no input panics; what is accepted prints to a stable text of the same meaning and pins soundly.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "K = 'x' AND NOT (I IN (1, 2.5) OR L != \"a\")", "At BETWEEN '2026-01-01T00:00:00Z' AND 5 ORDER BY I DESC",
		"ScheduleId STARTS_WITH 'a' GROUP BY ExecutionStatus", "`my-own attr``` <> 'it''s\\n' LIMIT 5", "((((NOT NOT B = true))))",
		"ExecutionDuration > '1d2h' OR T = 'a b'", "K IN ('", "I = -.5e+3", "K = x", "Größe NOT BETWEEN 1 AND 1e9", "K\x00='\xff'",
	} {
		f.Add(seed)
	}
	at := datetime(5)
	records := []Record{
		fields{}, fields{"K": Keyword("x"), "L": KeywordList([]string{"a"}), "T": Text("a b"), "I": Int(1), "D": Double(2.5), "B": Bool(true), "At": at},
		fields{"K": Keyword(""), "I": Int(-500), WorkflowID: Keyword(ScheduleIDPrefix + "ab"), ExecutionDuration: Int(1 << 50)},
	}
	f.Fuzz(func(t *testing.T, query string) {
		opts := Options{OrderBy: true, GroupBy: true}
		q, err := Parse(query, testResolver, opts)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "invalid query: ") {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		printed := q.String()
		if len(printed) > MaxQueryLength {
			return // escapes may lengthen a query beyond what Parse reads
		}
		again, err := Parse(printed, testResolver, opts)
		if err != nil {
			t.Fatalf("%q is printed as %q, which is refused: %v", query, printed, err)
		}
		if again.String() != printed || !slices.Equal(again.Attributes(), q.Attributes()) {
			t.Fatalf("%q is printed as %q, then as %q", query, printed, again)
		}
		for _, rec := range records {
			if q.Match(rec) != again.Match(rec) {
				t.Fatalf("%q and %q disagree on %v", query, printed, rec)
			}
			if q.Match(rec) {
				checkPins(t, q, rec)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	rec := fields{
		WorkflowID: Keyword("order-17"), WorkflowType: Keyword("Order"), ExecutionStatus: Keyword("Running"), StartTime: Datetime(1e18),
		"L": KeywordList([]string{"eu", "gold", "beta"}), "T": Text("the quick brown fox jumps over the lazy dog"), "I": Int(42),
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = Quote(fmt.Sprintf("order-%d", i))
	}
	for name, query := range map[string]string{
		"equal": "WorkflowId = 'order-17'",
		"usual": "WorkflowType = 'Order' AND ExecutionStatus = 'Running' AND StartTime > '2001-01-01T00:00:00Z'",
		"in":    "WorkflowId IN (" + strings.Join(many, ",") + ")",
		"list":  "L IN ('bronze', 'beta')",
		"text":  "T = 'dog'",
		"mixed": "NOT (I < 40 OR WorkflowType STARTS_WITH 'X') AND CloseTime IS NULL",
	} {
		b.Run(name, func(b *testing.B) {
			q := mustParse(b, query)
			b.ReportAllocs()
			for b.Loop() {
				if !q.Match(rec) {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := Parse("WorkflowType = 'Order' AND ExecutionStatus = 'Running' AND StartTime > '2001-01-01T00:00:00Z'", SystemAttribute, Options{})
		if err != nil {
			b.Fatal(err)
		}
	}
}
