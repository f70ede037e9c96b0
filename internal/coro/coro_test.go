package coro

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCoroutinesTakeTurnsInTheOrderInWhichTheyBecameReady(t *testing.T) {
	var s Scheduler
	var got []string
	say := func(x string) { got = append(got, x) }
	a := s.Go("a", "", func() {
		say("a1")
		s.Go("c", "", func() { say("c") })
		s.Park()
		say("a2")
	})
	s.Go("b", "", func() { say("b1"); a.Wake(); a.Wake(); say("b2") })
	if len(got) != 0 {
		t.Fatal("they ran outside of Run")
	}
	s.Run()
	if want := "a1 b1 b2 c a2"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if s.Len() != 0 || s.first != nil || len(s.idle) != 0 {
		t.Errorf("%d coroutines and %d threads are left", s.Len(), len(s.idle))
	}
	a.Wake() // has ended
	s.Run()
	if len(got) != 5 {
		t.Error("one that had ended ran again")
	}
}

func TestConditionsAreLookedAtWhenNothingIsReadyInTheOrderOfTheirWaiters(t *testing.T) {
	var s Scheduler
	var got []string
	n := 0
	for i := range 3 {
		s.Go("waiter", fmt.Sprint(i), func() {
			s.Await(func() bool { return n > 0 })
			n--
			got = append(got, fmt.Sprint(i))
		})
	}
	s.Run()
	n = 2
	s.Run()
	if strings.Join(got, " ") != "0 1" || s.Len() != 1 {
		t.Errorf("got %v, %d left", got, s.Len())
	}
	if st := s.Stacks(); len(st) != 1 || st[0].Name != "waiter 2" || !strings.Contains(st[0].Text, "TestConditions") {
		t.Errorf("stacks %v", st)
	}
	s.Close()
}

func TestCloseRunsWhatWasDeferredAndNothingElse(t *testing.T) {
	var s Scheduler
	var got []string
	for _, name := range []string{"a", "b"} {
		s.Go(name, "", func() {
			defer func() { got = append(got, "deferred "+name) }()
			defer func() {
				if name == "a" {
					panic("concerns nobody")
				}
			}()
			defer func() { _ = recover() }() // nothing to recover from
			s.Park()
			got = append(got, "went on")
		})
	}
	s.Run()
	s.Go("never", "", func() { got = append(got, "never began") })
	s.Close()
	if want := []string{"deferred b", "deferred a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAPanicComesOutOfRun(t *testing.T) {
	var s Scheduler
	s.Go("before", "", func() { s.Park() })
	s.Go("panics", "", func() { panic("out") })
	func() {
		defer func() {
			p, ok := recover().(*Panic)
			if !ok || p.Value != "out" || !strings.Contains(p.Stack, "coro_test.go") {
				t.Errorf("recovered %v", p)
			}
		}()
		s.Run()
		t.Error("no panic")
	}()
	if s.Current() != nil {
		t.Error("somebody still runs")
	}
	s.Close()
}

// Handlers that end without waiting share a thread.
func TestThreadsAreUsedAgain(t *testing.T) {
	var s Scheduler
	before, most := runtime.NumGoroutine(), 0
	for range 1000 {
		s.Go("handler", "", func() { most = max(most, runtime.NumGoroutine()) })
	}
	s.Run()
	if most > before+10 {
		t.Errorf("%d threads for 1000 coroutines one after the other", most-before)
	}
}

// Whatever coroutines do, the order is that of a queue, and the list of those alive is right.
func TestOrderIsThatOfAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Scheduler
		defer s.Close()
		var got, want []int
		var parked []*Coroutine
		var ids, queue, ended []int
		next := 0
		start := func() {
			id, turns := next, rapid.IntRange(0, 3).Draw(t, "turns")
			next++
			queue = append(queue, id)
			s.Go("c", "", func() {
				for range turns {
					got = append(got, id)
					parked, ids = append(parked, s.Current()), append(ids, id)
					s.Park()
				}
				got = append(got, id)
				ended = append(ended, id)
			})
		}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "start") || len(parked) == 0 {
				start()
			} else {
				i := rapid.IntRange(0, len(parked)-1).Draw(t, "wake")
				parked[i].Wake()
				queue = append(queue, ids[i])
				parked, ids = slices.Delete(parked, i, i+1), slices.Delete(ids, i, i+1)
			}
			if rapid.Bool().Draw(t, "run") {
				want, queue = append(want, queue...), nil
				s.Run()
			}
		}
		want = append(want, queue...)
		s.Run()
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if s.Len() != next-len(ended) || s.Len() != len(parked) {
			t.Fatalf("%d alive, %d parked", s.Len(), len(parked))
		}
	})
}

func BenchmarkCoroutineThatEndsAtOnce(b *testing.B) {
	b.ReportAllocs()
	var s Scheduler
	for b.Loop() {
		for range 62 {
			s.Go("handler", "x", func() {})
		}
		s.Run()
	}
}

func BenchmarkSwitch(b *testing.B) {
	b.ReportAllocs()
	var s Scheduler
	c := s.Go("c", "", func() {
		for {
			s.Park()
		}
	})
	for b.Loop() {
		c.Wake()
		s.Run()
	}
	s.Close()
}
