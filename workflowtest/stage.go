package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/internal/node"
	"github.com/perdure/perdure/worker"
)

// Names of parts. Others are made of names.
const (
	task      = "task"
	noTask    = "no task"
	taskCrash = "task, crash"
	evictTask = "evict, task"
	answer    = "answer"
	crash     = "crash"
	wait      = "wait"
	timer     = "timer +"
	early     = "early "
)

// stage is one order while it is played.
type stage struct {
	s      *Scenario
	story  *Story
	node   *node.Node
	lines  *lines
	log    *slog.Logger
	ledger *ledger

	// Only the explorer uses these.

	last                    string    // part
	dueAt                   time.Time // of the choice that is a timer
	empty                   bool      // no task waits: a poll found none, and nothing has happened since
	unused                  bool      // the worker has nothing to lose
	calm                    time.Duration
	crashes, evicted, early int

	woken chan struct{} // ends a wait

	mu       sync.Mutex // guards the rest
	worker   *worker.Worker
	gate     *gate
	actors   []actor
	err      error
	workers  []*worker.Worker
	attempts []*attempt
	ordinals map[string]int    // of activities, by type
	names    map[string]string // of activities, by run and ID
}

// actor is where one is.
type actor struct {
	next int
	busy bool
}

// attempt is one of an activity that is held.
type attempt struct {
	name string
	free chan struct{}
}

// open prepares a story. Call end in any case.
func open(s *Scenario) (st *stage, end func() error, err error) {
	n, stop, err := serve()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	st = &stage{
		s: s, node: n, lines: &lines{}, ledger: newLedger(), woken: make(chan struct{}, 1), unused: true,
		actors: make([]actor, len(s.Actors)), ordinals: map[string]int{}, names: map[string]string{},
	}
	st.log = slog.New(slog.NewTextHandler(st.lines, nil))
	end = func() error {
		cancel()
		st.fire()
		return stop()
	}
	c, err := st.dial(ctx, clientIdentity, st.ledger.intercept)
	if err == nil {
		st.story = &Story{Ctx: ctx, Client: c, Queue: "story"}
		err = st.hire()
	}
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return st, end, nil
}

func (st *stage) dial(ctx context.Context, identity string, way grpc.UnaryClientInterceptor) (*client.Client, error) {
	return client.Dial(ctx, client.Options{Conn: st.node.Conn(), Logger: st.log, Interceptors: []grpc.UnaryClientInterceptor{way}, Identity: identity})
}

// hire starts a worker behind a gate.
func (st *stage) hire() error {
	g := newGate(st.s.InFlight)
	c, err := st.dial(st.story.Ctx, fmt.Sprint("worker-", len(st.workers)+1), g.intercept)
	if err != nil {
		return err
	}
	w := worker.New(c, st.story.Queue, worker.Options{
		WorkflowPollers: 1, ActivityPollers: 1, PollTimeout: longPoll + time.Minute,
		DisableEagerActivities: true, // a gate sees what is polled
		ActivityInterceptors: []activity.Interceptor{func(ctx context.Context, call *activity.Call, next func(context.Context) error) error {
			if !call.Info.Local {
				if err := st.hold(ctx, g, call.Info.TaskToken); err != nil {
					return err
				}
			}
			return next(context.WithValue(ctx, storyKey{}, st.story))
		}},
		OnTaskFailed: func(workflowID, _ string, attempt int32, err error) {
			if !st.s.MayFail {
				st.fail(fault(kindTask, "a workflow task of %q failed: %w", workflowID, err))
			}
		},
	})
	g.evict, g.answered = w.DropCache, st.wake
	g.started = func(t *workflowservice.PollActivityTaskQueueResponse) { g.name(t.TaskToken, st.nameAttempt(t)) }
	st.s.Register(w)
	if err := w.Start(); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.worker, st.gate, st.workers, st.unused = w, g, append(st.workers, w), true
	return nil
}

// nameAttempt numbers activities of each type as they are first started.
func (st *stage) nameAttempt(t *workflowservice.PollActivityTaskQueueResponse) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	key := t.WorkflowExecution.GetRunId() + "/" + t.ActivityId
	name := st.names[key]
	if name == "" {
		kind := t.ActivityType.GetName()
		st.ordinals[kind]++
		name = fmt.Sprintf("%s#%d", kind, st.ordinals[kind])
		st.names[key] = name
	}
	if t.Attempt > 1 {
		name += fmt.Sprintf(" attempt %d", t.Attempt)
	}
	return name
}

// hold keeps an attempt until it is chosen.
func (st *stage) hold(ctx context.Context, g *gate, token []byte) error {
	g.mu.Lock()
	a := &attempt{name: "activity " + g.names[string(token)], free: make(chan struct{})}
	g.mu.Unlock()
	st.mu.Lock()
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
func (st *stage) fire() {
	if st.gate != nil {
		st.gate.end()
	}
	for _, w := range st.workers {
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

// choices are what can happen next, the most usual first; none: the story is over.
func (st *stage) choices() ([]string, error) {
	all := st.now()
	if len(all) == 0 {
		return st.later()
	}
	hasTask := slices.Contains(all, task)
	if hasTask && st.evicted < st.s.Evictions && !st.unused {
		all = append(all, evictTask)
	}
	if st.crashes < st.s.Crashes {
		if hasTask && !st.s.InFlight {
			all = append(all, taskCrash)
		}
		if !st.unused {
			all = append(all, crash)
		}
	}
	if st.early < st.s.Timers && st.ledger.queries.Load() == 0 { // a query would give up
		due, err := st.due(false)
		if err != nil {
			return nil, err
		}
		if !due.IsZero() {
			all = append(all, early+st.timerTo(due))
		}
	}
	return all, nil
}

// now is what can happen without time passing, and makes the story go on.
func (st *stage) now() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	all := st.gate.answering()
	if !st.empty && st.gate.polling() {
		all = append(all, task)
	}
	var held []string
	for _, a := range st.attempts {
		held = append(held, a.name)
	}
	slices.Sort(held) // goroutines came in any order
	all = append(all, held...)
	for i, a := range st.actors {
		if !a.busy && a.next < len(st.s.Actors[i].Steps) {
			all = append(all, st.stepName(i))
		}
	}
	return all
}

// later is what there is to choose when only time can bring something; nothing at the end.
func (st *stage) later() ([]string, error) {
	over, err := st.over()
	if over || err != nil {
		return nil, err
	}
	due, err := st.due(true)
	if err != nil {
		return nil, err
	}
	left := st.s.Patience - st.calm
	if left <= 0 || st.s.MayRun && time.Until(due) > left {
		if st.s.MayRun {
			return nil, nil
		}
		return nil, fault("stuck", "the story is stuck: nothing has happened for %s, and %s", st.calm, st.unfinished())
	}
	all := []string{wait}
	// Somebody who waits for an answer may get it at a time that nobody tells.
	if !due.IsZero() && (!st.busy() || time.Until(due) <= st.step()) {
		all[0] = st.timerTo(due)
	}
	if st.crashes < st.s.Crashes && !st.unused && st.last != wait {
		all = append(all, crash)
	}
	return all, nil
}

// goesOn says that the last wait was not long enough.
func (st *stage) goesOn(choices []string) bool {
	return st.last == wait && len(choices) == 1 && choices[0] == wait
}

func (st *stage) stepName(i int) string {
	a := st.s.Actors[i]
	return a.Name + ": " + a.Steps[st.actors[i].next].Name
}

// tick is what each part takes, so that what begins in different parts with the same timeout does not end at once: who comes
// first at one moment is chance.
const tick = time.Millisecond

// do makes a choice happen and waits until everybody waits. It is false when nothing could happen.
func (st *stage) do(choice string) bool {
	switch choice {
	case task, taskCrash, evictTask:
		got := st.gate.letPoll(choice)
		st.empty = !got
		if !got {
			return false
		}
		st.unused = false
		switch choice {
		case taskCrash:
			st.crash()
		case evictTask:
			st.evicted++
		}
		if st.s.MayRun { // a run that goes round and round alone is no story
			return st.done(choice)
		}
	case crash:
		st.crash()
	case wait:
		st.sleep(st.step())
		return st.done(choice)
	default:
		late, isEarly := strings.CutPrefix(choice, early)
		if strings.HasPrefix(late, timer) {
			if isEarly {
				st.early++
			}
			st.sleepToDue()
			return st.done(choice)
		}
		st.release(choice)
	}
	st.calm = 0
	return st.done(choice)
}

func (st *stage) done(choice string) bool {
	st.last, st.empty = choice, false
	synctest.Wait()
	time.Sleep(tick)
	synctest.Wait()
	return true
}

// crash replaces the worker by another.
func (st *stage) crash() {
	st.crashes++
	old := st.worker
	st.gate.end()
	st.mu.Lock()
	st.attempts = nil // nobody waits for them
	st.mu.Unlock()
	go old.Stop()
	synctest.Wait()
	if err := st.hire(); err != nil {
		st.fail(err)
	}
}

// sleep lets time pass, until something has happened; st.calm counts it.
func (st *stage) sleep(d time.Duration) {
	select {
	case <-st.woken:
	default:
	}
	begun := time.Now()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-st.woken:
	}
	st.calm += time.Since(begun)
}

// sleepToDue lets time pass to what is known to be due.
func (st *stage) sleepToDue() {
	d := time.Until(st.dueAt)
	time.Sleep(d)
	if st.s.MayRun {
		st.calm += d
		return
	}
	st.calm = 0
}

func (st *stage) wake() {
	select {
	case st.woken <- struct{}{}:
	default:
	}
}

// step is how long the next wait is at most.
func (st *stage) step() time.Duration { return max(time.Second, min(st.calm, time.Hour)) }

func (st *stage) busy() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.ContainsFunc(st.actors, func(a actor) bool { return a.busy })
}

// release makes an attempt, an answer or an actor go on.
func (st *stage) release(choice string) {
	if st.gate.letAnswer(choice) {
		st.unused = false
		return
	}
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
				st.fail(fault("step", "%s: %w", choice, err))
			}
			st.mu.Lock()
			a.busy = false
			st.mu.Unlock()
			st.wake()
		}()
		return
	}
}

// over says whether the story has ended: all steps are done and no workflow runs.
func (st *stage) over() (bool, error) {
	if st.unfinished() != noStep {
		return false, nil
	}
	running, err := st.running()
	return len(running) == 0, err
}

const noStep = "a workflow is running"

// unfinished says what the story waits for.
func (st *stage) unfinished() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, a := range st.actors {
		if a.busy {
			return fmt.Sprintf("%q of %s has not returned", st.s.Actors[i].Steps[a.next-1].Name, st.s.Actors[i].Name)
		}
		if a.next < len(st.s.Actors[i].Steps) {
			return fmt.Sprintf("%q of %s is to come", st.s.Actors[i].Steps[a.next].Name, st.s.Actors[i].Name)
		}
	}
	return noStep
}

// lines is a log that several write.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

var _ io.Writer = &lines{}

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
