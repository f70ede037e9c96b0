package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	errordetailspb "go.temporal.io/api/errordetails/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	sessionpb "github.com/perdure/perdure/api/session/v1"
)

// plainConn counts the calls that no session carried, and answers "plain".
type plainConn struct{ calls atomic.Int64 }

func (p *plainConn) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	p.calls.Add(1)
	reply.(*wrapperspb.StringValue).Value = "plain"
	return nil
}

func (p *plainConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("a stream")
}

// world is a server, what it does, and a Conn to it.
type world struct {
	t       *testing.T
	handle  Handler
	server  *Server
	grpc    *grpc.Server
	address string
	plain   *plainConn
	conn    *Conn
	dials   atomic.Int64
	events  chan string // what handlers saw
	opened  chan struct{}
	ended   chan error // how the server ended sessions
}

func echo(_ context.Context, _ string, message []byte) (proto.Message, error) {
	in := new(wrapperspb.StringValue)
	if err := proto.Unmarshal(message, in); err != nil {
		return nil, err
	}
	return wrapperspb.String("re: " + in.Value), nil
}

func (w *world) serve(l net.Listener) {
	w.grpc = grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		err := handler(srv, stream)
		w.ended <- err
		return err
	}))
	w.server = NewServer(func(ctx context.Context, method string, message []byte) (proto.Message, error) {
		return w.handle(ctx, method, message)
	})
	sessionpb.RegisterSessionServiceServer(w.grpc, w.server)
	go func() { _ = w.grpc.Serve(l) }()
}

func newWorld(t *testing.T, handle Handler, change func(*Options)) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, handle: handle, address: l.Addr().String(), plain: new(plainConn), events: make(chan string, 100), opened: make(chan struct{}, 100), ended: make(chan error, 100)}
	w.serve(l)
	o := Options{Plain: w.plain, Headers: metadata.Pairs("common", "all"), Dial: func() (*grpc.ClientConn, error) {
		w.dials.Add(1)
		return grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}}
	if change != nil {
		change(&o)
	}
	o.opened = func() { w.opened <- struct{}{} }
	w.conn = New(t.Context(), o)
	<-w.opened
	t.Cleanup(func() {
		w.conn.Close()
		w.grpc.Stop()
	})
	return w
}

func (w *world) call(ctx context.Context, text string, opts ...grpc.CallOption) (string, error) {
	out := new(wrapperspb.StringValue)
	err := w.conn.Invoke(ctx, "/test/Method", wrapperspb.String(text), out, opts...)
	return out.Value, err
}

func (w *world) wantEvent(want string) {
	w.t.Helper()
	select {
	case got := <-w.events:
		if got != want {
			w.t.Fatalf("the server saw %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		w.t.Fatalf("the server never saw %q", want)
	}
}

func TestManyCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	w := newWorld(t, echo, nil)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for k := range 50 {
				text := fmt.Sprint(i, "-", k, strings.Repeat("x", (i*k*37)%5000))
				got, err := w.call(t.Context(), text)
				if err != nil || got != "re: "+text {
					t.Errorf("%s: got %s, %v", text, got, err)
				}
			}
		})
	}
	all.Wait()
	if n, d := w.plain.calls.Load(), w.dials.Load(); n != 0 || d != 1 {
		t.Errorf("%d plain calls, %d sessions", n, d)
	}
}

func TestHeadersStatusAndDetailsTravel(t *testing.T) {
	w := newWorld(t, func(ctx context.Context, method string, _ []byte) (proto.Message, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if method != "/test/Method" || strings.Join(md.Get("common"), "") != "all" || strings.Join(md.Get("own"), "") != "one" {
			return nil, status.Errorf(codes.Internal, "method %s, metadata %v", method, md)
		}
		_ = grpc.SetHeader(ctx, metadata.Pairs("said", "so"))
		s, err := status.New(codes.NotFound, "nothing there").WithDetails(&errordetailspb.NotFoundFailure{CurrentCluster: "here"})
		if err != nil {
			return nil, err
		}
		return nil, s.Err()
	}, nil)
	var header metadata.MD
	_, err := w.call(metadata.AppendToOutgoingContext(t.Context(), "own", "one"), "x", grpc.Header(&header))
	s := status.Convert(err)
	if s.Code() != codes.NotFound || s.Message() != "nothing there" || len(s.Details()) != 1 ||
		s.Details()[0].(*errordetailspb.NotFoundFailure).CurrentCluster != "here" {
		t.Errorf("got %v %v", s, s.Details())
	}
	if strings.Join(header.Get("said"), "") != "so" {
		t.Errorf("got headers %v", header)
	}
}

func TestAnAnswerThatCannotBeEncodedIsAnError(t *testing.T) {
	w := newWorld(t, func(_ context.Context, _ string, message []byte) (proto.Message, error) {
		if len(message) == 0 {
			return nil, errors.New("bad \xff text")
		}
		return wrapperspb.String("\xff"), nil
	}, nil)
	for _, text := range []string{"", "x"} {
		if got, err := w.call(t.Context(), text); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

// waits tells when a call is there and why it ended.
func (w *world) waits(ctx context.Context, _ string, _ []byte) (proto.Message, error) {
	_, limited := ctx.Deadline()
	w.events <- fmt.Sprint("begun, limited ", limited)
	<-ctx.Done()
	w.events <- ctx.Err().Error()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func TestTheServerHearsOfACancelAndKnowsTheDeadline(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.handle = w.waits
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := w.call(ctx, "x"); ended <- err }()
	w.wantEvent("begun, limited false")
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	w.wantEvent(context.Canceled.Error())

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.call(ctx, "x"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	w.wantEvent("begun, limited true")
	if got := <-w.events; got != context.DeadlineExceeded.Error() && got != context.Canceled.Error() { // the server's or the caller's clock
		t.Errorf("got %q", got)
	}
	if _, err := w.call(ctx, "x"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("after its time: got %v", err)
	}
}

func TestACancelRightBehindItsCallIsNotLost(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.handle = func(ctx context.Context, _ string, _ []byte) (proto.Message, error) {
		<-ctx.Done()
		w.events <- "ended"
		return nil, ctx.Err()
	}
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _, _ = w.call(ctx, "x") }()
		for begun := false; !begun; { // as soon as it is on its way
			w.conn.current.mu.Lock()
			begun = len(w.conn.current.waiting) > 0
			w.conn.current.mu.Unlock()
		}
		cancel()
		<-ended
		w.wantEvent("ended")
	}
}

func TestWhatASessionDoesNotCarryGoesPlain(t *testing.T) {
	w := newWorld(t, echo, nil)
	for name, call := range map[string]func() (string, error){
		"a large request":   func() (string, error) { return w.call(t.Context(), strings.Repeat("x", maxRequest)) },
		"an unknown option": func() (string, error) { return w.call(t.Context(), "x", grpc.WaitForReady(true)) },
	} {
		if got, err := call(); got != "plain" || err != nil {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
	if _, err := w.conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/x"); err == nil || err.Error() != "a stream" {
		t.Errorf("got %v", err)
	}
}

func TestAServerWithoutSessionsIsAskedOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := grpc.NewServer()
	go func() { _ = other.Serve(l) }()
	defer other.Stop()
	w := &world{t: t, plain: new(plainConn)}
	w.conn = New(t.Context(), Options{Plain: w.plain, Dial: func() (*grpc.ClientConn, error) {
		w.dials.Add(1)
		return grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	}})
	defer w.conn.Close()
	for range 3 {
		if got, err := w.call(t.Context(), "x"); got != "plain" || err != nil {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if w.conn.mu.Lock(); !w.conn.off {
		t.Error("it would ask again")
	}
	w.conn.mu.Unlock()
	if n := w.dials.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// carried wants calls to go over a session again after the next attempt to open one.
func (w *world) carried() {
	w.t.Helper()
	w.conn.mu.Lock()
	w.conn.retryAt = time.Time{}
	w.conn.mu.Unlock()
	if got, err := w.call(w.t.Context(), "x"); got != "plain" || err != nil {
		w.t.Fatalf("got %s, %v", got, err)
	}
	<-w.opened
	if got, err := w.call(w.t.Context(), "x"); got != "re: x" || err != nil {
		w.t.Fatalf("got %s, %v", got, err)
	}
}

func TestABrokenSessionEndsItsCallsAndIsOpenedAgain(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.handle = w.waits
	ended := make(chan error, 1)
	go func() { _, err := w.call(t.Context(), "x"); ended <- err }()
	w.wantEvent("begun, limited false")
	w.grpc.Stop()
	if err := <-ended; status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	w.wantEvent(context.Canceled.Error())
	if got, err := w.call(t.Context(), "x"); got != "plain" || err != nil {
		t.Errorf("without a session: got %s, %v", got, err)
	}
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.handle = echo
	w.serve(l)
	w.carried()
}

func TestADrainingServerFinishesWhatItHasAndTakesNoMore(t *testing.T) {
	w := newWorld(t, nil, nil)
	release := make(chan struct{})
	w.handle = func(context.Context, string, []byte) (proto.Message, error) {
		w.events <- "begun"
		<-release
		return wrapperspb.String("late"), nil
	}
	ended := make(chan string, 1)
	go func() { got, err := w.call(t.Context(), "x"); ended <- fmt.Sprint(got, err) }()
	w.wantEvent("begun")
	w.server.Drain()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, err := w.call(t.Context(), "y") // refused until the client has heard
		if got == "plain" {
			break
		}
		if status.Code(err) != codes.Unavailable || time.Now().After(deadline) {
			t.Fatalf("got %s, %v", got, err)
		}
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.grpc.GracefulStop() }()
	close(release)
	if got := <-ended; got != "late<nil>" {
		t.Errorf("got %s", got)
	}
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("the session does not end")
	}
	if len(w.events) != 0 {
		t.Error("a refused call was begun")
	}
}

func TestTheNextSessionTakesOverFromAnOldOne(t *testing.T) {
	w := newWorld(t, nil, func(o *Options) { o.age = 200 * time.Millisecond })
	release := make(chan struct{})
	w.handle = func(ctx context.Context, method string, message []byte) (proto.Message, error) {
		if strings.HasSuffix(string(message), "waits") {
			w.events <- "begun"
			<-release
		}
		return echo(ctx, method, message)
	}
	ended := make(chan string, 1)
	go func() { got, err := w.call(t.Context(), "waits"); ended <- fmt.Sprint(got, err) }()
	w.wantEvent("begun")
	for deadline := time.Now().Add(20 * time.Second); w.dials.Load() < 3; {
		if got, err := w.call(t.Context(), "x"); got != "re: x" || err != nil || time.Now().After(deadline) {
			t.Fatalf("got %s, %v", got, err)
		}
	}
	close(release)
	if got := <-ended; got != "re: waits<nil>" {
		t.Errorf("got %s", got)
	}
	if n := w.plain.calls.Load(); n != 0 {
		t.Errorf("%d plain calls", n)
	}
}

func TestASessionThatCannotBeRenewedYetIsRenewedLater(t *testing.T) {
	var dials atomic.Int64
	w := newWorld(t, echo, func(o *Options) {
		o.age = 50 * time.Millisecond
		dial := o.Dial
		o.Dial = func() (*grpc.ClientConn, error) {
			if dials.Add(1) == 2 {
				return nil, errors.New("not now")
			}
			return dial()
		}
	})
	for deadline := time.Now().Add(20 * time.Second); w.dials.Load() < 2; {
		if got, err := w.call(t.Context(), "x"); got != "re: x" || err != nil || time.Now().After(deadline) {
			t.Fatalf("got %s, %v after %d attempts", got, err, dials.Load())
		}
	}
}

func TestASessionThatDoesNotLastIsNotOpenedAgainAtOnce(t *testing.T) {
	w := newWorld(t, echo, nil)
	w.server.Drain() // ends this session and each that comes
	plain := 0
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
		if got, _ := w.call(t.Context(), "x"); got == "plain" {
			plain++
		}
	}
	if n := w.dials.Load(); n > 2 || plain == 0 {
		t.Errorf("%d dials in 0.3 s, %d plain calls", n, plain)
	}
}

// open makes a session whose other end is the test, and asks for many large answers in one frame.
func (w *world) open(ctx context.Context, answers, size int) sessionpb.SessionService_OpenClient {
	w.t.Helper()
	w.handle = func(context.Context, string, []byte) (proto.Message, error) {
		return wrapperspb.String(strings.Repeat("x", size)), nil
	}
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*size)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	stream, err := sessionpb.NewSessionServiceClient(conn).Open(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var frame sessionpb.ClientFrame
	for id := range answers {
		frame.Calls = append(frame.Calls, &sessionpb.Call{Id: uint64(id + 1), Method: "/test/Method"})
	}
	if err := stream.Send(&frame); err != nil {
		w.t.Fatal(err)
	}
	return stream
}

// What the client still sends makes the server look; one that asked for too much and then is silent is sent away, too.
func TestAClientThatDoesNotReadIsSentAway(t *testing.T) {
	for name, then := range map[string]func(sessionpb.SessionService_OpenClient) error{
		"it is silent":    func(sessionpb.SessionService_OpenClient) error { return nil },
		"it says no more": func(s sessionpb.SessionService_OpenClient) error { return s.CloseSend() },
		"it asks for more": func(s sessionpb.SessionService_OpenClient) error {
			return s.Send(&sessionpb.ClientFrame{Calls: []*sessionpb.Call{{Id: 1000, Method: "/x"}}})
		},
		"it gives up a call": func(s sessionpb.SessionService_OpenClient) error {
			return s.Send(&sessionpb.ClientFrame{Cancels: []uint64{1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, nil)
			w.server.patience = 50 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // instead of waiting for ever for an end that does not come
			defer cancel()
			const size = 4 << 20
			stream := w.open(ctx, 3*maxUnsent/size/2, size)
			if err := then(stream); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-w.ended:
				if status.Code(err) != codes.ResourceExhausted {
					t.Errorf("the session has ended with %v", err)
				}
			case <-ctx.Done():
				t.Fatal("the server keeps what nobody reads")
			}
			var err error
			for err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("the client hears %v", err)
			}
		})
	}
}

// However much is under way at once, a client that reads gets all of it; and what it asks for meanwhile.
func TestAClientThatReadsMuchIsServed(t *testing.T) {
	w := newWorld(t, nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const size, answers = 2 << 20, 4 * maxUnsent / (2 << 20)
	stream := w.open(ctx, answers, size)
	if err := stream.Send(&sessionpb.ClientFrame{Calls: []*sessionpb.Call{{Id: answers + 1, Method: "/test/Method"}}}); err != nil {
		t.Fatal(err)
	}
	got := map[uint64]bool{}
	for len(got) <= answers {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %d answers: %v", len(got), err)
		}
		for _, a := range frame.Answers {
			got[a.Id] = len(a.Message) > size
		}
	}
	if !got[answers+1] {
		t.Error("the last call was not answered")
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := <-w.ended; err != nil {
		t.Errorf("the session has ended with %v", err)
	}
}

// The header says that the server knows of the session, and will tell when it drains.
func TestASessionWithAHeaderIsToldOfDraining(t *testing.T) {
	w := newWorld(t, echo, nil)
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 20 {
		stream, err := sessionpb.NewSessionServiceClient(conn).Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		w.server.mu.Lock()
		if n := len(w.server.streams); n != 2 { // with that of w.conn
			t.Errorf("the server knows of %d sessions", n)
		}
		w.server.mu.Unlock()
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
	}
}

func TestACallThatIsCancelledAlreadyIsNotMade(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.handle = w.waits
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if _, err := w.call(ctx, "x"); status.Code(err) != codes.Canceled {
			t.Fatalf("got %v", err)
		}
	}
	if len(w.events) != 0 {
		t.Error("the server was called")
	}
}

func TestCloseEndsCallsAndLeavesNothing(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.handle = w.waits
	ended := make(chan error, 1)
	go func() { _, err := w.call(t.Context(), "x"); ended <- err }()
	w.wantEvent("begun, limited false")
	w.conn.Close()
	if err := <-ended; status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	w.wantEvent(context.Canceled.Error())
	if got, err := w.call(t.Context(), "x"); got != "plain" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestTooManyCallsAtOnceAreRefused(t *testing.T) {
	w := newWorld(t, nil, nil)
	release := make(chan struct{})
	w.handle = func(context.Context, string, []byte) (proto.Message, error) {
		<-release
		return wrapperspb.String(""), nil
	}
	var refused, answered atomic.Int64
	var all sync.WaitGroup
	for range maxCalls + 10 {
		all.Go(func() {
			switch _, err := w.call(t.Context(), "x"); status.Code(err) {
			case codes.OK:
				answered.Add(1)
			case codes.ResourceExhausted:
				if refused.Add(1) == 10 {
					close(release)
				}
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if answered.Load() != maxCalls || refused.Load() != 10 {
		t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
	}
}

// BenchmarkCall is an echo of 300 bytes over loopback, both ends in this process.
func BenchmarkCall(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := grpc.NewServer()
	sessionpb.RegisterSessionServiceServer(s, NewServer(echo))
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	c := New(b.Context(), Options{Plain: new(plainConn), Dial: func() (*grpc.ClientConn, error) {
		return grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	}})
	defer c.Close()
	in := wrapperspb.String(strings.Repeat("x", 300))
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(callers/2, 1))
			b.RunParallel(func(pb *testing.PB) {
				out := new(wrapperspb.StringValue)
				for pb.Next() {
					if err := c.Invoke(context.Background(), "/test/Method", in, out); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
