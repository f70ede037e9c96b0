package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// Step is a workflow of one activity.
type Step struct{}

func (*Step) Run(ctx workflow.Context, s string) (string, error) {
	return workflow.Activity(ctx, Echo, s, workflow.ActivityOptions{StartToClose: time.Minute}).Get()
}

// Echo gives back what it gets.
func Echo(_ context.Context, s string) (string, error) { return s, nil }

// Tally is updated.
type Tally struct{ n int }

func (*Tally) Run(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool { return false })
}

// Add is an update that answers at once.
func (c *Tally) Add(_ workflow.Context, n int) (int, error) { c.n += n; return c.n, nil }

// Sum is a query.
func (c *Tally) Sum(workflow.ReadContext) (int, error) { return c.n, nil }

func opened(b *testing.B, dir string) *client.Client {
	b.Helper()
	db, err := embedded.Open(b.Context(), embedded.Options{Dir: dir, Client: client.Options{Logger: slog.New(slog.DiscardHandler)}})
	if err != nil {
		b.Fatal(err)
	}
	w := worker.New(db.Client(), "q", worker.Options{})
	worker.Workflow[*Step](w)
	worker.Workflow[*Tally](w)
	w.Activity(Echo)
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		w.Stop()
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db.Client()
}

// percentiles of the durations of single calls, in µs.
func percentiles(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(all[min(len(all)*p/100, len(all)-1)].Nanoseconds())/1e3, fmt.Sprintf("p%d-µs", p))
	}
}

func stores(b *testing.B, f func(b *testing.B, dir string)) {
	b.Run("disk", func(b *testing.B) { f(b, b.TempDir()) })
	b.Run("memory", func(b *testing.B) { f(b, "") })
}

// BenchmarkActivityWorkflow is start, one activity, result, in this process, by several callers.
func BenchmarkActivityWorkflow(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			stores(b, func(b *testing.B, dir string) {
				c := opened(b, dir)
				var left atomic.Int64
				left.Store(int64(b.N))
				var mu sync.Mutex
				var all []time.Duration
				var done sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range callers {
					done.Go(func() {
						for left.Add(-1) >= 0 {
							begun := time.Now()
							h, err := client.Start(b.Context(), c, (*Step).Run, "x", client.StartOptions{TaskQueue: "q"})
							if err == nil {
								_, err = h.Result(b.Context())
							}
							if err != nil {
								b.Error(err)
								return
							}
							mu.Lock()
							all = append(all, time.Since(begun))
							mu.Unlock()
						}
					})
				}
				done.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "workflows/s")
				percentiles(b, all)
			})
		})
	}
}

// BenchmarkUpdate and BenchmarkQuery are round trips to a workflow in this process.
func BenchmarkUpdate(b *testing.B) {
	stores(b, func(b *testing.B, dir string) {
		roundTrips(b, dir, func(h *client.Handle[*Tally, workflow.None]) error {
			_, err := client.Update(b.Context(), h, (*Tally).Add, 1)
			return err
		})
	})
}

func BenchmarkQuery(b *testing.B) {
	stores(b, func(b *testing.B, dir string) {
		roundTrips(b, dir, func(h *client.Handle[*Tally, workflow.None]) error {
			_, err := client.Query(b.Context(), h, (*Tally).Sum)
			return err
		})
	})
}

func roundTrips(b *testing.B, dir string, call func(*client.Handle[*Tally, workflow.None]) error) {
	c := opened(b, dir)
	var h *client.Handle[*Tally, workflow.None]
	var all []time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%1000 == 0 { // a run takes so many updates and no more
			b.StopTimer()
			if h != nil {
				if err := h.Terminate(b.Context(), ""); err != nil {
					b.Fatal(err)
				}
			}
			var err error
			if h, err = client.StartVoid0(b.Context(), c, (*Tally).Run, client.StartOptions{TaskQueue: "q"}); err == nil {
				err = call(h)
			}
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		begun := time.Now()
		if err := call(h); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(begun))
	}
	b.StopTimer()
	percentiles(b, all)
}
