package converter

import (
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
)

// Value is a result or details: either encoded, as received, and decoded when asked; or Go values that are still to be
// encoded. The zero Value holds nothing. It may be copied and used concurrently.
type Value struct {
	c      Converter
	ps     *commonpb.Payloads
	values []any
}

// NewValue is what was received. A nil c is the default converter.
func NewValue(c Converter, ps *commonpb.Payloads) Value { return Value{c: c, ps: ps} }

// ValueOf is what is to be sent.
func ValueOf(values ...any) Value { return Value{values: values} }

// Get decodes into ptrs by the rules of [FromPayloads]: what is missing keeps what ptrs point to. Values not encoded
// yet are encoded with the default converter first, so that the caller always gets copies.
func (v Value) Get(ptrs ...any) error {
	c := orDefault(v.c)
	ps, err := v.Encode(c)
	if err != nil {
		return err
	}
	return FromPayloads(c, ps, ptrs...)
}

// HasValue reports whether there is anything to get.
func (v Value) HasValue() bool { return v.Len() > 0 }

// Len is the number of values.
func (v Value) Len() int { return len(v.values) + len(v.ps.GetPayloads()) }

// Payloads is what was received, nil for values not encoded yet. It must not be changed.
func (v Value) Payloads() *commonpb.Payloads { return v.ps }

// Encode is what was received, or else the values encoded with c.
func (v Value) Encode(c Converter) (*commonpb.Payloads, error) {
	if len(v.values) == 0 {
		return v.ps, nil
	}
	return ToPayloads(c, v.values...)
}

// Args are the raw arguments of a dynamic handler, which gets calls whose types it cannot know beforehand. They may be
// used concurrently.
type Args struct {
	c  Converter
	ps *commonpb.Payloads
}

// NewArgs are the arguments in ps. A nil c is the default converter.
func NewArgs(c Converter, ps *commonpb.Payloads) Args { return Args{c: c, ps: ps} }

// Len is the number of arguments.
func (a Args) Len() int { return len(a.ps.GetPayloads()) }

// Raw is the i-th argument, from 0, undecoded. It is empty where there is no such argument.
func (a Args) Raw(i int) RawValue {
	if i < 0 || i >= a.Len() {
		return RawValue{}
	}
	return RawValue{Payload: a.ps.GetPayloads()[i]}
}

// Decode decodes the arguments by the rules of [FromPayloads].
func (a Args) Decode(ptrs ...any) error { return FromPayloads(orDefault(a.c), a.ps, ptrs...) }

// Payloads are all arguments. They must not be changed.
func (a Args) Payloads() *commonpb.Payloads { return a.ps }

// Arg is the i-th argument, from 0. Unlike [Args.Decode] it is an error if there is none.
func Arg[T any](a Args, i int) (T, error) {
	var v T
	if i < 0 || i >= a.Len() {
		return v, fmt.Errorf("argument %d: there are %d", i, a.Len())
	}
	raw := a.Raw(i)
	if takesRaw(raw.Payload, &v) {
		return v, nil
	}
	if err := orDefault(a.c).FromPayload(raw.Payload, &v); err != nil {
		return v, fmt.Errorf("argument %d: %w", i, err)
	}
	return v, nil
}

func orDefault(c Converter) Converter {
	if c == nil {
		return standard
	}
	return c
}
