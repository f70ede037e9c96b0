package sim

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

type ctx = context.Context

const callTime = 10 * time.Second // a caller's patience

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// rpc is one call over a network that loses, delays and doubles messages. send runs at the server; done is called once,
// with errTimeout when no answer came.
func (s *sim) rpc(send func(n *node, reply func(any, error)), done func(any, error)) {
	over := false
	finish := func(answer any, err error) {
		if !over {
			over = true
			done(answer, err)
		}
	}
	s.after(callTime, func() { finish(nil, errTimeout) })
	if s.chance(s.faults.requestLost) {
		return
	}
	f := s.faults
	way := func() time.Duration {
		if s.chance(f.late) {
			return s.between(time.Second, 30*time.Second)
		}
		return s.between(50*time.Microsecond, 20*time.Millisecond)
	}
	arrive := func(reply func(any, error)) {
		if s.node == nil {
			reply(nil, errDown)
			return
		}
		send(s.node, reply)
	}
	s.after(way(), func() {
		arrive(func(answer any, err error) {
			if s.chance(f.replyLost) {
				return
			}
			s.after(way(), func() { finish(answer, err) })
		})
	})
	if s.chance(s.faults.doubled) {
		s.after(way(), func() { arrive(func(any, error) {}) })
	}
}
