package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// These are the workflows of the histories in testdata/histories. Their code may change only in ways that old histories
// survive: that they do is what TestReplayCorpus shows. A new feature gets a new workflow, or a new story, and a new history.

// corpusType is a workflow type that workers and replayers can register.
type corpusType struct {
	work   func(*worker.Worker)
	replay func(*worker.Replayer)
}

func corpusOf[W any]() corpusType { return corpusType{worker.Workflow[W], worker.ReplayWorkflow[W]} }

var corpusTypes = []corpusType{
	corpusOf[*CorpusMessages](), corpusOf[*CorpusInit](), corpusOf[*CorpusAny](), corpusOf[*CorpusTimers](), corpusOf[*CorpusActivities](),
	corpusOf[*CorpusLocals](), corpusOf[*CorpusParent](), corpusOf[*CorpusChild](), corpusOf[*CorpusExternals](), corpusOf[*CorpusScopes](),
	corpusOf[*CorpusMarkers](), corpusOf[*CorpusVersions](), corpusOf[*CorpusChain](), corpusOf[*CorpusAttributes](), corpusOf[*CorpusConcurrency](),
	corpusOf[*CorpusRuntime](), corpusOf[*CorpusReset](), corpusOf[*CorpusDrain](), corpusOf[*CorpusTrip](), corpusOf[*CorpusRetried](),
	corpusOf[*CorpusLong](),
}

var corpusSecond = workflow.ActivityOptions{StartToClose: 10 * time.Second}

func CorpusEcho(_ context.Context, s string) (string, error) { return "echo " + s, nil }

func CorpusBroken(context.Context) error {
	return failure.NonRetryable("broken", "Broken", errors.New("worn out"), 1, "two")
}

func CorpusFlaky(ctx context.Context) (int32, error) {
	n := activity.GetInfo(ctx).Attempt
	if n < 3 {
		activity.RecordHeartbeat(ctx, n)
		return 0, errors.New("not yet")
	}
	return n, nil
}

// CorpusStuck ends when it is cancelled.
func CorpusStuck(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			activity.RecordHeartbeat(ctx)
		}
	}
}

// CorpusLate comes back when nobody waits any more.
func CorpusLate(context.Context) error {
	time.Sleep(2 * time.Second)
	return nil
}

// CorpusInput is an argument.
type CorpusInput struct {
	Name  string         `json:"name"`
	Limit map[string]int `json:"limit,omitempty"`
}

// CorpusMessages takes messages of every shape.
type CorpusMessages struct {
	name string
	got  []string
	done bool
}

func (m *CorpusMessages) Init(_ workflow.ReadContext, in CorpusInput) error {
	m.name = in.Name
	return nil
}

func (m *CorpusMessages) Run(ctx workflow.Context, _ CorpusInput) ([]string, error) {
	err := workflow.Await(ctx, func() bool { return m.done })
	return append([]string{m.name}, m.got...), err
}

func (m *CorpusMessages) note(format string, args ...any) {
	m.got = append(m.got, fmt.Sprintf(format, args...))
}

func (m *CorpusMessages) Zero(workflow.Context)                   { m.note("zero") }
func (m *CorpusMessages) One(_ workflow.Context, s string)        { m.note("one %s", s) }
func (m *CorpusMessages) Two(_ workflow.Context, s string, n int) { m.note("two %s %d", s, n) }
func (m *CorpusMessages) Three(_ workflow.Context, in CorpusInput, b []byte, p *int) {
	m.note("three %v %d %t", in, len(b), p == nil)
}

func (m *CorpusMessages) Custom(ctx workflow.Context, s string) {
	out, err := workflow.Activity(ctx, CorpusEcho, s, corpusSecond).Get()
	m.note("custom %s %v", out, err)
}

func (m *CorpusMessages) Any(_ workflow.Context, name string, args workflow.Args) {
	m.note("any %s %d", name, args.Len())
}

func (m *CorpusMessages) Say(ctx workflow.Context, s string) (string, error) {
	u, _ := workflow.CurrentUpdate(ctx)
	out, err := workflow.Activity(ctx, CorpusEcho, s, corpusSecond).Get()
	m.note("said %s %s", s, u.Name)
	return out, err
}

func (m *CorpusMessages) ValidateSay(_ workflow.ReadContext, s string) error {
	if s == "" {
		return errors.New("say something")
	}
	return nil
}

func (m *CorpusMessages) Refuse(workflow.Context) error {
	return failure.NonRetryable("no", "Refused", nil, m.name)
}

func (m *CorpusMessages) Add(_ workflow.Context, a, b int) (int, error) { return a + b, nil }
func (m *CorpusMessages) Void(workflow.Context, CorpusInput) error      { return nil }

func (m *CorpusMessages) AnyUpdate(ctx workflow.Context, name string, args workflow.Args) (int, error) {
	return args.Len(), workflow.Sleep(ctx, time.Millisecond)
}

func (m *CorpusMessages) Got(workflow.ReadContext) (int, error) { return len(m.got), nil }

func (m *CorpusMessages) Finish(workflow.Context) (bool, error) {
	m.done = true
	return true, nil
}

var _ = workflow.Define[*CorpusMessages](workflow.Rename((*CorpusMessages).Custom, "Custom Signal Name"))

// CorpusInit fails before it begins.
type CorpusInit struct{}

func (*CorpusInit) Init(_ workflow.ReadContext, name string) error {
	return failure.NonRetryable("cannot be "+name, "Init", nil)
}
func (*CorpusInit) Run(workflow.Context, string) error { return nil }

// CorpusAny is the dynamic workflow.
type CorpusAny struct{}

func (*CorpusAny) Run(ctx workflow.Context, args workflow.Args) (string, error) {
	s, err := workflow.Activity(ctx, CorpusEcho, workflow.GetInfo(ctx).Type, corpusSecond).Get()
	return fmt.Sprintf("%s %d", s, args.Len()), err
}

// CorpusTimers has timers that fire, that are cancelled after they were sent and before, and that nobody needed.
type CorpusTimers struct{ go_ bool }

func (t *CorpusTimers) Go(workflow.Context) { t.go_ = true }

func (t *CorpusTimers) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	below, cancel := workflow.WithCancel(ctx)
	sent := workflow.NewTimer(below, time.Hour)
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	unsent := workflow.NewTimer(below, time.Hour)
	cancel("enough")
	_, first := sent.Get()
	_, second := unsent.Get()
	_, third := workflow.NewTimer(ctx, 0).Get()
	expired, err := workflow.AwaitFor(ctx, time.Millisecond, func() bool { return t.go_ })
	if err != nil {
		return "", err
	}
	held, err := workflow.AwaitFor(ctx, time.Hour, func() bool { return t.go_ })
	return fmt.Sprint(failure.IsCanceled(first), failure.IsCanceled(second), third, expired, held), err
}

// CorpusActivities has activities that end in every way.
type CorpusActivities struct{}

func (*CorpusActivities) Run(ctx workflow.Context) (string, error) {
	patient := corpusSecond
	patient.Retry = &workflow.RetryPolicy{InitialInterval: time.Millisecond}
	n, err := workflow.Activity0(ctx, CorpusFlaky, patient).Get()
	if err != nil {
		return "", err
	}
	_, broken := workflow.ActivityVoid0(ctx, CorpusBroken, corpusSecond).Get()
	_, late := workflow.ActivityVoid0(ctx, CorpusLate, workflow.ActivityOptions{
		ID: "late", StartToClose: 50 * time.Millisecond, Retry: &workflow.RetryPolicy{MaximumAttempts: 1},
	}).Get()
	_, nobody := workflow.ActivityByName[string](ctx, "Nobody", workflow.ActivityOptions{
		TaskQueue: workflow.GetInfo(ctx).WorkflowID + "-nobody", ScheduleToStart: 50 * time.Millisecond, StartToClose: time.Second,
	}, "x", 1).Get()
	below, cancel := workflow.WithCancel(ctx)
	beating := workflow.ActivityOptions{StartToClose: 10 * time.Second, Heartbeat: 100 * time.Millisecond}
	impatient := workflow.ActivityVoid0(below, CorpusStuck, beating)
	beating.WaitForCancellation = true
	waiting := workflow.ActivityVoid0(below, CorpusStuck, beating)
	if err := workflow.Sleep(ctx, 50*time.Millisecond); err != nil {
		return "", err
	}
	unsent := workflow.ActivityVoid0(below, CorpusStuck, beating)
	cancel("enough")
	_, one := impatient.Get()
	_, two := waiting.Get()
	_, three := unsent.Get()
	return fmt.Sprint(n, failure.IsApplication(broken, "Broken"), failure.IsTimeout(late), failure.IsTimeout(nobody),
		failure.IsCanceled(one), failure.IsCanceled(two), failure.IsCanceled(three)), nil
}

// CorpusLocals has local activities.
type CorpusLocals struct{}

func (*CorpusLocals) Run(ctx workflow.Context) (string, error) {
	o := workflow.LocalActivityOptions{StartToClose: time.Second, Retry: &workflow.RetryPolicy{InitialInterval: time.Millisecond}}
	a := workflow.LocalActivity(ctx, CorpusEcho, "a", o)
	b := workflow.LocalActivity0(ctx, CorpusFlaky, o)
	n, err := b.Get()
	if err != nil {
		return "", err
	}
	s, err := a.Get()
	if err != nil {
		return "", err
	}
	_, broken := workflow.LocalActivityVoid0(ctx, CorpusBroken, o).Get()
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	t, err := workflow.LocalActivity(ctx, CorpusEcho, "t", o).Get()
	return fmt.Sprintf("%s %d %t %s", s, n, failure.IsApplication(broken, "Broken"), t), err
}

// CorpusChild ends in the way it is told to.
type CorpusChild struct{ done bool }

func (c *CorpusChild) Go(workflow.Context) { c.done = true }

func (c *CorpusChild) Run(ctx workflow.Context, how string) (string, error) {
	switch how {
	case "fail":
		return "", failure.NonRetryable("failed", "Child", nil)
	case "wait":
		if err := workflow.Await(ctx, func() bool { return c.done }); err != nil {
			return "", err
		}
	}
	return how, nil
}

// CorpusParent has children that end in every way. Somebody terminates the one named "/terminated".
type CorpusParent struct{}

func (*CorpusParent) Run(ctx workflow.Context) (string, error) {
	child := func(ctx workflow.Context, name, how string, o workflow.ChildOptions) *workflow.ChildHandle[*CorpusChild, string] {
		o.WorkflowID = workflow.GetInfo(ctx).WorkflowID + "/" + name
		return workflow.Child(ctx, (*CorpusChild).Run, how, o)
	}
	outcome := func(c *workflow.ChildHandle[*CorpusChild, string]) string {
		s, err := c.Result().Get()
		var gone *failure.TerminatedError
		var there *workflow.ChildAlreadyStartedError
		switch {
		case err == nil:
			return s + " "
		case failure.IsCanceled(err):
			return "canceled "
		case failure.IsTimeout(err):
			return "timeout "
		case failure.IsApplication(err, "Child"):
			return "failed "
		case errors.As(err, &gone):
			return "terminated "
		case errors.As(err, &there):
			return "already "
		}
		return err.Error()
	}
	all := outcome(workflow.Child(ctx, (*CorpusChild).Run, "nameless", workflow.ChildOptions{}))
	all += outcome(child(ctx, "failed", "fail", workflow.ChildOptions{}))
	terminated := child(ctx, "terminated", "wait", workflow.ChildOptions{})
	late := child(ctx, "late", "wait", workflow.ChildOptions{RunTimeout: time.Second})
	abandoned := child(ctx, "abandoned", "wait", workflow.ChildOptions{ParentClose: enumspb.PARENT_CLOSE_POLICY_ABANDON})
	if _, err := abandoned.Started(); err != nil {
		return "", err
	}
	all += outcome(child(ctx, "abandoned", "wait", workflow.ChildOptions{}))
	signalled := child(ctx, "signalled", "wait", workflow.ChildOptions{})
	if _, err := signalled.Started(); err != nil {
		return "", err
	}
	if _, err := workflow.Signal0(ctx, signalled, (*CorpusChild).Go).Get(); err != nil {
		return "", err
	}
	all += outcome(signalled)
	below, cancel := workflow.WithCancel(ctx)
	waiting := child(below, "waiting", "wait", workflow.ChildOptions{WaitForCancellation: true})
	impatient := child(below, "impatient", "wait", workflow.ChildOptions{})
	if _, err := waiting.Started(); err != nil {
		return "", err
	}
	if _, err := impatient.Started(); err != nil {
		return "", err
	}
	unsent := child(below, "unsent", "wait", workflow.ChildOptions{})
	cancel("enough")
	all += outcome(impatient) + outcome(unsent) + outcome(waiting)
	return all + outcome(terminated) + outcome(late), nil
}

// CorpusExternals signals and cancels others, who are there or not.
type CorpusExternals struct{}

func (*CorpusExternals) Run(ctx workflow.Context, target string) (string, error) {
	of := func(id string) workflow.External[*CorpusChild] {
		return workflow.External[*CorpusChild]{WorkflowID: id}
	}
	_, one := of(target+"/1").Cancel(ctx, "enough").Get()
	_, two := workflow.Signal0(ctx, of(target+"/2"), (*CorpusChild).Go).Get()
	_, three := of(target+"/nobody").Cancel(ctx, "enough").Get()
	_, four := of(target+"/nobody").SignalByName(ctx, "Hello", 1, "two").Get()
	var cancel, signal *workflow.ExternalError
	return fmt.Sprint(one, two, errors.As(three, &cancel) && cancel.NotFound, errors.As(four, &signal) && signal.NotFound), nil
}

// CorpusScopes is cancelled from outside, cleans up, and ends as cancelled.
type CorpusScopes struct{}

func (*CorpusScopes) Run(ctx workflow.Context) error {
	outer, cancelOuter := workflow.WithCancel(ctx)
	inner, _ := workflow.WithCancel(outer)
	a, b := workflow.NewTimer(inner, time.Hour), workflow.NewTimer(outer, time.Hour)
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return err
	}
	cancelOuter("inner things go with it")
	_, _ = a.Get()
	_, _ = b.Get()
	_, err := workflow.NewTimer(ctx, time.Hour).Get()
	apart, _ := workflow.WithoutCancel(ctx)
	if _, err := workflow.Activity(apart, CorpusEcho, workflow.CancelReason(ctx), corpusSecond).Get(); err != nil {
		return err
	}
	if failure.IsCanceled(err) {
		return failure.NewCanceledError("cleaned up")
	}
	return err
}

// CorpusMarkers has side effects and chance, and does what they say.
type CorpusMarkers struct{}

func (*CorpusMarkers) Run(ctx workflow.Context) (string, error) {
	n, err := workflow.SideEffect(ctx, func() int { return 42 })
	if err != nil {
		return "", err
	}
	m, err := workflow.SideEffect(ctx, func() CorpusInput { return CorpusInput{Name: "side", Limit: map[string]int{"a": n}} })
	if err != nil {
		return "", err
	}
	// Chance decides what is done, so that a replay with another chance would part.
	for range 6 {
		if workflow.Rand(ctx).IntN(2) == 0 {
			err = workflow.Sleep(ctx, time.Millisecond)
		} else {
			_, err = workflow.Activity(ctx, CorpusEcho, m.Name, corpusSecond).Get()
		}
		if err != nil {
			return "", err
		}
	}
	last, err := workflow.SideEffect(ctx, func() bool { return true })
	return fmt.Sprint(n, m, last), err
}

// CorpusVersions is after its second change. Histories from before the first, from between, and of now replay.
type CorpusVersions struct{}

func (*CorpusVersions) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	v := workflow.Version(ctx, "step", workflow.DefaultVersion, 2)
	for range v + 2 {
		if _, err := workflow.Activity(ctx, CorpusEcho, "step", corpusSecond).Get(); err != nil {
			return "", err
		}
	}
	if workflow.Version(ctx, "end", workflow.DefaultVersion, 1) == 1 {
		if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
			return "", err
		}
	}
	return fmt.Sprint(v, workflow.Version(ctx, "step", workflow.DefaultVersion, 2)), nil
}

// CorpusVersionsBefore is CorpusVersions before any change, CorpusVersionsBetween after the first.
type (
	CorpusVersionsBefore  struct{}
	CorpusVersionsBetween struct{}
)

func (*CorpusVersionsBefore) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	return workflow.Activity(ctx, CorpusEcho, "step", corpusSecond).Get()
}

func (*CorpusVersionsBetween) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	v := workflow.Version(ctx, "step", workflow.DefaultVersion, 1)
	for range v + 2 {
		if _, err := workflow.Activity(ctx, CorpusEcho, "step", corpusSecond).Get(); err != nil {
			return "", err
		}
	}
	return fmt.Sprint(v), nil
}

// CorpusVersionsMoved no longer supports what was before the first change.
type CorpusVersionsMoved struct{}

func (*CorpusVersionsMoved) Run(ctx workflow.Context) (string, error) {
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	v := workflow.Version(ctx, "step", 1, 2)
	for range v + 2 {
		if _, err := workflow.Activity(ctx, CorpusEcho, "step", corpusSecond).Get(); err != nil {
			return "", err
		}
	}
	if workflow.Version(ctx, "end", workflow.DefaultVersion, 1) == 1 {
		if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
			return "", err
		}
	}
	return fmt.Sprint(v), nil
}

var (
	_ = workflow.Define[*CorpusVersionsBefore](workflow.Name("CorpusVersions"))
	_ = workflow.Define[*CorpusVersionsBetween](workflow.Name("CorpusVersions"))
	_ = workflow.Define[*CorpusVersionsMoved](workflow.Name("CorpusVersions"))
)

// CorpusChain continues as new.
type CorpusChain struct{ n int }

func (c *CorpusChain) More(_ workflow.Context, n int) { c.n += n }

func (c *CorpusChain) Run(ctx workflow.Context, n int) (int, error) {
	c.n += n
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return 0, err
	}
	if n < 2 {
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return 0, err
		}
		return 0, workflow.ContinueAsNew(drained, (*CorpusChain).Run, n+1, workflow.ContinueAsNewOptions{TaskTimeout: 7 * time.Second})
	}
	return c.n, nil
}

// CorpusAttributes changes its search attributes and its memo.
type CorpusAttributes struct{}

func (*CorpusAttributes) Run(ctx workflow.Context) (string, error) {
	workflow.UpsertSearchAttributes(ctx, map[string]any{"BuildIds": []string{"corpus"}})
	workflow.UpsertMemo(ctx, map[string]any{"note": "first", "n": 1})
	workflow.SetCurrentDetails(ctx, "half way")
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	workflow.UpsertMemo(ctx, map[string]any{"note": "second"})
	return fmt.Sprint(len(workflow.GetInfo(ctx).Memo.GetFields())), nil
}

// CorpusConcurrency has coroutines that share things.
type CorpusConcurrency struct{}

func (*CorpusConcurrency) Run(ctx workflow.Context) (string, error) {
	var mu workflow.Mutex
	sem := workflow.NewSemaphore(2)
	ch := workflow.Channel[string]{Capacity: 1}
	promised, promise := workflow.NewFuture[int](ctx)
	left := 4
	for i := range left {
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer func() {
				if left--; left == 0 {
					ch.Close()
					promise.Set(7, nil)
				}
			}()
			_ = sem.Acquire(ctx, 1)
			_, _ = workflow.Activity(ctx, CorpusEcho, fmt.Sprint(i), corpusSecond).Get()
			sem.Release(1)
			_ = mu.Lock(ctx)
			_ = workflow.Sleep(ctx, time.Millisecond)
			mu.Unlock()
			_ = ch.Send(ctx, fmt.Sprint(i))
		})
	}
	n := 0
	for {
		_, more, err := ch.Receive(ctx)
		if err != nil {
			return "", err
		}
		if !more {
			break
		}
		n++
	}
	at, err := workflow.Select(ctx, workflow.NewTimer(ctx, time.Hour), promised)
	return fmt.Sprint(n, at), err
}

// CorpusRuntime sets handlers while it runs. The handler of "end" ends the run.
type CorpusRuntime struct{}

func (*CorpusRuntime) Run(ctx workflow.Context) (string, error) {
	var got []string
	workflow.SetUpdateHandler(ctx, "push", func(ctx workflow.Context, _ string, args workflow.Args) (any, error) {
		var s string
		err := args.Decode(&s)
		got = append(got, s)
		return len(got), err
	}, func(_ workflow.ReadContext, _ string, args workflow.Args) error {
		if args.Len() != 1 {
			return errors.New("one, please")
		}
		return nil
	})
	if err := workflow.Await(ctx, func() bool { return len(got) > 0 }); err != nil {
		return "", err
	}
	workflow.SetSignalHandler(ctx, "", func(ctx workflow.Context, name string, _ workflow.Args) error {
		if name == "end" {
			return failure.NonRetryable("the end", "End", nil)
		}
		s, err := workflow.Activity(ctx, CorpusEcho, name, corpusSecond).Get()
		got = append(got, s)
		return err
	})
	workflow.SetQueryHandler(ctx, "got", func(workflow.ReadContext, string, workflow.Args) (any, error) { return got, nil })
	return "", workflow.Sleep(ctx, time.Hour)
}

// CorpusReset has chance, a child without a name of its own, and a side effect, all of which a reset could mix up.
type CorpusReset struct{ signals, updates int }

func (r *CorpusReset) Poke(workflow.Context) { r.signals++ }
func (r *CorpusReset) Push(ctx workflow.Context, n int) (int, error) {
	r.updates += n
	return r.updates, workflow.Sleep(ctx, time.Millisecond)
}

func (r *CorpusReset) Run(ctx workflow.Context) (string, error) {
	if _, err := workflow.Activity(ctx, CorpusEcho, "before", corpusSecond).Get(); err != nil {
		return "", err
	}
	for range 4 {
		var err error
		if workflow.Rand(ctx).IntN(2) == 0 {
			err = workflow.Sleep(ctx, time.Millisecond)
		} else {
			_, err = workflow.SideEffect(ctx, func() int { return 1 })
		}
		if err != nil {
			return "", err
		}
	}
	s, err := workflow.Child(ctx, (*CorpusChild).Run, "child", workflow.ChildOptions{}).Result().Get()
	if err != nil {
		return "", err
	}
	err = workflow.Await(ctx, func() bool { return r.signals >= 2 && r.updates >= 3 })
	return fmt.Sprintf("%s %d %d", s, r.signals, r.updates), err
}

// CorpusDrain returns while handlers are at work, for one of which it does not wait.
type CorpusDrain struct{ leave, long bool }

func (d *CorpusDrain) Leave(workflow.Context) { d.leave = true }
func (d *CorpusDrain) Forever(ctx workflow.Context) {
	_ = workflow.Sleep(ctx, time.Hour)
}

func (d *CorpusDrain) Long(ctx workflow.Context) (string, error) {
	err := workflow.Await(ctx, func() bool { return d.leave })
	if err == nil {
		err = workflow.Sleep(ctx, 10*time.Millisecond)
	}
	return "drained", err
}

func (d *CorpusDrain) Run(ctx workflow.Context) (bool, error) {
	err := workflow.Await(ctx, func() bool { return d.leave })
	return workflow.AllHandlersFinished(ctx), err
}

var _ = workflow.Define[*CorpusDrain](workflow.AbandonUnfinished((*CorpusDrain).Forever))

// corpusTrips is how often CorpusTrip trips from now on.
var corpusTrips atomic.Int32

// CorpusTrip fails a workflow task in the middle of its life.
type CorpusTrip struct{ n int }

func (c *CorpusTrip) Poke(workflow.Context) { c.n++ }

func (c *CorpusTrip) Run(ctx workflow.Context) (int, error) {
	if err := workflow.Await(ctx, func() bool { return c.n > 0 }); err != nil {
		return 0, err
	}
	timer := workflow.NewTimer(ctx, time.Millisecond)
	if corpusTrips.Add(-1) >= 0 {
		panic("tripped")
	}
	_, err := timer.Get()
	return c.n, err
}

// CorpusRetried is retried, and says what went wrong before.
type CorpusRetried struct{}

func (*CorpusRetried) Run(ctx workflow.Context) (string, error) {
	i := workflow.GetInfo(ctx)
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	if i.Attempt == 1 {
		return "", failure.Retryable("first", "First", nil)
	}
	return fmt.Sprint(i.Attempt, i.LastFailure), nil
}

// CorpusLong does much at once, and again.
type CorpusLong struct{ sum int }

func (l *CorpusLong) Add(_ workflow.Context, n int) { l.sum += n }

func (l *CorpusLong) Run(ctx workflow.Context, rounds, each int) (int, error) {
	for range rounds {
		var all []workflow.Future[workflow.None]
		for range each {
			all = append(all, workflow.NewTimer(ctx, time.Millisecond))
		}
		for _, f := range all {
			if _, err := f.Get(); err != nil {
				return 0, err
			}
		}
	}
	err := workflow.Await(ctx, func() bool { return l.sum >= each })
	return l.sum, err
}
