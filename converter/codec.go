package converter

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Codec changes encoded payloads on their way to the server and back: it compresses, encrypts, or keeps them elsewhere.
// It must be safe for concurrent use, must not change the payloads it is given, and returns as many as it got, in the
// same order. Decode must pass on what Encode did not produce: payloads from before the codec was there, or ones that
// Encode left as they were.
type Codec interface {
	Encode([]*commonpb.Payload) ([]*commonpb.Payload, error)
	Decode([]*commonpb.Payload) ([]*commonpb.Payload, error)
}

// CodecInterceptor applies codecs to every payload in requests and in responses, errors included. The first codec listed
// is applied first when encoding and last when decoding. Search attributes are left alone, for the server must read them.
//
// A request is copied before its payloads change, so a caller that sends the same message again does not encode twice.
// An error of a codec fails the call; where decoding fails, the server has done what was asked.
func CodecInterceptor(codecs ...Codec) (grpc.UnaryClientInterceptor, error) {
	codecs = slices.Clone(codecs)
	for i, c := range codecs {
		if c == nil {
			return nil, fmt.Errorf("codec %d is nil", i)
		}
	}
	decode, err := proxy.NewPayloadVisitorInterceptor(proxy.PayloadVisitorInterceptorOptions{
		Inbound: &proxy.VisitPayloadsOptions{Visitor: decodeWith(codecs), SkipSearchAttributes: true},
	})
	if err != nil {
		return nil, err
	}
	encode := proxy.VisitPayloadsOptions{Visitor: encodeWith(codecs), SkipSearchAttributes: true}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if m, ok := req.(proto.Message); ok && len(codecs) > 0 {
			m = proto.Clone(m)
			if err := proxy.VisitPayloads(ctx, m, encode); err != nil {
				return fmt.Errorf("%s: %w", method, err)
			}
			req = m
		}
		return decode(ctx, method, req, reply, cc, invoker, opts...)
	}, nil
}

type visitor = func(*proxy.VisitPayloadsContext, []*commonpb.Payload) ([]*commonpb.Payload, error)

func encodeWith(codecs []Codec) visitor {
	return func(_ *proxy.VisitPayloadsContext, ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
		for _, c := range codecs {
			out, err := c.Encode(ps)
			if ps, err = checked(c, "encode", ps, out, err); err != nil {
				return nil, err
			}
		}
		return ps, nil
	}
}

func decodeWith(codecs []Codec) visitor {
	return func(_ *proxy.VisitPayloadsContext, ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
		for _, c := range slices.Backward(codecs) {
			out, err := c.Decode(ps)
			if ps, err = checked(c, "decode", ps, out, err); err != nil {
				return nil, err
			}
		}
		return ps, nil
	}
}

// checked is what a codec made of in. Losing a payload would shift every argument after it.
func checked(c Codec, doing string, in, out []*commonpb.Payload, err error) ([]*commonpb.Payload, error) {
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s with codec %T: %w", doing, c, err)
	case len(out) != len(in):
		return nil, fmt.Errorf("%s with codec %T: %d payloads became %d", doing, c, len(in), len(out))
	}
	return out, nil
}

const encodingZlib = "binary/zlib"

var zlibName = name(encodingZlib)

// ZlibCodec compresses whole payloads, metadata included. It is meant for few large payloads; for many small ones
// another algorithm does better. It does not limit what a payload decompresses to: use it where those who write
// payloads are trusted.
type ZlibCodec struct {
	// AlwaysEncode also encodes payloads that grow by it.
	AlwaysEncode bool
}

// Encode is part of [Codec].
func (z ZlibCodec) Encode(ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(ps, z.encode)
}

// Decode is part of [Codec].
func (z ZlibCodec) Decode(ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(ps, z.decode)
}

func each(ps []*commonpb.Payload, f func(*commonpb.Payload) (*commonpb.Payload, error)) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(ps))
	for i, p := range ps {
		var err error
		if out[i], err = f(p); err != nil {
			return nil, fmt.Errorf("payload %d: %w", i, err)
		}
	}
	return out, nil
}

// writers keeps compressors, each of which holds hundreds of kilobytes.
var writers = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}

func (z ZlibCodec) encode(p *commonpb.Payload) (*commonpb.Payload, error) {
	whole, err := proto.Marshal(p)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := writers.Get().(*zlib.Writer)
	defer writers.Put(w)
	w.Reset(&buf)
	if _, err := w.Write(whole); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if !z.AlwaysEncode && buf.Len() >= len(whole) {
		return p, nil
	}
	return newPayload(zlibName, buf.Bytes()), nil
}

func (z ZlibCodec) decode(p *commonpb.Payload) (*commonpb.Payload, error) {
	if string(p.GetMetadata()[metadataEncoding]) != encodingZlib {
		return p, nil
	}
	r, err := zlib.NewReader(bytes.NewReader(p.GetData()))
	if err != nil {
		return nil, err
	}
	whole, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	decoded := &commonpb.Payload{}
	return decoded, proto.Unmarshal(whole, decoded)
}

// DecodeHistory gives a copy of a history in which codecs have decoded all payloads but search attributes, which they leave alone.
func DecodeHistory(events []*historypb.HistoryEvent, codecs ...Codec) ([]*historypb.HistoryEvent, error) {
	h := proto.CloneOf(&historypb.History{Events: events})
	err := proxy.VisitPayloads(context.Background(), h, proxy.VisitPayloadsOptions{Visitor: decodeWith(codecs), SkipSearchAttributes: true})
	return h.Events, err
}
