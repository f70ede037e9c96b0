package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Traveler hands on what came in its headers, by every way there is.
type Traveler struct{ seen []string }

type tenantKey struct{}

func tenant(ctx workflow.ReadContext) string {
	s, _ := workflow.Value(ctx, tenantKey{}).(string)
	return s
}

func (tr *Traveler) Run(ctx workflow.Context, depth int) ([]string, error) {
	tr.seen = append(tr.seen, "run "+tenant(ctx))
	for _, f := range []workflow.Future[string]{
		workflow.Activity0(ctx, Tenant, workflow.ActivityOptions{StartToClose: time.Minute}),
		workflow.LocalActivity0(ctx, Tenant, workflow.LocalActivityOptions{StartToClose: time.Minute}),
	} {
		s, err := f.Get()
		if err != nil {
			return nil, err
		}
		tr.seen = append(tr.seen, "activity "+s)
	}
	below, cancel := workflow.WithCancel(ctx)
	defer cancel("")
	if got := tenant(below); got != tenant(ctx) {
		return nil, errors.New("a scope lost the value: " + got)
	}
	if depth > 0 {
		child, err := workflow.Child(ctx, (*Traveler).Run, depth-1, workflow.ChildOptions{}).Result().Get()
		if err != nil {
			return nil, err
		}
		return append(tr.seen, child...), workflow.Await(ctx, func() bool { return len(tr.seen) >= 5 })
	}
	if !strings.HasSuffix(tenant(ctx), " again") {
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return nil, err
		}
		return nil, workflow.ContinueAsNew(drained, (*Traveler).Run, 0)
	}
	return tr.seen, nil
}

func (tr *Traveler) Note(ctx workflow.Context, what string) {
	tr.seen = append(tr.seen, what+" "+tenant(ctx))
}
func (tr *Traveler) Change(ctx workflow.Context, what string) (string, error) {
	return what + " " + tenant(ctx), nil
}
func (tr *Traveler) ValidateChange(ctx workflow.ReadContext, what string) error {
	if what != tenant(ctx) {
		return fmt.Errorf("%s is not the tenant", what)
	}
	return nil
}
func (tr *Traveler) Who(ctx workflow.ReadContext) (string, error) { return tenant(ctx), nil }

type ctxKey struct{}

// Tenant says what came with the activity.
func Tenant(ctx context.Context) (string, error) {
	s, _ := ctx.Value(ctxKey{}).(string)
	return s, nil
}

func decoded(h map[string]*commonpb.Payload) (s string) {
	if p := h["tenant"]; p != nil {
		if err := converter.Default().FromPayload(p, &s); err != nil {
			panic(err)
		}
	}
	return s
}

func encoded(s string) *commonpb.Payload {
	p, err := converter.Default().ToPayload(s)
	if err != nil {
		panic(err)
	}
	return p
}

// Headers carry a value from the client through workflows, children, runs that continue and activities.
func TestInterceptorsCarryAValueAlong(t *testing.T) {
	for _, cached := range []int{0, -1} {
		t.Run(fmt.Sprint("cache ", cached), func(t *testing.T) {
			var mu sync.Mutex
			kinds := map[workflow.CallKind]bool{}
			note := func(k workflow.CallKind) {
				mu.Lock()
				defer mu.Unlock()
				kinds[k] = true
			}
			carry := workflow.Interceptor{
				Handle: func(ctx workflow.Context, call *workflow.Call, next func(workflow.Context) error) error {
					note(call.Kind)
					err := next(workflow.WithValue(ctx, tenantKey{}, decoded(call.Header)))
					if s, ok := call.Result.(string); ok && call.Kind == workflow.CallUpdate {
						call.Result = s + "!"
					}
					return err
				},
				Read: func(ctx workflow.ReadContext, call *workflow.Call, next func(workflow.ReadContext) error) error {
					note(call.Kind)
					return next(workflow.WithReadValue(ctx, tenantKey{}, decoded(call.Header)))
				},
				Send: func(ctx workflow.Context, call *workflow.Call) {
					note(call.Kind)
					who := tenant(ctx)
					if call.Kind == workflow.CallContinueAsNew {
						who = decoded(call.Header) + " again"
					}
					call.Header["tenant"] = encoded(who)
				},
			}
			c, q := server(t, func(o *client.Options) {
				o.Outbound = []client.Interceptor{client.InterceptorFunc(func(ctx context.Context, call *client.Call, next func(context.Context) error) error {
					who, _ := ctx.Value(ctxKey{}).(string)
					call.Header["tenant"] = encoded(who)
					return next(ctx)
				})}
			}), uuid.NewString()
			w := worker.New(c, q, worker.Options{
				MaxCachedRuns: cached, Interceptors: []workflow.Interceptor{carry},
				ActivityInterceptors: []activity.Interceptor{func(ctx context.Context, call *activity.Call, next func(context.Context) error) error {
					err := next(context.WithValue(ctx, ctxKey{}, decoded(call.Info.Header.GetFields())))
					if s, ok := call.Result.(string); ok && call.Info.Local {
						call.Result = s + " locally"
					}
					return err
				}},
			})
			worker.Workflow[*Traveler](w)
			w.Activity(Tenant)
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			as := func(who string) context.Context { return context.WithValue(t.Context(), ctxKey{}, who) }
			h := must[*client.Handle[*Traveler, []string]](t)(client.Start(as("A"), c, (*Traveler).Run, 1, client.StartOptions{TaskQueue: q}))
			if s := must[string](t)(client.Update(as("B"), h, (*Traveler).Change, "B")); s != "B B!" {
				t.Errorf("the update answered %q", s)
			}
			if _, err := client.Update(as("B"), h, (*Traveler).Change, "C"); err == nil || !strings.Contains(err.Error(), "C is not the tenant") {
				t.Errorf("the validator saw another header: %v", err)
			}
			if s := must[string](t)(client.Query(as("Q"), h, (*Traveler).Who)); s != "Q" {
				t.Errorf("the query answered %q", s)
			}
			ok(t, client.Signal(as("S"), h, (*Traveler).Note, "signal"))
			ok(t, client.Signal(as("S"), h, (*Traveler).Note, "signal"))
			got := must[[]string](t)(h.Result(t.Context()))
			want := "activity A, activity A again, activity A again locally, activity A locally, run A, run A again, signal S, signal S"
			if slices.Sort(got); strings.Join(got, ", ") != want {
				t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
			}
			for k := workflow.CallRun; k <= workflow.CallContinueAsNew; k++ {
				if !kinds[k] && k != workflow.CallSignalWorkflow {
					t.Errorf("no interceptor saw a %s", k)
				}
			}
		})
	}
}

// Late sets its handlers at run time.
type Late struct{ got []string }

func (l *Late) Run(ctx workflow.Context) ([]string, error) {
	done := false
	workflow.SetSignalHandler(ctx, "", func(_ workflow.Context, name string, args workflow.Args) error {
		l.got = append(l.got, fmt.Sprintf("any %s(%d)", name, args.Len()))
		return nil
	})
	workflow.SetSignalHandler(ctx, "fail", func(workflow.Context, string, workflow.Args) error {
		return failure.NewApplicationError("told to", "Told")
	})
	workflow.SetQueryHandler(ctx, "got", func(workflow.ReadContext, string, workflow.Args) (any, error) { return l.got, nil })
	workflow.SetQueryHandler(ctx, "", func(_ workflow.ReadContext, name string, args workflow.Args) (any, error) {
		return fmt.Sprintf("any %s(%d)", name, args.Len()), nil
	})
	workflow.SetUpdateHandler(ctx, "add", func(ctx workflow.Context, _ string, args workflow.Args) (any, error) {
		var s string
		if err := args.Decode(&s); err != nil {
			return nil, err
		}
		if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
		l.got = append(l.got, s)
		return len(l.got), nil
	}, func(_ workflow.ReadContext, _ string, args workflow.Args) error {
		if args.Len() != 1 {
			return errors.New("one argument, please")
		}
		return nil
	})
	workflow.SetUpdateHandler(ctx, "end", func(workflow.Context, string, workflow.Args) (any, error) {
		done = true
		return nil, nil
	}, nil)
	workflow.SetUpdateHandler(ctx, "gone", func(workflow.Context, string, workflow.Args) (any, error) { return nil, nil }, nil)
	workflow.SetUpdateHandler(ctx, "gone", nil, nil)
	err := workflow.Await(ctx, func() bool { return done })
	return l.got, err
}

func TestHandlersAreSetAtRunTime(t *testing.T) {
	for _, cached := range []int{0, -1} {
		t.Run(fmt.Sprint("cache ", cached), func(t *testing.T) {
			c, q, ctx := server(t), uuid.NewString(), t.Context()
			o := client.StartOptions{TaskQueue: q, IDConflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}
			w := worker.New(c, q, worker.Options{MaxCachedRuns: cached})
			worker.Workflow[*Late](w)
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			// The update comes with the start: Run has not set its handler when it arrives.
			op := client.WithStart0((*Late).Run, o)
			v := must[converter.Value](t)(client.UpdateWithStartByName(ctx, c, op, "add", "first"))
			var n int
			if ok(t, v.Get(&n)); n != 1 {
				t.Errorf("the first update answered %d", n)
			}
			h := must[*client.Handle[*Late, []string]](t)(op.Handle(ctx))
			u := c.Handle(h.ID(), "")
			if _, err := u.UpdateByName(ctx, "add"); err == nil || !strings.Contains(err.Error(), "one argument, please") {
				t.Errorf("the validator let pass: %v", err)
			}
			if _, err := u.UpdateByName(ctx, "gone"); err == nil || !strings.Contains(err.Error(), "unknown update gone. KnownUpdates=[add end]") {
				t.Errorf("an update whose handler was unset answered %v", err)
			}
			ok(t, u.SignalByName(ctx, "hello", 1, 2))
			var got []string
			if ok(t, must[converter.Value](t)(u.QueryByName(ctx, "got")).Get(&got)); strings.Join(got, ", ") != "first, any hello(2)" {
				t.Errorf("got %q", got)
			}
			var s string
			if ok(t, must[converter.Value](t)(u.QueryByName(ctx, "other", "x")).Get(&s)); s != "any other(1)" {
				t.Errorf("got %q", s)
			}
			var m sdkpb.WorkflowMetadata
			ok(t, must[converter.Value](t)(u.QueryByName(ctx, "__temporal_workflow_metadata")).Get(&m))
			if d := m.Definition; len(d.SignalDefinitions) != 2 || len(d.QueryDefinitions) != 2 || len(d.UpdateDefinitions) != 2 || d.UpdateDefinitions[0].Name != "add" {
				t.Errorf("the metadata has %v", d)
			}
			must[converter.Value](t)(u.UpdateByName(ctx, "end"))
			if got := must[[]string](t)(h.Result(ctx)); len(got) != 2 {
				t.Errorf("got %q", got)
			}
			// The signal waits for its handler, which is set after the dynamic one.
			h = must[*client.Handle[*Late, []string]](t)(client.SignalWithStartByName(ctx, c, client.WithStart0((*Late).Run, client.StartOptions{TaskQueue: q}), "fail"))
			if _, err := h.Result(ctx); !failure.IsApplication(err, "Told") {
				t.Errorf("a signal handler's error ended the run with %v", err)
			}
		})
	}
}

// Moving continues as new with other options, once.
type Moving struct{}

func (*Moving) Run(ctx workflow.Context, to string) (string, error) {
	if to != "" {
		drained, err := workflow.Drain(ctx)
		if err != nil {
			return "", err
		}
		return "", workflow.ContinueAsNew(drained, (*Moving).Run, "", workflow.ContinueAsNewOptions{
			TaskQueue: to, RunTimeout: 3 * time.Minute, TaskTimeout: 7 * time.Second, Memo: map[string]any{"k": "new"},
			Retry: &workflow.RetryPolicy{MaximumAttempts: 5},
		})
	}
	i := workflow.GetInfo(ctx)
	var memo string
	if err := converter.Default().FromPayload(i.Memo.Fields["k"], &memo); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %s %d", i.RunTimeout, i.TaskTimeout, memo, len(i.Memo.Fields)), nil
}

func TestTheNextRunHasOtherOptions(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	for _, queue := range []string{q, q + "-2"} {
		w := worker.New(c, queue, worker.Options{})
		worker.Workflow[*Moving](w)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	h := must[*client.Handle[*Moving, string]](t)(client.Start(ctx, c, (*Moving).Run, q+"-2", client.StartOptions{TaskQueue: q, Memo: map[string]any{"k": "old", "l": 1}}))
	if s := must[string](t)(h.Result(ctx)); s != "3m0s 7s new 1" {
		t.Errorf("got %s", s)
	}
	d, err := c.Handle(h.ID(), "").Describe(ctx)
	ok(t, err)
	if d.WorkflowExecutionInfo.TaskQueue != q+"-2" {
		t.Errorf("it ran on %s", d.WorkflowExecutionInfo.TaskQueue)
	}
}

// Typed has messages with types of several sorts.
type Typed struct{}

// Order is an argument.
type Order struct {
	ID    string   `json:"id" jsonschema:"the order's number"`
	Items []string `json:"items,omitempty"`
}

func (*Typed) Run(ctx workflow.Context, _ Order) (int, error) {
	return 0, workflow.Await(ctx, func() bool { return false })
}
func (*Typed) Add(workflow.Context, Order, bool) (map[string]float64, error) { return nil, nil }
func (*Typed) Stop(workflow.Context)                                         {}
func (*Typed) Any(workflow.ReadContext, string, workflow.Args) (any, error)  { return nil, nil }

var _ = workflow.Define[*Typed](workflow.Describe((*Typed).Add, "Adds an order."))

func TestAWorkflowTellsItsSchema(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	start(t, c, q, worker.Options{}, worker.Workflow[*Typed])
	h := must[*client.Handle[*Typed, int]](t)(client.Start(ctx, c, (*Typed).Run, Order{}, client.StartOptions{TaskQueue: q}))
	v := must[converter.Value](t)(h.QueryByName(ctx, "__perdure_schema"))
	var got map[string]any
	ok(t, v.Get(&got))
	at := func(path ...string) any {
		var x any = got
		for _, p := range path {
			switch y := x.(type) {
			case map[string]any:
				x = y[p]
			case []any:
				x = y[p[0]-'0']
			}
		}
		return x
	}
	for want, path := range map[any][]string{
		"Typed":              {"type"},
		"the order's number": {"run", "arguments", "0", "properties", "id", "description"},
		"integer":            {"run", "result", "type"},
		"boolean":            {"updates", "Add", "arguments", "1", "type"},
		"number":             {"updates", "Add", "result", "additionalProperties", "type"},
		"Adds an order.":     {"updates", "Add", "description"},
		"query":              {"dynamic", "0"},
	} {
		if s := at(path...); s != want {
			t.Errorf("%v is %v, want %v", path, s, want)
		}
	}
	var m sdkpb.WorkflowMetadata
	ok(t, must[converter.Value](t)(h.QueryByName(ctx, "__temporal_workflow_metadata")).Get(&m))
	if s := m.Definition.UpdateDefinitions[0].Description; s != "Adds an order.\n\nAdd(worker_test.Order, bool) map[string]float64" {
		t.Errorf("the update is described as %q", s)
	}
}
