// Package wiretest shows the statements of the behaviour spec on a whole server as its clients see it: engine, task
// queues, store and both services behind gRPC, and raw stubs in front of it.
//
// Every test runs in a bubble of its own, in which time passes only when nothing else can happen. So hours take no time,
// a test never waits for anything, and what happens is the same in each run. The package holds tests only.
//
// Invariant: each history that a test leaves behind, and each that a worker is handed, is judged by historycheck.
package wiretest
