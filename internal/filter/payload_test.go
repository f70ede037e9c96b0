package filter

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
)

func plainPayload(data string) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte("Ignored")}, Data: []byte(data)}
}

func TestDecodeValue(t *testing.T) {
	const (
		keyword  = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		list     = enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST
		text     = enumspb.INDEXED_VALUE_TYPE_TEXT
		integer  = enumspb.INDEXED_VALUE_TYPE_INT
		double   = enumspb.INDEXED_VALUE_TYPE_DOUBLE
		boolean  = enumspb.INDEXED_VALUE_TYPE_BOOL
		dateTime = enumspb.INDEXED_VALUE_TYPE_DATETIME
	)
	rows := []struct {
		data   string
		typ    enumspb.IndexedValueType
		want   Value
		reason string
	}{
		{data: `"x"`, typ: keyword, want: Keyword("x")},
		{data: `""`, typ: keyword, want: Keyword("")},
		{data: ` ["x"] `, typ: keyword, want: Keyword("x")},
		{data: `["x","y"]`, typ: keyword, reason: "want one value, got a list of 2"},
		{data: `5`, typ: keyword, reason: "want a string, got 5"},
		{data: `[null]`, typ: keyword, reason: "want a string, got null"},
		{data: `["x","y"]`, typ: list, want: KeywordList([]string{"x", "y"})},
		{data: `"x"`, typ: list, want: KeywordList([]string{"x"})},
		{data: `["x",5]`, typ: list, reason: "want a string, got 5"},
		{data: `["x",null]`, typ: list, reason: "want a string, got null"},
		{data: `["x"`, typ: list, reason: "decode the list: unexpected end of JSON input"},
		{data: `{"a":1}`, typ: list, reason: `want a list of strings, got {"a":1}`},
		{data: `"a b"`, typ: text, want: Text("a b")},
		{data: `true`, typ: text, reason: "want a string, got true"},
		{data: `-9223372036854775808`, typ: integer, want: Int(math.MinInt64)},
		{data: `[7]`, typ: integer, want: Int(7)},
		{data: `7.5`, typ: integer, reason: "want a whole number of 64 bits, got 7.5"},
		{data: `"7"`, typ: integer, reason: `want a whole number of 64 bits, got "7"`},
		{data: `9223372036854775808`, typ: integer, reason: "want a whole number of 64 bits, got 9223372036854775808"},
		{data: `[[7]]`, typ: integer, reason: "want a whole number of 64 bits, got [7]"},
		{data: `7`, typ: double, want: Double(7)},
		{data: `-1.5e3`, typ: double, want: Double(-1500)},
		{data: `1e999`, typ: double, reason: "want a number, got 1e999"},
		{data: `true`, typ: boolean, want: Bool(true)},
		{data: `[false]`, typ: boolean, want: Bool(false)},
		{data: `0`, typ: boolean, reason: "want true or false, got 0"},
		{data: `"2026-03-04T05:06:07.000000008+01:00"`, typ: dateTime, want: Datetime(moment(t, "2026-03-04T04:06:07.000000008Z"))},
		{data: `"1970-01-01T00:00:00Z"`, typ: dateTime, want: datetime(0)},
		{data: `"0001-01-01T00:00:00Z"`, typ: dateTime, want: Datetime(math.MinInt64)},
		{data: `"9999-01-01T00:00:00Z"`, typ: dateTime, want: Datetime(math.MaxInt64)},
		{data: `"2026-03-04"`, typ: dateTime, reason: `want a time as in RFC 3339, got "2026-03-04"`},
		{data: `5`, typ: dateTime, reason: "want a time as in RFC 3339, got 5"},
		{data: `"x`, typ: keyword, reason: `want a string, got "x`},
		{data: `"x" "y"`, typ: keyword, reason: `want a string, got "x" "y"`},
		{data: `"` + strings.Repeat("é", 500), typ: keyword, reason: `want a string, got "` + strings.Repeat("é", 99)},
		{data: `"x"`, reason: "unknown type"},
	}
	for _, typ := range []enumspb.IndexedValueType{keyword, list, text, integer, double, boolean, dateTime} {
		for _, unset := range []string{`null`, `[]`, ``, ` null `, ` [ ] `} {
			if v, err := DecodeValue(plainPayload(unset), typ); err != nil || !v.IsNull() {
				t.Errorf("%q as %s: %v, %v, want null", unset, typ, v, err)
			}
		}
	}
	for _, row := range rows {
		got, err := DecodeValue(plainPayload(row.data), row.typ)
		if errorText(err) != row.reason || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s as %s: %v, %v, want %v, %s", row.data, row.typ, got, err, row.want, row.reason)
		}
		err = ValidateValue("Region", plainPayload(row.data), row.typ)
		if row.reason == "" {
			if err != nil {
				t.Errorf("ValidateValue of %s as %s: %v", row.data, row.typ, err)
			}
			continue
		}
		var typed *ValueError
		want := "invalid value for search attribute Region of type " + row.typ.String() + ": " + row.reason
		if !errors.As(err, &typed) || err.Error() != want {
			t.Errorf("ValidateValue of %s: %v, want %s", row.data, err, want)
		}
	}
}

func TestDecodeEncodings(t *testing.T) {
	withEncoding := func(name string) *commonpb.Payload {
		return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte(name)}, Data: []byte(`"x"`)}
	}
	for _, p := range []*commonpb.Payload{nil, withEncoding("binary/null")} {
		if v, err := DecodeValue(p, enumspb.INDEXED_VALUE_TYPE_KEYWORD); err != nil || !v.IsNull() {
			t.Errorf("%v: %v, %v, want null", p, v, err)
		}
	}
	for _, p := range []*commonpb.Payload{{Data: []byte(`"x"`)}, withEncoding("binary/plain"), withEncoding("json/protobuf")} {
		if v, err := DecodeValue(p, enumspb.INDEXED_VALUE_TYPE_KEYWORD); err == nil {
			t.Errorf("%v is read as %v", p, v)
		}
	}
}

func TestEncodeValue(t *testing.T) {
	values := []Value{
		Keyword("<x> & y"), KeywordList([]string{"b", "a"}), Text(""), Int(math.MaxInt64), Double(0.1), Bool(false),
		Datetime(moment(t, "2026-03-04T05:06:07.000000001Z")), datetime(0), {},
	}
	for _, v := range values {
		p := EncodeValue(v)
		typ := enumspb.INDEXED_VALUE_TYPE_KEYWORD
		if !v.IsNull() {
			typ = v.Type()
			if string(p.Metadata["type"]) != typ.String() {
				t.Errorf("%v has the type %q", v, p.Metadata["type"])
			}
		}
		if got, err := DecodeValue(p, typ); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%v comes back as %v, %v", v, got, err)
		}
	}
}

func TestValueAccessors(t *testing.T) {
	type view struct {
		text string
		list int
		num  int64
		f    float64
		b    bool
		at   clock.Nanos
	}
	for _, row := range []struct {
		value Value
		want  view
	}{
		{Keyword("k"), view{text: "k"}}, {Text("t"), view{text: "t"}}, {KeywordList([]string{"a"}), view{list: 1}}, {Int(3), view{num: 3}},
		{Double(1.5), view{f: 1.5}}, {Bool(true), view{b: true}}, {Datetime(9), view{at: 9}}, {Value{}, view{}},
		{Datetime(0), view{}}, {KeywordList(nil), view{}}, {Double(math.NaN()), view{}}, {Double(math.Inf(-1)), view{}},
	} {
		v := row.value
		got := view{v.Text(), len(v.List()), v.Int(), v.Double(), v.Bool(), v.Datetime()}
		if got != row.want || v.IsNull() != (row.want == view{}) {
			t.Errorf("%+v shows %+v, want %+v", v, got, row.want)
		}
	}
}

func TestCompare(t *testing.T) {
	const none = 9
	for _, row := range []struct {
		a, b Value
		want int
	}{
		{Int(math.MaxInt64), Double(1 << 63), -1},
		{Int(math.MinInt64), Double(-1 << 63), 0},
		{Int(math.MinInt64), Double(-1e19), 1},
		{Int(1<<53 + 1), Double(1 << 53), 1},
		{Int(2), Double(2.5), -1}, {Int(-2), Double(-2.5), 1}, {Int(0), Double(-0.5), 1}, {Int(3), Double(3), 0},
		{Double(1), Double(2), -1}, {Bool(false), Bool(true), -1}, {Datetime(5), Datetime(4), 1}, {Keyword("a"), Keyword("B"), 1},
		{Text("a"), Text("b"), -1}, {Keyword("a"), Text("a"), none}, {Int(1), Datetime(1), none}, {Value{}, Value{}, none},
		{KeywordList([]string{"a"}), KeywordList([]string{"a"}), none}, {Value{}, Int(0), none},
	} {
		got, ok := Compare(row.a, row.b)
		back, _ := Compare(row.b, row.a)
		if ok != (row.want != none) || ok && (got != row.want || back != -row.want) {
			t.Errorf("Compare(%+v, %+v): %d, %v, want %d", row.a, row.b, got, ok, row.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for literal, want := range map[string]int64{
		"1d": 86400e9, "1.5d": 129600e9, "-1d12h": -129600e9, "1d1ns": 86400e9 + 1, "100:00:01": 360001e9, "00:00:00": 0, "250ms": 250e6,
	} {
		q := mustParse(t, "ExecutionDuration = '"+literal+"'")
		if !q.Match(fields{ExecutionDuration: Int(want)}) {
			t.Errorf("%s is not %d ns: %s", literal, want, q)
		}
	}
	for _, literal := range []string{"", "d", "1dd", "1d-2h", "1d2", "NaNd", "infd", "1.5", "1h1d", "::", "-1:00:00", "99999999999999999999:00:00", "2562047:59:59", "00:00:99", "1:00"} {
		if q, err := Parse("ExecutionDuration = '"+literal+"'", testResolver, Options{}); err == nil {
			t.Errorf("%q is read as %s", literal, q)
		}
	}
}
