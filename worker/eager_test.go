package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Fan runs n activities at once, the last of them on another queue if there is one.
type Fan struct{}

func (*Fan) Run(ctx workflow.Context, n int, elsewhere string) (sum int, err error) {
	var all []workflow.Future[int]
	for i := range n {
		o := workflow.ActivityOptions{StartToClose: 10 * time.Second}
		if i == n-1 {
			o.TaskQueue = elsewhere
		}
		all = append(all, workflow.Activity(ctx, Double, i, o))
	}
	for _, f := range all {
		v, err := f.Get()
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

func Double(_ context.Context, n int) (int, error) { return 2 * n, nil }

// ways counts how activities came to workers, and what was asked for.
type ways struct{ polled, eager, asked atomic.Int64 }

func (w *ways) count(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if r, ok := req.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok {
		for _, c := range r.Commands {
			if c.GetScheduleActivityTaskCommandAttributes().GetRequestEagerExecution() {
				w.asked.Add(1)
			}
		}
	}
	err := next(ctx, method, req, reply, cc, opts...)
	switch r := reply.(type) {
	case *workflowservice.PollActivityTaskQueueResponse:
		if len(r.TaskToken) > 0 {
			w.polled.Add(1)
		}
	case *workflowservice.RespondWorkflowTaskCompletedResponse:
		w.eager.Add(int64(len(r.ActivityTasks)))
	}
	return err
}

func TestActivitiesComeWithTheAnswerThatSchedulesThem(t *testing.T) {
	for _, r := range []struct {
		name         string
		o            worker.Options
		n            int
		elsewhere    bool
		asked        int64 // -1: depends on who is first
		unregistered bool
	}{
		{name: "one", n: 1, asked: 1},
		{name: "no more than three at once", n: 5, asked: 3},
		{name: "not those of other queues", n: 2, elsewhere: true, asked: 1},
		{name: "not those that are not run here", n: 1, elsewhere: true, asked: 0, unregistered: true},
		{name: "not when told so", n: 2, o: worker.Options{DisableEagerActivities: true}, asked: 0},
		{name: "not beyond the slots", n: 5, o: worker.Options{MaxConcurrentActivities: 1}, asked: -1},
	} {
		t.Run(r.name, func(t *testing.T) {
			var seen ways
			c := server(t, func(o *client.Options) { o.Interceptors = append(o.Interceptors, seen.count) })
			q, elsewhere := uuid.NewString(), ""
			start(t, c, q, r.o, func(w *worker.Worker) {
				worker.Workflow[*Fan](w)
				if !r.unregistered {
					w.Activity(Double)
				}
			})
			if r.elsewhere {
				elsewhere = uuid.NewString()
				start(t, c, elsewhere, worker.Options{}, func(w *worker.Worker) { w.Activity(Double) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			h, err := client.Start2(ctx, c, (*Fan).Run, r.n, elsewhere, client.StartOptions{TaskQueue: q})
			ok(t, err)
			sum, err := h.Result(ctx)
			ok(t, err)
			if want := r.n * (r.n - 1); sum != want {
				t.Errorf("sum %d, want %d", sum, want)
			}
			asked, eager, polled := seen.asked.Load(), seen.eager.Load(), seen.polled.Load()
			if r.asked >= 0 && asked != r.asked || r.asked < 0 && asked > 1 {
				t.Errorf("asked for %d, want %d", asked, r.asked)
			}
			if eager > asked || eager+polled != int64(r.n) {
				t.Errorf("%d came at once and %d by polls, of %d; %d were asked for", eager, polled, r.n, asked)
			}
			if eager != asked && testsOwnServer() {
				t.Errorf("%d were asked for, %d came", asked, eager)
			}
		})
	}
}
