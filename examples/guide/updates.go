package guide

import (
	"context"
	"errors"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/workflow"
)

// Heating keeps a room warm.
type Heating struct {
	degrees int
	log     []string
	off     bool
}

// Init runs before any handler, with the arguments of Run.
func (h *Heating) Init(_ workflow.ReadContext, degrees int) error {
	h.degrees = degrees
	return nil
}

// Run lasts until somebody switches the heating off.
func (h *Heating) Run(ctx workflow.Context, _ int) (int, error) {
	err := workflow.Await(ctx, func() bool { return h.off })
	return h.degrees, err
}

// Set changes the temperature and gives the one before.
func (h *Heating) Set(_ workflow.Context, degrees int) (int, error) {
	before := h.degrees
	h.degrees = degrees
	return before, nil
}

// ValidateSet refuses what Set must not see.
func (h *Heating) ValidateSet(_ workflow.ReadContext, degrees int) error {
	if degrees < 5 || degrees > 30 {
		return errors.New("between 5 and 30 degrees, please")
	}
	return nil
}

// Bleed takes its time.
func (h *Heating) Bleed(ctx workflow.Context, radiator string) (string, error) {
	if err := workflow.Sleep(ctx, 200*time.Millisecond); err != nil {
		return "", err
	}
	u, _ := workflow.CurrentUpdate(ctx)
	return radiator + " is done, says " + u.ID, nil
}

// Boost has a name of its own and no argument.
func (h *Heating) Boost(workflow.Context) (int, error) {
	h.degrees += 2
	return h.degrees, nil
}

// Off is a signal.
func (h *Heating) Off(workflow.Context) { h.off = true }

// Chime may be left at work when the run closes.
func (h *Heating) Chime(ctx workflow.Context) {
	_ = workflow.Sleep(ctx, time.Hour)
}

var _ = workflow.Define[*Heating](
	workflow.Rename((*Heating).Boost, "warmer"),
	workflow.AbandonUnfinished((*Heating).Chime),
)

// Warm makes an update and waits for its result.
func Warm(ctx context.Context, h *client.Handle[*Heating, int], degrees int) (int, error) {
	before, err := client.Update(ctx, h, (*Heating).Set, degrees)
	var refused *client.UpdateFailedError
	if errors.As(err, &refused) {
		return 0, refused.Cause
	}
	return before, err
}

// BleedLater starts an update and comes back for its result by the update's ID alone.
func BleedLater(ctx context.Context, h *client.Handle[*Heating, int]) (string, error) {
	u, err := client.StartUpdate(ctx, h, (*Heating).Bleed, "the kitchen's", client.UpdateOptions{ID: "bleed-1", WaitFor: client.Accepted})
	if err != nil {
		return "", err
	}
	return BleedResult(ctx, client.UpdateHandleOf[string](h, u.ID()))
}

// BleedResult gives up after a while. The update does not.
func BleedResult(ctx context.Context, u *client.UpdateHandle[string]) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	text, err := u.Result(ctx)
	var late *client.UpdateWaitError
	if errors.As(err, &late) {
		return "ask again later", nil
	}
	return text, err
}

// SetOrStart warms a room whose heating may be off.
func SetOrStart(ctx context.Context, c *client.Client, queue string, degrees int) (int, error) {
	op := client.WithStart((*Heating).Run, 18, client.StartOptions{
		ID: "heating-hall", TaskQueue: queue, IDConflict: client.UseExisting,
	})
	return client.UpdateWithStart(ctx, c, op, (*Heating).Set, degrees)
}

// Queue keeps jobs of the main method and of updates apart.
type Queue struct{ done []string }

// Run does one piece of work, then waits for what handlers are doing.
func (q *Queue) Run(ctx workflow.Context) ([]string, error) {
	if err := workflow.Await(ctx, func() bool { return len(q.done) > 0 }); err != nil {
		return nil, err
	}
	err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
	return q.done, err
}

// Job is done in two steps.
func (q *Queue) Job(ctx workflow.Context, name string) error {
	q.done = append(q.done, name+" begun")
	err := workflow.Sleep(ctx, 50*time.Millisecond)
	q.done = append(q.done, name+" done")
	return err
}
