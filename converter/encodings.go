package converter

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
)

var (
	nullName      = name(encodingNull)
	plainName     = name(encodingPlain)
	protoJSONName = name(encodingProtoJSON)
	protoName     = name(encodingProtoBinary)
	jsonName      = name(encodingJSON)
)

var errNotPointer = errors.New("not a pointer that can be set")

// target is what ptr points to, ready to be set.
func target(ptr any) (reflect.Value, error) {
	r := reflect.ValueOf(ptr)
	if r.Kind() != reflect.Pointer || r.IsNil() {
		return reflect.Value{}, errNotPointer
	}
	return r.Elem(), nil
}

// null is binary/null.
type null struct{}

func (null) Encoding() string { return encodingNull }

func (null) ToPayload(v any) (*commonpb.Payload, error) {
	if !isNil(v) {
		return nil, nil
	}
	return newPayload(nullName, nil), nil
}

func (null) FromPayload(_ *commonpb.Payload, ptr any) error {
	v, err := target(ptr)
	if err != nil {
		return err
	}
	v.SetZero()
	return nil
}

// plain is binary/plain. Only []byte itself encodes so: named byte slices, like json.RawMessage, mean something else.
type plain struct{}

func (plain) Encoding() string { return encodingPlain }

func (plain) ToPayload(v any) (*commonpb.Payload, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, nil
	}
	return newPayload(plainName, b), nil
}

func (plain) FromPayload(p *commonpb.Payload, ptr any) error {
	switch ptr := ptr.(type) {
	case *[]byte:
		if ptr == nil {
			return errNotPointer
		}
		*ptr = p.GetData()
		return nil
	case *any:
		if ptr == nil {
			return errNotPointer
		}
		*ptr = p.GetData()
		return nil
	}
	v, err := target(ptr)
	if err != nil {
		return err
	}
	if v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.Uint8 {
		return errors.New("bytes fit only into a slice of bytes")
	}
	v.SetBytes(p.GetData())
	return nil
}

// plainJSON is json/plain.
type plainJSON struct{}

func (plainJSON) Encoding() string { return encodingJSON }

func (plainJSON) ToPayload(v any) (*commonpb.Payload, error) {
	var data []byte
	switch v := v.(type) {
	case bool:
		data = strconv.AppendBool(nil, v)
	case int:
		data = strconv.AppendInt(nil, int64(v), 10)
	case int64:
		data = strconv.AppendInt(nil, v, 10)
	default:
		var err error
		if data, err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return newPayload(jsonName, data), nil
}

func (plainJSON) FromPayload(p *commonpb.Payload, ptr any) error {
	data := p.GetData()
	if s, ok := ptr.(*string); ok && s != nil {
		if inner, ok := simpleString(data); ok {
			*s = string(inner)
			return nil
		}
	}
	return json.Unmarshal(data, ptr)
}

// simpleString is what stands between the quotes of a JSON string that has nothing to unescape.
func simpleString(data []byte) ([]byte, bool) {
	if len(data) < 2 || data[0] != '"' || data[len(data)-1] != '"' {
		return nil, false
	}
	inner := data[1 : len(data)-1]
	if bytes.IndexByte(inner, '"') >= 0 || bytes.IndexByte(inner, '\\') >= 0 || !utf8.Valid(inner) {
		return nil, false
	}
	for _, b := range inner {
		if b < ' ' {
			return nil, false
		}
	}
	return inner, true
}
