package node

import (
	"context"
	"errors"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/local"
)

// failStop watches for the store's last word: after a failed write of its log it can only be opened again. A node that
// went on would refuse everybody for ever; one that ends is started again by whatever keeps it running.
type failStop struct {
	storage.Store
	failed chan error // has room for one
}

func newFailStop(s storage.Store) *failStop { return &failStop{Store: s, failed: make(chan error, 1)} }

func (f *failStop) Acquire(ctx context.Context, shard ids.ShardID) (ids.Epoch, error) {
	epoch, err := f.Store.Acquire(ctx, shard)
	f.look(err)
	return epoch, err
}

func (f *failStop) Apply(ctx context.Context, b *storage.Batch) error {
	err := f.Store.Apply(ctx, b)
	if err != nil { // the usual case costs nothing
		f.look(err)
	}
	return err
}

func (f *failStop) look(err error) {
	if !errors.Is(err, local.ErrFailed) {
		return
	}
	select {
	case f.failed <- err:
	default:
	}
}
