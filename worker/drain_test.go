package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Adder continues as new while an update is at work, and has to take along what it does.
type Adder struct {
	state   struct{ Sum int } // a value: what is read too early is lost
	next    bool
	release bool
}

func (a *Adder) Init(_ workflow.ReadContext, state struct{ Sum int }) { a.state = state }

func (a *Adder) Run(ctx workflow.Context, begun struct{ Sum int }) (int, error) {
	if err := workflow.Await(ctx, func() bool { return a.next }); err != nil {
		return 0, err
	}
	if begun.Sum > 0 {
		return begun.Sum, nil
	}
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return 0, err
	}
	return 0, workflow.ContinueAsNew(drained, (*Adder).Run, a.state)
}

func (a *Adder) Add(ctx workflow.Context, n int) (int, error) {
	if err := workflow.Await(ctx, func() bool { return a.release }); err != nil {
		return 0, err
	}
	a.state.Sum += n
	return a.state.Sum, nil
}

func (a *Adder) Next(workflow.Context)    { a.next = true }
func (a *Adder) Release(workflow.Context) { a.release = true }

func TestWhatAHandlerAnswersForIsHandedOn(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q, ctx := server(t), uuid.NewString(), t.Context()
		start(t, c, q, o, worker.Workflow[*Adder])
		h := must[*client.Handle[*Adder, int]](t)(client.Start(ctx, c, (*Adder).Run, struct{ Sum int }{}, client.StartOptions{ID: q, TaskQueue: q}))
		u := must[*client.UpdateHandle[int]](t)(client.StartUpdate(ctx, h, (*Adder).Add, 5, client.UpdateOptions{WaitFor: client.Accepted}))
		ok(t, client.Signal0(ctx, h, (*Adder).Next))
		ok(t, client.Signal0(ctx, h, (*Adder).Release))
		if n := must[int](t)(u.Result(ctx)); n != 5 {
			t.Errorf("the update answered %d", n)
		}
		h = client.HandleOf[*Adder, int](c, q, "") // whichever run there is
		ok(t, client.Signal0(ctx, h, (*Adder).Next))
		if n := must[int](t)(h.Result(ctx)); n != 5 {
			t.Errorf("the next run began with %d", n)
		}
	})
}

// Dawdler waits between Drain and what it was for.
type Dawdler struct {
	Adder
	idle bool
}

func (h *Dawdler) Idle(workflow.ReadContext) (bool, error) { return h.idle, nil }

func (h *Dawdler) Init(workflow.ReadContext, bool) {}

func (h *Dawdler) Run(ctx workflow.Context, again bool) (string, error) {
	if again {
		return "again", nil
	}
	drained, err := workflow.Drain(ctx)
	if err != nil {
		return "", err
	}
	h.idle = true
	if err := workflow.Await(ctx, func() bool { return h.next }); err != nil {
		return "", err
	}
	said := ""
	func() {
		defer func() { said = fmt.Sprint(recover()) }()
		_ = workflow.ContinueAsNew(drained, (*Dawdler).Run, true)
	}()
	h.release = true
	if drained, err = workflow.Drain(ctx); err != nil {
		return "", err
	}
	if !strings.Contains(said, "handlers are at work that began after Drain (update Add)") {
		return said, nil
	}
	return "", workflow.ContinueAsNew(drained, (*Dawdler).Run, true)
}

func TestDrainIsNotForLater(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	start(t, c, q, worker.Options{}, worker.Workflow[*Dawdler])
	h := must[*client.Handle[*Dawdler, string]](t)(client.Start(ctx, c, (*Dawdler).Run, false, client.StartOptions{TaskQueue: q}))
	if !h.Started() {
		t.Error("the workflow was not started by its start")
	}
	for !must[bool](t)(client.Query(ctx, h, (*Dawdler).Idle)) {
		// The update is to come after the first Drain.
	}
	must[*client.UpdateHandle[int]](t)(client.StartUpdate(ctx, h, (*Dawdler).Add, 5, client.UpdateOptions{WaitFor: client.Accepted}))
	ok(t, client.Signal0(ctx, h, (*Dawdler).Next))
	if s := must[string](t)(h.Result(ctx)); s != "again" {
		t.Errorf("got %s", s)
	}
}

// Patient is cancelled while it waits with a timeout.
type Patient struct{}

func (*Patient) Run(ctx workflow.Context) (string, error) {
	held, err := workflow.AwaitFor(ctx, 48*time.Hour, func() bool { return false })
	if err != nil {
		return "", err
	}
	return fmt.Sprint("held: ", held), nil
}

func TestAwaitForTellsACancellationFromATimeout(t *testing.T) {
	caches(t, func(t *testing.T, o worker.Options) {
		c, q, ctx := server(t), uuid.NewString(), t.Context()
		start(t, c, q, o, worker.Workflow[*Patient])
		h := must[*client.Handle[*Patient, string]](t)(client.Start0(ctx, c, (*Patient).Run, client.StartOptions{TaskQueue: q}))
		ok(t, h.Cancel(ctx, "enough"))
		if s, err := h.Result(ctx); !failure.IsCanceled(err) {
			t.Errorf("%s, %v", s, err)
		}
	})
}

// Clumsy misuses what guards others.
type Clumsy struct{}

func (*Clumsy) Run(ctx workflow.Context) ([]string, error) {
	var said []string
	try := func(f func()) {
		defer func() { said = append(said, fmt.Sprint(recover())) }()
		f()
	}
	var m workflow.Mutex
	try(m.Unlock)
	if err := m.Lock(ctx); err != nil {
		return nil, err
	}
	m.Unlock()
	try(m.Unlock)
	s := workflow.NewSemaphore(2)
	try(func() { s.Release(1) })
	try(func() { _ = s.Acquire(ctx, 3) })
	return said, nil
}

func TestMisuseOfMutexAndSemaphorePanics(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	start(t, c, q, worker.Options{}, worker.Workflow[*Clumsy])
	h := must[*client.Handle[*Clumsy, []string]](t)(client.Start0(ctx, c, (*Clumsy).Run, client.StartOptions{TaskQueue: q}))
	for i, s := range must[[]string](t)(h.Result(ctx)) {
		if !strings.HasPrefix(s, "workflow: ") {
			t.Errorf("%d: %s", i, s)
		}
	}
}

// Noted is a contract that several workflow types meet: one message, no main method.
type Noted interface {
	Note(workflow.Context, string)
}

type Notebook struct{ notes []string }

func (n *Notebook) Run(ctx workflow.Context) ([]string, error) {
	return n.notes, workflow.Await(ctx, func() bool { return len(n.notes) == 2 })
}
func (n *Notebook) Note(_ workflow.Context, s string) { n.notes = append(n.notes, s) }

type Writer struct{}

func (*Writer) Run(ctx workflow.Context, to string) error {
	return workflow.Signal(ctx, workflow.External[Noted]{WorkflowID: to}, Noted.Note, "from a workflow").Wait()
}

func TestAContractMayHaveMessagesOnly(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	start(t, c, q, worker.Options{}, func(w *worker.Worker) {
		worker.Workflow[*Notebook](w)
		worker.Workflow[*Writer](w)
	})
	h := must[*client.Handle[*Notebook, []string]](t)(client.Start0(ctx, c, (*Notebook).Run, client.StartOptions{ID: q, TaskQueue: q}))
	ok(t, client.Signal(ctx, client.HandleOf[Noted, client.None](c, q, ""), Noted.Note, "from a client"))
	must[*client.Handle[*Writer, client.None]](t)(client.StartVoid(ctx, c, (*Writer).Run, q, client.StartOptions{TaskQueue: q}))
	if got := must[[]string](t)(h.Result(ctx)); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}
