package workflowtest

// How Explore makes an order exact
//
// Everybody is in one bubble of testing/synctest: the server, in memory and new for each order, the workers, the actors. Between two
// parts of an order the explorer waits until everybody else waits (synctest.Wait), so what a part leads to without time passing
// has been done before the next part begins, however the goroutines of it were scheduled.
//
// A part is one of
//
//	Ada: pays            the next step of an actor begins; it may return later
//	task                 the worker takes one workflow task, runs it and answers, with what follows at once
//	task, crash          the worker takes it and is gone before its answer is; another takes its place
//	evict, task          the same as task, but the worker has lost the runs in its cache
//	answer               with InFlight, task ends before the answer, which is this
//	activity Charge#1    the first attempt that was made of Charge runs and answers
//	report Charge#1      with InFlight, activity ends before the answer, which is this
//	timer +5m            time passes until a timer, a timeout or a retry is due, as there is nothing else to do
//	early timer +5m      the same while there is
//	no task              the worker has polled and found nothing, which matters to the server now and then
//	wait                 time passes until something happens, if nobody can tell when
//	crash                the worker is gone between two tasks, with its cache and its attempts
//
// What could happen at any time is held back until it is chosen: the worker's polls for workflow tasks do not reach the server
// before (so messages can meet in one task), an attempt is held before its function is called, answers are held on their way.
// Polls for activities are not held: an attempt starts, as the server sees it, when it is scheduled. An actor's calls are not held
// either: one call is one moment.
//
// Simulated time stands still while there is anything else to do, except for Timers. Whether a task waits is found out by letting
// a poll through; if it stays empty it is cancelled and was no part.
//
// The parts that are possible at each point make a tree. It is walked depth first, the most usual part first, by playing each order
// from its beginning. There is no going back in a story, and no two orders are taken to be the same, except that what loses a cache
// is only tried where the next task feels it. Two workers at once, and the choice of which of several runs has its task first, are
// not tried.
//
// BenchmarkOrders: on two cores some 200 orders a second, of three messages and two activities each.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
)

// Scenario is a small story whose parts can come in many orders. Explore plays it in each of them, every time on a server of its
// own: the steps of actors, the workflow tasks of the worker, the ends of activities, timers, crashes of the worker and losses
// of its cache.
//
// Its functions are called once or more in each order, one order after the other. What they share with each other belongs
// into the Story, as every order begins anew.
type Scenario struct {
	// Register says what the workers run. They poll Story.Queue. An activity is replaced by one registered under its name.
	Register func(w *worker.Worker)
	// Start begins the story, by starting a workflow.
	Start func(s *Story) error
	// Actors do their steps one after the other, each beginning when the last one has returned. Steps of different actors come in
	// every order.
	Actors []Actor
	// Crashes and Evictions are how many may come in one order, at any time: the worker is gone with all it knows and another
	// takes its place, between two tasks or before the answer to one, or only the runs in its cache are.
	Crashes, Evictions int
	// Timers is how often, in one order, time may pass to what is due next while there is something else to do. 0: it passes only
	// when there is nothing. Attempts of activities that are held for longer than their timeouts time out.
	Timers int
	// InFlight lets things happen between the taking of a task and the answer to it, too, both of workflows and of
	// activities: more orders, by far.
	InFlight bool
	// Check looks at the end of each order, when all steps are done and no workflow runs any more.
	Check func(s *Story) error
	// MayRun allows workflows to be running at the end.
	MayRun bool
	// MayFail allows workflow tasks to fail by the code.
	MayFail bool
	// MayAbandon allows a run to complete, or to continue as new, with updates that were accepted and have no outcome.
	MayAbandon bool
	// Patience is how much simulated time passes, with nothing known to be due, before a story that has not ended is stuck, or,
	// with MayRun, over. 0: a day.
	Patience time.Duration
	// Max is how many orders are played. If there are more, as many again are drawn by chance, and the log says so. 0: 2,000.
	Max int
	// Seed of the sample. 0: another one each time; the log tells it.
	Seed uint64
}

// Actor is somebody who does things in a given order, as a client does.
type Actor struct {
	Name  string
	Steps []Step
}

// Step is one thing. Its name is what a script says, in one line.
type Step struct {
	Name string
	Do   func(s *Story) error
}

// Story is one run of a scenario. Steps of several actors use it at once; what they keep in it is theirs to guard.
type Story struct {
	// Ctx ends with the story.
	Ctx context.Context
	// Client notes what it was told of signals and updates, for the checks of Explore.
	Client *client.Client
	// Queue is the task queue that workers poll.
	Queue string

	values sync.Map
}

// Set keeps a value, such as an answer, for later steps and Check.
func (s *Story) Set(key string, v any) { s.values.Store(key, v) }

// Get is what Set has kept; nil if nothing.
func (s *Story) Get(key string) any {
	v, _ := s.values.Load(key)
	return v
}

type storyKey struct{}

// StoryOf is the story in which an activity is called, whose context it has got; nil: in none. What activities do to the world can be
// kept there, for Check.
func StoryOf(ctx context.Context) *Story {
	s, _ := ctx.Value(storyKey{}).(*Story)
	return s
}

// Explored says what Explore has done.
type Explored struct {
	// Orders is how many were played, without those that made a script shorter.
	Orders int
	// All: there are no others.
	All bool
	// Seed of the sample.
	Seed uint64
}

// Explore plays a scenario in every order, or in Max of them and a sample of the others; a test that wants no less than all
// looks at what it returns. It fails with the shortest script found that leads to a failure; Replay plays that again, and so does the
// test itself with the flag -workflowtest.script.
//
// Besides what Check asks, an order fails when a step does, when a workflow task fails by the code (unless MayFail), when the story
// gets stuck, or does not end within 500 parts, when a history does not replay or is not a legal one, when a signal that
// was acknowledged to Story.Client is not in the history once, and when an update of it that was accepted has not one outcome
// (unless MayAbandon), the one its client was told.
func Explore(t *testing.T, s Scenario) Explored {
	t.Helper()
	if *scriptFlag != "" {
		Replay(t, s, *scriptFlag)
		return Explored{Orders: 1}
	}
	x := newExplorer(t, s)
	if p := x.search(); p != nil {
		t.Errorf("workflowtest: order %d of the scenario fails: %v\nscript, for workflowtest.Replay:\n%s\nor: %s\nlog of the workers:\n%s",
			x.played, p.err, indent(p.story()), command(t.Name(), p.lines()), indent(p.log))
	}
	return Explored{Orders: x.played, All: x.all, Seed: x.s.Seed}
}

// Replay plays one order: a script that Explore has printed. Empty lines and those that begin with # are left out. What comes after
// its last line is as Explore does by itself.
func Replay(t *testing.T, s Scenario, script string) {
	t.Helper()
	p := newExplorer(t, s).play(parse(script), nil)
	if p.err != nil {
		t.Errorf("workflowtest: %v\n%s\nlog of the workers:\n%s", p.err, indent(p.story()), indent(p.log))
	}
}

// explorer goes through the tree of orders, depth first. A node is a state of the story with the choices there are in it.
type explorer struct {
	t      *testing.T
	s      *Scenario
	played int
	all    bool
}

func newExplorer(t *testing.T, s Scenario) *explorer {
	if s.Max == 0 {
		s.Max = 2000
	}
	if s.Patience == 0 {
		s.Patience = 24 * time.Hour
	}
	for s.Seed == 0 {
		s.Seed = rand.Uint64()
	}
	return &explorer{t: t, s: &s}
}

// played is one order with the choices there were at each point of it.
type played struct {
	script  []string // what was given
	given   int      // lines of it that were played
	chosen  []string
	choices [][]string // in which nothing that turned out to do nothing is left
	rest    []string   // chosen after the script
	err     error
	log     string
	trace   string // what the server has of it
}

// search gives the shortest order found that fails, or nil.
func (x *explorer) search() *played {
	x.t.Helper()
	begun := time.Now()
	var prefix []string
	for {
		p := x.play(prefix, nil)
		x.played++
		switch {
		case errors.Is(p.err, errNothing) && p.given == len(prefix)-1:
			x.played-- // it was no choice after all
		case kindOf(p.err) == kindScript:
			return x.astray(p)
		case p.err != nil:
			return x.shorten(p)
		}
		if prefix = p.next(); prefix == nil {
			x.all = true
			x.t.Logf("workflowtest: all %d orders, in %s", x.played, time.Since(begun).Round(time.Millisecond))
			return nil
		}
		if x.played >= x.s.Max {
			break
		}
	}
	x.t.Logf("workflowtest: NOT ALL ORDERS: there are more than %d; %d more by chance, seed %d", x.s.Max, x.s.Max, x.s.Seed)
	return x.sample()
}

// astray is what remains when a beginning that was possible is not any more: somebody, most likely the workflow, does not do the same
// each time. That may show as a better failure elsewhere, so orders are drawn by chance.
func (x *explorer) astray(p *played) *played {
	if q := x.sample(); q != nil {
		return q
	}
	p.err = fault("astray", "the same beginning led elsewhere when it was played again, so a workflow, an activity or a step depends on chance: %w", p.err)
	p.script, p.rest = p.chosen, nil
	return p
}

// sample plays orders by chance.
func (x *explorer) sample() *played {
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

// next is the beginning of the order after p, depth first; nil after the last one.
func (p *played) next() []string {
	for i := len(p.chosen) - 1; i >= 0; i-- {
		if at := slices.Index(p.choices[i], p.chosen[i]); at >= 0 && at+1 < len(p.choices[i]) {
			return append(slices.Clone(p.chosen[:i]), p.choices[i][at+1])
		}
	}
	return nil
}

// shortenTries bounds the orders that are played to make a script shorter.
const shortenTries = 300

// shorten finds a short script that fails in the same way. What comes after the end of a script is the same each time, so the
// shortest beginning comes first, then one line less in the middle, or a simpler one, as often as that still fails.
func (x *explorer) shorten(p *played) *played {
	tries := shortenTries
	fails := func(script []string) *played {
		again := 1
		if k := kindOf(p.err); k == kindTask || k == kindReplay {
			again = 8 // code that depends on chance fails now and then
		}
		for ; again > 0 && tries > 0; again-- {
			tries--
			if q := x.play(script, nil); q.err != nil && kindOf(q.err) == kindOf(p.err) && q.given == len(script) {
				return q
			}
		}
		return nil
	}
	found := false
	for n := 0; n <= len(p.chosen) && !found; n++ {
		if q := fails(p.chosen[:n]); q != nil {
			p, found = q, true
		}
	}
	if !found { // it does not fail each time
		p.script, p.rest = p.chosen, nil
		return p
	}
	for again := true; again; {
		again = false
		for i := 0; i < len(p.script); i++ {
			script := p.script
			candidates := [][]string{slices.Concat(script[:i], script[i+1:])}
			if script[i] == evictTask || script[i] == taskCrash {
				candidates = append(candidates, slices.Concat(script[:i], []string{task}, script[i+1:]))
			}
			for _, c := range candidates {
				if q := fails(c); q != nil {
					p, again = q, true
					break
				}
			}
		}
	}
	return p
}

// problem is what makes an order fail. Scripts are made shorter within one kind.
type problem struct {
	kind string
	err  error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

const (
	kindTask   = "task"
	kindReplay = "replay"
	kindScript = "script"
)

func kindOf(err error) string {
	var p *problem
	if errors.As(err, &p) {
		return p.kind
	}
	return ""
}

func fault(kind, format string, args ...any) error {
	return &problem{kind, fmt.Errorf(format, args...)}
}

var (
	errNoSuchPart = &problem{kindScript, errors.New("the script has a line that is not possible there")}
	errNothing    = &problem{kindScript, errors.New("the script has a line that does nothing there")}
)

// mostParts is how many parts a story may have.
const mostParts = 500

// play runs one order: the script first, then by chance or, without that, always the first choice.
func (x *explorer) play(script []string, chance *rand.Rand) *played {
	p := &played{script: script}
	synctest.Test(x.t, func(*testing.T) { p.err = x.run(p, chance) })
	return p
}

func (x *explorer) run(p *played, chance *rand.Rand) (err error) {
	st, end, err := open(x.s)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, end())
		p.log = st.lines.String()
	}()
	if err := x.s.Start(st.story); err != nil {
		return fault("start", "start: %w", err)
	}
	for {
		synctest.Wait()
		if err := st.failed(); err != nil {
			return err
		}
		if len(p.chosen) > mostParts {
			return fault("endless", "the story has not ended after %d parts", mostParts)
		}
		choices, err := st.choices()
		if err != nil {
			return err
		}
		if len(choices) == 0 {
			break
		}
		if st.goesOn(choices) {
			st.do(wait)
			continue
		}
		if err := p.part(st, choices, chance); err != nil {
			return err
		}
	}
	if p.given < len(p.script) {
		return fmt.Errorf("%w: %q comes after the end", errNoSuchPart, p.script[p.given])
	}
	if x.s.Check != nil {
		if err := x.s.Check(st.story); err != nil {
			return &problem{"check", err}
		}
	}
	p.trace, err = st.audit()
	return err
}

// part plays one of the choices: that of the script, one by chance, or the first.
func (p *played) part(st *stage, choices []string, chance *rand.Rand) error {
	if p.given == len(p.script) {
		pick := choices[0]
		if chance != nil {
			pick = choices[chance.IntN(len(choices))]
		}
		if st.do(pick) {
			p.add(pick, choices)
			p.rest = append(p.rest, pick)
		} else {
			p.none(st) // there are fewer choices now
		}
		return nil
	}
	pick := p.script[p.given]
	hasTask := slices.Contains(choices, task)
	switch {
	case pick == noTask && hasTask:
		if st.do(task) {
			return fmt.Errorf("%w: %q", errNoSuchPart, pick)
		}
	case slices.Contains(choices, pick):
		if !st.do(pick) {
			if st.last == wait {
				return nil // it may yet come
			}
			p.add(pick, slices.DeleteFunc(choices, func(c string) bool { return c != pick && takesTask(c) }))
			return fmt.Errorf("%w: %q", errNothing, pick)
		}
	case hasTask && !st.do(task): // the script may leave that out
		p.none(st)
		return nil
	default:
		return fmt.Errorf("%w: %q; there are %q", errNoSuchPart, pick, choices)
	}
	p.add(pick, choices)
	p.given++
	return nil
}

func (p *played) add(pick string, choices []string) {
	p.chosen, p.choices = append(p.chosen, pick), append(p.choices, choices)
}

// takesTask tells the parts that are none when no task waits.
func takesTask(part string) bool { return part == task || part == taskCrash || part == evictTask }

// none notes that there was no task. While the story waits there is not, again and again.
func (p *played) none(st *stage) {
	if st.last != wait {
		p.add(noTask, nil)
	}
}

func indent(s string) string { return "\t" + strings.ReplaceAll(s, "\n", "\n\t") }
