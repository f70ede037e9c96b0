package historycheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// model is a small server of one run: it does what the service's documents say, choosing at random what happens next.
// It shares nothing with the checker but the builder. Its choices come from a seed and not one by one from rapid, which
// favours small numbers so much that histories would hardly get past their first signals.
type model struct {
	*builder
	rng *rand.Rand

	task    int   // 0 none, 1 scheduled, 2 started
	attempt int32 // of the pending task; from 2 on its events are not written
	paused  bool
	closed  bool
	reset   bool
	names   int
	force   bool // the next task must be scheduled whatever else

	buffer []news

	activities       []int64
	asked            map[int64]int64
	timers           []int64
	children         []int64
	running          map[int64]int64
	signals, cancels []int64
	admitted         []string
	accepted         []string
	acceptedBy       map[string]int64
	operations       []int64
	canceled         bool
}

// news is one event (or pair) from outside; write appends it.
type news struct {
	moves, wakes bool
	timer        int64 // fired timer, whose cancellation deletes the news
	write        func()
}

// pick chooses one of n; chance says yes once in n times. what tells the reader which choice it is.
func (m *model) pick(n int, what string) int    { return m.rng.IntN(n) }
func (m *model) chance(n int, what string) bool { return m.rng.IntN(n) == 0 }

func (m *model) name(prefix string) string {
	m.names++
	return fmt.Sprintf("%s%d", prefix, m.names)
}

// take removes and returns a random element.
func take[T any](m *model, from *[]T, what string) T {
	i := m.pick(len(*from), what)
	v := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return v
}

// deliver buffers the news while a task is started and writes them otherwise.
func (m *model) deliver(n news) {
	if m.task == 2 {
		m.buffer = append(m.buffer, n)
		return
	}
	m.write(n)
	m.wake(n.wakes)
}

func (m *model) write(n news) {
	n.write()
	if m.task == 1 && m.attempt > 1 {
		m.attempt = 0 // the retry lost its place and will be written anew
	}
}

func (m *model) wake(wakes bool) {
	if m.closed || m.paused || !wakes || m.task != 0 {
		return
	}
	m.sched(1)
	m.task, m.attempt = 1, 1
}

// flush writes the buffer, ends of things last, and schedules a task when needed.
func (m *model) flush(needed bool) {
	buffer := m.buffer
	m.buffer = nil
	for _, last := range []bool{false, true} {
		for _, n := range buffer {
			if n.moves == last {
				n.write()
			}
		}
	}
	m.wake(needed || len(buffer) > 0)
}

// outside lists what may happen around the run.
func (m *model) outside() []func() {
	list := []func(){
		func() {
			id := ""
			if m.chance(2, "request ID") {
				id = m.name("r")
			}
			m.deliver(news{wakes: true, write: func() { m.signal(id) }})
		},
		func() { id := m.name("o"); m.deliver(news{write: func() { m.options(id) }}) },
	}
	if !m.canceled {
		list = append(list, func() { m.canceled = true; m.deliver(news{wakes: true, write: func() { m.cancelRequest() }}) })
	}
	if len(m.activities) > 0 {
		list = append(list, m.endSomeActivity)
	}
	if len(m.timers) > 0 {
		list = append(list, func() {
			t := take(m, &m.timers, "timer")
			m.deliver(news{wakes: true, timer: t, write: func() { m.timerFire(t, m.event(t).GetTimerStartedEventAttributes().TimerId) }})
		})
	}
	if len(m.children) > 0 {
		list = append(list, func() {
			c := take(m, &m.children, "child")
			id := m.event(c).GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowId
			if m.chance(2, "child starts") {
				m.deliver(news{wakes: true, write: func() { m.running[c] = m.childStart(c, id) }})
			} else {
				m.deliver(news{wakes: true, write: func() { m.childStartFail(c, id) }})
			}
		})
	}
	if len(m.running) > 0 && m.task != 2 {
		list = append(list, m.endSomeChild)
	}
	if len(m.signals) > 0 {
		list = append(list, func() {
			s := take(m, &m.signals, "signal")
			id := m.event(s).GetSignalExternalWorkflowExecutionInitiatedEventAttributes().WorkflowExecution.WorkflowId
			ok := m.chance(2, "delivered")
			m.deliver(news{wakes: true, write: func() {
				if ok {
					m.signalOutDone(s, id)
				} else {
					m.signalOutFail(s, id)
				}
			}})
		})
	}
	if len(m.cancels) > 0 {
		list = append(list, func() {
			c := take(m, &m.cancels, "cancel")
			id := m.event(c).GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes().WorkflowExecution.WorkflowId
			ok := m.chance(2, "delivered")
			m.deliver(news{wakes: true, write: func() {
				if ok {
					m.cancelOutDone(c, id)
				} else {
					m.cancelOutFail(c, id)
				}
			}})
		})
	}
	if len(m.operations) > 0 {
		list = append(list, func() {
			n := take(m, &m.operations, "operation")
			m.deliver(news{wakes: true, moves: true, write: func() {
				m.add(&historypb.NexusOperationCompletedEventAttributes{ScheduledEventId: n})
			}})
		})
	}
	return list
}

func (m *model) endSomeActivity() {
	x := take(m, &m.activities, "activity")
	kind := m.pick(4, "how the activity ends")
	request := m.asked[x]
	m.deliver(news{wakes: true, moves: true, write: func() {
		switch {
		case kind == 0:
			m.activityFail(x, m.activityStart(x))
		case kind == 1:
			m.activityTimeout(x, 0, enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
		case kind == 2 && request != 0:
			m.activityCanceled(x, m.activityStart(x), request)
		default:
			m.activityDone(x)
		}
	}})
}

func (m *model) endSomeChild() {
	initiated := make([]int64, 0, len(m.running))
	for c := range m.running {
		initiated = append(initiated, c)
	}
	slices.Sort(initiated)
	c := take(m, &initiated, "running child")
	s := m.running[c]
	delete(m.running, c)
	execution := run(m.event(c).GetStartChildWorkflowExecutionInitiatedEventAttributes().WorkflowId, "other")
	ends := []proto.Message{
		&historypb.ChildWorkflowExecutionCompletedEventAttributes{InitiatedEventId: c, StartedEventId: s, WorkflowExecution: execution},
		&historypb.ChildWorkflowExecutionFailedEventAttributes{InitiatedEventId: c, StartedEventId: s, WorkflowExecution: execution,
			Failure: &failurepb.Failure{}, RetryState: enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET},
		&historypb.ChildWorkflowExecutionCanceledEventAttributes{InitiatedEventId: c, StartedEventId: s, WorkflowExecution: execution},
		&historypb.ChildWorkflowExecutionTimedOutEventAttributes{InitiatedEventId: c, StartedEventId: s, WorkflowExecution: execution,
			RetryState: enumspb.RETRY_STATE_TIMEOUT},
		&historypb.ChildWorkflowExecutionTerminatedEventAttributes{InitiatedEventId: c, StartedEventId: s, WorkflowExecution: execution},
	}
	end := ends[m.pick(len(ends), "how the child ends")]
	m.deliver(news{wakes: true, moves: true, write: func() { m.add(end) }})
}

// command writes the events of one random command.
func (m *model) command() {
	switch m.pick(14, "command") {
	case 0:
		m.activities = append(m.activities, m.activity(m.name("a")))
	case 1:
		m.timers = append(m.timers, m.timer(m.name("t")))
	case 2:
		m.children = append(m.children, m.child(m.name("c")))
	case 3:
		m.signals = append(m.signals, m.signalOut(m.name("s")))
	case 4:
		m.cancels = append(m.cancels, m.cancelOut(m.name("x")))
	case 5:
		m.marker()
	case 6:
		m.upsert("Keyword")
	case 7:
		m.memo()
	case 8:
		id := m.name("u")
		m.acceptedBy[id] = m.updateAccept(id)
		m.accepted = append(m.accepted, id)
	case 9:
		if len(m.admitted) > 0 {
			id := take(m, &m.admitted, "admitted update")
			m.acceptedBy[id] = m.updateAccept(id)
			m.last().GetWorkflowExecutionUpdateAcceptedEventAttributes().AcceptedRequest = nil
			m.accepted = append(m.accepted, id)
		}
	case 10:
		if len(m.accepted) > 0 {
			id := take(m, &m.accepted, "accepted update")
			m.updateComplete(id, m.acceptedBy[id])
		}
	case 11:
		m.cancelSomeTimer()
	case 12:
		m.cancelSomeActivity()
	case 13:
		m.operations = append(m.operations, m.nexus())
	}
}

// cancelSomeTimer cancels a pending timer; one whose firing is buffered counts as pending.
func (m *model) cancelSomeTimer() {
	if i := slices.IndexFunc(m.buffer, func(n news) bool { return n.timer != 0 }); i >= 0 && m.chance(2, "cancel a fired timer") {
		t := m.buffer[i].timer
		m.buffer = slices.Delete(m.buffer, i, i+1)
		m.timerCancel(t, m.event(t).GetTimerStartedEventAttributes().TimerId)
	} else if len(m.timers) > 0 {
		t := take(m, &m.timers, "timer")
		m.timerCancel(t, m.event(t).GetTimerStartedEventAttributes().TimerId)
	}
}

func (m *model) cancelSomeActivity() {
	if len(m.activities) == 0 {
		return
	}
	i := m.pick(len(m.activities), "activity")
	x := m.activities[i]
	if m.asked[x] != 0 {
		return
	}
	r := m.activityCancel(x)
	m.asked[x] = r
	switch m.pick(3, "activity runs") {
	case 0: // not started: canceled at once
		m.activities = slices.Delete(m.activities, i, i+1)
		m.activityCanceled(x, 0, r)
		m.force = true
	case 1: // not started: canceled with the flush
		m.activities = slices.Delete(m.activities, i, i+1)
		m.buffer = append(m.buffer, news{wakes: true, moves: true, write: func() { m.activityCanceled(x, 0, r) }})
	}
}

// complete ends the started task well, perhaps closing the run.
func (m *model) completeTask() {
	if m.attempt > 1 {
		m.sched(m.attempt).taskStart()
	}
	closing := m.chance(10, "close the run")
	if closing && len(m.buffer) > 0 && m.attempt == 1 {
		m.fail(unhandled)
		m.task = 0
		m.flush(true)
		return
	}
	m.complete()
	m.task, m.attempt = 0, 0
	for range m.pick(4, "commands") {
		m.command()
	}
	if closing && len(m.buffer) == 0 {
		m.closed = true
		switch m.pick(4, "close") {
		case 0:
			m.completeRun()
		case 1:
			m.failRun(enumspb.RETRY_STATE_RETRY_POLICY_NOT_SET, "")
		case 2:
			m.end(&historypb.WorkflowExecutionCanceledEventAttributes{WorkflowTaskCompletedEventId: m.completed})
		case 3:
			m.continueAsNew("run-next")
		}
		return
	}
	force := m.force
	m.force = false
	m.flush(force || m.pick(4, "heartbeat") == 0)
}

// failTask ends the started task badly. Only a first attempt is written.
func (m *model) failTask() {
	if m.attempt == 1 {
		if m.chance(2, "timeout") {
			m.taskTimeout(enumspb.TIMEOUT_TYPE_START_TO_CLOSE)
		} else {
			m.fail(crashed)
		}
	}
	m.task = 0
	switch {
	case m.paused:
		m.flush(false)
	case len(m.buffer) > 0 || m.attempt == 1 && m.chance(2, "sticky"):
		m.flush(true)
	default:
		m.task, m.attempt = 1, m.attempt+1
	}
}

func (m *model) resetRun() {
	m.fail(enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW)
	a := m.last().GetWorkflowTaskFailedEventAttributes()
	a.BaseRunId, a.NewRunId = "run-1", "run-reset"
	m.buffer, m.task, m.reset = nil, 0, true
	for range m.pick(3, "admitted") {
		id := m.name("u")
		m.updateAdmit(id)
		m.admitted = append(m.admitted, id)
	}
	m.wake(true)
}

// step does one thing and leaves the run at rest.
func (m *model) step() {
	if m.task == 1 && m.chance(2, "start the task") {
		if m.attempt == 0 {
			m.attempt = 1
			m.sched(1)
		}
		if m.attempt == 1 {
			m.taskStart()
		}
		m.task = 2
		return
	}
	if m.task == 2 {
		switch k := m.pick(8, "with the task"); {
		case k < 3:
			m.completeTask()
			return
		case k == 3:
			m.failTask()
			return
		case k == 4 && m.attempt == 1 && !m.reset && !m.paused && len(m.buffer) == 0:
			m.resetRun()
			return
		}
	}
	switch m.pick(80, "control") {
	case 0:
		if m.task == 2 && m.attempt == 1 && m.chance(2, "fail the task first") {
			m.fail(forced)
		}
		m.terminate()
		m.closed = true
		return
	case 1, 2, 3, 4, 5, 6:
		if m.task == 0 {
			if m.paused = !m.paused; m.paused {
				m.pause()
			} else {
				m.unpause()
				m.wake(true)
			}
			return
		}
	case 7, 8:
		if m.task == 1 && m.attempt == 1 {
			m.taskTimeout(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START)
			m.task = 0
			m.wake(true)
			return
		}
	}
	list := m.outside()
	list[m.pick(len(list), "news")]()
}

// randomHistory is a legal history at rest.
func randomHistory(t *rapid.T) []*historypb.HistoryEvent {
	seed := rapid.Uint64().Draw(t, "seed")
	m := &model{builder: newBuilder(), rng: rand.New(rand.NewPCG(seed, 0)), asked: map[int64]int64{}, running: map[int64]int64{}, acceptedBy: map[string]int64{}}
	switch m.pick(6, "start") {
	default:
		m.start()
	case 0:
		m.start().signal(m.name("r"))
	case 1:
		m.start(withDelay)
	}
	m.wake(true)
	for range rapid.SampledFrom([]int{120, 60, 30, 15, 8, 4, 2, 0}).Draw(t, "steps") {
		if m.closed {
			break
		}
		m.step()
	}
	return m.events
}

func TestRandomHistoriesPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkLegal(t, randomHistory(t)) })
}

// TestBentReferencesAreFound bends one reference between events in a random legal history. Nothing a history says
// about its own events may go unchecked.
func TestBentReferencesAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := randomHistory(t)
		type reference struct {
			event int
			field protoreflect.FieldDescriptor
		}
		var all []reference
		for i, e := range events {
			fields := attributesField(e).Message().Fields()
			for j := range fields.Len() {
				if fd := fields.Get(j); isReference(fd) {
					all = append(all, reference{i, fd})
				}
			}
		}
		if len(all) == 0 {
			t.Skip("no references")
		}
		r := rapid.SampledFrom(all).Draw(t, "reference")
		attributes := events[r.event].ProtoReflect().Mutable(attributesField(events[r.event])).Message()
		old := attributes.Get(r.field).Int()
		bent := rapid.Int64Range(0, int64(len(events))+1).Filter(func(v int64) bool { return v != old }).Draw(t, "bent")
		if toleratesBatch(events[r.event], r.field, bent) {
			t.Skip("a late outcome may name its command's batch")
		}
		attributes.Set(r.field, protoreflect.ValueOfInt64(bent))
		if err := Check(events); err == nil {
			t.Fatalf("%s of event %d bent from %d to %d goes unnoticed\n%s", r.field.Name(), r.event+1, old, bent, outline(events))
		}
	})
}

// isReference tells whether a field names another event of the same history. The sequencing ID of an update is the
// worker's word and only bounded.
func isReference(fd protoreflect.FieldDescriptor) bool {
	name := string(fd.Name())
	return fd.Kind() == protoreflect.Int64Kind && strings.HasSuffix(name, "_event_id") && !fd.IsList() &&
		name != "accepted_request_sequencing_event_id" && name != "parent_initiated_event_id" && name != "external_initiated_event_id"
}

func toleratesBatch(e *historypb.HistoryEvent, fd protoreflect.FieldDescriptor, bent int64) bool {
	if fd.Name() != "workflow_task_completed_event_id" {
		return false
	}
	return bent != 0 && (e.GetStartChildWorkflowExecutionFailedEventAttributes() != nil ||
		e.GetRequestCancelExternalWorkflowExecutionFailedEventAttributes() != nil)
}

// TestRemovedEventsAreFound takes one event out of the middle of a random legal history and closes the gap in the
// IDs, as a lost write would.
func TestRemovedEventsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := randomHistory(t)
		var all []int
		for i := range len(events) - 1 {
			if missed(events, i) {
				all = append(all, i)
			}
		}
		if len(all) == 0 {
			t.Skip("nothing that would be missed")
		}
		gone := rapid.SampledFrom(all).Draw(t, "gone")
		before := outline(events)
		cut := slices.Delete(slices.Clone(events), gone, gone+1)
		for _, e := range cut[gone:] {
			e.EventId--
		}
		shiftReferences(cut, int64(gone)+1)
		if err := (Options{AtRest: true}).Check(cut); err == nil {
			t.Fatalf("event %d taken out goes unnoticed\n%s", gone+1, before)
		}
	})
}

// missed tells whether the history shows by itself that its event i is gone: others lean on it.
func missed(events []*historypb.HistoryEvent, i int) bool {
	later := func(match func(kind) bool) bool {
		return slices.ContainsFunc(events[i+1:], func(e *historypb.HistoryEvent) bool { return match(kinds[e.EventType]) })
	}
	switch events[i].EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		return true
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		return later(func(k kind) bool { return k.class == classTask })
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		// A task that stays started is legal until something comes that would have to wait for its end.
		return later(func(k kind) bool { return k.class != classForce })
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		// Without it a Canceled may pass for that of an activity that was never started.
		return events[i+1].EventType != enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED
	}
	return false
}

// shiftReferences lowers each reference beyond gone by one; those to the removed event itself become 0.
func shiftReferences(events []*historypb.HistoryEvent, gone int64) {
	for _, e := range events {
		attributes := e.ProtoReflect().Mutable(attributesField(e)).Message()
		fields := attributes.Descriptor().Fields()
		for j := range fields.Len() {
			fd := fields.Get(j)
			if !isReference(fd) {
				continue
			}
			switch v := attributes.Get(fd).Int(); {
			case v == gone:
				attributes.Set(fd, protoreflect.ValueOfInt64(0))
			case v > gone:
				attributes.Set(fd, protoreflect.ValueOfInt64(v-1))
			}
		}
	}
}
