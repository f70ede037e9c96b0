package flow

// ReadContext is what a query, a validator and an init step get: it can look, and nothing that changes the run takes it.
// Context is one, too.
type ReadContext interface {
	run() *Run
	pairs() *pair
}

// Context is what workflow code runs with: it names the run, the cancellation scope and the coroutine. It must not leave the
// coroutine it was given to; Go and the scopes make others.
type Context interface {
	ReadContext
	scope() *scope
}

// Drained is a Context of a run in which no handler is at work; Drain gives it.
type Drained interface {
	Context
	drained()
}
