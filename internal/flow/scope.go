package flow

import (
	"strings"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/perdure/perdure/failure"
)

// scope is a cancellation scope: cancelling it cancels what was started in it and in the scopes below, in the order in which
// that began. A scope hangs on its parent only while it has something to cancel, so that a run which makes many does not grow.
type scope struct {
	r      *Run
	parent *scope
	own    bool // cancelled itself, not by a parent
	reason string
	hooks  hook  // a ring, of which this is no element
	up     *hook // in the parent's
	done   *Future
	update *UpdateInfo
	header map[string]*commonpb.Payload // of the message, or the start
	work   *working                     // of the handler to which the scope belongs
}

// hook is called once, when its scope is cancelled.
type hook struct {
	s          *scope
	prev, next *hook
	f          func()
}

// context is the only Context there is.
type context struct {
	s      *scope
	values *pair
}

func (c *context) run() *Run     { return c.s.r }
func (c *context) scope() *scope { return c.s }
func (c *context) pairs() *pair  { return c.values }

// reader is the ReadContext of queries, validators and init steps.
type reader struct {
	r      *Run
	update *UpdateInfo
	header map[string]*commonpb.Payload
	values *pair
}

func (c *reader) run() *Run    { return c.r }
func (c *reader) pairs() *pair { return c.values }

// pair is a value that a context carries, and those that it carried before.
type pair struct {
	key, value any
	before     *pair
}

func (r *Run) newScope(parent *scope) *scope {
	s := &scope{}
	s.init(r, parent)
	return s
}

func (s *scope) init(r *Run, parent *scope) {
	s.r, s.parent = r, parent
	s.hooks.prev, s.hooks.next = &s.hooks, &s.hooks
	if parent != nil {
		s.update, s.header, s.work = parent.update, parent.header, parent.work
	}
}

func (s *scope) canceled() bool {
	for ; s != nil; s = s.parent {
		if s.own {
			return true
		}
	}
	return false
}

func (s *scope) cancel(reason string) {
	if s.canceled() {
		return
	}
	s.own, s.reason = true, reason
	s.fire()
}

func (s *scope) fire() {
	for h := s.hooks.next; h != &s.hooks; h = s.hooks.next {
		h.remove()
		h.f()
	}
}

// onCancel calls f when the scope is cancelled, at once if it is, and never once of is settled.
func (s *scope) onCancel(of *Future, f func()) {
	if s.canceled() {
		f()
		return
	}
	of.hook = s.add(f)
}

func (s *scope) add(f func()) *hook {
	if s.up == nil && s.parent != nil {
		s.up = s.parent.add(s.fire)
	}
	h := &hook{s: s, f: f, prev: s.hooks.prev, next: &s.hooks}
	h.prev.next, s.hooks.prev = h, h
	return h
}

func (h *hook) remove() {
	if h.next == nil {
		return
	}
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
	if s := h.s; s.up != nil && s.hooks.next == &s.hooks {
		s.up.remove()
		s.up = nil
	}
}

// CancelFunc cancels a scope, for a reason that may be left out. Only the first time counts.
type CancelFunc func(reason ...string)

func (s *scope) cancelFor(reason ...string) { s.cancel(strings.Join(reason, ": ")) }

// WithCancel makes a scope below that of ctx.
func WithCancel(ctx Context) (Context, CancelFunc) {
	s := ctx.run().newScope(ctx.scope())
	return &context{s, ctx.pairs()}, s.cancelFor
}

// WithoutCancel makes a scope that the cancellation of ctx does not reach: for cleaning up.
func WithoutCancel(ctx Context) (Context, CancelFunc) {
	s := ctx.run().newScope(nil)
	above := ctx.scope()
	s.update, s.header, s.work = above.update, above.header, above.work
	return &context{s, ctx.pairs()}, s.cancelFor
}

// Canceled says whether the scope of ctx is.
func Canceled(ctx Context) bool { return ctx.scope().canceled() }

// CancelReason is what the scope of ctx was cancelled for; empty while it is not.
func CancelReason(ctx Context) string {
	for s := ctx.scope(); s != nil; s = s.parent {
		if s.own {
			return s.reason
		}
	}
	return ""
}

// Done is resolved, with a *failure.CanceledError, when ctx is cancelled.
func Done(ctx Context) *Future {
	s := ctx.scope()
	if s.done == nil {
		s.done = s.r.NewFuture()
		s.onCancel(s.done, func() { s.done.Resolve(nil, failure.NewCanceledError()) })
	}
	return s.done
}

// RunOf is the run that a context belongs to.
func RunOf(ctx ReadContext) *Run { return ctx.run() }

// WithValue is ctx with a value. Scopes below keep it.
func WithValue(ctx Context, key, value any) Context {
	return &context{ctx.scope(), &pair{key, value, ctx.pairs()}}
}

// WithReadValue is WithValue for the context of a query or validator.
func WithReadValue(ctx ReadContext, key, value any) ReadContext {
	if c, ok := ctx.(Context); ok {
		return WithValue(c, key, value)
	}
	c := *ctx.(*reader)
	c.values = &pair{key, value, c.values}
	return &c
}

// Value is what ctx carries under a key, or nil.
func Value(ctx ReadContext, key any) any {
	for p := ctx.pairs(); p != nil; p = p.before {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// Header is what came with the message whose handler runs with ctx, or with the start.
func Header(ctx ReadContext) map[string]*commonpb.Payload {
	switch c := ctx.(type) {
	case *reader:
		return c.header
	case Context:
		return c.scope().header
	}
	return nil
}

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
