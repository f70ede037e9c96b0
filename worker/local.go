package worker

import (
	"context"
	"errors"
	"math"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
)

// locals are a run's local activities at work in this worker, across renewed tasks. The zero value has none. Only who has the
// run uses it.
type locals struct {
	at   map[*flow.LocalActivity]context.CancelFunc
	done chan localResult
}

type localResult struct {
	activity *flow.LocalActivity
	attempt  int32
	result   *commonpb.Payloads
	failure  *failurepb.Failure
}

func (l *locals) cancel() {
	for _, stop := range l.at {
		stop()
	}
	*l = locals{}
}

// startLocals starts those that the run has asked for, and ends those that it does not want any more.
func (w *Worker) startLocals(h *held) {
	l := &h.locals
	wanted := make(map[*flow.LocalActivity]bool, len(h.Locals()))
	for _, a := range h.Locals() {
		wanted[a] = true
		if l.at[a] != nil {
			continue
		}
		if l.at == nil {
			l.at, l.done = map[*flow.LocalActivity]context.CancelFunc{}, make(chan localResult)
		}
		info := activity.Info{
			Namespace: h.Info.Namespace, WorkflowID: h.Info.WorkflowID, WorkflowRunID: h.Info.RunID, WorkflowType: h.Info.Type,
			ActivityType: a.Name, TaskQueue: w.queue, Attempt: 1, Local: true, Header: a.Header,
			ScheduledTime: time.Now(), StartedTime: time.Now(),
		}
		ctx, cancel := context.WithCancel(w.actCtx)
		l.at[a] = cancel
		done := l.done
		w.tasks.Add(1)
		go func() {
			defer w.tasks.Done()
			result := w.runLocal(ctx, a, info)
			select {
			case done <- result:
			case <-ctx.Done(): // nobody waits
			}
		}()
	}
	for a, stop := range l.at {
		if !wanted[a] {
			stop()
			delete(l.at, a)
		}
	}
}

// settleLocals runs what local activities the task has asked for until there is none left, or most of the task's time has
// gone: then the task has to be renewed, with what there is.
func (w *Worker) settleLocals(h *held) (renew bool, err error) {
	if len(h.Locals()) == 0 {
		h.locals.cancel()
		return false, nil
	}
	budget := time.NewTimer(h.Info.TaskTimeout * 8 / 10)
	defer budget.Stop()
	for {
		w.startLocals(h)
		if len(h.Locals()) == 0 {
			return false, nil
		}
		select {
		case l := <-h.locals.done:
			if w.actCtx.Err() != nil { // it ends because the worker does: another one begins it anew
				return true, nil
			}
			stop := h.locals.at[l.activity]
			if stop == nil {
				continue // it was given up and has answered all the same
			}
			stop()
			delete(h.locals.at, l.activity)
			if err := h.ResolveLocal(l.activity, l.result, l.failure, l.attempt); err != nil {
				return false, err
			}
		case <-budget.C:
			return true, nil
		case <-w.actCtx.Done(): // the worker stops: another one begins them anew
			return true, nil
		}
	}
}

// runLocal makes attempts until one succeeds or the policy is at its end.
func (w *Worker) runLocal(ctx context.Context, a *flow.LocalActivity, info activity.Info) localResult {
	m := w.meters.activity(&info)
	m.total.Add(1)
	f, err := w.registry.function(a.Name)
	if err != nil {
		m.unregistered.Add(1)
		return localResult{activity: a, failure: w.env.Failures.ToFailure(err), attempt: 1}
	}
	if a.Options.ScheduleToClose > 0 {
		bounded, cancel := context.WithTimeout(ctx, a.Options.ScheduleToClose)
		defer cancel()
		ctx = bounded
	}
	for ; ; info.Attempt++ {
		info.StartedTime = time.Now()
		result, err := w.attempt(ctx, f, info, a)
		m.execution.Record(time.Since(info.StartedTime))
		if err == nil {
			m.succeeded.Record(time.Since(info.ScheduledTime))
			return localResult{activity: a, result: result, attempt: info.Attempt}
		}
		wait, more := backoff(a, info.Attempt, err)
		if more {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
				continue
			case <-ctx.Done():
				timer.Stop()
			}
		}
		if ctx.Err() == nil {
			m.failed.Add(1)
		} else {
			m.canceled.Add(1)
		}
		return localResult{activity: a, attempt: info.Attempt, failure: w.env.Failures.ToFailure(&failure.ActivityError{ActivityType: a.Name, Cause: err})}
	}
}

// backoff says how long to wait for the next attempt, and whether there is one.
func backoff(a *flow.LocalActivity, attempt int32, err error) (time.Duration, bool) {
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
	var app *failure.ApplicationError
	if errors.As(err, &app) && app.NextRetryDelay > 0 {
		return app.NextRetryDelay, true
	}
	return time.Duration(min(float64(top), float64(initial)*math.Pow(factor, float64(attempt-1)))), true
}
