package matching

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdure/perdure/internal/clock"
)

// world is a queue with its store, its engine and its workers, as far as they matter: rows, offers on their way, and
// tasks taken.
type world struct {
	t      *rapid.T
	strict bool
	q      *Queue[int, int]
	now    clock.Nanos
	memory int

	tasks    []*Task[int] // by number
	rows     map[string]int
	inflight []int
	pending  map[int]bool // offered or requeued, and not handed out since
	taken    []int
	// early tasks were handed out before the queue spilled: it does not remember them, and a page may bring the rows of
	// those that are not finished.
	early    map[int]bool
	parked   []*Poller[int]
	volatile int

	reading  bool
	after    Position
	limit    int
	page     []*Task[int]
	pageEnd  bool
	pageRead bool
}

func rowKeyOf(priority int32, at clock.Nanos, n int) string {
	return fmt.Sprintf("%d|%06d|%04d", priority, at, n)
}

func newWorld(t *rapid.T, strict bool) *world {
	w := &world{
		t: t, strict: strict, now: 1, memory: rapid.IntRange(1, 6).Draw(t, "memory"),
		rows: map[string]int{}, pending: map[int]bool{}, early: map[int]bool{},
	}
	w.q = New[int, int](Options[int]{Memory: w.memory, Key: func(n int) string {
		return rowKeyOf(w.tasks[n].Priority, w.tasks[n].At, n)
	}})
	return w
}

func (w *world) create() {
	n := len(w.tasks)
	at := w.now
	if !w.strict {
		at -= clock.Nanos(rapid.IntRange(0, 3).Draw(w.t, "older"))
	}
	task := &Task[int]{Value: n, Priority: int32(rapid.IntRange(1, 5).Draw(w.t, "priority")), At: at}
	w.tasks = append(w.tasks, task)
	w.rows[rowKeyOf(task.Priority, at, n)] = n
	w.inflight = append(w.inflight, n)
	if w.strict {
		w.deliver(0)
	}
}

func (w *world) copy(n int) *Task[int] {
	t := w.tasks[n]
	return &Task[int]{Value: n, Priority: t.Priority, At: t.At, Added: t.At, Volatile: t.Volatile}
}

func (w *world) deliver(i int) {
	n := w.inflight[i]
	w.inflight = slices.Delete(w.inflight, i, i+1)
	w.pending[n] = w.matters(n)
	w.matched(w.q.Offer(w.now, w.copy(n)))
}

// matters: it may have been paged in, taken and finished before its offer came.
func (w *world) matters(n int) bool {
	_, row := w.rows[rowKeyOf(w.tasks[n].Priority, w.tasks[n].At, n)]
	return row || w.tasks[n].Volatile
}

func (w *world) createVolatile() {
	n := len(w.tasks)
	w.tasks = append(w.tasks, &Task[int]{Value: n, Priority: 3, At: w.now, Volatile: true})
	w.volatile++
	w.pending[n] = true
	w.matched(w.q.Offer(w.now, w.copy(n)))
}

func (w *world) matched(matches []Match[int, int]) {
	for _, m := range matches {
		i := slices.Index(w.parked, m.Poller)
		if i < 0 {
			w.t.Fatalf("task %d went to a poller that does not wait", m.Task.Value)
		}
		w.parked = slices.Delete(w.parked, i, i+1)
		n := m.Task.Value
		if w.strict && w.pending[n] {
			w.checkFirst(n)
		} else if w.strict && !w.early[n] {
			w.t.Fatalf("task %d handed out twice", n)
		}
		w.early[n] = !w.q.Spilled()
		w.pending[n] = false
		w.taken = append(w.taken, n)
	}
}

// checkFirst: nothing that waits goes before n.
func (w *world) checkFirst(n int) {
	t := w.tasks[n]
	for o, waits := range w.pending {
		u := w.tasks[o]
		if !waits || u.Volatile || t.Volatile || o == n {
			continue
		}
		if u.Priority < t.Priority || u.Priority == t.Priority && u.At < t.At {
			w.t.Fatalf("task %d (priority %d, at %d) handed out before %d (priority %d, at %d)",
				n, t.Priority, t.At, o, u.Priority, u.At)
		}
	}
}

func (w *world) poll() {
	p := &Poller[int]{}
	w.parked = append(w.parked, p)
	w.matched(w.q.Poll(w.now, p))
}

func (w *world) cancel(i int) {
	if !w.q.Cancel(w.parked[i]) {
		w.t.Fatal("a waiting poller could not be canceled")
	}
	w.parked = slices.Delete(w.parked, i, i+1)
}

func (w *world) finish(i int, requeue bool) {
	n := w.taken[i]
	w.taken = slices.Delete(w.taken, i, i+1)
	if requeue && (w.matters(n) || !w.strict) {
		w.pending[n] = w.matters(n)
		w.matched(w.q.Requeue(w.now, w.copy(n)))
		return
	}
	if t := w.tasks[n]; !t.Volatile {
		delete(w.rows, rowKeyOf(t.Priority, t.At, n))
	}
}

// stepPage begins a page, reads it, or ends it.
func (w *world) stepPage(fail bool) {
	switch {
	case !w.reading && w.q.WantsPage(w.now):
		w.after, w.limit = w.q.BeginPage()
		if w.limit < 1 {
			w.t.Fatalf("page of %d rows wanted", w.limit)
		}
		w.reading, w.pageRead, w.page = true, false, nil
	case w.reading && !w.pageRead:
		for _, key := range slices.Sorted(maps.Keys(w.rows)) {
			if !w.after.covers(key) && len(w.page) < w.limit {
				t := w.copy(w.rows[key])
				t.Key = key
				w.page = append(w.page, t)
			}
		}
		w.pageRead, w.pageEnd = true, len(w.page) < w.limit
	case w.reading && fail:
		w.reading = false
		w.q.FailPage(w.now + 2)
	case w.reading:
		w.reading = false
		w.matched(w.q.EndPage(w.now, w.page, w.pageEnd))
	}
}

// crash loses the offers on their way and the takers of tasks. Every row has to be offered again.
func (w *world) crash() {
	w.inflight = nil
	w.taken = slices.DeleteFunc(w.taken, func(n int) bool { return !w.tasks[n].Volatile })
	w.q.Rescan()
	for _, n := range w.rows {
		w.pending[n] = true
	}
}

func (w *world) step() {
	pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(w.t, "which") }
	w.now++
	switch op := rapid.IntRange(0, 19).Draw(w.t, "op"); {
	case op < 5:
		w.create()
	case op < 8 && len(w.inflight) > 0:
		w.deliver(pick(len(w.inflight)))
	case op < 11:
		w.poll()
	case op == 11 && len(w.parked) > 0:
		w.cancel(pick(len(w.parked)))
	case op < 14 && len(w.taken) > 0:
		w.finish(pick(len(w.taken)), op == 12)
	case op < 17:
		w.stepPage(false)
	case op == 17:
		w.stepPage(true)
	case op == 18 && w.volatile < w.memory:
		w.createVolatile()
	case op == 19 && !w.strict:
		if rapid.Bool().Draw(w.t, "rescan") {
			w.crash()
		} else {
			w.q.Park(0)
		}
	}
	w.checkBounds()
}

func (w *world) checkBounds() {
	n := 0
	for l := range w.q.tasks {
		n += w.q.tasks[l].len()
	}
	if n != w.q.durable+w.q.volatile || w.q.durable > w.memory || len(w.q.store.held) > w.memory {
		w.t.Fatalf("%d tasks in memory (%d durable, %d volatile), %d held; the bound is %d",
			n, w.q.durable, w.q.volatile, len(w.q.store.held), w.memory)
	}
	if !w.q.Spilled() {
		for n, waits := range w.pending {
			w.early[n] = w.early[n] || !waits
		}
	}
	if len(w.parked) != w.q.Waiting() {
		w.t.Fatalf("%d pollers wait, the queue says %d", len(w.parked), w.q.Waiting())
	}
}

// drain lets everything come to rest with pollers enough.
func (w *world) drain() {
	for len(w.inflight) > 0 {
		w.deliver(0)
	}
	for range 20*len(w.tasks) + 20 {
		if !w.q.Spilled() && w.q.Stats(w.now).Count == 0 {
			break
		}
		w.now++
		if len(w.parked) == 0 {
			w.poll()
		}
		w.stepPage(false)
	}
	for n, waits := range w.pending {
		if waits && w.matters(n) {
			w.t.Fatalf("task %d was lost: %+v", n, *w.tasks[n])
		}
	}
	if w.q.Spilled() || w.q.Stats(w.now).Count != 0 {
		w.t.Fatalf("still spilled, or counting %d tasks, with nothing left", w.q.Stats(w.now).Count)
	}
}

func testWorld(t *testing.T, strict bool) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, strict)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			w.step()
		}
		w.drain()
	})
}

// Whatever is interleaved with what, a task that was offered reaches a poller.
func TestNoTaskIsLost(t *testing.T) { testWorld(t, false) }

// As long as offers are not late, and nothing is read again on purpose, each task is handed out once, in order.
func TestTasksAreHandedOutOnceAndInOrder(t *testing.T) { testWorld(t, true) }
