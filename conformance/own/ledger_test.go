package own

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/workflow"
	commonpb "go.temporal.io/api/common/v1"
)

type (
	Person struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	Entry struct {
		Title string         `json:"title"`
		Count int            `json:"count"`
		Price float64        `json:"price"`
		Tags  []string       `json:"tags"`
		Note  *string        `json:"note"`
		When  time.Time      `json:"when"`
		Owner Person         `json:"owner"`
		Extra map[string]int `json:"extra"`
	}
	Opening struct {
		Owner string `json:"owner"`
	}
	Closing struct {
		Owner string   `json:"owner"`
		Lines []string `json:"lines"`
	}
	Left struct {
		Name string `json:"name"`
		Left int    `json:"left"`
	}
)

// LedgerContract is what a client knows of the workflow Ledger, whatever language it is written in.
type LedgerContract interface {
	Run(ctx workflow.Context, opening Opening) (Closing, error)

	Touch(ctx workflow.Context)
	Remark(ctx workflow.Context, text string)
	Put(ctx workflow.Context, e Entry)
	Move(ctx workflow.Context, name string, steps int, left bool)
	Raw(ctx workflow.Context, data []byte)
	Note(ctx workflow.Context, text *string)
	Burn(ctx workflow.Context)
	Close(ctx workflow.Context)

	Lines(q workflow.ReadContext) ([]string, error)
	Has(q workflow.ReadContext, name string, count int) (bool, error)
	Last(q workflow.ReadContext) (*Entry, error)
	Held(q workflow.ReadContext) ([]byte, error)
	Noted(q workflow.ReadContext) (*string, error)
	Weigh(q workflow.ReadContext) (int, error)
	Who(q workflow.ReadContext) ([]string, error)

	Take(ctx workflow.Context, name string, count int) (Left, error)
	Fill(ctx workflow.Context, e Entry) error
	EchoBytes(ctx workflow.Context, data []byte) ([]byte, error)
	EchoNote(ctx workflow.Context, text *string) (*string, error)
	WaitFor(ctx workflow.Context, count int) ([]string, error)
	Header(ctx workflow.Context) (string, error)
	Call(ctx workflow.Context, queue, how string) ([]string, error)
	Later(ctx workflow.Context, queue, activityID string) ([]string, error)
	Child(ctx workflow.Context, queue, how string) ([]string, error)
	Tell(ctx workflow.Context, workflowID, text string) ([]string, error)
	Stop(ctx workflow.Context, workflowID string) ([]string, error)
}

// ScribeContract is what a Ledger knows of its children.
type ScribeContract interface {
	Run(ctx workflow.Context, e Entry, how string) (Entry, error)
	Say(ctx workflow.Context, what string, times int)
}

var (
	_ = workflow.Define[LedgerContract](workflow.Name("Ledger"), workflow.Rename(LedgerContract.Held, "Bytes"))
	_ = workflow.Define[ScribeContract](workflow.Name("Scribe"))
	_ = workflow.Define[*Ledger](workflow.Implements[LedgerContract]())
	_ = workflow.Define[*Scribe](workflow.Implements[ScribeContract]())
)

const tenSeconds = 10 * time.Second

var once = &workflow.RetryPolicy{MaximumAttempts: 1}

// plain is JSON as Python is told to write it, too.
func plain(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

// details decodes what came with a failure.
func details(v converter.Value) []any {
	all := []any{}
	args := converter.NewArgs(nil, v.Payloads())
	for i := range args.Len() {
		d, err := converter.Arg[any](args, i)
		if err != nil {
			d = err.Error()
		}
		all = append(all, d)
	}
	return all
}

// chain says an error and its causes, in words that both languages share.
func chain(err error) []string {
	lines := []string{}
	for ; err != nil; err = errors.Unwrap(err) {
		switch e := err.(type) {
		case *failure.ActivityError:
			lines = append(lines, "activity "+e.ActivityType)
		case *failure.ChildWorkflowError:
			lines = append(lines, "child "+e.WorkflowType)
		case *failure.CanceledError:
			lines = append(lines, "canceled "+plain(details(e.Details)))
		case *failure.TerminatedError:
			lines = append(lines, "terminated")
		case *failure.TimeoutError:
			lines = append(lines, fmt.Sprintf("timeout %s", timeouts[e.Kind.String()]))
		case *failure.ApplicationError:
			again := "retryable"
			if e.NonRetryable {
				again = "final"
			}
			lines = append(lines, fmt.Sprintf("application %s: %s %s %s", e.Type, e.Message, plain(details(e.Details)), again))
		default:
			lines = append(lines, fmt.Sprintf("%T: %v", err, err))
		}
	}
	return lines
}

var timeouts = map[string]string{"StartToClose": "START_TO_CLOSE", "ScheduleToClose": "SCHEDULE_TO_CLOSE", "Heartbeat": "HEARTBEAT"}

// burnt is a failure with everything that one can have.
func burnt() error {
	spark := failure.Retryable("a spark", "Spark", nil, []int{1, 2})
	return failure.NonRetryable("the ledger burnt", "Burnt", spark, map[string]int{"pages": 3}, "all")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// Ledger is the workflow in Go; python/ledger.py is the same in Python.
type Ledger struct {
	owner, by     string
	lines         []string
	entry         *Entry
	bytes         []byte
	note          *string
	left          map[string]int
	burnt, closed bool
}

func (l *Ledger) Init(_ workflow.ReadContext, o Opening) error {
	unset := "unset"
	l.owner, l.note, l.left = o.Owner, &unset, map[string]int{}
	return nil
}

func (l *Ledger) Run(ctx workflow.Context, _ Opening) (Closing, error) {
	l.by = who(ctx)
	if err := workflow.Await(ctx, func() bool { return l.closed || l.burnt }); err != nil {
		return Closing{}, err
	}
	if l.burnt {
		return Closing{}, burnt()
	}
	return Closing{l.owner, l.lines}, nil
}

// who is what came in the header of that name.
func who(ctx workflow.ReadContext) string { return whoOf(workflow.Header(ctx)) }

func whoOf(header map[string]*commonpb.Payload) (name string) {
	if p := header["who"]; p != nil {
		if err := converter.Default().FromPayload(p, &name); err != nil {
			return err.Error()
		}
	}
	return name
}

func (l *Ledger) say(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *Ledger) Touch(workflow.Context) { l.say("touch") }
func (l *Ledger) Remark(ctx workflow.Context, text string) {
	if w := who(ctx); w != "" {
		text += " from " + w
	}
	l.say("remark %s", text)
}

func (l *Ledger) Put(_ workflow.Context, e Entry) {
	l.entry = &e
	l.left[e.Title] += e.Count
	l.say("put %s", e.Title)
}

func (l *Ledger) Move(_ workflow.Context, name string, steps int, left bool) {
	l.say("move %s %d %t", name, steps, left)
}

func (l *Ledger) Raw(_ workflow.Context, data []byte) {
	l.bytes = data
	l.say("raw %d", len(data))
}

func (l *Ledger) Note(_ workflow.Context, text *string) {
	l.note = text
	l.say("note")
}

func (l *Ledger) Burn(workflow.Context)  { l.burnt = true }
func (l *Ledger) Close(workflow.Context) { l.closed = true }

func (l *Ledger) AnySignal(_ workflow.Context, name string, args workflow.Args) {
	var first any
	_ = args.Decode(&first)
	l.say("signal %s %d %s", name, args.Len(), plain(first))
}

func (l *Ledger) Lines(workflow.ReadContext) ([]string, error) { return l.lines, nil }
func (l *Ledger) Has(_ workflow.ReadContext, name string, count int) (bool, error) {
	return l.left[name] >= count, nil
}
func (l *Ledger) Last(workflow.ReadContext) (*Entry, error)   { return l.entry, nil }
func (l *Ledger) Held(workflow.ReadContext) ([]byte, error)   { return l.bytes, nil }
func (l *Ledger) Noted(workflow.ReadContext) (*string, error) { return l.note, nil }
func (l *Ledger) Weigh(workflow.ReadContext) (int, error) {
	return 0, failure.Retryable("the scale is broken", "Broken", nil)
}
func (l *Ledger) Who(q workflow.ReadContext) ([]string, error) { return []string{l.by, who(q)}, nil }

func (l *Ledger) AnyQuery(_ workflow.ReadContext, name string, args workflow.Args) (string, error) {
	return fmt.Sprintf("query %s %d", name, args.Len()), nil
}

func (l *Ledger) Take(_ workflow.Context, name string, count int) (Left, error) {
	have := l.left[name]
	if have < count {
		return Left{}, failure.NonRetryable(fmt.Sprintf("only %d of %s", have, name), "NotEnough", nil, Left{name, have})
	}
	l.left[name] -= count
	return Left{name, have - count}, nil
}

func (l *Ledger) ValidateTake(_ workflow.ReadContext, _ string, count int) error {
	if count <= 0 {
		return failure.Retryable(fmt.Sprintf("the count has to be positive, not %d", count), "BadCount", nil, count)
	}
	return nil
}

func (l *Ledger) Fill(ctx workflow.Context, e Entry) error {
	l.Put(ctx, e)
	return nil
}

func (l *Ledger) EchoBytes(_ workflow.Context, data []byte) ([]byte, error)  { return data, nil }
func (l *Ledger) EchoNote(_ workflow.Context, text *string) (*string, error) { return text, nil }

func (l *Ledger) WaitFor(ctx workflow.Context, count int) ([]string, error) {
	err := workflow.Await(ctx, func() bool { return len(l.lines) >= count })
	return l.lines, err
}

func (l *Ledger) Header(ctx workflow.Context) (string, error) { return who(ctx), nil }

func (l *Ledger) AnyUpdate(_ workflow.Context, name string, args workflow.Args) (string, error) {
	return fmt.Sprintf("update %s %d", name, args.Len()), nil
}

// Call runs an activity in the other language.
func (l *Ledger) Call(ctx workflow.Context, queue, how string) ([]string, error) {
	o := workflow.ActivityOptions{TaskQueue: queue, StartToClose: tenSeconds}
	switch how {
	case "echo":
		e, err := workflow.ActivityByName[*Entry](ctx, "Echo", o, l.entry, []byte("\x00\xff")).Get()
		if err != nil {
			return nil, err
		}
		return []string{e.Title, stamp(e.When), plain(plain(e) == plain(l.entry))}, nil
	case "beat":
		o.Heartbeat, o.Retry = tenSeconds, &workflow.RetryPolicy{InitialInterval: 10 * time.Millisecond}
		return workflow.ActivityByName[[]string](ctx, "Beat", o).Get()
	case "cancel":
		o.Heartbeat, o.WaitForCancellation = time.Second, true
		below, cancel := workflow.WithCancel(ctx)
		before := len(l.lines)
		f := workflow.ActivityByName[*string](below, "Sleep", o, workflow.GetInfo(ctx).WorkflowID)
		if err := workflow.Await(ctx, func() bool { return len(l.lines) > before }); err != nil {
			return nil, err
		}
		cancel("enough")
		return outcome(f, inJSON), nil
	}
	o.StartToClose, o.Retry = time.Second, once
	return outcome(workflow.ActivityByName[*string](ctx, how, o), inJSON), nil
}

func inJSON(v *string) []string { return []string{plain(v)} }

func outcome[T any](f workflow.Future[T], words func(T) []string) []string {
	v, err := f.Get()
	if err != nil {
		return chain(err)
	}
	return words(v)
}

// Later runs an activity that somebody else completes.
func (l *Ledger) Later(ctx workflow.Context, queue, activityID string) ([]string, error) {
	below, cancel := workflow.WithCancel(ctx)
	f := workflow.ActivityByName[*Entry](below, "Later", workflow.ActivityOptions{
		ID: activityID, TaskQueue: queue, StartToClose: tenSeconds, Heartbeat: tenSeconds, Retry: once, WaitForCancellation: true,
	})
	if activityID == "canceled" {
		if err := workflow.Await(ctx, func() bool { return l.lines[len(l.lines)-1] == "remark cancel" }); err != nil {
			return nil, err
		}
		cancel("asked for")
	}
	return outcome(f, func(e *Entry) []string { return []string{e.Title, plain(plain(e) == plain(l.entry))} }), nil
}

// Child runs a child workflow in the other language.
func (l *Ledger) Child(ctx workflow.Context, queue, how string) ([]string, error) {
	below, cancel := workflow.WithCancel(ctx)
	do := how
	if how == "cancel" || how == "signal" {
		do = "wait"
	}
	o := workflow.ChildOptions{WorkflowID: workflow.GetInfo(ctx).WorkflowID + "/" + how, TaskQueue: queue, WaitForCancellation: true}
	c := workflow.Child2(below, ScribeContract.Run, *l.entry, do, o)
	if _, err := c.Started(); err != nil {
		return nil, err
	}
	switch how {
	case "cancel":
		cancel("enough")
	case "signal":
		if _, err := workflow.Signal2(ctx, c, ScribeContract.Say, "ho", 2).Get(); err != nil {
			return nil, err
		}
	}
	return outcome(c.Result(), func(e Entry) []string { return append([]string{e.Title}, e.Tags...) }), nil
}

// Tell signals another workflow.
func (l *Ledger) Tell(ctx workflow.Context, workflowID, text string) ([]string, error) {
	_, err := workflow.Signal(ctx, workflow.External[LedgerContract]{WorkflowID: workflowID}, LedgerContract.Remark, text).Get()
	var external *workflow.ExternalError
	switch {
	case errors.As(err, &external) && external.NotFound:
		return []string{"nobody there"}, nil
	case err != nil:
		return nil, err
	}
	return []string{"told"}, nil
}

// Stop cancels another workflow.
func (l *Ledger) Stop(ctx workflow.Context, workflowID string) ([]string, error) {
	_, err := workflow.External[LedgerContract]{WorkflowID: workflowID}.Cancel(ctx, "enough").Get()
	return []string{"stopped"}, err
}

// Scribe is the child: it ends in the way it is told to.
type Scribe struct{ said []string }

func (s *Scribe) Run(ctx workflow.Context, e Entry, how string) (Entry, error) {
	switch how {
	case "fail":
		return e, burnt()
	case "wait":
		if err := workflow.Await(ctx, func() bool { return len(s.said) > 0 }); err != nil {
			return e, err
		}
		e.Tags = s.said
	}
	e.Title += " copied"
	return e, nil
}

func (s *Scribe) Say(_ workflow.Context, what string, times int) {
	for range times {
		s.said = append(s.said, what)
	}
}

// Chores are the activities that a Ledger in another language calls.
type Chores struct{ c *client.Client }

func (a *Chores) Echo(_ context.Context, e Entry, data []byte) (Entry, error) {
	if string(data) != "\x00\xff" {
		return e, failure.NonRetryable(fmt.Sprintf("got %q", data), "", nil)
	}
	return e, nil
}

func (a *Chores) Beat(ctx context.Context) ([]string, error) {
	if activity.GetInfo(ctx).Attempt == 1 {
		activity.RecordHeartbeat(ctx, "half", map[string]int{"step": 2})
		return nil, failure.Retryable("tired", "Tired", nil)
	}
	var words []string
	for _, d := range details(activity.HeartbeatDetails(ctx)) {
		words = append(words, plain(d))
	}
	return words, nil
}

func (a *Chores) Break(context.Context) error { return burnt() }

func (a *Chores) Slow(ctx context.Context) error {
	time.Sleep(1500 * time.Millisecond)
	return nil
}

func (a *Chores) Sleep(ctx context.Context, workflowID string) error {
	if err := a.c.Handle(workflowID, "").SignalByName(ctx, "Remark", "asleep"); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
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

func (a *Chores) Later(ctx context.Context) error {
	info := activity.GetInfo(ctx)
	if err := a.c.Handle(info.WorkflowID, "").SignalByName(ctx, "Raw", info.TaskToken); err != nil {
		return err
	}
	return activity.ErrResultPending
}

func (a *Chores) Who(ctx context.Context) (string, error) {
	return whoOf(activity.GetInfo(ctx).Header.GetFields()), nil
}
