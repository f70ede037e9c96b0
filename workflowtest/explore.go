package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
)

// Scenario is a small story whose parts can come in many orders. Explore plays it in each of them, every time on a server of its
// own: the steps of actors, the workflow tasks of the worker, the ends of activities, crashes of the worker and losses of
// its cache.
//
// How an order is made exact: everybody is in one bubble, and between two parts the explorer waits until all others wait.
// A poll for workflow tasks is held until it is the worker's turn, so that messages can meet in one task; an attempt of an
// activity is held when it begins, until it is its turn to go on. Time does not pass until there is nothing else to do.
type Scenario struct {
	// Register says what the workers run. They poll Story.Queue.
	Register func(w *worker.Worker)
	// Start begins the story, by starting a workflow.
	Start func(s *Story) error
	// Actors do their steps one after the other, each beginning when the last one has returned. Steps of different actors come in
	// every order.
	Actors []Actor
	// Crashes and Evictions are how many may come in one order, at any time: the worker is gone with all it knows and another
	// takes its place, or only the runs in its cache are.
	Crashes, Evictions int
	// InFlight lets things happen between the taking of a workflow task and the answer to it, too: more orders, by far.
	InFlight bool
	// Check looks at the end of each order, when all steps are done and no workflow runs any more.
	Check func(s *Story) error
	// MayRun allows workflows to be running at the end.
	MayRun bool
	// MayFail allows workflow tasks to fail by the code.
	MayFail bool
	// Patience is how much simulated time passes, once there is nothing to do, before a story that has not ended is stuck. 0: a day.
	Patience time.Duration
	// Max is how many orders are played. If there are more, the rest is a sample by chance, and the log says so. 0: 2,000.
	Max int
	// Seed of the sample. 0: another one each time; the log tells it.
	Seed uint64
}

// Actor is somebody who does things in a given order, as a client does.
type Actor struct {
	Name  string
	Steps []Step
}

// Step is one thing. Its name is what a script says.
type Step struct {
	Name string
	Do   func(s *Story) error
}

// Story is one run of a scenario. Steps of several actors use it at once; what they keep in it is theirs to guard.
type Story struct {
	Ctx    context.Context
	Client *client.Client
	// Queue is the task queue that workers poll.
	Queue string
	// Values is for what steps and Check share, such as handles. Use Set and Get.
	values sync.Map
}

// Set keeps a value for later steps and Check.
func (s *Story) Set(key string, v any) { s.values.Store(key, v) }

// Get is what Set has kept; nil if nothing.
func (s *Story) Get(key string) any {
	v, _ := s.values.Load(key)
	return v
}

// Explore plays a scenario in every order, or in Max of them and a sample of the others. It fails with the shortest script found that
// leads to a failure; Replay plays that again.
//
// Besides what Check asks, an order fails when a step does, when a workflow task fails by the code (unless MayFail), when the story
// gets stuck, and when a history does not replay.
func Explore(t *testing.T, s Scenario) {
	t.Helper()
	s.defaults()
	x := &explorer{t: t, s: &s}
	if p := x.search(); p != nil {
		t.Errorf("workflowtest: order %d of the scenario fails: %v\nscript, for workflowtest.Replay:\n%s\nlog of the workers:\n%s", x.played, p.err, indent(p.script()), indent(p.log))
	}
}

// Replay plays one order: a script that Explore has printed. What comes after its last line is as Explore does by itself.
func Replay(t *testing.T, s Scenario, script string) {
	t.Helper()
	s.defaults()
	var lines []string
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	p := (&explorer{t: t, s: &s}).play(lines, nil)
	if p.err != nil {
		t.Errorf("%v\n%s", p.err, indent(p.script()))
	}
}

func (s *Scenario) defaults() {
	if s.Max == 0 {
		s.Max = 2000
	}
	if s.Patience == 0 {
		s.Patience = 24 * time.Hour
	}
	if s.Seed == 0 {
		s.Seed = rand.Uint64()
	}
}

// explorer goes through the tree of orders, depth first. A node is a state of the story with the choices there are in it.
type explorer struct {
	t      *testing.T
	s      *Scenario
	played int
}

// played is one order with the choices there were at each point of it.
type played struct {
	chosen  []string
	choices [][]string // in which nothing that turned out to do nothing is left
	err     error
	log     string
}

func (p *played) script() string { return strings.Join(p.chosen, "\n") }

func indent(s string) string { return "\t" + strings.ReplaceAll(s, "\n", "\n\t") }

// search gives the shortest order found that fails, or nil.
func (x *explorer) search() *played {
	x.t.Helper()
	var prefix []string
	for {
		p := x.play(prefix, nil)
		nothing := errors.Is(p.err, errNothing) && len(p.chosen) == len(prefix)
		if p.err != nil && !nothing {
			return x.shorten(p)
		}
		if !nothing {
			x.played++
		}
		next := -1
		for i := len(p.chosen) - 1; i >= 0 && next < 0; i-- {
			if at := slices.Index(p.choices[i], p.chosen[i]); at >= 0 && at+1 < len(p.choices[i]) {
				next = i
				prefix = append(slices.Clone(p.chosen[:i]), p.choices[i][at+1])
			}
		}
		if next < 0 {
			x.t.Logf("workflowtest: all %d orders", x.played)
			return nil
		}
		if x.played >= x.s.Max {
			break
		}
	}
	x.t.Logf("workflowtest: there are more than %d orders; %d more by chance, seed %d", x.s.Max, x.s.Max, x.s.Seed)
	chance := rand.New(rand.NewPCG(x.s.Seed, 0))
	for range x.s.Max {
		p := x.play(nil, chance)
		x.played++
		if p.err != nil {
			return x.shorten(p)
		}
	}
	return nil
}

// shorten finds a short script that fails, too.
func (x *explorer) shorten(p *played) *played {
	// What comes after the end of a script is the same each time, so a beginning may do.
	for tries, n := 0, len(p.chosen); tries < 100; tries++ {
		shorter := n / 2
		if tries > 6 || shorter == n {
			shorter = n - 1
		}
		if shorter < 0 {
			break
		}
		shorter = min(shorter, len(p.chosen))
		q := x.play(p.chosen[:shorter], nil)
		if q.err == nil {
			if shorter == n-1 {
				break
			}
			tries = 6
			continue
		}
		n = shorter
		q.chosen = q.chosen[:min(len(q.chosen), n)]
		p = q
	}
	// Then lines in the middle may go.
	for i := 0; i < len(p.chosen); {
		q := x.play(slices.Delete(slices.Clone(p.chosen), i, i+1), nil)
		if q.err != nil && !errors.Is(q.err, errNoSuchStep) && !errors.Is(q.err, errNothing) {
			q.chosen = q.chosen[:min(len(q.chosen), len(p.chosen)-1)]
			p = q
			continue
		}
		i++
	}
	return p
}

var (
	errNoSuchStep = errors.New("the script has a step that is not possible there")
	errNothing    = errors.New("the script has a step that does nothing there")
)

// play runs one order: the script first, then by chance or, without that, always the first choice.
func (x *explorer) play(script []string, chance *rand.Rand) *played {
	p := &played{}
	synctest.Test(x.t, func(*testing.T) { p.err = x.run(p, script, chance) })
	return p
}

func (x *explorer) run(p *played, script []string, chance *rand.Rand) (err error) {
	n, stop, err := serve()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	log := &lines{}
	defer func() { p.log = log.String() }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	quiet := slog.New(slog.NewTextHandler(log, nil))
	c, err := client.Dial(ctx, client.Options{Conn: n.Conn(), Logger: quiet})
	if err != nil {
		return err
	}
	st := &stage{s: x.s, story: &Story{Ctx: ctx, Client: c, Queue: "story"}, conn: n.Conn(), log: quiet}
	if err := st.hire(); err != nil {
		return err
	}
	defer func() { st.fire(cancel) }()
	if err := x.s.Start(st.story); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	st.actors = make([]actor, len(x.s.Actors))
	for at := 0; ; at++ {
		var choices []string
		for {
			synctest.Wait()
			if err := st.failed(); err != nil {
				return err
			}
			if choices = st.choices(); len(choices) > 0 || st.over() {
				break
			}
			if st.waited >= x.s.Patience {
				if x.s.MayRun {
					break
				}
				return fmt.Errorf("the story is stuck: nothing has happened for %s, and a workflow is running or a step has not returned", st.waited)
			}
			st.pass()
		}
		if len(choices) == 0 {
			break
		}
		// A choice that turns out to do nothing is none: the next one is taken in its place.
		for {
			pick, tried := choices[0], false
			switch {
			case at < len(script):
				pick = script[at]
				if !slices.Contains(choices, pick) {
					if !slices.Equal(choices, []string{"task"}) || st.do("task") {
						return fmt.Errorf("%w: %q; there are %q", errNoSuchStep, pick, choices)
					}
					pick, tried = "task", true // there was none, as when the script was written: time passes
				}
			case chance != nil:
				pick = choices[chance.IntN(len(choices))]
			}
			if !tried && st.do(pick) {
				p.chosen, p.choices = append(p.chosen, pick), append(p.choices, choices)
				st.waited = 0
				break
			}
			if at < len(script) && len(choices) > 1 {
				p.chosen, p.choices = append(p.chosen, pick), append(p.choices, choices)
				return fmt.Errorf("%w: %q", errNothing, pick)
			}
			choices = slices.DeleteFunc(slices.Clone(choices), func(s string) bool { return s == pick })
			if len(choices) == 0 {
				st.idle = true
				at--
				break
			}
		}
	}
	if err := st.failed(); err != nil {
		return err
	}
	if x.s.Check != nil {
		if err := x.s.Check(st.story); err != nil {
			return err
		}
	}
	return st.replay()
}

// lines is a log that several write.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.b.String())
}

var _ io.Writer = &lines{}

// actor is where one is.
type actor struct {
	next int
	busy bool
}

// stage is one order while it is played.
type stage struct {
	s      *Scenario
	story  *Story
	conn   grpc.ClientConnInterface
	log    *slog.Logger
	waited time.Duration // since the last choice
	idle   bool          // a poll that was let go brought nothing; until something else happens
	closed bool

	mu               sync.Mutex // guards the rest
	worker           *worker.Worker
	gate             *gate
	actors           []actor
	err              error
	crashes, evicted int
	everyWorker      []*worker.Worker
	attempts         []*attempt
	names            map[string]int
}

// attempt is one of an activity that is held.
type attempt struct {
	name string
	free chan struct{}
}

// hire starts a worker behind a gate.
func (st *stage) hire() error {
	g := &gate{inFlight: st.s.InFlight}
	c, err := client.Dial(st.story.Ctx, client.Options{Conn: st.conn, Logger: st.log, Interceptors: []grpc.UnaryClientInterceptor{g.intercept}, Identity: fmt.Sprint("worker-", len(st.everyWorker))})
	if err != nil {
		return err
	}
	w := worker.New(c, st.story.Queue, worker.Options{
		WorkflowPollers: 1, ActivityPollers: 1, PollTimeout: longPoll + time.Minute,
		ActivityInterceptors: []activity.Interceptor{func(ctx context.Context, call *activity.Call, next func(context.Context) error) error {
			if !call.Info.Local {
				if err := st.hold(ctx, call.Info.ActivityType); err != nil {
					return err
				}
			}
			return next(ctx)
		}},
		OnTaskFailed: func(workflowID, _ string, attempt int32, err error) {
			if !st.s.MayFail {
				st.fail(fmt.Errorf("a workflow task of %q failed: %w", workflowID, err))
			}
		},
	})
	st.s.Register(w)
	if err := w.Start(); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.worker, st.gate, st.everyWorker = w, g, append(st.everyWorker, w)
	return nil
}

// hold keeps an attempt until it is chosen.
func (st *stage) hold(ctx context.Context, kind string) error {
	st.mu.Lock()
	if st.names == nil {
		st.names = map[string]int{}
	}
	st.names[kind]++
	a := &attempt{name: fmt.Sprintf("activity %s#%d", kind, st.names[kind]), free: make(chan struct{})}
	st.attempts = append(st.attempts, a)
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		st.attempts = slices.DeleteFunc(st.attempts, func(o *attempt) bool { return o == a })
		st.mu.Unlock()
	}()
	select {
	case <-a.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fire ends all workers, however they are held.
func (st *stage) fire(cancel context.CancelFunc) {
	cancel()
	st.gate.die()
	for _, w := range st.everyWorker {
		w.Stop()
	}
	synctest.Wait()
}

func (st *stage) fail(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err == nil {
		st.err = err
	}
}

func (st *stage) failed() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err
}

// choices are what can happen next, the most usual first.
func (st *stage) choices() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	var all []string
	if st.gate.answering() {
		all = append(all, "answer")
	}
	if !st.idle && st.gate.polling() {
		all = append(all, "task")
	}
	for _, a := range st.attempts {
		all = append(all, a.name)
	}
	for i, a := range st.actors {
		if !a.busy && a.next < len(st.s.Actors[i].Steps) {
			all = append(all, st.stepName(i))
		}
	}
	if len(all) == 0 {
		return nil // crashes alone tell no story
	}
	if st.crashes < st.s.Crashes {
		all = append(all, "crash")
	}
	if st.evicted < st.s.Evictions && !st.gate.answering() {
		all = append(all, "evict")
	}
	return all
}

func (st *stage) stepName(i int) string {
	a := st.s.Actors[i]
	return a.Name + ": " + a.Steps[st.actors[i].next].Name
}

// do makes a choice happen and waits until everybody waits. It is false when nothing could happen.
func (st *stage) do(choice string) bool {
	switch choice {
	case "task":
		got := st.gate.letPoll()
		st.idle = !got
		return got
	case "answer":
		st.gate.letAnswer()
	case "crash":
		st.crashes++
		st.gate.die()
		old := st.worker
		if err := st.hire(); err != nil {
			st.fail(err)
		}
		st.mu.Lock()
		st.attempts = nil // nobody waits for them
		st.mu.Unlock()
		go old.Stop()
	case "evict":
		st.evicted++
		st.worker.DropCache()
	default:
		st.step(choice)
	}
	st.idle = false
	synctest.Wait()
	return true
}

func (st *stage) step(choice string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, a := range st.attempts {
		if a.name == choice {
			close(a.free)
			return
		}
	}
	for i := range st.actors {
		a := &st.actors[i]
		if a.busy || a.next >= len(st.s.Actors[i].Steps) || st.stepName(i) != choice {
			continue
		}
		step := st.s.Actors[i].Steps[a.next]
		a.busy = true
		a.next++
		go func() {
			err := step.Do(st.story)
			if err != nil && st.story.Ctx.Err() == nil {
				st.fail(fmt.Errorf("%s: %w", choice, err))
			}
			st.mu.Lock()
			a.busy = false
			st.mu.Unlock()
		}()
		return
	}
}

// over says whether the story has ended: all steps are done and no workflow runs.
func (st *stage) over() bool {
	st.mu.Lock()
	for i, a := range st.actors {
		if a.busy || a.next < len(st.s.Actors[i].Steps) {
			st.mu.Unlock()
			return false
		}
	}
	st.mu.Unlock()
	for _, w := range st.workflows() {
		if w.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return false
		}
	}
	return true
}

// pass lets time go by: a little first, so that what is due soon does not come together with what is due later.
func (st *stage) pass() {
	d := max(time.Second, st.waited)
	time.Sleep(d)
	st.waited += d
	st.idle = false
}

func (st *stage) workflows() []*workflowpb.WorkflowExecutionInfo {
	answer, err := st.story.Client.Service().ListWorkflowExecutions(st.story.Ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: st.story.Client.Namespace(), PageSize: 1000})
	if err != nil {
		st.fail(err)
		return nil
	}
	return answer.Executions
}

// replay takes the code through each history once more.
func (st *stage) replay() error {
	r := st.worker.Replayer()
	for _, w := range st.workflows() {
		h := &historypb.History{}
		for e, err := range st.story.Client.Handle(w.Execution.WorkflowId, w.Execution.RunId).History(st.story.Ctx) {
			if err != nil {
				return err
			}
			h.Events = append(h.Events, e)
		}
		if err := r.Events(h.Events); err != nil {
			return fmt.Errorf("the history of %q does not replay: %w", w.Execution.WorkflowId, err)
		}
	}
	return nil
}

// gate stands between a worker and the server.
type gate struct {
	inFlight bool

	mu      sync.Mutex // guards the rest
	dead    bool
	over    chan struct{} // closed when dead
	polls   []*held
	answers []*held
}

// held is a call that waits for its turn.
type held struct {
	sticky bool
	free   chan struct{}
	cancel context.CancelFunc
	done   chan bool // what came of a poll: a task, or none
}

func (g *gate) closing() chan struct{} {
	if g.over == nil {
		g.over = make(chan struct{})
	}
	return g.over
}

var errDead = status.Error(codes.Canceled, "the worker is gone")

func (g *gate) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	g.mu.Lock()
	over := g.closing()
	if g.dead {
		g.mu.Unlock()
		return errDead
	}
	var h *held
	poll, isPoll := req.(*workflowservice.PollWorkflowTaskQueueRequest)
	_, answer := req.(*workflowservice.RespondWorkflowTaskCompletedRequest)
	switch {
	case isPoll:
		h = &held{sticky: poll.TaskQueue.GetKind() == enumspb.TASK_QUEUE_KIND_STICKY, free: make(chan struct{}), done: make(chan bool, 1)}
		ctx, h.cancel = context.WithCancel(ctx)
		defer h.cancel()
		g.polls = append(g.polls, h)
	case answer && g.inFlight:
		h = &held{free: make(chan struct{})}
		g.answers = append(g.answers, h)
	}
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {})
	defer stop()
	go func() { // what a dead worker waits for does not come
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	}()
	if h != nil {
		select {
		case <-h.free:
		case <-over:
			return errDead
		case <-ctx.Done():
			g.forget(h)
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	err := next(ctx, method, req, reply, cc, opts...)
	if isPoll {
		task, _ := reply.(*workflowservice.PollWorkflowTaskQueueResponse)
		h.done <- err == nil && len(task.GetTaskToken()) > 0
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil // an empty poll
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return errDead
	}
	return err
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

func (g *gate) answering() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.answers) > 0
}

// letPoll lets the worker take one task: of its own queue first, then of the one that all share.
func (g *gate) letPoll() bool {
	for _, sticky := range []bool{true, false} {
		g.mu.Lock()
		at := slices.IndexFunc(g.polls, func(h *held) bool { return h.sticky == sticky })
		if at < 0 {
			g.mu.Unlock()
			continue
		}
		h := g.polls[at]
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

func (g *gate) letAnswer() {
	g.mu.Lock()
	h := g.answers[0]
	g.answers = g.answers[1:]
	g.mu.Unlock()
	close(h.free)
}

// die cuts the worker off: it hears nothing and is not heard any more.
func (g *gate) die() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dead {
		g.dead = true
		close(g.closing())
		g.polls, g.answers = nil, nil
	}
}
