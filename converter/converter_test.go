package converter_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/perdure/perdure/converter"
)

// payload is a payload as another SDK would have written it.
func payload(encoding, data string) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte(encoding)}, Data: []byte(data)}
}

func message(encoding, typ, data string) *commonpb.Payload {
	p := payload(encoding, data)
	p.Metadata["messageType"] = []byte(typ)
	return p
}

type order struct {
	ID    string   `json:"id"`
	Items []string `json:"items,omitempty"`
	Total float64
}

type celsius int

type named []byte

type upper string

func (u upper) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(u))), nil }

func TestValuesEncodeAsOtherSDKsEncodeThem(t *testing.T) {
	var noOrder *order
	var noMessage *commonpb.WorkflowExecution
	for name, tc := range map[string]struct {
		value any
		want  *commonpb.Payload
	}{
		"nil":                      {nil, payload("binary/null", "")},
		"nil pointer":              {noOrder, payload("binary/null", "")},
		"nil message":              {noMessage, payload("binary/null", "")},
		"None":                     {converter.None{}, payload("binary/null", "")},
		"empty raw value":          {converter.RawValue{}, payload("binary/null", "")},
		"bytes":                    {[]byte("\x00\xff"), payload("binary/plain", "\x00\xff")},
		"nil bytes":                {[]byte(nil), payload("binary/plain", "")},
		"named bytes":              {named("hi"), payload("json/plain", `"aGk="`)},
		"raw JSON":                 {json.RawMessage(`{"a":1}`), payload("json/plain", `{"a":1}`)},
		"string":                   {"Grüße", payload("json/plain", `"Grüße"`)},
		"string to escape":         {"<a&b>\n\"", payload("json/plain", `"\u003ca\u0026b\u003e\n\""`)},
		"text marshaler":           {upper("loud"), payload("json/plain", `"LOUD"`)},
		"true":                     {true, payload("json/plain", `true`)},
		"int":                      {-42, payload("json/plain", `-42`)},
		"int64":                    {int64(math.MinInt64), payload("json/plain", `-9223372036854775808`)},
		"named int":                {celsius(21), payload("json/plain", `21`)},
		"float":                    {1.5e30, payload("json/plain", `1.5e+30`)},
		"duration":                 {time.Second, payload("json/plain", `1000000000`)},
		"pointer to int":           {new(7), payload("json/plain", `7`)},
		"nil slice":                {[]int(nil), payload("json/plain", `null`)},
		"map":                      {map[string]int{"b": 2, "a": 1}, payload("json/plain", `{"a":1,"b":2}`)},
		"struct":                   {order{ID: "1", Total: 2.5}, payload("json/plain", `{"id":"1","Total":2.5}`)},
		"pointer to struct":        {&order{ID: "1"}, payload("json/plain", `{"id":"1","Total":0}`)},
		"message":                  {&commonpb.WorkflowType{Name: "w"}, message("json/protobuf", "temporal.api.common.v1.WorkflowType", `{"name":"w"}`)},
		"raw value":                {converter.RawValue{Payload: payload("own/enc", "x")}, payload("own/enc", "x")},
		"pointer to raw value":     {&converter.RawValue{Payload: payload("own/enc", "x")}, payload("own/enc", "x")},
		"nil pointer to raw value": {(*converter.RawValue)(nil), payload("binary/null", "")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := converter.Default().ToPayload(tc.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMessagePassedByValueIsAMessage(t *testing.T) {
	// Built by reflection, because copying a message in plain sight is what vet forbids.
	v := reflect.ValueOf(&commonpb.WorkflowType{Name: "w"}).Elem().Interface()
	got, err := converter.Default().ToPayload(v)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(message("json/protobuf", "temporal.api.common.v1.WorkflowType", `{"name":"w"}`), got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// decode decodes p into a new T.
func decode[T any](p *commonpb.Payload) (any, error) {
	var v T
	err := converter.Default().FromPayload(p, &v)
	return v, err
}

func TestPayloadsOfOtherSDKsDecode(t *testing.T) {
	const wt = "temporal.api.common.v1.WorkflowType"
	workflowType := &commonpb.WorkflowType{Name: "w"}
	for name, tc := range map[string]struct {
		payload *commonpb.Payload
		decode  func(*commonpb.Payload) (any, error)
		want    any
	}{
		"null into string":                {payload("binary/null", ""), decode[string], ""},
		"null into any":                   {payload("binary/null", ""), decode[any], nil},
		"null into pointer":               {payload("binary/null", ""), decode[*order], (*order)(nil)},
		"bytes":                           {payload("binary/plain", "\x00\xff"), decode[[]byte], []byte("\x00\xff")},
		"bytes into named bytes":          {payload("binary/plain", "hi"), decode[named], named("hi")},
		"bytes into any":                  {payload("binary/plain", "hi"), decode[any], []byte("hi")},
		"string":                          {payload("json/plain", `"Grüße"`), decode[string], "Grüße"},
		"empty string":                    {payload("json/plain", `""`), decode[string], ""},
		"string with spaces around":       {payload("json/plain", ` "a" `), decode[string], "a"},
		"escaped string":                  {payload("json/plain", `"\u00e4\"\\"`), decode[string], `ä"\`},
		"invalid UTF-8":                   {payload("json/plain", "\"\xff\""), decode[string], "\ufffd"},
		"null string":                     {payload("json/plain", `null`), decode[string], ""},
		"int":                             {payload("json/plain", `42`), decode[int], 42},
		"number into any":                 {payload("json/plain", `42`), decode[any], 42.0},
		"base64 into bytes":               {payload("json/plain", `"aGk="`), decode[[]byte], []byte("hi")},
		"struct with unknown fields":      {payload("json/plain", `{"id":"1","later":true}`), decode[order], order{ID: "1"}},
		"pointer to struct":               {payload("json/plain", `{"id":"1"}`), decode[*order], &order{ID: "1"}},
		"JSON message":                    {message("json/protobuf", wt, `{"name":"w"}`), decode[*commonpb.WorkflowType], workflowType},
		"JSON message without its type":   {payload("json/protobuf", `{"name":"w"}`), decode[*commonpb.WorkflowType], workflowType},
		"JSON message into any":           {message("json/protobuf", wt, `{"name":"w"}`), decode[any], workflowType},
		"JSON message into proto.Message": {message("json/protobuf", wt, `{"name":"w"}`), decode[proto.Message], workflowType},
		"null message":                    {payload("json/protobuf", `null`), decode[*commonpb.WorkflowType], (*commonpb.WorkflowType)(nil)},
		"binary message":                  {message("binary/protobuf", wt, "\x0a\x01w"), decode[*commonpb.WorkflowType], workflowType},
		"binary message into any":         {message("binary/protobuf", wt, "\x0a\x01w"), decode[any], workflowType},
		"anything into None":              {payload("own/enc", "x"), decode[converter.None], converter.None{}},
		"anything into a raw value":       {payload("own/enc", "x"), decode[converter.RawValue], converter.RawValue{Payload: payload("own/enc", "x")}},
		"no payload":                      {nil, decode[int], 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.decode(tc.payload)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMessageDecodesIntoAStructHeldByValue(t *testing.T) {
	var into struct{ T commonpb.WorkflowType }
	if err := converter.Default().FromPayload(payload("json/protobuf", `{"name":"w"}`), &into.T); err != nil {
		t.Fatal(err)
	}
	if into.T.GetName() != "w" {
		t.Errorf("name is %q", into.T.GetName())
	}
}

// TestDecodingAMessageReplacesWhatWasThere matters to a handler that reuses a variable.
func TestDecodingAMessageReplacesWhatWasThere(t *testing.T) {
	old := &commonpb.WorkflowExecution{RunId: "old"}
	got := old
	if err := converter.Default().FromPayload(payload("json/protobuf", `{"workflowId":"w"}`), &got); err != nil {
		t.Fatal(err)
	}
	if got.GetRunId() != "" || old.GetRunId() != "old" {
		t.Errorf("got %v, old %v", got, old)
	}
}

func TestErrorsNameEncodingAndType(t *testing.T) {
	c := converter.Default()
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"not JSON":            {c.FromPayload(payload("json/plain", `{`), new(order)), []string{"json/plain", "*converter_test.order"}},
		"wrong type":          {c.FromPayload(payload("json/plain", `"a"`), new(int)), []string{"json/plain", "*int"}},
		"bytes into string":   {c.FromPayload(payload("binary/plain", `a`), new(string)), []string{"binary/plain", "*string"}},
		"message into struct": {c.FromPayload(payload("json/protobuf", `{}`), new(order)), []string{"json/protobuf", "converter_test.order"}},
		"unknown message":     {c.FromPayload(message("json/protobuf", "a.B", `{}`), new(any)), []string{"json/protobuf", `"a.B"`}},
		"other message":       {c.FromPayload(message("json/protobuf", "temporal.api.common.v1.WorkflowType", `{}`), new(error)), []string{"WorkflowType", "error"}},
		"unknown encoding":    {c.FromPayload(payload("own/enc", `a`), new(string)), []string{`"own/enc"`, "*string"}},
		"no encoding":         {c.FromPayload(&commonpb.Payload{}, new(string)), []string{`""`, "*string"}},
		"not a pointer":       {c.FromPayload(payload("binary/null", ``), 3), []string{"binary/null", "int", "pointer"}},
		"nil pointer":         {c.FromPayload(payload("binary/plain", ``), (*[]byte)(nil)), []string{"binary/plain", "pointer"}},
		"bytes and no target": {c.FromPayload(payload("binary/plain", ``), nil), []string{"binary/plain", "pointer"}},
		"not encodable":       {second(c.ToPayload(make(chan int))), []string{"json/plain", "chan int"}},
		"position":            {second(converter.ToPayloads(c, 1, make(chan int))), []string{"value 1", "chan int"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(tc.err.Error(), want) {
					t.Errorf("%q does not mention %s", tc.err, want)
				}
			}
		})
	}
	if err := c.FromPayload(payload("own/enc", `a`), new(string)); !errors.Is(err, converter.ErrNoEncoding) {
		t.Errorf("%v is not ErrNoEncoding", err)
	}
	if _, err := converter.New().ToPayload(1); !errors.Is(err, converter.ErrNoEncoding) {
		t.Errorf("%v is not ErrNoEncoding", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWhereAResultMayBeLeftOutNoneIsNoPayload(t *testing.T) {
	for name, tc := range map[string]struct {
		values []any
		want   *commonpb.Payloads
	}{
		"no values":   {nil, nil},
		"None":        {[]any{converter.None{}}, nil},
		"nil is one":  {[]any{nil}, &commonpb.Payloads{Payloads: []*commonpb.Payload{payload("binary/null", "")}}},
		"None in two": {[]any{converter.None{}, 1}, &commonpb.Payloads{Payloads: []*commonpb.Payload{payload("binary/null", ""), payload("json/plain", "1")}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := converter.ToPayloads(converter.Default(), tc.values...)
			if err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (tc.want == nil) {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
			if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestArgumentsMayBeAddedAndRemoved(t *testing.T) {
	c := converter.Default()
	ps, err := converter.ToPayloads(c, "a", 2, true)
	if err != nil {
		t.Fatal(err)
	}
	var s, missing string
	if err := converter.FromPayloads(c, ps, &s); err != nil || s != "a" {
		t.Errorf("surplus: %q, %v", s, err)
	}
	var b bool
	if err := converter.FromPayloads(c, ps, nil, (*int)(nil), &b, &missing); err != nil || !b || missing != "" {
		t.Errorf("skipped and missing: %v %q, %v", b, missing, err)
	}
	if err := converter.FromPayloads(c, nil, &missing); err != nil {
		t.Error(err)
	}
	if err := converter.FromPayloads(c, &commonpb.Payloads{Payloads: []*commonpb.Payload{nil}}, &missing); err != nil {
		t.Error(err)
	}
	if err := converter.FromPayloads(c, ps, &s, &b); err == nil || !strings.Contains(err.Error(), "payload 1") {
		t.Errorf("error does not name the position: %v", err)
	}
}

// shouting is an encoding of its own for one type.
type shouting struct{}

func (shouting) Encoding() string { return "own/shout" }

func (shouting) ToPayload(v any) (*commonpb.Payload, error) {
	u, ok := v.(upper)
	if !ok {
		return nil, nil
	}
	return payload("own/shout", string(u)+"!"), nil
}

func (shouting) FromPayload(p *commonpb.Payload, ptr any) error {
	u, ok := ptr.(*upper)
	if !ok {
		return errors.New("not for it")
	}
	*u = upper(strings.TrimSuffix(string(p.GetData()), "!"))
	return nil
}

func TestOwnEncodingsTakeTheirValues(t *testing.T) {
	c := converter.New(shouting{})
	p, err := c.ToPayload(upper("hey"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(payload("own/shout", "hey!"), p, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	var back upper
	if err := c.FromPayload(p, &back); err != nil || back != "hey" {
		t.Errorf("%q, %v", back, err)
	}
	var raw converter.RawValue
	if err := c.FromPayload(p, &raw); err != nil || raw.Payload != p {
		t.Errorf("raw values do not pass: %v", err)
	}
}

// TestMetadataOfAPayloadIsItsOwn: codecs add entries.
func TestMetadataOfAPayloadIsItsOwn(t *testing.T) {
	a, _ := converter.Default().ToPayload(1)
	b, _ := converter.Default().ToPayload(2)
	a.Metadata["key"] = []byte("k")
	a.Metadata["encoding"] = append(a.Metadata["encoding"], "+more"...)
	if diff := cmp.Diff(payload("json/plain", "2"), b, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestValuesAndArgs(t *testing.T) {
	c := converter.Default()
	ps, err := converter.ToPayloads(c, "a", 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]converter.Value{"received": converter.NewValue(c, ps), "own": converter.ValueOf("a", 2), "default": converter.NewValue(nil, ps)} {
		var s string
		var n int
		if err := v.Get(&s, &n); err != nil || s != "a" || n != 2 || v.Len() != 2 || !v.HasValue() {
			t.Errorf("%s: %q %d, %v, len %d", name, s, n, err, v.Len())
		}
		encoded, err := v.Encode(c)
		if diff := cmp.Diff(ps, encoded, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%s: %v, %s", name, err, diff)
		}
	}
	var none converter.Value
	if err := none.Get(new(int)); err != nil || none.HasValue() || none.Payloads() != nil {
		t.Errorf("zero value: %v", err)
	}

	a := converter.NewArgs(c, ps)
	if n, err := converter.Arg[int](a, 1); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if raw, err := converter.Arg[converter.RawValue](a, 0); err != nil || raw != a.Raw(0) {
		t.Errorf("%v, %v", raw, err)
	}
	if _, err := converter.Arg[int](a, 0); err == nil || !strings.Contains(err.Error(), "argument 0") {
		t.Errorf("wrong type: %v", err)
	}
	for _, i := range []int{-1, 2} {
		if _, err := converter.Arg[int](a, i); err == nil {
			t.Errorf("there is no argument %d", i)
		}
		if a.Raw(i).Payload != nil {
			t.Errorf("raw argument %d", i)
		}
	}
	var s string
	if err := a.Decode(&s); err != nil || s != "a" || a.Len() != 2 || a.Payloads() != ps {
		t.Errorf("%q, %v", s, err)
	}
}

// TestStringsDecodeAsEncodingJSONDecodesThem holds the shortcut for strings to the package it stands in for.
func TestStringsDecodeAsEncodingJSONDecodesThem(t *testing.T) {
	for _, data := range []string{``, `"`, `""`, `"a"`, `"a"b"`, `"a\"`, `"\n"`, "\"\n\"", "\"\x7f\"", "\"\xc3\"", "\"\xc3\xa4\"", ` "a"`, `"a" `, `a`, `"ﬀ\u2028"`, "\"\u2028\"", `1`, `null`, `{}`} {
		sameAsJSON(t, []byte(data))
	}
}

func FuzzStringsDecodeAsEncodingJSONDecodesThem(f *testing.F) {
	f.Add([]byte(`"a\u00e4"`))
	f.Fuzz(sameAsJSON)
}

func sameAsJSON(t *testing.T, data []byte) {
	var want, got string
	wantErr := json.Unmarshal(data, &want)
	gotErr := converter.Default().FromPayload(payload("json/plain", string(data)), &got)
	if got != want || (gotErr == nil) != (wantErr == nil) {
		t.Errorf("%q: got %q, %v; encoding/json %q, %v", data, got, gotErr, want, wantErr)
	}
}

func FuzzDecodingNeverPanics(f *testing.F) {
	for _, e := range []string{"binary/null", "binary/plain", "json/plain", "json/protobuf", "binary/protobuf", "binary/zlib", ""} {
		f.Add(e, "temporal.api.common.v1.WorkflowType", []byte(`{"name":"w"}`))
		f.Add(e, "google.protobuf.Any", []byte("null"))
	}
	f.Fuzz(func(t *testing.T, encoding, typ string, data []byte) {
		p := message(encoding, typ, string(data))
		for _, ptr := range []any{
			nil, 1, new(any), new(string), new(int), new([]byte), new(named), new(order), new(*order), new(map[string]any),
			new(*commonpb.Payload), &commonpb.Payload{}, new(proto.Message), new(error), new(enumspb.EventType),
			(*string)(nil), (*[]byte)(nil), (*any)(nil), (*commonpb.Payload)(nil), (*converter.RawValue)(nil),
			new(converter.RawValue), new(converter.None), new(*wrapperspb.StringValue),
		} {
			_ = converter.Default().FromPayload(p, ptr)
		}
		_, _ = converter.ZlibCodec{}.Decode([]*commonpb.Payload{p})
	})
}

func BenchmarkToPayload(b *testing.B) {
	for name, v := range map[string]any{
		"nil": nil, "bytes": []byte("abc"), "string": "hello", "int": 42,
		"struct": order{ID: "1", Items: []string{"a", "b"}}, "message": &commonpb.WorkflowType{Name: "w"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := converter.Default().ToPayload(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFromPayload(b *testing.B) {
	for name, tc := range map[string]struct {
		p   *commonpb.Payload
		ptr any
	}{
		"null":    {payload("binary/null", ""), new(*order)},
		"bytes":   {payload("binary/plain", "abc"), new([]byte)},
		"string":  {payload("json/plain", `"hello"`), new(string)},
		"int":     {payload("json/plain", `42`), new(int)},
		"struct":  {payload("json/plain", `{"id":"1","items":["a","b"]}`), new(order)},
		"message": {payload("json/protobuf", `{"name":"w"}`), new(*commonpb.WorkflowType)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := converter.Default().FromPayload(tc.p, tc.ptr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
