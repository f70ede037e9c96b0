package worker

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/metrics"
)

type idle struct{}

func (*idle) Run(flow.Context) error { return nil }

func someRun(t *testing.T) *held {
	t.Helper()
	d, err := handlers.Of(reflect.TypeFor[*idle](), flow.Rules)
	if err != nil {
		t.Fatal(err)
	}
	return &held{Run: flow.New(&flow.Env{}, d, "w", "r")}
}

// The answer to a task reaches others before it reaches the worker, so the next task may find the run still in use. It once
// made a second copy, and the first, put back after it, answered queries with old state.
func TestATaskWaitsForTheRunThatAnotherHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(10, newMeters(metrics.None))
		if took(c, "r") != nil {
			t.Fatal("there is a run before there was one")
		}
		got := make(chan *held, 1)
		go func() { got <- took(c, "r") }()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("the second task did not wait")
		default:
		}
		h := someRun(t)
		c.put("r", h)
		if <-got != h {
			t.Fatal("the second task got another run")
		}
		c.put("r", nil)
		if took(c, "r") != nil {
			t.Fatal("a dropped run was kept")
		}
		c.put("r", nil)
		if len(c.runs) != 0 {
			t.Fatalf("%d places are left", len(c.runs))
		}
	})
}

func TestTheRunUsedLongestAgoGoesFirst(t *testing.T) {
	c := newCache(2, newMeters(metrics.None))
	for _, id := range []string{"a", "b"} {
		took(c, id)
		c.put(id, someRun(t))
	}
	a := took(c, "a")
	c.put("a", a)
	took(c, "c")
	c.put("c", someRun(t))
	if took(c, "b") != nil {
		t.Error("b is still there")
	}
	if took(c, "a") != a {
		t.Error("a is not there")
	}
	c.put("a", a)
	c.put("b", nil)
	c.clear()
	if len(c.runs) != 0 || c.idle.Len() != 0 {
		t.Errorf("%d places, %d idle", len(c.runs), c.idle.Len())
	}
	none := newCache(-1, newMeters(metrics.None))
	took(none, "a")
	none.put("a", someRun(t))
	if len(none.runs) != 0 {
		t.Error("a cache without room keeps runs")
	}
}

func took(c *cache, id string) *held {
	h, _ := c.take(id, time.Minute)
	return h
}

// A task whose turn does not come gives its slot back.
func TestATaskDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(10, newMeters(metrics.None))
		took(c, "r")
		if _, got := c.take("r", time.Second); got {
			t.Error("two have one run")
		}
		c.put("r", nil)
		if len(c.runs) != 0 {
			t.Errorf("%d places are left", len(c.runs))
		}
	})
}
