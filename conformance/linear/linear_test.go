package main

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// at makes an operation on one workflow, of one attempt between two moments.
func at(from, to int, c call, a answer) *operation {
	return &operation{Call: c, Answer: a, Spans: []span{{From: time.Duration(from), To: time.Duration(to)}}}
}

// resent adds an earlier attempt to an operation.
func resent(from, to int, o *operation) *operation {
	o.Spans = append([]span{{From: time.Duration(from), To: time.Duration(to), Err: "lost"}}, o.Spans...)
	return o
}

var (
	startFresh = call{Kind: kindStart, Chain: 1, Conflict: conflictFail, Reuse: reuseAllow}
	began      = answer{Result: done, Told: true, Started: true, Chain: 1}
	wasThere   = answer{Result: done, Told: true}
	ok         = answer{Result: done}
	no         = answer{Result: refused}
	lostAnswer = answer{Result: unknown}
)

var (
	replace = call{Kind: kindStart, Chain: 2, Conflict: conflictTerminate, Reuse: reuseAllow}
	started = answer{Result: done, Told: true, Started: true}
)

// twoChains is a signal whose attempts count in a chain each.
func twoChains() []*operation {
	return []*operation{at(1, 2, startFresh, began),
		resent(3, 4, at(30, 31, signal(7), ok)), at(6, 7, read(), shows(1, 7)),
		at(8, 9, replace, started), at(32, 33, read(), shows(2, 7))}
}

func signal(item int) call { return call{Kind: kindSignal, Item: item} }
func put1(item int) call   { return call{Kind: kindAppend, Item: item} }
func read() call           { return call{Kind: kindRead} }
func shows(chain int, items ...int) answer {
	return answer{Result: done, Chain: chain, Items: string(listOf(items))}
}

// repeat makes an operation one that is sent again after its answer.
func repeat(o *operation) *operation {
	o.Repeat = true
	return o
}

// paired makes an update one that came with a start.
func paired(o *operation) *operation {
	o.Pair = true
	return o
}

// eachScope runs a test with calls that count once per workflow ID, and per chain.
func eachScope(t *testing.T, test func(t *testing.T)) {
	t.Cleanup(func() { once = perWorkflow })
	for _, s := range []scope{perWorkflow, perChain} {
		once = s
		t.Run("once per "+string(s), test)
	}
}

func TestModelTellsRightFromWrong(t *testing.T) {
	begin := at(1, 2, startFresh, began)
	ended := at(20, 21, call{Kind: kindTerminate}, ok)
	next := call{Kind: kindStart, Chain: 2, Conflict: conflictUse, Reuse: reuseAllow}
	third := call{Kind: kindStart, Chain: 3, Conflict: conflictFail, Reuse: reuseAllow}
	both := call{Kind: kindBoth, Chain: 5, Item: 7, Conflict: conflictUse, Reuse: reuseAllow}
	pairStart := call{Kind: kindStart, Chain: 1, With: 7, Conflict: conflictFail, Reuse: reuseAllow}
	for name, tc := range map[string]struct {
		right bool
		ops   []*operation
	}{
		"a signal that was acknowledged is seen": {true, []*operation{begin, at(3, 4, signal(7), ok), at(5, 6, read(), shows(1, 7))}},
		"a signal that was acknowledged is lost": {false, []*operation{begin, at(3, 4, signal(7), ok), at(5, 6, read(), shows(1))}},
		"a signal under way may be seen or not": {true, []*operation{begin, at(3, 9, signal(7), ok),
			at(4, 5, read(), shows(1)), at(6, 7, read(), shows(1, 7))}},
		"what was seen stays": {false, []*operation{begin, at(3, 9, signal(7), ok),
			at(4, 5, read(), shows(1, 7)), at(6, 7, read(), shows(1))}},
		"a signal that got no answer may come late": {true, []*operation{begin, at(3, 4, signal(7), lostAnswer),
			at(5, 6, read(), shows(1)), at(7, 8, read(), shows(1, 7))}},
		"a refused signal does not come":     {false, []*operation{begin, at(3, 4, signal(7), no), at(5, 6, read(), shows(1, 7))}},
		"an open workflow refuses no signal": {false, []*operation{begin, at(3, 4, signal(7), no), at(5, 6, read(), shows(1))}},
		"nobody sent what is seen":           {false, []*operation{begin, at(5, 6, read(), shows(1, 7))}},
		"an item counts once, however often it was sent": {true, []*operation{begin,
			resent(3, 4, at(6, 7, signal(7), ok)), at(8, 9, read(), shows(1, 7))}},
		"an item that was sent twice counts twice": {false, []*operation{begin,
			resent(3, 4, at(6, 7, signal(7), ok)), at(8, 9, read(), shows(1, 7, 7))}},
		"a repeated update answers as before": {true, []*operation{begin, at(3, 4, put1(7), shows(1, 7)), at(5, 6, signal(8), ok),
			{Call: put1(7), Repeat: true, Answer: shows(1, 7), Spans: at(7, 8, call{}, ok).Spans}}},
		"a repeated update answers anew": {false, []*operation{begin, at(3, 4, put1(7), shows(1, 7)), at(5, 6, signal(8), ok),
			{Call: put1(7), Repeat: true, Answer: shows(1, 7, 8, 7), Spans: at(7, 8, call{}, ok).Spans}}},
		"a swap of another length is rejected": {true, []*operation{begin, at(3, 4, signal(7), ok),
			at(5, 6, call{Kind: kindSwap, Item: 8, Expect: 0}, answer{Result: rejected, Chain: 1, Waiting: 1})}},
		"a swap of the right length is rejected": {false, []*operation{begin, at(3, 4, signal(7), ok),
			at(5, 6, call{Kind: kindSwap, Item: 8, Expect: 1}, answer{Result: rejected, Chain: 1, Items: "7 "})}},
		"a rejection misses a signal": {false, []*operation{begin, at(3, 4, signal(7), ok),
			at(5, 6, call{Kind: kindSwap, Item: 8, Expect: 3}, answer{Result: rejected, Chain: 1})}},
		"an open workflow is started":        {false, []*operation{begin, at(3, 4, next, answer{Result: done, Told: true, Started: true})}},
		"an open workflow is used":           {true, []*operation{begin, at(3, 4, next, wasThere)}},
		"a closed workflow is used":          {false, []*operation{begin, ended, at(23, 24, next, wasThere)}},
		"a start is refused without a cause": {false, []*operation{begin, ended, at(23, 24, next, no)}},
		"what is there is replaced": {true, []*operation{begin, at(3, 4, signal(7), ok),
			at(5, 6, replace, answer{Result: done, Told: true, Started: true}), at(7, 8, read(), shows(2))}},
		"what was replaced comes back": {false, []*operation{begin, at(3, 4, signal(7), ok),
			at(5, 6, replace, answer{Result: done, Told: true, Started: true}), at(7, 8, read(), shows(2)), at(9, 10, read(), shows(1, 7))}},
		"a terminated workflow has not seen its last signals": {true, []*operation{begin, at(3, 4, signal(7), ok), ended,
			at(30, 31, read(), shows(1))}},
		"a terminated workflow forgets what its code has seen": {false, []*operation{begin, at(3, 4, signal(7), ok),
			at(5, 6, read(), shows(1, 7)), ended, at(30, 31, read(), shows(1))}},
		"an attempt counts in one chain, the next in another": {false, twoChains()},
		"a signal is acknowledged again, and has no effect on the next chain": {true, []*operation{begin, at(3, 4, signal(7), ok),
			at(8, 9, replace, started), repeat(at(30, 31, signal(7), ok)), at(32, 33, read(), shows(2))}},
		"a signal that is sent again counts in the next chain": {false, []*operation{begin, at(3, 4, signal(7), ok),
			at(8, 9, replace, started), repeat(at(30, 31, signal(7), ok)), at(32, 33, read(), shows(2, 7))}},
		"a signal that has counted is refused when the next chain is closed": {false, []*operation{begin, at(3, 4, signal(7), ok),
			at(8, 9, replace, started), ended, repeat(at(30, 31, signal(7), no))}},
		"an update of the chain before answers as then": {true, []*operation{begin, at(3, 4, put1(7), shows(1, 7)),
			at(8, 9, replace, started), repeat(at(30, 31, put1(7), shows(1, 7))), at(32, 33, read(), shows(2))}},
		"an update of the chain before answers so from the next": {false, []*operation{begin, at(3, 4, put1(7), shows(1, 7)),
			at(8, 9, replace, started), repeat(at(30, 31, put1(7), shows(2, 7)))}},
		"a finish whose answer was lost answers from the chain before": {true, []*operation{begin,
			resent(3, 4, at(30, 31, call{Kind: kindFinish}, shows(1))), at(5, 6, next, started), at(32, 33, signal(7), ok)}},
		"a start of the chain before says so again": {true, []*operation{begin, at(8, 9, replace, started),
			repeat(at(30, 31, startFresh, began)), at(32, 33, read(), shows(2))}},
		"a start of the chain before starts it again": {false, []*operation{begin, at(8, 9, replace, started),
			ended, repeat(at(30, 31, startFresh, began)), at(32, 33, read(), shows(1))}},
		"a start of the chain before is refused": {false, []*operation{begin, at(8, 9, replace, started), repeat(at(30, 31, startFresh, no))}},
		"a repeated start that terminates ends nothing": {false, []*operation{begin, at(8, 9, replace, started),
			ended, at(22, 23, third, answer{Result: done, Told: true, Started: true, Chain: 3}), repeat(at(30, 31, replace, started)), at(32, 33, signal(7), no)}},
		"a signal-with-start is acknowledged again by a closed workflow": {true, []*operation{begin, at(3, 4, both, wasThere),
			ended, repeat(at(30, 31, both, answer{Result: done, Told: true, Chain: 1})), at(32, 33, read(), shows(1, 7))}},
		"a signal-with-start is sent again and starts": {false, []*operation{begin, at(3, 4, both, wasThere),
			ended, repeat(at(30, 31, both, started))}},
		"an update-with-start of the chain before answers as then": {true, []*operation{
			at(1, 2, pairStart, began), paired(at(1, 2, put1(7), shows(1, 7))), at(8, 9, replace, started),
			repeat(at(30, 31, pairStart, answer{Result: done, Chain: 1})), repeat(paired(at(30, 31, put1(7), shows(1, 7)))), at(32, 33, read(), shows(2))}},
		"an update-with-start, accepted by a workflow that was terminated, counts in the next": {true, []*operation{begin,
			resent(3, 4, at(30, 31, call{Kind: kindStart, Chain: 4, With: 7, Conflict: conflictUse, Reuse: reuseAllow}, answer{Result: done, Chain: 4})),
			resent(3, 4, paired(at(30, 31, put1(7), shows(4, 7)))), at(5, 6, read(), shows(1, 7)), ended}},
		"an update, accepted by a workflow that was terminated, counts in the next": {false, []*operation{begin,
			resent(3, 4, at(30, 31, put1(7), shows(2, 7))), at(5, 6, read(), shows(1, 7)), ended, at(22, 23, next, started)}},
		"a start that got no answer is found by its repetition": {true, []*operation{
			resent(1, 2, at(9, 10, startFresh, began)), at(3, 4, signal(7), ok), at(11, 12, read(), shows(1, 7))}},
		"a start happens twice": {false, []*operation{
			resent(1, 2, at(9, 10, startFresh, answer{Result: refused})), at(3, 4, signal(7), ok), at(11, 12, read(), shows(1, 7))}},
	} {
		t.Run(name, func(t *testing.T) {
			want := porcupine.Illegal
			if tc.right {
				want = porcupine.Ok
			}
			if got := check(tc.ops); got != want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestOncePerChainACallMayCountInTwo(t *testing.T) {
	t.Cleanup(func() { once = perWorkflow })
	once = perChain
	if got := check(twoChains()); got != porcupine.Ok {
		t.Errorf("got %s", got)
	}
}

// world is a server and its clients, in one goroutine: calls take effect between request and answer, or are lost on the way
// there or back, and are sent again.
type world struct {
	rng   *rand.Rand
	state register
	now   time.Duration
	ops   []*operation
	old   []call // acknowledged, to be sent again
	next  int
	ends  map[*operation]answer // of a finish that has finished the chain that is there
}

// flight is one attempt under way.
type flight struct {
	o       *operation
	effect  time.Duration // never: the request is lost
	arrival time.Duration
	lost    bool // the answer is
	answer  answer
}

func (w *world) number() int { w.next++; return w.next }

func (w *world) draw() call {
	c := call{Chain: 0, Item: w.number()}
	switch w.rng.IntN(12) {
	case 0, 1:
		c = call{Kind: kindStart, Chain: w.number()}
	case 2:
		c.Kind, c.Chain = kindBoth, w.number()
	case 3, 4, 5:
		c.Kind = kindSignal
	case 6, 7:
		c.Kind = kindAppend
	case 8:
		c.Kind, c.Expect = kindSwap, w.rng.IntN(3)
	case 9:
		c = call{Kind: []kind{kindFinish, kindTerminate}[w.rng.IntN(2)]}
	default:
		c = call{Kind: kindRead}
	}
	c.Conflict = []conflict{conflictFail, conflictUse, conflictUse, conflictTerminate}[w.rng.IntN(4)]
	if c.Kind == kindBoth && c.Conflict == conflictFail {
		c.Conflict = conflictUse
	}
	c.Reuse = []reuse{reuseAllow, reuseAllow, reuseFailedOnly}[w.rng.IntN(3)]
	return c
}

// serve is what the server does with a request that has arrived.
func (w *world) serve(o *operation) answer {
	c := o.Call
	if before := w.ends[o]; c.Kind == kindFinish && before.Chain != 0 && (once == perWorkflow || before.Chain == w.state.Chain) {
		return before
	}
	switch c.Kind {
	case kindRead:
		if w.state.life == absent {
			return no
		}
		shown := w.state.list
		if w.state.life == terminated { // the code may have missed what it had not seen yet
			items := shown.items()
			shown = listOf(items[:w.state.seen+w.rng.IntN(len(items)-w.state.seen+1)])
		} else {
			w.state = w.state.all()
		}
		return answer{Result: done, Chain: w.state.Chain, Items: string(shown)}
	case kindStart, kindBoth:
		next, at, started, fine := w.state.begin(c, answer{})
		if !fine {
			return no
		}
		w.state = next.putWithStart(c)
		return answer{Result: done, Told: true, Started: started, Chain: at}
	}
	if took, counted := w.state.taker(c.Item); counted { // as it was answered before
		items := took.list.items()
		for i, item := range items {
			if item == c.Item && c.Kind != kindSignal {
				return answer{Result: done, Chain: took.Chain, Items: string(listOf(items[:i+1]))}
			}
		}
		return ok
	}
	if w.state.life != open {
		return no
	}
	next, fine := w.state.effect(c)
	if !fine {
		return answer{Result: rejected, Chain: w.state.Chain, Items: string(w.state.list)}
	}
	w.state = next
	if c.Kind == kindSignal || c.Kind == kindTerminate {
		return ok
	}
	a := answer{Result: done, Chain: next.Chain, Items: string(next.list)}
	if c.Kind == kindFinish {
		w.ends[o] = a
	}
	return a
}

func (w *world) send(o *operation) *flight {
	w.now++
	o.Spans = append(o.Spans, span{From: w.now})
	f := &flight{o: o, effect: w.now + time.Duration(w.rng.IntN(6)), lost: w.rng.IntN(12) == 0}
	f.arrival = f.effect + time.Duration(w.rng.IntN(6)) + 1
	if f.lost && w.rng.IntN(3) == 0 {
		f.effect = never
	}
	return f
}

// land ends an attempt; it returns the next one, or nil when its client is done.
func (w *world) land(f *flight) *flight {
	last := &f.o.Spans[len(f.o.Spans)-1]
	w.now++
	last.To, f.o.Answer = w.now, f.answer
	if !f.lost {
		if k := f.o.Call.Kind; f.answer.Result == done && k != kindRead && k != kindFinish && k != kindTerminate && w.rng.IntN(6) == 0 {
			w.old = append(w.old, f.o.Call)
		}
		return nil
	}
	last.Err, f.o.Answer = "lost", lostAnswer
	if f.o.Call.Kind != kindTerminate && w.rng.IntN(3) > 0 {
		return w.send(f.o)
	}
	return nil
}

// play goes on until n calls are done.
func (w *world) play(n, clients int) {
	w.state = newRegister(once)
	flights := make([]*flight, clients)
	for busy := true; busy; {
		busy = false
		w.now++
		for i, f := range flights {
			switch {
			case f == nil && len(w.ops) < n:
				o := &operation{Client: i, Call: w.draw()}
				if len(w.old) > 0 && w.rng.IntN(3) == 0 {
					o.Call, o.Repeat, w.old = w.old[0], true, w.old[1:]
				}
				w.ops = append(w.ops, o)
				flights[i] = w.send(o)
			case f == nil:
				continue
			case f.effect <= w.now:
				f.answer, f.effect = w.serve(f.o), never
			case f.effect == never && f.arrival <= w.now:
				flights[i] = w.land(f)
			}
			busy = true
		}
	}
}

func played(seed uint64, n, clients int) ([]*operation, *rand.Rand) {
	w := &world{ends: map[*operation]answer{}, rng: rand.New(rand.NewPCG(seed, 0))}
	w.play(n, clients)
	return w.ops, w.rng
}

func TestAServerThatDoesRightIsNeverBlamed(t *testing.T) { eachScope(t, doesRight) }

func doesRight(t *testing.T) {
	for seed := range uint64(300) {
		if ops, _ := played(seed, 60, 4); check(ops) != porcupine.Ok {
			t.Fatalf("seed %d: %s; first %s", seed, check(ops), culprit(ops))
		}
	}
}

func TestEachFaultIsFound(t *testing.T) { eachScope(t, findsFaults) }

func findsFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			results := map[porcupine.CheckResult]int{}
			for seed := range uint64(120) {
				ops, rng := played(seed, 50, 4)
				_, changed := f.into(rng, map[string][]*operation{"w": ops})
				if changed == nil {
					continue
				}
				result := porcupine.CheckOperationsTimeout(model, history(changed), time.Second)
				if results[result]++; result == porcupine.Ok {
					t.Fatalf("seed %d: not found", seed)
				}
			}
			if results[porcupine.Illegal] < 10 {
				t.Errorf("too few were found: %v", results)
			}
		})
	}
}

// plain is a history without any of the reductions: each call without an answer, and each attempt but the last if calls count
// once per chain, may have its effect at any time.
func plain(ops []*operation) []porcupine.Operation {
	var out []porcupine.Operation
	add := func(c call, a answer, from, to time.Duration) {
		out = append(out, porcupine.Operation{Input: c, Output: a, Call: int64(from), Return: int64(to)})
	}
	for _, o := range ops {
		if o.Call.Kind == kindRead && o.Answer.Result == unknown {
			continue
		}
		from := o.begun()
		if o.Call.Kind == kindRead || o.Answer.Result == refused {
			from = o.last().From
		}
		add(o.Call, o.Answer, from, o.ended())
		earlier := len(o.Spans) - 1
		if once == perWorkflow {
			earlier = 0
		}
		for range earlier {
			if o.Call.Kind != kindRead {
				add(o.Call, lostAnswer, o.begun(), never)
			}
		}
		if o.creates() && o.Call.Conflict == conflictTerminate {
			until := o.ended()
			if earlier > 0 {
				until = never
			}
			for range earlier + 1 {
				add(call{Kind: kindEnd, Chain: o.Call.Chain}, lostAnswer, o.begun(), until)
			}
		}
	}
	return out
}

// The shortcuts that make the search short must not change what it finds.
func TestReductionsChangeNoVerdict(t *testing.T) { eachScope(t, reductionsAreRight) }

func reductionsAreRight(t *testing.T) {
	slow := model
	slow.Step = func(state, input, output any) (bool, any) {
		return state.(register).stepAny(input.(call), output.(answer))
	}
	verdicts := map[porcupine.CheckResult]int{}
	for seed := range uint64(3000) {
		ops, rng := played(seed, 9, 3)
		for range rng.IntN(3) { // answers that may be wrong
			a, b := ops[rng.IntN(len(ops))], ops[rng.IntN(len(ops))]
			if a.Call.Kind == b.Call.Kind {
				a.Answer, b.Answer = b.Answer, a.Answer
			}
		}
		want := porcupine.CheckOperationsTimeout(slow, plain(ops), time.Minute)
		if got := check(ops); got != want {
			text := ""
			for _, o := range ops {
				text += o.String() + "\n"
			}
			t.Fatalf("seed %d: %s, but %s without reductions\n%s", seed, got, want, text)
		}
		verdicts[want]++
	}
	if verdicts[porcupine.Illegal] < 100 || verdicts[porcupine.Ok] < 100 {
		t.Errorf("too few of one kind: %v", verdicts)
	}
}

func TestCulpritIsTheFirstAnswerThatIsWrong(t *testing.T) {
	ops := []*operation{at(1, 2, startFresh, began), at(3, 4, signal(7), ok), at(5, 6, read(), shows(1)), at(7, 8, read(), shows(1))}
	if got := culprit(ops); got != ops[2] {
		t.Errorf("got %s", got)
	}
}

func TestNotesCanBeReadAgain(t *testing.T) {
	ops, _ := played(1, 30, 3)
	name := filepath.Join(t.TempDir(), "notes.json")
	if err := save(name, ops); err != nil {
		t.Fatal(err)
	}
	again, err := load(name)
	if err != nil || !reflect.DeepEqual(ops, again) {
		t.Errorf("got %v, %v", again, err)
	}
}

func TestErrorsTellWhetherACallMayHaveHappened(t *testing.T) {
	type told struct {
		result  result
		verdict verdict
	}
	failure := func(kind string) error {
		return &updateError{&failurepb.Failure{FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
			ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: kind, Details: payloads(mismatch{Chain: 1, Items: []int{7}})}}}}
	}
	surprises := 0
	for _, tc := range []struct {
		kind     kind
		err      error
		want     told
		surprise bool
	}{
		{kindSignal, status.Error(codes.Unavailable, ""), told{unknown, again}, false},
		{kindSignal, status.Error(codes.DeadlineExceeded, ""), told{unknown, again}, false},
		{kindSignal, status.Error(codes.NotFound, "workflow execution already completed"), told{refused, settled}, false},
		{kindStart, status.Error(codes.AlreadyExists, ""), told{refused, settled}, false},
		{kindSignal, status.Error(codes.Internal, ""), told{unknown, again}, true},
		{kindAppend, status.Error(codes.NotFound, "workflow update was aborted by closing workflow"), told{void, settled}, false},
		{kindRead, status.Error(codes.FailedPrecondition, "Workflow execution closed before"), told{void, settled}, false},
		{kindSwap, failure(errMismatch), told{rejected, settled}, false},
		{kindAppend, failure(errLeaving), told{unknown, again}, false},
		{kindFinish, failure(errTooLate), told{void, settled}, false},
		{kindAppend, failure("AcceptedUpdateCompletedWorkflow"), told{unknown, lost}, false},
	} {
		c := &client{record: newRecord()}
		a, v := c.judge(&operation{Call: call{Kind: tc.kind}}, tc.err)
		if got := (told{a.Result, v}); got != tc.want {
			t.Errorf("%s: %v: got %v, want %v", tc.kind, tc.err, got, tc.want)
		}
		if got := len(c.record.surprises) > 0; got != tc.surprise {
			t.Errorf("%v: surprise %t", tc.err, got)
		}
		surprises += len(c.record.surprises)
	}
	if surprises != 1 {
		t.Errorf("%d surprises", surprises)
	}
}

func TestAnUpdateWithStartWhoseChainIsOverIsNotSentAgain(t *testing.T) {
	over := serviceerror.NewNotFound("workflow execution already completed")
	aborted := serviceerror.NewMultiOperationAborted("aborted")
	for _, tc := range []struct {
		start, update error
		want          bool
	}{
		{nil, over, true},
		{aborted, over, false},
		{nil, serviceerror.NewNotFound("workflow update was aborted by closing workflow"), false},
	} {
		err := serviceerror.ToStatus(serviceerror.NewMultiOperationExecution("both", []error{tc.start, tc.update})).Err()
		if got := chainIsOver(err); got != tc.want {
			t.Errorf("%v, %v: got %t", tc.start, tc.update, got)
		}
	}
	if chainIsOver(over) {
		t.Error("a single error is taken for two")
	}
}
