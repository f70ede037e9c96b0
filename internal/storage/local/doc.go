// Package local keeps a store in one directory of this machine, on Pebble. One process has it open at a time.
//
// Its invariant: what Apply acknowledged, and what any reader has seen, survives the loss of power. Pebble alone keeps
// only the first half, because it shows a batch to readers before the log that holds it is synced; inflight closes
// the gap by letting a reader wait for the batches that it may have seen.
//
// One gate orders batches: whoever holds it compares the fence with the epoch table and puts the batch into the log.
// The order in the log is therefore the order of epochs, and an Acquire whose own record is synced knows that no older
// batch can still come. The sync is waited for outside the gate, so that any number of batches share one.
//
// The first write or sync of the log that fails is the last: what the disk then holds is a guess, and a second fsync
// may report success for pages that the first one lost. The store answers ErrUnknown to all who waited, ErrFailed to
// everyone later, and has to be opened again. Where Pebble itself cannot go on, in the background (a manifest that cannot
// be written) or while it changes from one log to the next, it ends the process: going on would be pretending.
//
// The layout is described in docs/format/storage.md.
package local
