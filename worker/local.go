package worker

import (
	"context"
	"math"
	"time"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
)

// inFlight starts what of a run's local activities is not running yet and gives the channel on which all answer. It lives as
// long as the run does here, across renewed tasks.
func (w *Worker) inFlight(r *flow.Run) chan localResult {
	w.localMu.Lock()
	defer w.localMu.Unlock()
	if w.local == nil {
		w.local = map[*flow.Run]*localRun{}
	}
	l := w.local[r]
	if l == nil {
		l = &localRun{done: make(chan localResult, 1<<10), started: map[*flow.LocalActivity]bool{}}
		w.local[r] = l
	}
	for _, a := range r.Locals() {
		if !l.started[a] {
			l.started[a] = true
			info := activity.Info{
				Namespace: r.Info.Namespace, WorkflowID: r.Info.WorkflowID, WorkflowRunID: r.Info.RunID, WorkflowType: r.Info.Type,
				ActivityType: a.Name, TaskQueue: w.queue, Attempt: 1, Local: true, ScheduledTime: time.Now(), StartedTime: time.Now(),
			}
			w.tasks.Add(1)
			go func() {
				defer w.tasks.Done()
				l.done <- w.runLocal(a, info)
			}()
		}
	}
	return l.done
}

// forget drops what is known of a run's local activities; what still runs answers to nobody.
func (w *Worker) forgetLocals(r *flow.Run) {
	w.localMu.Lock()
	delete(w.local, r)
	w.localMu.Unlock()
}

type localRun struct {
	done    chan localResult
	started map[*flow.LocalActivity]bool
}

// runLocal makes attempts until one succeeds or the policy is at its end.
func (w *Worker) runLocal(a *flow.LocalActivity, info activity.Info) localResult {
	f, err := w.registry.function(a.Name)
	if err != nil {
		return localResult{activity: a, failure: w.env.Failures.ToFailure(err)}
	}
	ctx, cancel := w.actCtx, context.CancelFunc(func() {})
	if a.Options.ScheduleToClose > 0 {
		ctx, cancel = context.WithTimeout(ctx, a.Options.ScheduleToClose)
	}
	defer cancel()
	for ; ; info.Attempt++ {
		result, err := w.attempt(ctx, f, info, a)
		if err == nil {
			return localResult{activity: a, result: result}
		}
		wait, more := w.backoff(a, info.Attempt, err)
		if more {
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
			}
		}
		return localResult{activity: a, failure: w.env.Failures.ToFailure(&failure.ActivityError{ActivityType: a.Name, Cause: err})}
	}
}

// backoff says how long to wait for the next attempt, and whether there is one.
func (w *Worker) backoff(a *flow.LocalActivity, attempt int32, err error) (time.Duration, bool) {
	p := a.Options.Retry
	initial, factor, top, most := time.Second, 2.0, time.Duration(0), 0
	if p != nil {
		most = p.MaximumAttempts
		if p.InitialInterval > 0 {
			initial = p.InitialInterval
		}
		if p.BackoffCoefficient > 0 {
			factor = p.BackoffCoefficient
		}
		top = p.MaximumInterval
	}
	if top == 0 {
		top = 100 * initial
	}
	if most > 0 && int(attempt) >= most || nonRetryable(err, p) {
		return 0, false
	}
	return min(top, time.Duration(float64(initial)*math.Pow(factor, float64(attempt-1)))), true
}
