package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// gate stands between a worker and the server. What the explorer decides on is held here.
type gate struct {
	inFlight bool
	started  func(*workflowservice.PollActivityTaskQueueResponse) // tells of each attempt of an activity, in order
	answered func()                                               // and of the end of each
	evict    func()

	life context.Context // ends with the worker
	end  context.CancelFunc

	mu       sync.Mutex // guards the rest
	holdsAll bool       // answers to workflow tasks and queries
	polls    []*held
	answers  []*held
	names    map[string]string // of attempts, by their task tokens
}

// held is a call that waits for its turn.
type held struct {
	name   string // of an answer
	sticky bool
	grant  string // what a poll was let go for
	free   chan struct{}
	cancel context.CancelFunc
	done   chan bool // what came of a poll: a task, or none
}

func newGate(inFlight bool) *gate {
	g := &gate{inFlight: inFlight, names: map[string]string{}}
	g.life, g.end = context.WithCancel(context.Background())
	return g
}

var errDead = status.Error(codes.Canceled, "the worker is gone")

// intercept is the way of all calls of a worker. A dead one is not heard, and hears nothing.
func (g *gate) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.life, cancel)()
	h := g.hold(req, cancel)
	if h != nil {
		select {
		case <-h.free:
		case <-ctx.Done():
			g.forget(h)
		}
	}
	if g.life.Err() != nil {
		return errDead
	}
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	err := next(ctx, method, req, reply, cc, opts...)
	if g.life.Err() != nil {
		return errDead
	}
	switch reply := reply.(type) {
	case *workflowservice.PollWorkflowTaskQueueResponse:
		got := err == nil && len(reply.TaskToken) > 0
		if got {
			g.taken(h)
		}
		h.done <- got
		if !got && errors.Is(ctx.Err(), context.Canceled) {
			return nil // an empty poll
		}
	case *workflowservice.PollActivityTaskQueueResponse:
		if err == nil && len(reply.TaskToken) > 0 {
			g.started(reply)
		}
	case *workflowservice.RespondActivityTaskCompletedResponse, *workflowservice.RespondActivityTaskFailedResponse, *workflowservice.RespondActivityTaskCanceledResponse:
		g.answered()
	}
	return err
}

// hold keeps a call that the explorer decides on; nil: it does not.
func (g *gate) hold(req any, cancel context.CancelFunc) *held {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := &held{free: make(chan struct{}), cancel: cancel, done: make(chan bool, 1)}
	switch r := req.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest:
		h.sticky = r.TaskQueue.GetKind() == enumspb.TASK_QUEUE_KIND_STICKY
		g.polls = append(g.polls, h)
		return h
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		if g.inFlight || g.holdsAll {
			return g.answer(h, answer)
		}
	case *workflowservice.RespondQueryTaskCompletedRequest:
		if g.holdsAll {
			return g.answer(h, answer)
		}
	case *workflowservice.RespondActivityTaskCompletedRequest:
		if g.inFlight {
			return g.answer(h, "report "+g.names[string(r.TaskToken)])
		}
	case *workflowservice.RespondActivityTaskFailedRequest:
		if g.inFlight {
			return g.answer(h, "report "+g.names[string(r.TaskToken)])
		}
	}
	return nil
}

func (g *gate) answer(h *held, name string) *held {
	h.name = name
	g.answers = append(g.answers, h)
	return h
}

// name says of what an answer with the token is.
func (g *gate) name(token []byte, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.names[string(token)] = name
}

// taken is told of a workflow task on its way to the worker.
func (g *gate) taken(h *held) {
	switch h.grant {
	case evictTask:
		g.evict()
	case taskCrash:
		g.mu.Lock()
		g.holdsAll = true
		g.mu.Unlock()
	}
}

func (g *gate) forget(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.polls = slices.DeleteFunc(g.polls, func(o *held) bool { return o == h })
	g.answers = slices.DeleteFunc(g.answers, func(o *held) bool { return o == h })
}

func (g *gate) polling() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.polls) > 0
}

// answering names the answers that are held, in the order they came. Those to workflow tasks are numbered if there are several.
func (g *gate) answering() (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, h := range g.answers {
		if h.name == answer {
			n++
		}
		names = append(names, h.numbered(n))
	}
	return names
}

func (h *held) numbered(n int) string {
	if h.name == answer && n > 1 {
		return fmt.Sprintf("%s #%d", answer, n)
	}
	return h.name
}

// letPoll lets the worker's polls through, one after the other, until one has brought a task; false: there is none.
func (g *gate) letPoll(grant string) bool {
	for _, sticky := range []bool{true, false} {
		g.mu.Lock()
		at := slices.IndexFunc(g.polls, func(h *held) bool { return h.sticky == sticky })
		if at < 0 {
			g.mu.Unlock()
			continue
		}
		h := g.polls[at]
		h.grant = grant
		g.polls = slices.Delete(g.polls, at, at+1)
		g.mu.Unlock()
		close(h.free)
		synctest.Wait()
		select {
		case got := <-h.done:
			if got {
				return true
			}
		default:
			h.cancel()
			synctest.Wait()
			if <-h.done {
				return true
			}
		}
	}
	return false
}

// letAnswer lets an answer through; false: there is none of that name.
func (g *gate) letAnswer(name string) bool {
	at := slices.Index(g.answering(), name)
	if at < 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.answers[at].free)
	g.answers = slices.Delete(g.answers, at, at+1)
	return true
}
