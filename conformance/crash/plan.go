package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// moment says from when the delay of a kill counts.
type moment int

const (
	whileStarting moment = iota // from the launch of the process: recovery is interrupted
	justServing                 // from the first healthy answer: clients and workers come back
	underLoad                   // from the first healthy answer, with time to do work
)

func (m moment) String() string {
	return [...]string{"while starting", "just serving", "under load"}[m]
}

// kill is one planned SIGKILL.
type kill struct {
	when  moment
	after time.Duration
}

func (k kill) String() string { return fmt.Sprintf("%s+%dms", k.when, k.after.Milliseconds()) }

// plan draws n kills. The first falls under load, so that there is something to lose; later ones are mixed.
func plan(rng *rand.Rand, n int) []kill {
	between := func(lo, hi int) time.Duration { return time.Duration(lo+rng.IntN(hi-lo)) * time.Millisecond }
	kills := make([]kill, n)
	for i := range kills {
		switch draw := rng.IntN(10); {
		case draw < 2 && i > 0:
			kills[i] = kill{whileStarting, between(0, 400)}
		case draw < 5 && i > 0:
			kills[i] = kill{justServing, between(0, 300)}
		default:
			kills[i] = kill{underLoad, between(300, 3000)}
		}
	}
	return kills
}
