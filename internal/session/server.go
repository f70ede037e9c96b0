package session

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sessionpb "github.com/perdure/perdure/api/session/v1"
)

// Handler answers a call: message is the encoded request, which it may keep. ctx has the metadata of the call and ends
// with it. The error is a status. It is called concurrently.
type Handler func(ctx context.Context, method string, message []byte) (proto.Message, error)

const (
	// maxCalls bounds what one stream has under way.
	maxCalls = 16384
	// maxIdle bounds the goroutines that wait for the next call of a stream, with stacks that have grown already.
	maxIdle = 256
	// maxUnsent is how many bytes of answers wait for a client to read before no more of its calls are begun.
	maxUnsent = 64 << 20
	// patience is how long a client with more than that may take for one frame, an answer of some megabytes at most, before
	// it is taken for one that does not read, and sent away.
	patience = 30 * time.Second
)

// Server is the service. Safe for concurrent use.
type Server struct {
	sessionpb.UnimplementedSessionServiceServer
	handle   Handler
	patience time.Duration

	mu       sync.Mutex
	streams  map[*serverStream]struct{}
	draining bool
}

// NewServer makes a Server whose calls are answered by handle.
func NewServer(handle Handler) *Server {
	return &Server{handle: handle, patience: patience, streams: make(map[*serverStream]struct{})}
}

// Drain tells all clients to go elsewhere, and refuses what still comes. Open returns once a client has understood and its
// calls have ended.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for st := range s.streams {
		st.drain()
	}
}

// Open implements sessionpb.SessionServiceServer.
func (s *Server) Open(stream grpc.BidiStreamingServer[sessionpb.ClientFrame, sessionpb.ServerFrame]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	st := &serverStream{
		stream: stream, ctx: ctx, handle: s.handle, out: newOutbox[*sessionpb.Answer](),
		work: make(chan *job), cancels: make(map[uint64]context.CancelFunc), read: make(chan struct{}),
		room: make(chan struct{}, 1), stuck: make(chan struct{}), patience: s.patience,
	}
	s.mu.Lock()
	s.streams[st] = struct{}{} // before the client has its header: who has one is told when the server drains
	if s.draining {
		st.drain()
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, st)
		s.mu.Unlock()
	}()
	if err := stream.SendHeader(metadata.Pairs(HeaderName, HeaderValue)); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- st.run(cancel) }()
	select {
	case err := <-ended:
		return err
	case <-st.stuck:
		cancel()
		st.end()
		return status.Error(codes.ResourceExhausted, "the session has calls and does not read their answers")
	}
}

type serverStream struct {
	stream   grpc.BidiStreamingServer[sessionpb.ClientFrame, sessionpb.ServerFrame]
	ctx      context.Context // of the stream; ends when nobody hears
	handle   Handler
	patience time.Duration
	out      *outbox[*sessionpb.Answer]
	work     chan *job // to a goroutine that waits
	calls    sync.WaitGroup
	read     chan struct{} // closed when no more calls come
	room     chan struct{} // one slot: answers have left
	stuck    chan struct{} // closed when the client is found not to read
	running  atomic.Int64  // calls whose answer has not left
	unsent   atomic.Int64  // bytes in out
	left     atomic.Int64  // frames that have left
	watched  atomic.Bool   // while unsent is too much
	idle     atomic.Int64
	closing  atomic.Bool // calls are refused, and the client has to be told
	ended    atomic.Bool // nothing will be added to out

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc
	over    bool // no call begins any more
}

// run ends with the last answer, or with the stream.
func (st *serverStream) run(cancel context.CancelFunc) error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		if st.write() != nil {
			cancel() // nobody hears the answers
		}
	}()
	err := st.receive()
	if err != nil {
		cancel()
	}
	st.end()
	st.ended.Store(true)
	st.out.ring()
	if err == nil {
		<-written
	} // else it may wait for a client that does not read, until the stream ends with Open
	return err
}

// end waits until all calls have ended, and lets none begin.
func (st *serverStream) end() {
	st.mu.Lock()
	if !st.over {
		st.over = true
		close(st.read)
	}
	st.mu.Unlock()
	st.calls.Wait()
}

func (st *serverStream) drain() {
	st.closing.Store(true)
	st.out.ring()
}

// receive begins calls until the client has no more, and none while too much waits for the client.
func (st *serverStream) receive() error {
	for {
		frame, err := st.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, c := range frame.Calls {
			st.begin(c)
		}
		for _, id := range frame.Cancels {
			st.mu.Lock()
			cancel := st.cancels[id]
			st.mu.Unlock()
			if cancel != nil {
				cancel()
			}
		}
		for st.unsent.Load() > maxUnsent {
			select {
			case <-st.room:
			case <-st.ctx.Done():
				return status.FromContextError(st.ctx.Err()).Err()
			}
		}
	}
}

// watch tells a client that does not read from one that has much to read, while too much waits for it.
func (st *serverStream) watch() {
	timer := time.NewTimer(st.patience / 2)
	defer timer.Stop()
	still := 0 // twice: the first time it may be this process that was stopped
	for left := st.left.Load(); ; left = st.left.Load() {
		select {
		case <-timer.C:
		case <-st.ctx.Done():
			return
		}
		if st.unsent.Load() <= maxUnsent {
			st.watched.Store(false)
			if st.unsent.Load() <= maxUnsent || !st.watched.CompareAndSwap(false, true) {
				return // the next one watches
			}
		}
		if st.left.Load() != left {
			still = 0
		} else if still++; still == 2 {
			close(st.stuck)
			return // watched for good
		}
		timer.Reset(st.patience / 2)
	}
}

// job is a call that is under way.
type job struct {
	call    *sessionpb.Call
	ctx     context.Context
	cancel  context.CancelFunc
	headers *ReplyHeaders
}

// begin is called by the goroutine that receives, so that a cancel finds the call it is for.
func (st *serverStream) begin(c *sessionpb.Call) {
	switch {
	case st.closing.Load():
		st.refuse(c, status.New(codes.Unavailable, "the server is shutting down"))
		return
	case st.running.Load() >= maxCalls:
		st.refuse(c, status.New(codes.ResourceExhausted, "too many calls at once in one session"))
		return
	}
	j := &job{call: c, headers: NewReplyHeaders(c.Method)}
	j.ctx = grpc.NewContextWithServerTransportStream(st.ctx, j.headers)
	if len(c.Headers) > 0 {
		common, _ := metadata.FromIncomingContext(j.ctx)
		j.ctx = metadata.NewIncomingContext(j.ctx, metadata.Join(fromHeaders(c.Headers), common))
	}
	if c.TimeoutNs > 0 {
		j.ctx, j.cancel = context.WithTimeout(j.ctx, time.Duration(min(c.TimeoutNs, 1<<62)))
	} else {
		j.ctx, j.cancel = context.WithCancel(j.ctx)
	}
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		j.cancel()
		return
	}
	st.cancels[c.Id] = j.cancel
	st.calls.Add(1)
	st.mu.Unlock()
	st.running.Add(1)
	select {
	case st.work <- j:
	default:
		go st.serve(j)
	}
}

func (st *serverStream) refuse(c *sessionpb.Call, s *status.Status) {
	b, _ := proto.Marshal(s.Proto()) // of two fields that are well formed
	st.running.Add(1)
	st.reply(&sessionpb.Answer{Id: c.Id, Status: b})
}

// reply has an answer sent.
func (st *serverStream) reply(a *sessionpb.Answer) {
	if st.unsent.Add(int64(answerSize(a))) > maxUnsent && st.watched.CompareAndSwap(false, true) {
		go st.watch()
	}
	st.out.add(a)
}

func answerSize(a *sessionpb.Answer) int {
	return len(a.Message) + len(a.Status) + headerSize(a.Headers) + 16
}

// serve ends j, and then others for as long as few goroutines wait for them.
func (st *serverStream) serve(j *job) {
	for j != nil {
		st.reply(st.answer(j))
		st.forget(j)
		st.calls.Done()
		j = nil
		if st.idle.Add(1) <= maxIdle {
			select {
			case j = <-st.work:
			case <-st.read:
			}
		}
		st.idle.Add(-1)
	}
}

// forget follows the reply: whoever finds no call here finds every answer counted.
func (st *serverStream) forget(j *job) {
	st.mu.Lock()
	delete(st.cancels, j.call.Id)
	st.mu.Unlock()
	j.cancel()
}

func (st *serverStream) answer(j *job) *sessionpb.Answer {
	response, err := st.handle(j.ctx, j.call.Method, j.call.Message)
	answer := &sessionpb.Answer{Id: j.call.Id, Headers: toHeaders(j.headers.Header())}
	if err == nil {
		answer.Message, err = proto.Marshal(response)
	}
	if err == nil {
		return answer
	}
	answer.Message = nil
	if answer.Status, err = proto.Marshal(status.Convert(err).Proto()); err != nil { // a text that is not UTF-8
		answer.Status, _ = proto.Marshal(status.New(codes.Internal, "the error cannot be encoded").Proto())
	}
	return answer
}

// write sends answers until the last one, or until the stream is gone.
func (st *serverStream) write() error {
	var spare []*sessionpb.Answer
	told := false
	for {
		ended := st.ended.Load() // before the last look
		items := st.out.take(spare)
		if st.closing.Load() && !told {
			told = true
			if err := st.stream.Send(&sessionpb.ServerFrame{Closing: true}); err != nil {
				return err
			}
		}
		err := frames(items, answerSize, func(part []*sessionpb.Answer) error {
			err := st.stream.Send(&sessionpb.ServerFrame{Answers: part})
			for _, a := range part {
				st.unsent.Add(-int64(answerSize(a)))
			}
			st.running.Add(-int64(len(part)))
			st.left.Add(1)
			select {
			case st.room <- struct{}{}:
			default:
			}
			return err
		})
		if err != nil {
			return err
		}
		clear(items)
		spare = items
		if len(items) > 0 {
			continue
		}
		if ended {
			return nil
		}
		<-st.out.wake
		runtime.Gosched() // those who are about to have something to say share the frame
	}
}
