package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Names that a client and a workflow must agree on.
const (
	latestQuery      = "latest"
	entryQuery       = "Entry number"
	remarksQuery     = "remarks"
	waitUpdate       = "wait_for_entries"
	salutationUpdate = "change_salutation"
	teachUpdate      = "teach"
)

var (
	welcome     = signal[string]{"welcome"}
	lateArrival = signal[string]{"Late arrival"}
)

// closeSignal carries no argument.
const closeSignal = "close"

// A signal ties a signal's name to the type of its argument. The SDK sends signals by name with any argument; this is
// the typed handle it lacks.
type signal[T any] struct{ name string }

// Send signals another workflow and waits until the signal is in its history.
func (s signal[T]) Send(ctx workflow.Context, workflowID string, arg T) error {
	return workflow.SignalExternalWorkflow(ctx, workflowID, "", s.name, arg).Get(ctx, nil)
}

// Each calls f with every signal of this kind that arrives, in order.
func (s signal[T]) Each(ctx workflow.Context, f func(T)) {
	workflow.GoNamed(ctx, s.name, func(ctx workflow.Context) {
		for {
			var arg T
			workflow.GetSignalChannel(ctx, s.name).Receive(ctx, &arg)
			f(arg)
		}
	})
}

// book is the state of one Guestbook run.
type book struct {
	salutation string
	guests     []string
	entries    []string
	remarks    []string
	closing    bool
}

// Guestbook writes an entry for each guest it hears of, in order, until it is asked to close.
func Guestbook(ctx workflow.Context, salutation string) ([]string, error) {
	b := &book{salutation: salutation}
	if err := b.answer(ctx); err != nil {
		return nil, err
	}
	b.listen(ctx)

	options := workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second}
	ctx = workflow.WithActivityOptions(ctx, options)
	for {
		if err := workflow.Await(ctx, func() bool { return len(b.guests) > 0 || b.closing }); err != nil {
			return nil, err
		}
		if len(b.guests) == 0 {
			break
		}
		guest := Guest{Salutation: b.salutation, Name: b.guests[0]}
		b.guests = b.guests[1:]
		var entry string
		if err := workflow.ExecuteActivity(ctx, Compose, guest).Get(ctx, &entry); err != nil {
			return nil, err
		}
		b.entries = append(b.entries, entry)
	}

	// No activity has this name: the worker hands it to its catch-all.
	var colophon string
	pages := Guest{Name: fmt.Sprintf("%d entries", len(b.entries))}
	if err := workflow.ExecuteActivity(ctx, "binding", pages).Get(ctx, &colophon); err != nil {
		return nil, err
	}
	// An update that is still waiting would be cut off by returning now.
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return nil, err
	}
	return append(b.entries, colophon), nil
}

// listen receives signals, each name in a coroutine of its own.
func (b *book) listen(ctx workflow.Context) {
	welcome.Each(ctx, func(name string) { b.guests = append(b.guests, name) })
	lateArrival.Each(ctx, func(name string) { b.guests = append(b.guests, "late "+name) })
	workflow.Go(ctx, func(ctx workflow.Context) {
		workflow.GetSignalChannel(ctx, closeSignal).Receive(ctx, nil)
		b.closing = true
	})

	// The Go SDK has no dynamic signal handler, but it keeps what no one has received and tells the names.
	workflow.GoNamed(ctx, "any signal", func(ctx workflow.Context) {
		for {
			var names []string
			unheard := func() bool {
				names = slices.DeleteFunc(workflow.GetUnhandledSignalNames(ctx), func(name string) bool {
					return name == welcome.name || name == lateArrival.name || name == closeSignal
				})
				return len(names) > 0
			}
			if workflow.Await(ctx, unheard) != nil {
				return
			}
			slices.Sort(names) // They come in no order, and a replay must do the same again.
			for _, name := range names {
				var arg any
				for workflow.GetSignalChannel(ctx, name).ReceiveAsync(&arg) {
					b.remarks = append(b.remarks, fmt.Sprintf("%s(%v)", name, arg))
				}
			}
		}
	})
}

// answer registers queries and updates.
func (b *book) answer(ctx workflow.Context) error {
	waitForEntries := func(ctx workflow.Context, count int) (string, error) {
		if err := workflow.Await(ctx, func() bool { return len(b.entries) >= count }); err != nil {
			return "", err
		}
		return b.entries[count-1], nil
	}
	changeSalutation := func(ctx workflow.Context, salutation string) (before string, err error) {
		before, b.salutation = b.salutation, salutation
		return before, nil
	}
	validSalutation := workflow.UpdateHandlerOptions{Validator: func(salutation string) error {
		if strings.TrimSpace(salutation) == "" {
			return errors.New("a salutation cannot be blank")
		}
		return nil
	}}
	return errors.Join(
		workflow.SetQueryHandler(ctx, latestQuery, func() (string, error) {
			if len(b.entries) == 0 {
				return "", nil
			}
			return b.entries[len(b.entries)-1], nil
		}),
		workflow.SetQueryHandler(ctx, entryQuery, func(number int) (string, error) {
			if number < 1 || number > len(b.entries) {
				return "", fmt.Errorf("no entry %d", number)
			}
			return b.entries[number-1], nil
		}),
		workflow.SetQueryHandler(ctx, remarksQuery, func() ([]string, error) { return b.remarks, nil }),
		workflow.SetUpdateHandler(ctx, waitUpdate, waitForEntries),
		workflow.SetUpdateHandlerWithOptions(ctx, salutationUpdate, changeSalutation, validSalutation),
		workflow.SetUpdateHandler(ctx, teachUpdate, b.learn),
	)
}

// learn registers a query and an update under a name that was not known when this was compiled. The Go SDK has no
// dynamic queries and updates; handlers that are registered while the workflow runs come nearest.
func (b *book) learn(ctx workflow.Context, name string) (string, error) {
	decoded := func(raw converter.RawValue) (arg string, err error) {
		return arg, converter.GetDefaultDataConverter().FromPayload(raw.Payload(), &arg)
	}
	answer := func(raw converter.RawValue) (string, error) {
		arg, err := decoded(raw)
		return fmt.Sprintf("%s(%s) after %d entries", name, arg, len(b.entries)), err
	}
	note := func(ctx workflow.Context, raw converter.RawValue) (string, error) {
		arg, err := decoded(raw)
		if err != nil {
			return "", err
		}
		b.remarks = append(b.remarks, fmt.Sprintf("%s(%s)", name, arg))
		return fmt.Sprintf("noted as remark %d", len(b.remarks)), nil
	}
	notEmpty := workflow.UpdateHandlerOptions{Validator: func(raw converter.RawValue) error {
		if arg, err := decoded(raw); err != nil || arg == "" {
			return fmt.Errorf("%s says nothing", name)
		}
		return nil
	}}
	return name + " learned", errors.Join(
		workflow.SetQueryHandler(ctx, name, answer),
		workflow.SetUpdateHandlerWithOptions(ctx, name, note, notEmpty),
	)
}

// Messenger brings guests to a book kept by another workflow.
func Messenger(ctx workflow.Context, bookID string) ([]string, error) {
	if err := welcome.Send(ctx, bookID, "Hedy"); err != nil {
		return nil, err
	}
	byName := workflow.SignalExternalWorkflow(ctx, bookID, "", "Late arrival", "Radia")
	if err := byName.Get(ctx, nil); err != nil {
		return nil, err
	}
	var noSuchBook *temporal.UnknownExternalWorkflowExecutionError
	if err := welcome.Send(ctx, bookID+"-burnt", "Nobody"); !errors.As(err, &noSuchBook) {
		return nil, fmt.Errorf("signal to a workflow that never was: %w", err)
	}
	return []string{"typed", "by name", "no such book"}, nil
}

// AnyWorkflow runs for every workflow type that nothing else is registered for.
func AnyWorkflow(ctx workflow.Context, args converter.EncodedValues) (string, error) {
	var name, greeting string
	if err := args.Get(&name); err != nil {
		return "", err
	}
	options := workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second}
	ctx = workflow.WithActivityOptions(ctx, options)
	guest := Guest{Salutation: "Hello", Name: name}
	err := workflow.ExecuteActivity(ctx, Compose, guest).Get(ctx, &greeting)
	return fmt.Sprintf("%s: %s", workflow.GetInfo(ctx).WorkflowType.Name, greeting), err
}

// A Guest is what an activity needs to greet someone. One struct, so that fields can be added later.
type Guest struct {
	Salutation string `json:"salutation"`
	Name       string `json:"name"`
}

// Compose writes a greeting.
func Compose(_ context.Context, guest Guest) (string, error) {
	return fmt.Sprintf("%s, %s!", guest.Salutation, guest.Name), nil
}

// AnyActivity runs for every activity type that nothing else is registered for.
func AnyActivity(ctx context.Context, args converter.EncodedValues) (string, error) {
	var guest Guest
	if err := args.Get(&guest); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of %s", activity.GetInfo(ctx).ActivityType.Name, guest.Name), nil
}
