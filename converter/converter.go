package converter

import (
	"errors"
	"fmt"
	"reflect"

	commonpb "go.temporal.io/api/common/v1"
)

// Names of metadata entries and encodings, as all SDKs write them.
const (
	metadataEncoding    = "encoding"
	metadataMessageType = "messageType"

	encodingNull        = "binary/null"
	encodingPlain       = "binary/plain"
	encodingProtoJSON   = "json/protobuf"
	encodingProtoBinary = "binary/protobuf"
	encodingJSON        = "json/plain"
)

// ErrNoEncoding says that a converter holds no encoding for a value, or none of the name a payload carries. It is
// wrapped in the errors of [Converter].
var ErrNoEncoding = errors.New("no encoding for it")

// PayloadConverter is one encoding. It must be safe for concurrent use.
type PayloadConverter interface {
	// Encoding is what the payload's metadata says under "encoding". It never changes.
	Encoding() string
	// ToPayload encodes v. A nil payload without an error means that v is not a value of this encoding.
	ToPayload(v any) (*commonpb.Payload, error)
	// FromPayload decodes into what ptr points to. It may keep p's bytes.
	FromPayload(p *commonpb.Payload, ptr any) error
}

// Converter is a set of encodings. It must be safe for concurrent use and must not change what it has once produced:
// replay decodes payloads that were encoded long ago.
type Converter interface {
	// ToPayload encodes v. The payload is the caller's, except that it may share bytes with v.
	ToPayload(v any) (*commonpb.Payload, error)
	// FromPayload decodes p into what ptr points to. A nil p changes nothing. The value may share bytes with p, so
	// neither may be written to afterwards.
	FromPayload(p *commonpb.Payload, ptr any) error
}

// RawValue is a payload that passes through a converter untouched, both ways. Encoded without a payload it is
// binary/null.
type RawValue struct{ Payload *commonpb.Payload }

// None is the result of what has none. It is encoded as no payload at all where a result may be left out (see
// [ToPayloads]), as binary/null otherwise, and decodes from anything, which is then ignored.
type None struct{}

var standard = New(null{}, plain{}, protoJSON{}, protoBinary{}, plainJSON{})

// Default is the converter of the official SDKs; the package documentation lists its encodings.
func Default() Converter { return standard }

// New is a converter of these encodings. Values are offered to them in this order; of two with the same name the first
// one decodes. Put one that takes every value last. [RawValue] and [None] are known to every converter made here.
func New(encodings ...PayloadConverter) Converter {
	s := &set{encodings: make([]encoding, len(encodings))}
	for i, e := range encodings {
		s.encodings[i] = encoding{name: e.Encoding(), PayloadConverter: e}
	}
	return s
}

type set struct{ encodings []encoding }

type encoding struct {
	name string
	PayloadConverter
}

func (s *set) ToPayload(v any) (*commonpb.Payload, error) {
	if p, ok := passThrough(v); ok {
		return p, nil
	}
	for i := range s.encodings {
		e := &s.encodings[i]
		p, err := e.ToPayload(v)
		if err != nil {
			return nil, fmt.Errorf("encode %T as %s: %w", v, e.name, err)
		}
		if p != nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("encode %T: %w", v, ErrNoEncoding)
}

func (s *set) FromPayload(p *commonpb.Payload, ptr any) error {
	if p == nil || takesRaw(p, ptr) {
		return nil
	}
	name := p.GetMetadata()[metadataEncoding]
	for i := range s.encodings {
		e := &s.encodings[i]
		if string(name) != e.name {
			continue
		}
		if err := e.FromPayload(p, ptr); err != nil {
			return fmt.Errorf("decode %s into %T: %w", e.name, ptr, err)
		}
		return nil
	}
	return fmt.Errorf("decode %q into %T: %w", name, ptr, ErrNoEncoding)
}

// passThrough is the payload of those values that no encoding is asked about.
func passThrough(v any) (*commonpb.Payload, bool) {
	var p *commonpb.Payload
	switch v := v.(type) {
	case RawValue:
		p = v.Payload
	case *RawValue:
		if v != nil {
			p = v.Payload
		}
	case None, *None:
	default:
		return nil, false
	}
	if p == nil {
		p = newPayload(nullName, nil)
	}
	return p, true
}

// takesRaw reports whether ptr points to something that decodes from any payload, and gives it p.
func takesRaw(p *commonpb.Payload, ptr any) bool {
	switch ptr := ptr.(type) {
	case *RawValue:
		if ptr != nil {
			ptr.Payload = p
		}
		return true
	case *None:
		return true
	}
	return false
}

// ToPayloads encodes the values in order. No values are nil, and so is a single [None]: a message without payloads says
// that there is no argument or no result. Errors name the position, from 0.
func ToPayloads(c Converter, values ...any) (*commonpb.Payloads, error) {
	if len(values) == 0 || len(values) == 1 && isNone(values[0]) {
		return nil, nil
	}
	ps := make([]*commonpb.Payload, len(values))
	for i, v := range values {
		p, ok := passThrough(v)
		if !ok {
			var err error
			if p, err = c.ToPayload(v); err != nil {
				return nil, fmt.Errorf("value %d: %w", i, err)
			}
		}
		ps[i] = p
	}
	return &commonpb.Payloads{Payloads: ps}, nil
}

func isNone(v any) bool {
	switch v.(type) {
	case None, *None:
		return true
	}
	return false
}

// FromPayloads decodes the i-th payload into the i-th pointer. Surplus payloads are ignored, and pointers without a
// payload keep what they point to, so that arguments may be added and removed over time. Nil pointers are skipped.
// Errors name the position, from 0; the pointers before it are filled already.
func FromPayloads(c Converter, ps *commonpb.Payloads, ptrs ...any) error {
	for i, p := range ps.GetPayloads() {
		if i == len(ptrs) {
			break
		}
		ptr := ptrs[i]
		if p == nil || isNil(ptr) || takesRaw(p, ptr) {
			continue
		}
		if err := c.FromPayload(p, ptr); err != nil {
			return fmt.Errorf("payload %d: %w", i, err)
		}
	}
	return nil
}

// isNil reports whether v is nil or a pointer that is nil.
func isNil(v any) bool {
	switch v.(type) {
	case nil:
		return true
	case string, []byte, bool, int, int64, float64: // the usual values need no reflection
		return false
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// name is a metadata value shared by all payloads of an encoding. Its capacity is its length, so appending copies.
func name(s string) []byte {
	b := []byte(s)
	return b[:len(b):len(b)]
}

func newPayload(encoding, data []byte) *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{metadataEncoding: encoding}, Data: data}
}
