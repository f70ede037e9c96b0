package main

import (
	"fmt"
	"hash/maphash"
	"iter"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// kind is what a client asks for.
type kind string

const (
	kindStart     kind = "start"
	kindSignal    kind = "signal"    // appends
	kindBoth      kind = "sig+start" // signal-with-start
	kindAppend    kind = "append"    // an update that appends and answers with the list
	kindSwap      kind = "swap"      // an update that appends if the list has the expected length, and is rejected otherwise
	kindFinish    kind = "finish"    // an update that makes the workflow complete
	kindRead      kind = "read"      // a query
	kindTerminate kind = "terminate"
	kindEnd       kind = "end"  // the half of a start with conflictTerminate that ends the run which is there
	kindOver      kind = "over" // behind it, what has not happened never will
)

// conflict and reuse are the policies of a start.
type conflict string
type reuse string

const (
	conflictFail      conflict = "fail"
	conflictUse       conflict = "use-existing"
	conflictTerminate conflict = "terminate-existing"

	reuseAllow      reuse = "allow"
	reuseFailedOnly reuse = "failed-only"
	reuseReject     reuse = "reject"
)

// call is one request as its client means it, however often it was sent.
type call struct {
	Kind     kind
	Chain    int // the chain that a start would begin, by the number its input carries
	Item     int // what it appends; each call has an item of its own
	With     int // the item of the update that a start comes with: where that has counted, there is nothing to start
	Expect   int // length of the list, of a swap
	Conflict conflict
	Reuse    reuse

	only   map[int]bool // chains that may have got the item, if the result is unknown; nil: all
	paired bool         // an update that came with a start
}

// result says what a client knows of the effect of a call.
type result string

const (
	done     result = "ok"       // it happened, once
	refused  result = "refused"  // it did not happen, because the workflow is in no state for it
	rejected result = "rejected" // it did not happen: a validator saw another length
	unknown  result = "unknown"  // it may have happened, or may still, or never will
	void     result = "void"     // it did not happen, for a reason that tells nothing about the register
)

// answer is what a client got. A chain of 0 means that the answer does not tell; so does told false.
type answer struct {
	Result  result
	Chain   int
	Items   string // as list.String
	Waiting int    // signals that came on top of the items, of a rejection
	Told    bool   // started is known
	Started bool
}

// length is that of the list when the answer was made.
func (a answer) length() int { return list(a.Items).length() + a.Waiting }

// list is the items of a workflow: numbers with a blank after each, so that it can be compared and cut as text.
type list string

func listOf(items []int) list {
	var b strings.Builder
	for _, n := range items {
		b.WriteString(strconv.Itoa(n))
		b.WriteByte(' ')
	}
	return list(b.String())
}

func (l list) with(item int) list { return l + list(strconv.Itoa(item)) + " " }
func (l list) length() int        { return strings.Count(string(l), " ") }

func (l list) items() []int {
	var out []int
	for _, word := range strings.Fields(string(l)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			panic(err) // only listOf and with make lists
		}
		out = append(out, n)
	}
	return out
}

func (l list) has(item int) bool {
	word := strconv.Itoa(item) + " "
	return strings.HasPrefix(string(l), word) || strings.Contains(string(l), " "+word)
}

// life is how far a workflow ID has come.
type life string

const (
	absent     life = "absent"
	open       life = "open"
	completed  life = "completed"
	terminated life = "terminated"
)

// scope is within what a request counts once, however often it is sent.
type scope string

const (
	perWorkflow scope = "workflow" // a workflow ID
	perChain    scope = "chain"    // a chain of runs
)

// once is set before anything is judged.
var once = perWorkflow

// register is what one workflow ID must behave like: a list that belongs to the chain of runs begun last. Continue-as-new
// does not show in it. A request counts once, however often it is sent, and since items differ, the lists themselves tell
// whether it has counted. What has counted in a chain that another has replaced is answered from there, and changes nothing.
//
// A terminated workflow may show less than it was sent, since its code did not come to see the last signals: seen is the length
// of the list when the code has certainly seen all of it.
type register struct {
	life  life
	Chain int
	list  list
	seen  int
	over  bool
	past  past // empty, if a request counts once per chain
	once  scope
}

func newRegister(once scope) register { return register{life: absent, once: once} }

// past is the chains that others have replaced, the newest first: lines of number, life and list.
type past string

func (p past) with(r register) past {
	return past(fmt.Sprintf("%d %s %s\n", r.Chain, r.life, r.list)) + p
}

func (p past) chains() iter.Seq[register] {
	return func(yield func(register) bool) {
		for line := range strings.Lines(string(p)) {
			number, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			state, items, _ := strings.Cut(rest, " ")
			chain, err := strconv.Atoi(number)
			if err != nil {
				panic(err) // only with makes lines
			}
			if !yield(register{Chain: chain, life: life(state), list: list(items)}) {
				return
			}
		}
	}
}

// taker is the chain in which an item has counted.
func (r register) taker(item int) (took register, known bool) {
	if r.list.has(item) {
		return r, true
	}
	if !strings.Contains(string(r.past), fmt.Sprintf(" %d ", item)) { // as mostly
		return register{}, false
	}
	for old := range r.past.chains() {
		if old.list.has(item) {
			return old, true
		}
	}
	return register{}, false
}

// knows says whether a chain was begun, by the number of the call that did.
func (r register) knows(chain int) bool {
	return r.life != absent && r.Chain == chain || strings.Contains("\n"+string(r.past), fmt.Sprintf("\n%d ", chain))
}

// fresh is what a start begins.
func (r register) fresh(chain int) register {
	next := register{life: open, Chain: chain, once: r.once}
	if r.once == perWorkflow && r.life != absent {
		next.past = r.past.with(r)
	}
	return next
}

// repeats says whether the item of a call has counted. One exception: an update that came with a start, and was accepted but not
// completed when its run was terminated, may count in another chain too. The answer tells.
func (r register) repeats(item int, paired bool, a answer) (took register, known bool) {
	took, known = r.taker(item)
	if known && paired && r.once == perWorkflow && took.life == terminated && a.Chain != took.Chain {
		return register{}, false
	}
	return took, known
}

// begin is what a start does, and at is the chain it answers with. Nothing changes when the start is a repeated one, when it
// uses what is there, and when it is refused. The answer tells what can not be known otherwise: see repeats.
func (r register) begin(c call, a answer) (next register, at int, started, ok bool) {
	fresh := r.fresh(c.Chain)
	took, counted := r.repeats(c.With, true, a)
	if r.once == perWorkflow && c.Kind == kindBoth {
		took, counted = r.taker(c.Item)
	}
	switch {
	case r.starts(c):
		return r, c.Chain, true, true
	case counted:
		return r, took.Chain, false, true
	case r.life == absent:
		return fresh, c.Chain, true, true
	case r.life == open:
		switch c.Conflict {
		case conflictTerminate:
			return fresh, c.Chain, true, true
		case conflictUse:
			return r, r.Chain, false, true
		}
		return r, r.Chain, false, false
	case c.Reuse == reuseAllow, c.Reuse == reuseFailedOnly && r.life == terminated:
		return fresh, c.Chain, true, true
	}
	return r, r.Chain, false, false
}

func (r register) put(item int) register {
	r.list = r.list.with(item)
	return r
}

// starts says whether a start is repeated, and so begins nothing: its chain was begun. An update-with-start that counts once per
// chain starts anew what has ended without its update.
func (r register) starts(c call) bool {
	if r.once == perWorkflow {
		return r.knows(c.Chain)
	}
	return r.Chain == c.Chain && (r.life == open || c.With == 0)
}

// step says whether a call can have this answer when the register is r, and what the register is afterwards. A call of unknown
// result must have an effect here, or come when all is over: to let it happen without one, anywhere, would change nothing but
// the number of orders to be tried.
func (r register) step(c call, a answer) (bool, register) {
	if a.Result != unknown {
		return r.stepAny(c, a)
	}
	if r.over {
		return true, r
	}
	_, next := r.stepAny(c, a)
	elsewhere := c.only != nil && !c.only[r.Chain] && next.Chain == r.Chain
	return next != r && !elsewhere, next
}

func (r register) stepAny(c call, a answer) (bool, register) {
	switch c.Kind {
	case kindStart, kindBoth:
		return r.stepStart(c, a)
	case kindRead:
		return r.stepRead(a)
	case kindEnd:
		if r.life == open && r.Chain != c.Chain && !r.knows(c.Chain) {
			r.life = terminated
		}
		return true, r
	case kindOver:
		r.over = true
		return true, r
	}
	took, repeated := r.repeats(c.Item, c.paired, a)
	switch {
	case repeated: // it is acknowledged again, even when the workflow is closed or another chain
		return a.Result == unknown || a.Result == done && took.explainsAgain(c, a), r
	case a.Result == refused:
		return r.life != open, r
	case a.Result == rejected:
		return r.life == open && a.Chain == r.Chain && a.length() == r.list.length() && a.length() != c.Expect &&
			strings.HasPrefix(string(r.list), a.Items), r
	}
	next, ok := r.effect(c)
	return a.Result == unknown || ok && next.explains(c, a), next
}

// effect is what an accepted call does that has not counted yet.
func (r register) effect(c call) (next register, ok bool) {
	if r.life != open {
		return r, false
	}
	switch c.Kind {
	case kindTerminate:
		r.life = terminated
	case kindFinish:
		r.life = completed
	case kindSwap:
		if r.list.length() != c.Expect {
			return r, false
		}
		return r.put(c.Item).all(), true
	case kindAppend:
		return r.put(c.Item).all(), true
	default:
		return r.put(c.Item), true
	}
	return r, true
}

// all says that the code has seen all there is.
func (r register) all() register {
	r.seen = r.list.length()
	return r
}

// explains says whether a call that left r answers so. An update answers with the list as it left it.
func (r register) explains(c call, a answer) bool {
	return c.silent() || a.Chain == r.Chain && list(a.Items) == r.list
}

// explainsAgain says whether a call that has counted in r answers so when it is repeated: an update with what it answered the
// first time.
func (r register) explainsAgain(c call, a answer) bool {
	return c.silent() || a.Chain == r.Chain &&
		strings.HasPrefix(string(r.list), a.Items) && strings.HasSuffix(" "+a.Items, fmt.Sprintf(" %d ", c.Item))
}

// silent says that the answer to a call shows nothing of the register.
func (c call) silent() bool { return c.Kind == kindSignal || c.Kind == kindTerminate }

func (r register) stepStart(c call, a answer) (bool, register) {
	next, at, started, ok := r.begin(c, a)
	if a.Result == refused {
		return !ok && (a.Chain == 0 || a.Chain == r.Chain), r
	}
	if ok {
		next = next.putWithStart(c)
	}
	if a.Result == unknown {
		return true, next
	}
	return ok && (!a.Told || a.Started == started) && (a.Chain == 0 || a.Chain == at), next
}

// putWithStart appends what a signal-with-start brings, unless it has counted.
func (r register) putWithStart(c call) register {
	if _, counted := r.taker(c.Item); c.Kind == kindBoth && r.life == open && !counted {
		return r.put(c.Item)
	}
	return r
}

func (r register) stepRead(a answer) (bool, register) {
	if a.Result == refused {
		return r.life == absent, r
	}
	if r.life == absent || a.Chain != r.Chain {
		return false, r
	}
	if r.life == terminated {
		shown := list(a.Items)
		return strings.HasPrefix(string(r.list), a.Items) && shown.length() >= r.seen, r
	}
	return list(a.Items) == r.list, r.all()
}

var seed = maphash.MakeSeed()

var model = porcupine.Model{
	Init: func() any { return newRegister(once) },
	Step: func(state, input, output any) (bool, any) {
		return state.(register).step(input.(call), output.(answer))
	},
	Equal: func(a, b any) bool { return a == b },
	Hash:  func(state any) uint64 { return maphash.Comparable(seed, state.(register)) },
	DescribeOperation: func(input, output any) string {
		return input.(call).String() + " → " + output.(answer).String()
	},
	DescribeState: func(state any) string { return state.(register).String() },
}

func (r register) String() string {
	if r.life == absent {
		return "absent"
	}
	out := fmt.Sprintf("chain %d, %s, [%s]", r.Chain, r.life, strings.TrimSpace(string(r.list)))
	for old := range r.past.chains() {
		out += "; before: " + old.String()
	}
	return out
}

func (c call) String() string {
	switch c.Kind {
	case kindStart:
		return fmt.Sprintf("start chain %d (%s, %s)", c.Chain, c.Conflict, c.Reuse)
	case kindBoth:
		return fmt.Sprintf("sig+start %d, chain %d (%s, %s)", c.Item, c.Chain, c.Conflict, c.Reuse)
	case kindSwap:
		return fmt.Sprintf("swap %d if length is %d", c.Item, c.Expect)
	case kindRead, kindTerminate, kindFinish, kindEnd:
		return string(c.Kind)
	}
	return fmt.Sprintf("%s %d", c.Kind, c.Item)
}

func (a answer) String() string {
	out := string(a.Result)
	if a.Told && a.Started {
		out += ", started"
	} else if a.Told {
		out += ", was there"
	}
	if a.Chain != 0 {
		out += fmt.Sprintf(", chain %d", a.Chain)
	}
	if a.Items != "" {
		out += " [" + strings.TrimSpace(a.Items) + "]"
	}
	if a.Waiting > 0 {
		out += fmt.Sprintf(" and %d waiting", a.Waiting)
	}
	return out
}
