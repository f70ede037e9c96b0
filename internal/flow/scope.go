package flow

import (
	"github.com/perdure/perdure/failure"
)

// scope is a cancellation scope: cancelling it cancels what was started in it and the scopes below.
type scope struct {
	r        *Run
	parent   *scope
	canceled bool
	reason   string
	on       []func() // in the order in which things were started
	children []*scope
	update   *UpdateInfo
	done     *Future
}

// context is the only Context there is.
type context struct {
	s *scope
}

func (c *context) run() *Run     { return c.s.r }
func (c *context) scope() *scope { return c.s }

// reader is the ReadContext of queries, validators and init steps.
type reader struct {
	r      *Run
	update *UpdateInfo
}

func (c *reader) run() *Run { return c.r }

func (r *Run) newScope(parent *scope) *scope {
	s := &scope{r: r, parent: parent, done: r.NewFuture()}
	if parent != nil {
		s.update = parent.update
		parent.children = append(parent.children, s)
		if parent.canceled {
			s.cancel(parent.reason)
		}
	}
	return s
}

func (s *scope) cancel(reason string) {
	if s.canceled {
		return
	}
	s.canceled, s.reason = true, reason
	s.done.Resolve(nil, failure.NewCanceledError())
	on := s.on
	s.on = nil
	for _, f := range on {
		f()
	}
	for _, c := range s.children {
		c.cancel(reason)
	}
}

// onCancel calls f when the scope is cancelled; at once if it is.
func (s *scope) onCancel(f func()) {
	if s.canceled {
		f()
		return
	}
	s.on = append(s.on, f)
}

// WithCancel makes a scope below that of ctx. cancel cancels it and takes a reason.
func WithCancel(ctx Context) (Context, func(reason string)) {
	s := ctx.run().newScope(ctx.scope())
	return &context{s}, s.cancel
}

// WithoutCancel makes a scope that the cancellation of ctx does not reach: for cleaning up.
func WithoutCancel(ctx Context) (Context, func(reason string)) {
	s := ctx.run().newScope(nil)
	s.update = ctx.scope().update
	return &context{s}, s.cancel
}

// Canceled says whether the scope of ctx is, and Done is a future that fails with a *failure.CanceledError then.
func Canceled(ctx Context) bool { return ctx.scope().canceled }

// Done is resolved when ctx is cancelled.
func Done(ctx Context) *Future { return ctx.scope().done }

// RunOf is the run that a context belongs to.
func RunOf(ctx ReadContext) *Run { return ctx.run() }

// CurrentUpdate is the update whose handler, or validator, runs with ctx.
func CurrentUpdate(ctx ReadContext) (UpdateInfo, bool) {
	var u *UpdateInfo
	switch c := ctx.(type) {
	case *reader:
		u = c.update
	case Context:
		u = c.scope().update
	}
	if u == nil {
		return UpdateInfo{}, false
	}
	return *u, true
}
