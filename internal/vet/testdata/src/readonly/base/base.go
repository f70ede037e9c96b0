// Package base has what workflows embed.
package base

type Counters struct{ hits int }

func (c *Counters) Hit() { c.hits++ }

func (c *Counters) Hits() int { return c.hits }
