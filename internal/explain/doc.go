// Package explain turns what is known of a run into what a person wants to know: which messages came and what became of
// each, and why a workflow does not go on. It is pure: states, notes and what task queues know come in, words go out.
//
// Invariant: it claims only what its input says. What nobody recorded (whether code has a handler for a signal, say) is
// named as unknown unless the caller has found it out.
package explain
