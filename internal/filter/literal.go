package filter

import (
	"math"
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
)

// literal reads an operand as a value of the attribute. Members of a KeywordList are Keywords.
func literal(n name, o operand) (Value, error) {
	switch o.kind {
	case operandName:
		return Value{}, invalidExpression(
			"column name on the right side of comparison expression (did you forget to quote '%s'?)", clip(o.text))
	case operandNull:
		return Value{}, unsupported("comparison of search attribute '%s' with NULL; use IS NULL or IS NOT NULL", n.written)
	}
	switch n.Type {
	case enumspb.INDEXED_VALUE_TYPE_DATETIME:
		return datetimeLiteral(n, o)
	case enumspb.INDEXED_VALUE_TYPE_BOOL:
		return boolLiteral(n, o)
	case enumspb.INDEXED_VALUE_TYPE_INT, enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		return numberLiteral(n, o)
	}
	return stringLiteral(n, o)
}

func stringLiteral(n name, o operand) (Value, error) {
	if n.Enum != nil {
		return enumLiteral(n, o)
	}
	if o.kind != operandString {
		return Value{}, badLiteral(n, o)
	}
	if n.Type == enumspb.INDEXED_VALUE_TYPE_TEXT {
		return Text(o.text), nil
	}
	return Keyword(n.Prefix + o.text), nil
}

func enumLiteral(n name, o operand) (Value, error) {
	stored, ok := n.Enum[o.text]
	if !ok {
		return Value{}, refuse("invalid %s value '%s'", n.written, clip(o.text))
	}
	return Keyword(stored), nil
}

// boolLiteral also takes the quoted words, which some clients send.
func boolLiteral(n name, o operand) (Value, error) {
	switch {
	case o.kind == operandBool:
		return Bool(o.truth), nil
	case o.kind == operandString && strings.EqualFold(o.text, "true"):
		return Bool(true), nil
	case o.kind == operandString && strings.EqualFold(o.text, "false"):
		return Bool(false), nil
	}
	return Value{}, badLiteral(n, o)
}

// numberLiteral also takes quoted numbers, which some clients send. An Int may be compared with a decimal.
func numberLiteral(n name, o operand) (Value, error) {
	switch o.kind {
	case operandInt:
		return Int(o.num), nil
	case operandDouble:
		return Double(o.double), nil
	case operandString:
		if v, ok := quotedNumber(n, o.text); ok {
			return v, nil
		}
	}
	return Value{}, badLiteral(n, o)
}

func quotedNumber(n name, s string) (Value, bool) {
	if num, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Int(num), true
	}
	if n.Duration {
		d, ok := parseDuration(s)
		return Int(int64(d)), ok
	}
	f, err := strconv.ParseFloat(s, 64)
	v := Double(f)
	return v, err == nil && !v.IsNull()
}

func datetimeLiteral(n name, o operand) (Value, error) {
	switch o.kind {
	case operandInt:
		return datetime(clock.Nanos(o.num)), nil
	case operandString:
		t, err := time.Parse(time.RFC3339Nano, o.text)
		if err != nil {
			return Value{}, refuse("unable to parse datetime '%s' of search attribute '%s'", clip(o.text), n.written)
		}
		return datetime(nanosOf(t)), nil
	}
	return Value{}, badLiteral(n, o)
}

func badLiteral(n name, o operand) error {
	return refuse("invalid value for search attribute %s of type %s: %s", n.written, n.Type, clip(o.source))
}

// parseDuration reads Go's notation with days ("d") in front if any, or hours:minutes:seconds.
func parseDuration(s string) (time.Duration, bool) {
	if strings.Contains(s, ":") {
		return parseClockDuration(s)
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	whole, err := strconv.ParseFloat(days, 64)
	total := whole * float64(24*time.Hour)
	if err != nil || !(math.Abs(total) < 1<<62) {
		return 0, false
	}
	if rest == "" {
		return time.Duration(total), true
	}
	more, err := time.ParseDuration(rest)
	if err != nil || !isDigit(rest[0]) || more >= 1<<62 {
		return 0, false
	}
	if strings.HasPrefix(days, "-") {
		more = -more
	}
	return time.Duration(total) + more, true
}

func parseClockDuration(s string) (time.Duration, bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 || len(parts[1]) != 2 || len(parts[2]) != 2 {
		return 0, false
	}
	var n [3]uint64
	for i, part := range parts {
		var err error
		if n[i], err = strconv.ParseUint(part, 10, 64); err != nil {
			return 0, false
		}
	}
	const hoursMax = math.MaxInt64/uint64(time.Hour) - 1
	if n[0] > hoursMax || n[1] > 59 || n[2] > 59 {
		return 0, false
	}
	return time.Duration(n[0])*time.Hour + time.Duration(n[1])*time.Minute + time.Duration(n[2])*time.Second, true
}
