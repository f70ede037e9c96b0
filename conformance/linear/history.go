package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// span is one attempt: from just before the request left until the answer or the error was here, since the test began.
type span struct {
	From, To time.Duration
	Err      string
}

// operation is one call with all its attempts, which carry the same request ID or update ID, and what came of it.
type operation struct {
	Client   int
	Workflow string
	Call     call
	Repeat   bool // sent again, though it has an answer
	Pair     bool // half of an update-with-start
	Spans    []span
	Answer   answer
	Runs     []string // run IDs the answer names: the run's own, and the first of its chain
}

const never = time.Duration(math.MaxInt64)

func (o *operation) begun() time.Duration { return o.Spans[0].From }
func (o *operation) last() span           { return o.Spans[len(o.Spans)-1] }

// ended is when the client knew; never, if it does not know to this day.
func (o *operation) ended() time.Duration {
	if o.Answer.Result == unknown {
		return never
	}
	return o.last().To
}

// shows says whether the answer is a list with this item.
func (o *operation) shows(item int) bool { return list(o.Answer.Items).has(item) }

// creates says whether the call may have begun a chain.
func (o *operation) creates() bool {
	if o.Call.Kind != kindStart && o.Call.Kind != kindBoth {
		return false
	}
	return o.Answer.Result == unknown || o.Answer.Result == done && (!o.Answer.Told || o.Answer.Started)
}

func (o *operation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%9.4f ", o.begun().Seconds())
	if o.Answer.Result == unknown {
		b.WriteString("        …")
	} else {
		fmt.Fprintf(&b, "%9.4f", o.last().To.Seconds())
	}
	again := ""
	if o.Repeat {
		again = "again: "
	}
	fmt.Fprintf(&b, "  client %2d  %s%s → %s", o.Client, again, o.Call, o.Answer)
	for i, s := range o.Spans {
		if s.Err != "" {
			fmt.Fprintf(&b, "\n      attempt %d until %.4f: %s", i+1, s.To.Seconds(), s.Err)
		}
	}
	return b.String()
}

// save writes operations so that load can read them.
func save(name string, ops []*operation) error {
	text, err := json.Marshal(ops)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o600)
}

func load(name string) (ops []*operation, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return ops, json.Unmarshal(text, &ops)
}

// record is what clients noted. It lives in the process that nobody kills. Safe for concurrent use.
type record struct {
	mu         sync.Mutex
	operations []*operation
	chains     map[string]int // run ID → the chain it belongs to
	length     map[string]int // workflow ID → length of its list, as seen last
	surprises  map[string]int
}

func newRecord() *record {
	return &record{chains: map[string]int{}, length: map[string]int{}, surprises: map[string]int{}}
}

func (r *record) note(o *operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, o)
	if o.Answer.Items != "" && !o.Repeat {
		r.length[o.Workflow] = o.Answer.length()
	}
	chain := o.Answer.Chain
	if o.Answer.Told && o.Answer.Started {
		chain = o.Call.Chain
	}
	for _, id := range o.Runs {
		if chain != 0 {
			r.chains[id] = chain
		}
	}
}

func (r *record) surprise(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.surprises[what]++
}

// runs says how many chains, and how many runs of them, the answers have named.
func (r *record) runs() (chains, runs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	distinct := map[int]bool{}
	for _, chain := range r.chains {
		distinct[chain] = true
	}
	return len(distinct), len(r.chains)
}

func (r *record) lengthOf(workflow string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.length[workflow]
}

// byWorkflow returns the operations of each workflow ID in the order they began. Answers that only named a run tell their
// chain now, if the run has become known.
func (r *record) byWorkflow() map[string][]*operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string][]*operation{}
	for _, o := range r.operations {
		for _, id := range o.Runs {
			if o.Answer.Chain == 0 {
				o.Answer.Chain = r.chains[id]
			}
		}
		out[o.Workflow] = append(out[o.Workflow], o)
	}
	for _, ops := range out {
		slices.SortFunc(ops, func(a, b *operation) int { return int(a.begun() - b.begun()) })
	}
	return out
}

// history turns the operations of one workflow ID into what porcupine judges.
//
// A call counts once, however often it was sent. So it is one operation, from its first attempt to its answer; one whose answer
// is unknown never ends. If it counts once per chain, and another call may have begun a new chain between two attempts, the
// earlier ones may have had an effect of their own, and become operations of unknown effect.
//
// A call that is sent again after its answer is an operation by itself: the model knows that it counts no second time.
//
// A start that terminates what is there is two operations: whoever still waits for an answer of the old run may get it from the
// closed one, a moment before there is the new one.
//
// To find an order takes very long where many operations may happen at any time. So those are left out whose effect nobody saw,
// and those that somebody saw end by then, neither of which changes the verdict.
func history(ops []*operation) []porcupine.Operation {
	var out []porcupine.Operation
	add := func(o *operation, c call, a answer, from, to time.Duration) {
		out = append(out, porcupine.Operation{ClientId: o.Client, Input: c, Output: a, Call: int64(from), Return: int64(to)})
	}
	over := time.Duration(0) // when the last attempt had ended
	for _, o := range ops {
		over = max(over, o.last().To+1)
		seen := traceOf(ops, o)
		c := o.Call
		c.paired = o.Pair
		maybe := c
		if seen.clear {
			maybe.only = seen.chains
		}
		switch {
		case o.Answer.Result == void:
		case o.Answer.Result == unknown && (o.Call.Kind == kindRead || seen.none()):
		case o.Call.Kind == kindRead, o.Answer.Result == refused:
			add(o, c, o.Answer, o.last().From, o.ended())
		case o.Answer.Result == unknown:
			add(o, maybe, o.Answer, o.begun(), seen.first)
		default:
			add(o, c, o.Answer, o.begun(), o.ended())
		}
		if o.Call.Kind == kindRead {
			continue
		}
		others := chances(ops, o)
		if effect := o.Answer.Result == done || o.Answer.Result == unknown; effect && seen.once() || seen.none() {
			others = 0
		}
		for range others {
			add(o, maybe, answer{Result: unknown}, o.begun(), never)
		}
		if o.creates() && o.Call.Conflict == conflictTerminate {
			end := call{Kind: kindEnd, Chain: o.Call.Chain}
			for range others {
				add(o, end, answer{Result: unknown}, o.begun(), never)
			}
			add(o, end, o.Answer, o.begun(), o.ended())
		}
	}
	add(&operation{}, call{Kind: kindOver}, answer{}, over, never)
	return out
}

// trace is what answers show of the effect of an operation.
type trace struct {
	first  time.Duration // when another's answer first showed it; never, if none did
	chains map[int]bool  // the chains in which its item was shown
	clear  bool          // an append that these chains do not show has changed no answer
	begins bool          // it may also have begun a chain
	twice  bool          // one of the chains may have been begun twice
}

// none says that the effect, if there was any, changed nothing that anyone saw.
func (t trace) none() bool { return t.clear && !t.begins && t.first == never }

// once says that so it is with all effects but one, which may as well be that of the attempt that was answered.
func (t trace) once() bool { return t.clear && !t.begins && !t.twice && len(t.chains) < 2 }

func traceOf(ops []*operation, o *operation) trace {
	t := trace{first: never, chains: map[int]bool{}, clear: o.Call.Item != 0 && !o.Repeat, begins: o.Call.Chain != 0}
	signals := o.Call.Kind == kindSignal || o.Call.Kind == kindBoth
	for _, other := range ops {
		item := o.Call.Item != 0 && other.shows(o.Call.Item)
		if item {
			t.chains[other.Answer.Chain] = true
		}
		if (item || o.Call.Chain != 0 && other.Answer.Chain == o.Call.Chain) && other != o && !o.Repeat {
			t.first = min(t.first, other.last().To)
		}
		if signals && other.Answer.Waiting > 0 && other.last().To >= o.begun() {
			t.clear = false // a rejection counts signals that it does not show
		}
	}
	for chain := range t.chains {
		t.twice = t.twice || begunTwice(ops, chain)
	}
	return t
}

// begunTwice says whether a chain may have been begun more than once, by repeated starts with another chain in between.
func begunTwice(ops []*operation, chain int) bool {
	return once == perChain && slices.ContainsFunc(ops, func(o *operation) bool { return o.Call.Chain == chain && (o.Repeat || len(o.Spans) > 1) })
}

// chances counts the effects of their own that attempts before the last may have had: one in each chain that others have begun
// meanwhile, or that the call itself has begun, which sends a message to what is there or else begins a chain for it. If a
// call counts once per workflow ID, there is none, but for an update with a start: see register.repeats.
func chances(ops []*operation, o *operation) int {
	if once == perWorkflow {
		if o.Pair && o.Call.Kind == kindAppend && !o.Repeat {
			return len(o.Spans) - 1
		}
		return 0
	}
	begun := 0
	for _, other := range ops {
		if other != o && other.creates() && other.begun() <= o.last().To && other.ended() >= o.begun() {
			begun++
		}
	}
	if o.Pair || o.Call.Kind == kindBoth {
		begun = len(o.Spans)
	}
	return min(len(o.Spans)-1, begun)
}

// cut is the history as it was known at a moment: nothing that began later, and no answer that came later.
func cut(ops []*operation, at time.Duration) []*operation {
	var out []*operation
	for _, o := range ops {
		if o.begun() > at {
			continue
		}
		if o.Answer.Result != unknown && o.last().To > at {
			early := *o
			early.Answer = answer{Result: unknown}
			o = &early
		}
		out = append(out, o)
	}
	return out
}
