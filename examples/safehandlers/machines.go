package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Machines has the activities. Each takes a while, in which other handlers of the cluster come to their turn.
type Machines struct {
	mu     sync.Mutex
	takes  time.Duration
	broken []string
	loads  int
}

func (m *Machines) wait(ctx context.Context) error {
	m.mu.Lock()
	takes := m.takes
	m.mu.Unlock()
	select {
	case <-time.After(takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Broken are those of the nodes that do not answer.
func (m *Machines) Broken(_ context.Context, nodes []string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(nodes, func(n string) bool { return !slices.Contains(m.broken, n) }), nil
}

// Load puts a job on nodes.
func (m *Machines) Load(ctx context.Context, _ string, _ []string) error {
	m.mu.Lock()
	m.loads++
	m.mu.Unlock()
	return m.wait(ctx)
}

// Clear takes everything off nodes.
func (m *Machines) Clear(ctx context.Context, _ []string) error { return m.wait(ctx) }

// Break is what happens to nodes.
func (m *Machines) Break(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = append(m.broken, node)
}

// Slow makes them take as long from now on.
func (m *Machines) Slow(takes time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.takes = takes
}

// Loads is how often Load was called.
func (m *Machines) Loads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads
}
