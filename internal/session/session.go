// Package session carries unary calls over one stream, in both halves: Conn for clients, Server for servers. What a call
// is and does is somebody else's: the client half is a grpc.ClientConnInterface, the server half is given what answers.
// See docs/adr/0014-session.md; the wire format is api/session/v1/session.proto.
//
// Invariant: every call ends exactly once, with its answer, with an error of its own context, or with Unavailable when the
// stream is gone; and a call that ended with a refusal to begin it was not begun.
package session

import (
	"sync"

	"google.golang.org/grpc/metadata"

	sessionpb "github.com/perdure/perdure/api/session/v1"
)

const (
	// HeaderName is what a server says with GetSystemInfo if it has sessions, with HeaderValue, and what it opens one with.
	HeaderName  = "perdure-session"
	HeaderValue = "1"

	// frameBytes is where a frame of several messages ends. What is larger by itself has a frame of its own.
	frameBytes = 64 << 10
)

// outbox is what waits for a stream to take the next frame. Anybody adds, one goroutine takes.
type outbox[T any] struct {
	wake chan struct{} // one slot

	mu    sync.Mutex
	items []T
}

func newOutbox[T any]() *outbox[T] { return &outbox[T]{wake: make(chan struct{}, 1)} }

func (o *outbox[T]) add(item T) {
	o.mu.Lock()
	o.items = append(o.items, item)
	first := len(o.items) == 1
	o.mu.Unlock()
	if first {
		o.ring()
	}
}

func (o *outbox[T]) ring() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take gives all that waits, and room for more.
func (o *outbox[T]) take(empty []T) []T {
	o.mu.Lock()
	defer o.mu.Unlock()
	items := o.items
	o.items = empty[:0]
	return items
}

// frames cuts items into runs of about frameBytes.
func frames[T any](items []T, size func(T) int, send func([]T) error) error {
	for len(items) > 0 {
		n, bytes := 0, 0
		for n < len(items) {
			next := size(items[n])
			if n > 0 && bytes+next > frameBytes {
				break
			}
			bytes += next
			n++
		}
		if err := send(items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

func headerSize(headers []*sessionpb.Header) (n int) {
	for _, h := range headers {
		n += len(h.Name) + len(h.Value) + 8
	}
	return n
}

func toHeaders(md metadata.MD) []*sessionpb.Header {
	if len(md) == 0 {
		return nil
	}
	var out []*sessionpb.Header
	for name, values := range md {
		for _, v := range values {
			out = append(out, &sessionpb.Header{Name: name, Value: []byte(v)})
		}
	}
	return out
}

func fromHeaders(headers []*sessionpb.Header) metadata.MD {
	if len(headers) == 0 {
		return nil
	}
	md := make(metadata.MD, len(headers))
	for _, h := range headers {
		md.Append(h.Name, string(h.Value))
	}
	return md
}

// ReplyHeaders collects what a handler sends beside its response. It is a grpc.ServerTransportStream, for handlers that
// gRPC does not call. Safe for concurrent use.
type ReplyHeaders struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
}

// NewReplyHeaders is for a call of the method.
func NewReplyHeaders(method string) *ReplyHeaders { return &ReplyHeaders{method: method} }

// Method implements grpc.ServerTransportStream.
func (h *ReplyHeaders) Method() string { return h.method }

// SetHeader implements grpc.ServerTransportStream.
func (h *ReplyHeaders) SetHeader(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.header = metadata.Join(h.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
func (h *ReplyHeaders) SendHeader(md metadata.MD) error { return h.SetHeader(md) }

// SetTrailer implements grpc.ServerTransportStream.
func (h *ReplyHeaders) SetTrailer(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trailer = metadata.Join(h.trailer, md)
	return nil
}

// Header and Trailer are what has been set so far.
func (h *ReplyHeaders) Header() metadata.MD {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.header
}

// Trailer is like Header.
func (h *ReplyHeaders) Trailer() metadata.MD {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trailer
}
