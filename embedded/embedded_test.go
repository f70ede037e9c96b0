package embedded_test

import (
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

type Counter struct{ n int }

func (c *Counter) Run(ctx workflow.Context) (int, error) {
	err := workflow.Await(ctx, func() bool { return c.n >= 2 })
	return c.n, err
}

func (c *Counter) Add(_ workflow.Context, n int) (int, error) {
	c.n += n
	return c.n, nil
}

func open(t *testing.T, dir string) *embedded.DB {
	t.Helper()
	db, err := embedded.Open(t.Context(), embedded.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func add(t *testing.T, db *embedded.DB, h *client.Handle[*Counter, int], want int) {
	t.Helper()
	w := worker.New(db.Client(), "q", worker.Options{})
	worker.Workflow[*Counter](w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if n, err := client.Update(t.Context(), h, (*Counter).Add, 1); err != nil || n != want {
		t.Errorf("update: %d, %v; want %d", n, err, want)
	}
}

func TestRunsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	h, err := client.Start0(t.Context(), db.Client(), (*Counter).Run, client.StartOptions{ID: "c", TaskQueue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	add(t, db, h, 1)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	defer db.Close()
	add(t, db, client.HandleOf[*Counter, int](db.Client(), "c", ""), 2)
}

func TestOneDirectoryIsOpenOnce(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	defer db.Close()
	if _, err := embedded.Open(t.Context(), embedded.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v", err)
	}
}

// Summing adds up until it has been asked so often.
type Summing struct{ sum, n int }

func (s *Summing) Run(ctx workflow.Context, n int) (int, error) {
	err := workflow.Await(ctx, func() bool { return s.n >= n })
	return s.sum, err
}

// Add is an update.
func (s *Summing) Add(_ workflow.Context, n int) (int, error) {
	s.sum += n
	s.n++
	return s.sum, nil
}

func TestHeadroomCountsAsLive(t *testing.T) {
	t.Setenv("GOGC", "")
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, c := range []struct {
		limit                 int64
		headroom, least, most int64
	}{ // with room for what else comes and goes
		{math.MaxInt64, 0, 24 << 20, 52 << 20}, {math.MaxInt64, 100 << 20, 90 << 20, 120 << 20},
		{math.MaxInt64, -1, -20 << 20, 20 << 20}, {1 << 30, 0, -20 << 20, 20 << 20},
	} {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(c.limit))
		before := live()
		db, err := embedded.Open(t.Context(), embedded.Options{Headroom: int(c.headroom)})
		if err != nil {
			t.Fatal(err)
		}
		if grown := live() - before; grown < c.least || grown > c.most {
			t.Errorf("headroom %d: %d more are live", c.headroom, grown)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if left := live() - before; left > 20<<20 {
			t.Errorf("headroom %d: %d are left after the end", c.headroom, left)
		}
	}
}

func TestLimitsOfAnEmbeddedServer(t *testing.T) {
	for _, c := range []struct {
		o    embedded.Options
		want string
	}{
		{embedded.Options{Limits: []string{"nonsense=1"}}, "there is no setting nonsense"},
		{embedded.Options{Limits: []string{"limit.blobSize.error=x"}}, "is not a whole number"},
		{embedded.Options{Limits: []string{"limit.blobSize.error"}}, "is not of the form NAME=VALUE"},
		{embedded.Options{CacheBytes: -1}, "CacheBytes is -1"},
	} {
		if _, err := embedded.Open(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	db, err := embedded.Open(t.Context(), embedded.Options{CacheBytes: 1 << 20, Limits: []string{"history.maximumSignalsPerExecution=1", "perdure.softLimits=false"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := client.Start0(t.Context(), db.Client(), (*Counter).Run, client.StartOptions{ID: "w", TaskQueue: "q"}); err != nil {
		t.Fatal(err)
	}
	send := func() error {
		_, err := db.Client().Service().SignalWorkflowExecution(t.Context(), &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: "default", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "w"}, SignalName: "s",
		})
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if err := send(); err == nil {
		t.Error("a second signal was taken")
	}
}
