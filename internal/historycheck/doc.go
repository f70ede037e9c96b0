// Package historycheck decides whether a list of history events is one that a correct server may show. It is the
// grammar of legal histories: tests run it on each history that anything in the project produces.
//
// Its invariant is independence. The rules were written from the public behaviour of the service alone, and the package
// imports nothing of the project, so that a mistake in the code that makes histories is not repeated by the code that
// judges them. For the same reason it keeps its own small automata instead of sharing the fold of the execution core.
//
// A history is judged by itself; CheckChain adds the links between the runs of one chain. What needs two executions to
// decide (a child's own history, the target of a signal), what needs the worker's commands (was this timer asked
// for?) and contents that are opaque to the server are left out on purpose.
//
// Where the public behaviour leaves two forms open, both are accepted: a terminated run may or may not fail its started
// workflow task first, and the Canceled event of an activity that was never started may stand directly behind its
// CancelRequested or among the flushed events.
package historycheck
