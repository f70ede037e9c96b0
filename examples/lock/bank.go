package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/perdure/perdure/failure"
)

// Entry is a balance, written by the holder of a lock.
type Entry struct {
	Account string
	Cents   int
	Token   int
}

// Bank has the activities.
type Bank struct {
	mu       sync.Mutex
	accounts map[string]Entry
}

// NewBank is empty.
func NewBank() *Bank { return &Bank{accounts: map[string]Entry{}} }

// Balance reads.
func (b *Bank) Balance(_ context.Context, account string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accounts[account].Cents, nil
}

// Write refuses who comes with an older token than somebody before: that one's lease was over. No lock can see to that alone,
// since its holder may be slow at any moment.
func (b *Bank) Write(_ context.Context, e Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.accounts[e.Account].Token; e.Token < last {
		return failure.NonRetryable(fmt.Sprintf("token %d is older than %d", e.Token, last), "LeaseOver", nil)
	}
	b.accounts[e.Account] = e
	return nil
}
