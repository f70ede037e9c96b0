package oracle

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// What the two servers are known to do differently. An entry says why it is so: it names the entry of docs/deviations.md
// that decides it, or a finding, F-nn, that is not decided or not corrected yet. An entry that was not seen in a whole
// run is out of date. For a decision that fails the test, so that the table stays as short as it can be; for a finding it
// is only printed, so that a correction does not need a change here in the same breath.

// difference is a line that only one of the servers says, or one that each says in its way.
type difference struct {
	scenario string // name of the test, as a regular expression for all of it
	// Regular expressions, matched anywhere in a line. With both, the lines have to stand against each other.
	reference, perdure string
	why, see           string
}

// rewrite is a difference within lines, wherever it is met. What matches is replaced, in the words of both servers, so that a
// correction does not turn the difference round.
type rewrite struct {
	reference, perdure string // regular expressions for what each of them says; empty: nothing in its place
	to                 string
	why, see           string
}

var (
	compiled   = map[string]*regexp.Regexp{}
	compiledMu sync.Mutex
)

func pattern(p string) *regexp.Regexp {
	compiledMu.Lock()
	defer compiledMu.Unlock()
	if compiled[p] == nil {
		compiled[p] = regexp.MustCompile(p)
	}
	return compiled[p]
}

// table counts what was seen of the entries.
type table struct {
	mu          sync.Mutex
	differences map[int]int
	rewrites    map[int]*[2]int // by server: in how many lines it said what the entry says of it
	replays     []string
}

var expected = table{differences: map[int]int{}, rewrites: map[int]*[2]int{}}

// again notes that a scenario was played once more, and whether our server did the same as before.
func (t *table) again(scenario string, same bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what := "the reference did something else"
	if !same {
		what = "our server did something else"
	}
	t.replays = append(t.replays, fmt.Sprintf("%s: %s than before", scenario, what))
}

// rewritten is a line in the words that both servers are compared in.
func (t *table) rewritten(k kind, line string) string {
	for i, r := range rewrites {
		for side, p := range []string{r.reference, r.perdure} {
			if p == "" {
				continue
			}
			changed := pattern(p).ReplaceAllString(line, r.to)
			if changed == line {
				continue
			}
			line = changed
			// With one pattern the other server can only say the same.
			if both := r.reference != "" && r.perdure != ""; !both || side == int(k) {
				t.count(i, k)
			}
		}
	}
	return line
}

func (t *table) count(i int, k kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rewrites[i] == nil {
		t.rewrites[i] = &[2]int{}
	}
	t.rewrites[i][k]++
}

// differs says whether the servers still say it in two ways.
func (t *table) differs(i int) bool {
	n, r := t.rewrites[i], rewrites[i]
	if n == nil {
		return false
	}
	if r.reference != "" && r.perdure != "" {
		return n[perdure] > 0
	}
	return n[reference] != n[perdure]
}

// explains says whether all lines of a place are expected, and counts the entries that say so.
func (t *table) explains(scenario string, h hunk) bool {
	var used []int
	pairs := len(h.reference) == len(h.perdure)
	look := func(k kind, lines []string) bool {
		for n, l := range lines {
			if k == perdure && strings.HasPrefix(l, "!") && claims.MatchString(scenario) {
				return false // a test named after a statement shows that it holds here, whatever the table says
			}
			i := find(scenario, k, l)
			if i < 0 && pairs {
				i = findPair(scenario, h.reference[n], h.perdure[n])
			}
			if i < 0 {
				return false
			}
			used = append(used, i)
		}
		return true
	}
	if !look(reference, h.reference) || !look(perdure, h.perdure) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range used {
		t.differences[i]++
	}
	return true
}

// claims tells tests that are named after a statement of the behaviour spec.
var claims = regexp.MustCompile(`^TestM\d`)

func (d difference) of(scenario string) bool {
	return pattern("^(?:" + d.scenario + ")$").MatchString(scenario)
}

// find looks for an entry of one line.
func find(scenario string, k kind, line string) int {
	for i, d := range differences {
		here, there := d.reference, d.perdure
		if k == perdure {
			here, there = there, here
		}
		if here != "" && there == "" && d.of(scenario) && pattern(here).MatchString(line) {
			return i
		}
	}
	return -1
}

func findPair(scenario, theirs, ours string) int {
	for i, d := range differences {
		if d.reference != "" && d.perdure != "" && d.of(scenario) && pattern(d.reference).MatchString(theirs) && pattern(d.perdure).MatchString(ours) {
			return i
		}
	}
	return -1
}

// report prints what differed as expected. It returns 1 if a decision was not seen.
func (t *table) report() (code int) {
	tell := func(seen bool, what, why, see string) {
		switch {
		case seen:
			fmt.Printf("differs, as is known: %s: %s (%s)\n", what, why, see)
		case strings.HasPrefix(see, "F-"):
			fmt.Printf("differs no more, take it off the table: %s: %s (%s)\n", what, why, see)
		default:
			fmt.Printf("FAIL: differs no more, though it should: %s: %s (%s)\n", what, why, see)
			code = 1
		}
	}
	type entry struct{ what, why, see string }
	var order []entry
	seen := map[entry]bool{}
	add := func(e entry, now bool) {
		if _, known := seen[e]; !known {
			order = append(order, e)
		}
		seen[e] = seen[e] || now
	}
	for i, r := range rewrites {
		add(entry{"all scenarios", r.why, r.see}, t.differs(i))
	}
	for i, d := range differences {
		add(entry{d.scenario, d.why, d.see}, t.differences[i] > 0)
	}
	for _, r := range t.replays {
		fmt.Printf("played again: %s\n", r)
	}
	for _, e := range order {
		tell(seen[e], e.what, e.why, e.see)
	}
	return code
}
