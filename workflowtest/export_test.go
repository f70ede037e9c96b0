package workflowtest

import (
	"math/rand/v2"
	"testing"
)

// Find is Explore for tests of it: the script that fails, and why; empty and nil when none does.
func Find(t *testing.T, s Scenario) (script string, err error) {
	if p := newExplorer(t, s).search(); p != nil {
		return p.lines(), p.err
	}
	return "", nil
}

// Play is Replay for tests of it.
func Play(t *testing.T, s Scenario, script []string) error {
	return newExplorer(t, s).play(script, nil).err
}

// Order is one as it was played.
type Order struct {
	Chosen []string
	Trace  string
	Err    error
}

// Draw plays an order by chance, PlayOrder a given one, Parse makes one of a script.

func Draw(t *testing.T, s Scenario, seed uint64) Order {
	p := newExplorer(t, s).play(nil, rand.New(rand.NewPCG(seed, 0)))
	return Order{p.chosen, p.trace, p.err}
}

func PlayOrder(t *testing.T, s Scenario, script []string) Order {
	p := newExplorer(t, s).play(script, nil)
	return Order{p.chosen, p.trace, p.err}
}

var Parse = parse

var Command = command
