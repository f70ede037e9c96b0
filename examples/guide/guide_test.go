package guide_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/examples/guide"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

const queue = "guide"

// setup is a server in this process, with a worker that knows all of the guide.
func setup(t *testing.T) (context.Context, *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	db, err := embedded.Open(ctx, embedded.Options{})
	ok(t, err)
	t.Cleanup(func() { _ = db.Close() })
	w := worker.New(db.Client(), queue, worker.Options{})
	worker.Workflow[*guide.Basket](w)
	worker.Workflow[*guide.Assistant](w)
	worker.Workflow[*guide.Janitor](w)
	worker.Workflow[*guide.Parcel](w)
	worker.Workflow[*guide.Heating](w)
	worker.Workflow[*guide.Queue](w)
	worker.Workflow[*guide.Switchboard](w)
	worker.Workflow[*guide.Radio](w)
	worker.Workflow[*guide.Anything](w)
	w.Activity(guide.WrapItem)
	w.Activity(guide.AnyActivity)
	ok(t, w.Start())
	t.Cleanup(w.Stop)
	return ctx, db.Client()
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func basket(ctx context.Context, t *testing.T, c *client.Client, id string) *client.Handle[*guide.Basket, []string] {
	t.Helper()
	return must(client.Start(ctx, c, (*guide.Basket).Run, "Ada", client.StartOptions{ID: id, TaskQueue: queue}))(t)
}

func TestQuickstart(t *testing.T) {
	same(t, must(guide.Quickstart(t.Context()))(t), []string{"for Ada", "2 tea"})
}

func TestSignalHandlersMayBlockOnActivities(t *testing.T) {
	ctx, c := setup(t)
	h := basket(ctx, t, c, "b")
	ok(t, client.Signal(ctx, h, (*guide.Basket).Wrap, guide.Item{Name: "cup"}))
	ok(t, client.Signal0(ctx, h, (*guide.Basket).Pay))
	same(t, must(h.Result(ctx))(t)[0], "for Ada")
	completed := 0 // the run waited for the handler, and that for the activity
	for e, err := range h.History(ctx) {
		ok(t, err)
		if e.GetActivityTaskCompletedEventAttributes() != nil {
			completed++
		}
	}
	same(t, completed, 1)
}

func TestMessagesCanBeRenamed(t *testing.T) {
	ctx, c := setup(t)
	b := basket(ctx, t, c, "b")
	ok(t, client.Signal(ctx, b, (*guide.Basket).Voucher, "X"))
	ok(t, b.SignalByName(ctx, "apply-voucher", "Y"))
	ok(t, client.Signal0(ctx, b, (*guide.Basket).Pay))
	same(t, must(b.Result(ctx))(t), []string{"for Ada", "voucher X", "voucher Y"})

	p := must(client.Start0(ctx, c, (*guide.Parcel).Run, client.StartOptions{ID: "p", TaskQueue: queue}))(t)
	ok(t, client.Signal(ctx, p, (*guide.Parcel).Scan, "Bonn"))
	same(t, must(guide.TrackByName(ctx, c, "p"))(t), "Bonn")

	h := must(client.Start(ctx, c, (*guide.Heating).Run, 18, client.StartOptions{TaskQueue: queue}))(t)
	same(t, must(client.Update0(ctx, h, (*guide.Heating).Boost))(t), 20)
	var degrees int
	ok(t, must(h.UpdateByName(ctx, "warmer"))(t).Get(&degrees))
	same(t, degrees, 22)
}

func TestHandlesFromStartAndByID(t *testing.T) {
	ctx, c := setup(t)
	h := basket(ctx, t, c, "b")
	ok(t, guide.Handles(ctx, c, h.ID(), h.FirstRunID()))
	ok(t, client.Signal0(ctx, h, (*guide.Basket).Pay))
	want := []string{"for Ada", "1 milk", "voucher SPRING", "3 sugar"}
	same(t, must(h.Result(ctx))(t), want)
	var out []string
	ok(t, must(c.Handle("b", "").Result(ctx))(t).Get(&out))
	same(t, out, want)

	var missing *client.NotFoundError
	if err := client.Signal0(ctx, h, (*guide.Basket).Pay); !errors.As(err, &missing) {
		t.Errorf("signal to a closed workflow: %v", err)
	}
}

func TestSignalsFromAWorkflow(t *testing.T) {
	ctx, c := setup(t)
	b := basket(ctx, t, c, "b")
	a := must(client.StartVoid(ctx, c, (*guide.Assistant).Run, "b", client.StartOptions{TaskQueue: queue}))(t)
	must(a.Result(ctx))(t)
	ok(t, client.Signal0(ctx, b, (*guide.Basket).Pay))
	same(t, must(b.Result(ctx))(t), []string{"for Ada", "1 jam", "voucher STAFF"})

	left := basket(ctx, t, c, "left")
	j := must(client.StartVoid(ctx, c, (*guide.Janitor).Run, "left", client.StartOptions{TaskQueue: queue}))(t)
	must(j.Result(ctx))(t)
	if _, err := left.Result(ctx); !failure.IsCanceled(err) {
		t.Errorf("cancelled by a workflow: %v", err)
	}

	nobody := must(client.StartVoid(ctx, c, (*guide.Assistant).Run, "nobody", client.StartOptions{TaskQueue: queue}))(t)
	if _, err := nobody.Result(ctx); err == nil {
		t.Error("a signal to nobody did not fail")
	}
}

func TestSignalWithStart(t *testing.T) {
	ctx, c := setup(t)
	first := must(guide.AddOrStart(ctx, c, queue, guide.Item{Name: "tea", Count: 1}))(t)
	second := must(guide.AddOrStart(ctx, c, queue, guide.Item{Name: "cake", Count: 2}))(t)
	same(t, second.FirstRunID(), first.FirstRunID())
	ok(t, client.Signal0(ctx, first, (*guide.Basket).Pay))
	same(t, must(first.Result(ctx))(t), []string{"for Grace", "1 tea", "2 cake"})
}

func TestQueries(t *testing.T) {
	ctx, c := setup(t)
	h := must(client.Start0(ctx, c, (*guide.Parcel).Run, client.StartOptions{TaskQueue: queue}))(t)
	var failed *client.QueryFailedError
	if _, err := client.Query(ctx, h, (*guide.Parcel).Where); !errors.As(err, &failed) || !strings.Contains(err.Error(), "nobody has scanned it") {
		t.Errorf("query that fails: %v", err)
	}
	if _, err := h.QueryByName(ctx, "nothing"); !errors.As(err, &failed) || !strings.Contains(err.Error(), "stop-number") {
		t.Errorf("query that nobody handles: %v", err)
	}
	ok(t, client.Signal(ctx, h, (*guide.Parcel).Scan, "Bonn"))
	ok(t, client.Signal(ctx, h, (*guide.Parcel).Scan, "Riga"))
	for range 2 { // while it is open, and after it has closed
		where, first, err := guide.Track(ctx, h)
		ok(t, err)
		same(t, where+first, "RigaBonn")
		_ = client.Signal0(ctx, h, (*guide.Parcel).Deliver)
		same(t, must(h.Result(ctx))(t), 2)
	}
}

func TestUpdateExecuteStartAndPoll(t *testing.T) {
	ctx, c := setup(t)
	h := must(client.Start(ctx, c, (*guide.Heating).Run, 18, client.StartOptions{TaskQueue: queue}))(t)
	same(t, must(guide.Warm(ctx, h, 21))(t), 18)
	if _, err := guide.Warm(ctx, h, 99); err == nil || !strings.Contains(err.Error(), "between 5 and 30") {
		t.Errorf("refused update: %v", err)
	}
	for e, err := range h.History(ctx) {
		ok(t, err)
		if a := e.GetWorkflowExecutionUpdateAcceptedEventAttributes(); a != nil && string(a.GetAcceptedRequest().GetInput().GetArgs().GetPayloads()[0].GetData()) == "99" {
			t.Error("a refused update is in the history")
		}
	}
	for range 2 { // the second is the same update, by its ID
		same(t, must(guide.BleedLater(ctx, h))(t), "the kitchen's is done, says bleed-1")
	}
	if _, err := h.UpdateByName(ctx, "nothing"); err == nil || !strings.Contains(err.Error(), "warmer") {
		t.Errorf("update that nobody handles: %v", err)
	}
	var usage *client.UsageError
	if _, err := client.StartUpdate(ctx, h, (*guide.Heating).Set, 20, client.UpdateOptions{}); !errors.As(err, &usage) {
		t.Errorf("update without a stage: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	var late *client.UpdateWaitError
	if _, err := client.Update(short, h, (*guide.Heating).Bleed, "slow"); !errors.As(err, &late) {
		t.Errorf("update that takes too long: %v", err)
	}
}

func TestUpdateWithStart(t *testing.T) {
	ctx, c := setup(t)
	same(t, must(guide.SetOrStart(ctx, c, queue, 20))(t), 18)
	same(t, must(guide.SetOrStart(ctx, c, queue, 22))(t), 20)
	if _, err := guide.SetOrStart(ctx, c, queue, 99); err == nil || !strings.Contains(err.Error(), "between 5 and 30") {
		t.Errorf("refused update with start: %v", err)
	}
	h := client.HandleOf[*guide.Heating, int](c, "heating-hall", "")
	ok(t, client.Signal0(ctx, h, (*guide.Heating).Off))
	same(t, must(h.Result(ctx))(t), 22)
	if _, err := guide.SetOrStart(ctx, c, queue, 99); err == nil {
		t.Error("an update that is out of bounds was taken")
	}
	ok(t, client.Signal0(ctx, h, (*guide.Heating).Off)) // refused, but the workflow is there
	same(t, must(h.Result(ctx))(t), 18)
	op := client.WithStart((*guide.Heating).Run, 18, client.StartOptions{TaskQueue: queue})
	var usage *client.UsageError
	if _, err := client.UpdateWithStart(ctx, c, op, (*guide.Heating).Set, 20); !errors.As(err, &usage) {
		t.Errorf("update with start without a conflict policy: %v", err)
	}
}

func TestDynamicSignalQueryAndUpdate(t *testing.T) {
	ctx, c := setup(t)
	h := must(client.Start0(ctx, c, (*guide.Switchboard).Run, client.StartOptions{TaskQueue: queue}))(t)
	ok(t, h.SignalByName(ctx, "line-1", "Ada"))
	ok(t, h.SignalByName(ctx, "line-2"))
	var s string
	ok(t, must(h.QueryByName(ctx, "status", 1, 2))(t).Get(&s))
	same(t, s, "status with 2 arguments after 1 calls")
	var n int
	ok(t, must(h.UpdateByName(ctx, "transfer", "1", "7"))(t).Get(&n))
	same(t, n, 2)
	if _, err := h.UpdateByName(ctx, "transfer"); err == nil || !strings.Contains(err.Error(), "two numbers") {
		t.Errorf("refused by the dynamic validator: %v", err)
	}
	ok(t, client.Signal0(ctx, h, (*guide.Switchboard).HangUp))
	same(t, must(h.Result(ctx))(t), "Ada on line-1, 1 to 7 by transfer")
}

func TestDynamicWorkflowAndActivity(t *testing.T) {
	ctx, c := setup(t)
	h := must(c.StartByName(ctx, "Laundry", client.StartOptions{TaskQueue: queue}, "Ada"))(t)
	var s string
	ok(t, must(h.Result(ctx))(t).Get(&s))
	same(t, s, "DoLaundry for Ada")
}

func TestSignalHandlersSetAtRunTime(t *testing.T) {
	ctx, c := setup(t)
	h := must(client.Start(ctx, c, (*guide.Radio).Run, "news", client.StartOptions{TaskQueue: queue}))(t)
	ok(t, h.SignalByName(ctx, "music", "la"))
	ok(t, h.SignalByName(ctx, "news", "rain"))
	same(t, must(h.Result(ctx))(t), []string{"news: rain", "music: la"})
}

func TestArgumentsNoneOneSeveralAndGrowing(t *testing.T) {
	ctx, c := setup(t)
	same(t, must(guide.Shop(ctx, c, queue))(t), []string{"for Ada", "2 tea"})
	h := basket(ctx, t, c, "b")
	ok(t, h.SignalByName(ctx, "Add", map[string]any{"Name": "old"}))
	ok(t, h.SignalByName(ctx, "Add", map[string]any{"Name": "new", "Count": 1, "Colour": "red"}))
	ok(t, client.Signal2(ctx, h, (*guide.Basket).Swap, 0, 1))
	ok(t, client.Signal0(ctx, h, (*guide.Basket).Pay))
	same(t, must(h.Result(ctx))(t), []string{"for Ada", "1 new", "0 old"})
}

type faulty struct{}

func (f *faulty) Run(workflow.Context) error        { return nil }
func (f *faulty) Twice(workflow.Context) (int, int) { return 0, 0 }

//perdure:allow validator it is what the worker has to refuse
func (f *faulty) ValidateNothing(workflow.ReadContext, string) error    { return nil }
func (f *faulty) Ask(workflow.ReadContext, string, int) (func(), error) { return nil, nil }

func TestAllFaultsAtRegistration(t *testing.T) {
	_, c := setup(t)
	w := worker.New(c, "other", worker.Options{})
	worker.Workflow[*faulty](w)
	w.Activity(func(context.Context) error { return nil })
	err := w.Start()
	for _, want := range []string{"Twice", "ValidateNothing", "Ask", "anonymous"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in: %v", want, err)
		}
	}
}

func TestInitUpdateInfoAndDraining(t *testing.T) {
	ctx, c := setup(t)
	h := must(client.Start(ctx, c, (*guide.Heating).Run, 18, client.StartOptions{TaskQueue: queue}))(t)
	ok(t, client.Signal0(ctx, h, (*guide.Heating).Chime)) // it is at work for an hour, but abandoned
	u := must(client.StartUpdate(ctx, h, (*guide.Heating).Bleed, "it", client.UpdateOptions{ID: "u", WaitFor: client.Accepted}))(t)
	ok(t, client.Signal0(ctx, h, (*guide.Heating).Off))
	same(t, must(u.Result(ctx))(t), "it is done, says u")
	same(t, must(h.Result(ctx))(t), 18)

	q := must(client.Start0(ctx, c, (*guide.Queue).Run, client.StartOptions{TaskQueue: queue}))(t)
	ok(t, client.UpdateVoid(ctx, q, (*guide.Queue).Job, "a"))
	same(t, must(q.Result(ctx))(t), []string{"a begun", "a done"})
}

func TestEverythingByName(t *testing.T) {
	ctx, c := setup(t)
	h := must(c.StartByName(ctx, "Heating", client.StartOptions{TaskQueue: queue}, 17))(t)
	var n int
	ok(t, must(h.UpdateByName(ctx, "Set", 19))(t).Get(&n))
	same(t, n, 17)
	u := must(h.StartUpdateByName(ctx, "Bleed", client.UpdateOptions{ID: "x", WaitFor: client.Completed}, "it"))(t)
	var s string
	ok(t, must(u.Result(ctx))(t).Get(&s))
	same(t, s, "it is done, says x")
	ok(t, h.SignalByName(ctx, "Off"))
	ok(t, must(h.Result(ctx))(t).Get(&n))
	same(t, n, 19)
}
