package own

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
)

// ledger is the handle of one.
type ledger = *client.Handle[LedgerContract, Closing]

// voice is a way to send a Ledger what it takes: typed, or by name.
type voice struct {
	start           func(ctx context.Context, c *client.Client, opening Opening, o client.StartOptions) (ledger, error)
	touch           func(ctx context.Context, l ledger) error
	remark          func(ctx context.Context, l ledger, text string) error
	put             func(ctx context.Context, l ledger, e Entry) error
	move            func(ctx context.Context, l ledger, name string, steps int, left bool) error
	raw             func(ctx context.Context, l ledger, data []byte) error
	note            func(ctx context.Context, l ledger, text *string) error
	lines           func(ctx context.Context, l ledger) ([]string, error)
	has             func(ctx context.Context, l ledger, name string, count int) (bool, error)
	last            func(ctx context.Context, l ledger) (*Entry, error)
	held            func(ctx context.Context, l ledger) ([]byte, error)
	noted           func(ctx context.Context, l ledger) (*string, error)
	weigh           func(ctx context.Context, l ledger) (int, error)
	who             func(ctx context.Context, l ledger) ([]string, error)
	take            func(ctx context.Context, l ledger, name string, count int) (Left, error)
	fill            func(ctx context.Context, l ledger, e Entry) error
	echoBytes       func(ctx context.Context, l ledger, data []byte) ([]byte, error)
	echoNote        func(ctx context.Context, l ledger, text *string) (*string, error)
	header          func(ctx context.Context, l ledger) (string, error)
	call            func(ctx context.Context, l ledger, queue, how string) ([]string, error)
	child           func(ctx context.Context, l ledger, queue, how string) ([]string, error)
	tell            func(ctx context.Context, l ledger, workflowID, text string) ([]string, error)
	stop            func(ctx context.Context, l ledger, workflowID string) ([]string, error)
	waitFor         func(ctx context.Context, l ledger, count int, id string) (later, error)
	later           func(ctx context.Context, l ledger, queue, activityID string) (later, error)
	waited          func(l ledger, id string) later
	remarkWithStart func(ctx context.Context, c *client.Client, o client.StartOptions, text string) (ledger, error)
	moveWithStart   func(ctx context.Context, c *client.Client, o client.StartOptions, name string, steps int, left bool) (ledger, error)
	takeWithStart   func(ctx context.Context, c *client.Client, o client.StartOptions, name string, count int) (Left, ledger, error)
}

// later is an update that is at least accepted.
type later func(ctx context.Context) ([]string, error)

func laterOf[U any](u *client.UpdateHandle[U], decode func(U) ([]string, error), err error) (later, error) {
	return func(ctx context.Context) ([]string, error) {
		v, err := u.Result(ctx)
		if err != nil {
			return nil, err
		}
		return decode(v)
	}, err
}

func itself(s []string) ([]string, error) { return s, nil }

func get[T any](v converter.Value, err error) (T, error) {
	var out T
	if err == nil {
		err = v.Get(&out)
	}
	return out, err
}

func strs(v converter.Value) ([]string, error) { return get[[]string](v, nil) }

// typed sends by the methods of the contract.
var typed = voice{
	start: func(ctx context.Context, c *client.Client, opening Opening, o client.StartOptions) (ledger, error) {
		return client.Start(ctx, c, LedgerContract.Run, opening, o)
	},
	touch: func(ctx context.Context, l ledger) error { return client.Signal0(ctx, l, LedgerContract.Touch) },
	remark: func(ctx context.Context, l ledger, text string) error {
		return client.Signal(ctx, l, LedgerContract.Remark, text)
	},
	put: func(ctx context.Context, l ledger, e Entry) error {
		return client.Signal(ctx, l, LedgerContract.Put, e)
	},
	move: func(ctx context.Context, l ledger, name string, steps int, left bool) error {
		return client.Signal3(ctx, l, LedgerContract.Move, name, steps, left)
	},
	raw: func(ctx context.Context, l ledger, data []byte) error {
		return client.Signal(ctx, l, LedgerContract.Raw, data)
	},
	note: func(ctx context.Context, l ledger, text *string) error {
		return client.Signal(ctx, l, LedgerContract.Note, text)
	},
	lines: func(ctx context.Context, l ledger) ([]string, error) {
		return client.Query(ctx, l, LedgerContract.Lines)
	},
	has: func(ctx context.Context, l ledger, name string, count int) (bool, error) {
		return client.Query2(ctx, l, LedgerContract.Has, name, count)
	},
	last: func(ctx context.Context, l ledger) (*Entry, error) { return client.Query(ctx, l, LedgerContract.Last) },
	held: func(ctx context.Context, l ledger) ([]byte, error) { return client.Query(ctx, l, LedgerContract.Held) },
	noted: func(ctx context.Context, l ledger) (*string, error) {
		return client.Query(ctx, l, LedgerContract.Noted)
	},
	weigh: func(ctx context.Context, l ledger) (int, error) { return client.Query(ctx, l, LedgerContract.Weigh) },
	who:   func(ctx context.Context, l ledger) ([]string, error) { return client.Query(ctx, l, LedgerContract.Who) },
	take: func(ctx context.Context, l ledger, name string, count int) (Left, error) {
		return client.Update2(ctx, l, LedgerContract.Take, name, count)
	},
	fill: func(ctx context.Context, l ledger, e Entry) error {
		return client.UpdateVoid(ctx, l, LedgerContract.Fill, e)
	},
	echoBytes: func(ctx context.Context, l ledger, data []byte) ([]byte, error) {
		return client.Update(ctx, l, LedgerContract.EchoBytes, data)
	},
	echoNote: func(ctx context.Context, l ledger, text *string) (*string, error) {
		return client.Update(ctx, l, LedgerContract.EchoNote, text)
	},
	header: func(ctx context.Context, l ledger) (string, error) {
		return client.Update0(ctx, l, LedgerContract.Header)
	},
	call: func(ctx context.Context, l ledger, queue, how string) ([]string, error) {
		return client.Update2(ctx, l, LedgerContract.Call, queue, how)
	},
	child: func(ctx context.Context, l ledger, queue, how string) ([]string, error) {
		return client.Update2(ctx, l, LedgerContract.Child, queue, how)
	},
	tell: func(ctx context.Context, l ledger, workflowID, text string) ([]string, error) {
		return client.Update2(ctx, l, LedgerContract.Tell, workflowID, text)
	},
	stop: func(ctx context.Context, l ledger, workflowID string) ([]string, error) {
		return client.Update(ctx, l, LedgerContract.Stop, workflowID)
	},
	waitFor: func(ctx context.Context, l ledger, count int, id string) (later, error) {
		u, err := client.StartUpdate(ctx, l, LedgerContract.WaitFor, count, client.UpdateOptions{ID: id, WaitFor: client.Accepted})
		return laterOf(u, itself, err)
	},
	later: func(ctx context.Context, l ledger, queue, activityID string) (later, error) {
		u, err := client.StartUpdate2(ctx, l, LedgerContract.Later, queue, activityID, client.UpdateOptions{WaitFor: client.Accepted})
		return laterOf(u, itself, err)
	},
	waited: func(l ledger, id string) later { return client.UpdateHandleOf[[]string](l, id).Result },
	remarkWithStart: func(ctx context.Context, c *client.Client, o client.StartOptions, text string) (ledger, error) {
		return client.SignalWithStart(ctx, c, client.WithStart(LedgerContract.Run, Opening{"Joan"}, o), LedgerContract.Remark, text)
	},
	moveWithStart: func(ctx context.Context, c *client.Client, o client.StartOptions, name string, steps int, left bool) (ledger, error) {
		return client.SignalWithStart3(ctx, c, client.WithStart(LedgerContract.Run, Opening{"Joan"}, o), LedgerContract.Move, name, steps, left)
	},
	takeWithStart: func(ctx context.Context, c *client.Client, o client.StartOptions, name string, count int) (Left, ledger, error) {
		op := client.WithStart(LedgerContract.Run, Opening{"Joan"}, o)
		left, err := client.UpdateWithStart2(ctx, c, op, LedgerContract.Take, name, count)
		l, _ := op.Handle(ctx)
		return left, l, err
	},
}

// byName sends by nothing but names.
var byName = voice{
	start: func(ctx context.Context, c *client.Client, opening Opening, o client.StartOptions) (ledger, error) {
		h, err := c.StartByName(ctx, "Ledger", o, opening)
		if err != nil {
			return nil, err
		}
		return client.HandleOf[LedgerContract, Closing](c, h.ID(), ""), nil
	},
	touch:  func(ctx context.Context, l ledger) error { return l.SignalByName(ctx, "Touch") },
	remark: func(ctx context.Context, l ledger, text string) error { return l.SignalByName(ctx, "Remark", text) },
	put:    func(ctx context.Context, l ledger, e Entry) error { return l.SignalByName(ctx, "Put", e) },
	move: func(ctx context.Context, l ledger, name string, steps int, left bool) error {
		return l.SignalByName(ctx, "Move", name, steps, left)
	},
	raw:  func(ctx context.Context, l ledger, data []byte) error { return l.SignalByName(ctx, "Raw", data) },
	note: func(ctx context.Context, l ledger, _ *string) error { return l.SignalByName(ctx, "Note", nil) },
	lines: func(ctx context.Context, l ledger) ([]string, error) {
		return get[[]string](l.QueryByName(ctx, "Lines"))
	},
	has: func(ctx context.Context, l ledger, name string, count int) (bool, error) {
		return get[bool](l.QueryByName(ctx, "Has", name, count))
	},
	last:  func(ctx context.Context, l ledger) (*Entry, error) { return get[*Entry](l.QueryByName(ctx, "Last")) },
	held:  func(ctx context.Context, l ledger) ([]byte, error) { return get[[]byte](l.QueryByName(ctx, "Bytes")) },
	noted: func(ctx context.Context, l ledger) (*string, error) { return get[*string](l.QueryByName(ctx, "Noted")) },
	weigh: func(ctx context.Context, l ledger) (int, error) { return get[int](l.QueryByName(ctx, "Weigh")) },
	who:   func(ctx context.Context, l ledger) ([]string, error) { return get[[]string](l.QueryByName(ctx, "Who")) },
	take: func(ctx context.Context, l ledger, name string, count int) (Left, error) {
		return get[Left](l.UpdateByName(ctx, "Take", name, count))
	},
	fill: func(ctx context.Context, l ledger, e Entry) error {
		_, err := l.UpdateByName(ctx, "Fill", e)
		return err
	},
	echoBytes: func(ctx context.Context, l ledger, data []byte) ([]byte, error) {
		return get[[]byte](l.UpdateByName(ctx, "EchoBytes", data))
	},
	echoNote: func(ctx context.Context, l ledger, _ *string) (*string, error) {
		return get[*string](l.UpdateByName(ctx, "EchoNote", nil))
	},
	header: func(ctx context.Context, l ledger) (string, error) { return get[string](l.UpdateByName(ctx, "Header")) },
	call: func(ctx context.Context, l ledger, queue, how string) ([]string, error) {
		return get[[]string](l.UpdateByName(ctx, "Call", queue, how))
	},
	child: func(ctx context.Context, l ledger, queue, how string) ([]string, error) {
		return get[[]string](l.UpdateByName(ctx, "Child", queue, how))
	},
	tell: func(ctx context.Context, l ledger, workflowID, text string) ([]string, error) {
		return get[[]string](l.UpdateByName(ctx, "Tell", workflowID, text))
	},
	stop: func(ctx context.Context, l ledger, workflowID string) ([]string, error) {
		return get[[]string](l.UpdateByName(ctx, "Stop", workflowID))
	},
	waitFor: func(ctx context.Context, l ledger, count int, id string) (later, error) {
		u, err := l.StartUpdateByName(ctx, "WaitFor", client.UpdateOptions{ID: id, WaitFor: client.Accepted}, count)
		return laterOf(u, strs, err)
	},
	later: func(ctx context.Context, l ledger, queue, activityID string) (later, error) {
		u, err := l.StartUpdateByName(ctx, "Later", client.UpdateOptions{WaitFor: client.Accepted}, queue, activityID)
		return laterOf(u, strs, err)
	},
	waited: func(l ledger, id string) later {
		v, _ := laterOf(client.UpdateHandleOf[converter.Value](l, id), strs, nil)
		return v
	},
	remarkWithStart: func(ctx context.Context, c *client.Client, o client.StartOptions, text string) (ledger, error) {
		h, err := client.SignalWithStartByName(ctx, c, client.WithStartByName("Ledger", o, Opening{"Joan"}), "Remark", text)
		return known(c, h), err
	},
	moveWithStart: func(ctx context.Context, c *client.Client, o client.StartOptions, name string, steps int, left bool) (ledger, error) {
		h, err := client.SignalWithStartByName(ctx, c, client.WithStartByName("Ledger", o, Opening{"Joan"}), "Move", name, steps, left)
		return known(c, h), err
	},
	takeWithStart: func(ctx context.Context, c *client.Client, o client.StartOptions, name string, count int) (Left, ledger, error) {
		op := client.WithStartByName("Ledger", o, Opening{"Joan"})
		left, err := get[Left](client.UpdateWithStartByName(ctx, c, op, "Take", name, count))
		h, _ := op.Handle(ctx)
		return left, known(c, h), err
	},
}

func known(c *client.Client, h *client.AnyHandle) ledger {
	if h == nil {
		return nil
	}
	return client.HandleOf[LedgerContract, Closing](c, h.ID(), h.FirstRunID())
}

// story goes through the same steps as python/talk.py.
type story struct {
	voice
	ctx                  context.Context
	c, named             *client.Client
	queue, other, prefix string
	told                 []step
}

type step struct {
	Step    string `json:"step"`
	Outcome any    `json:"outcome"`
}

func (s *story) step(title string, outcome any) { s.told = append(s.told, step{title, outcome}) }

// or is a value, or what went wrong instead.
func or[T any](v T, err error) any {
	if err != nil {
		return fmt.Sprintf("%T: %v", err, err)
	}
	return v
}

// refusal is the answer to an update, or why there is none.
func refusal[T any](v T, err error) any {
	var failed *client.UpdateFailedError
	if errors.As(err, &failed) {
		return chain(failed.Cause)
	}
	return or(v, err)
}

func (s *story) options(part string) client.StartOptions {
	return client.StartOptions{ID: s.prefix + part, TaskQueue: s.queue, ExecutionTimeout: time.Minute}
}

func (s *story) lines(l ledger, count int) ([]string, error) {
	u, err := s.waitFor(s.ctx, l, count, "")
	if err != nil {
		return nil, err
	}
	return u(s.ctx)
}

// last waits for so many lines and gives the last.
func (s *story) last(l ledger, count int) string {
	lines, err := s.lines(l, count)
	if err != nil || len(lines) != count {
		return fmt.Sprintf("%d lines expected: %q, %v", count, lines, err)
	}
	return lines[len(lines)-1]
}

func (s *story) end(l ledger) any {
	v, err := l.Result(s.ctx)
	var failed *client.WorkflowFailedError
	if errors.As(err, &failed) {
		return chain(failed.Cause)
	}
	return or(v, err)
}

func bytesOf(b []byte, err error) any {
	numbers := []int{}
	for _, c := range b {
		numbers = append(numbers, int(c))
	}
	return or(numbers, err)
}

// after does something and says then how far the lines are.
func (s *story) after(err error, l ledger, count int) any {
	if err != nil {
		return err.Error()
	}
	return s.last(l, count)
}

var pear = Entry{
	"pear ½", 3, 2.5, []string{"ripe", "green"}, nil, time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC), Person{"Ada", 36}, map[string]int{"pip": 5},
}

func (s *story) tell() error {
	a, err := s.start(s.ctx, s.c, Opening{"Ada"}, s.options("a"))
	if err != nil {
		return err
	}
	s.signals(a)
	s.queries(a)
	s.updates(a)
	s.looks(a)
	s.headers()
	s.withStart(a)
	s.activities(a)
	s.laterActivities(a)
	s.children(a)
	s.externals(a)
	s.ends(a)
	return s.ctx.Err()
}

func (s *story) signals(a ledger) {
	s.step("signal without argument", s.after(s.touch(s.ctx, a), a, 1))
	s.step("signal with one argument", s.after(s.remark(s.ctx, a, "größer als ½ ✓"), a, 2))
	s.step("signal with an object", s.after(s.put(s.ctx, a, pear), a, 3))
	s.step("signal with several arguments", s.after(s.move(s.ctx, a, "pear", 2, true), a, 4))
	s.step("signal with bytes", s.after(s.raw(s.ctx, a, []byte("\x00\x01\xfe\xff")), a, 5))
	s.step("signal with nothing in its argument", s.after(s.note(s.ctx, a, nil), a, 6))
	s.step("dynamic signal", s.after(a.SignalByName(s.ctx, "AnySignal", map[string]int{"x": 1}, 2), a, 7))
}

// query is the answer, or why there is none.
func query[T any](v T, err error) any {
	var failed *client.QueryFailedError
	var missing *client.NotFoundError
	switch {
	case errors.As(err, &failed):
		// A worker in Python that encrypts failures sends nothing else of them.
		if text := failed.Cause.Error(); !strings.Contains(text, "the scale is broken") && text != "Encoded failure" {
			return "failed, " + text
		}
		return "failed, as it should"
	case errors.As(err, &missing):
		return "not found"
	}
	return or(v, err)
}

func (s *story) queries(a ledger) {
	lines, err := s.voice.lines(s.ctx, a)
	s.step("query without argument", query(len(lines), err))
	s.step("query with several arguments", []any{query(s.has(s.ctx, a, "pear ½", 3)), query(s.has(s.ctx, a, "pear ½", 4))})
	s.step("query for an object", query(s.voice.last(s.ctx, a)))
	s.step("query for bytes", bytesOf(s.held(s.ctx, a)))
	s.step("query for nothing", query(s.noted(s.ctx, a)))
	s.step("query that fails", query(s.weigh(s.ctx, a)))
	s.step("dynamic query", query(get[string](a.QueryByName(s.ctx, "AnyQuery", 1, nil))))
	nobody := client.HandleOf[LedgerContract, Closing](s.c, s.prefix+"nobody", "")
	s.step("query to nobody", query(s.voice.lines(s.ctx, nobody)))
}

func (s *story) updates(a ledger) {
	s.step("update", refusal(s.take(s.ctx, a, "pear ½", 1)))
	s.step("update with an object and without a result", refusal[any](nil, s.fill(s.ctx, a, pear)))
	s.step("update with bytes", bytesOf(s.echoBytes(s.ctx, a, []byte("\x00\xff"))))
	s.step("update with nothing", refusal(s.echoNote(s.ctx, a, nil)))
	s.step("update rejected by its validator", refusal(s.take(s.ctx, a, "pear ½", 0)))
	s.step("update that fails", refusal(s.take(s.ctx, a, "pear ½", 9)))
	s.step("dynamic update", refusal(get[string](a.UpdateByName(s.ctx, "AnyUpdate", 1, 2, 3))))

	u, err := s.waitFor(s.ctx, a, 9, "later")
	if err == nil {
		err = s.touch(s.ctx, a)
	}
	if err != nil {
		s.step("update accepted now and answered later", err.Error())
		return
	}
	answer, err := u(s.ctx)
	s.step("update accepted now and answered later", or(answer[max(0, len(answer)-1)], err))
	again, err := s.waited(a, "later")(s.ctx)
	s.step("the same, asked for by its ID", or(slices.Equal(again, answer), err))
}

func (s *story) looks(a ledger) {
	m, err := get[*sdkpb.WorkflowMetadata](a.QueryByName(s.ctx, "__temporal_workflow_metadata"))
	d := m.GetDefinition()
	s.step("type in the metadata", or(d.GetType(), err))
	names := func(all []*sdkpb.WorkflowInteractionDefinition) []string {
		names := []string{}
		for _, i := range all {
			if !strings.HasPrefix(i.Name, "__") {
				names = append(names, i.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	s.step("signals in the metadata", names(d.GetSignalDefinitions()))
	s.step("queries in the metadata", names(d.GetQueryDefinitions()))
	s.step("updates in the metadata", names(d.GetUpdateDefinitions()))
	u, err := s.waitFor(s.ctx, a, 10, "")
	if err != nil {
		s.step("stack trace", err.Error())
		return
	}
	stack, err := get[string](a.QueryByName(s.ctx, "__stack_trace"))
	says := []bool{}
	for _, word := range []string{"run", "wait", "ledger"} {
		says = append(says, strings.Contains(strings.ToLower(stack), word))
	}
	s.step("stack trace", or(says, err))
	if err := s.touch(s.ctx, a); err == nil {
		_, _ = u(s.ctx)
	}
}

func (s *story) headers() {
	h, err := s.start(s.ctx, s.named, Opening{"Ada"}, s.options("h"))
	if err != nil {
		s.step("headers of start and query", err.Error())
		return
	}
	s.step("headers of start and query", or(s.who(s.ctx, h)))
	s.step("header of an update", refusal(s.header(s.ctx, h)))
	s.step("header of a signal", s.after(s.remark(s.ctx, h, "hello"), h, 1))
	unnamed := client.HandleOf[LedgerContract, Closing](s.c, h.ID(), "")
	s.step("no header", refusal(s.header(s.ctx, unnamed)))
	s.step("header of an activity", refusal(s.call(s.ctx, h, s.other, "Who")))
	if err := h.SignalByName(s.ctx, "Close"); err == nil {
		_, _ = h.Result(s.ctx)
	}
}

func (s *story) sameRun(a, b ledger) string {
	ids := []string{}
	for _, l := range []ledger{a, b} {
		if l == nil {
			return "no run"
		}
		d, err := l.Describe(s.ctx)
		if err != nil {
			return err.Error()
		}
		ids = append(ids, d.WorkflowExecutionInfo.Execution.RunId)
	}
	if ids[0] != ids[1] {
		return "another run"
	}
	return "same run"
}

func (s *story) withStart(a ledger) {
	b, err := s.remarkWithStart(s.ctx, s.c, s.options("a"), "again")
	s.step("signal-with-start, running", fmt.Sprintf("%v, %s", s.after(err, a, 11), s.sameRun(a, b)))
	b, err = s.moveWithStart(s.ctx, s.c, s.options("b"), "plum", 5, false)
	if err != nil {
		s.step("signal-with-start, not running", err.Error())
		return
	}
	s.step("signal-with-start, not running", s.last(b, 1))
	existing := func(part string) client.StartOptions {
		o := s.options(part)
		o.IDConflict = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
		return o
	}
	left, again, err := s.takeWithStart(s.ctx, s.c, existing("a"), "pear ½", 1)
	s.step("update-with-start, running", []any{refusal(left, err), s.sameRun(a, again)})
	left, _, err = s.takeWithStart(s.ctx, s.c, existing("c"), "pear ½", 1)
	s.step("update-with-start, not running", refusal(left, err))
	left, _, err = s.takeWithStart(s.ctx, s.c, existing("d"), "pear ½", -1)
	d, failed := s.c.Handle(s.prefix+"d", "").Describe(s.ctx)
	status := strings.ToUpper(d.GetWorkflowExecutionInfo().GetStatus().String())
	s.step("update-with-start, rejected", []any{refusal(left, err), or(status, failed)})
}

func (s *story) activities(a ledger) {
	for _, one := range [][2]string{
		{"activity with an object and bytes", "echo"},
		{"activity that goes on where its heartbeat left off", "beat"},
		{"activity that fails", "Break"},
		{"activity that times out", "Slow"},
		{"activity that is canceled", "cancel"},
	} {
		s.step(one[0], refusal(s.call(s.ctx, a, s.other, one[1])))
	}
}

// laterActivities completes activities of the other language's worker.
func (s *story) laterActivities(a ledger) {
	for number, id := range []string{"completed", "failed", "canceled"} {
		u, err := s.later(s.ctx, a, s.other, id)
		if err == nil {
			// A line tells of each token; one more is in between, of the cancellation.
			_, err = s.lines(a, 13+number)
		}
		var token []byte
		if err == nil {
			token, err = s.held(s.ctx, a)
		}
		if err == nil {
			err = s.complete(a, id, token)
		}
		var outcome []string
		if err == nil {
			outcome, err = u(s.ctx)
		}
		s.step(fmt.Sprintf("activity that is %s from outside", id), refusal(outcome, err))
	}
}

func (s *story) complete(a ledger, id string, token []byte) error {
	switch id {
	case "completed":
		if err := s.c.HeartbeatActivity(s.ctx, token, "alive", 1); err != nil {
			return err
		}
		return s.c.CompleteActivity(s.ctx, token, pear, nil)
	case "failed":
		return s.c.CompleteActivityByID(s.ctx, client.ActivityRef{WorkflowID: a.ID(), ActivityID: id}, nil, burnt())
	}
	if err := s.remark(s.ctx, a, "cancel"); err != nil {
		return err
	}
	for {
		err := s.c.HeartbeatActivity(s.ctx, token)
		if failure.IsCanceled(err) {
			return s.c.CompleteActivity(s.ctx, token, nil, failure.NewCanceledError("given up", 7))
		}
		if err != nil {
			return err
		}
	}
}

func (s *story) children(a ledger) {
	for _, how := range []string{"complete", "fail", "cancel", "signal"} {
		s.step("child: "+how, refusal(s.child(s.ctx, a, s.other, how)))
	}
}

func (s *story) externals(a ledger) {
	o := s.options("other")
	o.TaskQueue = s.other
	other, err := s.start(s.ctx, s.c, Opening{"Ada"}, o)
	if err != nil {
		s.step("signal to a workflow of the other language", err.Error())
		return
	}
	told, err := s.voice.tell(s.ctx, a, other.ID(), "from afar")
	s.step("signal to a workflow of the other language", append(told, fmt.Sprint(s.after(err, other, 1))))
	told, err = s.voice.tell(s.ctx, other, a.ID(), "from far away")
	s.step("signal from a workflow of the other language", append(told, fmt.Sprint(s.after(err, a, 17))))
	s.step("signal to nobody", refusal(s.voice.tell(s.ctx, a, s.prefix+"nobody", "?")))
	stopped, err := s.stop(s.ctx, a, other.ID())
	s.step("workflow of the other language canceled", []any{refusal(stopped, err), s.end(other)})
}

func (s *story) ends(a ledger) {
	_ = a.SignalByName(s.ctx, "Close")
	closing, err := a.Result(s.ctx)
	s.step("result", or([]any{closing.Owner, len(closing.Lines)}, err))
	s.step("query after the end", query(s.has(s.ctx, a, "pear ½", 4)))
	s.step("signal after the end", query("taken", s.touch(s.ctx, a)))
	of := func(part string) ledger { return client.HandleOf[LedgerContract, Closing](s.c, s.prefix+part, "") }
	_ = of("b").SignalByName(s.ctx, "Burn")
	s.step("a workflow that fails", s.end(of("b")))
	_ = of("c").Cancel(s.ctx, "enough")
	s.step("a workflow that is cancelled", s.end(of("c")))
	_ = of("d").Terminate(s.ctx, "enough")
	s.step("a workflow that is terminated", s.end(of("d")))
}

// naming says with each message who sends it.
func naming(ctx context.Context, call *client.Call, next func(context.Context) error) error {
	p, err := converter.Default().ToPayload("a client")
	if err != nil {
		return err
	}
	if call.Header == nil {
		call.Header = map[string]*commonpb.Payload{}
	}
	call.Header["who"] = p
	return next(ctx)
}
