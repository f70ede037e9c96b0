// Package globals keeps state where all runs share it.
package globals

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/perdure/perdure/internal/vet/testdata/src/globals/limits"
	"github.com/perdure/perdure/workflow"
)

var (
	counter  int
	cache    = map[string]int{}
	config   struct{ Retries int }
	started  atomic.Int64
	known    sync.Map
	names    = []string{"a"}
	fixed    = 5
	early    int
	ErrEmpty = errors.New("empty")
)

func init() { early = 3 }

func Configure(n int) { config.Retries = n }

type Counter struct{ n int }

func (c *Counter) Run(ctx workflow.Context, name string) error {
	counter++            // want `^global: a write to the package-level variable counter is seen by other runs`
	cache[name] = 1      // want `^global: a write to the package-level variable cache`
	delete(cache, name)  // want `^global: a write to` `^global: the package-level variable cache changes`
	limits.Max = 4       // want `^global: a write to limits.Max`
	c.n = counter        // want `^global: the package-level variable counter changes \(globals.go:\d+\), so a replay may find another value`
	c.n = config.Retries // want `^global: the package-level variable config changes`
	c.n = limits.Max     // want `^global: limits.Max changes \(limits.go:8\)`
	started.Add(1)       // want `^global: .*Add of a package-level variable shares state`
	known.Store(1, 2)    // want `^global`
	c.n = fixed + early + limits.Fixed + len(names)
	return ErrEmpty
}
