package matching

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/clock"
)

const second = clock.Nanos(time.Second)

// bench is a queue whose rows the test does not care about: it begins with an empty page, at time 1000 s.
type bench struct {
	*Queue[string, string]
	now clock.Nanos
	log []string
}

func newBench(memory int) *bench {
	b := &bench{now: 1000 * second}
	b.Queue = New[string, string](Options[string]{
		Memory: memory, Key: func(s string) string { return s }, LimitMemory: 5 * time.Minute,
	})
	p := &Poller[string]{Value: "first"}
	b.Queue.Poll(b.now, p)
	b.BeginPage()
	b.EndPage(b.now, nil, true)
	b.Cancel(p)
	return b
}

func (b *bench) note(matches []Match[string, string]) {
	for _, m := range matches {
		s := m.Poller.Value + "=" + m.Task.Value
		if m.Task.Backlog {
			s += "*"
		}
		if m.Scaling != 0 {
			s += fmt.Sprintf("(%+d)", m.Scaling)
		}
		b.log = append(b.log, s)
	}
}

func (b *bench) offer(names ...string) {
	for _, name := range names {
		b.note(b.Offer(b.now, &Task[string]{Value: name, Priority: int32(name[0] - '0'), At: b.now, Added: b.now}))
	}
}

func (b *bench) poll(names ...string) *Poller[string] {
	var p *Poller[string]
	for _, name := range names {
		p = &Poller[string]{Value: name}
		b.note(b.Poll(b.now, p))
	}
	return p
}

func (b *bench) query(name string, dead *bool) {
	b.note(b.OfferQuery(b.now, &Task[string]{Value: name, Added: b.now, Dead: func() bool { return *dead }}))
}

// took checks the matches since the last call: poller=task, * from the backlog, (+1) or (-1) scaling advice.
func (b *bench) took(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(b.log, " "); got != want {
		t.Errorf("matches: %s\nwant:    %s", got, want)
	}
	b.log = nil
}

func TestPollersAreServedInOrder(t *testing.T) {
	b := newBench(10)
	b.poll("p1", "p2", "p3")
	b.offer("3a", "3b")
	b.took(t, "p1=3a p2=3b")
	b.offer("3c", "3d")
	b.poll("p4")
	b.took(t, "p3=3c p4=3d*")
}

func TestPriorityThenAge(t *testing.T) {
	b := newBench(10)
	b.offer("5a", "3a", "1a", "0b", "1b", "9c") // 0 and 9 count as 3
	b.poll("p", "p", "p", "p", "p", "p")
	b.took(t, "p=1a*(+1) p=1b*(+1) p=3a*(+1) p=0b*(+1) p=9c* p=5a*")
}

func TestCanceledPollerGetsNothing(t *testing.T) {
	b := newBench(10)
	b.poll("p1")
	p := b.poll("p2")
	b.poll("p3")
	if !b.Cancel(p) || b.Cancel(p) {
		t.Error("want the first Cancel to succeed and the second to fail")
	}
	b.offer("3a", "3b", "3c")
	b.took(t, "p1=3a p3=3b")
	if b.Stats(b.now).Count != 1 {
		t.Error("3c does not wait")
	}
}

func TestRequeueGoesToTheFront(t *testing.T) {
	b := newBench(10)
	b.offer("3a", "3b")
	b.now += second
	b.offer("3c")
	m := b.Poll(b.now, &Poller[string]{Value: "p1"})[0]
	b.note(b.Requeue(b.now, &Task[string]{Value: m.Task.Value, At: m.Task.At, Added: m.Task.Added}))
	b.poll("p2", "p3", "p4")
	b.took(t, "p2=3a*(+1) p3=3b* p4=3c*")
}

func TestQueriesGoFirstAndDieInTheQueue(t *testing.T) {
	b := newBench(10)
	alive, dead := false, true
	b.offer("1a")
	b.query("q1", &dead)
	b.query("q2", &alive)
	b.poll("p1", "p2")
	b.took(t, "p1=q2* p2=1a*")
	for range 1000 {
		b.query("q", &dead)
	}
	if n := len(b.queries); n > 2*minPrune {
		t.Errorf("%d dead queries are kept", n)
	}
	b.poll("p3")
	b.query("q3", &alive)
	b.took(t, "p3=q3")
}

func TestRateLimit(t *testing.T) {
	one, none, bad := 1.0, 0.0, -1.0
	b := newBench(10)
	b.Limit(b.now, &one)
	b.offer("3a", "3b", "3c")
	b.poll("p1", "p2", "p3")
	b.took(t, "p1=3a*(+1)")
	if due := b.NextTick(b.now); due != b.now+second {
		t.Errorf("next tick in %v, want 1s", due.Sub(b.now))
	}
	if !b.Stats(b.now).RateLimited {
		t.Error("not reported as rate limited")
	}
	b.now += second - 1000
	b.note(b.Tick(b.now))
	b.Limit(b.now, &bad) // no wish
	b.Limit(b.now, nil)
	b.now += 1001
	b.note(b.Tick(b.now))
	b.took(t, "p2=3b*(+1)")

	b.Limit(b.now, &none)
	b.now += 100 * second
	b.note(b.Tick(b.now))
	b.took(t, "")
	if due := b.NextTick(b.now); due != 0 {
		t.Errorf("a blocked queue wants a tick at %d", due)
	}
	alive := false
	b.query("q", &alive) // not limited
	b.took(t, "p3=q")
	b.now += 301 * second // the wish is forgotten
	b.Limit(b.now, nil)
	b.poll("p4")
	b.took(t, "p4=3c*")
}

func TestRateLimitHoldsOverTime(t *testing.T) {
	rate := 50.0
	b := newBench(1000)
	b.Limit(b.now, &rate)
	for i := range 1000 {
		b.offer(fmt.Sprint("3x", i))
		b.poll("p")
	}
	for end := b.now + 10*second; ; {
		due := b.NextTick(b.now)
		if due == 0 || due > end {
			break
		}
		b.now = due
		b.note(b.Tick(b.now))
	}
	if n := len(b.log); n < 500 || n > 506 {
		t.Errorf("%d tasks in 10 s, want 500 and the burst of 5", n)
	}
}

func TestScalingAdvice(t *testing.T) {
	b := newBench(100)
	b.poll("p1")
	b.now += second
	b.offer("3a") // waited for in vain
	b.took(t, "p1=3a(-1)")
	b.poll("p2")
	b.offer("3b")
	b.took(t, "p2=3b")
	b.offer("3c", "3d")
	b.now += second / 4
	b.poll("p3", "p4")
	b.took(t, "p3=3c*(+1) p4=3d*")

	for i := range 50 {
		b.offer(fmt.Sprint("3x", i))
	}
	b.now += second
	for range 40 {
		b.poll("p")
	}
	if n := strings.Count(strings.Join(b.log, " "), "+1"); n != advicePerSecond {
		t.Errorf("%d decisions at once, want %d", n, advicePerSecond)
	}
}

func TestStats(t *testing.T) {
	b := newBench(4)
	for range 10 {
		b.offer("1a", "3a")
		b.now += second
	}
	s := b.Stats(b.now)
	if s.Count != 20 || s.Age != 10*time.Second || s.AddRate < 1.9 || s.AddRate > 2.1 || s.DispatchRate != 0 {
		t.Errorf("with a backlog: %+v", s)
	}
	if s := b.PriorityStats(b.now, 1); s.Count != 10 || s.Age != 10*time.Second {
		t.Errorf("priority 1: %+v", s)
	}
	b.now += 60 * second
	if s := b.Stats(b.now); s.AddRate != 0 || s.Age != 70*time.Second {
		t.Errorf("a minute later: %+v", s)
	}
}

func TestOldestVolatileIsDropped(t *testing.T) {
	b := newBench(3)
	for i := range 5 {
		b.now += second
		b.note(b.Offer(b.now, &Task[string]{Value: fmt.Sprint("v", i), At: b.now, Added: b.now, Volatile: true}))
	}
	b.offer("3a", "3b", "3c")
	b.poll("p", "p", "p", "p", "p", "p", "p")
	b.took(t, "p=v2*(+1) p=v3* p=v4* p=3a* p=3b* p=3c*")
}

func TestParkKeepsOnlyTheCount(t *testing.T) {
	b := newBench(10)
	b.offer("3a", "3b", "1a")
	b.Park(b.now)
	if s := b.Stats(b.now); s.Count != 3 || b.durable != 0 || !b.Cold() || !b.Empty() {
		t.Errorf("parked: %+v, %d in memory", s, b.durable)
	}
	b.offer("3c")
	if b.Stats(b.now).Count != 4 || b.durable != 0 || b.WantsPage(b.now) {
		t.Error("an offer to a parked queue is to be counted only")
	}
	p := b.poll("p")
	if !b.WantsPage(b.now) {
		t.Fatal("a poll does not wake a parked queue")
	}
	b.Cancel(p)
	b.BeginPage()
	b.EndPage(b.now, nil, true)
	if b.Stats(b.now).Count != 0 {
		t.Error("nothing in the store, but still counting")
	}
}

func TestRecount(t *testing.T) {
	b := newBench(10)
	b.Park(b.now)
	b.Recount([5]int64{0, 0, 7, 0, 2}, [5]clock.Nanos{2: b.now - 5*second, 4: b.now - second}, true)
	if s := b.Stats(b.now); s.Count != 9 || s.Age != 5*time.Second {
		t.Errorf("recounted: %+v", s)
	}
	b.Recount([5]int64{2: 1}, [5]clock.Nanos{2: b.now - 5*second}, false)
	if s := b.Stats(b.now); s.Count != 9 {
		t.Errorf("an incomplete count lowered the estimate: %+v", s)
	}
	b.Recount([5]int64{}, [5]clock.Nanos{}, true)
	if s := b.Stats(b.now); s.Count != 0 {
		t.Errorf("nothing there: %+v", s)
	}
}

func BenchmarkMatch(b *testing.B) {
	q := newBench(1000)
	t := Task[string]{Value: "t", Priority: 3}
	b.ReportAllocs()
	for b.Loop() {
		q.now++
		q.Queue.Poll(q.now, &Poller[string]{})
		task := t
		task.At = q.now
		if len(q.Offer(q.now, &task)) != 1 {
			b.Fatal("no match")
		}
	}
}

func BenchmarkBacklog(b *testing.B) {
	q := newBench(1000)
	for i := range 500 {
		q.offer(fmt.Sprint("3x", i))
	}
	t := Task[string]{Value: "t", Priority: 3}
	b.ReportAllocs()
	for b.Loop() {
		q.now++
		task := t
		task.At = q.now
		q.Offer(q.now, &task)
		if len(q.Queue.Poll(q.now, &Poller[string]{})) != 1 {
			b.Fatal("no match")
		}
	}
}
