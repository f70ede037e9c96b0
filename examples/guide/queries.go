package guide

import (
	"context"
	"fmt"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/workflow"
)

// Parcel is on its way through some towns.
type Parcel struct {
	towns     []string
	delivered bool
}

// Run ends when the parcel is delivered.
func (p *Parcel) Run(ctx workflow.Context) (int, error) {
	err := workflow.Await(ctx, func() bool { return p.delivered })
	return len(p.towns), err
}

// Scan says where the parcel is.
func (p *Parcel) Scan(_ workflow.Context, town string) { p.towns = append(p.towns, town) }

// Deliver ends it.
func (p *Parcel) Deliver(workflow.Context) { p.delivered = true }

// Where is a query without an argument.
func (p *Parcel) Where(workflow.ReadContext) (string, error) {
	if len(p.towns) == 0 {
		return "", fmt.Errorf("nobody has scanned it")
	}
	return p.towns[len(p.towns)-1], nil
}

// Stop is a query with an argument.
func (p *Parcel) Stop(_ workflow.ReadContext, n int) (string, error) {
	if n < 0 || n >= len(p.towns) {
		return "", fmt.Errorf("there is no stop %d", n)
	}
	return p.towns[n], nil
}

var _ = workflow.Define[*Parcel](workflow.Rename((*Parcel).Stop, "stop-number"))

// Track asks both queries.
func Track(ctx context.Context, h *client.Handle[*Parcel, int]) (where, first string, err error) {
	where, err = client.Query(ctx, h, (*Parcel).Where)
	if err != nil {
		return "", "", err
	}
	first, err = client.Query1(ctx, h, (*Parcel).Stop, 0)
	return where, first, err
}

// TrackByName asks without knowing the type.
func TrackByName(ctx context.Context, c *client.Client, id string) (string, error) {
	answer, err := c.Handle(id, "").QueryByName(ctx, "stop-number", 0)
	if err != nil {
		return "", err
	}
	var town string
	err = answer.Get(&town)
	return town, err
}
