package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/internal/storage/faulty"
)

// A shard that starts over while it still looks for lost offers must not forget what it was looking for.
func TestStartingOverTwiceLosesNoOffer(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Shards = 1 })
	a, b := wf("a"), wf("b")
	r.begin(a)
	r.begin(b)
	r.do(a, signal("offer"))
	want := r.sink.take()
	r.do(a, signal("started"))
	fail := func(ops ...faulty.Op) {
		r.fault = func(c faulty.Call) faulty.Fault {
			for _, op := range ops {
				if c.Op == op {
					return faulty.NotApplied
				}
			}
			return faulty.None
		}
	}
	fail(faulty.Apply, faulty.Scan)
	r.submit(b, "", signal("add"))
	r.think()
	r.write() // fails: the shard forgets that a's task was taken
	fail(faulty.Scan)
	r.clock.advance(100 * time.Millisecond)
	r.write() // acquired again, but the rows cannot be read
	r.think()
	fail(faulty.Apply)
	r.submit(b, "", signal("add"))
	r.think()
	r.write() // fails again, before the second look at the rows
	r.fault = nil
	r.clock.advance(time.Minute)
	r.settle()
	if diff := cmp.Diff(want, r.sink.take()); diff != "" {
		t.Errorf("offers after the shard lost its memory twice:\n%s", diff)
	}
}
