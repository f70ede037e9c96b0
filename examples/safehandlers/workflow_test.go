package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflowtest"
)

type handle = client.Handle[*Cluster, Summary]

// given starts a worker and a cluster, which is not up yet.
func given(t *testing.T, env *workflowtest.Env, m *Machines, n int) *handle {
	t.Helper()
	env.Worker(queue, func(w *worker.Worker) {
		worker.Workflow[*Cluster](w)
		w.Activity(m)
	})
	h, err := client.Start(env.Ctx, env.Client, (*Cluster).Run, State{Nodes: nodes(n)}, client.StartOptions{ID: "cluster", TaskQueue: queue})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func up(t *testing.T, env *workflowtest.Env, h *handle) {
	t.Helper()
	if err := client.Signal0(env.Ctx, h, (*Cluster).Start); err != nil {
		t.Fatal(err)
	}
	env.Idle()
}

func assign(t *testing.T, env *workflowtest.Env, h *handle, id, job string, n int) *client.UpdateHandle[[]string] {
	t.Helper()
	u, err := client.StartUpdate(env.Ctx, h, (*Cluster).Assign, Wish{job, n}, client.UpdateOptions{ID: id, WaitFor: client.Accepted})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func got(t *testing.T, env *workflowtest.Env, u *client.UpdateHandle[[]string], want ...string) {
	t.Helper()
	if got, err := u.Result(env.Ctx); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %v, %v; want %v", u.ID(), got, err, want)
	}
}

func TestHandlersDoNotChooseTheSameNodes(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, &Machines{takes: 30 * time.Second}, 10)
		up(t, env, h)
		begun := time.Now()
		var updates []*client.UpdateHandle[[]string]
		for i := range 5 {
			updates = append(updates, assign(t, env, h, "", fmt.Sprint("job-", i), 2))
		}
		owners := map[string]string{}
		for i, u := range updates {
			nodes, err := u.Result(env.Ctx)
			if err != nil || len(nodes) != 2 {
				t.Fatalf("job %d: %v, %v", i, nodes, err)
			}
			for _, n := range nodes {
				if other, taken := owners[n]; taken {
					t.Errorf("%s has two jobs, one by update %s", n, other)
				}
				owners[n] = u.ID()
			}
		}
		if d := time.Since(begun); d < 150*time.Second {
			t.Errorf("5 updates of 30 s each took %s", d)
		}
	})
}

func TestUpdatesWaitUntilTheClusterIsUp(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		m := &Machines{}
		h := given(t, env, m, 3)
		u := assign(t, env, h, "", "red", 2)
		time.Sleep(time.Hour) // simulated
		if n := m.Loads(); n != 0 {
			t.Errorf("%d loads", n)
		}
		up(t, env, h)
		got(t, env, u, "node-00", "node-01")
	})
}

func TestOneIDIsOneUpdate(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		m := &Machines{takes: 30 * time.Second}
		h := given(t, env, m, 3)
		up(t, env, h)
		first, second := assign(t, env, h, "once", "red", 2), assign(t, env, h, "once", "red", 2)
		got(t, env, first, "node-00", "node-01")
		got(t, env, second, "node-00", "node-01")
		got(t, env, assign(t, env, h, "once", "red", 2), "node-00", "node-01")
		if n := m.Loads(); n != 1 {
			t.Errorf("%d loads", n)
		}
	})
}

// The history becomes long while a handler is at work. The run waits for it, and the next one knows what it did.
func TestContinueAsNewLosesNoHandler(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		m := &Machines{}
		h := given(t, env, m, 5)
		up(t, env, h)
		got(t, env, assign(t, env, h, "early", "red", 1), "node-00")
		m.Slow(50 * time.Second)
		late := assign(t, env, h, "late", "green", 2)
		for range 1500 {
			up(t, env, h)
		}
		run := func() string {
			d, err := env.Client.Handle(h.ID(), "").Describe(env.Ctx)
			if err != nil {
				t.Fatal(err)
			}
			return d.WorkflowExecutionInfo.Execution.RunId
		}
		if run() != h.FirstRunID() {
			t.Error("the run did not wait for its handler")
		}
		got(t, env, late, "node-01", "node-02")
		env.Idle()
		if run() == h.FirstRunID() {
			t.Error("the run has not continued as new")
		}
		if all, err := client.Query(env.Ctx, h, (*Cluster).Nodes); err != nil || all["node-02"] != "green" {
			t.Errorf("nodes: %v, %v", all, err)
		}
		// To the server these are new updates, since this is another run.
		got(t, env, assign(t, env, h, "early", "red", 1), "node-00")
		got(t, env, assign(t, env, h, "late", "green", 2), "node-01", "node-02")
		if n := m.Loads(); n != 2 {
			t.Errorf("%d loads", n)
		}
	})
}

func TestBrokenNodesAreTakenOut(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		m := &Machines{}
		h := given(t, env, m, 3)
		up(t, env, h)
		m.Break("node-00")
		time.Sleep(CheckInterval + time.Minute) // simulated
		got(t, env, assign(t, env, h, "", "red", 2), "node-01", "node-02")
	})
}

func failed(t *testing.T, err error, want string) {
	t.Helper()
	var failed *client.UpdateFailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a failure that says %q", err, want)
	}
}

func TestFailedUpdateCanBeMadeAgain(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, &Machines{}, 3)
		up(t, env, h)
		got(t, env, assign(t, env, h, "", "red", 2), "node-00", "node-01")
		_, err := client.Update(env.Ctx, h, (*Cluster).Assign, Wish{"green", 2})
		failed(t, err, "green wants 2 nodes, 1 are free")
		_, err = client.Update(env.Ctx, h, (*Cluster).Assign, Wish{"green", 0})
		failed(t, err, "a number of nodes")
		if _, err := client.Update(env.Ctx, h, (*Cluster).Remove, "red"); err != nil {
			t.Error(err)
		}
		got(t, env, assign(t, env, h, "", "green", 2), "node-00", "node-01")
	})
}

func TestShutdownWaitsForHandlers(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, &Machines{takes: 30 * time.Second}, 5)
		up(t, env, h)
		first, second := assign(t, env, h, "", "red", 2), assign(t, env, h, "", "green", 2)
		if err := client.Signal0(env.Ctx, h, (*Cluster).Shutdown); err != nil {
			t.Fatal(err)
		}
		_, err := client.Update(env.Ctx, h, (*Cluster).Assign, Wish{"blue", 1})
		failed(t, err, "shut down")
		if end, err := h.Result(env.Ctx); err != nil || end != (Summary{5, 4}) {
			t.Errorf("result: %+v, %v", end, err)
		}
		got(t, env, first, "node-00", "node-01")
		got(t, env, second, "node-02", "node-03")
	})
}

func TestCancellationEndsHandlersToo(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		h := given(t, env, &Machines{takes: 30 * time.Second}, 5)
		up(t, env, h)
		first, second := assign(t, env, h, "", "red", 2), assign(t, env, h, "", "green", 2)
		if err := h.Cancel(env.Ctx, "closing time"); err != nil {
			t.Fatal(err)
		}
		for _, u := range []*client.UpdateHandle[[]string]{first, second} {
			if _, err := u.Result(env.Ctx); !failure.IsCanceled(err) {
				t.Errorf("update: %v", err)
			}
		}
		if _, err := h.Result(env.Ctx); !failure.IsCanceled(err) {
			t.Errorf("result: %v", err)
		}
	})
}

func TestClusterWithoutNodesFails(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, env *workflowtest.Env) {
		if _, err := given(t, env, &Machines{}, 0).Result(env.Ctx); err == nil || !strings.Contains(err.Error(), "needs nodes") {
			t.Errorf("result: %v", err)
		}
	})
}
