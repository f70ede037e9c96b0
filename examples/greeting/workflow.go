package main

import (
	"context"
	"fmt"
	"time"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/workflow"
)

// Language of greetings.
type Language string

// words are the languages that are spoken.
var words = map[Language]string{"English": "Hello", "French": "Bonjour", "Hindi": "Namaste"}

// Guest is who is to be greeted.
type Guest struct {
	Name     string
	Language Language
}

// Greeting is a workflow. Its fields are the state of one run, its methods are its messages, told apart by their signatures.
type Greeting struct {
	language Language
	guests   []Guest // all so far
	greeted  []string
	exit     bool
}

// Init runs before any message.
func (g *Greeting) Init(workflow.ReadContext) { g.language = "English" }

// Run is the main method. It greets one guest after the other, until it is told to go and nobody waits.
func (g *Greeting) Run(ctx workflow.Context) ([]string, error) {
	waiting := func() bool { return len(g.greeted) < len(g.guests) }
	for {
		if err := workflow.Await(ctx, func() bool { return waiting() || g.exit }); err != nil {
			return nil, err
		}
		if !waiting() {
			return g.greeted, nil
		}
		guest := g.guests[len(g.greeted)]
		text, err := workflow.Activity(ctx, Compose, guest, workflow.ActivityOptions{StartToClose: 10 * time.Second}).Get()
		if err != nil {
			return nil, err
		}
		g.greeted = append(g.greeted, text)
	}
}

// Compose is an activity: it may do what workflow code may not.
func Compose(_ context.Context, g Guest) (string, error) {
	return fmt.Sprintf("%s, %s!", words[g.Language], g.Name), nil
}

// SubmitGreeting is a signal, because it returns nothing. Its name is that of the method.
func (g *Greeting) SubmitGreeting(_ workflow.Context, name string) {
	g.guests = append(g.guests, Guest{name, g.language})
}

// Exit is a signal without an argument.
func (g *Greeting) Exit(workflow.Context) { g.exit = true }

// SubmitVIP is a signal with a name of its own; see below.
func (g *Greeting) SubmitVIP(ctx workflow.Context, name string) {
	g.SubmitGreeting(ctx, "dear "+name)
}

// Both sides take the name from here: who sends goes by the method, too.
var _ = workflow.Define[*Greeting](workflow.Rename((*Greeting).SubmitVIP, "Custom Signal Name"))

// AnySignal gets the signals for which there is no method, since it takes a name and raw arguments.
func (g *Greeting) AnySignal(ctx workflow.Context, name string, args workflow.Args) {
	guest, err := converter.Arg[string](args, 0)
	if err != nil {
		workflow.Logger(ctx).Warn("signal without a guest", "signal", name, "error", err)
		return
	}
	g.SubmitGreeting(ctx, guest+" by "+name)
}

// Guests is a query, because its context can only read: starting an activity here does not compile.
func (g *Greeting) Guests(workflow.ReadContext) ([]Guest, error) { return g.guests, nil }

// SetLanguage is an update, because it returns something: the language before.
func (g *Greeting) SetLanguage(_ workflow.Context, l Language) (Language, error) {
	before := g.language
	g.language = l
	return before, nil
}

// ValidateSetLanguage is its validator, by its name. What it refuses leaves no trace.
func (g *Greeting) ValidateSetLanguage(_ workflow.ReadContext, l Language) error {
	if words[l] == "" {
		return fmt.Errorf("nobody here speaks %s", l)
	}
	return nil
}

// Friend is a workflow that sends a signal to another one.
type Friend struct{}

// Run sends the same message as a client would, and waits until it has been delivered.
func (f *Friend) Run(ctx workflow.Context, to string) error {
	greeting := workflow.External[*Greeting]{WorkflowID: to}
	_, err := workflow.Signal(ctx, greeting, (*Greeting).SubmitGreeting, "the friend's friend").Get()
	return err
}
