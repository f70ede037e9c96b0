// Package concurrency runs things at the same time.
package concurrency

import (
	"sync"

	"github.com/perdure/perdure/workflow"
)

type Crew struct {
	mu    sync.Mutex
	all   sync.RWMutex
	group sync.WaitGroup
	own   workflow.Mutex
	queue workflow.Channel[int]
}

func (c *Crew) Run(ctx workflow.Context) error {
	go c.work()               // want `^goroutine: a goroutine does not run in the same order on replay; use workflow.Go\(ctx, f\)$`
	go func() {}()            // want `^goroutine`
	pipe := make(chan int, 1) // want `^channel: a Go channel`
	pipe <- 1                 // want `^channel: a send`
	<-pipe                    // want `^channel: a receive`
	n, ok := <-pipe           // want `^channel: a receive`
	for range pipe {          // want `^channel: a range`
	}
	close(pipe) // want `^channel: close`
	select {    // want `^channel: select takes a case by chance`
	case n = <-pipe:
		_ = <-pipe // want `^channel: a receive`
	case pipe <- 2:
		pipe <- 3 // want `^channel: a send`
	default:
	}
	c.mu.Lock()                // want `^lock: \(\*sync.Mutex\).Lock blocks the worker, not only this coroutine; use workflow.Mutex$`
	defer c.mu.Unlock()        //
	c.all.RLock()              // want `^lock`
	c.group.Go(func() {})      // want `^goroutine: \(\*sync.WaitGroup\).Go starts a goroutine`
	c.group.Wait()             // want `^lock: \(\*sync.WaitGroup\).Wait .*use workflow.Await`
	sync.NewCond(&c.mu).Wait() // want `^lock`
	_, _ = n, ok
	return nil
}

func (c *Crew) work() {}

// Good uses what package workflow has for it.
func (c *Crew) Good(ctx workflow.Context) error {
	if err := c.own.Lock(ctx); err != nil {
		return err
	}
	defer c.own.Unlock()
	workflow.Go(ctx, func(ctx workflow.Context) { _ = c.queue.Send(ctx, 1) })
	_, _, err := c.queue.Receive(ctx)
	return err
}
