package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage/faulty"
)

func (r *rig) outboxRows() int {
	n := 0
	for slot := range ids.Slot(ids.Slots) {
		n += r.count(record.AllOutbox(slot))
	}
	return n
}

func TestMessageReachesItsTargetAndItsRowGoes(t *testing.T) {
	r := newRig(t, nil)
	from, to := wf("from"), wf("to-%d", 3)
	r.begin(from)
	r.begin(to)
	r.do(from, signal("send to-3"))
	if got := r.do(to, signal("read")); got != ids.EventID(2) {
		t.Errorf("target has %v events", got)
	}
	if got := r.do(from, signal("read")); got != ids.EventID(3) { // started, sent, answered
		t.Errorf("sender has %v events", got)
	}
	if n := r.outboxRows(); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestMessageLeavesOnlyOnceDurable(t *testing.T) {
	r := newRig(t, nil)
	r.begin(wf("from"))
	r.begin(wf("to"))
	r.submit(wf("from"), "", signal("send to"))
	r.think()
	if got := r.submit(wf("to"), "", signal("read")); true {
		r.think()
		if got.answer != ids.EventID(1) {
			t.Errorf("delivered before it was durable: %+v", got)
		}
	}
	r.settle()
	if got := r.do(wf("to"), signal("read")); got != ids.EventID(2) {
		t.Errorf("target has %v events", got)
	}
}

func TestMessageThatNeedsNoDeliveryIsAcknowledged(t *testing.T) {
	r := newRig(t, nil)
	r.begin(wf("from"))
	r.do(wf("from"), signal("send nobody"))
	if n := r.outboxRows(); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestMessageIsDeliveredAgainAfterACrash(t *testing.T) {
	r := newRig(t, nil)
	r.begin(wf("from"))
	r.begin(wf("to"))
	r.submit(wf("from"), "", signal("send to"))
	r.think()
	r.write() // durable; the crash comes before the delivery
	if n := r.outboxRows(); n != 1 {
		t.Fatalf("%d rows", n)
	}
	r.crash(nil)
	if got := r.do(wf("to"), signal("read")); got != ids.EventID(2) {
		t.Errorf("target has %v events", got)
	}
	if n := r.outboxRows(); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestDeliveryIsTriedAgainWithGrowingPauses(t *testing.T) {
	r := newRig(t, nil)
	r.begin(wf("from"))
	r.do(wf("from"), signal("send late")) // no such workflow: testRespond wants a retry
	var pauses []time.Duration
	for range 9 {
		p := r.nextWake()
		pauses = append(pauses, p)
		r.clock.advance(p)
		r.settle()
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(pauses, want) {
		t.Errorf("pauses %v", pauses)
	}
	r.begin(wf("late"))
	r.clock.advance(r.nextWake())
	r.settle()
	if got := r.do(wf("late"), signal("read")); got != ids.EventID(2) {
		t.Errorf("target has %v events", got)
	}
	if n := r.outboxRows(); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestMessagesToOneTargetKeepTheirOrder(t *testing.T) {
	var seen []int64
	core := testCore()
	core.Deliver = func(from ids.RunKey, m *execution.Message) (ids.WorkflowKey, ids.RunID, execution.Input, bool) {
		seen = append(seen, m.Number)
		return testDeliver(from, m)
	}
	r := newRig(t, func(o *Options) { o.Core = core; o.OutboxRows = 8; o.Deliveries = 4 })
	r.begin(wf("from"))
	r.begin(wf("to"))
	r.begin(wf("other"))
	var want []int64
	for i := range 50 {
		r.submit(wf("from"), "", signal("send to"))
		want = append(want, int64(i+1))
	}
	r.settle()
	if !slices.Equal(seen, want) {
		t.Errorf("delivered %v", seen)
	}
	if n := r.outboxRows(); n != 0 {
		t.Errorf("%d rows left", n)
	}
}

func TestOutboxBeyondItsMemoryIsDelivered(t *testing.T) {
	const n = 300
	r := newRig(t, func(o *Options) { o.OutboxRows = 10; o.Deliveries = 3; o.Shards = 1 })
	s := r.eng.Shards()[0]
	r.begin(wf("from"))
	for i := range n {
		r.begin(wf("to%d", i))
	}
	for i := range n {
		r.submit(wf("from"), "", signal("send to%d", i))
	}
	most := 0
	for {
		r.think()
		most = max(most, len(s.outbox.messages))
		if !r.write() {
			break
		}
	}
	if most > 10 {
		t.Errorf("%d messages in memory", most)
	}
	if left := r.outboxRows(); left != 0 {
		t.Errorf("%d rows left", left)
	}
	for i := range n {
		if got := r.do(wf("to%d", i), signal("read")); got.(ids.EventID) < 2 {
			t.Fatalf("target %d got nothing", i)
		}
	}
	if len(s.outbox.lanes)+len(s.outbox.messages)+s.outbox.running != 0 {
		t.Errorf("outbox not empty: %d lanes, %d messages, %d running", len(s.outbox.lanes), len(s.outbox.messages), s.outbox.running)
	}
}

func TestMessagesSurviveAShardThatStartsOver(t *testing.T) {
	r := newRig(t, nil)
	const n = 30
	for i := range n {
		r.begin(wf("from%d", i))
		r.begin(wf("to%d", i))
	}
	dice := rand.New(rand.NewPCG(1, 2))
	r.fault = func(c faulty.Call) faulty.Fault {
		if c.Op != faulty.Apply || dice.IntN(4) > 0 {
			return faulty.None
		}
		return []faulty.Fault{faulty.NotApplied, faulty.UnknownApplied, faulty.UnknownNotApplied, faulty.Fenced}[dice.IntN(4)]
	}
	sent := make(map[int]bool)
	for i := range n {
		o := r.submit(wf("from%d", i), "", signal("send to%d", i))
		r.settle()
		sent[i] = o.err == nil
	}
	r.fault = nil
	for range 20 {
		r.clock.advance(time.Minute)
		r.settle()
	}
	if left := r.outboxRows(); left != 0 {
		t.Errorf("%d rows left", left)
	}
	for i := range n {
		if got := r.do(wf("to%d", i), signal("read")); sent[i] && got.(ids.EventID) < 2 {
			t.Errorf("target %d got nothing, though the sender was told it is durable", i)
		}
	}
}
