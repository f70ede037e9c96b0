package sim

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "TestSeeds: run this seed only and tell its story")
	stepsFlag = flag.Int("steps", 0, "operations of clients in each seed; 0: the seed decides")
	seedsFlag = flag.Int("seeds", 20, "TestFresh: how many new seeds to run")
	fresh     = flag.Bool("sim.fresh", false, "run TestFresh even if it was not asked for by name")
)

const fixedSeeds = 120

// stepsOf is how long a seed's story is unless -steps says otherwise.
func stepsOf(seed uint64) int {
	if *stepsFlag > 0 {
		return *stepsFlag
	}
	return 40 + int(hash("steps", seed)%160)
}

// runSeed lives through one seed. The bubble makes the few calls of the engine that block wait for the simulation.
func runSeed(t *testing.T, seed uint64, steps int, verbose bool) (s *sim) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s = newSim(seed, steps, verbose)
		if failure := s.run(); failure != "" {
			if verbose {
				t.Log("\n" + strings.Join(s.trace, "\n"))
			}
			t.Errorf("seed %d: %s\nreplay: go test ./internal/sim -run TestSeeds -seed=%d -steps=%d -v", seed, failure, seed, steps)
		}
	})
	return s
}

// TestSeeds runs a fixed set of stories, and tells whether each rare path of the core was taken in some of them.
func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		s := runSeed(t, *seedFlag, stepsOf(*seedFlag), testing.Verbose())
		t.Logf("fingerprint %s, %d batches, %d checks, %d recalled", s.fingerprint(), s.audit.batches, s.audit.checks, s.audit.recalled)
		return
	}
	marks, acks, events, batches, runs := map[string]int{}, map[string]int{}, 0, 0, 0
	for seed := range uint64(fixedSeeds) {
		s := runSeed(t, seed+1, stepsOf(seed+1), false)
		for m, n := range s.marks {
			marks[m] += n
		}
		for m, n := range s.ledger.acks {
			acks[m] += n
		}
		events, batches, runs = events+s.events, batches+s.audit.batches, runs+len(s.audit.order)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d events, %d batches, %d runs", events, batches, runs)
	for _, m := range sortedKeys(marks) {
		t.Logf("mark %6d %s", marks[m], m)
	}
	for _, m := range sortedKeys(acks) {
		t.Logf("answers checked %6d %s", acks[m], m)
	}
	if *stepsFlag > 0 {
		return
	}
	for _, m := range knownMarks(t) {
		hit := slices.ContainsFunc(sortedKeys(marks), func(hit string) bool { return strings.HasPrefix(hit, m) })
		why, unreachable := neverHit[m]
		switch {
		case !hit && !unreachable:
			t.Errorf("no seed takes the path %q: send seeds there", m)
		case hit && unreachable:
			t.Errorf("the path %q is taken after all; it was thought that %s", m, why)
		}
	}
}

// neverHit are the marks that no story can reach, and why.
var neverHit = map[string]string{
	"speculative task dropped at start": "an admitted update leaves memory only with the task that carries it, with its run, or in a crash that takes the task too",
}

// knownMarks are the names of all rare paths in the core's code.
func knownMarks(t *testing.T) []string {
	files, err := filepath.Glob("../execution/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the core's files: %v", err)
	}
	call := regexp.MustCompile(`\.mark\("([^"]*)"`)
	var marks []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			marks = append(marks, m[1])
		}
	}
	if len(marks) < 10 {
		t.Fatalf("only %d marks found: %q", len(marks), marks)
	}
	slices.Sort(marks)
	return slices.Compact(marks)
}

// TestFresh runs seeds that nobody has seen.
func TestFresh(t *testing.T) {
	if !*fresh && !strings.Contains(flag.Lookup("test.run").Value.String(), "TestFresh") {
		t.Skip("asked for by name, or with -sim.fresh")
	}
	failed := 0
	for range *seedsFlag {
		seed := 1<<20 + rand.Uint64N(1<<40)
		if runSeed(t, seed, stepsOf(seed), false); t.Failed() {
			if failed++; failed >= 5 {
				return
			}
		}
	}
}

// TestSameSeedSameStory: a seed repeats to the byte, or no failure could be replayed.
func TestSameSeedSameStory(t *testing.T) {
	for seed := range uint64(5) {
		first := runSeed(t, 100+seed, 60, false).fingerprint()
		if second := runSeed(t, 100+seed, 60, false).fingerprint(); first != second {
			t.Errorf("seed %d: %s, then %s", 100+seed, first, second)
		}
	}
}
