package converter

import (
	"fmt"
	"reflect"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// protoJSON is json/protobuf.
type protoJSON struct{}

func (protoJSON) Encoding() string { return encodingProtoJSON }

func (protoJSON) ToPayload(v any) (*commonpb.Payload, error) {
	m := message(v)
	if m == nil {
		return nil, nil
	}
	data, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	return protoPayload(protoJSONName, m, data), nil
}

func (protoJSON) FromPayload(p *commonpb.Payload, ptr any) error {
	if string(p.GetData()) == "null" { // what other SDKs may write for a message that is absent
		return null{}.FromPayload(p, ptr)
	}
	return intoMessage(p, ptr, protojson.Unmarshal)
}

// protoBinary is binary/protobuf.
type protoBinary struct{}

func (protoBinary) Encoding() string { return encodingProtoBinary }

func (protoBinary) ToPayload(v any) (*commonpb.Payload, error) {
	m := message(v)
	if m == nil {
		return nil, nil
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return protoPayload(protoName, m, data), nil
}

func (protoBinary) FromPayload(p *commonpb.Payload, ptr any) error {
	return intoMessage(p, ptr, proto.Unmarshal)
}

func protoPayload(encoding []byte, m proto.Message, data []byte) *commonpb.Payload {
	return &commonpb.Payload{
		Metadata: map[string][]byte{
			metadataEncoding:    encoding,
			metadataMessageType: []byte(m.ProtoReflect().Descriptor().FullName()),
		},
		Data: data,
	}
}

var messageType = reflect.TypeFor[proto.Message]()

// message is v as a protobuf message, or nil. Generated messages are pointers; one passed by value counts too.
func message(v any) proto.Message {
	switch v := v.(type) {
	case proto.Message:
		return v
	case nil, string, bool, int, int64, float64:
		return nil
	}
	t := reflect.TypeOf(v)
	if t.Kind() != reflect.Struct || !reflect.PointerTo(t).Implements(messageType) {
		return nil
	}
	m := reflect.New(t)
	m.Elem().Set(reflect.ValueOf(v))
	return m.Interface().(proto.Message)
}

// intoMessage decodes into ptr, which may point to a message, to a pointer to one, or to an interface that the message
// named by the payload satisfies.
func intoMessage(p *commonpb.Payload, ptr any, unmarshal func([]byte, proto.Message) error) error {
	v, err := target(ptr)
	if err != nil {
		return err
	}
	if m, ok := ptr.(proto.Message); ok {
		return unmarshal(p.GetData(), m)
	}
	m, err := newMessage(p, v.Type())
	if err != nil {
		return err
	}
	if err := unmarshal(p.GetData(), m); err != nil {
		return err
	}
	v.Set(reflect.ValueOf(m))
	return nil
}

// newMessage is an empty message that can be assigned to a variable of type t.
func newMessage(p *commonpb.Payload, t reflect.Type) (proto.Message, error) {
	switch {
	case t.Kind() == reflect.Pointer && t.Implements(messageType):
		return reflect.New(t.Elem()).Interface().(proto.Message), nil
	case t.Kind() != reflect.Interface:
		return nil, fmt.Errorf("%s is not a protobuf message", t)
	}
	name := p.GetMetadata()[metadataMessageType]
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("message %q is not linked into this program: %w", name, err)
	}
	m := mt.New().Interface()
	if !reflect.TypeOf(m).Implements(t) {
		return nil, fmt.Errorf("message %q is not a %s", name, t)
	}
	return m, nil
}
