package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/perdure/perdure/workflow"
)

// Ticket is one wish for the lock: the Number-th of a run.
type Ticket struct {
	WorkflowID, RunID string
	Number            int
}

// Wish is what a workflow asks a lock for.
type Wish struct {
	Ticket Ticket
	Lease  time.Duration
}

// Grant is what it gets. Tokens only grow, so who is protected by the lock can refuse a holder that has overslept its lease.
type Grant struct {
	Ticket Ticket
	Token  int
	Until  time.Time
}

// Borrowing is the contract of all that want a lock: the lock knows their signal, and nothing else of them. The Run is there
// because a contract has to have one; nobody calls it by this one.
type Borrowing interface {
	Run(workflow.Context) error
	Granted(workflow.Context, Grant)
}

// LockState is what one run of a lock hands to the next.
type LockState struct {
	MaxLease time.Duration
	Token    int
	Queue    []Wish // without the holder
}

// Lock is a workflow that lets one workflow at a time have what it stands for, in the order in which they asked.
type Lock struct {
	state   LockState
	holder  *Ticket
	asked   int
	closing bool
}

// Init runs before the signal that may come with the start.
func (l *Lock) Init(_ workflow.ReadContext, s LockState) error {
	l.state = s
	return nil
}

// Run serves one wish after the other.
func (l *Lock) Run(ctx workflow.Context, _ LockState) error {
	long := func() bool { return workflow.ShouldContinueAsNew(ctx) }
	for {
		if err := workflow.Await(ctx, func() bool { return len(l.state.Queue) > 0 || l.closing || long() }); err != nil {
			return err
		}
		switch {
		case long(): // nobody holds the lock here, so there is no lease to hand over
			drained, err := workflow.Drain(ctx)
			if err != nil {
				return err
			}
			return workflow.ContinueAsNewVoid(drained, (*Lock).Run, l.state)
		case len(l.state.Queue) == 0:
			return nil
		}
		if err := l.serve(ctx); err != nil {
			return err
		}
	}
}

// serve grants the first wish and waits until the lock is given back, or the lease is over.
func (l *Lock) serve(ctx workflow.Context) error {
	w := l.state.Queue[0]
	l.state.Queue = l.state.Queue[1:]
	l.state.Token++
	l.holder = &w.Ticket
	lease := w.Lease
	if lease <= 0 || lease > l.state.MaxLease {
		lease = l.state.MaxLease
	}
	grant := Grant{w.Ticket, l.state.Token, workflow.Now(ctx).Add(lease)}
	to := workflow.External[Borrowing]{WorkflowID: w.Ticket.WorkflowID, RunID: w.Ticket.RunID}
	if err := workflow.Signal(ctx, to, Borrowing.Granted, grant).Wait(); err != nil {
		l.holder = nil
		if workflow.IsCanceled(ctx) {
			return err
		}
		// It has ended while it waited. The next one need not wait for its lease.
		workflow.Logger(ctx).Info("a borrower is gone", "borrower", w.Ticket.WorkflowID, "error", err)
		return nil
	}
	_, err := workflow.AwaitFor(ctx, lease, func() bool { return l.holder == nil })
	l.holder = nil
	return err
}

// Limit bounds all leases that are granted from now on. It comes with the start, which makes the lock.
func (l *Lock) Limit(_ workflow.Context, lease time.Duration) { l.state.MaxLease = lease }

// Acquire stands in line.
func (l *Lock) Acquire(_ workflow.Context, w Wish) {
	l.asked++
	l.state.Queue = append(l.state.Queue, w)
}

// Release gives the lock back, or leaves the line. Of a lease that is over it changes nothing: the ticket is another one now.
func (l *Lock) Release(_ workflow.Context, t Ticket) {
	if l.holder != nil && *l.holder == t {
		l.holder = nil
	}
	l.state.Queue = slices.DeleteFunc(l.state.Queue, func(w Wish) bool { return w.Ticket == t })
}

// Close ends the lock when nobody wants it any more.
func (l *Lock) Close(workflow.Context) { l.closing = true }

// LockStatus is who has the lock, and who stands in line.
type LockStatus struct {
	Token   int
	Holder  string // empty: nobody
	Waiting []string
}

// Status is a query.
func (l *Lock) Status(workflow.ReadContext) (LockStatus, error) {
	s := LockStatus{Token: l.state.Token}
	if l.holder != nil {
		s.Holder = l.holder.WorkflowID
	}
	for _, w := range l.state.Queue {
		s.Waiting = append(s.Waiting, w.Ticket.WorkflowID)
	}
	return s, nil
}

// Watch is an update that answers when this run has been asked so many times: a query that need not be repeated.
func (l *Lock) Watch(ctx workflow.Context, asked int) (LockStatus, error) {
	err := workflow.Await(ctx, func() bool { return l.asked >= asked && l.holder != nil })
	if err != nil {
		return LockStatus{}, err
	}
	return l.Status(ctx)
}

var _ = workflow.Define[*Lock](workflow.AbandonUnfinished((*Lock).Watch)) // a watcher does not keep a lock from closing

// Borrower is embedded by workflows that want locks. It brings the signal, and the code that is the same in all of them.
type Borrower struct {
	asked  int
	grants map[Ticket]Grant
}

// Granted is the signal with which a lock answers.
func (b *Borrower) Granted(_ workflow.Context, g Grant) {
	if b.grants == nil {
		b.grants = map[Ticket]Grant{}
	}
	b.grants[g.Ticket] = g
}

// acquire waits for a lock. The caller has to call release if there is no error.
func (b *Borrower) acquire(ctx workflow.Context, lockID string, lease time.Duration) (g Grant, release func(), err error) {
	b.asked++
	info := workflow.GetInfo(ctx)
	ticket := Ticket{info.WorkflowID, info.RunID, b.asked}
	lock := workflow.External[*Lock]{WorkflowID: lockID}
	release = func() {
		// Whoever is cancelled gives the lock back, too. If that fails, the lease will be over one day.
		ctx, done := workflow.WithoutCancel(ctx)
		defer done("released")
		if err := workflow.Signal(ctx, lock, (*Lock).Release, ticket).Wait(); err != nil {
			workflow.Logger(ctx).Warn("lock not released", "lock", lockID, "error", err)
		}
	}
	if err := workflow.Signal(ctx, lock, (*Lock).Acquire, Wish{ticket, lease}).Wait(); err != nil {
		return g, nil, fmt.Errorf("lock %s: %w", lockID, err)
	}
	if err := workflow.Await(ctx, func() bool { return b.grants[ticket].Token > 0 }); err != nil {
		release()
		return g, nil, err
	}
	return b.grants[ticket], release, nil
}

// Transfer is how much goes to which account.
type Transfer struct {
	Account      string
	Cents        int
	Takes, Lease time.Duration
}

// Booking is a workflow that reads a balance, thinks, and writes a new one. Without the lock two of them would lose money.
type Booking struct{ Borrower }

var bank *Bank // names the activities

// Run books one transfer and gives the balance after it.
func (b *Booking) Run(ctx workflow.Context, t Transfer) (int, error) {
	grant, release, err := b.acquire(ctx, lockOf(t.Account), t.Lease)
	if err != nil {
		return 0, err
	}
	defer release()
	o := workflow.ActivityOptions{StartToClose: 10 * time.Second}
	balance, err := workflow.Activity(ctx, bank.Balance, t.Account, o).Get()
	if err != nil {
		return 0, err
	}
	if err := workflow.Sleep(ctx, t.Takes); err != nil {
		return 0, err
	}
	_, err = workflow.ActivityVoid(ctx, bank.Write, Entry{t.Account, balance + t.Cents, grant.Token}, o).Get()
	return balance + t.Cents, err
}

func lockOf(account string) string { return "lock-" + account }
