package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/temporalproto"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Media types that clients of Temporal's HTTP API know. The plain one, and any other, means shorthand.
const (
	mediaJSON            = "application/json"
	mediaPretty          = mediaJSON + "+pretty"
	mediaLonghand        = mediaJSON + "+no-payload-shorthand"
	mediaPrettyLonghand  = mediaPretty + "+no-payload-shorthand"
	parameterPretty      = "pretty"
	parameterNoShorthand = "noPayloadShorthand"
)

// marshalers are the JSON forms by media type.
func marshalers() map[string]runtime.Marshaler {
	return map[string]runtime.Marshaler{
		runtime.MIMEWildcard: newMarshaler(true, ""),
		mediaJSON:            newMarshaler(true, ""),
		mediaPretty:          newMarshaler(true, "  "),
		mediaLonghand:        newMarshaler(false, ""),
		mediaPrettyLonghand:  newMarshaler(false, "  "),
	}
}

// chooseFormat lets a browser's address bar choose what else needs an Accept header.
func chooseFormat(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if !query.Has(parameterPretty) && !query.Has(parameterNoShorthand) {
			h.ServeHTTP(w, r)
			return
		}
		media := mediaJSON
		if query.Has(parameterPretty) {
			media = mediaPretty
		}
		if query.Has(parameterNoShorthand) {
			media += strings.TrimPrefix(mediaLonghand, mediaJSON)
		}
		query.Del(parameterPretty) // the gateway takes what is left for fields of the request
		query.Del(parameterNoShorthand)
		r = r.Clone(r.Context())
		r.URL.RawQuery = query.Encode()
		r.Header.Set("Accept", media)
		r.Header.Set("Content-Type", media)
		h.ServeHTTP(w, r)
	})
}

// marshaler is the JSON form of messages that Temporal's tools read and write.
type marshaler struct {
	encode temporalproto.CustomJSONMarshalOptions
	decode temporalproto.CustomJSONUnmarshalOptions
}

var _ runtime.Marshaler = (*marshaler)(nil)

func newMarshaler(shorthand bool, indent string) *marshaler {
	m := new(marshaler)
	m.encode.Indent = indent
	if shorthand {
		on := map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true}
		m.encode.Metadata, m.decode.Metadata = on, on
	}
	return m
}

// ContentType implements runtime.Marshaler.
func (*marshaler) ContentType(any) string { return mediaJSON }

// Marshal implements runtime.Marshaler.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	if message, ok := v.(proto.Message); ok {
		return m.encode.Marshal(message)
	}
	return json.MarshalIndent(v, "", m.encode.Indent)
}

// Unmarshal implements runtime.Marshaler.
func (m *marshaler) Unmarshal(data []byte, v any) error {
	if message, ok := v.(proto.Message); ok {
		return m.decode.Unmarshal(data, message)
	}
	return json.Unmarshal(data, v)
}

// NewDecoder implements runtime.Marshaler.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	d := json.NewDecoder(r)
	return runtime.DecoderFunc(func(v any) error {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		return m.Unmarshal(raw, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (m *marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, io.MultiReader(bytes.NewReader(b), strings.NewReader("\n")))
		return err
	})
}

// writeError writes the google.rpc.Status of err, its details included.
func writeError(_ context.Context, _ *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	st := status.Convert(err)
	code := runtime.HTTPStatusFromCode(st.Code())
	body, failed := m.Marshal(st.Proto())
	if failed != nil { // a detail of a type that is not linked in
		body, _ = json.Marshal(map[string]any{"code": st.Code(), "message": st.Message()})
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
