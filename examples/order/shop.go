package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/failure"
)

// Shop has the activities, which are what touches the world. In a real one there are a database and a payment provider; here
// there are maps, by order. Each step is harmless when it is repeated: an activity may run more than once.
type Shop struct {
	mu       sync.Mutex
	stock    map[string]int
	reserved map[string]int
	charged  map[string]int
	shipped  map[string]string
	log      []string
}

// NewShop has some of an item.
func NewShop(item string, count int) *Shop {
	return &Shop{stock: map[string]int{item: count}, reserved: map[string]int{}, charged: map[string]int{}, shipped: map[string]string{}}
}

// order is the key of what this attempt belongs to, the same for all attempts.
func order(ctx context.Context) string { return activity.GetInfo(ctx).WorkflowID }

func (s *Shop) did(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// Reserve takes items off the shelf. That there are too few is not going to change, so it is not tried again.
func (s *Shop) Reserve(ctx context.Context, r Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := order(ctx)
	if s.reserved[id] > 0 {
		return nil
	}
	if s.stock[r.Item] < r.Count {
		return failure.NonRetryable(fmt.Sprintf("%d of %s are left", s.stock[r.Item], r.Item), "OutOfStock", nil)
	}
	s.stock[r.Item] -= r.Count
	s.reserved[id] = r.Count
	s.did("reserved %d", r.Count)
	return nil
}

// Release puts them back, if they were taken.
func (s *Shop) Release(ctx context.Context, r Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.reserved[order(ctx)]; n > 0 {
		s.stock[r.Item] += n
		s.did("released %d", n)
	}
	delete(s.reserved, order(ctx))
	return nil
}

// Charge takes the money and gives the payment's number.
func (s *Shop) Charge(ctx context.Context, r Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.charged[order(ctx)] == 0 {
		s.charged[order(ctx)] = r.Cents
		s.did("charged %s", money(r.Cents))
	}
	return "payment of " + order(ctx), nil
}

// Refund gives it back, if it was taken.
func (s *Shop) Refund(ctx context.Context, _ Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cents := s.charged[order(ctx)]; cents > 0 {
		s.did("refunded %s", money(cents))
	}
	delete(s.charged, order(ctx))
	return nil
}

// Ship hands the parcel over and gives its number.
func (s *Shop) Ship(ctx context.Context, _ Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shipped[order(ctx)] == "" {
		s.shipped[order(ctx)] = "parcel of " + order(ctx)
		s.did("shipped")
	}
	return s.shipped[order(ctx)], nil
}

// Log is what was done since the last call.
func (s *Shop) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}
