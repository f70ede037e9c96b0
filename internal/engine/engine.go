package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Engine runs the executions of one store. Safe for concurrent use. Calls made before Run wait for it.
type Engine struct {
	opts    Options
	store   storage.Store
	shards  []*Shard
	waiters waiters
	calls   sync.Pool // of *call
	started atomic.Bool
}

var _ Service = (*Engine)(nil)

// New makes an engine over store, which stays the caller's to close after Run has returned. Nothing happens before Run.
func New(store storage.Store, opts Options) (*Engine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, store: store}
	e.calls.New = func() any { return &call{reply: make(chan result, 1)} }
	for id := range opts.Shards {
		e.shards = append(e.shards, newShard(e, ids.ShardID(id)))
	}
	return e, nil
}

// Shards are the engine's shards, for a driver that runs them without Run.
func (e *Engine) Shards() []*Shard { return e.shards }

func (e *Engine) shard(k ids.WorkflowKey) *Shard {
	return e.shards[record.TimerGroup(k.Slot())*len(e.shards)/record.TimerGroups]
}

// Submit implements Service. A context that is done already is refused before anything happens. Concurrency: inputs of
// one run take effect in the order in which Submit was called.
func (e *Engine) Submit(ctx context.Context, key ids.WorkflowKey, run ids.RunID, in execution.Input) (any, error) {
	c := e.newCall(callInput, key, run)
	c.in = in
	return e.wait(ctx, c)
}

// SubmitAsync is Submit for a driver that must not wait: done is called once, by the shard's loop, unless SubmitAsync
// itself returns an error.
func (e *Engine) SubmitAsync(key ids.WorkflowKey, run ids.RunID, in execution.Input, done func(any, error)) error {
	if err := checkKey(key, run); err != nil {
		return err
	}
	s := e.shard(key)
	if w := waiterOf(in); w != 0 {
		e.waiters.submitted(w, s.id)
	}
	return s.mail.put(&call{kind: callInput, key: key, run: run, in: in, then: done, counted: true})
}

// State implements Service. It waits until what the state was read from is durable.
func (e *Engine) State(ctx context.Context, key ids.WorkflowKey, run ids.RunID) (*execution.State, error) {
	v, err := e.view(ctx, key, run)
	if err != nil {
		return nil, err
	}
	return v.state, nil
}

// view is one consistent look at a run.
type view struct {
	state  *execution.State
	recent []chunk          // the newest events, without gaps up to the state's NextEventID
	notes  []execution.Note // those of the ledger that no batch has yet
}

func (e *Engine) view(ctx context.Context, key ids.WorkflowKey, run ids.RunID) (*view, error) {
	answer, err := e.wait(ctx, e.newCall(callView, key, run))
	if err != nil {
		return nil, err
	}
	return answer.(*view), nil
}

// WaitHistory implements Service. Other errors: NotFound, also when the run is removed meanwhile; Unavailable when the
// shard had to start over, and the caller should ask again.
func (e *Engine) WaitHistory(ctx context.Context, run ids.RunKey, next ids.EventID) error {
	w := &watcher{run: run, next: next, done: make(chan error, 1)}
	c := e.newCall(callWatch, run.Of(), run.Run)
	c.watch = w
	if _, err := e.wait(ctx, c); err != nil && ctx.Err() == nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		s := e.shard(run.Of())
		s.post(func() { s.unwatch(w) })
		return ctx.Err()
	}
}

// Discard removes the dispatch row of an offer that turned out to be stale, unless the run still counts on it. It
// returns when that is durable. Volatile offers have no row.
func (e *Engine) Discard(ctx context.Context, o execution.Offer) error {
	run, ok := offered(o)
	if o.Volatile || !ok || o.Task.Kind != execution.TaskWorkflow && o.Task.Kind != execution.TaskActivity {
		return nil
	}
	c := e.newCall(callDiscard, run.Of(), run.Run)
	c.offer = o
	_, err := e.wait(ctx, c)
	return err
}

func offered(o execution.Offer) (ids.RunKey, bool) {
	switch {
	case o.Workflow != nil:
		return o.Workflow.Run, true
	case o.Activity != nil:
		return o.Activity.Run, true
	}
	return ids.RunKey{}, false
}

func (e *Engine) newCall(kind callKind, key ids.WorkflowKey, run ids.RunID) *call {
	c := e.calls.Get().(*call)
	c.kind, c.key, c.run, c.counted = kind, key, run, true
	return c
}

// wait hands c to its shard and waits for the reply. A call whose caller gave up is left to the shard and the garbage
// collector.
func (e *Engine) wait(ctx context.Context, c *call) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkKey(c.key, c.run); err != nil {
		return nil, err
	}
	s := e.shard(c.key)
	if w := waiterOf(c.in); w != 0 {
		e.waiters.submitted(w, s.id)
	}
	if err := s.mail.put(c); err != nil {
		return nil, err
	}
	select {
	case r := <-c.reply:
		*c = call{reply: c.reply}
		e.calls.Put(c)
		return r.answer, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// checkKey refuses IDs that cannot be encoded, and other spellings of a UUID than the one, which would name one run
// twice.
func checkKey(key ids.WorkflowKey, run ids.RunID) error {
	if !canonical(string(key.Namespace)) {
		return &execution.Error{Kind: execution.InvalidArgument, Message: "Invalid namespace ID."}
	}
	if run != "" && !canonical(string(run)) {
		return &execution.Error{Kind: execution.InvalidArgument, Message: "Invalid RunId."}
	}
	return nil
}

func canonical(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// Run runs the engine until ctx is done or the store is closed, and returns when all is quiet: every goroutine has
// ended and every call was answered. What had been staged is written first. It returns nil after ctx was done. Call it
// once.
func (e *Engine) Run(ctx context.Context) error {
	if e.started.Swap(true) {
		return errors.New("engine: run twice")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pool := newReaders(e.opts.Readers)
	var shards sync.WaitGroup
	for _, s := range e.shards {
		shards.Go(func() {
			if err := s.run(ctx, pool); err != nil {
				cancel(fmt.Errorf("engine: shard %d: %w", s.id, err))
			}
		})
	}
	shards.Wait()
	pool.stop()
	e.waiters.fail(nil, ErrStopped)
	if err := context.Cause(ctx); errors.Is(err, storage.ErrClosed) {
		return err
	}
	return nil
}
