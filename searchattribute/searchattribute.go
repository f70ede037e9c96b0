// Package searchattribute has typed keys for the attributes by which workflows are found. A key is declared once, and the compiler
// checks its values wherever they are set or read:
//
//	var Customer = searchattribute.Keyword("CustomerId")
//
//	client.StartOptions{SearchAttributes: searchattribute.Map(Customer.Set("c-7"))}
//	workflow.UpsertSearchAttributes(ctx, searchattribute.Map(Customer.Unset()))
//	id, ok, err := Customer.Get(workflow.GetInfo(ctx).SearchAttributes)
package searchattribute

import (
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/converter"
)

// Key is the name of an attribute with the type that it has in the namespace.
type Key[T any] struct{ name, kind string }

// Keyword is found by the whole value.
func Keyword(name string) Key[string] { return Key[string]{name, "Keyword"} }

// Text is found by its words.
func Text(name string) Key[string] { return Key[string]{name, "Text"} }

// KeywordList is found by each of its values.
func KeywordList(name string) Key[[]string] { return Key[[]string]{name, "KeywordList"} }

// Int is found by value and range.
func Int(name string) Key[int64] { return Key[int64]{name, "Int"} }

// Double is found by value and range.
func Double(name string) Key[float64] { return Key[float64]{name, "Double"} }

// Bool is found by value.
func Bool(name string) Key[bool] { return Key[bool]{name, "Bool"} }

// Datetime is found by value and range. It has nanoseconds.
func Datetime(name string) Key[time.Time] { return Key[time.Time]{name, "Datetime"} }

// Name is the attribute's.
func (k Key[T]) Name() string { return k.name }

// Value is an attribute with its value, or without one.
type Value struct {
	name    string
	payload *commonpb.Payload
}

// Set is the attribute with a value.
func (k Key[T]) Set(v T) Value { return k.value(v) }

// Unset takes the attribute away, where there is something to take away from: in UpsertSearchAttributes.
func (k Key[T]) Unset() Value { return k.value(nil) }

func (k Key[T]) value(v any) Value {
	p, err := converter.Default().ToPayload(v)
	if err != nil {
		panic(fmt.Sprintf("search attribute %s: %v", k.name, err)) // no type of a key gets here
	}
	if p.Metadata == nil {
		p.Metadata = map[string][]byte{}
	}
	p.Metadata["type"] = []byte(k.kind)
	return Value{k.name, p}
}

// Get reads the attribute. It is false where there is none, and an error where the value has another type.
func (k Key[T]) Get(from *commonpb.SearchAttributes) (v T, ok bool, err error) {
	p := from.GetIndexedFields()[k.name]
	if p == nil || string(p.Metadata["encoding"]) == "binary/null" {
		return v, false, nil
	}
	if err := converter.Default().FromPayload(p, &v); err != nil {
		return v, false, fmt.Errorf("search attribute %s: %w", k.name, err)
	}
	return v, true, nil
}

// Map is what options and UpsertSearchAttributes take. The last value of a name counts.
func Map(values ...Value) map[string]any {
	m := make(map[string]any, len(values))
	for _, v := range values {
		m[v.name] = converter.RawValue{Payload: v.payload}
	}
	return m
}
