// Package execution is the core of one workflow execution: it decides what every input means and folds the events that
// follow from the decision. It neither waits nor reads a clock, chance, disk or network: time, fresh IDs, limits and
// stored events arrive with the input (Env), and everything to be done to the world is returned (Transition).
//
// The invariant: a State is a value. Step never changes the state it was given, so that the caller goes on with either
// the old state or Transition.Next, and an error leaves nothing to undo. apply is the only code that folds an event
// into a state; Step uses it live, Rebuild uses it for reset and tests.
//
// A transition's parts are told apart by what a crash does to them: Next (but its volatile part), Events, Put and
// Delete are written in one batch; Replies and Offers are performed once that batch is durable and may be lost.
//
// What a file holds: state.go the records, input.go the inputs and answers, transition.go what a step gives back,
// step.go the dispatch, apply.go the fold, and one file per concern: start.go, workflowtask.go, command*.go, close.go,
// activity.go, timer.go, child.go, external.go, signal.go, update.go, query.go, reset.go, describe.go.
package execution
