package namespace

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/storage/mem"
)

func allTypes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		"Text": enumspb.INDEXED_VALUE_TYPE_TEXT, "Keyword": enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		"Int": enumspb.INDEXED_VALUE_TYPE_INT, "Double": enumspb.INDEXED_VALUE_TYPE_DOUBLE,
		"Bool": enumspb.INDEXED_VALUE_TYPE_BOOL, "Datetime": enumspb.INDEXED_VALUE_TYPE_DATETIME,
		"KeywordList": enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
	}
}

func withAttributes(t *testing.T) (*Registry, *Namespace) {
	t.Helper()
	r := open(t, mem.New(mem.Options{}))
	if err := r.AddSearchAttributes(t.Context(), Default, allTypes()); err != nil {
		t.Fatal(err)
	}
	n, err := r.Lookup(Default)
	if err != nil {
		t.Fatal(err)
	}
	return r, n
}

func payload(t *testing.T, v any) *commonpb.Payload {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data}
}

func one(name string, p *commonpb.Payload) *commonpb.SearchAttributes {
	return &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{name: p}}
}

func TestS200AllTypesRoundTripWithTheirType(t *testing.T) {
	_, n := withAttributes(t)
	for name, values := range map[string][]any{
		"Text":                  {"two words", []string{"two words"}},
		"Keyword":               {"k", "", []string{"k"}},
		"Int":                   {42, -1, []int{42}},
		"Double":                {1.5, 2, []float64{1.5}},
		"Bool":                  {true, []bool{false}},
		"Datetime":              {"2026-01-02T03:04:05.000000006Z", []string{"2026-01-02T03:04:05+01:00"}},
		"KeywordList":           {[]string{"a", "b"}, []string{"a"}, "a"},
		"TemporalChangeVersion": {[]string{"change-1"}},
		"BuildIds":              {[]string{"unversioned"}},
	} {
		for _, v := range values {
			t.Run(fmt.Sprintf("%s %v", name, v), func(t *testing.T) {
				in := one(name, payload(t, v))
				before := proto.Clone(in)
				out, err := n.Core().CheckSearchAttributes(in)
				if err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(in, before) {
					t.Error("the request was changed")
				}
				a, _ := n.Attribute(name)
				p := out.GetIndexedFields()[name]
				if got := string(p.GetMetadata()["type"]); got != a.Type.String() {
					t.Errorf("type %q, want %q", got, a.Type)
				}
				if string(p.GetData()) != string(before.(*commonpb.SearchAttributes).GetIndexedFields()[name].GetData()) {
					t.Errorf("data became %s", p.GetData())
				}
				if read := n.ReadSearchAttributes(out); !proto.Equal(read, out) {
					t.Errorf("read back %v, want %v", read, out)
				}
			})
		}
	}
}

func TestTypeInTheRequestIsReplaced(t *testing.T) {
	_, n := withAttributes(t)
	p := payload(t, 7)
	p.Metadata["type"] = []byte("Keyword")
	out, err := n.checkSearchAttributes(one("Int", p))
	if err != nil || string(out.IndexedFields["Int"].Metadata["type"]) != "Int" {
		t.Fatalf("%v, %v", out, err)
	}
	if string(p.Metadata["type"]) != "Keyword" {
		t.Error("the request was changed")
	}
}

func TestS201BadSearchAttributesAreRefused(t *testing.T) {
	_, n := withAttributes(t)
	many := &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{}}
	for i := range maxKeys + 1 {
		many.IndexedFields[fmt.Sprint("A", i)] = payload(t, 1)
	}
	for _, tt := range []struct {
		name string
		sa   *commonpb.SearchAttributes
		want string
	}{
		{"unknown", one("Nope", payload(t, "x")), "Namespace default has no mapping defined for search attribute Nope"},
		{"unknown removal", one("Nope", payload(t, nil)), "Namespace default has no mapping defined for search attribute Nope"},
		{"system", one("WorkflowId", payload(t, "x")), "WorkflowId attribute can't be set in SearchAttributes"},
		{"server's own", one("TemporalWorkerDeployment", payload(t, "x")), "TemporalWorkerDeployment attribute can't be set in SearchAttributes"},
		{"wrong type", one("Int", payload(t, "x")), "invalid value for search attribute Int of type Int: "},
		{"null in a list", one("KeywordList", payload(t, []any{"a", nil})), "invalid value for search attribute KeywordList of type KeywordList: "},
		{"two values", one("Keyword", payload(t, []string{"a", "b"})), "invalid value for search attribute Keyword of type Keyword: "},
		{"no encoding", one("Keyword", &commonpb.Payload{Data: []byte(`"x"`)}), "invalid value for search attribute Keyword of type Keyword: "},
		{"long value", one("Keyword", payload(t, strings.Repeat("x", maxValue))), "search attribute Keyword value size 2050 exceeds size limit 2048"},
		{"many", many, "number of search attributes 101 exceeds limit 100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := n.Core().CheckSearchAttributes(tt.sa)
			wantKind(t, err, execution.InvalidArgument)
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
		})
	}
	if _, err := n.checkSearchAttributes(one("Keyword", payload(t, strings.Repeat("x", maxValue-2)))); err != nil {
		t.Errorf("a value just short enough: %v", err)
	}
}

func TestS201TotalSizeIsBounded(t *testing.T) {
	r, _ := withAttributes(t)
	sa := &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{}}
	types := map[string]enumspb.IndexedValueType{}
	for i := range 21 { // of 2000 bytes each: 20 fit into 40 KiB, 21 do not
		name := fmt.Sprint("A", i)
		types[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		sa.IndexedFields[name] = payload(t, strings.Repeat("x", 1950))
	}
	if err := r.AddSearchAttributes(t.Context(), Default, types); err != nil {
		t.Fatal(err)
	}
	n, _ := r.Lookup(Default)
	_, err := n.checkSearchAttributes(sa)
	wantKind(t, err, execution.InvalidArgument)
	if !strings.HasPrefix(err.Error(), "total size of search attributes ") {
		t.Error(err)
	}
	delete(sa.IndexedFields, "A0")
	if _, err := n.checkSearchAttributes(sa); err != nil {
		t.Error(err)
	}
}

func TestNullsAreKeptAsRemovals(t *testing.T) {
	_, n := withAttributes(t)
	for name, p := range map[string]*commonpb.Payload{
		"null": payload(t, nil), "empty list": payload(t, []string{}), "no payload": nil,
		"binary null":    {Metadata: map[string][]byte{"encoding": []byte("binary/null")}},
		"nothing at all": {},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := n.checkSearchAttributes(one("Keyword", p))
			if err != nil {
				t.Fatal(err)
			}
			got, kept := out.GetIndexedFields()["Keyword"]
			if !kept || !proto.Equal(got, p) {
				t.Errorf("got %v, want %v kept as it is", got, p)
			}
			if read := n.ReadSearchAttributes(out); read != nil {
				t.Errorf("clients would see %v", read)
			}
		})
	}
	if out, err := n.checkSearchAttributes(nil); out != nil || err != nil {
		t.Errorf("nothing became %v, %v", out, err)
	}
}

func TestRemovedAttributesVanishFromReads(t *testing.T) {
	r, n := withAttributes(t)
	stored, err := n.checkSearchAttributes(&commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
		"Keyword": payload(t, "k"), "Int": payload(t, 1), "BuildIds": payload(t, []string{"b"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	resolve := r.Resolver(n.ID)
	if err := r.RemoveSearchAttributes(t.Context(), Default, []string{"Keyword", "Int", "Unknown"}); err != nil {
		t.Fatal(err)
	}
	if _, ok := resolve("Keyword"); ok {
		t.Error("queries still know it")
	}
	// Defined again, with types one of which the stored value still fits.
	if err := r.AddSearchAttributes(t.Context(), Default, map[string]enumspb.IndexedValueType{
		"Keyword": enumspb.INDEXED_VALUE_TYPE_BOOL, "Int": enumspb.INDEXED_VALUE_TYPE_DOUBLE,
	}); err != nil {
		t.Fatal(err)
	}
	now, _ := r.Lookup(Default)
	read := now.ReadSearchAttributes(stored).GetIndexedFields()
	if _, ok := read["Keyword"]; ok || len(read) != 2 || string(read["Int"].GetMetadata()["type"]) != "Double" {
		t.Errorf("clients see %v", read)
	}
	if a, ok := resolve("Int"); !ok || a.Type != enumspb.INDEXED_VALUE_TYPE_DOUBLE {
		t.Errorf("queries see %v, %v", a, ok)
	}
	if a, ok := resolve("WorkflowId"); !ok || a.Origin != filter.System {
		t.Errorf("queries see %v, %v", a, ok)
	}
}

func TestAddingAttributesIsChecked(t *testing.T) {
	r, _ := withAttributes(t)
	full := map[string]enumspb.IndexedValueType{}
	for i := range MaxAttributes {
		full[fmt.Sprint("A", i)] = enumspb.INDEXED_VALUE_TYPE_BOOL // with "Bool", one too many
	}
	for _, tt := range []struct {
		name  string
		types map[string]enumspb.IndexedValueType
		want  string // empty: fine
	}{
		{"existing", map[string]enumspb.IndexedValueType{"Int": enumspb.INDEXED_VALUE_TYPE_INT}, ""},
		{"existing with another type", map[string]enumspb.IndexedValueType{"Int": enumspb.INDEXED_VALUE_TYPE_TEXT}, ""},
		{"system", map[string]enumspb.IndexedValueType{"RunId": enumspb.INDEXED_VALUE_TYPE_TEXT}, "Search attribute RunId is reserved by system."},
		{"reserved", map[string]enumspb.IndexedValueType{"Memo": enumspb.INDEXED_VALUE_TYPE_TEXT}, "Search attribute Memo is reserved by system."},
		{"prefix", map[string]enumspb.IndexedValueType{"TemporalX": enumspb.INDEXED_VALUE_TYPE_TEXT}, "Search attribute TemporalX is reserved by system."},
		{"no name", map[string]enumspb.IndexedValueType{"": enumspb.INDEXED_VALUE_TYPE_TEXT}, "Search attribute name is empty."},
		{"no type", map[string]enumspb.IndexedValueType{"X": 0}, "Search attribute X has no valid type."},
		{"a type from the future", map[string]enumspb.IndexedValueType{"X": 8}, "Search attribute X has no valid type."},
		{"full", full, "Unable to create search attributes: cannot have more than 100 search attribute of type Bool."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := r.AddSearchAttributes(t.Context(), Default, tt.types)
			if tt.want != "" {
				wantKind(t, err, execution.InvalidArgument)
				if err.Error() != tt.want {
					t.Errorf("got %q, want %q", err, tt.want)
				}
			} else if err != nil {
				t.Error(err)
			}
			n, _ := r.Lookup(Default)
			if len(n.Attributes) != len(allTypes()) || n.Attributes["Int"] != enumspb.INDEXED_VALUE_TYPE_INT {
				t.Errorf("attributes became %v", n.Attributes)
			}
		})
	}
	err := r.RemoveSearchAttributes(t.Context(), Default, []string{"Int", "RunId"})
	wantKind(t, err, execution.InvalidArgument)
	if n, _ := r.Lookup(Default); n.Attributes["Int"] == 0 {
		t.Error("a refused removal removed something")
	}
	wantKind(t, r.AddSearchAttributes(t.Context(), "nope", full), execution.NotFound)
}

func BenchmarkCheckSearchAttributes(b *testing.B) {
	n := &Namespace{Info: Info{Name: "x", Attributes: allTypes()}}
	sa := one("Keyword", &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"value"`)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.checkSearchAttributes(sa); err != nil {
			b.Fatal(err)
		}
	}
}
