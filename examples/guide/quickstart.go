package guide

import (
	"context"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
)

// Quickstart runs a server, a worker and a client in this process.
func Quickstart(ctx context.Context) ([]string, error) {
	db, err := embedded.Open(ctx, embedded.Options{})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	w := worker.New(db.Client(), "shop", worker.Options{})
	worker.Workflow[*Basket](w)
	if err := w.Start(); err != nil {
		return nil, err
	}
	defer w.Stop()
	h, err := client.Start(ctx, db.Client(), (*Basket).Run, "Ada", client.StartOptions{TaskQueue: "shop"})
	if err != nil {
		return nil, err
	}
	if err := client.Signal(ctx, h, (*Basket).Add, Item{Name: "tea", Count: 2}); err != nil {
		return nil, err
	}
	if err := client.Signal0(ctx, h, (*Basket).Pay); err != nil {
		return nil, err
	}
	return h.Result(ctx)
}
