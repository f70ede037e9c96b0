// Package helpers hides what it does in functions without a context.
package helpers

import (
	"slices"
	"time"

	"github.com/perdure/perdure/internal/vet/testdata/src/helpers/dates"
	"github.com/perdure/perdure/workflow"
)

type Report struct{ day string }

func (r *Report) Run(ctx workflow.Context) error {
	r.note()
	var c dates.Calendar
	r.day = c.Today() // want `^clock: \(\*dates.Calendar\).Today comes to time.Now \(dates.go:15\) gives another time on replay`
	r.day = dates.Format(workflow.Now(ctx))
	r.day = dates.Home()
	dates.Deep() // want `^random: dates.Deep comes to rand.IntN \(deep.go:6\)`
	slices.SortFunc([]int{1}, compare)
	return nil
}

func (r *Report) note() {
	r.day = today() + "!"
}

func today() string {
	return time.Now().String() // want `^clock: time.Now gives .* \(today is called by \(\*Report\).Run\)$`
}

func compare(a, b int) int {
	time.Sleep(1) // want `^clock: time.Sleep .* \(compare is called by \(\*Report\).Run\)$`
	return a - b
}

// unused is called by nobody.
func unused() time.Time { return time.Now() }

var _ = unused

func step(ctx workflow.Context) { time.Now() } // want `^clock: time.Now gives another time on replay; use workflow.Now\(ctx\)$`

func prepared() func(workflow.Context) {
	time.Now() // want `^clock: .* \(prepared is called by a function literal\)$`
	return func(ctx workflow.Context) {
		time.Now() // want `^clock`
		step(ctx)
	}
}

var literal = func(workflow.Context) {
	time.Now() // want `^clock`
	prepared()
}
