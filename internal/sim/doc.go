// Package sim runs a whole node under one seed: the engine's shards, the matching core, clients, workers with workflow
// code, a disk that fails and a clock that jumps, all driven by one loop, so that every run repeats exactly. It has
// tests only; docs/sim.md says how to read them.
//
// Its invariant is that of the server: what was acknowledged is recorded, once, and what was begun comes to an end once
// the faults stop. The checks watch the store's batches, not the engine's memory, so that they judge what a crash would
// leave behind at that very moment.
package sim
