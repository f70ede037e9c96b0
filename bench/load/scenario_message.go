package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// book is what callers have sent to one ledger, and what it has answered.
type book struct {
	mu        sync.Mutex
	sent      tally
	positions []int64 // that updates were answered with
}

// shelf is some ledgers with their books. Messages are spread over them, since one workflow alone would measure how its tasks
// queue up.
type shelf struct {
	ledgers []ledger
	books   []book
}

// openShelf starts the workers and so many ledgers, and waits until each has done its first workflow task: it answers a query.
func (t *trial) openShelf(opening func(i int) int64) (*shelf, error) {
	if err := t.driver.startWorkers(); err != nil {
		return nil, err
	}
	n := t.settings.workflows
	s := &shelf{ledgers: make([]ledger, n), books: make([]book, n)}
	return s, t.each(n, func(ctx context.Context, _, i int) (err error) {
		if s.ledgers[i], err = t.driver.ledger(ctx, t.workflow(i), ledgerInput{Opening: opening(i)}); err != nil {
			return err
		}
		sum, err := s.ledgers[i].total(ctx, note{})
		if err != nil {
			return err
		}
		return expect("first answer of "+t.workflow(i), sum, opening(i))
	})
}

func nothing(int) int64 { return 0 }

// close ends the ledgers: each has to have got exactly what was sent.
func (s *shelf) close(t *trial, opening func(i int) int64) error {
	return t.each(len(s.ledgers), func(ctx context.Context, _, i int) error {
		l := s.ledgers[i]
		if err := l.finish(ctx); err != nil {
			return err
		}
		got, err := l.result(ctx)
		if err != nil {
			return err
		}
		want := s.books[i].sent
		want.Sum += opening(i)
		return expect("notes of "+l.workflowID(), got, want)
	})
}

func (b *book) note(n note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent.take(n)
}

// signals sends signals to running workflows.
func signals(t *trial) error {
	s, err := t.openShelf(nothing)
	if err != nil {
		return err
	}
	if _, err := t.steadily(func(ctx context.Context, _, i int) error {
		at, n := i%len(s.ledgers), t.note(i)
		if err := s.ledgers[at].add(ctx, n); err != nil {
			return err
		}
		s.books[at].note(n)
		return nil
	}); err != nil {
		return err
	}
	return s.close(t, nothing)
}

// updates makes updates and waits for their results. A caller has its own share of the workflows, so that as few as can be are
// under way at each: what is measured is not how updates of one workflow wait for each other.
func updates(t *trial) error {
	s, err := t.openShelf(nothing)
	if err != nil {
		return err
	}
	turns := make([]int, t.combo.callers)
	if _, err := t.steadily(func(ctx context.Context, caller, i int) error {
		at := share(caller, t.combo.callers, len(s.ledgers), turns[caller])
		turns[caller]++
		n, book := t.note(i), &s.books[at]
		position, err := s.ledgers[at].raise(ctx, n)
		if err != nil {
			return err
		}
		book.mu.Lock()
		defer book.mu.Unlock()
		book.sent.take(n)
		book.positions = append(book.positions, position)
		return nil
	}); err != nil {
		return err
	}
	for i := range s.books {
		if err := s.books[i].dense(); err != nil {
			return fmt.Errorf("%s: %w", s.ledgers[i].workflowID(), err)
		}
	}
	return s.close(t, nothing)
}

// share is which of n workflows the caller's next call goes to.
func share(caller, callers, n, turn int) int {
	if callers >= n {
		return caller % n
	}
	mine := (n - caller + callers - 1) / callers
	return caller + turn%mine*callers
}

// dense says whether the updates got the positions 1, 2, 3 and so on, each once.
func (b *book) dense() error {
	slices.Sort(b.positions)
	for i, got := range b.positions {
		if err := expect("position of an update", got, int64(i)+1); err != nil {
			return err
		}
	}
	return nil
}

// queries asks running workflows. Each has another sum to answer with.
func queries(t *trial) error {
	opening := func(i int) int64 { return int64(i+1) << 32 }
	s, err := t.openShelf(opening)
	if err != nil {
		return err
	}
	if _, err := t.steadily(func(ctx context.Context, _, i int) error {
		at, n := i%len(s.ledgers), t.note(i)
		got, err := s.ledgers[at].total(ctx, n)
		if err != nil {
			return err
		}
		return expect("answer of "+t.workflow(at), got, opening(at)+n.weight())
	}); err != nil {
		return err
	}
	return s.close(t, opening)
}

// couple is a workflow that ends after two calls, the first of which starts it.
type couple struct {
	first, second ledger
	want          tally
}

// signalsWithStart makes two calls for each workflow ID, one after the other: the first starts the workflow, the second has to
// find it.
func signalsWithStart(t *trial) error {
	if err := t.driver.startWorkers(); err != nil {
		return err
	}
	couples := make([][]*couple, t.combo.callers)
	call := func(ctx context.Context, c *couple, id string, n note) (ledger, error) {
		c.want.take(n)
		return t.driver.signalWithStart(ctx, id, ledgerInput{Until: 2}, n)
	}
	if _, err := t.steadily(func(ctx context.Context, caller, i int) (err error) {
		mine := couples[caller]
		if len(mine) == 0 || mine[len(mine)-1].second != nil {
			c := new(couple)
			couples[caller] = append(mine, c)
			c.first, err = call(ctx, c, t.workflow(i), t.note(i))
			return err
		}
		c := mine[len(mine)-1]
		c.second, err = call(ctx, c, c.first.workflowID(), t.note(i))
		return err
	}); err != nil {
		return err
	}
	all := slices.Concat(couples...)
	return t.each(len(all), func(ctx context.Context, _, i int) (err error) {
		c := all[i]
		if c.second == nil { // the window closed in between
			if c.second, err = call(ctx, c, c.first.workflowID(), note{}); err != nil {
				return err
			}
		}
		if err := expect("run that the second call found", c.second.runID(), c.first.runID()); err != nil {
			return err
		}
		got, err := c.first.result(ctx)
		if err != nil {
			return err
		}
		return expect("notes of "+c.first.workflowID(), got, c.want)
	})
}
