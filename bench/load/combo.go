package main

import (
	"fmt"
	"strconv"
	"strings"
)

// combo is one row of the table: a scenario, its size where it has one, and the number of callers.
type combo struct {
	name     string
	scenario scenario
	size     int // open: how many idle workflows there are
	callers  int
}

// usual is what docs/bench.md shows.
const usual = "start@64,empty@32,activity@32,chain10@32,activity@1,signal@64,signalwithstart@64," +
	"update@64,update@1,query@64,query@1,timer@32,history@64"

func (c combo) String() string {
	if c.scenario.sized {
		return fmt.Sprintf("%s:%d@%d", c.name, c.size, c.callers)
	}
	return fmt.Sprintf("%s@%d", c.name, c.callers)
}

// parseCombos reads a list of scenario[@callers]; sizes are those that a scenario with sizes is measured at, in this order.
func parseCombos(text string, callers int, sizes []int) ([]combo, error) {
	var combos []combo
	for _, word := range strings.Split(text, ",") {
		name, number, found := strings.Cut(strings.TrimSpace(word), "@")
		s, known := scenarios[name]
		if !known {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
		c := combo{name: name, scenario: s, callers: callers}
		if found {
			var err error
			if c.callers, err = strconv.Atoi(number); err != nil {
				return nil, fmt.Errorf("scenario %q: callers are a number", word)
			}
		}
		if c.callers < 1 {
			return nil, fmt.Errorf("scenario %q: at least one caller", word)
		}
		if !s.sized {
			combos = append(combos, c)
			continue
		}
		for _, c.size = range sizes {
			combos = append(combos, c)
		}
	}
	return combos, nil
}

// parseSizes reads a list of numbers, each at least the one before: what has been put in a store stays there.
func parseSizes(text string) ([]int, error) {
	var sizes []int
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a number of workflows", word)
		}
		if len(sizes) > 0 && n < sizes[len(sizes)-1] {
			return nil, fmt.Errorf("%d after %d: workflows stay where they are, so the list has to rise", n, sizes[len(sizes)-1])
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}
