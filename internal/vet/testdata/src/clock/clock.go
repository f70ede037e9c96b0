// Package clock asks what time it is.
package clock

import (
	"time"

	"github.com/perdure/perdure/workflow"
)

type Clock struct{ last time.Time }

func (c *Clock) Run(ctx workflow.Context, since time.Time) error {
	c.last = time.Now()                    // want `^clock: time.Now gives another time on replay; use workflow.Now\(ctx\)$`
	_ = time.Since(since)                  // want `^clock: time.Since asks the machine's clock`
	_ = time.Until(since)                  // want `^clock: time.Until`
	time.Sleep(time.Second)                // want `^clock: time.Sleep blocks the worker`
	_ = time.After(time.Second)            // want `^clock: time.After is not recorded`
	_ = time.Tick(time.Second)             // want `^clock: time.Tick`
	_ = time.NewTimer(time.Second)         // want `^clock: time.NewTimer`
	_ = time.NewTicker(time.Second)        // want `^clock: time.NewTicker`
	_ = time.AfterFunc(time.Second, c.nop) // want `^clock: time.AfterFunc`
	now := time.Now                        // want `^clock: time.Now`
	c.last = now()
	_ = since.Local()                                       // want `^clock: time.Time.Local depends on the worker's time zone`
	_ = time.Date(2000, 1, 1, 0, 0, 0, 0, time.Local)       // want `^clock: time.Local depends on the worker's time zone`
	workflow.Go(ctx, func(workflow.Context) { time.Now() }) // want `^clock: time.Now`
	func() { time.Now() }()                                 // want `^clock: time.Now`
	return nil
}

func (c *Clock) nop() {}

// Age is a query, which is workflow code, too.
func (c *Clock) Age(workflow.ReadContext) (time.Duration, error) {
	return time.Since(c.last), nil // want `^clock: time.Since`
}

// Good takes time from the workflow, and computes with it.
func (c *Clock) Good(ctx workflow.Context, t time.Time) error {
	c.last = workflow.Now(ctx).UTC().Truncate(time.Hour)
	if t.After(c.last.Add(2 * time.Minute)) {
		return workflow.Sleep(ctx, t.Sub(c.last))
	}
	_, err := workflow.SideEffect(ctx, func() int64 { return time.Now().UnixNano() })
	_, _ = workflow.SideEffect(ctx, time.Now)
	return err
}

// Elsewhere is no workflow code.
func Elsewhere() time.Time { return time.Now() }
