package engine

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/taskqueue"
)

// Backlog reads the dispatch rows of a store. What it returns is durable, but may be stale. Safe for concurrent use.
type Backlog struct{ store storage.Reader }

var _ taskqueue.Backlog = (*Backlog)(nil)

// NewBacklog reads from store.
func NewBacklog(store storage.Reader) *Backlog { return &Backlog{store} }

// Page implements taskqueue.Backlog. The context is looked at before the read.
func (b *Backlog) Page(ctx context.Context, queue taskqueue.QueueKey, after []byte, limit int) (
	offers []execution.Offer, keys [][]byte, err error,
) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	prefix := record.DispatchPrefix(queue.Namespace, queue.Type, queue.Name)
	page, err := scanDispatch(b.store, prefix, after, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("page the backlog of %s: %w", queue.Name, err)
	}
	return page.offers, page.keys, nil
}

// Queues implements taskqueue.Backlog. It reads one row of each queue.
func (b *Backlog) Queues(ctx context.Context) ([]taskqueue.QueueKey, error) {
	var queues []taskqueue.QueueKey
	from, end := allDispatch, storage.PrefixEnd(allDispatch)
	for from != nil {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		page, err := scanRange(b.store, from, end, 1)
		if err != nil {
			return nil, fmt.Errorf("list the task queues: %w", err)
		}
		if len(page.offers) == 0 {
			break
		}
		k := queueOf(page.offers[0])
		queues = append(queues, k)
		from = storage.PrefixEnd(record.DispatchPrefix(k.Namespace, k.Type, k.Name))
	}
	return queues, nil
}

func queueOf(o execution.Offer) taskqueue.QueueKey {
	run, _ := offered(o)
	k := taskqueue.QueueKey{Namespace: run.Namespace, Type: record.QueueWorkflow, Name: o.Task.Queue}
	if o.Activity != nil {
		k.Type = record.QueueActivity
	}
	return k
}

var allDispatch = record.AllDispatch()

type dispatchPage struct {
	offers []execution.Offer
	keys   [][]byte
	last   []byte // last key if the page is full; nil: there are no more rows
}

// scanDispatch reads up to limit dispatch rows after a key.
func scanDispatch(r storage.Reader, prefix, after []byte, limit int) (dispatchPage, error) {
	from := prefix
	if after != nil {
		from = append(bytes.Clone(after), 0)
	}
	return scanRange(r, from, storage.PrefixEnd(prefix), limit)
}

func scanRange(r storage.Reader, from, end []byte, limit int) (page dispatchPage, err error) {
	if limit <= 0 {
		return page, nil
	}
	var fault error
	err = r.Scan(from, end, func(key, value []byte) bool {
		var o execution.Offer
		key = bytes.Clone(key)
		if o, fault = record.DecodeDispatch(key, value); fault != nil {
			return false
		}
		page.offers = append(page.offers, o)
		page.keys = append(page.keys, key)
		if len(page.keys) < limit {
			return true
		}
		page.last = key
		return false
	})
	return page, cmp.Or(err, fault)
}
