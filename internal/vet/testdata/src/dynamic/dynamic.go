// Package dynamic has handlers for any name.
package dynamic

import "github.com/perdure/perdure/workflow"

const hangUp = "HangUp"

type Phone struct{ over bool }

func (p *Phone) Run(workflow.Context) error              { return nil }
func (p *Phone) HangUp(workflow.Context)                 {}
func (p *Phone) Dial(workflow.Context, int)              {}
func (p *Phone) State(workflow.ReadContext) (int, error) { return 0, nil }

func (p *Phone) Any(_ workflow.Context, name string, args workflow.Args) {
	if name == hangUp { // want `^dynamic: Any never gets "HangUp": the signal has a handler of its own, HangUp$`
		p.over = true
	}
	switch name {
	case "Hold", "dial": // want `^dynamic: Any never gets "dial": the signal has a handler of its own, Dial$`
	case "Dial": // renamed, so this is another one
	case "State": // a query has that name; a signal may have it, too
	}
	if other := "HangUp"; other == hangUp {
		p.over = false
	}
}

func (p *Phone) Ask(_ workflow.ReadContext, name string, args workflow.Args) (int, error) {
	if "State" != name { // want `^dynamic: Ask never gets "State": the query has a handler`
		return 0, nil
	}
	return args.Len(), nil
}

var _ = workflow.Define[*Phone](workflow.Rename((*Phone).Dial, "dial"))
