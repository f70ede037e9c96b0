package filter

import (
	"cmp"
	"math"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
)

// Value is one value of a search attribute, or nothing: the zero Value is null. Values are immutable; a list is
// shared, not copied.
type Value struct {
	typ  enumspb.IndexedValueType // UNSPECIFIED is null
	num  int64                    // Int, Datetime in Unix nanoseconds, Bool as 0 or 1, Double as its bits
	str  string                   // Keyword, Text
	list []string                 // KeywordList, never empty
}

// Keyword is a string compared byte by byte. The empty string is a value, not null.
func Keyword(s string) Value { return Value{typ: enumspb.INDEXED_VALUE_TYPE_KEYWORD, str: s} }

// KeywordList is a set of strings; empty is null. The caller must not change items afterwards.
func KeywordList(items []string) Value {
	if len(items) == 0 {
		return Value{}
	}
	return Value{typ: enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST, list: items}
}

// Text is a string compared by its words.
func Text(s string) Value { return Value{typ: enumspb.INDEXED_VALUE_TYPE_TEXT, str: s} }

// Int is a whole number.
func Int(n int64) Value { return Value{typ: enumspb.INDEXED_VALUE_TYPE_INT, num: n} }

// Double is a finite number; NaN and infinities, which JSON cannot carry, are null.
func Double(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{typ: enumspb.INDEXED_VALUE_TYPE_DOUBLE, num: int64(math.Float64bits(f))}
}

// Bool is true or false.
func Bool(b bool) Value {
	v := Value{typ: enumspb.INDEXED_VALUE_TYPE_BOOL}
	if b {
		v.num = 1
	}
	return v
}

// Datetime is a moment; zero, being "not set", is null.
func Datetime(n clock.Nanos) Value {
	if n == 0 {
		return Value{}
	}
	return datetime(n)
}

// datetime keeps the epoch itself, which users may write.
func datetime(n clock.Nanos) Value {
	return Value{typ: enumspb.INDEXED_VALUE_TYPE_DATETIME, num: int64(n)}
}

// Type is the value's type; UNSPECIFIED for null.
func (v Value) Type() enumspb.IndexedValueType { return v.typ }

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return v.typ == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED }

// Text is the string of a Keyword or Text, else empty.
func (v Value) Text() string { return v.str }

// List is the items of a KeywordList, else nil. It must not be changed.
func (v Value) List() []string { return v.list }

// Int is the number of an Int, else 0.
func (v Value) Int() int64 {
	if v.typ != enumspb.INDEXED_VALUE_TYPE_INT {
		return 0
	}
	return v.num
}

// Double is the number of a Double, else 0.
func (v Value) Double() float64 {
	if v.typ != enumspb.INDEXED_VALUE_TYPE_DOUBLE {
		return 0
	}
	return v.float()
}

// Bool is the truth of a Bool, else false.
func (v Value) Bool() bool { return v.typ == enumspb.INDEXED_VALUE_TYPE_BOOL && v.num != 0 }

// Datetime is the moment of a Datetime, else 0.
func (v Value) Datetime() clock.Nanos {
	if v.typ != enumspb.INDEXED_VALUE_TYPE_DATETIME {
		return 0
	}
	return clock.Nanos(v.num)
}

func (v Value) float() float64 { return math.Float64frombits(uint64(v.num)) }

// Compare orders a and b: numbers by size (Int and Double mix exactly), moments by time, false before true, Keyword
// and Text by bytes. ok is false, and the order meaningless, for nulls, lists and types that do not mix.
func Compare(a, b Value) (order int, ok bool) {
	switch {
	case a.typ == b.typ:
		return compareSame(a, b)
	case a.typ == enumspb.INDEXED_VALUE_TYPE_INT && b.typ == enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		return compareIntDouble(a.num, b.float()), true
	case a.typ == enumspb.INDEXED_VALUE_TYPE_DOUBLE && b.typ == enumspb.INDEXED_VALUE_TYPE_INT:
		return -compareIntDouble(b.num, a.float()), true
	}
	return 0, false
}

func compareSame(a, b Value) (int, bool) {
	switch a.typ {
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD, enumspb.INDEXED_VALUE_TYPE_TEXT:
		return strings.Compare(a.str, b.str), true
	case enumspb.INDEXED_VALUE_TYPE_INT, enumspb.INDEXED_VALUE_TYPE_BOOL, enumspb.INDEXED_VALUE_TYPE_DATETIME:
		return cmp.Compare(a.num, b.num), true
	case enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		return cmp.Compare(a.float(), b.float()), true
	}
	return 0, false
}

// compareIntDouble compares without rounding n to a double, which would make distinct large numbers equal.
func compareIntDouble(n int64, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := math.Trunc(f)
	if c := cmp.Compare(n, int64(whole)); c != 0 {
		return c
	}
	return cmp.Compare(0, f-whole)
}

// nanosOf clamps t to the representable years 1678 to 2262, which keeps the order against every stored moment.
func nanosOf(t time.Time) clock.Nanos {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return clock.Nanos(t.UnixNano())
}

// timeOf is n in UTC, the epoch included.
func timeOf(n clock.Nanos) time.Time { return time.Unix(0, int64(n)).UTC() }
