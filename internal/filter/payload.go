package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
)

const (
	metadataEncoding = "encoding"
	metadataType     = "type"
	encodingJSON     = "json/plain"
	encodingNull     = "binary/null"
)

// DecodeValue reads a search attribute's payload as a value of type typ. The encoding is json/plain; a scalar may
// come as a list of one, a list as a lone string. An absent payload, null and the empty list are null. A Datetime is
// an RFC 3339 string, clamped to the years 1678 to 2262. The payload's own "type" metadata is not consulted: the
// namespace's definition counts. The error says what was expected and is meant for the payload's author.
func DecodeValue(p *commonpb.Payload, typ enumspb.IndexedValueType) (Value, error) {
	data, err := jsonData(p)
	if err != nil || data == nil {
		return Value{}, err
	}
	if data[0] != '[' {
		return decodeScalar(data, typ)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return Value{}, fmt.Errorf("decode the list: %w", err)
	}
	switch {
	case len(items) == 0:
		return Value{}, nil
	case typ == enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		return decodeList(items)
	case len(items) > 1:
		return Value{}, fmt.Errorf("want one value, got a list of %d", len(items))
	}
	return decodeScalar(items[0], typ)
}

// ValidateValue reports, as a *ValueError, a payload that DecodeValue refuses. name is the attribute as the user
// knows it. Size limits are the caller's concern.
func ValidateValue(name string, p *commonpb.Payload, typ enumspb.IndexedValueType) error {
	if _, err := DecodeValue(p, typ); err != nil {
		return &ValueError{Attribute: name, Type: typ.String(), Reason: err}
	}
	return nil
}

// EncodeValue is v as clients read it: json/plain with the type in the metadata. Null is JSON's null, without type.
func EncodeValue(v Value) *commonpb.Payload {
	metadata := map[string][]byte{metadataEncoding: []byte(encodingJSON)}
	if !v.IsNull() {
		metadata[metadataType] = []byte(v.typ.String())
	}
	// Every value encodes: doubles are finite and the rest cannot fail.
	data, _ := json.Marshal(v.plain())
	return &commonpb.Payload{Metadata: metadata, Data: data}
}

func (v Value) plain() any {
	switch v.typ {
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD, enumspb.INDEXED_VALUE_TYPE_TEXT:
		return v.str
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		return v.list
	case enumspb.INDEXED_VALUE_TYPE_INT:
		return v.num
	case enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		return v.float()
	case enumspb.INDEXED_VALUE_TYPE_BOOL:
		return v.num != 0
	case enumspb.INDEXED_VALUE_TYPE_DATETIME:
		return timeOf(v.Datetime()).Format(time.RFC3339Nano)
	}
	return nil
}

// jsonData is the payload's JSON without surrounding space; nil for null.
func jsonData(p *commonpb.Payload) ([]byte, error) {
	switch encoding := string(p.GetMetadata()[metadataEncoding]); {
	case p == nil || encoding == encodingNull:
		return nil, nil
	case len(p.Metadata) == 0 && len(p.Data) == 0: // what a nil payload in a map is on the wire
		return nil, nil
	case encoding != encodingJSON:
		return nil, fmt.Errorf("want encoding %s, got %q", encodingJSON, encoding)
	}
	data := bytes.TrimSpace(p.GetData())
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	return data, nil
}

func decodeList(items []json.RawMessage) (Value, error) {
	list := make([]string, len(items))
	for i, item := range items {
		s, err := decodeJSON[string](item, "a string")
		if err != nil {
			return Value{}, err
		}
		list[i] = s
	}
	return KeywordList(list), nil
}

func decodeScalar(data []byte, typ enumspb.IndexedValueType) (Value, error) {
	switch typ {
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD:
		s, err := decodeJSON[string](data, "a string")
		return valueOr(Keyword(s), err)
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		s, err := decodeJSON[string](data, "a list of strings")
		return valueOr(KeywordList([]string{s}), err)
	case enumspb.INDEXED_VALUE_TYPE_TEXT:
		s, err := decodeJSON[string](data, "a string")
		return valueOr(Text(s), err)
	case enumspb.INDEXED_VALUE_TYPE_INT:
		n, err := decodeJSON[int64](data, "a whole number of 64 bits")
		return valueOr(Int(n), err)
	case enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		f, err := decodeJSON[float64](data, "a number")
		return valueOr(Double(f), err)
	case enumspb.INDEXED_VALUE_TYPE_BOOL:
		b, err := decodeJSON[bool](data, "true or false")
		return valueOr(Bool(b), err)
	case enumspb.INDEXED_VALUE_TYPE_DATETIME:
		return decodeDatetime(data)
	}
	return Value{}, errors.New("unknown type")
}

func decodeDatetime(data []byte) (Value, error) {
	const want = "a time as in RFC 3339"
	s, err := decodeJSON[string](data, want)
	if err != nil {
		return Value{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Value{}, mismatch(want, data)
	}
	return datetime(nanosOf(t)), nil
}

// decodeJSON refuses null, which json would silently read as the zero T.
func decodeJSON[T any](data []byte, want string) (T, error) {
	var v T
	if string(data) == "null" || json.Unmarshal(data, &v) != nil {
		return v, mismatch(want, data)
	}
	return v, nil
}

// mismatch quotes only the beginning of a value, which may be long.
func mismatch(want string, data []byte) error { return fmt.Errorf("want %s, got %.100s", want, data) }

func valueOr(v Value, err error) (Value, error) {
	if err != nil {
		return Value{}, err
	}
	return v, nil
}
