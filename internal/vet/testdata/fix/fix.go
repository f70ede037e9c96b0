// Package fix has what can be mended.
package fix

import (
	"fmt"
	"log/slog"
	old "math/rand"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/perdure/perdure/workflow"
)

type Job struct {
	byName map[string]int
	times  map[time.Time]int
	at     time.Time
}

func (j *Job) Run(ctx workflow.Context, d time.Duration) error {
	j.at = time.Now()
	left := time.Since(j.at) + time.Until(j.at.Add(d))
	time.Sleep(left) // a comment
	n := rand.IntN(6) + old.Intn(6) + old.Perm(3)[0] + rand.N(3)
	id := uuid.NewString()
	slog.Info("thrown", "n", n, "id", id)
	slog.With("n", n).Warn("thrown")
	for name, n := range j.byName {
		slog.Info(name, "n", n)
	}
	for name := range j.byName {
		// All of them.
		if err := j.step(ctx, name); err != nil {
			return err
		}
	}
	for _, n := range j.byName {
		fmt.Sprint(workflow.Now(ctx), n)
		_ = workflow.Sleep(ctx, d)
	}
	for at := range j.times { // times have no order of their own
		_ = workflow.Sleep(ctx, at.Sub(j.at))
	}
	for name := range j.byName { // it changes
		_ = j.step(ctx, name)
		j.byName[name+"x"] = 1
	}
	go func() {
		n++
		time.Sleep(d) // there is nobody to give an error to
		_ = workflow.Sleep(ctx, d)
	}()
	go j.step(ctx, "x")
	return nil
}

func (j *Job) step(ctx workflow.Context, _ string) error {
	inner, cancel := workflow.WithCancel(ctx)
	defer cancel("over")
	{
		ctx := time.Now() // the name is another thing's here
		j.at = time.Now().Add(time.Until(ctx))
	}
	return workflow.Sleep(inner, 1)
}

func (j *Job) Age(q workflow.ReadContext) (time.Duration, error) {
	n := time.Duration(rand.Int64()) // a query has no chance
	return time.Since(j.at) + n, nil
}

func (j *Job) Unnamed(workflow.Context) { j.at = time.Now() }

func (j *Job) Both(ctx workflow.Context) (int, error) {
	time.Sleep(1) // what would it return?
	return 0, nil
}
