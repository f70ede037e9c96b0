package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sessionpb "github.com/perdure/perdure/api/session/v1"
)

const (
	// maxRequest is what a request may have to go by the session: a larger one would hold up the others.
	maxRequest = 1 << 20
	// maxAge is when the next session is opened: before a server's limit on connections is reached, 5 min by default here.
	maxAge = 4 * time.Minute

	openTimeout = 5 * time.Second
	// lasted is how long a session has to have lived for its end to count as one of its own, and not as a failure to open.
	lasted   = 30 * time.Second
	retryMin = time.Second
	retryMax = 30 * time.Second
)

// Options of a Conn.
type Options struct {
	// Plain carries what the session does not.
	Plain grpc.ClientConnInterface
	// Dial makes the connection of a session, which closes it.
	Dial func() (*grpc.ClientConn, error)
	// Headers go with the session, and count for each call.
	Headers metadata.MD
	Log     *slog.Logger

	age    time.Duration // tests; 0: maxAge
	opened func()        // tests: an attempt to open has ended
}

// Conn is a connection whose unary calls share a stream while there is one. Safe for concurrent use.
type Conn struct {
	o      Options
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	current *clientStream // nil: plain calls
	opening bool
	off     bool // the other side has no sessions
	closed  bool
	wait    time.Duration // after the next failure to open
	retryAt time.Time
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// New makes a Conn and opens its session, for which it waits until ctx ends and no longer than 5 s; without one it begins with
// plain calls.
func New(ctx context.Context, o Options) *Conn {
	if o.age == 0 {
		o.age = maxAge
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Conn{o: o, wait: retryMin}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.opening = true
	opened := make(chan struct{})
	c.work.Go(func() { defer close(opened); c.open() })
	select {
	case <-opened:
	case <-ctx.Done():
	}
	return c
}

// Close ends the session; calls that are under way on it fail.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closed = true
	c.current = nil
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
}

// NewStream implements grpc.ClientConnInterface: a stream goes beside the session.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.o.Plain.NewStream(ctx, desc, method, opts...)
}

// Invoke implements grpc.ClientConnInterface.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	s := c.use()
	request, ok := args.(proto.Message)
	into, ok2 := reply.(proto.Message)
	if s == nil || !ok || !ok2 || slices.ContainsFunc(opts, unknownOption) {
		return c.o.Plain.Invoke(ctx, method, args, reply, opts...)
	}
	message, err := proto.Marshal(request)
	if err != nil {
		return status.Errorf(codes.Internal, "encode the request of %s: %v", method, err)
	}
	call := &sessionpb.Call{Method: method, Message: message}
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		call.Headers = toHeaders(md)
	}
	if len(message)+headerSize(call.Headers) > maxRequest {
		return c.o.Plain.Invoke(ctx, method, args, reply, opts...)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left <= 0 {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		call.TimeoutNs = uint64(left)
	}
	w := waiters.Get().(*waiter)
	if !s.begin(call, w) {
		waiters.Put(w)
		return c.o.Plain.Invoke(ctx, method, args, reply, opts...)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if s.abandon(call.Id) {
			waiters.Put(w)
			return status.FromContextError(ctx.Err()).Err()
		}
		<-w.done // the answer is being handed over
	}
	answer, err := w.answer, w.err
	w.answer, w.err = nil, nil
	waiters.Put(w)
	if err != nil {
		return err
	}
	return finish(answer, into, opts)
}

func finish(a *sessionpb.Answer, into proto.Message, opts []grpc.CallOption) error {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = fromHeaders(a.Headers)
		case grpc.TrailerCallOption:
			*o.TrailerAddr = nil
		}
	}
	if len(a.Status) > 0 {
		s := new(spb.Status)
		if err := proto.Unmarshal(a.Status, s); err != nil {
			return status.Errorf(codes.Internal, "decode a status: %v", err)
		}
		return status.ErrorProto(s)
	}
	if err := proto.Unmarshal(a.Message, into); err != nil {
		return status.Errorf(codes.Internal, "decode a response: %v", err)
	}
	return nil
}

// unknownOption tells options that change something beyond what a session can do.
func unknownOption(o grpc.CallOption) bool {
	switch o.(type) {
	case grpc.HeaderCallOption, grpc.TrailerCallOption, grpc.EmptyCallOption, grpc.StaticMethodCallOption:
		return false
	}
	return true
}

// waiter waits for one answer.
type waiter struct {
	done   chan struct{} // one slot
	answer *sessionpb.Answer
	err    error
}

var waiters = sync.Pool{New: func() any { return &waiter{done: make(chan struct{}, 1)} }}

// use is the session for one more call; nil: there is none now. It has one opened if it is time.
func (c *Conn) use() *clientStream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil && !c.opening && !c.off && !c.closed && !time.Now().Before(c.retryAt) {
		c.opening = true
		c.work.Go(c.open)
	}
	return c.current
}

// open makes the next session and takes the place of the current one, which ends after its last answer.
func (c *Conn) open() {
	if c.o.opened != nil {
		defer c.o.opened()
	}
	s, err := c.dial()
	c.mu.Lock()
	c.opening = false
	old := c.current
	switch {
	case status.Code(err) == codes.Unimplemented:
		c.off = true
	case err != nil:
		c.retryAt = time.Now().Add(c.wait)
		if old != nil {
			old.aging.Reset(c.wait) // it has grown old, and is used until there is another
		}
		c.wait = min(2*c.wait, retryMax)
	case c.closed:
		c.mu.Unlock()
		s.aging.Stop()
		s.cancel()
		return
	default:
		c.current = s
		c.work.Go(s.receive)
		c.work.Go(s.write)
	}
	c.mu.Unlock()
	if err != nil {
		if status.Code(err) == codes.Unimplemented && old != nil {
			old.retire() // it would be cut off when it is too old
		}
		if c.ctx.Err() == nil {
			c.o.Log.Debug("no session with the server: calls go one by one", "error", err)
		}
		return
	}
	if old != nil {
		old.retire()
	}
}

func (c *Conn) dial() (*clientStream, error) {
	conn, err := c.o.Dial()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(c.ctx)
	late := time.AfterFunc(openTimeout, cancel)
	stream, err := sessionpb.NewSessionServiceClient(conn).Open(metadata.NewOutgoingContext(ctx, c.o.Headers))
	if err == nil {
		err = greeted(stream)
	}
	if !late.Stop() && err == nil {
		err = status.Error(codes.Unavailable, "the session took too long to open")
	}
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, err
	}
	s := &clientStream{
		owner: c, stream: stream, out: newOutbox[*sessionpb.Call](), waiting: make(map[uint64]*waiter), begun: time.Now(),
		cancel: func() { cancel(); _ = conn.Close() },
	}
	s.aging = time.AfterFunc(c.o.age, func() { c.renew(s) })
	return s, nil
}

// greeted waits for the server's agreement.
func greeted(stream grpc.BidiStreamingClient[sessionpb.ClientFrame, sessionpb.ServerFrame]) error {
	header, err := stream.Header()
	if err != nil {
		return err
	}
	if slices.Equal(header.Get(HeaderName), []string{HeaderValue}) {
		return nil
	}
	if _, err := stream.Recv(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return status.Error(codes.Unimplemented, "the other side speaks of no session")
}

// renew opens the session after s, which is used until that is there.
func (c *Conn) renew(s *clientStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == s && !c.opening && !c.closed {
		c.opening = true
		c.work.Go(c.open)
	}
}

// leave makes s take no more calls. If it has not lasted, something on the way does not like sessions, and the next one is
// tried later each time.
func (c *Conn) leave(s *clientStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != s {
		return
	}
	c.current = nil
	if time.Since(s.begun) >= lasted {
		c.wait = retryMin
		return
	}
	c.retryAt = time.Now().Add(c.wait)
	c.wait = min(2*c.wait, retryMax)
}

// clientStream is one session.
type clientStream struct {
	owner  *Conn
	stream grpc.BidiStreamingClient[sessionpb.ClientFrame, sessionpb.ServerFrame]
	out    *outbox[*sessionpb.Call] // a call without a method is a cancel
	cancel func()                   // of the stream and its connection
	aging  *time.Timer
	begun  time.Time

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*waiter
	retired bool // takes no more calls
	done    bool // nothing more will be sent
}

// begin sends a call; false: it was not sent, and never will be.
func (s *clientStream) begin(call *sessionpb.Call, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.last++
	call.Id = s.last
	s.waiting[call.Id] = w
	s.out.add(call)
	return true
}

// abandon tells the server that nobody waits any more; false: the answer is there.
func (s *clientStream) abandon(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[id] == nil {
		return false
	}
	delete(s.waiting, id)
	s.out.add(&sessionpb.Call{Id: id})
	s.finishLocked()
	return true
}

// retire lets s end after its last answer.
func (s *clientStream) retire() {
	s.owner.leave(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.finishLocked()
}

// finishLocked ends the sending side when nobody waits.
func (s *clientStream) finishLocked() {
	if s.retired && len(s.waiting) == 0 && !s.done {
		s.done = true
		s.out.ring()
	}
}

func (s *clientStream) isDone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// receive hands answers over until the stream ends, and tells those who still wait.
func (s *clientStream) receive() {
	err := s.answers()
	s.owner.leave(s)
	s.aging.Stop()
	s.mu.Lock()
	s.retired = true
	waiting := s.waiting
	s.waiting = nil
	s.done = true
	s.mu.Unlock()
	s.out.ring()
	for _, w := range waiting {
		w.err = status.Error(codes.Unavailable, fmt.Sprintf("the session has ended: %v", err))
		w.done <- struct{}{}
	}
	s.cancel()
}

func (s *clientStream) answers() error {
	for {
		frame, err := s.stream.Recv()
		if err != nil {
			return err
		}
		if len(frame.Answers) > 0 {
			s.mu.Lock()
			for _, a := range frame.Answers {
				w := s.waiting[a.Id]
				if w == nil {
					continue // abandoned
				}
				delete(s.waiting, a.Id)
				w.answer = a
				w.done <- struct{}{}
			}
			s.finishLocked()
			s.mu.Unlock()
		}
		if frame.Closing {
			s.retire()
		}
	}
}

// write sends calls until there will be none.
func (s *clientStream) write() {
	var spare []*sessionpb.Call
	var frame sessionpb.ClientFrame
	for {
		done := s.isDone() // before the last look
		items := s.out.take(spare)
		err := frames(items, func(c *sessionpb.Call) int { return len(c.Message) + len(c.Method) + headerSize(c.Headers) + 32 }, func(part []*sessionpb.Call) error {
			frame.Calls, frame.Cancels = frame.Calls[:0], frame.Cancels[:0]
			for _, c := range part {
				if c.Method == "" {
					frame.Cancels = append(frame.Cancels, c.Id)
				} else {
					frame.Calls = append(frame.Calls, c)
				}
			}
			return s.stream.Send(&frame)
		})
		if err != nil {
			return // receive hears why
		}
		clear(items)
		clear(frame.Calls)
		spare = items
		if len(items) > 0 {
			continue
		}
		if done {
			_ = s.stream.CloseSend() // always nil
			return
		}
		<-s.out.wake
		runtime.Gosched() // those who are about to have something to say share the frame
	}
}
