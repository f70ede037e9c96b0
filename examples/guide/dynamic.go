package guide

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/workflow"
)

// Switchboard takes messages of any name.
type Switchboard struct {
	calls []string
	over  bool
}

// Run lasts until HangUp.
func (s *Switchboard) Run(ctx workflow.Context) (string, error) {
	err := workflow.Await(ctx, func() bool { return s.over })
	return strings.Join(s.calls, ", "), err
}

// HangUp has a name, so the dynamic signal does not get it.
func (s *Switchboard) HangUp(workflow.Context) { s.over = true }

// AnySignal gets the signals that no other method is named for.
func (s *Switchboard) AnySignal(ctx workflow.Context, name string, args workflow.Args) {
	caller, err := converter.Arg[string](args, 0)
	if err != nil {
		workflow.Logger(ctx).Warn("call without a caller", "signal", name, "error", err)
		return
	}
	s.calls = append(s.calls, caller+" on "+name)
}

// AnyQuery gets the queries.
func (s *Switchboard) AnyQuery(_ workflow.ReadContext, name string, args workflow.Args) (string, error) {
	return fmt.Sprintf("%s with %d arguments after %d calls", name, args.Len(), len(s.calls)), nil
}

// AnyUpdate gets the updates.
func (s *Switchboard) AnyUpdate(_ workflow.Context, name string, args workflow.Args) (int, error) {
	var from, to string
	if err := args.Decode(&from, &to); err != nil {
		return 0, err
	}
	s.calls = append(s.calls, from+" to "+to+" by "+name)
	return len(s.calls), nil
}

// ValidateAnyUpdate is the validator of all of them.
func (s *Switchboard) ValidateAnyUpdate(_ workflow.ReadContext, name string, args workflow.Args) error {
	if args.Len() != 2 {
		return fmt.Errorf("%s takes two numbers", name)
	}
	return nil
}

// Anything runs workflows of all types that are not registered.
type Anything struct{}

// Run calls an activity that nobody has written.
func (a *Anything) Run(ctx workflow.Context, args workflow.Args) (string, error) {
	name, err := converter.Arg[string](args, 0)
	if err != nil {
		return "", err
	}
	options := workflow.ActivityOptions{StartToClose: 10 * time.Second}
	what := workflow.GetInfo(ctx).Type
	return workflow.ActivityByName[string](ctx, "Do"+what, options, name).Get()
}

// AnyActivity runs activities of all types that are not registered.
func AnyActivity(ctx context.Context, args activity.Args) (string, error) {
	name, err := converter.Arg[string](args, 0)
	if err != nil {
		return "", err
	}
	return activity.GetInfo(ctx).ActivityType + " for " + name, nil
}

// Radio sets its handlers at run time.
type Radio struct{ heard []string }

// Run listens to one channel, then to all.
func (r *Radio) Run(ctx workflow.Context, channel string) ([]string, error) {
	hear := func(_ workflow.Context, name string, args workflow.Args) error {
		text, err := converter.Arg[string](args, 0)
		r.heard = append(r.heard, name+": "+text)
		return err
	}
	workflow.SetSignalHandler(ctx, channel, hear)
	if err := workflow.Await(ctx, func() bool { return len(r.heard) == 1 }); err != nil {
		return nil, err
	}
	workflow.SetSignalHandler(ctx, "", hear)
	err := workflow.Await(ctx, func() bool { return len(r.heard) == 2 })
	return r.heard, err
}
